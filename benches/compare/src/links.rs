//! `links`: what stitching costs. Each customer depends on five private entities and, through them, on
//! eight components shared by 200 to 1,000 customers, which have alarms of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ofone::{Db, Entity, Event, Link, LinkChange, Severity, Snapshot, StreamItem, Timestamp};
use serde_json::json;

use crate::Result;
use crate::args::Args;
use crate::data::{Digest, Meta, Names, Records};
use crate::load::{self, Plan};
use crate::measure::{self, Latencies};
use crate::query::{Parameters, stream};

/// Alarms of each component in the month.
const ALARMS: u64 = 20;
const SHARED: u64 = 8;

/// The components a customer depends on: cell - router - bras, olt - router - bras, svc - svc.
/// Numbers are those of the generator: type = number % 5.
struct Shared {
    cell: [u32; 3],
    olt: [u32; 3],
    svc: [u32; 2],
}

impl Shared {
    fn of(customer: u32) -> Shared {
        let (cell, olt, svc) = (customer / 200 % 10_000, customer / 250 % 10_000, customer / 500 % 5_000);
        Shared {
            cell: [5 * cell, 5 * (cell / 2) + 3, 5 * (cell / 4) + 4],
            olt: [5 * olt + 1, 5 * (5_000 + olt / 2) + 3, 5 * (5_000 + olt / 4) + 4],
            svc: [5 * svc + 2, 5 * (5_000 + svc / 2) + 2],
        }
    }

    /// Distinct customers' sets, in order: the groups are multiples of fifty.
    fn all(customers: u32) -> impl Iterator<Item = Shared> {
        (0..customers).step_by(50).map(Shared::of)
    }

    fn numbers(self) -> impl Iterator<Item = u32> {
        self.cell.into_iter().chain(self.olt).chain(self.svc)
    }

    fn links(&self) -> [(u32, &'static str, u32); 5] {
        [
            (self.cell[0], "backhauled_by", self.cell[1]),
            (self.cell[1], "fed_by", self.cell[2]),
            (self.olt[0], "fed_by", self.olt[1]),
            (self.olt[1], "fed_by", self.olt[2]),
            (self.svc[0], "runs_on", self.svc[1]),
        ]
    }
}

/// Every link valid since half a year before the first event.
fn link(meta: &Meta, from: Entity, relation: &'static str, to: Entity) -> LinkChange {
    const HALF_YEAR_US: i64 = 180 * 86_400_000_000;
    let since = Timestamp::from_micros(meta.t0 - HALF_YEAR_US);
    LinkChange::Add(Link::new(from, relation, to).valid_from(since).source("inventory"))
}

/// Customer to services alone, for events that happen to a service.
pub fn for_each_service_link(meta: &Meta, names: &Names, mut each: impl FnMut(LinkChange) -> Result) -> Result {
    for customer in 0..meta.customers {
        for service in 0..3 {
            each(link(meta, names.customer(customer), "uses", names.service(customer, service)))?;
        }
    }
    Ok(())
}

/// Five private links and three to shared components per customer, and those among components.
pub fn for_each_link(meta: &Meta, names: &Names, mut each: impl FnMut(LinkChange) -> Result) -> Result {
    let among: BTreeSet<_> = Shared::all(meta.customers).flat_map(|shared| shared.links()).collect();
    for (from, relation, to) in among {
        each(link(meta, names.component(from).clone(), relation, names.component(to).clone()))?;
    }
    for_each_service_link(meta, names, &mut each)?;
    for customer in 0..meta.customers {
        let shared = Shared::of(customer);
        let [mobile, broadband, tv] = [0, 1, 2].map(|service| names.service(customer, service));
        let ont = Entity::new("ont", format!("ONT-{customer:08}"));
        let msisdn = Entity::new("msisdn", format!("+447{customer:09}"));
        each(link(meta, broadband, "runs_on", ont.clone()))?;
        each(link(meta, mobile.clone(), "identified_by", msisdn))?;
        each(link(meta, mobile, "served_by", names.component(shared.cell[0]).clone()))?;
        each(link(meta, ont, "fed_by", names.component(shared.olt[0]).clone()))?;
        each(link(meta, tv, "runs_on", names.component(shared.svc[0]).clone()))?;
    }
    Ok(())
}

/// The alarms of all shared components, in order of time.
pub fn alarms(meta: &Meta, names: &Names) -> Vec<Event> {
    let components: BTreeSet<u32> = Shared::all(meta.customers).flat_map(|shared| shared.numbers()).collect();
    let month_us = meta.days as u64 * 86_400_000_000;
    let alarm = |component: u32, count: u64| {
        let time = meta.t0 + (mix(u64::from(component) << 8 | count) % month_us) as i64;
        let (kind, severity) =
            if count.is_multiple_of(2) { ("alarm_raise", Severity::ERROR) } else { ("alarm_clear", Severity::INFO) };
        Event::new(Timestamp::from_micros(time), "alarms", kind)
            .layer("network")
            .severity(severity)
            .subject(names.component(component).clone())
            .attribute("alarm", count as i64)
    };
    let mut all = Vec::new();
    for component in components {
        all.extend((0..ALARMS).map(|count| alarm(component, count)));
    }
    all.sort_by_key(|event| event.time);
    all
}

/// The finaliser of splitmix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

pub fn run(args: &Args) -> Result {
    let plan = Plan::read(args)?.with_links();
    let (linked_path, plain_path) = (args.path("db")?, args.path("plain")?);
    let scale_dir = args.scale_dir()?;
    let rounds: usize = args.number("rounds")?.unwrap_or(3);
    let options = args.store_options()?.create(false);
    let limit = args.number("limit")?;
    args.finish()?;
    if !linked_path.exists() {
        load::load(&plan, &linked_path)?;
    }
    let meta = Meta::read(&scale_dir)?;
    let names = Names::new(&meta);
    let histories = Histories::count(Records::open(&scale_dir, limit)?, meta.customers)?;
    let linked = Db::open(&linked_path, options.clone())?.snapshot();
    let plain = Db::open(&plain_path, options)?.snapshot();

    let customers: Vec<u32> = Parameters::read(&scale_dir)?.q1.iter().map(|one| one.customer).collect();
    let mut took = Took::default();
    for round in 0..=rounds {
        let mut this = Took::default();
        for &customer in &customers {
            let with = this.linked.time(&linked, &names, customer)?;
            let without = this.plain.time(&plain, &names, customer)?;
            let twin = histories.nearest(with.len());
            this.twin.time(&plain, &names, twin)?;
            if round == 0 {
                same_own_history(&with, &without, &meta)?;
            }
        }
        // Round 0 warms the caches and checks the answers.
        if round > 0 {
            took.linked.0.extend(&this.linked.0);
            took.plain.0.extend(&this.plain.0);
            took.twin.0.extend(&this.twin.0);
        }
    }
    let (with, without, twin) = (&took.linked.0, &took.plain.0, &took.twin.0);
    println!("every linked stream is the plain one and {} alarms", ALARMS * SHARED);
    println!("Q1, p50 / p99 ms (n), warm");
    println!("  with links             {}", with.cell());
    println!("  without, same customer {}", without.cell());
    println!("  without, as many events {}", twin.cell());
    println!("ratio at equal history: p50 {:.2}, p99 {:.2}", with.p50() / twin.p50(), with.p99() / twin.p99());
    println!("ratio same customer:    p50 {:.2}, p99 {:.2}", with.p50() / without.p50(), with.p99() / without.p99());
    let result = json!({
        "linked": with.json(), "plain": without.json(), "equal_history": twin.json(),
        "ratio_p50": with.p50() / twin.p50(), "ratio_p99": with.p99() / twin.p99(),
    });
    measure::save(&scale_dir, "ofone-links", "links", result)
}

#[derive(Default)]
struct Took {
    linked: Timed,
    plain: Timed,
    twin: Timed,
}

#[derive(Default)]
struct Timed(Latencies);

impl Timed {
    fn time(&mut self, snapshot: &Snapshot, names: &Names, customer: u32) -> Result<Vec<StreamItem>> {
        let started = Instant::now();
        let items = stream(snapshot.stream(names.customer_id(customer)))?;
        self.0.push(started.elapsed());
        Ok(items)
    }
}

/// The linked stream must be the plain one plus every alarm of the eight components.
fn same_own_history(linked: &[StreamItem], plain: &[StreamItem], meta: &Meta) -> Result {
    let (mut with, mut without, mut alarms) = (Digest::default(), Digest::default(), 0);
    for item in linked {
        if item.event.subjects.iter().any(|subject| Names::component_number(subject).is_some()) {
            alarms += 1;
        } else {
            with.add_event(&item.event, &meta.services)?;
        }
    }
    for item in plain {
        without.add_event(&item.event, &meta.services)?;
    }
    if with != without || alarms != ALARMS * SHARED {
        return Err(format!("linked {with:?} and {alarms} alarms, plain {without:?}").into());
    }
    Ok(())
}

/// Customers by the number of their own events.
struct Histories(BTreeMap<usize, Vec<u32>>);

impl Histories {
    fn count(records: Records, customers: u32) -> Result<Histories> {
        let mut counts = vec![0; customers as usize];
        for record in records {
            counts[record?.customer as usize] += 1;
        }
        let mut by_count: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (customer, count) in (0..).zip(counts) {
            by_count.entry(count).or_default().push(customer);
        }
        Ok(Histories(by_count))
    }

    /// A customer with `events` events, or the next number up that someone has.
    fn nearest(&self, events: usize) -> u32 {
        let group = self.0.range(events..).next().or_else(|| self.0.last_key_value()).expect("some customer").1;
        group[mix(events as u64) as usize % group.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_distinct_components_each_shared_by_hundreds() {
        for customers in [100_000, 1_000_000] {
            let mut dependents = BTreeMap::new();
            for customer in 0..customers {
                let numbers: BTreeSet<u32> = Shared::of(customer).numbers().collect();
                assert_eq!(numbers.len() as u64, SHARED, "customer {customer}");
                for number in numbers {
                    *dependents.entry(number).or_insert(0) += 1;
                }
            }
            assert!(dependents.values().all(|count| (200..=1_000).contains(count)));
        }
    }
}
