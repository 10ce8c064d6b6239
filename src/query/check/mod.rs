//! Reads everything and compares what must agree.

use std::sync::Arc;

use crate::codec::chunk::{Everything, Scratch};
use crate::codec::key::{self, LinkKey, Side, Statement};
use crate::codec::raw::{FIRST_OTHER, RawEvent};
use crate::error::{Error, Result};
use crate::index::{IndexCheck, ShapeFacts, slab_of};
use crate::model::{Interval, Timestamp};
use crate::query::answer::CheckReport;
use crate::query::lookup::Resolver;
use crate::query::snapshot::Snapshot;
use crate::segment::{NOWHERE, Reading, Segment, load_counts};
use crate::store::{Family, StoreSnapshot};
use crate::topology::{
    LinkCache, LinkView, Outgoing, Placement, Slot, count_links, decode_degree, decode_row, dependents,
    load_quarantined, private,
};

/// Problems listed; further ones are counted.
const PROBLEMS_MAX: usize = 1000;
/// Links remembered: of this check alone, so that nothing is taken for read that was read before.
const LINK_CACHE_BYTES: usize = 64 << 20;

/// Reads every row of the store at the snapshot's moment and compares: rows with their segment's
/// description, set of homes and index, homes with subjects and placements, placements with links and
/// suspects, links with their other direction, names with numbers, counts with what they count.
///
/// # Errors
/// Only when reading cannot go on; damage that can be passed over is a problem in the report.
pub(crate) fn check(snapshot: &Snapshot) -> Result<CheckReport> {
    let cache = LinkCache::new(LINK_CACHE_BYTES);
    let links = LinkView::new(&snapshot.view.snapshot, &cache, snapshot.view.commit);
    let mut check = Check { snapshot, links, report: CheckReport::default() };
    check.names()?;
    check.links()?;
    check.suspects()?;
    check.quarantine()?;
    check.degrees()?;
    for segment in snapshot.view.segments.iter() {
        check.segment(segment)?;
    }
    check.active()?;
    check.totals()?;
    Ok(check.report)
}

struct Check<'a> {
    snapshot: &'a Snapshot,
    links: LinkView<'a>,
    report: CheckReport,
}

fn add(report: &mut CheckReport, problem: String) {
    if report.problems.len() < PROBLEMS_MAX {
        report.problems.push(problem);
    } else {
        report.problems_unlisted += 1;
    }
}

impl Check<'_> {
    fn problem(&mut self, problem: String) {
        add(&mut self.report, problem);
    }

    /// Names and numbers must tell the same, numbers without gaps.
    fn names(&mut self) -> Result<()> {
        let snapshot = self.snapshot;
        let report = &mut self.report;
        let mut entities = 0;
        snapshot.view.snapshot.with_cursor(Family::Numbers, |cursor| {
            let mut expected = 0u32;
            let mut entry = cursor.seek(&[])?;
            let mut name = Vec::new();
            while let Some((key, value)) = entry {
                let number = key::parse_number(key)?;
                if number >= FIRST_OTHER && expected < FIRST_OTHER {
                    expected = FIRST_OTHER;
                }
                if number != expected {
                    add(report, format!("entity {expected} has no name, {number} comes next"));
                }
                expected = number.wrapping_add(1);
                match crate::dictionary::parse_name(value) {
                    // The number of somebody who was erased.
                    Ok((_, id)) if id.is_empty() => {
                        if !snapshot.view.erased.contains(number) {
                            add(report, format!("entity {number} has no name, and no erasure tells why"));
                        }
                        entry = cursor.advance()?;
                        continue;
                    }
                    Ok((kind, id)) => {
                        key::name(kind, &id, &mut name);
                        let back = snapshot.view.snapshot.get(Family::Names, &name)?;
                        if back.as_deref() != Some(&key::number(number)[..]) {
                            add(report, format!("the name of entity {number} leads elsewhere"));
                        }
                    }
                    Err(error) => add(report, format!("name of entity {number}: {error}")),
                }
                entities += 1;
                entry = cursor.advance()?;
            }
            Ok(())
        })?;
        let counts = load_counts(&snapshot.view.snapshot)?;
        if counts.entities.iter().sum::<u64>() != entities {
            add(report, format!("{entities} entities where {} are counted", counts.entities.iter().sum::<u64>()));
        }
        self.report.entities = entities;
        Ok(())
    }

    /// Every link must stand under both its ends, and every entity whose events may be felt elsewhere than
    /// where they lie must be noted as a suspect.
    fn links(&mut self) -> Result<()> {
        let Check { snapshot, links, report } = self;
        let snapshot = &snapshot.view.snapshot;
        let (mut rows, mut outgoing) = (0, 0u64);
        // The entity whose rows are read, where its events lie, and whether anything depends on it.
        let (mut entity, mut placements, mut needed) = (0, Vec::new(), false);
        snapshot.with_cursor(Family::Links, |cursor| {
            let mut entry = cursor.seek(&[])?;
            while let Some((key, value)) = entry {
                rows += 1;
                match decode_row(key, value) {
                    Err(error) => add(report, format!("link row {rows}: {error}")),
                    Ok(((link, _), _)) => {
                        if link.entity != entity {
                            noted(snapshot, links, entity, &placements, needed, report)?;
                            (entity, needed) = (link.entity, false);
                            placements.clear();
                        }
                        needed |= link.side == Side::Incoming;
                        if link.side == Side::Placement {
                            let (from, to) = (Timestamp::from_nanos(link.from), Timestamp::from_nanos(link.to));
                            placements.push(Placement { home: link.other, during: Interval::new(from, to) });
                        } else {
                            outgoing += u64::from(link.side == Side::Outgoing);
                            let side = if link.side == Side::Outgoing { Side::Incoming } else { Side::Outgoing };
                            let mirror = LinkKey { entity: link.other, side, other: link.entity, ..link };
                            if snapshot.get(Family::Links, &mirror.encode())?.as_deref() != Some(value) {
                                let (one, other) = (link.entity, link.other);
                                let under =
                                    format!("a link between entities {one} and {other} stands under one of them only");
                                add(report, under);
                            }
                        }
                    }
                }
                entry = cursor.advance()?;
            }
            noted(snapshot, links, entity, &placements, needed, report)
        })?;
        let counted = load_counts(snapshot)?.links;
        if counted != outgoing {
            add(report, format!("{outgoing} links where {counted} are counted"));
        }
        report.links = rows;
        Ok(())
    }

    /// Every suspect must be an entity.
    fn suspects(&mut self) -> Result<()> {
        let Check { snapshot, report, .. } = self;
        let snapshot = &snapshot.view.snapshot;
        snapshot.with_cursor(Family::Meta, |cursor| {
            let mut entry = cursor.seek(key::SUSPECT)?;
            while let Some((key, value)) = entry {
                match key::parse_suspect(key) {
                    Ok(None) => break,
                    Ok(Some(entity)) if snapshot.get(Family::Numbers, &key::number(entity))?.is_none() => {
                        add(report, format!("suspect {entity} is no entity"));
                    }
                    Ok(Some(_)) if value.is_empty() => {}
                    Ok(Some(entity)) => {
                        add(report, format!("suspect {entity} has {} bytes where none are written", value.len()));
                    }
                    Err(error) => add(report, format!("suspects: {error}")),
                }
                entry = cursor.advance()?;
            }
            Ok(())
        })
    }

    /// Every link in quarantine must stand under both its ends, be in force nowhere, and be counted.
    fn quarantine(&mut self) -> Result<()> {
        let Check { snapshot, report, .. } = self;
        let snapshot = &snapshot.view.snapshot;
        let mut outgoing = 0u64;
        snapshot.with_cursor(Family::Meta, |cursor| {
            let mut entry = cursor.seek(key::QUARANTINE)?;
            while let Some((key, value)) = entry.filter(|(key, _)| key.starts_with(key::QUARANTINE)) {
                report.links += 1;
                match decode_row(&key[key::QUARANTINE.len()..], value) {
                    Err(error) => add(report, format!("quarantine: {error}")),
                    Ok(((link, _), _)) if link.statement != Statement::Add || link.side == Side::Placement => {
                        add(report, format!("quarantine: what stands under entity {} is no link", link.entity));
                    }
                    Ok(((link, _), _)) => {
                        outgoing += u64::from(link.side == Side::Outgoing);
                        let between =
                            || format!("a link in quarantine between entities {} and {}", link.entity, link.other);
                        let mirror = key::quarantine(&link.mirrored());
                        if snapshot.get(Family::Meta, &mirror)?.as_deref() != Some(value) {
                            add(report, format!("{} stands under one of them only", between()));
                        }
                        if snapshot.get(Family::Links, &link.encode())?.is_some() {
                            add(report, format!("{} is in force too", between()));
                        }
                    }
                }
                entry = cursor.advance()?;
            }
            Ok(())
        })?;
        let counted = load_quarantined(snapshot)?;
        if counted != outgoing {
            add(report, format!("{outgoing} links in quarantine where {counted} are counted"));
        }
        Ok(())
    }

    /// Every count of links must be that of the links.
    fn degrees(&mut self) -> Result<()> {
        let Check { snapshot, report, .. } = self;
        let snapshot = &snapshot.view.snapshot;
        snapshot.with_cursor(Family::Meta, |cursor| {
            let mut entry = cursor.seek(key::DEGREE)?;
            while let Some((key, value)) = entry.filter(|(key, _)| key.starts_with(key::DEGREE)) {
                match key::parse_degree(key).and_then(|slot| Ok((slot, decode_degree(value)?))) {
                    Ok((Some((entity, side, relation)), counted)) => {
                        let links = count_links(Slot { entity, side, relation }, snapshot)?;
                        if links != counted {
                            let side = if side == Side::Outgoing { "from" } else { "to" };
                            add(report, format!("{links} links {side} entity {entity} where {counted} are counted"));
                        }
                    }
                    Ok((None, _)) => {}
                    Err(error) => add(report, format!("counts of links: {error}")),
                }
                entry = cursor.advance()?;
            }
            Ok(())
        })
    }

    fn segment(&mut self, segment: &Segment) -> Result<()> {
        let snapshot = self.snapshot;
        let number = segment.meta.number;
        let lookup = &snapshot.lookup;
        let mut index = match IndexCheck::open(&lookup.store, &segment.meta) {
            Ok(index) => Some(index),
            Err(error) => {
                self.problem(error.to_string());
                None
            }
        };
        let mut cursor = lookup.store.cursor(Family::Rows, true);
        let mut entry = cursor.seek(&key::row(number, 0))?;
        let (mut homes, mut rows) = (0u64, 0u64);
        let mut events = Vec::new();
        let mut scratch = Scratch::default();
        while let Some((key, value)) = entry {
            let (found, home, chunk) = key::parse_row(key)?;
            if found != number {
                break;
            }
            if chunk.is_none() {
                events.clear();
                let outcome = {
                    let tables = lookup.terms.read();
                    let reading =
                        Reading { store: &lookup.store, layouts: &*tables, during: Interval::ALL, wanted: &Everything };
                    segment.read_home(home, value, &reading, &mut scratch, &mut events)
                };
                match outcome {
                    Ok(()) => self.index(&mut index, Some((home, &events[..]))),
                    Err(error) => {
                        self.problem(error.to_string());
                        if index.take().is_some() {
                            let place = format!("slab {}, segment {number}", slab_of(home));
                            self.problem(format!("the index is not compared from {place} on: a row is damaged"));
                        }
                    }
                }
                homes += 1;
                rows += events.len() as u64;
                if !segment.homes.contains(home) {
                    self.problem(format!("home {home} is not in the set of segment {number}"));
                }
                let resolver = Resolver::new(lookup);
                for event in &events {
                    if let Err(error) = self.event(segment, home, event, &resolver) {
                        self.problem(format!("event of home {home} in segment {number}: {error}"));
                    }
                }
                if !events.is_sorted_by_key(|event| event.time) {
                    self.problem(format!("home {home} in segment {number} is out of order"));
                }
            }
            entry = cursor.advance()?;
        }
        self.index(&mut index, None);
        if homes != segment.homes.len() || rows != segment.meta.rows {
            self.problem(format!(
                "segment {number} has {homes} homes and {rows} rows where {} and {} are listed",
                segment.homes.len(),
                segment.meta.rows
            ));
        }
        self.report.rows += rows;
        self.report.segments += 1;
        Ok(())
    }

    /// Compares the index with the next home, or with there being none; no longer once it is `None`.
    fn index(&mut self, index: &mut Option<IndexCheck<'_>>, home: Option<(u32, &[RawEvent])>) {
        let terms = &self.snapshot.lookup.terms;
        let report = &mut self.report;
        let mut tell = |problem| add(report, problem);
        let outcome = match (home, index.as_mut()) {
            (Some((home, events)), Some(check)) => {
                check.home(home, events, &|shape| ShapeFacts::of(terms, shape), &mut tell)
            }
            (None, Some(_)) => index.take().map_or(Ok(()), |check| check.finish(&mut tell)),
            (_, None) => Ok(()),
        };
        if let Err(error) = outcome {
            *index = None;
            tell(format!("the index cannot be read any further: {error}"));
        }
    }

    fn event(&self, segment: &Segment, home: u32, event: &RawEvent, resolver: &Resolver<'_>) -> Result<()> {
        self.named(event, resolver)?;
        let meta = &segment.meta;
        if event.time < meta.first || event.until() > meta.until {
            return Err(Error::corrupt("time outside its segment"));
        }
        if event.commit < meta.first_commit || event.commit > meta.last_commit {
            return Err(Error::corrupt("commit outside its segment"));
        }
        self.placed(home, event)
    }

    /// An event must decode, and name nobody who was erased.
    fn named(&self, event: &RawEvent, resolver: &Resolver<'_>) -> Result<()> {
        let event = resolver.event(event)?;
        match event.subjects.iter().chain(&event.context).any(|entity| entity.id.is_empty()) {
            true => Err(Error::corrupt("somebody is named who was erased")),
            false => Ok(()),
        }
    }

    /// A home must be a subject, or a place where events of a subject are known to lie.
    fn placed(&self, home: u32, event: &RawEvent) -> Result<()> {
        if event.subjects.contains(&home) || event.subjects.is_empty() && home == NOWHERE {
            return Ok(());
        }
        let mut subjects = event.subjects.clone();
        subjects.sort_unstable();
        let there = |placement: &Placement| {
            let during = &placement.during;
            placement.home == home && during.from.as_nanos() <= event.time && event.until() <= during.to.as_nanos()
        };
        let known = |outgoing: &Arc<Outgoing>| outgoing.placements.iter().any(there);
        if self.links.outgoing_of(&subjects)?.iter().any(known) {
            return Ok(());
        }
        Err(Error::corrupt("no reader would look for it there"))
    }

    fn active(&mut self) -> Result<()> {
        let snapshot = self.snapshot;
        for (active, bound) in &snapshot.view.actives {
            let resolver = Resolver::new(&snapshot.lookup);
            let mut events = Vec::new();
            active.read_all(*bound, resolver.tables(), &mut events)?;
            self.report.rows += events.len() as u64;
            for (home, event) in &events {
                let outcome = self.named(event, &resolver).and_then(|()| self.placed(*home, event));
                if let Err(error) = outcome {
                    self.problem(format!("unsealed event of home {home}: {error}"));
                }
            }
        }
        Ok(())
    }

    fn totals(&mut self) -> Result<()> {
        let events = self.snapshot.stats()?.events;
        if self.report.rows < events {
            self.problem(format!("{} rows where {events} events are counted", self.report.rows));
        }
        Ok(())
    }
}

/// Whoever may feel events elsewhere than where they lie is found through a note of their subject.
fn noted(
    snapshot: &StoreSnapshot,
    links: &LinkView<'_>,
    entity: u32,
    placements: &[Placement],
    needed: bool,
    report: &mut CheckReport,
) -> Result<()> {
    // Events of a customer lie under the customer alone.
    let lies = if entity < FIRST_OTHER { needed } else { !placements.is_empty() };
    if !lies || snapshot.get(Family::Meta, &key::suspect(entity))?.is_some() {
        return Ok(());
    }
    match dependents(links, entity) {
        Err(error) => add(report, format!("links above entity {entity}: {error}")),
        Ok(dependents) => {
            let alone = if entity < FIRST_OTHER { dependents.is_empty() } else { private(&dependents, placements) };
            if !alone {
                add(report, format!("entity {entity} is no suspect, though not only its events' homes feel them"));
            }
        }
    }
    Ok(())
}
