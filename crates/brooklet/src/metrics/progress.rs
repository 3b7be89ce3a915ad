//! The batches behind the gauges.

use std::fmt;
use std::sync::Arc;

use super::StreamingMetrics;
use crate::scheduler::BatchInfo;
use crate::sync::LockExt;

/// A view of the batches of a stream; each call reads the state of its moment.
#[derive(Clone, Copy)]
pub struct Progress<'a> {
    metrics: &'a StreamingMetrics,
}

impl<'a> Progress<'a> {
    pub(super) fn new(metrics: &'a StreamingMetrics) -> Progress<'a> {
        Progress { metrics }
    }

    /// Batches that wait, oldest first.
    pub fn waiting(self) -> Vec<Arc<BatchInfo>> {
        self.metrics.batches.get().waiting.iter().cloned().collect()
    }

    /// Batches that run, oldest first.
    pub fn running(self) -> Vec<Arc<BatchInfo>> {
        self.metrics.batches.get().running.iter().cloned().collect()
    }

    /// The last completed batches, as many as [`Conf::retained_batches`](crate::Conf::retained_batches)
    /// says, oldest first.
    pub fn completed(self) -> Vec<Arc<BatchInfo>> {
        self.metrics.batches.get().completed.iter().cloned().collect()
    }

    /// The batch completed last.
    pub fn last_completed(self) -> Option<Arc<BatchInfo>> {
        self.metrics.batches.get().last_completed.clone()
    }

    /// The batch submitted last.
    pub fn last_received(self) -> Option<Arc<BatchInfo>> {
        self.metrics.batches.get().last_received().cloned()
    }
}

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = self.metrics.batches.get();
        f.debug_struct("Progress")
            .field("waiting", &b.waiting.len())
            .field("running", &b.running.len())
            .field("completed", &b.completed.len())
            .finish()
    }
}
