//! What a server of Redis answers, and what is said to it.

use relevo::control::redis::resp::{Replies, command};
use relevo::limits;

use super::input::{Input, splits};

/// Replies mean the same wherever they are cut, as far as they are any; what is kept of them has a bound; a command is read back word for word.
pub fn resp(data: &[u8]) {
    let mut input = Input(data);
    let wanted = 1 + input.below(8);
    let choices = input.take(8);
    let answer = input.0;
    let mut first = None;
    for pieces in splits(answer, choices) {
        let mut replies = Replies::new(wanted);
        let mut end = Ok(false);
        for piece in pieces {
            end = replies.take(piece).map_err(|error| error.to_string());
            if end != Ok(false) {
                break;
            }
        }
        let refused = replies.refused().map(str::to_owned);
        assert!(refused.as_ref().is_none_or(|words| words.len() <= 3 * limits::STREAM_LINE_MAX));
        let seen = (end, refused);
        // A long line may be told sooner where it comes in pieces: it has no end by then.
        if answer.len() <= limits::STREAM_LINE_MAX {
            assert_eq!(*first.get_or_insert_with(|| seen.clone()), seen);
        }
    }
    let words: Vec<&[u8]> = answer.split(|byte| *byte == b'|').take(20).collect();
    let mut out = Vec::new();
    command(&words, &mut out);
    assert_eq!(words_of(&out), words);
}

/// A list of texts, read as a server reads it.
fn words_of(mut bytes: &[u8]) -> Vec<&[u8]> {
    fn number<'a>(bytes: &mut &'a [u8], kind: u8) -> usize {
        let end = bytes.iter().position(|byte| *byte == b'\n').expect("a line");
        let line: &'a [u8] = &bytes[..end];
        *bytes = &bytes[end + 1..];
        assert_eq!(line[0], kind);
        std::str::from_utf8(line[1..].strip_suffix(b"\r").expect("CRLF"))
            .expect("text")
            .parse()
            .expect("a number")
    }
    let count = number(&mut bytes, b'*');
    let mut words = Vec::new();
    for _ in 0..count {
        let length = number(&mut bytes, b'$');
        words.push(&bytes[..length]);
        bytes = bytes[length..].strip_prefix(b"\r\n").expect("the end of a word");
    }
    assert!(bytes.is_empty());
    words
}
