//! `ofone restore`: a store out of a backup.

use std::path::PathBuf;

use ofone::Db;

use crate::args::AccessArgs;
use crate::backup::told;
use crate::exit::Done;
use crate::output::grouped;

/// Make a store out of a backup, in a directory that is not there yet.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone restore /mnt/backups/telco telco
  ofone restore /mnt/backups/telco telco-monday --id 12 --erased-in telco")]
pub(crate) struct Args {
    /// The folder of backups.
    folder: PathBuf,
    /// The directory of the store to make.
    store: PathBuf,
    /// Which backup [default: the newest].
    #[arg(long, value_name = "N")]
    id: Option<u64>,
    /// Erase whoever was erased in this store since the backup was taken: the one that the backup is of, or
    /// one restored from a later backup. It may be open elsewhere.
    #[arg(long, value_name = "DIR")]
    erased_in: Option<PathBuf>,
    #[command(flatten)]
    access: AccessArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let folder = args.access.folder(&args.folder);
    let (backup, erasures) = match &args.erased_in {
        None => (folder.restore(args.id, &args.store)?, None),
        Some(live) => {
            let (backup, erasures) = Db::restore_erased(&folder, args.id, &args.store, live)?;
            (backup, Some(erasures))
        }
    };
    eprintln!("ofone: restored backup {}", told(&backup));
    if let Some(erasures) = erasures {
        eprintln!("ofone: {} erasures of later carried out in it", grouped(erasures));
    }
    Ok(())
}
