//! The plan by index against the plan that reads every stream, over more time, more customers and more
//! ways for events to lie than the model can hold: several slabs of homes, blocks of several lengths,
//! windows that cut ticks, moved services, components, lasting events, several subjects, rare texts.

use ofone::{
    Batch, Bucket, CalendarUnit, Db, Entity, Event, Expr, Link, LinkChange, Options, Predicate, Score, Severity,
    Snapshot, Text, Timestamp, Window,
};

use crate::support::setting;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
const START: i64 = 1_767_225_600 * SECOND; // 2026-01-01T00:00:00Z

/// Customers that things happen to; those between them only fill a slab of homes.
const CUSTOMERS: usize = 300;
const FILLERS: usize = 70_000;
const COMPONENTS: usize = 6;
const KINDS: [&str; 6] = ["call.dropped", "call.made", "session.lost", "ticket.opened", "alarm.raised", "deploy.done"];

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }

    fn of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }
}

/// A made-up provider over `span` nanoseconds.
struct World {
    random: Random,
    span: i64,
}

impl World {
    /// Some instants come several times, some are whole seconds, some are not.
    fn instant(&mut self) -> i64 {
        let at = START + (self.random.next() % self.span as u64) as i64;
        match self.random.below(4) {
            0 => at / SECOND * SECOND,
            1 => at / (self.span / 50).max(1) * (self.span / 50).max(1),
            _ => at,
        }
    }

    fn time(&mut self) -> Timestamp {
        Timestamp::from_nanos(self.instant())
    }

    fn customer(&mut self) -> usize {
        self.random.below(CUSTOMERS)
    }

    fn event(&mut self, number: usize) -> Event {
        let kind = KINDS[self.random.below(4)];
        let customer = self.customer();
        let mut event = Event::new(self.time(), self.random.of(&["ran", "crm"]), kind).id(number.to_string());
        let subject = match self.random.below(6) {
            0 => Entity::customer(id(customer)),
            1 => Entity::new("device", id(customer)),
            _ => Entity::new("service", id(customer)),
        };
        event = event.subject(subject);
        if self.random.one_in(40) {
            let other = self.customer();
            event = event.subject(Entity::new("service", id(other)));
        }
        if self.random.one_in(2) {
            event = event.context(Entity::new("cell", self.random.below(20).to_string()));
        }
        self.dress(event)
    }

    fn alarm(&mut self, number: usize) -> Event {
        let kind = KINDS[self.random.below(KINDS.len())];
        let component = Entity::new("olt", self.random.below(COMPONENTS).to_string());
        let event = Event::new(self.time(), "nms", kind).id(format!("alarm-{number}")).subject(component);
        let event = if self.random.one_in(5) {
            event.subject(Entity::new("olt", self.random.below(COMPONENTS).to_string()))
        } else {
            event
        };
        self.dress(event)
    }

    /// Everything that an event may have besides.
    fn dress(&mut self, mut event: Event) -> Event {
        event.severity = Severity::new([0, 0, 9, 13, 17, 21][self.random.below(6)]).expect("a severity");
        if self.random.one_in(3) {
            let length = 1 + (self.random.next() % (self.span as u64 / 20)) as i64;
            let length = if self.random.one_in(3) { length } else { length / 1000 + 1 };
            let end = event.time.saturating_add(length);
            event = event.end(end);
        }
        if self.random.one_in(2) {
            event = event.layer(self.random.of(&["network", "front"]));
        }
        match self.random.below(5) {
            0 => event = event.attribute("cause", self.random.of(&["timeout", "reset", "power"])),
            1 => event = event.attribute("cause", self.random.below(5000).to_string()),
            2 => event = event.attribute("cause", self.random.below(4) as i64),
            _ => {}
        }
        if self.random.one_in(3) {
            event = event.value(self.random.below(10) as f64);
        }
        event
    }

    fn window(&mut self) -> String {
        let (a, b) = (self.time(), self.time());
        match self.random.below(6) {
            0 => String::new(),
            1 => format!(", since {a}"),
            2 => format!(", until {a}"),
            _ => format!(", during [{}, {})", a.min(b), a.max(b)),
        }
    }

    fn predicate(&mut self) -> String {
        let kind = format!("kind = {}", self.random.of(&KINDS));
        match self.random.below(14) {
            0 => "any".to_owned(),
            1 => "kind ~ \"call.*\"".to_owned(),
            2 => format!("{kind} and severity >= {}", self.random.of(&["9", "13", "17", "21"])),
            3 => format!("{kind} and attr.cause = {}", self.random.of(&["timeout", "reset", "power", "7", "2"])),
            4 => format!("{kind} and with = cell:{}", self.random.below(20)),
            5 => format!("about = service:{}", id(self.customer())),
            6 => format!("on = olt:{}", self.random.below(COMPONENTS)),
            7 => format!("{kind} and value > {}", self.random.below(9)),
            8 => "severity >= 17 and layer = network".to_owned(),
            9 => "kind != call.made and source = crm".to_owned(),
            10 => format!("attr.cause != {} and {kind}", self.random.of(&["timeout", "reset", "0"])),
            11 => format!("{kind} and (severity = 0 or attr.cause in (timeout, power, \"17\"))"),
            _ => kind,
        }
    }

    fn set(&mut self) -> String {
        match self.random.below(12) {
            0 => {
                let (entity, window) = (self.random.below(COMPONENTS), self.window());
                format!("reach(olt:{entity}{window})")
            }
            1..=3 => {
                let (first, second, window) = (self.predicate(), self.predicate(), self.window());
                let within = match self.random.below(3) {
                    0 => String::new(),
                    _ => format!(", within {}ns", self.random.next() % (self.span as u64 / 3)),
                };
                let ties = self.random.of(&["", ", ties any", ", ties none", ", ties seq"]);
                let middle = match self.random.below(5) {
                    0 => format!("not {} -> ", self.random.of(&["kind = call.made", "severity >= 17"])),
                    1 => "kind = call.dropped -> ".to_owned(),
                    _ => String::new(),
                };
                format!("seq(({first}) -> {middle}({second}){within}{window}{ties})")
            }
            _ => {
                let (what, window) = (self.predicate(), self.window());
                let count =
                    if self.random.one_in(2) { String::new() } else { format!(", n >= {}", 1 + self.random.below(6)) };
                format!("did({what}{count}{window})")
            }
        }
    }

    fn expression(&mut self) -> String {
        match self.random.below(5) {
            0 => format!("{} and {}", self.set(), self.set()),
            1 => format!("{} or not {}", self.set(), self.set()),
            2 => format!("{} minus {}", self.set(), self.set()),
            _ => self.set(),
        }
    }

    /// Service to customer, device to service, service to component; some move, late.
    fn links(&mut self, customer: usize) -> Vec<LinkChange> {
        let (service, device) = (Entity::new("service", id(customer)), Entity::new("device", id(customer)));
        let olt = |random: &mut Random| Entity::new("olt", random.below(COMPONENTS).to_string());
        let mut links: Vec<LinkChange> = vec![
            Link::new(Entity::customer(id(customer)), "uses", service.clone()).into(),
            Link::new(service.clone(), "runs_on", device).into(),
        ];
        let first = olt(&mut self.random);
        if self.random.one_in(3) {
            let moved = self.time();
            links.push(Link::new(service.clone(), "fed_by", first).valid_to(moved).into());
            links.push(Link::new(service, "fed_by", olt(&mut self.random)).valid_from(moved).into());
        } else {
            links.push(Link::new(service, "fed_by", first).into());
        }
        links
    }

    /// What inventories say long after.
    fn correction(&mut self) -> LinkChange {
        let (a, b) = (self.customer(), self.customer());
        let service = Entity::new("service", id(a));
        match self.random.below(4) {
            0 => LinkChange::Close {
                from: Entity::customer(id(a)),
                relation: "uses".into(),
                to: service,
                at: self.time(),
                source: Text::default(),
            },
            1 => Link::new(Entity::customer(id(b)), "uses", service).valid_from(self.time()).into(),
            2 => LinkChange::Retract {
                from: Entity::customer(id(a)),
                relation: "uses".into(),
                to: service,
                valid_from: None,
                source: Text::default(),
            },
            _ => Link::new(Entity::customer(id(b)), "pays_for", Entity::customer(id(a))).valid_from(self.time()).into(),
        }
    }
}

/// Customers lie on both sides of the fillers.
fn id(customer: usize) -> String {
    format!("C{customer}")
}

fn commit(db: &Db, records: impl IntoIterator<Item = ofone::Record>) {
    let receipt = db.writer().commit(records.into_iter().collect::<Batch>()).expect("a commit");
    assert_eq!(
        receipt.rejected(),
        0,
        "{:?}",
        receipt.outcomes().iter().find(|outcome| matches!(outcome, ofone::Outcome::Rejected(_)))
    );
}

/// Every expression means the same by index and by reading.
fn compare(db: &Db, world: &mut World, questions: usize, stage: &str) {
    let snapshot = db.snapshot();
    let now = Timestamp::from_nanos(START + world.span);
    let mut read = 0;
    for _ in 0..questions {
        let text = world.expression();
        let expr: Expr = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let by_index = snapshot.who(expr.clone()).now(now).run().expect("an answer");
        let by_reading = snapshot.who(expr).now(now).scan_only().run().expect("an answer");
        let ids = |cohort: &ofone::Cohort| cohort.ids().collect::<ofone::Result<Vec<Text>>>().expect("ids");
        let (index, reading) = (ids(&by_index), ids(&by_reading));
        if index != reading {
            let differ: Vec<_> = index.iter().filter(|id| !reading.contains(id)).take(3).collect();
            let missing: Vec<_> = reading.iter().filter(|id| !index.contains(id)).take(3).collect();
            panic!("{stage}: {text}\nby index alone {differ:?}, by reading alone {missing:?}\n{}", by_index.explain());
        }
        read += by_index.explain().customers_read;
    }
    for _ in 0..questions / 2 {
        compare_counts(&snapshot, world, stage);
    }
    // The index must decide something, or this test compares reading with reading.
    assert!(
        read < (questions * (CUSTOMERS + FILLERS)) as u64 / 3,
        "{stage}: {read} streams read for {questions} questions"
    );
}

/// Counts by time and by customer are the same by index and by reading.
fn compare_counts(snapshot: &Snapshot, world: &mut World, stage: &str) {
    let text = world.predicate();
    let what: Predicate = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let (a, b) = (world.time(), world.time());
    let window = if world.random.one_in(3) { Window::ALL } else { Window::new(a.min(b), a.max(b)) };
    let every = match world.random.below(4) {
        0 => Bucket::Calendar { unit: CalendarUnit::Month, zone: "Europe/London".into() },
        1 => Bucket::Length((world.span / 40).max(1)),
        2 => Bucket::Length((world.span / 40 / SECOND * SECOND).max(1)),
        _ => Bucket::Length(world.span),
    };
    let timeline = || snapshot.timeline(what.clone()).window(window).every(every.clone());
    let (index, reading) = (timeline().run(), timeline().scan_only().run());
    match (index, reading) {
        (Ok(index), Ok(reading)) => {
            assert_eq!(index, reading, "{stage}: timeline of {text} in {window:?} every {every:?}");
        }
        (index, reading) => assert_eq!(index.is_err(), reading.is_err(), "{stage}: timeline of {text}"),
    }
    for score in [Score::Events, Score::SeveritySquared] {
        let top = || snapshot.top_customers(what.clone(), score).window(window).limit(20);
        let (index, reading) = (top().run().expect("rows"), top().scan_only().run().expect("rows"));
        assert_eq!(index, reading, "{stage}: top {score:?} of {text} in {window:?}");
    }
}

#[test]
fn the_index_says_what_reading_says() {
    let seed: u64 = setting("OFONE_INDEX_SEED", 7);
    let questions: usize = setting("OFONE_INDEX_QUESTIONS", 12);
    for (number, span) in [SECOND / 100, 50 * SECOND, 40 * DAY, 9_000 * DAY].into_iter().enumerate() {
        let mut world = World { random: Random(seed + number as u64), span };
        let place = tempfile::tempdir().expect("a directory");
        let db = Db::open(place.path(), Options::new().segment_events(3000)).expect("a store");
        let filler = |number: usize| {
            Link::new(Entity::customer(format!("F{number}")), "uses", Entity::new("tv", number.to_string()))
        };
        let mut links: Vec<ofone::Record> = Vec::new();
        for customer in 0..CUSTOMERS {
            if customer == CUSTOMERS / 2 {
                links.extend((0..FILLERS).map(|number| ofone::Record::from(filler(number))));
            }
            links.extend(world.links(customer).into_iter().map(ofone::Record::from));
        }
        // Some events come before the links that explain them.
        commit(&db, (0..200).map(|number| world.event(1_000_000 + number).into()));
        commit(&db, links);
        for batch in 0..12 {
            let events: Vec<_> = (0..700).map(|number| world.event(batch * 700 + number)).collect();
            commit(&db, events.into_iter().map(ofone::Record::from));
            let alarms: Vec<_> = (0..12).map(|number| world.alarm(batch * 12 + number)).collect();
            commit(&db, alarms.into_iter().map(ofone::Record::from));
            if batch == 4 {
                compare(&db, &mut world, questions, "growing");
            }
        }
        db.flush().expect("a flush");
        compare(&db, &mut world, questions, "sealed");
        let corrections: Vec<_> = (0..15).map(|_| world.correction()).collect();
        commit(&db, corrections.into_iter().map(ofone::Record::from));
        compare(&db, &mut world, questions, "corrected");
        commit(&db, (0..300).map(|number| world.event(2_000_000 + number).into()));
        db.wait_until_quiet().expect("quiet");
        compare(&db, &mut world, questions, "merged");
    }
}
