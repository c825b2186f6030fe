//! Judging replies as they come: a storm of one text costs a look-up each, and one of many texts no more than so much of a second.

use super::{Classes, Judged, mask};
use crate::limits;
use crate::time::Instant;

/// Classes, and the texts that were judged last.
#[derive(Debug)]
pub struct Judge {
    classes: Classes,
    /// By the hash of text and provider; a text takes the place of another.
    seen: Box<[Option<JudgedReply>]>,
    masked: Vec<u8>,
    /// The second in which texts are looked through, and how many were.
    second: u64,
    looked: u32,
    looks: u64,
}

#[derive(Clone, Debug)]
struct JudgedReply {
    masked: Box<[u8]>,
    provider: Option<u8>,
    judged: Judged,
}

/// Where a text stands among those that were judged.
enum Remembered {
    /// It was judged.
    Seen(Judged),
    /// It goes to this slot.
    New(usize, Option<u8>),
}

impl Judge {
    /// That has seen nothing.
    pub fn new(classes: Classes) -> Judge {
        classes.warm();
        let seen = vec![None; limits::CLASSIFIED_KEPT].into();
        Judge { classes, seen, masked: Vec::new(), second: 0, looked: 0, looks: 0 }
    }

    /// What a reply means that this hop gave: code, enhanced code and text. None: too many new texts came in this second, and
    /// [`super::Class::of_status`] is all there is time for.
    pub fn judge(&mut self, reply: &str, hop: &str, now: Instant) -> Option<Judged> {
        match self.look_up(reply, hop) {
            Remembered::Seen(judged) => Some(judged),
            Remembered::New(slot, provider) => {
                let this = now.0 / 1_000_000_000;
                if self.second != this {
                    (self.second, self.looked) = (this, 0);
                }
                if self.looked >= limits::CLASSIFIED_A_SECOND {
                    return None;
                }
                self.looked += 1;
                Some(self.look_through(slot, provider))
            }
        }
    }

    /// The same, however many were looked through: mail that was returned by mistake does not come back. Callers let others have a turn, by
    /// [`Judge::looks`].
    pub fn judge_surely(&mut self, reply: &str, hop: &str) -> Judged {
        match self.look_up(reply, hop) {
            Remembered::Seen(judged) => judged,
            Remembered::New(slot, provider) => self.look_through(slot, provider),
        }
    }

    /// How many texts were looked through, ever.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    fn look_up(&mut self, reply: &str, hop: &str) -> Remembered {
        self.masked.clear();
        mask(reply.as_bytes(), &mut self.masked);
        let provider = self.classes.provider(hop);
        let slot = (hash(&self.masked, provider) % limits::CLASSIFIED_KEPT as u64) as usize;
        match &self.seen[slot] {
            Some(seen) if *seen.masked == *self.masked && seen.provider == provider => {
                Remembered::Seen(seen.judged)
            }
            _ => Remembered::New(slot, provider),
        }
    }

    /// Judges the text that was looked up, and keeps what it is.
    fn look_through(&mut self, slot: usize, provider: Option<u8>) -> Judged {
        self.looks += 1;
        let judged = self.classes.find(&self.masked, provider);
        self.seen[slot] = Some(JudgedReply { masked: self.masked.as_slice().into(), provider, judged });
        judged
    }
}

/// FNV-1a. Whoever makes two texts collide gains a look more of those that are counted.
fn hash(text: &[u8], provider: Option<u8>) -> u64 {
    let provider = provider.map_or(0, |provider| provider.wrapping_add(1));
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
    let hash = text.iter().fold(step(0xCBF2_9CE4_8422_2325, &provider), step);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::classify::Class;

    const LATER: Instant = Instant(5_000_000_000);

    #[test]
    fn texts_that_differ_in_ids_are_looked_through_once() {
        let mut judge = Judge::new(Classes::shipped());
        for number in 0..5_000_u32 {
            let text = format!("550 5.1.1 <user{number}@a.example>: no such user, 192.0.2.{}", number % 256);
            let judged = judge.judge(&text, "mx.a.example [192.0.2.1]:25", LATER).expect("it is known");
            assert_eq!(judged.class, Class::BadMailbox);
        }
        assert_eq!(judge.looked, 1);
    }

    #[test]
    fn so_many_new_texts_are_looked_through_in_a_second() {
        let mut judge = Judge::new(Classes::shipped());
        let text = |number: u32| {
            let word: String =
                number.to_string().bytes().map(|byte| char::from(byte - b'0' + b'g')).collect();
            format!("550 5.1.1 no such user {word}")
        };
        for number in 0..limits::CLASSIFIED_A_SECOND {
            assert!(judge.judge(&text(number), "", LATER).is_some(), "{number}");
        }
        let over = text(limits::CLASSIFIED_A_SECOND);
        assert_eq!(judge.judge(&over, "", LATER), None);
        // One that was seen costs nothing, and another second brings more.
        assert!(judge.judge(&text(limits::CLASSIFIED_A_SECOND - 1), "", LATER).is_some());
        assert!(judge.judge(&over, "", Instant(LATER.0 + 1_000_000_000)).is_some());
    }

    #[test]
    fn whether_it_is_final_is_told_however_many_were_looked_through() {
        let mut judge = Judge::new(Classes::shipped());
        judge.second = LATER.0 / 1_000_000_000;
        judge.looked = limits::CLASSIFIED_A_SECOND;
        let (text, hop) = ("550 Sender frequency limited. http://a.example", "mx3.qq.com [192.0.2.1]:25");
        assert_eq!(judge.judge(text, hop, LATER), None);
        assert_eq!(judge.judge_surely(text, hop).permanent, Some(false));
        assert_eq!(judge.looks(), 1);
        assert_eq!(judge.judge(text, hop, LATER).map(|judged| judged.class), Some(Class::Throttled));
        assert_eq!((judge.judge_surely(text, hop).permanent, judge.looks()), (Some(false), 1));
    }

    #[test]
    fn a_text_of_one_provider_is_none_of_another() {
        let mut judge = Judge::new(Classes::shipped());
        let text = "550 Suspected bounce attacks";
        let mut class = |hop: &str| judge.judge(text, hop, LATER).map(|judged| judged.class);
        let other = class("mx.a.example [192.0.2.1]:25");
        assert_ne!(other, Some(Class::Reputation));
        assert_eq!(class("MX3.qq.com [192.0.2.1]:25"), Some(Class::Reputation));
        assert_eq!(class("mx3.qq.com.evil.example [192.0.2.1]:25"), other);
        assert_eq!(class("notqq.com:25"), other);
    }
}
