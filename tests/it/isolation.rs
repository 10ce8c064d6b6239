//! A thousand customers whose records come between each other's: to no question does one get what is another's.
//!
//! Line number `n` is customer `n`'s until it is given to the next customer, and hangs on one of ten OLTs. So a
//! customer has what happened to them, to their line while it was theirs, to that of the one before from then on, and
//! alarms of an OLT of their line at the time.

use std::collections::BTreeSet;

use ofone::{Db, Entity, Event, EventName, Expr, Link, Record, Snapshot, Text};

use crate::support::{at, entity, open, scratch};

const CUSTOMERS: u64 = 1000;
const OLTS: u64 = 10;
const GIVEN_AWAY: i64 = 100;

fn named(what: &str, number: u64, time: i64, subject: &str) -> Event {
    Event::new(at(time), "feed", what).id(format!("{what}/{number}")).subject(entity(subject))
}

fn links(number: u64) -> [Link; 3] {
    let line = entity(&format!("line:{number}"));
    let uses = |customer: u64| Link::new(Entity::customer(customer.to_string()), "uses", line.clone());
    [
        uses(number).valid_to(at(GIVEN_AWAY)),
        uses((number + 1) % CUSTOMERS).valid_from(at(GIVEN_AWAY)),
        Link::new(line.clone(), "fed_by", entity(&format!("olt:{}", number % OLTS))),
    ]
}

fn events(number: u64) -> [Event; 3] {
    let line = format!("line:{number}");
    [
        named("own", number, 10, &format!("customer:{number}")).context(entity("cell:1")),
        named("early", number, 50, &line),
        named("late", number, 150, &line),
    ]
}

/// Some of it in segments, perhaps merged, some in memory; half of the links come before the events, half after.
fn filled(db: &Db) {
    const ROUNDS: u64 = 20;
    for round in 0..ROUNDS {
        let mut records: Vec<Record> = Vec::new();
        for number in (0..CUSTOMERS).filter(|number| number % ROUNDS == round) {
            if number % 2 == 0 {
                records.extend(links(number).map(Record::from));
            }
            records.extend(events(number).map(Record::from));
            if number % 2 == 1 {
                records.extend(links(number).map(Record::from));
            }
        }
        if round < OLTS {
            let olt = format!("olt:{round}");
            records.extend([named("alarm", round, 60, &olt), named("outage", round, 160, &olt)].map(Record::from));
        }
        db.writer().commit(records.into_iter().collect()).expect("a commit");
        match round {
            10 => db.wait_until_quiet().expect("quiet"),
            15 => db.flush().expect("a flush"),
            _ => {}
        }
    }
}

fn before(number: u64) -> u64 {
    (number + CUSTOMERS - 1) % CUSTOMERS
}

/// The ids of a customer's events.
fn expected(number: u64) -> BTreeSet<String> {
    let before = before(number);
    [("own", number), ("early", number), ("late", before), ("alarm", number % OLTS), ("outage", before % OLTS)]
        .map(|(what, of)| format!("{what}/{of}"))
        .into()
}

fn id(event: &Event) -> String {
    event.id.as_ref().expect("written events have ids").to_string()
}

fn stream(snapshot: &Snapshot, number: u64) -> BTreeSet<String> {
    let items = snapshot.stream(number.to_string()).run().expect("a stream");
    items.map(|item| id(&item.expect("an item").event)).collect()
}

fn who(snapshot: &Snapshot, expr: &str) -> BTreeSet<u64> {
    let cohort = snapshot.who(expr.parse::<Expr>().expect("an expression")).run().expect("a set");
    cohort.ids().map(|id| id.expect("an id").parse().expect("a number")).collect()
}

#[test]
fn no_question_about_one_of_a_thousand_customers_tells_anything_of_another() {
    let place = scratch();
    let db = open(place.path(), 700);
    filled(&db);
    let snapshot = db.snapshot();
    let stats = snapshot.stats().expect("stats");
    assert!(stats.segments > 0 && stats.unsealed_events > 0, "{stats:?}");
    let any: Expr = "did(any)".parse().expect("an expression");
    for number in 0..CUSTOMERS {
        let (stream, expected) = (stream(&snapshot, number), expected(number));
        let odd: Vec<&String> = stream.symmetric_difference(&expected).take(5).collect();
        assert_eq!(odd, Vec::<&String>::new(), "stream of {number}");
        let name = Text::from(number.to_string());
        // Its line is another's by then, and the neighbour's was not its own yet.
        for (what, of, time) in [("late", number, 150), ("early", before(number), 50), ("own", before(number), 10)] {
            let event = EventName { source: "feed".into(), id: format!("{what}/{of}").into(), time: at(time) };
            assert_eq!(snapshot.why(name.clone(), &event).expect("both are known").paths, [], "{what} and {number}");
        }
        let outgoing = snapshot.links(&Entity::customer(name.clone()), None).expect("links").outgoing;
        let lines: BTreeSet<String> = outgoing.iter().map(|link| link.to.id.to_string()).collect();
        assert_eq!(lines, [number, before(number)].map(|line| line.to_string()).into(), "links of {number}");
        if number % 10 == 0 {
            let next = (number + 1) % CUSTOMERS;
            assert_eq!(who(&snapshot, &format!("did(about = line:{number})")), [number, next].into());
            let witness = snapshot.witness(name, &any).expect("a witness");
            let seen = witness.clauses.iter().flat_map(|clause| &clause.events).map(|item| id(&item.event));
            assert!(seen.collect::<BTreeSet<_>>().is_subset(&expected), "witness for {number}");
        }
    }
    for olt in 0..OLTS {
        let of_line = |number: &u64| number % OLTS == olt;
        let early: BTreeSet<u64> = (0..CUSTOMERS).filter(of_line).collect();
        assert_eq!(who(&snapshot, &format!("did(kind = alarm and on = olt:{olt})")), early);
        let late: BTreeSet<u64> = (0..CUSTOMERS).filter(|&number| of_line(&before(number))).collect();
        assert_eq!(who(&snapshot, &format!("did(kind = outage and on = olt:{olt})")), late);
    }
}
