//! One event of a stream, with its place and its paths.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::codec::raw::{FIRST_OTHER, RawEvent};
use crate::codec::varint::{self, Reader};
use crate::error::{Error, Result};
use crate::model::{Entity, Event, Interval, IntervalSet, Text, Timestamp};
use crate::query::order::Place;
use crate::query::snapshot::Snapshot;
use crate::query::why::{self, Path};

/// What all items of one stream share.
pub(super) struct StreamContext {
    pub(super) snapshot: Snapshot,
    pub(super) customer: u32,
    pub(super) max_hops: u32,
    /// When each subject asked for is known to be shared: events of one component come in numbers.
    shared: Mutex<HashMap<u32, IntervalSet>>,
}

impl StreamContext {
    pub(super) fn new(snapshot: Snapshot, customer: u32, max_hops: u32) -> StreamContext {
        StreamContext { snapshot, customer, max_hops, shared: Mutex::default() }
    }
}

/// An event of a customer's stream.
#[derive(Clone)]
#[non_exhaustive]
pub struct StreamItem {
    /// The event.
    pub event: Event,
    /// For an event with an end: the part of `[time, end)` during which a path held. Empty for one
    /// without.
    pub felt: IntervalSet,
    pub(super) commit: u64,
    /// Which subject it is in the stream through, unless that is the customer itself.
    pub(super) via: Option<u16>,
    pub(super) subjects: SmallVec<[u32; 2]>,
    pub(super) context: Arc<StreamContext>,
}

impl StreamItem {
    /// The number of the commit that brought the event.
    pub fn commit(&self) -> u64 {
        self.commit
    }

    /// Where in the stream the event stands; see [`crate::StreamQuery::after`].
    pub fn cursor(&self) -> Cursor {
        let name = self.event.name();
        Cursor(Place { time: name.time.as_nanos(), sequence: self.event.sequence, source: name.source, id: name.id })
    }

    /// The subject through which the event is in the stream; `None` when it happened to the customer
    /// itself. Of several subjects reached, the first that is no other customer.
    pub fn via(&self) -> Option<&Entity> {
        self.event.subjects.get(usize::from(self.via?))
    }

    /// Whether another customer depended on that subject at the same time.
    ///
    /// Follows links upwards until it meets a second customer, and remembers for the whole stream how
    /// long that holds: microseconds for private subjects and for busy components, more for long chains.
    pub fn is_shared(&self) -> Result<bool> {
        let Some(&subject) = self.via.and_then(|at| self.subjects.get(usize::from(at))) else { return Ok(false) };
        let context = &self.context;
        let at = self.event.time;
        let known = context.shared.lock().get(&subject).is_some_and(|shared| shared.contains(at));
        if known {
            return Ok(true);
        }
        let found = why::shared_during(&context.snapshot, subject, context.customer, at, context.max_hops)?;
        if let Some(during) = found {
            let mut shared = context.shared.lock();
            let all = shared.entry(subject).or_default();
            *all = all.union(&during.into());
        }
        Ok(found.is_some())
    }

    /// All minimal paths by which the event is in the stream, shortest first.
    pub fn paths(&self) -> Result<Vec<Path>> {
        let lasts = match self.event.end {
            None => IntervalSet::from(Interval::new(self.event.time, self.event.time.saturating_add(1))),
            Some(_) => self.felt.clone(),
        };
        let context = &self.context;
        why::paths(&context.snapshot, context.customer, &self.subjects, &lasts, context.max_hops)
    }
}

impl fmt::Debug for StreamItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamItem")
            .field("event", &self.event)
            .field("felt", &self.felt)
            .field("commit", &self.commit)
            .field("via", &self.via())
            .finish_non_exhaustive()
    }
}

/// Which subject `event` is in the stream of `customer` through, unless the customer is one.
pub(super) fn via(event: &RawEvent, customer: u32, reached: impl Fn(u32) -> bool) -> Option<u16> {
    if event.subjects.contains(&customer) {
        return None;
    }
    let first = |wanted: &dyn Fn(u32) -> bool| {
        event.subjects.iter().position(|&subject| wanted(subject) && reached(subject)).map(|at| at as u16)
    };
    // Other customers would be as good; components tell more.
    first(&|subject| subject >= FIRST_OTHER).or_else(|| first(&|_| true))
}

/// A place in a stream, to go on from. Its text form is opaque and stays valid for as long as the
/// store does, also when events are added before or behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub(crate) Place);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::new();
        varint::put_signed(&mut bytes, self.0.time);
        match self.0.sequence {
            None => bytes.push(0),
            Some(sequence) => {
                bytes.push(1);
                varint::put(&mut bytes, sequence);
            }
        }
        varint::put(&mut bytes, self.0.source.len() as u64);
        bytes.extend_from_slice(self.0.source.as_bytes());
        bytes.extend_from_slice(self.0.id.as_bytes());
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Cursor> {
        let wrong = || Error::invalid("not a cursor of a stream");
        if !text.is_ascii() || !text.len().is_multiple_of(2) {
            return Err(wrong());
        }
        let bytes = (0..text.len() / 2)
            .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16))
            .collect::<Result<Vec<u8>, _>>()
            .map_err(|_| wrong())?;
        let mut reader = Reader::new(&bytes);
        let mut read = || -> Result<Place> {
            let time = reader.signed()?;
            let sequence = if reader.byte()? == 0 { None } else { Some(reader.varint()?) };
            let length = reader.length()?;
            let source = Text::from(reader.text(length)?);
            let id = Text::from(reader.text(reader.remaining())?);
            Ok(Place { time, sequence, source, id })
        };
        read().map(Cursor).map_err(|_| wrong())
    }
}

/// The presence of an event: `[time, end)`, or its one instant.
pub(super) fn lasts(event: &RawEvent) -> Interval {
    Interval::new(Timestamp::from_nanos(event.time), Timestamp::from_nanos(event.until()))
}
