//! The same programs through the public API.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::{Receiver as Rx, Sender, channel};
use std::sync::{Arc, Mutex};

use brooklet::prelude::*;
use brooklet::{Input, Partitioner, Partitions};

use super::plain::{constant, digest, divisible, keeps, merge, pair_of, times};
use super::program::{Closure, Form, INPUTS, Join, Op, Pair, Parts, Program};
use crate::HANG;

/// The key's rest decides.
struct Rest(usize);

impl Partitioner<i64> for Rest {
    fn partitions(&self) -> usize {
        self.0
    }
    fn partition(&self, key: &i64) -> usize {
        key.rem_euclid(self.0 as i64) as usize
    }
    fn name(&self) -> String {
        "rest".into()
    }
}

/// How often operators that fail at first still fail, over all of them.
#[derive(Clone, Default)]
pub struct Trips(Arc<AtomicU32>);

impl Trips {
    pub fn new(n: u32) -> Trips {
        Trips(Arc::new(AtomicU32::new(n)))
    }

    fn trip(&self) -> bool {
        self.0.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok()
    }
}

/// Both ends of an input that gives what it is told for each batch, also nothing.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<VecDeque<Option<Parts>>>>);

impl Script {
    pub fn push(&self, batch: Option<Parts>) {
        self.0.lock().unwrap().push_back(batch);
    }
}

impl Input for Script {
    type Item = Pair;
    type Slice = Parts;
    type Pipe = Partitions<Pair>;

    fn allocate(&mut self, _: Time, _: Option<u64>) -> Result<Option<Parts>, BoxError> {
        Ok(self.0.lock().unwrap().pop_front().ok_or("no batch was pushed")?)
    }

    fn read(&self, slice: &Arc<Parts>) -> Result<Partitions<Pair>, BoxError> {
        let parts = slice.clone();
        Ok(Partitions::from_fn(parts.len(), move |i| parts[i].clone()))
    }
}

/// A receiver that stores each partition it is sent as a block, and tells when they are stored.
pub struct Blocks {
    parts: Rx<Parts>,
    stored: Sender<()>,
}

/// The end of [`Blocks`] that is pushed to; the receiver ends when it is dropped.
pub struct Push {
    parts: Sender<Parts>,
    stored: Rx<()>,
}

impl Push {
    pub fn new() -> (Push, Blocks) {
        let ((parts, from), (stored, told)) = (channel(), channel());
        (Push { parts, stored: told }, Blocks { parts: from, stored })
    }

    /// Returns when all of it is stored.
    pub fn push(&self, parts: Parts) {
        self.parts.send(parts).unwrap();
        self.stored.recv_timeout(HANG).unwrap();
    }
}

impl Receiver for Blocks {
    type Item = Pair;
    fn run(&mut self, out: &mut Store<Pair>) -> Result<(), BoxError> {
        while let Ok(parts) = self.parts.recv() {
            for part in parts {
                out.store_block(part)?;
            }
            self.stored.send(())?;
        }
        Ok(())
    }
}

/// The last streams of the program: the inputs, then what each step makes.
pub fn build(
    ssc: &StreamingContext,
    inputs: [DStream<Pair>; INPUTS],
    program: &Program,
    trips: &Trips,
) -> Vec<DStream<Pair>> {
    let mut all = inputs.to_vec();
    for step in &program.steps {
        let from: Vec<DStream<Pair>> =
            step.from(all.len()).into_iter().map(|s| all[s].clone()).collect();
        all.push(several(ssc, step.op, from, trips));
    }
    all
}

fn several(
    ssc: &StreamingContext,
    op: Op,
    from: Vec<DStream<Pair>>,
    trips: &Trips,
) -> DStream<Pair> {
    match op {
        Op::Constant(k) => ssc.constant_stream(&ssc.context().parallelize(constant(k), 2)),
        Op::TransformWith => from[0].transform_with(&from[1], |a, b, _| a.union(&b)),
        Op::Union => from[0].union(&from[1]),
        Op::TransformMany => {
            let united = ssc.transform(from, |rdds, _| rdds[0].context().union(rdds.clone()));
            united.unwrap()
        }
        Op::UnionMany => ssc.union(from).unwrap(),
        Op::Join(join, form) => joined(join, form, &from[0], &from[1]),
        op => one(op, &from[0], trips),
    }
}

fn one(op: Op, s: &DStream<Pair>, trips: &Trips) -> DStream<Pair> {
    match op {
        Op::Map(c) => s.map(move |(k, v)| (k.wrapping_add(c), v)).boxed(),
        Op::Swap => s.map(|(k, v)| (v, k)).boxed(),
        Op::KeyRest(m) => s.map(move |(k, v)| (k.rem_euclid(m), v)).boxed(),
        Op::Filter(m) => s.filter(move |r| keeps(r, m)).boxed(),
        Op::FlatMap(m) => {
            s.flat_map(move |(k, v)| (0..times(v, m)).map(move |i| (k, v.wrapping_add(i)))).boxed()
        }
        Op::MapValues(c) => s.map_values(move |v| v.wrapping_mul(c)).boxed(),
        Op::FlatMapValues(m) => s.flat_map_values(move |v| 0..times(v, m)).boxed(),
        Op::MapPartitions => s.map_partitions(Iterator::rev).boxed(),
        Op::MapPartitionsWithIndex => s.map_partitions_with_index(|_, records| records).boxed(),
        Op::Glom => s.glom().flat_map(|records| records).boxed(),
        Op::TryMap(m) => s.try_map_on(OnError::Skip, move |r| odd(r, m)).boxed(),
        Op::TryFilter(m) => s.try_filter(OnError::Skip, move |r| odd(*r, m).map(|_| true)).boxed(),
        Op::TryFlatMap(m) => s.try_flat_map(OnError::Skip, move |r| odd(r, m).map(Some)).boxed(),
        Op::DeadLetters(m) => {
            let (good, dead) = s.try_map_or_dead(move |r| odd(r, m));
            good.union(&dead.map(|letter| letter.record))
        }
        Op::Boxed => s.boxed(),
        Op::Flaky { panics } => {
            let trips = trips.clone();
            if panics {
                s.map(move |r| {
                    assert!(!trips.trip(), "tripped (this panic belongs to the test)");
                    r
                })
                .boxed()
            } else {
                s.try_map(move |r| if trips.trip() { Err("tripped") } else { Ok(r) }).boxed()
            }
        }
        Op::Persist(level) => s.persist(super::LEVELS[level]),
        Op::Repartition(n) => s.repartition(n),
        Op::PartitionBy(n) => s.partition_by(Rest(n)),
        Op::PartitionByKey(n) => s.partition_by_key(n),
        Op::ReduceByKey(form, m) => {
            let f = move |a, b| merge(m, a, b);
            match form {
                Form::Default => s.reduce_by_key(f),
                Form::Into(n) => s.reduce_by_key_into(f, n),
                Form::With(n) => s.reduce_by_key_with(f, Rest(n)),
            }
        }
        Op::GroupByKey(form) => {
            let groups = match form {
                Form::Default => s.group_by_key(),
                Form::Into(n) => s.group_by_key_into(n),
                Form::With(n) => s.group_by_key_with(Rest(n)),
            };
            groups.map_values(digest).boxed()
        }
        Op::CombineByKey(form) => {
            let create = |v| (v, 1);
            let add = |(sum, n): Pair, v| (sum.wrapping_add(v), n + 1);
            let both = |(a, m): Pair, (b, n): Pair| (a.wrapping_add(b), m + n);
            let combined = match form {
                Form::Default => s.combine_by_key(create, add, both),
                Form::Into(n) => s.combine_by_key_into(create, add, both, n),
                Form::With(n) => s.combine_by_key_with(create, add, both, Rest(n)),
            };
            combined.map_values(|(sum, n)| sum.wrapping_mul(3).wrapping_add(n)).boxed()
        }
        Op::CountByValue(parts) => {
            let counts = match parts {
                None => s.count_by_value(),
                Some(n) => s.count_by_value_into(n),
            };
            counts.map(|((k, v), n)| (k.wrapping_mul(31).wrapping_add(v), n as i64)).boxed()
        }
        Op::Count => s.count().map(|n| (0, n as i64)).boxed(),
        Op::Reduce => s.reduce(|a, b| (a.0.wrapping_add(b.0), a.1.wrapping_add(b.1))),
        Op::Transform(Closure::Largest) => s.transform(|rdd| {
            let most = rdd.map(|(_, v)| v).reduce(i64::max)?;
            Ok::<_, Error>(rdd.filter(move |(_, v)| Some(*v) == most))
        }),
        Op::Transform(Closure::Sums) => {
            s.transform(|rdd| rdd.reduce_by_key(|a: i64, b| a.wrapping_add(b)))
        }
        Op::Transform(Closure::Twice) => s.transform(|rdd| {
            let n = rdd.count()? as i64;
            Ok::<_, Error>(rdd.map(move |(k, v)| (k, v.wrapping_add(n))).union(&rdd))
        }),
        Op::TransformWithData(c) => s.transform_with_data(
            move |t| (t.millis() as i64).wrapping_mul(c),
            |data, rdd| {
                let n = rdd.count()? as i64;
                Ok::<_, Error>(rdd.map(move |(k, v)| (k, v.wrapping_add(*data).wrapping_add(n))))
            },
        ),
        Op::Constant(_)
        | Op::TransformWith
        | Op::TransformMany
        | Op::Union
        | Op::UnionMany
        | Op::Join(..) => unreachable!("not an operator on one stream"),
    }
}

fn odd(r: Pair, m: i64) -> Result<Pair, String> {
    if divisible(r.1, m) { Err(format!("{} is divisible by {m}", r.1)) } else { Ok(r) }
}

fn joined(join: Join, form: Form, l: &DStream<Pair>, r: &DStream<Pair>) -> DStream<Pair> {
    match join {
        Join::Inner => {
            let j = match form {
                Form::Default => l.join(r),
                Form::Into(n) => l.join_into(r, n),
                Form::With(n) => l.join_with(r, Rest(n)),
            };
            j.map_values(|(v, w)| pair_of(Some(v), Some(w))).boxed()
        }
        Join::Left => {
            let j = match form {
                Form::Default => l.left_outer_join(r),
                Form::Into(n) => l.left_outer_join_into(r, n),
                Form::With(n) => l.left_outer_join_with(r, Rest(n)),
            };
            j.map_values(|(v, w)| pair_of(Some(v), w)).boxed()
        }
        Join::Right => {
            let j = match form {
                Form::Default => l.right_outer_join(r),
                Form::Into(n) => l.right_outer_join_into(r, n),
                Form::With(n) => l.right_outer_join_with(r, Rest(n)),
            };
            j.map_values(|(v, w)| pair_of(v, Some(w))).boxed()
        }
        Join::Full => {
            let j = match form {
                Form::Default => l.full_outer_join(r),
                Form::Into(n) => l.full_outer_join_into(r, n),
                Form::With(n) => l.full_outer_join_with(r, Rest(n)),
            };
            j.map_values(|(v, w)| pair_of(v, w)).boxed()
        }
        Join::Cogroup => {
            let j = match form {
                Form::Default => l.cogroup(r),
                Form::Into(n) => l.cogroup_into(r, n),
                Form::With(n) => l.cogroup_with(r, Rest(n)),
            };
            let both = |(vs, ws)| digest(vs).wrapping_mul(31).wrapping_add(digest(ws));
            j.map_values(both).boxed()
        }
    }
}
