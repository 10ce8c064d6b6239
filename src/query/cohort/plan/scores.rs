//! Scores of customers, added up in pages.

use std::cmp::Reverse;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::codec::page::PAGE_HOMES;
use crate::codec::raw::FIRST_OTHER;
use crate::error::Result;
use crate::index::{Index, slab_of};
use crate::query::cohort::effort::Budget;
use crate::query::cohort::person::Person;
use crate::query::cohort::plan::Planner;
use crate::query::cohort::plan::did::Asked;
use crate::query::cohort::plan::glance::{Edges, Glance, Known};
use crate::query::cohort::question::Sequence;
use crate::query::cohort::top::Score;
use crate::query::item::lasts;
use crate::segment::NOWHERE;

/// Score, customer and number of events; ordered as they are told, the highest first.
pub(crate) type Scored = (Reverse<u64>, u32, u64);

/// Score and events of one customer so far.
type Sum = (u64, u64);

/// Homes and streams that are read one by one, at most.
const READ_MAX: u64 = 1 << 16;

impl Planner<'_> {
    /// The `limit` customers with the highest scores; `None` when too much would have to be read.
    pub(super) fn scores(
        &mut self,
        asked: Asked<'_>,
        sequence: &Sequence,
        score: Score,
        limit: usize,
        budget: &Budget,
    ) -> Result<Option<Vec<Scored>>> {
        if asked.window.interval().is_empty() {
            return Ok(Some(Vec::new()));
        }
        let survey = self.survey(asked, None)?;
        let mut others = survey.others;
        others.remove(NOWHERE);
        let mut singly = survey.unclear | survey.several | &*self.doubted;
        let mut more: HashMap<u32, Sum, FixedState> = HashMap::default();
        let add = |sums: &mut HashMap<u32, Sum, FixedState>, customer: u32, severity: u8| {
            let sum = sums.entry(customer).or_default();
            *sum = (sum.0 + score.of(severity), sum.1 + 1);
        };
        self.visit_memory(asked, &mut |home, event| {
            if home >= FIRST_OTHER {
                others.insert(home);
            } else if event.subjects.len() > 1 {
                singly.insert(home);
            } else {
                add(&mut more, home, event.severity);
            }
            Ok(())
        })?;
        others.remove(NOWHERE);
        if singly.len() + others.len() > READ_MAX {
            return Ok(None);
        }
        for other in &others {
            self.effort.go_on()?;
            let events = self.events_of(other, asked)?;
            for (customer, when) in self.dependents(other)?.iter() {
                for event in events.iter().filter(|event| when.overlaps(&lasts(event))) {
                    if event.subjects.len() > 1 {
                        singly.insert(*customer);
                    } else {
                        add(&mut more, *customer, event.severity);
                    }
                }
            }
        }
        singly &= &self.all;
        if singly.len() > READ_MAX {
            return Ok(None);
        }
        self.explain.plan(format!(
            "add up in pages; read {} components and {} streams of which they tell too little",
            others.len(),
            singly.len()
        ));
        more.retain(|customer, _| self.all.contains(*customer) && !singly.contains(*customer));
        let mut best = self.add_pages(asked, score, limit, &singly, &more)?;
        let mut person = Person::new(self.snapshot, self.question, budget);
        for customer in &singly {
            self.effort.go_on()?;
            person.meet(customer);
            person.mark(sequence)?;
            if !person.marked().is_empty() {
                let events = person.events();
                let sum = person.marked().iter().map(|&at| score.of(events[at].severity)).sum::<u64>();
                best.push((Reverse(sum), customer, person.marked().len() as u64));
            }
        }
        self.explain.count(&person.actuals());
        best.sort_unstable();
        best.truncate(limit);
        Ok(Some(best))
    }

    /// The highest of each slab, those of `without` left out, `more` added.
    fn add_pages(
        &self,
        asked: Asked<'_>,
        score: Score,
        limit: usize,
        without: &roaring::RoaringBitmap,
        more: &HashMap<u32, Sum, FixedState>,
    ) -> Result<Vec<Scored>> {
        let kinds = self.kinds_of(asked.judge);
        let mut by_slab: HashMap<u16, Vec<(u32, Sum)>, FixedState> = HashMap::default();
        for (&customer, &sum) in more {
            by_slab.entry(slab_of(customer)).or_default().push((customer, sum));
        }
        let mut slabs: Vec<u16> =
            self.slabs.iter().copied().filter(|&slab| u32::from(slab) << 16 < FIRST_OTHER).collect();
        slabs.extend(by_slab.keys());
        slabs.sort_unstable();
        slabs.dedup();
        let parts = self.effort.share(
            slabs.len(),
            || (vec![(0u64, 0u64); PAGE_HOMES], Vec::new()),
            |(sums, best): &mut (Vec<Sum>, Vec<Scored>), task| {
                let slab = slabs[task];
                sums.fill((0, 0));
                for segment in self.segments_with(slab, &asked.window) {
                    let index = Index::open(&self.snapshot.lookup.store, &segment.meta)?;
                    index.pages(slab, &kinds, &mut |_, page, _| {
                        let glance = Glance::new(asked.judge, page, &self.snapshot.lookup.terms.read());
                        if glance.none {
                            return Ok(());
                        }
                        let weights: Vec<u64> = page.classes.iter().map(|class| score.of(class.severity)).collect();
                        // Score and count that an event of a class adds, where the class tells.
                        let adds: Option<Vec<Sum>> = (0..weights.len())
                            .map(|class| {
                                glance
                                    .of_class(class)
                                    .map(|holds| (weights[class] * u64::from(holds), u64::from(holds)))
                            })
                            .collect();
                        for block in &page.blocks {
                            let edges = Edges::new(block, index.calendar, asked.window, asked.looks);
                            let Some(edges) = edges else { continue };
                            let whole = edges.whole(index.calendar);
                            if let Some(adds) = adds.as_ref().filter(|_| whole) {
                                block.homes(|at, home| {
                                    let (score, events) =
                                        adds.get(block.classes.get(at) as usize).copied().unwrap_or((0, 0));
                                    let sum = &mut sums[usize::from(home)];
                                    *sum = (sum.0 + score, sum.1 + events);
                                })?;
                                continue;
                            }
                            block.homes(|at, home| {
                                let (class, mut known) = glance.at(block, at);
                                if known == Known::Yes && !whole {
                                    known = edges.at(block.tick(at), glance.is_lasting(class), block, at);
                                }
                                if known == Known::Yes {
                                    let sum = &mut sums[usize::from(home)];
                                    sum.0 += weights.get(class).copied().unwrap_or(0);
                                    sum.1 += 1;
                                }
                            })?;
                        }
                        Ok(())
                    })?;
                }
                let first = u32::from(slab) << 16;
                for &(customer, (score, events)) in by_slab.get(&slab).into_iter().flatten() {
                    let sum = &mut sums[customer as usize & 0xffff];
                    *sum = (sum.0 + score, sum.1 + events);
                }
                let from = best.len();
                for (&(score, events), customer) in sums.iter().zip(first..) {
                    if events > 0 && !without.contains(customer) && self.all.contains(customer) {
                        best.push((Reverse(score), customer, events));
                    }
                }
                if best.len() - from > limit && limit > 0 {
                    best[from..].select_nth_unstable(limit - 1);
                }
                best.truncate(from + limit);
                Ok(())
            },
            |(_, best)| best,
        )?;
        Ok(parts.concat())
    }
}
