//! Random questions over the small vocabulary of `model_test.rs`.

use std::time::Duration;

use ofone::{Comparison, Entity, Expr, Moment, Period, Predicate, Seq, Severity, Step, Text, TextTest, Ties, Window};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::cohort_counts::{Column, Cut, Steps, Weight};
use crate::model_test::{ENTITIES, instant};
use crate::support::entity;

/// Saved cohorts that expressions may name.
pub(crate) const SAVED: [&str; 2] = ["first", "second"];

fn texts(texts: &'static [&'static str]) -> impl Strategy<Value = Text> {
    select(texts).prop_map(Text::from)
}

/// A test of a text that some of `vocabulary` pass; `globs` are patterns worth a try.
fn some_test(vocabulary: &'static [&'static str], globs: &'static [&'static str]) -> impl Strategy<Value = TextTest> {
    prop_oneof![
        4 => texts(vocabulary).prop_map(TextTest::Is),
        2 => texts(globs).prop_map(TextTest::Like),
        2 => vec(texts(vocabulary), 1..4).prop_map(TextTest::OneOf),
    ]
}

fn some_comparison() -> impl Strategy<Value = Comparison> {
    select(&[Comparison::Less, Comparison::AtMost, Comparison::Equal, Comparison::AtLeast, Comparison::Greater][..])
}

fn some_field_test() -> impl Strategy<Value = Predicate> {
    let attribute = || texts(&["cause", "cell", "code", "none"]);
    let number = || select(&[1.5, 0.0, -0.0, 1.0, 99.0, -3.0, -2.5, 9_007_199_254_740_992.0, 1e300][..]);
    let severity = select(&[0, 1, 9, 10, 17, 24][..]).prop_map(|number| Severity::new(number).expect("a severity"));
    let about = || some_test(&ENTITIES, &["customer:*", "service:S*", "olt:K*", "*K0", "*:*1", "olt"]);
    let kinds = &["call.dropped", "call.setup", "ticket.opened", "alarm", "altered", "unheard.of"];
    prop_oneof![
        2 => Just(Predicate::Any),
        8 => some_test(kinds, &["call.*", "*.opened", "*a*r*", "alarm", "*"]).prop_map(Predicate::Kind),
        3 => some_test(&["network", "front", "none"], &["n*", "*r*", "*"]).prop_map(Predicate::Layer),
        2 => some_test(&["ran", "crm", "none"], &["c*", "*"]).prop_map(Predicate::Source),
        3 => (some_comparison(), severity).prop_map(|(comparison, than)| Predicate::Severity(comparison, than)),
        2 => (some_comparison(), number()).prop_map(|(comparison, than)| Predicate::Value(comparison, than)),
        2 => (attribute(), some_test(&["1", "x", "true", "1.0"], &["*", "t*e", "1*"]))
            .prop_map(|(name, test)| Predicate::Attribute(name, test)),
        2 => (attribute(), some_comparison(), number())
            .prop_map(|(name, comparison, than)| Predicate::AttributeNumber(name, comparison, than)),
        1 => attribute().prop_map(Predicate::HasAttribute),
        3 => about().prop_map(Predicate::On),
        2 => about().prop_map(Predicate::With),
        2 => about().prop_map(Predicate::About),
    ]
}

/// What an event is like: mostly one test, for several together are seldom met.
fn some_predicate() -> impl Strategy<Value = Predicate> {
    let negated = || some_field_test().prop_map(|what| Predicate::Not(Box::new(what)));
    let one = || prop_oneof![4 => some_field_test(), 1 => negated()];
    let both = || vec(one(), 0..3).prop_map(Predicate::And);
    let any = || vec(prop_oneof![3 => one(), 1 => both()], 0..4).prop_map(Predicate::Or);
    prop_oneof![
        10 => one(),
        2 => Just(Predicate::Any),
        2 => both(),
        3 => any(),
        1 => (one(), any()).prop_map(|(one, any)| Predicate::And(vec![one, any])),
        1 => any().prop_map(|any| Predicate::Not(Box::new(any))),
    ]
}

/// Relative moments hit instants of events when `now` is one of 0 to 24.
fn some_moment() -> impl Strategy<Value = Moment> {
    prop_oneof![3 => instant().prop_map(Moment::At), 1 => (-3i64..24).prop_map(Moment::Ago)]
}

/// Open and closed ones, empty ones, and such as turn out backwards when it is `now`. Those that are
/// backwards whenever it is are refused, and so not made.
fn some_period() -> impl Strategy<Value = Period> {
    let end = || option::weighted(0.4, some_moment());
    (end(), end(), prop::bool::weighted(0.03)).prop_map(|(from, to, empty)| {
        let (from, to) = match (from, to) {
            (from, _) if empty => (from, from),
            (Some(Moment::At(from)), Some(Moment::At(to))) if from > to => (Some(to.into()), Some(from.into())),
            (Some(Moment::Ago(from)), Some(Moment::Ago(to))) if from < to => {
                (Some(Moment::Ago(to)), Some(Moment::Ago(from)))
            }
            ends => ends,
        };
        let mut period = Period::default();
        (period.from, period.to) = (from, to);
        period
    })
}

/// The window of counts.
fn some_window() -> impl Strategy<Value = Window> {
    prop_oneof![2 => Just(Window::ALL), 3 => (instant(), instant()).prop_map(|(a, b)| Window::new(a, b))]
}

/// Lengths that separate instants of events, and some that no two instants exceed.
fn some_length() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 0u64..12, 1 => Just(i64::MAX as u64)]
}

fn some_sequence() -> impl Strategy<Value = Expr> {
    let ties = select(&[Ties::Any, Ties::Seq, Ties::None][..]);
    let later = (
        some_predicate(),
        option::weighted(0.2, some_length()),
        prop_oneof![2 => Just(vec![]), 1 => vec(some_predicate(), 1..3)],
    )
        .prop_map(|(what, within, without)| {
            let step = without.into_iter().fold(Step::new(what), Step::without);
            within.map(Duration::from_nanos).into_iter().fold(step, Step::within)
        });
    let later = prop_oneof![later, some_predicate().prop_map(Step::new)];
    (some_predicate(), vec(later, 0..3), option::weighted(0.3, some_length()), some_period(), ties).prop_map(
        |(first, later, within, window, ties)| {
            let seq = Expr::seq(std::iter::once(Step::new(first)).chain(later)).during(window).ties(ties);
            within.map(Duration::from_nanos).into_iter().fold(seq, Seq::within).into()
        },
    )
}

fn some_set() -> impl Strategy<Value = Expr> {
    let did = (some_predicate(), prop_oneof![5 => Just(1u32), 3 => 2u32..5], some_period())
        .prop_map(|(what, at_least, window)| Expr::from(Expr::did(what).at_least(at_least).during(window)));
    let entity = select(&ENTITIES[..]).prop_map(entity);
    let stranger = Just(Entity::new("olt", "unheard-of"));
    let reach = (prop_oneof![9 => entity, 1 => stranger], some_period())
        .prop_map(|(entity, period)| Expr::Reach(entity, period));
    prop_oneof![
        1 => Just(Expr::All),
        10 => did,
        8 => some_sequence(),
        4 => reach,
        1 => subsequence(&["C0", "C1", "C2", "unheard-of"][..], 0..=4)
            .prop_map(|ids| Expr::Customers(ids.into_iter().map(Text::from).collect())),
        1 => texts(&SAVED).prop_map(Expr::Cohort),
    ]
}

/// A set of customers: half of them one clause, the others a few together.
pub(crate) fn some_expr() -> impl Strategy<Value = Expr> {
    let composed = some_set().prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            3 => vec(inner.clone(), 0..4).prop_map(Expr::And),
            3 => vec(inner.clone(), 0..4).prop_map(Expr::Or),
            2 => inner.clone().prop_map(|inner| Expr::Not(Box::new(inner))),
            2 => (inner.clone(), inner).prop_map(|(first, second)| Expr::Minus(Box::new(first), Box::new(second))),
        ]
    });
    prop_oneof![some_set(), composed]
}

/// A question whose answer is a number for each bucket, value, customer or step.
#[derive(Clone, Debug)]
pub(crate) enum Count {
    Timeline(Cut),
    Values(Column),
    Scores(Weight),
    Funnel(Steps),
}

/// A count, of which events, when, and perhaps within which set.
#[derive(Clone, Debug)]
pub(crate) struct CountQuestion {
    pub(crate) count: Count,
    pub(crate) what: Predicate,
    pub(crate) window: Window,
    pub(crate) within: Option<Expr>,
}

/// A question for counts.
pub(crate) fn some_count() -> impl Strategy<Value = CountQuestion> {
    let cut = prop_oneof![
        5 => (1i64..9).prop_map(Cut::Length),
        1 => select(&[Cut::Hour, Cut::Day, Cut::Week, Cut::Month][..]),
    ];
    let column = prop_oneof![
        select(&[Column::Kind, Column::Layer, Column::Source, Column::Severity, Column::Subject, Column::Context][..]),
        texts(&["cause", "cell", "code", "none"]).prop_map(Column::Attribute),
    ];
    let weight = select(&[Weight::One, Weight::Severity, Weight::SeveritySquared][..]);
    let steps = (vec(some_predicate(), 1..4), option::weighted(0.6, some_length()), some_window())
        .prop_map(|(what, within, window)| Steps { what, within: within.map(u64::cast_signed), window });
    let count = prop_oneof![
        cut.prop_map(Count::Timeline),
        column.prop_map(Count::Values),
        weight.prop_map(Count::Scores),
        steps.prop_map(Count::Funnel),
    ];
    (count, some_predicate(), some_window(), option::weighted(0.4, some_expr()))
        .prop_map(|(count, what, window, within)| CountQuestion { count, what, window, within })
}
