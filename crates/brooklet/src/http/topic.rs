//! The newest batches of a served stream, and who waits for the next one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use hyper::body::Bytes;

use crate::Time;
use crate::conf::defaults;
use crate::sync::{LockExt, Mutex};

/// How a stream is served; for [`DStream::serve_with`](crate::DStream::serve_with).
///
/// ```
/// use brooklet::{ServeOptions, seconds};
/// let options = ServeOptions::new().max_elements(20).history(100).keep_alive(seconds(5));
/// # let _ = options;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "options do nothing until they are given to `serve_with`"]
pub struct ServeOptions {
    pub(crate) max_elements: usize,
    pub(crate) max_bytes: usize,
    pub(crate) history: usize,
    pub(crate) keep_alive: Duration,
}

impl ServeOptions {
    /// Everything at its default.
    pub const fn new() -> ServeOptions {
        ServeOptions {
            max_elements: defaults::SERVE_ELEMENTS,
            max_bytes: defaults::SERVE_BYTES,
            history: defaults::SERVE_HISTORY,
            keep_alive: defaults::SERVE_KEEP_ALIVE,
        }
    }

    /// Records of a batch that are shown; where it has more, `truncated` is true. Default: 1,000.
    pub const fn max_elements(mut self, records: usize) -> ServeOptions {
        self.max_elements = records;
        self
    }

    /// Bytes of JSON of a batch that are shown, likewise. Default: 1 MiB.
    pub const fn max_bytes(mut self, bytes: usize) -> ServeOptions {
        self.max_bytes = bytes;
        self
    }

    /// Batches that are kept for subscribers that are slow or come again; at least the newest one.
    /// Default: 16.
    pub const fn history(mut self, batches: usize) -> ServeOptions {
        self.history = if batches == 0 { 1 } else { batches };
        self
    }

    /// How often a subscriber to whom nothing happens gets a comment, which keeps the connection open and
    /// finds out that it is lost. Default: 15 s. At least 1 ms.
    pub const fn keep_alive(mut self, interval: Duration) -> ServeOptions {
        let least = Duration::from_millis(1);
        self.keep_alive = if interval.as_nanos() < least.as_nanos() { least } else { interval };
        self
    }
}

impl Default for ServeOptions {
    fn default() -> Self {
        ServeOptions::new()
    }
}

/// The shown records of a batch, each as JSON.
#[derive(Debug, Default)]
pub(crate) struct Values {
    json: String,
    records: usize,
    pub(crate) truncated: bool,
}

impl Values {
    /// Adds a record if the limits allow; `false`, and truncated, if not.
    pub(crate) fn add(&mut self, record: &str, options: &ServeOptions) -> bool {
        let comma = usize::from(self.records > 0);
        if self.records >= options.max_elements
            || self.json.len() + comma + record.len() > options.max_bytes
        {
            self.truncated = true;
            return false;
        }
        if comma > 0 {
            self.json.push(',');
        }
        self.json.push_str(record);
        self.records += 1;
        true
    }
}

/// A served stream.
pub(crate) struct Topic {
    name: String,
    pub(crate) options: ServeOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Consecutive numbers; the last is the newest.
    events: VecDeque<Event>,
    /// Number of the next event.
    next: u64,
    closed: bool,
    waiting: BTreeMap<u64, Waker>,
    subscribers: u64,
    next_subscriber: u64,
    /// Events that subscribers missed because they were too slow.
    skipped: u64,
}

#[derive(Clone)]
struct Event {
    number: u64,
    time: Time,
    /// What a `GET` answers.
    json: Bytes,
    /// The same as a server-sent event.
    frame: Bytes,
    records: usize,
}

/// What a subscriber gets next.
pub(super) enum Next {
    /// An event, after so many that were missed.
    Event { frame: Bytes, skipped: u64, then: u64 },
    /// Nothing yet; the waker is called.
    Wait,
    /// Nothing any more.
    End,
}

impl Topic {
    pub(super) fn new(name: &str, options: ServeOptions) -> Arc<Topic> {
        Arc::new(Topic { name: name.to_string(), options, state: Mutex::default() })
    }

    /// Makes `values` the newest ones.
    pub(crate) fn publish(&self, batch: Time, values: &Values) {
        let json = object(&self.name, Some(batch), values);
        let frame = Bytes::from(format!("id: {}\ndata: {json}\n\n", batch.millis()));
        let wakers = {
            let mut state = self.state.get();
            if state.closed {
                return;
            }
            let event = Event {
                number: state.next,
                time: batch,
                json: Bytes::from(json),
                frame,
                records: values.records,
            };
            state.next += 1;
            state.events.push_back(event);
            while state.events.len() > self.options.history {
                state.events.pop_front();
            }
            std::mem::take(&mut state.waiting)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// No more events: subscribers get what they haven't got yet, and then the end.
    pub(super) fn close(&self) {
        let wakers = {
            let mut state = self.state.get();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// The newest batch as JSON.
    pub(super) fn latest(&self) -> Bytes {
        match self.state.get().events.back() {
            Some(newest) => newest.json.clone(),
            None => object(&self.name, None, &Values::default()).into(),
        }
    }

    /// A line of the list of streams.
    pub(super) fn summary(&self) -> String {
        let state = self.state.get();
        let newest = state.events.back();
        format!(
            "{{\"name\":\"{}\",\"time\":{},\"records\":{},\"subscribers\":{}}}",
            self.name,
            millis(newest.map(|e| e.time)),
            newest.map_or(0, |e| e.records),
            state.subscribers
        )
    }

    pub(super) fn counters(&self) -> [(String, u64); 2] {
        let state = self.state.get();
        [
            (format!("serve-{}.subscribers", self.name), state.subscribers),
            (format!("serve-{}.skipped_events", self.name), state.skipped),
        ]
    }

    /// A new subscriber, and the number of the first event that it wants: of those that are kept the first
    /// after `last` (a batch time in milliseconds), else the newest.
    pub(super) fn subscribe(&self, last: Option<u64>) -> (u64, u64) {
        let mut state = self.state.get();
        let id = state.next_subscriber;
        state.next_subscriber += 1;
        state.subscribers += 1;
        let from = match (last, state.events.back()) {
            (_, None) => state.next,
            (Some(last), Some(newest)) if newest.time.millis() == last => newest.number + 1,
            (Some(last), Some(newest)) if newest.time.millis() > last => {
                let missed = state.events.iter().find(|e| e.time.millis() > last);
                missed.map_or(newest.number, |e| e.number)
            }
            // A new client, or an id of another run.
            (_, Some(newest)) => newest.number,
        };
        (id, from)
    }

    pub(super) fn unsubscribe(&self, id: u64) {
        let mut state = self.state.get();
        state.subscribers -= 1;
        state.waiting.remove(&id);
    }

    /// The event of this number, or the newest when that is gone.
    pub(super) fn next(&self, id: u64, number: u64, waker: &Waker) -> Next {
        let mut state = self.state.get();
        let Some(first) = state.events.front().map(|e| e.number) else {
            return wait_or_end(&mut state, id, waker);
        };
        let skipped = if number < first { state.next - 1 - number } else { 0 };
        let at = (number + skipped - first) as usize;
        let Some(frame) = state.events.get(at).map(|e| e.frame.clone()) else {
            return wait_or_end(&mut state, id, waker);
        };
        state.skipped += skipped;
        Next::Event { frame, skipped, then: number + skipped + 1 }
    }
}

fn wait_or_end(state: &mut State, id: u64, waker: &Waker) -> Next {
    if state.closed {
        return Next::End;
    }
    state.waiting.insert(id, waker.clone());
    Next::Wait
}

fn millis(t: Option<Time>) -> String {
    t.map_or("null".into(), |t| t.millis().to_string())
}

/// A batch as clients see it.
fn object(name: &str, t: Option<Time>, values: &Values) -> String {
    format!(
        "{{\"stream\":\"{name}\",\"time\":{},\"records\":{},\"truncated\":{},\"values\":[{}]}}",
        millis(t),
        values.records,
        values.truncated,
        values.json
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(topic: &Topic, t: u64) {
        let mut values = Values::default();
        values.add(&t.to_string(), &topic.options);
        topic.publish(Time::from_millis(t), &values);
    }

    /// All that a subscriber gets at once, as (values, missed before).
    fn drain(topic: &Topic, id: u64, mut from: u64) -> (Vec<(String, u64)>, u64) {
        let mut got = Vec::new();
        while let Next::Event { frame, skipped, then } = topic.next(id, from, Waker::noop()) {
            let text = String::from_utf8(frame.to_vec()).unwrap();
            let values = text.split("\"values\":").nth(1).unwrap();
            got.push((values.trim_end().trim_end_matches('}').to_string(), skipped));
            from = then;
        }
        (got, from)
    }

    fn seen(values: &[(&str, u64)]) -> Vec<(String, u64)> {
        values.iter().map(|(v, n)| (v.to_string(), *n)).collect()
    }

    #[test]
    fn values_stop_at_either_limit() {
        let options = ServeOptions::new().max_elements(2).max_bytes(5);
        let mut values = Values::default();
        assert!(values.add("11", &options) && values.add("22", &options) && !values.truncated);
        assert!(!values.add("3", &options) && values.truncated);
        assert_eq!((&*values.json, values.records), ("11,22", 2));
        let mut values = Values::default();
        assert!(values.add("1234", &options) && !values.add("5", &options) && values.truncated);
        assert!(!Values::default().add("123456", &options));
    }

    #[test]
    fn a_subscriber_gets_the_newest_and_then_each() {
        let topic = Topic::new("x", ServeOptions::new().history(3));
        let (id, from) = topic.subscribe(None);
        assert_eq!(drain(&topic, id, from).0, seen(&[]));
        (1..=2).for_each(|t| publish(&topic, t));
        assert_eq!(drain(&topic, id, from).0, seen(&[("[1]", 0), ("[2]", 0)]));
        let (id, from) = topic.subscribe(None);
        let (got, from) = drain(&topic, id, from);
        assert_eq!(got, seen(&[("[2]", 0)]));
        publish(&topic, 3);
        assert_eq!(drain(&topic, id, from).0, seen(&[("[3]", 0)]));
    }

    #[test]
    fn one_that_comes_again_gets_what_it_missed_as_far_as_it_is_kept() {
        let topic = Topic::new("x", ServeOptions::new().history(3));
        (1..=5).for_each(|t| publish(&topic, t * 10));
        let after = |last| {
            let (id, from) = topic.subscribe(Some(last));
            drain(&topic, id, from).0
        };
        assert_eq!(after(40), seen(&[("[50]", 0)]));
        assert_eq!(after(30), seen(&[("[40]", 0), ("[50]", 0)]));
        assert_eq!(after(10), seen(&[("[30]", 0), ("[40]", 0), ("[50]", 0)]));
        assert_eq!(after(50), seen(&[]));
        assert_eq!(after(9_999), seen(&[("[50]", 0)]), "an id of another run");
    }

    #[test]
    fn a_slow_one_goes_on_with_the_newest_and_that_is_counted() {
        let topic = Topic::new("x", ServeOptions::new().history(2));
        publish(&topic, 1);
        let (id, from) = topic.subscribe(None);
        let (_, from) = drain(&topic, id, from);
        (2..=6).for_each(|t| publish(&topic, t));
        assert_eq!(drain(&topic, id, from).0, seen(&[("[6]", 4)]));
        assert_eq!(topic.counters()[1], ("serve-x.skipped_events".into(), 4));
    }

    #[test]
    fn a_closed_topic_gives_the_last_and_then_the_end() {
        let topic = Topic::new("x", ServeOptions::new());
        let (id, from) = topic.subscribe(None);
        publish(&topic, 1);
        topic.close();
        publish(&topic, 2);
        let (got, from) = drain(&topic, id, from);
        assert_eq!(got, seen(&[("[1]", 0)]));
        assert!(matches!(topic.next(id, from, Waker::noop()), Next::End));
        topic.unsubscribe(id);
        assert_eq!(topic.counters()[0].1, 0);
    }
}
