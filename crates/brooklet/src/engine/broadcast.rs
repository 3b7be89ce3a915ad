//! Read-only values that every task may use.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::{Payload, TaskError};
use crate::data::Wire;

/// A value sent once to every process that runs tasks, however many tasks use it. Cheap to clone;
/// closures own a clone and read it by `Deref`.
///
/// ```
/// use brooklet::{Conf, Context};
/// let ctx = Context::new(Conf::new("stop words").master("local[2]"))?;
/// let stop = ctx.broadcast(vec!["the".to_string(), "a".to_string()])?;
/// let words = ctx.parallelize(["the", "cat"].map(String::from), 2);
/// assert_eq!(words.filter(move |w| !stop.contains(w)).collect()?, ["cat"]);
/// # Ok::<(), brooklet::Error>(())
/// ```
pub struct Broadcast<T>(Arc<T>);

impl<T: Wire> Broadcast<T> {
    pub(crate) fn new(v: T, bytes: bool) -> Result<Broadcast<T>, TaskError> {
        Ok(Broadcast(Payload::new(v, bytes)?.get::<T>()?))
    }
}

impl<T> Clone for Broadcast<T> {
    fn clone(&self) -> Self {
        Broadcast(self.0.clone())
    }
}

impl<T> Deref for Broadcast<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Broadcast<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Broadcast").field(&self.0).finish()
    }
}
