//! How fast does one customer's month, or one day and layer of it, come out, next to a range of RocksDB
//! keys with one event each?
//!
//! Claim: ofone reads a customer's month faster than a range scan of their rows, and a day of one layer
//! no slower. Both give whole events; answers are compared before anything is measured.

mod common;

use std::time::Duration;

use bincode::config;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ofone::{Entity, Event, Severity, Snapshot, Text, Timestamp, Window};
use rocksdb::ReadOptions;

use common::{Naive, Random, Row, Workload};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARAMETERS: usize = 1_000;
const HALF_DAY: i64 = 12 * 3_600 * 1_000_000_000;

/// One question: a customer, a window, perhaps a layer.
struct Question {
    customer: u32,
    window: Window,
    layer: Option<Text>,
}

/// A random customer's whole stream.
fn month(workload: &Workload, random: &mut Random) -> Question {
    let window = Window::new(Timestamp::from_nanos(0), Timestamp::MAX);
    Question { customer: random.below(workload.customers.len()) as u32, window, layer: None }
}

/// The day around a random event, in its layer.
fn day_and_layer(workload: &Workload, random: &mut Random) -> Question {
    let record = &workload.records[random.below(workload.records.len())];
    let Event { time, layer, .. } = workload.event(record);
    let window = Window::new(time.saturating_add(-HALF_DAY), time.saturating_add(HALF_DAY));
    Question { customer: record.customer, window, layer }
}

fn ask_ofone(snapshot: &Snapshot, workload: &Workload, question: &Question) -> Vec<Event> {
    let mut query = snapshot.stream(workload.customers[question.customer as usize].clone()).window(question.window);
    if let Some(layer) = &question.layer {
        query = query.layer(layer.clone());
    }
    query.run().expect("a stream").map(|item| item.expect("an event").event).collect()
}

fn ask_naive(naive: &Naive, question: &Question) -> Vec<Event> {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(common::key(question.customer, question.window.from, 0));
    options.set_iterate_upper_bound(common::key(question.customer, question.window.to, 0));
    let mut rows = naive.db.raw_iterator_opt(options);
    rows.seek_to_first();
    let mut events = Vec::new();
    while let Some((key, value)) = rows.item() {
        events.extend(naive_event(key, value, question.layer.as_deref()));
        rows.next();
    }
    rows.status().expect("no error on the way");
    events
}

/// The event of a row, unless it is of another layer.
fn naive_event(key: &[u8], value: &[u8], layer: Option<&str>) -> Option<Event> {
    let (row, _): (Row<'_>, usize) = bincode::borrow_decode_from_slice(value, config::standard()).expect("own row");
    if layer.is_some_and(|layer| layer != row.layer) {
        return None;
    }
    let nanos = i64::from_be_bytes(key[4..12].try_into().expect("eight bytes")) ^ i64::MIN;
    let mut event = Event::new(Timestamp::from_nanos(nanos), row.source, row.kind)
        .layer(row.layer)
        .severity(Severity::new(row.severity).expect("stored"))
        .subject(Entity::new(row.subject.0, row.subject.1));
    event.value = row.value;
    event.context.extend(row.context.iter().map(|(kind, id)| Entity::new(*kind, *id)));
    if let Some(detail) = row.detail {
        event = event.attribute("detail", detail);
    }
    Some(event)
}

/// Sorted, as the two differ in the order within an instant.
fn hashes(events: &[Event]) -> Vec<u128> {
    let mut hashes: Vec<u128> = events.iter().map(Event::content_hash).collect();
    hashes.sort_unstable();
    hashes
}

fn stream(criterion: &mut Criterion) {
    let workload = Workload::new(1_000_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = common::open_ofone(&folder.path().join("ofone"));
    common::load_ofone(&db, &workload);
    db.flush().expect("sealed");
    db.wait_until_quiet().expect("quiet");
    let mut naive = Naive::open(&folder.path().join("naive"));
    naive.load(&workload);
    naive.wait_until_quiet();

    let mut random = Random(7);
    let months: Vec<Question> = (0..PARAMETERS).map(|_| month(&workload, &mut random)).collect();
    let days: Vec<Question> = (0..PARAMETERS).map(|_| day_and_layer(&workload, &mut random)).collect();
    for (name, questions) in [("stream/month", months), ("stream/day+layer", days)] {
        let mut events = 0;
        for question in &questions {
            let answer = ask_ofone(&db.snapshot(), &workload, question);
            assert_eq!(hashes(&answer), hashes(&ask_naive(&naive, question)), "customer {}", question.customer);
            events += answer.len();
        }
        let mut group = criterion.benchmark_group(name);
        // Per iteration one question: the mean length of an answer, rounded.
        group.throughput(Throughput::Elements(((events + questions.len() / 2) / questions.len()).max(1) as u64));
        group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
        let mut turn = questions.iter().cycle();
        group.bench_function("ofone", |bencher| {
            bencher.iter(|| ask_ofone(&db.snapshot(), &workload, turn.next().expect("a cycle")));
        });
        let mut turn = questions.iter().cycle();
        group.bench_function("naive", |bencher| {
            bencher.iter(|| ask_naive(&naive, turn.next().expect("a cycle")));
        });
        group.finish();
    }
}

criterion_group!(benches, stream);
criterion_main!(benches);
