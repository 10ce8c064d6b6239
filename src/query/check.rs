//! Reads everything and compares what must agree.

use std::collections::HashMap;

use crate::codec::chunk::{Everything, Scratch};
use crate::codec::key::{self, LinkKey, Side};
use crate::codec::raw::{FIRST_OTHER, RawEvent};
use crate::error::{Error, Result};
use crate::model::Interval;
use crate::query::answer::CheckReport;
use crate::query::lookup::Resolver;
use crate::query::snapshot::Snapshot;
use crate::segment::{NOWHERE, Reading, Segment, load_counts};
use crate::store::Family;
use crate::topology::decode_row;

/// Problems listed; further ones are counted.
const PROBLEMS_MAX: usize = 1000;

/// Reads every row of the store at the snapshot's moment and compares: rows with their segment's
/// description and set of homes, homes with subjects and placements, links with their other
/// direction, names with numbers, counts with what they count.
///
/// # Errors
/// Only when reading cannot go on; damage that can be passed over is a problem in the report.
pub(crate) fn check(snapshot: &Snapshot) -> Result<CheckReport> {
    let mut check = Check { snapshot, report: CheckReport::default(), placements: HashMap::new() };
    check.names()?;
    check.links()?;
    for segment in snapshot.view.segments.iter() {
        check.segment(segment)?;
    }
    check.active()?;
    check.totals()?;
    Ok(check.report)
}

struct Check<'a> {
    snapshot: &'a Snapshot,
    report: CheckReport,
    /// (subject, home) -> the intervals whose events may lie there.
    placements: HashMap<(u32, u32), Vec<(i64, i64)>>,
}

impl Check<'_> {
    fn problem(&mut self, problem: String) {
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(problem);
        } else {
            self.report.problems_unlisted += 1;
        }
    }

    /// Names and numbers must tell the same, numbers without gaps.
    fn names(&mut self) -> Result<()> {
        let snapshot = self.snapshot;
        let mut problems = Vec::new();
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
                    problems.push(format!("entity {expected} has no name, {number} comes next"));
                }
                expected = number.wrapping_add(1);
                entities += 1;
                match crate::dictionary::parse_name(value) {
                    Ok((kind, id)) => {
                        key::name(kind, &id, &mut name);
                        let back = snapshot.view.snapshot.get(Family::Names, &name)?;
                        if back.as_deref() != Some(&key::number(number)[..]) {
                            problems.push(format!("the name of entity {number} leads elsewhere"));
                        }
                    }
                    Err(error) => problems.push(format!("name of entity {number}: {error}")),
                }
                entry = cursor.advance()?;
            }
            Ok(())
        })?;
        let counts = load_counts(&snapshot.view.snapshot)?;
        if counts.entities.iter().sum::<u64>() != entities {
            problems.push(format!("{entities} entities where {} are counted", counts.entities.iter().sum::<u64>()));
        }
        self.report.entities = entities;
        problems.into_iter().for_each(|problem| self.problem(problem));
        Ok(())
    }

    /// Every link must stand under both its ends.
    fn links(&mut self) -> Result<()> {
        let snapshot = self.snapshot;
        let mut problems = Vec::new();
        let (mut rows, mut outgoing) = (0, 0u64);
        let placements = &mut self.placements;
        snapshot.view.snapshot.with_cursor(Family::Links, |cursor| {
            let mut entry = cursor.seek(&[])?;
            while let Some((key, value)) = entry {
                rows += 1;
                match decode_row(key, value) {
                    Err(error) => problems.push(format!("link row {rows}: {error}")),
                    Ok(((link, _), _)) if link.side == Side::Placement => {
                        placements.entry((link.entity, link.other)).or_default().push((link.from, link.to));
                    }
                    Ok(((link, _), _)) => {
                        outgoing += u64::from(link.side == Side::Outgoing);
                        let side = if link.side == Side::Outgoing { Side::Incoming } else { Side::Outgoing };
                        let mirror = LinkKey { entity: link.other, side, other: link.entity, ..link };
                        let back = snapshot.view.snapshot.get(Family::Links, &mirror.encode())?;
                        if back.as_deref() != Some(value) {
                            problems.push(format!(
                                "a link between entities {} and {} stands under one of them only",
                                link.entity, link.other
                            ));
                        }
                    }
                }
                entry = cursor.advance()?;
            }
            Ok(())
        })?;
        let counted = load_counts(&snapshot.view.snapshot)?.links;
        if counted != outgoing {
            problems.push(format!("{outgoing} links where {counted} are counted"));
        }
        self.report.links = rows;
        problems.into_iter().for_each(|problem| self.problem(problem));
        Ok(())
    }

    fn segment(&mut self, segment: &Segment) -> Result<()> {
        let snapshot = self.snapshot;
        let number = segment.meta.number;
        let lookup = &snapshot.lookup;
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
                if let Err(error) = outcome {
                    self.problem(error.to_string());
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

    fn event(&self, segment: &Segment, home: u32, event: &RawEvent, resolver: &Resolver<'_>) -> Result<()> {
        resolver.event(event)?;
        let meta = &segment.meta;
        if event.time < meta.first || event.until() > meta.until {
            return Err(Error::corrupt("time outside its segment"));
        }
        if event.commit < meta.first_commit || event.commit > meta.last_commit {
            return Err(Error::corrupt("commit outside its segment"));
        }
        self.placed(home, event)
    }

    /// A home must be a subject, or a place where events of a subject are known to lie.
    fn placed(&self, home: u32, event: &RawEvent) -> Result<()> {
        let known = |subject: &u32| {
            *subject == home
                || self.placements.get(&(*subject, home)).is_some_and(|intervals| {
                    intervals.iter().any(|&(from, to)| from <= event.time && event.until() <= to)
                })
        };
        if event.subjects.iter().any(known) || event.subjects.is_empty() && home == NOWHERE {
            Ok(())
        } else {
            Err(Error::corrupt("no reader would look for it there"))
        }
    }

    fn active(&mut self) -> Result<()> {
        let snapshot = self.snapshot;
        for (active, bound) in &snapshot.view.actives {
            let resolver = Resolver::new(&snapshot.lookup);
            let mut events = Vec::new();
            active.read_all(*bound, resolver.tables(), &mut events)?;
            self.report.rows += events.len() as u64;
            for (home, event) in &events {
                let outcome = resolver.event(event).and_then(|_| self.placed(*home, event));
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
