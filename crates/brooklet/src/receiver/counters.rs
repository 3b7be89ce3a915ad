//! Named counters of a receiver.

use std::collections::BTreeMap;

use crate::sync::{LockExt, Mutex};

/// Invalid UTF-8 sequences that were replaced by U+FFFD.
pub const INVALID_UTF8: &str = "invalid_utf8";
/// Lines that were cut because they were too long.
pub const LONG_LINES: &str = "long_lines";
/// Lines without an end at the end of a connection.
pub const HALF_LINES: &str = "half_lines";
/// Records that a connection's end cut in two; dropped.
pub const HALF_RECORDS: &str = "half_records";
/// Attempts at a connection that failed, TLS handshakes included.
pub const CONNECT_FAILURES: &str = "connect_failures";
/// Failures (errors and panics) of a stream's converter or decoder, records above the limit included.
pub const DECODE_ERRORS: &str = "decode_errors";
/// Blocks of a raw socket stream that were refused: damaged, too long, or of another type.
pub const REFUSED_BLOCKS: &str = "refused_blocks";
/// Datagrams that arrived.
pub const DATAGRAMS: &str = "datagrams";
/// Datagrams longer than the limit: cut (text) or dropped (records).
pub const LONG_DATAGRAMS: &str = "long_datagrams";
/// Datagrams that the system dropped because the receive buffer was full, where it tells (Linux).
pub const LOST_DATAGRAMS: &str = "lost_datagrams";
/// Connections that were made again.
pub const RECONNECTS: &str = "reconnects";
/// Records in stored blocks.
pub const RECORDS: &str = "records";
/// Stored blocks.
pub const BLOCKS: &str = "blocks";
/// Bytes of stored blocks, one copy, in memory.
pub const BYTES: &str = "bytes";
/// Times the receiver's code was started again.
pub const RESTARTS: &str = "restarts";
/// Errors reported, failures and panics included.
pub const ERRORS: &str = "errors";
/// Nanoseconds during which a block waited for memory or disk to become free.
pub const BLOCKED_NANOS: &str = "blocked_nanos";
/// Blocks that had to wait for memory or disk to become free; counted when the wait begins.
pub const BLOCKED_BLOCKS: &str = "blocked_blocks";
/// Records that were accepted and then given up by a stop that isn't graceful.
pub const ABANDONED_RECORDS: &str = "abandoned_records";

/// Counters by name; each is locked once per chunk or block, not per record.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<String, u64>>);

impl Counters {
    pub(crate) fn add(&self, name: &str, n: u64) {
        if n == 0 {
            return;
        }
        let mut all = self.0.get();
        match all.get_mut(name) {
            Some(count) => *count = count.saturating_add(n),
            None => drop(all.insert(name.to_owned(), n)),
        }
    }

    pub(crate) fn snapshot(&self) -> BTreeMap<String, u64> {
        self.0.get().clone()
    }
}
