//! A queue as a source: every batch interval a dataset of the numbers 1 to 1000 is pushed, and the numbers
//! are counted by their last digit.
//!
//! ```text
//! cargo run --release -p brooklet --example queue_stream -- 5
//! ```

use brooklet::prelude::*;

fn main() -> brooklet::Result<()> {
    let batches: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10);

    let ssc = StreamingContext::new(Conf::new("queue-stream"), millis(200))?;
    let (queue, numbers) = ssc.queue_stream::<u32>();
    let by_digit = numbers.map(|x| (x % 10, 1)).reduce_by_key(|a, b| a + b);
    by_digit.print();
    ssc.start()?;

    for _ in 0..batches {
        queue.push(1..=1000);
        if ssc.await_termination_or_timeout(millis(200))? {
            break;
        }
    }
    ssc.stop(true) // graceful: what was pushed is processed
}
