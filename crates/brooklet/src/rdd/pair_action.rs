//! Actions on pairs: `count_by_key`, `collect_as_map`, `lookup`, `reduce_by_key_locally`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::combine::{ByReduce, Groups, Table};
use super::partitioner::carried_hash;
use super::pipe::{Pipe, pushed};
use super::{Rdd, detach};
use crate::Result;
use crate::data::{Data, Key, Wire};
use crate::engine::{Site, TaskCx};

impl<K: Data, V: Data, P: Pipe<Out = (K, V)>> Rdd<(K, V), P> {
    /// How many pairs each key has, in the driver's memory; counted in tasks by a shuffle.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let n = ctx.parallelize([("a", 1), ("b", 2), ("a", 3)].map(|(k, v)| (k.to_string(), v)), 2);
    /// assert_eq!(n.count_by_key()?["a"], 2);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn count_by_key(&self) -> Result<HashMap<K, u64>>
    where
        K: Key,
    {
        Ok(self.map_values(|_| 1u64).reduce_by_key(|a, b| a + b).collect()?.into_iter().collect())
    }

    /// All pairs as a map in the driver's memory; of several pairs with one key, the last one counts.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let m = ctx.parallelize([(1, 'a'), (2, 'b'), (1, 'c')], 3).collect_as_map()?;
    /// assert_eq!((m.len(), m[&1]), (2, 'c'));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn collect_as_map(&self) -> Result<HashMap<K, V>>
    where
        K: Key,
        V: Wire,
    {
        Ok(self.collect()?.into_iter().collect())
    }

    /// The values of `key`, in the order of partitions and records. Looks only at the partition that the
    /// key belongs to where the RDD has a partitioner, else at all of them.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let pairs = ctx.parallelize([(1, 'a'), (2, 'b'), (1, 'c')], 3);
    /// assert_eq!(pairs.lookup(&1)?, ['a', 'c']);
    /// assert_eq!(pairs.lookup(&7)?, []);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn lookup(&self, key: &K) -> Result<Vec<V>>
    where
        K: Key,
        V: Wire,
    {
        let (site, wanted) = (Site::here("lookup"), key.clone());
        let home = self.placed().map(|p| p.of(key, carried_hash(self.ctx.0.env.seed, key)) as u32);
        let which = |n| match home {
            Some(part) => part..(part + 1).min(n),
            None => 0..n,
        };
        let parts = self.run_action(site, which, move |p, cx: &TaskCx<'_>| {
            let found = p.fold(cx, cx.partition(), Vec::new(), |found, (k, v)| {
                if site.guard(|| k == wanted) { pushed(found, v) } else { found }
            });
            found.map(detach::all)
        })?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// The values of each key merged by `f` (associative and commutative), as a map in the driver's memory:
    /// within each partition in tasks, and across partitions on the driver. No shuffle.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let sums = ctx.parallelize([(1, 2), (2, 3), (1, 4)], 2).reduce_by_key_locally(|a, b| a + b)?;
    /// assert_eq!((sums[&1], sums[&2]), (6, 3));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn reduce_by_key_locally<F>(&self, f: F) -> Result<HashMap<K, V>>
    where
        K: Key,
        V: Wire,
        F: Fn(V, V) -> V + Clone + Send + Sync + 'static,
    {
        let site = Site::here("reduce_by_key_locally");
        let how = ByReduce(f.clone());
        let parts = self.run_action(
            site,
            |n| 0..n,
            move |p, cx: &TaskCx<'_>| {
                let seed = cx.seed();
                let mut groups = Groups::new(Table::with_capacity(0));
                p.fold(cx, cx.partition(), (), |(), (k, v)| {
                    site.guard(|| groups.push(carried_hash(seed, &k), k, v, &how));
                })?;
                let entries = site.guard(|| groups.finish(&how)).into_entries();
                Ok(detach::all(entries.into_iter().map(|e| (e.key, e.val)).collect::<Vec<_>>()))
            },
        )?;
        let mut all: HashMap<K, V> = HashMap::new();
        for (k, v) in parts.into_iter().flatten() {
            match all.entry(k) {
                Entry::Vacant(e) => drop(e.insert(v)),
                Entry::Occupied(e) => {
                    let (k, old) = e.remove_entry();
                    all.insert(k, f(old, v));
                }
            }
        }
        Ok(all)
    }
}
