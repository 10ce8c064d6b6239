//! Counts over sets of customers, of random questions: the database and the naive model must agree.

use std::collections::BTreeMap;

use ofone::{
    Batch, Bucket, CalendarUnit, Cohort, ErrorKind, Event, Field, Predicate, Score, Text, TextTest, TimelineBucket,
    Timestamp,
};
use proptest::prelude::*;

use crate::cohort_counts::{Column, Cut, Reached, Steps, Tally, Weight, clamped, percentile, scores, timeline, values};
use crate::cohort_exprs::{Count, CountQuestion};
use crate::cohort_model::Ids;
use crate::cohort_test::Asked;
use crate::model_test::Verdict;
use crate::support::{at, entity, open, scratch};

/// Buckets that a timeline may have.
const MAX_BUCKETS: i128 = 100_000;

impl Asked<'_> {
    pub(super) fn count(&self, question: &CountQuestion) -> Verdict {
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
    fn timeline(&self, question: &CountQuestion, cut: Cut, cohort: Option<&Cohort>, within: Option<&Ids>) -> Verdict {
        let expected = timeline(self.naive, &question.what, question.window, within, cut);
        let mut query = self.snapshot.timeline(question.what.clone()).window(question.window).every(bucket(cut));
        if let Some(cohort) = cohort {
            query = query.cohort(cohort);
        }
        let query = query.now(self.naive.now());
        let events = [query.clone().events_only().run(), query.clone().events_only().scan_only().run()];
        let told = query.run();
        let (Some(first), Some(last)) = (expected.keys().next(), expected.keys().next_back()) else {
            prop_assert!(told?.is_empty(), "no event, no bucket: {:?}", question);
            return Ok(());
        };
        let about = match cut {
            Cut::Length(nanos) => (last.1 - first.0) / i128::from(nanos),
            Cut::Hour => (last.1 - first.0) / 3_600_000_000_000,
            Cut::Day => (last.1 - first.0) / 86_400_000_000_000,
            // The 585 years of 64 bits have fewer of these.
            Cut::Week | Cut::Month => 0,
        };
        if about > MAX_BUCKETS {
            prop_assert_eq!(told.err().map(|error| error.kind()), Some(ErrorKind::Invalid), "{} buckets", about);
            return Ok(());
        }
        let told = told?;
        let without = |bucket: &TimelineBucket| (bucket.from, bucket.to, bucket.events, 0);
        let alone: Vec<_> = told.iter().map(without).collect();
        for events in events {
            let bucket = |bucket: TimelineBucket| (bucket.from, bucket.to, bucket.events, bucket.customers);
            let events: Vec<_> = events?.into_iter().map(bucket).collect();
            prop_assert_eq!(&events, &alone, "events alone: {:?}", question);
        }
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
        let mut by_value: Vec<(Text, Tally)> =
            values(self.naive, column, &question.what, question.window, within).into_iter().collect();
        if *column == Column::Severity {
            by_value.sort_by_key(|(number, _)| number.parse::<u8>().ok());
        }
        let mut by_count = by_value.clone();
        by_count.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.events));
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
        let ranked =
            self.order.iter().filter_map(|customer| scores.get(customer).map(|score| (customer.clone(), *score)));
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
        let levels: BTreeMap<&Text, Reached> =
            members.map(|customer| (customer, steps.reached(self.naive, customer))).collect();
        prop_assert_eq!(told.steps.len(), steps.what.len());
        for (step, row) in told.steps.iter().enumerate() {
            let reached: BTreeMap<&Text, &Reached> =
                levels.iter().filter(|(_, one)| one.level > step).map(|(customer, one)| (*customer, one)).collect();
            let ids: Ids = reached.keys().map(|customer| (*customer).clone()).collect();
            let listed = told.customers(step).ids().collect::<Result<Vec<Text>, _>>()?;
            prop_assert_eq!(&listed, &self.listed(&ids), "step {} of {:?}", step, steps);
            let nanos = |one: &&Reached| {
                let (before, time) = (one.times[step.checked_sub(1)?], one.times[step]);
                Some(time.as_nanos().saturating_sub(before.as_nanos()))
            };
            let lengths: Vec<i64> = reached.values().filter_map(nanos).collect();
            let stuck = levels.values().filter(|one| one.level == step + 1);
            let pending = stuck.filter(|one| one.is_pending(steps, self.naive.now())).count() as u64;
            let told = (row.customers, row.p50_nanos, row.p90_nanos, row.pending);
            let expected = (ids.len() as u64, percentile(&lengths, 50), percentile(&lengths, 90), pending);
            prop_assert_eq!(told, expected, "step {} of {:?} at {}", step, steps, self.naive.now());
        }
        Ok(())
    }
}

/// Of two events at one instant, one can be the first step or the second. Which of them comes first in the
/// stream decides what the time between the steps is, however they arrived.
#[test]
fn times_between_steps_do_not_depend_on_the_order_of_arrival() {
    let event =
        |time: i64, id: &str, kind: &str| Event::new(at(time), "feed", kind).id(id).subject(entity("customer:A"));
    let events = || [event(1, "a", "either"), event(1, "b", "first"), event(4, "c", "second"), event(9, "d", "third")];
    let kinds = |kinds: &[&str]| Predicate::kind(TextTest::one_of(kinds.iter().copied()));
    let steps = || vec![kinds(&["first", "either"]), kinds(&["second", "either"]), kinds(&["third"])];
    for (arrival, seal) in [([0, 1, 2, 3], false), ([3, 2, 1, 0], false), ([1, 0, 2, 3], true)] {
        let place = scratch();
        let db = open(place.path(), 8);
        for index in arrival {
            let mut batch = Batch::new();
            batch.event(events()[index].clone());
            db.writer().commit(batch).expect("committed");
        }
        if seal {
            db.flush().expect("sealed");
        }
        let funnel = db.snapshot().funnel(steps()).run().expect("answered");
        let between: Vec<Option<i64>> = funnel.steps.iter().map(|step| step.p50_nanos).collect();
        assert_eq!(between, [None, Some(3), Some(5)], "arrived as {arrival:?}, sealed: {seal}");
    }
}

/// A bound may reach behind the last instant that there is; then it is not over even there.
#[test]
fn who_waits_longer_than_time_lasts_is_pending() {
    let place = scratch();
    let db = open(place.path(), 8);
    let mut batch = Batch::new();
    for (customer, time) in [("customer:A", 5), ("customer:B", 0), ("customer:C", -1)] {
        batch.event(Event::new(at(time), "feed", "first").subject(entity(customer)));
    }
    db.writer().commit(batch).expect("committed");
    let steps = ["first", "second"].map(|kind| Predicate::kind(TextTest::one_of([kind]))).to_vec();
    let pending = |within: i64| {
        let funnel = db.snapshot().funnel(steps.clone()).within(within).now(Timestamp::MAX).run().expect("answered");
        funnel.steps[0].pending
    };
    assert_eq!((pending(i64::MAX), pending(i64::MAX - 1), pending(i64::MAX - 5)), (1, 1, 0));
}

/// Ticks of the index reach beyond the first and the last instant.
#[test]
fn events_at_both_ends_of_time_are_counted_from_the_index() {
    let place = scratch();
    let db = open(place.path(), 8);
    let mut batch = Batch::new();
    for time in [i64::MIN + 1, 0, i64::MAX - 1] {
        batch.event(Event::new(at(time), "feed", "seen").subject(entity("customer:A")));
    }
    db.writer().commit(batch).expect("committed");
    db.flush().expect("sealed");
    let events = |from: i64, to: i64| {
        let query = db.snapshot().top_customers(Predicate::Any, Score::Events);
        let rows = query.window(ofone::Window::new(at(from), at(to))).run().expect("answered");
        rows.iter().map(|row| row.events).sum::<u64>()
    };
    assert_eq!((events(i64::MIN, i64::MAX), events(i64::MIN + 1, i64::MAX)), (3, 3));
    assert_eq!((events(i64::MIN + 2, i64::MAX), events(i64::MIN, i64::MAX - 1)), (2, 2));
    assert_eq!((events(i64::MIN + 2, i64::MAX - 1), events(1, 0)), (1, 0));
}

/// The block in which time begins does so before it: its first tick has a first part that begins later.
#[test]
fn timelines_of_the_beginning_of_time_agree_with_a_scan() {
    const HOUR: i64 = 3_600_000_000_000;
    let mut counted = 0;
    for span in [HOUR, 24 * HOUR, 240 * HOUR, 2400 * HOUR, 24_000 * HOUR] {
        let place = scratch();
        let db = open(place.path(), 4096);
        let mut batch = Batch::new();
        // Few enough to be wild: the length of ticks is that of the others.
        let ends = (1..4).map(|nanos| i64::MIN + nanos);
        for (number, time) in (0..1000).map(|number| span / 1000 * number).chain(ends).enumerate() {
            let event = Event::new(at(time), "feed", "seen").id(number.to_string());
            batch.event(event.subject(entity("customer:A")));
        }
        db.writer().commit(batch).expect("committed");
        db.flush().expect("sealed");
        for length in [HOUR / 4, HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR, 14 * 24 * HOUR] {
            let window = ofone::Window::new(Timestamp::MIN, "1678-01-01T00:00:00Z".parse().expect("a time"));
            let query = || {
                let asked = db.snapshot().timeline(Predicate::kind("seen")).window(window);
                asked.every(Bucket::Length(length)).events_only()
            };
            let told = query().run().expect("answered");
            assert_eq!(told, query().scan_only().run().expect("answered"), "span {span}, buckets of {length}");
            counted += told.iter().map(|bucket| bucket.events).sum::<u64>();
        }
    }
    assert_eq!(counted, 5 * 6 * 3);
}
