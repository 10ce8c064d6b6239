//! What a store did since it was opened, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Acts of one kind: how many, over how much, how long.
#[derive(Default)]
pub(crate) struct Acts {
    count: AtomicU64,
    things: AtomicU64,
    nanos: AtomicU64,
}

impl Acts {
    /// Counts one act over `things` that began at `since`.
    pub(crate) fn add(&self, things: u64, since: Instant) {
        let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.things.fetch_add(things, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn things(&self) -> u64 {
        self.things.load(Ordering::Relaxed)
    }

    fn time(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

/// What the threads of a store count. A handful of additions a group of commits, none an event.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) groups: Acts,
    pub(crate) records: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
    pub(crate) largest_group: AtomicU64,
    pub(crate) links_quarantined: AtomicU64,
    pub(crate) seals: Acts,
    pub(crate) merges: Acts,
    pub(crate) stalls: Acts,
    pub(crate) retentions: Acts,
    pub(crate) erasures: Acts,
}

/// Hits and misses of one cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheMetrics {
    /// Found, though it may turn out to be out of date.
    pub hits: u64,
    /// Not found.
    pub misses: u64,
}

impl CacheMetrics {
    pub(crate) fn new((hits, misses): (u64, u64)) -> CacheMetrics {
        CacheMetrics { hits, misses }
    }
}

/// What a store did since it was opened: see [`crate::Db::metrics`]. Times are summed over acts.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Batches committed.
    pub commits: u64,
    /// Writes and syncs they shared.
    pub commit_groups: u64,
    /// The most batches that shared one.
    pub largest_group: u64,
    /// Records in those batches, whatever became of them.
    pub records: u64,
    /// Links among them that were put into quarantine.
    pub links_quarantined: u64,
    /// Bytes of their rows in the log, before compression.
    pub log_bytes: u64,
    /// Time in which groups were numbered, written and synced.
    pub commit_time: Duration,
    /// Requests that wait for the commit thread now; at 16 those who submit wait.
    pub requests_waiting: u64,
    /// Segments sealed.
    pub seals: u64,
    /// Events in them.
    pub sealed_events: u64,
    /// Time in which they were sealed.
    pub seal_time: Duration,
    /// Merges of segments.
    pub merges: u64,
    /// Rows rewritten by them.
    pub merged_rows: u64,
    /// Time they took, waiting for seals included.
    pub merge_time: Duration,
    /// How often commits waited for seals.
    pub stalls: u64,
    /// How long.
    pub stalled_time: Duration,
    /// Retentions that removed something.
    pub retentions: u64,
    /// Events they removed.
    pub retained_away: u64,
    /// Time they took.
    pub retention_time: Duration,
    /// Erasures that were carried out, those finished at open included.
    pub erasures: u64,
    /// Events they removed.
    pub erased_events: u64,
    /// Time they took.
    pub erasure_time: Duration,
    /// Flushes and compactions of the storage engine that failed.
    pub background_errors: u64,
    /// Names of entities by number.
    pub name_cache: CacheMetrics,
    /// Numbers of entities by name.
    pub number_cache: CacheMetrics,
    /// What entities depend on.
    pub link_cache: CacheMetrics,
    /// Who depends on entities.
    pub dependents_cache: CacheMetrics,
    /// Pages of the index.
    pub page_cache: CacheMetrics,
}

impl Counters {
    /// The numbers of the threads; the rest is left at nothing.
    pub(crate) fn read(&self) -> Metrics {
        Metrics {
            commits: self.groups.things(),
            commit_groups: self.groups.count(),
            largest_group: self.largest_group.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            links_quarantined: self.links_quarantined.load(Ordering::Relaxed),
            log_bytes: self.log_bytes.load(Ordering::Relaxed),
            commit_time: self.groups.time(),
            seals: self.seals.count(),
            sealed_events: self.seals.things(),
            seal_time: self.seals.time(),
            merges: self.merges.count(),
            merged_rows: self.merges.things(),
            merge_time: self.merges.time(),
            stalls: self.stalls.count(),
            stalled_time: self.stalls.time(),
            retentions: self.retentions.count(),
            retained_away: self.retentions.things(),
            retention_time: self.retentions.time(),
            erasures: self.erasures.count(),
            erased_events: self.erasures.things(),
            erasure_time: self.erasures.time(),
            ..Metrics::default()
        }
    }
}
