//! The month of events: flat records on disk, names, and the ofone events made of them.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use ofone::{Entity, Event, Severity, Text, Timestamp};
use serde::Deserialize;

use crate::Result;

/// One event as the generator coded it. Layer, source, kind and detail are places in the
/// vocabularies of `meta.json`; the service is a place in [`Meta::services`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    pub time_us: i64,
    pub customer: u32,
    pub service: u8,
    pub layer: u8,
    pub source: u8,
    pub kind: u8,
    pub severity: u8,
    pub detail: Option<u16>,
    pub component: Option<u32>,
    pub value: Option<f32>,
}

/// Bytes of one record in `events.bin`: time i64, customer u32, service, layer, source, kind, severity,
/// flags u8 each, detail u16, component u32, value f32, four spare bytes; all little-endian.
pub const RECORD_LEN: usize = 32;
const HAS_DETAIL: u8 = 1;
const HAS_COMPONENT: u8 = 2;
const HAS_VALUE: u8 = 4;

impl Record {
    pub fn encode(&self) -> [u8; RECORD_LEN] {
        let flags = (u8::from(self.detail.is_some()) * HAS_DETAIL)
            | (u8::from(self.component.is_some()) * HAS_COMPONENT)
            | (u8::from(self.value.is_some()) * HAS_VALUE);
        let mut bytes = [0; RECORD_LEN];
        bytes[0..8].copy_from_slice(&self.time_us.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.customer.to_le_bytes());
        bytes[12..18].copy_from_slice(&[self.service, self.layer, self.source, self.kind, self.severity, flags]);
        bytes[18..20].copy_from_slice(&self.detail.unwrap_or(0).to_le_bytes());
        bytes[20..24].copy_from_slice(&self.component.unwrap_or(0).to_le_bytes());
        bytes[24..28].copy_from_slice(&self.value.unwrap_or(0.0).to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; RECORD_LEN]) -> Record {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let flags = bytes[17];
        Record {
            time_us: i64::from_le_bytes(bytes[0..8].try_into().expect("eight bytes")),
            customer: u32::from_le_bytes(word(8)),
            service: bytes[12],
            layer: bytes[13],
            source: bytes[14],
            kind: bytes[15],
            severity: bytes[16],
            detail: (flags & HAS_DETAIL != 0).then(|| u16::from_le_bytes([bytes[18], bytes[19]])),
            component: (flags & HAS_COMPONENT != 0).then(|| u32::from_le_bytes(word(20))),
            value: (flags & HAS_VALUE != 0).then(|| f32::from_le_bytes(word(24))),
        }
    }
}

/// The records of `events.bin`, in arrival order.
pub struct Records {
    file: BufReader<File>,
    left: u64,
}

impl Records {
    pub fn open(scale_dir: &Path, limit: Option<u64>) -> Result<Records> {
        let path = scale_dir.join("events.bin");
        let file = File::open(&path).map_err(|error| format!("{}: {error}; run `compare prepare`", path.display()))?;
        Ok(Records { file: BufReader::with_capacity(1 << 20, file), left: limit.unwrap_or(u64::MAX) })
    }
}

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        self.left = self.left.checked_sub(1)?;
        let mut bytes = [0; RECORD_LEN];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => Some(Ok(Record::decode(&bytes))),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}

/// `events/meta.json` of the generator.
#[derive(Deserialize)]
pub struct Meta {
    pub customers: u32,
    pub events: u64,
    pub t0: i64,
    pub days: i64,
    pub layers: Vec<String>,
    pub sources: Vec<String>,
    pub kinds: Vec<String>,
    pub services: Vec<String>,
    pub details: Vec<String>,
}

impl Meta {
    pub fn read(scale_dir: &Path) -> Result<Meta> {
        let path = scale_dir.join("events/meta.json");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    }
}

const COMPONENTS: u32 = 50_000;
const COMPONENT_TYPES: [&str; 5] = ["cell", "olt", "svc", "router", "bras"];

/// All names as [`Text`], so that making an event copies and never formats.
pub struct Names {
    pub layers: Vec<Text>,
    pub sources: Vec<Text>,
    pub kinds: Vec<Text>,
    pub details: Vec<Text>,
    services: Vec<String>,
    components: Vec<Entity>,
    customer: Text,
    service: Text,
    detail: Text,
}

/// What an event is said to have happened to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Subject {
    /// The customer; the service is context.
    Customer,
    /// The service, which reaches the customer over a link.
    Service,
}

impl Names {
    pub fn new(meta: &Meta) -> Names {
        let texts = |words: &[String]| words.iter().map(Text::from).collect();
        let component = |number: u32| {
            let kind = COMPONENT_TYPES[number as usize % COMPONENT_TYPES.len()];
            Entity::new(kind, format!("{kind}-{number:05}"))
        };
        Names {
            layers: texts(&meta.layers),
            sources: texts(&meta.sources),
            kinds: texts(&meta.kinds),
            details: texts(&meta.details),
            services: meta.services.clone(),
            components: (0..COMPONENTS).map(component).collect(),
            customer: Text::from("customer"),
            service: Text::from("service"),
            detail: Text::from("detail"),
        }
    }

    /// `cell-00010` and its like, with its type.
    pub fn component(&self, number: u32) -> &Entity {
        &self.components[number as usize]
    }

    /// `C00000042`.
    pub fn customer_id(&self, customer: u32) -> Text {
        Text::from(id_text(&mut [0; ID_MAX], customer, ""))
    }

    /// `C00000042/mobile`.
    pub fn service_id(&self, customer: u32, service: u8) -> Text {
        Text::from(id_text(&mut [0; ID_MAX], customer, &self.services[usize::from(service)]))
    }

    pub fn customer(&self, customer: u32) -> Entity {
        Entity::new(self.customer.clone(), self.customer_id(customer))
    }

    pub fn service(&self, customer: u32, service: u8) -> Entity {
        Entity::new(self.service.clone(), self.service_id(customer, service))
    }

    /// The event as an application would hand it in: every name and identifier as text.
    pub fn event(&self, record: &Record, subject: Subject) -> Event {
        let time = Timestamp::from_micros(record.time_us);
        let source = self.sources[usize::from(record.source)].clone();
        let mut event = Event::new(time, source, self.kinds[usize::from(record.kind)].clone());
        event.layer = Some(self.layers[usize::from(record.layer)].clone());
        event.severity = Severity::new(record.severity).expect("the generator's severities end at 5");
        event.value = record.value.map(f64::from);
        let service = self.service(record.customer, record.service);
        match subject {
            Subject::Customer => {
                event.subjects.push(self.customer(record.customer));
                event.context.push(service);
            }
            Subject::Service => event.subjects.push(service),
        }
        if let Some(component) = record.component {
            event.context.push(self.component(component).clone());
        }
        if let Some(detail) = record.detail {
            event.attributes.push((self.detail.clone(), self.details[usize::from(detail)].clone().into()));
        }
        event
    }

    /// The number behind a component's entity.
    pub fn component_number(entity: &Entity) -> Option<u32> {
        COMPONENT_TYPES
            .iter()
            .any(|kind| entity.kind == **kind)
            .then(|| entity.id[entity.id.len() - 5..].parse().ok())?
    }
}

const ID_MAX: usize = 32;

/// `C%08d` or `C%08d/service`, digits written by hand: formatting would cost more than storing.
fn id_text<'a>(buffer: &'a mut [u8; ID_MAX], customer: u32, service: &str) -> &'a str {
    buffer[0] = b'C';
    let mut rest = customer;
    for place in buffer[1..9].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let mut len = 9;
    if !service.is_empty() {
        buffer[len] = b'/';
        buffer[len + 1..len + 1 + service.len()].copy_from_slice(service.as_bytes());
        len += 1 + service.len();
    }
    std::str::from_utf8(&buffer[..len]).expect("digits and a service name")
}

/// Order-free sums over an answer, the same as `digest_rows` of the peers: count, time (us), customer,
/// service, severity, component, value in eighths, bytes of text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Digest {
    pub rows: u64,
    pub time_us: u64,
    pub customer: u64,
    pub service: u64,
    pub severity: u64,
    pub component: u64,
    pub value_eighths: i64,
    pub text_bytes: u64,
}

impl Digest {
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!([
            self.rows,
            self.time_us,
            self.customer,
            self.service,
            self.severity,
            self.component,
            self.value_eighths,
            self.text_bytes
        ])
    }

    /// Adds one event of a stream; `services` is the vocabulary.
    pub fn add_event(&mut self, event: &Event, services: &[String]) -> Result {
        let (mut customer, mut service) = (None, None);
        for entity in event.subjects.iter().chain(&event.context) {
            if entity.kind == "service" {
                let (id, name) = entity.id.split_once('/').ok_or("a service is named C00000042/mobile")?;
                let number: u64 = id[1..].parse()?;
                let place = services.iter().position(|known| known == name).ok_or("a service of the vocabulary")?;
                service = Some(number * 3 + place as u64);
                customer = Some(number);
            } else if let Some(component) = Names::component_number(entity) {
                self.component += u64::from(component);
            }
        }
        self.rows += 1;
        self.time_us = self.time_us.wrapping_add((event.time.as_nanos() / 1_000) as u64);
        self.customer += customer.ok_or("an event without a service")?;
        self.service += service.ok_or("an event without a service")?;
        self.severity += u64::from(event.severity.number());
        self.value_eighths += (event.value.unwrap_or(0.0) * 8.0).round() as i64;
        let detail = event.attributes.iter().map(|(_, value)| value.to_string().len()).sum::<usize>();
        let layer = event.layer.as_deref().unwrap_or("").len();
        self.text_bytes += (layer + event.source.len() + event.kind.len() + detail) as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_bytes() {
        let bare = Record {
            time_us: -1,
            customer: 99_999_999,
            service: 2,
            layer: 7,
            source: 19,
            kind: 199,
            severity: 5,
            detail: None,
            component: None,
            value: None,
        };
        let full = Record { detail: Some(999), component: Some(49_999), value: Some(-90.5), ..bare };
        for record in [bare, full] {
            assert_eq!(Record::decode(&record.encode()), record);
        }
    }

    #[test]
    fn identifiers_are_written_as_the_generator_writes_them() {
        assert_eq!(id_text(&mut [0; ID_MAX], 42, ""), format!("C{:08}", 42));
        assert_eq!(id_text(&mut [0; ID_MAX], 1_234_567, "broadband"), format!("C{:08}/broadband", 1_234_567));
    }
}
