//! `map_values` and `flat_map_values`: operators on the values of pairs; keys and partitioner stay.

use super::Rdd;
use super::about::AboutPipe;
use super::flat_map::FlatMapPipe;
use super::map::MapPipe;
use super::pipe::Pipe;
use crate::data::Data;
use crate::dstream::WithKey;
use crate::engine::Site;

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// `f` of each value; keys, partitions and partitioner stay.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize([(1, 10), (2, 20)], 2).map_values(|v| v + 1);
    /// assert_eq!(r.collect()?, [(1, 11), (2, 21)]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn map_values<W: Data, F>(
        &self,
        f: F,
    ) -> Rdd<
        (K, W),
        AboutPipe<
            MapPipe<P, impl Fn((K, V)) -> (K, W) + Send + Sync + 'static + use<K, V, P, W, F>>,
        >,
    >
    where
        F: Fn(V) -> W + Send + Sync + 'static,
    {
        let site = Site::here("map_values");
        let about = self.pipe.about().of_the_same_keys();
        let f = move |(k, v)| (k, f(v));
        self.narrow(|parent| AboutPipe::new(MapPipe { parent, f: f.into(), site }.into(), about))
    }

    /// The key with each record of the iterator that `f` makes of its value; the partitioner stays.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize([(1, 2), (2, 0)], 2).flat_map_values(|n| 0..n);
    /// assert_eq!(r.collect()?, [(1, 0), (1, 1)]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn flat_map_values<I, F>(
        &self,
        f: F,
    ) -> Rdd<
        (K, I::Item),
        AboutPipe<
            FlatMapPipe<
                P,
                impl Fn((K, V)) -> WithKey<K, I::IntoIter> + Send + Sync + 'static + use<K, V, P, I, F>,
            >,
        >,
    >
    where
        I: IntoIterator + 'static,
        I::Item: Data,
        F: Fn(V) -> I + Send + Sync + 'static,
    {
        let site = Site::here("flat_map_values");
        let about = self.pipe.about().of_the_same_keys();
        let f = move |(key, v)| WithKey::new(key, f(v).into_iter());
        self.narrow(|parent| {
            AboutPipe::new(FlatMapPipe { parent, f: f.into(), site }.into(), about)
        })
    }
}
