//! Bytes flipped and files cut on disk: an error that names a place, never another answer.

use std::fs;
use std::path::{Path, PathBuf};

use ofone::{Batch, Db, ErrorKind, Event, Interval, Link, Options, Result};

use crate::support::{at, entity, event, link, options, scratch, setting};

const CUSTOMERS: u64 = 40;

/// What a store answers.
#[derive(Debug, PartialEq)]
struct Answers {
    streams: Vec<Vec<(Event, Vec<Interval>)>>,
    links: Vec<Link>,
    problems: usize,
}

fn customer(number: u64) -> String {
    format!("C{number}")
}

/// A batch of events of every third customer and of what they share, and links.
fn batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    for index in (number % 3..CUSTOMERS).step_by(3) {
        let (id, service) = (customer(index), format!("service:S{index}"));
        let time = i64::try_from(number * 1000 + index).expect("small");
        batch.link(link(&format!("customer:{id}"), "uses", &service));
        batch.link(link(&service, "runs_on", &format!("olt:K{}", index % 4)).valid_from(at(time)));
        let noted = |name: &str, subject: &str| {
            let note = format!("{name} of {id} in batch {number}, {}", number * 7919 % 1000);
            event(time, &format!("{name}-{number}-{index}"), subject).attribute("note", note)
        };
        batch.event(noted("own", &format!("customer:{id}")));
        batch.event(noted("fault", &service).end(at(time + 500)));
        batch.event(noted("alarm", &format!("olt:K{}", index % 4)));
    }
    batch
}

fn write(db: &Db, batches: std::ops::Range<u64>) {
    for number in batches {
        let receipt = db.writer().commit(batch(number)).expect("a commit");
        assert_eq!(receipt.rejected() + receipt.conflicts(), 0);
    }
}

fn answers(path: &Path) -> Result<Answers> {
    let db = Db::open(path, Options::new().create(false).cache_bytes(1 << 20))?;
    let snapshot = db.snapshot();
    let mut answers = Answers { streams: Vec::new(), links: Vec::new(), problems: 0 };
    for number in 0..CUSTOMERS {
        let stream = snapshot.stream(customer(number)).run()?;
        let items = stream.map(|item| item.map(|item| (item.event, item.felt.intervals().to_vec())));
        answers.streams.push(items.collect::<Result<_>>()?);
        answers.links.extend(snapshot.links(&entity(&format!("service:S{number}")), None)?.outgoing);
    }
    let report = db.check()?;
    answers.problems = report.problems.len();
    Ok(answers)
}

/// A copy of the store at `from`, without its lock.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for entry in fs::read_dir(from).expect("it can be listed") {
        let entry = entry.expect("its entries too");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).expect("a file is copied");
        }
    }
}

/// The store's files of this extension, largest first.
fn files(store: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.join("db")).expect("the files of the store");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|own| own == extension)).collect();
    paths.sort_by_key(|path| (std::cmp::Reverse(path.metadata().map_or(0, |data| data.len())), path.clone()));
    paths
}

/// What came of damage: an error of a kind that says so, problems in a report, or nothing at all.
fn judge(store: &Path, whole: &Answers, damage: &str) -> bool {
    match answers(store) {
        Err(error) => {
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Io), "{damage}: {error:?}");
            true
        }
        Ok(told) => {
            assert_eq!((&told.streams, &told.links), (&whole.streams, &whole.links), "{damage} changes an answer");
            told.problems > 0
        }
    }
}

/// What a copy of `store` answers: opening writes, and `store` is to stay as it was left.
fn undamaged(store: &Path) -> Answers {
    let place = scratch();
    copy(store, &place.path().join("store"));
    let whole = answers(&place.path().join("store")).expect("the store is whole");
    assert_eq!(whole.problems, 0);
    whole
}

/// Damages copies of `store`, each in one place.
fn spoil(store: &Path, extension: &str, rounds: u64, places: impl Fn(u64) -> u64) -> u64 {
    let whole = undamaged(store);
    let mut noticed = 0;
    for round in 0..rounds {
        let place = scratch();
        let spoilt = place.path().join("store");
        copy(store, &spoilt);
        let files = files(&spoilt, extension);
        let random = scramble(round);
        let file = &files[usize::try_from(random).unwrap_or(0) % files.len()];
        let mut bytes = fs::read(file).expect("a file of the store");
        let at = usize::try_from((random >> 8) % places(bytes.len() as u64).max(1)).expect("small");
        bytes[at] ^= 1 << (random % 8);
        fs::write(file, bytes).expect("the file is written back");
        noticed += u64::from(judge(&spoilt, &whole, &format!("byte {at} of {}", file.display())));
    }
    noticed
}

fn scramble(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11
}

#[test]
fn a_flipped_byte_in_a_sealed_file_is_never_another_answer() {
    let rounds = setting("OFONE_DAMAGE_ROUNDS", 60);
    let place = scratch();
    let store = place.path().join("store");
    let db = Db::open(&store, options(300)).expect("a store");
    write(&db, 0..40);
    db.flush().expect("a flush");
    db.wait_until_quiet().expect("quiet");
    drop(db);
    let noticed = spoil(&store, "sst", rounds, |length| length);
    eprintln!("{noticed} of {rounds} flipped bytes were noticed");
    assert!(noticed * 2 > rounds, "most bytes of a file are read by a check: {noticed} of {rounds}");
}

#[test]
fn a_flipped_byte_before_the_end_of_the_log_is_never_another_answer() {
    let rounds = setting("OFONE_DAMAGE_ROUNDS", 60);
    let place = scratch();
    let store = place.path().join("store");
    let db = Db::open(&store, options(1 << 20)).expect("a store");
    write(&db, 0..60);
    drop(db);
    // A damaged end is taken for a torn write.
    let before_the_end = |length: u64| length.saturating_sub(64 << 10);
    assert!(files(&store, "log")[0].metadata().expect("a log").len() > 200 << 10, "a log of several blocks");
    let noticed = spoil(&store, "log", rounds, before_the_end);
    eprintln!("{noticed} of {rounds} flipped bytes were noticed");
    assert_eq!(noticed, rounds, "every byte of a log is read at open");
}

#[test]
fn a_file_that_is_gone_or_cut_is_never_another_answer() {
    let place = scratch();
    let store = place.path().join("store");
    let db = Db::open(&store, options(300)).expect("a store");
    write(&db, 0..20);
    db.flush().expect("a flush");
    db.wait_until_quiet().expect("quiet");
    drop(db);
    let whole = undamaged(&store);
    for number in 0..files(&store, "sst").len() {
        for cut in [true, false] {
            let place = scratch();
            let spoilt = place.path().join("store");
            copy(&store, &spoilt);
            let file = &files(&spoilt, "sst")[number];
            let length = file.metadata().expect("a file of the store").len();
            if cut {
                let handle = fs::OpenOptions::new().write(true).open(file).expect("it opens");
                handle.set_len(length - 1).expect("it is cut");
            } else {
                fs::remove_file(file).expect("it is removed");
            }
            assert!(judge(&spoilt, &whole, &format!("{} cut: {cut}", file.display())), "it is noticed");
        }
    }
}
