//! A story is a Python script that starts the real binary and says by its exit code whether what it tells came true.

use std::path::Path;
use std::process::Command;

/// Tells one story under `bound`, a `timeout` with its limit: no story takes long, and one that hangs is a failure, not a wait. `script` is a
/// file below `tests`. Its words are shown when it fails, or with --nocapture.
pub fn tell(bound: &mut Command, script: &str, arguments: &[&str]) {
    let done = bound
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script))
        .args(arguments)
        .output()
        .expect("python3 is installed by tests/run");
    let words = [done.stdout, done.stderr].concat();
    let words = String::from_utf8_lossy(&words);
    assert!(done.status.success(), "{script} {}: {words}", arguments.first().unwrap_or(&""));
    println!("{words}");
}
