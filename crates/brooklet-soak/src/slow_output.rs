//! A socket at full speed into an output that is three times slower than the interval.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use brooklet::prelude::*;

use crate::Result;
use crate::figures::Limits;
use crate::process::peak_mb;
use crate::server::Server;

pub fn run(secs: u64) -> Result<()> {
    let mut server = Server::start()?;
    let interval = seconds(1);
    // All limits are the defaults; only the stop may take as long as the backlog needs.
    let conf = Conf::new("slow-output").graceful_stop_timeout(minutes(10));
    let ssc = StreamingContext::new(conf, interval)?;
    let counted = Arc::new(AtomicU64::new(0));
    let c = counted.clone();
    ssc.socket_text_stream("127.0.0.1", server.port).foreach_rdd(move |rdd, _| {
        let n = rdd.count()?;
        c.fetch_add(n, Relaxed);
        if n > 0 {
            std::thread::sleep(interval * 3);
        }
        Ok::<_, Error>(())
    });
    ssc.start()?;
    let start = Instant::now();
    while start.elapsed().as_secs() < secs {
        std::thread::sleep(seconds(10.min(secs)));
        println!(
            "{:>3} s: {} M lines counted, peak {:.0} MB",
            start.elapsed().as_secs(),
            counted.load(Relaxed) / 1_000_000,
            peak_mb()?
        );
    }
    // The server may be waiting for room: its last write ends when the stream has taken it.
    let sent = server.stop()?;
    // It has closed the connection and takes no new one: what fails now comes after the last line.
    while !ssc.counters().iter().any(|(k, n)| k.ends_with("connect_failures") && *n > 0) {
        if ssc.await_termination_or_timeout(millis(50))? {
            return Err("the stream ended by itself".into());
        }
    }
    println!("{} M lines sent; the stream has all of them, stopping", sent / 1_000_000);
    ssc.stop(true)?;
    println!("stopped after {:.1} s", start.elapsed().as_secs_f64());
    ssc.counters().iter().for_each(|(k, n)| println!("  {k} = {n}"));
    let mut limits = Limits::default();
    let counted = counted.load(Relaxed);
    limits.check("lines counted", counted, format!("{sent} sent"), counted == sent);
    let peak = peak_mb()?;
    limits.check("peak resident MB", format!("{peak:.0}"), 600, peak < 600.0);
    limits.result()
}
