//! master.cf: services, and what each says otherwise than main.cf.

use std::collections::BTreeMap;

use super::parameters::{Parameter, logical_lines};
use crate::import::{Id, ImportError, Ledger};

/// One line of master.cf.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// `smtp`, `127.0.0.1:10025`
    pub name: String,
    /// `inet`, `unix`
    pub kind: String,
    /// `smtpd`, `pipe`
    pub command: String,
    /// None: there is no master.cf, and this is what it usually says.
    pub id: Option<Id>,
    /// `-o name=value`
    pub options: BTreeMap<String, Parameter>,
}

impl Service {
    /// What a master.cf has that nobody has changed.
    pub fn usual() -> Service {
        Service { name: "smtp".into(), kind: "inet".into(), command: "smtpd".into(), ..Service::default() }
    }
}

/// Reads the file.
pub(super) fn read(text: &str, ledger: &mut Ledger) -> Result<Vec<Service>, ImportError> {
    let mut services = Vec::new();
    for line in logical_lines(text) {
        let words = words(&line.pieces);
        let head: Vec<&str> = words.iter().take(8).map(|word| word.1.as_str()).collect();
        let id = ledger.add("master.cf", line.line(), &head.join(" "))?;
        let [name, kind, _, _, _, _, _, command] = head[..] else {
            ledger.none(id, "a service has eight columns; Postfix refuses this line");
            continue;
        };
        let mut service = Service {
            name: name.to_owned(),
            kind: kind.to_owned(),
            command: command.to_owned(),
            id: Some(id),
            options: BTreeMap::new(),
        };
        let mut rest = words[8..].iter();
        while let Some((line, word)) = rest.next() {
            let option = match word.strip_prefix("-o") {
                Some("") => rest.next().map(|word| word.1.clone()),
                Some(option) => Some(option.to_owned()),
                None => None,
            };
            let Some(option) = option else {
                // Arguments of other commands stand in the line of the service, and may have an -o of their own.
                break;
            };
            let id = ledger.add("master.cf", *line, &format!("-o {option}"))?;
            let option = option.trim_start_matches('{').trim_end_matches('}');
            let Some((name, value)) = option.split_once('=') else {
                ledger.none(id, "it is no name=value");
                continue;
            };
            let new = Parameter { value: value.trim().to_owned(), id };
            if let Some(before) = service.options.insert(name.trim().to_owned(), new) {
                ledger.usual(before.id, "a later option overrules it");
            }
        }
        services.push(service);
    }
    Ok(services)
}

/// Words with their lines; what stands in braces is one.
fn words(pieces: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut words: Vec<(usize, String)> = Vec::new();
    let mut depth = 0usize;
    for (line, piece) in pieces {
        for word in piece.split_whitespace() {
            let inside = depth > 0;
            depth = (depth + word.matches('{').count()).saturating_sub(word.matches('}').count());
            match words.last_mut().filter(|_| inside) {
                Some((_, last)) => {
                    last.push(' ');
                    last.push_str(word);
                }
                None => words.push((*line, word.to_owned())),
            }
        }
    }
    words
}
