//! Every directive of the original, and what became of it.

use super::library::ImportError;
use super::words::shown;
use crate::limits;

/// A directive, by its place in the ledger.
pub type Id = usize;

/// What becomes of a directive, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// This relay does so without being told, or it is of the other program alone.
    Default,
    /// It stands in what was made.
    Translated,
    /// The same, and it is not quite the same here.
    Differs,
    /// There is no equivalent: words say what to do.
    None,
    /// Nobody knows what it means.
    Unknown,
}

impl Outcome {
    /// All of them, as they are counted.
    pub const ALL: [Outcome; 5] =
        [Outcome::Translated, Outcome::Differs, Outcome::Default, Outcome::None, Outcome::Unknown];

    /// In reports.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Translated => "translated",
            Outcome::Differs => "differs",
            Outcome::Default => "default",
            Outcome::None => "no equivalent",
            Outcome::Unknown => "unknown",
        }
    }
}

/// One directive of the original.
#[derive(Clone, Debug)]
pub struct Directive {
    /// The file, as the original names it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// Its text, in one line and without passwords.
    pub text: String,
    /// What became of it; None while nobody has said.
    pub outcome: Option<Outcome>,
    /// What is to be said of that.
    pub words: String,
}

/// All of them, in the order in which they were met.
#[derive(Debug, Default)]
pub struct Ledger {
    all: Vec<Directive>,
}

impl Ledger {
    /// Enters one. Its text must have no password.
    pub fn add(&mut self, file: &str, line: usize, text: &str) -> Result<Id, ImportError> {
        if self.all.len() >= limits::IMPORT_DIRECTIVES_MAX {
            let problem = format!("more than {} directives", limits::IMPORT_DIRECTIVES_MAX);
            return Err(ImportError::new(file, line, problem));
        }
        self.all.push(Directive {
            file: file.to_owned(),
            line,
            text: shown(text),
            outcome: None,
            words: String::new(),
        });
        Ok(self.all.len() - 1)
    }

    /// It stands in what was made.
    pub fn translated(&mut self, id: Id) {
        self.mark(id, Outcome::Translated, "");
    }

    /// So it does, but is not quite the same.
    pub fn differs(&mut self, id: Id, words: &str) {
        self.mark(id, Outcome::Differs, words);
    }

    /// Nothing needs to be said of it here.
    pub fn usual(&mut self, id: Id, words: &str) {
        self.mark(id, Outcome::Default, words);
    }

    /// There is nothing like it.
    pub fn none(&mut self, id: Id, words: &str) {
        self.mark(id, Outcome::None, words);
    }

    /// Whoever marks one twice said so of two places that it came to: part of it stands and part does not.
    pub fn mark(&mut self, id: Id, outcome: Outcome, words: &str) {
        let Some(directive) = self.all.get_mut(id) else { return };
        let stands = |one| matches!(one, Outcome::Translated | Outcome::Differs);
        directive.outcome = Some(match directive.outcome {
            Some(before) if stands(before) && outcome == Outcome::None => Outcome::Differs,
            Some(Outcome::None) if stands(outcome) => Outcome::Differs,
            Some(before) => before.max(outcome),
            None => outcome,
        });
        let fits = directive.words.len() + words.len() <= limits::IMPORT_WORDS_MAX;
        if !words.is_empty() && fits && !directive.words.contains(words) {
            if !directive.words.is_empty() {
                directive.words.push_str("; ");
            }
            directive.words.push_str(words);
        }
    }

    /// What stood there is taken out again, and why.
    pub(super) fn withdraw(&mut self, id: Id, words: &str) {
        if let Some(directive) = self.all.get_mut(id) {
            directive.outcome = None;
            self.none(id, words);
        }
    }

    /// What nobody has marked is unknown.
    pub(super) fn close(&mut self) {
        for directive in self.all.iter_mut().filter(|one| one.outcome.is_none()) {
            directive.outcome = Some(Outcome::Unknown);
            directive
                .words
                .push_str("the importer does not know it: look it up, and say it in relevo's words");
        }
    }

    /// Whether somebody has said what becomes of it.
    pub fn is_marked(&self, id: Id) -> bool {
        self.all.get(id).is_some_and(|one| one.outcome.is_some())
    }

    /// All of them.
    pub fn all(&self) -> &[Directive] {
        &self.all
    }

    /// Of one, as comments name it: `main.cf:12: relayhost = smart.example`.
    pub fn origin(&self, id: Id) -> String {
        match self.all.get(id) {
            Some(one) => format!("{}:{}: {}", one.file, one.line, one.text),
            None => String::new(),
        }
    }

    /// How many have each outcome, in the order of [`Outcome::ALL`].
    pub fn counts(&self) -> [usize; 5] {
        Outcome::ALL.map(|outcome| self.all.iter().filter(|one| one.outcome == Some(outcome)).count())
    }
}
