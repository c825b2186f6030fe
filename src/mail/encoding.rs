//! Quoted-printable and base64 (RFC 2045 6.7 and 6.8), written as a stream.

/// Longest line of either, CRLF excluded.
const LINE: usize = 76;

/// Text with CRLF between its lines. Lines of what comes out begin with neither `-` nor `.`: no boundary can appear that was none before.
#[derive(Debug, Default)]
pub struct QuotedPrintable {
    column: usize,
    /// A blank that is encoded if the line ends behind it.
    blank: Option<u8>,
    /// A CR that begins a line's end if an LF follows.
    returned: bool,
}

impl QuotedPrintable {
    /// Encodes the next piece.
    pub fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for byte in piece {
            if std::mem::take(&mut self.returned) {
                if *byte == b'\n' {
                    if let Some(blank) = self.blank.take() {
                        self.put(blank, false, out);
                    }
                    out.extend_from_slice(b"\r\n");
                    self.column = 0;
                    continue;
                }
                self.release(out);
                self.put(b'\r', false, out);
            }
            match byte {
                b'\r' => self.returned = true,
                b' ' | b'\t' => {
                    self.release(out);
                    self.blank = Some(*byte);
                }
                _ => {
                    self.release(out);
                    self.put(*byte, matches!(byte, 33..=60 | 62..=126), out);
                }
            }
        }
    }

    /// What was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.returned) {
            self.release(out);
            self.put(b'\r', false, out);
        }
        if let Some(blank) = self.blank.take() {
            self.put(blank, false, out);
        }
        self.column = 0;
    }

    /// A blank that something follows.
    fn release(&mut self, out: &mut Vec<u8>) {
        if let Some(blank) = self.blank.take() {
            self.put(blank, true, out);
        }
    }

    fn put(&mut self, byte: u8, plain: bool, out: &mut Vec<u8>) {
        // One column is kept for the `=` of a soft line break.
        if self.column + if plain { 1 } else { 3 } > LINE - 1 {
            out.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
        if plain && !(self.column == 0 && matches!(byte, b'-' | b'.')) {
            out.push(byte);
            self.column += 1;
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.extend_from_slice(&[b'=', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            self.column += 3;
        }
    }
}

/// Any bytes.
#[derive(Debug, Default)]
pub struct Base64 {
    column: usize,
    held: [u8; 3],
    count: usize,
}

impl Base64 {
    /// Encodes the next piece.
    pub fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for byte in piece {
            self.held[self.count] = *byte;
            self.count += 1;
            if self.count == 3 {
                self.put(out);
            }
        }
    }

    /// What was held back, and its padding. The last line is left open.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.count > 0 {
            let missing = 3 - self.count;
            self.held[self.count..].fill(0);
            self.put(out);
            let end = out.len();
            out[end - missing..].fill(b'=');
        }
        self.column = 0;
    }

    fn put(&mut self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        if self.column + 4 > LINE {
            out.extend_from_slice(b"\r\n");
            self.column = 0;
        }
        let [a, b, c] = self.held;
        let sextets = [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63];
        out.extend(sextets.map(|sextet| DIGITS[usize::from(sextet)]));
        self.column += 4;
        self.count = 0;
    }
}

/// Base64 that is there already, in lines of the usual length whatever they were.
#[derive(Debug, Default)]
pub struct Base64Lines {
    column: usize,
}

impl Base64Lines {
    /// The next piece of it. The last line gets no end.
    pub fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for byte in piece.iter().filter(|byte| !byte.is_ascii_whitespace()) {
            if self.column == LINE {
                out.extend_from_slice(b"\r\n");
                self.column = 0;
            }
            out.push(*byte);
            self.column += 1;
        }
    }
}

/// Whether all of a piece is base64, white space included.
pub fn is_base64(piece: &[u8]) -> bool {
    let of_it = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b' ' | b'\t' | b'\r' | b'\n')
    };
    piece.iter().all(of_it)
}
