//! What finished tasks have left: shuffle blocks, materialised updates, merged reduce sides. Keyed by
//! stage and partition; nothing of it is kept in a lineage node.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::{Payload, StageKey, TaskError, TaskRef};
use crate::sync::{LockExt, Mutex};

type Shared = Arc<dyn Any + Send + Sync>;

/// One partition's blocks and how many records they hold.
struct Published {
    blocks: Vec<Payload>,
    records: usize,
}

#[derive(Default)]
struct Outputs {
    stages: HashMap<StageKey, Vec<Option<Published>>, foldhash::fast::RandomState>,
    /// Reduce sides that a task of this process has merged; other readers share them.
    merged: HashMap<(StageKey, u32), Shared, foldhash::fast::RandomState>,
}

/// The outputs of one process.
#[derive(Default)]
pub(crate) struct OutputStore(Mutex<Outputs>);

impl OutputStore {
    /// Makes a task's blocks visible. A second attempt replaces the first.
    pub(crate) fn publish(&self, task: TaskRef, width: u32, blocks: Vec<Payload>, records: usize) {
        let mut g = self.0.get();
        let parts = g.stages.entry(task.stage).or_default();
        if parts.len() < width as usize {
            parts.resize_with(width as usize, || None);
        }
        parts[task.partition as usize] = Some(Published { blocks, records });
    }

    /// The partitions of a stage that are not here.
    pub(crate) fn missing(&self, key: &StageKey, width: u32) -> Vec<u32> {
        let g = self.0.get();
        let parts = g.stages.get(key);
        (0..width)
            .filter(|p| parts.and_then(|v| v.get(*p as usize)).is_none_or(Option::is_none))
            .collect()
    }

    /// Records that a stage has left altogether, if it has left any.
    pub(crate) fn records(&self, key: &StageKey) -> usize {
        let g = self.0.get();
        g.stages.get(key).map_or(0, |v| v.iter().flatten().map(|p| p.records).sum())
    }

    /// Block `index` of every partition of a stage of `width` partitions, in partition order.
    pub(crate) fn column(
        &self,
        key: &StageKey,
        width: usize,
        index: usize,
    ) -> Result<Vec<Payload>, TaskError> {
        let g = self.0.get();
        let lost = |partition: usize| TaskError::Lost { stage: *key, partition: partition as u32 };
        let parts = g.stages.get(key);
        let mut out = Vec::with_capacity(width);
        for p in 0..width {
            let published = parts
                .and_then(|v| v.get(p)?.as_ref())
                .and_then(|p| p.blocks.get(index))
                .ok_or_else(|| lost(p))?;
            out.push(published.clone());
        }
        Ok(out)
    }

    /// Block `index` of one partition of a stage.
    pub(crate) fn block(
        &self,
        key: &StageKey,
        partition: usize,
        index: usize,
    ) -> Result<Payload, TaskError> {
        let g = self.0.get();
        let published = g.stages.get(key).and_then(|v| v.get(partition)?.as_ref());
        let block = published.and_then(|p| p.blocks.get(index));
        block.cloned().ok_or(TaskError::Lost { stage: *key, partition: partition as u32 })
    }

    /// The merged reduce side of a partition, if a task of this process has made it already.
    pub(crate) fn merged(&self, key: &StageKey, partition: u32) -> Option<Shared> {
        self.0.get().merged.get(&(*key, partition)).cloned()
    }

    /// Keeps a merged reduce side for other readers.
    pub(crate) fn keep_merged(&self, key: StageKey, partition: u32, v: Shared) {
        self.0.get().merged.insert((key, partition), v);
    }

    /// Drops everything of one stage. The values are dropped outside of the lock.
    pub(crate) fn release(&self, key: &StageKey, width: u32) {
        let mut gone = Vec::new();
        let stage = {
            let mut g = self.0.get();
            for p in 0..width {
                gone.extend(g.merged.remove(&(*key, p)));
            }
            g.stages.remove(key)
        };
        drop((stage, gone));
    }

    /// Drops a merged reduce side; the next reader merges again.
    pub(crate) fn forget_merged(&self, key: &StageKey, partition: u32) {
        let gone = self.0.get().merged.remove(&(*key, partition));
        drop(gone);
    }

    /// Forgets one partition, whose data is gone.
    pub(crate) fn lose(&self, key: &StageKey, partition: u32) -> bool {
        let mut gone = Vec::new();
        let output = {
            let mut g = self.0.get();
            g.merged.retain(|(k, _), v| k != key || (gone.push(v.clone()), false).1);
            g.stages.get_mut(key).and_then(|v| v.get_mut(partition as usize)?.take())
        };
        output.is_some()
    }

    /// The stages that have left something.
    #[cfg(feature = "testing")]
    pub(crate) fn stages(&self) -> Vec<StageKey> {
        let mut v: Vec<_> = self.0.get().stages.keys().copied().collect();
        v.sort();
        v
    }
}

impl fmt::Debug for OutputStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutputStore({} stages)", self.0.get().stages.len())
    }
}
