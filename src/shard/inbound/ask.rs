//! A session asks whether it may go on, and is told.

use crate::policy::rules::Facts;
use crate::runtime::Runtime;
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::{admit, suppress};
use crate::smtp::server::{Answer, Question};

/// Answers a session that asks whether a sender or a recipient is wanted. True: it is to be closed.
pub(super) fn answer<R: Runtime>(connection: &mut Connection<R>, question: Question) -> bool {
    let (account, listener) = (connection.session.account(), Some(connection.listener.place.into()));
    let (sender, recipient) = connection.session.asked();
    let asked = recipient.filter(|_| question == Question::Recipient);
    let recipient = asked.map(|(address, _)| address);
    let facts = Facts { account, listener, sender, recipient, fields: None };
    let live = &connection.listener.live;
    let refused = live.acceptance.refuses(&facts);
    let refused = refused
        .or_else(|| asked.and_then(|asked| suppress::refuses(&connection.shard, live, account, asked)));
    let refused = refused.or_else(|| admit::foreign(live, account, sender).filter(|_| recipient.is_none()));
    let refused = refused.or_else(|| admit::out_of_reach(live, account, recipient));
    let answer = refused.map_or(Answer::Proceed, Answer::Refuse);
    connection.session.answered(answer, &mut connection.out)
}
