//! The input trait: choosing a batch's input apart from reading it.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::data::{Data, Wire};
use crate::dstream::{DynNode, Graph, GraphRef, InputOperator, Memo, Operator, user_result};
use crate::engine::{Payload, Site, TaskError};
use crate::error::BoxError;
use crate::rdd::source::Parts;
use crate::rdd::{Erased, Pipe};
use crate::scheduler::StreamInputInfo;
use crate::sync::{LockExt, Mutex};
use crate::time::ByTime;
use crate::{Error, Result, Time};

/// What an input learns at the start.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct InputStart {
    /// One interval before the first batch.
    pub zero_time: Time,
    /// The batch interval.
    pub batch_interval: Duration,
}

/// What is known of a slice without reading it.
#[derive(Clone, Debug, Default)]
pub struct SliceInfo {
    /// Records, if known.
    pub records: u64,
    /// What a person may want to see of it, such as file names or offsets. The entry `Description` is
    /// shown first.
    pub metadata: BTreeMap<String, String>,
}

impl SliceInfo {
    /// Of `n` records, without metadata.
    pub fn records(n: u64) -> SliceInfo {
        SliceInfo { records: n, metadata: BTreeMap::new() }
    }
}

/// A source without a receiver. Choosing what belongs to a batch ([`Input::allocate`], the only part that
/// may depend on the outside) is apart from reading it ([`Input::read`]): the same slice always gives the
/// same records in the same partitions and order, so a failed or replayed batch reads the same again.
///
/// ```
/// use brooklet::prelude::*;
/// use brooklet::{Input, Partitions, SliceInfo};
/// use std::ops::Range;
///
/// /// Ten numbers a batch.
/// struct Numbers { next: u64 }
///
/// impl Input for Numbers {
///     type Item = u64;
///     type Slice = Range<u64>;
///     type Pipe = Partitions<u64>;
///
///     fn allocate(&mut self, _: Time, limit: Option<u64>) -> Result<Option<Range<u64>>, BoxError> {
///         let n = limit.unwrap_or(10).min(10);
///         self.next += n;
///         Ok(Some(self.next - n..self.next))
///     }
///     fn read(&self, slice: &std::sync::Arc<Range<u64>>) -> Result<Partitions<u64>, BoxError> {
///         let slice = slice.clone();
///         Ok(Partitions::from_fn(2, move |part| (*slice).clone().skip(part).step_by(2)))
///     }
///     fn input_info(&self, slice: &Range<u64>) -> SliceInfo {
///         SliceInfo::records(slice.end - slice.start)
///     }
/// }
///
/// use brooklet::testing::Driver;
/// let seen = brooklet::testing::Collector::new();
/// let s = seen.clone();
/// let mut driver = Driver::new(move |ssc| {
///     let s = s.clone();
///     ssc.input_stream(Numbers { next: 0 }).count().foreach_rdd(move |rdd, t| s.take(rdd, t));
///     Ok(())
/// })?;
/// driver.batches(2)?;
/// assert_eq!(seen.batches(), [vec![10], vec![10]]);
/// # Ok::<(), brooklet::Error>(())
/// ```
pub trait Input: Send + 'static {
    /// The records.
    type Item: Data;
    /// What names a batch's input. Goes to other processes and, with a checkpoint directory, to the log.
    type Slice: Wire;
    /// What reads it; [`Partitions`](crate::Partitions) is the simplest.
    type Pipe: Pipe<Out = Self::Item>;

    /// Before the first batch.
    ///
    /// # Errors
    /// End the start of the context.
    fn start(&mut self, _: InputStart) -> Result<(), BoxError> {
        Ok(())
    }

    /// Chooses the input of batch `t`; called once for each batch time, in order, on the thread that waits
    /// for the ticks: it must not wait for data. `limit`: records to take at most, when back pressure sets
    /// one. `None` says that the stream has no RDD at `t`, which fails a `union` or `transform` of it; an
    /// empty slice is an empty RDD.
    ///
    /// # Errors
    /// Fail the batch, under the failure policy.
    fn allocate(&mut self, t: Time, limit: Option<u64>) -> Result<Option<Self::Slice>, BoxError>;

    /// The records of a slice. Must not depend on anything but the slice: it may be called in another
    /// process, and again after a failure.
    ///
    /// # Errors
    /// Fail the batch, under the failure policy.
    fn read(&self, slice: &Arc<Self::Slice>) -> Result<Self::Pipe, BoxError>;

    /// What is known of a slice, for listeners and counters.
    fn input_info(&self, _: &Self::Slice) -> SliceInfo {
        SliceInfo::default()
    }

    /// The batch of this slice is over, well or not: what is known of it now, such as records that were
    /// counted while they were read. It takes the place of [`Input::input_info`]'s before listeners hear that
    /// the batch is completed; `None` changes nothing.
    fn batch_over(&mut self, _: &Self::Slice) -> Option<SliceInfo> {
        None
    }

    /// For recovery, which comes with a later version: a slice chosen by an earlier run is to be read again;
    /// called in batch order before the first [`Input::allocate`] of this run.
    fn restore(&mut self, _: Time, _: &Self::Slice) {}

    /// Batches up to `up_to` are over; what they read may go.
    fn release(&mut self, _: Time) {}

    /// Whether a slice can be read after a restart of the process; asked by recovery, which comes with a
    /// later version.
    fn recoverable(&self) -> bool {
        true
    }

    /// Whether something waits that belongs to no batch yet: a graceful stop makes batches until not.
    fn has_unallocated(&self) -> bool {
        false
    }

    /// What the input counts beside records, by name; shown by
    /// [`StreamingContext::counters`](crate::StreamingContext::counters). Asked at any time.
    fn counters(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }

    /// After the last batch.
    fn stop(&mut self) {}
}

/// What a batch has of an input.
#[derive(Clone, Serialize, Deserialize)]
enum Slot<S> {
    /// No RDD at this time.
    Nothing,
    /// An RDD without records (queue policy `merge`).
    Empty,
    Slice(S),
}

/// An [`Input`] in the graph.
pub(crate) struct InputOp<I: Input> {
    stream_id: usize,
    site: Site,
    input: Mutex<I>,
    slots: Mutex<ByTime<Slot<Arc<I::Slice>>>>,
    memo: Memo<I::Item>,
    t: PhantomData<fn() -> I>,
}

impl<I: Input> InputOp<I> {
    pub(crate) fn new(stream_id: usize, site: Site, input: I) -> InputOp<I> {
        InputOp {
            stream_id,
            site,
            input: Mutex::new(input),
            slots: Mutex::default(),
            memo: Memo::default(),
            t: PhantomData,
        }
    }

    /// Runs a piece of the user's input: its errors and panics are reported with the place.
    fn user<R>(&self, time: Time, f: impl FnOnce(&mut I) -> Result<R, BoxError>) -> Result<R> {
        let mut input = self.input.get();
        let done = catch_unwind(AssertUnwindSafe(|| f(&mut input)));
        user_result(self.site, time, done)
    }
}

impl<I: Input> DynNode<I::Item> for InputOp<I> {
    fn dyn_at(&self, _: &GraphRef<'_>, t: Time) -> Result<Option<Erased<I::Item>>> {
        self.memo.get(t, || {
            let slot = self.slots.get().get(t).cloned();
            match slot {
                None => Err(Error::Bug(format!("{} has no slice at batch {t}", self.site))),
                Some(Slot::Nothing) => Ok(None),
                Some(Slot::Empty) => Ok(Some(Erased::new(Arc::new(Parts(Vec::new()))))),
                Some(Slot::Slice(s)) => {
                    let pipe = self.user(t, |input| input.read(&s))?;
                    Ok(Some(Erased::new(Arc::new(pipe))))
                }
            }
        })
    }
    fn dyn_slide(&self, batch: Duration) -> Duration {
        batch
    }
}

impl<I: Input> Operator for InputOp<I> {
    fn lineage(&self, graph: &Graph, t: Time) -> Result<()> {
        self.dyn_at(&GraphRef(graph), t).map(drop)
    }

    fn forget(&self, up_to: Time) {
        self.memo.forget(up_to);
        let gone = self.slots.get().take_up_to(up_to);
        drop(gone);
        let released = self.user(up_to, |input| {
            input.release(up_to);
            Ok(())
        });
        if let Err(e) = released {
            tracing::error!("releasing the input up to {up_to}: {e}");
        }
    }
}

impl<I: Input> InputOperator for InputOp<I> {
    fn start(&self, graph: &Graph) -> Result<()> {
        let zero_time = graph.zero().unwrap_or_default();
        let start = InputStart { zero_time, batch_interval: graph.batch };
        self.user(zero_time, |input| input.start(start))
    }

    fn stop_receiving(&self, _: bool) {}

    fn stop(&self) {
        self.input.get().stop();
    }

    fn allocate(&self, _: &Graph, t: Time, empty: bool) -> Result<Option<StreamInputInfo>> {
        let mut info = StreamInputInfo::new(self.stream_id, 0);
        let slot = if empty {
            Slot::Empty
        } else {
            let chosen = self.user(t, |input| {
                let slice = input.allocate(t, None)?;
                Ok(slice.map(|s| (input.input_info(&s), s)))
            })?;
            match chosen {
                None => Slot::Nothing,
                Some((known, s)) => {
                    info.num_records = known.records;
                    info.metadata = known.metadata;
                    Slot::Slice(Arc::new(s))
                }
            }
        };
        self.slots.get().insert(t, slot);
        Ok(Some(info))
    }

    fn batch_over(&self, t: Time) -> Result<Option<StreamInputInfo>> {
        let slot = self.slots.get().get(t).cloned();
        let Some(Slot::Slice(slice)) = slot else { return Ok(None) };
        let known = self.user(t, |input| Ok(input.batch_over(&slice)))?;
        Ok(known.map(|known| {
            let mut info = StreamInputInfo::new(self.stream_id, known.records);
            info.metadata = known.metadata;
            info
        }))
    }

    fn has_unallocated(&self) -> bool {
        self.input.get().has_unallocated()
    }

    fn counters(&self) -> Vec<(String, u64)> {
        let all = self.input.get().counters();
        let named = |(name, n)| (format!("{}-{}.{name}", self.site.op, self.stream_id), n);
        all.into_iter().map(named).collect()
    }

    fn slices(&self) -> Result<Vec<(Time, Vec<u8>)>, TaskError> {
        let slots = self.slots.get();
        slots
            .iter()
            .map(|(t, s)| match Payload::encode(s)? {
                Payload::Bytes(b) => Ok((*t, b.to_vec())),
                Payload::Value(_) => Err(TaskError::Bug("an encoded slice isn't bytes".into())),
            })
            .collect()
    }

    fn take_slice(&self, t: Time, bytes: &[u8]) -> Result<(), TaskError> {
        let slot = postcard::from_bytes(bytes).map_err(TaskError::codec::<I::Slice>)?;
        let mut slots = self.slots.get();
        if slots.get(t).is_none() {
            slots.insert(t, slot);
        }
        Ok(())
    }
}

impl<I: Input> fmt::Debug for InputOp<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(f)
    }
}
