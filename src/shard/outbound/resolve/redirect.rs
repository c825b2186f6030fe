//! Mail that an operator leads elsewhere for a while: before routes and the DNS are asked, by its domain, and behind them, by the site that they
//! say.

use std::rc::Rc;

use crate::config::Choice;
use crate::mail::envelope::TlsWish;
use crate::queue::select::Place;
use crate::queue::suspension::{ActiveSuspensions, Effect};
use crate::route::Hop;
use crate::time::UnixMillis;

/// Where the mail of a domain goes instead of where it would, that site where it is known.
pub(super) fn redirected(
    redirects: &ActiveSuspensions,
    (domain, site): (&str, Option<&str>),
    wish: TlsWish,
    now: UnixMillis,
) -> Option<Rc<Hop>> {
    if redirects.is_empty() {
        return None;
    }
    let effect = redirects.redirect(Place { domain, site }, now)?;
    let [choice] = &Choice::only(effect.leads_to()?.clone())[..] else { return None };
    let mut hop = Hop::of(&[choice])?;
    if matches!(effect, Effect::Drain(_)) {
        hop.hand_over();
    }
    if wish == TlsWish::Required {
        hop.require_tls();
    }
    Some(Rc::new(hop))
}
