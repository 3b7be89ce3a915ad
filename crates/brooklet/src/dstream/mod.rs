//! Streams: a [`DStream`] is a series of RDDs, one per batch time. Knows nothing of threads.
//!
//! One operator, one file. Narrow operators return the typed form and fuse; everything that shuffles,
//! unites, transforms or persists is a boundary and returns `DStream<T>`.

mod boxed;
mod combine_by_key;
mod constant;
mod count;
mod count_by_value;
mod count_by_window;
mod dedup_by_key;
mod event_time;
mod filter;
mod flat_map;
mod foreach_async;
mod foreach_partition;
mod foreach_rdd;
mod glom;
mod graph;
mod group_by_key;
mod group_by_key_and_window;
mod join;
mod keyed_window;
mod map;
mod map_partitions;
mod map_values;
mod map_with_state;
mod node;
mod output;
mod parent;
mod persist;
mod print;
mod reduce;
mod reduce_by_key;
mod reduce_by_key_and_window;
mod reduce_by_window;
mod repartition;
mod save;
#[cfg(feature = "http")]
mod serve;
mod sessions;
mod slice;
mod state_pipe;
mod transform;
mod transform_many;
mod transform_with_data;
mod try_map;
mod union;
mod update;
mod update_state_by_key;
mod update_state_by_key_iter;
mod window;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

pub use event_time::{EventTimeStream, Windowed};
pub(crate) use foreach_rdd::user_result;
pub(crate) use graph::{Graph, InputOperator, Kind, Operator};
pub use map_values::WithKey;
pub use map_with_state::{StateSpec, StateStream};
pub(crate) use node::{DynNode, Memo};
pub use node::{ErasedNode, GraphRef, Node};
pub use output::Output;
pub use save::SaveOptions;
pub use sessions::BatchSessions;
pub use transform::IntoRdd;
pub use try_map::DeadLetter;
pub(crate) use union::union_of;
pub use update_state_by_key_iter::KeysOfPartition;

use crate::data::Data;
use crate::engine::{OpId, Site};
use crate::rdd::partitioner::Partitioning;
use crate::rdd::{Erased, Partitioner};
use crate::{Context, Time};

/// A stream: a series of [`Rdd`](crate::Rdd)s, one per batch time. A handle; cheap to clone.
///
/// `DStream<T>` is the common type, for fields, arguments and returns. Narrow operators (`map`, `filter`,
/// `flat_map` ..) return a typed form, so that a chain of them is compiled into one loop; `.boxed()` makes
/// the common type of it:
///
/// ```
/// use brooklet::prelude::*;
/// fn errors(log: &DStream<Str>) -> DStream<Str> {
///     log.filter(|line| line.contains("ERROR")).boxed()
/// }
/// ```
#[must_use = "a stream without an output does nothing: add `print()`, `foreach_rdd(..)` or another output"]
pub struct DStream<T, N = ErasedNode<T>> {
    pub(crate) graph: Arc<Graph>,
    pub(crate) node: Arc<N>,
    /// Kinds and names of the anchors upstream: the structural path.
    pub(crate) path: Arc<str>,
    /// The boundary operator that this stream is, for `name`.
    id: Option<OpId>,
    t: PhantomData<fn() -> T>,
}

impl<T, N> Clone for DStream<T, N> {
    fn clone(&self) -> Self {
        DStream {
            graph: self.graph.clone(),
            node: self.node.clone(),
            path: self.path.clone(),
            id: self.id,
            t: PhantomData,
        }
    }
}

impl<T: Data> DStream<T> {
    /// The stream of a boundary node.
    pub(crate) fn boundary(
        graph: &Arc<Graph>,
        node: Arc<dyn DynNode<T>>,
        path: &str,
        id: OpId,
    ) -> DStream<T> {
        DStream {
            graph: graph.clone(),
            node: Arc::new(ErasedNode(node)),
            path: path.into(),
            id: Some(id),
            t: PhantomData,
        }
    }

    /// Names the operator that made this stream. The name is its identity across versions of the program
    /// (state and progress are attached by it) and what listeners and logs call it. Operators without a
    /// name are known by their structural path.
    ///
    /// Two operators of one kind may not have the same name: `start` refuses.
    pub fn name(self, name: &str) -> DStream<T> {
        let mut named = self;
        if let Some(id) = named.id {
            named.graph.name(id, name);
            // Paths of what comes below tell the names of their anchors.
            named.path = format!("{}[{name}]", named.path).into();
        }
        named
    }
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// A narrow operator on this stream.
    pub(crate) fn narrow<M: Node>(&self, make: impl FnOnce(Arc<N>) -> M) -> DStream<M::Out, M> {
        DStream {
            graph: self.graph.clone(),
            node: Arc::new(make(self.node.clone())),
            path: self.path.clone(),
            id: None,
            t: PhantomData,
        }
    }

    /// A boundary operator below this stream: `make` gets its id.
    #[track_caller]
    pub(crate) fn operator<U: Data, O: Operator + DynNode<U> + 'static>(
        &self,
        kind: Kind,
        site: Site,
        make: impl FnOnce(OpId) -> O,
    ) -> DStream<U> {
        let path = format!("{}/{}", self.path, site.op);
        let mut id = OpId::default();
        let op = self.graph.add(&path, kind, site, |i| {
            id = i;
            Arc::new(make(i))
        });
        DStream::boundary(&self.graph, op, &path, id)
    }

    /// The context that runs its jobs.
    pub fn context(&self) -> &Context {
        &self.graph.ctx
    }

    /// How far apart its batches are.
    pub fn slide_duration(&self) -> Duration {
        self.node.slide(self.graph.batch)
    }

    pub(crate) fn erased_node(&self) -> Arc<dyn DynNode<T>> {
        self.node.clone()
    }

    /// Both streams must belong to one context and have one slide.
    #[track_caller]
    pub(crate) fn same_context<U: Data, M: Node<Out = U>>(&self, other: &DStream<U, M>, op: &str) {
        assert!(
            Arc::ptr_eq(&self.graph, &other.graph),
            "`{op}` needs streams of one context; these belong to two"
        );
        assert!(
            self.slide_duration() == other.slide_duration(),
            "`{op}` needs streams of one slide duration; these have {:?} and {:?}",
            self.slide_duration(),
            other.slide_duration()
        );
    }
}

/// The user's own partitioning of keys, for the operator at `site`.
pub(crate) fn by_user<K>(site: Site, partitioner: impl Partitioner<K>) -> Partitioning<K> {
    let name = partitioner.name();
    assert!(partitioner.partitions() > 0, "{site}: partitioner `{name}` has no partitions");
    Partitioning::User(Arc::new(partitioner))
}

/// A boundary node that is a function of the batch time, memoised: for operators that are lineage only.
pub(crate) struct LineageNode<T, F> {
    pub(crate) make: F,
    pub(crate) slide: Duration,
    pub(crate) memo: Memo<T>,
    /// Called when batches are forgotten.
    pub(crate) tick: Option<Box<dyn Fn() + Send + Sync>>,
}

impl<T: Data, F> LineageNode<T, F>
where
    F: Fn(&Graph, Time) -> crate::Result<Option<Erased<T>>> + Send + Sync,
{
    pub(crate) fn new(slide: Duration, make: F) -> Self {
        LineageNode { make, slide, memo: Memo::default(), tick: None }
    }

    pub(crate) fn on_forget(mut self, f: impl Fn() + Send + Sync + 'static) -> Self {
        self.tick = Some(Box::new(f));
        self
    }
}

impl<T: Data, F> DynNode<T> for LineageNode<T, F>
where
    F: Fn(&Graph, Time) -> crate::Result<Option<Erased<T>>> + Send + Sync,
{
    fn dyn_at(&self, graph: &GraphRef<'_>, t: Time) -> crate::Result<Option<Erased<T>>> {
        if !graph.0.on_grid(t, self.slide) {
            return Ok(None);
        }
        self.memo.get(t, || (self.make)(graph.0, t))
    }
    fn dyn_slide(&self, _: Duration) -> Duration {
        self.slide
    }
}

impl<T: Data, F> Operator for LineageNode<T, F>
where
    F: Fn(&Graph, Time) -> crate::Result<Option<Erased<T>>> + Send + Sync,
{
    fn lineage(&self, graph: &Graph, t: Time) -> crate::Result<()> {
        self.dyn_at(&GraphRef(graph), t).map(drop)
    }
    fn forget(&self, up_to: Time) {
        self.memo.forget(up_to);
        if let Some(tick) = &self.tick {
            tick();
        }
    }
}

impl<T, N> fmt::Debug for DStream<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DStream<{}>({})", std::any::type_name::<T>(), self.path)
    }
}

/// A narrow node: the pipe's type one level up, with parent, closure and site.
macro_rules! narrow_node {
    ($(#[$doc:meta])* $node:ident, $pipe:ident, [$($g:tt)*], $out:ty) => {
        $(#[$doc])*
        pub struct $node<N, F> {
            parent: std::sync::Arc<N>,
            f: std::sync::Arc<F>,
            site: $crate::engine::Site,
        }
        impl<N: $crate::dstream::Node, $($g)*> $crate::dstream::Node for $node<N, F>
        where
            $out: $crate::data::Data,
        {
            type Out = $out;
            type Pipe = $pipe<N::Pipe, F>;
            fn at(
                &self,
                graph: &$crate::dstream::GraphRef<'_>,
                t: $crate::Time,
            ) -> $crate::Result<Option<std::sync::Arc<Self::Pipe>>> {
                let Some(parent) = self.parent.at(graph, t)? else { return Ok(None) };
                let (f, site) = (self.f.clone(), self.site);
                Ok(Some(std::sync::Arc::new($pipe { parent, f, site })))
            }
            fn slide(&self, batch: std::time::Duration) -> std::time::Duration {
                self.parent.slide(batch)
            }
        }
        impl<N, F> $node<N, F> {
            #[allow(dead_code)]
            pub(crate) fn new(parent: std::sync::Arc<N>, f: F, site: $crate::engine::Site) -> Self {
                $node { parent, f: std::sync::Arc::new(f), site }
            }
        }
        impl<N, F> std::fmt::Debug for $node<N, F> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.site.fmt(f)
            }
        }
    };
}
pub(crate) use narrow_node;
