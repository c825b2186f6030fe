//! A line of the log, as whoever may only read is shown it.

use serde_json::Value;

use super::Veil;
use crate::control::outlet::line::Line;

impl Veil {
    /// Appends a line, its fields in their order. What is no event says nothing, and may name anybody: nothing is appended.
    pub(in crate::control) fn line(self, line: &[u8], out: &mut Vec<u8>) {
        let Some(event) = Line::read(line) else { return };
        out.push(b'{');
        for (place, (name, value)) in event.fields().enumerate() {
            out.extend_from_slice(if place == 0 { &b"\""[..] } else { b",\"" });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            self.field(name, value, out);
        }
        out.push(b'}');
    }

    /// All but what is told in full: any other may quote anybody, and so may one that there is not yet.
    fn field(self, name: &str, value: &[u8], out: &mut Vec<u8>) {
        let is_told = match name {
            "sender" => !self.0.sender,
            "recipients" => !self.0.recipient,
            _ => false,
        };
        // An @ stands there as it is, or behind a backslash as its number.
        if is_told || memchr::memchr2(b'@', b'\\', value).is_none() {
            return out.extend_from_slice(value);
        }
        match serde_json::from_slice(value) {
            Ok(value) => {
                // A vector takes all.
                let _ = serde_json::to_writer(out, &self.value(value));
            }
            // What a client gave as metadata may be deeper than anybody reads.
            Err(_) => out.extend_from_slice(b"null"),
        }
    }

    /// With each text in it shortened.
    fn value(self, value: Value) -> Value {
        let short = |mut text: String| {
            self.words(&mut text);
            text
        };
        match value {
            Value::String(text) => Value::String(short(text)),
            Value::Array(all) => Value::Array(all.into_iter().map(|one| self.value(one)).collect()),
            Value::Object(all) => {
                Value::Object(all.into_iter().map(|(name, one)| (short(name), self.value(one))).collect())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::access::Redact;

    const LINE: &str = r#"{"time":"2026-11-30T05:00:00.123Z","event":"bounced","sender":"news@z.example","recipients":["ada@y.example","\"b c\"@y.example"],"account":"shop@z.example","metadata":{"to@y.example":["\u0061da\u0040y.example",{"n":1}]},"reply":"550 5.1.1 <ada@y.example>: no \"such\" user","attempts":1}"#;

    fn seen(recipient: bool, sender: bool, line: &str) -> String {
        let mut out = b"before ".to_vec();
        Veil(Redact { recipient, sender }).line(line.as_bytes(), &mut out);
        String::from_utf8(out).expect("text").strip_prefix("before ").expect("appended").to_owned()
    }

    #[test]
    fn no_field_names_anybody() {
        let both = r#"{"time":"2026-11-30T05:00:00.123Z","event":"bounced","sender":"n…@z.example","recipients":["a…@y.example","…@y.example"],"account":"s…@z.example","metadata":{"t…@y.example":["a…@y.example",{"n":1}]},"reply":"550 5.1.1 <a…@y.example>: no \"such\" user","attempts":1}"#;
        assert_eq!(seen(true, true, LINE), both);
        let (sender, short) = (r#""sender":"news@z.example""#, r#""sender":"n…@z.example""#);
        assert_eq!(seen(true, false, LINE), both.replace(short, sender));
        let (recipients, short) = (
            r#""recipients":["ada@y.example","\"b c\"@y.example"]"#,
            r#""recipients":["a…@y.example","…@y.example"]"#,
        );
        assert_eq!(seen(false, true, LINE), both.replace(short, recipients));
        let plain = r#"{"event":"admin","count":3}"#;
        assert_eq!((seen(true, true, plain), seen(true, true, "{}")), (plain.to_owned(), "{}".to_owned()));
    }

    #[test]
    fn what_cannot_be_read_names_nobody() {
        for end in 0..LINE.len() {
            assert_eq!(seen(true, true, &LINE[..end]), "", "{end}");
        }
        let deep = format!(r#"{{"metadata":{}"ada@x"{}}}"#, "[".repeat(200), "]".repeat(200));
        assert_eq!(seen(true, true, &deep), r#"{"metadata":null}"#);
    }
}
