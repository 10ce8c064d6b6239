//! `ofone erase`: a customer goes, from every answer and from the disk.

use std::path::{Path, PathBuf};

use ofone::backup::{BackupFolder, BackupList};
use ofone::export::{Cell, escape};
use ofone::{Db, ErasureReceipt, ErrorKind};

use crate::args::{OutputArgs, StoreArgs, customer_id};
use crate::exit::{Done, Failure, unless_gone};
use crate::output::grouped;
use crate::rows::Rows;

/// Erase a customer, and what belonged to nobody else: events, links and names.
///
/// Events of others stay, and name nobody erased any more. What names the customer later is refused. This
/// cannot be undone; backups made before still have it all. Of somebody who is not there, or not any more, nothing
/// is erased; --verify looks for what is left all the same, and the exit code is 3.
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
    /// Tell which backups are in this folder: those of this store were taken before, and so still have it all. May
    /// be given again.
    #[arg(long, value_name = "DIR")]
    backups: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    // A folder that is not there is told before anything is gone.
    let lists = args.backups.iter().map(|folder| holding(folder, args.store.allows_open()));
    let lists = lists.collect::<Result<Vec<_>, Failure>>()?;
    let db = args.store.open()?;
    let customer = customer_id(&db.snapshot(), &args.customer);
    let missing = match db.erase(customer) {
        Ok(receipt) => {
            let backups = lists.iter().map(|list| list.backups.len() as u64).sum();
            unless_gone(write_receipt(args, &receipt, backups))?;
            None
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Some(error),
        Err(error) => return Err(error.into()),
    };
    for (folder, list) in args.backups.iter().zip(&lists) {
        tell_backups(folder, list);
    }
    // The storage engine notes names as bounds of its files until it is opened again.
    drop(db);
    let db = args.store.open()?;
    if args.verify {
        verify(&db, customer)?;
    }
    missing.map_or(Ok(()), |error| Err(error.into()))
}

fn write_receipt(args: &Args, receipt: &ErasureReceipt, backups: u64) -> Done {
    let clock = args.output.clock();
    let columns = &["ledger", "at", "entities", "links", "events", "events_stripped", "segments", "cohorts", "backups"];
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
        if args.backups.is_empty() { Cell::Absent } else { Cell::Count(backups) },
    ])?;
    rows.close()?;
    Ok(())
}

/// Looks for the id in every row and file.
fn verify(db: &Db, customer: &str) -> Done {
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

/// The backups in a folder. Those of this store are all of before.
fn holding(folder: &Path, allow_open: bool) -> Result<BackupList, Failure> {
    Ok(BackupFolder::at(folder).allow_open_permissions(allow_open).list()?)
}

fn tell_backups(folder: &Path, list: &BackupList) {
    let name = folder.display().to_string();
    if list.backups.is_empty() && list.damaged.is_empty() {
        eprintln!("ofone: no backup in {}", escape(&name));
    }
    for backup in &list.backups {
        let (id, taken) = (backup.id, backup.taken);
        eprintln!("ofone: backup {id} in {}, taken {taken}, if it is of this store, still has it", escape(&name));
    }
    for error in &list.damaged {
        eprintln!("ofone: cannot be read, may have it: {}", escape(&error.to_string()));
    }
}
