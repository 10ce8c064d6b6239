//! A small seeded month of telco events. `OFONE_BENCH_EVENTS` scales it; there are fifty events to a customer.

use ofone::{Entity, Event, Severity, Text, Timestamp};

const SEED: u64 = 42;
const EVENTS_PER_CUSTOMER: usize = 50;
const MONTH_US: u64 = 30 * 86_400_000_000;
const START_US: u64 = 1_767_225_600_000_000; // 2026-01-01T00:00:00Z
const LAYERS: [&str; 8] = ["product", "order", "billing", "care", "channel", "app", "network", "device"];
const SOURCES: [&str; 8] = ["catalog", "oms", "billing-core", "crm", "mobile-app", "app-gateway", "ran", "cpe-mgmt"];
const SERVICES: [&str; 3] = ["mobile", "broadband", "tv"];
const COMPONENT_TYPES: [&str; 5] = ["cell", "olt", "svc", "router", "bras"];
const CAUSES: [&str; 4] = ["timeout after 3 retries", "ok", "upstream node degraded, see alarm", "user action"];
const KINDS: usize = 200;
const COMPONENTS: usize = 5_000;

/// One event as numbers, so that a million of them wait in little memory.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    time_us: u64,
    pub(crate) customer: u32,
    service: u8,
    kind: u8,
    severity: u8,
    cause: Option<u8>,
    component: Option<u16>,
    value: Option<f32>,
}

/// Events in order of arrival, with the names they use.
pub(crate) struct Workload {
    pub(crate) records: Vec<Record>,
    pub(crate) customers: Vec<Text>,
    services: Vec<[Text; 3]>,
    kinds: Vec<Text>,
    layers: Vec<Text>,
    sources: Vec<Text>,
    details: Vec<[Text; CAUSES.len()]>,
    components: Vec<Entity>,
}

impl Workload {
    /// Of so many events, unless the environment says otherwise.
    pub(crate) fn new(events: usize) -> Workload {
        let events = std::env::var("OFONE_BENCH_EVENTS").map_or(events, |text| text.parse().expect("a number"));
        let customers = (events / EVENTS_PER_CUSTOMER).max(1);
        let kind = |number: usize| format!("{}.{number:03}", LAYERS[number % LAYERS.len()]);
        let component = |number: usize| {
            let kind = COMPONENT_TYPES[number % COMPONENT_TYPES.len()];
            Entity::new(kind, format!("{kind}-{number:05}"))
        };
        let mut random = Random(SEED);
        Workload {
            records: (0..events).map(|at| random.record(at as u64, events as u64, customers)).collect(),
            customers: (0..customers).map(|number| Text::from(format!("C{number:08}"))).collect(),
            services: (0..customers).map(|number| SERVICES.map(|name| format!("C{number:08}/{name}").into())).collect(),
            kinds: (0..KINDS).map(|number| kind(number).into()).collect(),
            layers: LAYERS.map(Text::from).to_vec(),
            sources: SOURCES.map(Text::from).to_vec(),
            details: (0..KINDS).map(|number| CAUSES.map(|cause| format!("{}: {cause}", kind(number)).into())).collect(),
            components: (0..COMPONENTS).map(component).collect(),
        }
    }

    /// The event as an application would hand it in.
    pub(crate) fn event(&self, record: &Record) -> Event {
        let (customer, kind) = (record.customer as usize, usize::from(record.kind));
        let layer = kind % LAYERS.len();
        let mut event = Event::new(
            Timestamp::from_micros(record.time_us as i64),
            self.sources[layer].clone(),
            self.kinds[kind].clone(),
        )
        .layer(self.layers[layer].clone())
        .severity(Severity::new(record.severity).expect("below six"))
        .subject(Entity::customer(self.customers[customer].clone()))
        .context(Entity::new("service", self.services[customer][usize::from(record.service)].clone()));
        event.value = record.value.map(f64::from);
        if let Some(component) = record.component {
            event.context.push(self.components[usize::from(component)].clone());
        }
        if let Some(cause) = record.cause {
            event = event.attribute("detail", self.details[kind][usize::from(cause)].clone());
        }
        event
    }
}

/// splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// In `0..bound`, low numbers more often: `power` 1 is even, more is steeper.
    fn skewed(&mut self, bound: usize, power: f64) -> usize {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((unit.powf(power) * bound as f64) as usize).min(bound - 1)
    }

    fn record(&mut self, at: u64, events: u64, customers: usize) -> Record {
        let late_us =
            if self.below(200) == 0 { self.below(7_200_000_000) as u64 } else { self.below(1_000_000) as u64 };
        Record {
            time_us: START_US + MONTH_US / events * at - late_us,
            customer: self.skewed(customers, 1.7) as u32,
            service: self.below(3) as u8,
            kind: self.skewed(KINDS, 3.0) as u8,
            severity: self.skewed(6, 3.0) as u8,
            cause: (self.below(10) < 6).then(|| self.below(CAUSES.len()) as u8),
            component: (self.below(10) < 7).then(|| self.skewed(COMPONENTS, 3.0) as u16),
            value: (self.below(2) == 0).then(|| self.below(8_000) as f32 / 8.0),
        }
    }
}
