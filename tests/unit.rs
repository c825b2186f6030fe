//! The systemd unit that is shipped: how exposed it leaves the machine, and whether the relay runs under it.

mod stories;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Tenths: the exposure that `systemd-analyze security` finds is to be under 2.0.
const EXPOSURE_MAX: &str = "19";

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/relevo.service")
}

#[test]
fn the_unit_leaves_little_exposed() {
    let done = Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true", "--threshold", EXPOSURE_MAX])
        .arg(unit())
        .output()
        .expect("systemd is installed by tests/run");
    let words = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{words}\n{}", String::from_utf8_lossy(&done.stderr));
    assert!(words.contains("Overall exposure level"), "{words}");
}

/// Configurations that are shipped beside the documented one: the package's, the container's, that of Kubernetes.
#[test]
fn shipped_configurations_are_sound() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect(name);
    let kubernetes = read("kubernetes/relevo.yaml");
    let block = kubernetes.split("  relevo.toml: |\n").nth(1).expect("a configuration");
    let lines = block.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let kubernetes: Vec<_> = lines.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    assert!(kubernetes.contains(&"[control]"), "{kubernetes:?}");
    let scratch = tempfile::tempdir().expect("a directory");
    for text in [read("debian/relevo.toml"), read("container.toml"), kubernetes.join("\n")] {
        let file = scratch.path().join("relevo.toml");
        std::fs::write(&file, &text).expect("a file");
        let mut check = Command::new(env!("CARGO_BIN_EXE_relevo"));
        let done = check.args(["check", "--file-only", "--config"]).arg(&file).output().expect("it runs");
        let words = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && !words.contains("error"), "{text}\n{words}");
    }
}

/// The rotation that is shipped moves the log away, and tells the relay so.
#[test]
fn the_log_is_rotated() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/relevo.logrotate");
    let relay = stories::relay(env!("CARGO_BIN_EXE_relevo"));
    let arguments = [&*relay, deploy.to_str().expect("a path in UTF-8")];
    stories::tell(Command::new("timeout").args(["--kill-after=5", "120"]), "unit/rotation.py", &arguments);
}

/// Under a systemd of its own, which sees the machine read-only: `tests/unit/systemd.py`. Only where it is asked for: to start a systemd is
/// more than who runs a test expects of it.
#[test]
fn the_relay_runs_under_systemd() {
    if std::env::var("RELEVO_SYSTEMD").as_deref() != Ok("require") {
        println!("skipped: set RELEVO_SYSTEMD=require, as root");
        return;
    }
    let unit = unit();
    let relay = stories::relay(env!("CARGO_BIN_EXE_relevo"));
    let arguments = [&*relay, unit.to_str().expect("a path in UTF-8")];
    stories::tell(Command::new("timeout").args(["--kill-after=5", "240"]), "unit/systemd.py", &arguments);
}
