//! Which received block belongs to which batch: a pure state machine.
//!
//! No clock, no I/O. A change is first proposed as an event, then (by the caller) logged, then applied:
//! whoever replays the logged events gets the same state, however often.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::block::BlockId;
use crate::{Error, Result, Time};

/// A stored block, as the driver knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReceivedBlockInfo {
    /// The receiver's stream.
    pub stream: u32,
    /// Its number within the stream.
    pub seq: u64,
    /// Number of records.
    pub records: u64,
    /// Bytes in memory (one copy).
    pub bytes: u64,
    /// Begin of the block interval in which it was cut.
    pub time: Time,
    /// What the receiver gave with it.
    pub metadata: Option<Vec<u8>>,
}

impl ReceivedBlockInfo {
    /// The block's name in the store.
    pub fn id(&self) -> BlockId {
        BlockId::Received { stream: self.stream, seq: self.seq }
    }
}

/// The blocks of a batch, by stream.
pub type StreamBlocks = BTreeMap<u32, Vec<ReceivedBlockInfo>>;

/// A change of the tracker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TrackerEvent {
    /// A block was stored.
    BlockAdded(ReceivedBlockInfo),
    /// A batch got its blocks.
    Allocated {
        /// The batch.
        time: Time,
        /// Its blocks.
        blocks: StreamBlocks,
    },
    /// Batches before this time are forgotten.
    CleanedUp {
        /// The first time that stays.
        before: Time,
    },
}

/// Queues of blocks that wait for a batch, and the batches that have theirs.
///
/// ```
/// use brooklet::Time;
/// use brooklet::receiver::ReceivedBlockTracker;
/// let mut tracker = ReceivedBlockTracker::default();
/// let event = tracker.propose_allocation(Time::from_millis(1_000)).unwrap();
/// // log the event here
/// tracker.apply(&event).unwrap();
/// assert!(tracker.propose_allocation(Time::from_millis(1_000)).is_none());
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReceivedBlockTracker {
    waiting: BTreeMap<u32, VecDeque<ReceivedBlockInfo>>,
    allocated: BTreeMap<Time, StreamBlocks>,
    last: Option<Time>,
    cleaned: Time,
    known: BTreeMap<u32, Ranges>,
}

impl ReceivedBlockTracker {
    /// The event that gives all waiting blocks of all streams to the batch `time`. `None`: that batch
    /// or a later one has been allocated.
    pub fn propose_allocation(&self, time: Time) -> Option<TrackerEvent> {
        let blocks = self.waiting.iter().map(|(s, q)| (*s, q.iter().cloned().collect())).collect();
        self.is_next(time).then_some(TrackerEvent::Allocated { time, blocks })
    }

    /// The event that gives no blocks to the batch `time`; they stay for a later one.
    pub fn propose_empty(&self, time: Time) -> Option<TrackerEvent> {
        let blocks = StreamBlocks::new();
        self.is_next(time).then_some(TrackerEvent::Allocated { time, blocks })
    }

    /// The event that forgets the batches before `before`. `None`: there are none.
    pub fn propose_clean_up(&self, before: Time) -> Option<TrackerEvent> {
        let any = self.allocated.first_key_value().is_some_and(|(t, _)| *t < before);
        (any && before > self.cleaned).then_some(TrackerEvent::CleanedUp { before })
    }

    fn is_next(&self, time: Time) -> bool {
        self.last.is_none_or(|last| time > last)
    }

    /// Makes the change. An event that was applied before changes nothing.
    ///
    /// # Errors
    /// [`Error::Bug`] for an allocation of a block that already belongs to another batch: the log isn't
    /// one that this tracker wrote. Nothing is changed then.
    pub fn apply(&mut self, event: &TrackerEvent) -> Result<()> {
        match event {
            TrackerEvent::BlockAdded(info) => {
                if self.known.entry(info.stream).or_default().insert(info.seq) {
                    self.waiting.entry(info.stream).or_default().push_back(info.clone());
                }
            }
            TrackerEvent::Allocated { time, blocks } if self.is_next(*time) => {
                self.check_free(*time, blocks)?;
                for (stream, infos) in blocks {
                    let known = self.known.entry(*stream).or_default();
                    for info in infos {
                        known.insert(info.seq);
                    }
                    if let Some(queue) = self.waiting.get_mut(stream) {
                        take_out(queue, infos);
                    }
                }
                self.waiting.retain(|_, q| !q.is_empty());
                self.last = Some(*time);
                self.allocated.insert(*time, blocks.clone());
            }
            TrackerEvent::Allocated { .. } => {}
            TrackerEvent::CleanedUp { before } if *before > self.cleaned => {
                self.allocated = self.allocated.split_off(before);
                self.cleaned = *before;
            }
            TrackerEvent::CleanedUp { .. } => {}
        }
        Ok(())
    }

    /// Every block of an allocation must wait, or be unheard of.
    fn check_free(&self, time: Time, blocks: &StreamBlocks) -> Result<()> {
        for (stream, infos) in blocks {
            let mut queue = self.waiting.get(stream).into_iter().flatten().peekable();
            let known = self.known.get(stream);
            for info in infos {
                let waits = queue.by_ref().any(|w| w.seq == info.seq);
                if !waits && known.is_some_and(|k| k.contains(info.seq)) {
                    return Err(Error::Bug(format!(
                        "block {} is allocated to batch {time} and to another one",
                        info.id()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether blocks wait for a batch.
    pub fn has_unallocated(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The blocks of a stream in a batch; none if the batch isn't known.
    pub fn blocks_of(&self, time: Time, stream: u32) -> &[ReceivedBlockInfo] {
        self.allocated.get(&time).and_then(|b| b.get(&stream)).map_or(&[], Vec::as_slice)
    }

    /// All blocks of a batch; `None` if it hasn't been allocated or is forgotten.
    pub fn batch(&self, time: Time) -> Option<&StreamBlocks> {
        self.allocated.get(&time)
    }

    /// The blocks of the batches before `before`.
    pub fn blocks_before(&self, before: Time) -> impl Iterator<Item = &ReceivedBlockInfo> {
        self.allocated.range(..before).flat_map(|(_, b)| b.values().flatten())
    }

    /// The last batch that was allocated.
    pub fn last_allocated(&self) -> Option<Time> {
        self.last
    }

    /// The first number that no block of the stream has had.
    pub fn next_seq(&self, stream: u32) -> u64 {
        self.known.get(&stream).map_or(0, Ranges::end)
    }
}

/// Takes the blocks out of the queue, which has them in the same order, mostly at its front.
fn take_out(queue: &mut VecDeque<ReceivedBlockInfo>, infos: &[ReceivedBlockInfo]) {
    for info in infos {
        if queue.front().is_some_and(|w| w.seq == info.seq) {
            queue.pop_front();
        } else if let Some(at) = queue.iter().position(|w| w.seq == info.seq) {
            queue.remove(at);
        }
    }
}

/// A set of numbers with few gaps: begins and ends of its ranges.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn contains(&self, n: u64) -> bool {
        self.0.range(..=n).next_back().is_some_and(|(_, end)| n < *end)
    }

    /// `false`: it was in.
    fn insert(&mut self, n: u64) -> bool {
        if self.contains(n) {
            return false;
        }
        let end = self.0.remove(&(n + 1)).unwrap_or(n + 1);
        match self.0.range_mut(..=n).next_back() {
            Some((_, last)) if *last == n => *last = end,
            _ => drop(self.0.insert(n, end)),
        }
        true
    }

    fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, end)| *end)
    }
}
