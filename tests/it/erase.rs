//! Erasure and retention by example: late arrivals, what a snapshot holds back, bytes on disk, a crash in the
//! middle. `model_test.rs` and `cohort_test.rs` hold both against the naive database in random histories.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use ofone::backup::BackupFolder;
use ofone::{
    Batch, Db, Entity, ErrorKind, Event, EventName, Expr, Link, Options, Outcome, Predicate, Retention, Snapshot, Text,
    Timestamp, Value,
};

use crate::ordeal::scramble;
use crate::support::{at, entity, event, link, open, scratch, setting};

/// Why a record was refused.
fn refusals(db: &Db, batch: Batch) -> Vec<Option<String>> {
    let receipt = db.writer().commit(batch).unwrap();
    let reason = |outcome: &Outcome| match outcome {
        Outcome::Rejected(rejection) => Some(rejection.reason().to_owned()),
        _ => None,
    };
    receipt.outcomes().iter().map(reason).collect()
}

fn stream(db: &Db, customer: &str) -> Vec<Event> {
    let items = db.snapshot().stream(customer).run();
    items.map(|items| items.map(|item| item.unwrap().event).collect()).unwrap_or_default()
}

fn well(db: &Db) {
    assert_eq!(db.check().unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_snapshot_of_before_a_merge_finds_by_name_what_retention_removed_after_it() {
    let place = scratch();
    let db = open(place.path(), 1);
    let mut batch = Batch::new();
    batch.event(event(1, "first", "customer:A"));
    db.writer().commit(batch).unwrap();
    db.flush().unwrap();
    let snapshot = db.snapshot();
    let mut batch = Batch::new();
    batch.event(event(2, "second", "customer:A"));
    db.writer().commit(batch).unwrap();
    db.wait_until_quiet().unwrap();
    assert_eq!(db.snapshot().stats().unwrap().segments, 1, "merged");
    assert_eq!(db.retain(&Retention::before(at(9)).max_share(1.0)).unwrap().events, 2);
    let name = EventName { source: "feed".into(), id: "first".into(), time: at(1) };
    assert!(snapshot.event(&name).unwrap().is_some());
    drop(snapshot);
    db.wait_until_quiet().unwrap();
    assert!(db.traces("first").unwrap().rows.is_empty());
    well(&db);
}

/// Where events of the service lay stays known when all of them are gone.
#[test]
fn links_said_after_everything_was_removed_are_noted_as_any() {
    let place = scratch();
    let db = open(place.path(), 8);
    for (customer, name) in [("customer:A", "first"), ("customer:B", "second")] {
        let mut batch = Batch::new();
        batch.link(link(customer, "uses", "service:S"));
        db.writer().commit(batch).unwrap();
        let mut batch = Batch::new();
        batch.event(event(1, name, "service:S"));
        db.writer().commit(batch).unwrap();
        well(&db);
        if customer == "customer:A" {
            db.flush().unwrap();
            assert_eq!(db.retain(&Retention::before(at(9)).max_share(1.0)).unwrap().events, 1);
        }
    }
    assert_eq!((stream(&db, "A").len(), stream(&db, "B").len()), (1, 1));
}

/// Two customers of one OLT, each with a line of their own, and a call between them.
fn two() -> (tempfile::TempDir, Db) {
    let place = scratch();
    let db = open(place.path(), 8);
    let mut batch = Batch::new();
    for id in ["A", "B"] {
        batch.link(link(&format!("customer:{id}"), "uses", &format!("line:{id}")));
        batch.link(link(&format!("line:{id}"), "fed_by", "olt:1"));
        batch.event(event(5, &format!("ticket-{id}"), &format!("customer:{id}")));
        batch.event(event(6, &format!("flap-{id}"), &format!("line:{id}")));
    }
    batch.event(event(7, "alarm", "olt:1").context(entity("line:A")));
    batch.event(event(8, "call", "customer:A").subject(entity("customer:B")));
    db.writer().commit(batch).unwrap();
    (place, db)
}

#[test]
fn an_erased_customer_is_gone_and_others_keep_what_happened_to_them() {
    let (place, db) = two();
    let cohort = db.snapshot().who(Expr::did(Predicate::Any)).run().unwrap();
    db.save_cohort("all", &cohort).unwrap();
    let named: Expr = "did(about = customer:A)".parse().unwrap();
    db.save_cohort("named", &db.snapshot().who(named).run().unwrap()).unwrap();

    // It holds the snapshot that it came from.
    drop(cohort);
    let receipt = db.erase("A").unwrap();
    assert_eq!((receipt.ledger, receipt.entities, receipt.links), (1, 2, 2));
    assert_eq!((receipt.events, receipt.events_stripped, receipt.cohorts), (2, 2, 2));
    assert!(!receipt.held_back && receipt.segments > 0);
    let look = |db: &Db| {
        let snapshot = db.snapshot();
        assert_eq!(snapshot.customers().collect::<ofone::Result<Vec<Text>>>().unwrap(), ["B"]);
        for gone in ["customer:A", "line:A"] {
            assert!(snapshot.entity(&entity(gone)).unwrap().is_none(), "{gone}");
            assert!(snapshot.links(&entity(gone), None).unwrap().outgoing.is_empty());
        }
        assert_eq!(snapshot.links(&entity("olt:1"), None).unwrap().incoming.len(), 1);
        assert!(stream(db, "A").is_empty());
        let of_b = stream(db, "B");
        assert_eq!(
            of_b.iter().map(|event| event.id.clone().unwrap()).collect::<Vec<_>>(),
            ["ticket-B", "flap-B", "alarm", "call"]
        );
        assert!(of_b[2].context.is_empty());
        assert_eq!(of_b[3].subjects[..], [entity("customer:B")]);
        let everybody = snapshot.who("not did(kind = never)".parse::<Expr>().unwrap()).run().unwrap();
        assert_eq!(everybody.ids().collect::<ofone::Result<Vec<Text>>>().unwrap(), ["B"]);
        let saved = snapshot.cohorts().unwrap();
        // B took part in the call.
        assert_eq!(saved.iter().map(|saved| saved.customers).collect::<Vec<_>>(), [1, 1]);
        assert!(!saved[1].expr.contains("customer:A"), "{}", saved[1].expr);
        let name = EventName { source: "feed".into(), id: "ticket-A".into(), time: at(5) };
        assert!(snapshot.event(&name).unwrap().is_none());
        let stats = snapshot.stats().unwrap();
        assert_eq!((stats.events, stats.customers, stats.links), (4, 1, 2));
        assert_eq!(stats.events_without_customer_subject, 2);
        well(db);
    };
    look(&db);
    drop(db);
    look(&open(place.path(), 8));
}

#[test]
fn who_was_erased_does_not_come_back_and_what_was_theirs_only_with_something_new() {
    let (place, mut db) = two();
    db.erase("A").unwrap();
    for turn in 0..2 {
        let mut late = Batch::new();
        late.event(event(5, "ticket-A", "customer:A"));
        late.event(event(9, "unheard-of", "customer:A"));
        late.event(event(i64::MAX - 1, "much later", "olt:1").context(entity("customer:A")));
        late.event(event(6, "flap-A", "line:A"));
        late.link(link("customer:A", "uses", "line:new"));
        late.link(link("line:A", "fed_by", "olt:1"));
        let refused = refusals(&db, late);
        assert!(refused.iter().all(Option::is_some), "{refused:?}");
        for reason in refused.into_iter().flatten() {
            assert_eq!(reason, "names somebody who was erased, or what was theirs");
        }
        assert_eq!(db.snapshot().stats().unwrap().entities.get("line"), Some(&1), "a refused record names nobody");
        if turn == 0 {
            drop(db);
            db = open(place.path(), 8);
        }
    }
    // The line is given to somebody else.
    let later = at(i64::MAX - 100);
    let mut new = Batch::new();
    new.link(Link::new(entity("customer:C"), "uses", entity("line:A")).valid_from(later));
    new.event(event(i64::MAX - 50, "new", "line:A"));
    assert_eq!(refusals(&db, new), [None, None]);
    assert_eq!(stream(&db, "C").len(), 1);
    well(&db);
}

#[test]
fn an_unknown_customer_is_not_found_and_a_service_is_no_customer() {
    let (_place, db) = two();
    for id in ["nobody", "line:A", "", "customer:A"] {
        assert_eq!(db.erase(id).unwrap_err().kind(), ErrorKind::NotFound, "{id}");
    }
}

#[test]
fn a_snapshot_holds_files_back_and_the_receipt_says_so() {
    let (place, db) = two();
    let snapshot = db.snapshot();
    assert!(db.erase("A").unwrap().held_back);
    assert!(stream(&db, "A").is_empty());
    assert_eq!(snapshot.stream("A").run().unwrap().count(), 4, "it still has what it had");
    // The line may be given to somebody else meanwhile.
    let mut new = Batch::new();
    new.event(event(i64::MAX - 50, "new", "line:A"));
    new.event(event(i64::MAX - 50, "refused", "customer:A"));
    assert_eq!(refusals(&db, new).iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    drop((snapshot, db));
    // The rest is done now.
    let db = open(place.path(), 8);
    assert!(db.traces("ticket-A").unwrap().is_empty(), "{:?}", db.traces("ticket-A"));
    assert!(db.snapshot().entity(&entity("line:A")).unwrap().is_some());
    well(&db);
}

#[test]
fn of_refused_late_arrivals_nothing_is_stored() {
    let (place, db) = two();
    db.erase("A").unwrap();
    let mut late = Batch::new();
    let said = event(9, "late", "customer:A").attribute("note", "lateword").attribute("latefield", 1i64);
    late.event(said.context(entity("latetype:1")));
    late.link(link("customer:A", "laterelation", "latekind:1"));
    assert!(refusals(&db, late).iter().all(Option::is_some));
    db.flush().unwrap();
    for text in ["lateword", "latefield", "latetype", "laterelation", "latekind"] {
        assert_eq!(db.traces(text).unwrap().rows, [], "{text}");
    }
    drop(place);
}

#[test]
fn an_erasure_that_is_finished_late_takes_nothing_from_a_newer_one() {
    let (place, db) = two();
    let snapshot = db.snapshot();
    let first = db.erase("A").unwrap();
    assert!(first.held_back);
    // The line becomes another's, who is erased too.
    let mut new = Batch::new();
    let later = Timestamp::from_nanos(first.at.as_nanos() + 1);
    new.link(link("customer:C", "uses", "line:A").valid_from(later));
    assert_eq!(refusals(&db, new), [None]);
    drop(snapshot);
    let second = db.erase("C").unwrap();
    assert_eq!((second.entities, second.held_back), (2, false));
    assert!(second.at > first.at);
    assert_eq!(db.health().unwrap().erasures_unfinished, 1);
    drop(db);
    let db = open(place.path(), 8);
    assert_eq!(db.recovery().erasures_finished, 1);
    assert!(!db.recovery().was_clean());
    let mut late = Batch::new();
    late.event(event(second.at.as_nanos(), "late", "line:A"));
    assert!(refusals(&db, late)[0].is_some());
    assert_eq!(db.health().unwrap().erasures_unfinished, 0);
    well(&db);
}

#[test]
fn a_cohort_that_is_saved_after_an_erasure_tells_nobody_erased() {
    let (_place, db) = two();
    for (id, text) in [("A", "did(about = customer:A)"), ("A", "customers(A, B)"), ("B", "reach(line:B) or all")] {
        let expr: Expr = text.parse().unwrap();
        let cohort = db.snapshot().who(expr.clone()).run().unwrap();
        if db.snapshot().entity(&Entity::customer(id)).unwrap().is_some() {
            db.erase(id).unwrap();
        }
        db.save_cohort("late", &cohort).unwrap();
        let saved = db.snapshot().cohorts().unwrap().remove(0);
        assert!(!saved.expr.contains(id), "{text}: {}", saved.expr);
        // Asked for once more, it is as little told.
        let again = db.snapshot().who(expr).run().unwrap();
        db.save_cohort("late", &again).unwrap();
        assert_eq!(db.snapshot().cohorts().unwrap().remove(0).expr, saved.expr);
    }
    let (_place, db) = two();
    db.erase("A").unwrap();
    let cohort = db.snapshot().who("did(about = customer:B)".parse::<Expr>().unwrap()).run().unwrap();
    db.save_cohort("kept", &cohort).unwrap();
    assert!(db.snapshot().cohorts().unwrap()[0].expr.contains("customer:B"));
}

#[test]
fn readers_who_came_after_an_erasure_do_not_hold_it_back() {
    let (_place, db) = two();
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        // Two at least are held at any time, none for long.
        let reader = scope.spawn(|| {
            let mut held = [db.snapshot(), db.snapshot(), db.snapshot()];
            for turn in 0.. {
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                let mut batch = Batch::new();
                batch.event(event(turn, &format!("later-{turn}"), "customer:B"));
                db.writer().commit(batch).unwrap();
                held[turn as usize % 3] = db.snapshot();
                thread::sleep(Duration::from_millis(1));
            }
        });
        let receipt = db.erase("A").unwrap();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().unwrap();
        assert!(!receipt.held_back);
    });
    assert!(db.traces("ticket-A").unwrap().is_empty(), "{:?}", db.traces("ticket-A"));
    well(&db);
}

#[test]
fn an_expression_of_a_saved_cohort_goes_only_when_it_names_the_erased() {
    let place = scratch();
    let db = open(place.path(), 8);
    let ids = ["a", "C4", "a\"b", "two words"];
    let mut batch = Batch::new();
    for id in ids {
        batch.event(Event::new(at(1), "feed", "a-kind").subject(Entity::customer(id)));
    }
    db.writer().commit(batch).unwrap();
    let about = |id: &str| Expr::from(Expr::did(Predicate::about(format!("customer:{id}"))));
    let others = [("all", "did(any)"), ("other", "did(about = customer:C42)"), ("kind", "did(kind = call.dropped)")];
    let others = others.map(|(name, expr)| (name, expr.parse::<Expr>().unwrap()));
    for (name, expr) in ids.iter().map(|id| (*id, about(id))).chain(others) {
        db.save_cohort(name, &db.snapshot().who(expr).run().unwrap()).unwrap();
    }
    for id in ids {
        db.erase(id).unwrap();
    }
    for saved in db.snapshot().cohorts().unwrap() {
        assert_eq!(saved.customers, 0);
        let gone = saved.expr.contains("somebody who was erased");
        assert_eq!(gone, ids.contains(&saved.name.as_str()), "{}: {}", saved.name, saved.expr);
    }
}

#[test]
fn a_retention_takes_no_share_that_is_none() {
    let (_place, db) = two();
    for share in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
        let asked = Retention::before(Timestamp::MAX).max_share(share);
        assert_eq!(db.retain(&asked).unwrap_err().kind(), ErrorKind::Invalid, "{share}");
    }
    assert_eq!(db.snapshot().stats().unwrap().events, 6);
}

#[test]
fn an_event_that_loses_a_subject_and_says_what_another_says_is_that_other() {
    let place = scratch();
    let db = open(place.path(), 1 << 20);
    let plain = |time: i64| Event::new(at(time), "feed", "met");
    let mut batch = Batch::new();
    batch.event(plain(1).subject(entity("customer:A")).subject(entity("customer:B")));
    batch.event(plain(1).subject(entity("customer:B")));
    batch.event(plain(2).subject(entity("customer:A")).subject(entity("customer:B")));
    db.writer().commit(batch).unwrap();
    let receipt = db.erase("A").unwrap();
    assert_eq!((receipt.events, receipt.events_stripped), (1, 1));
    assert_eq!(stream(&db, "B").len(), 2);
    let mut again = Batch::new();
    again.event(plain(1).subject(entity("customer:B"))).event(plain(2).subject(entity("customer:B")));
    let receipt = db.writer().commit(again).unwrap();
    assert_eq!(receipt.duplicates(), 2, "what is left is recognised under its new name");
    well(&db);
}

#[test]
fn what_lies_with_the_erased_and_is_not_theirs_is_doubted_from_then_on() {
    let place = scratch();
    let db = open(place.path(), 1 << 20);
    let mut batch = Batch::new();
    // The line was B's, so it is no belonging of A; its event lies with A, whose it was alone by then.
    batch.link(link("customer:B", "uses", "line:1").valid_to(at(5)));
    batch.link(link("customer:A", "uses", "line:1").valid_from(at(5)));
    db.writer().commit(batch).unwrap();
    let mut batch = Batch::new();
    batch.event(event(4, "before", "line:1")).event(event(9, "after", "line:1"));
    db.writer().commit(batch).unwrap();
    assert_eq!(db.erase("A").unwrap().entities, 1);
    well(&db);
    let mut batch = Batch::new();
    batch.link(link("customer:C", "uses", "line:1")).event(event(10, "later", "line:1"));
    db.writer().commit(batch).unwrap();
    db.flush().unwrap();
    well(&db);
    let who = |expr: &str| db.snapshot().who(expr.parse::<Expr>().unwrap()).run().unwrap().len();
    assert_eq!((stream(&db, "B").len(), stream(&db, "C").len(), who("did(any)")), (1, 3, 2));
    assert_eq!((who("did(any) or all"), who("not did(kind = never)")), (2, 2), "the erased are nobody");
}

/// Two customers of whom a backup knows the first with their line, and others who came later; both were erased.
fn erased_since(place: &Path) -> (BackupFolder, Db) {
    let db = open(&place.join("live"), 8);
    let mut batch = Batch::new();
    for id in ["gone", "stays"] {
        batch.link(link(&format!("customer:{id}"), "uses", &format!("line:{id}")));
        batch.link(link(&format!("line:{id}"), "fed_by", "olt:1"));
        batch.event(event(5, &format!("ticket-{id}"), &format!("customer:{id}")));
        batch.event(event(6, &format!("flap-{id}"), &format!("line:{id}")));
    }
    batch.event(event(7, "alarm", "olt:1").context(entity("line:gone")));
    db.writer().commit(batch).unwrap();
    let folder = BackupFolder::at(place.join("backups"));
    db.backup(&folder).unwrap();
    let mut batch = Batch::new();
    batch.link(link("customer:later", "uses", "line:later"));
    batch.event(event(8, "ticket-later", "customer:later"));
    // Here the line is not theirs alone any more.
    batch.link(link("customer:stays", "uses", "line:gone"));
    db.writer().commit(batch).unwrap();
    assert_eq!((db.erase("gone").unwrap().entities, db.erase("later").unwrap().entities), (1, 2));
    (folder, db)
}

#[test]
fn a_restored_store_forgets_who_was_erased_since_the_backup() {
    let place = scratch();
    let (folder, db) = erased_since(place.path());
    let (plain, clean) = (place.path().join("plain"), place.path().join("clean"));
    folder.restore(None, &plain).unwrap();
    let everybody = |db: &Db| db.snapshot().customers().collect::<ofone::Result<Vec<Text>>>().unwrap();
    assert_eq!(everybody(&open(&plain, 8)), ["gone", "stays"], "the backup has them all");
    let (backup, erasures) = Db::restore_erased(&folder, None, &clean, place.path().join("live")).unwrap();
    assert_eq!((backup.id, erasures), (1, 2), "and the store that was looked at is open");
    // It is done when the store gets its name, not when somebody opens it.
    let look = Db::look(&clean, Options::new()).unwrap();
    assert_eq!(look.customers().collect::<ofone::Result<Vec<Text>>>().unwrap(), ["stays"]);
    drop(look);
    assert_eq!(files_with(&clean, "ticket-gone"), Vec::<String>::new());
    assert!(!files_with(&plain, "ticket-gone").is_empty(), "the search finds what is there");
    let restored = open(&clean, 8);
    assert_eq!(everybody(&restored), ["stays"]);
    assert!(restored.traces("ticket-gone").unwrap().is_empty(), "{:?}", restored.traces("ticket-gone"));
    assert!(restored.traces("customer:gone").unwrap().is_empty());
    assert_eq!(stream(&restored, "stays").len(), 3);
    assert!(restored.snapshot().entity(&entity("line:gone")).unwrap().is_some(), "it was not theirs in the end");
    well(&restored);
    // Numbers that the erased had in the other store are free here.
    let mut batch = Batch::new();
    batch.event(event(9, "new", "customer:new"));
    for (at, id) in [(8, "gone"), (8, "later"), (i64::MAX - 1, "later")] {
        batch.event(event(at, "late", &format!("customer:{id}")));
    }
    batch.event(event(8, "late", "line:later"));
    assert_eq!(
        refusals(&restored, batch).iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, true, true, true, true]
    );
    assert_eq!((everybody(&restored).len(), stream(&restored, "new").len()), (2, 1));
    well(&restored);
    // What it has is what the store has that it was looked at for.
    restored.backup(&folder).unwrap();
    let again = place.path().join("again");
    assert_eq!(Db::restore_erased(&folder, None, &again, place.path().join("live")).unwrap().1, 0);
    assert_eq!(Db::restore_erased(&folder, Some(1), place.path().join("from it"), &clean).unwrap().1, 2);
    restored.erase("new").unwrap();
    drop((restored, db));
    well(&open(&clean, 8));
}

#[test]
fn the_erasures_of_another_store_are_not_carried_over() {
    let place = scratch();
    let (folder, db) = erased_since(place.path());
    db.backup(&folder).unwrap();
    let (other, two) = two();
    two.erase("A").unwrap();
    let target = place.path().join("target");
    for live in [other.path().to_path_buf(), place.path().join("nothing")] {
        let error = Db::restore_erased(&folder, None, &target, live).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound), "{error}");
        assert!(!target.exists());
    }
    // Nobody of the first backup has a name that was erased there, so nobody is hit.
    assert_eq!(Db::restore_erased(&folder, Some(1), &target, other.path()).unwrap().1, 1);
    let restored = open(&target, 8);
    assert_eq!(restored.snapshot().customers().count(), 2);
    well(&restored);
}

/// A text that no other file has.
fn canary(number: usize) -> String {
    format!("{:014x}", scramble(&[number as u64]) >> 8)
}

/// Files of a store that have a canary as it is, but for its beginning: of neighbouring keys, sorted files keep
/// what they have in common once.
fn files_with(folder: &Path, canary: &str) -> Vec<String> {
    let (mut found, text) = (Vec::new(), &canary[4..]);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, canary));
        } else {
            // The storage engine deletes files that it is done with meanwhile; what is gone holds nothing.
            let bytes = fs::read(&path).or_else(|error| if path.exists() { Err(error) } else { Ok(Vec::new()) });
            if bytes.unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

const CUSTOMERS: usize = 60;

/// A store in which each customer has 40 tickets, 40 notes on a line and 40 alarms of an OLT that name the line.
fn filled(path: &Path, segment: usize) -> Db {
    let mut db = open(path, segment);
    for round in 0..40i64 {
        let mut batch = Batch::new();
        for number in 0..CUSTOMERS {
            let name = canary(number);
            let customer = Entity::customer(name.clone());
            let line = Entity::new("line", format!("{name}/line"));
            if round == 0 {
                batch.link(Link::new(customer.clone(), "uses", line.clone()));
                batch.link(Link::new(line.clone(), "fed_by", Entity::new("olt", (number % 7).to_string())));
            }
            let event = |kind: &str| Event::new(at(round * 1000 + number as i64), "feed", kind);
            batch.event(event("ticket").id(format!("{name}-{round}")).subject(customer));
            // Longer than what gets a number.
            let text = format!("{} said {name}", "x".repeat(300));
            batch.event(event("note").subject(line.clone()).attribute("text", text));
            let alarm = event("alarm").subject(Entity::new("olt", (number % 7).to_string())).context(line);
            batch.event(alarm.attribute("code", Value::Int(round)));
        }
        db.writer().commit(batch).unwrap();
        if round % 17 == 16 {
            db.wait_until_quiet().unwrap();
        }
        if round == 20 {
            drop(db);
            db = open(path, segment);
        }
    }
    db
}

/// Customers erased in each store: of 60.
const ERASED: usize = 20;

/// Erases some customers of a store that the seed shapes, and looks for what is left of them.
fn erase_some(seed: u64) {
    let place = scratch();
    let segment = [300, 60, 1000, 9000][(seed % 4) as usize];
    let db = filled(place.path(), segment);
    let mut numbers: Vec<usize> = (0..CUSTOMERS).collect();
    numbers.sort_unstable_by_key(|&number| scramble(&[seed, number as u64]));
    let (erased, left) = numbers.split_at(ERASED);
    let felt = |db: &Db| left.iter().map(|&number| stream(db, &canary(number)).len()).collect::<Vec<_>>();
    let before = felt(&db);
    assert!(!files_with(place.path(), &canary(erased[0])).is_empty(), "the search finds what is there");
    assert!(db.traces(&canary(erased[0])).unwrap().rows.len() >= 3);
    for &number in erased {
        let receipt = db.erase(canary(number)).unwrap();
        assert!(!receipt.held_back);
        assert_eq!((receipt.events, receipt.events_stripped, receipt.entities), (80, 40, 2), "{receipt:?}");
        assert_eq!(db.traces(&canary(number)).unwrap().rows, [], "{number}");
    }
    assert_eq!(felt(&db), before, "others see what they saw");
    well(&db);
    // RocksDB notes the bounds of its files, which are names, until it is opened again.
    drop(db);
    let db = open(place.path(), segment);
    for number in left {
        assert!(!db.traces(&canary(*number)).unwrap().is_empty(), "{number}");
    }
    for &number in erased {
        assert!(db.traces(&canary(number)).unwrap().is_empty(), "{number}");
        assert_eq!(files_with(place.path(), &canary(number)), Vec::<String>::new());
    }
    well(&db);
}

#[test]
fn erasures_leave_no_byte_in_any_row_or_file() {
    let (wanted, first) = (setting("OFONE_ERASURES", ERASED), setting("OFONE_ERASE_SEED", 1u64));
    let last = first + (wanted.div_ceil(ERASED) as u64).max(1) - 1;
    (first..=last).for_each(erase_some);
    let erasures = (last - first + 1) * ERASED as u64;
    println!("\n{erasures} erasures, seeds {first} to {last}: no byte left in any row or file");
}

#[test]
fn retention_removes_what_is_older_and_frees_the_disk() {
    let place = scratch();
    let db = open(place.path(), 1000);
    for round in 0..10i64 {
        let mut batch = Batch::new();
        for number in 0..1000i64 {
            let note = format!("{}", (number * 7919 + round * 104_729) % 1_000_003);
            let subject = format!("customer:C{}", number % 50);
            batch.event(event(round * 1000 + number, &format!("{round}-{number}"), &subject).attribute("note", note));
        }
        db.writer().commit(batch).unwrap();
    }
    db.flush().unwrap();
    db.wait_until_quiet().unwrap();
    let disk = || db.snapshot().stats().unwrap().disk_bytes;
    let before = disk();
    let asked = Retention::before(at(9000));
    assert_eq!(db.retain(&asked).unwrap_err().kind(), ErrorKind::Invalid, "more than half");
    assert_eq!(db.snapshot().stats().unwrap().events, 10_000);
    assert_eq!(db.retain(&Retention::before(at(4000)).kind("other")).unwrap().events, 0);
    let dry = db.retain(&asked.clone().dry_run(true)).unwrap();
    assert_eq!((dry.events, dry.of), (9000, 10_000));
    assert!(dry.bytes > 0);
    assert_eq!(db.retain(&asked.max_share(0.95)).unwrap().events, 9000);
    db.wait_until_quiet().unwrap();
    assert!(before - disk() > dry.bytes * 2 / 3, "{} of {before} bytes are left, {} should go", disk(), dry.bytes);
    let stats = db.snapshot().stats().unwrap();
    assert_eq!((stats.events, stats.first, stats.last), (1000, Some(at(9000)), Some(at(9999))));
    assert_eq!(stream(&db, "C7").len(), 20);
    // What was trimmed and is sent again is new.
    let mut again = Batch::new();
    again.event(event(1, "0-1", "customer:C1").attribute("note", "7919"));
    again.event(event(9001, "9-1", "customer:C1").attribute("note", "950471"));
    let outcomes = db.writer().commit(again).unwrap();
    assert_eq!(outcomes.outcomes()[0], Outcome::Inserted);
    assert_ne!(outcomes.outcomes()[1], Outcome::Inserted);
    well(&db);
}

#[test]
fn a_snapshot_keeps_what_retention_removes() {
    let (_place, db) = two();
    let snapshot = db.snapshot();
    assert_eq!(db.retain(&Retention::before(Timestamp::MAX).max_share(1.0)).unwrap().events, 6);
    assert_eq!(db.snapshot().stats().unwrap().events, 0);
    assert_eq!(snapshot.stream("A").run().unwrap().count(), 4);
    let name = EventName { source: "feed".into(), id: "ticket-A".into(), time: at(5) };
    assert!(snapshot.event(&name).unwrap().is_some() && db.snapshot().event(&name).unwrap().is_none());
    drop(snapshot);
    db.wait_until_quiet().unwrap();
    well(&db);
}

/// Each reader takes its next snapshot before it lets go of its last, so that there is never none.
#[test]
fn files_of_what_retention_removes_go_while_readers_overlap() {
    let place = scratch();
    let db = open(place.path(), 1000);
    let files = || {
        let listed = fs::read_dir(place.path().join("db")).unwrap().map(|file| file.unwrap().path());
        listed.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).count()
    };
    let name = |round: i64| EventName { source: "feed".into(), id: format!("{round}").into(), time: at(round) };
    let sees = |snapshot: &Snapshot, rounds: std::ops::RangeInclusive<i64>| {
        rounds.clone().for_each(|round| assert!(snapshot.event(&name(round)).unwrap().is_some(), "{round} is gone"));
        assert_eq!(snapshot.stream("A").run().unwrap().count(), rounds.count());
    };
    let mut reader: Option<(Snapshot, i64)> = None;
    let mut most = [0, 0];
    for round in 0..48i64 {
        let mut batch = Batch::new();
        batch.event(event(round, &round.to_string(), "customer:A"));
        db.writer().commit(batch).unwrap();
        db.flush().unwrap();
        let oldest = (round - 3).max(0);
        drop(reader.replace((db.snapshot(), oldest)));
        db.retain(&Retention::before(at(round - 2)).max_share(1.0)).unwrap();
        if round % 4 == 3 {
            db.wait_until_quiet().unwrap();
            let half = usize::from(round >= 24);
            most[half] = most[half].max(files());
        }
        let (snapshot, oldest) = reader.as_ref().unwrap();
        sees(snapshot, *oldest..=round);
    }
    // Each of 24 rounds made three; others of their own time are written anew now and then.
    assert!(most[1] < most[0] + 12, "{most:?} files");
    // What the last reader lets go of may be left for the next open to drop, and that is no crash.
    drop((db, reader));
    let db = open(place.path(), 1000);
    assert!(db.recovery().was_clean(), "{:?}", db.recovery());
    well(&db);
}

/// Not a test of its own: the erasing process, when the environment says so.
#[test]
fn child_erases_until_killed() {
    let Ok(path) = std::env::var("OFONE_ERASE_CHILD") else { return };
    let db = open(Path::new(&path), 300);
    for number in 0..CUSTOMERS {
        match db.erase(canary(number)) {
            Ok(_) => std::io::stdout().write_all(format!("\nerased {number}\n").as_bytes()).unwrap(),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
    }
}

/// What became of erasing processes that were killed.
#[derive(Default)]
struct Cut {
    kills: u64,
    acknowledged: usize,
    /// Erasures that were not acknowledged, and finished by the next open.
    finished: usize,
}

/// Kills processes that erase all of one store, `kills` of them or until nobody is left.
fn kill_erasures(cut: &mut Cut, kills: u64, seed: u64) {
    let place = scratch();
    let db = filled(place.path(), 300);
    let felt = |db: &Db, number: usize| stream(db, &canary(number)).len();
    let before: Vec<usize> = (0..CUSTOMERS).map(|number| felt(&db, number)).collect();
    drop(db);
    let (mut acknowledged, mut finished) = (0, 0);
    for round in 0.. {
        let mut told: Vec<usize> = Vec::new();
        // Lives after the first are cut off while they finish what the one before left half done, or soon after.
        for life in 0..=round % 3 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "erase::child_erases_until_killed", "--nocapture", "--test-threads", "1"])
                .env("OFONE_ERASE_CHILD", place.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            let erased = |line: String| line.strip_prefix("erased ").map(|number| number.parse::<usize>().unwrap());
            if life == 0 {
                told.extend(lines.by_ref().find_map(erased));
            }
            // Somewhere within the next erasures.
            let random = scramble(&[seed, cut.kills]) >> 48;
            thread::sleep(Duration::from_micros(random << life.min(1)));
            child.kill().unwrap();
            child.wait().unwrap();
            cut.kills += 1;
            told.extend(lines.filter_map(erased));
        }
        let db = open(place.path(), 300);
        let left: Vec<Text> = db.snapshot().customers().collect::<ofone::Result<_>>().unwrap();
        let gone = |number: usize| !left.contains(&Text::from(canary(number)));
        assert!(told.iter().all(|&number| gone(number)), "{told:?}");
        acknowledged += told.len();
        finished += (0..CUSTOMERS).filter(|&number| gone(number)).count() - acknowledged - finished;
        for (number, &before) in before.iter().enumerate() {
            assert_eq!(felt(&db, number), if gone(number) { 0 } else { before }, "{number}");
            // Files note bounds, which are names, until they are opened once more.
            assert!(!gone(number) || db.traces(&canary(number)).unwrap().rows.is_empty(), "{number}");
        }
        well(&db);
        if left.is_empty() || cut.kills >= kills {
            break;
        }
    }
    cut.acknowledged += acknowledged;
    cut.finished += finished;
}

#[test]
fn an_erasure_cut_short_by_a_kill_is_finished_at_the_next_open() {
    let kills: u64 = setting("OFONE_ERASE_KILLS", 24);
    let seed: u64 = setting("OFONE_CRASH_SEED", 7);
    let mut cut = Cut::default();
    while cut.kills < kills {
        kill_erasures(&mut cut, kills, seed);
    }
    let Cut { kills, acknowledged, finished } = cut;
    eprintln!("{kills} kills of who erases: {acknowledged} erasures acknowledged, {finished} finished at an open");
    assert!(acknowledged > 0);
}

#[test]
fn a_snapshot_of_before_an_erasure_has_no_problems_after_it() {
    let (_place, db) = two();
    db.flush().unwrap();
    let snapshot = db.snapshot();
    db.erase("A").unwrap();
    assert_eq!(snapshot.check().unwrap().problems, Vec::<String>::new());
}
