//! Mail of tenants, campaigns and priorities, each in queues of its own.

use super::*;
use crate::mail::parameters::Priority;
use crate::queue::flow::Flow;

fn flow(class: Priority, tenant: u32, campaign: u32) -> Strand {
    Strand { flow: Flow { class, tenant, campaign }, ..Strand::default() }
}

/// Queues mail for a domain of the site `mx`.
fn push(queue: &mut Destinations, name: &str, strand: Strand, offset: u32) -> SiteKey {
    match queue.push_for((name, strand), group(offset, 1), 10, 7) {
        Some(Effect::Resolve(key, _)) => queue.resolved(key, "mx").expect("a site"),
        effect => site_of(effect),
    }
}

/// An application may call each message a campaign, and each a tenant.
#[test]
fn flows_of_a_domain_are_bounded_and_forgotten() {
    let mut queue = Destinations::new(vec![u32::MAX]);
    let most = limits::FLOWS_A_DOMAIN;
    let mut site = SiteKey(0);
    for number in 1..=5_000 {
        site = push(&mut queue, "a.example", flow(Priority::Normal, 1, number), number);
    }
    assert_eq!(queue.domains.count(), most + 1, "what is over is one campaign");
    push(&mut queue, "a.example", flow(Priority::Normal, 2, 9), 5_001);
    assert_eq!(queue.domains.count(), most + 2, "another tenant has a part of its own all the same");
    for number in 1..=5_000 {
        push(&mut queue, "a.example", flow(Priority::High, 100 + number, number), 5_001 + number);
    }
    assert_eq!(queue.domains.count(), 2 * most + 1, "nobody's, beyond that");
    push(&mut queue, "b.example", flow(Priority::Normal, 1, 9), 20_000);
    assert_eq!(queue.domains.count(), 2 * most + 2, "each domain has its own");
    let mut taken = 0;
    while let Some((key, group)) = job(&mut queue, site, 10) {
        queue.attempted(key, &group, &[], 10);
        taken += 1;
    }
    assert_eq!((taken, queue.queued()), (10_002, 0));
    queue.tick(10 + limits::RESOLVED_FOR, 1_000);
    assert_eq!(queue.domains.count(), 0);
    assert_eq!(queue.domains.strands(), 0);
}

#[test]
fn mail_without_parameters_is_found_where_it_was() {
    let mut queue = Destinations::new(vec![10]);
    let named = flow(Priority::Normal, 1, 0);
    push(&mut queue, "a.example", Strand::default(), 1);
    push(&mut queue, "a.example", named, 2);
    push(&mut queue, "a.example", named, 3);
    let all = known::domains(&queue, "a.example", 9);
    assert_eq!(all.len(), 2);
    let waiting = |state: &known::DomainState| moves::waiting(&queue, state.key);
    assert_eq!(all.iter().map(waiting).collect::<Vec<_>>(), [1, 2]);
}

fn normal(tenant: u32, campaign: u32) -> Strand {
    flow(Priority::Normal, tenant, campaign)
}

/// How many of so many messages each tenant gets.
fn taken(queue: &mut Destinations, site: SiteKey, messages: usize) -> Vec<usize> {
    let mut by = vec![0; 10];
    for _ in 0..messages {
        let (key, group) = job(queue, site, 10).expect("there is mail");
        by[queue.domains.get(key).expect("it has mail").flow().tenant as usize] += 1;
        queue.attempted(key, &group, &[], 10);
    }
    by
}

/// However many domains each has mail for.
#[test]
fn tenants_share_a_site_by_their_weights() {
    let mut queue = Destinations::new(vec![u32::MAX]);
    queue.set_weights(Weights::of_numbers([(2, 3)]));
    let mut site = SiteKey(0);
    for number in 0..400 {
        site = push(&mut queue, &format!("d{}.example", number % 50), normal(1, 0), 1 + number);
        push(&mut queue, "big.example", normal(2, number % 3), 1_001 + number);
    }
    assert_eq!(taken(&mut queue, site, 400)[1..3], [100, 300]);
    queue.set_weights(Weights::default());
    assert_eq!(taken(&mut queue, site, 100)[1..3], [50, 50], "at once after a reload");
    assert_eq!(taken(&mut queue, site, 300)[1..3], [250, 50]);
    assert_eq!((queue.take(site, 10), queue.ready(site, 10)), (Take::Nothing, 0));
    push(&mut queue, "big.example", normal(2, 0), 5_000);
    push(&mut queue, "big.example", normal(2, 0), 5_001);
    taken(&mut queue, site, 2);
    assert!(queue.sites.get(site).rings.is_one(), "of one flow there is one ring");
}

/// Who runs out of mail while others have some is told of, and who has had it for long is known.
#[test]
fn who_sends_now_and_then_is_told_apart() {
    let mut queue = Destinations::new(vec![u32::MAX]);
    let few = limits::STEADY_FROM;
    let mut site = SiteKey(0);
    for number in 0..2 * few {
        site = push(&mut queue, "a.example", normal(1, 0), 1 + number);
    }
    let steady = |queue: &mut Destinations, few| queue.over_node(site).has_steady(few, 10);
    assert!(
        steady(&mut queue, 5) && !steady(&mut queue, 2 * few as usize),
        "it is the only one: what waits counts"
    );
    let tenants = [(Priority::Normal, 2), (Priority::Low, 3), (Priority::High, 4)];
    for (class, tenant) in tenants {
        let message = 1_000 + tenant;
        push(&mut queue, "b.example", flow(class, tenant, 0), message);
        let now = !steady(&mut queue, 0);
        assert_eq!(now, tenant != 3, "what is less urgent is not next");
        if now {
            assert!(matches!(queue.take(site, 10), Take::Last(_, taken) if taken.key == message));
        }
        assert!(steady(&mut queue, 0), "{class:?}");
    }
    for number in 0..few + 2 {
        push(&mut queue, "c.example", normal(5, number % 3), 2_000 + number);
    }
    let mut last = Vec::new();
    while let taken @ (Take::Job(key, group) | Take::Last(key, group)) = queue.take(site, 10) {
        if matches!(taken, Take::Last(..)) {
            last.push(group.key);
        }
        queue.attempted(key, &group, &[], 10);
    }
    assert_eq!(last, [2_000 + few + 1], "of the last that is there nobody is told");
}

/// Mail whose lane has no credit keeps its turn, and that of others goes on meanwhile, by turns.
#[test]
fn who_finds_no_credit_holds_up_nobody() {
    let mut queue = Destinations::new(vec![0, u32::MAX]);
    let mut site = SiteKey(0);
    for number in 0..60 {
        let strand = flow(Priority::High, 1 + number % 2, number % 7);
        site = push(&mut queue, &format!("d{number}.example"), strand, 1 + number);
    }
    let other = |offset| Group { location: Location { lane: 1, slot: 0, offset }, ..group(offset, 1) };
    for number in 0..90 {
        let strand = flow(Priority::Low, 3 + number % 3, 0);
        let asked = queue.push_for(("e.example", strand), other(100 + number), 10, 7);
        if let Some(Effect::Resolve(key, _)) = asked {
            queue.resolved(key, "mx");
        }
    }
    assert_eq!(taken(&mut queue, site, 60)[3..6], [20, 20, 20]);
    assert_eq!(taken(&mut queue, site, 30)[3..6], [10, 10, 10]);
    assert_eq!(queue.take(site, 10), Take::Nothing);
    assert!(queue.is_starved(site));
    assert_eq!(queue.credit(0, 60), [site]);
    assert_eq!(taken(&mut queue, site, 60)[1..3], [30, 30]);
}

/// A tenant whose rate is used up is passed over, whatever its share; its sites are told of in turn when it may go on.
#[test]
fn who_may_begin_nothing_is_passed_over_and_told_of() {
    let mut queue = Destinations::new(vec![u32::MAX]);
    let mut sites = Vec::new();
    for number in 0..5 {
        let name = format!("d{number}.example");
        let Some(Effect::Resolve(key, _)) =
            queue.push_for((&name, normal(1, 0)), group(1 + number, 1), 10, 7)
        else {
            panic!()
        };
        sites.extend(queue.resolved(key, &format!("mx{number}")));
    }
    let shared = push(&mut queue, "e.example", normal(1, 0), 10);
    push(&mut queue, "e.example", normal(2, 0), 11);
    push(&mut queue, "e.example", normal(2, 0), 12);
    let mut left = 1;
    let mut take = |queue: &mut Destinations, site| {
        let taken = queue.take_allowed(site, 10, &mut |tenant| {
            let allowed = tenant != 1 || left > 0;
            left -= u32::from(tenant == 1 && allowed);
            allowed
        });
        if let Take::Job(_, group) | Take::Last(_, group) = taken { group.key } else { 0 }
    };
    assert_eq!([0, 1, 2].map(|at| take(&mut queue, sites[at])), [1, 0, 0]);
    assert!(queue.rests(sites[3]) && !queue.rests(shared));
    assert_eq!([take(&mut queue, shared), take(&mut queue, shared)], [11, 12], "others go on");
    assert!(queue.rests(shared));
    assert_eq!((queue.take_resting(), queue.take_resting()), (Some(1), None), "to be woken once");
    assert_eq!((queue.credits_out(u32::MAX), queue.ready(sites[1], 10)), (3, 1), "no credit is kept");
    let (first, more) = queue.resume_tenant(1, 2);
    assert!(more && !queue.rests(sites[3]));
    let (others, more) = queue.resume_tenant(1, 9);
    assert_eq!(([first, others].concat(), more), (vec![sites[1], sites[2], sites[3], shared], false));
    assert_eq!(queue.take(sites[2], 10), Take::Job(queue.domain_at(2), group(3, 1)));
}

/// Walks come to all flows, each domain once.
#[test]
fn what_waits_for_a_closed_site_is_told_whosever_it_is() {
    let mut queue = Destinations::new(vec![u32::MAX]);
    let mut site = SiteKey(0);
    for number in 0..30 {
        let strand = normal(number % 3, number % 2);
        site = push(&mut queue, &format!("d{}.example", number % 9), strand, 1 + number);
    }
    queue.close_site(site, 50);
    let mut told: Vec<u32> = Vec::new();
    for _ in 0..100 {
        let mut looks = 3;
        told.extend(queue.tell(site, 20, &mut looks, |_| 900).map(|(_, group)| group.key));
    }
    told.sort_unstable();
    assert_eq!(told, (1..=30).collect::<Vec<_>>());
    queue.open_site(site);
    let mut old = Vec::new();
    for _ in 0..100 {
        let mut looks = 2;
        old.extend(queue.expire(site, &mut looks, |group| group.key % 9 != 1).map(|(_, group)| group.key));
    }
    old.sort_unstable();
    assert_eq!(old, (1..=30).filter(|key| key % 9 != 1).collect::<Vec<_>>());
    assert_eq!(queue.waiting_at(site).map(|(_, others)| others > 3), Some(true));
    assert_eq!(queue.ready(site, 20), 4);
    // Those that leave are met nowhere.
    for key in (0..queue.domain_slots()).map(|slot| queue.domain_at(slot)).collect::<Vec<_>>() {
        queue.leave_site(key);
    }
    assert_eq!((queue.ready(site, 20), queue.take(site, 20)), (0, Take::Nothing));
}
