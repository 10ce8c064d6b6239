//! Statements about links on their way into a store, and the limits on how many links an entity has.

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::codec::key::{self, LinkKey, Side, Statement};
use crate::codec::raw::FIRST_OTHER;
use crate::error::Result;
use crate::ingest::commit::{Committer, Group};
use crate::ingest::prepare::Added;
use crate::model::{LinkChange, Outcome, Rejection, Timestamp};
use crate::store::{Batch as StoreBatch, Family, StoreSnapshot};
use crate::topology::{
    Degrees, Slot, delete_quarantined, encode_value, load_quarantined, put_quarantined, put_quarantined_count,
    quarantined,
};

type Key = [u8; LinkKey::LEN];

/// What the store knows of the number of links, as of the last commit.
pub(super) struct Fanout {
    pub(super) degrees: Degrees,
    /// Links in quarantine, those of the group on its way included; read when first asked for.
    quarantined: Option<u64>,
}

impl Fanout {
    pub(super) fn new() -> Fanout {
        Fanout { degrees: Degrees::new(), quarantined: None }
    }

    pub(super) fn quarantined(&mut self, snapshot: &StoreSnapshot) -> Result<u64> {
        let count = match self.quarantined {
            Some(count) => count,
            None => load_quarantined(snapshot)?,
        };
        self.quarantined = Some(count);
        Ok(count)
    }

    pub(super) fn set_quarantined(&mut self, count: u64) {
        self.quarantined = Some(count);
    }
}

/// The statements about links of one group. Seen from where the link begins.
pub(super) struct Stated {
    /// The first customer and the first other entity that the group itself names: neither has a row yet.
    new_from: (u32, u32),
    pub(super) statements: HashSet<Key, RandomState>,
    /// How many links begin there that count, by their keys without where they end.
    begun: HashMap<[u8; LinkKey::BEGIN_LEN], u32, RandomState>,
    /// How the counts of links change.
    degrees: HashMap<Slot, i64, RandomState>,
    /// What the group puts into quarantine, with its rows' value.
    quarantined: BTreeMap<Key, Vec<u8>>,
    /// What it takes out.
    released: HashSet<Key, RandomState>,
}

impl Stated {
    pub(super) fn new(new_from: (u32, u32)) -> Stated {
        Stated {
            new_from,
            statements: HashSet::default(),
            begun: HashMap::default(),
            degrees: HashMap::default(),
            quarantined: BTreeMap::new(),
            released: HashSet::default(),
        }
    }

    fn is_new(&self, entity: u32) -> bool {
        entity >= if entity < FIRST_OTHER { self.new_from.0 } else { self.new_from.1 }
    }

    fn count(&mut self, link: &LinkKey, change: i64) {
        for end in [*link, link.mirrored()] {
            *self.degrees.entry(Slot::of(&end)).or_default() += change;
        }
    }
}

impl Committer {
    pub(super) fn stage_link(&mut self, change: &LinkChange, added: Added, group: &mut Group<'_>) -> Result<Outcome> {
        let engine = self.engine.clone();
        let store = &engine.lookup.store;
        let commit = group.commit();
        if added == Added::Promoted && !self.is_named(change)? {
            return Ok(not_in_quarantine());
        }
        let (from, relation, to) = change.triple();
        let mut word = |text| self.numbers.terms.word(text, store, &mut group.batch);
        let (relation, source) = match (word(relation), word(change.source())) {
            (Ok(relation), Ok(source)) => (relation, source),
            (Err(rejection), _) | (_, Err(rejection)) => return Ok(Outcome::Rejected(rejection)),
        };
        let ends = (self.number_entity(from, &mut group.batch)?, self.number_entity(to, &mut group.batch)?);
        let (from, to) = match ends {
            (Ok(from), Ok(to)) => (from, to),
            (Err(rejection), _) | (_, Err(rejection)) => return Ok(Outcome::Rejected(rejection)),
        };
        let bound = |time: Option<Timestamp>, unbounded: Timestamp| time.unwrap_or(unbounded).as_nanos();
        let (statement, valid_from, valid_to) = match change {
            LinkChange::Add(link) => {
                (Statement::Add, bound(link.valid_from, Timestamp::MIN), bound(link.valid_to, Timestamp::MAX))
            }
            LinkChange::Close { at, .. } => (Statement::Close, at.as_nanos(), 0),
            LinkChange::Retract { valid_from, .. } => (Statement::Retract, bound(*valid_from, Timestamp::MIN), 0),
        };
        let (side, other, from_nanos, to_nanos) = (Side::Outgoing, to, valid_from, valid_to);
        let link = LinkKey { entity: from, side, relation, other, statement, from: from_nanos, to: to_nanos };
        let mut value = encode_value(source, commit);
        if added == Added::Promoted {
            match self.release(&link, group)? {
                Some(known) => value = known,
                None => return Ok(not_in_quarantine()),
            }
            group.stated.statements.insert(link.encode());
        } else if self.is_stated(&link, group)? {
            return Ok(Outcome::Duplicate);
        }
        match statement {
            Statement::Add => {
                let counts = !self.is_retracted(&link, group)?;
                let held = match added {
                    Added::Judged => counts && self.is_beyond(&link, group)?,
                    Added::Promoted => false,
                    Added::Quarantined => true,
                };
                if held {
                    put_quarantined(&link, &value, store, &mut group.batch);
                    group.stated.quarantined.insert(link.encode(), value);
                    let count = self.fanout.quarantined(&group.view.snapshot)?;
                    self.fanout.set_quarantined(count + 1);
                    return Ok(Outcome::Quarantined);
                }
                if counts {
                    group.stated.count(&link, 1);
                    *group.stated.begun.entry(begin(&link)).or_default() += 1;
                }
            }
            Statement::Close => {}
            Statement::Retract => self.withdraw(&link, group)?,
        }
        for entity in [from, to] {
            let is_new = group.stated.is_new(entity);
            self.fanout.degrees.note(entity, is_new, statement, &group.view.snapshot)?;
        }
        group.batch.put(store, Family::Links, &link.encode(), &value);
        group.batch.put(store, Family::Links, &link.mirrored().encode(), &value);
        engine.lookup.links.changed(from, commit);
        group.relinked.push(to);
        self.numbers.links += 1;
        Ok(Outcome::Inserted)
    }

    /// Whether the relation and the ends of a link have numbers; gives none.
    fn is_named(&mut self, change: &LinkChange) -> Result<bool> {
        let lookup = &self.engine.lookup;
        let (from, relation, to) = change.triple();
        let number_of = |word: &str| lookup.terms.read().number_of(word);
        if number_of(relation).is_none() {
            return Ok(false);
        }
        for end in [from, to] {
            let Some(kind) = number_of(&end.kind) else { return Ok(false) };
            if self.numbers.names.known(kind, &end.id, &lookup.store)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the statement was made before; from here on it was.
    fn is_stated(&mut self, link: &LinkKey, group: &mut Group<'_>) -> Result<bool> {
        let (key, stated) = (link.encode(), &mut group.stated);
        if !stated.statements.insert(key) {
            return Ok(true);
        }
        if stated.is_new(link.entity) || stated.is_new(link.other) {
            return Ok(false);
        }
        let snapshot = &group.view.snapshot;
        if snapshot.get(Family::Links, &key)?.is_some() {
            return Ok(true);
        }
        Ok(link.statement == Statement::Add
            && self.fanout.quarantined(snapshot)? > 0
            && !group.stated.released.contains(&key)
            && snapshot.get(Family::Meta, &key::quarantine(link))?.is_some())
    }

    /// Whether what begins where the link does was retracted before.
    fn is_retracted(&mut self, link: &LinkKey, group: &Group<'_>) -> Result<bool> {
        let (stated, snapshot) = (&group.stated, &group.view.snapshot);
        for entity in [link.entity, link.other] {
            if !self.fanout.degrees.may_be_retracted(entity, stated.is_new(entity), snapshot)? {
                return Ok(false);
            }
        }
        let retraction = LinkKey { statement: Statement::Retract, to: 0, ..*link }.encode();
        Ok(stated.statements.contains(&retraction) || snapshot.get(Family::Links, &retraction)?.is_some())
    }

    /// Whether the limits have no room for another link like this one.
    fn is_beyond(&mut self, link: &LinkKey, group: &mut Group<'_>) -> Result<bool> {
        let limits = &self.engine.settings.limits;
        for (end, most) in [(*link, limits.links_from), (link.mirrored(), limits.links_to)] {
            let slot = Slot::of(&end);
            let is_new = group.stated.is_new(slot.entity);
            let more = group.stated.degrees.get(&slot).copied().unwrap_or(0);
            let room = (more, i64::try_from(most).unwrap_or(i64::MAX));
            if self.fanout.degrees.is_full(slot, is_new, &group.view.snapshot, room)? {
                // Where a store of an earlier build has no row yet, this commit writes it.
                group.stated.degrees.entry(slot).or_default();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a link out of quarantine and tells its rows' value; `None` if it is not there.
    fn release(&mut self, link: &LinkKey, group: &mut Group<'_>) -> Result<Option<Vec<u8>>> {
        let key = link.encode();
        let value = match group.stated.quarantined.remove(&key) {
            Some(value) => Some(value),
            None if group.stated.released.contains(&key) => None,
            None => group.view.snapshot.get(Family::Meta, &key::quarantine(link))?.map(|value| value.to_vec()),
        };
        if value.is_some() {
            delete_quarantined(link, &self.engine.lookup.store, &mut group.batch);
            group.stated.released.insert(key);
            let count = self.fanout.quarantined(&group.view.snapshot)?;
            self.fanout.set_quarantined(count.saturating_sub(1));
        }
        Ok(value)
    }

    /// What a retraction withdraws counts no more, and needs no quarantine.
    fn withdraw(&mut self, retraction: &LinkKey, group: &mut Group<'_>) -> Result<()> {
        let first = LinkKey { statement: Statement::Add, to: i64::MIN, ..*retraction };
        let prefix = begin(&first);
        let mut counted = i64::from(group.stated.begun.remove(&prefix).unwrap_or(0));
        let mut held: Vec<LinkKey> = Vec::new();
        let staged = group.stated.quarantined.range(first.encode()..).map(|(key, _)| key);
        for key in staged.take_while(|key| key.starts_with(&prefix)) {
            held.push(LinkKey::decode(key)?);
        }
        if !group.stated.is_new(first.entity) && !group.stated.is_new(first.other) {
            let snapshot = &group.view.snapshot;
            counted += snapshot.with_cursor(Family::Links, |cursor| {
                let mut begun = 0;
                let mut entry = cursor.seek(&prefix)?;
                while entry.is_some_and(|(key, _)| key.starts_with(&prefix)) {
                    begun += 1;
                    entry = cursor.advance()?;
                }
                Ok(begun)
            })?;
            if self.fanout.quarantined(snapshot)? > 0 {
                quarantined(snapshot, &prefix, &mut |link, _| {
                    held.push(link);
                    true
                })?;
            }
        }
        for link in held {
            if self.release(&link, group)?.is_some() {
                // Said again, it is stored: it is in quarantine no more.
                group.stated.statements.remove(&link.encode());
            }
        }
        group.stated.count(&first, -counted);
        Ok(())
    }

    /// Writes the counts that the group's statements change.
    pub(super) fn put_fanout(
        &mut self,
        stated: &Stated,
        snapshot: &StoreSnapshot,
        batch: &mut StoreBatch,
    ) -> Result<()> {
        let store = &self.engine.lookup.store;
        let changes = stated.degrees.iter().map(|(slot, change)| (*slot, *change));
        let least = self.engine.settings.limits.links_from.min(self.engine.settings.limits.links_to);
        self.fanout.degrees.change(changes, (|entity| stated.is_new(entity), least), snapshot, store, batch)?;
        if !stated.quarantined.is_empty() || !stated.released.is_empty() {
            put_quarantined_count(self.fanout.quarantined(snapshot)?, store, batch);
        }
        Ok(())
    }
}

fn not_in_quarantine() -> Outcome {
    Outcome::Rejected(Rejection::new("no such link is in quarantine"))
}

/// The key of a link without where it ends.
fn begin(link: &LinkKey) -> [u8; LinkKey::BEGIN_LEN] {
    let key = link.encode();
    key[..LinkKey::BEGIN_LEN].try_into().expect("a key is longer")
}
