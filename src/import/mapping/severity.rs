//! Severities of a foreign feed.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::import::mapping::config::{Item, Section};
use crate::import::mapping::scale::{self, Scale};
use crate::import::mapping::template::{Path, Template, View};
use crate::model::{Severity, did_you_mean};

/// The attribute that keeps the word of the feed, when it was translated.
pub(super) const ORIGINAL: &str = "_sev";

/// A severity: a template whose text is a number from 0 to 24, or a word of a scale or a table.
#[derive(Debug)]
pub(super) struct SeverityRule {
    from: Template,
    reading: Reading,
    default: Option<Severity>,
}

#[derive(Debug)]
enum Reading {
    Number,
    Scale(Scale),
    Map(HashMap<String, Severity>),
}

impl SeverityRule {
    pub(super) fn optional(section: &Section<'_>) -> Result<Option<SeverityRule>> {
        section.get("severity").map(|item| SeverityRule::compile(&item)).transpose()
    }

    fn compile(item: &Item<'_>) -> Result<SeverityRule> {
        if !item.is_table() {
            return Ok(SeverityRule { from: Template::compile(item)?, reading: Reading::Number, default: None });
        }
        let section = item.section()?;
        let from = Template::compile_from(&section.need("from")?)?;
        let default = section.get("default").map(|item| severity(&item)).transpose()?;
        let reading = match (section.get("scale"), section.get("map")) {
            (None, None) => Reading::Number,
            (Some(item), None) => {
                let name = item.text()?;
                Reading::Scale(Scale::named(name).ok_or_else(|| {
                    let close = did_you_mean(name, scale::NAMES);
                    item.error(format!("unknown scale `{name}`{close}: {}", scale::NAMES.join(", ")))
                })?)
            }
            (None, Some(item)) => {
                let map = item.section()?;
                let map = map.entries().map(|(word, item)| Ok((word.to_owned(), severity(&item)?)));
                Reading::Map(map.collect::<Result<_>>()?)
            }
            (Some(_), Some(item)) => return Err(item.error("either `scale` or `map`")),
        };
        section.finish()?;
        Ok(SeverityRule { from, reading, default })
    }

    /// The severity, and the word that it was translated from.
    pub(super) fn get<'n>(&'n self, view: View<'n, '_>) -> Result<(Severity, Option<Cow<'n, str>>)> {
        let Some(text) = self.from.render(view)? else { return Ok((self.default.unwrap_or_default(), None)) };
        let found = match &self.reading {
            Reading::Number => text.trim().parse().ok().and_then(|number| Severity::new(number).ok()),
            Reading::Scale(scale) => scale.number(&text).and_then(|number| Severity::new(number).ok()),
            Reading::Map(map) => map.get(text.as_ref()).copied(),
        };
        match (found.or(self.default), &self.reading) {
            (Some(severity), Reading::Number) => Ok((severity, None)),
            (Some(severity), _) => Ok((severity, Some(text))),
            (None, Reading::Number) => Err(Error::invalid(format!("severity is a number from 0 to 24, got `{text}`"))),
            (None, Reading::Scale(_)) => Err(Error::invalid(format!("`{text}` is not in the scale of `severity`"))),
            (None, Reading::Map(_)) => Err(Error::invalid(format!("`{text}` is not in the map of `severity`"))),
        }
    }

    pub(super) fn paths<'m>(&'m self, paths: &mut Vec<&'m Path>) {
        paths.extend(self.from.fields());
    }
}

fn severity(item: &Item<'_>) -> Result<Severity> {
    let number = item.integer()?;
    let number = u8::try_from(number).map_err(|_| item.error(format!("severity is 0 to 24, got {number}")))?;
    Severity::new(number).map_err(|error| item.error(error.message()))
}
