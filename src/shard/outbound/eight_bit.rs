//! How the body of a message goes out, and what becomes of one at a hop that does not offer what it needs. 8-bit text can be encoded (RFC 6152
//! section 3).

use std::rc::Rc;

use crate::limits;
use crate::mail::seven_bit::{Plan, Unfit};
use crate::observe::diagnostics::Level;
use crate::queue::Group;
use crate::runtime::Runtime;
use crate::shard::Shard;
use crate::shard::outbound::body::Surveyed;
use crate::shard::outbound::hop_error::HopError;
use crate::shard::outbound::session::{Choice, Connection};
use crate::shard::outbound::tally::Part;
use crate::shard::outbound::work::Run;
use crate::shard::outbound::{body, hop_error, utf8};
use crate::shard::store::load;
use crate::smtp::client::{self, Body, MissingExtension};
use crate::smtp::reply::Reply;
use crate::spool::record::MessageView;

/// A message that may be offered to a hop.
pub(super) struct PreparedMessage {
    pub(super) body: Body,
    /// What is encoded of it.
    pub(super) plan: Plan,
    /// It cannot go there: what is missing, and what those are told whom the hop would take it for.
    pub(super) withheld: Option<(MissingExtension, Reply)>,
}

impl PreparedMessage {
    fn new(body: Body, plan: Plan) -> PreparedMessage {
        PreparedMessage { body, plan, withheld: None }
    }

    /// Not by this hop. For good only when there was time to meet one that offers more.
    fn withheld<R: Runtime>(
        shard: &Shard<R>,
        connection: &Connection<R>,
        for_good: bool,
        (missing, why): (MissingExtension, &str),
    ) -> PreparedMessage {
        if !for_good {
            // One that hung up on EHLO once may offer it when it is told EHLO again.
            shard.outbound.hosts.ehlo_failures.borrow_mut().forget(&connection.hop);
        }
        let withheld = Some((missing, missing.reply(for_good, why)));
        PreparedMessage { withheld, ..PreparedMessage::new(Body::default(), Plan::default()) }
    }
}

/// The body as it lies in the spool.
pub(super) fn as_stored(view: &MessageView<'_>) -> Body {
    Body { needs: view.needs, encoded: false }
}

/// How the body goes out, and what is to be encoded of it if the hop does not take it as it is. `Err`: the reply of a failure that needs
/// no question, and whether it is for good.
pub(super) async fn prepare<R: Runtime>(
    run: &Run<'_, R>,
    connection: &Connection<R>,
    view: &MessageView<'_>,
    part: &Part<'_>,
) -> Result<PreparedMessage, (Reply, bool)> {
    let shard = run.shard;
    if connection.loops {
        // RFC 3463: 5.4.6, a routing loop.
        return Err((client::local(554, (5, 4, 6), &hop_error::loops(&connection.hop)), true));
    }
    // A 7-bit message goes as it came, lines beyond 998 octets included (RFC 5322 2.1.1): to encode them would break its signatures, and
    // most hops take them.
    let offered = &connection.capabilities;
    if !utf8::may_name(offered, view, (part.first, part.count)) {
        // Nothing is said of him there (RFC 6531 section 3.2), and it is nobody's to say more.
        let is_final = is_final(run, connection, part.group, view, MissingExtension::Utf8);
        return Ok(PreparedMessage::withheld(shard, connection, is_final, (MissingExtension::Utf8, "")));
    }
    let needs = view.needs.of_sender(view.sender);
    let missing = match offered.missing(&needs) {
        Some(missing) => missing,
        None if utf8::is_doubtful(offered, view) => match parts_need(shard, view, part).await? {
            true => MissingExtension::Utf8,
            false => return Ok(PreparedMessage::new(as_stored(view), Plan::default())),
        },
        None => return Ok(PreparedMessage::new(as_stored(view), Plan::default())),
    };
    let is_final = is_final(run, connection, part.group, view, missing);
    if missing == MissingExtension::Utf8 {
        return Ok(PreparedMessage::withheld(shard, connection, is_final, (missing, "")));
    }
    let needs = needs.encoded();
    if let Some(missing) = offered.missing(&needs) {
        return Ok(PreparedMessage::withheld(shard, connection, is_final, (missing, "")));
    }
    match body::survey(shard, view, (part.group.location.lane, part.resident)).await {
        Ok(Surveyed::SevenBit) => {
            Ok(PreparedMessage::new(Body { needs: view.needs.encoded(), encoded: false }, Plan::default()))
        }
        Ok(Surveyed::Encode(plan)) => {
            shard.instruments.counters.bodies_converted.add(1);
            Ok(PreparedMessage::new(Body { needs: view.needs.encoded(), encoded: true }, plan))
        }
        Ok(Surveyed::Unfit(why)) => {
            let why = format!(", and the message cannot be encoded: {}", why.0);
            Ok(PreparedMessage::withheld(shard, connection, is_final, (missing, &why)))
        }
        Err(error) => Err(unreadable(shard, view, part, &error)),
    }
}

/// Whether a part of the message has header fields that are not in ASCII. What is no MIME that can be read is nobody's to look into.
async fn parts_need<R: Runtime>(
    shard: &Rc<Shard<R>>,
    view: &MessageView<'_>,
    part: &Part<'_>,
) -> Result<bool, (Reply, bool)> {
    match body::survey(shard, view, (part.group.location.lane, part.resident)).await {
        Ok(surveyed) => Ok(matches!(surveyed, Surveyed::Unfit(Unfit::FIELDS))),
        Err(error) => Err(unreadable(shard, view, part, &error)),
    }
}

fn unreadable<R: Runtime>(
    shard: &Rc<Shard<R>>,
    view: &MessageView<'_>,
    part: &Part<'_>,
    error: &HopError,
) -> (Reply, bool) {
    let words = format!("cannot be delivered: {error}");
    load::report_unreadable(shard, Some(view.id), part.group.location, &words);
    (client::local(451, (4, 3, 0), &format!("the spool: {error}")), false)
}

/// Whether a message was kept long enough for a hop that takes it. Those that put off whom they do not know offer nothing until they do, and a
/// backup may offer less than the host it stands in for. TLS on demand is offered at once, or never, and SMTPUTF8 is by the best host where it
/// was told EHLO: the sender hears of that without a delay.
fn is_final<R: Runtime>(
    run: &Run<'_, R>,
    connection: &Connection<R>,
    group: &Group,
    view: &MessageView<'_>,
    missing: MissingExtension,
) -> bool {
    let is_best = connection.choice != Choice::Last && !connection.capabilities.are_none();
    if missing == MissingExtension::RequireTls || missing == MissingExtension::Utf8 && is_best {
        return true;
    }
    // By the queues' clock. How long it lives is its own: a rule or its sender may have said so.
    let lives = view.lives().seconds();
    let age = run.shard.seconds().saturating_sub(group.expiry.saturating_sub(lives));
    let kept = limits::EIGHT_BIT_KEPT.min(run.site.policy.borrow().retry.max);
    group.attempts > 0 && u64::from(age) >= kept.as_secs()
}

/// Whether other hosts of the site are asked at once for what cannot go to this one (RFC 5321 5.1).
pub(super) fn asks_another<R: Runtime>(
    run: &Run<'_, R>,
    connection: &Connection<R>,
    missing: MissingExtension,
) -> bool {
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
                "{}: it {missing}, and mail for it cannot do without; the others of its site are asked before it for {minutes} minutes",
                connection.hop
            ),
        );
    }
    true
}
