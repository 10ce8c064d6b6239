//! `ofone cohorts`: the sets of customers that have a name.

use ofone::export::Cell;

use crate::args::{OutputArgs, StoreArgs};
use crate::exit::Done;
use crate::rows::Rows;

/// List the saved sets of customers, or drop one.
///
/// `ofone who EXPR --save NAME` saves one; `cohort(NAME)` is it in an expression. A set stays as it was
/// when it was saved.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone cohorts
  ofone cohorts --format csv
  ofone cohorts --drop dropped-calls")]
pub(crate) struct Args {
    /// Drop the set of this name.
    #[arg(long, value_name = "NAME")]
    drop: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    if let Some(name) = &args.drop {
        return Ok(args.store.open()?.drop_cohort(name)?);
    }
    let snapshot = args.store.read()?;
    let clock = args.output.clock();
    let mut rows = Rows::open(&args.output, &clock, &["name", "customers", "expression", "now", "commit"])?;
    for saved in snapshot.cohorts()? {
        rows.row(&[
            Cell::Text(&saved.name),
            Cell::Count(saved.customers),
            Cell::Text(&saved.expr),
            Cell::Time(saved.now),
            Cell::Count(saved.commit),
        ])?;
    }
    rows.close()
}
