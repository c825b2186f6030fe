use super::*;

/// Each with its words: a start fails there, and makes nothing of it before.
#[test]
fn places_that_cannot_be_are_told() {
    use std::os::unix::fs::symlink;
    let scratch = Scratch::new();
    symlink("/nowhere/at/all", scratch.path("dangling")).unwrap();
    symlink("new", scratch.path("to new")).unwrap();
    symlink("circle", scratch.path("circle")).unwrap();
    let long = "x".repeat(300);
    for (key, from) in [("node.data_dir", "spool"), ("log.path", "log.jsonl")] {
        for (to, words) in [
            ("dangling", "link to "),
            ("circle", "symbolic links"),
            (&long, "more than 255 bytes"),
            (r"a\u0000b", "zero byte"),
            ("dangling/x", "a link to nothing"),
        ] {
            let found = scratch.check(|text| {
                text.replace(&format!("\"{}\"", scratch.path(from)), &format!("\"{}\"", scratch.path(to)))
            });
            let told = lines(&found.errors);
            assert!(found.errors.len() == 1 && told.contains(key) && told.contains(words), "{to}: {told}");
        }
    }
    let log = |to: &str| {
        let found = scratch.check(|text| text.replace(&scratch.path("log.jsonl"), &scratch.path(to)));
        lines(&found.errors)
    };
    assert!(log("new/").contains("it ends in a slash"), "{}", log("new/"));
    assert!(log("spool").contains("node.data_dir"), "{}", log("spool"));
    assert_eq!(log("to new") + &log("deep/er/log"), "");
}

#[test]
fn a_socket_for_commands_that_cannot_be_had_is_told() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("spool/directory")).unwrap();
    fs::set_permissions(scratch.path("spool"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(scratch.path("file"), "").unwrap();
    let other = crate::runtime::local::listen(Path::new(&scratch.path("served")), 8).unwrap();
    // One that was killed leaves its file behind.
    drop(crate::runtime::local::listen(Path::new(&scratch.path("left")), 8).unwrap().into_parts());
    let told = |socket: &str| {
        let socket = format!("http = \"\"\nsocket = \"{socket}\"");
        let found = scratch.check(|text| text.replace("http = \"\"", &socket));
        lines(&found.errors)
    };
    let at = |name: &str| scratch.path(name);
    for (socket, words) in [
        (at("missing/x.sock"), "No such file"),
        (at("file"), "which is no socket"),
        (at("file/x.sock"), "Not a directory"),
        (at("spool/directory"), "which is no socket"),
        (at("served"), "another process serves there"),
        (at("new/"), "ends in a slash"),
        ("lane-000/x.sock".to_owned(), "node.data_dir"),
        ("lock".to_owned(), "node.data_dir"),
        ("node".to_owned(), "node.data_dir"),
        ("journal".to_owned(), "node.data_dir"),
    ] {
        let told = told(&socket);
        assert!(told.contains("control.socket: ") && told.contains(words), "{socket}: {told}");
    }
    assert_eq!(told("x.sock") + &told(&at("left")), "");
    drop(other);
    // Nobody asked for this one: a start goes on without.
    fs::write(at("spool/control.sock"), "").unwrap();
    let found = scratch.check(|text| text);
    assert!(
        found.is_fine() && lines(&found.warnings).contains("which is no socket"),
        "{}",
        lines(&found.warnings)
    );
}
