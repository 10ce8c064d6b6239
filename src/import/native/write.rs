//! Records into native lines.

use std::fmt::{self, Write};

use crate::model::{Entity, Event, LinkChange, Record, Severity, Timestamp, Value};

/// The record as one native line, without a line end.
pub fn write(record: &Record) -> String {
    let mut line = String::with_capacity(256);
    write_to(record, &mut line);
    line
}

/// Appends the record to `line`, without a line end.
pub fn write_to(record: &Record, line: &mut String) {
    let mut object = Object { line, begun: false };
    match record {
        Record::Event(event) => write_event(event, &mut object),
        Record::Link(change) => write_link(change, &mut object),
    }
    object.line.push('}');
}

fn write_event(event: &Event, object: &mut Object<'_>) {
    object.time("time", event.time);
    if let Some(end) = event.end {
        object.time("end", end);
    }
    object.text("source", &event.source);
    if let Some(id) = &event.id {
        object.text("id", id);
    }
    if let Some(sequence) = event.sequence {
        object.number("seq", sequence);
    }
    object.text("kind", &event.kind);
    if let Some(layer) = &event.layer {
        object.text("layer", layer);
    }
    if event.severity != Severity::NONE {
        object.number("severity", event.severity);
    }
    if let Some(value) = event.value {
        object.float("value", value);
    }
    object.entities("subjects", &event.subjects);
    object.entities("context", &event.context);
    if !event.attributes.is_empty() {
        object.key("attrs");
        let mut members = Object { line: object.line, begun: false };
        for (name, value) in &event.attributes {
            match value {
                Value::Text(text) => members.text(name, text),
                Value::Int(number) => members.number(name, number),
                Value::Float(number) => members.float(name, *number),
                Value::Bool(flag) => members.number(name, flag),
            }
        }
        object.line.push('}');
    }
}

fn write_link(change: &LinkChange, object: &mut Object<'_>) {
    let (word, times) = match change {
        LinkChange::Add(link) => ("add", [("valid_from", link.valid_from), ("valid_to", link.valid_to)]),
        LinkChange::Close { at, .. } => ("close", [("at", Some(*at)), ("valid_to", None)]),
        LinkChange::Retract { valid_from, .. } => ("retract", [("valid_from", *valid_from), ("valid_to", None)]),
    };
    let (from, relation, to) = change.triple();
    object.text("link", word);
    object.entity("from", from);
    object.text("relation", relation);
    object.entity("to", to);
    for (name, time) in times {
        if let Some(time) = time {
            object.time(name, time);
        }
    }
    if !change.source().is_empty() {
        object.text("source", change.source());
    }
}

/// An object under construction at the end of a line.
struct Object<'l> {
    line: &'l mut String,
    begun: bool,
}

impl Object<'_> {
    fn key(&mut self, name: &str) {
        self.line.push(if self.begun { ',' } else { '{' });
        self.begun = true;
        quoted(self.line, name);
        self.line.push(':');
    }

    fn text(&mut self, name: &str, text: &str) {
        self.key(name);
        quoted(self.line, text);
    }

    fn number(&mut self, name: &str, number: impl fmt::Display) {
        self.key(name);
        let _ = write!(self.line, "{number}");
    }

    /// The shortest digits that give the same number, always with a point or an exponent, so that
    /// it is not read back as a whole number.
    fn float(&mut self, name: &str, number: f64) {
        self.key(name);
        let _ = match number.is_finite() {
            true => write!(self.line, "{number:?}"),
            false => write!(self.line, "null"),
        };
    }

    fn time(&mut self, name: &str, time: Timestamp) {
        self.key(name);
        let _ = write!(self.line, "\"{time}\"");
    }

    fn entity(&mut self, name: &str, entity: &Entity) {
        self.key(name);
        quoted_entity(self.line, entity);
    }

    fn entities(&mut self, name: &str, entities: &[Entity]) {
        if entities.is_empty() {
            return;
        }
        self.key(name);
        for (i, entity) in entities.iter().enumerate() {
            self.line.push(if i == 0 { '[' } else { ',' });
            quoted_entity(self.line, entity);
        }
        self.line.push(']');
    }
}

fn quoted_entity(line: &mut String, entity: &Entity) {
    line.push('"');
    escaped(line, &entity.kind);
    line.push(':');
    escaped(line, &entity.id);
    line.push('"');
}

fn quoted(line: &mut String, text: &str) {
    line.push('"');
    escaped(line, text);
    line.push('"');
}

fn escaped(line: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        line.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => line.push_str("\\\""),
            b'\\' => line.push_str("\\\\"),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            byte => {
                let _ = write!(line, "\\u{byte:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    line.push_str(rest);
}
