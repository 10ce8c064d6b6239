//! `ofone backups`: what a folder of backups holds.

use std::path::PathBuf;

use ofone::ErrorKind;
use ofone::backup::Backup;
use ofone::export::{Cell, escape};

use crate::args::{AccessArgs, OutputArgs};
use crate::exit::{Done, Failure, unless_gone};
use crate::rows::Rows;

/// List the backups in a folder, and read them through if asked to.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone backups /mnt/backups/telco
  ofone backups /mnt/backups/telco --verify")]
pub(crate) struct Args {
    /// The folder of backups.
    folder: PathBuf,
    /// Read every byte and compare it with its hash.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let folder = args.access.folder(&args.folder);
    let list = folder.list()?;
    unless_gone(print(args, &list.backups))?;
    let mut damaged = list.damaged;
    for backup in list.backups.iter().filter(|_| args.verify) {
        match folder.verify(backup.id) {
            Ok(_) => {}
            // Dropped since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::Busy => return Err(error.into()),
            Err(error) => damaged.push(error),
        }
    }
    for error in &damaged {
        eprintln!("ofone: {}", escape(&error.to_string()));
    }
    match damaged.len() {
        0 => Ok(()),
        some => Err(Failure::failed(format!("{some} of the backups cannot be used"))),
    }
}

fn print(args: &Args, backups: &[Backup]) -> Done {
    let clock = args.output.clock();
    let mut rows = Rows::open(&args.output, &clock, &["id", "commit", "written", "taken", "files", "bytes", "added"])?;
    for backup in backups {
        rows.row(&[
            Cell::Count(backup.id),
            Cell::Count(backup.commit),
            backup.committed.map_or(Cell::Text(""), Cell::Time),
            Cell::Time(backup.taken),
            Cell::Count(backup.files),
            Cell::Count(backup.bytes),
            Cell::Count(backup.added),
        ])?;
    }
    rows.close()
}
