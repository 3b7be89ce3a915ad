//! Code built at run time, named by its place in the binary: a capture-free chain made in `foreach_rdd`
//! travels to other processes of the same binary as ONE code offset, and is made again from its types.
#![allow(unsafe_code)]

use std::any::Any;
use std::sync::Arc;

use super::pipe::{Pipe, conjure};
use crate::data::Wire;
use crate::engine::{StageKey, TaskBody, TaskCx, TaskError};

type ShippedFn = fn(&dyn Any, &TaskCx<'_>) -> Result<(), TaskError>;

/// The task function of a run-time chain: everything in it is made from its type.
pub(crate) fn shipped<P: Pipe, R: Wire, A>(base: &dyn Any, cx: &TaskCx<'_>) -> Result<(), TaskError>
where
    A: Fn(&P, &TaskCx<'_>) -> Result<R, TaskError>,
{
    let (Some(pipe), Some(act)) = (P::rebuild(base), conjure::<A>()) else {
        return Err(TaskError::Bug("this chain can't be made again in an executor".into()));
    };
    cx.put_result(act(&pipe, cx)?)
}

/// A place in the binary that every process knows.
#[inline(never)]
fn anchor() {}

/// The distance of a task function from the anchor; the same in every process of one binary.
pub(crate) fn code_offset(f: ShippedFn) -> i64 {
    f as usize as i64 - anchor as fn() as usize as i64
}

/// A shipped action in the process that runs it.
pub(crate) struct ShippedBody {
    key: StageKey,
    base: Box<dyn Any + Send + Sync>,
    offset: i64,
}

impl ShippedBody {
    pub(crate) fn new(key: StageKey, base: Box<dyn Any + Send + Sync>, offset: i64) -> ShippedBody {
        ShippedBody { key, base, offset }
    }
}

impl TaskBody for ShippedBody {
    fn key(&self) -> StageKey {
        self.key
    }
    fn width(&self) -> usize {
        0
    }
    fn parents(&self, _: &mut Vec<Arc<dyn TaskBody>>) {}
    fn run(&self, cx: &TaskCx<'_>) -> Result<(), TaskError> {
        let at = (anchor as fn() as usize as i64 + self.offset) as usize;
        // SAFETY: the offset was taken of a `ShippedFn` in the same binary; job and executor have compared
        // fingerprints, which include the build.
        let f: ShippedFn = unsafe { std::mem::transmute::<usize, ShippedFn>(at) };
        f(&*self.base, cx)
    }
}
