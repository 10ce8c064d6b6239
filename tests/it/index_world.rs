//! A made-up provider for `index_plan.rs`: its links, its events, and questions about them that are
//! sharp where an index is: windows that begin and end at the very events, counts near what people have.

use ofone::{Entity, Event, Link, LinkChange, Record, Severity, Text, Timestamp};

pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const DAY: i64 = 86_400 * SECOND;
pub(crate) const START: i64 = 1_767_225_600 * SECOND; // 2026-01-01T00:00:00Z

const COMPONENTS: usize = 6;
const KINDS: [&str; 6] = ["call.dropped", "call.made", "session.lost", "ticket.opened", "alarm.raised", "deploy.done"];
/// What components are part of, one link after the other: `sea` is eight links from a customer, `globe` nine.
const ABOVE: [&str; 7] = ["core", "ring", "site", "region", "land", "sea", "globe"];
/// Instants remembered to ask about.
const EDGES_MAX: usize = 4_000;

/// splitmix64.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }

    fn of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }
}

/// What the customers of a world are like.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    pub(crate) customers: usize,
    /// Customers to whom nothing ever happens, in the middle of the others: they fill a slab of homes.
    pub(crate) fillers: usize,
    /// Whether some customers depend on other customers, and some lodge with others for a while.
    pub(crate) entangled: bool,
    /// Whether some events have several subjects; where none has, counts are told by pages alone.
    pub(crate) several: bool,
}

/// A made-up provider over `span` nanoseconds.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) span: i64,
    pub(crate) ways: Ways,
    /// Instants at which events begin or end.
    edges: Vec<i64>,
    made: usize,
}

/// Customers lie on both sides of the fillers.
fn id(customer: usize) -> String {
    format!("C{customer}")
}

fn owned(kind: &str, customer: usize) -> Entity {
    Entity::new(kind, id(customer))
}

impl World {
    pub(crate) fn new(seed: u64, span: i64, ways: Ways) -> World {
        World { random: Random(seed), span, ways, edges: Vec::new(), made: 0 }
    }

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

    /// An instant to ask about: mostly one at which something began or ended, or the one beside it.
    fn edge(&mut self) -> Timestamp {
        if self.edges.is_empty() || self.random.one_in(4) {
            return self.time();
        }
        let at = self.edges[self.random.below(self.edges.len())];
        Timestamp::from_nanos(at + [-1, 0, 0, 1][self.random.below(4)])
    }

    /// Two instants to ask about, the earlier first: half of the time with little in between.
    pub(crate) fn between(&mut self) -> (Timestamp, Timestamp) {
        let a = self.edge();
        if self.random.one_in(2) {
            let b = self.edge();
            return (a.min(b), a.max(b).max(a.min(b).saturating_add(1)));
        }
        let most = (self.span as u64 / [10, 200, 5_000][self.random.below(3)]).max(2);
        (a, a.saturating_add(1 + (self.random.next() % most) as i64))
    }

    fn customer(&mut self) -> usize {
        self.random.below(self.ways.customers)
    }

    fn number(&mut self) -> usize {
        self.made += 1;
        self.made
    }

    pub(crate) fn events(&mut self, count: usize) -> Vec<Record> {
        (0..count).map(|_| self.event().into()).collect()
    }

    pub(crate) fn alarms(&mut self, count: usize) -> Vec<Record> {
        (0..count).map(|_| self.alarm().into()).collect()
    }

    fn event(&mut self) -> Event {
        let kind = KINDS[self.random.below(4)];
        let customer = self.customer();
        let number = self.number();
        let mut event = Event::new(self.time(), self.random.of(&["ran", "crm"]), kind).id(number.to_string());
        // Of some customers only the remotest thing ever has events.
        let subject = match self.random.below(8) {
            _ if customer % 5 == 4 => owned("chip", customer),
            0 => Entity::customer(id(customer)),
            1 => owned("device", customer),
            2 => owned("chip", customer),
            _ => owned("service", customer),
        };
        event = event.subject(subject);
        if self.ways.several && self.random.one_in(40) {
            let other = self.customer();
            event = event.subject(owned("service", other));
        }
        if self.ways.several && self.random.one_in(60) {
            event = event.subject(self.component());
        }
        // More entities than a page tells of, now and then.
        let around = if self.random.one_in(30) { 6 } else { self.random.below(3) };
        for _ in 0..around {
            event = event.context(Entity::new("cell", self.random.below(20).to_string()));
        }
        self.dress(event)
    }

    fn component(&mut self) -> Entity {
        Entity::new("olt", self.random.below(COMPONENTS).to_string())
    }

    fn alarm(&mut self) -> Event {
        let kind = KINDS[self.random.below(KINDS.len())];
        let number = self.number();
        let event = Event::new(self.time(), "nms", kind).id(format!("alarm-{number}"));
        let component = self.component();
        // Whoever depends on the second subject mostly depends on the first too, and must count it once.
        let event = match self.random.below(6) {
            0 if self.ways.several => event.subject(component).subject(self.component()),
            1 if self.ways.several => event.subject(component).subject(Entity::new("core", "0")),
            2 => event.subject(Entity::new(ABOVE[self.random.below(ABOVE.len())], "0")),
            _ => event.subject(component),
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
            self.remember(end);
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
        self.remember(event.time);
        event
    }

    fn remember(&mut self, time: Timestamp) {
        if self.edges.len() < EDGES_MAX {
            self.edges.push(time.as_nanos());
        } else {
            let at = self.random.below(EDGES_MAX);
            self.edges[at] = time.as_nanos();
        }
    }

    fn window(&mut self) -> String {
        let (from, to) = self.between();
        match self.random.below(8) {
            0 => String::new(),
            1 => format!(", since {from}"),
            2 => format!(", until {from}"),
            3 if self.random.one_in(4) => format!(", during [{from}, {from})"),
            _ => format!(", during [{from}, {to})"),
        }
    }

    pub(crate) fn predicate(&mut self) -> String {
        let kind = format!("kind = {}", self.random.of(&KINDS));
        match self.random.below(17) {
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
            12 => format!("on = {}:0", self.random.of(&ABOVE)),
            13 => format!("about = customer:{} and severity >= 9", id(self.customer())),
            14 => format!("with in (cell:{}, cell:{})", self.random.below(20), self.random.below(20)),
            _ => kind,
        }
    }

    fn set(&mut self) -> String {
        match self.random.below(12) {
            0 => {
                let component = format!("olt:{}", self.random.below(COMPONENTS));
                let entity = if self.random.one_in(2) { component } else { format!("{}:0", self.random.of(&ABOVE)) };
                format!("reach({entity}{})", self.window())
            }
            1..=3 => {
                let (first, second, window) = (self.predicate(), self.predicate(), self.window());
                let within = match self.random.below(4) {
                    0 => String::new(),
                    // As long as there is between two events, or nearly.
                    1 | 2 => {
                        let (a, b) = (self.edge().as_nanos(), self.edge().as_nanos());
                        format!(", within {}ns", a.abs_diff(b))
                    }
                    _ => format!(", within {}ns", self.random.next() % (self.span as u64 / 3)),
                };
                let ties = self.random.of(&["", ", ties any", ", ties none", ", ties seq"]);
                let middle = match self.random.below(8) {
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

    pub(crate) fn expression(&mut self) -> String {
        match self.random.below(7) {
            0 => format!("{} and {}", self.set(), self.set()),
            1 => format!("{} or not {}", self.set(), self.set()),
            2 => format!("{} minus {}", self.set(), self.set()),
            _ => self.set(),
        }
    }

    /// What the inventory knows in the beginning.
    pub(crate) fn inventory(&mut self) -> Vec<Record> {
        let mut links: Vec<LinkChange> = Vec::new();
        for number in 0..COMPONENTS {
            links.push(Link::new(Entity::new("olt", number.to_string()), "part_of", Entity::new(ABOVE[0], "0")).into());
        }
        for pair in ABOVE.windows(2) {
            links.push(Link::new(Entity::new(pair[0], "0"), "part_of", Entity::new(pair[1], "0")).into());
        }
        let mut records: Vec<Record> = links.into_iter().map(Record::from).collect();
        for customer in 0..self.ways.customers {
            if customer == self.ways.customers / 2 {
                records.extend((0..self.ways.fillers).map(|number| {
                    let tv = Entity::new("tv", number.to_string());
                    Record::from(Link::new(Entity::customer(format!("F{number}")), "uses", tv))
                }));
            }
            records.extend(self.links(customer).into_iter().map(Record::from));
        }
        records
    }

    /// Service to customer, device to service, chip to device, service to component; some move, late.
    fn links(&mut self, customer: usize) -> Vec<LinkChange> {
        let service = owned("service", customer);
        let mut links: Vec<LinkChange> = vec![
            Link::new(Entity::customer(id(customer)), "uses", service.clone()).into(),
            Link::new(service.clone(), "runs_on", owned("device", customer)).into(),
            Link::new(owned("device", customer), "has", owned("chip", customer)).into(),
        ];
        // Whatever depends on a customer makes all that is placed there suspect; most must not be so from the start.
        if customer.is_multiple_of(4) {
            links.push(Link::new(owned("account", customer), "held_by", Entity::customer(id(customer))).into());
        }
        let first = self.component();
        if self.random.one_in(3) {
            let moved = self.time();
            links.push(Link::new(service.clone(), "fed_by", first).valid_to(moved).into());
            links.push(Link::new(service.clone(), "fed_by", self.component()).valid_from(moved).into());
            self.remember(moved);
        } else {
            links.push(Link::new(service.clone(), "fed_by", first).into());
        }
        let other = self.customer();
        if self.ways.entangled && other != customer {
            if self.random.one_in(6) {
                let (from, to) = self.between();
                let lodges = Link::new(Entity::customer(id(other)), "lodges_with", service);
                links.push(lodges.valid_from(from).valid_to(to).into());
            }
            if self.random.one_in(12) {
                let pays = Link::new(Entity::customer(id(other)), "pays_for", Entity::customer(id(customer)));
                links.push(pays.into());
            }
        }
        links
    }

    /// What inventories say long after.
    pub(crate) fn correction(&mut self) -> Record {
        let (a, b) = (self.customer(), self.customer());
        let (from, relation, to) = (Entity::customer(id(a)), Text::from("uses"), owned("service", a));
        let since = self.time();
        let change: LinkChange = match self.random.below(6) {
            0 => LinkChange::Close { from, relation, to, at: since, source: Text::default() },
            1 => Link::new(Entity::customer(id(b)), "uses", to).valid_from(since).into(),
            2 => LinkChange::Retract { from, relation, to, valid_from: None, source: Text::default() },
            3 if a != b => Link::new(Entity::customer(id(b)), "pays_for", from).valid_from(since).into(),
            4 => Link::new(Entity::customer(id(b)), "shares", owned("account", a)).valid_from(since).into(),
            _ => Link::new(Entity::customer(id(b)), "borrows", owned("device", a)).valid_from(since).into(),
        };
        self.remember(since);
        change.into()
    }

    /// Things that nobody knew before, with the customers that have them.
    pub(crate) fn novelties(&mut self, count: usize) -> Vec<Record> {
        (0..count)
            .map(|number| {
                let customer = self.customer();
                Link::new(Entity::customer(id(customer)), "installs", Entity::new("app", number.to_string())).into()
            })
            .collect()
    }

    /// First events of those things, some with word of another who shares them, in one batch.
    pub(crate) fn first_uses(&mut self, count: usize) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::new();
        for number in 0..count {
            let app = Entity::new("app", number.to_string());
            if self.random.one_in(2) {
                let other = self.customer();
                let since = self.edge();
                records.push(Link::new(Entity::customer(id(other)), "shares", app.clone()).valid_from(since).into());
            }
            for _ in 0..3 {
                let id = self.number().to_string();
                let event = Event::new(self.time(), "crm", self.random.of(&KINDS)).id(id).subject(app.clone());
                records.push(self.dress(event).into());
            }
        }
        records
    }
}
