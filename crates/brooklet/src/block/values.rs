//! A block of values.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::{Block, BlockError};
use crate::Wire;

/// Records that are looked at to estimate the memory behind pointers.
const SAMPLES: usize = 32;

/// A block that holds a `Vec<T>`; as bytes, it is in postcard's format.
pub struct Values<T> {
    items: Vec<T>,
    memory: usize,
}

impl<T: Wire> Values<T> {
    /// A block of these records. Spare capacity is given back.
    pub fn new(mut items: Vec<T>) -> Arc<Values<T>> {
        items.shrink_to_fit();
        let memory = size_of::<Values<T>>() + items.capacity() * size_of::<T>() + heap(&items);
        Arc::new(Values { items, memory })
    }

    /// Reads the encoded form; the [`Decode`](super::Decode) of these blocks.
    ///
    /// # Errors
    /// [`BlockError::Decode`] when the bytes don't fit the type.
    pub fn decode(bytes: Vec<u8>) -> Result<Arc<dyn Block>, BlockError> {
        let items: Vec<T> =
            postcard::from_bytes(&bytes).map_err(|e| BlockError::Decode(e.to_string()))?;
        Ok(Values::new(items))
    }
}

impl<T> Values<T> {
    /// The records.
    pub fn items(&self) -> &[T] {
        &self.items
    }
}

/// Estimated bytes behind the pointers of one record: its encoded length, nothing for plain data.
pub(crate) fn heap_of<T: Serialize>(item: &T) -> usize {
    if !std::mem::needs_drop::<T>() {
        return 0;
    }
    let size = postcard::ser_flavors::Size::default();
    postcard::serialize_with_flavor(item, size).unwrap_or(size_of::<T>())
}

/// Estimated bytes behind the pointers of all records, from a sample over the whole length.
fn heap<T: Serialize>(items: &[T]) -> usize {
    if !std::mem::needs_drop::<T>() || items.is_empty() {
        return 0;
    }
    let step = items.len().div_ceil(SAMPLES);
    let (n, sum) = items.iter().step_by(step).fold((0, 0), |(n, sum), x| (n + 1, sum + heap_of(x)));
    sum * items.len() / n
}

impl<T: Wire> Block for Values<T> {
    fn memory(&self) -> usize {
        self.memory
    }

    fn records(&self) -> usize {
        self.items.len()
    }

    fn encode(&self) -> Result<Vec<u8>, BlockError> {
        postcard::to_stdvec(&self.items).map_err(|e| BlockError::Encode(e.to_string()))
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<T> fmt::Debug for Values<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values")
            .field("records", &self.items.len())
            .field("memory", &self.memory)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_from_their_bytes() {
        let items: Vec<(String, u32)> = (0..100).map(|i| (format!("k{i}"), i)).collect();
        let block = Values::new(items.clone());
        let back = Values::<(String, u32)>::decode(block.encode().unwrap()).unwrap();
        let back = back.as_any().downcast::<Values<(String, u32)>>().unwrap();
        assert_eq!(back.items(), items);
        assert!(Values::<String>::decode(vec![3, 200, 1, 2]).is_err());
    }

    #[test]
    fn memory_counts_what_is_behind_pointers() {
        let plain = Values::new(vec![0u64; 1000]);
        assert!((8_000..8_100).contains(&plain.memory()));
        let texts = Values::new(vec!["x".repeat(1000); 1000]);
        assert!((1_000_000..1_100_000).contains(&texts.memory()), "{}", texts.memory());
    }
}
