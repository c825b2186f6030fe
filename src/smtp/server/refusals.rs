//! What was refused to a client, kept for a moment until the driver records it.

use crate::limits;
use crate::mail::envelope::Envelope;
use crate::policy::reason::{Reason, Refused};
use crate::smtp::words;

/// A command, a login, a body or a session that was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// What was said, without the line end.
    pub reply: String,
    /// The reverse path of the transaction, if it had one.
    pub sender: Option<Vec<u8>>,
    /// The forward path that was refused, or the first few of a message.
    pub recipients: Vec<Vec<u8>>,
    /// The account that a login named.
    pub account: Option<String>,
    /// It was an attempt to log in.
    pub login: bool,
    /// Why, where whoever refused it said so.
    pub given: Option<Reason>,
}

impl Refusal {
    /// Of a whole message.
    pub fn of_message(said: &str, envelope: &Envelope) -> Refusal {
        let recipients = envelope.recipients.iter().take(limits::REFUSED_RECIPIENTS_MAX);
        Refusal {
            reply: text(said.trim_end().as_bytes()),
            sender: Some(cut(&envelope.sender).to_vec()),
            recipients: recipients.map(|recipient| cut(&recipient.address).to_vec()).collect(),
            ..Refusal::default()
        }
    }

    /// Why, which stays the same whatever the reply says. 421 is the end of a session.
    pub fn reason(&self) -> Reason {
        if let Some(reason) = self.given {
            return reason;
        }
        let (code, rest) = self.reply.split_once(' ').unwrap_or((&self.reply, ""));
        let enhanced = rest.split(' ').next().unwrap_or_default();
        match (code, enhanced) {
            ("421", "4.4.2") => Reason::Timeout,
            ("421", "4.3.2") if rest.contains("logins") => Reason::AuthUnavailable,
            ("421", "4.3.2") => Reason::SessionOver,
            ("421", "4.5.0") => Reason::Protocol,
            ("421", _) if rest.contains("connections") => Reason::TooManyConnections,
            ("421", _) => Reason::TooManyErrors,
            ("TLS:", _) => Reason::TlsFailed,
            ("connection" | "timed", _) => Reason::ConnectionLost,
            ("535", _) => Reason::AuthFailed,
            ("454", "4.7.0") if self.login => Reason::AuthUnavailable,
            _ if self.login => Reason::AuthRefused,
            ("530", "5.7.0") => Reason::AuthRequired,
            ("550", "5.7.1") => Reason::RelayDenied,
            (_, "4.5.3") => Reason::TooManyRecipients,
            (_, "5.3.4") => Reason::TooLarge,
            ("451", "4.3.0") => Reason::NotStored,
            ("450" | "451" | "452" | "454", _) => Reason::NoRoom,
            (_, "5.6.11") => Reason::BareNewline,
            (_, "5.6.0") => Reason::LineTooLong,
            (_, "5.4.6") => Reason::Loop,
            (_, "5.6.7") => Reason::BadAddress,
            (_, enhanced) if enhanced.starts_with("5.1.") => Reason::BadAddress,
            _ => Reason::Protocol,
        }
    }
}

/// Refusals of a moment, and how many more there were.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The first few, and the end of the session.
    pub held: Vec<Refusal>,
    /// The others.
    pub left_out: u64,
}

impl Refusals {
    /// A command was answered with `said`. Kept is what refuses mail, a login, TLS or the session. Nothing is kept of commands that are
    /// unknown, malformed or out of order (they refuse no mail, and their number ends the session), of DATA without a recipient (each RCPT is
    /// recorded), of RCPT behind a MAIL that was refused (`behind`: that is recorded), and of 421 4.3.2 (the node drains, or the session is old: the
    /// client connects again and is served). `line` is None where it was no command but a line of an AUTH exchange, whatever it looks like; nothing
    /// of it is kept. `open` is the transaction's.
    pub(super) fn note_command(
        &mut self,
        line: Option<&[u8]>,
        said: &[u8],
        behind: bool,
        open: Option<&Envelope>,
    ) {
        let mut told = false;
        let verb = line.map_or(&b"AUTH"[..], |line| line.get(..4).unwrap_or_default()).to_ascii_uppercase();
        for reply in said.split(|byte| *byte == b'\n').filter(|reply| matches!(reply, [b'4' | b'5', ..])) {
            // 4.3.2 is said to whoever comes at the wrong time.
            let ends = reply.starts_with(b"421") && !reply.starts_with(b"421 4.3.2");
            let behind = verb == b"RCPT" && behind;
            let refuses =
                !behind && !reply.starts_with(b"421") && matches!(&verb[..], b"MAIL" | b"RCPT" | b"AUTH")
                    || reply.starts_with(words::TLS_PUT_OFF.trim_end().as_bytes());
            if !ends && !refuses {
                continue;
            }
            let path = || line.and_then(path_in).map(<[u8]>::to_vec);
            let sender = || open.map(|envelope| envelope.sender.clone());
            let (sender, recipient) = match &verb[..] {
                // The end of the session behind a refusal: what was refused is told once.
                _ if told => (None, None),
                b"MAIL" => (path(), None),
                b"RCPT" => (sender(), path()),
                _ => (sender(), None),
            };
            let (reply, recipients) = (text(reply), recipient.into_iter().collect());
            let login = verb == b"AUTH";
            told = true;
            self.keep(Refusal { reply, sender, recipients, login, ..Refusal::default() });
        }
    }

    /// A login or the whole session was answered with `said`, and with it the transaction that is open.
    pub(super) fn note(&mut self, said: &[u8], account: Option<&str>, open: Option<&Envelope>) {
        let account = account.map(|name| name.chars().take(limits::ACCOUNT_NAME_MAX).collect::<String>());
        for (at, reply) in refusals_in(said).enumerate() {
            let open = open.filter(|_| at == 0);
            let refusal = open.map(|envelope| Refusal::of_message(&reply, envelope)).unwrap_or_default();
            let (account, login) = (account.clone(), account.is_some());
            self.keep(Refusal { reply, account, login, ..refusal });
        }
    }

    /// A message was answered with `said` behind its body. The first reply is about it; one behind that is the session's end.
    pub(super) fn note_message(&mut self, (said, reason): (&[u8], Reason), envelope: &Envelope) {
        let mut replies = refusals_in(said);
        if let Some(reply) = replies.next() {
            self.keep(Refusal { given: Some(reason), ..Refusal::of_message(&reply, envelope) });
        }
        for reply in replies {
            self.keep(Refusal { reply, ..Refusal::default() });
        }
    }

    /// Somebody who has a say refused a message.
    #[cold]
    pub(super) fn note_unwanted_message(&mut self, refused: Refused<'_>, envelope: &Envelope) {
        let given = Some(refused.reason);
        self.keep(Refusal { given, ..Refusal::of_message(refused.reply, envelope) });
    }

    /// The same of a sender, or a recipient.
    #[cold]
    pub(super) fn note_unwanted(
        &mut self,
        refused: Refused<'_>,
        envelope: &Envelope,
        recipient: Option<&[u8]>,
    ) {
        let recipients = recipient.map(|path| cut(path).to_vec()).into_iter().collect();
        let given = Some(refused.reason);
        self.keep(Refusal { recipients, given, ..Refusal::of_message(refused.reply, envelope) });
    }

    /// The connection broke, for the reason in `words`. With it goes the transaction that is open.
    pub(super) fn note_broken(&mut self, words: &str, open: Option<&Envelope>) {
        let refusal = open.map(|envelope| Refusal::of_message(words, envelope));
        self.keep(refusal.unwrap_or_else(|| Refusal { reply: words.to_owned(), ..Refusal::default() }));
    }

    /// What was refused since this was last asked; None: nothing.
    pub(super) fn take(&mut self) -> Option<Refusals> {
        (!self.held.is_empty()).then(|| std::mem::take(self))
    }

    fn keep(&mut self, refusal: Refusal) {
        // What ends the session is the last, and has a place of its own.
        let most = limits::REFUSALS_HELD + usize::from(refusal.reply.starts_with("421"));
        if self.held.len() >= most {
            self.left_out += 1;
            return;
        }
        self.held.push(refusal);
    }
}

fn refusals_in(said: &[u8]) -> impl Iterator<Item = String> {
    said.split(|byte| *byte == b'\n').filter(|reply| matches!(reply, [b'4' | b'5', ..])).map(text)
}

fn cut(path: &[u8]) -> &[u8] {
    &path[..path.len().min(limits::REFUSED_PATH_MAX)]
}

fn text(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply.strip_suffix(b"\r").unwrap_or(reply)).into_owned()
}

/// What stands between angle brackets, cut to what a path may have.
fn path_in(line: &[u8]) -> Option<&[u8]> {
    let from = memchr::memchr(b'<', line)? + 1;
    let to = memchr::memrchr(b'>', line).filter(|to| *to >= from).unwrap_or(line.len());
    Some(cut(&line[from..to]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::server::Session;

    fn refusal(reply: &str, login: bool) -> Refusal {
        Refusal { reply: reply.into(), login, ..Refusal::default() }
    }

    #[test]
    fn reasons() {
        for (reply, reason) in [
            ("550 5.7.1 Relay access denied", "relay_denied"),
            ("452 4.5.3 Too many recipients", "too_many_recipients"),
            ("452 4.3.1 Insufficient system storage", "no_room"),
            ("552 5.3.4 Message size exceeds fixed limit", "too_large"),
            ("535 5.7.8 Authentication credentials invalid", "auth_failed"),
            ("501 5.5.2 Cannot decode the response", "protocol"),
            ("501 5.1.3 Bad address syntax", "bad_address"),
            ("503 5.5.1 Send EHLO first", "protocol"),
            ("421 4.7.0 Too many errors", "too_many_errors"),
            ("421 4.4.2 Timeout", "timeout"),
            ("TLS: received fatal alert: UnknownCA", "tls_failed"),
            ("connection lost: unexpected end of file", "connection_lost"),
            ("timed out waiting for the peer", "connection_lost"),
            (words::SESSION_OVER, "session_over"),
            (words::NOTHING_TAKEN, "session_over"),
            (words::NO_MESSAGE, "timeout"),
            (words::TOO_MANY_COMMANDS, "too_many_errors"),
            (words::TOO_MANY_LOGINS, "auth_unavailable"),
            (words::PROXY_DENIED, "protocol"),
            (words::NO_PROXY_HEADER, "timeout"),
            (words::AUTH_REQUIRED, "auth_required"),
            (words::STARTTLS_REQUIRED, "auth_required"),
            (words::REQUIRETLS_NEEDS_TLS, "protocol"),
            ("550 5.6.11 Bare CR or LF in the message; lines end with CRLF", "bare_newline"),
            ("554 5.4.6 Too many hops: mail loop", "loop"),
            ("451 4.3.0 The message could not be stored, try again later", "not_stored"),
            ("454 4.7.0 TLS not available due to temporary reason", "no_room"),
        ] {
            assert_eq!(refusal(reply, false).reason().word(), reason, "{reply}");
        }
        for (reply, reason) in [
            ("535 5.7.8 Authentication credentials invalid", "auth_failed"),
            ("454 4.7.0 Temporary authentication failure", "auth_unavailable"),
            ("538 5.7.11 Encryption required for this authentication mechanism", "auth_refused"),
            ("501 5.7.0 Authentication cancelled", "auth_refused"),
            ("501 5.5.2 Cannot decode the response", "auth_refused"),
            ("501 5.5.4 Syntax error in arguments", "auth_refused"),
            ("500 5.5.2 Line too long", "auth_refused"),
            ("503 5.5.1 Bad sequence of commands", "auth_refused"),
            ("421 4.7.0 Too many errors", "too_many_errors"),
        ] {
            assert_eq!(refusal(reply, true).reason().word(), reason, "{reply}");
        }
    }

    /// Whoever refuses mail says why; the words are the operator's, and may be those of anything else.
    #[test]
    fn a_reason_that_was_given_is_not_read_from_the_reply() {
        let mut session =
            Session::new(crate::smtp::server::tests::config(), "192.0.2.1:1".parse().unwrap(), true);
        assert_eq!(handled_by(&mut session, "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"), []);
        let (reply, mut out) = ("550 5.7.1 Relay access denied\r\n", Vec::new());
        let envelope = session.open().unwrap().envelope.clone();
        for reason in [Reason::Rule, Reason::Loop] {
            session.not_admitted(Refused { reply, reason }, &envelope, &mut out);
            assert_eq!(session.take_refusals().unwrap().held[0].reason(), reason);
        }
        // The only question there is now is about the sender.
        let refused = Refused { reply, reason: Reason::Rule };
        assert!(!session.answered(crate::smtp::server::Answer::Refuse(refused), &mut out));
        assert_eq!(session.take_refusals().unwrap().held[0].reason(), Reason::Rule);
    }

    /// What a session keeps of these lines: replies, and paths.
    fn kept(may_relay: bool, lines: &str) -> Vec<(String, String, String)> {
        let peer = "192.0.2.1:1".parse().unwrap();
        handled(Session::new(crate::smtp::server::tests::config(), peer, may_relay), lines)
    }

    fn handled(mut session: Session, lines: &str) -> Vec<(String, String, String)> {
        handled_by(&mut session, lines)
    }

    fn handled_by(session: &mut Session, lines: &str) -> Vec<(String, String, String)> {
        let (mut out, mut used) = (Vec::new(), 0);
        while used < lines.len() {
            let (more, step) =
                session.handle(&lines.as_bytes()[used..], crate::smtp::server::Intake::Open, &mut out);
            used += more;
            if step == crate::smtp::server::Step::Close {
                break;
            }
        }
        let text = |path: Option<Vec<u8>>| String::from_utf8(path.unwrap_or_default()).unwrap();
        let refusals = session.take_refusals().unwrap_or_default();
        assert!(session.take_refusals().is_none());
        refusals
            .held
            .into_iter()
            .map(|mut one| (one.reply, text(one.sender), text(one.recipients.pop())))
            .collect()
    }

    #[test]
    fn what_refuses_mail_is_kept_and_nothing_else() {
        let one = |reply: &str, sender: &str, recipient: &str| {
            vec![(reply.to_owned(), sender.to_owned(), recipient.to_owned())]
        };
        let hello = "EHLO x\r\nNOOP\r\nFROB\r\n";
        assert_eq!(kept(true, &format!("{hello}MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")), []);
        let denied = kept(false, &format!("{hello}MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"));
        assert_eq!(denied, one("550 5.7.1 Relay access denied", "a@b", "c@d"));
        let early = kept(true, "MAIL FROM:<a@b>\r\n");
        assert_eq!(early, one("503 5.5.1 Send EHLO first", "a@b", ""));
        let errors = kept(true, &"FROB\r\n".repeat(limits::COMMAND_ERRORS_MAX as usize));
        assert_eq!(errors, one("421 4.7.0 Too many errors", "", ""));
        // A list of a thousand bad recipients in one packet is bounded.
        let many = format!("{hello}MAIL FROM:<a@b>\r\n{}", "RCPT TO:<c@\u{e4}>\r\n".repeat(90));
        assert_eq!(kept(true, &many).len(), limits::REFUSALS_HELD);
    }

    /// What a client hears in the middle of a transaction is told with the mail it was about.
    #[test]
    fn a_refused_message_is_kept_with_its_first_recipients() {
        let config = crate::smtp::server::SessionConfig {
            recipients_max: 100,
            ..(*crate::smtp::server::tests::config()).clone()
        };
        let mut session = Session::new(config.into(), "192.0.2.1:1".parse().unwrap(), true);
        let mut lines = "EHLO x\r\nMAIL FROM:<a@b>\r\n".to_owned();
        (0..50).for_each(|number| lines += &format!("RCPT TO:<{number}@d>\r\n"));
        assert_eq!(handled_by(&mut session, &lines), []);
        session.refused(words::TIMED_OUT.as_bytes(), None);
        let refusals = session.take_refusals().unwrap().held;
        let [one] = &refusals[..] else { panic!("{refusals:?}") };
        assert_eq!((one.reason().word(), one.sender.as_deref()), ("timeout", Some(&b"a@b"[..])));
        assert_eq!(one.recipients.len(), limits::REFUSED_RECIPIENTS_MAX);
        assert_eq!((&one.recipients[0][..], one.login), (&b"0@d"[..], false));
        // TLS that is put off is service refused.
        session.put_off_tls(true);
        assert_eq!(handled_by(&mut session, "STARTTLS\r\n").len(), 1);
    }

    /// What is refused and ends the session with it is two replies, and one piece of mail.
    #[test]
    fn mail_that_is_refused_is_told_once() {
        let mut session =
            Session::new(crate::smtp::server::tests::config(), "192.0.2.1:1".parse().unwrap(), true);
        let mut out = Vec::new();
        let lines = "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
        assert_eq!(handled_by(&mut session, lines), []);
        session.dialogue.conduct.errors = limits::COMMAND_ERRORS_MAX - 1;
        session.scan(&mut b"a\nb\r\n.\r\n".to_vec());
        session.body_end(crate::time::UnixMillis(5), crate::time::UnixMillis(9), &mut out);
        let kept: Vec<_> = session.take_refusals().unwrap().held;
        let told = |one: &Refusal| (one.reason().word(), one.sender.is_some(), one.recipients.len());
        let told: Vec<_> = kept.iter().map(told).collect();
        assert_eq!(told, [("bare_newline", true, 1), ("too_many_errors", false, 0)]);
        // The same of a recipient.
        let mut session =
            Session::new(crate::smtp::server::tests::config(), "192.0.2.1:1".parse().unwrap(), false);
        assert_eq!(handled_by(&mut session, "EHLO x\r\nMAIL FROM:<a@b>\r\n"), []);
        session.dialogue.conduct.errors = limits::COMMAND_ERRORS_MAX - 1;
        let kept = handled_by(&mut session, "RCPT TO:<c@d>\r\n");
        let about: Vec<_> = kept.iter().map(|one| (&one.0[..3], &*one.1, &*one.2)).collect();
        assert_eq!(about, [("550", "a@b", "c@d"), ("421", "", "")]);
    }

    #[test]
    fn an_end_behind_a_positive_reply_is_kept() {
        // Each round of a client that may relay ends with RSET, or EHLO, and one error more.
        let hello = "EHLO x\r\n";
        for end in ["RSET\r\n", hello] {
            let round = format!("MAIL FROM:<a@b>\r\nRCPT TO:<c@\u{e4}>\r\n{end}");
            let before = limits::COMMAND_ERRORS_MAX as usize - 1;
            let lines = format!("{hello}{}{round}", "FROB\r\n".repeat(before));
            let kept = kept(true, &lines);
            assert_eq!(kept.last().map(|one| &*one.0), Some("421 4.7.0 Too many errors"), "{end}: {kept:?}");
        }
        let quit = kept(true, "EHLO x\r\nQUIT\r\n");
        assert_eq!(quit, []);
    }

    #[test]
    fn each_line_of_a_login_that_is_refused_is_kept_without_what_it_said() {
        use crate::config::AuthMechanisms;
        let (peer, config) = ("192.0.2.1:1".parse().unwrap(), crate::smtp::server::tests::config());
        let config = crate::smtp::server::SessionConfig { auth: AuthMechanisms::TOLD, ..(*config).clone() };
        let mut session = Session::new(config.into(), peer, false);
        session.tls_established("TLS".into());
        let lines = "EHLO x\r\nAUTH PLAIN\r\n!\r\nAUTH LOGIN\r\nMAIL FROM:<a@b>\r\nAUTH PLAIN\r\n*\r\nAUTH X\r\nAUTH\r\n";
        let kept = handled(session, lines);
        let codes: Vec<_> = kept.iter().map(|one| (one.0.get(..9).unwrap(), &*one.1, &*one.2)).collect();
        let wanted = ["501 5.5.2", "501 5.5.2", "501 5.7.0", "504 5.5.4", "501 5.5.4"];
        assert_eq!(codes, wanted.map(|code| (code, "", "")));
    }

    /// However much was refused in the burst that ended the session.
    #[test]
    fn the_end_of_a_session_has_a_place_of_its_own() {
        let most = limits::RECIPIENTS_REFUSED_MAX as usize;
        for may_relay in [false, true] {
            let burst = "RCPT TO:<c@\u{e4}>\r\n".repeat(most);
            let kept = kept(may_relay, &format!("EHLO x\r\nMAIL FROM:<a@b>\r\n{burst}"));
            assert_eq!(kept.last().map(|one| &*one.0), Some("421 4.7.0 Too many errors"));
            assert_eq!(kept.len(), limits::REFUSALS_HELD + 1);
        }
    }

    #[test]
    fn paths_are_cut_and_may_be_broken() {
        assert_eq!(path_in(b"RCPT TO:<a@b> X=1"), Some(&b"a@b"[..]));
        assert_eq!(path_in(b"RCPT TO:<a>b@c>"), Some(&b"a>b@c"[..]));
        assert_eq!(path_in(b"RCPT TO:>a<"), Some(&b""[..]));
        assert_eq!(path_in(b"RCPT TO:a@b"), None);
        let long = [&b"RCPT TO:<"[..], &[b'x'; 5000]].concat();
        assert_eq!(path_in(&long).map(<[u8]>::len), Some(limits::REFUSED_PATH_MAX));
    }
}
