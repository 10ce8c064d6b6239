//! Windows, instants, lengths of time.

use jiff::civil::DateTime;

use crate::error::Result;
use crate::expr::excerpt::shown;
use crate::expr::parse::Parser;
use crate::expr::token::Token;
use crate::expr::{Moment, Period};
use crate::model::Timestamp;

/// Units of length in nanoseconds, the largest first. A day has 24 hours, whatever the clocks do.
pub(in crate::expr) const UNITS: [(&str, u64); 8] = [
    ("w", 604_800_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

const LENGTH: &str = "whole numbers with w, d, h, m, s, ms, us or ns, as in `48h` or `1d12h`";

/// `1d12h` in nanoseconds; an error says what is wrong with it.
pub(super) fn length(text: &str) -> Result<u64, String> {
    let not_a_length = || format!("not a length of time: `{}`; write {LENGTH}", shown(text));
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let letters = rest.trim_start_matches(|character: char| character.is_ascii_digit());
        let digits = &rest[..rest.len() - letters.len()];
        let after = letters.trim_start_matches(|character: char| character.is_ascii_alphabetic());
        let name = &letters[..letters.len() - after.len()];
        if digits.is_empty() {
            return Err(not_a_length());
        }
        let unit = UNITS.into_iter().find(|(unit, _)| *unit == name);
        let Some((_, nanos)) = unit else {
            return Err(match name {
                "mo" | "month" | "months" | "y" | "year" | "years" => {
                    format!("months and years differ in length: `{}`; write {LENGTH}", shown(text))
                }
                _ => not_a_length(),
            });
        };
        let part = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(nanos));
        let sum = part.and_then(|part| total.checked_add(part));
        total = sum.ok_or_else(|| format!("longer than 292 years: `{}`", shown(text)))?;
        rest = after;
    }
    if text.is_empty() { Err(not_a_length()) } else { Ok(total) }
}

/// `-7d`, `+7d` or `now`; nothing for another text.
fn relative(text: &str) -> Option<Result<Moment, String>> {
    let nanos = match text.split_at_checked(1)? {
        _ if text == "now" => return Some(Ok(Moment::Ago(0))),
        ("-", ago) => length(ago).map(i128::from),
        ("+", ahead) => length(ahead).map(|nanos| -i128::from(nanos)),
        _ => return None,
    };
    Some(nanos.and_then(|nanos| match i64::try_from(nanos) {
        Ok(nanos) => Ok(Moment::Ago(nanos)),
        Err(_) => Err(format!("longer than 292 years: `{}`", shown(text))),
    }))
}

/// Whether the text is a date without a time of day, which may follow as a word of its own.
fn is_date(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

impl Parser<'_> {
    /// The window that comes next; nothing if the next token begins none.
    pub(super) fn window(&mut self) -> Result<Option<Period>> {
        let at = self.at();
        let Some(word) = self.word() else { return Ok(None) };
        let (from, to) = match word {
            "during" => self.during()?,
            "since" => {
                self.next += 1;
                (Some(self.moment()?), None)
            }
            "until" => {
                self.next += 1;
                (None, Some(self.moment()?))
            }
            _ if relative(word).is_some() || word.contains("..") => self.range(word)?,
            _ => return Ok(None),
        };
        let period = Period { from, to };
        if period.is_reversed() {
            return Err(self.wrong_at(at, "the window ends before it begins"));
        }
        Ok(Some(period))
    }

    /// `during [A, B)`.
    fn during(&mut self) -> Result<(Option<Moment>, Option<Moment>)> {
        self.next += 1;
        self.symbol("[", "`[`, as in `during [2026-01-01T00:00:00Z, now)`")?;
        let from = self.moment()?;
        self.symbol(",", "`,`")?;
        let to = self.moment()?;
        if self.at_symbol("]") {
            return Err(self.wrong("windows do not include their last instant: end with `)`"));
        }
        self.close("`)`")?;
        Ok((Some(from), Some(to)))
    }

    /// `-7d`, or `-14d..-7d`, around whose dots there may be blanks.
    fn range(&mut self, word: &str) -> Result<(Option<Moment>, Option<Moment>)> {
        let at = self.at();
        self.next += 1;
        if let Some((from, to)) = word.split_once("..") {
            let to_at = at + from.len() + 2;
            let from = self.relative(at, from)?;
            let to = if to.is_empty() { self.relative_word()? } else { self.relative(to_at, to)? };
            return Ok((Some(from), Some(to)));
        }
        let from = self.relative(at, word)?;
        let after = self.word().and_then(|next| next.strip_prefix(".."));
        let to = match after {
            Some("") => {
                self.next += 1;
                self.relative_word()?
            }
            Some(to) => {
                let to_at = self.at() + 2;
                self.next += 1;
                self.relative(to_at, to)?
            }
            None if word.starts_with('-') => Moment::Ago(0),
            None => return Err(self.wrong_at(at, "a window from now on is written `now..+7d`")),
        };
        Ok((Some(from), Some(to)))
    }

    fn relative_word(&mut self) -> Result<Moment> {
        let Some(word) = self.word() else { return Err(self.expected("a length of time from now such as `-7d`")) };
        let at = self.at();
        self.next += 1;
        self.relative(at, word)
    }

    fn relative(&self, at: usize, text: &str) -> Result<Moment> {
        let other = || Err("`..` joins lengths from now, as in `-14d..-7d`; times are written `during [A, B)`".into());
        relative(text).unwrap_or_else(other).map_err(|message| self.wrong_at(at, &message))
    }

    /// An instant: a time, `now`, or a length from now.
    fn moment(&mut self) -> Result<Moment> {
        let at = self.at();
        let time = match self.token() {
            Token::Quoted(text) => self.time(text),
            Token::Word(word) => match relative(word) {
                Some(moment) => moment,
                None => {
                    let (word, next) = (*word, self.tokens.get(self.next + 1).map(|placed| &placed.token));
                    match next {
                        Some(Token::Word(of_day))
                            if is_date(word) && of_day.starts_with(|c: char| c.is_ascii_digit()) =>
                        {
                            let joined = format!("{word} {of_day}");
                            self.next += 1;
                            self.time(&joined)
                        }
                        _ => self.time(word),
                    }
                }
            },
            _ => return Err(self.expected("a time")),
        };
        self.next += 1;
        time.map_err(|message| self.wrong_at(at, &message))
    }

    fn time(&self, text: &str) -> Result<Moment, String> {
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Moment::At(time));
        }
        let outside = || format!("time outside the years 1677 to 2262: `{}`", shown(text));
        if text.parse::<jiff::Timestamp>().is_ok() {
            return Err(outside());
        }
        // A zone in brackets would be passed over.
        let local = text.parse::<DateTime>().ok().filter(|_| !text.contains('['));
        let Some(local) = local else {
            return Err(format!(
                "not a time: `{}`; write RFC 3339 as in `2026-01-01T00:00:00Z`, `now`, or a length from now as in `-7d`",
                shown(text)
            ));
        };
        let Some(zone) = &self.zone else {
            return Err(format!("this time has no offset: `{}`; write it as in `2026-01-01T00:00:00Z`", shown(text)));
        };
        let instant = zone.to_timestamp(local).map_err(|_| outside())?;
        i64::try_from(instant.as_nanosecond())
            .map(|nanos| Moment::At(Timestamp::from_nanos(nanos)))
            .map_err(|_| outside())
    }
}
