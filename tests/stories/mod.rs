//! A story is a Python script that starts the real binary and says by its exit code whether what it tells came true.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};

/// The relay of stories: that which was built with the tests, or another one, as by `tests/run`, which has a little optimised one.
pub fn relay(built: &str) -> String {
    std::env::var("RELEVO_BINARY").unwrap_or_else(|_| built.to_owned())
}

/// Tells one story under `bound`, a `timeout` with its limit: no story takes long, and one that hangs is a failure, not a wait. `script` is a
/// file below `tests`. Its words are shown when it fails, or with --nocapture.
pub fn tell(bound: &mut Command, script: &str, arguments: &[&str]) {
    // A file, no pipe: what a failed story leaves running would keep that open, and the test waiting.
    let mut said = tempfile::tempfile().expect("a temporary file");
    let done = bound
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script))
        .args(arguments)
        .stdout(said.try_clone().expect("a second descriptor"))
        .stderr(said.try_clone().expect("a third descriptor"))
        .stdin(Stdio::null())
        .status()
        .expect("python3 is installed by tests/run");
    let mut words = Vec::new();
    said.seek(SeekFrom::Start(0)).and_then(|_| said.read_to_end(&mut words)).expect("what the story said");
    let words = String::from_utf8_lossy(&words);
    assert!(done.success(), "{script} {}: {words}", arguments.first().unwrap_or(&""));
    println!("{words}");
}
