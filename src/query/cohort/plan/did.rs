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
use crate::query::cohort::plan::glance::{Glance, Glances, Known, blocks};
use crate::query::cohort::plan::named::Named;
use crate::query::cohort::plan::sieve::Sieve;
use crate::query::cohort::plan::slab::Slab;
use crate::query::cohort::reader::Actuals;
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
}

/// Homes that are read whatever else there is to look at.
const FEW: u64 = 2;
/// Events of pages passed over in the time in which the row of one home is read, about.
const EVENTS_A_READ: u64 = 128_000;

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
        let in_memory = self.in_memory(asked)?;
        let few = FEW + self.sealed_count(asked.judge) / EVENTS_A_READ;
        let few_homes = named.as_ref().map(|named| self.few_homes(named, few)).transpose()?;
        if let Some(mut others) = few_homes.flatten() {
            others.extend(in_memory.keys().copied());
            self.explain.plan(format!("  {} homes name the entities: read each", others.len()));
            let bounds = self.read_rows(asked, &others, &in_memory)?;
            others.remove_range(..FIRST_OTHER);
            return Ok(Own { bounds, others });
        }
        let mut all = Found::default();
        for part in self.count_slabs(asked, &in_memory, named.as_deref())? {
            all.bounds.or(part.bounds);
            all.others |= part.others;
        }
        Ok(Own { bounds: all.bounds, others: all.others })
    }

    /// Counts the events in the rows of the customers among `homes` themselves; those of the doubted are left
    /// to whoever reads their streams.
    fn read_rows(&mut self, asked: Asked<'_>, homes: &RoaringBitmap, in_memory: &InMemory) -> Result<Bounds> {
        /// Rows are asked for in batches.
        const AT_ONCE: usize = 64;
        let homes: Vec<u32> = homes.iter().take_while(|&home| home < FIRST_OTHER).collect();
        let homes: Vec<u32> = homes.into_iter().filter(|&home| !self.doubted.contains(home)).collect();
        let batches: Vec<&[u32]> = homes.chunks(AT_ONCE).collect();
        let parts = self.effort.share(
            batches.len(),
            || (HashMap::<u32, Counts, FixedState>::default(), Bounds::default(), Actuals::default()),
            |(counts, bounds, actuals), task| {
                counts.clear();
                for &home in batches[task] {
                    counts.extend(in_memory.get(&home).map(|&known| (home, known)));
                }
                self.visit_rows(asked, batches[task], actuals, &mut |home, event| {
                    let counts = counts.entry(home).or_default();
                    counts.most += 1;
                    counts.least += u32::from(event.subjects.len() <= 1 || asked.at_least == 1);
                })?;
                for (&home, counts) in &*counts {
                    if counts.most >= asked.at_least {
                        bounds.maybe.insert(home);
                    }
                    if counts.least >= asked.at_least {
                        bounds.sure.insert(home);
                    }
                }
                Ok(())
            },
            |(_, bounds, actuals)| (bounds, actuals),
        )?;
        let mut all = Bounds::default();
        for (bounds, actuals) in parts {
            all.or(bounds);
            self.explain.count(&actuals);
        }
        Ok(all)
    }

    /// Counts in each slab, on all threads, the events that name one of `named`.
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
        self.effort_for(asked).share(
            slabs.len(),
            || {
                let (counting, meeting) = (Slab::new(asked.at_least as u16), Slab::new(1));
                let eyes = (Glances::new(asked.judge), Sieve::default(), named.map(Named::new));
                (counting, meeting, eyes, Found::default())
            },
            |(counting, meeting, eyes, found), task| {
                let slab = slabs[task];
                // Of a component one event is enough to look at it.
                let of_customers = u32::from(slab) << 16 < FIRST_OTHER;
                let counts = if of_customers { counting } else { meeting };
                counts.clear();
                self.count_slab(asked, slab, &kinds, of_customers, (counts, eyes))?;
                for &(home, Counts { least, most }) in by_slab.get(&slab).into_iter().flatten() {
                    (0..least).for_each(|_| counts.add(home as u16, Known::Yes));
                    (least..most).for_each(|_| counts.add(home as u16, Known::Maybe));
                }
                let (sure, mut maybe) = counts.sets(slab);
                if of_customers {
                    found.bounds.or(Bounds { sure, maybe });
                } else {
                    maybe.remove(NOWHERE);
                    found.others |= maybe;
                }
                Ok(())
            },
            |(_, _, _, found)| found,
        )
    }

    fn count_slab(
        &self,
        asked: Asked<'_>,
        slab: u16,
        kinds: &[u32],
        of_customers: bool,
        (counts, (glances, sieve, named)): (&mut Slab, &mut (Glances<'_>, Sieve, Option<Named>)),
    ) -> Result<()> {
        for segment in self.segments_with(slab, &asked.window) {
            let index = self.index(segment)?;
            if let Some(named) = named
                && !named.turn_to(&index, slab)?
            {
                continue;
            }
            index.pages(slab, kinds, &mut |page| {
                self.effort.go_on()?;
                let eyes = (&mut *counts, &mut *glances, &mut *sieve);
                let events = self.count_page(asked, page, (&index, named.as_ref()), of_customers, eyes)?;
                self.looked.page(page, events);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Adds the events of a page that are, or may be, what is asked for; returns how many it looked at.
    fn count_page(
        &self,
        asked: Asked<'_>,
        page: &Page,
        (index, named): (&Index<'_>, Option<&Named>),
        of_customers: bool,
        (counts, glances, sieve): (&mut Slab, &mut Glances<'_>, &mut Sieve),
    ) -> Result<usize> {
        let tables = self.snapshot.lookup.terms.read();
        let Some(glance) = glances.of(page, &tables) else { return Ok(0) };
        let one = asked.at_least == 1 || !of_customers;
        let single = named.and_then(Named::single);
        let by_name = single.and_then(|entity| glance.by_name(asked.judge, page, entity, &tables));
        // Homes leave more out than classes do, unless most name one.
        let may = if named.is_some_and(Named::is_crowded) { glance.may() } else { None };
        let mut seen = 0;
        for block in blocks(page, index.calendar, asked.window, asked.looks) {
            let (_, block, edges) = block?;
            seen += block.len();
            // Another home may have the same event, so that it must not count twice.
            let once = |class: usize| if one || !glance.has_several(class) { Known::Yes } else { Known::Maybe };
            if let Some(named) = named {
                for &(at, home) in sieve.among(&block, named.bits(), named.is_dense(), may.as_ref())? {
                    let at = at as usize;
                    let (class, mut known) = glance.at(&block, at);
                    if known == Known::Maybe {
                        let quick =
                            by_name.as_ref().and_then(|by_name| by_name.of(&block, at, class, named.code(home)));
                        known = quick.filter(|known| *known != Known::Maybe).unwrap_or_else(|| {
                            Glance::among(asked.judge, (page, &block, at), class, &named.under(home), &tables)
                        });
                    }
                    if known != Known::No && !edges.whole() {
                        known = known.min(edges.at(block.tick(at), glance.is_lasting(class), &block, at));
                    }
                    if known != Known::No {
                        counts.add(home, known.min(once(class)));
                    }
                }
            } else if edges.whole() && glance.all && one {
                block.add_homes(&mut counts.sure)?;
            } else if !one || !sieve.bounds(&block, &glance, &edges, counts)? {
                for (home, class, known) in sieve.events(&block, &glance, &edges)? {
                    if known != Known::No {
                        counts.add(home, known.min(once(class)));
                    }
                }
            }
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
