//! Values that can be compared by their bytes, though nothing is known of their type but that.
#![allow(unsafe_code)]

use std::any::TypeId;

/// Whether values of the type are numbers or the like: no bytes without meaning, nothing to drop.
pub(super) fn is<T: 'static>() -> bool {
    macro_rules! any {
        ($($t:ty)*) => { false $(|| TypeId::of::<T>() == TypeId::of::<$t>())* };
    }
    any!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 bool char)
}

/// Whether two plain values are the same, bit for bit.
///
/// # Panics
/// For types that aren't plain.
#[inline(always)]
pub(super) fn same<T: 'static>(a: &T, b: &T) -> bool {
    assert!(is::<T>());
    macro_rules! bits {
        ($t:ty) => {
            // SAFETY: a plain type of that size, whose bytes all have values. It may be less aligned.
            unsafe {
                (&raw const *a).cast::<$t>().read_unaligned()
                    == (&raw const *b).cast::<$t>().read_unaligned()
            }
        };
    }
    match size_of::<T>() {
        1 => bits!(u8),
        2 => bits!(u16),
        4 => bits!(u32),
        8 => bits!(u64),
        _ => bits!(u128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_and_the_like_are_plain() {
        assert!(is::<u8>() && is::<i128>() && is::<f64>() && is::<char>() && is::<bool>());
        assert!(!is::<(u8, u32)>() && !is::<String>() && !is::<[u8; 4]>() && !is::<Option<u8>>());
    }

    #[test]
    fn every_bit_counts() {
        assert!(same(&f64::NAN, &f64::NAN) && !same(&0.0, &-0.0));
        assert!(same(&u128::MAX, &u128::MAX) && !same(&(1u128 << 127), &0));
        assert!(!same(&(1u64 << 63), &0) && !same(&'a', &'b') && !same(&true, &false));
        assert!(!same(&(1u16 << 15), &0) && !same(&i8::MIN, &0));
    }
}
