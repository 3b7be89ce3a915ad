//! How saved files are written.

use crate::engine::Site;

/// How a batch is saved: compression, and what CSV needs. For the `save_as_.._files_with` methods.
///
/// ```
/// use brooklet::SaveOptions;
/// let packed = SaveOptions::new().gzip();
/// let table = SaveOptions::new().csv_header(false).csv_delimiter(b';').zstd();
/// # let _ = (packed, table);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "options do nothing until they are given to a save"]
pub struct SaveOptions {
    pub(super) compression: Compression,
    pub(super) csv_header: bool,
    pub(super) csv_delimiter: u8,
}

/// What the files are packed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// What the names of packed files end with.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        }
    }
}

impl SaveOptions {
    /// Plain files; CSV with a header and commas.
    pub const fn new() -> SaveOptions {
        SaveOptions { compression: Compression::None, csv_header: true, csv_delimiter: b',' }
    }

    /// Packs each file with gzip, at its usual level (6); names end with `.gz`.
    pub const fn gzip(mut self) -> SaveOptions {
        self.compression = Compression::Gzip;
        self
    }

    /// Packs each file with zstd, at about its level 1; names end with `.zst`.
    ///
    /// A file is a series of frames of 1 MiB of content each, as all zstd tools read them. The encoder is
    /// written in Rust (no C compiler is needed) and young, so every frame is unpacked again and compared
    /// before it is written; one that differs is stored unpacked instead.
    pub const fn zstd(mut self) -> SaveOptions {
        self.compression = Compression::Zstd;
        self
    }

    /// Whether a CSV file begins with the names of the record's fields. Default: yes. Only structs have
    /// such names; files of other records, and those of empty partitions, have no header.
    pub const fn csv_header(mut self, header: bool) -> SaveOptions {
        self.csv_header = header;
        self
    }

    /// The character between the fields of a CSV file. Default: a comma.
    pub const fn csv_delimiter(mut self, delimiter: u8) -> SaveOptions {
        self.csv_delimiter = delimiter;
        self
    }

    /// # Panics
    /// When something is set that only CSV has: the program's mistake, reported at the call.
    #[track_caller]
    pub(super) fn without_csv(self, site: Site) -> SaveOptions {
        let plain = SaveOptions { compression: self.compression, ..SaveOptions::new() };
        assert!(
            self == plain,
            "{site}: `csv_header` and `csv_delimiter` are for `save_as_csv_files_with` only"
        );
        self
    }
}

impl Default for SaveOptions {
    fn default() -> Self {
        SaveOptions::new()
    }
}
