//! Texts of last replies.

use std::collections::HashMap;
use std::rc::Rc;

use crate::limits;
use crate::queue::outcome::Hold;

/// The key of no text.
pub(super) const NO_REPLY: u16 = u16::MAX;

/// Texts of last replies, each kept once: thousands of deferrals share a few of them.
#[derive(Debug, Default)]
pub struct Replies {
    pub(super) texts: Vec<(Rc<str>, u32)>,
    pub(super) by_text: HashMap<Rc<str>, u16>,
    free: Vec<u16>,
}

impl Replies {
    /// Keeps a text. Past the bound of distinct texts, only its reply code is told apart.
    pub(super) fn keep(&mut self, text: &str) -> u16 {
        let full = self.by_text.len() >= limits::REPLIES_KEPT_MAX - limits::REPLIES_OF_CODES;
        let text = match text.split_once(Hold::BETWEEN) {
            _ if !full => text,
            // Who holds it is not known any more, but that it is.
            Some(_) => "",
            None => text.get(..3).unwrap_or(""),
        };
        if let Some(key) = self.by_text.get(text).copied() {
            self.texts[usize::from(key)].1 += 1;
            return key;
        }
        let shared: Rc<str> = text.into();
        let key = match self.free.pop() {
            Some(key) => {
                self.texts[usize::from(key)] = (shared.clone(), 1);
                key
            }
            None if self.texts.len() < limits::REPLIES_KEPT_MAX => {
                self.texts.push((shared.clone(), 1));
                (self.texts.len() - 1) as u16
            }
            None => return NO_REPLY,
        };
        self.by_text.insert(shared, key);
        key
    }

    /// One user less.
    pub(super) fn release(&mut self, key: u16) {
        let Some((text, uses)) = self.texts.get_mut(usize::from(key)) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.by_text.remove(text);
            *text = "".into();
            self.free.push(key);
        }
    }

    /// One range became two that share its text.
    pub(super) fn share(&mut self, key: u16) {
        if let Some((_, uses)) = self.texts.get_mut(usize::from(key)) {
            *uses += 1;
        }
    }

    /// A text: that of a range's last reply, with the words of who holds it in front.
    pub(in crate::spool) fn text(&self, key: u16) -> &str {
        self.texts.get(usize::from(key)).map_or("", |(text, _)| text)
    }
}
