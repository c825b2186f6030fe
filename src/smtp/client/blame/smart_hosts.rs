//! What hosts say, and what becomes of the recipients for it: through a route, where the operator says that the host takes the mail, and
//! through an MX.

use crate::mail::classify::Classes;
use crate::mail::classify::judge::Judge;
use crate::smtp::client::tests::{PLAIN, reply};
use crate::smtp::client::{Body, Transaction, Verdict};
use crate::smtp::reply::{Reply, ReplyReader};

/// What the words answer.
#[derive(Clone, Copy, Debug)]
enum At {
    Mail,
    Rcpt,
    Data,
    Dot,
}

fn said(line: &str) -> Reply {
    ReplyReader::default().read(format!("{line}\r\n").as_bytes()).unwrap().1.unwrap()
}

/// Whether the words are taken to be about us, and what became of each recipient: D(elivered), d(eferred), F(ailed).
fn outcome(judge: &mut Judge, routed: bool, replies: &[Reply], recipients: usize) -> (bool, String) {
    let named = std::iter::repeat_n(&b"x@z"[..], recipients).collect();
    let mut transaction = Transaction::new(&PLAIN, b"a@b", named, 10, Body::default()).expect("fits");
    for reply in replies {
        transaction.on_reply(reply.clone());
    }
    let numbered: Vec<_> =
        transaction.to_be_judged().map(|(number, reply)| (number, reply.describe())).collect();
    for (number, words) in numbered {
        let judged = judge.judge_surely(&words, "smarthost.example [192.0.2.9]:25");
        transaction.judge(number, judged);
    }
    let forgiven = transaction.forgive(routed).is_some();
    transaction.correct();
    let letter = |place: usize| match transaction.verdict(place).expect("it is over").0 {
        Verdict::Delivered(_) => 'D',
        Verdict::Failed(_) => 'F',
        _ => 'd',
    };
    (forgiven, (0..recipients).map(letter).collect())
}

/// All that does not come out as expected of one recipient, whose transaction ends with these words.
fn odd(routed: bool, expected: (bool, &str), lines: &[(At, &str)]) -> Vec<String> {
    let mut judge = Judge::new(Classes::shipped());
    let mut odd = Vec::new();
    for (at, line) in lines {
        let mut replies: Vec<Reply> =
            [250, 250, 354].iter().take(*at as usize).map(|code| reply(*code)).collect();
        replies.push(said(line));
        let (forgiven, letters) = outcome(&mut judge, routed, &replies, 1);
        if (forgiven, letters.as_str()) != expected {
            let judged = judge.judge_surely(&said(line).describe(), "");
            odd.push(format!("{letters} {forgiven} {:?} at {at:?}: {line}", judged.class));
        }
    }
    odd
}

/// Said by a host to which a route leads: our right to relay, our login, our TLS, our address or our account is at fault.
const OF_US: [(At, &str); 233] = [
    (At::Mail, "550 5.7.1 You have exceeded your daily quota of outgoing messages"),
    (At::Rcpt, "550 5.7.1 You have exceeded your daily quota of outgoing messages"),
    (At::Rcpt, "550 You've reached your monthly sending limit"),
    (At::Rcpt, "550 Daily user sending quota exceeded"),
    (At::Rcpt, "550 Message quota exceeded for your account"),
    (At::Mail, "500 5.5.1 unrecognized command"),
    (At::Rcpt, "500 5.5.1 unrecognized command"),
    (At::Rcpt, "500 Syntax error, command unrecognized"),
    (At::Rcpt, "551 5.7.1 Forwarding to remote hosts disabled"),
    (At::Rcpt, "571 Delivery not authorized, message refused"),
    (At::Rcpt, "554 5.3.0 Mail gateway license expired"),
    (At::Dot, "550 License of this mail gateway has expired"),
    (At::Rcpt, "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
    (
        At::Rcpt,
        "553 sorry, that domain isn't in my list of allowed rcpthosts; no valid cert for gatewaying (#5.7.1)",
    ),
    (
        At::Rcpt,
        "553 sorry, your mailserver is rejected; that domain isn't in my list of allowed rcpthosts (#5.7.1)",
    ),
    (At::Rcpt, "553 Sorry, that domain isn't on my list of allowed relays"),
    (At::Rcpt, "550 relaying mail to x is not allowed"),
    (At::Rcpt, "550 relaying mail to b.example is prohibited by administrator"),
    (At::Rcpt, "550 ACL dropped the address, relay forbidden"),
    (At::Rcpt, "550 authentication failed"),
    (At::Rcpt, "550 5.7.0 SSL/TLS required"),
    (At::Mail, "503 5.5.1 Error: send HELO/EHLO first"),
    (At::Rcpt, "503 AUTH first (#5.5.1)"),
    (At::Mail, "503 AUTH first (#5.5.1)"),
    (At::Mail, "503 Must use AUTH"),
    (At::Mail, "502 5.5.1 not allowed without auth"),
    (At::Rcpt, "550 SMTP AUTH is required for message submission on port 25"),
    (At::Rcpt, "550 No relaying allowed"),
    (At::Rcpt, "550 Host not in relay list"),
    (At::Mail, "554 5.7.1 You are not allowed to use this server"),
    (At::Rcpt, "554 5.7.1 You are not allowed to use this server"),
    (At::Rcpt, "550 5.7.1 access denied for your host"),
    (At::Rcpt, "554 5.7.1 <x@y.example>: Relay access denied"),
    (At::Rcpt, "550 5.7.1 <x@y.example>... Relaying denied"),
    (At::Rcpt, "550 5.7.1 <x@y.example>... Relaying denied. IP name lookup failed [192.0.2.7]"),
    (At::Rcpt, "550 5.7.1 <x@y.example>... Relaying denied. Proper authentication required."),
    (At::Rcpt, "550 5.7.1 <x@y.example>... we do not relay"),
    (At::Rcpt, "550 relay not permitted"),
    (At::Rcpt, "550 Relay not permitted!"),
    (At::Rcpt, "550 authentication required"),
    (At::Rcpt, "550 Administrative prohibition: relay not permitted"),
    (
        At::Rcpt,
        "550 Please turn on SMTP Authentication in your mail client, or login to the IMAP/POP3 server before sending your message. relay.example [192.0.2.7]:40312 is not permitted to relay through this server without authentication.",
    ),
    (
        At::Rcpt,
        "550 relay.example [192.0.2.7] is currently not permitted to relay through this server. Perhaps you have not logged into the pop/imap server in the last 30 minutes.",
    ),
    (At::Rcpt, "550 5.7.1 Unable to relay"),
    (At::Rcpt, "550 5.7.1 Unable to relay for x@y.example"),
    (At::Rcpt, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"),
    (At::Mail, "530 5.7.1 Client was not authenticated"),
    (At::Mail, "550 5.7.1 Client does not have permissions to send as this sender"),
    (At::Mail, "550 5.7.60 SMTP; Client does not have permissions to send as this sender"),
    (At::Rcpt, "550 5.7.64 TenantAttribution; Relay Access Denied"),
    (
        At::Rcpt,
        "550 5.7.64 TenantAttribution; Relay Access Denied SMTP. For more information see https://aka.ms/smtprelay",
    ),
    (At::Dot, "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP"),
    (At::Dot, "550 5.7.705 Access denied, tenant has exceeded threshold"),
    (At::Rcpt, "550 5.7.367 Remote server returned not permitted to relay -> 554 5.7.1 Relay access denied"),
    (At::Mail, "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM"),
    (At::Mail, "535 5.7.3 Authentication unsuccessful"),
    (
        At::Rcpt,
        "550 5.7.1 Invalid credentials for relay [192.0.2.7]. The IP address you've registered in your G Suite SMTP Relay service doesn't match domain of the account this email is being sent from.",
    ),
    (
        At::Rcpt,
        "550 5.7.0 Mail relay denied [192.0.2.7]. Invalid credentials for relay for one of the domains in: y.example",
    ),
    (At::Dot, "550 5.7.1 Daily SMTP relay limit exceeded for user"),
    (At::Rcpt, "550 5.4.5 Daily user sending quota exceeded."),
    (At::Mail, "530 Authentication required"),
    (At::Mail, "530 5.7.0 Must issue a STARTTLS command first"),
    (At::Mail, "530 Must issue a STARTTLS command first"),
    (At::Mail, "550 5.7.0 Must issue a STARTTLS command first"),
    (At::Mail, "550 5.7.1 Unauthenticated senders not allowed"),
    (At::Rcpt, "550 Unauthenticated relaying prohibited"),
    (At::Rcpt, "550 Authentication is required for relay"),
    (At::Rcpt, "550 5.7.1 Authentication Required For Relay"),
    (At::Dot, "554 Throttling failure: Daily message quota exceeded."),
    (
        At::Dot,
        "554 Transaction failed: Sending paused for this account. For more information, please check the inbox of the email address associated with your AWS account.",
    ),
    (At::Mail, "535 Authentication Credentials Invalid"),
    (At::Mail, "550 Unauthenticated senders not allowed"),
    (At::Mail, "550 5.7.1 Your account has been suspended"),
    (At::Rcpt, "550 Maximum credits exceeded"),
    (At::Mail, "550 Maximum credits exceeded"),
    (
        At::Dot,
        "550 5.7.1 Domain y.example is not allowed to send: Free accounts are for test purposes only. Please upgrade",
    ),
    (At::Rcpt, "550 5.7.1 Relaying not allowed: your IP 192.0.2.7 is not on the list of allowed senders"),
    (At::Rcpt, "550 192.0.2.7 is not allowed to relay"),
    (At::Rcpt, "550 5.7.1 192.0.2.7 is not in the allowed relay list"),
    (At::Rcpt, "550 mail from relay.example is not allowed to be relayed"),
    (At::Rcpt, "550 Sorry, we do not allow relaying from your host"),
    (At::Rcpt, "550 You are not authorized to relay through this server"),
    (At::Rcpt, "551 This is not a relay host"),
    (At::Rcpt, "551 User not local; we do not relay"),
    (At::Rcpt, "551 Sorry, we don't relay"),
    (At::Rcpt, "571 Relay denied"),
    (At::Rcpt, "550 5.7.1 This server does not relay mail"),
    (At::Rcpt, "550 Relaying to y.example is not permitted"),
    (At::Rcpt, "550 5.7.1 Relay operation rejected"),
    (At::Rcpt, "550 5.7.1 Relay attempt blocked"),
    (At::Rcpt, "554 5.7.1 Relay rejected for policy reasons"),
    (At::Rcpt, "553 5.7.1 Relay restriction"),
    (At::Rcpt, "550 Rejected: relaying denied for spam protection"),
    (At::Rcpt, "530 SMTP authentication is required."),
    (At::Rcpt, "550 This server requires authentication before sending mail"),
    (At::Rcpt, "503 This mail server requires authentication. Please check your mail client settings."),
    (At::Rcpt, "503 5.7.0 Error: authentication required"),
    (At::Rcpt, "550 You must authenticate to use this server"),
    (At::Rcpt, "550 You need to authenticate first"),
    (At::Rcpt, "550 Please authenticate to send mail"),
    (At::Rcpt, "550 You must log in to send mail from y.example"),
    (At::Rcpt, "550 Log in first, then send"),
    (At::Rcpt, "550 not logged in"),
    (At::Rcpt, "550 POP before SMTP required"),
    (At::Rcpt, "553 5.7.1 <a@b.example>: Sender address rejected: not logged in"),
    (At::Rcpt, "554 5.7.1 <unknown[192.0.2.7]>: Client host rejected: Access denied"),
    (At::Rcpt, "554 5.7.1 <relay.example[192.0.2.7]>: Client host rejected: Access denied"),
    (At::Rcpt, "554 5.7.1 <192.0.2.7>: Client host rejected: cannot find your hostname, [192.0.2.7]"),
    (At::Mail, "550 5.7.1 Access denied"),
    (At::Mail, "550 Access to this mail system has been denied"),
    (At::Mail, "554 5.7.1 Service unavailable"),
    (At::Mail, "550 no"),
    (At::Mail, "500 5.5.1 Command unrecognized"),
    (At::Mail, "502 5.5.2 Error: command not recognized"),
    (At::Mail, "503 Bad sequence of commands"),
    (At::Rcpt, "503 5.5.1 Error: need MAIL command"),
    (At::Rcpt, "503 Polite people say HELO first"),
    (At::Data, "503 5.5.1 Error: need RCPT command"),
    (At::Data, "503 RCPT first"),
    (At::Data, "502 Command not implemented"),
    (At::Dot, "503 Bad sequence of commands"),
    (At::Mail, "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.3)"),
    (At::Rcpt, "550 5.7.1 TLS encryption is required"),
    (At::Rcpt, "554 5.7.1 TLS required"),
    (At::Rcpt, "550 You must use TLS to relay through this server"),
    (At::Rcpt, "554 5.7.0 A secure connection is required"),
    (At::Rcpt, "550 5.7.10 Encryption required"),
    (At::Rcpt, "554 5.7.1 Session encryption is required"),
    (At::Rcpt, "550 5.7.1 No client certificate presented"),
    (At::Rcpt, "550 5.7.1 TLS client certificate required"),
    (At::Rcpt, "550 5.7.1 Certificate verification failed: relaying denied"),
    (At::Rcpt, "550 Your host is not allowed to send mail through this server"),
    (At::Rcpt, "550 Your IP address is not authorized to use this server"),
    (At::Rcpt, "550 IP 192.0.2.7 not authorized"),
    (At::Rcpt, "550 5.7.1 Your IP 192.0.2.7 is not in our access list"),
    (At::Rcpt, "554 5.7.1 Client not authorized"),
    (At::Rcpt, "550 Connection from 192.0.2.7 not allowed"),
    (At::Rcpt, "550 5.7.1 Access restricted for host 192.0.2.7"),
    (At::Rcpt, "550 Unknown client 192.0.2.7"),
    (At::Rcpt, "550 Host 192.0.2.7 is not a customer of ours"),
    (At::Rcpt, "554 5.7.1 Barracuda: relay.example is not authorized to relay"),
    (At::Rcpt, "550 permanent failure for one or more recipients: relay denied"),
    (At::Rcpt, "554 5.7.1 Outbound relay not allowed for 192.0.2.7"),
    (At::Rcpt, "550 5.7.1 Sender IP 192.0.2.7 not authorized for outbound mail"),
    (At::Dot, "550 5.7.1 relay not permitted for this account"),
    (At::Rcpt, "550 Requested action not taken: relaying denied"),
    (At::Rcpt, "554 Message refused: relaying not allowed"),
    (At::Rcpt, "550 Mail server does not allow relaying"),
    (At::Rcpt, "501 5.7.1 <a@b.example>... Sender not permitted to relay"),
    (At::Rcpt, "550 Sender is not allowed to relay through this server"),
    (At::Rcpt, "550 Recipient is not local, relay not allowed"),
    (At::Rcpt, "550 The recipient cannot be relayed by this host"),
    (At::Rcpt, "550 Cannot relay"),
    (At::Rcpt, "550 No relay for y.example"),
    (At::Rcpt, "550 External relay prohibited"),
    (At::Rcpt, "550 5.7.1 Non-local recipients need authentication"),
    (At::Mail, "550 5.7.1 Quota of outgoing messages used up"),
    (At::Rcpt, "550 5.7.1 Relaying Prohibited"),
    (At::Rcpt, "550 Relaying is prohibited"),
    (At::Rcpt, "550 relaying is not allowed here"),
    (At::Rcpt, "550 5.7.1 relay access is denied"),
    (At::Rcpt, "553 5.3.0 Relaying not permitted"),
    (At::Rcpt, "550 5.7.1 <x@y.example> Relaying denied: You must check for new mail before sending mail."),
    (At::Rcpt, "550 This system is not configured to relay mail"),
    (At::Rcpt, "551 we do not relay <x@y.example>"),
    (At::Rcpt, "550 You may not relay mail through this host"),
    (At::Rcpt, "571 5.7.1 relaying not allowed for 192.0.2.7"),
    (At::Rcpt, "550 5.7.1 Mail relaying is disabled"),
    (At::Rcpt, "554 Relay rejected"),
    (At::Rcpt, "550 Invalid relay attempt"),
    (At::Rcpt, "550 Unauthorized relay"),
    (At::Rcpt, "550 Unauthorised relaying attempt from 192.0.2.7"),
    (At::Rcpt, "550 5.7.1 Illegal relay"),
    (At::Rcpt, "550 Relaying requires authentication"),
    (At::Rcpt, "550 5.7.1 Relay: authenticate first"),
    (At::Rcpt, "550 authenticate before relaying"),
    (At::Rcpt, "550 5.7.1 Must be authenticated to relay"),
    (At::Rcpt, "550 5.7.1 You must be authenticated"),
    (At::Rcpt, "550 User must be authenticated to send"),
    (At::Rcpt, "550 5.7.1 Client must authenticate"),
    (At::Rcpt, "530 5.5.1 Authentication Required."),
    (At::Rcpt, "554 5.7.1 SMTP authentication required"),
    (At::Rcpt, "550 5.7.1 AUTH required"),
    (At::Rcpt, "550 AUTH is required"),
    (At::Rcpt, "550 Need AUTH"),
    (At::Rcpt, "503 5.5.1 Need authentication"),
    (At::Rcpt, "550 Authorization required"),
    (At::Rcpt, "550 5.7.1 Authorization failed"),
    (At::Rcpt, "550 5.7.1 not authorized"),
    (At::Rcpt, "554 5.7.8 Error: authentication failed: UGFzc3dvcmQ6"),
    (At::Rcpt, "550 5.7.8 Bad credentials"),
    (At::Rcpt, "550 Bad username or password"),
    (At::Rcpt, "550 5.7.0 Login required"),
    (At::Rcpt, "550 Please login first"),
    (At::Rcpt, "550 Login first"),
    (At::Rcpt, "550 5.7.1 Sorry, you must log in before sending"),
    (At::Rcpt, "554 5.7.1 The sender must be logged in"),
    (At::Rcpt, "550 TLS is mandatory here"),
    (At::Rcpt, "550 TLS connection required"),
    (At::Rcpt, "550 5.7.0 TLS negotiation required"),
    (At::Rcpt, "550 5.7.1 STARTTLS needed"),
    (At::Rcpt, "554 5.7.0 Encryption is mandatory"),
    (At::Rcpt, "550 Unencrypted connections are not allowed"),
    (At::Rcpt, "550 Plaintext sessions are refused, use STARTTLS"),
    (At::Rcpt, "530 5.7.0 Must use TLS"),
    (At::Rcpt, "550 5.7.0 Issue STARTTLS first"),
    (At::Mail, "554 5.7.1 Client access denied"),
    (At::Rcpt, "550 5.7.1 IP address not allowed"),
    (At::Rcpt, "550 IP not allowed"),
    (At::Rcpt, "550 5.7.1 Client IP 192.0.2.7 is not allowed"),
    (At::Rcpt, "550 5.7.1 Your IP address has not been registered"),
    (At::Rcpt, "550 Access denied for 192.0.2.7"),
    (At::Rcpt, "550 Your server is not in our whitelist"),
    (At::Rcpt, "550 Host is not whitelisted"),
    (At::Rcpt, "550 Sending host not permitted"),
    (At::Rcpt, "550 5.7.1 Host 192.0.2.7 is not permitted"),
    (At::Rcpt, "550 5.7.1 connector does not accept mail from this IP"),
    (
        At::Rcpt,
        "550 5.7.51 TenantInboundAttribution; There is a partner connector configured that matched the message's recipient domain. The connector had either the RestrictDomainsToIPAddresses or RestrictDomainsToCertificate set",
    ),
    (At::Rcpt, "550 5.7.501 Service unavailable. Spam abuse detected from IP range"),
    (At::Rcpt, "550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains"),
    (At::Mail, "503 5.5.1 Hello first"),
    (At::Mail, "503 5.5.4 Error: send AUTH command first"),
    (At::Mail, "502 5.7.0 Please authenticate first"),
    (At::Mail, "550 5.7.0 authorization required"),
    (At::Rcpt, "503 sender not yet given"),
    (At::Rcpt, "503 5.5.0 No MAIL FROM"),
    (At::Mail, "503 5.0.0 need HELO"),
    (At::Mail, "550 5.7.1 This IP is not authorised to send mail through this relay"),
    (At::Mail, "550 Your account is over its sending limit"),
    (At::Dot, "550 Your account has exceeded its monthly limit"),
    (At::Dot, "554 5.7.1 Sending disabled"),
    (At::Dot, "550 5.7.1 Account not enabled for sending"),
    (At::Mail, "550 account not active"),
];

/// Said by such a host of a recipient, of the sender or of the message.
const OF_THE_MAIL: [(At, &str); 104] = [
    (At::Dot, "500 Line too long"),
    (At::Rcpt, "500 Error: bad syntax"),
    (At::Rcpt, "550 5.7.1 You have exceeded the quota of this mailbox"),
    (At::Rcpt, "551 User not local; please try forwarding to <z@y.example>"),
    (At::Dot, "554 5.7.1 Your message has a license key that has expired"),
    (At::Dot, "550 5.7.1 Delivery not authorized, message refused"),
    (At::Rcpt, "550 5.1.1 User unknown"),
    (At::Rcpt, "550 5.1.1 <x@y.example>: Recipient address rejected: User unknown in local recipient table"),
    (At::Rcpt, "550 No such user here"),
    (At::Rcpt, "550 5.7.1 spam message rejected"),
    (At::Dot, "550 5.7.1 spam message rejected"),
    (At::Dot, "550 SPF fail for sender domain"),
    (At::Mail, "550 SPF fail for sender domain"),
    (At::Mail, "550 5.7.23 SPF validation failed"),
    (At::Mail, "553 5.1.8 <a@b.example>... Domain of sender address does not exist"),
    (At::Mail, "550 5.1.0 Sender rejected"),
    (At::Mail, "550 Sender verify failed"),
    (At::Mail, "550 Unroutable sender address"),
    (At::Mail, "553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)"),
    (At::Mail, "501 5.1.7 Bad sender address syntax"),
    (At::Mail, "501 Syntax error in parameters or arguments"),
    (At::Mail, "552 5.3.4 Message size exceeds fixed limit"),
    (At::Mail, "552 Message too large"),
    (At::Mail, "550 5.7.1 <a@b.example>: Sender address rejected: Access denied"),
    (At::Mail, "554 5.7.1 <a@b.example>: Sender address rejected: blocked by policy"),
    (At::Mail, "555 5.5.4 Unsupported option: SMTPUTF8"),
    (At::Rcpt, "550 5.1.1 <relay@y.example>: no such user"),
    (At::Rcpt, "550 5.1.1 auth@y.example does not exist"),
    (At::Rcpt, "550 5.2.1 The account is disabled; authentication is required"),
    (At::Rcpt, "550 5.4.1 Recipient address rejected: Access denied"),
    (At::Rcpt, "554 5.7.1 <x@y.example>: Recipient address rejected: Access denied"),
    (At::Rcpt, "550 5.7.133 Sender not authenticated for group"),
    (At::Rcpt, "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required"),
    (At::Rcpt, "550 5.7.1 RESOLVER.RST.NotAuthorized; not authorized"),
    (At::Rcpt, "550 You are not allowed to send to this list"),
    (At::Rcpt, "550 5.7.1 Only members may post to this list"),
    (At::Rcpt, "550 5.7.1 Message rejected by recipient policy"),
    (At::Rcpt, "550 You have been blocked by the recipient"),
    (At::Rcpt, "550 5.2.2 Mailbox full"),
    (At::Rcpt, "550 5.2.2 quota exceeded"),
    (At::Rcpt, "550 Domain not found"),
    (At::Rcpt, "550 Unrouteable address"),
    (At::Rcpt, "556 5.1.10 Recipient address has a null MX"),
    (At::Dot, "554 5.7.1 Message rejected: Email address is not verified"),
    (
        At::Dot,
        "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: a@b.example",
    ),
    (At::Dot, "552 5.7.0 This message was blocked because its content presents a potential security issue"),
    (At::Dot, "550 5.7.26 This mail is unauthenticated: senders must authenticate with SPF or DKIM"),
    (At::Dot, "554 5.7.5 Message rejected by the DMARC policy of b.example"),
    (At::Dot, "550 5.7.1 Message not authenticated (no DKIM signature)"),
    (At::Dot, "554 5.7.1 Message contains a virus"),
    (At::Dot, "554 5.7.1 Message contains a URL that is listed in dbl.spamhaus.org"),
    (At::Dot, "550 5.6.0 Lone CR or LF in header"),
    (At::Dot, "554 5.6.0 Message refused"),
    (At::Dot, "554 5.7.1 Message refused"),
    (At::Dot, "550 5.7.1 Rejected by content filter"),
    (At::Dot, "550 Blocked"),
    (At::Dot, "554 Transaction failed"),
    (At::Data, "554 5.6.0 not that"),
    (At::Rcpt, "550 5.7.1 Rejected"),
    (At::Rcpt, "550 5.7.1 Access denied"),
    (At::Rcpt, "550 Denied by policy"),
    (At::Dot, "554 5.4.6 Too many hops"),
    (At::Dot, "550 5.7.1 The link in your message leads to a blacklisted host"),
    (At::Dot, "550 5.7.1 Message looks like a relayed spam"),
    (At::Rcpt, "550 5.1.2 relay.example is no mail domain"),
    (At::Rcpt, "551 Try <z@y.example>"),
    (At::Rcpt, "550 5.7.1 recipient requires a TLS-encrypted message (S/MIME)"),
    (At::Dot, "554 5.2.252 SendAsDenied; a@b.example not allowed to send as c@d.example"),
    (At::Rcpt, "550 5.1.1 x@relay.example unknown"),
    (At::Rcpt, "550 no such user on this relay"),
    (At::Rcpt, "550 x@y.example: user unknown"),
    (At::Rcpt, "550 5.7.1 Sender x blocked by recipient"),
    (At::Rcpt, "554 5.7.1 Message blocked by your recipient's policy"),
    (At::Rcpt, "550 5.7.1 message rejected: bulk mail not accepted"),
    (At::Dot, "550 5.7.1 Message contains forbidden attachment"),
    (At::Dot, "550 5.7.1 Mail rejected: HTML not accepted"),
    (At::Dot, "554 5.7.1 [P4] Message blocked due to spam content in the message."),
    (At::Dot, "554 5.7.0 Your message was considered unsolicited"),
    (At::Dot, "550 5.7.1 Your email was not accepted because of DMARC"),
    (At::Dot, "550 rejected by DKIM policy"),
    (At::Dot, "550 5.7.0 Message size exceeds limit"),
    (At::Mail, "550 5.7.1 sender domain is blocked"),
    (At::Mail, "550 5.1.8 sender domain has no MX"),
    (At::Mail, "550 Invalid sender"),
    (At::Mail, "553 5.5.4 <a>... Domain name required for sender address a"),
    (At::Mail, "550 5.7.1 Sender address not allowed"),
    (At::Mail, "550 5.7.1 Sender blocked"),
    (At::Mail, "550 sender denied"),
    (At::Mail, "550 5.7.1 Sender is on our blacklist"),
    (At::Mail, "554 5.7.1 bad sender address"),
    (At::Mail, "550 5.4.4 domain of sender does not resolve"),
    (At::Rcpt, "550 mailbox not found"),
    (At::Rcpt, "550 5.7.1 Recipient not allowed"),
    (At::Rcpt, "550 5.7.1 Recipient rejected"),
    (At::Rcpt, "550 recipient not permitted"),
    (At::Rcpt, "550 5.7.1 you are not allowed to send mail to this address"),
    (At::Rcpt, "550 5.7.1 You are not authorized to send to this recipient"),
    (At::Rcpt, "550 5.7.1 permission denied to mail this group"),
    (At::Rcpt, "550 5.7.1 Delivery not authorized, message refused"),
    (At::Rcpt, "550 5.7.1 This user does not accept mail from your domain"),
    (At::Rcpt, "550 The recipient does not accept mail from you"),
    (At::Dot, "550 5.7.1 Message refused because a link in it is not permitted"),
    (At::Rcpt, "550 5.7.1 this address may only be used by authenticated members"),
    (At::Rcpt, "550 5.7.606 no"),
];

#[test]
fn a_smart_host_that_refuses_us_returns_nobody() {
    assert_eq!(odd(true, (true, "d"), &OF_US), Vec::<String>::new());
}

#[test]
fn what_a_smart_host_says_of_the_mail_is_returned() {
    assert_eq!(odd(true, (false, "F"), &OF_THE_MAIL), Vec::<String>::new());
    assert_eq!(odd(false, (false, "F"), &OF_THE_MAIL), Vec::<String>::new());
}

/// What an MX says of one of several recipients is about the domain that leads to it: it is not served there, and its sender is to know. Of
/// all of them it is more likely said of us. So is what a route's host says of one.
#[test]
fn relaying_is_denied_to_us_where_it_is_for_all() {
    let mut judge = Judge::new(Classes::shipped());
    let denied = || said("550 Relay access denied");
    let unknown = || said("550 5.1.1 User unknown");
    let blocked = || said("550 Client host [192.0.2.1] blocked using zen.spamhaus.org");
    let mut ask = |routed: bool, first: Reply, second: Reply| {
        outcome(&mut judge, routed, &[reply(250), first, second, reply(354), reply(250)], 2)
    };
    for words in ["550 Relay access denied", "550 5.7.1 Unable to relay", "553 not in my rcpthosts"] {
        for routed in [true, false] {
            assert_eq!(ask(routed, said(words), said(words)), (true, "dd".into()), "{routed} {words}");
        }
        assert_eq!(ask(false, said(words), unknown()), (false, "FF".into()), "not everybody: {words}");
        assert_eq!(ask(false, said(words), reply(250)), (false, "FD".into()), "not everybody: {words}");
        assert_eq!(ask(true, said(words), unknown()), (true, "dF".into()), "{words}");
        assert_eq!(ask(true, said(words), reply(250)), (true, "dD".into()), "{words}");
    }
    assert_eq!(ask(false, blocked(), unknown()), (true, "dF".into()));
    assert_eq!(ask(false, said("530 who are you"), said("530 who are you")), (true, "dd".into()));
    assert_eq!(ask(true, unknown(), unknown()), (false, "FF".into()));
    for routed in [true, false] {
        let (forgiven, letters) = outcome(&mut judge, routed, &[reply(250), denied()], 1);
        let expected = if routed { "d" } else { "F" };
        assert_eq!((forgiven, letters.as_str()), (routed, expected), "an MX that does not know the domain");
    }
}

/// Said through an MX as well: it knows the command no better for others.
#[test]
fn a_command_nobody_knows_returns_nobody() {
    let lines = [(At::Mail, "500 5.5.1 unrecognized command"), (At::Rcpt, "500 5.5.1 unrecognized command")];
    assert_eq!(odd(false, (true, "d"), &lines), Vec::<String>::new());
}
