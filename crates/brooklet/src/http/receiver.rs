//! The receiver behind a stream of pushed records: stores each request as one block, then has it answered.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use flate2::read::MultiGzDecoder;
use hyper::StatusCode;

use super::push::{Push, PushQueue, Reply};
use crate::engine::panic_text;
use crate::receiver::{Receiver, Store, StoreError};
use crate::{BoxError, Str, Wire};

/// Requests that brought records which are stored.
const REQUESTS: &str = "requests";
/// Requests that were refused for what is in them.
const BAD_REQUESTS: &str = "bad_requests";
/// Requests that were told to come again.
const BUSY_REQUESTS: &str = "busy_requests";

/// Takes requests from a [`PushQueue`].
pub(crate) struct HttpReceiver<T: Wire> {
    name: &'static str,
    queue: Arc<PushQueue>,
    store: fn(&mut Store<T>, &[u8]) -> Result<u64, Unstored>,
}

/// Why a body isn't stored.
enum Unstored {
    /// What is wrong with it.
    Bad(String),
    Store(StoreError),
}

impl HttpReceiver<Str> {
    /// The lines of bodies are the records.
    pub(crate) fn text(name: &'static str, queue: Arc<PushQueue>) -> HttpReceiver<Str> {
        let store =
            |out: &mut Store<Str>, body: &[u8]| out.try_store_text(body).map_err(Unstored::Store);
        HttpReceiver { name, queue, store }
    }
}

impl<T: Wire> HttpReceiver<T> {
    /// Each line of a body is a record in JSON.
    pub(crate) fn json(name: &'static str, queue: Arc<PushQueue>) -> HttpReceiver<T> {
        let store = |out: &mut Store<T>, body: &[u8]| {
            let records = json_lines(body).map_err(Unstored::Bad)?;
            let n = records.len() as u64;
            out.try_store_block(records).map_err(Unstored::Store)?;
            Ok(n)
        };
        HttpReceiver { name, queue, store }
    }

    fn take(&self, out: &mut Store<T>, push: &Push) -> Reply {
        let unpacked;
        let body = if push.gzip {
            let max = self.queue.options().max_decompressed;
            match gunzip(&push.body, max) {
                Ok(Some(body)) => unpacked = body,
                Ok(None) => {
                    let text = format!(
                        "the body has more than {max} bytes when it is unpacked: send less in one request"
                    );
                    return Reply::Refused(StatusCode::PAYLOAD_TOO_LARGE, text);
                }
                Err(e) => {
                    let text = format!("the body is no whole gzip: {e}; nothing is stored");
                    return Reply::Refused(StatusCode::BAD_REQUEST, text);
                }
            }
            &unpacked
        } else {
            &push.body
        };
        match (self.store)(out, body) {
            Ok(n) => Reply::Stored(n),
            Err(Unstored::Bad(text)) => Reply::Refused(StatusCode::BAD_REQUEST, text),
            Err(Unstored::Store(e @ (StoreError::NoRoom | StoreError::Stopped))) => {
                Reply::Busy(format!("{e}; nothing is stored"))
            }
            Err(Unstored::Store(e)) => {
                out.report_error("a pushed block couldn't be stored", e.clone());
                Reply::Refused(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())
            }
        }
    }
}

impl<T: Wire> Receiver for HttpReceiver<T> {
    type Item = T;

    fn run(&mut self, out: &mut Store<T>) -> Result<(), BoxError> {
        self.queue.open();
        let queue = self.queue.clone();
        out.on_stop(move || queue.close());
        while let Some(push) = self.queue.next() {
            if push.is_given_up() {
                continue; // the client has gone, and will believe that nothing is stored
            }
            // A record type's own code runs in here.
            let taken = catch_unwind(AssertUnwindSafe(|| self.take(out, &push)));
            let reply = taken.unwrap_or_else(|panic| {
                let text = panic_text(&*panic);
                let text = format!("reading the records panicked: {text}; nothing is stored");
                out.report_error("a pushed request", text.clone());
                Reply::Refused(StatusCode::BAD_REQUEST, text)
            });
            let counter = match &reply {
                Reply::Stored(_) => REQUESTS,
                Reply::Refused(..) => BAD_REQUESTS,
                Reply::Busy(_) => BUSY_REQUESTS,
            };
            out.add_metric(counter, 1);
            out.add_metric(BUSY_REQUESTS, self.queue.turned_away.swap(0, Ordering::Relaxed));
            push.reply(reply);
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.name.into()
    }
}

/// What `packed` holds; nothing when that is more than `max` bytes.
fn gunzip(packed: &[u8], max: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut unpacked = Vec::new();
    let limit = (max as u64).saturating_add(1);
    MultiGzDecoder::new(packed).take(limit).read_to_end(&mut unpacked)?;
    Ok((unpacked.len() <= max).then_some(unpacked))
}

/// One record a line; blank lines are none. The error names the line.
fn json_lines<T: Wire>(body: &[u8]) -> Result<Vec<T>, String> {
    let mut records = Vec::new();
    for (i, line) in body.split(|b| *b == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let record = serde_json::from_slice(line).map_err(|e| {
            let text = e.to_string();
            // Of serde's `at line 1 column 5` only the column means something here.
            let (what, column) = text.rsplit_once(" at line 1 column ").unwrap_or((&text, "1"));
            format!("line {}, column {column}: {what}; nothing of the request is stored", i + 1)
        })?;
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_named_and_blank_ones_are_none() {
        let good = json_lines::<(String, u32)>(b"[\"a\",1]\n\n [\"b\",2] \r\n").unwrap();
        assert_eq!(good, [("a".into(), 1), ("b".into(), 2)]);
        let e = json_lines::<u32>(b"1\n2\nx\n4").unwrap_err();
        assert!(e.starts_with("line 3, column 1: expected value"), "{e}");
        let e = json_lines::<u32>(b"1\n2 3\n").unwrap_err();
        assert!(e.starts_with("line 2, column 3: trailing"), "{e}");
        assert!(json_lines::<u32>(b"").unwrap().is_empty());
    }

    #[test]
    fn unpacking_stops_at_the_limit() {
        use std::io::Write;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&[b'x'; 100_000]).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(gunzip(&packed, 100_000).unwrap().unwrap().len(), 100_000);
        assert!(gunzip(&packed, 99_999).unwrap().is_none());
        assert!(gunzip(&packed[..packed.len() - 9], 1 << 20).is_err());
        assert!(gunzip(b"plain", 10).is_err());
    }
}
