//! Receiver streams in the graph: the blocks that the tracker gave to a batch, one partition each.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::block::{Block, Encoded, Records, TextLines, Values, records_of};
use crate::data::Wire;
use crate::dstream::{DynNode, Graph, GraphRef, InputOperator, Memo, Operator};
use crate::engine::{Payload, Site, TaskBody, TaskCx, TaskError};
use crate::rdd::{Captured, DynPipe, Erased, Flow};
use crate::receiver::{ReceivedBlockInfo, ReceiverTracker, internal_stream};
use crate::scheduler::StreamInputInfo;
use crate::sync::{LockExt, Mutex};
use crate::{Error, Result, Time};

type Blocks = Arc<Vec<ReceivedBlockInfo>>;

/// A receiver stream.
pub(crate) struct ReceiverOp<T> {
    stream_id: usize,
    site: Site,
    /// The driver's; an executor has none.
    tracker: Option<Arc<ReceiverTracker>>,
    slots: Mutex<BTreeMap<Time, Blocks>>,
    memo: Memo<T>,
}

impl<T: Wire> ReceiverOp<T> {
    pub(crate) fn new(stream_id: usize, site: Site, tracker: Option<Arc<ReceiverTracker>>) -> Self {
        ReceiverOp { stream_id, site, tracker, slots: Mutex::default(), memo: Memo::default() }
    }
}

impl<T: Wire> DynNode<T> for ReceiverOp<T> {
    fn dyn_at(&self, _: &GraphRef<'_>, t: Time) -> Result<Option<Erased<T>>> {
        self.memo.get(t, || {
            let blocks = self.slots.get().get(&t).cloned().ok_or_else(|| {
                Error::Bug(format!("{} has no blocks allocated at batch {t}", self.site))
            })?;
            Ok(Some(Erased(Arc::new(BlocksPipe { blocks, site: self.site, t: PhantomData }))))
        })
    }
    fn dyn_slide(&self, batch: Duration) -> Duration {
        batch
    }
}

impl<T: Wire> Operator for ReceiverOp<T> {
    fn lineage(&self, graph: &Graph, t: Time) -> Result<()> {
        self.dyn_at(&GraphRef(graph), t).map(drop)
    }

    fn forget(&self, up_to: Time) {
        self.memo.forget(up_to);
        let mut slots = self.slots.get();
        *slots = slots.split_off(&(up_to + Duration::from_millis(1)));
    }
}

impl<T: Wire> InputOperator for ReceiverOp<T> {
    fn start(&self, _: &Graph) -> Result<()> {
        Ok(()) // the tracker starts all receivers
    }

    fn stop_receiving(&self, _: bool) {}

    fn stop(&self) {}

    /// The tracker has allocated all streams' blocks for `t` before.
    fn allocate(&self, graph: &Graph, t: Time, _: bool) -> Result<Option<StreamInputInfo>> {
        let tracker = self.tracker.as_ref();
        let blocks = tracker
            .map(|x| x.blocks_of(t, internal_stream(graph.id, self.stream_id)))
            .unwrap_or_default();
        let records = blocks.iter().map(|b| b.records).sum();
        self.slots.get().insert(t, Arc::new(blocks));
        Ok(Some(StreamInputInfo::new(self.stream_id, records)))
    }

    fn has_unallocated(&self) -> bool {
        false // asked of the tracker
    }

    fn slices(&self) -> Result<Vec<(Time, Vec<u8>)>, TaskError> {
        let slots = self.slots.get();
        slots
            .iter()
            .map(|(t, blocks)| match Payload::encode(&**blocks)? {
                Payload::Bytes(b) => Ok((*t, b.to_vec())),
                Payload::Value(_) => Err(TaskError::Bug("an encoded slice isn't bytes".into())),
            })
            .collect()
    }

    fn take_slice(&self, t: Time, bytes: &[u8]) -> Result<(), TaskError> {
        let blocks: Vec<ReceivedBlockInfo> =
            postcard::from_bytes(bytes).map_err(TaskError::codec::<ReceivedBlockInfo>)?;
        self.slots.get().entry(t).or_insert_with(|| Arc::new(blocks));
        Ok(())
    }
}

/// The blocks of one batch.
struct BlocksPipe<T> {
    blocks: Blocks,
    site: Site,
    t: PhantomData<fn() -> T>,
}

impl<T: Wire> BlocksPipe<T> {
    fn read(&self, cx: &TaskCx<'_>, part: usize) -> Result<Arc<dyn Records<T>>, TaskError> {
        let (id, site) = (self.blocks[part].id(), self.site);
        let lost = |why: String| TaskError::Input {
            message: format!("received block {id} of {site} can't be read: {why}"),
        };
        let block = match cx.blocks().get(id).map_err(|e| lost(e.to_string()))? {
            Some(b) => b,
            None => {
                let gone = || {
                    lost("it isn't in the block store (released before its batch ended?)".into())
                };
                let b = match cx.fetch_from() {
                    Some(other) => other.get(id).map_err(|e| lost(e.to_string()))?,
                    None => None,
                };
                through_bytes::<T>(&b.ok_or_else(gone)?).map_err(lost)?
            }
        };
        let block = match block.clone().as_any().downcast::<Encoded<T>>() {
            Ok(encoded) => encoded.values().map_err(|e| lost(e.to_string()))?,
            Err(_) => block,
        };
        records_of::<T>(&block).ok_or_else(|| lost("it holds records of another type".into()))
    }
}

/// A block of another process: encoded there, decoded here.
fn through_bytes<T: Wire>(block: &Arc<dyn Block>) -> Result<Arc<dyn Block>, String> {
    let bytes = block.encode().map_err(|e| e.to_string())?;
    let text = block.clone().as_any().downcast::<TextLines>().is_ok();
    let decode = if text { TextLines::decode } else { Values::<T>::decode };
    decode(bytes).map_err(|e| e.to_string())
}

impl<T: Wire> DynPipe<T> for BlocksPipe<T> {
    fn dyn_partitions(&self) -> usize {
        self.blocks.len()
    }
    fn dyn_wide(&self, _: &mut Vec<Arc<dyn TaskBody>>) {}
    fn dyn_known_len(&self, _: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        Ok(Some(self.blocks[part].records))
    }
    fn dyn_input_records(&self) -> usize {
        self.blocks.iter().map(|b| b.records as usize).sum()
    }
    /// Blocks are parts of one sequence.
    fn dyn_input_partition(&self, _: usize) -> u64 {
        0
    }
    fn dyn_unpersist(&self) -> bool {
        false
    }
    fn dyn_captures(&self, _: &mut Vec<Captured>) {}
    fn chunks(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        sink: &mut dyn FnMut(&mut Vec<T>) -> Flow,
    ) -> Result<(), TaskError> {
        let records = self.read(cx, part)?;
        let mut checked = Ok(());
        let _ = records.chunks(&mut |chunk| {
            let go_on = sink(chunk);
            checked = cx.check();
            if checked.is_ok() { go_on } else { ControlFlow::Break(()) }
        });
        checked
    }
}
