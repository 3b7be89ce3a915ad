//! The records of a version of some keyed state, read in place.

use std::fmt;
use std::sync::Arc;

use crate::Time;
use crate::data::Data;
use crate::engine::{Site, TaskBody, TaskCx, TaskError};
use crate::rdd::partitioner::Partitioning;
use crate::rdd::pipe::{Captured, Flow, Unshippable, chunk_len};
use crate::rdd::{About, DynPipe, Erased, Lineage};
use crate::state::Versions;

/// What `get` makes of each key and state of version `t`. Readable as long as the version is remembered, while
/// later batches change the tables; for tasks of the process that holds them.
pub(crate) struct StatePipe<K, T, G> {
    pub(crate) tables: Arc<T>,
    pub(crate) t: Time,
    /// The stage that makes the version.
    pub(crate) stage: Arc<dyn TaskBody>,
    pub(crate) get: G,
    /// How the keys lie, if they lie so in what is given out.
    pub(crate) partitioning: Option<Partitioning<K>>,
    pub(crate) site: Site,
}

impl<T: Versions, G> StatePipe<T::Key, T, G> {
    pub(crate) fn erased<U: Data>(self) -> Erased<U>
    where
        G: Fn(&T::Key, &T::State) -> Option<U> + Send + Sync + 'static,
    {
        Erased(Arc::new(self))
    }
}

impl<T, U, G> DynPipe<U> for StatePipe<T::Key, T, G>
where
    T: Versions,
    U: Data,
    G: Fn(&T::Key, &T::State) -> Option<U> + Send + Sync,
{
    fn dyn_partitions(&self) -> usize {
        self.tables.partitions()
    }
    fn dyn_wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        out.push(self.stage.clone());
    }
    fn dyn_known_len(&self, _: &TaskCx<'_>, _: usize) -> Result<Option<u64>, TaskError> {
        Ok(None)
    }
    fn dyn_input_records(&self) -> usize {
        self.tables.keys()
    }
    fn dyn_unpersist(&self) -> bool {
        false
    }
    fn dyn_about(&self) -> About {
        self.partitioning.as_ref().map(Partitioning::about).unwrap_or_default()
    }
    fn dyn_lineage(&self, out: &mut Lineage) {
        out.step(&self.site, self.tables.partitions());
        out.stage(&*self.stage);
    }
    fn dyn_captures(&self, out: &mut Vec<Captured>) {
        out.push(Captured { site: self.site, why: Unshippable::Stage });
    }
    fn chunks(
        &self,
        _: &TaskCx<'_>,
        part: usize,
        sink: &mut dyn FnMut(&mut Vec<U>) -> Flow,
    ) -> Result<(), TaskError> {
        let n = chunk_len::<U>();
        let (mut chunk, mut more) = (Vec::with_capacity(n), true);
        let mut at = self.tables.open(part, self.t)?;
        while more {
            chunk.clear();
            // The tables are free while the sink works.
            more = self.tables.next(&mut at, (&mut chunk, n), &self.get)?;
            if !chunk.is_empty() && sink(&mut chunk).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl<K, T, G> fmt::Debug for StatePipe<K, T, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.site, self.t)
    }
}
