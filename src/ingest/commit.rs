//! The commit thread: turns batches into numbers, finds duplicates, writes, syncs, publishes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender};
use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::codec::key::{self, LinkKey, Side, Statement};
use crate::codec::raw::RawEvent;
use crate::codec::record::{self, Counts, LogRow};
use crate::dictionary::{NameWriter, TermWriter};
use crate::error::Result;
use crate::ingest::batch::Receipt;
use crate::ingest::engine::{Engine, Request};
use crate::ingest::gate;
use crate::ingest::home::Homes;
use crate::ingest::Batch;
use crate::model::{Entity, Event, LinkChange, Outcome, Record, Rejection, Timestamp};
use crate::segment::{Active, Appended, Dedupe, Known, Match, View, identity, put_counts};
use crate::store::{Batch as StoreBatch, Family, StoreSnapshot};
use crate::topology::{LinkView, encode_value};

/// Records that share one sync at most, unless one batch alone has more.
const GROUP_RECORDS: usize = 1 << 16;
/// Frozen segments that may wait for the sealer before commits wait too.
const FROZEN_MAX: usize = 2;
/// Packed bytes after which a segment is frozen, however few its events.
const SEGMENT_BYTES_MAX: usize = 1 << 30;

/// Memory for filters of sealed segments.
const FILTER_CACHE_BYTES: usize = 64 << 20;

/// An event on its way into the active segment.
struct Staged {
    identity: u64,
    homes: SmallVec<[u32; 2]>,
    /// Where its packed row lies in the batch's bytes.
    packed: std::ops::Range<usize>,
    event: RawEvent,
    source: u32,
}

/// One batch of a group, staged.
struct StagedBatch {
    commit: u64,
    wall: i64,
    packed: Vec<u8>,
    events: Vec<Staged>,
    outcomes: Vec<Outcome>,
}

/// What gives numbers.
pub(super) struct Numbers {
    pub(super) terms: TermWriter,
    pub(super) names: NameWriter,
    /// Link statements stored.
    pub(super) links: u64,
}

pub(super) struct Committer {
    engine: Arc<Engine>,
    terms: TermWriter,
    names: NameWriter,
    links: u64,
    homes: Homes,
    dedupe: Dedupe,
    to_seal: Sender<Arc<Active>>,
    /// Link statements of the group at hand.
    statements: HashSet<[u8; LinkKey::LEN]>,
}

/// Identities staged in one group: (identity, batch, event).
type GroupIdentities = HashTable<(u64, u32, u32)>;

impl Committer {
    pub(super) fn new(
        engine: &Arc<Engine>,
        numbers: Numbers,
        to_seal: Sender<Arc<Active>>,
    ) -> Committer {
        Committer {
            engine: engine.clone(),
            terms: numbers.terms,
            names: numbers.names,
            links: numbers.links,
            homes: Homes::default(),
            dedupe: Dedupe::new(FILTER_CACHE_BYTES),
            to_seal,
            statements: HashSet::new(),
        }
    }

    /// Serves requests until every sender is gone. Whatever waits when a commit begins shares its sync.
    pub(super) fn run(&mut self, requests: &Receiver<Request>) {
        let mut next = None;
        while let Some(first) = next.take().or_else(|| requests.recv().ok()) {
            let mut group = Vec::new();
            let mut replies = Vec::new();
            let mut records = 0;
            let mut request = Some(first);
            while let Some(now) = request.take() {
                match now {
                    Request::Commit { records: batch, reply } => {
                        records += batch.len();
                        group.push(batch);
                        replies.push(reply);
                        if records < GROUP_RECORDS {
                            request = requests.try_recv().ok();
                        }
                    }
                    freeze @ Request::Freeze { .. } if !group.is_empty() => next = Some(freeze),
                    Request::Freeze { reply } => {
                        self.freeze();
                        // Whoever asked may have gone.
                        let _ = reply.send(());
                    }
                }
            }
            if group.is_empty() {
                continue;
            }
            self.serve(group, &replies);
        }
    }

    fn serve(&mut self, group: Vec<Batch>, replies: &[Sender<Result<Receipt>>]) {
        let committed = self.engine.check_writable().and_then(|()| self.commit(group));
        match committed {
            Ok(receipts) => {
                for (reply, receipt) in replies.iter().zip(receipts) {
                    let _ = reply.send(Ok(receipt));
                }
                self.freeze_if_full();
            }
            Err(error) => {
                // Numbers may have been given that no row on the disk knows: nothing more is written.
                self.engine.poison(&error);
                let refused = self.engine.check_writable().expect_err("the store was just poisoned");
                let mut first = Some(error);
                for reply in replies {
                    let answer = first.take().unwrap_or_else(|| {
                        crate::Error::new(refused.kind(), refused.message())
                    });
                    let _ = reply.send(Err(answer));
                }
            }
        }
    }

    /// Commits a group: one atomic write, one sync, one new view.
    fn commit(&mut self, group: Vec<Batch>) -> Result<Vec<Receipt>> {
        self.statements.clear();
        let view = self.engine.views.load();
        let mut batch = StoreBatch::default();
        let mut staged: Vec<StagedBatch> = Vec::with_capacity(group.len());
        let mut identities = GroupIdentities::new();
        let (active, _) = view.actives.last().expect("a view has an active segment").clone();
        let engine = self.engine.clone();
        let before = (self.names.given(), self.links);
        let links = LinkView::new(&view.snapshot, &engine.lookup.links, view.commit);
        for (index, records) in group.into_iter().enumerate() {
            let commit = view.commit + 1 + index as u64;
            staged.push(StagedBatch::new(commit, records.len()));
            for record in records.records {
                let outcome = match record {
                    Record::Event(event) => {
                        self.stage_event(event, &view, &links, &mut batch, &mut staged, &mut identities)?
                    }
                    Record::Link(change) => self.stage_link(&change, commit, &view, &mut batch)?,
                };
                staged[index].outcomes.push(outcome);
            }
            let log_row = record::encode(&staged[index].log_row());
            batch.put(&engine.lookup.store, Family::Log, &key::log(active.number(), commit), &log_row);
        }
        if before != (self.names.given(), self.links) {
            let counts = Counts { entities: self.names.counts().to_vec(), links: self.links };
            put_counts(&engine.lookup.store, &mut batch, &counts);
        }
        engine.lookup.store.write(batch, engine.settings.sync)?;

        for batch in &staged {
            active.append(batch.commit, batch.wall, batch.events.iter().map(|event| event.appended(&batch.packed)));
        }
        let last_commit = staged.last().map_or(view.commit, |batch| batch.commit);
        let snapshot = Arc::new(StoreSnapshot::new(engine.lookup.store.clone()));
        engine.views.update(|view| {
            view.commit = last_commit;
            view.snapshot = snapshot;
            if let Some((active, bound)) = view.actives.last_mut() {
                *bound = active.entry_count();
            }
        });
        Ok(staged.into_iter().map(|batch| Receipt::new(batch.commit, batch.outcomes)).collect())
    }

    fn stage_event(
        &mut self,
        mut event: Event,
        view: &View,
        links: &LinkView<'_>,
        batch: &mut StoreBatch,
        staged: &mut [StagedBatch],
        identities: &mut GroupIdentities,
    ) -> Result<Outcome> {
        event.normalise();
        if let Err(rejection) = gate::check_event(&event, &self.engine.settings.limits) {
            return Ok(Outcome::Rejected(rejection));
        }
        let (raw, source) = match self.number_event(&event, batch)? {
            Ok(numbered) => numbered,
            Err(rejection) => return Ok(Outcome::Rejected(rejection)),
        };
        let into = staged.len() - 1;
        let from = staged[into].packed.len();
        raw.pack(&mut staged[into].packed);
        let identity = identity(&raw, source, &staged[into].packed[from..]);
        let found = match self.find_in_group(identity, &raw, source, staged, identities) {
            Match::New => self.find_stored(identity, &raw, view, links)?,
            found => found,
        };
        if found != Match::New {
            staged[into].packed.truncate(from);
            return Ok(if found == Match::Same { Outcome::Duplicate } else { Outcome::Conflict });
        }
        let engine = &self.engine;
        let commit = staged[into].commit;
        let mut placed = |subject: u32| engine.lookup.links.changed(subject, commit);
        let homes = self.homes.of(&raw, links, commit, &engine.lookup.store, batch, &mut placed)?;
        let place = (identity, into as u32, staged[into].events.len() as u32);
        identities.insert_unique(identity, place, |&(identity, ..)| identity);
        let packed = from..staged[into].packed.len();
        staged[into].events.push(Staged { identity, homes, packed, event: raw, source });
        Ok(Outcome::Inserted)
    }

    /// The event in numbers, and the number of its source.
    fn number_event(
        &mut self,
        event: &Event,
        batch: &mut StoreBatch,
    ) -> Result<std::result::Result<(RawEvent, u32), Rejection>> {
        let engine = self.engine.clone();
        let store = &engine.lookup.store;
        let shape = match self.terms.shape(event, store, batch) {
            Ok(shape) => shape,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let mut raw = RawEvent {
            time: event.time.as_nanos(),
            shape,
            severity: event.severity.number(),
            end: event.end.map(Timestamp::as_nanos),
            sequence: event.sequence,
            value: event.value,
            id: event.id.clone(),
            ..RawEvent::default()
        };
        for entity in &event.subjects {
            match self.number_entity(entity, batch)? {
                Ok(number) => raw.subjects.push(number),
                Err(rejection) => return Ok(Err(rejection)),
            }
        }
        for entity in &event.context {
            match self.number_entity(entity, batch)? {
                Ok(number) => raw.context.push(number),
                Err(rejection) => return Ok(Err(rejection)),
            }
        }
        self.terms.values(shape, event, store, batch, &mut raw.values);
        let source = self.terms.source_of(shape);
        Ok(Ok((raw, source)))
    }

    fn number_entity(
        &mut self,
        entity: &Entity,
        batch: &mut StoreBatch,
    ) -> Result<std::result::Result<u32, Rejection>> {
        let store = &self.engine.lookup.store;
        let kind = match self.terms.word(&entity.kind, store, batch) {
            Ok(kind) => kind,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let is_customer = entity.kind == self.engine.lookup.customer_type;
        self.names.number(kind, &entity.id, is_customer, store, batch).map(Ok)
    }

    fn find_in_group(
        &self,
        identity: u64,
        event: &RawEvent,
        source: u32,
        staged: &[StagedBatch],
        identities: &GroupIdentities,
    ) -> Match {
        let mut found = Match::New;
        identities.find(identity, |&(known, batch, at)| {
            if known != identity {
                return false;
            }
            let other = &staged[batch as usize].events[at as usize];
            let same_name = match (&event.id, &other.event.id) {
                (Some(a), Some(b)) => a == b && event.time == other.event.time && source == other.source,
                (None, None) => *event == other.event,
                _ => false,
            };
            if same_name {
                found = if *event == other.event { Match::Same } else { Match::Other };
            }
            same_name
        });
        found
    }

    fn find_stored(&mut self, identity: u64, event: &RawEvent, view: &View, links: &LinkView<'_>) -> Result<Match> {
        let tables = self.engine.lookup.terms.read();
        let known = Known {
            store: &self.engine.lookup.store,
            tables: &tables,
            actives: &view.actives,
            segments: &view.segments,
            seals: &view.seals,
        };
        self.dedupe.find(&known, identity, event, &mut || homes_of_subjects(event, links))
    }

    fn stage_link(
        &mut self,
        change: &LinkChange,
        commit: u64,
        view: &View,
        batch: &mut StoreBatch,
    ) -> Result<Outcome> {
        if let Err(rejection) = gate::check_link(change, &self.engine.settings.limits) {
            return Ok(Outcome::Rejected(rejection));
        }
        let engine = self.engine.clone();
        let store = &engine.lookup.store;
        let (from, relation, to) = change.triple();
        let words = self.terms.word(relation, store, batch).and_then(|relation| {
            Ok((relation, self.terms.word(change.source(), store, batch)?))
        });
        let (relation, source) = match words {
            Ok(words) => words,
            Err(rejection) => return Ok(Outcome::Rejected(rejection)),
        };
        let (from, to) = match (self.number_entity(from, batch)?, self.number_entity(to, batch)?) {
            (Ok(from), Ok(to)) => (from, to),
            (Err(rejection), _) | (_, Err(rejection)) => return Ok(Outcome::Rejected(rejection)),
        };
        let bound = |time: Option<Timestamp>, unbounded: Timestamp| time.unwrap_or(unbounded).as_nanos();
        let (statement, valid_from, valid_to) = match change {
            LinkChange::Add(link) => (
                Statement::Add,
                bound(link.valid_from, Timestamp::MIN),
                bound(link.valid_to, Timestamp::MAX),
            ),
            LinkChange::Close { at, .. } => (Statement::Close, at.as_nanos(), 0),
            LinkChange::Retract { valid_from, .. } => (Statement::Retract, bound(*valid_from, Timestamp::MIN), 0),
        };
        let outgoing = LinkKey {
            entity: from,
            side: Side::Outgoing,
            relation,
            other: to,
            statement,
            from: valid_from,
            to: valid_to,
        };
        let key = outgoing.encode();
        if !self.statements.insert(key) || view.snapshot.get(Family::Links, &key)?.is_some() {
            return Ok(Outcome::Duplicate);
        }
        let incoming = LinkKey { entity: to, side: Side::Incoming, other: from, ..outgoing };
        let value = encode_value(source, commit);
        batch.put(store, Family::Links, &key, &value);
        batch.put(store, Family::Links, &incoming.encode(), &value);
        engine.lookup.links.changed(from, commit);
        self.homes.forget(to);
        self.links += 1;
        Ok(Outcome::Inserted)
    }

    fn freeze_if_full(&mut self) {
        let view = self.engine.views.load();
        let (active, _) = view.actives.last().expect("a view has an active segment");
        let full = active.event_count() >= self.engine.settings.segment_events
            || active.packed_bytes() >= SEGMENT_BYTES_MAX;
        if full {
            self.freeze();
        }
    }

    /// Hands the active segment to the sealer and begins another.
    fn freeze(&mut self) {
        let (active, _) = self.engine.views.load().actives.last().expect("a view has an active segment").clone();
        if active.is_empty() || self.engine.check_writable().is_err() {
            return;
        }
        let number = self.engine.next_segment.fetch_add(1, Ordering::Relaxed);
        let fresh = Arc::new(Active::new(number));
        self.engine.views.update(|view| view.actives.push((fresh, 0)));
        self.engine.work.lock().seals += 1;
        // The sealer is gone only when it failed, and then the store is poisoned.
        let _ = self.to_seal.send(active);
        let _ = self.engine.wait_for(|work| work.seals <= FROZEN_MAX || work.stopping);
    }
}

/// Where events with the subjects of `event` may lie.
fn homes_of_subjects(event: &RawEvent, links: &LinkView<'_>) -> Result<Vec<u32>> {
    let mut homes = event.subjects.to_vec();
    let mut subjects = event.subjects.to_vec();
    subjects.sort_unstable();
    for outgoing in links.outgoing_of(&subjects)? {
        homes.extend(outgoing.placements.iter().map(|placement| placement.home));
    }
    if homes.is_empty() {
        homes.push(crate::segment::NOWHERE);
    }
    homes.sort_unstable();
    homes.dedup();
    Ok(homes)
}

impl Staged {
    fn appended<'a>(&'a self, packed: &'a [u8]) -> Appended<'a> {
        Appended {
            identity: self.identity,
            homes: &self.homes,
            packed: &packed[self.packed.clone()],
            event: &self.event,
        }
    }
}

impl StagedBatch {
    fn new(commit: u64, records: usize) -> StagedBatch {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
        StagedBatch {
            commit,
            wall,
            packed: Vec::with_capacity(records * 32),
            events: Vec::with_capacity(records),
            outcomes: Vec::with_capacity(records),
        }
    }

    fn log_row(&self) -> LogRow {
        let several_homes = self.events.iter().any(|event| event.homes.len() != 1);
        LogRow {
            wall: self.wall,
            packed: self.packed.clone(),
            lengths: self.events.iter().map(|event| event.packed.len() as u32).collect(),
            homes: self.events.iter().flat_map(|event| event.homes.iter().copied()).collect(),
            home_counts: if several_homes {
                self.events.iter().map(|event| event.homes.len() as u16).collect()
            } else {
                Vec::new()
            },
        }
    }
}
