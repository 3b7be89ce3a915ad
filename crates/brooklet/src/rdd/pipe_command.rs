//! `pipe`: partitions through an external command, lines in and lines out.

use std::fmt::{self, Display};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, channel, sync_channel,
};
use std::thread;
use std::time::Duration;

use super::Rdd;
use super::action::user_failure;
use super::pipe::{Captured, Flow, Pipe, Unshippable, fold_by_each};
use super::{Erased, Lineage};
use crate::conf::defaults;
use crate::data::Data;
use crate::engine::{Site, TaskBody, TaskCx, TaskError};
use crate::error::BoxError;
use crate::sync::{LockExt, Mutex};

/// How long a task waits for its command before it looks whether it is to stop.
const LOOK_UP: Duration = Duration::from_millis(50);
/// How long a task waits before it offers its command more to read.
const OFFER_AGAIN: Duration = Duration::from_millis(1);
/// How long the rest of a failed command's error output is waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Bytes that are handed to the command at once.
const WRITE: usize = 64 << 10;
/// Such pieces that may wait.
const WAITING: usize = 4;

struct CommandPipe<P> {
    parent: Arc<P>,
    command: Vec<String>,
    site: Site,
}

/// A running command. Its pipes have threads of their own, so that it may read and write in any order, and
/// the task can be stopped whatever it does.
struct Running {
    child: Child,
    /// To the thread that writes; none when all is written.
    input: Option<SyncSender<Vec<u8>>>,
    output: Receiver<Result<String, BoxError>>,
    /// The end of what it printed to its standard error, and word when there is no more.
    errors: (Arc<Mutex<Vec<u8>>>, Receiver<()>),
    name: String,
}

/// Kills the command unless its end was waited for.
struct KillOnDrop(Option<Running>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(mut r) = self.0.take() {
            let _ = r.child.kill();
            let _ = r.child.wait();
        }
    }
}

impl Running {
    fn start(command: &[String]) -> Result<Running, BoxError> {
        let name = command.join(" ");
        let cannot = |e: &dyn Display| -> BoxError { format!("can't start `{name}`: {e}").into() };
        let (program, args) =
            command.split_first().ok_or("it needs the name of a program, and has none")?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| cannot(&e))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(mut stderr)) = pipes else {
            return Err(cannot(&"it has no pipes"));
        };
        let (input, to_write) = sync_channel::<Vec<u8>>(WAITING);
        let (send, output) = channel();
        let failed = send.clone();
        let spawn = |f: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name("brooklet-pipe".into()).spawn(f)
        };
        let writing = spawn(Box::new(move || {
            for bytes in to_write {
                match stdin.write_all(&bytes) {
                    Ok(()) => {}
                    // A command may stop reading when it has enough; its exit code tells whether it is well.
                    Err(e) if e.kind() == ErrorKind::BrokenPipe => return,
                    Err(e) => {
                        let _ = failed.send(Err(format!("writing to it: {e}").into()));
                        return;
                    }
                }
            }
        }));
        let reading = spawn(Box::new(move || {
            let mut out = BufReader::new(stdout);
            loop {
                let mut line = Vec::new();
                let got = match out.read_until(b'\n', &mut line) {
                    Ok(0) => return,
                    Ok(_) => {
                        if line.ends_with(b"\n") {
                            line.pop();
                        }
                        String::from_utf8(line)
                            .map_err(|e| format!("a line of its output isn't UTF-8: {e}").into())
                    }
                    Err(e) => Err(format!("reading its output: {e}").into()),
                };
                let end = got.is_err();
                if send.send(got).is_err() || end {
                    return;
                }
            }
        }));
        let (kept, (no_more, ended)) = (Arc::<Mutex<Vec<u8>>>::default(), channel());
        let end = kept.clone();
        let errors = spawn(Box::new(move || {
            let mut piece = [0; 1024];
            while let Ok(n @ 1..) = stderr.read(&mut piece) {
                let mut end = end.get();
                end.extend_from_slice(&piece[..n]);
                let over = end.len().saturating_sub(defaults::PIPE_ERROR_BYTES);
                end.drain(..over);
            }
            drop(no_more);
        }));
        match (writing, reading, errors) {
            (Ok(_), Ok(_), Ok(_)) => {
                let errors = (kept, ended);
                Ok(Running { child, input: Some(input), output, errors, name })
            }
            (Err(e), ..) | (_, Err(e), _) | (_, _, Err(e)) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(cannot(&e))
            }
        }
    }

    /// Waits for the end of a command that has closed its output.
    fn end(mut self, cx: &TaskCx<'_>) -> Result<Result<(), BoxError>, TaskError> {
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => {
                    if let Err(e) = cx.check() {
                        let _ = self.child.kill();
                        let _ = self.child.wait();
                        return Err(e);
                    }
                    // Nobody sends: this only waits.
                    let never = channel::<()>();
                    let _ = never.1.recv_timeout(OFFER_AGAIN);
                }
                Err(e) => return Ok(Err(format!("waiting for `{}`: {e}", self.name).into())),
            }
        };
        if status.success() {
            return Ok(Ok(()));
        }
        // Something that the command has started may keep its error output open.
        let _ = self.errors.1.recv_timeout(LAST_WORDS);
        let errors = String::from_utf8_lossy(&self.errors.0.get()).into_owned();
        Ok(Err(format!("`{}` ended with {status}: {}", self.name, errors.trim()).into()))
    }
}

impl<P: Pipe<Out: Display>> CommandPipe<P> {
    fn failed(&self, cx: &TaskCx<'_>, e: BoxError) -> TaskError {
        user_failure(&self.site, cx, e)
    }

    /// Runs the command over a partition and feeds its lines to `f`.
    fn run(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        mut f: impl FnMut(String) -> Flow,
    ) -> Result<Flow, TaskError> {
        let running = Running::start(&self.command).map_err(|e| self.failed(cx, e))?;
        let mut kill = KillOnDrop(Some(running));
        let Some(r) = &mut kill.0 else { return Ok(Flow::Continue(())) };
        let mut error: Option<TaskError> = None;
        let mut bytes = Vec::new();
        let flow = self.parent.try_each(cx, part, |x| {
            let printed = self.site.guard(|| writeln!(bytes, "{x}"));
            if let Err(e) = printed {
                error = Some(self.failed(cx, format!("printing a record: {e}").into()));
                return ControlFlow::Break(());
            }
            if bytes.len() < WRITE {
                return ControlFlow::Continue(());
            }
            match self.hand_over(r, cx, std::mem::take(&mut bytes), &mut f) {
                Ok(flow) => flow,
                Err(e) => {
                    error = Some(e);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(e) = error {
            return Err(e);
        }
        if flow.is_break() || self.hand_over(r, cx, bytes, &mut f)?.is_break() {
            return Ok(Flow::Break(()));
        }
        r.input = None;
        loop {
            match r.output.recv_timeout(LOOK_UP) {
                Ok(line) => {
                    if f(line.map_err(|e| self.failed(cx, self.of_command(e)))?).is_break() {
                        return Ok(Flow::Break(()));
                    }
                }
                Err(RecvTimeoutError::Timeout) => cx.check()?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Some(r) = kill.0.take() {
            r.end(cx)?.map_err(|e| self.failed(cx, e))?;
        }
        Ok(Flow::Continue(()))
    }

    fn of_command(&self, e: BoxError) -> BoxError {
        format!("`{}`: {e}", self.command.join(" ")).into()
    }

    /// Gives the command something to read, and passes on what it has written meanwhile.
    fn hand_over(
        &self,
        r: &mut Running,
        cx: &TaskCx<'_>,
        mut bytes: Vec<u8>,
        f: &mut impl FnMut(String) -> Flow,
    ) -> Result<Flow, TaskError> {
        let mut given = bytes.is_empty();
        loop {
            match &r.input {
                Some(input) if !given => match input.try_send(std::mem::take(&mut bytes)) {
                    Ok(()) => given = true,
                    Err(TrySendError::Full(back)) => bytes = back,
                    Err(TrySendError::Disconnected(_)) => {
                        r.input = None; // it reads no more
                        given = true;
                    }
                },
                _ => given = true,
            }
            loop {
                let line = if given {
                    r.output.try_recv().map_err(|e| e == TryRecvError::Disconnected)
                } else {
                    let got = r.output.recv_timeout(OFFER_AGAIN);
                    got.map_err(|e| e == RecvTimeoutError::Disconnected)
                };
                match line {
                    Ok(line) => {
                        let line = line.map_err(|e| self.failed(cx, self.of_command(e)))?;
                        if f(line).is_break() {
                            return Ok(Flow::Break(()));
                        }
                    }
                    Err(closed) => {
                        // Whoever has closed its output may still read, but for nothing.
                        given |= closed;
                        break;
                    }
                }
                if !given {
                    break; // try to send again
                }
            }
            if given {
                return Ok(Flow::Continue(()));
            }
            cx.check()?;
        }
    }
}

impl<P: Pipe<Out: Display>> Pipe for CommandPipe<P> {
    type Out = String;
    fn partitions(&self) -> usize {
        self.parent.partitions()
    }
    fn wide(&self, out: &mut Vec<Arc<dyn TaskBody>>) {
        self.parent.wide(out);
    }
    fn lineage(&self, out: &mut Lineage) {
        out.step(&self.site, self.partitions());
        self.parent.lineage(out);
    }
    fn captures(&self, out: &mut Vec<Captured>) {
        self.parent.captures(out);
        let why = Unshippable::Captures(size_of::<Vec<String>>());
        out.push(Captured { site: self.site, why });
    }
    fold_by_each!(String);
    fn try_each(
        &self,
        cx: &TaskCx<'_>,
        part: usize,
        f: impl FnMut(String) -> Flow,
    ) -> Result<Flow, TaskError> {
        self.run(cx, part, f)
    }
}

impl<P> fmt::Debug for CommandPipe<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {:?}", self.site, self.command)
    }
}

impl<T: Data, P: Pipe<Out = T>> Rdd<T, P> {
    /// The lines that an external command makes of each partition: it is started once for each partition
    /// (also for empty ones) where the task runs, reads a line for each record, and each line that it
    /// prints is a record. It may read and print in any order, and stop reading when it has enough; it is
    /// killed when the task is stopped.
    ///
    /// A command that can't be started, that ends with another code than 0, or that prints something else
    /// than UTF-8 fails the task; the error shows the end of what it printed to its standard error.
    ///
    /// ```
    /// # let ctx = brooklet::Context::new(brooklet::Conf::new("doc").master("local[2]"))?;
    /// let words = ctx.parallelize(["b", "a", "c"].map(String::from), 1);
    /// assert_eq!(words.pipe(["sort", "-r"]).collect()?, ["c", "b", "a"]);
    /// let e = words.pipe(["sh", "-c", "echo no such luck >&2; exit 3"]).collect().unwrap_err();
    /// assert!(e.to_string().contains("exit status: 3: no such luck"), "{e}");
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn pipe<S: Into<String>>(&self, command: impl IntoIterator<Item = S>) -> Rdd<String>
    where
        T: Display,
    {
        let site = Site::here("pipe");
        let command: Vec<String> = command.into_iter().map(Into::into).collect();
        let pipe = CommandPipe { parent: self.pipe.clone(), command, site };
        Rdd::new(&self.ctx, Arc::new(Erased::new(Arc::new(pipe))), self.origin.clone())
    }
}
