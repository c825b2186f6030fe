//! Signatures: the examples of the RFCs, and random messages against implementations that are too simple to be wrong.

mod body;
mod examples;
mod field;
mod key;
mod record;
mod sign;
mod verify;

use super::body::BodyCanonicalizer;
use super::{BodyHashers, BodyHashes, Canonicalization};

const FORMS: [Canonicalization; 2] = [Canonicalization::Simple, Canonicalization::Relaxed];

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ mixed >> 31) % bound as u64) as usize
    }

    /// So many of these, one after the other.
    fn text(&mut self, pieces: &[&[u8]], most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        (0..count).flat_map(|_| pieces[self.below(pieces.len())]).copied().collect()
    }
}

/// A body that comes in these pieces, in canonical form.
fn canonical<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, form: Canonicalization) -> Vec<u8> {
    let (mut out, mut canonicalizer) = (Vec::new(), BodyCanonicalizer::new(form));
    pieces
        .into_iter()
        .for_each(|piece| canonicalizer.write(piece, &mut |bytes| out.extend_from_slice(bytes)));
    canonicalizer.finish(&mut |bytes| out.extend_from_slice(bytes));
    out
}

fn hashes(body: &[u8]) -> BodyHashes {
    let mut hashers = BodyHashers::new(FORMS);
    hashers.update(body);
    hashers.finish()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
