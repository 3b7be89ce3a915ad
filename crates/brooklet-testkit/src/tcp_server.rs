use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long the waiting methods wait before they panic.
const LIMIT: Duration = Duration::from_secs(60);

/// What a [`TestTcpServer`] will do, in order of the byte offset.
///
/// ```
/// use brooklet_testkit::TestTcpServer;
/// let script = TestTcpServer::script()
///     .send("first half of a li")
///     .disconnect()               // here, at offset 18
///     .send("ne\nanother line\n")
///     .stall()                    // here, until `resume`
///     .in_pieces([1, 7, 3]);      // sizes of the writes, again and again
/// # drop(script);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a script does nothing until it is started"]
pub struct Script {
    data: Vec<u8>,
    at: BTreeMap<usize, Vec<Action>>,
    pieces: Vec<usize>,
    finished: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Disconnect,
    Stall,
}

impl Script {
    /// Serves these bytes next.
    pub fn send(mut self, bytes: impl AsRef<[u8]>) -> Script {
        self.data.extend_from_slice(bytes.as_ref());
        self
    }

    /// Ends the connection here; the next one continues with the next byte.
    pub fn disconnect(self) -> Script {
        let here = self.data.len();
        self.disconnect_at(here)
    }

    /// Ends the connection after `offset` bytes of the whole text.
    pub fn disconnect_at(mut self, offset: usize) -> Script {
        self.at.entry(offset).or_default().push(Action::Disconnect);
        self
    }

    /// Stops sending here, with the connection open, until [`TestTcpServer::resume`].
    pub fn stall(self) -> Script {
        let here = self.data.len();
        self.stall_at(here)
    }

    /// Stops sending after `offset` bytes of the whole text.
    pub fn stall_at(mut self, offset: usize) -> Script {
        self.at.entry(offset).or_default().push(Action::Stall);
        self
    }

    /// Writes in pieces of these sizes, over and over, each on its way at once. Zeros are left out.
    pub fn in_pieces(mut self, sizes: impl IntoIterator<Item = usize>) -> Script {
        self.pieces = sizes.into_iter().filter(|n| *n > 0).collect();
        self
    }

    /// Ends the last connection after the last byte. Without it the connection stays open, silent, as
    /// `nc -lk` does it.
    pub fn hang_up(mut self) -> Script {
        self.finished = true;
        self
    }

    /// Opens a free port on the loopback device and serves.
    ///
    /// # Errors
    /// When no port or no thread is to be had.
    pub fn start(self) -> io::Result<TestTcpServer> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State { script: self, ..State::default() }),
            changed: Condvar::new(),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("test-tcp-server".into())
                .spawn(move || shared.serve(&listener))?
        };
        Ok(TestTcpServer { addr, shared, thread: Some(thread) })
    }
}

/// A line server on a loopback port that does what its [`Script`] says, one connection at a time, and
/// counts. A new connection continues exactly where the last one stopped; the port is open from the
/// start until the server is dropped.
///
/// A client that leaves without reading everything loses what was under way, as with any server: bytes
/// count as sent when the operating system has taken them.
#[derive(Debug)]
pub struct TestTcpServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    script: Script,
    /// Bytes of the script's data that are sent.
    pos: usize,
    sent: Vec<u64>,
    current: Option<TcpStream>,
    /// Whether the current client is gone.
    left: bool,
    stalled: bool,
    stop: bool,
}

/// What the connection's loop does next.
enum Next {
    Write(Vec<u8>),
    End,
}

impl TestTcpServer {
    /// An empty script.
    pub fn script() -> Script {
        Script::default()
    }

    /// Serves `bytes` and keeps the connection open.
    ///
    /// # Errors
    /// When no port or no thread is to be had.
    pub fn serving(bytes: impl AsRef<[u8]>) -> io::Result<TestTcpServer> {
        TestTcpServer::script().send(bytes).start()
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The port, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Adds bytes at the end, while the server runs.
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.change(|s| s.script.data.extend_from_slice(bytes.as_ref()));
    }

    /// Ends the connection when all that was given so far is sent; the next one continues.
    pub fn disconnect(&self) {
        self.change(|s| {
            let here = s.script.data.len();
            s.script.at.entry(here).or_default().push(Action::Disconnect);
        });
    }

    /// Ends the connection, and each later one, when everything is sent.
    pub fn hang_up(&self) {
        self.change(|s| s.script.finished = true);
    }

    /// Goes on after a stall.
    pub fn resume(&self) {
        self.change(|s| s.stalled = false);
    }

    /// The bytes sent on each connection so far; one entry for each connection that was accepted. It may
    /// be a moment behind what a client has read, until the connection ends: see
    /// [`wait_sent`](TestTcpServer::wait_sent).
    pub fn sent(&self) -> Vec<u64> {
        self.lock().sent.clone()
    }

    /// The bytes sent on all connections.
    pub fn total_sent(&self) -> u64 {
        self.lock().sent.iter().sum()
    }

    /// Waits until so many bytes are sent.
    ///
    /// # Panics
    /// After a minute: a test shouldn't hang.
    pub fn wait_sent(&self, bytes: u64) {
        self.wait(&format!("{bytes} bytes sent"), |s| s.sent.iter().sum::<u64>() >= bytes);
    }

    /// Waits until the script has stalled.
    ///
    /// # Panics
    /// After a minute.
    pub fn wait_stalled(&self) {
        self.wait("a stall", |s| s.stalled);
    }

    /// Waits until so many connections have been accepted.
    ///
    /// # Panics
    /// After a minute.
    pub fn wait_connections(&self, n: usize) {
        self.wait(&format!("{n} connections"), |s| s.sent.len() >= n);
    }

    fn wait(&self, what: &str, mut done: impl FnMut(&State) -> bool) {
        let (state, timeout) = self
            .shared
            .changed
            .wait_timeout_while(self.lock(), LIMIT, |s| !done(s))
            .unwrap_or_else(PoisonError::into_inner);
        let sent = state.sent.clone();
        drop(state);
        assert!(
            !timeout.timed_out(),
            "{} waited {LIMIT:?} for {what}; bytes sent by connection: {sent:?}",
            self.addr
        );
    }

    fn change(&self, f: impl FnOnce(&mut State)) {
        f(&mut self.lock());
        self.shared.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Drop for TestTcpServer {
    fn drop(&mut self) {
        self.change(|s| {
            s.stop = true;
            if let Some(c) = &s.current {
                let _ = c.shutdown(Shutdown::Both);
            }
        });
        let _ = TcpStream::connect(self.addr); // ends a waiting `accept`
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, listener: &TcpListener) {
        loop {
            let Ok((client, _)) = listener.accept() else {
                return;
            };
            let (Ok(writer), Ok(reader)) = (client.try_clone(), client.try_clone()) else {
                return;
            };
            {
                let mut s = self.lock();
                if s.stop {
                    return;
                }
                s.sent.push(0);
                s.current = Some(client);
                s.left = false;
            }
            self.changed.notify_all();
            thread::scope(|scope| {
                scope.spawn(|| self.watch(reader));
                self.connection(writer);
            });
            self.lock().current = None;
        }
    }

    /// Notices when the client leaves, also while nothing is being sent.
    fn watch(&self, mut reader: TcpStream) {
        let mut buffer = [0; 1024];
        while matches!(reader.read(&mut buffer), Ok(n) if n > 0) {}
        self.lock().left = true;
        self.changed.notify_all();
    }

    fn connection(&self, mut client: TcpStream) {
        let _ = client.set_nodelay(true);
        let mut pieces = 0;
        while let Next::Write(piece) = self.next(&mut pieces) {
            // Byte counts are exact: `write` says what it took.
            let Ok(n) = client.write(&piece) else { break };
            let mut s = self.lock();
            s.pos += n;
            if let Some(sent) = s.sent.last_mut() {
                *sent += n as u64;
            }
            drop(s);
            self.changed.notify_all();
        }
        // The client still gets what is under way, then the end of the stream; the watcher ends at once.
        let _ = client.shutdown(Shutdown::Both);
    }

    /// Waits until there is something to do at the current offset.
    fn next(&self, pieces: &mut usize) -> Next {
        let mut s = self.lock();
        loop {
            if s.stop || s.left {
                return Next::End;
            }
            if !s.stalled {
                let pos = s.pos;
                let action =
                    s.script.at.get_mut(&pos).filter(|a| !a.is_empty()).map(|a| a.remove(0));
                match action {
                    Some(Action::Disconnect) => return Next::End,
                    Some(Action::Stall) => {
                        s.stalled = true;
                        self.changed.notify_all();
                        continue;
                    }
                    None => {}
                }
                if pos < s.script.data.len() {
                    let stop =
                        s.script.at.range(pos + 1..).next().map_or(usize::MAX, |(at, _)| *at);
                    let piece = match s.script.pieces.len() {
                        0 => 64 << 10,
                        n => s.script.pieces[*pieces % n],
                    };
                    *pieces += 1;
                    let end = (pos + piece).min(stop).min(s.script.data.len());
                    return Next::Write(s.script.data[pos..end].to_vec());
                }
                if s.script.finished {
                    return Next::End;
                }
            }
            s = self.changed.wait(s).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(server: &TestTcpServer) -> String {
        let mut text = String::new();
        TcpStream::connect(server.addr()).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn continues_after_a_disconnect_exactly_where_it_stopped() {
        let server = TestTcpServer::script()
            .send("河流\nbrook\n")
            .disconnect_at(4) // inside of a character
            .disconnect_at(9)
            .hang_up()
            .start()
            .unwrap();
        let mut bytes = Vec::new();
        for _ in 0..3 {
            TcpStream::connect(server.addr()).unwrap().read_to_end(&mut bytes).unwrap();
        }
        assert_eq!(bytes, "河流\nbrook\n".as_bytes());
        assert_eq!(server.sent(), [4, 5, 4]);
    }

    #[test]
    fn odd_pieces_make_the_same_text() {
        let text = "line of text\n".repeat(1_000);
        let server =
            TestTcpServer::script().send(&text).in_pieces([1, 7, 0, 3]).hang_up().start().unwrap();
        assert_eq!(read_all(&server), text);
        assert_eq!(server.total_sent(), text.len() as u64);
    }

    #[test]
    fn a_stall_holds_until_it_is_resumed() {
        let server = TestTcpServer::script().send("one\n").stall().send("two\n").start().unwrap();
        let mut client = TcpStream::connect(server.addr()).unwrap();
        server.wait_stalled();
        let mut half = [0; 4];
        client.read_exact(&mut half).unwrap();
        assert_eq!((&half, server.total_sent()), (b"one\n", 4));
        server.resume();
        server.send("three\n");
        server.hang_up();
        let mut rest = String::new();
        client.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "two\nthree\n");
    }

    #[test]
    fn a_client_that_leaves_makes_room_for_the_next() {
        let server = TestTcpServer::serving("one\n").unwrap();
        let mut first = TcpStream::connect(server.addr()).unwrap();
        first.read_exact(&mut [0; 4]).unwrap();
        drop(first);
        let mut second = TcpStream::connect(server.addr()).unwrap();
        server.wait_connections(2);
        server.send("two\n");
        let mut text = [0; 4];
        second.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"two\n");
        server.wait_sent(8);
        assert_eq!(server.sent(), [4, 4]);
    }

    #[test]
    fn dropping_a_server_ends_a_client_that_does_not_read() {
        let server = TestTcpServer::serving(vec![b'x'; 64 << 20]).unwrap();
        let client = TcpStream::connect(server.addr()).unwrap();
        server.wait_sent(1);
        drop(server);
        drop(client);
    }
}
