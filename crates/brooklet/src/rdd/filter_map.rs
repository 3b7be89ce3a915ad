//! `filter_map`: a partial function, as the original's `collect(f)`.

use super::Rdd;
use super::flat_map::FlatMapPipe;
use super::pipe::Pipe;
use crate::data::Data;
use crate::engine::Site;

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// What `f` makes of the records for which it gives something.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize(["1", "x", "3"].map(String::from), 2);
    /// assert_eq!(r.filter_map(|s| s.parse::<i32>().ok()).collect()?, [1, 3]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn filter_map<U: Data, F: Fn(T) -> Option<U> + Send + Sync + 'static>(
        &self,
        f: F,
    ) -> Rdd<U, FlatMapPipe<P, F>> {
        let site = Site::here("filter_map");
        self.narrow(|parent| FlatMapPipe { parent, f: f.into(), site })
    }
}
