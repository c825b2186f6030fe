//! Beside ask: the rates of a client, and of the account that it logged in as.

use std::sync::Arc;

use crate::policy::clients::Client;
use crate::policy::rates::{self, Counted, Whose};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::account_counts::AccountPermit;
use crate::shard::inbound::listener::Listener;
use crate::shard::rates::{Rates, Taken};
use crate::smtp::server::Session;

/// What a session counts for. Behind a box: most have no rates.
#[derive(Debug, Default)]
pub(super) struct SessionRates {
    client: Option<Arc<Rates>>,
    /// The right to a message that has come to none yet.
    unused: Taken,
}

impl SessionRates {
    /// No message comes of what was taken.
    pub(super) fn give_back(&mut self) {
        std::mem::take(&mut self.unused).give_back(Counted::Messages);
    }

    /// A message came of it.
    pub(super) fn used(&mut self) {
        self.unused = Taken::default();
    }
}

/// Takes the right to one more. What the client hears, where there is none; else nothing.
pub(super) fn put_off<R: Runtime>(
    (shard, listener): (&Shard<R>, &Listener),
    session: &Session,
    (rates, permit): (&mut Option<Box<SessionRates>>, Option<&AccountPermit>),
    counted: Counted,
) -> Option<String> {
    let accounts = listener.live.accounts.as_ref().map(|logins| logins.accounts());
    let own = session.account().and_then(|name| accounts?.own(name));
    let (of_client, of_account) = match counted {
        Counted::Messages => (listener.config.messages_per_client, own.and_then(|own| own.rate)),
        Counted::Recipients => {
            (listener.config.recipients_per_client, own.and_then(|own| own.recipients_rate))
        }
    };
    if of_client.is_none() && of_account.is_none() && rates.is_none() {
        return None;
    }
    let (now, rates) = (shard.runtime.now(), rates.get_or_insert_default());
    if counted == Counted::Messages {
        rates.give_back();
    }
    let of_client = of_client.filter(|_| !shard.runtime.planted(Defect::ClientRateUncounted));
    let of_client = of_client.and_then(|rate| {
        if rates.client.is_none() {
            let client = (listener.config.address.clone(), Client::from(session.peer().ip()));
            rates.client = shard.mesh.client_rates().of(client, now);
        }
        rates.client.clone().map(|count| (Whose::Client, count, rate))
    });
    let of_account = of_account.zip(permit.map(AccountPermit::rates));
    let of_account = of_account.map(|(rate, count)| {
        if let Some((desk, account)) = shard.mesh.cluster.desk().zip(session.account()) {
            desk.limited_account(account, (count, counted), &rate);
        }
        (Whose::Account, count.clone(), rate)
    });
    match Taken::take([of_client, of_account], counted, now) {
        Ok(taken) => {
            if counted == Counted::Messages {
                rates.unused = taken;
            }
            None
        }
        Err((whose, wait)) => Some(rates::put_off(counted, whose, wait)),
    }
}
