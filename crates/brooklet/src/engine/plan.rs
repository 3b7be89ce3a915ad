//! From lineage to a job: cut at shuffles, leave out what is there, ask for the rest.

use std::sync::Arc;

use super::{
    JobEnd, JobError, JobId, JobOutput, JobSpec, Payload, Role, Stage, StageKey, Task, TaskBody,
};
use crate::context::Inner;
use crate::sync::{Condvar, LockExt, Mutex, wait};
use crate::{Error, Result, conf::defaults};

/// Runs `root` for the given partitions and returns its results in that order.
///
/// Lost outputs of earlier stages are made again from lineage, just those, up to
/// [`defaults::STAGE_MAX_ATTEMPTS`] times.
pub(crate) fn run_job(
    ctx: &Inner,
    root: &Arc<dyn TaskBody>,
    partitions: impl IntoIterator<Item = u32>,
) -> Result<Vec<Payload>> {
    let partitions: Vec<u32> = partitions.into_iter().collect();
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let engine = ctx.engine()?;
    let key = root.key();
    ctx.add_body(root);
    let mut attempt = 0;
    let out = loop {
        let (stages, claim) = ctx.making.claim(|| {
            let mut stages = Vec::new();
            plan(&**engine, root, Some(&partitions), &mut stages);
            stages
        });
        let mut spec = JobSpec {
            id: JobId { batch: key.batch, op: key.op, action: key.sub, run: attempt },
            fingerprint: 0,
            stages,
            inputs: Vec::new(),
            replays: Vec::new(),
        };
        if engine.remote() {
            known_elsewhere(ctx, &spec)?;
            ctx.complete_for_remote(&mut spec)?;
        }
        attempt += 1;
        tracing::debug!(
            batch = key.batch.millis(),
            stages = spec.stages.len(),
            attempt,
            "job {key}"
        );
        let JobEnd { output, error } = engine.submit(spec).wait();
        drop(claim);
        ctx.stats.add(&output);
        let JobOutput { results, accs, .. } = output;
        ctx.accumulators.apply(accs)?;
        match error {
            None => break Ok(results),
            Some(JobError::Lost { stage, partition }) => {
                if attempt < defaults::STAGE_MAX_ATTEMPTS {
                    tracing::warn!(%stage, partition, "output of a stage is gone, making it again");
                    continue;
                }
                let cause = super::TaskError::Lost { stage, partition };
                break Err(Error::TaskFailed { attempts: attempt, cause });
            }
            Some(JobError::Failed { attempts, last }) => {
                break Err(Error::TaskFailed { attempts, cause: last });
            }
            Some(JobError::Cancelled) => break Err(Error::Cancelled),
        }
    };
    ctx.job_done(&key);
    out
}

/// Other processes build streaming graphs again, with the RDDs that were made meanwhile. Of RDDs that belong
/// to no stream and came later they find nothing.
fn known_elsewhere(ctx: &Inner, spec: &JobSpec) -> Result<()> {
    let built = ctx.built_rdds();
    if spec.stages.iter().all(|s| s.key.op.graph != 0 || s.key.op.id < built) {
        return Ok(());
    }
    Err(Error::NotShippable(
        "this job has a stage of an RDD that belongs to no stream (made by `parallelize`, `text_file` \
         or another method of the context), which the processes that run tasks can't make: put its \
         shuffles and actions behind a stream's RDD (`transform`), or broadcast its records"
            .into(),
    ))
}

/// The stages that running jobs make. Two jobs of a batch that share a shuffle run it once: the second one
/// waits, and finds it there.
#[derive(Default)]
pub(crate) struct Making {
    stages: Mutex<Vec<StageKey>>,
    changed: Condvar,
}

/// Stages that a job has taken on; given back when it is dropped.
pub(crate) struct Claim<'a> {
    making: &'a Making,
    stages: Vec<StageKey>,
}

impl Making {
    /// Plans until nothing in the plan is another job's, and claims the plan's stages.
    fn claim(&self, plan: impl Fn() -> Vec<Stage>) -> (Vec<Stage>, Claim<'_>) {
        let mut taken = self.stages.get();
        loop {
            let stages = plan();
            let shared = |s: &&Stage| matches!(s.key.role, Role::Map | Role::Update);
            let keys: Vec<StageKey> = stages.iter().filter(shared).map(|s| s.key).collect();
            if !keys.iter().any(|k| taken.contains(k)) {
                taken.extend(&keys);
                return (stages, Claim { making: self, stages: keys });
            }
            taken = wait(&self.changed, taken, None);
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.stages.is_empty() {
            self.making.stages.get().retain(|k| !self.stages.contains(k));
            self.making.changed.notify_all();
        }
    }
}

/// Adds the stage of `body` after the stages it needs. Returns its index, or nothing when all of its
/// output is there.
fn plan(
    engine: &dyn super::Engine,
    body: &Arc<dyn TaskBody>,
    wanted: Option<&[u32]>,
    stages: &mut Vec<Stage>,
) -> Option<u32> {
    let key = body.key();
    if let Some(i) = stages.iter().position(|s| s.key == key) {
        return Some(i as u32);
    }
    let width = body.width() as u32;
    let missing = match wanted {
        Some(parts) => parts.to_vec(),
        None => engine.missing(&key, width),
    };
    if missing.is_empty() {
        return None;
    }
    let mut up = Vec::new();
    body.parents(&mut up);
    let parents = up.iter().filter_map(|p| plan(engine, p, None, stages)).collect();
    let tasks = missing
        .into_iter()
        .map(|partition| Task { partition, payload: Vec::new(), preferred: Vec::new() })
        .collect();
    stages.push(Stage { key, width, parents, tasks });
    Some(stages.len() as u32 - 1)
}
