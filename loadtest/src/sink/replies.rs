//! What refusals say. Relays decide by the texts of the large receivers as much as by their codes, so a test needs them as
//! they are.

use std::net::IpAddr;
use std::str::FromStr;

use crate::unfit::Unfit;

/// Whose words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Texts {
    /// Nobody's.
    #[default]
    Plain,
    /// Gmail's.
    Gmail,
    /// Yahoo's.
    Yahoo,
    /// Outlook.com's.
    Outlook,
    /// iCloud's.
    Icloud,
}

const NAMES: [(&str, Texts); 5] = [
    ("plain", Texts::Plain),
    ("gmail", Texts::Gmail),
    ("yahoo", Texts::Yahoo),
    ("outlook", Texts::Outlook),
    ("icloud", Texts::Icloud),
];

impl FromStr for Texts {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Texts, Unfit> {
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, texts)| *texts).ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            Unfit::new(format!("there are no texts of `{text}`: {}", names.join(", ")))
        })
    }
}

/// Why something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Too much mail of this client in a short time.
    Rate,
    /// Too many connections of this client.
    Connections,
    /// This triplet was not seen before.
    Greylist,
    /// Too many recipients in one transaction.
    Recipients,
    /// A rule that gives this code at RCPT.
    Recipient(u16),
    /// A rule that gives this code elsewhere.
    Rule(u16),
}

/// The code and the text, all lines with their ends.
pub(super) fn refusal(texts: Texts, why: Why, client: IpAddr) -> (u16, Vec<u8>) {
    let (code, lines) = words(texts, why, client);
    let mut out = Vec::new();
    for (at, (status, line)) in lines.iter().enumerate() {
        let mark = if at + 1 == lines.len() { ' ' } else { '-' };
        let gap = if status.is_empty() { "" } else { " " };
        out.extend_from_slice(format!("{code}{mark}{status}{gap}{line}\r\n").as_bytes());
    }
    (code, out)
}

type Lines = Vec<(&'static str, String)>;

fn words(texts: Texts, why: Why, client: IpAddr) -> (u16, Lines) {
    let known = match texts {
        Texts::Plain => None,
        Texts::Gmail => gmail(why),
        Texts::Yahoo => yahoo(why),
        Texts::Outlook => outlook(why),
        Texts::Icloud => icloud(why),
    };
    let Some((code, status, lines)) = known else { return plain(why) };
    let client = client.to_string();
    (code, lines.iter().map(|line| (status, line.replace("{client}", &client))).collect())
}

/// What a receiver is known to say: code, enhanced code, lines; None where it says nothing of its own.
type Known = Option<(u16, &'static str, &'static [&'static str])>;

fn gmail(why: Why) -> Known {
    match why {
        Why::Rate => Some((
            421,
            "4.7.28",
            &[
                "Gmail has detected an unusual rate of unsolicited mail originating",
                "from your IP address [{client}]. To protect our users from spam, mail",
                "sent from your IP address has been temporarily rate limited. For more",
                "information, go to",
                "https://support.google.com/mail/?p=UnsolicitedRateLimitError - gsmtp",
            ],
        )),
        Why::Recipient(code @ 500..) => Some((
            code,
            "5.1.1",
            &[
                "The email account that you tried to reach does not exist. Please try",
                "double-checking the recipient's email address for typos or",
                "unnecessary spaces. For more information, go to",
                "https://support.google.com/mail/?p=NoSuchUser - gsmtp",
            ],
        )),
        Why::Recipient(code) => Some((
            code,
            "4.2.1",
            &[
                "The user you are trying to contact is receiving mail at a rate that",
                "prevents additional messages from being delivered. Please resend your",
                "message at a later time. For more information, go to",
                "https://support.google.com/mail/?p=ReceivingRate - gsmtp",
            ],
        )),
        _ => None,
    }
}

fn yahoo(why: Why) -> Known {
    match why {
        Why::Rate | Why::Connections => Some((
            421,
            "4.7.0",
            &["[TSS04] Messages from {client} temporarily deferred due to unexpected volume or user \
               complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes"],
        )),
        Why::Recipient(code @ 500..) => Some((
            code,
            "",
            &["delivery error: dd This user doesn't have a yahoo.com account (user@yahoo.com) [0]"],
        )),
        _ => None,
    }
}

fn outlook(why: Why) -> Known {
    match why {
        Why::Rate => Some((
            451,
            "4.7.650",
            &["The mail server [{client}] has been temporarily rate limited due to IP reputation. For \
               e-mail delivery information, see https://postmaster.live.com (S775)"],
        )),
        Why::Connections => Some((
            421,
            "4.3.2",
            &["The maximum number of concurrent connections has exceeded a limit, closing \
               transmission channel"],
        )),
        Why::Recipient(code @ 500..) => {
            Some((code, "5.5.0", &["Requested action not taken: mailbox unavailable (S2017062302)."]))
        }
        _ => None,
    }
}

fn icloud(why: Why) -> Known {
    match why {
        Why::Rate => {
            Some((450, "4.2.2", &["[TRX05] Too many messages from {client}, please try again later"]))
        }
        Why::Rule(code @ 500..) => Some((
            code,
            "5.7.1",
            &["[CS01] Message rejected due to local policy. Please visit \
               https://support.apple.com/en-us/HT204137"],
        )),
        _ => None,
    }
}

fn plain(why: Why) -> (u16, Lines) {
    let one = |code: u16, status: &'static str, text: &str| (code, vec![(status, text.to_owned())]);
    match why {
        Why::Rate => one(450, "4.7.1", "too many messages from your address, try again later"),
        Why::Connections => one(421, "4.7.0", "too many connections from your address"),
        Why::Greylist => one(450, "4.7.1", "greylisted, please try again later"),
        Why::Recipients => one(452, "4.5.3", "too many recipients"),
        Why::Recipient(code) | Why::Rule(code) => {
            one(code, if code < 500 { "4.3.0" } else { "5.3.0" }, "as configured")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_well_formed() {
        let client = IpAddr::from([127, 0, 0, 9]);
        let reasons = [
            Why::Rate,
            Why::Connections,
            Why::Greylist,
            Why::Recipients,
            Why::Recipient(550),
            Why::Recipient(450),
            Why::Rule(554),
            Why::Rule(421),
        ];
        for (_, texts) in NAMES {
            for why in reasons {
                let (code, text) = refusal(texts, why, client);
                let text = String::from_utf8(text).unwrap();
                let lines: Vec<_> = text.strip_suffix("\r\n").unwrap().split("\r\n").collect();
                for (at, line) in lines.iter().enumerate() {
                    let mark = if at + 1 == lines.len() { " " } else { "-" };
                    assert!(line.starts_with(&format!("{code}{mark}")) && line.len() < 510, "{line}");
                }
                if let Why::Recipient(wanted) | Why::Rule(wanted) = why {
                    assert_eq!(code, wanted);
                }
            }
        }
        let text = refusal(Texts::Gmail, Why::Rate, client).1;
        assert!(String::from_utf8(text).unwrap().contains("[127.0.0.9]"));
    }
}
