//! Logs: files that grow, are rotated and truncated, read line by line, every line exactly once.
//!
//! ```text
//!  names.rs     patterns, and what rotation makes of a name
//!  follower.rs  all logs of a path: shares of a batch, counters        Input::allocate
//!  follow.rs    one log: look ──► take                                       │
//!  file.rs      one file: position and fingerprints ──► LogRange             ▼
//!  read.rs      LogRange ──► lines, in the tasks                       Input::read
//! ```
//! Choosing reads the bytes once, to find line ends, count lines and take a checksum; the tasks read them
//! again, and refuse them when the checksum differs. Both read at most `max_batch_bytes` a batch.

mod decode;
mod file;
mod follow;
mod follower;
mod fs;
mod names;
mod options;
mod read;
mod scan;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use file::LogRange;
pub use fs::FileId;
pub use options::LogOptions;
pub use read::LogPipe;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::follow::Rules;
use self::follower::Follower;
use self::fs::Disk;
use self::names::LogPath;
use self::read::OpenFiles;
use self::scan::Lines;
use super::{Input, InputStart, SliceInfo};
use crate::error::BoxError;
use crate::{Conf, Error, Result, Str, Time};

/// What a batch has of a log.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LogSlice {
    /// Each partition's ranges; all together in the order of the lines.
    pub partitions: Vec<Vec<LogRange>>,
}

impl LogSlice {
    /// Ranges side by side, up to `split` bytes in a partition.
    fn new(ranges: Vec<LogRange>, split: u64) -> LogSlice {
        let mut partitions: Vec<Vec<LogRange>> = Vec::new();
        let mut filled = 0;
        for range in ranges {
            let bytes = range.to - range.from;
            match partitions.last_mut() {
                Some(last) if filled + bytes <= split => last.push(range),
                _ => {
                    partitions.push(vec![range]);
                    filled = 0;
                }
            }
            filled += bytes;
        }
        LogSlice { partitions }
    }

    /// Lines in it.
    pub fn records(&self) -> u64 {
        self.partitions.iter().flatten().map(|r| r.records).sum()
    }
}

/// The input behind [`log_file_stream`](crate::StreamingContext::log_file_stream).
pub struct LogInput {
    follower: Follower<Disk>,
    open: OpenFiles,
    lines: Lines,
    split: u64,
    shown: String,
}

impl LogInput {
    /// Follows the log at `path`, whose last part may be a pattern.
    ///
    /// # Errors
    /// [`Error::Config`] for a path that can't be a log's, and for options that can't be.
    pub fn new(path: impl AsRef<Path>, options: &LogOptions, conf: &Conf) -> Result<LogInput> {
        let bad = |key: &str, problem: String| Error::Config { key: key.into(), problem };
        let path = path.as_ref();
        let max_line = options.max_line_bytes.unwrap_or(conf.max_line_bytes);
        if max_line < 16 {
            return Err(bad("max_line_bytes", "must be at least 16".into()));
        }
        if options.split_bytes == 0 {
            return Err(bad("split_bytes", "must be at least 1".into()));
        }
        if options.max_batch_bytes == 0 {
            return Err(bad("max_batch_bytes", "must be at least 1".into()));
        }
        if path.is_dir() {
            let problem = format!(
                "`{0}` is a folder: give the path of a log file, such as `{0}/app.log` or `{0}/*.log`",
                path.display()
            );
            return Err(bad("path", problem));
        }
        let log = LogPath::new(path).map_err(|problem| bad("path", problem))?;
        let lines = Lines { max_line, charset: decode::named(&options.charset)? };
        let rules = Rules {
            lines,
            half_lines: options.half_lines,
            rotated_wait: options.rotated_wait,
            split: options.split_bytes,
        };
        let begin = options.begin.clone();
        Ok(LogInput {
            follower: Follower::new(Disk, log, rules, begin, options.max_batch_bytes),
            open: OpenFiles::default(),
            lines,
            split: options.split_bytes as u64,
            shown: path.display().to_string(),
        })
    }
}

impl Input for LogInput {
    type Item = Str;
    type Slice = LogSlice;
    type Pipe = LogPipe;

    /// Notes where the logs end now.
    fn start(&mut self, at: InputStart) -> Result<(), BoxError> {
        self.follower.look(at.zero_time);
        Ok(())
    }

    fn allocate(&mut self, t: Time, limit: Option<u64>) -> Result<Option<LogSlice>, BoxError> {
        let chosen = self.follower.choose(t, limit);
        let ranges = chosen.into_iter().map(|(range, file)| {
            self.open.keep(range.file, file, t);
            range
        });
        Ok(Some(LogSlice::new(ranges.collect(), self.split)))
    }

    fn read(&self, slice: &Arc<LogSlice>) -> Result<LogPipe, BoxError> {
        Ok(LogPipe { slice: slice.clone(), open: self.open.clone(), lines: self.lines })
    }

    fn input_info(&self, slice: &LogSlice) -> SliceInfo {
        let mut info = SliceInfo::records(slice.records());
        let mut files: BTreeMap<(FileId, String), (u64, u64)> = BTreeMap::new();
        for r in slice.partitions.iter().flatten() {
            let span =
                files.entry((r.file, r.path.display().to_string())).or_insert((r.from, r.to));
            *span = (span.0.min(r.from), span.1.max(r.to));
        }
        let bytes: u64 = files.values().map(|(from, to)| to - from).sum();
        let n = files.len();
        for ((_, path), (from, to)) in files {
            let text = info.metadata.entry(path).or_default();
            let comma = if text.is_empty() { "" } else { ", " };
            text.push_str(&format!("{comma}{from}..{to}"));
        }
        let files = if n == 1 { "file" } else { "files" };
        let description = format!("{}: {bytes} bytes of {n} {files}", self.shown);
        info.metadata.insert("Description".into(), description);
        info
    }

    fn release(&mut self, up_to: Time) {
        self.open.release(up_to);
    }

    /// Positions aren't restored yet.
    fn recoverable(&self) -> bool {
        false
    }

    fn has_unallocated(&self) -> bool {
        self.follower.has_unread()
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        self.follower.counts().iter().map(|(name, n)| (name.to_string(), *n)).collect()
    }
}

impl fmt::Debug for LogInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogInput({})", self.shown)
    }
}

impl fmt::Debug for LogPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogPipe({} partitions)", self.slice.partitions.len())
    }
}
