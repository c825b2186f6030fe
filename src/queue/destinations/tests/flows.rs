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
