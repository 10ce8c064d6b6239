//! Events and customers over time.

use std::fmt;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::codec::raw::RawEvent;
use crate::dictionary::TermTables;
use crate::error::{Error, Result};
use crate::expr::Predicate;
use crate::model::Timestamp;
use crate::model::limits::BUCKETS;
use crate::query::cohort::bucket::{Bucket, Buckets};
use crate::query::cohort::explain::{Explain, Watch};
use crate::query::cohort::plan;
use crate::query::cohort::question::Question;
use crate::query::cohort::scope::{Scope, scoped};
use crate::query::cohort::tally::{Count, Counted, Keys, tally};
use crate::query::snapshot::Snapshot;

/// Asks how many events there were, and how many customers had them, in each span of time; see
/// [`Snapshot::timeline`].
#[derive(Clone)]
#[must_use = "a query does nothing until it is run"]
pub struct TimelineQuery {
    snapshot: Snapshot,
    what: Predicate,
    every: Bucket,
    events_only: bool,
    scope: Scope,
}

/// One span of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimelineBucket {
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
    /// Different events whose time lies in it: without a cohort all of the store, also those that nobody
    /// lived through; with one, those in the stream of a member.
    pub events: u64,
    /// Different customers with one of them in their stream; 0 if [`TimelineQuery::events_only`].
    pub customers: u64,
}

scoped!(TimelineQuery);

impl TimelineQuery {
    pub(crate) fn new(snapshot: Snapshot, what: Predicate) -> TimelineQuery {
        TimelineQuery { snapshot, what, every: Bucket::default(), events_only: false, scope: Scope::default() }
    }

    /// The spans to count in. Default: days of UTC.
    pub fn every(mut self, bucket: Bucket) -> TimelineQuery {
        self.every = bucket;
        self
    }

    /// Leaves the customers uncounted, told as 0, which may save most of the work. Default: both are counted.
    pub fn events_only(mut self) -> TimelineQuery {
        self.events_only = true;
        self
    }

    /// Counts. The buckets go from the first with an event to the last, those without any included; a
    /// bucket that the window cuts is given whole, and counts what lies in the window.
    ///
    /// Cost: from the index, one look at each event of the kinds in question, or at whole blocks of them; rows of
    /// what it leaves open are read. Within a cohort: one read of each member's stream in the window, then one
    /// of the homes of what members felt of others.
    ///
    /// # Errors
    /// `Invalid` for a length that is not positive, an unknown zone, more than 100,000 buckets, a cohort of
    /// another store, a predicate that breaks the rules, or for more memory than allowed; `Cancelled`;
    /// errors of the store.
    pub fn run(self) -> Result<Vec<TimelineBucket>> {
        Ok(self.run_explained()?.0)
    }

    /// As [`TimelineQuery::run`], and tells how.
    pub fn run_explained(self) -> Result<(Vec<TimelineBucket>, Explain)> {
        let TimelineQuery { snapshot, what, every, events_only, scope } = self;
        let counted = if events_only { Counted::Events } else { Counted::Both };
        let mut explain = Explain::default();
        let buckets = Buckets::new(&every)?;
        let counts = match by_index(&snapshot, &what, &scope, (&buckets, counted), &mut explain)? {
            Some(counts) => counts,
            None => tally(&snapshot, &what, &scope, counted, || ByTime(buckets.clone()), &mut explain)?,
        };
        let mut rows = Vec::with_capacity(counts.len());
        let (first, last) = (counts.keys().min().copied(), counts.keys().max().copied());
        let Some((mut next, last)) = first.zip(last) else { return Ok((rows, explain)) };
        let mut buckets = buckets;
        loop {
            if rows.len() == BUCKETS {
                let few = format!("more than {BUCKETS} buckets; make them longer or the window shorter");
                return Err(Error::invalid(few));
            }
            let (from, to) = buckets.of(next);
            let count = counts.get(&from).copied().unwrap_or_default();
            rows.push(TimelineBucket {
                from: Timestamp::from_nanos(from),
                to: Timestamp::from_nanos(to),
                events: count.events,
                customers: count.customers,
            });
            if from >= last || to <= next {
                return Ok((rows, explain));
            }
            next = to;
        }
    }
}

impl fmt::Debug for TimelineQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimelineQuery").field("what", &self.what).field("every", &self.every).finish_non_exhaustive()
    }
}

/// Counts in the index, where that is the way: for the whole store.
fn by_index(
    snapshot: &Snapshot,
    what: &Predicate,
    scope: &Scope,
    (buckets, counted): (&Buckets, Counted),
    explain: &mut Explain,
) -> Result<Option<HashMap<i64, Count, FixedState>>> {
    if scope.cohort.is_some() || scope.scan_only {
        return Ok(None);
    }
    let mut watch = Watch::start();
    explain.threads = scope.effort.threads();
    let window = scope.window(scope.now());
    let (question, sequence) = Question::of_event(snapshot, what, window)?;
    let budget = scope.effort.budget();
    let counts =
        plan::over_time(snapshot, (&question, &sequence), (buckets, counted), &scope.effort, &budget, explain)?;
    watch.step("index asked", explain);
    Ok(counts)
}

/// The beginning of the bucket of an event.
struct ByTime(Buckets);

impl Keys<i64> for ByTime {
    fn of(&mut self, event: &RawEvent, _tables: &TermTables, keys: &mut Vec<i64>) -> Result<()> {
        let from = self.0.of(event.time).0;
        if keys.last() != Some(&from) {
            keys.push(from);
        }
        Ok(())
    }
}
