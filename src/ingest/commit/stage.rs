//! Events on their way into a commit: told from those that are known already, and given their homes.

use std::collections::{BTreeSet, HashSet};

use smallvec::SmallVec;

use crate::codec::raw::{FIRST_OTHER, RawEvent};
use crate::error::Result;
use crate::ingest::commit::Committer;
use crate::ingest::commit::group::{Group, Staged};
use crate::ingest::commit::number::{Candidate, unpack};
use crate::ingest::prepare::{KnownEvent, Prepared, Work};
use crate::model::limits::HOPS;
use crate::model::{Event, Interval, Outcome, Record, Timestamp};
use crate::segment::{Counted, Known, Match, NOWHERE, View, identity};
use crate::topology::LinkView;

impl Committer {
    /// Stages one batch. Each step is a loop of its own over all its events: most of the time goes
    /// into loads from large tables, and loads of one loop overlap.
    pub(super) fn stage(&mut self, prepared: &mut Prepared, group: &mut Group<'_>) -> Result<()> {
        let recent: Vec<u32> =
            prepared.names.iter().map(|&name| self.numbers.names.recent(name).unwrap_or(NOWHERE)).collect();
        let mut bytes = Vec::with_capacity(prepared.rests.len() + prepared.work.len() * 24);
        let mut candidates = self.number(prepared, &recent, &mut bytes, group)?;
        self.mark_suspects(&mut candidates, group.view)?;
        let mut candidates = candidates.into_iter();
        for (record, work) in prepared.records.iter().zip(prepared.work.iter_mut()) {
            let outcome = match (record, work) {
                (_, Work::Rejected(rejection)) => Outcome::Rejected(rejection.clone()),
                (Record::Link(change), _) => match self.numbers.erased.refuses_link(change) {
                    Some(rejection) => Outcome::Rejected(rejection),
                    None => self.stage_link(change, prepared.added, group)?,
                },
                (Record::Event(event), _) => {
                    let candidate = candidates.next().expect("each event that was not refused is a candidate");
                    match self.numbers.erased.refuses_event(event) {
                        Some(rejection) => Outcome::Rejected(rejection),
                        None => self.stage_event(event, candidate, &bytes, group)?,
                    }
                }
            };
            let into = group.staged.len() - 1;
            group.staged[into].outcomes.push(outcome);
        }
        Ok(())
    }

    /// Marks the candidates whose identity may be known.
    fn mark_suspects(&mut self, candidates: &mut [Candidate], view: &View) -> Result<()> {
        let mut known = vec![false; candidates.len()];
        for (active, _) in &view.actives {
            active.mark_known(candidates.iter().map(|candidate| candidate.identity), &mut known);
        }
        let tables = self.engine.lookup.terms.read();
        let runs = Known {
            store: &self.engine.lookup.store,
            tables: &tables,
            actives: &view.actives,
            segments: &view.segments,
            seals: &view.seals,
        };
        for (candidate, known) in candidates.iter_mut().zip(known) {
            candidate.suspect = known || self.dedupe.may_be_sealed(&runs, candidate.identity, candidate.known.time)?;
        }
        Ok(())
    }

    fn stage_event(
        &mut self,
        event: &Event,
        mut candidate: Candidate,
        bytes: &[u8],
        group: &mut Group<'_>,
    ) -> Result<Outcome> {
        let mut row = &bytes[candidate.packed.clone()];
        let mut renamed;
        if candidate.entities.contains(&NOWHERE) {
            // An earlier record of the group may have named what had no name.
            let before = candidate.entities.clone();
            self.find_entities(event, &mut candidate.entities)?;
            if candidate.entities != before {
                renamed = candidate.rename(event, row, &before);
                row = &renamed;
            }
        }
        let found = match self.find_in_group(&candidate, row, group)? {
            Match::New if !self.coming.is_empty() && self.coming.contains(row) => Match::Same,
            Match::New if candidate.suspect => self.find_stored(&candidate, row, group)?,
            found => found,
        };
        match found {
            Match::Same => return Ok(Outcome::Duplicate),
            Match::Other => return Ok(Outcome::Conflict),
            Match::New => {}
        }
        if candidate.entities.contains(&NOWHERE) {
            // Nothing known has the entities that are named now, so the event stays new.
            let before = candidate.entities.clone();
            if let Err(rejection) = self.name_entities(event, &mut candidate.entities, group)? {
                return Ok(Outcome::Rejected(rejection));
            }
            renamed = candidate.rename(event, row, &before);
            row = &renamed;
        }
        let homes = self.homes_of(&candidate, group)?;
        let into = group.staged.len() - 1;
        let place = (candidate.identity, into as u32, group.staged[into].events.len() as u32);
        group.identities.insert_unique(candidate.identity, place, |&(identity, ..)| identity);
        let staged = &mut group.staged[into];
        let from = staged.packed.len();
        staged.packed.extend_from_slice(row);
        let KnownEvent { time, until, shape, severity, .. } = candidate.known;
        let of_customer = candidate.subjects().iter().any(|&subject| subject < FIRST_OTHER);
        staged.events.push(Staged {
            identity: candidate.identity,
            homes,
            packed: from..staged.packed.len(),
            counted: Counted { time, until, shape, severity, of_customer },
            source: candidate.known.source,
        });
        Ok(Outcome::Inserted)
    }

    fn homes_of(&mut self, candidate: &Candidate, group: &mut Group<'_>) -> Result<SmallVec<[u32; 2]>> {
        let engine = &self.engine;
        let commit = group.commit();
        let presence =
            Interval::new(Timestamp::from_nanos(candidate.known.time), Timestamp::from_nanos(candidate.known.until));
        let before = group.placed.subjects.len();
        let homes = self.homes.of(
            candidate.subjects(),
            presence,
            &group.links,
            commit,
            &engine.lookup.store,
            &mut group.batch,
            &mut group.placed,
        )?;
        group.placed.subjects[before..].iter().for_each(|&subject| engine.lookup.links.changed(subject, commit));
        Ok(homes)
    }

    /// Entities whose events may lie elsewhere than the links known from now on would put them: those
    /// below a link that this group says something about, as far as they have events placed, also by the
    /// group itself, customers included. A path through several new links ends behind the last of them.
    pub(super) fn suspects(&self, group: &Group<'_>) -> Result<BTreeSet<u32>> {
        let mut suspects: BTreeSet<u32> = group.placed.suspects.iter().copied().collect();
        if group.relinked.is_empty() {
            return Ok(suspects);
        }
        suspects.extend(group.relinked.iter().filter(|&&entity| entity < FIRST_OTHER));
        if !group.some_events && group.placed.subjects.is_empty() {
            return Ok(suspects);
        }
        let placed: HashSet<u32> = group.placed.subjects.iter().copied().collect();
        let mut seen: HashSet<u32> = group.relinked.iter().copied().collect();
        let mut frontier: Vec<u32> = seen.iter().copied().collect();
        for _ in 0..=HOPS {
            frontier.sort_unstable();
            let mut below = Vec::new();
            for (outgoing, &entity) in group.links.outgoing_of(&frontier)?.iter().zip(&frontier) {
                if !outgoing.placements.is_empty() || placed.contains(&entity) || entity < FIRST_OTHER {
                    suspects.insert(entity);
                }
                below.extend(outgoing.edges.iter().map(|edge| edge.other).filter(|&other| seen.insert(other)));
            }
            frontier = below;
            if frontier.is_empty() {
                break;
            }
        }
        Ok(suspects)
    }

    /// Looks the event up among those staged before it. Equal events have equal packed rows.
    fn find_in_group(&self, candidate: &Candidate, row: &[u8], group: &Group<'_>) -> Result<Match> {
        let mut found = Match::New;
        let mut failure = None;
        group.identities.find(candidate.identity, |&(known, batch, at)| {
            if known != candidate.identity {
                return false;
            }
            let batch = &group.staged[batch as usize];
            let other = &batch.events[at as usize];
            match self.compare(candidate, row, other, &batch.packed[other.packed.clone()]) {
                Ok(compared) => found = compared,
                Err(error) => failure = Some(error),
            }
            found != Match::New || failure.is_some()
        });
        failure.map_or(Ok(found), Err)
    }

    fn compare(&self, candidate: &Candidate, row: &[u8], other: &Staged, other_row: &[u8]) -> Result<Match> {
        if row == other_row {
            return Ok(Match::Same);
        }
        if !candidate.known.has_id || candidate.known.source != other.source {
            return Ok(Match::New);
        }
        let tables = self.engine.lookup.terms.read();
        let (event, other) = (unpack(row, &tables)?, unpack(other_row, &tables)?);
        Ok(if event.id == other.id && event.time == other.time { Match::Other } else { Match::New })
    }

    fn find_stored(&mut self, candidate: &Candidate, row: &[u8], group: &Group<'_>) -> Result<Match> {
        let tables = self.engine.lookup.terms.read();
        let event = unpack(row, &tables)?;
        let known = Known {
            store: &self.engine.lookup.store,
            tables: &tables,
            actives: &group.view.actives,
            segments: &group.view.segments,
            seals: &group.view.seals,
        };
        self.dedupe.find(&known, candidate.identity, &event, &mut || homes_of_subjects(&event, &group.links))
    }
}

impl Committer {
    /// Has `events`, which have no id, count as known from now on, until [`Committer::forget_coming`]; tells which are
    /// stored already.
    pub(in crate::ingest) fn expect(&mut self, events: &[RawEvent]) -> Result<Vec<bool>> {
        let engine = self.engine.clone();
        let view = engine.views.load();
        let links = LinkView::new(&view.snapshot, &engine.lookup.links, view.commit);
        let tables = engine.lookup.terms.read();
        let known = Known {
            store: &engine.lookup.store,
            tables: &tables,
            actives: &view.actives,
            segments: &view.segments,
            seals: &view.seals,
        };
        let mut stored = Vec::with_capacity(events.len());
        for event in events {
            let mut row = Vec::new();
            event.pack(&mut row);
            let identity = identity(None, event.time, 0, &row);
            let found = self.dedupe.find(&known, identity, event, &mut || homes_of_subjects(event, &links))?;
            stored.push(found == Match::Same);
            if found == Match::New {
                self.coming.insert(row);
            }
        }
        Ok(stored)
    }

    pub(in crate::ingest) fn forget_coming(&mut self) {
        self.coming.clear();
    }
}

/// Where events with the subjects of `event` may lie.
pub(in crate::ingest) fn homes_of_subjects(event: &RawEvent, links: &LinkView<'_>) -> Result<Vec<u32>> {
    let mut homes = event.subjects.to_vec();
    let mut subjects = event.subjects.to_vec();
    subjects.sort_unstable();
    for outgoing in links.outgoing_of(&subjects)? {
        homes.extend(outgoing.placements.iter().map(|placement| placement.home));
    }
    if homes.is_empty() {
        homes.push(NOWHERE);
    }
    homes.sort_unstable();
    homes.dedup();
    Ok(homes)
}
