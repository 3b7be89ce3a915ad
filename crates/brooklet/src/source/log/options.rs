//! How a log is followed.

use std::time::Duration;

use super::follow::Begin;
use crate::conf::defaults;
use crate::receiver::HalfLines;

/// How a log is followed; see
/// [`log_file_stream_with`](crate::StreamingContext::log_file_stream_with).
///
/// ```
/// use brooklet::prelude::*;
/// use brooklet::source::LogOptions;
/// let options = LogOptions::new().from_start().max_batch_bytes(16 << 20).rotated_wait(seconds(5));
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a stream is made with them"]
pub struct LogOptions {
    pub(super) begin: Begin,
    pub(super) max_batch_bytes: u64,
    pub(super) split_bytes: usize,
    pub(super) max_line_bytes: Option<usize>,
    pub(super) half_lines: HalfLines,
    pub(super) rotated_wait: Duration,
    pub(super) charset: String,
}

impl LogOptions {
    /// Everything at its default.
    pub fn new() -> LogOptions {
        LogOptions {
            begin: Begin::End,
            max_batch_bytes: defaults::LOG_MAX_BATCH_BYTES,
            split_bytes: defaults::LOG_SPLIT_BYTES,
            max_line_bytes: None,
            half_lines: HalfLines::Keep,
            rotated_wait: defaults::LOG_ROTATED_WAIT,
            charset: "utf-8".into(),
        }
    }

    /// Begins with the lines that end after the start of the context, as `tail -F` does; the default. A log
    /// that doesn't exist at the start is read from its first line.
    pub fn from_end(mut self) -> Self {
        self.begin = Begin::End;
        self
    }

    /// Begins with the first line of the file that the path leads to at the start.
    pub fn from_start(mut self) -> Self {
        self.begin = Begin::Start;
        self
    }

    /// Begins with the first line of the oldest rotated file (`app.log.3`, `app.log-20260131`, ...) beside
    /// the log. Compressed ones are not read; each is reported, and counted as `lost_files`.
    pub fn from_rotated(mut self) -> Self {
        self.begin = Begin::Rotated;
        self
    }

    /// Bytes that a batch takes of all logs of the path together; the rest waits for the next batches. A
    /// line that is longer is taken whole. Default: 64 MiB.
    pub fn max_batch_bytes(mut self, bytes: u64) -> Self {
        self.max_batch_bytes = bytes;
        self
    }

    /// Bytes of a partition: more of them are cut at a line end into several. A task holds that many at a
    /// time. Default: 8 MiB.
    pub fn split_bytes(mut self, bytes: usize) -> Self {
        self.split_bytes = bytes;
        self
    }

    /// Longest line, in bytes; a longer one is cut there and counted (`long_lines`). Default:
    /// [`Conf::max_line_bytes`](crate::Conf::max_line_bytes).
    pub fn max_line_bytes(mut self, bytes: usize) -> Self {
        self.max_line_bytes = Some(bytes);
        self
    }

    /// What becomes of a line without an end in a file that was rotated and isn't written to any more; it is
    /// counted (`half_lines`). Default: it is a line.
    pub fn half_lines(mut self, half_lines: HalfLines) -> Self {
        self.half_lines = half_lines;
        self
    }

    /// How long, in batch time, a rotated or deleted file is kept open after it was last written to: programs
    /// go on writing to a file that was renamed until they are told. What is written later is read at the next
    /// rotation, if the file is still there. Default: 10 s.
    pub fn rotated_wait(mut self, wait: Duration) -> Self {
        self.rotated_wait = wait;
        self
    }

    /// The character set, by its name in the WHATWG Encoding Standard (`gbk`, `shift_jis`, `windows-1252`,
    /// ...); one that doesn't contain ASCII (UTF-16) is an error of the call that makes the stream. Malformed
    /// text becomes U+FFFD and is counted: `invalid_utf8` in UTF-8, `invalid_text` in other sets. Default:
    /// UTF-8. Others are decoded twice, once on the thread that chooses batches.
    pub fn charset(mut self, name: impl Into<String>) -> Self {
        self.charset = name.into();
        self
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions::new()
    }
}
