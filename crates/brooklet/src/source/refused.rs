//! An input that was asked for wrongly: the start of the context says so.

use std::marker::PhantomData;
use std::sync::Arc;

use super::input::{Input, InputStart};
use crate::data::Data;
use crate::error::BoxError;
use crate::{Error, Partitions, Time};

/// Ends the start of its context with the error.
pub(crate) struct Refused<T> {
    why: Error,
    item: PhantomData<fn() -> T>,
}

impl<T> Refused<T> {
    pub(crate) fn new(why: Error) -> Refused<T> {
        Refused { why, item: PhantomData }
    }
}

impl<T: Data> Input for Refused<T> {
    type Item = T;
    type Slice = ();
    type Pipe = Partitions<T>;

    fn start(&mut self, _: InputStart) -> Result<(), BoxError> {
        Err(self.why.clone().into())
    }

    fn allocate(&mut self, _: Time, _: Option<u64>) -> Result<Option<()>, BoxError> {
        Err(self.why.clone().into())
    }

    fn read(&self, _: &Arc<()>) -> Result<Partitions<T>, BoxError> {
        Err(self.why.clone().into())
    }
}
