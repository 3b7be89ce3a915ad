//! Engines whose tasks run in another graph: the loopback engine of the tests.
//!
//! An executor builds the graph again by calling the program's build function, finds tasks there by
//! their [`StageKey`](super::StageKey), and gets everything else as bytes: job, input slices, shuffle
//! blocks, results, accumulators. The job is the unit of retry, as it will be on a cluster.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::{
    Engine, JobEnd, JobError, JobHandle, JobId, JobOutput, JobSpec, Payload, Role, StageKey,
    TaskError, TaskOutput, TaskRef, run_task,
};
use crate::Time;
use crate::context::Context;
use crate::sync::{LockExt, Mutex};

#[derive(Serialize, Deserialize)]
enum ToExecutor {
    Job(JobSpec),
    Run { stage: u32, task: u32, run: u32 },
    Blocks { task: TaskRef, width: u32, blocks: Vec<Payload>, records: usize },
    Release { stage: StageKey, width: u32 },
    Forget { graph: u32, up_to: Time },
}

#[derive(Serialize, Deserialize)]
enum FromExecutor {
    Ok,
    Done(TaskOutput),
    Failed(TaskError),
}

/// A graph built again, and a store of bytes.
pub(crate) struct Executor {
    ctx: Context,
    /// Keeps the streaming graph alive.
    _graph: Box<dyn Send>,
    job: Option<JobSpec>,
    stop: Arc<AtomicBool>,
}

impl Executor {
    pub(crate) fn new(ctx: Context, graph: Box<dyn Send>, stop: Arc<AtomicBool>) -> Executor {
        Executor { ctx, _graph: graph, job: None, stop }
    }

    fn answer(&mut self, frame: &[u8]) -> Result<FromExecutor, TaskError> {
        let inner = &self.ctx.0;
        match postcard::from_bytes(frame).map_err(TaskError::codec::<ToExecutor>)? {
            ToExecutor::Job(spec) => {
                let mine = inner.fingerprint();
                if spec.fingerprint != mine {
                    return Err(TaskError::Bug(
                        "the executor has built another graph than the driver: does the build \
                         function depend on something outside of it?"
                            .into(),
                    ));
                }
                inner.take_slices(&spec.inputs)?;
                inner.take_replays(&spec.replays);
                self.job = Some(spec);
            }
            ToExecutor::Run { stage, task, run } => {
                let spec = self.job.as_ref().ok_or_else(|| TaskError::Bug("no job".into()))?;
                let s = &spec.stages[stage as usize];
                let partition = s.tasks[task as usize].partition;
                let body = inner.body(&s.key)?;
                let task = TaskRef { stage: s.key, run, partition };
                return run_task(&*body, task, &inner.env, &self.stop).map(FromExecutor::Done);
            }
            ToExecutor::Blocks { task, width, blocks, records } => {
                inner.env.store.publish(task, width, blocks, records);
            }
            ToExecutor::Release { stage, width } => inner.env.store.release(&stage, width),
            ToExecutor::Forget { graph, up_to } => inner.forget_graph(graph, up_to),
        }
        Ok(FromExecutor::Ok)
    }

    fn handle(&mut self, frame: &[u8]) -> Result<Vec<u8>, TaskError> {
        let answer = self.answer(frame).unwrap_or_else(FromExecutor::Failed);
        postcard::to_stdvec(&answer).map_err(TaskError::codec::<FromExecutor>)
    }
}

/// Other graphs in this process, reached by bytes only.
pub(crate) struct RemoteEngine(Arc<Remote>);

struct Remote {
    executors: Vec<Mutex<Executor>>,
    stop: Arc<AtomicBool>,
    /// What has been published to all executors.
    done: Mutex<std::collections::HashMap<StageKey, Vec<bool>>>,
    max_failures: u32,
    running: Mutex<Vec<JobId>>,
    /// One job at a time: an executor holds one job.
    turn: Mutex<()>,
}

fn keeps(role: Role) -> bool {
    matches!(role, Role::Map | Role::Update)
}

impl RemoteEngine {
    pub(crate) fn new(
        executors: Vec<Executor>,
        stop: Arc<AtomicBool>,
        max_failures: u32,
    ) -> RemoteEngine {
        RemoteEngine(Arc::new(Remote {
            executors: executors.into_iter().map(Mutex::new).collect(),
            stop,
            done: Mutex::default(),
            max_failures,
            running: Mutex::default(),
            turn: Mutex::default(),
        }))
    }
}

impl Remote {
    fn call(&self, executor: usize, m: &ToExecutor) -> Result<FromExecutor, TaskError> {
        let frame = postcard::to_stdvec(m).map_err(TaskError::codec::<ToExecutor>)?;
        let answer = self.executors[executor].get().handle(&frame)?;
        match postcard::from_bytes(&answer).map_err(TaskError::codec::<FromExecutor>)? {
            FromExecutor::Failed(e) => Err(e),
            other => Ok(other),
        }
    }

    fn all(&self, m: &ToExecutor) -> Result<(), TaskError> {
        (0..self.executors.len()).try_for_each(|i| self.call(i, m).map(drop))
    }

    fn attempt(&self, spec: &JobSpec) -> Result<JobOutput, TaskError> {
        let mut out = JobOutput::default();
        self.all(&ToExecutor::Job(spec.clone()))?;
        for (si, s) in spec.stages.iter().enumerate() {
            out.results.clear();
            for (ti, t) in s.tasks.iter().enumerate() {
                // State partitions will live at such a home.
                let home = t.partition as usize % self.executors.len();
                let run = ToExecutor::Run { stage: si as u32, task: ti as u32, run: spec.id.run };
                let FromExecutor::Done(o) = self.call(home, &run)? else {
                    return Err(TaskError::Bug("an executor answered out of turn".into()));
                };
                out.tasks_run += 1;
                if keeps(s.key.role) {
                    let task = TaskRef { stage: s.key, run: spec.id.run, partition: t.partition };
                    self.all(&ToExecutor::Blocks {
                        task,
                        width: s.width,
                        blocks: o.blocks,
                        records: o.records,
                    })?;
                }
                if !o.accs.is_empty() {
                    out.accs.push((s.key, t.partition, o.accs));
                }
                out.results.extend(o.result);
            }
            out.stages_run += 1;
        }
        Ok(out)
    }

    fn run(&self, mut spec: JobSpec) -> Result<JobOutput, JobError> {
        let _turn = self.turn.get();
        self.stop.store(false, Relaxed);
        self.running.get().push(spec.id);
        let mut attempts = 0;
        let r = loop {
            spec.id.run = attempts;
            attempts += 1;
            match self.attempt(&spec) {
                Ok(out) => {
                    let mut done = self.done.get();
                    for s in spec.stages.iter().filter(|s| keeps(s.key.role)) {
                        let d = done.entry(s.key).or_default();
                        d.resize(s.width as usize, false);
                        s.tasks.iter().for_each(|t| d[t.partition as usize] = true);
                    }
                    break Ok(out);
                }
                Err(TaskError::Lost { stage, partition }) => {
                    self.done.get().remove(&stage);
                    break Err(JobError::Lost { stage, partition });
                }
                Err(TaskError::Cancelled) => break Err(JobError::Cancelled),
                Err(last) if attempts >= self.max_failures => {
                    break Err(JobError::Failed { attempts, last });
                }
                Err(e) => tracing::warn!("job {:?} failed, trying again: {e}", spec.id),
            }
        };
        self.running.get().clear();
        r
    }
}

impl Engine for RemoteEngine {
    fn submit(&self, spec: JobSpec) -> JobHandle {
        let remote = self.0.clone();
        JobHandle::new(move || match remote.run(spec) {
            Ok(output) => JobEnd { output, error: None },
            Err(e) => JobEnd { output: JobOutput::default(), error: Some(e) },
        })
    }

    fn cancel(&self, which: &dyn Fn(&JobId) -> bool) {
        if self.0.running.get().iter().any(which) {
            self.0.stop.store(true, Relaxed);
        }
    }

    fn missing(&self, stage: &StageKey, width: u32) -> Vec<u32> {
        let done = self.0.done.get();
        let d = done.get(stage);
        (0..width).filter(|p| !d.is_some_and(|d| d[*p as usize])).collect()
    }

    fn release(&self, stage: &StageKey, width: u32) {
        self.0.done.get().remove(stage);
        if let Err(e) = self.0.all(&ToExecutor::Release { stage: *stage, width }) {
            tracing::warn!("releasing {stage}: {e}");
        }
    }

    fn forget(&self, graph: u32, up_to: Time) {
        if let Err(e) = self.0.all(&ToExecutor::Forget { graph, up_to }) {
            tracing::warn!("forgetting batches up to {up_to}: {e}");
        }
    }

    fn remote(&self) -> bool {
        true
    }

    fn executors(&self) -> usize {
        self.0.executors.len()
    }
}

impl fmt::Debug for RemoteEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteEngine({} executors)", self.0.executors.len())
    }
}
