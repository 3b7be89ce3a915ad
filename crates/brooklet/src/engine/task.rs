//! A running task: what it sees of the engine, what it leaves, and how it is run.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::accumulator::{Accumulators, begin_task, end_task};
use super::site::{panic_text, take_culprit};
use super::store::OutputStore;
use super::{AccUpdates, Payload, Site, StageKey, TaskError, TaskRef, UserError};
use crate::block::{BlockId, BlockStore, Spills};
use crate::data::{HashSeed, Wire};
use crate::error::BoxError;
use crate::receiver::IoRuntime;
use crate::state::DiskState;

/// The code of one stage, made where its node was built; also the stage as the driver sees it.
pub trait TaskBody: Send + Sync {
    /// The stage's name.
    fn key(&self) -> StageKey;
    /// How many partitions the stage has.
    fn width(&self) -> usize;
    /// The stages whose output it reads.
    fn parents(&self, out: &mut Vec<Arc<dyn TaskBody>>);
    /// Computes partition `cx.partition()`.
    ///
    /// # Errors
    /// Whatever ends the attempt; nothing it has put is visible then.
    fn run(&self, cx: &TaskCx<'_>) -> Result<(), TaskError>;
    /// Adds what the stage computes to a lineage's text.
    fn lineage(&self, _: &mut crate::rdd::Lineage) {}
    /// Records that its tasks will read from inputs, if known; small stages aren't worth a second
    /// thread.
    fn input_records(&self) -> usize {
        usize::MAX
    }
}

/// What a task leaves behind; visible when the task (on a cluster: its job) has succeeded.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TaskOutput {
    /// Blocks for later stages.
    pub blocks: Vec<Payload>,
    /// Records in them.
    pub records: usize,
    /// An action's result.
    pub result: Option<Payload>,
    /// Accumulator updates.
    pub accs: AccUpdates,
    /// Blocks that the task has persisted.
    #[serde(skip)]
    pub(crate) made: Vec<BlockId>,
}

/// What tasks of one process share.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) store: OutputStore,
    pub(crate) blocks: Arc<BlockStore>,
    pub(crate) spills: Arc<Spills>,
    /// States that aren't kept in memory.
    pub(crate) disk_state: Arc<DiskState>,
    /// Everything that leaves a task is encoded.
    pub(crate) bytes: bool,
    pub(crate) seed: HashSeed,
    /// Where an executor fetches received blocks from that it doesn't have.
    pub(crate) fetch_from: Option<Arc<BlockStore>>,
    /// Those of the tasks' own context.
    pub(crate) accumulators: Arc<Accumulators>,
    /// For the sockets and timers of outputs that are `async`.
    pub(crate) io: Arc<IoRuntime>,
}

/// One attempt of one task, as its body sees it. Belongs to the thread that runs it.
pub struct TaskCx<'a> {
    task: TaskRef,
    env: &'a Env,
    stop: &'a AtomicBool,
    noted: Cell<bool>,
    error: RefCell<Option<TaskError>>,
    out: RefCell<TaskOutput>,
    /// Blocks that this attempt has persisted.
    made: RefCell<Vec<BlockId>>,
}

impl TaskCx<'_> {
    /// The task's name.
    pub fn task(&self) -> TaskRef {
        self.task
    }

    /// The partition to compute.
    pub fn partition(&self) -> usize {
        self.task.partition as usize
    }

    /// Called by whatever produces records, once per chunk (about 16 kB or 1000 records): the only place
    /// where a pipe looks at errors and at the stop flag.
    ///
    /// # Errors
    /// The error noted by [`TaskCx::record_failed`], or [`TaskError::Cancelled`].
    #[inline]
    pub fn check(&self) -> Result<(), TaskError> {
        if self.noted.get() | self.stop.load(Relaxed) { self.why() } else { Ok(()) }
    }

    #[cold]
    fn why(&self) -> Result<(), TaskError> {
        self.noted.set(false);
        Err(self.error.take().unwrap_or(TaskError::Cancelled))
    }

    /// A fallible closure returned an error for a record. The record is left out; the task ends at the
    /// next check.
    #[cold]
    pub fn record_failed(&self, site: &Site, error: BoxError) {
        self.noted.set(true);
        self.error.borrow_mut().get_or_insert_with(|| TaskError::Failed {
            culprit: (*site).into(),
            partition: self.task.partition,
            error: UserError(error.into()),
        });
    }

    /// The seed of key hashes.
    #[inline]
    pub(crate) fn seed(&self) -> HashSeed {
        self.env.seed
    }

    pub(crate) fn blocks(&self) -> &BlockStore {
        &self.env.blocks
    }

    /// Where to go when memory is short.
    pub(crate) fn spills(&self) -> &Arc<Spills> {
        &self.env.spills
    }

    /// What to say when an output of an earlier stage can't be read: its file is gone or damaged, so it is to
    /// be made again.
    #[cold]
    pub(crate) fn lost_output(&self, stage: StageKey, partition: usize, e: TaskError) -> TaskError {
        if !matches!(e, TaskError::Spill { .. }) {
            return e;
        }
        tracing::warn!(%stage, partition, "an output can't be read, it is made again: {e}");
        let partition = partition as u32;
        self.env.store.lose(&stage, partition);
        TaskError::Lost { stage, partition }
    }

    /// As [`TaskCx::lost_output`], for a merged reduce side: the next attempt merges again.
    #[cold]
    pub(crate) fn lost_merged(
        &self,
        stage: Option<StageKey>,
        partition: usize,
        e: TaskError,
    ) -> TaskError {
        if let Some(stage) = stage {
            self.env.store.forget_merged(&stage, partition as u32);
        }
        e
    }

    /// Something failed where nothing can be returned: the task ends at the next check.
    #[cold]
    pub(crate) fn fail(&self, e: TaskError) {
        self.noted.set(true);
        self.error.borrow_mut().get_or_insert(e);
    }

    /// This attempt has persisted a block.
    pub(crate) fn made(&self, id: BlockId) {
        self.made.borrow_mut().push(id);
    }

    /// Where an executor fetches received blocks from.
    pub(crate) fn fetch_from(&self) -> Option<&BlockStore> {
        self.env.fetch_from.as_deref()
    }

    /// The context's I/O runtime.
    pub(crate) fn io(&self) -> std::io::Result<tokio::runtime::Handle> {
        self.env.io.handle()
    }

    pub(crate) fn store(&self) -> &OutputStore {
        &self.env.store
    }

    /// Whether what tasks leave is read by other processes.
    pub(crate) fn leaves_bytes(&self) -> bool {
        self.env.bytes
    }

    /// The next block of this task's output.
    pub(crate) fn put_block<T: Wire>(&self, v: T, records: usize) -> Result<(), TaskError> {
        let p = Payload::new(v, self.env.bytes)?;
        let mut out = self.out.borrow_mut();
        out.blocks.push(p);
        out.records += records;
        Ok(())
    }

    /// The action's result for this partition.
    pub(crate) fn put_result<T: Wire>(&self, v: T) -> Result<(), TaskError> {
        self.out.borrow_mut().result = Some(Payload::new(v, self.env.bytes)?);
        Ok(())
    }
}

impl fmt::Debug for TaskCx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskCx").field("task", &self.task).finish_non_exhaustive()
    }
}

/// Runs one attempt: nothing of it is visible unless this returns `Ok`.
pub(crate) fn run_task(
    body: &dyn TaskBody,
    task: TaskRef,
    env: &Env,
    stop: &AtomicBool,
) -> Result<TaskOutput, TaskError> {
    let cx = TaskCx {
        task,
        env,
        stop,
        noted: Cell::new(false),
        error: RefCell::default(),
        out: RefCell::default(),
        made: RefCell::default(),
    };
    begin_task(&env.accumulators);
    let _ = take_culprit();
    let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cx.check()?; // a body that has nothing to walk over never looks
        body.run(&cx)?;
        cx.check_noted()
    }));
    let accs = end_task(env.bytes);
    if !matches!(r, Ok(Ok(()))) && !matches!(&accs, Ok(a) if a.is_empty()) {
        // What was counted while they were made goes with the attempt, so they are made again.
        for id in cx.made.take() {
            env.blocks.remove(id);
        }
    }
    match r {
        Ok(Ok(())) => {
            let mut out = cx.out.into_inner();
            out.accs = accs?;
            out.made = cx.made.into_inner();
            Ok(out)
        }
        Ok(Err(e)) => Err(e),
        Err(p) => Err(TaskError::Panicked {
            culprit: take_culprit().map(Into::into),
            partition: task.partition,
            message: panic_text(&*p),
        }),
    }
}

impl TaskCx<'_> {
    /// A failed record after the last chunk's check still fails the task.
    fn check_noted(&self) -> Result<(), TaskError> {
        if self.noted.get() { self.why() } else { Ok(()) }
    }
}
