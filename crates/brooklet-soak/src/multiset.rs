//! `brooklet word-count` against `sort | uniq -c`: through one pipe, and typed into `nc -lk`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::figures::Limits;
use crate::process::Owned;

type Counts = BTreeMap<String, u64>;

/// Words of several scripts, two of them longer than what a `Str` holds inline.
const WORDS: [&str; 24] = [
    "the",
    "brook",
    "流",
    "小溪",
    "千里之行",
    "始于足下",
    "数据",
    "river",
    "река",
    "ποταμός",
    "für",
    "naïve",
    "œuvre",
    "नदी",
    "שלום",
    "مرحبا",
    "🌊",
    "이슬",
    "a",
    "of",
    "瀑布",
    "žába",
    "九层之台起于累土千里之行始于足下",
    "incomprehensibilities-and-more",
];

pub fn run(brooklet: &str, folder: &str, lines: u64) -> Result<()> {
    fs::create_dir_all(folder)?;
    let text = Path::new(folder).join("lines.txt");
    write(&text, lines)?;
    let mut limits = Limits::default();
    let start = Instant::now();
    let (records, ours) = through_a_pipe(brooklet, &text)?;
    let took = start.elapsed().as_secs_f64();
    println!("{records} records counted in {took:.1} s");
    limits.check("records of the pipe", records, lines, records == lines);
    compare("pipe", &ours, &sorted(&text)?, &mut limits);
    fs::remove_file(&text)?;
    typed(brooklet, &mut limits)?;
    limits.result()
}

/// The text: two to four words a line, a number among them now and then, runs of spaces.
fn write(path: &Path, lines: u64) -> Result<()> {
    println!("writing {lines} lines to {}", path.display());
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut state = 7u64;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    for _ in 0..lines {
        for i in 0..2 + draw(3) {
            let gap = ["", " ", " ", "  "][if i == 0 { 0 } else { 1 + draw(3) as usize }];
            match draw(32) {
                0 => write!(out, "{gap}n{}", draw(50_000))?,
                n => write!(out, "{gap}{}", WORDS[n as usize % WORDS.len()])?,
            }
        }
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

fn through_a_pipe(brooklet: &str, text: &Path) -> Result<(u64, Counts)> {
    let mut cat = Owned(Command::new("cat").arg(text).stdout(Stdio::piped()).spawn()?);
    let pipe = cat.stdout.take().ok_or("no output")?;
    let mut program = Owned(
        Command::new(brooklet)
            .args(["word-count", "--source", "stdin", "--json"])
            .stdin(pipe)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let sums = sums(program.stdout.take().ok_or("no output")?)?;
    match program.code_within(Duration::from_secs(60))? {
        Some(0) => Ok(sums),
        code => Err(format!("brooklet ended with {code:?}").into()),
    }
}

/// Records and words over all batches.
fn sums(out: impl Read) -> Result<(u64, Counts)> {
    let (mut records, mut words) = (0, Counts::new());
    for line in BufReader::new(out).lines() {
        let object: Value = serde_json::from_str(&line?)?;
        records += object["records"].as_u64().ok_or("no records")?;
        for (word, n) in object["counts"].as_object().ok_or("no counts")? {
            *words.entry(word.clone()).or_default() += n.as_u64().ok_or("no count")?;
        }
    }
    Ok((records, words))
}

/// What `sort | uniq -c` says.
fn sorted(text: &Path) -> Result<Counts> {
    println!("$ tr -s ' ' '\\n' < {} | LC_ALL=C sort | uniq -c", text.display());
    let script = "tr -s ' ' '\\n' < \"$1\" | sort | uniq -c";
    let mut shell = Owned(
        Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(text)
            .env("LC_ALL", "C")
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut counts = Counts::new();
    for line in BufReader::new(shell.stdout.take().ok_or("no output")?).lines() {
        let line = line?;
        let (n, word) = line.trim_start().split_once(' ').ok_or("no count in a line of uniq")?;
        counts.insert(word.to_string(), n.parse()?);
    }
    Ok(counts)
}

fn compare(what: &str, ours: &Counts, theirs: &Counts, limits: &mut Limits) {
    let total = |c: &Counts| c.values().sum::<u64>();
    let figures = |c: &Counts| format!("{} words, {} distinct", total(c), c.len());
    limits.check(&format!("{what}: multiset"), figures(ours), figures(theirs), ours == theirs);
    let different = theirs.iter().filter(|(w, n)| ours.get(*w) != Some(n));
    for (word, n) in different.take(5) {
        println!("  `{word}` {n} times, counted {:?}", ours.get(word));
    }
}

/// Lines written to `nc -lk` one by one, as a person types them.
fn typed(brooklet: &str, limits: &mut Limits) -> Result<()> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port().to_string();
    let nc = Command::new("nc")
        .args(["-lk", "127.0.0.1", &port])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn();
    let mut nc = match nc {
        Ok(nc) => Owned(nc),
        Err(e) => {
            let install = "On Debian type: apt-get install -y netcat-openbsd";
            println!("`nc -lk` did not run ({e}). {install}");
            return Ok(());
        }
    };
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port.parse()?)).is_err() {
        if start.elapsed().as_secs() > 5 {
            return Err("`nc -lk` doesn't listen".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut program = Owned(
        Command::new(brooklet)
            .args(["word-count", "--json", "--batch-interval", "100ms", "--source"])
            .arg(format!("socket://127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let out = program.stdout.take().ok_or("no output")?;
    let reader = std::thread::spawn(move || sums(out));
    // `nc` has to have seen that the connections before the stream's own are gone.
    std::thread::sleep(Duration::from_secs(2));
    let lines = ["千里之行 始于足下", "the brook  the sea", "流 流 流", "", "naïve œuvre 🌊"];
    let mut keyboard = nc.stdin.take().ok_or("no input")?;
    let mut expected = Counts::new();
    for line in lines.iter().cycle().take(40) {
        writeln!(keyboard, "{line}")?;
        keyboard.flush()?;
        line.split_whitespace().for_each(|w| *expected.entry(w.to_string()).or_default() += 1);
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(1)); // what is on its way to the receiver
    program.interrupt()?;
    let code = program.code_within(Duration::from_secs(60))?;
    let (records, words) = reader.join().map_err(|_| "the reader panicked")??;
    limits.check("nc -lk: exit code", format!("{code:?}"), 0, code == Some(0));
    limits.check("nc -lk: records", records, 40, records == 40);
    compare("nc -lk", &words, &expected, limits);
    Ok(())
}
