//! What is sent at once: events as one JSON object, and who vouches for it.

use aws_lc_rs::hmac;

use crate::control::outlet::line::Line;

/// Events that go together.
#[derive(Debug, Default)]
pub struct Batch {
    body: Vec<u8>,
    count: usize,
    first: String,
    last: String,
}

impl Batch {
    /// One more event, a line of the journal.
    pub fn add(&mut self, event: &[u8]) {
        let id = Line::read(event).map(|line| line.text("event_id").into_owned()).unwrap_or_default();
        if self.count == 0 {
            self.first.clone_from(&id);
            self.body.extend_from_slice(b"{\"events\":[");
        } else {
            self.body.push(b',');
        }
        self.last = id;
        self.body.extend_from_slice(event.trim_ascii_end());
        self.count += 1;
    }

    /// That was all of it.
    pub fn finish(&mut self) {
        self.body.extend_from_slice(b"]}");
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.count
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
        let mut batch = Batch::default();
        for number in 1..=3 {
            batch.add(format!("{{\"event\":\"bounced\",\"event_id\":\"e{number}\"}}\n").as_bytes());
        }
        batch.finish();
        let read: serde_json::Value = serde_json::from_slice(batch.body()).unwrap();
        assert_eq!(read["events"].as_array().unwrap().len(), batch.count());
        assert_eq!((&*batch.key(), &read["events"][2]["event_id"]), ("e1..e3", &"e3".into()));
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
