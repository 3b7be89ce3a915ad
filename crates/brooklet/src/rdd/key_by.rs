//! `key_by` and `group_by`: keys computed from records.

use super::Partitioner;
use super::Rdd;
use super::map::MapPipe;
use super::partitioner::Partitioning;
use super::pipe::Pipe;
use crate::data::{Data, Key, Wire};
use crate::engine::Site;

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// Each record behind the key that `f` makes of it.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize([3, 4], 1).key_by(|x| x % 2);
    /// assert_eq!(r.collect()?, [(1, 3), (0, 4)]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn key_by<K: Data, F>(
        &self,
        f: F,
    ) -> Rdd<(K, T), MapPipe<P, impl Fn(T) -> (K, T) + Send + Sync + 'static + use<T, P, K, F>>>
    where
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        self.keyed(f, Site::here("key_by"))
    }

    fn keyed<K: Data, F>(
        &self,
        f: F,
        site: Site,
    ) -> Rdd<(K, T), MapPipe<P, impl Fn(T) -> (K, T) + Send + Sync + 'static + use<T, P, K, F>>>
    where
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        let f = move |x| (f(&x), x);
        self.narrow(|parent| MapPipe { parent, f: f.into(), site })
    }

    /// The records in groups by the key that `f` makes of them, in the order of partitions and records. The
    /// records of one key must fit in memory.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let mut g = ctx.parallelize(1..=5, 2).group_by(|x| x % 2).collect()?;
    /// g.sort();
    /// assert_eq!(g, [(0, vec![2, 4]), (1, vec![1, 3, 5])]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn group_by<K: Key, F>(&self, f: F) -> Rdd<(K, Vec<T>)>
    where
        T: Wire,
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        let site = Site::here("group_by");
        let keyed = self.keyed(f, site);
        keyed.group_by_key_at(keyed.by_default(), site)
    }

    /// [`Rdd::group_by`] into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn group_by_into<K: Key, F>(&self, f: F, partitions: usize) -> Rdd<(K, Vec<T>)>
    where
        T: Wire,
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        let site = Site::here("group_by");
        self.keyed(f, site).group_by_key_at(Partitioning::hash(partitions), site)
    }

    /// [`Rdd::group_by`] with the user's own partitioning of keys.
    ///
    /// # Panics
    /// For a partitioner without partitions.
    #[track_caller]
    pub fn group_by_with<K: Key, F>(
        &self,
        f: F,
        partitioner: impl Partitioner<K>,
    ) -> Rdd<(K, Vec<T>)>
    where
        T: Wire,
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        let site = Site::here("group_by");
        self.keyed(f, site).group_by_key_at(Partitioning::user(partitioner, site), site)
    }
}
