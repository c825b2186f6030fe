//! What the mail of a run looks like: how large its messages are and which domains they go to.

use std::str::FromStr;

use crate::ledger::RECIPIENTS_MAX;
use crate::random::Random;
use crate::unfit::Unfit;
use crate::units;

/// How large messages are, header section included, before dot-stuffing.
#[derive(Clone, Debug, PartialEq)]
pub enum Sizes {
    /// The sizes of bulk and transactional mail: 2 to 60 KiB, half of it below 12 KiB, 16 KiB on average.
    Mix,
    /// All the same, bytes. One smaller than its own header section gets an almost empty body.
    Fixed(usize),
    /// Some sizes, bytes, smallest first, with the share of messages up to and including each: the last share is 1.
    Shares(Vec<(usize, f64)>),
}

/// Shares of [`Sizes::Mix`] and the size each ends at; in between it grows by a constant factor (log-linear).
const MIX: [(f64, f64); 6] =
    [(0.0, 2048.0), (0.1, 4096.0), (0.5, 12_288.0), (0.75, 20_480.0), (0.95, 40_960.0), (1.0, 61_440.0)];

/// Largest fixed size, so that a typing error does not take the machine's memory.
pub const SIZE_MAX: usize = 256 * 1024 * 1024;

impl Sizes {
    /// The size below which this share of messages lies.
    pub fn quantile(&self, share: f64) -> usize {
        match self {
            Sizes::Fixed(size) => *size,
            Sizes::Shares(list) => {
                let found = list.iter().find(|(_, end)| share <= *end).or(list.last());
                found.map_or(0, |(size, _)| *size)
            }
            Sizes::Mix => {
                let share = share.clamp(0.0, 1.0);
                let next = MIX.iter().position(|(end, _)| share <= *end).unwrap_or(MIX.len() - 1).max(1);
                let ((from, low), (to, high)) = (MIX[next - 1], MIX[next]);
                (low * (high / low).powf((share - from) / (to - from))).round() as usize
            }
        }
    }
}

impl FromStr for Sizes {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Sizes, Unfit> {
        if text == "mix" {
            return Ok(Sizes::Mix);
        }
        if text.contains('=') {
            let list = shares(text, |item| units::size(item).ok())?;
            return if list.iter().all(|(size, _)| *size <= SIZE_MAX) {
                Ok(Sizes::Shares(list))
            } else {
                Err(Unfit::new(format!("`{text}`: a message has up to {SIZE_MAX} bytes")))
            };
        }
        match units::size(text) {
            Ok(size) if size <= SIZE_MAX => Ok(Sizes::Fixed(size)),
            _ => Err(Unfit::new(format!(
                "`{text}` is neither `mix` nor a size up to {SIZE_MAX} bytes: `4096`, `10KiB`, `1MiB`"
            ))),
        }
    }
}

/// Which domains recipients are at, and how often each.
#[derive(Clone, Debug, PartialEq)]
pub struct Domains {
    names: Vec<String>,
    /// Running sums of the shares, the last one 1.
    ends: Vec<f64>,
}

/// Things with shares, `THING=SHARE,...`: the smallest first, with the running sums of their shares.
fn shares<T: Copy + Ord>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<(T, f64)>, Unfit> {
    let error = || Unfit::new(format!("`{text}`: write NUMBER=SHARE,..., as in `1=90,50=10`"));
    let pair = |item: &str| {
        let (thing, share) = item.split_once('=')?;
        let share = share.trim().parse().ok().filter(|share: &f64| share.is_finite() && *share > 0.0)?;
        Some((parse(thing.trim())?, share))
    };
    let mut list: Vec<(T, f64)> = text.split(',').map(pair).collect::<Option<_>>().ok_or_else(error)?;
    list.sort_by_key(|(thing, _)| *thing);
    let (sum, mut end) = (list.iter().map(|(_, share)| share).sum::<f64>(), 0.0);
    for (_, share) in &mut list {
        end += *share / sum;
        *share = end;
    }
    Ok(list)
}

/// How many recipients a message has.
#[derive(Clone, Debug, PartialEq)]
pub enum Recipients {
    /// Any number from the first to the second, all equally often.
    Between(u32, u32),
    /// Some numbers, smallest first, with the share of messages up to and including each.
    Shares(Vec<(u32, f64)>),
}

impl Recipients {
    /// At least one, at most [`RECIPIENTS_MAX`]; `most` is never below `least`.
    pub fn between(least: u32, most: u32) -> Recipients {
        let least = least.clamp(1, RECIPIENTS_MAX);
        Recipients::Between(least, most.clamp(least, RECIPIENTS_MAX))
    }

    /// The largest number.
    pub fn most(&self) -> u32 {
        match self {
            Recipients::Between(_, most) => *most,
            Recipients::Shares(list) => list.last().map_or(1, |(count, _)| *count),
        }
    }

    /// Draws a number.
    pub fn draw(&self, random: &mut Random) -> u32 {
        match self {
            Recipients::Between(least, most) => least + random.below((most - least + 1) as usize) as u32,
            Recipients::Shares(list) => {
                let share = random.unit();
                list.iter().find(|(_, end)| share <= *end).or(list.last()).map_or(1, |(count, _)| *count)
            }
        }
    }
}

impl FromStr for Recipients {
    type Err = Unfit;

    /// `1`, `1-3` (or `1..3`, as other ranges are written) or `1=90,50=10`.
    fn from_str(text: &str) -> Result<Recipients, Unfit> {
        if text.contains('=') {
            let list = shares(text, |item| item.parse::<u32>().ok())?;
            return if list.iter().all(|(count, _)| (1..=RECIPIENTS_MAX).contains(count)) {
                Ok(Recipients::Shares(list))
            } else {
                Err(Unfit::new(format!("`{text}`: a message has 1 to {RECIPIENTS_MAX} recipients")))
            };
        }
        let (least, most) = text.split_once("..").or(text.split_once('-')).unwrap_or((text, text));
        match (least.trim().parse::<u32>(), most.trim().parse::<u32>()) {
            (Ok(least), Ok(most)) if 1 <= least && least <= most && most <= RECIPIENTS_MAX => {
                Ok(Recipients::Between(least, most))
            }
            _ => Err(Unfit::new(format!(
                "`{text}` is neither a number from 1 to {RECIPIENTS_MAX} nor two of them, as in `1-3`"
            ))),
        }
    }
}

/// Domains of one run.
pub const DOMAINS_MAX: usize = 1_000_000;

impl Domains {
    /// `count` domains (`d0.load.example` ...), the k-th getting a share of 1/k^`exponent`: 0 is uniform, 1 is
    /// Zipf's law, near to the domains of a large mailing list.
    pub fn zipf(count: usize, exponent: f64) -> Domains {
        let count = count.clamp(1, DOMAINS_MAX);
        let names = (0..count).map(|k| format!("d{k}.load.example")).collect();
        Domains::weighted(names, (1..=count).map(|k| (k as f64).powf(-exponent)))
    }

    /// What a large consumer mailing list looks like: six providers hold four fifths of it, and 200 domains share the
    /// rest by Zipf's law. All names are reserved ones (RFC 2606): mail that escapes a test reaches nobody.
    pub fn providers() -> Domains {
        const LARGE: [(&str, f64); 6] = [
            ("gmail.example", 45.0),
            ("yahoo.example", 13.0),
            ("outlook.example", 12.0),
            ("icloud.example", 6.0),
            ("gmx.example", 3.0),
            ("comcast.example", 2.0),
        ];
        const TAIL: usize = 200;
        let harmonic: f64 = (1..=TAIL).map(|k| 1.0 / k as f64).sum();
        let large = LARGE.iter().map(|(name, share)| ((*name).to_owned(), *share));
        let tail = (1..=TAIL).map(|k| (format!("d{k}.load.example"), 19.0 / harmonic / k as f64));
        let (names, shares): (Vec<_>, Vec<_>) = large.chain(tail).unzip();
        Domains::weighted(names, shares.into_iter())
    }

    /// Named domains with shares that need not sum to 1. None when no share is positive, one is not a number, or
    /// a name is not a domain.
    pub fn shares(list: &[(String, f64)]) -> Option<Domains> {
        let valid = |name: &str| {
            !name.is_empty()
                && name.len() <= 253
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
        };
        let sum: f64 = list.iter().map(|(_, share)| share).sum();
        let sound = list.iter().all(|(name, share)| share.is_finite() && *share >= 0.0 && valid(name));
        (sound && sum > 0.0 && sum.is_finite() && list.len() <= DOMAINS_MAX).then(|| {
            Domains::weighted(
                list.iter().map(|(name, _)| name.clone()).collect(),
                list.iter().map(|(_, share)| *share),
            )
        })
    }

    fn weighted(names: Vec<String>, weights: impl Iterator<Item = f64>) -> Domains {
        let mut sum = 0.0;
        let mut ends: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        ends.iter_mut().for_each(|end| *end /= sum);
        Domains { names, ends }
    }

    /// Draws one.
    pub fn draw(&self, random: &mut Random) -> &str {
        let share = random.unit();
        let at = self.ends.partition_point(|end| *end <= share);
        &self.names[at.min(self.names.len() - 1)]
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }
}

impl FromStr for Domains {
    type Err = Unfit;

    /// `providers`, `5000` (Zipf over so many), `5000:0.8` (with that exponent), `one.example` or `gmail.example=50,yahoo.example=20,...`.
    fn from_str(text: &str) -> Result<Domains, Unfit> {
        if text == "providers" {
            return Ok(Domains::providers());
        }
        let error = || {
            Unfit::new(format!(
                "`{text}` is neither `providers`, nor a number, nor `number:exponent`, nor a domain, nor `domain=share,...`"
            ))
        };
        if text.contains('=') {
            let pair = |item: &str| {
                let (name, share) = item.split_once('=')?;
                Some((name.trim().to_ascii_lowercase(), share.trim().parse().ok()?))
            };
            let list: Option<Vec<_>> = text.split(',').map(pair).collect();
            return list.and_then(|list| Domains::shares(&list)).ok_or_else(error);
        }
        if text.contains('.') && text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            return Domains::shares(&[(text.to_ascii_lowercase(), 1.0)]).ok_or_else(error);
        }
        let (count, exponent) = text.split_once(':').unwrap_or((text, "1"));
        match (count.parse::<usize>(), exponent.parse::<f64>()) {
            (Ok(count), Ok(exponent))
                if (1..=DOMAINS_MAX).contains(&count) && (0.0..=10.0).contains(&exponent) =>
            {
                Ok(Domains::zipf(count, exponent))
            }
            _ => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_what_it_says() {
        let sizes = Sizes::Mix;
        assert_eq!((sizes.quantile(0.0), sizes.quantile(1.0)), (2048, 61_440));
        assert_eq!(sizes.quantile(0.5), 12_288);
        let steps = 10_000;
        let all: Vec<usize> = (0..steps).map(|at| sizes.quantile((at as f64 + 0.5) / steps as f64)).collect();
        assert!(all.is_sorted());
        let mean = all.iter().sum::<usize>() / steps;
        assert!((15_000..18_000).contains(&mean), "{mean}");
    }

    fn shares(domains: &Domains, draws: usize) -> Vec<f64> {
        let mut random = Random::new(3);
        let mut counts = vec![0usize; domains.count()];
        for _ in 0..draws {
            let name = domains.draw(&mut random).to_owned();
            counts[domains.names.iter().position(|other| *other == name).unwrap()] += 1;
        }
        counts.iter().map(|count| *count as f64 / draws as f64).collect()
    }

    #[test]
    fn zipf_halves() {
        let found = shares(&Domains::zipf(50, 1.0), 40_000);
        let harmonic: f64 = (1..=50).map(|k| 1.0 / k as f64).sum();
        for (at, share) in found.iter().enumerate().take(5) {
            let wanted = 1.0 / (at + 1) as f64 / harmonic;
            assert!((share - wanted).abs() < 0.01, "domain {at}: {share} for {wanted}");
        }
        assert!(shares(&Domains::zipf(4, 0.0), 40_000).iter().all(|share| (share - 0.25).abs() < 0.01));
    }

    #[test]
    fn a_share_list_is_followed() {
        assert_eq!("one.example".parse::<Domains>().unwrap().names, ["one.example"]);
        let domains: Domains = "big.example=3,small.example=1,never.example=0".parse().unwrap();
        let found = shares(&domains, 40_000);
        assert!(
            (found[0] - 0.75).abs() < 0.01 && (found[1] - 0.25).abs() < 0.01 && found[2] == 0.0,
            "{found:?}"
        );
    }

    #[test]
    fn providers_hold_their_share() {
        let found = shares(&Domains::providers(), 40_000);
        assert!((found[0] - 0.45).abs() < 0.01 && (found[..6].iter().sum::<f64>() - 0.81).abs() < 0.01);
    }

    #[test]
    fn recipients_stay_in_their_range() {
        let (recipients, mut random) = ("1-3".parse::<Recipients>().unwrap(), Random::new(1));
        let mut seen = [0; 5];
        (0..3000).for_each(|_| seen[recipients.draw(&mut random) as usize] += 1);
        assert!(seen[0] == 0 && seen[4] == 0 && seen[1..4].iter().all(|count| *count > 900), "{seen:?}");
        assert_eq!("7".parse(), Ok(Recipients::between(7, 7)));
        let recipients: Recipients = "50=1,1=3".parse().unwrap();
        let ones = (0..4000).filter(|_| recipients.draw(&mut random) == 1).count();
        assert!(recipients.most() == 50 && (2800..3200).contains(&ones), "{ones}");
        let sizes: Sizes = "1000=3,50=1".parse().unwrap();
        assert_eq!((sizes.quantile(0.2), sizes.quantile(0.3), sizes.quantile(1.0)), (50, 1000, 1000));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "0", "x", "5:x", "a=", "=1", "a=0", "a=-1,b=3", "a=nan", "a b=1", "a\r\nb=1", "10:99"]
        {
            assert!(text.parse::<Domains>().is_err(), "{text:?}");
        }
        for text in ["", "0", "0-3", "3-1", "1-1001", "a", "1-", "0=1", "5=0", "2=", "1001=1"] {
            assert!(text.parse::<Recipients>().is_err(), "{text:?}");
        }
        for text in ["", "-1", "1x", "999999999999", "x=1", "1=nan", "999999999999=1"] {
            assert!(text.parse::<Sizes>().is_err(), "{text:?}");
        }
        assert_eq!("100".parse::<Domains>().unwrap().count(), 100);
        assert_eq!("mix".parse(), Ok(Sizes::Mix));
    }
}
