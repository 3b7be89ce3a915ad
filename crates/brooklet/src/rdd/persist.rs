//! Persisted partitions: looked up in the block store, computed from lineage when they aren't there.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use super::pipe::{Captured, Pipe, pushed, slice_source};
use super::{Erased, Rdd, detach};
use crate::block::{Block, BlockError, BlockId, StorageLevel, Values};
use crate::context::Inner;
use crate::data::{Data, Wire};
use crate::engine::{Role, Site, StageKey, TaskBody, TaskCx, TaskError};
use crate::sync::{LockExt, Mutex};

/// A persisted RDD of one batch. Its blocks are removed when the lineage is dropped.
pub(crate) struct PersistPipe<T> {
    key: StageKey,
    ctx: Weak<Inner>,
    parent: Erased<T>,
    level: StorageLevel,
    site: Site,
    /// One task computes a partition; others that want it wait and read.
    making: Mutex<HashMap<usize, Arc<Mutex<()>>>>,
}

impl<T: Wire> PersistPipe<T> {
    pub(crate) fn new(
        ctx: &Arc<Inner>,
        key: StageKey,
        parent: Erased<T>,
        level: StorageLevel,
        site: Site,
    ) -> Self {
        PersistPipe { key, ctx: Arc::downgrade(ctx), parent, level, site, making: Mutex::default() }
    }

    fn id(&self, part: usize) -> BlockId {
        block_id(&self.key, part)
    }

    fn stored(&self, cx: &TaskCx<'_>, part: usize) -> Result<Option<Arc<Values<T>>>, TaskError> {
        match cx.blocks().get(self.id(part)) {
            Ok(Some(b)) => {
                let b: Arc<dyn Block> = b;
                let v = b.as_any().downcast::<Values<T>>();
                v.map(Some).map_err(|_| TaskError::Bug("a persisted block has another type".into()))
            }
            Ok(None) => Ok(None),
            Err(e) => {
                // The copy is damaged or gone: lineage makes it again.
                tracing::warn!("persisted partition of {}: {e}; computing it again", self.site);
                cx.blocks().remove(self.id(part));
                Ok(None)
            }
        }
    }

    fn read(&self, cx: &TaskCx<'_>, part: usize) -> Result<Arc<Values<T>>, TaskError> {
        if let Some(v) = self.stored(cx, part)? {
            return Ok(v);
        }
        let turn = self.making.get().entry(part).or_default().clone();
        let _turn = turn.get();
        if let Some(v) = self.stored(cx, part)? {
            return Ok(v);
        }
        let records = self.parent.fold(cx, part, Vec::new(), pushed)?;
        cx.check()?;
        let values = Values::new(detach::all(records));
        match cx.blocks().put(self.id(part), values.clone(), Values::<T>::decode, self.level) {
            Ok(_) => cx.made(self.id(part)),
            // Without room the partition is used once and computed again by the next reader.
            Err(BlockError::NoRoom { block, bytes }) => {
                tracing::warn!("no room to persist {block} ({bytes} bytes) of {}", self.site);
            }
            Err(e) => {
                return Err(TaskError::Input {
                    message: format!("persisting for {}: {e}", self.site),
                });
            }
        }
        Ok(values)
    }
}

/// The block of one persisted partition.
pub(crate) fn block_id(key: &StageKey, part: usize) -> BlockId {
    let node = key.op.id ^ u64::from(key.sub).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    BlockId::Rdd { op: (key.op.graph, node), batch: key.batch, partition: part as u32 }
}

impl<T> PersistPipe<T> {
    fn remove_blocks(&self) {
        if let Some(ctx) = self.ctx.upgrade() {
            for part in 0..self.parent.0.dyn_partitions() {
                ctx.env.blocks.remove(block_id(&self.key, part));
            }
        }
    }
}

impl<T> Drop for PersistPipe<T> {
    fn drop(&mut self) {
        self.remove_blocks();
    }
}

impl<T: Wire> Pipe for PersistPipe<T> {
    type Out = T;
    fn partitions(&self) -> usize {
        self.parent.partitions()
    }
    /// Parents are needed only while a partition is missing here.
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        let all = self.ctx.upgrade().is_some_and(|ctx| {
            let blocks = &ctx.env.blocks;
            (0..self.partitions()).all(|p| blocks.contains(self.id(p)))
        });
        if !all {
            self.parent.wide(out);
        }
    }
    fn input_records(&self) -> usize {
        self.parent.input_records()
    }
    fn input_partition(&self, part: usize) -> u64 {
        self.parent.input_partition(part)
    }
    fn known_len(&self, cx: &TaskCx<'_>, part: usize) -> Result<Option<u64>, TaskError> {
        Ok(Some(self.read(cx, part)?.items().len() as u64))
    }
    fn unpersist(&self) -> bool {
        self.remove_blocks();
        true
    }
    fn about(&self) -> super::About {
        self.parent.about().of_the_same_keys()
    }
    fn lineage(&self, out: &mut super::Lineage) {
        out.step(&format_args!("{self:?}"), self.partitions());
        self.parent.lineage(out);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        self.parent.captures(out);
    }
    slice_source!(T, |self, cx, part| self.read(cx, part)?.items(), T::clone);
}

impl<T> fmt::Debug for PersistPipe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.site, self.level)
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// The same records, kept at `level` when they are first computed. A partition that is lost or that
    /// found no room is computed from lineage again. The blocks go when the last handle is dropped.
    ///
    /// ```
    /// use brooklet::StorageLevel;
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let calls = ctx.long_accumulator("calls");
    /// let c = calls.clone();
    /// let r = ctx.parallelize(0..10, 2).map(move |x| { c.add(1); x }).persist(StorageLevel::MEMORY_ONLY)?;
    /// assert_eq!((r.count()?, r.count()?), (10, 10));
    /// assert_eq!(calls.value().count, 10);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) for a level that keeps nothing.
    #[track_caller]
    pub fn persist(&self, level: StorageLevel) -> crate::Result<Rdd<T>>
    where
        T: Wire,
    {
        let site = Site::here("persist");
        if !level.is_valid() {
            return Err(crate::Error::usage(format!("{site}: the level {level} keeps nothing")));
        }
        let key = self.origin.next_stage(Role::Persist);
        let pipe = PersistPipe::new(&self.ctx.0, key, self.erased(), level, site);
        Ok(Rdd::new(&self.ctx, Arc::new(Erased::new(Arc::new(pipe))), self.origin.clone()))
    }

    /// Removes the blocks that [`Rdd::persist`] has kept; the RDD can still be used, and is computed (and
    /// kept) again then. Changes nothing on an RDD that isn't the direct result of `persist`.
    ///
    /// ```
    /// use brooklet::StorageLevel;
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize(0..10, 2).persist(StorageLevel::MEMORY_ONLY)?;
    /// r.count()?;
    /// assert!(r.unpersist());
    /// assert_eq!(r.count()?, 10);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    pub fn unpersist(&self) -> bool {
        self.pipe.unpersist()
    }
}
