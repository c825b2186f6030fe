//! The field as it is written. What strangers gave is in it only where it is a domain, or letters of base64: nothing of it can be read as more.

use crate::limits;
use crate::mail::results::found::{FIELD, Findings, Verdict, shown};

/// Appends the field of this host.
pub fn write(out: &mut Vec<u8>, hostname: &str, findings: &Findings) {
    let Findings { spf, dkim, dmarc } = findings;
    let mut field = Field { out, length: 0 };
    field.part(format_args!("{FIELD}: {hostname}"));
    field.result("spf", spf.verdict, "");
    field.value(if spf.of_helo { "smtp.helo" } else { "smtp.mailfrom" }, shown(&spf.domain));
    if dkim.is_empty() {
        field.result("dkim", Verdict::None, "");
    }
    for one in dkim.iter().take(limits::VERIFIED_SIGNATURES_MAX) {
        field.result("dkim", one.verdict, one.reason);
        field.value("header.d", shown(&one.domain));
        field.value("header.s", shown(&one.selector));
        field.value("header.a", Some(one.algorithm).filter(|name| !name.is_empty()));
        let begins = Some(&*one.begins).filter(|text| is_begin(text));
        if let Some(text) = begins {
            field.property(format_args!("header.b=\"{text}\""));
        }
    }
    field.result("dmarc", dmarc.verdict, dmarc.reason);
    field.value("header.from", shown(&dmarc.domain));
    if matches!(dmarc.verdict, Verdict::Pass | Verdict::Fail) {
        field.value("policy.dmarc", Some(dmarc.policy.word()));
    }
    field.out.extend_from_slice(b"\r\n");
}

/// Whether it is base64, and no more than the begin of it.
fn is_begin(text: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    (1..=limits::SIGNATURE_BEGIN).contains(&text.len()) && text.bytes().all(is_base64)
}

struct Field<'a> {
    out: &'a mut Vec<u8>,
    /// Letters of its last line.
    length: usize,
}

impl Field<'_> {
    fn part(&mut self, words: std::fmt::Arguments<'_>) {
        let before = self.out.len();
        // Writing to memory cannot fail.
        let _ = std::io::Write::write_fmt(self.out, words);
        self.length += self.out.len() - before;
    }

    /// The next result, on a line of its own.
    fn result(&mut self, check: &str, verdict: Verdict, reason: &str) {
        self.out.extend_from_slice(b";\r\n\t");
        self.length = 8;
        self.part(format_args!("{check}={}", verdict.word()));
        if !reason.is_empty() {
            self.property(format_args!("reason=\"{reason}\""));
        }
    }

    fn value(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.property(format_args!("{name}={value}"));
        }
    }

    /// Behind a blank, or on the next line.
    fn property(&mut self, words: std::fmt::Arguments<'_>) {
        let text = words.to_string();
        if self.length + 1 + text.len() > limits::RESULTS_LINE {
            // Eight columns deeper than a result: none is taken for one.
            self.out.extend_from_slice(b"\r\n\t\t");
            self.length = 16;
        } else {
            self.out.push(b' ');
            self.length += 1;
        }
        self.part(format_args!("{text}"));
    }
}
