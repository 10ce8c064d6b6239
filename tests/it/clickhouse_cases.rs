//! Other people's cases: what ClickHouse's tests say about funnels, sequences, retention and sets.
//!
//! The cases lie in a folder of their own and not in this repository: `OFONE_VECTORS`, or `shared/data/vectors`
//! beside it. Where there is none the tests say `skipped`. A case that ofone answers differently, or that
//! asks for what it has no word for, stands in a table here with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ofone::{Batch, Db, Entity, Event, Expr, Predicate, Snapshot, Step, Text, Ties};
use serde_json::Value as Json;

use crate::support::{at, open, scratch};

/// Nanoseconds that stand for one unit of time of a case; some of its times need 47 bits.
const UNIT: i64 = 1_000;

/// Funnels that differ on purpose, by name.
const OTHER_FUNNELS: [(&str, &str); 1] =
    [("same step x3 default (one event satisfies all)", "an event is one step: steps match different events")];

/// Modes of a funnel that ofone has no word for.
const OTHER_MODES: [(&str, &str); 3] = [
    ("strict_deduplication", "the end of the search at a repeated step depends on how it is searched"),
    ("strict_order", "other events between steps are excluded one by one, with `not` in a sequence"),
    ("allow_reentry", "belongs to strict_order"),
];

/// Patterns that ofone has no word for.
const OTHER_PATTERNS: [(&str, &str); 2] =
    [("(?t>", "there is no least time between steps"), ("(?t==", "there is no exact time between steps")];

/// The file of cases, if it is there.
fn cases(name: &str) -> Option<Json> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/vectors");
    let folder = std::env::var_os("OFONE_VECTORS").map_or_else(beside, PathBuf::from);
    let path = folder.join("clickhouse-cases").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: there is no {}", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).expect("cases are JSON"))
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn texts(json: &Json) -> Vec<&str> {
    list(json).iter().map(|text| text.as_str().expect("a text")).collect()
}

/// A store of one event for each customer, time and kind.
fn store(events: impl IntoIterator<Item = (Text, i64, Text)>) -> (tempfile::TempDir, Db) {
    let place = scratch();
    let db = open(place.path(), 64);
    let mut batch = Batch::new();
    for (sequence, (customer, time, kind)) in events.into_iter().enumerate() {
        let event = Event::new(at(time * UNIT), "case", kind).sequence(sequence as u64);
        batch.push(event.subject(Entity::customer(customer)));
    }
    let receipt = db.writer().commit(batch).expect("committed");
    assert_eq!(receipt.inserted(), receipt.outcomes().len());
    (place, db)
}

fn members(snapshot: &Snapshot, expr: &Expr) -> BTreeSet<Text> {
    let cohort = snapshot.who(expr.clone()).run().expect("answered");
    cohort.ids().collect::<Result<_, _>>().expect("listed")
}

/// The level that each customer of a case reached.
fn levels(case: &Json, snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let steps = texts(&case["steps"]);
    let within = case["window"].as_i64().expect("a window") * UNIT;
    let modes = texts(&case["modes"]);
    let users = case["rows"].as_object().expect("rows by user").keys();
    let mut levels: BTreeMap<String, u64> = users.map(|user| (user.clone(), 0)).collect();
    let reached: Vec<BTreeSet<Text>> = if modes.contains(&"strict_increase") {
        // Each prefix is a sequence whose steps are strictly later one than the other.
        let prefix = |count: usize| {
            let kinds = steps[..count].iter().map(|kind| Predicate::kind(*kind));
            Expr::from(Expr::seq(kinds).within(Duration::from_nanos(within.cast_unsigned())).ties(Ties::None))
        };
        (1..=steps.len()).map(|count| members(snapshot, &prefix(count))).collect()
    } else {
        let what = steps.iter().map(|kind| Predicate::kind(*kind)).collect();
        let funnel = snapshot.funnel(what).within(within).run().expect("answered");
        let listed = |step: usize| funnel.customers(step).ids().collect::<Result<_, _>>();
        (0..steps.len()).map(|step| listed(step).expect("listed")).collect()
    };
    for customer in reached.iter().flatten() {
        *levels.get_mut(customer.as_str()).expect("a user of the case") += 1;
    }
    levels
}

#[test]
fn funnels_reach_the_levels_of_window_funnel() {
    let Some(file) = cases("window_funnel.json") else { return };
    let mut asked = 0;
    for case in list(&file["cases"]) {
        let (name, modes) = (case["name"].as_str().expect("a name"), texts(&case["modes"]));
        if let Some((mode, why)) = OTHER_MODES.iter().find(|(mode, _)| modes.contains(mode)) {
            eprintln!("not asked: {name}: {mode}: {why}");
            continue;
        }
        let rows = case["rows"].as_object().expect("rows by user");
        let events = rows.iter().flat_map(|(user, rows)| {
            let event = |row: &Json| {
                let (time, kind) = (row[0].as_i64().expect("a time"), row[1].as_str().expect("a kind"));
                (Text::from(user), time, Text::from(kind))
            };
            list(rows).iter().map(event).collect::<Vec<_>>()
        });
        let (_place, db) = store(events);
        let told = levels(case, &db.snapshot());
        let expected: BTreeMap<String, u64> =
            serde_json::from_value(case["expected"].clone()).expect("a level for each user");
        let other = OTHER_FUNNELS.iter().find(|(other, _)| *other == name);
        match other {
            Some((_, why)) => assert_ne!(told, expected, "{name} is said to differ: {why}"),
            None => assert_eq!(told, expected, "{name}"),
        }
        asked += 1;
    }
    assert!(asked > 15, "only {asked} cases were asked");
}

/// The sequence that a pattern means, or why there is none.
fn pattern(pattern: &str, conditions: &[&str]) -> Result<Expr, &'static str> {
    if let Some((_, why)) = OTHER_PATTERNS.iter().find(|(other, _)| pattern.contains(other)) {
        return Err(why);
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut most: Option<u64> = None;
    for part in pattern.trim_start_matches("(?").trim_end_matches(')').split(")(?") {
        if let Some(bound) = part.strip_prefix("t<") {
            let units: u64 = bound.trim_start_matches('=').parse().expect("a number of units");
            most = Some(units * UNIT as u64 - u64::from(!bound.starts_with('=')));
            continue;
        }
        let number: usize = part.parse().expect("the number of a condition");
        let step = Step::new(Predicate::kind(conditions[number - 1]));
        steps.push(match most.take() {
            // A distance between two steps allows for others between them; without one they are neighbours.
            Some(nanos) => step.within(Duration::from_nanos(nanos)),
            None if steps.is_empty() => step,
            None => step.without(Predicate::Any),
        });
    }
    Ok(Expr::seq(steps).into())
}

/// `match` is compared; `count` is not, since ofone counts customers and not the matches of one.
#[test]
fn sequences_match_where_sequence_match_does() {
    let Some(file) = cases("sequence_match.json") else { return };
    let rows = list(&file["rows_time_data"]).iter();
    let rows = rows.map(|row| (row[0].as_i64().expect("a time"), row[1].as_i64().expect("data")));
    let (_place, db) = store(rows.map(|(time, data)| ("C".into(), time, data.to_string().into())));
    let snapshot = db.snapshot();
    let mut asked = 0;
    for case in list(&file["cases"]) {
        let text = case["pattern"].as_str().expect("a pattern");
        let expr = match pattern(text, &texts(&case["conditions"])) {
            Ok(expr) => expr,
            Err(why) => {
                eprintln!("not asked: {text}: {why}");
                continue;
            }
        };
        let matches = case["match"].as_u64() == Some(1);
        assert_eq!(!members(&snapshot, &expr).is_empty(), matches, "{text} as {expr}");
        asked += 1;
    }
    assert!(asked > 10, "only {asked} cases were asked");
}

/// `0..79`, both ends included.
fn range(text: &str) -> std::ops::RangeInclusive<u64> {
    let (first, last) = text.split_once("..").expect("first..last");
    first.parse().expect("a number")..=last.parse().expect("a number")
}

#[test]
fn retention_is_the_first_condition_and_each_other_one() {
    let Some(file) = cases("retention.json") else { return };
    for case in list(&file["cases"]) {
        let days = case["data"].as_object().expect("users by day");
        let events = days.iter().zip(0..).flat_map(|((day, users), time)| {
            let users = range(users.as_str().expect("users").trim_start_matches("uids "));
            users.map(move |user| (Text::from(user.to_string()), time, Text::from(day)))
        });
        let (_place, db) = store(events.collect::<Vec<_>>());
        let snapshot = db.snapshot();
        let conditions: Vec<Expr> =
            texts(&case["conditions"]).into_iter().map(|day| Expr::did(Predicate::kind(day)).into()).collect();
        let count =
            |condition: &Expr| members(&snapshot, &Expr::And(vec![conditions[0].clone(), condition.clone()])).len();
        let told: Vec<usize> = conditions.iter().map(count).collect();
        assert_eq!(Json::from(told), case["expected"], "{case}");
    }
}

/// The customers of a set of a case.
fn customers(set: &Json) -> Expr {
    let numbers: Vec<u64> = match set.as_str() {
        Some(text) => range(text).collect(),
        None => list(set).iter().map(|number| number.as_u64().expect("a number")).collect(),
    };
    Expr::Customers(numbers.into_iter().map(|number| number.to_string().into()).collect())
}

fn minus(first: &Expr, second: &Expr) -> Expr {
    Expr::Minus(Box::new(first.clone()), Box::new(second.clone()))
}

/// What an operation on sets is called here.
fn operation(name: &str, sets: &[Expr]) -> Expr {
    match name {
        "and" => Expr::And(sets.to_vec()),
        "or" => Expr::Or(sets.to_vec()),
        "andnot" => minus(&sets[0], &sets[1]),
        "xor" => {
            let differ = |a: Expr, b: &Expr| Expr::Or(vec![minus(&a, b), minus(b, &a)]);
            sets[1..].iter().fold(sets[0].clone(), differ)
        }
        other => panic!("no such operation: {other}"),
    }
}

#[test]
fn sets_combine_like_bitmaps() {
    let Some(file) = cases("bitmap.json") else { return };
    let (_place, db) = store((1..=500).map(|number| (Text::from(number.to_string()), 0, "seen".into())));
    let snapshot = db.snapshot();
    let numbers = |expr: &Expr| {
        let mut numbers: Vec<u64> = members(&snapshot, expr).iter().map(|id| id.parse().expect("a number")).collect();
        numbers.sort_unstable();
        numbers
    };
    for case in list(&file["cases"]) {
        if let Some(name) = case["op"].as_str() {
            let told = numbers(&operation(name, &[customers(&case["a"]), customers(&case["b"])]));
            assert_eq!(Json::from(told), case["expected"], "{case}");
            continue;
        }
        let sets: Vec<Expr> = case["sets"].as_object().expect("named sets").values().map(customers).collect();
        let expected = &case["expected"];
        if let Some(all) = expected["all"].as_u64() {
            assert_eq!(numbers(&operation("or", &sets)).len() as u64, all);
            let per_day: Vec<usize> = sets.iter().map(|set| numbers(set).len()).collect();
            assert_eq!(Json::from(per_day), expected["per_day"]);
            let pair = &expected["today=2019-01-02 vs before=2019-01-01"];
            let (before, today) = (sets[0].clone(), sets[1].clone());
            for (name, field) in [("or", "or"), ("and", "and"), ("xor", "xor"), ("andnot", "today_andnot_before")] {
                let told = numbers(&operation(name, &[today.clone(), before.clone()])).len();
                assert_eq!(Json::from(told), pair[field], "{name}");
            }
        } else {
            for name in ["or", "and", "xor"] {
                assert_eq!(Json::from(numbers(&operation(name, &sets))), expected[name], "{name}");
            }
        }
    }
}
