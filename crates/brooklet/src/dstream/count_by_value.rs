//! `count_by_value`: how often each value occurs in a batch.

use super::{DStream, Node};
use crate::data::{Data, Key};

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// Each value of a batch with the number of its occurrences.
    ///
    /// ```
    /// use brooklet::testing::run_sorted;
    /// let out = run_sorted([vec![7, 8, 7]], |s| s.count_by_value());
    /// assert_eq!(out, [[(7, 2), (8, 1)]]);
    /// ```
    #[track_caller]
    pub fn count_by_value(&self) -> DStream<(T, u64)>
    where
        T: Key,
    {
        self.map(|x| (x, 1u64)).reduce_by_key(|a, b| a + b)
    }

    /// [`DStream::count_by_value`] into `partitions` partitions (at least 1).
    #[track_caller]
    pub fn count_by_value_into(&self, partitions: usize) -> DStream<(T, u64)>
    where
        T: Key,
    {
        self.map(|x| (x, 1u64)).reduce_by_key_into(|a, b| a + b, partitions)
    }
}
