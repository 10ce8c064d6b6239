//! How far customers get in a row of steps.

use std::fmt;

use roaring::RoaringBitmap;

use crate::error::Result;
use crate::expr::{Expr, Moment, Period, Predicate, Seq, Step, Ties};
use crate::model::{Timestamp, Window};
use crate::query::cohort::explain::{Explain, Watch};
use crate::query::cohort::person::Person;
use crate::query::cohort::question::Question;
use crate::query::cohort::reader::{Actuals, Order};
use crate::query::cohort::scan::over_customers;
use crate::query::cohort::scope::{Scope, scoped};
use crate::query::cohort::sequence::{self, Rules};
use crate::query::cohort::set::Cohort;
use crate::query::snapshot::Snapshot;

/// Asks how far customers get in a row of steps; see [`Snapshot::funnel`].
#[derive(Clone)]
#[must_use = "a query does nothing until it is run"]
pub struct FunnelQuery {
    snapshot: Snapshot,
    steps: Vec<Predicate>,
    within: Option<i64>,
    scope: Scope,
}

/// A step of a funnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunnelStep {
    /// Customers that reached it.
    pub customers: u64,
    /// Half of them took at most so many nanoseconds from the step before; `None` for the first step and
    /// for one that nobody reached.
    pub p50_nanos: Option<i64>,
    /// Nine of ten took at most so many.
    pub p90_nanos: Option<i64>,
    /// Customers that got exactly here and may still go on: there is a step behind, and the time from
    /// their latest fitting first step is not over at `now`.
    pub pending: u64,
}

/// How far customers got.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Funnel {
    /// What became of each step, in order.
    pub steps: Vec<FunnelStep>,
    snapshot: Snapshot,
    asked: Vec<Expr>,
    reached: Vec<RoaringBitmap>,
    now: Timestamp,
    explain: Explain,
}

scoped!(FunnelQuery);

impl FunnelQuery {
    pub(crate) fn new(snapshot: Snapshot, steps: Vec<Predicate>) -> FunnelQuery {
        FunnelQuery { snapshot, steps, within: None, scope: Scope::default() }
    }

    /// The last step comes at most so many nanoseconds after the first. Default: no bound.
    pub fn within(mut self, nanos: i64) -> FunnelQuery {
        self.within = Some(nanos);
        self
    }

    /// Counts.
    ///
    /// A customer's level is the most steps for which there are different events of their stream, one a
    /// step, none earlier than the one before it, all with their time in the window and the last at most
    /// `within` after the first. Times between steps are those of the events that reach that level first,
    /// of these the earliest ones; p50 and p90 are nearest ranks.
    ///
    /// Cost: one read of each customer's stream in the window.
    ///
    /// # Errors
    /// `Invalid` for no step, more than 64 of them, a predicate that breaks the rules, a cohort of another
    /// store, or for more memory than allowed; `Cancelled`; errors of the store.
    pub fn run(self) -> Result<Funnel> {
        let FunnelQuery { snapshot, steps, within, scope } = self;
        let (effort, budget) = (&scope.effort, scope.effort.budget());
        let mut explain = Explain { threads: effort.threads(), ..Explain::default() };
        let mut watch = Watch::start();
        let now = scope.now();
        let window = scope.window(now);
        let rules = Rules { step_within: vec![None; steps.len()], within, window, ties: Ties::Any };
        let (question, sequence) = Question::of_steps(&snapshot, &steps, rules, window)?;
        let customers = scope.customers(&snapshot)?;
        let mut gauge = budget.gauge();
        gauge.set(question.bytes() + customers.serialized_size())?;
        explain.plan(format!("follow {} steps through the streams of {} customers", steps.len(), customers.len()));
        watch.step("names, shapes and windows looked up", &mut explain);
        let parts = over_customers(
            &customers,
            effort,
            || {
                let person = Person::with_order(&snapshot, &question, &budget, Order::Total);
                (person, Part::new(steps.len()), budget.gauge())
            },
            |(person, part, gauge), customer| {
                person.meet(customer);
                person.mark(&sequence)?;
                let rules = &sequence.rules;
                let Some((level, start)) = sequence::level(person.marks(), rules) else { return Ok(()) };
                let winners = sequence::winners(person.marks(), &rules.prefix(level)).unwrap_or_default();
                let times: Vec<i64> = winners.iter().map(|&mark| person.marks()[mark].time).collect();
                part.count(customer, &times);
                // A sum in 64 bits would stop at the end of time, where `now` may be, too.
                let until = |most: i64| i128::from(start) + i128::from(most);
                let open = within.is_none_or(|most| until(most) > i128::from(now.as_nanos()));
                part.pending[level - 1] += u64::from(open && level < rules.step_within.len());
                gauge.add(level * size_of::<i64>())
            },
            |(person, part, _)| (person.actuals(), part),
        )?;
        let mut all = Part::new(steps.len());
        let mut actuals = Actuals::default();
        for (read, part) in parts {
            actuals.add(&read);
            all.add(part);
        }
        explain.count(&actuals);
        let counted = all.steps();
        watch.step("customers counted", &mut explain);
        let asked = (1..=steps.len()).map(|count| asked(&steps[..count], within, window, &scope)).collect();
        Ok(Funnel { steps: counted, snapshot, asked, reached: all.reached, now, explain })
    }
}

impl fmt::Debug for FunnelQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunnelQuery").field("steps", &self.steps).field("within", &self.within).finish_non_exhaustive()
    }
}

impl Funnel {
    /// The customers that reached a step, counted from 0; none for a step that there is not.
    ///
    /// Its expression is the sequence of the steps, as near as the language comes to a funnel: the window
    /// of a sequence binds the first step alone.
    pub fn customers(&self, step: usize) -> Cohort {
        let expr = self.asked.get(step).cloned().unwrap_or(Expr::Or(Vec::new()));
        let numbers = self.reached.get(step).cloned().unwrap_or_default();
        Cohort::new(self.snapshot.clone(), expr, self.now, numbers, self.explain.clone())
    }

    /// How it was found.
    pub fn explain(&self) -> &Explain {
        &self.explain
    }
}

/// The sequence of some steps.
fn asked(steps: &[Predicate], within: Option<i64>, window: Window, scope: &Scope) -> Expr {
    let bound = |time: Timestamp, open| (time != open).then_some(Moment::At(time));
    let window = Period { from: bound(window.from, Timestamp::MIN), to: bound(window.to, Timestamp::MAX) };
    let within = within.filter(|_| steps.len() > 1);
    let steps = steps.iter().map(|what| Step { what: what.clone(), within: None, without: Vec::new() }).collect();
    let seq = Expr::Seq(Seq { steps, within, window, ties: Ties::Any });
    match &scope.cohort {
        Some(cohort) => Expr::And(vec![cohort.expr().clone(), seq]),
        None => seq,
    }
}

/// What one thread counted.
struct Part {
    reached: Vec<RoaringBitmap>,
    /// Nanoseconds from the step before, by step.
    gaps: Vec<Vec<i64>>,
    pending: Vec<u64>,
}

impl Part {
    fn new(steps: usize) -> Part {
        Part { reached: vec![RoaringBitmap::new(); steps], gaps: vec![Vec::new(); steps], pending: vec![0; steps] }
    }

    /// Counts a customer whose steps happened at `times`.
    fn count(&mut self, customer: u32, times: &[i64]) {
        for (step, &time) in times.iter().enumerate() {
            self.reached[step].insert(customer);
            if step > 0 {
                self.gaps[step].push(time.saturating_sub(times[step - 1]));
            }
        }
    }

    fn add(&mut self, other: Part) {
        self.reached.iter_mut().zip(other.reached).for_each(|(all, more)| *all |= more);
        self.gaps.iter_mut().zip(other.gaps).for_each(|(all, more)| all.extend(more));
        self.pending.iter_mut().zip(other.pending).for_each(|(all, more)| *all += more);
    }

    fn steps(&mut self) -> Vec<FunnelStep> {
        let steps = self.reached.iter().zip(&mut self.gaps).zip(&self.pending);
        steps
            .map(|((reached, gaps), &pending)| {
                gaps.sort_unstable();
                FunnelStep {
                    customers: reached.len(),
                    p50_nanos: nearest_rank(gaps, 50),
                    p90_nanos: nearest_rank(gaps, 90),
                    pending,
                }
            })
            .collect()
    }
}

/// The least of `sorted` that so many percent do not exceed.
fn nearest_rank(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        assert_eq!(nearest_rank(&[], 50), None);
        assert_eq!(nearest_rank(&[7], 50), Some(7));
        assert_eq!(nearest_rank(&[1, 2, 3, 4], 50), Some(2));
        assert_eq!(nearest_rank(&[1, 2, 3, 4, 5], 50), Some(3));
        assert_eq!(nearest_rank(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 90), Some(9));
    }
}
