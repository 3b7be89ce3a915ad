//! `brooklet word-count`: the stream, and the loop that shows its batches and ends it.

use std::collections::HashMap;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use brooklet::prelude::*;
use brooklet::time::{Clock, SystemClock, Timestamp};

use crate::args::{self, Source};
use crate::error::Failure;
use crate::feed::{FeedServer, Options};
use crate::interrupt::on_interrupt;
use crate::output::{Batch, Output};
use crate::page::Page;
use crate::totals::Totals;

/// How long the first connection to a source may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Empty batches, and the least time, after which text that the feed has sent counts as lost.
const PATIENCE: (u32, Duration) = (10, Duration::from_secs(5));
/// How long the figures of the last batches may take after the stream has ended.
const LAST_FIGURES: Duration = Duration::from_secs(5);

/// What the main loop is told by the stream, its listener, the signal handler and its waiting threads.
enum Event {
    /// A batch got its input.
    Submitted,
    Counts(Time, Vec<(Str, u64)>),
    Completed {
        time: Time,
        records: u64,
        processing: Duration,
        delay: Duration,
    },
    InputEnded,
    Interrupt,
    Ended(brooklet::Result<()>),
}

pub fn run(args: &args::WordCount) -> Result<(), Failure> {
    let feed = match &args.source {
        None => Some(FeedServer::start(Options {
            port: 0,
            text: args.text,
            lines: None,
            ignore_probes: false,
        })?),
        Some(Source::Socket { host, port }) => {
            check_reachable(host, *port)?;
            None
        }
        Some(Source::Files(file)) if file.is_file() => {
            let path = file.display();
            return Err(Failure::Usage(format!(
                "{path} is a file: --source file:// reads the files of a directory; log://{path} follows a \
                 growing file, and stdin takes one that is piped in"
            )));
        }
        Some(Source::Files(dir)) => {
            check_directory(dir, "reads the files of a directory; make it first")?;
            None
        }
        Some(Source::Log(file)) => {
            // The log itself may come later.
            let folder =
                file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            check_directory(folder, "follows a log in that directory; make it first")?;
            None
        }
        Some(Source::Stdin | Source::Http { .. }) => None,
    };
    let (tell, events) = mpsc::channel();
    let ssc = stream(args, feed.as_ref(), &tell)?;
    let page = args.serve.as_ref().map(|at| Page::new(&ssc, at)).transpose()?;
    let on_first = tell.clone();
    on_interrupt(move || drop(on_first.send(Event::Interrupt)))?;
    ssc.start()?;
    match (&feed, &args.source) {
        (Some(feed), _) => eprintln!(
            "counting generated text ({} lines/s, seed {}) from {}; Ctrl-C ends",
            args.text.rate,
            args.text.seed,
            feed.addr()
        ),
        (None, Some(Source::Http { address, path })) => {
            let at = ssc.http_address_of(address).map_or(address.clone(), |a| a.to_string());
            eprintln!("counting lines that are posted to http://{at}{path}; Ctrl-C ends");
        }
        (None, Some(source)) => eprintln!("counting {source}; Ctrl-C ends"),
        (None, None) => {}
    }
    if args.serve.is_some()
        && let Some(at) = ssc.http_address()
    {
        eprintln!("the counts are shown at http://{at}/");
    }
    if args.source == Some(Source::Stdin) {
        let (receiving, on_end) = (ssc.clone(), tell.clone());
        thread::spawn(move || {
            // If this fails the stream has ended, and its end says why.
            if receiving.await_receivers().is_ok() {
                let _ = on_end.send(Event::InputEnded);
            }
        });
    }
    let (waiting, on_end) = (ssc.clone(), tell.clone());
    thread::spawn(move || drop(on_end.send(Event::Ended(waiting.await_termination()))));
    Run::new(args, ssc, feed, page, tell).until_ended(&events)
}

/// Words by whitespace, counted per batch; the result goes to the main loop.
fn stream(
    args: &args::WordCount,
    feed: Option<&FeedServer>,
    tell: &Sender<Event>,
) -> Result<StreamingContext, Failure> {
    let mut conf = args.settings.load("word-count")?;
    if let Some(master) = &args.master {
        conf = conf.master(master.as_str());
    }
    if let Some(interval) = args.block_interval {
        conf = conf.block_interval(interval);
    }
    if let Some(interval) = args.batch_interval {
        conf = conf.batch_interval(interval);
    }
    let ssc = StreamingContext::builder(conf).build()?;
    let lines: DStream<Str> = match (feed, &args.source) {
        (_, Some(Source::Socket { host, port })) => ssc.socket_text_stream(host, *port),
        (_, Some(Source::Http { address, path })) => ssc.http_text_stream(address, path),
        (_, Some(Source::Files(dir))) => ssc.text_file_stream(dir),
        (_, Some(Source::Log(file))) => ssc.log_file_stream(file),
        (Some(feed), _) => ssc.socket_text_stream("127.0.0.1", feed.addr().port()),
        (None, _) => ssc.stdin_text_stream(),
    };
    let counts = lines
        .flat_map(|line| line.split_whitespace())
        .map(|word| (word, 1u64))
        .reduce_by_key(|a, b| a + b);
    if args.serve.is_some() {
        let _ = counts.serve("counts");
    }
    let to_main = tell.clone();
    counts.foreach_rdd(move |rdd, time| {
        // Nobody listens any more when the main loop has ended.
        let _ = to_main.send(Event::Counts(time, rdd.collect()?));
        Ok::<_, brooklet::Error>(())
    });
    ssc.add_listener(Figures { tell: tell.clone() });
    Ok(ssc)
}

/// Passes the figures of completed batches on to the main loop.
struct Figures {
    tell: Sender<Event>,
}

impl StreamingListener for Figures {
    fn on_batch_submitted(&mut self, _: &BatchInfo) {
        let _ = self.tell.send(Event::Submitted);
    }

    fn on_batch_completed(&mut self, info: &BatchInfo) {
        let _ = self.tell.send(Event::Completed {
            time: info.batch_time,
            records: info.num_records(),
            processing: info.processing_delay().unwrap_or_default(),
            delay: info.generation_delay() + info.scheduling_delay().unwrap_or_default(),
        });
    }
}

/// Fails when there is no such directory, or it can't be read.
fn check_directory(dir: &Path, why: &str) -> Result<(), Failure> {
    match std::fs::read_dir(dir) {
        Ok(_) => Ok(()),
        Err(e) => {
            Err(Failure::Unreachable(format!("can't read {}: {e}; --source {why}", dir.display())))
        }
    }
}

/// Fails when nobody listens; a connection that is lost later is made again by the receiver.
fn check_reachable(host: &str, port: u16) -> Result<(), Failure> {
    let addresses = (host, port).to_socket_addrs().map_err(|e| {
        Failure::Unreachable(format!("can't find the host `{host}` of --source: {e}"))
    })?;
    let mut problem = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(_) => return Ok(()),
            Err(e) => problem = e,
        }
    }
    let source = Source::Socket { host: host.into(), port };
    Err(Failure::Unreachable(format!(
        "can't reach {source}: {problem}. Is a server listening there? Start one first, for example: \
         brooklet feed --port {port}"
    )))
}

/// A running count.
struct Run<'a> {
    args: &'a args::WordCount,
    ssc: StreamingContext,
    feed: Option<FeedServer>,
    output: Output,
    page: Option<Page>,
    totals: Totals,
    /// Batches that have their input.
    submitted: u64,
    /// When the last batch was completed.
    completed: Timestamp,
    /// Counts of batches whose figures aren't known yet.
    pending: HashMap<Time, Vec<(Str, u64)>>,
    clock: SystemClock,
    phase: Phase,
    /// Whether the user wants the end now, before `--batches` are through.
    interrupted: bool,
    /// Where the threads of this run report to.
    tell: Sender<Event>,
    /// When the feed is to pause, so that its last lines come into the last batch.
    pause_at: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Running,
    /// The feed is paused; what it has sent is being counted.
    Draining {
        empty: u32,
        since: Timestamp,
    },
    /// The stream has been asked to end.
    Stopping,
}

impl<'a> Run<'a> {
    fn new(
        args: &'a args::WordCount,
        ssc: StreamingContext,
        feed: Option<FeedServer>,
        page: Option<Page>,
        tell: Sender<Event>,
    ) -> Run<'a> {
        let clock = SystemClock::new();
        let pause_at = (feed.is_some() && args.batches == Some(1))
            .then(|| clock.now().after(ssc.batch_interval() / 2));
        Run {
            args,
            ssc,
            feed,
            output: Output::new(args.json, args.top),
            page,
            totals: Totals::default(),
            submitted: 0,
            completed: clock.now(),
            pending: HashMap::new(),
            clock,
            phase: Phase::Running,
            interrupted: false,
            tell,
            pause_at,
        }
    }

    fn until_ended(mut self, events: &Receiver<Event>) -> Result<(), Failure> {
        let ended = loop {
            match self.next(events, None) {
                Some(Event::Ended(result)) => break result,
                Some(event) => self.handle(event)?,
                None => self.drain(),
            }
        };
        // The listener may be a little behind the stream.
        while !self.pending.is_empty() && ended.is_ok() {
            match self.next(events, Some(LAST_FIGURES)) {
                Some(event) => self.handle(event)?,
                None => break,
            }
        }
        self.output.finish();
        ended?;
        self.summary()
    }

    /// The next event; none when the time for the next step has come.
    fn next(&self, events: &Receiver<Event>, limit: Option<Duration>) -> Option<Event> {
        let pause = self.pause_at.map(|at| at.since(self.clock.now()));
        match limit.or(pause) {
            None => events.recv().ok(),
            Some(limit) => events.recv_timeout(limit).ok(),
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Submitted => {
                self.submitted += 1;
                let last_begins = self.args.batches.is_some_and(|n| self.submitted + 1 == n);
                if last_begins && self.feed.is_some() && self.phase == Phase::Running {
                    self.pause_at = Some(self.clock.now().after(self.ssc.batch_interval() * 3 / 4));
                }
            }
            Event::Counts(time, counts) => {
                self.pending.insert(time, counts);
            }
            Event::Completed { time, records, processing, delay } => {
                // A failed batch has no counts; the stream's end says why.
                let Some(counts) = self.pending.remove(&time) else {
                    return Ok(());
                };
                let wanted = self.args.batches.is_none_or(|n| self.totals.batches < n);
                let now = self.clock.now();
                if records > 0 || (wanted && self.phase != Phase::Stopping) {
                    let batch = Batch {
                        number: self.totals.batches + 1,
                        time,
                        records,
                        processing,
                        delay,
                        interval: self.ssc.batch_interval(),
                        span: now.since(self.completed).max(self.ssc.batch_interval()),
                    };
                    self.show(&batch, counts)?;
                }
                self.completed = now;
                self.after_batch(records);
            }
            Event::Interrupt => {
                self.interrupted = true;
                self.output.note(
                    "ending when all that was received is counted; Ctrl-C again ends at once",
                );
                self.drain();
            }
            Event::InputEnded => self.stop(),
            Event::Ended(_) => {}
        }
        Ok(())
    }

    fn show(&mut self, batch: &Batch, counts: Vec<(Str, u64)>) -> Result<(), Failure> {
        self.totals.add(batch.records, &counts);
        if let Some(page) = &self.page {
            page.show(batch, &counts, &self.totals)?;
        }
        match self.output.batch(batch, counts) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                // The reader of our output has seen enough, as in `... | head`.
                self.output.finish();
                std::process::exit(0)
            }
            Err(e) => Err(Failure::Failed(format!("can't write to standard output: {e}"))),
            Ok(()) => Ok(()),
        }
    }

    /// Decides after each batch whether the end is near.
    fn after_batch(&mut self, records: u64) {
        match (&mut self.phase, self.args.batches) {
            (Phase::Draining { empty, .. }, _) => {
                *empty = if records == 0 { *empty + 1 } else { 0 };
                self.stop_when_drained();
            }
            (Phase::Running, Some(n)) if self.totals.batches >= n => self.drain(),
            _ => {}
        }
    }

    /// Takes no more from the feed, and ends the stream when all that was sent is counted. Other sources
    /// are ended at once; what was received from them is still counted.
    fn drain(&mut self) {
        self.pause_at = None;
        match (&self.feed, self.phase) {
            (Some(feed), Phase::Running) => {
                feed.pause();
                self.phase = Phase::Draining { empty: 0, since: self.clock.now() };
                self.stop_when_drained();
            }
            (None, Phase::Running) => self.stop(),
            _ => self.stop_when_drained(),
        }
    }

    fn stop_when_drained(&mut self) {
        let (Some(feed), Phase::Draining { empty, since }) = (&self.feed, self.phase) else {
            return;
        };
        let all_shown = self.args.batches.is_none_or(|n| self.totals.batches >= n);
        let drained = feed.settled().is_some_and(|sent| sent.lines <= self.totals.records);
        let (batches, time) = PATIENCE;
        let in_vain = empty >= batches && self.clock.now().since(since) >= time;
        if (drained && (all_shown || self.interrupted)) || in_vain {
            self.stop();
        }
    }

    /// Ends the stream gracefully, on a thread of its own: batches are shown meanwhile.
    fn stop(&mut self) {
        if self.phase == Phase::Stopping {
            return;
        }
        self.phase = Phase::Stopping;
        let (ssc, tell) = (self.ssc.clone(), self.tell.clone());
        thread::spawn(move || {
            if let Err(e) = ssc.stop(true) {
                let _ = tell.send(Event::Ended(Err(e)));
            }
        });
    }

    fn summary(&self) -> Result<(), Failure> {
        let say = |line: &str| match self.output.summary(line) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::Failed(format!("can't write to standard output: {e}")))
            }
            _ => Ok(()),
        };
        say(&self.totals.summary())?;
        let Some(feed) = &self.feed else {
            return Ok(());
        };
        let sent = feed.settled().ok_or_else(|| {
            Failure::Failed(
                "the stream ended before the feed, so their totals can't be compared".into(),
            )
        })?;
        match self.totals.compare(&sent, feed.vocabulary()) {
            Ok(()) => say(&format!(
                "feed:  {} lines, {} words, {} distinct: equal",
                sent.lines,
                sent.words(),
                sent.distinct()
            )),
            Err(difference) => {
                Err(Failure::Failed(format!("the totals differ from the feed's: {difference}")))
            }
        }
    }
}
