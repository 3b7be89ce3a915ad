//! Programs with windows and state as data: short chains of operators over two inputs, made by proptest and
//! shown as code.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::select;

/// The record of every stream, as the recomputation sees it.
pub type Pair = (i64, i64);
/// A batch of one input, by partitions.
pub type Parts = Vec<Vec<Pair>>;
/// What one input has for each batch; `None` where it has no RDD.
pub type Feed = Vec<Option<Parts>>;

/// The inputs of every program.
pub const INPUTS: usize = 2;

/// Partitions, and who decides where a key goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    Default,
    Into(usize),
    /// The user's partitioner: the key's rest.
    With(usize),
}

/// Window and slide in multiples of the slide of the stream below; no slide is one.
#[derive(Clone, Copy, PartialEq)]
pub struct Span {
    pub window: u64,
    pub slide: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Merge {
    Add,
    Xor,
    Max,
    Min,
}

/// What the filter of an inverse window keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keep {
    All,
    NotZero,
    Positive,
    /// Also when no batch of the window has it.
    EvenKeyOrPositive,
}

/// A function of `map_with_state`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mapping {
    /// Running sums.
    Sum,
    /// All values so far, changed in place.
    Append,
    /// Values that are divisible only look.
    Look(i64),
    /// Divisible values remove, those with rest 1 set and remove, others change in place.
    Remove(i64),
    /// Several changes in one call; divisible values remove after that.
    Often(i64),
    /// Time of the last call.
    Time,
}

/// A function of `update_state_by_key`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    Sum,
    /// All values so far, in order.
    Append,
    /// Sums that go when they are zero.
    NotZero,
    /// Idle keys change in each batch, and go when they are divisible.
    Fade(i64),
    /// Time of the first value.
    Since,
}

/// The method that takes the function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Api {
    Plain,
    Spec,
    /// With the batch time; of `map_with_state` it may return nothing.
    At,
}

/// How a state is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    pub api: Api,
    pub form: Form,
    pub initial: bool,
    /// In half batches; only of `map_with_state`.
    pub timeout: Option<u64>,
    /// The function panics at values with this rest, each time: the batch fails for good.
    pub poison: Option<i64>,
}

/// One operator. Numbers are its parameters.
#[derive(Clone, Copy, PartialEq)]
pub enum Op {
    // Lineage.
    MapValues(i64),
    KeyRest(i64),
    Filter(i64),
    /// Fails for values with this rest, whoever reads them.
    Poison(i64),
    Boxed,
    Persist(usize),
    Count,
    ReduceByKey(Form),
    Union,
    Join(Form),
    // Transforms.
    Largest,
    /// Fails for batches whose number of records has this rest.
    Refuse(u64),
    // Windows.
    Window(Span),
    ReduceWindow(Span, Merge),
    ReduceWindowInv(Span, Merge),
    CountWindow(Span),
    CountValueWindow(Span, Option<usize>),
    ReduceKeyWindow(Span, Form, Merge),
    ReduceKeyWindowInv(Span, Merge),
    ReduceKeyWindowFilter(Span, Form, Merge, Keep),
    GroupKeyWindow(Span, Form),
    // State.
    MapState(Mapping, Spec),
    /// Of the newest `map_with_state`.
    Snapshots,
    UpdateState(Update, Spec),
    /// Whether keys change: even ones become the next odd one, and the other way round.
    UpdateStateIter(Update, Spec, bool),
}

/// The rest that poisons a value.
pub const POISON: i64 = 41;
/// The rest that makes a batch refused.
pub const REFUSE: u64 = 5;

impl Op {
    pub fn parents(self) -> usize {
        if matches!(self, Op::Union | Op::Join(_)) { 2 } else { 1 }
    }

    pub fn span(self) -> Option<Span> {
        match self {
            Op::Window(s)
            | Op::ReduceWindow(s, _)
            | Op::ReduceWindowInv(s, _)
            | Op::CountWindow(s)
            | Op::CountValueWindow(s, _)
            | Op::ReduceKeyWindow(s, ..)
            | Op::ReduceKeyWindowInv(s, _)
            | Op::ReduceKeyWindowFilter(s, ..)
            | Op::GroupKeyWindow(s, _) => Some(s),
            _ => None,
        }
    }

    /// Runs before the outputs, whether an output wants it or not.
    pub fn is_step(self) -> bool {
        let state =
            matches!(self, Op::MapState(..) | Op::UpdateState(..) | Op::UpdateStateIter(..));
        state || self.span().is_some() || matches!(self, Op::Largest | Op::Refuse(_))
    }

    /// Whether what it gives depends on the order of a key's values.
    fn needs_order(self) -> bool {
        let state =
            matches!(self, Op::MapState(..) | Op::UpdateState(..) | Op::UpdateStateIter(..));
        state || matches!(self, Op::GroupKeyWindow(..))
    }
}

/// What is known of the order in which a stream has the values of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    Nothing,
    /// That of the values of each key.
    Key,
    /// That of all records.
    All,
}

/// An operator on streams that are there already.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub op: Op,
    /// 0 to 2 are counted back from the newest stream, what is above from the first input on, both modulo
    /// the number of streams that fit.
    from: [usize; 2],
}

/// A stream, as far as it is known before the start.
#[derive(Clone, Debug)]
pub struct Stream {
    pub op: Option<Op>,
    pub from: Vec<usize>,
    /// Batches from one RDD to the next.
    pub slide: u64,
    pub order: Order,
    /// The values of a key are added up first, for their order isn't known.
    pub sums_first: bool,
}

/// What an output does with each batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Use {
    Collect,
    /// Collects every n-th batch and leaves the others alone.
    Every(u64),
    Take(usize),
    Count,
    /// `print_to`.
    Print,
    /// No action at all.
    Idle,
}

/// Streams 0 and 1 are the inputs; step i makes stream i + 2.
#[derive(Clone, PartialEq)]
pub struct Program {
    pub steps: Vec<Step>,
    /// Streams, modulo their number, and what is done with them; the last stream always has an output.
    outputs: Vec<(usize, Use)>,
    last: Use,
}

impl Program {
    /// All streams.
    pub fn streams(&self) -> Vec<Stream> {
        let input =
            Stream { op: None, from: Vec::new(), slide: 1, order: Order::All, sums_first: false };
        let mut all = vec![input; INPUTS];
        for step in &self.steps {
            let made = step.stream(&all);
            all.push(made);
        }
        all
    }

    /// The streams that have an output, in the order of definition.
    pub fn outputs(&self) -> Vec<(usize, Use)> {
        let n = INPUTS + self.steps.len();
        self.outputs.iter().map(|(o, u)| (o % n, *u)).chain([(n - 1, self.last)]).collect()
    }

    /// The same with outputs that collect every batch.
    pub fn collected(mut self) -> Program {
        self.outputs.iter_mut().for_each(|(_, u)| *u = Use::Collect);
        Program { last: Use::Collect, ..self }
    }

    /// Only the first `steps` steps.
    pub fn cut(mut self, steps: usize) -> Program {
        self.steps.truncate(steps);
        self
    }
}

fn pick(wanted: usize, from: &[usize]) -> usize {
    let n = from.len();
    from[if wanted < 3 { n - 1 - wanted % n } else { wanted % n }]
}

impl Step {
    fn stream(&self, all: &[Stream]) -> Stream {
        let every: Vec<usize> = (0..all.len()).collect();
        let mut op = self.op;
        let mut from = vec![pick(self.from[0], &every)];
        if op == Op::Snapshots {
            let states = every.iter().rev().find(|i| matches!(all[**i].op, Some(Op::MapState(..))));
            match states {
                Some(i) => from = vec![*i],
                None => op = Op::Boxed,
            }
        }
        let first = &all[from[0]];
        if op.parents() == 2 {
            let fit: Vec<usize> =
                every.into_iter().filter(|i| all[*i].slide == first.slide).collect();
            from.push(pick(self.from[1], &fit));
        }
        let slide = first.slide * op.span().map_or(1, |s| s.slide.unwrap_or(1));
        let sums_first = op.needs_order() && first.order == Order::Nothing;
        let least = from.iter().map(|i| all[*i].order).min().unwrap_or(Order::Nothing);
        let order = match op {
            Op::MapValues(_) | Op::Filter(_) | Op::Poison(_) | Op::Boxed | Op::Persist(_) => least,
            Op::Largest | Op::Refuse(_) | Op::Union | Op::Window(_) => least,
            Op::KeyRest(_) if least == Order::All => Order::All,
            Op::KeyRest(_) | Op::Join(_) | Op::CountValueWindow(..) => Order::Nothing,
            Op::Count | Op::CountWindow(_) | Op::ReduceWindow(..) | Op::ReduceWindowInv(..) => {
                Order::All
            }
            Op::ReduceByKey(_) | Op::GroupKeyWindow(..) | Op::Snapshots => Order::Key,
            Op::MapState(..) | Op::UpdateState(..) | Op::UpdateStateIter(..) => Order::Key,
            Op::ReduceKeyWindow(..) => Order::Key,
            Op::ReduceKeyWindowInv(..) | Op::ReduceKeyWindowFilter(..) => Order::Key,
        };
        Stream { op: Some(op), from, slide, order, sums_first }
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

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.window, self.slide.unwrap_or(1))
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::MapValues(c) => write!(f, "map_values(v * {c})"),
            Op::KeyRest(m) => write!(f, "map(k % {m})"),
            Op::Filter(m) => write!(f, "filter((k + v) % {m} != 0)"),
            Op::Poison(m) => write!(f, "poison(v % {POISON} == {m})"),
            Op::Boxed => write!(f, "boxed()"),
            Op::Persist(level) => write!(f, "persist(level {level})"),
            Op::Count => write!(f, "count()"),
            Op::ReduceByKey(form) => write!(f, "reduce_by_key{form}(sum)"),
            Op::Union => write!(f, "union"),
            Op::Join(form) => write!(f, "join{form}"),
            Op::Largest => write!(f, "transform(largest)"),
            Op::Refuse(m) => write!(f, "transform(fails for n % {REFUSE} == {m})"),
            Op::Window(s) => write!(f, "window({s:?})"),
            Op::ReduceWindow(s, m) => write!(f, "reduce_by_window({s:?}, {m:?})"),
            Op::ReduceWindowInv(s, m) => write!(f, "reduce_by_window_inv({s:?}, {m:?})"),
            Op::CountWindow(s) => write!(f, "count_by_window({s:?})"),
            Op::CountValueWindow(s, None) => write!(f, "count_by_value_and_window({s:?})"),
            Op::CountValueWindow(s, Some(n)) => {
                write!(f, "count_by_value_and_window_into({s:?}, {n})")
            }
            Op::ReduceKeyWindow(s, form, m) => {
                write!(f, "reduce_by_key_and_window{form}({s:?}, {m:?})")
            }
            Op::ReduceKeyWindowInv(s, m) => {
                write!(f, "reduce_by_key_and_window_inv({s:?}, {m:?})")
            }
            Op::ReduceKeyWindowFilter(s, form, m, k) => {
                write!(f, "reduce_by_key_and_window_inv_filter{form}({s:?}, {m:?}, {k:?})")
            }
            Op::GroupKeyWindow(s, form) => write!(f, "group_by_key_and_window{form}({s:?})"),
            Op::MapState(m, spec) => write!(f, "map_with_state({m:?}, {spec:?})"),
            Op::Snapshots => write!(f, "state_snapshots()"),
            Op::UpdateState(u, spec) => write!(f, "update_state_by_key({u:?}, {spec:?})"),
            Op::UpdateStateIter(u, spec, moves) => {
                write!(f, "update_state_by_key_iter({u:?}, {spec:?}, keys change: {moves})")
            }
        }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, s) in self.streams().iter().enumerate().skip(INPUTS) {
            let names: Vec<String> = s.from.iter().map(|s| format!("s{s}")).collect();
            let sums = if s.sums_first { ", added up by key first" } else { "" };
            if let Some(op) = s.op {
                writeln!(f, "  s{i} = {op:?} of ({}){sums}", names.join(", "))?;
            }
        }
        let outputs: Vec<String> =
            self.outputs().iter().map(|(s, u)| format!("s{s} {u:?}")).collect();
        write!(f, "  outputs: {}", outputs.join(", "))
    }
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![
        6 => Just(Form::Default),
        4 => (1..6usize).prop_map(Form::Into),
        4 => (1..5usize).prop_map(Form::With),
        1 => select(vec![Form::Into(257), Form::Into(300), Form::With(260)]),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    let slide = prop_oneof![
        4 => Just(None),
        5 => (1..4u64).prop_map(Some),
        1 => (4..8u64).prop_map(Some),
    ];
    let window = prop_oneof![3 => 1..4u64, 1 => 4..8u64];
    (window, slide).prop_map(|(window, slide)| Span { window, slide })
}

fn inverse() -> impl Strategy<Value = Merge> {
    select(vec![Merge::Add, Merge::Add, Merge::Xor])
}

fn merge() -> impl Strategy<Value = Merge> {
    select(vec![Merge::Add, Merge::Xor, Merge::Max, Merge::Min])
}

fn window() -> impl Strategy<Value = Op> {
    let keep = select(vec![Keep::All, Keep::NotZero, Keep::Positive, Keep::EvenKeyOrPositive]);
    prop_oneof![
        4 => span().prop_map(Op::Window),
        2 => (span(), merge()).prop_map(|(s, m)| Op::ReduceWindow(s, m)),
        2 => (span(), inverse()).prop_map(|(s, m)| Op::ReduceWindowInv(s, m)),
        2 => span().prop_map(Op::CountWindow),
        2 => (span(), prop::option::of(1..8usize)).prop_map(|(s, n)| Op::CountValueWindow(s, n)),
        4 => (span(), form(), merge()).prop_map(|(s, f, m)| Op::ReduceKeyWindow(s, f, m)),
        3 => (span(), inverse()).prop_map(|(s, m)| Op::ReduceKeyWindowInv(s, m)),
        3 => (span(), form(), inverse(), keep)
            .prop_map(|(s, f, m, k)| Op::ReduceKeyWindowFilter(s, f, m, k)),
        3 => (span(), form()).prop_map(|(s, f)| Op::GroupKeyWindow(s, f)),
    ]
}

fn state(poisoned: bool) -> impl Strategy<Value = Op> {
    let mapping = prop_oneof![
        2 => Just(Mapping::Sum),
        2 => Just(Mapping::Append),
        1 => (1..4i64).prop_map(Mapping::Look),
        2 => (1..5i64).prop_map(Mapping::Remove),
        2 => (1..5i64).prop_map(Mapping::Often),
        1 => Just(Mapping::Time),
    ];
    let update = prop_oneof![
        2 => Just(Update::Sum),
        2 => Just(Update::Append),
        2 => Just(Update::NotZero),
        2 => (1..5i64).prop_map(Update::Fade),
        1 => Just(Update::Since),
    ];
    let spec = || {
        let poison =
            if poisoned { prop::option::of(0..POISON).boxed() } else { Just(None).boxed() };
        let timeout = prop::option::of(1..9u64);
        let api = select(vec![Api::Plain, Api::Spec, Api::Spec, Api::At]);
        let all = (api, form(), any::<bool>(), timeout, poison);
        all.prop_map(|(api, form, initial, timeout, poison)| match api {
            Api::Plain => Spec { api, form: Form::Default, initial: false, timeout: None, poison },
            _ => Spec { api, form, initial, timeout, poison },
        })
    };
    let without = |spec: Spec| Spec { timeout: None, ..spec };
    prop_oneof![
        5 => (mapping, spec()).prop_map(|(m, s)| Op::MapState(m, s)),
        2 => Just(Op::Snapshots),
        4 => (update.clone(), spec()).prop_map(move |(u, s)| Op::UpdateState(u, without(s))),
        2 => (update, spec(), any::<bool>()).prop_map(move |(u, s, moves)| {
            Op::UpdateStateIter(u, Spec { api: Api::At, ..without(s) }, moves)
        }),
    ]
}

fn plain(poisoned: bool) -> impl Strategy<Value = Op> {
    let fails = if poisoned {
        prop_oneof![
            2 => (0..POISON).prop_map(Op::Poison),
            1 => (0..REFUSE).prop_map(Op::Refuse),
        ]
        .boxed()
    } else {
        Just(Op::Boxed).boxed()
    };
    prop_oneof![
        2 => (-3..4i64).prop_map(Op::MapValues),
        1 => (1..8i64).prop_map(Op::KeyRest),
        1 => (1..5i64).prop_map(Op::Filter),
        1 => (0..super::LEVELS.len()).prop_map(Op::Persist),
        2 => Just(Op::Count),
        2 => form().prop_map(Op::ReduceByKey),
        3 => Just(Op::Union),
        2 => form().prop_map(Op::Join),
        2 => Just(Op::Largest),
        if poisoned { 12 } else { 1 } => fails,
    ]
}

fn step(poisoned: bool) -> impl Strategy<Value = Step> {
    let op = prop_oneof![5 => window(), 4 => state(poisoned), 3 => plain(poisoned)];
    let from = || prop_oneof![4 => 0..3usize, 2 => 0..100usize];
    (op, [from(), from()]).prop_map(|(op, from)| Step { op, from })
}

fn uses() -> impl Strategy<Value = Use> {
    prop_oneof![
        10 => Just(Use::Collect),
        2 => (2..4u64).prop_map(Use::Every),
        2 => (0..6usize).prop_map(Use::Take),
        1 => Just(Use::Count),
        1 => Just(Use::Print),
        1 => Just(Use::Idle),
    ]
}

/// Programs of up to five operators; with those that fail for good, if asked.
pub fn programs(poisoned: bool) -> impl Strategy<Value = Program> {
    let steps = prop::collection::vec(step(poisoned), 1..6);
    let outputs = prop::collection::vec((0..100usize, uses()), 0..4);
    (steps, outputs, uses()).prop_map(|(steps, outputs, last)| Program { steps, outputs, last })
}

/// Two windows over the first input that differ in how they are kept up: without an inverse function, and
/// with one.
pub fn twins() -> impl Strategy<Value = Program> {
    let by_key = (span(), inverse(), form(), form()).prop_map(|(s, m, f, g)| {
        [Op::ReduceKeyWindow(s, f, m), Op::ReduceKeyWindowFilter(s, g, m, Keep::All)]
    });
    let kept = (span(), inverse(), form())
        .prop_map(|(s, m, f)| [Op::ReduceKeyWindow(s, f, m), Op::ReduceKeyWindowInv(s, m)]);
    let whole =
        (span(), inverse()).prop_map(|(s, m)| [Op::ReduceWindow(s, m), Op::ReduceWindowInv(s, m)]);
    prop_oneof![2 => by_key, 2 => kept, 1 => whole].prop_map(|ops| Program {
        // 3 is the first input, when two or three streams are there.
        steps: ops.into_iter().zip([4, 3]).map(|(op, n)| Step { op, from: [n, 0] }).collect(),
        outputs: vec![(2, Use::Collect)],
        last: Use::Collect,
    })
}

/// Keys: few, many, or nearly all the same.
fn key() -> impl Strategy<Value = BoxedStrategy<i64>> {
    prop_oneof![
        4 => Just((0..4i64).boxed()),
        2 => Just((-20..20i64).boxed()),
        1 => Just(any::<i64>().boxed()),
        2 => Just(prop_oneof![9 => Just(7i64), 1 => 0..100i64].boxed()),
    ]
}

/// A partition: some records, now and then many times over with other keys.
fn part(key: BoxedStrategy<i64>) -> impl Strategy<Value = Vec<Pair>> {
    let records = prop::collection::vec((key, -20..20i64), 0..8);
    let times = prop_oneof![150 => Just(1i64), 1 => 100..400i64];
    (records, times).prop_map(|(records, times)| {
        let more = |i: i64| records.iter().map(move |(k, v)| (k.wrapping_add(i * 3), *v));
        (0..times).flat_map(more).collect()
    })
}

/// Both inputs over up to 13 batches: full, empty, without a partition, missing, and gaps of all these.
pub fn feeds() -> impl Strategy<Value = [Feed; INPUTS]> {
    let batch = |key: BoxedStrategy<i64>| {
        prop_oneof![
            2 => Just(None),
            3 => (0..3usize).prop_map(|n| Some(vec![Vec::new(); n])),
            15 => prop::collection::vec(part(key), 0..4).prop_map(Some),
        ]
    };
    (key(), 1..14usize).prop_flat_map(move |(key, n)| {
        let feed = || prop::collection::vec(batch(key.clone()), n);
        // Now and then nothing comes from some batch on.
        let ends = prop_oneof![4 => Just(100usize), 1 => 0..8usize];
        let input = move || {
            (feed(), ends.clone()).prop_map(|(mut feed, end): (Feed, usize)| {
                let parts = feed.iter_mut().skip(end).flatten().flatten();
                parts.for_each(Vec::clear);
                feed
            })
        };
        [input(), input()]
    })
}
