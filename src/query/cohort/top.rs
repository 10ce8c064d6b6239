//! The most frequent values of a field, and the customers with the most.

use std::cmp::Reverse;
use std::fmt;

use crate::codec::raw::{RawEvent, RawValue};
use crate::dictionary::TermTables;
use crate::error::Result;
use crate::expr::Predicate;
use crate::model::Text;
use crate::query::cohort::explain::{Explain, Watch};
use crate::query::cohort::person::Person;
use crate::query::cohort::plan;
use crate::query::cohort::question::Question;
use crate::query::cohort::reader::Actuals;
use crate::query::cohort::scan::over_customers;
use crate::query::cohort::scope::{Scope, scoped};
use crate::query::cohort::set::names;
use crate::query::cohort::tally::{Counted, Keys, tally};
use crate::query::lookup::Resolver;
use crate::query::snapshot::Snapshot;

/// Rows unless the query says otherwise.
const LIMIT: usize = 10;

/// A field of events whose values can be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// What happened.
    Kind,
    /// The storey of the pyramid.
    Layer,
    /// The feed.
    Source,
    /// How bad it was, by number.
    Severity,
    /// The attribute of this name; numbers as they are written.
    Attribute(Text),
    /// The entities it happened to; an event counts for each.
    Subject,
    /// The entities it involves; an event counts for each.
    Context,
}

/// Asks for the values of a field and how often each is met; see [`Snapshot::top`].
#[derive(Clone)]
#[must_use = "a query does nothing until it is run"]
pub struct TopQuery {
    snapshot: Snapshot,
    field: Field,
    what: Predicate,
    limit: Option<usize>,
    by_value: bool,
    scope: Scope,
}

/// A value, and how often it was met. Events that lack the field are in no row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopRow {
    /// The value as text; entities as `type:id`.
    pub value: Text,
    /// Different events with it: without a cohort all of the store, with one those in the stream of a
    /// member.
    pub events: u64,
    /// Different customers with one of them in their stream.
    pub customers: u64,
}

scoped!(TopQuery);

impl TopQuery {
    pub(crate) fn new(snapshot: Snapshot, field: Field, what: Predicate) -> TopQuery {
        TopQuery { snapshot, field, what, limit: Some(LIMIT), by_value: false, scope: Scope::default() }
    }

    /// At most so many rows, those with most events. Default: 10.
    pub fn limit(mut self, rows: usize) -> TopQuery {
        self.limit = Some(rows);
        self
    }

    /// All rows, in the order of their values.
    pub fn all(mut self) -> TopQuery {
        self.limit = None;
        self.by_value = true;
        self
    }

    /// Counts. Rows with more events come first, of equal ones that with the lesser value: texts by their
    /// bytes, severities by number.
    ///
    /// Cost: one read of each customer's stream in the window, then one of each home that matters.
    ///
    /// # Errors
    /// `Invalid` for a cohort of another store, a predicate that breaks the rules, or for more memory than
    /// allowed; `Cancelled`; errors of the store.
    pub fn run(self) -> Result<Vec<TopRow>> {
        Ok(self.run_explained()?.0)
    }

    /// As [`TopQuery::run`], and tells how.
    pub fn run_explained(self) -> Result<(Vec<TopRow>, Explain)> {
        let TopQuery { snapshot, field, what, limit, by_value, scope } = self;
        let mut explain = Explain::default();
        let counts = tally(&snapshot, &what, &scope, Counted::Both, || ByField(field.clone()), &mut explain)?;
        let resolver = Resolver::new(&snapshot.lookup);
        let mut rows = counts
            .into_iter()
            .map(|(value, count)| {
                let (rank, value) = match value {
                    FieldValue::Severity(number) => (number, Text::from(number.to_string())),
                    FieldValue::Text(text) => (0, text),
                    FieldValue::Entity(number) => (0, Text::from(resolver.entity(number)?.to_string())),
                };
                Ok((rank, TopRow { value, events: count.events, customers: count.customers }))
            })
            .collect::<Result<Vec<(u8, TopRow)>>>()?;
        drop(resolver);
        let frequent = |row: &TopRow| if by_value { None } else { Some(Reverse(row.events)) };
        rows.sort_unstable_by(|a, b| (frequent(&a.1), a.0, &a.1.value).cmp(&(frequent(&b.1), b.0, &b.1.value)));
        rows.truncate(limit.unwrap_or(usize::MAX));
        Ok((rows.into_iter().map(|(_, row)| row).collect(), explain))
    }
}

impl fmt::Debug for TopQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopQuery").field("field", &self.field).field("what", &self.what).finish_non_exhaustive()
    }
}

/// A value, as a number where that is shorter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum FieldValue {
    Severity(u8),
    Text(Text),
    Entity(u32),
}

struct ByField(Field);

impl Keys<FieldValue> for ByField {
    fn of(&mut self, event: &RawEvent, tables: &TermTables, keys: &mut Vec<FieldValue>) -> Result<()> {
        let entry = tables.shape(event.shape)?;
        match &self.0 {
            Field::Kind => keys.push(FieldValue::Text(entry.kind.clone())),
            Field::Source => keys.push(FieldValue::Text(entry.source.clone())),
            Field::Layer => keys.extend(entry.layer.clone().map(FieldValue::Text)),
            Field::Severity if event.severity == 0 => {}
            Field::Severity => keys.push(FieldValue::Severity(event.severity)),
            Field::Attribute(name) => {
                let at = entry.attributes.iter().position(|(known, _)| known == name);
                if let Some((at, value)) = at.and_then(|at| Some((at, event.values.get(at)?))) {
                    keys.push(FieldValue::Text(match value {
                        RawValue::Text(text) => text.clone(),
                        other => match tables.value(entry, at, other)? {
                            crate::model::Value::Text(text) => text,
                            number => Text::from(number.to_string()),
                        },
                    }));
                }
            }
            Field::Subject => keys.extend(event.subjects.iter().copied().map(FieldValue::Entity)),
            Field::Context => keys.extend(event.context.iter().copied().map(FieldValue::Entity)),
        }
        Ok(())
    }

    fn bytes(key: &FieldValue) -> usize {
        match key {
            FieldValue::Text(text) => text.len(),
            FieldValue::Severity(_) | FieldValue::Entity(_) => 0,
        }
    }
}

/// What makes a customer stand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Score {
    /// The number of events.
    Events,
    /// The sum of their severities; an event without one adds nothing.
    Severity,
    /// The sum of the squares of their severities: few bad events weigh more than many harmless ones.
    SeveritySquared,
}

impl Score {
    pub(crate) fn of(self, severity: u8) -> u64 {
        match self {
            Score::Events => 1,
            Score::Severity => u64::from(severity),
            Score::SeveritySquared => u64::from(severity) * u64::from(severity),
        }
    }
}

/// Asks for the customers with the highest score; see [`Snapshot::top_customers`].
#[derive(Clone)]
#[must_use = "a query does nothing until it is run"]
pub struct TopCustomersQuery {
    snapshot: Snapshot,
    what: Predicate,
    score: Score,
    limit: usize,
    scope: Scope,
}

/// A customer and what was counted of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopCustomer {
    /// The id, without its type.
    pub customer: Text,
    /// The score.
    pub score: u64,
    /// Events of their stream that count; at least one.
    pub events: u64,
}

scoped!(TopCustomersQuery);

impl TopCustomersQuery {
    pub(crate) fn new(snapshot: Snapshot, what: Predicate, score: Score) -> TopCustomersQuery {
        TopCustomersQuery { snapshot, what, score, limit: LIMIT, scope: Scope::default() }
    }

    /// At most so many rows. Default: 10.
    pub fn limit(mut self, rows: usize) -> TopCustomersQuery {
        self.limit = rows;
        self
    }

    /// Counts. Higher scores come first, of equal ones the customer that the store met first.
    ///
    /// Cost: one read of each customer's stream in the window.
    ///
    /// # Errors
    /// As [`TopQuery::run`].
    pub fn run(self) -> Result<Vec<TopCustomer>> {
        Ok(self.run_explained()?.0)
    }

    /// As [`TopCustomersQuery::run`], and tells how.
    pub fn run_explained(self) -> Result<(Vec<TopCustomer>, Explain)> {
        let TopCustomersQuery { snapshot, what, score, limit, scope } = self;
        let (effort, budget) = (&scope.effort, scope.effort.budget());
        let mut explain = Explain { threads: effort.threads(), ..Explain::default() };
        let mut watch = Watch::start();
        let window = scope.window(scope.now());
        let (question, sequence) = Question::of_event(&snapshot, &what, window)?;
        let customers = scope.customers(&snapshot)?;
        let mut gauge = budget.gauge();
        gauge.set(question.bytes() + customers.serialized_size())?;
        watch.step("names, shapes and windows looked up", &mut explain);
        if scope.cohort.is_none() && !scope.scan_only {
            let asked = (&question, &sequence);
            if let Some(rows) = plan::scores(&snapshot, asked, score, limit, effort, &budget, &mut explain)? {
                watch.step("index asked", &mut explain);
                return Ok((named(&snapshot, rows)?, explain));
            }
        }
        explain.plan(format!("add up the streams of {} customers", customers.len()));
        let parts = over_customers(
            &customers,
            effort,
            || (Person::new(&snapshot, &question, &budget), Vec::new(), budget.gauge()),
            |(person, rows, gauge), customer| {
                person.meet(customer);
                person.mark(&sequence)?;
                if !person.marked().is_empty() {
                    let events = person.events();
                    let sum = person.marked().iter().map(|&at| score.of(events[at].severity)).sum::<u64>();
                    rows.push((Reverse(sum), customer, person.marked().len() as u64));
                    gauge.add(size_of::<(u64, u32, u64)>())?;
                }
                Ok(())
            },
            |(person, rows, _)| (person.actuals(), rows),
        )?;
        let mut rows = Vec::new();
        let mut actuals = Actuals::default();
        for (part, more) in parts {
            actuals.add(&part);
            rows.extend(more);
        }
        explain.count(&actuals);
        rows.sort_unstable();
        rows.truncate(limit);
        let named = named(&snapshot, rows)?;
        watch.step("customers added up", &mut explain);
        Ok((named, explain))
    }
}

/// The rows with the ids of their customers.
fn named(snapshot: &Snapshot, rows: Vec<plan::Scored>) -> Result<Vec<TopCustomer>> {
    let mut numbers: Vec<u32> = rows.iter().map(|&(_, customer, _)| customer).collect();
    numbers.sort_unstable();
    let ids = names(snapshot, &numbers)?;
    let named = rows.into_iter().filter_map(|(Reverse(score), number, events)| {
        let at = numbers.binary_search(&number).ok()?;
        Some(TopCustomer { customer: ids[at].clone(), score, events })
    });
    Ok(named.collect())
}

impl fmt::Debug for TopCustomersQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopCustomersQuery")
            .field("what", &self.what)
            .field("score", &self.score)
            .finish_non_exhaustive()
    }
}
