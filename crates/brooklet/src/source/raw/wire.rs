//! What goes over the wire between a [`RawSender`](super::RawSender) and a raw socket stream.
//!
//! ```text
//! connection  preamble block*
//! preamble    magic "BRKLRAW" version:u8 length:u16 type-name crc32c-of-these:u32
//! block       length:u32 crc32c:u32 kind:u8 payload     length counts kind and payload,
//!                                                       crc32c is of length, kind and payload
//! payload     kind 0: postcard's form of a Vec<T>       kind 1: lines of text, each with its end
//! ```
//! Numbers are big-endian.

use std::any::TypeId;
use std::io::{self, Read};
use std::sync::Arc;

use crate::block::{Block, Decode, Encoded, TextLines};
use crate::text::TextBlock;
use crate::{Error, Result, Str, Wire};

const MAGIC: &[u8; 7] = b"BRKLRAW";
const VERSION: u8 = 1;
/// Longest name of a type that is sent, in bytes.
const MAX_NAME: usize = 1024;
/// Bytes before the payload.
const HEAD: usize = 9;
const RECORDS: u8 = 0;
const TEXT: u8 = 1;

/// Why there is no next block.
#[derive(Debug)]
pub(super) enum Problem {
    /// The connection ended between two blocks.
    End,
    /// It ended inside of one.
    Half,
    /// It broke.
    Lost(io::Error),
    /// What came isn't a block that can be taken.
    Refused(String),
}

fn refused<T>(why: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Refused(why.into()))
}

/// The name of a type without the modules that it and its arguments are in; two programs may have it in
/// two places.
pub(super) fn type_name<T>() -> String {
    let mut short = String::new();
    let mut word = 0; // where the last path begins
    for c in std::any::type_name::<T>().chars() {
        match c {
            ':' if short.ends_with(':') => short.truncate(word),
            c if c.is_alphanumeric() || c == '_' || c == ':' => short.push(c),
            c => {
                short.push(c);
                word = short.len();
            }
        }
    }
    while short.len() > MAX_NAME {
        short.pop();
    }
    short
}

/// What a sender says first.
pub(super) fn preamble<T>() -> Vec<u8> {
    let name = type_name::<T>();
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    out.extend_from_slice(&(name.len() as u16).to_be_bytes());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&crc32c::crc32c(&out).to_be_bytes());
    out
}

/// A block's bytes: what is before the payload, and the payload.
pub(super) fn frame(block: &Arc<dyn Block>) -> Result<([u8; HEAD], Vec<u8>)> {
    let payload = block.encode()?;
    let text = block.clone().as_any().is::<TextLines>();
    let length = payload.len() + 1;
    let Ok(length) = u32::try_from(length) else {
        return Err(Error::usage(format!(
            "a block of {length} bytes can't be sent, 4 GiB is the most: send fewer records at once"
        )));
    };
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&length.to_be_bytes());
    head[8] = if text { TEXT } else { RECORDS };
    let crc = checksum(&head, &payload);
    head[4..8].copy_from_slice(&crc.to_be_bytes());
    Ok((head, payload))
}

fn checksum(head: &[u8; HEAD], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..4]), &head[8..]);
    crc32c::crc32c_append(crc, payload)
}

/// Fills as much as comes.
fn fill(from: &mut impl Read, mut into: &mut [u8]) -> Result<usize, Problem> {
    let mut n = 0;
    while !into.is_empty() {
        match from.read(into) {
            Ok(0) => break,
            Ok(more) => {
                n += more;
                into = &mut into[more..];
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Problem::Lost(e)),
        }
    }
    Ok(n)
}

fn fill_all(from: &mut impl Read, into: &mut [u8]) -> Result<(), Problem> {
    if fill(from, into)? == into.len() { Ok(()) } else { Err(Problem::Half) }
}

/// Reads the preamble; refuses a peer that sends none, or records of another type.
pub(super) fn read_preamble<T>(from: &mut impl Read) -> Result<(), Problem> {
    let mut head = [0; 10];
    // Looked at as it comes: a wrong peer may send little and wait.
    for at in 0..MAGIC.len() {
        if fill(from, &mut head[at..=at])? == 0 {
            return if at == 0 { Err(Problem::End) } else { Err(Problem::Half) };
        }
        if head[at] != MAGIC[at] {
            let begin = String::from_utf8_lossy(&head[..=at]).escape_debug().to_string();
            return refused(format!(
                "the server doesn't send blocks, it begins with `{begin}`: this stream reads what a \
                 `RawSender` sends; for text use `socket_text_stream`"
            ));
        }
    }
    fill_all(from, &mut head[7..])?;
    if head[7] != VERSION {
        return refused(format!(
            "the sender has version {} of the protocol, this build has {VERSION}: build both with the \
             same version of brooklet",
            head[7]
        ));
    }
    let length = usize::from(u16::from_be_bytes([head[8], head[9]]));
    if length > MAX_NAME {
        return refused("the beginning of the connection is damaged");
    }
    let mut rest = vec![0; length + 4];
    fill_all(from, &mut rest)?;
    let (name, crc) = rest.split_at(length);
    if crc32c::crc32c_append(crc32c::crc32c(&head), name).to_be_bytes() != crc {
        return refused("the beginning of the connection is damaged: its checksum is wrong");
    }
    let (theirs, ours) = (String::from_utf8_lossy(name), type_name::<T>());
    if theirs != ours {
        return refused(format!(
            "the sender sends records of `{theirs}`, this stream reads `{ours}`"
        ));
    }
    Ok(())
}

/// Reads a block of at most `limit` bytes.
pub(super) fn read_block<T: Wire>(
    from: &mut impl Read,
    limit: usize,
) -> Result<(Arc<dyn Block>, Decode), Problem> {
    let mut head = [0; HEAD];
    match fill(from, &mut head)? {
        0 => return Err(Problem::End),
        HEAD => {}
        _ => return Err(Problem::Half),
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3, kind] = head;
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if length == 0 || length > limit {
        return refused(format!(
            "a block of {length} bytes, from 1 to {limit} are allowed \
             (`SocketOptions::max_record_bytes`)"
        ));
    }
    // The system gives the memory as it is filled.
    let mut payload = Vec::with_capacity(length - 1 + TextBlock::PAD);
    match from.take(length as u64 - 1).read_to_end(&mut payload) {
        Ok(n) if n == length - 1 => {}
        Ok(_) => return Err(Problem::Half),
        Err(e) => return Err(Problem::Lost(e)),
    }
    if checksum(&head, &payload) != u32::from_be_bytes([c0, c1, c2, c3]) {
        return refused(format!("a block of {length} bytes is damaged: its checksum is wrong"));
    }
    match kind {
        RECORDS => match Encoded::<T>::new(payload) {
            Ok(block) => Ok((block, Encoded::<T>::decode)),
            Err(e) => refused(format!("a block of {length} bytes: {e}")),
        },
        TEXT if TypeId::of::<T>() == TypeId::of::<Str>() => match TextBlock::new(payload) {
            Ok(text) => Ok((TextLines::new(text), TextLines::decode)),
            Err(e) => refused(format!("a block of {length} bytes of text: {e}")),
        },
        other => {
            refused(format!("a block of {length} bytes is of a kind ({other}) that can't be read"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::block_of;
    use proptest::prelude::*;

    mod inner {
        #[derive(Clone)]
        pub struct Own<T>(pub T);
    }

    #[test]
    fn names_of_types_have_no_modules() {
        assert_eq!(type_name::<(u8, Option<String>)>(), "(u8, Option<String>)");
        assert_eq!(type_name::<inner::Own<Vec<[Str; 2]>>>(), "Own<Vec<[Str; 2]>>");
    }

    fn sent<T: Wire>(blocks: &[Vec<T>]) -> Vec<u8> {
        let mut out = preamble::<T>();
        for items in blocks {
            let (head, payload) = frame(&block_of(items.clone()).0).unwrap();
            out.extend_from_slice(&head);
            out.extend_from_slice(&payload);
        }
        out
    }

    /// Gives the bytes in pieces of these sizes.
    struct Pieces<'a>(&'a [u8], Vec<usize>);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1.rotate_left(1);
            let n = self.1.last().copied().unwrap_or(1).clamp(1, into.len().max(1));
            let n = n.min(self.0.len()).min(into.len());
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn items<T: Wire>(block: Arc<dyn Block>) -> Result<Vec<T>, String> {
        use std::ops::ControlFlow;
        let block = match block.clone().as_any().downcast::<Encoded<T>>() {
            Ok(encoded) => encoded.values().map_err(|e| e.to_string())?,
            Err(_) => block,
        };
        let mut all = Vec::new();
        let _ = crate::block::records_of::<T>(&block).unwrap().chunks(&mut |c| {
            all.append(c);
            ControlFlow::Continue(())
        });
        Ok(all)
    }

    fn received<T: Wire>(mut from: impl Read, limit: usize) -> (Vec<Arc<dyn Block>>, Problem) {
        let mut blocks = Vec::new();
        let mut next = read_preamble::<T>(&mut from);
        loop {
            if let Err(e) = next {
                return (blocks, e);
            }
            next = read_block::<T>(&mut from, limit).map(|(b, _)| blocks.push(b));
        }
    }

    #[test]
    fn text_goes_as_text_and_comes_without_a_copy_of_its_lines() {
        let lines: Vec<Str> = ["one", "", "drei 河"].map(Str::from).to_vec();
        let (blocks, end) = received::<Str>(&sent(std::slice::from_ref(&lines))[..], 1 << 20);
        assert!(matches!(end, Problem::End), "{end:?}");
        assert!(blocks[0].clone().as_any().is::<TextLines>());
        assert_eq!(items::<Str>(blocks[0].clone()).unwrap(), lines);
        // Records with line ends inside go the other way.
        let odd = vec![Str::from("a\nb")];
        let (blocks, _) = received::<Str>(&sent(std::slice::from_ref(&odd))[..], 1 << 20);
        assert_eq!(items::<Str>(blocks[0].clone()).unwrap(), odd);
    }

    #[test]
    fn a_wrong_peer_is_told_from_what_it_sends() {
        let why = |bytes: &[u8]| match received::<u64>(bytes, 100).1 {
            Problem::Refused(why) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(b"HTTP/1.1 200 OK").contains("begins with `H`"));
        assert!(why(b"BRKLx").contains("`BRKLx`"));
        assert!(
            why(&sent::<u32>(&[vec![1]]))
                .contains("sends records of `u32`, this stream reads `u64`")
        );
        let mut newer = sent::<u64>(&[]);
        newer[7] = 9;
        assert!(why(&newer).contains("version 9"));
        let mut damaged = sent::<u64>(&[vec![1, 2, 3]]);
        *damaged.last_mut().unwrap() ^= 1;
        assert!(why(&damaged).contains("checksum"));
        assert!(why(&sent::<u64>(&[vec![7; 1000]])).contains("from 1 to 100"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn blocks_survive_any_cuts(
            blocks in prop::collection::vec(prop::collection::vec((any::<u32>(), ".{0,9}"), 0..20), 0..6),
            cuts in prop::collection::vec(1usize..40, 1..9),
        ) {
            let bytes = sent(&blocks);
            let (got, end) = received::<(u32, String)>(Pieces(&bytes, cuts), 1 << 20);
            prop_assert!(matches!(end, Problem::End), "{end:?}");
            let got: Vec<_> = got.into_iter().map(|b| items::<(u32, String)>(b).unwrap()).collect();
            prop_assert_eq!(got, blocks);
        }

        #[test]
        fn an_end_or_damage_anywhere_gives_a_prefix(
            blocks in prop::collection::vec(prop::collection::vec(any::<u64>(), 0..9), 1..5),
            at in any::<prop::sample::Index>(),
            flip in 0u8..=255,
        ) {
            let mut bytes = sent(&blocks);
            let at = at.index(bytes.len());
            if flip == 0 {
                bytes.truncate(at);
            } else {
                bytes[at] ^= flip;
            }
            let (got, end) = received::<u64>(&bytes[..], 1 << 20);
            let got: Vec<_> = got.into_iter().map(|b| items::<u64>(b).unwrap()).collect();
            prop_assert!(got.len() <= blocks.len());
            prop_assert_eq!(&got[..], &blocks[..got.len()]);
            prop_assert!(flip == 0 || !matches!(end, Problem::End), "damage is seen: {end:?}");
        }

        #[test]
        fn garbage_is_refused(
            good_start in any::<bool>(),
            garbage in prop::collection::vec(any::<u8>(), 0..400),
            cuts in prop::collection::vec(1usize..40, 1..5),
        ) {
            let mut bytes = if good_start { preamble::<String>() } else { Vec::new() };
            bytes.extend_from_slice(&garbage);
            let (got, _) = received::<String>(Pieces(&bytes, cuts), 1 << 16);
            prop_assert!(got.is_empty());
        }

        /// Bytes with a good checksum may still be no records: an error, not a panic.
        #[test]
        fn garbage_with_a_good_checksum_fails_to_decode(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut head = [0; HEAD];
            head[..4].copy_from_slice(&(payload.len() as u32 + 1).to_be_bytes());
            let crc = checksum(&head, &payload);
            head[4..8].copy_from_slice(&crc.to_be_bytes());
            let bytes = [&preamble::<Vec<String>>()[..], &head, &payload].concat();
            let (got, _) = received::<Vec<String>>(&bytes[..], 1 << 16);
            for block in got {
                let n = block.records();
                if let Ok(items) = items::<Vec<String>>(block) {
                    prop_assert_eq!(items.len(), n);
                }
            }
        }
    }
}
