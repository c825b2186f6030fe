//! Where a lane's files lie in a data directory: `lane-NNN/NNNNN.seg`. Nobody else writes or reads these names.
//!
//! A name counts only if it is exactly the one that would be written: `7.seg` beside `00007.seg` is nobody's.

use std::path::{Path, PathBuf};

use crate::limits;

/// What a lane's directory has besides segments: which node's it is, where that is another than this.
pub const LANE_ORIGIN: &str = "birthplace";

/// What a data directory has besides lanes, the journal and the socket for commands.
pub const NODE_FILES: [&str; 3] = ["node", "node.new", "lock"];

/// The file of decisions, as suspensions.
pub const DECISIONS: &str = "control.db";

/// The file of what was counted of mail.
pub const ANALYTICS: &str = "analytics.db";

/// The file of captured mail.
pub const SANDBOX: &str = "sandbox.db";

/// The file with what return paths are signed with.
pub const VERP_SECRET: &str = "verp.key";

/// The file with what links to unsubscribe are sealed with.
pub const UNSUBSCRIBE_SECRET: &str = "unsubscribe.key";

/// The file with what salts of accounts that there are not are made with.
pub const SALTS_SECRET: &str = "scram.key";

/// The file of who has logged in, and from where.
pub const LOGINS: &str = "logins";

/// The file with what addresses in logs are made unreadable with.
pub const REDACT_SECRET: &str = "redact.key";

/// The directory of the suppression list.
pub const SUPPRESSION: &str = "suppression";

/// The directory of policies of domains.
pub const POLICIES: &str = "mta-sts";

/// The directory of what sessions came to, for reports of TLS.
pub const TLS_REPORTS: &str = "tls-rpt";

/// The directory of what an authority gave.
pub const ACME: &str = "acme";

const LANE: &str = "lane-";
const SEGMENT: &str = ".seg";

/// The directory of a lane.
pub fn lane_directory(data_dir: &Path, lane: u16) -> PathBuf {
    data_dir.join(lane_name(lane))
}

/// The name of that directory.
pub fn lane_name(lane: u16) -> String {
    format!("{LANE}{lane:03}")
}

/// The lane whose directory has this name.
pub fn lane_number(name: &str) -> Option<u16> {
    let lane = name.strip_prefix(LANE)?.parse().ok()?;
    (usize::from(lane) < limits::SHARDS_MAX && name == lane_name(lane)).then_some(lane)
}

/// Whether a directory looks like a lane's to people, such as a copy of one: none of ours, and no stranger's either.
pub fn resembles_lane(name: &str) -> bool {
    name.starts_with(LANE)
}

/// The lanes among the names in a data directory, in order.
pub fn lanes<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<u16> {
    let mut lanes: Vec<u16> = names.into_iter().filter_map(|name| lane_number(name)).collect();
    lanes.sort_unstable();
    lanes
}

/// Where the journal of events is kept, beside the lanes.
pub fn journal_directory(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// Where policies of domains (MTA-STS) are kept, beside the lanes.
pub fn policies_directory(data_dir: &Path) -> PathBuf {
    data_dir.join(POLICIES)
}

/// Where the certificate of an authority (ACME) is, with its key.
pub fn acme_certificate(data_dir: &Path) -> PathBuf {
    data_dir.join(ACME).join("certificate.pem")
}

/// Where the account at that authority is.
pub fn acme_account(data_dir: &Path) -> PathBuf {
    data_dir.join(ACME).join("account.json")
}

/// The file of a slot in a lane's directory.
pub fn segment_path(lane: &Path, slot: u16) -> PathBuf {
    lane.join(segment_name(slot))
}

/// The name of that file.
pub fn segment_name(slot: u16) -> String {
    format!("{slot:05}{SEGMENT}")
}

/// The slot whose file has this name.
pub fn segment_slot(name: &str) -> Option<u16> {
    let slot = name.strip_suffix(SEGMENT)?.parse().ok()?;
    (name == segment_name(slot)).then_some(slot)
}

/// The slots among the names in a lane's directory.
pub fn segments<'a>(names: impl IntoIterator<Item = &'a String>) -> impl Iterator<Item = u16> {
    names.into_iter().filter_map(|name| segment_slot(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for lane in [0, 7, limits::SHARDS_MAX as u16 - 1] {
            assert_eq!(lane_number(&lane_name(lane)), Some(lane));
        }
        for slot in [0, 7, 12_345, u16::MAX] {
            assert_eq!(segment_slot(&segment_name(slot)), Some(slot));
        }
        for name in
            ["lane-7", "lane-0007", "lane-+07", "lane-", "lane-65535", "lane-007.old", "Lane-007", "node"]
        {
            assert_eq!(lane_number(name), None, "{name}");
        }
        for name in ["7.seg", "000007.seg", "+0007.seg", ".seg", "65536.seg", "00007.new", "00007.seg.old"] {
            assert_eq!(segment_slot(name), None, "{name}");
        }
        assert!(resembles_lane("lane-007.old") && !resembles_lane("node"));
    }

    #[test]
    fn lanes_come_in_order() {
        let names = ["lock", "lane-010", "lane-002", "lane-2", "node"].map(str::to_owned);
        assert_eq!(lanes(&names), [2, 10]);
        let names = ["00003.seg", "00001.seg", "birthplace", "00002.new"].map(str::to_owned);
        assert_eq!(segments(&names).collect::<Vec<_>>(), [3, 1]);
    }
}
