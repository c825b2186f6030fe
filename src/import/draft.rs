//! A file that is being made: sections of lines, each with the directives that it is from.

use std::collections::HashMap;

use super::ledger::{Id, Ledger};

/// `key = value`
#[derive(Clone, Debug)]
pub struct Line {
    /// Its key.
    pub key: String,
    /// As TOML.
    pub value: String,
    /// What it is from.
    pub from: Vec<Id>,
    /// Why it is only a comment, if it is.
    pub off: Option<String>,
}

/// What stands below one head.
#[derive(Clone, Debug)]
pub struct Section {
    /// `[node]`, `[[listener]]`
    pub head: String,
    /// What it is from.
    pub from: Vec<Id>,
    /// In order.
    pub lines: Vec<Line>,
    /// Why all of it is only a comment, if it is.
    pub off: Option<String>,
}

/// A file of sections.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// In order.
    pub sections: Vec<Section>,
    tables: HashMap<String, usize>,
}

/// Where a line of the text is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Its section.
    pub section: usize,
    /// None: the head.
    pub line: Option<usize>,
}

impl Section {
    /// Says it once more; what was said before of this key is overruled.
    pub fn set(&mut self, key: &str, value: &str, from: &[Id]) {
        match self.lines.iter_mut().find(|line| line.key == key) {
            Some(line) => {
                line.value = value.to_owned();
                line.from = from.to_vec();
            }
            None => self.lines.push(Line {
                key: key.to_owned(),
                value: value.to_owned(),
                from: from.to_vec(),
                off: None,
            }),
        }
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.lines.iter().find(|line| line.key == key).map(|line| line.value.as_str())
    }
}

impl Draft {
    /// Whether nothing stands in it.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// One more section, of which there may be several.
    pub fn push(&mut self, head: &str, from: &[Id]) -> &mut Section {
        self.sections.push(Section {
            head: head.to_owned(),
            from: from.to_vec(),
            lines: Vec::new(),
            off: None,
        });
        let last = self.sections.len() - 1;
        &mut self.sections[last]
    }

    /// The section that is there once.
    pub fn table(&mut self, head: &str) -> &mut Section {
        let at = match self.tables.get(head) {
            Some(at) => *at,
            None => {
                self.push(head, &[]);
                self.tables.insert(head.to_owned(), self.sections.len() - 1);
                self.sections.len() - 1
            }
        };
        &mut self.sections[at]
    }

    /// A line of such a section.
    pub fn set(&mut self, head: &str, key: &str, value: &str, from: &[Id]) {
        self.table(head).set(key, value, from);
    }

    /// Whether there is such a section.
    pub fn has(&self, head: &str) -> bool {
        self.sections.iter().any(|section| section.head == head)
    }

    /// The text, and where each of its lines is from.
    pub fn render(&self, title: &str, ledger: &Ledger) -> (String, Vec<Option<Spot>>) {
        let (mut text, mut spots) = (String::new(), Vec::new());
        let mut put = |line: String, spot: Option<Spot>| {
            text.push_str(&line);
            text.push('\n');
            spots.push(spot);
        };
        title.lines().for_each(|line| put(format!("# {line}"), None));
        for (at, section) in self.sections.iter().enumerate() {
            put(String::new(), None);
            if let Some(why) = &section.off {
                put(format!("# left out: {why}"), None);
            }
            let mark = if section.off.is_some() { "# " } else { "" };
            comment(&section.from, &section.head, ledger).into_iter().for_each(|line| put(line, None));
            let head = with_origin(format!("{mark}{}", section.head), &section.from, ledger);
            put(head, Some(Spot { section: at, line: None }));
            for (place, line) in section.lines.iter().enumerate() {
                if let Some(why) = &line.off {
                    put(format!("# left out: {why}"), None);
                }
                let mark = if line.off.is_some() { "# " } else { mark };
                let words = format!("{mark}{} = {}", line.key, line.value);
                comment(&line.from, &words, ledger).into_iter().for_each(|line| put(line, None));
                put(with_origin(words, &line.from, ledger), Some(Spot { section: at, line: Some(place) }));
            }
        }
        (text, spots)
    }
}

/// One origin stands behind its line, several in front.
fn with_origin(line: String, from: &[Id], ledger: &Ledger) -> String {
    match from {
        [one] => format!("{line}  # {}", ledger.origin(*one)),
        _ => line,
    }
}

fn comment(from: &[Id], _: &str, ledger: &Ledger) -> Vec<String> {
    if from.len() < 2 {
        return Vec::new();
    }
    let mut from = from.to_vec();
    from.sort_unstable();
    from.dedup();
    from.iter().map(|id| format!("# {}", ledger.origin(*id))).collect()
}
