//! How a directory is watched and its files are read.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Compression;
use crate::conf::defaults;
use crate::rdd::OnError;
use crate::source::Charset;

/// Which files of the directory belong to the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum StartFrom {
    /// All that are found, also those that are there at the start, however old they are. The default.
    #[default]
    All,
    /// Those that aren't there at the start. A file that comes later is taken, however old its modification
    /// time is.
    NewOnly,
}

type Filter = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// How a directory is watched and its files are read; for
/// [`file_stream_with`](crate::StreamingContext::file_stream_with) and its like.
///
/// ```
/// use brooklet::prelude::*;
/// use brooklet::source::file::{FileOptions, StartFrom};
/// let ssc = StreamingContext::new(Conf::new("doc"), seconds(1))?;
/// let options = FileOptions::new()
///     .filter(|path| path.extension().is_some_and(|e| e == "log"))
///     .start_from(StartFrom::NewOnly)
///     .charset("gbk")
///     .max_files_per_batch(100);
/// let lines = ssc.text_file_stream_with("/var/spool/in", options);
/// # Ok::<(), brooklet::Error>(())
/// ```
#[derive(Clone)]
pub struct FileOptions {
    pub(super) filter: Option<Filter>,
    pub(super) start_from: StartFrom,
    pub(super) max_files: usize,
    pub(super) settle_time: Option<Duration>,
    pub(super) split_bytes: u64,
    pub(super) compression: Option<Compression>,
    pub(super) charset: String,
    pub(super) max_line_bytes: Option<usize>,
    pub(super) on_bad_record: OnError,
    pub(super) on_file_error: OnError,
    pub(super) missing_directory: OnError,
}

impl FileOptions {
    /// Everything at its default.
    pub fn new() -> FileOptions {
        FileOptions {
            filter: None,
            start_from: StartFrom::default(),
            max_files: usize::MAX,
            settle_time: None,
            split_bytes: defaults::FILE_SPLIT_BYTES,
            compression: None,
            charset: "utf-8".into(),
            max_line_bytes: None,
            on_bad_record: OnError::Fail,
            on_file_error: OnError::Fail,
            missing_directory: OnError::Skip,
        }
    }

    /// Only files whose path this accepts. Asked once for each file; names that begin with `.` or `_` are
    /// left out before. Default: all.
    #[must_use]
    pub fn filter(mut self, accepts: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Arc::new(accepts));
        self
    }

    /// Which files belong to the stream. Default: [`StartFrom::All`].
    #[must_use]
    pub fn start_from(mut self, start: StartFrom) -> Self {
        self.start_from = start;
        self
    }

    /// Files that a batch takes at most, the oldest first; the others wait (a graceful stop leaves them).
    /// Default: no limit.
    #[must_use]
    pub fn max_files_per_batch(mut self, files: usize) -> Self {
        self.max_files = files.max(1);
        self
    }

    /// How long a file has to be unchanged (size and modification time) before it is taken, so that a file
    /// that is still being written isn't: by its modification time, or by what the scans of the batches have
    /// seen. Default: the batch interval, at least [`defaults::FILE_SETTLE_MIN`]. Zero takes a file as soon
    /// as it is seen, one batch earlier: right when all files are moved into the directory.
    #[must_use]
    pub fn settle_time(mut self, d: Duration) -> Self {
        self.settle_time = Some(d);
        self
    }

    /// Size of the pieces in which several tasks read a big file, in bytes: uncompressed files of formats
    /// that can be read from the middle. Default: [`defaults::FILE_SPLIT_BYTES`].
    #[must_use]
    pub fn split_bytes(mut self, bytes: u64) -> Self {
        self.split_bytes = bytes.max(1);
        self
    }

    /// Whether files are compressed. Default: what the format says.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// The character set of text formats, by its name; an unknown one is an error of
    /// [`StreamingContext::start`](crate::StreamingContext::start). Malformed text becomes U+FFFD and is counted (`invalid_text`). Default: UTF-8.
    #[must_use]
    pub fn charset(mut self, name: impl Into<String>) -> Self {
        self.charset = name.into();
        self
    }

    /// Longest line, JSON text or CSV record, in bytes of UTF-8. A longer line is cut there and counted
    /// (`long_lines`); a longer JSON text or CSV record is a bad record. Default:
    /// [`Conf::max_line_bytes`](crate::Conf::max_line_bytes).
    #[must_use]
    pub fn max_line_bytes(mut self, bytes: usize) -> Self {
        self.max_line_bytes = Some(bytes.max(4));
        self
    }

    /// A record that isn't what the format wants (JSON, CSV): fail the task, naming file and place, or skip
    /// and count (`bad_records`). Default: fail.
    #[must_use]
    pub fn on_bad_record(mut self, policy: OnError) -> Self {
        self.on_bad_record = policy;
        self
    }

    /// A file that was taken and can't be read to its end (deleted, damaged, the wrong length): fail the
    /// task, naming the file, or skip its rest, and count and report it (`failed_files`). Default: fail.
    #[must_use]
    pub fn on_file_error(mut self, policy: OnError) -> Self {
        self.on_file_error = policy;
        self
    }

    /// No such directory at the start: refuse to start, or warn and look again at each batch. Default:
    /// [`OnError::Skip`], which warns.
    #[must_use]
    pub fn missing_directory(mut self, policy: OnError) -> Self {
        self.missing_directory = policy;
        self
    }
}

impl Default for FileOptions {
    fn default() -> Self {
        FileOptions::new()
    }
}

impl fmt::Debug for FileOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileOptions")
            .field("filter", &self.filter.is_some())
            .field("start_from", &self.start_from)
            .field("max_files_per_batch", &self.max_files)
            .field("settle_time", &self.settle_time)
            .field("split_bytes", &self.split_bytes)
            .field("compression", &self.compression)
            .field("charset", &self.charset)
            .field("max_line_bytes", &self.max_line_bytes)
            .field("on_bad_record", &self.on_bad_record)
            .field("on_file_error", &self.on_file_error)
            .field("missing_directory", &self.missing_directory)
            .finish()
    }
}

/// What a reading task knows of the options.
#[derive(Clone, Debug)]
pub(super) struct ReadOptions {
    pub(super) compression: Compression,
    pub(super) charset: Charset,
    pub(super) max_line_bytes: usize,
    pub(super) on_bad_record: OnError,
    pub(super) on_file_error: OnError,
    /// Bytes that are read at once.
    pub(super) piece: usize,
}
