use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use super::*;
use crate::node::secret::Reader;
use crate::policy::certificate::Certificate;
use crate::time::UnixMillis;

mod places;

/// A configuration that is right wherever the tests run, and what stands behind it.
struct Scratch(tempfile::TempDir);

/// Where the listener of this test is. Tests run beside each other, a thread each, and every one tries whether it could listen there:
/// one address for all would now and then be taken.
fn address() -> String {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    thread_local!(static PORT: u16 = 7255 + TAKEN.fetch_add(1, Ordering::Relaxed));
    format!("127.0.0.1:{}", PORT.with(|port| *port))
}

impl Scratch {
    fn new() -> Scratch {
        let scratch =
            Scratch(tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap());
        let parameters = rcgen::CertificateParams::new(vec!["relay.example.net".to_owned()]).unwrap();
        scratch.certificate(parameters);
        scratch
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    fn certificate(&self, parameters: rcgen::CertificateParams) {
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(self.path("chain.pem"), parameters.self_signed(&key).unwrap().pem()).unwrap();
        self.write("key.pem", &key.serialize_pem());
    }

    /// A file for its owner alone.
    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Lines: 2 host name, 3 data_dir, 4 shards, 6 address, 7 and 8 certificate and key, 10 accounts, 12 log, 14 http, 16 servers.
    fn text(&self) -> String {
        let hash = crate::policy::accounts::hash(b"secret", &[7; 16]).unwrap();
        let accounts = self.path("accounts");
        if !Path::new(&accounts).exists() {
            self.write("accounts", &format!("shop:{hash}\n"));
        }
        let address = address();
        format!(
            "[node]\nhostname = \"relay.example.net\"\ndata_dir = \"{}\"\nshards = 1\n[[listener]]\naddress = \"{address}\"\n\
             tls_certificate = \"{}\"\ntls_key = \"{}\"\n[auth]\naccounts = \"{accounts}\"\n[log]\npath = \"{}\"\n[control]\nhttp = \"\"\n\
             [dns]\nservers = [\"127.0.0.1\"]\n[tuning]\nruntime = \"epoll\"\n",
            self.path("spool"),
            self.path("chain.pem"),
            self.path("key.pem"),
            self.path("log.jsonl"),
        )
    }

    fn check(&self, change: impl Fn(String) -> String) -> Checked {
        let mut found = check(&change(self.text()), Path::new("relevo.toml"), LookedAt::Machine);
        // How many files may be open is the machine's affair, and where the project lies that of whoever cloned it.
        let passing = self.0.path().starts_with("/tmp");
        let ours = |one: &ConfigError| {
            !(one.key.is_empty() || passing && one.to_string().contains("is emptied by the system"))
        };
        found.warnings.retain(ours);
        found
    }
}

fn lines(found: &[ConfigError]) -> String {
    found.iter().map(|one| format!("{one}\n")).collect()
}

#[test]
fn what_is_right_is_said_nothing_about_and_nothing_is_left_behind() {
    let scratch = Scratch::new();
    let found = scratch.check(|text| text);
    assert!(
        found.is_fine() && found.warnings.is_empty(),
        "{}{}",
        lines(&found.errors),
        lines(&found.warnings)
    );
    assert!(found.description().contains("relay.example.net"));
    for name in ["spool", "log.jsonl"] {
        assert!(!Path::new(&scratch.path(name)).exists(), "{name} was made");
    }
    fs::create_dir(scratch.path("spool")).unwrap();
    assert!(scratch.check(|text| text).is_fine());
    assert_eq!(fs::read_dir(scratch.path("spool")).unwrap().count(), 0);
}

#[test]
fn rules_about_accounts_that_nobody_has_are_told() {
    let scratch = Scratch::new();
    let with = |more: &str| scratch.check(|text| text + "[[rule]]\n" + more + "\naction = \"discard\"\n");
    assert!(with("match = { account = \"shop\" }").warnings.is_empty());
    let told = lines(&with("match = { account = \"shoop\" }").warnings);
    assert!(told.contains("relevo.toml:20: rule[0].match.account: no account is called shoop in "), "{told}");
    let accounts = scratch.path("accounts");
    let none = scratch.check(|text| {
        let text = text.replace(&format!("accounts = \"{accounts}\""), "");
        text + "[[rule]]\nmatch = { account = \"shop\" }\naction = \"discard\"\n"
    });
    let told = lines(&none.warnings);
    assert!(told.contains("there is no account shop: auth.accounts names no file"), "{told}");
}

/// Each with the line it is told of; what a start would refuse is refused here, with the same words.
#[test]
fn what_a_start_would_refuse_is_an_error_of_its_line() {
    let scratch = Scratch::new();
    fs::write(scratch.path("file"), "no PEM").unwrap();
    fs::create_dir(scratch.path("directory")).unwrap();
    fs::write(scratch.path("other.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let _socket = std::os::unix::net::UnixDatagram::bind(scratch.path("socket")).unwrap();
    fs::write(scratch.path("bad accounts"), "# one\nshop:secret\n").unwrap();
    let replaced = |from: &str, to: &str| {
        let (from, to) = (scratch.path(from), scratch.path(to));
        scratch.check(move |text| text.replace(&format!("\"{from}\""), &format!("\"{to}\"")))
    };
    for (found, line, wanted) in [
        (replaced("chain.pem", "none.pem"), 7, "tls_certificate: "),
        (replaced("chain.pem", "file"), 7, "there is no certificate in it"),
        (replaced("key.pem", "file"), 8, "tls_key: "),
        (replaced("key.pem", "none.pem"), 8, "No such file"),
        (replaced("key.pem", "other.pem"), 7, "give the key that belongs to the certificate"),
        (replaced("accounts", "none"), 10, "auth.accounts: "),
        (replaced("accounts", "bad accounts"), 10, "line 2: this is no password hash"),
        (replaced("spool", "file/spool"), 3, "is no directory"),
        (replaced("spool", "file"), 3, "data_dir: "),
        (
            scratch.check(|text| text.replace(&scratch.path("spool"), "/proc/relevo")),
            3,
            "cannot be made in /proc",
        ),
        (replaced("log.jsonl", "directory"), 12, "is a directory"),
        (replaced("log.jsonl", ""), 12, "ends in a slash"),
        (replaced("log.jsonl", "socket"), 12, "is a socket"),
        (replaced("log.jsonl", "file/log"), 12, "log.path: "),
        (
            scratch.check(|text| text.replace(&address(), "192.0.2.1:7255")),
            6,
            "cannot listen on 192.0.2.1:7255",
        ),
        (
            scratch.check(|text| text.replace("http = \"\"", "http = \"192.0.2.1:1\"")),
            14,
            "control.http: cannot listen",
        ),
        (
            scratch.check(|text| text.replace("http = \"\"", &format!("http = \"{}\"", address()))),
            14,
            "is wanted by listener[0]",
        ),
        (scratch.check(|text| text + "[[shard]]\nindex = 0\ncore = 60000\n"), 21, "may not use core 60000"),
        (scratch.check(|text| text.replace("[dns]", "[dns]\nhosts = \"/nowhere\"")), 16, "dns.hosts: "),
    ] {
        let told = lines(&found.errors);
        assert_eq!(found.errors.len(), 1, "{wanted}: {told}");
        assert!(found.errors[0].line == line && told.contains(wanted), "{wanted}: {told}");
        assert!(!found.is_fine() && found.description().is_empty());
    }
}

/// What only the machine tells, with a line to write: it is obeyed, and then nothing is said of that key.
#[test]
fn lines_that_a_check_of_the_machine_proposes_are_right() {
    use crate::config::literal::tests::obeyed;
    let scratch = Scratch::new();
    let http = address();
    for (from, to, key) in [
        ("[dns]", "[spool]\nsize_max = \"1000000GB\"\n[dns]".to_owned(), "spool.size_max"),
        ("http = \"\"", "http = \"\"\njournal_size_max = \"1000TiB\"".to_owned(), "control.journal_size_max"),
        ("http = \"\"", format!("http = \"{http}\""), "control.http"),
    ] {
        let wrong = scratch.text().replace(from, &to);
        let found = scratch.check(|_| wrong.clone());
        let all: Vec<_> = found.errors.iter().chain(&found.warnings).collect();
        assert!(all.len() == 1 && all[0].key == key, "{all:?}");
        let found = scratch.check(|_| obeyed(&wrong, all[0]).unwrap());
        let left = lines(&found.errors) + &lines(&found.warnings);
        assert!(!left.contains(key), "{left}");
    }
}

/// A program that reads what is wrong must not have to know the defaults.
#[test]
fn a_default_that_cannot_be_had_is_told_with_its_value() {
    let scratch = Scratch::new();
    let _held = process::listen_alone("127.0.0.1:2525".parse().unwrap());
    let found = scratch.check(|text| text.replace(&format!("address = \"{}\"\n", address()), ""));
    assert_eq!(
        (&*found.errors[0].key, &*found.errors[0].value),
        ("listener[0].address", "\"127.0.0.1:2525\"")
    );
}

#[test]
fn logs_that_others_can_read_are_told() {
    let scratch = Scratch::new();
    for name in ["log.jsonl.1", "log.jsonl.2.gz", "log.json", "log.jsonl"] {
        scratch.write(name, "");
        if name != "log.jsonl" {
            fs::set_permissions(scratch.path(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
    let told = lines(&scratch.check(|text| text).warnings);
    assert!(
        told.contains("2 rotated logs can be read by others") && told.contains("log.jsonl.1 for one"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn two_logs_that_are_one_file_are_an_error() {
    let scratch = Scratch::new();
    std::os::unix::fs::symlink(scratch.path("log.jsonl"), scratch.path("link")).unwrap();
    let other = format!("[[log]]\npath = \"{}\"\n", scratch.path("link"));
    let found = scratch.check(|text| text.replace("[log]", "[[log]]") + &other);
    let told = lines(&found.errors);
    assert!(
        found.errors.len() == 1 && told.contains("log[1].path: ") && told.contains("(log[0].path)"),
        "{told}"
    );
}

/// A spool as a start leaves it, of one lane with two segments: whatever keeps a start from opening one of its files keeps it from starting.
#[test]
fn a_lane_that_a_start_could_not_open_is_an_error() {
    let later = |header: &mut Vec<u8>| {
        header[8..12].copy_from_slice(&99u32.to_le_bytes());
        let crc = crc32c::crc32c(&header[..60]);
        header[60..64].copy_from_slice(&crc.to_le_bytes());
    };
    let spool = || {
        let scratch = Scratch::new();
        let directory = scratch.0.path().join("spool");
        fs::create_dir_all(directory.join("lane-000")).unwrap();
        let node = process::node_id(&directory).unwrap();
        for slot in 0..2u16 {
            let origin = crate::spool::segment::LaneOrigin { node, lane: 0 };
            let mut bytes = crate::spool::segment::Header {
                origin,
                slot,
                life: crate::spool::segment::Life::Free,
                sequence: 1 + u32::from(slot),
                salt: 7,
                predecessor: 0,
                predecessor_end: 0,
            }
            .encode();
            bytes.resize(8192, 0);
            fs::write(directory.join(format!("lane-000/{slot:05}.seg")), bytes).unwrap();
        }
        (scratch, directory)
    };
    let (scratch, directory) = spool();
    assert!(scratch.check(|text| text).is_fine(), "{}", lines(&scratch.check(|text| text).errors));
    let segment = directory.join("lane-000/00001.seg");
    let whole = fs::read(&segment).unwrap();
    let mut newer = whole.clone();
    later(&mut newer);
    fs::write(&segment, newer).unwrap();
    let told = |words: &[&str]| {
        let found = scratch.check(|text| text);
        let told = lines(&found.errors);
        assert!(found.errors.len() == 1 && found.errors[0].line == 3, "{told}");
        assert!(words.iter().all(|word| told.contains(word)), "{words:?}: {told}");
    };
    told(&["segment 1 has version 99", "use the relevo that wrote it"]);
    fs::remove_file(&segment).unwrap();
    fs::create_dir(&segment).unwrap();
    told(&["00001.seg", "not a regular file"]);
    fs::remove_dir(&segment).unwrap();
    std::os::unix::fs::symlink("/nowhere", &segment).unwrap();
    told(&["00001.seg", "a link to nothing"]);
    fs::remove_file(&segment).unwrap();
    // A program that runs is read by anybody and written by nobody.
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &segment).unwrap();
    told(&["00001.seg", "Text file busy"]);
    fs::remove_file(&segment).unwrap();
    fs::write(&segment, &whole).unwrap();
    fs::write(directory.join("lane-000/birthplace"), "nonsense\n").unwrap();
    told(&["birthplace is damaged"]);
    fs::remove_file(directory.join("lane-000/birthplace")).unwrap();
    fs::write(directory.join("lane-001"), "x").unwrap();
    told(&["lane-001: it is no directory", "move it away"]);
}

/// What is wrong with a key or a certificate is said in words, of the file that it is wrong with, also where both are in one.
#[test]
fn keys_and_certificates_that_cannot_be_used_are_told_apart() {
    let scratch = Scratch::new();
    let (chain, key) = (
        fs::read_to_string(scratch.path("chain.pem")).unwrap(),
        fs::read_to_string(scratch.path("key.pem")).unwrap(),
    );
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let older =
        key.replacen("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1);
    // As P-521 and RSA of 1024 bits: whole, and of no kind that is known.
    let weak = "-----BEGIN PRIVATE KEY-----\nMAUCAQAwAA==\n-----END PRIVATE KEY-----\n";
    let both = |one: &str, other: &str| format!("{one}{other}");
    let second =
        format!("line {}: the section of PEM that begins here has no end", chain.lines().count() + 1);
    for (one_file, certificate, key, line, wanted) in [
        (false, &chain[..], &encrypted[..], 8, "key.pem: the key is encrypted"),
        (false, &chain, &older, 8, "key.pem: the key is encrypted"),
        (false, &chain, &chain, 8, "there is a certificate in it and no key"),
        (false, &chain, "", 8, "there is no private key in it"),
        (false, &chain, weak, 8, "RSA of 2048 bits or more, ECDSA on P-256 or P-384"),
        (true, &both(&key, &chain[..60]), "", 7, "tls_certificate: "),
        (false, &chain[..60], &key, 7, "chain.pem: line 1: the section of PEM that begins here has no end"),
        (false, &both(&chain, &chain[..60]), &key, 7, &second),
        (false, &chain, &key[..60], 8, "key.pem: line 1: the section of PEM that begins here has no end"),
        (false, "-----BEGIN CERTIFICATE\n", &key, 7, "no section of PEM: \"-----BEGIN CERTIFICATE\""),
        (true, &key, "", 7, "there is no certificate in it"),
        (true, &chain, "", 8, "there is a certificate in it and no key"),
        (true, &both(&chain, &encrypted), "", 8, "the key is encrypted"),
        (true, &both(&chain, weak), "", 8, "ECDSA on P-256"),
    ] {
        scratch.write("chain.pem", certificate);
        scratch.write("key.pem", key);
        let found = scratch.check(|text| match one_file {
            true => text.replace("key.pem", "chain.pem"),
            false => text,
        });
        let told = lines(&found.errors);
        assert!(
            found.errors.len() == 1 && found.errors[0].line == line && told.contains(wanted),
            "{wanted}: {told}"
        );
    }
}

#[test]
fn keys_and_hashes_that_others_can_read_are_told() {
    let scratch = Scratch::new();
    let text = scratch.text();
    for (name, line) in [("key.pem", 8), ("accounts", 10)] {
        for mode in [0o604, 0o660, 0o777] {
            fs::set_permissions(scratch.path(name), fs::Permissions::from_mode(mode)).unwrap();
            let found = check(&text, Path::new("relevo.toml"), LookedAt::Machine);
            let told = lines(&found.warnings);
            assert!(told.contains(&format!("relevo.toml:{line}: ")), "{told}");
            assert!(told.contains(&format!("{name} has mode {mode:04o}")), "{told}");
            assert!(told.contains(&format!("chmod 600 {}", scratch.path(name))), "{told}");
            assert!(found.is_fine());
        }
        fs::set_permissions(scratch.path(name), fs::Permissions::from_mode(0o400)).unwrap();
    }
    assert!(scratch.check(|text| text).warnings.is_empty());
}

/// The relay may run as somebody else than who looks: no advice takes a file from it, and a group that may read is meant.
#[test]
fn advice_on_secrets_does_not_lock_the_relay_out() {
    let (root, deploy, relevo) = (0, 1000, 990);
    let doubt = |looks: u32, has_list: bool, owner: (u32, u32), mode: u32| {
        Reader { ids: (looks, looks), has_list, at: "/key".into() }.doubt(owner, mode)
    };
    for (looks, has_list, owner, mode) in [
        (root, false, (deploy, relevo), 0o640),
        (deploy, false, (deploy, relevo), 0o640),
        (relevo, false, (deploy, relevo), 0o440),
        (relevo, false, (root, relevo), 0o640),
        (root, true, (root, root), 0o640),
        (root, true, (root, root), 0o670),
        (relevo, false, (relevo, relevo), 0o600),
    ] {
        assert_eq!(doubt(looks, has_list, owner, mode), None, "{looks} {owner:?} {mode:o}");
    }
    let shared = "chown root:GROUP /key and chmod 640 /key";
    for (looks, has_list, owner, mode, own) in [
        (relevo, false, (root, root), 0o644, false),
        (root, false, (deploy, relevo), 0o644, false),
        (root, false, (deploy, relevo), 0o660, false),
        (root, true, (root, root), 0o644, false),
        (root, false, (root, root), 0o644, true),
        (relevo, false, (relevo, relevo), 0o640, true),
        (deploy, false, (deploy, relevo), 0o644, true),
    ] {
        let (_, fix) = doubt(looks, has_list, owner, mode).unwrap();
        assert!(fix.contains(shared), "{fix}");
        assert_eq!(fix.starts_with("chmod 600 /key if the relay runs as this user"), own, "{fix}");
        assert!(own || !fix.contains("600"), "{fix}");
    }
}

/// Editors of other systems put a byte order mark in front.
#[test]
fn a_mark_in_front_is_no_part_of_a_file() {
    let scratch = Scratch::new();
    let text = format!(
        "{}hosts = \"{}\"\n",
        scratch.text().replace("[tuning]\nruntime = \"epoll\"\n", ""),
        scratch.path("hosts")
    );
    scratch.write("hosts", "192.0.2.7 smart.example\n");
    scratch.write("relevo.toml", &text);
    for name in ["hosts", "accounts", "chain.pem", "key.pem", "relevo.toml"] {
        let bytes = fs::read(scratch.path(name)).unwrap();
        fs::write(scratch.path(name), [b"\xef\xbb\xbf", &bytes[..]].concat()).unwrap();
    }
    let text = read(Path::new(&scratch.path("relevo.toml"))).unwrap();
    let found = check(&text, Path::new("relevo.toml"), LookedAt::Machine);
    assert!(found.is_fine(), "{}", lines(&found.errors));
    let mut config = found.config.unwrap();
    let contents = node::files::fill(&mut config, Known::default()).whole().unwrap().contents;
    assert!(contents.accounts.unwrap().accounts().has("shop"));
    assert!(contents.certificates[0].is_some());
    assert!(config.dns.known.contains_key("smart.example"));
}

#[test]
fn one_wrong_key_is_one_error_and_the_others_are_looked_at_all_the_same() {
    let scratch = Scratch::new();
    let found = scratch.check(|text| {
        text.replace(&address(), "foo").replace("shards = 1", "shards = \"1\"").replace("key.pem", "none.pem")
    });
    let keys: Vec<_> = found.errors.iter().map(|error| (error.line, error.key.as_str())).collect();
    assert_eq!(keys, [(4, "node.shards"), (6, "listener[0].address"), (8, "listener[0].tls_key")]);
    assert_eq!(found.errors[1].value, "\"foo\"");
    let json = serde_json::to_value(found.summary()).unwrap();
    assert_eq!((&json["ok"], &json["errors"][2]["line"]), (&false.into(), &8.into()));
    assert!(json["errors"][1]["fix"].as_str().unwrap().starts_with("write address = "), "{json}");
}

#[test]
fn a_relay_that_runs_is_not_in_the_way_and_a_stranger_is() {
    let scratch = Scratch::new();
    let taken = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    taken.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    taken.listen(1).unwrap();
    let theirs = taken.local_addr().unwrap().as_socket().unwrap().to_string();
    let there = |text: String| text.replace(&address(), &theirs);
    let found = scratch.check(there);
    assert!(lines(&found.errors).contains("another process listens there"), "{}", lines(&found.errors));
    let lock = process::lock_directory(Path::new(&scratch.path("spool"))).unwrap();
    let found = scratch.check(there);
    assert!(found.is_fine(), "{}", lines(&found.errors));
    assert!(
        lines(&found.warnings).contains("a relay runs on")
            && lines(&found.warnings).contains("listens there")
    );
    drop(lock);
}

/// A pipe gives what it has once: who reads a file again may find another there, and tell of what the relay does not show.
#[test]
fn a_certificate_is_read_once_however_many_listeners_show_it() {
    let scratch = Scratch::new();
    let mut parameters = rcgen::CertificateParams::new(vec!["relay.example.net".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    scratch.certificate(parameters);
    let text = fs::read(scratch.path("chain.pem")).unwrap();
    fs::remove_file(scratch.path("chain.pem")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        scratch.path("chain.pem"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let mut pipe = fs::OpenOptions::new().read(true).write(true).open(scratch.path("chain.pem")).unwrap();
    pipe.write_all(&text).unwrap();
    // Who has it open to write, until it was read.
    let mut writer = std::process::Command::new("sleep").arg("3").stdin(pipe).spawn().unwrap();
    let tls = format!(
        "tls_certificate = \"{}\"\ntls_key = \"{}\"",
        scratch.path("chain.pem"),
        scratch.path("key.pem")
    );
    let second = format!("[[listener]]\naddress = \"127.0.0.2:7254\"\n{tls}\n[auth]");
    let found = scratch.check(|text| text.replace("[auth]", &second));
    writer.wait().unwrap();
    assert!(found.is_fine(), "{}", lines(&found.errors));
    let told: Vec<_> = found.warnings.iter().map(|warning| (warning.line, &warning.problem)).collect();
    let expired = |(_, problem): &&(usize, &String)| problem.contains("EXPIRED on 2021-01-01");
    assert_eq!(told.iter().filter(expired).map(|(line, _)| *line).collect::<Vec<_>>(), [7, 11], "{told:?}");
}

#[test]
fn certificates_that_clients_refuse_are_told() {
    let scratch = Scratch::new();
    let mut parameters = rcgen::CertificateParams::new(vec!["other.example".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    scratch.certificate(parameters);
    let found = scratch.check(|text| text);
    let told = lines(&found.warnings);
    assert!(found.is_fine() && found.warnings.iter().all(|warning| warning.line == 7), "{told}");
    assert!(
        told.contains("EXPIRED on 2021-01-01")
            && told.contains("is for other.example, not for relay.example.net"),
        "{told}"
    );
    let certificate = |from: u64, until: u64| Certificate {
        not_before: from,
        not_after: until,
        names: Vec::new(),
        chained: true,
    };
    const DAY: u64 = 86_400;
    let told = |from: u64, until: u64| {
        certificate(from * DAY, until * DAY).doubts(true, "a", UnixMillis(1000 * DAY * 1000))
    };
    assert_eq!(told(900, 1015), []);
    let left = |until: u64| certificate(900 * DAY, until).days_left(UnixMillis(1000 * DAY * 1000));
    assert_eq!((left(1003 * DAY), left(1000 * DAY), left(1000 * DAY - 1), left(998 * DAY)), (3, 0, -1, -2));
    assert!(told(900, 1013)[0].0.contains("in 13 days") && told(900, 1001)[0].0.contains("in 1 day"));
    assert!(
        told(900, 999)[0].0.contains("EXPIRED") && told(1001, 2000)[0].0.contains("does not hold before")
    );
}

#[test]
fn a_file_is_read_within_bounds_and_with_words() {
    let scratch = Scratch::new();
    assert!(read(Path::new("/dev/zero")).unwrap_err().to_string().contains("more than 4MiB"));
    fs::write(scratch.path("latin"), b"# one\nhostname = \"b\xfccher\"\n").unwrap();
    assert!(
        read(Path::new(&scratch.path("latin")))
            .unwrap_err()
            .to_string()
            .contains("latin:2: this is not UTF-8")
    );
    assert!(
        read(scratch.0.path()).unwrap_err().to_string().contains("give the path of a configuration file")
    );
    assert_eq!(Path::new(DEFAULT_PATH).exists(), read(Path::new(DEFAULT_PATH)).is_ok());
}

#[test]
fn shaping_files_are_checked_with_their_lines() {
    let scratch = Scratch::new();
    let named = |text: &str| {
        let path = scratch.path("shaping.toml");
        scratch.write("shaping.toml", text);
        scratch.check(|config| format!("{config}\n[shaping]\nfiles = [\"{path}\"]\n"))
    };
    let fine = named("\u{feff}[default]\nconnection_limit = 5\n");
    assert!(fine.is_fine(), "{}", lines(&fine.errors));
    let found =
        named("[default]\nmax_ready = 5\nconection_limit = 5\n[default.sources.a]\nmax_age = \"x\"\n");
    let path = scratch.path("shaping.toml");
    let places = |all: &[ConfigError]| {
        let ours = all.iter().filter(|one| one.file == Path::new(&path));
        ours.map(|one| (one.line, one.key.clone())).collect::<Vec<_>>()
    };
    let wanted = [(3, "default.conection_limit".to_owned()), (5, "default.sources.\"a\".max_age".to_owned())];
    assert_eq!(places(&found.errors), wanted);
    assert_eq!(places(&found.warnings), [(2, "default.max_ready".to_owned())]);
    // Names of sources and pools, where the configuration has others.
    let path = scratch.path("shaping.toml");
    let text = "[default]\nfallback_source = \"bulk\"\n[default.sources.ip1]\nfallback_source = \"rest\"\n[default.sources.ip9]\nconnection_limit = 1\n\
        [[default.automation]]\nregex = \"blocked\"\nduration = \"1h\"\nfallback_source = \"ip8\"\n";
    scratch.write("shaping.toml", text);
    let sources = "[[source]]\nname = \"ip1\"\naddress = \"192.0.2.1\"\n[[pool]]\nname = \"bulk\"\nsources = [\"ip1\"]\n";
    let found = scratch.check(|config| format!("{config}\n[shaping]\nfiles = [\"{path}\"]\n{sources}"));
    assert_eq!(
        places(&found.warnings),
        [
            (4, "default.sources.\"ip1\".fallback_source".to_owned()),
            (6, "default.sources.\"ip9\"".to_owned()),
            (7, "default.automation[0].fallback_source".to_owned()),
        ]
    );
    let found = scratch.check(|config| format!("{config}\n[shaping]\nfiles = [\"/nowhere/shaping.toml\"]\n"));
    let [error] = &found.errors[..] else { panic!("{}", lines(&found.errors)) };
    assert!(error.key == "shaping.files" && error.line > 0, "{error}");
    assert!(error.problem.starts_with("/nowhere/shaping.toml: No such file"), "{error}");
}
