//! Who was erased, and that they do not come back.

use std::collections::HashMap;
use std::hash::Hasher;
use std::path::Path;

use roaring::RoaringBitmap;
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::codec::key;
use crate::codec::record::{self, Erasure};
use crate::dictionary::{TermLimits, TermWriter, parse_name, random};
use crate::error::{Error, Result};
use crate::fail;
use crate::ingest::engine::Settings;
use crate::model::{Entity, Event, LinkChange, Rejection, Timestamp};
use crate::segment::NOWHERE;
use crate::store::{Batch, Family, Store};

/// The reason for which late arrivals are refused. It names nobody.
pub(crate) const REASON: &str = "names somebody who was erased, or what was theirs";

/// The number in the ledger of whom this store never knew.
const NOBODY: u32 = u32::MAX;

/// An erasure that was begun, with its number in the ledger.
pub(crate) type Begun = (u64, Erasure);

/// What was erased under a name.
#[derive(Clone, Copy)]
struct Listed {
    /// When, in nanoseconds since 1970 UTC; the latest.
    at: i64,
    /// Whether a customer was erased under it: then nothing of that name is taken at all.
    customer: bool,
    /// Erasures that still find and remove what has the name: nor is it until they are published.
    running: u32,
}

impl Listed {
    fn always(self) -> bool {
        self.customer || self.running > 0
    }
}

/// The ledger of erasures as the commit thread has it.
pub(crate) struct Erased {
    key: Option<(u64, u64)>,
    listed: HashMap<[u8; 16], Listed>,
    rows: Vec<Erasure>,
}

impl Erased {
    pub(super) fn open(store: &Store) -> Result<Erased> {
        let place = |error: Error| error.at("erasures");
        let key = match store.get(Family::Meta, key::ERASURE_KEY)? {
            Some(bytes) => Some(record::decode(&bytes).map_err(place)?),
            None => None,
        };
        let mut erased = Erased { key, listed: HashMap::new(), rows: Vec::new() };
        let mut cursor = store.cursor(Family::Meta, false);
        let mut entry = cursor.seek(key::ERASURE)?;
        while let Some((key, value)) = entry {
            let Some(number) = key::parse_erasure(key).map_err(place)? else { break };
            let row: Erasure = record::decode(value).map_err(place)?;
            if number != erased.rows.len() as u64 + 1 || row.numbers.len() != row.hashes.len() || erased.key.is_none() {
                return Err(place(Error::corrupt(format!("row {number} does not fit the others"))));
            }
            erased.list(&row, !row.done);
            erased.rows.push(row);
            entry = cursor.advance()?;
        }
        Ok(erased)
    }

    /// Takes over the ledger of another store, whose numbers mean nobody here: nobody of it is known to this one.
    pub(super) fn adopt(&mut self, key: (u64, u64), rows: Vec<Erasure>, store: &Store, batch: &mut Batch) {
        self.key = Some(key);
        batch.put(store, Family::Meta, key::ERASURE_KEY, &record::encode(&key));
        for mut row in rows {
            row.numbers.iter_mut().for_each(|number| *number = NOBODY);
            row.done = true;
            self.list(&row, false);
            self.rows.push(row);
            let (number, row) = (self.rows.len() as u64, self.rows.last().expect("one was pushed"));
            batch.put(store, Family::Meta, &key::erasure(number), &record::encode(row));
        }
    }

    /// Whether nothing that names the entity is taken, whatever its time.
    pub(super) fn is_gone(&self, entity: &Entity) -> bool {
        self.key.is_some_and(|key| self.listed.get(&hash(key, entity)).is_some_and(|listed| listed.always()))
    }

    /// Whether something was erased under this name.
    pub(super) fn is_listed(&self, entity: &Entity) -> bool {
        self.key.is_some_and(|key| self.listed.contains_key(&hash(key, entity)))
    }

    /// Numbers of everybody and everything that was erased.
    pub(super) fn numbers(&self) -> RoaringBitmap {
        self.rows.iter().flat_map(given).collect()
    }

    /// Those of [`Erased::numbers`] who are gone from what the store shows: an erasure may be under way.
    pub(super) fn shown(&self, store: &Store) -> Result<RoaringBitmap> {
        let mut gone = RoaringBitmap::new();
        for number in self.numbers() {
            let value = store.get(Family::Numbers, &key::number(number))?;
            if value.is_some_and(|value| parse_name(&value).is_ok_and(|(_, id)| id.is_empty())) {
                gone.insert(number);
            }
        }
        Ok(gone)
    }

    /// The erasures that were begun and not ended, with their numbers.
    pub(super) fn pending(&self) -> Vec<Begun> {
        let pending = self.rows.iter().zip(1..).filter(|(row, _)| !row.done);
        pending.map(|(row, number)| (number, Erasure { numbers: given(row).collect(), ..row.clone() })).collect()
    }

    /// Puts a new erasure into the ledger; from now on nothing that names one of `entities` is taken.
    pub(super) fn begin(
        &mut self,
        at: Timestamp,
        entities: &[(u32, Entity)],
        store: &Store,
        batch: &mut Batch,
    ) -> Begun {
        let key = *self.key.get_or_insert_with(|| {
            let key = (random(), random());
            batch.put(store, Family::Meta, key::ERASURE_KEY, &record::encode(&key));
            key
        });
        let row = Erasure {
            at: at.as_nanos(),
            numbers: entities.iter().map(|(number, _)| *number).collect(),
            hashes: entities.iter().map(|(_, entity)| hash(key, entity)).collect(),
            done: false,
        };
        self.rows.push(row.clone());
        let number = self.rows.len() as u64;
        batch.put(store, Family::Meta, &key::erasure(number), &record::encode(&row));
        self.list(&row, true);
        (number, row)
    }

    /// From now on, what belonged to the customer of an erasure may be somebody else's.
    pub(super) fn published(&mut self, number: u64) {
        let Some(row) = (number as usize).checked_sub(1).and_then(|at| self.rows.get(at)) else { return };
        for hash in &row.hashes {
            if let Some(listed) = self.listed.get_mut(hash) {
                listed.running = listed.running.saturating_sub(1);
            }
        }
    }

    /// Notes that an erasure is done.
    pub(super) fn end(&mut self, number: u64, store: &Store, batch: &mut Batch) {
        let Some(row) = (number as usize).checked_sub(1).and_then(|at| self.rows.get_mut(at)) else { return };
        row.done = true;
        batch.put(store, Family::Meta, &key::erasure(number), &record::encode(row));
    }

    /// `runs`: somebody still finds and removes what has these names.
    fn list(&mut self, row: &Erasure, runs: bool) {
        for (at, hash) in row.hashes.iter().enumerate() {
            let listed = self.listed.entry(*hash).or_insert(Listed { at: row.at, customer: false, running: 0 });
            // What belonged to one customer may have been another's later.
            listed.at = listed.at.max(row.at);
            // The customer comes first.
            listed.customer |= at == 0;
            listed.running += u32::from(runs);
        }
    }

    pub(super) fn refuses_event(&self, event: &Event) -> Option<Rejection> {
        self.refuses(event.subjects.iter().chain(&event.context), event.time)
    }

    pub(super) fn refuses_link(&self, change: &LinkChange) -> Option<Rejection> {
        let when = match change {
            LinkChange::Add(link) => link.validity().from,
            LinkChange::Close { at, .. } => *at,
            LinkChange::Retract { valid_from, .. } => valid_from.unwrap_or(Timestamp::MIN),
        };
        let (from, _, to) = change.triple();
        self.refuses([from, to].into_iter(), when)
    }

    fn refuses<'a>(&self, mut entities: impl Iterator<Item = &'a Entity>, when: Timestamp) -> Option<Rejection> {
        let key = self.key.filter(|_| !fail::bug("admit-erased"))?;
        let refused = entities.any(|entity| {
            let listed = self.listed.get(&hash(key, entity));
            listed.is_some_and(|listed| listed.always() || when.as_nanos() <= listed.at)
        });
        refused.then(|| Rejection::new(REASON))
    }
}

/// The numbers of an erasure; what has none was never in this store.
fn given(row: &Erasure) -> impl Iterator<Item = u32> + '_ {
    row.numbers.iter().copied().filter(|&number| number != NOWHERE)
}

/// Writes into the ledger of the store at `path` the erasures that the store at `live` has and it lacks; opening
/// it carries them out. Whom they mean is found by the hashes: numbers may be somebody else's here. Returns how
/// many they are.
///
/// # Errors
/// `Invalid` when the ledger at `live` does not continue this one.
pub(crate) fn adopt_ledger(path: &Path, live: &Path, settings: &Settings) -> Result<u64> {
    let live = Erased::open(&Store::look(live, settings.setup())?)?;
    let store = Store::open(path, settings.setup())?;
    let own = Erased::open(&store)?;
    let same = |(one, other): (&Erasure, &Erasure)| one.at == other.at && one.hashes == other.hashes;
    let continued = own.key.is_none() || own.key == live.key;
    if live.rows.len() < own.rows.len() || !continued || !own.rows.iter().zip(&live.rows).all(same) {
        return Err(Error::invalid("the erasures there are not those of the backup, continued"));
    }
    let (Some(key), later) = (live.key, &live.rows[own.rows.len()..]) else { return Ok(0) };
    let mut numbers: HashMap<[u8; 16], u32> =
        later.iter().flat_map(|row| row.hashes.iter().map(|hash| (*hash, NOWHERE))).collect();
    let terms = TermWriter::open(&store, TermLimits::default())?.terms();
    let tables = terms.read();
    let mut cursor = store.cursor(Family::Numbers, true);
    let mut entry = cursor.seek(&[])?;
    while let Some((found, value)) = entry {
        let (kind, id) = parse_name(value)?;
        let named = hash(key, &Entity { kind: tables.word(kind)?.clone(), id });
        if let Some(number) = numbers.get_mut(&named) {
            *number = key::parse_number(found)?;
        }
        entry = cursor.advance()?;
    }
    let mut batch = Batch::default();
    batch.put(&store, Family::Meta, key::ERASURE_KEY, &record::encode(&key));
    for (row, number) in later.iter().zip(own.rows.len() as u64 + 1..) {
        let numbers = row.hashes.iter().map(|hash| numbers.get(hash).copied().unwrap_or(NOWHERE)).collect();
        let row = Erasure { numbers, done: false, ..row.clone() };
        batch.put(&store, Family::Meta, &key::erasure(number), &record::encode(&row));
    }
    store.write(batch, true)?;
    Ok(later.len() as u64)
}

/// SipHash-2-4 of 128 bits over `type:id`; a type has no colon.
fn hash(key: (u64, u64), entity: &Entity) -> [u8; 16] {
    let mut hasher = SipHasher24::new_with_keys(key.0, key.1);
    hasher.write(entity.kind.as_bytes());
    hasher.write(b":");
    hasher.write(entity.id.as_bytes());
    hasher.finish128().as_bytes()
}
