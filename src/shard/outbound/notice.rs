//! Beside meanings: replies that rules of the site act on. Control is told, as it decides for the whole node; the site that a rule is to suspend
//! rests here at once.

use std::rc::Rc;

use crate::limits;
use crate::queue::destinations::SiteKey;
use crate::queue::suspension::Whose;
use crate::runtime::Runtime;
use crate::shaping::automation::Noticed;
use crate::shaping::rule::{Action, Trigger};
use crate::shard::Shard;
use crate::shard::outbound::hop_error::HopError;
use crate::shard::outbound::site::Site;
use crate::shard::outbound::tally::Part;
use crate::shard::outbound::work::Run;
use crate::shard::outbound::{sites, suspended};
use crate::smtp::client::{self, Transaction, Verdict, dialogue};
use crate::spool::record::MessageView;

/// What a transaction brought that did not deliver, be it the hop's words or ours.
pub(super) fn of_transaction<R: Runtime>(
    run: &Run<'_, R>,
    (view, hop): (&MessageView<'_>, &str),
    part: &Part<'_>,
    transaction: &Transaction<'_>,
) {
    let (shard, site) = (run.shard, run.site);
    if dialogue::has_failed(transaction) {
        let of = (view.id, part.first, part.count);
        shard.say.dialogues.borrow_mut().keep(of, shard.runtime.wall(), hop, transaction);
    }
    if site.policy.borrow().automation.is_none() {
        return;
    }
    let mut last = None;
    for place in 0..part.count {
        let Some((verdict, reply)) = transaction.verdict(usize::from(place)) else { continue };
        let alike = last.replace(std::ptr::from_ref(reply)) == Some(std::ptr::from_ref(reply));
        if alike || matches!(verdict, Verdict::Delivered(_)) {
            continue;
        }
        let ordinal = part.first + place;
        let address = view.recipients().nth(ordinal.into()).map(|(address, _)| address).unwrap_or_default();
        let parameters = view.parameters_of(ordinal);
        let of = (&*suspended::domain(address), Some(suspended::whose(&parameters)));
        heard(shard, run.key, site, (&reply.describe(), reply.ours), of);
    }
}

/// No session came up: what the hop said to that, or what we say of it.
pub(super) fn of_session<R: Runtime>(shard: &Rc<Shard<R>>, key: SiteKey, site: &Rc<Site>, error: &HopError) {
    if site.policy.borrow().automation.is_none() {
        return;
    }
    let (words, own) = match error {
        // Nobody was asked.
        HopError::Source(_) | HopError::OverRate => return,
        HopError::Refused(reply) | HopError::TakesNone(reply, _) => (reply.describe(), reply.ours),
        error => (client::local(451, error.status(), &error.to_string()).describe(), true),
    };
    let domain = {
        let destinations = shard.outbound.destinations.borrow();
        let waits = destinations.waiting_at(key).map(|(domain, _)| domain.to_owned());
        waits.unwrap_or_else(|| site.hop.borrow().label.to_string())
    };
    heard(shard, key, site, (&words, own), (&domain, None));
}

/// Tells of a reply what rules are to act on it.
fn heard<R: Runtime>(
    shard: &Rc<Shard<R>>,
    key: SiteKey,
    site: &Rc<Site>,
    (reply, own): (&str, bool),
    (domain, whose): (&str, Option<Whose<'_>>),
) {
    let policy = site.policy.borrow().clone();
    let Some(automation) = &policy.automation else { return };
    let mut rests = false;
    for rule in automation.matching(reply.as_bytes(), own) {
        let of_source = rule.actions.contains(&Action::Suspend) || rule.fallback_source.is_some();
        rests |= rule.trigger == Trigger::Immediate && of_source;
        let cut = reply.char_indices().nth(limits::NOTICED_TEXT_MAX).map_or(reply.len(), |(at, _)| at);
        shard.mesh.notice(Noticed {
            rule: rule.clone(),
            domain: domain.into(),
            site: site.hop.borrow().site.as_str().into(),
            source: site.hop.borrow().source().into(),
            whose: whose.map(|whose| (whose.tenant.into(), whose.campaign.into())),
            reply: reply[..cut].into(),
            fallback: rule.fallback_source.as_ref().or(policy.fallback.as_ref()).cloned(),
        });
    }
    if rests {
        sites::hold_back(shard, key, site);
    }
}
