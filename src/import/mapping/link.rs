//! The `[link]` section.

use crate::error::{Error, Result};
use crate::import::mapping::condition::Condition;
use crate::import::mapping::config::Section;
use crate::import::mapping::entities::{entity, entity_template};
use crate::import::mapping::moment::TimeRule;
use crate::import::mapping::template::{Path, Template, View};
use crate::import::mapping::value::{TextRule, missing};
use crate::model::{Entity, Link, LinkChange, Text, Timestamp};

/// How a record becomes a statement about a link.
#[derive(Debug)]
pub(super) struct LinkRule {
    pub(super) when: Condition,
    /// `add`, `close` or `retract`; `add` when there is no rule.
    change: Option<TextRule>,
    from: Template,
    relation: TextRule,
    to: Template,
    valid_from: Option<TimeRule>,
    valid_to: Option<TimeRule>,
    at: Option<TimeRule>,
    source: Option<TextRule>,
}

impl LinkRule {
    pub(super) fn compile(section: &Section<'_>) -> Result<LinkRule> {
        let rule = LinkRule {
            when: Condition::compile(section)?,
            change: TextRule::optional(section, "change")?,
            valid_from: TimeRule::optional(section, "valid_from")?,
            valid_to: TimeRule::optional(section, "valid_to")?,
            at: TimeRule::optional(section, "at")?,
            source: TextRule::optional(section, "source")?,
            from: entity_template(&section.need("from")?)?,
            relation: TextRule::required(section, "relation")?,
            to: entity_template(&section.need("to")?)?,
        };
        section.finish()?;
        Ok(rule)
    }

    pub(super) fn change(&self, view: View<'_, '_>) -> Result<LinkChange> {
        let end = |template: &Template, key: &str| -> Result<Entity> {
            entity(template, view)?.ok_or_else(|| missing(key, template))
        };
        let from = end(&self.from, "from")?;
        let to = end(&self.to, "to")?;
        let relation = Text::from(self.relation.need(view)?.as_ref());
        let source = match &self.source {
            Some(rule) => Text::from(rule.get(view)?.unwrap_or_default().as_ref()),
            None => Text::default(),
        };
        let change = self.change.as_ref().map_or(Ok(None), |rule| rule.get(view))?;
        match change.as_deref().unwrap_or("add") {
            "add" => {
                let mut link = Link::new(from, relation, to).source(source);
                link.valid_from = time(&self.valid_from, view)?;
                link.valid_to = time(&self.valid_to, view)?;
                Ok(LinkChange::Add(link))
            }
            "close" => {
                let at = time(&self.at, view)?.ok_or_else(|| Error::invalid("missing `at`, when the link closed"))?;
                Ok(LinkChange::Close { from, relation, to, at, source })
            }
            "retract" => {
                Ok(LinkChange::Retract { from, relation, to, valid_from: time(&self.valid_from, view)?, source })
            }
            other => Err(Error::invalid(format!("`change` is `add`, `close` or `retract`, got `{other}`"))),
        }
    }

    /// Adds the fields that the section reads.
    pub(super) fn fields<'m>(&'m self, fields: &mut Vec<&'m str>) {
        let mut paths: Vec<&Path> = self.from.fields().chain(self.to.fields()).collect();
        self.relation.paths(&mut paths);
        [&self.change, &self.source].into_iter().flatten().for_each(|rule| rule.paths(&mut paths));
        let times = [&self.valid_from, &self.valid_to, &self.at];
        times.into_iter().flatten().for_each(|rule| rule.paths(&mut paths));
        fields.extend(paths.into_iter().map(Path::text));
        self.when.fields(fields);
    }
}

fn time(rule: &Option<TimeRule>, view: View<'_, '_>) -> Result<Option<Timestamp>> {
    rule.as_ref().map_or(Ok(None), |rule| rule.get(view))
}
