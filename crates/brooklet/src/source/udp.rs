//! Datagrams.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::block::StorageLevel;
use crate::conf::defaults;
use crate::dstream::DStream;
use crate::engine::{Site, panic_text};
use crate::error::BoxError;
use crate::receiver::{Receiver, Store, counters, erase};
use crate::sync::{LockExt, Mutex};
use crate::{Error, Result, Str, StreamingContext, Wire};

/// After how many datagrams without a pause the system is asked for lost ones.
const LOST_EACH: u32 = 4_096;

/// Where a UDP stream listens, and how: for
/// [`udp_text_stream_with`](StreamingContext::udp_text_stream_with) and
/// [`udp_stream_with`](StreamingContext::udp_stream_with).
///
/// ```
/// use brooklet::source::UdpOptions;
/// let options = UdpOptions::new("0.0.0.0:5140").receive_buffer_bytes(16 << 20);
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing by themselves"]
pub struct UdpOptions {
    at: Address,
    level: StorageLevel,
    receive_buffer: Option<usize>,
    max_datagram: usize,
}

#[derive(Clone, Debug)]
enum Address {
    Text(String),
    Socket(Arc<UdpSocket>),
}

impl UdpOptions {
    /// Listens at `address`, as `host:port`. The port is taken when the context starts.
    pub fn new(address: impl Into<String>) -> UdpOptions {
        UdpOptions {
            at: Address::Text(address.into()),
            level: StorageLevel::MEMORY_AND_DISK_SER,
            receive_buffer: None,
            max_datagram: defaults::MAX_DATAGRAM_BYTES,
        }
    }

    /// Listens at a socket that is bound already, such as one with a port that the system chose or one that
    /// has joined a multicast group.
    pub fn from_socket(socket: UdpSocket) -> UdpOptions {
        UdpOptions { at: Address::Socket(Arc::new(socket)), ..UdpOptions::new("") }
    }

    /// Where received blocks are kept. Default: `MEMORY_AND_DISK_SER`.
    pub fn storage_level(mut self, level: StorageLevel) -> UdpOptions {
        self.level = level;
        self
    }

    /// The buffer, in bytes, in which the system keeps datagrams that aren't read yet. Default: 4 MiB. The
    /// system may give less (on Linux at most `net.core.rmem_max`); a warning tells if it does although this
    /// was set.
    pub fn receive_buffer_bytes(mut self, bytes: usize) -> UdpOptions {
        self.receive_buffer = Some(bytes);
        self
    }

    /// The longest datagram, in bytes. Longer ones are cut there by text streams and dropped by others, and
    /// counted as `long_datagrams`. Default: 65,535, which is the most that IP carries.
    pub fn max_datagram_bytes(mut self, bytes: usize) -> UdpOptions {
        self.max_datagram = bytes.clamp(1, defaults::MAX_DATAGRAM_BYTES);
        self
    }

    fn bind(&self) -> Result<UdpSocket> {
        let socket = match &self.at {
            Address::Socket(socket) => {
                socket.try_clone().map_err(|e| Error::io("taking the given UDP socket", e))?
            }
            Address::Text(address) => {
                let failed = |e| Error::io(format!("listening at UDP address `{address}`"), e);
                let mut last = io::Error::other("the host has no address");
                let mut all = address.to_socket_addrs().map_err(failed)?;
                let bound = all.find_map(|a| UdpSocket::bind(a).map_err(|e| last = e).ok());
                bound.ok_or_else(|| failed(last))?
            }
        };
        let failed = |e| Error::io("setting up a UDP socket", e);
        let options = socket2::SockRef::from(&socket);
        let wanted = self.receive_buffer.unwrap_or(defaults::UDP_RECEIVE_BUFFER_BYTES);
        options.set_recv_buffer_size(wanted).map_err(failed)?;
        let given = options.recv_buffer_size().map_err(failed)?;
        if self.receive_buffer.is_some() && given < wanted {
            tracing::warn!(
                wanted,
                given,
                "the system gives a UDP stream a smaller receive buffer; on Linux raise \
                 `sysctl net.core.rmem_max`"
            );
        }
        socket.set_nonblocking(false).map_err(failed)?;
        socket.set_read_timeout(Some(defaults::UDP_LOST_INTERVAL)).map_err(failed)?;
        Ok(socket)
    }
}

/// What a stream makes of a datagram.
trait Take: Send + 'static {
    type Item: Wire;
    const NAME: &'static str;

    /// Stores the records of the first `len` bytes; there is room for one more. `long`: it was longer.
    fn take(
        &mut self,
        datagram: &mut [u8],
        len: usize,
        long: bool,
        from: SocketAddr,
        out: &mut Store<Self::Item>,
    ) -> Result<(), BoxError>;
}

/// The receiver behind both kinds of UDP streams.
struct UdpReceiver<K> {
    options: UdpOptions,
    socket: Option<(UdpSocket, Lost)>,
    take: K,
}

impl<K: Take> Receiver for UdpReceiver<K> {
    type Item = K::Item;

    fn prepare(&mut self) -> Result<()> {
        if self.socket.is_none() {
            let socket = self.options.bind()?;
            let lost = Lost { inode: inode(&socket), seen: 0 };
            self.socket = Some((socket, lost));
        }
        Ok(())
    }

    fn run(&mut self, out: &mut Store<K::Item>) -> Result<(), BoxError> {
        self.prepare()?;
        let Some((socket, lost)) = &mut self.socket else { return Ok(()) };
        let here = socket.local_addr()?;
        let waker = Waker::new(here);
        let (sent, port) = (waker.sent.clone(), waker.port());
        out.on_stop(move || waker.wake());
        let mut inbox = Inbox {
            buffer: vec![0; self.options.max_datagram + 1],
            max: self.options.max_datagram,
            lost,
            since: 0,
            waker: port,
            woken: false,
        };
        while !out.is_stopped() {
            match inbox.receive(socket, &mut self.take, out) {
                Ok(_) => {}
                Err(Failed::Store(e)) => return Err(e),
                Err(Failed::Socket(e)) => match e.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => inbox.tell_lost(out, 0),
                    io::ErrorKind::Interrupted => {}
                    _ => {
                        return Err(Error::io(format!("receiving at UDP address {here}"), e).into());
                    }
                },
            }
        }
        // What has arrived before the stop still counts.
        inbox.drain(socket, &mut self.take, out)?;
        let sent = sent.get();
        if *sent {
            drop(sent);
            // The waker's datagram is here by now, or it is one of those that were dropped.
            inbox.drain(socket, &mut self.take, out)?;
            let own = u64::from(!inbox.woken);
            inbox.tell_lost(out, own);
        } else {
            inbox.tell_lost(out, 0);
        }
        Ok(())
    }

    fn name(&self) -> String {
        K::NAME.into()
    }
}

/// Ends a read that waits at an address, by an empty datagram.
struct Waker {
    to: SocketAddr,
    from: Option<UdpSocket>,
    /// Whether it has; locked while it does.
    sent: Arc<Mutex<bool>>,
}

impl Waker {
    fn new(here: SocketAddr) -> Waker {
        let ip = match here.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        // Without it a read ends by its time-out.
        let from = UdpSocket::bind((ip, 0)).ok();
        Waker { to: (ip, here.port()).into(), from, sent: Arc::default() }
    }

    fn port(&self) -> Option<u16> {
        Some(self.from.as_ref()?.local_addr().ok()?.port())
    }

    fn wake(&self) {
        let mut sent = self.sent.get();
        *sent = self.from.as_ref().is_some_and(|s| s.send_to(&[], self.to).is_ok());
    }
}

enum Failed {
    Socket(io::Error),
    Store(BoxError),
}

/// What is read into.
struct Inbox<'a> {
    /// The longest datagram and one byte more.
    buffer: Vec<u8>,
    max: usize,
    lost: &'a mut Lost,
    /// Datagrams since the system was asked for lost ones.
    since: u32,
    /// The port of the waker, and whether it was heard.
    waker: Option<u16>,
    woken: bool,
}

impl Inbox<'_> {
    /// Takes the next datagram. Returns its length.
    fn receive<K: Take>(
        &mut self,
        socket: &UdpSocket,
        take: &mut K,
        out: &mut Store<K::Item>,
    ) -> Result<usize, Failed> {
        let (n, from) = socket.recv_from(&mut self.buffer).map_err(Failed::Socket)?;
        if n == 0 {
            self.woken |= self.waker == Some(from.port());
            return Ok(0); // no records
        }
        out.add_metric(counters::DATAGRAMS, 1);
        let long = n > self.max;
        out.add_metric(counters::LONG_DATAGRAMS, u64::from(long));
        take.take(&mut self.buffer, n.min(self.max), long, from, out).map_err(Failed::Store)?;
        self.since += 1;
        if self.since >= LOST_EACH {
            self.tell_lost(out, 0);
        }
        Ok(n)
    }

    /// Takes what has arrived, up to what the system's buffer can hold.
    fn drain<K: Take>(
        &mut self,
        socket: &UdpSocket,
        take: &mut K,
        out: &mut Store<K::Item>,
    ) -> Result<(), BoxError> {
        socket.set_nonblocking(true)?;
        let mut left = socket2::SockRef::from(socket).recv_buffer_size()?;
        while left > 0 {
            match self.receive(socket, take, out) {
                Ok(n) => left = left.saturating_sub(n.max(1)),
                Err(Failed::Store(e)) => return Err(e),
                Err(Failed::Socket(_)) => break,
            }
        }
        Ok(socket.set_nonblocking(false)?)
    }

    /// Counts what the system has dropped, but for `own` datagrams.
    fn tell_lost<T: Wire>(&mut self, out: &Store<T>, own: u64) {
        self.since = 0;
        out.add_metric(counters::LOST_DATAGRAMS, self.lost.more().saturating_sub(own));
    }
}

/// How many datagrams the system has dropped at a socket; Linux tells in `/proc/net/udp`.
struct Lost {
    inode: Option<String>,
    seen: u64,
}

impl Lost {
    /// Those since the last call.
    fn more(&mut self) -> u64 {
        let Some(inode) = &self.inode else { return 0 };
        let tables = ["/proc/net/udp", "/proc/net/udp6"];
        let all = tables.iter().find_map(|t| drops(&std::fs::read_to_string(t).ok()?, inode));
        let all = all.unwrap_or(self.seen);
        all.saturating_sub(std::mem::replace(&mut self.seen, all))
    }
}

#[cfg(target_os = "linux")]
fn inode(socket: &UdpSocket) -> Option<String> {
    use std::os::fd::AsRawFd;
    let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
    let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    Some(inode.to_owned())
}

#[cfg(not(target_os = "linux"))]
fn inode(_: &UdpSocket) -> Option<String> {
    None
}

/// The last column of the row of a socket.
fn drops(table: &str, inode: &str) -> Option<u64> {
    let row = table.lines().skip(1).find(|row| row.split_whitespace().nth(9) == Some(inode))?;
    row.split_whitespace().last()?.parse().ok()
}

/// The lines of a datagram.
struct TextLines;

impl Take for TextLines {
    type Item = Str;
    const NAME: &'static str = "udp_text_stream";

    fn take(
        &mut self,
        datagram: &mut [u8],
        mut len: usize,
        _: bool,
        _: SocketAddr,
        out: &mut Store<Str>,
    ) -> Result<(), BoxError> {
        // The end of a datagram is the end of its last line.
        if datagram[len - 1] != b'\n' {
            datagram[len] = b'\n';
            len += 1;
        }
        Ok(out.store_bytes(&datagram[..len])?)
    }
}

/// The records that a user's function makes of a datagram.
struct Records<F> {
    convert: F,
    site: Site,
    failures: u64,
}

impl<F, I, T, E> Take for Records<F>
where
    F: Fn(&[u8]) -> Result<I, E> + Send + 'static,
    I: IntoIterator<Item = T>,
    T: Wire,
    E: Into<BoxError>,
{
    type Item = T;
    const NAME: &'static str = "udp_stream";

    fn take(
        &mut self,
        datagram: &mut [u8],
        len: usize,
        long: bool,
        from: SocketAddr,
        out: &mut Store<T>,
    ) -> Result<(), BoxError> {
        if long {
            return Ok(());
        }
        let convert = &self.convert;
        let made = catch_unwind(AssertUnwindSafe(|| {
            convert(&datagram[..len]).map(|items| items.into_iter().collect::<Vec<T>>())
        }));
        let (how, cause): (_, BoxError) = match made {
            Ok(Ok(mut records)) => return Ok(out.store_all(&mut records)?),
            Ok(Err(e)) => ("failed", e.into()),
            Err(p) => ("panicked", panic_text(&*p).into()),
        };
        out.add_metric(counters::DECODE_ERRORS, 1);
        self.failures += 1;
        // A sender of garbage must not flood whoever reads the reports.
        if self.failures.is_power_of_two() {
            let (site, n) = (self.site, self.failures);
            out.report_error(
                format!(
                    "the converter of {site} {how} on a datagram of {len} bytes from {from}, which is \
                     dropped; failures so far: {n} (reported at 1, 2, 4, 8 ..)"
                ),
                cause,
            );
        }
        Ok(())
    }
}

impl<K> fmt::Debug for UdpReceiver<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpReceiver").field("options", &self.options).finish_non_exhaustive()
    }
}

impl StreamingContext {
    /// Lines of text from datagrams that arrive at `address` (`host:port`), as UTF-8: syslog, StatsD and
    /// the like. A datagram has one or several lines; its end is the end of its last line.
    ///
    /// UDP itself may lose, double and reorder datagrams. Those that the system drops because this program
    /// reads too slowly are counted as `lost_datagrams` on Linux (elsewhere the system doesn't tell); the
    /// rate limit makes it read slowly, too. Invalid UTF-8 is replaced, lines above `Conf::max_line_bytes`
    /// are cut; both are counted. A port that is taken is an error of
    /// [`StreamingContext::start`].
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::source::UdpOptions;
    /// use brooklet_testkit::Collector;
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?; // a free port
    /// let address = socket.local_addr()?;
    /// let ssc = StreamingContext::new(Conf::new("doc").master("local[2]"), millis(20))?;
    /// let lines = ssc.udp_text_stream_with(UdpOptions::from_socket(socket));
    /// let seen = Collector::new();
    /// let s = seen.clone();
    /// lines.map(|l| l.to_string()).foreach_rdd(move |rdd, t| {
    ///     s.push(t, rdd.collect()?);
    ///     Ok::<_, Error>(())
    /// });
    /// ssc.start()?;
    /// std::net::UdpSocket::bind("127.0.0.1:0")?.send_to(b"requests:1|c\nerrors:0|c", address)?;
    /// seen.wait_until(|_, n| n >= 2);
    /// ssc.stop(true)?;
    /// assert_eq!(seen.items(), ["requests:1|c", "errors:0|c"]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn udp_text_stream(&self, address: &str) -> DStream<Str> {
        self.udp_text_stream_with(UdpOptions::new(address))
    }

    /// [`StreamingContext::udp_text_stream`] with options.
    #[track_caller]
    pub fn udp_text_stream_with(&self, options: UdpOptions) -> DStream<Str> {
        let (site, level) = (Site::here("udp_text_stream"), options.level);
        self.receiver_at(site, erase(UdpReceiver { options, socket: None, take: TextLines }), level)
    }

    /// Records from datagrams that arrive at `address` (`host:port`); `convert` makes none, one or several
    /// of each.
    ///
    /// Where it fails or panics, the datagram is dropped, counted (`decode_errors`) and, the first few
    /// times, reported. For what else happens to datagrams see
    /// [`StreamingContext::udp_text_stream`].
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::source::UdpOptions;
    /// use brooklet_testkit::Collector;
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?; // a free port
    /// let address = socket.local_addr()?;
    /// let ssc = StreamingContext::new(Conf::new("doc").master("local[2]"), millis(20))?;
    /// // Two bytes each, big-endian.
    /// let readings = ssc.udp_stream_with(UdpOptions::from_socket(socket), |bytes| match bytes {
    ///     [high, low] => Ok([u16::from_be_bytes([*high, *low])]),
    ///     other => Err(format!("{} bytes", other.len())),
    /// });
    /// let seen = Collector::new();
    /// let s = seen.clone();
    /// readings.foreach_rdd(move |rdd, t| {
    ///     s.push(t, rdd.collect()?);
    ///     Ok::<_, Error>(())
    /// });
    /// ssc.start()?;
    /// let sender = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// sender.send_to(b"odd", address)?;
    /// sender.send_to(&[1, 0], address)?;
    /// seen.wait_until(|_, n| n >= 1);
    /// ssc.stop(true)?;
    /// assert_eq!(seen.items(), [256]);
    /// assert_eq!(ssc.counters()["udp_stream-0.decode_errors"], 1);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn udp_stream<T, I, E, F>(&self, address: &str, convert: F) -> DStream<T>
    where
        F: Fn(&[u8]) -> Result<I, E> + Send + 'static,
        I: IntoIterator<Item = T>,
        T: Wire,
        E: Into<BoxError>,
    {
        self.udp_stream_with(UdpOptions::new(address), convert)
    }

    /// [`StreamingContext::udp_stream`] with options.
    #[track_caller]
    pub fn udp_stream_with<T, I, E, F>(&self, options: UdpOptions, convert: F) -> DStream<T>
    where
        F: Fn(&[u8]) -> Result<I, E> + Send + 'static,
        I: IntoIterator<Item = T>,
        T: Wire,
        E: Into<BoxError>,
    {
        let (site, level) = (Site::here("udp_stream"), options.level);
        let take = Records { convert, site, failures: 0 };
        self.receiver_at(site, erase(UdpReceiver { options, socket: None, take }), level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_read_from_the_row_of_the_socket() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
                     1: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 4711 2 0000000000000000 12\n\
                     2: 0100007F:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 4712 2 0000000000000000 0\n";
        assert_eq!(drops(table, "4711"), Some(12));
        assert_eq!(drops(table, "4712"), Some(0));
        assert_eq!(drops(table, "1000"), None);
        assert_eq!(drops("", "1"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_socket_has_a_row() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let inode = inode(&socket).unwrap();
        assert_eq!(drops(&std::fs::read_to_string("/proc/net/udp").unwrap(), &inode), Some(0));
    }
}
