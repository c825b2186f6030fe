//! What is sent at once: events as one JSON object, and who vouches for it.

use std::time::Duration;

use aws_lc_rs::hmac;

use crate::control::outlet::line::Line;
use crate::control::outward::Batch;
use crate::limits;

/// Events that go together.
#[derive(Debug, Default)]
pub struct Events {
    body: Vec<u8>,
    count: usize,
    first: String,
    last: String,
    /// When the first of them came here.
    begun: Duration,
    /// So many go at once.
    most: usize,
    /// So long after the first they go.
    span: Duration,
}

impl Events {
    /// None yet: at most so many, and so long after the first.
    pub fn new(most: usize, span: Duration) -> Events {
        Events { most, span, ..Events::default() }
    }

    /// What is sent, or was gathered of it.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// By what a receiver knows it again: its first and its last event.
    pub fn key(&self) -> String {
        format!("{}..{}", self.first, self.last)
    }
}

impl Batch for Events {
    fn add(&mut self, event: &[u8], now: Duration) {
        let id = Line::read(event).map(|line| line.text("event_id").into_owned()).unwrap_or_default();
        if self.count == 0 {
            self.begun = now;
            self.first.clone_from(&id);
            self.body.extend_from_slice(b"{\"events\":[");
        } else {
            self.body.push(b',');
        }
        self.last = id;
        self.body.extend_from_slice(event.trim_ascii_end());
        self.count += 1;
    }

    fn count(&self) -> usize {
        self.count
    }

    fn is_full(&self) -> bool {
        self.count >= self.most || self.body.len() >= limits::WEBHOOK_BODY
    }

    fn is_due(&self, now: Duration) -> bool {
        now >= self.begun + self.span
    }

    fn finish(&mut self) {
        self.body.extend_from_slice(b"]}");
    }

    fn clear(&mut self) {
        *self = Events::new(self.most, self.span);
    }
}

/// `t=1796014800,v1=…`: the second, and HMAC-SHA256 of it, a dot and the body.
pub fn signature(secret: &[u8], second: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{second}.").as_bytes());
    context.update(body);
    let tag: String = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={second},v1={tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_one_object() {
        let second = Duration::from_secs;
        let mut batch = Events::new(3, second(30));
        for number in 1..=3 {
            assert!(!batch.is_full());
            batch.add(
                format!("{{\"event\":\"bounced\",\"event_id\":\"e{number}\"}}\n").as_bytes(),
                second(number),
            );
        }
        assert!(
            batch.is_full() && !batch.is_due(second(30)) && batch.is_due(second(31)),
            "31 s: by its first"
        );
        batch.finish();
        let read: serde_json::Value = serde_json::from_slice(batch.body()).unwrap();
        assert_eq!(read["events"].as_array().unwrap().len(), batch.count());
        assert_eq!((&*batch.key(), &read["events"][2]["event_id"]), ("e1..e3", &"e3".into()));
        batch.clear();
        assert_eq!((batch.count(), batch.body(), batch.is_full()), (0, &b""[..], false));
    }

    #[test]
    fn a_signature_is_of_time_and_body() {
        let one = signature(b"key", 1, b"body");
        assert!(one.starts_with("t=1,v1=") && one.len() == "t=1,v1=".len() + 64);
        assert_eq!(signature(b"key", 1, b"body"), one);
        for other in
            [signature(b"kez", 1, b"body"), signature(b"key", 2, b"body"), signature(b"key", 1, b"bodz")]
        {
            assert_ne!(other[4..], one[4..]);
        }
    }
}
