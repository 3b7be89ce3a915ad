use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use brooklet::time::{Clock, SystemClock, Timestamp};

use crate::args::Text;
use crate::error::Failure;
use crate::text::{Generator, Tally, Vocabulary};

/// About how much text is made and written at once.
const CHUNK: usize = 64 << 10;
/// The shortest pause of a client that is ahead of its rate.
const PACE: Duration = Duration::from_millis(5);
/// How long a client may take to show that it only looked whether somebody listens.
const PROBE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub port: u16,
    pub text: Text,
    /// The length of the text.
    pub lines: Option<u64>,
    /// Send nothing to a client that leaves at once.
    pub ignore_probes: bool,
}

/// Serves the same generated text to every client, from its first line on, each at the full rate.
#[derive(Clone, Debug)]
pub struct FeedServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    vocabulary: Vocabulary,
    clock: SystemClock,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    clients: Vec<(SocketAddr, Tally)>,
    /// Clients that are being served.
    active: usize,
    /// Clients with text under way that isn't in their tally yet.
    writing: usize,
    /// Whether a client has the whole text.
    complete: bool,
    paused: bool,
    stopped: bool,
}

impl FeedServer {
    pub fn start(options: Options) -> Result<FeedServer, Failure> {
        let unusable = |e: io::Error| {
            Failure::Failed(format!(
                "can't listen on 127.0.0.1:{}: {e}. Choose another --port, or 0 for a free one",
                options.port
            ))
        };
        let listener = TcpListener::bind(("127.0.0.1", options.port)).map_err(unusable)?;
        let addr = listener.local_addr().map_err(unusable)?;
        let shared = Arc::new(Shared {
            options,
            vocabulary: Vocabulary::new(),
            clock: SystemClock::new(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let feed = FeedServer { addr, shared: Arc::clone(&shared) };
        spawn("feed", move || {
            while let Ok((client, peer)) = listener.accept() {
                shared.lock().active += 1;
                let shared = Arc::clone(&shared);
                spawn("feed-client", move || shared.serve(client, peer));
            }
        });
        Ok(feed)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn vocabulary(&self) -> &Vocabulary {
        &self.shared.vocabulary
    }

    /// No more text from here on; connections stay open.
    pub fn pause(&self) {
        self.shared.lock().paused = true;
        self.shared.changed.notify_all();
    }

    /// What was sent to all clients together, once a pause has taken effect.
    pub fn settled(&self) -> Option<Tally> {
        let s = self.shared.lock();
        (s.paused && s.writing == 0).then(|| {
            let mut all = Tally::new();
            s.clients.iter().for_each(|(_, tally)| all.add(tally));
            all
        })
    }

    /// Ends all connections at the next line.
    pub fn stop(&self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
    }

    /// Waits until all clients are served: after a stop, or when one has the whole text.
    pub fn wait(&self) {
        let s = self.shared.lock();
        let done = |s: &mut State| !((s.stopped || s.complete) && s.active == 0);
        drop(self.shared.changed.wait_while(s, done).unwrap_or_else(PoisonError::into_inner));
    }

    /// The clients that were sent anything, and what.
    pub fn clients(&self) -> Vec<(SocketAddr, Tally)> {
        self.shared.lock().clients.iter().filter(|(_, tally)| tally.lines > 0).cloned().collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut client: TcpStream, peer: SocketAddr) {
        let probe = self.options.ignore_probes && is_probe(&client);
        let complete = !probe && self.send(&mut client, peer);
        let _ = client.shutdown(Shutdown::Write);
        let mut s = self.lock();
        s.active -= 1;
        s.complete |= complete;
        drop(s);
        self.changed.notify_all();
    }

    /// Sends the text to one client; says whether all of it was sent.
    fn send(&self, client: &mut TcpStream, peer: SocketAddr) -> bool {
        let _ = client.set_nodelay(true);
        let mut generator = Generator::new(&self.vocabulary, self.options.text.seed);
        let mut text = Vec::with_capacity(CHUNK + 1_024);
        let start = self.clock.now();
        let number = {
            let mut s = self.lock();
            s.clients.push((peer, Tally::new()));
            s.clients.len() - 1
        };
        loop {
            let mut s = self.lock();
            let sent = s.clients[number].1.lines;
            let left = self.options.lines.map_or(u64::MAX, |n| n - sent);
            if left == 0 {
                return true;
            }
            if s.stopped {
                return false;
            }
            let due = self.due(start, sent).min(left);
            if due == 0 || s.paused {
                let pause = if s.paused { Duration::from_secs(3_600) } else { self.pace() };
                drop(self.changed.wait_timeout(s, pause));
                continue;
            }
            s.writing += 1;
            drop(s);
            let tally = generator.lines(due, CHUNK, &mut text);
            let taken = client.write_all(&text);
            let mut s = self.lock();
            s.writing -= 1;
            if taken.is_err() {
                return false;
            }
            s.clients[number].1.add(tally);
        }
    }

    /// How many lines may be sent now.
    fn due(&self, start: Timestamp, sent: u64) -> u64 {
        match self.options.text.rate {
            0 => u64::MAX,
            rate => {
                let elapsed = self.clock.now().since(start).as_nanos();
                // The first line is due at once.
                let due = 1 + elapsed * u128::from(rate) / 1_000_000_000;
                u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(sent)
            }
        }
    }

    /// How long to wait until a line is due.
    fn pace(&self) -> Duration {
        PACE.max(Duration::from_nanos(1_000_000_000 / self.options.text.rate.max(1)))
    }
}

/// Whether the client has left already, without having wanted anything.
fn is_probe(client: &TcpStream) -> bool {
    let _ = client.set_read_timeout(Some(PROBE));
    matches!(client.peek(&mut [0]), Ok(0))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    // A thread that can't be had leaves its client without text, and it will say so.
    if let Err(e) = thread::Builder::new().name(name.into()).spawn(body) {
        eprintln!("brooklet: can't start the thread `{name}`: {e}");
    }
}
