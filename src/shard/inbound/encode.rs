//! Text of a message in memory is encoded where a hop would break it.

use crate::limits;
use crate::mail::seven_bit::{Rewriter, Survey};
use crate::runtime::Runtime;
use crate::shard::Shard;

/// The message with its text encoded, if that can be done without a loss.
pub(super) async fn encode<R: Runtime>(shard: &Shard<R>, message: &[u8]) -> Option<Vec<u8>> {
    let mut survey = Survey::of_body();
    for piece in message.chunks(limits::ENCODED_AT_ONCE) {
        survey.read(piece);
        pause(shard).await;
    }
    let plan = survey.finish().ok().filter(|plan| !plan.is_empty())?;
    let (mut rewriter, mut encoded) = (Rewriter::new(&plan), shard.body_buffer());
    encoded.reserve(message.len() + message.len() / 8);
    for piece in message.chunks(limits::ENCODED_AT_ONCE) {
        rewriter.write(piece, &mut encoded);
        pause(shard).await;
    }
    rewriter.finish(&mut encoded);
    Some(encoded)
}

async fn pause<R: Runtime>(shard: &Shard<R>) {
    if shard.runtime.should_yield() {
        shard.runtime.yield_now().await;
    }
}
