//! Random questions about sets of customers: every plan and the naive model must agree.
//!
//! Histories come from `model_test.rs`: late, closed and retracted links, shared components, duplicates,
//! several subjects, lasting events, seals, merges, reopenings.

use ofone::{Cohort, EventName, Expr, Snapshot, StreamItem, Text, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::cohort_exprs::{CountQuestion, SAVED, some_count, some_expr};
use crate::cohort_model::{Ids, Naive};
use crate::cohort_witness::{Reasons, reasons};
use crate::model_test::{Op, Run, Verdict, explore, some_op};
use crate::support::at;

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
    (now, [some_expr(), some_expr()], vec(some_expr(), 4..16), vec(some_count(), 2..7), 0u32..10)
        .prop_map(|(now, saved, sets, counts, max_hops)| Questions { now, saved, sets, counts, max_hops })
}

/// The engine and the model, with the same history.
pub(super) struct Asked<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) naive: &'a Naive<'a>,
    /// Every customer in the order in which cohorts list them.
    pub(super) order: Vec<Text>,
}

impl<'a> Asked<'a> {
    fn new(snapshot: &'a Snapshot, naive: &'a Naive<'a>) -> Result<Asked<'a>, TestCaseError> {
        let order = snapshot.customers().collect::<Result<Vec<Text>, _>>()?;
        Ok(Asked { snapshot, naive, order })
    }

    pub(super) fn cohort(&self, expr: &Expr) -> Result<Cohort, TestCaseError> {
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
            self.witness(customer, expr)?;
        }
        prop_assert!(!cohort.contains("unheard-of")?);
        Ok(())
    }

    /// The customers of the set, in order of first mention.
    pub(super) fn listed(&self, expected: &Ids) -> Vec<Text> {
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

    /// A witness says what membership says, and by which events.
    fn witness(&self, customer: &Text, expr: &Expr) -> Verdict {
        let witness = self.snapshot.witness_at(customer, expr, self.naive.now())?;
        let events = |items: &[StreamItem]| items.iter().map(|item| item.event.name()).collect::<Vec<EventName>>();
        let held = witness.clauses.iter().map(|clause| (clause.clause.clone(), events(&clause.events))).collect();
        let told = match witness.failed {
            None => Reasons::Holds(held),
            Some(failed) => Reasons::Fails(failed, held),
        };
        prop_assert_eq!(witness.member, matches!(told, Reasons::Holds(_)));
        prop_assert_eq!(told, reasons(self.naive, customer, expr), "why {} is in {}", customer, expr);
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
}

fn ask(run: &Run, questions: &Questions) -> Verdict {
    let mut naive = Naive::new(run.model(), questions.now);
    // What was asked under a name stays as it was when it was saved.
    let nobody = run.db().snapshot().who(Expr::Or(vec![])).run()?;
    for name in SAVED {
        naive.save(name, Ids::new());
        run.db().save_cohort(name, &nobody)?;
    }
    for (name, expr) in SAVED.iter().zip(&questions.saved) {
        naive.save(*name, naive.who(expr));
        let cohort = run.db().snapshot().who(expr.clone()).now(questions.now).run()?;
        run.db().save_cohort(name, &cohort)?;
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
    let histories = || (vec(some_op(), 3..22), some_questions(), sealed.clone(), prop::bool::weighted(0.2));
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
