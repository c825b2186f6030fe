//! `relevo shaping`: what shaping files say, and what is wrong with them. No relay is asked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use relevo::check::Told;
use relevo::limits;
use relevo::node::shaping::{Shaped, read};
use relevo::shaping::layers::{Asked, Effective, Held, Shaping};
use relevo::shaping::provider::canonical;
use serde_json::{Value, json};

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
    Show {
        /// Of the recipients.
        domain: String,
        /// Who sends.
        #[arg(long, value_name = "NAME", default_value = "")]
        source: String,
        /// The hosts of its MX records; providers are known by them.
        #[arg(long, value_name = "HOST,...", value_delimiter = ',')]
        mx: Vec<String>,
        /// Shaping files, over each other and over the shipped one.
        #[arg(long = "file", value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Without the shipped file below them.
        #[arg(long)]
        alone: bool,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Exit 0: done; 1: the files cannot be used; 2: wrong use, or a file that cannot be read.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.tool {
        Tool::Check { files, alone, json } => check(&files, alone, json),
        Tool::Show { domain, source, mx, files, alone, json } => {
            let hosts = hosts(&mx)?;
            let shaping = usable(&files, alone)?;
            show(&shaping, (&canonical(&domain), &hosts, &source), json)
        }
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
        let told = |all: &[_]| all.iter().map(Told::from).map(|one| json!(one)).collect::<Vec<_>>();
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

/// Files without errors.
fn usable(files: &[PathBuf], alone: bool) -> Result<Shaping, Failure> {
    bounded(files)?;
    let shaped = read(!alone, files);
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

fn show(
    shaping: &Shaping,
    (domain, hosts, source): (&str, &[String], &str),
    json: bool,
) -> Result<(), Failure> {
    let held = shaping.effective(Asked { domain, hosts, source }, |_| false);
    if json {
        say!("{:#}", as_json(&held, domain, hosts, source));
        return Ok(());
    }
    let of_source =
        if source.is_empty() { String::new() } else { format!(" from {}", plain(source.as_bytes())) };
    let providers: Vec<&str> = held.providers.iter().map(|provider| &*provider.block.name).collect();
    let whose =
        if providers.is_empty() { "no provider that is known".to_owned() } else { providers.join(", ") };
    say!("{}{of_source}: {}", plain(domain.as_bytes()), plain(whose.as_bytes()));
    let of_providers = held.providers.iter().flat_map(|provider| provider.limits.values());
    for Held { setting, layer } in held.settings.values().chain(of_providers) {
        let value = plain(setting.value.to_string().as_bytes());
        say!("  {:<30} {value:<20} {} [{layer}]", setting.key.name(), setting.place);
    }
    for (layer, rule) in &held.rules {
        let deeds: Vec<String> = rule.actions.iter().map(ToString::to_string).collect();
        let patterns: Vec<&str> = rule.patterns.iter().map(|pattern| pattern.written()).collect();
        say!("  on {}", plain(patterns.join(" or ").as_bytes()));
        say!("     {}, {}  {} [{layer}]", plain(deeds.join(", ").as_bytes()), rule.trigger, rule.place);
    }
    if hosts.is_empty() {
        complain!("providers are known by the hosts of a domain: give them, --mx HOST,...");
    }
    Ok(())
}

fn as_json(held: &Effective<'_>, domain: &str, hosts: &[String], source: &str) -> Value {
    let one = |held: &Held<'_>| {
        let Held { setting, layer } = held;
        json!({
            "value": setting.value.to_string(), "file": setting.place.file.display().to_string(),
            "line": setting.place.line, "section": layer.to_string(), "of_source": layer.of_source,
        })
    };
    let all = |settings: &BTreeMap<_, Held<'_>>| {
        let named = settings.values().map(|held| (held.setting.key.name().to_owned(), one(held)));
        Value::Object(named.collect())
    };
    let providers: Vec<Value> = held
        .providers
        .iter()
        .map(|provider| json!({ "name": provider.block.name, "limits": all(&provider.limits) }))
        .collect();
    let rules: Vec<Value> = held
        .rules
        .iter()
        .map(|(layer, rule)| {
            json!({
                "section": layer.to_string(), "file": rule.place.file.display().to_string(), "line": rule.place.line,
                "regex": rule.patterns.iter().map(|pattern| pattern.written()).collect::<Vec<_>>(),
                "trigger": rule.trigger.to_string(),
                "action": rule.actions.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "duration_s": rule.duration.map(|duration| duration.as_secs()),
                "class": rule.class.map(|class| class.word()), "permanent": rule.permanent,
                "fallback_source": rule.fallback_source,
            })
        })
        .collect();
    json!({
        "domain": domain, "hosts": hosts, "source": source, "settings": all(&held.settings), "providers": providers, "rules": rules,
    })
}
