//! At least so many events that satisfy: from pages, from events in memory, through components.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use roaring::RoaringBitmap;

use crate::codec::page::Page;
use crate::codec::raw::FIRST_OTHER;
use crate::error::Result;
use crate::index::{Index, slab_of};
use crate::model::Window;
use crate::query::cohort::judge::Judge;
use crate::query::cohort::needs::Looks;
use crate::query::cohort::plan::Planner;
use crate::query::cohort::plan::bounds::Bounds;
use crate::query::cohort::plan::glance::{Edges, Glance, Known};
use crate::query::cohort::plan::named::Named;
use crate::query::cohort::plan::slab::Slab;
use crate::segment::NOWHERE;

/// What is asked of events: that they satisfy, in a window, at least so many.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) judge: &'a Judge,
    pub(super) window: Window,
    pub(super) looks: Looks,
    pub(super) at_least: u32,
}

/// Counts of a home: certain events, and those with doubtful ones too.
#[derive(Clone, Copy, Default)]
struct Counts {
    least: u32,
    most: u32,
}

/// Events in memory by home.
type InMemory = HashMap<u32, Counts, FixedState>;

/// What lies under the homes themselves.
#[derive(Default)]
pub(super) struct Own {
    pub(super) bounds: Bounds,
    /// Homes that are no customers and may have such events.
    pub(super) others: RoaringBitmap,
}

/// What one thread found.
#[derive(Default)]
struct Found {
    bounds: Bounds,
    /// Homes that are no customers and may have such events.
    others: RoaringBitmap,
    pages: u64,
    bytes: u64,
    events: u64,
}

/// Events of a page looked at in the time in which one customer is read, about.
const EVENTS_A_READ: u64 = 8_000;

impl Planner<'_> {
    /// The customers with enough events.
    pub(super) fn did(&mut self, asked: Asked<'_>) -> Result<Bounds> {
        let Own { mut bounds, others } = self.own(asked)?;
        self.spread(asked, &others, &mut bounds)?;
        Ok(bounds)
    }

    /// The customers with enough events under their own homes, and the other homes that may have some.
    pub(super) fn own(&mut self, asked: Asked<'_>) -> Result<Own> {
        if asked.at_least > u32::from(u16::MAX) {
            return Ok(Own { bounds: Bounds::unknown(&self.all), others: RoaringBitmap::new() });
        }
        if asked.window.interval().is_empty() {
            return Ok(Own::default());
        }
        let named = asked.judge.named();
        if named.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Own::default());
        }
        let candidates = named.as_ref().map(|named| self.homes_naming(named)).transpose()?;
        let in_memory = self.in_memory(asked)?;
        if let Some(candidates) = &candidates
            && candidates.len() * EVENTS_A_READ <= self.sealed_count(asked.judge)
        {
            let mut maybe: RoaringBitmap = candidates.clone();
            maybe.extend(in_memory.keys().copied());
            self.explain.plan(format!("  {} homes name the entities: read each", maybe.len()));
            let mut others = maybe.clone();
            others.remove_range(..FIRST_OTHER);
            maybe.remove_range(FIRST_OTHER..);
            return Ok(Own { bounds: Bounds { sure: RoaringBitmap::new(), maybe }, others });
        }
        let mut all = Found::default();
        for part in self.count_slabs(asked, &in_memory, named.as_deref())? {
            all.bounds.or(&part.bounds);
            all.others |= part.others;
            all.pages += part.pages;
            all.bytes += part.bytes;
            all.events += part.events;
        }
        self.explain.pages_read += all.pages;
        self.explain.index_bytes += all.bytes;
        self.explain.events_counted += all.events;
        Ok(Own { bounds: all.bounds, others: all.others })
    }

    /// Counts in each slab, on all threads.
    fn count_slabs(&self, asked: Asked<'_>, in_memory: &InMemory, named: Option<&[u32]>) -> Result<Vec<Found>> {
        let kinds = self.kinds_of(asked.judge);
        let mut slabs: Vec<u16> = self.slabs.clone();
        slabs.extend(in_memory.keys().map(|&home| slab_of(home)));
        slabs.sort_unstable();
        slabs.dedup();
        let mut by_slab: HashMap<u16, Vec<(u32, Counts)>, FixedState> = HashMap::default();
        for (&home, &counts) in in_memory {
            by_slab.entry(slab_of(home)).or_default().push((home, counts));
        }
        self.effort.share(
            slabs.len(),
            || (Slab::new(asked.at_least as u16), Slab::new(1), Found::default()),
            |(counting, meeting, found), task| {
                let slab = slabs[task];
                // Of a component one event is enough to look at it.
                let of_customers = u32::from(slab) << 16 < FIRST_OTHER;
                let counts = if of_customers { counting } else { meeting };
                counts.clear();
                self.count_slab(asked, slab, (&kinds, named), of_customers, counts, found)?;
                for &(home, Counts { least, most }) in by_slab.get(&slab).into_iter().flatten() {
                    (0..least).for_each(|_| counts.add(home as u16, Known::Yes));
                    (least..most).for_each(|_| counts.add(home as u16, Known::Maybe));
                }
                let (sure, mut maybe) = counts.sets(slab);
                if of_customers {
                    found.bounds.or(&Bounds { sure, maybe });
                } else {
                    maybe.remove(NOWHERE);
                    found.others |= maybe;
                }
                Ok(())
            },
            |(_, _, found)| found,
        )
    }

    fn count_slab(
        &self,
        asked: Asked<'_>,
        slab: u16,
        (kinds, named): (&[u32], Option<&[u32]>),
        of_customers: bool,
        counts: &mut Slab,
        found: &mut Found,
    ) -> Result<()> {
        for segment in self.segments_with(slab, &asked.window) {
            let index = Index::open(&self.snapshot.lookup.store, &segment.meta)?;
            let named = named.map(|entities| Named::find(&index, slab, entities)).transpose()?;
            index.pages(slab, kinds, &mut |_, page, bytes| {
                found.pages += 1;
                found.bytes += bytes as u64;
                found.events += self.count_page(asked, page, (&index, named.as_ref()), of_customers, counts)?;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Adds the events of a page that are, or may be, what is asked for; returns how many it looked at.
    fn count_page(
        &self,
        asked: Asked<'_>,
        page: &Page<'_>,
        (index, named): (&Index<'_>, Option<&Named>),
        of_customers: bool,
        counts: &mut Slab,
    ) -> Result<u64> {
        let tables = self.snapshot.lookup.terms.read();
        let glance = Glance::new(asked.judge, page, &tables);
        if glance.none {
            return Ok(0);
        }
        let one = asked.at_least == 1 || !of_customers;
        let mut seen = 0;
        for block in &page.blocks {
            let Some(edges) = Edges::new(block, index.calendar, asked.window, asked.looks) else { continue };
            seen += block.len() as u64;
            let whole = edges.whole(index.calendar);
            if whole && glance.all && one && named.is_none() {
                block.add_homes(&mut counts.sure)?;
                continue;
            }
            block.homes(|at, home| {
                let (class, mut known) = match named {
                    None => glance.at(block, at),
                    Some(named) if !named.has(home) => return,
                    Some(named) => glance.among(asked.judge, (page, block, at, home), named, &tables),
                };
                if !whole && known != Known::No {
                    known = known.min(edges.at(block.tick(at), glance.is_lasting(class), block, at));
                }
                // Another home may have the same event, so that it must not count twice.
                if known == Known::Yes && !one && glance.has_several(class) {
                    known = Known::Maybe;
                }
                if known != Known::No {
                    counts.add(home, known);
                }
            })?;
        }
        Ok(seen)
    }

    /// The events in memory that satisfy, by home. Read one by one, so that all but those of several
    /// subjects are certain.
    fn in_memory(&mut self, asked: Asked<'_>) -> Result<InMemory> {
        let mut found = InMemory::default();
        self.visit_memory(asked, &mut |home, event| {
            let counts = found.entry(home).or_default();
            counts.most += 1;
            counts.least += u32::from(event.subjects.len() <= 1 || asked.at_least == 1);
            Ok(())
        })?;
        found.remove(&NOWHERE);
        Ok(found)
    }
}
