//! Who is next at a site where mail of several flows waits: classes, tenants by weight, campaigns in turn.
//!
//! Each tenant has a *pass*, which grows by the inverse of its weight with each message, and the lowest is next (stride scheduling). So shares are
//! what weights say while all have mail, nobody's turns come in bursts, and what one does not use the others do. Who comes begins at the pass
//! that is served; who runs out of mail is remembered until that has reached his own, so that a queue that empties now and then gains nothing.
//! Campaigns take turns; where what is taken counts over the node the one is next that has had least there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::limits;
use crate::mail::parameters::Priority;
use crate::queue::flow::{Flow, Weights};
use crate::queue::node_shares::{Head, NodeShares, STRIDE};

/// Whether a tenant may begin nothing now.
pub(super) type Rests<'a> = &'a mut dyn FnMut(u32) -> bool;

/// While other shards wait for connections to the site: what tenants had over the node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) shares: Arc<NodeShares>,
    pub(super) weights: Weights,
}

impl Node {
    fn weight(&self, tenant: u32) -> u64 {
        u64::from(self.weights.of(tenant))
    }

    /// A message of a flow is taken. How far its tenant has come.
    pub(super) fn serve(&self, flow: Flow) -> u64 {
        self.shares.serve(flow, self.weight(flow.tenant))
    }

    /// Of a flow that is the only one.
    pub(super) fn head(&self, flow: Flow) -> Head {
        Head { flow, weight: self.weight(flow.tenant) }
    }
}

#[derive(Debug)]
struct Tenant {
    /// Where it counts for the node, as it was found last: it may have come further since.
    pass: u64,
    /// What it weighs, where it counts for the node.
    weight: u64,
    /// Those with mail, the next first.
    campaigns: VecDeque<u32>,
    /// It was found to rest, and is not in the order until it is woken.
    sits_out: bool,
    /// Messages it had since it last had none waiting.
    served: u32,
}

impl Tenant {
    /// The campaign that is next: of few, while what they have counts over the node, the one that had least on all shards.
    fn first(&self, (class, tenant): (Priority, u32), node: Option<&Node>) -> Option<u32> {
        let few = 2..=limits::NODE_CAMPAIGNS;
        let found = node.filter(|_| few.contains(&self.campaigns.len())).and_then(|node| {
            let flows = self.campaigns.iter().map(|campaign| Flow { class, tenant, campaign: *campaign });
            node.shares.first(flows)
        });
        found.map(|flow| flow.campaign).or(self.campaigns.front().copied())
    }
}

#[derive(Debug, Default)]
struct Class {
    tenants: BTreeMap<u32, Tenant>,
    /// Of all tenants but those that sit out, the lowest pass first.
    order: BTreeSet<(u64, u32)>,
    /// The pass that was served last.
    reached: u64,
    /// Flows with mail.
    flows: usize,
    /// Messages of other classes since one of this was served.
    waited: u32,
    /// What tenants with mail weigh, where it counts for the node.
    weight: u64,
}

impl Class {
    fn enter(&mut self, (tenant, campaign): (u32, u32), node: Option<&Node>) {
        self.flows += 1;
        if self.flows == 1 {
            self.waited = 0;
        }
        // Of the node's it is found when its turn comes.
        let reached = if node.is_some() { 0 } else { self.reached };
        let own = self.tenants.entry(tenant).or_insert_with(|| {
            self.order.insert((reached, tenant));
            Tenant { pass: reached, weight: 0, campaigns: VecDeque::new(), sits_out: false, served: 0 }
        });
        if own.campaigns.is_empty() {
            own.served = 0;
        }
        if let Some(node) = node.filter(|_| own.campaigns.is_empty()) {
            own.weight = node.weight(tenant);
            self.weight += own.weight;
        }
        own.campaigns.push_back(campaign);
    }

    /// The tenant that is next and does not rest. Those without mail that are met are forgotten; those that rest sit out: nobody is to go past
    /// them again, and what is served meanwhile is not measured by the pass at which they stand.
    fn next(&mut self, class: Priority, rests: Rests<'_>, node: Option<&Node>) -> Option<(u32, u32)> {
        while let Some((pass, tenant)) = self.order.first().copied() {
            let own = self.tenants.get_mut(&tenant)?;
            if let Some(node) = node.filter(|_| !own.campaigns.is_empty()) {
                // Others may be further than is known as well, but none of them is less far.
                let found = node.shares.pass(class, tenant, own.weight);
                if found > pass {
                    own.pass = found;
                    self.order.pop_first();
                    self.order.insert((found, tenant));
                    continue;
                }
            }
            if own.campaigns.is_empty() {
                self.reached = pass;
                self.tenants.remove(&tenant);
            } else if !rests(tenant) {
                return Some((tenant, own.first((class, tenant), node)?));
            } else {
                own.sits_out = true;
            }
            self.order.pop_first();
        }
        None
    }

    /// What is farthest behind over the node, of the first few in the order that do not rest.
    fn head(&mut self, class: Priority, rests: Rests<'_>, node: &Node) -> Option<Head> {
        let first = if self.flows > 0 { self.next(class, rests, Some(node))? } else { return None };
        let head = |(tenant, campaign)| Head { flow: Flow { class, tenant, campaign }, weight: self.weight };
        let others = self.order.iter().skip(1).take(limits::NODE_HEADS).filter_map(|(_, tenant)| {
            let campaign = self.tenants.get(tenant)?.first((class, *tenant), Some(node))?;
            (!rests(*tenant)).then_some((*tenant, campaign))
        });
        std::iter::once(first).chain(others).map(head).min_by_key(|head| node.shares.far(*head))
    }

    /// It rests no more: what it had no use of meanwhile the others had.
    fn wake(&mut self, tenant: u32) {
        let Some(own) = self.tenants.get_mut(&tenant) else { return };
        if std::mem::take(&mut own.sits_out) {
            own.pass = own.pass.max(self.reached);
            self.order.insert((own.pass, tenant));
        }
    }

    /// Passes are those of the node from now on, or no more.
    fn count_for(&mut self, node: Option<&Node>) {
        self.order.clear();
        self.weight = 0;
        for (tenant, own) in &mut self.tenants {
            own.pass = if node.is_some() { 0 } else { own.pass.max(self.reached) };
            own.weight = node.map_or(0, |node| node.weight(*tenant));
            if !own.campaigns.is_empty() {
                self.weight += own.weight;
            }
            if !own.sits_out {
                self.order.insert((own.pass, *tenant));
            }
        }
    }

    fn take_out(&mut self, tenant: u32, campaign: u32) -> Option<&mut Tenant> {
        let own = self.tenants.get_mut(&tenant)?;
        // Nearly always it is the first.
        let place = own.campaigns.iter().position(|other| *other == campaign)?;
        own.campaigns.remove(place);
        Some(own)
    }

    fn serve(&mut self, (tenant, campaign): (u32, u32), weight: u32, node: Option<u64>) {
        self.waited = 0;
        let Some((lowest, _)) = self.order.first().copied() else { return };
        self.reached = lowest;
        let Some(own) = self.take_out(tenant, campaign) else { return };
        own.campaigns.push_back(campaign);
        own.served = own.served.saturating_add(1);
        let before = own.pass;
        // Behind those that share its place over the node, where there are such.
        own.pass = node.map_or(own.pass + STRIDE / u64::from(weight.max(1)), |pass| pass + 1);
        let now = own.pass;
        if self.order.remove(&(before, tenant)) {
            self.order.insert((now, tenant));
        }
    }
}

/// The order of the flows that have mail at a site.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// By [`Priority`].
    classes: [Class; 3],
}

impl Shares {
    fn class(&mut self, class: Priority) -> &mut Class {
        &mut self.classes[class as usize]
    }

    /// A flow has mail.
    pub(super) fn enter(&mut self, flow: Flow, node: Option<&Node>) {
        self.class(flow.class).enter((flow.tenant, flow.campaign), node);
    }

    /// Passes are those of the node from now on, or no more.
    pub(super) fn count_for(&mut self, node: Option<&Node>) {
        self.classes.iter_mut().for_each(|class| class.count_for(node));
    }

    /// What is behind of the highest class, as far as other shards are to know.
    pub(super) fn head(&mut self, rests: Rests<'_>, node: &Node) -> Option<Head> {
        let mut classes = [Priority::High, Priority::Normal, Priority::Low].into_iter();
        classes.find_map(|class| self.class(class).head(class, rests, node))
    }

    /// It has none any more.
    pub(super) fn leave(&mut self, flow: Flow) {
        let class = self.class(flow.class);
        if let Some(own) = class.take_out(flow.tenant, flow.campaign) {
            let weight = if own.campaigns.is_empty() { own.weight } else { 0 };
            class.weight = class.weight.saturating_sub(weight);
            class.flows -= 1;
        }
    }

    /// A tenant rests no more.
    pub(super) fn wake(&mut self, tenant: u32) {
        self.classes.iter_mut().for_each(|class| class.wake(tenant));
    }

    /// The flow that is next, of a tenant that does not rest. Higher classes come first, but for one in [`limits::CLASS_TURN`] messages that each lower one has.
    pub(super) fn next(&mut self, rests: Rests<'_>, node: Option<&Node>) -> Option<Flow> {
        let waits = |class: &Priority| {
            let own = &self.classes[*class as usize];
            own.flows > 0 && own.waited + 1 >= limits::CLASS_TURN
        };
        let first = [Priority::Low, Priority::Normal].into_iter().find(waits);
        let downwards = [Priority::High, Priority::Normal, Priority::Low];
        first.into_iter().chain(downwards).find_map(|class| {
            let own = self.class(class);
            let (tenant, campaign) = if own.flows > 0 { own.next(class, rests, node)? } else { return None };
            Some(Flow { class, tenant, campaign })
        })
    }

    /// Its mail was the only one so far: how much of it was taken is not known, and who comes is next.
    pub(super) fn was_alone(&mut self, flow: Flow) {
        let Class { tenants, order, .. } = self.class(flow.class);
        let Some(own) = tenants.get_mut(&flow.tenant) else { return };
        own.served = u32::MAX;
        if order.remove(&(own.pass, flow.tenant)) {
            own.pass += 1;
            order.insert((own.pass, flow.tenant));
        }
    }

    /// Whether who is next has had mail for so long that a moment more matters little.
    pub(super) fn is_steady(&mut self, rests: Rests<'_>, node: Option<&Node>) -> bool {
        let Some(next) = self.next(rests, node) else { return false };
        self.class(next.class).tenants.get(&next.tenant).is_some_and(|own| own.served >= limits::STEADY_FROM)
    }

    /// A message of it was taken.
    pub(super) fn serve(&mut self, flow: Flow, weights: &Weights, node: Option<u64>) {
        for class in &mut self.classes {
            class.waited += u32::from(class.flows > 0);
        }
        self.class(flow.class).serve((flow.tenant, flow.campaign), weights.of(flow.tenant), node);
    }

    /// Whether it remembers nothing that would make a difference.
    pub(super) fn is_settled(&self) -> bool {
        self.classes.iter().all(|class| class.tenants.len() <= 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(class: Priority, tenant: u32, campaign: u32) -> Flow {
        Flow { class, tenant, campaign }
    }

    fn normal(tenant: u32, campaign: u32) -> Flow {
        flow(Priority::Normal, tenant, campaign)
    }

    /// So many messages, all of which have more behind them: how many each flow had.
    fn served(shares: &mut Shares, weights: &Weights, messages: usize) -> BTreeMap<Flow, usize> {
        let mut by = BTreeMap::new();
        for _ in 0..messages {
            let next = shares.next(&mut |_| false, None).expect("there is mail");
            shares.serve(next, weights, None);
            *by.entry(next).or_insert(0) += 1;
        }
        by
    }

    #[test]
    fn tenants_have_what_their_weights_say_and_campaigns_the_same_each() {
        let mut shares = Shares::default();
        let weights = Weights::of_numbers([(1, 1), (2, 3), (4, 1000)]);
        for flow in [normal(1, 0), normal(2, 7), normal(2, 8), normal(2, 9), normal(3, 0)] {
            shares.enter(flow, None);
        }
        let by = served(&mut shares, &weights, 500);
        let counts: Vec<usize> = by.values().copied().collect();
        let near = |count: &usize| (99..=101).contains(count);
        assert!(counts.iter().all(near), "1, 3 and, as nobody says otherwise, 1: {counts:?}");
        shares.enter(normal(4, 0), None);
        let by = served(&mut shares, &weights, 10_050);
        assert!((9_990..=10_010).contains(&by[&normal(4, 0)]), "{by:?}");
    }

    /// Who was away for long gets his share from now on, and nothing for the past; who is away for a moment loses nothing by it.
    #[test]
    fn what_one_does_not_use_the_others_do() {
        let mut shares = Shares::default();
        let weights = Weights::of_numbers([(1, 1), (2, 3)]);
        let (one, other) = (normal(1, 0), normal(2, 0));
        shares.enter(other, None);
        served(&mut shares, &weights, 1_000);
        shares.enter(one, None);
        let had = served(&mut shares, &weights, 400)[&one];
        assert!((99..=101).contains(&had), "{had}");
        // The first has one message at a time, and the next comes when that was taken.
        let mut had = 0;
        for _ in 0..400 {
            let next = shares.next(&mut |_| false, None).expect("there is mail");
            shares.serve(next, &weights, None);
            if next == one {
                had += 1;
                shares.leave(one);
                shares.enter(one, None);
            }
        }
        assert!((99..=101).contains(&had), "{had}");
        shares.leave(one);
        assert!(!shares.is_settled());
        assert_eq!(served(&mut shares, &weights, 8)[&other], 8);
        assert!(shares.is_settled(), "nothing is remembered of who went");
    }

    /// Who rests is asked once until it is woken, and neither it nor who comes meanwhile gets anything for the time.
    #[test]
    fn who_rests_is_not_measured_by() {
        let mut shares = Shares::default();
        let weights = Weights::default();
        for tenant in 1..=1_000 {
            shares.enter(normal(tenant, 0), None);
        }
        let asked = std::cell::Cell::new(0);
        let mut busy = 0;
        for _ in 0..2_000 {
            let next = shares.next(
                &mut |tenant| {
                    asked.set(asked.get() + 1);
                    tenant != 7
                },
                None,
            );
            let next = next.expect("one does not rest");
            shares.serve(next, &weights, None);
            busy += usize::from(next.tenant == 7);
        }
        assert_eq!(busy, 2_000);
        assert!(asked.get() <= 3_000, "{asked:?}");
        shares.enter(normal(2_000, 0), None);
        shares.wake(8);
        let by = served(&mut shares, &weights, 300);
        let counts: Vec<usize> = by.values().copied().collect();
        assert!(counts.len() == 3 && counts.iter().all(|count| (99..=101).contains(count)), "{by:?}");
    }

    #[test]
    fn higher_classes_go_first_and_lower_ones_do_not_starve() {
        let mut shares = Shares::default();
        let weights = Weights::default();
        for class in [Priority::Low, Priority::Normal, Priority::High] {
            shares.enter(flow(class, 1, 0), None);
        }
        let turns = limits::CLASS_TURN as usize;
        let by = served(&mut shares, &weights, 100 * turns);
        let counts: Vec<usize> = by.values().copied().collect();
        let near = |count: usize| (95..=105).contains(&count);
        assert!(near(counts[1]) && near(counts[2]), "{counts:?}");
        shares.leave(flow(Priority::High, 1, 0));
        let by = served(&mut shares, &weights, 100 * turns);
        assert!(near(by[&flow(Priority::Low, 1, 0)]), "{by:?}");
        shares.leave(flow(Priority::Normal, 1, 0));
        assert_eq!(served(&mut shares, &weights, 10).len(), 1, "nobody is waited for");
    }

    fn over_node(shards: usize) -> Node {
        Node { shares: Arc::new(NodeShares::new(shards)), weights: Weights::default() }
    }

    /// So many messages of those of one shard, while what it takes counts for the node.
    fn served_for(shares: &mut Shares, node: &Node, messages: usize) -> BTreeMap<Flow, usize> {
        let mut by = BTreeMap::new();
        for _ in 0..messages {
            let next = shares.next(&mut |_| false, Some(node)).expect("there is mail");
            shares.serve(next, &Weights::default(), Some(node.serve(next)));
            *by.entry(next).or_insert(0) += 1;
        }
        by
    }

    #[test]
    fn what_a_campaign_has_on_other_shards_is_part_of_its_own() {
        let node = over_node(2);
        let [mut shares, mut other] = [(); 2].map(|()| Shares::default());
        for flow in [normal(1, 7), normal(1, 8), normal(2, 0)] {
            shares.enter(flow, Some(&node));
        }
        other.enter(normal(1, 7), Some(&node));
        let mut by = BTreeMap::new();
        for _ in 0..200 {
            for (flow, had) in
                served_for(&mut shares, &node, 5).into_iter().chain(served_for(&mut other, &node, 1))
            {
                *by.entry(flow).or_insert(0) += had;
            }
        }
        let near = |flow, part: usize| by[&flow as &Flow].abs_diff(part) <= 10;
        assert!(near(normal(1, 7), 300) && near(normal(1, 8), 300) && near(normal(2, 0), 600), "{by:?}");
        (0..20).for_each(|_| _ = node.serve(normal(1, 7)));
        let head =
            |shares: &mut Shares| shares.head(&mut |_| false, &node).map(|head| (head.flow, head.weight));
        assert_eq!(shares.next(&mut |_| false, Some(&node)), Some(normal(2, 0)));
        assert_eq!(head(&mut shares), Some((normal(2, 0), 2)));
        (0..25).for_each(|_| _ = node.serve(normal(2, 0)));
        (0..16).for_each(|_| _ = node.serve(normal(1, 7)));
        assert_eq!(shares.next(&mut |_| false, Some(&node)), Some(normal(2, 0)));
        assert_eq!(
            head(&mut shares),
            Some((normal(1, 8), 2)),
            "its tenant is ahead, and it is far behind the other campaign"
        );
    }

    /// Of more than are told apart some share a pass: who was served goes behind the others of it.
    #[test]
    fn none_of_many_starves() {
        let node = over_node(2);
        let mut shares = Shares::default();
        let (tenants, campaigns) = (2 * limits::NODE_TENANTS as u32, 2 * limits::NODE_CAMPAIGNS as u32);
        for tenant in 1..=tenants {
            shares.enter(normal(tenant, 0), Some(&node));
        }
        let by = served_for(&mut shares, &node, 40 * tenants as usize);
        assert!(by.len() == tenants as usize && by.values().all(|had| (10..=100).contains(had)), "{by:?}");
        let mut shares = Shares::default();
        for campaign in 1..=campaigns {
            shares.enter(normal(1, campaign), Some(&node));
        }
        let by = served_for(&mut shares, &node, 10 * campaigns as usize);
        assert!(by.len() == campaigns as usize && by.values().all(|had| *had == 10), "{by:?}");
    }
}
