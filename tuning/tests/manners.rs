//! The manners of `relevo-tune`.

#[path = "../../tests/manners/mod.rs"]
mod manners;

use std::path::Path;

#[test]
fn its_manners_are_those_of_all() {
    let tune = Path::new(env!("CARGO_BIN_EXE_relevo-tune"));
    let mut lines = manners::questions(&["check", "probe", "sweep", "apply"]);
    let more = [
        "apply --dry-run",
        "apply --undo --root /nowhere",
        "check --root /nowhere",
        "check --root /nowhere --json",
    ];
    lines.extend(more.map(str::to_owned));
    manners::assert_quiet(tune, &lines);
    manners::assert_unharmed(tune, &lines);
    manners::assert_helpful(tune, &lines);
    manners::assert_dated(tune);
    for line in ["check", "probe", "sweep"] {
        let (code, _, errors) = manners::output(tune, &format!("{line} --data-dir /nowhere"));
        assert!(code == Some(2) && errors.contains("/nowhere"), "{line}: {code:?} {errors}");
    }
    assert!(!Path::new("/nowhere").exists());
}
