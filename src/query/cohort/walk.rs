//! Meets each event of the store once, wherever and under how many homes it is stored.

use std::hash::BuildHasher;
use std::ops::Range;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use roaring::RoaringBitmap;

use crate::codec::chunk::{Scratch, Wanted};
use crate::codec::key;
use crate::codec::raw::RawEvent;
use crate::error::{Error, Result};
use crate::query::cohort::effort::{Budget, Effort};
use crate::query::cohort::judge::{Eyes, Likes};
use crate::query::cohort::needs::Needs;
use crate::query::cohort::reader::{Actuals, Limited};
use crate::query::lookup::Resolver;
use crate::query::snapshot::Snapshot;
use crate::segment::{Active, Reading, Segment};
use crate::store::Family;

/// What to walk over.
pub(crate) struct Walk<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) needs: &'a Needs,
    /// Homes that hold all the events that matter; every home if absent.
    pub(crate) homes: Option<&'a RoaringBitmap>,
    pub(crate) effort: &'a Effort,
    pub(crate) budget: &'a Budget,
}

/// A part of the store that one thread walks at once.
enum Task<'a> {
    /// The homes from the first to the last, both included.
    Sealed(&'a Segment, u32, u32),
    Active(&'a Active, Range<u32>),
}

/// One thread's part.
struct Worker<S> {
    state: S,
    likes: Likes,
    scratch: Scratch,
    events: Vec<RawEvent>,
    /// Events that may be stored several times, to be met at the end.
    several: Vec<RawEvent>,
    actuals: Actuals,
}

impl Walk<'_> {
    /// Calls `meet` once with each event that `accepts` says yes to, in no order, spread over the
    /// threads, each of which has a state of its own; returns the states, and what was read.
    ///
    /// An event with several subjects may lie under several homes of one segment, so those are held
    /// back, compared by content, and met at the end.
    ///
    /// Cost: reads every row of the homes in the segments that overlap the windows of the needs.
    pub(crate) fn run<S: Send>(
        &self,
        begin: impl Fn() -> S + Sync,
        accepts: impl Fn(&RawEvent, &Eyes<'_>) -> Result<bool> + Sync,
        meet: impl Fn(&mut S, &RawEvent, &Eyes<'_>) -> Result<()> + Sync,
    ) -> Result<(Vec<S>, Actuals)> {
        let tasks = self.tasks();
        let work = |worker: &mut Worker<S>, task: usize| {
            let mut each = |worker: &mut Worker<S>| self.look(worker, &accepts, &meet);
            match &tasks[task] {
                Task::Sealed(segment, first, last) => match self.homes {
                    None => self.rows(segment, *first, *last, worker, &mut each),
                    Some(homes) => self.homes(segment, homes, *first, *last, worker, &mut each),
                },
                Task::Active(active, range) => self.active(active, range.clone(), worker, &mut each),
            }
        };
        let worker = || Worker {
            state: begin(),
            likes: Likes::default(),
            scratch: Scratch::default(),
            events: Vec::new(),
            several: Vec::new(),
            actuals: Actuals::default(),
        };
        // What stays behind is what can be sent.
        let end = |worker: Worker<S>| (worker.state, worker.several, worker.actuals);
        let parts = self.effort.share(tasks.len(), worker, work, end)?;
        let mut states = Vec::with_capacity(parts.len());
        let mut several = Vec::new();
        let mut actuals = Actuals::default();
        for (state, part, read) in parts {
            states.push(state);
            several.extend(part);
            actuals.add(&read);
        }
        let mut state = states.pop().unwrap_or_else(&begin);
        let (likes, resolver) = (Likes::default(), Resolver::new(&self.snapshot.lookup));
        let eyes = Eyes { resolver: &resolver, likes: &likes };
        for event in distinct(&several) {
            meet(&mut state, event, &eyes)?;
        }
        states.push(state);
        Ok((states, actuals))
    }

    fn tasks(&self) -> Vec<Task<'_>> {
        const HOMES: usize = 4096;
        const EVENTS: u32 = 1 << 14;
        let view = &self.snapshot.view;
        let overlaps = |segment: &Segment| self.needs.windows().iter().any(|window| segment.overlaps(window));
        let mut tasks = Vec::new();
        for segment in view.segments.iter().filter(|segment| overlaps(segment)) {
            let within = self.homes.map(|homes| &segment.homes & homes);
            let homes = within.as_ref().unwrap_or(&segment.homes);
            let mut ranks = 0..homes.len() as u32;
            while !ranks.is_empty() {
                let last = ranks.end.min(ranks.start.saturating_add(HOMES as u32)) - 1;
                if let (Some(first), Some(last)) = (homes.select(ranks.start), homes.select(last)) {
                    tasks.push(Task::Sealed(segment, first, last));
                }
                ranks.start = last + 1;
            }
        }
        if !self.needs.is_empty() {
            for (active, bound) in &view.actives {
                let count = active.events_below(*bound);
                let ranges = (0..count).step_by(EVENTS as usize);
                tasks.extend(ranges.map(|from| Task::Active(active, from..count.min(from + EVENTS))));
            }
        }
        tasks
    }

    /// Looks at the events of a worker's buffer, which it empties.
    fn look<S>(
        &self,
        worker: &mut Worker<S>,
        accepts: &impl Fn(&RawEvent, &Eyes<'_>) -> Result<bool>,
        meet: &impl Fn(&mut S, &RawEvent, &Eyes<'_>) -> Result<()>,
    ) -> Result<()> {
        let resolver = Resolver::new(&self.snapshot.lookup);
        let Worker { state, likes, events, several, actuals, .. } = worker;
        let eyes = Eyes { resolver: &resolver, likes };
        actuals.events += events.len() as u64;
        for event in events.drain(..) {
            if !accepts(&event, &eyes)? {
                continue;
            }
            if event.subjects.len() < 2 {
                meet(state, &event, &eyes)?;
            } else {
                if self.budget.left() / size_of::<RawEvent>() < several.len() {
                    return Err(self.budget.exceeded());
                }
                several.push(event);
            }
        }
        Ok(())
    }

    /// Reads all rows of a range of homes, one behind the other.
    fn rows<S>(
        &self,
        segment: &Segment,
        first: u32,
        last: u32,
        worker: &mut Worker<S>,
        each: &mut impl FnMut(&mut Worker<S>) -> Result<()>,
    ) -> Result<()> {
        let number = segment.meta.number;
        let mut cursor = self.snapshot.lookup.store.cursor(Family::Rows, true);
        let mut entry = cursor.seek(&key::row(number, first))?;
        while let Some((key, value)) = entry {
            let (found, home, chunk) = key::parse_row(key)?;
            if found != number || home > last {
                break;
            }
            if chunk.is_none() {
                self.row(segment, home, value, worker)?;
                each(worker)?;
            }
            entry = cursor.advance()?;
        }
        Ok(())
    }

    /// Reads the rows of some homes of a range.
    fn homes<S>(
        &self,
        segment: &Segment,
        homes: &RoaringBitmap,
        first: u32,
        last: u32,
        worker: &mut Worker<S>,
        each: &mut impl FnMut(&mut Worker<S>) -> Result<()>,
    ) -> Result<()> {
        for home in homes.range(first..=last).filter(|&home| segment.homes.contains(home)) {
            let value = self.snapshot.lookup.store.get(Family::Rows, &key::row(segment.meta.number, home))?;
            let value = value.ok_or_else(|| {
                Error::corrupt("row is missing").at(format!("home {home} of segment {}", segment.meta.number))
            })?;
            self.row(segment, home, &value, worker)?;
            each(worker)?;
        }
        Ok(())
    }

    /// Fills the buffer with the wanted events of one row.
    fn row<S>(&self, segment: &Segment, home: u32, value: &[u8], worker: &mut Worker<S>) -> Result<()> {
        self.effort.go_on()?;
        worker.actuals.rows += 1;
        worker.actuals.bytes += value.len() as u64;
        let limited = Limited::new(self.needs, self.budget);
        let lookup = &self.snapshot.lookup;
        let tables = lookup.terms.read();
        let reading = Reading { store: &lookup.store, layouts: &*tables, during: self.needs.hull(), wanted: &limited };
        segment.read_home(home, value, &reading, &mut worker.scratch, &mut worker.events)?;
        limited.check()
    }

    fn active<S>(
        &self,
        active: &Active,
        range: Range<u32>,
        worker: &mut Worker<S>,
        each: &mut impl FnMut(&mut Worker<S>) -> Result<()>,
    ) -> Result<()> {
        /// Events read while appends wait.
        const AT_ONCE: usize = 1024;
        for from in range.clone().step_by(AT_ONCE) {
            let some = from..range.end.min(from + AT_ONCE as u32);
            {
                let tables = self.snapshot.lookup.terms.read();
                let wanted = |event: &RawEvent| self.needs.wants(event.time, event.shape, event.severity);
                active.read_events(some, &*tables, wanted, &mut worker.events)?;
            }
            each(worker)?;
        }
        Ok(())
    }
}

/// The events without those equal to an earlier one.
pub(crate) fn distinct(events: &[RawEvent]) -> impl Iterator<Item = &RawEvent> {
    let hasher = FixedState::default();
    let hash = move |event: &RawEvent| hasher.hash_one((event.time, event.shape, &event.subjects, &event.id));
    let mut seen: HashTable<usize> = HashTable::with_capacity(events.len());
    events.iter().enumerate().filter_map(move |(at, event)| {
        if seen.find(hash(event), |&other| events[other] == *event).is_some() {
            return None;
        }
        seen.insert_unique(hash(event), at, |&other| hash(&events[other]));
        Some(event)
    })
}
