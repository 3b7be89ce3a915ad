//! Counters of what tasks write to disk for want of memory.

/// What the tasks of a context have spilled, at one moment. Totals count from the context's creation; see
/// [`Context::spill_metrics`](crate::Context::spill_metrics).
///
/// ```
/// use brooklet::{Conf, Context};
/// let conf = Conf::new("spill").master("local[2]").task_memory(1 << 10).shuffle_memory(0);
/// let ctx = Context::new(conf)?;
/// let sums = ctx.parallelize(0..10_000, 4).map(|x| (x % 5_000, 1)).reduce_by_key(|a, b| a + b);
/// assert_eq!(sums.count()?, 5_000);
/// let metrics = ctx.spill_metrics();
/// assert!(metrics.spilled_files > 0 && metrics.spilled_bytes > 0);
/// drop(sums); // and with it its files
/// assert_eq!(ctx.spill_metrics().live_files, 0);
/// # Ok::<(), brooklet::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct SpillMetrics {
    /// Files ever written by tasks for want of memory.
    pub spilled_files: u64,
    /// Bytes ever written to them, as they are in the files.
    pub spilled_bytes: u64,
    /// Files that are there now.
    pub live_files: u64,
    /// Estimated bytes of the shuffle outputs that are kept in memory now.
    pub kept_bytes: u64,
}
