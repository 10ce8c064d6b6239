//! `ofone-query`: point queries on ofone and SQLite in one process, by turns, both down to text.

use std::path::Path;
use std::time::{Duration, Instant};

use ofone::{Db, Snapshot, StreamItem, StreamQuery, Timestamp, Window};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Result;
use crate::args::Args;
use crate::data::{Digest, Meta, Names};
use crate::measure::{self, Latencies};
use crate::sqlite::{Row, Sqlite};

/// One parameter of a point query: a customer, and for Q2 a window (us) and two layers.
#[derive(Clone, Deserialize)]
pub struct Parameter {
    #[serde(rename = "c")]
    pub customer: u32,
    #[serde(flatten)]
    pub part: Option<Part>,
}

#[derive(Clone, Deserialize)]
pub struct Part {
    #[serde(rename = "lo")]
    pub from_us: i64,
    #[serde(rename = "hi")]
    pub to_us: i64,
    pub l1: String,
    pub l2: String,
}

/// The point queries of the peers' `params.json`.
#[derive(Deserialize)]
pub struct Parameters {
    pub q1: Vec<Parameter>,
    q1h: Vec<Parameter>,
    q2: Vec<Parameter>,
}

impl Parameters {
    pub fn read(scale_dir: &Path) -> Result<Parameters> {
        let path = scale_dir.join("params.json");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// Runs a stream to its end.
pub fn stream(query: StreamQuery) -> Result<Vec<StreamItem>> {
    Ok(query.run()?.collect::<ofone::Result<Vec<StreamItem>>>()?)
}

fn ofone_answer(snapshot: &Snapshot, names: &Names, parameter: &Parameter) -> Result<Vec<StreamItem>> {
    let mut query = snapshot.stream(names.customer_id(parameter.customer));
    if let Some(part) = &parameter.part {
        let window = Window::new(Timestamp::from_micros(part.from_us), Timestamp::from_micros(part.to_us));
        query = query.window(window).layer(part.l1.as_str()).layer(part.l2.as_str());
    }
    stream(query)
}

pub fn run(args: &Args) -> Result {
    let scale_dir = args.scale_dir()?;
    let (db_path, sqlite_path) = (args.path("db")?, args.path("sqlite")?);
    let rounds: usize = args.number("rounds")?.unwrap_or(3);
    let options = args.store_options()?.create(false);
    let column = args.text("name").unwrap_or("ofone");
    let only = args.text("only").map(str::to_owned);
    args.finish()?;
    let meta = Meta::read(&scale_dir)?;
    let names = Names::new(&meta);
    let parameters = Parameters::read(&scale_dir)?;

    let started = Instant::now();
    let db = Db::open(&db_path, options)?;
    let ofone_open = started.elapsed();
    let started = Instant::now();
    let connection = Sqlite::open(&sqlite_path)?;
    let mut sqlite = Sqlite::prepare(&connection, &names)?;
    let sqlite_open = started.elapsed();
    println!("open: ofone {:.1} ms, SQLite {:.1} ms", millis(ofone_open), millis(sqlite_open));
    println!("p50 / p99 ms (n); \"first\": each parameter once after opening, \"warm\": {rounds} more rounds");
    println!("| query | ofone | SQLite, codes | SQLite, text | p50 ratio | p99 ratio | p50 ratio to codes |");
    println!("|---|---|---|---|---|---|---|");

    let queries = [("Q1", &parameters.q1), ("Q1heavy", &parameters.q1h), ("Q2", &parameters.q2)];
    for (name, list) in queries.into_iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name)) {
        let mut side_by_side = SideBySide { db: &db, sqlite: &mut sqlite, names: &names, meta: &meta };
        let mut first = Took::default();
        let digests = side_by_side.check(list, &mut first)?;
        first.print(&format!("{name} first"));
        let mut warm = Took::default();
        for round in 0..rounds {
            side_by_side.measure(list, round, &mut warm)?;
        }
        warm.print(&format!("{name} warm"));
        warm.save(&scale_dir, column, name, &digests)?;
        first.save(&scale_dir, column, &format!("{name} first"), &Value::Null)?;
    }
    let rss = measure::peak_rss_mb()?;
    println!("answers agree; peak RSS of both together {rss:.0} MB");
    measure::save(
        &scale_dir,
        column,
        "run",
        json!({ "open_ms": millis(ofone_open), "query_peak_rss_mb_with_sqlite": rss }),
    )
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

struct SideBySide<'a, 'c> {
    db: &'a Db,
    sqlite: &'a mut Sqlite<'c>,
    names: &'a Names,
    meta: &'a Meta,
}

impl SideBySide<'_, '_> {
    /// Each parameter once on both, answers compared; gives the digests of the first 300.
    fn check(&mut self, list: &[Parameter], took: &mut Took) -> Result<Value> {
        let mut digests = Vec::new();
        for (turn, parameter) in list.iter().enumerate() {
            let (items, rows) = self.both(parameter, turn, took)?;
            let mut digest = Digest::default();
            for item in &items {
                digest.add_event(&item.event, &self.meta.services)?;
            }
            let expected = self.sqlite.digest(&rows);
            if digest != expected {
                return Err(format!("customer {}: ofone {digest:?}, SQLite {expected:?}", parameter.customer).into());
            }
            if items.windows(2).any(|pair| pair[0].event.time > pair[1].event.time) {
                return Err(format!("customer {}: not in order of time", parameter.customer).into());
            }
            if turn < 300 {
                digests.push(digest.json());
            }
        }
        Ok(Value::Array(digests))
    }

    fn measure(&mut self, list: &[Parameter], round: usize, took: &mut Took) -> Result {
        for (turn, parameter) in list.iter().enumerate() {
            self.both(parameter, turn + round, took)?;
        }
        Ok(())
    }

    /// One parameter on both; who goes first alternates.
    fn both(&mut self, parameter: &Parameter, turn: usize, took: &mut Took) -> Result<(Vec<StreamItem>, Vec<Row>)> {
        if turn.is_multiple_of(2) {
            let items = self.ofone(parameter, took)?;
            Ok((items, self.sqlite(parameter, took)?))
        } else {
            let rows = self.sqlite(parameter, took)?;
            Ok((self.ofone(parameter, took)?, rows))
        }
    }

    fn ofone(&self, parameter: &Parameter, took: &mut Took) -> Result<Vec<StreamItem>> {
        let started = Instant::now();
        let items = ofone_answer(&self.db.snapshot(), self.names, parameter)?;
        took.ofone.push(started.elapsed());
        Ok(items)
    }

    fn sqlite(&mut self, parameter: &Parameter, took: &mut Took) -> Result<Vec<Row>> {
        let started = Instant::now();
        let rows = self.sqlite.rows(parameter)?;
        let coded = started.elapsed();
        let decoded = self.sqlite.decode(&rows);
        let text = started.elapsed();
        std::hint::black_box(decoded);
        took.codes.push(coded);
        took.text.push(text);
        Ok(rows)
    }
}

#[derive(Default)]
struct Took {
    ofone: Latencies,
    codes: Latencies,
    text: Latencies,
}

impl Took {
    /// Ratios are SQLite's time over ofone's: above one, ofone is faster.
    fn print(&self, name: &str) {
        let ratio = |other: &Latencies, p: f64| other.percentile(p) / self.ofone.percentile(p);
        println!(
            "| {name} | {} | {} | {} | {:.2} | {:.2} | {:.2} |",
            self.ofone.cell(),
            self.codes.cell(),
            self.text.cell(),
            ratio(&self.text, 0.5),
            ratio(&self.text, 0.99),
            ratio(&self.codes, 0.5)
        );
    }

    fn save(&self, scale_dir: &Path, column: &str, query: &str, digests: &Value) -> Result {
        for (name, latencies) in [(column, &self.ofone), ("sqlite-rust", &self.codes), ("sqlite-rust-text", &self.text)]
        {
            let mut one = latencies.json();
            if !digests.is_null() {
                one["digests"] = digests.clone();
            }
            measure::save(scale_dir, name, "query", json!({ query: one }))?;
        }
        Ok(())
    }
}
