//! Every bound of the relay, with its reason. Relations between bounds are asserted at compile time.
//!
//! A bound an operator may want to move is a configuration default that starts from here; a bound that protects
//! an invariant is a constant only.

mod acme;
mod analytics;
mod bounce;
mod cluster;
mod content;
mod control;
mod decisions;
mod dns;
mod erase;
mod fleet;
mod holds;
mod hook;
mod import;
mod mail;
mod memory;
mod merge;
mod outbound;
mod outlet;
mod overview;
mod pickup;
mod send;
mod policy;
mod queue;
mod quota;
mod rebind;
mod sandbox;
mod runtime;
mod shaping;
mod shard;
mod smtp;
mod spool;
mod sts;
mod suppression;
mod templates;
mod tls_rpt;
mod tokens;
mod trace;
mod upgrade;
mod verify;

pub mod client;
pub mod server;

pub use acme::*;
pub use analytics::*;
pub use bounce::*;
pub use cluster::*;
pub use content::*;
pub use control::*;
pub use decisions::*;
pub use dns::*;
pub use erase::*;
pub use fleet::*;
pub use holds::*;
pub use hook::*;
pub use import::*;
pub use mail::*;
pub use memory::*;
pub use merge::*;
pub use outbound::*;
pub use outlet::*;
pub use overview::*;
pub use pickup::*;
pub use policy::*;
pub use queue::*;
pub use quota::*;
pub use rebind::*;
pub use runtime::*;
pub use sandbox::*;
pub use send::*;
pub use shaping::*;
pub use shard::*;
pub use smtp::*;
pub use spool::*;
pub use sts::*;
pub use suppression::*;
pub use templates::*;
pub use tls_rpt::*;
pub use tokens::*;
pub use trace::*;
pub use upgrade::*;
pub use verify::*;

const _: () = {
    assert!(QUOTAS_KNOWN >= ACCOUNTS_MAX + TENANTS_MAX, "each may have one");
    assert!(PATH_MAX + "MAIL FROM:\r\n".len() <= 512 && LOCAL_PART_MAX + 2 < PATH_MAX);
    assert!(COMMAND_LINE_MAX >= 512 && AUTH_LINE_MAX >= 12_288);
    assert!(AUTH_LINE_MAX <= SCRATCH, "a whole line must fit in what one receive brings");
    assert!(BODY_GATHER_MAX <= COMMIT_BYTES_MAX / 4, "a few whole bodies must fit in one commit");
    assert!(VERIFIED_HEADER_MAX <= BODY_GATHER_MAX, "it is in memory whole");
    assert!(BODY_GATHER_MAX <= COMPACTION_BYTES_MAX, "a body that lies in one piece moves in one piece");
    assert!(PARAMETERS_BYTES_MAX >= METADATA_MAX + 6 * (PARAMETER_MAX + 3) + 3, "a whole set always fits");
    assert!(
        PARAMETERS_TOLD_MAX >= 16 * PARAMETERS_BYTES_MAX,
        "it bounds how often they are told, not what there is"
    );
    assert!(
        PARAMETERS_BYTES_MAX <= COMMIT_BYTES_MAX / 4,
        "they are in the record of each message, also when it moves"
    );
    assert!(ORCPT_BYTES_MAX <= COMMIT_BYTES_MAX / 4, "so are they");
    assert!(COMMAND_LINE_MAX >= 512 + "MAIL  RET=FULL ENVID=".len() + ENVID_MAX, "RFC 3461 section 4");
    assert!(COMMAND_LINE_MAX >= 512 + " NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=".len() + ORCPT_MAX, "as above");
    assert!((COMMIT_BYTES_MAX as u64) < SEGMENT_SIZE_MIN, "a commit must fit in an empty segment");
    assert!(SEGMENT_SIZE_MAX <= u32::MAX as u64, "offsets are 32 bits");
    assert!(SEGMENTS_MAX <= u16::MAX as usize, "slots are 16 bits");
    assert!(RECIPIENTS_MAX <= u16::MAX as usize, "recipient ordinals are 16 bits");
    assert!(RECIPIENTS_MAX >= 100 && TRANSACTION_RECIPIENTS_MAX >= 100, "RFC 5321 4.5.3.1.8");
    assert!(COMMIT_ITEMS_MAX + 8 <= 1024, "IOV_MAX");
    assert!(HOPS_MAX >= 100, "RFC 5321 6.3");
    assert!(INBOX_BATCH <= HANDOFF_INBOX);
    assert!(
        RESOLVES_PROMPT + RESOLVES_SLOW < DNS_INFLIGHT_MAX,
        "some are left for hosts that are connected to"
    );
    assert!(MX_HOSTS_KEPT >= 2 && MX_ADDRESSES_MAX >= 2, "RFC 5321 5.1 asks for at least two");
    assert!(MX_NAMES_MAX >= DOMAIN_MAX, "one host is always kept");
    assert!(DRAIN_MAX.as_secs() + LAST_WRITES.as_secs() < STOP_MAX.as_secs(), "a stop in order must fit");
    assert!(
        REQUEST_TIME.as_secs() + ASK_WAIT.as_secs() + ADMIN_JOURNALED.as_secs() < HTTP_REQUEST.as_secs(),
        "who asks for a change is told how far it came"
    );
    assert!(STOP_GRACE_MAX.as_secs() + STOP_MAX.as_secs() < 120, "TimeoutStopSec of deploy/relevo.service");
    assert!(
        JOURNAL_BATCH + ACCOUNTING_CHUNK + EVENT_MAX <= JOURNAL_FRAME_MAX,
        "a batch may end with one more chunk"
    );
    assert!(SUPPRESSION_ENTRIES_MAX < u32::MAX as u64, "places in the list are 32 bits");
    assert!(
        SUPPRESSION_BLOCK_BYTES_MAX
            >= SUPPRESSION_BLOCK
                * (SUPPRESSION_ADDRESS_MAX + PARAMETER_MAX + SUPPRESSION_NOTE_MAX + SUPPRESSION_RECORD_HEAD),
        "a block of the longest entries fits"
    );
    assert!(
        SUPPRESSION_RUN_CHUNK >= 2 * SUPPRESSION_ADDRESS_MAX
            && SUPPRESSION_CHUNK >= SUPPRESSION_BLOCK_BYTES_MAX
    );
    assert!(SUPPRESSION_MERGE_AT < SUPPRESSION_CHANGES_MAX, "there is room while they are merged");
    assert!(JOURNAL_SIZE_MIN >= 2 * JOURNAL_SEGMENT && JOURNAL_SIZE_DEFAULT >= JOURNAL_SIZE_MIN);
};
