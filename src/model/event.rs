//! Events: things that happened.

use std::fmt;

use smallvec::SmallVec;

use crate::model::{Entity, Severity, Text, Timestamp, Value};

/// One thing that happened.
///
/// `(source, id, time)` is its identity; without an id, its content is. The same identity with the
/// same content again is a duplicate, with other content a conflict.
///
/// ```
/// use ofone::{Entity, Event, Severity, Timestamp};
/// let event = Event::new("2026-01-05T09:13:00Z".parse::<Timestamp>().unwrap(), "ran", "call.dropped")
///     .id("cdr-99172")
///     .layer("network")
///     .severity(Severity::ERROR)
///     .subject(Entity::new("service", "C42/mobile"))
///     .context(Entity::new("cell", "LON-17"))
///     .attribute("cause", "handover timeout");
/// assert_eq!(event.subjects[0].to_string(), "service:C42/mobile");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// When it happened, or began.
    pub time: Timestamp,
    /// When it was over, for things that last; after `time`.
    pub end: Option<Timestamp>,
    /// The source's own sequence number, which orders its events within an instant.
    pub sequence: Option<u64>,
    /// The feed it came from.
    pub source: Text,
    /// The source's name for it. On a stored event without one, see [`Event::name`].
    pub id: Option<Text>,
    /// What happened, dotted: `call.dropped`.
    pub kind: Text,
    /// The storey of the pyramid: `product`, `front`, `process`, `system`, `network` or any word.
    pub layer: Option<Text>,
    /// How bad it was.
    pub severity: Severity,
    /// The measured number, if there is one; finite.
    pub value: Option<f64>,
    /// Entities it happened to: it is experienced by them and by everyone who depends on them.
    pub subjects: SmallVec<[Entity; 1]>,
    /// Entities it merely involves: searchable, not passed on to their dependents.
    pub context: SmallVec<[Entity; 2]>,
    /// Everything else, in the order given; names are unique within one event.
    pub attributes: SmallVec<[(Text, Value); 1]>,
}

impl Event {
    /// An event with the three fields that each one has; the others start empty.
    pub fn new(time: Timestamp, source: impl Into<Text>, kind: impl Into<Text>) -> Event {
        Event {
            time,
            end: None,
            sequence: None,
            source: source.into(),
            id: None,
            kind: kind.into(),
            layer: None,
            severity: Severity::NONE,
            value: None,
            subjects: SmallVec::new(),
            context: SmallVec::new(),
            attributes: SmallVec::new(),
        }
    }

    /// With the source's name for it.
    #[must_use]
    pub fn id(mut self, id: impl Into<Text>) -> Event {
        self.id = Some(id.into());
        self
    }

    /// With the instant it was over.
    #[must_use]
    pub fn end(mut self, end: Timestamp) -> Event {
        self.end = Some(end);
        self
    }

    /// With the source's sequence number.
    #[must_use]
    pub fn sequence(mut self, sequence: u64) -> Event {
        self.sequence = Some(sequence);
        self
    }

    /// With its layer.
    #[must_use]
    pub fn layer(mut self, layer: impl Into<Text>) -> Event {
        self.layer = Some(layer.into());
        self
    }

    /// With its severity.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Event {
        self.severity = severity;
        self
    }

    /// With a measured number.
    #[must_use]
    pub fn value(mut self, value: f64) -> Event {
        self.value = Some(value);
        self
    }

    /// With one more entity it happened to.
    #[must_use]
    pub fn subject(mut self, subject: Entity) -> Event {
        self.subjects.push(subject);
        self
    }

    /// With one more entity it involves.
    #[must_use]
    pub fn context(mut self, entity: Entity) -> Event {
        self.context.push(entity);
        self
    }

    /// With one more attribute.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<Text>, value: impl Into<Value>) -> Event {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// The identity `(source, id, time)`; for an event without an id, the id is the hash of its
    /// content as 32 hexadecimal digits, the same wherever and whenever it is computed.
    pub fn name(&self) -> EventName {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => Text::from(format!("{:032x}", self.content_hash())),
        };
        EventName { source: self.source.clone(), id, time: self.time }
    }

    /// 128-bit xxh3 of the content in canonical form: every field but the id in declaration order,
    /// length prefixed, subjects, context and attributes as [`Event::normalise`] leaves them.
    pub fn content_hash(&self) -> u128 {
        let mut normal;
        let event = if self.is_normal() {
            self
        } else {
            normal = self.clone();
            normal.normalise();
            &normal
        };
        event.normal_hash()
    }

    /// Bytes of id and text attributes.
    pub(crate) fn text_bytes(&self) -> usize {
        let texts = self.attributes.iter().map(|(_, value)| match value {
            Value::Text(text) => text.len(),
            _ => size_of::<Value>(),
        });
        self.id.as_ref().map_or(0, |id| id.len()) + texts.sum::<usize>()
    }

    fn is_normal(&self) -> bool {
        self.subjects.is_sorted_by(|a, b| a < b)
            && self.context.is_sorted_by(|a, b| a < b)
            && self.attributes.is_sorted_by(|a, b| a.0 <= b.0)
            && !self.context.iter().any(|entity| self.subjects.contains(entity))
    }

    fn normal_hash(&self) -> u128 {
        let mut bytes = Vec::with_capacity(160);
        let text = |field: &str, bytes: &mut Vec<u8>| {
            bytes.extend_from_slice(&(field.len() as u32).to_le_bytes());
            bytes.extend_from_slice(field.as_bytes());
        };
        bytes.extend_from_slice(&self.time.as_nanos().to_le_bytes());
        bytes.extend_from_slice(&self.end.map_or(i64::MIN, Timestamp::as_nanos).to_le_bytes());
        bytes.push(u8::from(self.sequence.is_some()));
        bytes.extend_from_slice(&self.sequence.unwrap_or(0).to_le_bytes());
        text(&self.source, &mut bytes);
        text(&self.kind, &mut bytes);
        bytes.push(u8::from(self.layer.is_some()));
        text(self.layer.as_deref().unwrap_or(""), &mut bytes);
        bytes.push(self.severity.number());
        bytes.push(u8::from(self.value.is_some()));
        bytes.extend_from_slice(&self.value.map_or(0, f64::to_bits).to_le_bytes());
        for entities in [self.subjects.as_slice(), self.context.as_slice()] {
            bytes.extend_from_slice(&(entities.len() as u32).to_le_bytes());
            for entity in entities {
                text(&entity.kind, &mut bytes);
                text(&entity.id, &mut bytes);
            }
        }
        for (name, value) in &self.attributes {
            text(name, &mut bytes);
            match value {
                Value::Text(value) => {
                    bytes.push(0);
                    text(value, &mut bytes);
                }
                Value::Int(value) => {
                    bytes.push(1);
                    bytes.extend_from_slice(&value.to_le_bytes());
                }
                Value::Float(value) => {
                    bytes.push(2);
                    bytes.extend_from_slice(&value.to_bits().to_le_bytes());
                }
                Value::Bool(value) => bytes.extend_from_slice(&[3, u8::from(*value)]),
            }
        }
        xxhash_rust::xxh3::xxh3_128(&bytes)
    }

    /// Puts the event into the one form in which it is stored: subjects and context each sorted and
    /// without repetition, no entity in both (it is a subject then), attributes sorted by name.
    pub fn normalise(&mut self) {
        if self.subjects.len() > 1 {
            self.subjects.sort_unstable();
            self.subjects.dedup();
        }
        if !self.context.is_empty() {
            let subjects = &self.subjects;
            self.context.retain(|entity| !subjects.contains(entity));
            self.context.sort_unstable();
            self.context.dedup();
        }
        if self.attributes.len() > 1 {
            self.attributes.sort_by(|a, b| a.0.cmp(&b.0));
        }
    }

    /// Takes the id away if it is the hash of the content, which is what we call an event without an id when we tell
    /// of one: so it is the same event when it comes back.
    pub(crate) fn drop_own_name(&mut self) {
        if self.id.as_ref().is_some_and(|id| is_content_hash(id) && **id == *format!("{:032x}", self.content_hash())) {
            self.id = None;
        }
    }

    /// Whether both say the same: all fields equal, in whatever order they list
    /// subjects, context and attributes.
    pub fn same_content(&self, other: &Event) -> bool {
        self.id == other.id && self.content_hash() == other.content_hash()
    }
}

/// Whether an id may be the hash of the content of an event.
pub(crate) fn is_content_hash(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The identity of an event: `(source, id, time)`.
///
/// For an event without an id of its own, `id` is the hash of its content; see [`Event::name`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName {
    /// The feed it came from.
    pub source: Text,
    /// The source's name for it, or the hash of its content.
    pub id: Text,
    /// When it happened.
    pub time: Timestamp,
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.source, self.id, self.time)
    }
}
