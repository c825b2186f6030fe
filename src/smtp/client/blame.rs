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
const OF_OUR_STANDING: [&str; 90] = [
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
mod tests {
    use super::*;
    use crate::smtp::reply::ReplyReader;

    fn reply(line: &str) -> Reply {
        ReplyReader::default().read(format!("{line}\r\n").as_bytes()).unwrap().1.unwrap()
    }

    #[test]
    fn refusals_of_us() {
        for line in [
            "530 5.7.0 Must issue a STARTTLS command first",
            "530 Authentication required",
            "535 5.7.8 Error: authentication failed",
            "538 5.7.11 Encryption required for requested authentication mechanism",
            "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
            "550 5.7.1 Client host rejected: cannot find your hostname, [192.0.2.1]",
            "550 5.7.606 Access denied, banned sending IP [192.0.2.1]",
            "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list",
            "550 5.7.25 [192.0.2.1] The IP address sending this message does not have a PTR record setup",
            "550 5.7.1 part of their network is on our block list (S3140)",
            "550 5.7.1 [192.0.2.1] Our system has detected that this message is suspicious due to the very low IP reputation of \
             the sender",
            "550 5.7.1 The IP you're using to send mail is not authorized to send email directly to our servers",
            "550 Connection frequency limited",
            "550 Ip frequency limited",
            "554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1",
            "554 5.7.1 Your access has been rejected due to the sending MTA's poor reputation",
            "550 5.7.1 Fix reverse DNS for 192.0.2.1",
            "550 5.7.1 <relay.example>: Helo command rejected: Host not found",
            "504 5.5.2 <relay>: Helo command rejected: need fully-qualified hostname",
            "501 5.5.2 <x_y>: Helo command rejected: Invalid name",
            "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)",
            "550 5.7.10 Encryption needed",
            "554 5.7.11 Encryption required",
            "550 5.7.0 Must issue a STARTTLS command first",
            "554 5.7.1 STARTTLS is required to send mail here",
            "554 5.7.1 You are not allowed to connect",
            "554 5.7.1 You are not allowed to connect.",
            "550 5.7.0 Must authenticate",
            "550 5.7.1 Authentication required",
            "550 5.7.0 Authentication Required",
            "554 5.7.0 You must authenticate first",
            "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
            "554 5.7.1 <relay.example[192.0.2.1]>: Client host rejected: Access denied",
            "550 5.7.1 too many messages from your IP",
            "550 We do not accept mail from your IP address",
            "554 Mail from your server is not welcome here",
            "550 5.7.1 Mail from dynamic IP addresses is not accepted",
            "550 5.7.1 IP name lookup failed [192.0.2.1]",
            "553 5.3.0 alpd681 DNSBL:RBL 521< 192.0.2.1 >_is_blocked.For assistance forward this error to abuse_rbl@abuse-att.net",
            "554 5.7.0 Blocked - see https://support.proofpoint.com/dnsbl-lookup.cgi?ip=192.0.2.1",
            "550 \"JunkMail rejected - relay.example [192.0.2.1]:4321 is in an RBL on zen.spamhaus.org, see https://x\"",
            "550 5.7.511 Access denied, banned sender[192.0.2.1]. To request removal from this list",
            "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP.",
            "550 5.7.1 Client host [192.0.2.1] is listed at zen.spamhaus.org",
            "550 5.7.1 Your IP 192.0.2.1 is listed on bl.spamcop.net",
            "554 5.7.1 Rejected 192.0.2.1 found in dnsbl.sorbs.net",
            "554 5.7.1 Rejected: 2001:db8::1 found in dnsbl",
            "550 rejected because 192.0.2.1 is in a black list at zen.spamhaus.org",
            "550 5.7.1 Message rejected because [192.0.2.1] is blacklisted at bl.spamcop.net",
            "550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked by Spam Block List (S3140)",
            "550 5.7.1 Blocked, see http://www.barracudacentral.org/reputation?ip=192.0.2.1",
            "550 Sorry, your helo has been denied.",
            "554 5.7.1 This email from IP 192.0.2.1 has been rejected",
            "550 5.4.5 Daily SMTP relay sending limit exceeded",
            "550 5.4.5 Daily user quota exceeded",
            "554 Throttling failure: Daily message quota exceeded.",
            "554 5.7.1 Sending rate limit exceeded, try later",
            "550 Rate limit exceeded",
            "550 5.7.1 Delivery not authorized, message refused: Message originated from a blocked mailhost",
        ] {
            assert!(speaks_of_us(&reply(line)), "{line}");
        }
    }

    #[test]
    fn refusals_of_the_recipient_or_the_message() {
        for line in [
            "550 5.1.1 User unknown",
            "550 5.1.1 <x@y>: Recipient address rejected: User unknown in virtual mailbox table",
            "552 5.2.2 Mailbox full",
            "550 5.1.1 mailbox unavailable (reverse dns ok)",
            "550 5.2.1 mailbox disabled, blocked using policy",
            "550 5.7.1 Message rejected as spam by content filtering",
            "554 5.7.1 Message contains a URL that is listed in dbl.spamhaus.org, blocked using SURBL",
            "550 5.7.1 This message contains a virus",
            "550 5.7.1 The recipient has blocked you",
            "550 5.7.1 You are blacklisted by this user",
            "554 5.7.9 Message not accepted for policy reasons",
            "550 5.7.26 This message does not have authentication information",
            "552 5.3.4 Message too large",
            "550 5.7.1 Relay access denied",
            "521 5.3.2 host does not accept mail",
            "451 4.7.1 Client host rejected: try later",
            "421 4.7.0 too many messages from your IP",
            "450 4.7.1 <relay>: Helo command rejected: Host not found",
            "250 blocked using nothing",
            "550 5.7.1 SPF check failed: sending IP 192.0.2.1 is not allowed to send for b.example",
            "550 SPF: mail from your server is not permitted by the sender's domain",
            "550 5.7.23 The message was refused: sending IP fails the policy of its sender",
            "550 5.7.20 No passing signature: authentication required",
            "550 5.7.26 This mail is unauthenticated: senders must authenticate",
            "550 5.7.1 All senders must authenticate with SPF or DKIM",
            "554 5.7.5 Rejected by the DMARC policy of b.example: authentication is required",
            "553 5.7.1 <a@b>: Sender address rejected: not logged in",
            "550 5.7.1 <a@b>: Sender address rejected: authentication required",
            "550 5.7.1 <x@y>: Recipient address rejected: Access denied",
            "550 5.4.1 Recipient address rejected: Access denied",
            "550 5.7.133 Sender not authenticated for group",
            "550 5.7.1 The recipient only takes encrypted messages",
            "554 5.7.1 Message from your server contains a virus",
            "550 5.1.1 <helo@y>: no such user here",
            "550 5.7.1 You are not allowed to send to this list",
            "550 5.7.1 You are not allowed to send to this list; it is listed on our site",
            "550 5.7.1 Message from 192.0.2.1 refused: the domain b.example is listed in dbl.spamhaus.org",
            "554 5.7.1 Message from 192.0.2.1 contains a blocklisted URL",
            "554 5.7.1 192.0.2.1: listed by multi.surbl.org",
            "550 5.7.1 Message from 192.0.2.1 refused as spam",
            "552 5.2.2 The daily quota of the mailbox is used up",
            "550 5.4.4 no route to 192.0.2.1",
            "550 5.1.1 192.0.2.1 is listed",
        ] {
            assert!(!speaks_of_us(&reply(line)), "{line}");
        }
    }

    #[test]
    fn troubles_of_the_host() {
        for line in [
            "421 4.3.2 Service shutting down",
            "421 closing transmission channel",
            "421 4.4.2 timeout exceeded",
            "421 4.5.0 what",
            "450 4.3.2 System not accepting network messages",
            "451 4.3.0 Temporary lookup failure",
            "451 4.3.0 queue file write error",
            "451 4.3.5 Server configuration error",
            "452 4.3.1 Insufficient system storage",
            "452 Insufficient system storage",
            "452 disk full",
            "451 4.4.0 the store does not answer",
            "450 4.4.1 No answer from the mailbox server",
            "450 4.4.3 directory server failure",
        ] {
            assert!(speaks_of_the_host(&reply(line)), "{line}");
        }
        for line in [
            "450 4.2.0 <x@y>: Recipient address rejected: Greylisted",
            "450 4.2.1 mailbox busy",
            "450 4.2.2 over quota",
            "450 mailbox unavailable",
            "451 4.7.1 Greylisting in action, please come back later",
            "451 4.7.0 try later",
            "451 Greylisted, please try again in 300 seconds",
            "451 Local error in processing",
            "421 4.7.0 too many messages from your IP",
            "421 4.7.28 Our system has detected an unusual rate of unsolicited mail",
            "450 4.1.8 <a@b>: Sender address rejected: Domain not found",
            "452 4.2.2 mailbox full",
            "452 4.5.3 too many recipients",
            "452 too many recipients",
            "452 mailbox full",
            "452 user over quota",
            "451 4.3.4 message too big for now",
            "451 4.6.0 what a message",
            "454 4.7.0 TLS not available",
            "550 5.3.0 no",
            "250 4.3.2 ok",
        ] {
            assert!(!speaks_of_the_host(&reply(line)), "{line}");
        }
    }

    #[test]
    fn too_many_recipients() {
        for (line, says, means) in [
            ("452 4.5.3 Error: too many recipients", true, true),
            ("452-4.5.3 Your message has too many recipients. For more information regarding", true, true),
            ("550 5.5.3 limit", true, true),
            ("452 Too many recipients", true, true),
            ("451 too many recipients, send the rest later", true, true),
            ("452 4.3.1 too many recipients for now", true, true),
            ("550 Number of recipients exceeds the limit", true, true),
            ("452 try the next one later", false, true),
            ("552 no", false, true),
            ("452 4.0.0 no", false, true),
            ("452 user over quota", false, false),
            ("452 The mailbox is full", false, false),
            ("452 account over limit", false, false),
            ("452 Insufficient system storage", false, false),
            ("452 Out of disk space", false, false),
            ("552 Requested mail action aborted: exceeded storage allocation", false, false),
            ("452 4.3.1 no", false, false),
            ("452 4.2.2 over it", false, false),
            ("450 4.7.1 Error: too many recipients from 192.0.2.1", false, false),
            ("450 try later", false, false),
            ("550 no such user", false, false),
        ] {
            let reply = reply(&line.replace("452-", "452 "));
            assert_eq!((says_too_many(&reply), means_too_many(&reply)), (says, means), "{line}");
        }
    }

    #[test]
    fn hosts_that_never_take_mail() {
        for line in [
            "521 5.3.2 host does not accept mail",
            "521 relay.example does not accept mail",
            "521 no mail here",
        ] {
            assert!(never_takes_mail(&reply(line)), "{line}");
        }
        for line in [
            "521 5.7.1 no",
            "521 no",
            "521 Connection refused",
            "521 try again later",
            "521 5.2.1 :  (DYN:T1) https://postmaster.example/",
            "521 192.0.2.1 is blocked",
            "521 Service not available, access denied",
            "554 5.3.2 host does not accept mail",
            "554 no SMTP service here",
        ] {
            assert!(!never_takes_mail(&reply(line)), "{line}");
        }
    }

    /// RFC 3207 section 4 says 530, and hosts say much else.
    #[test]
    fn calls_for_tls() {
        for line in [
            "530 5.7.0 Must issue a STARTTLS command first",
            "550 5.7.10 Encryption needed",
            "454 4.7.0 TLS required for your domain",
            "451 4.7.11 what",
            "554 5.7.1 STARTTLS is required to send mail here",
        ] {
            assert!(asks_for_tls(&reply(line)), "{line}");
        }
        for line in ["530 5.7.0 Authentication required", "550 5.1.1 User unknown", "250 starttls"] {
            assert!(!asks_for_tls(&reply(line)), "{line}");
        }
    }

    #[test]
    fn relaying_denied() {
        for line in [
            "554 5.7.1 <x@y>: Relay access denied",
            "550 5.7.1 Relaying denied",
            "550 relay not permitted",
            "550 5.7.1 Unable to relay for x@y",
            "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
            "553 sorry, that domain isn't allowed to be relayed thru this MTA: we do not relay",
            "550 5.7.1 Authentication required",
            "550 not permitted to relay through this server",
            "553 5.7.1 <a@b>: Sender address rejected: not logged in",
            "550 5.7.1 no relaying for you",
        ] {
            assert!(denies_relaying(&reply(line)), "{line}");
        }
        for line in [
            "550 5.1.1 User unknown",
            "450 4.7.1 Relaying denied",
            "550 5.7.1 Message refused",
            "552 Mailbox full",
        ] {
            assert!(!denies_relaying(&reply(line)), "{line}");
        }
    }
}
