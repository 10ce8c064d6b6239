//! How fast does a month of events go in, durably, next to one RocksDB key per event?
//!
//! Claim: recognising duplicates, numbering names and building ofone's segments costs no more than a
//! plain key per event does. `acknowledged` ends with the last receipt, `quiet` when no background work is left.

mod common;

use std::time::Duration;

use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;

use common::{Naive, Workload};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An empty store in a folder that goes with it; closed before the folder is removed.
struct Empty<S> {
    store: S,
    _folder: TempDir,
}

impl<S> Empty<S> {
    fn new(open: impl FnOnce(&std::path::Path) -> S) -> Empty<S> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Empty { store: open(&folder.path().join("store")), _folder: folder }
    }
}

fn ingest(criterion: &mut Criterion) {
    let workload = Workload::new(1_000_000);
    for until_quiet in [false, true] {
        let name = if until_quiet { "ingest/quiet" } else { "ingest/acknowledged" };
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(workload.records.len() as u64));
        group.sample_size(10).sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_millis(1));
        group.measurement_time(Duration::from_secs(10));
        let ofone = |empty: Empty<ofone::Db>| {
            common::load_ofone(&empty.store, &workload);
            if until_quiet {
                empty.store.flush().expect("sealed");
                empty.store.wait_until_quiet().expect("quiet");
            }
            empty
        };
        let naive = |mut empty: Empty<Naive>| {
            empty.store.load(&workload);
            if until_quiet {
                empty.store.wait_until_quiet();
            }
            empty
        };
        group.bench_function("ofone", |bencher| {
            bencher.iter_batched(|| Empty::new(common::open_ofone), ofone, BatchSize::PerIteration);
        });
        group.bench_function("naive", |bencher| {
            bencher.iter_batched(|| Empty::new(Naive::open), naive, BatchSize::PerIteration);
        });
        group.finish();
    }
}

criterion_group!(benches, ingest);
criterion_main!(benches);
