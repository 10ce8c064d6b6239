//! The promises of the public interface, each by a small example.

use std::thread;

use ofone::{
    Batch, Cursor, Db, Entity, ErrorKind, Event, EventName, Indexed, Interval, LinkChange, Outcome, Receipt, Record,
    Snapshot, StreamItem, StreamQuery, Text, Timestamp, Value, WhyNot, Window,
};
use tempfile::TempDir;

use crate::support::{at, entity, event, link, open, options, scratch};

/// A store of its own that seals only when told to.
fn store() -> (TempDir, Db) {
    let place = scratch();
    let db = open(place.path(), 1 << 16);
    (place, db)
}

fn commit(db: &Db, records: impl IntoIterator<Item = Record>) -> Receipt {
    let mut batch = Batch::new();
    for record in records {
        batch.push(record);
    }
    db.writer().commit(batch).expect("a commit")
}

fn items(query: StreamQuery) -> Vec<StreamItem> {
    query.run().expect("a stream").collect::<Result<_, _>>().expect("items")
}

fn ids(query: StreamQuery) -> Vec<String> {
    items(query).into_iter().map(|item| item.event.id.expect("these examples give ids").to_string()).collect()
}

fn stream(db: &Db, customer: &str) -> Vec<String> {
    ids(db.snapshot().stream(customer))
}

/// Customer A uses service S, which runs on olt K; customer B hangs on K as well.
fn neighbours() -> [Record; 4] {
    [
        link("customer:A", "uses", "service:S").into(),
        link("service:S", "runs_on", "olt:K").into(),
        link("customer:B", "uses", "service:T").into(),
        link("service:T", "runs_on", "olt:K").into(),
    ]
}

fn close(from: &str, relation: &str, to: &str, time: i64) -> Record {
    let (from, to) = (entity(from), entity(to));
    LinkChange::Close { from, relation: relation.into(), to, at: at(time), source: Text::default() }.into()
}

fn retract(from: &str, relation: &str, to: &str, valid_from: Option<Timestamp>) -> Record {
    let (from, to) = (entity(from), entity(to));
    LinkChange::Retract { from, relation: relation.into(), to, valid_from, source: Text::default() }.into()
}

#[test]
fn a_clone_of_the_handle_keeps_the_store_open() {
    let (place, db) = store();
    let clone = db.clone();
    drop(db);
    assert_eq!(Db::open(place.path(), options(8)).err().map(|error| error.kind()), Some(ErrorKind::Busy));
    commit(&clone, [event(1, "a", "customer:A").into()]);
    assert_eq!(stream(&clone, "A"), ["a"]);
}

#[test]
fn an_absent_store_is_not_found_and_not_made_when_that_was_not_asked_for() {
    let place = scratch();
    let path = place.path().join("absent");
    let error = Db::open(&path, options(8).create(false)).expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(!path.exists());
    drop(open(&path, 8));
    assert!(Db::open(&path, options(8).create(false)).is_ok());
}

#[test]
fn outcomes_come_in_the_order_of_pushing() {
    let (_place, db) = store();
    let uses = link("customer:A", "uses", "service:S");
    let receipt = commit(
        &db,
        [
            event(1, "a", "customer:A").into(),
            uses.clone().into(),
            event(1, "a", "customer:A").into(),
            event(1, "a", "customer:B").into(),
            event(2, "x", "customer:A").end(at(1)).into(),
            uses.into(),
            event(2, "b", "customer:A").into(),
        ],
    );
    let outcomes = receipt.outcomes();
    assert_eq!(outcomes.len(), 7);
    assert_eq!(outcomes[..4], [Outcome::Inserted, Outcome::Inserted, Outcome::Duplicate, Outcome::Conflict]);
    assert!(matches!(outcomes[4], Outcome::Rejected(_)));
    assert_eq!(outcomes[5..], [Outcome::Duplicate, Outcome::Inserted]);
    let counts = (receipt.inserted(), receipt.duplicates(), receipt.conflicts(), receipt.rejected());
    assert_eq!(counts, (3, 2, 1, 1));
    assert_eq!(stream(&db, "A"), ["a", "b"]);
    assert_eq!(stream(&db, "B"), Vec::<String>::new(), "what conflicts is not stored");
}

#[test]
fn a_refused_record_leaves_no_names_behind() {
    let (_place, db) = store();
    commit(&db, [event(1, "a", "customer:A").into()]);
    let receipt = commit(&db, [event(1, "a", "customer:B").into(), event(2, "", "customer:C").into()]);
    assert_eq!((receipt.conflicts(), receipt.rejected()), (1, 1));
    let customers: Vec<Text> = db.snapshot().customers().collect::<Result<_, _>>().expect("customers");
    assert_eq!(customers, [Text::from("A")]);
}

#[test]
fn order_and_repetition_of_entities_are_no_content() {
    let (_place, db) = store();
    let plain = || event(1, "a", "customer:A").subject(entity("olt:K")).context(entity("cell:L"));
    let repeated = event(1, "a", "olt:K")
        .subject(entity("customer:A"))
        .subject(entity("olt:K"))
        .context(entity("customer:A"))
        .context(entity("cell:L"))
        .context(entity("cell:L"));
    let receipt = commit(&db, [repeated.into(), plain().into()]);
    assert_eq!(receipt.outcomes(), [Outcome::Inserted, Outcome::Duplicate]);
    assert_eq!(items(db.snapshot().stream("A"))[0].event, plain());
}

#[test]
fn commits_are_numbered_upwards_also_across_reopening() {
    let (place, db) = store();
    let first = commit(&db, [event(1, "a", "customer:A").into()]).commit();
    let second = commit(&db, [event(2, "b", "customer:A").into()]).commit();
    drop(db);
    let db = open(place.path(), 8);
    let third = commit(&db, [event(3, "c", "customer:A").into()]).commit();
    assert!(first < second && second < third, "{first} {second} {third}");
    let brought: Vec<u64> = items(db.snapshot().stream("A")).iter().map(StreamItem::commit).collect();
    assert_eq!(brought, [first, second, third]);
}

#[test]
fn a_rejection_names_the_limit_and_its_neighbours_are_stored() {
    let (_place, db) = store();
    let good = || event(1, "x", "customer:A");
    let many = |count: usize| (0..count).map(|number| Entity::new("cell", number.to_string()));
    let mut subjects = good();
    subjects.subjects.extend(many(64));
    let mut context = good();
    context.context.extend(many(257));
    let mut attributes = good();
    attributes.attributes.extend((0..257).map(|number| (Text::from(number.to_string()), Value::from(true))));
    let long_name = "n".repeat(257);
    let broken: [(Record, &str); 10] = [
        (subjects.into(), "64"),
        (context.into(), "256"),
        (attributes.into(), "256"),
        (good().attribute("long", "t".repeat(64 * 1024 + 1)).into(), "65536"),
        (good().id("i".repeat(1025)).into(), "1024"),
        (good().subject(Entity::customer("i".repeat(1025))).into(), "1024"),
        (good().layer(long_name.clone()).into(), "256"),
        (good().attribute(long_name.clone(), 1).into(), "256"),
        (Event::new(at(1), "feed", long_name.clone()).into(), "256"),
        (link("customer:A", &long_name, "service:S").into(), "256"),
    ];
    let records = broken.iter().map(|(record, _)| record.clone());
    let receipt = commit(&db, records.chain([event(2, "good", "customer:A").into()]));
    for ((record, limit), outcome) in broken.iter().zip(receipt.outcomes()) {
        let Outcome::Rejected(rejection) = outcome else { panic!("{outcome:?} for {record:?}") };
        assert!(rejection.reason().contains(limit), "`{rejection}` names {limit}");
    }
    assert_eq!(stream(&db, "A"), ["good"]);
}

#[test]
fn what_is_just_within_the_limits_is_stored() {
    let (_place, db) = store();
    let mut largest = event(1, &"i".repeat(1024), "customer:A")
        .layer("l".repeat(256))
        .attribute("n".repeat(256), "t".repeat(64 * 1024))
        .context(Entity::new("k".repeat(256), "i".repeat(1024)));
    largest.subjects.extend((1..64).map(|number| Entity::new("cell", number.to_string())));
    assert_eq!(commit(&db, [largest.clone().into()]).outcomes(), [Outcome::Inserted]);
    db.flush().expect("a flush");
    largest.normalise();
    assert_eq!(items(db.snapshot().stream("A"))[0].event, largest);
}

#[test]
fn broken_records_are_rejected_whatever_they_break() {
    let (_place, db) = store();
    let good = || event(5, "x", "customer:A");
    let broken: [Record; 16] = [
        Event::new(Timestamp::MAX, "feed", "kind").into(),
        Event::new(Timestamp::MIN, "feed", "kind").into(),
        Event::new(at(1), "", "kind").into(),
        Event::new(at(1), "feed", "").into(),
        good().end(at(5)).into(),
        good().end(at(4)).into(),
        good().value(f64::NAN).into(),
        good().value(f64::NEG_INFINITY).into(),
        good().attribute("number", f64::NAN).into(),
        good().attribute("twice", 1).attribute("twice", 2).into(),
        good().attribute("", 1).into(),
        good().subject(Entity::new("", "x")).into(),
        good().context(Entity::new("cell", "")).into(),
        link("customer:A", "uses", "customer:A").into(),
        link("customer:A", "", "service:S").into(),
        link("customer:A", "uses", "service:S").valid_from(at(3)).valid_to(at(3)).into(),
    ];
    let receipt = commit(&db, broken.clone());
    for (record, outcome) in broken.iter().zip(receipt.outcomes()) {
        assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?} for {record:?}");
    }
    assert!(db.snapshot().entity(&Entity::customer("A")).expect("a lookup").is_none(), "nothing of them is known");
    assert_eq!(commit(&db, [good().into()]).outcomes(), [Outcome::Inserted], "their names are still free");
}

#[test]
fn pages_begin_behind_the_cursor_also_after_sealing_and_reopening() {
    let (place, db) = store();
    // Three ties at each instant.
    let records = (0..12).map(|number| event(number / 3, &format!("e{number:02}"), "customer:A").into());
    commit(&db, records);
    let page = |db: &Db, after: Option<&Cursor>| {
        let query = db.snapshot().stream("A").limit(5);
        items(after.cloned().into_iter().fold(query, StreamQuery::after))
    };
    let first = page(&db, None);
    let cursor = first.last().expect("five items").cursor();
    db.flush().expect("a flush");
    let second = page(&db, Some(&cursor));
    let cursor: Cursor = second.last().expect("five items").cursor().to_string().parse().expect("a cursor");
    drop((first, second));
    drop(db);
    let db = open(place.path(), 8);
    let third: Vec<_> = page(&db, Some(&cursor)).iter().map(|item| item.event.id.clone()).collect();
    assert_eq!(third, [Some(Text::from("e10")), Some(Text::from("e11"))]);
    assert_eq!(ids(db.snapshot().stream("A").newest_first().after(cursor).limit(2)), ["e08", "e07"]);
}

#[test]
fn text_that_is_no_cursor_is_invalid() {
    for text in ["", "x", "0", "ffffffff", "-1:2:3"] {
        assert_eq!(text.parse::<Cursor>().err().map(|error| error.kind()), Some(ErrorKind::Invalid), "`{text}`");
    }
}

#[test]
fn sealing_reopening_and_waiting_change_no_answer() {
    let (place, db) = store();
    let everything = |db: &Db| {
        let snapshot = db.snapshot();
        let items: Vec<_> = ["A", "B"].iter().flat_map(|id| items(snapshot.stream(*id))).collect();
        items.iter().map(|item| (item.event.clone(), item.felt.clone(), item.commit())).collect::<Vec<_>>()
    };
    let mut full = Event::new(at(7), "feed", "call.dropped")
        .id("full")
        .end(at(9))
        .sequence(3)
        .layer("network")
        .severity(ofone::Severity::ERROR)
        .value(-0.5)
        .subject(entity("olt:K"))
        .subject(entity("service:S"))
        .context(entity("cell:L"))
        .attribute("text", "ä\n\0")
        .attribute("int", i64::MIN)
        .attribute("float", 1e-300)
        .attribute("bool", true);
    commit(&db, neighbours());
    commit(&db, [full.clone().into(), event(1, "a", "customer:A").into(), event(2, "b", "service:T").into()]);
    let before = everything(&db);
    assert_eq!(before.len(), 4);
    full.normalise();
    assert_eq!(before[1].0, full);
    db.flush().expect("a flush");
    assert_eq!(everything(&db), before, "sealed");
    db.wait_until_quiet().expect("quiet");
    assert_eq!(everything(&db), before, "quiet");
    drop(db);
    let db = open(place.path(), 8);
    assert_eq!(everything(&db), before, "reopened");
    db.flush().expect("a flush of nothing");
    assert_eq!(db.check().expect("a check").problems, Vec::<String>::new());
}

#[test]
fn reopening_keeps_what_was_not_sealed() {
    let (place, db) = store();
    commit(&db, [event(1, "sealed", "customer:A").into()]);
    db.flush().expect("a flush");
    commit(&db, [event(2, "unsealed", "customer:A").into()]);
    drop(db);
    let db = open(place.path(), 1 << 16);
    assert_eq!(stream(&db, "A"), ["sealed", "unsealed"]);
    let again = commit(&db, [event(1, "sealed", "customer:A").into(), event(2, "unsealed", "customer:A").into()]);
    assert_eq!(again.outcomes(), [Outcome::Duplicate, Outcome::Duplicate]);
    let changed = commit(&db, [event(1, "sealed", "customer:B").into(), event(2, "unsealed", "customer:B").into()]);
    assert_eq!(changed.outcomes(), [Outcome::Conflict, Outcome::Conflict]);
}

#[test]
fn an_empty_store_answers_everything_with_nothing() {
    let (_place, db) = store();
    db.flush().expect("a flush of nothing");
    let snapshot = db.snapshot();
    assert_eq!(stream(&db, "A"), Vec::<String>::new());
    assert_eq!(snapshot.customers().count(), 0);
    let stats = snapshot.stats().expect("counters");
    assert_eq!((stats.events, stats.first, stats.last, stats.customers), (0, None, None, 0));
    assert_eq!(db.check().expect("a check").problems, Vec::<String>::new());
}

#[test]
fn an_unknown_customer_has_an_empty_stream_and_no_why() {
    let (_place, db) = store();
    commit(&db, [event(1, "a", "customer:A").into()]);
    let snapshot = db.snapshot();
    assert_eq!(stream(&db, "B"), Vec::<String>::new());
    assert!(snapshot.entity(&Entity::customer("B")).expect("a lookup").is_none());
    let known = event(1, "a", "customer:A").name();
    let unknown = EventName { time: at(2), ..known.clone() };
    let why_error = |customer: &str, name: &EventName| snapshot.why(customer, name).err().map(|error| error.kind());
    assert_eq!(why_error("B", &known), Some(ErrorKind::NotFound));
    assert_eq!(why_error("A", &unknown), Some(ErrorKind::NotFound));
    assert_eq!(why_error("A", &known), None);
}

#[test]
fn events_that_arrive_before_their_links_are_found_once_those_arrive() {
    let (_place, db) = store();
    commit(&db, [event(5, "alarm", "olt:K").into(), event(6, "fault", "service:S").into()]);
    db.flush().expect("a flush");
    assert_eq!(stream(&db, "A"), Vec::<String>::new());
    commit(&db, [link("customer:A", "uses", "service:S").into()]);
    assert_eq!(stream(&db, "A"), ["fault"]);
    db.flush().expect("a flush");
    commit(&db, [link("service:S", "runs_on", "olt:K").into()]);
    assert_eq!(stream(&db, "A"), ["alarm", "fault"]);
}

/// The home of a subject was remembered but not written down when an event was present for longer
/// than the link to it held: the next event went there, and no reader looked for it.
#[test]
fn an_event_that_outlasts_its_link_does_not_hide_the_next_one() {
    let (_place, db) = store();
    commit(&db, [link("customer:A", "uses", "service:S").valid_to(at(18)).into()]);
    commit(&db, [event(13, "long", "service:S").end(at(19)).into()]);
    commit(&db, [event(1, "next", "service:S").into()]);
    commit(&db, [link("customer:B", "uses", "service:S").into()]);
    assert_eq!(stream(&db, "A"), ["next", "long"]);
    assert_eq!(stream(&db, "B"), ["next", "long"]);
    assert_eq!(db.check().expect("a check").problems, Vec::<String>::new());
}

#[test]
fn a_closed_link_ends_and_a_retracted_link_never_was() {
    let (_place, db) = store();
    commit(&db, neighbours());
    commit(&db, [event(4, "early", "olt:K").into(), event(5, "late", "olt:K").into()]);
    commit(&db, [close("service:S", "runs_on", "olt:K", 5), retract("customer:B", "uses", "service:T", None)]);
    assert_eq!(stream(&db, "A"), ["early"]);
    assert_eq!(stream(&db, "B"), Vec::<String>::new());
    let snapshot = db.snapshot();
    let outgoing = snapshot.links(&entity("service:S"), None).expect("links").outgoing;
    assert_eq!(outgoing.len(), 1);
    assert_eq!(outgoing[0].validity(), Interval::new(Timestamp::MIN, at(5)));
    assert!(snapshot.links(&entity("service:S"), Some(at(5))).expect("links").outgoing.is_empty());
    assert!(snapshot.links(&entity("service:T"), None).expect("links").incoming.is_empty());
}

#[test]
fn a_service_that_moves_brings_to_each_customer_only_its_own_time() {
    let (_place, db) = store();
    commit(
        &db,
        [
            link("customer:A", "uses", "service:S").valid_to(at(10)).into(),
            link("customer:B", "uses", "service:S").valid_from(at(10)).into(),
            event(9, "before", "service:S").into(),
            event(10, "after", "service:S").into(),
        ],
    );
    for sealed in [false, true] {
        if sealed {
            db.flush().expect("a flush");
        }
        assert_eq!((stream(&db, "A"), stream(&db, "B")), (vec!["before".to_owned()], vec!["after".to_owned()]));
    }
}

#[test]
fn context_does_not_leak_to_neighbours() {
    let (_place, db) = store();
    commit(&db, neighbours());
    commit(&db, [event(1, "ticket", "customer:A").context(entity("olt:K")).into(), event(2, "alarm", "olt:K").into()]);
    assert_eq!(stream(&db, "A"), ["ticket", "alarm"]);
    assert_eq!(stream(&db, "B"), ["alarm"]);
    let ticket = event(1, "ticket", "customer:A").name();
    assert!(db.snapshot().why("B", &ticket).expect("both are known").paths.is_empty());
}

#[test]
fn an_item_tells_through_what_it_came_and_whether_others_share_it() {
    let (_place, db) = store();
    commit(&db, neighbours());
    let events = [event(1, "own", "customer:A"), event(2, "private", "service:S"), event(3, "shared", "olt:K")];
    commit(&db, events.map(Record::from));
    let told: Vec<_> = items(db.snapshot().stream("A"))
        .iter()
        .map(|item| {
            (
                item.via().map(Entity::to_string),
                item.is_shared().expect("an answer"),
                item.paths().expect("paths")[0].steps.len(),
            )
        })
        .collect();
    let expected = [(None, false, 0), (Some("service:S".to_owned()), false, 1), (Some("olt:K".to_owned()), true, 2)];
    assert_eq!(told, expected);
}

#[test]
fn an_outage_is_felt_on_both_sides_of_a_change_of_links() {
    let (_place, db) = store();
    commit(
        &db,
        [
            event(10, "outage", "olt:K").end(at(50)).into(),
            link("customer:A", "uses", "olt:K").valid_to(at(20)).into(),
            link("customer:A", "uses", "service:S").valid_from(at(30)).into(),
            link("service:S", "runs_on", "olt:K").valid_to(at(40)).into(),
        ],
    );
    let felt = |query: StreamQuery| -> Vec<Interval> {
        items(query).iter().flat_map(|item| item.felt.intervals().to_vec()).collect()
    };
    let both = vec![Interval::new(at(10), at(20)), Interval::new(at(30), at(40))];
    let stream = || db.snapshot().stream("A");
    assert_eq!(felt(stream()), both);
    assert_eq!(felt(stream().window(at(39)..at(60))), both, "present at 39 and not clipped");
    assert!(items(stream().window(at(20)..at(30))).is_empty(), "nobody felt it then");
    assert!(items(stream().window(at(40)..at(60))).is_empty());
    assert_eq!(felt(stream().max_hops(1)), both[..1], "through the direct link alone");
}

#[test]
fn an_empty_window_selects_nothing() {
    let (_place, db) = store();
    commit(&db, [event(1, "a", "customer:A").end(at(9)).into(), event(2, "b", "customer:A").into()]);
    for (from, to) in [(2, 2), (3, 1)] {
        assert!(items(db.snapshot().stream("A").window(Window::new(at(from), at(to)))).is_empty(), "{from} {to}");
    }
}

#[test]
fn a_path_cut_short_by_the_hop_limit_is_told() {
    let (_place, db) = store();
    commit(&db, neighbours());
    commit(&db, [event(1, "alarm", "olt:K").into()]);
    let ask = |hops: u32| {
        let mut stream = db.snapshot().stream("A").max_hops(hops).run().expect("a stream");
        (stream.by_ref().count(), stream.hop_limit_reached())
    };
    assert_eq!(ask(1), (0, true));
    assert_eq!(ask(3), (1, false));
}

#[test]
fn why_not_names_what_blocks() {
    let (_place, db) = store();
    let chain = (0..9).map(|hop| link(&format!("node:{hop}"), "next", &format!("node:{}", hop + 1)).into());
    commit(&db, chain);
    commit(
        &db,
        [
            link("customer:A", "uses", "node:0").into(),
            link("customer:A", "uses", "service:late").valid_from(at(10)).into(),
            link("customer:A", "uses", "service:wrong").into(),
            retract("customer:A", "uses", "service:wrong", None),
            event(5, "far", "node:9").into(),
            event(5, "late", "service:late").into(),
            event(5, "wrong", "service:wrong").into(),
            event(5, "foreign", "service:foreign").into(),
            event(5, "near", "node:7").into(),
        ],
    );
    let snapshot = db.snapshot();
    let why_not = |id: &str, subject: &str| {
        let why = snapshot.why("A", &event(5, id, subject).name()).expect("both are known");
        assert!(why.paths.is_empty(), "{id}");
        why.why_not.expect("a reason")
    };
    match why_not("late", "service:late") {
        WhyNot::OtherTime { path, blocking } => {
            assert_eq!(blocking.to, entity("service:late"));
            assert_eq!(path.subject, entity("service:late"));
        }
        other => panic!("{other:?}"),
    }
    match why_not("far", "node:9") {
        WhyNot::MoreHops { hops, path } => assert_eq!((hops, path.steps.len()), (10, 10)),
        other => panic!("{other:?}"),
    }
    match why_not("wrong", "service:wrong") {
        WhyNot::Retracted { blocking, .. } => assert_eq!(blocking.to, entity("service:wrong")),
        other => panic!("{other:?}"),
    }
    assert!(matches!(why_not("foreign", "service:foreign"), WhyNot::NoPath));
    let near = snapshot.why("A", &event(5, "near", "node:7").name()).expect("both are known");
    assert_eq!((near.paths.len(), near.paths[0].steps.len()), (1, 8), "eight hops are within the bound");
    assert!(near.why_not.is_none());
}

/// A mesh has more paths than are listed; the first ones found there are long.
#[test]
fn why_not_names_the_shortest_of_very_many_paths() {
    const SIDE: i64 = 6;
    let (_place, db) = store();
    let node = |x: i64, y: i64| format!("router:{x}/{y}");
    let inside = |at: i64| (0..SIDE).contains(&at);
    let places = (0..SIDE).flat_map(|x| (0..SIDE).map(move |y| (x, y)));
    let neighbours = places.flat_map(|(x, y)| [(x, y + 1), (x + 1, y), (x, y - 1), (x - 1, y)].map(|to| ((x, y), to)));
    let peers = neighbours
        .filter(|(_, to)| inside(to.0) && inside(to.1))
        .map(|(from, to)| link(&node(from.0, from.1), "peers", &node(to.0, to.1)).into());
    let far = event(5, "far", &node(SIDE - 1, SIDE - 1));
    commit(&db, peers.chain([link("customer:A", "uses", &node(0, 0)).into(), far.clone().into()]));
    let why = db.snapshot().why("A", &far.name()).expect("both are known");
    let Some(WhyNot::MoreHops { hops, path }) = why.why_not else { panic!("{why:?}") };
    assert_eq!((hops, path.steps.len()), (11, 11), "one to the mesh and ten across it");
}

#[test]
fn events_without_subjects_are_stored_and_in_nobodys_stream() {
    let (_place, db) = store();
    let alone = Event::new(at(1), "feed", "note").context(Entity::customer("A"));
    assert_eq!(commit(&db, [alone.clone().into()]).outcomes(), [Outcome::Inserted]);
    let snapshot = db.snapshot();
    assert_eq!(snapshot.event(&alone.name()).expect("a lookup"), Some(alone.clone()));
    assert!(items(snapshot.stream("A")).is_empty());
    assert!(snapshot.why("A", &alone.name()).expect("both are known").paths.is_empty());
    assert_eq!(commit(&db, [alone.into()]).outcomes(), [Outcome::Duplicate], "its content is its name");
}

#[test]
fn a_snapshot_does_not_see_later_commits_and_outlives_the_handle() {
    let (_place, db) = store();
    commit(&db, [event(1, "a", "customer:A").into()]);
    let before: Snapshot = db.snapshot();
    commit(&db, [event(2, "b", "customer:A").into(), event(3, "c", "service:S").into()]);
    commit(&db, [link("customer:A", "uses", "service:S").into()]);
    let after = db.snapshot();
    db.flush().expect("a flush");
    drop(db);
    assert_eq!(ids(before.stream("A")), ["a"]);
    assert_eq!(before.stats().expect("counters").events, 1);
    assert!(before.entity(&entity("service:S")).expect("a lookup").is_none());
    assert_eq!(ids(after.stream("A")), ["a", "b", "c"]);
}

#[test]
fn a_stream_pins_what_it_reads() {
    let (_place, db) = store();
    commit(&db, (0..100).map(|number| event(number, &format!("{number:02}"), "customer:A").into()));
    db.flush().expect("a flush");
    let mut stream = db.snapshot().stream("A").run().expect("a stream");
    let first = stream.next().expect("an item").expect("no error");
    commit(&db, (0..100).map(|number| event(number, &format!("later{number}"), "customer:A").into()));
    db.flush().expect("a flush");
    db.wait_until_quiet().expect("quiet");
    drop(db);
    assert_eq!(first.event.id.as_deref(), Some("00"));
    assert_eq!(stream.map(|item| item.expect("no error").event.id.expect("an id").len()).sum::<usize>(), 2 * 99);
    assert_eq!(first.paths().expect("paths").len(), 1, "an item pins it too");
}

#[test]
fn of_the_same_events_from_several_writers_each_is_stored_once() {
    const WRITERS: usize = 4;
    let place = scratch();
    let db = open(place.path(), 20);
    let inserted: Vec<usize> = thread::scope(|scope| {
        let write = || {
            let writer = db.writer();
            let batch = |number: i64| {
                let mut batch = Batch::new();
                for part in 0..5 {
                    batch.event(event(number, &part.to_string(), "customer:A"));
                }
                batch
            };
            (0..40).map(|number| writer.commit(batch(number)).expect("a commit").inserted()).sum()
        };
        let threads: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a writer")).collect()
    });
    assert_eq!(inserted.iter().sum::<usize>(), 200, "{inserted:?}");
    assert_eq!(items(db.snapshot().stream("A")).len(), 200);
}

#[test]
fn submitted_batches_take_effect_in_order_once_waited_for() {
    let (_place, db) = store();
    let writer = db.writer();
    let submit = |event: Event| {
        let mut batch = Batch::new();
        batch.event(event);
        writer.submit(batch).expect("a submission")
    };
    let pending = [event(1, "a", "customer:A"), event(1, "a", "customer:A"), event(1, "a", "customer:B")].map(submit);
    let outcomes: Vec<_> =
        pending.into_iter().flat_map(|pending| pending.wait().expect("a commit").outcomes().to_vec()).collect();
    assert_eq!(outcomes, [Outcome::Inserted, Outcome::Duplicate, Outcome::Conflict]);
    assert_eq!(stream(&db, "A"), ["a"]);
}

#[test]
fn the_type_of_customers_is_set_at_creation_and_stays() {
    let place = scratch();
    let db = Db::open(place.path(), options(8).customer_type("household")).expect("a store");
    commit(&db, [event(1, "a", "household:H").into(), event(1, "b", "customer:H").into()]);
    assert_eq!(stream(&db, "H"), ["a"]);
    drop(db);
    let db = Db::open(place.path(), options(8).create(false)).expect("the store");
    assert_eq!(db.customer_type().as_str(), "household");
    assert_eq!(stream(&db, "H"), ["a"]);
    let customers: Vec<Text> = db.snapshot().customers().collect::<Result<_, _>>().expect("customers");
    assert_eq!(customers, [Text::from("H")]);
    let info = db.snapshot().entity(&entity("customer:H")).expect("a lookup").expect("known");
    assert!(!info.is_customer, "{info:?}");
}

#[test]
fn counters_tell_which_attributes_the_index_tells() {
    let (_place, db) = store();
    let named = |number: i64| event(number, &number.to_string(), "customer:A").attribute("cause", format!("c{number}"));
    commit(&db, (0..255).map(|number| named(number).attribute("tries", number).into()));
    let stats = || db.snapshot().stats().expect("counters").attributes;
    let of = |name: &str| stats()["thing.happened"][name];
    assert_eq!((of("cause").events, of("cause").texts, of("cause").indexed), (255, 255, Indexed::Yes));
    assert_eq!((of("tries").events, of("tries").texts, of("tries").indexed), (255, 0, Indexed::No));
    commit(&db, [named(255).into()]);
    assert_eq!((of("cause").events, of("cause").indexed), (256, Indexed::Partly));
    assert_eq!(stats().len(), 1, "attributes of a kind without any are not listed: {:?}", stats());
}

#[test]
fn counters_tell_sealed_from_unsealed() {
    let (_place, db) = store();
    let count = |number: i64| commit(&db, [event(number, "a", "customer:A").into()]);
    count(1);
    count(2);
    let stats = || db.snapshot().stats().expect("counters");
    assert_eq!((stats().events, stats().segments, stats().unsealed_events), (2, 0, 2));
    db.flush().expect("a flush");
    count(3);
    assert_eq!((stats().events, stats().segments, stats().unsealed_events), (3, 1, 1));
    assert_eq!((stats().first, stats().last), (Some(at(1)), Some(at(3))));
    assert!(stats().disk_bytes > 0);
}

/// Names of a batch are in no store before it is written, and in no cache once there are too many of them.
#[test]
fn whom_a_batch_names_first_and_last_is_one_however_many_it_names_between() {
    let (_place, db) = store();
    let others = (0..3000).map(|number| event(2, &format!("other-{number}"), &format!("customer:{number}")));
    let events = [event(1, "first", "customer:A")].into_iter().chain(others).chain([event(3, "last", "customer:A")]);
    commit(&db, events.map(Record::from));
    assert_eq!(stream(&db, "A"), ["first", "last"]);
    assert_eq!(db.snapshot().customers().count(), 3001);
    assert_eq!(db.check().expect("a check").problems, Vec::<String>::new());
}

#[test]
fn the_time_of_a_commit_is_told_also_when_a_seal_has_just_taken_it() {
    let (_place, db) = store();
    let commit = commit(&db, [event(1, "a", "customer:A").into()]).commit();
    let before = db.snapshot().commit_time(commit).expect("a read");
    db.flush().expect("a flush");
    assert!(before.is_some());
    assert_eq!(db.snapshot().commit_time(commit).expect("a read"), before);
    assert_eq!(db.snapshot().commit_time(commit + 1).expect("a read"), None);
}

/// As it is told of, and so comes back.
#[test]
fn an_event_with_its_own_content_hash_as_id_is_the_one_without() {
    let (_place, db) = store();
    let without = || Event::new(at(5), "feed", "thing.happened").subject(entity("customer:A")).value(2.0);
    let hash = without().name().id;
    commit(&db, [without().into()]);
    let again = commit(&db, [without().id(hash.clone()).into(), without().id("other").into()]);
    assert_eq!(again.outcomes(), [Outcome::Duplicate, Outcome::Inserted]);
    assert_eq!(items(db.snapshot().stream("A")).len(), 2);
    let (_place, db) = store();
    commit(&db, [without().id(hash).into()]);
    assert_eq!(commit(&db, [without().into()]).outcomes(), [Outcome::Duplicate]);
}
