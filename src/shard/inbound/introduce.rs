//! XCLIENT: a gateway says for whom it is there. From then on the connection is that client's, as behind the header of a proxy: it is counted, judged and told
//! of as if it had come itself. What follows may be that client's bytes, as nginx hands them on, so it names nobody else: a second XCLIENT would make every client of a gateway one.

use std::net::{IpAddr, SocketAddr};

use crate::policy::relay::Way;
use crate::runtime::Runtime;
use crate::shard::inbound::connection::Connection;
use crate::shard::inbound::gateway::Gateway;
use crate::shard::inbound::logins::Login;
use crate::shard::inbound::{log_in, reject};
use crate::smtp::xclient::{Address, Introduction};

/// It says for whom it is there. False: the session is over.
pub(super) fn introduce<R: Runtime>(connection: &mut Connection<R>, said: &Introduction) -> bool {
    let before = connection.session.peer();
    let client = match said.address {
        Address::Is(address) => SocketAddr::new(address, said.port.unwrap_or_default()),
        Address::Same | Address::Unknown => SocketAddr::new(before.ip(), said.port.unwrap_or(before.port())),
    };
    if said.login.as_deref().is_some_and(|account| !logs_in(connection, account, client.ip())) {
        let close = connection.session.introduction_refused(&mut connection.out);
        connection.session.refused(&connection.out, said.login.as_deref());
        connection.record_refusals();
        return !close;
    }
    let way = connection.way;
    let through = connection
        .gateway
        .get_or_insert_with(|| Box::new(Gateway { address: before.ip(), way: way.on_behalf(before.ip()) }));
    let way = match said.address {
        Address::Same => way,
        Address::Unknown => Way::Unnamed,
        Address::Is(_) => through.way,
    };
    // What was taken for whom it was before is given back.
    connection.rates.take().into_iter().for_each(|mut rates| rates.give_back());
    (connection.account, connection.is_certified) = (None, false);
    if let Err(refused) = connection.counts_for(way, (said.address != Address::Same).then_some(client.ip())) {
        reject::count(&connection.shard, client, refused);
        connection.out.extend_from_slice(refused.reply.as_bytes());
        return false;
    }
    connection.way = way;
    let may_relay = way.may_relay(&connection.listener.config.relay_from, client.ip());
    connection.session.is_introduced(client, may_relay, said);
    if let Some(account) = &said.login
        && log_in::enter(connection, account) != Login::Right
    {
        connection.session.authentication_full(&mut connection.out);
        connection.session.refused(&connection.out, Some(account));
        connection.record_refusals();
        return false;
    }
    connection.session.greet(&mut connection.out);
    true
}

/// Whether an account of this name would be let in from there with its password. That the gateway has asked for.
fn logs_in<R: Runtime>(connection: &Connection<R>, account: &str, client: IpAddr) -> bool {
    let listener = &connection.listener;
    let logins = listener.live.accounts.as_ref().filter(|_| !listener.session.auth.is_empty());
    logins.is_some_and(|logins| logins.accounts().has(account) && logins.lets(account, client))
}
