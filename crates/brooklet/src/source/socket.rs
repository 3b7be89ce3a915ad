//! Text from a TCP server, over a connection that is made again when it is lost.

use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use crate::conf::defaults;
use crate::error::BoxError;
use crate::receiver::{Receiver, Store, counters};
use crate::sync::{LockExt, Mutex};
use crate::{Error, Str};

/// The receiver behind [`socket_text_stream`](crate::StreamingContext::socket_text_stream): a client that
/// reads lines.
///
/// Whenever the server can't be reached or ends the connection, it tries again: after
/// [`defaults::RECONNECT_DELAY`] at first, then twice as long each time up to
/// [`defaults::RECONNECT_MAX_DELAY`]; data resets the pause. The first failure of a series is reported as a
/// receiver error, further ones only counted (`connect_failures`).
#[derive(Clone, Debug)]
pub struct SocketReceiver {
    host: String,
    port: u16,
}

impl SocketReceiver {
    /// A receiver that connects to `host:port`.
    pub fn new(host: impl Into<String>, port: u16) -> SocketReceiver {
        SocketReceiver { host: host.into(), port }
    }

    fn connect(&self) -> Result<TcpStream, Error> {
        let what = || format!("connecting to {}:{}", self.host, self.port);
        let addresses = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|e| Error::io(format!("looking up the host `{}`", self.host), e))?;
        let mut last = None;
        for a in addresses {
            match TcpStream::connect_timeout(&a, defaults::CONNECT_TIMEOUT) {
                Ok(s) => return Ok(s),
                Err(e) => last = Some(e),
            }
        }
        let none = || std::io::Error::other("the host has no address");
        Err(Error::io(what(), last.unwrap_or_else(none)))
    }
}

impl Receiver for SocketReceiver {
    type Item = Str;

    fn run(&mut self, out: &mut Store<Str>) -> Result<(), BoxError> {
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
        let mut reported = false;
        while !out.is_stopped() {
            match self.connect() {
                Ok(mut socket) => {
                    if connected_before {
                        out.add_metric(counters::RECONNECTS, 1);
                    }
                    connected_before = true;
                    *current.get() = socket.try_clone().ok();
                    if out.is_stopped() {
                        break; // the stop came before the connection was known to the hook
                    }
                    let had_data = read_lines(&mut socket, out, &mut reported);
                    *current.get() = None;
                    if had_data? {
                        (pause, reported) = (defaults::RECONNECT_DELAY, false);
                    }
                }
                Err(e) => {
                    out.add_metric("connect_failures", 1);
                    if !std::mem::replace(&mut reported, true) {
                        out.report_error("no connection, trying again", e);
                    }
                }
            }
            if !out.sleep(pause) {
                break;
            }
            pause = next_pause(pause);
        }
        Ok(())
    }

    fn name(&self) -> String {
        "socket_text_stream".into()
    }
}

fn next_pause(pause: Duration) -> Duration {
    (pause * 2).min(defaults::RECONNECT_MAX_DELAY)
}

/// Reads until the connection ends. Whether anything came.
fn read_lines(
    socket: &mut TcpStream,
    out: &mut Store<Str>,
    reported: &mut bool,
) -> Result<bool, BoxError> {
    let mut any = false;
    loop {
        match out.read_from(socket) {
            Ok(0) => break,
            Ok(_) => any = true,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => {
                if !out.is_stopped() && !std::mem::replace(reported, true) {
                    out.report_error("the connection is lost, making it again", e);
                }
                break;
            }
        }
    }
    out.end_of_stream()?;
    Ok(any)
}
