//! Locks that shrug off poisoning: a panic in user code is reported where it happened, and every state
//! behind these locks is kept consistent by its owner, not by the lock.

use std::sync::PoisonError;
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

pub(crate) trait LockExt<T> {
    /// Locks, whether or not a holder has panicked.
    fn get(&self) -> MutexGuard<'_, T>;
}

impl<T> LockExt<T> for Mutex<T> {
    fn get(&self) -> MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits on `cv`, at most `limit` long when there is one.
pub(crate) fn wait<'a, T>(
    cv: &Condvar,
    guard: MutexGuard<'a, T>,
    limit: Option<Duration>,
) -> MutexGuard<'a, T> {
    match limit {
        None => cv.wait(guard).unwrap_or_else(PoisonError::into_inner),
        Some(d) => cv.wait_timeout(guard, d).unwrap_or_else(PoisonError::into_inner).0,
    }
}
