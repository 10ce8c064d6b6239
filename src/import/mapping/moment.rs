//! Times of a foreign feed. What comes out is UTC; a local time without a zone is never guessed at.

use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::import::mapping::config::{Item, Section};
use crate::import::mapping::template::{Path, Template, View};
use crate::import::mapping::value::missing;
use crate::import::time;
use crate::model::{Timestamp, did_you_mean};

/// A time: a template, a format, and for local times the zone they are in.
#[derive(Debug)]
pub(super) struct TimeRule {
    key: String,
    from: Template,
    format: Format,
    zone: Option<TimeZone>,
}

#[derive(Debug)]
enum Format {
    Rfc3339,
    /// A count since 1970 in units of `10^-digits` seconds.
    Epoch {
        digits: u32,
    },
    /// Directives of strftime; with a zone of its own or without.
    Pattern {
        pattern: String,
        zoned: bool,
    },
}

const FORMATS: [&str; 5] = ["rfc3339", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns"];

impl TimeRule {
    pub(super) fn optional(section: &Section<'_>, key: &'static str) -> Result<Option<TimeRule>> {
        section.get(key).map(|item| TimeRule::compile(&item)).transpose()
    }

    pub(super) fn required(section: &Section<'_>, key: &'static str) -> Result<TimeRule> {
        TimeRule::compile(&section.need(key)?)
    }

    fn compile(item: &Item<'_>) -> Result<TimeRule> {
        let key = item.name().to_owned();
        let rule = if item.is_table() {
            let section = item.section()?;
            let from = Template::compile_from(&section.need("from")?)?;
            let format = section.get("format").map_or(Ok(Format::Rfc3339), |item| format(&item))?;
            let zone = section.get("zone").map(|item| zone(&item)).transpose()?;
            section.finish()?;
            TimeRule { key, from, format, zone }
        } else {
            TimeRule { key, from: Template::compile(item)?, format: Format::Rfc3339, zone: None }
        };
        match (&rule.format, &rule.zone) {
            (Format::Pattern { zoned: false, .. }, None) => {
                Err(item.error("this format has no zone, so `zone` must name one, as in zone = \"Europe/Paris\""))
            }
            (Format::Pattern { zoned: true, .. } | Format::Epoch { .. }, Some(_)) => {
                Err(item.error("this format has a zone of its own; leave out `zone`"))
            }
            _ => match rule.from.constant() {
                Some(text) => {
                    Err(item.error(format!("`{text}` is the same time for each record; a field is \"{{name}}\"")))
                }
                None => Ok(rule),
            },
        }
    }

    pub(super) fn get(&self, view: View<'_, '_>) -> Result<Option<Timestamp>> {
        match self.from.render(view)? {
            Some(text) => self.parse(text.trim()).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn need(&self, view: View<'_, '_>) -> Result<Timestamp> {
        self.get(view)?.ok_or_else(|| missing(&self.key, &self.from))
    }

    fn parse(&self, text: &str) -> Result<Timestamp> {
        let refuse = |what: &str| Error::invalid(format!("`{}`: {what}: `{text}`", self.key));
        let instant = match &self.format {
            Format::Epoch { digits } => {
                return time::epoch(text, *digits).ok_or_else(|| refuse("not a count since 1970 within 1677 to 2262"));
            }
            Format::Rfc3339 => match (time::parse(text), &self.zone) {
                (Ok(time), _) => return Ok(time),
                (Err(_), None) => return Err(refuse("not an RFC 3339 time with a zone")),
                // It would be passed over, and `zone` taken instead.
                (Err(_), Some(_)) if text.contains('[') => return Err(refuse("a zone in brackets is not read")),
                (Err(_), Some(zone)) => text.parse::<DateTime>().and_then(|local| zone.to_timestamp(local)),
            },
            Format::Pattern { pattern, zoned } => {
                BrokenDownTime::parse(pattern, text).and_then(|parts| match (&self.zone, zoned) {
                    (Some(zone), false) => zone.to_timestamp(parts.to_datetime()?),
                    _ if parts.iana_time_zone().is_some() => Ok(parts.to_zoned_datetime()?.timestamp()),
                    _ => parts.to_timestamp(),
                })
            }
        };
        let instant = instant.map_err(|cause| refuse("not a time of this format").because(cause))?;
        i64::try_from(instant.as_nanosecond())
            .map(Timestamp::from_nanos)
            .map_err(|_| refuse("outside the years 1677 to 2262"))
    }

    pub(super) fn paths<'m>(&'m self, paths: &mut Vec<&'m Path>) {
        paths.extend(self.from.fields());
    }
}

fn format(item: &Item<'_>) -> Result<Format> {
    let text = item.text()?;
    match text {
        "rfc3339" => Ok(Format::Rfc3339),
        "epoch_s" => Ok(Format::Epoch { digits: 0 }),
        "epoch_ms" => Ok(Format::Epoch { digits: 3 }),
        "epoch_us" => Ok(Format::Epoch { digits: 6 }),
        "epoch_ns" => Ok(Format::Epoch { digits: 9 }),
        pattern if pattern.contains('%') => {
            // Seconds since 1970 are a time of their own, and a fraction behind them would be passed over.
            let fraction = ["%f", "%.", "%N"].iter().any(|directive| pattern.contains(directive));
            if pattern.contains("%s") && fraction {
                return Err(item.error("`%s` reads no fraction; `epoch_s` does"));
            }
            let zoned = check_pattern(pattern).map_err(|cause| item.error(format!("unusable format: {cause}")))?;
            Ok(Format::Pattern { pattern: pattern.to_owned(), zoned })
        }
        _ => Err(item.error(format!(
            "unknown format `{text}`{}: {} or strftime directives",
            did_you_mean(text, FORMATS),
            FORMATS.join(", ")
        ))),
    }
}

/// Whether times of this format carry a zone; an error when it cannot give an instant at all. Found
/// out by printing a time with it and reading that back.
fn check_pattern(pattern: &str) -> Result<bool, jiff::Error> {
    let example = jiff::Timestamp::UNIX_EPOCH.to_zoned_datetime(TimeZone::UTC);
    let printed = jiff::fmt::strtime::format(pattern, &example)?;
    let parts = BrokenDownTime::parse(pattern, &printed)?;
    if parts.iana_time_zone().is_some() {
        parts.to_zoned_datetime()?;
        return Ok(true);
    }
    if parts.timestamp().is_some() || parts.offset().is_some() {
        parts.to_timestamp()?;
        return Ok(true);
    }
    parts.to_datetime()?;
    Ok(false)
}

fn zone(item: &Item<'_>) -> Result<TimeZone> {
    let name = item.text()?;
    TimeZone::get(name)
        .map_err(|_| item.error(format!("unknown zone `{name}`; a zone is named as in `Europe/Paris` or `UTC`")))
}
