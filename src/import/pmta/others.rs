//! What is one line of ours, and what is to be said of all the rest.

use super::parse::Node;
use super::reader::Reader;
use super::values::is_unlimited;
use crate::import::words::{self, quoted};

/// As it is here anyway, or of PowerMTA alone.
const USUAL: &str = "run-as-root log-connections log-commands log-data log-resolution log-transfer-failures log-disabled-ips log-auto-tuning log-dns \
    log-file log-rotate log-file-world-readable log-tls log-smtp-verify max-events-recorded sync-msg-create sync-msg-update spool-max-recipients \
    edns-udp-length dns-max-udp-size process-x-virtual-mta process-x-job process-x-envid process-x-dkim-options smtp-421-means-mx-unavailable \
    smtp-553-means-invalid-mailbox track-recipient-events allow-cancel-during-transfer \
    max-errors-per-connection retry-recipients-after retry-after-dns-error dkim-algorithm dkim-add-timestamp dkim-add-body-limit dkim-query-method \
    dkim-headers dkim-identity dkim-identity-fallback dkim-disallow-adding-headers dk-sign allow-priority-interruption data-send-timeout dsn-format \
    allow-auth require-auth require-starttls-before-auth smtp-tls-allow-tlsv1 \
    smtp-tls-allow-tlsv1.1 smtp-tls-allow-sslv2 smtp-tls-allow-sslv3 smtp-server-tls-allow-sslv2 smtp-server-tls-allow-sslv3 smtp-server-tls-allow-tlsv1 \
    smtp-server-tls-allow-tlsv1.1 smtp-server-tls-ciphers smtp-client-tls-ciphers \
    min-free-space deliver-only recv-buffer-size pid-file smtp-server-greeting log-statistics host-id dns-cache-size disable-mx-caching delete-file-holders date-header-time allow-priority-interruption-during-transfer \
    log-messages log-milter log-rewrites spool-delete-corrupted dkim-oversign-headers";

/// What is off here, too.
const OFF: &str = "ignore-8bitmime ignore-chunking ignore-pipelining ignore-dsn bounce-upon-no-mx bounce-upon-transfer-failure bounce-upon-5xx-greeting \
    bounce-upon-pix-transfer-failure allow-unencrypted-plain-auth use-unencrypted-plain-auth verp-default retain-x-job retain-x-virtual-mta \
    retain-x-envid allow-mailmerge check-spf-outbound backoff-upon-all-sources-disabled replace-smtp-421-service-response suppress-local-dsn \
    hide-message-source remove-received-headers always-allow-api-submission process-x-sender backoff-to-normal-after-delivery \
    add-message-id-header add-date-header snmp-enable require-auth";

/// What there is nothing like, and what to do. A name that ends in `*` is a family.
const NONE: [(&str, &str); 63] = [
    (
        "postmaster",
        "notifications come from <> and name postmaster@ of node.hostname; take that address at a mail store",
    ),
    ("total-max-smtp-out", "connections_outbound_max of a [[shard]]"),
    ("total-max-smtp-in", "connections_max of each [[listener]]"),
    (
        "http-access",
        "/control/v1 wants tokens: relevo token add NAME --role read; without them only this machine may read",
    ),
    ("http-redirect-to-https", "put a web server in front of control.http"),
    ("http-mgmt-tls*", "put a web server in front of control.http"),
    ("run-as", "the service's user is that of deploy/relevo.service"),
    ("license", "there is no licence key: remove it"),
    (
        "backoff-notify",
        "alarms are for metrics and events: event admin, automation_fired_total (docs/metrics.md)",
    ),
    ("disabled-source-ip-notify", "alarms are for metrics and events: sources_suspended (docs/metrics.md)"),
    (
        "backoff-reroute-to-virtual-mta",
        "a rule of a shaping file with fallback_source = \"POOL\" and a duration has another source send meanwhile (docs/shaping.md)",
    ),
    ("reroute-to-virtual-mta", "a [[rule]] with match.recipient and set.pool"),
    ("backoff-upon-all-sources-disabled", "mail waits where all sources rest"),
    ("backoff-max-data-volume-rate", "there are rates of messages and connections, not of bytes"),
    ("max-data-volume-rate", "there are rates of messages and connections, not of bytes"),
    ("source-ip-max-data-volume-rate", "there are rates of messages and connections, not of bytes"),
    (
        "queue-priority",
        "a [[rule]] sets priority = \"high\", \"normal\" or \"low\" of mail (docs/tenants.md)",
    ),
    (
        "delivery-priority",
        "a [[rule]] sets priority = \"high\", \"normal\" or \"low\" of mail (docs/tenants.md)",
    ),
    ("bcc-upon-delivery", "no copies are made"),
    ("check-spf-outbound", "relevo domain check DOMAIN looks at SPF of all sources"),
    ("disable-acct-records", "events of a [[log]] choose records of all mail"),
    ("max-smtp-out", "of a virtual MTA as a whole: connections are bounded by site (shaping.toml) and shard"),
    ("<signals", "nothing is sent to Signals: [[webhook]] or [[stream]] has events sent elsewhere"),
    ("smtp-server-tls-*", "TLS 1.2 and 1.3 with the suites of their own are offered"),
    ("smtp-max-auth-failure-rate", "guessers are slowed down by themselves (docs/receiving.md)"),
    (
        "max-smtp-msg-rate",
        "of a virtual MTA as a whole: rates are by site (shaping.toml), by tenant and by account",
    ),
    (
        "require-starttls",
        "accounts log in under TLS alone; kind = \"submission\" of a [[listener]] wants TLS before MAIL",
    ),
    ("mx-connection-limit", "a section of the host or a provider in shaping.toml"),
    ("ip-connection-limit", "delivery.connections_per_address"),
    ("suppression-list*", "relevo suppress import FILE [--tenant NAME] (docs/suppression.md)"),
    ("suppress-local-dsn", "bounces.dsn = false tells no sender"),
    ("smtp-verify*", "no recipient is verified beforehand; [hook] asks about each message"),
    ("rewrite-list", "addresses are not rewritten; a [[rule]] with set.sender gives another reverse path"),
    ("<rewrite-list", "addresses are not rewritten; a [[rule]] with set.sender gives another reverse path"),
    (
        "<proxy",
        "PowerMTA's proxy speaks a protocol of its own: proxy = \"socks5://...\" or \"haproxy://...\" of a [[source]] (docs/sources.md)",
    ),
    ("use-proxy", "proxy = \"socks5://...\" or \"haproxy://...\" of a [[source]] (docs/sources.md)"),
    (
        "smtp-proxy-source-host",
        "proxy = \"haproxy://...\" of a [[source]], whose address is the proxy's then (docs/sources.md)",
    ),
    ("relay-address", "relay_to has domains: a [[rule]] can refuse the other recipients"),
    ("local-domain", "a [[route]] to a mail store (lmtp://) and relay_to"),
    ("<local-domain", "a [[route]] to a mail store (lmtp://) and relay_to"),
    ("name-server*", "dns.servers, addresses of resolvers"),
    ("dns*", "[dns] has servers, timeout and attempts"),
    ("pickup-retry-interval", "a file that is written to is looked at again twice a second"),
    ("pickup-remove-dot", "files are taken as they are: have the program write one dot (docs/pickup.md)"),
    ("pipe-*", "no command is run for mail: a [[route]] to lmtp:/path hands it to a program"),
    ("snmp-*", "metrics are at /metrics of control.http (docs/metrics.md)"),
    ("<snmp", "metrics are at /metrics of control.http (docs/metrics.md)"),
    ("smtp-client-tls-*", "no certificate is shown to next hops"),
    ("auth-*", "credentials belong to a [[route]] (docs/smart-hosts.md)"),
    ("ignore-*", "what a hop offers is used"),
    (
        "bounce-upon-no-mx",
        "a domain without MX records has its mail delivered to its own address, as RFC 5321 says",
    ),
    ("bounce-upon-*", "mail is tried again until it expires, as RFC 5321 says"),
    ("use-unencrypted-plain-auth", "no host is told a password without TLS (docs/smart-hosts.md)"),
    (
        "verp-default",
        "bounces.verp_domain has the return paths of all mail tell what comes back (docs/feedback.md)",
    ),
    ("retain-x-*", "what a message says to the relay leaves with no mail"),
    (
        "always-allow-api-submission",
        "no interface of PowerMTA's is spoken: SMTP, or HTTP (docs/control-api.md)",
    ),
    (
        "process-x-sender",
        "what a client says in MAIL is the sender; set.sender of a [[rule]] says another one",
    ),
    ("replace-smtp-421-service-response", "replies are told as they were said; [log] redact hides addresses"),
    ("user-string", "X-Relevo-Metadata of a message is in every event"),
    (
        "smtp-service",
        "a [[listener]] takes SMTP from everybody who reaches it, and mail from those who may relay",
    ),
    ("allow-starttls", "STARTTLS is offered where a [[listener]] has a certificate"),
    ("file-*", "no mail is written to files: a [[route]] to a mail store"),
    ("backoff-*", "no pattern that was taken brings mail into back-off (docs/shaping.md, Rules)"),
];

pub(super) fn others(reader: &mut Reader<'_, '_>, tree: &[Node]) {
    for node in tree {
        self::plain(reader, node);
    }
    for id in reader.names.unused() {
        reader.out.ledger.usual(id, "nothing names it");
    }
    for node in tree {
        self::other(reader, node, (0, None));
    }
}

/// What is one line of ours.
fn plain(reader: &mut Reader<'_, '_>, node: &Node) {
    match node.name.as_str() {
        "host-name" => {
            reader.out.relevo.set("[node]", "hostname", &quoted(&node.value), &[node.id]);
            reader.out.ledger.translated(node.id);
        }
        "http-mgmt-port" => match node.value.parse::<u16>() {
            Ok(port) if port > 0 => {
                reader.out.relevo.set("[control]", "http", &quoted(&format!("127.0.0.1:{port}")), &[node.id]);
                reader.out.ledger.differs(
                    node.id,
                    "on this machine alone; give it another address together with control.tokens",
                );
            }
            _ => {
                reader.out.relevo.set("[control]", "http", "\"\"", &[node.id]);
                reader.out.ledger.translated(node.id);
            }
        },
        "<spool" => {
            let words = "the spool is node.data_dir, /var/lib/relevo: have PowerMTA deliver what it holds before you turn it off";
            reader.out.ledger.none(node.id, words);
            for child in &node.children {
                reader.out.ledger.usual(
                    child.id,
                    "of PowerMTA's spool; the disk is watched, and spool.size_max bounds ours",
                );
            }
        }
        "spool" | "spool-directory" => {
            let words = "the spool is node.data_dir, /var/lib/relevo: have PowerMTA deliver what it holds before you turn it off";
            reader.out.ledger.none(node.id, words);
        }
        "domain-key" | "smtp-source-host" => {}
        "retry-after" | "bounce-after" | "max-msg-rate" if is_unlimited(&node.value) => {
            reader.out.ledger.usual(node.id, "no limit");
        }
        _ => {}
    }
}

fn other(reader: &mut Reader<'_, '_>, node: &Node, (depth, above): (usize, Option<&'static str>)) {
    if depth > crate::limits::IMPORT_BLOCKS_MAX {
        return;
    }
    if !reader.out.ledger.is_marked(node.id) {
        let of = |known: &str| match known.strip_suffix('*') {
            Some(family) => node.name.starts_with(family),
            None => node.name == known,
        };
        let is_bare = node.value.is_empty() || node.value == "\"\"" || node.value == "()";
        if OFF.split_whitespace().any(|known| known == node.name) && words::no(&node.value) {
            reader.out.ledger.usual(node.id, "it is off here, too");
        } else if matches!(node.name.as_str(), "smtp-service" | "allow-starttls") && words::yes(&node.value) {
            reader.out.ledger.usual(node.id, "a listener takes SMTP, with TLS where it has a certificate");
        } else if is_bare
            && matches!(
                node.name.as_str(),
                "backoff-notify" | "disabled-source-ip-notify" | "bcc-upon-delivery"
            )
        {
            reader.out.ledger.usual(node.id, "nobody is told here, either");
        } else if USUAL.split_whitespace().any(|known| known == node.name) {
            reader.out.ledger.usual(node.id, "of PowerMTA's own, or as it is here anyway");
        } else if let Some((_, words)) = NONE.iter().find(|(known, _)| of(known)) {
            reader.out.ledger.none(node.id, words);
        } else if words::no(&node.value) && (node.name.starts_with("log-") || node.name.starts_with("allow-"))
        {
            reader.out.ledger.usual(node.id, "it is off here");
        } else if node.name.starts_with("log-") {
            reader.out.ledger.usual(node.id, "relevo trace shows sessions, and the log every event");
        }
    }
    let words = NONE
        .iter()
        .find(|(known, _)| node.name.starts_with('<') && *known == node.name)
        .map(|(_, words)| *words);
    if let Some(above) = above.filter(|_| !reader.out.ledger.is_marked(node.id)) {
        reader.out.ledger.none(node.id, above);
    }
    let unknown = node.name.starts_with('<') && !reader.out.ledger.is_marked(node.id);
    for child in &node.children {
        if !unknown {
            self::other(reader, child, (depth + 1, words.or(above)));
        }
    }
}
