use super::*;
use std::path::Path;

fn gate(more: &str) -> Gate {
    let text = format!(
        "[node]\nhostname = \"relay.example\"\n\
         [[listener]]\naddress = \"198.51.100.7:25\"\n[[listener]]\naddress = \"127.0.0.1:2525\"\n\
         [[listener]]\naddress = \"[::]:587\"\n[[listener]]\naddress = \"0.0.0.0:588\"\n[delivery]\n{more}\n"
    );
    let mut gate = Gate::new(&Config::parse(&text, Path::new("test")).expect("a configuration"));
    let own = ["198.51.100.7", "198.51.100.8", "2001:db8:7::7", "10.9.9.9", "127.0.0.1", "::1"];
    gate.learn(own.iter().map(|address| address.parse().unwrap()).collect());
    gate
}

fn judge(gate: &Gate, address: &str, port: u16, named_by: NamedBy) -> Option<GateRefusal> {
    gate.admit(SocketAddr::new(address.parse().unwrap(), port), named_by).err()
}

use GateRefusal::{Loop, Nowhere, Private, ThisMachine};

/// What a stranger says, and what becomes of it at port 25.
const TABLE: &[(&str, Option<GateRefusal>)] = &[
    ("192.0.2.1", None),
    ("203.0.113.9", None),
    ("8.8.8.8", None),
    ("172.15.255.255", None),
    ("172.32.0.0", None),
    ("100.63.255.255", None),
    ("100.128.0.0", None),
    ("198.17.255.255", None),
    ("198.20.0.0", None),
    ("192.0.1.1", None),
    ("169.253.1.1", None),
    ("223.255.255.255", None),
    ("128.0.0.1", None),
    ("2001:db8::1", None),
    ("2a00:1450:4001::1a", None),
    ("3fff::1", None),
    ("::ffff:192.0.2.1", None),
    ("64:ff9b::192.0.2.1", None),
    ("2002:c000:201::1", None),
    ("127.0.0.1", Some(ThisMachine)),
    ("127.0.0.2", Some(ThisMachine)),
    ("127.255.255.254", Some(ThisMachine)),
    ("::1", Some(ThisMachine)),
    ("198.51.100.8", Some(ThisMachine)),
    ("2001:db8:7::7", Some(ThisMachine)),
    ("10.9.9.9", Some(ThisMachine)),
    ("::ffff:127.0.0.1", Some(ThisMachine)),
    ("::ffff:7f00:2", Some(ThisMachine)),
    ("::ffff:198.51.100.8", Some(ThisMachine)),
    ("::ffff:0:127.0.0.1", Some(ThisMachine)),
    ("64:ff9b::127.0.0.1", Some(ThisMachine)),
    ("64:ff9b::7f00:1", Some(ThisMachine)),
    ("64:ff9b:1::127.0.0.1", Some(ThisMachine)),
    ("64:ff9b:1:7f00:0:100::", Some(ThisMachine)),
    ("64:ff9b::198.51.100.8", Some(ThisMachine)),
    ("2002:7f00:1::", Some(ThisMachine)),
    ("2002:c633:6408::1", Some(ThisMachine)),
    // Teredo: the client's address is turned, 7f000001 is 80fffffe.
    ("2001:0:c000:201:0:0:80ff:fffe", Some(ThisMachine)),
    ("2001:0:7f00:1::3fff:fdfe", Some(ThisMachine)),
    ("2001:db8::5efe:127.0.0.1", Some(ThisMachine)),
    ("2001:db8::200:5efe:127.0.0.1", Some(ThisMachine)),
    ("198.51.100.7", Some(Loop)),
    ("::ffff:198.51.100.7", Some(Loop)),
    ("64:ff9b::198.51.100.7", Some(Loop)),
    ("2002:c633:6407::", Some(Loop)),
    ("0.0.0.0", Some(Nowhere)),
    ("0.1.2.3", Some(Nowhere)),
    ("::", Some(Nowhere)),
    ("::ffff:0.0.0.0", Some(Nowhere)),
    ("64:ff9b::0.0.0.0", Some(Nowhere)),
    ("::127.0.0.1", Some(Nowhere)),
    ("::192.0.2.1", Some(Nowhere)),
    ("::2", Some(Nowhere)),
    ("100::1", Some(Nowhere)),
    ("200::1", Some(Nowhere)),
    ("4000::1", Some(Nowhere)),
    ("fe00::1", Some(Nowhere)),
    ("224.0.0.1", Some(Nowhere)),
    ("239.255.255.255", Some(Nowhere)),
    ("240.0.0.1", Some(Nowhere)),
    ("255.255.255.255", Some(Nowhere)),
    ("64:ff9b::255.255.255.255", Some(Nowhere)),
    ("ff02::1", Some(Nowhere)),
    ("ff0e::1", Some(Nowhere)),
    ("169.254.0.1", Some(Nowhere)),
    ("169.254.169.254", Some(Nowhere)),
    ("::ffff:169.254.169.254", Some(Nowhere)),
    ("64:ff9b::169.254.169.254", Some(Nowhere)),
    ("168.63.129.16", Some(Nowhere)),
    ("fe80::1", Some(Nowhere)),
    ("febf::1", Some(Nowhere)),
    ("fd00:ec2::254", Some(Nowhere)),
    ("100.100.100.200", Some(Nowhere)),
    ("10.0.0.1", Some(Private)),
    ("10.255.255.255", Some(Private)),
    ("172.16.0.1", Some(Private)),
    ("172.31.255.255", Some(Private)),
    ("192.168.1.1", Some(Private)),
    ("100.64.0.1", Some(Private)),
    ("100.127.255.255", Some(Private)),
    ("198.18.0.1", Some(Private)),
    ("198.19.255.255", Some(Private)),
    ("192.0.0.8", Some(Private)),
    ("fc00::1", Some(Private)),
    ("fdff::1", Some(Private)),
    ("fec0::1", Some(Private)),
    ("2001:2::1", Some(Private)),
    // A /64 of a network's own translator: 127.0.0.1, and 192.0.2.1.
    ("64:ff9b:1:805:7f:0:100:0", Some(Private)),
    ("64:ff9b:1:805:c0:2:100:0", Some(Private)),
    ("64:ff9b:2::1", Some(Nowhere)),
    ("::ffff:10.0.0.1", Some(Private)),
    ("64:ff9b::10.0.0.1", Some(Private)),
    ("64:ff9b:1:a00:0:100::", Some(Private)),
    ("2002:a00:1::1", Some(Private)),
];

#[test]
fn what_strangers_say() {
    let gate = gate("");
    for (address, expected) in TABLE {
        assert_eq!(judge(&gate, address, 25, NamedBy::Stranger), *expected, "{address}");
    }
}

/// A gate that was given no list, and is told of each address as it comes, judges as one with the list.
#[test]
fn without_a_list_each_address_is_asked_for() {
    let (knows, mut asks) = (gate(""), Gate { own: Vec::new(), complete: false, ..gate("") });
    assert!(knows.knows_all() && !asks.knows_all());
    for (address, expected) in TABLE {
        for own in asks.in_question(address.parse().unwrap()) {
            if knows.is_own(own) {
                asks.learn_one(own);
            }
        }
        assert_eq!(judge(&asks, address, 25, NamedBy::Stranger), *expected, "{address}");
    }
    asks.learn(
        (0..limits::OWN_ADDRESSES_MAX as u32).map(|number| Ipv4Addr::from_bits(number).into()).collect(),
    );
    assert!(!asks.knows_all(), "there may be more");
    let one = "203.0.113.9".parse().unwrap();
    asks.learn_one(one);
    assert!(asks.is_own(one) && asks.own.len() == limits::OWN_ADDRESSES_MAX && asks.own.is_sorted());
}

#[test]
fn private_networks_may_be_allowed_and_nothing_else_is() {
    let gate = gate("private_networks = \"allow\"");
    for (address, expected) in TABLE {
        let expected = expected.filter(|refusal| *refusal != Private);
        assert_eq!(judge(&gate, address, 25, NamedBy::Stranger), expected, "{address}");
    }
}

#[test]
fn tests_may_use_this_machine_but_not_its_listeners() {
    let gate = gate("allow_loopback_mx = true");
    for (address, expected) in TABLE {
        let translated = address.starts_with("64:ff9b:1:").then_some(Private);
        let expected = expected.filter(|refusal| *refusal != ThisMachine).or(translated);
        assert_eq!(judge(&gate, address, 25, NamedBy::Stranger), expected, "{address}");
    }
    assert_eq!(judge(&gate, "127.0.0.1", 2525, NamedBy::Stranger), Some(Loop));
}

#[test]
fn routes_go_anywhere_but_back() {
    let gate = gate("");
    for address in
        ["127.0.0.1", "10.0.0.1", "10.9.9.9", "169.254.1.1", "fe80::1", "fc00::1", "::1", "192.0.2.1"]
    {
        assert_eq!(judge(&gate, address, 25, NamedBy::Operator), None, "{address}");
    }
    for (address, port) in [
        ("127.0.0.1", 2525),
        ("::ffff:127.0.0.1", 2525),
        ("0.0.0.0", 2525),
        ("198.51.100.7", 25),
        // Wildcards: each address of the machine, of their family.
        ("::1", 587),
        ("2001:db8:7::7", 587),
        ("::", 587),
        ("127.0.0.1", 588),
        ("127.9.9.9", 588),
        ("198.51.100.8", 588),
        ("64:ff9b::198.51.100.8", 588),
        ("0.0.0.0", 588),
    ] {
        assert_eq!(judge(&gate, address, port, NamedBy::Operator), Some(Loop), "{address}:{port}");
    }
    for (address, port) in [
        ("127.0.0.2", 2525),
        ("198.51.100.8", 25),
        ("127.0.0.1", 25),
        ("127.0.0.1", 587),
        ("::1", 588),
        ("192.0.2.1", 588),
    ] {
        assert_eq!(judge(&gate, address, port, NamedBy::Operator), None, "{address}:{port}");
    }
    assert_eq!(judge(&gate, "0.0.0.0", 26, NamedBy::Operator), Some(Nowhere));
    // What a route says is not the fault of those who send: their mail waits.
    assert!(!Nowhere.is_permanent(NamedBy::Operator) && !Loop.is_permanent(NamedBy::Operator));
    assert!(Loop.is_permanent(NamedBy::Stranger));
}

#[test]
fn what_passes_is_in_its_plain_form() {
    let admitted = gate("").admit("[::ffff:192.0.2.1]:25".parse().unwrap(), NamedBy::Stranger).unwrap();
    assert_eq!(admitted.address(), "192.0.2.1:25".parse().unwrap(), "one address has one count");
}
