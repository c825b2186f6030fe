//! A session asks whether it may go on, and is told.

use crate::policy::rates::Counted;
use crate::policy::reason::{Reason, Refused};
use crate::policy::rules::Facts;
use crate::runtime::Runtime;
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::{admit, rates, suppress};
use crate::smtp::server::{Answer, Question};

/// Answers a session that asks whether a sender or a recipient is wanted. True: it is to be closed.
pub(super) fn answer<R: Runtime>(connection: &mut Connection<R>, question: Question) -> bool {
    let Connection { shard, listener, session, out, account: permit, rates: counts, .. } = connection;
    let (account, place) = (session.account(), Some(listener.place.into()));
    let (sender, recipient) = session.asked();
    let asked = recipient.filter(|_| question == Question::Recipient);
    let recipient = asked.map(|(address, _)| address);
    let client = Some(session.peer().ip());
    let facts = Facts { account, listener: place, client, sender, recipient, fields: None };
    let live = &listener.live;
    let refused = live.acceptance.refuses(&facts);
    let refused = refused.or_else(|| asked.and_then(|asked| suppress::refuses(shard, live, account, asked)));
    let refused = refused.or_else(|| admit::foreign(live, account, sender).filter(|_| recipient.is_none()));
    let refused = refused.or_else(|| admit::out_of_reach(live, account, recipient));
    let counted = if recipient.is_some() { Counted::Recipients } else { Counted::Messages };
    // Last, so that what is refused for good takes nothing of a rate.
    let put_off = match refused {
        None => rates::put_off((shard, listener), session, (counts, permit.as_ref()), counted),
        Some(_) => None,
    };
    let refused = refused.or(put_off.as_deref().map(|reply| Refused { reply, reason: Reason::Rate }));
    let answer = refused.map_or(Answer::Proceed, Answer::Refuse);
    session.answered(answer, out)
}
