//! `dedup_by_key`: the first record of each key within a time, by batch times.

use std::sync::Arc;
use std::time::Duration;

use super::update::{Batch, LeftBy, Stateful, Update, UpdateStage};
use super::{DStream, Graph, GraphRef, Node};
use crate::data::{Data, Key, Wire};
use crate::engine::{Role, Site, StageKey, TaskBody, TaskCx};
use crate::rdd::Erased;
use crate::rdd::group::Dealt;
use crate::rdd::kept::{Kept, Memory};
use crate::rdd::partitioner::Partitioning;
use crate::state::Tables;
use crate::state::durable::DurableTables;
use crate::{Time, millis};

impl<K: Data, V: Data, N: Node<Out = (K, V)>> DStream<(K, V), N> {
    /// The records whose key had none within the time `within` before, by batch times: of several in a batch
    /// the first, in the order of partitions. What comes less than `within` after a record that was let through
    /// is left out, and counted as `.. duplicates` in
    /// [`StreamingContext::counters`](crate::StreamingContext::counters); duplicates don't prolong the time.
    ///
    /// A key is kept for `within`. A batch costs its records and the keys that it forgets.
    ///
    /// ```
    /// use brooklet::prelude::*;
    /// use brooklet::testing::run_sorted;
    /// // A batch is a second: the third `a` comes two seconds after the first.
    /// let out = run_sorted([vec![('a', 1), ('b', 2)], vec![('a', 3)], vec![('a', 4), ('c', 5), ('c', 6)]], |s| {
    ///     s.dedup_by_key(seconds(2))
    /// });
    /// assert_eq!(out, [vec![('a', 1), ('b', 2)], vec![], vec![('a', 4), ('c', 5)]]);
    /// ```
    ///
    /// # Panics
    /// For a time below one millisecond.
    #[track_caller]
    pub fn dedup_by_key(&self, within: Duration) -> DStream<(K, V)>
    where
        K: Key,
        V: Wire,
    {
        let site = Site::here("dedup_by_key");
        assert!(within >= millis(1), "{site}: a time of {within:?} is below one millisecond");
        let partitions = self.graph.ctx.default_parallelism();
        let partitioning: Partitioning<K> = Partitioning::Hash(partitions);
        let tables: Arc<Tables<K, ()>> = Arc::new(Tables::new(partitions, true, site));
        let stored = DurableTables::new(&tables, &partitioning, self.graph.ctx.0.env.seed, site);
        let duplicates = self.graph.skip_counter(&format!("{site} duplicates"));
        let memory: Arc<Memory<K, V>> = Arc::default();
        let (node, every) = (self.node.clone(), self.slide_duration());
        let (state, kept) = (tables.clone(), memory.clone());
        self.stateful(site, |op| {
            let make = move |g: &Graph, &Batch { t, base, collect }: &Batch, _: &[u64]| {
                let records = node.at(&GraphRef(g), t)?.map(|parent| {
                    let key = StageKey { op, sub: 0, role: Role::Map, batch: t };
                    Arc::new(Dealt::placed(&g.ctx.0, key, parent, &memory, &partitioning, site))
                });
                let up = records.clone();
                let wide = move |out: &mut Vec<Arc<dyn TaskBody>>| {
                    up.iter().for_each(|r| r.wide(out));
                };
                let (tables, duplicates) = (tables.clone(), duplicates.clone());
                let input = records.as_ref().map_or(0, |r| r.input_records());
                let run = move |cx: &TaskCx<'_>| {
                    let mut lease = tables.lease(cx.partition(), base, t)?;
                    lease.expire(first_kept(t, within), |_, _| {});
                    let (mut out, mut left_out) = (Vec::new(), 0);
                    if let Some(records) = &records {
                        records.each(cx, cx.partition(), |chunk| {
                            for e in chunk {
                                // Looked for, not touched: a key goes when its first record is old enough.
                                if site.guard(|| lease.place(e.hash, &e.key)).is_some() {
                                    left_out += 1;
                                } else {
                                    site.guard(|| lease.upsert(e.hash, &e.key, |_| Some(())));
                                    out.push((e.key.clone(), e.val.clone()));
                                }
                            }
                            cx.check()
                        })?;
                    }
                    if left_out > 0 {
                        duplicates.add(left_out);
                    }
                    let n = out.len();
                    cx.put_block(Kept::new(out, None), n)?;
                    cx.put_result(vec![lease.collect(collect)?])?;
                    lease.commit();
                    Ok(())
                };
                let stage = UpdateStage::make(g, (op, t), partitions, input, wide, run);
                let out = Some(Erased::new(Arc::new(LeftBy::new(&stage, site))));
                Ok(Update { stage: Some(stage), out })
            };
            Stateful {
                stored: vec![("", Arc::new(stored))],
                forget: Box::new(move |_| kept.tick()),
                ..Stateful::new(every, Some(state), make)
            }
        })
    }
}

/// The earliest batch less than `span` before `t`.
pub(super) fn first_kept(t: Time, span: Duration) -> Time {
    match t.millis().checked_sub(crate::time::whole_millis(span)) {
        Some(ms) => Time::from_millis(ms + 1),
        None => Time::ZERO,
    }
}
