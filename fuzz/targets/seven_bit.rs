//! Messages for next hops that take no 8-bit text, and those that came as no text at all.

use relevo::mail::seven_bit::{Converter, Plan, Rewriter, Survey, Unfit};

fn plan(message: &[u8], step: usize) -> Result<Plan, Unfit> {
    let mut survey = Survey::default();
    message.chunks(step).for_each(|piece| survey.read(piece));
    survey.finish()
}

fn rewrite(message: &[u8], plan: &Plan, step: usize) -> Vec<u8> {
    let (mut rewriter, mut out) = (Rewriter::new(plan), Vec::new());
    message.chunks(step).for_each(|piece| rewriter.write(piece, &mut out));
    rewriter.finish(&mut out);
    out
}

/// Any message is refused or becomes 7-bit, the same however it comes in pieces, and then stays as it is.
pub fn seven_bit(data: &[u8]) {
    binary(data);
    // The spool's form: CRLF ends lines, and stands nowhere else.
    let mut message = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        message.extend(line.iter().filter(|byte| **byte != b'\r'));
        message.extend_from_slice(b"\r\n");
    }
    let whole = plan(&message, message.len());
    assert_eq!(plan(&message, 7), whole);
    let Ok(whole) = whole else { return };
    let out = rewrite(&message, &whole, message.len());
    assert_eq!(rewrite(&message, &whole, 5), out);
    assert!(out.is_ascii() && out.ends_with(b"\r\n"));
    if whole.is_empty() {
        assert_eq!(out, message);
    }
    assert_eq!(plan(&out, out.len()), Ok(Plan::default()));
}

/// A binary message is refused or becomes text, the same however it comes in pieces. Nothing in that says that it is binary any more.
fn binary(data: &[u8]) {
    let convert = |message: &[u8], step: usize| {
        let (mut converter, mut out) = (Converter::default(), Vec::new());
        message.chunks(step).for_each(|piece| converter.write(piece, &mut out));
        converter.finish(&mut out);
        converter.unfit().map_or(Ok(out), Err)
    };
    let whole = convert(data, data.len().max(1));
    assert_eq!(convert(data, 1), whole);
    assert_eq!(convert(data, 7), whole);
    let Ok(text) = whole else { return };
    assert!(text.len() <= data.len() * 2 + 64);
    assert_eq!(convert(&text, text.len().max(1)).as_deref(), Ok(&text[..]));
}
