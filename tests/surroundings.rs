//! What is around the real binary, treated as badly as it is out there: the disk, the log, standard error, signals, `control.db`. Beside
//! `tests/attacks.rs` these compare no times, so they are told several at a time.
//!
//! The stories are in `tests/attacks/*.py`, one test each.

mod stories;

use std::process::Command;

/// Runs one story; its words are shown when it fails.
fn tell(book: &str, story: &str) {
    let book = format!("attacks/{book}");
    let bound = &mut Command::new("timeout");
    stories::tell(
        bound.args(["--kill-after=5", "240"]),
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

// Standard error, the log, the disk and control's HTTP.
stories!("surroundings.py";
    nobody_reads_standard_error,
    nobody_reads_a_socket_either,
    standard_error_is_closed_or_full,
    a_storm_is_told_as_a_number,
    a_log_that_is_a_pipe,
    a_log_that_cannot_be,
    a_log_on_a_full_disk_has_no_torn_lines,
    what_a_full_disk_refuses_the_next_start_writes,
    the_log_is_opened_again_by_a_signal,
    descriptors_used_up,
    signals_of_others_end_nothing,
    no_room_is_said,
    half_requests,
    a_body_that_never_comes,
    names_of_others_are_refused,
    modes_whatever_the_umask,
    stops_whatever_hangs,
);

// What operators decide: control.db, and the requests of the control socket.
stories!("decisions.py";
    control_db_is_damaged,
    control_db_is_no_file,
    control_db_is_locked,
    requests_that_make_no_sense,
    huge_bodies,
    a_thousand_at_once,
);
