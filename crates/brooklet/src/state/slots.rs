//! Values in numbered places, some of which are empty: a vector and a bit for each place.
#![allow(unsafe_code)]

use std::iter::Peekable;
use std::mem::MaybeUninit;
use std::slice::IterMut;

use super::plain;
use crate::rdd::combine::{prefetch, prefetch_value};

/// Places for values. A place keeps its number.
pub(super) struct Slots<T> {
    places: Vec<MaybeUninit<T>>,
    /// Bit `i % 64` of word `i / 64`: whether place `i` holds a value. Always long enough.
    full: Vec<u64>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { places: Vec::new(), full: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// The number of places.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Makes room for `len` places at least; new ones are empty. Grows by a quarter, so that little memory
    /// lies idle.
    pub(super) fn grow(&mut self, len: usize) {
        if len <= self.places.len() {
            return;
        }
        if len > self.places.capacity() {
            let room = len.max(self.places.len() + self.places.len() / 4).max(4);
            self.places.reserve_exact(room - self.places.len());
        }
        self.places.resize_with(len, MaybeUninit::uninit);
        self.full.resize(len.div_ceil(64), 0);
    }

    #[inline]
    pub(super) fn is_full(&self, i: usize) -> bool {
        self.full.get(i / 64).is_some_and(|w| w >> (i % 64) & 1 == 1)
    }

    #[inline]
    pub(super) fn get(&self, i: usize) -> Option<&T> {
        // SAFETY: the bit says that the place holds a value; bits are set for existing places only.
        self.is_full(i).then(|| unsafe { self.places[i].assume_init_ref() })
    }

    /// Fills a place; a value that is there is dropped.
    #[inline]
    pub(super) fn put(&mut self, i: usize, v: T) {
        let old = self.take(i);
        self.places[i] = MaybeUninit::new(v);
        self.full[i / 64] |= 1 << (i % 64);
        drop(old);
    }

    /// Empties a place.
    #[inline]
    pub(super) fn take(&mut self, i: usize) -> Option<T> {
        if !self.is_full(i) {
            return None;
        }
        self.full[i / 64] &= !(1 << (i % 64));
        // SAFETY: the bit said that the place holds a value; now nobody reads it again.
        Some(unsafe { self.places[i].assume_init_read() })
    }

    /// The value of a place.
    ///
    /// # Safety
    /// The place is full.
    #[inline]
    pub(super) unsafe fn at(&self, i: usize) -> &T {
        debug_assert!(self.is_full(i));
        // SAFETY: the caller says that place `i` exists and is full.
        unsafe { self.places.get_unchecked(i).assume_init_ref() }
    }

    /// Moves the value of a place out, while the place counts as full: nothing may look at it before
    /// [`Slots::write`] has put one back.
    ///
    /// # Safety
    /// The place is full; `write` or [`Slots::empty`] follows, whatever happens in between.
    #[inline]
    pub(super) unsafe fn read(&self, i: usize) -> T {
        debug_assert!(self.is_full(i));
        // SAFETY: the caller says that place `i` is full and that nobody else will read this value.
        unsafe { self.places.get_unchecked(i).assume_init_read() }
    }

    /// Puts a value into a place whose value was moved out by [`Slots::read`].
    #[inline]
    pub(super) fn write(&mut self, i: usize, v: T) {
        debug_assert!(self.is_full(i));
        self.places[i] = MaybeUninit::new(v);
    }

    /// A place whose value was moved out by [`Slots::read`] is empty from now on.
    #[inline]
    pub(super) fn empty(&mut self, i: usize) {
        debug_assert!(self.is_full(i));
        self.full[i / 64] &= !(1 << (i % 64));
    }

    /// Asks for the place's memory.
    #[inline]
    pub(super) fn prefetch(&self, i: usize) {
        prefetch_value(self.places.as_ptr().wrapping_add(i));
    }

    /// Asks for the place's memory and for the bit that says whether it is full.
    #[inline]
    pub(super) fn prefetch_all(&self, i: usize) {
        self.prefetch(i);
        prefetch(self.full.as_ptr().wrapping_add(i / 64));
    }

    /// The bits of 64 places.
    #[inline]
    fn word(&self, w: usize) -> u64 {
        self.full.get(w).copied().unwrap_or(0)
    }

    /// Puts what `get` makes of each full place that `keys` has full too, from place `from` on, into `out`. Stops
    /// after 64 places or more when `out` has `enough`, and returns the next place then.
    pub(super) fn each_with<K, U>(
        &self,
        keys: &Slots<K>,
        from: usize,
        (out, enough): (&mut Vec<U>, usize),
        get: impl Fn(&K, &T) -> Option<U>,
    ) -> Option<usize> {
        let words = self.full.len();
        let (mut w, mut skip) = (from / 64, !0 << (from % 64));
        while w < words {
            let word = self.full[w] & keys.word(w) & skip;
            skip = !0;
            // Room for all of them: so the loop has no question to ask, and can be one of vectors.
            out.reserve(64);
            if let Some(room) = out.spare_capacity_mut().first_chunk_mut::<64>() {
                let mut n = 0;
                each_bit(word, |bit| {
                    let i = w * 64 + bit;
                    // SAFETY: both bits say that the places hold values.
                    let (k, v) = unsafe { (keys.at(i), self.at(i)) };
                    if let Some(u) = get(k, v) {
                        room[n].write(u);
                        n += 1;
                    }
                });
                // SAFETY: that many were written.
                unsafe { out.set_len(out.len() + n) };
            }
            w += 1;
            if out.len() >= enough {
                return Some(w * 64);
            }
        }
        None
    }

    /// Fills empty places with what `f` makes of the values of `old` whose keys are there; the numbers of those
    /// for which it makes nothing go to `gone`. `f` also gets what `of` has for a place.
    ///
    /// # Panics
    /// When the places of `of` aren't full or not in order.
    pub(super) fn fill<K, V>(
        &mut self,
        keys: &Slots<K>,
        old: &Slots<T>,
        gone: &mut Vec<u32>,
        of: &mut [(u32, V)],
        mut f: impl FnMut(&K, Option<&mut V>, &T) -> Option<T>,
    ) {
        /// Says which places of a word are full, also when `f` panics: those of `word` that have been looked
        /// at, but for the empty ones.
        struct Filled<'a> {
            full: &'a mut u64,
            word: u64,
            seen: u32,
            empty: u64,
        }
        impl Drop for Filled<'_> {
            fn drop(&mut self) {
                let not_seen = u64::MAX.checked_shl(self.seen).unwrap_or(0);
                *self.full |= self.word & !not_seen & !self.empty;
            }
        }
        self.grow(old.len());
        let mut of = of.iter_mut().peekable();
        for w in 0..old.full.len() {
            let word = old.full[w] & keys.word(w);
            debug_assert!(self.full[w] & word == 0, "only empty places are filled");
            let mut filled = Filled { full: &mut self.full[w], word, seen: 0, empty: 0 };
            // A plain pointer: what is written doesn't make the processor ask for it again.
            let places = self.places.as_mut_ptr();
            let mut one = |bit: usize, v: Option<&mut V>| {
                let i = w * 64 + bit;
                // SAFETY: both bits say that the places hold values.
                let (k, old) = unsafe { (keys.at(i), old.at(i)) };
                match f(k, v, old) {
                    Some(new) => {
                        // SAFETY: `self` has as many places as `old`; nobody else has them now.
                        unsafe { places.add(i).write(MaybeUninit::new(new)) };
                    }
                    None => {
                        gone.push(i as u32);
                        filled.empty |= 1 << bit;
                    }
                }
                filled.seen = bit as u32 + 1;
            };
            each_with_of((w, word), &mut of, &mut one);
        }
        assert!(of.next().is_none(), "full places, in order");
    }

    /// Puts what `f` makes of the plain values whose keys are there in their places, as far as it differs; the
    /// numbers of those for which it makes nothing go to `gone`, and what they have stays. `f` also gets what `of`
    /// has for a place. `changed` is told each place that is written, with the value before.
    ///
    /// # Panics
    /// When the places of `of` aren't full or not in order, and for values that aren't plain.
    pub(super) fn change<K, V>(
        &mut self,
        keys: &Slots<K>,
        gone: &mut Vec<u32>,
        of: &mut [(u32, V)],
        mut f: impl FnMut(&K, Option<&mut V>, &T) -> Option<T>,
        mut changed: impl FnMut(u32, T),
    ) where
        T: 'static,
    {
        assert!(plain::is::<T>(), "only plain values are compared by their bytes");
        let mut of = of.iter_mut().peekable();
        for w in 0..self.full.len() {
            let word = self.full[w] & keys.word(w);
            let places = self.places.as_mut_ptr();
            let mut one = |bit: usize, v: Option<&mut V>| {
                let i = w * 64 + bit;
                // SAFETY: both bits say that the places hold values; each place comes once, and nobody else has it.
                let (k, old) = unsafe { (keys.at(i), (*places.add(i)).assume_init_mut()) };
                match f(k, v, old) {
                    Some(new) if plain::same(&new, old) => {}
                    Some(new) => changed(i as u32, std::mem::replace(old, new)),
                    None => gone.push(i as u32),
                }
            };
            each_with_of((w, word), &mut of, &mut one);
        }
        assert!(of.next().is_none(), "full places, in order");
    }

    /// Empties all places and keeps the memory.
    pub(super) fn clear(&mut self) {
        if std::mem::needs_drop::<T>() {
            (0..self.places.len()).for_each(|i| drop(self.take(i)));
        }
        self.full.fill(0);
    }

    /// Bytes of memory that the places take, without what the values own.
    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<T>() + self.full.capacity() * 8
    }
}

/// What there is for some places, which come in order.
type Of<'a, V> = Peekable<IterMut<'a, (u32, V)>>;

/// Calls `f` with the number of each bit that is set in word number `w`, least first, and with what `of` has for that
/// place. Between the places of `of` the loop has no question to ask.
///
/// # Panics
/// When the places of `of` aren't full or not in order.
#[inline(always)]
fn each_with_of<V>(
    (w, mut word): (usize, u64),
    of: &mut Of<'_, V>,
    f: &mut impl FnMut(usize, Option<&mut V>),
) {
    while let Some((i, v)) = of.next_if(|(i, _)| *i as usize / 64 <= w) {
        let (of_word, bit) = (*i as usize / 64, *i as usize % 64);
        assert!(of_word == w && word >> bit & 1 == 1, "full places, in order");
        each_bit(word & !(!0 << bit), |bit| f(bit, None));
        word &= (!0 << bit) << 1;
        f(bit, Some(v));
    }
    each_bit(word, |bit| f(bit, None));
}

/// Calls `f` with the number of each bit that is set, least first, run by run: long runs are the rule.
#[inline(always)]
fn each_bit(mut word: u64, mut f: impl FnMut(usize)) {
    while word != 0 {
        let start = word.trailing_zeros();
        let end = start + (word >> start).trailing_ones();
        (start as usize..end as usize).for_each(&mut f);
        word &= u64::MAX.checked_shl(end).unwrap_or(0);
    }
}

impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn values_are_dropped_once() {
        let alive = Arc::new(());
        let mut slots = Slots::default();
        slots.grow(70);
        for i in [0, 63, 64, 69] {
            slots.put(i, alive.clone());
        }
        assert_eq!(Arc::strong_count(&alive), 5);
        slots.put(63, alive.clone());
        assert!(slots.take(64).is_some() && slots.take(64).is_none());
        assert_eq!(Arc::strong_count(&alive), 4);
        assert!(slots.get(1).is_none() && slots.get(69).is_some() && slots.get(1000).is_none());
        slots.clear();
        assert_eq!((Arc::strong_count(&alive), slots.len()), (1, 70));
        slots.put(5, alive.clone());
        drop(slots);
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[test]
    fn growing_keeps_values_and_numbers() {
        let mut slots = Slots::default();
        for i in 0..1000 {
            slots.grow(i + 1);
            slots.put(i, i.to_string());
        }
        assert!((0..1000).all(|i| slots.get(i) == Some(&i.to_string())));
        assert!(slots.bytes() < 1000 * size_of::<String>() * 5 / 4 + 1000);
    }

    #[test]
    fn filling_takes_full_places_in_order_only() {
        for of in [vec![3], vec![1, 3], vec![70, 65], vec![65, 65], vec![70, 1], vec![79, 500]] {
            let (mut keys, mut old) = (Slots::default(), Slots::default());
            for slots in [&mut keys, &mut old] {
                slots.grow(80);
                (0..80).filter(|i| *i != 3).for_each(|i| slots.put(i, i));
            }
            let mut of: Vec<_> = of.into_iter().map(|i| (i, ())).collect();
            let fill = std::panic::AssertUnwindSafe(|| {
                Slots::default().fill(&keys, &old, &mut vec![], &mut of, |_, _, i| Some(*i));
            });
            assert!(std::panic::catch_unwind(fill).is_err());
            let change = std::panic::AssertUnwindSafe(|| {
                old.change(&keys, &mut vec![], &mut of, |_, _, i| Some(*i), |_, _| ());
            });
            assert!(std::panic::catch_unwind(change).is_err());
        }
    }

    #[test]
    fn filling_that_panics_leaves_what_it_has_filled() {
        let alive = Arc::new(());
        let (mut keys, mut old) = (Slots::default(), Slots::default());
        for slots in [&mut keys, &mut old] {
            slots.grow(140);
            (0..140).filter(|i| i % 10 != 3).for_each(|i| slots.put(i, alive.clone()));
        }
        for last in [0, 62, 64, 127, 200] {
            let (mut new, mut gone, mut of) = (Slots::default(), vec![], [(62, 'a'), (70, 'b')]);
            let mut seen = vec![];
            let call = std::panic::AssertUnwindSafe(|| {
                let mut n = -1;
                new.fill(&keys, &old, &mut gone, &mut of, |_, of, v: &Arc<()>| {
                    n += 1;
                    while n % 10 == 3 {
                        n += 1;
                    }
                    assert_ne!(n, last, "on purpose");
                    seen.extend(of.map(|of| (n, *of)));
                    (n % 64 != 5).then(|| v.clone())
                });
            });
            let panics = last < 140;
            assert_eq!(std::panic::catch_unwind(call).is_err(), panics);
            let filled: Vec<_> = (0..new.len()).filter(|i| new.is_full(*i)).collect();
            let want = |i: &usize| i % 10 != 3 && i % 64 != 5 && (*i as i32) < last;
            assert_eq!(filled, (0..140).filter(want).collect::<Vec<_>>());
            let of = [(62, 'a'), (70, 'b')];
            assert_eq!(seen, of.into_iter().filter(|(i, _)| *i < last).collect::<Vec<_>>());
            let places = [5, 69, 133].into_iter().filter(|i| *i < last as u32 && i % 10 != 3);
            assert_eq!(gone, places.collect::<Vec<_>>());
        }
        drop((keys, old));
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
