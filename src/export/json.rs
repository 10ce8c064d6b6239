//! JSON rows: one value a call, no line feed.
//!
//! Absent fields are left out. Characters that [`escape`](crate::export::escape()) would escape are
//! written as `\u` escapes, which any parser turns back: safe on a terminal and lossless.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};

use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::export::escape::is_unsafe;
use crate::model::{Entity, Event, Interval, IntervalSet, Link, Severity, Text, Timestamp, Value};
use crate::query::{AttributeStats, Indexed, Links, Path, Stats, StreamItem, Why, WhyNot, Witness};

/// What [`write_item`] adds to the fields that it always writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ItemFields {
    /// `cursor`: where a later query can go on.
    pub cursor: bool,
    /// `paths`: the link paths by which the event is in the stream. Costs a walk for each event.
    pub paths: bool,
}

/// One event of the stream of `customer`: its own fields and `customer`, `felt`, `via`, `shared`, `commit`.
pub fn write_item(out: impl Write, customer: &str, item: &StreamItem, fields: ItemFields) -> Result<()> {
    let paths = if fields.paths { Some(item.paths()?) } else { None };
    let row = ItemRow {
        cursor: fields.cursor.then(|| Shown(item.cursor())),
        paths: paths.as_ref().map(|paths| paths.iter().map(PathRow::from).collect()),
        ..ItemRow::plain(customer, item)?
    };
    write(out, &row)
}

/// Why `customer` is in the set of `expression` or not: `member`, the `clauses` with their events in the
/// form of [`write_item`], and for one who is not the clause that `failed`.
pub fn write_witness(out: impl Write, customer: &str, expression: &str, witness: &Witness) -> Result<()> {
    let mut clauses = Vec::with_capacity(witness.clauses.len());
    for clause in &witness.clauses {
        let events = clause.events.iter().map(|item| ItemRow::plain(customer, item)).collect::<Result<_>>()?;
        clauses.push(WitnessClauseRow { clause: &clause.clause, events });
    }
    let failed = witness.failed.as_deref();
    write(out, &WitnessRow { customer, expression, member: witness.member, failed, clauses })
}

/// How many events of the stream of `customer` were counted.
pub fn write_count(out: impl Write, customer: &str, events: u64) -> Result<()> {
    write(out, &CountRow { customer, events })
}

/// One link: `from`, `relation`, `to`, `valid_from`, `valid_to`, `source`.
pub fn write_link(out: impl Write, link: &Link) -> Result<()> {
    write(out, &LinkRow::from(link))
}

/// The links of `entity` in both directions.
pub fn write_links(out: impl Write, entity: &Entity, links: &Links) -> Result<()> {
    let row = LinksRow {
        entity: Shown(entity),
        outgoing: links.outgoing.iter().map(LinkRow::from).collect(),
        incoming: links.incoming.iter().map(LinkRow::from).collect(),
    };
    write(out, &row)
}

/// Why an event is in the stream of `customer`, or what keeps it out.
pub fn write_why(out: impl Write, customer: &str, why: &Why) -> Result<()> {
    let row = WhyRow {
        customer,
        event: EventRow::named(&why.event),
        in_stream: !why.paths.is_empty(),
        paths: why.paths.iter().map(PathRow::from).collect(),
        why_not: why.why_not.as_ref().map(WhyNotRow::from),
    };
    write(out, &row)
}

/// Everything that [`Stats`] holds.
pub fn write_stats(out: impl Write, stats: &Stats) -> Result<()> {
    let sources = stats.sources.iter().map(|(name, source)| {
        let row =
            SourceRow { events: source.events, last_event: Shown(source.last_event), last_commit: source.last_commit };
        (name.as_str(), row)
    });
    let row = StatsRow {
        events: stats.events,
        customers: stats.customers,
        links: stats.links,
        links_quarantined: stats.links_quarantined,
        commits: stats.commits,
        first: stats.first.map(Shown),
        last: stats.last.map(Shown),
        events_without_customer_subject: stats.events_without_customer_subject,
        segments: stats.segments,
        unsealed_events: stats.unsealed_events,
        disk_bytes: stats.disk_bytes,
        kinds: Counts(&stats.kinds),
        attributes: KindAttributes(&stats.attributes),
        layers: Counts(&stats.layers),
        sources: sources.collect(),
        severities: &stats.severities,
        entities: Counts(&stats.entities),
    };
    write(out, &row)
}

pub(super) fn write(out: impl Write, row: &impl Serialize) -> Result<()> {
    row.serialize(&mut serde_json::Serializer::with_formatter(out, SafeText))
        .map_err(|cause| Error::from(io::Error::from(cause)))
}

/// Compact JSON whose strings hold no dangerous character; serde_json itself escapes C0 alone.
struct SafeText;

impl serde_json::ser::Formatter for SafeText {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_unsafe) {
            let character = rest[at..].chars().next().expect("found there");
            out.write_all(&rest.as_bytes()[..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = &rest[at + character.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

/// Serializes as its display text.
struct Shown<T>(T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct Entities<'a>(&'a [Entity]);

impl Entities<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Entities<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Shown))
    }
}

struct Attributes<'a>(&'a [(Text, Value)]);

impl Attributes<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name.as_str(), Scalar(value))))
    }
}

struct Scalar<'a>(&'a Value);

impl Serialize for Scalar<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
        }
    }
}

struct Felt<'a>(&'a IntervalSet);

impl Felt<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Felt<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.intervals().iter().map(|part| [Shown(part.from), Shown(part.to)]))
    }
}

struct Counts<'a>(&'a BTreeMap<Text, u64>);

impl Serialize for Counts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, count)| (name.as_str(), count)))
    }
}

#[derive(Serialize)]
struct ItemRow<'a> {
    customer: &'a str,
    #[serde(flatten)]
    event: EventRow<'a>,
    #[serde(skip_serializing_if = "Felt::is_empty")]
    felt: Felt<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<Shown<&'a Entity>>,
    shared: bool,
    commit: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Shown<crate::query::Cursor>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paths: Option<Vec<PathRow<'a>>>,
}

impl<'a> ItemRow<'a> {
    /// The row with nothing added.
    fn plain(customer: &'a str, item: &'a StreamItem) -> Result<ItemRow<'a>> {
        Ok(ItemRow {
            customer,
            event: EventRow::named(&item.event),
            felt: Felt(&item.felt),
            via: item.via().map(Shown),
            shared: item.is_shared()?,
            commit: item.commit(),
            cursor: None,
            paths: None,
        })
    }
}

#[derive(Serialize)]
struct WitnessRow<'a> {
    customer: &'a str,
    expression: &'a str,
    member: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<&'a str>,
    clauses: Vec<WitnessClauseRow<'a>>,
}

#[derive(Serialize)]
struct WitnessClauseRow<'a> {
    clause: &'a str,
    events: Vec<ItemRow<'a>>,
}

#[derive(Serialize)]
struct CountRow<'a> {
    customer: &'a str,
    events: u64,
}

#[derive(Serialize)]
struct EventRow<'a> {
    time: Shown<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<Shown<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    source: &'a str,
    #[serde(serialize_with = "as_text")]
    id: Text,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    severity: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Entities::is_empty")]
    subjects: Entities<'a>,
    #[serde(skip_serializing_if = "Entities::is_empty")]
    context: Entities<'a>,
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    attrs: Attributes<'a>,
}

impl<'a> EventRow<'a> {
    /// The event under the name it has, which is the hash of its content if it was given none.
    fn named(event: &'a Event) -> EventRow<'a> {
        EventRow {
            time: Shown(event.time),
            end: event.end.map(Shown),
            seq: event.sequence,
            source: &event.source,
            id: event.name().id,
            kind: &event.kind,
            layer: event.layer.as_deref(),
            severity: event.severity.number(),
            value: event.value,
            subjects: Entities(&event.subjects),
            context: Entities(&event.context),
            attrs: Attributes(&event.attributes),
        }
    }
}

fn as_text<S: Serializer>(text: &Text, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn is_zero(severity: &u8) -> bool {
    *severity == Severity::NONE.number()
}

#[derive(Serialize)]
struct LinkRow<'a> {
    from: Shown<&'a Entity>,
    relation: &'a str,
    to: Shown<&'a Entity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_from: Option<Shown<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<Shown<Timestamp>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    source: &'a str,
}

impl<'a> From<&'a Link> for LinkRow<'a> {
    fn from(link: &'a Link) -> LinkRow<'a> {
        LinkRow {
            from: Shown(&link.from),
            relation: &link.relation,
            to: Shown(&link.to),
            valid_from: link.valid_from.map(Shown),
            valid_to: link.valid_to.map(Shown),
            source: &link.source,
        }
    }
}

#[derive(Serialize)]
struct LinksRow<'a> {
    entity: Shown<&'a Entity>,
    outgoing: Vec<LinkRow<'a>>,
    incoming: Vec<LinkRow<'a>>,
}

#[derive(Serialize)]
struct PathRow<'a> {
    subject: Shown<&'a Entity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_from: Option<Shown<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<Shown<Timestamp>>,
    steps: Vec<LinkRow<'a>>,
}

impl<'a> From<&'a Path> for PathRow<'a> {
    fn from(path: &'a Path) -> PathRow<'a> {
        let Interval { from, to } = path.validity;
        PathRow {
            subject: Shown(&path.subject),
            valid_from: (from != Timestamp::MIN).then_some(Shown(from)),
            valid_to: (to != Timestamp::MAX).then_some(Shown(to)),
            steps: path.steps.iter().map(LinkRow::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct WhyRow<'a> {
    customer: &'a str,
    event: EventRow<'a>,
    in_stream: bool,
    paths: Vec<PathRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<WhyNotRow<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
enum WhyNotRow<'a> {
    OtherTime { blocking: LinkRow<'a>, path: PathRow<'a> },
    Quarantined { blocking: LinkRow<'a>, path: PathRow<'a> },
    MoreHops { hops: u32, path: PathRow<'a> },
    Retracted { blocking: LinkRow<'a>, path: PathRow<'a> },
    NoPath,
}

impl<'a> From<&'a WhyNot> for WhyNotRow<'a> {
    fn from(why_not: &'a WhyNot) -> WhyNotRow<'a> {
        match why_not {
            WhyNot::OtherTime { path, blocking } => {
                WhyNotRow::OtherTime { blocking: blocking.into(), path: path.into() }
            }
            WhyNot::Quarantined { path, blocking } => {
                WhyNotRow::Quarantined { blocking: blocking.into(), path: path.into() }
            }
            WhyNot::MoreHops { hops, path } => WhyNotRow::MoreHops { hops: *hops, path: path.into() },
            WhyNot::Retracted { path, blocking } => {
                WhyNotRow::Retracted { blocking: blocking.into(), path: path.into() }
            }
            WhyNot::NoPath => WhyNotRow::NoPath,
        }
    }
}

#[derive(Serialize)]
struct StatsRow<'a> {
    events: u64,
    customers: u64,
    links: u64,
    links_quarantined: u64,
    commits: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Shown<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Shown<Timestamp>>,
    events_without_customer_subject: u64,
    segments: u64,
    unsealed_events: u64,
    disk_bytes: u64,
    kinds: Counts<'a>,
    attributes: KindAttributes<'a>,
    layers: Counts<'a>,
    sources: BTreeMap<&'a str, SourceRow>,
    severities: &'a BTreeMap<u8, u64>,
    entities: Counts<'a>,
}

/// By kind, then by name.
struct KindAttributes<'a>(&'a BTreeMap<Text, BTreeMap<Text, AttributeStats>>);

impl Serialize for KindAttributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = |attribute: &AttributeStats| AttributeRow {
            events: attribute.events,
            texts: attribute.texts,
            indexed: match attribute.indexed {
                Indexed::Yes => "yes",
                Indexed::Partly => "partly",
                Indexed::No => "no",
            },
        };
        serializer.collect_map(self.0.iter().map(|(kind, of_kind)| {
            let rows = of_kind.iter().map(|(name, attribute)| (name.as_str(), row(attribute)));
            (kind.as_str(), rows.collect::<BTreeMap<_, _>>())
        }))
    }
}

#[derive(Serialize)]
struct AttributeRow {
    events: u64,
    texts: u64,
    indexed: &'static str,
}

#[derive(Serialize)]
struct SourceRow {
    events: u64,
    last_event: Shown<Timestamp>,
    last_commit: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(event: &Event) -> String {
        let mut json = Vec::new();
        write(&mut json, &EventRow::named(event)).unwrap();
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn dangerous_characters_are_escaped_and_parse_back() {
        let note = "\u{1b}[2J\u{202e}abc\u{200b}\u{9b}\u{e0041} naïve \"quoted\" \\ \n";
        let json = written(&Event::new(Timestamp::from_secs(0), "crm", "ticket.opened").attribute("note", note));
        assert!(!json.contains(is_unsafe), "{json}");
        assert!(json.contains("naïve"), "{json}");
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed["attrs"]["note"], note);
    }

    #[test]
    fn absent_fields_are_left_out() {
        let event = Event::new(Timestamp::from_secs(0), "s", "k").id("7");
        assert_eq!(written(&event), r#"{"time":"1970-01-01T00:00:00Z","source":"s","id":"7","kind":"k"}"#);
    }

    #[test]
    fn an_event_without_an_id_goes_by_the_hash_of_its_content() {
        let event = Event::new(Timestamp::from_secs(0), "s", "k");
        assert!(written(&event).contains(event.name().id.as_str()));
    }
}
