//! `ofone ingest`: feeds into a store.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ofone::export::escape;
use ofone::import::{Format, Import, ImportOptions, Input, Mapping, Parsed, Reject};
use ofone::{Db, Limits, Outcome, Receipt};

use crate::args::{self, AccessArgs};
use crate::commit::{Committer, Totals};
use crate::exit::{Done, Failure};
use crate::output::grouped;
use crate::progress::Progress;
use crate::screen::stdout_is_terminal;

/// Text that makes one batch: some 10,000 to 20,000 records.
const BLOCK_BYTES: usize = 4 << 20;
/// Records of a batch, well below the limit: a mapping may make many of a short line.
const BATCH_RECORDS: usize = 1 << 18;
/// Refused lines that are shown when they are not written to a file.
const SHOWN_REJECTS: u64 = 10;
/// From so many new records on the store is left sealed, which makes it quicker to open.
const SEAL_RECORDS: u64 = 100_000;

/// Read feeds into a store: NDJSON of ofone's own form, or any NDJSON, CSV or TSV with a mapping.
///
/// Files may be compressed with gzip or zstd. A bad line is refused alone. What is in the store already
/// is recognised, so a run that was interrupted is simply run again.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone ingest --db telco events.ndjson.gz
  ofone ingest --db telco calls.csv --map calls.toml --rejects refused.ndjson
  zcat old/*.gz | ofone ingest --db telco -

Totals go to stderr, and as one JSON object to stdout if that is not a terminal.")]
pub(crate) struct Args {
    /// Files to read, in this order; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How lines become records: a mapping file, as docs/feeds.md describes.
    #[arg(long, value_name = "MAPPING")]
    map: Option<PathBuf>,
    /// Write refused lines to this file, as NDJSON with file, line, reason and original.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// The directory of the store; made if it is not there.
    #[arg(long, value_name = "DIR", env = "OFONE_DB")]
    db: PathBuf,
    #[command(flatten)]
    access: AccessArgs,
    /// In a new store, the type of entity that is a customer [default: customer].
    #[arg(long, value_name = "TYPE")]
    customer_type: Option<String>,
    /// Links of one relation that one entity may have; what is beyond goes into quarantine [default: 262144].
    #[arg(long, value_name = "N", value_parser = args::count)]
    links_from: Option<u64>,
    /// Links of one relation that may lead to one entity; what is beyond goes into quarantine
    /// [default: 16777216].
    #[arg(long, value_name = "N", value_parser = args::count)]
    links_to: Option<u64>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let format = match &args.map {
        Some(path) => Format::from(Mapping::load(path)?),
        None => Format::Native,
    };
    let read = args.files.iter().chain(&args.map);
    if let Some(rejects) = args.rejects.as_ref().filter(|rejects| read.clone().any(|path| is_same(path, rejects))) {
        return Err(Failure::usage(format!("{} cannot be input and --rejects at once", rejects.display())));
    }
    let mut options = args.access.options();
    if let Some(customer_type) = &args.customer_type {
        options = options.customer_type(customer_type);
    }
    let mut limits = Limits::default();
    for (asked, limit) in [(args.links_from, &mut limits.links_from), (args.links_to, &mut limits.links_to)] {
        *limit = asked.map_or(*limit, |asked| usize::try_from(asked).unwrap_or(usize::MAX));
    }
    let db = Db::open(&args.db, options.limits(limits))?;
    let mut refused = Refused::new(args.rejects.as_deref())?;
    let mut totals = Totals::default();
    let progress = match size(&args.files) {
        Some(bytes) => Progress::of_total("reading", bytes),
        None => Progress::endless("reading"),
    };
    let inputs = args.files.iter().map(|path| input(path)).collect();
    let read = load(inputs, format, &db, &mut totals, &mut refused, &progress);
    let sealed = if totals.inserted >= SEAL_RECORDS { db.flush().and_then(|()| db.wait_until_quiet()) } else { Ok(()) };
    let kept = refused.out.flush().map_err(|cause| Refused::failed(&cause));
    tell(&totals, &progress);
    read?;
    kept?;
    sealed?;
    match totals.conflicts + totals.rejected {
        0 if totals.quarantined > 0 => Err(Failure::rejected("some links are not followed")),
        0 => Ok(()),
        count => Err(Failure::rejected(refused.summary(count, args.rejects.as_deref()))),
    }
}

/// Whether two paths lead to one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    one == other || identity(one).is_some_and(|found| identity(other) == Some(found))
}

fn input(path: &Path) -> Input {
    if path.as_os_str() == "-" { Input::stdin() } else { Input::path(path) }
}

/// Bytes of all files, unless one of them is no plain file.
fn size(files: &[PathBuf]) -> Option<u64> {
    let sizes = files.iter().map(|path| path.metadata().ok().filter(|data| data.is_file()).map(|data| data.len()));
    sizes.sum()
}

/// Commits everything that can be read. What was committed before an error stays, and is counted.
fn load(
    inputs: Vec<Input>,
    format: Format,
    db: &Db,
    totals: &mut Totals,
    refused: &mut Refused,
    progress: &Progress,
) -> Done {
    let mut import = Import::new(inputs, format, ImportOptions::new().block_bytes(BLOCK_BYTES))?;
    let mut committer: Committer<Part> = Committer::new(db.writer());
    let mut failed = None;
    while let Some(parsed) = import.next() {
        let mut parsed = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                failed = Some(error);
                break;
            }
        };
        let mut records = std::mem::take(&mut parsed.records);
        let mut part = Part { parsed: Arc::new(parsed), first: 0 };
        loop {
            let rest = records.split_off(records.len().min(BATCH_RECORDS));
            let next = part.first + records.len();
            settle(&committer.submit(records, part.clone())?, totals, refused)?;
            if rest.is_empty() {
                break;
            }
            (records, part.first) = (rest, next);
        }
        progress.at(import.bytes_read(), totals.inserted);
    }
    settle(&committer.finish()?, totals, refused)?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// What a batch was made of: the records of a piece of a feed from `first` on.
#[derive(Clone)]
struct Part {
    parsed: Arc<Parsed>,
    first: usize,
}

/// Counts what became of committed batches, and notes what was refused in them.
fn settle(done: &[(Receipt, Part)], totals: &mut Totals, refused: &mut Refused) -> Done {
    for (receipt, Part { parsed, first }) in done {
        totals.add(receipt);
        let mut rejects = if *first == 0 { parsed.rejects.clone() } else { Vec::new() };
        totals.rejected += rejects.len() as u64;
        for (record, outcome) in (*first..).zip(receipt.outcomes()) {
            match outcome {
                Outcome::Rejected(rejection) => rejects.push(parsed.reject(record, rejection.reason())),
                Outcome::Conflict => {
                    rejects
                        .push(parsed.reject(record, "conflict: its source, id and time are known with other content"));
                }
                _ => {}
            }
        }
        rejects.sort_by_key(|reject| reject.line);
        for reject in &rejects {
            refused.note(reject)?;
        }
    }
    Ok(())
}

/// Where refused lines go: to a file, or the first few to stderr.
struct Refused {
    out: Box<dyn Write>,
    to_file: bool,
    count: u64,
}

impl Refused {
    fn new(path: Option<&Path>) -> Result<Refused, Failure> {
        let out: Box<dyn Write> = match path {
            Some(path) => {
                let file = File::create(path).map_err(|cause| ofone::Error::from(cause).at(path.display()))?;
                Box::new(BufWriter::new(file))
            }
            None => Box::new(std::io::stderr()),
        };
        Ok(Refused { out, to_file: path.is_some(), count: 0 })
    }

    fn note(&mut self, reject: &Reject) -> Done {
        self.count += 1;
        let written = if self.to_file {
            writeln!(self.out, "{}", reject.to_json())
        } else if self.count <= SHOWN_REJECTS {
            writeln!(self.out, "{}:{}: {}", escape(&reject.file), reject.line, escape(&reject.reason))
        } else {
            Ok(())
        };
        written.map_err(|cause| Refused::failed(&cause))
    }

    /// What is refused must be kept, whoever reads it.
    fn failed(cause: &std::io::Error) -> Failure {
        Failure::failed(format!("refused lines cannot be written: {cause}"))
    }

    fn summary(&self, count: u64, path: Option<&Path>) -> String {
        let lines = if count == 1 {
            "1 record was refused".to_owned()
        } else {
            format!("{} records were refused", grouped(count))
        };
        match path {
            Some(path) => format!("{lines}; see {}", path.display()),
            None if count > SHOWN_REJECTS => format!("{lines}, the first {SHOWN_REJECTS} are above; see --rejects"),
            None => lines,
        }
    }
}

/// The totals: for people on stderr, for programs on stdout.
fn tell(totals: &Totals, progress: &Progress) {
    let Totals { inserted, duplicates, conflicts, quarantined, rejected } = *totals;
    let pace = progress.finish(inserted + duplicates + conflicts + quarantined + rejected);
    eprintln!(
        "ofone: inserted {}, duplicates {}, conflicts {}, rejected {} {pace}",
        grouped(inserted),
        grouped(duplicates),
        grouped(conflicts),
        grouped(rejected)
    );
    if quarantined > 0 {
        eprintln!("ofone: {} links are in quarantine; see: ofone links --quarantined", grouped(quarantined));
    }
    if !stdout_is_terminal() {
        let row = serde_json::json!({
            "inserted": inserted, "duplicates": duplicates, "conflicts": conflicts, "quarantined": quarantined,
            "rejected": rejected,
        });
        // Whoever would read it may be gone.
        let _ = writeln!(std::io::stdout(), "{row}");
    }
}
