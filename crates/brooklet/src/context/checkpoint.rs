//! `checkpoint`: the state of a stream, stored in a directory.

use std::path::Path;
use std::time::Duration;

use super::StreamingContext;
use crate::checkpoint::{CheckpointStats, StartFrom, Wanted};
use crate::{Error, Result, Time};

/// How often state is stored, and what may be lost when a changed program takes it over.
///
/// ```
/// use brooklet::prelude::*;
/// use brooklet::CheckpointOptions;
/// let options = CheckpointOptions::new().interval(seconds(5)).min_batches(1).drop_state("old-counts");
/// ```
#[derive(Clone, Debug, Default)]
pub struct CheckpointOptions(Wanted);

impl CheckpointOptions {
    /// The defaults of [`defaults`](crate::defaults): after 10 batches and one second of batch time, or 64 MiB
    /// of changes.
    pub fn new() -> CheckpointOptions {
        CheckpointOptions::default()
    }

    /// Least batch time between two checkpoints.
    pub fn interval(mut self, d: Duration) -> CheckpointOptions {
        self.0.policy.min_interval = d;
        self
    }

    /// Least number of batches between two checkpoints.
    pub fn min_batches(mut self, n: u32) -> CheckpointOptions {
        self.0.policy.min_batches = n;
        self
    }

    /// Bytes of collected changes that make a checkpoint due before its time.
    pub fn max_bytes(mut self, bytes: usize) -> CheckpointOptions {
        self.0.policy.max_bytes = bytes;
        self
    }

    /// Permits to go on from an older checkpoint if the newest one is damaged: what batches have changed since then
    /// is lost. Without it that is an error which names the file.
    pub fn or_older(mut self) -> CheckpointOptions {
        self.0.from = StartFrom::NewestWhole;
        self
    }

    /// Goes on from the checkpoint of this batch, one of those that are kept; newer ones are given up.
    pub fn from_batch(mut self, t: Time) -> CheckpointOptions {
        self.0.from = StartFrom::Batch(t);
        self
    }

    /// Permits to lose the stored state of this operator (the identity that [`DStream::name`](crate::DStream::name)
    /// gave it): the program has none of this name any more, or its types don't fit.
    pub fn drop_state(mut self, operator: &str) -> CheckpointOptions {
        self.0.drop.push(operator.to_string());
        self
    }

    /// Permits to lose stored fields that the types of the program don't have any more.
    pub fn drop_fields(mut self) -> CheckpointOptions {
        self.0.drop_fields = true;
        self
    }
}

/// What the checkpoints of a stream have written since its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CheckpointMetrics {
    /// Checkpoints that are durable.
    pub checkpoints: u64,
    /// The newest batch whose state is durable.
    pub durable: Option<Time>,
    /// Bytes of files with changes.
    pub changed_bytes: u64,
    /// Entries (changed and removed keys) in them.
    pub changed_entries: u64,
    /// Merges of files in the background, and bytes that they wrote.
    pub merges: u64,
    /// Bytes of files that merges made.
    pub merged_bytes: u64,
    /// Bytes of changes that wait in memory.
    pub pending_bytes: usize,
    /// How long batches have waited for the disk.
    pub waited: Duration,
}

impl From<CheckpointStats> for CheckpointMetrics {
    fn from(s: CheckpointStats) -> CheckpointMetrics {
        CheckpointMetrics {
            checkpoints: s.written.checkpoints,
            durable: s.durable,
            changed_bytes: s.written.changed_bytes,
            changed_entries: s.written.changed_entries,
            merges: s.written.merges,
            merged_bytes: s.written.merged_bytes,
            pending_bytes: s.pending_bytes,
            waited: s.waited,
        }
    }
}

impl StreamingContext {
    /// Stores keyed state and windows in `dir`, a directory of the local file system that is made when it
    /// isn't there and belongs to this stream alone. What is stored there already is taken over at the start: each
    /// operator finds its state by its name or, without one, by its place in the program. The program may have
    /// changed meanwhile, as long as the stored types can be read as the new ones; new operators begin empty.
    ///
    /// A batch costs what it has changed, and the disk is written in the background. The state that a new process
    /// finds is that of the last checkpoint; a graceful stop makes one. Records since then and positions of inputs
    /// aren't stored.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::{Collector, Driver};
    /// # let dir = std::env::temp_dir().join(format!("brooklet-doc-checkpoint-{}", std::process::id()));
    /// let (totals, place) = (Collector::new(), dir.clone());
    /// for start in [0, 10] {
    ///     let (t, d) = (totals.clone(), place.clone());
    ///     let mut driver = Driver::new(move |ssc| {
    ///         ssc.checkpoint(&d)?;
    ///         let (queue, words) = ssc.queue_stream::<(String, u64)>();
    ///         let counts = words.map_with_state(|word, n, total: &mut State<u64>| {
    ///             total.update(total.get().unwrap_or(&0) + n.unwrap_or(0));
    ///             (word.clone(), *total.get().unwrap_or(&0))
    ///         });
    ///         counts.name("totals").foreach_rdd(move |rdd, at| t.take(rdd, at));
    ///         Ok(queue)
    ///     })?;
    ///     driver.clock().set(Time::from_millis(start * 1000));
    ///     driver.input().push([("a".to_string(), 2)]);
    ///     driver.batch()?;
    ///     driver.context().stop(true)?;
    /// }
    /// assert_eq!(totals.batches(), [[("a".to_string(), 2)], [("a".to_string(), 4)]]);
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::State`] after the start. At the start: [`Error::Checkpoint`] for a directory that another
    /// process uses or whose files are damaged; [`Error::Usage`] for stored state that doesn't fit the program,
    /// for operators that can't be told apart, and for types that can't be stored.
    pub fn checkpoint(&self, dir: impl AsRef<Path>) -> Result<()> {
        self.checkpoint_with(dir, CheckpointOptions::new())
    }

    /// [`StreamingContext::checkpoint`] with options.
    ///
    /// # Errors
    /// As there.
    pub fn checkpoint_with(&self, dir: impl AsRef<Path>, options: CheckpointOptions) -> Result<()> {
        if self.graph().is_sealed() {
            let help = "call it before `start`";
            return Err(Error::State { call: "checkpoint", state: "started", help });
        }
        self.graph().set_checkpoint(dir.as_ref().to_path_buf(), options.0);
        Ok(())
    }

    /// What its checkpoints have written, when there is a checkpoint directory and it has been started.
    pub fn checkpoint_metrics(&self) -> Option<CheckpointMetrics> {
        self.graph().checkpoint_stats().map(CheckpointMetrics::from)
    }
}
