//! Rot in what was synced: how the fold gets out of a damaged commit what is whole.

use crate::limits;
use crate::spool::MessageId;
use crate::spool::fold::{Files, Fold, Found, Refusal};
use crate::spool::record::{self, Kind, MessageView};
use crate::spool::segment::{MARK, Mark};

impl<F: Files> Fold<'_, F> {
    /// Rot in the commit at `at`, which was synced: what is whole of it counts, what is not is named. Returns where to go on,
    /// at most `next`. Bodies are checked when they are sent.
    pub(in crate::spool) fn salvage(&mut self, found: &Found, at: u64, next: u64) -> Result<u64, Refusal> {
        let (slot, salt) = (found.slot, found.header.salt);
        self.quarantined.push(slot);
        let read = |length: u64| self.files.read(slot, at, length as usize).unwrap_or_default();
        let mark = Mark::read(&read(MARK as u64), salt, at).filter(|mark| mark.end() <= next);
        let length = mark.map_or((next - at).min(limits::COMMIT_BYTES_MAX as u64), |mark| {
            MARK as u64 + u64::from(mark.records_length)
        });
        let bytes = read(length);
        let records = bytes.get(MARK..).unwrap_or_default();
        let start = at + MARK as u64;
        let mut place = 0;
        while place < records.len() {
            let offset = u32::try_from(start + place as u64).unwrap_or(u32::MAX);
            if let Ok(record) = record::read(&records[place..], salt, u64::from(offset)) {
                self.record(found, &records[place..], offset)?;
                place += record.length;
            } else if mark.is_some() {
                self.damaged_record(found, &records[place..], offset);
                let rest = (place + 1..records.len())
                    .find(|place| record::stands_at(&records[*place..], salt, start + *place as u64));
                place = rest.unwrap_or(records.len());
            } else {
                // Without its mark nobody knows where records end: bodies are not searched for them.
                break;
            }
        }
        if mark.is_none() || records.is_empty() {
            self.damage.push(format!(
                "segment {slot}: damaged between {at} and {next}; some mail there may be lost"
            ));
        }
        Ok(mark.map_or(next, |mark| mark.end()))
    }

    fn damaged_record(&mut self, found: &Found, bytes: &[u8], offset: u32) {
        let (slot, kind) = (found.slot, bytes[0]);
        let what = if kind == Kind::Outcome as u8 || kind == Kind::Census as u8 {
            "what became of some mail is forgotten, it may be delivered again".to_owned()
        } else {
            // What the record itself says, if it can be read at all: one that moved has the id of where it was born.
            let claimed = record::claimed_length(bytes).filter(|length| *length <= bytes.len());
            let payload = claimed.and_then(|length| bytes.get(record::HEADER..length));
            let lane = self.shape.birthplace.lane;
            let id = payload
                .and_then(|payload| MessageView::parse(payload).ok())
                .map(|view| view.id)
                .filter(|id| id.lane == lane)
                .unwrap_or(MessageId { lane, sequence: found.header.sequence, offset });
            format!("message {id} cannot be delivered from there; its bytes are kept")
        };
        self.damage.push(format!("segment {slot}: the record at {offset} is damaged: {what}"));
    }
}
