//! What a receiver writes to.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::counters::{HALF_LINES, LONG_LINES};
use super::generator::BlockGenerator;
use super::pending::{Cut, Sealed, block_of};
use super::supervisor::Supervisor;
use super::text::{Cuts, HalfLines, TextDoor, after_lines};
use crate::block::{Block, Decode};
use crate::text::Str;
use crate::{BoxError, Error, Wire, defaults};

/// Why something wasn't stored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The receiver is to stop: return from `run`. What was given isn't stored.
    Stopped,
    /// The receiver's unprocessed data is at its limit. Only from calls that don't wait
    /// ([`Store::try_store_block`]); nothing is stored, try again later.
    NoRoom,
    /// The block couldn't be stored or reported. It isn't visible to the driver; try again, or return
    /// the error from `run` to be restarted.
    Failed(Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Stopped => f.write_str("the receiver is stopping and takes no more data"),
            StoreError::NoRoom => f.write_str(
                "the receiver has as much unprocessed data as it may (receiver_max_unprocessed_bytes)",
            ),
            StoreError::Failed(e) => write!(f, "a received block couldn't be stored: {e}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Stopped | StoreError::NoRoom => None,
            StoreError::Failed(e) => Some(e),
        }
    }
}

/// The door through which a receiver's records enter the stream.
///
/// | call | limit | when it returns |
/// |---|---|---|
/// | [`store`](Store::store), [`store_bytes`](Store::store_bytes) | rate limit, queue | the record is buffered, not yet stored |
/// | [`store_block`](Store::store_block), [`try_store_block`](Store::try_store_block) | memory only | the block is stored and the driver knows it |
///
/// `Ok` means accepted: it will be part of a batch, unless the context is stopped without grace. All
/// calls may block; they return [`StoreError::Stopped`] when the receiver is to stop.
pub struct Store<T: Wire> {
    supervisor: Arc<Supervisor>,
    generator: Arc<BlockGenerator<T>>,
    door: TextDoor,
    restart: Option<String>,
}

impl<T: Wire> Store<T> {
    pub(super) fn new(supervisor: Arc<Supervisor>, generator: Arc<BlockGenerator<T>>) -> Store<T> {
        let door = TextDoor::new(supervisor.max_line_bytes());
        Store { supervisor, generator, door, restart: None }
    }

    /// Stores one record: it is buffered and becomes part of the next block. Waits for the rate limit,
    /// and for room when blocks can't be stored as fast. Not reliable: it returns before the record is
    /// stored.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when the receiver is to stop; the record isn't accepted.
    pub fn store(&mut self, item: T) -> Result<(), StoreError> {
        self.generator.add(item)
    }

    /// Stores these records as one block, now, without the rate limit. On return the block is stored by
    /// the stream's level and the driver knows it: the moment to acknowledge to the source.
    ///
    /// Waits while the receiver's unprocessed data is at its limit. An empty block isn't stored.
    ///
    /// # Errors
    /// [`StoreError`] when it isn't stored; none of the records is accepted.
    pub fn store_block(&mut self, items: impl IntoIterator<Item = T>) -> Result<(), StoreError> {
        self.push(items.into_iter().collect(), None, true)
    }

    /// [`Store::store_block`] for receivers whose source can be told to come again: where that waits, this
    /// returns.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`] while the receiver's unprocessed data is at its limit, else as
    /// [`Store::store_block`]; none of the records is accepted.
    pub fn try_store_block(
        &mut self,
        items: impl IntoIterator<Item = T>,
    ) -> Result<(), StoreError> {
        self.push(items.into_iter().collect(), None, false)
    }

    /// Like [`Store::store_block`], with bytes that go with the block's description to the driver (such
    /// as the source's positions).
    ///
    /// # Errors
    /// As [`Store::store_block`].
    pub fn store_block_with(
        &mut self,
        items: impl IntoIterator<Item = T>,
        metadata: impl Into<Vec<u8>>,
    ) -> Result<(), StoreError> {
        self.push(items.into_iter().collect(), Some(metadata.into()), true)
    }

    /// Stores all of `items`, one by one as far as limit and blocks are concerned, and empties it. Cheaper
    /// than [`Store::store`] for many; what is given during a graceful stop is still taken.
    pub(crate) fn store_all(&mut self, items: &mut Vec<T>) -> Result<(), StoreError> {
        self.generator.add_all(items)
    }

    /// Stores a block as it came, now, without the rate limit; waits for room. What is given during a
    /// graceful stop is still taken.
    pub(crate) fn store_received(
        &mut self,
        block: Arc<dyn Block>,
        decode: Decode,
    ) -> Result<(), StoreError> {
        if block.records() == 0 {
            return Ok(());
        }
        let sealed = Sealed { block, decode, time: self.generator.block_time(), metadata: None };
        self.supervisor.push_now(&sealed, true)
    }

    fn push(&self, items: Vec<T>, metadata: Option<Vec<u8>>, wait: bool) -> Result<(), StoreError> {
        if self.control().is_stopping() {
            return Err(StoreError::Stopped);
        }
        if items.is_empty() {
            return Ok(());
        }
        let (block, decode) = block_of(items);
        let sealed = Sealed { block, decode, time: self.generator.block_time(), metadata };
        self.supervisor.push_now(&sealed, wait)
    }

    /// Reports an error; the receiver goes on. Listeners and the receiver's info show it.
    pub fn report_error(&self, text: impl Into<String>, cause: impl Into<BoxError>) {
        self.supervisor.report(text.into(), cause.into().to_string());
    }

    /// Asks for a restart: `run` should return, with whatever result, and is called again after the
    /// restart delay. From now on [`Store::is_stopped`] is true for this run.
    pub fn restart(&mut self, text: impl Into<String>) {
        self.restart = Some(text.into());
        self.control().end_run();
    }

    pub(super) fn take_restart(&mut self) -> Option<String> {
        self.restart.take()
    }

    /// Whether `run` is to return: the receiver stops, or is restarted.
    pub fn is_stopped(&self) -> bool {
        self.control().is_run_over()
    }

    /// Waits until `run` is to return; for `select!` in an async receiver.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<T> {
        let supervisor = Arc::clone(&self.supervisor);
        std::future::poll_fn(move |cx| supervisor.control().poll_over(cx))
    }

    /// Sleeps on the context's clock. `false`: it ended early because `run` is to return. Blocks the
    /// thread; that is fine in an async receiver too, which has a thread of its own, as long as nothing
    /// else is to go on in it.
    pub fn sleep(&self, d: Duration) -> bool {
        self.control().sleep(d, Control::is_run_over)
    }

    /// Has `hook` called, from another thread, when this run is to end: to unblock what `run` may be
    /// blocked in, such as by shutting a socket down. Called at once if the run is to end already.
    /// Hooks are forgotten when the run has ended.
    pub fn on_stop(&self, hook: impl FnOnce() + Send + 'static) {
        self.control().on_stop(Box::new(hook));
    }

    /// The stream's number.
    pub fn stream_id(&self) -> u32 {
        super::public_stream(self.supervisor.stream())
    }

    /// Adds to a named counter of this receiver; see [`counters`](super::counters) for the names in use.
    pub fn add_metric(&self, name: &str, n: u64) {
        self.supervisor.counters().add(name, n);
    }

    /// The rate limit in records a second, if there is one.
    pub fn rate_limit(&self) -> Option<u64> {
        self.generator.limiter().rate()
    }

    fn control(&self) -> &Control {
        self.supervisor.control()
    }

    /// Ends a run's half line, if the run hasn't.
    pub(super) fn finish(&mut self) {
        let lost = self.text(|door, mut out| door.end(&mut out));
        if let Err(e) = lost {
            tracing::warn!(error = %e, "the last half line of a receiver isn't stored");
        }
        self.door.buffer = Vec::new();
    }

    fn text(
        &mut self,
        f: impl FnOnce(
            &mut TextDoor,
            &mut dyn FnMut(&[u8], usize) -> Result<(), StoreError>,
        ) -> Result<Cuts, StoreError>,
    ) -> Result<(), StoreError> {
        let generator = &*self.generator;
        let cuts = f(&mut self.door, &mut |text, lines| limited(generator, text, lines))?;
        self.supervisor.counters().add(LONG_LINES, cuts.long_lines);
        self.supervisor.counters().add(HALF_LINES, cuts.half_lines);
        Ok(())
    }
}

/// Adds lines as the rate limit allows. During a stop there is no limit: what was read is kept.
fn limited<T: Wire>(
    generator: &BlockGenerator<T>,
    mut text: &[u8],
    mut lines: usize,
) -> Result<(), StoreError> {
    while lines > 0 {
        let n = generator.limiter().acquire(lines).unwrap_or(lines);
        let at = if n == lines { text.len() } else { after_lines(text, n) };
        generator.add_text(&text[..at], n)?;
        text = &text[at..];
        lines -= n;
    }
    Ok(())
}

/// The fast door for text: chunks of bytes, whose lines are the records.
///
/// Lines end with `\n` or `\r\n`; a line may span chunks. What isn't UTF-8 is replaced by U+FFFD, lines
/// longer than `max_line_bytes` are cut there into several, and both are counted.
impl Store<Str> {
    /// Stores the lines of a chunk; a half line at its end waits for the next chunk. Limited by counted
    /// lines. Not reliable, like [`Store::store`]. What is given during a graceful stop is still taken.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when nothing is taken any more; part of the chunk may have been.
    pub fn store_bytes(&mut self, chunk: impl AsRef<[u8]>) -> Result<(), StoreError> {
        self.text(|door, mut out| door.push(chunk.as_ref(), &mut out))
    }

    /// Reads once from `source`, up to [`defaults::SOCKET_READ_BYTES`], and stores what came. Returns
    /// the number of bytes; 0 when the source has ended (call [`Store::end_of_stream`]) or `run` is to
    /// return.
    ///
    /// # Errors
    /// The source's error, or a [`StoreError`] wrapped.
    pub fn read_from(&mut self, source: &mut (impl Read + ?Sized)) -> io::Result<usize> {
        if self.is_stopped() {
            return Ok(0);
        }
        let mut buffer = std::mem::take(&mut self.door.buffer);
        if buffer.len() < defaults::SOCKET_READ_BYTES {
            buffer = vec![0; defaults::SOCKET_READ_BYTES]; // zero pages cost nothing until used
        }
        let read = source.read(&mut buffer);
        let stored = match read {
            Ok(n) => self.store_bytes(&buffer[..n]).map_err(io::Error::other).map(|()| n),
            Err(e) => Err(e),
        };
        self.door.buffer = buffer;
        stored
    }

    /// An empty buffer with room for [`defaults::SOCKET_READ_BYTES`], for readers that fill a `Vec`
    /// (`read_buf` of tokio). Give what was read to [`Store::store_buffer`].
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.door.buffer.clear();
        self.door.buffer.reserve(defaults::SOCKET_READ_BYTES);
        &mut self.door.buffer
    }

    /// Stores what [`Store::buffer`] holds, as [`Store::store_bytes`] does, and empties it.
    ///
    /// # Errors
    /// As [`Store::store_bytes`].
    pub fn store_buffer(&mut self) -> Result<(), StoreError> {
        let mut buffer = std::mem::take(&mut self.door.buffer);
        let stored = self.store_bytes(&buffer);
        buffer.clear();
        self.door.buffer = buffer;
        stored
    }

    /// Stores the lines of `text` as one block, now, as [`Store::try_store_block`] does; a last line needs
    /// no end. Returns how many lines they are.
    ///
    /// # Errors
    /// As [`Store::try_store_block`].
    pub fn try_store_text(&mut self, text: &[u8]) -> Result<u64, StoreError> {
        if self.control().is_stopping() {
            return Err(StoreError::Stopped);
        }
        let mut whole = Vec::with_capacity(text.len() + 1 + crate::text::TextBlock::PAD);
        let mut lines = 0;
        let mut add = |piece: &[u8], n: usize| -> Result<(), StoreError> {
            whole.extend_from_slice(piece);
            lines += n;
            Ok(())
        };
        let mut door = TextDoor::new(self.supervisor.max_line_bytes());
        let cuts = door.push(text, &mut add)?;
        door.end(&mut add)?;
        self.supervisor.counters().add(LONG_LINES, cuts.long_lines);
        if lines > 0 {
            let time = self.generator.block_time();
            let sealed = Cut::<Str>::Text(whole, lines).seal(time, self.supervisor.counters());
            self.supervisor.push_now(&sealed, false)?;
        }
        Ok(lines as u64)
    }

    /// The connection ended: a half line becomes a line of its own (or is dropped, see
    /// [`Store::set_half_lines`]) and is counted. Done by itself when `run` returns.
    ///
    /// # Errors
    /// As [`Store::store_bytes`].
    pub fn end_of_stream(&mut self) -> Result<(), StoreError> {
        self.text(|door, mut out| door.end(&mut out))
    }

    /// The longest line, in bytes; longer ones are cut there. Default: `Conf::max_line_bytes`.
    pub(crate) fn set_max_line_bytes(&mut self, bytes: usize) {
        self.door.set_max_line(bytes);
    }

    /// What becomes of a half line at the end of a connection. Default: [`HalfLines::Keep`].
    pub fn set_half_lines(&mut self, policy: HalfLines) {
        self.door.policy = policy;
    }
}

impl<T: Wire> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("stream", &self.stream_id())
            .field("generator", &self.generator)
            .finish_non_exhaustive()
    }
}
