use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::config::{ListenAddress, ListenerConfig, value};
use crate::policy::clients::{TOO_BUSY, TOO_MANY_OF_CLIENT};
use crate::policy::reason::Reason;
use crate::runtime::sim::{SimRuntime, SimStream, World};
use crate::shard::alone;
use crate::shard::inbound::permit::Permit;
use crate::smtp::server::SessionConfig;

const ONE: &str = "10.0.0.1:25";
const OTHER: &str = "10.0.0.1:587";

/// A listener that greets with this name.
fn listener(
    shard: &Shard<SimRuntime>,
    address: &str,
    hostname: &str,
    connections_max: usize,
) -> Rc<Listener> {
    let address: ListenAddress = address.parse().unwrap();
    let session = SessionConfig {
        message_size_max: 1000,
        recipients_max: 10,
        dsn: true,
        ..SessionConfig::plain(hostname)
    };
    let config = ListenerConfig {
        relay_from: vec![value::network("10.0.0.0/8").unwrap()],
        message_size_max: session.message_size_max,
        recipients_max: session.recipients_max,
        connections_max,
        connections_per_client: connections_max,
        ..ListenerConfig::plain(address.clone())
    };
    Rc::new(Listener {
        config,
        session: Rc::new(session),
        live: shard.live.get(),
        place: 0,
        clients: shard.mesh.clients_of(address),
        tls: None,
    })
}

fn change(shard: &Rc<Shard<SimRuntime>>, wanted: Vec<Rc<Listener>>) {
    let prepared = prepare(shard, wanted).unwrap();
    apply(shard, prepared);
}

/// A client far away: its connection, made.
fn connect(world: &World, to: &str) -> SimStream {
    let stream = world.shard(2, 0).connect(None, to.parse().unwrap()).unwrap();
    world.block_on(stream.connected()).unwrap();
    stream
}

/// The next line it hears.
fn hears(world: &World, stream: &SimStream) -> String {
    String::from_utf8(world.block_on(stream.recv_until(b"\n", 500)).unwrap()).unwrap()
}

fn refused(world: &World, to: &str) -> bool {
    let stream = world.shard(2, 0).connect(None, to.parse().unwrap()).unwrap();
    world.block_on(stream.connected()).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn what_is_new_opens_when_it_is_applied_and_what_is_gone_closes() {
    let world = World::new(1);
    let shard = alone::shard(&world, None);
    assert!(refused(&world, ONE));
    let prepared = prepare(&shard, vec![listener(&shard, ONE, "one", 9)]).unwrap();
    let waits = connect(&world, ONE);
    assert!(world.run_until_idle(Duration::from_secs(1)));
    assert_eq!(shard.inbound.connections.get(), 0, "nobody takes it yet");
    apply(&shard, prepared);
    assert!(hears(&world, &waits).starts_with("220 one "));
    change(&shard, vec![listener(&shard, OTHER, "other", 9)]);
    assert!(hears(&world, &connect(&world, OTHER)).starts_with("220 other "));
    assert!(refused(&world, ONE), "it is closed");
    world.block_on(waits.send(b"NOOP\r\n")).unwrap();
    assert!(hears(&world, &waits).starts_with("250 "), "a session goes on");
    change(&shard, vec![listener(&shard, ONE, "again", 9)]);
    assert!(hears(&world, &connect(&world, ONE)).starts_with("220 again "));
    assert_eq!(shard.inbound.listening.borrow().len(), 1);
}

#[test]
fn one_that_cannot_be_opened_leaves_all_as_it_was() {
    let world = World::new(1);
    let shard = alone::shard(&world, None);
    change(&shard, vec![listener(&shard, ONE, "one", 9)]);
    // Another machine has it: in the simulated network addresses are those of all.
    let _taken = world.shard(3, 0).listen("10.0.0.1:26".parse().unwrap()).unwrap();
    let wanted = [OTHER, "10.0.0.1:26"].map(|address| listener(&shard, address, "new", 9));
    let error = prepare(&shard, wanted.to_vec()).err().expect("an address that is taken");
    assert_eq!((error.address.port(), error.error.kind()), (Some(26), ErrorKind::AddrInUse));
    let words = error.to_string();
    assert!(
        words.starts_with("cannot listen on 10.0.0.1:26: ") && words.contains("; another process"),
        "{words}"
    );
    assert!(refused(&world, OTHER), "what was opened beside it is closed");
    // And so is what is given up for another shard's sake.
    drop(prepare(&shard, vec![listener(&shard, OTHER, "new", 9)]).unwrap());
    assert!(refused(&world, OTHER));
    assert!(hears(&world, &connect(&world, ONE)).starts_with("220 one "));
}

/// Its socket stays, and with it who waits there; what began goes on as it did.
#[test]
fn one_that_changes_keeps_its_socket() {
    let world = World::new(1);
    let shard = alone::shard(&world, None);
    let prepared = prepare(&shard, vec![listener(&shard, ONE, "old", 1)]).unwrap();
    let waits = connect(&world, ONE);
    apply(&shard, prepared);
    // Nobody took it yet: it waits in the queue.
    change(&shard, vec![listener(&shard, ONE, "new", 1)]);
    assert!(hears(&world, &waits).starts_with("220 new "));
    assert_eq!(hears(&world, &connect(&world, ONE)), TOO_BUSY.reply);
    change(&shard, vec![listener(&shard, ONE, "newer", 2)]);
    let second = connect(&world, ONE);
    assert!(hears(&world, &second).starts_with("220 newer "));
    assert_eq!(hears(&world, &connect(&world, ONE)), TOO_BUSY.reply, "those that began before count, too");
    assert_eq!(shard.instruments.families.rejected.get(Reason::TooManyConnections as usize), 2);
    world.block_on(waits.send(b"EHLO x\r\n")).unwrap();
    assert!(hears(&world, &waits).starts_with("250-new"), "as it began");
    drop(waits);
    assert!(world.run_until_idle(Duration::from_secs(1)));
    assert!(hears(&world, &connect(&world, ONE)).starts_with("220 newer "), "it was counted out");
}

/// Each bound counts what is open, and what goes gives back what it took.
#[test]
fn a_permit_gives_back_what_it_took() {
    let world = World::new(1);
    let shard = alone::shard(&world, None);
    let (one, open) = (listener(&shard, ONE, "one", 3), Rc::default());
    let take = |client: &str, most| {
        let mut permit = Permit::of_shard(&open, most)?;
        permit.of_client(&one, client.parse().unwrap()).map(|()| permit)
    };
    let first = take("2001:db8::1", 9).unwrap();
    let others = [take("2001:db8::2", 9).unwrap(), take("192.0.2.1", 9).unwrap()];
    assert_eq!(take("192.0.2.1", 9).unwrap_err(), TOO_BUSY);
    assert_eq!(open.get(), 3, "what was refused counts nowhere");
    drop(first);
    assert_eq!(take("192.0.2.1", 2).unwrap_err(), TOO_BUSY, "this shard has as many as it may");
    drop(others);
    assert_eq!(open.get(), 0);
    let all: Vec<_> = (0..3).map(|_| take("192.0.2.1", 9).unwrap()).collect();
    assert_eq!((all.len(), open.get()), (3, 3), "nothing of them is left");
    // Whose it is may be known later, or never; and it may be another's then.
    let mut nobodys = Permit::of_shard(&open, 9).unwrap();
    assert_eq!((nobodys.of_client(&one, "192.0.2.9".parse().unwrap()), open.get()), (Err(TOO_BUSY), 4));
    drop(all);
    assert_eq!(open.get(), 1);
    for client in ["192.0.2.9", "192.0.2.8"] {
        assert_eq!(nobodys.of_client(&one, client.parse().unwrap()), Ok(()));
    }
    let others = [take("192.0.2.9", 9).unwrap(), take("192.0.2.9", 9).unwrap()];
    assert_eq!(take("192.0.2.9", 9).unwrap_err(), TOO_BUSY);
    drop((nobodys, others));
    assert_eq!((open.get(), one.clients.all()), (0, 0));
}

/// A socket that closes resets who waits there: they are taken before.
#[test]
fn one_that_goes_takes_those_that_wait() {
    let world = World::new(1);
    let shard = alone::shard(&world, None);
    let prepared = prepare(&shard, vec![listener(&shard, ONE, "one", 100)]).unwrap();
    let waiting: Vec<_> = (0..20).map(|_| connect(&world, ONE)).collect();
    apply(&shard, prepared);
    change(&shard, Vec::new());
    for stream in &waiting {
        assert!(hears(&world, stream).starts_with("220 one "));
    }
    assert!(refused(&world, ONE));
    assert_eq!(shard.instruments.counters.connections_accepted.get(), 20);
    // Again, as it was.
    change(&shard, vec![listener(&shard, ONE, "again", 21)]);
    let last = connect(&world, ONE);
    assert!(hears(&world, &last).starts_with("220 again "));
    assert_eq!(hears(&world, &connect(&world, ONE)), TOO_BUSY.reply, "its sessions count all the time");
}

/// Who comes to a Unix socket is this machine, and counts as one client.
#[test]
fn a_path_is_listened_on_like_an_address() {
    let world = World::new(1);
    let shard = alone::shard(&world, None);
    let path = "unix:/run/relevo/smtp.sock";
    let wanted = listener(&shard, path, "here", 9);
    let clients = wanted.clients.clone();
    change(&shard, vec![wanted]);
    let stream = shard.runtime.connect_path("/run/relevo/smtp.sock".as_ref()).unwrap();
    world.block_on(stream.connected()).unwrap();
    assert!(hears(&world, &stream).starts_with("220 here "));
    assert_eq!(clients.enter(IpAddr::from([127, 0, 0, 1]).into(), 9, 1).unwrap_err(), TOO_MANY_OF_CLIENT);
    change(&shard, Vec::new());
    assert!(world.run_until_idle(Duration::from_secs(1)));
    let late = shard.runtime.connect_path("/run/relevo/smtp.sock".as_ref()).unwrap();
    assert!(world.block_on(late.connected()).is_err());
}
