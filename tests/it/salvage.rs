//! A new store out of a damaged one: all of it when nothing is damaged, and otherwise nothing that was not there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ofone::{
    Batch, Db, Error, ErrorKind, Event, EventName, Expr, Options, Result, SalvageOptions, SalvageReport, Stats, salvage,
};

use crate::damage::{CUSTOMERS, copy, files, scramble, told, write};
use crate::support::{at, contents, entity, event, link, options, scratch, setting};

/// A store of some segments, of which the last batches are not sealed.
fn store(at: &Path, sealed: u64, unsealed: u64) {
    let db = Db::open(at, options(300)).expect("a store");
    write(&db, 0..sealed);
    db.flush().expect("a flush");
    db.wait_until_quiet().expect("quiet");
    drop(db);
    let db = Db::open(at, options(1 << 20)).expect("the store again");
    let set =
        db.snapshot().who("did(kind = fault.seen)".parse::<Expr>().expect("an expression")).now(self::at(0)).run();
    db.save_cohort("faulty", &set.expect("a set")).expect("it is saved");
    write(&db, sealed..sealed + unsealed);
}

/// Every event that some stream has.
fn events(db: &Db) -> BTreeMap<EventName, Event> {
    let snapshot = db.snapshot();
    let streams = (0..CUSTOMERS).map(|number| snapshot.stream(format!("C{number}")).run().expect("a stream"));
    let events = streams.flat_map(|items| items.map(|item| item.expect("an item").event));
    events.map(|event| (event.name(), event)).collect()
}

fn stats(db: &Db) -> Stats {
    let mut stats = db.snapshot().stats().expect("stats");
    // What follows from when and how it was written, not from what.
    (stats.segments, stats.unsealed_events, stats.disk_bytes, stats.commits) = (0, 0, 0, 0);
    stats.sources.values_mut().for_each(|source| source.last_commit = 0);
    stats
}

fn well(db: &Db) {
    assert_eq!(db.check().expect("a report").problems, Vec::<String>::new());
}

/// Salvages the store, whose ledger of erasures may be in doubt, and holds the outcome against the whole one.
fn salvaged(damaged: &Path, into: &Path, whole: &BTreeMap<EventName, Event>) -> (SalvageReport, Db) {
    let before = contents(damaged);
    let report = salvage(damaged, into, &SalvageOptions::new().without_erasures(true)).expect("some of it");
    assert!(contents(damaged) == before, "the damaged store is as it was");
    let db = Db::open(into, options(1 << 20).create(false)).expect("a store");
    well(&db);
    for (name, event) in events(&db) {
        assert_eq!(whole.get(&name), Some(&event), "never another event than was written");
    }
    assert_eq!(db.snapshot().stats().expect("stats").events, report.events.copied);
    assert_eq!(db.snapshot().stats().expect("stats").links, report.links.copied);
    (report, db)
}

/// A store with its events and how many events and links it has.
struct Whole {
    place: tempfile::TempDir,
    events: BTreeMap<EventName, Event>,
    counts: (u64, u64),
}

impl Whole {
    fn new(sealed: u64, unsealed: u64) -> Whole {
        let place = scratch();
        store(&place.path().join("store"), sealed, unsealed);
        copy(&place.path().join("store"), &place.path().join("copy"));
        let db = Db::open(place.path().join("copy"), options(1 << 20)).expect("it opens");
        let (events, stats) = (events(&db), stats(&db));
        Whole { place, events, counts: (stats.events, stats.links) }
    }

    fn path(&self) -> PathBuf {
        self.place.path().join("store")
    }
}

#[test]
fn an_undamaged_store_comes_over_whole() {
    let place = scratch();
    let (old, new) = (place.path().join("old"), place.path().join("new"));
    store(&old, 20, 5);
    let before = contents(&old);
    let report = salvage(&old, &new, &SalvageOptions::new()).expect("all of it");
    assert!(contents(&old) == before, "nothing is written there");
    assert!(report.is_whole(), "{report:?}");
    let (old, new) = (Db::open(&old, options(300)).expect("old"), Db::open(&new, options(300)).expect("new"));
    assert_eq!(stats(&old), stats(&new));
    let answers = |db: &Db| told(db).expect("answers").into_iter().collect::<Result<Vec<String>>>().expect("each");
    assert_eq!(answers(&old), answers(&new));
    let cohort = |db: &Db| {
        let set =
            db.snapshot().who("cohort(faulty)".parse::<Expr>().expect("an expression")).run().expect("the cohort");
        set.ids().collect::<Result<Vec<_>>>().expect("ids")
    };
    assert_eq!(cohort(&old), cohort(&new));
    assert!(!cohort(&new).is_empty());
    well(&new);
    assert_eq!((report.events.copied, report.links.copied), (stats(&old).events, stats(&old).links));
    assert_eq!((report.cohorts.copied, report.log_rows.copied), (1, 5));
}

#[test]
fn a_flipped_byte_in_a_sorted_file_loses_what_lies_there_alone() {
    let whole = Whole::new(40, 0);
    let rounds = setting("OFONE_SALVAGE_ROUNDS", 40);
    let (mut some_lost, mut doubted) = (0, 0);
    for round in 0..rounds {
        let place = scratch();
        let (damaged, new) = (place.path().join("damaged"), place.path().join("new"));
        copy(&whole.path(), &damaged);
        let random = scramble(round);
        let files = files(&damaged, "sst");
        let file = &files[random as usize % files.len()];
        let mut bytes = fs::read(file).expect("a file");
        let at = (random >> 8) as usize % bytes.len();
        bytes[at] ^= 1 << (random % 8);
        fs::write(file, bytes).expect("it is written back");
        let (report, _) = salvaged(&damaged, &new, &whole.events);
        let told = format!("byte {at} of {}: {report:?}", file.display());
        if report.kinds().iter().any(|(_, kind)| kind.lost > 0) {
            some_lost += 1;
            assert!(!report.places.is_empty(), "{told}");
        }
        doubted += u64::from(report.erasures_doubted);
        // Without the list of segments, or the counts, nobody knows how much there was.
        if !report.places.iter().any(|place| place.starts_with("meta")) {
            assert_eq!(report.events.copied + report.events.lost, whole.counts.0, "{told}");
            assert_eq!(report.links.copied + report.links.lost, whole.counts.1, "{told}");
        }
    }
    eprintln!("{some_lost} of {rounds} lost something, {doubted} put the ledger in doubt");
    assert!(some_lost * 5 > rounds, "{some_lost} of {rounds}");
}

#[test]
fn a_damaged_block_costs_no_other() {
    let place = scratch();
    let (old, new) = (place.path().join("old"), place.path().join("new"));
    let db = Db::open(&old, options(1 << 20)).expect("a store");
    for number in 0..40u64 {
        let mut batch = Batch::new();
        for at in 0..100 {
            let note = format!("{:x}{:x}{:x}", scramble(at + number), scramble(at), scramble(at * number));
            let subject = format!("customer:C{}", at * 40 + number);
            batch.event(event(at as i64, &format!("{number}-{at}"), &subject).attribute("note", note.repeat(20)));
        }
        db.writer().commit(batch).expect("a commit");
    }
    db.flush().expect("a flush");
    db.wait_until_quiet().expect("quiet");
    drop(db);
    // Rows are the largest file by far: many blocks.
    let file = &files(&old, "sst")[0];
    let mut bytes = fs::read(file).expect("a file");
    assert!(bytes.len() > 150_000, "{}", bytes.len());
    for at in [40_000, 120_000] {
        bytes[at] ^= 1;
    }
    fs::write(file, bytes).expect("it is written back");
    let report = salvage(&old, &new, &SalvageOptions::new()).expect("most of it");
    assert!(report.events.lost > 0 && report.events.lost < 200, "{:?}", report.events);
    assert_eq!(report.events.lost + report.events.copied, 4000);
    assert_eq!(report.rows.lost, report.events.lost);
    assert!(report.places.iter().any(|place| place.contains(".sst, byte ")), "{:?}", report.places);
    assert!(report.places.iter().any(|place| place.contains("home ")), "{:?}", report.places);
    let names = |text: &String| text.contains(":C") || text.contains("feed");
    assert!(!report.places.iter().any(names), "no identifier: {:?}", report.places);
}

/// Links are read in one go: what is behind a damaged block comes over because the block is stepped over.
#[test]
fn links_behind_a_damaged_block_come_over() {
    const LINKS: u64 = 4000;
    let place = scratch();
    let old = place.path().join("old");
    let db = Db::open(&old, options(1 << 20)).expect("a store");
    let mut batch = Batch::new();
    for number in 0..LINKS {
        let since = at(scramble(number) as i64 >> 8);
        let of = format!("customer:C{}", number / 2);
        batch.link(link(&of, "uses", &format!("service:S{number}")).valid_from(since));
    }
    db.writer().commit(batch).expect("a commit");
    db.wait_until_quiet().expect("quiet");
    drop(db);
    let mut stepped_over = 0;
    for (round, file) in files(&old, "sst").iter().enumerate() {
        let (damaged, new) = (place.path().join(format!("damaged-{round}")), place.path().join(format!("new-{round}")));
        copy(&old, &damaged);
        let file = damaged.join(file.strip_prefix(&old).expect("inside"));
        let mut bytes = fs::read(&file).expect("a file");
        let at = bytes.len() / 3;
        bytes[at] ^= 1;
        fs::write(&file, bytes).expect("it is written back");
        let report = salvage(&damaged, &new, &SalvageOptions::new().without_erasures(true)).expect("most of it");
        if report.places.iter().any(|place| place.starts_with("links, ")) {
            stepped_over += 1;
            // Each is there twice, once at either end.
            assert_eq!((report.links.copied, report.links.lost), (LINKS, 0), "{report:?}");
        }
    }
    assert_eq!(stepped_over, 1, "links are in one file");
}

#[test]
fn a_sorted_file_that_is_gone_or_cut_loses_what_was_in_it_alone() {
    let whole = Whole::new(40, 0);
    let count = files(&whole.path(), "sst").len();
    let mut most = 0;
    for (round, cut) in (0..count).flat_map(|file| [(file, true), (file, false)]) {
        let place = scratch();
        let (damaged, new) = (place.path().join("damaged"), place.path().join("new"));
        copy(&whole.path(), &damaged);
        let file = &files(&damaged, "sst")[round];
        if cut {
            let length = file.metadata().expect("a file").len();
            fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(length / 2)).expect("it is cut");
        } else {
            fs::remove_file(file).expect("it is removed");
        }
        let (report, _) = salvaged(&damaged, &new, &whole.events);
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(report.places.iter().any(|place| place.contains(name)), "{name}: {report:?}");
        most = most.max(report.events.copied);
    }
    assert_eq!(most, whole.counts.0, "some files hold no event");
}

#[test]
fn damage_in_the_log_loses_the_commits_around_it_alone() {
    let whole = Whole::new(4, 60);
    for round in 0..10 {
        let place = scratch();
        let (damaged, new) = (place.path().join("damaged"), place.path().join("new"));
        copy(&whole.path(), &damaged);
        let file = &files(&damaged, "log")[0];
        let mut bytes = fs::read(file).expect("the log");
        let at = scramble(round) as usize % (bytes.len() - (64 << 10));
        bytes[at] ^= 4;
        fs::write(file, bytes).expect("it is written back");
        assert!(Db::open(&damaged, options(300)).is_err(), "such a store does not open");
        let error = salvage(&damaged, &new, &SalvageOptions::new()).expect_err("who was erased may be in there");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(!new.exists(), "nothing is left of it");
        let (report, _) = salvaged(&damaged, &new, &whole.events);
        assert!(report.erasures_doubted);
        assert!(report.log_rows.lost > 0 && report.log_rows.lost < 60, "{report:?}");
        assert_eq!(report.log_rows.lost + report.log_rows.copied, 60);
        assert!(report.events.copied < whole.counts.0 && report.events.copied > 100, "{report:?}");
    }
}

/// The first row of an erasure may have been in it and nowhere else.
#[test]
fn a_log_that_is_gone_or_cut_puts_the_ledger_in_doubt() {
    let place = scratch();
    let store = place.path().join("store");
    let db = Db::open(&store, options(1 << 20)).expect("a store");
    let (mut next, mut logs) = (0, Vec::new());
    let until = Instant::now() + Duration::from_secs(60);
    // Each family that is written out closes a log file, which others still need for what came meanwhile.
    while logs.len() < 2 {
        assert!(Instant::now() < until, "no log file was closed");
        std::thread::scope(|scope| {
            scope.spawn(|| write(&db, next..next + 40));
            db.wait_until_quiet().expect("quiet");
        });
        next += 40;
        logs = files(&store, "log");
        logs.sort();
    }
    // The list names a closed log once it is known to be on the disk.
    write(&db, next..next + 1);
    let (whole, count) = (events(&db), stats(&db).events);
    drop(db);
    let first = logs[0].file_name().expect("a name").to_owned();
    let length = fs::metadata(&logs[0]).expect("it is there").len();
    for left in [0, length / 2, length - 1] {
        let (damaged, new) = (place.path().join(format!("damaged-{left}")), place.path().join(format!("new-{left}")));
        copy(&store, &damaged);
        let log = damaged.join("db").join(&first);
        match left {
            0 => fs::remove_file(log).expect("it is removed"),
            _ => fs::File::options().write(true).open(log).and_then(|log| log.set_len(left)).expect("it is cut"),
        }
        assert_eq!(Db::open(&damaged, options(300)).expect_err("it does not open").kind(), ErrorKind::Corrupt);
        let error = salvage(&damaged, &new, &SalvageOptions::new()).expect_err("who was erased may be in there");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{left} of {length}: {error}");
        let (report, _) = salvaged(&damaged, &new, &whole);
        assert!(report.erasures_doubted && report.events.copied <= count, "{report:?}");
    }
}

#[test]
fn a_store_without_the_file_it_begins_with_comes_over_whole() {
    let whole = Whole::new(10, 3);
    let place = scratch();
    let (damaged, new) = (place.path().join("damaged"), place.path().join("new"));
    copy(&whole.path(), &damaged);
    fs::remove_file(damaged.join("db/CURRENT")).expect("it is removed");
    let (report, db) = salvaged(&damaged, &new, &whole.events);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(events(&db), whole.events);
}

#[test]
fn a_store_without_a_manifest_of_the_storage_engine_is_refused() {
    let whole = Whole::new(4, 0);
    let place = scratch();
    for entry in fs::read_dir(whole.path().join("db")).expect("its files") {
        let path = entry.expect("an entry").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST")) {
            fs::remove_file(path).expect("it is removed");
        }
    }
    let new = place.path().join("new");
    let error = salvage(whole.path(), &new, &SalvageOptions::new()).expect_err("nothing tells what is where");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(!new.exists());
}

#[test]
fn whoever_was_erased_stays_erased() {
    let place = scratch();
    let (old, new) = (place.path().join("old"), place.path().join("new"));
    store(&old, 10, 0);
    let db = Db::open(&old, options(300)).expect("it opens");
    db.erase("C7").expect("erased");
    drop(db);
    let report = salvage(&old, &new, &SalvageOptions::new()).expect("all of it");
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.erasures.copied, 1);
    let (old, db) = (Db::open(&old, options(300)).expect("old"), Db::open(&new, options(300)).expect("new"));
    assert_eq!((stats(&old).events, stats(&old).entities), (stats(&db).events, stats(&db).entities));
    for _ in 0..2 {
        let mut batch = Batch::new();
        batch.event(event(1, "late", "customer:C7"));
        batch.link(link("customer:C7", "uses", "service:S7"));
        batch.event(event(1, "other", "service:S7"));
        assert_eq!(db.writer().commit(batch).expect("a receipt").rejected(), 3);
    }
    // Texts of others' events have it, as in the store before.
    let told = |family: &str| db.traces("C7").expect("traces").rows.iter().any(|(other, _)| *other == family);
    assert!(!["names", "numbers", "meta", "links"].into_iter().any(told));
    assert!(db.snapshot().entity(&entity("customer:C7")).expect("an answer").is_none());
    // The next erasure has the next number.
    assert_eq!(db.erase("C8").expect("erased").ledger, 2);
    well(&db);
}

#[test]
fn a_store_is_salvaged_into_nothing_but_an_empty_directory_and_while_nobody_writes_it() {
    let place = scratch();
    let (old, new) = (place.path().join("old"), place.path().join("new"));
    store(&old, 2, 0);
    let refused =
        |from: &Path, into: &Path| -> Error { salvage(from, into, &SalvageOptions::new()).expect_err("it is refused") };
    fs::create_dir(&new).expect("a directory");
    fs::write(new.join("mine"), "kept").expect("a file");
    assert_eq!(refused(&old, &new).kind(), ErrorKind::Invalid);
    assert_eq!(fs::read_to_string(new.join("mine")).expect("it is still there"), "kept");
    assert_eq!(refused(&old, &old).kind(), ErrorKind::Invalid);
    assert_eq!(refused(&old, &old.join("inside")).kind(), ErrorKind::Invalid);
    assert!(!old.join("inside").exists());
    assert_eq!(refused(&place.path().join("nothing"), &place.path().join("other")).kind(), ErrorKind::NotFound);
    fs::remove_file(new.join("mine")).expect("it is removed");
    let db = Db::open(&old, options(300)).expect("it opens");
    assert_eq!(refused(&old, &new).kind(), ErrorKind::Busy);
    assert!(fs::read_dir(&new).expect("it is still there").next().is_none());
    drop(db);
    salvage(&old, &new, &SalvageOptions::new()).expect("all of it");
    Db::open(&new, options(300)).expect("a store");
}

#[cfg(feature = "cli")]
#[test]
fn a_salvage_that_is_killed_leaves_no_store_that_opens() {
    let place = scratch();
    let old = place.path().join("old");
    store(&old, 60, 10);
    let mut cut_short = 0;
    for round in 0..20u64 {
        let new = place.path().join(format!("new-{round}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_ofone"));
        command.arg("salvage").arg("--db").arg(&old).arg("--into").arg(&new);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
        while !new.join("unfinished").exists() && child.try_wait().expect("its state").is_none() {
            std::thread::sleep(Duration::from_micros(50));
        }
        std::thread::sleep(Duration::from_millis(round * 3 / 2));
        child.kill().expect("it is killed");
        let ended = child.wait().expect("it ended");
        let opened = Db::open(&new, options(300).create(false));
        if ended.success() {
            well(&opened.expect("it is whole"));
            continue;
        }
        match opened {
            Ok(db) => assert_eq!(db.snapshot().stats().expect("stats").links, 80, "killed behind its end"),
            Err(error) => {
                cut_short += 1;
                assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound), "{error:?}");
                let again = Db::open(&new, Options::new()).expect_err("nor is it made one");
                assert_eq!(again.kind(), ErrorKind::Invalid, "{again:?}");
                let looked = Db::look(&new, Options::new()).map(|_| ()).expect_err("nor does anybody look in");
                assert!(matches!(looked.kind(), ErrorKind::Invalid | ErrorKind::NotFound), "{looked:?}");
            }
        }
    }
    assert!(cut_short > 5, "{cut_short} of 20 were cut short");
    assert!(Db::open(&old, options(300)).is_ok(), "the damaged store can be opened again");
}
