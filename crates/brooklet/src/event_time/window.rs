//! Windows of event time: what they are, and which of a fixed grid a record belongs to.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Time;
use crate::time::whole_millis;

/// A window of event time: from its start up to, without, its end.
///
/// ```
/// use brooklet::{Time, Window, seconds};
/// let w = Window::new(Time::from_millis(1_000), Time::from_millis(3_000));
/// assert!(w.contains(Time::from_millis(1_000)) && !w.contains(Time::from_millis(3_000)));
/// assert_eq!(w.duration(), seconds(2));
/// assert_eq!(w.to_string(), "[1000 ms, 3000 ms)");
/// ```
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize,
)]
pub struct Window {
    start: Time,
    end: Time,
}

impl Window {
    /// The window from `start` up to `end`; the two are swapped when they are the wrong way round.
    pub fn new(start: Time, end: Time) -> Window {
        Window { start: start.min(end), end: start.max(end) }
    }

    /// The first time in it.
    pub fn start(self) -> Time {
        self.start
    }

    /// The first time after it.
    pub fn end(self) -> Time {
        self.end
    }

    /// `end - start`.
    pub fn duration(self) -> Duration {
        self.end.since(self.start)
    }

    /// Whether `t` lies in it: not before its start, and before its end.
    pub fn contains(self, t: Time) -> bool {
        self.start <= t && t < self.end
    }

    /// Whether event time is complete up to its end.
    pub(crate) fn is_passed(self, watermark: Time) -> bool {
        self.end <= watermark
    }

    /// From the earlier start to the later end.
    pub(crate) fn cover(self, other: Window) -> Window {
        Window { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

/// Windows of one size that start at the multiples of `slide` after `offset`: tumbling when slide and size
/// are equal, overlapping when the slide is shorter, with gaps between when it is longer.
///
/// Times have no negative values: a window that would start before the epoch starts there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grid {
    size: i64,
    slide: i64,
    /// Below `slide`.
    offset: i64,
}

/// Beyond this, in milliseconds (70 million years), arithmetic could overflow: durations and event times
/// are refused.
pub(crate) const LATEST_MILLIS: u64 = 1 << 61;

/// A duration of windows in milliseconds; the text says what is wrong with another one.
pub(crate) fn window_millis(what: &str, d: Duration) -> Result<u64, String> {
    let ms = whole_millis(d);
    if ms == 0 || ms >= LATEST_MILLIS || !d.subsec_nanos().is_multiple_of(1_000_000) {
        return Err(format!(
            "the {what} must be a whole number of milliseconds and at least one, not {}",
            crate::format_duration(d)
        ));
    }
    Ok(ms)
}

impl Grid {
    /// # Errors
    /// A text that names the duration which isn't a whole, positive number of milliseconds.
    pub(crate) fn new(size: Duration, slide: Duration, offset: Duration) -> Result<Grid, String> {
        let size = window_millis("window size", size)? as i64;
        let slide = window_millis("window slide", slide)? as i64;
        Grid { size, slide, offset: 0 }.with_offset(offset)
    }

    /// The same windows, each this much later.
    pub(crate) fn with_offset(self, offset: Duration) -> Result<Grid, String> {
        let offset = if offset.is_zero() { 0 } else { window_millis("window offset", offset)? };
        Ok(Grid { offset: offset as i64 % self.slide, ..self })
    }

    /// Whether a record may be in several windows.
    pub(crate) fn overlaps(&self) -> bool {
        self.slide < self.size
    }

    /// The windows that contain `t`, earliest first; none where the slide leaves a gap.
    pub(crate) fn windows(&self, t: Time) -> impl Iterator<Item = Window> + use<> {
        let Grid { size, slide, offset } = *self;
        let t = t.millis().min(LATEST_MILLIS) as i64;
        let last = t - (t - offset).rem_euclid(slide);
        // How many slides back the start still reaches over `t`.
        let n = (size - (t - last) + slide - 1).div_euclid(slide).max(0);
        (0..n).rev().map(move |i| {
            let start = last - i * slide;
            let at = |ms: i64| Time::from_millis(u64::try_from(ms).unwrap_or(0));
            Window { start: at(start), end: at(start + size) }
        })
    }

    /// The window with the latest end among those that contain `t`.
    #[cfg(test)]
    pub(crate) fn last(&self, t: Time) -> Option<Window> {
        self.windows(t).last()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{millis, seconds};

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn ends(g: Grid, t: u64) -> Vec<(u64, u64)> {
        g.windows(at(t)).map(|w| (w.start.millis(), w.end.millis())).collect()
    }

    fn grid(size: u64, slide: u64, offset: u64) -> Grid {
        Grid::new(millis(size), millis(slide), millis(offset)).unwrap()
    }

    #[test]
    fn tumbling_windows_share_their_borders() {
        let g = grid(10, 10, 0);
        assert_eq!(ends(g, 0), [(0, 10)]);
        assert_eq!(ends(g, 9), [(0, 10)]);
        assert_eq!(ends(g, 10), [(10, 20)]);
    }

    #[test]
    fn an_offset_moves_the_grid_and_the_first_window_starts_at_the_epoch() {
        let g = grid(10, 10, 13);
        assert_eq!(ends(g, 2), [(0, 3)]);
        assert_eq!(ends(g, 3), [(3, 13)]);
        assert_eq!(ends(g, 12), [(3, 13)]);
    }

    #[test]
    fn a_slide_that_does_not_divide_the_size() {
        let g = grid(10, 4, 0);
        assert_eq!(ends(g, 20), [(12, 22), (16, 26), (20, 30)]);
        assert_eq!(ends(g, 19), [(12, 22), (16, 26)]);
        assert_eq!(ends(g, 3), [(0, 2 + 4), (0, 10)], "the windows from -4 and 0");
        assert_eq!(ends(g, 1), [(0, 2), (0, 6), (0, 10)], "the windows from -8, -4 and 0");
    }

    #[test]
    fn a_slide_longer_than_the_window_leaves_gaps() {
        let g = grid(3, 10, 0);
        assert_eq!(ends(g, 2), [(0, 3)]);
        assert_eq!(ends(g, 3), []);
        assert_eq!(ends(g, 12), [(10, 13)]);
    }

    #[test]
    fn durations_that_make_no_windows_are_refused_by_name() {
        let bad = |r: Result<Grid, String>| r.unwrap_err();
        assert!(bad(Grid::new(Duration::ZERO, seconds(1), Duration::ZERO)).contains("size"));
        assert!(bad(Grid::new(seconds(1), Duration::ZERO, Duration::ZERO)).contains("slide"));
        let e = bad(Grid::new(Duration::from_micros(1_500), seconds(1), Duration::ZERO));
        assert!(e.contains("size") && e.contains("1.5ms"), "{e}");
        assert!(bad(Grid::new(Duration::MAX, seconds(1), Duration::ZERO)).contains("size"));
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let far = LATEST_MILLIS - 1;
        let g = grid(far, far, far - 1);
        for t in [0, 1, far, u64::MAX] {
            assert!(g.windows(at(t)).all(|w| w.start < w.end), "{t}");
        }
    }

    proptest! {
        #[test]
        fn windows_are_those_of_the_grid_that_contain_the_time(
            size in 1u64..40, slide in 1u64..40, offset in 0u64..100, t in 0u64..500,
        ) {
            let g = grid(size, slide, offset);
            let found: Vec<Window> = g.windows(at(t)).collect();
            // Every start of the grid, by definition; those before the epoch are cut.
            let expected: Vec<Window> = (-100i64..500)
                .map(|k| k * slide as i64 + offset as i64)
                .filter(|s| *s <= t as i64 && (t as i64) < s + size as i64)
                .map(|s| Window::new(at(s.max(0) as u64), at((s + size as i64) as u64)))
                .collect();
            prop_assert_eq!(&found, &expected);
            prop_assert!(found.iter().all(|w| w.contains(at(t))));
            prop_assert_eq!(found.last().copied(), g.last(at(t)));
        }
    }
}
