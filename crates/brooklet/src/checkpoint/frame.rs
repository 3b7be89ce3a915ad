//! What every file here is made of.
//!
//! ```text
//! file      preamble frame*
//! preamble  magic:7 bytes version:u8 crc32c-of-these:u32      the same in all versions, for ever
//! frame     raw:u32 stored:u32 crc32c:u32 payload             lz4 when stored < raw
//! ```
//! Numbers are little-endian. A frame's checksum is over the file's name, its place in the file, its
//! lengths and its payload, so that a frame doesn't pass for one of another file or place.

use std::io;
use std::path::Path;

use super::CheckpointError;
use super::storage::StorageWriter;

pub(crate) const PREAMBLE: usize = 12;
pub(crate) const FRAME_HEAD: usize = 12;

type Result<T, E = CheckpointError> = std::result::Result<T, E>;

/// The first bytes of a file.
pub(crate) fn preamble(magic: &[u8; 7], version: u8) -> [u8; PREAMBLE] {
    let mut out = [0; PREAMBLE];
    out[..7].copy_from_slice(magic);
    out[7] = version;
    let crc = crc32c::crc32c(&out[..8]);
    out[8..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Checks the first bytes of a file; `reads` is the newest version that this build knows.
pub(crate) fn check_preamble(file: &Path, bytes: &[u8], magic: &[u8; 7], reads: u8) -> Result<()> {
    let Some(bytes) = bytes.first_chunk::<PREAMBLE>() else {
        return Err(CheckpointError::corrupt(file, bytes.len() as u64, "the file ends too early"));
    };
    if bytes[..7] != magic[..] || number(bytes, 8) != Some(crc32c::crc32c(&bytes[..8])) {
        let kind = String::from_utf8_lossy(magic);
        let problem = format!("it doesn't begin as a file of kind {kind} does");
        return Err(CheckpointError::corrupt(file, 0, problem));
    }
    // The checksum is right, so the version is what was written.
    if bytes[7] == 0 || bytes[7] > reads {
        return Err(CheckpointError::Version { file: file.to_owned(), found: bytes[7], reads });
    }
    Ok(())
}

/// What frames of a file of this name are bound to.
pub(crate) fn seed(name: &str) -> u32 {
    crc32c::crc32c(name.as_bytes())
}

fn checksum(seed: u32, at: u64, lengths: &[u8], payload: &[u8]) -> u32 {
    let mut place = [0; 12];
    place[..4].copy_from_slice(&seed.to_le_bytes());
    place[4..].copy_from_slice(&at.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&place), lengths);
    crc32c::crc32c_append(crc, payload)
}

pub(crate) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Appends numbers in the short form: seven bits a byte, the lowest first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Reads a number that [`put_varint`] wrote, and moves `bytes` behind it.
#[inline]
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (&b, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u64::from(b & 0x7f) << shift;
        if b < 0x80 {
            return Some(n);
        }
    }
    None
}

/// Makes a frame of `raw`, which stands at byte `at` of its file, in `out`. Returns its checksum.
pub(crate) fn encode_frame(
    seed: u32,
    at: u64,
    raw: &[u8],
    compress: bool,
    out: &mut Vec<u8>,
) -> io::Result<u32> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "a frame has more than 4 GiB");
    let length = u32::try_from(raw.len()).map_err(|_| too_long())?;
    out.clear();
    out.resize(FRAME_HEAD, 0);
    let mut stored = raw.len();
    if compress {
        out.resize(FRAME_HEAD + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
        stored = lz4_flex::block::compress_into(raw, &mut out[FRAME_HEAD..])
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        out.truncate(FRAME_HEAD + stored);
    }
    if !compress || stored >= raw.len() {
        stored = raw.len();
        out.truncate(FRAME_HEAD);
        out.extend_from_slice(raw);
    }
    out[..4].copy_from_slice(&length.to_le_bytes());
    out[4..8].copy_from_slice(&(stored as u32).to_le_bytes());
    let crc = checksum(seed, at, &out[..8], &out[FRAME_HEAD..]);
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    Ok(crc)
}

/// Reads the frame that fills `bytes`, which stand at byte `at` of their file. Returns its checksum; the
/// error says what is wrong.
pub(crate) fn decode_frame(
    seed: u32,
    at: u64,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<u32, &'static str> {
    let (Some(raw), Some(stored), Some(crc)) =
        (number(bytes, 0), number(bytes, 4), number(bytes, 8))
    else {
        return Err("the file ends within a frame");
    };
    let (raw, payload) = (raw as usize, &bytes[FRAME_HEAD..]);
    if payload.len() != stored as usize {
        return Err("a frame has another length than it says");
    }
    if crc != checksum(seed, at, &bytes[..8], payload) {
        return Err("the checksum of a frame is wrong");
    }
    out.clear();
    if payload.len() == raw {
        out.extend_from_slice(payload);
    } else {
        out.resize(raw, 0);
        match lz4_flex::block::decompress_into(payload, out) {
            Ok(n) if n == raw => {}
            _ => return Err("a frame can't be decompressed"),
        }
    }
    Ok(crc)
}

/// Writes a file frame by frame.
pub(crate) struct FrameWriter {
    out: Box<dyn StorageWriter>,
    seed: u32,
    at: u64,
    compress: bool,
    packed: Vec<u8>,
}

/// Where a frame is, with its head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FramePlace {
    pub(crate) at: u64,
    pub(crate) length: u32,
    pub(crate) crc: u32,
}

impl FrameWriter {
    pub(crate) fn new(
        mut out: Box<dyn StorageWriter>,
        name: &str,
        start: &[u8; PREAMBLE],
        compress: bool,
    ) -> io::Result<FrameWriter> {
        out.write(start)?;
        let at = PREAMBLE as u64;
        Ok(FrameWriter { out, seed: seed(name), at, compress, packed: Vec::new() })
    }

    pub(crate) fn frame(&mut self, raw: &[u8]) -> io::Result<FramePlace> {
        let at = self.at;
        let crc = encode_frame(self.seed, at, raw, self.compress, &mut self.packed)?;
        self.out.write(&self.packed)?;
        self.at += self.packed.len() as u64;
        let length = u32::try_from(self.packed.len()).map_err(io::Error::other)?;
        Ok(FramePlace { at, length, crc })
    }

    /// Where the next frame will be.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Ends the file with bytes that are no frame, and makes its contents durable.
    pub(crate) fn finish(mut self, tail: &[u8]) -> io::Result<()> {
        self.out.write(tail)?;
        self.out.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(n: u64, small in 0u64..300) {
            for n in [n, small, u64::MAX] {
                let mut out = Vec::new();
                put_varint(&mut out, n);
                out.push(9);
                let mut rest = &out[..];
                prop_assert_eq!(take_varint(&mut rest), Some(n));
                prop_assert_eq!(rest, &[9]);
            }
        }

        #[test]
        fn a_frame_is_bound_to_its_file_and_place(data: Vec<u8>, compress: bool) {
            let (mut frame, mut out) = (Vec::new(), Vec::new());
            let crc = encode_frame(seed("a"), 12, &data, compress, &mut frame).unwrap();
            prop_assert_eq!(decode_frame(seed("a"), 12, &frame, &mut out), Ok(crc));
            prop_assert_eq!(&out, &data);
            prop_assert!(decode_frame(seed("b"), 12, &frame, &mut out).is_err());
            prop_assert!(decode_frame(seed("a"), 13, &frame, &mut out).is_err());
            prop_assert!(decode_frame(seed("a"), 12, &frame[..frame.len() - 1], &mut out).is_err());
        }
    }

    #[test]
    fn an_unknown_version_is_told_from_damage() {
        let file = Path::new("m");
        let new = preamble(b"BRKLTST", 2);
        let e = check_preamble(file, &new, b"BRKLTST", 1).unwrap_err();
        assert!(matches!(e, CheckpointError::Version { found: 2, reads: 1, .. }), "{e}");
        assert!(e.to_string().contains("newer"), "{e}");
        assert!(check_preamble(file, &new, b"BRKLTST", 2).is_ok());
        let mut bad = new;
        bad[7] = 3;
        assert!(check_preamble(file, &bad, b"BRKLTST", 1).unwrap_err().is_corruption());
        assert!(check_preamble(file, &new[..5], b"BRKLTST", 2).unwrap_err().is_corruption());
    }
}
