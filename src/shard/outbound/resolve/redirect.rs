//! Mail that an operator leads elsewhere for a while: before routes and the DNS are asked, by its domain, and behind them, by the site that they
//! say.

use std::rc::Rc;

use super::{Resolver, Unroutable};
use crate::config::Choice;
use crate::mail::envelope::TlsWish;
use crate::queue::select::Place;
use crate::queue::suspension::ActiveSuspensions;
use crate::route::Hop;
use crate::runtime::Runtime;
use crate::shard::live::InForce;

/// This is led elsewhere from now on.
pub fn redirect<R: Runtime>(resolver: &Resolver<R>, by: ActiveSuspensions) {
    *resolver.redirects.borrow_mut() = by;
}

/// Where the mail of a domain goes instead of where it would, that site where it is known.
fn redirected<R: Runtime>(
    resolver: &Resolver<R>,
    (domain, site): (&str, Option<&str>),
    wish: TlsWish,
) -> Option<Rc<Hop>> {
    let redirects = resolver.redirects.borrow();
    if redirects.is_empty() {
        return None;
    }
    let to = redirects.redirect(Place { domain, site }, resolver.runtime.wall())?;
    let [choice] = &Choice::only(to.clone())[..] else { return None };
    let mut hop = Hop::of(&[choice])?;
    if wish == TlsWish::Required {
        hop.require_tls();
    }
    Some(Rc::new(hop))
}

/// Where it goes, by what is in force and by what operators say.
pub(super) async fn led<R: Runtime>(
    resolver: &Resolver<R>,
    live: &InForce,
    domain: &str,
    wish: TlsWish,
) -> Result<Rc<Hop>, Unroutable> {
    if let Some(hop) = redirected(resolver, (domain, None), wish) {
        return Ok(hop);
    }
    let hop = resolver.next_hop_by(live, domain, wish).await?;
    Ok(redirected(resolver, (domain, Some(&hop.site)), wish).unwrap_or(hop))
}
