//! `[bounces]`: what senders are told of their mail.

use std::time::Duration;

use crate::config::literal::{boolean, span};
use crate::config::section::Section;
use crate::limits;

/// `[bounces]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounces {
    /// Whether they are told at all, by delivery status notifications (RFC 3464).
    pub dsn: bool,
    /// Mail that has waited for so long is late, and its sender is told so once; zero: it never is.
    pub delay_warning: Duration,
}

pub(super) fn read(section: &Section<'_>) -> Bounces {
    let usual = Duration::from_secs(4 * 3600);
    Bounces {
        dsn: section.read("dsn", true, boolean),
        delay_warning: section.read("delay_warning", Duration::ZERO, |value| {
            span(value, Duration::ZERO..=limits::CONFIG_TIME_MAX, usual)
        }),
    }
}

impl Bounces {
    /// Seconds after which mail is late. None: it never is.
    pub fn late_after(&self) -> Option<u32> {
        let seconds = u32::try_from(self.delay_warning.as_secs()).unwrap_or(u32::MAX);
        (!self.delay_warning.is_zero()).then_some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn senders_are_told_unless_said_otherwise() {
        let read = |text: &str| Config::parse(text, Path::new("relevo.toml")).map(|config| config.bounces);
        let usual = Bounces { dsn: true, delay_warning: Duration::ZERO };
        assert_eq!((read("").unwrap(), usual.late_after()), (usual, None));
        let bounces = read("[bounces]\ndsn = false\ndelay_warning = \"4h\"\n").unwrap();
        assert_eq!((bounces.dsn, bounces.late_after()), (false, Some(14_400)));
        assert_eq!(read("[bounces]\ndelay_warning = \"0s\"\n").unwrap(), usual);
        let error = read("[bounces]\ndelay_warning = 4\n").unwrap_err().remove(0).to_string();
        assert!(error.contains("bounces.delay_warning") && error.contains("4 has no unit"), "{error}");
    }
}
