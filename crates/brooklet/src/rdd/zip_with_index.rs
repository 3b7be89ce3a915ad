//! `zip_with_index` and `zip_with_unique_id`: a number for each record.

use super::Rdd;
use super::action::count_partition;
use super::pipe::Pipe;
use super::scan::{Scan, ScanPipe};
use crate::Result;
use crate::data::Data;
use crate::engine::Site;

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// Each record with its number, from 0, in the order of partitions and records. With more than one
    /// partition this runs a job that counts all partitions but the last.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize(['a', 'b', 'c'], 2).zip_with_index()?;
    /// assert_eq!(r.collect()?, [('a', 0), ('b', 1), ('c', 2)]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::collect`].
    #[track_caller]
    pub fn zip_with_index(&self) -> Result<Rdd<(T, u64), ScanPipe<P, Numbering>>> {
        let site = Site::here("zip_with_index");
        let mut first = vec![0];
        if self.num_partitions() > 1 {
            for n in self.run_action(site, |n| 0..n - 1, count_partition)? {
                first.push(first[first.len() - 1] + n);
            }
        }
        let f = Numbering { first, step: 1 };
        Ok(self.narrow(|parent| ScanPipe { parent, f: f.into(), site }))
    }

    /// Each record with a number of its own: record i of partition k has i * n + k, where n is the number of
    /// partitions. Runs no job.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let r = ctx.parallelize(['a', 'b', 'c'], 2).zip_with_unique_id();
    /// assert_eq!(r.collect()?, [('a', 0), ('b', 1), ('c', 3)]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn zip_with_unique_id(&self) -> Rdd<(T, u64), ScanPipe<P, Numbering>> {
        let site = Site::here("zip_with_unique_id");
        let n = self.num_partitions() as u64;
        let f = Numbering { first: (0..n).collect(), step: n };
        self.narrow(|parent| ScanPipe { parent, f: f.into(), site })
    }
}

/// Gives each record the next number of its partition.
#[derive(Debug)]
pub struct Numbering {
    /// The first number of each partition.
    first: Vec<u64>,
    step: u64,
}

impl<T: 'static> Scan<T> for Numbering {
    type State = u64;
    type Out = Option<(T, u64)>;
    fn begin(&self, part: usize) -> u64 {
        self.first[part]
    }
    #[inline]
    fn step(&self, next: &mut u64, record: T) -> Option<(T, u64)> {
        let number = *next;
        *next += self.step;
        Some((record, number))
    }
}
