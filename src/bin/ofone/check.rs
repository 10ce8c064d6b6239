//! `ofone check`: whether what is stored is whole.

use std::io::Write;

use ofone::export::escape;

use crate::args::{Format, OutputArgs, StoreArgs};
use crate::exit::{Done, Failure};
use crate::output::{self, grouped};

/// Read everything in a store and verify it: checksums, order, and that its parts agree.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone check --db telco
  ofone check --db telco --format json && cp -r telco backup")]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let report = args.store.open()?.check()?;
    let mut out = output::stdout();
    match args.output.format() {
        Format::Table => {
            for problem in &report.problems {
                writeln!(out, "{}", escape(problem))?;
            }
        }
        Format::Ndjson => {
            for problem in &report.problems {
                writeln!(out, "{}", serde_json::json!({ "problem": escape(problem).to_string() }))?;
            }
        }
        Format::Json => {
            let problems: Vec<String> = report.problems.iter().map(|text| escape(text).to_string()).collect();
            let row = serde_json::json!({
                "problems": problems, "problems_unlisted": report.problems_unlisted, "rows": report.rows,
                "links": report.links, "entities": report.entities, "segments": report.segments,
            });
            writeln!(out, "{row}")?;
        }
        Format::Csv => {
            let mut csv = output::csv(&mut out, args.output.csv_raw);
            for line in std::iter::once("problem").chain(report.problems.iter().map(String::as_str)) {
                csv.text(line)?;
                csv.end_row()?;
            }
            csv.finish()?;
        }
    }
    out.flush()?;
    let checked = format!(
        "checked {} rows of events, {} of links and {} entities in {} segments",
        grouped(report.rows),
        grouped(report.links),
        grouped(report.entities),
        grouped(report.segments)
    );
    match report.problems.len() as u64 + report.problems_unlisted {
        0 => {
            eprintln!("ofone: {checked}, no problem found");
            Ok(())
        }
        1 => Err(Failure::failed(format!("{checked}, 1 problem found"))),
        many => Err(Failure::failed(format!("{checked}, {} problems found", grouped(many)))),
    }
}
