//! A page in the browser of whoever sits at the terminal.

use std::io::{IsTerminal as _, stdout};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// Opens it where standard output is a terminal, there is a display, and the desktop says which browser; else nothing is done: the
/// address was printed. Nobody waits for the browser, and what ends this process by a key does not end it.
pub fn open(address: &str) {
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if !has_display || !stdout().is_terminal() {
        return;
    }
    let mut command = Command::new("xdg-open");
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    // Where there is none, there is none.
    let _ = command.spawn();
}
