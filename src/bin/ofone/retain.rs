//! `ofone retain`: old events go.

use ofone::Retention;
use ofone::export::Cell;

use crate::args::{OutputArgs, StoreArgs};
use crate::exit::{Done, Failure};
use crate::rows::Rows;
use crate::time::FORMS;

/// Remove events that are older than an instant, from every answer and from the disk.
///
/// Links, names and saved cohorts stay. An event that was removed and is sent again is stored again.
#[derive(clap::Args)]
#[command(after_help = format!("Times: {FORMS}\n
Examples:
  ofone retain --before 2025-01-01 --dry-run
  ofone retain --older-than 400d
  ofone retain --older-than 30d --kind session.sample --max-share 1"))]
pub(crate) struct Args {
    /// Events with a time before this go.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, required_unless_present = "older_than")]
    before: Option<String>,
    /// Events that are older than this go, such as `90d`, by this machine's clock.
    #[arg(long, value_name = "SPAN", conflicts_with = "before")]
    older_than: Option<String>,
    /// Only events of this layer.
    #[arg(long)]
    layer: Option<String>,
    /// Only events of this source.
    #[arg(long)]
    source: Option<String>,
    /// Only events of this kind.
    #[arg(long)]
    kind: Option<String>,
    /// Tell what would go, and remove nothing.
    #[arg(long)]
    dry_run: bool,
    /// The share of all events that may go in one run, 0 to 1; nothing is removed beyond it.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    max_share: f64,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let clock = args.output.clock();
    if !(0.0..=1.0).contains(&args.max_share) {
        return Err(Failure::usage("a share lies between 0 and 1"));
    }
    let before = match (&args.before, &args.older_than) {
        (Some(text), _) => clock.parse(text)?,
        (None, Some(span)) if span.starts_with(|first: char| first.is_ascii_digit()) && !span.contains('-') => {
            let before = clock.parse(span)?;
            eprintln!("ofone: older than {span} is before {before}");
            before
        }
        _ => return Err(Failure::usage("--older-than takes a span such as `90d`")),
    };
    let mut asked = Retention::before(before).dry_run(args.dry_run).max_share(args.max_share);
    asked = args.layer.iter().fold(asked, |asked, layer| asked.layer(layer));
    asked = args.source.iter().fold(asked, |asked, source| asked.source(source));
    asked = args.kind.iter().fold(asked, |asked, kind| asked.kind(kind));
    let db = args.store.open()?;
    let retained = db.retain(&asked)?;
    let columns = &["before", "events", "of", "segments_dropped", "segments_rewritten", "bytes"];
    let mut rows = Rows::open(&args.output, &clock, columns)?;
    rows.row(&[
        Cell::Time(before),
        Cell::Count(retained.events),
        Cell::Count(retained.of),
        Cell::Count(retained.segments_dropped),
        Cell::Count(retained.segments_rewritten),
        Cell::Count(retained.bytes),
    ])?;
    rows.close()
}
