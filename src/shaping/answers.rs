//! What rules say of replies themselves: what they are about, and whether they are final.

use std::sync::Arc;

use super::rule::Rule;
use crate::mail::classify::Class;

/// The rules of a site that have a word for what a reply is, in the order in which they are asked. A copy shares them.
#[derive(Clone, Debug)]
pub struct Answers(Box<[Arc<Rule>]>);

impl Answers {
    /// Those of these rules, which come in the order in which they are asked; None: none of them says anything of the kind.
    pub(super) fn of<'a>(rules: impl Iterator<Item = &'a Arc<Rule>>) -> Option<Answers> {
        let says = |rule: &&Arc<Rule>| rule.class.is_some() || rule.permanent.is_some();
        let found: Box<[_]> = rules.filter(says).cloned().collect();
        (!found.is_empty()).then_some(Answers(found))
    }

    /// What a reply is about, and whether it is final; `own`: this relay said it, not the next hop. None: they do not say.
    pub fn judge(&self, reply: &[u8], own: bool) -> (Option<Class>, Option<bool>) {
        let (mut class, mut permanent) = (None, None);
        for rule in &self.0 {
            let news = (class.is_none() && rule.class.is_some())
                || (permanent.is_none() && rule.permanent.is_some());
            if news && rule.matches(reply, own) {
                (class, permanent) = (class.or(rule.class), permanent.or(rule.permanent));
            }
        }
        (class, permanent)
    }
}

impl PartialEq for Answers {
    /// The same rules, not only such that say the same.
    fn eq(&self, other: &Answers) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(one, other)| Arc::ptr_eq(one, other))
    }
}
