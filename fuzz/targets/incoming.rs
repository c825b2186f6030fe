//! Mail that comes back, and the return paths it comes to.

use relevo::id::MessageId;
use relevo::limits;
use relevo::mail::bounce::verp::{Copy, Verp};
use relevo::mail::bounce::{self, Incoming, Original, Returned, Unsubscribe};
use relevo::mail::unsubscribe::Links;
use relevo::time::UnixMillis;

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

/// Whatever a message is, what is found in it keeps its bounds, and can be put in a log line by line.
pub fn incoming(data: &[u8]) {
    let found = bounce::read(data, b"ada@a.example");
    match &found {
        Incoming::Bounce(returned) | Incoming::Delay(returned) | Incoming::Receipt(returned) => {
            assert_returned(returned);
        }
        Incoming::Complaint(complaint) => {
            assert_original(&complaint.original);
            assert!(complaint.recipients.len() <= limits::INCOMING_ADDRESSES_MAX);
            complaint.recipients.iter().for_each(|one| assert_line(one, limits::INCOMING_ADDRESS_MAX));
            assert!(!complaint.matched.is_empty());
        }
        Incoming::AutoReply(reply) => assert!(!reply.matched.is_empty()),
        Incoming::Unsubscribe(wish) => panic!("{wish:?}: it came to another address"),
        Incoming::Other => {}
    }
    links(data);
    // What stands behind the front piece makes no difference.
    if data.len() >= 4096 {
        return paths(data);
    }
    let front = [data, &b"\n".repeat(limits::INCOMING_FRONT_MAX - data.len())].concat();
    let more = [front.as_slice(), b"From: x\n\n--x\nFinal-Recipient: rfc822; z@z.example\n"].concat();
    assert_eq!(bounce::read(&front, b""), bounce::read(&more, b""));
    paths(data);
}

/// Whatever a subject is, nobody is unsubscribed but by what a secret of ours sealed.
fn links(data: &[u8]) {
    let links = Links::new("u.example", None, [&[7; limits::UNSUBSCRIBE_SECRET]]);
    if let Incoming::Unsubscribe(Unsubscribe::Asked(token)) = bounce::read(data, b"unsubscribe@a.example") {
        assert!(token.len() <= limits::INCOMING_VALUE_MAX && links.read(&token).is_none());
    }
}

fn assert_returned(returned: &Returned) {
    assert!((1..=limits::INCOMING_REPORTS_MAX).contains(&returned.reports.len()));
    assert!(!returned.matched.is_empty());
    for report in &returned.reports {
        assert_line(&report.recipient, limits::INCOMING_ADDRESS_MAX);
        assert_line(&report.diagnostic, limits::INCOMING_REASON_MAX.max(limits::INCOMING_VALUE_MAX));
        report.original_recipient.iter().for_each(|one| assert_line(one, limits::INCOMING_ADDRESS_MAX));
        report.remote_mta.iter().for_each(|name| assert_line(name, limits::INCOMING_VALUE_MAX));
        assert!(report.code.is_none_or(|code| (200..600).contains(&code)));
    }
    assert_original(&returned.original);
}

fn assert_original(original: &Original) {
    let lists = [&original.from, &original.to, &original.return_paths];
    for address in lists.into_iter().flatten() {
        assert_line(address, limits::INCOMING_ADDRESS_MAX);
        assert!(address.contains('@'));
    }
    assert!(lists.iter().all(|list| list.len() <= limits::INCOMING_ADDRESSES_MAX + 1));
    for text in [&original.message_id, &original.date, &original.subject, &original.list_unsubscribe] {
        text.iter().for_each(|text| assert_line(text, limits::INCOMING_VALUE_MAX));
    }
}

fn assert_line(text: &str, most: usize) {
    assert!(text.len() <= most && !text.chars().any(char::is_control), "{text:?}");
}

/// A return path that is read is one that was written, to the letter but for their case.
fn paths(data: &[u8]) {
    let verp = Verp::new("a.example", "mx1", &[7; 32], Some(&[8; 32]), 14).expect("a long secret");
    let number = data.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let id =
        MessageId { lane: number as u16, sequence: (number >> 16) as u32, offset: (number >> 32) as u32 };
    let (recipient, tenant) = (&data[..data.len().min(40)], if number & 1 == 0 { "shop" } else { "" });
    let copy = Copy { id, ordinal: number as u16, recipient, tenant };
    let path = verp.write(&copy, NOW);
    let sent = verp.read(path.to_ascii_uppercase().as_bytes(), NOW).expect("it was written");
    assert_eq!((sent.id, sent.ordinal), (id, number as u16));
    let mut changed = path.clone().into_bytes();
    for (place, byte) in data.iter().take(4).enumerate() {
        let place = (usize::from(*byte) + place) % changed.len();
        changed[place] = *byte;
    }
    match verp.read(&changed, NOW) {
        Ok(_) => assert!(changed.eq_ignore_ascii_case(path.as_bytes()), "{}", changed.escape_ascii()),
        Err(unfit) => assert!(!unfit.to_string().is_empty()),
    }
}
