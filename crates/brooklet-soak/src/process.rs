//! What the operating system says of this process, and child processes that don't outlive their owner.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::Result;

/// A value in kB of `/proc/self/status`, in MB (of 10^6 bytes).
fn status_mb(key: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|l| l.starts_with(key)).ok_or("no such line in status")?;
    let kb: f64 = line.split_whitespace().nth(1).ok_or("no value")?.parse()?;
    Ok(kb * 1024.0 / 1e6)
}

/// The most memory that was resident at any time.
pub fn peak_mb() -> Result<f64> {
    status_mb("VmHWM:")
}

pub fn resident_mb() -> Result<f64> {
    status_mb("VmRSS:")
}

/// Threads and open files.
pub fn held() -> Result<(usize, usize)> {
    let count = |folder| fs::read_dir(folder).map(Iterator::count);
    // Reading the folder of files opens one.
    Ok((count("/proc/self/task")?, count("/proc/self/fd")? - 1))
}

/// A child that is killed when it is dropped.
pub struct Owned(pub Child);

impl Owned {
    pub fn interrupt(&self) -> Result<()> {
        let pid = self.0.id().to_string();
        if Command::new("kill").args(["-INT", &pid]).status()?.success() {
            return Ok(());
        }
        Err(format!("can't send SIGINT to process {pid}").into())
    }

    /// The exit code, or an error when the child takes longer than `limit`.
    pub fn code_within(&mut self, limit: Duration) -> Result<Option<i32>> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status.code());
            }
            if start.elapsed() > limit {
                return Err(format!("a process still runs after {} s", limit.as_secs()).into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Deref for Owned {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Owned {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
