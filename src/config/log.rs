//! `[log]`, or several as `[[log]]`: where events are written, which, in which format, and when their files are moved aside.

mod fields;
mod rotate;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::config::literal::{Fix, Wrong, boolean, list, of_made, quoted, some_path, word};
use crate::config::nearest::nearest;
use crate::config::section::Section;
use crate::config::value::BadValue;
use crate::limits;
use crate::names::events::Kind;

pub use fields::LogFormat;
pub use rotate::{Keep, Rotate};

/// A log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Its section: `log`, or `log[0]`.
    pub section: String,
    /// `path`; None is standard output ("-").
    pub path: Option<PathBuf>,
    /// `events`: the kinds that are written; None is all.
    pub events: Option<Vec<&'static str>>,
    /// `format`
    pub format: LogFormat,
    /// `fields`: what is written of each; None is all that the format has.
    pub fields: Option<Vec<&'static str>>,
    /// `redact`: addresses that nobody can read there.
    pub redact: Vec<Redacted>,
    /// `rotate`; None: a log rotator does it, or nobody.
    pub rotate: Option<Rotate>,
    /// `compress`: what was moved aside is compressed.
    pub compress: bool,
    /// `keep`; None: nothing is removed.
    pub keep: Option<Keep>,
}

/// Whose addresses nobody can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redacted {
    /// Those of recipients.
    Recipient,
    /// Those of senders.
    Sender,
}

impl LogConfig {
    /// One with all events.
    pub fn to(path: PathBuf) -> LogConfig {
        LogConfig {
            section: "log".to_owned(),
            path: Some(path),
            events: None,
            format: LogFormat::Json,
            fields: None,
            redact: Vec::new(),
            rotate: None,
            compress: false,
            keep: None,
        }
    }

    /// The file of the first of these that has JSON in it: the one that is asked what became of mail.
    pub fn first_json(logs: &[LogConfig]) -> Option<&Path> {
        let is_json = |log: &&LogConfig| log.format == LogFormat::Json && !log.is_nowhere();
        logs.iter().filter(is_json).find_map(|log| log.path.as_deref())
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
    const FORMATS: [(&str, LogFormat); 3] =
        [("json", LogFormat::Json), ("pmta-csv", LogFormat::PmtaCsv), ("kumo-json", LogFormat::KumoJson)];
    let format = section.read("format", LogFormat::Json, |value| word(value, FORMATS));
    let fields = section.read("fields", None, |value| fields::read(value, format));
    let redact = section.read("redact", Vec::new(), |value| {
        list(value, redacted, |word| Some(word.strip_suffix('s')?.to_owned()), "recipient")
    });
    let rotate = section.read("rotate", None, rotate::rule);
    let compress = section.read("compress", false, boolean);
    let keep = section.read("keep", None, rotate::keep);
    if rotate.is_none() && (compress || keep.is_some()) {
        let key = if compress { "compress" } else { "keep" };
        let fix = Fix::Write(quoted("1GiB/1d"), format!(", or remove {key}"));
        section.fail("rotate", key, "without this key nothing is moved aside", fix);
    }
    if rotate.is_some() && path.is_none() {
        let fix = Fix::Do("remove it, or give path a file".to_owned());
        section.fail("rotate", "", "standard output is not moved aside", fix);
    }
    section.finish();
    LogConfig { section: section.place().1, path, events, format, fields, redact, rotate, compress, keep }
}

fn redacted(word: &str) -> Result<Redacted, BadValue> {
    match word {
        "recipient" => Ok(Redacted::Recipient),
        "sender" => Ok(Redacted::Sender),
        _ => Err(BadValue::Syntax("one of recipient, sender")),
    }
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
        let one = LogConfig::to("/a".into());
        assert_eq!(logs("[log]\npath = \"/a\"\n"), std::slice::from_ref(&one));
        let usual = LogConfig { path: Some("/var/log/relevo/relevo.jsonl".into()), ..one.clone() };
        assert_eq!((logs(""), logs("[log]\n")), (vec![usual.clone()], vec![usual]));
        let two = logs("[[log]]\npath = \"-\"\nevents = [\"bounced\", \"admin\"]\n[[log]]\npath = \"/a\"\n");
        let events = Some(vec!["bounced", "admin"]);
        let first = LogConfig { section: "log[0]".into(), path: None, events, ..one.clone() };
        assert_eq!(two, [first, LogConfig { section: "log[1]".into(), ..one }]);
        assert_eq!(logs("log = []\n"), []);
        assert_eq!(logs("[log]\nformat = \"json\"\n"), logs(""));
        assert!(logs("[log]\npath = \"/dev/null\"\n")[0].is_nowhere());
    }

    #[test]
    fn formats_fields_and_rotations_are_read() {
        let one = |text: &str| logs(&format!("[log]\n{text}\n"))[0].clone();
        assert_eq!(one("format = \"kumo-json\"").format, LogFormat::KumoJson);
        assert_eq!(one("fields = [\"recipients\", \"reply\"]").fields, Some(vec!["recipients", "reply"]));
        let csv = one("format = \"pmta-csv\"\nfields = [\"*\", \"!orcpt\", \"eventId\"]").fields.unwrap();
        assert!(
            csv.contains(&"type") && !csv.contains(&"orcpt") && csv.last() == Some(&"eventId"),
            "{csv:?}"
        );
        assert_eq!(
            one("redact = [\"recipient\", \"sender\"]").redact,
            [Redacted::Recipient, Redacted::Sender]
        );
        for (text, size, span) in [
            ("1GiB/1h", Some(1 << 30), Some(3600)),
            ("1d/64MiB", Some(64 << 20), Some(86_400)),
            ("100MB", Some(100_000_000), None),
            ("1d", None, Some(86_400)),
        ] {
            let rotate = one(&format!("rotate = \"{text}\"")).rotate.unwrap();
            assert_eq!((rotate.size, rotate.span.map(|span| span.as_secs())), (size, span), "{text}");
        }
        let kept = one("rotate = \"1d\"\ncompress = true\nkeep = 14");
        assert_eq!((kept.compress, kept.keep), (true, Some(Keep::Files(14))));
        let days = std::time::Duration::from_secs(30 * 86_400);
        assert_eq!(one("rotate = \"1d\"\nkeep = \"30d\"").keep, Some(Keep::Age(days)));
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
            ("[log]\nformat = \"pmta\"\n", "write format = \""),
            ("[log]\nfields = [\"recipent\"]\n", "write fields = [\"recipients\"]"),
            ("[log]\nformat = \"pmta-csv\"\nfields = [\"rcp\"]\n", "write fields = [\"rcpt\"]"),
            ("[log]\nformat = \"pmta-csv\"\nfields = [\"!type\", \"*\"]\n", "log.fields"),
            ("[log]\nfields = []\n", "nothing is written of each event"),
            ("[log]\nredact = [\"recipients\"]\n", "write redact = [\"recipient\"]"),
            ("[log]\nrotate = \"1 day\"\n", "write rotate = \"1GiB/1d\""),
            ("[log]\nrotate = \"1KiB\"\n", "log.rotate"),
            (
                "[log]\ncompress = true\n",
                "log.rotate: without this key nothing is moved aside; add rotate = \"1GiB/1d\", or remove compress",
            ),
            ("[log]\nkeep = \"30d\"\n", "or remove keep"),
            ("[log]\npath = \"-\"\nrotate = \"1d\"\n", "standard output is not moved aside"),
            ("[log]\nrotate = \"1d\"\nkeep = \"many\"\n", "write keep = \"30d\""),
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
