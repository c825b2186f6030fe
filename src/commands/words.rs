//! What the spool tools print: times, and bytes of strangers that must not steer a terminal.

use relevo::id::MessageId;
use relevo::limits;
use relevo::mail::notify::{Asked, Ret};
use relevo::mail::parameters::Key;
use relevo::names::ends::End;
use relevo::queue::outcome::{NO_END, Stored, StoredDeferral};
use relevo::spool::inspect::{Fault, LaneReport, RecipientState};
use relevo::spool::layout::lane_name;
use relevo::spool::record::MessageView;
use relevo::time::UnixMillis;
use serde::Serialize;
use serde_json::{Value, json};

use super::table::{fit, to_the_minute};

/// RFC 3339, UTC.
pub fn time(at: UnixMillis) -> String {
    let mut out = Vec::with_capacity(24);
    at.write_iso(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The same of whole seconds, as the spool keeps retries.
pub fn seconds(at: u32) -> String {
    time(UnixMillis(u64::from(at) * 1000))
}

/// Bytes from outside as one line of text: nothing in it can move a cursor, end the line or turn the order of what follows.
pub fn plain(bytes: &[u8]) -> String {
    let mut text = String::new();
    for character in String::from_utf8_lossy(bytes).chars() {
        if character.is_control() || steers(character) {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

/// Separators of lines and paragraphs, and what sets the direction of text (UAX 9, 2.1 to 2.6): no controls by Unicode's category.
fn steers(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Bytes as text, for JSON, which escapes by itself.
pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bytes in a unit that fits.
pub fn amount(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// A count and its noun.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// One live message in a list.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// The lane it lies in.
    pub lane: u16,
    /// When it was accepted, RFC 3339.
    pub accepted: String,
    /// Bytes.
    pub size: u64,
    /// Reverse path.
    pub sender: String,
    /// Recipients it came with.
    pub recipients: u16,
    /// Those of them that are live.
    pub live: u32,
    /// The first few of these.
    pub first: Vec<String>,
    /// Most attempts of one of these.
    pub attempts: u16,
    /// Earliest next attempt; null if one is due at once.
    pub next_attempt: Option<String>,
    /// The last reply or error for the first that has one.
    pub last_reply: Option<String>,
}

impl Listed {
    /// The heads of the columns of [`Listed::row`].
    pub fn head() -> &'static str {
        "ID               LANE ACCEPTED             SIZE LIVE/ALL TRIES NEXT"
    }

    /// A line of columns, and below it from whom to whom, and what the last try said: each in so many columns.
    pub fn row(&self, columns: usize) -> String {
        let more = u64::from(self.live).saturating_sub(self.first.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let to: Vec<String> = self.first.iter().map(|one| plain(one.as_bytes())).collect();
        // Of a long sender enough is left out for a recipient.
        let sender = fit(&format!("<{}>", plain(self.sender.as_bytes())), columns / 2);
        let reply = self.last_reply.as_ref();
        let reply = reply.map(|reply| format!("\n  {}", fit(&plain(reply.as_bytes()), columns - 2)));
        let first = format!(
            "{:<16} {:>4} {:<17} {:>7} {:>8} {:>5} {}",
            self.id,
            self.lane,
            to_the_minute(&self.accepted),
            if self.size < limits::LISTED_SIZE {
                self.size.to_string()
            } else {
                format!("{}K", self.size >> 10)
            },
            format!("{}/{}", self.live, self.recipients),
            self.attempts,
            self.next_attempt.as_deref().map_or("now".to_owned(), to_the_minute),
        );
        let second = fit(&format!("{sender} > {}", to.join(", ")), columns - 2 - more.len());
        format!("{}\n  {second}{more}{}", fit(&first, columns), reply.unwrap_or_default())
    }
}

/// A lane's report as text.
pub fn lane_report(lane: u16, report: &LaneReport) -> String {
    let mut text = format!(
        "{}: {} ({} in use, {} free), {}; {} to {} live; {} of bodies checked; {}\n",
        lane_name(lane),
        count((report.active + report.free) as u64, "segment"),
        report.active,
        report.free,
        amount(report.bytes),
        count(report.messages as u64, "message"),
        count(report.recipients, "recipient"),
        amount(report.bodies),
        if report.is_sound() { "sound" } else { "DAMAGED" },
    );
    for torn in &report.torn {
        let messages: Vec<String> = torn.messages.iter().map(MessageId::to_string).collect();
        text += &format!(
            "  torn tail (a stop in the middle of a commit leaves this, and then no client had its answer): segment {:05}, offset {}: {}\n",
            torn.slot,
            torn.offset,
            if messages.is_empty() { "no message".to_owned() } else { messages.join(" ") }
        );
    }
    for rot in &report.rot {
        let message = rot.message.map_or(String::new(), |id| {
            let live = match rot.live {
                Some(true) => "live",
                Some(false) => "settled, so nothing is lost",
                None => "live unless it was settled before",
            };
            format!(" message {id} ({live}):")
        });
        text += &format!("  rot: segment {:05}, offset {}:{message} {}\n", rot.slot, rot.offset, rot.what);
    }
    if report.rot_more > 0 {
        text += &format!("  rot: {} more places\n", report.rot_more);
    }
    text
}

/// The same as JSON.
pub fn lane_report_json(lane: u16, report: &LaneReport) -> Value {
    let rot: Vec<Value> = report
        .rot
        .iter()
        .map(|rot| {
            json!({
                "segment": rot.slot, "sequence": rot.sequence, "offset": rot.offset,
                "message": rot.message.map(|id| id.to_string()), "live": rot.live, "what": rot.what,
            })
        })
        .collect();
    let torn: Vec<Value> = report
        .torn
        .iter()
        .map(|torn| {
            let messages: Vec<String> = torn.messages.iter().map(MessageId::to_string).collect();
            json!({ "segment": torn.slot, "offset": torn.offset, "messages": messages })
        })
        .collect();
    json!({
        "lane": lane, "sound": report.is_sound(), "segments": report.active + report.free, "free": report.free,
        "bytes": report.bytes, "bodies": report.bodies, "messages": report.messages,
        "recipients": report.recipients, "torn": torn, "rot": rot, "rot_more": report.rot_more,
    })
}

/// One message for `show`.
#[derive(Debug)]
pub struct MessageReport<'a> {
    /// Its record.
    pub view: MessageView<'a>,
    /// The lane it lies in now.
    pub lane: u16,
    /// Its segment's file.
    pub slot: u16,
    /// Whether a start delivers it.
    pub counts: bool,
    /// By ordinal.
    pub states: &'a [RecipientState],
    /// Its header section, or why it cannot be had.
    pub header: Result<Vec<u8>, Fault>,
}

impl MessageReport<'_> {
    fn live(&self) -> usize {
        self.states.iter().filter(|state| state.is_live()).count()
    }

    fn state(&self) -> &'static str {
        match (self.counts, self.live()) {
            (false, _) => "not counted: its commit is damaged or was never finished",
            (true, 0) => "settled",
            (true, _) => "live",
        }
    }

    /// As text.
    pub fn text(&self) -> String {
        let view = &self.view;
        let client = view.client.map_or("the relay itself".to_owned(), |client| {
            format!("{client} ({}), {}", plain(view.helo.as_bytes()), view.protocol.keyword())
        });
        let mut text = format!(
            "id        {}\nstate     {}, {} of {} live\nlies in   {}, segment {:05}, offset {}\n\
             accepted  {}\nexpires   {}\nsize      {} bytes, {} of them header\nsender    <{}>\nclient    {client}\n",
            view.id,
            self.state(),
            self.live(),
            count(u64::from(view.count), "recipient"),
            lane_name(self.lane),
            self.slot,
            view.id.offset,
            time(view.arrival),
            time(view.expiry),
            view.size,
            view.header_length,
            plain(view.sender),
        );
        for (name, value) in [("tls", view.tls), ("account", view.account)] {
            if let Some(value) = value {
                text += &format!("{name:<9} {}\n", plain(value.as_bytes()));
            }
        }
        for (name, value) in view.parameters().named() {
            text += &format!("{name:<9} {}\n", plain(value.as_bytes()));
        }
        for extent in view.extents() {
            text += &format!(
                "body      segment {:05}, offset {}, {} bytes\n",
                extent.slot, extent.offset, extent.length
            );
        }
        text += "recipients\n";
        for (ordinal, ((address, _), state)) in (0..).zip(view.recipients().zip(self.states)) {
            let own: String = own_parameters(view, ordinal)
                .iter()
                .map(|(name, value)| format!("; {name} {}", plain(value.as_bytes())))
                .collect();
            let ended = at_once(view, ordinal).map(|end| format!("; {} by a rule", end.word()));
            let ended = ended.unwrap_or_default();
            text += &format!("  <{}> {}{own}{ended}\n", plain(address), state_words(state));
        }
        match &self.header {
            Ok(header) => {
                text += "header\n";
                for line in header.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    text += &format!("  {}\n", plain(line.strip_suffix(b"\r").unwrap_or(line)));
                }
            }
            Err(why) => text += &format!("header    the body {why}\n"),
        }
        text
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let view = &self.view;
        let recipient = |(ordinal, ((address, _), state)): (u16, ((&[u8], _), &_))| {
            let mut value = state_json(address, state);
            own_parameters(view, ordinal).iter().for_each(|(name, text)| value[name] = json!(text));
            at_once(view, ordinal).into_iter().for_each(|end| value[end.word()] = json!(true));
            let Asked { notify, original } = view.asked().of(ordinal);
            if !notify.is_unsaid() {
                let mut words = Vec::new();
                notify.write(&mut words);
                value["notify"] = json!(lossy(&words));
            }
            original.into_iter().for_each(|original| value["orcpt"] = json!(lossy(original)));
            value
        };
        let recipients: Vec<Value> = (0..).zip(view.recipients().zip(self.states)).map(recipient).collect();
        let body: Vec<Value> = view
            .extents()
            .map(|extent| json!({ "segment": extent.slot, "offset": extent.offset, "length": extent.length }))
            .collect();
        let mut value = json!({
            "id": view.id.to_string(), "state": self.state(), "lane": self.lane, "segment": self.slot,
            "offset": view.id.offset, "accepted": time(view.arrival), "expires": time(view.expiry),
            "size": view.size, "header_length": view.header_length, "sender": lossy(view.sender),
            "client": view.client.map(|client| client.to_string()), "helo": view.helo,
            "protocol": view.protocol.keyword(), "tls": view.tls, "account": view.account,
            "ret": view.asked().ret().map(Ret::word), "eight_bit": view.needs.eight_bit, "live": self.live(), "recipients": recipients, "body": body,
            "header": self.header.as_ref().ok().map(|header| lossy(header)),
            "problem": self.header.as_ref().err().map(|why| format!("the body {why}")),
        });
        let parameters = view.parameters();
        for key in Key::ALL {
            value[key.name()] = match parameters.get(key) {
                Some(text) if key == Key::Metadata => serde_json::from_str(text).unwrap_or(json!(text)),
                text => json!(text),
            };
        }
        value
    }
}

/// What a recipient has in place of the message's parameters.
fn own_parameters<'a>(view: &MessageView<'a>, ordinal: u16) -> Vec<(&'static str, &'a str)> {
    let (own, message) = (view.parameters_of(ordinal), view.parameters());
    let differs = |key: &Key| own.value(*key).filter(|text| message.value(*key) != Some(text));
    Key::ALL.iter().filter_map(|key| Some((key.name(), differs(key)?))).collect()
}

/// The end that a recipient has without delivery.
fn at_once(view: &MessageView<'_>, ordinal: u16) -> Option<End> {
    let is_of = |first: u16, count: u16| (first..first.saturating_add(count)).contains(&ordinal);
    view.at_once().find(|(_, first, count)| is_of(*first, *count)).map(|(end, ..)| end)
}

fn state_words(state: &RecipientState) -> String {
    match state {
        RecipientState::Waiting => "waiting, never tried".to_owned(),
        RecipientState::Known(Stored::Deferred(StoredDeferral { attempts, next, reply, late: _ })) => {
            let tries = count(u64::from(*attempts), "attempt");
            format!("deferred, {tries}, next at {}: {}", seconds(*next), plain(reply.as_bytes()))
        }
        RecipientState::Known(Stored::Held(hold)) => {
            let until =
                if hold.until == NO_END { String::new() } else { format!(" until {}", seconds(hold.until)) };
            format!("held{until} {}: {}", plain(hold.words.as_bytes()), plain(hold.reply.as_bytes()))
        }
        other => state_name(other).to_owned(),
    }
}

fn state_name(state: &RecipientState) -> &'static str {
    match state {
        RecipientState::Waiting => "waiting",
        RecipientState::Known(stored) => stored.name(),
        RecipientState::Settled => "settled",
    }
}

fn state_json(address: &[u8], state: &RecipientState) -> Value {
    let mut value = json!({ "address": lossy(address), "state": state_name(state) });
    if let RecipientState::Known(Stored::Deferred(StoredDeferral { attempts, next, reply, late: _ })) = state
    {
        value["attempts"] = json!(attempts);
        value["next_attempt"] = json!(seconds(*next));
        value["last_reply"] = json!(reply);
    }
    if let RecipientState::Known(Stored::Held(hold)) = state {
        value["attempts"] = json!(hold.attempts);
        value["held_until"] = json!((hold.until != NO_END).then(|| seconds(hold.until)));
        value["hold"] = json!(hold.words);
        value["last_reply"] = json!(hold.reply);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_cannot_steer_the_terminal() {
        assert_eq!(plain(b"a\x1b[2J\r\nb\x07"), "a\\u{1b}[2J\\r\\nb\\u{7}");
        assert_eq!(plain("ü <ok>\u{202e}".as_bytes()), "ü <ok>\\u{202e}");
        for steering in ('\u{2028}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}')
            .chain(['\u{61c}', '\u{200e}', '\u{200f}'])
        {
            let text = plain(format!("a{steering}b").as_bytes());
            assert_eq!(text, format!("a\\u{{{:x}}}b", u32::from(steering)));
        }
        assert_eq!(plain(b"\xff\x9b"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn rows_fit_their_columns() {
        let long = |letter: &str| format!("{0}@{0}.example", letter.repeat(300));
        let listed = Listed {
            id: "00000000G0000102".to_owned(),
            lane: 1023,
            accepted: "2026-11-27T20:40:31.123Z".to_owned(),
            size: 99_999_999,
            sender: long("s"),
            recipients: 999,
            live: 998,
            first: vec![long("a"), long("b")],
            attempts: 65_535,
            next_attempt: Some("2026-11-27T21:40:00.000Z".to_owned()),
            last_reply: Some("451 4.7.1 ".to_owned() + &"later, ".repeat(100)),
        };
        for columns in [80, 100] {
            let row = listed.row(columns);
            let wide: Vec<usize> = row.lines().map(super::super::table::wide).collect();
            assert!(wide.len() == 3 && wide.iter().all(|wide| *wide <= columns), "{wide:?}\n{row}");
            assert!(row.contains(" 998/999 65535 2026-11-27T21:40Z\n") && row.contains(" 97656K "), "{row}");
            assert!(row.contains("… > aaa"), "{row}");
            assert!(row.contains("… and 996 more\n  451 4.7.1 later, later"), "{row}");
        }
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(seconds(1_700_000_000), "2023-11-14T22:13:20.000Z");
    }
}
