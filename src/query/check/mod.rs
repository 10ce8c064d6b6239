//! Reads everything and compares what must agree.

mod known;
mod links;
mod names;

use std::sync::Arc;

use crate::codec::chunk::{Everything, Scratch};
use crate::codec::key;
use crate::codec::raw::RawEvent;
use crate::error::{Error, ErrorKind, Result};
use crate::index::{IndexCheck, ShapeFacts, slab_of};
use crate::model::Interval;
use crate::query::answer::CheckReport;
use crate::query::cohort::check_saved;
use crate::query::lookup::Resolver;
use crate::query::snapshot::Snapshot;
use crate::segment::{Dedupe, NOWHERE, Reading, Segment, check_commit_times};
use crate::store::Family;
use crate::topology::{LinkCache, LinkView, Outgoing, Placement};

/// Problems listed; further ones are counted.
const PROBLEMS_MAX: usize = 1000;
/// Links remembered: of this check alone, so that nothing is taken for read that was read before.
const LINK_CACHE_BYTES: usize = 64 << 20;

/// Reads every row of the store at the snapshot's moment and compares: rows with their segment's
/// description, set of homes, index and the filters by which they would be known again, homes with subjects and
/// placements, placements with links and suspects, links with their other direction, names with numbers and
/// numbers with names, counts with what they count; saved cohorts and the times of commits are decoded. What the
/// memory holds of the log, the terms and the ledger was read when the store was opened.
///
/// # Errors
/// Other than damage, which is a problem in the report: of where reading cannot go on, the rest is left out.
pub(crate) fn check(snapshot: &Snapshot) -> Result<CheckReport> {
    let _span = tracing::info_span!("check").entered();
    let cache = LinkCache::new(LINK_CACHE_BYTES);
    let links = LinkView::new(&snapshot.view.snapshot, &cache, snapshot.view.commit);
    let dedupe = Some(Dedupe::new(known::FILTER_CACHE_BYTES));
    let mut check = Check { snapshot, links, dedupe, report: CheckReport::default() };
    check.part("numbers of entities", Check::names)?;
    check.part("names of entities", Check::names_back)?;
    check.part("links", Check::links)?;
    check.part("suspects", Check::suspects)?;
    check.part("links in quarantine", Check::quarantine)?;
    check.part("counts of links", Check::degrees)?;
    check.part("saved cohorts", Check::cohorts)?;
    check.part("times of commits", |check| check_commit_times(&check.snapshot.view.snapshot))?;
    check.seals()?;
    for segment in snapshot.view.segments.iter() {
        check.part(&format!("segment {}", segment.meta.number), |check| check.segment(segment))?;
    }
    check.part("events in memory", Check::active)?;
    check.part("counts of events", Check::totals)?;
    Ok(check.report)
}

struct Check<'a> {
    snapshot: &'a Snapshot,
    links: LinkView<'a>,
    /// Filters of seals read so far; of this check alone too.
    dedupe: Option<Dedupe>,
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

    /// Does a part of the check. Damage at which it cannot go on is a problem, and the other parts follow.
    fn part(&mut self, what: &str, part: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        match part(self) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.problem(format!("{what} cannot be read any further: {error}"));
                Ok(())
            }
            outcome => outcome,
        }
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
                    let known = self.known(event, resolver.tables());
                    if let Err(error) = self.event(segment, home, event, &resolver).and(known) {
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
        resolver.event(event)?;
        // By number: the name of somebody who was erased since is gone too.
        match event.subjects.iter().chain(&event.context).any(|&entity| self.snapshot.view.erased.contains(entity)) {
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

    /// Every saved cohort must be a set of customers.
    fn cohorts(&mut self) -> Result<()> {
        let Check { snapshot, report, .. } = self;
        check_saved(snapshot, &mut |problem| add(report, problem))
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
