//! A source without a receiver: each batch is a range of numbers, chosen by the driver and made by the
//! tasks. The same slice always gives the same records, so a failed batch can be read again.
//!
//! ```text
//! cargo run --release -p brooklet --example custom_input -- 5
//! ```

use std::ops::Range;
use std::sync::Arc;

use brooklet::prelude::*;
use brooklet::{Input, Partitions, SliceInfo};

/// `per_batch` further numbers in each batch, in two partitions.
struct Counter {
    next: u64,
    per_batch: u64,
}

impl Input for Counter {
    type Item = u64;
    type Slice = Range<u64>;
    type Pipe = Partitions<u64>;

    fn allocate(&mut self, _: Time, limit: Option<u64>) -> Result<Option<Range<u64>>, BoxError> {
        let from = self.next;
        self.next += limit.map_or(self.per_batch, |l| l.min(self.per_batch));
        Ok(Some(from..self.next))
    }

    fn read(&self, slice: &Arc<Range<u64>>) -> Result<Partitions<u64>, BoxError> {
        let (from, to) = (slice.start, slice.end);
        let mid = from + (to - from) / 2;
        Ok(Partitions::from_fn(2, move |part| if part == 0 { from..mid } else { mid..to }))
    }

    fn input_info(&self, slice: &Range<u64>) -> SliceInfo {
        let mut info = SliceInfo::records(slice.end - slice.start);
        info.metadata.insert("Description".into(), format!("{slice:?}"));
        info
    }
}

fn main() -> brooklet::Result<()> {
    let batches: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10);

    let ssc = StreamingContext::new(Conf::new("custom-input"), millis(100))?;
    let numbers = ssc.input_stream(Counter { next: 0, per_batch: 1_000_000 });
    let even = numbers.filter(|n| n % 2 == 0);
    even.count().print();
    even.map(|n| n as u128).reduce(|a, b| a + b).print();
    ssc.start()?;
    ssc.await_termination_or_timeout(millis(100) * batches)?;
    ssc.stop(true)
}
