//! The limits that `Limits::list` tells are those that are kept: at one all is well, one over is refused.

use std::io::Cursor;

use ofone::import::{Format, Import, ImportOptions, Input, Parsed};
use ofone::{
    Batch, Bucket, Db, Entity, Event, Expr, Limits, LinkChange, Outcome, Predicate, Record, Step, Text, Timestamp,
    Value,
};

use crate::support::{at, event, link, options, scratch};

/// The limit of this name, as a store without options has it.
fn most(name: &str) -> usize {
    let list = Limits::default().list();
    let limit = list.iter().find(|limit| limit.name == name).unwrap_or_else(|| panic!("no limit `{name}`"));
    usize::try_from(limit.most).expect("it fits")
}

fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

type Sized = (&'static str, fn(usize) -> Record);

/// Records that are as large as asked for in one way.
const RECORDS: [Sized; 16] = [
    ("name_bytes", |size| Event::new(at(1), long(size), "kind").into()),
    ("name_bytes", |size| Event::new(at(1), "feed", long(size)).into()),
    ("name_bytes", |size| event(1, "a", "customer:A").layer(long(size)).into()),
    ("name_bytes", |size| event(1, "b", "customer:A").attribute(long(size), 1).into()),
    ("name_bytes", |size| event(1, "c", "customer:A").subject(Entity::new(long(size), "1")).into()),
    ("name_bytes", |size| link("customer:A", &long(size), "service:S").into()),
    ("name_bytes", |size| link("customer:A", "uses", "service:S").source(long(size)).into()),
    ("name_bytes", |size| LinkChange::from(link("customer:A", &format!("r{}", long(size - 1)), "service:S")).into()),
    ("id_bytes", |size| event(1, &long(size), "customer:A").into()),
    ("id_bytes", |size| event(1, "d", "customer:A").subject(Entity::customer(long(size))).into()),
    ("id_bytes", |size| event(1, "e", "customer:A").context(Entity::new("cell", long(size))).into()),
    ("id_bytes", |size| ofone::Link::new(Entity::new("service", long(size)), "fed_by", Entity::new("olt", "1")).into()),
    ("text_bytes", |size| event(1, "f", "customer:A").attribute("note", long(size)).into()),
    ("subjects", |size| {
        let mut event = Event::new(at(1), "feed", "kind").id("g");
        event.subjects.extend((0..size).map(|number| Entity::new("cell", number.to_string())));
        event.into()
    }),
    ("context", |size| {
        let mut event = event(1, "h", "customer:A");
        event.context.extend((0..size).map(|number| Entity::new("cell", number.to_string())));
        event.into()
    }),
    ("attributes", |size| {
        let mut event = event(1, "i", "customer:A");
        let names = (0..size).map(|number| (Text::from(number.to_string()), Value::from(true)));
        event.attributes.extend(names);
        event.into()
    }),
];

#[test]
fn a_record_at_a_limit_is_stored_and_one_over_it_is_rejected_with_the_limit() {
    let place = scratch();
    let db = Db::open(place.path(), options(1 << 10)).expect("the store opens");
    for (number, (name, sized)) in RECORDS.iter().enumerate() {
        let most = most(name);
        let batch: Batch = [sized(most), sized(most + 1)].into_iter().collect();
        let receipt = db.writer().commit(batch).expect("a commit");
        assert_eq!(receipt.outcomes()[0], Outcome::Inserted, "{name}, record {number}");
        let Outcome::Rejected(rejection) = &receipt.outcomes()[1] else { panic!("{name}, record {number}") };
        assert!(rejection.reason().contains(&most.to_string()), "{name}, record {number}: {rejection}");
    }
    assert_eq!(db.check().expect("a check").problems, Vec::<String>::new());
}

#[test]
fn the_limits_of_a_store_opened_with_others_are_those() {
    let place = scratch();
    let mut limits = Limits::default();
    limits.text_bytes = 3;
    limits.batch_records = 2;
    limits.batch_bytes = 2_000;
    limits.subjects = usize::MAX;
    let listed = |name: &str| limits.list().iter().find(|limit| limit.name == name).map(|limit| limit.most);
    assert_eq!((listed("text_bytes"), listed("batch_records"), listed("batch_bytes")), (Some(3), Some(2), Some(2_000)));
    assert_eq!(listed("subjects"), Some(65_535), "what the format holds");
    let db = Db::open(place.path(), options(1 << 10).limits(limits)).expect("the store opens");
    let told = |text: &str| Record::from(event(1, text, "customer:A").attribute("note", text));
    let outcomes = db.writer().commit([told("abc"), told("abcd")].into_iter().collect()).expect("a commit");
    assert_eq!((outcomes.inserted(), outcomes.rejected()), (1, 1));
    let three = (0..3).map(|number| told(&number.to_string())).collect();
    let error = db.writer().commit(three).expect_err("three records");
    assert!(error.message().contains("the limit is 2"), "{error}");
    let large = [event(1, &long(1_000), "customer:A").into(), event(1, &long(900), "customer:A").into()];
    assert_eq!(db.writer().commit(large.into_iter().collect()).expect("1,900 bytes and two heads").inserted(), 2);
    let larger = [event(2, &long(1_000), "customer:A").into(), event(2, &long(1_001), "customer:A").into()];
    let error = db.writer().commit(larger.into_iter().collect()).expect_err("more than 2,000 bytes");
    assert!(error.message().contains("the limit is 2000"), "{error}");
}

/// Records and refusals of one line.
fn imported(line: String) -> Vec<Parsed> {
    let input = vec![Input::reader("lines", Cursor::new(line.into_bytes()))];
    let import = Import::new(input, Format::Native, ImportOptions::new()).expect("an import");
    import.collect::<ofone::Result<_>>().expect("it can be read")
}

/// Whether a line is let through; else the refusal must tell `limit`.
fn is_let_through(line: String, limit: &str) -> bool {
    let parsed = imported(line);
    let refused: Vec<_> = parsed.iter().flat_map(|parsed| &parsed.rejects).collect();
    refused.iter().for_each(|reject| assert!(reject.reason.contains(limit), "{}", reject.reason));
    let records: usize = parsed.iter().map(|parsed| parsed.records.len()).sum();
    assert_eq!(records + refused.len(), 1);
    records == 1
}

#[test]
fn lines_are_let_through_up_to_their_limits() {
    let of_size = |bytes: usize| {
        let line = r#"{"time":"2026-01-01T00:00:00Z","source":"s","kind":"k"}"#;
        format!("{line}{}", " ".repeat(bytes - line.len()))
    };
    let most_bytes = most("line_bytes");
    assert!(is_let_through(of_size(most_bytes), ""));
    assert!(!is_let_through(of_size(most_bytes + 1), &most_bytes.to_string()));
    // The outermost object and `attrs` are two levels.
    let of_levels = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 2), "]".repeat(levels - 2));
        format!(r#"{{"time":"2026-01-01T00:00:00Z","source":"s","kind":"k","attrs":{{"a":{open}1{close}}}}}"#)
    };
    let most_levels = most("json_levels");
    assert!(is_let_through(of_levels(most_levels), ""));
    assert!(!is_let_through(of_levels(most_levels + 1), "recursion limit"));
}

#[test]
fn questions_are_answered_up_to_their_limits() {
    let place = scratch();
    let db = Db::open(place.path(), options(1 << 10)).expect("the store opens");
    let buckets = most("buckets") as i64;
    let records = [0, buckets - 1].map(|second| event(second * 1_000_000_000, "a", "customer:A").into());
    db.writer().commit(records.into_iter().collect()).expect("a commit");
    let snapshot = db.snapshot();
    let refused = |outcome: ofone::Result<usize>, limit: &str| {
        let error = outcome.expect_err(limit);
        assert!(error.message().contains(limit), "{error}");
    };

    let timeline = || {
        let query = db.snapshot().timeline(Predicate::Any).every(Bucket::Length(1_000_000_000)).events_only();
        query.run().map(|rows| rows.len())
    };
    assert_eq!(timeline().expect("as many buckets as may be"), buckets as usize);
    let later = event(buckets * 1_000_000_000, "a", "customer:A");
    db.writer().commit([later.into()].into_iter().collect()).expect("a commit");
    refused(timeline(), &buckets.to_string());

    let bytes = most("expr_bytes");
    let of_bytes = |bytes: usize| format!("did(any){}", " ".repeat(bytes - "did(any)".len()));
    assert!(Expr::parse(&of_bytes(bytes)).is_ok());
    refused(Expr::parse(&of_bytes(bytes + 1)).map(|_| 0), &bytes.to_string());

    let levels = most("expr_levels");
    // `did(any)` is two levels.
    let of_levels = |levels: usize| format!("{}did(any)", "not ".repeat(levels - 2));
    assert!(Expr::parse(&of_levels(levels)).is_ok());
    refused(Expr::parse(&of_levels(levels + 1)).map(|_| 0), &levels.to_string());

    let steps = most("steps");
    let of_steps = |steps: usize| {
        let seq = Expr::seq((0..steps).map(|_| Step::new(Predicate::Any)));
        snapshot.who(Expr::from(seq)).run().map(|cohort| cohort.len() as usize)
    };
    assert_eq!(of_steps(steps).expect("as many steps as may be"), 0);
    refused(of_steps(steps + 1), &steps.to_string());

    let name_bytes = most("cohort_name_bytes");
    let cohort = snapshot.who(Expr::did(Predicate::Any)).run().expect("a cohort");
    assert!(db.save_cohort(&long(name_bytes), &cohort).is_ok());
    refused(db.save_cohort(&long(name_bytes + 1), &cohort).map(|()| 0), &name_bytes.to_string());
}

#[test]
fn paths_have_as_many_links_as_the_limit_says() {
    let hops = most("hops");
    let place = scratch();
    let db = Db::open(place.path(), options(1 << 10)).expect("the store opens");
    let thing = |number: usize| Entity::new("thing", number.to_string());
    let mut batch = Batch::new();
    for number in 0..=hops {
        let from = if number == 0 { Entity::customer("A") } else { thing(number) };
        batch.link(ofone::Link::new(from, "needs", thing(number + 1)));
        let when = Timestamp::from_nanos(number as i64);
        batch.event(Event::new(when, "feed", "kind").subject(thing(number + 1)));
    }
    db.writer().commit(batch).expect("a commit");
    assert_eq!(db.snapshot().stream("A").run().expect("a stream").count(), hops);
    assert_eq!(db.snapshot().stream("A").max_hops(hops as u32 + 1).run().expect("a stream").count(), hops + 1);
}
