//! Whose fault a refusal is: a 5xx that speaks of us (our address, our credentials, our right to relay) says nothing about the
//! recipient. To return mail for it would return thousands that another hour, or an operator, would have delivered.
//!
//! Conservative: a refusal that is not surely about us is about the message or the recipient, and those bounce.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::smtp::reply::Reply;

/// Codes that ask who we are, whoever says them (RFC 4954 section 6, RFC 3207 section 4, RFC 7504).
const OF_AUTHENTICATION: [u16; 4] = [530, 534, 535, 538];

/// Details of X.7 that are about the client: no encryption (RFC 5248: X.7.10, X.7.11), no reverse name (RFC 7372: X.7.25).
const OF_OUR_SESSION: [u16; 3] = [10, 11, 25];

/// The same as a large receiver counts them: banned addresses, and one of which it takes no traffic.
const OF_OUR_ADDRESS: [RangeInclusive<u16>; 3] = [511..=511, 606..=649, 708..=708];

/// Details of X.7 that are about the domains a message claims: DKIM, SPF, several of them (RFC 7372), ARC (RFC 8617).
const OF_AUTHORSHIP: [u16; 7] = [20, 21, 22, 23, 24, 26, 29];

/// What receivers say of a client's address, its name, its pace, or of what it left out: AUTH, STARTTLS.
const OF_OUR_STANDING: [&str; 91] = [
    "helo command rejected",
    "ehlo command rejected",
    "invalid helo",
    "invalid ehlo",
    "bad helo",
    "bad ehlo",
    "helo name",
    "ehlo name",
    "helo hostname",
    "must issue a starttls",
    "must use starttls",
    "starttls is required",
    "starttls required",
    "starttls command first",
    "must authenticate",
    "authentication required",
    "authentication is required",
    "authenticate first",
    "not allowed to connect",
    "not permitted to connect",
    "not authorized to connect",
    "from your ip",
    "from your host",
    "from your server",
    "dynamic ip",
    "ip name lookup failed",
    "client address rejected",
    "blocked using",
    "blocked by rbl",
    "banned sending ip",
    "client host rejected",
    "client host blocked",
    "connections will not be accepted from",
    "is on our block list",
    "is on our blocklist",
    "our block list",
    "ip is blocked",
    "ip address is blocked",
    "ip blocked",
    "ip has been blocked",
    "ip address has been blocked",
    "ip is listed",
    "ip address is listed",
    "ip is blacklisted",
    "ip address is blacklisted",
    "your ip is in",
    "your server is blocked",
    "mail server is blocked",
    "sending ip",
    "ip reputation",
    "poor reputation",
    "not authorized to send email directly",
    "frequency limited",
    "does not have a ptr",
    "reverse dns",
    "no ptr record",
    "too many connections",
    "ipcheck.",
    "dnsbl-lookup",
    "dnsbl:rbl",
    "your helo",
    "your ehlo",
    "blocked by spam block list",
    "spam block list",
    "blocked mailhost",
    "host is blacklisted",
    "server is blacklisted",
    "host is listed",
    "host is blocked",
    "banned sender[",
    "from this ip",
    "mail from ip",
    "bad reputation",
    "low reputation",
    "reputation of your",
    "reputation of the sending",
    "too many messages from",
    "will be permanently deferred",
    "too many mails from",
    "too much mail from",
    "rate limit",
    "rate-limit",
    "ratelimit",
    "throttled",
    "throttling",
    "daily quota",
    "daily message quota",
    "sending quota",
    "sending limit",
    "hourly limit",
    "daily limit",
];

/// Lists of addresses: a refusal that names one of them and an address speaks of ours, in whatever words.
const OF_LISTS: [&str; 17] = [
    "is listed",
    "listed at",
    "listed on",
    "listed in",
    "listed by",
    "blacklist",
    "black list",
    "black-list",
    "blocklist",
    "block list",
    "block-list",
    "denylist",
    "dnsbl",
    "rbl",
    "spamhaus.",
    "spamcop.",
    "barracudacentral.",
];

/// Words that make a refusal one of the content, of the domain it claims to be from, or of what one recipient wants, though it speaks of
/// lists or reputation too.
const OF_THE_MESSAGE: [&str; 28] = [
    "spf",
    "dkim",
    "dmarc",
    "sender address rejected",
    " url",
    " link to",
    " links",
    "attachment",
    "virus",
    "malware",
    "content",
    "message body",
    "phish",
    "recipient has blocked",
    "blocked by recipient",
    "blocked by the recipient",
    "blocked your address",
    "blocked sender",
    "user unknown",
    "unknown user",
    "no such user",
    "surbl",
    "uribl",
    "dbl.spamhaus",
    "domain is listed",
    "domain is on",
    "listed domain",
    "blocked domain",
];

/// How hosts say that they do not relay for us.
const OF_RELAYING: [&str; 16] = [
    "relay access denied",
    "relaying denied",
    "relay denied",
    "relay not permitted",
    "relaying not permitted",
    "relaying not allowed",
    "relay not allowed",
    "relaying is prohibited",
    "relaying prohibited",
    "permitted to relay",
    "allowed to relay",
    "unable to relay",
    "not relay",
    "authentication required",
    "authentication is required",
    "not logged in",
];

/// Words that make a 452 one of recipients.
const OF_A_RECIPIENT: [&str; 5] = ["recipient", "mailbox", "quota", "user", "rcpt"];

/// How hosts say that a transaction has recipients enough.
const OF_TOO_MANY: [&str; 8] = [
    "too many recipients",
    "too many rcpt",
    "too many to",
    "many recipients",
    "number of recipients",
    "recipient limit",
    "recipients limit",
    "recipients per",
];

/// Words that make a 452 one of the mailbox it answers for, or of the host's disk.
const OF_ROOM: [&str; 11] = [
    "mailbox", "mail box", "quota", "user", "account", "inbox", "storage", "space", "disk", "full", "memory",
];

/// The relay words of a reply, whole: nothing else in it.
const OF_RELAYING_BARE: [&str; 3] = ["relaying", "relay", "must authenticate"];

/// How hosts say that they want TLS, besides RFC 3207's 530.
const OF_TLS: [&str; 6] =
    ["starttls", "tls required", "tls is required", "require tls", "requires tls", "encryption required"];

/// What a 521 says that is about a client.
const OF_WHO_ASKS: [&str; 9] =
    ["block", "denied", "reject", "list", "spam", "abuse", "policy", "your", "not allowed"];

/// The hop takes no mail without TLS.
pub fn asks_for_tls(reply: &Reply) -> bool {
    // RFC 5248: X.7.10, encryption needed; X.7.11, encryption required.
    reply.code >= 400
        && (matches!(reply.enhanced, Some((_, 7, 10 | 11))) || has(&reply.text.to_ascii_lowercase(), &OF_TLS))
}

/// The hop refuses us, whoever the recipient is.
pub fn speaks_of_us(reply: &Reply) -> bool {
    if !reply.is_permanent() || of_an_address(reply) {
        return false;
    }
    if OF_AUTHENTICATION.contains(&reply.code) {
        return true;
    }
    if let Some((5, 7, detail)) = reply.enhanced {
        if OF_OUR_SESSION.contains(&detail) || OF_OUR_ADDRESS.iter().any(|range| range.contains(&detail)) {
            return true;
        }
        if OF_AUTHORSHIP.contains(&detail) {
            return false;
        }
    }
    let text = reply.text.to_ascii_lowercase();
    // RFC 3463 3.5: X.4.5 is congestion, for which large receivers say how much they take of us in a day.
    let of_us = reply.enhanced == Some((5, 4, 5))
        || has(&text, &OF_OUR_STANDING)
        || (has(&text, &OF_LISTS) && names_an_address(&text));
    of_us && !has(&text, &OF_THE_MESSAGE)
}

/// Whether an IP address stands in it, in whatever brackets.
fn names_an_address(text: &str) -> bool {
    text.split(|other: char| !(other.is_ascii_hexdigit() || matches!(other, '.' | ':')))
        .any(|word| word.trim_matches(['.', ':']).parse::<IpAddr>().is_ok())
}

/// The hop does not relay for us. Where an operator's route leads there, it should: what is wrong is with it, or with us.
pub fn denies_relaying(reply: &Reply) -> bool {
    if !reply.is_permanent() || of_an_address(reply) {
        return false;
    }
    let text = reply.text.to_ascii_lowercase();
    has(&text, &OF_RELAYING) || (reply.enhanced == Some((5, 7, 1)) && has(&text, &OF_RELAYING_BARE))
}

/// A 4yz that another host of the site need not say (RFC 5321 5.1 wants the next one asked): the host shuts down, has no room, is not
/// served by what is behind it (RFC 3463 3.4 and 3.5). What is said of an address, a mailbox or a policy, as greylisting is, holds for
/// the site, and the same host may be the one that is to hear it again.
pub fn speaks_of_the_host(reply: &Reply) -> bool {
    if reply.code / 100 != 4 {
        return false;
    }
    match reply.enhanced {
        // A feature or a size that the system does not have: of the message.
        Some((_, 3, detail)) => !matches!(detail, 3 | 4),
        Some((_, 4, _)) => true,
        Some((_, 1 | 2 | 6 | 7, _)) | Some((_, 5, 3)) => false,
        Some(_) => reply.code == 421,
        // 4.2.2: "insufficient system storage", which is said of too many recipients too (4.5.3.1.10), and of mailboxes.
        None => match reply.code {
            421 => true,
            452 => !has(&reply.text.to_ascii_lowercase(), &OF_A_RECIPIENT),
            _ => false,
        },
    }
}

/// A reply to RCPT that says that the transaction has recipients enough (RFC 3463 X.5.3).
pub fn says_too_many(reply: &Reply) -> bool {
    match reply.enhanced {
        Some((_, 5, 3)) => true,
        Some((_, 1 | 2 | 7, _)) => false,
        _ => reply.code >= 400 && has(&reply.text.to_ascii_lowercase(), &OF_TOO_MANY),
    }
}

/// The same, or a code that stands for it unless its enhanced code or its words say what else is meant (RFC 5321 4.5.3.1.10: 452, and
/// 552 of old): a mailbox or a disk without room.
pub fn means_too_many(reply: &Reply) -> bool {
    if !matches!(reply.enhanced, None | Some((_, 0 | 5, _))) {
        return says_too_many(reply);
    }
    let bare = matches!(reply.code, 452 | 552) && !has(&reply.text.to_ascii_lowercase(), &OF_ROOM);
    bare || says_too_many(reply)
}

/// What a host says that never takes mail.
const OF_NO_MAIL: [&str; 6] =
    ["accept mail", "no mail", "accept any mail", "receive mail", "accept email", "take mail"];

/// RFC 7504: 521 instead of a greeting is that of a host that never takes mail, if it says so and its words are not about who asks.
pub fn never_takes_mail(reply: &Reply) -> bool {
    reply.code == 521
        && match reply.enhanced {
            Some(enhanced) => enhanced == (5, 3, 2),
            None => {
                let text = reply.text.to_ascii_lowercase();
                !speaks_of_us(reply) && has(&text, &OF_NO_MAIL) && !has(&text, &OF_WHO_ASKS)
            }
        }
}

/// RFC 3463 3.2 and 3.3: the status of an address or a mailbox is none of ours, whatever the words.
fn of_an_address(reply: &Reply) -> bool {
    matches!(reply.enhanced, Some((_, 1 | 2, _)))
}

fn has(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests;
