//! RDDs: lazily computed, partitioned collections with lineage. Knows nothing of time.
//!
//! Narrow operators fuse with their parent (`pipe`); shuffles cut stages (`shuffle`, `group`, `deal`,
//! `gather`); actions run jobs (`action`).

mod about;
mod action;
mod cartesian;
mod checkpoint;
mod coalesce;
mod cogroup;
pub(crate) mod combine;
mod combined_there;
mod count_approx_distinct;
pub(crate) mod deal;
pub(crate) mod detach;
mod distinct;
mod each_partition;
pub(crate) mod erased;
mod external;
mod extremes;
pub(crate) mod filter;
mod filter_map;
pub(crate) mod flat_map;
mod fold_by_key;
pub(crate) mod folder;
mod future_action;
pub(crate) mod gather;
mod glom;
pub(crate) mod group;
mod histogram;
pub(crate) mod join;
mod join_forms;
pub(crate) mod kept;
mod key_by;
mod keys;
mod lineage;
mod local_iterator;
pub(crate) mod map;
pub(crate) mod map_partitions;
mod map_values;
mod ordered;
mod origin;
mod pair_action;
mod partition_by;
pub(crate) mod partitioner;
mod partitioning;
pub(crate) mod persist;
pub(crate) mod pipe;
mod pipe_command;
pub(crate) mod random;
mod range;
mod sample;
mod sample_by_key;
mod save;
mod scan;
mod shipped;
pub(crate) mod shuffle;
mod sketch;
mod sort;
pub(crate) mod source;
mod stats;
mod subtract_by_key;
mod take_sample;
pub(crate) mod text;
mod top;
mod tree_aggregate;
pub(crate) mod try_flat_map;
pub(crate) mod union;
mod zip;
mod zip_with_index;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

pub use about::{About, AboutPipe};
pub use action::Outcome;
pub(crate) use action::{ActionBody, user_failure};
pub use coalesce::CoalescePipe;
pub use each_partition::EachPartitionPipe;
pub use erased::{DynPipe, Erased};
pub(crate) use external::behind;
pub use future_action::FutureAction;
pub use lineage::Lineage;
pub use local_iterator::LocalIterator;
pub use map_partitions::PartitionIter;
pub use ordered::Ordered;
pub(crate) use origin::{Origin, STAGES_OF_AN_ATTEMPT, Travel};
pub use partitioner::Partitioner;
pub use partitioning::PartitionerOf;
pub use pipe::{Captured, Flow, Pipe, Unshippable};
pub use range::RangePartitioner;
pub use sample::Draw;
pub use sample_by_key::{DrawByKey, DrawExactly};
pub use scan::{Scan, ScanPipe};
pub(crate) use shipped::ShippedBody;
pub use source::Partitions;
pub use stats::{Number, StatCounter};
pub use try_flat_map::OnError;
pub use zip_with_index::Numbering;

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
