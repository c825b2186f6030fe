//! Attacks on the real binary, each with a well-behaved session beside it.
//!
//! The stories are in `tests/attacks/*.py`, one test each; `neighbour.py` there says how the well-behaved session is compared. Two stories at a
//! time, whatever the number of test threads, as most of each is a wait; with RELEVO_STRICT=1 one: then times are compared closely.

mod stories;

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

static PLACES: [Mutex<()>; 2] = [const { Mutex::new(()) }; 2];
static COME: AtomicUsize = AtomicUsize::new(0);

/// Runs one story; its words are shown when it fails.
fn tell(book: &str, story: &str) {
    let places = if std::env::var_os("RELEVO_STRICT").is_some() { 1 } else { PLACES.len() };
    let place = &PLACES[COME.fetch_add(1, Ordering::Relaxed) % places];
    let _turn = place.lock().unwrap_or_else(PoisonError::into_inner);
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

stories!("sessions.py";
    command_loops_move_nobody,
    bursts_of_refused_recipients_move_nobody,
    noise_at_the_socket_moves_nobody,
    drips_move_nobody,
    endless_lines_move_nobody,
    idle_clients_use_up_no_descriptors,
    one_client_has_so_many_connections,
    long_recipients_are_given_back,
);

stories!("addresses.py";
    no_name_leads_back_to_us,
    nothing_leads_here_where_the_list_of_addresses_is_refused,
    an_address_that_the_machine_gets_is_known_soon,
    a_hosts_file_names_hosts_of_routes,
    made_up_domains_at_one_address_take_turns,
    silent_name_servers_hold_up_nobody,
    fresh_domains_do_not_wait_behind_silent_name_servers,
    three_thousand_hosts_fit_in_little_memory,
    no_turn_is_long_for_domains_that_take_no_mail,
);

// What is asked over HTTP moves neither health nor commands.
stories!("guests.py";
    a_thousand_connections_of_http,
    slow_readers_of_http,
    huge_requests_of_http,
    who_guesses_tokens_keeps_nobody_out,
);

stories!("reload.py";
    reloads_move_nobody,
    what_is_read_again_is_in_force,
    kills_in_the_middle_lose_nothing,
);

stories!("auth.py";
    guesses_from_one_network,
    guesses_from_a_thousand_networks,
    guesses_move_no_mail,
    first_logins_after_a_restart,
    newcomers_while_five_hundred_networks_guess,
    what_sessions_under_tls_hold_is_counted,
    a_thousand_guesses_a_second,
    a_thousand_guesses_a_second_by_scram,
    who_does_not_wait_guesses_no_more,
);

// Where a session begins: handshakes, certificates that change, clients that drip.
stories!("door.py";
    handshakes_move_nobody,
    handshakes_with_rsa_move_nobody,
    certificates_swapped_move_nobody,
    drips_in_each_phase_move_nobody,
);

stories!("excess.py";
    a_line_of_a_gigabyte_is_refused,
    lines_of_a_gigabyte_move_nobody,
    a_body_that_streams_takes_turns,
    sizes_of_portions,
    plain_text_behind_starttls,
);
