//! Reading the records of a block.

use std::any::Any;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Block, TextLines, Values};
use crate::{Data, Str, defaults};

/// Bytes of records that a chunk aims at.
const CHUNK_BYTES: usize = 16 << 10;

/// The records of a block, in order, chunk by chunk.
pub trait Records<T>: Send + Sync {
    /// Number of records.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives all records in chunks until `each` breaks. `each` may empty the chunk or leave it; it is
    /// filled anew for the next call.
    fn chunks(&self, each: &mut dyn FnMut(&mut Vec<T>) -> ControlFlow<()>) -> ControlFlow<()>;
}

/// Records in a chunk of this type: about 16 kB, from 16 to [`defaults::CHUNK_RECORDS`].
fn chunk_len<T>() -> usize {
    (CHUNK_BYTES / size_of::<T>().max(1)).clamp(16, defaults::CHUNK_RECORDS)
}

impl<T: Data> Records<T> for Values<T> {
    fn len(&self) -> usize {
        self.items().len()
    }

    fn chunks(&self, each: &mut dyn FnMut(&mut Vec<T>) -> ControlFlow<()>) -> ControlFlow<()> {
        let n = chunk_len::<T>();
        let mut chunk = Vec::with_capacity(n.min(self.items().len()));
        for part in self.items().chunks(n) {
            chunk.clear();
            chunk.extend_from_slice(part);
            each(&mut chunk)?;
        }
        ControlFlow::Continue(())
    }
}

impl Records<Str> for TextLines {
    fn len(&self) -> usize {
        self.records()
    }

    fn chunks(&self, each: &mut dyn FnMut(&mut Vec<Str>) -> ControlFlow<()>) -> ControlFlow<()> {
        let n = chunk_len::<Str>();
        let mut chunk = Vec::with_capacity(n.min(self.records()));
        self.text().lines().each(|line| {
            chunk.push(line);
            if chunk.len() < n {
                return ControlFlow::Continue(());
            }
            let go_on = each(&mut chunk);
            chunk.clear();
            go_on
        })?;
        if chunk.is_empty() { ControlFlow::Continue(()) } else { each(&mut chunk) }
    }
}

/// The records of a block, when it holds records of type `T`: [`Values<T>`], or text when `T` is
/// [`Str`].
pub fn records_of<T: Data>(block: &Arc<dyn Block>) -> Option<Arc<dyn Records<T>>> {
    let any = Arc::clone(block).as_any();
    match any.downcast::<Values<T>>() {
        Ok(values) => Some(values),
        Err(any) => {
            let lines: Arc<dyn Records<Str>> = any.downcast::<TextLines>().ok()?;
            // `T` is `Str` here or the downcast fails: the type system can't see it, `Any` can.
            (&lines as &dyn Any).downcast_ref::<Arc<dyn Records<T>>>().cloned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::TextBlock;

    fn all<T: Data>(block: Arc<dyn Block>) -> Option<Vec<T>> {
        let r = records_of::<T>(&block)?;
        let mut out = Vec::new();
        let _ = r.chunks(&mut |c| {
            out.append(c);
            ControlFlow::Continue(())
        });
        assert_eq!(out.len(), r.len());
        Some(out)
    }

    #[test]
    fn values_and_text_give_their_records_in_order() {
        let items: Vec<u64> = (0..5_000).collect();
        assert_eq!(all::<u64>(Values::new(items.clone())).unwrap(), items);
        assert!(all::<u32>(Values::new(items)).is_none());
        let text: String = (0..3_000).map(|i| format!("line {i}\n")).collect();
        let block = TextLines::new(TextBlock::from_utf8_lossy(text.into_bytes()).0);
        let lines = all::<Str>(block.clone()).unwrap();
        assert_eq!(lines.len(), 3_000);
        assert_eq!(lines[2_999].as_str(), "line 2999");
        assert!(all::<String>(block).is_none());
    }

    #[test]
    fn a_break_ends_the_reading() {
        let block: Arc<dyn Block> = Values::new((0..5_000u64).collect());
        let mut seen = 0;
        let end = records_of::<u64>(&block).unwrap().chunks(&mut |c| {
            seen += c.len();
            ControlFlow::Break(())
        });
        assert!(end.is_break());
        assert_eq!(seen, 1_024);
    }
}
