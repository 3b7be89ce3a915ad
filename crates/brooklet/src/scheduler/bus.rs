//! Carries events to the listeners: one bounded queue, one thread, and neither when nobody listens.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use super::listener::{Event, ListenerId, StreamingListener};
use super::panic_text;
use crate::conf::defaults;
use crate::sync::{Condvar, LockExt, Mutex, MutexGuard, wait};
use crate::time::{Clock, SystemClock};

type Shared = Arc<Mutex<Box<dyn StreamingListener>>>;

/// The listeners of one stream. Adding, removing and posting work at any time, from any thread.
pub(crate) struct ListenerBus {
    app: String,
    limit: usize,
    /// Whether anybody listens; posting looks here first.
    listening: AtomicBool,
    dropped: Arc<AtomicU64>,
    state: Mutex<State>,
    /// Wakes the bus thread.
    more: Condvar,
    /// Wakes whoever waits for the queue to be empty.
    quiet: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(u64, Event)>,
    posted: u64,
    listeners: Vec<(ListenerId, u64, Shared)>,
    version: u64,
    next_id: u64,
    thread: Option<JoinHandle<()>>,
    thread_id: Option<ThreadId>,
    busy: bool,
    closed: bool,
    lossy: bool,
}

impl ListenerBus {
    /// A bus without listeners. What is dropped is counted in `dropped`.
    pub(crate) fn new(app: &str, dropped: Arc<AtomicU64>) -> Arc<ListenerBus> {
        ListenerBus::with_limit(app, dropped, defaults::LISTENER_QUEUE)
    }

    pub(crate) fn with_limit(app: &str, dropped: Arc<AtomicU64>, limit: usize) -> Arc<ListenerBus> {
        Arc::new(ListenerBus {
            app: app.into(),
            limit: limit.max(1),
            listening: AtomicBool::new(false),
            dropped,
            state: Mutex::default(),
            more: Condvar::new(),
            quiet: Condvar::new(),
        })
    }

    /// Adds a listener; it hears of everything that is posted from now on.
    pub(crate) fn add(&self, listener: impl StreamingListener) -> ListenerId {
        self.add_boxed(Box::new(listener))
    }

    pub(crate) fn add_boxed(&self, listener: Box<dyn StreamingListener>) -> ListenerId {
        let mut s = self.state.get();
        let id = ListenerId(s.next_id);
        s.next_id += 1;
        let from = s.posted;
        s.listeners.push((id, from, Arc::new(Mutex::new(listener))));
        s.version += 1;
        self.listening.store(!s.closed, Ordering::Release);
        id
    }

    /// Removes a listener; `false` when it isn't here (any more). A call that is under way may still end
    /// after this returns; no other follows.
    pub(crate) fn remove(&self, id: ListenerId) -> bool {
        let gone: Vec<_> = self.take(id);
        !gone.is_empty() // dropped here, without the lock: a listener's drop is user code
    }

    fn take(&self, id: ListenerId) -> Vec<(ListenerId, u64, Shared)> {
        let mut s = self.state.get();
        let gone: Vec<_> = s.listeners.extract_if(.., |l| l.0 == id).collect();
        s.version += 1;
        if s.listeners.is_empty() {
            self.listening.store(false, Ordering::Release);
            self.more.notify_all(); // the thread ends
        }
        gone
    }

    /// Whether anybody listens: posting without is a waste of an event.
    #[inline]
    pub(crate) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    /// Queues the event for all listeners, made only if there is one. Never blocks on a listener.
    #[inline]
    pub(crate) fn post(self: &Arc<Self>, event: impl FnOnce() -> Event) {
        if self.is_listening() {
            self.queue(event(), true);
        }
    }

    /// [`ListenerBus::post`] without waking the listeners' thread: somebody calls
    /// [`ListenerBus::wake`] soon.
    #[inline]
    pub(crate) fn post_quietly(self: &Arc<Self>, event: impl FnOnce() -> Event) {
        if self.is_listening() {
            self.queue(event(), false);
        }
    }

    /// Has queued events told.
    #[inline]
    pub(crate) fn wake(&self) {
        if self.is_listening() {
            let s = self.state.get();
            if !s.busy && !s.queue.is_empty() {
                self.more.notify_one();
            }
        }
    }

    fn queue(self: &Arc<Self>, event: Event, wake: bool) {
        let mut s = self.state.get();
        if s.closed || s.listeners.is_empty() {
            return;
        }
        let n = s.posted;
        s.posted += 1;
        s.queue.push_back((n, event));
        if s.queue.len() > self.limit {
            s.queue.pop_front();
            self.dropped.fetch_add(1, Ordering::Relaxed);
            if !std::mem::replace(&mut s.lossy, true) {
                tracing::warn!(
                    app = self.app,
                    "listeners are too slow: the oldest events are dropped"
                );
            }
        }
        if s.thread.is_none() {
            self.spawn(&mut s);
        }
        if wake && !s.busy {
            self.more.notify_one();
        }
    }

    fn spawn(self: &Arc<Self>, s: &mut MutexGuard<'_, State>) {
        let bus = self.clone();
        let name = format!("{}-listeners", self.app);
        match thread::Builder::new().name(name).spawn(move || bus.run()) {
            Ok(t) => {
                s.thread_id = Some(t.thread().id());
                s.thread = Some(t);
            }
            Err(e) => tracing::error!(app = self.app, "no thread for listeners: {e}"),
        }
    }

    /// Whether the caller is a listener's method.
    pub(crate) fn is_listener_thread(&self) -> bool {
        self.state.get().thread_id == Some(thread::current().id())
    }

    fn run(&self) {
        let mut known: Vec<(ListenerId, u64, Shared)> = Vec::new();
        let mut version = u64::MAX;
        let mut s = self.state.get();
        loop {
            if version != s.version {
                version = s.version;
                known.clone_from(&s.listeners);
            }
            if known.is_empty() {
                s.queue.clear();
            }
            let Some((n, event)) = s.queue.pop_front() else {
                s.lossy = false;
                self.quiet.notify_all();
                if s.closed || known.is_empty() {
                    break;
                }
                s = wait(&self.more, s, None);
                continue;
            };
            s.busy = true;
            drop(s);
            for (id, _, listener) in known.iter().filter(|l| l.1 <= n) {
                let call = || event.tell(&mut **listener.get());
                if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
                    let text = panic_text(&*panic);
                    tracing::error!(app = self.app, "{id} panicked and was removed: {text}");
                    drop(self.take(*id));
                }
            }
            s = self.state.get();
            s.busy = false;
        }
        // Whoever posts next starts a new thread; `stop` joins this one if it is still the one.
        if s.thread_id == Some(thread::current().id()) && !s.closed {
            s.thread = None;
            s.thread_id = None;
        }
        drop(s);
        drop(known);
    }

    /// Takes no more events and waits until all that were posted are delivered, at most `limit` long.
    /// Returns whether they were. The listeners are dropped.
    pub(crate) fn stop(&self, limit: Duration) -> bool {
        let real = SystemClock::new();
        let deadline = real.now().after(limit);
        let mut s = self.state.get();
        s.closed = true;
        self.listening.store(false, Ordering::Release);
        self.more.notify_all();
        while s.thread.is_some() && (s.busy || !s.queue.is_empty()) {
            let now = real.now();
            if now >= deadline {
                let left = s.queue.len();
                s.queue.clear();
                s.thread = None; // left behind: it ends when its listener returns
                drop(s);
                tracing::error!(
                    app = self.app,
                    "a listener hangs; {left} events were not delivered"
                );
                return false;
            }
            s = wait(&self.quiet, s, Some(deadline.since(now)));
        }
        let thread = s.thread.take();
        let listeners = std::mem::take(&mut s.listeners);
        drop(s);
        if let Some(t) = thread {
            let _ = t.join(); // its panics are caught inside
        }
        drop(listeners);
        true
    }
}

impl fmt::Debug for ListenerBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.state.get();
        f.debug_struct("ListenerBus")
            .field("app", &self.app)
            .field("listeners", &s.listeners.len())
            .field("queued", &s.queue.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::Time;
    use crate::time::Timestamp;

    struct Numbers(mpsc::Sender<u64>, mpsc::Receiver<()>);

    impl StreamingListener for Numbers {
        fn on_streaming_started(&mut self, at: Timestamp) {
            let _ = self.0.send(at.nanos());
            let _ = self.1.recv();
        }
    }

    fn event(n: u64) -> Event {
        Event::StreamingStarted(Timestamp::from_nanos(n))
    }

    #[test]
    fn oldest_events_are_dropped_and_counted() {
        let dropped = Arc::new(AtomicU64::new(0));
        let bus = ListenerBus::with_limit("t", dropped.clone(), 3);
        let (tx, rx) = mpsc::channel();
        let (gate, held) = mpsc::channel();
        bus.add(Numbers(tx, held));
        bus.post(|| event(0));
        assert_eq!(rx.recv().unwrap(), 0); // the listener is held now
        (1..=10).for_each(|n| bus.post(|| event(n)));
        assert_eq!(dropped.load(Ordering::Relaxed), 7);
        drop(gate);
        assert!(bus.stop(Duration::from_secs(5)));
        assert_eq!(rx.iter().collect::<Vec<_>>(), [8, 9, 10]);
        bus.post(|| panic!("made an event that nobody hears"));
    }

    #[test]
    fn listener_hears_nothing_of_the_time_before_it_and_no_thread_is_left_without_one() {
        let bus = ListenerBus::new("t", Arc::default());
        let open = || {
            let (gate, held) = mpsc::channel();
            drop(gate);
            held
        };
        let (tx, rx) = mpsc::channel();
        let (late_tx, late_rx) = mpsc::channel();
        bus.post(|| event(1));
        let id = bus.add(Numbers(tx, open()));
        bus.post(|| event(2));
        let late = bus.add(Numbers(late_tx, open()));
        bus.post(|| event(3));
        assert_eq!((rx.recv().unwrap(), rx.recv().unwrap()), (2, 3));
        assert_eq!(late_rx.recv().unwrap(), 3);
        assert!(bus.remove(id) && !bus.remove(id) && bus.remove(late));
        assert!(!bus.is_listening());
        assert!(rx.recv().is_err(), "the listener was dropped");
        let (tx, rx) = mpsc::channel();
        bus.add(Numbers(tx, open()));
        bus.post(|| event(Time::from_millis(1).millis()));
        assert!(bus.stop(Duration::from_secs(5)));
        assert_eq!(rx.iter().collect::<Vec<_>>(), [1]);
    }
}
