//! A disk that fills up, is read while full, and gets room again. Needs to mount a small file system.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use ofone::{Db, ErrorKind, HealthState};
use tempfile::TempDir;

use crate::ordeal::{Feed, Oracle, Ordeal, Scope, scramble};
use crate::shim::skipped;
use crate::support::{options, setting};

/// A file system in memory; gone when dropped.
struct Small {
    place: TempDir,
}

impl Small {
    fn mount(mebibytes: u64) -> Option<Small> {
        let place = TempDir::new().expect("a temporary directory");
        let size = format!("size={mebibytes}m,mode=0700");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(place.path()).output();
        done.is_ok_and(|output| output.status.success()).then_some(Small { place })
    }

    /// Takes all room but `left` bytes.
    fn squeeze(&self, left: u64) {
        let mut ballast = File::create(self.ballast()).expect("a file");
        let mut length = 0;
        while let Ok(written) = ballast.write(&[0; 64 << 10]) {
            length += written as u64;
        }
        ballast.set_len(length.saturating_sub(left)).expect("it shrinks");
    }

    fn relieve(&self) {
        fs::remove_file(self.ballast()).expect("the ballast is thrown off");
    }

    fn ballast(&self) -> PathBuf {
        self.place.path().join("ballast")
    }

    fn path(&self) -> PathBuf {
        self.place.path().join("store")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.place.path()).status();
    }
}

/// Room that the store keeps for itself.
const RESERVE_BYTES: u64 = 256 << 10;

fn open(store: &Path) -> ofone::Result<Db> {
    Db::open(store, options(1000).reserve_bytes(RESERVE_BYTES).preallocate(true))
}

/// Commits until a commit fails. After a write that failed nothing is acknowledged.
fn fill(db: &Db, feed: Feed, oracle: &mut Oracle) -> ofone::Error {
    let mut batch = 0;
    while batch < 100_000 {
        match db.writer().commit(feed.batch(batch)) {
            Ok(_) => {
                oracle.acknowledge(feed, batch);
                batch += 1;
            }
            Err(error) => {
                let health = db.health().expect("its health");
                let Some(first) = health.poisoned else {
                    assert_eq!(error.kind(), ErrorKind::DiskFull);
                    // What was on loan for a seal may be back by now.
                    if health.state() == HealthState::Full {
                        return error;
                    }
                    continue;
                };
                assert_eq!(first.kind(), ErrorKind::DiskFull, "{first:?}");
                let after = db.writer().commit(feed.batch(batch + 1));
                assert_eq!(after.expect_err("the store is closed for writing").kind(), ErrorKind::Poisoned);
                return error;
            }
        }
    }
    panic!("the disk never fills")
}

/// Every event of the cycle's customer is read while the disk is full.
fn read(db: &Db, feed: Feed, acknowledged: u64) {
    let expected: u64 = (0..acknowledged).map(|batch| feed.batch_events(batch)).sum();
    let stream = db.snapshot().stream(feed.customer()).run().expect("a stream");
    let events = stream.collect::<ofone::Result<Vec<_>>>().expect("items").len() as u64;
    assert!(events >= expected, "{events} of {expected} events are read while the disk is full");
}

fn cycles(small: &Small, cycles: u64, seed: u64) {
    let store = small.path();
    let mut ordeal = Ordeal::at(store.clone(), Oracle::default());
    let (mut told, mut opened) = (0, 0);
    for cycle in 0..cycles {
        let feed = Feed { generation: cycle, writer: 0 };
        ordeal.expect_life(cycle);
        let db = open(&store).expect("it opens with room");
        small.squeeze((1 << 20) + scramble(&[seed, cycle]) % (2 << 20));
        let error = fill(&db, feed, &mut ordeal.oracle);
        assert!(matches!(error.kind(), ErrorKind::DiskFull | ErrorKind::Poisoned), "cycle {cycle}: {error:?}");
        told += u64::from(error.kind() == ErrorKind::DiskFull);
        read(&db, feed, ordeal.oracle.acknowledged_of(feed));
        drop(db);
        match open(&store) {
            Ok(db) => {
                opened += 1;
                read(&db, feed, ordeal.oracle.acknowledged_of(feed));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::DiskFull, "cycle {cycle}: {error:?}"),
        }
        small.relieve();
        assert_eq!(ordeal.problems(Scope::New), Vec::<String>::new(), "cycle {cycle}");
    }
    assert_eq!(ordeal.problems(Scope::All), Vec::<String>::new(), "at the end");
    let acknowledged: u64 = ordeal.feeds.iter().map(|&feed| ordeal.oracle.acknowledged_of(feed)).sum();
    eprintln!("{cycles} times full, {acknowledged} batches; DiskFull at once {told} times, opened while full {opened}");
}

#[test]
fn a_full_disk_is_told_read_from_and_written_again_once_there_is_room() {
    let (rounds, seed) = (setting("OFONE_FULL_CYCLES", 20), setting("OFONE_FULL_SEED", 1));
    eprintln!("as in: OFONE_FULL_SEED={seed}");
    match Small::mount(128) {
        Some(small) => cycles(&small, rounds, seed),
        None => skipped("a full disk", "mounting a small file system is not allowed"),
    }
}
