//! Times as feeds write them.

use crate::error::Result;
use crate::model::Timestamp;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// An RFC 3339 time with a zone. The one shape that nearly all machines write is decoded here,
/// about ten times faster; everything else, right or wrong, is left to [`Timestamp`].
pub(super) fn parse(text: &str) -> Result<Timestamp> {
    match utc(text.as_bytes()) {
        Some(time) => Ok(time),
        None => text.parse(),
    }
}

/// `YYYY-MM-DDTHH:MM:SS[.fraction]Z` with all parts in range; `None` for anything else.
fn utc(text: &[u8]) -> Option<Timestamp> {
    let (whole, fraction) = match text {
        [whole @ .., b'Z'] if whole.len() == 19 => (whole, &[] as &[u8]),
        [whole @ .., b'Z'] if (21..=29).contains(&whole.len()) && whole[19] == b'.' => (&whole[..19], &whole[20..]),
        _ => return None,
    };
    let marks = [whole[4], whole[7], whole[10], whole[13], whole[16]];
    if marks != *b"--T::" {
        return None;
    }
    let year = number(&whole[..4])?;
    let (month, day) = (number(&whole[5..7])?, number(&whole[8..10])?);
    let (hour, minute, second) = (number(&whole[11..13])?, number(&whole[14..16])?, number(&whole[17..19])?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut nanos = number(fraction)?;
    for _ in fraction.len()..9 {
        nanos *= 10;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos).map(Timestamp::from_nanos)
}

/// The value of at most nine digits.
fn number(digits: &[u8]) -> Option<i64> {
    let mut value = 0;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(value)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, counted in eras of 400 years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// A count since 1970 UTC in units of `10^-digits` seconds (`digits` is 0, 3, 6 or 9), with an
/// optional decimal fraction; what is finer than a nanosecond is cut off.
pub(super) fn epoch(text: &str, digits: u32) -> Option<Timestamp> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 19 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let shift = (9 - digits) as usize;
    let kept = &fraction[..fraction.len().min(shift)];
    let part: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    let scale = |count: usize| 10_i128.pow(count as u32);
    let nanos = whole.parse::<i128>().ok()? * scale(shift) + part * scale(shift - kept.len());
    i64::try_from(if negative { -nanos } else { nanos }).ok().map(Timestamp::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn epochs_keep_their_fraction_and_refuse_what_is_no_number() {
        assert_eq!(epoch("1700000000", 0), Some(Timestamp::from_secs(1_700_000_000)));
        assert_eq!(epoch("1700000000123", 3), Some(Timestamp::from_micros(1_700_000_000_123_000)));
        assert_eq!(epoch("1700000000.123", 0), Some(Timestamp::from_micros(1_700_000_000_123_000)));
        assert_eq!(epoch("-1.5", 0), Some(Timestamp::from_nanos(-1_500_000_000)));
        assert_eq!(epoch("17", 9), Some(Timestamp::from_nanos(17)));
        assert_eq!(epoch("9223372036854775807", 9), Some(Timestamp::MAX));
        for text in ["", "-", ".", ".5", "1e9", "1.7.", "+1", "17 ", "99999999999999999999", "9223372037", "٣"] {
            assert_eq!(epoch(text, 0), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn fast_path_agrees_with_the_general_parser(
            year in 1600..2300_u32, month in 0..14_u32, day in 0..33_u32,
            hour in 0..26_u32, minute in 0..62_u32, second in 0..62_u32, fraction in "(\\.[0-9]{0,10})?", zone in "Z|z|\\+01:00|",
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
            prop_assert_eq!(parse(&text).ok(), text.parse::<Timestamp>().ok());
        }

        #[test]
        fn every_instant_comes_back(nanos in any::<i64>()) {
            let time = Timestamp::from_nanos(nanos);
            prop_assert_eq!(parse(&time.to_string()).ok(), Some(time));
        }

        #[test]
        fn no_text_panics(text in any::<String>(), digits in prop_oneof![Just(0), Just(3), Just(6), Just(9)]) {
            let _ = (parse(&text).is_ok(), epoch(&text, digits));
        }
    }
}
