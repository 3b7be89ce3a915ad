//! Where lineage that is built at run time belongs: numbers its stages and actions in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use crate::Time;
use crate::engine::{OpId, Role, StageKey};

/// How code built on an RDD travels to other processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Travel {
    /// An RDD of no stream: actions run from anywhere on the driver.
    Plain,
    /// In `transform`: an executor replays the closure with the recorded results.
    Replayed,
    /// In `foreach_rdd`: capture-free chains are named by their code offset.
    Shipped,
}

/// The owner of run-time lineage.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) op: OpId,
    pub(crate) time: Time,
    pub(crate) travel: Travel,
    stages: AtomicU32,
    actions: AtomicU32,
    /// An executor met an action whose result isn't known yet.
    pub(crate) paused: AtomicBool,
}

/// Stage numbers of one attempt of an output; the next attempt's begin above them, for the user may hold an
/// RDD of the first.
pub(crate) const STAGES_OF_AN_ATTEMPT: u32 = 1 << 16;

impl Origin {
    pub(crate) fn new(op: OpId, time: Time, travel: Travel) -> Arc<Origin> {
        Origin::attempt(op, time, travel, 0)
    }

    /// The origin of an output's n-th attempt at a batch.
    pub(crate) fn attempt(op: OpId, time: Time, travel: Travel, n: u32) -> Arc<Origin> {
        Arc::new(Origin {
            op,
            time,
            travel,
            stages: AtomicU32::new(n * STAGES_OF_AN_ATTEMPT),
            actions: AtomicU32::new(0),
            paused: AtomicBool::new(false),
        })
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.travel == Travel::Plain
    }

    /// The name of the next stage made on this lineage.
    pub(crate) fn next_stage(&self, role: Role) -> StageKey {
        let sub = self.stages.fetch_add(1, Relaxed);
        StageKey { op: self.op, sub, role, batch: self.time }
    }

    /// The number of the next action.
    pub(crate) fn next_action(&self) -> u32 {
        self.actions.fetch_add(1, Relaxed)
    }

    /// Stages and actions so far: part of a lineage's shape.
    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.stages.load(Relaxed), self.actions.load(Relaxed))
    }
}
