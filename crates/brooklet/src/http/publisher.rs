//! Values that a program publishes itself, beside its streams.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::topic::{Topic, Values};
use crate::{Error, Result, Time};

/// Publishes a program's own values the way [`DStream::serve`](crate::DStream::serve) does those of a
/// stream, for figures that no stream has: totals, what a listener hears. Made by
/// [`StreamingContext::serve_values`](crate::StreamingContext::serve_values). Cheap to clone.
#[derive(Clone)]
pub struct Publisher(pub(crate) Arc<Topic>);

impl Publisher {
    /// Makes `values` those of the batch `time`. Without effect after the context has stopped.
    ///
    /// # Errors
    /// [`Error::Usage`] when a value has no JSON form; nothing is published.
    pub fn publish<T: Serialize>(
        &self,
        time: Time,
        values: impl IntoIterator<Item = T>,
    ) -> Result<()> {
        let mut shown = Values::default();
        for value in values {
            let json = serde_json::to_string(&value).map_err(|e| {
                let name = std::any::type_name::<T>();
                Error::usage(format!("a `{name}` can't be published as JSON: {e}"))
            })?;
            if !shown.add(&json, &self.0.options) {
                break;
            }
        }
        self.0.publish(time, &shown);
        Ok(())
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Publisher")
    }
}
