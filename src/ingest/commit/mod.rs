//! The commit thread: gives numbers, finds duplicates, writes, syncs, publishes.

mod group;
mod number;
mod stage;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender};

use crate::codec::key;
use crate::codec::record::{self, Counts, LogRow};
use crate::error::{Error, Result};
use crate::fail;
use crate::ingest::batch::{Answer, Receipt};
use crate::ingest::engine::{Engine, Request};
use crate::ingest::home::{Homes, Placed};
use crate::ingest::links::{Fanout, Stated};
use crate::ingest::prepare::Prepared;
use crate::model::{Entity, Outcome};
use crate::segment::{Active, Dedupe, put_counts};
use crate::store::{Batch as StoreBatch, Family, StoreSnapshot};
use crate::topology::{LinkView, put_suspect};

pub(super) use group::Group;
pub(super) use number::Numbers;
pub(super) use stage::homes_of_subjects;

use group::{GroupIdentities, StagedBatch};

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

pub(crate) struct Committer {
    pub(crate) engine: Arc<Engine>,
    pub(super) numbers: Numbers,
    pub(super) homes: Homes,
    pub(super) fanout: Fanout,
    dedupe: Dedupe,
    /// Packed rows of events without an id that an erasure is about to publish: they are known already.
    coming: HashSet<Vec<u8>>,
    to_seal: Sender<Arc<Active>>,
}

impl Committer {
    pub(super) fn new(engine: &Arc<Engine>, numbers: Numbers, to_seal: Sender<Arc<Active>>) -> Committer {
        Committer {
            engine: engine.clone(),
            numbers,
            homes: Homes::default(),
            fanout: Fanout::new(),
            dedupe: Dedupe::new(FILTER_CACHE_BYTES),
            coming: HashSet::new(),
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
                        let actives = &self.engine.views.load().actives;
                        let (active, _) = actives.last().expect("a view has an active segment");
                        // Whoever asked may have gone.
                        let _ = reply.send(active.number());
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
        // What is lent since is not for those that were in time.
        let writable = self.engine.check_writable().and_then(|()| self.engine.lookup.store.check_room());
        let committed = match writable {
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
                    std::thread::sleep(std::time::Duration::from_millis(50));
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
        self.numbers.names.age();
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

    /// Writes what no commit knows of, and shows it to new snapshots.
    pub(crate) fn write_meta(&mut self, batch: StoreBatch) -> Result<()> {
        self.engine.or_poison(self.engine.lookup.store.write(batch, true))?;
        self.refresh();
        Ok(())
    }

    /// Whether one of these texts is the name of somebody who was erased, as an id or as `type:id`. Of what was
    /// theirs the name may be another's by now.
    pub(crate) fn may_mean_erased(&mut self, texts: &[String]) -> Result<bool> {
        for text in texts {
            let customer = Entity::new(self.engine.lookup.customer_type.clone(), text.as_str());
            for entity in [Some(customer), text.parse().ok()].into_iter().flatten() {
                if self.numbers.erased.is_listed(&entity) && self.known(&entity)?.is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
