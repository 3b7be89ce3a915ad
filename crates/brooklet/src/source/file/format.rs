//! How the bytes of files become records.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Compression, FilePart};
use crate::data::Data;
use crate::error::BoxError;

/// How the bytes of files become records; the second argument of
/// [`file_stream`](crate::StreamingContext::file_stream). [`Lines`](super::Lines),
/// [`FixedRecords`](super::FixedRecords), [`WholeFiles`](super::WholeFiles), [`JsonLines`](super::JsonLines)
/// and [`Csv`](super::Csv) are there; write your own for other files.
///
/// ```
/// use brooklet::prelude::*;
/// use brooklet::source::file::{FileOptions, FilePart, InputFormat};
/// use brooklet::testing::{Collector, Driver};
/// use std::io::Read;
/// use std::ops::ControlFlow;
///
/// /// Paragraphs: texts with an empty line between them.
/// struct Paragraphs;
///
/// impl InputFormat for Paragraphs {
///     type Item = String;
///     fn read(
///         &self,
///         part: &FilePart<'_>,
///         mut out: impl FnMut(String) -> ControlFlow<()>,
///     ) -> Result<(), BoxError> {
///         let mut text = String::new();
///         part.open_text()?.read_to_string(&mut text)?;
///         for p in text.split("\n\n") {
///             if out(p.trim().to_string()).is_break() {
///                 break;
///             }
///         }
///         Ok(())
///     }
/// }
///
/// let dir = std::env::temp_dir().join(format!("brooklet-doc-paragraphs-{}", std::process::id()));
/// std::fs::create_dir_all(&dir)?;
/// std::fs::write(dir.join("a.txt"), "to be\nor not\n\nto be\n")?;
/// let seen = Collector::new();
/// let (s, d) = (seen.clone(), dir.clone());
/// let mut driver = Driver::new(move |ssc| {
///     let options = FileOptions::new().settle_time(std::time::Duration::ZERO);
///     let s = s.clone();
///     ssc.file_stream_with(&d, Paragraphs, options).foreach_rdd(move |rdd, t| s.take(rdd, t));
///     Ok(())
/// })?;
/// driver.batches(2)?;
/// assert_eq!(seen.batches(), [vec!["to be\nor not", "to be"], vec![]]);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait InputFormat: Send + Sync + 'static {
    /// The records.
    type Item: Data;

    /// Whether an uncompressed file can be read from the middle: then several tasks read a big file, each the
    /// records that begin in its [`FilePart::range`]. Default: no.
    fn splittable(&self) -> bool {
        false
    }

    /// Whether it is text: then the character set of the options applies, and in sets where a line can't be
    /// cut off before it is decoded (UTF-16) files aren't split. Default: yes.
    fn is_text(&self) -> bool {
        true
    }

    /// How compressed files are told when the options don't say. Default: [`Compression::Auto`] for text,
    /// else [`Compression::ByName`].
    fn compression(&self) -> Compression {
        if self.is_text() { Compression::Auto } else { Compression::ByName }
    }

    /// Gives the records of a part of a file to `out`, in order, and stops when that says
    /// [`ControlFlow::Break`]. Runs in tasks. The same part must give the same records.
    ///
    /// # Errors
    /// The file can't be read: fails the task or skips the rest of the file, by
    /// [`FileOptions::on_file_error`](super::FileOptions::on_file_error). For a record that can't be read
    /// there is [`FilePart::bad_record`].
    fn read(
        &self,
        part: &FilePart<'_>,
        out: impl FnMut(Self::Item) -> ControlFlow<()>,
    ) -> Result<(), BoxError>;
}

impl<F: InputFormat> InputFormat for Arc<F> {
    type Item = F::Item;

    fn splittable(&self) -> bool {
        (**self).splittable()
    }

    fn is_text(&self) -> bool {
        (**self).is_text()
    }

    fn compression(&self) -> Compression {
        (**self).compression()
    }

    fn read(
        &self,
        part: &FilePart<'_>,
        out: impl FnMut(Self::Item) -> ControlFlow<()>,
    ) -> Result<(), BoxError> {
        (**self).read(part, out)
    }
}
