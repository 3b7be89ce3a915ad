//! `serve`: the newest batch of a stream over HTTP.

use serde::Serialize;

use super::output::Runner;
use super::{DStream, Node, Output};
use crate::ServeOptions;
use crate::data::Data;
use crate::engine::{Site, TaskCx, TaskError};
use crate::http::{Topic, Values};
use crate::rdd::pipe::{Flow, Pipe};

/// Partitions that are asked first, in one job; the rest follows when these don't fill the limits.
const FIRST_PARTITIONS: u32 = 64;

impl<T: Data, N: Node<Out = T>> DStream<T, N> {
    /// Shows the newest batch over HTTP, to programs and to pages in a browser, under this name:
    ///
    /// | request | answer |
    /// |---|---|
    /// | `GET /streams/NAME` | the newest batch, as JSON |
    /// | `GET /streams/NAME/events` | the same at once and after each batch, as server-sent events (`EventSource` in a browser) |
    /// | `GET /streams` | the names of all served streams |
    ///
    /// ```json
    /// {"stream":"counts","time":1795272019000,"records":2,"truncated":false,"values":[["a",3],["b",1]]}
    /// ```
    /// `time` is the batch's, in milliseconds (null before the first one); `values` are its records in the
    /// order of its partitions, as serde has them: a pair is an array of two, also where the key is text,
    /// since keys may come more than once; `records` is their number. No more than 1,000 records and
    /// 1 MiB are taken from a batch, where it has more `truncated` is true; see
    /// [`DStream::serve_with`]. The batch is never collected as a whole. A time without an RDD changes
    /// nothing.
    ///
    /// The address is that of [`StreamingContext::serve_at`](crate::StreamingContext::serve_at) or
    /// [`Conf::http_address`](crate::Conf::http_address);
    /// [`StreamingContext::http_address`](crate::StreamingContext::http_address) tells what it became. Any
    /// page may read the answers (CORS), without a password: serve at an address that others reach only if
    /// they may see the data.
    ///
    /// An event's id is the batch time; a client that comes again with `Last-Event-ID` gets the batches
    /// since, of the last 16. A subscriber that is slower than the stream goes on with the newest batch
    /// and finds a comment that says how many it missed; they are counted
    /// (`serve-NAME.skipped_events` in [`counters`](crate::StreamingContext::counters)). After a stop
    /// subscribers get the last batch and an event `end`.
    ///
    /// ```
    /// use brooklet::testing::Driver;
    /// use std::io::{Read, Write};
    /// let mut driver = Driver::new(|ssc| {
    ///     let (queue, words) = ssc.queue_stream::<String>();
    ///     words.map(|w| (w, 1)).reduce_by_key(|a, b| a + b).serve("counts");
    ///     Ok(queue)
    /// })?;
    /// driver.input().push(["brook".to_string(), "brook".to_string()]);
    /// driver.batch()?;
    /// let address = driver.context().http_address().expect("the context has started");
    /// let mut client = std::net::TcpStream::connect(address)?;
    /// client.write_all(b"GET /streams/counts HTTP/1.0\r\n\r\n")?;
    /// let mut answer = String::new();
    /// client.read_to_string(&mut answer)?;
    /// assert!(answer.ends_with(r#""time":1000,"records":1,"truncated":false,"values":[["brook",2]]}"#));
    /// # Ok::<(), brooklet::Error>(())
    /// ```
    ///
    /// # Panics
    /// When another stream of the context is served under this name, or the name has other characters than
    /// letters, digits, `-`, `_` and `.`: the program's mistakes, reported at the call.
    #[track_caller]
    pub fn serve(&self, name: &str) -> Output
    where
        T: Serialize,
    {
        self.served(Site::here("serve"), name, ServeOptions::new())
    }

    /// [`DStream::serve`] with other limits.
    ///
    /// # Panics
    /// As [`DStream::serve`].
    #[track_caller]
    pub fn serve_with(&self, name: &str, options: ServeOptions) -> Output
    where
        T: Serialize,
    {
        self.served(Site::here("serve_with"), name, options)
    }

    #[track_caller]
    fn served(&self, site: Site, name: &str, options: ServeOptions) -> Output
    where
        T: Serialize,
    {
        let topic = self.graph.served(name, site, options);
        let act = move |p: &N::Pipe, cx: &TaskCx<'_>| {
            // What a partition may show, were it the only one.
            let mut shown = (Vec::new(), false);
            let (mut bytes, mut failed) = (0, None);
            let _ = p.try_each(cx, cx.partition(), |x| {
                if shown.0.len() == options.max_elements {
                    shown.1 = true;
                    return Flow::Break(());
                }
                match site.guard(|| serde_json::to_string(&x)) {
                    Ok(json) => {
                        bytes += json.len();
                        shown.0.push(json);
                    }
                    Err(e) => failed = Some(TaskError::codec::<T>(format!("as JSON: {e}"))),
                }
                // The record that passes the limit is taken: the driver sees by it that there was more.
                let go_on = failed.is_none() && bytes <= options.max_bytes;
                if go_on { Flow::Continue(()) } else { Flow::Break(()) }
            })?;
            failed.map_or(Ok(shown), Err)
        };
        self.task_output(site, act, move |runner: &Runner<'_, (Vec<String>, bool)>, t| {
            let mut values = Values::default();
            let (mut from, mut width) = (0, FIRST_PARTITIONS);
            while from < runner.partitions() && !values.truncated {
                let to = runner.partitions().min(from.saturating_add(width));
                for (records, more) in runner.run(from..to)? {
                    let all = records.iter().all(|json| values.add(json, &topic.options));
                    values.truncated |= more || !all;
                    if values.truncated {
                        break;
                    }
                }
                (from, width) = (to, u32::MAX);
            }
            topic.publish(t, &values);
            Ok(())
        })
    }
}

impl super::Graph {
    /// A served stream of this name.
    ///
    /// # Panics
    /// When the name is taken, or no name.
    #[track_caller]
    pub(crate) fn served(
        &self,
        name: &str,
        site: Site,
        options: ServeOptions,
    ) -> std::sync::Arc<Topic> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        assert!(
            !name.is_empty() && name.len() <= 100 && name.chars().all(good),
            "{site}: `{name}` can't be the name of a served stream: use up to 100 letters, digits, `-`, \
             `_` and `.`, for it becomes part of an address"
        );
        self.claim(format!("the served name `{name}`"), "a client could see only one", site);
        self.http.topic(name, site, options)
    }
}
