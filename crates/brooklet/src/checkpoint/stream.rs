//! The state checkpoints of one stream: which operators have state, what of the stored state fits, and what
//! each batch hands over.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::StateCheckpoints;
use super::schema::{Verdict, compare};
use super::{CheckpointPolicy, CheckpointStats, Delta, OpenCheckpoint, OperatorMeta, StartFrom};
use crate::engine::{OpId, Site};
use crate::state::durable::{Collect, Durable, Form};
use crate::sync::{LockExt, Mutex};
use crate::time::Clock;
use crate::{Error, Result, Time};

/// An operator's parts that are stored.
#[derive(Clone)]
pub(crate) struct StoredOperator {
    pub(crate) id: OpId,
    pub(crate) site: Site,
    /// By identity.
    pub(crate) parts: Vec<(String, Arc<dyn Durable>)>,
}

/// What the user asks of the checkpoints of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) policy: CheckpointPolicy,
    pub(crate) from: StartFrom,
    /// Stored operators whose state may be lost.
    pub(crate) drop: Vec<String>,
    /// Whether fields that a type doesn't have any more may be lost.
    pub(crate) drop_fields: bool,
}

/// The running checkpoints of a stream.
pub(crate) struct StreamCheckpoints {
    writer: StateCheckpoints,
    operators: HashMap<OpId, StoredOperator>,
    /// Identities of which the first batch that succeeds has to hand over everything.
    whole_first: Mutex<HashSet<String>>,
    /// Whether the batch that runs ends with a checkpoint.
    planned: Mutex<bool>,
    /// The newest batch that ended.
    last: Mutex<Option<Time>>,
}

/// What a stream goes on from.
pub(crate) struct Restored {
    pub(crate) checkpoints: StreamCheckpoints,
    /// The batch of the checkpoint, with the operators whose state was there.
    pub(crate) from: Option<(Time, Vec<OpId>)>,
    /// The zero time to count from.
    pub(crate) zero: Time,
}

impl StreamCheckpoints {
    /// Opens a directory, takes over the state in it, and begins to write.
    pub(crate) fn open(
        dir: &Path,
        operators: Vec<StoredOperator>,
        wanted: Wanted,
        (zero, first, seed): (Time, Time, u64),
        clock: Arc<dyn Clock>,
        app: &str,
    ) -> Result<Restored> {
        let open = OpenCheckpoint::local(dir, wanted.from).map_err(Error::Checkpoint)?;
        for e in open.skipped() {
            tracing::warn!(app, "a newer checkpoint is passed over: {e}");
        }
        if let Some(t) = open.time()
            && t >= first
        {
            return Err(Error::usage(format!(
                "the checkpoint in {} is of batch {t}, and the first batch would be {first}: batch times must \
                 grow, so wait, or set the clock right",
                dir.display()
            )));
        }
        let mut metas = Vec::new();
        let mut forms: HashMap<String, Form> = HashMap::new();
        let mut table = Vec::new();
        for (op, (identity, part)) in
            operators.iter().flat_map(|o| o.parts.iter().map(move |p| (o, p)))
        {
            let form = part
                .form()
                .map_err(|e| Error::usage(format!("state of {} can't be stored: {e}", op.site)))?;
            let schema = rmp_serde::to_vec_named(&form)
                .map_err(|e| Error::Bug(format!("a schema can't be written: {e}")))?;
            let stored = open.operator(identity);
            let verdict = match stored {
                None => "new".to_string(),
                Some(stored) => {
                    let mut all = Verdict::Kept;
                    // A file may hold entries of several.
                    for s in &stored.schemas {
                        let old: Form = rmp_serde::from_slice(&s.0).map_err(|e| {
                            Error::usage(format!(
                                "the stored schema of `{identity}` can't be read: {e}"
                            ))
                        })?;
                        let v = compare(&old.schema, &form.schema);
                        let v = if wanted.drop_fields { v.dropping_fields() } else { v };
                        let refused = matches!(v, Verdict::Refused { .. });
                        if refused && !wanted.drop.contains(identity) {
                            return Err(Error::usage(format!(
                                "the stored state of `{identity}` ({}) doesn't fit the program: {v}\nchange \
                                 the type so that it can be read, or permit to drop the state of `{identity}`",
                                op.site
                            )));
                        }
                        let first = forms.entry(identity.clone()).or_insert_with(|| old.clone());
                        if first.timed != old.timed {
                            return Err(Error::Bug(format!(
                                "the stored state of `{identity}` has entries with and without times"
                            )));
                        }
                        all = if v == Verdict::Kept { all } else { v };
                    }
                    all.to_string()
                }
            };
            table.push(format!("{identity}: {verdict}"));
            let (identity, partitioner) = (identity.clone(), part.partitioner());
            metas.push(OperatorMeta { identity, schema, seed, partitioner });
        }
        let (time, zero) = (open.time(), open.zero().unwrap_or(zero));
        let mut restored = Vec::new();
        if let Some(t) = time {
            tracing::info!(
                app,
                batch = t.millis(),
                "state from {}: {}",
                dir.display(),
                table.join("; ")
            );
            for op in &operators {
                let dropped = op.parts.iter().any(|(identity, _)| wanted.drop.contains(identity));
                let stored = op.parts.iter().filter(|(identity, _)| forms.contains_key(identity));
                match stored.count() {
                    0 => continue,
                    _ if dropped => continue,
                    n if n < op.parts.len() => {
                        return Err(Error::usage(format!(
                            "the state of {} is stored as that of another kind of operator: give it another \
                             name, or permit to drop the state of `{}`",
                            op.site, op.parts[0].0
                        )));
                    }
                    _ => {}
                }
                for (identity, part) in &op.parts {
                    part.load(t, zero, &forms[identity], &mut open.load(identity, 0..=255))?;
                }
                restored.push(op.id);
            }
        }
        // Keys hash otherwise in a new process, and entries may be written otherwise: all is written once.
        let whole_first = forms.into_keys().collect();
        let writer = open
            .start(metas, &wanted.drop, zero, wanted.policy, clock, app)
            .map_err(Error::Checkpoint)?;
        let checkpoints = StreamCheckpoints {
            writer,
            operators: operators.into_iter().map(|o| (o.id, o)).collect(),
            whole_first: Mutex::new(whole_first),
            planned: Mutex::new(false),
            last: Mutex::new(time),
        };
        Ok(Restored { checkpoints, from: time.map(|t| (t, restored)), zero })
    }

    /// Batch `t` begins.
    pub(crate) fn begin(&self, t: Time) {
        *self.planned.get() = self.writer.plan(t);
    }

    /// What the parts of an operator are to hand over with the batch that runs.
    pub(crate) fn wanted(&self, op: OpId) -> Collect {
        let Some(op) = self.operators.get(&op) else { return Collect::Nothing };
        let first = self.whole_first.get();
        if op.parts.iter().any(|(identity, _)| first.contains(identity)) {
            return Collect::Whole;
        }
        match (op.parts.iter().any(|(_, p)| p.whole_only()), *self.planned.get()) {
            (false, _) => Collect::Changes,
            (true, true) => Collect::Whole,
            (true, false) => Collect::Nothing,
        }
    }

    /// What the tasks of an operator have handed over: for each task the bytes of each part.
    pub(crate) fn take(
        &self,
        t: Time,
        op: OpId,
        what: Collect,
        tasks: Vec<Vec<Vec<u8>>>,
    ) -> Result<()> {
        let (Some(op), false) = (self.operators.get(&op), what == Collect::Nothing) else {
            return Ok(());
        };
        let mut parts: Vec<Vec<Delta>> = op.parts.iter().map(|_| Vec::new()).collect();
        for task in tasks {
            for (part, bytes) in parts.iter_mut().zip(task) {
                part.push(read(bytes)?);
            }
        }
        for ((identity, _), deltas) in op.parts.iter().zip(parts) {
            let taken = match what {
                Collect::Whole => self.writer.replace(t, identity, deltas),
                _ => self.writer.batch(t, identity, deltas),
            };
            taken.map_err(Error::Checkpoint)?;
        }
        Ok(())
    }

    /// All steps of batch `t` are done.
    pub(crate) fn end(&self, t: Time) -> Result<()> {
        let mut first = self.whole_first.get();
        let planned = *self.planned.get();
        for (identity, part) in self.operators.values().flat_map(|o| &o.parts) {
            let wanted = first.contains(identity) || planned && part.whole_only();
            // Operators that didn't run in this batch.
            if wanted && !self.writer.has(t, identity) {
                let all = vec![read(part.whole()?)?];
                self.writer.replace(t, identity, all).map_err(Error::Checkpoint)?;
            }
        }
        self.writer.end_of_batch(t).map_err(Error::Checkpoint)?;
        first.clear();
        *self.last.get() = Some(t);
        Ok(())
    }

    /// Batch `t` has failed.
    pub(crate) fn abandon(&self, t: Time) {
        self.writer.abandon(t);
    }

    /// The stream has ended well: what isn't stored yet is, and is waited for.
    pub(crate) fn finish(&self) -> Result<()> {
        let Some(t) = *self.last.get() else { return Ok(()) };
        let mut all = Vec::new();
        for (identity, part) in self.operators.values().flat_map(|o| &o.parts) {
            if part.whole_only() {
                all.push((identity.clone(), vec![read(part.whole()?)?]));
            }
        }
        self.writer.flush(t, all).map_err(Error::Checkpoint)
    }

    pub(crate) fn stats(&self) -> CheckpointStats {
        self.writer.stats()
    }
}

fn read(bytes: Vec<u8>) -> Result<Delta> {
    Delta::from_bytes(bytes).ok_or_else(|| Error::Bug("a delta can't be read".into()))
}

impl fmt::Debug for StreamCheckpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.writer.fmt(f)
    }
}
