//! Sections of a shaping file that several blocks are about: domains that are sent to the same hosts.

use super::reader::Reader;
use super::scope::Scope;
use crate::import::Id;
use crate::import::words;

/// Says it in a section. What another block has said there of the same is not overwritten unseen: of two limits the tighter one holds, of anything
/// else the first.
pub(super) fn say(
    reader: &mut Reader<'_, '_>,
    scope: &Scope<'_>,
    (head, key): (&str, &'static str),
    value: &str,
    id: Id,
) {
    let block = scope.block.value.as_str();
    let place = (head.to_owned(), key);
    let Some((other, before)) = reader.said.get(&place).filter(|(other, _)| other != block).cloned() else {
        reader.said.insert(place, (block.to_owned(), id));
        return reader.out.shaping.set(head, key, value, &[id]);
    };
    let kept = reader.out.shaping.table(head).value(key).unwrap_or_default().to_owned();
    if kept == value {
        return;
    }
    let (both, tighter) = (per_day(&kept).zip(per_day(value)), words::shown(head));
    let told = |of: &str, what: &str| {
        let of = words::shown(of);
        format!("mail of <domain {of}> is counted in the same section, {tighter}, and {what} holds for both")
    };
    if both.is_some_and(|(kept, value)| value < kept) {
        reader
            .out
            .ledger
            .differs(before, &told(block, "the tighter of both limits, which is that of the other,"));
        reader.out.ledger.differs(id, &told(&other, "the tighter of both limits, this one,"));
        reader.said.insert(place, (block.to_owned(), id));
        return reader.out.shaping.set(head, key, value, &[id]);
    }
    let what = if both.is_some() {
        "the tighter of both limits, which is that of the other,"
    } else {
        "what stood there first"
    };
    reader.out.ledger.none(id, &told(&other, what));
    if both.is_some() {
        reader.out.ledger.differs(before, &told(block, "the tighter of both limits, this one,"));
    }
}

/// A count as it is, a rate as of a day: less of it is tighter. None: it is neither.
fn per_day(value: &str) -> Option<f64> {
    let Some((count, each)) = value.trim_matches('"').split_once('/') else {
        return value.parse::<u64>().ok().map(|count| count as f64);
    };
    let count: f64 = count.parse().ok()?;
    let span = match each {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        each => super::values::seconds(each)?,
    };
    Some(count * 86_400.0 / span.max(1) as f64)
}
