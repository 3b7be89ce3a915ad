use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a read may take before it fails.
const LIMIT: Duration = Duration::from_secs(60);

/// A plain HTTP/1.1 client for one connection, for the tests of served and of pushed streams.
///
/// ```
/// use brooklet::testing::Driver;
/// use brooklet_testkit::HttpClient;
/// let mut driver = Driver::new(|ssc| {
///     let (queue, numbers) = ssc.queue_stream::<i32>();
///     numbers.serve("numbers");
///     Ok(queue)
/// })?;
/// driver.input().push([1, 2, 3]);
/// driver.batch()?;
/// let mut client = HttpClient::connect(driver.context().http_address().expect("started"))?;
/// let answer = client.get("/streams/numbers")?;
/// assert_eq!(answer.status, 200);
/// assert!(answer.text().contains(r#""values":[1,2,3]"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct HttpClient {
    stream: BufReader<TcpStream>,
}

/// What a server answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpAnswer {
    /// The status, such as 200.
    pub status: u16,
    /// Header lines; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl HttpClient {
    /// A connection to `address`.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect(address: SocketAddr) -> io::Result<HttpClient> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(HttpClient { stream: BufReader::new(stream) })
    }

    /// `GET path`.
    ///
    /// # Errors
    /// A lost connection, or an answer that isn't HTTP.
    pub fn get(&mut self, path: &str) -> io::Result<HttpAnswer> {
        self.request("GET", path, &[], b"")
    }

    /// `POST path` with a body.
    ///
    /// # Errors
    /// As [`HttpClient::get`].
    pub fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> io::Result<HttpAnswer> {
        self.request("POST", path, &[], body.as_ref())
    }

    /// Any request.
    ///
    /// # Errors
    /// As [`HttpClient::get`].
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<HttpAnswer> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.send(head.as_bytes())?;
        self.send(body)?;
        self.answer(method == "HEAD")
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// A lost connection.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one answer; `headless` when it has no body in spite of its headers (`HEAD`).
    ///
    /// # Errors
    /// As [`HttpClient::get`].
    pub fn answer(&mut self, headless: bool) -> io::Result<HttpAnswer> {
        let (status, headers) = self.head()?;
        let mut answer = HttpAnswer { status, headers, body: Vec::new() };
        let length = answer.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        if !headless {
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Subscribes to the server-sent events at `path`; `last` is the id of the last one seen.
    ///
    /// # Errors
    /// As [`HttpClient::get`], and another status than 200.
    pub fn events(mut self, path: &str, last: Option<u64>) -> io::Result<HttpEvents> {
        let last = last.map_or(String::new(), |id| format!("last-event-id: {id}\r\n"));
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n{last}\r\n").as_bytes())?;
        let (status, headers) = self.head()?;
        if status != 200 || !headers.contains(&("transfer-encoding".into(), "chunked".into())) {
            return Err(io::Error::other(format!("no events but {status}: {headers:?}")));
        }
        Ok(HttpEvents { stream: self.stream, text: VecDeque::new() })
    }

    fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let first = line(&mut self.stream)?;
        let status = first.strip_prefix("HTTP/1.").and_then(|s| s.get(2..5)?.parse().ok());
        let status =
            status.ok_or_else(|| io::Error::other(format!("no status line: `{first}`")))?;
        let mut headers = Vec::new();
        loop {
            let next = line(&mut self.stream)?;
            if next.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = next.split_once(':').unwrap_or((&next, ""));
            headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
        }
    }
}

fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut text = Vec::new();
    if stream.read_until(b'\n', &mut text)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&text).trim_end().to_string())
}

/// Server-sent events, one after the other; the end of the iterator is the end of the connection.
pub struct HttpEvents {
    stream: BufReader<TcpStream>,
    text: VecDeque<u8>,
}

/// A server-sent event, or a comment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpEvent {
    /// Its kind, where it says one.
    pub event: Option<String>,
    /// Its id.
    pub id: Option<u64>,
    /// Its data.
    pub data: String,
    /// Comments before or in place of it.
    pub comments: Vec<String>,
}

impl HttpEvents {
    /// The next event that has data.
    ///
    /// # Panics
    /// At the end, and when nothing comes for a minute: this is for tests.
    pub fn next_event(&mut self) -> HttpEvent {
        match self.find(|e| !e.data.is_empty()) {
            Some(event) => event,
            None => panic!("the events have ended"),
        }
    }

    /// A chunk of the body; nothing at its end.
    fn chunk(&mut self) -> io::Result<bool> {
        let size = line(&mut self.stream)?;
        let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk)?;
        self.text.extend(&chunk[..size]);
        Ok(size > 0)
    }

    fn block_end(&self) -> Option<usize> {
        self.text.iter().zip(self.text.iter().skip(1)).position(|(a, b)| (*a, *b) == (b'\n', b'\n'))
    }
}

impl Iterator for HttpEvents {
    type Item = HttpEvent;

    fn next(&mut self) -> Option<HttpEvent> {
        let end = loop {
            if let Some(end) = self.block_end() {
                break end;
            }
            match self.chunk() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return None,
                Err(e) => panic!("reading events: {e}"),
            }
        };
        let block: Vec<u8> = self.text.drain(..end + 2).collect();
        let mut event = HttpEvent::default();
        for line in String::from_utf8_lossy(&block).lines() {
            match line.split_once(':').map(|(k, v)| (k, v.trim_start())) {
                Some(("", comment)) => event.comments.push(comment.to_string()),
                Some(("id", id)) => event.id = id.parse().ok(),
                Some(("event", kind)) => event.event = Some(kind.to_string()),
                Some(("data", data)) => event.data.push_str(data),
                _ => {}
            }
        }
        Some(event)
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpEvents").finish_non_exhaustive()
    }
}
