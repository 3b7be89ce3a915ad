//! Records that outlive their batch get texts of their own.
//!
//! A long [`Str`](crate::Str) is a slice of the block it was received in and keeps all of it in memory.
//! Within a batch that is what makes it cheap; a result on the driver or a persisted record may stay for
//! long. So these are written to a sink that keeps nothing, which meets every text in them; only a record
//! with a text that pins much more than itself is then encoded and decoded, which copies its texts. Plain
//! data skips all of it at compile time.

use postcard::ser_flavors::Flavor;

use crate::data::Wire;
use crate::text::pins;

/// Detaches one value. One whose serde code fails stays as it is: only memory is at stake.
pub(crate) fn one<T: Wire>(x: T) -> T {
    if !std::mem::needs_drop::<T>() || !meets_pin(&x) {
        return x;
    }
    copy(&x).unwrap_or(x)
}

/// Detaches every record.
pub(crate) fn all<T: Wire>(mut records: Vec<T>) -> Vec<T> {
    if std::mem::needs_drop::<T>() {
        for x in &mut records {
            if meets_pin(x)
                && let Some(own) = copy(x)
            {
                *x = own;
            }
        }
    }
    records
}

fn meets_pin<T: Wire>(x: &T) -> bool {
    pins::met(|| {
        // What can't be written isn't met; see `one`.
        let _ = postcard::serialize_with_flavor::<T, Nowhere, ()>(x, Nowhere);
    })
}

#[cold]
fn copy<T: Wire>(x: &T) -> Option<T> {
    postcard::from_bytes(&postcard::to_stdvec(x).ok()?).ok()
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

    fn line() -> Str {
        let block = TextBlock::from_str(&"a line of more than twenty-three bytes\n".repeat(10_000));
        block.lines().next().unwrap()
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
    fn a_text_that_is_most_of_its_block_stays() {
        let own = line().detach();
        let place = own.as_ptr();
        assert_eq!(one(own).as_ptr(), place);
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
