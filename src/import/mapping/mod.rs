//! Mapping files: how the records of a foreign feed become events and links.
//!
//! A mapping is TOML, compiled once and checked as far as that is possible without data: unknown
//! keys, malformed templates, unknown zones and scales, local times without a zone are all errors
//! that name line and key. One rule runs through it: in every text, `{name}` is the field `name` of
//! the record and the rest stands for itself. The language is described in `docs/feeds.md`.
//!
//! | file | concept |
//! |---|---|
//! | `config` | TOML tables with line numbers and close names |
//! | `template` | texts with fields in them |
//! | `condition` | `when`: which records a section is for |
//! | `value`, `moment`, `severity`, `scale` | texts and numbers, times, severities, known scales |
//! | `entities`, `attributes` | what an event is about, and everything else it says |
//! | `event`, `link` | a section as a whole |

mod attributes;
mod condition;
mod config;
mod entities;
mod event;
mod link;
mod moment;
mod scale;
mod severity;
mod template;
mod value;

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::import::csv::Dialect;
use crate::import::json::Node;
use crate::import::time;
use crate::model::{Record, Text};

use config::{Item, Section};
use event::EventRule;
use link::LinkRule;
use template::View;

/// A compiled mapping file.
///
/// ```
/// use ofone::import::{Format, Import, ImportOptions, Input, Mapping};
/// let mapping = Mapping::parse(r#"
///     format = "csv"
///     [event]
///     time = { from = "{when}", format = "%d/%m/%Y %H:%M", zone = "Europe/Paris" }
///     source = "crm"
///     kind = "ticket.{state}"
///     subjects = ["customer:{customer}"]
/// "#).unwrap();
/// let text = "when,customer,state\n31/12/2025 10:00,C42,opened\n";
/// let mut import = Import::new(vec![Input::reader("a.csv", text.as_bytes())], mapping.into(), ImportOptions::new()).unwrap();
/// let parsed = import.next().unwrap().unwrap();
/// assert_eq!(parsed.records.len(), 1);
/// assert_eq!(parsed.line(0), 2);
/// ```
#[derive(Debug)]
pub struct Mapping {
    /// How rows are split; `None` for NDJSON.
    dialect: Option<Dialect>,
    /// Texts that mean that a field is absent.
    absent: Vec<Text>,
    skip_unmatched: bool,
    events: Vec<EventRule>,
    links: Vec<LinkRule>,
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// As [`Mapping::parse`], and when the file cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Mapping> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|cause| Error::from(cause).at(path.display()))?;
        Mapping::parse(&text).map_err(|error| error.at(path.display()))
    }

    /// Compiles the text of a mapping file.
    ///
    /// # Errors
    /// `Invalid`, with line and key, and the closest name where one is misspelt.
    pub fn parse(text: &str) -> Result<Mapping> {
        config::with_root(text, Mapping::compile)
    }

    fn compile(root: &Section<'_>) -> Result<Mapping> {
        let dialect = dialect(root)?;
        let absent = match root.get("absent") {
            Some(item) => item.items().iter().map(|item| item.text().map(Text::from)).collect::<Result<_>>()?,
            None => vec![Text::default()],
        };
        let skip_unmatched = match root.get("unmatched") {
            None => false,
            Some(item) => match item.text()? {
                "reject" => false,
                "skip" => true,
                _ => return Err(item.error("`reject` or `skip`")),
            },
        };
        let earliest = match root.get("earliest") {
            None => time::parse("2000-01-01T00:00:00Z")?,
            Some(item) => time::parse(item.text()?).map_err(|error| item.error(error.message()))?,
        };
        let sections = |key| root.get(key).map_or_else(Vec::new, |item: Item<'_>| item.items());
        let events = sections("event").into_iter().map(|item| EventRule::compile(&item.section()?, earliest));
        let events: Vec<EventRule> = events.collect::<Result<_>>()?;
        let links = sections("link").into_iter().map(|item| LinkRule::compile(&item.section()?));
        let links: Vec<LinkRule> = links.collect::<Result<_>>()?;
        root.finish()?;
        if events.is_empty() && links.is_empty() {
            return Err(Error::invalid("a mapping has an [event] or a [link] section"));
        }
        Ok(Mapping { dialect, absent, skip_unmatched, events, links })
    }

    /// How rows are split; `None` for NDJSON.
    pub(super) fn dialect(&self) -> Option<&Dialect> {
        self.dialect.as_ref()
    }

    /// The fields that some section reads, by their text in the mapping.
    pub(super) fn fields(&self) -> Vec<&str> {
        let mut fields = Vec::new();
        self.events.iter().for_each(|rule| rule.fields(&mut fields));
        self.links.iter().for_each(|rule| rule.fields(&mut fields));
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// Adds what the sections make of one foreign record; how many records that is. None is right
    /// only when the mapping skips what no section wants.
    pub(super) fn records(&self, node: &Node<'_>, records: &mut Vec<Record>) -> Result<usize> {
        if !matches!(node, Node::Object(_)) {
            return Err(Error::invalid("not a JSON object"));
        }
        let view = View { node, absent: &self.absent };
        let before = records.len();
        for rule in self.events.iter().filter(|rule| rule.when.holds(view)) {
            records.push(Record::Event(rule.event(view)?));
        }
        for rule in self.links.iter().filter(|rule| rule.when.holds(view)) {
            records.push(Record::Link(rule.change(view)?));
        }
        let count = records.len() - before;
        if count == 0 && !self.skip_unmatched {
            return Err(Error::invalid("no section of the mapping is for this record"));
        }
        Ok(count)
    }
}

fn dialect(root: &Section<'_>) -> Result<Option<Dialect>> {
    let item = root.need("format")?;
    let (delimiter, quote) = match item.text()? {
        "ndjson" => return Ok(None),
        "csv" => (b',', Some(b'"')),
        "tsv" => (b'\t', None),
        _ => return Err(item.error("`ndjson`, `csv` or `tsv`")),
    };
    let delimiter = match root.get("delimiter") {
        Some(item) => match item.text()?.as_bytes() {
            &[byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => byte,
            _ => return Err(item.error("one ASCII character")),
        },
        None => delimiter,
    };
    let quote = match root.get("quote") {
        Some(item) => match item.text()?.as_bytes() {
            [] => None,
            &[byte] if byte.is_ascii() && byte != delimiter && !matches!(byte, b'\n' | b'\r') => Some(byte),
            _ => return Err(item.error("one ASCII character other than the delimiter, or nothing")),
        },
        None => quote,
    };
    let header = root.get("header").map_or(Ok(true), |item| item.flag())?;
    let columns = match root.get("columns") {
        Some(item) => Some(item.items().iter().map(|item| item.text().map(str::to_owned)).collect::<Result<Vec<_>>>()?),
        None if !header => return Err(item.error("without a header, `columns` names the columns")),
        None => None,
    };
    Ok(Some(Dialect { delimiter, quote, columns, header }))
}

#[cfg(test)]
mod tests;
