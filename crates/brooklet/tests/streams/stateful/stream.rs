//! The same programs through the public API.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brooklet::prelude::*;
use brooklet::{Input, Partitioner, Partitions, StateStream, Wire};

use super::naive::{self, Cell, NOTHING, joined, keeps, merge, poisoned, pushed};
use super::program::{
    Api, Feed, Form, Keep, Mapping, Merge, Op, POISON, Pair, Parts, REFUSE, Spec,
};
use super::program::{Span, Stream, Update};

/// The key for a number of the recomputation: some are short, some too long to be kept inline and cut out of
/// a longer text.
fn name(k: i64) -> Str {
    if k % 3 == 0 {
        return format!("key {k}").into();
    }
    let line: Str = format!("much longer than what is kept inline: key {k}, {:64}", "rest").into();
    line.split(',').next().unwrap_or_default()
}

fn number(key: &Str) -> i64 {
    key.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(i64::MIN)
}

/// A state as the engine has it.
pub trait Held: Wire {
    fn of(v: i64) -> Self;
    fn value(&self) -> i64;
    fn push(&mut self, v: i64);
}

impl Held for i64 {
    fn of(v: i64) -> i64 {
        v
    }
    fn value(&self) -> i64 {
        *self
    }
    fn push(&mut self, v: i64) {
        *self = pushed(*self, v);
    }
}

/// One that owns memory.
impl Held for Vec<i64> {
    fn of(v: i64) -> Vec<i64> {
        vec![v]
    }
    fn value(&self) -> i64 {
        self.iter().copied().reduce(pushed).unwrap_or(i64::MIN)
    }
    fn push(&mut self, v: i64) {
        Vec::push(self, v);
    }
}

struct Engine<'a, S>(&'a mut State<S>);

impl<S: Held> Cell for Engine<'_, S> {
    fn get(&self) -> Option<i64> {
        assert_eq!(self.0.exists(), self.0.get().is_some());
        self.0.get().map(S::value)
    }
    fn set(&mut self, v: i64) {
        self.0.update(S::of(v));
    }
    fn push(&mut self, v: i64) -> bool {
        self.0.modify(|s| s.push(v))
    }
    fn remove(&mut self) {
        self.0.remove();
    }
}

/// The key's rest decides.
struct Rest(usize);

impl Partitioner<Str> for Rest {
    fn partitions(&self) -> usize {
        self.0
    }
    fn partition(&self, key: &Str) -> usize {
        number(key).rem_euclid(self.0 as i64) as usize
    }
    fn name(&self) -> String {
        "rest".into()
    }
}

/// A call of a user's function that fails: of which operator (the inputs are number 0), after how many calls
/// that went well, and how often in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trip {
    pub batch: usize,
    pub op: usize,
    pub after: u32,
    pub times: u32,
}

#[derive(Default)]
struct Armed {
    op: usize,
    calls: u32,
    after: u32,
    times: u32,
}

/// Where functions of the user fail.
#[derive(Clone, Default)]
pub struct Trips {
    armed: Arc<Mutex<Option<Armed>>>,
    tripped: Arc<AtomicU32>,
}

impl Trips {
    /// From here on, until the next call.
    pub fn arm(&self, trip: Option<&Trip>) {
        *self.lock() = trip.map(|t| Armed { op: t.op, calls: 0, after: t.after, times: t.times });
    }

    /// How often that was.
    pub fn tripped(&self) -> u32 {
        self.tripped.load(Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call of a function of operator `op`.
    fn call(&self, op: usize) {
        let mut armed = self.lock();
        let Some(a) = armed.as_mut().filter(|a| a.op == op && a.times > 0) else { return };
        a.calls += 1;
        if a.calls > a.after {
            (a.calls, a.times) = (0, a.times - 1);
            drop(armed);
            self.tripped.fetch_add(1, Relaxed);
            fail();
        }
    }
}

/// A panic without its text on the console.
fn fail() -> ! {
    std::panic::resume_unwind(Box::new("tripped (this panic belongs to the test)"))
}

/// An input that gives what it is told for each batch, also nothing.
pub struct Script {
    feed: VecDeque<Option<Parts>>,
    trips: Trips,
}

impl Script {
    fn new(feed: &Feed, trips: &Trips) -> Script {
        let feed = feed.iter().cloned().collect();
        Script { feed, trips: trips.clone() }
    }
}

impl Input for Script {
    type Item = (Str, i64);
    type Slice = Parts;
    type Pipe = Partitions<(Str, i64)>;

    fn allocate(&mut self, _: Time, _: Option<u64>) -> Result<Option<Parts>, BoxError> {
        Ok(self.feed.pop_front().ok_or("there is no such batch")?)
    }

    fn read(&self, slice: &Arc<Parts>) -> Result<Partitions<(Str, i64)>, BoxError> {
        let (parts, trips) = (slice.clone(), self.trips.clone());
        Ok(Partitions::from_fn(parts.len(), move |i| {
            trips.call(0);
            parts[i].iter().map(|(k, v)| (name(*k), *v)).collect::<Vec<_>>()
        }))
    }
}

pub type Records = DStream<(Str, i64)>;

/// Makes the streams of a program one by one.
pub struct Build<'a> {
    ssc: &'a StreamingContext,
    trips: &'a Trips,
    streams: Vec<Records>,
    /// The snapshots of those that have a state.
    snapshots: Vec<Option<Rc<dyn Fn() -> Records>>>,
}

/// The streams of the program: the inputs, then what each step makes.
pub fn build(
    ssc: &StreamingContext,
    program: &[Stream],
    feeds: &[Feed],
    trips: &Trips,
) -> Vec<Records> {
    let inputs = feeds.iter().map(|feed| ssc.input_stream(Script::new(feed, trips)));
    let streams: Vec<Records> = inputs.collect();
    let snapshots = vec![None; streams.len()];
    let mut b = Build { ssc, trips, streams, snapshots };
    for stream in program {
        if let Some(op) = stream.op {
            let (made, snapshots) = b.step(op, stream);
            assert_eq!(made.slide_duration(), seconds(stream.slide), "{op:?}");
            b.streams.push(made);
            b.snapshots.push(snapshots);
        }
    }
    b.streams
}

type Snapshots = Option<Rc<dyn Fn() -> Records>>;

impl Build<'_> {
    fn step(&self, op: Op, stream: &Stream) -> (Records, Snapshots) {
        let mut s = self.streams[stream.from[0]].clone();
        if stream.sums_first {
            s = s.reduce_by_key(|a, b| merge(Merge::Add, a, b));
        }
        let made = match op {
            Op::Union => s.union(&self.streams[stream.from[1]]),
            Op::Join(form) => join(&s, &self.streams[stream.from[1]], form),
            Op::Snapshots => match &self.snapshots[stream.from[0]] {
                Some(snapshots) => snapshots(),
                None => unreachable!("a stream without state"),
            },
            Op::MapState(m, spec) => return self.map_state(&s, m, spec),
            Op::UpdateState(u, spec) => self.update_state(&s, u, spec),
            Op::UpdateStateIter(u, spec, moves) => self.update_state_iter(&s, u, spec, moves),
            op => match op.span() {
                Some(span) => self.window(op, span, &s),
                None => plain(op, &s),
            },
        };
        (made, None)
    }

    /// Counts a call of the operator that is made now.
    fn tripping(&self) -> impl Fn() + Clone + Send + Sync + 'static {
        let (trips, op) = (self.trips.clone(), self.streams.len() - 1);
        move || trips.call(op)
    }

    fn merging(&self, m: Merge) -> impl Fn(i64, i64) -> i64 + Clone + Send + Sync + 'static {
        let trip = self.tripping();
        move |a, b| {
            trip();
            merge(m, a, b)
        }
    }

    /// Takes from `a` what was merged into it.
    fn inverting(&self, m: Merge) -> impl Fn(i64, i64) -> i64 + Clone + Send + Sync + 'static {
        let trip = self.tripping();
        move |a, b| {
            trip();
            if m == Merge::Add { a.wrapping_sub(b) } else { a ^ b }
        }
    }

    fn keeping(&self, keep: Keep) -> impl Fn(&Str, &i64) -> bool + Send + Sync + 'static {
        let trip = self.tripping();
        move |k, v| {
            trip();
            keeps(keep, number(k), *v)
        }
    }

    fn window(&self, op: Op, span: Span, s: &Records) -> Records {
        let p = s.slide_duration();
        let times = |n: u64| p * u32::try_from(n).unwrap_or(1);
        let (w, slide): (Duration, Option<Duration>) = (times(span.window), span.slide.map(times));
        let named = |v: i64| (name(0), v);
        match op {
            Op::Window(_) => s.window(w, slide),
            Op::ReduceWindow(_, m) => {
                s.map(|(_, v)| v).reduce_by_window(self.merging(m), w, slide).map(named).boxed()
            }
            Op::ReduceWindowInv(_, m) => {
                let (f, inverse) = (self.merging(m), self.inverting(m));
                s.map(|(_, v)| v).reduce_by_window_inv(f, inverse, w, slide).map(named).boxed()
            }
            Op::CountWindow(_) => s.count_by_window(w, slide).map(move |n| named(n as i64)).boxed(),
            Op::CountValueWindow(_, parts) => {
                let counts = match parts {
                    None => s.count_by_value_and_window(w, slide),
                    Some(n) => s.count_by_value_and_window_into(w, slide, n),
                };
                counts.map(|((k, v), n)| (k, naive::counted(v, n as i64))).boxed()
            }
            Op::ReduceKeyWindow(_, form, m) => {
                let f = self.merging(m);
                match form {
                    Form::Default => s.reduce_by_key_and_window(f, w, slide),
                    Form::Into(n) => s.reduce_by_key_and_window_into(f, w, slide, n),
                    Form::With(n) => s.reduce_by_key_and_window_with(f, w, slide, Rest(n)),
                }
            }
            Op::ReduceKeyWindowInv(_, m) => {
                s.reduce_by_key_and_window_inv(self.merging(m), self.inverting(m), w, slide)
            }
            Op::ReduceKeyWindowFilter(_, form, m, keep) => {
                let (f, inverse, keep) = (self.merging(m), self.inverting(m), self.keeping(keep));
                let parts = match form {
                    Form::Default => None,
                    Form::Into(n) => Some(n),
                    Form::With(n) => {
                        let rest = Rest(n);
                        return s
                            .reduce_by_key_and_window_inv_with(f, inverse, w, slide, rest, keep);
                    }
                };
                s.reduce_by_key_and_window_inv_filter(f, inverse, w, slide, parts, keep)
            }
            Op::GroupKeyWindow(_, form) => {
                let groups = match form {
                    Form::Default => s.group_by_key_and_window(w, slide),
                    Form::Into(n) => s.group_by_key_and_window_into(w, slide, n),
                    Form::With(n) => s.group_by_key_and_window_with(w, slide, Rest(n)),
                };
                groups.map_values(|vs| naive::digest(&vs)).boxed()
            }
            op => unreachable!("{op:?} is no window"),
        }
    }

    fn spec<S: Held>(&self, spec: Spec) -> StateSpec<Str, S> {
        let mut made = StateSpec::new();
        if spec.initial {
            let states = naive::initial().into_iter().map(|(k, s)| (name(k), S::of(s)));
            made = made.initial_state(self.ssc.context().parallelize(states, 2));
        }
        if let Some(half) = spec.timeout {
            made = made.timeout(millis(500 * half));
        }
        match spec.form {
            Form::Default => made,
            Form::Into(n) => made.partitions(n),
            Form::With(n) => made.partitioner(Rest(n)),
        }
    }

    fn map_state(&self, s: &Records, m: Mapping, spec: Spec) -> (Records, Snapshots) {
        let trip = self.tripping();
        let before = move |v: Option<i64>, timing_out: bool| {
            trip();
            assert_eq!(timing_out, v.is_none());
            if v.is_some_and(|v| poisoned(spec, v)) {
                fail();
            }
        };
        match spec.api {
            Api::Plain => with_snapshots(s.map_with_state(some::<i64>(m, before))),
            Api::Spec => {
                let f = some::<Vec<i64>>(m, before);
                with_snapshots(s.map_with_state_spec(self.spec(spec), f))
            }
            Api::At => {
                let f = move |t: Time, k: &Str, v: Option<i64>, state: &mut State<i64>| {
                    before(v, state.is_timing_out());
                    let out = naive::mapped(m, t.millis(), number(k), v, &mut Engine(state));
                    out.map(|out| (k.clone(), out))
                };
                with_snapshots(s.map_with_state_at(self.spec(spec), f))
            }
        }
    }

    fn update_state_iter(&self, s: &Records, u: Update, spec: Spec, moves: bool) -> Records {
        let trip = self.tripping();
        let made = self.spec(spec).remember_partitioner(!moves);
        s.update_state_by_key_iter(made, move |t, all| {
            trip();
            let each = |(k, new, old): (Str, Vec<i64>, Option<i64>)| {
                if new.iter().any(|v| poisoned(spec, *v)) {
                    fail();
                }
                let state = naive::updated(u, t.millis(), number(&k), &new, old)?;
                Some((if moves { name(naive::moved(number(&k))) } else { k }, state))
            };
            all.filter_map(each).collect::<Vec<_>>()
        })
    }

    fn update_state(&self, s: &Records, u: Update, spec: Spec) -> Records {
        let trip = self.tripping();
        let before = move |new: &[i64]| {
            trip();
            if new.iter().any(|v| poisoned(spec, *v)) {
                fail();
            }
        };
        // Only the last form is told time and key.
        match spec.api {
            Api::Plain => s.update_state_by_key(move |new, old| {
                before(new);
                naive::updated(u, 0, 0, new, old)
            }),
            Api::Spec => {
                let f = move |new: &[i64], old: Option<Vec<i64>>| {
                    before(new);
                    naive::updated(u, 0, 0, new, old.map(|s| s.value())).map(Vec::of)
                };
                s.update_state_by_key_spec(self.spec(spec), f).map_values(|s| s.value()).boxed()
            }
            Api::At => s.update_state_by_key_at(self.spec(spec), move |t, k, new, old| {
                before(new);
                naive::updated(u, t.millis(), number(k), new, old)
            }),
        }
    }
}

/// A function that returns something in any case.
fn some<S: Held>(
    m: Mapping,
    before: impl Fn(Option<i64>, bool) + Send + Sync + 'static,
) -> impl Fn(&Str, Option<i64>, &mut State<S>) -> (Str, i64) + Send + Sync + 'static {
    move |k, v, state| {
        before(v, state.is_timing_out());
        let out = naive::mapped(m, 0, number(k), v, &mut Engine(state));
        (k.clone(), out.unwrap_or(NOTHING))
    }
}

fn with_snapshots<S: Held>(stream: StateStream<Str, S, (Str, i64)>) -> (Records, Snapshots) {
    let mapped = (*stream).clone();
    let snapshots = move || stream.state_snapshots().map_values(|s| s.value()).boxed();
    (mapped, Some(Rc::new(snapshots)))
}

fn plain(op: Op, s: &Records) -> Records {
    match op {
        Op::MapValues(c) => s.map_values(move |v| v.wrapping_mul(c)).boxed(),
        Op::KeyRest(m) => s.map(move |(k, v)| (name(number(&k).rem_euclid(m)), v)).boxed(),
        Op::Filter(m) => s.filter(move |(k, v)| naive::filtered((number(k), *v), m)).boxed(),
        Op::Poison(rest) => s
            .filter(move |(_, v)| {
                if v.rem_euclid(POISON) == rest {
                    fail();
                }
                true
            })
            .boxed(),
        Op::Boxed => s.boxed(),
        Op::Persist(level) => s.persist(super::LEVELS[level]),
        Op::Count => s.count().map(|n| (name(0), n as i64)).boxed(),
        Op::ReduceByKey(form) => {
            let f = |a, b| merge(Merge::Add, a, b);
            match form {
                Form::Default => s.reduce_by_key(f),
                Form::Into(n) => s.reduce_by_key_into(f, n),
                Form::With(n) => s.reduce_by_key_with(f, Rest(n)),
            }
        }
        Op::Largest => s.transform(|rdd| {
            let most = rdd.map(|(_, v)| v).reduce(i64::max)?;
            Ok::<_, Error>(rdd.filter(move |(_, v)| Some(*v) == most))
        }),
        Op::Refuse(rest) => s.transform(move |rdd| {
            let n = rdd.count()?;
            if n % REFUSE == rest { Err(BoxError::from("refused")) } else { Ok(rdd) }
        }),
        op => unreachable!("{op:?} is none of these"),
    }
}

fn join(l: &Records, r: &Records, form: Form) -> Records {
    let pairs = match form {
        Form::Default => l.join(r),
        Form::Into(n) => l.join_into(r, n),
        Form::With(n) => l.join_with(r, Rest(n)),
    };
    pairs.map_values(|(v, w)| joined(v, w)).boxed()
}

/// Records as the recomputation has them.
pub fn numbers(records: Vec<(Str, i64)>) -> Vec<Pair> {
    super::sorted(records.into_iter().map(|(k, v)| (number(&k), v)).collect())
}
