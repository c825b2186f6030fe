//! Adaptive windows: how many connections, and how many messages a second, a site has shown to take below what the operator allows. Pure.
//!
//! A site that never refused anything has none: its limits are the operator's. One that does is held to what it took, and once in a while to
//! a little more. The words of a refusal say which of the two it is about. However many replies of one round say so, a window is narrowed
//! once for them: only what was begun since it was narrowed last says anything new.
//!
//! Connections: a host that refuses one says exactly how many it takes, as those that stand are counted. So no more than these are opened;
//! one more is tried after a while, and each time that is refused the while is twice as long. Where none stands, one is tried, and as it
//! takes mail twice as many each round, up to what it took before.
//!
//! Messages: nobody says what the rate is, so it is found as TCP finds it (RFC 9438): from a small one twice as many each round until the
//! next refusal, then somewhat below what was taken, back to that within seconds, and beyond it slowly at first and then ever faster, so
//! that most of the time goes by near the limit and one that was raised is found. A refusal beyond the last known good rate goes back to it.

use std::time::Duration;

use crate::limits;
use crate::time::Instant;

/// What a window bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrows {
    /// Connections at one time.
    Connections,
    /// Messages a second.
    Messages,
}

/// What happened since a window was looked at last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowEvents {
    /// When the latest of what was taken had begun.
    pub taken: Option<Instant>,
    /// More was to be done than the window let.
    pub wanted: bool,
}

/// Connections at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connections {
    /// So many; None: as many as the operator allows.
    most: Option<usize>,
    /// What it took before it refused one more.
    good: usize,
    /// When it was narrowed last, or widened.
    narrowed: Instant,
    widened: Instant,
    /// When one more than it took is tried, after how long, and how many more.
    next: Instant,
    pause: Duration,
    step: usize,
}

impl Connections {
    /// How many there may be; None: as many as the operator allows.
    pub fn most(&self) -> Option<usize> {
        self.most
    }

    /// A connection begun then was refused, where so many stood. Whether that says anything new.
    pub fn refused(&mut self, begun: Instant, standing: usize, now: Instant) -> bool {
        if self.most.is_some() && begun <= self.narrowed {
            return false;
        }
        let takes = standing.clamp(limits::WINDOW_CONNECTIONS_MIN, self.most.unwrap_or(usize::MAX));
        // One beyond what it took: that is its limit still, and it is asked again later each time.
        let known = self.most.is_some() && takes >= self.good;
        self.pause = if known { self.pause * 2 } else { limits::WINDOW_PROBE_MIN };
        self.pause = self.pause.clamp(limits::WINDOW_PROBE_MIN, limits::WINDOW_PROBE_MAX);
        if standing > 0 {
            self.good = takes;
        } else {
            // It takes none now, which says nothing of how many it takes when it does.
            self.good = self.good.max(self.most.unwrap_or(limits::WINDOW_CONNECTIONS_MIN));
        }
        (self.most, self.narrowed, self.widened) = (Some(takes), now, now);
        (self.next, self.step) = (now + self.pause, 1);
        true
    }

    /// One came up, and so many stand: those on their way when another was refused are as good as others.
    pub fn came_up(&mut self, standing: usize) {
        let Some(most) = self.most.filter(|most| standing >= *most) else { return };
        self.most = Some(most.max(standing));
        if standing > self.good {
            (self.good, self.pause) = (standing, limits::WINDOW_PROBE_MIN);
        }
    }

    /// A look now and then. Whether more are let.
    pub fn look(&mut self, heard: WindowEvents, ceiling: usize, now: Instant) -> bool {
        let Some(most) = self.most else { return false };
        if !heard.wanted || heard.taken.is_none_or(|begun| begun < self.widened) {
            return false;
        }
        let more = if most < self.good {
            (2 * most).min(self.good)
        } else if now >= self.next {
            let more = most + self.step;
            // Each further step that meets no refusal is larger.
            (self.step, self.next) = (2 * self.step, now + limits::WINDOW_PROBE_MIN / 4);
            more
        } else {
            return false;
        };
        self.widened = now;
        self.most = (more < ceiling).then_some(more);
        if self.most.is_none() {
            self.good = 0;
        }
        true
    }
}

/// Messages a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Messages {
    /// So many; None: as many as the operator allows.
    rate: Option<f64>,
    /// What it took for a while before it refused more; 0: that is not known.
    good: f64,
    /// It grows twofold each round.
    starts: bool,
    narrowed: Instant,
    widened: Instant,
    /// Something was taken since it was narrowed.
    took: bool,
    /// For how long all of it was used since then, and how long nothing above the good rate is tried.
    used: Duration,
    hold: Duration,
    /// How many were sent since more than that is tried.
    beyond: f64,
    looked: Instant,
}

impl Messages {
    /// How many there may be; None: as many as the operator allows.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// A message begun then was refused for its rate. Whether that says anything new.
    pub fn refused(&mut self, begun: Instant, now: Instant) -> bool {
        let before = self.rate;
        if before.is_some() && begun <= self.narrowed {
            return false;
        }
        let rate = match before {
            None => {
                (self.good, self.hold) = (0.0, limits::WINDOW_HOLD_MIN);
                self.starts = true;
                limits::WINDOW_RATE_START
            }
            // It takes nothing at all, at this rate or for a while.
            Some(rate) if !self.took => {
                self.starts = true;
                rate / 2.0
            }
            // The round before was well.
            Some(rate) if self.starts => {
                self.starts = false;
                self.good = rate / 2.0;
                self.good * limits::WINDOW_NEAR
            }
            Some(rate) if self.good > 0.0 && rate > self.good => {
                // It may have had a second's worth in store; all else of what it took it takes again.
                let took =
                    self.beyond / (self.used.saturating_sub(self.hold) + limits::WINDOW_STORE).as_secs_f64();
                self.hold = if took > self.good * limits::WINDOW_MORE {
                    limits::WINDOW_HOLD_MIN
                } else {
                    // What was tried beyond is too much still: it is tried again later each time.
                    (2 * self.hold).min(limits::WINDOW_HOLD_MAX)
                };
                self.good = self.good.max(took);
                self.good * limits::WINDOW_NEAR
            }
            // It takes less than it did.
            Some(rate) => {
                let soon = self.used < limits::WINDOW_HOLD_MIN / 2;
                self.good = rate * if soon { limits::WINDOW_LESS } else { limits::WINDOW_BELOW };
                self.hold = limits::WINDOW_HOLD_MIN;
                self.good * limits::WINDOW_NEAR
            }
        };
        self.rate = Some(rate.max(limits::WINDOW_RATE_MIN));
        (self.took, self.used, self.beyond) = (false, Duration::ZERO, 0.0);
        (self.narrowed, self.widened, self.looked) = (now, now, now);
        true
    }

    /// A look now and then. `ceiling`: what the operator allows. Whether more are let.
    pub fn look(&mut self, heard: WindowEvents, ceiling: f64, now: Instant) -> bool {
        let Some(rate) = self.rate else { return false };
        let span = now.since(self.looked).min(limits::WINDOW_SPAN_MAX);
        self.looked = now;
        self.took |= heard.taken.is_some_and(|begun| begun > self.narrowed);
        if !heard.wanted || heard.taken.is_none_or(|begun| begun < self.widened) {
            return false;
        }
        self.used += span;
        let above = self.used.saturating_sub(self.hold).as_secs_f64();
        let more = if self.starts {
            let more = 2.0 * rate;
            // From there on as after any other refusal.
            self.starts = self.good == 0.0 || more < self.good * limits::WINDOW_LESS;
            more
        } else if above > 0.0 {
            self.beyond += rate * span.as_secs_f64();
            // As in RFC 9438 section 4.2, but never twofold within a look.
            let wanted = self.good * (1.0 + (above / limits::WINDOW_DOUBLES.as_secs_f64()).powi(3));
            wanted.clamp(rate, 2.0 * rate)
        } else {
            rate + (self.good - rate).max(0.0)
                * (span.as_secs_f64() / limits::WINDOW_BACK.as_secs_f64()).min(1.0)
        };
        if more <= rate {
            return false;
        }
        self.widened = now;
        self.rate = (more < ceiling.min(limits::WINDOW_RATE_MAX)).then_some(more);
        true
    }
}

/// Both windows of a site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// Connections.
    pub connections: Connections,
    /// Messages.
    pub messages: Messages,
}

impl Window {
    /// Whether either bounds anything.
    pub fn is_narrow(&self) -> bool {
        self.connections.most.is_some() || self.messages.rate.is_some()
    }

    /// What of it is worth keeping over a start; None: nothing.
    pub fn kept(&self) -> Option<Vec<u8>> {
        let (connections, messages) = (&self.connections, &self.messages);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let mut bytes = vec![limits::WINDOW_FORM];
        for number in [
            count(connections.most.unwrap_or(0)),
            count(connections.good),
            millis(connections.pause.max(limits::WINDOW_PROBE_MIN)),
            millis(messages.hold.max(limits::WINDOW_HOLD_MIN)),
        ] {
            bytes.extend(number.to_le_bytes());
        }
        for rate in [messages.rate.unwrap_or(0.0), messages.good] {
            bytes.extend(rate.to_le_bytes());
        }
        self.is_narrow().then_some(bytes)
    }

    /// What was kept, as if it had been narrowed now. None: it is of another form, or makes no sense.
    pub fn of_kept(bytes: &[u8], now: Instant) -> Option<Window> {
        let (form, mut rest) = bytes.split_first()?;
        let mut numbers = [0; 4];
        for number in &mut numbers {
            let (bytes, behind) = rest.split_first_chunk()?;
            (*number, rest) = (u32::from_le_bytes(*bytes), behind);
        }
        let mut rates = [0.0; 2];
        for rate in &mut rates {
            let (bytes, behind) = rest.split_first_chunk()?;
            (*rate, rest) = (f64::from_le_bytes(*bytes), behind);
        }
        let [most, good, pause, hold] = numbers;
        let sound = rates.iter().all(|rate| (0.0..=limits::WINDOW_RATE_MAX).contains(rate));
        let millis = |time: u32| Duration::from_millis(time.into());
        let pause = millis(pause).clamp(limits::WINDOW_PROBE_MIN, limits::WINDOW_PROBE_MAX);
        let connections = Connections {
            most: (most > 0).then_some(most as usize),
            good: good as usize,
            narrowed: now,
            widened: now,
            next: now + pause,
            pause,
            step: 1,
        };
        let messages = Messages {
            rate: (rates[0] > 0.0).then(|| rates[0].max(limits::WINDOW_RATE_MIN)),
            good: rates[1],
            starts: rates[1] == 0.0,
            narrowed: now,
            widened: now,
            hold: millis(hold).clamp(limits::WINDOW_HOLD_MIN, limits::WINDOW_HOLD_MAX),
            looked: now,
            ..Messages::default()
        };
        (*form == limits::WINDOW_FORM && rest.is_empty() && sound).then_some(Window { connections, messages })
    }

    /// When it was narrowed last.
    pub fn narrowed(&self) -> Instant {
        self.connections.narrowed.max(self.messages.narrowed)
    }
}

#[cfg(test)]
mod tests;
