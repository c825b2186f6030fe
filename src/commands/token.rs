//! `relevo token …`: the file of those who may ask over HTTP, changed as a whole and with all else in it as it was.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use relevo::limits;
use relevo::policy::tokens::edit;
use relevo::policy::tokens::{self, Role, Tokens};
use relevo::runtime::process;
use serde::Serialize;

use super::edited;
use super::output::{Failure, say, warn};

/// `relevo token …`
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Add a token, and print it: once, as the file keeps a hash alone.
    #[command(
        after_help = "Examples:\n  relevo token add ops --role operate > ~/.relevo-token\n  relevo token add shop --role read --tenant shop\n  relevo token add app --role send --tenant shop\n\n`relevo reload` puts it in force."
    )]
    Add {
        #[command(flatten)]
        place: Place,
        /// Its name, by which events and the log call whoever has it.
        name: String,
        /// What it may: `send` hands in mail by `[api]`, `read` looks, `operate` moves mail, `admin` changes the node.
        #[arg(long, value_enum)]
        role: RoleWord,
        /// The tenant whose mail alone it sees and moves [default: all mail].
        #[arg(long, default_value = "", hide_default_value = true)]
        tenant: String,
    },
    /// Show who has a token, and what it may. No hash is shown.
    #[command(after_help = "Examples:\n  relevo token list\n  relevo token list --json")]
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON, one object a line.
        #[arg(long)]
        json: bool,
    },
    /// Remove a token. `relevo reload` then lets it in no more.
    #[command(after_help = "Example: relevo token remove shop && relevo reload")]
    Remove {
        #[command(flatten)]
        place: Place,
        /// Whose.
        name: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleWord {
    Send,
    Read,
    Operate,
    Admin,
}

/// Which file.
#[derive(Args)]
#[group(multiple = false)]
struct Place {
    /// The configuration whose control.tokens names it [default: /etc/relevo/relevo.toml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The file of tokens itself.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
}

/// Exit 0: it is done; 1: it is not, and the file is as it was.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.tool {
        Tool::Add { place, name, role, tenant } => {
            let path = place.path()?;
            let role = match role {
                RoleWord::Send => Role::Send,
                RoleWord::Read => Role::Read,
                RoleWord::Operate => Role::Operate,
                RoleWord::Admin => Role::Admin,
            };
            let secret = tokens::secret(&process::random_bytes());
            edited::change(&path, limits::TOKENS_FILE_MAX, |text| {
                edit::add(text, (&name, role, &tenant), &tokens::hash(&secret))
            })?;
            // Alone on standard output, so that it can be kept as it is.
            say!("{secret}");
            warn(format_args!(
                "{}: {name} is added; this is shown once. `relevo reload` puts it in force",
                path.display()
            ));
            Ok(())
        }
        Tool::List { place, json } => list(&place, json),
        Tool::Remove { place, name } => {
            let path = place.path()?;
            edited::change(&path, limits::TOKENS_FILE_MAX, |text| edit::remove(text, &name))?;
            say!("{}: {name} is removed; `relevo reload` puts it in force", path.display());
            Ok(())
        }
    }
}

impl Place {
    fn path(&self) -> Result<PathBuf, Failure> {
        let key = ("control.tokens", "--tokens");
        edited::path(self.tokens.as_ref(), self.config.as_deref(), |config| config.access.tokens, key)
    }
}

/// One token, as it is listed.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    role: &'static str,
    tenant: Option<&'a str>,
}

fn list(place: &Place, json: bool) -> Result<(), Failure> {
    let path = place.path()?;
    let all = edited::read(&path, limits::TOKENS_FILE_MAX, Tokens::parse)?;
    for token in all.all() {
        let listed = Listed { name: &token.name, role: token.role.word(), tenant: token.tenant.as_deref() };
        match (json, listed.tenant) {
            (true, _) => say!("{}", serde_json::to_string(&listed).map_err(|error| error.to_string())?),
            (false, Some(tenant)) => say!("{:<24} {:<8} tenant={tenant}", listed.name, listed.role),
            (false, None) => say!("{:<24} {}", listed.name, listed.role),
        }
    }
    Ok(())
}
