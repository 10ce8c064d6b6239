//! Bytes flipped and files cut on disk: an error that names a place, never another answer.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ofone::{Batch, Bucket, Db, Error, ErrorKind, Event, Expr, Interval, Link};
use ofone::{Predicate, Result, Score, Snapshot, Text};

use crate::support::{at, entity, event, link, options, scratch, setting};

pub(crate) const CUSTOMERS: u64 = 40;

/// Sets that pages, books, components' rows and links decide, each with some help of the others.
const SETS: [&str; 8] = [
    "did(any, n >= 3)",
    "did(kind = thing.happened, during [1970-01-01T00:00:00.000002Z, 1970-01-01T00:00:00.000009Z))",
    "did(kind = fault.seen and attr.note ~ \"*1*\")",
    "did(kind = fault.seen, n >= 2, until 1970-01-01T00:00:00.0000201Z)",
    "did(about = service:S7) or did(on = olt:K1 and kind = alarm.raised, until 1970-01-01T00:00:00.000005Z)",
    "did(with in (cell:2, cell:3))",
    "seq(kind = thing.happened -> kind = fault.seen, within 900ns) minus reach(olt:K2, until 1970-01-01T00:00:00.000004Z)",
    "not did(kind = alarm.raised, n >= 5, until 1970-01-01T00:00:00.000002Z)",
];

/// One answer, as text: of whatever kind, it is the same or it is not.
pub(crate) type Answer = Result<String>;

/// What a store answers to each question, and the problems that a check reports.
pub(crate) struct Answers {
    pub(crate) told: Vec<Answer>,
    pub(crate) problems: Result<Vec<String>>,
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
        let kind = |kind: &str, mut event: Event| {
            event.kind = kind.into();
            event
        };
        batch.event(noted("own", &format!("customer:{id}")).context(entity(&format!("cell:{}", index % 7))));
        batch.event(kind("fault.seen", noted("fault", &service).end(at(time + 500))));
        batch.event(kind("alarm.raised", noted("alarm", &format!("olt:K{}", index % 4))));
    }
    batch
}

pub(crate) fn write(db: &Db, batches: std::ops::Range<u64>) {
    for number in batches {
        let receipt = db.writer().commit(batch(number)).expect("a commit");
        assert_eq!(receipt.rejected() + receipt.conflicts(), 0);
    }
}

/// Asks everything, whatever fails on the way: an answer after a failure must be right too.
pub(crate) fn answers(path: &Path) -> Result<Answers> {
    let db = Db::open(path, options(300).create(false))?;
    let told = told(&db)?;
    Ok(Answers { told, problems: db.check().map(|report| report.problems) })
}

pub(crate) fn told(db: &Db) -> Result<Vec<Answer>> {
    let snapshot = db.snapshot();
    let mut told = Vec::new();
    for number in 0..CUSTOMERS {
        told.push(stream(&snapshot, &customer(number)));
        told.push(links(&snapshot, &format!("service:S{number}")));
    }
    told.extend(SETS.iter().map(|text| set(&snapshot, text)));
    told.extend(["any", "kind = fault.seen", "attr.note ~ \"*2*\""].iter().flat_map(|text| counts(&snapshot, text)));
    Ok(told)
}

fn stream(snapshot: &Snapshot, customer: &str) -> Answer {
    let items = snapshot.stream(customer).run()?;
    let items = items.map(|item| item.map(|item| (item.event, item.felt.intervals().to_vec())));
    Ok(format!("{:?}", items.collect::<Result<Vec<(Event, Vec<Interval>)>>>()?))
}

fn links(snapshot: &Snapshot, of: &str) -> Answer {
    let outgoing: Vec<Link> = snapshot.links(&entity(of), None)?.outgoing;
    Ok(format!("{outgoing:?}"))
}

fn set(snapshot: &Snapshot, text: &str) -> Answer {
    let expr: Expr = text.parse().expect("an expression");
    Ok(format!("{:?}", snapshot.who(expr).now(at(0)).run()?.ids().collect::<Result<Vec<Text>>>()?))
}

fn counts(snapshot: &Snapshot, text: &str) -> [Answer; 2] {
    let what: Predicate = text.parse().expect("a predicate");
    let timeline = snapshot.timeline(what.clone()).every(Bucket::Length(1000)).run();
    let top = snapshot.top_customers(what, Score::Events).limit(9).run();
    [timeline.map(|rows| format!("{rows:?}")), top.map(|rows| format!("{rows:?}"))]
}

/// A copy of the store at `from`, as private.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::DirBuilder::new().mode(0o700).create(to).expect("a directory");
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
pub(crate) fn files(store: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.join("db")).expect("the files of the store");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|own| own == extension)).collect();
    paths.sort_by_key(|path| (std::cmp::Reverse(path.metadata().map_or(0, |data| data.len())), path.clone()));
    paths
}

/// What came of damage: errors that say so and where, problems in a report, or nothing at all.
fn judge(store: &Path, whole: &Answers, damage: &str) -> bool {
    let damaged = |error: &Error| {
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io), "{damage}: {error:?}");
        assert!(error.place().is_some(), "{damage} is reported without a place: {error:?}");
    };
    let told = match answers(store) {
        Ok(told) => told,
        Err(error) => {
            damaged(&error);
            return true;
        }
    };
    let mut noticed = false;
    for (told, whole) in told.told.iter().zip(&whole.told) {
        match told {
            Ok(told) => assert_eq!(told, whole.as_ref().expect("it is whole"), "{damage} changes an answer"),
            Err(error) => {
                damaged(error);
                noticed = true;
            }
        }
    }
    match told.problems {
        Ok(problems) => noticed || !problems.is_empty(),
        Err(error) => {
            damaged(&error);
            true
        }
    }
}

/// What a copy of `store` answers: opening writes, and `store` is to stay as it was left.
fn undamaged(store: &Path) -> Answers {
    let place = scratch();
    copy(store, &place.path().join("store"));
    let whole = answers(&place.path().join("store")).expect("the store is whole");
    assert_eq!(whole.problems.as_ref().expect("a report"), &Vec::<String>::new());
    whole.told.iter().for_each(|told| assert!(told.as_ref().is_ok_and(|told| told.len() > 2), "{told:?}"));
    whole
}

/// The files that hold an index. They are not compressed, so the first entry stands there as it is:
/// nothing shared, the lengths of key (with eight bytes of RocksDB's) and value, and a key of 11 bytes.
fn index_files(store: &Path) -> Vec<PathBuf> {
    let is_index = |file: &PathBuf| {
        let bytes = fs::read(file).expect("a file of the store");
        let Some([0, 19, rest @ ..]) = bytes.get(..32) else { return false };
        let key = rest.iter().position(|byte| *byte < 0x80).map_or(0, |last| last + 1);
        matches!(rest[key + 6], b'b' | b'p')
    };
    files(store, "sst").into_iter().filter(is_index).collect()
}

/// Damages copies of `store`, each in one place of one of the files that `among` lists.
fn spoil(store: &Path, among: impl Fn(&Path) -> Vec<PathBuf>, rounds: u64, places: impl Fn(u64) -> u64) -> u64 {
    let whole = undamaged(store);
    let mut noticed = 0;
    for round in 0..rounds {
        let place = scratch();
        let spoilt = place.path().join("store");
        copy(store, &spoilt);
        let files = among(&spoilt);
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

pub(crate) fn scramble(number: u64) -> u64 {
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
    let noticed = spoil(&store, |store| files(store, "sst"), rounds, |length| length);
    eprintln!("{noticed} of {rounds} flipped bytes were noticed");
    assert!(noticed * 2 > rounds, "most bytes of a file are read by a check: {noticed} of {rounds}");
}

#[test]
fn a_flipped_byte_in_an_index_is_never_another_answer() {
    let rounds = setting("OFONE_DAMAGE_ROUNDS", 60);
    let place = scratch();
    let store = place.path().join("store");
    let db = Db::open(&store, options(300)).expect("a store");
    write(&db, 0..40);
    // Segments that are not merged yet have an index each.
    db.flush().expect("a flush");
    drop(db);
    assert!(!index_files(&store).is_empty(), "some files hold an index");
    let noticed = spoil(&store, index_files, rounds, |length| length);
    eprintln!("{noticed} of {rounds} flipped bytes were noticed");
    assert!(noticed * 3 > rounds, "the pages and books are read by a check: {noticed} of {rounds}");
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
    let noticed = spoil(&store, |store| files(store, "log"), rounds, before_the_end);
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

#[test]
fn damage_inside_the_log_is_refused_with_file_and_place() {
    let place = scratch();
    let store = place.path().join("store");
    let db = Db::open(&store, options(1 << 20)).expect("a store");
    write(&db, 0..60);
    drop(db);
    for round in 0..8 {
        let place = scratch();
        let spoilt = place.path().join("store");
        copy(&store, &spoilt);
        let file = &files(&spoilt, "log")[0];
        let mut bytes = fs::read(file).expect("the log");
        let at = scramble(round) as usize % (bytes.len() - (64 << 10));
        bytes[at] ^= 4;
        fs::write(file, bytes).expect("it is written back");
        let error = Db::open(&spoilt, options(300)).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        let told = error.place().expect("a place").to_owned();
        let name = file.file_name().expect("a name").to_str().expect("plain");
        let offset = told.split_once(&format!("{name}, byte ")).expect("file and byte").1;
        let offset: usize = offset.parse().expect("a number");
        assert!((offset..offset + (32 << 10)).contains(&at), "byte {at} was flipped: {told}");
    }
}

#[test]
fn a_log_that_is_cut_loses_its_end_alone_and_the_report_says_so() {
    let place = scratch();
    let store = place.path().join("store");
    let db = Db::open(&store, options(1 << 20)).expect("a store");
    write(&db, 0..60);
    drop(db);
    let mut torn = 0;
    for round in 0..20 {
        let place = scratch();
        let cut = place.path().join("store");
        copy(&store, &cut);
        let file = &files(&cut, "log")[0];
        let length = file.metadata().expect("the log").len();
        let kept = length - scramble(round) % (length * 3 / 4);
        fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(kept)).expect("it is cut");
        let db = Db::open(&cut, options(300)).expect("a torn end is what a crash leaves");
        let recovery = db.recovery().clone();
        assert_eq!((recovery.log_files, recovery.log_bytes), (1, kept));
        assert!(recovery.last_commit < 60 || kept == length, "{recovery:?}");
        assert_eq!(recovery.commits_replayed, recovery.last_commit, "nothing was sealed");
        torn += u64::from(recovery.torn_bytes > 0);
        assert_eq!(recovery.was_clean(), recovery.torn_bytes == 0);

        let whole = scratch();
        let prefix = Db::open(whole.path(), options(300)).expect("a store");
        write(&prefix, 0..recovery.last_commit);
        let all = |db: &Db| {
            let snapshot = db.snapshot();
            let stream = |number| snapshot.stream(customer(number)).run().expect("a stream");
            let items = (0..CUSTOMERS).flat_map(|number| stream(number).map(|item| item.expect("an item").event));
            items.collect::<Vec<Event>>()
        };
        assert!(all(&db) == all(&prefix), "cut at {kept} of {length}: not the first {} commits", recovery.last_commit);
        drop(db);
        let again = Db::open(&cut, options(300)).expect("it opens again");
        assert_eq!((again.recovery().last_commit, again.recovery().torn_bytes), (recovery.last_commit, 0));
    }
    assert!(torn > 15, "most cuts go through a record: {torn} of 20");
}

#[test]
fn a_store_without_the_file_it_begins_with_is_refused_and_stays_as_it_is() {
    let place = scratch();
    let store = place.path().join("store");
    let db = Db::open(&store, options(300)).expect("a store");
    write(&db, 0..20);
    db.flush().expect("a flush");
    drop(db);
    let whole = undamaged(&store);
    let (current, aside) = (store.join("db/CURRENT"), place.path().join("CURRENT"));
    fs::rename(&current, &aside).expect("it is put aside");
    let mut places = Vec::new();
    for create in [true, false] {
        let error = Db::open(&store, options(300).create(create)).expect_err("nothing to begin with");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        places.push(error.place().map(str::to_owned));
    }
    assert_eq!(places, [Some("CURRENT".to_owned()), Some("CURRENT".to_owned())]);
    fs::rename(&aside, &current).expect("it is put back");
    assert_eq!(answers(&store).expect("it opens").told.len(), whole.told.len());
    assert!(!judge(&store, &whole, "the file was away"), "nothing is lost");
}

/// RocksDB shows the store as it was before an edit whose length leads beyond the end, and deletes what came later.
/// The last `more` batches are in the log, or `settled` like those before.
fn spoil_list_of_files(sealed: u64, more: u64, settled: bool, edits_at_least: usize) {
    let place = scratch();
    let (store, spoilt, twin) = (place.path().join("store"), place.path().join("spoilt"), place.path().join("twin"));
    let db = Db::open(&store, options(300)).expect("a store");
    if sealed > 0 {
        write(&db, 0..sealed);
        db.flush().and_then(|()| db.wait_until_quiet()).expect("quiet");
    }
    write(&db, sealed..sealed + more);
    if settled {
        db.wait_until_quiet().expect("quiet");
    }
    drop(db);
    // Asked of another: this may take long enough for a merge.
    copy(&store, &twin);
    let whole = told(&Db::open(&twin, options(300)).expect("a store")).expect("answers");
    let current = fs::read_to_string(store.join("db/CURRENT")).expect("a name");
    let list = Path::new("db").join(current.trim_end());
    let bytes = fs::read(store.join(&list)).expect("a list");
    let mut edits = Vec::new();
    let mut at = 0;
    while at + 7 <= bytes.len() {
        edits.push(at);
        at += 7 + usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
    }
    assert!(at == bytes.len() && at < 32 << 10 && edits.len() >= edits_at_least, "{} edits in one block", edits.len());
    let mut refused = 0;
    for &at in &edits {
        let mut longer = bytes.clone();
        longer[at + 5] ^= 0x80;
        for (what, list_now) in [("longer", longer), ("cut", bytes[..at + 9].to_vec())] {
            copy(&store, &spoilt);
            fs::write(spoilt.join(&list), list_now).expect("written");
            match answers(&spoilt) {
                Ok(answers) => {
                    let same = answers.told.iter().zip(&whole).all(|(now, before)| match (now, before) {
                        (Ok(now), Ok(before)) => now == before,
                        (now, _) => now.is_err(),
                    });
                    assert!(same, "byte {at} of {}, {what}: {:?}", bytes.len(), answers.problems);
                }
                Err(error) => {
                    assert!(error.kind() == ErrorKind::Corrupt && error.place().is_some(), "{at}, {what}: {error:?}");
                    assert!(
                        what == "cut" || tables(&spoilt) == tables(&store),
                        "{at} of {edits:?}: it is not left as it was found: {error:?}"
                    );
                    refused += 1;
                }
            }
            fs::remove_dir_all(&spoilt).expect("it goes");
        }
    }
    assert!(refused + 1 >= edits.len(), "{refused} of {} edits were missed", edits.len());
}

fn tables(store: &Path) -> usize {
    let names = fs::read_dir(store.join("db")).expect("a directory").map(|entry| entry.expect("an entry").path());
    names.filter(|name| name.extension().is_some_and(|extension| extension == "sst")).count()
}

#[test]
fn a_damaged_or_cut_list_of_files_is_never_another_answer() {
    spoil_list_of_files(40, 10, false, 20);
    // All of it in the log: perhaps a seal came before the end, certainly not.
    spoil_list_of_files(0, 10, false, 3);
    spoil_list_of_files(0, 2, false, 3);
    // Nothing in the log, and nothing sealed.
    spoil_list_of_files(5, 10, true, 10);
}
