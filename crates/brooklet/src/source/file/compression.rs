//! Compressed files: gzip, zstd, bzip2, by name or by their first bytes, all members read.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;

/// Whether files are compressed, and how that is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Compression {
    /// By the extension (`.gz`, `.gzip`, `.zst`, `.zstd`, `.bz2`), else by the first bytes. The default of
    /// text formats.
    Auto,
    /// By the extension only, for binary data may begin with any bytes. The default of binary formats.
    ByName,
    /// Files are read as they are.
    None,
    /// Every file is gzip, of one or more members.
    Gzip,
    /// Every file is zstd, of one or more frames.
    Zstd,
    /// Every file is bzip2, of one or more streams.
    Bzip2,
}

/// How a file is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Codec {
    Gzip,
    Zstd,
    Bzip2,
}

/// First bytes that tell what a file is.
pub(super) const HEAD: usize = 10;

impl Compression {
    /// What the name says; `Err` when only the first bytes can tell.
    pub(super) fn by_name(self, path: &Path) -> Result<Option<Codec>, ()> {
        let extension = || path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
        let named = || match extension().as_deref() {
            Some("gz" | "gzip") => Some(Codec::Gzip),
            Some("zst" | "zstd") => Some(Codec::Zstd),
            Some("bz2") => Some(Codec::Bzip2),
            _ => None,
        };
        match self {
            Compression::None => Ok(None),
            Compression::Gzip => Ok(Some(Codec::Gzip)),
            Compression::Zstd => Ok(Some(Codec::Zstd)),
            Compression::Bzip2 => Ok(Some(Codec::Bzip2)),
            Compression::ByName => Ok(named()),
            Compression::Auto => named().map(Some).ok_or(()),
        }
    }

    /// What name and first bytes say.
    pub(super) fn codec(self, path: &Path, head: &[u8]) -> Option<Codec> {
        self.by_name(path).unwrap_or_else(|()| by_magic(head))
    }
}

fn by_magic(head: &[u8]) -> Option<Codec> {
    match head {
        [0x1f, 0x8b, 8, ..] => Some(Codec::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Codec::Zstd),
        // The size of the blocks, and pi.
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59] => Some(Codec::Bzip2),
        _ => None,
    }
}

/// Reads what is compressed in `bytes`.
pub(super) fn decompress<'a>(
    codec: Codec,
    bytes: impl Read + 'a,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match codec {
        Codec::Gzip => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
        Codec::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(bytes)),
        Codec::Zstd => Box::new(zstd::ZstdReader::new(bytes)),
    })
}

mod zstd {
    use std::io::{self, BufReader, Read};

    use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

    use crate::conf::defaults;

    /// Frame after frame, with their checksums.
    pub(super) struct ZstdReader<R> {
        bytes: BufReader<R>,
        frame: Option<FrameDecoder>,
    }

    impl<R: Read> ZstdReader<R> {
        pub(super) fn new(bytes: R) -> ZstdReader<R> {
            ZstdReader { bytes: BufReader::with_capacity(128 << 10, bytes), frame: None }
        }

        /// Begins the next frame; `false` at the end of the file.
        fn next_frame(&mut self) -> io::Result<bool> {
            loop {
                let mut magic = [0; 4];
                let mut have = 0;
                while have < 4 {
                    match self.bytes.read(&mut magic[have..])? {
                        0 if have == 0 => return Ok(false),
                        0 => return Err(ends_early()),
                        n => have += n,
                    }
                }
                // A frame for others.
                if u32::from_le_bytes(magic) & !0xf == 0x184d_2a50 {
                    let mut len = [0; 4];
                    self.bytes.read_exact(&mut len)?;
                    let len = u64::from(u32::from_le_bytes(len));
                    let skipped = io::copy(&mut (&mut self.bytes).take(len), &mut io::sink())?;
                    if skipped < len {
                        return Err(ends_early());
                    }
                    continue;
                }
                let mut frame = FrameDecoder::new();
                frame.set_max_window_size(defaults::ZSTD_MAX_WINDOW_BYTES);
                frame.init((&magic[..]).chain(&mut self.bytes)).map_err(io::Error::other)?;
                self.frame = Some(frame);
                return Ok(true);
            }
        }
    }

    fn ends_early() -> io::Error {
        io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends within a zstd frame")
    }

    impl<R: Read> Read for ZstdReader<R> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if into.is_empty() {
                return Ok(0);
            }
            loop {
                let Some(frame) = &mut self.frame else {
                    if !self.next_frame()? {
                        return Ok(0);
                    }
                    continue;
                };
                while frame.can_collect() == 0 && !frame.is_finished() {
                    frame
                        .decode_blocks(&mut self.bytes, BlockDecodingStrategy::UptoBlocks(1))
                        .map_err(io::Error::other)?;
                }
                let n = frame.read(into)?;
                if n > 0 {
                    return Ok(n);
                }
                let (wanted, is) =
                    (frame.get_checksum_from_data(), frame.get_calculated_checksum());
                if let (Some(wanted), Some(is)) = (wanted, is)
                    && wanted != is
                {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the checksum of a zstd frame is wrong",
                    ));
                }
                self.frame = None;
            }
        }
    }
}
