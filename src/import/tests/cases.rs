//! Small configurations, each with what one kind of directive must come to, and must not.

use super::*;

/// What was made: relevo.toml, shaping.toml, and the report.
pub(super) struct Made {
    pub relevo: String,
    pub shaping: String,
    pub report: String,
}

fn made(reader: Reader, from: &str, files: &[(&str, &str)]) -> Made {
    let imported = of_files(reader, from, files).expect("read");
    sound(&imported);
    // Where a line is from is not what is looked at here.
    let bare = |text: String| -> String {
        let lines = text.lines().filter(|line| !line.starts_with("# ") || line.starts_with("# left out"));
        lines.map(|line| line.split("  # ").next().unwrap_or_default().to_owned() + "\n").collect()
    };
    Made {
        relevo: bare(imported.relevo_toml()),
        shaping: bare(imported.shaping_toml()),
        report: imported.report(),
    }
}

pub(super) fn from_pmta(text: &str) -> Made {
    made(pmta::import, "/c", &[("/c", text)])
}

pub(super) fn from_postfix(main: &str, others: &[(&str, &str)]) -> Made {
    let mut files = vec![("/p/main.cf", main)];
    files.extend(others);
    made(postfix::import, "/p", &files)
}

fn from_kumo(files: &[(&str, &str)]) -> Made {
    made(kumo::import, "/k", files)
}

#[track_caller]
pub(super) fn has(text: &str, wanted: &[&str]) {
    for one in wanted {
        assert!(text.contains(one), "{one}\nis not in\n{text}");
    }
}

#[track_caller]
pub(super) fn lacks(text: &str, unwanted: &[&str]) {
    for one in unwanted {
        assert!(!text.contains(one), "{one}\nis in\n{text}");
    }
}

#[test]
fn files_are_dropped_where_they_were() {
    let made = from_pmta("pickup /opt/pickup/new/  \"/opt/bad files\"\npickup-remove-dot yes\n");
    has(&made.relevo, &["[pickup]\n", "directory = \"/opt/pickup/new\"\n", "bad = \"/opt/bad files\"\n"]);
    has(&made.report, &["pickup-remove-dot yes", "have the program write one dot", "ReadWritePaths="]);
    let made = from_pmta("pickup c:\\Inetpub\\Pickup c:\\Inetpub\\BadMail\n");
    lacks(&made.relevo, &["[pickup]"]);
    has(&made.report, &["is a path that begins with /"]);
}

#[test]
fn who_has_to_log_in_may_not_relay_by_network() {
    let made = from_pmta(
        "<source 0/0>\nalways-allow-relaying yes\nrequire-auth true\n</source>\n<source 10.0.0.0/8>\nalways-allow-relaying yes\n</source>\n",
    );
    has(&made.relevo, &["relay_from = [\"10.0.0.0/8\"]\n"]);
    let made = from_pmta("<source 0/0>\nalways-allow-relaying yes\n</source>\n");
    has(&made.report, &["OPEN RELAY"]);
    let made = from_pmta(
        "<smtp-user u>\npassword p\nsource s\n</smtp-user>\n<source s>\nalways-allow-relaying yes\nallow-unencrypted-plain-auth yes\n</source>\n",
    );
    has(&made.report, &["nobody logs in without TLS: clients have to speak STARTTLS"]);
    lacks(&made.report, &["relay_from has addresses and networks alone"]);
}

#[test]
fn what_is_said_of_a_network_is_a_rule_for_its_clients() {
    let made = from_pmta(
        "<virtual-mta A>\nsmtp-source-host 192.0.2.1\n</virtual-mta>\n<virtual-mta b>\nsmtp-source-host 192.0.2.2\n</virtual-mta>\n\
         <source 10.1.0.0/16>\ndefault-virtual-mta a\nprocess-x-virtual-mta yes\nhide-message-source yes\nremove-received-headers yes\npattern-list l\n</source>\n\
         <source 10.0.0.0/8>\ndefault-virtual-mta b\n</source>\n<source 0/0>\ndefault-virtual-mta b\n</source>\n\
         <pattern-list l>\nmail-from /@(x|y)\\.example$/ virtual-mta=B\nmail-from /@z\\.example/ virtual-mta=b\n</pattern-list>\n",
    );
    let place =
        |text: &str| made.relevo.find(text).unwrap_or_else(|| panic!("{text}\nis not in\n{}", made.relevo));
    let wide = place("match = { clients = [\"10.0.0.0/8\"] }\nset = { pool = \"b\" }");
    let narrow = place("match = { clients = [\"10.1.0.0/16\"] }\nset = { pool = \"A\" }");
    let own = place("match = { clients = [\"10.1.0.0/16\"], header = { name = \"X-Virtual-MTA\"");
    assert!(wide < narrow && narrow < own, "{}", made.relevo);
    has(
        &made.relevo,
        &[
            "[delivery]\npool = \"b\"\n",
            "match = { clients = [\"10.1.0.0/16\"], sender = \"@x.example\" }\nset = { pool = \"b\" }",
            "match = { clients = [\"10.1.0.0/16\"], sender = \"@y.example\" }\nset = { pool = \"b\" }",
            "match = { clients = [\"10.1.0.0/16\"], sender = \"@z.example\" }\nset = { pool = \"b\" }",
        ],
    );
    assert_eq!(made.relevo.matches("hide_trace").count(), 1, "{}", made.relevo);
}

#[test]
fn domains_that_share_a_queue_are_meant_by_their_names() {
    let made = from_pmta(
        "domain-macro TLD com, de\ndomain-macro isp isp.$tld, [*.]other.example\n<domain isp.$TLD>\nqueue-to isp.queue\nmax-smtp-out 9\n</domain>\n\
         <domain isp.queue>\nmax-smtp-out 3\nretry-after 1m,5m\n</domain>\n<domain $isp>\nmax-msg-per-connection 7\n</domain>\n\
         <domain {gmImprinter}>\nretry-after 1m\n</domain>\n",
    );
    has(
        &made.shaping,
        &[
            "[provider.\"isp.queue\"]\nmatch = [{ Domain = \"isp.com\" }, { Domain = \"isp.de\" }]\nprovider_connection_limit = 3\n",
            "{ Domain = \"other.example\" }, { DomainSuffix = \".other.example\" }]\nmax_deliveries_per_connection = 7\n",
        ],
    );
    lacks(&made.shaping, &["connection_limit = 9"]);
    has(&made.relevo, &["domain = \"isp.de\"\nto = \"mx\"\nretry = { schedule = [\"1m\", \"5m\"] }\n"]);
    has(&made.report, &["the shared queue's own settings hold", "a queue of PowerMTA's own"]);
}

#[test]
fn mail_that_goes_to_a_host_is_limited_there() {
    let made = from_pmta(
        "<domain a.example>\nsmtp-hosts [192.0.2.9]:26, hub.example\nmax-smtp-out 4\n</domain>\n<domain *>\nbounce-after never\ndeliver-local-dsn no\n</domain>\n",
    );
    has(
        &made.relevo,
        &["[{ to = \"smtp://192.0.2.9:26\" }, { to = \"smtp://hub.example\" }]", "[bounces]\ndsn = false\n"],
    );
    has(
        &made.shaping,
        &["[\"192.0.2.9\"]\nconnection_limit = 4\n", "[\"hub.example\"]\nconnection_limit = 4\n"],
    );
    lacks(&made.shaping, &["a.example"]);
    has(&made.report, &["no time: mail always ends"]);
}

#[test]
fn cold_sources_are_in_all_pools_and_none_without_a_number() {
    let text = "<virtual-mta w>\nsmtp-source-host 192.0.2.1\nauto-cold-virtual-mta 192.0.2.2\n</virtual-mta>\n\
        <virtual-mta two>\nsmtp-source-host 192.0.2.3,192.0.2.4\n</virtual-mta>\n<virtual-mta-pool p>\nvirtual-mta W\nvirtual-mta two\n</virtual-mta-pool>\n";
    let made = from_pmta(text);
    lacks(&made.relevo, &["[[warmup]]", "192.0.2.2\""]);
    // Each virtual MTA has half.
    has(&made.relevo, &["name = \"p\"\nsources = [\"two-1\", \"two-2\", { source = \"w\", weight = 2 }]\n"]);
    let made = from_pmta(&format!("{text}<domain *>\nmax-cold-virtual-mta-msg 40/day\n</domain>\n"));
    has(
        &made.relevo,
        &[
            "plan = [{ day = 1, per_provider = \"40/d\" }, { day = 731, per_provider = \"40/d\" }]\n",
            "{ source = \"w-cold\", weight = 200 }, { source = \"w-warm\", weight = 2 }]\n",
        ],
    );
    lacks(&made.relevo, &["overflow"]);
}

#[test]
fn long_lists_of_patterns_fit_into_a_section() {
    let replies: String =
        (0..300).map(|number| format!("reply /error {number} here/ mode=backoff\n")).collect();
    let made = from_pmta(&format!(
        "<smtp-pattern-list Long>\n{replies}</smtp-pattern-list>\n<domain *>\nsmtp-pattern-list long\n</domain>\n\
         <virtual-mta v>\nsmtp-source-host 192.0.2.1\n<domain *>\nsmtp-pattern-list long\n</domain>\n</virtual-mta>\n"
    ));
    lacks(&made.shaping, &["left out"]);
    has(&made.shaping, &["(?:error 299 here)"]);
    assert_eq!(made.shaping.matches("automation").count(), 1, "once for all: {}", made.shaping);
    has(
        &made.report,
        &["without backoff-to-normal-after", "rules are of a site, whatever virtual MTA got the reply"],
    );
}

#[test]
fn categories_are_of_what_failed() {
    let made = from_pmta(
        "<bounce-category-patterns>\n/spam/ spam-related\n/^2.\\d.\\d/ success\n/^[45]\\.1\\.1/ bad-mailbox\n// other    # all\n</bounce-category-patterns>\n",
    );
    has(
        &made.shaping,
        &["regex = [\"(?i)^5.*(?:spam)\"]\nclass = \"spam\"", "(?i)^5\\\\d\\\\d[ -](?:[45]\\\\.1\\\\.1)"],
    );
    lacks(&made.shaping, &["class = \"other\""]);
    has(&made.report, &["it fits every reply", "what was delivered has no class"]);
}

#[test]
fn a_section_tells_so_many_sources_apart_and_no_more() {
    let one = |number| {
        format!(
            "<virtual-mta v{number}>\nsmtp-source-host 10.1.0.1\n<domain *>\nmax-smtp-out 5\n</domain>\n</virtual-mta>\n"
        )
    };
    let made = from_pmta(&(0..1_002).map(one).collect::<String>());
    assert_eq!(made.shaping.matches("[\"default\".sources.").count(), 1_000);
    lacks(&made.shaping, &["left out"]);
    assert_eq!(
        made.report.matches("a section tells at most 1000 sources apart").count(),
        4,
        "{}",
        made.report
    );
}

#[test]
fn limits_of_addresses_are_of_their_sources() {
    let made = from_pmta(
        "<virtual-mta a>\nsmtp-source-host 192.0.2.1\n</virtual-mta>\n<virtual-mta b>\nsmtp-source-host 198.51.100.1\n</virtual-mta>\n\
         <domain x.example>\nsource-ip-max-smtp-out 192.0.2.0/24 5\nsource-ip-max-smtp-out 203.0.113.0/24 6\nmax-connect-rate 3/s\nsmtp-out-rampup-interval 5s\n</domain>\n",
    );
    has(
        &made.shaping,
        &["[\"x.example\".sources.\"a\"]\nconnection_limit = 5\n", "max_connection_rate = \"3/s\""],
    );
    has(&made.report, &["no source has an address in this network", "write the smaller of both"]);
}

#[test]
fn logs_and_addresses_are_no_guesses() {
    let made = from_pmta(
        "<acct-file |/bin/x>\nrecords d\n</acct-file>\n<acct-file a.csv>\nrecord-fields delivery *, !orcpt\nrecord-fields b *\n</acct-file>\n\
         <bounce-processor>\n<address-list>\naddress /b-.*@b\\.example/\naddress /f@b\\.example$/\n</address-list>\n</bounce-processor>\n",
    );
    assert_eq!(made.relevo.matches("[[log]]").count(), 1, "{}", made.relevo);
    has(&made.relevo, &["fields = [\"*\"]\n", "addresses = [\"f@b.example\"]\n"]);
    has(&made.report, &["no program is run", "[feedback] has addresses and domains, and no patterns"]);
}

#[test]
fn a_list_without_mynetworks_closes_the_door() {
    let made = from_postfix(
        "mynetworks = 10.0.0.0/8\nsmtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\nrelay_domains = a.example\n",
        &[],
    );
    has(&made.relevo, &["relay_from = []\n", "relay_to = [\"*.a.example\", \"a.example\"]"]);
    let made = from_postfix("mynetworks = [::ffff:127.0.0.0]/104 127.0.0.0/8 0.0.0.0/0\n", &[]);
    has(&made.relevo, &["relay_from = [\"0.0.0.0/0\", \"127.0.0.0/8\"]\n"]);
    has(&made.report, &["OPEN RELAY"]);
    let made = from_postfix("mynetworks_style = subnet\n", &[]);
    has(&made.report, &["relay_from names networks"]);
}

/// What a file is for says who is called with it, not what it is called.
#[test]
fn files_are_for_whom_the_policy_calls_with_them() {
    let policy = "local shaping = require 'policy-extras.shaping'\n\
                  shaping:setup_with_automation { extra_files = { '/opt/kumomta/etc/policy/shaping.toml', '/opt/kumomta/etc/policy/providers.toml' } }\n";
    let made = from_kumo(&[
        ("/k/init.lua", policy),
        ("/k/shaping.toml", "['default']\nconnection_limit = 7\n"),
        (
            "/k/providers.toml",
            "[provider.'yahoo']\nmatch = [{MXSuffix = '.yahoodns.net'}]\nconnection_limit = 3\n",
        ),
    ]);
    has(&made.shaping, &["connection_limit = 7", "connection_limit = 3", ".yahoodns.net"]);
    lacks(&made.report, &["a file for code of the policy's own"]);
}

#[test]
fn mail_that_would_stay_is_not_taken() {
    let made = from_postfix(
        "myhostname = a.example\nmydestination = $myhostname\nvirtual_alias_domains = v.example\n",
        &[],
    );
    lacks(&made.relevo, &["relay_to"]);
    has(
        &made.report,
        &[
            "there are no mailboxes here, and nothing says where else",
            "addresses are not rewritten, so this mail is not taken",
        ],
    );
    let made = from_postfix("mydestination = a.example\nmailbox_transport = lmtp:unix:/run/l\n", &[]);
    has(&made.relevo, &["relay_to = [\"a.example\"]", "to = \"lmtp:/run/l\""]);
    // A map of transports says something of those alone that it names.
    let text = "mydestination = a.example, b.example, c.sub.example\ntransport_maps = hash:/p/transport\n";
    let made =
        from_postfix(text, &[("/p/transport", "b.example smtp:[10.0.0.1]\n.sub.example smtp:[10.0.0.2]\n")]);
    has(&made.relevo, &["relay_to = [\"b.example\", \"c.sub.example\"]"]);
    has(&made.report, &["mail of those that transport_maps names is taken"]);
    let made = from_postfix(text, &[("/p/transport", "other.example smtp:[10.0.0.1]\n")]);
    lacks(&made.relevo, &["relay_to"]);
    has(&made.report, &["there are no mailboxes here, and nothing says where else"]);
}

#[test]
fn port_25_is_no_submission_and_what_lacks_its_certificate_is_shown() {
    let made = from_postfix(
        "smtpd_sasl_auth_enable = yes\nsmtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\n\
         smtpd_tls_cert_file = /no/cert.pem\nrelay_domains = a.example\nmynetworks = 10.0.0.0/8\n",
        &[(
            "/p/master.cf",
            "smtp inet n - n - - smtpd\nsubmission inet n - n - - smtpd\nx unix - n n - - pipe\n  flags=R argv=/bin/x -oi -o a\n",
        )],
    );
    has(
        &made.relevo,
        &[
            "[[listener]]\naddress = \"0.0.0.0:25\"\nrelay_from = []\n",
            "# left out: clients log in under TLS alone",
        ],
    );
    lacks(&made.relevo, &["\nkind = "]);
    lacks(&made.report, &["it is no name=value", "Unknown"]);
}

#[test]
fn transports_limit_the_domains_that_go_by_them() {
    let made = from_postfix(
        "transport_maps = hash:/etc/postfix/t\nslow_destination_rate_delay = 1s\nslow_destination_concurrency_limit = 2\nsmtp_destination_concurrency_limit = 9\n\
         default_destination_concurrency_limit = 8\nrelayhost = [hub.example]\nsmtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = static:me:pass word\n\
         sender_dependent_relayhost_maps = hash:/etc/postfix/s\nsmtp_tls_policy_maps = hash:/etc/postfix/p\n",
        &[
            ("/p/t", "a.example slow:\n.b.example slow:\nc.example smtp:c.example\n"),
            ("/p/s", "@x.example [hub.example]\n@y.example [other.example]:587\n"),
            ("/p/p", ".bank.example secure\n"),
            ("/p/master.cf", "slow unix - - n - - smtp\n"),
        ],
    );
    has(
        &made.shaping,
        &[
            "[\"a.example\"]\nconnection_limit = 2\nmax_message_rate = \"1/s\"\n",
            "[provider.\"below b.example\"]\nmatch = [{ DomainSuffix = \".b.example\" }]\nconnection_limit = 2\n",
            "[provider.\"below bank.example\"]\nmatch = [{ DomainSuffix = \".bank.example\" }]\nenable_tls = \"Required\"\n",
        ],
    );
    has(
        &made.relevo,
        &[
            "domain = \"c.example\"\nto = \"mx\"\n",
            "connections_per_destination = 9\n",
            "credentials = \"hub-example\"\n",
        ],
    );
    has(
        &made.report,
        &[
            "it goes where all mail goes",
            "hand this sender's mail to a relevo of its own",
            "smtp://other.example:587",
            "overrules it for mail that goes by SMTP",
        ],
    );
    lacks(&(made.relevo + &made.report), &["pass word"]);
}

#[test]
fn header_checks_of_one_field_are_rules() {
    let made = from_postfix(
        "header_checks = regexp:/etc/postfix/h\nbody_checks = regexp:/etc/postfix/b\n",
        &[
            (
                "/p/h",
                "/^X-Mailer:/ IGNORE\n/^Received:/ IGNORE\n/^Subject: .*casino/ REJECT 5.7.9 no casino\n/^X-A: (x|y)$/ DISCARD\n/^X-B:/ PREPEND X-C: $d\n/^To:.*x/ REPLACE To: y\n/(X|Y)-Z:/ IGNORE\n",
            ),
            ("/p/b", "/viagra/ REJECT\n"),
        ],
    );
    has(
        &made.relevo,
        &[
            "set = { header_remove = [\"X-Mailer\"] }\n",
            "set = { hide_trace = true }\n",
            "pattern = \"(?i)(?:casino)\" } }\naction = \"reject 550 5.7.9 no casino\"\n",
            "pattern = \"(?i)^\\\\s*(?:(x|y)$)\" } }\naction = \"discard\"\n",
            "set = { header_add = { \"X-C\" = \"$$d\" } }\n",
        ],
    );
    has(&made.report, &["no field is written anew", "h:7: /(X|Y)-Z:/ IGNORE", "b:1: /viagra/ REJECT"]);
}

#[test]
fn a_policy_s_helpers_and_literals_are_read() {
    let policy = "local shaping = require 'policy-extras.shaping'\nlocal domains = require(\"policy-extras.listener_domains\")\n\
        shaping:setup_with_automation { no_default_files = true, extra_files = { '/x/shaping.toml' } }\n\
        kumo.on('get_listener_domain', domains:setup({'/x/listener_domains.toml'}))\n\
        kumo.on('init', function()\n  kumo.start_esmtp_listener { listen = '0:' .. p, max_message_size = 20 * 1024 * 1024, relay_hosts = {'0.0.0.0/0'},\n\
        domains = { ['d.example'] = { relay_to = true } } }\n  kumo.define_egress_source { name = 'ip', source_address = '192.0.2.1' }\n\
        kumo.define_egress_pool { name = 'p', entries = { { name = 'ip', weight = 3 } } }\nend)\n\
        kumo.on('get_queue_config', function() end)\n";
    let made = from_kumo(&[
        ("/k/init.lua", policy),
        ("/k/listener_domains.toml", "[listener.\"10.0.0.1:25\".\"l.example\"]\nrelay_to = true\n"),
        (
            "/k/queues.toml",
            "tenant_header = 'X-T'\ndefault_tenant = 'd'\n[queue.default]\negress_pool = 'unspecified'\n[queue.'s.example'.protocol.smtp]\nmx_list = ['a.example', { name = 'b', addr = '192.0.2.2' }]\n[tenant.default]\nmax_message_rate = '1/s'\n",
        ),
        ("/k/sources.toml", "[source.a]\n[source.b]\n[pool.q.a]\nweight = 0\n[pool.q.b]\n"),
    ]);
    has(
        &made.relevo,
        &[
            "[shaping]\ndefaults = false\n",
            "message_size_max = 20971520\n",
            "relay_to = [\"d.example\", \"l.example\"]\n",
            "name = \"ip\"\naddress = \"192.0.2.1\"\n",
            "sources = [{ source = \"ip\", weight = 3 }]\n",
            "to = [{ to = \"smtp://a.example\" }, { to = \"smtp://192.0.2.2\" }]\n",
            "name = \"q\"\nsources = [\"b\"]\n",
        ],
    );
    let place = |text: &str| made.relevo.find(text).unwrap_or_else(|| panic!("{text}"));
    assert!(place("set = { tenant = \"d\" }") < place("set = { tenant = \"$1\" }"), "{}", made.relevo);
    has(
        &made.report,
        &[
            "OPEN RELAY",
            "0.0.0.0:25 in its place",
            "[retry], [[tenant]], [[rule]] and [[route]]",
            "each tenant has a section of its own",
        ],
    );
    lacks(&made.report, &["Unknown"]);
}

#[test]
fn limits_of_a_virtual_mta_hold_where_its_mail_goes() {
    let made = from_pmta(
        "<virtual-mta v>\nsmtp-source-host 192.0.2.1\n<domain a.example>\nmax-smtp-out 3\n</domain>\n<domain other.example>\nmax-smtp-out 5\n</domain>\n</virtual-mta>\n\
         <domain a.example>\nsmtp-hosts hub.example\n</domain>\n<domain a.example/v>\nmax-msg-rate 9/h\n</domain>\n",
    );
    has(
        &made.shaping,
        &["[\"hub.example\".sources.\"v\"]\n", "connection_limit = 3\n", "max_message_rate = \"9/h\"\n"],
    );
    has(&made.shaping, &["[\"other.example\".sources.\"v\"]\nconnection_limit = 5\n"]);
    lacks(&made.shaping, &["[\"a.example"]);
}

#[test]
fn what_goes_by_the_host_of_all_mail_has_no_section_of_its_own() {
    let made = from_pmta(
        "<domain *>\nsmtp-hosts [smart.example]:587\nmax-smtp-out 50\n</domain>\n\
         <domain gmail.com>\nmax-smtp-out 5\nretry-after 1m,5m\nbounce-after 1d\nuse-starttls no\nsmtp-pattern-list l\n</domain>\n\
         <domain direct.example>\nsmtp-hosts [mx.direct.example]\nmax-smtp-out 7\n</domain>\n<domain void.example>\ntype discard\n</domain>\n\
         <smtp-pattern-list l>\nreply /x/ mode=backoff\n</smtp-pattern-list>\n",
    );
    has(&made.shaping, &["[\"mx.direct.example\"]\nconnection_limit = 7\n"]);
    lacks(&made.shaping, &["gmail.com", "connection_limit = 5\n", "enable_tls"]);
    // A route for its waits leads to the same host as before.
    has(
        &made.relevo,
        &[
            "domain = \"gmail.com\"\nto = \"smtp://smart.example:587\"\nretry = { schedule = [\"1m\", \"5m\"] }\n",
        ],
    );
    has(&made.relevo, &["domain = \"void.example\"\nto = \"discard\"\n"]);
    has(&made.report, &["max-smtp-out 5", "bounce-after 1d", "goes to the hosts of <domain *>"]);
}

#[test]
fn an_unknown_virtual_mta_leaves_the_default() {
    let made = from_pmta(
        "<virtual-mta v1>\nsmtp-source-host 192.0.2.1\n</virtual-mta>\n<virtual-mta v2>\nsmtp-source-host 192.0.2.2\n</virtual-mta>\n\
         <source 10.0.0.0/8>\nalways-allow-relaying yes\nprocess-x-virtual-mta yes\ndefault-virtual-mta v1\n</source>\n",
    );
    has(
        &made.relevo,
        &["pattern = \"^\\\\s*(v1|v2)\\\\s*$\"", "set = { pool = \"$1\" }", "set = { pool = \"v1\" }"],
    );
}

#[test]
fn who_was_let_by_no_source_may_not_relay() {
    let made = from_pmta("relay-domain ours.example\n");
    has(&made.relevo, &["relay_from = []\nrelay_to = [\"ours.example\"]\n"]);
    has(&made.report, &["No <source> lets a network relay"]);
    // What nobody may send by is not there, as without relay_from this machine itself might.
    for text in ["smtp-listener 192.0.2.1:25\n", "<source 127.0.0.1>\nalways-allow-relaying no\n</source>\n"]
    {
        let made = from_pmta(text);
        has(&made.relevo, &["# left out: nobody may relay here\n"]);
        lacks(&made.relevo, &["\n[[listener]]"]);
        has(&made.report, &["No [[listener]] is left"]);
    }
    let made = from_pmta("<source 127.0.0.1>\nalways-allow-relaying yes\n</source>\n");
    has(&made.relevo, &["relay_from = [\"127.0.0.1\"]\n"]);
}

#[test]
fn the_narrowest_entry_of_a_transport_map_holds() {
    let master = "slow unix - - n - - smtp\n  -o smtp_bind_address=192.0.2.7\nbulk unix - - n - - smtp\n  -o smtp_bind_address=192.0.2.8\n";
    let main = "transport_maps = hash:/p/transport\nrelay_domains = kept.example moved.example\nrelay_transport = smtp:[store.example]\nrelayhost = [out.example]\n";
    let map = "a.example slow:\n.b.example bulk:\nplain.example smtp:\nas-ever.example :\nmoved.example smtp:[there.example]\n* bulk:[smart.example]\n";
    let made = from_postfix(main, &[("/p/master.cf", master), ("/p/transport", map)]);
    let at = |text: &str| made.relevo.find(text).unwrap_or_else(|| panic!("{text}\n{}", made.relevo));
    // Each rule sets over those before.
    assert!(at("match = { recipient = \"*\" }") < at("match = { recipient = \"*.b.example\" }"));
    assert!(at("match = { recipient = \"*.b.example\" }") < at("match = { recipient = \"@a.example\" }"));
    // What names no source of its own does not leave by the wider entry's.
    has(&made.relevo, &["match = { recipient = \"@plain.example\" }\nset = { pool = \"any-address\" }\n"]);
    has(
        &made.relevo,
        &[
            "domain = \"as-ever.example\"\nto = \"smtp://out.example\"\n",
            "domain = \"plain.example\"\nto = \"mx\"\n",
        ],
    );
    // The map stands over relay_transport, with its entry for everything, too.
    has(&made.relevo, &["domain = \"moved.example\"\nto = \"smtp://there.example\"\n"]);
    lacks(&made.relevo, &["store.example"]);
    has(&made.report, &["the entry * of the transport map stands over it", "as it stands over this"]);
}

#[test]
fn a_refusal_of_all_mail_spares_what_the_map_takes() {
    let main = "transport_maps = hash:/p/transport\n";
    let made =
        from_postfix(main, &[("/p/transport", "a.example smtp:[a.example]\n* error:5.1.1 nothing else\n")]);
    lacks(&made.relevo, &["reject"]);
    has(&made.report, &["narrower entries take some of this mail"]);
    let made =
        from_postfix(main, &[("/p/transport", "gone.example error:5.1.1 moved\n* smtp:[a.example]\n")]);
    has(&made.relevo, &["match = { recipient = \"@gone.example\" }\naction = \"reject 550 5.1.1 moved\"\n"]);
}

#[test]
fn a_default_transport_without_a_host_goes_to_the_relayhost() {
    let master = "slow unix - - n - - smtp\n  -o smtp_bind_address=192.0.2.7\n";
    for transport in ["slow", "slow:"] {
        let main = format!("default_transport = {transport}\nrelayhost = [out.example]:587\n");
        let made = from_postfix(&main, &[("/p/master.cf", master)]);
        has(&made.relevo, &["domain = \"*\"\nto = \"smtp://out.example:587\"\n", "pool = \"slow\""]);
    }
    let made = from_postfix(
        "default_transport = slow:[own.example]\nrelayhost = [out.example]\n",
        &[("/p/master.cf", master)],
    );
    has(&made.relevo, &["to = \"smtp://own.example\"\n"]);
    lacks(&made.relevo, &["to = \"smtp://out.example\"\n"]);
}

#[test]
fn names_are_read_as_people_write_them() {
    let made = from_pmta(
        "<domain a.example B.example>\nmax-smtp-out 3\n</domain>\n<domain *>\nqueue-to {service}\n</domain>\n\
         <virtual-mta v>\nsmtp-source-host 192.0.2.1\n<domain *>\nqueue-to {service}\n</domain>\n</virtual-mta>\n\
         <source 10.0.0.0/8>\nalways-allow-relaying yes\npattern-list l\n</source>\n\
         <pattern-list l>\nmail-from /@news.a.example/ virtual-mta=v\nmail-from /@news.+example/ virtual-mta=v\n</pattern-list>\n\
         <acct-file /x.csv>\nrecords all\n</acct-file>\n",
    );
    has(
        &made.shaping,
        &["[\"a.example\"]\nconnection_limit = 3\n", "[\"b.example\"]\nconnection_limit = 3\n"],
    );
    has(&made.relevo, &["sender = \"@news.a.example\" }\nset = { pool = \"v\" }\n"]);
    has(
        &made.report,
        &["a service that PowerMTA knows by name", "a log has events of all kinds", "/@news.+example/"],
    );
    lacks(&made.report, &["does not know it"]);
}
