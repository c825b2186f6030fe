//! What a client did since its last message that brought none nearer, and how much of that it may do.

use crate::limits;
use crate::smtp::words;

#[derive(Debug, Default)]
pub(super) struct Conduct {
    pub(super) errors: u32,
    pub(super) commands: u32,
    /// MAIL was refused, and so many commands less one were sent behind it; 0: it was not.
    unopened: u32,
    /// Messages that it delivered.
    messages: u32,
    /// Something was refused for a reason of ours.
    turned_away: bool,
}

impl Conduct {
    /// One more command that brings no message nearer. False: it was one too many.
    pub(super) fn may_command(&mut self) -> bool {
        self.commands += 1;
        self.commands <= limits::COMMANDS_WITHOUT_MAIL_MAX
    }

    /// One more error. False: it was the last that it may have.
    pub(super) fn may_err(&mut self) -> bool {
        self.errors += 1;
        self.errors < limits::COMMAND_ERRORS_MAX
    }

    /// It is refused what it asks for, for a reason of ours: no error.
    pub(super) fn turn_away(&mut self) {
        self.turned_away = true;
    }

    /// It named somebody who gets no mail, and does so again with each message to him: its MAIL and RSET, if they come to no more, are none of those
    /// without mail. How long it may go on is for the session's time to say.
    pub(super) fn excuse(&mut self) {
        self.turned_away = true;
        self.commands = self.commands.saturating_sub(2);
    }

    pub(super) fn is_turned_away(&self) -> bool {
        self.turned_away
    }

    /// What ends a session that came to no message. One that we turned away did nothing wrong.
    pub(super) fn end(&self) -> &'static str {
        if self.turned_away { words::NOTHING_TAKEN } else { words::TOO_MANY_COMMANDS }
    }

    /// MAIL is refused. `pipelined`: what was sent behind it, before the client could know (RFC 2920 section 3.1), is no error.
    pub(super) fn refuse_mail(&mut self, pipelined: bool) {
        self.unopened = u32::from(pipelined);
    }

    /// What comes now was sent when the client could know what became of MAIL.
    pub(super) fn begin_anew(&mut self) {
        self.unopened = 0;
    }

    /// Whether RCPT and DATA stand behind a MAIL that was refused, and are no errors.
    pub(super) fn is_behind_refused_mail(&self) -> bool {
        self.unopened > 0
    }

    /// Whether one of them was answered already.
    pub(super) fn was_behind_refused_mail(&self) -> bool {
        self.unopened > 1
    }

    /// One more of them. False: it was one too many.
    pub(super) fn may_pipeline(&mut self) -> bool {
        self.unopened += 1;
        self.unopened <= limits::RECIPIENTS_OFFERED_MAX
    }

    /// It delivered a message: a client that does so may err as well.
    pub(super) fn deliver(&mut self) {
        (self.errors, self.commands, self.turned_away) = (0, 0, false);
        self.messages = self.messages.saturating_add(1);
    }

    /// Whether it brought so many messages; 0: that is no bound.
    pub(super) fn has_delivered(&self, most: u32) -> bool {
        most > 0 && self.messages >= most
    }
}
