//! How a sink misbehaves.

use std::str::FromStr;
use std::time::Duration;

use crate::random::Random;

/// A point of a session at which something can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// Before the 220.
    Connect,
    /// EHLO and HELO.
    Hello,
    /// MAIL.
    Mail,
    /// RCPT, each one.
    Rcpt,
    /// DATA, instead of the 354.
    Data,
    /// At the first bytes of a body.
    Body,
    /// After the final dot: the message is not taken.
    Dot,
    /// After the message was taken, before its 250 is sent: the client cannot know.
    Reply,
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Point, String> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "connect" => Point::Connect,
            "hello" | "ehlo" | "helo" => Point::Hello,
            "mail" => Point::Mail,
            "rcpt" => Point::Rcpt,
            "data" => Point::Data,
            "body" => Point::Body,
            "dot" => Point::Dot,
            "reply" => Point::Reply,
            _ => {
                return Err(format!(
                    "`{text}` is no point of a session: connect, hello, mail, rcpt, data, body, dot or reply"
                ));
            }
        })
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A 4xx reply (421 with disconnect before the 220). Not possible at [`Point::Body`] and [`Point::Reply`].
    TempFail,
    /// A 5xx reply. Not possible at [`Point::Body`] and [`Point::Reply`].
    Reject,
    /// The connection is closed without a word.
    Disconnect,
    /// At [`Point::Dot`]: 250, but the message is forgotten. A test of the verdict: it must say "lost".
    Hide,
    /// At [`Point::Dot`]: 250, but counted twice. The verdict must say "duplicated".
    Repeat,
    /// At [`Point::Dot`]: 250, but the body is altered. The verdict must say "corrupted".
    Alter,
}

/// One thing that goes wrong at one point with some probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Where.
    pub point: Point,
    /// What.
    pub action: Action,
    /// How often, 0 to 1.
    pub probability: f64,
}

/// Everything a sink does but taking mail. The default takes all of it at once.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Behaviour {
    /// Drawn in this order; the first that hits is what happens.
    pub rules: Vec<Rule>,
    /// How long the reply to the final dot takes.
    pub delay: Duration,
}

impl Behaviour {
    /// Adds a rule.
    pub fn with(mut self, point: Point, action: Action, probability: f64) -> Behaviour {
        self.rules.push(Rule { point, action, probability });
        self
    }

    /// Sets the delay.
    pub fn delayed(mut self, delay: Duration) -> Behaviour {
        self.delay = delay;
        self
    }

    /// What goes wrong at this point, this time.
    pub(super) fn draw(&self, point: Point, random: &mut Random) -> Option<Action> {
        self.rules
            .iter()
            .find(|rule| rule.point == point && random.chance(rule.probability))
            .map(|rule| rule.action)
    }
}
