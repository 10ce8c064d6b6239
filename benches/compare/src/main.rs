//! `compare`: ofone and its peers on the same month of telco events. See ../README.md.

mod args;
mod cohort;
mod commits;
mod data;
mod links;
mod load;
mod measure;
mod naive;
mod prepare;
mod query;
mod sqlite;

use std::process::ExitCode;

use args::Args;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What every command returns: measuring stops at the first surprise.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "\
usage: compare COMMAND --work DIR --scale NAME [options]
  prepare      events/day-*.parquet -> events.bin            [--limit N]
  ofone-load   events.bin -> store    --db DIR [--subject customer|service] [--links] [--limit N]
                                      [--batch 20000] [--pending 4] [--segment-events N] [--cache-mb N]
                                      [--durability sync|os] [--dry: build the events, store nothing]
  sqlite-load  events.bin -> SQLite   --sqlite FILE [--limit N]
  naive-load   events.bin -> RocksDB, rows by customer and by kind   --rocksdb DIR [--limit N]
  naive-query  Q3 to Q10 by walking over those   --rocksdb DIR [--seconds 12]
  ofone-query  Q1, Q1heavy, Q2 on both --db DIR --sqlite FILE [--rounds 3] [--cache-mb N]
                                      [--name ofone: the column of the table]
  ofone-cohort Q3 to Q10              --db DIR [--only Q6] [--seconds 12] [--explain yes] [--name ofone]
                                      [--cache-mb N] [--rounds 1] [--at PARAMETER]
  bitmaps      Q3 beside sets of days in memory  --db DIR [--cache-mb N]
  links        Q1 with and without links --db DIR (with; loaded when absent) --plain DIR (without)
                                      [--rounds 3] [--limit N] [--cache-mb N] [load options]
  commits      durable commits        --db DIR (new) [--commits 2000] [--events 1000]
                                      [--segment-events 400000] [--durability sync|os]";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let done = Args::parse(words).and_then(|args| match command.as_str() {
        "prepare" => prepare::run(&args),
        "ofone-load" => load::run(&args),
        "sqlite-load" => sqlite::load(&args),
        "naive-load" => naive::load(&args),
        "naive-query" => naive::query(&args),
        "ofone-query" => query::run(&args),
        "ofone-cohort" => cohort::run(&args),
        "bitmaps" => cohort::bitmaps(&args),
        "links" => links::run(&args),
        "commits" => commits::run(&args),
        _ => Err(USAGE.into()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
