//! Times, rates and spreads as people write them on a command line or in a scenario.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::random::Random;
use crate::unfit::Unfit;

/// The longest time that can be written: anything above is a typing error.
const TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// `250us`, `20ms`, `30`, `30s`, `1.5s`, `5m`, `2h`. A number alone is seconds.
pub fn time(text: &str) -> Result<Duration, Unfit> {
    let text = text.trim();
    let (digits, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let factor = match unit.trim() {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(Unfit::new(format!("`{text}` is no time: `250us`, `20ms`, `30s`, `5m`, `2h`"))),
    };
    let number: f64 =
        digits.parse().map_err(|_| Unfit::new(format!("`{text}` does not begin with a number")))?;
    let time = Duration::try_from_secs_f64(number * factor).ok().filter(|time| *time <= TIME_MAX);
    time.ok_or_else(|| Unfit::new(format!("`{text}` is longer than a week")))
}

/// `4096`, `10KiB`, `1MiB`, `50MB`: bytes.
pub fn size(text: &str) -> Result<usize, Unfit> {
    let wrong = || Unfit::new(format!("`{text}` is no size: `4096`, `10KiB`, `1MiB`, `50MB`"));
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor: usize = match unit.trim() {
        "" | "B" => 1,
        "k" | "K" | "KiB" => 1 << 10,
        "kB" | "KB" => 1000,
        "M" | "MiB" => 1 << 20,
        "MB" => 1_000_000,
        "G" | "GiB" => 1 << 30,
        "GB" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    digits.parse::<usize>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

/// Writes a time the way [`time`] reads it.
pub fn time_words(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        _ if seconds < 1e-3 => format!("{:.0}us", seconds * 1e6),
        _ if seconds < 1.0 => format!("{:.0}ms", seconds * 1e3),
        _ if seconds < 120.0 => format!("{}s", (seconds * 10.0).round() / 10.0),
        _ => format!("{}m", (seconds / 6.0).round() / 10.0),
    }
}

/// How long something takes, drawn anew each time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Spread {
    /// No time at all.
    #[default]
    None,
    /// Always the same.
    Fixed(Duration),
    /// Any time between the two, all equally often: `10ms..50ms`.
    Even(Duration, Duration),
    /// Log-normal, by its median and its 99th percentile, as the round trips of the internet are: `50ms~800ms`.
    Skewed(Duration, Duration),
}

impl Spread {
    /// Draws one, nanoseconds.
    pub fn draw(&self, random: &mut Random) -> u64 {
        let nanoseconds = |time: &Duration| time.as_nanos() as f64;
        let drawn = match self {
            Spread::None => 0.0,
            Spread::Fixed(time) => nanoseconds(time),
            Spread::Even(least, most) => {
                nanoseconds(least) + random.unit() * (nanoseconds(most) - nanoseconds(least))
            }
            Spread::Skewed(median, late) => {
                // The 99th percentile of the standard normal distribution is 2.3263.
                let sigma = (nanoseconds(late) / nanoseconds(median)).ln() / 2.3263;
                nanoseconds(median) * (sigma * random.normal()).exp()
            }
        };
        (drawn as u64).min(TIME_MAX.as_nanos() as u64)
    }

    /// Its mean, seconds.
    pub fn mean(&self) -> f64 {
        match self {
            Spread::None => 0.0,
            Spread::Fixed(time) => time.as_secs_f64(),
            Spread::Even(least, most) => (least.as_secs_f64() + most.as_secs_f64()) / 2.0,
            Spread::Skewed(median, late) => {
                let sigma = (late.as_secs_f64() / median.as_secs_f64()).ln() / 2.3263;
                median.as_secs_f64() * (sigma * sigma / 2.0).exp()
            }
        }
    }

    /// Whether it never takes time.
    pub fn is_none(&self) -> bool {
        matches!(self, Spread::None)
    }
}

impl FromStr for Spread {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Spread, Unfit> {
        if let Some((least, most)) = text.split_once("..") {
            let (least, most) = (time(least)?, time(most)?);
            return if least <= most {
                Ok(Spread::Even(least, most))
            } else {
                Err(Unfit::new(format!("`{text}`: the first time is the longer one")))
            };
        }
        if let Some((median, late)) = text.split_once('~') {
            let (median, late) = (time(median)?, time(late)?);
            return if !median.is_zero() && median <= late {
                Ok(Spread::Skewed(median, late))
            } else {
                Err(Unfit::new(format!(
                    "`{text}`: write the median, then the 99th percentile, as in `50ms~800ms`"
                )))
            };
        }
        let time = time(text)?;
        Ok(if time.is_zero() { Spread::None } else { Spread::Fixed(time) })
    }
}

/// Pieces of a [`Plan`].
const PIECES_MAX: usize = 1000;

/// When the messages of an open loop are due: pieces of time, in each of which the rate is fixed or changes evenly.
/// After the last piece its end rate goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan(Vec<Piece>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    /// Start, seconds since the start of the plan, and the messages due by then.
    at: f64,
    before: f64,
    /// Messages a second at start and end.
    from: f64,
    to: f64,
    /// Seconds; infinite for the last.
    length: f64,
}

impl Piece {
    fn messages(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.length
    }
}

impl Plan {
    /// The same rate for ever. None unless it is a positive number.
    pub fn constant(rate: f64) -> Option<Plan> {
        let sound = rate.is_finite() && rate > 0.0;
        sound.then(|| Plan(vec![Piece { at: 0.0, before: 0.0, from: rate, to: rate, length: f64::INFINITY }]))
    }

    /// When message `n` (from 0) is due, nanoseconds since the start.
    pub fn due(&self, n: u64) -> u64 {
        let n = n as f64;
        let next = self.0.partition_point(|piece| piece.before <= n).max(1);
        let piece = &self.0[next - 1];
        let more = n - piece.before;
        let slope = if piece.length.is_finite() { (piece.to - piece.from) / piece.length } else { 0.0 };
        let seconds = if slope.abs() < 1e-12 {
            more / piece.from
        } else {
            // more = from t + slope/2 t^2, in the form that is exact where the rate starts at nothing.
            let root = (piece.from * piece.from + 2.0 * slope * more).max(0.0).sqrt();
            2.0 * more / (piece.from + root).max(1e-9)
        };
        ((piece.at + seconds) * 1e9) as u64
    }

    /// All rates times `factor`.
    pub fn scaled(mut self, factor: f64) -> Plan {
        for piece in &mut self.0 {
            (piece.from, piece.to, piece.before) =
                (piece.from * factor, piece.to * factor, piece.before * factor);
        }
        self
    }
}

impl FromStr for Plan {
    type Err = Unfit;

    /// `500`, `100..5000/30s` (from 100 to 5000 a second within 30 s), or several, as in `500/10s,5000/2s,500`.
    fn from_str(text: &str) -> Result<Plan, Unfit> {
        let mut pieces: Vec<Piece> = Vec::new();
        let (mut at, mut before) = (0.0, 0.0);
        for item in text.split(',') {
            if !f64::is_finite(at) || pieces.len() >= PIECES_MAX {
                return Err(Unfit::new(format!(
                    "`{text}`: only the last rate can go without a time, as in `500/10s,50`"
                )));
            }
            let (rates, length) = item.split_once('/').unwrap_or((item, ""));
            let (from, to) = rates.split_once("..").unwrap_or((rates, rates));
            let rate = |text: &str| match text.trim().parse::<f64>() {
                Ok(rate) if rate.is_finite() && (0.0..=1e9).contains(&rate) => Ok(rate),
                _ => Err(Unfit::new(format!("`{text}` is no number of messages a second"))),
            };
            let (from, to) = (rate(from)?, rate(to)?);
            let length = match length {
                "" if from == to => f64::INFINITY,
                "" => return Err(Unfit::new(format!("`{item}`: over which time? `100..5000/30s`"))),
                _ => time(length)?.as_secs_f64(),
            };
            if length <= 0.0 || (length.is_infinite() && from == 0.0) {
                return Err(Unfit::new(format!("`{item}` never ends")));
            }
            let piece = Piece { at, before, from, to, length };
            (at, before) = (at + length, before + piece.messages());
            pieces.push(piece);
        }
        match pieces.last() {
            Some(last) if last.length.is_finite() && last.to > 0.0 => {
                pieces.push(Piece { at, before, from: last.to, to: last.to, length: f64::INFINITY });
            }
            Some(last) if last.length.is_finite() => {
                return Err(Unfit::new(format!("`{text}`: the last rate goes on and cannot be 0")));
            }
            _ => {}
        }
        Ok(Plan(pieces))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, piece) in self.0.iter().enumerate() {
            write!(out, "{}{}", if at == 0 { "" } else { "," }, piece.from)?;
            if piece.to != piece.from {
                write!(out, "..{}", piece.to)?;
            }
            if piece.length.is_finite() {
                write!(out, "/{}s", piece.length)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, milliseconds) in
            [("30", 30_000), ("30s", 30_000), ("5m", 300_000), ("1.5s", 1500), ("20ms", 20)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(time(&time_words(time(text).unwrap())), time(text), "{text}");
        }
        for text in ["", "s", "1x", "-1", "1..2", "1000h", "1e9"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spreads_keep_their_quantiles() {
        let mut random = Random::new(1);
        let spread: Spread = "50ms~800ms".parse().unwrap();
        let mut drawn: Vec<u64> = (0..20_000).map(|_| spread.draw(&mut random) / 1_000_000).collect();
        drawn.sort_unstable();
        assert!((48..53).contains(&drawn[10_000]), "{}", drawn[10_000]);
        assert!((700..900).contains(&drawn[19_800]), "{}", drawn[19_800]);
        let even: Spread = "10ms..50ms".parse().unwrap();
        assert!((0..1000).all(|_| (10_000_000..50_000_001).contains(&even.draw(&mut random))));
        assert_eq!("0".parse(), Ok(Spread::None));
        for text in ["50ms..10ms", "0~1s", "1s~20ms", "x", "..", "~"] {
            assert!(text.parse::<Spread>().is_err(), "{text}");
        }
    }

    #[test]
    fn plans_are_followed() {
        let plan: Plan = "100/10s,0/5s,100..300/10s,50".parse().unwrap();
        let at = |n: u64| plan.due(n) as f64 / 1e9;
        assert_eq!(at(0), 0.0);
        assert!((at(500) - 5.0).abs() < 1e-6);
        assert!((at(1000) - 15.0).abs() < 1e-6, "nothing is due in the pause: {}", at(1000));
        // Half of the time of a ramp from 100 to 300 brings 750 of its 2000.
        assert!((at(1750) - 20.0).abs() < 1e-6, "{}", at(1750));
        assert!((at(3000) - 25.0).abs() < 1e-6 && (at(3100) - 27.0).abs() < 1e-6, "{}", at(3100));
        let all: Vec<u64> = (0..4000).map(|n| plan.due(n)).collect();
        assert!(all.is_sorted());
        let ramp: Plan = "0..100/10s".parse().unwrap();
        assert!((ramp.due(500) as f64 / 1e9 - 10.0).abs() < 1e-6);
        assert_eq!(Plan::constant(10.0).unwrap().scaled(2.0).due(20), 1_000_000_000);
        assert_eq!("500/10s,5000/2s,500".parse::<Plan>().unwrap().to_string(), "500/10s,5000/2s,500");
        for text in ["", "x", "0", "1..2", "100,200", "5/0s", "-1", "nan", "5/10s,0/2s", "inf"] {
            assert!(text.parse::<Plan>().is_err(), "{text}");
        }
    }
}
