//! Native lines into records.
//!
//! The line is decoded in one pass straight into the fields of the record, without a tree of JSON
//! values in between: this is the path that has to keep up with the store.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::import::json::{self, Key, Node};
use crate::import::parts::{self, Attributes};
use crate::import::time;
use crate::model::{Entity, Event, Link, LinkChange, Record, Severity, Text, Timestamp, Value, did_you_mean};

/// Parses one native line.
///
/// # Errors
/// `Invalid`, with the reason and the column.
pub fn parse(line: &str) -> Result<Record> {
    let fields: Fields = serde_json::from_str(line).map_err(|cause| json::invalid(&cause))?;
    let record = fields.record()?;
    if let Record::Event(event) = &record
        && let Some((name, _)) = event.attributes.iter().find(|(_, value)| json::is_large_float(value))
        && json::has_large_integer(line)
    {
        return Err(Error::invalid(format!("attribute `{name}` {LONG}")));
    }
    Ok(record)
}

/// What is wrong with a number that no attribute holds.
const LONG: &str = "is a whole number of more than 64 bits, write it as text";

/// The fields of both kinds of record; the number of each is its bit in [`Fields::seen`].
#[derive(Clone, Copy)]
enum Field {
    Time,
    End,
    Source,
    Id,
    Kind,
    Layer,
    Severity,
    Value,
    Seq,
    Subject,
    Subjects,
    Customer,
    Context,
    Attrs,
    Link,
    From,
    Relation,
    To,
    ValidFrom,
    ValidTo,
    At,
}

const NAMES: [&str; 21] = [
    "time",
    "end",
    "source",
    "id",
    "kind",
    "layer",
    "severity",
    "value",
    "seq",
    "subject",
    "subjects",
    "customer",
    "context",
    "attrs",
    "link",
    "from",
    "relation",
    "to",
    "valid_from",
    "valid_to",
    "at",
];

impl Field {
    const fn bit(self) -> u32 {
        1 << self as u32
    }

    const fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    fn of(name: &str) -> Option<Field> {
        Some(match name {
            "time" => Field::Time,
            "end" => Field::End,
            "source" => Field::Source,
            "id" => Field::Id,
            "kind" => Field::Kind,
            "layer" => Field::Layer,
            "severity" => Field::Severity,
            "value" => Field::Value,
            "seq" => Field::Seq,
            "subject" => Field::Subject,
            "subjects" => Field::Subjects,
            "customer" => Field::Customer,
            "context" => Field::Context,
            "attrs" => Field::Attrs,
            "link" => Field::Link,
            "from" => Field::From,
            "relation" => Field::Relation,
            "to" => Field::To,
            "valid_from" => Field::ValidFrom,
            "valid_to" => Field::ValidTo,
            "at" => Field::At,
            _ => return None,
        })
    }
}

const LINK_FIELDS: u32 = Field::Link.bit()
    | Field::From.bit()
    | Field::Relation.bit()
    | Field::To.bit()
    | Field::ValidFrom.bit()
    | Field::ValidTo.bit()
    | Field::At.bit()
    | Field::Source.bit();
const EVENT_FIELDS: u32 = (Field::Link.bit() - 1) | Field::Source.bit();

#[derive(Clone, Copy)]
enum Statement {
    Add,
    Close,
    Retract,
}

/// What a line has said so far.
#[derive(Default)]
struct Fields {
    seen: u32,
    time: Option<Timestamp>,
    end: Option<Timestamp>,
    source: Option<Text>,
    id: Option<Text>,
    kind: Option<Text>,
    layer: Option<Text>,
    severity: Severity,
    value: Option<f64>,
    sequence: Option<u64>,
    subjects: SmallVec<[Entity; 1]>,
    context: SmallVec<[Entity; 2]>,
    attributes: Attributes,
    statement: Option<Statement>,
    from: Option<Entity>,
    relation: Option<Text>,
    to: Option<Entity>,
    valid_from: Option<Timestamp>,
    valid_to: Option<Timestamp>,
    at: Option<Timestamp>,
}

impl Fields {
    fn read<'de, A: MapAccess<'de>>(&mut self, field: Field, map: &mut A) -> Result<(), A::Error> {
        match field {
            Field::Time => self.time = map.next_value_seed(Scalar(time::parse))?,
            Field::End => self.end = map.next_value_seed(Scalar(time::parse))?,
            Field::Source => self.source = map.next_value_seed(Scalar(text))?,
            Field::Id => self.id = map.next_value_seed(Scalar(text))?,
            Field::Kind => self.kind = map.next_value_seed(Scalar(text))?,
            Field::Layer => self.layer = map.next_value_seed(Scalar(text))?,
            Field::Severity => self.severity = severity(map.next_value()?).map_err(custom)?,
            Field::Value => self.value = map.next_value()?,
            Field::Seq => self.sequence = map.next_value()?,
            Field::Subject => {
                if let Some(entity) = map.next_value_seed(Scalar(str::parse))? {
                    parts::add_subject(&mut self.subjects, entity).map_err(custom)?;
                }
            }
            Field::Customer => {
                if let Some(id) = map.next_value_seed(Scalar(text))? {
                    parts::add_subject(&mut self.subjects, Entity::customer(id)).map_err(custom)?;
                }
            }
            Field::Subjects => {
                map.next_value_seed(Entities(|entity| parts::add_subject(&mut self.subjects, entity)))?;
            }
            Field::Context => map.next_value_seed(Entities(|entity| parts::add_context(&mut self.context, entity)))?,
            Field::Attrs => {
                map.next_value_seed(Members { attributes: &mut self.attributes, outer: "" })?;
                parts::check_attributes(&self.attributes).map_err(custom)?;
            }
            Field::Link => self.statement = map.next_value_seed(Scalar(statement))?,
            Field::From => self.from = map.next_value_seed(Scalar(str::parse))?,
            Field::Relation => self.relation = map.next_value_seed(Scalar(text))?,
            Field::To => self.to = map.next_value_seed(Scalar(str::parse))?,
            Field::ValidFrom => self.valid_from = map.next_value_seed(Scalar(time::parse))?,
            Field::ValidTo => self.valid_to = map.next_value_seed(Scalar(time::parse))?,
            Field::At => self.at = map.next_value_seed(Scalar(time::parse))?,
        }
        Ok(())
    }

    fn record(self) -> Result<Record> {
        if self.seen & Field::Link.bit() != 0 { self.link().map(Record::Link) } else { self.event().map(Record::Event) }
    }

    fn event(self) -> Result<Event> {
        if let Some(name) = first_of(self.seen & !EVENT_FIELDS) {
            return Err(Error::invalid(format!("`{name}` is a field of link statements, and those have `link`")));
        }
        let time = given(self.time, Field::Time)?;
        let mut event = Event::new(time, given(self.source, Field::Source)?, given(self.kind, Field::Kind)?);
        event.end = self.end;
        event.sequence = self.sequence;
        event.id = self.id;
        event.layer = self.layer;
        event.severity = self.severity;
        event.value = self.value;
        event.subjects = self.subjects;
        event.context = self.context;
        event.attributes = self.attributes;
        Ok(event)
    }

    fn link(self) -> Result<LinkChange> {
        let statement = given(self.statement, Field::Link)?;
        let (allowed, word) = match statement {
            Statement::Add => (LINK_FIELDS & !Field::At.bit(), "an added"),
            Statement::Close => (LINK_FIELDS & !(Field::ValidFrom.bit() | Field::ValidTo.bit()), "a closed"),
            Statement::Retract => (LINK_FIELDS & !(Field::ValidTo.bit() | Field::At.bit()), "a retracted"),
        };
        if let Some(name) = first_of(self.seen & !allowed) {
            return Err(Error::invalid(format!("`{name}` is not a field of {word} link")));
        }
        let from = given(self.from, Field::From)?;
        let relation = given(self.relation, Field::Relation)?;
        let to = given(self.to, Field::To)?;
        let source = self.source.unwrap_or_default();
        Ok(match statement {
            Statement::Add => {
                let mut link = Link::new(from, relation, to).source(source);
                link.valid_from = self.valid_from;
                link.valid_to = self.valid_to;
                LinkChange::Add(link)
            }
            Statement::Close => LinkChange::Close { from, relation, to, at: given(self.at, Field::At)?, source },
            Statement::Retract => LinkChange::Retract { from, relation, to, valid_from: self.valid_from, source },
        })
    }
}

fn given<T>(value: Option<T>, field: Field) -> Result<T> {
    value.ok_or_else(|| Error::invalid(format!("missing `{}`", field.name())))
}

fn first_of(fields: u32) -> Option<&'static str> {
    NAMES.get(fields.trailing_zeros() as usize).copied()
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err by name")]
fn custom<E: serde::de::Error>(error: Error) -> E {
    E::custom(error.message())
}

fn text(text: &str) -> Result<Text> {
    Ok(Text::from(text))
}

fn severity(number: Option<u64>) -> Result<Severity> {
    let number = number.unwrap_or(0);
    Severity::new(u8::try_from(number).unwrap_or(u8::MAX))
        .map_err(|_| Error::invalid(format!("severity is 0 to 24, got {number}")))
}

fn statement(word: &str) -> Result<Statement> {
    match word {
        "add" => Ok(Statement::Add),
        "close" => Ok(Statement::Close),
        "retract" => Ok(Statement::Retract),
        _ => Err(Error::invalid(format!("`add`, `close` or `retract`, got `{word}`"))),
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        deserializer.deserialize_map(RecordVisitor)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key_seed(FieldName)? {
            let field = match name {
                Ok(field) => field,
                Err(name) => {
                    let close = did_you_mean(&name, NAMES);
                    return Err(A::Error::custom(format_args!("unknown field `{name}`{close}")));
                }
            };
            if fields.seen & field.bit() != 0 {
                return Err(A::Error::custom(format_args!("`{}` is given twice", field.name())));
            }
            fields.seen |= field.bit();
            fields
                .read(field, &mut map)
                .map_err(|cause| A::Error::custom(format_args!("`{}`: {cause}", field.name())))?;
        }
        Ok(fields)
    }
}

/// A key: the field, or the text that is none.
struct FieldName;

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Result<Field, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = Result<Field, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Field::of(name).ok_or_else(|| name.to_owned()))
    }
}

/// A text, made into something by a function; null is `None`.
struct Scalar<F>(F);

impl<'de, T, F: FnOnce(&str) -> Result<T>> DeserializeSeed<'de> for Scalar<F> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<T, F: FnOnce(&str) -> Result<T>> Visitor<'_> for Scalar<F> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Option<T>, E> {
        (self.0)(text).map(Some).map_err(custom)
    }
}

/// A list of `type:id`, each handed to a function; null is the empty list.
struct Entities<F>(F);

impl<'de, F: FnMut(Entity) -> Result<()>> DeserializeSeed<'de> for Entities<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Entity) -> Result<()>> Visitor<'de> for Entities<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of `type:id`")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(entity) = items.next_element_seed(Scalar(str::parse::<Entity>))? {
            let entity = entity.ok_or_else(|| A::Error::custom("null is no entity"))?;
            (self.0)(entity).map_err(custom)?;
        }
        Ok(())
    }
}

/// The members of an object, as attributes under `outer`.
struct Members<'s> {
    attributes: &'s mut Attributes,
    outer: &'s str,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            let name = match self.outer {
                "" => key,
                outer => Cow::Owned(parts::joined(outer, &key).map_err(custom)?),
            };
            map.next_value_seed(Member { attributes: self.attributes, name: &name })?;
        }
        Ok(())
    }
}

/// One attribute, or the members of a nested object.
struct Member<'s> {
    attributes: &'s mut Attributes,
    name: &'s str,
}

impl Member<'_> {
    fn add<E: serde::de::Error>(self, value: Value) -> Result<(), E> {
        parts::add_attribute(self.attributes, Text::from(self.name), value).map_err(custom)
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<(), E> {
        self.add(Value::Bool(flag))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.add(Value::Int(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        match i64::try_from(number) {
            Ok(number) => self.add(Value::Int(number)),
            Err(_) => Err(E::custom(format_args!("attribute `{}` {LONG}", self.name))),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        self.add(Value::Float(number))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.add(Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Node<'de>>()? {
            list.push(item);
        }
        let list = Node::List(list);
        if list.has_large_float() {
            return Err(A::Error::custom(format_args!(
                "attribute `{}` lists a number beyond 64 bits, write it as text",
                self.name
            )));
        }
        self.add(Value::from(list.to_json()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        Members { attributes: self.attributes, outer: self.name }.visit_map(map)
    }
}
