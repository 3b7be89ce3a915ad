//! Faults by name: lose what finished tasks have left, as a lost executor would.

use crate::Context;
use crate::block::BlockId;
use crate::engine::StageKey;

/// The stages whose output the local engine holds, in order of operator and batch.
pub fn stages(ctx: &Context) -> Vec<StageKey> {
    ctx.0.env.store.stages()
}

/// Loses one partition of a stage's output (and what readers have merged of it). Whether it was there.
pub fn lose_output(ctx: &Context, stage: &StageKey, partition: u32) -> bool {
    ctx.0.env.store.lose(stage, partition)
}

/// Loses all persisted blocks of one partition number. How many there were.
pub fn lose_persisted(ctx: &Context, partition: u32) -> usize {
    let which = move |id| matches!(id, BlockId::Rdd { partition: p, .. } if p == partition);
    ctx.0.env.blocks.remove_all(which)
}

/// Loses all received blocks, as a lost disk would. How many there were.
pub fn lose_received(ctx: &Context) -> usize {
    ctx.0.env.blocks.remove_all(|id| matches!(id, BlockId::Received { .. }))
}

/// Jobs, stages and tasks that the context has run so far.
pub fn work_done(ctx: &Context) -> (u64, u64, u64) {
    ctx.0.stats.get()
}
