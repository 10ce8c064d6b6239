//! Events of components, and of whatever else has a home of its own, counted for all who depend on it.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use roaring::RoaringBitmap;

use crate::codec::chunk::{Scratch, Wanted};
use crate::codec::raw::{FIRST_OTHER, RawEvent};
use crate::error::Result;
use crate::model::{Interval, IntervalSet, Timestamp};
use crate::query::cohort::judge::{Eyes, Likes};
use crate::query::cohort::needs::Looks;
use crate::query::cohort::plan::Planner;
use crate::query::cohort::plan::bounds::Bounds;
use crate::query::cohort::plan::did::Asked;
use crate::query::cohort::reader::Actuals;
use crate::query::gather;
use crate::query::item::lasts;
use crate::query::lookup::Resolver;
use crate::segment::Reading;

/// Components beyond which every customer is read instead.
const OTHERS_MAX: u64 = 1 << 16;

/// Wants what a judge may accept before the window ends.
struct Asking<'a> {
    asked: &'a Asked<'a>,
    named: Option<Vec<u32>>,
}

impl<'a> Asking<'a> {
    fn new(asked: &'a Asked<'a>) -> Asking<'a> {
        Asking { asked, named: asked.judge.named() }
    }
}

impl Wanted for Asking<'_> {
    fn wants(&self, time: i64, shape: u32, severity: u8) -> bool {
        time < self.asked.window.to.as_nanos() && self.asked.judge.severities(shape) >> severity & 1 != 0
    }

    fn named(&self) -> Option<&[u32]> {
        self.named.as_deref()
    }
}

impl Asked<'_> {
    /// The presences that matter.
    fn during(&self) -> Interval {
        let window = self.window.interval();
        if self.looks == Looks::Presence { window } else { Interval::new(window.from, Timestamp::MAX) }
    }

    /// Whether the window lets an event through.
    fn is_inside(&self, event: &RawEvent) -> bool {
        let window = self.window.interval();
        match self.looks {
            Looks::Presence => lasts(event).from < window.to && window.from < lasts(event).to,
            Looks::Time => window.contains(Timestamp::from_nanos(event.time)),
        }
    }
}

impl Planner<'_> {
    /// Adds to `bounds` those who depend on one of `others` while it had an event that is asked for.
    pub(super) fn spread(&mut self, asked: Asked<'_>, others: &RoaringBitmap, bounds: &mut Bounds) -> Result<()> {
        bounds.maybe.remove_range(FIRST_OTHER..);
        bounds.sure.remove_range(FIRST_OTHER..);
        if others.is_empty() {
            return Ok(());
        }
        if others.len() > OTHERS_MAX.min(self.all.len()) {
            self.explain.plan(format!("  {} components have such events: read every customer", others.len()));
            bounds.doubt(&self.all);
            return Ok(());
        }
        self.explain.plan(format!("  {} components have such events: counted for those behind them", others.len()));
        let mut counts: HashMap<u32, u32, FixedState> = HashMap::default();
        let mut unsure = RoaringBitmap::new();
        for other in others {
            self.effort.go_on()?;
            let events = self.events_of(other, asked)?;
            if events.is_empty() {
                continue;
            }
            let (several, single): (Vec<RawEvent>, Vec<RawEvent>) =
                events.into_iter().partition(|event| event.subjects.len() > 1);
            for (customer, when) in self.dependents(other)?.iter() {
                let found = felt_count(&single, when, asked);
                if found > 0 {
                    *counts.entry(*customer).or_default() += found;
                }
                if felt_count(&several, when, asked) > 0 {
                    if asked.at_least == 1 {
                        *counts.entry(*customer).or_default() += 1;
                    } else {
                        unsure.insert(*customer);
                    }
                }
            }
        }
        for (customer, count) in counts {
            if count >= asked.at_least {
                bounds.sure.insert(customer);
            } else {
                // Its own events may make up for the rest.
                unsure.insert(customer);
            }
        }
        bounds.maybe |= &bounds.sure;
        bounds.maybe |= unsure;
        bounds.maybe &= &self.all;
        bounds.sure &= &self.all;
        Ok(())
    }

    /// The events under one home that satisfy, as far as time allows, by ascending time.
    pub(super) fn events_of(&self, home: u32, asked: Asked<'_>) -> Result<Vec<RawEvent>> {
        self.events_under(home, asked, true)
    }

    /// Calls `seen` with home and event of each event in the rows of `homes` that is what is asked for.
    pub(super) fn visit_rows(
        &self,
        asked: Asked<'_>,
        homes: &[u32],
        actuals: &mut Actuals,
        seen: &mut dyn FnMut(u32, &RawEvent),
    ) -> Result<()> {
        let lookup = &self.snapshot.lookup;
        let during = asked.during();
        let rows = gather::fetch(lookup, &self.snapshot.view, homes, &[during])?;
        let resolver = Resolver::new(lookup);
        let wanted = Asking::new(&asked);
        let reading = Reading { store: &lookup.store, layouts: resolver.tables(), during, wanted: &wanted };
        let likes = Likes::default();
        let eyes = Eyes { resolver: &resolver, likes: &likes };
        let (mut events, mut scratch) = (Vec::new(), Scratch::default());
        for row in &rows {
            row.segment.read_home(row.home, &row.value, &reading, &mut scratch, &mut events)?;
            actuals.rows += 1;
            actuals.bytes += row.value.len() as u64;
            actuals.events += events.len() as u64;
            for event in events.drain(..) {
                if asked.is_inside(&event) && asked.judge.holds(&event, &eyes)? {
                    seen(row.home, &event);
                }
            }
        }
        Ok(())
    }

    /// As [`Planner::events_of`], those in memory perhaps left out.
    pub(super) fn events_under(&self, home: u32, asked: Asked<'_>, in_memory: bool) -> Result<Vec<RawEvent>> {
        let snapshot = self.snapshot;
        let during = asked.during();
        let rows = gather::fetch(&snapshot.lookup, &snapshot.view, &[home], &[during])?;
        let resolver = Resolver::new(&snapshot.lookup);
        let wanted = Asking::new(&asked);
        let reading = Reading { store: &snapshot.lookup.store, layouts: resolver.tables(), during, wanted: &wanted };
        let (mut events, mut scratch) = (Vec::new(), Scratch::default());
        for row in &rows {
            row.segment.read_home(home, &row.value, &reading, &mut scratch, &mut events)?;
        }
        self.looked.rows(rows.len(), rows.iter().map(|row| row.value.len()).sum(), events.len());
        for (active, bound) in snapshot.view.actives.iter().filter(|_| in_memory) {
            let wanted = |event: &RawEvent| wanted.wants(event.time, event.shape, event.severity);
            active.read_home(home, *bound, resolver.tables(), wanted, &mut events)?;
        }
        let likes = Likes::default();
        let eyes = Eyes { resolver: &resolver, likes: &likes };
        let mut kept = Vec::with_capacity(events.len());
        for event in events {
            if asked.is_inside(&event) && asked.judge.holds(&event, &eyes)? {
                kept.push(event);
            }
        }
        kept.sort_by_key(|event| event.time);
        Ok(kept)
    }
}

/// How many of `events`, by ascending time, someone felt who depended on their subject at `when`.
fn felt_count(events: &[RawEvent], when: &IntervalSet, asked: Asked<'_>) -> u32 {
    if events.iter().all(|event| event.end.is_none()) {
        let before = |time: Timestamp| events.partition_point(|event| event.time < time.as_nanos());
        return when.intervals().iter().map(|held| (before(held.to) - before(held.from)) as u32).sum();
    }
    let window = asked.window.interval();
    let felt = |event: &&RawEvent| {
        let present = lasts(event);
        match asked.looks {
            Looks::Presence => when.overlaps(&present.intersect(&window)),
            Looks::Time => when.overlaps(&present),
        }
    };
    events.iter().filter(felt).count() as u32
}
