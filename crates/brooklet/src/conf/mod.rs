//! Configuration, and the one place where every default is written down.
//!
//! A setting is a field of [`Conf`] with a typed setter here, and a row in `keys.rs`, which gives it a key
//! for files, the environment and `set`. `load.rs` reads those; whoever sets last wins.

mod keys;
mod load;
mod origin;
mod suggest;
mod value;

#[cfg(test)]
mod doc;

pub use keys::{ConfKey, RefusedKeys};
pub use origin::{ConfEntry, ConfOrigin};
pub use value::ConfKind;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::data::HashSeed;
use crate::time::{Clock, SystemClock};
use crate::{Error, Result};

/// All defaults: limits, retries, intervals. Everything that a setter can change, and the few constants
/// that it can't, stand here with their unit.
pub mod defaults {
    use std::time::Duration;

    /// Master when none is given: as many task threads as the machine has cores.
    pub const MASTER: &str = "local[*]";
    /// Longest block interval; the default is this or the batch interval, whichever is shorter.
    pub const BLOCK_INTERVAL: Duration = Duration::from_millis(200);
    /// Blocks that wait to be stored, per receiver, before `store` waits.
    pub const BLOCK_QUEUE_SIZE: usize = 10;
    /// Jobs (output operations) that may run at the same time.
    pub const CONCURRENT_JOBS: usize = 1;
    /// Attempts of a task before its job fails.
    pub const TASK_MAX_FAILURES: u32 = 4;
    /// Times a job is planned again because outputs of earlier stages were lost.
    pub const STAGE_MAX_ATTEMPTS: u32 = 4;
    /// Waiting and running batches before the queue policy acts.
    pub const MAX_QUEUED_BATCHES: usize = 8;
    /// Retries of a failed output operation before the failure policy acts.
    pub const OUTPUT_RETRIES: u32 = 0;
    /// Pause between a receiver's stop and its restart.
    pub const RECEIVER_RESTART_DELAY: Duration = Duration::from_millis(2_000);
    /// Bytes that one receiver may have stored and not yet processed, in memory.
    pub const RECEIVER_MAX_UNPROCESSED_BYTES: usize = 400 << 20;
    /// Bytes that one receiver may have spilled to disk and not yet processed.
    pub const RECEIVER_MAX_SPILLED_BYTES: u64 = 1 << 30;
    /// Memory of the block store (received and persisted blocks).
    pub const BLOCK_STORE_MEMORY: usize = 512 << 20;
    /// Memory of one task's tables and sort buffers; what is more is spilled.
    pub const TASK_MEMORY: usize = 256 << 20;
    /// Memory of all shuffle outputs that a context keeps; further ones are written to disk.
    pub const SHUFFLE_MEMORY: usize = 1 << 30;
    /// Memory of the states on disk of one context: half for its cache, an eighth for each operator's write
    /// buffer; as many again while writes outrun the disk, at most four.
    pub const STATE_MEMORY: usize = 128 << 20;
    /// Least size of the write buffer of an operator with its state on disk, in bytes.
    pub const STATE_MIN_BUFFER: u64 = 1 << 20;
    /// Threads that tidy up the states on disk of one context.
    pub const STATE_DISK_THREADS: usize = 2;
    /// Size of the pieces in which states are read from disk, in bytes.
    pub const STATE_DISK_BLOCK: u32 = 4 << 10;
    /// Keys whose states are written to disk in one go.
    pub const STATE_DISK_WRITES: usize = 8_192;
    /// What the tables take for a key above the key and its state, in bytes, as limits and metrics count it.
    pub const STATE_KEY_OVERHEAD: usize = 40;
    /// Characters of a key that the list of heaviest keys shows.
    pub const STATE_KEY_SHOWN: usize = 256;
    /// Raw bytes in a frame of a spilled file.
    pub const SPILL_FRAME: usize = 64 << 10;
    /// Spilled runs that are merged at a time; more are merged in several rounds.
    pub const MERGE_RUNS: usize = 32;
    /// Sampled records for each partition of a range partitioner.
    pub const RANGE_SAMPLES_PER_PARTITION: usize = 20;
    /// Sampled records of a range partitioner altogether.
    pub const RANGE_SAMPLES: usize = 1_000_000;
    /// Whether blocks on disk are compressed.
    pub const COMPRESS_BLOCKS: bool = false;
    /// Memory that one operator keeps from batch to batch for its tables and buffers.
    pub const KEPT_MEMORY_PER_OPERATOR: usize = 64 << 20;
    /// Batches after which kept memory that nobody took is released.
    pub const KEPT_MEMORY_IDLE_BATCHES: u32 = 16;
    /// Longest line that a text source takes; what is longer is cut there and counted.
    pub const MAX_LINE_BYTES: usize = 1 << 20;
    /// Bytes that a batch takes of the logs of one stream.
    pub const LOG_MAX_BATCH_BYTES: u64 = 64 << 20;
    /// Bytes of a log in one partition.
    pub const LOG_SPLIT_BYTES: usize = 8 << 20;
    /// How long a rotated log is kept open after it was last written to.
    pub const LOG_ROTATED_WAIT: Duration = Duration::from_secs(10);
    /// How often, in batch time, a pattern of logs is looked up again.
    pub const LOG_PATTERN_INTERVAL: Duration = Duration::from_secs(1);
    /// Bytes at the beginning of a log by which it is known again.
    pub const LOG_FINGERPRINT_BYTES: usize = 1 << 10;
    /// Size of the pieces in which a socket is read.
    pub const SOCKET_READ_BYTES: usize = 1 << 20;
    /// Size of the parts in which several tasks read a big file, in bytes.
    pub const FILE_SPLIT_BYTES: u64 = 64 << 20;
    /// Least size of such parts when a batch has too few bytes to occupy all tasks, in bytes.
    pub const FILE_MIN_SPLIT_BYTES: u64 = 1 << 20;
    /// What opening a file counts for when small files are put together into partitions, in bytes.
    pub const FILE_OPEN_BYTES: u64 = 64 << 10;
    /// Size of the pieces in which a text file is read, in bytes.
    pub const FILE_READ_BYTES: usize = 1 << 20;
    /// A file that isn't moved into its directory has to be unchanged for the batch interval, and at least
    /// this long, before it is taken.
    pub const FILE_SETTLE_MIN: Duration = Duration::from_secs(1);
    /// Listings in a row that don't show a taken file before it is forgotten.
    pub const FILE_FORGET_SCANS: u64 = 3;
    /// Taken files that are looked at for changes, per second of the batch interval, in turn.
    pub const FILE_CHECKS_PER_SECOND: usize = 2_000;
    /// File names in the description of a batch.
    pub const FILE_NAMES_SHOWN: usize = 100;
    /// Largest file that is read as one record, in bytes.
    pub const WHOLE_FILE_MAX_BYTES: u64 = 256 << 20;
    /// Largest window of a zstd frame, in bytes; one that needs more memory isn't read.
    pub const ZSTD_MAX_WINDOW_BYTES: u64 = 128 << 20;
    /// Longest record of a socket stream with a converter, in bytes with its framing.
    pub const MAX_RECORD_BYTES: usize = 16 << 20;
    /// Longest block of a raw socket stream, in bytes.
    pub const MAX_RAW_BLOCK_BYTES: usize = 64 << 20;
    /// Silence after which the system asks a TCP peer whether it is still there.
    pub const SOCKET_KEEPALIVE: Duration = Duration::from_secs(60);
    /// Longest datagram that a UDP stream takes, in bytes; IP carries no longer ones.
    pub const MAX_DATAGRAM_BYTES: usize = 65_535;
    /// Receive buffer that a UDP stream asks the system for, in bytes.
    pub const UDP_RECEIVE_BUFFER_BYTES: usize = 4 << 20;
    /// How often an idle UDP stream asks the system for lost datagrams.
    pub const UDP_LOST_INTERVAL: Duration = Duration::from_millis(500);
    /// How long a connection attempt may take.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
    /// First pause before a lost connection is tried again; doubled up to [`RECONNECT_MAX_DELAY`].
    pub const RECONNECT_DELAY: Duration = Duration::from_millis(100);
    /// Longest pause between two connection attempts.
    pub const RECONNECT_MAX_DELAY: Duration = Duration::from_secs(5);
    /// A graceful stop gives the batches this many batch intervals (and at least
    /// [`GRACEFUL_STOP_MIN`]) to finish.
    pub const GRACEFUL_STOP_BATCHES: u32 = 10;
    /// The least time that a graceful stop gives.
    pub const GRACEFUL_STOP_MIN: Duration = Duration::from_secs(60);
    /// How long a stop that isn't graceful waits for running tasks before it names them and goes on.
    pub const STOP_WAIT: Duration = Duration::from_secs(2);
    /// Whether data goes when its batch is over.
    pub const UNPERSIST: bool = true;
    /// Whether signals that end a process stop its streams gracefully.
    pub const STOP_GRACEFULLY_ON_SHUTDOWN: bool = false;
    /// Batch interval of a context that is built without one.
    pub const BATCH_INTERVAL: Duration = Duration::from_secs(1);
    /// Completed batches that the progress counters remember.
    pub const RETAINED_BATCHES: usize = 1_000;
    /// Elements that `print` shows.
    pub const PRINT_ELEMENTS: usize = 10;
    /// Events that may wait for a slow listener; above it the oldest are dropped and counted.
    pub const LISTENER_QUEUE: usize = 10_000;
    /// Where served streams are, when nothing else is said: a free port, for this machine only.
    pub const HTTP_ADDRESS: &str = "127.0.0.1:0";
    /// Connections of one HTTP address; more are refused with 503 and counted.
    pub const HTTP_MAX_CONNECTIONS: usize = 256;
    /// Bytes of the head of an HTTP request.
    pub const HTTP_HEAD_BYTES: usize = 32 << 10;
    /// How long the head of an HTTP request may take, and an idle connection may stay.
    pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
    /// How long the body of an HTTP request may take.
    pub const HTTP_BODY_TIMEOUT: Duration = Duration::from_secs(30);
    /// How long an HTTP client may take nothing of what is sent to it before its connection is closed.
    pub const HTTP_WRITE_TIMEOUT: Duration = Duration::from_secs(30);
    /// Bytes of the body of a pushed HTTP request.
    pub const HTTP_MAX_BODY: usize = 8 << 20;
    /// Bytes of the body of a pushed HTTP request after decompression.
    pub const HTTP_MAX_DECOMPRESSED: usize = 64 << 20;
    /// Bytes of an HTTP body that is refused which are still read, so that the client reads the answer.
    pub const HTTP_DISCARD_BYTES: usize = 1 << 20;
    /// Pushed HTTP requests that wait to be stored, per stream; more are answered with 503.
    pub const HTTP_PUSH_QUEUE: usize = 64;
    /// Bytes of pushed HTTP bodies that are being read or wait to be stored, per stream; more are answered
    /// with 503.
    pub const HTTP_PUSH_BYTES: usize = 64 << 20;
    /// When an HTTP client that got 503 should come again.
    pub const HTTP_RETRY_AFTER: Duration = Duration::from_secs(1);
    /// How long a stop waits for HTTP clients to take the last of what they are sent.
    pub const HTTP_STOP_WAIT: Duration = Duration::from_secs(1);
    /// Records of a batch that a served stream shows.
    pub const SERVE_ELEMENTS: usize = 1_000;
    /// Bytes of JSON of a batch that a served stream shows.
    pub const SERVE_BYTES: usize = 1 << 20;
    /// Batches of a served stream that are kept for subscribers that come again.
    pub const SERVE_HISTORY: usize = 16;
    /// How often a subscriber to whom nothing happens gets a comment, so that the connection stays.
    pub const SERVE_KEEP_ALIVE: Duration = Duration::from_secs(15);
    /// How often a task that waits for a future looks whether its job is cancelled.
    pub const CANCEL_CHECK: Duration = Duration::from_millis(20);
    /// Threads of the runtime for receivers and sinks that are `async`.
    pub const IO_THREADS: usize = 1;
    /// Partitions of files (at least, where there is more than one thread) when a program doesn't say.
    pub const FILE_PARTITIONS: usize = 2;
    /// The end of a command's error output that `pipe` shows when the command fails.
    pub const PIPE_ERROR_BYTES: usize = 4 << 10;
    /// How long, by batch times, a watermark waits for an input partition that has no records.
    pub const EVENT_TIME_IDLE_AFTER: Duration = Duration::from_secs(10);
    /// How far an event time may be ahead of the time of its batch; a record of a later time is left out and
    /// counted, for it would make all others late.
    pub const EVENT_TIME_MAX_FUTURE: Duration = Duration::from_secs(3_600);
    /// Records (or about 16 kB) in the chunks that cross an erased boundary.
    pub const CHUNK_RECORDS: usize = 1_024;
    /// Least number of batches from one state checkpoint to the next.
    pub const CHECKPOINT_MIN_BATCHES: u32 = 10;
    /// Least batch time from one state checkpoint to the next.
    pub const CHECKPOINT_MIN_INTERVAL: Duration = Duration::from_secs(1);
    /// Bytes of collected changes that make a state checkpoint due at once.
    pub const CHECKPOINT_MAX_BYTES: usize = 64 << 20;
    /// Bytes of collected changes that may wait for the disk; above it, batches wait.
    pub const CHECKPOINT_MAX_PENDING_BYTES: usize = 256 << 20;
    /// State checkpoints that are kept, with all their files.
    pub const CHECKPOINTS_KEPT: usize = 2;
    /// Whether state files are compressed (lz4).
    pub const CHECKPOINT_COMPRESS: bool = true;
    /// Raw bytes in a frame of a state file; more if an entry is larger.
    pub const CHECKPOINT_FRAME_BYTES: usize = 256 << 10;
    /// Largest encoded key or value in state, in bytes.
    pub const CHECKPOINT_MAX_ENTRY_BYTES: usize = 1 << 30;
    /// Least bytes of delta files for a merge into their base.
    pub const CHECKPOINT_MERGE_MIN_BYTES: u64 = 1 << 20;
    /// Delta files of an operator above which the newest ones of like size become one.
    pub const CHECKPOINT_MAX_DELTAS: usize = 16;
    /// Bytes of a base file after which the next key group begins another one.
    pub const CHECKPOINT_BASE_BYTES: u64 = 64 << 20;
    /// By how much the thread that writes checkpoints is nicer than those that run batches, on Linux: these come
    /// first where there are fewer processors than threads.
    pub const CHECKPOINT_NICE: i32 = 10;
}

/// What to do when batches come faster than they are processed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum QueuePolicy {
    /// Ticks are generated late, in order; none is skipped.
    #[default]
    Wait,
    /// All waiting input goes to the newest waiting batch time; the times before run empty.
    Merge,
    /// The context stops with [`Error::QueueFull`].
    Fail,
}

/// Where `map_with_state` and `update_state_by_key` keep their states; see [`Conf::state_store`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum StateStore {
    /// In memory.
    #[default]
    Memory,
    /// On disk, with [`Conf::state_memory`] in front of it: for more keys than memory holds.
    Disk,
}

/// What happens after an output operation (or a step) of a batch failed for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailurePolicy {
    pub(crate) retries: u32,
    pub(crate) skip: bool,
}

impl FailurePolicy {
    /// The context stops, and `await_termination` returns the error. The default.
    pub const fn stop() -> FailurePolicy {
        FailurePolicy { retries: defaults::OUTPUT_RETRIES, skip: false }
    }

    /// The failure is recorded (listener, counters, log) and the stream goes on with the next batch.
    pub const fn skip() -> FailurePolicy {
        FailurePolicy { retries: defaults::OUTPUT_RETRIES, skip: true }
    }

    /// Runs a failed output operation up to `n` more times first. Its side effects may then happen twice.
    #[must_use]
    pub const fn retries(mut self, n: u32) -> FailurePolicy {
        self.retries = n;
        self
    }
}

impl Default for FailurePolicy {
    fn default() -> Self {
        FailurePolicy::stop()
    }
}

/// The configuration of a [`Context`](crate::Context) and its streaming contexts: by typed setters, and by
/// keys from a file, the environment and a command line ([`Conf::load`], [`Conf::set`]). Whoever sets a
/// setting last wins. `docs/configuration.md` has the table of all.
///
/// ```
/// use brooklet::{Conf, millis};
/// let conf = Conf::new("word-count").master("local[2]").block_interval(millis(50));
/// assert_eq!(conf.threads().unwrap(), 2);
/// assert!(Conf::new("x").master("local[two]").threads().is_err());
/// ```
#[derive(Clone)]
pub struct Conf {
    pub(crate) app_name: String,
    pub(crate) master: String,
    pub(crate) default_parallelism: Option<usize>,
    pub(crate) block_interval: Option<Duration>,
    pub(crate) block_queue_size: usize,
    pub(crate) concurrent_jobs: usize,
    pub(crate) task_max_failures: u32,
    pub(crate) max_queued_batches: usize,
    pub(crate) queue_policy: QueuePolicy,
    pub(crate) failure_policy: FailurePolicy,
    pub(crate) receiver_max_rate: Option<u64>,
    pub(crate) receiver_restart_delay: Duration,
    pub(crate) receiver_max_unprocessed_bytes: usize,
    pub(crate) receiver_max_spilled_bytes: u64,
    pub(crate) block_store_memory: usize,
    pub(crate) task_memory: usize,
    pub(crate) shuffle_memory: usize,
    pub(crate) state_store: StateStore,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) state_memory: usize,
    pub(crate) compress_blocks: bool,
    pub(crate) local_dir: Option<PathBuf>,
    pub(crate) graceful_stop_timeout: Option<Duration>,
    pub(crate) max_line_bytes: usize,
    pub(crate) batch_interval: Option<Duration>,
    pub(crate) remember: Option<Duration>,
    pub(crate) unpersist: bool,
    pub(crate) stop_gracefully_on_shutdown: bool,
    pub(crate) retained_batches: usize,
    pub(crate) hash_seed: Option<HashSeed>,
    #[cfg(feature = "http")]
    pub(crate) http_address: String,
    pub(crate) clock: Arc<dyn Clock>,
    /// Who set what, by key; what isn't here is at its default.
    origins: BTreeMap<&'static str, ConfOrigin>,
}

impl Conf {
    /// Everything at its default, for an application of this name.
    #[track_caller]
    pub fn new(app_name: impl Into<String>) -> Conf {
        let conf = Conf {
            app_name: app_name.into(),
            master: defaults::MASTER.into(),
            default_parallelism: None,
            block_interval: None,
            block_queue_size: defaults::BLOCK_QUEUE_SIZE,
            concurrent_jobs: defaults::CONCURRENT_JOBS,
            task_max_failures: defaults::TASK_MAX_FAILURES,
            max_queued_batches: defaults::MAX_QUEUED_BATCHES,
            queue_policy: QueuePolicy::default(),
            failure_policy: FailurePolicy::default(),
            receiver_max_rate: None,
            receiver_restart_delay: defaults::RECEIVER_RESTART_DELAY,
            receiver_max_unprocessed_bytes: defaults::RECEIVER_MAX_UNPROCESSED_BYTES,
            receiver_max_spilled_bytes: defaults::RECEIVER_MAX_SPILLED_BYTES,
            block_store_memory: defaults::BLOCK_STORE_MEMORY,
            task_memory: defaults::TASK_MEMORY,
            shuffle_memory: defaults::SHUFFLE_MEMORY,
            state_store: StateStore::default(),
            state_dir: None,
            state_memory: defaults::STATE_MEMORY,
            compress_blocks: defaults::COMPRESS_BLOCKS,
            local_dir: None,
            graceful_stop_timeout: None,
            max_line_bytes: defaults::MAX_LINE_BYTES,
            batch_interval: None,
            remember: None,
            unpersist: defaults::UNPERSIST,
            stop_gracefully_on_shutdown: defaults::STOP_GRACEFULLY_ON_SHUTDOWN,
            retained_batches: defaults::RETAINED_BATCHES,
            hash_seed: None,
            #[cfg(feature = "http")]
            http_address: defaults::HTTP_ADDRESS.into(),
            clock: Arc::new(SystemClock::new()),
            origins: BTreeMap::new(),
        };
        conf.noted("app_name")
    }

    /// Notes that the program has called this setter.
    #[track_caller]
    fn noted(mut self, setter: &str) -> Conf {
        for key in keys::of_setter(setter) {
            self.origins.insert(key.name, ConfOrigin::Program(Location::caller()));
        }
        self
    }

    fn origin(&self, key: &str) -> ConfOrigin {
        self.origins.get(key).cloned().unwrap_or(ConfOrigin::Default)
    }

    /// Where tasks run: `local` (one thread), `local[N]` or `local[*]` (one thread a core, the default).
    #[must_use]
    #[track_caller]
    pub fn master(mut self, master: impl Into<String>) -> Conf {
        self.master = master.into();
        self.noted("master")
    }

    /// Partitions of a shuffle that isn't told otherwise. Default: the number of task threads.
    #[must_use]
    #[track_caller]
    pub fn default_parallelism(mut self, partitions: usize) -> Conf {
        self.default_parallelism = Some(partitions);
        self.noted("default_parallelism")
    }

    /// How often received data is cut into a block; a block is one partition of its batch. Default: 200 ms
    /// or the batch interval, whichever is shorter.
    #[must_use]
    #[track_caller]
    pub fn block_interval(mut self, d: Duration) -> Conf {
        self.block_interval = Some(d);
        self.noted("block_interval")
    }

    /// Blocks that may wait to be stored, per receiver. Default: 10.
    #[must_use]
    #[track_caller]
    pub fn block_queue_size(mut self, blocks: usize) -> Conf {
        self.block_queue_size = blocks;
        self.noted("block_queue_size")
    }

    /// Output operations that may run at the same time. Default: 1, which is strictly in order. With more,
    /// outputs of one batch and of following batches overlap, but the calls of one output never do.
    #[must_use]
    #[track_caller]
    pub fn concurrent_jobs(mut self, jobs: usize) -> Conf {
        self.concurrent_jobs = jobs;
        self.noted("concurrent_jobs")
    }

    /// Attempts of a task before its job fails. Default: 4.
    #[must_use]
    #[track_caller]
    pub fn task_max_failures(mut self, attempts: u32) -> Conf {
        self.task_max_failures = attempts;
        self.noted("task_max_failures")
    }

    /// Batches that may wait or run before the queue policy acts. Default: 8.
    #[must_use]
    #[track_caller]
    pub fn max_queued_batches(mut self, batches: usize) -> Conf {
        self.max_queued_batches = batches;
        self.noted("max_queued_batches")
    }

    /// What to do when that many are waiting. Default: [`QueuePolicy::Wait`].
    #[must_use]
    #[track_caller]
    pub fn queue_policy(mut self, policy: QueuePolicy) -> Conf {
        self.queue_policy = policy;
        self.noted("queue_policy")
    }

    /// What happens after an output operation failed. Default: [`FailurePolicy::stop`].
    #[must_use]
    #[track_caller]
    pub fn failure_policy(mut self, policy: FailurePolicy) -> Conf {
        self.failure_policy = policy;
        self.noted("failure_policy")
    }

    /// Records a second that each receiver may store one by one. Default: no limit.
    #[must_use]
    #[track_caller]
    pub fn receiver_max_rate(mut self, records_per_second: u64) -> Conf {
        self.receiver_max_rate = (records_per_second > 0).then_some(records_per_second);
        self.noted("receiver_max_rate")
    }

    /// Pause between a receiver's failure and its restart. Default: 2 s.
    #[must_use]
    #[track_caller]
    pub fn receiver_restart_delay(mut self, d: Duration) -> Conf {
        self.receiver_restart_delay = d;
        self.noted("receiver_restart_delay")
    }

    /// Bytes that a receiver may have in memory, stored and not yet processed. Above it blocks spill to
    /// disk if their level allows, else `store` waits. Default: 400 MiB.
    #[must_use]
    #[track_caller]
    pub fn receiver_max_unprocessed_bytes(mut self, bytes: usize) -> Conf {
        self.receiver_max_unprocessed_bytes = bytes;
        self.noted("receiver_max_unprocessed_bytes")
    }

    /// Bytes that a receiver may have on disk, not yet processed; above it `store` waits. Default: 1 GiB.
    #[must_use]
    #[track_caller]
    pub fn receiver_max_spilled_bytes(mut self, bytes: u64) -> Conf {
        self.receiver_max_spilled_bytes = bytes;
        self.noted("receiver_max_spilled_bytes")
    }

    /// Memory of the block store. Default: 512 MiB.
    #[must_use]
    #[track_caller]
    pub fn block_store_memory(mut self, bytes: usize) -> Conf {
        self.block_store_memory = bytes;
        self.noted("block_store_memory")
    }

    /// Memory that one task may take for the table or the sort buffer of a shuffle (an estimate by
    /// a sample of the records); what is more is written to files in [`Conf::local_dir`] and merged from there. As many
    /// tasks run at a time as there are task threads. Results are the same with any limit, but for the last
    /// bits of floating point sums, whose values are added up in other groups. Default: 256 MiB.
    #[must_use]
    #[track_caller]
    pub fn task_memory(mut self, bytes: usize) -> Conf {
        self.task_memory = bytes;
        self.noted("task_memory")
    }

    /// Memory of all shuffle outputs that are kept until their batch is over (or their RDD is dropped). An
    /// output that finds no room is written to a file in [`Conf::local_dir`] and read from there; 0 writes
    /// all of them. Default: 1 GiB.
    #[must_use]
    #[track_caller]
    pub fn shuffle_memory(mut self, bytes: usize) -> Conf {
        self.shuffle_memory = bytes;
        self.noted("shuffle_memory")
    }

    /// Where `map_with_state` and `update_state_by_key` keep their states. Default: [`StateStore::Memory`].
    ///
    /// With [`StateStore::Disk`] a key costs no memory while nobody touches it. What a batch changes stays in
    /// memory until the batch is over and no longer remembered, so a batch may touch as much as memory holds,
    /// expired keys included; states that were written are read back for every batch that touches them. States
    /// on disk are no checkpoint: they go with the context, and what a killed process has left goes when the
    /// next one begins. Windows stay in memory.
    ///
    /// ```
    /// use brooklet::{StateStore, prelude::*};
    /// let conf = Conf::new("many-keys").state_store(StateStore::Disk).state_memory(256 << 20);
    /// # let _ = conf;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn state_store(mut self, store: StateStore) -> Conf {
        self.state_store = store;
        self.noted("state_store")
    }

    /// Folder for states on disk. Default: as [`Conf::local_dir`]. Files lie in a folder of their own below it,
    /// removed when the context is dropped.
    #[must_use]
    #[track_caller]
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Conf {
        self.state_dir = Some(dir.into());
        self.noted("state_dir")
    }

    /// Memory of the states on disk of this context, all operators together, about: half is a cache of what
    /// was read, an eighth the write buffer of each operator, of which more wait while writes outrun the disk.
    /// Default: 128 MiB.
    #[must_use]
    #[track_caller]
    pub fn state_memory(mut self, bytes: usize) -> Conf {
        self.state_memory = bytes;
        self.noted("state_memory")
    }

    /// Whether blocks are compressed (lz4) when they go to disk. Less than half the bytes for text, at about
    /// 500 MB/s a thread; without it the page cache takes them several times faster. Default: no.
    #[must_use]
    #[track_caller]
    pub fn compress_blocks(mut self, compress: bool) -> Conf {
        self.compress_blocks = compress;
        self.noted("compress_blocks")
    }

    /// Folder for spilled blocks. Default: a fresh folder in the system's temporary folder, removed when
    /// the context is dropped.
    #[must_use]
    #[track_caller]
    pub fn local_dir(mut self, dir: impl Into<PathBuf>) -> Conf {
        self.local_dir = Some(dir.into());
        self.noted("local_dir")
    }

    /// How long a graceful stop waits for batches. Default: ten batch intervals, at least 60 s.
    #[must_use]
    #[track_caller]
    pub fn graceful_stop_timeout(mut self, d: Duration) -> Conf {
        self.graceful_stop_timeout = Some(d);
        self.noted("graceful_stop_timeout")
    }

    /// Longest line of a text source, in bytes. Default: 1 MiB.
    #[must_use]
    #[track_caller]
    pub fn max_line_bytes(mut self, bytes: usize) -> Conf {
        self.max_line_bytes = bytes;
        self.noted("max_line_bytes")
    }

    /// The batch interval of contexts that are built without one, by
    /// [`StreamingContext::builder`](crate::StreamingContext::builder). Default: 1 s.
    #[must_use]
    #[track_caller]
    pub fn batch_interval(mut self, d: Duration) -> Conf {
        self.batch_interval = Some(d);
        self.noted("batch_interval")
    }

    /// How long after its batch the data of a batch is kept, where
    /// [`StreamingContext::remember`](crate::StreamingContext::remember) doesn't say otherwise. Default: not
    /// at all.
    #[must_use]
    #[track_caller]
    pub fn remember(mut self, d: Duration) -> Conf {
        self.remember = Some(d);
        self.noted("remember")
    }

    /// Whether data and received blocks go when their batch is over. With `false` everything is kept until
    /// the context stops, and receivers come to a halt at their limits: for short runs and for looking for
    /// errors. Default: yes.
    #[must_use]
    #[track_caller]
    pub fn unpersist(mut self, unpersist: bool) -> Conf {
        self.unpersist = unpersist;
        self.noted("unpersist")
    }

    /// Whether Ctrl-C, and on Unix `SIGTERM` and `SIGHUP`, stop a started context gracefully instead of
    /// ending the process; the next one ends it at once, with exit code 128 + signal. `await_termination`
    /// returns when the stop is through. Once such a context has been started, the process keeps its
    /// handlers; without a running context they end it. Default: no.
    #[must_use]
    #[track_caller]
    pub fn stop_gracefully_on_shutdown(mut self, graceful: bool) -> Conf {
        self.stop_gracefully_on_shutdown = graceful;
        self.noted("stop_gracefully_on_shutdown")
    }

    /// Completed batches that [`StreamingMetrics::progress`](crate::metrics::StreamingMetrics::progress)
    /// remembers. Default: 1000.
    #[must_use]
    #[track_caller]
    pub fn retained_batches(mut self, batches: usize) -> Conf {
        self.retained_batches = batches;
        self.noted("retained_batches")
    }

    /// Fixes the seed of key hashes; for tests. Default: random at each first start.
    #[must_use]
    pub fn hash_seed(mut self, seed: HashSeed) -> Conf {
        self.hash_seed = Some(seed);
        self
    }

    /// Where [`DStream::serve`](crate::DStream::serve) serves, as `HOST:PORT`; port 0 takes a free one.
    /// Default: `127.0.0.1:0`, this machine only; [`StreamingContext::http_address`] tells the port. For
    /// one streaming context of several there is [`StreamingContext::serve_at`].
    ///
    /// [`StreamingContext::http_address`]: crate::StreamingContext::http_address
    /// [`StreamingContext::serve_at`]: crate::StreamingContext::serve_at
    #[cfg(feature = "http")]
    #[must_use]
    #[track_caller]
    pub fn http_address(mut self, address: impl Into<String>) -> Conf {
        self.http_address = address.into();
        self.noted("http_address")
    }

    /// The clock that everything reads. Default: the system's. Tests give a
    /// [`ManualClock`](crate::time::ManualClock).
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Conf {
        self.clock = clock;
        self
    }

    /// The application's name.
    pub fn app_name(&self) -> &str {
        &self.app_name
    }

    /// The number of task threads that the master means.
    ///
    /// # Errors
    /// [`Error::Config`] when the master isn't `local`, `local[N]` or `local[*]`.
    pub fn threads(&self) -> Result<usize> {
        let bad = |problem: String| Error::Config { key: "brooklet.master".into(), problem };
        let m = self.master.trim();
        if m == "local" {
            return Ok(1);
        }
        let Some(n) = m.strip_prefix("local[").and_then(|r| r.strip_suffix(']')) else {
            return Err(bad(format!(
                "`{m}` is no master of this build: use `local`, `local[N]` or `local[*]` \
                 (a cluster's address comes with a later version)"
            )));
        };
        if n.trim() == "*" {
            return Ok(std::thread::available_parallelism().map_or(1, usize::from));
        }
        match n.trim().parse::<usize>() {
            Ok(n) if (1..=1024).contains(&n) => Ok(n),
            _ => Err(bad(format!("`{m}`: N must be a number from 1 to 1024, or `*`"))),
        }
    }

    /// Checks every setting.
    pub(crate) fn validate(&self) -> Result<()> {
        let bad = |setter: &str, problem: &str| {
            let set = keys::of_setter(setter).find(|k| self.origins.contains_key(k.name));
            let key = set.map_or(setter, |k| k.name);
            let problem = match self.origins.get(key) {
                Some(origin) => format!("{origin}: {problem}"),
                None => problem.into(),
            };
            Err(Error::Config { key: key.into(), problem })
        };
        if let Err(Error::Config { problem, .. }) = self.threads() {
            return bad("master", &problem);
        }
        if self.app_name.contains('\0') {
            return bad("app_name", "must not contain a NUL character");
        }
        if self.default_parallelism == Some(0) {
            return bad("default_parallelism", "must be at least 1");
        }
        if self.block_interval.is_some_and(|d| d.as_millis() == 0) {
            return bad("block_interval", "must be at least 1 ms");
        }
        if self.block_interval.is_some_and(|d| d.subsec_nanos() % 1_000_000 != 0) {
            return bad("block_interval", "must be a whole number of milliseconds");
        }
        if self.batch_interval.is_some_and(|d| d.as_millis() == 0) {
            return bad("batch_interval", "must be at least 1 ms");
        }
        if self.block_queue_size == 0 {
            return bad("block_queue_size", "must be at least 1");
        }
        if self.concurrent_jobs == 0 {
            return bad("concurrent_jobs", "must be at least 1");
        }
        if self.task_max_failures == 0 {
            return bad("task_max_failures", "must be at least 1");
        }
        if self.max_queued_batches == 0 {
            return bad("max_queued_batches", "must be at least 1");
        }
        if self.task_memory == 0 {
            return bad("task_memory", "must be at least 1 byte");
        }
        if self.max_line_bytes < 16 {
            return bad("max_line_bytes", "must be at least 16");
        }
        Ok(())
    }

    /// The block interval for streams of this batch interval.
    pub(crate) fn block_interval_for(&self, batch: Duration) -> Duration {
        self.block_interval.unwrap_or(defaults::BLOCK_INTERVAL.min(batch))
    }

    /// How long a graceful stop of a context with this batch interval waits.
    pub(crate) fn graceful_timeout_for(&self, batch: Duration) -> Duration {
        self.graceful_stop_timeout
            .unwrap_or((batch * defaults::GRACEFUL_STOP_BATCHES).max(defaults::GRACEFUL_STOP_MIN))
    }
}

impl fmt::Debug for Conf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conf")
            .field("app_name", &self.app_name)
            .field("master", &self.master)
            .field("concurrent_jobs", &self.concurrent_jobs)
            .field("queue_policy", &self.queue_policy)
            .field("failure_policy", &self.failure_policy)
            .finish_non_exhaustive()
    }
}
