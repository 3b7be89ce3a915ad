//! A queue as a source: for tests, examples, and for programs that produce their own batches.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Input, SliceInfo};
use crate::Time;
use crate::data::Wire;
use crate::error::BoxError;
use crate::rdd::Erased;
use crate::rdd::source::{Parts, split_even};
use crate::rdd::text::TextParts;
use crate::rdd::union::UnionPipe;
use crate::sync::{LockExt, Mutex};
use crate::text::TextBlock;

/// How a queue is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// One dataset a batch (the default), or all that are queued.
    pub one_at_a_time: bool,
    /// Partitions of a pushed dataset. Default: 2.
    pub partitions: usize,
}

impl Default for QueueOptions {
    fn default() -> Self {
        QueueOptions { one_at_a_time: true, partitions: 2 }
    }
}

/// A dataset: partitions that share their records with whoever reads them.
type Dataset<T> = Vec<Arc<Vec<T>>>;

/// The end of a queue stream that is pushed to. Cheap to clone.
///
/// Each push is one dataset; a batch takes one (or all, see [`QueueOptions`]), an empty queue gives an
/// empty batch. What is queued lives in this process only, so the stream can't be recovered after a
/// restart.
pub struct Queue<T> {
    waiting: Arc<Mutex<VecDeque<Dataset<T>>>>,
    partitions: usize,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue { waiting: self.waiting.clone(), partitions: self.partitions }
    }
}

impl<T: Wire> Queue<T> {
    /// Queues the records of one batch.
    pub fn push(&self, records: impl IntoIterator<Item = T>) {
        let parts = split_even(records.into_iter().collect(), self.partitions);
        self.waiting.get().push_back(parts);
    }

    /// Queues one batch with these partitions.
    pub fn push_partitions(&self, partitions: impl IntoIterator<Item = Vec<T>>) {
        self.waiting.get().push_back(partitions.into_iter().map(Arc::new).collect());
    }

    /// Batches that wait.
    pub fn len(&self) -> usize {
        self.waiting.get().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({})", self.waiting.get().len())
    }
}

/// The input behind `queue_stream`.
pub struct QueueInput<T> {
    queue: Queue<T>,
    one_at_a_time: bool,
}

impl<T: Wire> QueueInput<T> {
    /// A queue and the input that reads it.
    pub fn new(options: QueueOptions) -> (Queue<T>, QueueInput<T>) {
        let queue = Queue { waiting: Arc::default(), partitions: options.partitions.max(1) };
        (queue.clone(), QueueInput { queue, one_at_a_time: options.one_at_a_time })
    }
}

impl<T: Wire> Input for QueueInput<T> {
    type Item = T;
    type Slice = Vec<Dataset<T>>;
    type Pipe = UnionPipe<T>;

    fn allocate(&mut self, _: Time, _: Option<u64>) -> Result<Option<Self::Slice>, BoxError> {
        let mut waiting = self.queue.waiting.get();
        let n = if self.one_at_a_time { waiting.len().min(1) } else { waiting.len() };
        Ok(Some(waiting.drain(..n).collect()))
    }

    fn read(&self, slice: &Arc<Self::Slice>) -> Result<UnionPipe<T>, BoxError> {
        let parts = |d: &Dataset<T>| Erased::new(Arc::new(Parts(d.clone())));
        Ok(UnionPipe(slice.iter().map(parts).collect()))
    }

    fn input_info(&self, slice: &Self::Slice) -> SliceInfo {
        SliceInfo::records(slice.iter().flatten().map(|p| p.len() as u64).sum())
    }

    fn recoverable(&self) -> bool {
        false
    }

    fn has_unallocated(&self) -> bool {
        !self.queue.is_empty()
    }
}

impl<T> fmt::Debug for QueueInput<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.queue.fmt(f)
    }
}

/// The end of a text queue that is pushed to: the blocks that sockets and files produce. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TextQueue(Arc<Mutex<VecDeque<TextSlice>>>);

impl TextQueue {
    /// Queues one batch of one block: the lines of `text`.
    pub fn push(&self, text: &str) {
        self.push_blocks([TextBlock::from_str(text)]);
    }

    /// Queues one batch of these blocks; each is a partition.
    pub fn push_blocks(&self, blocks: impl IntoIterator<Item = Arc<TextBlock>>) {
        // Lines are counted here, not while a batch is made.
        let slice = TextSlice::new(blocks.into_iter().collect());
        self.0.get().push_back(slice);
    }

    /// Batches that wait.
    pub fn len(&self) -> usize {
        self.0.get().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The blocks of one batch, with their lines counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextSlice {
    blocks: Vec<Arc<TextBlock>>,
    lines: u64,
}

impl TextSlice {
    fn new(blocks: Vec<Arc<TextBlock>>) -> TextSlice {
        let lines = blocks.iter().map(|b| b.line_count() as u64).sum();
        TextSlice { blocks, lines }
    }
}

impl Serialize for TextSlice {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.blocks.iter().map(|b| b.as_str()))
    }
}

impl<'de> Deserialize<'de> for TextSlice {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(d)?;
        Ok(TextSlice::new(texts.into_iter().map(TextBlock::from_string).collect()))
    }
}

/// The input behind `text_queue_stream`.
pub(crate) struct TextQueueInput(pub(crate) TextQueue);

impl Input for TextQueueInput {
    type Item = crate::Str;
    type Slice = TextSlice;
    type Pipe = TextParts;

    fn allocate(&mut self, _: Time, _: Option<u64>) -> Result<Option<TextSlice>, BoxError> {
        Ok(Some(self.0.0.get().pop_front().unwrap_or_default()))
    }

    fn read(&self, slice: &Arc<TextSlice>) -> Result<TextParts, BoxError> {
        Ok(TextParts(slice.blocks.clone()))
    }

    fn input_info(&self, slice: &TextSlice) -> SliceInfo {
        SliceInfo::records(slice.lines)
    }

    fn recoverable(&self) -> bool {
        false
    }

    fn has_unallocated(&self) -> bool {
        !self.0.is_empty()
    }
}
