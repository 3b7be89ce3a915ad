//! Connections to a TCP server, one after the other: what all socket streams have in common.
//!
//! ```text
//! connect ─► (TLS) ─► session: read until it ends ─► pause ─► connect ..
//!    └─ fails ──────────────────────────────────────────┘  100 ms, doubled up to 5 s
//! ```
//! A session that gave records ends the doubling, unless the converter refused what came. The first
//! failure of a kind in a series is reported as a receiver error, further ones are only counted.

use std::fmt;
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;

use super::SocketOptions;
use super::tls::Client;
use crate::conf::defaults;
use crate::error::BoxError;
use crate::receiver::{Store, counters};
use crate::sync::{LockExt, Mutex};
use crate::{Error, Result, Wire};

/// The reading end of a connection.
pub(super) type Connection = Box<dyn Read + Send>;

/// Why a session is over.
pub(super) enum Ended {
    /// The server closed the connection, or the receiver is to stop.
    Closed,
    /// The connection broke.
    Lost(io::Error),
    /// What came can't be used: counted under a name of [`counters`], and reported.
    Refused { counter: &'static str, text: String, cause: BoxError },
}

/// What became of a connection.
pub(super) struct Session {
    /// Whether it gave anything.
    pub(super) progress: bool,
    pub(super) ended: Ended,
}

/// Kinds of failures; a series of one kind is reported once.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    Connect,
    Lost,
    Refused,
}

/// Makes connections, over and over.
#[derive(Clone)]
pub(super) struct Connections {
    options: SocketOptions,
    tls: Option<Client>,
}

impl Connections {
    pub(super) fn new(options: SocketOptions) -> Connections {
        Connections { options, tls: None }
    }

    pub(super) fn options(&self) -> &SocketOptions {
        &self.options
    }

    /// Reads certificates and checks settings.
    pub(super) fn prepare(&mut self) -> Result<()> {
        if let (Some(tls), None) = (&self.options.tls, &self.tls) {
            self.tls = Some(Client::new(tls, &self.options.host)?);
        }
        Ok(())
    }

    /// Gives one connection after the other to `session` until the receiver is to stop. A stop ends
    /// whatever reads from a connection.
    pub(super) fn run<T: Wire>(
        &mut self,
        out: &mut Store<T>,
        mut session: impl FnMut(Connection, &mut Store<T>) -> Result<Session, BoxError>,
    ) -> Result<(), BoxError> {
        self.prepare()?;
        // A stop shuts the current connection down, which ends a read that waits.
        let current: Arc<Mutex<Option<TcpStream>>> = Arc::default();
        let hook = current.clone();
        out.on_stop(move || {
            if let Some(s) = &*hook.get() {
                let _ = s.shutdown(Shutdown::Both);
            }
        });
        let mut pause = defaults::RECONNECT_DELAY;
        let mut connected_before = false;
        let mut reported = None;
        while !out.is_stopped() {
            match self.open(&current, out) {
                Ok(connection) => {
                    if connected_before {
                        out.add_metric(counters::RECONNECTS, 1);
                    }
                    connected_before = true;
                    let over = session(connection, out);
                    *current.get() = None;
                    let Session { progress, ended } = over?;
                    let refused = matches!(ended, Ended::Refused { .. });
                    tell(ended, out, &mut reported);
                    if progress && !refused {
                        (pause, reported) = (defaults::RECONNECT_DELAY, None);
                    }
                }
                Err(e) => {
                    *current.get() = None;
                    if out.is_stopped() {
                        break;
                    }
                    out.add_metric(counters::CONNECT_FAILURES, 1);
                    report(Trouble::Connect, &mut reported, out, "no connection, trying again", e);
                }
            }
            if !out.sleep(pause) {
                break;
            }
            pause = (pause * 2).min(defaults::RECONNECT_MAX_DELAY);
        }
        Ok(())
    }

    /// A connection, known to `current` as soon as anything may wait for the server.
    fn open<T: Wire>(
        &self,
        current: &Mutex<Option<TcpStream>>,
        out: &Store<T>,
    ) -> Result<Connection> {
        let socket = self.connect()?;
        let failed = |e| Error::io(format!("setting up the connection to {}", self.options), e);
        *current.get() = Some(socket.try_clone().map_err(failed)?);
        if out.is_stopped() {
            let _ = socket.shutdown(Shutdown::Both); // the hook came too early to know it
        }
        let alive = socket2::TcpKeepalive::new().with_time(defaults::SOCKET_KEEPALIVE);
        socket2::SockRef::from(&socket).set_tcp_keepalive(&alive).map_err(failed)?;
        match &self.tls {
            None => Ok(Box::new(socket)),
            Some(tls) => tls
                .connect(socket)
                .map_err(|e| Error::io(format!("making a TLS connection to {}", self.options), e)),
        }
    }

    fn connect(&self) -> Result<TcpStream> {
        let SocketOptions { host, port, .. } = &self.options;
        let addresses = (host.as_str(), *port)
            .to_socket_addrs()
            .map_err(|e| Error::io(format!("looking up the host `{host}`"), e))?;
        let mut last = io::Error::other("the host has no address");
        for a in addresses {
            match TcpStream::connect_timeout(&a, defaults::CONNECT_TIMEOUT) {
                Ok(s) => return Ok(s),
                Err(e) => last = e,
            }
        }
        Err(Error::io(format!("connecting to {}", self.options), last))
    }
}

/// Counts and reports how a session ended.
fn tell<T: Wire>(ended: Ended, out: &Store<T>, reported: &mut Option<Trouble>) {
    match ended {
        Ended::Closed => {}
        Ended::Lost(_) if out.is_stopped() => {}
        Ended::Lost(e) => {
            report(Trouble::Lost, reported, out, "the connection is lost, making it again", e);
        }
        Ended::Refused { counter, text, cause } => {
            out.add_metric(counter, 1);
            report(Trouble::Refused, reported, out, text, cause);
        }
    }
}

fn report<T: Wire>(
    kind: Trouble,
    reported: &mut Option<Trouble>,
    out: &Store<T>,
    text: impl Into<String>,
    cause: impl Into<BoxError>,
) {
    if reported.replace(kind) != Some(kind) {
        out.report_error(text, cause);
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").field(&self.options).finish()
    }
}
