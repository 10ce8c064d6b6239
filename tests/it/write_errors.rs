//! Writes that fail: typed errors, reads that go on, nothing acknowledged lost, no write more until the
//! store is opened again; and full disks, which take writes again when there is room.
//!
//! A small disk is a `tmpfs` in a mount namespace of its own, which only a process of its own can have:
//! this test binary, started once more with one test alone. Where the system gives no such namespace the
//! tests say that they were skipped.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ofone::{Batch, Db, Durability, Entity, Error, ErrorKind, Event, HealthState, Options, Retention};

use crate::support::{at, options, scratch, setting};

const CUSTOMERS: u64 = 7;
/// Left free for the ballast and the reserve at least.
const RESERVE_BYTES: u64 = 1 << 20;

/// Runs the test `name` of this file in a process that sees an empty disk of `mebibytes`, with `variables`.
fn on_small_disk(name: &str, mebibytes: u64, variables: &[(&str, String)]) {
    let place = scratch();
    let script = "mount -t tmpfs -o size=\"$1\"m,mode=700 none \"$2\" || exit 99; shift 2; exec \"$@\"";
    for namespace in [&["-m"][..], &["-U", "-r", "-m"][..]] {
        let mut command = Command::new("unshare");
        command.args(namespace).args(["sh", "-c", script, "sh"]).arg(mebibytes.to_string()).arg(place.path());
        command.arg(std::env::current_exe().expect("this binary has a path"));
        command.args(["--exact", &format!("write_errors::{name}"), "--nocapture", "--test-threads", "1"]);
        command.env("OFONE_SMALL_DISK", place.path()).envs(variables.iter().cloned());
        match command.output() {
            Ok(output) if output.status.success() => {
                eprint!("{}", String::from_utf8_lossy(&output.stderr));
                return;
            }
            Ok(output) if output.status.code() == Some(101) => panic!(
                "on a disk of {mebibytes} MiB:\n{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
            Ok(_) | Err(_) => {}
        }
    }
    eprintln!("skipped: the system does not let us mount a small disk");
}

fn small_disk() -> Option<PathBuf> {
    std::env::var_os("OFONE_SMALL_DISK").map(PathBuf::from)
}

/// Text that no compression makes smaller.
fn noise(number: u64, bytes: usize) -> String {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    (0..bytes).map(|_| letter()).collect()
}

fn batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    for index in 0..20 {
        let event = Event::new(at((number * 20 + index).cast_signed()), "feed", "thing.happened")
            .id(format!("{number}-{index}"))
            .subject(Entity::customer((number % CUSTOMERS).to_string()))
            .attribute("note", noise(number * 20 + index, 900));
        batch.event(event);
    }
    batch
}

/// Commits batches from `number` on until one fails. Returns the number of the first that failed.
fn fill(db: &Db, mut number: u64) -> (u64, Error) {
    loop {
        match db.writer().commit(batch(number)) {
            Ok(receipt) => assert_eq!(receipt.inserted() + receipt.duplicates(), 20),
            Err(error) => return (number, error),
        }
        number += 1;
        assert!(number < 100_000, "the disk is small");
    }
}

/// Every acknowledged batch is there whole, and of the others at most `extra`, whole too.
fn assert_holds(db: &Db, acknowledged: u64, extra: u64) {
    let snapshot = db.snapshot();
    let mut events: BTreeMap<u64, u64> = BTreeMap::new();
    for customer in 0..CUSTOMERS {
        for item in snapshot.stream(customer.to_string()).run().expect("a stream") {
            let event = item.expect("an item").event;
            let id = event.id.expect("an id");
            let (number, _) = id.split_once('-').expect("written so");
            *events.entry(number.parse().expect("a number")).or_default() += 1;
        }
    }
    assert!(events.values().all(|&count| count == 20), "batches are whole: {events:?}");
    let found = events.len() as u64;
    assert!(events.keys().copied().eq(0..found), "no batch is missing before another");
    assert!((acknowledged..=acknowledged + extra).contains(&found), "{acknowledged} acknowledged, {found} there");
}

fn small(segment_events: usize) -> Options {
    options(segment_events).durability(Durability::Sync).reserve_bytes(RESERVE_BYTES).preallocate(true)
}

/// The commit met the full disk, or a seal did so before it.
fn assert_met_full(error: &Error) {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    let full = |cause: &Arc<Error>| cause.kind() == ErrorKind::DiskFull;
    let poisoned = error.kind() == ErrorKind::Poisoned && causes.any(|cause| cause.downcast_ref().is_some_and(full));
    assert!(error.kind() == ErrorKind::DiskFull || poisoned, "{error:?}");
}

fn assert_full(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error:?}");
}

#[test]
fn child_fills_its_disk() {
    let Some(disk) = small_disk() else { return };
    let (path, ballast) = (disk.join("store"), disk.join("ballast"));
    let segment_events = setting("OFONE_SEGMENT_EVENTS", 0);
    fs::write(&ballast, vec![7; 6 << 20]).expect("there is room at first");
    let mut db = Db::open(&path, small(segment_events)).expect("a store");
    assert_eq!(db.health().expect("its health").state(), HealthState::Good);

    let mut acknowledged = 0;
    let mut opens = true;
    for round in 0.. {
        assert!(round < 1000, "the disk is small");
        let (first_failed, error) = fill(&db, acknowledged);
        eprintln!("round {round}: {first_failed} batches are in, {error:?}");
        assert_met_full(&error);
        // A seal may have the reserve on loan, and give it back; it may meet the end of the disk, too.
        let health = loop {
            let health = db.health().expect("its health");
            if health.seals_waiting == 0 || health.poisoned.is_some() {
                break health;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        assert_holds(&db, first_failed, 0);
        let mut stuck = false;
        if let Some(first) = &health.poisoned {
            assert_eq!((health.state(), first.kind()), (HealthState::Poisoned, ErrorKind::DiskFull));
            let refused = db.writer().commit(batch(first_failed)).expect_err("no write after a failed one");
            assert_eq!(refused.kind(), ErrorKind::Poisoned);
            let cause = refused.source().and_then(|cause| cause.downcast_ref::<Arc<Error>>());
            assert_eq!(cause.expect("the first failure is kept").kind(), ErrorKind::DiskFull);
            let snapshot = db.snapshot();
            assert_eq!(db.clone().reopen().expect_err("a snapshot is alive").kind(), ErrorKind::Busy);
            drop(snapshot);
            db = match db.reopen() {
                Ok(db) => db,
                Err(error) => {
                    assert_full(&error);
                    eprintln!("it does not open: {error:?}");
                    opens = false;
                    fs::remove_file(&ballast).expect("it is there");
                    Db::open(&path, small(segment_events)).expect("it opens with room")
                }
            };
            assert_holds(&db, first_failed, 1);
        } else {
            assert_full(&error);
            // Else the room is kept again, or the store was poisoned since, and the next round writes on.
            stuck = health.state() == HealthState::Full && first_failed == acknowledged;
        }
        acknowledged = first_failed;
        if stuck || !opens {
            break;
        }
    }
    if opens {
        assert_holds(&db, acknowledged, 1);
        fs::remove_file(&ballast).expect("it is there");
        // What merges leave may have met the end of the disk since.
        if db.health().expect("its health").poisoned.is_some() {
            db = db.reopen().expect("it opens with room");
        }
    }
    eprintln!("{acknowledged} batches fit, opens when full: {opens}");
    // What merges leave may have met it after that look, or have the reserve on loan since before there was room.
    let lent_until = std::time::Instant::now() + Duration::from_secs(20);
    let receipt = loop {
        match db.writer().commit(batch(acknowledged)) {
            Err(error) if error.kind() == ErrorKind::Poisoned => db = db.reopen().expect("it opens with room"),
            Err(error) if error.kind() == ErrorKind::DiskFull && std::time::Instant::now() < lent_until => {
                std::thread::sleep(Duration::from_millis(1));
            }
            outcome => break outcome,
        }
    };
    let receipt = receipt.expect("there is room");
    assert_eq!(receipt.inserted() + receipt.duplicates(), 20);
    assert_holds(&db, acknowledged + 1, 0);
    drop(db);
    let db = Db::open(&path, small(segment_events)).expect("it opens again");
    assert_holds(&db, acknowledged + 1, 0);
    let report = db.check().expect("a check");
    assert_eq!((report.problems, report.problems_unlisted), (Vec::<String>::new(), 0));
}

#[test]
fn a_full_disk_loses_nothing_and_writing_goes_on_with_room() {
    for (mebibytes, segment_events) in [(14, 1 << 20), (17, 200), (20, 500), (26, 1000), (33, 3000)] {
        on_small_disk("child_fills_its_disk", mebibytes, &[("OFONE_SEGMENT_EVENTS", segment_events.to_string())]);
    }
}

#[test]
fn child_makes_room_on_its_full_disk() {
    let Some(disk) = small_disk() else { return };
    let path = disk.join("store");
    let segment_events = setting("OFONE_SEGMENT_EVENTS", 0);
    let erase_first = setting("OFONE_ERASE_FIRST", 0) > 0;
    // A retention writes one segment anew at a time, an erasure all that name the customer, and here all do.
    let options = small(segment_events).reserve_bytes(if erase_first { 24 << 20 } else { 6 << 20 });
    let mut db = Db::open(&path, options).expect("a store");
    let mut acknowledged = 0;
    loop {
        let (failed, error) = fill(&db, acknowledged);
        assert_met_full(&error);
        let full = failed == acknowledged;
        acknowledged = failed;
        while db.health().expect("its health").seals_waiting > 0 && !is_poisoned(&db) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if is_poisoned(&db) {
            db = db.reopen().expect("the reserve is there for it");
        } else if full && db.health().expect("its health").state() == HealthState::Full {
            break;
        }
    }
    eprintln!("{acknowledged} batches fit");
    let erase = |db: &Db, customer: u64| {
        let receipt = db.erase(customer.to_string()).expect("erasing works on a full disk");
        assert!(receipt.events > 0 && !receipt.held_back, "{receipt:?}");
    };
    if erase_first {
        erase(&db, 3);
    }
    let half = Retention::before(at((acknowledged * 10).cast_signed())).max_share(1.0);
    let removed = db.retain(&half).expect("trimming works on a full disk");
    assert!(removed.events > 0, "{removed:?}");
    erase(&db, 4);
    db.wait_until_quiet().expect("quiet");
    assert_eq!(db.health().expect("its health").erasures_unfinished, 0);
    assert_eq!(db.check().expect("a check").problems, Vec::<String>::new());
    // Nobody made room but the store.
    let next = (acknowledged + 1..).find(|number| number % CUSTOMERS == 0).expect("a number");
    let receipt = db.writer().commit(batch(next)).expect("there is room again");
    assert_eq!(receipt.inserted(), 20);
}

#[test]
fn child_compacts_on_its_full_disk() {
    let Some(disk) = small_disk() else { return };
    let ballast = disk.join("ballast");
    let db = Db::open(disk.join("store"), options(1 << 20).reserve_bytes(0)).expect("a store");
    let commit = |number| db.writer().commit(batch(number)).expect("a commit");
    // The log of what is sealed stays as long as somebody sees it, and compactions have it to carry.
    (0..400).for_each(|number| drop(commit(number)));
    let before = db.snapshot();
    db.flush().expect("a flush");
    db.wait_until_quiet().expect("there is room");
    let mut lone = Batch::new();
    lone.event(Event::new(at(0), "feed", "thing.happened").subject(Entity::customer("lone")));
    db.writer().commit(lone).expect("a commit");
    db.flush().expect("a flush");

    let free = db.health().expect("its health").free_bytes;
    let room = 2 << 20;
    assert!(free > room, "{free} bytes are free");
    fs::write(&ballast, vec![7; (free - room) as usize]).expect("there is room for it");
    let receipt = db.erase("lone").expect("an erasure writes little of its own");
    assert!(receipt.events == 1 && receipt.held_back, "{receipt:?}");
    let health = db.health().expect("its health");
    assert_eq!((health.state(), health.background_errors > 0), (HealthState::Lagging, true));
    fs::remove_file(&ballast).expect("it is there");
    drop(before);

    // RocksDB remembers the failure for some seconds.
    db.wait_until_quiet().expect("there is room again");
    let receipt = db.erase("3").expect("an erasure");
    assert!(receipt.events > 0 && !receipt.held_back, "{receipt:?}");
    drop(commit(400));
    assert_eq!(db.check().expect("a check").problems, Vec::<String>::new());
    eprintln!("a compaction failed");
}

#[test]
fn a_compaction_that_met_a_full_disk_is_made_up_for() {
    on_small_disk("child_compacts_on_its_full_disk", 64, &[]);
}

fn is_poisoned(db: &Db) -> bool {
    db.health().expect("its health").poisoned.is_some()
}

#[test]
fn on_a_full_disk_retention_and_erasure_make_room() {
    for (segment_events, erase_first) in [(200_u64, 0_u64), (200, 1), (1000, 0), (1000, 1)] {
        let variables = [("OFONE_SEGMENT_EVENTS", segment_events), ("OFONE_ERASE_FIRST", erase_first)];
        let variables = variables.map(|(name, value)| (name, value.to_string()));
        on_small_disk("child_makes_room_on_its_full_disk", 40 + 24 * erase_first, &variables);
    }
}

/// The size of a file is limited instead of that of the disk: the same for a log, and no `DiskFull`.
#[test]
fn child_has_its_files_limited() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let Some(place) = std::env::var_os("OFONE_LIMITED_FILES").map(PathBuf::from) else { return };
    let limit = |bytes| setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("no limit is hard");
    let db = Db::open(&place, small(1 << 20)).expect("a store");
    limit(Some(2 << 20));
    let (acknowledged, error) = fill(&db, 0);
    assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
    assert!(acknowledged > 10, "{acknowledged} batches");
    limit(None);
    for _ in 0..3 {
        let refused = db.writer().commit(batch(acknowledged)).expect_err("a failed write is not tried again");
        assert_eq!(refused.kind(), ErrorKind::Poisoned, "{refused:?}");
        assert!(refused.message().contains("(input/output: "), "{refused}");
        assert_eq!(db.flush().expect_err("nothing is sealed").kind(), ErrorKind::Poisoned);
        assert_eq!(db.wait_until_quiet().expect_err("nothing is merged").kind(), ErrorKind::Poisoned);
        assert_holds(&db, acknowledged, 0);
    }
    let health = db.health().expect("its health");
    assert_eq!(health.state(), HealthState::Poisoned);
    assert_eq!(health.poisoned.expect("the first failure").kind(), ErrorKind::Io);

    let writer = db.writer();
    assert_eq!(db.clone().reopen().expect_err("a writer is alive").kind(), ErrorKind::Busy);
    drop(writer);
    let db = db.reopen().expect("it opens");
    assert_eq!(db.health().expect("its health").state(), HealthState::Good);
    assert_holds(&db, acknowledged, 1);
    db.writer().commit(batch(acknowledged)).expect("it takes writes again");
    assert_holds(&db, acknowledged + 1, 0);
    eprintln!("the limit was met");
}

#[test]
fn after_a_failed_write_nothing_is_written_until_the_store_is_reopened() {
    let place = scratch();
    // Without a handler a process that meets the limit is ended.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(std::env::current_exe().expect("a path"));
    command.args(["--exact", "write_errors::child_has_its_files_limited", "--nocapture", "--test-threads", "1"]);
    let output = command.env("OFONE_LIMITED_FILES", place.path()).output().expect("the shell starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("the limit was met"), "{told}");
}

#[test]
fn a_merge_that_the_disk_has_no_room_for_is_put_off() {
    let place = scratch();
    // One segment, and what becomes another when there is no room any more.
    let db = Db::open(place.path(), options(1 << 20)).expect("a store");
    (0..4).for_each(|number| drop(db.writer().commit(batch(number)).expect("a commit")));
    db.flush().expect("a flush");
    (4..8).for_each(|number| drop(db.writer().commit(batch(number)).expect("a commit")));
    drop(db);

    // More than any disk has is to stay free.
    let db = Db::open(place.path(), options(1 << 20).reserve_bytes(u64::MAX)).expect("the store");
    db.flush().expect("sealing makes room in the end");
    db.wait_until_quiet().expect("nothing is left that could be done");
    let segments = db.snapshot().stats().expect("counters").segments;
    assert_eq!(segments, 2);
    let health = db.health().expect("its health");
    assert!(health.merges_put_off && health.poisoned.is_none(), "{health:?}");
    assert_eq!(health.state(), HealthState::Full);
    assert_full(&db.writer().commit(batch(8)).expect_err("what is left is kept"));
    assert_holds(&db, 8, 0);
    drop(db);

    let db = Db::open(place.path(), options(20)).expect("the store");
    db.wait_until_quiet().expect("quiet");
    assert!(db.snapshot().stats().expect("counters").segments < segments);
    let health = db.health().expect("its health");
    assert_eq!((health.merges_put_off, health.state()), (false, HealthState::Good));
    assert_holds(&db, 8, 0);
}
