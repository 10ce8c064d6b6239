//! Random questions about sets of customers: every plan and the naive model must agree.
//!
//! Histories come from `model_test.rs`: late, closed and retracted links, shared components, duplicates,
//! several subjects, lasting events, seals, merges, reopenings.

use std::collections::{BTreeMap, BTreeSet};

use ofone::{
    Bucket, CalendarUnit, Cohort, ErrorKind, EventName, Expr, Field, Funnel, Period, Score, Snapshot, StreamItem, Text,
    Timestamp, Window,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::cohort_counts::{Column, Cut, Steps, Tally, Weight, clamped, scores, timeline, values};
use crate::cohort_exprs::{Count, CountQuestion, SAVED, some_count, some_expr};
use crate::cohort_model::{Ids, Naive, names, satisfies};
use crate::model_test::{Op, Run, Verdict, explore, some_op};
use crate::support::at;

/// Buckets that a timeline may have.
const MAX_BUCKETS: i128 = 100_000;

/// What is sealed when the questions are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sealed {
    Nothing,
    Everything,
    Some,
}

/// What is asked of one history.
#[derive(Clone, Debug)]
struct Questions {
    now: Timestamp,
    saved: [Expr; 2],
    sets: Vec<Expr>,
    counts: Vec<CountQuestion>,
    max_hops: u32,
}

fn some_questions() -> impl Strategy<Value = Questions> {
    let now = prop_oneof![12 => (0i64..25).prop_map(at), 1 => select(&[i64::MIN, i64::MAX][..]).prop_map(at)];
    (now, [some_expr(), some_expr()], vec(some_expr(), 1..8), vec(some_count(), 1..5), 0u32..10)
        .prop_map(|(now, saved, sets, counts, max_hops)| Questions { now, saved, sets, counts, max_hops })
}

/// The engine and the model, with the same history.
struct Asked<'a> {
    snapshot: &'a Snapshot,
    naive: &'a Naive<'a>,
    /// Every customer in the order in which cohorts list them.
    order: Vec<Text>,
}

impl<'a> Asked<'a> {
    fn new(snapshot: &'a Snapshot, naive: &'a Naive<'a>) -> Result<Asked<'a>, TestCaseError> {
        let order = snapshot.customers().collect::<Result<Vec<Text>, _>>()?;
        Ok(Asked { snapshot, naive, order })
    }

    fn cohort(&self, expr: &Expr) -> Result<Cohort, TestCaseError> {
        Ok(self.snapshot.who(expr.clone()).now(self.naive.now()).run()?)
    }

    /// Both plans give the set of the model.
    fn set(&self, expr: &Expr) -> Verdict {
        let expected = self.naive.who(expr);
        let cohort = self.cohort(expr)?;
        self.is_set(&cohort, &expected, expr)?;
        let scanned = self.snapshot.who(expr.clone()).now(self.naive.now()).scan_only().run()?;
        self.is_set(&scanned, &expected, expr)?;
        let alone = self.snapshot.who(expr.clone()).now(self.naive.now()).threads(1).run()?;
        self.is_set(&alone, &expected, expr)?;
        self.pages(&cohort, &expected, expr)?;
        for customer in &self.order {
            prop_assert_eq!(cohort.contains(customer)?, expected.contains(customer), "{} in {}", customer, expr);
            self.witness(customer, expr, &expected)?;
        }
        prop_assert!(!cohort.contains("unheard-of")?);
        Ok(())
    }

    /// The customers of the set, in order of first mention.
    fn listed(&self, expected: &Ids) -> Vec<Text> {
        self.order.iter().filter(|customer| expected.contains(*customer)).cloned().collect()
    }

    fn is_set(&self, cohort: &Cohort, expected: &Ids, expr: &Expr) -> Verdict {
        let told = cohort.ids().collect::<Result<Vec<Text>, _>>()?;
        prop_assert_eq!(&told, &self.listed(expected), "who {} at {}", expr, self.naive.now());
        prop_assert_eq!((cohort.len(), cohort.is_empty()), (told.len() as u64, told.is_empty()));
        prop_assert_eq!(cohort.expr(), expr);
        Ok(())
    }

    /// Pages joined are the whole, and a sample is a part of it.
    fn pages(&self, cohort: &Cohort, expected: &Ids, expr: &Expr) -> Verdict {
        let mut joined: Vec<Text> = Vec::new();
        loop {
            let page = cohort.ids_after(joined.last().map(Text::as_str), 2)?;
            prop_assert!(page.len() <= 2);
            if page.is_empty() {
                break;
            }
            joined.extend(page);
            prop_assert!(joined.len() <= expected.len(), "pages of {} end", expr);
        }
        prop_assert_eq!(&joined, &self.listed(expected), "pages of {}", expr);
        for count in 0..=expected.len() + 1 {
            let sample = cohort.sample(count, 7)?;
            let different: Ids = sample.iter().cloned().collect();
            prop_assert_eq!(different.len(), count.min(expected.len()), "different customers drawn from {}", expr);
            prop_assert!(different.is_subset(expected));
            prop_assert_eq!(&cohort.sample(count, 7)?, &sample, "the same seed draws the same");
        }
        Ok(())
    }

    /// A witness says what membership says, and its events are those that win.
    fn witness(&self, customer: &Text, expr: &Expr, expected: &Ids) -> Verdict {
        let witness = self.snapshot.witness_at(customer, expr, self.naive.now())?;
        prop_assert_eq!(witness.member, expected.contains(customer), "witness of {} in {}", customer, expr);
        Ok(())
    }

    fn combined(&self, first: &Expr, second: &Expr) -> Verdict {
        let (a, b) = (self.cohort(first)?, self.cohort(second)?);
        let (in_a, in_b) = (self.naive.who(first), self.naive.who(second));
        for (told, expected) in [
            (a.and(&b)?, in_a.intersection(&in_b).cloned().collect::<Ids>()),
            (a.or(&b)?, in_a.union(&in_b).cloned().collect()),
            (a.minus(&b)?, in_a.difference(&in_b).cloned().collect()),
        ] {
            let ids = told.ids().collect::<Result<Vec<Text>, _>>()?;
            prop_assert_eq!(ids, self.listed(&expected), "of {} and {}", first, second);
            prop_assert_eq!(self.naive.who(told.expr()), expected, "{} tells what was combined", told.expr());
        }
        Ok(())
    }

    fn count(&self, question: &CountQuestion) -> Verdict {
        let within = question.within.as_ref().map(|expr| self.naive.who(expr));
        let cohort = question.within.as_ref().map(|expr| self.cohort(expr)).transpose()?;
        let (cohort, within) = (cohort.as_ref(), within.as_ref());
        match &question.count {
            Count::Timeline(cut) => self.timeline(question, *cut, cohort, within),
            Count::Values(column) => self.values(question, column, cohort, within),
            Count::Scores(weight) => self.scores(question, *weight, cohort, within),
            Count::Funnel(steps) => self.funnel(steps, cohort, within),
        }
    }
}

fn bucket(cut: Cut) -> Bucket {
    let calendar = |unit| Bucket::Calendar { unit, zone: "UTC".into() };
    match cut {
        Cut::Length(nanos) => Bucket::Length(nanos),
        Cut::Hour => calendar(CalendarUnit::Hour),
        Cut::Day => calendar(CalendarUnit::Day),
        Cut::Week => calendar(CalendarUnit::Week),
        Cut::Month => calendar(CalendarUnit::Month),
    }
}

fn field(column: &Column) -> Field {
    match column {
        Column::Kind => Field::Kind,
        Column::Layer => Field::Layer,
        Column::Source => Field::Source,
        Column::Severity => Field::Severity,
        Column::Attribute(name) => Field::Attribute(name.clone()),
        Column::Subject => Field::Subject,
        Column::Context => Field::Context,
    }
}

impl Asked<'_> {
    fn timeline(
        &self,
        question: &CountQuestion,
        cut: Cut,
        cohort: Option<&Cohort>,
        within: Option<&Ids>,
    ) -> Verdict {
        let expected = timeline(self.naive, &question.what, question.window, within, cut);
        let mut query = self.snapshot.timeline(question.what.clone()).window(question.window).every(bucket(cut));
        if let Some(cohort) = cohort {
            query = query.cohort(cohort);
        }
        let told = query.now(self.naive.now()).run();
        let (Some(first), Some(last)) = (expected.keys().next(), expected.keys().next_back()) else {
            prop_assert!(told?.is_empty(), "no event, no bucket: {:?}", question);
            return Ok(());
        };
        let about = match cut {
            Cut::Length(nanos) => (last.1 - first.0) / i128::from(nanos),
            Cut::Hour => (last.1 - first.0) / 3_600_000_000_000,
            _ => (last.1 - first.0) / 86_400_000_000_000,
        };
        if about > MAX_BUCKETS {
            prop_assert_eq!(told.err().map(|error| error.kind()), Some(ErrorKind::Invalid), "{} buckets", about);
            return Ok(());
        }
        let told = told?;
        let sizes = told.windows(2).all(|pair| pair[0].to == pair[1].from);
        prop_assert!(sizes && told.iter().all(|bucket| bucket.from < bucket.to), "buckets adjoin: {:?}", told);
        let ends = (told.first().map(|bucket| bucket.from), told.last().map(|bucket| bucket.to));
        prop_assert_eq!(ends, (Some(clamped(*first).from), Some(clamped(*last).to)), "{:?}", question);
        let counted: BTreeMap<Timestamp, Tally> = told
            .iter()
            .filter(|bucket| bucket.events > 0)
            .map(|bucket| (bucket.from, Tally { events: bucket.events, customers: bucket.customers }))
            .collect();
        let expected: BTreeMap<Timestamp, Tally> =
            expected.into_iter().map(|(bounds, tally)| (clamped(bounds).from, tally)).collect();
        prop_assert_eq!(counted, expected, "{:?}", question);
        prop_assert!(told.iter().all(|bucket| bucket.events > 0 || bucket.customers == 0));
        Ok(())
    }

    fn values(
        &self,
        question: &CountQuestion,
        column: &Column,
        cohort: Option<&Cohort>,
        within: Option<&Ids>,
    ) -> Verdict {
        let by_value: Vec<(Text, Tally)> =
            values(self.naive, column, &question.what, question.window, within).into_iter().collect();
        let mut by_count = by_value.clone();
        by_count.sort_by(|a, b| b.1.events.cmp(&a.1.events).then_with(|| a.0.cmp(&b.0)));
        let top = self.snapshot.top(field(column), question.what.clone());
        let all = self.snapshot.group_by(field(column), question.what.clone());
        for (query, expected, limit) in [
            (top.limit(2), &by_count, 2),
            (self.snapshot.top(field(column), question.what.clone()).limit(1_000), &by_count, 1_000),
            (all, &by_value, usize::MAX),
        ] {
            let mut query = query.window(question.window).now(self.naive.now());
            if let Some(cohort) = cohort {
                query = query.cohort(cohort);
            }
            let told: Vec<(Text, Tally)> = query
                .run()?
                .into_iter()
                .map(|row| (row.value, Tally { events: row.events, customers: row.customers }))
                .collect();
            let expected: Vec<(Text, Tally)> = expected.iter().take(limit).cloned().collect();
            prop_assert_eq!(told, expected, "{:?}", question);
        }
        Ok(())
    }

    fn scores(
        &self,
        question: &CountQuestion,
        weight: Weight,
        cohort: Option<&Cohort>,
        within: Option<&Ids>,
    ) -> Verdict {
        let score = match weight {
            Weight::One => Score::Events,
            Weight::Severity => Score::Severity,
            Weight::SeveritySquared => Score::SeveritySquared,
        };
        let scores = scores(self.naive, &question.what, question.window, within, weight);
        let ranked = self.order.iter().filter_map(|customer| scores.get(customer).map(|score| (customer.clone(), *score)));
        let mut expected: Vec<(Text, (u64, u64))> = ranked.collect();
        expected.sort_by_key(|(_, (score, _))| std::cmp::Reverse(*score));
        for limit in [1, 1_000] {
            let mut query = self.snapshot.top_customers(question.what.clone(), score).limit(limit);
            query = query.window(question.window).now(self.naive.now());
            if let Some(cohort) = cohort {
                query = query.cohort(cohort);
            }
            let told: Vec<(Text, (u64, u64))> =
                query.run()?.into_iter().map(|row| (row.customer, (row.score, row.events))).collect();
            prop_assert_eq!(told, &expected[..expected.len().min(limit)], "{:?}", question);
        }
        Ok(())
    }

    fn funnel(&self, steps: &Steps, cohort: Option<&Cohort>, within: Option<&Ids>) -> Verdict {
        let mut query = self.snapshot.funnel(steps.what.clone()).window(steps.window).now(self.naive.now());
        if let Some(nanos) = steps.within {
            query = query.within(nanos);
        }
        if let Some(cohort) = cohort {
            query = query.cohort(cohort);
        }
        let told = query.run()?;
        let customers = self.naive.customers();
        let members = customers.iter().filter(|customer| within.is_none_or(|ids| ids.contains(*customer)));
        let levels: BTreeMap<&Text, _> =
            members.map(|customer| (customer, steps.reached(self.naive, customer))).collect();
        prop_assert_eq!(told.steps.len(), steps.what.len());
        for step in 0..steps.what.len() {
            let reached: Ids =
                levels.iter().filter(|(_, (level, _))| *level > step).map(|(customer, _)| (*customer).clone()).collect();
            let listed = told.customers(step)?.ids().collect::<Result<Vec<Text>, _>>()?;
            prop_assert_eq!(&listed, &self.listed(&reached), "step {} of {:?}", step, steps);
            prop_assert_eq!(told.steps[step].customers, listed.len() as u64, "step {} of {:?}", step, steps);
        }
        Ok(())
    }
}

fn ask(run: &Run, questions: &Questions) -> Verdict {
    let mut naive = Naive::new(run.model(), questions.now);
    // What was asked under a name stays as it was when it was saved.
    for (name, expr) in SAVED.iter().zip(&questions.saved) {
        naive.save(*name, naive.who(expr));
        let cohort = run.db().snapshot().who(expr.clone()).now(questions.now).run()?;
        run.db().save_cohort(*name, &cohort)?;
    }
    let snapshot = run.db().snapshot();
    let asked = Asked::new(&snapshot, &naive)?;
    for expr in &questions.sets {
        asked.set(expr)?;
    }
    for pair in questions.sets.windows(2) {
        asked.combined(&pair[0], &pair[1])?;
    }
    for count in &questions.counts {
        asked.count(count)?;
    }
    hops(run, questions)
}

/// Sets over paths of fewer links.
fn hops(run: &Run, questions: &Questions) -> Verdict {
    let naive = Naive::with_hops(run.model(), questions.now, questions.max_hops as usize);
    let expr = questions.sets.iter().find(|expr| !format!("{expr}").contains("cohort("));
    if let Some(expr) = expr {
        let snapshot = run.db().snapshot();
        let told = snapshot.who(expr.clone()).now(questions.now).max_hops(questions.max_hops).run()?;
        let told = told.ids().collect::<Result<Ids, _>>()?;
        prop_assert_eq!(told, naive.who(expr), "{} over {} links", expr, questions.max_hops);
    }
    Ok(())
}

#[test]
fn every_plan_agrees_with_the_model_about_sets_and_counts() {
    let sealed = prop_oneof![
        1 => Just(Sealed::Nothing),
        1 => Just(Sealed::Everything),
        2 => Just(Sealed::Some),
    ];
    let histories = || (vec(some_op(), 1..20), some_questions(), sealed.clone(), prop::bool::weighted(0.2));
    explore(1, histories, |(ops, questions, sealed, until_quiet)| {
        let mut run = match sealed {
            Sealed::Nothing => Run::with_segments(1 << 20),
            _ => Run::with_segments(8),
        };
        for op in &ops {
            match op {
                // `model_test.rs` looks at streams; here are other questions.
                Op::Compare | Op::Remember => {}
                Op::Flush | Op::WaitUntilQuiet if sealed == Sealed::Nothing => {}
                op => run.perform(op)?,
            }
        }
        if sealed == Sealed::Everything {
            run.db().flush()?;
            if until_quiet {
                run.db().wait_until_quiet()?;
            }
        }
        ask(&run, &questions)?;
        if sealed == Sealed::Some {
            run.perform(&Op::Reopen)?;
            ask(&run, &questions)?;
        }
        Ok(())
    });
}
