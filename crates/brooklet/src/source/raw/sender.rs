//! The other end of a raw socket stream.

use std::fmt;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use super::wire;
use crate::conf::defaults;
use crate::receiver::block_of;
use crate::{Error, Result, Wire};

/// Sends blocks of records to a [`raw_socket_stream`](crate::StreamingContext::raw_socket_stream), from any
/// program. It is the server: the stream connects to it, one at a time; when it is gone, the next that
/// connects gets the next blocks.
///
/// `T` must have the same name and the same serde form as in the program of the stream. Text is best sent as
/// [`Str`](crate::Str), which travels as plain lines.
///
/// ```
/// use brooklet::source::RawSender;
/// use std::io::Read;
/// let mut sender = RawSender::<u64>::bind("127.0.0.1", 0)?;
/// let mut receiver = std::net::TcpStream::connect(sender.local_addr())?;
/// sender.send([1, 2, 3])?;
/// drop(sender);
/// let mut bytes = Vec::new();
/// receiver.read_to_end(&mut bytes)?;
/// assert!(bytes.starts_with(b"BRKLRAW"));
/// # Ok::<(), brooklet::Error>(())
/// ```
pub struct RawSender<T> {
    listener: TcpListener,
    addr: SocketAddr,
    receiver: Option<TcpStream>,
    t: PhantomData<fn(T)>,
}

impl<T: Wire> RawSender<T> {
    /// Opens `host:port` for the receiver to connect to; port 0 is a free one.
    ///
    /// # Errors
    /// [`Error::Io`] that names the address, such as when the port is taken.
    pub fn bind(host: &str, port: u16) -> Result<RawSender<T>> {
        let failed = |e| Error::io(format!("opening {host}:{port} for a `RawSender`"), e);
        let listener = TcpListener::bind((host, port)).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(RawSender { listener, addr, receiver: None, t: PhantomData })
    }

    /// The address that a receiver connects to.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until a receiver is connected. Returns its address.
    ///
    /// # Errors
    /// [`Error::Io`] when the system gives no connection.
    pub fn wait_for_receiver(&mut self) -> Result<SocketAddr> {
        loop {
            if let Some(receiver) = self.receiver.take_if(|r| !is_gone(r))
                && let Ok(addr) = receiver.peer_addr()
            {
                self.receiver = Some(receiver);
                return Ok(addr);
            }
            let failed = |e| Error::io(format!("waiting for a receiver at {}", self.addr), e);
            let (mut receiver, _) = self.listener.accept().map_err(failed)?;
            // A receiver that leaves at once makes room for the next.
            let greeted = receiver
                .set_nodelay(true)
                .and_then(|()| receiver.write_all(&wire::preamble::<T>()));
            self.receiver = greeted.is_ok().then_some(receiver);
        }
    }

    /// Sends these records as one block. Waits for a receiver when none is connected, and while the
    /// receiver has no room. A block that a receiver didn't get whole goes to the next one.
    ///
    /// `Ok`: the system has taken the block; it is lost if the connection breaks before it arrives. No
    /// records are no block.
    ///
    /// # Errors
    /// [`Error::Usage`] for a block above [`defaults::MAX_RAW_BLOCK_BYTES`], the receiver's default
    /// (see [`RawSender::send_large`]); [`Error::Io`] when the system gives no connection. The block isn't
    /// sent.
    pub fn send(&mut self, records: impl IntoIterator<Item = T>) -> Result<()> {
        self.send_within(records, defaults::MAX_RAW_BLOCK_BYTES)
    }

    /// [`RawSender::send`] for blocks of up to 4 GiB, when the receiver's
    /// [`SocketOptions::max_record_bytes`](super::super::SocketOptions::max_record_bytes) allows them.
    ///
    /// # Errors
    /// As [`RawSender::send`].
    pub fn send_large(&mut self, records: impl IntoIterator<Item = T>) -> Result<()> {
        self.send_within(records, u32::MAX as usize)
    }

    fn send_within(&mut self, records: impl IntoIterator<Item = T>, limit: usize) -> Result<()> {
        let records: Vec<T> = records.into_iter().collect();
        if records.is_empty() {
            return Ok(());
        }
        let (head, payload) = wire::frame(&block_of(records).0)?;
        if payload.len() >= limit {
            return Err(Error::usage(format!(
                "a block of {} bytes is above the {limit} that receivers take: send fewer records at once",
                payload.len()
            )));
        }
        loop {
            self.wait_for_receiver()?;
            let Some(receiver) = &mut self.receiver else { continue };
            let sent = receiver.write_all(&head).and_then(|()| receiver.write_all(&payload));
            match sent {
                Ok(()) => return Ok(()),
                Err(e) => {
                    tracing::warn!(address = %self.addr, error = %e, "a receiver is gone");
                    self.receiver = None;
                }
            }
        }
    }

    /// Ends the connection and waits until the receiver has read all that was sent and closes its side.
    ///
    /// # Errors
    /// [`Error::Io`] when the connection breaks before.
    pub fn finish(mut self) -> Result<()> {
        let Some(mut receiver) = self.receiver.take() else {
            return Ok(());
        };
        let end = receiver.shutdown(Shutdown::Write).and_then(|()| receiver.read(&mut [0]));
        match end {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::io(format!("ending the connection at {}", self.addr), e)),
        }
    }
}

/// Whether a receiver, which never sends anything, has closed the connection.
fn is_gone(receiver: &TcpStream) -> bool {
    let peeked = receiver.set_nonblocking(true).and_then(|()| receiver.peek(&mut [0]));
    let blocking = receiver.set_nonblocking(false);
    blocking.is_err() || !matches!(peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}

impl<T> fmt::Debug for RawSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSender")
            .field("addr", &self.addr)
            .field("receiver", &self.receiver)
            .finish_non_exhaustive()
    }
}
