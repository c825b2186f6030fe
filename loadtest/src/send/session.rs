//! One SMTP session of the sender: replies in, commands and events out. It owns no socket.

use std::io::IoSlice;
use std::sync::Arc;

use crate::message::Draft;
use crate::wire::{NotSmtp, Offers, Reply, ReplyReader};

/// What a reply led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// TLS is to begin; [`Session::secured`] goes on.
    Secure,
    /// A transaction may begin.
    Ready,
    /// The message was acknowledged, for the recipients in [`Session::accepted`].
    Taken,
    /// The message was refused with this code. Unless [`Session::is_idle`], `Ready` or `Over` follows.
    Refused(u16),
    /// Nothing more will come of this session.
    Over,
}

const EHLO: &[u8] = b"EHLO client.load.example\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    /// TLS is being made.
    Securing,
    Auth,
    Idle,
    /// Waiting for the reply to this command of the envelope.
    Envelope(usize),
    /// Waiting for the reply to the final dot.
    Content,
    Reset,
    Quit,
    Over,
}

/// How sessions of a run are to go.
#[derive(Clone, Debug, Default)]
pub(super) struct Wants {
    /// Whether to use PIPELINING where it is offered.
    pub(super) pipelining: bool,
    /// Whether to ask for TLS and do without a server that has none.
    pub(super) starttls: bool,
    /// Whether to send content by BDAT, and do without a server that has none.
    pub(super) chunking: bool,
    /// What AUTH PLAIN says, with its CRLF.
    pub(super) auth: Option<Arc<[u8]>>,
}

#[derive(Debug)]
pub(super) struct Session {
    stage: Stage,
    replies: ReplyReader,
    wants: Wants,
    /// Whether PIPELINING is used on this connection.
    offered: bool,
    secure: bool,
    /// The message under way.
    pub(super) draft: Draft,
    /// Its number.
    pub(super) n: u64,
    /// When it was due.
    pub(super) due: u64,
    /// Its recipients accepted so far.
    pub(super) accepted: Vec<u32>,
    /// The first refusal of its envelope.
    refusal: Option<u16>,
    mail_accepted: bool,
    commands: Vec<u8>,
    /// Whether the draft's content follows `commands`.
    content: bool,
    written: usize,
}

impl Session {
    pub(super) fn new(wants: Wants) -> Session {
        Session {
            stage: Stage::Greeting,
            replies: ReplyReader::default(),
            wants,
            offered: false,
            secure: false,
            draft: Draft::default(),
            n: 0,
            due: 0,
            accepted: Vec::new(),
            refusal: None,
            mail_accepted: false,
            commands: Vec::new(),
            content: false,
            written: 0,
        }
    }

    /// For a new connection; buffers are kept.
    pub(super) fn restart(&mut self) {
        (self.stage, self.secure) = (Stage::Greeting, false);
        self.replies = ReplyReader::default();
        self.clear_output();
    }

    /// Whether a transaction may begin.
    pub(super) fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// Whether one is under way whose end is not known.
    pub(super) fn in_transaction(&self) -> bool {
        matches!(self.stage, Stage::Envelope(_) | Stage::Content)
    }

    /// TLS was made: begins anew (RFC 3207 4.2).
    pub(super) fn secured(&mut self) {
        self.secure = true;
        self.replies = ReplyReader::default();
        self.send(Stage::Ehlo, EHLO);
    }

    /// Sends the message in `draft`.
    pub(super) fn begin(&mut self, n: u64, due: u64) {
        (self.n, self.due, self.refusal, self.mail_accepted) = (n, due, None, false);
        self.accepted.clear();
        self.stage = Stage::Envelope(0);
        let end = if self.offered { self.draft.envelope.len() } else { self.draft.ends[0] };
        self.commands.extend_from_slice(&self.draft.envelope[..end]);
        // With BDAT nothing has to be waited for, not even the recipients' replies (RFC 3030 4.2).
        self.content = self.offered && self.wants.chunking;
    }

    /// Sends QUIT.
    pub(super) fn quit(&mut self) {
        self.stage = Stage::Quit;
        self.commands.extend_from_slice(b"QUIT\r\n");
    }

    /// What is to be written, in order.
    pub(super) fn output(&self) -> [IoSlice<'_>; 6] {
        let [label, shared, head, body, tail] =
            if self.content { self.draft.content() } else { [&[][..]; 5] };
        let mut done = self.written;
        [&self.commands[..], label, shared, head, body, tail].map(|part| {
            let skip = done.min(part.len());
            done -= skip;
            IoSlice::new(&part[skip..])
        })
    }

    /// Whether anything is.
    pub(super) fn has_output(&self) -> bool {
        self.content || !self.commands.is_empty()
    }

    /// So many bytes of it were.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        let content = if self.content { self.draft.wire_length() } else { 0 };
        if self.written >= self.commands.len() + content {
            self.clear_output();
        }
    }

    fn clear_output(&mut self) {
        self.commands.clear();
        (self.content, self.written) = (false, 0);
    }

    /// Reads up to and including the next reply that means something; returns the bytes used and what it means.
    pub(super) fn input(&mut self, input: &[u8]) -> Result<(usize, Option<Event>), NotSmtp> {
        let mut used = 0;
        while used < input.len() && self.stage != Stage::Over {
            let (more, reply) = self.replies.read(&input[used..])?;
            used += more;
            if let Some(event) = reply.and_then(|reply| self.reply(reply)) {
                return Ok((used, Some(event)));
            }
        }
        Ok((used, None))
    }

    fn reply(&mut self, reply: Reply) -> Option<Event> {
        if reply.code == 421 || self.stage == Stage::Idle || self.stage == Stage::Quit {
            // The server closes, or speaks when nobody asked, which is most likely the same.
            let refused = self.in_transaction();
            self.stage = Stage::Over;
            return Some(if refused { Event::Refused(reply.code) } else { Event::Over });
        }
        match self.stage {
            Stage::Greeting if reply.code == 220 => self.send(Stage::Ehlo, EHLO),
            Stage::Ehlo | Stage::Helo if reply.code == 250 => self.offered(reply.offers),
            Stage::StartTls if reply.code == 220 => {
                self.stage = Stage::Securing;
                Some(Event::Secure)
            }
            Stage::Auth if reply.code == 235 => self.idle(),
            Stage::Ehlo if reply.code >= 500 => self.send(Stage::Helo, b"HELO client.load.example\r\n"),
            Stage::Reset if reply.code == 250 => self.idle(),
            Stage::Envelope(at) => self.envelope(at, reply.code),
            Stage::Content => self.content_reply(reply.code),
            _ => {
                self.stage = Stage::Over;
                Some(Event::Over)
            }
        }
    }

    /// What EHLO offered decides how to go on.
    fn offered(&mut self, offers: Offers) -> Option<Event> {
        let lacks = (self.wants.starttls && !self.secure && !offers.starttls)
            || (self.wants.chunking && !offers.chunking)
            || (self.wants.auth.is_some() && !offers.auth_plain && (self.secure || !self.wants.starttls));
        if lacks {
            self.stage = Stage::Over;
            return Some(Event::Over);
        }
        if self.wants.starttls && !self.secure {
            return self.send(Stage::StartTls, b"STARTTLS\r\n");
        }
        self.offered = self.wants.pipelining && offers.pipelining;
        match self.wants.auth.clone() {
            Some(auth) => self.send(Stage::Auth, &auth),
            None => self.idle(),
        }
    }

    /// The reply to the `at`-th command of the envelope.
    fn envelope(&mut self, at: usize, code: u16) -> Option<Event> {
        let data = self.draft.ends.len() - 1;
        if at == data && self.wants.chunking {
            // The reply to BDAT is the one to the message.
            return self.content_reply(code);
        }
        let accepted = if at == data { code == 354 } else { code < 300 };
        if !accepted && self.refusal.is_none() {
            self.refusal = Some(code);
        }
        if at == 0 {
            self.mail_accepted = accepted;
        } else if at < data && accepted {
            self.accepted.push((at - 1) as u32);
        }
        if at == data {
            return if accepted { self.send_content() } else { self.refused() };
        }
        self.stage = Stage::Envelope(at + 1);
        if self.offered {
            // All of it was sent; the replies still to come have to be read.
            return None;
        }
        if !self.mail_accepted || (at + 1 == data && self.accepted.is_empty()) {
            return self.refused();
        }
        let ends = &self.draft.ends;
        self.commands.extend_from_slice(&self.draft.envelope[ends[at]..ends[at + 1]]);
        self.content = at + 1 == data && self.wants.chunking;
        None
    }

    /// The reply to the whole message.
    fn content_reply(&mut self, code: u16) -> Option<Event> {
        self.stage = Stage::Idle;
        if code < 300 && !self.accepted.is_empty() {
            return Some(Event::Taken);
        }
        if self.refusal.is_none() || !self.accepted.is_empty() {
            self.refusal = Some(code);
        }
        // After a refused chunk the server still waits for the rest (RFC 3030 2).
        if self.wants.chunking { self.refused() } else { Some(Event::Refused(self.refusal.unwrap_or(code))) }
    }

    fn send_content(&mut self) -> Option<Event> {
        self.stage = Stage::Content;
        if self.accepted.is_empty() {
            // RFC 2920 3.1: a server that says 354 without a recipient gets an empty message, which it refuses.
            self.commands.extend_from_slice(b".\r\n");
        } else {
            self.content = true;
        }
        None
    }

    fn refused(&mut self) -> Option<Event> {
        if self.mail_accepted {
            self.send(Stage::Reset, b"RSET\r\n");
        } else {
            self.stage = Stage::Idle;
        }
        Some(Event::Refused(self.refusal.unwrap_or(0)))
    }

    fn idle(&mut self) -> Option<Event> {
        self.stage = Stage::Idle;
        Some(Event::Ready)
    }

    fn send(&mut self, stage: Stage, command: &[u8]) -> Option<Event> {
        self.stage = stage;
        self.commands.extend_from_slice(command);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::run_number;
    use crate::message::{Maker, Templates};
    use crate::mix::{Domains, Recipients, Sizes};

    fn take_output(session: &mut Session) -> String {
        let mut all = Vec::new();
        while session.has_output() {
            // Three bytes at a time, as a slow socket would.
            let part: Vec<u8> = session.output().iter().flat_map(|slice| slice.to_vec()).take(3).collect();
            session.wrote(part.len());
            all.extend(part);
        }
        String::from_utf8(all).unwrap()
    }

    /// What was said, in short, and the events, of a transaction with these replies.
    fn talk(pipelining: bool, offer: bool, replies: &[&str]) -> (Vec<String>, Vec<Event>, Session) {
        talk_in(pipelining, offer, false, replies)
    }

    fn talk_in(
        pipelining: bool,
        offer: bool,
        chunking: bool,
        replies: &[&str],
    ) -> (Vec<String>, Vec<Event>, Session) {
        let (recipients, sizes) = (Recipients::between(2, 2), Sizes::Fixed(2000));
        let maker = Maker {
            run: run_number(1, 2),
            recipients,
            seed: 1,
            templates: Templates::new(&sizes, 1),
            domains: Domains::providers(),
            date: String::new(),
            chunking,
        };
        let mut session = Session::new(Wants { pipelining, chunking, ..Wants::default() });
        let offer =
            if offer { "250-x\r\n250-CHUNKING\r\n250 PIPELINING\r\n" } else { "250-x\r\n250 CHUNKING\r\n" };
        session.input(format!("220 x\r\n{offer}").as_bytes()).unwrap();
        take_output(&mut session);
        maker.make(7, 1, &mut session.draft);
        session.begin(7, 1);
        let (mut said, mut events) = (vec![take_output(&mut session)], Vec::new());
        for reply in replies {
            let text = format!("{reply} x\r\n");
            let (used, event) = session.input(text.as_bytes()).unwrap();
            assert!(used == text.len() || event == Some(Event::Over));
            events.extend(event);
            said.push(take_output(&mut session));
        }
        said.retain(|text| !text.is_empty());
        let short = |text: &String| {
            let verbs: Vec<_> =
                text.lines().take(4).map(|line| line.split([' ', ':']).next().unwrap()).collect();
            if text.ends_with("\r\n.\r\n") { "content".to_owned() } else { verbs.join(" ") }
        };
        (said.iter().map(short).collect(), events, session)
    }

    #[test]
    fn one_command_at_a_time() {
        for (pipelining, offer) in [(false, true), (true, false)] {
            let (said, events, session) = talk(pipelining, offer, &["250", "250", "250", "354", "250"]);
            assert_eq!(said, ["MAIL", "RCPT", "RCPT", "DATA", "content"]);
            assert_eq!((events, session.accepted), (vec![Event::Taken], vec![0, 1]));
        }
    }

    #[test]
    fn all_commands_at_once() {
        let (said, events, session) = talk(true, true, &["250", "250", "250", "354", "250"]);
        assert_eq!(said, ["MAIL RCPT RCPT DATA", "content"]);
        assert_eq!((events, session.accepted), (vec![Event::Taken], vec![0, 1]));
    }

    #[test]
    fn content_in_one_chunk() {
        for offer in [false, true] {
            let (said, events, session) = talk_in(true, offer, true, &["250", "250", "250", "250"]);
            if offer {
                assert_eq!(said, ["MAIL RCPT RCPT BDAT"], "all at once");
            } else {
                assert_eq!(said, ["MAIL", "RCPT", "RCPT", "BDAT X-Loadtest-Id Date From"]);
            }
            assert_eq!((events, session.accepted), (vec![Event::Taken], vec![0, 1]));
        }
        let (_, events, session) = talk_in(true, true, true, &["250", "550", "551", "554", "250"]);
        assert_eq!((events, session.is_idle()), (vec![Event::Refused(550), Event::Ready], true));
    }

    #[test]
    fn tls_and_then_a_password() {
        let wants = Wants { starttls: true, auth: Some((*b"AUTH PLAIN x\r\n").into()), ..Wants::default() };
        let mut session = Session::new(wants);
        let mut say = |text: &str| {
            let event = session.input(text.as_bytes()).unwrap().1;
            if event == Some(Event::Secure) {
                session.secured();
            }
            (take_output(&mut session), event)
        };
        say("220 x\r\n");
        assert_eq!(say("250-x\r\n250 STARTTLS\r\n"), ("STARTTLS\r\n".to_owned(), None));
        assert_eq!(say("220 x\r\n"), ("EHLO client.load.example\r\n".to_owned(), Some(Event::Secure)));
        assert_eq!(say("250-x\r\n250 AUTH PLAIN\r\n"), ("AUTH PLAIN x\r\n".to_owned(), None));
        assert_eq!(say("235 x\r\n"), (String::new(), Some(Event::Ready)));
    }

    #[test]
    fn a_server_that_lacks_something_is_left() {
        let without = [
            Wants { starttls: true, ..Wants::default() },
            Wants { chunking: true, ..Wants::default() },
            Wants { auth: Some((*b"x").into()), ..Wants::default() },
        ];
        for wants in without {
            let mut session = Session::new(wants);
            session.input(b"220 x\r\n").unwrap();
            assert_eq!(session.input(b"250-x\r\n250 PIPELINING\r\n").unwrap().1, Some(Event::Over));
        }
    }

    #[test]
    fn only_accepted_recipients_count() {
        for pipelining in [false, true] {
            let (_, events, session) = talk(pipelining, true, &["250", "550", "250", "354", "250"]);
            assert_eq!((events, session.accepted), (vec![Event::Taken], vec![1]));
        }
    }

    #[test]
    fn refusals_leave_the_session_usable() {
        use Event::{Ready, Refused};
        type Case = (bool, &'static [&'static str], &'static [&'static str], &'static [Event]);
        let cases: &[Case] = &[
            (false, &["452"], &["MAIL"], &[Refused(452)]),
            (false, &["250", "450", "550", "250"], &["MAIL", "RCPT", "RCPT", "RSET"], &[Refused(450), Ready]),
            (
                false,
                &["250", "250", "250", "451", "250"],
                &["MAIL", "RCPT", "RCPT", "DATA", "RSET"],
                &[Refused(451), Ready],
            ),
            (
                false,
                &["250", "250", "250", "354", "554"],
                &["MAIL", "RCPT", "RCPT", "DATA", "content"],
                &[Refused(554)],
            ),
            (true, &["452", "503", "503", "503"], &["MAIL RCPT RCPT DATA"], &[Refused(452)]),
            (
                true,
                &["250", "450", "550", "554", "250"],
                &["MAIL RCPT RCPT DATA", "RSET"],
                &[Refused(450), Ready],
            ),
            (true, &["250", "450", "550", "354", "250"], &["MAIL RCPT RCPT DATA", "."], &[Refused(450)]),
        ];
        for (pipelining, replies, wanted, events) in cases {
            let (said, found, session) = talk(*pipelining, true, replies);
            assert_eq!(
                (said, &found[..]),
                (wanted.iter().map(|s| (*s).to_owned()).collect(), *events),
                "{replies:?}"
            );
            assert!(session.is_idle(), "{replies:?}");
        }
    }

    #[test]
    fn a_421_ends_it() {
        let (_, events, session) = talk(true, true, &["250", "421"]);
        assert_eq!((events, session.in_transaction()), (vec![Event::Refused(421)], false));
        let mut session = Session::new(Wants { pipelining: true, ..Wants::default() });
        assert_eq!(session.input(b"554 no\r\n"), Ok((8, Some(Event::Over))));
        assert!(Session::new(Wants { pipelining: true, ..Wants::default() }).input(b"hello\r\n").is_err());
    }

    #[test]
    fn helo_is_the_way_out() {
        let mut session = Session::new(Wants { pipelining: true, ..Wants::default() });
        assert_eq!(session.input(b"220 x\r\n502 what\r\n"), Ok((17, None)));
        assert_eq!(take_output(&mut session).matches("HELO ").count(), 1);
        assert_eq!(session.input(b"250 x\r\n"), Ok((7, Some(Event::Ready))));
    }
}
