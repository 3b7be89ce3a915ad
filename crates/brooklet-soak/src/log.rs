//! A log that another process writes at 100,000 lines a second, rotated twenty times and truncated once.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use brooklet::prelude::*;

use crate::Result;
use crate::figures::{Limits, quantile};
use crate::process::{Owned, peak_mb};

const LINES_PER_SECOND: u64 = 100_000;
const ROTATIONS: u64 = 20;

/// Which numbers have been seen.
#[derive(Default)]
struct Seen {
    bits: Vec<u64>,
    repeated: u64,
}

impl Seen {
    fn add(&mut self, n: u64) {
        let (word, bit) = ((n / 64) as usize, 1 << (n % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        self.repeated += u64::from(self.bits[word] & bit != 0);
        self.bits[word] |= bit;
    }

    fn count(&self) -> u64 {
        self.bits.iter().map(|w| u64::from(w.count_ones())).sum()
    }
}

pub fn run(secs: u64) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("brooklet-soak-log-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let done = follow(&folder, secs);
    fs::remove_dir_all(&folder)?;
    done
}

fn follow(folder: &Path, secs: u64) -> Result<()> {
    let path = folder.join("app.log");
    File::create(&path)?;
    let ssc = StreamingContext::new(Conf::new("log").master("local[2]"), millis(200))?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let broken = Arc::new(AtomicU64::new(0));
    let (s, b) = (seen.clone(), broken.clone());
    ssc.log_file_stream(&path).foreach_partition(move |lines, _| {
        // A line is its number and the sum of its digits, so that a broken one shows.
        let numbers = lines.map(|line| {
            let mut words = line.as_str().split(' ');
            let (n, sum) = (words.next()?, words.next()?);
            let digits: u64 = n.bytes().map(|b| u64::from(b.wrapping_sub(b'0'))).sum();
            if sum == digits.to_string() { n.parse().ok() } else { None }
        });
        let numbers: Vec<Option<u64>> = numbers.collect();
        let mut seen = s.lock().unwrap_or_else(PoisonError::into_inner);
        for n in numbers {
            match n {
                Some(n) => seen.add(n),
                None => drop(b.fetch_add(1, Relaxed)),
            }
        }
    });
    let delays = Arc::new(Mutex::new(Vec::new()));
    ssc.add_listener(Delays(delays.clone()));
    ssc.start()?;

    let writer = Command::new(std::env::current_exe()?)
        .args(["log-writer".as_ref(), path.as_os_str(), secs.to_string().as_ref()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut writer = Owned(writer);
    let mut out = BufReader::new(writer.stdout.take().ok_or("no output")?).lines();
    let mut written = 0;
    while let Some(line) = out.next().transpose()? {
        println!("{line}");
        if let Some(n) = line.strip_prefix("written ") {
            written = n.parse()?;
        }
    }
    if writer.code_within(Duration::from_secs(10))? != Some(0) {
        return Err("the writer has failed".into());
    }
    ssc.stop(true)?;

    let counters = ssc.counters();
    counters.iter().for_each(|(k, n)| println!("  {k} = {n}"));
    let count =
        |name: &str| counters.get(&format!("log_file_stream-0.{name}")).copied().unwrap_or(0);
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let mut limits = Limits::default();
    let wanted = secs * LINES_PER_SECOND;
    limits.check(
        "lines written",
        written,
        format!("{wanted}, less 5 %"),
        written >= wanted / 20 * 19,
    );
    limits.check("different lines read", seen.count(), written, seen.count() == written);
    limits.check("lines read again", seen.repeated, 0, seen.repeated == 0);
    let broken = broken.load(Relaxed);
    limits.check("broken lines", broken, 0, broken == 0);
    limits.check("records counted", count("records"), written, count("records") == written);
    limits.check("rotations", count("rotations"), ROTATIONS, count("rotations") >= ROTATIONS);
    limits.check("truncations", count("truncations"), 1, count("truncations") == 1);
    limits.check("lost bytes", count("lost_bytes"), 0, count("lost_bytes") == 0);
    let delays = delays.lock().unwrap_or_else(PoisonError::into_inner);
    println!("batch: median {:.1?}, p99 {:.1?}", quantile(&delays, 0.5), quantile(&delays, 0.99));
    let peak = peak_mb()?;
    limits.check("peak resident MB", format!("{peak:.0}"), 200, peak < 200.0);
    limits.result()
}

struct Delays(Arc<Mutex<Vec<Duration>>>);

impl StreamingListener for Delays {
    fn on_batch_completed(&mut self, batch: &BatchInfo) {
        let delay = batch.total_delay().unwrap_or_default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(delay);
    }
}

/// The other process: numbered lines, paced, in pieces that end anywhere.
pub fn write(path: &str, secs: u64) -> Result<()> {
    let path = PathBuf::from(path);
    let total = secs * LINES_PER_SECOND;
    let every = total / (ROTATIONS + 2);
    let mut file = OpenOptions::new().append(true).open(&path)?;
    let mut text = Vec::new();
    let start = Instant::now();
    let (mut rotated, mut truncated) = (0, false);
    for n in 0..total {
        let digits: u64 = n.to_string().bytes().map(|b| u64::from(b - b'0')).sum();
        writeln!(text, "{n} {digits} {}", &"abcdefghijklmnopqrstuvwxyz"[..(n % 26) as usize])?;
        if text.len() > 8 << 10 {
            // The rest of the last line comes with the next piece.
            let rest = text.split_off(text.len() - (n % 12) as usize);
            file.write_all(&text)?;
            text = rest;
        }
        if n % 1_000 == 0 {
            let due = Duration::from_micros(n * 1_000_000 / LINES_PER_SECOND);
            sleep(due.saturating_sub(start.elapsed()));
        }
        if n > 0 && n % every == 0 && rotated < ROTATIONS {
            if rotated == ROTATIONS / 2 && !truncated {
                truncated = true;
                file.write_all(&text)?;
                text.clear();
                shift(&path)?;
                fs::copy(&path, numbered(&path, 1))?;
                file.set_len(0)?;
                println!("truncated at line {n}");
                continue;
            }
            rotated += 1;
            shift(&path)?;
            fs::rename(&path, numbered(&path, 1))?;
            let new = OpenOptions::new().append(true).create(true).open(&path)?;
            // Programs learn of a rotation late: these lines go to the old file.
            file.write_all(&text)?;
            text.clear();
            file = new;
        }
    }
    file.write_all(&text)?;
    println!("rotated {rotated} times, {:.1} s", start.elapsed().as_secs_f64());
    println!("written {total}");
    Ok(())
}

fn numbered(path: &Path, n: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

/// `app.log.1` to `app.log.2` and so on; three stay.
fn shift(path: &Path) -> Result<()> {
    for n in (1..=3).rev() {
        if numbered(path, n).exists() {
            fs::rename(numbered(path, n), numbered(path, n + 1))?;
        }
    }
    if numbered(path, 4).exists() {
        fs::remove_file(numbered(path, 4))?;
    }
    Ok(())
}
