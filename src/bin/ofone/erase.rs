//! `ofone erase`: a customer goes, from every answer and from the disk.

use std::path::PathBuf;

use ofone::backup::BackupFolder;
use ofone::export::{Cell, escape};

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
  ofone erase C0000042 --backups /mnt/backups/telco
  ofone erase C0000042 --verify --format json")]
pub(crate) struct Args {
    /// The customer.
    customer: String,
    /// Look for the customer's id in every row and every file afterwards, and fail when it is found.
    #[arg(long)]
    verify: bool,
    /// Tell which backups in this folder were taken before, and so still have it all. May be given again.
    #[arg(long, value_name = "DIR")]
    backups: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let db = args.store.open()?;
    let customer = customer_id(&db.snapshot(), &args.customer);
    let receipt = db.erase(customer)?;
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
    // The storage engine notes names as bounds of its files until it is opened again.
    drop(db);
    let db = args.store.open()?;
    for folder in &args.backups {
        holding(folder, args.store.allows_open())?;
    }
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

/// Tells which backups still have who was erased just now: all that are there.
fn holding(folder: &std::path::Path, allow_open: bool) -> Done {
    let list = BackupFolder::at(folder).allow_open_permissions(allow_open).list()?;
    let name = folder.display().to_string();
    if list.backups.is_empty() && list.damaged.is_empty() {
        eprintln!("ofone: no backup in {}", escape(&name));
    }
    for backup in &list.backups {
        let (id, taken) = (backup.id, backup.taken);
        eprintln!("ofone: backup {id} in {}, taken {taken}, is of before and still has it", escape(&name));
    }
    for error in &list.damaged {
        eprintln!("ofone: cannot be read, may have it: {}", escape(&error.to_string()));
    }
    Ok(())
}
