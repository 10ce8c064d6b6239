//! `ofone limits`: what is let through, and what happens beyond.

use ofone::Limits;
use ofone::export::Cell;

use crate::args::OutputArgs;
use crate::exit::Done;
use crate::rows::Rows;

/// List every limit on what comes from outside: how much, and what happens beyond.
///
/// They are those that this command line keeps. A program can set some of them otherwise: `set_by`
/// names the call.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone limits
  ofone limits --format json | jq '.[] | select(.limit == \"line_bytes\").most'")]
pub(crate) struct Args {
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let clock = args.output.clock();
    let mut rows = Rows::open(&args.output, &clock, &["limit", "most", "of", "beyond", "set_by"])?;
    for limit in Limits::default().list() {
        rows.row(&[
            Cell::Text(limit.name),
            Cell::Count(limit.most),
            Cell::Text(limit.of),
            Cell::Text(limit.beyond),
            limit.set_by.map_or(Cell::Absent, Cell::Text),
        ])?;
    }
    rows.close()
}
