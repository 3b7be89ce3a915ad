//! The engine: runs jobs that the driver describes as plain data. Knows nothing of streams.
//!
//! - `spec`: the seam, [`JobSpec`] and its parts
//! - `task`: a running task and its body
//! - `local`: the threads of this process; `remote`: other graphs behind byte links
//! - `plan`: cuts lineage into stages and asks for what is missing
//! - `store`: what finished tasks have left
//! - `pool`: the task threads

mod accumulator;
mod broadcast;
mod error;
mod local;
mod payload;
pub(crate) mod plan;
mod pool;
mod remote;
mod site;
mod spec;
mod store;
mod task;

use std::fmt;

pub use accumulator::{Accumulate, Accumulator, DoubleSum, LongSum};
pub use broadcast::Broadcast;
pub use error::{TaskError, UserError};
pub use payload::Payload;
pub use site::{Blame, Site};
pub use spec::{
    AccUpdates, JobId, JobOutput, JobSpec, OpId, Replay, Role, Stage, StageKey, Task, TaskRef,
};
pub use task::{TaskBody, TaskCx, TaskOutput};

pub(crate) use accumulator::{Accumulators, in_task};
pub(crate) use local::LocalEngine;
pub(crate) use plan::Making;
pub(crate) use pool::Pool;
pub(crate) use remote::{Executor, RemoteEngine};
pub(crate) use site::{panic_text, take_culprit};
pub(crate) use store::OutputStore;
pub(crate) use task::{Env, run_task};

/// Why a job ended without a result.
#[derive(Clone, Debug)]
pub enum JobError {
    /// A task failed as often as it may.
    Failed {
        /// Attempts of the task (local) or of the job (remote).
        attempts: u32,
        /// The last error.
        last: TaskError,
    },
    /// Outputs of earlier stages are gone; plan again and submit what is missing.
    Lost {
        /// The stage whose output is gone.
        stage: StageKey,
        /// The partition.
        partition: u32,
    },
    /// Cancelled by [`Engine::cancel`].
    Cancelled,
}

/// How a job ended. A failed job too may have left outputs of finished stages that a later job uses; their
/// accumulator updates are in `output`, so that they count once.
#[derive(Debug, Default)]
pub struct JobEnd {
    /// Results, counts and accumulator updates.
    pub output: JobOutput,
    /// Why there is no result.
    pub error: Option<JobError>,
}

/// A submitted job.
pub struct JobHandle(Box<dyn FnOnce() -> JobEnd + Send>);

impl JobHandle {
    /// A handle whose `wait` runs `f`.
    pub fn new(f: impl FnOnce() -> JobEnd + Send + 'static) -> JobHandle {
        JobHandle(Box::new(f))
    }

    /// Waits for the end of the job. On a local engine the calling thread takes part in the work.
    pub fn wait(self) -> JobEnd {
        (self.0)()
    }
}

impl fmt::Debug for JobHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobHandle")
    }
}

/// What runs jobs: the threads of this process, the loopback engine of the tests, later a cluster.
pub trait Engine: Send + Sync + fmt::Debug {
    /// Takes a job. Nothing of it is visible before the handle says so.
    fn submit(&self, spec: JobSpec) -> JobHandle;

    /// Asks the running jobs that `which` names to stop at their next chunk.
    fn cancel(&self, which: &dyn Fn(&JobId) -> bool);

    /// The partitions of a stage whose output isn't there; the driver asks just for those. An empty list
    /// cuts the stage off the job: sharing between outputs lives here.
    fn missing(&self, stage: &StageKey, width: u32) -> Vec<u32>;

    /// The lineage node of a stage is gone: so may its output be.
    fn release(&self, stage: &StageKey, width: u32);

    /// Batches of a graph up to this time are over.
    fn forget(&self, graph: u32, up_to: crate::Time);

    /// Whether tasks run in a graph other than the driver's. Then specs carry slices and replays.
    fn remote(&self) -> bool;

    /// How many processes (or graphs) run tasks.
    fn executors(&self) -> usize;
}
