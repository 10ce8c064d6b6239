//! How fast do records become native NDJSON, and lines records, next to serde_json without any of the rules, and to
//! copying the bytes?
//!
//! Claim: a record is written and read, with every rule for it looked at, as fast as serde_json writes and reads
//! the same line as a tree of values. How rows are packed and unpacked is measured with what needs it: `seal` and `stream`.

#[path = "common/workload.rs"]
mod workload;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ofone::Record;
use ofone::import::native;
use serde_json::Value;

use workload::Workload;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Enough that their text is in no cache of the processor.
const EVENTS: usize = 100_000;

fn codec(criterion: &mut Criterion) {
    let workload = Workload::new(EVENTS);
    let records: Vec<Record> = workload.records.iter().map(|record| workload.event(record).into()).collect();
    let lines: Vec<String> = records.iter().map(native::write).collect();
    let values: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let back = lines.iter().map(|line| native::parse(line).expect("a record"));
    assert!(back.eq(records.iter().cloned()), "what is written comes back as it was");
    let bytes: usize = lines.iter().map(String::len).sum();
    for name in ["codec/write", "codec/parse"] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::ElementsAndBytes { elements: lines.len() as u64, bytes: bytes as u64 });
        group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4)).sample_size(10);
        if name.ends_with("write") {
            let mut out = String::with_capacity(bytes);
            group.bench_function("ofone", |bencher| {
                bencher.iter(|| {
                    out.clear();
                    records.iter().for_each(|record| native::write_to(record, &mut out));
                    out.len()
                });
            });
            let mut out = Vec::with_capacity(bytes);
            group.bench_function("serde_json", |bencher| {
                bencher.iter(|| {
                    out.clear();
                    values.iter().for_each(|value| serde_json::to_writer(&mut out, value).expect("it fits"));
                    out.len()
                });
            });
            let mut out = String::with_capacity(bytes);
            group.bench_function("copy", |bencher| {
                bencher.iter(|| {
                    out.clear();
                    lines.iter().for_each(|line| out.push_str(line));
                    black_box(&out).len()
                });
            });
        } else {
            group.bench_function("ofone", |bencher| {
                bencher.iter(|| lines.iter().for_each(|line| drop(black_box(native::parse(line)))));
            });
            group.bench_function("serde_json", |bencher| {
                bencher.iter(|| lines.iter().for_each(|line| drop(black_box(serde_json::from_str::<Value>(line)))));
            });
            group.bench_function("copy", |bencher| {
                bencher.iter(|| lines.iter().for_each(|line| drop(black_box(line.clone()))));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
