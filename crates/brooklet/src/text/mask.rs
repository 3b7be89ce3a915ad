//! Bit masks over 16 or 64 bytes: bit `i` says whether byte `i` is of the kind looked for.
//!
//! SSE2 belongs to every x86-64 machine, so nothing is detected at run time. Other targets take
//! plain loops, which the compiler may vectorise.
#![allow(unsafe_code)]

use imp::{eq16, space16};

pub(super) use imp::eq_at_16;

/// Which of the 64 bytes at `p` equal `byte`.
///
/// # Safety
///
/// 64 bytes are readable at `p`.
#[inline(always)]
pub(super) unsafe fn eq64(p: *const u8, byte: u8) -> u64 {
    // SAFETY: the four windows make up the 64 bytes.
    (0..4).fold(0, |mask, i| unsafe { mask | u64::from(eq16(p.add(16 * i), byte)) << (16 * i) })
}

/// Which of the 64 bytes at `p` are a space or one of `\t \n \x0b \x0c \r`.
///
/// # Safety
///
/// 64 bytes are readable at `p`.
#[inline(always)]
pub(super) unsafe fn space64(p: *const u8) -> u64 {
    // SAFETY: the four windows make up the 64 bytes.
    (0..4).fold(0, |mask, i| unsafe { mask | u64::from(space16(p.add(16 * i))) << (16 * i) })
}

/// `mask` without the bits from `n` on.
#[inline(always)]
pub(super) fn clip(mask: u64, n: usize) -> u64 {
    if n < 64 { mask & ((1 << n) - 1) } else { mask }
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use std::arch::x86_64::*;

    /// # Safety
    ///
    /// 16 bytes are readable at `p`.
    #[inline(always)]
    unsafe fn load(p: *const u8) -> __m128i {
        // SAFETY: as promised by the caller; the load needs no alignment.
        unsafe { _mm_loadu_si128(p.cast()) }
    }

    /// # Safety
    ///
    /// 16 bytes are readable at `p`.
    #[inline(always)]
    pub(super) unsafe fn eq16(p: *const u8, byte: u8) -> u32 {
        // SAFETY: as promised by the caller; SSE2 belongs to x86-64.
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(load(p), _mm_set1_epi8(byte as i8))) as u32 }
    }

    /// # Safety
    ///
    /// 16 bytes are readable at `p`.
    #[inline(always)]
    pub(super) unsafe fn space16(p: *const u8) -> u32 {
        // SAFETY: as promised by the caller; SSE2 belongs to x86-64.
        unsafe {
            let bytes = load(p);
            let space = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b' ' as i8));
            let from_tab = _mm_sub_epi8(bytes, _mm_set1_epi8(b'\t' as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(from_tab, _mm_set1_epi8(4)), from_tab);
            _mm_movemask_epi8(_mm_or_si128(space, control)) as u32
        }
    }

    /// For which of 16 places from `p` on, the byte `offsets[k]` further is `bytes[k]`, for all
    /// four `k`.
    ///
    /// # Safety
    ///
    /// 16 bytes are readable at `p + offsets[k]`, for all four `k`.
    #[inline(always)]
    pub(in super::super) unsafe fn eq_at_16(
        p: *const u8,
        offsets: [usize; 4],
        bytes: [u8; 4],
    ) -> u32 {
        // SAFETY: as promised by the caller; SSE2 belongs to x86-64.
        unsafe {
            let eq =
                |k: usize| _mm_cmpeq_epi8(load(p.add(offsets[k])), _mm_set1_epi8(bytes[k] as i8));
            let all = _mm_and_si128(_mm_and_si128(eq(0), eq(1)), _mm_and_si128(eq(2), eq(3)));
            _mm_movemask_epi8(all) as u32
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    /// # Safety
    ///
    /// 16 bytes are readable at `p`.
    #[inline(always)]
    unsafe fn mask16(p: *const u8, is: impl Fn(u8) -> bool) -> u32 {
        // SAFETY: as promised by the caller; an array of bytes needs no alignment.
        let bytes = unsafe { p.cast::<[u8; 16]>().read() };
        let bit = |i: usize| u32::from(is(bytes[i])) << i;
        (0..16).fold(0, |mask, i| mask | bit(i))
    }

    /// # Safety
    ///
    /// 16 bytes are readable at `p`.
    #[inline(always)]
    pub(super) unsafe fn eq16(p: *const u8, byte: u8) -> u32 {
        // SAFETY: as promised by the caller.
        unsafe { mask16(p, |b| b == byte) }
    }

    /// # Safety
    ///
    /// 16 bytes are readable at `p`.
    #[inline(always)]
    pub(super) unsafe fn space16(p: *const u8) -> u32 {
        // SAFETY: as promised by the caller.
        unsafe { mask16(p, |b| matches!(b, b' ' | b'\t'..=b'\r')) }
    }

    /// For which of 16 places from `p` on, the byte `offsets[k]` further is `bytes[k]`, for all
    /// four `k`.
    ///
    /// # Safety
    ///
    /// 16 bytes are readable at `p + offsets[k]`, for all four `k`.
    #[inline(always)]
    pub(in super::super) unsafe fn eq_at_16(
        p: *const u8,
        offsets: [usize; 4],
        bytes: [u8; 4],
    ) -> u32 {
        // SAFETY: as promised by the caller.
        (0..4).fold(u32::MAX, |mask, k| unsafe { mask & eq16(p.add(offsets[k]), bytes[k]) })
    }
}
