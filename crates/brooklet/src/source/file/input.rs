//! Files of directories as an [`Input`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::InputFormat;
use super::compression::Codec;
use super::options::{FileOptions, ReadOptions};
use super::pattern::DirPattern;
use super::pipe::FilePipe;
use super::report::{PartReport, ReadLog};
use super::scan::{Found, Room, Scanner};
use super::slice::{FileSlice, share_out};
use crate::conf::defaults;
use crate::dstream::Graph;
use crate::engine::{Accumulator, LongSum, Site};
use crate::error::BoxError;
use crate::rdd::OnError;
use crate::source::{Charset, Input, InputStart, SliceInfo};
use crate::time::{Clock, SystemClock};
use crate::{Error, Time};

/// What is counted, for [`StreamingContext::counters`](crate::StreamingContext::counters).
struct Counters {
    files: Accumulator<LongSum>,
    unreadable_files: Accumulator<LongSum>,
    changed_files: Accumulator<LongSum>,
    failed_files: Accumulator<LongSum>,
    bad_records: Accumulator<LongSum>,
    invalid_text: Accumulator<LongSum>,
    long_lines: Accumulator<LongSum>,
}

impl Counters {
    fn new(graph: &Graph, stream: &str) -> Counters {
        let counter = |name| graph.skip_counter(&format!("{stream}.{name}"));
        Counters {
            files: counter("files"),
            unreadable_files: counter("unreadable_files"),
            changed_files: counter("changed_files"),
            failed_files: counter("failed_files"),
            bad_records: counter("bad_records"),
            invalid_text: counter("invalid_text"),
            long_lines: counter("long_lines"),
        }
    }
}

fn count(counter: &Accumulator<LongSum>, n: u64) {
    if n > 0 {
        counter.add(i64::try_from(n).unwrap_or(i64::MAX));
    }
}

/// What is told of a scan.
#[derive(Clone, Default)]
struct Scanned {
    errors: Vec<String>,
    /// Files left for later.
    left: usize,
    took: std::time::Duration,
}

pub(crate) struct FileInput<F> {
    site: Site,
    format: Arc<F>,
    scanner: Result<Scanner, Error>,
    options: FileOptions,
    read: Arc<ReadOptions>,
    log: Accumulator<ReadLog>,
    counters: Counters,
    parallelism: usize,
    /// What was reported and belongs to no batch yet.
    noticed: Vec<String>,
    /// The batches' scans, until the batch is over.
    scans: BTreeMap<Time, Scanned>,
    /// Bytes and records of the batches so far, to turn a limit of records into one of bytes.
    read_so_far: (u64, u64),
    /// A scan took longer than the batch interval; reported.
    slow: bool,
    interval: std::time::Duration,
}

impl<F: InputFormat> FileInput<F> {
    pub(super) fn new(
        graph: &Graph,
        site: Site,
        dir: &Path,
        format: F,
        options: FileOptions,
    ) -> FileInput<F> {
        let conf = graph.ctx.conf();
        let charset = Charset::named(&options.charset);
        let pattern = DirPattern::new(dir).map_err(|e| Error::usage(format!("{site}: {e}")));
        let read = ReadOptions {
            compression: options.compression.unwrap_or_else(|| format.compression()),
            charset: charset.as_ref().copied().unwrap_or_default(),
            max_line_bytes: options.max_line_bytes.unwrap_or(conf.max_line_bytes),
            on_bad_record: options.on_bad_record,
            on_file_error: options.on_file_error,
            piece: defaults::FILE_READ_BYTES,
        };
        let scanner = charset.and(pattern).map(|p| Scanner::new(p, options.clone()));
        let name = format!("{}-{}", site.op, graph.inputs().len());
        FileInput {
            site,
            format: Arc::new(format),
            scanner,
            options,
            read: Arc::new(read),
            log: graph.ctx.accumulator(&format!("{name}.read")),
            counters: Counters::new(graph, &name),
            parallelism: graph.ctx.default_parallelism(),
            noticed: Vec::new(),
            scans: BTreeMap::new(),
            read_so_far: (0, 0),
            slow: false,
            interval: std::time::Duration::ZERO,
        }
    }

    /// Counts and reports what a scan noticed.
    fn report(&mut self, found: &mut Found) {
        count(&self.counters.files, found.files.len() as u64);
        count(&self.counters.unreadable_files, found.unreadable);
        count(&self.counters.changed_files, found.changed);
        for e in &found.errors {
            tracing::warn!("{}: {e}", self.site);
        }
        self.noticed.append(&mut found.errors);
    }

    /// Whether a file may be read in parts.
    fn can_cut(&self, path: &Path, head: Option<&Vec<u8>>) -> bool {
        let read = &self.read;
        let codec: Option<Codec> = match head {
            Some(head) => read.compression.codec(path, head),
            None => return false, // small
        };
        let text = !self.format.is_text() || read.charset.keeps_line_ends();
        self.format.splittable() && codec.is_none() && text
    }

    fn info(&self, slice: &FileSlice, report: &PartReport) -> SliceInfo {
        let mut info = SliceInfo::records(report.records);
        let scan = self.scans.get(&slice.batch).cloned().unwrap_or_default();
        let Scanned { mut errors, left, took } = scan;
        info.metadata.insert("Scan ms".into(), took.as_millis().to_string());
        errors.extend(report.failed.values().cloned());
        errors.extend(report.bad.iter().cloned());
        if !errors.is_empty() {
            info.metadata.insert("Errors".into(), errors.join("\n"));
        }
        if left > 0 {
            info.metadata.insert("Files left for later".into(), left.to_string());
        }
        if !slice.files.is_empty() {
            let names = slice.files.iter().take(defaults::FILE_NAMES_SHOWN);
            let mut text: Vec<String> =
                names.map(|f| f.path.path().display().to_string()).collect();
            let more = slice.files.len() - text.len();
            if more > 0 {
                text.push(format!("and {more} more"));
            }
            let bytes: u64 = slice.files.iter().map(|f| f.stamp.size).sum();
            info.metadata.insert("Description".into(), text.join("\n"));
            info.metadata.insert("Files".into(), slice.files.len().to_string());
            info.metadata.insert("Bytes".into(), bytes.to_string());
        }
        info
    }
}

impl<F: InputFormat> Input for FileInput<F> {
    type Item = F::Item;
    type Slice = FileSlice;
    type Pipe = FilePipe<F>;

    fn start(&mut self, at: InputStart) -> Result<(), BoxError> {
        let scanner = self.scanner.as_mut().map_err(|e| e.clone())?;
        self.interval = at.batch_interval;
        let mut found = Found::default();
        let there = scanner.begin(at.batch_interval, &mut found);
        if !there && self.options.missing_directory == OnError::Fail {
            let text = found.errors.pop().unwrap_or_default();
            return Err(Error::usage(format!("{}: {text}", self.site)).into());
        }
        self.report(&mut found);
        Ok(())
    }

    fn allocate(&mut self, t: Time, limit: Option<u64>) -> Result<Option<FileSlice>, BoxError> {
        let scanner = self.scanner.as_mut().map_err(|e| e.clone())?;
        let (bytes, records) = self.read_so_far;
        let bytes = limit.map_or(u64::MAX, |limit| match records {
            0 => 0, // one file, to learn how long a record is
            n => (u128::from(limit) * u128::from(bytes) / u128::from(n)) as u64,
        });
        let split = self.options.split_bytes;
        let head_above = match self.format.splittable() {
            true => defaults::FILE_MIN_SPLIT_BYTES.min(split),
            false => u64::MAX,
        };
        let clock = SystemClock::new();
        let began = clock.now();
        let mut found = scanner.scan(t, Room { files: self.options.max_files, bytes, head_above });
        let took = clock.now().since(began);
        if took > self.interval && !std::mem::replace(&mut self.slow, true) {
            found.errors.push(format!(
                "looking for files took {took:?}, longer than the batch interval: use fewer files in the \
                 directory or a longer interval"
            ));
        }
        self.report(&mut found);
        let errors = std::mem::take(&mut self.noticed);
        self.scans.insert(t, Scanned { errors, left: found.left, took });
        let files: Vec<(u64, bool)> = found
            .files
            .iter()
            .enumerate()
            .map(|(i, f)| (f.stamp.size, self.can_cut(f.path.path(), found.heads.get(&i))))
            .collect();
        let parts = share_out(&files, split, self.parallelism);
        Ok(Some(FileSlice { batch: t, files: found.files, parts }))
    }

    fn read(&self, slice: &Arc<FileSlice>) -> Result<FilePipe<F>, BoxError> {
        Ok(FilePipe {
            slice: slice.clone(),
            format: self.format.clone(),
            options: self.read.clone(),
            log: self.log.clone(),
            site: self.site,
        })
    }

    fn input_info(&self, slice: &FileSlice) -> SliceInfo {
        self.info(slice, &PartReport::default())
    }

    fn batch_over(&mut self, slice: &FileSlice) -> Option<SliceInfo> {
        let report = self.log.update(|log: &mut ReadLog| log.take(slice.batch));
        count(&self.counters.failed_files, report.failed.len() as u64);
        count(&self.counters.bad_records, report.bad_records);
        count(&self.counters.invalid_text, report.invalid_text);
        count(&self.counters.long_lines, report.long_lines);
        for e in report.failed.values().chain(&report.bad) {
            tracing::warn!("{}: skipped: {e}", self.site);
        }
        let bytes: u64 = slice.files.iter().map(|f| f.stamp.size).sum();
        self.read_so_far.0 += bytes;
        self.read_so_far.1 += report.records;
        Some(self.info(slice, &report))
    }

    fn restore(&mut self, _: Time, slice: &FileSlice) {
        if let Ok(scanner) = &mut self.scanner {
            slice.files.iter().for_each(|f| scanner.restore(f));
        }
    }

    fn release(&mut self, up_to: Time) {
        self.scans.retain(|t, _| *t > up_to);
    }
}
