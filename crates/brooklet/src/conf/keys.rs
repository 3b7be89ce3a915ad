//! The one table of all keys: those that are accepted, and those of the original that are refused, with the
//! reason. `docs/configuration.md` is made from it.

use super::Conf;
use super::suggest::nearest;
use super::value::{self, ConfKind};
use crate::time::format_duration;

/// A setting that has a key, from [`Conf::keys`].
#[derive(Debug)]
#[non_exhaustive]
pub struct ConfKey {
    /// The canonical form, `brooklet.streaming.blockInterval`. The words of a part may also be written as in
    /// `block_interval` and `block-interval`.
    pub name: &'static str,
    /// The original's key, which is accepted too.
    pub original: Option<&'static str>,
    /// The typed setter on [`Conf`].
    pub setter: &'static str,
    /// What its values look like.
    pub kind: ConfKind,
    /// What holds when nothing is set and there is no fixed default.
    pub unset: &'static str,
    /// What it does.
    pub about: &'static str,
    pub(super) set: fn(&mut Conf, &str) -> Result<(), String>,
    pub(super) get: fn(&Conf) -> Option<String>,
}

/// Keys of the original that are refused for one reason, from [`Conf::refused_keys`].
#[derive(Debug)]
#[non_exhaustive]
pub struct RefusedKeys {
    /// The keys without `spark.` or `brooklet.` before them; `*` at the end stands for whatever follows.
    pub keys: &'static [&'static str],
    /// Why, and what to do instead.
    pub reason: &'static str,
}

/// What the kinds of queue policies are called.
const QUEUE_POLICIES: &[&str] = &["wait", "merge", "fail"];
/// What the kinds of failure policies are called.
const FAILURE_POLICIES: &[&str] = &["stop", "skip"];
/// What the stores of states are called.
const STATE_STORES: &[&str] = &["memory", "disk"];

fn text(v: &str) -> Result<String, String> {
    if v.trim().is_empty() { Err("the value is empty".into()) } else { Ok(v.trim().into()) }
}

pub(super) static KEYS: &[ConfKey] = &[
    // ---- the core ----
    ConfKey {
        name: "brooklet.app.name",
        original: Some("spark.app.name"),
        setter: "app_name",
        kind: ConfKind::Text,
        unset: "",
        about: "The application's name, in the names of its threads and in the log.",
        set: |c, v| text(v).map(|v| c.app_name = v),
        get: |c| Some(c.app_name.clone()),
    },
    ConfKey {
        name: "brooklet.master",
        original: Some("spark.master"),
        setter: "master",
        kind: ConfKind::Text,
        unset: "",
        about: "Where tasks run: `local` (one thread), `local[N]` or `local[*]` (one thread a core).",
        set: |c, v| text(v).map(|v| c.master = v),
        get: |c| Some(c.master.clone()),
    },
    ConfKey {
        name: "brooklet.default.parallelism",
        original: Some("spark.default.parallelism"),
        setter: "default_parallelism",
        kind: ConfKind::Number,
        unset: "the number of task threads",
        about: "Partitions of a shuffle that isn't told otherwise. At least 1.",
        set: |c, v| value::count(v).map(|n| c.default_parallelism = Some(n)),
        get: |c| c.default_parallelism.map(|n| n.to_string()),
    },
    ConfKey {
        name: "brooklet.task.maxFailures",
        original: Some("spark.task.maxFailures"),
        setter: "task_max_failures",
        kind: ConfKind::Number,
        unset: "",
        about: "Attempts of a task before its job fails. At least 1.",
        set: |c, v| value::count(v).map(|n| c.task_max_failures = n),
        get: |c| Some(c.task_max_failures.to_string()),
    },
    ConfKey {
        name: "brooklet.local.dir",
        original: Some("spark.local.dir"),
        setter: "local_dir",
        kind: ConfKind::Text,
        unset: "a fresh folder in the system's temporary folder",
        about: "The folder for blocks that go to disk: one folder, not a list.",
        set: |c, v| {
            let dir = text(v)?;
            if dir.contains(',') {
                return Err(format!("`{v}` looks like a list: blocks go to one folder"));
            }
            c.local_dir = Some(dir.into());
            Ok(())
        },
        get: |c| c.local_dir.as_ref().map(|d| d.display().to_string()),
    },
    ConfKey {
        name: "brooklet.storage.memory",
        original: None,
        setter: "block_store_memory",
        kind: ConfKind::Bytes,
        unset: "",
        about: "Memory of the block store: received and persisted blocks. What doesn't fit goes to disk if \
                its storage level allows.",
        set: |c, v| value::bytes(v).map(|n| c.block_store_memory = n),
        get: |c| Some(value::show_bytes(c.block_store_memory as u64)),
    },
    #[cfg(feature = "http")]
    ConfKey {
        name: "brooklet.http.address",
        original: None,
        setter: "http_address",
        kind: ConfKind::Text,
        unset: "",
        about: "Where `serve` serves streams, as `HOST:PORT`; port 0 takes a free one.",
        set: |c, v| text(v).map(|v| c.http_address = v),
        get: |c| Some(c.http_address.clone()),
    },
    ConfKey {
        name: "brooklet.task.memory",
        original: None,
        setter: "task_memory",
        kind: ConfKind::Bytes,
        unset: "",
        about: "Memory of the table or sort buffer of one task, about; what is more goes to disk and is \
                merged from there. As many tasks run at a time as there are task threads. At least 1.",
        set: |c, v| value::bytes(v).map(|n| c.task_memory = n),
        get: |c| Some(value::show_bytes(c.task_memory as u64)),
    },
    ConfKey {
        name: "brooklet.shuffle.memory",
        original: None,
        setter: "shuffle_memory",
        kind: ConfKind::Bytes,
        unset: "",
        about: "Memory of all shuffle outputs that are kept until their batch is over; one that finds no \
                room goes to disk. 0 writes all of them.",
        set: |c, v| value::bytes(v).map(|n| c.shuffle_memory = n),
        get: |c| Some(value::show_bytes(c.shuffle_memory as u64)),
    },
    ConfKey {
        name: "brooklet.state.store",
        original: None,
        setter: "state_store",
        kind: ConfKind::Choice(STATE_STORES),
        unset: "",
        about: "Where `map_with_state` and `update_state_by_key` keep their states: in `memory`, or on `disk` \
                with `brooklet.state.memory` in front of it.",
        set: |c, v| {
            use super::StateStore::{Disk, Memory};
            value::choice(v, STATE_STORES).map(|i| c.state_store = [Memory, Disk][i])
        },
        get: |c| Some(STATE_STORES[c.state_store as usize].into()),
    },
    ConfKey {
        name: "brooklet.state.dir",
        original: None,
        setter: "state_dir",
        kind: ConfKind::Text,
        unset: "as `brooklet.local.dir`",
        about: "The folder for states on disk.",
        set: |c, v| text(v).map(|v| c.state_dir = Some(v.into())),
        get: |c| c.state_dir.as_ref().map(|d| d.display().to_string()),
    },
    ConfKey {
        name: "brooklet.state.memory",
        original: None,
        setter: "state_memory",
        kind: ConfKind::Bytes,
        unset: "",
        about: "Memory of the states on disk, all operators together, about: half is a cache of what was \
                read, an eighth the write buffer of each operator, of which more wait while writes outrun \
                the disk.",
        set: |c, v| value::bytes(v).map(|n| c.state_memory = n),
        get: |c| Some(value::show_bytes(c.state_memory as u64)),
    },
    ConfKey {
        name: "brooklet.storage.compress",
        original: Some("spark.rdd.compress"),
        setter: "compress_blocks",
        kind: ConfKind::Flag,
        unset: "",
        about: "Whether blocks are compressed (lz4) when they go to disk; in memory they never are.",
        set: |c, v| value::flag(v).map(|b| c.compress_blocks = b),
        get: |c| Some(c.compress_blocks.to_string()),
    },
    // ---- batches ----
    ConfKey {
        name: "brooklet.streaming.batchInterval",
        original: None,
        setter: "batch_interval",
        kind: ConfKind::Duration,
        unset: "1s",
        about: "The batch interval of a context that is built without one, by \
                `StreamingContext::builder(conf).build()`. An interval in the program wins.",
        set: |c, v| value::duration(v).map(|d| c.batch_interval = Some(d)),
        get: |c| c.batch_interval.map(format_duration),
    },
    ConfKey {
        name: "brooklet.streaming.concurrentJobs",
        original: Some("spark.streaming.concurrentJobs"),
        setter: "concurrent_jobs",
        kind: ConfKind::Number,
        unset: "",
        about: "Output operations that may run at the same time. 1 is strictly in order; with more, outputs \
                of one batch and of following batches overlap, but the calls of one output never do. At \
                least 1.",
        set: |c, v| value::count(v).map(|n| c.concurrent_jobs = n),
        get: |c| Some(c.concurrent_jobs.to_string()),
    },
    ConfKey {
        name: "brooklet.streaming.maxQueuedBatches",
        original: None,
        setter: "max_queued_batches",
        kind: ConfKind::Number,
        unset: "",
        about: "Batches that may wait or run before the queue policy acts. At least 1.",
        set: |c, v| value::count(v).map(|n| c.max_queued_batches = n),
        get: |c| Some(c.max_queued_batches.to_string()),
    },
    ConfKey {
        name: "brooklet.streaming.queuePolicy",
        original: None,
        setter: "queue_policy",
        kind: ConfKind::Choice(QUEUE_POLICIES),
        unset: "",
        about: "What happens when that many wait: ticks come late, in order (`wait`); all waiting input \
                goes to the newest waiting batch (`merge`); the context stops with an error (`fail`).",
        set: |c, v| {
            use super::QueuePolicy::{Fail, Merge, Wait};
            value::choice(v, QUEUE_POLICIES).map(|i| c.queue_policy = [Wait, Merge, Fail][i])
        },
        get: |c| Some(QUEUE_POLICIES[c.queue_policy as usize].into()),
    },
    ConfKey {
        name: "brooklet.streaming.failurePolicy",
        original: None,
        setter: "failure_policy",
        kind: ConfKind::Choice(FAILURE_POLICIES),
        unset: "",
        about: "What happens when an output operation has failed for good: the context stops with the error \
                (`stop`), or the failure is recorded and the next batch goes on (`skip`).",
        set: |c, v| value::choice(v, FAILURE_POLICIES).map(|i| c.failure_policy.skip = i == 1),
        get: |c| Some(FAILURE_POLICIES[usize::from(c.failure_policy.skip)].into()),
    },
    ConfKey {
        name: "brooklet.streaming.outputRetries",
        original: None,
        setter: "failure_policy",
        kind: ConfKind::Number,
        unset: "",
        about: "How often a failed output operation is run again before the failure policy acts. Its side \
                effects may then happen twice.",
        set: |c, v| value::count(v).map(|n| c.failure_policy.retries = n),
        get: |c| Some(c.failure_policy.retries.to_string()),
    },
    ConfKey {
        name: "brooklet.streaming.remember",
        original: None,
        setter: "remember",
        kind: ConfKind::Duration,
        unset: "0ms",
        about: "How long after its batch the data of a batch is kept, where the program doesn't say by \
                `StreamingContext::remember`.",
        set: |c, v| value::duration(v).map(|d| c.remember = Some(d)),
        get: |c| c.remember.map(format_duration),
    },
    ConfKey {
        name: "brooklet.streaming.unpersist",
        original: Some("spark.streaming.unpersist"),
        setter: "unpersist",
        kind: ConfKind::Flag,
        unset: "",
        about: "Whether data and received blocks go when their batch is over. With `false` everything is \
                kept until the context stops: receivers then come to a halt at their limits, so it is for \
                short runs and for looking for errors.",
        set: |c, v| value::flag(v).map(|b| c.unpersist = b),
        get: |c| Some(c.unpersist.to_string()),
    },
    ConfKey {
        name: "brooklet.streaming.gracefulStopTimeout",
        original: Some("spark.streaming.gracefulStopTimeout"),
        setter: "graceful_stop_timeout",
        kind: ConfKind::Duration,
        unset: "10 batch intervals, at least 60 s",
        about: "How long a graceful stop waits for batches.",
        set: |c, v| value::duration(v).map(|d| c.graceful_stop_timeout = Some(d)),
        get: |c| c.graceful_stop_timeout.map(format_duration),
    },
    ConfKey {
        name: "brooklet.streaming.stopGracefullyOnShutdown",
        original: Some("spark.streaming.stopGracefullyOnShutdown"),
        setter: "stop_gracefully_on_shutdown",
        kind: ConfKind::Flag,
        unset: "",
        about: "Whether Ctrl-C, and on Unix `SIGTERM` and `SIGHUP`, stop the context gracefully instead of \
                ending the process; the next one ends it at once.",
        set: |c, v| value::flag(v).map(|b| c.stop_gracefully_on_shutdown = b),
        get: |c| Some(c.stop_gracefully_on_shutdown.to_string()),
    },
    ConfKey {
        name: "brooklet.streaming.ui.retainedBatches",
        original: Some("spark.streaming.ui.retainedBatches"),
        setter: "retained_batches",
        kind: ConfKind::Number,
        unset: "",
        about: "Completed batches that the progress figures remember. 0 remembers none.",
        set: |c, v| value::count(v).map(|n| c.retained_batches = n),
        get: |c| Some(c.retained_batches.to_string()),
    },
    // ---- receivers ----
    ConfKey {
        name: "brooklet.streaming.blockInterval",
        original: Some("spark.streaming.blockInterval"),
        setter: "block_interval",
        kind: ConfKind::Duration,
        unset: "200ms or the batch interval, whichever is shorter",
        about: "How often received data is cut into a block, which is a partition of its batch. At least \
                1ms.",
        set: |c, v| value::duration(v).map(|d| c.block_interval = Some(d)),
        get: |c| c.block_interval.map(format_duration),
    },
    ConfKey {
        name: "brooklet.streaming.blockQueueSize",
        original: Some("spark.streaming.blockQueueSize"),
        setter: "block_queue_size",
        kind: ConfKind::Number,
        unset: "",
        about: "Blocks that may wait to be stored, per receiver, before `store` waits. At least 1.",
        set: |c, v| value::count(v).map(|n| c.block_queue_size = n),
        get: |c| Some(c.block_queue_size.to_string()),
    },
    ConfKey {
        name: "brooklet.streaming.receiver.maxRate",
        original: Some("spark.streaming.receiver.maxRate"),
        setter: "receiver_max_rate",
        kind: ConfKind::Number,
        unset: "no limit",
        about: "Records a second that each receiver may store one by one. 0 is no limit.",
        set: |c, v| value::number(v).map(|n| c.receiver_max_rate = (n > 0).then_some(n)),
        get: |c| c.receiver_max_rate.map(|n| n.to_string()),
    },
    ConfKey {
        name: "brooklet.streaming.receiver.maxUnprocessedBytes",
        original: None,
        setter: "receiver_max_unprocessed_bytes",
        kind: ConfKind::Bytes,
        unset: "",
        about: "Bytes that a receiver may have in memory, stored and not yet processed. Above it blocks go \
                to disk if their level allows, else `store` waits.",
        set: |c, v| value::bytes(v).map(|n| c.receiver_max_unprocessed_bytes = n),
        get: |c| Some(value::show_bytes(c.receiver_max_unprocessed_bytes as u64)),
    },
    ConfKey {
        name: "brooklet.streaming.receiver.maxSpilledBytes",
        original: None,
        setter: "receiver_max_spilled_bytes",
        kind: ConfKind::Bytes,
        unset: "",
        about: "Bytes that a receiver may have on disk, not yet processed; above it `store` waits.",
        set: |c, v| value::bytes(v).map(|n| c.receiver_max_spilled_bytes = n),
        get: |c| Some(value::show_bytes(c.receiver_max_spilled_bytes)),
    },
    ConfKey {
        name: "brooklet.streaming.receiverRestartDelay",
        original: Some("spark.streaming.receiverRestartDelay"),
        setter: "receiver_restart_delay",
        kind: ConfKind::Duration,
        unset: "",
        about: "Pause between a receiver's failure and its restart.",
        set: |c, v| value::duration(v).map(|d| c.receiver_restart_delay = d),
        get: |c| Some(format_duration(c.receiver_restart_delay)),
    },
    ConfKey {
        name: "brooklet.streaming.maxLineBytes",
        original: None,
        setter: "max_line_bytes",
        kind: ConfKind::Bytes,
        unset: "",
        about: "Longest line of a text source; what is longer is cut there and counted. At least 16.",
        set: |c, v| value::bytes(v).map(|n| c.max_line_bytes = n),
        get: |c| Some(value::show_bytes(c.max_line_bytes as u64)),
    },
];

pub(super) static REFUSED: &[RefusedKeys] = &[
    RefusedKeys {
        keys: &[
            "streaming.backpressure.enabled",
            "streaming.backpressure.initialRate",
            "streaming.backpressure.rateEstimator",
            "streaming.backpressure.pid.proportional",
            "streaming.backpressure.pid.integral",
            "streaming.backpressure.pid.derived",
            "streaming.backpressure.pid.minRate",
            "streaming.backpressure.*",
        ],
        reason: "back pressure isn't in this build; `brooklet.streaming.receiver.maxRate` limits a receiver",
    },
    RefusedKeys {
        keys: &[
            "streaming.kafka.maxRatePerPartition",
            "streaming.kafka.minRatePerPartition",
            "streaming.kafka.maxRetries",
            "streaming.kafka.consumer.cache.enabled",
            "streaming.kafka.consumer.cache.initialCapacity",
            "streaming.kafka.consumer.cache.maxCapacity",
            "streaming.kafka.consumer.cache.loadFactor",
            "streaming.kafka.consumer.poll.ms",
            "streaming.kafka.allowNonConsecutiveOffsets",
            "streaming.kafka.*",
        ],
        reason: "the Kafka source isn't in this build",
    },
    RefusedKeys {
        keys: &[
            "streaming.receiver.writeAheadLog.enable",
            "streaming.receiver.writeAheadLog.class",
            "streaming.receiver.writeAheadLog.rollingIntervalSecs",
            "streaming.receiver.writeAheadLog.maxFailures",
            "streaming.receiver.writeAheadLog.closeFileAfterWrite",
            "streaming.receiver.writeAheadLog.*",
            "streaming.driver.writeAheadLog.class",
            "streaming.driver.writeAheadLog.rollingIntervalSecs",
            "streaming.driver.writeAheadLog.maxFailures",
            "streaming.driver.writeAheadLog.closeFileAfterWrite",
            "streaming.driver.writeAheadLog.allowBatching",
            "streaming.driver.writeAheadLog.batchingTimeout",
            "streaming.driver.writeAheadLog.*",
        ],
        reason: "the write-ahead log isn't in this build: received data doesn't outlive the process",
    },
    RefusedKeys {
        keys: &["streaming.receiver.blockStoreTimeout"],
        reason: "it limits writes to the write-ahead log, which isn't in this build; a block that finds no \
                 room waits for it, and the receiver's counter `blocked_nanos` says how long",
    },
    RefusedKeys {
        keys: &["streaming.checkpoint.directory"],
        reason: "checkpoints and recovery aren't in this build",
    },
    RefusedKeys {
        keys: &[
            "streaming.dynamicAllocation.enabled",
            "streaming.dynamicAllocation.minExecutors",
            "streaming.dynamicAllocation.maxExecutors",
            "streaming.dynamicAllocation.scalingInterval",
            "streaming.dynamicAllocation.scalingUpRatio",
            "streaming.dynamicAllocation.scalingDownRatio",
            "streaming.dynamicAllocation.testing",
            "streaming.dynamicAllocation.*",
            "dynamicAllocation.*",
        ],
        reason: "there are no executors to add or remove: this build runs in one process",
    },
    RefusedKeys {
        keys: &["streaming.stopSparkContextByDefault"],
        reason: "a `Context` ends with its last clone: keep one to go on using it after `stop`",
    },
    RefusedKeys {
        keys: &["streaming.fileStream.minRememberDuration", "streaming.minRememberDuration"],
        reason: "files are known by path, size and time for as long as they are there, so there is no time \
                 after which they are forgotten",
    },
    RefusedKeys {
        keys: &["streaming.sessionByKey.deltaChainThreshold"],
        reason: "keyed state is changed in place: there are no chains of deltas",
    },
    RefusedKeys {
        keys: &["streaming.clock", "streaming.manualClock.jump"],
        reason: "the clock is for tests: give `Conf::clock` a `ManualClock` and move it by hand",
    },
    RefusedKeys {
        keys: &[
            "streaming.internal.batchTime",
            "streaming.internal.outputOpId",
            "streaming.internal.*",
        ],
        reason: "it is the original's own label of its jobs and nothing to set",
    },
    RefusedKeys {
        keys: &["executor.memory", "executor.cores", "cores.max", "executor.*", "driver.*"],
        reason: "this build runs in one process: `brooklet.master` says how many threads it uses, and \
                 `brooklet.storage.memory` how much memory its blocks may take",
    },
    RefusedKeys {
        keys: &["memory.fraction", "memory.storageFraction", "memory.*"],
        reason: "there is no heap to divide: `brooklet.storage.memory` is the memory of blocks, in bytes, \
                 `brooklet.shuffle.memory` that of shuffle outputs and `brooklet.task.memory` that of one \
                 task",
    },
    RefusedKeys {
        keys: &["serializer", "kryo.*", "kryoserializer.*"],
        reason: "records are encoded by serde, in one format",
    },
    RefusedKeys {
        keys: &["io.compression.codec", "io.compression.*"],
        reason: "blocks are compressed by lz4 or not at all: see `brooklet.storage.compress`",
    },
    RefusedKeys {
        keys: &["checkpoint.compress", "checkpoint.*"],
        reason: "checkpoints and recovery aren't in this build",
    },
    RefusedKeys {
        keys: &[
            "cleaner.referenceTracking.cleanCheckpoints",
            "cleaner.periodicGC.interval",
            "cleaner.*",
        ],
        reason: "there is no garbage collector: what nobody holds is gone at once",
    },
    RefusedKeys {
        keys: &["locality.wait", "locality.*"],
        reason: "this build runs in one process, where all data is local",
    },
    RefusedKeys {
        keys: &["speculation", "speculation.*"],
        reason: "tasks aren't run twice at the same time: threads take over each other's waiting tasks \
                 instead",
    },
    RefusedKeys {
        keys: &["scheduler.mode", "scheduler.*"],
        reason: "jobs share the task threads evenly, without pools; `brooklet.streaming.concurrentJobs` \
                 says how many run",
    },
    RefusedKeys {
        keys: &["storage.replication.*"],
        reason: "this build keeps one copy: a second one on the same machine protects from nothing",
    },
    RefusedKeys {
        keys: &["hadoop.validateOutputSpecs", "hadoop.*"],
        reason: "there are no Hadoop formats or file systems",
    },
    RefusedKeys {
        keys: &["network.timeout", "network.*", "rpc.*"],
        reason: "this build runs in one process and sends nothing between machines",
    },
    RefusedKeys {
        keys: &["ui.port", "ui.enabled", "ui.*"],
        reason: "the web page isn't in this build",
    },
    RefusedKeys {
        keys: &["metrics.conf", "metrics.namespace", "metrics.*"],
        reason: "there are no metrics sinks: `StreamingContext::metrics` has the gauges",
    },
    RefusedKeys {
        keys: &["eventLog.enabled", "eventLog.*"],
        reason: "there is no event log: a `StreamingListener` hears all events",
    },
];

/// `blockInterval` as `block_interval`; dots and what is in lower case stay.
pub(super) fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut before = '.';
    for c in name.chars() {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
        before = c;
    }
    out
}

/// Whether `written` is `name` in one of its three spellings.
fn spells(written: &str, name: &str) -> bool {
    written == name || written.replace('-', "_") == snake(name)
}

/// What a key that somebody wrote means.
pub(super) enum Found {
    Key(&'static ConfKey),
    Refused(&'static RefusedKeys),
    /// Nothing; the key it was most likely meant to be.
    Unknown(Option<String>),
}

impl ConfKey {
    /// The environment variable: `BROOKLET_STREAMING_BLOCK_INTERVAL`.
    pub fn env(&self) -> String {
        env_name(self.name)
    }

    /// The value that holds when nothing is set, as text.
    pub fn default(&self) -> String {
        (self.get)(&Conf::new("")).filter(|v| !v.is_empty()).unwrap_or_else(|| self.unset.into())
    }
}

fn env_name(key: &str) -> String {
    snake(key).replace('.', "_").to_ascii_uppercase()
}

/// Finds a key by one of its spellings, or the reason why it is refused.
pub(super) fn find(written: &str) -> Found {
    let is =
        |k: &&ConfKey| spells(written, k.name) || k.original.is_some_and(|o| spells(written, o));
    if let Some(key) = KEYS.iter().find(is) {
        return Found::Key(key);
    }
    let rest = written.strip_prefix("spark.").or_else(|| written.strip_prefix("brooklet."));
    let refuses = |pattern: &str| {
        let Some(rest) = rest else { return false };
        match pattern.strip_suffix('*') {
            Some(start) => {
                rest.starts_with(start) || rest.replace('-', "_").starts_with(&snake(start))
            }
            None => spells(rest, pattern),
        }
    };
    if let Some(refused) = REFUSED.iter().find(|r| r.keys.iter().any(|p| refuses(p))) {
        return Found::Refused(refused);
    }
    // The user's own prefix first: whoever writes `spark.` is offered the original's key.
    let originals = KEYS.iter().filter_map(|k| k.original);
    let names = KEYS.iter().map(|k| k.name);
    let refused = refused_names(if written.starts_with("spark.") { "spark." } else { "brooklet." });
    let near = if written.starts_with("spark.") {
        let names: Vec<&str> = originals.chain(names).chain(refused.iter().map(|r| &**r)).collect();
        nearest(written, names)
    } else {
        let names: Vec<&str> = names.chain(refused.iter().map(|r| &**r)).collect();
        nearest(written, names)
    };
    Found::Unknown(near.map(str::to_owned))
}

/// The refused keys without patterns, with this before them.
fn refused_names(prefix: &str) -> Vec<String> {
    let keys = REFUSED.iter().flat_map(|r| r.keys).filter(|k| !k.ends_with('*'));
    keys.map(|k| format!("{prefix}{k}")).collect()
}

/// Finds a setting by the name of its environment variable.
pub(super) fn find_env(written: &str) -> Found {
    if let Some(key) = KEYS.iter().find(|k| k.env() == written) {
        return Found::Key(key);
    }
    let rest = written.strip_prefix("BROOKLET_").unwrap_or(written);
    let refuses = |pattern: &&&str| match pattern.strip_suffix('*') {
        Some(start) => rest.starts_with(&env_name(start)),
        None => rest == env_name(pattern),
    };
    if let Some(refused) = REFUSED.iter().find(|r| r.keys.iter().any(|p| refuses(&p))) {
        return Found::Refused(refused);
    }
    let names: Vec<String> = KEYS.iter().map(ConfKey::env).collect();
    Found::Unknown(nearest(written, names.iter().map(|n| &**n)).map(str::to_owned))
}

/// The keys that the typed setter of this name sets.
pub(super) fn of_setter(setter: &str) -> impl Iterator<Item = &'static ConfKey> {
    KEYS.iter().filter(move |k| k.setter == setter)
}

/// Whether some key begins with this path.
pub(super) fn is_prefix(path: &str) -> bool {
    let begins = |name: &str| {
        let under = |n: &str| n.strip_prefix(path).is_some_and(|r| r.starts_with('.'));
        under(name) || under(&snake(name))
    };
    let path_is_root = matches!(path, "brooklet" | "spark");
    path_is_root || KEYS.iter().any(|k| begins(k.name) || k.original.is_some_and(begins))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_means_one_thing() {
        let mut seen = BTreeSet::new();
        for k in KEYS {
            let names = [Some(k.name), k.original].into_iter().flatten();
            for n in names.flat_map(|n| [n.to_owned(), snake(n), k.env()]).collect::<BTreeSet<_>>()
            {
                assert!(seen.insert(n.clone()), "{n} is there twice");
            }
            assert!(matches!(find(k.name), Found::Key(f) if f.name == k.name));
            assert!(matches!(find_env(&k.env()), Found::Key(f) if f.name == k.name));
            assert!(k.about.ends_with('.'), "{}", k.name);
            assert!(!k.default().is_empty() || k.name == "brooklet.app.name", "{}", k.name);
        }
        for r in refused_names("spark.").into_iter().chain(refused_names("brooklet.")) {
            assert!(matches!(find(&r), Found::Refused(_)), "{r}");
            assert!(!seen.contains(&r), "{r} is accepted and refused");
        }
    }

    #[test]
    fn keys_are_found_in_all_spellings() {
        for written in [
            "brooklet.streaming.blockInterval",
            "brooklet.streaming.block_interval",
            "brooklet.streaming.block-interval",
            "spark.streaming.blockInterval",
            "spark.streaming.block_interval",
        ] {
            assert!(
                matches!(find(written), Found::Key(k) if k.name == "brooklet.streaming.blockInterval"),
                "{written}"
            );
        }
        for written in
            ["brooklet.streaming.blockinterval", "streaming.blockInterval", "block_interval", ""]
        {
            assert!(matches!(find(written), Found::Unknown(_)), "{written}");
        }
        assert_eq!(snake("streaming.ui.retainedBatches"), "streaming.ui.retained_batches");
        assert!(matches!(find("spark.streaming.kafka.newThing"), Found::Refused(_)));
        assert!(matches!(find("brooklet.streaming.dynamic_allocation.x"), Found::Refused(_)));
        assert!(matches!(find_env("BROOKLET_STREAMING_KAFKA_X"), Found::Refused(_)));
    }
}
