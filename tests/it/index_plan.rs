//! The plan by index against the plan that reads every stream, over more time, more customers and more
//! ways for events to lie than the model can hold: several slabs of homes, blocks of several lengths,
//! windows that cut ticks, moved services, components, lasting events, several subjects, rare texts.

use ofone::{Batch, Bucket, CalendarUnit, Cohort, Db, Entity, Event, Expr, Predicate, Record, Result, Score, Snapshot};
use ofone::{Link, Options, Text, TimelineBucket, Timestamp, Window};

use crate::index_world::{DAY, SECOND, START, Ways, World};
use crate::support::{options, scratch, setting};

/// Spans that use calendars of several levels.
const SPANS: [i64; 4] = [SECOND / 100, 50 * SECOND, 40 * DAY, 9_000 * DAY];

fn commit(db: &Db, records: Vec<Record>) {
    let receipt = db.writer().commit(records.into_iter().collect::<Batch>()).expect("a commit");
    let rejected = receipt.outcomes().iter().find(|outcome| matches!(outcome, ofone::Outcome::Rejected(_)));
    assert_eq!(receipt.rejected(), 0, "{rejected:?}");
}

fn ids(cohort: &Cohort) -> Vec<Text> {
    cohort.ids().collect::<Result<_>>().expect("ids")
}

/// Every expression means the same by index and by reading. Returns how many streams were read of how many.
fn compare(db: &Db, world: &mut World, questions: usize, stage: &str) -> (u64, u64) {
    let snapshot = db.snapshot();
    let now = Timestamp::from_nanos(START + world.span);
    let mut read = 0;
    for _ in 0..questions {
        let text = world.expression();
        let expr: Expr = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let by_index = snapshot.who(expr.clone()).now(now).run().expect("an answer");
        let by_reading = snapshot.who(expr).now(now).scan_only().run().expect("an answer");
        let (index, reading) = (ids(&by_index), ids(&by_reading));
        if index != reading {
            let differ: Vec<_> = index.iter().filter(|id| !reading.contains(id)).take(3).collect();
            let missing: Vec<_> = reading.iter().filter(|id| !index.contains(id)).take(3).collect();
            panic!("{stage}: {text}\nby index alone {differ:?}, by reading alone {missing:?}\n{}", by_index.explain());
        }
        read += by_index.explain().customers_read;
    }
    for _ in 0..questions.div_ceil(2) {
        compare_counts(&snapshot, world, stage);
    }
    (read, (questions * (world.ways.customers + world.ways.fillers)) as u64)
}

/// Counts by time and by customer are the same by index and by reading.
fn compare_counts(snapshot: &Snapshot, world: &mut World, stage: &str) {
    let text = world.predicate();
    let what: Predicate = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let (from, to) = world.between();
    let window = if world.random.one_in(3) { Window::ALL } else { Window::new(from, to) };
    let every = match world.random.below(5) {
        0 => Bucket::Calendar { unit: CalendarUnit::Month, zone: "Europe/London".into() },
        1 => Bucket::Length((world.span / 40).max(1)),
        2 => Bucket::Length((world.span / 40 / SECOND * SECOND).max(1)),
        3 => Bucket::Length((world.span / 700).max(1)),
        _ => Bucket::Length(world.span),
    };
    let timeline = || snapshot.timeline(what.clone()).window(window).every(every.clone());
    let (index, reading) = (timeline().run(), timeline().scan_only().run());
    match (index, reading) {
        (Ok(index), Ok(reading)) => {
            assert_eq!(index, reading, "{stage}: timeline of {text} in {window:?} every {every:?}");
            let events = |bucket: &TimelineBucket| (bucket.from, bucket.events);
            let alone: Vec<_> = timeline().events_only().run().expect("counts").iter().map(events).collect();
            let all: Vec<_> = index.iter().map(events).collect();
            assert_eq!(alone, all, "{stage}: events of {text} in {window:?} every {every:?}");
        }
        (index, reading) => assert_eq!(index.is_err(), reading.is_err(), "{stage}: timeline of {text}"),
    }
    for score in [Score::Events, Score::SeveritySquared] {
        let top = || snapshot.top_customers(what.clone(), score).window(window).limit(20);
        let (index, reading) = (top().run().expect("rows"), top().scan_only().run().expect("rows"));
        assert_eq!(index, reading, "{stage}: top {score:?} of {text} in {window:?}");
    }
}

/// One history, with questions at each stage of it. Returns how many streams were read of how many.
fn live_through(world: &mut World, batch: usize, questions: usize, options: &Options) -> (u64, u64) {
    let place = scratch();
    let open = || Db::open(place.path().join("store"), options.clone()).expect("a store");
    let mut db = open();
    let mut sum = (0, 0);
    let mut ask = |db: &Db, world: &mut World, stage: &str| {
        let (read, of) = compare(db, world, questions, stage);
        sum = (sum.0 + read, sum.1 + of);
    };
    // Events that come before the links that explain them; not everywhere, since nothing placed is special too.
    if world.random.one_in(2) {
        let early = world.events(batch / 3);
        commit(&db, early);
    }
    let links = world.inventory();
    commit(&db, links);
    for round in 0..12 {
        let (events, alarms) = (world.events(batch), world.alarms(12));
        commit(&db, events);
        commit(&db, alarms);
        if round == 4 {
            ask(&db, world, "growing");
        }
    }
    db.flush().expect("a flush");
    ask(&db, world, "sealed");
    let corrections = (0..world.ways.customers / 20).map(|_| world.correction()).collect();
    commit(&db, corrections);
    ask(&db, world, "corrected");
    let (novelties, first_uses, more) = (world.novelties(12), world.first_uses(12), world.events(batch / 2));
    commit(&db, novelties);
    commit(&db, first_uses);
    commit(&db, more);
    ask(&db, world, "renewed");
    drop(db);
    db = open();
    db.wait_until_quiet().expect("quiet");
    ask(&db, world, "merged");
    let report = db.check().expect("a report");
    assert_eq!(report.problems, Vec::<String>::new());
    sum
}

#[test]
fn the_index_says_what_reading_says() {
    let seed: u64 = setting("OFONE_INDEX_SEED", 7);
    let questions: usize = setting("OFONE_INDEX_QUESTIONS", 5);
    let ways = Ways { customers: 300, fillers: 70_000, entangled: false, several: true };
    for (number, span) in (0..).zip(SPANS) {
        let mut world = World::new(seed + number, span, ways);
        let (read, of) = live_through(&mut world, 700, questions, &options(3000).name_cache_bytes(32 << 20));
        // The index must decide something, or this test compares reading with reading.
        assert!(read < of / 4, "{read} streams read of {of}");
    }
}

#[test]
fn the_index_says_what_reading_says_of_few_who_went_through_much() {
    let seed: u64 = setting("OFONE_INDEX_SEED", 7);
    let questions: usize = setting("OFONE_INDEX_QUESTIONS", 60);
    for (number, span) in (0..).zip(SPANS) {
        for (entangled, several) in [(false, true), (true, true), (false, false)] {
            let ways = Ways { customers: 60, fillers: 0, entangled, several };
            let mut world = World::new(seed + number, span, ways);
            let (read, of) = live_through(&mut world, 150, questions, &options(600));
            assert!(read < of * 3 / 4, "{read} streams read of {of}");
        }
    }
}

/// By index and by reading, which must agree.
fn who(db: &Db, text: &str) -> Vec<Text> {
    let expr: Expr = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let ask = || db.snapshot().who(expr.clone()).now(Timestamp::from_nanos(0));
    let (index, reading) = (ask().run().expect("an answer"), ask().scan_only().run().expect("an answer"));
    assert_eq!(ids(&index), ids(&reading), "{text}");
    ids(&index)
}

/// Random histories hardly ever have two events that are as far apart as is asked for, to the nanosecond.
#[test]
fn lengths_of_sequences_are_exact_to_the_nanosecond_in_memory_and_in_pages() {
    /// Of the shortest calendar.
    const TICK: i64 = 20_000;
    let place = scratch();
    let db = Db::open(place.path().join("store"), options(1 << 16)).expect("a store");
    let lengths = [0, 1, TICK - 1, TICK, TICK + 1, 2 * TICK - 2, 2 * TICK - 1, 2 * TICK, 2 * TICK + 1];
    let mut records = Vec::new();
    for (number, begin) in [0, 1, TICK / 2, TICK - 1].into_iter().enumerate() {
        for length in lengths {
            for (kind, time) in [("first", begin), ("second", begin + length)] {
                let customer = Entity::customer(format!("C{number}-{length}"));
                let event = Event::new(Timestamp::from_nanos(START + time), "ran", kind).subject(customer);
                records.push(event.into());
            }
        }
    }
    let all = records.len() / 2;
    commit(&db, records);
    for stage in ["in memory", "in pages"] {
        for within in lengths {
            for ties in ["any", "none"] {
                let near = who(&db, &format!("seq(kind = first -> kind = second, within {within}ns, ties {ties})"));
                let expected = lengths.iter().filter(|&&length| length <= within && (length > 0 || ties == "any"));
                assert_eq!(near.len(), 4 * expected.count(), "{stage}, {within} ns, ties {ties}");
            }
        }
        assert_eq!(who(&db, "seq(kind = first -> kind = second)").len(), all, "{stage}");
        db.flush().expect("a flush");
    }
}

/// A page has a code for each of the first 253 entities that a home's events name, and none for others.
#[test]
fn entities_are_found_also_where_a_home_names_more_than_a_page_tells() {
    const CELLS: usize = 400;
    let place = scratch();
    let db = Db::open(place.path().join("store"), options(1 << 16)).expect("a store");
    let cell = |number: usize| Entity::new("cell", (number % CELLS).to_string());
    let mut records = Vec::new();
    for number in 0..CELLS {
        let time = Timestamp::from_nanos(START + number as i64);
        let moved = Event::new(time, "ran", "moved").id(number.to_string()).subject(Entity::customer("A"));
        // With the customer as many as a page has columns of.
        records.push([0, 7, 70].iter().fold(moved, |moved, step| moved.context(cell(number + step))).into());
        if number.is_multiple_of(3) {
            let time = time.saturating_add(1 << 30);
            let stayed = Event::new(time, "ran", "moved").id("B").subject(Entity::customer("B"));
            records.push(stayed.context(cell(number)).into());
        }
        // Of few homes that name a cell, rows would be read.
        for other in ["C", "D"] {
            let time = Timestamp::from_nanos(START + number as i64);
            let near = Event::new(time, "ran", "near").id(number.to_string()).subject(Entity::customer(other));
            records.push(near.context(cell(number)).into());
        }
    }
    commit(&db, records);
    db.flush().expect("a flush");
    for number in 0..CELLS {
        let both = usize::from(number.is_multiple_of(3));
        assert_eq!(who(&db, &format!("did(kind = moved and with = cell:{number})")).len(), 1 + both);
        assert_eq!(who(&db, &format!("did(kind = moved and with = cell:{number}, n >= 3)")).len(), 1);
        assert_eq!(who(&db, &format!("did(kind = moved and with = cell:{number}, n >= 4)")).len(), 0);
    }
}

/// What is known of the homes of one segment is not taken for what another one tells.
#[test]
fn a_segment_where_a_home_names_another_entity_does_not_name_the_one_of_before() {
    let place = scratch();
    let db = Db::open(place.path().join("store"), options(1 << 16)).expect("a store");
    let event = |kind: &str, customer: usize, cell: &str, time: i64| {
        let event = Event::new(Timestamp::from_nanos(START + time), "ran", kind.to_owned());
        Record::from(
            event.subject(Entity::customer(customer.to_string())).context(Entity::new("cell", cell.to_owned())),
        )
    };
    commit(&db, (0..9).map(|customer| event("met", customer, "X", 0)).collect());
    db.flush().expect("a flush");
    // Each home names one cell: in both segments it is the first that the home tells of.
    let mut later: Vec<Record> = (0..9).map(|customer| event("left", customer, "Y", DAY)).collect();
    later.extend((9..12).map(|customer| event("left", customer, "X", DAY)));
    commit(&db, later);
    db.flush().expect("a flush");
    // Two segments, as long as no merge comes.
    assert_eq!(who(&db, "did(kind = left and with = cell:X)"), ["9", "10", "11"]);
    assert_eq!(who(&db, "did(kind = left and with = cell:Y)").len(), 9);
    assert_eq!(who(&db, "did(kind = met and with = cell:X)").len(), 9);
    assert_eq!(who(&db, "did(kind = met and with = cell:Y)").len(), 0);
}

/// Random windows hardly ever end at the nanosecond at which the last event of a block of time does.
#[test]
fn windows_are_exact_to_the_nanosecond_around_what_lasts() {
    /// Of the shortest calendar, whose blocks are a second each.
    const TICK: i64 = 20_000;
    let place = scratch();
    let db = Db::open(place.path().join("store"), options(1 << 16)).expect("a store");
    let within_a_tick = [0, 1, TICK / 2, TICK - 1];
    let mut records = Vec::new();
    let mut stretches = Vec::new();
    for begin in within_a_tick {
        for end in within_a_tick {
            for length in [0, 7 * TICK, 999_000 * TICK / 10, 3 * SECOND] {
                let (begin, end) = (START + begin, START + TICK + length + end);
                // A kind of its own, so that nothing else lasts longer.
                let kind = format!("kind.{}", stretches.len());
                let event =
                    Event::new(Timestamp::from_nanos(begin), "ran", kind.clone()).subject(Entity::customer("A"));
                records.push(event.end(Timestamp::from_nanos(end)).into());
                stretches.push((kind, begin, end));
            }
        }
    }
    commit(&db, records);
    for _in_memory_then_in_pages in 0..2 {
        for (kind, begin, end) in &stretches {
            let there = |from: i64, to: i64| {
                let (from, to) = (Timestamp::from_nanos(from), Timestamp::from_nanos(to));
                who(&db, &format!("did(kind = {kind}, during [{from}, {to}))")).len()
            };
            assert_eq!((there(begin - 9, *begin), there(begin - 9, begin + 1)), (0, 1), "{kind} begins");
            assert_eq!((there(end - 1, end + 9), there(*end, end + 9)), (1, 0), "{kind} ends");
            assert_eq!((there(end - 1, *end), there(*begin, *end)), (1, 1), "{kind} lasts");
        }
        db.flush().expect("a flush");
    }
}

/// Sixty-five thousand neighbours share a slab, and no test elsewhere has a slab that only some segments have.
#[test]
fn events_are_found_in_slabs_that_only_a_later_segment_has() {
    const FILLERS: usize = 66_000;
    let place = scratch();
    let db = Db::open(place.path().join("store"), options(1 << 20)).expect("a store");
    let happened = |customer: &str, time: i64| {
        let subject = Entity::customer(customer);
        Record::from(Event::new(Timestamp::from_nanos(START + time), "ran", "happened").subject(subject))
    };
    commit(&db, vec![happened("first", 0)]);
    db.flush().expect("a flush");
    let filler = |number| Link::new(Entity::customer(format!("F{number}")), "uses", Entity::new("tv", "0")).into();
    for numbers in [0..FILLERS / 2, FILLERS / 2..FILLERS] {
        commit(&db, numbers.map(filler).collect());
    }
    commit(&db, vec![happened("last", 7), happened("last", 8)]);
    for _in_memory_then_in_pages in 0..2 {
        assert_eq!(who(&db, "did(kind = happened)"), ["first", "last"]);
        assert_eq!(who(&db, "did(kind = happened, n >= 2)"), ["last"]);
        assert_eq!(who(&db, "seq(kind = happened -> kind = happened)"), ["last"]);
        let timeline = db.snapshot().timeline(Predicate::kind("happened")).every(Bucket::Length(SECOND));
        let rows = timeline.run().expect("counts");
        assert_eq!((rows.len(), rows[0].events, rows[0].customers), (1, 3, 2));
        let top = db.snapshot().top_customers(Predicate::kind("happened"), Score::Events).limit(9);
        assert_eq!(top.run().expect("scores").iter().map(|row| row.events).collect::<Vec<_>>(), [2, 1]);
        db.flush().expect("a flush");
    }
}

/// The lowest of the best so far is none that later ones are held against before there are more than asked for.
#[test]
fn customers_of_a_later_slab_stand_in_the_first_places_that_are_theirs() {
    const BETWEEN: usize = 65_533;
    let place = scratch();
    let db = Db::open(place.path().join("store"), options(1 << 20)).expect("a store");
    let events = |customer: &str, count: i64| -> Vec<Record> {
        let event = |time| Event::new(Timestamp::from_nanos(START + time), "ran", "happened");
        (0..count).map(|time| event(time).subject(Entity::customer(customer)).into()).collect()
    };
    commit(&db, [events("one", 1), events("two", 1), events("nine", 9)].concat());
    let filler = |number| Link::new(Entity::customer(format!("F{number}")), "uses", Entity::new("tv", "0")).into();
    for numbers in [0..BETWEEN / 2, BETWEEN / 2..BETWEEN] {
        commit(&db, numbers.map(filler).collect());
    }
    commit(&db, events("five", 5));
    db.flush().expect("a flush");
    let top = db.snapshot().top_customers(Predicate::kind("happened"), Score::Events).limit(3).threads(1);
    let found: Vec<u64> = top.run().expect("scores").iter().map(|row| row.events).collect();
    assert_eq!(found, [9, 5, 1]);
}

/// A page tells so many classes of events apart and no more.
#[test]
fn events_of_more_shapes_than_a_page_can_tell_are_counted() {
    const SHAPES: u64 = (1 << 15) + 2;
    let place = scratch();
    let db = Db::open(place.path().join("store"), options(1 << 20)).expect("a store");
    let event = |number: u64| {
        let event = Event::new(Timestamp::from_nanos(START + number as i64 * SECOND), "ran", "happened");
        let customer = Entity::customer((number % 100).to_string());
        Record::from(event.subject(customer).attribute(format!("key-{number}"), 1.0))
    };
    commit(&db, (0..SHAPES).map(event).collect());
    db.flush().expect("a flush");
    let rows = db.snapshot().timeline(Predicate::kind("happened")).run().expect("counts");
    assert_eq!(rows.iter().map(|row| row.events).sum::<u64>(), SHAPES);
    let top = db.snapshot().top_customers(Predicate::kind("happened"), Score::Events).limit(100).run();
    assert_eq!(top.expect("scores").iter().map(|row| row.events).sum::<u64>(), SHAPES);
}

/// The first block of all begins before the first instant that there is.
#[test]
fn sequences_are_found_where_time_begins() {
    let place = scratch();
    let db = Db::open(place.path().join("store"), options(1 << 20)).expect("a store");
    let event = |kind: &str, time: &str| {
        let time: Timestamp = time.parse().expect("an instant");
        Record::from(Event::new(time, "ran", kind.to_owned()).subject(Entity::customer("A")))
    };
    commit(&db, vec![event("a", "1677-09-21T00:12:43.95Z"), event("b", "1677-09-21T00:12:44.05Z")]);
    for _in_memory_then_in_pages in 0..2 {
        assert_eq!(who(&db, "seq(kind = a -> kind = b)"), ["A"]);
        assert_eq!(who(&db, "seq(kind = a -> kind = b, within 100ms)"), ["A"]);
        assert_eq!(who(&db, "seq(kind = a -> kind = b, within 99ms)").len(), 0);
        db.flush().expect("a flush");
    }
}

#[test]
fn counting_in_pages_keeps_to_its_memory() {
    let place = scratch();
    let db = Db::open(place.path().join("store"), options(1 << 20)).expect("a store");
    let event = |number: i64| {
        let event = Event::new(Timestamp::from_nanos(START + number % 40 * DAY), "ran", format!("kind.{}", number % 2));
        Record::from(event.subject(Entity::customer(number.to_string())))
    };
    commit(&db, (0..4000).map(event).collect());
    db.flush().expect("a flush");
    let timeline = |memory| {
        let timeline = db.snapshot().timeline(Predicate::Any).every(Bucket::Length(600 * SECOND));
        timeline.memory(memory).run().map_err(|error| error.kind())
    };
    assert_eq!(timeline(1 << 20).expect_err("a set for each bucket"), ofone::ErrorKind::Invalid);
    assert_eq!(timeline(1 << 30).expect("counts").iter().map(|row| row.events).sum::<u64>(), 4000);
    let sequence: Expr = "seq(any -> any)".parse().expect("an expression");
    let who = |memory| db.snapshot().who(sequence.clone()).memory(memory).run().map_err(|error| error.kind());
    assert_eq!(who(64 << 10).expect_err("a mark for each event"), ofone::ErrorKind::Invalid);
    assert_eq!(who(1 << 30).expect("a cohort").len(), 0);
}

#[test]
fn what_was_looked_at_is_told_of_every_kind_of_question() {
    let place = scratch();
    let db = Db::open(place.path().join("store"), options(1 << 20)).expect("a store");
    let event = |kind: &str, subject: Entity, time: i64| {
        Record::from(Event::new(Timestamp::from_nanos(START + time * SECOND), "ran", kind.to_owned()).subject(subject))
    };
    let mut records: Vec<Record> = Vec::new();
    for number in 0..50 {
        let customer = Entity::customer(number.to_string());
        records.push(Link::new(customer.clone(), "fed_by", Entity::new("olt", "K")).into());
        records.extend([event("a", customer.clone(), number), event("b", customer, 100 + number)]);
    }
    records.push(event("alarm", Entity::new("olt", "K"), 7));
    commit(&db, records);
    db.flush().expect("a flush");
    let snapshot = db.snapshot();
    let (_, timeline) = snapshot.timeline(Predicate::kind("a")).run_explained().expect("counts");
    assert_eq!((timeline.pages_read, timeline.events_counted, timeline.rows_read), (1, 50, 0));
    let (_, top) = snapshot.top_customers(Predicate::kind("a"), Score::Events).run_explained().expect("scores");
    assert_eq!((top.pages_read, top.events_counted, top.rows_read), (1, 50, 0));
    let cohort = |text: &str| snapshot.who(text.parse::<Expr>().expect("an expression")).run().expect("a cohort");
    let sequence = cohort("seq(kind = a -> kind = b)");
    assert_eq!((sequence.len(), sequence.explain().pages_read, sequence.explain().events_counted), (50, 4, 200));
    let felt = cohort("did(kind = alarm)");
    assert_eq!((felt.len(), felt.explain().rows_read, felt.explain().events_read), (50, 1, 1));
}
