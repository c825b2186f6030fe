//! What replies are taken to be about.

use super::*;
use crate::mail::classify::judge::Judge;
use crate::mail::classify::{Class, Classes};
use crate::smtp::reply::ReplyReader;

fn reply(line: &str) -> Reply {
    ReplyReader::default().read(format!("{line}\r\n").as_bytes()).unwrap().1.unwrap()
}

/// Lines for which something does not hold, each with what it is taken for.
fn without(lines: &[&str], holds: impl Fn(&Reply, Judged) -> bool) -> Vec<String> {
    let mut judge = Judge::new(Classes::shipped());
    let mut odd = Vec::new();
    for line in lines {
        let reply = reply(line);
        let judged = judge.judge_surely(&reply.describe(), "");
        if !holds(&reply, judged) {
            odd.push(format!("{judged:?}: {line}"));
        }
    }
    odd
}

#[test]
fn refusals_of_us() {
    let lines = [
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
        "553 5.7.2 [TSS09] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed.",
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
    ];
    assert_eq!(without(&lines, speaks_of_us), Vec::<String>::new());
}

#[test]
fn refusals_of_the_recipient_or_the_message() {
    let lines = [
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
    ];
    assert_eq!(without(&lines, |reply, judged| !speaks_of_us(reply, judged)), Vec::<String>::new());
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
        ("450 4.7.1 Too many recipients this hour", false, false),
        ("550 5.7.1 Too many recipients in this message", true, true),
        ("553 Maximum recipients reached", true, true),
        ("421 4.5.3 too many recipients", true, true),
        ("421 Too many recipients per connection", true, true),
        ("450 try later", false, false),
        ("550 no such user", false, false),
    ] {
        let reply = reply(&line.replace("452-", "452 "));
        assert_eq!((says_too_many(&reply), means_too_many(&reply)), (says, means), "{line}");
    }
}

#[test]
fn recipients_that_are_to_go_apart() {
    for (line, apart, by_domain) in [
        ("450 4.7.1 only one recipient at a time", true, false),
        (
            "451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again.",
            true,
            true,
        ),
        ("450 4.2.0 Greylisted, try again", false, false),
        ("450 4.1.1 only one recipient is known", false, false),
        ("451 4.3.0 Temporary failure", false, false),
        ("550 5.7.1 only one recipient at a time", false, false),
    ] {
        let reply = reply(line);
        assert_eq!(wants_them_apart(&reply), apart, "{line}");
        assert_eq!(wants_domains_apart(&reply), by_domain, "{line}");
    }
}

#[test]
fn hosts_that_never_take_mail() {
    let of_us = Judged::UNKNOWN;
    for line in
        ["521 5.3.2 host does not accept mail", "521 relay.example does not accept mail", "521 no mail here"]
    {
        assert!(never_takes_mail(&reply(line), || of_us), "{line}");
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
        assert!(!never_takes_mail(&reply(line), || of_us), "{line}");
    }
}

/// RFC 3207 section 4 says 530, and hosts say much else.
#[test]
fn calls_for_tls() {
    let calls = |_: &Reply, judged: Judged| judged.class == Class::TlsRequired;
    let lines = [
        "530 5.7.0 Must issue a STARTTLS command first",
        "550 5.7.10 Encryption needed",
        "454 4.7.0 TLS required for your domain",
        "451 4.7.11 what",
        "554 5.7.1 STARTTLS is required to send mail here",
        "550 5.7.0 SSL/TLS required",
        "550 This server requires an encrypted connection",
        "554 5.7.1 Session encryption is required",
        "550 TLS encryption is required to relay",
        "523 5.7.10 Encryption needed",
    ];
    assert_eq!(without(&lines, calls), Vec::<String>::new());
    let others = ["530 5.7.0 Authentication required", "550 5.1.1 User unknown", "250 starttls"];
    assert_eq!(without(&others, |reply, judged| !calls(reply, judged)), Vec::<String>::new());
}

#[test]
fn access_denied() {
    let lines = [
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
    ];
    assert_eq!(without(&lines, denies_access), Vec::<String>::new());
    let others = [
        "550 5.1.1 User unknown",
        "450 4.7.1 Relaying denied",
        "550 5.7.1 Message refused",
        "552 Mailbox full",
        "550 5.7.1 recipient address rejected: relay.example is no mailbox",
    ];
    assert_eq!(without(&others, |reply, judged| !denies_access(reply, judged)), Vec::<String>::new());
}
