//! `relevo shaping`: what shaping files say, and what is wrong with them. No relay is asked.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use relevo::check::{DEFAULT_PATH, JsonFinding};
use relevo::config::value::show_duration;
use relevo::control::api::shape::shaping::ShapingShown;
use relevo::limits;
use relevo::node::shaping::{Shaped, read};
use relevo::shaping::layers::{EffectiveSetting, Shaping, ShapingQuery};
use relevo::shaping::provider::canonical;
use relevo::shaping::rule::{Rule, Trigger};
use serde_json::json;

use super::check::load;
use super::output::{Failure, NO, WRONG_USE, complain, say};
use super::words::{count, plain};

/// `relevo shaping …`
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Say what is wrong in shaping files, what can never take effect, and which examples no rule matches. Exit 1: they cannot be used.
    #[command(
        after_help = "Examples:\n  relevo shaping check /etc/relevo/shaping.toml\n  relevo shaping check --alone kumomta/shaping.toml kumomta/community.toml --json\n\nFiles lie over each other in the order in which they are given, and all over the shipped one."
    )]
    Check {
        /// TOML, in the format of KumoMTA's shaping files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Without the shipped file below them.
        #[arg(long)]
        alone: bool,
        /// Print a JSON object: ok, errors, warnings.
        #[arg(long)]
        json: bool,
    },
    /// Show what holds for a domain, and which line says so.
    #[command(
        after_help = "Examples:\n  relevo shaping show gmail.com --mx gmail-smtp-in.l.google.com\n  relevo shaping show example.com --source ip1 --file my.toml --json\n\nNo name server is asked: --mx says which hosts a domain leads to."
    )]
    Show(ShowArguments),
}

/// What is to be shown.
#[derive(Args)]
struct ShowArguments {
    /// Of the recipients.
    domain: String,
    /// Who sends.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    source: String,
    /// The hosts of its MX records; providers are known by them.
    #[arg(long, value_name = "HOST,...", value_delimiter = ',')]
    mx: Vec<String>,
    /// The configuration whose [shaping] names the files [default: /etc/relevo/relevo.toml if it is there].
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    config: Option<PathBuf>,
    /// Shaping files, over each other and over the shipped one, in place of those of a configuration.
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Without the shipped file below them.
    #[arg(long, requires = "files")]
    alone: bool,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// Exit 0: done; 1: the files cannot be used; 2: wrong use, or a file that cannot be read.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.tool {
        Tool::Check { files, alone, json } => check(&files, alone, json),
        Tool::Show(shown) => show(&shown),
    }
}

fn bounded(files: &[PathBuf]) -> Result<(), Failure> {
    if files.len() > limits::SHAPING_FILES_MAX {
        let words = format!("at most {} files lie over each other", limits::SHAPING_FILES_MAX);
        return Err(Failure(WRONG_USE, words));
    }
    Ok(())
}

fn check(files: &[PathBuf], alone: bool, json: bool) -> Result<(), Failure> {
    bounded(files)?;
    let shaped = read(!alone, files);
    let code = if shaped.is_unread() { WRONG_USE } else { NO };
    let findings = shaped.findings;
    if json {
        let told = |all: &[_]| all.iter().map(JsonFinding::from).map(|one| json!(one)).collect::<Vec<_>>();
        let ok = findings.errors.is_empty();
        let all = json!({ "ok": ok, "errors": told(&findings.errors), "warnings": told(&findings.warnings) });
        say!("{all:#}");
        return if ok { Ok(()) } else { Err(Failure(code, String::new())) };
    }
    for warning in &findings.warnings {
        say!("warning: {warning}");
    }
    let warnings = count(findings.warnings.len() as u64, "warning");
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    let names = names.join(", ");
    if findings.errors.is_empty() {
        match findings.warnings.is_empty() {
            true => say!("{names}: fine"),
            false => say!("{names}: fine, with {warnings}"),
        }
        return Ok(());
    }
    let errors = count(findings.errors.len() as u64, "error");
    let mut lines: Vec<_> = findings.errors.iter().map(ToString::to_string).collect();
    lines.push(format!("{names}: not usable: {errors}, {warnings}"));
    Err(Failure(code, lines.join("\nrelevo: ")))
}

/// What the files say that are asked about. None of them may have errors.
fn usable(shown: &ShowArguments) -> Result<Shaping, Failure> {
    let named = match &shown.config {
        Some(path) => Some(path.as_path()),
        None => Some(Path::new(DEFAULT_PATH)).filter(|path| shown.files.is_empty() && path.exists()),
    };
    let (defaults, files) = match named.map(load).transpose() {
        Ok(Some(config)) => (config.shaping.defaults, config.shaping.files),
        Ok(None) => (!shown.alone, shown.files.clone()),
        Err(error) => return Err(Failure(WRONG_USE, error.to_string())),
    };
    bounded(&files)?;
    let shaped = read(defaults, &files);
    let code = if shaped.is_unread() { WRONG_USE } else { NO };
    let Shaped { shaping, findings } = shaped;
    if findings.errors.is_empty() {
        return Ok(shaping);
    }
    let lines: Vec<_> = findings.errors.iter().map(ToString::to_string).collect();
    Err(Failure(code, lines.join("\nrelevo: ")))
}

fn hosts(mx: &[String]) -> Result<Vec<String>, Failure> {
    let mut hosts: Vec<String> = mx.iter().map(|host| canonical(host.trim())).collect();
    hosts.retain(|host| !host.is_empty());
    hosts.sort();
    hosts.dedup();
    if hosts.len() > limits::MX_HOSTS_KEPT {
        let words = format!("--mx: at most {} hosts of a domain are looked at", limits::MX_HOSTS_KEPT);
        return Err(Failure(WRONG_USE, words));
    }
    Ok(hosts)
}

fn show(shown: &ShowArguments) -> Result<(), Failure> {
    let (hosts, domain) = (hosts(&shown.mx)?, canonical(shown.domain.trim()));
    let (domain, source) = (domain.as_str(), shown.source.as_str());
    let shaping = usable(shown)?;
    let held = shaping.effective(ShapingQuery { domain, hosts: &hosts, source, beside: &[] });
    if shown.json {
        say!("{:#}", json!(ShapingShown::of(&held, domain, &hosts, source)));
        return Ok(());
    }
    let of_source =
        if source.is_empty() { String::new() } else { format!(" from {}", plain(source.as_bytes())) };
    let providers: Vec<&str> = held.providers.iter().map(|provider| &*provider.block.name).collect();
    let whose =
        if providers.is_empty() { "no provider that is known".to_owned() } else { providers.join(", ") };
    say!("{}{of_source}: {}", plain(domain.as_bytes()), plain(whose.as_bytes()));
    let of_providers = held.providers.iter().flat_map(|provider| provider.limits.values());
    for one in held.settings.values().chain(of_providers) {
        let EffectiveSetting { setting, layer } = one;
        let value = plain(setting.value.to_string().as_bytes());
        say!("  {:<29}  {value:<16}  {}  {layer}", setting.key.name(), setting.place);
    }
    for (layer, rule) in &held.rules {
        say!("  {}", plain(deeds(rule).as_bytes()));
        let patterns: Vec<&str> = rule.patterns.iter().map(|pattern| pattern.written()).collect();
        say!("    {}", cut(&plain(patterns.join(" | ").as_bytes())));
        say!("    {}  {layer}", rule.place);
    }
    if hosts.is_empty() {
        complain!("providers are known by the hosts of a domain: give them, --mx HOST,...");
    }
    let others = shaping.rolled_up().filter(|other| *other != domain).count();
    if others > 0 {
        let sections = count(others as u64, "section");
        complain!(
            "{sections} of other domains would count if they led to the same hosts: no name server is asked"
        );
    }
    Ok(())
}

/// What a rule does, when and for how long.
fn deeds(rule: &Rule) -> String {
    let mut deeds: Vec<String> = rule.actions.iter().map(ToString::to_string).collect();
    deeds.extend(rule.fallback_source.iter().map(|source| format!("send from {source}")));
    deeds.extend(rule.class.iter().map(|class| format!("class {}", class.word())));
    deeds.extend(rule.permanent.iter().map(|end| if *end { "final" } else { "tried again" }.to_owned()));
    let lasts = rule.duration.map(|time| format!(" for {}", show_duration(time))).unwrap_or_default();
    let when = match rule.trigger {
        Trigger::Immediate => "on each".to_owned(),
        Trigger::Threshold(rate) => format!("from {rate} on"),
    };
    format!("{}{lasts}, {when}:", deeds.join(", "))
}

/// A pattern in one line of a terminal; `--json` has all of it.
fn cut(text: &str) -> String {
    match text.char_indices().nth(90) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
