//! Records from a TCP server, by a converter of bytes.

use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::connection::{Connection, Connections, Ended, Session};
use super::decoder::{Decoded, Decoder};
use super::socket::SocketOptions;
use crate::conf::defaults;
use crate::dstream::DStream;
use crate::engine::{Site, panic_text};
use crate::error::BoxError;
use crate::receiver::{Receiver, Store, counters, erase};
use crate::{Result, StreamingContext, Wire};

/// The least free room with which a socket is read.
const READ_BYTES: usize = 64 << 10;
/// Records that are stored at once.
const STORED_AT_ONCE: usize = defaults::CHUNK_RECORDS;

/// What [`socket_stream`](StreamingContext::socket_stream) takes: a [`Decoder`], or a function from a reader
/// to an iterator of records, by [`from_reader`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no converter of bytes to records",
    label = "needs a `Decoder`",
    note = "implement `Decoder`, take a ready one such as `Lines`, or wrap a function from a reader to an iterator of `Result`s: `from_reader(|bytes| ..)`"
)]
pub trait Converter: sealed::Converts + Send + 'static {}

impl<D: Decoder> Converter for D where D::Item: Wire {}
impl<F, I, T, E> Converter for FromReader<F, I>
where
    F: Fn(SocketBytes) -> I + Send + 'static,
    I: IntoIterator<Item = Result<T, E>> + 'static,
    T: Wire,
    E: Into<BoxError>,
{
}

mod sealed {
    use super::*;

    pub trait Converts {
        type Item: Wire;

        /// Stores the records of one connection.
        #[allow(private_interfaces)]
        fn session(
            &self,
            connection: Connection,
            limit: usize,
            site: Site,
            out: &mut Store<Self::Item>,
        ) -> Result<Session, BoxError>;
    }
}

use sealed::Converts;

/// The error of a converter, with its place.
fn refused(site: Site, at: Option<u64>, how: &str, cause: impl Into<BoxError>) -> Ended {
    let at = at.map(|n| format!(" at byte {n} of the connection")).unwrap_or_default();
    Ended::Refused {
        counter: counters::DECODE_ERRORS,
        text: format!("the converter of {site} {how}{at}; the connection is made again"),
        cause: cause.into(),
    }
}

impl<D: Decoder> Converts for D
where
    D::Item: Wire,
{
    type Item = D::Item;

    #[allow(private_interfaces)]
    fn session(
        &self,
        mut connection: Connection,
        limit: usize,
        site: Site,
        out: &mut Store<D::Item>,
    ) -> Result<Session, BoxError> {
        let mut decoding = Decoding::new(self.clone(), limit);
        let mut records = Vec::new();
        let mut progress = false;
        let ended = loop {
            // What came is decoded, then more is read.
            let step = catch_unwind(AssertUnwindSafe(|| decoding.decode(&mut records)));
            progress |= !records.is_empty();
            out.store_all(&mut records)?;
            match step {
                Ok(Ok(Step::Full)) => continue,
                Ok(Ok(Step::Read)) => {}
                Ok(Err(e)) => break refused(site, Some(decoding.at()), "failed", e),
                Err(p) => break refused(site, Some(decoding.at()), "panicked", panic_text(&*p)),
            }
            if out.is_stopped() {
                break Ended::Closed;
            }
            match connection.read(decoding.room()) {
                Ok(0) => break Ended::Closed,
                Ok(n) => decoding.came(n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Ended::Lost(e),
            }
        };
        if matches!(ended, Ended::Refused { .. }) || decoding.rest().is_empty() {
            return Ok(Session { progress, ended });
        }
        let (at, rest) = (decoding.at(), decoding.buffer[decoding.start..decoding.end].to_vec());
        match catch_unwind(AssertUnwindSafe(|| decoding.decoder.end(&rest))) {
            Ok(Ok(Some(record))) => {
                records.push(record);
                out.store_all(&mut records)?;
                Ok(Session { progress: true, ended })
            }
            Ok(Ok(None)) => {
                out.add_metric(counters::HALF_RECORDS, 1);
                Ok(Session { progress, ended })
            }
            Ok(Err(e)) => Ok(Session { progress, ended: refused(site, Some(at), "failed", e) }),
            Err(p) => {
                let ended = refused(site, Some(at), "panicked", panic_text(&*p));
                Ok(Session { progress, ended })
            }
        }
    }
}

/// A decoder and the bytes it hasn't taken. The buffer never holds more than a record of the limit and one
/// read.
struct Decoding<D> {
    decoder: D,
    limit: usize,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes without which the decoder needn't be asked.
    needs: usize,
    /// Bytes taken in all.
    taken: u64,
}

/// What comes next.
enum Step {
    /// The records have to be stored before there are more.
    Full,
    /// More has to be read.
    Read,
}

impl<D: Decoder> Decoding<D> {
    fn new(decoder: D, limit: usize) -> Decoding<D> {
        Decoding { decoder, limit, buffer: Vec::new(), start: 0, end: 0, needs: 1, taken: 0 }
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The place of the next record in the connection.
    fn at(&self) -> u64 {
        self.taken
    }

    fn decode(&mut self, records: &mut Vec<D::Item>) -> Result<Step, BoxError> {
        while self.end - self.start >= self.needs {
            if records.len() >= STORED_AT_ONCE {
                return Ok(Step::Full);
            }
            let bytes = &self.buffer[self.start..self.end];
            let taken = match self.decoder.decode(bytes)? {
                Decoded::Record(record, n) => {
                    self.check(n)?;
                    if n > self.limit {
                        return Err(self.too_long(n));
                    }
                    records.push(record);
                    n
                }
                Decoded::Skip(n) => {
                    self.check(n)?;
                    n
                }
                Decoded::Incomplete if bytes.len() >= self.limit => {
                    return Err(self.too_long(bytes.len()));
                }
                Decoded::Incomplete => {
                    self.needs = bytes.len() + 1;
                    break;
                }
                Decoded::Needs(n) if n > self.limit => return Err(self.too_long(n)),
                Decoded::Needs(n) => {
                    self.needs = n.max(bytes.len() + 1);
                    break;
                }
            };
            self.start += taken;
            self.taken += taken as u64;
            self.needs = 1;
        }
        Ok(Step::Read)
    }

    fn check(&self, taken: usize) -> Result<(), BoxError> {
        let there = self.end - self.start;
        if (1..=there).contains(&taken) {
            return Ok(());
        }
        Err(format!("the decoder says that it took {taken} of {there} bytes; from 1 to all it may")
            .into())
    }

    fn too_long(&self, bytes: usize) -> BoxError {
        let limit = self.limit;
        format!(
            "a record has {bytes} bytes or more, {limit} are allowed (`SocketOptions::max_record_bytes`); \
             is this the right decoder for what the server sends?"
        )
        .into()
    }

    /// Room to read into.
    fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end < READ_BYTES {
            // Zero pages cost nothing until used.
            let most = self.limit.saturating_add(READ_BYTES);
            let len = (2 * self.buffer.len()).min(most).max(self.end + READ_BYTES);
            self.buffer.resize(len, 0);
        }
        &mut self.buffer[self.end..]
    }

    fn came(&mut self, n: usize) {
        self.end += n;
    }
}

/// A converter in the form of a function: it gets a connection's bytes as a reader and returns an iterator of
/// records. Called for each connection; its iterator is driven on the receiver's thread, and the connection
/// is over when it ends. An `Err` or a panic ends the connection and is reported; reads fail once a record
/// would be longer than [`SocketOptions::max_record_bytes`].
///
/// A [`Decoder`] is the better form where there is one: it says how long records are, names the place of
/// errors and counts half records.
///
/// ```
/// use brooklet::prelude::*;
/// use brooklet::source::from_reader;
/// use brooklet_testkit::{Collector, TestTcpServer};
/// use std::io::{BufRead, BufReader};
/// let server = TestTcpServer::serving("3\n4\n")?;
/// let ssc = StreamingContext::new(Conf::new("doc").master("local[2]"), millis(20))?;
/// let numbers = from_reader(|bytes| {
///     BufReader::new(bytes).lines().map(|line| Ok::<_, BoxError>(line?.parse::<u32>()?))
/// });
/// let seen = Collector::new();
/// let s = seen.clone();
/// ssc.socket_stream("127.0.0.1", server.port(), numbers).foreach_rdd(move |rdd, t| {
///     s.push(t, rdd.collect()?);
///     Ok::<_, Error>(())
/// });
/// ssc.start()?;
/// seen.wait_until(|_, n| n >= 2);
/// ssc.stop(true)?;
/// assert_eq!(seen.items(), [3, 4]);
/// # Ok::<(), brooklet::Error>(())
/// ```
pub fn from_reader<F, I, T, E>(f: F) -> FromReader<F, I>
where
    F: Fn(SocketBytes) -> I + Send + 'static,
    I: IntoIterator<Item = Result<T, E>>,
    E: Into<BoxError>,
{
    FromReader(f, PhantomData)
}

/// What [`from_reader`] returns.
pub struct FromReader<F, I>(F, PhantomData<fn() -> I>);

impl<F, I> fmt::Debug for FromReader<F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromReader")
    }
}

/// The bytes of a connection, for [`from_reader`].
pub struct SocketBytes {
    connection: Connection,
    shared: Arc<Reading>,
}

/// What reader and session know of each other.
struct Reading {
    limit: usize,
    /// Bytes read since the last record.
    since: AtomicUsize,
    lost: AtomicBool,
}

impl Read for SocketBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Reading { limit, since, lost } = &*self.shared;
        // A reader may be ahead of its records by what it buffers.
        if since.load(Relaxed) > limit.saturating_add(defaults::SOCKET_READ_BYTES) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "a record has more than the {limit} bytes that are allowed \
                     (`SocketOptions::max_record_bytes`)"
                ),
            ));
        }
        let most = buffer.len().min(defaults::SOCKET_READ_BYTES);
        match self.connection.read(&mut buffer[..most]) {
            Ok(n) => {
                since.fetch_add(n, Relaxed);
                Ok(n)
            }
            Err(e) => {
                lost.store(e.kind() != io::ErrorKind::Interrupted, Relaxed);
                Err(e)
            }
        }
    }
}

impl fmt::Debug for SocketBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SocketBytes")
    }
}

impl<F, I, T, E> Converts for FromReader<F, I>
where
    F: Fn(SocketBytes) -> I + Send + 'static,
    I: IntoIterator<Item = Result<T, E>> + 'static,
    T: Wire,
    E: Into<BoxError>,
{
    type Item = T;

    #[allow(private_interfaces)]
    fn session(
        &self,
        connection: Connection,
        limit: usize,
        site: Site,
        out: &mut Store<T>,
    ) -> Result<Session, BoxError> {
        let shared =
            Arc::new(Reading { limit, since: AtomicUsize::new(0), lost: AtomicBool::new(false) });
        let bytes = SocketBytes { connection, shared: shared.clone() };
        let mut progress = false;
        let mut one = Vec::with_capacity(1);
        let mut records = match catch_unwind(AssertUnwindSafe(|| (self.0)(bytes).into_iter())) {
            Ok(records) => records,
            Err(p) => {
                let ended = refused(site, None, "panicked", panic_text(&*p));
                return Ok(Session { progress, ended });
            }
        };
        let ended = loop {
            match catch_unwind(AssertUnwindSafe(|| records.next())) {
                Ok(Some(Ok(record))) => {
                    shared.since.store(0, Relaxed);
                    progress = true;
                    one.push(record);
                    out.store_all(&mut one)?;
                }
                Ok(None) => break Ended::Closed,
                // After a stop or a broken connection any error may follow from that.
                Ok(Some(Err(_))) if out.is_stopped() => break Ended::Closed,
                Ok(Some(Err(e))) if shared.lost.load(Relaxed) => {
                    break Ended::Lost(io::Error::other(e));
                }
                Ok(Some(Err(e))) => break refused(site, None, "failed", e),
                Err(p) => break refused(site, None, "panicked", panic_text(&*p)),
            }
        };
        Ok(Session { progress, ended })
    }
}

/// The receiver behind [`socket_stream`](StreamingContext::socket_stream).
struct ConverterReceiver<C> {
    connections: Connections,
    converter: C,
    site: Site,
}

impl<C: Converter> Receiver for ConverterReceiver<C> {
    type Item = C::Item;

    fn prepare(&mut self) -> Result<()> {
        self.connections.options().check_no_text("socket_stream")?;
        self.connections.prepare()
    }

    fn run(&mut self, out: &mut Store<C::Item>) -> Result<(), BoxError> {
        let limit = self.connections.options().max_record.unwrap_or(defaults::MAX_RECORD_BYTES);
        let (converter, site) = (&self.converter, self.site);
        self.connections.run(out, |connection, out| converter.session(connection, limit, site, out))
    }

    fn name(&self) -> String {
        "socket_stream".into()
    }
}

impl StreamingContext {
    /// Records from a TCP server, by a converter of its bytes: a [`Decoder`] such as
    /// [`LengthPrefixed`](crate::source::LengthPrefixed), or a function by [`from_reader`].
    ///
    /// The connection is made again when it is lost, as that of
    /// [`socket_text_stream`](StreamingContext::socket_text_stream); each begins with a fresh decoder. A
    /// converter that fails or panics, and a record above
    /// [`SocketOptions::max_record_bytes`], end the connection: counted as `decode_errors`, reported
    /// with the place, and the pauses before the next attempts grow. A record that the end of a connection
    /// cuts in two is dropped and counted as `half_records`, if the decoder doesn't take it.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::source::{Decoder, LengthPrefixed};
    /// use brooklet_testkit::{Collector, TestTcpServer};
    /// let server = TestTcpServer::serving(b"\x05brook\x06stream")?;
    /// let ssc = StreamingContext::new(Conf::new("doc").master("local[2]"), millis(20))?;
    /// let words = ssc.socket_stream(
    ///     "127.0.0.1",
    ///     server.port(),
    ///     LengthPrefixed::new(1).and_then(String::from_utf8),
    /// );
    /// let seen = Collector::new();
    /// let s = seen.clone();
    /// words.foreach_rdd(move |rdd, t| {
    ///     s.push(t, rdd.collect()?);
    ///     Ok::<_, Error>(())
    /// });
    /// ssc.start()?;
    /// seen.wait_until(|_, n| n >= 2);
    /// ssc.stop(true)?;
    /// assert_eq!(seen.items(), ["brook", "stream"]);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    #[track_caller]
    pub fn socket_stream<C: Converter>(
        &self,
        host: &str,
        port: u16,
        converter: C,
    ) -> DStream<C::Item> {
        self.socket_stream_with(SocketOptions::new(host, port), converter)
    }

    /// [`StreamingContext::socket_stream`] with options: TLS, storage level, longest record.
    #[track_caller]
    pub fn socket_stream_with<C: Converter>(
        &self,
        options: SocketOptions,
        converter: C,
    ) -> DStream<C::Item> {
        let (site, level) = (Site::here("socket_stream"), options.level);
        let connections = Connections::new(options);
        self.receiver_at(site, erase(ConverterReceiver { connections, converter, site }), level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Delimited, FixedLength, LengthPrefixed, Lines};
    use proptest::prelude::*;

    /// What a decoder makes of bytes that come in pieces of these sizes.
    #[derive(PartialEq, Debug)]
    struct Outcome<T> {
        records: Vec<T>,
        rest: Vec<u8>,
        error: Option<String>,
    }

    fn decoded<D: Decoder>(
        decoder: D,
        bytes: &[u8],
        cuts: &[usize],
        limit: usize,
    ) -> Outcome<D::Item> {
        let mut decoding = Decoding::new(decoder, limit);
        let (mut all, mut records, mut left) = (Vec::new(), Vec::new(), bytes);
        let mut cuts = cuts.iter().copied().cycle();
        loop {
            let step = decoding.decode(&mut records);
            assert!(records.len() <= STORED_AT_ONCE);
            all.append(&mut records);
            assert!(decoding.buffer.len() <= limit + 2 * READ_BYTES, "{}", decoding.buffer.len());
            match step {
                Ok(Step::Full) => continue,
                Ok(Step::Read) => {}
                Err(e) => {
                    return Outcome { records: all, rest: Vec::new(), error: Some(e.to_string()) };
                }
            }
            if left.is_empty() {
                assert_eq!(decoding.at() as usize + decoding.rest().len(), bytes.len());
                return Outcome { records: all, rest: decoding.rest().to_vec(), error: None };
            }
            let room = decoding.room();
            assert!(room.len() >= READ_BYTES);
            let n = cuts.next().unwrap_or(usize::MAX).min(room.len()).min(left.len()).max(1);
            room[..n].copy_from_slice(&left[..n]);
            decoding.came(n);
            left = &left[n..];
        }
    }

    /// In pieces it is the same as in one.
    fn cuts_change_nothing<D>(decoder: &D, bytes: &[u8], cuts: &[usize], limit: usize)
    where
        D: Decoder<Item: PartialEq + fmt::Debug>,
    {
        let whole = decoded(decoder.clone(), bytes, &[usize::MAX], limit);
        let cut = decoded(decoder.clone(), bytes, cuts, limit);
        assert_eq!(whole.records, cut.records);
        assert_eq!(whole.rest, cut.rest);
        assert_eq!(whole.error.is_some(), cut.error.is_some());
    }

    /// Says whatever it was given, sensible or not.
    #[derive(Clone, Debug)]
    struct Liar(Vec<Decoded<u8>>);

    impl Decoder for Liar {
        type Item = u8;
        fn decode(&mut self, _: &[u8]) -> Result<Decoded<u8>, BoxError> {
            self.0.pop().ok_or_else(|| "no more lies".into())
        }
    }

    fn lie() -> impl Strategy<Value = Decoded<u8>> {
        let n = prop_oneof![0usize..20, Just(usize::MAX), Just(1 << 40)];
        prop_oneof![
            (any::<u8>(), n.clone()).prop_map(|(r, n)| Decoded::Record(r, n)),
            n.clone().prop_map(Decoded::Skip),
            Just(Decoded::Incomplete),
            n.prop_map(Decoded::Needs),
        ]
    }

    #[test]
    fn a_long_stream_of_records_needs_little_memory() {
        let lines: Vec<u8> =
            (0..200_000).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
        let all = decoded(Lines::new(), &lines, &[60_000, 7, 1], 100);
        assert_eq!(all.records.len(), 200_000);
        assert_eq!(all.records[199_999], b"line 199999");
    }

    #[test]
    fn a_record_above_the_limit_is_refused_before_it_is_there() {
        let frames = LengthPrefixed::new(8);
        for claim in [1_000u64, 1 << 40, u64::MAX - 9, u64::MAX] {
            let error = decoded(frames, &claim.to_be_bytes(), &[3], 999).error.unwrap();
            assert!(error.contains("999 are allowed") || error.contains("can't be"), "{error}");
        }
        let longest = [&[0, 0, 0, 5][..], b"three"].concat();
        assert_eq!(decoded(LengthPrefixed::new(4), &longest, &[1], 9).records, [b"three"]);
        assert!(decoded(LengthPrefixed::new(4), &longest, &[1], 8).error.is_some());
        assert!(decoded(Lines::new(), &[b'x'; 500], &[7], 100).error.is_some());
    }

    #[test]
    fn delimiters_that_repeat_themselves_are_found_across_cuts() {
        for cut in 1..6 {
            let all = decoded(Delimited::by("aab"), b"xaaabaab-aa", &[cut], 100);
            assert_eq!(all.records, [b"xa".to_vec(), b"".to_vec()], "cut {cut}");
            assert_eq!(all.rest, b"-aa");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_500))]

        #[test]
        fn garbage_in_any_pieces_is_the_same_and_no_panic(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b';'), Just(0), any::<u8>()], 0..600),
            cuts in prop::collection::vec(1usize..50, 1..9),
            limit in 1usize..300,
            width in 1usize..=8,
        ) {
            cuts_change_nothing(&Lines::new(), &bytes, &cuts, limit);
            cuts_change_nothing(&Delimited::by(";"), &bytes, &cuts, limit);
            cuts_change_nothing(&Delimited::by(b"\n\0\n"), &bytes, &cuts, limit);
            cuts_change_nothing(&LengthPrefixed::new(width), &bytes, &cuts, limit);
            cuts_change_nothing(&LengthPrefixed::new(width).little_endian(), &bytes, &cuts, limit);
            cuts_change_nothing(&FixedLength::new(width), &bytes, &cuts, limit);
        }

        #[test]
        fn what_was_framed_comes_back(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 0..40),
            cuts in prop::collection::vec(1usize..50, 1..9),
            little in any::<bool>(),
        ) {
            let frame = |r: &Vec<u8>| {
                let n = r.len() as u16;
                [&if little { n.to_le_bytes() } else { n.to_be_bytes() }[..], r].concat()
            };
            let bytes: Vec<u8> = records.iter().flat_map(frame).collect();
            let frames = LengthPrefixed::new(2);
            let frames = if little { frames.little_endian() } else { frames };
            let all = decoded(frames, &bytes, &cuts, 100);
            prop_assert_eq!(all, Outcome { records, rest: Vec::new(), error: None });
        }

        #[test]
        fn a_decoder_that_lies_is_refused(
            lies in prop::collection::vec(lie(), 0..30),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cuts in prop::collection::vec(1usize..50, 1..9),
        ) {
            // Neither a panic nor an endless loop.
            decoded(Liar(lies), &bytes, &cuts, 64);
        }
    }
}
