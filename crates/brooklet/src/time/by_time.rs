//! A small map from batch times.

use super::Time;

/// Something for each of a few batches, by batch time. A vector, for the code of a tree would be compiled for every
/// type that the operators of a program have.
#[derive(Debug)]
pub(crate) struct ByTime<X>(Vec<(Time, X)>);

impl<X> Default for ByTime<X> {
    fn default() -> Self {
        ByTime(Vec::new())
    }
}

impl<X> ByTime<X> {
    fn at(&self, t: Time) -> Result<usize, usize> {
        self.0.binary_search_by_key(&t, |(t, _)| *t)
    }

    pub(crate) fn get(&self, t: Time) -> Option<&X> {
        self.at(t).ok().map(|i| &self.0[i].1)
    }

    /// What is there for `t`, now if not before.
    pub(crate) fn or_default(&mut self, t: Time) -> &mut X
    where
        X: Default,
    {
        let i = self.at(t).unwrap_or_else(|i| {
            self.0.insert(i, (t, X::default()));
            i
        });
        &mut self.0[i].1
    }

    /// In the order of time.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, (Time, X)> {
        self.0.iter()
    }

    /// Sets what is there for `t`; returns what was.
    pub(crate) fn insert(&mut self, t: Time, x: X) -> Option<X> {
        match self.at(t) {
            Ok(i) => Some(std::mem::replace(&mut self.0[i].1, x)),
            Err(i) => {
                self.0.insert(i, (t, x));
                None
            }
        }
    }

    /// All, in the order of time.
    pub(crate) fn into_iter(self) -> impl Iterator<Item = (Time, X)> {
        self.0.into_iter()
    }

    /// Takes what is there for batches up to `t`.
    pub(crate) fn take_up_to(&mut self, t: Time) -> Vec<(Time, X)> {
        let later = self.0.partition_point(|(of, _)| *of <= t);
        self.0.drain(..later).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_map_that_forgets_from_the_front() {
        let (t, mut all) = (Time::from_millis, ByTime::default());
        for (at, x) in [(3, 'c'), (1, 'a'), (2, 'b'), (5, 'e')] {
            assert_eq!(all.insert(t(at), x), None);
        }
        assert_eq!(all.insert(t(2), 'B'), Some('b'));
        assert_eq!((all.get(t(2)), all.get(t(4))), (Some(&'B'), None));
        assert_eq!(all.take_up_to(t(2)), [(t(1), 'a'), (t(2), 'B')]);
        assert_eq!((all.get(t(1)), all.get(t(3)), all.get(t(5))), (None, Some(&'c'), Some(&'e')));
        *all.or_default(t(4)) = 'd';
        assert_eq!(*all.or_default(t(4)), 'd');
        assert!(all.iter().map(|(_, x)| x).eq(&['c', 'd', 'e']));
        assert_eq!(all.take_up_to(t(9)).len(), 3);
    }
}
