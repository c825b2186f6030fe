use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::config::Config;
use crate::mail::dkim::PrivateKey;
use crate::node::files::{Known, fill};

/// A directory of keys, and a configuration that names it.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new(files: &[&str]) -> Scratch {
        let scratch = Scratch(tempfile::tempdir().unwrap());
        let text = PrivateKey::generate(Algorithm::Ed25519Sha256).unwrap().to_pem().unwrap();
        for name in files {
            scratch.write(name, &text);
        }
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn config(&self, more: &str) -> Config {
        let text = format!("[dkim]\nkeys = \"{}\"\n{more}", self.0.path().display());
        Config::parse(&text, Path::new("relevo.toml")).unwrap()
    }

    fn read(&self, more: &str, known: Option<&Signing>) -> Keys {
        read(&self.config(more).dkim, known)
    }
}

fn names(keys: &Keys) -> Vec<String> {
    keys.files.iter().map(|file| format!("{}/{}", file.domain, file.selector)).collect()
}

/// What is said of the domain without RSA is another test's.
fn doubts(keys: &Keys) -> Vec<String> {
    let told = keys.doubts.iter().map(|(problem, fix)| format!("{problem}; {fix}"));
    told.filter(|words| !words.contains("RSA")).collect()
}

#[test]
fn keys_are_found_by_domain_and_selector() {
    let scratch = Scratch::new(&["d.example/e1.pem", "d.example/e2.pem", "shared/e9.pem"]);
    symlink("shared", scratch.path("a.example")).unwrap();
    symlink("../shared/e9.pem", scratch.path("d.example/e3.pem")).unwrap();
    fs::write(scratch.path("d.example/.e4.pem.swp"), "").unwrap();
    fs::create_dir(scratch.path(".git")).unwrap();
    fs::create_dir(scratch.path("empty.example")).unwrap();
    let keys = scratch.read("", None);
    assert_eq!(names(&keys), ["a.example/e9", "d.example/e1", "d.example/e2", "d.example/e3", "shared/e9"]);
    assert!(keys.bad.is_empty() && doubts(&keys).is_empty(), "{keys:?}");
    let told: Vec<&str> = keys.doubts.iter().map(|(_, fix)| fix.as_str()).collect();
    assert!(told.contains(&"make one beside it: relevo dkim keygen d.example --algorithm rsa"), "{told:?}");
    assert!(keys.files.iter().all(|file| file.key().is_ok()));
}

#[test]
fn what_is_no_key_is_doubted_and_what_is_broken_refused() {
    let scratch = Scratch::new(&[
        "d.example/e1.pem",
        "D2.example/e1.pem",
        "d_3..example/e1.pem",
        "bücher.example/e1.pem",
        "d.example/E2.pem",
        "d.example/e 3.pem",
        "d.example/notes.txt",
        "README",
    ]);
    let keys = scratch.read("", None);
    assert_eq!(names(&keys), ["d.example/e1"]);
    assert!(keys.bad.is_empty());
    let told = doubts(&keys).join("\n");
    for words in [
        "D2.example: its name, a domain, is to be in small letters: its keys sign nothing; rename it: mv ",
        "/d2.example",
        "d_3..example: its name is no domain: its keys sign nothing; rename it, or move it out of ",
        "its name is no domain (files have it in A-labels): its keys sign nothing; rename it: mv ",
        "/xn--bcher-kva.example",
        "E2.pem: its name, a selector, is to be in small letters: it signs nothing; rename it: mv ",
        "/e2.pem",
        "e 3.pem: its name is no selector: it signs nothing",
        "notes.txt: this is not the file of a key, and is not read",
        "README: this is not the directory of a domain, and is not read",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    let broken = Scratch::new(&["d.example/e1.pem"]);
    broken.write("d.example/cut.pem", "-----BEGIN PRIVATE KEY-----\nMIIE\n");
    broken.write("e.example/public.pem", "-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----\n");
    broken.write("e.example/large.pem", &"x".repeat(limits::DKIM_KEY_FILE_MAX as usize + 1));
    symlink("nowhere", broken.path("f.example")).unwrap();
    let keys = broken.read("[[dkim.key]]\ndomain = \"d.example\"\nselector = \"gone\"\n", None);
    assert_eq!(names(&keys), ["d.example/e1"]);
    let told: Vec<String> = keys.bad.iter().map(|bad| format!("{} {bad}", bad.key)).collect();
    let told = told.join("\n");
    for words in [
        "dkim.keys ",
        "cut.pem: the key has no end (a line -----END ...-----); copy the whole file again",
        "public.pem: it is the public key, which belongs into DNS; name the file with the private key",
        "large.pem: more than 65536 bytes; that is no key",
        "f.example: No such file or directory (os error 2); make it readable, or move it elsewhere",
        "dkim.key[0].selector ",
        "gone.pem: there is no such file; put the key there, or name another selector",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    let none = DkimConfig { keys: Some(broken.path("none")), ..DkimConfig::default() };
    let told = read(&none, None).bad[0].to_string();
    assert!(told.contains("relevo dkim keygen example.com --keys "), "{told}");
}

#[test]
fn there_are_bounds() {
    let many = Scratch::new(&[]);
    for number in 0..=limits::DKIM_DOMAIN_KEYS_MAX {
        many.write(&format!("d.example/k{number}.pem"), "");
    }
    let keys = many.read("", None);
    assert!(keys.files.is_empty() && keys.bad.len() == 1, "{keys:?}");
    assert!(keys.bad[0].to_string().contains("more than 64 files in it"));
    let broken = Scratch::new(&[]);
    for number in 0..=limits::CONFIG_ERRORS_TOLD {
        broken.write(&format!("d{number}.example/k.pem"), "");
        broken.write(&format!("README{number}"), "");
    }
    let keys = broken.read("", None);
    assert_eq!(keys.bad.len(), limits::CONFIG_ERRORS_TOLD);
    assert!(keys.doubts.last().unwrap().0.ends_with("1 more of the kind"), "{keys:?}");
}

#[test]
fn what_others_may_read_is_told() {
    let scratch = Scratch::new(&["d.example/e1.pem"]);
    fs::set_permissions(scratch.path("d.example/e1.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let told = doubts(&scratch.read("", None)).join("\n");
    assert!(told.contains("e1.pem has mode 0644: others than the relay can read it; chmod 600 "), "{told}");
    let empty = Scratch::new(&[]);
    let told = doubts(&empty.read("", None)).join("\n");
    assert!(
        told.contains("there is no key in it: nothing is signed; make one: relevo dkim keygen"),
        "{told}"
    );
}

/// A key that is not parsed again is the same text in memory.
#[test]
fn a_reload_reads_what_is_new() {
    let scratch = Scratch::new(&["d.example/e1.pem", "d.example/e2.pem"]);
    let keys = scratch.read("", None);
    let shared = |one: &KeyFile, other: &KeyFile| one.is_same_text_as(other);
    let before = Signing::new(&scratch.config("").dkim, keys.files);
    let other = PrivateKey::generate(Algorithm::Ed25519Sha256).unwrap().to_pem().unwrap();
    fs::remove_file(scratch.path("d.example/e2.pem")).unwrap();
    scratch.write("d.example/e2.pem", &other);
    // Of the same length, and perhaps in the same tick of the clock of the file system.
    let written = fs::File::options().write(true).open(scratch.path("d.example/e2.pem")).unwrap();
    written.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000)).unwrap();
    scratch.write("d.example/e3.pem", &other);
    let again = scratch.read("", Some(&before));
    let found = |selector: &str| again.files.iter().find(|file| *file.selector == *selector).unwrap();
    let known = |selector: &str| before.files().iter().find(|file| *file.selector == *selector).unwrap();
    assert_eq!(again.files.len(), 3);
    assert!(shared(found("e1"), known("e1")) && !shared(found("e2"), known("e2")));
    assert_ne!(
        found("e2").key().unwrap().txt_record().unwrap(),
        known("e2").key().unwrap().txt_record().unwrap()
    );
    // What became broken is refused, though it was known.
    scratch.write("d.example/e1.pem", "broken");
    assert_eq!(scratch.read("", Some(&before)).bad.len(), 1);
}

/// By way of [`fill`], as a start and a reload read it.
#[test]
fn signing_is_put_into_what_files_hold() {
    let scratch = Scratch::new(&["d.example/e1.pem"]);
    let filled = fill(&mut scratch.config("relay_domain = \"r.example\"\n"), Known::default());
    let signing = filled.contents.signing.as_ref().expect("keys");
    assert_eq!(signing.signers_for(Some("news.d.example"), UnixMillis(1)).len(), 1);
    let told: Vec<String> = filled.doubts.iter().map(ToString::to_string).collect();
    let wanted = "relevo.toml:3: dkim.relay_domain: r.example has no key: no mail is signed by it; make one: relevo dkim keygen r.example";
    assert!(told.iter().any(|told| told == wanted), "{told:?}");
    let asleep = "[[dkim.key]]\ndomain = \"d.example\"\nselector = \"e1\"\nfrom = 9999-01-01\n";
    let filled = fill(&mut scratch.config(asleep), Known::default());
    let told: Vec<String> = filled.doubts.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|told| told.contains("no key of d.example signs now")), "{told:?}");
    let mut none = Config::embedded();
    assert!(fill(&mut none, Known::default()).contents.signing.is_none());
}
