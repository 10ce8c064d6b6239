//! A new store out of what can still be read of a damaged one.
//!
//! The damaged store is opened for reading alone ([`crate::store::Wreck`]), and read key by key. Names, statements
//! about links and events are put into words again and committed to the new store as anybody would, so that
//! duplicates, homes and the index are found anew: nothing of the damaged store's numbers or indexes is trusted
//! further than what it says of an event.
//!
//! Invariants: not a byte of the damaged store is written. What is given back was committed. What cannot be told
//! whole is not told. The new store does not open before it is whole.

mod copy;
mod ledger;
mod names;
mod report;
mod terms;

use std::path::Path;

use crate::codec::key::QUARANTINED;
use crate::codec::record::{self, Counts, Header};
use crate::codec::varint::Reader;
use crate::db::{Db, Durability, Options};
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::FORMAT;
use crate::model::{Limits, Text};
use crate::segment::{COUNTS, HEADER};
use crate::store::{Family, Target, Wreck};

use copy::Copier;
use names::Names;
pub use report::{SalvageReport, Salvaged};
use terms::Terms;

/// How to salvage.
#[derive(Clone, Debug, Default)]
pub struct SalvageOptions {
    without_erasures: bool,
    allow_open: bool,
}

impl SalvageOptions {
    /// The defaults named at each option.
    pub fn new() -> SalvageOptions {
        SalvageOptions::default()
    }

    /// Whether to go on when the ledger of erasures cannot be read whole. What can be read of it is taken over;
    /// whom the rest named may be back. Default: false.
    #[must_use]
    pub fn without_erasures(mut self, without: bool) -> SalvageOptions {
        self.without_erasures = without;
        self
    }

    /// Whether the damaged store may be open to other users or belong to one. Default: false.
    #[must_use]
    pub fn allow_open_permissions(mut self, allow: bool) -> SalvageOptions {
        self.allow_open = allow;
        self
    }
}

/// Makes a new store in the directory `into`, which must not be there or be empty, of all that can be read of the
/// store at `path`, and tells what cannot. The store at `path` stays as it is. Commits are numbered anew, and the
/// times at which they were made are those of the salvage.
///
/// ```
/// # fn main() -> ofone::Result<()> {
/// # let place = std::env::temp_dir().join(format!("ofone-salvage-{}", std::process::id()));
/// # let (damaged, new) = (place.join("damaged"), place.join("new"));
/// # drop(ofone::Db::open(&damaged, ofone::Options::new().reserve_bytes(0))?);
/// let report = ofone::salvage(&damaged, &new, &ofone::SalvageOptions::new())?;
/// println!("{} events lost", report.events.lost);
/// # assert!(report.is_whole());
/// # std::fs::remove_dir_all(place).ok();
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Busy` while somebody has the damaged store open; `Invalid` when there is something in `into`, or for a directory
/// that is open to other users; `Corrupt` when the storage engine's own manifest cannot be read, or the ledger of
/// erasures not whole and [`SalvageOptions::without_erasures`] is not set; `Unsupported` for another format. Then, and
/// when the new store cannot be written, what was made of it is removed. After a kill it is left, and does not open.
///
/// Cost: everything is read about once and written once; in memory are the terms, and 16,384 names or 4,096 records.
pub fn salvage(path: impl AsRef<Path>, into: impl AsRef<Path>, options: &SalvageOptions) -> Result<SalvageReport> {
    let _span = tracing::info_span!("salvage").entered();
    let path = path.as_ref();
    if !path.exists() {
        return Err(Error::new(ErrorKind::NotFound, "no store there").at(path.display()));
    }
    let target = Target::begin(into.as_ref(), path)?;
    match fill(path, &target, options) {
        Ok(report) => target.finish().map(|()| report),
        Err(error) => {
            target.abandon();
            Err(error)
        }
    }
}

fn fill(path: &Path, target: &Target, options: &SalvageOptions) -> Result<SalvageReport> {
    let wreck = Wreck::open(path, options.allow_open, &target.scratch())?;
    let mut report = SalvageReport::default();
    for table in wreck.lost_tables() {
        report.place(format!("{}, {}: all of its {} rows", table.family.name(), table.name, table.rows));
    }
    if let Some(place) = wreck.log_damage() {
        report.place(format!("write-ahead log, {place}: what is damaged, and the records around it"));
    }
    let header: Option<Header> = one(&wreck, (HEADER, "header"), record::decode, &mut report);
    if let Some(header) = header.as_ref().filter(|header| header.format != FORMAT) {
        let told = format!("the store has format {}, this version reads {FORMAT}", header.format);
        return Err(Error::new(ErrorKind::Unsupported, told));
    }
    let (ledger, doubts) = ledger::read(&wreck, &mut report)?;
    report.erasures_doubted = !doubts.is_empty();
    if report.erasures_doubted && !options.without_erasures {
        let told = "the ledger of erasures cannot be read whole, so somebody erased may come back; to salvage anyway ask for it without erasures";
        return Err(Error::corrupt(told).at(doubts.join(", ")));
    }
    doubts.iter().for_each(|doubt| report.place(format!("erasures: {doubt}")));
    let counts: Option<Counts> = one(&wreck, (COUNTS, "counts"), record::decode, &mut report);
    let terms = Terms::read(&wreck, &mut report)?;
    let entities = counts.as_ref().map(|counts| counts.entities.iter().sum());
    let gone = ledger.rows.iter().flat_map(|row| row.numbers.iter().copied()).collect();
    let mut names = Names::read(&wreck, gone, entities, &mut report)?;

    let mut made = Options::new().durability(Durability::Os).limits(widest()).unfinished();
    let customer_type = header.map(|header| Text::from(header.customer_type));
    // Without a header, customers tell: they have numbers of their own.
    if let Some(kind) = customer_type.or_else(|| terms.word(names.customer_type()?).cloned()) {
        made = made.customer_type(kind);
    }
    let db = Db::open(target.path(), made)?;
    db.adopt_ledger(ledger.clone())?;
    names.adopt(&db, &terms)?;
    let mut copier = Copier::new(&wreck, &db, terms, names, report);
    copier.links(counts.map(|counts| counts.links))?;
    let quarantined = one(&wreck, (QUARANTINED, "quarantined"), count, &mut copier.report);
    copier.quarantine(quarantined)?;
    copier.events()?;
    copier.cohorts(&ledger)?;
    let report = copier.report();
    db.settle()?;
    Ok(report)
}

/// A record of `meta` under a fixed key; what cannot be read is told.
fn one<T>(
    wreck: &Wreck,
    (key, what): (&[u8], &str),
    decode: impl Fn(&[u8]) -> Result<T>,
    report: &mut SalvageReport,
) -> Option<T> {
    match wreck.get(Family::Meta, key).and_then(|value| value.map(|value| decode(&value)).transpose()) {
        Ok(Some(record)) => return Some(record),
        // A store that has nothing counted or sealed yet has no such row.
        Ok(None) if !wreck.lost_tables().iter().any(|table| table.family == Family::Meta) => {}
        _ => report.place(format!("meta, {what}: cannot be read")),
    }
    None
}

fn count(bytes: &[u8]) -> Result<u64> {
    let mut reader = Reader::new(bytes);
    let count = reader.varint()?;
    reader.finish().map(|()| count)
}

/// Whatever the damaged store took is taken.
fn widest() -> Limits {
    let most = usize::MAX;
    Limits {
        name_bytes: most,
        id_bytes: most,
        text_bytes: most,
        subjects: most,
        context: most,
        attributes: most,
        links_from: most,
        links_to: most,
        batch_records: most,
        batch_bytes: most,
    }
}
