//! Which input gave what to which batch.

use std::collections::BTreeMap;

use super::listener::StreamInputInfo;
use crate::sync::{LockExt, Mutex};
use crate::{Error, Result, Time};

/// Per batch: input stream → what it gave. An input reports once per batch.
#[derive(Debug, Default)]
pub(crate) struct InputInfoTracker {
    batches: Mutex<BTreeMap<Time, BTreeMap<usize, StreamInputInfo>>>,
}

impl InputInfoTracker {
    /// Takes an input's report for batch `t`.
    ///
    /// # Errors
    /// [`Error::Bug`] when the input has already reported for this batch.
    pub(crate) fn report(&self, t: Time, info: StreamInputInfo) -> Result<()> {
        let mut all = self.batches.get();
        let batch = all.entry(t).or_default();
        let id = info.input_stream_id;
        if batch.contains_key(&id) {
            return Err(Error::Bug(format!("input {id} reported twice for batch {t}")));
        }
        batch.insert(id, info);
        Ok(())
    }

    /// What is known of batch `t`.
    pub(crate) fn infos(&self, t: Time) -> BTreeMap<usize, StreamInputInfo> {
        self.batches.get().get(&t).cloned().unwrap_or_default()
    }

    /// Forgets the batches up to and with `t`.
    pub(crate) fn clean_up(&self, t: Time) {
        let mut all = self.batches.get();
        while all.first_key_value().is_some_and(|(k, _)| *k <= t) {
            all.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_report_of_an_input_is_an_error() {
        let (tracker, t) = (InputInfoTracker::default(), Time::from_millis(5));
        tracker.report(t, StreamInputInfo::new(0, 3)).unwrap();
        tracker.report(t, StreamInputInfo::new(1, 4)).unwrap();
        assert!(matches!(tracker.report(t, StreamInputInfo::new(0, 3)), Err(Error::Bug(_))));
        assert_eq!(tracker.infos(t).len(), 2);
        tracker.report(Time::from_millis(6), StreamInputInfo::new(0, 1)).unwrap();
        tracker.clean_up(t);
        assert!(tracker.infos(t).is_empty());
        assert_eq!(tracker.infos(Time::from_millis(6)).len(), 1);
    }
}
