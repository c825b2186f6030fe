//! What hosts say, and what becomes of the recipients for it: through a route, where the operator says that the host takes the mail, and
//! through an MX.

use crate::mail::classify::Classes;
use crate::mail::classify::judge::Judge;
use crate::smtp::client::tests::{PLAIN, reply};
use crate::smtp::client::{Body, Transaction, Verdict};
use crate::smtp::reply::{Reply, ReplyReader};

/// What the words answer.
#[derive(Clone, Copy, Debug)]
enum CommandStage {
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
fn odd(routed: bool, expected: (bool, &str), lines: &[(CommandStage, &str)]) -> Vec<String> {
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
const OF_US: [(CommandStage, &str); 233] = [
    (CommandStage::Mail, "550 5.7.1 You have exceeded your daily quota of outgoing messages"),
    (CommandStage::Rcpt, "550 5.7.1 You have exceeded your daily quota of outgoing messages"),
    (CommandStage::Rcpt, "550 You've reached your monthly sending limit"),
    (CommandStage::Rcpt, "550 Daily user sending quota exceeded"),
    (CommandStage::Rcpt, "550 Message quota exceeded for your account"),
    (CommandStage::Mail, "500 5.5.1 unrecognized command"),
    (CommandStage::Rcpt, "500 5.5.1 unrecognized command"),
    (CommandStage::Rcpt, "500 Syntax error, command unrecognized"),
    (CommandStage::Rcpt, "551 5.7.1 Forwarding to remote hosts disabled"),
    (CommandStage::Rcpt, "571 Delivery not authorized, message refused"),
    (CommandStage::Rcpt, "554 5.3.0 Mail gateway license expired"),
    (CommandStage::Dot, "550 License of this mail gateway has expired"),
    (CommandStage::Rcpt, "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
    (
        CommandStage::Rcpt,
        "553 sorry, that domain isn't in my list of allowed rcpthosts; no valid cert for gatewaying (#5.7.1)",
    ),
    (
        CommandStage::Rcpt,
        "553 sorry, your mailserver is rejected; that domain isn't in my list of allowed rcpthosts (#5.7.1)",
    ),
    (CommandStage::Rcpt, "553 Sorry, that domain isn't on my list of allowed relays"),
    (CommandStage::Rcpt, "550 relaying mail to x is not allowed"),
    (CommandStage::Rcpt, "550 relaying mail to b.example is prohibited by administrator"),
    (CommandStage::Rcpt, "550 ACL dropped the address, relay forbidden"),
    (CommandStage::Rcpt, "550 authentication failed"),
    (CommandStage::Rcpt, "550 5.7.0 SSL/TLS required"),
    (CommandStage::Mail, "503 5.5.1 Error: send HELO/EHLO first"),
    (CommandStage::Rcpt, "503 AUTH first (#5.5.1)"),
    (CommandStage::Mail, "503 AUTH first (#5.5.1)"),
    (CommandStage::Mail, "503 Must use AUTH"),
    (CommandStage::Mail, "502 5.5.1 not allowed without auth"),
    (CommandStage::Rcpt, "550 SMTP AUTH is required for message submission on port 25"),
    (CommandStage::Rcpt, "550 No relaying allowed"),
    (CommandStage::Rcpt, "550 Host not in relay list"),
    (CommandStage::Mail, "554 5.7.1 You are not allowed to use this server"),
    (CommandStage::Rcpt, "554 5.7.1 You are not allowed to use this server"),
    (CommandStage::Rcpt, "550 5.7.1 access denied for your host"),
    (CommandStage::Rcpt, "554 5.7.1 <x@y.example>: Relay access denied"),
    (CommandStage::Rcpt, "550 5.7.1 <x@y.example>... Relaying denied"),
    (CommandStage::Rcpt, "550 5.7.1 <x@y.example>... Relaying denied. IP name lookup failed [192.0.2.7]"),
    (CommandStage::Rcpt, "550 5.7.1 <x@y.example>... Relaying denied. Proper authentication required."),
    (CommandStage::Rcpt, "550 5.7.1 <x@y.example>... we do not relay"),
    (CommandStage::Rcpt, "550 relay not permitted"),
    (CommandStage::Rcpt, "550 Relay not permitted!"),
    (CommandStage::Rcpt, "550 authentication required"),
    (CommandStage::Rcpt, "550 Administrative prohibition: relay not permitted"),
    (
        CommandStage::Rcpt,
        "550 Please turn on SMTP Authentication in your mail client, or login to the IMAP/POP3 server before sending your message. relay.example [192.0.2.7]:40312 is not permitted to relay through this server without authentication.",
    ),
    (
        CommandStage::Rcpt,
        "550 relay.example [192.0.2.7] is currently not permitted to relay through this server. Perhaps you have not logged into the pop/imap server in the last 30 minutes.",
    ),
    (CommandStage::Rcpt, "550 5.7.1 Unable to relay"),
    (CommandStage::Rcpt, "550 5.7.1 Unable to relay for x@y.example"),
    (CommandStage::Rcpt, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"),
    (CommandStage::Mail, "530 5.7.1 Client was not authenticated"),
    (CommandStage::Mail, "550 5.7.1 Client does not have permissions to send as this sender"),
    (CommandStage::Mail, "550 5.7.60 SMTP; Client does not have permissions to send as this sender"),
    (CommandStage::Rcpt, "550 5.7.64 TenantAttribution; Relay Access Denied"),
    (
        CommandStage::Rcpt,
        "550 5.7.64 TenantAttribution; Relay Access Denied SMTP. For more information see https://aka.ms/smtprelay",
    ),
    (CommandStage::Dot, "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP"),
    (CommandStage::Dot, "550 5.7.705 Access denied, tenant has exceeded threshold"),
    (
        CommandStage::Rcpt,
        "550 5.7.367 Remote server returned not permitted to relay -> 554 5.7.1 Relay access denied",
    ),
    (
        CommandStage::Mail,
        "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
    ),
    (CommandStage::Mail, "535 5.7.3 Authentication unsuccessful"),
    (
        CommandStage::Rcpt,
        "550 5.7.1 Invalid credentials for relay [192.0.2.7]. The IP address you've registered in your G Suite SMTP Relay service doesn't match domain of the account this email is being sent from.",
    ),
    (
        CommandStage::Rcpt,
        "550 5.7.0 Mail relay denied [192.0.2.7]. Invalid credentials for relay for one of the domains in: y.example",
    ),
    (CommandStage::Dot, "550 5.7.1 Daily SMTP relay limit exceeded for user"),
    (CommandStage::Rcpt, "550 5.4.5 Daily user sending quota exceeded."),
    (CommandStage::Mail, "530 Authentication required"),
    (CommandStage::Mail, "530 5.7.0 Must issue a STARTTLS command first"),
    (CommandStage::Mail, "530 Must issue a STARTTLS command first"),
    (CommandStage::Mail, "550 5.7.0 Must issue a STARTTLS command first"),
    (CommandStage::Mail, "550 5.7.1 Unauthenticated senders not allowed"),
    (CommandStage::Rcpt, "550 Unauthenticated relaying prohibited"),
    (CommandStage::Rcpt, "550 Authentication is required for relay"),
    (CommandStage::Rcpt, "550 5.7.1 Authentication Required For Relay"),
    (CommandStage::Dot, "554 Throttling failure: Daily message quota exceeded."),
    (
        CommandStage::Dot,
        "554 Transaction failed: Sending paused for this account. For more information, please check the inbox of the email address associated with your AWS account.",
    ),
    (CommandStage::Mail, "535 Authentication Credentials Invalid"),
    (CommandStage::Mail, "550 Unauthenticated senders not allowed"),
    (CommandStage::Mail, "550 5.7.1 Your account has been suspended"),
    (CommandStage::Rcpt, "550 Maximum credits exceeded"),
    (CommandStage::Mail, "550 Maximum credits exceeded"),
    (
        CommandStage::Dot,
        "550 5.7.1 Domain y.example is not allowed to send: Free accounts are for test purposes only. Please upgrade",
    ),
    (
        CommandStage::Rcpt,
        "550 5.7.1 Relaying not allowed: your IP 192.0.2.7 is not on the list of allowed senders",
    ),
    (CommandStage::Rcpt, "550 192.0.2.7 is not allowed to relay"),
    (CommandStage::Rcpt, "550 5.7.1 192.0.2.7 is not in the allowed relay list"),
    (CommandStage::Rcpt, "550 mail from relay.example is not allowed to be relayed"),
    (CommandStage::Rcpt, "550 Sorry, we do not allow relaying from your host"),
    (CommandStage::Rcpt, "550 You are not authorized to relay through this server"),
    (CommandStage::Rcpt, "551 This is not a relay host"),
    (CommandStage::Rcpt, "551 User not local; we do not relay"),
    (CommandStage::Rcpt, "551 Sorry, we don't relay"),
    (CommandStage::Rcpt, "571 Relay denied"),
    (CommandStage::Rcpt, "550 5.7.1 This server does not relay mail"),
    (CommandStage::Rcpt, "550 Relaying to y.example is not permitted"),
    (CommandStage::Rcpt, "550 5.7.1 Relay operation rejected"),
    (CommandStage::Rcpt, "550 5.7.1 Relay attempt blocked"),
    (CommandStage::Rcpt, "554 5.7.1 Relay rejected for policy reasons"),
    (CommandStage::Rcpt, "553 5.7.1 Relay restriction"),
    (CommandStage::Rcpt, "550 Rejected: relaying denied for spam protection"),
    (CommandStage::Rcpt, "530 SMTP authentication is required."),
    (CommandStage::Rcpt, "550 This server requires authentication before sending mail"),
    (
        CommandStage::Rcpt,
        "503 This mail server requires authentication. Please check your mail client settings.",
    ),
    (CommandStage::Rcpt, "503 5.7.0 Error: authentication required"),
    (CommandStage::Rcpt, "550 You must authenticate to use this server"),
    (CommandStage::Rcpt, "550 You need to authenticate first"),
    (CommandStage::Rcpt, "550 Please authenticate to send mail"),
    (CommandStage::Rcpt, "550 You must log in to send mail from y.example"),
    (CommandStage::Rcpt, "550 Log in first, then send"),
    (CommandStage::Rcpt, "550 not logged in"),
    (CommandStage::Rcpt, "550 POP before SMTP required"),
    (CommandStage::Rcpt, "553 5.7.1 <a@b.example>: Sender address rejected: not logged in"),
    (CommandStage::Rcpt, "554 5.7.1 <unknown[192.0.2.7]>: Client host rejected: Access denied"),
    (CommandStage::Rcpt, "554 5.7.1 <relay.example[192.0.2.7]>: Client host rejected: Access denied"),
    (
        CommandStage::Rcpt,
        "554 5.7.1 <192.0.2.7>: Client host rejected: cannot find your hostname, [192.0.2.7]",
    ),
    (CommandStage::Mail, "550 5.7.1 Access denied"),
    (CommandStage::Mail, "550 Access to this mail system has been denied"),
    (CommandStage::Mail, "554 5.7.1 Service unavailable"),
    (CommandStage::Mail, "550 no"),
    (CommandStage::Mail, "500 5.5.1 Command unrecognized"),
    (CommandStage::Mail, "502 5.5.2 Error: command not recognized"),
    (CommandStage::Mail, "503 Bad sequence of commands"),
    (CommandStage::Rcpt, "503 5.5.1 Error: need MAIL command"),
    (CommandStage::Rcpt, "503 Polite people say HELO first"),
    (CommandStage::Data, "503 5.5.1 Error: need RCPT command"),
    (CommandStage::Data, "503 RCPT first"),
    (CommandStage::Data, "502 Command not implemented"),
    (CommandStage::Dot, "503 Bad sequence of commands"),
    (CommandStage::Mail, "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.3)"),
    (CommandStage::Rcpt, "550 5.7.1 TLS encryption is required"),
    (CommandStage::Rcpt, "554 5.7.1 TLS required"),
    (CommandStage::Rcpt, "550 You must use TLS to relay through this server"),
    (CommandStage::Rcpt, "554 5.7.0 A secure connection is required"),
    (CommandStage::Rcpt, "550 5.7.10 Encryption required"),
    (CommandStage::Rcpt, "554 5.7.1 Session encryption is required"),
    (CommandStage::Rcpt, "550 5.7.1 No client certificate presented"),
    (CommandStage::Rcpt, "550 5.7.1 TLS client certificate required"),
    (CommandStage::Rcpt, "550 5.7.1 Certificate verification failed: relaying denied"),
    (CommandStage::Rcpt, "550 Your host is not allowed to send mail through this server"),
    (CommandStage::Rcpt, "550 Your IP address is not authorized to use this server"),
    (CommandStage::Rcpt, "550 IP 192.0.2.7 not authorized"),
    (CommandStage::Rcpt, "550 5.7.1 Your IP 192.0.2.7 is not in our access list"),
    (CommandStage::Rcpt, "554 5.7.1 Client not authorized"),
    (CommandStage::Rcpt, "550 Connection from 192.0.2.7 not allowed"),
    (CommandStage::Rcpt, "550 5.7.1 Access restricted for host 192.0.2.7"),
    (CommandStage::Rcpt, "550 Unknown client 192.0.2.7"),
    (CommandStage::Rcpt, "550 Host 192.0.2.7 is not a customer of ours"),
    (CommandStage::Rcpt, "554 5.7.1 Barracuda: relay.example is not authorized to relay"),
    (CommandStage::Rcpt, "550 permanent failure for one or more recipients: relay denied"),
    (CommandStage::Rcpt, "554 5.7.1 Outbound relay not allowed for 192.0.2.7"),
    (CommandStage::Rcpt, "550 5.7.1 Sender IP 192.0.2.7 not authorized for outbound mail"),
    (CommandStage::Dot, "550 5.7.1 relay not permitted for this account"),
    (CommandStage::Rcpt, "550 Requested action not taken: relaying denied"),
    (CommandStage::Rcpt, "554 Message refused: relaying not allowed"),
    (CommandStage::Rcpt, "550 Mail server does not allow relaying"),
    (CommandStage::Rcpt, "501 5.7.1 <a@b.example>... Sender not permitted to relay"),
    (CommandStage::Rcpt, "550 Sender is not allowed to relay through this server"),
    (CommandStage::Rcpt, "550 Recipient is not local, relay not allowed"),
    (CommandStage::Rcpt, "550 The recipient cannot be relayed by this host"),
    (CommandStage::Rcpt, "550 Cannot relay"),
    (CommandStage::Rcpt, "550 No relay for y.example"),
    (CommandStage::Rcpt, "550 External relay prohibited"),
    (CommandStage::Rcpt, "550 5.7.1 Non-local recipients need authentication"),
    (CommandStage::Mail, "550 5.7.1 Quota of outgoing messages used up"),
    (CommandStage::Rcpt, "550 5.7.1 Relaying Prohibited"),
    (CommandStage::Rcpt, "550 Relaying is prohibited"),
    (CommandStage::Rcpt, "550 relaying is not allowed here"),
    (CommandStage::Rcpt, "550 5.7.1 relay access is denied"),
    (CommandStage::Rcpt, "553 5.3.0 Relaying not permitted"),
    (
        CommandStage::Rcpt,
        "550 5.7.1 <x@y.example> Relaying denied: You must check for new mail before sending mail.",
    ),
    (CommandStage::Rcpt, "550 This system is not configured to relay mail"),
    (CommandStage::Rcpt, "551 we do not relay <x@y.example>"),
    (CommandStage::Rcpt, "550 You may not relay mail through this host"),
    (CommandStage::Rcpt, "571 5.7.1 relaying not allowed for 192.0.2.7"),
    (CommandStage::Rcpt, "550 5.7.1 Mail relaying is disabled"),
    (CommandStage::Rcpt, "554 Relay rejected"),
    (CommandStage::Rcpt, "550 Invalid relay attempt"),
    (CommandStage::Rcpt, "550 Unauthorized relay"),
    (CommandStage::Rcpt, "550 Unauthorised relaying attempt from 192.0.2.7"),
    (CommandStage::Rcpt, "550 5.7.1 Illegal relay"),
    (CommandStage::Rcpt, "550 Relaying requires authentication"),
    (CommandStage::Rcpt, "550 5.7.1 Relay: authenticate first"),
    (CommandStage::Rcpt, "550 authenticate before relaying"),
    (CommandStage::Rcpt, "550 5.7.1 Must be authenticated to relay"),
    (CommandStage::Rcpt, "550 5.7.1 You must be authenticated"),
    (CommandStage::Rcpt, "550 User must be authenticated to send"),
    (CommandStage::Rcpt, "550 5.7.1 Client must authenticate"),
    (CommandStage::Rcpt, "530 5.5.1 Authentication Required."),
    (CommandStage::Rcpt, "554 5.7.1 SMTP authentication required"),
    (CommandStage::Rcpt, "550 5.7.1 AUTH required"),
    (CommandStage::Rcpt, "550 AUTH is required"),
    (CommandStage::Rcpt, "550 Need AUTH"),
    (CommandStage::Rcpt, "503 5.5.1 Need authentication"),
    (CommandStage::Rcpt, "550 Authorization required"),
    (CommandStage::Rcpt, "550 5.7.1 Authorization failed"),
    (CommandStage::Rcpt, "550 5.7.1 not authorized"),
    (CommandStage::Rcpt, "554 5.7.8 Error: authentication failed: UGFzc3dvcmQ6"),
    (CommandStage::Rcpt, "550 5.7.8 Bad credentials"),
    (CommandStage::Rcpt, "550 Bad username or password"),
    (CommandStage::Rcpt, "550 5.7.0 Login required"),
    (CommandStage::Rcpt, "550 Please login first"),
    (CommandStage::Rcpt, "550 Login first"),
    (CommandStage::Rcpt, "550 5.7.1 Sorry, you must log in before sending"),
    (CommandStage::Rcpt, "554 5.7.1 The sender must be logged in"),
    (CommandStage::Rcpt, "550 TLS is mandatory here"),
    (CommandStage::Rcpt, "550 TLS connection required"),
    (CommandStage::Rcpt, "550 5.7.0 TLS negotiation required"),
    (CommandStage::Rcpt, "550 5.7.1 STARTTLS needed"),
    (CommandStage::Rcpt, "554 5.7.0 Encryption is mandatory"),
    (CommandStage::Rcpt, "550 Unencrypted connections are not allowed"),
    (CommandStage::Rcpt, "550 Plaintext sessions are refused, use STARTTLS"),
    (CommandStage::Rcpt, "530 5.7.0 Must use TLS"),
    (CommandStage::Rcpt, "550 5.7.0 Issue STARTTLS first"),
    (CommandStage::Mail, "554 5.7.1 Client access denied"),
    (CommandStage::Rcpt, "550 5.7.1 IP address not allowed"),
    (CommandStage::Rcpt, "550 IP not allowed"),
    (CommandStage::Rcpt, "550 5.7.1 Client IP 192.0.2.7 is not allowed"),
    (CommandStage::Rcpt, "550 5.7.1 Your IP address has not been registered"),
    (CommandStage::Rcpt, "550 Access denied for 192.0.2.7"),
    (CommandStage::Rcpt, "550 Your server is not in our whitelist"),
    (CommandStage::Rcpt, "550 Host is not whitelisted"),
    (CommandStage::Rcpt, "550 Sending host not permitted"),
    (CommandStage::Rcpt, "550 5.7.1 Host 192.0.2.7 is not permitted"),
    (CommandStage::Rcpt, "550 5.7.1 connector does not accept mail from this IP"),
    (
        CommandStage::Rcpt,
        "550 5.7.51 TenantInboundAttribution; There is a partner connector configured that matched the message's recipient domain. The connector had either the RestrictDomainsToIPAddresses or RestrictDomainsToCertificate set",
    ),
    (CommandStage::Rcpt, "550 5.7.501 Service unavailable. Spam abuse detected from IP range"),
    (
        CommandStage::Rcpt,
        "550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains",
    ),
    (CommandStage::Mail, "503 5.5.1 Hello first"),
    (CommandStage::Mail, "503 5.5.4 Error: send AUTH command first"),
    (CommandStage::Mail, "502 5.7.0 Please authenticate first"),
    (CommandStage::Mail, "550 5.7.0 authorization required"),
    (CommandStage::Rcpt, "503 sender not yet given"),
    (CommandStage::Rcpt, "503 5.5.0 No MAIL FROM"),
    (CommandStage::Mail, "503 5.0.0 need HELO"),
    (CommandStage::Mail, "550 5.7.1 This IP is not authorised to send mail through this relay"),
    (CommandStage::Mail, "550 Your account is over its sending limit"),
    (CommandStage::Dot, "550 Your account has exceeded its monthly limit"),
    (CommandStage::Dot, "554 5.7.1 Sending disabled"),
    (CommandStage::Dot, "550 5.7.1 Account not enabled for sending"),
    (CommandStage::Mail, "550 account not active"),
];

/// Said by such a host of a recipient, of the sender or of the message.
const OF_THE_MAIL: [(CommandStage, &str); 104] = [
    (CommandStage::Dot, "500 Line too long"),
    (CommandStage::Rcpt, "500 Error: bad syntax"),
    (CommandStage::Rcpt, "550 5.7.1 You have exceeded the quota of this mailbox"),
    (CommandStage::Rcpt, "551 User not local; please try forwarding to <z@y.example>"),
    (CommandStage::Dot, "554 5.7.1 Your message has a license key that has expired"),
    (CommandStage::Dot, "550 5.7.1 Delivery not authorized, message refused"),
    (CommandStage::Rcpt, "550 5.1.1 User unknown"),
    (
        CommandStage::Rcpt,
        "550 5.1.1 <x@y.example>: Recipient address rejected: User unknown in local recipient table",
    ),
    (CommandStage::Rcpt, "550 No such user here"),
    (CommandStage::Rcpt, "550 5.7.1 spam message rejected"),
    (CommandStage::Dot, "550 5.7.1 spam message rejected"),
    (CommandStage::Dot, "550 SPF fail for sender domain"),
    (CommandStage::Mail, "550 SPF fail for sender domain"),
    (CommandStage::Mail, "550 5.7.23 SPF validation failed"),
    (CommandStage::Mail, "553 5.1.8 <a@b.example>... Domain of sender address does not exist"),
    (CommandStage::Mail, "550 5.1.0 Sender rejected"),
    (CommandStage::Mail, "550 Sender verify failed"),
    (CommandStage::Mail, "550 Unroutable sender address"),
    (CommandStage::Mail, "553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)"),
    (CommandStage::Mail, "501 5.1.7 Bad sender address syntax"),
    (CommandStage::Mail, "501 Syntax error in parameters or arguments"),
    (CommandStage::Mail, "552 5.3.4 Message size exceeds fixed limit"),
    (CommandStage::Mail, "552 Message too large"),
    (CommandStage::Mail, "550 5.7.1 <a@b.example>: Sender address rejected: Access denied"),
    (CommandStage::Mail, "554 5.7.1 <a@b.example>: Sender address rejected: blocked by policy"),
    (CommandStage::Mail, "555 5.5.4 Unsupported option: SMTPUTF8"),
    (CommandStage::Rcpt, "550 5.1.1 <relay@y.example>: no such user"),
    (CommandStage::Rcpt, "550 5.1.1 auth@y.example does not exist"),
    (CommandStage::Rcpt, "550 5.2.1 The account is disabled; authentication is required"),
    (CommandStage::Rcpt, "550 5.4.1 Recipient address rejected: Access denied"),
    (CommandStage::Rcpt, "554 5.7.1 <x@y.example>: Recipient address rejected: Access denied"),
    (CommandStage::Rcpt, "550 5.7.133 Sender not authenticated for group"),
    (CommandStage::Rcpt, "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required"),
    (CommandStage::Rcpt, "550 5.7.1 RESOLVER.RST.NotAuthorized; not authorized"),
    (CommandStage::Rcpt, "550 You are not allowed to send to this list"),
    (CommandStage::Rcpt, "550 5.7.1 Only members may post to this list"),
    (CommandStage::Rcpt, "550 5.7.1 Message rejected by recipient policy"),
    (CommandStage::Rcpt, "550 You have been blocked by the recipient"),
    (CommandStage::Rcpt, "550 5.2.2 Mailbox full"),
    (CommandStage::Rcpt, "550 5.2.2 quota exceeded"),
    (CommandStage::Rcpt, "550 Domain not found"),
    (CommandStage::Rcpt, "550 Unrouteable address"),
    (CommandStage::Rcpt, "556 5.1.10 Recipient address has a null MX"),
    (CommandStage::Dot, "554 5.7.1 Message rejected: Email address is not verified"),
    (
        CommandStage::Dot,
        "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: a@b.example",
    ),
    (
        CommandStage::Dot,
        "552 5.7.0 This message was blocked because its content presents a potential security issue",
    ),
    (
        CommandStage::Dot,
        "550 5.7.26 This mail is unauthenticated: senders must authenticate with SPF or DKIM",
    ),
    (CommandStage::Dot, "554 5.7.5 Message rejected by the DMARC policy of b.example"),
    (CommandStage::Dot, "550 5.7.1 Message not authenticated (no DKIM signature)"),
    (CommandStage::Dot, "554 5.7.1 Message contains a virus"),
    (CommandStage::Dot, "554 5.7.1 Message contains a URL that is listed in dbl.spamhaus.org"),
    (CommandStage::Dot, "550 5.6.0 Lone CR or LF in header"),
    (CommandStage::Dot, "554 5.6.0 Message refused"),
    (CommandStage::Dot, "554 5.7.1 Message refused"),
    (CommandStage::Dot, "550 5.7.1 Rejected by content filter"),
    (CommandStage::Dot, "550 Blocked"),
    (CommandStage::Dot, "554 Transaction failed"),
    (CommandStage::Data, "554 5.6.0 not that"),
    (CommandStage::Rcpt, "550 5.7.1 Rejected"),
    (CommandStage::Rcpt, "550 5.7.1 Access denied"),
    (CommandStage::Rcpt, "550 Denied by policy"),
    (CommandStage::Dot, "554 5.4.6 Too many hops"),
    (CommandStage::Dot, "550 5.7.1 The link in your message leads to a blacklisted host"),
    (CommandStage::Dot, "550 5.7.1 Message looks like a relayed spam"),
    (CommandStage::Rcpt, "550 5.1.2 relay.example is no mail domain"),
    (CommandStage::Rcpt, "551 Try <z@y.example>"),
    (CommandStage::Rcpt, "550 5.7.1 recipient requires a TLS-encrypted message (S/MIME)"),
    (CommandStage::Dot, "554 5.2.252 SendAsDenied; a@b.example not allowed to send as c@d.example"),
    (CommandStage::Rcpt, "550 5.1.1 x@relay.example unknown"),
    (CommandStage::Rcpt, "550 no such user on this relay"),
    (CommandStage::Rcpt, "550 x@y.example: user unknown"),
    (CommandStage::Rcpt, "550 5.7.1 Sender x blocked by recipient"),
    (CommandStage::Rcpt, "554 5.7.1 Message blocked by your recipient's policy"),
    (CommandStage::Rcpt, "550 5.7.1 message rejected: bulk mail not accepted"),
    (CommandStage::Dot, "550 5.7.1 Message contains forbidden attachment"),
    (CommandStage::Dot, "550 5.7.1 Mail rejected: HTML not accepted"),
    (CommandStage::Dot, "554 5.7.1 [P4] Message blocked due to spam content in the message."),
    (CommandStage::Dot, "554 5.7.0 Your message was considered unsolicited"),
    (CommandStage::Dot, "550 5.7.1 Your email was not accepted because of DMARC"),
    (CommandStage::Dot, "550 rejected by DKIM policy"),
    (CommandStage::Dot, "550 5.7.0 Message size exceeds limit"),
    (CommandStage::Mail, "550 5.7.1 sender domain is blocked"),
    (CommandStage::Mail, "550 5.1.8 sender domain has no MX"),
    (CommandStage::Mail, "550 Invalid sender"),
    (CommandStage::Mail, "553 5.5.4 <a>... Domain name required for sender address a"),
    (CommandStage::Mail, "550 5.7.1 Sender address not allowed"),
    (CommandStage::Mail, "550 5.7.1 Sender blocked"),
    (CommandStage::Mail, "550 sender denied"),
    (CommandStage::Mail, "550 5.7.1 Sender is on our blacklist"),
    (CommandStage::Mail, "554 5.7.1 bad sender address"),
    (CommandStage::Mail, "550 5.4.4 domain of sender does not resolve"),
    (CommandStage::Rcpt, "550 mailbox not found"),
    (CommandStage::Rcpt, "550 5.7.1 Recipient not allowed"),
    (CommandStage::Rcpt, "550 5.7.1 Recipient rejected"),
    (CommandStage::Rcpt, "550 recipient not permitted"),
    (CommandStage::Rcpt, "550 5.7.1 you are not allowed to send mail to this address"),
    (CommandStage::Rcpt, "550 5.7.1 You are not authorized to send to this recipient"),
    (CommandStage::Rcpt, "550 5.7.1 permission denied to mail this group"),
    (CommandStage::Rcpt, "550 5.7.1 Delivery not authorized, message refused"),
    (CommandStage::Rcpt, "550 5.7.1 This user does not accept mail from your domain"),
    (CommandStage::Rcpt, "550 The recipient does not accept mail from you"),
    (CommandStage::Dot, "550 5.7.1 Message refused because a link in it is not permitted"),
    (CommandStage::Rcpt, "550 5.7.1 this address may only be used by authenticated members"),
    (CommandStage::Rcpt, "550 5.7.606 no"),
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
    let lines = [
        (CommandStage::Mail, "500 5.5.1 unrecognized command"),
        (CommandStage::Rcpt, "500 5.5.1 unrecognized command"),
    ];
    assert_eq!(odd(false, (true, "d"), &lines), Vec::<String>::new());
}
