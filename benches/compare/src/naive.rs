//! RocksDB as one would use it by hand: rows by customer and time, a second copy by kind and time, and sets
//! of customers made by walking over the one or the other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rocksdb::{ColumnFamily, DB, DBCompressionType, IteratorMode, Options, WriteBatch, WriteOptions};
use serde_json::{Value, json};

use crate::Result;
use crate::args::Args;
use crate::cohort::{DAY_US, HOUR_US, Parameter, Parameters};
use crate::data::{Meta, Record, Records};
use crate::measure::{self, Latencies};

const ROWS: &str = "rows";
const KINDS: &str = "kinds";
const NO_COMPONENT: u32 = u32::MAX;

/// What the copy by kind holds of an event.
struct Entry {
    time: i64,
    customer: u32,
    severity: u8,
    layer: u8,
    component: u32,
}

fn open(path: &Path, create: bool) -> Result<DB> {
    let mut options = Options::default();
    options.create_if_missing(create);
    options.create_missing_column_families(create);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(128 << 20);
    options.increase_parallelism(2);
    Ok(DB::open_cf_with_opts(&options, path, [(ROWS, options.clone()), (KINDS, options.clone())])?)
}

fn family<'a>(db: &'a DB, name: &str) -> Result<&'a ColumnFamily> {
    db.cf_handle(name).ok_or_else(|| format!("no family {name}").into())
}

/// `naive-load`: events.bin into a new store, without a log.
pub fn load(args: &Args) -> Result {
    let (scale_dir, path) = (args.scale_dir()?, args.path("rocksdb")?);
    let limit = args.number("limit")?;
    args.finish()?;
    if path.exists() {
        return Err(format!("{} exists; a load starts from nothing", path.display()).into());
    }
    let db = open(&path, true)?;
    let (rows, kinds) = (family(&db, ROWS)?, family(&db, KINDS)?);
    let mut unlogged = WriteOptions::default();
    unlogged.disable_wal(true);
    let (started, mut count, mut batch) = (Instant::now(), 0u32, WriteBatch::default());
    for record in Records::open(&scale_dir, limit)? {
        let record = record?;
        batch.put_cf(rows, row_key(&record, count), record.encode());
        batch.put_cf(kinds, kind_key(record.kind, record.time_us, record.customer, count), entry_value(&record));
        count += 1;
        if count.is_multiple_of(20_000) {
            db.write_opt(std::mem::take(&mut batch), &unlogged)?;
        }
    }
    db.write_opt(batch, &unlogged)?;
    for family in [rows, kinds] {
        db.flush_cf(family)?;
        db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
    }
    let seconds = started.elapsed().as_secs_f64();
    drop(db);
    let (bytes, events) = (measure::disk_bytes(&path)?, f64::from(count));
    println!("{count} rows in {seconds:.1} s, {:.2} bytes/event", bytes as f64 / events);
    let rss = measure::peak_rss_mb()?;
    let result = json!({ "rows": count, "bulk_s": seconds, "rows_per_s": events / seconds, "bytes": bytes,
        "bytes_per_event": bytes as f64 / events, "load_peak_rss_mb": rss });
    measure::save(&scale_dir, "rocksdb", "load", result)
}

fn row_key(record: &Record, number: u32) -> [u8; 16] {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&record.customer.to_be_bytes());
    key[4..12].copy_from_slice(&record.time_us.to_be_bytes());
    key[12..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Times of the workload are after 1970, so that their bytes are in order.
fn kind_key(kind: u8, time_us: i64, customer: u32, number: u32) -> [u8; 17] {
    let mut key = [kind; 17];
    key[1..9].copy_from_slice(&time_us.to_be_bytes());
    key[9..13].copy_from_slice(&customer.to_be_bytes());
    key[13..].copy_from_slice(&number.to_be_bytes());
    key
}

fn entry_value(record: &Record) -> [u8; 6] {
    let mut value = [record.severity, record.layer, 0, 0, 0, 0];
    value[2..].copy_from_slice(&record.component.unwrap_or(NO_COMPONENT).to_le_bytes());
    value
}

/// `naive-query`: Q3 to Q10, one question after the other.
pub fn query(args: &Args) -> Result {
    let (scale_dir, path) = (args.scale_dir()?, args.path("rocksdb")?);
    let seconds: f64 = args.number("seconds")?.unwrap_or(12.0);
    args.finish()?;
    let meta = Meta::read(&scale_dir)?;
    let parameters = Parameters::read(&scale_dir)?;
    let db = open(&path, false)?;
    let walker = Walker { db: &db, meta: &meta };
    println!("p50 / p99 ms (n)");
    for (query, list) in parameters.by_query() {
        let (mut took, mut digests) = (Latencies::default(), Vec::new());
        let begun = Instant::now();
        for parameter in list {
            let started = Instant::now();
            digests.push(walker.ask(query, parameter)?);
            took.push(started.elapsed());
            if begun.elapsed() > Duration::from_secs_f64(seconds) {
                break;
            }
        }
        println!("{query:<10} {}", took.cell());
        let mut result = took.json();
        result["digests"] = Value::Array(digests);
        measure::save(&scale_dir, "rocksdb", "query", json!({ query: result }))?;
    }
    Ok(())
}

struct Walker<'a> {
    db: &'a DB,
    meta: &'a Meta,
}

impl Walker<'_> {
    fn kind(&self, name: &str) -> Result<u8> {
        let at = self.meta.kinds.iter().position(|kind| kind == name).ok_or_else(|| format!("no kind {name}"))?;
        Ok(u8::try_from(at)?)
    }

    /// Calls `seen` with each event of a kind in `[from, to)`, by time.
    fn walk(&self, kind: u8, (from, to): (i64, i64), mut seen: impl FnMut(&Entry)) -> Result {
        let begin = kind_key(kind, from, 0, 0);
        let mode = IteratorMode::From(&begin, rocksdb::Direction::Forward);
        for item in self.db.iterator_cf(family(self.db, KINDS)?, mode) {
            let (key, value) = item?;
            let time = i64::from_be_bytes(key[1..9].try_into()?);
            if key[0] != kind || time >= to {
                break;
            }
            seen(&Entry {
                time,
                customer: u32::from_be_bytes(key[9..13].try_into()?),
                severity: value[0],
                layer: value[1],
                component: u32::from_le_bytes(value[2..6].try_into()?),
            });
        }
        Ok(())
    }

    fn customers(&self, kind: &str, window: (i64, i64), holds: impl Fn(&Entry) -> bool) -> Result<HashSet<u32>> {
        let mut found = HashSet::new();
        self.walk(self.kind(kind)?, window, |entry| {
            if holds(entry) {
                found.insert(entry.customer);
            }
        })?;
        Ok(found)
    }

    fn all_kinds(&self, window: (i64, i64), mut seen: impl FnMut(&Entry)) -> Result {
        (0..self.meta.kinds.len()).try_for_each(|kind| self.walk(kind as u8, window, &mut seen))
    }

    /// The digest of the answer.
    fn ask(&self, query: &str, p: &Parameter) -> Result<Value> {
        const ALWAYS: (i64, i64) = (0, i64::MAX);
        let window = (p.lo, p.hi);
        Ok(match query {
            "Q4count" | "Q4ids" => {
                let set = |kind: &str| self.customers(kind, window, |_| true);
                let (a, b, without) = (set(&p.a)?, set(&p.b)?, set(&p.n)?);
                let ids = || a.iter().filter(|id| b.contains(id) && !without.contains(id)).map(|&id| u64::from(id));
                if query == "Q4count" {
                    json!(ids().count())
                } else {
                    let squares: u128 = ids().map(|id| u128::from(id) * u128::from(id)).sum();
                    json!([ids().count(), ids().sum::<u64>(), (squares % 1_000_000_007) as u64])
                }
            }
            "Q5" => json!(self.customers(&p.k, ALWAYS, |entry| entry.component == p.x && entry.severity >= 3)?.len()),
            "Q6" => {
                let mut counts: HashMap<u32, u32> = HashMap::new();
                self.walk(self.kind(&p.k)?, ALWAYS, |entry| *counts.entry(entry.customer).or_default() += 1)?;
                json!(counts.values().filter(|&&count| count >= 3).count())
            }
            "Q7" | "Q7first8" => {
                let mut first: HashMap<u32, Vec<i64>> = HashMap::new();
                self.walk(self.kind(&p.a)?, ALWAYS, |entry| first.entry(entry.customer).or_default().push(entry.time))?;
                let mut found = HashSet::new();
                self.walk(self.kind(&p.b)?, ALWAYS, |entry| {
                    let times = first.get(&entry.customer).map_or(&[][..], Vec::as_slice);
                    let before = times.partition_point(|&time| time <= entry.time);
                    if before > 0 && entry.time - times[before - 1] <= DAY_US {
                        found.insert(entry.customer);
                    }
                })?;
                json!(found.len())
            }
            "Q8" => {
                let layer = self.meta.layers.iter().position(|layer| *layer == p.l).map_or(u8::MAX, |at| at as u8);
                let mut hours: BTreeMap<i64, i64> = BTreeMap::new();
                let mut days: BTreeMap<i64, HashSet<u32>> = BTreeMap::new();
                self.walk(self.kind(&p.k)?, ALWAYS, |entry| {
                    if entry.layer == layer {
                        let since = entry.time - self.meta.t0;
                        *hours.entry(since.div_euclid(HOUR_US)).or_default() += 1;
                        days.entry(since.div_euclid(DAY_US)).or_default().insert(entry.customer);
                    }
                })?;
                let days: BTreeMap<i64, i64> = days.iter().map(|(&day, found)| (day, found.len() as i64)).collect();
                let digest = |counts: &BTreeMap<i64, i64>| {
                    counts.iter().fold([0, 0, 0], |[n, sum, by], (at, count)| [n + 1, sum + count, by + at * count])
                };
                let ([a, b, c], [d, e, f]) = (digest(&hours), digest(&days));
                json!([a, b, c, d, e, f])
            }
            "Q9" => {
                let mut scores: HashMap<u32, u64> = HashMap::new();
                self.all_kinds(window, |entry| {
                    if entry.severity > 0 {
                        *scores.entry(entry.customer).or_default() += u64::from(entry.severity).pow(2);
                    }
                })?;
                let mut rows: Vec<_> = scores.into_iter().map(|(customer, score)| (Reverse(score), customer)).collect();
                rows.sort_unstable();
                rows.truncate(100);
                let customers: u64 = rows.iter().map(|row| u64::from(row.1)).sum();
                json!([rows.len(), customers, rows.iter().map(|row| row.0.0).sum::<u64>()])
            }
            "Q10" => {
                let mut exposed = HashSet::new();
                self.all_kinds(ALWAYS, |entry| {
                    if entry.component == p.x {
                        exposed.insert(entry.customer);
                    }
                })?;
                let mut rows: BTreeMap<(u8, u8), (u64, u64)> = BTreeMap::new();
                self.all_kinds(window, |entry| {
                    let of = (u8::from(exposed.contains(&entry.customer)), u8::from(entry.time >= p.t));
                    let row = rows.entry(of).or_default();
                    *row = (row.0 + 1, row.1 + u64::from(entry.severity >= 3));
                })?;
                rows.iter().map(|((e, a), (count, bad))| json!([e, a, count, bad])).collect()
            }
            _ => json!(self.customers(&p.k, window, |_| true)?.len()),
        })
    }
}
