//! The files of a batch as partitions.

use std::cell::RefCell;
use std::sync::Arc;

use super::InputFormat;
use super::options::ReadOptions;
use super::part::{BadRecord, FilePart};
use super::report::{PartReport, ReadLog};
use super::slice::{FileSlice, Split};
use crate::conf::defaults;
use crate::engine::{Accumulator, Site, TaskBody, TaskCx, TaskError};
use crate::rdd::pipe::fold_by_each;
use crate::rdd::{Flow, OnError, Pipe};

pub(crate) struct FilePipe<F> {
    pub(super) slice: Arc<FileSlice>,
    pub(super) format: Arc<F>,
    pub(super) options: Arc<ReadOptions>,
    pub(super) log: Accumulator<ReadLog>,
    pub(super) site: Site,
}

impl<F: InputFormat> FilePipe<F> {
    fn failed(&self, split: &Split, e: &dyn std::fmt::Display) -> String {
        let path = self.slice.files[split.file as usize].path.path().display();
        let range = match split.cut {
            true => format!(" (bytes {} to {})", split.start, split.end),
            false => String::new(),
        };
        format!("{} can't read `{path}`{range}: {e}", self.site)
    }
}

impl<F: InputFormat> Pipe for FilePipe<F> {
    type Out = F::Item;

    fn partitions(&self) -> usize {
        self.slice.parts.len()
    }

    fn wide(&self, _: &mut Vec<Arc<dyn TaskBody>>) {}

    /// How a batch's files are cut and grouped changes from batch to batch.
    fn input_partition(&self, _: usize) -> u64 {
        0
    }

    /// An estimate: a record has about 64 bytes.
    fn input_records(&self) -> usize {
        let bytes = self.slice.parts.iter().flatten().map(|s| (s.end - s.start) / 64 + 1);
        usize::try_from(bytes.sum::<u64>()).unwrap_or(usize::MAX)
    }

    fold_by_each!(F::Item);

    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut f: impl FnMut(F::Item) -> Flow,
    ) -> Result<Flow, TaskError> {
        let report = RefCell::<PartReport>::default();
        let (mut flow, mut checked, mut records) = (Flow::Continue(()), Ok(()), 0u64);
        for split in &self.slice.parts[part] {
            let file = &self.slice.files[split.file as usize];
            let content = FilePart::new(file, *split, &self.options, &report);
            let read = self.site.guard(|| {
                self.format.read(&content, |record| {
                    if flow.is_break() {
                        return flow;
                    }
                    records += 1;
                    flow = f(record);
                    if records.is_multiple_of(defaults::CHUNK_RECORDS as u64) {
                        checked = cx.check();
                        if checked.is_err() {
                            flow = Flow::Break(());
                        }
                    }
                    flow
                })
            });
            std::mem::replace(&mut checked, Ok(()))?;
            if flow.is_break() {
                break;
            }
            if let Err(e) = read {
                let text = self.failed(split, &e);
                if self.options.on_file_error == OnError::Fail || e.is::<BadRecord>() {
                    return Err(TaskError::Input { message: text });
                }
                report.borrow_mut().failed.entry(split.file).or_insert(text);
            }
            cx.check()?;
        }
        let mut report = report.into_inner();
        report.records = records;
        self.log.add((self.slice.batch, part as u32, report));
        Ok(flow)
    }
}
