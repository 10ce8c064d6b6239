//! A store's shared state: opening, recovery, and what the threads and the readers have in common.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;

use crate::codec::key;
use crate::codec::raw::RawEvent;
use crate::codec::record::{self, Header, LogRow, Manifest};
use crate::codec::varint::Reader;
use crate::dictionary::{NameHasher, NameReader, NameWriter, TermLimits, TermWriter, Terms};
use crate::error::{Error, ErrorKind, Result};
use crate::index::PageCache;
use crate::ingest::background;
use crate::ingest::batch::Answer;
use crate::ingest::commit::{Committer, Numbers};
use crate::ingest::gate;
use crate::ingest::health::Health;
use crate::ingest::prepare::Prepared;
use crate::model::{Limits, Text};
use crate::segment::{
    Active, Appended, Counted, Lookup, Segment, View, Views, identity, load_counts, load_header, load_manifest,
    put_header, put_manifest,
};
use crate::store::{Batch as StoreBatch, Family, Setup, Store, StoreSnapshot};
use crate::topology::{DependentsCache, LinkCache};

/// Version of the layout of bytes on disk; see docs/format.md.
const FORMAT: u32 = 2;
/// Memory of the cache of links.
const LINK_CACHE_BYTES: usize = 64 << 20;
/// Memory of the cache of who depends on what.
const DEPENDENTS_CACHE_BYTES: usize = 64 << 20;
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
    pub(crate) limits: Limits,
}

/// What the commit thread is asked for.
pub(crate) enum Request {
    Commit {
        prepared: Prepared,
        reply: Sender<Answer>,
    },
    /// Freeze the active segment, so that it is sealed; answered once it is frozen.
    Freeze {
        reply: Sender<()>,
    },
    /// Let go of what was deleted since the last commit.
    Refresh {
        reply: Sender<()>,
    },
}

/// Work that waits or runs behind the commits.
#[derive(Default)]
pub(crate) struct Work {
    /// Frozen segments not yet sealed.
    pub(crate) seals: usize,
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
    pub(crate) settings: Settings,
    pub(crate) name_hasher: NameHasher,
    pub(crate) views: Views,
    pub(crate) manifest: Mutex<Manifest>,
    pub(crate) next_segment: AtomicU32,
    pub(crate) work: Mutex<Work>,
    pub(crate) work_changed: Condvar,
    pub(crate) graveyard: Sender<u32>,
    poison: OnceLock<Arc<Error>>,
}

/// The threads of a store and the way to ask them.
pub(crate) struct Threads {
    pub(crate) requests: Option<Sender<Request>>,
    handles: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Opens or creates a store, replays what was not sealed, and starts its threads.
    pub(crate) fn open(path: &Path, settings: Settings) -> Result<(Arc<Engine>, Threads)> {
        let setup = Setup {
            create: settings.create,
            allow_open: settings.allow_open_permissions,
            cache_bytes: settings.block_cache_bytes,
            reserve_bytes: settings.reserve_bytes,
        };
        let store = Arc::new(Store::open(path, setup)?);
        let header = open_header(&store, &settings)?;
        let mut manifest = load_manifest(&store)?;
        drop_unlisted(&store, &mut manifest)?;
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
        let replayed = replay(&store, &terms.terms(), manifest.trimmed)?;
        let next_segment = replayed.actives.iter().map(|active| active.number() + 1).max().unwrap_or(0);
        let next_segment = AtomicU32::new(next_segment.max(manifest.next_segment));
        let mut actives = replayed.actives;
        if actives.is_empty() {
            actives.push(Arc::new(Active::new(next_segment.fetch_add(1, Ordering::Relaxed))));
        }
        let view = View {
            commit: replayed.last_commit,
            links_commit: replayed.last_commit,
            snapshot,
            segments: Arc::new(segments),
            seals: Arc::new(manifest.seals.clone()),
            totals: Arc::new(manifest.totals.clone()),
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
        let engine = Arc::new(Engine {
            lookup,
            name_hasher: names.hasher(),
            views: Views::new(view),
            manifest: Mutex::new(manifest),
            next_segment,
            work: Mutex::new(Work { seals: frozen.len(), ..Work::default() }),
            work_changed: Condvar::new(),
            graveyard,
            poison: OnceLock::new(),
            settings,
        });
        let threads = start(&engine, Numbers { terms, names, links: counts.links }, frozen, buried)?;
        Ok((engine, threads))
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
            seals_waiting,
            commits_stalled,
            merges_put_off,
            background_errors: store.background_errors(),
        })
    }

    /// Passes an outcome on; a failure closes the store for writing.
    pub(crate) fn or_poison<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| Error::again(&self.poison(error)))
    }

    /// Closes the store for writing, keeping the first cause. Returns this one.
    pub(crate) fn poison(&self, cause: Error) -> Arc<Error> {
        let cause = Arc::new(cause);
        let _ = self.poison.set(cause.clone());
        // Under the lock, so that nobody falls asleep between looking and waiting.
        let _work = self.work.lock();
        self.work_changed.notify_all();
        cause
    }

    /// Puts the manifest into `batch`, changed by `change`, and writes it durably, unless another thread's
    /// write failed meanwhile.
    pub(crate) fn write_manifest(
        &self,
        mut batch: StoreBatch,
        change: impl FnOnce(&mut Manifest, &mut StoreBatch),
    ) -> Result<Manifest> {
        self.check_writable()?;
        let mut manifest = self.manifest.lock();
        let mut next = manifest.clone();
        change(&mut next, &mut batch);
        next.next_segment = self.next_segment.load(Ordering::Relaxed);
        put_manifest(&self.lookup.store, &mut batch, &next);
        self.lookup.store.write(batch, true)?;
        *manifest = next.clone();
        Ok(next)
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
            // There may be room by now.
            work.merged &= !work.put_off;
        }
        let outcome = self.wait_for(|work| work.seals == 0 && work.merged && !work.merging);
        self.work.lock().awaited -= 1;
        outcome
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

type ThreadBody = Box<dyn FnOnce(&Arc<Engine>) + Send>;

fn start(engine: &Arc<Engine>, numbers: Numbers, frozen: Vec<Arc<Active>>, buried: Receiver<u32>) -> Result<Threads> {
    let (requests, requested) = bounded(REQUESTS_MAX);
    let (to_seal, sealing) = unbounded();
    for active in frozen {
        to_seal.send(active).expect("the receiver is in scope");
    }
    let mut handles = Vec::new();
    let mut spawn = |name: &str, body: ThreadBody| -> Result<()> {
        let engine = engine.clone();
        let guarded = move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&engine)));
            if outcome.is_err() {
                engine.poison(Error::new(ErrorKind::Poisoned, "a background thread panicked"));
            }
        };
        handles.push(std::thread::Builder::new().name(format!("ofone-{name}")).spawn(guarded)?);
        Ok(())
    };
    spawn("commit", Box::new(move |engine| Committer::new(engine, numbers, to_seal).run(&requested)))?;
    spawn("seal", Box::new(move |engine| background::run_seals(engine, &sealing)))?;
    spawn("merge", Box::new(move |engine| background::run_merges(engine, &buried)))?;
    Ok(Threads { requests: Some(requests), handles })
}

fn open_header(store: &Store, settings: &Settings) -> Result<Header> {
    match load_header(store)? {
        Some(header) if header.format == FORMAT => Ok(header),
        Some(header) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("the store has format {}, this version reads {FORMAT}", header.format),
        )),
        None => {
            gate::check_customer_type(&settings.customer_type, &settings.limits)
                .map_err(|rejection| Error::invalid(rejection.reason()))?;
            let header = Header { format: FORMAT, customer_type: settings.customer_type.to_string() };
            let mut batch = StoreBatch::default();
            put_header(store, &mut batch, &header);
            store.write(batch, true)?;
            Ok(header)
        }
    }
}

/// Drops what a crash left unlisted: rows of half-done seals and merges, and of segments merged away.
fn drop_unlisted(store: &Store, manifest: &mut Manifest) -> Result<()> {
    let segments: HashSet<u32> = manifest.segments.iter().map(|segment| segment.number).collect();
    let seals: HashSet<u32> = manifest.seals.iter().map(|seal| seal.number).collect();
    for (family, listed) in [(Family::Rows, &segments), (Family::Index, &segments), (Family::Dedupe, &seals)] {
        for number in numbers_of(store, family)? {
            if !listed.contains(&number) {
                background::drop_number(store, family, number)?;
            }
        }
    }
    if !manifest.garbage.is_empty() {
        manifest.garbage.clear();
        let mut batch = StoreBatch::default();
        put_manifest(store, &mut batch, manifest);
        store.write(batch, true)?;
    }
    Ok(())
}

/// The segment or seal numbers that some key of the family begins with: one seek each.
fn numbers_of(store: &Store, family: Family) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    let mut cursor = store.cursor(family, true);
    let mut next = Some(0u32);
    while let Some(from) = next {
        next = match cursor.seek(&from.to_be_bytes())? {
            Some((key, _)) => {
                let number = key::leading_number(key)?;
                numbers.push(number);
                number.checked_add(1)
            }
            None => None,
        };
    }
    Ok(numbers)
}

struct Replayed {
    actives: Vec<Arc<Active>>,
    last_commit: u64,
}

/// Builds the segments in memory again from the log. Commits are numbered without gaps, so a
/// missing one is damage, not a short log.
fn replay(store: &Store, terms: &Terms, trimmed: u64) -> Result<Replayed> {
    let mut actives: Vec<Arc<Active>> = Vec::new();
    let mut last_commit = trimmed;
    let mut cursor = store.cursor(Family::Log, true);
    let mut entry = cursor.seek(&key::log(0, 0))?;
    let tables = terms.read();
    while let Some((key, value)) = entry {
        let (segment, commit) = key::parse_log(key)?;
        let place = || format!("log row of commit {commit}");
        if commit != last_commit + 1 {
            return Err(Error::corrupt(format!("commit {} is missing", last_commit + 1)).at(place()));
        }
        if actives.last().is_none_or(|active| active.number() != segment) {
            actives.push(Arc::new(Active::new(segment)));
        }
        let row: LogRow = record::decode(value).map_err(|error| error.at(place()))?;
        let active = actives.last().expect("one was pushed");
        replay_row(active, commit, &row, &tables).map_err(|error| error.at(place()))?;
        last_commit = commit;
        entry = cursor.advance()?;
    }
    Ok(Replayed { actives, last_commit })
}

fn replay_row(active: &Active, commit: u64, row: &LogRow, tables: &crate::dictionary::TermTables) -> Result<()> {
    let mismatch = || Error::corrupt("lengths do not fit the rows");
    let mut events = Vec::new();
    let mut lengths = Reader::new(&row.lengths);
    let mut homes = Reader::new(&row.homes);
    let mut at = 0usize;
    for _ in 0..row.events {
        let length = lengths.varint_u32()? as usize;
        let packed = at.checked_add(length).and_then(|to| row.packed.get(at..to)).ok_or_else(mismatch)?;
        let mut reader = Reader::new(packed);
        let event = RawEvent::unpack(&mut reader, tables)?;
        reader.finish()?;
        let count = if row.several_homes { homes.length()? } else { 1 };
        let mut event_homes: SmallVec<[u32; 2]> = SmallVec::new();
        for _ in 0..count {
            event_homes.push(u32::from_le_bytes(homes.array()?));
        }
        let source = tables.shape(event.shape)?.shape.source;
        events.push((
            identity(event.id.as_ref(), event.time, source, packed),
            event_homes,
            packed,
            Counted::of(&event),
        ));
        at += length;
    }
    lengths.finish()?;
    homes.finish()?;
    if at != row.packed.len() {
        return Err(mismatch());
    }
    let appended = events.iter().map(|(identity, homes, packed, counted)| Appended {
        identity: *identity,
        homes,
        packed,
        counted: *counted,
    });
    active.append(commit, row.wall, appended);
    Ok(())
}
