//! How wide a terminal is, whether it is still there, and a secret typed at one: nothing of it is shown, and the terminal is as before afterwards, also when Ctrl-C ends it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Columns of the terminal that standard output is; None: it is none, or does not say.
pub fn columns() -> Option<usize> {
    let columns = tcgetwinsize(io::stdout()).ok()?.ws_col;
    (columns > 0).then_some(columns.into())
}

/// Waits for keys at the terminal that standard input is, or for so long. False: the terminal is gone. Whoever reads keys by a library asks here
/// first, as that may read an end without end.
pub fn is_there_after(patience: Duration) -> io::Result<bool> {
    let patience = Timespec { tv_sec: patience.as_secs() as _, tv_nsec: patience.subsec_nanos().into() };
    let stdin = io::stdin();
    let mut asked = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut asked, Some(&patience)) {
        // A signal came: the caller looks at that.
        Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(!asked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)),
    }
}

/// The terminal with its modes changed; they are put back when this goes.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        let _ = self.terminal.write_all(b"\n");
    }
}

/// Asks for one line of at most so many bytes; what is more is dropped. None: it was broken off by Ctrl-C, or by the end of the input.
pub fn secret(prompt: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
    const CTRL_C: u8 = 3;
    const CTRL_D: u8 = 4;
    const CTRL_U: u8 = 21;
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let before = tcgetattr(&terminal)?;
    let mut modes = before.clone();
    // Bytes come one by one, so that signals can be handled here: the modes are put back first.
    modes.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    tcsetattr(&terminal, OptionalActions::Now, &modes)?;
    let mut quiet = Quiet { terminal, before };
    // Only now: what is typed at once must find nothing shown either.
    quiet.terminal.write_all(prompt.as_bytes())?;
    let mut secret = Vec::new();
    loop {
        let mut byte = [0];
        if quiet.terminal.read(&mut byte)? == 0 {
            return Ok(None);
        }
        match byte[0] {
            b'\n' | b'\r' => return Ok(Some(secret)),
            CTRL_C => return Ok(None),
            CTRL_D if secret.is_empty() => return Ok(None),
            CTRL_U => secret.clear(),
            // One character, however many bytes it has.
            8 | 127 => while secret.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            byte if secret.len() < most => secret.push(byte),
            _ => {}
        }
    }
}
