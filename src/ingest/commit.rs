//! The commit thread: gives numbers, finds duplicates, writes, syncs, publishes.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender};
use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::codec::key;
use crate::codec::raw::{FIRST_OTHER, RawEvent};
use crate::codec::record::{self, Counts, LogRow};
use crate::codec::varint::{self, Reader};
use crate::dictionary::{NameWriter, TermWriter};
use crate::error::{Error, Result};
use crate::fail;
use crate::ingest::batch::{Answer, Receipt};
use crate::ingest::engine::{Engine, Request};
use crate::ingest::erased::Erased;
use crate::ingest::home::{Homes, Placed};
use crate::ingest::links::{Fanout, Stated};
use crate::ingest::prepare::{KnownEvent, Prepared, Work};
use crate::model::limits::{CUSTOMERS, HOPS, OTHERS};
use crate::model::{Entity, Event, Interval, Outcome, Record, Rejection, Timestamp};
use crate::segment::{
    Active, Appended, Counted, Dedupe, Known, Match, NOWHERE, View, identity as identity_of, put_counts,
};
use crate::store::{Batch as StoreBatch, Family, StoreSnapshot};
use crate::topology::{LinkView, put_suspect};

/// Records that share one sync at most, unless one batch alone has more.
const GROUP_RECORDS: usize = 1 << 16;
/// Bytes that share one sync at most, unless one batch alone has more.
const GROUP_BYTES: usize = 64 << 20;
/// Frozen segments that may wait for the sealer before commits wait too.
const FROZEN_MAX: usize = 2;
/// Commits after which a segment is frozen, however few their events.
const SEGMENT_COMMITS_MAX: usize = 1 << 20;
/// Packed bytes after which a segment is frozen, however few its events.
const SEGMENT_BYTES_MAX: usize = 1 << 30;
/// Memory for filters of sealed segments.
const FILTER_CACHE_BYTES: usize = 64 << 20;

/// Numbers of one event's entities: subjects, then context.
type Numbered = SmallVec<[u32; 4]>;

/// An event in numbers, not yet known to be new. Entities without a number stand as [`NOWHERE`],
/// since a record that is refused must not name any.
struct Candidate {
    identity: u64,
    /// Its packed row among the candidates' bytes.
    packed: std::ops::Range<usize>,
    entities: Numbered,
    known: KnownEvent,
    /// Whether its identity may have been seen before this group.
    suspect: bool,
}

/// An event on its way into the active segment.
struct Staged {
    identity: u64,
    homes: SmallVec<[u32; 2]>,
    /// Its packed row among the batch's bytes.
    packed: std::ops::Range<usize>,
    counted: Counted,
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

/// Identities staged in one group: (identity, batch, event).
type GroupIdentities = HashTable<(u64, u32, u32)>;

/// One group on its way to the disk.
pub(super) struct Group<'a> {
    pub(super) view: &'a View,
    links: LinkView<'a>,
    pub(super) batch: StoreBatch,
    staged: Vec<StagedBatch>,
    identities: GroupIdentities,
    /// What it says about links.
    pub(super) stated: Stated,
    /// Entities that something depends on differently from this group on, one for each statement that it stores.
    pub(super) relinked: Vec<u32>,
    /// Subjects placed by this group.
    placed: Placed,
    /// Whether an event may have been stored before this group.
    some_events: bool,
}

/// What gives numbers.
pub(super) struct Numbers {
    pub(super) terms: TermWriter,
    pub(super) names: NameWriter,
    /// Link statements stored.
    pub(super) links: u64,
    /// Who is not to come back.
    pub(super) erased: Erased,
}

pub(crate) struct Committer {
    pub(super) engine: Arc<Engine>,
    pub(super) numbers: Numbers,
    pub(super) homes: Homes,
    pub(super) fanout: Fanout,
    dedupe: Dedupe,
    to_seal: Sender<Arc<Active>>,
}

/// A rejection is an answer, an error is a failure of the store.
pub(super) type Numbering<T> = Result<std::result::Result<T, Rejection>>;

impl Committer {
    pub(super) fn new(engine: &Arc<Engine>, numbers: Numbers, to_seal: Sender<Arc<Active>>) -> Committer {
        Committer {
            engine: engine.clone(),
            numbers,
            homes: Homes::default(),
            fanout: Fanout::new(),
            dedupe: Dedupe::new(FILTER_CACHE_BYTES),
            to_seal,
        }
    }

    /// Serves requests until every sender is gone. Whatever waits when a commit begins shares its sync.
    pub(super) fn run(&mut self, requests: &Receiver<Request>) {
        let mut next = None;
        while let Some(first) = next.take().or_else(|| requests.recv().ok()) {
            let mut group = Vec::new();
            let mut replies = Vec::new();
            let (mut records, mut bytes) = (0, 0);
            let mut request = Some(first);
            while let Some(now) = request.take() {
                match now {
                    Request::Commit { prepared, reply } => {
                        records += prepared.records.len();
                        bytes += prepared.packed_bytes();
                        group.push(prepared);
                        replies.push(reply);
                        if records < GROUP_RECORDS && bytes < GROUP_BYTES {
                            request = requests.try_recv().ok();
                        }
                    }
                    other if !group.is_empty() => next = Some(other),
                    Request::Freeze { reply } => {
                        self.freeze();
                        // Whoever asked may have gone.
                        let _ = reply.send(());
                    }
                    Request::Refresh { reply } => {
                        self.refresh();
                        let _ = reply.send(());
                    }
                    Request::Run(act) => act(self),
                }
            }
            if !group.is_empty() {
                self.serve(group, &replies);
            }
        }
    }

    fn serve(&mut self, mut group: Vec<Prepared>, replies: &[Sender<Answer>]) {
        let committed = match self.engine.check_writable() {
            // Numbers may be given by a commit that no row on the disk knows: nothing more is written then.
            Ok(()) => self.commit(&mut group).map_err(|error| self.engine.poison(error)),
            Err(error) => Err(Arc::new(error)),
        };
        // Records go back with the answer, to be freed where they were made.
        let records = group.into_iter().map(|prepared| prepared.records);
        match committed {
            Ok(receipts) => {
                for ((reply, receipt), records) in replies.iter().zip(receipts).zip(records) {
                    let _ = reply.send(Answer { receipt: Ok(receipt), records });
                }
                if fail::bug("late-sync") {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    let _ = self.engine.lookup.store.sync_log();
                }
                self.freeze_if_full();
            }
            Err(error) => {
                for (reply, records) in replies.iter().zip(records) {
                    let _ = reply.send(Answer { receipt: Err(Error::again(&error)), records });
                }
            }
        }
    }

    /// Commits a group: one atomic write, one sync, one new view.
    fn commit(&mut self, prepared: &mut [Prepared]) -> Result<Vec<Receipt>> {
        let began = Instant::now();
        let engine = self.engine.clone();
        let records: usize = prepared.iter().map(|prepared| prepared.records.len()).sum();
        let _span = tracing::debug_span!("commit", batches = prepared.len(), records).entered();
        let mut log_bytes = 0;
        let view = engine.views.load();
        let before = (self.numbers.names.given(), self.numbers.links);
        let (active, _) = view.actives.last().expect("a view has an active segment").clone();
        let mut group = Group {
            links: LinkView::new(&view.snapshot, &engine.lookup.links, view.commit),
            view: &view,
            batch: StoreBatch::default(),
            staged: Vec::with_capacity(prepared.len()),
            identities: GroupIdentities::new(),
            stated: Stated::new(self.numbers.names.next()),
            relinked: Vec::new(),
            placed: Placed::default(),
            // Those that were removed since have left their places.
            some_events: view.actives.iter().any(|(active, _)| active.number() > 0 || active.event_count() > 0),
        };
        for (index, prepared) in prepared.iter_mut().enumerate() {
            let commit = view.commit + 1 + index as u64;
            group.staged.push(StagedBatch::new(commit, prepared));
            self.stage(prepared, &mut group)?;
            let log_row = group.staged[index].log_row();
            log_bytes += log_row.len() as u64;
            group.batch.put(&engine.lookup.store, Family::Log, &key::log(active.number(), commit), &log_row);
        }
        let suspects = self.suspects(&group)?;
        // Duplicates and links in quarantine are statements too, but change nothing.
        let links_changed = !group.relinked.is_empty() || !suspects.is_empty();
        let Group { mut batch, staged, relinked, stated, .. } = group;
        self.put_fanout(&stated, &view.snapshot, &mut batch)?;
        for subject in suspects {
            put_suspect(&engine.lookup.store, &mut batch, subject);
        }
        if before != (self.numbers.names.given(), self.numbers.links) {
            let counts = Counts { entities: self.numbers.names.counts().to_vec(), links: self.numbers.links };
            put_counts(&engine.lookup.store, &mut batch, &counts);
        }
        fail::point("commit.before_write")?;
        let sync = engine.settings.sync && !fail::bug("skip-sync") && !fail::bug("late-sync");
        engine.lookup.store.write(batch, sync)?;
        fail::point("commit.after_write")?;

        for batch in &staged {
            active.append(batch.commit, batch.wall, batch.events.iter().map(|event| event.appended(&batch.packed)));
        }
        // Homes found meanwhile were found without these links.
        relinked.into_iter().for_each(|entity| self.homes.forget(entity));
        engine.work.lock().last_commit = Some(Instant::now());
        let last_commit = staged.last().map_or(view.commit, |batch| batch.commit);
        let snapshot = Arc::new(StoreSnapshot::new(engine.lookup.store.clone()));
        engine.views.update(|view| {
            view.commit = last_commit;
            if links_changed {
                view.links_commit = last_commit;
            }
            view.snapshot = snapshot;
            if let Some((active, bound)) = view.actives.last_mut() {
                *bound = active.entry_count();
            }
        });
        let counters = &engine.counters;
        counters.groups.add(staged.len() as u64, began);
        counters.records.fetch_add(records as u64, Ordering::Relaxed);
        counters.log_bytes.fetch_add(log_bytes, Ordering::Relaxed);
        let outcomes = staged.iter().flat_map(|batch| &batch.outcomes);
        let quarantined = outcomes.filter(|outcome| **outcome == Outcome::Quarantined).count();
        counters.links_quarantined.fetch_add(quarantined as u64, Ordering::Relaxed);
        counters.largest_group.fetch_max(staged.len() as u64, Ordering::Relaxed);
        fail::point("commit.after_publish")?;
        Ok(staged.into_iter().map(|batch| Receipt::new(batch.commit, batch.outcomes)).collect())
    }

    /// Stages one batch. Each step is a loop of its own over all its events: most of the time goes
    /// into loads from large tables, and loads of one loop overlap.
    fn stage(&mut self, prepared: &mut Prepared, group: &mut Group<'_>) -> Result<()> {
        let recent: Vec<u32> =
            prepared.names.iter().map(|&name| self.numbers.names.recent(name).unwrap_or(NOWHERE)).collect();
        let mut bytes = Vec::with_capacity(prepared.rests.len() + prepared.work.len() * 24);
        let mut candidates = self.number(prepared, &recent, &mut bytes, group)?;
        self.mark_suspects(&mut candidates, group.view)?;
        let mut candidates = candidates.into_iter();
        for (record, work) in prepared.records.iter().zip(prepared.work.iter_mut()) {
            let outcome = match (record, work) {
                (_, Work::Rejected(rejection)) => Outcome::Rejected(rejection.clone()),
                (Record::Link(change), _) => match self.numbers.erased.refuses_link(change) {
                    Some(rejection) => Outcome::Rejected(rejection),
                    None => self.stage_link(change, prepared.added, group)?,
                },
                (Record::Event(event), _) => {
                    let candidate = candidates.next().expect("each event that was not refused is a candidate");
                    match self.numbers.erased.refuses_event(event) {
                        Some(rejection) => Outcome::Rejected(rejection),
                        None => self.stage_event(event, candidate, &bytes, group)?,
                    }
                }
            };
            let into = group.staged.len() - 1;
            group.staged[into].outcomes.push(outcome);
        }
        Ok(())
    }

    /// Turns the events of a batch into candidates, those with new terms on the slow path.
    fn number(
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
    fn find_entities(&mut self, event: &Event, entities: &mut Numbered) -> Result<()> {
        let store = &self.engine.lookup.store;
        for (entity, number) in event.subjects.iter().chain(&event.context).zip(entities) {
            if *number != NOWHERE {
                continue;
            }
            let kind = self.engine.lookup.terms.read().number_of(&entity.kind);
            if let Some(kind) = kind
                && let Some(known) = self.numbers.names.known(kind, &entity.id, store)?
            {
                *number = known;
            }
        }
        Ok(())
    }

    /// Marks the candidates whose identity may be known.
    fn mark_suspects(&mut self, candidates: &mut [Candidate], view: &View) -> Result<()> {
        let mut known = vec![false; candidates.len()];
        for (active, _) in &view.actives {
            active.mark_known(candidates.iter().map(|candidate| candidate.identity), &mut known);
        }
        let tables = self.engine.lookup.terms.read();
        let runs = Known {
            store: &self.engine.lookup.store,
            tables: &tables,
            actives: &view.actives,
            segments: &view.segments,
            seals: &view.seals,
        };
        for (candidate, known) in candidates.iter_mut().zip(known) {
            candidate.suspect = known || self.dedupe.may_be_sealed(&runs, candidate.identity, candidate.known.time)?;
        }
        Ok(())
    }

    fn stage_event(
        &mut self,
        event: &Event,
        mut candidate: Candidate,
        bytes: &[u8],
        group: &mut Group<'_>,
    ) -> Result<Outcome> {
        let mut row = &bytes[candidate.packed.clone()];
        let mut renamed;
        if candidate.entities.contains(&NOWHERE) {
            // An earlier record of the group may have named what had no name.
            let before = candidate.entities.clone();
            self.find_entities(event, &mut candidate.entities)?;
            if candidate.entities != before {
                renamed = candidate.rename(event, row, &before);
                row = &renamed;
            }
        }
        let found = match self.find_in_group(&candidate, row, group)? {
            Match::New if candidate.suspect => self.find_stored(&candidate, row, group)?,
            found => found,
        };
        match found {
            Match::Same => return Ok(Outcome::Duplicate),
            Match::Other => return Ok(Outcome::Conflict),
            Match::New => {}
        }
        if candidate.entities.contains(&NOWHERE) {
            // Nothing known has the entities that are named now, so the event stays new.
            let before = candidate.entities.clone();
            if let Err(rejection) = self.name_entities(event, &mut candidate.entities, group)? {
                return Ok(Outcome::Rejected(rejection));
            }
            renamed = candidate.rename(event, row, &before);
            row = &renamed;
        }
        let homes = self.homes_of(&candidate, group)?;
        let into = group.staged.len() - 1;
        let place = (candidate.identity, into as u32, group.staged[into].events.len() as u32);
        group.identities.insert_unique(candidate.identity, place, |&(identity, ..)| identity);
        let staged = &mut group.staged[into];
        let from = staged.packed.len();
        staged.packed.extend_from_slice(row);
        let KnownEvent { time, until, shape, severity, .. } = candidate.known;
        let of_customer = candidate.subjects().iter().any(|&subject| subject < FIRST_OTHER);
        staged.events.push(Staged {
            identity: candidate.identity,
            homes,
            packed: from..staged.packed.len(),
            counted: Counted { time, until, shape, severity, of_customer },
            source: candidate.known.source,
        });
        Ok(Outcome::Inserted)
    }

    fn homes_of(&mut self, candidate: &Candidate, group: &mut Group<'_>) -> Result<SmallVec<[u32; 2]>> {
        let engine = &self.engine;
        let commit = group.commit();
        let presence =
            Interval::new(Timestamp::from_nanos(candidate.known.time), Timestamp::from_nanos(candidate.known.until));
        let before = group.placed.subjects.len();
        let homes = self.homes.of(
            candidate.subjects(),
            presence,
            &group.links,
            commit,
            &engine.lookup.store,
            &mut group.batch,
            &mut group.placed,
        )?;
        group.placed.subjects[before..].iter().for_each(|&subject| engine.lookup.links.changed(subject, commit));
        Ok(homes)
    }

    /// Entities whose events may lie elsewhere than the links known from now on would put them: those
    /// below a link that this group says something about, as far as they have events placed, also by the
    /// group itself, customers included. A path through several new links ends behind the last of them.
    fn suspects(&self, group: &Group<'_>) -> Result<BTreeSet<u32>> {
        let mut suspects: BTreeSet<u32> = group.placed.suspects.iter().copied().collect();
        if group.relinked.is_empty() {
            return Ok(suspects);
        }
        suspects.extend(group.relinked.iter().filter(|&&entity| entity < FIRST_OTHER));
        if !group.some_events && group.placed.subjects.is_empty() {
            return Ok(suspects);
        }
        let placed: HashSet<u32> = group.placed.subjects.iter().copied().collect();
        let mut seen: HashSet<u32> = group.relinked.iter().copied().collect();
        let mut frontier: Vec<u32> = seen.iter().copied().collect();
        for _ in 0..=HOPS {
            frontier.sort_unstable();
            let mut below = Vec::new();
            for (outgoing, &entity) in group.links.outgoing_of(&frontier)?.iter().zip(&frontier) {
                if !outgoing.placements.is_empty() || placed.contains(&entity) || entity < FIRST_OTHER {
                    suspects.insert(entity);
                }
                below.extend(outgoing.edges.iter().map(|edge| edge.other).filter(|&other| seen.insert(other)));
            }
            frontier = below;
            if frontier.is_empty() {
                break;
            }
        }
        Ok(suspects)
    }

    /// Gives numbers to the entities of `event` that have none, in the order in which it names them.
    fn name_entities(&mut self, event: &Event, entities: &mut Numbered, group: &mut Group<'_>) -> Numbering<()> {
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

    pub(super) fn number_entity(&mut self, entity: &Entity, batch: &mut StoreBatch) -> Numbering<u32> {
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

    /// Looks the event up among those staged before it. Equal events have equal packed rows.
    fn find_in_group(&self, candidate: &Candidate, row: &[u8], group: &Group<'_>) -> Result<Match> {
        let mut found = Match::New;
        let mut failure = None;
        group.identities.find(candidate.identity, |&(known, batch, at)| {
            if known != candidate.identity {
                return false;
            }
            let batch = &group.staged[batch as usize];
            let other = &batch.events[at as usize];
            match self.compare(candidate, row, other, &batch.packed[other.packed.clone()]) {
                Ok(compared) => found = compared,
                Err(error) => failure = Some(error),
            }
            found != Match::New || failure.is_some()
        });
        failure.map_or(Ok(found), Err)
    }

    fn compare(&self, candidate: &Candidate, row: &[u8], other: &Staged, other_row: &[u8]) -> Result<Match> {
        if row == other_row {
            return Ok(Match::Same);
        }
        if !candidate.known.has_id || candidate.known.source != other.source {
            return Ok(Match::New);
        }
        let tables = self.engine.lookup.terms.read();
        let (event, other) = (unpack(row, &tables)?, unpack(other_row, &tables)?);
        Ok(if event.id == other.id && event.time == other.time { Match::Other } else { Match::New })
    }

    fn find_stored(&mut self, candidate: &Candidate, row: &[u8], group: &Group<'_>) -> Result<Match> {
        let tables = self.engine.lookup.terms.read();
        let event = unpack(row, &tables)?;
        let known = Known {
            store: &self.engine.lookup.store,
            tables: &tables,
            actives: &group.view.actives,
            segments: &group.view.segments,
            seals: &group.view.seals,
        };
        self.dedupe.find(&known, candidate.identity, &event, &mut || homes_of_subjects(&event, &group.links))
    }

    /// Puts a commit without records.
    pub(super) fn put_empty_commit(&self, active: &Active, commit: u64, wall: i64, batch: &mut StoreBatch) {
        let row = LogRow {
            wall,
            events: 0,
            packed: Vec::new(),
            lengths: Vec::new(),
            homes: Vec::new(),
            several_homes: false,
        };
        let key = key::log(active.number(), commit);
        batch.put(&self.engine.lookup.store, Family::Log, &key, &record::encode(&row));
    }

    fn freeze_if_full(&mut self) {
        let view = self.engine.views.load();
        let (active, _) = view.actives.last().expect("a view has an active segment");
        let full = active.event_count() >= self.engine.settings.segment_events
            || active.commit_count() >= SEGMENT_COMMITS_MAX
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
        if self.engine.work.lock().seals > FROZEN_MAX {
            self.stall();
        }
    }

    /// Lets the sealer catch up.
    fn stall(&self) {
        let began = Instant::now();
        let stalled = |stalled| self.engine.work.lock().stalled = stalled;
        stalled(true);
        let _ = self.engine.wait_for(|work| work.seals <= FROZEN_MAX || work.stopping);
        stalled(false);
        self.engine.counters.stalls.add(1, began);
        tracing::warn!(took = ?began.elapsed(), "commits waited for seals");
    }

    /// Publishes a view that holds back nothing deleted since the last commit. Only this thread may:
    /// in another, the storage snapshot could fall between a commit's write and its publication.
    fn refresh(&mut self) {
        let snapshot = Arc::new(StoreSnapshot::new(self.engine.lookup.store.clone()));
        self.engine.views.update(|view| view.snapshot = snapshot);
    }
}

/// Appends the packed row of an event, as [`RawEvent::pack`] does.
fn pack(known: &KnownEvent, entities: &[u32], rest: &[u8], out: &mut Vec<u8>) {
    RawEvent::pack_head(known.time, known.shape, known.severity, entities, out);
    out.extend_from_slice(rest);
}

fn unpack(row: &[u8], tables: &crate::dictionary::TermTables) -> Result<RawEvent> {
    RawEvent::unpack(&mut Reader::new(row), tables)
}

/// Where events with the subjects of `event` may lie.
pub(super) fn homes_of_subjects(event: &RawEvent, links: &LinkView<'_>) -> Result<Vec<u32>> {
    let mut homes = event.subjects.to_vec();
    let mut subjects = event.subjects.to_vec();
    subjects.sort_unstable();
    for outgoing in links.outgoing_of(&subjects)? {
        homes.extend(outgoing.placements.iter().map(|placement| placement.home));
    }
    if homes.is_empty() {
        homes.push(NOWHERE);
    }
    homes.sort_unstable();
    homes.dedup();
    Ok(homes)
}

impl Group<'_> {
    /// The commit that is being staged.
    pub(super) fn commit(&self) -> u64 {
        self.staged[self.staged.len() - 1].commit
    }
}

impl Candidate {
    /// The packed row with the entities as they are now instead of `before`; the identity follows.
    fn rename(&mut self, event: &Event, row: &[u8], before: &[u32]) -> Vec<u8> {
        let KnownEvent { time, shape, severity, source, .. } = self.known;
        let mut head = Vec::new();
        RawEvent::pack_head(time, shape, severity, before, &mut head);
        let mut renamed = Vec::with_capacity(row.len());
        pack(&self.known, &self.entities, &row[head.len()..], &mut renamed);
        self.identity = identity_of(event.id.as_ref(), time, source, &renamed);
        renamed
    }

    fn subjects(&self) -> &[u32] {
        &self.entities[..usize::from(self.known.subjects)]
    }
}

impl Staged {
    fn appended<'a>(&'a self, packed: &'a [u8]) -> Appended<'a> {
        Appended {
            identity: self.identity,
            homes: &self.homes,
            packed: &packed[self.packed.clone()],
            counted: self.counted,
        }
    }
}

impl StagedBatch {
    fn new(commit: u64, prepared: &Prepared) -> StagedBatch {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
        let records = prepared.records.len();
        StagedBatch {
            commit,
            wall,
            packed: Vec::with_capacity(prepared.rests.len() + records * 24),
            events: Vec::with_capacity(records),
            outcomes: Vec::with_capacity(records),
        }
    }

    /// The bytes of the batch's row in the log.
    fn log_row(&mut self) -> Vec<u8> {
        let several_homes = self.events.iter().any(|event| event.homes.len() != 1);
        let mut lengths = Vec::with_capacity(self.events.len() * 2);
        for event in &self.events {
            varint::put(&mut lengths, event.packed.len() as u64);
        }
        let mut homes = Vec::with_capacity(self.events.len() * 4);
        for event in &self.events {
            if several_homes {
                varint::put(&mut homes, event.homes.len() as u64);
            }
            event.homes.iter().for_each(|home| homes.extend_from_slice(&home.to_le_bytes()));
        }
        let row = LogRow {
            wall: self.wall,
            events: self.events.len() as u32,
            packed: std::mem::take(&mut self.packed),
            lengths,
            homes,
            several_homes,
        };
        let bytes = record::encode(&row);
        self.packed = row.packed;
        bytes
    }
}
