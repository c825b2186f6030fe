//! One SMTP session of the sender: replies in, commands and events out. It owns no socket.

use std::io::IoSlice;

use crate::message::Draft;
use crate::wire::{NotSmtp, Reply, ReplyReader};

/// What a reply led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A transaction may begin.
    Ready,
    /// The message was acknowledged, for the recipients in [`Session::accepted`].
    Taken,
    /// The message was refused with this code. Unless [`Session::is_idle`], `Ready` or `Over` follows.
    Refused(u16),
    /// Nothing more will come of this session.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ehlo,
    Helo,
    Idle,
    /// Waiting for the reply to this command of the envelope.
    Envelope(usize),
    /// Waiting for the reply to the final dot.
    Content,
    Reset,
    Quit,
    Over,
}

#[derive(Debug)]
pub(super) struct Session {
    stage: Stage,
    replies: ReplyReader,
    /// Whether to use PIPELINING where it is offered.
    pipelining: bool,
    offered: bool,
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
    pub(super) fn new(pipelining: bool) -> Session {
        Session {
            stage: Stage::Greeting,
            replies: ReplyReader::default(),
            pipelining,
            offered: false,
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
        self.stage = Stage::Greeting;
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

    /// Sends the message in `draft`.
    pub(super) fn begin(&mut self, n: u64, due: u64) {
        (self.n, self.due, self.refusal, self.mail_accepted) = (n, due, None, false);
        self.accepted.clear();
        self.stage = Stage::Envelope(0);
        let end = if self.offered { self.draft.envelope.len() } else { self.draft.ends[0] };
        self.commands.extend_from_slice(&self.draft.envelope[..end]);
    }

    /// Says goodbye.
    pub(super) fn quit(&mut self) {
        self.stage = Stage::Quit;
        self.commands.extend_from_slice(b"QUIT\r\n");
    }

    /// What is to be written, in order.
    pub(super) fn output(&self) -> [IoSlice<'_>; 4] {
        let body = self.draft.body.as_deref().unwrap_or_default();
        let content: [&[u8]; 3] =
            if self.content { [&self.draft.head, body, &self.draft.tail] } else { [&[], &[], &[]] };
        let mut done = self.written;
        [&self.commands[..], content[0], content[1], content[2]].map(|part| {
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
            Stage::Greeting if reply.code == 220 => self.send(Stage::Ehlo, b"EHLO client.load.example\r\n"),
            Stage::Ehlo | Stage::Helo if reply.code == 250 => {
                self.offered = self.pipelining && reply.pipelining;
                self.idle()
            }
            Stage::Ehlo if reply.code >= 500 => self.send(Stage::Helo, b"HELO client.load.example\r\n"),
            Stage::Reset if reply.code == 250 => self.idle(),
            Stage::Envelope(at) => self.envelope(at, reply.code),
            Stage::Content => {
                self.stage = Stage::Idle;
                let refusal = self.refusal.filter(|_| self.accepted.is_empty());
                Some(match refusal {
                    Some(code) => Event::Refused(code),
                    None if reply.code < 300 => Event::Taken,
                    None => Event::Refused(reply.code),
                })
            }
            _ => {
                self.stage = Stage::Over;
                Some(Event::Over)
            }
        }
    }

    /// The reply to the `at`-th command of the envelope.
    fn envelope(&mut self, at: usize, code: u16) -> Option<Event> {
        let data = self.draft.ends.len() - 1;
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
        None
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
        let (recipients, sizes) = (Recipients::between(2, 2), Sizes::Fixed(2000));
        let maker = Maker {
            run: run_number(1, 2),
            recipients,
            seed: 1,
            templates: Templates::new(&sizes, 1),
            domains: Domains::providers(),
            date: String::new(),
        };
        let mut session = Session::new(pipelining);
        let offer = if offer { "250-x\r\n250 PIPELINING\r\n" } else { "250 x\r\n" };
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
        let mut session = Session::new(true);
        assert_eq!(session.input(b"554 no\r\n"), Ok((8, Some(Event::Over))));
        assert!(Session::new(true).input(b"hello\r\n").is_err());
    }

    #[test]
    fn helo_is_the_way_out() {
        let mut session = Session::new(true);
        assert_eq!(session.input(b"220 x\r\n502 what\r\n"), Ok((17, None)));
        assert_eq!(take_output(&mut session).matches("HELO ").count(), 1);
        assert_eq!(session.input(b"250 x\r\n"), Ok((7, Some(Event::Ready))));
    }
}
