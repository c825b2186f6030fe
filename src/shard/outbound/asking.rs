//! Before resolve: which domains are resolved now.
//!
//! A name server that does not answer costs fifteen seconds, and whoever makes up names makes up thousands. So domains wait in a fair
//! queue, a few bytes each, and so many are asked for at one time. One that takes longer than [`limits::RESOLVE_PROMPT`] is slow: slow ones
//! have places of their own, of which one message, one zone and one client get a part; where these are taken it is given up for
//! now. Places are given at a [`pace`] at which silent ones never take all of them, and a domain that just came and of whose message and zone
//! nothing waits gets one before those that wait.
//!
//! If the name servers do not even answer for the root, they are deaf, and it is not the domains' fault: then a few are asked for to
//! find out when that ends, and all others wait with nothing counted against them.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use crate::limits;
use crate::mail::envelope::TlsWish;
use crate::observe::diagnostics::Level;
use crate::queue::destinations::DomainKey;
use crate::queue::fair::Behalf;
use crate::route::Hop;
use crate::route::egress::EgressKey;
use crate::runtime::{Defect, Runtime};
use crate::shard::Shard;
use crate::shard::outbound::pump::pump;
use crate::shard::outbound::resolve::{Unroutable, not_now};
use crate::shard::outbound::{sites, tend};

pub(super) mod pace;

/// A domain is to be resolved, when it is its turn.
pub(super) fn ask<R: Runtime>(shard: &Rc<Shard<R>>, key: DomainKey, name: Rc<str>, behalf: Behalf) {
    if shard.outbound.resolver.needs_no_question(&name) {
        shard.runtime.spawn(answer_at_once(shard.clone(), key, name, behalf));
        return;
    }
    let asking = &shard.outbound.asking;
    let new = asking.waiting.borrow().is_newcomer(behalf);
    if new && asking.has_room() && asking.pace.take_kept(shard.runtime.now()) {
        begin(shard, behalf, key, name);
        return;
    }
    asking.waiting.borrow_mut().push(behalf, (key, name));
    admit(shard);
}

/// Asks for those that have a place. A task may run, and even end, before its spawn returns, and then asks for others: not
/// inside this.
fn admit<R: Runtime>(shard: &Rc<Shard<R>>) {
    if shard.outbound.asking.admitting.replace(true) {
        return;
    }
    if admit_some(shard) {
        let own = shard.clone();
        shard.runtime.spawn_vital("questions", async move {
            own.runtime.yield_now().await;
            while admit_some(&own) {
                own.runtime.yield_now().await;
            }
            own.outbound.asking.admitting.set(false);
        });
    } else {
        shard.outbound.asking.admitting.set(false);
    }
}

/// A few of them. True: there may be more.
fn admit_some<R: Runtime>(shard: &Rc<Shard<R>>) -> bool {
    let asking = &shard.outbound.asking;
    for _ in 0..limits::RESOLVES_AT_ONCE {
        if asking.waiting.borrow().is_empty() || !asking.has_room() {
            return false;
        }
        if shard.runtime.should_yield() {
            return true;
        }
        if !asking.pace.take(shard.runtime.now()) {
            admit_later(shard);
            return false;
        }
        let next = asking.waiting.borrow_mut().pop();
        let Some((behalf, (key, name))) = next else { return false };
        begin(shard, behalf, key, name);
    }
    true
}

/// The next has a place when a token is there again.
fn admit_later<R: Runtime>(shard: &Rc<Shard<R>>) {
    if shard.outbound.asking.paces.replace(true) {
        return;
    }
    let own = shard.clone();
    shard.runtime.spawn_vital("questions", async move {
        own.timers.sleep_until(own.runtime.now() + own.outbound.asking.pace.every()).await;
        own.outbound.asking.paces.set(false);
        admit(&own);
    });
}

/// It has a token, and gets a place.
fn begin<R: Runtime>(shard: &Rc<Shard<R>>, behalf: Behalf, key: DomainKey, name: Rc<str>) {
    shard.outbound.asking.prompt.set(shard.outbound.asking.prompt.get() + 1);
    let place = QuestionPermit { shard: shard.clone(), behalf, slow: Cell::new(false) };
    let own = shard.clone();
    shard
        .runtime
        .spawn(async move { own.outbound.background.steps(&own.runtime, resolve(place, key, name)).await });
}

async fn answer_at_once<R: Runtime>(shard: Rc<Shard<R>>, key: DomainKey, name: Rc<str>, behalf: Behalf) {
    let asked = DomainLookup { shard: &shard, key, behalf, answered: false };
    let wish = shard.outbound.destinations.borrow().egress(key).tls();
    asked.answer(shard.outbound.resolver.next_hop(&name, wish).await);
}

async fn resolve<R: Runtime>(place: QuestionPermit<R>, key: DomainKey, name: Rc<str>) {
    let (shard, behalf) = (place.shard.clone(), place.behalf);
    let asked = DomainLookup { shard: &shard, key, behalf, answered: false };
    let wish = shard.outbound.destinations.borrow().egress(key).tls();
    let found = find(&shard, &place, (&name, wish)).await;
    drop(place);
    match found {
        Some(found) => asked.answer(found),
        None => asked.wait(name),
    }
    admit(&shard);
}

/// A domain that is asked for: however that ends, its mail hears of it.
struct DomainLookup<'a, R: Runtime> {
    shard: &'a Rc<Shard<R>>,
    key: DomainKey,
    behalf: Behalf,
    answered: bool,
}

impl<R: Runtime> DomainLookup<'_, R> {
    fn answer(mut self, found: Result<Rc<Hop>, Unroutable>) {
        resolved(self.shard, self.key, self.behalf, found);
        self.answered = true;
    }

    fn wait(mut self, name: Rc<str>) {
        self.answered = true;
        self.shard.outbound.asking.waiting.borrow_mut().push(self.behalf, (self.key, name));
    }
}

impl<R: Runtime> Drop for DomainLookup<'_, R> {
    fn drop(&mut self) {
        if !self.answered && !self.shard.draining.get() {
            let why = not_now("this relay failed while it looked the domain up, which is an error in relevo: see relevo_panics_total".into());
            resolved(self.shard, self.key, self.behalf, Err(why));
        }
    }
}

/// It is known where a domain leads, or that it leads nowhere.
fn resolved<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: DomainKey,
    behalf: Behalf,
    found: Result<Rc<Hop>, Unroutable>,
) {
    match found {
        Ok(hop) => {
            let Some(hop) = by_source(shard, key, hop) else {
                // By no other address meanwhile: it is asked for again.
                let mut destinations = shard.outbound.destinations.borrow_mut();
                return destinations.unresolved(key, shard.seconds(), limits::DOMAIN_ASKED_AGAIN);
            };
            let (_, site) = sites::site(shard, hop.clone());
            site.behalf.set(behalf);
            let ready = shard.outbound.destinations.borrow_mut().resolved(key, &hop.site);
            if let Some(site) = ready {
                pump(shard, site);
            }
        }
        // Mail that is under way goes on as it did; what leads nowhere for good is returned.
        Err(why) if !why.permanent && shard.outbound.destinations.borrow_mut().goes_on(key) => {}
        Err(unroutable) => {
            shard.outbound.destinations.borrow_mut().leave_site(key);
            tend::unroutable(shard, key, unroutable);
        }
    }
}

/// The next hop of a domain as the source sees it that its mail leaves by. None: this shard does not know the source yet, which is of a
/// configuration that it has not taken up.
fn by_source<R: Runtime>(shard: &Shard<R>, key: DomainKey, hop: Rc<Hop>) -> Option<Rc<Hop>> {
    let egress = shard.outbound.destinations.borrow().egress(key);
    if egress.plain() == EgressKey::NODE {
        return Some(hop);
    }
    let live = shard.live.get();
    let egress = live.egresses.get(egress)?;
    let mut hop = Rc::unwrap_or_clone(hop);
    hop.leave_by(&egress.source);
    Some(Rc::new(hop))
}

/// None: it is asked for again when the name servers are heard.
async fn find<R: Runtime>(
    shard: &Rc<Shard<R>>,
    place: &QuestionPermit<R>,
    (name, wish): (&str, TlsWish),
) -> Option<Result<Rc<Hop>, Unroutable>> {
    let mut hop = pin!(shard.outbound.resolver.next_hop(name, wish));
    let mut moment = shard.timers.sleep_until(shard.runtime.now() + limits::RESOLVE_PROMPT);
    let soon = poll_fn(|context| {
        if let Poll::Ready(found) = hop.as_mut().poll(context) {
            return Poll::Ready(Some(found));
        }
        Pin::new(&mut moment).poll(context).map(|()| None)
    });
    match soon.await {
        Some(found) => {
            shard.outbound.asking.pace.give_back();
            Some(found)
        }
        None if place.grows_slow() => {
            admit(shard);
            Some(hop.await)
        }
        None if shard.outbound.asking.deaf.get() || is_suspicious(shard) => None,
        None => {
            shard.instruments.counters.resolves_given_up.add(1);
            Some(Err(not_now(format!(
                "the name servers of {name} take too long, as do those of many others"
            ))))
        }
    }
}

/// The place of a domain that is asked for.
struct QuestionPermit<R: Runtime> {
    shard: Rc<Shard<R>>,
    behalf: Behalf,
    slow: Cell<bool>,
}

impl<R: Runtime> QuestionPermit<R> {
    fn client(&self) -> Behalf {
        Behalf { client: self.behalf.client, message: 0, zone: 0 }
    }

    /// It takes long: it gets a place among the slow, if one is left for the like of it.
    fn grows_slow(&self) -> bool {
        let asking = &self.shard.outbound.asking;
        let (message, client) = &mut *asking.slow_of.borrow_mut();
        let unfair = message.most(self.behalf) as usize >= asking.slow_max.div_ceil(4)
            || client.most(self.client()) as usize >= asking.slow_max.div_ceil(2);
        if asking.slow.get() >= asking.slow_max || unfair {
            return self.shard.runtime.planted(Defect::SlowNamesKeepPlaces);
        }
        message.add(self.behalf);
        client.add(self.client());
        self.slow.set(true);
        asking.prompt.set(asking.prompt.get() - 1);
        asking.slow.set(asking.slow.get() + 1);
        true
    }
}

impl<R: Runtime> Drop for QuestionPermit<R> {
    fn drop(&mut self) {
        let asking = &self.shard.outbound.asking;
        if !self.slow.get() {
            asking.prompt.set(asking.prompt.get() - 1);
            return;
        }
        asking.slow.set(asking.slow.get() - 1);
        if let Ok(mut slow_of) = asking.slow_of.try_borrow_mut() {
            slow_of.0.remove(self.behalf);
            slow_of.1.remove(self.client());
        }
    }
}

/// Four times a second: whether the name servers hear us.
pub(in crate::shard) fn tick<R: Runtime>(shard: &Rc<Shard<R>>) {
    let doubtful = is_suspicious(shard)
        || shard.outbound.asking.deaf.get()
        || shard.outbound.resolver.servers().is_doubtful();
    if doubtful && !shard.outbound.asking.probing.replace(true) {
        shard.runtime.spawn_vital("name servers", probe(shard.clone()));
    }
    admit(shard);
    let since = shard.outbound.asking.waits_since.get().unwrap_or(shard.runtime.now());
    shard
        .outbound
        .asking
        .waits_since
        .set((!shard.outbound.asking.waiting.borrow().is_empty()).then_some(since));
}

/// Nothing at all was answered for a while, and much was asked.
fn is_suspicious<R: Runtime>(shard: &Shard<R>) -> bool {
    let (unanswered, since) = shard.outbound.resolver.servers().silence();
    unanswered >= limits::DEAF_SUSPECTED_AT
        && shard.runtime.now().since(since) >= limits::DEAF_SUSPECTED_AFTER
}

async fn probe<R: Runtime>(shard: Rc<Shard<R>>) {
    let (heard, changes) = shard.outbound.resolver.servers().ask_for_the_root().await;
    // Any other answer counts as well.
    let heard = heard || shard.outbound.resolver.servers().silence().0 == 0;
    for (server, hears) in changes {
        let words =
            if hears { "answers again" } else { "does not answer: it is asked after the others for a while" };
        shard.say(Level::Warning, format_args!("the name server {server} {words}"));
    }
    if shard.outbound.asking.deaf.replace(!heard) == heard {
        let words = if heard {
            "the name servers answer again"
        } else {
            "no name server answers, not even for the root: domains wait until one does; look at dns.servers"
        };
        shard.say(Level::Warning, format_args!("{words}"));
    }
    shard.outbound.asking.probing.set(false);
    admit(&shard);
}
