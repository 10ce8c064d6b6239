//! A small seeded month of telco events, and the store a user would write by hand: one RocksDB key per
//! event. `OFONE_BENCH_EVENTS` scales it; there are fifty events to a customer.

use std::path::Path;

use bincode::config;
use ofone::{Batch, Db, Entity, Event, Options, Severity, Text, Timestamp};
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, WriteBatch, WriteOptions};

const SEED: u64 = 42;
const EVENTS_PER_CUSTOMER: usize = 50;
const MONTH_US: u64 = 30 * 86_400_000_000;
const START_US: u64 = 1_767_225_600_000_000; // 2026-01-01T00:00:00Z
const LAYERS: [&str; 8] = ["product", "order", "billing", "care", "channel", "app", "network", "device"];
const SOURCES: [&str; 8] = ["catalog", "oms", "billing-core", "crm", "mobile-app", "app-gateway", "ran", "cpe-mgmt"];
const SERVICES: [&str; 3] = ["mobile", "broadband", "tv"];
const COMPONENT_TYPES: [&str; 5] = ["cell", "olt", "svc", "router", "bras"];
const CAUSES: [&str; 4] = ["timeout after 3 retries", "ok", "upstream node degraded, see alarm", "user action"];
const KINDS: usize = 200;
const COMPONENTS: usize = 5_000;

/// Bytes of block cache that either store gets.
const CACHE_BYTES: usize = 512 << 20;
/// Events of one commit.
const BATCH: usize = 20_000;

/// One event as numbers, so that a million of them wait in little memory.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    time_us: u64,
    pub(crate) customer: u32,
    service: u8,
    kind: u8,
    severity: u8,
    cause: Option<u8>,
    component: Option<u16>,
    value: Option<f32>,
}

/// Events in order of arrival, with the names they use.
pub(crate) struct Workload {
    pub(crate) records: Vec<Record>,
    pub(crate) customers: Vec<Text>,
    services: Vec<[Text; 3]>,
    kinds: Vec<Text>,
    layers: Vec<Text>,
    sources: Vec<Text>,
    details: Vec<[Text; CAUSES.len()]>,
    components: Vec<Entity>,
}

impl Workload {
    pub(crate) fn new() -> Workload {
        let events = std::env::var("OFONE_BENCH_EVENTS").map_or(1_000_000, |text| text.parse().expect("a number"));
        let customers = (events / EVENTS_PER_CUSTOMER).max(1);
        let kind = |number: usize| format!("{}.{number:03}", LAYERS[number % LAYERS.len()]);
        let component = |number: usize| {
            let kind = COMPONENT_TYPES[number % COMPONENT_TYPES.len()];
            Entity::new(kind, format!("{kind}-{number:05}"))
        };
        let mut random = Random(SEED);
        Workload {
            records: (0..events).map(|at| random.record(at as u64, events as u64, customers)).collect(),
            customers: (0..customers).map(|number| Text::from(format!("C{number:08}"))).collect(),
            services: (0..customers).map(|number| SERVICES.map(|name| format!("C{number:08}/{name}").into())).collect(),
            kinds: (0..KINDS).map(|number| kind(number).into()).collect(),
            layers: LAYERS.map(Text::from).to_vec(),
            sources: SOURCES.map(Text::from).to_vec(),
            details: (0..KINDS).map(|number| CAUSES.map(|cause| format!("{}: {cause}", kind(number)).into())).collect(),
            components: (0..COMPONENTS).map(component).collect(),
        }
    }

    /// The event as an application would hand it in.
    pub(crate) fn event(&self, record: &Record) -> Event {
        let (customer, kind) = (record.customer as usize, usize::from(record.kind));
        let layer = kind % LAYERS.len();
        let mut event = Event::new(
            Timestamp::from_micros(record.time_us as i64),
            self.sources[layer].clone(),
            self.kinds[kind].clone(),
        )
        .layer(self.layers[layer].clone())
        .severity(Severity::new(record.severity).expect("below six"))
        .subject(Entity::customer(self.customers[customer].clone()))
        .context(Entity::new("service", self.services[customer][usize::from(record.service)].clone()));
        event.value = record.value.map(f64::from);
        if let Some(component) = record.component {
            event.context.push(self.components[usize::from(component)].clone());
        }
        if let Some(cause) = record.cause {
            event = event.attribute("detail", self.details[kind][usize::from(cause)].clone());
        }
        event
    }
}

/// splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// In `0..bound`, low numbers more often: `power` 1 is even, more is steeper.
    fn skewed(&mut self, bound: usize, power: f64) -> usize {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((unit.powf(power) * bound as f64) as usize).min(bound - 1)
    }

    fn record(&mut self, at: u64, events: u64, customers: usize) -> Record {
        let late_us =
            if self.below(200) == 0 { self.below(7_200_000_000) as u64 } else { self.below(1_000_000) as u64 };
        Record {
            time_us: START_US + MONTH_US / events * at - late_us,
            customer: self.skewed(customers, 1.7) as u32,
            service: self.below(3) as u8,
            kind: self.skewed(KINDS, 3.0) as u8,
            severity: self.skewed(6, 3.0) as u8,
            cause: (self.below(10) < 6).then(|| self.below(CAUSES.len()) as u8),
            component: (self.below(10) < 7).then(|| self.skewed(COMPONENTS, 3.0) as u16),
            value: (self.below(2) == 0).then(|| self.below(8_000) as f32 / 8.0),
        }
    }
}

/// A new ofone store.
pub(crate) fn open_ofone(path: &Path) -> Db {
    Db::open(path, Options::new().cache_bytes(CACHE_BYTES)).expect("a new store")
}

/// Hands everything to ofone, a few batches on the way; returns when the last is acknowledged.
pub(crate) fn load_ofone(db: &Db, workload: &Workload) {
    let writer = db.writer();
    let mut pending = std::collections::VecDeque::new();
    for records in workload.records.chunks(BATCH) {
        let mut batch = Batch::new();
        for record in records {
            batch.event(workload.event(record));
        }
        if pending.len() == 4 {
            settle(pending.pop_front());
        }
        pending.push_back(writer.submit(batch).expect("submitted"));
    }
    while !pending.is_empty() {
        settle(pending.pop_front());
    }
}

fn settle(pending: Option<ofone::Pending>) {
    let receipt = pending.expect("one on the way").wait().expect("committed");
    assert_eq!(receipt.rejected() + receipt.conflicts(), 0, "the workload keeps every rule");
}

/// The store without ofone: customer, time and a counter as key, the rest of the event as one row.
/// It knows no duplicates, no links and no other query.
pub(crate) struct Naive {
    pub(crate) db: DB,
    sequence: u32,
}

/// The value of one key.
#[derive(bincode::Encode, bincode::BorrowDecode)]
pub(crate) struct Row<'a> {
    pub(crate) source: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) layer: &'a str,
    pub(crate) severity: u8,
    pub(crate) value: Option<f64>,
    pub(crate) subject: (&'a str, &'a str),
    pub(crate) context: Vec<(&'a str, &'a str)>,
    pub(crate) detail: Option<String>,
}

impl Naive {
    pub(crate) fn open(path: &Path) -> Naive {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::Lz4);
        options.increase_parallelism(2);
        Naive { db: DB::open(&options, path).expect("a new database"), sequence: 0 }
    }

    /// One synced batch after another, as [`load_ofone`] does.
    pub(crate) fn load(&mut self, workload: &Workload) {
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        for records in workload.records.chunks(BATCH) {
            let mut batch = WriteBatch::default();
            for record in records {
                let event = workload.event(record);
                self.sequence += 1;
                batch.put(key(record.customer, event.time, self.sequence), value(&event));
            }
            self.db.write_opt(batch, &synced).expect("written");
        }
    }

    /// Flushed and compacted as far as RocksDB wants on its own.
    pub(crate) fn wait_until_quiet(&self) {
        self.db.flush().expect("flushed");
        self.db.wait_for_compact(&rocksdb::WaitForCompactOptions::default()).expect("compacted");
    }
}

/// Big-endian, the time with its sign bit turned, so that bytes sort as numbers do.
pub(crate) fn key(customer: u32, time: Timestamp, sequence: u32) -> [u8; 16] {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&customer.to_be_bytes());
    key[4..12].copy_from_slice(&(time.as_nanos() ^ i64::MIN).to_be_bytes());
    key[12..].copy_from_slice(&sequence.to_be_bytes());
    key
}

fn value(event: &Event) -> Vec<u8> {
    fn pair(entity: &Entity) -> (&str, &str) {
        (&entity.kind, &entity.id)
    }
    let row = Row {
        source: &event.source,
        kind: &event.kind,
        layer: event.layer.as_deref().expect("each has one"),
        severity: event.severity.number(),
        value: event.value,
        subject: pair(&event.subjects[0]),
        context: event.context.iter().map(pair).collect(),
        detail: event.attributes.first().map(|(_, value)| value.to_string()),
    };
    bincode::encode_to_vec(row, config::standard()).expect("plain data")
}
