//! What tasks tell the driver beside their results, by batch and partition. Told again, by another attempt or
//! another job, it is the same, so it counts once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::data::{Data, Wire};
use crate::engine::Accumulate;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "R: Serialize + DeserializeOwned")]
pub(super) struct ByPart<R>(BTreeMap<(Time, u32), R>);

impl<R> Default for ByPart<R> {
    fn default() -> Self {
        ByPart(BTreeMap::new())
    }
}

impl<R: Data> ByPart<R> {
    /// What batch `t` has told, by partition.
    pub(super) fn of(&self, t: Time) -> Vec<(u32, R)> {
        self.0.range((t, 0)..=(t, u32::MAX)).map(|((_, p), r)| (*p, r.clone())).collect()
    }

    pub(super) fn remove(&mut self, t: Time) {
        self.0.retain(|(of, _), _| *of != t);
    }

    pub(super) fn forget(&mut self, up_to: Time) {
        self.0 = self.0.split_off(&(up_to + Duration::from_millis(1), 0));
    }
}

impl<R: Wire> Accumulate for ByPart<R> {
    type Item = (Time, usize, R);
    fn add(&mut self, (t, part, r): (Time, usize, R)) {
        self.0.insert((t, part as u32), r);
    }
    fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}
