//! Questions about sets of customers, each promise by a small example.

use ofone::{
    Batch, Bucket, CancelToken, Cohort, Db, ErrorKind, Event, Expr, Field, LinkChange, Predicate, Receipt, Record,
    Score, Severity, Text, Ties, Timestamp, Window, Witness,
};
use tempfile::TempDir;

use crate::support::{at, entity, event, link, open, scratch};

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

fn kind(time: i64, id: &str, kind: &str, subject: &str) -> Event {
    Event::new(at(time), "feed", kind).id(id).subject(entity(subject))
}

fn window(from: i64, to: i64) -> Window {
    Window::new(at(from), at(to))
}

fn ids(cohort: &Cohort) -> Vec<String> {
    cohort.ids().map(|id| id.expect("an id").to_string()).collect()
}

/// The customers of an expression, by one thread and by several.
fn who(db: &Db, expr: impl Into<Expr>) -> Vec<String> {
    let expr = expr.into();
    let one = db.snapshot().who(expr.clone()).now(at(1000)).threads(1).run().expect("a cohort");
    let more = db.snapshot().who(expr.clone()).now(at(1000)).threads(3).run().expect("a cohort");
    assert_eq!(ids(&one), ids(&more), "{expr}");
    assert_eq!(one.len(), ids(&one).len() as u64);
    ids(&one)
}

fn text(expr: &str) -> Expr {
    expr.parse().expect("an expression")
}

/// Customers A and B hang on olt K, C on olt L; D hangs on nothing.
fn neighbours() -> Vec<Record> {
    let mut records: Vec<Record> = [("A", "K"), ("B", "K"), ("C", "L")]
        .iter()
        .map(|(customer, olt)| link(&format!("customer:{customer}"), "fed_by", &format!("olt:{olt}")).into())
        .collect();
    records.push(event(0, "d", "customer:D").into());
    records
}

#[test]
fn an_event_of_a_component_counts_for_everyone_behind_it_and_once_for_each() {
    let (_place, db) = store();
    commit(&db, neighbours());
    let both = kind(5, "x", "alarm", "olt:K").subject(entity("olt:L"));
    commit(&db, [both.into(), kind(6, "y", "alarm", "olt:K").into()]);
    for _ in 0..2 {
        assert_eq!(who(&db, Expr::did(Predicate::kind("alarm"))), ["A", "B", "C"]);
        assert_eq!(who(&db, Expr::did(Predicate::kind("alarm")).at_least(2)), ["A", "B"]);
        assert_eq!(who(&db, Expr::did(Predicate::kind("alarm")).at_least(3)), Vec::<String>::new());
        assert_eq!(who(&db, Expr::did(Predicate::on("olt:K")).during(window(5, 6))), ["A", "B", "C"]);
        assert_eq!(who(&db, text("did(on ~ \"olt:K*\") and not customers(A)")), ["B", "C"]);
        assert_eq!(who(&db, text("not did(kind = alarm)")), ["D"]);
        db.flush().expect("a flush");
    }
}

#[test]
fn an_event_with_two_subjects_of_one_customer_counts_once() {
    let (_place, db) = store();
    commit(&db, neighbours());
    commit(&db, [link("customer:A", "fed_by", "olt:L").into()]);
    commit(&db, [event(5, "x", "olt:K").subject(entity("olt:L")).into()]);
    assert_eq!(who(&db, Expr::did(Predicate::on("olt:L"))), ["A", "B", "C"]);
    assert_eq!(who(&db, Expr::did(Predicate::on("olt:L")).at_least(2)), Vec::<String>::new());
}

#[test]
fn late_and_retracted_links_change_what_was_lived_through() {
    let (_place, db) = store();
    commit(&db, [kind(5, "x", "alarm", "olt:K").into(), event(1, "a", "customer:A").into()]);
    let alarm = || Expr::did(Predicate::kind("alarm"));
    assert_eq!(who(&db, alarm()), Vec::<String>::new());
    commit(&db, [link("customer:A", "fed_by", "olt:K").valid_from(at(0)).into()]);
    assert_eq!(who(&db, alarm()), ["A"]);
    let (from, to) = (entity("customer:A"), entity("olt:K"));
    let close = LinkChange::Close {
        from: from.clone(),
        relation: "fed_by".into(),
        to: to.clone(),
        at: at(5),
        source: Text::default(),
    };
    commit(&db, [close.into()]);
    assert_eq!(who(&db, alarm()), Vec::<String>::new());
    assert_eq!(who(&db, Expr::reach(entity("olt:K"), window(4, 6))), ["A"]);
    assert_eq!(who(&db, Expr::reach(entity("olt:K"), window(5, 6))), Vec::<String>::new());
    assert_eq!(who(&db, Expr::reach(entity("olt:K"), window(4, 4))), Vec::<String>::new());
    let retract =
        LinkChange::Retract { from, relation: "fed_by".into(), to, valid_from: Some(at(0)), source: Text::default() };
    commit(&db, [retract.into()]);
    assert_eq!(who(&db, Expr::reach(entity("olt:K"), Window::ALL)), Vec::<String>::new());
    assert_eq!(who(&db, Expr::reach(entity("customer:A"), window(4, 6))), ["A"]);
}

#[test]
fn a_lasting_event_counts_where_it_was_felt() {
    let (_place, db) = store();
    commit(&db, [event(1, "a", "customer:A").into()]);
    commit(&db, [link("customer:A", "fed_by", "olt:K").valid_from(at(20)).valid_to(at(30)).into()]);
    commit(&db, [kind(10, "x", "outage", "olt:K").end(at(100)).into()]);
    let outage = |from, to| Expr::did(Predicate::kind("outage")).during(window(from, to));
    for _ in 0..2 {
        assert_eq!(who(&db, outage(10, 20)), Vec::<String>::new());
        assert_eq!(who(&db, outage(29, 30)), ["A"]);
        assert_eq!(who(&db, outage(30, 90)), Vec::<String>::new());
        // For a sequence its time is its beginning, before the path held.
        assert_eq!(who(&db, Expr::seq([Predicate::kind("outage")]).during(window(10, 11))), ["A"]);
        assert_eq!(who(&db, Expr::seq([Predicate::kind("outage")]).during(window(20, 30))), Vec::<String>::new());
        db.flush().expect("a flush");
    }
}

#[test]
fn ties_decide_what_comes_first_within_an_instant() {
    let (_place, db) = store();
    commit(&db, [kind(5, "1", "second", "customer:A").into(), kind(5, "2", "first", "customer:A").into()]);
    let steps = || Expr::seq([Predicate::kind("first"), Predicate::kind("second")]);
    assert_eq!(who(&db, steps()), ["A"]);
    assert_eq!(who(&db, steps().ties(Ties::Seq)), Vec::<String>::new());
    assert_eq!(who(&db, steps().ties(Ties::None)), Vec::<String>::new());
    commit(&db, [kind(6, "3", "second", "customer:A").into()]);
    assert_eq!(who(&db, steps().ties(Ties::Seq)), ["A"]);
    assert_eq!(who(&db, steps().ties(Ties::None)), ["A"]);
}

#[test]
fn fields_that_are_missing_satisfy_no_comparison() {
    let (_place, db) = store();
    commit(
        &db,
        [
            event(1, "a", "customer:A").into(),
            event(1, "b", "customer:B").severity(Severity::ERROR).layer("network").value(2.5).into(),
            event(1, "c", "customer:C").attribute("cause", "timeout").attribute("tries", 3).into(),
        ],
    );
    for (question, customers) in [
        ("did(severity >= 0)", vec!["B"]),
        ("did(severity < 24)", vec!["B"]),
        ("did(severity = 0)", vec!["A", "C"]),
        ("did(layer = network)", vec!["B"]),
        ("did(layer != network)", vec!["A", "C"]),
        ("did(value <= 2.5)", vec!["B"]),
        ("did(not value > 2.5)", vec!["A", "B", "C"]),
        ("did(attr.cause = timeout)", vec!["C"]),
        ("did(attr.cause ~ \"time*\")", vec!["C"]),
        ("did(attr.tries = 3)", vec!["C"]),
        ("did(attr.tries > 2)", vec!["C"]),
        ("did(attr.cause > 2)", vec![]),
        ("did(has attr.cause)", vec!["C"]),
        ("did(any)", vec!["A", "B", "C"]),
        ("all minus did(has attr.cause)", vec!["A", "B"]),
    ] {
        assert_eq!(who(&db, text(question)), customers, "{question}");
    }
}

#[test]
fn relative_windows_count_from_now() {
    let (_place, db) = store();
    commit(&db, [event(900, "a", "customer:A").into(), event(1000, "b", "customer:B").into()]);
    let lately = Expr::did(Predicate::Any).during(ofone::Period::last(std::time::Duration::from_nanos(100)));
    assert_eq!(who(&db, lately), ["A"]);
}

#[test]
fn a_saved_cohort_stays_as_it_was_and_is_seen_by_later_snapshots() {
    let (place, db) = store();
    commit(&db, neighbours());
    let before = db.snapshot();
    let on_k = before.who(text("reach(olt:K)")).run().expect("a cohort");
    db.save_cohort("behind K", &on_k).expect("saved");
    commit(&db, [link("customer:D", "fed_by", "olt:K").into()]);
    let saved = || Expr::cohort("behind K");
    assert_eq!(who(&db, saved()), ["A", "B"]);
    assert_eq!(who(&db, text("reach(olt:K)").minus(saved())), ["D"]);
    let missing = before.who(saved()).run().expect_err("it was saved later");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let listed = db.snapshot().cohorts().expect("cohorts");
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].name.as_str(), listed[0].customers, listed[0].commit), ("behind K", 2, 1));
    assert_eq!(listed[0].expr.as_str(), on_k.expr().to_string());
    drop((before, on_k, db));

    let db = open(place.path(), 1 << 16);
    assert_eq!(who(&db, saved()), ["A", "B"]);
    let all = db.snapshot().who(Expr::All).run().expect("a cohort");
    db.save_cohort("behind K", &all).expect("another of that name");
    assert_eq!(who(&db, saved()).len(), 4);
    db.drop_cohort("behind K").expect("dropped");
    assert_eq!(db.drop_cohort("behind K").map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    assert_eq!(db.save_cohort(&"x".repeat(257), &all).map_err(|error| error.kind()), Err(ErrorKind::Invalid));
    let (_elsewhere, other) = store();
    assert_eq!(other.save_cohort("a", &all).map_err(|error| error.kind()), Err(ErrorKind::Invalid));
    assert!(db.check().expect("a report").problems.is_empty());
}

#[test]
fn a_snapshot_knows_only_the_customers_of_its_time() {
    let (_place, db) = store();
    commit(&db, neighbours());
    let before = db.snapshot();
    commit(&db, [event(9, "e", "customer:E").into()]);
    let all = before.who(Expr::All).run().expect("a cohort");
    assert_eq!(ids(&all), ["A", "B", "C", "D"]);
    assert_eq!(ids(&before.who(Expr::customers(["E", "B", "Z"])).run().expect("a cohort")), ["B"]);
    assert!(!all.contains("E").expect("an answer"));
    let now = db.snapshot().who(Expr::All).run().expect("a cohort");
    assert_eq!(ids(&now.minus(&all).expect("a cohort")), ["E"]);
    assert_eq!(ids(&all.and(&now).expect("a cohort")).len(), 4);
    assert_eq!(all.or(&now).expect("a cohort").ids_after(Some("D"), 9).expect("ids"), ["E"]);
}

#[test]
fn pages_and_samples_come_from_the_set() {
    let (_place, db) = store();
    commit(&db, (0..50).map(|number| event(number, "x", &format!("customer:{number}")).into()));
    let even = db.snapshot().who(Expr::customers((0..50).step_by(2).map(|n| n.to_string()))).run().expect("a cohort");
    let mut paged: Vec<Text> = even.ids_after(None, 7).expect("a page");
    while let Some(last) = paged.last().cloned() {
        let page = even.ids_after(Some(&last), 7).expect("a page");
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, ids(&even).iter().map(Text::from).collect::<Vec<_>>());
    assert_eq!(even.ids_after(Some("47"), 9).expect("a page"), ["48"]);
    assert_eq!(even.ids_after(Some("nobody"), 9).map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    let sample = even.sample(5, 1).expect("a sample");
    assert_eq!(sample, even.sample(5, 1).expect("the same"));
    assert!(sample.len() == 5 && sample.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(sample.iter().all(|id| even.contains(id).expect("an answer")));
    assert_eq!(even.sample(99, 1).expect("all"), paged);
}

#[test]
fn a_question_can_be_stopped_and_bounded() {
    let (_place, db) = store();
    commit(&db, (0..5000).map(|number| event(number, "x", "customer:A").into()));
    let query = || db.snapshot().who(Expr::did(Predicate::Any).at_least(5000));
    assert_eq!(query().run().expect("a cohort").len(), 1);
    let token = CancelToken::new();
    token.cancel();
    assert_eq!(query().cancel(token).run().map_err(|error| error.kind()).err(), Some(ErrorKind::Cancelled));
    let error = query().scan_only().memory(100_000).run().expect_err("too little");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("more than 100000 bytes"), "{error}");
    let lasting = Timestamp::from_nanos(0);
    assert_eq!(query().now(lasting).run().expect("a cohort").now(), lasting);
}

/// A store whose events lie in memory, in one segment, or in several, by `stage`.
fn at_stage(db: &Db, stage: usize) {
    match stage {
        0 => {}
        1 => db.flush().expect("a flush"),
        _ => db.wait_until_quiet().expect("quiet"),
    }
}

#[test]
fn a_timeline_counts_events_once_and_customers_once_a_bucket() {
    let (_place, db) = store();
    commit(&db, neighbours());
    commit(&db, [link("customer:A", "fed_by", "olt:L").into()]);
    commit(
        &db,
        [
            kind(5, "1", "alarm", "olt:K").subject(entity("olt:L")).into(),
            kind(6, "2", "alarm", "olt:K").into(),
            kind(31, "3", "alarm", "olt:M").into(),
            kind(32, "4", "alarm", "olt:L").end(at(90)).into(),
        ],
    );
    let rows = |cohort: Option<&Cohort>, window: Window| {
        let mut query = db.snapshot().timeline(Predicate::kind("alarm")).every(Bucket::Length(10)).window(window);
        if let Some(cohort) = cohort {
            query = query.cohort(cohort);
        }
        let rows = query.threads(2).run().expect("a timeline");
        rows.iter().map(|row| (row.from.as_nanos(), row.to.as_nanos(), row.events, row.customers)).collect::<Vec<_>>()
    };
    for stage in 0..3 {
        at_stage(&db, stage);
        let nobody = (0, 0);
        let quiet = |from: i64| (from, from + 10, nobody.0, nobody.1);
        assert_eq!(rows(None, Window::ALL), [(0, 10, 2, 3), quiet(10), quiet(20), (30, 40, 2, 2)]);
        assert_eq!(rows(None, window(6, 32)), [(0, 10, 1, 2), quiet(10), quiet(20), (30, 40, 1, 0)]);
        assert_eq!(rows(None, window(33, 60)), [], "what lasts counts at its time");
        let some = db.snapshot().who(Expr::customers(["B", "D"])).run().expect("a cohort");
        assert_eq!(rows(Some(&some), Window::ALL), [(0, 10, 2, 1)]);
        let none = db.snapshot().who(Expr::customers(["D"])).run().expect("a cohort");
        assert_eq!(rows(Some(&none), Window::ALL), []);
    }
    let too_many = db.snapshot().timeline(Predicate::Any).every(Bucket::Length(1));
    commit(&db, [event(1_000_000, "late", "customer:D").into()]);
    assert!(too_many.run().is_ok(), "that snapshot does not have it");
    let error = db.snapshot().timeline(Predicate::Any).every(Bucket::Length(1)).run().expect_err("a million buckets");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn values_are_counted_by_events_and_by_customers() {
    let (_place, db) = store();
    commit(&db, neighbours());
    commit(
        &db,
        [
            kind(5, "1", "alarm", "olt:K").severity(Severity::ERROR).attribute("cause", "fire").into(),
            kind(6, "2", "alarm", "olt:M").severity(Severity::INFO).attribute("cause", 7).into(),
            kind(7, "3", "call", "customer:A").severity(Severity::INFO).context(entity("cell:1")).into(),
        ],
    );
    let top = |field: Field| {
        let rows = db.snapshot().top(field, Predicate::Any).run().expect("a top");
        rows.iter().map(|row| (row.value.to_string(), row.events, row.customers)).collect::<Vec<_>>()
    };
    let row = |value: &str, events: u64, customers: u64| (value.to_owned(), events, customers);
    for stage in 0..2 {
        at_stage(&db, stage);
        assert_eq!(top(Field::Kind), [row("alarm", 2, 2), row("call", 1, 1), row("thing.happened", 1, 1)]);
        assert_eq!(top(Field::Severity), [row("9", 2, 1), row("17", 1, 2)]);
        assert_eq!(top(Field::Attribute("cause".into())), [row("7", 1, 0), row("fire", 1, 2)]);
        assert_eq!(top(Field::Context), [row("cell:1", 1, 1)]);
        assert_eq!(top(Field::Layer), []);
        let subjects = db.snapshot().group_by(Field::Subject, Predicate::kind("alarm")).run().expect("groups");
        let values: Vec<&str> = subjects.iter().map(|row| row.value.as_str()).collect();
        assert_eq!(values, ["olt:K", "olt:M"]);
    }
    let worst = |score| {
        let rows = db.snapshot().top_customers(Predicate::Any, score).limit(2).run().expect("a top");
        rows.iter().map(|row| (row.customer.to_string(), row.score, row.events)).collect::<Vec<_>>()
    };
    assert_eq!(worst(Score::Events), [("A".to_owned(), 2, 2), ("B".to_owned(), 1, 1)]);
    assert_eq!(worst(Score::Severity), [("A".to_owned(), 26, 2), ("B".to_owned(), 17, 1)]);
    assert_eq!(worst(Score::SeveritySquared)[0].1, 17 * 17 + 81);
}

#[test]
fn a_funnel_counts_how_far_customers_get() {
    let (_place, db) = store();
    commit(
        &db,
        [
            kind(10, "1", "order", "customer:A").into(),
            kind(14, "2", "visit", "customer:A").into(),
            kind(20, "3", "done", "customer:A").into(),
            kind(10, "1", "order", "customer:B").into(),
            kind(60, "2", "order", "customer:B").into(),
            kind(62, "3", "visit", "customer:B").into(),
            kind(90, "1", "order", "customer:C").into(),
            kind(10, "1", "visit", "customer:D").into(),
        ],
    );
    let steps = ["order", "visit", "done"].map(Predicate::kind).to_vec();
    let funnel = db.snapshot().funnel(steps.clone()).within(20).now(at(100)).run().expect("a funnel");
    let counts: Vec<_> = funnel.steps.iter().map(|step| (step.customers, step.pending)).collect();
    assert_eq!(counts, [(3, 1), (2, 0), (1, 0)]);
    assert_eq!((funnel.steps[1].p50_nanos, funnel.steps[1].p90_nanos), (Some(2), Some(4)));
    assert_eq!((funnel.steps[0].p50_nanos, funnel.steps[2].p50_nanos), (None, Some(6)));
    assert_eq!(ids(&funnel.customers(1)), ["A", "B"]);
    assert!(funnel.customers(3).is_empty());
    let late = db.snapshot().funnel(steps).window(window(15, 100)).run().expect("a funnel");
    assert_eq!(late.steps.iter().map(|step| step.customers).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!(db.snapshot().funnel(Vec::new()).run().map_err(|error| error.kind()).err(), Some(ErrorKind::Invalid));
    let again = db.snapshot().who(funnel.customers(1).expr().clone()).run().expect("a cohort");
    assert_eq!(ids(&again), ["A", "B"], "without a window, the expression tells the same");
}

#[test]
fn a_witness_names_the_events_or_the_clause_that_fails() {
    let (_place, db) = store();
    commit(&db, neighbours());
    commit(
        &db,
        [
            kind(5, "1", "alarm", "olt:K").into(),
            kind(7, "2", "call", "customer:A").into(),
            kind(8, "3", "call", "customer:A").into(),
        ],
    );
    let witness = |customer: &str, expr: &str| db.snapshot().witness(customer, &text(expr)).expect("a witness");
    let events = |witness: &Witness| {
        let ids = |clause: &ofone::WitnessClause| {
            clause.events.iter().map(|item| item.event.id.as_deref().unwrap_or("").to_owned()).collect::<Vec<_>>()
        };
        witness.clauses.iter().map(ids).collect::<Vec<_>>()
    };
    let member = witness("A", "did(kind = call, n >= 2) and seq(kind = alarm -> kind = call) and not did(kind = bill)");
    assert!(member.member && member.failed.is_none());
    assert_eq!(events(&member), [vec!["2", "3"], vec!["1", "2"], vec![]]);
    assert_eq!(member.clauses[1].events[0].paths().expect("paths").len(), 1);
    let stranger = witness("B", "did(kind = alarm) and (did(kind = call) or reach(olt:L))");
    assert!(!stranger.member && stranger.clauses.is_empty());
    assert_eq!(stranger.failed.as_deref(), Some("did(kind = call) or reach(olt:L)"));
    let kept_out = witness("A", "reach(olt:K) minus did(kind = call)");
    assert_eq!(kept_out.failed.as_deref(), Some("not did(kind = call)"));
    assert_eq!(events(&kept_out), [vec!["2"]]);
    let nobody = db.snapshot().witness("Z", &Expr::All).expect_err("unknown");
    assert_eq!(nobody.kind(), ErrorKind::NotFound);
}

#[test]
fn as_many_threads_as_there_are_numbers_are_no_panic() {
    let (_place, db) = store();
    commit(&db, (0..50).map(|number| event(number, "x", &format!("customer:{number}")).into()));
    for threads in [0, 1 << 60, usize::MAX] {
        for scan in [false, true] {
            let query = db.snapshot().who(Expr::did(Predicate::Any)).threads(threads);
            let query = if scan { query.scan_only() } else { query };
            assert_eq!(query.run().expect("a cohort").len(), 50);
        }
    }
}
