//! Merges: what comes of one is told as messages are.

use relevo::mail::merge::Who;
use relevo::smtp::server::{PartEnd, WholeMerge};
use relevo::smtp::words;

use super::Replay;

/// A part is there; behind the last each message is accepted.
pub fn part_end(replay: &mut Replay) {
    replay.hear();
    match replay.session.part_end(&mut replay.replies) {
        PartEnd::More => {}
        PartEnd::Refused { close: false } => {}
        PartEnd::Refused { close: true } => replay.close(),
        PartEnd::Whole(WholeMerge { envelope, merge }) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            for (place, to) in envelope.recipients.iter().enumerate() {
                let date = "Thu, 1 Jan 1970 00:00:05 +0000";
                let message = text(
                    &merge
                        .render(Who { from: &envelope.sender, to, place, date }, 10_000)
                        .expect("a small one"),
                );
                let protocol = envelope.origin.protocol.keyword();
                let (from, to) = (text(&envelope.sender), text(&to.address));
                replay.events.push(format!("E: <{from}> to <{to}> with {protocol}"));
                replay.events.extend(message.lines().map(|line| format!("B: {line}").trim_end().to_owned()));
            }
            replay.replies.extend_from_slice(words::merge_taken(envelope.recipients.len()).as_bytes());
        }
    }
}
