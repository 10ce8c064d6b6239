//! A store's shared state: opening, and what the threads and the readers have in common.

use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::{Condvar, Mutex};

use crate::codec::key;
use crate::codec::record::Manifest;
use crate::dictionary::{NameHasher, NameReader, NameWriter, TermLimits, TermWriter};
use crate::error::{Error, ErrorKind, Result};
use crate::fail;
use crate::index::PageCache;
use crate::ingest::background;
use crate::ingest::batch::Answer;
use crate::ingest::commit::{Committer, Numbers};
use crate::ingest::erased::{Begun, Erased};
use crate::ingest::health::Health;
use crate::ingest::metrics::{CacheMetrics, Counters, Metrics};
use crate::ingest::prepare::Prepared;
use crate::ingest::recovery::{Recovery, check_ends, drop_unlisted, open_header, replay, try_torn};
use crate::model::{Limits, Text};
use crate::segment::{
    Active, Graveyard, Leftover, Lookup, Seal, Segment, View, Views, load_counts, load_manifest, put_manifest,
};
use crate::store::{Batch as StoreBatch, Family, Setup, Store, StoreSnapshot};
use crate::topology::{DependentsCache, LinkCache, load_quarantined};

/// Memory of the cache of links.
pub(super) const LINK_CACHE_BYTES: usize = 64 << 20;
/// Memory of the cache of who depends on what.
pub(super) const DEPENDENTS_CACHE_BYTES: usize = 64 << 20;
/// Requests that may wait for the commit thread.
const REQUESTS_MAX: usize = 16;

/// What a store is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) create: bool,
    pub(crate) allow_open_permissions: bool,
    pub(crate) customer_type: Text,
    pub(crate) sync: bool,
    pub(crate) segment_events: usize,
    pub(crate) block_cache_bytes: usize,
    pub(crate) name_cache_bytes: usize,
    pub(crate) index_cache_bytes: usize,
    pub(crate) reserve_bytes: u64,
    pub(crate) preallocate: bool,
    pub(crate) limits: Limits,
    /// Whether a salvage into the store may be unfinished: for the salvage itself.
    pub(crate) unfinished: bool,
}

impl Settings {
    /// What of them the storage is opened with.
    pub(super) fn setup(&self) -> Setup {
        Setup {
            create: self.create,
            allow_open: self.allow_open_permissions,
            cache_bytes: self.block_cache_bytes,
            reserve_bytes: self.reserve_bytes,
            preallocate: self.preallocate,
            unfinished: self.unfinished,
        }
    }
}

/// What the commit thread is asked for.
pub(crate) enum Request {
    Commit {
        prepared: Prepared,
        reply: Sender<Answer>,
    },
    /// Freeze the active segment, so that it is sealed; answered with the number of the one that follows.
    Freeze {
        reply: Sender<u32>,
    },
    /// Let go of what was deleted since the last commit.
    Refresh {
        reply: Sender<()>,
    },
    /// Do something while no commit is under way.
    Run(Act),
}

/// What the commit thread does for another.
pub(crate) type Act = Box<dyn FnOnce(&mut Committer) + Send>;

/// Work that waits or runs behind the commits.
#[derive(Default)]
pub(crate) struct Work {
    /// Frozen segments not yet sealed.
    pub(crate) seals: usize,
    /// Those sealed since the store was opened.
    pub(crate) sealed: u64,
    /// When the last commit was written; merges give way to commits for a while.
    pub(crate) last_commit: Option<Instant>,
    /// How many wait for all of this to be done; merges do not wait for commits then.
    pub(crate) awaited: usize,
    /// Whether a merge runs.
    pub(crate) merging: bool,
    /// Whether the merge thread found nothing more to do.
    pub(crate) merged: bool,
    /// Whether it found something that the disk has no room for.
    pub(crate) put_off: bool,
    /// Whether the commit thread waits for seals.
    pub(crate) stalled: bool,
    pub(crate) stopping: bool,
}

/// What commits, seals, merges and readers share.
pub(crate) struct Engine {
    pub(crate) lookup: Arc<Lookup>,
    pub(crate) recovery: Recovery,
    pub(crate) settings: Settings,
    pub(crate) name_hasher: NameHasher,
    pub(crate) views: Views,
    pub(crate) manifest: Mutex<Manifest>,
    pub(crate) next_segment: AtomicU32,
    pub(crate) work: Mutex<Work>,
    pub(crate) work_changed: Condvar,
    pub(crate) graveyard: Graveyard,
    /// Held by whoever takes segments out of the manifest, from reading the list to publishing another.
    pub(crate) rewriting: Mutex<()>,
    /// Erasures begun and not ended.
    pub(crate) erasures_unfinished: AtomicU64,
    pub(crate) counters: Counters,
    poison: OnceLock<Arc<Error>>,
}

/// The threads of a store and the way to ask them.
pub(crate) struct Threads {
    pub(crate) requests: Option<Sender<Request>>,
    handles: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Opens or creates a store, replays what was not sealed, and starts its threads. Returns also what
    /// erasures were cut short.
    pub(crate) fn open(path: &Path, settings: Settings) -> Result<(Arc<Engine>, Threads, Vec<Begun>)> {
        let began = Instant::now();
        let _span = tracing::info_span!("open", create = settings.create).entered();
        try_torn(path, &settings)?;
        let store = Arc::new(Store::open(path, settings.setup())?);
        fail::point("open.before_header")?;
        let header = open_header(&store, &settings)?;
        fail::point("open.after_header")?;
        let mut manifest = load_manifest(&store)?;
        let merged_away = manifest.garbage.clone();
        let dropped = drop_unlisted(&store, &mut manifest)?;
        fail::point("open.after_drop")?;
        let erased = Erased::open(&store)?;
        // Before there are threads: one that meets a full disk must not keep a store closed that has none.
        let pending = erased.pending();
        let terms = TermWriter::open(&store, TermLimits::default())?;
        let snapshot = Arc::new(StoreSnapshot::new(store.clone()));
        let counts = load_counts(&snapshot)?;
        let names = NameWriter::open(&store, settings.name_cache_bytes / 2, counts.entities)?;
        let (graveyard, buried) = unbounded();
        let segments = manifest
            .segments
            .iter()
            .map(|meta| Segment::open(&store, meta.clone(), graveyard.clone()).map(Arc::new))
            .collect::<Result<Vec<_>>>()?;
        check_ends(&store, &segments)?;
        let seals = manifest.seals.iter().map(|meta| Arc::new(Seal::new(meta.clone(), graveyard.clone()))).collect();
        let replayed = replay(&store, &terms.terms(), manifest.trimmed)?;
        fail::point("open.after_replay")?;
        let next_segment = replayed.actives.iter().map(|active| active.number() + 1).max().unwrap_or(0);
        let next_segment = AtomicU32::new(next_segment.max(manifest.next_segment));
        let found = store.found();
        let mut recovery = Recovery {
            last_commit: replayed.last_commit,
            commits_replayed: replayed.last_commit - manifest.trimmed,
            events_replayed: replayed.events,
            log_files: found.log.files,
            log_bytes: found.log.bytes,
            torn_bytes: found.log.torn_bytes,
            staged_files_removed: found.staged_files,
            files_put_back: found.put_back,
            seals_due: (replayed.actives.len() as u64).saturating_sub(1),
            erasures_finished: pending.len() as u64,
            ..Recovery::default()
        };
        recovery.tell_dropped(&dropped, &merged_away, &replayed.actives);
        let mut actives = replayed.actives;
        if actives.is_empty() {
            actives.push(Arc::new(Active::new(next_segment.fetch_add(1, Ordering::Relaxed))));
        }
        let view = View {
            commit: replayed.last_commit,
            links_commit: replayed.last_commit,
            snapshot,
            segments: Arc::new(segments),
            seals: Arc::new(seals),
            totals: Arc::new(manifest.totals.clone()),
            erased: Arc::new(erased.numbers()),
            actives: actives.iter().map(|active| (active.clone(), active.entry_count())).collect(),
        };
        let frozen: Vec<Arc<Active>> = actives[..actives.len() - 1].to_vec();
        let lookup = Arc::new(Lookup {
            names: NameReader::new(store.clone(), names.hasher(), settings.name_cache_bytes / 2),
            links: LinkCache::new(LINK_CACHE_BYTES),
            dependents: DependentsCache::new(DEPENDENTS_CACHE_BYTES),
            pages: PageCache::new(settings.index_cache_bytes),
            customer_type: Text::from(header.customer_type),
            terms: terms.terms(),
            store,
        });
        recovery.took = began.elapsed();
        tracing::info!(
            last_commit = recovery.last_commit,
            commits_replayed = recovery.commits_replayed,
            events_replayed = recovery.events_replayed,
            torn_bytes = recovery.torn_bytes,
            clean = recovery.was_clean(),
            took = ?recovery.took,
            "recovered"
        );
        let engine = Arc::new(Engine {
            lookup,
            recovery,
            name_hasher: names.hasher(),
            views: Views::new(view),
            manifest: Mutex::new(manifest),
            next_segment,
            work: Mutex::new(Work { seals: frozen.len(), ..Work::default() }),
            work_changed: Condvar::new(),
            graveyard,
            counters: Counters::default(),
            rewriting: Mutex::new(()),
            erasures_unfinished: AtomicU64::new(pending.len() as u64),
            poison: OnceLock::new(),
            settings,
        });
        let threads = start(&engine, Numbers { terms, names, links: counts.links, erased }, frozen, buried)?;
        Ok((engine, threads, pending))
    }

    /// Refuses to write after a failed write.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match self.poison.get() {
            Some(cause) => {
                let told = format!("an earlier write failed ({cause}); reopen the store");
                Err(Error::new(ErrorKind::Poisoned, told).because(cause.clone()))
            }
            None => Ok(()),
        }
    }

    /// Refuses to take on more after a failed write, and while the disk is full.
    pub(crate) fn check_room(&self) -> Result<()> {
        self.check_writable()?;
        self.lookup.store.check_room()
    }

    /// Whether the store is well.
    pub(crate) fn health(&self) -> Result<Health> {
        let store = &self.lookup.store;
        let (seals_waiting, commits_stalled, merges_put_off) = {
            let work = self.work.lock();
            (work.seals, work.stalled, work.put_off)
        };
        Ok(Health {
            poisoned: self.poison.get().cloned(),
            short_of_room: store.is_short(),
            free_bytes: store.free_bytes()?,
            links_quarantined: load_quarantined(&self.views.load().snapshot)?,
            seals_waiting,
            commits_stalled,
            merges_put_off,
            background_errors: store.background_errors(),
            erasures_unfinished: self.erasures_unfinished.load(Ordering::Relaxed),
        })
    }

    /// What was done since the store was opened; `requests_waiting` is for whoever has the channel.
    pub(crate) fn metrics(&self) -> Metrics {
        let [names, numbers] = self.lookup.names.hits_and_misses();
        Metrics {
            background_errors: self.lookup.store.background_errors(),
            name_cache: CacheMetrics::new(names),
            number_cache: CacheMetrics::new(numbers),
            link_cache: CacheMetrics::new(self.lookup.links.hits_and_misses()),
            dependents_cache: CacheMetrics::new(self.lookup.dependents.hits_and_misses()),
            page_cache: CacheMetrics::new(self.lookup.pages.hits_and_misses()),
            ..self.counters.read()
        }
    }

    /// Passes an outcome on; a failure closes the store for writing.
    pub(crate) fn or_poison<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| Error::again(&self.poison(error)))
    }

    /// Closes the store for writing, keeping the first cause. Returns this one.
    pub(crate) fn poison(&self, cause: Error) -> Arc<Error> {
        let cause = Arc::new(cause);
        if self.poison.set(cause.clone()).is_ok() {
            tracing::error!(kind = ?cause.kind(), place = cause.place(), "closed for writing");
        }
        // Under the lock, so that nobody falls asleep between looking and waiting.
        let _work = self.work.lock();
        self.work_changed.notify_all();
        cause
    }

    /// Puts the manifest into `batch`, changed by `change`, writes it durably, and shows it by `show`; not if
    /// another thread's write failed meanwhile. Nobody changes the manifest in between.
    pub(crate) fn write_manifest(
        &self,
        mut batch: StoreBatch,
        change: impl FnOnce(&mut Manifest, &mut StoreBatch) -> Result<()>,
        show: impl FnOnce(&mut View, &Manifest),
    ) -> Result<()> {
        self.check_writable()?;
        let mut manifest = self.manifest.lock();
        let mut next = manifest.clone();
        change(&mut next, &mut batch)?;
        next.next_segment = self.next_segment.load(Ordering::Relaxed);
        put_manifest(&self.lookup.store, &mut batch, &next);
        self.lookup.store.write(batch, true)?;
        *manifest = next;
        self.views.update(|view| show(view, &manifest));
        Ok(())
    }

    /// Frees the space of log rows that were trimmed.
    pub(crate) fn reclaim_log(&self) -> Result<()> {
        let first = self.views.load().actives.first().map_or(0, |(active, _)| active.number());
        self.lookup.store.reclaim(Family::Log, &key::log(0, 0), &key::log(first, 0))
    }

    /// Waits until nothing is left to seal or to merge.
    pub(crate) fn wait_for_work(&self) -> Result<()> {
        {
            let mut work = self.work.lock();
            work.awaited += 1;
            // Readers may have let go of rows meanwhile, and there may be room by now.
            work.merged = false;
        }
        let outcome = self.wait_for(|work| work.seals == 0 && work.merged && !work.merging);
        self.work.lock().awaited -= 1;
        outcome
    }

    /// Seals what is in memory, however much comes after it.
    pub(crate) fn seal_all(&self, requests: Option<&Sender<Request>>) -> Result<()> {
        let gone = || Error::new(ErrorKind::Poisoned, "the commit thread is gone; reopen the store");
        let (reply, frozen) = bounded(1);
        self.check_writable()?;
        requests.ok_or_else(gone)?.send(Request::Freeze { reply }).map_err(|_| gone())?;
        let next = frozen.recv().map_err(|_| gone())?;
        let is_sealed = || self.views.load().actives.first().is_none_or(|(active, _)| active.number() >= next);
        self.wait_for(|_| is_sealed())
    }

    /// Waits until `done` says so or the store is poisoned.
    pub(crate) fn wait_for(&self, mut done: impl FnMut(&Work) -> bool) -> Result<()> {
        let mut work = self.work.lock();
        loop {
            self.check_writable()?;
            if done(&work) {
                return Ok(());
            }
            self.work_changed.wait(&mut work);
        }
    }
}

impl Threads {
    /// Lets the threads finish what they are at, and waits for them.
    pub(crate) fn stop(&mut self, engine: &Engine) {
        self.requests = None;
        engine.work.lock().stopping = true;
        engine.work_changed.notify_all();
        for handle in self.handles.drain(..) {
            // A thread that panicked has poisoned nothing that outlives it.
            let _ = handle.join();
        }
    }
}

/// Does what a thread of the store is for; its panic is a failure like others.
fn or_poison_of_panic(engine: &Engine, body: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_err() {
        engine.poison(Error::new(ErrorKind::Poisoned, "a background thread panicked"));
    }
}

type ThreadBody = Box<dyn FnOnce(&Arc<Engine>) + Send>;

fn start(
    engine: &Arc<Engine>,
    numbers: Numbers,
    frozen: Vec<Arc<Active>>,
    buried: Receiver<Leftover>,
) -> Result<Threads> {
    let (requests, requested) = bounded(REQUESTS_MAX);
    let (to_seal, sealing) = unbounded();
    for active in frozen {
        to_seal.send(active).expect("the receiver is in scope");
    }
    let mut handles = Vec::new();
    let mut spawn = |name: &str, body: ThreadBody| -> Result<()> {
        let engine = engine.clone();
        let guarded = move || {
            or_poison_of_panic(&engine, || body(&engine));
        };
        handles.push(std::thread::Builder::new().name(format!("ofone-{name}")).spawn(guarded)?);
        Ok(())
    };
    let commit = move |engine: &Arc<Engine>| {
        or_poison_of_panic(engine, || Committer::new(engine, numbers, to_seal).run(&requested));
        // After a panic some may still wait for an answer, and others ask: they hear that there is none.
        requested.iter().for_each(drop);
    };
    spawn("commit", Box::new(commit))?;
    spawn("seal", Box::new(move |engine| background::run_seals(engine, &sealing)))?;
    spawn("merge", Box::new(move |engine| background::run_merges(engine, &buried)))?;
    Ok(Threads { requests: Some(requests), handles })
}
