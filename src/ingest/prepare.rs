//! What a writer's own thread does for the commit thread: everything that needs no number given.
//!
//! Records are put into normal form and checked, shapes and attribute values that have numbers are
//! looked up, names are hashed. The commit thread then looks up names in one tight loop and copies
//! bytes; only what is new goes through its slow path.

use crate::codec::raw::RawEvent;
use crate::dictionary::{NameHash, NameHasher, TermTables, Terms};
use crate::ingest::gate;
use crate::model::{Event, Limits, Record, Rejection, Timestamp};

/// Records prepared before new terms get a chance in between.
const AT_ONCE: usize = 256;

/// A batch on its way to the commit thread.
pub(crate) struct Prepared {
    /// In normal form.
    pub(super) records: Vec<Record>,
    /// One for each record.
    pub(super) work: Vec<Work>,
    /// Hashes of the entities of all events in [`Work::Known`], subjects before context.
    pub(super) names: Vec<NameHash>,
    /// Packed rows from behind the entities on, one after the other.
    pub(super) rests: Vec<u8>,
    /// What is done with links that are added.
    pub(crate) added: Added,
}

/// What is done with links that are added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Added {
    /// In force as far as the limits allow, else in quarantine.
    #[default]
    Judged,
    /// Out of quarantine.
    Promoted,
    /// Into quarantine, whatever the limits allow.
    Quarantined,
}

impl Prepared {
    /// Bytes of the packed rows, at least nearly: new attributes of the slow path are estimated.
    pub(crate) fn packed_bytes(&self) -> usize {
        const HEAD_BYTES: usize = 24;
        const ENTITY_BYTES: usize = 5;
        let slow = self.records.iter().zip(&self.work).filter(|(_, work)| matches!(work, Work::Slow));
        let texts: usize = slow
            .map(|(record, _)| match record {
                Record::Event(event) => {
                    event.text_bytes() + (event.subjects.len() + event.context.len()) * ENTITY_BYTES
                }
                Record::Link(_) => 0,
            })
            .sum();
        self.rests.len() + self.records.len() * HEAD_BYTES + self.names.len() * ENTITY_BYTES + texts
    }
}

/// What is left to do for a record.
pub(super) enum Work {
    /// An event whose terms all have numbers.
    Known(KnownEvent),
    /// An event with a new term, or a statement about a link.
    Slow,
    /// Nothing: it broke a rule.
    Rejected(Rejection),
}

/// An event in numbers, but for its entities.
#[derive(Clone, Copy)]
pub(super) struct KnownEvent {
    pub(super) time: i64,
    pub(super) until: i64,
    pub(super) shape: u32,
    pub(super) source: u32,
    pub(super) severity: u8,
    pub(super) has_id: bool,
    pub(super) subjects: u16,
    pub(super) context: u16,
    pub(super) rest_len: u32,
}

/// Prepares a batch.
pub(crate) fn prepare(mut records: Vec<Record>, terms: &Terms, names: NameHasher, limits: &Limits) -> Prepared {
    let mut work = Vec::with_capacity(records.len());
    let mut hashes = Vec::with_capacity(records.len() * 2);
    let mut rests = Vec::with_capacity(records.len() * 16);
    let mut scratch = RawEvent::default();
    for some in records.chunks_mut(AT_ONCE) {
        let tables = terms.read();
        for record in some {
            let outcome = match record {
                Record::Event(event) => {
                    event.normalise();
                    event.drop_own_name();
                    gate::check_event(event, limits)
                        .map(|()| known_event(event, &tables, names, &mut scratch, &mut hashes, &mut rests))
                }
                Record::Link(change) => gate::check_link(change, limits).map(|()| None),
            };
            work.push(match outcome {
                Ok(Some(known)) => Work::Known(known),
                Ok(None) => Work::Slow,
                Err(rejection) => Work::Rejected(rejection),
            });
        }
    }
    Prepared { records, work, names: hashes, rests, added: Added::Judged }
}

fn known_event(
    event: &Event,
    tables: &TermTables,
    names: NameHasher,
    scratch: &mut RawEvent,
    hashes: &mut Vec<NameHash>,
    rests: &mut Vec<u8>,
) -> Option<KnownEvent> {
    let (shape, source) = tables.find_shape(event)?;
    scratch.values.clear();
    if !tables.find_values(shape, event, &mut scratch.values) {
        return None;
    }
    let first = hashes.len();
    for entity in event.subjects.iter().chain(&event.context) {
        let Some(kind) = tables.number_of(&entity.kind) else {
            hashes.truncate(first);
            return None;
        };
        hashes.push(names.hash(kind, &entity.id));
    }
    scratch.time = event.time.as_nanos();
    scratch.end = event.end.map(Timestamp::as_nanos);
    scratch.sequence = event.sequence;
    scratch.value = event.value;
    scratch.id.clone_from(&event.id);
    let from = rests.len();
    scratch.put_rest(rests);
    Some(KnownEvent {
        time: scratch.time,
        until: scratch.until(),
        shape,
        source,
        severity: event.severity.number(),
        has_id: event.id.is_some(),
        subjects: event.subjects.len() as u16,
        context: event.context.len() as u16,
        rest_len: (rests.len() - from) as u32,
    })
}
