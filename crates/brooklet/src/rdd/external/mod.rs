//! What tasks do when their memory is short: buffers, tables and runs that go to disk.
//!
//! - `size`: how much memory records take, estimated from a sample
//! - `buckets`: the map side of a shuffle, dealt out by partition
//! - `merge`: the k-way merge of sorted runs
//! - `sorter`: a partition sorted, by way of runs if need be
//! - `table`: the reduce side of a combining or grouping shuffle
//!
//! A task may take [`Conf::task_memory`](crate::Conf::task_memory) for its table or buffer. What a finished
//! task leaves for others counts for [`Conf::shuffle_memory`](crate::Conf::shuffle_memory) and goes to disk
//! when that is used up. Sizes are estimates: the inline size of every record, and what lies behind its
//! pointers by a sample. They depend on the records alone, so that a second attempt spills at the same
//! places and gives the same result to the bit.

mod buckets;
mod merge;
mod size;
mod sorter;
mod table;

pub(crate) use buckets::{Buckets, leave};
pub(crate) use size::{Watch, behind, estimate};
pub(crate) use sorter::{Order, Sorted, Sorter};
pub(crate) use table::{Combining, spill_by_partition, table_bytes};
