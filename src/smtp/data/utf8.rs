//! Whether bytes are UTF-8 (RFC 3629 section 4), however they were cut.

/// A character that is not whole yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Partial {
    /// Bytes that are missing.
    missing: u8,
    /// The least that the next of them may be, and the most.
    least: u8,
    most: u8,
    /// Its first byte, and where that is.
    first: u8,
    at: u64,
}

impl Partial {
    /// Nothing is missing.
    pub(super) fn is_whole(&self) -> bool {
        self.missing == 0
    }

    /// The first byte of what is no character in `piece`, which begins at `at`, and where that byte is.
    pub(super) fn find_ill(&mut self, piece: &[u8], at: u64) -> Option<(u8, u64)> {
        for (place, byte) in piece.iter().enumerate() {
            let at = at + place as u64;
            if self.missing > 0 {
                if !(self.least..=self.most).contains(byte) {
                    self.missing = 0;
                    return Some((self.first, self.at));
                }
                (self.missing, self.least, self.most) = (self.missing - 1, 0x80, 0xbf);
                continue;
            }
            let (missing, least, most) = match byte {
                0..=0x7f => continue,
                0xc2..=0xdf => (1, 0x80, 0xbf),
                0xe0 => (2, 0xa0, 0xbf),
                // Surrogates are no characters.
                0xed => (2, 0x80, 0x9f),
                0xe1..=0xef => (2, 0x80, 0xbf),
                0xf0 => (3, 0x90, 0xbf),
                0xf1..=0xf3 => (3, 0x80, 0xbf),
                0xf4 => (3, 0x80, 0x8f),
                _ => return Some((*byte, at)),
            };
            *self = Partial { missing, least, most, first: *byte, at };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the library judges, for all that three bytes can be between others, whole and cut.
    #[test]
    fn judges_as_the_library_does() {
        let edges =
            [0, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec];
        let more = [0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff];
        let all: Vec<u8> = edges.into_iter().chain(more).collect();
        for one in &all {
            for two in &all {
                for three in &all {
                    for four in [0x41, 0x80, 0xbf, 0xc3] {
                        let text = [b'a', *one, *two, *three, four, b'\r', b'\n'];
                        let wanted = std::str::from_utf8(&text).err().map(|error| error.valid_up_to());
                        for cut in 0..text.len() {
                            let mut partial = Partial::default();
                            let found = partial
                                .find_ill(&text[..cut], 0)
                                .or_else(|| partial.find_ill(&text[cut..], cut as u64));
                            let told = wanted.map(|place| (text[place], place as u64));
                            assert_eq!(found, told, "{text:x?} cut at {cut}");
                        }
                    }
                }
            }
        }
    }
}
