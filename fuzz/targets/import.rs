//! Configurations of other relays, as somebody wrote them.

use std::path::Path;

use relevo::config::Config;
use relevo::import::prove::{refused_configuration, refused_shaping};
use relevo::import::{ImportError, Imported, Library, Outcome, Terms, kumo, pmta, postfix};

type Reader = fn(&str, &mut Library<'_>, &Terms) -> Result<Imported, ImportError>;

/// Up to the first 0x16 the file, behind each further one another that it may name: what is made is accepted, every directive has an outcome.
fn import(reader: Reader, from: &str, names: &[&str], data: &[u8]) {
    let files: Vec<&[u8]> = data.split(|byte| *byte == 0x16).collect();
    let mut fetch = |path: &str, _| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let at = names.iter().position(|one| *one == name);
        at.and_then(|at| files.get(at)).map(|bytes| bytes.to_vec()).ok_or_else(|| "No such file".to_owned())
    };
    let terms = Terms { at: "/etc/relevo".to_owned(), today: "2026-12-01".to_owned() };
    let imported = match reader(from, &mut Library::new(&mut fetch), &terms) {
        Ok(imported) => imported,
        Err(error) => return assert!(!error.problem.is_empty() && !error.file.is_empty()),
    };
    let text = imported.relevo_toml();
    assert!(refused_configuration(&text).is_empty(), "{text}");
    assert!(Config::parse(&text, Path::new("relevo.toml")).is_ok());
    let text = imported.shaping_toml();
    assert!(refused_shaping(&text).is_empty(), "{text}");
    let all = imported.ledger.all();
    assert_eq!(imported.ledger.counts().iter().sum::<usize>(), all.len());
    for one in all {
        let told = one.outcome == Some(Outcome::Translated) || !one.words.is_empty();
        assert!(told && one.outcome.is_some() && one.line > 0, "{one:?}");
        assert!(!one.text.contains(|letter: char| letter.is_control()), "{one:?}");
    }
}

/// main.cf, master.cf, and three maps.
pub fn import_postfix(data: &[u8]) {
    import(
        postfix::import,
        "/etc/postfix",
        &["main.cf", "master.cf", "transport", "sasl_passwd", "senders"],
        data,
    );
}

/// The configuration, and one that it may include.
pub fn import_pmta(data: &[u8]) {
    import(pmta::import, "/etc/pmta/config", &["config", "more"], data);
}

/// The policy and its helper files.
pub fn import_kumo(data: &[u8]) {
    let names = [
        "init.lua",
        "shaping.toml",
        "queues.toml",
        "sources.json",
        "listener_domains.toml",
        "dkim_data.toml",
    ];
    import(kumo::import, "/policy", &names, data);
}
