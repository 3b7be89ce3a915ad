//! The file that a partition is written to, packed or not.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::write::GzEncoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::options::Compression;

/// Content of one zstd frame.
const FRAME: usize = 1 << 20;

/// A file being written. [`PartWriter::finish`] writes what is left; without it the file isn't whole.
pub(super) enum PartWriter {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(Frames),
}

impl PartWriter {
    pub(super) fn create(path: &Path, compression: Compression) -> io::Result<PartWriter> {
        let file = BufWriter::new(File::create(path)?);
        Ok(match compression {
            Compression::None => PartWriter::Plain(file),
            Compression::Gzip => {
                PartWriter::Gzip(GzEncoder::new(file, flate2::Compression::default()))
            }
            Compression::Zstd => {
                PartWriter::Zstd(Frames { file, content: Vec::new(), written: false })
            }
        })
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            PartWriter::Plain(mut file) => file.flush(),
            PartWriter::Gzip(packed) => packed.finish()?.flush(),
            PartWriter::Zstd(mut frames) => {
                if !frames.content.is_empty() || !frames.written {
                    frames.frame()?;
                }
                frames.file.flush()
            }
        }
    }
}

impl Write for PartWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            PartWriter::Plain(file) => file.write(bytes),
            PartWriter::Gzip(packed) => packed.write(bytes),
            PartWriter::Zstd(frames) => frames.add(bytes),
        }
    }

    /// Hands on what is whole; a packed file may keep some bytes until its end.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            PartWriter::Plain(file) => file.flush(),
            PartWriter::Gzip(packed) => packed.get_mut().flush(),
            PartWriter::Zstd(frames) => frames.file.flush(),
        }
    }
}

/// A series of zstd frames. The encoder takes its whole input at once, and a frame is all it needs.
pub(super) struct Frames {
    file: BufWriter<File>,
    content: Vec<u8>,
    written: bool,
}

impl Frames {
    fn add(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(FRAME - self.content.len());
        self.content.extend_from_slice(&bytes[..n]);
        if self.content.len() == FRAME {
            self.frame()?;
        }
        Ok(n)
    }

    fn frame(&mut self) -> io::Result<()> {
        self.file.write_all(&packed(&self.content))?;
        self.content.clear();
        self.written = true;
        Ok(())
    }
}

/// A frame that unpacks to `content`, checked.
fn packed(content: &[u8]) -> Vec<u8> {
    let frame = compress_to_vec(content, CompressionLevel::Fastest);
    if unpacks_to(&frame, content) {
        return frame;
    }
    tracing::warn!(
        bytes = content.len(),
        "the zstd encoder made a frame that doesn't unpack to its content; it is stored unpacked"
    );
    compress_to_vec(content, CompressionLevel::Uncompressed)
}

fn unpacks_to(frame: &[u8], content: &[u8]) -> bool {
    let mut unpacked = Vec::with_capacity(content.len());
    let Ok(mut decoder) = StreamingDecoder::new(frame) else { return false };
    io::Read::read_to_end(&mut decoder, &mut unpacked).is_ok() && unpacked == content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_unpacks_to_its_content() {
        // Runs, text, noise and nothing; sizes around the encoder's blocks (128 KiB).
        let mut x = 1u64;
        let mut noise = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 56) as u8
        };
        let mut contents = vec![vec![], vec![b'x'], vec![0; FRAME]];
        for n in [1_000, 131_071, 131_072, 131_073, 300_000] {
            contents.push((0..n).map(|_| noise()).collect());
            contents.push((0..n).map(|_| b"the brook runs "[usize::from(noise()) % 15]).collect());
            contents.push(b"the quick brown fox\n".iter().copied().cycle().take(n).collect());
        }
        for content in contents {
            for level in [CompressionLevel::Fastest, CompressionLevel::Uncompressed] {
                let frame = compress_to_vec(&content[..], level);
                assert!(unpacks_to(&frame, &content), "{} bytes", content.len());
            }
        }
        assert!(!unpacks_to(&packed(b"some text"), b"other text"));
        assert!(!unpacks_to(b"no frame", b""));
    }
}
