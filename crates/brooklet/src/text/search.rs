//! One-shot search of a text in a line.
#![allow(unsafe_code)]

use super::mask::eq_at_16;

/// How many false candidates we look at before the rest goes to an algorithm that takes linear
/// time whatever the input.
const MAX_FALSE: usize = 64;

/// Texts longer than this are worth the preparation that [`memchr::memmem`] does.
const LONG: usize = 4096;

/// The first place of `needle` in `hay`.
///
/// Lines are short, and the needle is a new one with each call, so preparing a searcher would
/// cost more than the search. This compares four bytes of the needle at 16 places at once, then
/// the whole needle where all four agree.
#[inline]
pub(super) fn find_text(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let n = needle.len();
    match n {
        0 => return Some(0),
        1 => return memchr::memchr(needle[0], hay),
        _ if n > hay.len() => return None,
        _ if hay.len() > LONG || hay.len() < n + 15 => return memchr::memmem::find(hay, needle),
        _ => {}
    }
    let offsets = [0, n / 3, 2 * n / 3, n - 1];
    let bytes = offsets.map(|i| needle[i]);
    let places = hay.len() - n + 1;
    debug_assert!(places >= 16);
    let mut at = 0;
    let mut wrong = 0;
    loop {
        // The last window is moved back, to end at the last possible place.
        let from = at.min(places - 16);
        // SAFETY: `from + 15` is a possible place, and the largest offset is `n - 1`, so the
        // furthest byte read is the last one of the needle at that place.
        let mut mask = unsafe { eq_at_16(hay.as_ptr().add(from), offsets, bytes) };
        while mask != 0 {
            let i = from + mask.trailing_zeros() as usize;
            if hay[i + 1..i + n - 1] == needle[1..n - 1] {
                return Some(i);
            }
            mask &= mask - 1;
            wrong += 1;
        }
        at += 16;
        if at >= places {
            return None;
        }
        if wrong > MAX_FALSE {
            return memchr::memmem::find(&hay[at..], needle).map(|i| at + i);
        }
    }
}
