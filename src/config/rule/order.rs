//! What becomes of rules by the order in which they stand: those that are never reached, and those that do not wait for their turn.

use crate::config::rule::addresses::is_below;
use crate::config::rule::{AddressPattern, RuleAction, RuleConfig};
use crate::config::value::Network;
use crate::mail::duties::Duty;

/// What is doubtful about a rule because of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Doubt {
    /// That one ends for all that this one matches.
    NeverReached,
    /// This one refuses before that one is decided.
    Overtakes,
    /// This one refuses the whole message, also for recipients for which that one ends.
    RefusesAll,
}

/// Each doubtful rule, and the earlier one that makes it so.
pub(in crate::config) fn doubts(rules: &[RuleConfig]) -> Vec<(usize, usize, Doubt)> {
    let mut found = Vec::new();
    let ending: Vec<usize> = (0..rules.len()).filter(|place| rules[*place].action.is_some()).collect();
    for (place, rule) in rules.iter().enumerate() {
        let earlier = || ending.iter().copied().take_while(|other| *other < place);
        if let Some(other) = earlier().find(|other| covers(&rules[*other], rule)) {
            found.push((place, other, Doubt::NeverReached));
        } else if let Some(other) = earlier().find(|other| overtakes(rule, &rules[*other])) {
            found.push((place, other, Doubt::Overtakes));
        } else if let Some(other) = earlier().find(|other| refuses_all(rule, &rules[*other])) {
            found.push((place, other, Doubt::RefusesAll));
        }
    }
    found
}

/// Whether one condition holds wherever the other does.
fn wider<T>(ours: Option<&T>, theirs: Option<&T>, covers: impl Fn(&T, &T) -> bool) -> bool {
    ours.is_none_or(|ours| theirs.is_some_and(|theirs| covers(ours, theirs)))
}

/// Whether a rule matches whatever the other does. Then it knows all it matches no later, so one with an action leaves nothing.
fn covers(wide: &RuleConfig, narrow: &RuleConfig) -> bool {
    wider(wide.account.as_ref(), narrow.account.as_ref(), PartialEq::eq)
        && wider(wide.listener.as_ref(), narrow.listener.as_ref(), PartialEq::eq)
        && (wide.clients.is_empty() || covers_networks(&wide.clients, &narrow.clients))
        && wider(wide.sender.as_ref(), narrow.sender.as_ref(), covers_addresses)
        && wider(wide.recipient.as_ref(), narrow.recipient.as_ref(), covers_addresses)
        && wider(wide.header.as_ref(), narrow.header.as_ref(), |wide, narrow| {
            wide.name == narrow.name && wide.pattern.as_str() == narrow.pattern.as_str()
        })
        && (wide.lacks.is_empty() || covers_duties(&wide.lacks, &narrow.lacks))
}

/// A rule is about messages that lack any of what it names.
fn covers_duties(wide: &[Duty], narrow: &[Duty]) -> bool {
    !narrow.is_empty() && narrow.iter().all(|duty| wide.contains(duty))
}

/// Networks lie one in the other, or apart.
fn covers_networks(wide: &[Network], narrow: &[Network]) -> bool {
    let is_in = |one: &Network, other: &Network| one.bits >= other.bits && other.contains(one.address);
    !narrow.is_empty() && narrow.iter().all(|one| wide.iter().any(|other| is_in(one, other)))
}

fn networks_meet(one: &[Network], other: &[Network]) -> bool {
    let meet = |a: &Network, b: &Network| a.contains(b.address) || b.contains(a.address);
    one.is_empty() || other.is_empty() || one.iter().any(|a| other.iter().any(|b| meet(a, b)))
}

fn covers_addresses(wide: &AddressPattern, narrow: &AddressPattern) -> bool {
    match (wide, narrow) {
        (AddressPattern::Any, _) => true,
        (_, AddressPattern::Address(address)) => wide.matches(address.as_bytes()),
        (AddressPattern::Below(wide), AddressPattern::Domain(narrow)) => {
            is_below(narrow.as_bytes(), wide.as_bytes())
        }
        (AddressPattern::Below(wide), AddressPattern::Below(narrow)) => {
            wide == narrow || is_below(narrow.as_bytes(), wide.as_bytes())
        }
        _ => wide == narrow,
    }
}

/// Whether a rule refuses at MAIL or RCPT what an earlier one would have decided later, and otherwise.
fn overtakes(rule: &RuleConfig, earlier: &RuleConfig) -> bool {
    let stage = |rule: &RuleConfig| match (rule.is_of_header(), &rule.recipient) {
        (true, _) => 2,
        (false, Some(_)) => 1,
        (false, None) => 0,
    };
    let otherwise = matches!(earlier.action, Some(RuleAction::End(_))) || earlier.is_of_header();
    matches!(rule.action, Some(RuleAction::Reject(_)))
        && otherwise
        && stage(rule) < stage(earlier)
        && may_hold_together(rule, earlier)
}

/// Whether a rule refuses by the header what an earlier one takes for some of the recipients and ends here: one reply is for all of them.
fn refuses_all(rule: &RuleConfig, earlier: &RuleConfig) -> bool {
    rule.is_of_header()
        && matches!(rule.action, Some(RuleAction::Reject(_)))
        && earlier.recipient.is_some()
        && matches!(earlier.action, Some(RuleAction::End(_)))
        && may_hold_together(rule, earlier)
}

fn may_hold_together(rule: &RuleConfig, earlier: &RuleConfig) -> bool {
    may_meet(rule.account.as_ref(), earlier.account.as_ref(), PartialEq::eq)
        && may_meet(rule.listener.as_ref(), earlier.listener.as_ref(), PartialEq::eq)
        && networks_meet(&rule.clients, &earlier.clients)
        && may_meet(rule.sender.as_ref(), earlier.sender.as_ref(), addresses_meet)
        && may_meet(rule.recipient.as_ref(), earlier.recipient.as_ref(), addresses_meet)
}

fn may_meet<T>(one: Option<&T>, other: Option<&T>, meet: impl Fn(&T, &T) -> bool) -> bool {
    one.zip(other).is_none_or(|(one, other)| meet(one, other))
}

fn addresses_meet(one: &AddressPattern, other: &AddressPattern) -> bool {
    covers_addresses(one, other) || covers_addresses(other, one)
}
