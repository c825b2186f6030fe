//! The real binary on a machine made of files.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn tune(arguments: &[&str], root: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relevo-tune"));
    command.args(arguments).arg("--root").arg(root).output().expect("it runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A root with these sysctls.
fn root(sysctls: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for (name, value) in sysctls {
        let path = root.path().join("proc/sys").join(name.replace('.', "/"));
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, value).expect("a file");
    }
    root
}

#[test]
fn check_says_in_its_exit_code_whether_all_is_fine() {
    for (value, code) in [("128", 1), ("65535", 0)] {
        let root = root(&[("net.core.somaxconn", value)]);
        let data_dir = root.path().to_str().expect("UTF-8");
        let output = tune(&["check", "--json", "--data-dir", data_dir], root.path());
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        let findings: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let found =
            findings.as_array().expect("a list").iter().find(|one| one["name"] == "net.core.somaxconn");
        let found = found.expect("somaxconn");
        assert_eq!((&found["value"], &found["wanted"]), (&value.into(), &"at least 4096".into()));
        for key in ["grade", "why", "fix"] {
            assert!(found[key].is_string(), "{key}");
        }
    }
}

#[test]
fn apply_needs_to_be_told_and_goes_back() {
    let root = root(&[("net.core.somaxconn", "128\n"), ("fs.file-max", "5\n")]);
    let somaxconn =
        || fs::read_to_string(root.path().join("proc/sys/net/core/somaxconn")).expect("somaxconn");
    let output = tune(&["apply"], root.path());
    assert!(output.status.code() == Some(2) && text(&output).contains("--dry-run"), "{}", text(&output));
    let output = tune(&["apply", "--dry-run"], root.path());
    assert!(output.status.success() && text(&output).contains("sysctl -w fs.file-max=\"1000000\""));
    assert_eq!(somaxconn(), "128\n");
    let output = tune(&["apply", "--yes"], root.path());
    assert!(output.status.success() && text(&output).contains("--undo"), "{}", text(&output));
    assert_eq!(somaxconn(), "4096\n");
    assert!(root.path().join("etc/sysctl.d/90-relevo.conf").exists());
    let output = tune(&["apply", "--undo"], root.path());
    assert!(
        output.status.success() && text(&output).contains("net.core.somaxconn = 128"),
        "{}",
        text(&output)
    );
    assert_eq!(somaxconn(), "128\n");
    assert!(!root.path().join("etc/sysctl.d/90-relevo.conf").exists());
    assert!(text(&tune(&["apply", "--undo"], root.path())).contains("nothing to undo"));
}

#[test]
fn an_apply_that_fails_names_the_file() {
    let root = root(&[("net.core.somaxconn", "128\n")]);
    fs::write(root.path().join("etc"), "in the way").expect("a file");
    let output = tune(&["apply", "--yes"], root.path());
    assert!(
        output.status.code() == Some(2) && text(&output).contains("90-relevo.conf: "),
        "{}",
        text(&output)
    );
}
