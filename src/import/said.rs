//! Sections of a shaping file that several parts of an original are about: two domains, or two clients, whose mail goes to the same hosts.

use std::collections::BTreeMap;

use super::words::shown;
use super::{Id, Imported};
use crate::shaping::value::rate;

/// What was said in sections, and by whom.
#[derive(Debug, Default)]
pub(super) struct Said(BTreeMap<(String, String), (String, Id)>);

impl Said {
    /// Says it in a section. What another has said there of the same is not overwritten unseen: of two limits the tighter one holds, of anything
    /// else the first.
    pub fn say(&mut self, out: &mut Imported, (who, head, key): (&str, &str, &str), value: &str, id: Id) {
        let place = (head.to_owned(), key.to_owned());
        let Some((other, before)) = self.0.get(&place).filter(|(other, _)| other != who).cloned() else {
            self.0.insert(place, (who.to_owned(), id));
            return out.shaping.set(head, key, value, &[id]);
        };
        let kept = out.shaping.table(head).value(key).unwrap_or_default().to_owned();
        if kept == value {
            return;
        }
        let both = per_day(&kept).zip(per_day(value));
        let told = |of: &str, what: &str| {
            format!(
                "mail of {} is counted in the same section, {}, and {what} holds for both",
                shown(of),
                shown(head)
            )
        };
        if both.is_some_and(|(kept, value)| value < kept) {
            out.ledger.differs(before, &told(who, "the tighter of both limits, which is that of the other,"));
            out.ledger.differs(id, &told(&other, "the tighter of both limits, this one,"));
            self.0.insert(place, (who.to_owned(), id));
            return out.shaping.set(head, key, value, &[id]);
        }
        let what = match both {
            Some(_) => "the tighter of both limits, which is that of the other,",
            None => "what stood there first",
        };
        out.ledger.none(id, &told(&other, what));
        if both.is_some() {
            out.ledger.differs(before, &told(who, "the tighter of both limits, this one,"));
        }
    }
}

/// A count as it is, a rate as of a day: less of it is tighter. None: it is neither.
fn per_day(value: &str) -> Option<f64> {
    let text = value.trim_matches('"');
    let of_rate = || rate(text).map(|rate| rate.count as f64 * 86_400.0 / rate.period.as_secs_f64());
    text.parse::<u64>().ok().map(|count| count as f64).or_else(of_rate)
}
