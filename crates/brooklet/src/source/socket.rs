//! Text from a TCP server, over a connection that is made again when it is lost.

use std::fmt;
use std::io::Read;

use super::charset::{Charset, DecodingReader};
use super::connection::{Connection, Connections, Ended, Session};
use super::tls::TlsOptions;
use crate::block::StorageLevel;
use crate::dstream::DStream;
use crate::engine::Site;
use crate::error::BoxError;
use crate::receiver::{HalfLines, Receiver, Store, counters, erase};
use crate::{Error, Result, Str, StreamingContext};

/// Where a socket stream connects to, and how: for
/// [`socket_text_stream_with`](StreamingContext::socket_text_stream_with),
/// [`socket_stream_with`](StreamingContext::socket_stream_with) and
/// [`raw_socket_stream_with`](StreamingContext::raw_socket_stream_with).
///
/// ```
/// use brooklet::StorageLevel;
/// use brooklet::source::{SocketOptions, TlsOptions};
/// let options = SocketOptions::new("logs.example.com", 6514)
///     .tls(TlsOptions::new())
///     .storage_level(StorageLevel::MEMORY_ONLY)
///     .max_record_bytes(64 << 10);
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing by themselves"]
pub struct SocketOptions {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) level: StorageLevel,
    pub(super) max_record: Option<usize>,
    pub(super) half_lines: Option<HalfLines>,
    pub(super) tls: Option<TlsOptions>,
    pub(super) charset: Option<String>,
}

impl SocketOptions {
    /// Connects to `host:port`, without TLS; the rest at its default.
    pub fn new(host: impl Into<String>, port: u16) -> SocketOptions {
        SocketOptions {
            host: host.into(),
            port,
            level: StorageLevel::MEMORY_AND_DISK_SER,
            max_record: None,
            half_lines: None,
            tls: None,
            charset: None,
        }
    }

    /// Where received blocks are kept. Default: `MEMORY_AND_DISK_SER`.
    pub fn storage_level(mut self, level: StorageLevel) -> SocketOptions {
        self.level = level;
        self
    }

    /// The longest record, in bytes as they come.
    ///
    /// | stream | default | what is longer |
    /// |---|---|---|
    /// | text | [`Conf::max_line_bytes`](crate::Conf::max_line_bytes), without the line's end | is cut there; counted as `long_lines` |
    /// | converter | [`defaults::MAX_RECORD_BYTES`](crate::defaults::MAX_RECORD_BYTES), with its framing | ends the connection; counted as `decode_errors`, reported |
    /// | raw | [`defaults::MAX_RAW_BLOCK_BYTES`](crate::defaults::MAX_RAW_BLOCK_BYTES), a whole block | ends the connection; counted as `refused_blocks`, reported |
    pub fn max_record_bytes(mut self, bytes: usize) -> SocketOptions {
        self.max_record = Some(bytes.max(1));
        self
    }

    /// What becomes of a half line at the end of a connection. For text streams only. Default:
    /// [`HalfLines::Keep`].
    pub fn half_lines(mut self, policy: HalfLines) -> SocketOptions {
        self.half_lines = Some(policy);
        self
    }

    /// Connects by TLS. Needs a build with the feature `tls`; without it the start of the context says so.
    pub fn tls(mut self, tls: TlsOptions) -> SocketOptions {
        self.tls = Some(tls);
        self
    }

    /// The character set of the text, by the names of [`Charset::named`]; for text streams only. Malformed
    /// sequences become U+FFFD and are counted (`invalid_utf8`). A name that nobody knows ends the start of
    /// the context. Default: UTF-8.
    pub fn charset(mut self, name: impl Into<String>) -> SocketOptions {
        self.charset = Some(name.into());
        self
    }

    fn decoded(&self) -> Result<Option<Charset>> {
        let charset = self.charset.as_deref().map(Charset::named).transpose()?;
        Ok(charset.filter(|c| !c.is_utf8()))
    }

    /// Refuses what only text streams take.
    pub(super) fn check_no_text(&self, stream: &str) -> Result<()> {
        let option = match (self.half_lines, &self.charset) {
            (None, None) => return Ok(()),
            (Some(_), _) => "half_lines",
            (None, Some(_)) => "charset",
        };
        Err(Error::Config {
            key: format!("SocketOptions::{option}"),
            problem: format!("`{stream}` has no lines; only text streams take this option"),
        })
    }
}

impl fmt::Display for SocketOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The receiver behind [`socket_text_stream`](crate::StreamingContext::socket_text_stream): a client that
/// reads lines.
///
/// Whenever the server can't be reached or ends the connection, it tries again: after
/// [`defaults::RECONNECT_DELAY`](crate::defaults::RECONNECT_DELAY) at first, then twice as long each time up
/// to [`defaults::RECONNECT_MAX_DELAY`](crate::defaults::RECONNECT_MAX_DELAY); data resets the pause. The
/// first failure of a series is reported as a receiver error, further ones only counted
/// (`connect_failures`).
#[derive(Clone, Debug)]
pub struct SocketReceiver {
    connections: Connections,
}

impl SocketReceiver {
    /// A receiver that connects to `host:port`.
    pub fn new(host: impl Into<String>, port: u16) -> SocketReceiver {
        SocketReceiver::with_options(SocketOptions::new(host, port))
    }

    /// A receiver with these options; the storage level is the stream's.
    pub fn with_options(options: SocketOptions) -> SocketReceiver {
        SocketReceiver { connections: Connections::new(options) }
    }
}

impl Receiver for SocketReceiver {
    type Item = Str;

    fn prepare(&mut self) -> Result<()> {
        self.connections.options().decoded()?;
        self.connections.prepare()
    }

    fn run(&mut self, out: &mut Store<Str>) -> Result<(), BoxError> {
        let options = self.connections.options();
        if let Some(bytes) = options.max_record {
            out.set_max_line_bytes(bytes);
        }
        out.set_half_lines(options.half_lines.unwrap_or_default());
        let charset = options.decoded()?;
        self.connections.run(out, move |connection, out| match charset {
            None => read_lines(connection, out),
            Some(charset) => read_decoded(DecodingReader::new(connection, charset), out),
        })
    }

    fn name(&self) -> String {
        "socket_text_stream".into()
    }
}

/// Reads until the connection ends.
fn read_lines(mut connection: Connection, out: &mut Store<Str>) -> Result<Session, BoxError> {
    read_all(&mut connection, out, |_, _| {})
}

/// Reads text of another character set until the connection ends.
fn read_decoded(
    mut text: DecodingReader<Connection>,
    out: &mut Store<Str>,
) -> Result<Session, BoxError> {
    let mut known = 0;
    read_all(&mut text, out, |text, out| {
        let malformed = text.malformed();
        out.add_metric(counters::INVALID_UTF8, malformed - known);
        known = malformed;
    })
}

fn read_all<R: Read>(
    from: &mut R,
    out: &mut Store<Str>,
    mut after: impl FnMut(&R, &mut Store<Str>),
) -> Result<Session, BoxError> {
    let mut progress = false;
    let ended = loop {
        match out.read_from(from) {
            Ok(0) => break Ended::Closed,
            Ok(_) => progress = true,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => break Ended::Lost(e),
        }
        after(from, out);
    };
    after(from, out);
    out.end_of_stream()?;
    Ok(Session { progress, ended })
}

impl StreamingContext {
    /// [`StreamingContext::socket_text_stream`] with options: TLS, storage level, longest line.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::source::SocketOptions;
    /// use brooklet_testkit::{Collector, TestTcpServer};
    /// let server = TestTcpServer::serving("a long line\nshort\n")?;
    /// let ssc = StreamingContext::new(Conf::new("doc").master("local[2]"), millis(20))?;
    /// let options = SocketOptions::new("127.0.0.1", server.port()).max_record_bytes(6);
    /// let seen = Collector::new();
    /// let s = seen.clone();
    /// ssc.socket_text_stream_with(options).map(|l| l.to_string()).foreach_rdd(move |rdd, t| {
    ///     s.push(t, rdd.collect()?);
    ///     Ok::<_, Error>(())
    /// });
    /// ssc.start()?;
    /// seen.wait_until(|_, n| n >= 3);
    /// ssc.stop(true)?;
    /// assert_eq!(seen.items(), ["a long", " line", "short"]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn socket_text_stream_with(&self, options: SocketOptions) -> DStream<Str> {
        let (site, level) = (Site::here("socket_text_stream"), options.level);
        self.receiver_at(site, erase(SocketReceiver::with_options(options)), level)
    }
}
