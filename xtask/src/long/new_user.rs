//! What brooklet costs a user's build: a new crate that depends on it by path.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::{Result, process, root, target};

/// Seconds on two cores.
const CLEAN_RELEASE: f64 = 150.0;
const REBUILD_DEBUG: f64 = 10.0;
const REBUILD_RELEASE: f64 = 20.0;

const WORD_COUNT: &str = r#"use brooklet::prelude::*;

fn main() -> brooklet::Result<()> {
    let ssc = StreamingContext::new(Conf::new("word-count").master("local[2]"), seconds(1))?;
    let lines = ssc.socket_text_stream("localhost", 9999);
    let words = lines.flat_map(|line| line.split(" "));
    let counts = words.map(|word| (word, 1)).reduce_by_key(|a, b| a + b);
    counts.print();
    ssc.start()?;
    ssc.await_termination()
}
"#;

pub fn run(args: &[&str]) -> Result<bool> {
    if !args.is_empty() {
        return Err("use: cargo xtask long new-user".into());
    }
    let krate = Crate::new()?;
    krate.write(WORD_COUNT)?;
    let mut ok = true;
    let mut check = |what: &str, seconds: f64, limit: f64| {
        let verdict = if seconds <= limit { "ok" } else { "BROKEN" };
        println!("{what}: {seconds:.1} s (limit {limit} s): {verdict}");
        ok &= seconds <= limit;
    };
    // Downloads aren't part of it.
    krate.cargo(&["fetch"])?;
    check("clean release build", krate.cargo(&["build", "--release"])?, CLEAN_RELEASE);
    println!("clean debug build: {:.1} s", krate.cargo(&["build"])?);
    krate.write(&WORD_COUNT.replace("a + b", "b + a"))?;
    check("rebuild after a changed line, debug", krate.cargo(&["build"])?, REBUILD_DEBUG);
    check(
        "rebuild after a changed line, release",
        krate.cargo(&["build", "--release"])?,
        REBUILD_RELEASE,
    );
    krate.write(&long_program())?;
    println!("40 operators, 30 in one chain, debug: {:.1} s", krate.cargo(&["build"])?);
    println!("40 operators, release: {:.1} s", krate.cargo(&["build", "--release"])?);
    Ok(ok)
}

/// Ten operators around a chain of thirty narrow ones.
fn long_program() -> String {
    let mut s = String::from(
        "use brooklet::prelude::*;\n\nfn main() -> brooklet::Result<()> {\n    \
         let ssc = StreamingContext::new(Conf::new(\"long\"), seconds(1))?;\n    \
         let (queue, numbers) = ssc.queue_stream::<u64>();\n    let chain = numbers",
    );
    for i in 0..10 {
        // Writing to a String can't fail.
        let _ = write!(
            s,
            "\n        .map(|x| x.wrapping_mul(3) + {i})\n        .filter(|x| x % 97 != {i})\n        \
             .flat_map(|x| [x, x ^ {i}])"
        );
    }
    s.push_str(
        ";\n    let sums = chain.map(|x| (x % 10, x)).reduce_by_key(|a, b| a.wrapping_add(b));\n    \
         let joined = sums.map(|(k, v)| (k, v + 1)).join(&sums);\n    \
         let both = joined.map(|(k, (a, b))| k + a % 7 + b % 5).union(&sums.map(|(k, _)| k));\n    \
         both.count().print();\n    both.filter(|x| x % 2 == 0).print();\n    ssc.start()?;\n    \
         queue.push(0..1000);\n    ssc.await_termination_or_timeout(seconds(3))?;\n    \
         ssc.stop(true)\n}\n",
    );
    s
}

/// The user's crate, in a folder of its own; removed in the end.
struct Crate {
    folder: PathBuf,
}

impl Crate {
    fn new() -> Result<Crate> {
        let folder = target().join("new-user");
        let _ = fs::remove_dir_all(&folder); // left by a run that was killed
        let krate = Crate { folder };
        let brooklet = root().join("crates/brooklet").display().to_string();
        // Its own workspace, though it lies in ours.
        let manifest = format!(
            "[package]\nname = \"new-user\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [dependencies]\nbrooklet = {{ path = {brooklet:?} }}\n\n[workspace]\n"
        );
        write(&krate.folder.join("Cargo.toml"), &manifest)?;
        // The versions that the project is tested with.
        let lock = root().join("Cargo.lock");
        let versions = fs::read_to_string(&lock).map_err(|e| format!("{}: {e}", lock.display()))?;
        write(&krate.folder.join("Cargo.lock"), &versions)?;
        Ok(krate)
    }

    fn write(&self, program: &str) -> Result<()> {
        write(&self.folder.join("src/main.rs"), program)
    }

    /// Runs cargo; returns the seconds it took.
    fn cargo(&self, args: &[&str]) -> Result<f64> {
        let mut command = process::cargo(args);
        command.arg("--quiet").current_dir(&self.folder);
        command.env("CARGO_TARGET_DIR", self.folder.join("target"));
        let start = Instant::now();
        let outcome = process::shown(command)?;
        if outcome.ok {
            return Ok(start.elapsed().as_secs_f64());
        }
        Err(format!("cargo {} in {}: {}", args.join(" "), self.folder.display(), outcome.problem))
    }
}

impl Drop for Crate {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(named)?;
    }
    fs::write(path, text).map_err(named)
}
