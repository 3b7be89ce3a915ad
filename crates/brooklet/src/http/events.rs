//! One subscriber of a topic: its events as server-sent events.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Bytes;
use tokio::time::{Instant, Sleep, sleep};

use super::topic::{Next, Topic};

/// How a browser that lost the connection should come again, in milliseconds.
const HELLO: &str = "retry: 1000\n\n";
/// Tells a client that no more is to come, before the connection is closed.
const END: &str = "event: end\ndata: {}\n\n";

/// The events of a topic for one client.
pub(super) struct Subscription {
    topic: Arc<Topic>,
    id: u64,
    /// Number of the event that comes next.
    next: u64,
    phase: Phase,
    keep_alive: Pin<Box<Sleep>>,
}

enum Phase {
    Hello,
    Events,
    Over,
}

impl Subscription {
    /// Subscribes; `last` is the id of the last event that the client has seen.
    pub(super) fn new(topic: &Arc<Topic>, last: Option<u64>) -> Subscription {
        let (id, next) = topic.subscribe(last);
        let keep_alive = Box::pin(sleep(topic.options.keep_alive));
        Subscription { topic: topic.clone(), id, next, phase: Phase::Hello, keep_alive }
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.phase {
            Phase::Hello => {
                self.phase = Phase::Events;
                return Poll::Ready(Some(Bytes::from_static(HELLO.as_bytes())));
            }
            Phase::Over => return Poll::Ready(None),
            Phase::Events => {}
        }
        match self.topic.next(self.id, self.next, cx.waker()) {
            Next::Event { frame, skipped, then } => {
                self.next = then;
                self.rest();
                if skipped == 0 {
                    return Poll::Ready(Some(frame));
                }
                let mut text = format!(": {skipped} events skipped\n").into_bytes();
                text.extend_from_slice(&frame);
                Poll::Ready(Some(text.into()))
            }
            Next::End => {
                self.phase = Phase::Over;
                Poll::Ready(Some(Bytes::from_static(END.as_bytes())))
            }
            Next::Wait => {
                if self.keep_alive.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.rest();
                Poll::Ready(Some(Bytes::from_static(b":\n\n")))
            }
        }
    }

    /// Something was sent: the next comment comes an interval later.
    fn rest(&mut self) {
        let at = Instant::now() + self.topic.options.keep_alive;
        self.keep_alive.as_mut().reset(at);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.topic.unsubscribe(self.id);
    }
}
