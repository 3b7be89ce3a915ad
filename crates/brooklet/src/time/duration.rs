//! Durations as users write them: `seconds(1)` in code, `200ms` as text.

use std::time::Duration;

/// `n` milliseconds.
pub const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// `n` seconds.
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `n` minutes.
pub const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// Reads a duration such as `200ms`, `1s`, `1.5 s`, `2min` or `1h`. A number alone has no unit and is
/// refused.
///
/// # Errors
/// A text that says what was read and what is expected.
///
/// ```
/// use brooklet::{parse_duration, millis};
/// assert_eq!(parse_duration("200ms"), Ok(millis(200)));
/// assert_eq!(parse_duration("1.5s"), Ok(millis(1_500)));
/// assert!(parse_duration("5").unwrap_err().contains("unit"));
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let t = text.trim();
    let at = t.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(t.len());
    let (number, unit) = (&t[..at], t[at..].trim());
    let n: f64 = number.parse().map_err(|_| {
        format!("`{text}` is not a duration: write a number and a unit, as in `200ms`")
    })?;
    let per = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        "" => return Err(format!("`{text}` has no unit: write `{t}ms` or `{t}s`")),
        other => {
            return Err(format!(
                "`{text}` has the unknown unit `{other}`: use one of us, ms, s, min, h, d"
            ));
        }
    };
    Duration::try_from_secs_f64(n * per).map_err(|_| format!("`{text}` is too long for a duration"))
}

/// A duration as a person writes it: `250ms`, `1s`, `2min`; the inverse of [`parse_duration`].
pub fn format_duration(d: Duration) -> String {
    let us = d.as_micros();
    for (per, unit) in [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "min"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ] {
        if us >= per && us.is_multiple_of(per) {
            return format!("{}{unit}", us / per);
        }
    }
    if us >= 1_000 { format!("{}ms", us as f64 / 1e3) } else { format!("{us}us") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for d in [millis(1), millis(1_500), seconds(1), seconds(90), minutes(2), minutes(120)] {
            assert_eq!(parse_duration(&format_duration(d)), Ok(d));
        }
        assert_eq!(format_duration(Duration::from_micros(50)), "50us");
    }

    #[test]
    fn bad_durations_say_what_to_write() {
        assert!(parse_duration("fast").unwrap_err().contains("`fast`"));
        assert!(parse_duration("3 fortnights").unwrap_err().contains("fortnights"));
        assert!(parse_duration("").is_err());
        assert!(parse_duration("1e3s").is_err());
    }
}
