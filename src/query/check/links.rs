//! Links, and what is noted of them in `meta`.

use crate::codec::key::{self, LinkKey, Side, Statement};
use crate::codec::raw::FIRST_OTHER;
use crate::error::Result;
use crate::model::{Interval, Timestamp};
use crate::query::answer::CheckReport;
use crate::query::check::{Check, add};
use crate::segment::load_counts;
use crate::store::{Family, StoreSnapshot};
use crate::topology::{
    LinkView, Placement, Slot, count_links, decode_degree, decode_row, dependents, load_quarantined, private,
};

impl Check<'_> {
    /// Every link must stand under both its ends, and every entity whose events may be felt elsewhere than
    /// where they lie must be noted as a suspect.
    pub(super) fn links(&mut self) -> Result<()> {
        let Check { snapshot, links, report, .. } = self;
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
    pub(super) fn suspects(&mut self) -> Result<()> {
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
    pub(super) fn quarantine(&mut self) -> Result<()> {
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
    pub(super) fn degrees(&mut self) -> Result<()> {
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
