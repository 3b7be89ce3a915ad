//! The seam between driver and engine: a job as plain data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Payload;
use crate::Time;

/// An operator: which graph of the process it belongs to, and the hash of its path in it. Equal in every
/// process that runs the same binary. Graph 0 holds the RDDs that belong to no stream.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize,
)]
pub struct OpId {
    /// The graph, numbered in creation order of the streaming contexts; 0 for plain RDDs.
    pub graph: u32,
    /// Hash of the structural path and its ordinal.
    pub id: u64,
}

/// Which of an operator's bodies a stage runs: one operator has several.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Role {
    /// The map side of a shuffle; leaves one block for each reduce partition.
    Map,
    /// The merged reduce side of a shuffle, shared by its readers within a process.
    Merge,
    /// The update stage of a stateful operator; leaves its materialised output.
    Update,
    /// A persisted partition.
    Persist,
    /// An action; leaves a result for the driver.
    Action,
    /// An action built at run time inside `foreach_rdd`: the code offset of its task function in the
    /// binary.
    Shipped(i64),
}

/// A stage of one batch. `sub` numbers the stages that one operator makes at run time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct StageKey {
    /// The operator.
    pub op: OpId,
    /// Its n-th stage of this role.
    pub sub: u32,
    /// What the stage does.
    pub role: Role,
    /// The batch; [`Time::ZERO`] for plain RDDs.
    pub batch: Time,
}

impl fmt::Display for StageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {}:{:016x}.{} of batch {}",
            self.role, self.op.graph, self.op.id, self.sub, self.batch
        )
    }
}

/// One attempt of one task.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TaskRef {
    /// The stage.
    pub stage: StageKey,
    /// The attempt, from 0.
    pub run: u32,
    /// The partition.
    pub partition: u32,
}

/// A task as the driver asks for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// The partition.
    pub partition: u32,
    /// What the driver tells just this task.
    pub payload: Vec<u8>,
    /// Executors that have its data.
    pub preferred: Vec<u32>,
}

/// A stage of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// Its name everywhere.
    pub key: StageKey,
    /// Partitions of the whole stage; `tasks` may be fewer (`take`, or only the lost ones).
    pub width: u32,
    /// Indices of the job's stages that must be finished first.
    pub parents: Vec<u32>,
    /// The partitions to compute.
    pub tasks: Vec<Task>,
}

/// The name of a job.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct JobId {
    /// The batch.
    pub batch: Time,
    /// The output operation or step that asked for it.
    pub op: OpId,
    /// Its n-th action at this batch.
    pub action: u32,
    /// The attempt of the whole job, from 0.
    pub run: u32,
}

/// A job: stages in execution order, the last one's results are the job's. Plain data; task bodies are
/// found by their [`StageKey`] in the graph of whichever process runs them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobSpec {
    /// Its name.
    pub id: JobId,
    /// What graph and binary the driver has; an executor with another one refuses.
    pub fingerprint: u64,
    /// The stages.
    pub stages: Vec<Stage>,
    /// Input slices for processes that didn't allocate them; empty on a local engine.
    pub inputs: Vec<(OpId, Time, Vec<u8>)>,
    /// Recorded results of the actions inside `transform`; empty on a local engine.
    pub replays: Vec<(OpId, Time, Replay)>,
}

/// What happened in a `transform` on the driver: action results in order, and the lineage's shape.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Replay {
    /// Results of the actions, in order.
    pub values: Vec<Option<Payload>>,
    /// Hash of the lineage that the closure returned.
    pub shape: Option<u64>,
}

/// Accumulator updates of one task: (accumulator, update).
pub type AccUpdates = Vec<(u32, Payload)>;

/// What a finished job leaves for the driver.
#[derive(Debug, Default)]
pub struct JobOutput {
    /// Results of the last stage's tasks, in task order.
    pub results: Vec<Payload>,
    /// Accumulator updates by stage and partition, of all tasks that were run.
    pub accs: Vec<(StageKey, u32, AccUpdates)>,
    /// Blocks that counting tasks of the last stage have persisted.
    pub(crate) made: Vec<crate::block::BlockId>,
    /// Stages that were run.
    pub stages_run: u64,
    /// Tasks that succeeded.
    pub tasks_run: u64,
}
