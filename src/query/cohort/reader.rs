//! Reads the streams of one customer after the other, as far as a question wants them.

use std::cell::Cell;
use std::mem;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::codec::chunk::{Scratch, Wanted};
use crate::codec::raw::{FIRST_OTHER, RawEvent};
use crate::dictionary::TermTables;
use crate::error::Result;
use crate::model::Interval;
use crate::model::limits::HOPS;
use crate::query::cohort::effort::{Budget, Gauge};
use crate::query::cohort::needs::Needs;
use crate::query::gather::{self, Row};
use crate::query::lookup::Resolver;
use crate::query::order;
use crate::query::snapshot::Snapshot;
use crate::segment::Reading;
use crate::topology::{Reach, reach};

/// How the events of a stream are to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// By time; those of one instant in any order.
    Time,
    /// In the total order of streams.
    Total,
}

/// What was read so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Actuals {
    pub(crate) customers: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) events: u64,
}

impl Actuals {
    pub(crate) fn add(&mut self, more: &Actuals) {
        self.customers += more.customers;
        self.rows += more.rows;
        self.bytes += more.bytes;
        self.events += more.events;
    }
}

/// Reads streams for one thread; keeps its buffers and the events of components from one customer
/// to the next.
pub(crate) struct Reader<'a> {
    snapshot: &'a Snapshot,
    needs: &'a Needs,
    order: Order,
    max_hops: u32,
    scratch: Scratch,
    shared: Shared,
    reach: Reach,
    homes: Vec<u32>,
    events: Vec<RawEvent>,
    /// Those of one home, perhaps not in the stream.
    fresh: Vec<RawEvent>,
    gauge: Gauge<'a>,
    pub(crate) actuals: Actuals,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, needs: &'a Needs, order: Order, budget: &'a Budget) -> Reader<'a> {
        Reader {
            snapshot,
            needs,
            order,
            max_hops: HOPS,
            scratch: Scratch::default(),
            shared: Shared::default(),
            reach: Reach::default(),
            homes: Vec::new(),
            events: Vec::new(),
            fresh: Vec::new(),
            gauge: budget.gauge(),
            actuals: Actuals::default(),
        }
    }

    /// Follows at most so many links.
    pub(crate) fn max_hops(mut self, links: u32) -> Reader<'a> {
        self.max_hops = links;
        self
    }

    /// Follows the links of `customer`, over all of time.
    pub(crate) fn follow(&mut self, customer: u32) -> Result<()> {
        self.reach = reach(&self.snapshot.links_view(), customer, Interval::ALL, self.max_hops)?;
        Ok(())
    }

    /// What the customer followed last reaches.
    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Reads the events of the customer followed last that may be wanted: each once, all in its
    /// stream of all of time.
    ///
    /// Cost: as [`crate::StreamQuery::run`]; rows of components are decoded once for many customers.
    pub(crate) fn read(&mut self) -> Result<()> {
        self.actuals.customers += 1;
        self.events.clear();
        self.homes.clear();
        if self.needs.is_empty() {
            return Ok(());
        }
        self.homes = gather::homes(&self.reach, &self.snapshot.links_view(), &self.needs.hull())?;
        self.read_homes()?;
        self.gauge
            .set((self.events.capacity() + self.fresh.capacity() + self.shared.events) * size_of::<RawEvent>())?;
        let resolver = Resolver::new(&self.snapshot.lookup);
        arrange(&mut self.events, self.order, &resolver)?;
        self.actuals.events += self.events.len() as u64;
        Ok(())
    }

    /// The events read last, in order.
    pub(crate) fn events(&self) -> &[RawEvent] {
        &self.events
    }

    /// Where the events read last may lie, ascending.
    pub(crate) fn homes(&self) -> &[u32] {
        &self.homes
    }

    /// Appends the wanted events of the stream.
    fn read_homes(&mut self) -> Result<()> {
        let snapshot = self.snapshot;
        let (shared, reach) = (&self.shared, &self.reach);
        let mut unread: Vec<u32> = Vec::with_capacity(self.homes.len());
        for &home in &self.homes {
            match shared.by_home.get(&home) {
                Some(events) => {
                    self.events.extend(events.iter().filter(|event| in_stream(event, reach)).cloned());
                }
                None => unread.push(home),
            }
        }
        let rows = gather::fetch(&snapshot.lookup, &snapshot.view, &unread, self.needs.windows())?;
        self.actuals.rows += rows.len() as u64;
        self.actuals.bytes += rows.iter().map(|row| row.value.len() as u64).sum::<u64>();
        let tables = snapshot.lookup.terms.read();
        for home in unread {
            self.read_home(home, &rows, &tables)?;
            if home >= FIRST_OTHER {
                self.shared.keep(home, &self.fresh);
            }
            let reach = &self.reach;
            self.events.extend(self.fresh.drain(..).filter(|event| in_stream(event, reach)));
        }
        Ok(())
    }

    /// Fills `fresh` with the wanted events of one home.
    fn read_home(&mut self, home: u32, rows: &[Row<'_>], tables: &TermTables) -> Result<()> {
        let snapshot = self.snapshot;
        self.fresh.clear();
        let limited = Limited::new(self.needs, self.gauge.budget());
        let store = &snapshot.lookup.store;
        let reading = Reading { store, layouts: tables, during: self.needs.hull(), wanted: &limited };
        for row in rows.iter().filter(|row| row.home == home) {
            row.segment.read_home(home, &row.value, &reading, &mut self.scratch, &mut self.fresh)?;
        }
        for (active, bound) in &snapshot.view.actives {
            let wanted = |event: &RawEvent| limited.wants(event.time, event.shape, event.severity);
            active.read_home(home, *bound, tables, wanted, &mut self.fresh)?;
        }
        limited.check()
    }
}

fn in_stream(event: &RawEvent, reach: &Reach) -> bool {
    gather::is_present(event, reach, &Interval::ALL)
}

/// Sorts events as told and drops the further copies of those with several homes.
fn arrange(events: &mut Vec<RawEvent>, order: Order, resolver: &Resolver<'_>) -> Result<()> {
    /// Copies are compared with each other, one by one, up to this many of one instant.
    const FEW: usize = 16;
    if order == Order::Total {
        return order::sort(events, resolver);
    }
    if !events.is_sorted_by_key(|event| event.time) {
        events.sort_by_key(|event| event.time);
    }
    if events.iter().all(|event| event.subjects.len() < 2) {
        return Ok(());
    }
    if events.chunk_by(|a, b| a.time == b.time).any(|tie| tie.len() > FEW) {
        return order::sort(events, resolver);
    }
    let mut kept: Vec<RawEvent> = Vec::with_capacity(events.len());
    for event in events.drain(..) {
        let tied = kept.iter().rev().take_while(|other| other.time == event.time);
        if event.subjects.len() < 2 || tied.into_iter().all(|other| *other != event) {
            kept.push(event);
        }
    }
    *events = kept;
    Ok(())
}

/// The wanted events of components: many customers meet the same ones.
#[derive(Default)]
struct Shared {
    by_home: HashMap<u32, Vec<RawEvent>, FixedState>,
    /// Events held, counting a home without any as one.
    events: usize,
}

impl Shared {
    const EVENTS_MAX: usize = 1 << 16;

    fn keep(&mut self, home: u32, events: &[RawEvent]) {
        let more = events.len().max(1);
        if more > Shared::EVENTS_MAX / 4 {
            return;
        }
        if self.events + more > Shared::EVENTS_MAX {
            mem::take(&mut self.by_home);
            self.events = 0;
        }
        self.events += more;
        self.by_home.insert(home, events.to_vec());
    }
}

/// Wants nothing more once the memory of the question is used up.
pub(crate) struct Limited<'a> {
    needs: &'a Needs,
    budget: &'a Budget,
    left: Cell<usize>,
    exceeded: Cell<bool>,
}

impl<'a> Limited<'a> {
    pub(crate) fn new(needs: &'a Needs, budget: &'a Budget) -> Limited<'a> {
        let left = Cell::new(budget.left() / size_of::<RawEvent>());
        Limited { needs, budget, left, exceeded: Cell::new(false) }
    }

    /// Fails if something wanted was left out.
    pub(crate) fn check(&self) -> Result<()> {
        if self.exceeded.get() { Err(self.budget.exceeded()) } else { Ok(()) }
    }
}

impl Wanted for Limited<'_> {
    fn named(&self) -> Option<&[u32]> {
        self.needs.named()
    }

    fn times(&self) -> (i64, i64) {
        self.needs.times()
    }

    fn wants(&self, time: i64, shape: u32, severity: u8) -> bool {
        if !self.needs.wants(time, shape, severity) {
            return false;
        }
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => self.exceeded.set(true),
        }
        !self.exceeded.get()
    }
}
