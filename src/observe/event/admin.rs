//! What operators do, as a line of the log.

use super::json::{number, string, text, until};
use crate::observe::admin::{Admin, Change};

/// Its fields.
pub(super) fn encode(admin: &Admin<'_>, out: &mut Vec<u8>) {
    let (action, by) = match admin {
        Admin::Retry(change) => ("retry", change.by),
        Admin::Bounce(change) => ("bounce", change.by),
        Admin::Hold(change) => ("hold", change.by),
        Admin::Release(change) => ("release", change.by),
        Admin::Rebind(change, _) => ("rebind", change.by),
        Admin::Trace(change) => ("trace", change.by),
        Admin::Suspend(suspended) => ("suspend", suspended.by),
        Admin::Resume(suspended) => ("resume", suspended.by),
        Admin::Suppress(change) => ("suppress", change.by),
        Admin::Unsuppress(change) => ("unsuppress", change.by),
        Admin::Erase(change) => ("erase", change.by),
        Admin::Reload { by, .. } => ("reload", *by),
        Admin::Upgrade { by } => ("upgrade", *by),
        Admin::Listed(listed) => ("listed", listed.by),
        Admin::Delisted(listed) => ("delisted", listed.by),
        Admin::Quota(_) => ("quota", "quota"),
        Admin::Edit(edit) => (edit.edited.word(), edit.by),
    };
    text("action", action, out);
    text("by", by, out);
    match admin {
        Admin::Upgrade { .. } => {}
        Admin::Trace(change) => text("filter", change.filter, out),
        Admin::Retry(change) | Admin::Bounce(change) | Admin::Hold(change) | Admin::Release(change) => {
            changed(change, out);
        }
        Admin::Rebind(change, set) => {
            text("set", set, out);
            changed(change, out);
        }
        Admin::Suppress(change) | Admin::Unsuppress(change) | Admin::Erase(change) => {
            text("filter", change.filter, out);
            text("reason", change.reason, out);
            number("count", change.entries, out);
        }
        Admin::Suspend(suspended) | Admin::Resume(suspended) => {
            text("filter", suspended.filter, out);
            text("effect", suspended.effect, out);
            text("reason", suspended.reason, out);
            until(suspended.until, out);
        }
        Admin::Listed(listed) | Admin::Delisted(listed) => {
            text("source", listed.source, out);
            text("address", listed.address, out);
            text("reason", listed.reason, out);
        }
        Admin::Quota(quota) => {
            text("filter", quota.filter, out);
            text("reason", quota.reason, out);
            for (name, value) in [("percent", quota.percent), ("count", quota.used), ("most", quota.most)] {
                number(name, value, out);
            }
            until(quota.until, out);
        }
        Admin::Edit(edit) => text("filter", edit.filter, out),
        Admin::Reload { changed, .. } => {
            out.extend_from_slice(b",\"changed\":[");
            for (place, key) in changed.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                string(key.as_bytes(), out);
            }
            out.push(b']');
        }
    }
}

/// Which mail, why, and how many.
fn changed(change: &Change<'_>, out: &mut Vec<u8>) {
    text("filter", change.filter, out);
    text("reason", change.reason, out);
    number("count", change.recipients, out);
}
