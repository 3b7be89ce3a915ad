//! Memory that operators keep from batch to batch, for speed only.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde::de::DeserializeOwned;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::combine::{Entry, Spare};
use super::pipe::Flow;
use crate::block::{Held, Segment, SegmentReader, SpillWriter, Spills};
use crate::conf::defaults;
use crate::engine::{TaskCx, TaskError};

/// What a shuffle keeps: emptied vectors, and how many keys the last batch had.
pub(crate) struct Memory<K, V> {
    pub(crate) entries: Arc<Spare<Entry<K, V>>>,
    pub(crate) index: Spare<u64>,
    keys: AtomicUsize,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Memory {
            entries: Arc::new(Spare::new(defaults::KEPT_MEMORY_PER_OPERATOR)),
            index: Spare::new(defaults::KEPT_MEMORY_PER_OPERATOR),
            keys: AtomicUsize::new(0),
        }
    }
}

impl<K, V> Memory<K, V> {
    /// Keys to expect in a map task.
    pub(crate) fn keys(&self) -> usize {
        self.keys.load(Relaxed)
    }

    /// A map task had `n` keys.
    pub(crate) fn saw(&self, n: usize) {
        self.keys.store(n + n / 8, Relaxed);
    }

    /// A batch is over.
    pub(crate) fn tick(&self) {
        self.entries.tick();
        self.index.tick();
    }
}

/// Records that a task has left: a vector that goes back to its operator's [`Spare`] when the last reader
/// drops it. If memory was short, the first records or all of them are on disk.
///
/// Whether the last ones are in memory depends on what else is kept, so nothing that readers see may depend
/// on it: another attempt must find the same records in the same order and parts.
pub(crate) struct Kept<T> {
    v: Vec<T>,
    spilled: Vec<Segment>,
    /// How many of `spilled` the task wrote while it was filling its table.
    early: usize,
    home: Option<Arc<Spare<T>>>,
    /// What `v` counts for.
    _held: Option<Arc<Held>>,
}

impl<T> Kept<T> {
    pub(crate) fn new(v: Vec<T>, home: Option<&Arc<Spare<T>>>) -> Kept<T> {
        Kept { v, spilled: Vec::new(), early: 0, home: home.cloned(), _held: None }
    }

    /// The same after the records of `spilled`.
    pub(crate) fn after(mut self, spilled: Vec<Segment>) -> Kept<T> {
        self.early = spilled.len();
        self.spilled = spilled;
        self
    }

    /// The same, counted as `held`; without it the records go to disk.
    pub(crate) fn held(
        mut self,
        held: Option<&Arc<Held>>,
        out: &mut Option<SpillWriter>,
        spills: &Arc<Spills>,
    ) -> Result<Kept<T>, TaskError>
    where
        T: Serialize,
    {
        self._held = held.cloned();
        if held.is_none() && !self.v.is_empty() {
            let out = match out {
                Some(out) => out,
                None => out.insert(SpillWriter::new(spills)?),
            };
            out.push_all(&self.v)?;
            self.spilled.push(out.segment()?);
            let written = std::mem::take(&mut self.v);
            if let Some(home) = &self.home {
                home.give(written);
            }
        }
        Ok(self)
    }

    /// The number of records.
    pub(crate) fn len(&self) -> usize {
        self.v.len() + self.spilled.iter().map(|s| s.records() as usize).sum::<usize>()
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.spilled.is_empty()
    }

    /// Whether a task's table left all of this at once, so that no key is there twice.
    pub(crate) fn is_one_table(&self) -> bool {
        self.early == 0
    }

    /// All records, if none is on disk.
    pub(crate) fn records(&self) -> Option<&[T]> {
        self.is_in_memory().then_some(&self.v)
    }

    /// All records; those on disk are read.
    pub(crate) fn in_memory(&self, cx: &TaskCx<'_>) -> Result<Cow<'_, [T]>, TaskError>
    where
        T: Clone + DeserializeOwned,
    {
        if self.is_in_memory() {
            return Ok(Cow::Borrowed(&self.v));
        }
        let (mut all, mut chunks) = (Vec::with_capacity(self.len()), self.chunks(usize::MAX));
        while let Some(chunk) = chunks.next()? {
            all.extend_from_slice(chunk);
            cx.check()?;
        }
        Ok(Cow::Owned(all))
    }

    /// All records in order, in chunks of at most `len` records, or less from disk.
    pub(crate) fn chunks(&self, len: usize) -> Chunks<'_, T> {
        Chunks { spilled: &self.spilled, reader: None, frame: Vec::new(), rest: &self.v, len }
    }
}

/// What becomes of the error when records can't be read.
pub(crate) type Lost<'a> = &'a dyn Fn(TaskError) -> TaskError;

/// Reads [`Kept`] records; see [`Chunks::next`].
pub(crate) struct Chunks<'a, T> {
    spilled: &'a [Segment],
    reader: Option<SegmentReader<T>>,
    frame: Vec<T>,
    rest: &'a [T],
    len: usize,
}

impl<T: DeserializeOwned> Chunks<'_, T> {
    /// The next records: a frame from disk, or a chunk of those in memory.
    pub(crate) fn next(&mut self) -> Result<Option<&[T]>, TaskError> {
        if self.reader.is_some() || !self.spilled.is_empty() {
            self.frame.clear();
            while self.frame.is_empty() {
                let Some(reader) = &mut self.reader else {
                    let Some((first, others)) = self.spilled.split_first() else { break };
                    self.spilled = others;
                    self.reader = Some(SegmentReader::new(first));
                    continue;
                };
                if !reader.next_frame(&mut self.frame)? {
                    self.reader = None;
                }
            }
            if !self.frame.is_empty() {
                return Ok(Some(&self.frame));
            }
        }
        let (chunk, rest) = self.rest.split_at(self.rest.len().min(self.len));
        self.rest = rest;
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

impl<T: DeserializeOwned> Kept<T> {
    /// [`Pipe::fold`](super::Pipe::fold) over the records.
    pub(crate) fn fold<U, A>(
        &self,
        cx: &TaskCx<'_>,
        lost: Lost<'_>,
        init: A,
        get: impl Fn(&T) -> U,
        mut f: impl FnMut(A, U) -> A,
    ) -> Result<A, TaskError> {
        let (mut acc, mut chunks) = (init, self.chunks(defaults::CHUNK_RECORDS));
        while let Some(chunk) = chunks.next().map_err(lost)? {
            acc = chunk.iter().map(&get).fold(acc, &mut f);
            cx.check()?;
        }
        Ok(acc)
    }

    /// [`Pipe::try_each`](super::Pipe::try_each) over the records.
    pub(crate) fn try_each<U>(
        &self,
        cx: &TaskCx<'_>,
        lost: Lost<'_>,
        get: impl Fn(&T) -> U,
        mut f: impl FnMut(U) -> Flow,
    ) -> Result<Flow, TaskError> {
        let mut chunks = self.chunks(defaults::CHUNK_RECORDS);
        while let Some(chunk) = chunks.next().map_err(lost)? {
            let r = chunk.iter().map(&get).try_for_each(&mut f);
            cx.check()?;
            if r.is_break() {
                return Ok(r);
            }
        }
        Ok(Flow::Continue(()))
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.give(std::mem::take(&mut self.v));
        }
    }
}

impl<T: Clone> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Kept {
            v: self.v.clone(),
            spilled: self.spilled.clone(),
            early: self.early,
            home: self.home.clone(),
            _held: self._held.clone(),
        }
    }
}

/// As bytes: whether there are several parts, then all records.
impl<T: Serialize + DeserializeOwned> Serialize for Kept<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let all = (self.early > 0, All(self));
        all.serialize(s)
    }
}

struct All<'a, T>(&'a Kept<T>);

impl<T: Serialize + DeserializeOwned> Serialize for All<'_, T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut seq = s.serialize_seq(Some(self.0.len()))?;
        let mut chunks = self.0.chunks(defaults::CHUNK_RECORDS);
        while let Some(chunk) = chunks.next().map_err(serde::ser::Error::custom)? {
            chunk.iter().try_for_each(|x| seq.serialize_element(x))?;
        }
        seq.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Kept<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let (several, v) = <(bool, Vec<T>)>::deserialize(d)?;
        let mut kept = Kept::new(v, None);
        kept.early = usize::from(several);
        Ok(kept)
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({})", self.len())
    }
}

/// `fold` and `try_each` of a source that has partition `part` as merged [`Kept`] records, of the stage that
/// its method `merged` names.
macro_rules! kept_source {
    ($out:ty, |$s:ident, $cx:ident, $part:ident| $kept:expr, $get:expr) => {
        #[inline]
        fn fold<A>(
            &$s,
            $cx: &$crate::engine::TaskCx<'_>,
            $part: usize,
            init: A,
            f: impl FnMut(A, $out) -> A,
        ) -> Result<A, $crate::engine::TaskError> {
            let lost = |e| $cx.lost_merged($s.merged(), $part, e);
            $kept.fold($cx, &lost, init, $get, f)
        }
        #[inline]
        fn try_each(
            &$s,
            $cx: &$crate::engine::TaskCx<'_>,
            $part: usize,
            f: impl FnMut($out) -> $crate::rdd::pipe::Flow,
        ) -> Result<$crate::rdd::pipe::Flow, $crate::engine::TaskError> {
            let lost = |e| $cx.lost_merged($s.merged(), $part, e);
            $kept.try_each($cx, &lost, $get, f)
        }
    };
}
pub(crate) use kept_source;
