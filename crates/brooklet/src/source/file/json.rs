//! JSON, a value per line.

use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use super::{FilePart, InputFormat, LongLines};
use crate::data::Data;
use crate::error::BoxError;

/// A JSON value per line, as a type of your own; empty lines are skipped. A line that isn't such a value is a
/// bad record (see [`FileOptions::on_bad_record`](super::FileOptions::on_bad_record)).
pub struct JsonLines<T>(PhantomData<fn() -> T>);

impl<T> JsonLines<T> {
    /// Values of `T`.
    pub fn new() -> JsonLines<T> {
        JsonLines(PhantomData)
    }
}

impl<T> Default for JsonLines<T> {
    fn default() -> Self {
        JsonLines::new()
    }
}

impl<T> fmt::Debug for JsonLines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonLines")
    }
}

impl<T: Data + DeserializeOwned> InputFormat for JsonLines<T> {
    type Item = T;

    fn splittable(&self) -> bool {
        true
    }

    fn read(
        &self,
        part: &FilePart<'_>,
        mut out: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<(), BoxError> {
        let mut pieces = part.lines(LongLines::Replace)?;
        let mut number = 0u64;
        while let Some(block) = pieces.next_block()? {
            for line in block.as_str().lines() {
                number += 1;
                let text = line.trim_ascii();
                if text.is_empty() {
                    continue;
                }
                if line == LongLines::REPLACEMENT {
                    let max = part.max_line_bytes();
                    part.bad_record(place(part, number), format_args!("longer than {max} bytes"))?;
                    continue;
                }
                match serde_json::from_str(text) {
                    Ok(value) => {
                        if out(value).is_break() {
                            return Ok(());
                        }
                    }
                    Err(e) => part.bad_record(place(part, number), shown(text, &e))?,
                }
            }
        }
        Ok(())
    }
}

/// Which line.
fn place(part: &FilePart<'_>, line: u64) -> String {
    match part.range().start {
        0 => format!("line {line}"),
        from => format!("line {line} of those from byte {from} on"),
    }
}

/// The error, with the begin of the text.
fn shown(text: &str, e: &serde_json::Error) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        None => format!("{e} in `{text}`"),
        Some((end, _)) => format!("{e} in `{}...`", &text[..end]),
    }
}
