//! The database: what a program opens, writes to and reads from.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crossbeam::channel::bounded;

use crate::backup::{Backup, BackupFolder};
use crate::codec::record;
use crate::error::{Error, ErrorKind, Result};
use crate::fail;
use crate::ingest::{
    Added, Batch, Committer, EXPR_ERASED, Engine, ErasureReceipt, Health, Ledger, Metrics, Pending, Receipt, Recovery,
    Request, Retained, Retention, Settings, Threads, adopt_cohort, adopt_ledger, adopt_names, erase, erase_pending,
    look, on_commit_thread, prepare, retain, take_over_ledger,
};
use crate::model::{Entity, Limits, Link, Record, Text};
use crate::query::{CheckReport, Cohort, Draft, Snapshot, Traces, remove_cohort, unknown_cohort};
use crate::store::Batch as StoreBatch;

/// What an acknowledged commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// A power cut: the log is synced to the disk before a commit returns.
    #[default]
    Sync,
    /// The death of the process: the log is with the operating system when a commit returns. A power
    /// cut may take the last commits, never one from the middle.
    Os,
}

/// How to open a store.
///
/// ```
/// let options = ofone::Options::new().cache_bytes(64 << 20).create(false);
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    settings: Settings,
}

impl Options {
    /// The defaults named at each option.
    pub fn new() -> Options {
        Options {
            settings: Settings {
                create: true,
                allow_open_permissions: false,
                customer_type: Text::from("customer"),
                sync: true,
                segment_events: 4 << 20,
                block_cache_bytes: 256 << 20,
                name_cache_bytes: 256 << 20,
                index_cache_bytes: 256 << 20,
                reserve_bytes: 64 << 20,
                preallocate: true,
                limits: Limits::default(),
                unfinished: false,
            },
        }
    }

    /// Whether to create the store when there is none. Default: true.
    #[must_use]
    pub fn create(mut self, create: bool) -> Options {
        self.settings.create = create;
        self
    }

    /// Whether to open a store whose directory others than its owner may read or write, or which belongs
    /// to another user. Default: false; opening such a one is `Invalid`, and an empty directory of this
    /// user that is to become a store gets mode 0700.
    #[must_use]
    pub fn allow_open_permissions(mut self, allow: bool) -> Options {
        self.settings.allow_open_permissions = allow;
        self
    }

    /// The entity type that roots streams; counts when the store is created. Default: `customer`.
    #[must_use]
    pub fn customer_type(mut self, customer_type: impl Into<Text>) -> Options {
        self.settings.customer_type = customer_type.into();
        self
    }

    /// What an acknowledged commit survives. Default: [`Durability::Sync`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Options {
        self.settings.sync = durability == Durability::Sync;
        self
    }

    /// Events after which a segment is sealed; at least 1. Larger segments make a smaller store and
    /// take more memory, about 100 bytes an event, up to four times. Default: 4,194,304.
    #[must_use]
    pub fn segment_events(mut self, events: usize) -> Options {
        self.settings.segment_events = events.max(1);
        self
    }

    /// Memory for blocks read from disk, those of the index left out, in bytes. Default: 256 MiB.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Options {
        self.settings.block_cache_bytes = bytes;
        self
    }

    /// Memory for names of entities, in bytes, half for writing and half for reading. Default: 256 MiB.
    #[must_use]
    pub fn name_cache_bytes(mut self, bytes: usize) -> Options {
        self.settings.name_cache_bytes = bytes;
        self
    }

    /// Memory for pages of the index, in bytes. A store needs about 7 bytes an event for questions about
    /// sets of customers to find all pages there. Default: 256 MiB.
    #[must_use]
    pub fn index_cache_bytes(mut self, bytes: usize) -> Options {
        self.settings.index_cache_bytes = bytes;
        self
    }

    /// Room on the disk that the store keeps, in bytes, so that a full disk leaves enough to seal, to
    /// recover and to erase. While it cannot be kept, since less than twice as much is free, commits are
    /// refused with `DiskFull`. 0 keeps none. Default: 64 MiB.
    #[must_use]
    pub fn reserve_bytes(mut self, bytes: u64) -> Options {
        self.settings.reserve_bytes = bytes;
        self
    }

    /// Whether files take room on the disk ahead of what is written: up to 282 MiB for the log while the store is
    /// open, which no byte of it need ever fill. Without, bulk loads may be some percent slower. Default: true; off
    /// suits many small stores, and those in memory.
    #[must_use]
    pub fn preallocate(mut self, preallocate: bool) -> Options {
        self.settings.preallocate = preallocate;
        self
    }

    /// For a store that a salvage makes: as large as the formats hold, and nobody else's before it is whole.
    pub(crate) fn unfinished(mut self) -> Options {
        self.settings.unfinished = true;
        self
    }

    /// What a record may be at most.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Options {
        self.settings.limits = limits.within_formats();
        self
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

struct Inner {
    engine: Arc<Engine>,
    threads: Threads,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.threads.stop(&self.engine);
    }
}

/// An open store. Clones share it; it closes when the last clone, writer and snapshot is gone.
///
/// ```
/// # fn main() -> ofone::Result<()> {
/// use ofone::{Batch, Db, Entity, Event, Link, Options, Timestamp};
/// # let directory = std::env::temp_dir().join(format!("ofone-doc-{}", std::process::id()));
/// let db = Db::open(&directory, Options::new())?;
/// let service = Entity::new("service", "C42/broadband");
/// let mut batch = Batch::new();
/// batch.link(Link::new(Entity::customer("C42"), "uses", service.clone()));
/// batch.link(Link::new(service, "fed_by", Entity::new("olt", "LON-7")));
/// batch.event(Event::new(Timestamp::from_secs(1_767_600_000), "nms", "alarm.raised").subject(Entity::new("olt", "LON-7")));
/// db.writer().commit(batch)?;
///
/// let item = db.snapshot().stream("C42").run()?.next().expect("the alarm reaches the customer")?;
/// assert_eq!(item.event.kind, "alarm.raised");
/// assert_eq!(item.paths()?[0].steps.len(), 2);
/// # drop((item, db));
/// # std::fs::remove_dir_all(directory).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

impl Db {
    /// Opens the store at `path`, replaying what was committed and not yet sealed. An erasure that was cut short
    /// is finished first.
    ///
    /// # Errors
    /// `Busy` when another handle has it open, in this process or another, whatever the path's
    /// spelling; `NotFound` when there is none and none is to be created; `Invalid` when the
    /// directory holds something else, or is not this user's alone; `Corrupt`, with the place, when what
    /// was committed is not all there; `Unsupported` for the format of another version.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Db> {
        let (engine, threads, pending) = Engine::open(path.as_ref(), options.settings)?;
        let inner = Inner { engine, threads };
        if !fail::bug("forget-erasure") {
            erase_pending(&inner.engine, inner.threads.requests.as_ref(), pending)?;
        }
        Ok(Db { inner: Arc::new(inner) })
    }

    /// Closes the store and opens it again, with the same options: the only way to write again after a
    /// failed write. Everything acknowledged is there; of the batches that failed each is there whole or
    /// not at all.
    ///
    /// # Errors
    /// `Busy` while a clone of this handle, a writer, a snapshot or what came out of one is alive. Otherwise
    /// as [`Db::open`]; the store is closed then.
    pub fn reopen(self) -> Result<Db> {
        let path = self.inner.engine.lookup.store.path().to_owned();
        let options = Options { settings: self.inner.engine.settings.clone() };
        drop(self);
        Db::open(path, options.create(false))
    }

    /// Makes a store out of a backup, as [`BackupFolder::restore`] does, and erases in it whoever was erased since
    /// in the store at `live`, before it gets its name: their events, links and names go, and late arrivals are
    /// refused. `live` is the store that the backup is of, or one restored from a later backup; it is only looked
    /// at. Returns the backup and the number of erasures carried over.
    ///
    /// # Errors
    /// As [`BackupFolder::restore`] and [`Db::look`]; `Invalid` when the ledger of `live` is not that of the
    /// backup, continued. Nothing has the name `store` then.
    ///
    /// Cost: also the names of the store are read, and for each erasure what [`Db::erase`] costs.
    pub fn restore_erased(
        folder: &BackupFolder,
        id: Option<u64>,
        store: impl AsRef<Path>,
        live: impl AsRef<Path>,
    ) -> Result<(Backup, u64)> {
        let options = Options::new().create(false).allow_open_permissions(folder.allows_open());
        let mut erasures = 0;
        let backup = folder.restore_and(id, store.as_ref(), |made| {
            erasures = adopt_ledger(made, live.as_ref(), &options.settings)?;
            if erasures > 0 {
                // The first open erases; with the second, names go that RocksDB notes as bounds of its files.
                Db::open(made, options.clone())?;
                if Db::open(made, options.clone())?.health()?.erasures_unfinished > 0 {
                    return Err(Error::new(ErrorKind::Io, "an erasure could not be finished").at(made.display()));
                }
            }
            Ok(())
        })?;
        Ok((backup, erasures))
    }

    /// What the store did since it was opened, in numbers. Cheap: some loads, and RocksDB's lock for a moment.
    pub fn metrics(&self) -> Metrics {
        let waiting = self.inner.threads.requests.as_ref().map_or(0, |requests| requests.len() as u64);
        Metrics { requests_waiting: waiting, ..self.inner.engine.metrics() }
    }

    /// What opening the store found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.inner.engine.recovery
    }

    /// Whether the store is well, and if not, why.
    ///
    /// # Errors
    /// `Io` when the system does not tell how full the disk is.
    pub fn health(&self) -> Result<Health> {
        self.inner.engine.health()
    }

    /// Looks into the store at `path`, which any process may have open and go on writing: the store as of
    /// one of its commits, for reading alone. Takes no lock and changes nothing in the directory. The look
    /// is that of its moment for good; a newer one takes another call. The last commits may be seen before
    /// the writer has acknowledged them, and under [`Durability::Os`] before they are on the disk.
    ///
    /// Of the options those about memory and permissions count.
    ///
    /// # Errors
    /// `NotFound` when there is no store; `Busy` when its files did not keep still for a moment in 30 s; and
    /// as [`Db::open`], `Busy` by a writer excepted.
    ///
    /// Cost: that of an open: what is not sealed is replayed into memory, and where files hardly keep still the
    /// log is copied into memory before. All files of the store are held open, one descriptor each, so disk
    /// space of files deleted meanwhile is free only afterwards.
    #[expect(clippy::needless_pass_by_value, reason = "as Db::open takes them")]
    pub fn look(path: impl AsRef<Path>, options: Options) -> Result<Snapshot> {
        let (lookup, view) = look(path.as_ref(), &options.settings)?;
        Ok(Snapshot::new(lookup, view))
    }

    /// A writer; any number may write, from any thread.
    pub fn writer(&self) -> Writer {
        Writer { inner: self.inner.clone() }
    }

    /// The store as of the last commit.
    pub fn snapshot(&self) -> Snapshot {
        let engine = &self.inner.engine;
        Snapshot::new(engine.lookup.clone(), engine.views.load())
    }

    /// Saves the customers of `cohort` under a name of at most 256 bytes, in place of what has that name;
    /// on the disk when this returns, and seen by snapshots taken from then on. The set stays as it is
    /// whatever is written later. [`crate::Expr::Cohort`] reads it.
    ///
    /// # Errors
    /// `Invalid` for an unfit name or a cohort of another store; as [`Writer::commit`] when it cannot be
    /// written.
    pub fn save_cohort(&self, name: &str, cohort: &Cohort) -> Result<()> {
        cohort.check_store(&self.snapshot())?;
        self.inner.engine.check_room()?;
        let draft = Draft::new(name, cohort)?;
        let mut named = Vec::new();
        cohort.expr().texts(&mut |text| named.push(text.to_owned()));
        // Where erasures show: none comes in between.
        self.inner.on_commit_thread(move |committer| {
            let mut batch = StoreBatch::default();
            let tells = committer.may_mean_erased(&named)?;
            let erased = committer.engine.views.load().erased.clone();
            draft.put(&committer.engine.lookup.store, &mut batch, &erased, tells.then_some(EXPR_ERASED));
            committer.write_meta(batch)
        })
    }

    /// Forgets the cohort saved under a name. Snapshots that see it keep it.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn drop_cohort(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.inner.on_commit_thread(move |committer| {
            let mut batch = StoreBatch::default();
            match remove_cohort(&committer.engine.lookup.store, &mut batch, &name)? {
                true => committer.write_meta(batch),
                false => Err(unknown_cohort(&name)),
            }
        })
    }

    /// Puts links in force that are in quarantine: as listed by [`Snapshot::quarantined`], whose feed need not be
    /// given. No limit counts here: that is what whoever asks for it decides. One outcome a link: inserted, or
    /// rejected when no such link is in quarantine. It is a commit of its own.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn promote(&self, links: impl IntoIterator<Item = Link>) -> Result<Receipt> {
        self.writer().submit_as(links.into_iter().map(Record::from).collect(), Added::Promoted)?.wait()
    }

    /// Seals what is in memory, and returns when that is done. Durability does not need it.
    pub fn flush(&self) -> Result<()> {
        self.inner.engine.seal_all(self.inner.threads.requests.as_ref())
    }

    /// Returns when nothing is left to seal, to merge or to compact, and the space of what was
    /// deleted is free. What is not sealed yet stays in memory and in the log.
    ///
    /// # Errors
    /// As [`Writer::commit`]; and `DiskFull` when a compaction has no room, which does not close the store.
    pub fn wait_until_quiet(&self) -> Result<()> {
        let engine = &self.inner.engine;
        // Whatever was acknowledged is counted as work once the commit thread is at the next request.
        self.inner.ask(|reply| Request::Refresh { reply })?;
        engine.wait_for_work()?;
        self.inner.ask(|reply| Request::Refresh { reply })?;
        engine.or_poison(engine.reclaim_log())?;
        engine.or_poison(engine.lookup.store.flush_memtables())?;
        engine.lookup.store.wait_for_rest()
    }

    /// Removes old events from every answer and from the disk: those that `asked` means. What is in memory is
    /// sealed first. Links, names and saved cohorts stay. Segments are replaced one after the other, each
    /// durably; snapshots taken before see what they saw, and hold back the space. An event that was removed and
    /// is sent again is stored again.
    ///
    /// # Errors
    /// `Invalid` when more than [`Retention::max_share`] of the events would go, and then none does, or when that
    /// is no share; as
    /// [`Writer::commit`] when it cannot be written.
    ///
    /// Cost: every segment that has older events is read, and what stays of it written, one segment at a time.
    pub fn retain(&self, asked: &Retention) -> Result<Retained> {
        self.flush()?;
        let engine = &self.inner.engine;
        let retained = retain(engine, asked)?;
        self.inner.ask(|reply| Request::Refresh { reply })?;
        Ok(retained)
    }

    /// Erases a customer (id without its type), and the entities to which no link ever led from elsewhere: their
    /// events, links and names go, from every answer of snapshots taken from then on and from the files of the
    /// store. Names that RocksDB notes as bounds of its files are gone when the store was opened once more
    /// ([`Db::reopen`]); a backup taken before that may have them. Events of others stay, and name nobody erased
    /// any more. What names the customer later is refused, and so is what names the entities erased with them at a
    /// time before the erasure.
    ///
    /// Snapshots taken before see what they saw, but for names: those of the erased are empty where an event is
    /// told. [`ErasureReceipt::held_back`] tells that one is alive.
    ///
    /// # Errors
    /// `NotFound` when there is no such customer, also after an erasure; as [`Writer::commit`] when it cannot be
    /// written. What was begun is finished when the store is opened again.
    ///
    /// Cost: every segment that names one of them is read and written once, and the rest of the store is read
    /// if what went was the latest of its kind; then the key ranges concerned are compacted.
    pub fn erase(&self, customer: impl Into<Text>) -> Result<ErasureReceipt> {
        self.inner.engine.check_writable()?;
        erase(&self.inner.engine, self.inner.threads.requests.as_ref(), &customer.into())
    }

    /// Looks for a text's bytes in everything the store holds: in keys and values of all families, and in the
    /// files as they are. An identifier that is part of a longer one is found in that, too.
    ///
    /// # Errors
    /// `Invalid` for an empty text.
    ///
    /// Cost: the whole store is read twice, on this thread.
    pub fn traces(&self, text: &str) -> Result<Traces> {
        crate::query::traces(&self.inner.engine.lookup.store, text)
    }

    /// Adds a backup of the store to `folder`, with every commit acknowledged so far, while writers go on. See
    /// [`BackupFolder::add`] for errors and cost.
    pub fn backup(&self, folder: &BackupFolder) -> Result<Backup> {
        folder.add(self.inner.engine.lookup.store.path())
    }

    /// The entity type that roots streams.
    pub fn customer_type(&self) -> &Text {
        &self.inner.engine.lookup.customer_type
    }

    /// Reads everything and compares what must agree; see [`CheckReport`]. The index of each sealed
    /// segment is made again from its rows.
    ///
    /// # Errors
    /// Only when reading cannot go on; damage that can be passed over is in the report.
    ///
    /// Cost: everything is read once, on this thread; in memory are the largest home of a segment, the
    /// index of 65,536 homes of it, a bounded part of the links, and what is not sealed yet.
    pub fn check(&self) -> Result<CheckReport> {
        self.snapshot().check()
    }
}

/// What a salvage needs besides records.
impl Db {
    /// Takes over a ledger of erasures.
    pub(crate) fn adopt_ledger(&self, ledger: Ledger) -> Result<()> {
        take_over_ledger(self.inner.threads.requests.as_ref(), ledger)
    }

    /// Gives numbers to entities, in their order, and tells which have one now.
    pub(crate) fn adopt_names(&self, entities: Vec<Entity>) -> Result<Vec<bool>> {
        adopt_names(self.inner.threads.requests.as_ref(), entities)
    }

    /// Puts a saved cohort, in numbers of this store, under a name.
    pub(crate) fn adopt_cohort(&self, name: &str, cohort: record::SavedCohort) -> Result<()> {
        adopt_cohort(self.inner.threads.requests.as_ref(), name, cohort)
    }

    /// Puts links into quarantine, whatever the limits allow.
    pub(crate) fn adopt_quarantined(&self, batch: Batch) -> Result<Receipt> {
        self.writer().submit_as(batch, Added::Quarantined)?.wait()
    }

    /// Seals what is in memory, and writes everything to files that are synced.
    pub(crate) fn settle(&self) -> Result<()> {
        self.flush()?;
        let engine = &self.inner.engine;
        engine.or_poison(engine.lookup.store.flush_memtables())?;
        engine.or_poison(engine.lookup.store.sync_log())
    }
}

impl Inner {
    /// Has the commit thread do something, and waits for the outcome.
    fn on_commit_thread<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Committer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        on_commit_thread(self.threads.requests.as_ref(), act)
    }

    /// Sends a request and waits until it is done.
    fn ask(&self, request: impl FnOnce(crossbeam::channel::Sender<()>) -> Request) -> Result<()> {
        let (reply, answered) = bounded(1);
        self.send(request(reply))?;
        answered.recv().map_err(|_| gone())
    }

    fn send(&self, request: Request) -> Result<()> {
        self.engine.check_writable()?;
        self.threads.requests.as_ref().ok_or_else(gone)?.send(request).map_err(|_| gone())
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Poisoned, "the commit thread is gone; reopen the store")
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("commit", &self.inner.engine.views.load().commit).finish_non_exhaustive()
    }
}

/// Commits batches. Clones share the store's commit thread, and commits that wait share a sync.
#[derive(Clone)]
pub struct Writer {
    inner: Arc<Inner>,
}

impl Writer {
    /// Commits a batch and waits until it is durable as [`Durability`] says and visible to new
    /// snapshots.
    ///
    /// # Errors
    /// `Invalid` when the batch has more records or bytes than [`Limits::batch_records`] and
    /// [`Limits::batch_bytes`]; `DiskFull` when there is no room for another one, which may change;
    /// `DiskFull`, `Io` or `Corrupt` when it could not be written, after which the store is `Poisoned` for
    /// writing until reopened: see [`Db::reopen`] and [`Db::health`]. A record that breaks a rule is no
    /// error: its outcome says so.
    pub fn commit(&self, batch: Batch) -> Result<Receipt> {
        self.submit(batch)?.wait()
    }

    /// Hands a batch over and returns at once; commits happen in the order of submission. Waits only
    /// when many batches are on their way.
    ///
    /// # Errors
    /// As [`Writer::commit`], before the batch is taken.
    pub fn submit(&self, batch: Batch) -> Result<Pending> {
        self.submit_as(batch, Added::Judged)
    }

    fn submit_as(&self, batch: Batch, added: Added) -> Result<Pending> {
        let most = self.inner.engine.settings.limits.batch_records;
        if batch.len() > most {
            return Err(Error::invalid(format!("a batch of {} records, the limit is {most}", batch.len())));
        }
        let engine = &self.inner.engine;
        engine.check_room()?;
        let mut prepared = prepare(batch.records, &engine.lookup.terms, engine.name_hasher, &engine.settings.limits);
        prepared.added = added;
        let (bytes, most) = (prepared.packed_bytes(), engine.settings.limits.batch_bytes);
        if bytes > most {
            return Err(Error::invalid(format!("a batch of {bytes} bytes, the limit is {most}")));
        }
        let (reply, answer) = bounded(1);
        self.inner.send(Request::Commit { prepared, reply })?;
        Ok(Pending(answer))
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
