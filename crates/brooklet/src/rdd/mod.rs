//! RDDs: lazily computed, partitioned collections with lineage. Knows nothing of time.
//!
//! Narrow operators fuse with their parent (`pipe`); shuffles cut stages (`shuffle`, `group`, `deal`,
//! `gather`); actions run jobs (`action`).

mod action;
mod checkpoint;
pub(crate) mod combine;
pub(crate) mod deal;
mod detach;
pub(crate) mod erased;
mod external;
pub(crate) mod filter;
pub(crate) mod flat_map;
pub(crate) mod gather;
pub(crate) mod group;
mod join;
pub(crate) mod kept;
pub(crate) mod map;
pub(crate) mod map_partitions;
mod ordered;
mod origin;
pub(crate) mod partitioner;
pub(crate) mod persist;
pub(crate) mod pipe;
mod range;
mod shipped;
pub(crate) mod shuffle;
mod sort;
pub(crate) mod source;
pub(crate) mod text;
mod top;
pub(crate) mod try_flat_map;
pub(crate) mod union;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

pub use action::Outcome;
pub(crate) use action::{ActionBody, user_failure};
pub use erased::{DynPipe, Erased};
pub use map_partitions::PartitionIter;
pub use ordered::Ordered;
pub(crate) use origin::{Origin, STAGES_OF_AN_ATTEMPT, Travel};
pub use partitioner::Partitioner;
pub use pipe::{Captured, Flow, Pipe, Unshippable};
pub use range::RangePartitioner;
pub(crate) use shipped::ShippedBody;
pub use source::Partitions;
pub use try_flat_map::OnError;

use crate::context::Context;
use crate::data::Data;

/// A lazily computed, partitioned collection of `T`: what `transform` and `foreach_rdd` hand over, and
/// what [`Context::parallelize`](crate::Context::parallelize) makes. Cheap to clone.
///
/// The second parameter is the fused chain of narrow operators; `Rdd<T>` is the common type, made by
/// [`Rdd::boxed`] and by every operator that shuffles.
pub struct Rdd<T, P = Erased<T>> {
    pub(crate) ctx: Context,
    pub(crate) pipe: Arc<P>,
    pub(crate) origin: Arc<Origin>,
    t: PhantomData<fn() -> T>,
}

impl<T, P> Clone for Rdd<T, P> {
    fn clone(&self) -> Self {
        Rdd {
            ctx: self.ctx.clone(),
            pipe: self.pipe.clone(),
            origin: self.origin.clone(),
            t: PhantomData,
        }
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    pub(crate) fn new(ctx: &Context, pipe: Arc<P>, origin: Arc<Origin>) -> Self {
        Rdd { ctx: ctx.clone(), pipe, origin, t: PhantomData }
    }

    /// A narrow operator on this RDD.
    pub(crate) fn narrow<Q: Pipe<Out: Data>>(
        &self,
        make: impl FnOnce(Arc<P>) -> Q,
    ) -> Rdd<Q::Out, Q> {
        Rdd::new(&self.ctx, Arc::new(make(self.pipe.clone())), self.origin.clone())
    }

    /// Lineage on this RDD and another one; belongs to whichever of the two is a batch's.
    #[track_caller]
    pub(crate) fn with_other<U: Data, V: Data, Q: Pipe<Out = V>, R: Pipe<Out = U>>(
        &self,
        other: &Rdd<V, Q>,
        pipe: R,
    ) -> Rdd<U, R> {
        self.ctx.same_context(other);
        let origin = if self.origin.is_plain() { &other.origin } else { &self.origin };
        Rdd::new(&self.ctx, Arc::new(pipe), origin.clone())
    }

    pub(crate) fn erased(&self) -> Erased<T> {
        self.pipe.clone().erase()
    }

    /// The common type of all RDDs of `T`, for struct fields, collections and signatures. Cuts the fused
    /// chain here: records cross in chunks of about 1000.
    pub fn boxed(&self) -> Rdd<T> {
        Rdd::new(&self.ctx, Arc::new(self.erased()), self.origin.clone())
    }

    /// How many partitions it has.
    pub fn num_partitions(&self) -> usize {
        self.pipe.partitions()
    }

    /// The context that it belongs to.
    pub fn context(&self) -> &Context {
        &self.ctx
    }
}

impl<T, P> fmt::Debug for Rdd<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rdd<{}>({:?})", std::any::type_name::<T>(), self.origin)
    }
}
