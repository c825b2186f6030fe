//! Answers of programs (RFC 3834), told apart from bounces: vacations, requests to prove something, receipts of readers.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::found::{AutoReply, AutoReplyKind};
use super::notice::{Notice, is_daemon};
use super::parts;
use super::text;

static VACATION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i-u)^(?:(?:re|aw|sv|antw|fw|fwd): *)*(?:\[?(?:auto|automatic|automated)[ -]?(?:reply|response|respons[a-z]*|answer|generated reply)|out[ -]of[ -](?:the )?office|(?:i am|i'm) (?:away|out of|on (?:vacation|leave|holiday))|away (?:from|until)|vacation\b|on (?:vacation|leave|holiday)|holiday (?:notice|reply)|absen(?:t|ce)\b|r\xC3\xA9ponse automatique|reponse automatique|absence du bureau|message d'absence|automatische antwort|abwesenheit|autom(?:atische)? ?(?:antwort|antwoord)|afwezig|risposta automatica|fuori (?:ufficio|sede)|respuesta autom|fuera de (?:la )?oficina|resposta autom|fora do escrit|ausencia|autosvar|fr\xC3\xA5nvaro|automaattinen vastaus|poissa|automatick\xC3\xA1 odpov|automatyczna odpowied|nieobecno|\xD0\x90\xD0\xB2\xD1\x82\xD0\xBE\xD0\xBE\xD1\x82\xD0\xB2\xD0\xB5\xD1\x82|\xE8\x87\xAA\xE5\x8B\x95(?:\xE5\xBF\x9C\xE7\xAD\x94|\xE8\xBF\x94\xE4\xBF\xA1)|\xE8\x87\xAA\xE5\x8A\xA8(?:\xE5\x9B\x9E\xE5\xA4\x8D|\xE7\xAD\x94\xE5\xA4\x8D))",
        r"|auto(?:matic)?[ -]?reply|autorespon|out of (?:the )?office"
    ))
    .ok()
});
static CHALLENGE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i-u)please confirm your (?:message|e-?mail)|confirm(?:ation)? (?:is )?(?:required|needed) (?:to|for|before) (?:deliver|your)|requires? (?:sender )?(?:confirmation|verification|your verification)|verify your (?:e-?mail|message|address) (?:to|so|before)|challenge[ -/]response|(?:spamarrest|boxbe|tmda|mailblocks|spam arrest|uol anti-?spam|bluebottle)|approved senders? list|(?:click|follow|reply to) .{0,80}(?:to (?:release|deliver|complete|approve)|so (?:that )?your message)|awaiting (?:your )?(?:verification|approval)|held (?:pending|until) .{0,40}(?:confirm|verif|approv)")
    .ok()
});

fn fits(pattern: &LazyLock<Option<Regex>>, text: &[u8]) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

/// What says that a program answers, if something does.
pub(super) fn read(section: &[u8], notice: &Notice) -> Option<AutoReply> {
    let mut matched = None;
    for field in parts::fields(section) {
        let value = field.text().to_ascii_lowercase();
        let found = if field.is("Auto-Submitted") {
            (value.starts_with("auto-replied") || value.starts_with("auto-generated"))
                .then_some("Auto-Submitted")
        } else if field.is("X-Autoreply") || field.is("X-Autorespond") || field.is("X-Autoresponder") {
            (value != "no").then_some("X-Autoreply")
        } else if field.is("X-Apple-Action") {
            value.contains("vacation").then_some("X-Apple-Action")
        } else if field.is("Precedence") || field.is("X-Precedence") {
            (value == "auto_reply" || value == "auto-reply").then_some("Precedence")
        } else if field.is("X-FC-MachineGenerated")
            || field.is("X-POST-MessageClass")
            || field.is("Delivered-To")
        {
            (value == "true" || value.contains("autoresponder")).then_some("X-POST-MessageClass")
        } else if field.is("X-Delivery-Agent") {
            value.contains("tmda").then_some("X-Delivery-Agent")
        } else {
            None
        };
        matched = matched.or(found);
    }
    let vacation = fits(&VACATION, notice.subject.as_bytes());
    let challenge = fits(&CHALLENGE, &notice.marked);
    let answers = parts::value(section, "In-Reply-To").is_some();
    if matched.is_none() && vacation {
        matched = Some("subject");
    }
    if matched.is_none() && challenge && (notice.null_path || answers) {
        matched = Some("words");
    }
    let matched = matched?;
    // Mail systems say so of their own notifications, too.
    if is_daemon(&notice.from) && !vacation && !challenge && !notice.from.is_empty() {
        return None;
    }
    let kind = if challenge && !vacation { AutoReplyKind::Challenge } else { AutoReplyKind::Vacation };
    Some(reply(section, notice, kind, matched))
}

/// A reader's receipt.
pub(super) fn receipt(section: &[u8], notice: &Notice) -> AutoReply {
    reply(section, notice, AutoReplyKind::Read, "rfc8098")
}

fn reply(section: &[u8], notice: &Notice, kind: AutoReplyKind, matched: &'static str) -> AutoReply {
    let last = |name: &str| {
        let value = parts::value(section, name)?;
        value.rsplit(' ').find(|word| word.starts_with('<')).map(str::to_owned)
    };
    AutoReply {
        kind,
        from: text::address(&notice.from),
        in_reply_to: last("In-Reply-To").or_else(|| last("References")),
        matched,
    }
}
