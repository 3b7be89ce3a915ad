//! Does the steps of the [`Protocol`] on a [`Storage`].

use std::collections::BTreeSet;
use std::sync::Arc;

use super::CheckpointError;
use super::delta::{Delta, Sorted};
use super::manifest::FileEntry;
use super::merge::MergeReader;
use super::policy::{CheckpointPolicy, Inputs};
use super::protocol::{Changed, Done, Protocol, Step};
use super::state_file::{Files, FilesWriter};
use super::storage::Storage;
use crate::Time;

/// The changes of an operator since the former checkpoint, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// Whether they are the whole state.
    pub(crate) whole: bool,
    pub(crate) deltas: Vec<Delta>,
}

/// What has been written since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct WrittenStats {
    /// Manifests.
    pub(crate) checkpoints: u64,
    /// Bytes of changes as files, without manifests and merges.
    pub(crate) changed_bytes: u64,
    /// Entries in them.
    pub(crate) changed_entries: u64,
    /// Bytes of manifests.
    pub(crate) manifest_bytes: u64,
    /// Merges.
    pub(crate) merges: u64,
    /// Bytes of files that merges made.
    pub(crate) merged_bytes: u64,
    /// Files that couldn't be deleted; they are tried again.
    pub(crate) failed_deletes: u64,
}

/// Writes checkpoints and merges, one thing at a time.
#[derive(Debug)]
pub(crate) struct Worker {
    storage: Arc<dyn Storage>,
    protocol: Protocol,
    policy: CheckpointPolicy,
    stats: WrittenStats,
    poisoned: Option<Arc<CheckpointError>>,
}

impl Worker {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        protocol: Protocol,
        policy: CheckpointPolicy,
    ) -> Worker {
        Worker { storage, protocol, policy, stats: WrittenStats::default(), poisoned: None }
    }

    pub(crate) fn stats(&self) -> WrittenStats {
        self.stats
    }

    pub(crate) fn durable(&self) -> Option<Time> {
        self.protocol.durable()
    }

    /// Writes the checkpoint of batch `time`. `changes` are by operator number.
    ///
    /// # Errors
    /// What failed; from then on [`CheckpointError::Poisoned`], without touching any file.
    pub(crate) fn checkpoint(
        &mut self,
        time: Time,
        changes: &[Collected],
    ) -> Result<(), CheckpointError> {
        self.healthy()?;
        let changed = changes.iter().enumerate().filter_map(|(operator, c)| {
            let some = c.whole || c.deltas.iter().any(|d| !d.is_empty());
            some.then_some(Changed { operator, whole: c.whole })
        });
        self.protocol.begin(time, changed.collect());
        self.run(changes)
    }

    /// Does the merge that is needed most. Returns whether there was one.
    ///
    /// # Errors
    /// As [`Worker::checkpoint`].
    pub(crate) fn merge(&mut self) -> Result<bool, CheckpointError> {
        self.healthy()?;
        let ops = self.protocol.operators().iter().enumerate();
        let found = ops.into_iter().find_map(|(i, op)| Some((i, self.policy.merge.choose(op)?)));
        let Some((operator, inputs)) = found else { return Ok(false) };
        self.protocol.begin_merge(operator, inputs);
        self.run(&[])?;
        self.stats.merges += 1;
        Ok(true)
    }

    fn healthy(&self) -> Result<(), CheckpointError> {
        match &self.poisoned {
            Some(cause) => {
                let durable = self.durable();
                Err(CheckpointError::Poisoned { cause: cause.clone(), durable })
            }
            None => Ok(()),
        }
    }

    fn run(&mut self, changes: &[Collected]) -> Result<(), CheckpointError> {
        while let Some(step) = self.protocol.step() {
            match self.act(&step, changes) {
                Ok(done) => self.protocol.done(done),
                Err(e) => {
                    self.protocol.done(Done::Failed);
                    self.poisoned = Some(Arc::new(e.clone()));
                    return Err(e);
                }
            }
        }
        if self.protocol.is_idle() {
            return Ok(());
        }
        let e = CheckpointError::Bug("a step of a checkpoint got the answer to another one".into());
        self.poisoned = Some(Arc::new(e.clone()));
        Err(e)
    }

    fn act(&mut self, step: &Step, changes: &[Collected]) -> Result<Done, CheckpointError> {
        let storage = &*self.storage;
        match step {
            Step::Write { operator, base, stem, time } => {
                let files =
                    self.write(*operator, *base, stem, *time, &changes[*operator].deltas)?;
                self.stats.changed_bytes += bytes(&files);
                self.stats.changed_entries += files.iter().map(|f| f.entries).sum::<u64>();
                Ok(Done::Written(files))
            }
            Step::Merge { operator, inputs, stem } => {
                let files = self.merge_files(*operator, inputs, stem)?;
                self.stats.merged_bytes += bytes(&files);
                Ok(Done::Written(files))
            }
            Step::SyncNames => {
                let dir = storage.path("");
                let failed = |e| CheckpointError::io(&dir, "syncing the directory", e);
                storage.sync_names().map_err(failed)?;
                Ok(Done::Ok)
            }
            Step::Commit(manifest) => {
                let (name, bytes) = (manifest.name(), manifest.encode()?);
                storage
                    .put(&name, &bytes)
                    .map_err(|e| CheckpointError::io(&storage.path(&name), "writing", e))?;
                self.stats.manifest_bytes += bytes.len() as u64;
                self.stats.checkpoints += 1;
                Ok(Done::Ok)
            }
            Step::Delete(name) => Ok(self.delete(name)),
        }
    }

    fn delete(&mut self, name: &str) -> Done {
        match self.storage.delete(name) {
            Ok(()) => Done::Ok,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Done::Ok,
            Err(e) => {
                self.stats.failed_deletes += 1;
                let file = self.storage.path(name);
                tracing::warn!(file = %file.display(), error = %e, "an old checkpoint file stays for now");
                Done::NotDeleted
            }
        }
    }

    fn write(
        &self,
        operator: usize,
        base: bool,
        stem: &str,
        time: Time,
        deltas: &[Delta],
    ) -> Result<Vec<FileEntry>, CheckpointError> {
        // The number is the one that the schema gets in the manifest, where the same is done.
        let mut entry = self.protocol.operators()[operator].clone();
        let schemas = vec![entry.current_schema()];
        let mut out = FilesWriter::new(Files {
            storage: &*self.storage,
            operator: &entry,
            stem,
            time,
            base,
            schemas,
            first: 0,
            last: u8::MAX,
            part_bytes: self.policy.merge.base_bytes,
            frame_bytes: self.policy.frame_bytes,
            compress: self.policy.compress,
        });
        for change in Sorted::new(deltas) {
            if !base || change.value.is_some() {
                out.push(change)?;
            }
        }
        out.finish()
    }

    fn merge_files(
        &self,
        operator: usize,
        inputs: &Inputs,
        stem: &str,
    ) -> Result<Vec<FileEntry>, CheckpointError> {
        let entry = &self.protocol.operators()[operator];
        let schemas: BTreeSet<u32> =
            inputs.files.iter().flat_map(|f| f.schemas.iter().copied()).collect();
        let time = inputs.files.iter().map(|f| f.time).max().unwrap_or(Time::ZERO);
        let mut out = FilesWriter::new(Files {
            storage: &*self.storage,
            operator: entry,
            stem,
            time,
            base: inputs.base,
            schemas: schemas.into_iter().collect(),
            first: inputs.first,
            last: inputs.last,
            part_bytes: self.policy.merge.base_bytes,
            frame_bytes: self.policy.frame_bytes,
            compress: self.policy.compress,
        });
        let (first, last) = (inputs.first, inputs.last);
        let mut merged = MergeReader::open(&*self.storage, &inputs.files, first, last)?;
        while let Some(change) = merged.next()? {
            if !inputs.base || change.value.is_some() {
                out.push(change)?;
            }
        }
        out.finish()
    }
}

fn bytes(files: &[FileEntry]) -> u64 {
    files.iter().map(|f| f.length).sum()
}
