//! `keys` and `values`: one half of each pair.

use super::Rdd;
use super::map::MapPipe;
use super::pipe::Pipe;
use crate::data::Data;
use crate::engine::Site;

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// The key of each pair; a key that occurs twice comes twice.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let pairs = ctx.parallelize([(1, 'a'), (1, 'b')], 2);
    /// assert_eq!((pairs.keys().collect()?, pairs.values().collect()?), (vec![1, 1], vec!['a', 'b']));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn keys(
        &self,
    ) -> Rdd<K, MapPipe<P, impl Fn((K, V)) -> K + Send + Sync + 'static + use<K, V, P>>> {
        let site = Site::here("keys");
        self.narrow(|parent| MapPipe { parent, f: (|(k, _)| k).into(), site })
    }

    /// The value of each pair.
    #[track_caller]
    pub fn values(
        &self,
    ) -> Rdd<V, MapPipe<P, impl Fn((K, V)) -> V + Send + Sync + 'static + use<K, V, P>>> {
        let site = Site::here("values");
        self.narrow(|parent| MapPipe { parent, f: (|(_, v)| v).into(), site })
    }
}
