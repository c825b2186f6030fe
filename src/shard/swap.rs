//! A configuration is prepared, and taken up when it is in force.
//!
//! Until all shards have prepared it nothing of it is seen, and what they opened for it closes when whoever wanted it gives it up.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::Poll;

use crate::config::Content;
use crate::limits;
use crate::observe::event::{Admin, Notice};
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::ask::Reply;
use crate::shard::inbound::listener::{ListenError, Listener};
use crate::shard::inbound::listeners::{self, Prepared};
use crate::shard::live::{InForce, LiveConfig};
use crate::shard::outbound::reroute;
use crate::shard::suspend;
use crate::smtp::data::Scanners;
use crate::smtp::server::{Questions, SessionConfig};

/// Opens the listeners of the configuration that the shard was started with.
pub(in crate::shard) fn open<R: Runtime>(shard: &Rc<Shard<R>>) -> Result<(), ListenError> {
    let live = shard.live.get();
    shard.mesh.quotas().put_in_force(live.generation, &live.quotas);
    let prepared = listeners::prepare(shard, wanted(shard, &live))?;
    listeners::apply(shard, prepared);
    Ok(())
}

/// Those that this shard is to have.
fn wanted<R: Runtime>(shard: &Shard<R>, live: &Rc<InForce>) -> Vec<Rc<Listener>> {
    let opened = (0..live.listeners.len()).filter(|place| live.listeners[*place].opens[shard.index]);
    opened.map(|place| Rc::new(listener_of(shard, place, live))).collect()
}

/// What the sessions of a listener share.
fn listener_of<R: Runtime>(shard: &Shard<R>, place: usize, live: &Rc<InForce>) -> Listener {
    let (config, certificate) = (&live.config.listeners[place], &live.listeners[place].certificate);
    let stages = live.acceptance.stages();
    let kind = config.kind;
    let questions = Questions {
        sender: stages.sender
            || config.messages_per_client.is_some()
            || live.binds(|own| !own.senders.is_empty() || own.rate.is_some()),
        recipient: stages.recipient
            || config.recipients_per_client.is_some()
            || live.binds(|own| !own.recipients.is_empty() || own.recipients_rate.is_some()),
    };
    Listener {
        config: config.clone(),
        session: Rc::new(SessionConfig {
            hostname: shard.boot.node.hostname.clone(),
            kind,
            message_size_max: config.message_size_max,
            recipients_max: config.recipients_max,
            starttls: certificate.is_some() && !kind.is_tls_first(),
            auth: live.mechanisms(config),
            dsn: live.config.bounces.dsn,
            bare_newlines: config.bare_newlines,
            content: (config.content != Content::USUAL).then(|| Rc::new(config.content)),
            manner: config.manner.clone(),
            limits: true,
            scanners: Scanners::default(),
            envelopes: shard.inbound.envelopes.clone(),
            questions,
            // What comes back comes from other servers.
            returns: live.returns.clone().filter(|_| !kind.needs_login()),
            gateway: live.listeners[place].gateway.clone(),
        }),
        live: live.clone(),
        place: u16::try_from(place).unwrap_or(u16::MAX),
        clients: shard.mesh.clients_of(config.address.clone()),
        tls: certificate.clone(),
    }
}

/// A configuration is prepared: sockets are opened that nobody is taken from yet. Then it waits to be in force.
pub(in crate::shard) async fn prepare<R: Runtime>(
    shard: &Rc<Shard<R>>,
    live: Arc<LiveConfig>,
    reply: Reply<Result<(), ListenError>>,
) {
    // What came into force while this shard was busy is taken up first: it says which sockets there are.
    for _ in 0..limits::TAKEN_UP_WITHIN {
        let generation = shard.mesh.generation();
        if shard.live.generation() == generation {
            break;
        }
        shard.live.hear(generation);
        shard.runtime.yield_now().await;
    }
    let live = InForce::new(live);
    let prepared = listeners::prepare(shard, wanted(shard, &live));
    let answer = prepared.map(|listeners| {
        let waits = wait(shard.clone(), live, listeners, reply.asker());
        shard.runtime.spawn_vital("policy", waits);
    });
    reply.answer(answer);
}

/// Takes up a configuration that was prepared, if it comes into force.
async fn wait<R: Runtime>(shard: Rc<Shard<R>>, live: Rc<InForce>, listeners: Prepared<R>, wanted: Weak<()>) {
    let deadline = shard.timers.deadline();
    loop {
        // In this order: whoever puts it in force does so before he goes.
        let given_up = wanted.strong_count() == 0 || shard.draining.get();
        if shard.mesh.generation() == live.generation {
            take_up(&shard, live, listeners);
            return;
        }
        if given_up && shard.runtime.planted(Defect::GivenUpTakenUp) {
            take_up(&shard, live, listeners);
            return;
        }
        if given_up || shard.mesh.generation() > live.generation {
            return;
        }
        deadline.set_idle(shard.runtime.now() + limits::PREPARED_LOOK);
        poll_fn(|context| {
            if shard.mesh.generation() == live.generation {
                return Poll::Ready(());
            }
            shard.live.listen(context.waker());
            deadline.poll_passed(context)
        })
        .await;
    }
}

fn take_up<R: Runtime>(shard: &Rc<Shard<R>>, live: Rc<InForce>, listeners: Prepared<R>) {
    if shard.index > 0 && shard.runtime.planted(Defect::PolicyKept) {
        return;
    }
    shard.mesh.quotas().put_in_force(live.generation, &live.quotas);
    shard.mesh.cluster.desk().into_iter().for_each(|desk| live.tenant_rates.share_with_nodes(desk));
    let before = shard.live.set(live.clone());
    shard.outbound.resolver.take_up(live.clone());
    shard.outbound.addresses.set_limit(live.config.delivery.connections_per_address);
    listeners::apply(shard, listeners);
    reroute::begin(shard, &before, &live);
    shard.outbound.destinations.borrow_mut().set_weights(live.tenants.weights().clone());
    suspend::hear_again(shard);
    if shard.index == 0 {
        let done = Admin::Reload { by: &live.by, changed: &live.changed };
        shard.say.events.borrow_mut().notice_at_once(shard.runtime.wall(), &Notice::Admin(done));
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
    use crate::shard::live::Contents;

    fn live(shard: &Shard<SimRuntime>, port: u16, generation: u64) -> Arc<LiveConfig> {
        let text = format!(
            "[node]\nhostname = \"relay.example\"\ndata_dir = \"/spool\"\nshards = 1\n[[listener]]\naddress = \"10.0.0.1:{port}\"\n"
        );
        let config = Config::parse(&text, Path::new("test")).unwrap();
        Arc::new(LiveConfig::new(Arc::new(config), Contents::default(), 1).after(
            &shard.live.get(),
            generation,
            ("test", &[]),
        ))
    }

    /// A shard that hung prepares the next configuration before its task has taken up the last one, which closes what the next one wants.
    #[test]
    fn what_is_in_force_is_taken_up_before_the_next_is_prepared() {
        let world = World::new(1);
        let shard = alone::shard(&world, None);
        let asker = Arc::new(());
        let settle = || world.run_for(Duration::from_secs(1));
        let prepare = |port, generation| {
            let live = live(&shard, port, generation);
            let done = Reply::new(&asker, |prepared: Result<(), ListenError>| prepared.unwrap());
            world.block_on(prepare(&shard, live, done));
        };
        let hear = |generation| {
            shard.live.hear(generation);
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
        assert_eq!(shard.live.generation(), 3);
        let open: Vec<u16> =
            shard.inbound.listening.borrow().keys().filter_map(|address| address.port()).collect();
        assert_eq!(open, [25]);
    }
}
