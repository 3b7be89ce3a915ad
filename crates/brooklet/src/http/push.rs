//! Requests that bring records, on their way from a connection to the receiver.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_ENCODING, HeaderValue};
use hyper::{Request, StatusCode};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answer::{self, Answered};
use crate::StorageLevel;
use crate::conf::defaults;
use crate::sync::{Condvar, LockExt, Mutex, wait};

/// How a stream of pushed records takes them; for
/// [`StreamingContext::http_stream_with`](crate::StreamingContext::http_stream_with).
///
/// ```
/// use brooklet::{HttpOptions, StorageLevel};
/// let options = HttpOptions::new().max_body(1 << 20).storage_level(StorageLevel::MEMORY_ONLY);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "options do nothing until they are given to a stream"]
pub struct HttpOptions {
    pub(crate) max_body: usize,
    pub(crate) max_decompressed: usize,
    pub(crate) level: StorageLevel,
}

impl HttpOptions {
    /// Everything at its default.
    pub const fn new() -> HttpOptions {
        HttpOptions {
            max_body: defaults::HTTP_MAX_BODY,
            max_decompressed: defaults::HTTP_MAX_DECOMPRESSED,
            level: StorageLevel::MEMORY_AND_DISK_SER,
        }
    }

    /// Bytes of a request's body as it comes; a larger one is refused with 413. Default: 8 MiB.
    pub const fn max_body(mut self, bytes: usize) -> HttpOptions {
        self.max_body = bytes;
        self
    }

    /// Bytes of a request's body after decompression, likewise. Default: 64 MiB.
    pub const fn max_decompressed(mut self, bytes: usize) -> HttpOptions {
        self.max_decompressed = bytes;
        self
    }

    /// Where received blocks are kept. Default: `MEMORY_AND_DISK_SER`.
    pub const fn storage_level(mut self, level: StorageLevel) -> HttpOptions {
        self.level = level;
        self
    }
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions::new()
    }
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Reply {
    /// So many records are stored.
    Stored(u64),
    /// Nothing is stored, and the same request never will be.
    Refused(StatusCode, String),
    /// Nothing is stored; the same request may be later.
    Busy(String),
}

/// A request whose body is read.
pub(super) struct Push {
    pub(super) body: Vec<u8>,
    pub(super) gzip: bool,
    reply: oneshot::Sender<Reply>,
    /// The body's share of what may wait.
    _room: Room,
}

impl Push {
    /// Whether nobody waits for the reply any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.reply.is_closed()
    }

    pub(super) fn reply(self, reply: Reply) {
        let _ = self.reply.send(reply);
    }
}

/// Requests that wait for the receiver of one stream.
pub(crate) struct PushQueue {
    options: HttpOptions,
    queue: Mutex<Queue>,
    ready: Condvar,
    /// Bytes of bodies that are being read or wait.
    bytes: Arc<AtomicUsize>,
    /// Requests that were answered with 503 before they came into the queue.
    pub(super) turned_away: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Push>,
    closed: bool,
}

impl PushQueue {
    pub(crate) fn new(options: HttpOptions) -> Arc<PushQueue> {
        Arc::new(PushQueue {
            options,
            queue: Mutex::default(),
            ready: Condvar::new(),
            bytes: Arc::default(),
            turned_away: AtomicU64::new(0),
        })
    }

    pub(super) fn options(&self) -> &HttpOptions {
        &self.options
    }

    /// Takes requests (again).
    pub(super) fn open(&self) {
        self.queue.get().closed = false;
    }

    /// Takes no more requests; those that wait are answered so.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut queue = self.queue.get();
            queue.closed = true;
            std::mem::take(&mut queue.waiting)
        };
        self.ready.notify_all();
        waiting.into_iter().for_each(|push| push.reply(Reply::Busy(STOPPING.into())));
    }

    /// Waits for the next request; none when the queue is closed.
    pub(super) fn next(&self) -> Option<Push> {
        let mut queue = self.queue.get();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(push) = queue.waiting.pop_front() {
                return Some(push);
            }
            queue = wait(&self.ready, queue, None);
        }
    }

    fn add(&self, push: Push) -> Result<(), &'static str> {
        let mut queue = self.queue.get();
        if queue.closed {
            return Err(STOPPING);
        }
        if queue.waiting.len() >= defaults::HTTP_PUSH_QUEUE {
            return Err(FULL);
        }
        queue.waiting.push_back(push);
        drop(queue);
        self.ready.notify_one();
        Ok(())
    }
}

const STOPPING: &str = "the stream takes nothing at present; nothing is stored";
const FULL: &str = "too many requests wait to be stored; nothing of this one is";

/// Bytes of a body, counted while it lives.
struct Room {
    all: Arc<AtomicUsize>,
    mine: usize,
}

impl Room {
    fn grow(&mut self, n: usize) -> bool {
        let fits = |used: usize| used.checked_add(n).filter(|u| *u <= defaults::HTTP_PUSH_BYTES);
        let grown = self.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        self.mine += if grown { n } else { 0 };
        grown
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.all.fetch_sub(self.mine, Ordering::Relaxed);
    }
}

/// Why a body isn't read to its end.
enum Unread {
    TooLarge,
    NoRoom,
    Lost(String),
}

/// Answers a `POST`.
pub(super) async fn answer(queue: &PushQueue, request: Request<Incoming>) -> Answered {
    let encoding = request.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    let gzip = match encoding.map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"identity" | b"") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => {
            let text = "the body may be plain or have the content-encoding gzip, no other";
            return refuse(request.into_body(), StatusCode::UNSUPPORTED_MEDIA_TYPE, text).await;
        }
    };
    let max = queue.options.max_body;
    let too_large = format!("the body has more than {max} bytes: send less in one request");
    let mut incoming = request.into_body();
    if incoming.size_hint().lower() > max as u64 {
        return refuse(incoming, StatusCode::PAYLOAD_TOO_LARGE, &too_large).await;
    }
    let mut room = Room { all: queue.bytes.clone(), mine: 0 };
    let read = timeout(defaults::HTTP_BODY_TIMEOUT, read(&mut incoming, max, &mut room)).await;
    let body = match read {
        Ok(Ok(body)) => body,
        Ok(Err(Unread::TooLarge)) => {
            return refuse(incoming, StatusCode::PAYLOAD_TOO_LARGE, &too_large).await;
        }
        Ok(Err(Unread::NoRoom)) => {
            queue.turned_away.fetch_add(1, Ordering::Relaxed);
            discard(incoming).await;
            return closing(answer::busy(FULL));
        }
        Ok(Err(Unread::Lost(problem))) => {
            let text = format!("the body can't be read: {problem}");
            return closing(answer::refused(StatusCode::BAD_REQUEST, &text));
        }
        Err(_) => {
            let text = "the body didn't come in time; nothing is stored";
            return closing(answer::refused(StatusCode::REQUEST_TIMEOUT, text));
        }
    };
    let (reply, replied) = oneshot::channel();
    if let Err(why) = queue.add(Push { body, gzip, reply, _room: room }) {
        queue.turned_away.fetch_add(1, Ordering::Relaxed);
        return answer::busy(why);
    }
    match replied.await {
        Ok(Reply::Stored(n)) => answer::json(StatusCode::OK, format!("{{\"stored\":{n}}}")),
        Ok(Reply::Refused(status, text)) => answer::refused(status, &text),
        Ok(Reply::Busy(text)) => answer::busy(&text),
        Err(_) => {
            let text = "the receiver failed; it isn't known whether the request is stored";
            answer::refused(StatusCode::INTERNAL_SERVER_ERROR, text)
        }
    }
}

async fn read(body: &mut Incoming, max: usize, room: &mut Room) -> Result<Vec<u8>, Unread> {
    let mut all = Vec::new();
    while let Some(piece) = next_piece(body).await? {
        if all.len() + piece.len() > max {
            return Err(Unread::TooLarge);
        }
        if !room.grow(piece.len()) {
            return Err(Unread::NoRoom);
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// The next bytes of a body; none at its end.
async fn next_piece(body: &mut Incoming) -> Result<Option<hyper::body::Bytes>, Unread> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            None => return Ok(None),
            Some(Err(e)) => return Err(Unread::Lost(e.to_string())),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Refuses a request whose body isn't read. What is on its way is read all the same, up to a limit: a
/// connection that is closed over unread bytes loses the answer as well.
async fn refuse(body: Incoming, status: StatusCode, text: &str) -> Answered {
    discard(body).await;
    closing(answer::refused(status, text))
}

/// Reads what is left of a body, up to a limit.
pub(super) async fn discard(mut body: Incoming) {
    let discarding = async {
        let mut left = defaults::HTTP_DISCARD_BYTES;
        while let Ok(Some(piece)) = next_piece(&mut body).await {
            let Some(rest) = left.checked_sub(piece.len()) else { return };
            left = rest;
        }
    };
    let _ = timeout(defaults::HTTP_RETRY_AFTER, discarding).await;
}

/// An answer after which the connection ends.
fn closing(mut answer: Answered) -> Answered {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

impl fmt::Debug for PushQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushQueue").field("options", &self.options).finish_non_exhaustive()
    }
}
