use super::*;
use crate::smtp::client::{self, Body, Capabilities, local};
use crate::smtp::reply::Reply;

#[test]
fn a_site_rests_for_what_is_said_of_any_mail() {
    let sick = |code| local(code, (4, 3, 0), "no");
    let fine = |code| local(code, (2, 0, 0), "yes");
    for (replies, last, only) in [
        (vec![sick(451)], true, false),
        (vec![sick(421)], true, true),
        (vec![fine(250), sick(451)], false, false),
        (vec![fine(250), sick(421)], false, false),
        (vec![fine(250), fine(250), sick(451)], false, false),
        (vec![fine(250), fine(250), fine(354), sick(451)], false, false),
        (vec![fine(250), fine(250), fine(354), sick(421)], false, false),
    ] {
        let words: Vec<_> = replies.iter().map(Reply::describe).collect();
        let mut recipients = client::Recipients::new();
        recipients.push(b"x@z");
        let plain = Capabilities::default();
        let mut transaction =
            Transaction::new(&plain, b"a@b", recipients, 10, Body::default()).expect("fits");
        for reply in replies {
            transaction.on_reply(reply);
        }
        assert!(transaction.blames_host(), "the next host is asked: {words:?}");
        let rests =
            [Choice::Last, Choice::Only, Choice::First].map(|choice| refuses_all(choice, &transaction));
        assert_eq!(rests, [last, only, false], "{words:?}");
    }
}
