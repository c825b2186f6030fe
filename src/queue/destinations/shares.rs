//! Who is next at a site where mail of several flows waits: classes, tenants by weight, campaigns in turn.
//!
//! Each tenant has a *pass*, which grows by the inverse of its weight with each message, and the lowest is next (stride scheduling). So shares are
//! what weights say while all have mail, nobody's turns come in bursts, and what one does not use the others do. Who comes begins at the pass
//! that is served; who runs out of mail is remembered until that has reached his own, so that a queue that empties now and then gains nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::limits;
use crate::mail::parameters::Priority;
use crate::queue::flow::{Flow, Weights};

/// Whether a tenant may begin nothing now.
pub(super) type Rests<'a> = &'a mut dyn FnMut(u32) -> bool;

/// How far the pass of a tenant of weight 1 grows with each message.
const STRIDE: u64 = 1 << 20;

#[derive(Debug)]
struct Tenant {
    pass: u64,
    /// Those with mail, the next first.
    campaigns: VecDeque<u32>,
    /// It was found to rest, and is not in the order until it is woken.
    sits_out: bool,
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
}

impl Class {
    fn enter(&mut self, tenant: u32, campaign: u32) {
        self.flows += 1;
        if self.flows == 1 {
            self.waited = 0;
        }
        let reached = self.reached;
        let own = self.tenants.entry(tenant).or_insert_with(|| {
            self.order.insert((reached, tenant));
            Tenant { pass: reached, campaigns: VecDeque::new(), sits_out: false }
        });
        own.campaigns.push_back(campaign);
    }

    /// The tenant that is next and does not rest. Those without mail that are met are forgotten; those that rest sit out: nobody is to go past
    /// them again, and what is served meanwhile is not measured by the pass at which they stand.
    fn next(&mut self, rests: Rests<'_>) -> Option<(u32, u32)> {
        while let Some((pass, tenant)) = self.order.first().copied() {
            let own = self.tenants.get_mut(&tenant)?;
            match own.campaigns.front() {
                Some(campaign) if !rests(tenant) => return Some((tenant, *campaign)),
                Some(_) => own.sits_out = true,
                None => {
                    self.reached = pass;
                    self.tenants.remove(&tenant);
                }
            }
            self.order.pop_first();
        }
        None
    }

    /// It rests no more: what it had no use of meanwhile the others had.
    fn wake(&mut self, tenant: u32) {
        let Some(own) = self.tenants.get_mut(&tenant) else { return };
        if std::mem::take(&mut own.sits_out) {
            own.pass = own.pass.max(self.reached);
            self.order.insert((own.pass, tenant));
        }
    }

    fn take_out(&mut self, tenant: u32, campaign: u32) -> Option<&mut Tenant> {
        let own = self.tenants.get_mut(&tenant)?;
        // Nearly always it is the first.
        let place = own.campaigns.iter().position(|other| *other == campaign)?;
        own.campaigns.remove(place);
        Some(own)
    }

    fn serve(&mut self, (tenant, campaign): (u32, u32), weight: u32) {
        self.waited = 0;
        let Some((lowest, _)) = self.order.first().copied() else { return };
        self.reached = lowest;
        let Some(own) = self.take_out(tenant, campaign) else { return };
        own.campaigns.push_back(campaign);
        let before = own.pass;
        own.pass += STRIDE / u64::from(weight.max(1));
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
    pub(super) fn enter(&mut self, flow: Flow) {
        self.class(flow.class).enter(flow.tenant, flow.campaign);
    }

    /// It has none any more.
    pub(super) fn leave(&mut self, flow: Flow) {
        let class = self.class(flow.class);
        if class.take_out(flow.tenant, flow.campaign).is_some() {
            class.flows -= 1;
        }
    }

    /// A tenant rests no more.
    pub(super) fn wake(&mut self, tenant: u32) {
        self.classes.iter_mut().for_each(|class| class.wake(tenant));
    }

    /// The flow that is next, of a tenant that does not rest. Higher classes come first, but for one in [`limits::CLASS_TURN`] messages that each lower one has.
    pub(super) fn next(&mut self, rests: Rests<'_>) -> Option<Flow> {
        let waits = |class: &Priority| {
            let own = &self.classes[*class as usize];
            own.flows > 0 && own.waited + 1 >= limits::CLASS_TURN
        };
        let first = [Priority::Low, Priority::Normal].into_iter().find(waits);
        let downwards = [Priority::High, Priority::Normal, Priority::Low];
        first.into_iter().chain(downwards).find_map(|class| {
            let own = self.class(class);
            let (tenant, campaign) = if own.flows > 0 { own.next(rests)? } else { return None };
            Some(Flow { class, tenant, campaign })
        })
    }

    /// A message of it was taken.
    pub(super) fn serve(&mut self, flow: Flow, weights: &Weights) {
        for class in &mut self.classes {
            class.waited += u32::from(class.flows > 0);
        }
        self.class(flow.class).serve((flow.tenant, flow.campaign), weights.of(flow.tenant));
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
            let next = shares.next(&mut |_| false).expect("there is mail");
            shares.serve(next, weights);
            *by.entry(next).or_insert(0) += 1;
        }
        by
    }

    #[test]
    fn tenants_have_what_their_weights_say_and_campaigns_the_same_each() {
        let mut shares = Shares::default();
        let weights = Weights::of_numbers([(1, 1), (2, 3), (4, 1000)]);
        for flow in [normal(1, 0), normal(2, 7), normal(2, 8), normal(2, 9), normal(3, 0)] {
            shares.enter(flow);
        }
        let by = served(&mut shares, &weights, 500);
        let counts: Vec<usize> = by.values().copied().collect();
        let near = |count: &usize| (99..=101).contains(count);
        assert!(counts.iter().all(near), "1, 3 and, as nobody says otherwise, 1: {counts:?}");
        shares.enter(normal(4, 0));
        let by = served(&mut shares, &weights, 10_050);
        assert!((9_990..=10_010).contains(&by[&normal(4, 0)]), "{by:?}");
    }

    /// Who was away for long gets his share from now on, and nothing for the past; who is away for a moment loses nothing by it.
    #[test]
    fn what_one_does_not_use_the_others_do() {
        let mut shares = Shares::default();
        let weights = Weights::of_numbers([(1, 1), (2, 3)]);
        let (one, other) = (normal(1, 0), normal(2, 0));
        shares.enter(other);
        served(&mut shares, &weights, 1_000);
        shares.enter(one);
        let had = served(&mut shares, &weights, 400)[&one];
        assert!((99..=101).contains(&had), "{had}");
        // The first has one message at a time, and the next comes when that was taken.
        let mut had = 0;
        for _ in 0..400 {
            let next = shares.next(&mut |_| false).expect("there is mail");
            shares.serve(next, &weights);
            if next == one {
                had += 1;
                shares.leave(one);
                shares.enter(one);
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
            shares.enter(normal(tenant, 0));
        }
        let asked = std::cell::Cell::new(0);
        let mut busy = 0;
        for _ in 0..2_000 {
            let next = shares.next(&mut |tenant| {
                asked.set(asked.get() + 1);
                tenant != 7
            });
            let next = next.expect("one does not rest");
            shares.serve(next, &weights);
            busy += usize::from(next.tenant == 7);
        }
        assert_eq!(busy, 2_000);
        assert!(asked.get() <= 3_000, "{asked:?}");
        shares.enter(normal(2_000, 0));
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
            shares.enter(flow(class, 1, 0));
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
}
