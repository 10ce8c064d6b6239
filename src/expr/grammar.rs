//! Random trees of every form, and random text that looks like one.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::expr::token::RESERVED;
use crate::expr::{Comparison, Did, Expr, Moment, Period, Predicate, Seq, Step, TextTest, Ties};
use crate::model::{Entity, Severity, Text, Timestamp};

const AWKWARD: [&str; 14] =
    ["", "a b", "x*", "->", "a->b", "-", "a-", "\"", "\\", "a\nb\t", "\u{7f}\u{0}", "Zürich", "\u{202e}x", "attr."];

/// Words that mean something somewhere.
const WORDS: [&str; 12] =
    ["any", "all", "did", "n", "now", "-7d", "since", "ties", "kind", "attr.x", "severity", "has"];

fn text() -> impl Strategy<Value = Text> {
    let known = AWKWARD.into_iter().chain(RESERVED).chain(WORDS).collect::<Vec<&str>>();
    prop_oneof![
        4 => "[a-z0-9_.:/+@*%-]{1,8}",
        2 => proptest::sample::select(known).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
    .prop_map(Text::from)
}

fn entity() -> impl Strategy<Value = Entity> {
    let kind = prop_oneof!["[a-z]{1,6}", "[^:]{1,3}"];
    (kind, text()).prop_filter_map("an id", |(kind, id)| (!id.is_empty()).then(|| Entity::new(kind, id)))
}

fn entity_text() -> impl Strategy<Value = Text> {
    entity().prop_map(|entity| Text::from(entity.to_string()))
}

fn test_of(right: impl Strategy<Value = Text> + Clone) -> impl Strategy<Value = TextTest> {
    prop_oneof![
        3 => right.clone().prop_map(TextTest::Is),
        2 => text().prop_map(TextTest::Like),
        1 => vec(right, 0..4).prop_map(TextTest::OneOf),
    ]
}

fn comparison() -> impl Strategy<Value = Comparison> {
    use Comparison::{AtLeast, AtMost, Equal, Greater, Less};
    proptest::sample::select(vec![Less, AtMost, Equal, AtLeast, Greater])
}

fn number() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    prop_oneof![(-50..50_i32).prop_map(f64::from), POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO]
}

fn leaf() -> impl Strategy<Value = Predicate> {
    let texts = || test_of(text().boxed());
    let entities = || test_of(entity_text().boxed());
    prop_oneof![
        Just(Predicate::Any),
        texts().prop_map(Predicate::Kind),
        texts().prop_map(Predicate::Layer),
        texts().prop_map(Predicate::Source),
        (comparison(), 0..25_u8)
            .prop_map(|(comparison, number)| Predicate::severity(comparison, Severity::new(number).unwrap())),
        (comparison(), number()).prop_map(|(comparison, number)| Predicate::Value(comparison, number)),
        (text(), texts()).prop_map(|(name, test)| Predicate::Attribute(name, test)),
        (text(), comparison(), number())
            .prop_map(|(name, comparison, number)| Predicate::AttributeNumber(name, comparison, number)),
        text().prop_map(Predicate::HasAttribute),
        entities().prop_map(Predicate::On),
        entities().prop_map(Predicate::With),
        entities().prop_map(Predicate::About),
    ]
}

/// Any predicate that keeps the rules.
pub(super) fn predicate() -> impl Strategy<Value = Predicate> {
    leaf().prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Predicate::And),
            vec(inner.clone(), 0..4).prop_map(Predicate::Or),
            inner.prop_map(Predicate::not),
        ]
    })
}

fn moment() -> impl Strategy<Value = Moment> {
    let edges = vec![i64::MIN, -1, 0, 1, 604_800_000_000_000, i64::MAX];
    let nanos = || prop_oneof![any::<i64>(), proptest::sample::select(edges.clone()), -100..100_i64];
    prop_oneof![nanos().prop_map(|nanos| Moment::At(Timestamp::from_nanos(nanos))), nanos().prop_map(Moment::Ago)]
}

fn period() -> impl Strategy<Value = Period> {
    (option::of(moment()), option::of(moment())).prop_map(|(from, to)| {
        let period = Period { from, to };
        if period.is_reversed() { Period { from: to, to: from } } else { period }
    })
}

fn length() -> impl Strategy<Value = i64> {
    prop_oneof![0..=i64::MAX, (0..400_i64).prop_map(|hours| hours * 3_600_000_000_000), Just(i64::MAX)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (predicate(), option::of(length()), vec(predicate(), 0..3));
    vec(step.prop_map(|(what, within, without)| Step { what, within, without }), 1..4).prop_map(|mut steps| {
        (steps[0].within, steps[0].without) = (None, Vec::new());
        steps
    })
}

/// Any expression that keeps the rules.
pub(super) fn expr() -> impl Strategy<Value = Expr> {
    let ties = proptest::sample::select(vec![Ties::Any, Ties::Seq, Ties::None]);
    let leaf = prop_oneof![
        1 => Just(Expr::All),
        4 => (predicate(), prop_oneof![Just(1), 1..=u32::MAX], period())
            .prop_map(|(what, at_least, window)| Expr::Did(Did { what, at_least, window })),
        4 => (steps(), option::of(length()), period(), ties)
            .prop_map(|(steps, within, window, ties)| Expr::Seq(Seq { steps, within, window, ties })),
        1 => (entity(), period()).prop_map(|(entity, window)| Expr::Reach(entity, window)),
        1 => vec(text(), 0..4).prop_map(Expr::Customers),
        1 => text().prop_map(Expr::Cohort),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Expr::And),
            vec(inner.clone(), 0..4).prop_map(Expr::Or),
            inner.clone().prop_map(Expr::not),
            (inner.clone(), inner).prop_map(|(left, right)| left.minus(right)),
        ]
    })
}

/// Tokens in any order, which get further into the parser than random characters do.
pub(super) fn soup() -> impl Strategy<Value = String> {
    const PARTS: [&str; 58] = [
        "did(",
        "seq(",
        "reach(",
        "customers(",
        "cohort(",
        "all",
        "any",
        "not",
        "and",
        "or",
        "minus",
        "and(",
        "or(",
        "(",
        ")",
        "[",
        "]",
        ",",
        "->",
        "=",
        "==",
        "!=",
        "~",
        "!~",
        "<",
        ">=",
        "in",
        "(a, b)",
        "kind = a",
        "kind",
        "layer",
        "severity",
        "error",
        "value",
        "0.5",
        "attr.",
        "attr.x",
        "\"q\"",
        "\"\\u{41}\"",
        "has",
        "on",
        "olt:LON-7",
        "n",
        ">= 3",
        "within",
        "48h",
        "ties",
        "none",
        "-7d",
        "..",
        "-14d..-7d",
        "during [",
        "since",
        "now",
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        "x*",
        "é",
    ];
    vec(proptest::sample::select(&PARTS[..]), 0..14).prop_map(|parts| parts.join(" "))
}
