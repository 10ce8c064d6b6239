//! The `[event]` section.

use crate::error::{Error, Result};
use crate::import::mapping::attributes::AttributesRule;
use crate::import::mapping::condition::Condition;
use crate::import::mapping::config::Section;
use crate::import::mapping::entities::EntitiesRule;
use crate::import::mapping::moment::TimeRule;
use crate::import::mapping::severity::{self, SeverityRule};
use crate::import::mapping::template::{Path, View};
use crate::import::mapping::value::{NumberRule, TextRule};
use crate::import::parts;
use crate::model::{Event, Text, Timestamp, Value};

/// How a record becomes an event.
#[derive(Debug)]
pub(super) struct EventRule {
    pub(super) when: Condition,
    earliest: Timestamp,
    time: TimeRule,
    end: Option<TimeRule>,
    source: TextRule,
    id: Option<TextRule>,
    sequence: Option<NumberRule>,
    kind: TextRule,
    layer: Option<TextRule>,
    severity: Option<SeverityRule>,
    value: Option<NumberRule>,
    subjects: EntitiesRule,
    context: EntitiesRule,
    attributes: AttributesRule,
}

impl EventRule {
    pub(super) fn compile(section: &Section<'_>, earliest: Timestamp) -> Result<EventRule> {
        let mut rule = EventRule {
            when: Condition::compile(section)?,
            earliest,
            end: TimeRule::optional(section, "end")?,
            id: TextRule::optional(section, "id")?,
            sequence: NumberRule::optional(section, "sequence")?,
            layer: TextRule::optional(section, "layer")?,
            severity: SeverityRule::optional(section)?,
            value: NumberRule::optional(section, "value")?,
            subjects: EntitiesRule::compile(section, "subjects")?,
            context: EntitiesRule::compile(section, "context")?,
            attributes: AttributesRule::compile(section)?,
            kind: TextRule::required(section, "kind")?,
            source: TextRule::required(section, "source")?,
            time: TimeRule::required(section, "time")?,
        };
        section.finish()?;
        let mut attributes = std::mem::take(&mut rule.attributes);
        let mut taken = Vec::new();
        rule.paths(&mut taken);
        attributes.leave_out(&taken);
        rule.attributes = attributes;
        Ok(rule)
    }

    pub(super) fn event(&self, view: View<'_, '_>) -> Result<Event> {
        let time = self.time.need(view)?;
        if time < self.earliest {
            let earliest = self.earliest;
            return Err(Error::invalid(format!(
                "time {time} is before `earliest` {earliest}: a wrong unit or format?"
            )));
        }
        let mut event = Event::new(time, self.source.need(view)?.as_ref(), self.kind.need(view)?.as_ref());
        let text = |rule: &Option<TextRule>| -> Result<Option<Text>> {
            let Some(rule) = rule else { return Ok(None) };
            Ok(rule.get(view)?.map(|text| Text::from(text.as_ref())))
        };
        event.end = self.end.as_ref().map_or(Ok(None), |rule| rule.get(view))?;
        event.id = text(&self.id)?;
        event.layer = text(&self.layer)?;
        event.sequence = self.sequence.as_ref().map_or(Ok(None), |rule| rule.get(view, "a whole number"))?;
        event.value = self.value.as_ref().map_or(Ok(None), |rule| rule.get(view, "a number"))?;
        if event.value.is_some_and(|value| !value.is_finite()) {
            return Err(Error::invalid("`value` is not finite"));
        }
        self.subjects.each(view, &mut |entity| parts::add_subject(&mut event.subjects, entity))?;
        self.context.each(view, &mut |entity| parts::add_context(&mut event.context, entity))?;
        if let Some(rule) = &self.severity {
            let (severity, original) = rule.get(view)?;
            event.severity = severity;
            if let Some(original) = original {
                let name = Text::from(severity::ORIGINAL);
                parts::add_attribute(&mut event.attributes, name, Value::from(original.as_ref()))?;
            }
        }
        self.attributes.add(view, &mut event.attributes)?;
        Ok(event)
    }

    /// Adds the fields that the section reads.
    pub(super) fn fields<'m>(&'m self, fields: &mut Vec<&'m str>) {
        let mut paths = Vec::new();
        self.paths(&mut paths);
        self.attributes.paths(&mut paths);
        fields.extend(paths.into_iter().map(Path::text));
        self.when.fields(fields);
    }

    /// The fields of all parts but the attributes.
    fn paths<'m>(&'m self, paths: &mut Vec<&'m Path>) {
        [Some(&self.time), self.end.as_ref()].into_iter().flatten().for_each(|rule| rule.paths(paths));
        let texts = [Some(&self.source), self.id.as_ref(), Some(&self.kind), self.layer.as_ref()];
        texts.into_iter().flatten().for_each(|rule| rule.paths(paths));
        [&self.sequence, &self.value].into_iter().flatten().for_each(|rule| rule.paths(paths));
        self.severity.iter().for_each(|rule| rule.paths(paths));
        self.subjects.paths(paths);
        self.context.paths(paths);
    }
}
