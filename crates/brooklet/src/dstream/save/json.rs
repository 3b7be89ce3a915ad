//! `save_as_json_files`: one JSON value a line.

use std::io::Write;

use serde::Serialize;

use super::{Part, SaveOptions};
use crate::data::Data;
use crate::dstream::{DStream, Node, Output};
use crate::engine::{Site, TaskError};

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// Saves each batch as [`DStream::save_as_text_files`] does, with each record as a line of JSON, in
    /// files `part-00000.json`. A pair is an array of two, a struct an object, as serde has it.
    ///
    /// ```
    /// use brooklet::testing::Driver;
    /// let dir = std::env::temp_dir().join(format!("brooklet-save-json-{}", std::process::id()));
    /// let prefix = dir.join("counts").display().to_string();
    /// let mut driver = Driver::new(|ssc| {
    ///     let (queue, words) = ssc.queue_stream::<String>();
    ///     words.map(|w| (w, 1)).save_as_json_files(&prefix, "");
    ///     Ok(queue)
    /// })?;
    /// driver.input().push(["say \"a\"".to_string()]);
    /// driver.batch()?;
    /// let file = dir.join("counts-1000/part-00001.json");
    /// assert_eq!(std::fs::read_to_string(file)?, "[\"say \\\"a\\\"\",1]\n");
    /// std::fs::remove_dir_all(dir)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// A record that has no JSON form (a map whose keys are no text) fails its task, with the type's name.
    ///
    /// # Panics
    /// As [`DStream::save_as_text_files`].
    #[track_caller]
    pub fn save_as_json_files(&self, prefix: &str, suffix: &str) -> Output
    where
        T: Serialize,
    {
        self.json_files(Site::here("save_as_json_files"), prefix, suffix, SaveOptions::new())
    }

    /// [`DStream::save_as_json_files`], packed: files are named `part-00000.json.gz` or
    /// `part-00000.json.zst`.
    ///
    /// # Panics
    /// As [`DStream::save_as_text_files_with`].
    #[track_caller]
    pub fn save_as_json_files_with(
        &self,
        prefix: &str,
        suffix: &str,
        options: SaveOptions,
    ) -> Output
    where
        T: Serialize,
    {
        self.json_files(Site::here("save_as_json_files_with"), prefix, suffix, options)
    }

    #[track_caller]
    fn json_files(&self, site: Site, prefix: &str, suffix: &str, options: SaveOptions) -> Output
    where
        T: Serialize,
    {
        let packed = options.without_csv(site).compression;
        let extension = format!(".json{}", packed.extension());
        self.save_at(site, prefix, suffix, extension, move |p, cx, file| {
            let mut part = Part::create(file, packed)?;
            let mut line = Vec::new();
            part.each(p, cx, |out, x| {
                line.clear();
                let encoded = site.guard(|| serde_json::to_writer(&mut line, &x));
                encoded.map_err(TaskError::codec::<T>)?;
                line.push(b'\n');
                Ok(out.write_all(&line)?)
            })?;
            part.finish()
        })
    }
}
