//! How much memory records take: their inline size, and what lies behind their pointers by a sample.
//!
//! What lies behind pointers is found by serializing a record into a counter: a number counts as what it
//! takes in memory (not in the file, where small ones take a byte), a text as its bytes. The inline part of
//! a field is counted twice then, which makes up for what the allocator takes. A text that is a slice of a
//! received block counts as its own length.

use std::fmt;

use serde::Serialize;
use serde::ser::{
    self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

/// Records that are looked at for one estimate.
pub(crate) const SAMPLES: usize = 32;

/// Estimated bytes of these records.
pub(crate) fn estimate<T: Serialize>(records: &[T]) -> usize {
    size_of_val(records) + behind(records, SAMPLES)
}

/// Estimated bytes behind the pointers of these records, from at most `samples` of them, over the whole
/// length.
pub(crate) fn behind<T: Serialize>(records: &[T], samples: usize) -> usize {
    if !std::mem::needs_drop::<T>() || records.is_empty() {
        return 0;
    }
    let step = records.len().div_ceil(samples.max(1));
    let sampled = records.iter().step_by(step);
    let (n, sum) = sampled.fold((0, 0), |(n, sum), x| (n + 1, sum + behind_one(x)));
    (sum as u128 * records.len() as u128 / n) as usize
}

fn behind_one<T: Serialize>(x: &T) -> usize {
    let mut counter = Counter(0);
    // A record whose serde code fails counts as far as it went; spilling it will report the error.
    let _ = x.serialize(&mut counter);
    counter.0
}

/// When to look at the size of something that grows: after a quarter more records, or sooner when the limit
/// is near; never for each record.
#[derive(Debug)]
pub(crate) struct Watch {
    limit: usize,
    records: usize,
}

/// Records between two looks, at least.
const LEAST: usize = 2048;

impl Watch {
    pub(crate) fn new(limit: usize) -> Watch {
        Watch { limit, records: 0 }
    }

    /// After this many records the size is to be looked at, for the first time.
    pub(crate) fn first(&self) -> usize {
        // With a limit of a few records, look at once.
        LEAST.min(self.limit / 64).max(1)
    }

    /// `more` records have come, and it takes `bytes` now: after how many more to look again, or `None` if
    /// it is full.
    pub(crate) fn looked(&mut self, more: usize, bytes: usize) -> Option<usize> {
        self.records += more;
        if bytes > self.limit {
            self.records = 0;
            return None;
        }
        let each = bytes / self.records.max(1) + 1;
        let room = (self.limit - bytes) / each / 2;
        Some((self.records / 4).max(LEAST).min(room).max(self.first()))
    }
}

struct Counter(usize);

#[derive(Debug)]
struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record can't be serialized")
    }
}

impl std::error::Error for Failed {}

impl ser::Error for Failed {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Failed
    }
}

type Done = Result<(), Failed>;

macro_rules! plain {
    ($($method:ident: $t:ty,)*) => {$(
        #[inline]
        fn $method(self, _: $t) -> Done {
            self.0 += size_of::<$t>();
            Ok(())
        }
    )*};
}

impl ser::Serializer for &mut Counter {
    type Ok = ();
    type Error = Failed;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    plain! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_i64: i64, serialize_i128: i128, serialize_u8: u8, serialize_u16: u16,
        serialize_u32: u32, serialize_u64: u64, serialize_u128: u128, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char,
    }
    fn serialize_str(self, x: &str) -> Done {
        self.0 += x.len();
        Ok(())
    }
    fn serialize_bytes(self, x: &[u8]) -> Done {
        self.0 += x.len();
        Ok(())
    }
    fn serialize_none(self) -> Done {
        Ok(())
    }
    fn serialize_some<T: Serialize + ?Sized>(self, x: &T) -> Done {
        x.serialize(self)
    }
    fn serialize_unit(self) -> Done {
        Ok(())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Done {
        Ok(())
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Done {
        self.0 += 1;
        Ok(())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, x: &T) -> Done {
        x.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        x: &T,
    ) -> Done {
        self.0 += 1;
        x.serialize(self)
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Failed> {
        self.0 += size_of::<Vec<u8>>();
        Ok(self)
    }
    fn serialize_tuple(self, _: usize) -> Result<Self, Failed> {
        Ok(self)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Failed> {
        Ok(self)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Failed> {
        Ok(self)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self, Failed> {
        self.0 += 2 * size_of::<Vec<u8>>();
        Ok(self)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Failed> {
        Ok(self)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Failed> {
        Ok(self)
    }
    fn is_human_readable(&self) -> bool {
        false // as postcard, which writes the record
    }
}

macro_rules! elements {
    ($($tr:ident $method:ident,)*) => {$(
        impl $tr for &mut Counter {
            type Ok = ();
            type Error = Failed;
            fn $method<T: Serialize + ?Sized>(&mut self, x: &T) -> Done {
                x.serialize(&mut **self)
            }
            fn end(self) -> Done {
                Ok(())
            }
        }
    )*};
}

elements! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

macro_rules! fields {
    ($($tr:ident,)*) => {$(
        impl $tr for &mut Counter {
            type Ok = ();
            type Error = Failed;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, x: &T) -> Done {
                x.serialize(&mut **self)
            }
            fn end(self) -> Done {
                Ok(())
            }
        }
    )*};
}

fields! { SerializeStruct, SerializeStructVariant, }

impl SerializeMap for &mut Counter {
    type Ok = ();
    type Error = Failed;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, x: &T) -> Done {
        x.serialize(&mut **self)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, x: &T) -> Done {
        x.serialize(&mut **self)
    }
    fn end(self) -> Done {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn plain_records_are_their_inline_size() {
        assert_eq!(estimate(&[(1u64, 2.5f64); 100]), 1600);
        assert_eq!(estimate::<String>(&[]), 0);
    }

    #[test]
    fn what_is_behind_pointers_counts_as_it_is_in_memory() {
        let near = |bytes: usize, want: usize| {
            assert!((want..want * 5 / 4 + 64).contains(&bytes), "{bytes}, not {want}");
        };
        near(estimate(&vec!["x".repeat(1000); 1000]), 1_024_000);
        // Small numbers take a byte in a file and eight in memory.
        near(estimate(&vec![vec![1u64; 1000]; 100]), 802_400);
        let map: BTreeMap<u32, Option<(u64, String)>> =
            (0..100).map(|i| (i, Some((1, "y".repeat(50))))).collect();
        near(estimate(&[map]), 24 + 100 * (4 + 8 + 50));
        // Every kind of a record, the sample spread over all.
        let mixed: Vec<String> = (0..1000).map(|i| "z".repeat(i)).collect();
        near(estimate(&mixed), 24_000 + 480_000);
    }

    #[test]
    fn looks_get_rarer_and_denser_near_the_limit() {
        let mut watch = Watch::new(1 << 30);
        let (mut records, mut looks) = (0, 0);
        let mut next = watch.first();
        loop {
            records += next;
            looks += 1;
            match watch.looked(next, records * 100) {
                Some(n) => next = n,
                None => break,
            }
        }
        let full = (1 << 30) / 100;
        assert!((full..full + full / 50).contains(&records), "{records} of {full}");
        assert!(looks < 80, "{looks} looks for {records} records");
        // A limit below one record is met at once.
        let mut watch = Watch::new(1);
        assert_eq!((watch.first(), watch.looked(1, 24)), (1, None));
    }
}
