//! `State`: one key's state, as a user's function sees it.

use std::fmt;

/// The state of one key while a function of `map_with_state` looks at it.
///
/// ```
/// use brooklet::prelude::*;
/// use brooklet::testing::run;
/// // Counts per word; the third one is given out and forgotten.
/// let out = run([vec!["a", "a", "b"], vec!["a"]].map(|b| b.into_iter().map(|w| (w.to_string(), ())).collect()), |s| {
///     s.map_with_state(|word: &String, _, seen: &mut State<u32>| {
///         let n = seen.get().copied().unwrap_or(0) + 1;
///         if n == 3 { seen.remove() } else { seen.update(n) }
///         (word.clone(), n)
///     })
///     .filter(|(w, _)| w == "a")
///     .boxed()
/// });
/// assert_eq!(out, [vec![("a".to_string(), 1), ("a".to_string(), 2)], vec![("a".to_string(), 3)]]);
/// ```
pub struct State<S> {
    value: Option<S>,
    /// The value from before the call, where it isn't `value` any more and nobody has kept it.
    saved: Option<S>,
    /// Whether the value from before the batch is kept already.
    logged: bool,
    changed: bool,
    removed: bool,
    timing_out: bool,
}

impl<S> State<S> {
    pub(super) fn new(value: Option<S>, logged: bool, timing_out: bool) -> State<S> {
        State { value, saved: None, logged, changed: false, removed: false, timing_out }
    }

    /// Whether the key has a state.
    pub fn exists(&self) -> bool {
        self.value.is_some()
    }

    /// The state, if there is one.
    pub fn get(&self) -> Option<&S> {
        self.value.as_ref()
    }

    /// Whether this call tells that the key is removed because its time-out has passed. The function then gets
    /// no value, and may only look.
    pub fn is_timing_out(&self) -> bool {
        self.timing_out
    }

    /// Sets the state.
    ///
    /// # Panics
    /// After [`State::remove`] in the same call, and while the state is timing out: the task fails with the
    /// operator's name and place.
    pub fn update(&mut self, state: S) {
        self.may_change("update");
        self.changed = true;
        if let Some(old) = self.value.replace(state)
            && !self.logged
        {
            self.saved.get_or_insert(old);
        }
    }

    /// Changes the state in place; nothing is done when there is none. Returns whether there was one. The value
    /// from before the batch is cloned at the first call for a key in a batch, so that a failed attempt can be
    /// undone: [`State::update`] doesn't need that.
    ///
    /// # Panics
    /// As [`State::update`].
    pub fn modify(&mut self, f: impl FnOnce(&mut S)) -> bool
    where
        S: Clone,
    {
        self.may_change("modify");
        let Some(value) = &mut self.value else { return false };
        if !self.logged && self.saved.is_none() {
            self.saved = Some(value.clone());
        }
        self.changed = true;
        f(value);
        true
    }

    /// Removes the state; its memory is freed.
    ///
    /// # Panics
    /// At the second call, and while the state is timing out: the task fails with the operator's name and
    /// place.
    pub fn remove(&mut self) {
        assert!(
            !self.timing_out,
            "a state that is timing out can't be removed: it is removed anyway"
        );
        assert!(!self.removed, "a state can't be removed twice in one call");
        self.removed = true;
        if let Some(old) = self.value.take() {
            self.saved.get_or_insert(old);
        }
    }

    fn may_change(&self, what: &str) {
        assert!(!self.removed, "`{what}` of a state that was removed in the same call");
        assert!(!self.timing_out, "`{what}` of a state that is timing out");
    }

    /// Texts that a new value shares with a received block get memory of their own.
    pub(super) fn detach(&mut self)
    where
        S: crate::Wire,
    {
        if self.changed
            && let Some(value) = &mut self.value
        {
            crate::rdd::detach::in_place(value);
        }
    }

    /// What a call has left: (value now, value before if it has to be kept, whether anything changed).
    pub(super) fn take(&mut self) -> Left<S> {
        let value = self.value.take();
        let saved = self.saved.take();
        match (value, self.changed || self.removed) {
            (Some(now), false) => Left::Same(now),
            (Some(now), true) => Left::Changed { now, before: saved },
            (None, _) => Left::Nothing { before: saved },
        }
    }

    /// After a panic: a value for the place that this was taken from; which one it is doesn't matter where
    /// the batch's changes are undone by log.
    pub(super) fn put_back(&mut self) -> Option<S> {
        self.saved.take().or_else(|| self.value.take())
    }
}

/// What a call has left of a state.
pub(super) enum Left<S> {
    /// The value it had.
    Same(S),
    /// Another value; `before` is missing when it was kept earlier or there was none.
    Changed { now: S, before: Option<S> },
    /// No value; `before` is there if there was one.
    Nothing { before: Option<S> },
}

impl<S: fmt::Debug> fmt::Debug for State<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(v) => v.fmt(f),
            None => f.write_str("<state not set>"),
        }
    }
}
