//! The real binary and who runs it: commands on what waits, what is told at a glance, troubles, upgrades, drains, and moving here.
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

stories!("control.py";
    a_queue_is_listed_counted_and_shown,
    a_message_under_way_is_told,
    pages_hold_while_mail_comes_and_goes,
    a_retry_is_at_once,
    a_site_that_rests_is_tried_again,
    what_is_bounced_comes_back_once,
    a_kill_in_the_middle_of_a_bounce_leaves_the_rest,
    what_records_say_is_searched_for,
    what_cannot_be_read_is_told,
    ages_are_those_of_messages,
    wrong_questions_are_refused,
    others_are_kept_out,
    garbage_silence_and_floods_hold_up_nobody,
    where_the_socket_is,
    who_is_silent_at_the_socket_holds_up_nobody,
);

stories!("operate.py";
    what_is_held_waits_until_it_is_released,
    a_hold_ends_by_itself,
    what_is_rebound_waits_on_as_anothers,
    sessions_are_watched_as_they_go,
    what_was_said_last_is_shown,
    mail_is_led_elsewhere_for_a_while,
    mail_is_exported_as_it_came,
);

stories!("overview.py";
    what_waits_is_told_at_a_glance,
    streams_tell_what_happens_and_hold_up_nobody,
    top_shows_it_and_gives_the_terminal_back,
);

stories!("demo.py";
    a_newcomer_sees_the_window_move,
);

stories!("troubles.py";
    a_provider_throttles,
    a_tenant_floods,
    a_source_is_listed,
    the_disk_is_full,
    name_servers_are_dead,
    a_certificate_ends,
    a_reload_goes_wrong,
    a_next_hop_is_stuck,
    the_clock_is_stepped,
    two_robots_answer_each_other,
);

stories!("upgrade.py";
    sockets_of_a_supervisor_outlive_the_process,
    binaries_take_over_and_refuse_nobody,
    whoever_fails_leaves_the_other_serving,
    a_kill_of_the_old_process_loses_nothing,
    a_stop_in_an_upgrade_is_a_stop,
    a_message_that_was_begun_is_ended_before_a_stop,
);

stories!("drain.py";
    what_waits_goes_to_a_peer_and_nothing_new_is_taken,
    it_is_ended_in_the_middle,
    a_kill_in_the_middle_loses_nothing,
    what_is_known_of_mail_goes_with_it,
);

stories!("imported.py";
    mail_flows_as_postfix_had_it,
);
