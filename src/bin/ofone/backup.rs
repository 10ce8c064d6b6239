//! `ofone backup`: a copy of a store, whoever writes it meanwhile.

use std::path::PathBuf;

use ofone::backup::{Backup, BackupFolder};

use crate::args::AccessArgs;
use crate::exit::Done;
use crate::output::{bytes, grouped};

/// Add a backup of a store to a folder of backups, also while another process writes the store.
///
/// Files that the folder has already are not copied again.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone backup telco /mnt/backups/telco
  ofone backup telco /mnt/backups/telco --keep 7
  ofone backups /mnt/backups/telco --verify")]
pub(crate) struct Args {
    /// The directory of the store.
    store: PathBuf,
    /// The folder of backups; made if it is not there.
    folder: PathBuf,
    /// Drop all but this many of the newest backups afterwards.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    #[command(flatten)]
    access: AccessArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let folder = args.access.folder(&args.folder);
    let backup = folder.add(&args.store)?;
    eprintln!("ofone: backup {}, {} new", told(&backup), bytes(backup.added));
    if let Some(keep) = args.keep {
        let dropped = folder.keep(keep as usize)?;
        eprintln!("ofone: {} older backups dropped", grouped(dropped.len() as u64));
    }
    Ok(())
}

/// Which backup it is, for people.
pub(crate) fn told(backup: &Backup) -> String {
    let Backup { id, commit, .. } = backup;
    let written = backup.committed.map_or(String::new(), |time| format!(", written {time}"));
    format!("{id}, as of commit {commit}{written}, {}", bytes(backup.bytes))
}

impl AccessArgs {
    /// The folder of backups at a path.
    pub(crate) fn folder(&self, path: &std::path::Path) -> BackupFolder {
        BackupFolder::at(path).allow_open_permissions(self.allow_open_permissions)
    }
}
