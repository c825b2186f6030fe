//! What a message asks of a hop for text in UTF-8 (RFC 6531).

/// What a message asks of a hop for text in UTF-8: nothing, unless its client said SMTPUTF8. The bits are those of the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8(u8);

impl Utf8 {
    const ASKED: u8 = 1;
    const NEEDED: u8 = 2;
    const U_LABELS: u8 = 4;

    /// Its client said SMTPUTF8: a hop is told that where it offers it.
    pub const OF_CLIENT: Utf8 = Utf8(Utf8::ASKED);

    /// The one of a record. None: no version of ours wrote that.
    pub fn of_bits(bits: u8) -> Option<Utf8> {
        let all = Utf8::ASKED | Utf8::NEEDED | Utf8::U_LABELS;
        (bits == 0 || bits & Utf8::ASKED != 0 && bits & !all == 0).then_some(Utf8(bits))
    }

    /// Its number in a record.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether the client said it.
    pub fn is_asked(self) -> bool {
        self.0 != 0
    }

    /// Whether nobody can have it without, as its sender or its header section is in UTF-8. So is a recipient, for himself alone.
    pub fn is_needed(self) -> bool {
        self.0 & Utf8::NEEDED != 0
    }

    /// Whether a hop that offers it is given domains in U-labels.
    pub fn has_u_labels(self) -> bool {
        self.0 & Utf8::U_LABELS != 0
    }

    /// A domain of the envelope came in U-labels.
    pub fn came_in_u_labels(&mut self) {
        self.0 |= Utf8::U_LABELS;
    }

    /// Of a message that came whole, or was changed: whether its sender or its header section is in UTF-8. What nobody said SMTPUTF8 of goes as it came.
    pub fn settle(&mut self, is_needed: bool) {
        if self.is_asked() {
            self.0 = self.0 & !Utf8::NEEDED | if is_needed { Utf8::NEEDED } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_known_or_refused() {
        for bits in 0..=u8::MAX {
            let known = matches!(bits, 0 | 1 | 3 | 5 | 7);
            assert_eq!(Utf8::of_bits(bits).map(Utf8::bits), known.then_some(bits), "{bits}");
        }
        let mut utf8 = Utf8::default();
        utf8.settle(true);
        assert_eq!(utf8, Utf8::default(), "its client did not say SMTPUTF8");
        let mut utf8 = Utf8::OF_CLIENT;
        utf8.came_in_u_labels();
        utf8.settle(true);
        assert!(utf8.is_needed() && utf8.has_u_labels() && utf8.is_asked());
        utf8.settle(false);
        assert!(!utf8.is_needed() && utf8.has_u_labels());
    }
}
