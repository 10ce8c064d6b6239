//! Times as people write and read them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, ZonedDateTime};
use ofone::{Interval, Timestamp, Window};

use crate::exit::Failure;

/// How to write a time, for help texts.
pub(crate) const FORMS: &str = "RFC 3339, `2026-01-05`, `2026-01-05 14:30`, `-7d` (7 days ago) or `now`";

/// A zone, and the instant that relative times count from.
pub(crate) struct Clock {
    now: ZonedDateTime,
    zone: TimeZone,
}

impl Clock {
    /// A clock that says it is `now`, in `zone`.
    pub(crate) fn new(now: jiff::Timestamp, zone: TimeZone) -> Clock {
        Clock { now: now.to_zoned_datetime(zone.clone()), zone }
    }

    /// The same clock at another instant.
    pub(crate) fn at(self, now: Timestamp) -> Clock {
        Clock { now: self.zoned(now), zone: self.zone }
    }

    /// The instant that relative times count from.
    pub(crate) fn now(&self) -> Result<Timestamp, Failure> {
        within_range(&self.now, "now")
    }

    /// Parses RFC 3339, a date or date and time in the zone, `now`, or a span: `-7d` and `7d` are 7
    /// days ago, `+7d` lies ahead.
    pub(crate) fn parse(&self, text: &str) -> Result<Timestamp, Failure> {
        if text == "now" {
            return within_range(&self.now, text);
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(time);
        }
        // A zone in brackets would be passed over.
        if let Some(local) = text.parse::<DateTime>().ok().filter(|_| !text.contains('[')) {
            let zoned = local.to_zoned_datetime(self.zone.clone()).map_err(|_| not_a_time(text))?;
            return within_range(&zoned, text);
        }
        let span: Span = text.parse().map_err(|_| not_a_time(text))?;
        let ago = if text.starts_with('+') || span.is_negative() { span } else { span.negate() };
        let zoned = self.now.checked_add(ago).map_err(|_| not_a_time(text))?;
        within_range(&zoned, text)
    }

    /// The window from `from` to `to`, each unbounded when absent.
    pub(crate) fn window(&self, from: Option<&str>, to: Option<&str>) -> Result<Window, Failure> {
        let from = from.map_or(Ok(Timestamp::MIN), |text| self.parse(text))?;
        let to = to.map_or(Ok(Timestamp::MAX), |text| self.parse(text))?;
        if from > to {
            return Err(Failure::usage(format!("the window ends before it begins: from {from} to {to}")));
        }
        Ok(Window::new(from, to))
    }

    /// The name of the zone.
    pub(crate) fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("local time")
    }

    /// `2026-01-05 Mon`.
    pub(crate) fn date(&self, time: Timestamp) -> String {
        self.zoned(time).strftime("%Y-%m-%d %a").to_string()
    }

    /// `14:30:05`.
    pub(crate) fn time_of_day(&self, time: Timestamp) -> String {
        self.zoned(time).strftime("%H:%M:%S").to_string()
    }

    /// `2026-01-05 14:30:05`, or only the date at midnight.
    pub(crate) fn date_time(&self, time: Timestamp) -> String {
        let zoned = self.zoned(time);
        let midnight = zoned.time() == jiff::civil::Time::midnight();
        zoned.strftime(if midnight { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M:%S" }).to_string()
    }

    /// `since 2026-01-05`, `until ..`, `from .. to ..` or `always`.
    pub(crate) fn validity(&self, validity: Interval) -> String {
        let Interval { from, to } = validity;
        match (from == Timestamp::MIN, to == Timestamp::MAX) {
            (true, true) => "always".to_owned(),
            (false, true) => format!("since {}", self.date_time(from)),
            (true, false) => format!("until {}", self.date_time(to)),
            (false, false) => format!("{} to {}", self.date_time(from), self.date_time(to)),
        }
    }

    fn zoned(&self, time: Timestamp) -> ZonedDateTime {
        jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos()))
            .expect("64 bits of nanoseconds lie within the years 1677 to 2262")
            .to_zoned_datetime(self.zone.clone())
    }
}

fn within_range(zoned: &ZonedDateTime, text: &str) -> Result<Timestamp, Failure> {
    let nanos = zoned.timestamp().as_nanosecond();
    i64::try_from(nanos)
        .map(Timestamp::from_nanos)
        .map_err(|_| Failure::usage(format!("time outside the years 1677 to 2262: `{text}`")))
}

fn not_a_time(text: &str) -> Failure {
    Failure::usage(format!("not a time: `{text}`; write {FORMS}"))
}

/// Parses a length of time: whole numbers with units, such as `48h`, `7d`, `1h30m` or `250ms`.
pub(crate) fn length(text: &str) -> Result<i64, String> {
    let wrong = || "a length of time such as 90s, 30m, 48h, 7d or 1h30m".to_owned();
    let mut rest = text;
    let mut nanos: i64 = 0;
    while !rest.is_empty() {
        let unit_at = rest.find(|character: char| !character.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(unit_at);
        let next = after.find(|character: char| character.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(next);
        let unit: i64 = match unit {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return Err(wrong()),
        };
        let part = number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit));
        nanos = part.and_then(|part| nanos.checked_add(part)).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(nanos) }
}

/// A length of time in at most two units: `47 s`, `4 min`, `1 h 20 min`, `3 d`.
pub(crate) fn human_length(nanos: i64) -> String {
    let seconds = nanos.unsigned_abs() / 1_000_000_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(zone: &str) -> Clock {
        Clock::new("2026-03-31T12:00:00Z".parse().unwrap(), TimeZone::get(zone).unwrap())
    }

    fn parsed(zone: &str, text: &str) -> String {
        clock(zone).parse(text).map_or_else(|failure| format!("exit {}", failure.code), |time| time.to_string())
    }

    #[test]
    fn times_are_rfc_3339_or_local_or_relative() {
        for (text, expected) in [
            ("2026-01-05T10:00:00+02:00", "2026-01-05T08:00:00Z"),
            ("2026-01-05", "2026-01-05T00:00:00Z"),
            ("2026-01-05 14:30", "2026-01-05T14:30:00Z"),
            ("2026-01-05T14:30:05", "2026-01-05T14:30:05Z"),
            ("now", "2026-03-31T12:00:00Z"),
            ("-7d", "2026-03-24T12:00:00Z"),
            ("7d", "2026-03-24T12:00:00Z"),
            ("7 days ago", "2026-03-24T12:00:00Z"),
            ("+1h30m", "2026-03-31T13:30:00Z"),
            ("-1mo", "2026-02-28T12:00:00Z"),
        ] {
            assert_eq!(parsed("UTC", text), expected, "{text}");
        }
    }

    #[test]
    fn local_times_follow_the_zone_and_its_summer_time() {
        assert_eq!(parsed("Europe/Berlin", "2026-01-05"), "2026-01-04T23:00:00Z");
        assert_eq!(parsed("Europe/Berlin", "2026-07-05"), "2026-07-04T22:00:00Z");
        // Two days before is the same wall-clock time, though the clocks went forward in between.
        assert_eq!(parsed("Europe/Berlin", "-3d"), "2026-03-28T13:00:00Z");
    }

    #[test]
    fn what_is_not_a_time_is_a_usage_error() {
        for text in ["", "yesterdayish", "2026-13-01", "7", "9999-01-01T00:00:00Z", "-9000y", "1500-01-01"] {
            assert_eq!(parsed("UTC", text), "exit 2", "{text}");
        }
    }

    #[test]
    fn a_window_may_not_end_before_it_begins() {
        let clock = clock("UTC");
        assert_eq!(clock.window(None, None).unwrap(), Window::ALL);
        assert_eq!(clock.window(Some("-1d"), Some("-2d")).unwrap_err().code, 2);
        assert!(clock.window(Some("-2d"), Some("-1d")).is_ok());
    }

    #[test]
    fn a_clock_can_be_set() {
        let clock = clock("UTC").at(Timestamp::from_secs(86_400));
        assert_eq!(clock.now().unwrap(), Timestamp::from_secs(86_400));
        assert_eq!(clock.parse("-1d").unwrap(), Timestamp::from_secs(0));
    }

    #[test]
    fn lengths_are_numbers_with_units() {
        for (text, nanos) in [("48h", 172_800_000_000_000), ("1h30m", 5_400_000_000_000), ("0s", 0), ("5ns", 5)] {
            assert_eq!(length(text), Ok(nanos), "{text}");
        }
        for text in ["", "h", "48", "1.5h", "-1h", "1 h", "1fortnight", "99999999w", "é"] {
            assert!(length(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lengths_have_at_most_two_units() {
        for (seconds, text) in
            [(0, "0 s"), (47, "47 s"), (250, "4 min"), (4800, "1 h 20 min"), (7200, "2 h"), (270_000, "3 d 3 h")]
        {
            assert_eq!(human_length(seconds * 1_000_000_000), text);
        }
    }
}
