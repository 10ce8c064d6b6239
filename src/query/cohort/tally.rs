//! Counts events and the customers who lived through them, by a key.

use std::hash::Hash;
use std::mem;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use roaring::RoaringBitmap;

use crate::codec::raw::RawEvent;
use crate::dictionary::TermTables;
use crate::error::Result;
use crate::expr::Predicate;
use crate::model::{IntervalSet, Timestamp};
use crate::query::cohort::effort::{Budget, Gauge};
use crate::query::cohort::explain::{Explain, Watch};
use crate::query::cohort::person::Person;
use crate::query::cohort::question::{Question, Sequence};
use crate::query::cohort::reader::{Actuals, Order};
use crate::query::cohort::scan::over_customers;
use crate::query::cohort::scope::Scope;
use crate::query::cohort::walk::Walk;
use crate::query::item::lasts;
use crate::query::lookup::Resolver;
use crate::query::snapshot::Snapshot;

/// How often a key was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Different events.
    pub(crate) events: u64,
    /// Different customers with one of them in their stream.
    pub(crate) customers: u64,
}

/// What is to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Customers are told as 0.
    Events,
    Both,
}

/// The keys of an event; one for each thread, so that it may remember.
pub(crate) trait Keys<K> {
    fn of(&mut self, event: &RawEvent, tables: &TermTables, keys: &mut Vec<K>) -> Result<()>;

    /// Bytes of a key, beside itself.
    fn bytes(_key: &K) -> usize {
        0
    }
}

type Counts<K> = HashMap<K, Count, FixedState>;
type Reached = HashMap<u32, IntervalSet, FixedState>;

/// Counts the events that satisfy `what` by each of their keys: all of the store, or, within a cohort,
/// those in the stream of some member. An event has its time in the window.
///
/// Cost: one read of each customer's stream in the window, then one of each home that matters.
pub(crate) fn tally<K: Clone + Eq + Hash + Ord + Send, G: Keys<K> + Send>(
    snapshot: &Snapshot,
    what: &Predicate,
    scope: &Scope,
    counted: Counted,
    begin: impl Fn() -> G + Sync,
    explain: &mut Explain,
) -> Result<HashMap<K, Count, FixedState>> {
    let mut watch = Watch::start();
    let (effort, budget) = (&scope.effort, scope.effort.budget());
    explain.threads = effort.threads();
    let window = scope.window(scope.now());
    let (question, sequence) = Question::of_event(snapshot, what, window)?;
    let mut gauge = budget.gauge();
    let customers = scope.customers(snapshot)?;
    gauge.set(question.bytes() + customers.serialized_size())?;
    let within = scope.cohort.is_some();
    let met = if within || counted == Counted::Both { customers.clone() } else { RoaringBitmap::new() };
    explain.plan(format!("count in the streams of {} customers", met.len()));
    let what_is_read = if within { "the other homes of those streams" } else { "every home" };
    explain.plan(format!("count events under {what_is_read}, each once"));
    watch.step("names, shapes and windows looked up", explain);

    let parts = over_customers(
        &met,
        effort,
        || Streams::new(snapshot, &question, &budget, within, &begin),
        |streams, customer| streams.visit(customer, &sequence),
        Streams::end,
    )?;
    let mut counts: HashMap<K, Count, FixedState> = HashMap::default();
    let mut homes = RoaringBitmap::new();
    let mut reached = Reached::default();
    for part in parts {
        let Part { counts: part, homes: more, reached: instants, actuals } = part;
        explain.count(&actuals);
        for (key, count) in part {
            let known = counts.entry(key).or_default();
            known.events += count.events;
            known.customers += if counted == Counted::Both { count.customers } else { 0 };
        }
        homes |= more;
        for (entity, when) in instants {
            let known = reached.entry(entity).or_default();
            *known = known.union(&when);
        }
    }
    watch.step("customers counted", explain);

    let walk = Walk { snapshot, needs: &question.needs, homes: within.then_some(&homes), effort, budget: &budget };
    let judge = &question.judges[0];
    let (states, actuals) = walk.run(
        || (begin(), Tally::new(&budget)),
        |event, eyes| {
            let inside = window.contains(Timestamp::from_nanos(event.time));
            Ok(inside
                && (!within || !is_own(event, &customers) && is_reached(event, &reached))
                && judge.holds(event, eyes)?)
        },
        |(keys, tally), event, eyes| tally.event(event, eyes.resolver.tables(), keys),
    )?;
    explain.count(&actuals);
    for (_, tally) in states {
        tally.counts.into_iter().for_each(|(key, count)| counts.entry(key).or_default().events += count.events);
    }
    watch.step("events counted", explain);
    Ok(counts)
}

/// Whether some member reached a subject of the event while it was present.
fn is_reached(event: &RawEvent, reached: &Reached) -> bool {
    event.subjects.iter().filter_map(|subject| reached.get(subject)).any(|when| when.overlaps(&lasts(event)))
}

/// Whether the event is one of a member itself, so that it was counted when that one was met.
fn is_own(event: &RawEvent, members: &RoaringBitmap) -> bool {
    matches!(event.subjects[..], [subject] if members.contains(subject))
}

/// Counts of one thread.
struct Tally<'a, K> {
    counts: Counts<K>,
    /// Keys of the events of one customer, and those of one event.
    noted: Vec<K>,
    of_event: Vec<K>,
    gauge: Gauge<'a>,
}

impl<'a, K: Clone + Eq + Hash + Ord> Tally<'a, K> {
    fn new(budget: &'a Budget) -> Tally<'a, K> {
        Tally { counts: Counts::default(), noted: Vec::new(), of_event: Vec::new(), gauge: budget.gauge() }
    }

    /// Notes the keys of an event of the customer at hand.
    fn note(&mut self, event: &RawEvent, tables: &TermTables, keys: &mut impl Keys<K>) -> Result<()> {
        keys.of(event, tables, &mut self.noted)
    }

    /// Counts the customer at hand once for each different key noted.
    fn customer<G: Keys<K>>(&mut self) -> Result<()> {
        let mut keys = mem::take(&mut self.noted);
        self.count(&mut keys, G::bytes, |count| &mut count.customers)?;
        self.noted = keys;
        Ok(())
    }

    /// Counts an event once for each of its different keys.
    fn event<G: Keys<K>>(&mut self, event: &RawEvent, tables: &TermTables, keys: &mut G) -> Result<()> {
        let mut own = mem::take(&mut self.of_event);
        keys.of(event, tables, &mut own)?;
        self.count(&mut own, G::bytes, |count| &mut count.events)?;
        self.of_event = own;
        Ok(())
    }

    fn count(
        &mut self,
        keys: &mut Vec<K>,
        bytes: impl Fn(&K) -> usize,
        what: impl Fn(&mut Count) -> &mut u64,
    ) -> Result<()> {
        /// Bytes of an entry beside its key, about.
        const OVERHEAD: usize = 64;
        let mut more = 0;
        keys.sort_unstable();
        keys.dedup();
        for key in keys.drain(..) {
            let count = match self.counts.entry(key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    more += size_of::<K>() + bytes(place.key()) + OVERHEAD;
                    place.insert(Count::default())
                }
            };
            *what(count) += 1;
        }
        if more > 0 { self.gauge.add(more) } else { Ok(()) }
    }
}

/// Goes through the streams of customers, for one thread.
struct Streams<'a, K, G> {
    snapshot: &'a Snapshot,
    person: Person<'a>,
    keys: G,
    tally: Tally<'a, K>,
    /// Within a cohort a member's own events are counted here; where its others lie and what reaches them
    /// is noted.
    within: bool,
    homes: RoaringBitmap,
    reached: Reached,
}

/// What one thread found.
struct Part<K> {
    counts: Counts<K>,
    homes: RoaringBitmap,
    reached: Reached,
    actuals: Actuals,
}

impl<'a, K: Clone + Eq + Hash + Ord, G: Keys<K>> Streams<'a, K, G> {
    fn new(
        snapshot: &'a Snapshot,
        question: &'a Question,
        budget: &'a Budget,
        within: bool,
        begin: &impl Fn() -> G,
    ) -> Streams<'a, K, G> {
        Streams {
            snapshot,
            person: Person::with_order(snapshot, question, budget, Order::Time),
            keys: begin(),
            tally: Tally::new(budget),
            within,
            homes: RoaringBitmap::new(),
            reached: Reached::default(),
        }
    }

    fn visit(&mut self, customer: u32, sequence: &Sequence) -> Result<()> {
        /// Bytes of an entity reached, about.
        const REACHED: usize = 96;
        self.person.meet(customer);
        self.person.mark(sequence)?;
        if self.person.marked().is_empty() {
            return Ok(());
        }
        let resolver = Resolver::new(&self.snapshot.lookup);
        let mut others = false;
        for &at in self.person.marked() {
            let event = &self.person.events()[at];
            self.tally.note(event, resolver.tables(), &mut self.keys)?;
            if !self.within {
                continue;
            }
            if event.subjects[..] == [customer] {
                self.tally.event(event, resolver.tables(), &mut self.keys)?;
                continue;
            }
            others = true;
            for &subject in &event.subjects {
                let Some(reached) = self.person.reach().get(subject) else { continue };
                let before = self.reached.len();
                let known = self.reached.entry(subject).or_default();
                if known != &reached.when {
                    *known = known.union(&reached.when);
                }
                self.tally.gauge.add((self.reached.len() - before) * REACHED)?;
            }
        }
        if others {
            self.homes.extend(self.person.homes().iter().copied());
        }
        self.tally.customer::<G>()
    }

    fn end(self) -> Part<K> {
        Part { counts: self.tally.counts, homes: self.homes, reached: self.reached, actuals: self.person.actuals() }
    }
}
