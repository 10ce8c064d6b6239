//! `ofone erase`: a customer goes, from every answer and from the disk.

use ofone::export::Cell;

use crate::args::{OutputArgs, StoreArgs, customer_id};
use crate::exit::{Done, Failure};
use crate::output::grouped;
use crate::rows::Rows;

/// Erase a customer, and what belonged to nobody else: events, links and names.
///
/// Events of others stay, and name nobody erased any more. What names the customer later is refused. This
/// cannot be undone; backups made before still have it all.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone erase C0000042
  ofone erase C0000042 --verify --format json")]
pub(crate) struct Args {
    /// The customer.
    customer: String,
    /// Look for the customer's id in every row and every file afterwards, and fail when it is found.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let db = args.store.open()?;
    let customer = customer_id(&db, &args.customer);
    let receipt = db.erase(customer)?;
    // The storage engine notes names as bounds of its files until it is opened again.
    drop(db);
    let db = args.store.open()?;
    let clock = args.output.clock();
    let columns = &["ledger", "at", "entities", "links", "events", "events_stripped", "segments", "cohorts"];
    let mut rows = Rows::open(&args.output, &clock, columns)?;
    rows.row(&[
        Cell::Count(receipt.ledger),
        Cell::Time(receipt.at),
        Cell::Count(receipt.entities),
        Cell::Count(receipt.links),
        Cell::Count(receipt.events),
        Cell::Count(receipt.events_stripped),
        Cell::Count(receipt.segments),
        Cell::Count(receipt.cohorts),
    ])?;
    rows.close()?;
    if !args.verify {
        return Ok(());
    }
    let traces = db.traces(customer)?;
    for (family, found) in &traces.rows {
        eprintln!("ofone: {} rows of {family} have the id in them", grouped(*found));
    }
    for (file, found) in &traces.files {
        eprintln!("ofone: the file {file} has it {} times", grouped(*found));
    }
    let looked = format!("{} rows and {} bytes of files", grouped(traces.rows_read), grouped(traces.bytes_read));
    if traces.is_empty() {
        eprintln!("ofone: looked through {looked}, nothing found");
        return Ok(());
    }
    Err(Failure::failed(format!("looked through {looked}, the id is still in some; it may be part of another text")))
}
