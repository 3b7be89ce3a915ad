//! The connections of one address.

use std::convert::Infallible;
use std::fmt;
use std::net::{SocketAddr, TcpListener as Listener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::routes::Routes;
use super::socket::Socket;
use crate::conf::defaults;
use crate::sync::{Condvar, LockExt, Mutex};
use crate::{Error, Result};

/// What a client gets when there are too many already.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\
    connection: close\r\n\r\n";
/// Pause after a connection couldn't be accepted (no file handle free, as a rule).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server at one address. Dropping it closes it without waiting.
pub(super) struct Server {
    local: SocketAddr,
    stop: watch::Sender<bool>,
    over: Arc<Over>,
    task: AbortHandle,
}

/// Whether a server's task, and with it all of its connections, has ended.
#[derive(Default)]
struct Over(Mutex<bool>, Condvar);

/// Tells at the task's end, also when it is aborted.
struct TellOver(Arc<Over>);

impl Drop for TellOver {
    fn drop(&mut self) {
        *self.0.0.get() = true;
        self.0.1.notify_all();
    }
}

impl Server {
    /// Serves `routes` on a listening socket.
    pub(super) fn start(io: &Handle, listener: Listener, routes: Arc<Routes>) -> Result<Server> {
        let listening = || {
            let local = listener.local_addr()?;
            let _runtime = io.enter();
            Ok((local, TcpListener::from_std(listener)?))
        };
        let (local, listener) = listening()
            .map_err(|e| Error::io("giving a listening socket to the I/O runtime", e))?;
        let (stop, stopped) = watch::channel(false);
        let over = Arc::<Over>::default();
        let tell = TellOver(over.clone());
        let task = io.spawn(async move {
            let _tell = tell;
            accept(listener, routes, stopped).await;
        });
        Ok(Server { local, stop, over, task: task.abort_handle() })
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Takes no more requests; those that are being answered go on.
    pub(super) fn close(&self) {
        let _ = self.stop.send(true);
    }

    /// Waits for the last answers, and gives those up that take too long.
    pub(super) fn wait_closed(&self, limit: Duration) {
        let over = self.over.0.get();
        let waited = self.over.1.wait_timeout_while(over, limit, |over| !*over);
        if waited.is_ok_and(|(_, out)| out.timed_out()) {
            tracing::warn!(address = %self.local, "HTTP clients didn't take their answers in time");
            self.task.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, routes: Arc<Routes>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < defaults::HTTP_MAX_CONNECTIONS => {
                    connections.spawn(serve(stream, routes.clone(), stop.clone()));
                }
                Ok((stream, _)) => {
                    routes.count_refused();
                    let _ = stream.try_write(FULL);
                }
                Err(e) => {
                    tracing::warn!("an HTTP connection can't be accepted: {e}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Ready when the server closes, or is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// One connection, to its end.
async fn serve(stream: TcpStream, routes: Arc<Routes>, mut stop: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| {
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(defaults::HTTP_HEAD_TIMEOUT)
        .max_buf_size(defaults::HTTP_HEAD_BYTES)
        .serve_connection(TokioIo::new(Socket::new(stream)), answer);
    let mut connection = pin!(connection);
    // How a client ends its connection is its own affair: errors are only of interest to who looks for them.
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!("an HTTP connection ended: {e}");
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.local)
    }
}
