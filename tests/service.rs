//! What the real binary gives those whose mail it sends: mail over HTTP, by clients that others wrote.
//!
//! One book of `tests/peers` for each subject, which its first line names, and one test for each of its stories.

mod stories;

use std::process::Command;

/// Runs one story; its words are shown when it fails.
fn tell(book: &str, story: &str) {
    let book = format!("peers/{book}");
    let bound = &mut Command::new("timeout");
    stories::tell(
        bound.args(["--kill-after=5", "600"]),
        &book,
        &[story, &stories::relay(env!("CARGO_BIN_EXE_relevo"))],
    );
}

macro_rules! stories {
    ($book:literal; $($story:ident),* $(,)?) => {
        $(#[test]
        fn $story() {
            tell($book, stringify!($story));
        })*
    };
}

stories!("handed_in.py";
    messages_are_taken_as_they_are_said,
    only_who_may_send_does,
    raw_mail_goes_byte_for_byte,
    batches_are_answered_one_by_one,
    a_key_sends_once,
    mail_is_made_of_templates,
    templates_are_kept_in_mailtraps_shapes,
    nothing_that_was_taken_is_lost_by_kills,
    clients_of_mailtrap_work,
);

stories!("examples.py";
    examples_send_and_say_what_is_refused,
);
