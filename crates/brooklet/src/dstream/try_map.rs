//! The fallible narrow operators: `try_map`, `try_filter`, `try_flat_map`, with a policy for errors.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{DStream, GraphRef, Node};
use crate::Time;
use crate::block::StorageLevel;
use crate::data::{Data, Wire};
use crate::engine::Site;
use crate::error::BoxError;
use crate::rdd::OnError;
use crate::rdd::try_flat_map::{ErrorPolicy, TryFlatMapPipe};

/// A record that a fallible operator couldn't process, with the error's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter<T> {
    /// The record.
    pub record: T,
    /// What the closure returned.
    pub error: String,
}

/// The node of the fallible operators.
pub struct TryFlatMap<N, F> {
    parent: Arc<N>,
    f: Arc<F>,
    site: Site,
    policy: ErrorPolicy,
}

impl<N: Node, I, E, F> Node for TryFlatMap<N, F>
where
    I: IntoIterator + 'static,
    I::Item: Data,
    E: Into<BoxError> + 'static,
    F: Fn(N::Out) -> Result<I, E> + Send + Sync + 'static,
{
    type Out = I::Item;
    type Pipe = TryFlatMapPipe<N::Pipe, F>;
    fn at(&self, graph: &GraphRef<'_>, t: Time) -> crate::Result<Option<Arc<Self::Pipe>>> {
        let Some(parent) = self.parent.at(graph, t)? else { return Ok(None) };
        let (f, site, policy) = (self.f.clone(), self.site, self.policy.clone());
        Ok(Some(Arc::new(TryFlatMapPipe { parent, f, site, policy })))
    }
    fn slide(&self, batch: std::time::Duration) -> std::time::Duration {
        self.parent.slide(batch)
    }
}

impl<N, F> fmt::Debug for TryFlatMap<N, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(f)
    }
}

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    fn try_at<I, E, F>(&self, site: Site, on: OnError, f: F) -> DStream<I::Item, TryFlatMap<N, F>>
    where
        I: IntoIterator + 'static,
        I::Item: Data,
        E: Into<BoxError> + 'static,
        F: Fn(T) -> Result<I, E> + Send + Sync + 'static,
    {
        let policy = match on {
            OnError::Fail => ErrorPolicy::Fail,
            OnError::Skip => {
                let name = format!("{site} skipped");
                ErrorPolicy::Skip(self.graph.skip_counter(&name))
            }
        };
        self.narrow(|parent| TryFlatMap { parent, f: Arc::new(f), site, policy })
    }

    /// `map` with a closure that returns `Result`; an error fails the task, naming this call.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// let out = run([vec!["1".to_string(), "2".into()]], |s| s.try_map(|x| x.parse::<i32>()).boxed());
    /// assert_eq!(out, [[1, 2]]);
    /// ```
    #[track_caller]
    pub fn try_map<U: Data, E: Into<BoxError> + 'static, F>(
        &self,
        f: F,
    ) -> DStream<
        U,
        TryFlatMap<
            N,
            impl Fn(T) -> Result<Option<U>, E> + Send + Sync + 'static + use<T, N, U, E, F>,
        >,
    >
    where
        F: Fn(T) -> Result<U, E> + Send + Sync + 'static,
    {
        self.try_at(Site::here("try_map"), OnError::Fail, move |x| f(x).map(Some))
    }

    /// [`DStream::try_map`] with a policy: `OnError::Skip` leaves the record out and counts it, once per
    /// processed record however many attempts there were (see
    /// [`StreamingContext::counters`](crate::StreamingContext::counters)).
    ///
    /// ```
    /// use brooklet::testing::run;
    /// use brooklet::OnError;
    /// let lines = [vec!["1".to_string(), "x".into()]];
    /// let out = run(lines, |s| s.try_map_on(OnError::Skip, |x| x.parse::<i32>()).boxed());
    /// assert_eq!(out, [[1]]);
    /// ```
    #[track_caller]
    pub fn try_map_on<U: Data, E: Into<BoxError> + 'static, F>(
        &self,
        on: OnError,
        f: F,
    ) -> DStream<
        U,
        TryFlatMap<
            N,
            impl Fn(T) -> Result<Option<U>, E> + Send + Sync + 'static + use<T, N, U, E, F>,
        >,
    >
    where
        F: Fn(T) -> Result<U, E> + Send + Sync + 'static,
    {
        self.try_at(Site::here("try_map"), on, move |x| f(x).map(Some))
    }

    /// `filter` with a predicate that returns `Result`.
    #[track_caller]
    pub fn try_filter<E: Into<BoxError> + 'static, F>(
        &self,
        on: OnError,
        f: F,
    ) -> DStream<
        T,
        TryFlatMap<N, impl Fn(T) -> Result<Option<T>, E> + Send + Sync + 'static + use<T, N, E, F>>,
    >
    where
        F: Fn(&T) -> Result<bool, E> + Send + Sync + 'static,
    {
        self.try_at(Site::here("try_filter"), on, move |x| f(&x).map(|keep| keep.then_some(x)))
    }

    /// `flat_map` with a closure that returns `Result`.
    #[track_caller]
    pub fn try_flat_map<I, E: Into<BoxError> + 'static, F>(
        &self,
        on: OnError,
        f: F,
    ) -> DStream<I::Item, TryFlatMap<N, F>>
    where
        I: IntoIterator + 'static,
        I::Item: Data,
        F: Fn(T) -> Result<I, E> + Send + Sync + 'static,
    {
        self.try_at(Site::here("try_flat_map"), on, f)
    }

    /// `map` with a closure that returns `Result`, as two streams: the results, and the records that
    /// failed, with their errors. The closure runs once per record: what it gave is persisted in memory
    /// for both streams.
    ///
    /// ```
    /// use brooklet::testing::run;
    /// let lines = [vec!["1".to_string(), "x".into()]];
    /// let dead = run(lines, |s| s.try_map_or_dead(|x| x.parse::<i32>()).1);
    /// assert_eq!((dead[0][0].record.as_str(), dead[0].len()), ("x", 1));
    /// ```
    #[track_caller]
    pub fn try_map_or_dead<U: Wire, E: Into<BoxError> + 'static, F>(
        &self,
        f: F,
    ) -> (DStream<U>, DStream<DeadLetter<T>>)
    where
        T: Wire,
        F: Fn(T) -> Result<U, E> + Send + Sync + 'static,
    {
        let site = Site::here("try_map_or_dead");
        let both = self
            .narrow(|parent| {
                super::map::Map::new(
                    parent,
                    move |record: T| {
                        f(record.clone()).map_err(|e| {
                            let e: BoxError = e.into();
                            DeadLetter { record, error: e.to_string() }
                        })
                    },
                    site,
                )
            })
            .persist(StorageLevel::MEMORY_ONLY);
        (both.flat_map(Result::ok).boxed(), both.flat_map(Result::err).boxed())
    }
}
