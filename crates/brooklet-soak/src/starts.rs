//! Many contexts with receivers, one after the other: nothing may be left behind.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use brooklet::prelude::*;

use crate::Result;
use crate::figures::Limits;
use crate::process::held;

/// How long threads may take to be gone after a stop.
const PATIENCE: Duration = Duration::from_secs(5);

struct Ticks;

impl Receiver for Ticks {
    type Item = u64;

    fn run(&mut self, out: &mut Store<u64>) -> Result<(), BoxError> {
        for i in 0.. {
            out.store(i)?;
            if !out.sleep(millis(1)) {
                break;
            }
        }
        Ok(())
    }
}

fn once(number: u64, port: u16) -> Result<()> {
    let ssc = StreamingContext::new(Conf::new("starts").master("local[2]"), millis(5))?;
    let done = |rdd: Rdd<(u64, u64)>, _| rdd.count().map(drop);
    ssc.receiver_stream(Ticks).map(|n| (n % 3, n)).reduce_by_key(|a, b| a + b).foreach_rdd(done);
    ssc.socket_text_stream("127.0.0.1", port).count().foreach_rdd(|rdd, _| rdd.count().map(drop));
    ssc.start()?;
    std::thread::sleep(millis(number % 12));
    Ok(ssc.stop(number.is_multiple_of(2))?)
}

pub fn run(times: u64) -> Result<()> {
    let server = TcpListener::bind(("127.0.0.1", 0))?;
    let port = server.local_addr()?.port();
    std::thread::spawn(move || {
        // Takes connections and keeps them until the client leaves.
        for client in server.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut &client, &mut std::io::sink()));
        }
    });
    for warm_up in 0..10 {
        once(warm_up, port)?;
    }
    let before = settled((0, 0))?;
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    for number in 0..times {
        let begin = Instant::now();
        once(number, port)?;
        slowest = slowest.max(begin.elapsed());
    }
    println!(
        "{times} starts and stops in {:.1} s, the slowest {slowest:?}",
        start.elapsed().as_secs_f64()
    );
    let after = settled(before)?;
    let mut limits = Limits::default();
    limits.check("threads", after.0, format!("{} before", before.0), after.0 <= before.0);
    limits.check("open files", after.1, format!("{} before", before.1), after.1 <= before.1);
    limits.result()
}

/// Threads and files, once they are down to `wanted` or patience is over.
fn settled(wanted: (usize, usize)) -> Result<(usize, usize)> {
    let start = Instant::now();
    let patience = if wanted == (0, 0) { PATIENCE / 5 } else { PATIENCE };
    loop {
        let now = held()?;
        if (now.0 <= wanted.0 && now.1 <= wanted.1) || start.elapsed() > patience {
            return Ok(now);
        }
        std::thread::sleep(millis(10));
    }
}
