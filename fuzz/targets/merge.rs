//! What defines variables, and a text that has them.

use relevo::limits;
use relevo::mail::envelope::{Address, Recipient};
use relevo::mail::merge::{Merge, Who};

/// The first lines define, the rest is a part: nothing that nobody defined is changed, and a message is no larger than its parts, its values each time
/// that they stand there, and its instructions.
pub fn merge(data: &[u8]) {
    let mut merge = Merge::default();
    let mut rest = data;
    let (mut defined, mut recipients) = (0, 0);
    while let Some(end) = memchr::memchr(b'\n', rest).filter(|end| *end < 200 && recipients < 8) {
        let before = merge.values();
        match merge.define(&rest[..end], recipients) {
            Ok(()) => defined += 1,
            Err(bad) => {
                assert!(bad.to_string().is_ascii() && bad.to_string().len() < 300);
                assert_eq!(merge.values(), before, "a line that is wrong defines nothing");
            }
        }
        recipients += usize::from(end % 3 == 0);
        rest = &rest[end + 1..];
    }
    merge.add(1, rest.to_vec());
    assert_eq!(merge.size(), rest.len());
    let to = Recipient::new(Address::from_slice(b"u@d.example"), 2);
    let names = rest.iter().filter(|byte| **byte == b'[').count();
    for place in 0..=recipients {
        let who = Who { from: b"s@d.example", to: &to, place, date: "now" };
        let message = merge.render(who, usize::MAX).expect("there is no bound");
        let most = message.len().saturating_sub(1);
        assert!(rest.is_empty() || merge.render(who, most).is_none() || message.is_empty(), "a bound holds");
        assert!(
            message.len() <= rest.len() + (names + 1) * (merge.values() + 64) + 3 * limits::MERGE_NAME_MAX
        );
        let special = rest.windows(2).any(|two| two == b"[*" || two == b"[#");
        assert!(defined > 0 || special || message == rest, "nobody defined anything");
    }
    let _ = (merge.lacks(recipients), merge.held(), merge.has(2));
}
