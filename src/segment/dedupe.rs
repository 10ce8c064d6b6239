//! Tells whether an event is known: by filters for nearly all, by the rows themselves for the rest.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::codec::chunk::{Scratch, Wanted};
use crate::codec::filter::{self, FilterPart};
use crate::codec::key;
use crate::codec::raw::{Layouts, RawEvent};
use crate::codec::record::SealMeta;
use crate::dictionary::TermTables;
use crate::error::{Error, Result};
use crate::model::{Interval, Text, Timestamp};
use crate::segment::active::Active;
use crate::segment::hold::{Graveyard, Hold, Leftover};
use crate::segment::seal::{FILTER, INDEX};
use crate::segment::sealed::{Reading, Segment};
use crate::store::{Family, Store};

/// What is known of an event's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// Nothing: it is new.
    New,
    /// The same event, with the same content.
    Same,
    /// An event of this identity with other content.
    Other,
}

/// The identity of an event as a hash: of source, id and time when it has an id, otherwise of its
/// packed row. Stable within one store, whose numbers it is made of.
pub(crate) fn identity(id: Option<&Text>, time: i64, source: u32, packed: &[u8]) -> u64 {
    match id {
        None => xxhash_rust::xxh3::xxh3_64(packed),
        Some(id) => {
            let seed = xxhash_rust::xxh3::xxh3_64_with_seed(&time.to_le_bytes(), u64::from(source));
            xxhash_rust::xxh3::xxh3_64_with_seed(id.as_bytes(), seed)
        }
    }
}

#[derive(Clone)]
struct PartBytes;

impl Weighter<(u32, u32), FilterPart> for PartBytes {
    fn weight(&self, _part: &(u32, u32), filter: &FilterPart) -> u64 {
        filter.as_bytes().len() as u64 + 64
    }
}

/// A handle on a listed seal: what is known of the identities of its events.
pub(crate) struct Seal {
    pub(crate) meta: SealMeta,
    hold: Hold,
}

impl Seal {
    pub(crate) fn new(meta: SealMeta, graveyard: Graveyard) -> Seal {
        Seal { hold: Hold::new(Leftover::Seal(meta.number), graveyard), meta }
    }

    /// Says that the rows may go once nobody looks for them.
    pub(crate) fn retire(&self) {
        self.hold.retire();
    }
}

/// The filters of all seals behind a bounded cache; one per store, on the commit thread.
pub(crate) struct Dedupe {
    parts: Cache<(u32, u32), FilterPart, PartBytes>,
}

/// Only events at one instant.
struct At(i64);

impl Wanted for At {
    fn times(&self) -> (i64, i64) {
        (self.0, self.0.saturating_add(1))
    }

    fn wants(&self, time: i64, _shape: u32, _severity: u8) -> bool {
        time == self.0
    }
}

/// The runs of events to look into.
pub(crate) struct Known<'a> {
    pub(crate) store: &'a Store,
    pub(crate) tables: &'a TermTables,
    pub(crate) actives: &'a [(Arc<Active>, u32)],
    pub(crate) segments: &'a [Arc<Segment>],
    pub(crate) seals: &'a [Arc<Seal>],
}

impl Dedupe {
    pub(crate) fn new(cache_bytes: usize) -> Dedupe {
        Dedupe { parts: Cache::with_weighter(cache_bytes / (64 << 10), cache_bytes as u64, PartBytes) }
    }

    /// Looks the event up. `homes` tells where events with the same subjects may lie; it is asked
    /// only when a filter cannot rule out that the event is known.
    pub(crate) fn find(
        &mut self,
        known: &Known<'_>,
        identity: u64,
        event: &RawEvent,
        homes: &mut dyn FnMut() -> Result<Vec<u32>>,
    ) -> Result<Match> {
        for (active, _) in known.actives {
            let mut found = Match::New;
            active.find_identity(identity, known.tables, |stored| {
                found = compare(known.tables, event, stored);
                found != Match::New
            })?;
            if found != Match::New {
                return Ok(found);
            }
        }
        for seal in known.seals.iter().rev().map(|seal| &seal.meta) {
            if event.time < seal.first || seal.last < event.time || !self.may_hold(known.store, seal, identity)? {
                continue;
            }
            let homes = if event.id.is_some() { indexed_homes(known.store, seal, identity)? } else { homes()? };
            let found = settle(known, &homes, event)?;
            if found != Match::New {
                return Ok(found);
            }
        }
        Ok(Match::New)
    }

    /// Whether a sealed event may have this identity: false is certain.
    pub(crate) fn may_be_sealed(&mut self, known: &Known<'_>, identity: u64, time: i64) -> Result<bool> {
        for seal in known.seals.iter().rev().map(|seal| &seal.meta) {
            if seal.first <= time && time <= seal.last && self.may_hold(known.store, seal, identity)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn may_hold(&mut self, store: &Store, seal: &SealMeta, identity: u64) -> Result<bool> {
        let part = (seal.number, filter::part_of(identity, seal.part_bits));
        if let Some(filter) = self.parts.get(&part) {
            return Ok(filter.contains(identity));
        }
        // A part without identities was never written.
        let Some(bytes) = store.get(Family::Dedupe, &key::dedupe(part.0, FILTER, part.1))? else { return Ok(false) };
        let filter = FilterPart::decode(&bytes)
            .map_err(|error| error.at(format!("filter part {} of seal {}", part.1, part.0)))?;
        let holds = filter.contains(identity);
        self.parts.insert(part, filter);
        Ok(holds)
    }
}

/// The homes under which a seal has an event with an id of this identity.
pub(crate) fn indexed_homes(store: &Store, seal: &SealMeta, identity: u64) -> Result<Vec<u32>> {
    if !seal.has_index {
        return Ok(Vec::new());
    }
    let part = filter::part_of(identity, seal.part_bits);
    match store.get(Family::Dedupe, &key::dedupe(seal.number, INDEX, part))? {
        Some(bytes) => filter::homes_of(&bytes, identity)
            .map_err(|error| error.at(format!("index part {part} of seal {}", seal.number))),
        None => Ok(Vec::new()),
    }
}

/// Reads every part of what is known of a seal.
///
/// # Errors
/// `Corrupt` at the first part that cannot be decoded, or stands where no lookup goes.
pub(crate) fn read_known(store: &Store, seal: &SealMeta) -> Result<()> {
    let mut cursor = store.cursor(Family::Dedupe, true);
    let mut entry = cursor.seek(&seal.number.to_be_bytes())?;
    while let Some((key, value)) = entry.filter(|(key, _)| key.starts_with(&seal.number.to_be_bytes())) {
        let (table, part) = key::parse_dedupe(key)?;
        let place = |error: Error| error.at(format!("part {part} of seal {}", seal.number));
        match table {
            FILTER => FilterPart::decode(value).map(|_| ()).map_err(place)?,
            INDEX if seal.has_index => filter::homes_of(value, u64::MAX).map(|_| ()).map_err(place)?,
            _ => return Err(place(Error::corrupt("a table that there is not"))),
        }
        if u64::from(part) >> seal.part_bits.min(u32::BITS) != 0 {
            return Err(place(Error::corrupt("a part beyond the last")));
        }
        entry = cursor.advance()?;
    }
    Ok(())
}

/// Compares the event with every stored one of its instant under `homes`.
fn settle(known: &Known<'_>, homes: &[u32], event: &RawEvent) -> Result<Match> {
    let mut found = Match::New;
    visit_instant(known.store, known.tables, known.segments, homes, event.time, &mut |stored| {
        if found == Match::New {
            found = compare(known.tables, event, stored);
        }
    })?;
    Ok(found)
}

/// Calls `visit` with each sealed event of the instant `time` under `homes`.
pub(crate) fn visit_instant(
    store: &Store,
    tables: &TermTables,
    segments: &[Arc<Segment>],
    homes: &[u32],
    time: i64,
    visit: &mut dyn FnMut(&RawEvent),
) -> Result<()> {
    let at = Timestamp::from_nanos(time);
    let during = Interval::new(at, at.saturating_add(1));
    let reading = Reading { store, layouts: tables, during, wanted: &At(time) };
    let mut events = Vec::new();
    let mut scratch = Scratch::default();
    for segment in segments.iter().filter(|segment| segment.overlaps(&during)) {
        for &home in homes.iter().filter(|&&home| segment.homes.contains(home)) {
            let value = store.get(Family::Rows, &key::row(segment.meta.number, home))?;
            let value = value.ok_or_else(|| {
                Error::corrupt("row is missing").at(format!("home {home} of segment {}", segment.meta.number))
            })?;
            segment.read_home(home, &value, &reading, &mut scratch, &mut events)?;
        }
    }
    events.iter().for_each(visit);
    Ok(())
}

fn compare(tables: &(impl Layouts + SourceOf + ?Sized), event: &RawEvent, stored: &RawEvent) -> Match {
    let same_name = match (&event.id, &stored.id) {
        (Some(a), Some(b)) => {
            a == b && event.time == stored.time && tables.source_of(event.shape) == tables.source_of(stored.shape)
        }
        (None, None) => event == stored,
        _ => false,
    };
    match same_name {
        false => Match::New,
        true if event == stored => Match::Same,
        true => Match::Other,
    }
}

/// Tells the source of a shape.
trait SourceOf {
    fn source_of(&self, shape: u32) -> Option<u32>;
}

impl SourceOf for TermTables {
    fn source_of(&self, shape: u32) -> Option<u32> {
        self.shape(shape).ok().map(|entry| entry.shape.source)
    }
}
