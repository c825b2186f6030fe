//! What waits, as a person reads it: rows and counts.

use relevo::control::api::shape::{Count, Row};

use super::table;
use super::words::{count as counted, plain};

/// Over the columns of [`lines`].
pub fn head() -> &'static str {
    "ID               STATE     COUNT TRIES NEXT              DOMAIN"
}

/// A line of columns, and below it at which node, from whom, and what was said last: each in so many columns.
pub fn lines(row: &Row, node: Option<&str>, columns: usize) -> String {
    let next = match (&row.next_attempt, &row.site_closed_until) {
        (Some(next), _) if row.state != "ready" => table::to_the_minute(next),
        (None, _) if row.state == "held" => "when released".to_owned(),
        (_, Some(closed)) => table::to_the_minute(closed),
        _ => "at once".to_owned(),
    };
    let said = row.suspended.as_ref().map(|why| format!("suspended: {why}"));
    let said = said.or_else(|| row.hold.as_ref().map(|why| format!("held {why}")));
    let reply =
        said.as_deref().or(row.last_reply.as_deref()).map(|reply| format!("  {}", plain(reply.as_bytes())));
    let sender = match row.damaged {
        true => "its record cannot be read".to_owned(),
        false => table::fit(&format!("<{}>", plain(row.sender.as_bytes())), columns / 2),
    };
    let first = format!(
        "{:<16} {:<9} {:>5} {:>5} {next:<17} {}",
        row.id,
        row.state,
        row.count,
        row.attempts,
        plain(row.domain.as_bytes())
    );
    let node = node.map(|node| format!("{}  ", plain(node.as_bytes()))).unwrap_or_default();
    let second = format!("{node}{sender}{}", reply.unwrap_or_default());
    format!("{}\n  {}", table::fit(&first, columns), table::fit(&second, columns - 2))
}

/// A count in words.
pub fn amount(all: &Count) -> String {
    format!(
        "{} in {}: {} deferred, {} ready{}{}; {} under way besides",
        counted(all.recipients, "recipient"),
        counted(all.groups, "group"),
        all.deferred,
        all.ready,
        if all.suspended > 0 { format!(", {} suspended", all.suspended) } else { String::new() },
        if all.held > 0 { format!(", {} held", all.held) } else { String::new() },
        counted(all.under_way, "group")
    )
}

/// A part of a count more.
pub fn add(all: &mut Count, part: &Count) {
    all.recipients = all.recipients.saturating_add(part.recipients);
    all.deferred = all.deferred.saturating_add(part.deferred);
    all.ready = all.ready.saturating_add(part.ready);
    all.suspended = all.suspended.saturating_add(part.suspended);
    all.held = all.held.saturating_add(part.held);
    all.groups = all.groups.saturating_add(part.groups);
    all.under_way = all.under_way.saturating_add(part.under_way);
}
