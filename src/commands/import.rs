//! `relevo import`: the configuration of another relay as one of ours. Files are read and written here; what they mean is known in
//! `relevo::import`.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use relevo::check::{LookedAt, check};
use relevo::import::{ImportError, Imported, Library, Terms, kumo, pmta, postfix};
use relevo::policy::accounts;
use relevo::runtime::{files, process};
use serde_json::json;

use super::output::{Failure, NO, WRONG_USE, complain, say};

/// `relevo import …`
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    original: Original,
}

#[derive(Subcommand)]
enum Original {
    /// Import PowerMTA's configuration, with the files that it includes.
    #[command(after_help = "Example: relevo import pmta /etc/pmta/config --output /etc/relevo/new")]
    Pmta(Places),
    /// Import KumoMTA's helper files (shaping, queues, sources, listener_domains, dkim_data), and what init.lua says plainly.
    #[command(after_help = "Example: relevo import kumo /opt/kumomta/etc/policy --output /etc/relevo/new")]
    Kumo(Places),
    /// Import Postfix's main.cf, master.cf and the maps that they name.
    #[command(after_help = "Example: relevo import postfix /etc/postfix --output /etc/relevo/new")]
    Postfix(Places),
}

/// From where to where.
#[derive(Args)]
struct Places {
    /// The file (pmta) or the directory (kumo, postfix).
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// The directory that relevo.toml, shaping.toml, report.txt and what they need are written to; it is made.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Write over files that are there.
    #[arg(long)]
    force: bool,
    /// Print a JSON object: files, counts, and each directive with its outcome.
    #[arg(long)]
    json: bool,
}

type Reader = fn(&str, &mut Library<'_>, &Terms) -> Result<Imported, ImportError>;

/// Exit 0: done; 1: it cannot be read, or files are in the way; 2: wrong use.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (places, reader): (_, Reader) = match &arguments.original {
        Original::Pmta(places) => (places, pmta::import),
        Original::Kumo(places) => (places, kumo::import),
        Original::Postfix(places) => (places, postfix::import),
    };
    let at = std::path::absolute(&places.output).map_err(|error| unwritten(&places.output, &error))?;
    let terms = Terms { at: at.to_string_lossy().into_owned(), today: today() };
    let mut fetch = |path: &str, most: u64| {
        let path = Path::new(path);
        if path.is_dir() {
            return Err("it is a directory".to_owned());
        }
        files::read_whole(path, most).map_err(|error| error.to_string())
    };
    let from = places.from.to_string_lossy().into_owned();
    let imported = reader(&from, &mut Library::new(&mut fetch), &terms)
        .map_err(|error| Failure(NO, error.to_string()))?;
    let written = write(&imported, &at, places.force)?;
    if places.json {
        let mut all = imported.to_json();
        all["files"] = json!(written);
        say!("{all:#}");
    } else {
        super::output::print(format_args!("{}", imported.report()))?;
        written.iter().try_for_each(|path| super::output::print(format_args!("wrote {path}\n")))?;
    }
    judge(&at)
}

/// What `relevo check` says of it, as far as it is wrong.
fn judge(at: &Path) -> Result<(), Failure> {
    let path = at.join("relevo.toml");
    let text = relevo::check::read(&path).map_err(|error| Failure(NO, error.to_string()))?;
    let checked = check(&text, &path, LookedAt::File);
    for error in &checked.errors {
        complain!("{error}");
    }
    let path = path.display();
    match checked.errors.is_empty() {
        true => complain!("next: relevo check --no-ports --config {path}"),
        false => return Err(Failure(NO, format!("{path}: this is to be mended by hand"))),
    }
    Ok(())
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    Failure(WRONG_USE, format!("{}: {error}", path.display()))
}

/// All files, or none where one is in the way.
fn write(imported: &Imported, at: &Path, force: bool) -> Result<Vec<String>, Failure> {
    let hash = |password: &str| accounts::hash(password.as_bytes(), &process::random_bytes());
    let mut all = vec![("relevo.toml".to_owned(), imported.relevo_toml())];
    if !imported.shaping.is_empty() {
        all.push(("shaping.toml".to_owned(), imported.shaping_toml()));
    }
    all.push(("report.txt".to_owned(), imported.report()));
    if let Some(text) = imported.accounts_toml(hash) {
        all.push(("accounts.toml".to_owned(), text.map_err(|error| error.to_string())?));
    }
    all.extend(imported.files.iter().cloned());
    let there = all.iter().map(|(name, _)| at.join(name)).find(|path| path.symlink_metadata().is_ok());
    if let Some(there) = there.filter(|_| !force) {
        let words = format!("{}: it is there already; give another --output, or --force", there.display());
        return Err(Failure(NO, words));
    }
    let mut written = Vec::new();
    for (name, text) in &all {
        let path = at.join(name);
        let put = || {
            if let Some(parent) = path.parent() {
                files::make_directories(parent)?;
            }
            // Keys and passwords are for the relay's user alone, and so is all that stands beside them.
            let mut options = std::fs::OpenOptions::new();
            options.write(true).mode(files::FILE_MODE);
            let options = if force { options.create(true).truncate(true) } else { options.create_new(true) };
            let mut file = options.open(&path)?;
            file.set_permissions(std::fs::Permissions::from_mode(files::FILE_MODE))?;
            file.write_all(text.as_bytes())
        };
        put().map_err(|error: std::io::Error| unwritten(&path, &error))?;
        written.push(path.display().to_string());
    }
    Ok(written)
}

/// As 2026-12-01.
fn today() -> String {
    relevo::config::warmup::written(process::wall().day())
}
