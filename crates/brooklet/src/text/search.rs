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
/// cost more than the search. This compares four bytes of the needle at 16 places at once (six bytes at 128 with
/// AVX2), then the whole needle where all of them agree.
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
    find_by_16(hay, needle)
}

/// The search with AVX2. Lines differ in length and few of them have the needle: 128 places are looked at
/// without a branch in between, and where there is a candidate, [`find_by_16`] has the word.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2")]
fn find_by_32(hay: &[u8], needle: &[u8]) -> Option<usize> {
    use std::arch::x86_64::{
        _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_or_si256, _mm256_set1_epi8,
        _mm256_testz_si256,
    };
    let n = needle.len();
    let offsets = [0, n / 5, 2 * n / 5, 3 * n / 5, 4 * n / 5, n - 1];
    let [a, b, c, d, e, f] = offsets.map(|i| _mm256_set1_epi8(needle[i] as i8));
    let last = hay.len() - n - 31; // the last window's first place
    let agree = |at: usize| {
        let p = hay[at.min(last)..].as_ptr();
        // SAFETY: the furthest byte read is that of the needle's end at the last possible place.
        let [u, v, w, x, y, z] = offsets.map(|i| unsafe { _mm256_loadu_si256(p.add(i).cast()) });
        let first = _mm256_and_si256(_mm256_cmpeq_epi8(u, a), _mm256_cmpeq_epi8(v, b));
        let second = _mm256_and_si256(_mm256_cmpeq_epi8(w, c), _mm256_cmpeq_epi8(x, d));
        let third = _mm256_and_si256(_mm256_cmpeq_epi8(y, e), _mm256_cmpeq_epi8(z, f));
        _mm256_and_si256(_mm256_and_si256(first, second), third)
    };
    let mut at = 0;
    while at <= last + 31 {
        let low = _mm256_or_si256(agree(at), agree(at + 32));
        let all = _mm256_or_si256(low, _mm256_or_si256(agree(at + 64), agree(at + 96)));
        if _mm256_testz_si256(all, all) == 0 {
            return candidates(hay, needle);
        }
        at += 128;
    }
    None
}

/// [`find_by_16`], apart from the loop that finds nothing in most lines.
#[cold]
#[inline(never)]
fn candidates(hay: &[u8], needle: &[u8]) -> Option<usize> {
    find_by_16(hay, needle)
}

/// The search with windows of 16 places. There are at least 16 possible ones.
fn find_by_16(hay: &[u8], needle: &[u8]) -> Option<usize> {
    const WIDTH: usize = 16;
    let n = needle.len();
    let offsets = [0, n / 3, 2 * n / 3, n - 1];
    let bytes = offsets.map(|i| needle[i]);
    let places = hay.len() - n + 1;
    assert!(places >= WIDTH);
    let mut at = 0;
    let mut wrong = 0;
    loop {
        // The last window is moved back, to end at the last possible place.
        let from = at.min(places - WIDTH);
        // SAFETY: `from + WIDTH - 1` is a possible place, and the largest offset is `n - 1`, so the
        // furthest byte read is the last one of the needle at that place.
        let mut mask = unsafe { eq_at_16(hay[from..].as_ptr(), offsets, bytes) };
        while mask != 0 {
            let i = from + mask.trailing_zeros() as usize;
            if hay[i + 1..i + n - 1] == needle[1..n - 1] {
                return Some(i);
            }
            mask &= mask - 1;
            wrong += 1;
        }
        at += WIDTH;
        if at >= places {
            return None;
        }
        if wrong > MAX_FALSE {
            return memchr::memmem::find(&hay[at..], needle).map(|i| at + i);
        }
    }
}
