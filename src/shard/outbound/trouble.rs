//! Beside transact: a host that takes no mail, or none of ours, whoever it is for.

use crate::limits;
use crate::observe::diagnostics::Level;
use crate::runtime::Runtime;
use crate::shard::outbound::hop_error::{REFUSES_US, TAKES_NO_MAIL};
use crate::shard::outbound::session::{Choice, Connection};
use crate::shard::outbound::site::NO_ANSWER;
use crate::shard::outbound::sites;
use crate::shard::outbound::work::Run;
use crate::smtp::client::{Transaction, Verdict};

/// A host took the session and no mail: the other hosts of its site are asked before it for a while, on other connections (RFC 5321 5.1).
/// True: they are to be asked for this message at once, with nothing counted against it. Where they were and the last puts MAIL off, or there
/// is none and the host says 421 to the first MAIL, the site rests: each message would cost a connection.
pub(super) fn host_failed<R: Runtime>(
    run: &Run<'_, R>,
    connection: &Connection<R>,
    (reused, in_trouble): (bool, bool),
    transaction: &mut Transaction<'_>,
) -> bool {
    let (shard, site) = (run.shard, run.site);
    let now = shard.timers.recent();
    let mut failures = shard.outbound.hosts.hop_failures.borrow_mut();
    // One MAIL that is put off after others went well says nothing of the host, unless its words do.
    if reused
        && !transaction.blames_host()
        && transaction.is_put_off()
        && !failures.is_known(&connection.hop, now)
    {
        return false;
    }
    let news = failures.note(&connection.hop, now);
    let others = connection.choice != Choice::Only;
    if others {
        transaction.close();
    }
    let why = || transaction.verdict(0).map(|(_, reply)| reply.describe()).unwrap_or_default();
    if news && others {
        let minutes = limits::HOP_FAILURE_KEPT.as_secs() / 60;
        shard.say(
            Level::Warning,
            format_args!(
                "{}: it takes no mail ({}); the others of its site are asked before it for {minutes} minutes",
                connection.hop,
                why()
            ),
        );
    }
    // Once it is known, mail comes to it when no other is left.
    let leaves = in_trouble && connection.choice == Choice::First && !transaction.made_progress();
    if leaves && site.shown.may_move(now) {
        return true;
    }
    if refuses_all(connection.choice, transaction) && !site.shown.takes_mail(now) {
        let words = format!("{TAKES_NO_MAIL}{}", why());
        *site.last_error.borrow_mut() = (NO_ANSWER, words.clone());
        sites::rest(shard, run.key, site, Level::Warning, &words);
    }
    false
}

/// Whether a host, and all others of its site, would refuse any other mail as well. What is said at RCPT, DATA or the dot may be about one
/// recipient or one message, whatever its status says: the mail of others is not to wait for it.
fn refuses_all(choice: Choice, transaction: &Transaction<'_>) -> bool {
    match choice {
        Choice::Only => transaction.is_unbegun(),
        Choice::First => false,
        Choice::Last => transaction.is_put_off(),
    }
}

/// If the hop refused us rather than the recipients: nobody is returned for it, the operator hears of it, and the site rests unless it
/// takes other mail, or other recipients of this one.
pub(super) fn refused<R: Runtime>(run: &Run<'_, R>, routed: bool, transaction: &mut Transaction<'_>) {
    let (shard, site) = (run.shard, run.site);
    let Some(reply) = transaction.forgive(routed) else { return };
    shard.instruments.counters.relay_refused.add(1);
    let words = format!("{REFUSES_US}{}", reply.describe());
    *site.last_error.borrow_mut() = (NO_ANSWER, words.clone());
    let mut verdicts = (0..).map_while(|place| transaction.verdict(place));
    let takes = verdicts.any(|(verdict, _)| matches!(verdict, Verdict::Delivered(_)));
    if takes || site.shown.takes_mail(shard.timers.recent()) {
        shard.say(Level::Error, format_args!("{}: {words}", site.hop.borrow().label));
    } else {
        sites::rest(shard, run.key, site, Level::Error, &words);
    }
}

/// A new session ended before anything came of it, by a lost connection or 421, wherever in the transaction that was. One may be a message that the hop
/// chokes on. Several in a row are a hop that takes nothing now: its site rests, longer each time, as where no session comes up (RFC 5321 4.5.4.1: each
/// further attempt is to be delayed).
pub(super) fn in_vain<R: Runtime>(run: &Run<'_, R>, transaction: &Transaction<'_>) {
    let (shard, site) = (run.shard, run.site);
    let now = shard.timers.recent();
    let rests = shard.outbound.destinations.borrow().is_closed(run.key, shard.seconds());
    if rests || !site.shown.in_vain(run.begun_at, now) || site.shown.takes_mail(now) {
        return;
    }
    let before = format!("the last {} sessions ended before anything came of them", limits::SITE_IN_VAIN);
    let words = match transaction.ended_by() {
        Some(reply) if reply.ours => format!("{before}: {}", reply.describe()),
        Some(reply) => format!("{before}; {TAKES_NO_MAIL}{}", reply.describe()),
        None => before,
    };
    *site.last_error.borrow_mut() = (NO_ANSWER, words.clone());
    site.proven.set(false);
    sites::rest(shard, run.key, site, Level::Warning, &words);
}

#[cfg(test)]
mod tests;
