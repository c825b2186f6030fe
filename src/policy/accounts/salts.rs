//! What clients are told of names that nobody has, so that they learn none by SCRAM: salts that look as those of accounts do.

use std::num::NonZeroU32;

use aws_lc_rs::hmac;

use crate::limits;
use crate::smtp::scram::Costs;

/// What salts are made with. It outlasts a start, and nodes with the same accounts have the same: a salt that changes is nobody's.
#[derive(Clone)]
pub struct SaltKey(hmac::Key);

/// In this order verifiers are, one costlier than the other.
pub(super) fn weight(costs: &Costs) -> (NonZeroU32, usize) {
    (costs.iterations, costs.salt.len())
}

impl SaltKey {
    /// `key`: bytes nobody knows.
    pub fn new(key: &[u8]) -> SaltKey {
        SaltKey(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Costs for a name: as those of an account at some part of the way from the cheapest to the costliest, which `alike` finds; the same part for the
    /// same name, so that one account more or less changes the costs of next to none.
    pub(super) fn costs<'a>(&self, name: &str, alike: impl Fn(f64) -> Option<&'a Costs>) -> Costs {
        let draw = |number: u8| {
            let mut context = hmac::Context::with_key(&self.0);
            context.update(&[number]);
            context.update(name.as_bytes());
            context.sign()
        };
        let at = draw(0).as_ref().first_chunk().copied().map_or(0, u64::from_be_bytes);
        // The highest 53 bits, which a float holds: always below 1.
        let alike = alike((at >> 11) as f64 / (1u64 << 53) as f64);
        let (one, other) = (draw(1), draw(2));
        let mut salt = [one.as_ref(), other.as_ref()].concat();
        salt.truncate(alike.map_or(limits::SCRAM_SALT, |costs| costs.salt.len()));
        let usual = NonZeroU32::new(limits::SCRAM_ITERATIONS).unwrap_or(NonZeroU32::MIN);
        Costs { salt: salt.into(), iterations: alike.map_or(usual, |costs| costs.iterations) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salts_are_of_a_name_and_a_key() {
        let (key, other) = (SaltKey::new(&[1; 32]), SaltKey::new(&[2; 32]));
        let none = |_: f64| None;
        let salt = key.costs("bob", none).salt;
        assert_eq!((salt.len(), &key.costs("bob", none).salt), (16, &salt));
        assert!(key.costs("boc", none).salt != salt && other.costs("bob", none).salt != salt);
        let iterations = NonZeroU32::new(4096).expect("not 0");
        let costs = Costs { salt: [0; limits::SCRAM_SALT_MAX].into(), iterations };
        let met = key.costs("bob", |_| Some(&costs));
        assert_eq!((met.salt.len(), met.iterations), (limits::SCRAM_SALT_MAX, iterations));
        assert!(met.salt.starts_with(&salt));
    }
}
