//! Follows a log and says how many lines of each service are errors, batch by batch, with an alert for a
//! service whose rate is above the limit.
//!
//! Lines look like `2026-01-31T10:00:00Z ERROR checkout payment refused`. To follow a log of your own, which
//! may be rotated and truncated meanwhile:
//!
//! ```text
//! cargo run --release -p brooklet --example log_error_rates -- /var/log/app.log
//! ```
//!
//! Without a path it writes a log itself, into a folder of its own, and rotates it now and then:
//!
//! ```text
//! cargo run --release -p brooklet --example log_error_rates -- --batches 5
//!
//! Time: 1700000000500 ms
//! checkout        17 of    203 lines are errors   8.4 %
//! payment         61 of    211 lines are errors  28.9 %  ALERT: more than 20 %
//! ...
//! total  checkout        80 of   1012 lines
//! ```
//!
//! `--from-start` begins with the first line of the log, not with the first new one; `--limit 20` is the rate
//! in percent above which there is an alert; `--batches 5` stops after so many batches, of half a second each.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use brooklet::prelude::*;
use brooklet::source::LogOptions;

const SERVICES: [&str; 4] = ["checkout", "payment", "search", "warehouse"];

struct Args {
    path: Option<PathBuf>,
    from_start: bool,
    limit: f64,
    batches: usize,
}

fn args() -> Result<Args, String> {
    let mut found = Args { path: None, from_start: false, limit: 20.0, batches: usize::MAX };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || {
            let text = args.next().unwrap_or_default();
            text.parse::<f64>().map_err(|_| format!("{arg} needs a number, not `{text}`"))
        };
        match &*arg {
            "--from-start" => found.from_start = true,
            "--limit" => found.limit = number()?,
            "--batches" => found.batches = number()? as usize,
            path if !path.starts_with('-') => found.path = Some(path.into()),
            other => return Err(format!("there is no option `{other}`")),
        }
    }
    Ok(found)
}

/// The service of a line, and whether it is an error. What isn't such a line has a place of its own.
fn service(line: &Str) -> (Str, bool) {
    let mut words = line.split_ascii_whitespace().skip(1);
    match (words.next(), words.next()) {
        (Some(level), Some(service)) if level.chars().all(|c| c.is_ascii_uppercase()) => {
            (service, level == "ERROR")
        }
        _ => (Str::from("(other)"), false),
    }
}

fn main() -> Result<(), BoxError> {
    let args = args()?;
    let generated = match args.path {
        None => Some(Generator::start()?),
        Some(_) => None,
    };
    let path = args.path.as_deref().or(generated.as_ref().map(|g| &*g.path));
    let path = path.ok_or("no path")?;

    let options = LogOptions::new();
    let options = if args.from_start { options.from_start() } else { options };
    let ssc = StreamingContext::new(Conf::new("log-error-rates"), millis(500))?;
    let rates = ssc
        .log_file_stream_with(path, options)
        .map(|line| {
            let (service, error) = service(&line);
            (service, (u64::from(error), 1u64))
        })
        .reduce_by_key(|a, b| (a.0 + b.0, a.1 + b.1));
    let (done, batches) = channel();
    let limit = args.limit;
    rates.foreach_rdd(move |rdd, time| {
        let mut rates = rdd.collect()?;
        rates.sort();
        println!("Time: {} ms", time.millis());
        for (service, (errors, lines)) in &rates {
            let rate = 100.0 * *errors as f64 / *lines as f64;
            let alert =
                if rate > limit { format!("  ALERT: more than {limit} %") } else { "".into() };
            println!(
                "{service:<12} {errors:>5} of {lines:>6} lines are errors {rate:>5.1} %{alert}"
            );
        }
        // The receiver is gone when enough batches have been seen.
        let _ = done.send(rates);
        Ok::<_, Error>(())
    });
    ssc.start()?;
    // The log is followed from here on.
    if let Some(g) = &generated {
        let _ = g.go.send(());
    }

    let mut totals = BTreeMap::new();
    let mut add = |rates: Vec<(Str, (u64, u64))>| {
        for (service, (errors, lines)) in rates {
            let total: &mut (u64, u64) = totals.entry(service).or_default();
            *total = (total.0 + errors, total.1 + lines);
        }
    };
    for rates in batches.iter().take(args.batches) {
        add(rates);
    }
    let written = generated.map(Generator::stop).transpose()?;
    ssc.stop(true)?; // what has been written is read first
    batches.try_iter().for_each(&mut add);
    for (service, (errors, lines)) in &totals {
        println!("total  {service:<12} {errors:>5} of {lines:>6} lines");
    }
    if let Some(lines) = written {
        println!("written {lines} lines");
    }
    Ok(ssc.await_termination()?)
}

/// A thread that writes a log.
struct Generator {
    path: PathBuf,
    go: Sender<()>,
    thread: thread::JoinHandle<io::Result<u64>>,
}

impl Generator {
    fn start() -> io::Result<Generator> {
        let folder = format!("brooklet-log-error-rates-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder)?;
        let path = folder.join("app.log");
        File::create(&path)?;
        let (go, orders) = channel();
        let to = path.clone();
        let thread = thread::spawn(move || write(&to, &orders));
        Ok(Generator { path, go, thread })
    }

    /// The number of lines written.
    fn stop(self) -> Result<u64, BoxError> {
        drop(self.go);
        let lines = self.thread.join().map_err(|_| "the generator has panicked")??;
        Ok(lines)
    }
}

/// Some lines every few milliseconds until the orders end. The folder stays as long as the process, which reads
/// it; the system removes it from its temporary folder.
fn write(path: &Path, orders: &Receiver<()>) -> io::Result<u64> {
    if orders.recv().is_err() {
        return Ok(0);
    }
    let mut seed = 2026u64;
    let mut draw = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut log = OpenOptions::new().append(true).open(path)?;
    let mut lines = 0;
    while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = orders.recv_timeout(millis(10)) {
        for _ in 0..20 {
            let service = draw(4) as usize;
            // One service is worse than the others.
            let error = draw(100) < if service == 1 { 30 } else { 8 };
            let level = if error { "ERROR" } else { "INFO" };
            let second = lines / 2_000;
            writeln!(
                log,
                "2026-01-31T10:{:02}:{:02}Z {level} {} request {lines}",
                second / 60 % 60,
                second % 60,
                SERVICES[service]
            )?;
            lines += 1;
        }
        if lines % 1_000 == 0 {
            fs::rename(path, path.with_extension("log.1"))?;
            log = File::create(path)?;
        }
    }
    Ok(lines)
}
