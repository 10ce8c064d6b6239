//! Spans of time to count in: of fixed length, or of a calendar.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp as Instant, ToSpan};

use crate::error::{Error, Result};
use crate::model::Text;

/// The spans of a timeline: they follow each other without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bucket {
    /// So many nanoseconds each, counted from 1970 UTC.
    Length(i64),
    /// Units of the calendar of a zone.
    Calendar {
        /// Which.
        unit: CalendarUnit,
        /// Its name in the time zone database: `UTC`, `Europe/London`.
        zone: Text,
    },
}

/// A unit of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CalendarUnit {
    /// An hour of the clock on the wall; one in which the clock is put forward or back is cut there.
    Hour,
    /// From midnight to midnight, 23 to 25 hours; from the first instant of a day that lacks its midnight.
    Day,
    /// From Monday on.
    Week,
    /// From the first of the month on.
    Month,
}

impl Default for Bucket {
    /// Days of UTC.
    fn default() -> Bucket {
        Bucket::Length(86_400_000_000_000)
    }
}

/// Finds buckets; remembers the last one, since what is asked for next is often near.
#[derive(Clone, Debug)]
pub(crate) struct Buckets {
    rule: Rule,
    last: (i64, i64),
}

#[derive(Clone, Debug)]
enum Rule {
    Length(i64),
    Calendar(CalendarUnit, TimeZone),
}

impl Buckets {
    /// # Errors
    /// `Invalid` for a length that is not positive or a zone that is not known.
    pub(crate) fn new(bucket: &Bucket) -> Result<Buckets> {
        let rule = match bucket {
            Bucket::Length(nanos) if *nanos > 0 => Rule::Length(*nanos),
            Bucket::Length(nanos) => {
                return Err(Error::invalid(format!("a bucket has a positive length, not {nanos} nanoseconds")));
            }
            Bucket::Calendar { unit, zone } => {
                let known = TimeZone::get(zone).map_err(|cause| {
                    Error::invalid(format!("no time zone `{zone}`; one is named like `Europe/London`")).because(cause)
                })?;
                Rule::Calendar(*unit, known)
            }
        };
        Ok(Buckets { rule, last: (0, 0) })
    }

    /// Nanoseconds of most buckets, at least.
    pub(crate) fn length(&self) -> i64 {
        match &self.rule {
            Rule::Length(nanos) => *nanos,
            Rule::Calendar(CalendarUnit::Hour, _) => 3_600_000_000_000,
            Rule::Calendar(..) => 86_400_000_000_000,
        }
    }

    /// Whether every bucket certainly begins and ends at multiples of `unit` nanoseconds from 1970.
    pub(crate) fn is_multiple_of(&self, unit: i64) -> bool {
        matches!(self.rule, Rule::Length(nanos) if nanos % unit == 0)
    }

    /// Whether each bucket certainly lies within one of the spans of `unit` nanoseconds from 1970.
    pub(crate) fn divides(&self, unit: i64) -> bool {
        matches!(self.rule, Rule::Length(nanos) if unit % nanos == 0)
    }

    /// The bucket `[from, to)` that holds `time`.
    pub(crate) fn of(&mut self, time: i64) -> (i64, i64) {
        if time < self.last.0 || time >= self.last.1 {
            self.last = match &self.rule {
                Rule::Length(nanos) => {
                    let from = time.saturating_sub(time.rem_euclid(*nanos));
                    (from, time.saturating_add(nanos - time.rem_euclid(*nanos)))
                }
                Rule::Calendar(CalendarUnit::Hour, zone) => hour(time, zone),
                Rule::Calendar(unit, zone) => days(time, *unit, zone),
            };
        }
        self.last
    }
}

/// Every instant of 64 bits lies within jiff's.
fn instant(nanos: i64) -> Instant {
    Instant::from_nanosecond(i128::from(nanos)).unwrap_or(Instant::UNIX_EPOCH)
}

fn nanos(instant: Instant) -> i64 {
    instant.as_nanosecond().clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

fn hour(time: i64, zone: &TimeZone) -> (i64, i64) {
    const HOUR: i64 = 3_600_000_000_000;
    let at = instant(time);
    let offset = i64::from(zone.to_offset(at).seconds()) * 1_000_000_000;
    let inside = (i128::from(time) + i128::from(offset)).rem_euclid(i128::from(HOUR)) as i64;
    let (mut from, mut to) = (time.saturating_sub(inside), time.saturating_add(HOUR - inside));
    // The instant itself may be that of a transition.
    if let Some(before) = zone.preceding(instant(time.saturating_add(1))).next() {
        from = from.max(nanos(before.timestamp()));
    }
    if let Some(after) = zone.following(at).next() {
        to = to.min(nanos(after.timestamp()));
    }
    (from, to)
}

fn days(time: i64, unit: CalendarUnit, zone: &TimeZone) -> (i64, i64) {
    let unit_of = |date: Date| match unit {
        CalendarUnit::Month => {
            let first = date.first_of_month();
            (first, first.saturating_add(1.month()))
        }
        CalendarUnit::Week => {
            let first = date.saturating_sub(i64::from(date.weekday().to_monday_zero_offset()).days());
            (first, first.saturating_add(1.week()))
        }
        CalendarUnit::Day | CalendarUnit::Hour => (date, date.saturating_add(1.day())),
    };
    let begin = |date: Date, other: i64| zone.to_timestamp(date.at(0, 0, 0, 0)).map_or(other, nanos);
    // A midnight that comes twice begins the day the first time, one that is left out at the next instant.
    let bounds = |(first, next): (Date, Date)| (begin(first, i64::MIN), begin(next, i64::MAX));
    let (first, next) = unit_of(zone.to_datetime(instant(time)).date());
    match bounds((first, next)) {
        // The clock was put back over midnight: it shows yesterday again.
        (_, to) if to <= time && to < i64::MAX => bounds(unit_of(next)),
        bounds => bounds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bucket: &Bucket, time: &str) -> (String, String) {
        let (from, to) = Buckets::new(bucket).unwrap().of(nanos(time.parse().unwrap()));
        (instant(from).to_string(), instant(to).to_string())
    }

    fn calendar(unit: CalendarUnit, zone: &str) -> Bucket {
        Bucket::Calendar { unit, zone: zone.into() }
    }

    #[test]
    fn lengths_count_from_the_epoch_also_before_it() {
        let mut buckets = Buckets::new(&Bucket::Length(10)).unwrap();
        assert_eq!(
            [buckets.of(0), buckets.of(9), buckets.of(10), buckets.of(-1)],
            [(0, 10), (0, 10), (10, 20), (-10, 0)]
        );
        assert_eq!(buckets.of(i64::MIN).0, i64::MIN);
        assert_eq!(buckets.of(i64::MAX - 1).1, i64::MAX);
        assert!(Buckets::new(&Bucket::Length(0)).is_err());
        assert!(Buckets::new(&calendar(CalendarUnit::Day, "Mars/Olympus")).is_err());
    }

    #[test]
    fn days_of_a_zone_are_as_long_as_its_clock_makes_them() {
        let day = calendar(CalendarUnit::Day, "Europe/London");
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(of(&day, "2026-03-29T12:00:00Z"), pair("2026-03-29T00:00:00Z", "2026-03-29T23:00:00Z"));
        assert_eq!(of(&day, "2026-10-24T23:30:00Z"), pair("2026-10-24T23:00:00Z", "2026-10-26T00:00:00Z"));
        let week = calendar(CalendarUnit::Week, "UTC");
        assert_eq!(of(&week, "2026-01-04T12:00:00Z"), pair("2025-12-29T00:00:00Z", "2026-01-05T00:00:00Z"));
        let month = calendar(CalendarUnit::Month, "Europe/London");
        assert_eq!(of(&month, "2026-04-02T12:00:00Z"), pair("2026-03-31T23:00:00Z", "2026-04-30T23:00:00Z"));
    }

    #[test]
    fn buckets_of_each_unit_follow_each_other_without_gaps() {
        use CalendarUnit::{Day, Hour, Month, Week};
        // Lord Howe puts its clock by half an hour, Santiago at midnight.
        for zone in ["Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu", "UTC"] {
            for (unit, count) in [(Hour, 24 * 400), (Day, 400), (Week, 60), (Month, 14)] {
                let mut buckets = Buckets::new(&calendar(unit, zone)).unwrap();
                let mut at = nanos("2025-12-30T22:10:00Z".parse().unwrap());
                for _ in 0..count {
                    let (from, to) = buckets.of(at);
                    assert!(from <= at && at < to, "{zone} {unit:?} {at}");
                    let middle = from + (to - from) / 2;
                    for inside in [from, middle, to - 1] {
                        let again = Buckets::new(&calendar(unit, zone)).unwrap().of(inside);
                        assert_eq!(again, (from, to), "{zone} {unit:?} {}", instant(inside));
                    }
                    at = to;
                }
            }
        }
    }

    #[test]
    fn a_clock_put_back_over_midnight_leaves_each_instant_in_one_day() {
        let day = calendar(CalendarUnit::Day, "America/St_Johns");
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        // One minute past midnight became 23:01 of the day before.
        for time in ["2010-11-07T02:30:30Z", "2010-11-07T03:00:00Z", "2010-11-07T12:00:00Z"] {
            assert_eq!(of(&day, time), pair("2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"), "{time}");
        }
        assert_eq!(of(&day, "2010-11-07T02:29:59Z"), pair("2010-11-06T02:30:00Z", "2010-11-07T02:30:00Z"));
    }

    #[test]
    fn hours_at_the_ends_of_time_are_as_long_as_time_lasts() {
        for (zone, time) in [("Africa/Lagos", "2262-04-11T23:00:00Z"), ("America/New_York", "1677-09-21T00:20:00Z")] {
            let hour = calendar(CalendarUnit::Hour, zone);
            let at = nanos(time.parse().unwrap());
            let (from, to) = Buckets::new(&hour).unwrap().of(at);
            assert!(from <= at && at < to, "{zone}");
            for inside in [from, from + (to - from) / 2, to - 1] {
                assert_eq!(Buckets::new(&hour).unwrap().of(inside), (from, to), "{zone} {inside}");
            }
        }
    }
}
