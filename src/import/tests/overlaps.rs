//! What two parts of an original say of the same thing, and what one part says of more than its name.

use super::cases::{from_pmta, from_postfix, has, lacks};

#[test]
fn two_domains_at_one_host_are_both_told() {
    let made = from_pmta(
        "<domain a.example>\nsmtp-hosts [192.0.2.9]\nmax-smtp-out 4\nmax-msg-rate 100/h\nmail-from-timeout 1m\n</domain>\n\
         <domain b.example>\nsmtp-hosts [192.0.2.9]\nmax-smtp-out 9\nmax-msg-rate 1/min\nmail-from-timeout 2m\n</domain>\n\
         <domain c.example>\nroute [192.0.2.9]:26\nmax-smtp-out 2\n</domain>\n",
    );
    has(
        &made.shaping,
        &[
            "[\"192.0.2.9\"]\nconnection_limit = 2\nmax_message_rate = \"1/min\"\nmail_from_timeout = \"1m\"\n",
        ],
    );
    lacks(&made.shaping, &["a.example", "b.example", "c.example"]);
    has(
        &made.report,
        &[
            "max-smtp-out 9",
            "max-smtp-out 4",
            "max-msg-rate 100/h",
            "mail-from-timeout 2m",
            "what stood there first holds for both",
        ],
    );
    // The same once more is no conflict.
    let made = from_pmta(
        "<domain a.example>\nsmtp-hosts [192.0.2.9]\nmax-smtp-out 4\n</domain>\n<domain b.example>\nsmtp-hosts [192.0.2.9]\nmax-smtp-out 4\n</domain>\n",
    );
    lacks(&made.report, &["for both"]);
}

#[test]
fn two_clients_at_one_host_are_both_told() {
    let master = "slow unix - - n - - smtp\nbulk unix - - n - - smtp\n";
    let map = "a.example slow:[hub.example]\nb.example bulk:[hub.example]\n";
    let main = "transport_maps = hash:/p/transport\nslow_destination_concurrency_limit = 2\nbulk_destination_concurrency_limit = 20\n";
    let made = from_postfix(main, &[("/p/master.cf", master), ("/p/transport", map)]);
    has(&made.shaping, &["[\"hub.example\"]\nconnection_limit = 2\n"]);
    has(
        &made.report,
        &[
            "bulk_destination_concurrency_limit = 20",
            "slow_destination_concurrency_limit = 2",
            "holds for both",
        ],
    );
}

#[test]
fn what_is_below_a_domain_is_meant_where_that_is_said() {
    let map = (
        "/p/transport",
        "kept.example smtp:[a.example]\n.own.example smtp:[b.example]\nown.example smtp:[c.example]\n",
    );
    let main = "relay_domains = kept.example\ntransport_maps = hash:/p/transport\n";
    let made = from_postfix(main, &[map]);
    has(&made.relevo, &["relay_to = [\"*.kept.example\", \"kept.example\"]\n"]);
    lacks(&made.relevo, &["domain = \"*.kept.example\""]);
    let made = from_postfix(&format!("{main}parent_domain_matches_subdomains = transport_maps\n"), &[map]);
    has(
        &made.relevo,
        &["relay_to = [\"kept.example\"]\n", "domain = \"*.kept.example\"\nto = \"smtp://a.example\"\n"],
    );
    has(&made.relevo, &["domain = \"*.own.example\"\nto = \"smtp://b.example\"\n"]);
    has(&made.report, &["parent_domain_matches_subdomains = transport_maps"]);
}

#[test]
fn a_pattern_for_a_virtual_mta_that_is_not_there_leaves_the_default() {
    let made = from_pmta(
        "<virtual-mta v1>\nsmtp-source-host 192.0.2.1\n</virtual-mta>\n<pattern-list l>\nmail-from /@news.a.example/ virtual-mta=gone\n</pattern-list>\n\
         <source 10.0.0.0/8>\nalways-allow-relaying yes\ndefault-virtual-mta v1\npattern-list l\n</source>\n",
    );
    has(&made.relevo, &["set = { pool = \"v1\" }"]);
    lacks(&made.relevo, &["gone"]);
    has(&made.report, &["there is no virtual MTA or pool of this name: the default's is taken"]);
}

#[test]
fn passwords_of_names_that_look_alike_are_two() {
    let of = |name: &str| {
        format!("<domain {name}>\nroute hub.example\nauth-username u\nauth-password {name}\n</domain>\n")
    };
    let made = from_pmta(&(of("a.b.example") + &of("a-b.example")));
    has(&made.relevo, &["\"a-b-example\" = ", "\"a-b-example-1\" = "]);
    has(&made.relevo, &["credentials = \"a-b-example\"\n", "credentials = \"a-b-example-1\"\n"]);
}
