use super::*;
use crate::config::Particulars;
use crate::control::api::shape::LedElsewhere;
use crate::control::edits::{Edits, NotEdited};
use crate::policy::tokens::{self, Role, edit};
use crate::queue::select::ScanPosition;
use crate::runtime::Bell;
use crate::shard::assignment::Assignment;
use crate::shard::live::Contents;

/// With the configuration in this file, of one shard that nobody runs.
fn reloader(file: &Path, text: &str) -> Reloader {
    std::fs::write(file, text).unwrap();
    let config = Config::parse(text, file).unwrap();
    let greedy = Particulars { connections_inbound_max: 1 << 30, ..config.particulars(1).remove(0) };
    let mesh = Arc::new(Mesh::new(vec![Arc::new(Bell::new())], Assignment::in_turn(1, 1)));
    Reloader::new(Started {
        boot: Arc::new(Boot::of(&config)),
        written: addresses(&config),
        live: Arc::new(LiveConfig::new(Arc::new(config), Contents::default(), 1)),
        mesh,
        health: Arc::default(),
        own_servers: false,
        shown: Vec::new(),
        journaled: true,
        room: ListenerRoom::beside(&[greedy], 1),
    })
}

const TEXT: &str = "[node]\nhostname = \"mx1.example.net\"\ndata_dir = \"/nowhere\"\nshards = 1\n\
                    [[listener]]\naddress = \"127.0.0.1:0\"\n[dns]\nservers = [\"127.0.0.1\"]\nhosts = \"\"\n";

#[test]
fn one_that_finds_another_under_way_is_refused_and_counts() {
    let scratch = tempfile::tempdir().unwrap();
    let reloader = reloader(&scratch.path().join("relevo.toml"), TEXT);
    let counts = || (reloader.counts.get(0), reloader.counts.get(1));
    let other = lock(&reloader.state);
    let refused = reloader.reload(false, "test");
    assert!(!refused.ok && refused.errors[0].problem.contains("already"), "{refused:?}");
    assert_eq!(counts(), (0, 1));
    assert!(!reloader.reload(true, "test").ok);
    assert_eq!(counts(), (0, 1), "it only asked");
    drop(other);
    assert!(reloader.reload(true, "test").ok);
    assert_eq!(counts(), (0, 1));
}

#[test]
fn a_shaping_file_that_is_wrong_is_refused_with_its_line() {
    let scratch = tempfile::tempdir().unwrap();
    let (file, shaping) = (scratch.path().join("relevo.toml"), scratch.path().join("shaping.toml"));
    let reloader = reloader(&file, TEXT);
    std::fs::write(&file, format!("{TEXT}[shaping]\nfiles = [{shaping:?}]\n")).unwrap();
    let with = |text: &str| {
        std::fs::write(&shaping, text).unwrap();
        reloader.reload(true, "test")
    };
    let refused = with("[default]\nmax_ready = 1\nconection_limit = 3\n");
    let [Finding { file, line, fix, .. }] = &refused.errors[..] else { panic!("{refused:?}") };
    assert!(!refused.ok && *file == shaping.display().to_string() && *line == Some(3), "{refused:?}");
    assert_eq!(fix, "did you mean connection_limit = 3?");
    let done = with("[default]\nmax_ready = 1\nconnection_limit = 3\n");
    assert!(done.ok && done.changes == ["shaping changed"], "{done:?}");
    assert_eq!(done.warnings.last().map(|warning| &*warning.key), Some("default.max_ready"));
}

#[test]
fn listeners_that_there_are_no_files_for_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("relevo.toml");
    let reloader = reloader(&file, TEXT);
    let with = |more: u64| {
        let all: String =
            (0..more).map(|at| format!("[[listener]]\naddress = \"127.0.0.2:{}\"\n", 40_000 + at)).collect();
        std::fs::write(&file, format!("{TEXT}{all}")).unwrap();
        reloader.reload(true, "test").errors
    };
    assert_eq!(with(limits::DESCRIPTORS_LISTENERS), []);
    let refused = with(limits::DESCRIPTORS_LISTENERS + 1);
    assert_eq!(refused.len(), 1, "{refused:?}");
    let Finding { key, problem, fix, .. } = &refused[0];
    assert!(key == "listener[9].address" && problem.starts_with("10 listeners on 1 shards"), "{refused:?}");
    assert!(fix.contains("LimitNOFILE=") && fix.contains("restart"), "{fix}");
}

#[test]
fn mail_is_counted_where_routes_differ() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("relevo.toml");
    let reloader = reloader(&file, TEXT);
    assert_eq!(reloader.reload(true, "test").led_elsewhere, None, "all routes are as they were");
    std::fs::write(&file, format!("{TEXT}[[route]]\ndomain = \"*\"\nto = \"smtp://a.example\"\n")).unwrap();
    let not_counted = Some(LedElsewhere { recipients: 0, counted: false });
    assert_eq!(reloader.reload(true, "test").led_elsewhere, not_counted, "the relay does not serve");
    reloader.health.open();
    let asker = Arc::new(());
    for _ in 0..limits::ASKS_MAX {
        let reply = Reply::new(&asker, |_| ());
        reloader.mesh.asks().ask(0, Ask::Count(Arc::default(), ScanPosition::default(), reply)).unwrap();
    }
    let done = reloader.reload(true, "test");
    assert_eq!((done.ok, done.led_elsewhere), (true, not_counted), "too much is asked already");
}

/// A file of tokens with one of each of these, and the reloader whose configuration names it.
fn with_tokens(directory: &Path, text: &str) -> (std::path::PathBuf, Reloader) {
    let tokens = directory.join("tokens");
    std::fs::write(&tokens, text).unwrap();
    let text = format!("{TEXT}[control]\ntokens = {tokens:?}\n");
    let reloader = reloader(&directory.join("relevo.toml"), &text);
    (tokens, reloader)
}

#[test]
fn a_token_is_in_the_file_and_in_force_or_in_neither() {
    let scratch = tempfile::tempdir().unwrap();
    let (file, reloader) = with_tokens(scratch.path(), "# ours\n");
    let add = |name: &str, secret: &str| {
        let (name, hash) = (name.to_owned(), tokens::hash(secret));
        reloader.edit_tokens(&mut |text| edit::add(text, (&name, Role::Read, ""), &hash))
    };
    let let_in = |secret: &str| {
        let tokens = reloader.access().tokens;
        tokens.is_some_and(|tokens| tokens.find(secret).is_some())
    };
    add("ops", "one").unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# ours\nops:read::") && let_in("one"), "{text}");
    // What is refused changes neither.
    assert!(matches!(add("ops", "two"), Err(NotEdited::There(_))));
    assert!(matches!(add("o ps", "two"), Err(NotEdited::Unsound(_))));
    let gone = reloader.edit_tokens(&mut |text| edit::remove(text, "nobody"));
    assert!(matches!(gone, Err(NotEdited::NotThere(_))));
    let other = lock(&reloader.state);
    assert!(matches!(add("late", "two"), Err(NotEdited::UnderWay)), "a reload may have read the file");
    drop(other);
    assert!(std::fs::read_to_string(&file).unwrap() == text && !let_in("two") && let_in("one"));
    // What was changed beside it comes into force with it, and is named.
    let grown = edit::add(&text, ("beside", Role::Admin, ""), &tokens::hash("three")).unwrap();
    std::fs::write(&file, grown).unwrap();
    let listed = reloader.tokens().unwrap();
    assert_eq!((listed.of_file.all().len(), listed.in_force.all().len()), (2, 1));
    let done = reloader.edit_tokens(&mut |text| edit::remove(text, "ops")).unwrap();
    assert_eq!(done.others("ops"), ["beside"]);
    assert!(!let_in("one") && let_in("three"));
    // What cannot be read, or is not there to be written, is told.
    std::fs::write(&file, "nonsense\n").unwrap();
    assert!(matches!(add("late", "two"), Err(NotEdited::Unusable(..))) && let_in("three"));
    assert!(matches!(reloader.tokens(), Err(NotEdited::Unusable(..))));
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(matches!(add("late", "two"), Err(NotEdited::Unusable(..))) && let_in("three"));
}

#[test]
fn without_a_file_of_tokens_none_is_made() {
    let scratch = tempfile::tempdir().unwrap();
    let reloader = reloader(&scratch.path().join("relevo.toml"), TEXT);
    let done = reloader.edit_tokens(&mut |_| Ok("a:read::".to_owned() + &tokens::hash("x")));
    assert!(matches!(done, Err(NotEdited::NoFile("control.tokens"))));
    assert!(matches!(reloader.tokens(), Err(NotEdited::NoFile(_))) && reloader.access().tokens.is_none());
}
