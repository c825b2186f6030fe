//! What becomes of client mail when segments run out.

use std::collections::VecDeque;

use super::{SHAPE, message};
use crate::runtime::Synced;
use crate::spool::batch::Item;
use crate::spool::lane::{Begin, Lane, Shape};

#[test]
fn client_mail_is_refused_before_the_reserve_and_outcomes_are_not() {
    let mut lane = Lane::new(Shape { segments_max: 3, ..SHAPE });
    while let Some(slot) = lane.wants_segment() {
        lane.segment_created(slot, true);
    }
    let mut queue = VecDeque::<Item>::new();
    let mut stored = 0;
    loop {
        queue.push_back(Item::Message(message("a@x.example", 1, vec![0; 200_000]), ()));
        match lane.begin(&mut queue, 9) {
            Begin::Commit(batch) => lane.done(batch, Synced::pretended(), |_, _| stored += 1),
            Begin::Refused(refused) => {
                assert_eq!(refused.len(), 1);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(stored >= 15, "one segment of three took {stored} messages");
    assert!(!lane.may_accept());
    queue.push_back(Item::Own(message("", 1, vec![0; 250_000]), ()));
    assert!(matches!(lane.begin(&mut queue, 10), Begin::Commit(_)));
}

#[test]
fn client_mail_waits_for_a_segment_that_is_being_made() {
    let mut lane = Lane::new(Shape { segments_max: 9, ..SHAPE });
    while !lane.is_stocked() {
        let slot = lane.wants_segment().expect("a slot");
        lane.segment_created(slot, true);
    }
    let mut queue = VecDeque::<Item>::new();
    let mut making = None;
    let mut fill = |lane: &mut Lane| loop {
        making = lane.wants_segment().or(making);
        queue.push_back(Item::Message(message("a@x.example", 1, vec![0; 200_000]), ()));
        match lane.begin(&mut queue, 9) {
            Begin::Commit(batch) => lane.done(batch, Synced::pretended(), |_, _| {}),
            Begin::Held(held) => return (held.len(), making, true),
            Begin::Refused(refused) => return (refused.len(), making, false),
            other => panic!("{other:?}"),
        }
    };
    let (held, making, waits) = fill(&mut lane);
    assert!(waits && held == 1 && lane.may_accept(), "it is being made");
    lane.segment_created(making.expect("one is asked for"), true);
    let (held, _, waits) = fill(&mut lane);
    assert!(waits && held == 1);
    lane.segment_failed();
    assert!(!lane.may_accept());
    assert!(!fill(&mut lane).2, "no segment can be made: nothing to wait for");
}

#[test]
fn client_mail_waits_for_a_segment_that_is_about_to_be_asked_for() {
    let mut lane = Lane::new(Shape { segments_max: 9, ..SHAPE });
    while let Some(slot) = lane.wants_segment() {
        lane.segment_created(slot, true);
    }
    let mut queue = VecDeque::<Item>::new();
    // All commits fall between two looks at what is wanted, as one that takes long does.
    let held = loop {
        queue.push_back(Item::Message(message("a@x.example", 1, vec![0; 200_000]), ()));
        match lane.begin(&mut queue, 9) {
            Begin::Commit(batch) => lane.done(batch, Synced::pretended(), |_, _| {}),
            Begin::Held(held) => break held.len(),
            other => panic!("{other:?}"),
        }
        assert!(lane.may_accept(), "nothing says that the next one cannot be made");
    };
    assert_eq!(held, 1);
    assert!(lane.wants_segment().is_some());
}
