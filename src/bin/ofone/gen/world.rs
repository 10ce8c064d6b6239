//! Who is there: the network, and each customer as a function of the seed and a number.
//!
//! Nothing is kept for a customer; whoever needs one computes it again. So a million customers take
//! no more memory than one.

use ofone::{Entity, Link, LinkChange, Record, Timestamp};

use super::rng::Rng;

pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

const CITIES: [&str; 8] = ["LON", "MAN", "BHM", "LDS", "GLA", "BRS", "EDI", "CDF"];
const FIBRE_PLANS: [&str; 3] = ["fibre-100", "fibre-500", "fibre-1000"];
const MOBILE_PLANS: [&str; 3] = ["mobile-10gb", "mobile-50gb", "mobile-unlimited"];
const TV_PLANS: [&str; 2] = ["tv-basic", "tv-sport"];
const HOMES_PER_OLT: u64 = 400;
const PHONES_PER_CELL: u64 = 150;
const OLTS_PER_ROUTER: u64 = 6;

/// Purposes of random numbers: the first part of the key of each generator.
pub(crate) mod purpose {
    pub(crate) const CUSTOMER: u64 = 1;
    pub(crate) const DAY: u64 = 2;
    pub(crate) const OUTAGE: u64 = 3;
    pub(crate) const SYMPTOM: u64 = 4;
    pub(crate) const DEPLOY: u64 = 5;
    pub(crate) const GLITCH: u64 = 6;
    pub(crate) const PRICE: u64 = 7;
    pub(crate) const BILL: u64 = 8;
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    pub(crate) seed: u64,
    pub(crate) customers: u64,
    pub(crate) events_per_customer: u64,
    pub(crate) days: u32,
    pub(crate) start: Timestamp,
}

impl Sizes {
    /// The first instant of a day.
    pub(crate) fn day(&self, day: u32) -> Timestamp {
        self.start.saturating_add(i64::from(day) * DAY)
    }

    /// The first instant after the last day.
    pub(crate) fn end(&self) -> Timestamp {
        self.day(self.days)
    }
}

/// The network of the provider, and its customers by number.
pub(crate) struct World {
    pub(crate) sizes: Sizes,
    /// Optical line terminals; a multiple of the number of cities, as are the cells.
    pub(crate) olts: u64,
    pub(crate) cells: u64,
    /// Digits of a customer's id.
    digits: usize,
}

/// One customer, with everything that does not change from day to day.
pub(crate) struct Customer {
    pub(crate) number: u64,
    pub(crate) id: String,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    /// How busy they are: 1 on average, with a heavy tail.
    pub(crate) activity: f64,
    pub(crate) broadband: Option<Broadband>,
    pub(crate) mobile: Option<Mobile>,
    pub(crate) tv: Option<&'static str>,
    pub(crate) billing: &'static str,
    /// Day of the month, counted from the first day generated.
    pub(crate) bill_day: u32,
}

pub(crate) struct Broadband {
    pub(crate) plan: &'static str,
    pub(crate) olt: u64,
}

pub(crate) struct Mobile {
    pub(crate) plan: &'static str,
    /// Where they live, and where they moved to and when, in order.
    pub(crate) cells: Vec<(Timestamp, u64)>,
}

impl Mobile {
    /// The cell at home at `time`.
    pub(crate) fn cell(&self, time: Timestamp) -> u64 {
        let after = self.cells.partition_point(|(from, _)| *from <= time);
        self.cells[after.saturating_sub(1)].1
    }
}

impl Customer {
    pub(crate) fn entity(&self) -> Entity {
        Entity::customer(&self.id)
    }

    pub(crate) fn service(&self, name: &str) -> Entity {
        Entity::new("service", format!("{}/{name}", self.id))
    }

    pub(crate) fn ont(&self) -> Entity {
        Entity::new("ont", format!("ONT{:08X}", self.number.wrapping_mul(0x9e37_79b1) as u32))
    }

    pub(crate) fn stb(&self) -> Entity {
        Entity::new("stb", format!("STB{:08X}", self.number.wrapping_mul(0x85eb_ca6b) as u32))
    }

    /// One digit group too long for a real subscriber's number.
    pub(crate) fn msisdn(&self) -> Entity {
        Entity::new("msisdn", format!("+447700900{:06}", self.number))
    }

    /// Whether they are a customer at `time`.
    pub(crate) fn is_there(&self, time: Timestamp) -> bool {
        self.since <= time && time < self.until
    }

    /// The applications whose trouble is theirs.
    pub(crate) fn applications(&self) -> Vec<&'static str> {
        let mut names = vec!["self-care", self.billing];
        names.extend(self.mobile.is_some().then_some("charging"));
        names.extend(self.tv.is_some().then_some("tv-middleware"));
        names
    }

    pub(crate) fn plans(&self) -> impl Iterator<Item = &'static str> {
        let broadband = self.broadband.as_ref().map(|broadband| broadband.plan);
        let mobile = self.mobile.as_ref().map(|mobile| mobile.plan);
        broadband.into_iter().chain(mobile).chain(self.tv)
    }
}

impl World {
    pub(crate) fn new(sizes: Sizes) -> World {
        let cities = CITIES.len() as u64;
        let digits = sizes.customers.saturating_sub(1).to_string().len().max(6);
        World {
            olts: sizes.customers.div_ceil(HOMES_PER_OLT).next_multiple_of(cities),
            cells: sizes.customers.div_ceil(PHONES_PER_CELL).next_multiple_of(cities),
            digits,
            sizes,
        }
    }

    pub(crate) fn olt(&self, number: u64) -> Entity {
        Entity::new("olt", placed(number))
    }

    pub(crate) fn cell(&self, number: u64) -> Entity {
        Entity::new("cell", placed(number))
    }

    /// Routers serve a few line terminals, or the cells of a city.
    fn router_of_olt(&self, number: u64) -> Entity {
        let cities = CITIES.len() as u64;
        let in_city = number / cities / OLTS_PER_ROUTER;
        Entity::new("router", placed(number % cities + in_city * cities))
    }

    fn router_of_cell(&self, number: u64) -> Entity {
        Entity::new("router", placed(number % CITIES.len() as u64))
    }

    /// The customer with this number; always the same.
    pub(crate) fn customer(&self, number: u64) -> Customer {
        let sizes = &self.sizes;
        let mut rng = Rng::new(sizes.seed, [purpose::CUSTOMER, number, 0]);
        let window = i64::from(sizes.days) * DAY;
        let since = match rng.chance(0.03) {
            true => sizes.start.saturating_add(rng.range(0, window) / HOUR * HOUR),
            false => sizes.start.saturating_add(-rng.range(1, 1800) * DAY),
        };
        let leaves = rng.chance(0.015).then(|| sizes.start.saturating_add(rng.range(window / 4, window) / HOUR * HOUR));
        let until = leaves.filter(|time| *time > since).unwrap_or(Timestamp::MAX);
        let activity = rng.log_normal(0.9);
        let cities = CITIES.len() as u64;
        let city = rng.below(cities);
        let (has_broadband, has_mobile) = match rng.below(20) {
            0..=4 => (true, false),
            5..=7 => (false, true),
            _ => (true, true),
        };
        let broadband = has_broadband
            .then(|| Broadband { plan: rng.pick(&FIBRE_PLANS), olt: city + cities * rng.below(self.olts / cities) });
        let tv = (has_broadband && rng.chance(0.4)).then(|| rng.pick(&TV_PLANS));
        let mobile = has_mobile.then(|| {
            let mut cells = vec![(since, city + cities * rng.below(self.cells / cities))];
            if rng.chance(0.15) {
                let moved = sizes.start.saturating_add(rng.range(0, window) / MINUTE * MINUTE);
                let to = rng.below(self.cells);
                if since < moved && moved < until && to != cells[0].1 {
                    cells.push((moved, to));
                }
            }
            Mobile { plan: rng.pick(&MOBILE_PLANS), cells }
        });
        Customer {
            number,
            id: format!("C{number:00$}", self.digits),
            since,
            until,
            activity,
            broadband,
            mobile,
            tv,
            billing: if rng.chance(0.7) { "billing-core" } else { "billing-next" },
            bill_day: rng.below(28) as u32,
        }
    }

    /// The links between the parts of the network.
    pub(crate) fn network_links(&self) -> Vec<Record> {
        let olts = (0..self.olts).map(|olt| (self.olt(olt), self.router_of_olt(olt)));
        let cells = (0..self.cells).map(|cell| (self.cell(cell), self.router_of_cell(cell)));
        olts.chain(cells).map(|(from, to)| Link::new(from, "fed_by", to).source("inventory").into()).collect()
    }

    /// The links of a customer when they came; those that change later come with the day they change.
    pub(crate) fn customer_links(&self, customer: &Customer) -> Vec<Record> {
        let mut links = Links { since: customer.since, records: Vec::new() };
        let who = customer.entity();
        links.add(&who, "uses", application("self-care"), "crm");
        let billing = application(customer.billing);
        if let Some(Broadband { plan, olt }) = customer.broadband {
            let service = customer.service("broadband");
            links.add(&who, "uses", service.clone(), "crm");
            links.add(&service, "runs_on", customer.ont(), "inventory");
            links.add(&customer.ont(), "fed_by", self.olt(olt), "inventory");
            links.add(&service, "on_plan", Entity::new("plan", plan), "crm");
            links.add(&service, "billed_by", billing.clone(), "billing");
        }
        if let Some(plan) = customer.tv {
            let service = customer.service("tv");
            links.add(&who, "uses", service.clone(), "crm");
            links.add(&service, "runs_on", customer.stb(), "inventory");
            links.add(&customer.stb(), "connected_to", customer.ont(), "inventory");
            links.add(&service, "served_by", application("tv-middleware"), "inventory");
            links.add(&service, "on_plan", Entity::new("plan", plan), "crm");
        }
        if let Some(mobile) = &customer.mobile {
            let service = customer.service("mobile");
            links.add(&who, "uses", service.clone(), "crm");
            links.add(&service, "identified_by", customer.msisdn(), "crm");
            links.add(&service, "served_by", self.cell(mobile.cells[0].1), "radio");
            links.add(&service, "charged_by", application("charging"), "billing");
            links.add(&service, "on_plan", Entity::new("plan", mobile.plan), "crm");
            links.add(&service, "billed_by", billing, "billing");
        }
        links.records
    }

    /// What changes about a customer's links on the day that begins at `day`.
    pub(crate) fn link_changes(&self, customer: &Customer, day: Timestamp) -> Vec<Record> {
        let today = |time: Timestamp| day <= time && time < day.saturating_add(DAY);
        let mut changes = Vec::new();
        let moves = customer.mobile.iter().flat_map(|mobile| mobile.cells.windows(2));
        for step in moves {
            let [(_, left), (at, entered)] = [step[0], step[1]];
            if today(at) {
                let service = customer.service("mobile");
                changes.push(close(&service, "served_by", self.cell(left), at, "radio"));
                let link = Link::new(service, "served_by", self.cell(entered)).valid_from(at).source("radio");
                changes.push(link.into());
            }
        }
        if today(customer.until) {
            let who = customer.entity();
            let services = [
                customer.broadband.is_some().then_some("broadband"),
                customer.mobile.is_some().then_some("mobile"),
                customer.tv.map(|_| "tv"),
            ];
            for service in services.into_iter().flatten() {
                changes.push(close(&who, "uses", customer.service(service), customer.until, "crm"));
            }
        }
        changes
    }
}

pub(crate) fn application(name: &str) -> Entity {
    Entity::new("app", name)
}

fn placed(number: u64) -> String {
    let cities = CITIES.len() as u64;
    format!("{}-{}", CITIES[(number % cities) as usize], number / cities + 1)
}

fn close(from: &Entity, relation: &str, to: Entity, at: Timestamp, source: &str) -> Record {
    Record::Link(LinkChange::Close { from: from.clone(), relation: relation.into(), to, at, source: source.into() })
}

struct Links {
    since: Timestamp,
    records: Vec<Record>,
}

impl Links {
    fn add(&mut self, from: &Entity, relation: &str, to: Entity, source: &str) {
        self.records.push(Link::new(from.clone(), relation, to).valid_from(self.since).source(source).into());
    }
}
