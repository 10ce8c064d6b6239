//! The one gate for records from outside: every rule that a record must keep.

use crate::model::{Entity, Event, Limits, LinkChange, Rejection, Text, Timestamp, Value};

type Checked = Result<(), Rejection>;

pub(super) fn check_event(event: &Event, limits: &Limits) -> Checked {
    name("source", &event.source, limits)?;
    name("kind", &event.kind, limits)?;
    if let Some(layer) = &event.layer {
        name("layer", layer, limits)?;
    }
    if let Some(text) = &event.id {
        length("id", text.len(), 1, limits.id_bytes)?;
    }
    instant("time", event.time)?;
    if let Some(end) = event.end {
        instant("end", end)?;
        if end <= event.time {
            return Err(Rejection::new("end is not after time"));
        }
    }
    if event.value.is_some_and(|value| !value.is_finite()) {
        return Err(Rejection::new("value is not a finite number"));
    }
    at_most("subjects", event.subjects.len(), limits.subjects)?;
    at_most("context entities", event.context.len(), limits.context)?;
    at_most("attributes", event.attributes.len(), limits.attributes)?;
    for subject in &event.subjects {
        entity("subject", subject, limits)?;
    }
    for involved in &event.context {
        entity("context", involved, limits)?;
    }
    for (attribute, value) in &event.attributes {
        name("attribute name", attribute, limits)?;
        match value {
            Value::Text(text) => length("attribute", text.len(), 0, limits.text_bytes)?,
            Value::Float(number) if !number.is_finite() => {
                return Err(Rejection::new("attribute is not a finite number"));
            }
            _ => {}
        }
    }
    // The event is normal, so equal names stand side by side.
    match event.attributes.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(Rejection::new(format!("attribute `{}` is given twice", pair[0].0))),
        None => Ok(()),
    }
}

pub(super) fn check_link(change: &LinkChange, limits: &Limits) -> Checked {
    let (from, relation, to) = change.triple();
    entity("from", from, limits)?;
    name("relation", relation, limits)?;
    entity("to", to, limits)?;
    length("source", change.source().len(), 0, limits.name_bytes)?;
    if from == to {
        return Err(Rejection::new("a link from an entity to itself"));
    }
    match change {
        LinkChange::Add(link) if link.validity().is_empty() => Err(Rejection::new("valid_from is not before valid_to")),
        _ => Ok(()),
    }
}

/// Whether a type may root streams.
pub(super) fn check_customer_type(kind: &Text, limits: &Limits) -> Checked {
    name("customer type", kind, limits)?;
    if kind.contains(':') { Err(Rejection::new("customer type: an entity type has no colon")) } else { Ok(()) }
}

fn entity(field: &str, entity: &Entity, limits: &Limits) -> Checked {
    name(field, &entity.kind, limits)?;
    if entity.kind.contains(':') {
        return Err(Rejection::new(format!("{field}: an entity type has no colon")));
    }
    length(field, entity.id.len(), 1, limits.id_bytes)
}

fn name(field: &str, text: &Text, limits: &Limits) -> Checked {
    length(field, text.len(), 1, limits.name_bytes)
}

fn length(field: &str, bytes: usize, least: usize, most: usize) -> Checked {
    if bytes < least {
        Err(Rejection::new(format!("{field} is empty")))
    } else if bytes > most {
        Err(Rejection::new(format!("{field} has {bytes} bytes, the limit is {most}")))
    } else {
        Ok(())
    }
}

fn at_most(things: &str, count: usize, most: usize) -> Checked {
    if count > most { Err(Rejection::new(format!("{count} {things}, the limit is {most}"))) } else { Ok(()) }
}

fn instant(field: &str, time: Timestamp) -> Checked {
    // The two ends stand for "unbounded" elsewhere.
    if time == Timestamp::MIN || time == Timestamp::MAX {
        return Err(Rejection::new(format!("{field} is at the end of the range of time")));
    }
    Ok(())
}
