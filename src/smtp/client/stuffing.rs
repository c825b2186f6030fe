//! Dots in front of the lines of a body that begin with one.

/// Cuts a canonical body into pieces with the dots that RFC 5321 4.5.2 wants before lines that begin with one. Nothing is
/// copied: pieces of the body and `"."`. `line_start`: what went before ended a line, or nothing did.
pub fn stuff(body: &[u8], line_start: bool) -> impl Iterator<Item = &[u8]> {
    let first = (line_start && body.first() == Some(&b'.')).then_some(&b"."[..]);
    let mut from = 0;
    let mut dot = false;
    let mut ends = memchr::memmem::find_iter(body, b"\n.");
    let rest = std::iter::from_fn(move || {
        if std::mem::take(&mut dot) {
            return Some(&b"."[..]);
        }
        if from >= body.len() {
            return None;
        }
        let start = from;
        match ends.next() {
            Some(end) => {
                from = end + 1;
                dot = true;
            }
            None => from = body.len(),
        }
        Some(&body[start..from])
    });
    first.into_iter().chain(rest)
}
