//! Readers beside writers, seals and merges: each snapshot is the store as of its commit, whole.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ofone::{Batch, Db, Snapshot};

use crate::support::{at, event, link, open, scratch, setting};

/// Events of each customer in a batch: one of its own, one of its service, one of what all share.
const EVENTS: usize = 3;
pub(super) const CUSTOMERS: usize = 4;

pub(super) fn batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    let time = i64::try_from(number % 1000).expect("small");
    for customer in 0..CUSTOMERS {
        let (customer, service) = (format!("customer:{customer}"), format!("service:{number}/{customer}"));
        batch.link(link(&customer, "uses", &service));
        batch.event(event(time, &format!("own-{number}-{customer}"), &customer));
        batch.event(event(time, &format!("fault-{number}-{customer}"), &service).end(at(time + 50)));
        batch.link(link(&customer, "hangs_on", "olt:K"));
    }
    batch.event(event(time, &format!("alarm-{number}"), "olt:K"));
    batch
}

/// Every batch up to the snapshot's commit, and nothing of a later one.
pub(super) fn look(snapshot: &Snapshot, customer: usize) {
    let commits = usize::try_from(snapshot.commit()).expect("small");
    let stream = snapshot.stream(customer.to_string()).run().expect("a stream");
    let events = stream.collect::<Result<Vec<_>, _>>().expect("items");
    assert_eq!(events.len(), commits * EVENTS, "commit {commits}");
    assert!(events.iter().all(|item| item.commit() <= snapshot.commit()));
    let stats = snapshot.stats().expect("counters");
    assert_eq!(stats.events, snapshot.commit() * (2 * CUSTOMERS as u64 + 1));
    let last = events.iter().max_by_key(|item| item.commit()).map(|item| item.event.name());
    if let Some(name) = last {
        assert!(snapshot.event(&name).expect("a lookup").is_some(), "{name}");
        assert!(!snapshot.why(customer.to_string(), &name).expect("both are known").paths.is_empty(), "{name}");
    }
}

fn write(db: &Db, until: Instant, done: &AtomicBool) -> u64 {
    let writer = db.writer();
    let mut number = 0;
    while Instant::now() < until {
        let pending: Vec<_> = (0..3).map(|ahead| writer.submit(batch(number + ahead)).expect("a submission")).collect();
        for pending in pending {
            assert_eq!(pending.wait().expect("a commit").conflicts(), 0);
        }
        number += 3;
        if number % 60 == 0 {
            db.flush().expect("a flush");
        }
        // Streams grow with every batch, and each look reads a whole one.
        thread::sleep(Duration::from_millis(2));
    }
    done.store(true, Ordering::Relaxed);
    number
}

#[test]
fn every_snapshot_is_the_store_as_of_its_commit_whatever_goes_on() {
    let place = scratch();
    let db = open(place.path(), 40);
    let until = Instant::now() + Duration::from_secs(setting("OFONE_LIVE_SECONDS", 4));
    let done = AtomicBool::new(false);
    let (commits, looks) = thread::scope(|scope| {
        let writer = scope.spawn(|| write(&db, until, &done));
        let readers: Vec<_> = (0..2)
            .map(|reader| {
                let (db, done) = (&db, &done);
                scope.spawn(move || {
                    let (mut looks, mut kept) = (0, db.snapshot());
                    while !done.load(Ordering::Relaxed) {
                        look(&db.snapshot(), (looks + reader) % CUSTOMERS);
                        // One that was taken before whatever was sealed and merged since.
                        look(&kept, looks % CUSTOMERS);
                        looks += 1;
                        if looks % 20 == 0 {
                            kept = db.snapshot();
                        }
                    }
                    looks
                })
            })
            .collect();
        let looks: usize = readers.into_iter().map(|reader| reader.join().expect("a reader")).sum();
        (writer.join().expect("the writer"), looks)
    });
    eprintln!("{commits} commits, {looks} looks");
    assert!(commits > 0 && looks > 0);
    db.wait_until_quiet().expect("quiet");
    (0..CUSTOMERS).for_each(|customer| look(&db.snapshot(), customer));
    assert_eq!(db.check().expect("a check").problems, Vec::<String>::new());
}
