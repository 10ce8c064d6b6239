//! The stores that are measured, and the one a user would write by hand: one RocksDB key per event.

mod workload;

use std::path::Path;

use bincode::config;
use ofone::{Batch, Db, Entity, Event, Options, Timestamp};
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, WriteBatch, WriteOptions};

pub(crate) use workload::*;

/// Bytes of block cache that either store gets.
const CACHE_BYTES: usize = 512 << 20;
/// Events of one commit.
const BATCH: usize = 20_000;

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
