//! Arguments that several commands share, and the parsers of their values.

use std::path::PathBuf;

use clap::ValueEnum;
use jiff::tz::TimeZone;
use ofone::{Db, Entity, ErrorKind, Field, Options, Severity, Snapshot, Text};

use crate::exit::Failure;
use crate::time::Clock;

/// Which store.
#[derive(clap::Args)]
pub(crate) struct StoreArgs {
    /// The directory of the store.
    #[arg(long, value_name = "DIR", env = "OFONE_DB")]
    pub(crate) db: PathBuf,
    /// Only look at the store, as another process may be writing it: no lock is taken, nothing is changed.
    /// Happens by itself when another process has the store open.
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    access: AccessArgs,
}

impl StoreArgs {
    /// Whether the directory may be open to others.
    pub(crate) fn allows_open_permissions(&self) -> bool {
        self.access.allow_open_permissions
    }

    /// Opens the store, which must be there.
    pub(crate) fn open(&self) -> Result<Db, Failure> {
        if self.live {
            return Err(Failure::usage("a store cannot be changed through a --live look"));
        }
        Ok(Db::open(&self.db, self.access.options().create(false))?)
    }

    /// Whether directories may be open to others.
    pub(crate) fn allows_open(&self) -> bool {
        self.access.allow_open_permissions
    }

    /// The store for reading. When another process has it open this is a look beside it, and stderr says
    /// how old the look is.
    pub(crate) fn read(&self) -> Result<Snapshot, Failure> {
        Ok(self.read_opened()?.0)
    }

    /// As [`StoreArgs::read`], with the store unless this is only a look.
    pub(crate) fn read_opened(&self) -> Result<(Snapshot, Option<Db>), Failure> {
        if !self.live {
            match Db::open(&self.db, self.access.options().create(false)) {
                Err(error) if error.kind() == ErrorKind::Busy => {}
                opened => {
                    let db = opened?;
                    return Ok((db.snapshot(), Some(db)));
                }
            }
        }
        let snapshot = Db::look(&self.db, self.access.options())?;
        let commit = snapshot.commit();
        let written = match snapshot.commit_time(commit)? {
            Some(time) => format!(", written {time}"),
            None => String::new(),
        };
        eprintln!("ofone: a live look, as of commit {commit}{written}");
        Ok((snapshot, None))
    }
}

/// Whose a store's directory may be.
#[derive(clap::Args)]
pub(crate) struct AccessArgs {
    /// Open the store even if its directory is open to other users, or belongs to one.
    #[arg(long)]
    pub(crate) allow_open_permissions: bool,
}

impl AccessArgs {
    /// Options that say so.
    pub(crate) fn options(&self) -> Options {
        Options::new().allow_open_permissions(self.allow_open_permissions)
    }
}

/// How results are written.
#[derive(clap::Args)]
pub(crate) struct OutputArgs {
    /// How to write results [default: table on a terminal, ndjson otherwise].
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write text in CSV cells as it is: no escapes, no guard against formulas. Not on a terminal.
    #[arg(long)]
    pub(crate) csv_raw: bool,
    /// Time zone of plain dates and of the times in tables, such as `Europe/London` or `local`; JSON and
    /// CSV are always in UTC.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub(crate) tz: TimeZone,
}

impl OutputArgs {
    /// The format asked for, or the one that suits where stdout goes.
    pub(crate) fn format(&self) -> Format {
        let fitting = || if crate::screen::stdout_is_terminal() { Format::Table } else { Format::Ndjson };
        self.format.unwrap_or_else(fitting)
    }

    /// Reads and shows times in the zone asked for.
    pub(crate) fn clock(&self) -> Clock {
        Clock::new(jiff::Timestamp::now(), self.tz.clone())
    }
}

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One JSON object a line.
    Ndjson,
    /// One JSON value.
    Json,
    /// RFC 4180, with a header; text that a spreadsheet would run gets a leading `'`.
    Csv,
}

/// The customer's id from `C42` or, with the type in front, `customer:C42`.
pub(crate) fn customer_id<'a>(snapshot: &Snapshot, given: &'a str) -> &'a str {
    given.strip_prefix(snapshot.customer_type().as_str()).and_then(|rest| rest.strip_prefix(':')).unwrap_or(given)
}

/// Fails unless the customer is known, with a hint what else the name could be.
pub(crate) fn require_customer(snapshot: &Snapshot, id: &str) -> Result<(), Failure> {
    let kind = snapshot.customer_type();
    if snapshot.entity(&Entity::new(kind, id))?.is_some() {
        return Ok(());
    }
    let other = id.parse::<Entity>().ok().filter(|entity| entity.kind != *kind);
    if let Some(entity) = other
        && snapshot.entity(&entity)?.is_some()
    {
        return Err(Failure::not_found(format!(
            "`{entity}` is known, but is no {kind}; see who depends on it with: ofone links {entity}"
        )));
    }
    Err(Failure::not_found(format!("no {kind} `{id}` in this store (its customers are entities of type `{kind}`)")))
}

/// Parses a time zone: an IANA name, or `local`.
fn zone(text: &str) -> Result<TimeZone, String> {
    match text {
        "local" => Ok(TimeZone::system()),
        name => {
            TimeZone::get(name).map_err(|_| format!("no time zone `{name}`; try `Europe/London`, `UTC` or `local`"))
        }
    }
}

/// Parses a severity: a number 0 to 24, or a name for the start of its band.
pub(crate) fn severity(text: &str) -> Result<Severity, String> {
    let number = match text.to_ascii_lowercase().as_str() {
        "trace" => 1,
        "debug" => 5,
        "info" => 9,
        "warn" | "warning" => 13,
        "error" => 17,
        "fatal" => 21,
        digits => {
            digits.parse().map_err(|_| "a number 0 to 24, or trace, debug, info, warn, error, fatal".to_owned())?
        }
    };
    Severity::new(number).map_err(|error| error.message().to_owned())
}

/// Parses the name of a field whose values can be counted.
pub(crate) fn field(text: &str) -> Result<Field, String> {
    Ok(match text {
        "kind" => Field::Kind,
        "layer" => Field::Layer,
        "source" => Field::Source,
        "severity" => Field::Severity,
        "subject" | "on" => Field::Subject,
        "context" | "with" => Field::Context,
        other => match other.strip_prefix("attr.") {
            Some(name) if !name.is_empty() => Field::Attribute(name.into()),
            _ => return Err("kind, layer, source, severity, subject, context or attr.NAME".to_owned()),
        },
    })
}

/// Parses `name=value`.
pub(crate) fn attribute(text: &str) -> Result<(Text, Text), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("written name=value".to_owned()),
    }
}

/// Parses a count such as `250`, `50k`, `1.5m` or `1_000`.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let wrong = || "a count such as 250, 50k, 1.5m or 1_000".to_owned();
    let digits = text.replace('_', "");
    let (number, unit) = match digits.to_ascii_lowercase().chars().last() {
        Some('k') => (&digits[..digits.len() - 1], 1_000),
        Some('m') => (&digits[..digits.len() - 1], 1_000_000),
        _ => (digits.as_str(), 1),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if unit == 1 && number.contains('.') || part.len() > 6 || !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let millionths: u64 = format!("{part:0<6}").parse().map_err(|_| wrong())?;
    whole.checked_mul(unit).and_then(|whole| whole.checked_add(millionths * unit / 1_000_000)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_take_units() {
        for (text, number) in
            [("250", 250), ("50k", 50_000), ("1m", 1_000_000), ("1.5M", 1_500_000), ("1_000", 1_000), ("0.25k", 250)]
        {
            assert_eq!(count(text), Ok(number), "{text}");
        }
        for text in ["", "k", "-1", "1.5", "1x", "1.-5k", "99999999999999m", "1.é"] {
            assert!(count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn severities_have_names_and_numbers() {
        assert_eq!(severity("warn"), Ok(Severity::WARN));
        assert_eq!(severity("ERROR"), Ok(Severity::ERROR));
        assert_eq!(severity("18").map(Severity::number), Ok(18));
        assert!(severity("25").is_err());
        assert!(severity("bad").is_err());
    }

    #[test]
    fn fields_have_names() {
        assert_eq!(field("kind"), Ok(Field::Kind));
        assert_eq!(field("on"), Ok(Field::Subject));
        assert_eq!(field("attr.cause"), Ok(Field::Attribute("cause".into())));
        assert!(field("attr.").is_err());
        assert!(field("knid").is_err());
    }

    #[test]
    fn attributes_split_at_the_first_equals_sign() {
        assert_eq!(attribute("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(attribute("=b").is_err());
        assert!(attribute("ab").is_err());
    }
}
