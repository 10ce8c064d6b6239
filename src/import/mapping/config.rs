//! TOML tables that know where they stand, so that an error names line and key.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Result};
use crate::model::did_you_mean;

/// Parses `text` and hands its top table to `compile`.
pub(super) fn with_root<T>(text: &str, compile: impl FnOnce(&Section<'_>) -> Result<T>) -> Result<T> {
    let root = DeTable::parse(text).map_err(|cause| {
        let line = line_of(text, cause.span().map_or(0, |span| span.start));
        Error::invalid(cause.message().to_owned()).at(format_args!("line {line}"))
    })?;
    compile(&Section { text, key: String::new(), offset: 0, table: root.get_ref(), asked: RefCell::default() })
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count()
}

fn misplaced(text: &str, offset: usize, key: &str, message: impl Into<String>) -> Error {
    Error::invalid(message).at(format_args!("line {}, key `{key}`", line_of(text, offset)))
}

/// One value with its key.
#[derive(Clone)]
pub(super) struct Item<'t> {
    text: &'t str,
    key: String,
    offset: usize,
    value: &'t DeValue<'t>,
}

impl<'t> Item<'t> {
    fn new(text: &'t str, key: String, value: &'t Spanned<DeValue<'t>>) -> Item<'t> {
        Item { text, key, offset: value.span().start, value: value.get_ref() }
    }

    /// What is wrong with this value.
    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        misplaced(self.text, self.offset, &self.key, message)
    }

    fn expected(&self, what: &str) -> Error {
        self.error(format!("expected {what}"))
    }

    /// The last part of the key.
    pub(super) fn name(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or_default()
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    pub(super) fn text(&self) -> Result<&'t str> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.expected("text")),
        }
    }

    pub(super) fn flag(&self) -> Result<bool> {
        match self.value {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err(self.expected("true or false")),
        }
    }

    pub(super) fn integer(&self) -> Result<i64> {
        match self.value {
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .map_err(|_| self.error("a whole number of more than 64 bits")),
            _ => Err(self.expected("a whole number")),
        }
    }

    /// A text, or a whole number or truth value as text, as a record would have it.
    pub(super) fn scalar(&self) -> Result<String> {
        match self.value {
            DeValue::String(text) => Ok(text.clone().into_owned()),
            DeValue::Boolean(flag) => Ok(flag.to_string()),
            DeValue::Integer(_) => Ok(self.integer()?.to_string()),
            _ => Err(self.expected("text, a whole number, true or false")),
        }
    }

    /// The elements of a list, or the value alone.
    pub(super) fn items(&self) -> Vec<Item<'t>> {
        match self.value {
            DeValue::Array(list) => list.iter().map(|value| Item::new(self.text, self.key.clone(), value)).collect(),
            _ => vec![self.clone()],
        }
    }

    pub(super) fn section(&self) -> Result<Section<'t>> {
        match self.value {
            DeValue::Table(table) => Ok(Section {
                text: self.text,
                key: self.key.clone(),
                offset: self.offset,
                table,
                asked: RefCell::default(),
            }),
            _ => Err(self.expected("a table")),
        }
    }
}

/// A table. It remembers which keys were asked for; any other is a mistake.
pub(super) struct Section<'t> {
    text: &'t str,
    key: String,
    offset: usize,
    table: &'t DeTable<'t>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'t> Section<'t> {
    /// What is wrong with the table as a whole.
    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        misplaced(self.text, self.offset, &self.key, message)
    }

    /// The value of a key that may be there.
    pub(super) fn get(&self, name: &'static str) -> Option<Item<'t>> {
        self.asked.borrow_mut().push(name);
        self.entries().find(|(key, _)| *key == name).map(|(_, item)| item)
    }

    /// The value of a key that must be there.
    pub(super) fn need(&self, name: &'static str) -> Result<Item<'t>> {
        // A misspelt key is the likelier cause of a missing one, and the better message.
        self.get(name).ok_or_else(|| match self.finish() {
            Err(error) if error.message().contains("did you mean") => error,
            _ => self.error(format!("missing key `{name}`")),
        })
    }

    /// All keys and values, for tables with free keys.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'t str, Item<'t>)> {
        self.table.iter().map(|(key, value)| {
            let name: &'t str = key.get_ref();
            let full = if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) };
            (name, Item::new(self.text, full, value))
        })
    }

    /// Refuses keys that nobody asked for.
    pub(super) fn finish(&self) -> Result<()> {
        let asked = self.asked.borrow();
        match self.entries().find(|(key, _)| !asked.contains(key)) {
            Some((key, item)) => {
                Err(item.error(format!("unknown key `{key}`{}", did_you_mean(key, asked.iter().copied()))))
            }
            None => Ok(()),
        }
    }
}
