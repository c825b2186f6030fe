//! A policy is prepared, and taken up when it is in force.
//!
//! Until all shards have prepared it nothing of it is seen, and what they opened for it closes when whoever wanted it gives it up.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::Poll;

use crate::limits;
use crate::observe::event::{Admin, Notice};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::ask::Reply;
use crate::shard::inbound::listener::{ListenError, Listener};
use crate::shard::inbound::listeners::{self, Prepared};
use crate::shard::outbound::reroute;
use crate::shard::policy::{InForce, ListenerPolicy, Policy};
use crate::smtp::server::{Asks, Rules};

/// Opens the listeners of the policy that the shard was started with.
pub(in crate::shard) fn open<R: Runtime>(shard: &Rc<Shard<R>>) -> Result<(), ListenError> {
    let prepared = listeners::prepare(shard, wanted(shard, &shard.policy.get()))?;
    listeners::apply(shard, prepared);
    Ok(())
}

/// Those that this shard is to have.
fn wanted<R: Runtime>(shard: &Shard<R>, policy: &Rc<InForce>) -> Vec<Rc<Listener>> {
    let opened = policy.listeners.iter().enumerate().filter(|(_, listener)| listener.opens[shard.index]);
    opened.map(|(place, listener)| Rc::new(listener_of(shard, (place, listener), policy))).collect()
}

/// What the sessions of a listener share.
fn listener_of<R: Runtime>(
    shard: &Shard<R>,
    (place, ListenerPolicy { config, certificate, .. }): (usize, &ListenerPolicy),
    policy: &Rc<InForce>,
) -> Listener {
    let asks = policy.acceptance.asks();
    let asks = Asks { sender: asks.sender, recipient: asks.recipient };
    Listener {
        config: config.clone(),
        rules: Rc::new(Rules {
            hostname: shard.boot.node.hostname.clone(),
            message_size_max: config.message_size_max,
            recipients_max: config.recipients_max,
            starttls: certificate.is_some(),
            accounts: policy.accounts.is_some(),
            bare_newlines: config.bare_newlines,
            envelopes: shard.inbound.envelopes.clone(),
            asks,
        }),
        policy: policy.clone(),
        place: u16::try_from(place).unwrap_or(u16::MAX),
        clients: shard.mesh.clients_of(config.address),
        tls: certificate.clone(),
    }
}

/// A policy is prepared: sockets are opened that nobody is taken from yet. Then it waits to be in force.
pub(in crate::shard) async fn prepare<R: Runtime>(
    shard: &Rc<Shard<R>>,
    policy: Arc<Policy>,
    reply: Reply<Result<(), ListenError>>,
) {
    // What came into force while this shard was busy is taken up first: it says which sockets there are.
    for _ in 0..limits::TAKEN_UP_WITHIN {
        let generation = shard.mesh.generation();
        if shard.policy.generation() == generation {
            break;
        }
        shard.policy.hear(generation);
        shard.runtime.yield_now().await;
    }
    let policy = InForce::new(policy);
    let prepared = listeners::prepare(shard, wanted(shard, &policy));
    let answer = prepared.map(|listeners| {
        let waits = wait(shard.clone(), policy, listeners, reply.asker());
        shard.runtime.spawn_vital("policy", waits);
    });
    reply.answer(answer);
}

/// Takes up a policy that was prepared, if it comes into force.
async fn wait<R: Runtime>(
    shard: Rc<Shard<R>>,
    policy: Rc<InForce>,
    listeners: Prepared<R>,
    wanted: Weak<()>,
) {
    let deadline = shard.timers.deadline();
    loop {
        // In this order: whoever puts it in force does so before he goes.
        let given_up = wanted.strong_count() == 0 || shard.draining.get();
        if shard.mesh.generation() == policy.generation {
            take_up(&shard, policy, listeners);
            return;
        }
        if given_up && shard.runtime.planted(Defect::GivenUpTakenUp) {
            take_up(&shard, policy, listeners);
            return;
        }
        if given_up || shard.mesh.generation() > policy.generation {
            return;
        }
        deadline.set_idle(shard.runtime.now() + limits::PREPARED_LOOK);
        poll_fn(|context| {
            if shard.mesh.generation() == policy.generation {
                return Poll::Ready(());
            }
            shard.policy.listen(context.waker());
            deadline.poll_passed(context)
        })
        .await;
    }
}

fn take_up<R: Runtime>(shard: &Rc<Shard<R>>, policy: Rc<InForce>, listeners: Prepared<R>) {
    if shard.index > 0 && shard.runtime.planted(Defect::PolicyKept) {
        return;
    }
    let before = shard.policy.set(policy.clone());
    shard.outbound.resolver.take_up(policy.clone());
    listeners::apply(shard, listeners);
    reroute::begin(shard, &before, &policy);
    if shard.index == 0 {
        let done = Admin::Reload { by: &policy.by, changed: &policy.changed };
        shard.say.journal.borrow_mut().notice(shard.runtime.wall(), &Notice::Admin(done));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    use crate::config::Config;
    use crate::runtime::sim::{SimRuntime, World};
    use crate::shard::alone;
    use crate::shard::policy::Contents;

    fn policy(shard: &Shard<SimRuntime>, port: u16, generation: u64) -> Arc<Policy> {
        let text = format!(
            "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\nshards = 1\n[[listener]]\naddress = \"10.0.0.1:{port}\"\n"
        );
        let config = Config::parse(&text, Path::new("test")).unwrap();
        Arc::new(Policy::new(&config, Contents::default(), 1).after(
            &shard.policy.get(),
            generation,
            ("test", &[]),
        ))
    }

    /// A shard that hung prepares the next policy before its task has taken up the last one, which closes what the next one wants.
    #[test]
    fn what_is_in_force_is_taken_up_before_the_next_is_prepared() {
        let world = World::new(1);
        let shard = alone::shard(&world, None);
        let asker = Arc::new(());
        let settle = || world.run_for(Duration::from_secs(1));
        let prepare = |port, generation| {
            let policy = policy(&shard, port, generation);
            let done = Reply::new(&asker, |prepared: Result<(), ListenError>| prepared.unwrap());
            world.block_on(prepare(&shard, policy, done));
        };
        let hear = |generation| {
            shard.policy.hear(generation);
            settle();
        };
        prepare(25, 1);
        settle();
        shard.mesh.put_in_force(1);
        hear(1);
        prepare(26, 2);
        settle();
        shard.mesh.put_in_force(2);
        // Nobody has heard of that here.
        prepare(25, 3);
        hear(2);
        shard.mesh.put_in_force(3);
        hear(3);
        assert_eq!(shard.policy.generation(), 3);
        let open: Vec<u16> = shard.inbound.listening.borrow().keys().map(|address| address.port()).collect();
        assert_eq!(open, [25]);
    }
}
