//! One process looks into a store that another is writing.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ofone::{Batch, Db, ErrorKind, Snapshot};

use crate::live::{CUSTOMERS, batch, look};
use crate::support::{contents, event, open, options, scratch, setting};

/// A writing process whose parent is gone ends by itself after this.
const CHILD_LIFE: Duration = Duration::from_secs(60);
/// Events of a segment: small, so that seals and merges never stop.
const SEGMENT: usize = 500;

/// Not a test of its own: the writing process, when the environment says so.
#[test]
fn child_writes_until_killed() {
    let Ok(path) = std::env::var("OFONE_LIVE_CHILD") else { return };
    let begin = Instant::now();
    let db = Db::open(path, options(SEGMENT)).expect("the store opens");
    let writer = db.writer();
    for number in db.snapshot().commit().. {
        writer.commit(batch(number)).expect("a commit");
        if std::io::stdout().write_all(b"\nack\n").is_err() || begin.elapsed() > CHILD_LIFE {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A process that writes one batch after the other until it is dropped, which kills it.
pub(super) struct WritingProcess {
    child: Child,
    /// Commits acknowledged since it started.
    pub(super) acknowledged: Arc<AtomicU64>,
    /// Whether it says no more.
    ended: Arc<AtomicBool>,
}

impl WritingProcess {
    pub(super) fn start(store: &Path) -> WritingProcess {
        let mut child = Command::new(std::env::current_exe().expect("this binary has a path"))
            .args(["--exact", "live_view::child_writes_until_killed", "--nocapture", "--test-threads", "1"])
            .env("OFONE_LIVE_CHILD", store)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the writing process starts");
        let lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        let acknowledged = Arc::new(AtomicU64::new(0));
        let ended = Arc::new(AtomicBool::new(false));
        let (count, at_end) = (acknowledged.clone(), ended.clone());
        thread::spawn(move || {
            for _ in lines.map_while(Result::ok).filter(|line| line == "ack") {
                count.fetch_add(1, Ordering::Release);
            }
            at_end.store(true, Ordering::Release);
        });
        WritingProcess { child, acknowledged, ended }
    }

    pub(super) fn wait_for(&self, commits: u64) {
        while self.acknowledged.load(Ordering::Acquire) < commits {
            assert!(!self.ended.load(Ordering::Acquire), "the writing process has ended before {commits} commits");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(super) fn lives(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }
}

impl Drop for WritingProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn check(snapshot: &Snapshot) {
    for customer in 0..CUSTOMERS {
        look(snapshot, customer);
    }
    let report = snapshot.check().expect("a check");
    assert_eq!((report.problems, report.problems_unlisted), (Vec::<String>::new(), 0));
}

#[test]
fn looks_from_another_process_see_all_that_was_acknowledged_and_only_whole_commits() {
    let place = scratch();
    let path = place.path().join("store");
    let mut writer = WritingProcess::start(&path);
    writer.wait_for(1);
    let until = Instant::now() + Duration::from_secs(setting("OFONE_LIVE_SECONDS", 4));
    let (mut looks, mut last) = (0, 0);
    let mut old = Vec::new();
    while Instant::now() < until {
        let acknowledged = writer.acknowledged.load(Ordering::Acquire);
        let snapshot = Db::look(&path, options(SEGMENT)).expect("a look");
        assert!(snapshot.commit() >= acknowledged.max(last), "{} < {acknowledged}, {last}", snapshot.commit());
        assert!(snapshot.commit_time(snapshot.commit()).expect("a read").is_some());
        last = snapshot.commit();
        check(&snapshot);
        looks += 1;
        if looks % 8 == 1 {
            old.push(snapshot);
        }
    }
    // What earlier looks saw is merged away meanwhile, and stays readable.
    old.iter().for_each(check);
    assert!(writer.lives(), "the writer did not notice");
    let acknowledged = writer.acknowledged.load(Ordering::Acquire);
    drop((writer, old));
    eprintln!("{looks} looks beside {acknowledged} commits");

    let before = contents(&path);
    let dead = Db::look(&path, options(SEGMENT)).expect("a look at what the dead left");
    check(&dead);
    assert_eq!(contents(&path), before, "a look changes nothing");
    let db = open(&path, SEGMENT);
    assert!(db.snapshot().commit() >= acknowledged);
    assert_eq!(db.snapshot().commit(), dead.commit(), "an open recovers what a look saw");
    check(&db.snapshot());
    db.wait_until_quiet().expect("quiet");
    check(&dead);
}

#[test]
fn a_look_at_a_store_that_lacks_a_file_fails() {
    let place = scratch();
    let path = place.path().join("store");
    let db = open(&path, SEGMENT);
    for number in 0..4 {
        db.writer().commit(batch(number)).expect("a commit");
    }
    db.wait_until_quiet().expect("quiet");
    drop(db);
    check(&Db::look(&path, options(SEGMENT)).expect("a look"));
    let files: Vec<PathBuf> = contents(&path.join("db")).into_keys().collect();
    let sorted: Vec<&PathBuf> = files.iter().filter(|path| path.extension().is_some_and(|it| it == "sst")).collect();
    assert!(sorted.len() > 2, "{files:?}");
    for file in sorted {
        let aside = place.path().join("aside");
        fs::rename(file, &aside).expect("it is taken away");
        assert!(Db::look(&path, options(SEGMENT)).is_err(), "without {}", file.display());
        fs::rename(&aside, file).expect("it is put back");
    }
}

#[test]
fn a_look_takes_no_lock_and_stays_what_it_was() {
    let place = scratch();
    let path = place.path().join("store");
    assert_eq!(Db::look(&path, options(SEGMENT)).err().map(|error| error.kind()), Some(ErrorKind::NotFound));
    let db = open(&path, SEGMENT);
    let empty = Db::look(&path, options(SEGMENT)).expect("a look at an empty store");
    assert_eq!((empty.commit(), empty.customers().count()), (0, 0));
    let mut batch = Batch::new();
    batch.event(event(5, "a", "customer:C"));
    db.writer().commit(batch).expect("a commit");
    let look = Db::look(&path, options(SEGMENT)).expect("a look in the same process");
    drop(db);
    let db = open(&path, SEGMENT);
    assert_eq!((empty.commit(), look.commit(), db.snapshot().commit()), (0, 1, 1));
    assert_eq!(look.stream("C").run().expect("a stream").count(), 1);
    assert_eq!(empty.stream("C").run().expect("a stream").count(), 0);
}
