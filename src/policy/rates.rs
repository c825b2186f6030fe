//! Rates of what clients and accounts bring: what is said where one is at its end. Who counts is `shard::rates`.

use std::time::Duration;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Messages, as they begin.
    Messages,
    /// Recipients, as they are named.
    Recipients,
}

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A client's: an IPv4 address or an IPv6 /64.
    Client,
    /// An account's.
    Account,
}

/// The reply to who may go on after so long a time. It comes again by itself: no fault of the client, which retries.
pub fn put_off(counted: Counted, whose: Whose, wait: Duration) -> String {
    let what = match counted {
        Counted::Messages => "messages",
        Counted::Recipients => "recipients",
    };
    let whose = match whose {
        Whose::Client => "from your address",
        Whose::Account => "of this account",
    };
    format!("451 4.7.1 Too many {what} {whose}, try again in {}\r\n", span(wait))
}

/// Rounded up, in the unit that has few digits.
fn span(wait: Duration) -> String {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    let minutes = seconds.div_ceil(60);
    let hours = minutes.div_ceil(60);
    if minutes <= 2 {
        format!("{seconds} s")
    } else if hours <= 2 {
        format!("{minutes} min")
    } else {
        format!("{hours} h")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_when_to_come_again() {
        let told = |counted, whose, millis| put_off(counted, whose, Duration::from_millis(millis));
        assert_eq!(
            told(Counted::Messages, Whose::Client, 11_001),
            "451 4.7.1 Too many messages from your address, try again in 12 s\r\n"
        );
        assert_eq!(
            told(Counted::Recipients, Whose::Account, 0),
            "451 4.7.1 Too many recipients of this account, try again in 1 s\r\n"
        );
        for (seconds, wanted) in
            [(120, "120 s"), (121, "3 min"), (7_200, "120 min"), (7_201, "3 h"), (86_400, "24 h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), wanted);
        }
    }
}
