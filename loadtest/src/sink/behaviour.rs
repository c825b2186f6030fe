//! How a site behaves, well or badly, and how that is written.

use std::str::FromStr;
use std::time::Duration;

use super::replies::Texts;
use crate::random::Random;
use crate::unfit::Unfit;
use crate::units::{self, Spread};

/// A point of a session at which something can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// Before the 220.
    Connect,
    /// EHLO and HELO.
    Hello,
    /// STARTTLS.
    StartTls,
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

const POINTS: [(&str, Point); 9] = [
    ("connect", Point::Connect),
    ("ehlo", Point::Hello),
    ("starttls", Point::StartTls),
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
    /// A reply with this code, 300 to 599. After 421 and at [`Point::Connect`] the connection is closed; at [`Point::Body`] as well, in the
    /// middle of the body. Not possible at [`Point::Reply`], where no reply is due.
    Refuse(u16),
    /// No reply, ever.
    Mute,
    /// At [`Point::Data`]: 354 and a 250 at once behind it; the message is refused with 550 when its dot comes.
    Early,
    /// At [`Point::Dot`]: the 250 comes twice.
    Twice,
    /// At [`Point::StartTls`]: the handshake is made, then the connection is closed.
    Drop,
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

/// TLS at a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Not offered.
    #[default]
    None,
    /// STARTTLS is offered (RFC 3207).
    Offered,
    /// MAIL is refused without it.
    Required,
    /// From the first byte.
    Implicit,
}

/// Everything a site does but taking mail. The default takes all of it at once, from everybody, in plain text.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Behaviour {
    /// Drawn in this order; the first that hits is what happens.
    pub rules: Vec<Rule>,
    /// How long the reply to the final dot takes.
    pub delay: Spread,
    /// How long replies at other points take; before the greeting at [`Point::Connect`].
    pub delays: Vec<(Point, Spread)>,
    /// How long every reply takes besides.
    pub tarpit: Spread,
    /// A new triplet of client, sender and recipient is answered 450 until so much later (RFC 6647).
    pub greylist: Option<Duration>,
    /// Messages a second taken from one client address.
    pub rate: Option<f64>,
    /// Connections one client address may have.
    pub connections: Option<u32>,
    /// Recipients of a transaction.
    pub recipients: Option<u32>,
    /// Messages of a connection.
    pub messages: Option<u32>,
    /// Bytes of a message.
    pub size: Option<u64>,
    /// In whose words it refuses.
    pub texts: Texts,
    /// Whether and how it speaks TLS.
    pub security: Security,
    /// `user:password` it asks for before MAIL.
    pub account: Option<String>,
    /// Extensions it does not offer.
    pub without_pipelining: bool,
    /// See above.
    pub without_chunking: bool,
}

impl Behaviour {
    /// Adds a rule.
    pub fn with(mut self, point: Point, action: Action, probability: f64) -> Behaviour {
        self.rules.push(Rule { point, action, probability });
        self
    }

    /// Sets the delay.
    pub fn delayed(mut self, delay: Duration) -> Behaviour {
        self.delay = if delay.is_zero() { Spread::None } else { Spread::Fixed(delay) };
        self
    }

    /// Messages a second that it takes of one client, by its rate, and by its connections and how long each message takes; None: any number.
    pub fn capacity(&self) -> Option<f64> {
        let each = self.delay.mean() + self.tarpit.mean() * 4.0;
        let most = f64::from(self.connections.unwrap_or(u32::MAX));
        let by_connections = (self.connections.is_some() && each > 0.0).then(|| most / each);
        [self.rate, by_connections].into_iter().flatten().reduce(f64::min)
    }

    /// What goes wrong at this point, this time.
    pub(super) fn draw(&self, point: Point, random: &mut Random) -> Option<Action> {
        self.rules
            .iter()
            .find(|rule| rule.point == point && random.chance(rule.probability))
            .map(|rule| rule.action)
    }

    /// How long the reply at this point takes, nanoseconds.
    pub(super) fn pause(&self, point: Point, random: &mut Random) -> u64 {
        let mut pause = self.tarpit.draw(random);
        if point == Point::Dot {
            pause += self.delay.draw(random);
        }
        let own = self.delays.iter().filter(|(at, _)| *at == point);
        pause + own.map(|(_, delay)| delay.draw(random)).sum::<u64>()
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
        let number = |least: u32| match value.parse::<u32>() {
            Ok(number) if number >= least => Ok(number),
            _ => Err(Unfit::new(format!("`{value}` is no number from {least} on"))),
        };
        match name {
            "delay" => self.delay = value.parse()?,
            "tarpit" => self.tarpit = value.parse()?,
            "greylist" => self.greylist = Some(units::time(value)?),
            "rate" => {
                let rate = value.trim_end_matches("/s").parse::<f64>();
                let rate = rate.ok().filter(|rate| rate.is_finite() && *rate > 0.0);
                self.rate = Some(
                    rate.ok_or_else(|| Unfit::new(format!("`{value}` is no number of messages a second")))?,
                );
            }
            "connections" => self.connections = Some(number(1)?),
            "rcpts" => self.recipients = Some(number(1)?),
            "messages" => self.messages = Some(number(1)?),
            "size" => self.size = Some(u64::from(number(1)?)),
            "texts" => self.texts = value.parse()?,
            "auth" if value.contains(':') => self.account = Some(value.to_owned()),
            "auth" => return Err(Unfit::new("write `auth=USER:PASSWORD`")),
            "tls" => {
                self.security = match value {
                    "none" => Security::None,
                    "offered" => Security::Offered,
                    "required" => Security::Required,
                    "implicit" => Security::Implicit,
                    _ => {
                        return Err(Unfit::new(format!(
                            "tls is none, offered, required or implicit, not `{value}`"
                        )));
                    }
                }
            }
            _ => match name.strip_prefix("delay.") {
                Some(at) => self.delays.push((point(at)?, value.parse()?)),
                None => self.rules.push(rule(name, value)?),
            },
        }
        Ok(())
    }
}

impl FromStr for Behaviour {
    type Err = Unfit;

    /// `accept`, or items separated by commas, as in `rcpt=450@0.1,reply=disconnect@0.01,delay=50ms~800ms`:
    ///
    /// - `POINT=CODE`, `POINT=disconnect|mute`, `starttls=drop`, `data=early`, `dot=hide|repeat|alter|twice`, each with `@PROBABILITY` if it is not to happen always;
    /// - `delay=TIME` (of the reply to the dot), `delay.POINT=TIME`, `tarpit=TIME` (of every reply): a time, a range
    ///   `10ms..50ms` or `MEDIAN~P99`;
    /// - `greylist=TIME`, `rate=MESSAGES/s` and `connections=N` of a client address, `rcpts=N` of a transaction,
    ///   `messages=N` of a connection, `size=BYTES`, in the words of `texts=plain|gmail|yahoo|outlook|icloud`;
    /// - `tls=none|offered|required|implicit`, `auth=USER:PASSWORD`, `no-pipelining`, `no-chunking`.
    fn from_str(text: &str) -> Result<Behaviour, Unfit> {
        let mut behaviour = Behaviour::default();
        for item in text.split(',').map(str::trim).filter(|item| !matches!(*item, "" | "accept")) {
            match (item, item.split_once('=')) {
                ("no-pipelining", _) => behaviour.without_pipelining = true,
                ("no-chunking", _) => behaviour.without_chunking = true,
                (_, Some((name, value))) => behaviour.set(name.trim(), value.trim())?,
                _ => {
                    return Err(Unfit::new(format!(
                        "`{item}` is no behaviour: `accept`, `POINT=ACTION@PROBABILITY`, `delay=TIME`, ..."
                    )));
                }
            }
        }
        Ok(behaviour)
    }
}

fn point(name: &str) -> Result<Point, Unfit> {
    let found = POINTS.iter().find(|(other, _)| *other == name);
    found.map(|(_, point)| *point).ok_or_else(|| {
        let names: Vec<_> = POINTS.iter().map(|(name, _)| *name).collect();
        Unfit::new(format!("`{name}` is no point of a session: {}", names.join(", ")))
    })
}

fn rule(name: &str, value: &str) -> Result<Rule, Unfit> {
    let point = point(name)?;
    let (action, probability) = value.split_once('@').unwrap_or((value, "1"));
    let probability = match probability.parse() {
        Ok(probability) if (0.0..=1.0).contains(&probability) => probability,
        _ => return Err(Unfit::new(format!("`{probability}` is no probability from 0 to 1"))),
    };
    let action = match (point, action, action.parse::<u16>()) {
        (_, "disconnect", _) => Action::Disconnect,
        (Point::Reply, action, _) if action != "disconnect" => {
            return Err(Unfit::new(format!("at `{name}` a sink can only disconnect")));
        }
        (_, "mute", _) => Action::Mute,
        (Point::StartTls, "drop", _) => Action::Drop,
        (Point::Data, "early", _) => Action::Early,
        (Point::Dot, "twice", _) => Action::Twice,
        (Point::Dot, "hide", _) => Action::Hide,
        (Point::Dot, "repeat", _) => Action::Repeat,
        (Point::Dot, "alter", _) => Action::Alter,
        (_, _, Ok(code @ 300..=599)) => Action::Refuse(code),
        _ => {
            return Err(Unfit::new(format!(
                "`{action}` is neither a code from 300 to 599 nor `disconnect` or `mute`"
            )));
        }
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
        let all: Behaviour =
            "tarpit=1ms..2ms,delay.rcpt=5ms,greylist=3s,rate=20/s,connections=5,rcpts=100,messages=50,\
             size=1000,texts=gmail,tls=required,auth=joe:x,no-pipelining,no-chunking"
                .parse()
                .unwrap();
        assert_eq!((all.rate, all.connections, all.recipients), (Some(20.0), Some(5), Some(100)));
        assert_eq!((all.texts, all.security), (Texts::Gmail, Security::Required));
        assert!(
            all.without_pipelining && all.without_chunking && all.greylist == Some(Duration::from_secs(3))
        );
        let mut random = Random::new(1);
        assert!((6_000_000..=7_000_000).contains(&all.pause(Point::Rcpt, &mut random)));
        for text in [
            "rcpt",
            "x=450",
            "rcpt=200",
            "rcpt=hide",
            "rcpt=450@2",
            "reply=450",
            "delay=soon",
            "rcpt=450@nan",
            "rate=0",
            "connections=0",
            "tls=yes",
            "auth=x",
            "texts=x",
            "delay.x=1s",
            "greylist=x",
        ] {
            assert!(text.parse::<Behaviour>().is_err(), "{text}");
        }
    }
}
