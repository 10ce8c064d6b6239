//! What happens to things that many customers share: outages, deploys, prices.
//!
//! All of it is drawn up before the first day, because it is little and everyone refers to it.

use ofone::{Entity, Event, Severity, Timestamp};

use super::rng::Rng;
use super::world::{DAY, HOUR, MINUTE, SECOND, World, application, purpose};

const APPLICATIONS: [&str; 6] = ["self-care", "billing-core", "billing-next", "charging", "tv-middleware", "care-desk"];
const OLT_CAUSES: [&str; 4] = ["fibre cut", "line card failure", "power loss", "software fault"];
const CELL_CAUSES: [&str; 4] = ["power loss", "backhaul down", "overload", "antenna fault"];
const ERRORS: [&str; 3] = ["connection pool exhausted", "schema mismatch", "timeout calling upstream"];

/// A component, by its number within its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Component {
    Olt(u64),
    Cell(u64),
}

/// A component was down, or an application made errors, for a while.
#[derive(Clone, Debug)]
pub(crate) struct Outage<T> {
    /// Its number among its like; part of its name, and of the key of what follows from it.
    pub(crate) number: u64,
    pub(crate) what: T,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) cause: &'static str,
}

impl<T> Outage<T> {
    /// The instant this far into it, from 0 at its start to 1 at its end.
    pub(crate) fn part(&self, fraction: f64) -> Timestamp {
        let length = self.end.as_nanos() - self.start.as_nanos();
        self.start.saturating_add((length as f64 * fraction) as i64)
    }
}

impl Outage<Component> {
    /// The alarm, which everyone behind the component gets into their stream.
    pub(crate) fn alarm(&self, world: &World) -> Event {
        let (component, severity) = match self.what {
            Component::Olt(number) => (world.olt(number), Severity::FATAL),
            Component::Cell(number) => (world.cell(number), Severity::ERROR),
        };
        Event::new(self.start, "alarms", "alarm.raised")
            .id(format!("ALM-{}", self.number))
            .end(self.end)
            .layer("network")
            .severity(severity)
            .subject(component)
            .attribute("cause", self.cause)
    }
}

/// Everything shared, in order of time within each list.
pub(crate) struct Shared {
    pub(crate) outages: Vec<Outage<Component>>,
    /// Bad deploys: the errors of an application until it was rolled back.
    pub(crate) glitches: Vec<Outage<&'static str>>,
    pub(crate) prices: Vec<(Timestamp, &'static str)>,
    /// Events of applications, plans and components.
    pub(crate) events: Vec<Event>,
    /// Positions in `outages`, by component.
    by_component: Vec<(Component, usize)>,
}

impl Shared {
    pub(crate) fn new(world: &World) -> Shared {
        let mut outages = outages(world);
        outages.sort_by_key(|outage| (outage.start, outage.what));
        for (number, outage) in (1..).zip(&mut outages) {
            outage.number = number;
        }
        let mut events: Vec<Event> = outages.iter().map(|outage| outage.alarm(world)).collect();
        let glitches = deploys(world, &mut events);
        let prices = prices(world, &mut events);
        events.sort_by_key(|event| event.time);
        let mut by_component: Vec<_> = outages.iter().enumerate().map(|(at, outage)| (outage.what, at)).collect();
        by_component.sort_unstable();
        Shared { outages, glitches, prices, events, by_component }
    }

    /// The outages of a component that begin on the day that begins at `day`.
    pub(crate) fn outages_of(&self, component: Component, day: Timestamp) -> impl Iterator<Item = &Outage<Component>> {
        let from = self.by_component.partition_point(|(other, _)| *other < component);
        let own = self.by_component[from..].iter().take_while(move |(other, _)| *other == component);
        own.map(|(_, at)| &self.outages[*at]).filter(move |outage| begins_on(outage.start, day))
    }
}

/// Whether `time` lies on the day that begins at `day`.
pub(crate) fn begins_on(time: Timestamp, day: Timestamp) -> bool {
    day <= time && time < day.saturating_add(DAY)
}

fn outages(world: &World) -> Vec<Outage<Component>> {
    let months = f64::from(world.sizes.days) / 30.0;
    let olts = (0..world.olts).map(|olt| (Component::Olt(olt), 0.7 * months, &OLT_CAUSES));
    let cells = (0..world.cells).map(|cell| (Component::Cell(cell), 0.9 * months, &CELL_CAUSES));
    let mut outages = Vec::new();
    for (at, (what, mean, causes)) in olts.chain(cells).enumerate() {
        let mut rng = Rng::new(world.sizes.seed, [purpose::OUTAGE, at as u64, 0]);
        for _ in 0..rng.poisson(mean) {
            let start =
                world.sizes.start.saturating_add(rng.range(0, i64::from(world.sizes.days) * DAY) / SECOND * SECOND);
            let length = (rng.log_normal(0.7) * 55.0 * MINUTE as f64) as i64 / SECOND * SECOND;
            let end = start.saturating_add(length.max(3 * MINUTE));
            outages.push(Outage { number: 0, what, start, end, cause: rng.pick(causes) });
        }
    }
    outages
}

fn deploys(world: &World, events: &mut Vec<Event>) -> Vec<Outage<&'static str>> {
    let mut glitches = Vec::new();
    for (at, name) in APPLICATIONS.into_iter().enumerate() {
        let mut rng = Rng::new(world.sizes.seed, [purpose::DEPLOY, at as u64, 0]);
        let (mut time, mut version) = (world.sizes.start.saturating_add(rng.range(0, 8 * DAY)), rng.range(10, 60));
        while time < world.sizes.end() {
            // Night deploys are for the careful; most happen in office hours.
            let office = time.as_nanos().div_euclid(DAY) * DAY + rng.range(9 * HOUR, 17 * HOUR) / SECOND * SECOND;
            let finished = Timestamp::from_nanos(office);
            let deployed = |time, prefix: &str, kind: &str, severity, version: i64| {
                Event::new(time, "ci", kind)
                    .id(format!("{prefix}-{at}{version}"))
                    .layer("system")
                    .severity(severity)
                    .subject(application(name))
                    .attribute("version", format!("4.{version}.0"))
            };
            version += 1;
            events.push(deployed(finished, "DEP", "deploy.finished", Severity::INFO, version));
            if rng.chance(0.3) {
                let start = finished.saturating_add(rng.range(2 * MINUTE, 20 * MINUTE) / SECOND * SECOND);
                let end = start.saturating_add(rng.range(15 * MINUTE, 90 * MINUTE) / SECOND * SECOND);
                let cause = rng.pick(&ERRORS);
                let number = glitches.len() as u64 + 1;
                events.push(
                    Event::new(start, "monitoring", "error.burst")
                        .id(format!("INC-{number}"))
                        .end(end)
                        .layer("system")
                        .severity(Severity::ERROR)
                        .subject(application(name))
                        .attribute("error", cause)
                        .attribute("version", format!("4.{version}.0")),
                );
                events.push(deployed(end, "RBK", "deploy.rolled_back", Severity::WARN, version));
                glitches.push(Outage { number, what: name, start, end, cause });
            }
            time = time.saturating_add(rng.range(5 * DAY, 15 * DAY));
        }
    }
    glitches
}

fn prices(world: &World, events: &mut Vec<Event>) -> Vec<(Timestamp, &'static str)> {
    let mut rng = Rng::new(world.sizes.seed, [purpose::PRICE, 0, 0]);
    let mut prices = Vec::new();
    for (plan, old) in [("fibre-500", 39.0), ("mobile-50gb", 18.0), ("tv-sport", 25.0)] {
        let day = rng.below(u64::from(world.sizes.days)) as u32;
        let time = world.sizes.day(day);
        let raise = rng.range(2, 9) as f64 * 0.5;
        events.push(
            Event::new(time, "catalog", "price.changed")
                .id(format!("PRC-{plan}-{day}"))
                .layer("product")
                .severity(Severity::INFO)
                .value(old + raise)
                .subject(Entity::new("plan", plan))
                .attribute("old", old)
                .attribute("currency", "GBP"),
        );
        prices.push((time, plan));
    }
    prices
}
