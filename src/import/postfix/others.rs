//! What is to be said of all that nothing was made of.

use super::parameters::Parameter;
use super::reader::Reader;
use crate::import::{Id, words};

/// Of Postfix's own processes, files and programs, or what holds here anyway.
const USUAL: &str = "alias_database biff append_dot_mydomain append_at_myorigin swap_bangpath readme_directory html_directory manpage_directory \
    sample_directory compatibility_level mail_owner setgid_group default_privs command_directory daemon_directory data_directory queue_directory \
    config_directory meta_directory shlib_directory sendmail_path newaliases_path mailq_path mail_name mail_version unknown_local_recipient_reject_code \
    debug_peer_level debug_peer_list debugger_command mailbox_size_limit virtual_mailbox_limit recipient_delimiter inet_interfaces inet_protocols \
    queue_run_delay disable_vrfy_command smtpd_helo_required smtpd_delay_reject strict_rfc821_envelopes smtpd_tls_auth_only smtp_tls_session_cache_database \
    smtpd_tls_session_cache_database smtpd_tls_session_cache_timeout smtp_tls_session_cache_timeout smtpd_tls_loglevel smtp_tls_loglevel \
    smtpd_tls_received_header smtp_tls_note_starttls_offer smtpd_use_tls smtpd_enforce_tls hopcount_limit initial_destination_concurrency \
    smtp_connection_cache_on_demand smtp_connection_cache_destinations smtp_dns_support_level smtp_host_lookup smtp_sasl_security_options \
    smtp_sasl_tls_security_options smtpd_sasl_security_options smtpd_sasl_tls_security_options smtpd_sasl_local_domain broken_sasl_auth_clients \
    smtp_sasl_mechanism_filter smtpd_error_sleep_time smtpd_soft_error_limit smtpd_hard_error_limit smtpd_junk_command_limit smtpd_timeout \
    smtpd_peername_lookup syslog_name syslog_facility maillog_file maillog_file_prefixes maillog_file_rotate_suffix default_process_limit \
    qmgr_message_active_limit qmgr_message_recipient_limit in_flow_delay smtp_randomize_addresses smtp_address_preference import_environment \
    export_environment long_queue_ids enable_long_queue_ids smtpd_log_access_permit_actions bounce_queue_lifetime_default local_recipient_maps \
    smtpd_forbid_bare_newline_exclusions smtpd_forbid_unauth_pipelining smtp_pix_workarounds smtp_quit_timeout smtp_always_send_ehlo smtp_skip_5xx_greeting \
    smtp_skip_quit_response smtp_balance_inet_protocols smtp_mx_address_limit smtp_mx_session_limit line_length_limit header_size_limit \
    anvil_rate_time_unit tls_random_source default_database_type smtputf8_enable smtpd_tls_protocols smtp_tls_protocols \
    smtpd_tls_mandatory_protocols smtp_tls_mandatory_protocols tls_preempt_cipherlist smtpd_tls_ciphers smtp_tls_ciphers smtpd_tls_mandatory_ciphers \
    smtp_tls_mandatory_ciphers smtpd_tls_exclude_ciphers smtp_tls_exclude_ciphers smtpd_tls_eecdh_grade smtpd_tls_dh1024_param_file smtpd_tls_dh512_param_file \
    tls_ssl_options tls_high_cipherlist tls_medium_cipherlist smtpd_sasl_authenticated_header smtpd_sasl_type smtpd_sasl_path smtpd_sasl_auth_enable \
    smtpd_tls_ask_ccert myorigin smtpd_tls_CAfile smtpd_tls_CApath smtp_line_length_limit smtpd_reject_unlisted_recipient smtpd_reject_unlisted_sender \
    confirm_delay_cleared smtp_connection_cache_reuse_limit smtp_destination_concurrency_failed_cohort_limit default_destination_concurrency_failed_cohort_limit \
    smtp_never_send_ehlo allow_percent_hack smtpd_recipient_overshoot_limit smtpd_client_port_logging \
    undisclosed_recipients_header rewrite_service_name multi_instance_name proxy_read_maps proxy_write_maps plaintext_reject_code recipient_canonical_classes sender_canonical_classes multi_instance_enable multi_instance_wrapper authorized_submit_users";

/// What there is nothing like, and what to do.
const NONE: [(&str, &str); 51] = [
    ("bounce_queue_lifetime", "notifications wait as long as other mail: retry.expire"),
    ("soft_bounce", "no reply is made softer: suspend what you are testing, relevo suspend"),
    (
        "content_filter",
        "a filter that speaks SMTP is a [[route]] and a second [[listener]]; one that judges is asked by [hook]",
    ),
    ("smtpd_proxy_filter", "ask the filter by [hook], or put it in front (xclient_from)"),
    ("smtpd_milters", "OpenDKIM: relevo signs itself ([dkim] keys, docs/dkim.md); others: ask by [hook]"),
    ("non_smtpd_milters", "OpenDKIM: relevo signs itself ([dkim] keys, docs/dkim.md); others: ask by [hook]"),
    ("milter_default_action", "[hook] fail = \"accept\" or \"defer\" says it of a hook"),
    (
        "relay_recipient_maps",
        "recipients are not looked up: the host behind the route refuses whom it does not know",
    ),
    ("mynetworks", "no listener here lets networks relay: relay_from of a [[listener]]"),
    ("relay_domains", "no listener here takes mail of strangers: relay_to of a [[listener]]"),
    ("header_checks", "of one service: a [[rule]] with match.listener, match.header and set or action"),
    (
        "tls_server_sni_maps",
        "certificates = [{ chain, key }, ...] of a [[listener]]: one for each name that clients ask for",
    ),
    ("maps_rbl_domains", "block lists of clients: put a filter in front, or ask one by [hook]"),
    ("defer_transports", "relevo suspend --domain DOMAIN holds mail of a domain"),
    (
        "mynetworks_style",
        "relay_from names networks: write those that are meant; without mynetworks only this machine may relay",
    ),
    (
        "virtual_alias_domains",
        "addresses are not rewritten, so this mail is not taken: do it in the application, or in a mail store behind relay_to and a [[route]]",
    ),
    (
        "virtual_alias_maps",
        "addresses are not rewritten: do it in the application, or in the mail store behind a [[route]]",
    ),
    ("alias_maps", "there are no local users: mail to them wants a [[route]] to a mail store"),
    ("canonical_maps", "addresses are not rewritten; a [[rule]] with set.sender gives another reverse path"),
    (
        "sender_canonical_maps",
        "a [[rule]] with match.sender and set.sender gives another reverse path; header fields stay",
    ),
    ("recipient_canonical_maps", "recipients are not rewritten: do it in the application"),
    ("smtp_generic_maps", "a [[rule]] with set.sender gives another reverse path; header fields stay"),
    ("masquerade_domains", "addresses are not rewritten"),
    ("masquerade_classes", "addresses are not rewritten"),
    ("always_bcc", "no copies are made: the log has every event, and [[webhook]] tells of them"),
    ("sender_bcc_maps", "no copies are made"),
    ("recipient_bcc_maps", "no copies are made"),
    ("notify_classes", "problems are events, metrics and diagnostics (docs/operate.md)"),
    ("bounce_notice_recipient", "nobody but the sender is told of a bounce; see the log"),
    ("2bounce_notice_recipient", "a notification that cannot be delivered ends, and the log has it"),
    ("error_notice_recipient", "problems are events, metrics and diagnostics (docs/operate.md)"),
    ("bounce_template_file", "the words of notifications are fixed"),
    ("bounce_size_limit", "what a notification has of the message is bounded by itself"),
    ("home_mailbox", "there are no mailboxes: a [[route]] to lmtp:/path or lmtp://host goes to a mail store"),
    (
        "mailbox_command",
        "there are no mailboxes: a [[route]] to lmtp:/path or lmtp://host goes to a mail store",
    ),
    (
        "mail_spool_directory",
        "there are no mailboxes: a [[route]] to lmtp:/path or lmtp://host goes to a mail store",
    ),
    ("luser_relay", "there are no local users"),
    ("proxy_interfaces", "addresses that lead here through NAT: a loop is found by Received fields"),
    ("sender_based_routing", "routes go by the recipient's domain"),
    ("smtp_sender_dependent_authentication", "credentials belong to a route"),
    (
        "smtpd_sender_login_maps",
        "senders of an account: senders = [\"@example.com\"] in accounts.toml (relevo account add --sender)",
    ),
    (
        "smtp_tls_CAfile",
        "authorities are those of this machine, or SSL_CERT_FILE in the environment of relevo run",
    ),
    (
        "smtp_tls_CApath",
        "authorities are those of this machine, or SSL_CERT_DIR in the environment of relevo run",
    ),
    ("smtp_tls_cert_file", "no certificate is shown to next hops"),
    ("smtp_tls_key_file", "no certificate is shown to next hops"),
    ("relay_clientcerts", "client_ca of a [[listener]] logs in who shows a certificate of its authorities"),
    (
        "smtpd_client_connection_rate_limit",
        "connections of a client at one time are bounded (connections_per_client), and messages (messages_per_client)",
    ),
    ("smtpd_client_auth_rate_limit", "guessers are slowed down by themselves (docs/receiving.md)"),
    ("smtp_data_xfer_timeout", "the time of a body goes by its size"),
    ("smtp_connection_reuse_time_limit", "messages_per_connection bounds messages, not time"),
    ("smtpd_upstream_proxy_timeout", "the header of a balancer has a deadline by itself"),
];

/// Whole families of parameters.
const FAMILIES: [(&str, &str); 21] = [
    ("postscreen_", "strangers are not screened: put a filter in front where relay_to takes mail from them"),
    ("smtpd_tls_", "TLS 1.2 and 1.3 with the suites of their own are offered"),
    (
        "smtp_tls_",
        "TLS 1.2 and 1.3; a section's enable_tls, a route's tls, MTA-STS and DANE say how (docs/tls.md)",
    ),
    ("tls_", "TLS 1.2 and 1.3 with suites that are not chosen"),
    ("milter_", "no milter is spoken to: [hook]"),
    ("virtual_", "there are no mailboxes and no aliases: a [[route]] to a mail store"),
    ("local_", "there are no local users"),
    ("mailbox_", "there are no mailboxes: a [[route]] to a mail store"),
    ("lmtp_", "a [[route]] to lmtp:// has the timeouts of shaping files"),
    ("smtpd_sasl_", "accounts are in accounts.toml: relevo account add"),
    ("smtp_sasl_", "the strongest mechanism is taken, under TLS that was verified (docs/smart-hosts.md)"),
    ("unverified_", "recipients are not verified beforehand"),
    ("address_verify_", "recipients are not verified beforehand"),
    ("canonical_", "addresses are not rewritten"),
    ("qmqp", "QMQP is not spoken"),
    ("dovecot_", "a [[route]] to lmtp:/path goes to Dovecot"),
    ("ldap_", "nothing is looked up in a directory: files are read"),
    ("mysql_", "nothing is looked up in a data base: files are read"),
    ("spamassassin_", "a filter is asked by [hook]"),
    ("smtpd_", "not a setting of a [[listener]] (deploy/relevo.toml has them all)"),
    ("smtp_", "not a setting of delivery here (docs/shaping.md has them all)"),
];

/// Services that a relay has of its own.
const DAEMONS: [&str; 24] = [
    "pickup",
    "cleanup",
    "qmgr",
    "tlsmgr",
    "trivial-rewrite",
    "bounce",
    "verify",
    "flush",
    "proxymap",
    "smtp",
    "showq",
    "error",
    "discard",
    "local",
    "virtual",
    "lmtp",
    "anvil",
    "scache",
    "postlogd",
    "tlsproxy",
    "dnsblog",
    "nqmgr",
    "oqmgr",
    "qmqpd",
];

pub(super) fn others(reader: &mut Reader<'_, '_>) {
    let value = |one: &Parameter| reader.main.expand(&one.value);
    let all: Vec<(String, String, Id)> =
        reader.main.all().map(|(name, one)| (name.to_owned(), value(one), one.id)).collect();
    for (name, value, id) in all {
        self::other(reader, &name, &value, id);
    }
    for at in 0..reader.services.len() {
        let service = &reader.services[at];
        let (id, command) = (service.id, service.command.clone());
        let options: Vec<(String, String, Id)> =
            service.options.iter().map(|(name, one)| (name.clone(), one.value.clone(), one.id)).collect();
        if let Some(id) = id.filter(|id| !reader.out.ledger.is_marked(*id)) {
            match command.as_str() {
                "pipe" | "spawn" => reader.out.ledger.none(
                    id,
                    "no command is run for mail: give it an SMTP or LMTP port, and a [[route]] there",
                ),
                command if DAEMONS.contains(&command) => {
                    reader.out.ledger.usual(id, "of Postfix's own processes")
                }
                _ => {}
            }
        }
        for (name, value, id) in options {
            self::other(reader, &name, &value, id);
        }
    }
}

fn other(reader: &mut Reader<'_, '_>, name: &str, value: &str, id: Id) {
    if reader.out.ledger.is_marked(id) {
        return;
    }
    if name == "smtpd_tls_security_level" {
        return reader.out.ledger.usual(id, "STARTTLS is offered where a [[listener]] has a certificate");
    }
    let is_off = value.is_empty() || words::no(value);
    let is_known =
        NONE.iter().any(|(known, _)| *known == name) || FAMILIES.iter().any(|one| name.starts_with(one.0));
    if is_off && is_known && !name.ends_with("_limit_exceptions") {
        return reader.out.ledger.usual(id, "it is off here, too");
    }
    if name.ends_with("_time_limit") || name.ends_with("_service_name") {
        return reader.out.ledger.usual(id, "of a process of Postfix's");
    }
    let ledger = &mut reader.out.ledger;
    if let Some((_, words)) = NONE.iter().find(|(known, _)| *known == name) {
        return ledger.none(id, words);
    }
    if USUAL.split_whitespace().any(|known| known == name) {
        return ledger.usual(id, "of Postfix's own, or as it is here anyway");
    }
    if reader.main.is_named(name) || name == "mydomain" {
        return ledger.usual(id, "a name for what stands in other values, where it was put in");
    }
    if let Some((_, words)) = FAMILIES.iter().find(|(family, _)| name.starts_with(family)) {
        return ledger.none(id, words);
    }
    let of_client = [
        "_destination_concurrency_limit",
        "_destination_rate_delay",
        "_destination_recipient_limit",
        "_initial_destination_concurrency",
    ];
    if of_client.iter().any(|suffix| name.ends_with(suffix)) {
        ledger.none(id, "of a transport that no route goes by; limits of hosts are in shaping.toml");
    }
}
