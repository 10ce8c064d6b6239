//! Entities: from (type, id) to a number and back.

use std::hash::Hasher;
use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::RwLock;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use roaring::RoaringBitmap;
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::codec::key;
use crate::codec::raw::FIRST_OTHER;
use crate::codec::varint::{self, Reader};
use crate::dictionary::terms::TermTables;
use crate::error::{Error, Result};
use crate::model::{Entity, Text};
use crate::store::{Batch, Family, Store, StoreSnapshot};

/// The highest number is no entity's: events without a subject have it as their home.
const LAST_NUMBER: u32 = u32::MAX - 1;

/// Part of a name's hash, and the number.
#[derive(Clone, Copy)]
struct Slot {
    high: u64,
    low: u32,
    number: u32,
}

/// A hash of 96 bits: with 2^30 names, the chance that any two meet is below 2^-36.
pub(crate) type NameHash = (u64, u32);

/// Hashes names under a key drawn when the store is opened (SipHash-1-3): crafted identifiers
/// cannot be made to meet.
#[derive(Clone, Copy)]
pub(crate) struct NameHasher {
    key: (u64, u64),
}

impl NameHasher {
    pub(crate) fn random() -> NameHasher {
        NameHasher { key: (random(), random()) }
    }

    /// The hash of an entity; `kind` is the word number of its type.
    pub(crate) fn hash(&self, kind: u32, id: &str) -> NameHash {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1 ^ u64::from(kind));
        hasher.write(id.as_bytes());
        let hash = hasher.finish128();
        (hash.h1, hash.h2 as u32)
    }
}

#[derive(Default)]
struct Generation(HashTable<Slot>);

impl Generation {
    fn get(&self, (high, low): NameHash) -> Option<u32> {
        self.0.find(high, |slot| slot.high == high && slot.low == low).map(|slot| slot.number)
    }

    fn remove(&mut self, (high, low): NameHash) -> Option<u32> {
        let found = self.0.find_entry(high, |slot| slot.high == high && slot.low == low).ok()?;
        Some(found.remove().0.number)
    }

    fn insert(&mut self, (high, low): NameHash, number: u32) {
        self.0.insert_unique(high, Slot { high, low, number }, |slot| slot.high);
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// Gives numbers; one per store, on the commit thread.
///
/// Numbers used lately are kept under a keyed hash of the name, so no identifier is held. Two generations bound the
/// memory: what is used moves to the young one, and when that is full after a group, the old one is dropped.
pub(crate) struct NameWriter {
    hasher: NameHasher,
    young: Generation,
    old: Generation,
    generation_max: usize,
    /// Whether the two generations hold every name of the store: what they lack is new then.
    complete: bool,
    next_customer: u32,
    next_other: u32,
    /// Entities by the word number of their type.
    counts: Vec<u64>,
    scratch: Vec<u8>,
}

impl NameWriter {
    /// `cache_bytes` bounds the memory of both generations, about; `counts` are those of the store.
    pub(crate) fn open(store: &Store, cache_bytes: usize, counts: Vec<u64>) -> Result<NameWriter> {
        // A table of 2^n slots of 16 bytes and one of control is filled to 7/8.
        let slots = (cache_bytes / 2 / 17).max(1024);
        let generation_max = (slots.next_power_of_two() / 2).max(1024) / 8 * 7;
        let next_customer = next_number(store, 0, FIRST_OTHER - 1)?;
        let next_other = next_number(store, FIRST_OTHER, LAST_NUMBER)?;
        Ok(NameWriter {
            hasher: NameHasher::random(),
            young: Generation::default(),
            old: Generation::default(),
            generation_max,
            complete: next_customer == 0 && next_other == FIRST_OTHER,
            next_customer,
            next_other,
            counts,
            scratch: Vec::new(),
        })
    }

    /// Entities by the word number of their type.
    pub(crate) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many numbers were given: changes whenever a count does.
    pub(crate) fn given(&self) -> u64 {
        u64::from(self.next_customer) + u64::from(self.next_other)
    }

    /// The numbers that the next customer and the next other entity get.
    pub(crate) fn next(&self) -> (u32, u32) {
        (self.next_customer, self.next_other)
    }

    pub(crate) fn hasher(&self) -> NameHasher {
        self.hasher
    }

    /// The number of a name used lately. Does little but one load, so that lookups in a row overlap.
    pub(crate) fn recent(&self, hash: NameHash) -> Option<u32> {
        self.young.get(hash)
    }

    /// Whether no number is left for another customer, or another entity that is none.
    pub(crate) fn used_up(&self, is_customer: bool) -> bool {
        if is_customer { self.next_customer >= FIRST_OTHER } else { self.next_other > LAST_NUMBER }
    }

    /// The number of the entity if it has one. `kind` is the word number of its type.
    pub(crate) fn known(&mut self, kind: u32, id: &Text, store: &Store) -> Result<Option<u32>> {
        let hash = self.hasher.hash(kind, id);
        if let Some(number) = self.recent(hash) {
            return Ok(Some(number));
        }
        if let Some(number) = self.old.remove(hash) {
            self.remember(hash, number);
            return Ok(Some(number));
        }
        if self.complete {
            return Ok(None);
        }
        key::name(kind, id, &mut self.scratch);
        let Some(value) = store.get(Family::Names, &self.scratch)? else { return Ok(None) };
        let number = key::parse_number(&value)?;
        self.remember(hash, number);
        Ok(Some(number))
    }

    /// Gives a number to an entity that has none.
    ///
    /// # Errors
    /// `Invalid` when no number is left: 2^31 customers or other entities.
    pub(crate) fn give(
        &mut self,
        kind: u32,
        id: &Text,
        is_customer: bool,
        store: &Store,
        batch: &mut Batch,
    ) -> Result<u32> {
        let (next, last) =
            if is_customer { (&mut self.next_customer, FIRST_OTHER - 1) } else { (&mut self.next_other, LAST_NUMBER) };
        let number = *next;
        if number > last {
            return Err(Error::invalid("no number left for another entity"));
        }
        *next += 1;
        let kind_at = kind as usize;
        if self.counts.len() <= kind_at {
            self.counts.resize(kind_at + 1, 0);
        }
        self.counts[kind_at] += 1;
        key::name(kind, id, &mut self.scratch);
        batch.put(store, Family::Names, &self.scratch, &key::number(number));
        self.scratch.clear();
        varint::put(&mut self.scratch, u64::from(kind));
        self.scratch.extend_from_slice(id.as_bytes());
        batch.put(store, Family::Numbers, &key::number(number), &self.scratch);
        self.remember(self.hasher.hash(kind, id), number);
        Ok(number)
    }

    /// Takes the name of `number` away; the number stays given, and stands for nobody.
    pub(crate) fn take_away(&mut self, number: u32, (kind, id): (u32, &str), store: &Store, batch: &mut Batch) {
        let hash = self.hasher.hash(kind, id);
        let _ = (self.young.remove(hash), self.old.remove(hash));
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count = count.saturating_sub(1);
        }
        key::name(kind, id, &mut self.scratch);
        batch.delete(store, Family::Names, &self.scratch);
        self.scratch.clear();
        varint::put(&mut self.scratch, u64::from(kind));
        batch.put(store, Family::Numbers, &key::number(number), &self.scratch);
    }

    /// Makes room. Not in the middle of a group, whose own names the store could not tell yet.
    pub(crate) fn age(&mut self) {
        // An eighth is left for the names of one group, so that the table hardly ever grows.
        if self.young.len() >= self.generation_max / 8 * 7 {
            self.complete = self.complete && self.old.len() == 0;
            self.old = std::mem::take(&mut self.young);
        }
    }

    fn remember(&mut self, hash: NameHash, number: u32) {
        self.young.insert(hash, number);
    }
}

/// A word that other processes cannot foresee, from the standard library's seeded hasher.
pub(crate) fn random() -> u64 {
    use std::hash::BuildHasher;
    std::collections::hash_map::RandomState::new().hash_one(std::time::Instant::now())
}

fn next_number(store: &Store, first: u32, last: u32) -> Result<u32> {
    let mut cursor = store.cursor(Family::Numbers, false);
    match cursor.seek_back(&key::number(last))? {
        Some((key, _)) => Ok(match key::parse_number(key)? {
            number if number >= first => number + 1,
            _ => first,
        }),
        None => Ok(first),
    }
}

#[derive(Clone)]
struct NameBytes;

impl Weighter<u32, (u32, Text)> for NameBytes {
    fn weight(&self, _number: &u32, name: &(u32, Text)) -> u64 {
        // Entry and table overhead, plus what does not fit in place.
        (64 + name.1.len().saturating_sub(23)) as u64
    }
}

/// Tells names; shared by all readers.
pub(crate) struct NameReader {
    store: Arc<Store>,
    hasher: NameHasher,
    names: Cache<u32, (u32, Text), NameBytes>,
    /// Numbers asked for lately. A number is for ever, so it serves every snapshot that knows it.
    numbers: Cache<NameHash, u32>,
    /// Whose names were taken away since the store was opened: whoever read one before that may remember it later.
    forgotten: RwLock<RoaringBitmap>,
}

impl NameReader {
    /// `cache_bytes` bounds the memory for names, about; numbers take a quarter of that beside it.
    pub(crate) fn new(store: Arc<Store>, hasher: NameHasher, cache_bytes: usize) -> NameReader {
        const NUMBER_BYTES: usize = 64;
        let names = Cache::with_weighter(cache_bytes / 96, cache_bytes as u64, NameBytes);
        let numbers = Cache::new((cache_bytes / 4 / NUMBER_BYTES).max(64));
        NameReader { store, hasher, names, numbers, forgotten: RwLock::default() }
    }

    /// Hits and misses of the cache of names, then of that of numbers.
    pub(crate) fn hits_and_misses(&self) -> [(u64, u64); 2] {
        [(self.names.hits(), self.names.misses()), (self.numbers.hits(), self.numbers.misses())]
    }

    /// The entity with `number`.
    pub(crate) fn entity(&self, number: u32, terms: &TermTables) -> Result<Entity> {
        if let Some((kind, id)) = self.names.get(&number) {
            return Ok(Entity { kind: terms.word(kind)?.clone(), id });
        }
        let value = self.store.get(Family::Numbers, &key::number(number))?;
        let value = value.ok_or_else(|| Error::corrupt(format!("entity {number} has no name")).at("numbers"))?;
        let (kind, id) = parse(&value)?;
        self.insert(number, (kind, id.clone()));
        Ok(Entity { kind: terms.word(kind)?.clone(), id })
    }

    /// Forgets a name that was taken away.
    pub(crate) fn forget(&self, number: u32, (kind, id): (u32, &str)) {
        self.forgotten.write().insert(number);
        self.names.remove(&number);
        self.numbers.remove(&self.hasher.hash(kind, id));
    }

    /// The id of the entity with `number`, if it is remembered.
    pub(crate) fn remembered(&self, number: u32) -> Option<Text> {
        self.names.get(&number).map(|(_, id)| id)
    }

    /// Remembers what was read of the numbers family under `number`, and tells the id.
    pub(crate) fn remember(&self, number: u32, value: &[u8]) -> Result<Text> {
        let (kind, id) = parse(value)?;
        self.insert(number, (kind, id.clone()));
        Ok(id)
    }

    fn insert(&self, number: u32, name: (u32, Text)) {
        self.names.insert(number, name);
        if self.forgotten.read().contains(number) {
            self.names.remove(&number);
        }
    }

    /// The number of an entity known at the snapshot's moment, or perhaps since. `kind` is the word
    /// number of its type. Faster than [`NameReader::number_at`] for what was asked for lately.
    pub(crate) fn number(&self, kind: u32, id: &str, at: &StoreSnapshot) -> Result<Option<u32>> {
        let hash = self.hasher.hash(kind, id);
        if let Some(number) = self.numbers.get(&hash) {
            return Ok(Some(number));
        }
        let number = self.number_at(kind, id, at)?;
        if let Some(number) = number {
            self.numbers.insert(hash, number);
        }
        Ok(number)
    }

    /// The number of an entity known at the snapshot's moment. `kind` is the word number of its type.
    pub(crate) fn number_at(&self, kind: u32, id: &str, at: &StoreSnapshot) -> Result<Option<u32>> {
        let mut name = Vec::with_capacity(4 + id.len());
        key::name(kind, id, &mut name);
        at.get(Family::Names, &name)?.map(|value| key::parse_number(&value)).transpose()
    }
}

/// Type and id out of a value of the numbers family. Of somebody who was erased, the id is empty.
pub(crate) fn parse(value: &[u8]) -> Result<(u32, Text)> {
    let mut reader = Reader::new(value);
    let kind = reader.varint_u32()?;
    Ok((kind, Text::from(reader.text(reader.remaining())?)))
}
