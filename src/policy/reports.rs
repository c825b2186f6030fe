//! How many notifications are made: what bounds the mail that others can have the relay write to third parties.

use std::collections::HashMap;

use crate::limits;

/// Those that a shard made in one second.
#[derive(Debug, Default)]
pub struct ReportRate {
    second: u64,
    made: u32,
    /// Of those that tell of no failure, by the domain they went to.
    news: HashMap<Box<[u8]>, u32>,
}

impl ReportRate {
    /// Whether one more may be made in this second, for a sender of this domain. One that tells of no failure may be left out; of those there
    /// are fewer, as whoever asks for them has as many written to whom it likes.
    pub fn may(&mut self, second: u64, domain: &[u8], is_failure: bool) -> bool {
        if self.second != second {
            (self.second, self.made) = (second, 0);
            self.news.clear();
        }
        if self.made >= limits::REPORTS_A_SECOND {
            return false;
        }
        if !is_failure {
            let domain = domain.to_ascii_lowercase().into_boxed_slice();
            let made = self.news.entry(domain).or_insert(0);
            if *made >= limits::REPORTS_TO_DOMAIN_A_SECOND {
                return false;
            }
            *made += 1;
        }
        self.made += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own() {
        let mut rate = ReportRate::default();
        let most = limits::REPORTS_TO_DOMAIN_A_SECOND;
        for second in [5, 6] {
            let made = (0..2 * most).filter(|_| rate.may(second, b"A.example", false)).count();
            assert_eq!(made, most as usize);
            assert!(!rate.may(second, b"a.example", false) && rate.may(second, b"b.example", false));
            let failures =
                (0..2 * limits::REPORTS_A_SECOND).filter(|_| rate.may(second, b"a.example", true)).count();
            assert_eq!(failures as u32, limits::REPORTS_A_SECOND - most - 1);
            assert!(!rate.may(second, b"c.example", false));
        }
    }
}
