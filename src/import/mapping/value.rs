//! Texts and numbers of an event or a link.

use std::borrow::Cow;
use std::collections::HashMap;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::import::mapping::config::{Item, Section};
use crate::import::mapping::template::{Path, Template, View};

/// A text: a template, its values translated by a table, something else when it is absent.
#[derive(Debug)]
pub(super) struct TextRule {
    key: String,
    from: Template,
    map: Option<HashMap<String, String>>,
    default: Option<Template>,
}

impl TextRule {
    pub(super) fn optional(section: &Section<'_>, key: &'static str) -> Result<Option<TextRule>> {
        section.get(key).map(|item| TextRule::compile(&item)).transpose()
    }

    pub(super) fn required(section: &Section<'_>, key: &'static str) -> Result<TextRule> {
        TextRule::compile(&section.need(key)?)
    }

    fn compile(item: &Item<'_>) -> Result<TextRule> {
        let key = item.name().to_owned();
        if !item.is_table() {
            return Ok(TextRule { key, from: Template::compile(item)?, map: None, default: None });
        }
        let section = item.section()?;
        let from = Template::compile_from(&section.need("from")?)?;
        let default = section.get("default").map(|item| Template::compile(&item)).transpose()?;
        let map = match section.get("map") {
            Some(item) => {
                let map = item.section()?;
                let map = map.entries().map(|(value, item)| {
                    let template = Template::parse(&item.scalar()?).map_err(|message| item.error(message))?;
                    let text = template.constant().ok_or_else(|| item.error("what a `map` gives has no fields"))?;
                    Ok((value.to_owned(), text.to_owned()))
                });
                Some(map.collect::<Result<_>>()?)
            }
            None => None,
        };
        section.finish()?;
        Ok(TextRule { key, from, map, default })
    }

    pub(super) fn get<'n>(&'n self, view: View<'n, '_>) -> Result<Option<Cow<'n, str>>> {
        let text = self.from.render(view)?;
        let found = match (&self.map, &text) {
            (Some(map), Some(text)) => map.get(text.as_ref()).map(|mapped| Cow::Borrowed(mapped.as_str())),
            _ => text.clone(),
        };
        match (found, &self.default) {
            (Some(found), _) => Ok(Some(found)),
            (None, Some(default)) => default.render(view),
            (None, None) => match text {
                Some(text) => Err(Error::invalid(format!("`{text}` is not in the map of `{}`", self.key))),
                None => Ok(None),
            },
        }
    }

    pub(super) fn need<'n>(&'n self, view: View<'n, '_>) -> Result<Cow<'n, str>> {
        self.get(view)?.filter(|text| !text.is_empty()).ok_or_else(|| missing(&self.key, &self.from))
    }

    pub(super) fn paths<'m>(&'m self, paths: &mut Vec<&'m Path>) {
        paths.extend(self.from.fields());
        paths.extend(self.default.iter().flat_map(Template::fields));
    }
}

/// The error of a required part that a record does not have.
pub(super) fn missing(key: &str, from: &Template) -> Error {
    Error::invalid(format!("missing `{key}`, which is read from `{}`", from.text()))
}

/// A number in a template: `value`, `sequence`.
#[derive(Debug)]
pub(super) struct NumberRule {
    key: &'static str,
    from: Template,
}

impl NumberRule {
    pub(super) fn optional(section: &Section<'_>, key: &'static str) -> Result<Option<NumberRule>> {
        let from = section.get(key).map(|item| Template::compile(&item)).transpose()?;
        Ok(from.map(|from| NumberRule { key, from }))
    }

    pub(super) fn get<T: FromStr>(&self, view: View<'_, '_>, what: &str) -> Result<Option<T>> {
        let Some(text) = self.from.render(view)? else { return Ok(None) };
        match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Error::invalid(format!("`{}`: expected {what}, got `{text}`", self.key))),
        }
    }

    pub(super) fn paths<'m>(&'m self, paths: &mut Vec<&'m Path>) {
        paths.extend(self.from.fields());
    }
}
