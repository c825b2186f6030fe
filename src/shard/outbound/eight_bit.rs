//! How the body of a message goes out, and what becomes of one with 8-bit text at a hop that takes none (RFC 6152 section 3).

use std::rc::Rc;

use crate::limits;
use crate::mail::seven_bit::Plan;
use crate::observe::diagnostics::Level;
use crate::queue::Group;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::body::Surveyed;
use crate::shard::outbound::session::{Choice, Connection};
use crate::shard::outbound::tally::Part;
use crate::shard::outbound::work::Run;
use crate::shard::outbound::{body, session};
use crate::shard::store::load;
use crate::smtp::client::{self, Body};
use crate::smtp::reply::Reply;
use crate::spool::record::MessageView;

/// A message that may be offered to a hop.
pub(super) struct Ready {
    pub(super) body: Body,
    /// What is encoded of it.
    pub(super) plan: Plan,
    /// It cannot go there: what those are told whom the hop would take it for.
    pub(super) withheld: Option<Reply>,
}

impl Ready {
    fn new(body: Body, plan: Plan) -> Ready {
        Ready { body, plan, withheld: None }
    }
}

/// The body as it lies in the spool.
pub(super) fn as_stored(view: &MessageView<'_>) -> Body {
    if view.needs.eight_bit { Body::EightBit } else { Body::SevenBit }
}

/// How the body goes out, and what is to be encoded of it if the hop does not take it as it is. `Err`: the reply of a failure that needs
/// no question, and whether it is for good.
pub(super) async fn prepare<R: Runtime>(
    shard: &Rc<Shard<R>>,
    connection: &Connection<R>,
    view: &MessageView<'_>,
    part: &Part<'_>,
) -> Result<Ready, (Reply, bool)> {
    if connection.loops {
        // RFC 3463: 5.4.6, a routing loop.
        return Err((client::local(554, (5, 4, 6), &session::loops(&connection.hop)), true));
    }
    // A 7-bit message goes as it came, lines beyond 998 octets included (RFC 5322 2.1.1): to encode them would break its signatures, and
    // most hops take them.
    if !view.needs.eight_bit || connection.capabilities.eight_bit {
        return Ok(Ready::new(as_stored(view), Plan::default()));
    }
    match body::survey(shard, view, (part.group.location.lane, part.resident)).await {
        Ok(Surveyed::SevenBit) => Ok(Ready::new(Body::SevenBit, Plan::default())),
        Ok(Surveyed::Encode(plan)) => {
            shard.instruments.counters.bodies_converted.add(1);
            Ok(Ready::new(Body::Converted, plan))
        }
        Ok(Surveyed::Unfit(why)) => {
            let words = format!(
                "the next hop takes no 8-bit text (no 8BITMIME), and the message cannot be encoded: {}",
                why.0
            );
            let withheld = if is_final(shard, part.group, view) {
                client::local(554, (5, 6, 3), &words)
            } else {
                // One that hung up on EHLO once may offer it when it is told EHLO again.
                shard.outbound.hosts.ehlo_failures.borrow_mut().forget(&connection.hop);
                client::local(451, (4, 6, 3), &words)
            };
            Ok(Ready { withheld: Some(withheld), ..Ready::new(Body::SevenBit, Plan::default()) })
        }
        Err(error) => {
            load::report_unreadable(
                shard,
                Some(view.id),
                part.group.location,
                &format!("cannot be delivered: {error}"),
            );
            Err((client::local(451, (4, 3, 0), &format!("the spool: {error}")), false))
        }
    }
}

/// Whether a message was kept long enough for a hop that takes 8-bit text. Those that put off whom they do not know offer nothing until
/// they do, and a backup may offer less than the host it stands in for.
fn is_final<R: Runtime>(shard: &Shard<R>, group: &Group, view: &MessageView<'_>) -> bool {
    // By the queues' clock. How long it lives is its own: a rule or its sender may have said so.
    let lives = u32::try_from(view.expiry.0.saturating_sub(view.arrival.0) / 1000).unwrap_or(u32::MAX);
    let age = shard.seconds().saturating_sub(group.expiry.saturating_sub(lives));
    group.attempts > 0 && u64::from(age) >= limits::EIGHT_BIT_KEPT.min(shard.policy.get().retry.max).as_secs()
}

/// Whether other hosts of the site are asked at once for what cannot go to this one (RFC 5321 5.1).
pub(super) fn asks_another<R: Runtime>(run: &Run<'_, R>, connection: &Connection<R>) -> bool {
    let shard = run.shard;
    let now = shard.timers.recent();
    if connection.choice != Choice::First || !run.site.shown.may_move(now) {
        return false;
    }
    if shard.outbound.hosts.hop_failures.borrow_mut().note(&connection.hop, now) {
        let minutes = limits::HOP_FAILURE_KEPT.as_secs() / 60;
        shard.say(
            Level::Warning,
            format_args!(
                "{}: it takes no 8-bit text (no 8BITMIME), and mail for it cannot be encoded; the others of its site are asked before \
                 it for {minutes} minutes",
                connection.hop
            ),
        );
    }
    true
}
