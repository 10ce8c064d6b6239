//! `when`: which records a section is for.

use crate::error::Result;
use crate::import::mapping::config::{Item, Section};
use crate::import::mapping::template::{Path, View};

/// Conditions on fields, all of which must hold.
#[derive(Debug, Default)]
pub(super) struct Condition(Vec<(Path, Test)>);

#[derive(Debug)]
enum Test {
    /// The text is one of these.
    OneOf(Vec<String>),
    /// It is absent or none of these.
    NoneOf(Vec<String>),
    Present(bool),
}

impl Condition {
    pub(super) fn compile(section: &Section<'_>) -> Result<Condition> {
        let Some(item) = section.get("when") else { return Ok(Condition::default()) };
        let tests = item.section()?;
        let tests = tests.entries().map(|(field, item)| Ok((Path::new(field), test(&item)?)));
        Ok(Condition(tests.collect::<Result<_>>()?))
    }

    pub(super) fn holds(&self, view: View<'_, '_>) -> bool {
        self.0.iter().all(|(path, test)| {
            let node = view.get(path);
            let is_in = |texts: &[String]| {
                node.and_then(|node| node.text()).is_some_and(|own| texts.iter().any(|text| *text == own))
            };
            match test {
                Test::OneOf(texts) => is_in(texts),
                Test::NoneOf(texts) => !is_in(texts),
                Test::Present(wanted) => node.is_some() == *wanted,
            }
        })
    }

    pub(super) fn fields<'m>(&'m self, fields: &mut Vec<&'m str>) {
        fields.extend(self.0.iter().map(|(path, _)| path.text()));
    }
}

fn test(item: &Item<'_>) -> Result<Test> {
    let texts = |item: &Item<'_>| item.items().iter().map(Item::scalar).collect::<Result<Vec<_>>>();
    if !item.is_table() {
        return Ok(Test::OneOf(texts(item)?));
    }
    let section = item.section()?;
    let test = match (section.get("not"), section.get("present")) {
        (Some(item), None) => Test::NoneOf(texts(&item)?),
        (None, Some(item)) => Test::Present(item.flag()?),
        _ => {
            return Err(
                item.error("a value, a list of values, { not = .. } or { present = .. }; a name with dots is quoted")
            );
        }
    };
    section.finish()?;
    Ok(test)
}
