//! Snapshots: where every question starts.

use std::fmt;
use std::sync::Arc;

use crate::codec::chunk::{Everything, Scratch};
use crate::codec::key::{self, Side};
use crate::codec::page::ATTRIBUTE_TEXTS_MAX;
use crate::codec::raw::{FIRST_OTHER, RawEvent};
use crate::dictionary::parse_name;
use crate::error::Result;
use crate::model::{Entity, Event, EventName, Interval, Link, Text, Timestamp, is_content_hash};
use crate::query::answer::{AttributeStats, CheckReport, EntityInfo, Indexed, Links, SourceStats, Stats};
use crate::query::check::check;
use crate::query::lookup::Resolver;
use crate::query::stream::StreamQuery;
use crate::query::why::{self, Why};
use crate::segment::{
    Lookup, NOWHERE, Reading, View, add_totals, commit_wall, identity, indexed_homes, load_counts, visit_instant,
};
use crate::store::{Family, StoreSnapshot};
use crate::topology::{Edge, LinkView, load_quarantined, quarantined};

/// The store as it was at one commit: owned, cheap to take and to clone, safe to send between
/// threads. What it sees stays as it is while commits, seals and merges go on; what it holds back
/// is disk space, so do not keep one for longer than its questions take.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) lookup: Arc<Lookup>,
    pub(crate) view: Arc<View>,
}

impl Snapshot {
    pub(crate) fn new(lookup: Arc<Lookup>, view: Arc<View>) -> Snapshot {
        Snapshot { lookup, view }
    }

    /// The number of the last commit that is visible.
    pub fn commit(&self) -> u64 {
        self.view.commit
    }

    /// The entity type that roots streams.
    pub fn customer_type(&self) -> &Text {
        &self.lookup.customer_type
    }

    /// Reads everything that the snapshot sees and compares what must agree; see [`crate::Db::check`].
    ///
    /// # Errors
    /// Only when reading cannot go on; damage that can be passed over is in the report.
    pub fn check(&self) -> Result<CheckReport> {
        check(self)
    }

    /// Asks for the stream of the customer with this id (without its type).
    pub fn stream(&self, customer: impl Into<Text>) -> StreamQuery {
        StreamQuery::new(self.clone(), customer.into())
    }

    /// Why the event is in the customer's stream: all minimal paths of at most 8 links. If it is
    /// not, the first relaxation that would put it there.
    ///
    /// # Errors
    /// `NotFound` when the store knows no such customer or event.
    pub fn why(&self, customer: impl Into<Text>, event: &EventName) -> Result<Why> {
        why::why(self, &customer.into(), event)
    }

    /// The links of an entity, both ways, with effective validities: those valid at `at`, or all.
    /// An unknown entity has none.
    pub fn links(&self, entity: &Entity, at: Option<Timestamp>) -> Result<Links> {
        let Some(number) = self.number(entity)? else { return Ok(Links::default()) };
        let view = self.links_view();
        let resolver = Resolver::new(&self.lookup);
        let side = |side: Side| -> Result<Vec<Link>> {
            let mut edges = Vec::new();
            view.edges(number, side, &mut |edge| {
                if at.is_none_or(|at| edge.validity.contains(at)) {
                    edges.push(edge);
                }
                true
            })?;
            let mut links = edges
                .iter()
                .map(|edge| match side {
                    Side::Incoming => resolver.incoming_link(number, edge),
                    Side::Outgoing | Side::Placement => resolver.outgoing_link(number, edge),
                })
                .collect::<Result<Vec<Link>>>()?;
            links.sort_unstable_by(|a, b| {
                let key = |link: &Link| (link.relation.clone(), link.from.clone(), link.to.clone(), link.validity());
                key(a).cmp(&key(b))
            });
            Ok(links)
        };
        Ok(Links { outgoing: side(Side::Outgoing)?, incoming: side(Side::Incoming)? })
    }

    /// The links in quarantine, of `entity` or of all: said, stored, not followed. Each with the validity that was
    /// said; closes count once it is promoted. Sorted. Cost: all of them in memory.
    pub fn quarantined(&self, entity: Option<&Entity>) -> Result<Vec<Link>> {
        let (mut prefix, mut all) = (Vec::new(), Vec::new());
        if let Some(entity) = entity {
            let Some(number) = self.number(entity)? else { return Ok(all) };
            prefix.extend_from_slice(&key::number(number));
        }
        let mut found = Vec::new();
        quarantined(&self.view.snapshot, &prefix, &mut |link, source| {
            // Of all, each comes by once from either end.
            if entity.is_some() || link.side == Side::Outgoing {
                found.push((link, source));
            }
            true
        })?;
        let resolver = Resolver::new(&self.lookup);
        for (link, source) in found {
            let validity = Interval::new(Timestamp::from_nanos(link.from), Timestamp::from_nanos(link.to));
            let edge = Edge { other: link.other, relation: link.relation, validity, source };
            all.push(match link.side {
                Side::Incoming => resolver.incoming_link(link.entity, &edge)?,
                Side::Outgoing | Side::Placement => resolver.outgoing_link(link.entity, &edge)?,
            });
        }
        all.sort_unstable();
        Ok(all)
    }

    /// What the store knows of an entity: `None` if no record ever named it.
    pub fn entity(&self, entity: &Entity) -> Result<Option<EntityInfo>> {
        let number = self.number(entity)?;
        Ok(number.map(|number| EntityInfo { entity: entity.clone(), number, is_customer: number < FIRST_OTHER }))
    }

    /// The event of this name.
    ///
    /// Cost: microseconds for an event with an id; one without is named by its content and looked
    /// for among all events of its instant, which reads whole segments.
    pub fn event(&self, name: &EventName) -> Result<Option<Event>> {
        match self.find_event(name)? {
            Some(raw) => Resolver::new(&self.lookup).event(&raw).map(Some),
            None => Ok(None),
        }
    }

    /// When the commit of this number was written, by the wall clock of its machine; `None` for one
    /// that is not visible. Cost: one read for each seal so far.
    pub fn commit_time(&self, commit: u64) -> Result<Option<Timestamp>> {
        for (active, _) in &self.view.actives {
            if let Some(wall) = active.wall_of(commit) {
                return Ok((commit <= self.view.commit).then(|| Timestamp::from_nanos(wall)));
            }
        }
        if commit > self.view.commit {
            return Ok(None);
        }
        // A seal may have written it later than this moment's rows.
        let wall = commit_wall(&StoreSnapshot::new(self.lookup.store.clone()), commit)?;
        Ok(wall.map(Timestamp::from_nanos))
    }

    /// The ids of all customers, in the order in which they were first mentioned.
    pub fn customers(&self) -> Customers {
        Customers { snapshot: self.clone(), page: Vec::new().into_iter(), next: Some(0) }
    }

    /// Counts of the store. Cost: proportional to the number of different kinds, not of events.
    pub fn stats(&self) -> Result<Stats> {
        let resolver = Resolver::new(&self.lookup);
        let tables = resolver.tables();
        let mut totals = (*self.view.totals).clone();
        for (active, bound) in &self.view.actives {
            add_totals(&mut totals, &active.totals_at(*bound, tables)?);
        }
        let counts = load_counts(&self.view.snapshot)?;
        let mut stats = Stats {
            events: totals.events,
            events_without_customer_subject: totals.without_customer,
            links: counts.links,
            links_quarantined: load_quarantined(&self.view.snapshot)?,
            segments: self.view.segments.len() as u64,
            unsealed_events: totals.events - self.view.totals.events,
            disk_bytes: self.lookup.store.disk_bytes()?,
            commits: self.view.commit,
            ..Stats::default()
        };
        if totals.events > 0 {
            stats.first = Some(Timestamp::from_nanos(totals.first));
            stats.last = Some(Timestamp::from_nanos(totals.last));
        }
        for (number, count) in totals.severities.iter().enumerate().filter(|(_, count)| **count > 0) {
            stats.severities.insert(number as u8, *count);
        }
        for (number, count) in totals.shapes.iter().enumerate().filter(|(_, count)| count.events > 0) {
            let shape = tables.shape(number as u32)?;
            *stats.kinds.entry(shape.kind.clone()).or_default() += count.events;
            if let Some(layer) = &shape.layer {
                *stats.layers.entry(layer.clone()).or_default() += count.events;
            }
            for (name, scope) in &shape.attributes {
                let of_kind = stats.attributes.entry(shape.kind.clone()).or_default();
                let texts = tables.texts(*scope).len();
                let indexed = match texts {
                    0 => Indexed::No,
                    1..=ATTRIBUTE_TEXTS_MAX => Indexed::Yes,
                    _ => Indexed::Partly,
                };
                let none = AttributeStats { events: 0, texts: texts as u64, indexed };
                of_kind.entry(name.clone()).or_insert(none).events += count.events;
            }
            let none = SourceStats { events: 0, last_event: Timestamp::MIN, last_commit: 0 };
            let source = stats.sources.entry(shape.source.clone()).or_insert(none);
            source.events += count.events;
            source.last_event = source.last_event.max(Timestamp::from_nanos(count.last));
            source.last_commit = source.last_commit.max(count.last_commit);
        }
        for (kind, count) in counts.entities.iter().enumerate().filter(|(_, count)| **count > 0) {
            stats.entities.insert(resolver.word(kind as u32)?, *count);
        }
        stats.customers = stats.entities.get(self.lookup.customer_type.as_str()).copied().unwrap_or(0);
        Ok(stats)
    }

    pub(super) fn links_view(&self) -> LinkView<'_> {
        LinkView::new(&self.view.snapshot, &self.lookup.links, self.view.commit)
    }

    /// The customer's number; perhaps also of one that was named after the snapshot, whose stream is
    /// empty in it.
    pub(super) fn customer_number(&self, id: &str) -> Result<Option<u32>> {
        let kind = self.lookup.terms.read().number_of(&self.lookup.customer_type);
        match kind {
            Some(kind) => {
                // What is remembered may be of before an erasure.
                let number = self.lookup.names.number(kind, id, &self.view.snapshot)?;
                Ok(number.filter(|number| !self.view.erased.contains(*number)))
            }
            None => Ok(None),
        }
    }

    pub(super) fn number(&self, entity: &Entity) -> Result<Option<u32>> {
        let kind = self.lookup.terms.read().number_of(&entity.kind);
        match kind {
            Some(kind) => self.lookup.names.number_at(kind, &entity.id, &self.view.snapshot),
            None => Ok(None),
        }
    }

    /// The event of this name, in numbers.
    pub(super) fn find_event(&self, name: &EventName) -> Result<Option<RawEvent>> {
        let resolver = Resolver::new(&self.lookup);
        let tables = resolver.tables();
        let Some(source) = tables.number_of(&name.source) else { return Ok(None) };
        let time = name.time.as_nanos();
        let mut found = None;
        let wanted = identity(Some(&name.id), time, source, &[]);
        for (active, bound) in &self.view.actives {
            active.find_identity_below(wanted, *bound, tables, |event| {
                if is_named(tables, event, source, name) {
                    found = Some(event.clone());
                }
                found.is_some()
            })?;
        }
        let seals = self.view.seals.iter().map(|seal| &seal.meta);
        for seal in seals.filter(|seal| seal.first <= time && time <= seal.last) {
            if found.is_some() {
                break;
            }
            let homes = indexed_homes(&self.lookup.store, seal, wanted)?;
            visit_instant(&self.lookup.store, tables, &self.view.segments, &homes, time, &mut |event| {
                if is_named(tables, event, source, name) {
                    found = Some(event.clone());
                }
            })?;
        }
        if found.is_none() && is_content_hash(&name.id) {
            return self.find_by_content(name, &resolver);
        }
        Ok(found)
    }

    /// Looks at every event of the instant.
    fn find_by_content(&self, name: &EventName, resolver: &Resolver<'_>) -> Result<Option<RawEvent>> {
        let during = Interval::new(name.time, name.time.saturating_add(1));
        let mut candidates = Vec::new();
        for (active, bound) in &self.view.actives {
            active.read_instant(name.time.as_nanos(), *bound, resolver.tables(), &mut candidates)?;
        }
        let reading = Reading { store: &self.lookup.store, layouts: resolver.tables(), during, wanted: &Everything };
        let mut scratch = Scratch::default();
        for segment in self.view.segments.iter().filter(|segment| segment.overlaps(&during)) {
            let mut events = Vec::new();
            for home in segment.homes.iter().chain([NOWHERE]) {
                let key = key::row(segment.meta.number, home);
                if let Some(value) = self.lookup.store.get(Family::Rows, &key)? {
                    events.clear();
                    segment.read_home(home, &value, &reading, &mut scratch, &mut events)?;
                    candidates.extend(events.drain(..).filter(|event| event.time == name.time.as_nanos()));
                }
            }
        }
        for candidate in candidates {
            if candidate.id.is_none() && resolver.event(&candidate)?.name() == *name {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }
}

fn is_named(tables: &crate::dictionary::TermTables, event: &RawEvent, source: u32, name: &EventName) -> bool {
    event.id.as_ref() == Some(&name.id)
        && event.time == name.time.as_nanos()
        && tables.shape(event.shape).is_ok_and(|entry| entry.shape.source == source)
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("commit", &self.view.commit).finish_non_exhaustive()
    }
}

/// The ids of all customers; see [`Snapshot::customers`]. After an error it yields nothing more.
pub struct Customers {
    snapshot: Snapshot,
    page: std::vec::IntoIter<Text>,
    next: Option<u32>,
}

/// Customers read at once.
const PAGE: usize = 1024;

impl Iterator for Customers {
    type Item = Result<Text>;

    fn next(&mut self) -> Option<Result<Text>> {
        loop {
            if let Some(id) = self.page.next() {
                return Some(Ok(id));
            }
            let from = self.next?;
            match self.read_page(from) {
                Ok((page, next)) => {
                    self.page = page.into_iter();
                    self.next = next;
                }
                Err(error) => {
                    self.next = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Customers {
    fn read_page(&self, from: u32) -> Result<(Vec<Text>, Option<u32>)> {
        self.snapshot.view.snapshot.with_cursor(Family::Numbers, |cursor| {
            let mut page = Vec::with_capacity(PAGE);
            let mut next = None;
            let mut entry = cursor.seek(&key::number(from))?;
            while let Some((key, value)) = entry {
                let number = key::parse_number(key)?;
                if number >= FIRST_OTHER {
                    next = None;
                    break;
                }
                if page.len() == PAGE {
                    next = Some(number);
                    break;
                }
                let (_, id) = parse_name(value)?;
                if !id.is_empty() {
                    page.push(id);
                }
                entry = cursor.advance()?;
            }
            Ok((page, next))
        })
    }
}

impl fmt::Debug for Customers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Customers").finish_non_exhaustive()
    }
}
