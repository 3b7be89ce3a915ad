//! Files: one of a gigabyte, with the memory it takes, and a directory of a hundred thousand.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use brooklet::prelude::*;
use brooklet::scheduler::listener::batch_completed;
use brooklet::source::file::FileOptions;

use crate::Result;
use crate::figures::Limits;
use crate::process::{peak_mb, resident_mb};

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(parent: &str) -> Result<Folder> {
        let path = Path::new(parent).join(format!("brooklet-files-{}", std::process::id()));
        fs::create_dir_all(path.join("in"))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The system's own clean-up takes what is left.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A stream, the number and sum of each batch's lines, and the batches with their times.
type Running = (StreamingContext, Receiver<(u64, u64)>, Receiver<BatchInfo>);

fn sums(dir: &Path, interval: Duration) -> Result<Running> {
    let ssc = StreamingContext::new(Conf::new("files").master("local[2]"), interval)?;
    let (give, sums) = channel();
    let give = Mutex::new(give);
    ssc.text_file_stream_with(dir, FileOptions::new())
        .map(|line| (1u64, line.split_once(" ").map_or(0, |(n, _)| n.parse::<u64>().unwrap_or(0))))
        .reduce(|(n, a), (m, b)| (n + m, a + b))
        .foreach_rdd(move |rdd, _| {
            for sum in rdd.collect()? {
                // Nobody listens any more: the run is over.
                let _ = give.lock().unwrap_or_else(PoisonError::into_inner).send(sum);
            }
            Ok::<_, Error>(())
        });
    let (done, batches) = channel();
    ssc.add_listener(batch_completed(move |b| drop(done.send(b.clone()))));
    ssc.start()?;
    Ok((ssc, sums, batches))
}

/// A file of `mb` megabytes.
pub fn big(folder: &str, mb: u64) -> Result<()> {
    let folder = Folder::new(folder)?;
    let path = folder.0.join("big");
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let (mut lines, mut bytes) = (0u64, 0u64);
    while bytes < mb * 1_000_000 {
        let line = format!("{lines} the brook goes to the sea, and the sea goes nowhere at all\n");
        out.write_all(line.as_bytes())?;
        lines += 1;
        bytes += line.len() as u64;
    }
    out.into_inner()?.sync_all()?;
    println!("{lines} lines, {} MB", bytes / 1_000_000);
    let before = resident_mb()?;
    let (ssc, sums, batches) = sums(&folder.0.join("in"), seconds(1))?;
    let start = Instant::now();
    fs::rename(&path, folder.0.join("in/big"))?;
    let (n, sum) = sums.recv_timeout(Duration::from_secs(120))?;
    let took = start.elapsed();
    println!(
        "seen, read and summed in {:.2} s, up to one interval of it before",
        took.as_secs_f64()
    );
    let batch = batches.iter().find(|b| b.num_records() > 0).ok_or("no batch with records")?;
    if let Some(d) = batch.processing_delay() {
        println!(
            "processing: {:.2} s, {:.0} MB/s",
            d.as_secs_f64(),
            bytes as f64 / 1e6 / d.as_secs_f64()
        );
    }
    ssc.stop(true)?;
    let mut limits = Limits::default();
    limits.check("lines", n, lines, n == lines);
    let want = lines * (lines - 1) / 2;
    limits.check("sum of their numbers", sum, want, sum == want);
    let records = batch.num_records();
    limits.check("records that the batch reports", records, lines, records == lines);
    let peak = peak_mb()? - before;
    limits.check("memory above that before, MB", format!("{peak:.0}"), 64, peak < 64.0);
    limits.result()
}

/// A directory of `files` files.
pub fn scan(folder: &str, files: u64) -> Result<()> {
    let folder = Folder::new(folder)?;
    let dir = folder.0.join("in");
    for i in 0..files {
        fs::write(dir.join(format!("file-{i:07}")), format!("{i} a line\n"))?;
    }
    println!("{files} files");
    let (ssc, sums, batches) = sums(&dir, seconds(2))?;
    let (mut n, mut sum) = (0, 0);
    let start = Instant::now();
    while n < files && start.elapsed() < Duration::from_secs(120) {
        let (m, s) = sums.recv_timeout(Duration::from_secs(60))?;
        (n, sum) = (n + m, sum + s);
    }
    fs::write(dir.join("another"), "7 one more\n")?;
    let (more, _) = sums.recv_timeout(Duration::from_secs(60))?;
    std::thread::sleep(Duration::from_secs(10)); // some batches without new files
    ssc.stop(false)?;
    let batches: Vec<BatchInfo> = batches.try_iter().collect();
    let mut limits = Limits::default();
    limits.check("lines", n + more, files + 1, n == files && more == 1);
    let want = files * files.saturating_sub(1) / 2;
    limits.check("sum of their numbers", sum, want, sum == want);
    let mut longest = 0;
    for b in &batches {
        let ms = b.stream_id_to_input_info.get(&0).and_then(|i| i.metadata.get("Scan ms"));
        let ms: u64 = ms.ok_or("no time of the scan")?.parse()?;
        println!("batch of {} records: {ms} ms to look at the directory", b.num_records());
        longest = longest.max(ms);
    }
    limits.check("longest look at the directory, ms", longest, 1_000, longest < 1_000);
    limits.result()
}
