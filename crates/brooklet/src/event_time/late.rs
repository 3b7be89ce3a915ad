//! Which records a batch takes: those too far ahead of it are rejected, those whose windows are over are
//! late.

use std::time::Duration;

use super::window::{Grid, LATEST_MILLIS, Window};
use crate::Time;

/// Whether an event time is more than `max_future` ahead of the batch it came with. One such record would
/// move the watermark past everything that comes after it.
pub(crate) fn is_rejected(event: Time, batch: Time, max_future: Duration) -> bool {
    event > batch + max_future || event.millis() > LATEST_MILLIS
}

/// What becomes of a record on a grid of windows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Placed {
    /// It goes into all its windows; on a grid with gaps these may be none.
    InTime,
    /// Some of its windows are over; it goes into the others.
    Partly,
    /// All its windows are over.
    Late,
}

impl Grid {
    /// The open windows of a record with time `event`, earliest first, by the watermark from before the
    /// batch, and whether these are all that it has.
    #[inline]
    pub(crate) fn place(
        &self,
        event: Time,
        watermark: Time,
    ) -> (Placed, impl Iterator<Item = Window> + use<>) {
        let mut windows = self.windows(event).peekable();
        let mut passed = false;
        while windows.next_if(|w| w.is_passed(watermark)).is_some() {
            passed = true;
        }
        let placed = match (passed, windows.peek()) {
            (false, _) => Placed::InTime,
            (true, Some(_)) => Placed::Partly,
            (true, None) => Placed::Late,
        };
        (placed, windows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{millis, seconds};

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn place(g: Grid, event: u64, watermark: u64) -> (Placed, Vec<u64>) {
        let (placed, open) = g.place(at(event), at(watermark));
        (placed, open.map(|w| w.end().millis()).collect())
    }

    #[test]
    fn a_record_is_late_when_its_last_window_is_over() {
        let g = Grid::new(millis(10), millis(10), Duration::ZERO).unwrap();
        assert_eq!(place(g, 5, 9), (Placed::InTime, vec![10]));
        assert_eq!(place(g, 5, 10), (Placed::Late, vec![]));
        assert_eq!(place(g, 10, 10), (Placed::InTime, vec![20]));
    }

    #[test]
    fn sliding_windows_that_are_still_open_take_it() {
        let g = Grid::new(millis(10), millis(5), Duration::ZERO).unwrap();
        assert_eq!(place(g, 12, 14), (Placed::InTime, vec![15, 20]));
        assert_eq!(place(g, 12, 15), (Placed::Partly, vec![20]));
        assert_eq!(place(g, 12, 20), (Placed::Late, vec![]));
    }

    #[test]
    fn a_record_between_windows_is_in_none_and_not_late() {
        let g = Grid::new(millis(3), millis(10), Duration::ZERO).unwrap();
        assert_eq!(place(g, 5, 1_000), (Placed::InTime, vec![]));
    }

    #[test]
    fn the_far_future_is_rejected() {
        assert!(!is_rejected(at(61_000), at(1_000), seconds(60)));
        assert!(is_rejected(at(61_001), at(1_000), seconds(60)));
        assert!(is_rejected(at(u64::MAX), at(1_000), Duration::MAX), "no date at all");
    }
}
