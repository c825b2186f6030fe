use mail_parser::{MessageParser, MimeHeaders};

use super::*;

fn of(text: &str) -> Result<Composed, Vec<String>> {
    let mail: Mail = serde_json::from_str(text).expect("it is JSON");
    compose(&mail, ("n1", "mx1.example.net", 1_796_000_000))
}

fn faults(text: &str) -> String {
    of(text).expect_err("it is wrong").join("\n")
}

#[test]
fn a_message_is_written_with_all_that_a_request_says() {
    let composed = of(
        r#"{"from":{"email":"ada@münchen.example","name":"Ada, \"L\""},"to":[{"email":"bob@example.org","name":"Bøb"},{"email":"eve@example.org"}],
            "cc":[{"email":"BOB@example.org"}],"bcc":[{"email":"hidden@example.org"}],"reply_to":{"email":"re@example.net"},
            "subject":"Grüße — a subject that is so long that it has to be folded somewhere, as lines have seventy-eight letters at most","text":"Hello\nthere","html":"<p>Hello <img src=\"cid:logo\"></p>",
            "category":"welcome","custom_variables":{"user":"7","n":1},"headers":{"X-Own":"yes","List-Unsubscribe":"<https://example.net/u>"},
            "attachments":[{"content":"aGVsbG8=","filename":"logo.png","type":"image/png","disposition":"inline","content_id":"logo"},
                           {"content":"d29ybGQ=","filename":"Übersicht.pdf","type":"application/pdf"}]}"#,
    )
    .expect("a message");
    assert_eq!(composed.sender, b"ada@xn--mnchen-3ya.example");
    let to: Vec<_> =
        composed.recipients.iter().map(|one| String::from_utf8_lossy(&one.address).into_owned()).collect();
    assert_eq!(to, ["bob@example.org", "eve@example.org", "hidden@example.org"], "each once");
    assert_eq!(composed.parameters.get(Key::Category), Some("welcome"));
    assert_eq!(composed.parameters.get(Key::Metadata), Some(r#"{"n":1,"user":"7"}"#));
    let text = String::from_utf8(composed.message.clone()).expect("ASCII");
    assert!(
        text.is_ascii() && text.split("\r\n").all(|line| line.len() <= 78 && !line.contains(['\r', '\n'])),
        "{text}"
    );
    assert!(!text.contains("hidden@"), "nobody sees whom Bcc names");
    let read = MessageParser::default().parse(&composed.message).expect("a message");
    let from = read.from().and_then(|all| all.first()).expect("an author");
    assert_eq!((from.name(), from.address()), (Some("Ada, \"L\""), Some("ada@xn--mnchen-3ya.example")));
    assert_eq!(read.subject().map(|subject| subject.starts_with("Grüße — a subject")), Some(true));
    assert_eq!(read.message_id(), Some("n1@mx1.example.net"));
    assert!(read.date().is_some() && read.header_raw("MIME-Version").is_some());
    assert_eq!(
        read.body_text(0).as_deref().map(|text| text.trim_end().replace("\r\n", "\n")),
        Some("Hello\nthere".to_owned())
    );
    assert!(read.body_html(0).is_some_and(|html| html.contains("cid:logo")));
    let files: Vec<_> = read
        .attachments()
        .map(|part| (part.attachment_name().map(str::to_owned), part.contents().to_vec()))
        .collect();
    assert!(files.contains(&(Some("Übersicht.pdf".to_owned()), b"world".to_vec())), "{files:?}");
    assert!(text.contains("Content-ID: <logo>"));
}

#[test]
fn each_fault_is_told_by_its_field() {
    assert_eq!(
        faults("{}"),
        "'from' is required\n'subject' is required\nmust specify either text or html body"
    );
    let told = faults(
        r#"{"from":{"email":"a b@x"},"to":[{"email":"ok@example.org"},{"email":"no"}],"subject":"a\r\nBcc: x@y","text":"t","category":"c\u0000",
            "headers":{"From":"x","X-Relevo-Tenant":"bank","X y":"1","X-Z":"a\nb"},"attachments":[{"content":"*","filename":""},{"content":"","filename":"f","type":"text/html; x","disposition":"beside","content_id":"<a>"}]}"#,
    );
    for wanted in [
        "'from' address is invalid",
        "'to[1]' address is invalid: it has no domain",
        "'subject' has a control character",
        "'category' has a control character",
        "'headers.From' is written by the relay",
        "'headers.X-Relevo-Tenant' is an instruction",
        "'headers' has a name that is none",
        "'headers.X-Z' has a control character",
        "'attachments[0].filename' is required",
        "'attachments[0].content' is no base64",
        "'attachments[1].type' is no media type",
        "'attachments[1].content_id' has blanks",
        "'attachments[1].disposition' is attachment or inline",
    ] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    assert!(
        faults(r#"{"from":{"email":"a@x.example"},"subject":"s","text":"t"}"#)
            .contains("at least one recipient")
    );
}

/// What a name, a subject or a field says begins no other field, whatever letters it has.
#[test]
fn nothing_gets_into_another_field() {
    for letter in ["\u{2028}", "\u{85}", "\u{feff}", "=?utf-8?q?=0D=0ABcc:_x@y?=", "\\\"", "(", "<x@y>", ";"]
    {
        let escaped = serde_json::to_string(&format!("a{letter}Bcc: x@evil.example")).expect("a text");
        let text = format!(
            r#"{{"from":{{"email":"a@x.example","name":{escaped}}},"to":[{{"email":"b@y.example","name":{escaped}}}],"subject":{escaped},"text":{escaped},
                "headers":{{"X-A":{escaped}}},"attachments":[{{"content":"","filename":{escaped}}}]}}"#
        );
        let Ok(composed) = of(&text) else { continue };
        let message = String::from_utf8(composed.message).expect("ASCII");
        let (header, _) = message.split_once("\r\n\r\n").expect("a header section");
        for line in header.split("\r\n") {
            let is_field = [
                "From:",
                "To:",
                "Subject:",
                "X-A:",
                "Date:",
                "Message-ID:",
                "MIME-Version:",
                "Content-",
                " ",
                "\t",
            ]
            .iter()
            .any(|known| line.starts_with(known));
            assert!(is_field, "{letter:?}: {line}");
        }
    }
}
