//! What replies of next hops mean.

use std::fmt::Write;
use std::hint::black_box;

use relevo::mail::classify::Classes;
use relevo::mail::classify::judge::Judge;

use super::Routine;

/// Texts a run.
pub const TEXTS: u64 = 16;

/// Refusals in words that were not heard before, of the length that large receivers use: nearly every pattern is tried.
struct New {
    judge: Judge,
    texts: [String; TEXTS as usize],
    said: usize,
}

impl Routine for New {
    fn prepare(&mut self) {
        for text in &mut self.texts {
            self.said += 1;
            text.clear();
            text.push_str("550 5.9.9 ");
            for word in 0..40 {
                // Letters only: numbers are masked, and would make all texts one.
                let letter =
                    |by: usize| char::from(b'a' + u8::try_from((self.said / by + word) % 26).unwrap_or(0));
                let _ = write!(text, "{}{}o{}w ", letter(1), letter(26), letter(676));
            }
        }
    }

    fn run(&mut self) {
        for text in &self.texts {
            black_box(self.judge.judge_surely(black_box(text), "mx1.mail.example [192.0.2.1]:25"));
        }
    }
}

/// Looking through the patterns of classes.
pub fn new_texts() -> Box<dyn Routine> {
    Box::new(New {
        judge: Judge::new(Classes::shipped()),
        texts: [const { String::new() }; TEXTS as usize],
        said: 0,
    })
}
