//! Blocks of records from another program, stored as they come.

mod sender;
mod wire;

use std::io::BufReader;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

pub use sender::RawSender;

use super::connection::{Connection, Connections, Ended, Session};
use super::socket::SocketOptions;
use crate::conf::defaults;
use crate::dstream::DStream;
use crate::engine::Site;
use crate::error::BoxError;
use crate::receiver::{Receiver, Store, StoreError, counters, erase};
use crate::{Result, StreamingContext, Wire};
use wire::Problem;

/// Buffer for the heads of blocks, in bytes.
const HEADS: usize = 16 << 10;
/// Pause before a block that couldn't be stored is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// The receiver behind [`raw_socket_stream`](StreamingContext::raw_socket_stream).
struct RawReceiver<T> {
    connections: Connections,
    site: Site,
    t: PhantomData<fn() -> T>,
}

impl<T: Wire> Receiver for RawReceiver<T> {
    type Item = T;

    fn prepare(&mut self) -> Result<()> {
        self.connections.options().check_no_text("raw_socket_stream")?;
        self.connections.prepare()
    }

    fn run(&mut self, out: &mut Store<T>) -> Result<(), BoxError> {
        let limit = self.connections.options().max_record.unwrap_or(defaults::MAX_RAW_BLOCK_BYTES);
        let site = self.site;
        self.connections.run(out, |connection, out| session(connection, limit, site, out))
    }

    fn name(&self) -> String {
        "raw_socket_stream".into()
    }
}

/// Stores the blocks of one connection.
fn session<T: Wire>(
    connection: Connection,
    limit: usize,
    site: Site,
    out: &mut Store<T>,
) -> Result<Session, BoxError> {
    let mut bytes = BufReader::with_capacity(HEADS, connection);
    let mut progress = false;
    let mut read = wire::read_preamble::<T>(&mut bytes).map(|()| None);
    let ended = loop {
        match read {
            Ok(None) => {}
            Ok(Some((block, decode))) => {
                // Waits for room, and the sender with it. What can't be stored is tried again.
                while let Err(e) = out.store_received(Arc::clone(&block), decode) {
                    if matches!(e, StoreError::Stopped) {
                        return Err(e.into());
                    }
                    out.report_error(
                        "a block couldn't be stored and will be tried again",
                        e.clone(),
                    );
                    if !out.sleep(STORE_RETRY) {
                        return Err(e.into());
                    }
                }
                progress = true;
            }
            Err(Problem::End) => break Ended::Closed,
            Err(Problem::Half) => {
                if !out.is_stopped() {
                    out.add_metric(counters::HALF_RECORDS, 1);
                }
                break Ended::Closed;
            }
            Err(Problem::Lost(e)) => break Ended::Lost(e),
            Err(Problem::Refused(why)) => {
                break Ended::Refused {
                    counter: counters::REFUSED_BLOCKS,
                    text: format!("{site} refuses what it gets; the connection is made again"),
                    cause: why.into(),
                };
            }
        }
        if out.is_stopped() {
            break Ended::Closed;
        }
        read = wire::read_block::<T>(&mut bytes, limit).map(Some);
    };
    Ok(Session { progress, ended })
}

impl StreamingContext {
    /// Blocks of records from a [`RawSender`] in another program: the fastest way in. A block is stored as
    /// it comes, without a look at its records; the tasks decode them. A block is one partition.
    ///
    /// `T` must have the same name and the same serde form in both programs; the name is compared when the
    /// connection is made. Each block has a checksum: a damaged one, one above
    /// [`SocketOptions::max_record_bytes`] and a peer that doesn't send blocks at all are refused, counted
    /// (`refused_blocks`) and reported, and the connection is made again. Bytes with a good checksum that
    /// don't decode as `T` fail the task that reads them, with an error that names this stream. A block
    /// that the end of a connection cuts off counts as `half_records`; its sender sends it again.
    ///
    /// There is no rate limit; at the receiver's memory limit the sender waits. Blocks that the system had
    /// under way when a connection breaks are lost.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::source::RawSender;
    /// use brooklet_testkit::Collector;
    /// let mut sender = RawSender::<(u32, String)>::bind("127.0.0.1", 0)?;
    /// let ssc = StreamingContext::new(Conf::new("doc").master("local[2]"), millis(20))?;
    /// let pairs = ssc.raw_socket_stream::<(u32, String)>("127.0.0.1", sender.local_addr().port());
    /// let seen = Collector::new();
    /// let s = seen.clone();
    /// pairs.foreach_rdd(move |rdd, t| {
    ///     s.push(t, rdd.collect()?);
    ///     Ok::<_, Error>(())
    /// });
    /// ssc.start()?;
    /// sender.send([(1, "one".to_string()), (2, "two".to_string())])?;
    /// seen.wait_until(|_, n| n >= 2);
    /// ssc.stop(true)?;
    /// assert_eq!(seen.items(), [(1, "one".to_string()), (2, "two".to_string())]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn raw_socket_stream<T: Wire>(&self, host: &str, port: u16) -> DStream<T> {
        self.raw_socket_stream_with(SocketOptions::new(host, port))
    }

    /// [`StreamingContext::raw_socket_stream`] with options: TLS, storage level, longest block.
    #[track_caller]
    pub fn raw_socket_stream_with<T: Wire>(&self, options: SocketOptions) -> DStream<T> {
        let (site, level) = (Site::here("raw_socket_stream"), options.level);
        let connections = Connections::new(options);
        self.receiver_at(site, erase(RawReceiver::<T> { connections, site, t: PhantomData }), level)
    }
}
