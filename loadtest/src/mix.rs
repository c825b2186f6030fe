//! What the mail of a run looks like: how large its messages are and which domains they go to.

use std::str::FromStr;

use crate::random::Random;

/// How large messages are, header section included, before dot-stuffing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// The sizes of bulk and transactional mail: 1 to 60 KiB, half of it below 9 KiB, 14 KiB on average.
    Mix,
    /// All the same, bytes. One smaller than its own header section gets an almost empty body.
    Fixed(usize),
}

/// Shares of [`Sizes::Mix`] and the size each ends at; in between it grows by a constant factor (log-linear).
const MIX: [(f64, f64); 6] =
    [(0.0, 1024.0), (0.1, 2048.0), (0.5, 9216.0), (0.75, 20_480.0), (0.95, 40_960.0), (1.0, 61_440.0)];

/// Largest fixed size, so that a typing error does not take the machine's memory.
pub const SIZE_MAX: usize = 256 * 1024 * 1024;

impl Sizes {
    /// The size below which this share of messages lies.
    pub fn quantile(&self, share: f64) -> usize {
        match self {
            Sizes::Fixed(size) => *size,
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
    type Err = String;

    fn from_str(text: &str) -> Result<Sizes, String> {
        if text == "mix" {
            return Ok(Sizes::Mix);
        }
        match text.parse() {
            Ok(size) if size <= SIZE_MAX => Ok(Sizes::Fixed(size)),
            _ => Err(format!("`{text}` is neither `mix` nor a number of bytes up to {SIZE_MAX}")),
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
    type Err = String;

    /// `5000` (Zipf over so many), `5000:0.8` (with that exponent) or `gmail.example=50,yahoo.example=20,...`.
    fn from_str(text: &str) -> Result<Domains, String> {
        let error = || format!("`{text}` is neither a number, nor `number:exponent`, nor `domain=share,...`");
        if text.contains('=') {
            let pair = |item: &str| {
                let (name, share) = item.split_once('=')?;
                Some((name.trim().to_ascii_lowercase(), share.trim().parse().ok()?))
            };
            let list: Option<Vec<_>> = text.split(',').map(pair).collect();
            return list.and_then(|list| Domains::shares(&list)).ok_or_else(error);
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
        assert_eq!((sizes.quantile(0.0), sizes.quantile(1.0)), (1024, 61_440));
        assert_eq!(sizes.quantile(0.5), 9216);
        let steps = 10_000;
        let all: Vec<usize> = (0..steps).map(|at| sizes.quantile((at as f64 + 0.5) / steps as f64)).collect();
        assert!(all.is_sorted());
        let mean = all.iter().sum::<usize>() / steps;
        assert!((13_000..15_500).contains(&mean), "{mean}");
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
        let domains: Domains = "big.example=3,small.example=1,never.example=0".parse().unwrap();
        let found = shares(&domains, 40_000);
        assert!(
            (found[0] - 0.75).abs() < 0.01 && (found[1] - 0.25).abs() < 0.01 && found[2] == 0.0,
            "{found:?}"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "0", "x", "5:x", "a=", "=1", "a=0", "a=-1,b=3", "a=nan", "a b=1", "a\r\n=1", "10:99"]
        {
            assert!(text.parse::<Domains>().is_err(), "{text:?}");
        }
        for text in ["", "-1", "1k", "999999999999"] {
            assert!(text.parse::<Sizes>().is_err(), "{text:?}");
        }
        assert_eq!("100".parse::<Domains>().unwrap().count(), 100);
        assert_eq!("mix".parse(), Ok(Sizes::Mix));
    }
}
