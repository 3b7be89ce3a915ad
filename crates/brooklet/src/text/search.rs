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
/// cost more than the search. This compares four bytes of the needle at 16 places (32 with AVX2) at once, then
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
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if hay.len() - n >= 31 && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { find_by_32(hay, needle) };
    }
    find_by(hay, needle, 16, |p, offsets, bytes| {
        // SAFETY: as `find_by` promises.
        unsafe { eq_at_16(p, offsets, bytes) }
    })
}

/// [`find_by`] with 32 places at once.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2")]
fn find_by_32(hay: &[u8], needle: &[u8]) -> Option<usize> {
    find_by(hay, needle, 32, |p, offsets, bytes| {
        use std::arch::x86_64::{
            _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8,
            _mm256_set1_epi8,
        };
        let eq = |k: usize| {
            // SAFETY: as `find_by` promises, 32 bytes are readable at each offset.
            let window = unsafe { _mm256_loadu_si256(p.add(offsets[k]).cast()) };
            _mm256_cmpeq_epi8(window, _mm256_set1_epi8(bytes[k] as i8))
        };
        let first = _mm256_and_si256(eq(0), eq(1));
        let second = _mm256_and_si256(eq(2), eq(3));
        _mm256_movemask_epi8(_mm256_and_si256(first, second)) as u32
    })
}

/// The search with windows of `width` places; `places_of(p, offsets, bytes)` tells at which of them all four
/// bytes of the needle are. It may read `width` bytes from `p` on and from each offset on. There are at
/// least `width` possible places.
#[inline(always)]
fn find_by(
    hay: &[u8],
    needle: &[u8],
    width: usize,
    places_of: impl Fn(*const u8, [usize; 4], [u8; 4]) -> u32,
) -> Option<usize> {
    let n = needle.len();
    let offsets = [0, n / 3, 2 * n / 3, n - 1];
    let bytes = offsets.map(|i| needle[i]);
    let places = hay.len() - n + 1;
    assert!(places >= width);
    let mut at = 0;
    let mut wrong = 0;
    loop {
        // The last window is moved back, to end at the last possible place: `from + width - 1` is a
        // possible place, and the largest offset is `n - 1`, so the furthest byte read is the last one of
        // the needle at that place.
        let from = at.min(places - width);
        let mut mask = places_of(hay[from..].as_ptr(), offsets, bytes);
        while mask != 0 {
            let i = from + mask.trailing_zeros() as usize;
            if hay[i + 1..i + n - 1] == needle[1..n - 1] {
                return Some(i);
            }
            mask &= mask - 1;
            wrong += 1;
        }
        at += width;
        if at >= places {
            return None;
        }
        if wrong > MAX_FALSE {
            return memchr::memmem::find(&hay[at..], needle).map(|i| at + i);
        }
    }
}
