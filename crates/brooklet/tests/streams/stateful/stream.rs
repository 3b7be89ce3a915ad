//! The same programs through the public API.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brooklet::prelude::*;
use brooklet::{Input, Key, Partitioner, Partitions, Wire};

use super::naive::{self, Cell, NOTHING, joined, keeps, merge, poisoned, pushed};
use super::program::{Api, Feed, Form, Keep, Mapping, Merge, Op, POISON, Pair, Parts, REFUSE, Spec};
use super::program::{Span, Stream, Update};

/// A key as the engine has it, for the number that it is in the recomputation.
pub trait Name: Key + Ord + Debug {
    fn of(k: i64) -> Self;
    fn number(&self) -> i64;
}

impl Name for i64 {
    fn of(k: i64) -> i64 {
        k
    }
    fn number(&self) -> i64 {
        *self
    }
}

/// Some short, some too long to be kept inline and cut out of a longer text.
impl Name for Str {
    fn of(k: i64) -> Str {
        if k % 3 == 0 {
            return format!("key {k}").into();
        }
        let line: Str = format!("much longer than what is kept inline: key {k}, {:64}", "rest").into();
        line.split(',').next().unwrap_or_default()
    }
    fn number(&self) -> i64 {
        self.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(i64::MIN)
    }
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

impl<K: Name> Partitioner<K> for Rest {
    fn partitions(&self) -> usize {
        self.0
    }
    fn partition(&self, key: &K) -> usize {
        key.number().rem_euclid(self.0 as i64) as usize
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
pub struct Trips(Arc<Mutex<Option<Armed>>>);

impl Trips {
    /// From here on, until the next call.
    pub fn arm(&self, trip: Option<&Trip>) {
        *self.lock() = trip.map(|t| Armed { op: t.op, calls: 0, after: t.after, times: t.times });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call of a function of operator `op`.
    fn call(&self, op: usize) {
        let mut armed = self.lock();
        let Some(a) = armed.as_mut().filter(|a| a.op == op && a.times > 0) else { return };
        a.calls += 1;
        if a.calls > a.after {
            (a.calls, a.times) = (0, a.times - 1);
            drop(armed);
            fail();
        }
    }
}

/// A panic without its text on the console.
fn fail() -> ! {
    std::panic::resume_unwind(Box::new("tripped (this panic belongs to the test)"))
}

/// An input that gives what it is told for each batch, also nothing.
pub struct Script<K> {
    feed: VecDeque<Option<Parts>>,
    trips: Trips,
    key: std::marker::PhantomData<fn() -> K>,
}

impl<K> Script<K> {
    fn new(feed: &Feed, trips: &Trips) -> Script<K> {
        let feed = feed.iter().cloned().collect();
        Script { feed, trips: trips.clone(), key: std::marker::PhantomData }
    }
}

impl<K: Name> Input for Script<K> {
    type Item = (K, i64);
    type Slice = Parts;
    type Pipe = Partitions<(K, i64)>;

    fn allocate(&mut self, _: Time, _: Option<u64>) -> Result<Option<Parts>, BoxError> {
        Ok(self.feed.pop_front().ok_or("there is no such batch")?)
    }

    fn read(&self, slice: &Arc<Parts>) -> Result<Partitions<(K, i64)>, BoxError> {
        let (parts, trips) = (slice.clone(), self.trips.clone());
        Ok(Partitions::from_fn(parts.len(), move |i| {
            trips.call(0);
            parts[i].iter().map(|(k, v)| (K::of(*k), *v)).collect::<Vec<_>>()
        }))
    }
}

type Records<K> = DStream<(K, i64)>;

/// Makes the streams of a program one by one.
pub struct Build<'a, K> {
    ssc: &'a StreamingContext,
    trips: &'a Trips,
    streams: Vec<Records<K>>,
    /// The snapshots of those that have a state.
    snapshots: Vec<Option<Rc<dyn Fn() -> Records<K>>>>,
}

/// The streams of the program: the inputs, then what each step makes.
pub fn build<K: Name>(
    ssc: &StreamingContext,
    program: &[Stream],
    feeds: &[Feed],
    trips: &Trips,
) -> Vec<Records<K>> {
    let inputs = feeds.iter().map(|feed| ssc.input_stream(Script::<K>::new(feed, trips)));
    let streams: Vec<Records<K>> = inputs.collect();
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

type Snapshots<K> = Option<Rc<dyn Fn() -> Records<K>>>;

impl<K: Name> Build<'_, K> {
    fn step(&self, op: Op, stream: &Stream) -> (Records<K>, Snapshots<K>) {
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
            Op::MapState(m, spec) if spec.heavy => return self.map_state::<Vec<i64>>(&s, m, spec),
            Op::MapState(m, spec) => return self.map_state::<i64>(&s, m, spec),
            Op::UpdateState(u, spec) if spec.heavy => self.update_state::<Vec<i64>>(&s, u, spec),
            Op::UpdateState(u, spec) => self.update_state::<i64>(&s, u, spec),
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

    fn keeping(&self, keep: Keep) -> impl Fn(&K, &i64) -> bool + Send + Sync + 'static {
        let trip = self.tripping();
        move |k, v| {
            trip();
            keeps(keep, k.number(), *v)
        }
    }

    fn window(&self, op: Op, span: Span, s: &Records<K>) -> Records<K> {
        let p = s.slide_duration();
        let times = |n: u64| p * u32::try_from(n).unwrap_or(1);
        let (w, slide): (Duration, Option<Duration>) = (times(span.window), span.slide.map(times));
        let named = |v: i64| (K::of(0), v);
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
                        return s.reduce_by_key_and_window_inv_with(f, inverse, w, slide, rest, keep);
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

    fn spec<S: Held>(&self, spec: Spec) -> StateSpec<K, S> {
        let mut made = StateSpec::new();
        if spec.initial {
            let states = naive::initial().into_iter().map(|(k, s)| (K::of(k), S::of(s)));
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

    fn map_state<S: Held>(&self, s: &Records<K>, m: Mapping, spec: Spec) -> (Records<K>, Snapshots<K>) {
        let trip = self.tripping();
        let call = move |t: u64, k: &K, v: Option<i64>, state: &mut State<S>| {
            trip();
            if v.is_some_and(|v| poisoned(spec, v)) {
                fail();
            }
            assert_eq!(state.is_timing_out(), v.is_none());
            naive::mapped(m, t, k.number(), v, &mut Engine(state))
        };
        let timed = call.clone();
        let some = move |k: &K, v: Option<i64>, state: &mut State<S>| {
            (k.clone(), call(0, k, v, state).unwrap_or(NOTHING))
        };
        let stream = match spec.api {
            Api::Plain => s.map_with_state(some),
            Api::Spec => s.map_with_state_spec(self.spec(spec), some),
            Api::At => s.map_with_state_at(self.spec(spec), move |t, k: &K, v, state| {
                timed(t.millis(), k, v, state).map(|out| (k.clone(), out))
            }),
        };
        let mapped = (*stream).clone();
        let snapshots = move || stream.state_snapshots().map_values(|s| s.value()).boxed();
        (mapped, Some(Rc::new(snapshots)))
    }

    fn update_state<S: Held>(&self, s: &Records<K>, u: Update, spec: Spec) -> Records<K> {
        let trip = self.tripping();
        let call = move |t: u64, k: i64, new: &[i64], old: Option<S>| {
            trip();
            if new.iter().any(|v| poisoned(spec, *v)) {
                fail();
            }
            naive::updated(u, t, k, new, old.map(|s| s.value())).map(S::of)
        };
        // Only the last form is told the key.
        let states = match spec.api {
            Api::Plain => s.update_state_by_key(move |new, old| call(0, 0, new, old)),
            Api::Spec => {
                s.update_state_by_key_spec(self.spec(spec), move |new, old| call(0, 0, new, old))
            }
            Api::At => s.update_state_by_key_at(self.spec(spec), move |t, k: &K, new, old| {
                call(t.millis(), k.number(), new, old)
            }),
        };
        states.map_values(|s| s.value()).boxed()
    }
}

fn plain<K: Name>(op: Op, s: &Records<K>) -> Records<K> {
    match op {
        Op::MapValues(c) => s.map_values(move |v| v.wrapping_mul(c)).boxed(),
        Op::KeyRest(m) => s.map(move |(k, v)| (K::of(k.number().rem_euclid(m)), v)).boxed(),
        Op::Filter(m) => s.filter(move |(k, v)| naive::filtered((k.number(), *v), m)).boxed(),
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
        Op::Count => s.count().map(|n| (K::of(0), n as i64)).boxed(),
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
            let n = rdd.count()? as u64;
            if n % REFUSE == rest { Err(BoxError::from("refused")) } else { Ok(rdd) }
        }),
        op => unreachable!("{op:?} is none of these"),
    }
}

fn join<K: Name>(l: &Records<K>, r: &Records<K>, form: Form) -> Records<K> {
    let pairs = match form {
        Form::Default => l.join(r),
        Form::Into(n) => l.join_into(r, n),
        Form::With(n) => l.join_with(r, Rest(n)),
    };
    pairs.map_values(|(v, w)| joined(v, w)).boxed()
}

/// Records as the recomputation has them.
pub fn numbers<K: Name>(records: Vec<(K, i64)>) -> Vec<Pair> {
    super::sorted(records.into_iter().map(|(k, v)| (k.number(), v)).collect())
}
