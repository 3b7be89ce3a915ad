//! Programs as data: chains of operators over two inputs, made by proptest and shown as code.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::select;

/// The record of every stream here: a key and a value.
pub type Pair = (i64, i64);
/// A batch of one input, by partitions.
pub type Parts = Vec<Vec<Pair>>;

/// How many partitions a shuffle makes, and who decides where a key goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    Default,
    Into(usize),
    /// The user's partitioner: the key's rest.
    With(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Merge {
    Add,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Join {
    Inner,
    Left,
    Right,
    Full,
    Cogroup,
}

/// What `transform` does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Closure {
    /// Keeps the records with the largest value, found by an action.
    Largest,
    /// A shuffle inside.
    Sums,
    /// The RDD twice, with its count from another action.
    Twice,
}

/// One operator. Numbers are its parameters.
#[derive(Clone, Copy, PartialEq)]
pub enum Op {
    // The same every batch.
    Constant(i64),
    // Narrow.
    Map(i64),
    Swap,
    KeyRest(i64),
    Filter(i64),
    FlatMap(i64),
    MapValues(i64),
    FlatMapValues(i64),
    MapPartitions,
    MapPartitionsWithIndex,
    Glom,
    TryMap(i64),
    TryFilter(i64),
    TryFlatMap(i64),
    DeadLetters(i64),
    Boxed,
    /// Fails for as many records as the case says, once over all tasks and batches.
    Flaky {
        panics: bool,
    },
    // Storage and partitions.
    Persist(usize),
    Repartition(usize),
    PartitionBy(usize),
    PartitionByKey(usize),
    // Shuffles.
    ReduceByKey(Form, Merge),
    GroupByKey(Form),
    CombineByKey(Form),
    CountByValue(Option<usize>),
    Count,
    Reduce,
    // Steps.
    Transform(Closure),
    TransformWithData(i64),
    TransformWith,
    TransformMany,
    // Several streams.
    Union,
    UnionMany,
    Join(Join, Form),
}

impl Op {
    /// How many streams it reads, of those that a step names.
    pub fn parents(self, named: usize) -> usize {
        match self {
            Op::Constant(_) => 0,
            Op::TransformWith | Op::Union | Op::Join(..) => 2,
            Op::TransformMany | Op::UnionMany => named.max(1),
            _ => 1,
        }
    }

    /// Runs before the outputs, whether an output wants it or not.
    pub fn is_step(self) -> bool {
        matches!(
            self,
            Op::Transform(_) | Op::TransformWithData(_) | Op::TransformWith | Op::TransformMany
        )
    }
}

/// An operator on streams that are there already.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub op: Op,
    /// 0 to 2 are counted back from the newest stream, what is above from the first input on, both modulo
    /// the number of streams that are there.
    from: Vec<usize>,
}

impl Step {
    /// The streams it reads, when `n` are there.
    pub fn from(&self, n: usize) -> Vec<usize> {
        let wanted = self.op.parents(self.from.len());
        let named = self.from.iter().chain(std::iter::repeat(&0));
        named.take(wanted).map(|i| if *i < 3 { n - 1 - i % n } else { i % n }).collect()
    }
}

/// Streams 0 and 1 are the inputs; step i makes stream i + 2.
#[derive(Clone, PartialEq)]
pub struct Program {
    pub steps: Vec<Step>,
    /// Taken modulo the number of streams; the last stream always has one.
    outputs: Vec<usize>,
}

/// The inputs of every program.
pub const INPUTS: usize = 2;

impl Program {
    pub fn streams(&self) -> usize {
        INPUTS + self.steps.len()
    }

    /// The streams that have an output, in the order of definition.
    pub fn outputs(&self) -> Vec<usize> {
        let n = self.streams();
        self.outputs.iter().map(|o| o % n).chain([n - 1]).collect()
    }

    /// Only the first `steps` steps.
    pub fn cut(mut self, steps: usize) -> Program {
        self.steps.truncate(steps);
        self
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Form::Default => Ok(()),
            Form::Into(n) => write!(f, "_into({n})"),
            Form::With(n) => write!(f, "_with(Rest({n}))"),
        }
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Constant(k) => write!(f, "constant_stream({k})"),
            Op::Map(c) => write!(f, "map(k + {c})"),
            Op::Swap => write!(f, "map(swap)"),
            Op::KeyRest(m) => write!(f, "map(k % {m})"),
            Op::Filter(m) => write!(f, "filter((k + v) % {m} != 0)"),
            Op::FlatMap(m) => write!(f, "flat_map(v % {m} times)"),
            Op::MapValues(c) => write!(f, "map_values(v * {c})"),
            Op::FlatMapValues(m) => write!(f, "flat_map_values(v % {m} times)"),
            Op::MapPartitions => write!(f, "map_partitions(rev)"),
            Op::MapPartitionsWithIndex => write!(f, "map_partitions_with_index(same)"),
            Op::Glom => write!(f, "glom().flat_map(same)"),
            Op::TryMap(m) => write!(f, "try_map_on(Skip, v % {m} != 0)"),
            Op::TryFilter(m) => write!(f, "try_filter(Skip, v % {m} != 0)"),
            Op::TryFlatMap(m) => write!(f, "try_flat_map(Skip, v % {m} != 0)"),
            Op::DeadLetters(m) => write!(f, "try_map_or_dead(v % {m} != 0), both united"),
            Op::Boxed => write!(f, "boxed()"),
            Op::Flaky { panics: false } => write!(f, "try_map(fails at first)"),
            Op::Flaky { panics: true } => write!(f, "map(panics at first)"),
            Op::Persist(level) => write!(f, "persist(level {level})"),
            Op::Repartition(n) => write!(f, "repartition({n})"),
            Op::PartitionBy(n) => write!(f, "partition_by(Rest({n}))"),
            Op::PartitionByKey(n) => write!(f, "partition_by_key({n})"),
            Op::ReduceByKey(form, m) => write!(f, "reduce_by_key{form}({m:?})"),
            Op::GroupByKey(form) => write!(f, "group_by_key{form}.digest()"),
            Op::CombineByKey(form) => write!(f, "combine_by_key{form}(sum and count)"),
            Op::CountByValue(None) => write!(f, "count_by_value()"),
            Op::CountByValue(Some(n)) => write!(f, "count_by_value_into({n})"),
            Op::Count => write!(f, "count()"),
            Op::Reduce => write!(f, "reduce(sums)"),
            Op::Transform(c) => write!(f, "transform({c:?})"),
            Op::TransformWithData(c) => write!(f, "transform_with_data(t * {c})"),
            Op::TransformWith => write!(f, "transform_with(union)"),
            Op::TransformMany => write!(f, "ssc.transform(union)"),
            Op::Union => write!(f, "union"),
            Op::UnionMany => write!(f, "ssc.union"),
            Op::Join(Join::Inner, form) => write!(f, "join{form}"),
            Op::Join(Join::Left, form) => write!(f, "left_outer_join{form}"),
            Op::Join(Join::Right, form) => write!(f, "right_outer_join{form}"),
            Op::Join(Join::Full, form) => write!(f, "full_outer_join{form}"),
            Op::Join(Join::Cogroup, form) => write!(f, "cogroup{form}.digest()"),
        }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            let from = step.from(i + INPUTS);
            let names: Vec<String> = from.iter().map(|s| format!("s{s}")).collect();
            writeln!(f, "  s{} = {:?} of ({})", i + INPUTS, step.op, names.join(", "))?;
        }
        write!(f, "  outputs of streams {:?}", self.outputs())
    }
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![
        3 => Just(Form::Default),
        2 => (1..8usize).prop_map(Form::Into),
        2 => (1..5usize).prop_map(Form::With),
    ]
}

fn join() -> impl Strategy<Value = Join> {
    select(vec![Join::Inner, Join::Left, Join::Right, Join::Full, Join::Cogroup])
}

fn narrow() -> impl Strategy<Value = Op> {
    prop_oneof![
        (-3..4i64).prop_map(Op::Map),
        Just(Op::Swap),
        (1..8i64).prop_map(Op::KeyRest),
        (1..5i64).prop_map(Op::Filter),
        (1..4i64).prop_map(Op::FlatMap),
        (-3..4i64).prop_map(Op::MapValues),
        (1..4i64).prop_map(Op::FlatMapValues),
        select(vec![Op::MapPartitions, Op::MapPartitionsWithIndex, Op::Glom, Op::Boxed]),
        (1..5i64).prop_map(Op::TryMap),
        (1..5i64).prop_map(Op::TryFilter),
        (1..5i64).prop_map(Op::TryFlatMap),
        (1..5i64).prop_map(Op::DeadLetters),
    ]
}

fn wide() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => (0..super::LEVELS.len()).prop_map(Op::Persist),
        1 => (1..6usize).prop_map(Op::Repartition),
        1 => (1..5usize).prop_map(Op::PartitionBy),
        1 => (1..8usize).prop_map(Op::PartitionByKey),
        2 => (form(), select(vec![Merge::Add, Merge::Max])).prop_map(|(f, m)| Op::ReduceByKey(f, m)),
        1 => form().prop_map(Op::GroupByKey),
        1 => form().prop_map(Op::CombineByKey),
        1 => prop::option::of(1..8usize).prop_map(Op::CountByValue),
        1 => select(vec![Op::Count, Op::Reduce]),
    ]
}

fn several() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => select(vec![Op::Union, Op::UnionMany]),
        4 => (join(), form()).prop_map(|(j, f)| Op::Join(j, f)),
        2 => select(vec![Closure::Largest, Closure::Sums, Closure::Twice]).prop_map(Op::Transform),
        1 => (1..4i64).prop_map(Op::TransformWithData),
        1 => select(vec![Op::TransformWith, Op::TransformMany]),
        1 => (0..20i64).prop_map(Op::Constant),
    ]
}

fn step(flaky: bool) -> impl Strategy<Value = Step> {
    let trip = any::<bool>().prop_map(|panics| Op::Flaky { panics });
    let op = prop_oneof![
        5 => narrow(),
        4 => wide(),
        3 => several(),
        if flaky { 3 } else { 0 } => trip,
    ];
    // Mostly the newest streams, so that chains grow long.
    let from = prop::collection::vec(prop_oneof![3 => 0..3usize, 2 => 0..100usize], 1..4);
    (op, from).prop_map(|(op, from)| Step { op, from })
}

/// Programs of up to eight operators; with operators that fail at first, if asked.
pub fn programs(flaky: bool) -> impl Strategy<Value = Program> {
    let steps = prop::collection::vec(step(flaky), 1..9);
    (steps, prop::collection::vec(0..100usize, 0..3))
        .prop_map(|(steps, outputs)| Program { steps, outputs })
}

/// Keys: few, many, or nearly all the same.
fn key() -> impl Strategy<Value = BoxedStrategy<i64>> {
    prop_oneof![
        3 => Just((0..5i64).boxed()),
        2 => Just((-20..20i64).boxed()),
        1 => Just(any::<i64>().boxed()),
        2 => Just(prop_oneof![9 => Just(7i64), 1 => 0..100i64].boxed()),
    ]
}

/// A partition: some records, mostly once, now and then many times over with other values.
fn part(key: BoxedStrategy<i64>) -> impl Strategy<Value = Vec<Pair>> {
    let records = prop::collection::vec((key, -50..50i64), 0..12);
    let times = prop_oneof![60 => Just(1i64), 1 => 100..400i64];
    (records, times).prop_map(|(records, times)| {
        (0..times).flat_map(|i| records.iter().map(move |(k, v)| (*k, v.wrapping_add(i)))).collect()
    })
}

/// What one input has for each batch; `None` where it has no RDD.
pub type Feed = Vec<Option<Parts>>;

/// Both inputs over one to three batches: full, empty, without a partition, missing.
pub fn feeds() -> impl Strategy<Value = [Feed; INPUTS]> {
    let batch = |key: BoxedStrategy<i64>| {
        prop_oneof![
            1 => Just(None),
            9 => prop::collection::vec(part(key), 0..4).prop_map(Some),
        ]
    };
    (key(), 1..4usize).prop_flat_map(move |(key, n)| {
        let feed = || prop::collection::vec(batch(key.clone()), n);
        [feed(), feed()]
    })
}
