//! Counts events and the customers who lived through them, by a key.

use std::hash::Hash;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
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

/// The keys of an event; one for each thread, so that it may remember.
pub(crate) trait Keys<K> {
    fn of(&mut self, event: &RawEvent, tables: &TermTables, keys: &mut Vec<K>) -> Result<()>;
}

type Counts<K> = HashMap<K, u64, FixedState>;
type Reached = HashMap<u32, IntervalSet, FixedState>;

/// Counts the events that satisfy `what` by each of their keys: all of the store, or, within a cohort,
/// those in the stream of some member. An event has its time in the window.
///
/// Cost: one read of each customer's stream in the window, then one of each home that matters.
pub(crate) fn tally<K: Clone + Eq + Hash + Ord + Send, G: Keys<K> + Send>(
    snapshot: &Snapshot,
    what: &Predicate,
    scope: &Scope,
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
    explain.plan(format!("count customers in the streams of {}", customers.len()));
    let what_is_read = if within { "the homes of those streams" } else { "every home" };
    explain.plan(format!("count events under {what_is_read}, each once"));
    watch.step("names, shapes and windows looked up", explain);

    let parts = over_customers(
        &customers,
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
        part.into_iter().for_each(|(key, count)| counts.entry(key).or_default().customers += count);
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
            Ok(inside && (!within || is_reached(event, &reached)) && judge.holds(event, eyes)?)
        },
        |(keys, tally), event, eyes| {
            tally.take(event, eyes.resolver.tables(), keys)?;
            tally.count()
        },
    )?;
    explain.count(&actuals);
    for (_, tally) in states {
        tally.counts.into_iter().for_each(|(key, count)| counts.entry(key).or_default().events += count);
    }
    watch.step("events counted", explain);
    Ok(counts)
}

/// Whether some member reached a subject of the event while it was present.
fn is_reached(event: &RawEvent, reached: &Reached) -> bool {
    event.subjects.iter().filter_map(|subject| reached.get(subject)).any(|when| when.overlaps(&lasts(event)))
}

/// Counts of one thread.
struct Tally<'a, K> {
    counts: Counts<K>,
    keys: Vec<K>,
    gauge: Gauge<'a>,
}

impl<'a, K: Clone + Eq + Hash + Ord> Tally<'a, K> {
    fn new(budget: &'a Budget) -> Tally<'a, K> {
        Tally { counts: Counts::default(), keys: Vec::new(), gauge: budget.gauge() }
    }

    /// Notes the keys of an event.
    fn take(&mut self, event: &RawEvent, tables: &TermTables, keys: &mut impl Keys<K>) -> Result<()> {
        keys.of(event, tables, &mut self.keys)
    }

    /// Counts one for each different key noted.
    fn count(&mut self) -> Result<()> {
        /// Bytes of a key beside itself, about.
        const OVERHEAD: usize = 64;
        let before = self.counts.len();
        self.keys.sort_unstable();
        self.keys.dedup();
        self.keys.drain(..).for_each(|key| *self.counts.entry(key).or_default() += 1);
        let new = self.counts.len() - before;
        if new > 0 { self.gauge.add(new * (size_of::<K>() + OVERHEAD)) } else { Ok(()) }
    }
}

/// Goes through the streams of customers, for one thread.
struct Streams<'a, K, G> {
    snapshot: &'a Snapshot,
    person: Person<'a>,
    keys: G,
    tally: Tally<'a, K>,
    /// Where the events lie and what reaches them is noted for counting within a cohort.
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
        for &at in self.person.marked() {
            let event = &self.person.events()[at];
            self.tally.take(event, resolver.tables(), &mut self.keys)?;
            if !self.within {
                continue;
            }
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
        if self.within {
            self.homes.extend(self.person.homes().iter().copied());
        }
        self.tally.count()
    }

    fn end(self) -> Part<K> {
        Part { counts: self.tally.counts, homes: self.homes, reached: self.reached, actuals: self.person.actuals() }
    }
}
