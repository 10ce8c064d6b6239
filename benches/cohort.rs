//! How fast are questions about sets of customers, next to reading every stream, to walking over a store of
//! one RocksDB key an event, and to combining bitmaps that are already there?
//!
//! Claim: a set by kind and window costs a few times what the same sets cost as roaring bitmaps in
//! memory, and a small part of what reading costs. Answers are compared before anything is measured.

mod common;

use std::time::Duration;

use bincode::config;
use criterion::{Criterion, criterion_group, criterion_main};
use ofone::{Cohort, Expr, Period, Predicate, Snapshot, Timestamp, Window};
use roaring::RoaringBitmap;

use common::{Naive, Row, Workload};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The second week of the month.
fn week() -> Period {
    let at = |day: i64| Timestamp::from_secs(1_767_225_600 + day * 86_400);
    Period::from(Window::new(at(7), at(14)))
}

fn did(kind: &str) -> ofone::Did {
    Expr::did(Predicate::kind(kind)).during(week())
}

/// The customers as numbers, to be combined as bitmaps.
fn bitmap(cohort: &Cohort) -> RoaringBitmap {
    let number = |id: ofone::Text| id.trim_start_matches('C').parse::<u32>().expect("a number");
    cohort.ids().map(|id| number(id.expect("an id"))).collect()
}

/// Customers with an event of the kind in the second week, by looking at every row.
fn walk(naive: &Naive, kind: &str) -> RoaringBitmap {
    let at = |day: i64| Timestamp::from_secs(1_767_225_600 + day * 86_400).as_nanos();
    let mut found = RoaringBitmap::new();
    let mut rows = naive.db.raw_iterator();
    rows.seek_to_first();
    while let Some((key, value)) = rows.item() {
        let time = i64::from_be_bytes(key[4..12].try_into().expect("eight bytes")) ^ i64::MIN;
        if (at(7)..at(14)).contains(&time) {
            let decoded = bincode::borrow_decode_from_slice(value, config::standard());
            let (row, _): (Row<'_>, usize) = decoded.expect("own row");
            if row.kind == kind {
                found.insert(u32::from_be_bytes(key[..4].try_into().expect("four bytes")));
            }
        }
        rows.next();
    }
    rows.status().expect("no error on the way");
    found
}

fn cohorts(criterion: &mut Criterion) {
    let workload = Workload::new(1_000_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = common::open_ofone(&folder.path().join("ofone"));
    common::load_ofone(&db, &workload);
    db.wait_until_quiet().expect("quiet");
    db.flush().expect("sealed");
    db.wait_until_quiet().expect("quiet");
    let mut naive = Naive::open(&folder.path().join("naive"));
    naive.load(&workload);
    naive.wait_until_quiet();
    let snapshot = db.snapshot();
    let kind = |rank: usize| workload.event(&workload.records[rank]).kind;
    let (a, b, c) = (kind(0), kind(1), kind(2));
    let hours = Duration::from_secs(24 * 3600);
    let questions: [(&str, Expr); 4] = [
        ("cohort/did in 7 days", did(&a).into()),
        ("cohort/a and b minus c", did(&a).and(did(&b)).minus(did(&c))),
        ("cohort/at least 3", Expr::did(Predicate::kind(a.as_str())).at_least(3).into()),
        (
            "sequence/a then b within 24 h",
            Expr::seq([Predicate::kind(a.as_str()), Predicate::kind(b.as_str())]).within(hours).into(),
        ),
    ];
    let ask = |snapshot: &Snapshot, expr: &Expr| snapshot.who(expr.clone()).run().expect("a cohort");
    let read = |snapshot: &Snapshot, expr: &Expr| snapshot.who(expr.clone()).scan_only().run().expect("a cohort");
    for (name, expr) in &questions {
        let (by_index, by_reading) = (ask(&snapshot, expr), read(&snapshot, expr));
        assert_eq!(bitmap(&by_index), bitmap(&by_reading), "{expr}");
        let mut group = criterion.benchmark_group(*name);
        group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4)).sample_size(10);
        group.bench_function("index", |bencher| bencher.iter(|| ask(&snapshot, expr)));
        group.bench_function("reading", |bencher| bencher.iter(|| read(&snapshot, expr)));
        if name.ends_with("7 days") {
            assert_eq!(walk(&naive, &a), bitmap(&by_index), "{expr}");
            group.bench_function("naive", |bencher| bencher.iter(|| walk(&naive, &a)));
        }
        if name.ends_with("minus c") {
            let sets = [&a, &b, &c].map(|kind| bitmap(&ask(&snapshot, &did(kind).into())));
            group.bench_function("bitmaps alone", |bencher| bencher.iter(|| (&sets[0] & &sets[1]) - &sets[2]));
        }
        group.finish();
    }
}

criterion_group!(benches, cohorts);
criterion_main!(benches);
