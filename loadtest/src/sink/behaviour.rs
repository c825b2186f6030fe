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

const POINTS: [(&str, Point); 8] = [
    ("connect", Point::Connect),
    ("ehlo", Point::Hello),
    ("mail", Point::Mail),
    ("rcpt", Point::Rcpt),
    ("data", Point::Data),
    ("body", Point::Body),
    ("dot", Point::Dot),
    ("reply", Point::Reply),
];

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A reply with this code, 400 to 599. After 421 and at [`Point::Connect`] the connection is closed. Not possible
    /// at [`Point::Body`] and [`Point::Reply`], where no reply is due.
    Refuse(u16),
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

impl FromStr for Behaviour {
    type Err = String;

    /// `accept`, or any of `POINT=CODE`, `POINT=disconnect`, `dot=hide|repeat|alter`, each with `@PROBABILITY` if it
    /// is not to happen always, and `delay=MILLISECONDS`, separated by commas: `rcpt=450@0.1,reply=disconnect@0.01`.
    fn from_str(text: &str) -> Result<Behaviour, String> {
        let mut behaviour = Behaviour::default();
        for item in text.split(',').map(str::trim).filter(|item| !matches!(*item, "" | "accept")) {
            let (name, value) = item.split_once('=').ok_or_else(|| {
                format!(
                    "`{item}` is neither `accept` nor `POINT=ACTION@PROBABILITY` nor `delay=MILLISECONDS`"
                )
            })?;
            if name == "delay" {
                let delay = value.trim_end_matches("ms").parse();
                let delay = delay.map_err(|_| format!("`{value}` is no number of milliseconds"))?;
                behaviour.delay = Duration::from_millis(delay);
                continue;
            }
            behaviour.rules.push(rule(name, value)?);
        }
        Ok(behaviour)
    }
}

fn rule(name: &str, value: &str) -> Result<Rule, String> {
    let Some((_, point)) = POINTS.iter().find(|(other, _)| *other == name).copied() else {
        let names: Vec<_> = POINTS.iter().map(|(name, _)| *name).collect();
        return Err(format!("`{name}` is no point of a session: {}", names.join(", ")));
    };
    let (action, probability) = value.split_once('@').unwrap_or((value, "1"));
    let probability = match probability.parse() {
        Ok(probability) if (0.0..=1.0).contains(&probability) => probability,
        _ => return Err(format!("`{probability}` is no probability from 0 to 1")),
    };
    let action = match (point, action, action.parse::<u16>()) {
        (_, "disconnect", _) => Action::Disconnect,
        (Point::Dot, "hide", _) => Action::Hide,
        (Point::Dot, "repeat", _) => Action::Repeat,
        (Point::Dot, "alter", _) => Action::Alter,
        (Point::Body | Point::Reply, ..) => return Err(format!("at `{name}` a sink can only disconnect")),
        (_, _, Ok(code @ 400..=599)) => Action::Refuse(code),
        _ => return Err(format!("`{action}` is neither a code from 400 to 599 nor `disconnect`")),
    };
    Ok(Rule { point, action, probability })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviours_are_read() {
        let wanted = Behaviour::default()
            .with(Point::Rcpt, Action::Refuse(450), 0.1)
            .with(Point::Reply, Action::Disconnect, 1.0)
            .with(Point::Dot, Action::Hide, 0.5)
            .delayed(Duration::from_millis(20));
        assert_eq!("rcpt=450@0.1, reply=disconnect,dot=hide@0.5,delay=20ms".parse(), Ok(wanted));
        assert_eq!("accept".parse(), Ok(Behaviour::default()));
        for text in [
            "rcpt",
            "x=450",
            "rcpt=200",
            "rcpt=hide",
            "rcpt=450@2",
            "reply=450",
            "delay=soon",
            "rcpt=450@nan",
        ] {
            assert!(text.parse::<Behaviour>().is_err(), "{text}");
        }
    }
}
