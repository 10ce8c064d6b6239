use super::*;
use crate::codec::key;
use crate::model::{Entity, Event, Link, Outcome, Rejection, Severity, Timestamp};
use crate::store::{Family, Store};
use crate::{Bucket, Expr, Predicate, Score};

/// A store with one sealed segment: instants and stretches, texts, severities, what a component felt, a
/// service of two customers and a customer of another, the last two stated late.
fn sealed() -> (tempfile::TempDir, Db) {
    let place = tempfile::tempdir().unwrap();
    let db = Db::open(place.path().join("store"), Options::new().durability(Durability::Os)).unwrap();
    let customer = |number: i64| Entity::customer(format!("C{number}"));
    let service = |number: i64| Entity::new("service", number.to_string());
    let (mut early, mut batch) = (Batch::new(), Batch::new());
    for number in 0..50i64 {
        early.link(Link::new(customer(number), "uses", service(number)));
        early.link(Link::new(service(number), "fed_by", Entity::new("olt", (number % 4).to_string())));
        let event = |kind: &str| Event::new(Timestamp::from_secs(number), "ran", kind).id(number.to_string());
        let lost = event("session.lost").severity(Severity::new((number % 25) as u8).unwrap());
        let lost = lost.subject(service(number)).attribute("cause", if number % 3 == 0 { "power" } else { "reset" });
        batch.event(lost.context(Entity::new("cell", (number % 3).to_string())));
        let end = Timestamp::from_secs(number + 1 + number % 9);
        batch.event(event("call.made").end(end).subject(customer(number)).value(number as f64));
        batch.event(event("alarm.raised").subject(Entity::new("olt", (number % 4).to_string())));
    }
    db.writer().commit(early).unwrap();
    db.writer().commit(batch).unwrap();
    let mut late = Batch::new();
    late.link(Link::new(customer(2), "uses", service(1)));
    late.link(Link::new(customer(4), "pays_for", customer(3)));
    db.writer().commit(late).unwrap();
    db.flush().unwrap();
    assert_eq!(db.check().unwrap().problems, Vec::<String>::new());
    (place, db)
}

fn entries(store: &Store, family: Family) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut cursor = store.cursor(family, false);
    let mut found = Vec::new();
    let mut entry = cursor.seek(&[]).unwrap();
    while let Some((key, value)) = entry {
        found.push((key.to_vec(), value.to_vec()));
        entry = cursor.advance().unwrap();
    }
    found
}

/// Writes past all rules.
fn alter(db: &Db, change: impl FnOnce(&Store, &mut StoreBatch)) {
    let store = &db.inner.engine.lookup.store;
    let mut batch = StoreBatch::default();
    change(store, &mut batch);
    store.write(batch, false).unwrap();
    db.inner.ask(|reply| Request::Refresh { reply }).unwrap();
}

/// What a check tells once that was done.
fn told(db: &Db, change: impl FnOnce(&Store, &mut StoreBatch)) -> Vec<String> {
    alter(db, change);
    db.check().unwrap().problems
}

/// Asks what pages and books decide; an error must be `Corrupt` and name a place. Returns how many failed.
fn failures(db: &Db) -> usize {
    let snapshot = db.snapshot();
    let sets = [
        "did(any, n >= 2)",
        "did(kind = session.lost and severity >= 9 and attr.cause = power, since 1970-01-01T00:00:07Z)",
        "did(kind = call.made, during [1970-01-01T00:00:10.5Z, 1970-01-01T00:00:10.6Z))",
        "did(kind = alarm.raised, n >= 3, until 1970-01-01T00:00:30Z)",
        "did(about = service:7) or did(with in (cell:1, cell:2))",
        "seq(kind = session.lost -> kind = call.made, within 3s)",
    ];
    let set = |text: &str| snapshot.who(text.parse::<Expr>().unwrap()).run().map(|_| ());
    let what = || Predicate::kind("session.lost");
    let timeline = snapshot.timeline(what()).every(Bucket::Length(1 << 30)).run().map(|_| ());
    let top = snapshot.top_customers(what(), Score::Events).limit(9).run().map(|_| ());
    let outcomes = sets.iter().map(|text| set(text)).chain([timeline, top]);
    let failures = outcomes.filter_map(Result::err).inspect(|error| {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.place().is_some(), "{error}");
    });
    failures.count()
}

#[test]
fn a_check_tells_of_an_index_that_differs_from_its_rows() {
    let (_place, db) = sealed();
    let whole = entries(&db.inner.engine.lookup.store, Family::Index);
    let tables: Vec<u8> = whole.iter().map(|(key, _)| key[6]).collect();
    assert!(tables.contains(&key::BOOK) && tables.contains(&key::PAGE), "{tables:?}");
    for (key, value) in whole {
        let place = if key[6] == key::PAGE { "index page of kind" } else { "entity book from entity" };
        let altered = [&value[..], &[0]].concat();
        let problems = told(&db, |store, batch| batch.put(store, Family::Index, &key, &altered));
        assert!(problems.len() == 1 && problems[0].starts_with(place), "{problems:?}");
        assert!(problems[0].contains("segment"), "{problems:?}");
        let problems = told(&db, |store, batch| batch.delete(store, Family::Index, &key));
        assert!(problems.len() == 1 && problems[0].ends_with("is missing"), "{problems:?}");
        let problems = told(&db, |store, batch| batch.put(store, Family::Index, &key, &value));
        assert_eq!(problems, Vec::<String>::new());
    }
}

#[test]
fn a_check_tells_of_an_index_without_rows_to_compare_it_with() {
    let (_place, db) = sealed();
    let (row, _) = entries(&db.inner.engine.lookup.store, Family::Rows).swap_remove(0);
    let problems = told(&db, |store, batch| batch.put(store, Family::Rows, &row, &[9]));
    assert!(problems.iter().any(|problem| problem.contains("is not compared")), "{problems:?}");
    assert!(!problems.iter().any(|problem| problem.contains("index page")), "{problems:?}");
}

/// RocksDB's checksums would tell of such bytes before anyone asks; that they are written with good ones
/// stands for whatever else may go wrong.
#[test]
fn a_check_tells_of_what_would_no_longer_be_known_again() {
    let (_place, db) = sealed();
    let parts = entries(&db.inner.engine.lookup.store, Family::Dedupe);
    assert_eq!(parts.len(), 2, "a filter and an index");
    for (key, value) in &parts {
        let place = "what is known of seal";
        let problems = told(&db, |store, batch| batch.put(store, Family::Dedupe, key, &[0xff; 3]));
        assert!(problems.iter().any(|problem| problem.starts_with(place)), "{problems:?}");
        // All other parts of the check are done.
        assert!(problems.len() <= 2, "{problems:?}");
        assert_eq!(db.check().unwrap().rows, 50);
        let problems = told(&db, |store, batch| batch.put(store, Family::Dedupe, key, value));
        assert_eq!(problems, Vec::<String>::new());
    }
    let foreign = crate::codec::filter::FilterPart::build(&[1, 2, 3]);
    let filter = &parts[0].0;
    let problems = told(&db, |store, batch| batch.put(store, Family::Dedupe, filter, foreign.as_bytes()));
    assert!(problems.len() > 45 && problems.iter().all(|problem| problem.contains("no seal knows it")), "{problems:?}");
    let problems = told(&db, |store, batch| batch.delete(store, Family::Dedupe, filter));
    assert_eq!(problems.len(), 50, "{problems:?}");
}

#[test]
fn a_check_tells_of_names_cohorts_and_times_that_cannot_be() {
    let (_place, db) = sealed();
    let cohort = db.snapshot().who(Expr::did(Predicate::Any)).run().unwrap();
    db.save_cohort("all", &cohort).unwrap();
    let (name, time) = ([&[0, 0, 0, 0][..], b"nobody"].concat(), meta_like(&db, b"times/").remove(0));
    for (number, says) in [(7u32, "leads to entity 7"), (4_000_000, "leads to entity 4000000")] {
        let problems = told(&db, |store, batch| batch.put(store, Family::Names, &name, &key::number(number)));
        assert!(problems.len() == 1 && problems[0].contains(says), "{problems:?}");
    }
    let problems = told(&db, |store, batch| batch.delete(store, Family::Names, &name));
    assert_eq!(problems, Vec::<String>::new());
    let problems = told(&db, |store, batch| batch.put(store, Family::Meta, b"cohort/all", &[7]));
    assert!(problems.len() == 1 && problems[0].contains("cohort `all`"), "{problems:?}");
    let problems = told(&db, |store, batch| batch.put(store, Family::Meta, b"cohort/\xff", &[7]));
    assert!(problems.len() == 2 && problems[1].contains("UTF-8"), "{problems:?}");
    let problems = told(&db, |store, batch| batch.put(store, Family::Meta, &time.0, &[7]));
    assert!(problems.len() == 3 && problems[2].contains("commit times"), "{problems:?}");
}

#[test]
fn no_byte_of_an_index_makes_a_question_panic() {
    let (place, db) = sealed();
    let whole = entries(&db.inner.engine.lookup.store, Family::Index);
    let (mut db, mut failed, mut altered) = (Some(db), 0, 0);
    for (key, value) in whole {
        for (turn, at) in (0..value.len()).step_by(3).enumerate() {
            let mut wrong = value.clone();
            wrong[at] ^= [1, 0x80, 0xff, 0x10][turn % 4];
            if turn % 8 == 7 {
                wrong.truncate(at);
            }
            alter(db.as_ref().unwrap(), |store, batch| batch.put(store, Family::Index, &key, &wrong));
            // Nothing is remembered from before.
            drop(db.take());
            let again = Db::open(place.path().join("store"), Options::new().durability(Durability::Os)).unwrap();
            failed += failures(&again);
            altered += 1;
            let problems = again.check().unwrap().problems;
            assert!(problems.len() == 1 && problems[0].contains("differs from its rows"), "{problems:?}");
            alter(&again, |store, batch| batch.put(store, Family::Index, &key, &value));
            db = Some(again);
        }
    }
    assert!(altered > 100 && failed > altered / 8, "{failed} questions failed over {altered} changes");
    assert_eq!(failures(db.as_ref().unwrap()), 0);
}

#[test]
fn a_check_tells_of_suspects_that_are_not_noted() {
    let (_place, db) = sealed();
    let noted = |(key, value): (Vec<u8>, Vec<u8>)| key.starts_with(key::SUSPECT).then_some((key, value));
    let notes: Vec<_> = entries(&db.inner.engine.lookup.store, Family::Meta).into_iter().filter_map(noted).collect();
    let mut missed = Vec::new();
    for (key, value) in notes {
        missed.extend(told(&db, |store, batch| batch.delete(store, Family::Meta, &key)));
        alter(&db, |store, batch| batch.put(store, Family::Meta, &key, &value));
    }
    assert_eq!(missed.len(), 3, "a service of two, a customer of another and its service: {missed:?}");
    assert!(missed.iter().all(|problem| problem.contains("is no suspect")), "{missed:?}");
}

#[test]
fn a_check_tells_of_suspects_that_no_commit_can_have_noted() {
    let (_place, db) = sealed();
    let known = key::suspect(0);
    assert_eq!(told(&db, |store, batch| batch.put(store, Family::Meta, &known, &[])), Vec::<String>::new());
    let unknown = key::suspect(77);
    let problems = told(&db, |store, batch| {
        batch.put(store, Family::Meta, &known, b"x");
        batch.put(store, Family::Meta, &unknown, &[]);
        batch.put(store, Family::Meta, &known[..9], &[]);
    });
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems.iter().all(|problem| problem.starts_with("suspect")), "{problems:?}");
    // Notes behind one that does not decode must not be lost.
    let error = db.snapshot().who(Expr::did(Predicate::Any)).run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

/// A store with a count that has a row, and links in quarantine behind it.
fn crowded() -> (tempfile::TempDir, Db) {
    let place = tempfile::tempdir().unwrap();
    let db = Db::open(place.path().join("store"), crowded_options()).unwrap();
    let crowd = (0..80).map(|number| Link::new(Entity::customer(number.to_string()), "fed_by", olt()));
    let receipt = db.writer().commit(crowd.map(Record::from).collect()).unwrap();
    assert_eq!((receipt.inserted(), receipt.quarantined()), (70, 10));
    (place, db)
}

fn crowded_options() -> Options {
    let limits = Limits { links_to: 70, ..Limits::default() };
    Options::new().durability(Durability::Os).limits(limits)
}

fn olt() -> Entity {
    Entity::new("olt", "1")
}

fn meta_like(db: &Db, first: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = entries(&db.inner.engine.lookup.store, Family::Meta);
    found.retain(|(key, _)| key.starts_with(first));
    found
}

#[test]
fn a_check_tells_of_a_quarantine_and_counts_that_do_not_agree() {
    let (_place, db) = crowded();
    assert_eq!(db.check().unwrap().problems, Vec::<String>::new());
    let held = meta_like(&db, key::QUARANTINE);
    assert_eq!(held.len(), 20, "both ends of each");
    for (key, value) in &held {
        let problems = told(&db, |store, batch| batch.delete(store, Family::Meta, key));
        assert!(!problems.is_empty() && problems.iter().any(|problem| problem.contains("quarantine")), "{problems:?}");
        let problems = told(&db, |store, batch| batch.put(store, Family::Meta, key, b"x"));
        assert!(problems.iter().any(|problem| problem.contains("quarantine")), "{problems:?}");
        alter(&db, |store, batch| batch.put(store, Family::Meta, key, value));
    }
    let (key, value) = &held[0];
    let in_force = &key[key::QUARANTINE.len()..];
    let problems = told(&db, |store, batch| batch.put(store, Family::Links, in_force, value));
    assert!(problems.iter().any(|problem| problem.contains("is in force too")), "{problems:?}");
    alter(&db, |store, batch| batch.delete(store, Family::Links, in_force));
    for (key, value) in [meta_like(&db, key::QUARANTINED), meta_like(&db, key::DEGREE)].concat() {
        let problems = told(&db, |store, batch| batch.put(store, Family::Meta, &key, &[9]));
        assert!(problems.len() == 1 && problems[0].contains("where 9 are counted"), "{problems:?}");
        let problems = told(&db, |store, batch| batch.put(store, Family::Meta, &key, &value));
        assert_eq!(problems, Vec::<String>::new());
    }
    assert_eq!(meta_like(&db, key::DEGREE).len(), 1, "only what is large has a row");
}

#[test]
fn counts_that_an_earlier_build_did_not_keep_are_made_anew() {
    let (place, db) = crowded();
    let (degree, _) = meta_like(&db, key::DEGREE).swap_remove(0);
    alter(&db, |store, batch| batch.delete(store, Family::Meta, &degree));
    drop(db);
    let db = Db::open(place.path().join("store"), crowded_options()).unwrap();
    let mut one_more = Batch::new();
    one_more.link(Link::new(Entity::customer("new"), "fed_by", olt()));
    assert_eq!(db.writer().commit(one_more).unwrap().quarantined(), 1);
    let first = Link::new(Entity::customer("79"), "fed_by", olt());
    assert_eq!(db.promote([first]).unwrap().inserted(), 1);
    assert_eq!(meta_like(&db, &degree), [(degree.clone(), vec![71])], "kept from the next change on");
    assert_eq!(db.check().unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_commit_that_is_gone_from_the_log_is_told_at_open() {
    let place = tempfile::tempdir().unwrap();
    let open = || Db::open(place.path().join("store"), Options::new().durability(Durability::Os));
    let db = open().unwrap();
    for number in 0..3 {
        let mut batch = Batch::new();
        batch.event(Event::new(Timestamp::from_secs(number), "ran", "told").subject(Entity::customer("C1")));
        db.writer().commit(batch).unwrap();
    }
    let second = entries(&db.inner.engine.lookup.store, Family::Log)[1].0.clone();
    alter(&db, |store, batch| batch.delete(store, Family::Log, &second));
    drop(db);
    let error = open().unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Corrupt, "commit 2 is missing"));
}

#[test]
fn a_record_that_needs_a_number_when_none_is_left_is_rejected_alone() {
    let (place, db) = sealed();
    let (_, name) = entries(&db.inner.engine.lookup.store, Family::Numbers).swap_remove(0);
    alter(&db, |store, batch| batch.put(store, Family::Numbers, &key::number((1 << 31) - 1), &name));
    drop(db);
    let db = Db::open(place.path().join("store"), Options::new().durability(Durability::Os)).unwrap();
    let mut batch = Batch::new();
    for name in ["C1", "new"] {
        batch.event(Event::new(Timestamp::from_secs(99), "ran", "told").subject(Entity::customer(name)));
        batch.link(Link::new(Entity::customer(name), "uses", Entity::new("service", "new")));
    }
    let receipt = db.writer().commit(batch).unwrap();
    assert_eq!((receipt.inserted(), receipt.rejected()), (2, 2), "{receipt:?}");
    assert_eq!(receipt.outcomes()[2], Outcome::Rejected(Rejection::new("more than 2147483648 entities of the kind")));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_that_tests_from_inside_show_are_caught() {
    let shown = [
        ("forget-erasure", "an_erasure_that_a_crash_cuts_short_is_done_when_the_store_is_opened"),
        ("ignore-gap", "a_commit_that_is_gone_from_the_log_is_told_at_open"),
    ];
    for (bug, test) in shown {
        let passes = |bug: &str| {
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", &format!("db::tests::{test}")]);
            command.env("OFONE_BUG", bug).output().unwrap().status.success()
        };
        assert!(passes("none"), "{test}");
        assert!(!passes(bug), "`{bug}` went unnoticed");
    }
}

/// Of the customer's events one is sealed, one is in memory only.
#[test]
fn an_erasure_that_a_crash_cuts_short_is_done_when_the_store_is_opened() {
    use crate::ingest::{Stop, erase_in_part};
    for stop in [Stop::Ledger, Stop::Rewriting, Stop::Publication] {
        let (place, db) = sealed();
        let mut batch = Batch::new();
        let unsealed = Event::new(Timestamp::from_secs(99), "ran", "call.made").id("unsealed");
        batch.event(unsealed.subject(Entity::customer("C7")));
        db.writer().commit(batch).unwrap();
        let before = db.snapshot().stats().unwrap();
        erase_in_part(&db.inner.engine, db.inner.threads.requests.as_ref(), &Text::from("C7"), stop).unwrap();
        let mut late = Batch::new();
        late.event(Event::new(Timestamp::from_secs(1), "ran", "call.made").subject(Entity::customer("C7")));
        assert_eq!(db.writer().commit(late.clone()).unwrap().rejected(), 1, "refused from the first step on");
        let look = Db::look(place.path().join("store"), Options::new()).unwrap();
        let whole = stop != Stop::Publication;
        assert_eq!(look.entity(&Entity::customer("C7")).unwrap().is_some(), whole, "whole or not at all");
        assert_eq!(look.stream("C7").run().unwrap().count() > 0, whole);
        assert_eq!(look.check().unwrap().problems, Vec::<String>::new());
        drop(look);
        drop(db);
        for _ in 0..2 {
            let db = Db::open(place.path().join("store"), Options::new().durability(Durability::Os)).unwrap();
            let snapshot = db.snapshot();
            assert!(snapshot.entity(&Entity::customer("C7")).unwrap().is_none());
            assert!(snapshot.entity(&Entity::new("service", "7")).unwrap().is_none());
            assert_eq!(db.writer().commit(late.clone()).unwrap().rejected(), 1);
            let after = snapshot.stats().unwrap();
            assert_eq!((after.customers, after.links), (before.customers - 1, before.links - 2));
            assert_eq!(after.events, before.events - 2);
            assert_eq!(db.check().unwrap().problems, Vec::<String>::new());
            assert!(db.traces("unsealed").unwrap().is_empty(), "{:?}", db.traces("unsealed"));
        }
    }
}

/// Whatever comes after it may never end.
#[test]
fn a_flush_waits_for_what_was_there_and_for_nothing_later() {
    let (_place, db) = sealed();
    let mut batch = Batch::new();
    batch.event(Event::new(Timestamp::from_secs(1), "ran", "call.made").subject(Entity::customer("C1")));
    db.writer().commit(batch).unwrap();
    // A segment that is never sealed.
    db.inner.engine.work.lock().seals += 1;
    let (done, told) = std::sync::mpsc::channel();
    let other = db.clone();
    std::thread::spawn(move || done.send(other.flush()));
    let outcome = told.recv_timeout(std::time::Duration::from_secs(60));
    db.inner.engine.work.lock().seals -= 1;
    db.inner.engine.work_changed.notify_all();
    outcome.expect("it returns").unwrap();
    assert_eq!(db.snapshot().stats().unwrap().unsealed_events, 0);
}

/// Of an event without an id, which then says less, the same may come in while segments are written anew.
#[test]
fn what_an_erasure_is_about_to_publish_is_known_before_that() {
    use crate::ingest::{Stop, erase_in_part};
    let place = tempfile::tempdir().unwrap();
    let open = || Db::open(place.path().join("store"), Options::new().durability(Durability::Os)).unwrap();
    let db = open();
    let event = || Event::new(Timestamp::from_secs(1), "ran", "call.made").subject(Entity::customer("B"));
    let commit = |db: &Db, event: Event| {
        let mut batch = Batch::new();
        batch.event(event);
        db.writer().commit(batch).unwrap().outcomes()[0].clone()
    };
    assert_eq!(commit(&db, event().context(Entity::customer("A"))), Outcome::Inserted);
    erase_in_part(&db.inner.engine, db.inner.threads.requests.as_ref(), &Text::from("A"), Stop::Rewriting).unwrap();
    assert_eq!(commit(&db, event()), Outcome::Duplicate);
    assert_eq!(commit(&db, event().value(2.0)), Outcome::Inserted);
    drop(db);
    let db = open();
    assert_eq!(db.snapshot().stats().unwrap().events, 2);
    assert_eq!(commit(&db, event()), Outcome::Duplicate);
    assert_eq!(db.check().unwrap().problems, Vec::<String>::new());
}
