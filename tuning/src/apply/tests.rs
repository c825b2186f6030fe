use std::collections::BTreeMap;
use std::fs;

use super::*;

const SYSCTLS: [(&str, &str); 5] = [
    ("net.core.somaxconn", "128"),
    ("net.ipv4.ip_local_port_range", "32768\t60999"),
    ("net.ipv4.tcp_tw_reuse", "2"),
    ("fs.file-max", "9223372036854775807"),
    ("net.ipv4.tcp_slow_start_after_idle", "1"),
];

fn machine() -> (tempfile::TempDir, Machine) {
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine::at(directory.path());
    for (name, value) in SYSCTLS {
        let path = machine.sysctl_path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{value}\n")).unwrap();
    }
    (directory, machine)
}

/// All files below a root, but empty directories.
fn everything(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            let words = fs::read_to_string(&path).unwrap();
            found.insert(path, words.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    found
}

#[test]
fn there_and_back() {
    let (directory, machine) = machine();
    let before = everything(directory.path());
    let plan = Plan::of(&machine);
    assert_eq!(plan.sysctls.len(), 4, "file-max is fine: {plan:?}");
    let script = plan.script(&machine);
    for line in [
        "sysctl -w net.core.somaxconn=\"4096\"   # was 128",
        "sysctl -w net.ipv4.ip_local_port_range=\"10240 60999\"",
        "LimitMEMLOCK=infinity",
        "systemctl daemon-reload",
    ] {
        assert!(script.contains(line), "{script}");
    }
    assert_eq!(everything(directory.path()), before, "a plan changes nothing");

    assert!(plan.carry_out(&machine).is_empty());
    assert_eq!(machine.sysctl("net.core.somaxconn").as_deref(), Some("4096"));
    let text = machine.read(SYSCTL_FILE).unwrap();
    assert!(text.contains("net.ipv4.tcp_tw_reuse = 1\n"), "{text}");
    assert!(!text.contains("fs.file-max"), "what is fine is nobody's to write: {text}");
    let after = everything(directory.path());

    let again = Plan::of(&machine);
    assert_eq!((again.sysctls.len(), &again.files), (0, &plan.files), "once is as good as twice");
    assert!(again.script(&machine).contains("nothing to change"));
    assert!(again.carry_out(&machine).is_empty());
    assert_eq!(everything(directory.path()), after);

    let (done, failures) = undo(&machine);
    assert!(failures.is_empty() && done.len() == 6, "{done:?} {failures:?}");
    assert_eq!(everything(directory.path()), before);
    assert!(undo(&machine).0.is_empty(), "there is nothing left to undo");
}

#[test]
fn the_oldest_values_are_the_ones_to_go_back_to() {
    let (directory, machine) = machine();
    let before = everything(directory.path());
    assert!(Plan::of(&machine).carry_out(&machine).is_empty());
    // Something lowered one meanwhile, and a second apply raises it again.
    machine.set_sysctl("net.core.somaxconn", "64").unwrap();
    assert!(Plan::of(&machine).carry_out(&machine).is_empty());
    assert!(undo(&machine).1.is_empty());
    assert_eq!(everything(directory.path()), before);
}

#[test]
fn what_somebody_else_set_stays() {
    let (_directory, machine) = machine();
    assert!(Plan::of(&machine).carry_out(&machine).is_empty());
    machine.set_sysctl("net.core.somaxconn", "9000").unwrap();
    let (done, failures) = undo(&machine);
    assert!(failures.is_empty() && done.iter().any(|line| line.contains("stays 9000")), "{done:?}");
    assert_eq!(machine.sysctl("net.core.somaxconn").as_deref(), Some("9000"));
}

#[test]
fn an_earlier_file_comes_back() {
    let (_directory, machine) = machine();
    let path = machine.path(SYSCTL_FILE);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "vm.swappiness = 1\n").unwrap();
    assert!(Plan::of(&machine).carry_out(&machine).is_empty());
    assert!(undo(&machine).1.is_empty());
    assert_eq!(fs::read_to_string(&path).unwrap(), "vm.swappiness = 1\n");
}

#[test]
fn a_failure_names_the_file_and_changes_nothing_without_a_way_back() {
    let (directory, machine) = machine();
    fs::create_dir_all(machine.path("/var/lib")).unwrap();
    fs::write(machine.path("/var/lib/relevo-tune"), "in the way").unwrap();
    let before = everything(directory.path());
    let failures = Plan::of(&machine).carry_out(&machine);
    assert!(failures.len() == 1 && failures[0].to_string().contains("undo.json: "), "{failures:?}");
    assert_eq!(everything(directory.path()), before);
}

#[test]
fn what_is_no_undo_is_not_obeyed() {
    let (directory, machine) = machine();
    let place = machine.path(UNDO_FILE);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, "{\"sysctls\":{},\"files\":{\"/etc/passwd\":null}}").unwrap();
    fs::create_dir_all(directory.path().join("etc")).unwrap();
    fs::write(machine.path("/etc/passwd"), "root").unwrap();
    assert!(undo(&machine).1[0].to_string().contains("leaves it alone"));
    assert!(machine.path("/etc/passwd").exists());
    fs::write(&place, "{}").unwrap();
    assert!(undo(&machine).1[0].to_string().contains("undo.json: missing field"));
}

/// Line ends, odd spacing, comments that look like sections, a missing last line end: all stay.
#[test]
fn files_of_others_keep_their_form() {
    let (_directory, machine) = machine();
    let put = |path: &str, text: &[u8]| {
        let path = machine.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put(UNITS[2], b"[Service]\nLimitNOFILE=2000000\nLimitMEMLOCK=8388608\n");
    put(SYSCTL_FILE, b"# ours\r\n\tvm.swappiness   =1\r\n net.core.somaxconn=200\r\n;end");
    put(DROP_IN, b"# the [Service] part is below\r\n[Service]\r\n  Nice = 5");
    let plan = Plan::of(&machine);
    assert!(plan.carry_out(&machine).is_empty());
    let text = fs::read_to_string(machine.path(SYSCTL_FILE)).unwrap();
    let kept = "# ours\r\n\tvm.swappiness   =1\r\nnet.core.somaxconn = 4096\r\n;end\r\n";
    assert!(text.starts_with(kept) && !text.replace("\r\n", "").contains('\n'), "{text:?}");
    let text = fs::read_to_string(machine.path(DROP_IN)).unwrap();
    assert_eq!(text, "# the [Service] part is below\r\n[Service]\r\nLimitMEMLOCK=infinity\r\n  Nice = 5");
    // What is no text is not written over.
    put(DROP_IN, b"[Service]\n# caf\xe9\n");
    let plan = Plan::of(&machine);
    assert!(plan.script(&machine).contains("cannot be read as UTF-8 text"));
    let failures = plan.carry_out(&machine);
    assert!(failures.len() == 1 && failures[0].to_string().contains("stays as it is"), "{failures:?}");
    assert_eq!(fs::read(machine.path(DROP_IN)).unwrap(), b"[Service]\n# caf\xe9\n");
}

/// What stands in the way of reading a file is told as itself.
#[test]
fn a_file_that_may_not_be_read_is_told_so() {
    let of = |code: i32| unread(&io::Error::from_raw_os_error(code));
    let words = of(libc::EACCES).unwrap();
    assert!(words.contains("Permission denied") && words.ends_with("; run it as root"), "{words}");
    assert_eq!((of(libc::ENOENT), of(libc::ENOTDIR)), (None, None));
    let (_directory, machine) = machine();
    fs::create_dir_all(machine.path(DROP_IN)).unwrap();
    let plan = Plan::of(&machine);
    let script = plan.script(&machine);
    assert!(script.contains("limits.conf: cannot be read (Is a directory"), "{script}");
    let failures = plan.carry_out(&machine);
    assert!(failures.len() == 1 && !failures[0].to_string().contains("UTF-8"), "{failures:?}");
}

#[test]
fn only_what_changes_is_written() {
    let (directory, machine) = machine();
    let put = |path: &str, text: &str| {
        let path = machine.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    // The unit has one of the limits already, and somebody's file keeps its own lines.
    put(UNITS[2], "[Service]\nLimitNOFILE=2000000\nLimitMEMLOCK=8388608\n");
    put(SYSCTL_FILE, "# ours\nvm.swappiness = 1\nnet.core.somaxconn=200\n");
    let plan = Plan::of(&machine);
    let script = plan.script(&machine);
    assert!(
        script.contains("#  - net.core.somaxconn=200\n")
            && script.contains("#  + net.core.somaxconn = 4096\n"),
        "{script}"
    );
    assert!(!script.contains("#  - vm.swappiness"), "{script}");
    assert!(plan.carry_out(&machine).is_empty());
    let text = machine.read(SYSCTL_FILE).unwrap();
    assert!(text.starts_with("# ours\nvm.swappiness = 1\nnet.core.somaxconn = 4096\n"), "{text}");
    let text = machine.read(DROP_IN).unwrap();
    assert!(text.contains("LimitMEMLOCK=infinity") && !text.contains("LimitNOFILE"), "{text}");
    assert!(undo(&machine).1.is_empty());
    assert_eq!(machine.read(SYSCTL_FILE).unwrap(), "# ours\nvm.swappiness = 1\nnet.core.somaxconn=200");
    // A unit that has both, and a machine on which all is right: nothing at all.
    put(UNITS[0], "[Service]\nLimitNOFILE=infinity\nLimitMEMLOCK=infinity\n");
    fs::remove_file(machine.path(SYSCTL_FILE)).unwrap();
    for (name, now, value) in Plan::of(&machine).sysctls {
        assert_ne!(now, value);
        machine.set_sysctl(name, &value).unwrap();
    }
    let before = everything(directory.path());
    let plan = Plan::of(&machine);
    assert_eq!((plan.files.len(), plan.sysctls.len()), (0, 0), "{plan:?}");
    assert!(plan.carry_out(&machine).is_empty());
    assert_eq!(everything(directory.path()), before);
    // A drop-in with other lines keeps them.
    fs::remove_file(machine.path(UNITS[0])).unwrap();
    put(UNITS[2], "[Service]\n");
    put(DROP_IN, "[Service]\nNice=5\nLimitNOFILE=1024:4096\n");
    assert!(Plan::of(&machine).carry_out(&machine).is_empty());
    let text = machine.read(DROP_IN).unwrap();
    assert_eq!(text, "[Service]\nLimitMEMLOCK=infinity\nNice=5\nLimitNOFILE=1048576");
}
