//! `ofone check`: whether what is stored is whole.

use std::io::Write;

use ofone::export::escape;
use ofone::{CheckReport, Db, Recovery};

use crate::args::{Format, OutputArgs, StoreArgs};
use crate::exit::{Done, Failure, unless_gone};
use crate::output::{self, grouped};

/// Read everything in a store and verify it: checksums, order, and that its parts agree.
///
/// A store that nobody writes is opened for it, which finishes what a crash left half done; with --live nothing in
/// it is touched: look so first when it may be damaged.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone check --db telco
  ofone check --db telco --format json && ofone backup telco backups")]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let (snapshot, db) = args.store.read_opened()?;
    let (report, recovery) = (snapshot.check()?, db.as_ref().map(Db::recovery));
    unless_gone(print(args, &report, recovery))?;
    if let Some(recovery) = recovery {
        eprintln!("ofone: {}", opened(recovery));
    }
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

fn print(args: &Args, report: &CheckReport, recovery: Option<&Recovery>) -> Done {
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
                "recovery": recovery.map(|recovery| serde_json::json!({
                    "took_seconds": recovery.took.as_secs_f64(), "last_commit": recovery.last_commit,
                    "commits_replayed": recovery.commits_replayed, "events_replayed": recovery.events_replayed,
                    "log_files": recovery.log_files, "log_bytes": recovery.log_bytes,
                    "torn_bytes": recovery.torn_bytes, "staged_files_removed": recovery.staged_files_removed,
                    "files_put_back": recovery.files_put_back,
                    "seals_rolled_back": recovery.seals_rolled_back,
                    "merges_rolled_back": recovery.merges_rolled_back,
                    "leftovers_dropped": recovery.leftovers_dropped, "seals_due": recovery.seals_due,
                    "erasures_finished": recovery.erasures_finished,
                })),
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
    Ok(())
}

/// What opening found, in a line.
fn opened(recovery: &Recovery) -> String {
    let mut told = format!(
        "opened in {:.1} s at commit {}, {} commits with {} events replayed",
        recovery.took.as_secs_f64(),
        grouped(recovery.last_commit),
        grouped(recovery.commits_replayed),
        grouped(recovery.events_replayed)
    );
    for (count, what) in [
        (recovery.torn_bytes, "bytes of a torn end of the log dropped"),
        (recovery.seals_rolled_back, "half-done seals rolled back"),
        (recovery.merges_rolled_back, "half-done merges rolled back"),
        (recovery.leftovers_dropped, "segments merged away dropped"),
        (recovery.staged_files_removed, "half-written files removed"),
        (recovery.files_put_back, "missing files put back"),
        (recovery.erasures_finished, "erasures finished"),
    ] {
        if count > 0 {
            told += &format!("; {} {what}", grouped(count));
        }
    }
    told
}
