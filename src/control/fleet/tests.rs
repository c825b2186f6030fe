//! What is made of what nodes and Redis say.

use super::*;
use crate::config::fleet::place;

fn registered(id: u64, words: &str) -> RegisteredNode {
    RegisteredNode::read(&format!("{id:016x}"), 1_000, words, UnixMillis(60_000)).expect("a node")
}

fn summary(id: u64, name: &str) -> NodeSummary {
    NodeSummary {
        id: format!("{id:016x}"),
        node: name.to_owned(),
        version: "1".to_owned(),
        state: "ready".to_owned(),
        ..NodeSummary::default()
    }
}

fn own() -> Own {
    Own { id: format!("{:016x}", 1), name: "mx1".to_owned() }
}

#[test]
fn a_node_that_is_listed_and_registered_is_one() {
    let listed = [place("http://10.0.0.2:8025").unwrap(), place("http://10.0.0.3:8025").unwrap()];
    let said = vec![
        registered(1, "mx1 1 http://10.0.0.1:8025"),
        registered(2, "mx2 1 http://10.0.0.2:8025"),
        registered(4, "mx4 1 http://10.0.0.4:8025"),
        registered(5, "mx5"),
        // Says that it is where another one is.
        registered(6, "mx6 1 http://10.0.0.2:8025"),
    ];
    let (all, more) = peers(&listed, said, &own().id);
    let seen: Vec<_> =
        all.iter().map(|peer| (peer.key(), peer.place.as_ref().is_some_and(|place| place.listed))).collect();
    let wanted = [
        ("http://10.0.0.2:8025", true),
        ("http://10.0.0.3:8025", true),
        ("http://10.0.0.4:8025", false),
        ("0000000000000005", false),
        ("http://10.0.0.2:8025", false),
    ];
    assert_eq!(seen, wanted.map(|(key, listed)| (key.to_owned(), listed)));
    assert_eq!(more, 0);
    let many = (10..10 + limits::FLEET_NODES_MAX as u64).map(|id| registered(id, "mx")).collect();
    assert_eq!(peers(&listed, many, &own().id).1, 2, "what is beyond the bound is told");
}

#[test]
fn what_a_node_is_like_is_told_with_how_long() {
    let peer = Peer {
        place: Some(Place { url: place("https://mx2.example.net").unwrap(), listed: true }),
        registered: None,
    };
    let mut known = Known::default();
    let told = |known: &mut Known, at, answer: Answer| {
        known.hear(&answer, UnixMillis(at));
        row(&peer, Some(answer), known)
    };
    let node = told(&mut known, 1_000, Ok(summary(2, "mx2")));
    assert_eq!((&*node.node, &*node.reach, node.since), ("mx2", "answers", None));
    let away = || Err(Unreached::Away("connection refused".to_owned()));
    told(&mut known, 2_000, away());
    let node = told(&mut known, 9_000, away());
    assert_eq!(
        (&*node.node, &*node.reach, node.words.as_deref()),
        ("mx2", "away", Some("connection refused"))
    );
    assert_eq!(node.since.as_deref(), Some("1970-01-01T00:00:02.000Z"), "of the first time");
    assert_eq!(node.answered.as_deref(), Some("1970-01-01T00:00:01.000Z"));
    assert_eq!((node.version.as_deref(), node.summary), (Some("1"), None));
    let node = told(&mut known, 10_000, Err(Unreached::Slow(limits::FLEET_ANSWER)));
    assert_eq!((&*node.reach, node.since.as_deref()), ("slow", Some("1970-01-01T00:00:10.000Z")));
}

#[test]
fn each_node_is_there_once_and_this_one_is_not() {
    let found = |url: &str, answer: Option<NodeSummary>, id: Option<u64>| {
        let place = Place { url: place(url).unwrap(), listed: true };
        let known =
            Known { id: id.map(|id| format!("{id:016x}")), name: Some("mx3".to_owned()), ..Known::default() };
        let answer = answer.ok_or(Unreached::Away("gone".to_owned()));
        let peer = Peer { place: Some(place.clone()), registered: None };
        Found { node: row(&peer, Some(answer), &known), place: Some(place) }
    };
    let all = vec![
        found("http://10.0.0.1", Some(summary(1, "mx1")), None),
        found("http://10.0.0.9", None, Some(3)),
        found("http://10.0.0.3", Some(summary(3, "mx3")), None),
        found("http://10.0.0.4", Some(summary(1, "mx4")), None),
        found("http://10.0.0.5", Some(summary(3, "mx5")), None),
        found("http://10.0.0.6", None, None),
    ];
    let seen: Vec<_> = each_once(all, &own())
        .into_iter()
        .map(|found| (found.node.node, found.node.url.unwrap_or_default(), found.node.reach))
        .collect();
    let wanted = [
        ("mx3", "http://10.0.0.3", "answers"),
        ("mx3", "http://10.0.0.6", "away"),
        // A machine that was cloned, with its spool: neither is taken for the other.
        ("mx4", "http://10.0.0.4", "unfit"),
        ("mx5", "http://10.0.0.5", "unfit"),
    ];
    assert_eq!(seen, wanted.map(|(node, url, reach)| (node.to_owned(), url.to_owned(), reach.to_owned())));
}
