//! Numbers for what records name: terms, and entities once it is certain that the record is taken.

use std::ops::Range;

use smallvec::SmallVec;

use crate::codec::raw::RawEvent;
use crate::codec::varint::Reader;
use crate::dictionary::{NameWriter, TermTables, TermWriter};
use crate::error::Result;
use crate::ingest::commit::Committer;
use crate::ingest::commit::group::Group;
use crate::ingest::erased::Erased;
use crate::ingest::prepare::{KnownEvent, Prepared, Work};
use crate::model::limits::{CUSTOMERS, OTHERS};
use crate::model::{Entity, Event, Record, Rejection, Timestamp};
use crate::segment::{NOWHERE, identity as identity_of};
use crate::store::Batch as StoreBatch;

/// Numbers of one event's entities: subjects, then context.
pub(super) type Numbered = SmallVec<[u32; 4]>;

/// An event in numbers, not yet known to be new. Entities without a number stand as [`NOWHERE`],
/// since a record that is refused must not name any.
pub(super) struct Candidate {
    pub(super) identity: u64,
    /// Its packed row among the candidates' bytes.
    pub(super) packed: Range<usize>,
    pub(super) entities: Numbered,
    pub(super) known: KnownEvent,
    /// Whether its identity may have been seen before this group.
    pub(super) suspect: bool,
}

/// What gives numbers.
pub(in crate::ingest) struct Numbers {
    pub(in crate::ingest) terms: TermWriter,
    pub(in crate::ingest) names: NameWriter,
    /// Link statements stored.
    pub(in crate::ingest) links: u64,
    /// Who is not to come back.
    pub(in crate::ingest) erased: Erased,
}

/// A rejection is an answer, an error is a failure of the store.
type Numbering<T> = Result<std::result::Result<T, Rejection>>;

impl Committer {
    /// Turns the events of a batch into candidates, those with new terms on the slow path.
    pub(super) fn number(
        &mut self,
        prepared: &mut Prepared,
        recent: &[u32],
        bytes: &mut Vec<u8>,
        group: &mut Group<'_>,
    ) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::with_capacity(prepared.records.len());
        let (mut name_at, mut rest_at) = (0, 0);
        let mut slow_rest = Vec::new();
        for (record, work) in prepared.records.iter().zip(prepared.work.iter_mut()) {
            let Record::Event(event) = record else { continue };
            let (known, mut entities, rest) = match work {
                Work::Rejected(_) => continue,
                Work::Known(known) => {
                    let count = usize::from(known.subjects) + usize::from(known.context);
                    let entities = Numbered::from_slice(&recent[name_at..name_at + count]);
                    let rest = &prepared.rests[rest_at..rest_at + known.rest_len as usize];
                    name_at += count;
                    rest_at += rest.len();
                    (*known, entities, rest)
                }
                Work::Slow => {
                    // Before its terms are stored.
                    if let Some(rejection) = self.numbers.erased.refuses_event(event) {
                        *work = Work::Rejected(rejection);
                        continue;
                    }
                    slow_rest.clear();
                    match self.number_terms(event, &mut slow_rest, group)? {
                        Ok(known) => {
                            let count = usize::from(known.subjects) + usize::from(known.context);
                            (known, Numbered::from_elem(NOWHERE, count), &slow_rest[..])
                        }
                        Err(rejection) => {
                            *work = Work::Rejected(rejection);
                            continue;
                        }
                    }
                }
            };
            if entities.contains(&NOWHERE) {
                self.find_entities(event, &mut entities)?;
            }
            let from = bytes.len();
            pack(&known, &entities, rest, bytes);
            let packed = from..bytes.len();
            let identity = identity_of(event.id.as_ref(), known.time, known.source, &bytes[packed.clone()]);
            candidates.push(Candidate { identity, packed, entities, known, suspect: false });
        }
        Ok(candidates)
    }

    /// Numbers the shape and the attributes of an event, giving numbers to new terms, and appends
    /// what follows the entities in its packed row.
    fn number_terms(&mut self, event: &Event, rest: &mut Vec<u8>, group: &mut Group<'_>) -> Numbering<KnownEvent> {
        let store = &self.engine.lookup.store;
        let terms = &mut self.numbers.terms;
        let (shape, source) = match terms.shape(event, store, &mut group.batch) {
            Ok(known) => known,
            Err(rejection) => return Ok(Err(rejection)),
        };
        for entity in event.subjects.iter().chain(&event.context) {
            if let Err(rejection) = terms.word(&entity.kind, store, &mut group.batch) {
                return Ok(Err(rejection));
            }
        }
        let mut raw = RawEvent {
            time: event.time.as_nanos(),
            end: event.end.map(Timestamp::as_nanos),
            sequence: event.sequence,
            value: event.value,
            id: event.id.clone(),
            ..RawEvent::default()
        };
        terms.values(shape, event, store, &mut group.batch, &mut raw.values);
        raw.put_rest(rest);
        Ok(Ok(KnownEvent {
            time: raw.time,
            until: raw.until(),
            shape,
            source,
            severity: event.severity.number(),
            has_id: event.id.is_some(),
            subjects: event.subjects.len() as u16,
            context: event.context.len() as u16,
            rest_len: rest.len() as u32,
        }))
    }

    /// Looks up the entities that were not used lately.
    pub(super) fn find_entities(&mut self, event: &Event, entities: &mut Numbered) -> Result<()> {
        for (entity, number) in event.subjects.iter().chain(&event.context).zip(entities) {
            if *number != NOWHERE {
                continue;
            }
            if let Some(known) = self.known(entity)? {
                *number = known;
            }
        }
        Ok(())
    }

    /// Gives numbers to the entities of `event` that have none, in the order in which it names them.
    pub(super) fn name_entities(
        &mut self,
        event: &Event,
        entities: &mut Numbered,
        group: &mut Group<'_>,
    ) -> Numbering<()> {
        for (entity, number) in event.subjects.iter().chain(&event.context).zip(entities) {
            if *number == NOWHERE {
                match self.number_entity(entity, &mut group.batch)? {
                    Ok(given) => *number = given,
                    Err(rejection) => return Ok(Err(rejection)),
                }
            }
        }
        Ok(Ok(()))
    }

    /// The number of an entity, if it has one.
    pub(super) fn known(&mut self, entity: &Entity) -> Result<Option<u32>> {
        let kind = self.engine.lookup.terms.read().number_of(&entity.kind);
        match kind {
            Some(kind) => self.numbers.names.known(kind, &entity.id, &self.engine.lookup.store),
            None => Ok(None),
        }
    }

    pub(in crate::ingest) fn number_entity(&mut self, entity: &Entity, batch: &mut StoreBatch) -> Numbering<u32> {
        let store = &self.engine.lookup.store;
        let kind = match self.numbers.terms.word(&entity.kind, store, batch) {
            Ok(kind) => kind,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let names = &mut self.numbers.names;
        if let Some(number) = names.known(kind, &entity.id, store)? {
            return Ok(Ok(number));
        }
        let is_customer = entity.kind == self.engine.lookup.customer_type;
        if names.used_up(is_customer) {
            let most = if is_customer { CUSTOMERS } else { OTHERS };
            return Ok(Err(Rejection::new(format!("more than {most} entities of the kind"))));
        }
        names.give(kind, &entity.id, is_customer, store, batch).map(Ok)
    }
}

/// Appends the packed row of an event, as [`RawEvent::pack`] does.
fn pack(known: &KnownEvent, entities: &[u32], rest: &[u8], out: &mut Vec<u8>) {
    RawEvent::pack_head(known.time, known.shape, known.severity, entities, out);
    out.extend_from_slice(rest);
}

pub(super) fn unpack(row: &[u8], tables: &TermTables) -> Result<RawEvent> {
    RawEvent::unpack(&mut Reader::new(row), tables)
}

impl Candidate {
    /// The packed row with the entities as they are now instead of `before`; the identity follows.
    pub(super) fn rename(&mut self, event: &Event, row: &[u8], before: &[u32]) -> Vec<u8> {
        let KnownEvent { time, shape, severity, source, .. } = self.known;
        let mut head = Vec::new();
        RawEvent::pack_head(time, shape, severity, before, &mut head);
        let mut renamed = Vec::with_capacity(row.len());
        pack(&self.known, &self.entities, &row[head.len()..], &mut renamed);
        self.identity = identity_of(event.id.as_ref(), time, source, &renamed);
        renamed
    }

    pub(super) fn subjects(&self) -> &[u32] {
        &self.entities[..usize::from(self.known.subjects)]
    }
}
