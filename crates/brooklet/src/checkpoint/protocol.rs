//! The order in which files are written, named and deleted, without doing any of it.
//!
//! ```text
//!  idle ── begin ──► write files ──► sync names ──► commit manifest ──► delete what nobody names ──► idle
//!    └─── begin_merge ──► merge ──► idle        (the next manifest names the result)
//!  any step failed ──► poisoned, for ever
//! ```
//! A file counts when a durable manifest names it, and is deleted when no kept manifest names it; so at any
//! step a crash leaves at least the newest durable manifest with all its files.

use std::collections::{BTreeSet, VecDeque};

use super::manifest::{FileEntry, Manifest, OperatorEntry, stem};
use super::policy::Inputs;
use crate::Time;

/// What has changed in an operator since the former checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Changed {
    /// Its number.
    pub(crate) operator: usize,
    /// Whether the changes are the whole state, so that older files are obsolete.
    pub(crate) whole: bool,
}

/// The thing to do next. It's done when [`Protocol::done`] has been told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Write the changes of an operator to files of this stem, and sync them.
    Write { operator: usize, base: bool, stem: String, time: Time },
    /// Merge files of an operator to files of this stem, and sync them.
    Merge { operator: usize, inputs: Inputs, stem: String },
    /// Make the names of written files durable.
    SyncNames,
    /// Put the manifest, so that it's durable.
    Commit(Manifest),
    /// Delete a file; it doesn't matter whether that succeeds.
    Delete(String),
}

/// What has been done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Done {
    /// `Write` or `Merge`, with the files made.
    Written(Vec<FileEntry>),
    /// Any other step.
    Ok,
    /// A deletion failed: it's tried again after the next manifest.
    NotDeleted,
    /// The step failed, and it isn't known what is on the disk.
    Failed,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Write { time: Time, todo: VecDeque<Changed>, next: Vec<OperatorEntry> },
    SyncNames { time: Time, next: Vec<OperatorEntry> },
    Commit(Manifest),
    Delete(VecDeque<String>),
    Merge { operator: usize, inputs: Inputs },
    Poisoned,
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Protocol {
    /// What the next manifest will name, besides new changes.
    operators: Vec<OperatorEntry>,
    /// Durable manifests, the newest last.
    kept: VecDeque<Manifest>,
    keep: usize,
    zero: Time,
    /// Of the next manifest.
    generation: u64,
    /// Of the next files within the generation.
    serial: u32,
    /// Files that no kept manifest names.
    garbage: BTreeSet<String>,
    phase: Phase,
}

impl Protocol {
    /// A machine that goes on from the manifests `kept`, the newest last; `operators` is what it takes over
    /// of the newest one. The files `garbage` go after the next checkpoint.
    pub(crate) fn new(
        operators: Vec<OperatorEntry>,
        kept: Vec<Manifest>,
        keep: usize,
        zero: Time,
        generation: u64,
        garbage: impl IntoIterator<Item = String>,
    ) -> Protocol {
        Protocol {
            operators,
            kept: kept.into(),
            keep: keep.max(1),
            zero,
            generation,
            serial: 0,
            garbage: garbage.into_iter().collect(),
            phase: Phase::Idle,
        }
    }

    pub(crate) fn operators(&self) -> &[OperatorEntry] {
        &self.operators
    }

    /// The time of the newest durable manifest.
    pub(crate) fn durable(&self) -> Option<Time> {
        self.kept.back().map(|m| m.time)
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Begins a checkpoint of the batch `time`; only when idle.
    pub(crate) fn begin(&mut self, time: Time, changed: Vec<Changed>) {
        debug_assert!(self.is_idle());
        let next = self.operators.clone();
        self.phase = Phase::Write { time, todo: changed.into(), next };
        self.skip_done();
    }

    /// Begins a merge; only when idle.
    pub(crate) fn begin_merge(&mut self, operator: usize, inputs: Inputs) {
        debug_assert!(self.is_idle());
        self.phase = Phase::Merge { operator, inputs };
    }

    /// What is to be done now; `None` when idle or poisoned. The same until [`Protocol::done`].
    pub(crate) fn step(&self) -> Option<Step> {
        let stem = || stem(self.generation, self.serial);
        match &self.phase {
            Phase::Idle | Phase::Poisoned => None,
            Phase::Write { time, todo, next } => {
                let &Changed { operator, whole } = todo.front()?;
                let base = whole || next[operator].is_empty();
                Some(Step::Write { operator, base, stem: stem(), time: *time })
            }
            Phase::SyncNames { .. } => Some(Step::SyncNames),
            Phase::Commit(m) => Some(Step::Commit(m.clone())),
            Phase::Delete(todo) => Some(Step::Delete(todo.front()?.clone())),
            Phase::Merge { operator, inputs } => {
                let (operator, inputs) = (*operator, inputs.clone());
                Some(Step::Merge { operator, inputs, stem: stem() })
            }
        }
    }

    /// The step that [`Protocol::step`] gave is done.
    pub(crate) fn done(&mut self, done: Done) {
        if done == Done::Failed {
            self.phase = Phase::Poisoned;
            return;
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        self.phase = match (phase, done) {
            (Phase::Write { time, mut todo, mut next }, Done::Written(files)) => {
                self.serial += 1;
                if let Some(Changed { operator, whole }) = todo.pop_front() {
                    let op = &mut next[operator];
                    if whole || op.is_empty() {
                        self.garbage.extend(op.files().map(|f| f.name.clone()));
                        op.deltas.clear();
                        op.bases = files;
                    } else {
                        op.deltas.extend(files);
                    }
                }
                Phase::Write { time, todo, next }
            }
            (Phase::SyncNames { time, mut next }, Done::Ok) => {
                next.iter_mut().for_each(OperatorEntry::prune_schemas);
                let (zero, generation) = (self.zero, self.generation);
                Phase::Commit(Manifest { time, zero, generation, operators: next })
            }
            (Phase::Commit(manifest), Done::Ok) => {
                self.commit(manifest);
                Phase::Delete(std::mem::take(&mut self.garbage).into_iter().collect())
            }
            (Phase::Delete(mut todo), done) => {
                if let Some(name) = todo.pop_front()
                    && done == Done::NotDeleted
                {
                    self.garbage.insert(name);
                }
                Phase::Delete(todo)
            }
            (Phase::Merge { operator, inputs }, Done::Written(files)) => {
                self.serial += 1;
                self.install(operator, &inputs, files);
                Phase::Idle
            }
            // An answer to another question: what is on disk isn't known.
            (_, _) => Phase::Poisoned,
        };
        self.skip_done();
    }

    fn skip_done(&mut self) {
        match &mut self.phase {
            Phase::Write { time, todo, next } if todo.is_empty() => {
                self.phase = Phase::SyncNames { time: *time, next: std::mem::take(next) };
            }
            Phase::Delete(todo) if todo.is_empty() => self.phase = Phase::Idle,
            _ => {}
        }
    }

    fn commit(&mut self, manifest: Manifest) {
        self.operators.clone_from(&manifest.operators);
        self.kept.push_back(manifest);
        (self.generation, self.serial) = (self.generation + 1, 0);
        while self.kept.len() > self.keep {
            let Some(old) = self.kept.pop_front() else { break };
            self.garbage.insert(old.name());
            self.garbage.extend(old.files().map(|f| f.name.clone()));
        }
        for m in &self.kept {
            self.garbage.remove(&m.name());
            for f in m.files() {
                self.garbage.remove(&f.name);
            }
        }
    }

    /// Puts merged files into the place of their inputs.
    fn install(&mut self, operator: usize, inputs: &Inputs, files: Vec<FileEntry>) {
        let op = &mut self.operators[operator];
        self.garbage.extend(inputs.files.iter().map(|f| f.name.clone()));
        if inputs.base {
            let at = op.bases.iter().position(|b| b.first == inputs.first).unwrap_or(0);
            op.bases.splice(at..(at + 1).min(op.bases.len()), files);
            let oldest = op.bases.iter().map(|b| b.time).min();
            op.deltas.retain(|d| oldest.is_some_and(|oldest| d.time > oldest));
        } else {
            let at = op.deltas.iter().position(|d| d.name == inputs.files[0].name);
            let at = at.unwrap_or(op.deltas.len());
            let end = (at + inputs.files.len()).min(op.deltas.len());
            op.deltas.splice(at..end, files);
        }
    }
}
