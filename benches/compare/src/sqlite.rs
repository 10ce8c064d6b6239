//! SQLite set up as `peer_sqlite.py` does: a table of codes in order of arrival, one index.

use std::path::Path;
use std::time::Instant;

use ofone::Text;
use rusqlite::{Connection, OpenFlags, Statement, params};
use serde_json::json;

use crate::Result;
use crate::args::Args;
use crate::data::{Digest, Names, Records};
use crate::measure;
use crate::query::Parameter;

const COLUMNS: &str = "time, customer, service, layer, source, kind, severity, component, value, detail";

fn settings(connection: &Connection) -> Result {
    for (name, value) in
        [("page_size", 8_192_i64), ("cache_size", -6_000_000), ("mmap_size", 30_000_000_000), ("threads", 2)]
    {
        connection.pragma_update(None, name, value)?;
    }
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

/// `sqlite-load`: events.bin into a new file, without journal, then the index.
pub fn load(args: &Args) -> Result {
    let (scale_dir, path) = (args.scale_dir()?, args.path("sqlite")?);
    let limit = args.number("limit")?;
    args.finish()?;
    if path.exists() {
        return Err(format!("{} exists; a load starts from nothing", path.display()).into());
    }
    let connection = Connection::open(&path)?;
    settings(&connection)?;
    connection.execute_batch(
        "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;
         CREATE TABLE ev(time INT, customer INT, service INT, layer INT, source INT, kind INT, severity INT, component INT, value REAL, detail INT);
         BEGIN",
    )?;
    let (started, mut rows) = (Instant::now(), 0_u64);
    let mut insert = connection.prepare("INSERT INTO ev VALUES(?,?,?,?,?,?,?,?,?,?)")?;
    for record in Records::open(&scale_dir, limit)? {
        let record = record?;
        let service = record.customer * 3 + u32::from(record.service);
        insert.execute(params![
            record.time_us,
            record.customer,
            service,
            record.layer,
            record.source,
            record.kind,
            record.severity,
            record.component,
            record.value,
            record.detail
        ])?;
        rows += 1;
    }
    connection.execute_batch("COMMIT")?;
    let inserted_s = started.elapsed().as_secs_f64();
    connection.execute_batch("CREATE INDEX ev_ct ON ev(customer, time); ANALYZE")?;
    let seconds = started.elapsed().as_secs_f64();
    connection.execute_batch("PRAGMA journal_mode=WAL")?;
    let bytes = measure::disk_bytes(&path)?;
    let rate = rows as f64 / seconds;
    println!(
        "SQLite {}: {rows} rows in {seconds:.1} s ({inserted_s:.1} s before the index), {:.3} M rows/s",
        rusqlite::version(),
        rate / 1e6
    );
    println!("{:.1} MB, {:.2} bytes/event", bytes as f64 / 1e6, bytes as f64 / rows as f64);
    let result = json!({
        "rows": rows, "rows_per_s": rate, "bulk_s": seconds, "bytes": bytes, "bytes_per_event": bytes as f64 / rows as f64,
        "load_peak_rss_mb": measure::peak_rss_mb()?,
    });
    measure::save(&scale_dir, "sqlite-rust", "load", result)
}

/// One row as stored: codes.
pub struct Row {
    time_us: i64,
    customer: u32,
    service: u32,
    layer: u8,
    source: u8,
    kind: u8,
    severity: u8,
    component: Option<u32>,
    value: Option<f64>,
    detail: Option<u16>,
}

/// One row as an application wants it, like the event that ofone gives.
#[expect(dead_code, reason = "made to be timed, not to be read")]
pub struct TextRow {
    time_us: i64,
    customer: Text,
    service: Text,
    layer: Text,
    source: Text,
    kind: Text,
    severity: u8,
    component: Option<Text>,
    value: Option<f64>,
    detail: Option<Text>,
}

pub struct Sqlite<'c> {
    month: Statement<'c>,
    part: Statement<'c>,
    names: &'c Names,
}

impl<'c> Sqlite<'c> {
    pub fn open(path: &Path) -> Result<Connection> {
        let connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        settings(&connection)?;
        Ok(connection)
    }

    pub fn prepare(connection: &'c Connection, names: &'c Names) -> Result<Sqlite<'c>> {
        Ok(Sqlite {
            month: connection.prepare(&format!("SELECT {COLUMNS} FROM ev WHERE customer = ? ORDER BY time"))?,
            part: connection.prepare(&format!(
                "SELECT {COLUMNS} FROM ev WHERE customer = ? AND time >= ? AND time < ? AND layer IN (?, ?) ORDER BY time"
            ))?,
            names,
        })
    }

    /// All columns of the answer, as codes.
    pub fn rows(&mut self, parameter: &Parameter) -> Result<Vec<Row>> {
        let layer = |name: &str| self.names.layers.iter().position(|layer| layer == name).map(|place| place as i64);
        let mut found = match &parameter.part {
            None => self.month.query(params![parameter.customer])?,
            Some(part) => self.part.query(params![
                parameter.customer,
                part.from_us,
                part.to_us,
                layer(&part.l1),
                layer(&part.l2)
            ])?,
        };
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            rows.push(Row {
                time_us: row.get(0)?,
                customer: row.get(1)?,
                service: row.get(2)?,
                layer: row.get(3)?,
                source: row.get(4)?,
                kind: row.get(5)?,
                severity: row.get(6)?,
                component: row.get(7)?,
                value: row.get(8)?,
                detail: row.get(9)?,
            });
        }
        Ok(rows)
    }

    /// The same rows with every code as the text it stands for.
    pub fn decode(&self, rows: &[Row]) -> Vec<TextRow> {
        let names = self.names;
        rows.iter()
            .map(|row| TextRow {
                time_us: row.time_us,
                customer: names.customer_id(row.customer),
                service: names.service_id(row.customer, (row.service % 3) as u8),
                layer: names.layers[usize::from(row.layer)].clone(),
                source: names.sources[usize::from(row.source)].clone(),
                kind: names.kinds[usize::from(row.kind)].clone(),
                severity: row.severity,
                component: row.component.map(|number| names.component(number).id.clone()),
                value: row.value,
                detail: row.detail.map(|code| names.details[usize::from(code)].clone()),
            })
            .collect()
    }

    pub fn digest(&self, rows: &[Row]) -> Digest {
        let mut digest = Digest::default();
        for row in rows {
            let detail = row.detail.map_or(0, |code| self.names.details[usize::from(code)].len());
            let text = self.names.layers[usize::from(row.layer)].len()
                + self.names.sources[usize::from(row.source)].len()
                + self.names.kinds[usize::from(row.kind)].len();
            digest.rows += 1;
            digest.time_us = digest.time_us.wrapping_add(row.time_us as u64);
            digest.customer += u64::from(row.customer);
            digest.service += u64::from(row.service);
            digest.severity += u64::from(row.severity);
            digest.component += u64::from(row.component.unwrap_or(0));
            digest.value_eighths += (row.value.unwrap_or(0.0) * 8.0).round() as i64;
            digest.text_bytes += (text + detail) as u64;
        }
        digest
    }
}
