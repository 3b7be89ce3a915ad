//! `save_as_text_files`: one line for each record.

use std::fmt::Display;
use std::io::Write;

use super::{Part, SaveOptions};
use crate::data::Data;
use crate::dstream::{DStream, Node, Output};
use crate::engine::Site;

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// Saves each batch as a folder `PREFIX-MS.SUFFIX` (parts left out when empty) with one text file for
    /// each partition, one line for each record, also for empty partitions, and a file `_SUCCESS`. The
    /// folder appears under its name when it is whole; a batch that is run again replaces it.
    ///
    /// ```
    /// use brooklet::testing::Driver;
    /// let dir = std::env::temp_dir().join(format!("brooklet-save-{}", std::process::id()));
    /// let prefix = dir.join("numbers").display().to_string();
    /// let mut driver = Driver::new(|ssc| {
    ///     let (queue, numbers) = ssc.queue_stream::<i32>();
    ///     numbers.save_as_text_files(&prefix, "txt");
    ///     Ok(queue)
    /// })?;
    /// driver.input().push([1, 2, 3]);
    /// driver.batch()?;
    /// assert_eq!(std::fs::read_to_string(dir.join("numbers-1000.txt/part-00001"))?, "2\n3\n");
    /// assert!(dir.join("numbers-1000.txt/_SUCCESS").exists());
    /// std::fs::remove_dir_all(dir)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// When another output of the context has the same prefix and suffix: they would replace each other.
    #[track_caller]
    pub fn save_as_text_files(&self, prefix: &str, suffix: &str) -> Output
    where
        T: Display,
    {
        self.text_files(Site::here("save_as_text_files"), prefix, suffix, SaveOptions::new())
    }

    /// [`DStream::save_as_text_files`], packed: files are named `part-00000.gz` or `part-00000.zst`.
    ///
    /// ```
    /// use brooklet::SaveOptions;
    /// use brooklet::testing::Driver;
    /// let dir = std::env::temp_dir().join(format!("brooklet-save-gz-{}", std::process::id()));
    /// let prefix = dir.join("numbers").display().to_string();
    /// let mut driver = Driver::new(|ssc| {
    ///     let (queue, numbers) = ssc.queue_stream::<i32>();
    ///     numbers.save_as_text_files_with(&prefix, "", SaveOptions::new().gzip());
    ///     Ok(queue)
    /// })?;
    /// driver.input().push([1, 2, 3]);
    /// driver.batch()?;
    /// assert!(dir.join("numbers-1000/part-00001.gz").exists());
    /// std::fs::remove_dir_all(dir)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// As [`DStream::save_as_text_files`], and with options that only CSV has.
    #[track_caller]
    pub fn save_as_text_files_with(
        &self,
        prefix: &str,
        suffix: &str,
        options: SaveOptions,
    ) -> Output
    where
        T: Display,
    {
        self.text_files(Site::here("save_as_text_files_with"), prefix, suffix, options)
    }

    #[track_caller]
    fn text_files(&self, site: Site, prefix: &str, suffix: &str, options: SaveOptions) -> Output
    where
        T: Display,
    {
        let packed = options.without_csv(site).compression;
        self.save_at(site, prefix, suffix, packed.extension().into(), move |p, cx, file| {
            let mut part = Part::create(file, packed)?;
            part.each(p, cx, |out, x| Ok(site.guard(|| writeln!(out, "{x}"))?))?;
            part.finish()
        })
    }
}
