//! `relevo completions` and `relevo man`: what a package installs beside the binary, made from the same arguments that it parses.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::commands::output::{Failure, WRONG_USE};

const NAME: &str = "relevo";

#[derive(Args)]
pub struct CompletionArguments {
    /// The shell: bash, elvish, fish, powershell or zsh.
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    shell: Shell,
}

#[derive(Args)]
pub struct ManArguments {
    /// Where the pages go, one a command; made if it is not there.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// `relevo completions`
pub fn completions(mut commands: Command, arguments: &CompletionArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut commands, NAME, &mut script);
    print(&script)
}

/// `relevo man`
pub fn man(commands: Command, arguments: &ManArguments) -> Result<(), Failure> {
    let mut commands = commands.name(NAME).disable_help_subcommand(true);
    commands.build();
    match &arguments.directory {
        None => print(&page(&commands, None)?),
        Some(directory) => {
            let unwritten = |error| Failure(WRONG_USE, format!("{}: {error}", directory.display()));
            fs::create_dir_all(directory).map_err(unwritten)?;
            write_pages(&commands, None, directory).map_err(unwritten)
        }
    }
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    Ok(out.flush()?)
}

/// The page of a command, and those of the commands in it.
fn write_pages(command: &Command, above: Option<&str>, directory: &Path) -> io::Result<()> {
    let name = name_of(command);
    fs::write(directory.join(format!("{name}.1")), page(command, above)?)?;
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .try_for_each(|command| write_pages(command, Some(name), directory))
}

fn name_of(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// A page (man-pages(7) has the order of its sections).
fn page(command: &Command, above: Option<&str>) -> io::Result<Vec<u8>> {
    let (name, mut out) = (name_of(command), Vec::new());
    let source = format!("{NAME} {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(name.to_uppercase()).source(source).manual(NAME);
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut out)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    if let Some(help) = command.get_after_help() {
        writeln!(out, ".SH EXAMPLES")?;
        examples(&help.to_string(), &mut out)?;
    }
    writeln!(
        out,
        ".SH EXIT STATUS\n0: done. 1: no, as the description says. 2: wrong use, or a file that cannot be read or written."
    )?;
    match above {
        None => out.write_all(FILES.as_bytes())?,
        Some(above) => writeln!(out, ".SH SEE ALSO\n.BR {} (1)", escaped(above))?,
    }
    Ok(out)
}

const FILES: &str = "\
.SH FILES
.TP
.I /etc/relevo/relevo.toml
The configuration. Each key with its default: /usr/share/doc/relevo/relevo.toml, or deploy/relevo.toml of the sources.
.TP
.I /var/lib/relevo
The spool, and what else is kept over restarts.
.TP
.I /var/log/relevo/relevo.jsonl
The log of what happened to each message.
.TP
.I /var/lib/relevo/control.sock
Where commands ask the running relay.
.SH SEE ALSO
.BR systemctl (1),
.BR logrotate (8)
";

/// Examples stand as they are, other words are filled.
fn examples(help: &str, out: &mut Vec<u8>) -> io::Result<()> {
    for line in help.lines() {
        let line = line.strip_prefix("Examples:").unwrap_or(line);
        if let Some(example) = line.strip_prefix("  ").or_else(|| line.strip_prefix("Example: ")) {
            writeln!(out, ".PP\n.nf\n.RS 4\n{}\n.RE\n.fi", escaped(example))?;
        } else if line.is_empty() {
            writeln!(out, ".PP")?;
        } else {
            writeln!(out, "{}", escaped(line))?;
        }
    }
    Ok(())
}

/// As roff takes it for text: no escapes, no hyphens that are minus signs, no requests.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_stand_as_they_are() {
        let mut out = Vec::new();
        examples("Examples:\n  relevo x --reply '4\\.7'\n\n.And more.", &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            ".PP\n.PP\n.nf\n.RS 4\nrelevo x \\-\\-reply \\(aq4\\e.7\\(aq\n.RE\n.fi\n.PP\n\\&.And more.\n"
        );
    }
}
