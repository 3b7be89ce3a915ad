//! The files of blocks on disk.
//!
//! ```text
//! file   magic "BRKLBLK" version:u8 length:u64 crc32c-of-these:u32  frame*
//! frame  raw:u32 stored:u32 crc32c-of-these-and-payload:u32 payload     (lz4 when stored < raw)
//! ```
//! Numbers are little-endian. A frame holds up to 256 KiB of the block.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{BlockError, BlockId};

const MAGIC: &[u8; 7] = b"BRKLBLK";
const VERSION: u8 = 1;
const FRAME: usize = 256 << 10;
const HEADER: usize = 20;
const FRAME_HEADER: usize = 12;

/// A block's file; deleted when the last user is gone.
#[derive(Debug)]
pub(super) struct BlockFile {
    block: BlockId,
    path: PathBuf,
    bytes: u64,
}

impl BlockFile {
    /// Writes `data` to a new file.
    pub(super) fn write(
        block: BlockId,
        path: PathBuf,
        data: &[u8],
        compress: bool,
    ) -> Result<Arc<BlockFile>, BlockError> {
        let bytes = write_file(&path, data, compress).map_err(|e| {
            let _ = fs::remove_file(&path);
            BlockError::Io { block, path: path.clone(), cause: Arc::new(e) }
        })?;
        Ok(Arc::new(BlockFile { block, path, bytes }))
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the block's bytes back.
    pub(super) fn read(&self) -> Result<Vec<u8>, BlockError> {
        let (block, path) = (self.block, self.path.clone());
        read_file(&self.path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => BlockError::Missing { block, path },
            ErrorKind::InvalidData => BlockError::Corrupt { block, path, problem: e.to_string() },
            ErrorKind::UnexpectedEof => {
                BlockError::Corrupt { block, path, problem: "it ends too early".into() }
            }
            _ => BlockError::Io { block, path, cause: Arc::new(e) },
        })
    }
}

impl Drop for BlockFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes `data` to a new file, which must not be there. Returns the file's size.
pub(crate) fn write_file(path: &Path, data: &[u8], compress: bool) -> io::Result<u64> {
    let mut file = File::create_new(path)?;
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(MAGIC);
    header.push(VERSION);
    header.extend_from_slice(&(data.len() as u64).to_le_bytes());
    header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
    file.write_all(&header)?;
    let mut written = HEADER as u64;
    let room = if compress { FRAME.min(data.len()) } else { 0 };
    let mut packed = vec![0; lz4_flex::block::get_maximum_output_size(room)];
    for raw in data.chunks(FRAME) {
        let mut payload = raw;
        if compress {
            let n = lz4_flex::block::compress_into(raw, &mut packed)
                .map_err(|e| io::Error::new(ErrorKind::InvalidInput, e))?;
            if n < raw.len() {
                payload = &packed[..n];
            }
        }
        let mut head = [0; FRAME_HEADER];
        head[..4].copy_from_slice(&(raw.len() as u32).to_le_bytes());
        head[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..8]), payload);
        head[8..].copy_from_slice(&crc.to_le_bytes());
        file.write_all(&head)?;
        file.write_all(payload)?;
        written += (FRAME_HEADER + payload.len()) as u64;
    }
    Ok(written)
}

fn bad(problem: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem.into())
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

/// What [`write_file`] wrote; `InvalidData` or `UnexpectedEof` when it isn't whole.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let on_disk = file.metadata()?.len();
    let mut header = [0; HEADER];
    file.read_exact(&mut header)?;
    if &header[..7] != MAGIC {
        return Err(bad("it doesn't begin like a block file"));
    }
    if header[7] != VERSION {
        return Err(bad(format!(
            "it has format version {}, this build reads {VERSION}",
            header[7]
        )));
    }
    if crc32c::crc32c(&header[..16]) != number(&header, 16) {
        return Err(bad("the checksum of its header is wrong"));
    }
    let length = u64::from(number(&header, 8)) | u64::from(number(&header, 12)) << 32;
    let length = usize::try_from(length).map_err(|_| bad("its length doesn't fit into memory"))?;
    let mut out = Vec::with_capacity(length + crate::text::TextBlock::PAD);
    let mut payload = Vec::new();
    let mut at = HEADER as u64;
    for frame in 0.. {
        if out.len() == length {
            break;
        }
        let mut head = [0; FRAME_HEADER];
        file.read_exact(&mut head)?;
        let (raw, stored) = (number(&head, 0) as usize, number(&head, 4) as usize);
        if raw == 0 || raw > FRAME || stored > raw || out.len() + raw > length {
            return Err(bad(format!("frame {frame} at byte {at} has impossible lengths")));
        }
        payload.resize(stored, 0);
        file.read_exact(&mut payload)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..8]), &payload);
        if crc != number(&head, 8) {
            return Err(bad(format!("the checksum of frame {frame} at byte {at} is wrong")));
        }
        let from = out.len();
        if stored == raw {
            out.extend_from_slice(&payload);
        } else {
            out.resize(from + raw, 0);
            let n = lz4_flex::block::decompress_into(&payload, &mut out[from..])
                .map_err(|e| bad(format!("frame {frame} at byte {at}: {e}")))?;
            if n != raw {
                return Err(bad(format!("frame {frame} at byte {at} has {n} bytes, not {raw}")));
            }
        }
        at += (FRAME_HEADER + stored) as u64;
    }
    if at == on_disk { Ok(out) } else { Err(bad(format!("{} bytes follow its end", on_disk - at))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: BlockId = BlockId::Received { stream: 1, seq: 2 };

    fn fresh() -> PathBuf {
        use std::sync::atomic::{AtomicU32, Ordering};
        static N: AtomicU32 = AtomicU32::new(0);
        let n = N.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("brooklet-file-{}-{n}", std::process::id()))
    }

    #[test]
    fn bytes_come_back_and_the_file_goes() {
        let noise: Vec<u8> =
            (0..700_000u64).map(|i| (crate::HashSeed::new(i).hash(&i) >> 56) as u8).collect();
        for data in [Vec::new(), b"x".to_vec(), vec![7; 1 << 20], noise] {
            for compress in [false, true] {
                let file = BlockFile::write(ID, fresh(), &data, compress).unwrap();
                assert_eq!(fs::metadata(file.path()).unwrap().len(), file.bytes());
                assert_eq!(file.read().unwrap(), data);
                let path = file.path().to_owned();
                drop(file);
                assert!(!path.exists());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_changed_byte_and_any_cut_is_corruption(at in 0usize..10_000, bit in 0u8..8, cut: bool) {
            let data: Vec<u8> = (0..9_000u32).flat_map(|i| i.to_le_bytes()).collect();
            let file = BlockFile::write(ID, fresh(), &data, false).unwrap();
            let mut bytes = fs::read(file.path()).unwrap();
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            fs::write(file.path(), &bytes).unwrap();
            let e = file.read().unwrap_err();
            prop_assert!(e.is_corruption(), "{e}");
            prop_assert!(e.to_string().contains("input-1-2"));
            prop_assert!(e.to_string().contains("brooklet-file"));
        }
    }
}
