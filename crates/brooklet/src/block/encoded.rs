//! A block that came in its encoded form.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Block, BlockError, Values};
use crate::Wire;

/// Records as another process has encoded them (postcard's form of a `Vec<T>`). They are kept as they came
/// and decoded by the tasks that read them.
pub struct Encoded<T> {
    bytes: Vec<u8>,
    records: usize,
    t: PhantomData<fn() -> T>,
}

impl<T: Wire> Encoded<T> {
    /// A block of these bytes; only the number of records is read.
    ///
    /// # Errors
    /// [`BlockError::Decode`] when that number can't be.
    pub fn new(bytes: Vec<u8>) -> Result<Arc<Encoded<T>>, BlockError> {
        let records = Self::count(&bytes)?;
        Ok(Arc::new(Encoded { bytes, records, t: PhantomData }))
    }

    /// The number of records that encoded bytes begin with.
    fn count(bytes: &[u8]) -> Result<usize, BlockError> {
        /// Records may take no bytes at all; as many of those are believed.
        const WITHOUT_BYTES: usize = 1 << 20;
        let (records, rest) = postcard::take_from_bytes::<usize>(bytes)
            .map_err(|e| BlockError::Decode(e.to_string()))?;
        if records > rest.len().max(WITHOUT_BYTES) {
            let bytes = rest.len();
            return Err(BlockError::Decode(format!("{records} records can't be in {bytes} bytes")));
        }
        Ok(records)
    }

    /// The records, decoded.
    ///
    /// # Errors
    /// [`BlockError::Decode`] when the bytes aren't exactly these records of this type.
    pub fn values(&self) -> Result<Arc<dyn Block>, BlockError> {
        Self::read(&self.bytes)
    }

    /// Reads the encoded form; the [`Decode`](super::Decode) of these blocks.
    ///
    /// # Errors
    /// As [`Encoded::values`].
    pub fn decode(bytes: Vec<u8>) -> Result<Arc<dyn Block>, BlockError> {
        Self::read(&bytes)
    }

    fn read(bytes: &[u8]) -> Result<Arc<dyn Block>, BlockError> {
        let of = std::any::type_name::<T>();
        let bad = |problem: String| BlockError::Decode(format!("as records of `{of}`: {problem}"));
        let expected = Self::count(bytes)?;
        let (items, rest) =
            postcard::take_from_bytes::<Vec<T>>(bytes).map_err(|e| bad(e.to_string()))?;
        if !rest.is_empty() || items.len() != expected {
            return Err(bad(format!("{} bytes are left over", rest.len())));
        }
        Ok(Values::new(items))
    }
}

impl<T: Wire> Block for Encoded<T> {
    fn memory(&self) -> usize {
        size_of::<Encoded<T>>() + self.bytes.capacity()
    }

    fn records(&self) -> usize {
        self.records
    }

    fn encode(&self) -> Result<Vec<u8>, BlockError> {
        Ok(self.bytes.clone())
    }

    fn encoded(&self) -> Option<&[u8]> {
        Some(&self.bytes)
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<T> fmt::Debug for Encoded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("records", &self.records)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_and_decode_to_the_records() {
        let items: Vec<(u32, String)> = (0..50).map(|i| (i, format!("n{i}"))).collect();
        let bytes = Values::new(items.clone()).encode().unwrap();
        let block = Encoded::<(u32, String)>::new(bytes.clone()).unwrap();
        assert_eq!((block.records(), block.encoded()), (50, Some(&bytes[..])));
        let values = block.values().unwrap().as_any();
        assert_eq!(values.downcast::<Values<(u32, String)>>().unwrap().items(), items);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let bytes = Values::new(vec![1u64, 2, 300]).encode().unwrap();
        let wrong = Encoded::<String>::new(bytes.clone()).unwrap().values();
        assert!(wrong.unwrap_err().to_string().contains("String"));
        let mut long = bytes.clone();
        long.push(7);
        assert!(Encoded::<u64>::new(long).unwrap().values().is_err());
        assert!(Encoded::<u64>::decode(bytes[..2].to_vec()).is_err());
        assert!(Encoded::<u64>::new(vec![]).is_err());
        assert!(Encoded::<()>::new(vec![0xff, 0xff, 0xff, 0xff, 0x7f]).is_err(), "34 G records");
    }
}
