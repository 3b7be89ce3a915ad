//! Files that appear in directories.
//!
//! | stream | format | record |
//! |---|---|---|
//! | [`text_file_stream`](StreamingContext::text_file_stream) | [`Lines`] | [`Str`] |
//! | [`binary_records_stream`](StreamingContext::binary_records_stream) | [`FixedRecords`] | `Vec<u8>` |
//! | [`file_stream`](StreamingContext::file_stream) | [`WholeFiles`] | path and bytes |
//! | | [`JsonLines<T>`](JsonLines) | `T` |
//! | | [`Csv<T>`](Csv) | `T` |
//! | | an [`InputFormat`] of your own | its own |
//!
//! # Which files
//! At each batch the directory is listed, or the directories that a pattern such as `logs/*/in` stands for
//! (`*`, `?`, `[a-z]`, `{in,out}`, `\` before a character that stands for itself). Files directly in it are
//! taken, not those of its folders, and not names that begin with `.` or `_`: give a file such a name while
//! you write it, and rename it when it is complete.
//!
//! Every file is taken exactly once in the life of the context, known by its identity: a renamed file isn't
//! new, another file under an old name is. Its modification time doesn't matter. From the start on all files
//! that are found are taken; [`StartFrom::NewOnly`] leaves out those that are there at the start.
//!
//! A file that is written in the directory itself is taken when it has been unchanged for
//! [`FileOptions::settle_time`]. What is added after that isn't read; it is counted (`changed_files`) and
//! reported with its name.
//!
//! # What can go wrong
//! | | |
//! |---|---|
//! | no such directory | a warning, and it is looked for at each batch ([`FileOptions::missing_directory`]) |
//! | a file can't be opened, a symbolic link leads nowhere | `unreadable_files`, reported once, tried again at each batch |
//! | a taken file is deleted, cut off, replaced or damaged before it is read | the task fails and names it, or `failed_files` ([`FileOptions::on_file_error`]) |
//! | a record isn't what the format wants | the task fails and names it, or `bad_records` ([`FileOptions::on_bad_record`]) |
//!
//! Reports are warnings in the log and the entry `Errors` of the batch's
//! [`StreamInputInfo::metadata`](crate::StreamInputInfo::metadata); counts are in
//! [`StreamingContext::counters`], as `text_file_stream-0.unreadable_files`. The records of a batch are
//! counted while they are read, and known when the batch is over. The metadata also has the names of the files
//! (`Description`), their number and bytes, and how long the look at the directory took (`Scan ms`).

mod compression;
mod csv;
mod fixed;
mod format;
mod input;
mod json;
mod lines;
mod options;
mod part;
mod pattern;
mod pipe;
mod report;
mod scan;
mod slice;
#[cfg(test)]
mod tests;
mod whole;

pub use self::csv::Csv;
pub use compression::Compression;
pub use fixed::FixedRecords;
pub use format::InputFormat;
pub use json::JsonLines;
pub use lines::{Lines, LongLines, TextPieces};
pub use options::{FileOptions, StartFrom};
pub use part::FilePart;
pub use whole::WholeFiles;

use std::path::Path;

use crate::dstream::DStream;
use crate::engine::Site;
use crate::{Str, StreamingContext};

impl StreamingContext {
    /// The lines of the text files that appear in a directory, as UTF-8; see [`source::file`](self) for which
    /// files are taken and when. `dir` may be a pattern of directories, such as `logs/*/in`. Files may be
    /// compressed (gzip, zstd, bzip2); big ones are read by several tasks.
    ///
    /// A wrong pattern is an error of [`StreamingContext::start`].
    ///
    /// ```
    /// use brooklet::testing::{Collector, Driver};
    /// let dir = std::env::temp_dir().join(format!("brooklet-doc-lines-{}", std::process::id()));
    /// std::fs::create_dir_all(&dir)?;
    /// std::fs::write(dir.join("a.txt"), "to be\nor not\n")?;
    /// let seen = Collector::new();
    /// let (s, d) = (seen.clone(), dir.clone());
    /// let mut driver = Driver::new(move |ssc| {
    ///     let s = s.clone();
    ///     ssc.text_file_stream(&d).map(|line| line.len()).foreach_rdd(move |rdd, t| s.take(rdd, t));
    ///     Ok(())
    /// })?;
    /// // The file is taken when it has been the same for a second.
    /// driver.batches(3)?;
    /// assert_eq!(seen.batches(), [vec![], vec![5, 6], vec![]]);
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn text_file_stream(&self, dir: impl AsRef<Path>) -> DStream<Str> {
        let site = Site::here("text_file_stream");
        self.files_at(site, dir.as_ref(), Lines::new(), FileOptions::new())
    }

    /// [`StreamingContext::text_file_stream`] with options. A character set that nobody knows is an error of
    /// [`StreamingContext::start`].
    #[track_caller]
    pub fn text_file_stream_with(
        &self,
        dir: impl AsRef<Path>,
        options: FileOptions,
    ) -> DStream<Str> {
        self.files_at(Site::here("text_file_stream"), dir.as_ref(), Lines::new(), options)
    }

    /// The records of the files that appear in a directory, by their format: [`JsonLines`], [`Csv`],
    /// [`WholeFiles`], or one of your own. Otherwise as [`StreamingContext::text_file_stream`].
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::source::file::Csv;
    /// use brooklet::testing::{Collector, Driver};
    /// let dir = std::env::temp_dir().join(format!("brooklet-doc-csv-{}", std::process::id()));
    /// std::fs::create_dir_all(&dir)?;
    /// std::fs::write(dir.join("a.csv"), "word,count\nbrook,2\nsea,5\n")?;
    /// let seen = Collector::new();
    /// let (s, d) = (seen.clone(), dir.clone());
    /// let mut driver = Driver::new(move |ssc| {
    ///     let s = s.clone();
    ///     let counts = ssc.file_stream(&d, Csv::<(String, u64)>::new());
    ///     counts.map(|(_, n)| n).reduce(|a, b| a + b).foreach_rdd(move |rdd, t| s.take(rdd, t));
    ///     Ok(())
    /// })?;
    /// driver.batches(2)?;
    /// assert_eq!(seen.batches(), [vec![], vec![7]]);
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn file_stream<F: InputFormat>(
        &self,
        dir: impl AsRef<Path>,
        format: F,
    ) -> DStream<F::Item> {
        self.files_at(Site::here("file_stream"), dir.as_ref(), format, FileOptions::new())
    }

    /// [`StreamingContext::file_stream`] with options.
    #[track_caller]
    pub fn file_stream_with<F: InputFormat>(
        &self,
        dir: impl AsRef<Path>,
        format: F,
        options: FileOptions,
    ) -> DStream<F::Item> {
        self.files_at(Site::here("file_stream"), dir.as_ref(), format, options)
    }

    /// Records of `record_length` bytes from the binary files that appear in a directory. A file whose length
    /// isn't a multiple of it fails the task, naming file and length.
    ///
    /// # Panics
    /// When `record_length` is 0.
    ///
    /// ```
    /// use brooklet::testing::{Collector, Driver};
    /// let dir = std::env::temp_dir().join(format!("brooklet-doc-binary-{}", std::process::id()));
    /// std::fs::create_dir_all(&dir)?;
    /// std::fs::write(dir.join("a.bin"), [0, 1, 0, 2])?;
    /// let seen = Collector::new();
    /// let (s, d) = (seen.clone(), dir.clone());
    /// let mut driver = Driver::new(move |ssc| {
    ///     let s = s.clone();
    ///     ssc.binary_records_stream(&d, 2).foreach_rdd(move |rdd, t| s.take(rdd, t));
    ///     Ok(())
    /// })?;
    /// driver.batches(2)?;
    /// assert_eq!(seen.batches(), [vec![], vec![vec![0, 1], vec![0, 2]]]);
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn binary_records_stream(
        &self,
        dir: impl AsRef<Path>,
        record_length: usize,
    ) -> DStream<Vec<u8>> {
        let format = FixedRecords::new(record_length);
        let site = Site::here("binary_records_stream");
        self.files_at(site, dir.as_ref(), format, FileOptions::new())
    }

    #[track_caller]
    fn files_at<F: InputFormat>(
        &self,
        site: Site,
        dir: &Path,
        format: F,
        options: FileOptions,
    ) -> DStream<F::Item> {
        self.input_at(site, input::FileInput::new(self.graph(), site, dir, format, options))
    }
}
