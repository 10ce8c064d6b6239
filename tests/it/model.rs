//! The naive database: every statement in a vector, every answer by going through all of them.
//!
//! It shares with the engine the plain values and nothing else: no interval algebra, no index, no
//! order of evaluation. A set of instants is found by asking, at each instant where the answer may
//! change, whether it holds there.

use std::collections::{BTreeMap, BTreeSet};

use ofone::{
    Entity, Event, EventName, Interval, Limits, Link, LinkChange, Outcome, Record, Rejection, Severity, Text,
    Timestamp, Value, Window,
};

/// Links on a path unless a query says otherwise.
pub(crate) const DEFAULT_HOPS: usize = 8;

/// `from -relation-> to`.
pub(crate) type Triple = (Entity, Text, Entity);

/// Effective validities of each link: disjoint, in order, none adjoining the next.
pub(crate) type Links = BTreeMap<Triple, Vec<Interval>>;

/// Links with one of their effective validities each.
pub(crate) type Validities = BTreeSet<(Triple, Interval)>;

/// A stored event.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) event: Event,
    pub(crate) commit: u64,
}

/// One item of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) event: Event,
    pub(crate) commit: u64,
    /// For an event with an end, the part of it during which a path held; otherwise nothing.
    pub(crate) felt: Vec<Interval>,
}

/// One way by which an event is in a stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    /// From the customer to a subject; empty when the customer is the subject.
    pub(crate) steps: Vec<Triple>,
    /// The instants common to all steps, those of its intervals that meet the event.
    pub(crate) validities: Vec<Interval>,
}

/// Which single relaxation would bring an event into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relaxations {
    /// Links that hold at some other time count too.
    pub(crate) other_time: bool,
    /// Paths of any length count.
    pub(crate) more_hops: bool,
    /// Links that were retracted count, when they were said to hold.
    pub(crate) retracted: bool,
}

/// What to select of one customer's stream.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) customer: Text,
    pub(crate) window: Window,
    /// Zero selects the events of the customer itself.
    pub(crate) max_hops: usize,
    pub(crate) layers: Vec<Text>,
    pub(crate) sources: Vec<Text>,
    /// Globs.
    pub(crate) kinds: Vec<Text>,
    pub(crate) min_severity: Severity,
    pub(crate) attributes: Vec<(Text, Text)>,
    pub(crate) newest_first: bool,
    pub(crate) limit: Option<usize>,
}

impl Query {
    /// The whole stream of a customer.
    pub(crate) fn all(customer: impl Into<Text>) -> Query {
        Query {
            customer: customer.into(),
            window: Window::ALL,
            max_hops: DEFAULT_HOPS,
            layers: Vec::new(),
            sources: Vec::new(),
            kinds: Vec::new(),
            min_severity: Severity::NONE,
            attributes: Vec::new(),
            newest_first: false,
            limit: None,
        }
    }

    fn selects(&self, event: &Event) -> bool {
        let any =
            |wanted: &[Text], has: Option<&Text>| wanted.is_empty() || has.is_some_and(|has| wanted.contains(has));
        any(&self.layers, event.layer.as_ref())
            && any(&self.sources, Some(&event.source))
            && (self.kinds.is_empty() || self.kinds.iter().any(|glob| glob_matches(glob, &event.kind)))
            && event.severity >= self.min_severity
            && self.attributes.iter().all(|(name, text)| {
                event.attributes.iter().any(|(own, value)| own == name && value.to_string() == text.as_str())
            })
    }
}

/// The counters that `Stats` promises, as far as the history decides them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) events: u64,
    pub(crate) first: Option<Timestamp>,
    pub(crate) last: Option<Timestamp>,
    pub(crate) kinds: BTreeMap<Text, u64>,
    pub(crate) layers: BTreeMap<Text, u64>,
    /// Events and latest event time.
    pub(crate) sources: BTreeMap<Text, (u64, Timestamp)>,
    /// Without those not given.
    pub(crate) severities: BTreeMap<u8, u64>,
    pub(crate) entities: BTreeMap<Text, u64>,
    pub(crate) customers: u64,
}

/// The naive database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    events: Vec<Stored>,
    statements: Vec<LinkChange>,
    entities: Vec<Entity>,
    /// What was erased, when, and whether it may never be named again.
    erased: Vec<(Entity, Timestamp, bool)>,
}

impl Model {
    /// Stores one record that arrives with `commit`.
    ///
    /// A record that is not inserted leaves nothing behind, not even the names of its entities. A
    /// statement about a link is a duplicate whichever feed repeats it.
    pub(crate) fn apply(&mut self, record: &Record, commit: u64) -> Outcome {
        if let Some(reason) = broken_rule(record) {
            return Outcome::Rejected(Rejection::new(reason));
        }
        if self.names_erased(record) {
            return Outcome::Rejected(Rejection::new("names somebody who was erased"));
        }
        match record {
            Record::Event(event) => {
                let mut event = event.clone();
                event.normalise();
                if let Some(known) = self.event(&event.name()) {
                    let same = known.event.same_content(&event);
                    return if same { Outcome::Duplicate } else { Outcome::Conflict };
                }
                for entity in event.subjects.iter().chain(&event.context) {
                    self.mention(entity);
                }
                self.events.push(Stored { event, commit });
                Outcome::Inserted
            }
            Record::Link(change) => {
                if self.statements.iter().any(|known| statement(known) == statement(change)) {
                    return Outcome::Duplicate;
                }
                let (from, _, to) = change.triple();
                self.mention(from);
                self.mention(to);
                self.statements.push(change.clone());
                Outcome::Inserted
            }
            _ => unreachable!("a record is an event or a statement about a link"),
        }
    }

    fn names_erased(&self, record: &Record) -> bool {
        let (named, when): (Vec<&Entity>, Timestamp) = match record {
            Record::Event(event) => (event.subjects.iter().chain(&event.context).collect(), event.time),
            Record::Link(change) => {
                let (from, _, to) = change.triple();
                let when = match change {
                    LinkChange::Add(link) => link.validity().from,
                    LinkChange::Close { at, .. } => *at,
                    LinkChange::Retract { valid_from, .. } => valid_from.unwrap_or(Timestamp::MIN),
                    _ => unreachable!("a statement adds, closes or retracts"),
                };
                (vec![from, to], when)
            }
            _ => unreachable!("a record is an event or a statement about a link"),
        };
        self.erased.iter().any(|(entity, at, always)| named.contains(&entity) && (*always || when <= *at))
    }

    /// The customer, and what is reached from there over no other customer and that no statement of anybody
    /// else ever led to.
    pub(crate) fn belongings(&self, customer: &Entity) -> BTreeSet<Entity> {
        let ends: Vec<(&Entity, &Entity)> =
            self.statements.iter().map(|change| (change.triple().0, change.triple().2)).collect();
        let mut own = BTreeSet::from([customer.clone()]);
        for _ in 0..DEFAULT_HOPS {
            let below = ends.iter().filter(|(from, to)| own.contains(*from) && to.kind != "customer");
            let below: Vec<Entity> = below.map(|(_, to)| (*to).clone()).collect();
            own.extend(below);
        }
        loop {
            let foreign = |entity: &Entity| ends.iter().any(|(from, to)| *to == entity && !own.contains(*from));
            let Some(shared) = own.iter().find(|entity| *entity != customer && foreign(entity)).cloned() else {
                return own;
            };
            own.remove(&shared);
        }
    }

    /// Takes a customer out of everything; events of others stay, without who was erased.
    pub(crate) fn erase(&mut self, id: &Text, at: Timestamp) {
        let customer = Entity::customer(id.clone());
        let own = self.belongings(&customer);
        let named = |event: &Event| event.subjects.iter().chain(&event.context).any(|entity| own.contains(entity));
        let mut contents: Vec<EventName> =
            self.events.iter().filter(|stored| !named(&stored.event)).map(|stored| stored.event.name()).collect();
        self.events.retain_mut(|stored| {
            if !named(&stored.event) {
                return true;
            }
            let event = &mut stored.event;
            let somebody = !event.subjects.is_empty();
            event.subjects.retain(|entity| !own.contains(entity));
            event.context.retain(|entity| !own.contains(entity));
            let stays = !somebody || !event.subjects.is_empty();
            let stays = stays && (event.id.is_some() || !contents.contains(&event.name()));
            // What goes leaves its name to others.
            contents.extend(stays.then(|| event.name()));
            stays
        });
        self.statements.retain(|change| !own.contains(change.triple().0) && !own.contains(change.triple().2));
        self.entities.retain(|entity| !own.contains(entity));
        self.erased.extend(own.into_iter().map(|entity| {
            let always = entity == customer;
            (entity, at, always)
        }));
    }

    /// Takes out the events before an instant that `fits` accepts, and tells how many.
    pub(crate) fn retain(&mut self, before: Timestamp, fits: impl Fn(&Event) -> bool) -> u64 {
        let there = self.events.len();
        self.events.retain(|stored| stored.event.time >= before || !fits(&stored.event));
        (there - self.events.len()) as u64
    }

    fn mention(&mut self, entity: &Entity) {
        if !self.entities.contains(entity) {
            self.entities.push(entity.clone());
        }
    }

    /// Everything stored, in order of arrival.
    pub(crate) fn events(&self) -> &[Stored] {
        &self.events
    }

    /// Everything known by name, in order of first mention.
    pub(crate) fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// Every customer's id, in order of first mention.
    pub(crate) fn customers(&self) -> Vec<Text> {
        self.entities.iter().filter(|entity| entity.kind == "customer").map(|entity| entity.id.clone()).collect()
    }

    /// The event of that name.
    pub(crate) fn event(&self, name: &EventName) -> Option<&Stored> {
        self.events.iter().find(|stored| stored.event.time == name.time && stored.event.name() == *name)
    }

    /// When each link held, as known now.
    pub(crate) fn effective(&self) -> Links {
        self.validities(|link| !self.is_retracted(link))
    }

    fn validities(&self, counts: impl Fn(&Link) -> bool) -> Links {
        let mut pieces: BTreeMap<Triple, Vec<Interval>> = BTreeMap::new();
        for change in &self.statements {
            if let LinkChange::Add(link) = change
                && counts(link)
            {
                pieces.entry(triple(change)).or_default().push(self.closed(link));
            }
        }
        pieces.into_iter().map(|(triple, pieces)| (triple, union(&pieces))).collect()
    }

    fn is_retracted(&self, link: &Link) -> bool {
        self.statements.iter().any(|change| match change {
            LinkChange::Retract { from, relation, to, valid_from, .. } => {
                (from, relation, to, valid_from) == (&link.from, &link.relation, &link.to, &link.valid_from)
            }
            _ => false,
        })
    }

    fn closed(&self, link: &Link) -> Interval {
        let Interval { from: begin, to: mut end } = link.validity();
        for change in &self.statements {
            if let LinkChange::Close { from, relation, to, at, .. } = change
                && (from, relation, to) == (&link.from, &link.relation, &link.to)
                && begin < *at
                && *at < end
            {
                end = *at;
            }
        }
        Interval::new(begin, end)
    }

    /// Effective validities of the links out of and into `entity`, at one instant or at any.
    pub(crate) fn links(&self, entity: &Entity, at: Option<Timestamp>) -> (Validities, Validities) {
        let (mut outgoing, mut incoming) = (BTreeSet::new(), BTreeSet::new());
        for (triple, validities) in self.effective() {
            for validity in validities {
                if at.is_some_and(|at| !validity.contains(at)) {
                    continue;
                }
                if triple.0 == *entity {
                    outgoing.insert((triple.clone(), validity));
                }
                if triple.2 == *entity {
                    incoming.insert((triple.clone(), validity));
                }
            }
        }
        (outgoing, incoming)
    }

    /// What `query` selects, in its order.
    pub(crate) fn stream(&self, query: &Query) -> Vec<Item> {
        let links = self.effective();
        let customer = Entity::customer(query.customer.clone());
        let mut reached = BTreeMap::new();
        let mut items = Vec::new();
        for stored in self.events.iter().filter(|stored| query.selects(&stored.event)) {
            let span = span(&stored.event);
            let present = intervals(&cuts(&links, span), |time| {
                let reached = reached
                    .entry(time)
                    .or_insert_with(|| reach(&customer, query.max_hops, |triple| holds(&links, triple, time), &links));
                stored.event.subjects.iter().any(|subject| reached.contains(subject))
            });
            if present.iter().any(|part| !part.intersect(&query.window.interval()).is_empty()) {
                let felt = if stored.event.end.is_some() { present } else { Vec::new() };
                items.push(Item { event: stored.event.clone(), commit: stored.commit, felt });
            }
        }
        items.sort_by_key(|item| {
            let EventName { source, id, time } = item.event.name();
            (time, item.event.sequence, source, id)
        });
        if query.newest_first {
            items.reverse();
        }
        items.truncate(query.limit.unwrap_or(usize::MAX));
        items
    }

    /// All minimal paths of at most `max_hops` links by which the event is in the customer's stream;
    /// nothing when one of the two is unknown.
    ///
    /// A path visits no entity twice, and none is listed whose links include all links of another
    /// and more: of an event with the subjects `service` and `line`, the way to `line` through
    /// `service` adds nothing.
    pub(crate) fn why(&self, customer: &Text, name: &EventName, max_hops: usize) -> Option<Vec<Route>> {
        let customer = Entity::customer(customer.clone());
        let stored = self.event(name)?;
        if !self.entities.contains(&customer) {
            return None;
        }
        let mut found = Vec::new();
        let search = Search { links: &self.effective(), event: &stored.event, max_hops };
        search.walk(&customer, &mut Vec::new(), &[Interval::ALL], &mut found);
        let sets: Vec<BTreeSet<&Triple>> = found.iter().map(|route| route.steps.iter().collect()).collect();
        let is_minimal = |set: &BTreeSet<&Triple>| !sets.iter().any(|other| other.is_subset(set) && other != set);
        let mut minimal: Vec<Route> =
            found.iter().zip(&sets).filter(|(_, set)| is_minimal(set)).map(|(route, _)| route.clone()).collect();
        minimal.sort();
        Some(minimal)
    }

    /// What would bring an event that is not in the customer's stream into it.
    pub(crate) fn why_not(&self, customer: &Text, name: &EventName) -> Option<Relaxations> {
        let customer = Entity::customer(customer.clone());
        let event = &self.event(name)?.event;
        let links = self.effective();
        let stated = self.validities(|_| true);
        let connects = |reached: BTreeSet<Entity>| event.subjects.iter().any(|subject| reached.contains(subject));
        let connects_at_some_instant = |links: &Links, max_hops: usize| {
            instants(links, span(event))
                .into_iter()
                .any(|time| connects(reach(&customer, max_hops, |triple| holds(links, triple, time), links)))
        };
        Some(Relaxations {
            other_time: connects(reach(&customer, DEFAULT_HOPS, |_| true, &links)),
            more_hops: connects_at_some_instant(&links, usize::MAX),
            retracted: connects_at_some_instant(&stated, DEFAULT_HOPS),
        })
    }

    /// Whether the customer depends on `entity` at some instant of `span`.
    pub(crate) fn reaches(&self, customer: &Text, entity: &Entity, span: Interval, max_hops: usize) -> bool {
        let links = self.effective();
        let customer = Entity::customer(customer.clone());
        instants(&links, span)
            .into_iter()
            .any(|time| reach(&customer, max_hops, |triple| holds(&links, triple, time), &links).contains(entity))
    }

    /// Counts of everything stored.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = Counters { customers: self.customers().len() as u64, ..Counters::default() };
        for Stored { event, .. } in &self.events {
            counters.events += 1;
            counters.first = Some(counters.first.unwrap_or(Timestamp::MAX).min(event.time));
            counters.last = counters.last.max(Some(event.time));
            *counters.kinds.entry(event.kind.clone()).or_default() += 1;
            if let Some(layer) = &event.layer {
                *counters.layers.entry(layer.clone()).or_default() += 1;
            }
            let source = counters.sources.entry(event.source.clone()).or_insert((0, Timestamp::MIN));
            *source = (source.0 + 1, source.1.max(event.time));
            if event.severity != Severity::NONE {
                *counters.severities.entry(event.severity.number()).or_default() += 1;
            }
        }
        for entity in &self.entities {
            *counters.entities.entry(entity.kind.clone()).or_default() += 1;
        }
        counters
    }
}

/// The enumeration of all paths to the subjects of one event.
struct Search<'a> {
    links: &'a Links,
    event: &'a Event,
    max_hops: usize,
}

impl Search<'_> {
    /// Goes on from `here`, where `steps` have led; `validities` are the instants common to them.
    fn walk(&self, here: &Entity, steps: &mut Vec<Triple>, validities: &[Interval], found: &mut Vec<Route>) {
        let meets = |validity: &&Interval| !validity.intersect(&span(self.event)).is_empty();
        let validities: Vec<Interval> = validities.iter().filter(meets).copied().collect();
        if validities.is_empty() {
            return;
        }
        if self.event.subjects.contains(here) {
            found.push(Route { steps: steps.clone(), validities: validities.clone() });
        }
        if steps.len() == self.max_hops {
            return;
        }
        for (triple, own) in self.links.iter().filter(|(triple, _)| triple.0 == *here) {
            if steps.iter().all(|(from, _, _)| triple.2 != *from) {
                let common = validities.iter().flat_map(|a| own.iter().map(|b| a.intersect(b)));
                steps.push(triple.clone());
                self.walk(&triple.2, steps, &common.collect::<Vec<_>>(), found);
                steps.pop();
            }
        }
    }
}

/// An event without an end lasts for one nanosecond.
pub(crate) fn span(event: &Event) -> Interval {
    Interval::new(event.time, event.end.unwrap_or(event.time.saturating_add(1)))
}

fn triple(change: &LinkChange) -> Triple {
    let (from, relation, to) = change.triple();
    (from.clone(), relation.clone(), to.clone())
}

/// What is said, whoever says it.
fn statement(change: &LinkChange) -> LinkChange {
    let mut change = change.clone();
    match &mut change {
        LinkChange::Add(link) => link.source = Text::default(),
        LinkChange::Close { source, .. } | LinkChange::Retract { source, .. } => *source = Text::default(),
        _ => unreachable!("a statement adds, closes or retracts"),
    }
    change
}

fn holds(links: &Links, triple: &Triple, time: Timestamp) -> bool {
    links[triple].iter().any(|validity| validity.contains(time))
}

/// Entities at most `max_hops` usable links away.
fn reach(customer: &Entity, max_hops: usize, usable: impl Fn(&Triple) -> bool, links: &Links) -> BTreeSet<Entity> {
    let mut reached = BTreeSet::from([customer.clone()]);
    for _ in 0..max_hops.min(links.len()) {
        let next: Vec<Entity> = links
            .keys()
            .filter(|triple| reached.contains(&triple.0) && usable(triple))
            .map(|triple| triple.2.clone())
            .collect();
        reached.extend(next);
    }
    reached
}

/// The instants within `span` at which some link begins or ceases, and both ends of `span`.
fn cuts(links: &Links, span: Interval) -> BTreeSet<Timestamp> {
    let ends = links.values().flatten().flat_map(|validity| [validity.from, validity.to]);
    ends.filter(|&time| span.from < time && time < span.to).chain([span.from, span.to]).collect()
}

/// Instants that stand for all of `span`: between two of them no link begins or ceases.
fn instants(links: &Links, span: Interval) -> Vec<Timestamp> {
    cuts(links, span).into_iter().filter(|&time| span.contains(time)).collect()
}

/// The instants at which `holds`, as few intervals as can be, when its answer changes at `cuts` only.
fn intervals(cuts: &BTreeSet<Timestamp>, mut holds: impl FnMut(Timestamp) -> bool) -> Vec<Interval> {
    let mut found: Vec<Interval> = Vec::new();
    for (&from, &to) in cuts.iter().zip(cuts.iter().skip(1)) {
        if !holds(from) {
            continue;
        }
        match found.last_mut() {
            Some(last) if last.to == from => last.to = to,
            _ => found.push(Interval::new(from, to)),
        }
    }
    found
}

/// The instants in any of `pieces`.
pub(crate) fn union(pieces: &[Interval]) -> Vec<Interval> {
    let cuts = pieces.iter().flat_map(|piece| [piece.from, piece.to]).collect();
    intervals(&cuts, |time| pieces.iter().any(|piece| piece.contains(time)))
}

/// Whether `glob`, in which `*` stands for any run of characters, is all of `text`.
pub(crate) fn glob_matches(glob: &str, text: &str) -> bool {
    match glob.chars().next() {
        None => text.is_empty(),
        Some('*') => text
            .char_indices()
            .map(|(start, _)| start)
            .chain([text.len()])
            .any(|start| glob_matches(&glob[1..], &text[start..])),
        Some(first) => text.strip_prefix(first).is_some_and(|rest| glob_matches(&glob[first.len_utf8()..], rest)),
    }
}

/// The rule that `record` breaks, if any.
fn broken_rule(record: &Record) -> Option<&'static str> {
    let limits = Limits::default();
    let bad_name = |name: &str| name.is_empty() || name.len() > limits.name_bytes;
    let bad_entity = |entity: &Entity| {
        bad_name(&entity.kind) || entity.kind.contains(':') || entity.id.is_empty() || entity.id.len() > limits.id_bytes
    };
    match record {
        Record::Event(event) => {
            let names: BTreeSet<&Text> = event.attributes.iter().map(|(name, _)| name).collect();
            let bad_value = |value: &Value| match value {
                Value::Text(text) => text.len() > limits.text_bytes,
                Value::Float(number) => !number.is_finite(),
                _ => false,
            };
            let rules = [
                (event.time == Timestamp::MIN || event.time == Timestamp::MAX, "time"),
                (event.end.is_some_and(|end| end <= event.time || end == Timestamp::MAX), "end"),
                (bad_name(&event.source), "source"),
                (bad_name(&event.kind), "kind"),
                (event.layer.as_deref().is_some_and(bad_name), "layer"),
                (event.id.as_ref().is_some_and(|id| id.is_empty() || id.len() > limits.id_bytes), "id"),
                (event.value.is_some_and(|value| !value.is_finite()), "value"),
                (event.subjects.iter().chain(&event.context).any(bad_entity), "entity"),
                (event.subjects.len() > limits.subjects || event.context.len() > limits.context, "entities"),
                (event.attributes.len() > limits.attributes || names.len() < event.attributes.len(), "attributes"),
                (event.attributes.iter().any(|(name, value)| bad_name(name) || bad_value(value)), "attribute"),
            ];
            rules.iter().find(|(broken, _)| *broken).map(|(_, rule)| *rule)
        }
        Record::Link(change) => {
            let (from, relation, to) = change.triple();
            let backwards = matches!(change, LinkChange::Add(link) if link.validity().is_empty());
            let rules = [
                (bad_name(relation) || change.source().len() > limits.name_bytes, "relation"),
                (bad_entity(from) || bad_entity(to), "entity"),
                (from == to, "a link to itself"),
                (backwards, "validity"),
            ];
            rules.iter().find(|(broken, _)| *broken).map(|(_, rule)| *rule)
        }
        _ => unreachable!("a record is an event or a statement about a link"),
    }
}

/// Examples worked out by hand.
mod tests {
    use super::*;
    use crate::support::{at, entity, event, link};

    fn model(records: impl IntoIterator<Item = Record>) -> Model {
        let mut model = Model::default();
        for record in records {
            assert_eq!(model.apply(&record, 1), Outcome::Inserted, "{record:?}");
        }
        model
    }

    fn ids(items: &[Item]) -> Vec<&str> {
        items.iter().map(|item| item.event.id.as_deref().expect("these examples give ids")).collect()
    }

    fn close(from: &str, relation: &str, to: &str, time: i64) -> Record {
        let (from, to) = (entity(from), entity(to));
        LinkChange::Close { from, relation: relation.into(), to, at: at(time), source: "crm".into() }.into()
    }

    fn retract(from: &str, relation: &str, to: &str, valid_from: Option<i64>) -> Record {
        let (from, to, valid_from) = (entity(from), entity(to), valid_from.map(at));
        LinkChange::Retract { from, relation: relation.into(), to, valid_from, source: "crm".into() }.into()
    }

    fn parts(parts: &[(i64, i64)]) -> Vec<Interval> {
        parts.iter().map(|&(from, to)| Interval::new(at(from), at(to))).collect()
    }

    #[test]
    fn closes_and_retractions_shape_the_added_validities_whatever_their_order() {
        let uses = || link("customer:A", "uses", "service:S");
        let statements: [Record; 6] = [
            uses().valid_from(at(0)).into(),
            uses().valid_from(at(10)).valid_to(at(20)).into(),
            uses().valid_from(at(12)).valid_to(at(15)).into(),
            uses().valid_from(at(30)).into(),
            close("customer:A", "uses", "service:S", 5),
            retract("customer:A", "uses", "service:S", Some(30)),
        ];
        let forward = model(statements.clone());
        let backward = model(statements.into_iter().rev());
        // 0.. is cut at 5; 10..20 covers 12..15 and begins after the close; 30.. never was.
        let validities = parts(&[(0, 5), (10, 20)]);
        assert_eq!(forward.effective().into_values().collect::<Vec<_>>(), [validities]);
        assert_eq!(forward.effective(), backward.effective());
    }

    #[test]
    fn adjoining_validities_are_one() {
        let uses = || link("customer:A", "uses", "service:S");
        let model =
            model([uses().valid_to(at(5)).into(), uses().valid_from(at(5)).source("other").valid_to(at(9)).into()]);
        let validity = vec![Interval::new(Timestamp::MIN, at(9))];
        assert_eq!(model.effective().into_values().collect::<Vec<_>>(), [validity]);
    }

    #[test]
    fn an_event_counts_through_links_valid_at_its_instant_alone() {
        let model = model([
            event(4, "before", "olt:K").into(),
            event(5, "first", "olt:K").into(),
            event(8, "last", "olt:K").into(),
            event(9, "after", "olt:K").into(),
            event(1, "own", "customer:A").into(),
            link("customer:A", "uses", "service:S").valid_to(at(9)).into(),
            link("service:S", "runs_on", "olt:K").valid_from(at(5)).into(),
        ]);
        assert_eq!(ids(&model.stream(&Query::all("A"))), ["own", "first", "last"]);
        assert_eq!(ids(&model.stream(&Query { max_hops: 1, ..Query::all("A") })), ["own"]);
        let window = Window::new(at(2), at(8));
        assert_eq!(ids(&model.stream(&Query { window, ..Query::all("A") })), ["first"]);
    }

    #[test]
    fn an_outage_is_felt_while_any_path_to_any_subject_held() {
        let outage = event(0, "outage", "olt:K").end(at(30)).subject(entity("olt:L"));
        let model = model([
            outage.into(),
            link("customer:A", "uses", "olt:K").valid_from(at(2)).valid_to(at(5)).into(),
            link("customer:A", "uses", "olt:L").valid_from(at(5)).valid_to(at(8)).into(),
            link("customer:A", "uses", "olt:K").valid_from(at(20)).into(),
        ]);
        let whole = model.stream(&Query::all("A"));
        assert_eq!(whole[0].felt, parts(&[(2, 8), (20, 30)]));
        for (from, to, present) in [(0, 2, false), (7, 8, true), (8, 20, false), (29, 50, true), (30, 50, false)] {
            let window = Window::new(at(from), at(to));
            let items = model.stream(&Query { window, ..Query::all("A") });
            assert_eq!(items.len(), usize::from(present), "{window:?}");
            assert!(items.iter().all(|item| item.felt == whole[0].felt), "felt is not clipped");
        }
    }

    #[test]
    fn ties_in_time_are_settled_by_sequence_then_source_then_id() {
        let tied = |source: &str, id: &str| {
            Record::Event(Event::new(at(1), source, "k").id(id).subject(Entity::customer("A")))
        };
        let sequenced = Event::new(at(1), "a", "k").id("0").sequence(0).subject(Entity::customer("A"));
        let model = model([sequenced.into(), tied("b", "1"), tied("a", "3"), tied("a", "2")]);
        assert_eq!(ids(&model.stream(&Query::all("A"))), ["2", "3", "1", "0"]);
    }

    #[test]
    fn cycles_neither_hang_nor_support_themselves() {
        let model = model([
            link("service:S", "x", "service:T").into(),
            link("service:T", "x", "service:S").into(),
            link("customer:A", "uses", "service:S").valid_to(at(5)).into(),
            event(3, "in", "service:T").into(),
            event(7, "out", "service:T").into(),
        ]);
        assert_eq!(ids(&model.stream(&Query::all("A"))), ["in"]);
        let out = event(7, "out", "service:T").name();
        assert_eq!(model.why(&"A".into(), &out, DEFAULT_HOPS), Some(vec![]));
        let relaxed = Relaxations { other_time: true, more_hops: false, retracted: false };
        assert_eq!(model.why_not(&"A".into(), &out), Some(relaxed));
    }

    #[test]
    fn why_lists_each_minimal_path_with_its_validity() {
        let model = model([
            link("customer:A", "uses", "service:S").into(),
            link("customer:A", "pays", "service:S").valid_to(at(9)).into(),
            link("service:S", "runs_on", "olt:K").valid_from(at(2)).into(),
            link("customer:A", "uses", "olt:K").valid_to(at(3)).into(),
            event(4, "alarm", "olt:K").into(),
            event(4, "both", "olt:K").subject(entity("service:S")).into(),
        ]);
        let routes = |id: &str| {
            let routes = model.why(&"A".into(), &event(4, id, "olt:K").name(), DEFAULT_HOPS).expect("known");
            routes
                .into_iter()
                .map(|route| (route.steps.into_iter().map(|step| step.1.to_string()).collect(), route.validities))
                .collect::<Vec<(Vec<String>, Vec<Interval>)>>()
        };
        let from_2 = Interval::new(at(2), Timestamp::MAX);
        let alarm = [
            (vec!["pays".to_owned(), "runs_on".to_owned()], parts(&[(2, 9)])),
            (vec!["uses".to_owned(), "runs_on".to_owned()], vec![from_2]),
        ];
        assert_eq!(routes("alarm"), alarm);
        let both = [
            (vec!["pays".to_owned()], vec![Interval::new(Timestamp::MIN, at(9))]),
            (vec!["uses".to_owned()], vec![Interval::ALL]),
        ];
        assert_eq!(routes("both"), both);
    }

    #[test]
    fn a_name_with_other_subjects_is_a_conflict() {
        let mut model = model([event(1, "x", "service:S").subject(entity("olt:K")).into()]);
        let outcome = |model: &mut Model, event: Event| model.apply(&event.into(), 2);
        let reordered = event(1, "x", "olt:K").subject(entity("service:S"));
        assert_eq!(outcome(&mut model, reordered), Outcome::Duplicate);
        assert_eq!(outcome(&mut model, event(1, "x", "service:S")), Outcome::Conflict);
        assert_eq!(outcome(&mut model, event(2, "x", "service:S")), Outcome::Inserted);
    }

    #[test]
    fn a_star_matches_any_run_of_characters() {
        for (glob, text, matches) in [
            ("call.*", "call.dropped", true),
            ("call.*", "call.", true),
            ("call.*", "recall.dropped", false),
            ("*", "", true),
            ("*.d*d", "call.dropped", true),
            ("call", "call.dropped", false),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
        ] {
            assert_eq!(glob_matches(glob, text), matches, "{glob} {text}");
        }
    }
}
