//! Where the spool lies: file system, mount options, write cache, and how long a flush takes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::finding::{Finding, Grade, UNREADABLE, grade};
use crate::machine::Machine;
use crate::probe;

/// How long the flush is tried.
const FLUSH_TIME: Duration = Duration::from_millis(700);
/// The 99th of 100 flushes should take less.
const FLUSH_MAX: Duration = Duration::from_millis(20);

pub(super) fn findings(machine: &Machine, data_dir: &Path) -> Vec<Finding> {
    let Some(directory) = existing(data_dir) else {
        return vec![Finding::new(
            "data directory",
            Grade::Unknown,
            format!("{}: {UNREADABLE}", data_dir.display()),
        )];
    };
    let text = machine.read("/proc/self/mountinfo").unwrap_or_default();
    let mut findings = Vec::new();
    match mount(&text, &directory) {
        Some(mount) => {
            findings.push(file_system(&mount, data_dir));
            findings.push(mount_options(&mount));
        }
        None => findings.push(Finding::new("file system", Grade::Unknown, UNREADABLE)),
    }
    findings.extend(write_cache(machine, &directory));
    if machine.is_here() {
        findings.push(flush(&directory));
    }
    findings
}

/// The directory, or the nearest one above it that exists already.
pub fn existing(data_dir: &Path) -> Option<PathBuf> {
    data_dir.ancestors().find_map(|directory| directory.canonicalize().ok().filter(|path| path.is_dir()))
}

/// A line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: String,
    kind: String,
    options: Vec<String>,
}

/// The mount a directory lies on: the longest mount point above it, the last of those.
fn mount(text: &str, directory: &Path) -> Option<Mount> {
    let mounts = text.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let after: Vec<&str> = after.split(' ').collect();
        let point = before.get(4)?.replace("\\040", " ");
        let options = [*before.get(5)?, after.get(2).copied().unwrap_or_default()].join(",");
        let mut options: Vec<String> = options.split(',').map(str::to_owned).collect();
        options.sort();
        options.dedup();
        Some(Mount { point, kind: (*after.first()?).to_owned(), options })
    });
    mounts.filter(|mount| directory.starts_with(&mount.point)).max_by_key(|mount| mount.point.len())
}

fn file_system(mount: &Mount, data_dir: &Path) -> Finding {
    let value = format!("{} on {}", mount.kind, mount.point);
    let (grade, why) = match mount.kind.as_str() {
        "ext4" | "xfs" => (Grade::Good, ""),
        "tmpfs" | "ramfs" | "rootfs" => {
            (Grade::Low, "It is memory: a power cut loses mail that was acknowledged.")
        }
        "overlay" => {
            (Grade::Low, "A container's own layer is slower than a volume, and gone with the container.")
        }
        "btrfs" | "zfs" | "bcachefs" => {
            (Grade::Low, "It copies on write, so that every flush of a segment writes metadata too.")
        }
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "fuseblk" | "ceph" => {
            (Grade::Low, "A flush goes over the network or through a helper, and locks may not hold.")
        }
        _ => (Grade::Unknown, "Nobody measured the relay on this one."),
    };
    Finding::new("file system", grade, value).wanting(
        "ext4 or xfs",
        why,
        format!("put node.data_dir ({}) on a local ext4 or xfs file system", data_dir.display()),
    )
}

fn mount_options(mount: &Mount) -> Finding {
    let has = |option: &str| mount.options.iter().any(|given| given == option);
    let value = mount.options.join(",");
    let remount = |option: &str| format!("mount -o remount,{option} {}   (and in /etc/fstab)", mount.point);
    if has("nobarrier") || has("barrier=0") {
        let why = "A flush does not reach the disk: a power cut loses mail that was acknowledged.";
        return Finding::new("mount options", Grade::Low, value).wanting("barriers", why, remount("barrier"));
    }
    if has("sync") {
        let why = "Every write is a flush of its own; group commit saves nothing then.";
        return Finding::new("mount options", Grade::Low, value).wanting("no sync", why, remount("async"));
    }
    if has("data=journal") {
        let why = "Every message is written twice.";
        let fix = "mount with data=ordered (in /etc/fstab; a remount cannot change it)";
        return Finding::new("mount options", Grade::Low, value).wanting("data=ordered", why, fix);
    }
    Finding::shown("mount options", value)
}

/// The disk's own cache: with `write back` a flush costs something and is needed.
fn write_cache(machine: &Machine, directory: &Path) -> Option<Finding> {
    let device = directory.metadata().ok()?.dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let place = format!("/sys/dev/block/{major}:{minor}");
    // A partition's settings are those of its disk, one directory up.
    let of = |name: &str| {
        let own = machine.read(&format!("{place}/queue/{name}"));
        own.or_else(|| machine.read(&format!("{place}/../queue/{name}")))
    };
    let cache = of("write_cache")?;
    let kind = match of("rotational").as_deref() {
        Some("1") => ", rotating",
        _ => "",
    };
    let scheduler = of("scheduler").unwrap_or_default();
    Some(Finding::shown("disk", format!("write cache: {cache}{kind}; scheduler: {scheduler}")))
}

fn flush(directory: &Path) -> Finding {
    match probe::disk::flushes(directory, 4096, FLUSH_TIME) {
        Ok(flushes) => {
            let fine = flushes.p99_us <= FLUSH_MAX.as_micros() as u64;
            let ms = |microseconds: u64| crate::table::number(microseconds as f64 / 1000.0);
            let value = format!("p50 {} ms, p99 {} ms", ms(flushes.p50_us), ms(flushes.p99_us));
            Finding::new("flush of 4 KiB (fdatasync)", grade(Some(fine)), value).wanting(
                format!("p99 below {} ms", FLUSH_MAX.as_millis()),
                "Every client waits for one before its 250; many connections at one time hide it, few do not.",
                "use a disk with power-loss protection, or a controller with a battery; `relevo-tune probe` tells more",
            )
        }
        Err(error) => Finding::new(
            "flush of 4 KiB (fdatasync)",
            Grade::Unknown,
            format!("{}: {error}", directory.display()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        25 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
        26 25 254:1 / /var/lib/re\\040levo rw,noatime shared:1 - xfs /dev/vdb rw,nobarrier\n\
        27 25 0:30 / /tmp rw - tmpfs tmpfs rw,size=1g\n";

    #[test]
    fn a_directory_is_on_its_nearest_mount() {
        let kind = |path: &str| mount(MOUNTS, Path::new(path)).unwrap().kind;
        assert_eq!(
            [kind("/var/lib"), kind("/var/lib/re levo/spool"), kind("/tmp")],
            ["ext4", "xfs", "tmpfs"]
        );
        assert_eq!(mount("", Path::new("/")), None);
        let grade = |path: &str| file_system(&mount(MOUNTS, Path::new(path)).unwrap(), Path::new("x")).grade;
        assert_eq!([grade("/var"), grade("/tmp/a")], [Grade::Good, Grade::Low]);
        let options = |path: &str| mount_options(&mount(MOUNTS, Path::new(path)).unwrap());
        assert_eq!([options("/var").grade, options("/var/lib/re levo").grade], [Grade::Good, Grade::Low]);
        assert!(options("/var/lib/re levo").why.contains("power cut"));
    }

    #[test]
    fn the_nearest_existing_directory_counts() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        assert_eq!(existing(&directory.path().join("a/b/c")), Some(root));
    }
}
