//! Choices taken off the front of fuzzed bytes. When they are used up, every choice is 0.

/// The bytes that are left.
#[derive(Clone, Copy)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub fn word(&mut self) -> u16 {
        u16::from(self.byte()) << 8 | u16::from(self.byte())
    }

    pub fn long(&mut self) -> u64 {
        (0..4).fold(0, |long, _| long << 16 | u64::from(self.word()))
    }

    /// A number below `bound`, which is at most 65,536.
    pub fn below(&mut self, bound: usize) -> usize {
        let choice = if bound <= 256 { usize::from(self.byte()) } else { usize::from(self.word()) };
        choice % bound.max(1)
    }

    /// At most `length` bytes.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        front
    }

    /// A piece with its length in front of it.
    pub fn piece(&mut self, bound: usize) -> &'a [u8] {
        let length = self.below(bound + 1);
        self.take(length)
    }

    /// A piece as text.
    pub fn text(&mut self, bound: usize) -> String {
        String::from_utf8_lossy(self.piece(bound)).into_owned()
    }
}

/// Several ways to cut `input`: whole, byte by byte, and as `choices` says.
pub fn splits<'a>(input: &'a [u8], choices: &[u8]) -> Vec<Vec<&'a [u8]>> {
    const BYTE_BY_BYTE_MAX: usize = 2048;
    let mut ways = vec![vec![input]];
    if input.len() <= BYTE_BY_BYTE_MAX {
        ways.push(input.chunks(1).collect());
    }
    let mut pieces = Vec::new();
    let mut rest = input;
    for choice in choices.iter().cycle().take(4096) {
        if rest.is_empty() {
            break;
        }
        // Mostly short pieces, some long ones.
        let length = if *choice < 128 { usize::from(*choice % 8) } else { usize::from(*choice) * 9 };
        let (front, tail) = rest.split_at(length.min(rest.len()));
        pieces.push(front);
        rest = tail;
    }
    pieces.push(rest);
    ways.push(pieces);
    ways
}
