//! Nodes of the graph: they build the lineage of a batch and never run a task.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Graph;
use crate::data::Data;
use crate::rdd::{Erased, Pipe};
use crate::sync::{LockExt, Mutex};
use crate::time::ByTime;
use crate::{Result, Time};

/// A stream's definition. Users meet it only as the `N` of [`DStream<T, N>`](crate::DStream).
pub trait Node: Send + Sync + 'static {
    /// The records.
    type Out: Data;
    /// The lineage of a batch.
    type Pipe: Pipe<Out = Self::Out>;

    /// The lineage of batch `t`, or nothing when the stream has no RDD then (which is not an empty RDD).
    ///
    /// # Errors
    /// When lineage can't be built: a parent without an RDD where one is needed, a failed transform.
    #[doc(hidden)]
    fn at(&self, graph: &GraphRef<'_>, t: Time) -> Result<Option<Arc<Self::Pipe>>>;

    /// How far apart its batches are.
    #[doc(hidden)]
    fn slide(&self, batch: Duration) -> Duration {
        batch
    }
}

/// The graph, as nodes see it.
pub struct GraphRef<'a>(pub(crate) &'a Graph);

impl fmt::Debug for GraphRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The object-safe face of a [`Node`].
pub(crate) trait DynNode<T>: Send + Sync {
    fn dyn_at(&self, graph: &GraphRef<'_>, t: Time) -> Result<Option<Erased<T>>>;
    fn dyn_slide(&self, batch: Duration) -> Duration;
}

impl<N: Node> DynNode<N::Out> for N {
    fn dyn_at(&self, graph: &GraphRef<'_>, t: Time) -> Result<Option<Erased<N::Out>>> {
        Ok(self.at(graph, t)?.map(Pipe::erase))
    }
    fn dyn_slide(&self, batch: Duration) -> Duration {
        self.slide(batch)
    }
}

/// Any stream of `T`: what `DStream<T>` means without a second parameter.
pub struct ErasedNode<T>(pub(crate) Arc<dyn DynNode<T>>);

impl<T: Data> Node for ErasedNode<T> {
    type Out = T;
    type Pipe = Erased<T>;
    fn at(&self, graph: &GraphRef<'_>, t: Time) -> Result<Option<Arc<Erased<T>>>> {
        Ok(self.0.dyn_at(graph, t)?.map(Arc::new))
    }
    fn slide(&self, batch: Duration) -> Duration {
        self.0.dyn_slide(batch)
    }
}

impl<T> fmt::Debug for ErasedNode<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErasedNode")
    }
}

/// The lineage of a boundary node, one per batch time until it is forgotten: two outputs share it, and so
/// its stages.
pub(crate) struct Memo<T>(Mutex<ByTime<Option<Erased<T>>>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Memo(Mutex::default())
    }
}

impl<T: 'static> Memo<T> {
    /// The memoised lineage of `t`, made by `make` when there is none. `make` reaches upstream nodes, never
    /// downstream ones, so holding the lock can't dead-lock; without it, two job threads would make two
    /// lineages of one name.
    pub(crate) fn get(
        &self,
        t: Time,
        make: impl FnOnce() -> Result<Option<Erased<T>>>,
    ) -> Result<Option<Erased<T>>> {
        let mut memo = self.0.get();
        if let Some(p) = memo.get(t) {
            return Ok(p.clone());
        }
        let p = make()?;
        memo.insert(t, p.clone());
        Ok(p)
    }

    /// What is there, without making it.
    pub(crate) fn peek(&self, t: Time) -> Option<Option<Erased<T>>> {
        self.0.get().get(t).cloned()
    }

    /// Replaces the lineage of `t`.
    pub(crate) fn set(&self, t: Time, p: Option<Erased<T>>) {
        let old = self.0.get().insert(t, p);
        drop(old);
    }

    /// Drops the lineages up to `up_to`, outside of the lock.
    pub(crate) fn forget(&self, up_to: Time) {
        let gone = self.0.get().take_up_to(up_to);
        drop(gone);
    }
}
