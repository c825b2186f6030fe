//! A file that a program drops.

use relevo::mail::address;
use relevo::mail::pickup::batch;
use relevo::mail::pickup::{self, Flaw, Picked};

/// What is read has addresses that a session would take, and a message of whole lines that has all else of the file; what is wrong is one line.
pub fn pickup(data: &[u8]) {
    if pickup::is_batch(data) {
        return batch(data);
    }
    let Picked { sender, recipients, message } = match pickup::read(data) {
        Ok(picked) => picked,
        Err(flaw) => {
            let words = flaw.to_string();
            return assert!(!words.is_empty() && !words.contains(char::is_control), "{words:?}");
        }
    };
    let is_path = |address: &[u8]| address::is_path(std::str::from_utf8(address).expect("text"));
    assert!(is_path(&sender));
    assert!(!recipients.is_empty() && recipients.len() <= relevo::limits::RECIPIENTS_MAX);
    for one in &recipients {
        assert!(is_path(&one.address) && one.address[usize::from(one.domain_at) - 1] == b'@');
    }
    assert!(message.is_empty() || message.ends_with(b"\r\n"));
    let bare = (0..message.len()).find(|at| message[*at] == b'\n' && (*at == 0 || message[*at - 1] != b'\r'));
    assert_eq!(bare, None);
    // What is behind the header section is there as it was, but for the ends of its lines.
    let lines = |text: &[u8]| -> Vec<Vec<u8>> {
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let bare = |line: &[u8]| {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            line.strip_suffix(b"\r").unwrap_or(line).to_vec()
        };
        lines.map(bare).collect()
    };
    let behind = |all: Vec<Vec<u8>>| all.into_iter().skip_while(|line| !line.is_empty()).collect::<Vec<_>>();
    assert_eq!(behind(lines(&message)), behind(lines(data)));
}

/// What is read of commands is files that can be read, but for what only fields of a message can be wrong in.
fn batch(data: &[u8]) {
    match batch::read(data) {
        Ok(batch) => {
            let mut number = 0;
            for file in batch.files("now") {
                number += 1;
                let Some(file) = file else { continue };
                if let Err(flaw) = pickup::read(&file) {
                    let late =
                        matches!(flaw, Flaw::LateReceiver(_) | Flaw::SecondSender(_) | Flaw::Address(..));
                    assert!(late, "{flaw}: {}", file.escape_ascii());
                }
            }
            assert!(number > 0);
        }
        Err(flaw) => {
            let words = flaw.to_string();
            assert!(words.starts_with("line ") && !words.contains(char::is_control), "{words:?}");
        }
    }
}
