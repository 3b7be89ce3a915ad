//! Records that outlive their batch get texts of their own.
//!
//! A long [`Str`](crate::Str) is a slice of the block it was received in and keeps all of it in memory.
//! Within a batch that is what makes it cheap; a result on the driver or a persisted record may stay for
//! long. So these are written to a sink that keeps nothing, which meets every text in them. Where copies
//! of the texts would take less than the blocks behind them, a record that pins a block is encoded and
//! decoded, which copies its texts: one line kept of many lets the others go, all lines of a block stay as
//! they are. Plain data skips all of it at compile time.

use postcard::ser_flavors::Flavor;

use crate::data::Wire;
use crate::text::pins;

/// Detaches one value. One whose serde code fails stays as it is: only memory is at stake.
pub(crate) fn one<T: Wire>(mut x: T) -> T {
    detach(std::slice::from_mut(&mut x));
    x
}

/// Whether detaching these records would copy any of their texts.
pub(crate) fn would_copy<T: Wire>(records: &[T]) -> bool {
    std::mem::needs_drop::<T>() && pinning(records)
}

/// Detaches a value where it is.
pub(crate) fn in_place<T: Wire>(x: &mut T) {
    detach(std::slice::from_mut(x));
}

/// Detaches records that stay together.
pub(crate) fn all<T: Wire>(mut records: Vec<T>) -> Vec<T> {
    detach(&mut records);
    records
}

fn detach<T: Wire>(records: &mut [T]) {
    if !std::mem::needs_drop::<T>() || !pinning(records) {
        return;
    }
    let mut bytes = Vec::new();
    for x in records {
        if pinning(std::slice::from_ref(x)) {
            bytes.clear();
            bytes = match postcard::to_extend(x, bytes) {
                Ok(encoded) => encoded,
                Err(_) => return,
            };
            if let Ok(own) = postcard::from_bytes(&bytes) {
                *x = own;
            }
        }
    }
}

fn pinning<T: Wire>(records: &[T]) -> bool {
    pins::outweigh_copies(|| {
        for x in records {
            // What can't be written isn't met; see `one`.
            let _ = postcard::serialize_with_flavor::<T, Nowhere, ()>(x, Nowhere);
        }
    })
}

/// Takes everything, keeps nothing.
struct Nowhere;

impl Flavor for Nowhere {
    type Output = ();

    #[inline(always)]
    fn try_push(&mut self, _: u8) -> postcard::Result<()> {
        Ok(())
    }

    #[inline(always)]
    fn try_extend(&mut self, _: &[u8]) -> postcard::Result<()> {
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Str;
    use crate::text::TextBlock;

    fn lines() -> Vec<Str> {
        let block = TextBlock::from_str(&"a line of more than twenty-three bytes\n".repeat(10_000));
        block.lines().collect()
    }

    fn line() -> Str {
        lines().swap_remove(5)
    }

    #[test]
    fn texts_of_a_large_block_are_copied_wherever_they_are() {
        let record = (1u64, vec![Some((line(), "x".to_string()))]);
        let before = record.clone();
        let own = one(record);
        assert_eq!(own, before);
        let pinned = own.1[0].as_ref().unwrap().0.pinned_bytes();
        assert!(pinned < 200, "{pinned}");
        let texts = all(vec![Str::from("short"), line(), line().slice(..30)]);
        assert!(texts.iter().all(|t| t.pinned_bytes() < 200));
        assert_eq!(texts[2], line().slice(..30));
    }

    #[test]
    fn what_is_most_of_its_block_stays() {
        let own = line().detach();
        let place = own.as_ptr();
        assert_eq!(one(own).as_ptr(), place);
        let lines = lines();
        let place = lines[7].as_ptr();
        assert_eq!(all(lines)[7].as_ptr(), place);
    }

    #[test]
    fn what_serde_cannot_read_back_stays() {
        #[derive(Clone, serde::Serialize, serde::Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(Str),
            Number(u64),
        }
        let texts = all(vec![Either::Text(line()), Either::Number(3)]);
        assert!(matches!(&texts[0], Either::Text(t) if *t == line()));
        assert!(matches!(&texts[1], Either::Number(3)));
    }
}
