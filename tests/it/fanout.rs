//! Links beyond the limits: stored, listed, not followed, until somebody puts them in force.

use std::collections::BTreeSet;
use std::path::Path;

use ofone::backup::BackupFolder;
use ofone::{
    Batch, Db, Entity, ErrorKind, Event, Expr, Limits, Link, LinkChange, Options, Outcome, Record, SalvageOptions,
    StreamItem, Text, Timestamp, WhyNot, Window, salvage,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::damage::{copy, files};
use crate::support::{at, entity, event, link, options, scratch, setting};

fn limited(from: usize, to: usize) -> Options {
    let mut limits = Limits::default();
    (limits.links_from, limits.links_to) = (from, to);
    options(64).limits(limits)
}

fn open(path: &Path, from: usize, to: usize) -> Db {
    Db::open(path, limited(from, to)).expect("the store opens")
}

fn say(db: &Db, changes: impl IntoIterator<Item = LinkChange>) -> Vec<Outcome> {
    let batch = changes.into_iter().map(Record::from).collect();
    db.writer().commit(batch).expect("a commit").outcomes().to_vec()
}

fn fed(number: usize) -> Link {
    link(&format!("customer:C{number}"), "fed_by", "olt:X").source("inventory")
}

fn unfed(number: usize) -> LinkChange {
    let Link { from, relation, to, valid_from, source, .. } = fed(number);
    LinkChange::Retract { from, relation, to, valid_from, source }
}

fn ids(db: &Db, customer: &str) -> Vec<Text> {
    let items = db.snapshot().stream(customer).run().expect("a stream");
    items.filter_map(|item: ofone::Result<StreamItem>| item.expect("an item").event.id).collect()
}

fn well(db: &Db) {
    assert_eq!(db.check().expect("a report").problems, Vec::<String>::new());
}

fn quarantined(db: &Db) -> Vec<Link> {
    db.snapshot().quarantined(None).expect("a list")
}

#[test]
fn a_link_too_many_is_listed_and_not_followed_until_it_is_promoted() {
    let place = scratch();
    let db = open(place.path(), 10, 3);
    let mut batch = Batch::new();
    for number in 0..4 {
        batch.link(fed(number));
    }
    batch.event(event(5, "alarm", "olt:X"));
    let receipt = db.writer().commit(batch).expect("a commit");
    assert_eq!((receipt.inserted(), receipt.quarantined()), (4, 1));
    assert_eq!(receipt.outcomes()[3], Outcome::Quarantined);
    let everyone = || {
        let reach = Expr::reach(entity("olt:X"), Window::new(Timestamp::MIN, Timestamp::MAX));
        db.snapshot().who(reach).run().expect("a set").len()
    };
    let not_followed = |db: &Db| {
        assert_eq!((ids(db, "C2"), ids(db, "C3")), (vec!["alarm".into()], vec![]));
        let snapshot = db.snapshot();
        let links = snapshot.links(&entity("olt:X"), None).expect("its links");
        assert_eq!(links.incoming.len(), 3);
        assert_eq!(quarantined(db), [fed(3)]);
        assert_eq!(snapshot.quarantined(Some(&entity("olt:X"))).expect("a list"), [fed(3)]);
        assert_eq!(snapshot.quarantined(Some(&entity("customer:C2"))).expect("a list"), []);
        let stats = snapshot.stats().expect("stats");
        assert_eq!((stats.links, stats.links_quarantined, stats.customers), (3, 1, 4));
        let why = snapshot.why("C3", &event(5, "alarm", "olt:X").name()).expect("both are known");
        let Some(WhyNot::Quarantined { path, blocking }) = why.why_not else { panic!("{why:?}") };
        assert_eq!((path.steps, blocking), (vec![fed(3)], fed(3)));
        assert_eq!(db.health().expect("health").links_quarantined, 1);
        well(db);
    };
    not_followed(&db);
    assert_eq!(everyone(), 3);
    assert_eq!(db.metrics().links_quarantined, 1);
    assert_eq!(say(&db, [fed(3).into(), fed(1).into()]), [Outcome::Duplicate, Outcome::Duplicate]);
    db.flush().expect("a flush");
    drop(db);
    let db = open(place.path(), 10, 3);
    not_followed(&db);
    assert_eq!(say(&db, [fed(4).into()]), [Outcome::Quarantined], "the count is there again");
    let promoted = db.promote([Link::new(entity("customer:C3"), "fed_by", entity("olt:X")), fed(2)]).expect("a commit");
    assert_eq!((promoted.inserted(), promoted.rejected()), (1, 1), "one was in force");
    assert_eq!(ids(&db, "C3"), [Text::from("alarm")]);
    assert_eq!(db.snapshot().links(&entity("customer:C3"), None).expect("links").outgoing, [fed(3)], "with its feed");
    assert_eq!(quarantined(&db), [fed(4)]);
    assert_eq!(db.promote([fed(3)]).expect("a commit").rejected(), 1);
    well(&db);
}

#[test]
fn what_is_retracted_leaves_quarantine_and_makes_room() {
    let place = scratch();
    let db = open(place.path(), 2, 10);
    let uses = |number: usize| link("customer:A", "uses", &format!("service:{number}"));
    let retract = |number: usize| LinkChange::Retract {
        from: entity("customer:A"),
        relation: "uses".into(),
        to: entity(&format!("service:{number}")),
        valid_from: None,
        source: "".into(),
    };
    assert_eq!(say(&db, (0..4).map(|number| uses(number).into()))[2..], [Outcome::Quarantined, Outcome::Quarantined]);
    let others = [link("customer:A", "pays_for", "service:9"), link("customer:B", "uses", "service:0")];
    assert_eq!(say(&db, others.map(LinkChange::from)), [Outcome::Inserted, Outcome::Inserted], "counts of their own");
    assert_eq!(say(&db, [retract(2)]), [Outcome::Inserted]);
    assert_eq!(quarantined(&db), [uses(3)]);
    assert_eq!(db.promote([uses(2)]).expect("a commit").rejected(), 1);
    assert_eq!(say(&db, [retract(0), uses(5).into(), uses(6).into()])[1..], [Outcome::Inserted, Outcome::Quarantined]);
    // Said and taken back in one batch, in either order.
    let both = [retract(7), uses(7).into(), uses(8).into(), retract(8)];
    let outcomes = say(&db, both);
    assert_eq!(outcomes, [Outcome::Inserted, Outcome::Inserted, Outcome::Quarantined, Outcome::Inserted]);
    assert_eq!(quarantined(&db), [uses(3), uses(6)]);
    // A close that came before holds once the link does.
    let close = LinkChange::Close {
        from: entity("customer:A"),
        relation: "uses".into(),
        to: entity("service:6"),
        at: at(9),
        source: "".into(),
    };
    assert_eq!(say(&db, [close]), [Outcome::Inserted]);
    db.promote([uses(6)]).expect("a commit");
    let links = db.snapshot().links(&entity("customer:A"), None).expect("links").outgoing;
    assert!(links.contains(&uses(6).valid_to(at(9))), "{links:?}");
    well(&db);
}

/// Large counts are kept, small ones found again; either way they are exact, whatever was in between.
#[test]
fn counts_are_exact_after_kills_reopening_and_erasures() {
    let place = scratch();
    let (mut path, most) = (place.path().join("0"), 80);
    let mut db = open(&path, 10, most);
    // An erasure while there are few.
    say(&db, (2_000..2_005).map(|number| fed(number).into()));
    db.erase("C2000").expect("an erasure");
    let mut said = 0;
    let mut in_force = 4;
    for round in 0..14 {
        // Also many at once behind a few that came after the erasure.
        let more = if round == 1 { 90 } else { 13 };
        let outcomes = say(&db, (said..said + more).map(|number| fed(number).into()));
        said += more;
        in_force += outcomes.iter().filter(|outcome| **outcome == Outcome::Inserted).count();
        assert_eq!(in_force, (said + 4).min(most));
        if round % 3 == 1 {
            // The files of one moment, which nobody closed: what a kill leaves.
            let next = place.path().join((round + 1).to_string());
            let folder = BackupFolder::at(place.path().join("backups"));
            db.backup(&folder).expect("a backup");
            folder.restore(None, &next).expect("a restore");
            drop(db);
            path = next;
            db = open(&path, 10, most);
            well(&db);
        } else if round % 3 == 2 {
            db.flush().expect("a flush");
            drop(db);
            db = open(&path, 10, most);
        }
    }
    for gone in 0..30 {
        db.erase(format!("C{gone}")).expect("an erasure");
        if gone % 15 == 7 {
            drop(db);
            db = open(&path, 10, most);
        }
    }
    well(&db);
    let outcomes = say(&db, (1_000..1_100).map(|number| fed(number).into()));
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Inserted).count(), 30, "as many as are gone");
    well(&db);
}

/// What was retracted counts no more, but is a statement that an erasure deletes.
#[test]
fn a_count_is_exact_when_retracted_links_are_erased() {
    let place = scratch();
    let db = open(place.path(), 10, 200);
    say(&db, (0..100).map(|number| fed(number).into()));
    say(&db, (0..60).map(unfed));
    for gone in 0..60 {
        db.erase(format!("C{gone}")).expect("an erasure");
    }
    well(&db);
    drop(db);
    let db = open(place.path(), 10, 200);
    say(&db, [fed(200).into()]);
    well(&db);
    say(&db, (300..400).map(|number| fed(number).into()));
    well(&db);
}

#[test]
fn a_large_count_that_shrinks_is_kept() {
    let place = scratch();
    let db = open(place.path(), 10, 70);
    say(&db, (0..70).map(|number| fed(number).into()));
    drop(db);
    let db = open(place.path(), 10, 70);
    say(&db, (0..10).map(unfed));
    well(&db);
    drop(db);
    let db = open(place.path(), 10, 70);
    let outcomes = say(&db, (100..115).map(|number| fed(number).into()));
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Inserted).count(), 10);
    well(&db);
}

/// Promotions may share a group with other batches.
#[test]
fn what_is_said_again_after_a_retraction_is_stored_whatever_shares_its_group() {
    let place = scratch();
    let db = open(place.path(), 10, 1);
    use Outcome::{Duplicate, Inserted, Quarantined};
    assert_eq!(say(&db, [fed(0).into(), fed(1).into()]), [Inserted, Quarantined]);
    assert_eq!(say(&db, [unfed(1), fed(1).into()]), [Inserted, Inserted], "held since an earlier commit");
    assert_eq!(say(&db, [fed(2).into(), unfed(2), fed(2).into()]), [Quarantined, Inserted, Inserted]);
    assert_eq!(say(&db, [fed(3).into()]), [Quarantined]);
    assert_eq!(say(&db, [fed(3).into(), unfed(3), fed(3).into()]), [Duplicate, Inserted, Inserted]);
    assert_eq!(quarantined(&db), []);
    well(&db);
    for number in 10..40 {
        assert_eq!(say(&db, [fed(number).into()]), [Quarantined]);
        let others: Batch = [unfed(number), fed(number).into()].into_iter().map(Record::from).collect();
        let (promoted, said) = std::thread::scope(|scope| {
            let promoting = scope.spawn(|| db.promote([fed(number)]).expect("a commit").inserted());
            let pending = db.writer().submit(others).expect("it is taken");
            let outcomes = pending.wait().expect("a commit").outcomes().to_vec();
            (promoting.join().expect("no panic"), outcomes)
        });
        // Whichever came first, the link is stored once.
        let again = if promoted == 1 { Duplicate } else { Inserted };
        assert_eq!(said, [Inserted, again]);
        well(&db);
    }
    assert_eq!(quarantined(&db), []);
}

#[test]
fn a_promotion_of_what_nobody_said_names_nobody() {
    let place = scratch();
    let db = open(place.path(), 10, 1);
    say(&db, [fed(0).into(), fed(1).into()]);
    let stats = || db.snapshot().stats().expect("stats").entities;
    let before = stats();
    let unknown = [
        link("customer:C8", "fed_by", "olt:Y"),
        link("customer:C8", "fed_by", "olt:X"),
        link("gadget:1", "fed_by", "olt:X"),
        link("customer:C1", "never_said", "olt:X"),
    ];
    let receipt = db.promote(unknown).expect("a commit");
    assert_eq!((receipt.rejected(), receipt.inserted()), (4, 0));
    assert_eq!(stats(), before);
    for name in ["customer:C8", "olt:Y", "gadget:1"] {
        assert!(db.snapshot().entity(&entity(name)).expect("a lookup").is_none(), "{name}");
    }
    assert_eq!(quarantined(&db), [fed(1)]);
    assert_eq!(db.promote([fed(1)]).expect("a commit").inserted(), 1);
    well(&db);
}

#[test]
fn erased_customers_leave_quarantine_and_its_files() {
    let place = scratch();
    let db = open(&place.path().join("store"), 1, 2);
    let secret = "C-7f3a-secret";
    let customer = |id: &str| Entity::customer(id);
    let changes = [
        Link::new(customer(secret), "uses", entity("service:own")),
        Link::new(customer(secret), "uses", entity("service:held-own")),
        Link::new(customer(secret), "uses", entity("service:shared")),
        Link::new(customer("B"), "uses", entity("service:b")),
        Link::new(customer("B"), "uses", entity("service:shared")),
        Link::new(customer("B"), "uses", entity("service:own")),
    ];
    let outcomes = say(&db, changes.clone().map(LinkChange::from));
    let held = outcomes.iter().filter(|outcome| **outcome == Outcome::Quarantined).count();
    assert_eq!(held, 4);
    let receipt = db.erase(secret).expect("an erasure");
    assert_eq!((receipt.links, receipt.entities), (3, 2), "the customer, and what only a link in quarantine leads to");
    assert!(db.snapshot().entity(&entity("service:own")).expect("a lookup").is_some(), "B may come to use it");
    assert!(db.snapshot().entity(&entity("service:held-own")).expect("a lookup").is_none());
    assert_eq!(quarantined(&db), [changes[5].clone(), changes[4].clone()]);
    assert_eq!(db.snapshot().stats().expect("stats").links_quarantined, 2);
    assert_eq!(db.promote([changes[1].clone()]).expect("a commit").rejected(), 1);
    well(&db);
    drop(db);
    let db = open(&place.path().join("store"), 1, 2);
    well(&db);
    for text in [secret, "held-own"] {
        assert!(db.traces(text).expect("a search").is_empty(), "{text}");
    }
}

#[test]
fn a_salvage_keeps_links_in_quarantine() {
    let place = scratch();
    let (damaged, new) = (place.path().join("damaged"), place.path().join("new"));
    let db = open(&damaged, 10, 70);
    let outcomes = say(&db, (0..90).map(|number| fed(number).into()));
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Quarantined).count(), 20);
    let listed = quarantined(&db);
    drop(db);
    let report = salvage(&damaged, &new, &SalvageOptions::new()).expect("all of it");
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.links.copied, 90);
    let db = open(&new, 10, 70);
    assert_eq!(quarantined(&db), listed);
    assert_eq!(say(&db, [fed(95).into()]), [Outcome::Quarantined]);
    well(&db);
}

#[test]
fn a_salvage_counts_each_lost_link_in_quarantine_once() {
    let place = scratch();
    let old = place.path().join("old");
    let db = open(&old, 10, 70);
    say(&db, (0..90).map(|number| fed(number).into()));
    db.flush().expect("a flush");
    db.wait_until_quiet().expect("quiet");
    drop(db);
    let mut most = 0;
    for (round, file) in files(&old, "sst").iter().enumerate() {
        let (damaged, new) = (place.path().join(format!("damaged{round}")), place.path().join(format!("new{round}")));
        copy(&old, &damaged);
        std::fs::remove_file(damaged.join("db").join(file.file_name().expect("a name"))).expect("it is removed");
        let report = salvage(&damaged, &new, &SalvageOptions::new().without_erasures(true)).expect("some of it");
        // Without the counts nobody knows how many there were.
        if !report.places.iter().any(|place| place.starts_with("meta")) {
            assert_eq!(report.links.copied + report.links.lost, 90, "{report:?}");
            most = most.max(report.links.lost);
        }
    }
    assert_eq!(most, 90, "without a word for what they are, all are lost");
}

#[test]
fn a_look_and_a_backup_have_what_is_in_quarantine() {
    let place = scratch();
    let (store, folder) = (place.path().join("store"), place.path().join("backups"));
    let db = open(&store, 10, 2);
    say(&db, (0..5).map(|number| fed(number).into()));
    let look = Db::look(&store, Options::new()).expect("a look");
    assert_eq!(look.quarantined(None).expect("a list").len(), 3);
    let folder = BackupFolder::at(&folder);
    db.backup(&folder).expect("a backup");
    folder.restore(None, place.path().join("restored")).expect("a restore");
    assert_eq!(quarantined(&open(&place.path().join("restored"), 10, 2)), quarantined(&db));
    assert_eq!(db.promote([fed(4)]).expect("a commit").inserted(), 1);
    assert_eq!(look.quarantined(None).expect("a list").len(), 3, "a look stays as it is");
    let error = look.why("C4", &event(1, "none", "olt:X").name()).expect_err("there is no such event");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

const FROM: usize = 3;
const TO: usize = 4;

#[derive(Clone, Debug)]
enum Act {
    Say(Vec<Vec<LinkChange>>),
    Promote(Vec<usize>),
    Flush,
    Reopen,
}

fn entities() -> [Vec<Entity>; 2] {
    let customers = (0..5).map(|number| Entity::customer(number.to_string())).collect();
    let things = (0..5).map(|number| Entity::new("thing", number.to_string())).collect();
    [customers, things]
}

fn change() -> impl Strategy<Value = LinkChange> {
    let [customers, things] = entities();
    let begin = prop_oneof![2 => Just(None), 1 => (0..4i64).prop_map(|time| Some(at(time * 10)))];
    let ends = (0..10usize, 0..5usize).prop_filter("no link to itself", |(from, to)| *from < 5 || from - 5 != *to);
    let relation = prop_oneof![3 => Just("uses"), 1 => Just("fed_by")];
    (ends, relation, begin, 0..8u8, 1..4i64).prop_map(move |((from, to), relation, begin, what, length)| {
        let from = if from < 5 { customers[from].clone() } else { things[from - 5].clone() };
        let (to, relation, source) = (things[to].clone(), Text::from(relation), Text::from("feed"));
        match what {
            0 => LinkChange::Close { from, relation, to, at: begin.unwrap_or(at(15)), source },
            1 => LinkChange::Retract { from, relation, to, valid_from: begin, source },
            _ => {
                let mut link = Link::new(from, relation, to).source(source);
                link.valid_from = begin;
                link.valid_to = (what == 2).then(|| at(30 + length * 10));
                link.into()
            }
        }
    })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => vec(vec(change(), 1..12), 1..4).prop_map(Act::Say),
        2 => vec(0..40usize, 1..4).prop_map(Act::Promote),
        1 => Just(Act::Flush),
        1 => Just(Act::Reopen),
    ]
}

/// The rule in words: what is in force, what is not, and why.
#[derive(Default)]
struct Naive {
    statements: BTreeSet<(u8, Link)>,
    held: BTreeSet<Link>,
}

impl Naive {
    /// The statement as something that can be compared.
    fn stated(change: &LinkChange) -> (u8, Link) {
        match change {
            LinkChange::Add(link) => (0, link.clone()),
            LinkChange::Close { from, relation, to, at, source } => {
                (1, Link::new(from.clone(), relation, to.clone()).valid_from(*at).source(source))
            }
            LinkChange::Retract { from, relation, to, valid_from, source } => {
                let mut link = Link::new(from.clone(), relation, to.clone()).source(source);
                link.valid_from = *valid_from;
                (2, link)
            }
            other => panic!("{other:?}"),
        }
    }

    fn change((what, link): &(u8, Link)) -> LinkChange {
        let Link { from, relation, to, source, valid_from, .. } = link.clone();
        match what {
            0 => link.clone().into(),
            1 => LinkChange::Close { from, relation, to, at: valid_from.expect("an instant"), source },
            _ => LinkChange::Retract { from, relation, to, valid_from, source },
        }
    }

    fn is_retracted(&self, link: &Link) -> bool {
        let mut retraction = link.clone();
        retraction.valid_to = None;
        self.statements.contains(&(2, retraction))
    }

    fn count(&self, like: impl Fn(&Link) -> bool) -> usize {
        let added = self.statements.iter().filter(|(what, _)| *what == 0).map(|(_, link)| link);
        added.filter(|link| like(link) && !self.is_retracted(link)).count()
    }

    fn say(&mut self, change: &LinkChange) -> Outcome {
        let stated = Naive::stated(change);
        if self.statements.contains(&stated) || stated.0 == 0 && self.held.contains(&stated.1) {
            return Outcome::Duplicate;
        }
        let link = &stated.1;
        if stated.0 == 0 && !self.is_retracted(link) {
            let from = self.count(|other| (&other.from, &other.relation) == (&link.from, &link.relation));
            let to = self.count(|other| (&other.to, &other.relation) == (&link.to, &link.relation));
            if from >= FROM || to >= TO {
                self.held.insert(stated.1);
                return Outcome::Quarantined;
            }
        }
        self.statements.insert(stated);
        let held = std::mem::take(&mut self.held);
        self.held = held.into_iter().filter(|link| !self.is_retracted(link)).collect();
        Outcome::Inserted
    }

    fn promote(&mut self, link: &Link) -> bool {
        let held = self.held.remove(link);
        if held {
            self.statements.insert((0, link.clone()));
        }
        held
    }
}

/// Something that happens to each thing now and then. Everybody is named: a link in quarantine names its ends.
fn happenings() -> Batch {
    let [customers, things] = entities();
    let mut batch = Batch::new();
    for customer in customers {
        batch.event(Event::new(at(1), "feed", "named").context(customer));
    }
    for (number, thing) in things.iter().enumerate() {
        for time in 0..8 {
            let id = format!("{number}-{time}");
            batch.event(Event::new(at(time * 10 + 5), "feed", "happened").id(id).subject(thing.clone()));
        }
    }
    batch
}

fn compare(db: &Db, naive: &Naive) {
    assert_eq!(quarantined(db), naive.held.iter().cloned().collect::<Vec<_>>());
    let place = scratch();
    let plain = Db::open(place.path(), options(1 << 10)).expect("a store");
    plain.writer().commit(happenings()).expect("a commit");
    say(&plain, naive.statements.iter().map(Naive::change));
    let [customers, things] = entities();
    let (one, other) = (db.snapshot(), plain.snapshot());
    for entity in customers.iter().chain(&things) {
        assert_eq!(one.links(entity, None).expect("links"), other.links(entity, None).expect("links"), "{entity}");
        let always = Window::new(Timestamp::MIN, Timestamp::MAX);
        let reach = |snapshot: &ofone::Snapshot| {
            let set = snapshot.who(Expr::reach(entity.clone(), always)).run().expect("a set");
            let mut ids: Vec<Text> = set.ids().map(|id| id.expect("an id")).collect();
            ids.sort();
            ids
        };
        assert_eq!(reach(&one), reach(&other), "{entity}");
    }
    for customer in &customers {
        assert_eq!(ids(db, &customer.id), ids(&plain, &customer.id), "{customer}");
    }
    let stats = one.stats().expect("stats");
    assert_eq!(stats.links as usize, naive.statements.len());
    assert_eq!(stats.links_quarantined as usize, naive.held.len());
    well(db);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(setting("OFONE_FANOUT_CASES", 24)))]

    #[test]
    fn any_history_leaves_in_force_what_the_limits_allow(acts in vec(act(), 1..12)) {
        let place = scratch();
        let mut db = open(place.path(), FROM, TO);
        db.writer().commit(happenings()).expect("a commit");
        let mut naive = Naive::default();
        for act in acts {
            match act {
                Act::Say(batches) => {
                    // On their way together, so that some share a group.
                    let submitted: Vec<_> = batches.iter().map(|changes| {
                        let batch = changes.iter().cloned().map(Record::from).collect();
                        db.writer().submit(batch).expect("it is taken")
                    }).collect();
                    for (changes, pending) in batches.iter().zip(submitted) {
                        let receipt = pending.wait().expect("a commit");
                        let expected: Vec<Outcome> = changes.iter().map(|change| naive.say(change)).collect();
                        prop_assert_eq!(receipt.outcomes(), expected, "{:?}", changes);
                    }
                }
                Act::Promote(which) => {
                    let held: Vec<Link> = naive.held.iter().cloned().collect();
                    let asked = which.iter().filter_map(|at| held.get(at % held.len().max(1)).cloned());
                    let asked: Vec<Link> = asked.collect();
                    let receipt = db.promote(asked.iter().cloned()).expect("a commit");
                    for (link, outcome) in asked.iter().zip(receipt.outcomes()) {
                        prop_assert_eq!(*outcome == Outcome::Inserted, naive.promote(link), "{:?}", link);
                    }
                }
                Act::Flush => db.flush().expect("a flush"),
                Act::Reopen => {
                    drop(db);
                    db = open(place.path(), FROM, TO);
                }
            }
        }
        compare(&db, &naive);
    }

    /// As long as no more were ever said than the limits allow, order and batches change nothing.
    #[test]
    fn under_the_limits_no_order_puts_anything_into_quarantine(
        changes in vec(change(), 1..40),
        order in any::<u64>(),
        at_once in 1..9usize,
    ) {
        let mut naive = Naive::default();
        let mut kept: Vec<LinkChange> = Vec::new();
        for change in changes {
            // Retractions make room, and only those that came before do.
            if matches!(change, LinkChange::Retract { .. }) {
                continue;
            }
            naive.say(&change);
            if naive.statements.contains(&Naive::stated(&change)) {
                kept.push(change);
            }
        }
        let mut place = order;
        kept.sort_by_cached_key(|_| {
            place = place.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            place >> 17
        });
        naive.held.clear();
        let directory = scratch();
        let db = open(directory.path(), FROM, TO);
        db.writer().commit(happenings()).expect("a commit");
        for some in kept.chunks(at_once) {
            prop_assert!(!say(&db, some.iter().cloned()).contains(&Outcome::Quarantined));
        }
        compare(&db, &naive);
    }
}
