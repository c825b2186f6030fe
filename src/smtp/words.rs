//! Everything the server side says besides greeting, EHLO, the 250 after the dot and refusals of `policy`. Each has its enhanced code
//! (RFC 2034, RFC 3463), whose class matches the reply's.
#![allow(missing_docs, reason = "the text is the documentation")]

use crate::limits;

pub const OK: &str = "250 2.0.0 Ok\r\n";
pub const SENDER_OK: &str = "250 2.1.0 Ok\r\n";
pub const RECIPIENT_OK: &str = "250 2.1.5 Ok\r\n";
pub const GO_AHEAD: &str = "354 End data with <CR><LF>.<CR><LF>\r\n";
pub const BYE: &str = "221 2.0.0 Bye\r\n";
pub const READY_FOR_TLS: &str = "220 2.0.0 Ready to start TLS\r\n";
pub const VRFY: &str = "252 2.5.0 Cannot verify, send some mail and see\r\n";
pub const HELP: &str = "214 2.0.0 See RFC 5321\r\n";
pub const AUTH_OK: &str = "235 2.7.0 Authentication successful\r\n";
pub const AUTH_CONTINUE: &str = "334 \r\n";
/// `Username:` in base64, as every client of AUTH LOGIN expects it.
pub const AUTH_USERNAME: &str = "334 VXNlcm5hbWU6\r\n";
/// `Password:`
pub const AUTH_PASSWORD: &str = "334 UGFzc3dvcmQ6\r\n";
pub const AUTH_FAILED: &str = "535 5.7.8 Authentication credentials invalid\r\n";
/// RFC 5802 section 6.
pub const AUTH_DOWNGRADED: &str =
    "535 5.7.8 SCRAM-SHA-256-PLUS is offered here, and somebody on the way hid it from you\r\n";
pub const AUTH_OTHER_CHANNEL: &str = "535 5.7.8 The login is not bound to this connection\r\n";
pub const AUTH_UNAVAILABLE: &str = "454 4.7.0 Temporary authentication failure\r\n";
pub const AUTH_CANCELLED: &str = "501 5.7.0 Authentication cancelled\r\n";
pub const AUTH_MALFORMED: &str = "501 5.5.2 Cannot decode the response\r\n";
pub const AUTH_MECHANISM: &str = "504 5.5.4 Unrecognized authentication type\r\n";
pub const AUTH_NEEDS_TLS: &str = "538 5.7.11 Encryption required for this authentication mechanism\r\n";
pub const NOT_OFFERED: &str = "502 5.5.1 Command not implemented\r\n";
pub const BAD_SEQUENCE: &str = "503 5.5.1 Bad sequence of commands\r\n";
pub const NEED_HELLO: &str = "503 5.5.1 Send EHLO first\r\n";
pub const NEED_MAIL: &str = "503 5.5.1 Need MAIL command\r\n";
pub const NEED_RCPT: &str = "503 5.5.1 Need RCPT command\r\n";
pub const PUT_OFF: &str = "451 4.7.1 No recipient was taken yet, try again later\r\n";
pub const NO_VALID_RECIPIENTS: &str = "554 5.5.1 No valid recipients\r\n";
pub const BDAT_FAILED: &str = "503 5.5.1 Bad sequence of commands: the message failed, send RSET\r\n";
pub const BDAT_MIXED: &str = "503 5.5.1 Bad sequence of commands: this message comes by BDAT\r\n";
pub const BDAT_ENDLESS: &str = "552 5.3.4 Message size exceeds fixed limit by far, closing\r\n";
/// RFC 3030 section 3. No hop takes binary text from here, and so all of it is made text.
pub fn not_text(why: &str) -> String {
    format!("554 5.6.3 The binary message cannot be converted: {why}\r\n")
}
pub const ENOUGH_MESSAGES: &str = "421 4.3.2 Enough messages for one connection, connect again\r\n";
pub const NESTED_MAIL: &str = "503 5.5.1 Nested MAIL command\r\n";
pub const RELAY_DENIED: &str = "550 5.7.1 Relay access denied\r\n";
pub const TOO_MANY_RECIPIENTS: &str = "452 4.5.3 Too many recipients\r\n";
pub const TOO_LARGE: &str = "552 5.3.4 Message size exceeds fixed limit\r\n";
pub const HOLD_DENIED: &str = "550 5.7.1 Mail is held only for clients that may relay: authenticate\r\n";
pub const REQUIRETLS_NEEDS_TLS: &str =
    "530 5.7.10 REQUIRETLS is for sessions under TLS: say STARTTLS first\r\n";
pub const HELD_TOO_LONG: &str = "550 5.7.1 Mail is held for 366 days at most; ask for an earlier time\r\n";
pub const HEADER_TOO_LARGE: &str = "552 5.3.4 Header section too large to process\r\n";
pub const LINE_TOO_LONG: &str = "500 5.5.2 Line too long\r\n";
pub const NO_SPACE: &str = "452 4.3.1 Insufficient system storage\r\n";
pub const QUEUE_FULL: &str = "452 4.3.1 Queue is full, try again later\r\n";
pub const NO_JOURNAL: &str = "452 4.3.1 The journal of events cannot be written, try again later\r\n";
/// RFC 3207 section 4.
pub const TLS_PUT_OFF: &str = "454 4.7.0 TLS not available due to temporary reason\r\n";
pub const NO_MEMORY: &str = "452 4.3.1 Insufficient memory, try again later\r\n";
pub const FOREIGN_SENDER: &str = "550 5.7.1 This account may not send as this address\r\n";
pub const FOREIGN_TENANT: &str = "550 5.7.1 This token may send mail of its own tenant alone\r\n";
pub const SUPPRESSED: &str = "550 5.7.1 No mail goes to this address: it is on the suppression list\r\n";
pub const ALL_SUPPRESSED: &str =
    "550 5.7.1 No mail goes to these recipients: they are on the suppression list\r\n";
pub const NOT_SIGNED: &str = "451 4.3.0 The message could not be signed, try again later\r\n";
pub const NOT_STORED: &str = "451 4.3.0 The message could not be stored, try again later\r\n";
pub const SHUTTING_DOWN: &str = "421 4.3.2 Shutting down\r\n";
pub const CONNECT_AGAIN: &str = "421 4.3.2 The relay was configured anew, connect again\r\n";
pub const TIMED_OUT: &str = "421 4.4.2 Timeout\r\n";
pub const NO_MESSAGE: &str = "421 4.4.2 Timeout: no message for too long\r\n";
pub const TOO_MANY_COMMANDS: &str = "421 4.7.0 Too many commands without a message\r\n";
pub const ENDLESS_LINE: &str = "421 4.7.0 Line without an end\r\n";
pub const SESSION_OVER: &str = "421 4.3.2 The session has lasted long enough, connect again\r\n";
pub const NOTHING_TAKEN: &str = "421 4.3.2 No mail could be taken for a while, try again later\r\n";
pub const TOO_MANY_OF_ACCOUNT: &str = "421 4.7.0 Too many connections of this account\r\n";
pub const FOREIGN_RECIPIENT: &str = "550 5.7.1 This account may not send to this address\r\n";
pub const TOO_MANY_LOGINS: &str = "421 4.3.2 Too many logins wait for their answer, try again later\r\n";
/// Nobody named its balancer in `proxy_from`.
pub const PROXY_DENIED: &str = "421 4.5.0 No PROXY header is taken from your address\r\n";
pub const NO_PROXY_HEADER: &str =
    "421 4.4.2 Timeout: no PROXY header came, which is due from your address\r\n";
pub const NO_CLIENT: &str = "550 5.7.1 No mail is taken from a proxy that does not say whose it is\r\n";
/// Nobody named this client in `xclient_from`.
pub const XCLIENT_DENIED: &str = "550 5.7.0 XCLIENT is not taken from your address\r\n";
pub const XCLIENT_IN_TRANSACTION: &str = "503 5.5.1 Bad sequence of commands: a transaction is open\r\n";
pub const XCLIENT_MALFORMED: &str =
    "501 5.5.4 Syntax: XCLIENT attribute=value, each once, the value in xtext\r\n";
pub const XCLIENT_LOGIN: &str = "550 5.7.8 No account of this name logs in from that address\r\n";
pub const AUTH_REQUIRED: &str = "530 5.7.0 Authentication required\r\n";
/// RFC 3207 section 4.
pub const STARTTLS_REQUIRED: &str = "530 5.7.0 Must issue a STARTTLS command first\r\n";
pub const NOT_HTTP: &str = "421 4.7.0 This is not an HTTP server\r\n";
pub const TOO_MANY_ERRORS: &str = "421 4.7.0 Too many errors\r\n";
pub const MERGE_DENIED: &str = "550 5.7.1 Merges are taken from clients that may relay: authenticate\r\n";
pub const NO_MERGE: &str =
    "503 5.5.1 Bad sequence of commands: XDFN and XPRT are for a transaction that XMRG begins\r\n";
pub const MERGE_MIXED: &str = "503 5.5.1 Bad sequence of commands: a merge comes by XPRT\r\n";
/// To RCPT behind an XDFN that was refused.
pub const MERGE_SPOILED: &str = "503 5.5.1 Bad sequence of commands: an XDFN before it was refused, so it would get less than it should; define all of it anew\r\n";
pub const MERGE_TWICE: &str = "503 5.5.1 Bad sequence of commands: this part came already\r\n";
pub const MERGE_ENDLESS: &str = "421 4.7.0 Too many XDFN commands for one merge\r\n";
pub const MERGE_VALUES_FULL: &str =
    "452 4.5.3 Too many values for one merge: end this one with XPRT, and begin another\r\n";
/// Lines were refused that were not to be acknowledged.
pub fn merge_unsaid(lines: u32, first: &str) -> String {
    format!(
        "554 5.5.0 Nothing is sent, as {lines} lines of this merge were refused, the first with: {}; say XACK ON to hear which\r\n",
        cut(first)
    )
}
pub fn merge_too_large(most: usize) -> String {
    format!("552 5.3.4 The parts of a merge may have {most} bytes together\r\n")
}
pub fn merge_lacks(part: u8) -> String {
    format!("554 5.5.0 Nothing is sent: part {part}, which a recipient is to get, did not come\r\n")
}
pub fn merge_taken(messages: usize) -> String {
    format!("250 2.0.0 Ok: {messages} messages queued\r\n")
}
/// Others of the same merge are taken, and are not to be sent again.
pub fn merge_refused((refused, all): (usize, usize), first: &str) -> String {
    format!(
        "554 5.6.0 {refused} of {all} messages were refused, the first with: {}; the others are queued, send none of them again\r\n",
        cut(first)
    )
}
pub fn merge_stopped((taken, all): (usize, usize), why: &str) -> String {
    format!(
        "451 4.3.0 {taken} of {all} messages are queued, those of the first recipients or nearly; the others are not: {}\r\n",
        cut(why)
    )
}
/// A reply within another one, whose line has its bound.
fn cut(reply: &str) -> &str {
    let reply = reply.trim_end();
    reply.char_indices().nth(limits::MERGE_REPLY_SHOWN).map_or(reply, |(at, _)| &reply[..at])
}
