//! Whose fault a refusal is: a 5xx that speaks of us (our address, our credentials, our right to relay) says nothing about the
//! recipient. To return mail for it would return thousands that another hour, or an operator, would have delivered.
//!
//! Conservative: a refusal that is not surely about us is about the message or the recipient, and those bounce.

use crate::mail::classify::Judged;
use crate::smtp::reply::Reply;

/// Codes that ask who we are, whoever says them (RFC 4954 section 6, RFC 3207 section 4, RFC 7504).
const OF_AUTHENTICATION: [u16; 4] = [530, 534, 535, 538];

/// RFC 5321 4.2.2: the hop does not know the command, or not here. It had the same for others.
const OF_SEQUENCE: [u16; 2] = [502, 503];

/// What a 500 says of the command itself, which is that of all mail; it may be said of an argument as well, or of a line of the text.
const OF_A_COMMAND: [&str; 4] = ["unrecognized", "unrecognised", "not recognized", "unknown command"];

/// RFC 5321 4.3.2, RFC 1870: said of the argument of MAIL or its parameters.
const OF_MAIL: [u16; 4] = [501, 552, 553, 555];

/// Words that make a 452 one of recipients.
const OF_A_RECIPIENT: [&str; 5] = ["recipient", "mailbox", "quota", "user", "rcpt"];

/// How hosts say that a transaction has recipients enough.
const OF_TOO_MANY: [&str; 16] = [
    "too many rcpt",
    "too many to",
    "many recipients",
    "many addressees",
    "number of recipients",
    "maximum recipients",
    "max recipients",
    "max rcpt",
    "recipient limit",
    "recipients limit",
    "recipient count",
    "recipients per",
    "recipients allowed",
    "recipients reached",
    "recipients exceeded",
    "limit of recipients",
];

/// What else is said under the status of a policy in such words: how many a client names in a while.
const OF_A_RATE: [&str; 9] =
    [" from ", " rate", "hour", "minute", "second", "day", "daily", "quota", "period"];

/// How hosts say that the others are to have a transaction of their own.
const OF_ONE_AT_A_TIME: [&str; 8] = [
    "one recipient at a time",
    "one at a time",
    "only one recipient",
    "one recipient per",
    "one recipient only",
    "single recipient",
    "multiple recipients",
    "per transaction",
];

/// The same of those of another domain.
const OF_ONE_DOMAIN: [&str; 5] =
    ["destination domains", "multiple domains", "different domains", "one domain", "recipient domains"];

/// Words that make a 452 one of the mailbox it answers for, or of the host's disk.
const OF_ROOM: [&str; 11] = [
    "mailbox", "mail box", "quota", "user", "account", "inbox", "storage", "space", "disk", "full", "memory",
];

/// What a 521 says that is about a client.
const OF_WHO_ASKS: [&str; 9] =
    ["block", "denied", "reject", "list", "spam", "abuse", "policy", "your", "not allowed"];

/// The hop refuses us, whoever the recipient is.
pub fn speaks_of_us(reply: &Reply, judged: Judged) -> bool {
    if !reply.is_permanent() || of_an_address(reply) {
        return false;
    }
    let unknown = || reply.code == 500 && has(&reply.text.to_ascii_lowercase(), &OF_A_COMMAND);
    let out_of_place = (OF_SEQUENCE.contains(&reply.code) || unknown()) && !judged.class.is_of_the_mail();
    judged.about_us || out_of_place || OF_AUTHENTICATION.contains(&reply.code)
}

/// The hop does not let us in, to relay above all. Where an operator's route leads there, it should: what is wrong is with it, or with us.
pub fn denies_access(reply: &Reply, judged: Judged) -> bool {
    reply.is_permanent() && !of_an_address(reply) && judged.class.denies_access()
}

/// A refusal of MAIL that names neither the sender nor the message: nobody else was named yet, so it speaks of whoever sends.
pub fn refuses_any_mail(reply: &Reply, judged: Judged) -> bool {
    let named = of_an_address(reply)
        || matches!(reply.enhanced, Some((_, 6, _) | (_, 3, 3 | 4)))
        || OF_MAIL.contains(&reply.code)
        || judged.class.is_of_the_sender();
    reply.is_permanent() && !named
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
    let text = || reply.text.to_ascii_lowercase();
    match reply.enhanced {
        Some((_, 5, 3)) => true,
        Some((_, 1 | 2, _)) => false,
        Some((_, 7, _)) => reply.code >= 400 && has(&text(), &OF_TOO_MANY) && !has(&text(), &OF_A_RATE),
        _ => reply.code >= 400 && has(&text(), &OF_TOO_MANY),
    }
}

/// A 4yz to RCPT that puts a recipient off, when others were taken, to another transaction: he is named in the next one.
pub fn wants_them_apart(reply: &Reply) -> bool {
    reply.code / 100 == 4
        && !of_an_address(reply)
        && (wants_domains_apart(reply) || has(&reply.text.to_ascii_lowercase(), &OF_ONE_AT_A_TIME))
}

/// The same where that is as his domain is another: how many it takes of one domain is not known by that.
pub fn wants_domains_apart(reply: &Reply) -> bool {
    has(&reply.text.to_ascii_lowercase(), &OF_ONE_DOMAIN)
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

/// A 552 to RCPT means too many recipients and is to be taken as 452 (RFC 5321 4.5.3.1.10), where neither an enhanced code nor words say that it
/// means another thing (RFC 3463: 5.2.2 is a full mailbox, 5.3.4 and 5.2.3 are of the size of a message). A host without room (5.3.1) has some later.
pub fn is_452_of_old(reply: &Reply) -> bool {
    let speaks = || has(&reply.text.to_ascii_lowercase(), &OF_ROOM) && !says_too_many(reply);
    let may_be = match reply.enhanced {
        None | Some((_, 0 | 5, _)) => !speaks(),
        Some(code) => matches!(code, (_, 3, 1)),
    };
    reply.code == 552 && may_be
}

/// What a hop says of a connection that has carried enough.
const OF_THE_SESSION: [&str; 6] = [
    "per connection",
    "this connection",
    "per session",
    "this session",
    "in one session",
    "in a single session",
];

/// A refusal that is about this connection alone: it has carried as many messages as the hop takes over one, and the next takes as many.
pub fn speaks_of_the_session(reply: &Reply) -> bool {
    has(&reply.text.to_ascii_lowercase(), &OF_THE_SESSION)
}

/// What a host says that never takes mail.
const OF_NO_MAIL: [&str; 6] =
    ["accept mail", "no mail", "accept any mail", "receive mail", "accept email", "take mail"];

/// RFC 7504: 521 instead of a greeting is that of a host that never takes mail, if it says so and its words are not about who asks.
pub fn never_takes_mail(reply: &Reply, judged: impl FnOnce() -> Judged) -> bool {
    reply.code == 521
        && match reply.enhanced {
            Some(enhanced) => enhanced == (5, 3, 2),
            None => {
                let text = reply.text.to_ascii_lowercase();
                has(&text, &OF_NO_MAIL) && !has(&text, &OF_WHO_ASKS) && !speaks_of_us(reply, judged())
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
mod smart_hosts;
#[cfg(test)]
mod tests;
