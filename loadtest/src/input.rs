//! Files that an operator names, and what else such a name may lead to.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use crate::sys;

/// How long the writer of a pipe may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file, or a pipe that is read while it has a writer. One without a writer is an error, and nothing to wait for.
#[derive(Debug)]
pub struct Input {
    file: File,
    is_pipe: bool,
    is_begun: bool,
}

impl Input {
    /// Opens it, without waiting for a writer.
    pub fn open(path: &Path) -> io::Result<Input> {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let is_pipe = file.metadata()?.file_type().is_fifo();
        Ok(Input { file, is_pipe, is_begun: false })
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                Ok(0) if self.is_pipe && !self.is_begun && !buffer.is_empty() => {
                    return Err(io::Error::other("a pipe that nobody writes to"));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !sys::is_readable_within(&self.file, PATIENCE)? {
                        let problem = format!("its writer sent nothing for {} s", PATIENCE.as_secs());
                        return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
                    }
                }
                read => {
                    self.is_begun = true;
                    return read;
                }
            }
        }
    }
}

/// All of it.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Input::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// All of it, as text.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    Input::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_pipe_is_read_while_it_has_a_writer() {
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        let text = std::thread::scope(|scope| {
            let read = scope.spawn(|| read_text(Path::new(&path)));
            writer.write_all(b"one ").unwrap();
            std::thread::sleep(Duration::from_millis(50));
            writer.write_all(b"two").unwrap();
            drop(writer);
            read.join().unwrap()
        });
        assert_eq!(text.unwrap(), "one two");
        // Nobody has it open any more.
        let error = read(Path::new(&path)).unwrap_err();
        assert_eq!(error.to_string(), "a pipe that nobody writes to");
    }

    #[test]
    fn an_empty_file_is_one() {
        assert_eq!(read(Path::new("/dev/null")).unwrap(), b"");
    }
}
