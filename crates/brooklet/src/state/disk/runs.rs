//! Keyed states that every batch goes over, as a file of records for each version.
//!
//! A batch reads the file of the version before it, record by record, and writes its own; nothing has to be in
//! memory but the records of the batch. Undoing a batch drops its file, and a file goes with the last version
//! that is made of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::DiskState;
use super::folder::Folder;
use super::history::History;
use crate::Time;
use crate::block::{Segment, SegmentReader, SpillWriter};
use crate::data::{Key, Wire};
use crate::engine::{Site, TaskError};
use crate::metrics::{HeavyKey, StateMetrics};
use crate::state::limit::Bounded;
use crate::state::store::Versions;
use crate::state::watch::{Heaviest, Tally, Watched};
use crate::sync::{LockExt, Mutex, MutexGuard};

/// Hash, key, state, and the batch that had values for it last.
type Record<K, S> = (u32, K, S, u64);

/// One version of a partition.
#[derive(Clone, Default)]
struct Run {
    /// None when there are no keys.
    file: Option<(Segment, Arc<Folder>)>,
    live: usize,
    tally: Tally,
}

impl Run {
    fn read<K: Key, S: Wire>(&self) -> Reader<K, S> {
        Reader { file: self.file.as_ref().map(|(s, _)| SegmentReader::new(s)), chunk: Vec::new() }
    }
}

/// Reads a version chunk by chunk.
pub(crate) struct Reader<K, S> {
    file: Option<SegmentReader<Record<K, S>>>,
    /// What was read, last first.
    chunk: Vec<Record<K, S>>,
}

impl<K: Key, S: Wire> Reader<K, S> {
    /// The next records, if there are any.
    fn frame(&mut self) -> Result<Option<Vec<Record<K, S>>>, TaskError> {
        let mut records = Vec::new();
        let more = self.file.as_mut().map_or(Ok(false), |f| f.next_frame(&mut records))?;
        Ok(more.then_some(records))
    }

    fn next(&mut self) -> Result<Option<Record<K, S>>, TaskError> {
        if self.chunk.is_empty() {
            self.chunk = self.frame()?.unwrap_or_default();
            self.chunk.reverse();
        }
        Ok(self.chunk.pop())
    }
}

struct Partition {
    history: History<Run>,
    now: Run,
}

/// All partitions of one operator.
pub(crate) struct RunTables<K, S> {
    parts: Vec<Mutex<Partition>>,
    disk: Arc<DiskState>,
    site: Site,
    limit: Option<Bounded>,
    /// Versions up to this time are forgotten.
    forgotten: AtomicU64,
    /// Keys of each partition, as of its last batch.
    keys: Vec<AtomicUsize>,
    undone: AtomicU64,
    t: std::marker::PhantomData<fn() -> (K, S)>,
}

impl<K: Key, S: Wire> RunTables<K, S> {
    pub(crate) fn new(
        partitions: usize,
        limit: Option<Bounded>,
        site: Site,
        disk: Arc<DiskState>,
    ) -> Self {
        let part = || Partition { history: History::default(), now: Run::default() };
        RunTables {
            parts: (0..partitions).map(|_| Mutex::new(part())).collect(),
            disk,
            site,
            limit,
            forgotten: AtomicU64::new(0),
            keys: (0..partitions).map(|_| AtomicUsize::new(0)).collect(),
            undone: AtomicU64::new(0),
            t: std::marker::PhantomData,
        }
    }

    /// Versions up to `up_to` won't be read any more. Carried out with the next batch.
    pub(crate) fn forget(&self, up_to: Time) {
        self.forgotten.fetch_max(up_to.millis(), Relaxed);
    }

    /// The right to change partition `part` from version `base` to `t`; see
    /// [`KeyedStates::lease`](crate::state::KeyedStates::lease).
    pub(crate) fn lease(
        &self,
        part: usize,
        base: Time,
        t: Time,
    ) -> Result<RunLease<'_, K, S>, TaskError> {
        let mut p = self.parts[part].get();
        if p.history.version != base {
            self.undone.fetch_add(1, Relaxed);
            p.undo(base);
        }
        if p.history.version != base {
            return Err(p.history.gone(self.site, part, base));
        }
        p.history.forget(Time::from_millis(self.forgotten.load(Relaxed)));
        let old = p.now.clone();
        let now = Written::new(&self.disk, old.tally)?;
        p.history.begin(t, old.clone());
        Ok(RunLease { tables: self, part, p, base, t, old, now, committed: false })
    }
}

impl Partition {
    fn undo(&mut self, base: Time) {
        if let Some(before) = self.history.undo(base) {
            self.now = before;
        }
    }
}

/// A file that is being written.
struct Written {
    writer: SpillWriter,
    folder: Arc<Folder>,
    live: usize,
    tally: Tally,
    /// How much the limit counts for the keys of each last batch.
    by_time: BTreeMap<u64, u64>,
    /// All of it, once it is complete.
    done: Option<Segment>,
}

impl Written {
    fn new(disk: &DiskState, tally: Tally) -> Result<Written, TaskError> {
        let (path, folder) = disk.new_file()?;
        let writer = SpillWriter::at(&disk.spills, path)?;
        let tally = Tally { bytes: 0, ..tally };
        Ok(Written { writer, folder, live: 0, tally, by_time: BTreeMap::new(), done: None })
    }

    fn push<K: Key, S: Wire>(
        &mut self,
        limit: Option<Bounded>,
        hash: u32,
        key: &K,
        state: &S,
        touched: u64,
    ) -> Result<(), TaskError> {
        debug_assert!(self.done.is_none(), "the file is complete");
        self.live += 1;
        if let Some(bounded) = limit {
            let n = bounded.count(key, state);
            self.tally.bytes += if bounded.in_bytes() { n } else { 0 };
            if bounded.evicts() {
                *self.by_time.entry(touched).or_default() += n;
            }
        }
        self.writer.push(&(hash, key, state, touched))
    }

    fn finish(&mut self) -> Result<Run, TaskError> {
        let segment = match &self.done {
            Some(segment) => segment.clone(),
            None => self.done.insert(self.writer.segment()?).clone(),
        };
        let file = (self.live > 0).then(|| (segment, self.folder.clone()));
        Ok(Run { file, live: self.live, tally: self.tally })
    }
}

/// The right to change one partition for one batch.
pub(crate) struct RunLease<'a, K, S> {
    tables: &'a RunTables<K, S>,
    part: usize,
    p: MutexGuard<'a, Partition>,
    base: Time,
    t: Time,
    old: Run,
    now: Written,
    committed: bool,
}

impl<K: Key, S: Wire> RunLease<'_, K, S> {
    /// Goes over all keys: `f` gets each with its hash and state, and returns the new state, if the key stays,
    /// and whether it had values. Comes before [`RunLease::set`]. `each_chunk` is called now and then.
    pub(crate) fn pass(
        &mut self,
        mut f: impl FnMut(u32, &K, S) -> (Option<S>, bool),
        each_chunk: impl Fn() -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        let mut all = self.old.read::<K, S>();
        while let Some(records) = all.frame()? {
            for (hash, key, state, touched) in records {
                if let (Some(state), had) = f(hash, &key, state) {
                    let touched = if had { self.t.millis() } else { touched };
                    self.now.push(self.tables.limit, hash, &key, &state, touched)?;
                }
            }
            each_chunk()?;
        }
        Ok(())
    }

    /// A key that wasn't there.
    pub(crate) fn set(&mut self, hash: u32, key: &K, state: &S) -> Result<(), TaskError> {
        self.now.push(self.tables.limit, hash, key, state, self.t.millis())
    }

    /// Brings the state within its limit, if it has one.
    pub(crate) fn fit(&mut self) -> Result<(), TaskError> {
        let Some(bounded) = self.tables.limit else { return Ok(()) };
        let parts = self.tables.parts.len();
        let share = bounded.share(self.part, parts);
        let mut has = self.now.tally.has(&bounded, self.now.live);
        if has <= share {
            return Ok(());
        }
        if !bounded.evicts() {
            return Err(bounded.full(self.tables.site, (self.part, parts), has));
        }
        // Whole batches go, and of the next one what is still too much, in the order of the file.
        let mut until = 0;
        for (touched, n) in &self.now.by_time {
            until = *touched;
            if has - n <= share {
                break;
            }
            has -= n;
        }
        let mut all = self.now.finish()?.read::<K, S>();
        let mut kept = Written::new(&self.tables.disk, self.now.tally)?;
        while let Some((hash, key, state, touched)) = all.next()? {
            if touched < until || touched == until && has > share {
                if touched == until {
                    has -= bounded.count(&key, &state);
                }
                kept.tally.evicted += 1;
                continue;
            }
            kept.push(self.tables.limit, hash, &key, &state, touched)?;
        }
        self.now = kept;
        Ok(())
    }

    /// What `get` makes of each key and state, as they are now: after all changes.
    pub(crate) fn all<U>(&mut self, get: impl Fn(&K, &S) -> U) -> Result<Vec<U>, TaskError> {
        let mut read = self.now.finish()?.read();
        let mut all = Vec::with_capacity(self.now.live);
        while let Some((_, key, state, _)) = read.next()? {
            all.push(get(&key, &state));
        }
        Ok(all)
    }

    /// The batch is done in this partition.
    pub(crate) fn commit(mut self) -> Result<(), TaskError> {
        self.p.now = self.now.finish()?;
        self.committed = true;
        self.tables.keys[self.part].store(self.p.now.live, Relaxed);
        Ok(())
    }
}

impl<K, S> Drop for RunLease<'_, K, S> {
    fn drop(&mut self) {
        if !self.committed {
            let base = self.base;
            self.tables.undone.fetch_add(1, Relaxed);
            self.p.undo(base);
        }
    }
}

impl<K: Key, S: Wire> Versions for RunTables<K, S> {
    type Key = K;
    type State = S;
    type At = Reader<K, S>;

    fn partitions(&self) -> usize {
        self.parts.len()
    }

    fn keys(&self) -> usize {
        self.keys.iter().map(|n| n.load(Relaxed)).sum()
    }

    fn open(&self, part: usize, t: Time) -> Result<Reader<K, S>, TaskError> {
        let p = self.parts[part].get();
        if p.history.version == t {
            return Ok(p.now.read());
        }
        let forgotten = t.millis() <= self.forgotten.load(Relaxed);
        match p.history.before(t) {
            Some(run) if !forgotten => Ok(run.read()),
            _ => Err(p.history.gone(self.site, part, t)),
        }
    }

    fn next<U>(
        &self,
        at: &mut Reader<K, S>,
        (out, n): (&mut Vec<U>, usize),
        get: impl Fn(&K, &S) -> Option<U>,
    ) -> Result<bool, TaskError> {
        while out.len() < n {
            let Some((_, key, state, _)) = at.next()? else { return Ok(false) };
            out.extend(get(&key, &state));
        }
        Ok(true)
    }
}

impl<K: Key, S: Wire> Watched for RunTables<K, S> {
    fn forget(&self, up_to: Time) {
        RunTables::forget(self, up_to);
    }

    fn is_on_disk(&self) -> bool {
        true
    }

    fn metrics(&self) -> StateMetrics {
        let mut all = StateMetrics {
            partitions: self.parts.len(),
            keys: Versions::keys(self) as u64,
            undone: self.undone.load(Relaxed),
            ..StateMetrics::default()
        };
        for p in &self.parts {
            let p = p.get();
            all.disk_bytes += p.now.file.as_ref().map_or(0, |(s, _)| s.bytes());
            all.evicted += p.now.tally.evicted;
        }
        all
    }

    fn heaviest(&self, n: usize) -> Result<Vec<HeavyKey>, TaskError> {
        let heaviest = RefCell::new(Heaviest::new(n));
        for p in &self.parts {
            // Batches may go on: the file stays while it is read.
            let (run, mut read) = {
                let p = p.get();
                (p.now.clone(), p.now.read::<K, S>())
            };
            while let Some((_, key, state, _)) = read.next()? {
                heaviest.borrow_mut().offer(&key, &state);
            }
            drop(run);
        }
        Ok(heaviest.into_inner().into_keys())
    }
}

impl<K, S> fmt::Debug for RunTables<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunTables({} partitions)", self.parts.len())
    }
}
