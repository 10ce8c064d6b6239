//! How fast does what is in memory become files, next to RocksDB writing out its own memory?
//!
//! Claim: sealing sorts, packs rows, writes the index from which sets are answered and the filter by which
//! duplicates are recognised, and takes no longer than RocksDB does to flush a plain row an event. Both have the
//! events in their log and in memory by then; only what follows is measured.

mod common;

use std::time::Duration;

use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;

use common::{Naive, Workload};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Few enough that RocksDB keeps them in memory until it is told to flush.
const EVENTS: usize = 200_000;

fn seal(criterion: &mut Criterion) {
    let workload = Workload::new(EVENTS);
    let folder = || tempfile::tempdir().expect("a temporary folder");
    let mut group = criterion.benchmark_group("seal");
    group.throughput(Throughput::Elements(workload.records.len() as u64));
    group.sample_size(10).sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_millis(1));
    group.measurement_time(Duration::from_secs(5));
    let loaded = || {
        let folder = folder();
        let db = common::open_ofone(&folder.path().join("store"));
        common::load_ofone(&db, &workload);
        assert_eq!(db.snapshot().stats().expect("counts").segments, 0, "nothing is sealed yet");
        (db, folder)
    };
    let sealed = |(db, folder): (ofone::Db, TempDir)| {
        db.flush().expect("sealed");
        (db, folder)
    };
    group.bench_function("ofone", |bencher| bencher.iter_batched(loaded, sealed, BatchSize::PerIteration));
    let loaded = || {
        let folder = folder();
        let mut naive = Naive::open(&folder.path().join("store"));
        naive.load(&workload);
        (naive, folder)
    };
    let flushed = |(naive, folder): (Naive, TempDir)| {
        naive.wait_until_quiet();
        (naive, folder)
    };
    group.bench_function("naive", |bencher| bencher.iter_batched(loaded, flushed, BatchSize::PerIteration));
    group.finish();
}

criterion_group!(benches, seal);
criterion_main!(benches);
