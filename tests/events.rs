//! Every event that the relay can write, with each field and without, fits docs/events.schema.json; and nothing is in there that none has.

use std::collections::{BTreeMap, BTreeSet};

use relevo::id::MessageId;
use relevo::names::ends::End;
use relevo::observe::event::{
    Admin, Arrival, Attempt, CameBack, Change, Edit, Edited, Encoder, Event, Kind, ListChange, Listed, Mail,
    Notice, QuotaUse, Rejected, Suspended,
};
use relevo::observe::journaled::Readers;
use relevo::time::UnixMillis;
use schema::Schema;
use serde_json::Value;

mod schema;

const AT: UnixMillis = UnixMillis(1_700_000_000_123);
const NEXT: UnixMillis = UnixMillis(1_700_000_060_000);
const ID: MessageId = MessageId { lane: 1, sequence: 2, offset: 3 };
const OTHER: MessageId = MessageId { lane: 1, sequence: 2, offset: 4 };
const NASTY: &[u8] = b"a\"\\\x01\x7f\xff\r\n@x";
const RECIPIENTS: [&[u8]; 2] = [b"b@y", NASTY];
const NAMES: [(&str, &str); 9] = [
    ("tenant", "sh\"op"),
    ("campaign", "c"),
    ("category", "c"),
    ("pool", "p"),
    ("priority", "low"),
    ("envid", "e"),
    ("send_at", "2026-12-01T08:00:00Z"),
    ("origin", "00000000000000a1/00000000G0000102"),
    ("metadata", "{\"a\": [1]}"),
];

fn edited(edited: Edited) -> Notice<'static> {
    Notice::Admin(Admin::Edit(Edit { edited, by: "token ops", filter: "name=shop role=read" }))
}

fn bare() -> Mail<'static> {
    Mail::new(ID, b"", (0, &RECIPIENTS[..1]))
}

fn full() -> Mail<'static> {
    let came = Some((UnixMillis(AT.0 - 60_000), u64::MAX));
    Mail {
        account: Some("shop"),
        parameters: &NAMES,
        came,
        again: true,
        ..Mail::new(ID, NASTY, (7, &RECIPIENTS))
    }
}

fn tried() -> Attempt<'static> {
    Attempt {
        hop: "mx.example [192.0.2.1]:25",
        site: "ip1 mx:10 mx.example:25,",
        provider: "big",
        source: "ip1",
        address: Some("2001:db8::1".parse().unwrap()),
        tls: "TLSv1.3 X",
        reply: "250 \u{e4} \"ok\"",
        enhanced: Some((2, 1, 50)),
        class: "throttled",
        attempts: u16::MAX,
        delay_ms: Some(u64::MAX),
    }
}

/// The same, of what was not tried.
fn waited(attempt: Attempt<'static>) -> Attempt<'static> {
    Attempt { hop: "", site: "", provider: "", source: "", address: None, tls: "", ..attempt }
}

fn of_mail() -> Vec<Event<'static>> {
    let came = Arrival {
        parent: Some(OTHER),
        size: u64::MAX,
        client: Some("[::1]:25".parse().unwrap()),
        tls: Some("TLSv1.3 X"),
        verified: Some(["softfail", "none", "permerror"]),
    };
    let mut all = Vec::new();
    for (mail, arrival, attempt) in
        [(bare(), Arrival::default(), Attempt::default()), (full(), came, tried())]
    {
        let unclassed = Attempt { class: "", ..attempt };
        let waited = Attempt { class: "", ..waited(attempt) };
        all.extend([
            Event::Received(Mail { came: None, ..mail }, arrival),
            Event::Delivered(mail, unclassed),
            Event::Deferred(mail, attempt, NEXT),
            Event::Delayed(mail, waited),
            Event::Bounced(mail, attempt),
            Event::Expired(mail, attempt),
        ]);
        all.extend(End::ALL.map(|end| Event::Local(end, mail, unclassed)));
    }
    let (one, nobody): (&[&[u8]], &[&[u8]]) = (&RECIPIENTS[..1], &[]);
    for (recipients, parameters, counts) in [(nobody, &NAMES[..0], false), (one, &NAMES[..1], true)] {
        let mail = Mail { parameters, ..Mail::new(ID, b"", (7, recipients)) };
        let came = CameBack {
            incoming: OTHER,
            number: u16::from(counts),
            complaint: "",
            reported: [""; 2],
            counts,
            is_unknown: counts,
        };
        let hop = tried().hop;
        let said = Attempt { hop, attempts: 0, delay_ms: None, ..waited(tried()) };
        let said = if counts { said } else { Attempt::default() };
        all.push(Event::CameBack(mail, said, came));
        let said = Attempt { hop: said.hop, ..Attempt::default() };
        let reported = if counts { ["example.org", "192.0.2.1"] } else { [""; 2] };
        all.push(Event::CameBack(mail, said, CameBack { complaint: "not-spam", reported, ..came }));
    }
    all
}

/// What is done with files, and with templates.
const EDITED: [Edited; 7] = [
    Edited::AddToken,
    Edited::RemoveToken,
    Edited::AddAccount,
    Edited::SetPassword,
    Edited::RemoveAccount,
    Edited::SaveTemplate,
    Edited::RemoveTemplate,
];

fn of_others() -> Vec<Notice<'static>> {
    let client = "192.0.2.1:5".parse().unwrap();
    let rejected = Rejected {
        sender: None,
        recipients: &[],
        client,
        helo: None,
        account: None,
        reply: "421 4.3.2 Too many connections",
        reason: "too_many_connections",
        enhanced: None,
        left_out: 0,
    };
    let change = Change { by: "user 0", filter: "all mail", reason: "", recipients: 0 };
    let reasoned = Change { reason: "they \"ask\"", recipients: 5, ..change };
    let suspended = Suspended {
        by: "a.toml:3",
        filter: "site=mx.a.example",
        effect: "wait",
        reason: "421 \"no\"",
        until: NEXT,
    };
    let blocked = Listed { by: "blocklist bl.example", source: "ip1", address: "::1", reason: "see \"why\"" };
    let (filter, reason) = ("account a\"b", "8 of 10 recipients a day are used");
    let quota = QuotaUse { filter, reason, percent: 80, used: 8, most: 10, until: NEXT };
    let listed = ListChange { by: "user 0", filter: "", reason: "", entries: 1_000_000 };
    let one = ListChange { filter: "ada@example.org", reason: "called \"us\"", entries: 1, ..listed };
    [
        Notice::Rejected(rejected),
        Notice::Rejected(Rejected {
            sender: Some(b""),
            recipients: &RECIPIENTS,
            helo: Some("evil\""),
            account: Some("shop"),
            enhanced: Some((5, 7, 1)),
            left_out: 3,
            ..rejected
        }),
        Notice::Admin(Admin::Retry(change)),
        Notice::Admin(Admin::Retry(reasoned)),
        Notice::Admin(Admin::Bounce(change)),
        Notice::Admin(Admin::Bounce(reasoned)),
        Notice::Admin(Admin::Hold(change)),
        Notice::Admin(Admin::Hold(reasoned)),
        Notice::Admin(Admin::Release(change)),
        Notice::Admin(Admin::Release(reasoned)),
        Notice::Admin(Admin::Rebind(change, "pool=rest tenant=shop")),
        Notice::Admin(Admin::Rebind(reasoned, "priority=low")),
        Notice::Admin(Admin::Trace(change)),
        Notice::Admin(Admin::Suppress(listed)),
        Notice::Admin(Admin::Suppress(one)),
        Notice::Admin(Admin::Unsuppress(listed)),
        Notice::Admin(Admin::Unsuppress(one)),
        Notice::Admin(Admin::Erase(ListChange { filter: "hash 00", ..listed })),
        Notice::Admin(Admin::Erase(ListChange { filter: "hash 00", reason: "suppression", ..listed })),
        Notice::Admin(Admin::Suspend(suspended)),
        Notice::Admin(Admin::Resume(suspended)),
        Notice::Admin(Admin::Listed(blocked)),
        Notice::Admin(Admin::Delisted(blocked)),
        Notice::Admin(Admin::Quota(quota)),
        Notice::Admin(Admin::Upgrade { by: "token ops" }),
        Notice::Admin(Admin::Reload { by: "user 0", changed: &["retry.first", "log"] }),
    ]
    .into_iter()
    .chain(EDITED.map(edited))
    .collect()
}

/// All lines, the notifications that the lane's shard adds included.
fn lines() -> Vec<Value> {
    let mut encoder = Encoder::new(0xABC, AT, "0");
    let mut out = Vec::new();
    of_mail().iter().for_each(|event| encoder.event(AT, event, &mut out));
    of_others().iter().for_each(|notice| encoder.notice(AT, notice, &mut out));
    let chunks = std::sync::Arc::new(relevo::observe::accounting::Chunks::default());
    let mut events = relevo::observe::accounting::EventQueue::new(chunks.clone(), encoder, Readers::Lossy);
    let mut failed = Vec::new();
    let waited = Attempt { class: "", ..waited(tried()) };
    let told =
        [Event::Bounced(bare(), tried()), Event::Expired(bare(), tried()), Event::Delayed(bare(), waited)];
    for event in told {
        events.encode(AT, &event, &mut failed);
    }
    events.record_encoded(&failed, Some(OTHER));
    events.flush();
    out.extend_from_slice(&chunks.take().expect("it was flushed").lines);
    let text = String::from_utf8(out).expect("it is UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The name in the schema: what an operator did tells apart what is all `admin`.
fn kind_of(line: &Value) -> String {
    line.get("action").unwrap_or(&line["event"]).as_str().expect("a kind").to_owned()
}

/// The kinds of events it knows: names in `$defs` that `oneOf` has.
fn kinds(schema: &Schema) -> Vec<&str> {
    let all = schema.whole["oneOf"].as_array().into_iter().flatten();
    all.filter_map(|one| one["$ref"].as_str()?.strip_prefix("#/$defs/")).collect()
}

/// Fields of a kind, and whether each is required.
fn fields<'a>(schema: &'a Schema, kind: &str) -> Vec<(&'a str, bool)> {
    let kind = &schema.whole["$defs"][kind];
    let required: Vec<_> =
        kind["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = kind["properties"].as_object().into_iter().flatten();
    fields.map(|(name, _)| (name.as_str(), required.contains(&name.as_str()))).collect()
}

#[test]
fn every_event_fits_and_every_field_is_written() {
    let schema = Schema::published();
    let mut written: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for line in lines() {
        assert_eq!(schema.wrong(&line), [""; 0], "{line}");
        let names: BTreeSet<String> = line.as_object().expect("an object").keys().cloned().collect();
        let (some, every) = written.entry(kind_of(&line)).or_insert_with(|| (BTreeSet::new(), names.clone()));
        every.retain(|name| names.contains(name));
        some.extend(names);
    }
    assert_eq!(written.len(), kinds(schema).len(), "{:?}", kinds(schema));
    for kind in kinds(schema) {
        let (some, every) = &written[kind];
        for (field, required) in fields(schema, kind) {
            assert!(some.contains(field), "{kind} never has {field}");
            assert_eq!(every.contains(field), required, "{field} of {kind}");
        }
    }
    let events: BTreeSet<String> =
        lines().iter().map(|line| line["event"].as_str().expect("a word").to_owned()).collect();
    assert_eq!(events, Kind::all().map(|kind| kind.word().to_owned()).collect());
}

/// What a log may choose of events is what there is of them.
#[test]
fn fields_of_logs_are_those_of_events() {
    let schema = Schema::published();
    let all: BTreeSet<&str> =
        kinds(schema).into_iter().flat_map(|kind| fields(schema, kind)).map(|(name, _)| name).collect();
    assert_eq!(all, relevo::names::columns::EVENT.into_iter().collect());
}

/// A schema that takes anything would prove nothing.
#[test]
fn what_is_wrong_is_seen() {
    let schema = Schema::published();
    for line in lines() {
        for (name, _) in fields(schema, &kind_of(&line)) {
            let mut bad = line.clone();
            if bad.get(name).is_some() {
                bad[name] = Value::Null;
                assert!(!schema.wrong(&bad).is_empty(), "{name} of {line} may be null");
            }
        }
        for (name, required) in fields(schema, &kind_of(&line)) {
            let mut bad = line.clone();
            bad.as_object_mut().expect("an object").remove(name);
            assert_eq!(!schema.wrong(&bad).is_empty(), required, "{line} without {name}");
        }
        let mut bad = line.clone();
        bad["surprise"] = 1.into();
        assert!(!schema.wrong(&bad).is_empty(), "{bad}");
    }
}

/// Whoever has the records of a lane can tell its events again; consumers drop repeats by this.
#[test]
fn ids_are_of_what_the_spool_holds() {
    let id_of = |encoder: &mut Encoder, event: &Event<'_>| {
        let mut out = Vec::new();
        encoder.event(AT, event, &mut out);
        let line: Value = serde_json::from_slice(&out).expect("JSON");
        line["event_id"].as_str().expect("an id").to_owned()
    };
    let mut first = Encoder::new(1, AT, "0");
    let mut later = Encoder::new(1, NEXT, "5");
    let all: Vec<String> = of_mail().iter().map(|event| id_of(&mut first, event)).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
    // The record of an outcome has recipients and, of a deferral, attempts and the next one.
    let again = [
        Event::Delivered(Mail { again: true, ..bare() }, Attempt::default()),
        Event::Deferred(bare(), Attempt { attempts: 3, ..Attempt::default() }, NEXT),
    ];
    let told = [
        Event::Delivered(bare(), tried()),
        Event::Deferred(full(), Attempt { attempts: 3, ..tried() }, NEXT),
    ];
    assert_eq!(id_of(&mut later, &again[0]), id_of(&mut first, &told[0]));
    assert_eq!(id_of(&mut first, &told[0]), format!("{ID}-d0.1"));
    assert_eq!(id_of(&mut first, &told[1]), format!("{ID}-f7.2.3.1700000060"));
    let another = Event::Deferred(bare(), Attempt { attempts: 3, ..tried() }, UnixMillis(NEXT.0 + 1000));
    assert_ne!(id_of(&mut first, &another), id_of(&mut first, &again[1]));
    // Of what no record has: never one twice, on any shard in any life of the node.
    let of_notice = |encoder: &mut Encoder| {
        let mut out = Vec::new();
        encoder.notice(AT, &of_others()[0], &mut out);
        serde_json::from_slice::<Value>(&out).expect("JSON")["event_id"].to_string()
    };
    let mut others = [Encoder::new(1, AT, "0"), Encoder::new(1, AT, "1"), Encoder::new(1, NEXT, "0")];
    let ids: BTreeSet<String> = (0..30).map(|at| of_notice(&mut others[at % 3])).collect();
    assert_eq!(ids.len(), 30, "{ids:?}");
}

/// Lists that people read, beside the schema.
#[test]
fn each_kind_and_end_is_documented() {
    let read = |file: &str| {
        let file = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    let (readme, shipped, format) =
        (read("README.md"), read("deploy/relevo.toml"), read("docs/record-format.md"));
    let words: Vec<&str> = Kind::all().map(Kind::word).collect();
    let all = format!("of {};", words.join(", "));
    assert!(shipped.contains(&all), "deploy/relevo.toml does not say: {all}");
    for word in words {
        assert!(readme.lines().any(|line| line.starts_with("| `") && line.contains(&format!("`{word}`"))));
    }
    for end in End::ALL {
        let (code, field) =
            (format!("{} {}", end.code(), end.word()), format!("| {:#06x} {} |", end.field(), end.word()));
        assert!(
            format.contains(&code) && format.contains(&field),
            "record-format.md lacks {code} or {field}"
        );
        if let Some(want) = end.wanted() {
            assert!(shipped.contains(&format!("\"{want}\"")), "deploy/relevo.toml lacks {want}");
        }
    }
}
