//! What a store tells about itself: numbers, and spans without anything of what is stored.

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ofone::{Batch, Entity, Event, Link, Retention};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

use crate::support::{at, link, open, options, scratch};

/// In every text that is stored.
const CANARY: &str = "canary4711";

fn batch(number: u64) -> Batch {
    let named = |name: &str| format!("{name}-{CANARY}-{number}");
    let mut batch = Batch::new();
    batch.link(Link::new(Entity::customer(named("c")), "uses", Entity::new("service", named("s"))));
    for index in 0..10 {
        let event = Event::new(at((number * 10 + index).cast_signed()), "feed", "thing.happened");
        batch.event(
            event.id(named(&index.to_string())).subject(Entity::new("service", named("s"))).attribute("note", CANARY),
        );
    }
    batch
}

#[test]
fn the_numbers_follow_what_was_done() {
    let place = scratch();
    let db = open(place.path(), 50);
    assert_eq!(db.metrics().commits, 0);
    for number in 0..40 {
        db.writer().commit(batch(number)).expect("a commit");
    }
    db.flush().expect("a flush");
    db.wait_until_quiet().expect("quiet");
    let metrics = db.metrics();
    assert_eq!((metrics.commits, metrics.records), (40, 40 * 11));
    assert!((1..=40).contains(&metrics.commit_groups) && metrics.largest_group >= 1);
    assert!(metrics.log_bytes > 400 * 20, "{metrics:?}");
    assert!(metrics.seals >= 8 && metrics.sealed_events == 400, "{metrics:?}");
    assert!(metrics.merges >= 1 && metrics.merged_rows > 0, "{metrics:?}");
    assert!(metrics.commit_time > std::time::Duration::ZERO && metrics.seal_time > std::time::Duration::ZERO);
    assert_eq!((metrics.background_errors, metrics.requests_waiting), (0, 0));

    let read = |db: &ofone::Db| db.snapshot().stream(format!("c-{CANARY}-3")).run().expect("a stream").count();
    assert_eq!(read(&db), 10);
    let cold = db.metrics();
    assert_eq!(read(&db), 10);
    let warm = db.metrics();
    assert!(cold.number_cache.misses > 0 && warm.number_cache.hits > cold.number_cache.hits, "{warm:?}");
    assert!(warm.link_cache.hits > cold.link_cache.hits, "{warm:?}");
    assert_eq!(warm.name_cache.misses, cold.name_cache.misses, "names told once are known");
}

/// Keeps the names of spans and events, and whatever their fields say.
struct Listener(AtomicU64);

static HEARD: Mutex<(BTreeSet<String>, String)> = Mutex::new((BTreeSet::new(), String::new()));

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        *self.0 += &format!("{field}={value:?} ");
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ofone")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut heard = HEARD.lock().expect("a lock");
        heard.0.insert(span.metadata().name().to_owned());
        span.record(&mut Fields(&mut heard.1));
        Id::from_u64(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut heard = HEARD.lock().expect("a lock");
        event.record(&mut Fields(&mut heard.1));
    }

    fn record(&self, _span: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&mut HEARD.lock().expect("a lock").1));
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

/// A listener is for a whole process: this test listens in one of its own.
#[test]
fn child_listens() {
    let Some(place) = std::env::var_os("OFONE_LISTEN_AT").map(std::path::PathBuf::from) else { return };
    tracing::subscriber::set_global_default(Listener(AtomicU64::new(0))).expect("nobody listens yet");
    let db = open(&place, 50);
    for number in 0..40 {
        db.writer().commit(batch(number)).expect("a commit");
    }
    let mut odd = Batch::new();
    odd.link(link(&format!("customer:{CANARY}"), "uses", &format!("customer:{CANARY}")));
    odd.event(Event::new(at(5), "feed", "thing.happened").id(format!("3-{CANARY}-1")).end(at(1)));
    db.writer().commit(odd).expect("a commit");
    db.flush().expect("a flush");
    db.wait_until_quiet().expect("quiet");
    db.retain(&Retention::before(at(2)).max_share(1.0)).expect("a retention");
    db.erase(CANARY).expect_err("nobody of that name");
    db.check().expect("a check");
    drop(ofone::Db::look(&place, options(50)).expect("a look"));
    let copies = place.join("copies");
    let folder = ofone::backup::BackupFolder::at(&copies);
    folder.add(&place).expect("a backup");
    let metrics = db.metrics();
    assert!(metrics.retentions == 1 && metrics.retained_away > 0, "{metrics:?}");
    let db = db.reopen().expect("it opens again");
    let opened = ofone::Db::open(&place, options(50)).map(|_| ());
    assert!(opened.is_err(), "it is open");
    drop(db);
    let heard = HEARD.lock().expect("a lock");
    for span in ["open", "commit", "seal", "merge", "drop", "retain", "check", "look", "backup"] {
        assert!(heard.0.contains(span), "{:?}", heard.0);
    }
    for told in ["recovered", "batches=1 records=11", "last_commit=41"] {
        assert!(heard.1.contains(told), "{}", heard.1);
    }
    assert!(!heard.1.contains(CANARY), "{}", heard.1);
    eprintln!("heard {} bytes", heard.1.len());
}

#[test]
fn spans_tell_what_a_store_does_and_nothing_of_what_it_holds() {
    let place = scratch();
    let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
    command.args(["--exact", "observe::child_listens", "--nocapture", "--test-threads", "1"]);
    let output = command.env("OFONE_LISTEN_AT", place.path()).output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("heard"), "{told}");
}
