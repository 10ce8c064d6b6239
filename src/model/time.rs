//! Instants and windows.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::model::Interval;

/// An instant: nanoseconds since 1970-01-01T00:00:00Z, from the year 1677 to 2262.
///
/// Prints and parses as RFC 3339; text without a zone is refused.
///
/// ```
/// let t: ofone::Timestamp = "2026-01-01T12:00:00+02:00".parse().unwrap();
/// assert_eq!(t.to_string(), "2026-01-01T10:00:00Z");
/// assert!("2026-01-01T12:00:00".parse::<ofone::Timestamp>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant, also "unbounded" as the start of a validity.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// The latest instant, also "unbounded" as the end of a validity. No event may lie at it.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// From nanoseconds since 1970 UTC.
    pub const fn from_nanos(nanos: i64) -> Timestamp {
        Timestamp(nanos)
    }

    /// From microseconds since 1970 UTC; saturates at the ends of the range.
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros.saturating_mul(1_000))
    }

    /// From seconds since 1970 UTC; saturates at the ends of the range.
    pub const fn from_secs(secs: i64) -> Timestamp {
        Timestamp(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since 1970 UTC.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// This instant moved by `nanos`; saturates at the ends of the range.
    #[must_use]
    pub const fn saturating_add(self, nanos: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(instant) => write!(f, "{instant}"),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Timestamp> {
        let instant: jiff::Timestamp = text.parse().map_err(|cause: jiff::Error| {
            Error::invalid(format!("not an RFC 3339 time with a zone: `{text}`")).because(cause)
        })?;
        i64::try_from(instant.as_nanosecond())
            .map(Timestamp)
            .map_err(|_| Error::invalid(format!("time outside the years 1677 to 2262: `{text}`")))
    }
}

/// A half-open span of time `[from, to)`; an empty one selects nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// First instant inside.
    pub from: Timestamp,
    /// First instant after.
    pub to: Timestamp,
}

impl Window {
    /// All of time.
    pub const ALL: Window = Window { from: Timestamp::MIN, to: Timestamp::MAX };

    /// The window `[from, to)`.
    pub const fn new(from: Timestamp, to: Timestamp) -> Window {
        Window { from, to }
    }

    /// Whether `time` lies inside.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.to
    }

    /// The window as an interval.
    pub fn interval(&self) -> Interval {
        Interval { from: self.from, to: self.to }
    }
}

impl Default for Window {
    fn default() -> Window {
        Window::ALL
    }
}

impl From<std::ops::Range<Timestamp>> for Window {
    fn from(range: std::ops::Range<Timestamp>) -> Window {
        Window { from: range.start, to: range.end }
    }
}
