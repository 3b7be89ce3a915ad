//! A program that keeps one long word of every megabyte received.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};

use brooklet::prelude::*;
use brooklet::text::TextBlock;

use crate::Result;
use crate::figures::Limits;
use crate::process::{peak_mb, resident_mb};

const BLOCK: usize = 1 << 20;
const BLOCKS_PER_BATCH: u64 = 4;
const WORD: usize = 100;

struct Completed(std::sync::mpsc::Sender<u64>);

impl StreamingListener for Completed {
    fn on_batch_completed(&mut self, batch: &BatchInfo) {
        let _ = self.0.send(batch.num_records());
    }
}

fn block(number: u64) -> Arc<TextBlock> {
    let mut text = String::with_capacity(BLOCK + TextBlock::PAD);
    text.push_str(&format!("{number:0>WORD$}\n"));
    let filler = "words of little use to anyone who looks for long ones ".repeat(18) + "\n";
    while text.len() + filler.len() <= BLOCK {
        text.push_str(&filler);
    }
    TextBlock::from_string(text)
}

pub fn run(blocks: u64) -> Result<()> {
    let ssc = StreamingContext::new(Conf::new("pinned").master("local[2]"), millis(1))?;
    let (queue, lines) = ssc.text_queue_stream();
    let kept = Arc::new(Mutex::new(Vec::<Str>::new()));
    let k = kept.clone();
    lines.flat_map(|line| line.split(" ")).filter(|word| word.len() == WORD).foreach_rdd(
        move |rdd, _| {
            k.lock().unwrap_or_else(PoisonError::into_inner).extend(rdd.collect()?);
            Ok::<_, Error>(())
        },
    );
    let (done, completed) = channel();
    ssc.add_listener(Completed(done));
    ssc.start()?;
    let mut number = 0;
    while number < blocks {
        let to = blocks.min(number + BLOCKS_PER_BATCH);
        queue.push_blocks((number..to).map(block));
        number = to;
        completed.iter().find(|records| *records > 0).ok_or("the stream has ended")?;
    }
    ssc.stop(true)?;
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let pinned: usize = kept.iter().map(Str::pinned_bytes).sum();
    println!("{} words kept of {blocks} blocks, {pinned} bytes behind them", kept.len());
    let mut limits = Limits::default();
    limits.check("words kept", kept.len(), blocks, kept.len() as u64 == blocks);
    println!("resident now: {:.0} MB", resident_mb()?);
    let peak = peak_mb()?;
    limits.check("peak resident MB", format!("{peak:.0}"), 100, peak < 100.0);
    limits.result()
}
