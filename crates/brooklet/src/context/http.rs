//! What a streaming context has to do with HTTP: where it serves, and streams of pushed records.

use std::net::SocketAddr;

use hyper::body::Bytes;
use hyper::header::HeaderValue;

use super::StreamingContext;
use crate::data::Wire;
use crate::engine::Site;
use crate::http::{HttpOptions, HttpReceiver, Page, Publisher, PushQueue, ServeOptions};
use crate::receiver::{Receiver, erase};
use crate::{DStream, Error, Result, Str};

impl StreamingContext {
    /// Serves streams at `address` (`HOST:PORT`; port 0 takes a free one) instead of at
    /// [`Conf::http_address`](crate::Conf::http_address), also when no stream is served.
    /// [`DStream::serve`] tells what is there.
    ///
    /// The port is taken at [`StreamingContext::start`], which fails when it can't be had.
    ///
    /// # Errors
    /// [`Error::State`] after the start.
    pub fn serve_at(&self, address: &str) -> Result<()> {
        if self.graph().is_sealed() {
            return Err(Error::State {
                call: "serve_at",
                state: "started",
                help: "set it before `start()`",
            });
        }
        self.graph().http.serve_at(address);
        Ok(())
    }

    /// Where streams are served, with the real port. `None` before the start, and when nothing is served.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.graph().http.bound(None)
    }

    /// What the `address` of [`StreamingContext::serve_at`] or of a stream of pushed records became: with
    /// port 0, the free port that it got. `None` before the start.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// let ssc = StreamingContext::new(Conf::new("doc").master("local[1]"), millis(100))?;
    /// ssc.http_text_stream("127.0.0.1:0", "/lines").print();
    /// ssc.start()?;
    /// assert!(ssc.http_address_of("127.0.0.1:0").is_some_and(|a| a.port() > 0));
    /// ssc.stop(false)?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    pub fn http_address_of(&self, address: &str) -> Option<SocketAddr> {
        self.graph().http.bound(Some(address))
    }

    /// Serves a page, or another file, beside the streams: a dashboard that reads
    /// `/streams/NAME/events` needs no other server.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// let ssc = StreamingContext::new(Conf::new("doc"), seconds(1))?;
    /// ssc.serve_page("/", "text/html; charset=utf-8", "<!doctype html><title>counts</title>");
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// When the path doesn't begin with `/`, is taken or is that of streams, or the type is no header
    /// value: the program's mistakes, reported at the call.
    #[track_caller]
    pub fn serve_page(&self, path: &str, content_type: &str, body: impl Into<Vec<u8>>) {
        let site = Site::here("serve_page");
        check_path(path, site);
        let Ok(kind) = HeaderValue::from_str(content_type) else {
            panic!("{site}: `{content_type}` is no content type: write one such as text/html");
        };
        let what = format!("the page at `{path}`");
        self.graph().claim(what, "a client could see only one", site);
        self.graph().http.page(path, site, Page { kind, body: Bytes::from(body.into()) });
    }

    /// Values that the program publishes itself, served under `name` as [`DStream::serve`] serves a stream.
    ///
    /// ```
    /// use brooklet::ServeOptions;
    /// use brooklet::prelude::*;
    /// let ssc = StreamingContext::new(Conf::new("doc"), seconds(1))?;
    /// let totals = ssc.serve_values("totals", ServeOptions::new());
    /// totals.publish(Time::from_millis(1_000), [("words", 17)])?;
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// As [`DStream::serve`].
    #[track_caller]
    pub fn serve_values(&self, name: &str, options: ServeOptions) -> Publisher {
        Publisher(self.graph().served(name, Site::here("serve_values"), options))
    }

    /// Lines of text that clients push: the lines of the body of each `POST` to `path` at `address`
    /// (`HOST:PORT`; port 0 takes a free one, see [`StreamingContext::http_address_of`]).
    ///
    /// | answer | means |
    /// |---|---|
    /// | 200 `{"stored":3}` | the lines are stored, as one block: they will be part of a batch |
    /// | 400 | the body can't be read, or its gzip is damaged; nothing is stored |
    /// | 404, 405 | another path, another method |
    /// | 408 | the body took longer than 30 s; nothing is stored |
    /// | 413 | the body has more than 8 MiB, or 64 MiB unpacked; nothing is stored |
    /// | 415 | the content-encoding isn't gzip; nothing is stored |
    /// | 503 with `Retry-After` | as much as may wait does, or the stream is stopping; nothing is stored |
    ///
    /// So a client that repeats a request until it gets 200 loses nothing; it may bring a request twice if
    /// an answer is lost on the way. A body may be packed (`Content-Encoding: gzip`). Each request is one
    /// block, and a block one partition: bring many lines at once. Invalid UTF-8 is replaced by U+FFFD,
    /// lines above [`Conf::max_line_bytes`](crate::Conf::max_line_bytes) are cut there; both are counted.
    /// The rate limit doesn't hold for them; the memory limit
    /// ([`Conf::receiver_max_unprocessed_bytes`](crate::Conf::receiver_max_unprocessed_bytes)) does.
    /// Counters: `requests`, `bad_requests`, `busy_requests`.
    ///
    /// Streams at one address share a server, also with served streams. There is no password: listen at an
    /// address that others reach only if they may bring data.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use std::io::{Read, Write};
    /// let ssc = StreamingContext::new(Conf::new("doc").master("local[1]"), millis(50))?;
    /// let lines = ssc.http_text_stream("127.0.0.1:0", "/logs");
    /// let count = ssc.context().long_accumulator("lines");
    /// let c = count.clone();
    /// lines.foreach_partition(move |lines, _| c.add(lines.count() as i64));
    /// ssc.start()?;
    ///
    /// let address = ssc.http_address_of("127.0.0.1:0").expect("the context has started");
    /// let mut client = std::net::TcpStream::connect(address)?;
    /// client.write_all(b"POST /logs HTTP/1.0\r\nContent-Length: 8\r\n\r\none\ntwo\n")?;
    /// let mut answer = String::new();
    /// client.read_to_string(&mut answer)?;
    /// assert!(answer.ends_with(r#"{"stored":2}"#));
    ///
    /// ssc.stop(true)?;
    /// assert_eq!(count.value().sum, 2);
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// When the context has been started, the path doesn't begin with `/` or is taken: the program's
    /// mistakes, reported at the call. An address that can't be had is an error of
    /// [`StreamingContext::start`].
    #[track_caller]
    pub fn http_text_stream(&self, address: &str, path: &str) -> DStream<Str> {
        let site = Site::here("http_text_stream");
        self.pushed(site, address, path, HttpOptions::new(), HttpReceiver::text)
    }

    /// [`StreamingContext::http_text_stream`] with options.
    ///
    /// # Panics
    /// As [`StreamingContext::http_text_stream`].
    #[track_caller]
    pub fn http_text_stream_with(
        &self,
        address: &str,
        path: &str,
        options: HttpOptions,
    ) -> DStream<Str> {
        let site = Site::here("http_text_stream");
        self.pushed(site, address, path, options, HttpReceiver::text)
    }

    /// Records that clients push as JSON, one a line, as [`StreamingContext::http_text_stream`] takes
    /// lines. A line that isn't a `T` is answered with 400 and its number, and nothing of its request is
    /// stored. Blank lines are skipped.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct Reading {
    ///     room: String,
    ///     degrees: f64,
    /// }
    /// let ssc = StreamingContext::new(Conf::new("doc"), seconds(1))?;
    /// let readings = ssc.http_stream::<Reading>("127.0.0.1:8080", "/readings");
    /// readings.map(|r| (r.room, r.degrees)).reduce_by_key(f64::max).print();
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// As [`StreamingContext::http_text_stream`].
    #[track_caller]
    pub fn http_stream<T: Wire>(&self, address: &str, path: &str) -> DStream<T> {
        let site = Site::here("http_stream");
        self.pushed(site, address, path, HttpOptions::new(), HttpReceiver::json)
    }

    /// [`StreamingContext::http_stream`] with options.
    ///
    /// # Panics
    /// As [`StreamingContext::http_text_stream`].
    #[track_caller]
    pub fn http_stream_with<T: Wire>(
        &self,
        address: &str,
        path: &str,
        options: HttpOptions,
    ) -> DStream<T> {
        let site = Site::here("http_stream");
        self.pushed(site, address, path, options, HttpReceiver::json)
    }

    #[track_caller]
    fn pushed<T: Wire, R: Receiver<Item = T>>(
        &self,
        site: Site,
        address: &str,
        path: &str,
        options: HttpOptions,
        receiver: impl FnOnce(&'static str, std::sync::Arc<PushQueue>) -> R,
    ) -> DStream<T> {
        check_path(path, site);
        let what = format!("`POST {path}` at `{}`", address.trim());
        self.graph().claim(what, "a record could go to only one", site);
        let queue = PushQueue::new(options);
        let stream = self.receiver_at(site, erase(receiver(site.op, queue.clone())), options.level);
        self.graph().http.push(address, path, site, &queue);
        stream
    }
}

/// # Panics
/// When `path` can't be one of the program's.
#[track_caller]
fn check_path(path: &str, site: Site) {
    let good = |b: u8| b.is_ascii_graphic() && b != b'?' && b != b'#';
    assert!(
        path.starts_with('/') && path.bytes().all(good),
        "{site}: `{path}` is no path: write it as in an address, /logs or /a/b"
    );
    assert!(
        path != "/streams" && !path.starts_with("/streams/"),
        "{site}: `{path}` belongs to the served streams: choose another path"
    );
}
