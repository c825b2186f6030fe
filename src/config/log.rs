//! `[log]`, or several as `[[log]]`: where events are written, and which.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::config::literal::{Fix, Wrong, list, of_made, quoted, some_path, word};
use crate::config::nearest::nearest;
use crate::config::section::Section;
use crate::config::value::BadValue;
use crate::limits;
use crate::names::events::Kind;

/// A log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Its section: `log`, or `log[0]`.
    pub section: String,
    /// `path`; None is standard output ("-").
    pub path: Option<PathBuf>,
    /// `events`: the kinds that are written; None is all.
    pub events: Option<Vec<&'static str>>,
}

impl LogConfig {
    /// One with all events.
    pub fn to(path: PathBuf) -> LogConfig {
        LogConfig { section: "log".to_owned(), path: Some(path), events: None }
    }

    /// Whether what is written there is thrown away: then it need not be written.
    pub fn is_nowhere(&self) -> bool {
        self.path.as_deref() == Some(Path::new("/dev/null"))
    }
}

/// By one of its names. It may be a socket, the journal's for one, and those cannot be opened by name.
fn is_standard_output(path: &Path) -> bool {
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path == Path::new(name))
}

/// All logs. Where the file says nothing there is one; `log = []` is none.
pub(super) fn read(root: &Section<'_>) -> Vec<LogConfig> {
    let sections = root.one_or_more("log").unwrap_or_else(|| vec![root.absent("log")]);
    let mut logs: Vec<LogConfig> = Vec::new();
    for section in &sections {
        let log = one(section, sections.len() > 1);
        if logs.len() == limits::LOGS_MAX {
            let problem = format!("there are more than {} logs", limits::LOGS_MAX);
            section.fail("path", "", &problem, Fix::Do("remove some".to_owned()));
            break;
        }
        if logs.iter().any(|other| other.path == log.path) && !log.is_nowhere() {
            let fix = Fix::Do("name another file, or remove one of the two".to_owned());
            section.fail("path", "", "there is a log there already", fix);
        }
        logs.push(log);
    }
    logs
}

fn one(section: &Section<'_>, several: bool) -> LogConfig {
    const USUAL: &str = "/var/log/relevo/relevo.jsonl";
    let path = section.read("path", Some(USUAL.into()), |value| {
        let path = Some(some_path(value, USUAL)?).filter(|path| !is_standard_output(path));
        path.map(|path| of_made(path, USUAL)).transpose()
    });
    if several && section.lacks("path") {
        section.fail(
            "path",
            "events",
            "this key is missing",
            Fix::Write(quoted(USUAL), ", a file of its own".to_owned()),
        );
    }
    let events = section.read("events", None, |value| {
        let events = list(value, event, meant, "bounced")?;
        if events.is_empty() {
            return Err(Wrong::act("no event is written there", "name some, or remove the log"));
        }
        Ok(Some(events))
    });
    // One so far.
    section.read("format", (), |value| word(value, [("json", ())]));
    section.finish();
    LogConfig { section: section.place().1, path, events }
}

fn event(word: &str) -> Result<&'static str, BadValue> {
    static GRAMMAR: LazyLock<String> =
        LazyLock::new(|| format!("one of {}", Kind::all().map(Kind::word).collect::<Vec<_>>().join(", ")));
    Kind::all().map(Kind::word).find(|event| *event == word).ok_or_else(|| BadValue::Syntax(&GRAMMAR))
}

fn meant(word: &str) -> Option<String> {
    nearest(word, Kind::all().map(Kind::word), 3).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn logs(text: &str) -> Vec<LogConfig> {
        Config::parse(text, Path::new("relevo.toml")).unwrap().logs
    }

    fn error(text: &str) -> String {
        let errors = Config::parse(text, Path::new("relevo.toml")).expect_err(text);
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].to_string()
    }

    #[test]
    fn one_table_is_as_good_as_a_list() {
        let one = LogConfig { section: "log".into(), path: Some("/a".into()), events: None };
        assert_eq!(logs("[log]\npath = \"/a\"\n"), std::slice::from_ref(&one));
        let usual = LogConfig { path: Some("/var/log/relevo/relevo.jsonl".into()), ..one.clone() };
        assert_eq!((logs(""), logs("[log]\n")), (vec![usual.clone()], vec![usual]));
        let two = logs("[[log]]\npath = \"-\"\nevents = [\"bounced\", \"admin\"]\n[[log]]\npath = \"/a\"\n");
        let first =
            LogConfig { section: "log[0]".into(), path: None, events: Some(vec!["bounced", "admin"]) };
        assert_eq!(two, [first, LogConfig { section: "log[1]".into(), ..one }]);
        assert_eq!(logs("log = []\n"), []);
        assert_eq!(logs("[log]\nformat = \"json\"\n"), logs(""));
        assert!(logs("[log]\npath = \"/dev/null\"\n")[0].is_nowhere());
    }

    #[test]
    fn what_is_wrong_with_a_log_is_told() {
        for (text, wanted) in [
            (
                "[log]\nevents = [\"bounce\"]\n",
                "relevo.toml:2: log.events: \"bounce\" cannot be understood; write events = [\"bounced\"]",
            ),
            ("[log]\nevents = \"delivered\"\n", "write events = [\"delivered\"]"),
            ("[log]\nevents = []\n", "no event is written there; name some"),
            (
                "[[log]]\npath = \"/a\"\n[[log]]\npath = \"/a\"\n",
                "relevo.toml:4: log[1].path: there is a log there already",
            ),
            ("[[log]]\npath = \"/a\"\n[[log]]\nevents = [\"admin\"]\n", "log[1].path: this key is missing"),
            ("[[log]]\npath = \"/a\"\nfomat = \"json\"\n", "log[0].fomat: unknown key"),
            ("[log]\nformat = \"csv\"\n", "write format = \"json\""),
            ("log = \"/a\"\n", "write it as [log] with its keys below"),
            ("log = [1]\n", "write each as [[log]]"),
        ] {
            let found = error(text);
            assert!(found.contains(wanted), "{text}: {found}");
        }
        let many: String = (0..=limits::LOGS_MAX).map(|at| format!("[[log]]\npath = \"/{at}\"\n")).collect();
        assert!(error(&many).contains("more than 8 logs"));
    }
}
