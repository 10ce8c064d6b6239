//! `prepare`: the generator's Parquet as flat records, so that load benches pay no decoding.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, Int16Type, TimestampMicrosecondType, UInt8Type, UInt32Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::Result;
use crate::args::Args;
use crate::data::{Meta, Record};

pub fn run(args: &Args) -> Result {
    let scale_dir = args.scale_dir()?;
    let limit: u64 = args.number("limit")?.unwrap_or(u64::MAX);
    args.finish()?;
    let meta = Meta::read(&scale_dir)?;
    let codes = Codes::new(&meta);
    let started = Instant::now();
    let mut written = 0;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(scale_dir.join("events.bin"))?);
    'files: for path in day_files(&scale_dir.join("events"))? {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.with_batch_size(65_536).build()?;
        for batch in reader {
            for record in codes.records(&batch?)? {
                if written == limit {
                    break 'files;
                }
                out.write_all(&record.encode())?;
                written += 1;
            }
        }
    }
    out.flush()?;
    if limit == u64::MAX && written != meta.events {
        return Err(format!("{written} events in the files, meta.json says {}", meta.events).into());
    }
    println!("events.bin: {written} events in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn day_files(folder: &std::path::Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Text to its place in a vocabulary.
struct Codes {
    layers: HashMap<String, u16>,
    sources: HashMap<String, u16>,
    kinds: HashMap<String, u16>,
    details: HashMap<String, u16>,
}

impl Codes {
    fn new(meta: &Meta) -> Codes {
        let places = |words: &[String]| words.iter().cloned().zip(0..).collect();
        Codes {
            layers: places(&meta.layers),
            sources: places(&meta.sources),
            kinds: places(&meta.kinds),
            details: places(&meta.details),
        }
    }

    fn records(&self, batch: &RecordBatch) -> Result<Vec<Record>> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("no column `{name}`"));
        let time = column("time")?.as_primitive::<TimestampMicrosecondType>();
        let number = |name: &str| -> Result<_> {
            Ok(column(name)?
                .as_primitive_opt::<UInt32Type>()
                .ok_or_else(|| format!("column `{name}` is not u32; generate with --ids int"))?)
        };
        let (customer, service, component) = (number("customer")?, number("service")?, number("component")?);
        let severity = column("severity")?.as_primitive::<UInt8Type>();
        let value = column("value")?.as_primitive::<Float32Type>();
        let layer = coded(column("layer")?, &self.layers)?;
        let source = coded(column("source")?, &self.sources)?;
        let kind = coded(column("kind")?, &self.kinds)?;
        let detail = coded(column("detail")?, &self.details)?;
        let narrow = |code: Option<u16>| -> Result<u8> { Ok(code.ok_or("null where a word is due")?.try_into()?) };
        (0..batch.num_rows())
            .map(|row| {
                Ok(Record {
                    time_us: time.value(row),
                    customer: customer.value(row),
                    service: (service.value(row) - 3 * customer.value(row)).try_into()?,
                    layer: narrow(layer[row])?,
                    source: narrow(source[row])?,
                    kind: narrow(kind[row])?,
                    severity: severity.value(row),
                    detail: detail[row],
                    component: component.is_valid(row).then(|| component.value(row)),
                    value: value.is_valid(row).then(|| value.value(row)),
                })
            })
            .collect()
    }
}

/// A dictionary column as places in the vocabulary: each distinct word is looked up once per batch.
fn coded(column: &dyn Array, places: &HashMap<String, u16>) -> Result<Vec<Option<u16>>> {
    let column = column.as_dictionary_opt::<Int16Type>().ok_or("not a dictionary column")?;
    let words = column.values().as_string::<i32>();
    let codes = (0..words.len())
        .map(|at| places.get(words.value(at)).copied().ok_or_else(|| format!("unknown word `{}`", words.value(at))))
        .collect::<std::result::Result<Vec<u16>, String>>()?;
    Ok(column.keys().iter().map(|key| key.map(|key| codes[key as usize])).collect())
}
