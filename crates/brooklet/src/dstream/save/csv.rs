//! `save_as_csv_files`: one row for each record.

use serde::Serialize;

use super::{Part, SaveOptions};
use crate::data::Data;
use crate::dstream::{DStream, Node, Output};
use crate::engine::{Site, TaskError};

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// Saves each batch as [`DStream::save_as_text_files`] does, with each record as a row of CSV, in files
    /// `part-00000.csv`. The first row of a file has the names of the record's fields, where the record
    /// is a struct; tuples have none. Fields are quoted where they must be.
    ///
    /// ```
    /// use brooklet::testing::Driver;
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct Hit {
    ///     path: String,
    ///     bytes: u64,
    /// }
    /// let dir = std::env::temp_dir().join(format!("brooklet-save-csv-{}", std::process::id()));
    /// let prefix = dir.join("hits").display().to_string();
    /// let mut driver = Driver::new(|ssc| {
    ///     let (queue, hits) = ssc.queue_stream::<Hit>();
    ///     hits.save_as_csv_files(&prefix, "");
    ///     Ok(queue)
    /// })?;
    /// driver.input().push([Hit { path: "/a,b".into(), bytes: 7 }]);
    /// driver.batch()?;
    /// let file = dir.join("hits-1000/part-00001.csv");
    /// assert_eq!(std::fs::read_to_string(file)?, "path,bytes\n\"/a,b\",7\n");
    /// std::fs::remove_dir_all(dir)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// A record that is no row (a map, a struct inside of a struct with a header, rows of different
    /// lengths) fails its task, with the type's name.
    ///
    /// # Panics
    /// As [`DStream::save_as_text_files`].
    #[track_caller]
    pub fn save_as_csv_files(&self, prefix: &str, suffix: &str) -> Output
    where
        T: Serialize,
    {
        self.csv_files(Site::here("save_as_csv_files"), prefix, suffix, SaveOptions::new())
    }

    /// [`DStream::save_as_csv_files`] with or without header, with another delimiter, or packed (files are
    /// named `part-00000.csv.gz` or `part-00000.csv.zst` then).
    ///
    /// # Panics
    /// As [`DStream::save_as_text_files`].
    #[track_caller]
    pub fn save_as_csv_files_with(&self, prefix: &str, suffix: &str, options: SaveOptions) -> Output
    where
        T: Serialize,
    {
        self.csv_files(Site::here("save_as_csv_files_with"), prefix, suffix, options)
    }

    #[track_caller]
    fn csv_files(&self, site: Site, prefix: &str, suffix: &str, options: SaveOptions) -> Output
    where
        T: Serialize,
    {
        let extension = format!(".csv{}", options.compression.extension());
        self.save_at(site, prefix, suffix, extension, move |p, cx, file| {
            let mut part = Part::create(file, options.compression)?;
            let mut rows = csv::WriterBuilder::new()
                .has_headers(options.csv_header)
                .delimiter(options.csv_delimiter)
                .from_writer(&mut part.out);
            Part::each_of(p, cx, file, |x| match site.guard(|| rows.serialize(&x)) {
                Ok(()) => Ok(()),
                Err(e) => match e.into_kind() {
                    csv::ErrorKind::Io(e) => Err(e.into()),
                    csv::ErrorKind::Serialize(text) => {
                        Err(TaskError::codec::<T>(format!("as a row of CSV: {text}")).into())
                    }
                    other => {
                        Err(TaskError::codec::<T>(format!("as a row of CSV: {other:?}")).into())
                    }
                },
            })?;
            let flushed = rows.flush();
            drop(rows);
            flushed.map_err(|e| super::not_written(file, e))?;
            part.finish()
        })
    }
}
