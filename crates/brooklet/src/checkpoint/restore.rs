//! Opening a checkpoint directory, and reading the state in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::CheckpointError;
use super::delta::Change;
use super::manifest::{FileKind, Manifest, OperatorEntry, OperatorMeta};
use super::merge::MergeReader;
use super::policy::{CheckpointPolicy, newer};
use super::protocol::Protocol;
use super::state_file::other_length;
use super::storage::{LocalStorage, Storage};
use super::worker::Worker;
use super::writer::StateCheckpoints;
use crate::Time;
use crate::time::Clock;

/// Which checkpoint of a directory to go on from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum StartFrom {
    /// The newest one; an error if it is damaged.
    #[default]
    Newest,
    /// The newest one that isn't damaged: batches after it are lost unless they are run again.
    NewestWhole,
    /// The one of this batch; newer ones are given up.
    Batch(Time),
}

/// An opened directory: its newest checkpoint, before the stream starts.
#[derive(Debug)]
pub(crate) struct OpenCheckpoint {
    storage: Arc<dyn Storage>,
    /// The newest last.
    kept: Vec<Manifest>,
    /// What may be deleted as soon as there is a newer checkpoint.
    garbage: Vec<String>,
    /// Of the next manifest.
    generation: u64,
    /// Why newer checkpoints were passed over.
    skipped: Vec<CheckpointError>,
}

impl OpenCheckpoint {
    /// Opens a directory of the local file system, and locks it until the value, or what is started from it,
    /// is dropped. A directory that isn't there is made.
    ///
    /// # Errors
    /// When it's in use, when the checkpoint to start from is damaged, and what the system refuses.
    pub(crate) fn local(
        dir: impl Into<std::path::PathBuf>,
        from: StartFrom,
    ) -> Result<OpenCheckpoint, CheckpointError> {
        OpenCheckpoint::open(Arc::new(LocalStorage::open(dir)?), from)
    }

    /// Opens a storage that belongs to this owner alone.
    ///
    /// # Errors
    /// As [`OpenCheckpoint::local`].
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        from: StartFrom,
    ) -> Result<OpenCheckpoint, CheckpointError> {
        let dir = storage.path("");
        let files: BTreeMap<String, u64> = storage
            .list()
            .map_err(|e| CheckpointError::io(&dir, "listing", e))?
            .into_iter()
            .collect();
        let mut manifests: Vec<(u64, &String)> = Vec::new();
        let mut newest_state = 0;
        for name in files.keys() {
            match FileKind::of(name) {
                FileKind::Manifest { generation } => manifests.push((generation, name)),
                FileKind::State { generation } => newest_state = newest_state.max(generation),
                FileKind::Temporary | FileKind::Foreign => {}
            }
        }
        manifests.sort_unstable();
        if manifests.is_empty() && newest_state > 1 {
            return Err(CheckpointError::refused(
                dir.display().to_string(),
                "there are state files but no manifest, which somebody must have deleted: restore the \
                 `manifest-` files from a copy, or empty the directory to begin without state",
            ));
        }
        let newest_manifest = manifests.last().map_or(0, |m| m.0);
        let (mut kept, mut skipped) = (VecDeque::new(), Vec::new());
        for &(_, name) in manifests.iter().rev() {
            match read_whole(&*storage, name, &files) {
                Ok(m) if matches!(from, StartFrom::Batch(t) if kept.is_empty() && m.time != t) => {
                    skipped.push(CheckpointError::refused(
                        storage.path(name).display().to_string(),
                        format!("it is of batch {}", m.time),
                    ));
                }
                Ok(m) => kept.push_front(m),
                // Older ones are there in case that the newest is damaged: they may be so themselves.
                Err(e) if !kept.is_empty() => {
                    tracing::warn!(error = %e, "an older state checkpoint can't be used");
                }
                Err(e)
                    if from == StartFrom::Newest
                        || matches!(e, CheckpointError::Version { .. }) =>
                {
                    return Err(e);
                }
                Err(e) => skipped.push(e),
            }
        }
        match from {
            StartFrom::Batch(t) if kept.is_empty() => {
                return Err(CheckpointError::refused(
                    dir.display().to_string(),
                    format!("there is no whole state checkpoint of batch {t}{}", list(&skipped)),
                ));
            }
            StartFrom::NewestWhole if kept.is_empty() && !skipped.is_empty() => {
                return Err(CheckpointError::refused(
                    dir.display().to_string(),
                    format!("no state checkpoint is whole{}", list(&skipped)),
                ));
            }
            _ => {}
        }
        let mut open = OpenCheckpoint {
            storage,
            kept: kept.into(),
            garbage: Vec::new(),
            generation: newest_manifest.max(newest_state) + 1,
            skipped,
        };
        open.garbage = open.orphans(files.keys());
        if open.skipped.is_empty() {
            open.delete_orphans()?;
            // Nothing of a later generation is left.
            open.generation = newest_manifest + 1;
        }
        Ok(open)
    }

    /// Our files that no kept manifest names.
    fn orphans<'a>(&self, files: impl Iterator<Item = &'a String>) -> Vec<String> {
        let names = self.kept.iter().flat_map(|m| m.files().map(|f| f.name.clone()));
        let named: BTreeSet<String> = names.chain(self.kept.iter().map(Manifest::name)).collect();
        let ours = |name: &&String| FileKind::of(name) != FileKind::Foreign;
        files.filter(ours).filter(|name| !named.contains(*name)).cloned().collect()
    }

    fn delete_orphans(&mut self) -> Result<(), CheckpointError> {
        for name in std::mem::take(&mut self.garbage) {
            match self.storage.delete(&name) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => {
                    return Err(CheckpointError::io(&self.storage.path(&name), "deleting", e));
                }
            }
        }
        Ok(())
    }

    /// The checkpoint to go on from; `None` in a new directory.
    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        self.kept.last()
    }

    /// The batch of that checkpoint.
    pub(crate) fn time(&self) -> Option<Time> {
        self.manifest().map(|m| m.time)
    }

    /// The stream's zero time as it is stored.
    pub(crate) fn zero(&self) -> Option<Time> {
        self.manifest().map(|m| m.zero)
    }

    /// An operator's entry in it.
    pub(crate) fn operator(&self, identity: &str) -> Option<&OperatorEntry> {
        self.manifest()?.operators.iter().find(|o| o.meta.identity == identity)
    }

    /// Why newer checkpoints were passed over; empty unless that was permitted.
    pub(crate) fn skipped(&self) -> &[CheckpointError] {
        &self.skipped
    }

    /// The stored state of some key groups of an operator, by group and key. An operator that isn't stored
    /// has none.
    pub(crate) fn load(&self, identity: &str, groups: RangeInclusive<u8>) -> Entries {
        let mut parts = VecDeque::new();
        if let Some(op) = self.operator(identity) {
            for base in &op.bases {
                let (first, last) = (base.first.max(*groups.start()), base.last.min(*groups.end()));
                if first <= last {
                    let files = std::iter::once(base).chain(newer(op, base)).cloned().collect();
                    parts.push_back((files, first, last));
                }
            }
        }
        Entries { storage: self.storage.clone(), parts, merged: None }
    }

    /// Begins to write checkpoints of these operators.
    ///
    /// `dropped` are operators of the stored checkpoint whose state the user permits to be lost. `zero` is
    /// the stream's zero time; a stored one counts more.
    ///
    /// # Errors
    /// [`CheckpointError::Refused`] for two operators of one identity, and for stored operators that are
    /// neither among `operators` nor among `dropped`.
    pub(crate) fn start(
        self,
        operators: Vec<OperatorMeta>,
        dropped: &[String],
        zero: Time,
        policy: CheckpointPolicy,
        clock: Arc<dyn Clock>,
        app: &str,
    ) -> Result<StateCheckpoints, CheckpointError> {
        let (durable, zero) = (self.time(), self.zero().unwrap_or(zero));
        let (worker, must_replace) = self.worker(operators, dropped, zero, policy.clone())?;
        StateCheckpoints::spawn(worker, must_replace, durable, zero, policy, clock, app)
    }

    /// The worker, and the operators that must be replaced as a whole: their keys are in other groups.
    pub(crate) fn worker(
        self,
        operators: Vec<OperatorMeta>,
        dropped: &[String],
        zero: Time,
        policy: CheckpointPolicy,
    ) -> Result<(Worker, Vec<(String, bool)>), CheckpointError> {
        let mut stored: BTreeMap<String, OperatorEntry> = self
            .manifest()
            .map(|m| m.operators.iter().map(|o| (o.meta.identity.clone(), o.clone())).collect())
            .unwrap_or_default();
        let mut entries: Vec<OperatorEntry> = Vec::new();
        let mut must_replace = Vec::new();
        for meta in operators {
            let identity = meta.identity.clone();
            if entries.iter().any(|e| e.meta.identity == identity) {
                let problem = "two operators have this identity: give them names";
                return Err(CheckpointError::refused(format!("operator `{identity}`"), problem));
            }
            let entry = match stored.remove(&identity) {
                None => {
                    must_replace.push((identity, false));
                    OperatorEntry::new(meta)
                }
                Some(mut entry) => {
                    let moved = (entry.meta.seed, &entry.meta.partitioner)
                        != (meta.seed, &meta.partitioner);
                    must_replace.push((identity, moved && !entry.is_empty()));
                    entry.meta = meta;
                    entry
                }
            };
            entries.push(entry);
        }
        if let Some(identity) = stored.keys().find(|s| !dropped.contains(s)) {
            return Err(CheckpointError::refused(
                format!("operator `{identity}`"),
                "its state is stored, but the program has no such operator: give the operator that \
                 took its place this name, or permit to drop its state",
            ));
        }
        let OpenCheckpoint { storage, kept, garbage, generation, .. } = self;
        let protocol = Protocol::new(entries, kept, policy.keep, zero, generation, garbage);
        Ok((Worker::new(storage, protocol, policy), must_replace))
    }
}

/// Reads a manifest and looks whether its files are there, as long as they should be.
fn read_whole(
    storage: &dyn Storage,
    name: &str,
    files: &BTreeMap<String, u64>,
) -> Result<Manifest, CheckpointError> {
    let manifest = Manifest::read(storage, name)?;
    for f in manifest.files() {
        let file = storage.path(&f.name);
        match files.get(&f.name) {
            Some(length) if *length == f.length => {}
            Some(length) => return Err(other_length(&file, *length, f.length)),
            None => return Err(CheckpointError::Missing { file, manifest: storage.path(name) }),
        }
    }
    Ok(manifest)
}

fn list(errors: &[CheckpointError]) -> String {
    errors.iter().map(|e| format!("; {e}")).collect()
}

/// State being read: the entries of some key groups, by group and key.
pub(crate) struct Entries {
    storage: Arc<dyn Storage>,
    /// Files for a range of groups, the base first.
    parts: VecDeque<(Vec<super::manifest::FileEntry>, u8, u8)>,
    merged: Option<MergeReader>,
}

impl Entries {
    /// The next entry: group, key and value.
    ///
    /// # Errors
    /// When a file can't be read or is damaged; the error names it and the place.
    #[allow(clippy::should_implement_trait)] // lends
    pub(crate) fn next(&mut self) -> Result<Option<(u8, &[u8], &[u8])>, CheckpointError> {
        // Looked up in two steps, since the borrow checker doesn't take a conditional return of what a
        // loop lends.
        if !self.find()? {
            return Ok(None);
        }
        let change = self.merged.as_ref().and_then(MergeReader::current);
        Ok(change.and_then(|c| Some((c.group, c.key, c.value?))))
    }

    /// Moves to the next entry that is no removed one.
    fn find(&mut self) -> Result<bool, CheckpointError> {
        loop {
            if let Some(merged) = &mut self.merged {
                while let Some(Change { value, .. }) = merged.next()? {
                    if value.is_some() {
                        return Ok(true);
                    }
                }
            }
            let Some((files, first, last)) = self.parts.pop_front() else {
                self.merged = None;
                return Ok(false);
            };
            self.merged = Some(MergeReader::open(&*self.storage, &files, first, last)?);
        }
    }
}

impl std::fmt::Debug for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entries").field("parts", &self.parts).finish_non_exhaustive()
    }
}
