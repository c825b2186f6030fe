//! What became of each recipient of a transaction, and which reply decided it.

use smallvec::{SmallVec, smallvec};

use super::blame;
use crate::limits;
use crate::mail::classify::{Class, Judged};
use crate::smtp::reply::Reply;

/// What became of one recipient, and the number of the reply that decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next hop took responsibility.
    Delivered(usize),
    /// To be tried again.
    Deferred(usize),
    /// The hop takes no more recipients in this transaction: to be named in the next one, at once (RFC 5321 4.5.3.1.10).
    Later(usize),
    /// Refused for good.
    Failed(usize),
}

impl Verdict {
    fn reply(&self) -> usize {
        let (Verdict::Delivered(reply)
        | Verdict::Deferred(reply)
        | Verdict::Later(reply)
        | Verdict::Failed(reply)) = self;
        *reply
    }
}

/// Of all recipients.
#[derive(Debug)]
pub(super) struct Verdicts {
    of: SmallVec<[Option<Verdict>; limits::RECIPIENTS_INLINE]>,
    replies: SmallVec<[Reply; 1]>,
    /// What they mean, by their numbers; of those behind it that is not known.
    judged: SmallVec<[Judged; 1]>,
}

impl Verdicts {
    /// Of so many recipients, none decided.
    pub(super) fn new(recipients: usize) -> Verdicts {
        Verdicts { of: smallvec![None; recipients], replies: SmallVec::new(), judged: SmallVec::new() }
    }

    /// Recipients.
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// Keeps a reply: its number.
    pub(super) fn keep(&mut self, reply: Reply) -> usize {
        self.replies.push(reply);
        self.replies.len() - 1
    }

    /// What a reply means for whom it is about; `after`: recipients taken before, where it is the answer to a RCPT.
    pub(super) fn class(&self, reply: usize, after: Option<usize>) -> Verdict {
        let answer = &self.replies[reply];
        let (at_rcpt, accepted) = (after.is_some(), after.unwrap_or_default());
        if answer.is_positive() {
            Verdict::Delivered(reply)
        } else if accepted > 0 && (blame::means_too_many(answer) || blame::wants_them_apart(answer)) {
            Verdict::Later(reply)
        } else if answer.is_permanent()
            && !(at_rcpt && (blame::is_452_of_old(answer) || blame::means_too_many(answer)))
        {
            Verdict::Failed(reply)
        } else {
            Verdict::Deferred(reply)
        }
    }

    /// Decides one, whatever was said before.
    pub(super) fn set(&mut self, place: usize, verdict: Verdict) {
        self.of[place] = Some(verdict);
    }

    /// Decides all that are undecided.
    pub(super) fn set_rest(&mut self, verdict: &Verdict) {
        for decided in &mut self.of {
            decided.get_or_insert_with(|| verdict.clone());
        }
    }

    /// The verdict on the recipient at `place`.
    pub(super) fn at(&self, place: usize) -> Option<&Verdict> {
        self.of.get(place)?.as_ref()
    }

    /// The same with the reply that decided it.
    pub(super) fn with_reply(&self, place: usize) -> Option<(&Verdict, &Reply)> {
        let verdict = self.at(place)?;
        Some((verdict, self.replies.get(verdict.reply())?))
    }

    /// The last reply that decided something.
    pub(super) fn last(&self) -> Option<&Reply> {
        self.replies.last()
    }

    /// Places of the undecided.
    pub(super) fn undecided(&self) -> impl Iterator<Item = usize> {
        self.of.iter().enumerate().filter(|(_, decided)| decided.is_none()).map(|(place, _)| place)
    }

    /// Whether all are decided.
    pub(super) fn are_complete(&self) -> bool {
        self.of.iter().all(Option::is_some)
    }

    /// Whether somebody's is such.
    pub(super) fn any(&self, such: impl Fn(&Verdict) -> bool) -> bool {
        self.of.iter().flatten().any(such)
    }

    /// Notes what a reply means.
    pub(super) fn judge(&mut self, reply: usize, judged: Judged) {
        if self.judged.len() <= reply {
            self.judged.resize(reply + 1, Judged::UNKNOWN);
        }
        self.judged[reply] = judged;
    }

    fn judged(&self, reply: usize) -> Judged {
        self.judged.get(reply).copied().unwrap_or(Judged::UNKNOWN)
    }

    /// Whether a reply that decided something is about this.
    pub(super) fn any_of(&self, class: Class) -> bool {
        self.judged.iter().any(|judged| judged.class == class)
    }

    /// The last such reply, by what it means.
    pub(super) fn last_reply(&self, such: impl Fn(&Reply, Judged) -> bool) -> Option<&Reply> {
        let place = (0..self.replies.len()).rev().find(|at| such(&self.replies[*at], self.judged(*at)));
        self.replies.get(place?)
    }

    /// How many were taken before the hop wanted no more of them, if that is what its refusals mean.
    pub(super) fn taken_at_most(&self) -> Option<usize> {
        let later = |decided: &Option<Verdict>| matches!(decided, Some(Verdict::Later(_)));
        let first = self.of.iter().position(later)?;
        if !self.of[first..].iter().all(later) {
            return None;
        }
        let (_, reply) = self.with_reply(first)?;
        // One full mailbox at the end must not make every transaction smaller, nor those of another domain.
        let says = blame::says_too_many(reply) || self.of.len() - first > 1;
        (first > 0 && says && !blame::wants_domains_apart(reply)).then_some(first)
    }

    /// What was refused for good in words about us is to be tried again: those words. `routed`: the operator sends mail there, so it should
    /// take it from us, be it for one recipient. `to_mail`: the reply that refused MAIL.
    pub(super) fn forgive(&mut self, routed: bool, to_mail: Option<usize>) -> Option<&Reply> {
        let refusal = |decided: &Option<Verdict>| match decided {
            Some(Verdict::Failed(reply)) => Some(*reply),
            _ => None,
        };
        // Relaying is denied to us only if it is for every recipient. An MX that says so of one has a domain it does not serve: that
        // domain's DNS is wrong, and its sender is to know. Of all of several, more likely it has lost its tables or takes us for a
        // client of its own: nobody's address is wrong, and a wait costs less than many returns.
        let of_access = |reply: usize| blame::denies_access(&self.replies[reply], self.judged(reply));
        let to_all = self.of.len() > 1 && self.of.iter().all(|one| refusal(one).is_some_and(of_access));
        let of_us = |reply: usize| {
            let (words, judged) = (&self.replies[reply], self.judged(reply));
            blame::speaks_of_us(words, judged)
                || ((routed || to_all) && blame::denies_access(words, judged))
                || (routed && to_mail == Some(reply) && blame::refuses_any_mail(words, judged))
        };
        let mut about_us = None;
        let refused: SmallVec<[(usize, usize); limits::RECIPIENTS_INLINE]> = (0..self.of.len())
            .filter_map(|place| Some((place, refusal(&self.of[place])?)))
            .filter(|(_, reply)| of_us(*reply))
            .collect();
        for (place, reply) in refused {
            self.of[place] = Some(Verdict::Deferred(reply));
            about_us = Some(reply);
        }
        self.replies.get(about_us?)
    }

    /// The hop's replies by which recipients were refused or put off, each with its number: what they mean is to be judged. Our own words
    /// are as they are meant, and what is neither 4yz nor 5yz was said out of place.
    pub(super) fn to_be_judged(&self) -> impl Iterator<Item = (usize, &Reply)> {
        let decides = |number: usize| {
            let by = |decided: &Verdict| {
                matches!(decided, Verdict::Failed(_) | Verdict::Deferred(_)) && decided.reply() == number
            };
            self.of.iter().flatten().any(by)
        };
        let all = self.replies.iter().enumerate();
        all.filter(move |(number, words)| {
            !words.ours && matches!(words.code / 100, 4 | 5) && decides(*number)
        })
    }

    /// What a reply decided is final, or not, where its meaning says so, whatever its code does.
    pub(super) fn correct(&mut self) {
        for decided in self.of.iter_mut().flatten() {
            let reply = decided.reply();
            let permanent = self.judged.get(reply).and_then(|judged| judged.permanent);
            match (&*decided, permanent) {
                (Verdict::Failed(_), Some(false)) => *decided = Verdict::Deferred(reply),
                (Verdict::Deferred(_), Some(true)) => *decided = Verdict::Failed(reply),
                _ => {}
            }
        }
    }

    /// Whether all that is to be tried again was put off in words about the hop's host, and nobody was taken.
    pub(super) fn blame_host(&self) -> bool {
        let speaks = |decided: &Option<Verdict>| match decided {
            Some(Verdict::Deferred(reply)) => blame::speaks_of_the_host(&self.replies[*reply]),
            Some(Verdict::Failed(_)) => true,
            _ => false,
        };
        self.of.iter().all(speaks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::client::local;

    fn said(code: u16, text: &str) -> Reply {
        Reply { ours: false, ..local(code, (5, 0, 0), text) }
    }

    #[test]
    fn words_correct_what_codes_say() {
        let mut verdicts = Verdicts::new(7);
        let replies = [
            said(550, "later"),
            said(450, "never"),
            said(550, "as said"),
            said(450, "as said"),
            local(451, (4, 3, 0), "never"),
            said(354, "never"),
            said(250, "later"),
        ];
        for (place, reply) in replies.into_iter().enumerate() {
            let number = verdicts.keep(reply);
            let verdict = match place {
                0 | 2 => Verdict::Failed(number),
                6 => Verdict::Delivered(number),
                _ => Verdict::Deferred(number),
            };
            verdicts.set(place, verdict);
        }
        let said: Vec<_> =
            verdicts.to_be_judged().map(|(number, reply)| (number, reply.text.clone())).collect();
        assert_eq!(said.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2, 3]);
        for (number, text) in said {
            let permanent = match text.as_str() {
                "later" => Some(false),
                "never" => Some(true),
                _ => None,
            };
            verdicts.judge(number, Judged { permanent, ..Judged::UNKNOWN });
        }
        verdicts.correct();
        let all: Vec<_> = (0..7).filter_map(|place| verdicts.at(place).cloned()).collect();
        let expected = [
            Verdict::Deferred(0),
            Verdict::Failed(1),
            Verdict::Failed(2),
            Verdict::Deferred(3),
            Verdict::Deferred(4),
            Verdict::Deferred(5),
            Verdict::Delivered(6),
        ];
        assert_eq!(all, expected);
    }

    /// One reply decides on many: it is asked about once.
    #[test]
    fn a_reply_is_judged_once() {
        let mut verdicts = Verdicts::new(100);
        let number = verdicts.keep(said(550, "later"));
        verdicts.set_rest(&Verdict::Failed(number));
        assert_eq!(verdicts.to_be_judged().count(), 1);
        verdicts.judge(number, Judged { permanent: Some(false), ..Judged::UNKNOWN });
        verdicts.correct();
        assert!((0..100).all(|place| verdicts.at(place) == Some(&Verdict::Deferred(number))));
    }
}
