//! The engine of `local[N]`: threads of this process, typed values, the task as the unit of retry.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use super::{
    Engine, Env, JobEnd, JobError, JobHandle, JobId, JobOutput, JobSpec, Pool, Role, StageKey,
    TaskBody, TaskError, TaskOutput, TaskRef, run_task,
};
use crate::Time;
use crate::context::Inner;
use crate::sync::{LockExt, Mutex};

/// Fewer records than this aren't worth waking a second thread.
const SMALL: usize = 1_000;

pub(crate) struct LocalEngine(Arc<Local>);

struct Local {
    ctx: Weak<Inner>,
    env: Arc<Env>,
    pool: Pool,
    max_failures: u32,
    running: Mutex<Vec<(JobId, Arc<AtomicBool>)>>,
}

impl LocalEngine {
    pub(crate) fn new(ctx: Weak<Inner>, env: Arc<Env>, pool: Pool, max_failures: u32) -> Self {
        LocalEngine(Arc::new(Local { ctx, env, pool, max_failures, running: Mutex::default() }))
    }
}

/// The tasks of stages that don't depend on each other, and what became of them.
struct Wave {
    env: Arc<Env>,
    stop: Arc<AtomicBool>,
    max_failures: u32,
    /// (body, task, whether its blocks are published, width of its stage)
    tasks: Vec<(Arc<dyn TaskBody>, TaskRef, bool, u32)>,
    done: Vec<Mutex<Option<Result<TaskOutput, Failure>>>>,
}

struct Failure {
    attempts: u32,
    last: TaskError,
}

impl Wave {
    fn run(&self, i: usize) {
        let (body, task, publish, width) = &self.tasks[i];
        let mut task = *task;
        let outcome = loop {
            tracing::trace!(
                partition = task.partition,
                attempt = task.run,
                "task of {}",
                task.stage
            );
            match run_task(&**body, task, &self.env, &self.stop) {
                Ok(mut out) => {
                    if *publish {
                        let blocks = std::mem::take(&mut out.blocks);
                        self.env.store.publish(task, *width, blocks, out.records);
                    }
                    break Ok(out);
                }
                Err(last) => {
                    task.run += 1;
                    let again = !matches!(last, TaskError::Cancelled | TaskError::Lost { .. })
                        && task.run < self.max_failures;
                    if again {
                        tracing::warn!(stage = %task.stage, partition = task.partition, attempt = task.run, "task failed, trying again: {last}");
                        continue;
                    }
                    self.stop.store(true, Relaxed);
                    break Err(Failure { attempts: task.run, last });
                }
            }
        };
        *self.done[i].get() = Some(outcome);
    }
}

/// Stages whose output others read.
fn keeps(role: Role) -> bool {
    matches!(role, Role::Map | Role::Update)
}

impl Local {
    fn run(&self, spec: JobSpec) -> JobEnd {
        let stop = Arc::new(AtomicBool::new(false));
        self.running.get().push((spec.id, stop.clone()));
        let ctx = self.ctx.upgrade();
        if ctx.is_none_or(|c| c.is_cancelled(spec.id.op.graph, spec.id.batch)) {
            stop.store(true, Relaxed);
        }
        let mut output = JobOutput::default();
        let error = self.run_stages(&spec, &stop, &mut output).err();
        self.running.get().retain(|(_, s)| !Arc::ptr_eq(s, &stop));
        if error.is_some() {
            // What was published stays and won't be run again: it counts now. The rest never happened.
            output.results.clear();
            output.accs.retain(|(stage, ..)| keeps(stage.role));
            // A block whose making was counted there has to be made and counted again.
            for id in output.made.drain(..) {
                self.env.blocks.remove(id);
            }
        }
        JobEnd { output, error }
    }

    fn run_stages(
        &self,
        spec: &JobSpec,
        stop: &Arc<AtomicBool>,
        out: &mut JobOutput,
    ) -> Result<(), JobError> {
        let mut level = vec![0u32; spec.stages.len()];
        for (i, s) in spec.stages.iter().enumerate() {
            level[i] = s.parents.iter().map(|p| level[*p as usize] + 1).max().unwrap_or(0);
        }
        let last = level.iter().copied().max().unwrap_or(0);
        for l in 0..=last {
            let stages: Vec<usize> = (0..spec.stages.len()).filter(|i| level[*i] == l).collect();
            self.run_wave(spec, &stages, stop, out)?;
        }
        Ok(())
    }

    fn run_wave(
        &self,
        spec: &JobSpec,
        stages: &[usize],
        stop: &Arc<AtomicBool>,
        out: &mut JobOutput,
    ) -> Result<(), JobError> {
        let mut tasks = Vec::new();
        let mut records = 0usize;
        for &i in stages {
            let s = &spec.stages[i];
            let body = self.body(&s.key)?;
            records = records.saturating_add(self.input_records(&*body));
            tracing::debug!(tasks = s.tasks.len(), width = s.width, "stage {}", s.key);
            for t in &s.tasks {
                let task = TaskRef { stage: s.key, run: 0, partition: t.partition };
                tasks.push((body.clone(), task, keeps(s.key.role), s.width));
            }
        }
        let n = tasks.len();
        let wave = Arc::new(Wave {
            env: self.env.clone(),
            stop: stop.clone(),
            max_failures: self.max_failures,
            done: (0..n).map(|_| Mutex::new(None)).collect(),
            tasks,
        });
        let w = wave.clone();
        if records < SMALL {
            self.pool.run_cheap(n, Arc::new(move |i| w.run(i)));
        } else {
            self.pool.run(n, false, Arc::new(move |i| w.run(i)));
        }
        let mut failed: Option<Failure> = None;
        let final_stage = spec.stages.len() - 1;
        for (i, done) in wave.done.iter().enumerate() {
            let task = &wave.tasks[i].1;
            match done.get().take() {
                Some(Ok(o)) => {
                    out.tasks_run += 1;
                    if !o.accs.is_empty() {
                        if !keeps(task.stage.role) {
                            out.made.extend(o.made);
                        }
                        out.accs.push((task.stage, task.partition, o.accs));
                    }
                    if task.stage == spec.stages[final_stage].key {
                        out.results.extend(o.result);
                    }
                }
                Some(Err(e)) => {
                    // The first failure stopped the others: its error is the one to report.
                    if failed.as_ref().is_none_or(|f| matches!(f.last, TaskError::Cancelled)) {
                        failed = Some(e);
                    }
                }
                None => {
                    let last = TaskError::Bug(format!("task {task:?} didn't run"));
                    failed = Some(Failure { attempts: 0, last });
                }
            }
        }
        out.stages_run += stages.len() as u64;
        match failed {
            None => Ok(()),
            Some(Failure { last: TaskError::Lost { stage, partition }, .. }) => {
                Err(JobError::Lost { stage, partition })
            }
            Some(Failure { last: TaskError::Cancelled, .. }) => Err(JobError::Cancelled),
            Some(Failure { attempts, last }) => Err(JobError::Failed { attempts, last }),
        }
    }

    fn body(&self, key: &StageKey) -> Result<Arc<dyn TaskBody>, JobError> {
        let found = match self.ctx.upgrade() {
            Some(ctx) => ctx.body(key),
            None => Err(TaskError::Cancelled),
        };
        found.map_err(|last| JobError::Failed { attempts: 0, last })
    }

    /// What a stage's tasks will read altogether: from inputs and from earlier stages.
    fn input_records(&self, body: &dyn TaskBody) -> usize {
        let mut parents = Vec::new();
        body.parents(&mut parents);
        parents
            .iter()
            .fold(body.input_records(), |n, p| n.saturating_add(self.env.store.records(&p.key())))
    }
}

impl Engine for LocalEngine {
    fn submit(&self, spec: JobSpec) -> JobHandle {
        let local = self.0.clone();
        JobHandle::new(move || local.run(spec))
    }

    fn cancel(&self, which: &dyn Fn(&JobId) -> bool) {
        for (id, stop) in self.0.running.get().iter() {
            if which(id) {
                stop.store(true, Relaxed);
            }
        }
    }

    fn missing(&self, stage: &StageKey, width: u32) -> Vec<u32> {
        self.0.env.store.missing(stage, width)
    }

    fn release(&self, stage: &StageKey, width: u32) {
        self.0.env.store.release(stage, width);
    }

    fn forget(&self, _: u32, _: Time) {}

    fn remote(&self) -> bool {
        false
    }

    fn executors(&self) -> usize {
        1
    }
}

impl fmt::Debug for LocalEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalEngine({} threads)", self.0.pool.threads())
    }
}
