//! Each key that names a domain or a host takes it in letters, and means its A-labels: mail is kept by those.

use std::path::Path;

use crate::config::{AddressPattern, Config};

/// `NAME` is the name, in a section beside the usual ones.
const KEYS: &[&str] = &[
    "[node]\nhostname = \"NAME\"\n",
    "[[listener]]\naddress = \"127.0.0.1:25\"\nrelay_to = [\"NAME\", \"*.sub.NAME\"]\n",
    "[[route]]\ndomain = \"NAME\"\nto = \"mx\"\n",
    "[[route]]\ndomain = \"*.NAME\"\nto = \"mx\"\n",
    "[[route]]\ndomain = \"*\"\nto = \"smtp://NAME\"\n",
    "[[route]]\ndomain = \"*\"\nto = \"lmtp://NAME:2424\"\n",
    "[[route]]\ndomain = \"*\"\nto = [{ to = \"smtps://NAME:465\", order = 1 }]\n",
    "[[rule]]\nmatch = { sender = \"@NAME\" }\nset = { tenant = \"shop\" }\n",
    "[[rule]]\nmatch = { sender = \"ada@NAME\" }\nset = { tenant = \"shop\" }\n",
    "[[rule]]\nmatch = { recipient = \"*.NAME\" }\nset = { tenant = \"shop\" }\n",
    "[[rule]]\nmatch = { sender = \"a@b.example\" }\nset = { sender = \"bounces@NAME\" }\n",
    "[[rule]]\nmatch = { header = { name = \"X-Job\", pattern = \"^(.*)$\" } }\nset = { sender = \"$1@NAME\" }\n",
    "[[source]]\nname = \"ip1\"\nehlo = \"NAME\"\n",
    "[dkim]\nkeys = \"/etc/relevo/dkim\"\nrelay_domain = \"NAME\"\n",
    "[dkim]\nkeys = \"/etc/relevo/dkim\"\n[[dkim.key]]\ndomain = \"NAME\"\nselector = \"a\"\n",
    "[bounces]\nverp_domain = \"NAME\"\n",
    "[feedback]\naddresses = [\"fbl@NAME\"]\ndomains = [\"NAME\"]\n",
    "[tls]\ntls_rpt = { from = \"a@NAME\", contact = \"b@NAME\" }\n",
    "[blocklists]\nzones = [\"NAME\"]\n",
    "[control]\nnames = [\"NAME\"]\n",
    "[acme]\nnames = [\"NAME\"]\n",
    "[public]\nhost = \"NAME:8443\"\n",
    "[hook]\nurl = \"https://NAME/a\"\n",
    "[[webhook]]\nurl = \"https://NAME/a\"\nevents = [\"bounced\"]\nsecret_file = \"/etc/relevo/secret\"\n",
    "[[stream]]\nkind = \"redis\"\nurl = \"redis://NAME/\"\n",
    "[[stream]]\nkind = \"nats\"\nurl = \"nats://NAME\"\n",
    "[cluster]\nredis = \"redis://NAME/\"\nname = \"a\"\n",
];

/// The same in letters: in either case, and with the dots of its letter apart from it (NFD).
const WRITTEN: [&str; 3] = ["b\u{fc}cher.example", "B\u{dc}CHER.Example", "bu\u{308}cher.example"];

const LABELS: &str = "xn--bcher-kva.example";

fn read(text: &str) -> String {
    let config = Config::parse(text, Path::new("relevo.toml"));
    config.map_or_else(|errors| panic!("{text}: {errors:?}"), |config| format!("{config:?}"))
}

#[test]
fn each_key_means_a_labels() {
    for key in KEYS {
        let wanted = read(&key.replace("NAME", LABELS));
        assert!(wanted.contains("xn--bcher-kva.example"), "{key} says nothing");
        for name in WRITTEN {
            assert_eq!(read(&key.replace("NAME", name)), wanted, "{key} {name}");
        }
    }
}

#[test]
fn letters_that_no_name_has_are_refused() {
    for key in KEYS {
        for name in ["b\u{202e}cher.example", "\u{fc} .example", "-\u{fc}.example", "\u{fc}..example"] {
            let text = key.replace("NAME", name);
            assert!(Config::parse(&text, Path::new("relevo.toml")).is_err(), "{text}");
        }
    }
    // Digits of another script are digits, and an address of their numbers is no name.
    let text = "[[route]]\ndomain = \"*\"\nto = \"smtp://\u{ff11}\u{ff12}7.1\"\n";
    assert!(Config::parse(text, Path::new("relevo.toml")).is_err());
}

#[test]
fn patterns_of_addresses_mean_a_labels() {
    for (mark, path) in [("@", "ada@"), ("*.", "ada@sub."), ("ada@", "ada@"), ("*@", "ada@")] {
        for name in WRITTEN {
            let pattern = AddressPattern::parse(&format!("{mark}{name}")).expect("a pattern");
            assert!(pattern.matches(format!("{path}{LABELS}").as_bytes()), "{mark}{name}");
            assert!(!pattern.matches(b"ada@example"), "{mark}{name}");
        }
    }
}
