//! Numbers that stand for chance.

/// Spreads the bits of a number over all of it.
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// How long an event of this rate is waited for: the first of several is each of them as often as its rate is part of all rates.
pub(super) fn wait(random: u64, weight: u16) -> f64 {
    // Above 0 and at most 1.
    let part = ((random >> 11) + 1) as f64 / (1u64 << 53) as f64;
    -part.ln() / f64::from(weight)
}
