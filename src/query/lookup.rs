//! From numbers back to text.

use std::cell::RefCell;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::RwLockReadGuard;

use crate::codec::raw::RawEvent;
use crate::dictionary::TermTables;
use crate::error::{Error, Result};
use crate::model::{Entity, Event, Interval, Link, Severity, Text, Timestamp};
use crate::segment::Lookup;
use crate::topology::Edge;

/// Entities named once: the events of one stream keep meeting the same few.
pub(super) type Memo = RefCell<HashMap<u32, Entity, FixedState>>;

/// Turns numbers into text. Holds off new terms while it lives: keep it short.
pub(super) struct Resolver<'a> {
    lookup: &'a Lookup,
    tables: RwLockReadGuard<'a, TermTables>,
    memo: Option<&'a Memo>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(lookup: &'a Lookup) -> Resolver<'a> {
        Resolver { lookup, tables: lookup.terms.read(), memo: None }
    }

    /// As [`Resolver::new`], remembering entities in `memo`.
    pub(super) fn with_memo(lookup: &'a Lookup, memo: &'a Memo) -> Resolver<'a> {
        Resolver { lookup, tables: lookup.terms.read(), memo: Some(memo) }
    }

    pub(super) fn tables(&self) -> &TermTables {
        &self.tables
    }

    pub(super) fn entity(&self, number: u32) -> Result<Entity> {
        let Some(memo) = self.memo else { return self.lookup.names.entity(number, &self.tables) };
        if let Some(entity) = memo.borrow().get(&number) {
            return Ok(entity.clone());
        }
        let entity = self.lookup.names.entity(number, &self.tables)?;
        memo.borrow_mut().insert(number, entity.clone());
        Ok(entity)
    }

    pub(super) fn word(&self, number: u32) -> Result<Text> {
        self.tables.word(number).cloned()
    }

    pub(super) fn event(&self, raw: &RawEvent) -> Result<Event> {
        let mut event = blank();
        self.fill(&mut raw.clone(), &mut event)?;
        Ok(event)
    }

    /// Turns `raw` into text where `event` stands, taking texts out of `raw`. `event` must be blank.
    pub(super) fn fill(&self, raw: &mut RawEvent, event: &mut Event) -> Result<()> {
        let entry = self.tables.shape(raw.shape)?;
        event.time = Timestamp::from_nanos(raw.time);
        event.source = entry.source.clone();
        event.kind = entry.kind.clone();
        event.end = raw.end.map(Timestamp::from_nanos);
        event.sequence = raw.sequence;
        event.id = raw.id.take();
        event.layer = entry.layer.clone();
        event.severity = Severity::new(raw.severity).map_err(|_| Error::corrupt("severity above 24"))?;
        event.value = raw.value;
        for &subject in &raw.subjects {
            event.subjects.push(self.entity(subject)?);
        }
        for &entity in &raw.context {
            event.context.push(self.entity(entity)?);
        }
        for (index, ((name, _), value)) in entry.attributes.iter().zip(&raw.values).enumerate() {
            event.attributes.push((name.clone(), self.tables.value(entry, index, value)?));
        }
        Ok(())
    }

    /// The link that `edge` is when it leaves `from`.
    pub(super) fn outgoing_link(&self, from: u32, edge: &Edge) -> Result<Link> {
        self.link(from, edge.other, edge)
    }

    /// The link that `edge` is when it enters `to`.
    pub(super) fn incoming_link(&self, to: u32, edge: &Edge) -> Result<Link> {
        self.link(edge.other, to, edge)
    }

    fn link(&self, from: u32, to: u32, edge: &Edge) -> Result<Link> {
        let mut link = Link::new(self.entity(from)?, self.word(edge.relation)?, self.entity(to)?);
        link.source = self.word(edge.source)?;
        let Interval { from, to } = edge.validity;
        link.valid_from = (from != Timestamp::MIN).then_some(from);
        link.valid_to = (to != Timestamp::MAX).then_some(to);
        Ok(link)
    }
}

/// An event to fill.
pub(super) fn blank() -> Event {
    Event::new(Timestamp::MIN, Text::default(), Text::default())
}
