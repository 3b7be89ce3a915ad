//! A line server in a process of its own, so that the figures of this one are the stream's alone.
//!
//! It prints its port, sends numbered-size lines to one client as fast as they are taken until its standard
//! input ends, then closes the connection and prints how many lines it has sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::Result;
use crate::process::Owned;

const LINE: usize = 100;
const LINES_PER_WRITE: u64 = 4_096;

pub fn serve() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?.port());
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        asked.store(true, Relaxed);
    });
    let (mut client, _) = listener.accept()?;
    drop(listener); // a client that comes again is refused
    let mut line = "the quick brook jumps over the lazy stone ".repeat(3);
    line.truncate(LINE - 1);
    line.push('\n');
    let text = line.repeat(LINES_PER_WRITE as usize);
    let mut lines = 0;
    while !stop.load(Relaxed) {
        client.write_all(text.as_bytes())?;
        lines += LINES_PER_WRITE;
    }
    drop(client);
    println!("{lines}");
    Ok(())
}

/// A running server.
pub struct Server {
    _process: Owned,
    stdin: Option<ChildStdin>,
    out: BufReader<ChildStdout>,
    pub port: u16,
}

impl Server {
    pub fn start() -> Result<Server> {
        let mut process = Owned(
            Command::new(std::env::current_exe()?)
                .arg("serve")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?,
        );
        let stdin = process.stdin.take();
        let mut out = BufReader::new(process.stdout.take().ok_or("no output")?);
        let mut port = String::new();
        out.read_line(&mut port)?;
        Ok(Server { _process: process, stdin, out, port: port.trim().parse()? })
    }

    /// Ends the sending; returns how many lines were sent.
    pub fn stop(&mut self) -> Result<u64> {
        self.stdin = None;
        let mut lines = String::new();
        self.out.read_line(&mut lines)?;
        Ok(lines.trim().parse()?)
    }
}
