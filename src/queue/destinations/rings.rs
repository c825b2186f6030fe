//! The rings of a site: its domains with ready groups, served in turn, each flow's in a ring of its own.
//!
//! Nearly always all mail of a site is of one flow, and then there is one ring and nothing else.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::keys::DomainKey;
use super::ring::{Ring, Turn};
use super::shares::{Node, Rests, Shares};
use crate::limits;
use crate::queue::flow::{Flow, Weights};
use crate::queue::node_shares::Head;

/// Those of a site.
#[derive(Debug, Default)]
pub(super) struct Rings {
    /// The only one, and whose it is; empty where there are several.
    one: Ring<DomainKey>,
    flow: Flow,
    several: Option<Box<Several>>,
    /// What counts for the order is what tenants had over the node.
    node: Option<Box<Node>>,
}

#[derive(Debug, Default)]
struct Several {
    rings: BTreeMap<Flow, Ring<DomainKey>>,
    shares: Shares,
    /// The flow that was served last while the one that was next found no credit.
    swept: Flow,
}

/// A place in the rings of a site, by which they are gone through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    flow: Flow,
    turn: usize,
}

impl Place {
    /// The one behind it.
    pub(super) fn next(self) -> Place {
        Place { turn: self.turn + 1, ..self }
    }
}

/// A search for work: each domain is looked at once.
#[derive(Debug)]
pub(super) struct Search {
    /// Turns that are left of the ring that is looked through.
    left: usize,
    /// The first that was found had no credit: where the sweep through all others began, and where it is. Whether it came to the end.
    sweep: Option<(Flow, Flow, bool)>,
}

impl Rings {
    /// A search from what is next on.
    pub(super) fn search(&self) -> Search {
        Search { left: self.one.places(), sweep: None }
    }

    /// Whether no domain has a turn.
    pub(super) fn is_empty(&self) -> bool {
        self.one.is_empty()
            && self.several.as_ref().is_none_or(|several| several.rings.values().all(Ring::is_empty))
    }

    /// How many have.
    pub(super) fn len(&self) -> usize {
        let several = self.several.iter().flat_map(|several| several.rings.values());
        self.one.len() + several.map(Ring::len).sum::<usize>()
    }

    /// Some of the places, a few of each flow.
    pub(super) fn some(&self) -> impl Iterator<Item = Turn<DomainKey>> {
        let several = self.several.iter().flat_map(|several| several.rings.values());
        let of_each = several.flat_map(|ring| ring.iter().take(limits::STARVED_LOOKED_AT_EACH));
        self.one.iter().chain(of_each)
    }

    /// The place that is looked at there, or the first behind it.
    pub(super) fn get(&self, place: Place) -> Option<(Place, Turn<DomainKey>)> {
        let Some(several) = &self.several else {
            return Some((place, self.one.get(place.turn)?));
        };
        several.rings.range(place.flow..).find_map(|(flow, ring)| {
            let turn = if *flow == place.flow { place.turn } else { 0 };
            Some((Place { flow: *flow, turn }, ring.get(turn)?))
        })
    }

    /// The turn that is next, which is taken out, and whose it is. Where it is that of one who left, [`Rings::met`] is to be told.
    /// Tenants of which `rests` says so are passed over.
    pub(super) fn pop(&mut self, search: &mut Search, rests: Rests<'_>) -> Option<(Flow, Turn<DomainKey>)> {
        match &mut self.several {
            None => {
                search.left = search.left.checked_sub(1).filter(|_| !rests(self.flow.tenant))?;
                Some((self.flow, self.one.pop()?))
            }
            Some(several) => several.pop(search, rests, self.node.as_deref()),
        }
    }

    /// Whether all mail is of tenants of which `rests` says so.
    pub(super) fn rests(&mut self, rests: Rests<'_>) -> bool {
        match &mut self.several {
            None => rests(self.flow.tenant),
            Some(several) => several.shares.next(rests, self.node.as_deref()).is_none(),
        }
    }

    /// Whose mail it is; a tenant that has several flows comes once for each.
    pub(super) fn tenants(&self) -> impl Iterator<Item = u32> {
        let one = self.several.is_none().then_some(self.flow.tenant);
        let several = self.several.iter().flat_map(|several| several.rings.keys());
        one.into_iter().chain(several.map(|flow| flow.tenant))
    }

    /// Whether there are those of several flows.
    pub(super) fn are_several(&self) -> bool {
        self.several.is_some()
    }

    /// A tenant rests no more.
    pub(super) fn wake(&mut self, tenant: u32) {
        if let Some(several) = &mut self.several {
            several.shares.wake(tenant);
        }
    }

    /// One that was taken out had left before.
    pub(super) fn met(&mut self, flow: Flow) {
        self.ring(flow).into_iter().for_each(Ring::met);
    }

    fn ring(&mut self, flow: Flow) -> Option<&mut Ring<DomainKey>> {
        match &mut self.several {
            None => Some(&mut self.one),
            Some(several) => several.rings.get_mut(&flow),
        }
    }

    /// A turn at the end of its ring.
    pub(super) fn push(&mut self, flow: Flow, turn: Turn<DomainKey>) {
        if let Some(several) = &mut self.several {
            return several.push(flow, turn, self.node.as_deref());
        }
        if self.one.places() == 0 {
            self.flow = flow;
        }
        if self.flow == flow {
            return self.one.push(turn);
        }
        let mut several = Box::<Several>::default();
        several.shares.enter(self.flow, self.node.as_deref());
        several.shares.was_alone(self.flow);
        several.rings.insert(self.flow, std::mem::take(&mut self.one));
        several.push(flow, turn, self.node.as_deref());
        self.several = Some(several);
    }

    /// One that was found has no credit, and has its turn again: the search goes on with all others.
    pub(super) fn pass_over(&mut self, flow: Flow, turn: Turn<DomainKey>, search: &mut Search) {
        self.push(flow, turn);
        if let Some(several) = &self.several {
            search.sweep.get_or_insert((several.swept, several.swept, false));
        }
    }

    /// From now on what tenants had over the node counts, or no more.
    pub(super) fn count_for(&mut self, node: Option<Node>) {
        self.node = node.map(Box::new);
        if let Some(several) = &mut self.several {
            several.shares.count_for(self.node.as_deref());
        }
    }

    /// Where that counts: whose mail is next, of tenants of which `rests` does not say so.
    pub(super) fn head(&mut self, rests: Rests<'_>) -> Option<Head> {
        let node = self.node.as_ref()?;
        match &mut self.several {
            None => (!self.one.is_empty() && !rests(self.flow.tenant)).then(|| node.head(self.flow)),
            Some(several) => several.shares.head(rests, node),
        }
    }

    /// Whether what is next, of tenants of which `rests` does not say so, is of one that has had mail here for a while, or, where all of
    /// it is of one, of more than `few` messages.
    pub(super) fn is_steady(&mut self, rests: Rests<'_>, ready: usize, few: usize) -> bool {
        match &mut self.several {
            None => ready > few,
            Some(several) => several.shares.is_steady(rests, self.node.as_deref()),
        }
    }

    /// A message of a flow was taken. True: its tenant has no more of its class, and others have some that is no more urgent.
    pub(super) fn serve(&mut self, flow: Flow, search: &Search, weights: &Weights) -> bool {
        let pass = self.node.as_ref().map(|node| node.serve(flow));
        let Some(several) = &mut self.several else { return false };
        several.shares.serve(flow, weights, pass);
        if search.sweep.is_some() {
            several.swept = flow;
        }
        several.prune(flow);
        let last = several.has_run_out(flow);
        if several.rings.len() <= 1 && several.shares.is_settled() {
            if let Some((flow, ring)) = several.rings.pop_first() {
                (self.flow, self.one) = (flow, ring);
            }
            self.several = None;
        }
        last
    }

    /// One of a flow just left, and has a turn no more by what `counts` says. True: places are others now.
    pub(super) fn leave(&mut self, flow: Flow, counts: impl Fn(Turn<DomainKey>) -> bool) -> bool {
        self.ring(flow).is_some_and(|ring| ring.leave(counts))
    }
}

impl Several {
    fn push(&mut self, flow: Flow, turn: Turn<DomainKey>, node: Option<&Node>) {
        let ring = self.rings.entry(flow).or_insert_with(|| {
            self.shares.enter(flow, node);
            Ring::default()
        });
        ring.push(turn);
    }

    fn prune(&mut self, flow: Flow) {
        if self.rings.get(&flow).is_some_and(|ring| ring.places() == 0) {
            self.rings.remove(&flow);
            self.shares.leave(flow);
        }
    }

    /// Whether its tenant has no more mail of its class, and others have some that is no more urgent.
    fn has_run_out(&self, flow: Flow) -> bool {
        let same = |other: &Flow| (other.class, other.tenant) == (flow.class, flow.tenant);
        let least = |tenant| Flow { class: flow.class, tenant, campaign: 0 };
        let mut own = self.rings.range(least(flow.tenant)..);
        own.next().is_none_or(|(other, _)| !same(other)) && self.rings.range(least(0)..).next().is_some()
    }

    fn pop(
        &mut self,
        search: &mut Search,
        rests: Rests<'_>,
        node: Option<&Node>,
    ) -> Option<(Flow, Turn<DomainKey>)> {
        if let Some(sweep) = &mut search.sweep {
            return self.sweep(&mut search.left, sweep, rests);
        }
        while let Some(flow) = self.shares.next(rests, node) {
            if let Some(turn) = self.rings.get_mut(&flow).and_then(Ring::pop) {
                return Some((flow, turn));
            }
            self.rings.remove(&flow);
            self.shares.leave(flow);
        }
        None
    }

    /// Around all rings once, from the one behind where it began.
    fn sweep(
        &mut self,
        left: &mut usize,
        (from, at, over): &mut (Flow, Flow, bool),
        rests: Rests<'_>,
    ) -> Option<(Flow, Turn<DomainKey>)> {
        while *left == 0 {
            let next = self.rings.range((Bound::Excluded(*at), Bound::Unbounded)).next();
            let next = match next {
                Some(next) => next,
                None if !std::mem::replace(over, true) => self.rings.first_key_value()?,
                None => return None,
            };
            (*at, *left) = (*next.0, next.1.places());
            if *over && *at > *from {
                *left = 0;
                return None;
            }
            if *left > 0 && rests(at.tenant) {
                *left = 0;
            }
        }
        *left -= 1;
        self.rings.get_mut(at).and_then(Ring::pop).map(|turn| (*at, turn))
    }
}

#[cfg(test)]
impl Rings {
    /// Places of the only ring, those of the ones that left included.
    pub(super) fn places(&self) -> usize {
        self.one.places()
    }

    /// How many were looked at for one that left.
    pub(super) fn looked_at(&self) -> usize {
        self.one.looked_at
    }

    /// Whether there is but one ring, and nothing that is remembered of others.
    pub(super) fn is_one(&self) -> bool {
        self.several.is_none()
    }
}
