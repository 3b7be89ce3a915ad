//! Batch times, durations and the clock that everything reads.
//!
//! Nothing outside this folder may ask the operating system for the time: tests drive a
//! [`ManualClock`] by hand and never sleep.

mod by_time;
mod clock;
mod duration;

pub(crate) use by_time::ByTime;
pub(crate) use clock::Stopwatch;
pub use clock::{Clock, ManualClock, SystemClock, Timestamp, Wake};
pub use duration::{format_duration, millis, minutes, parse_duration, seconds};

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A batch time: milliseconds since the Unix epoch (or since zero of a [`ManualClock`]).
///
/// ```
/// use brooklet::{Time, millis};
/// let t = Time::from_millis(1_500);
/// assert_eq!(t.floor(millis(1_000)), Time::from_millis(1_000));
/// assert_eq!((t + millis(500)).millis(), 2_000);
/// assert_eq!(t.to_string(), "1500 ms");
/// ```
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize,
)]
pub struct Time(u64);

impl Time {
    /// The epoch; also the "time" of datasets that belong to no batch.
    pub const ZERO: Time = Time(0);

    /// A time from milliseconds since the epoch.
    pub const fn from_millis(ms: u64) -> Time {
        Time(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The latest multiple of `step` that is not after this time. A zero `step` changes nothing.
    pub fn floor(self, step: Duration) -> Time {
        self.floor_from(step, Time::ZERO)
    }

    /// Like [`Time::floor`], on the grid that begins at `zero`. A time before `zero` gives `zero`.
    pub fn floor_from(self, step: Duration, zero: Time) -> Time {
        let ms = whole_millis(step);
        if ms == 0 || self <= zero {
            return self.max(zero);
        }
        Time(zero.0 + (self.0 - zero.0) / ms * ms)
    }

    /// Whether the distance from `zero` to this time is a multiple of `step`.
    pub fn is_multiple_of(self, step: Duration, zero: Time) -> bool {
        let ms = whole_millis(step);
        ms > 0 && self.0 >= zero.0 && (self.0 - zero.0).is_multiple_of(ms)
    }

    /// The distance to an earlier time; zero when `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This time less `d`, not below zero.
    pub fn saturating_sub(self, d: Duration) -> Time {
        Time(self.0.saturating_sub(whole_millis(d)))
    }

    /// The times from this one up to, without, `end`, `step` apart. A zero `step` gives none.
    pub fn until(self, end: Time, step: Duration) -> impl Iterator<Item = Time> {
        let ms = whole_millis(step);
        let n = if ms == 0 { 0 } else { end.0.saturating_sub(self.0).div_ceil(ms) };
        (0..n).map(move |i| Time(self.0 + i * ms))
    }

    /// The times from this one up to and with `end`, `step` apart. A zero `step` gives none.
    pub fn to(self, end: Time, step: Duration) -> impl Iterator<Item = Time> {
        let ms = whole_millis(step);
        let n = if ms == 0 || end < self { 0 } else { (end.0 - self.0) / ms + 1 };
        (0..n).map(move |i| Time(self.0 + i * ms))
    }
}

/// Whole milliseconds of a duration; batch times have no finer grid.
pub(crate) fn whole_millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, d: Duration) -> Time {
        Time(self.0.saturating_add(whole_millis(d)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    /// Saturates at [`Time::ZERO`].
    fn sub(self, d: Duration) -> Time {
        self.saturating_sub(d)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// The span of batch times `[begin, end]`, both ends included.
///
/// ```
/// use brooklet::{Interval, Time, seconds};
/// let i = Interval::new(Time::from_millis(1_000), Time::from_millis(3_000));
/// assert_eq!(i.duration(), seconds(2));
/// assert_eq!((i + seconds(1)).end().millis(), 4_000);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Interval {
    begin: Time,
    end: Time,
}

impl Interval {
    /// The interval from `begin` to `end`; the two are swapped when they are the wrong way round.
    pub fn new(begin: Time, end: Time) -> Interval {
        Interval { begin: begin.min(end), end: begin.max(end) }
    }

    /// The first time in it.
    pub fn begin(self) -> Time {
        self.begin
    }

    /// The last time in it.
    pub fn end(self) -> Time {
        self.end
    }

    /// `end - begin`.
    pub fn duration(self) -> Duration {
        self.end.since(self.begin)
    }

    /// Whether `t` lies in it, ends included.
    pub fn contains(self, t: Time) -> bool {
        self.begin <= t && t <= self.end
    }
}

impl Add<Duration> for Interval {
    type Output = Interval;
    fn add(self, d: Duration) -> Interval {
        Interval { begin: self.begin + d, end: self.end + d }
    }
}

impl Sub<Duration> for Interval {
    type Output = Interval;
    fn sub(self, d: Duration) -> Interval {
        Interval { begin: self.begin - d, end: self.end - d }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.begin, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_counts_from_the_zero_time() {
        let z = Time(250);
        assert_eq!(Time(1_300).floor_from(millis(500), z), Time(1_250));
        assert_eq!(Time(100).floor_from(millis(500), z), z);
        assert_eq!(Time(1_300).floor(Duration::ZERO), Time(1_300));
        assert!(Time(1_250).is_multiple_of(millis(500), z));
        assert!(!Time(1_251).is_multiple_of(millis(500), z));
    }

    #[test]
    fn until_leaves_the_end_out_and_to_takes_it_in() {
        let t: Vec<_> = Time(0).until(Time(30), millis(10)).map(Time::millis).collect();
        assert_eq!(t, [0, 10, 20]);
        let t: Vec<_> = Time(0).to(Time(30), millis(10)).map(Time::millis).collect();
        assert_eq!(t, [0, 10, 20, 30]);
        assert_eq!(Time(5).to(Time(4), millis(1)).count(), 0);
        assert_eq!(Time(5).until(Time(9), Duration::ZERO).count(), 0);
    }
}
