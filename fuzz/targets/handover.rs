//! What a node says of a message that it hands over: whatever comes, it is refused in one line or read within its bounds; what is read is written and read
//! again as the same, in lines that a header section may have.

use relevo::limits;
use relevo::mail::handover::{self, Handover};
use relevo::mail::parameters::Key;

/// A header section.
pub fn handover(data: &[u8]) {
    let (flags, section) = data.split_first().map_or((0, data), |(flags, rest)| (*flags, rest));
    let handover = match handover::read(section, flags & 1 == 1) {
        Ok(None) => return,
        Err(wrong) => {
            let words = wrong.to_string();
            assert!(words.len() < 200 && !words.contains(['\r', '\n']), "{words}");
            return;
        }
        Ok(Some(handover)) => handover,
    };
    let Handover { arrival, expiry, parameters, begun, .. } = &handover;
    assert!(arrival <= expiry && begun.reply.len() <= limits::REPLY_MOVED_MAX);
    assert!(begun.attempts <= limits::ATTEMPTS_TOLD_MAX);
    assert!(parameters.get(Key::Origin).is_some() && parameters.length() <= limits::PARAMETERS_BYTES_MAX);
    let mut written = Vec::new();
    assert!(handover.write(&mut written), "what was read fits");
    assert!(written.is_ascii() && written.split(|byte| *byte == b'\n').all(|line| line.len() < 998));
    assert_eq!(handover::read(&written, false), Ok(Some(handover)), "it is read again");
}
