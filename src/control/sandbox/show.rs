//! A captured message as it is shown: who and what, text, HTML, parts. Its HTML is by anybody: it goes out under a policy in which nothing runs and nothing is
//! fetched.

use std::fmt::Write;

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{Message, MessagePart, MimeHeaders};
use serde_json::{Map, Value, json};

use super::summary::{is_inline, parsed};
use crate::limits;
use crate::mail::header;
use crate::time::UnixMillis;

/// Milliseconds since 1970, as RFC 3339 has them.
pub(in crate::control) fn time(at: i64) -> String {
    let mut out = Vec::new();
    UnixMillis(u64::try_from(at).unwrap_or(0)).write_iso(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// A part of a message on its own.
pub(in crate::control) struct Part {
    pub kind: String,
    pub name: String,
    pub bytes: Vec<u8>,
}

/// What is in a message beside its fields.
pub(in crate::control) fn contents(bytes: &[u8]) -> Value {
    parsed(bytes, |message| {
        let (mut attachments, mut inlines) = (Vec::new(), Vec::new());
        for place in message.attachments.iter().take(limits::SANDBOX_PARTS) {
            let Some(part) = message.part(*place) else { continue };
            let shown = attachment(part, *place);
            if is_inline(part) { inlines.push(shown) } else { attachments.push(shown) }
        }
        let (list, post) = (raw_field(bytes, "List-Unsubscribe"), raw_field(bytes, "List-Unsubscribe-Post"));
        let links: Vec<&str> = list.split(['<', '>']).skip(1).step_by(2).collect();
        json!({
            "Text": text(message), "HTML": html(message), "Attachments": attachments, "Inline": inlines,
            "Date": message.date().map(|date| date.to_rfc3339()),
            "ListUnsubscribe": { "Header": list, "HeaderPost": post, "Links": links, "Errors": "" },
        })
    })
    .unwrap_or_else(|| json!({"Text": "", "HTML": "", "Attachments": [], "Inline": []}))
}

fn attachment(part: &MessagePart<'_>, place: u32) -> Value {
    let bytes = part.contents();
    json!({
        "PartID": place.to_string(), "FileName": name(part), "ContentType": kind(part),
        "ContentID": part.content_id().unwrap_or_default(), "Size": bytes.len(),
        "Checksums": {
            "SHA1": hex(&SHA1_FOR_LEGACY_USE_ONLY, bytes), "SHA256": hex(&SHA256, bytes),
        },
    })
}

fn hex(by: &'static Algorithm, bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in digest(by, bytes).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn name(part: &MessagePart<'_>) -> String {
    part.attachment_name().unwrap_or_default().chars().filter(|char| !char.is_control()).collect()
}

fn kind(part: &MessagePart<'_>) -> String {
    let Some(kind) = part.content_type() else { return "application/octet-stream".to_owned() };
    let kind = format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")).to_lowercase();
    let is_kind = kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/.+-_".contains(&byte));
    if is_kind && kind.len() < 128 { kind } else { "application/octet-stream".to_owned() }
}

/// Its text; what was made of HTML is none.
fn text(message: &Message<'_>) -> String {
    let parts = message.text_bodies().filter(|part| part.is_text() && !part.is_text_html());
    parts.filter_map(|part| part.text_contents()).collect::<Vec<_>>().join("\n")
}

fn html(message: &Message<'_>) -> String {
    let parts = message.html_bodies().filter(|part| part.is_text_html());
    parts.filter_map(|part| part.text_contents()).collect::<Vec<_>>().join("\n")
}

/// Its text alone. None: it is no message.
pub(in crate::control) fn plain(bytes: &[u8]) -> Option<String> {
    parsed(bytes, text)
}

/// Its HTML with the images that it brings in it. None: there is none.
pub(in crate::control) fn page(bytes: &[u8]) -> Option<String> {
    parsed(bytes, |message| {
        let mut html = html(message);
        let mut left = limits::SANDBOX_IMAGES;
        for part in message.attachments().filter(|part| is_inline(part)).take(limits::SANDBOX_PARTS) {
            let (Some(id), bytes) = (part.content_id(), part.contents()) else { continue };
            let link = format!("cid:{id}");
            if !kind(part).starts_with("image/") || bytes.len() > left || !html.contains(&link) {
                continue;
            }
            let shown = format!("data:{};base64,{}", kind(part), STANDARD.encode(bytes));
            // An image that is shown often is in the page as often.
            let often = html.matches(&link).count();
            let Some(rest) = left.checked_sub(shown.len() * often) else { continue };
            left = rest;
            html = html.replace(&link, &shown);
        }
        html
    })
    .filter(|html| !html.is_empty())
}

/// A part by its number. None: there is none.
pub(in crate::control) fn part(bytes: &[u8], number: u32) -> Option<Part> {
    parsed(bytes, |message| {
        let part = message.part(number)?;
        Some(Part { kind: kind(part), name: name(part), bytes: part.contents().to_vec() })
    })
    .flatten()
}

/// All fields by their names, as they are written.
pub(in crate::control) fn headers(bytes: &[u8]) -> Value {
    let mut all = Map::new();
    for field in header::fields(bytes, false).take(limits::SANDBOX_FIELDS) {
        let name = String::from_utf8_lossy(field.name).into_owned();
        let value = header::one_line(field.value, bytes.len()).into_owned();
        if let Value::Array(values) = all.entry(name).or_insert_with(|| json!([])) {
            values.push(value.into());
        }
    }
    all.into()
}

fn raw_field(bytes: &[u8], name: &str) -> String {
    let field = header::fields(bytes, false).take(limits::SANDBOX_FIELDS).find(|field| field.is(name));
    field.map_or_else(String::new, |field| {
        header::one_line(field.value, limits::SANDBOX_LINE * 4).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "From: a@a.example\r\nX-A: 1\r\nX-A: two\r\n lines\r\nList-Unsubscribe: <https://a.example/u>, <mailto:u@a.example>\r\n\
        MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<img src=\"cid:logo\"><script>1</script>\r\n\
        --b\r\nContent-Type: image/png; name=\"l.png\"\r\nContent-ID: <logo>\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n\
        --b\r\nContent-Type: te<x>t/html\r\nContent-Disposition: attachment; filename=\"a.html\"\r\n\r\n<b>x</b>\r\n--b--\r\n";

    #[test]
    fn a_message_is_shown_with_its_parts() {
        let shown = contents(MAIL.as_bytes());
        assert_eq!(shown["HTML"], "<img src=\"cid:logo\"><script>1</script>");
        let inline = &shown["Inline"][0];
        assert_eq!((&inline["FileName"], &inline["Size"]), (&json!("l.png"), &json!(3)));
        assert_eq!(shown["ListUnsubscribe"]["Links"], json!(["https://a.example/u", "mailto:u@a.example"]));
        let number = inline["PartID"].as_str().unwrap().parse().unwrap();
        assert_eq!(part(MAIL.as_bytes(), number).unwrap().bytes, [0, 1, 2]);
        assert!(part(MAIL.as_bytes(), 99).is_none());
        assert_eq!(shown["Attachments"][0]["ContentType"], "application/octet-stream");
        assert!(page(MAIL.as_bytes()).unwrap().starts_with("<img src=\"data:image/png;base64,AAEC\">"));
        let fields = headers(MAIL.as_bytes());
        assert_eq!(fields["X-A"], json!(["1", "two lines"]));
    }

    /// Many links to one image would make a page of any size.
    #[test]
    fn images_are_bounded() {
        let image = STANDARD.encode(vec![0; 100_000]);
        let links = "<img src=cid:l>".repeat(10_000);
        let text = format!(
            "Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n{links}\r\n\
             --b\r\nContent-Type: image/png\r\nContent-ID: <l>\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n\r\n{image}\r\n--b--\r\n"
        );
        assert!(page(text.as_bytes()).unwrap().len() < limits::SANDBOX_IMAGES);
    }
}
