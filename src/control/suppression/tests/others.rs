//! What nodes of a cluster tell each other of the list.

use super::*;
use crate::policy::suppression::entry::OwnedEntry;

/// Nodes that change the same entries at the same time, are killed, and hear of each other late and in pieces: their lists come to the same.
#[test]
fn lists_of_a_cluster_come_to_the_same() {
    for seed in 0..4 {
        let mut nodes: Vec<Story> = (0..3).map(|node| Story::new(100 * seed + node)).collect();
        let mut stream: Vec<(bool, OwnedEntry)> = Vec::new();
        let mut heard = [0; 3];
        for (keeper, store) in nodes.iter_mut().map(Story::parts) {
            keeper::others::tell_others(keeper, store).unwrap();
        }
        for step in 0..200 {
            // At the end nothing changes any more, and all is heard.
            let is_over = step >= 160;
            let node = nodes[0].random(3) as usize;
            let kind = nodes[0].random(if is_over { 2 } else { 10 });
            let story = &mut nodes[node];
            match kind {
                0 => {
                    let (keeper, store) = story.parts();
                    let (untold, lost) = keeper::others::untold(keeper, store).unwrap();
                    assert!(!lost);
                    // Where the answer is lost they are told twice.
                    let is_twice = story.random(4) == 0;
                    stream.extend(untold.iter().map(|change| (change.listed, change.entry.clone())));
                    if let Some(last) = untold.last().filter(|_| !is_twice) {
                        let (keeper, store) = story.parts();
                        keeper::others::told(keeper, store, last.number).unwrap();
                    }
                }
                1 => {
                    let some = (story.random(40) as usize + 1).min(stream.len() - heard[node]);
                    let to = heard[node] + some;
                    let (keeper, store) = story.parts();
                    keeper::others::hear(keeper, store, (&stream[heard[node]..to], &to.to_string())).unwrap();
                    heard[node] = to;
                }
                2 => {
                    story.start();
                    let (keeper, store) = story.parts();
                    keeper::others::tell_others(keeper, store).unwrap();
                    assert_eq!(store.heard().unwrap().map_or(0, |place| place.parse().unwrap()), heard[node]);
                }
                3 | 4 => story.remove(10),
                _ => {
                    let until = [None, Some(NOW.0 + 5_000), Some(NOW.0 + 9_000)][story.random(3) as usize];
                    let names = story.some_names(10);
                    let entries: Vec<_> =
                        names.iter().map(|(tenant, address)| entry(*tenant, address, until)).collect();
                    let (keeper, store) = story.parts();
                    keeper.add(store, &entries).unwrap();
                }
            }
        }
        nodes.iter_mut().for_each(|story| tell_all(story, &mut stream));
        for (story, heard) in nodes.iter_mut().zip(heard) {
            let (keeper, store) = story.parts();
            for piece in stream[heard..].chunks(7) {
                keeper::others::hear(keeper, store, (piece, "end")).unwrap();
            }
        }
        let lists: Vec<_> = nodes.iter_mut().map(list).collect();
        assert!(!lists[0].is_empty());
        assert_eq!(lists[0], lists[1], "seed {seed}");
        assert_eq!(lists[0], lists[2], "seed {seed}");
    }
}

/// What it has to tell is told.
fn tell_all(story: &mut Story, stream: &mut Vec<(bool, OwnedEntry)>) {
    let (keeper, store) = story.parts();
    loop {
        let (untold, _) = keeper::others::untold(keeper, store).unwrap();
        let Some(last) = untold.last() else { return };
        stream.extend(untold.iter().map(|change| (change.listed, change.entry.clone())));
        keeper::others::told(keeper, store, last.number).unwrap();
    }
}

/// Whoever tells of changes says up to which one, perhaps twice: none that comes later has such a number.
#[test]
fn a_change_that_comes_later_has_a_later_number() {
    let mut story = Story::new(1);
    let mut last = 0;
    for number in 0..5 {
        let (keeper, store) = story.parts();
        keeper::others::tell_others(keeper, store).unwrap();
        keeper.add(store, &[entry(None, &format!("u{number}@example.org"), None)]).unwrap();
        keeper::others::told(keeper, store, last).unwrap();
        let (untold, _) = keeper::others::untold(keeper, store).unwrap();
        assert!(untold.len() == 1 && untold[0].number > last, "{untold:?}");
        last = untold[0].number;
        keeper::others::told(keeper, store, last).unwrap();
        story.start();
    }
}

/// All entries: whose, what, and until when.
fn list(story: &mut Story) -> Vec<(Option<String>, String, Option<UnixMillis>)> {
    let (keeper, store) = story.parts();
    let (mut all, mut behind) = (Vec::new(), None);
    loop {
        let page = keeper.page(store, behind, 100, &|_| true).unwrap();
        let entries = page.entries.iter().filter_map(|record| record.entry());
        all.extend(entries.map(|one| (one.tenant.map(str::to_owned), one.address.to_owned(), one.expires)));
        behind = page.next;
        if behind.is_none() {
            return all;
        }
    }
}

/// What another node tells is not trusted: what no list can have is left out, and nothing of it is told again.
#[test]
fn what_no_list_can_have_is_not_heard() {
    let mut story = Story::new(1);
    let (keeper, store) = story.parts();
    keeper::others::tell_others(keeper, store).unwrap();
    let of = |address: &str, note: &str| OwnedEntry {
        tenant: None,
        address: address.to_owned(),
        reason: Reason::Complaint,
        added: NOW,
        expires: None,
        note: note.to_owned(),
    };
    let long = "x".repeat(limits::SUPPRESSION_NOTE_MAX + 1);
    let heard = [
        (true, of("Ada@Example.org", "")),
        (true, of("no address", "")),
        (true, of("eve@example.org", "two\nlines")),
        (true, of("bob@example.org", &long)),
        (false, of("nobody@example.org", "")),
    ];
    let added = keeper::others::hear(keeper, store, (&heard, "5-0")).unwrap();
    assert_eq!((added.changed, added.known), (1, 1));
    assert_eq!(keeper::others::untold(keeper, store).unwrap(), (Vec::new(), false));
    assert_eq!(store.heard().unwrap().as_deref(), Some("5-0"));
    assert_eq!(list(&mut story), [(None, "ada@example.org".to_owned(), None)]);
}
