//! A hop that has recipients enough in one transaction, or over one connection: what shows it, and how many are named next.

use super::blame;
use crate::smtp::reply::Reply;

/// What one transaction shows of that.
#[derive(Debug, Default)]
pub(super) struct Enough {
    /// So many are to be named at once from now on.
    pub(super) fewer: Option<usize>,
    /// Those who are undecided are named again without a wait.
    pub(super) at_once: bool,
    /// The connection ended at the first RCPT, and nothing speaks of another reason.
    pub(super) turned_away: bool,
}

impl Enough {
    /// The hop ends the connection at the RCPT of this place, when it had `accepted` others; in these words or in none. Where it took some
    /// it may want no more of them at once. To ask for all of them each time would deliver to none of them ever.
    pub(super) fn cut_at(&mut self, place: usize, accepted: usize, words: Option<&Reply>) {
        // Other words are those of a host that shuts down, or wants us to be slower.
        let unsaid =
            words.is_none_or(|reply| blame::says_too_many(reply) || blame::speaks_of_the_session(reply));
        if accepted > 0 {
            (self.fewer, self.at_once) = (Some(place), unsaid);
        } else {
            self.turned_away = place == 0 && unsaid;
        }
    }

    /// A refusal of the data, or of its end, when the hop had taken each of so many: it may say that they are too many (RFC 3463 X.5.3, RFC 5321
    /// 4.5.3.1.10). It is asked for half of them, down to one, for whom the reply counts as it stands.
    pub(super) fn heed(&mut self, accepted: usize, reply: &Reply) {
        if accepted > 1 && !reply.is_positive() && blame::says_too_many(reply) {
            (self.fewer, self.at_once) = (Some(accepted / 2), true);
        }
    }
}

#[cfg(test)]
mod tests;
