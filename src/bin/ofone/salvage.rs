//! `ofone salvage`: a new store out of what can still be read of a damaged one.

use std::io::Write;
use std::path::PathBuf;

use ofone::export::{Cell, escape};
use ofone::{SalvageOptions, SalvageReport};

use crate::args::{Format, OutputArgs, StoreArgs};
use crate::exit::{Done, Failure};
use crate::output::{self, grouped};
use crate::rows::Rows;

/// Make a new store of everything that can still be read of a damaged one, and tell what cannot.
///
/// The damaged store stays as it is. The new one opens only once it is whole.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone salvage --db telco --into telco-salvaged
  ofone salvage --db telco --into telco-salvaged --format json > lost.json")]
pub(crate) struct Args {
    /// The directory of the new store: not there yet, or empty.
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// Go on when the list of who was erased cannot be read whole: some of them may be back.
    #[arg(long)]
    without_erasures: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let options = SalvageOptions::new()
        .without_erasures(args.without_erasures)
        .allow_open_permissions(args.store.allows_open_permissions());
    let report = ofone::salvage(&args.store.db, &args.into, &options)?;
    if args.output.format() == Format::Json {
        write_json(&report)?;
    } else {
        let clock = args.output.clock();
        let mut rows = Rows::open(&args.output, &clock, &["what", "copied", "lost"])?;
        for (what, kind) in report.kinds() {
            rows.row(&[Cell::Text(what), Cell::Count(kind.copied), Cell::Count(kind.lost)])?;
        }
        rows.close()?;
        for place in &report.places {
            eprintln!("ofone: {}", escape(place));
        }
        if report.places_unlisted > 0 {
            eprintln!("ofone: {} more places", grouped(report.places_unlisted));
        }
    }
    if report.erasures_doubted {
        eprintln!("ofone: WARNING: who was erased is not known whole; look for them before you use the new store");
    }
    if report.is_whole() {
        return Ok(());
    }
    Err(Failure::rejected("the new store is there, but not all could be read"))
}

fn write_json(report: &SalvageReport) -> Done {
    let kind = |kind: ofone::Salvaged| serde_json::json!({ "copied": kind.copied, "lost": kind.lost });
    let mut told: serde_json::Map<String, serde_json::Value> =
        report.kinds().into_iter().map(|(what, found)| (what.to_owned(), kind(found))).collect();
    let places: Vec<String> = report.places.iter().map(|place| escape(place).to_string()).collect();
    told.insert("erased".to_owned(), report.erased.into());
    told.insert("erasures_doubted".to_owned(), report.erasures_doubted.into());
    told.insert("places".to_owned(), places.into());
    told.insert("places_unlisted".to_owned(), report.places_unlisted.into());
    let mut out = output::stdout();
    writeln!(out, "{}", serde_json::Value::Object(told))?;
    Ok(out.flush()?)
}
