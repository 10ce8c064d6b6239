//! What one customer lives through on one day.

use ofone::{Entity, Event, Record, Severity, Timestamp};

use super::rng::Rng;
use super::shared::{Component, Outage, Shared, begins_on};
use super::world::{Customer, DAY, HOUR, MINUTE, Mobile, SECOND, World, purpose};

/// Events of a month that come from bills, outages and glitches, on average.
const STORY_EVENTS: f64 = 19.6;
/// Events that one ordinary act makes, on average.
const EVENTS_PER_ACT: f64 = 1.13;

/// A customer whose stream shows how ofone stitches: an outage they share with others, their own
/// trouble, their ticket.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) worth: Worth,
    pub(crate) customer: String,
    /// The alarm of the outage.
    pub(crate) alarm: Event,
}

/// The better story; of equally good ones the one whose outage began first, or the first one told.
pub(crate) fn better(one: Option<Story>, other: Option<Story>) -> Option<Story> {
    let (Some(a), Some(b)) = (&one, &other) else { return one.or(other) };
    let other_wins = b.worth > a.worth || b.worth == a.worth && b.alarm.time < a.alarm.time;
    if other_wins { other } else { one }
}

/// How much of a story there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Worth {
    /// They noticed.
    Noticed,
    /// They called, and a ticket came of it.
    Called,
    /// As well, the outage took its time, and their stream has not too much else in it.
    Clear,
}

/// The records of a customer's day, as they are gathered.
pub(crate) struct Life<'a> {
    world: &'a World,
    shared: &'a Shared,
    customer: &'a Customer,
    day: u32,
    /// Numbers the events of the sources that number their own.
    sequence: u64,
    pub(crate) records: Vec<Record>,
    pub(crate) story: Option<Story>,
}

impl<'a> Life<'a> {
    pub(crate) fn new(world: &'a World, shared: &'a Shared, customer: &'a Customer, day: u32) -> Life<'a> {
        let sequence = u64::from(day) * 1_000_000;
        Life { world, shared, customer, day, sequence, records: Vec::new(), story: None }
    }

    /// Lives the day.
    pub(crate) fn live(&mut self) {
        let day = self.world.sizes.day(self.day);
        let customer = self.customer;
        self.records = self.world.link_changes(customer, day);
        if customer.until <= day || day.saturating_add(DAY) <= customer.since {
            return;
        }
        let mut rng = Rng::new(self.world.sizes.seed, [purpose::DAY, customer.number, u64::from(self.day)]);
        self.come_and_go(day);
        self.routine(&mut rng, day);
        self.bill(day);
        if let Some(broadband) = &customer.broadband {
            for outage in self.shared.outages_of(Component::Olt(broadband.olt), day) {
                self.lose_broadband(outage);
            }
        }
        if let Some(mobile) = &customer.mobile {
            for &(_, cell) in &mobile.cells {
                for outage in self.shared.outages_of(Component::Cell(cell), day) {
                    self.lose_mobile(mobile, cell, outage);
                }
            }
        }
        let shared = self.shared;
        for glitch in shared.glitches.iter().filter(|glitch| begins_on(glitch.start, day)) {
            if customer.applications().contains(&glitch.what) {
                self.suffer_glitch(glitch);
            }
        }
        for (number, (time, plan)) in (0..).zip(&shared.prices).filter(|(_, (time, _))| begins_on(*time, day)) {
            if customer.plans().any(|own| own == *plan) {
                self.hear_of_price(number, *time, plan);
            }
        }
    }

    fn come_and_go(&mut self, day: Timestamp) {
        let customer = self.customer;
        if begins_on(customer.since, day) {
            let order = format!("ORD-{}", customer.number);
            let ordered = customer.since.saturating_add(-3 * HOUR);
            let who = customer.entity();
            self.add(
                event(ordered, "orders", "order.placed", "process", Severity::INFO, who.clone()).id(order.clone()),
            );
            let done = event(customer.since, "orders", "order.completed", "process", Severity::INFO, who);
            self.add(done.id(format!("{order}-done")));
            for service in self.services() {
                let active =
                    event(customer.since, "provisioning", "service.activated", "process", Severity::INFO, service);
                self.add_numbered(active);
            }
        }
        if begins_on(customer.until, day) {
            let time = customer.until.saturating_add(-HOUR);
            let ended = event(time, "crm", "contract.ended", "process", Severity::WARN, customer.entity());
            self.add(ended.id(format!("END-{}", customer.number)));
        }
    }

    /// The ordinary business of a day: what there is most of.
    fn routine(&mut self, rng: &mut Rng, day: Timestamp) {
        let wanted = self.world.sizes.events_per_customer as f64;
        let months = f64::from(self.world.sizes.days) / 30.0;
        let ordinary = (wanted - STORY_EVENTS * months).max(wanted / 4.0);
        let mean = ordinary / EVENTS_PER_ACT / f64::from(self.world.sizes.days) * self.customer.activity;
        for _ in 0..rng.poisson(mean) {
            let time = day.saturating_add(waking_hour(rng));
            if self.customer.is_there(time) {
                self.act(rng, time);
            }
        }
    }

    fn act(&mut self, rng: &mut Rng, time: Timestamp) {
        let customer = self.customer;
        match rng.below(100) {
            0..=8 => self.look_at_app(rng, time, &["home", "usage", "bills", "offers"]),
            9..=10 => {
                for time in spaced(rng, time, 3, 40) {
                    let failed = event(time, "iam", "login.failed", "system", Severity::WARN, customer.entity());
                    self.add_numbered(failed.attribute("reason", "wrong password"));
                }
            }
            11 => self.call_care(rng, time, "question", None),
            12..=41 if customer.broadband.is_some() => self.use_broadband(rng, time),
            42..=54 if customer.tv.is_some() => self.watch(rng, time),
            choice => match &customer.mobile {
                Some(mobile) => self.use_mobile(rng, time, mobile, choice),
                None => self.use_broadband(rng, time),
            },
        }
    }

    fn use_broadband(&mut self, rng: &mut Rng, time: Timestamp) {
        let service = self.customer.service("broadband");
        match rng.below(20) {
            0..=1 => {
                let lost = event(time, "radius", "session.lost", "network", Severity::WARN, service.clone());
                self.add_numbered(lost.attribute("reason", "carrier"));
                let back = time.saturating_add(rng.range(20, 180) * SECOND);
                self.add_numbered(event(back, "radius", "session.restored", "network", Severity::INFO, service));
            }
            2..=4 => {
                let speed = (rng.unit() * 400.0 + 60.0).round();
                self.add_numbered(
                    event(time, "probe", "speed.measured", "network", Severity::INFO, service).value(speed),
                );
            }
            5..=7 => {
                let weak = event(
                    time,
                    "acs",
                    "wifi.weak",
                    "network",
                    Severity::new(10).expect("in range"),
                    self.customer.ont(),
                );
                self.add_numbered(weak.value(-rng.unit().mul_add(20.0, 65.0).round()));
            }
            _ => {
                let megabytes = (rng.log_normal(1.2) * 900.0).round();
                let ended = event(time, "radius", "session.ended", "network", Severity::INFO, service);
                self.add_numbered(ended.value(megabytes));
            }
        }
    }

    fn use_mobile(&mut self, rng: &mut Rng, time: Timestamp, mobile: &Mobile, choice: u64) {
        let home = mobile.cell(time);
        let cell = if rng.chance(0.7) { home } else { rng.below(self.world.cells) };
        let cell = self.world.cell(cell);
        let service = self.customer.service("mobile");
        match choice % 10 {
            0..=3 => {
                let megabytes = (rng.log_normal(1.0) * 60.0).round();
                let used = event(time, "pcrf", "data.used", "network", Severity::INFO, self.customer.msisdn());
                self.add_numbered(used.value(megabytes).context(cell));
            }
            4 if rng.chance(0.4) => self.drop_call(rng, time, cell),
            4..=7 => {
                let seconds = (rng.log_normal(0.9) * 150.0).round().max(1.0);
                let call = event(time, "cdr", "call.finished", "network", Severity::INFO, service);
                self.add(call.id(name(rng)).value(seconds).context(cell));
            }
            _ => {
                for time in spaced(rng, time, 3, 60) {
                    let sent = event(time, "smsc", "sms.sent", "network", Severity::INFO, service.clone());
                    self.add_numbered(sent);
                }
            }
        }
    }

    fn drop_call(&mut self, rng: &mut Rng, time: Timestamp, cell: Entity) {
        let cause = rng.pick(&["handover timeout", "radio link failure", "no resources"]);
        let dropped = event(time, "ran", "call.dropped", "network", Severity::ERROR, self.customer.service("mobile"));
        self.add(dropped.id(name(rng)).context(cell).attribute("cause", cause));
    }

    fn watch(&mut self, rng: &mut Rng, time: Timestamp) {
        let service = self.customer.service("tv");
        if rng.chance(0.15) {
            for time in spaced(rng, time, 8, 50) {
                self.add_numbered(event(time, "iptv", "stream.buffering", "network", Severity::WARN, service.clone()));
            }
        } else {
            let minutes = (rng.log_normal(0.6) * 40.0).round();
            let watched = event(time, "iptv", "channel.watched", "front", Severity::INFO, service);
            self.add_numbered(watched.value(minutes));
        }
    }

    fn look_at_app(&mut self, rng: &mut Rng, time: Timestamp, pages: &[&'static str]) {
        for time in spaced(rng, time, 4, 30) {
            let viewed = event(time, "self-care", "page.viewed", "front", Severity::INFO, self.customer.entity());
            self.add_numbered(viewed.attribute("page", rng.pick(pages)));
        }
    }

    /// Calls the hotline; `trouble` makes a ticket of it, solved around the time given.
    fn call_care(&mut self, rng: &mut Rng, time: Timestamp, topic: &'static str, trouble: Option<Timestamp>) {
        let who = self.customer.entity();
        let agent = Entity::new("agent", format!("A{:03}", rng.below(400)));
        let name = name(rng);
        let waited = (rng.log_normal(0.8) * 140.0).round();
        let severity = if trouble.is_some() { Severity::WARN } else { Severity::INFO };
        let call = event(time, "care", "call.received", "front", severity, who.clone());
        let call = call.id(name.clone()).value(waited).context(Entity::new("queue", topic)).context(agent.clone());
        self.add(call.attribute("topic", topic));
        let Some(solved) = trouble else { return };
        let ticket = Entity::new("ticket", format!("T-{name}"));
        let opened = event(
            time.saturating_add(rng.range(2, 9) * MINUTE),
            "crm",
            "ticket.opened",
            "process",
            Severity::WARN,
            who.clone(),
        );
        let opened = opened.id(ticket.id.clone()).context(ticket.clone()).context(agent.clone());
        self.add(opened.attribute("topic", topic).attribute("note", rng.pick(&NOTES)));
        let closed = solved.max(time).saturating_add(rng.range(HOUR, 20 * HOUR) / SECOND * SECOND);
        let closed = event(closed, "crm", "ticket.closed", "process", Severity::INFO, who);
        self.add(closed.id(format!("{}-closed", ticket.id)).context(ticket).context(agent));
    }

    fn lose_broadband(&mut self, outage: &Outage<Component>) {
        let mut rng = self.rng(purpose::SYMPTOM, outage.number);
        if !rng.chance(0.8) || !self.customer.is_there(outage.start) {
            return;
        }
        let service = self.customer.service("broadband");
        let lost = outage.start.saturating_add(rng.range(1, 30) * SECOND);
        let event_of = |time, kind, severity| event(time, "radius", kind, "network", severity, service.clone());
        self.add_numbered(event_of(lost, "session.lost", Severity::ERROR).attribute("reason", "carrier"));
        let mut retry = lost;
        for _ in 0..rng.range(2, 18) {
            retry = retry.saturating_add(rng.range(11, 24) * SECOND);
            if retry < outage.end {
                self.add_numbered(event_of(retry, "session.retried", Severity::WARN));
            }
        }
        if self.customer.tv.is_some() && rng.chance(0.5) {
            let time = outage.part(rng.unit() * 0.3);
            self.add_numbered(event(
                time,
                "iptv",
                "stream.stopped",
                "network",
                Severity::ERROR,
                self.customer.service("tv"),
            ));
        }
        let time = outage.part(0.1 + rng.unit() * 0.4);
        if rng.chance(0.3) && is_awake(time) {
            self.look_at_app(&mut rng, time, &["status", "status", "help"]);
        }
        let time = outage.part(0.3 + rng.unit() * 0.5);
        let called = rng.chance(0.1) && is_awake(time);
        if called {
            self.call_care(&mut rng, time, "broadband", Some(outage.end));
        }
        self.tell(outage, called);
        let back = outage.end.saturating_add(rng.range(5, 180) * SECOND);
        self.add_numbered(event_of(back, "session.restored", Severity::INFO));
    }

    /// Keeps the best story of the day.
    fn tell(&mut self, outage: &Outage<Component>, called: bool) {
        let took_time = outage.end >= outage.start.saturating_add(40 * MINUTE);
        let average = (0.5..1.2).contains(&self.customer.activity) && self.customer.mobile.is_some();
        let worth = match (called, took_time && average) {
            (true, true) => Worth::Clear,
            (true, false) => Worth::Called,
            (false, _) => Worth::Noticed,
        };
        let alarm = outage.alarm(self.world);
        self.story = better(self.story.take(), Some(Story { worth, customer: self.customer.id.clone(), alarm }));
    }

    fn lose_mobile(&mut self, mobile: &Mobile, cell: u64, outage: &Outage<Component>) {
        let mut rng = self.rng(purpose::SYMPTOM, outage.number);
        let at_home = mobile.cell(outage.start) == cell && rng.chance(0.5);
        if !at_home || !self.customer.is_there(outage.start) {
            return;
        }
        let entity = self.world.cell(cell);
        for _ in 0..rng.range(0, 3) {
            let time = outage.part(rng.unit() * 0.4);
            self.drop_call(&mut rng, time, entity.clone());
        }
        let from = outage.part(rng.unit() * 0.5);
        for time in spaced(&mut rng, from, 6, 40) {
            let stalled = event(time, "pcrf", "data.stalled", "network", Severity::WARN, self.customer.msisdn());
            self.add_numbered(stalled.context(entity.clone()));
        }
        let time = outage.part(0.4 + rng.unit() * 0.5);
        if rng.chance(0.04) && is_awake(time) {
            self.call_care(&mut rng, time, "mobile", Some(outage.end));
        }
    }

    fn suffer_glitch(&mut self, glitch: &Outage<&'static str>) {
        let mut rng = self.rng(purpose::GLITCH, glitch.number);
        if !rng.chance(0.06) || !self.customer.is_there(glitch.start) {
            return;
        }
        let time = glitch.part(rng.unit() * 0.8);
        for time in spaced(&mut rng, time, 4, 25) {
            let failed = event(time, glitch.what, "request.failed", "system", Severity::ERROR, self.customer.entity());
            self.add_numbered(failed.attribute("error", glitch.cause).context(super::world::application(glitch.what)));
        }
        if rng.chance(0.1) {
            self.call_care(&mut rng, time.saturating_add(12 * MINUTE), "app", Some(glitch.end));
        }
    }

    fn hear_of_price(&mut self, number: u64, time: Timestamp, plan: &'static str) {
        let mut rng = self.rng(purpose::PRICE, number);
        let noon = time.saturating_add(rng.range(9 * HOUR, 19 * HOUR) / SECOND * SECOND);
        if !self.customer.is_there(noon) {
            return;
        }
        if rng.chance(0.2) {
            self.look_at_app(&mut rng, noon, &["prices", "contract"]);
        }
        if rng.chance(0.02) {
            self.call_care(&mut rng, noon.saturating_add(20 * MINUTE), "price", None);
            let changed = noon.saturating_add(30 * MINUTE);
            let lowered =
                event(changed, "orders", "plan.downgraded", "product", Severity::WARN, self.customer.entity());
            let name = name(&mut rng);
            self.add(lowered.id(name).attribute("plan", plan));
        }
    }

    /// The bill of the month, when it is the day for that, or its payment some days later.
    fn bill(&mut self, day: Timestamp) {
        let (customer, today) = (self.customer, self.day);
        for month in 0..=today / 30 {
            let mut rng = self.rng(purpose::BILL, u64::from(month));
            let billed = month * 30 + customer.bill_day;
            let paid = billed + rng.range(1, 12) as u32;
            let (amount, fails) = (rng.range(1_500, 9_500) as f64 / 100.0, rng.chance(0.04));
            let time = day.saturating_add(rng.range(6 * HOUR, 9 * HOUR) / SECOND * SECOND);
            if !customer.is_there(time) {
                continue;
            }
            let invoice = format!("INV-{}-{}", customer.number, month + 1);
            let of_bill = |kind: &str, severity| {
                event(time, customer.billing, kind, "product", severity, customer.entity()).value(amount)
            };
            if billed == today {
                let issued = of_bill("bill.issued", Severity::INFO).id(invoice);
                self.add(issued.attribute("currency", "GBP"));
            } else if paid == today && fails {
                self.add(
                    of_bill("payment.failed", Severity::WARN)
                        .id(format!("PAY-{invoice}"))
                        .attribute("reason", "card declined"),
                );
            } else if paid == today {
                self.add(of_bill("payment.received", Severity::INFO).id(format!("PAY-{invoice}")));
            }
        }
    }

    fn services(&self) -> Vec<Entity> {
        let customer = self.customer;
        let names = [
            customer.broadband.as_ref().map(|_| "broadband"),
            customer.mobile.as_ref().map(|_| "mobile"),
            customer.tv.map(|_| "tv"),
        ];
        names.into_iter().flatten().map(|name| customer.service(name)).collect()
    }

    /// The generator of what this customer makes of something.
    fn rng(&self, purpose: u64, of: u64) -> Rng {
        Rng::new(self.world.sizes.seed, [purpose, self.customer.number, of])
    }

    fn add(&mut self, event: Event) {
        self.records.push(event.into());
    }

    fn add_numbered(&mut self, event: Event) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.add(event.sequence(sequence));
    }
}

const NOTES: [&str; 5] = [
    "no connection since this morning, router restarted twice",
    "customer works from home, asks for compensation",
    "says neighbours are down as well",
    "third call this month",
    "wants to know when it will be fixed",
];

/// A name for an event, unique enough together with its source and time.
fn name(rng: &mut Rng) -> String {
    format!("{:08x}", rng.below(1 << 32))
}

fn event(time: Timestamp, source: &str, kind: &str, layer: &str, severity: Severity, subject: Entity) -> Event {
    Event::new(time, source, kind).layer(layer).severity(severity).subject(subject)
}

/// A time of day, mostly between breakfast and midnight, and most in the evening.
fn waking_hour(rng: &mut Rng) -> i64 {
    let evening = rng.range(7 * HOUR, 24 * HOUR).max(rng.range(7 * HOUR, 24 * HOUR));
    let night = rng.chance(0.05);
    let time = if night { rng.range(0, 7 * HOUR) } else { evening };
    time / (SECOND / 1000) * (SECOND / 1000)
}

/// Whether people are up at `time`.
fn is_awake(time: Timestamp) -> bool {
    (7 * HOUR..23 * HOUR).contains(&time.as_nanos().rem_euclid(DAY))
}

/// One to `most` times from `first` on, some seconds apart.
fn spaced(rng: &mut Rng, first: Timestamp, most: i64, seconds: i64) -> Vec<Timestamp> {
    let mut time = first;
    (0..rng.range(1, most + 1))
        .map(|_| {
            let now = time;
            time = time.saturating_add(rng.range(SECOND, seconds * SECOND) / 1_000_000 * 1_000_000);
            now
        })
        .collect()
}
