//! How long each step of a session with a next hop may take.

use std::time::Duration;

use crate::limits;

/// How long this relay waits for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The connection.
    pub connect: Duration,
    /// The greeting.
    pub greeting: Duration,
    /// The answer to EHLO, HELO or LHLO.
    pub hello: Duration,
    /// Each answer from STARTTLS to the EHLO under TLS.
    pub starttls: Duration,
    /// Each answer of a login.
    pub auth: Duration,
    /// The answer to MAIL.
    pub mail: Duration,
    /// The answer to RCPT.
    pub rcpt: Duration,
    /// The answer to DATA.
    pub data: Duration,
    /// The answer to the end of a message.
    pub dot: Duration,
    /// The answer to RSET.
    pub reset: Duration,
    /// The next message.
    pub idle: Duration,
}

impl Default for Timeouts {
    /// As RFC 5321 has them.
    fn default() -> Timeouts {
        Timeouts {
            connect: limits::client::CONNECT,
            greeting: limits::client::GREETING,
            hello: limits::client::HELLO,
            starttls: limits::client::STARTTLS,
            auth: limits::client::AUTH,
            mail: limits::client::MAIL,
            rcpt: limits::client::RCPT,
            data: limits::client::DATA,
            dot: limits::client::DOT,
            reset: limits::client::HELLO,
            idle: limits::client::IDLE,
        }
    }
}
