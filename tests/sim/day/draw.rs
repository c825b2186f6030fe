//! The parts of a plan, drawn at random: networks, disks, sites and mail. What is drawn, in which order, is what a seed means.

use std::net::Ipv4Addr;
use std::time::Duration;

use relevo::runtime::sim::{DiskFaults, Faults};

use super::dice::Dice;
use super::plan::{End, Flavour, Host, HostState, Lookup, Manner, MessagePlan, SitePlan, VERBS};

/// By how much the wall clock is set: by minutes, or by what a dead battery or a wrong year does.
pub fn clock(dice: &mut Dice, until: u64) -> Vec<(u64, i64)> {
    const HOUR: i64 = 3_600_000;
    if dice.chance(0.5) {
        return Vec::new();
    }
    let times = dice.between(1, 3);
    let mut set: Vec<(u64, i64)> = (0..times)
        .map(|_| {
            let span = dice.pick(&[HOUR / 30, HOUR, 24 * HOUR, 6 * 24 * HOUR, 400 * 24 * HOUR]);
            let at = if dice.chance(0.5) { dice.below(10) } else { dice.below(until * 2) };
            (at, if dice.chance(0.5) { span } else { -span })
        })
        .collect();
    set.sort_unstable();
    set
}

/// Most lives end while there is much to do.
pub fn end_time(dice: &mut Dice, until: u64) -> u64 {
    let bound = dice.pick(&[3_000, 30_000, 90_000, until * 1000]);
    dice.below(bound)
}

pub fn end(dice: &mut Dice) -> End {
    match dice.below(3) {
        0 => End::Power,
        1 => End::Kill,
        _ => End::InWrite(dice.between(1, 40) as u32),
    }
}

pub fn network(dice: &mut Dice) -> Faults {
    Faults {
        latency_max: Duration::from_micros(dice.pick(&[500, 5_000, 100_000])),
        cut: dice.pick(&[0.0, 0.05, 0.4]),
        half_open: dice.pick(&[0.0, 0.0, 0.03]),
        delay: dice.pick(&[0.0, 0.01]),
        short: dice.pick(&[0.0, 0.1, 0.5]),
        spurious: dice.pick(&[0.0, 0.05]),
        datagram_loss: dice.pick(&[0.0, 0.1]),
        datagram_reorder: dice.pick(&[0.0, 0.1]),
        datagram_duplicate: dice.pick(&[0.0, 0.1]),
        ..Faults::default()
    }
}

pub fn quick(dice: &mut Dice) -> DiskFaults {
    DiskFaults { sync_max: Duration::from_micros(dice.pick(&[500, 2_000, 50_000])), ..DiskFaults::default() }
}

pub fn disk(dice: &mut Dice) -> DiskFaults {
    DiskFaults {
        append_error: dice.pick(&[0.0, 0.005, 0.05]),
        append_short: dice.pick(&[0.0, 0.005, 0.05]),
        sync_error: dice.pick(&[0.0, 0.01, 0.05]),
        ..quick(dice)
    }
}

pub fn sites(dice: &mut Dice) -> Vec<SitePlan> {
    let mut sites: Vec<SitePlan> = (0..dice.between(3, 9)).map(|number| site(dice, number)).collect();
    sites.push(origin(dice, sites.len() as u64));
    sites
}

/// The senders' own.
pub fn origin(dice: &mut Dice, number: u64) -> SitePlan {
    let mut origin = site(dice, number);
    origin.origin = true;
    origin.lookup = Lookup::Mx;
    origin.unknown_users = 0;
    origin.domains = vec!["origin.example".to_owned()];
    for manner in &mut origin.manners {
        *manner = Manner { hard: 0.0, mute: 0.0, ..*manner };
    }
    for host in &mut origin.hosts {
        host.state = HostState::Up;
    }
    origin
}

pub fn site(dice: &mut Dice, number: u64) -> SitePlan {
    let lookup = if dice.chance(0.15) {
        dice.pick(&[Lookup::Nowhere, Lookup::Null, Lookup::NoHost, Lookup::Loopback])
    } else {
        dice.pick(&[Lookup::Mx, Lookup::Mx, Lookup::Mx, Lookup::Address])
    };
    let domains = if lookup == Lookup::Address { 1 } else { dice.pick(&[1, 1, 3, 12]) };
    let domains: Vec<String> = (0..domains).map(|place| format!("d{place}.s{number}.example")).collect();
    let good = dice.chance(0.3);
    let hosts = if lookup == Lookup::Address { 1 } else { dice.between(1, 3) };
    let hosts = (0..hosts).map(|place| Host {
        name: if lookup == Lookup::Address {
            domains[0].clone()
        } else {
            format!("mx{place}.s{number}.example")
        },
        address: Ipv4Addr::new(10, 1, number as u8, place as u8 + 1),
        preference: dice.pick(&[10, 10, 20]),
        state: if good || dice.chance(0.8) {
            HostState::Up
        } else {
            dice.pick(&[HostState::Refuses, HostState::Silent])
        },
    });
    let hosts = hosts.collect();
    let mut manners = [Manner::default(); VERBS];
    for _ in 0..dice.below(4) {
        manners[dice.below(VERBS as u64) as usize] = manner(dice);
    }
    SitePlan {
        lookup,
        hosts,
        domains,
        manners: if good { [Manner::default(); VERBS] } else { manners },
        unknown_users: if good { 0 } else { dice.pick(&[0, 0, 1_000, 5_000]) },
        pipelining: dice.chance(0.7),
        origin: false,
        moves: false,
        few: 0,
        early: 0.0,
        twice: 0.0,
        midway: 0.0,
        strays: 0.0,
        coded: false,
    }
}

fn manner(dice: &mut Dice) -> Manner {
    let often = dice.pick(&[0.1, 0.3, 1.0]);
    let mut manner = Manner::default();
    match dice.below(6) {
        0 => manner.soft = often,
        1 => manner.hard = often,
        2 => manner.shut = often,
        3 => manner.cut = often,
        4 => manner.mute = often,
        _ => manner.late = often,
    }
    if dice.chance(0.3) {
        manner = Manner { soft: 0.1, hard: 0.05, shut: 0.05, cut: 0.1, mute: 0.02, late: 0.1 };
    }
    manner
}

pub fn clients(dice: &mut Dice, sites: &[SitePlan]) -> Vec<Vec<MessagePlan>> {
    let each = dice.between(1, 12);
    (0..dice.between(1, 10)).map(|_| (0..each).map(|_| message(dice, sites)).collect()).collect()
}

pub fn message(dice: &mut Dice, sites: &[SitePlan]) -> MessagePlan {
    let size = match dice.below(40) {
        0 => dice.between(256 * 1024, 2 * 1024 * 1024),
        1..8 => dice.between(8 * 1024, 300 * 1024),
        _ => dice.between(200, 8 * 1024),
    };
    let most = if size > 100 * 1024 { 3 } else { dice.pick(&[1, 1, 1, 3, 10, 50]) };
    let recipients = (0..dice.between(1, most)).map(|_| {
        // The last site is the senders' own.
        let site = dice.below(sites.len() as u64 - 1) as usize;
        (site, dice.pick(&sites[site].domains))
    });
    let recipients = recipients.collect();
    let flavour = match dice.below(10) {
        0 => Flavour::Aborts,
        1 => Flavour::Resets,
        2..6 => Flavour::Pipelined,
        _ => Flavour::Plain,
    };
    let at = if dice.chance(0.8) { dice.below(3_000) } else { dice.below(120_000) };
    let (null_sender, reuses) = (dice.chance(0.1), dice.chance(0.7));
    MessagePlan { at, size: size as usize, recipients, flavour, null_sender, reuses }
}
