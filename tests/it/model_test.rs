//! Random histories: the database and the naive database of `model.rs` must agree on everything.
//!
//! The universe is tiny, so that records collide: same name, same instant, same link, in duplicates,
//! conflicts, loops and ties. Segments are tiny too, so that seals and merges happen within a history.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ofone::{
    Batch, Cursor, Db, Entity, ErrorKind, Event, EventName, Interval, Link, LinkChange, Outcome, Path, Record,
    Retention, Severity, Snapshot, StreamItem, StreamQuery, Text, Timestamp, Value, WhyNot, Window,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::test_runner::{RngSeed, TestRunner};
use tempfile::TempDir;

use crate::model::{Counters, DEFAULT_HOPS, Item, Links, Model, Query, Route, Triple, Validities, span, union};
use crate::support::{at, entity, open, scratch, setting};

const SEGMENT_EVENTS: usize = 8;

/// The first three are customers. In this order they also form the longest chain of links.
pub(super) const ENTITIES: [&str; 10] = [
    "customer:C0",
    "customer:C1",
    "customer:C2",
    "service:S0",
    "service:S1",
    "service:S2",
    "service:S3",
    "olt:K0",
    "olt:K1",
    "olt:K2",
];

/// Pairs that links connect: private services, shared components, loops, a customer behind another.
const PAIRS: [(usize, usize); 18] = [
    (0, 3),
    (0, 4),
    (1, 4),
    (1, 5),
    (2, 5),
    (2, 6),
    (3, 7),
    (4, 7),
    (4, 8),
    (5, 8),
    (6, 9),
    (7, 9),
    (8, 9),
    (9, 7),
    (7, 3),
    (0, 1),
    (1, 0),
    (2, 9),
];

/// One act upon the database.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Commit(Vec<Record>),
    /// Commits records once more that came before.
    Repeat(Vec<Index>),
    /// Commits an earlier event under its name with other content.
    Alter(Index, Alteration),
    /// Erases the customer of this place among those known.
    Erase(Index),
    /// Removes events before an instant, all or those of one layer, source or kind.
    Retain(Timestamp, Which),
    Flush,
    WaitUntilQuiet,
    Reopen,
    Compare,
    /// Takes a snapshot that is compared at the end, with what was known when it was taken.
    Remember,
}

/// Which events a retention means.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    All,
    Layer(&'static str),
    Source(&'static str),
    Kind(&'static str),
}

#[derive(Clone, Debug)]
pub(super) enum Alteration {
    Kind,
    Value,
    Subjects(Vec<Entity>),
}

impl Alteration {
    fn alter(&self, mut event: Event) -> Event {
        match self {
            Alteration::Kind => event.kind = "altered".into(),
            Alteration::Value => event.value = Some(99.0),
            Alteration::Subjects(subjects) => event.subjects = subjects.iter().cloned().collect(),
        }
        event
    }
}

pub(super) fn instant() -> impl Strategy<Value = Timestamp> {
    let far = vec![i64::MIN + 1, i64::MAX - 2, -1, 1_767_225_600_000_000_000];
    prop_oneof![16 => (0i64..20).prop_map(at), 1 => select(far).prop_map(at)]
}

fn some_entities(most: usize) -> impl Strategy<Value = Vec<Entity>> {
    vec(select(&ENTITIES[..]).prop_map(entity), 0..=most)
}

fn some_attributes() -> impl Strategy<Value = Vec<(Text, Value)>> {
    let value = prop_oneof![
        Just(Value::from("1")),
        Just(Value::from("x")),
        Just(Value::from(1)),
        Just(Value::from(9_007_199_254_740_993_i64)),
        Just(Value::from(1.0)),
        Just(Value::from(true)),
    ];
    (subsequence(&["cause", "cell", "code"][..], 0..=2), vec(value, 2))
        .prop_map(|(names, values)| names.into_iter().map(Text::from).zip(values).collect())
}

fn some_event() -> impl Strategy<Value = Event> {
    let when = (instant(), option::weighted(0.3, 1i64..16), option::weighted(0.4, 0u64..3));
    let name = (select(&["ran", "crm"][..]), option::weighted(0.7, select(&["a", "b", "c", "d"][..])));
    let what = (
        select(&["call.dropped", "call.setup", "ticket.opened", "alarm"][..]),
        option::of(select(&["network", "front"][..])),
        select(&[0, 9, 17][..]),
        option::weighted(0.3, select(&[1.5, 0.0, -0.0][..])),
    );
    let about = (prop_oneof![8 => some_entities(1), 3 => some_entities(3)], some_entities(2), some_attributes());
    (when, name, what, about).prop_map(
        |((time, lasts, sequence), (source, id), (kind, layer, severity, value), (subjects, context, attributes))| {
            let mut event = Event::new(time, source, kind);
            event.end = lasts.map(|nanos| at(time.as_nanos().saturating_add(nanos).min(i64::MAX - 1)));
            event.sequence = sequence;
            event.id = id.map(Text::from);
            event.layer = layer.map(Text::from);
            event.severity = Severity::new(severity).expect("a severity number");
            event.value = value;
            event.subjects = subjects.into_iter().collect();
            event.context = context.into_iter().collect();
            event.attributes = attributes.into_iter().collect();
            event
        },
    )
}

/// Links begin at a few instants only, so that retractions hit. Some are backwards and so rejected.
fn some_statement() -> impl Strategy<Value = LinkChange> {
    let begin = || option::weighted(0.6, select(&[0, 4, 8, 12, 16][..]).prop_map(at));
    let triple = (select(&PAIRS[..]), prop_oneof![5 => Just("uses"), 1 => Just("leases")], select(&["ran", "crm"][..]));
    let verb = prop_oneof![
        7 => (begin(), option::weighted(0.5, instant())).prop_map(Verb::Add),
        2 => instant().prop_map(Verb::Close),
        2 => begin().prop_map(Verb::Retract),
    ];
    (triple, verb).prop_map(|(((from, to), relation, source), verb)| {
        let (from, to) = (entity(ENTITIES[from]), entity(ENTITIES[to]));
        match verb {
            Verb::Add((valid_from, valid_to)) => {
                let mut link = Link::new(from, relation, to).source(source);
                link.valid_from = valid_from;
                link.valid_to = valid_to;
                LinkChange::Add(link)
            }
            Verb::Close(at) => LinkChange::Close { from, relation: relation.into(), to, at, source: source.into() },
            Verb::Retract(valid_from) => {
                LinkChange::Retract { from, relation: relation.into(), to, valid_from, source: source.into() }
            }
        }
    })
}

#[derive(Clone, Debug)]
enum Verb {
    Add((Option<Timestamp>, Option<Timestamp>)),
    Close(Timestamp),
    Retract(Option<Timestamp>),
}

fn broken_record() -> impl Strategy<Value = Record> {
    let event = || Event::new(at(3), "ran", "alarm").id("a").subject(Entity::customer("C0"));
    let self_link = Link::new(entity("olt:K0"), "uses", entity("olt:K0"));
    let nameless = Link::new(entity("olt:K0"), "", entity("olt:K1"));
    select(vec![
        Event::new(Timestamp::MAX, "ran", "alarm").into(),
        Event::new(Timestamp::MIN, "ran", "alarm").into(),
        Event::new(at(3), "", "alarm").into(),
        Event::new(at(3), "ran", "").into(),
        event().end(at(3)).into(),
        event().end(Timestamp::MAX).into(),
        event().value(f64::NAN).into(),
        event().attribute("cause", f64::INFINITY).into(),
        event().attribute("cause", "x").attribute("cause", "y").into(),
        event().subject(Entity::customer("")).into(),
        event().context(Entity::new("", "x")).into(),
        self_link.into(),
        nameless.into(),
    ])
}

pub(super) fn some_record() -> impl Strategy<Value = Record> {
    prop_oneof![
        30 => some_event().prop_map(Record::from),
        22 => some_statement().prop_map(Record::from),
        1 => broken_record(),
    ]
}

/// Links from each entity of the universe to the next: one more than a path may have.
fn chain() -> Vec<Record> {
    ENTITIES.windows(2).map(|pair| Link::new(entity(pair[0]), "next", entity(pair[1])).into()).collect()
}

pub(super) fn some_op() -> impl Strategy<Value = Op> {
    let alteration =
        prop_oneof![Just(Alteration::Kind), Just(Alteration::Value), some_entities(2).prop_map(Alteration::Subjects),];
    let which = select(vec![
        Which::All,
        Which::All,
        Which::Layer("network"),
        Which::Source("ran"),
        Which::Kind("alarm"),
        Which::Kind("unknown"),
    ]);
    prop_oneof![
        40 => vec(some_record(), 1..10).prop_map(Op::Commit),
        2 => Just(Op::Commit(chain())),
        4 => vec(any::<Index>(), 1..5).prop_map(Op::Repeat),
        4 => (any::<Index>(), alteration).prop_map(|(index, alteration)| Op::Alter(index, alteration)),
        2 => any::<Index>().prop_map(Op::Erase),
        2 => (instant(), which).prop_map(|(before, which)| Op::Retain(before, which)),
        6 => Just(Op::Flush),
        2 => Just(Op::WaitUntilQuiet),
        3 => Just(Op::Reopen),
        4 => Just(Op::Compare),
        3 => Just(Op::Remember),
    ]
}

fn some_query() -> impl Strategy<Value = (Query, usize)> {
    let texts = |texts: &'static [&'static str]| {
        prop_oneof![3 => Just(vec![]), 1 => subsequence(texts, 1..=2)]
            .prop_map(|texts| texts.into_iter().map(Text::from).collect::<Vec<Text>>())
    };
    let window =
        prop_oneof![Just(Window::ALL), (instant(), instant()).prop_map(|(a, b)| Window::new(a, b)), Just(Window::ALL)];
    let shape = (select(&["C0", "C1", "C2"][..]), window, select(&[0, 1, 2, 3, DEFAULT_HOPS][..]));
    let filters = (
        texts(&["network", "front", "none"]),
        texts(&["ran", "crm"]),
        texts(&["call.*", "*.opened", "alarm", "*a*r*"]),
        select(&[0, 0, 0, 9, 17][..]),
        prop_oneof![
            3 => Just(vec![]),
            1 => subsequence(&[("cause", "1"), ("cause", "x"), ("cell", "1"), ("code", "true")][..], 1..=2),
        ],
    );
    (shape, filters, any::<bool>(), 1usize..6).prop_map(
        |((customer, window, max_hops), (layers, sources, kinds, severity, attributes), newest_first, page)| {
            let query = Query {
                window,
                max_hops,
                layers,
                sources,
                kinds,
                min_severity: Severity::new(severity).expect("a severity number"),
                attributes: attributes.into_iter().map(|(name, text)| (name.into(), text.into())).collect(),
                newest_first,
                ..Query::all(customer)
            };
            (query, page)
        },
    )
}

/// The same query to the database.
fn ask(snapshot: &Snapshot, query: &Query) -> StreamQuery {
    let mut asked = snapshot.stream(query.customer.clone()).window(query.window).min_severity(query.min_severity);
    asked = match query.max_hops {
        0 => asked.direct_only(),
        hops => asked.max_hops(u32::try_from(hops).expect("few hops")),
    };
    asked = query.layers.iter().fold(asked, |asked, layer| asked.layer(layer));
    asked = query.sources.iter().fold(asked, |asked, source| asked.source(source));
    asked = query.kinds.iter().fold(asked, |asked, glob| asked.kind(glob));
    asked = query.attributes.iter().fold(asked, |asked, (name, text)| asked.attribute(name, text));
    asked = query.limit.into_iter().fold(asked, StreamQuery::limit);
    if query.newest_first { asked.newest_first() } else { asked }
}

/// An event such that those compare equal that say the same.
fn comparable(event: &Event) -> Event {
    let mut event = event.clone();
    // Equality of floats is not identity: 0.0 and -0.0 are two contents.
    if let Some(value) = event.value.take() {
        event.attributes.push(("value, in bits".into(), Value::Int(value.to_bits().cast_signed())));
    }
    event
}

type Seen = (Event, Vec<Interval>);

fn expected(items: &[Item]) -> Vec<Seen> {
    items.iter().map(|item| (comparable(&item.event), item.felt.clone())).collect()
}

fn seen(items: &[StreamItem]) -> Vec<Seen> {
    items.iter().map(|item| (comparable(&item.event), item.felt.intervals().to_vec())).collect()
}

fn triple(link: &Link) -> Triple {
    (link.from.clone(), link.relation.clone(), link.to.clone())
}

/// Whether the commit that brought an event is part of the comparison.
#[derive(Clone, Copy, PartialEq)]
enum Commits {
    Compared,
    Ignored,
}

/// Everything the database can be asked about a history, next to what the model says.
struct Comparison<'a> {
    snapshot: &'a Snapshot,
    model: &'a Model,
    /// The links of the model.
    links: Links,
    queries: &'a [(Query, usize)],
    commits: Commits,
}

pub(super) type Verdict = Result<(), TestCaseError>;

impl Comparison<'_> {
    fn all(&self) -> Verdict {
        self.entities()?;
        self.counters()?;
        self.events()?;
        for customer in self.model.customers() {
            self.stream(&Query::all(customer.clone()))?;
            self.why(&customer)?;
        }
        for (query, page) in self.queries {
            self.stream(query)?;
            self.pages(query, *page)?;
            self.stream(&Query { limit: Some(*page), ..query.clone() })?;
        }
        self.adjacent()
    }

    fn entities(&self) -> Verdict {
        let mut numbers = BTreeSet::new();
        for text in ENTITIES {
            let entity = entity(text);
            let info = self.snapshot.entity(&entity)?;
            prop_assert_eq!(info.is_some(), self.model.entities().contains(&entity), "{} is known", &entity);
            if let Some(info) = info {
                prop_assert_eq!(&info.entity, &entity);
                prop_assert_eq!(info.is_customer, entity.kind == "customer");
                prop_assert!(numbers.insert(info.number), "two entities have number {}", info.number);
            }
        }
        let mut customers = self.snapshot.customers().collect::<Result<Vec<Text>, _>>()?;
        let mut expected = self.model.customers();
        if self.commits == Commits::Ignored {
            customers.sort();
            expected.sort();
        }
        prop_assert_eq!(customers, expected, "customers in order of first mention");
        Ok(())
    }

    fn counters(&self) -> Verdict {
        let stats = self.snapshot.stats()?;
        let sources = stats.sources.into_iter().map(|(name, source)| (name, (source.events, source.last_event)));
        let mut counters = Counters {
            events: stats.events,
            first: stats.first,
            last: stats.last,
            kinds: stats.kinds,
            layers: stats.layers,
            sources: sources.collect(),
            severities: stats.severities,
            entities: stats.entities,
            customers: stats.customers,
        };
        // No layer and no severity may be left out or counted under the empty name.
        counters.layers.remove("");
        counters.severities.remove(&0);
        prop_assert_eq!(counters, self.model.counters());
        Ok(())
    }

    fn events(&self) -> Verdict {
        for stored in self.model.events() {
            let name = stored.event.name();
            let event = self.snapshot.event(&name)?;
            prop_assert_eq!(event.map(|event| comparable(&event)), Some(comparable(&stored.event)), "event {}", name);
        }
        let unknown = EventName { source: "ran".into(), id: "unknown".into(), time: at(3) };
        prop_assert_eq!(self.snapshot.event(&unknown)?, None);
        Ok(())
    }

    fn stream(&self, query: &Query) -> Verdict {
        let expected_items = self.model.stream(query);
        let mut stream = ask(self.snapshot, query).run()?;
        let items = stream.by_ref().collect::<Result<Vec<StreamItem>, _>>()?;
        prop_assert_eq!(seen(&items), expected(&expected_items), "{:?}", query);
        if query.max_hops > 0 && query.limit.is_none() && !stream.hop_limit_reached() {
            let unbounded = self.model.stream(&Query { max_hops: usize::MAX, ..query.clone() });
            prop_assert_eq!(seen(&items), expected(&unbounded), "says that it found all: {:?}", query);
        }
        for (item, expected) in items.iter().zip(&expected_items) {
            self.item(query, item, expected)?;
        }
        Ok(())
    }

    fn item(&self, query: &Query, item: &StreamItem, expected: &Item) -> Verdict {
        if self.commits == Commits::Compared {
            prop_assert_eq!(item.commit(), expected.commit, "commit of {}", expected.event.name());
        }
        let routes = self.model.why(&query.customer, &expected.event.name(), query.max_hops).unwrap_or_default();
        self.paths(&item.paths()?, &routes, &expected.event)?;
        let reaches = |customer: &Text, entity| {
            // Whether others share it is told as of the beginning of the event.
            let begin = Interval::new(expected.event.time, expected.event.time.saturating_add(1));
            let during = if *customer == query.customer { span(&expected.event) } else { begin };
            self.model.reaches(customer, entity, during, query.max_hops)
        };
        match item.via() {
            None => {
                let customer = Entity::customer(&query.customer);
                prop_assert!(expected.event.subjects.contains(&customer), "{:?} is direct", expected);
                prop_assert!(!item.is_shared()?, "{:?} is the customer's own", expected);
            }
            Some(subject) => {
                prop_assert!(expected.event.subjects.contains(subject), "{} is a subject of {:?}", subject, expected);
                prop_assert!(reaches(&query.customer, subject), "{:?} came through {}", expected, subject);
                // A subject that is another customer is not asked about: whether it depends on itself is moot.
                if subject.kind != "customer" {
                    let customers = self.model.customers();
                    let mut others = customers.iter().filter(|customer| **customer != query.customer);
                    prop_assert_eq!(item.is_shared()?, others.any(|other| reaches(other, subject)), "{:?}", expected);
                }
            }
        }
        Ok(())
    }

    /// Pages joined by cursors, which survive being text, are the whole.
    fn pages(&self, query: &Query, page: usize) -> Verdict {
        let whole = expected(&self.model.stream(query));
        let mut joined: Vec<Seen> = Vec::new();
        let mut after: Option<Cursor> = None;
        loop {
            let asked = ask(self.snapshot, query).limit(page);
            let asked = after.into_iter().fold(asked, StreamQuery::after);
            let items = asked.run()?.collect::<Result<Vec<StreamItem>, _>>()?;
            prop_assert!(items.len() <= page, "at most {} items a page", page);
            joined.extend(seen(&items));
            let Some(last) = items.last() else { break };
            prop_assert!(joined.len() <= whole.len(), "pages end: {:?}", query);
            after = Some(last.cursor().to_string().parse()?);
        }
        prop_assert_eq!(joined, whole, "pages of {}: {:?}", page, query);
        Ok(())
    }

    fn why(&self, customer: &Text) -> Verdict {
        for stored in self.model.events() {
            let name = stored.event.name();
            let why = self.snapshot.why(customer, &name)?;
            prop_assert_eq!(comparable(&why.event), comparable(&stored.event));
            let routes = self.model.why(customer, &name, DEFAULT_HOPS).unwrap_or_default();
            self.paths(&why.paths, &routes, &stored.event)?;
            prop_assert_eq!(why.why_not.is_some(), routes.is_empty(), "why not {} for {}", name, customer);
            if let Some(why_not) = &why.why_not {
                self.why_not(customer, &stored.event, why_not)?;
            }
        }
        let unknown = EventName { source: "ran".into(), id: "unknown".into(), time: at(3) };
        let error = self.snapshot.why(customer, &unknown).err();
        prop_assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::NotFound));
        Ok(())
    }

    /// The same routes. A link that was added twice may be told as one or as two, and a route that
    /// held twice during the event once or twice; whatever is told must hold.
    fn paths(&self, paths: &[Path], routes: &[Route], event: &Event) -> Verdict {
        let mut listed = BTreeSet::new();
        for path in paths {
            let end = path.steps.last().map_or(&path.subject, |step| &step.to);
            prop_assert_eq!(end, &path.subject, "{:?} ends in its subject", path);
            prop_assert!(event.subjects.contains(end), "{:?} ends in a subject of {:?}", path, event);
            for step in &path.steps {
                prop_assert!(self.is_effective(step), "{:?} holds as told", step);
            }
            let common = path.steps.iter().map(Link::validity).fold(Interval::ALL, |all, step| all.intersect(&step));
            prop_assert_eq!(common.intersect(&path.validity), path.validity, "{:?} holds as told", path);
            prop_assert!(!path.validity.intersect(&span(event)).is_empty(), "{:?} holds during {:?}", path, event);
            let told = path.steps.iter().map(|step| (triple(step), step.validity())).collect::<Vec<_>>();
            prop_assert!(listed.insert((told, path.validity)), "{:?} is listed once", path);
        }
        let found: BTreeSet<Vec<Triple>> = paths.iter().map(|path| path.steps.iter().map(triple).collect()).collect();
        let expected: BTreeSet<Vec<Triple>> = routes.iter().map(|route| route.steps.clone()).collect();
        prop_assert_eq!(found, expected, "paths of {:?}", event);
        Ok(())
    }

    /// Whether the link held in all of the validity told.
    fn is_effective(&self, told: &Link) -> bool {
        let part = told.validity();
        let held = self.links.get(&triple(told)).map_or(&[][..], Vec::as_slice);
        !part.is_empty() && held.iter().any(|validity| validity.intersect(&part) == part)
    }

    /// The first relaxation that would do, in the order of [`WhyNot`].
    fn why_not(&self, customer: &Text, event: &Event, why_not: &WhyNot) -> Verdict {
        let relaxed = self.model.why_not(customer, &event.name()).expect("customer and event are known");
        let first = match () {
            () if relaxed.other_time => "other time",
            () if relaxed.more_hops => "more hops",
            () if relaxed.retracted => "retracted",
            () => "no path",
        };
        let links = &self.links;
        let holds = |step: &Link| {
            links.get(&triple(step)).is_some_and(|validities| {
                validities.iter().any(|validity| !validity.intersect(&span(event)).is_empty())
            })
        };
        let (told, path) = match why_not {
            WhyNot::OtherTime { path, blocking } => {
                prop_assert!(path.steps.contains(blocking), "{:?} is on the path", blocking);
                prop_assert!(event.end.is_some() || !holds(blocking), "{:?} blocks", blocking);
                prop_assert!(path.steps.iter().all(|step| links.contains_key(&triple(step))), "{:?}", path);
                ("other time", Some(path))
            }
            WhyNot::MoreHops { hops, path } => {
                prop_assert_eq!(*hops as usize, path.steps.len());
                prop_assert!(path.steps.len() > DEFAULT_HOPS && path.steps.iter().all(holds), "{:?}", path);
                ("more hops", Some(path))
            }
            WhyNot::Retracted { path, blocking } => {
                prop_assert!(path.steps.contains(blocking), "{:?} is on the path", blocking);
                prop_assert!(!holds(blocking), "{:?} blocks", blocking);
                ("retracted", Some(path))
            }
            _ => ("no path", None),
        };
        prop_assert_eq!(told, first, "why {:?} is not in the stream of {}", event, customer);
        if let Some(path) = path {
            prop_assert_eq!(path.steps.first().map(|step| &step.from), Some(&Entity::customer(customer)));
            prop_assert_eq!(path.steps.last().map(|step| &step.to), Some(&path.subject));
            prop_assert!(path.steps.windows(2).all(|pair| pair[0].to == pair[1].from), "{:?} is connected", path);
            prop_assert!(event.subjects.contains(&path.subject), "{:?} leads to a subject", path);
        }
        Ok(())
    }

    fn adjacent(&self) -> Verdict {
        let instants = [None, Some(i64::MIN + 1), Some(0), Some(5), Some(8), Some(13), Some(i64::MAX - 1)];
        for entity in self.model.entities() {
            for at in instants.map(|nanos| nanos.map(at)) {
                let links = self.snapshot.links(entity, at)?;
                let (outgoing, incoming) = self.model.links(entity, at);
                for (told, expected) in [(&links.outgoing, outgoing), (&links.incoming, incoming)] {
                    self.told_links(told, &expected, at)?;
                }
            }
        }
        Ok(())
    }
}

impl Comparison<'_> {
    /// A link that was added twice may be told as one or as two: together they hold as expected.
    fn told_links(&self, told: &[Link], expected: &Validities, at: Option<Timestamp>) -> Verdict {
        let mut pieces: BTreeMap<Triple, Vec<Interval>> = BTreeMap::new();
        for link in told {
            prop_assert!(self.is_effective(link), "{:?} holds as told", link);
            prop_assert!(at.is_none_or(|at| link.validity().contains(at)), "{:?} holds at {:?}", link, at);
            pieces.entry(triple(link)).or_default().push(link.validity());
        }
        let triples: BTreeSet<&Triple> = expected.iter().map(|(triple, _)| triple).collect();
        prop_assert_eq!(pieces.keys().collect::<BTreeSet<_>>(), triples, "links at {:?}", at);
        if at.is_none() {
            let whole = pieces
                .iter()
                .flat_map(|(triple, pieces)| union(pieces).into_iter().map(move |validity| (triple.clone(), validity)));
            prop_assert_eq!(&whole.collect::<Validities>(), expected);
        }
        Ok(())
    }
}

/// A database and a model with the same history.
pub(super) struct Run {
    db: Option<Db>,
    segment_events: usize,
    model: Model,
    history: Vec<Record>,
    queries: Vec<(Query, usize)>,
    remembered: Vec<(Snapshot, Model)>,
    // Dropped last: whatever holds the store open writes into it.
    place: TempDir,
}

impl Run {
    fn start(queries: Vec<(Query, usize)>) -> Run {
        Run { queries, ..Run::with_segments(SEGMENT_EVENTS) }
    }

    /// A run in which so many events fill a segment, and that asks no queries.
    pub(super) fn with_segments(segment_events: usize) -> Run {
        let place = scratch();
        let db = Some(open(place.path(), segment_events));
        let (history, queries, remembered) = (Vec::new(), Vec::new(), Vec::new());
        Run { db, segment_events, model: Model::default(), history, queries, remembered, place }
    }

    pub(super) fn model(&self) -> &Model {
        &self.model
    }

    pub(super) fn db(&self) -> &Db {
        self.db.as_ref().expect("open between operations")
    }

    pub(super) fn perform(&mut self, op: &Op) -> Verdict {
        if !matches!(op, Op::Commit(_) | Op::Repeat(_) | Op::Alter(..)) {
            OPERATIONS.fetch_add(1, Ordering::Relaxed);
        }
        match op {
            Op::Commit(records) => self.commit(records.clone()),
            Op::Repeat(_) | Op::Alter(..) if self.history.is_empty() => Ok(()),
            Op::Repeat(indices) => self.commit(indices.iter().map(|index| index.get(&self.history).clone()).collect()),
            Op::Alter(index, alteration) => match index.get(&self.history) {
                Record::Event(event) => self.commit(vec![alteration.alter(event.clone()).into()]),
                _ => Ok(()),
            },
            Op::Erase(index) => self.erase(index),
            Op::Retain(before, which) => self.retain(*before, *which),
            Op::Flush => Ok(self.db().flush()?),
            Op::WaitUntilQuiet => Ok(self.db().wait_until_quiet()?),
            Op::Reopen => self.reopen(),
            Op::Compare => self.compare(),
            Op::Remember => {
                self.remembered.push((self.db().snapshot(), self.model.clone()));
                Ok(())
            }
        }
    }

    fn commit(&mut self, records: Vec<Record>) -> Verdict {
        let mut batch = Batch::new();
        for record in &records {
            batch.push(record.clone());
        }
        prop_assert_eq!(batch.len(), records.len());
        OPERATIONS.fetch_add(records.len() as u64, Ordering::Relaxed);
        let receipt = self.db().writer().commit(batch)?;
        let expected: Vec<Outcome> = records.iter().map(|record| self.model.apply(record, receipt.commit())).collect();
        let count = |outcomes: &[Outcome], wanted: &str| outcomes.iter().filter(|one| label(one) == wanted).count();
        for (record, (told, expected)) in records.iter().zip(receipt.outcomes().iter().zip(&expected)) {
            prop_assert_eq!(label(told), label(expected), "outcome {:?} of {:?}", told, record);
        }
        prop_assert_eq!(receipt.outcomes().len(), records.len());
        prop_assert_eq!(receipt.inserted(), count(&expected, "inserted"));
        prop_assert_eq!(receipt.duplicates(), count(&expected, "duplicate"));
        prop_assert_eq!(receipt.conflicts(), count(&expected, "conflict"));
        prop_assert_eq!(receipt.rejected(), count(&expected, "rejected"));
        self.history.extend(records);
        Ok(())
    }

    /// Snapshots hold an erasure back, so those taken before are compared and let go.
    fn erase(&mut self, index: &Index) -> Verdict {
        self.compare_remembered()?;
        let customers = self.model.customers();
        if customers.is_empty() {
            return Ok(());
        }
        let id = index.get(&customers);
        let own = self.model.belongings(&Entity::customer(id.clone()));
        let receipt = self.db().erase(id.clone())?;
        prop_assert!(!receipt.held_back);
        prop_assert_eq!(receipt.entities, own.len() as u64);
        let before = self.model.events().len() as u64;
        self.model.erase(id, receipt.at);
        prop_assert_eq!(receipt.events, before - self.model.events().len() as u64, "events that go with {}", id);
        prop_assert_eq!(self.db().erase(id.clone()).err().map(|error| error.kind()), Some(ErrorKind::NotFound));
        self.check()
    }

    fn retain(&mut self, before: Timestamp, which: Which) -> Verdict {
        let asked = Retention::before(before).max_share(1.0);
        let asked = match which {
            Which::All => asked,
            Which::Layer(layer) => asked.layer(layer),
            Which::Source(source) => asked.source(source),
            Which::Kind(kind) => asked.kind(kind),
        };
        let fits = |event: &Event| match which {
            Which::All => true,
            Which::Layer(layer) => event.layer.as_deref() == Some(layer),
            Which::Source(source) => event.source == source,
            Which::Kind(kind) => event.kind == kind,
        };
        let dry = self.db().retain(&asked.clone().dry_run(true))?;
        prop_assert_eq!(dry.of, self.model.events().len() as u64);
        let removed = self.db().retain(&asked)?;
        // A merge may come in between, so segments and bytes may differ.
        prop_assert_eq!((dry.events, dry.of), (removed.events, removed.of), "a dry run tells what a run does");
        prop_assert_eq!(removed.events, self.model.retain(before, fits));
        self.check()
    }

    /// Snapshots keep the store open, so those taken before are compared and let go.
    fn reopen(&mut self) -> Verdict {
        self.compare_remembered()?;
        let numbers = self.numbers()?;
        self.db = None;
        self.db = Some(open(self.place.path(), self.segment_events));
        prop_assert_eq!(self.numbers()?, numbers, "an entity keeps its number");
        Ok(())
    }

    fn numbers(&self) -> Result<Vec<Option<u32>>, TestCaseError> {
        let snapshot = self.db().snapshot();
        let number = |entity| Ok(snapshot.entity(entity)?.map(|info| info.number));
        self.model.entities().iter().map(number).collect()
    }

    fn compare(&self) -> Verdict {
        self.compare_as(&self.db().snapshot(), &self.model, Commits::Compared)
    }

    fn compare_as(&self, snapshot: &Snapshot, model: &Model, commits: Commits) -> Verdict {
        Comparison { snapshot, model, links: model.effective(), queries: &self.queries, commits }.all()
    }

    fn compare_remembered(&mut self) -> Verdict {
        for (snapshot, model) in std::mem::take(&mut self.remembered) {
            self.compare_as(&snapshot, &model, Commits::Compared)?;
        }
        Ok(())
    }

    fn check(&self) -> Verdict {
        let report = self.db().check()?;
        prop_assert_eq!((report.problems, report.problems_unlisted), (Vec::<String>::new(), 0));
        Ok(())
    }
}

fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Inserted => "inserted",
        Outcome::Duplicate => "duplicate",
        Outcome::Conflict => "conflict",
        Outcome::Rejected(_) => "rejected",
        _ => "unknown",
    }
}

/// What was done to databases beside the model, in this process: records committed, and whatever else.
static OPERATIONS: AtomicU64 = AtomicU64::new(0);

/// Histories looked at together: most of a history's time is spent waiting for threads of the database.
const LANES: u32 = 4;

/// Tests one in `share` of the cases asked for, from a seed that is printed.
pub(super) fn explore<S: Strategy>(
    share: u32,
    histories: impl Fn() -> S + Sync,
    test: impl Fn(S::Value) -> Verdict + Sync,
) {
    let fresh = RandomState::new().hash_one("seed") >> 32;
    let seed: u64 = setting("PROPTEST_RNG_SEED", fresh);
    let cases = setting("OFONE_MODEL_CASES", 200_u32).div_ceil(share).div_ceil(LANES);
    let lane = |lane: u32| {
        let seed = seed.wrapping_add(u64::from(lane));
        let config = ProptestConfig {
            cases,
            failure_persistence: None,
            max_shrink_iters: 400,
            rng_seed: RngSeed::Fixed(seed),
            ..ProptestConfig::default()
        };
        if let Err(failure) = TestRunner::new(config).run(&histories(), &test) {
            panic!("to repeat: PROPTEST_RNG_SEED={seed}\n{failure}");
        }
    };
    eprintln!("{cases} histories in each of {LANES} lanes; to repeat: PROPTEST_RNG_SEED={seed}");
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|number| scope.spawn(move || lane(number))).collect();
        for lane in lanes {
            if let Err(failure) = lane.join() {
                std::panic::resume_unwind(failure);
            }
        }
    });
    eprintln!("{} operations held against the model so far, seed {seed}", OPERATIONS.load(Ordering::Relaxed));
}

#[test]
fn the_database_agrees_with_the_model() {
    // Waiting until a store is quiet takes longer than everything else together.
    let histories = || (vec(some_op(), 1..24), vec(some_query(), 1..5), prop::bool::weighted(0.3));
    explore(1, histories, |(ops, queries, until_quiet)| {
        let mut run = Run::start(queries);
        for op in &ops {
            run.perform(op)?;
        }
        run.compare()?;
        run.compare_remembered()?;
        run.check()?;
        run.db().flush()?;
        if until_quiet {
            run.db().wait_until_quiet()?;
        }
        run.compare()?;
        run.reopen()?;
        run.compare()?;
        run.check()
    });
}

#[test]
fn neither_order_nor_batches_of_arrival_matter() {
    let histories = || {
        let records =
            vec(some_record(), 1..70).prop_flat_map(|records| (Just(records.clone()), Just(records).prop_shuffle()));
        let flushes = vec(any::<bool>(), 1..10);
        (records, vec(1usize..12, 1..10), flushes, vec(some_query(), 1..4))
    };
    explore(3, histories, |((records, shuffled), sizes, flushes, queries)| {
        let mut model = Model::default();
        for record in &records {
            model.apply(record, 0);
        }
        // Of conflicting records the first to arrive stays, so those that lost take no part.
        let takes_part = |record: &Record| match record {
            Record::Event(event) => model.event(&event.name()).is_none_or(|stored| stored.event.same_content(event)),
            _ => true,
        };
        let mut rest: &[Record] = &shuffled.into_iter().filter(takes_part).collect::<Vec<_>>();
        let run = Run::start(queries);
        for (size, flush) in sizes.iter().cycle().zip(flushes.iter().cycle()) {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(rest.len().min(*size));
            let mut batch = Batch::new();
            for record in now {
                batch.push(record.clone());
            }
            let receipt = run.db().writer().commit(batch)?;
            prop_assert_eq!(receipt.conflicts(), 0);
            if *flush {
                run.db().flush()?;
            }
            rest = later;
        }
        run.compare_as(&run.db().snapshot(), &model, Commits::Ignored)
    });
}

#[test]
fn a_snapshot_keeps_its_answers_whatever_comes_after() {
    let batches = |records: usize, most: usize| vec(vec(some_record(), 1..records), 0..most);
    let histories = || (batches(10, 6), batches(20, 10), vec(some_query(), 1..4), any::<bool>());
    explore(3, histories, |(before, after, queries, until_quiet)| {
        let mut run = Run::start(queries);
        for records in before {
            run.commit(records)?;
        }
        run.perform(&Op::Remember)?;
        for records in after {
            run.commit(records)?;
            run.db().flush()?;
        }
        run.perform(&Op::Remember)?;
        if until_quiet {
            run.db().wait_until_quiet()?;
        }
        let newest = run.db().snapshot();
        run.db = None;
        run.compare_remembered()?;
        run.compare_as(&newest, &run.model, Commits::Compared)
    });
}
