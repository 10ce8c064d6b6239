//! Scores of customers, added up in pages.

use std::array;
use std::cmp::Reverse;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::codec::homes::PAGE_HOMES;
use crate::codec::page::Class;
use crate::codec::raw::FIRST_OTHER;
use crate::error::Result;
use crate::index::slab_of;
use crate::query::cohort::effort::Budget;
use crate::query::cohort::person::Person;
use crate::query::cohort::plan::Planner;
use crate::query::cohort::plan::did::Asked;
use crate::query::cohort::plan::glance::{Glances, Known, blocks};
use crate::query::cohort::plan::sieve::Sieve;
use crate::query::cohort::question::Sequence;
use crate::query::cohort::tally::Counted;
use crate::query::cohort::top::Score;
use crate::query::item::lasts;
use crate::segment::NOWHERE;

/// Score, customer and number of events; ordered as they are told, the highest first.
pub(crate) type Scored = (Reverse<u64>, u32, u64);

/// Score and events of one customer so far.
type Sum = (u64, u64);

/// Homes and streams that are read one by one, at most.
const READ_MAX: u64 = 1 << 16;

/// Sums of the homes of one slab; reused from slab to slab.
struct Sums {
    /// Score and events in one word each, to add them at once and in little memory.
    narrow: Vec<u64>,
    /// Events added to `narrow` so far.
    added: usize,
    /// What `narrow` was emptied into; nothing before that.
    wide: Vec<Sum>,
}

impl Sums {
    /// Bits of a word of `narrow` that count events; above them stands the score.
    const COUNT_BITS: u32 = 24;
    /// Events after which words are emptied: too few for counts or scores (at most 24² each) to overflow.
    const ADDED_MAX: usize = 1 << 23;

    /// What one event with this score adds.
    fn one(score: u64) -> u64 {
        score << Sums::COUNT_BITS | 1
    }

    fn clear(&mut self) {
        self.narrow.fill(0);
        self.wide.clear();
        self.added = 0;
    }

    /// Makes room for some events, at most [`Sums::ADDED_MAX`].
    fn expect(&mut self, events: usize) {
        if self.added + events > Sums::ADDED_MAX {
            self.empty();
        }
        self.added += events;
    }

    /// Adds what `adds` says of the class of each event that is certain.
    fn add(&mut self, mut events: impl ExactSizeIterator<Item = (u16, usize, Known)>, adds: &[u64]) {
        while events.len() > 0 {
            let take = events.len().min(Sums::ADDED_MAX);
            self.expect(take);
            for (home, class, known) in events.by_ref().take(take) {
                // Adding nothing is quicker than guessing whether there is something to add.
                let one = adds.get(class).copied().unwrap_or(0);
                self.narrow[usize::from(home)] += if known == Known::Yes { one } else { 0 };
            }
        }
    }

    fn empty(&mut self) {
        self.wide.resize(PAGE_HOMES, (0, 0));
        for (wide, narrow) in self.wide.iter_mut().zip(&mut self.narrow) {
            let sum = Sums::split(std::mem::take(narrow));
            *wide = (wide.0 + sum.0, wide.1 + sum.1);
        }
        self.added = 0;
    }

    fn split(word: u64) -> Sum {
        (word >> Sums::COUNT_BITS, word & ((1 << Sums::COUNT_BITS) - 1))
    }

    /// The sums of the homes, in order.
    fn all(&self) -> impl Iterator<Item = Sum> {
        let wide = self.wide.iter().copied().chain(std::iter::repeat((0, 0)));
        self.narrow.iter().map(|&word| Sums::split(word)).zip(wide).map(|(a, b)| (a.0 + b.0, a.1 + b.1))
    }
}

impl Default for Sums {
    fn default() -> Sums {
        Sums { narrow: vec![0; PAGE_HOMES], added: 0, wide: Vec::new() }
    }
}

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
        let survey = self.survey(asked, None, Counted::Both)?;
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
        let customers: Vec<u32> = singly.iter().collect();
        let parts = self.effort.share(
            customers.len(),
            || (Person::new(self.snapshot, self.question, budget), Vec::new()),
            |(person, best), task| {
                person.meet(customers[task]);
                person.mark(sequence)?;
                if !person.marked().is_empty() {
                    let events = person.events();
                    let sum = person.marked().iter().map(|&at| score.of(events[at].severity)).sum::<u64>();
                    best.push((Reverse(sum), customers[task], person.marked().len() as u64));
                }
                Ok(())
            },
            |(person, best)| (person.actuals(), best),
        )?;
        for (actuals, read) in parts {
            self.explain.count(&actuals);
            best.extend(read);
        }
        best.sort_unstable();
        best.truncate(limit);
        Ok(Some(best))
    }

    /// The highest that each thread met, those of `without` left out, `more` added.
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
        let parts = self.effort_for(asked).share(
            slabs.len(),
            || (Sums::default(), Glances::new(asked.judge), Sieve::default(), Vec::<Scored>::new()),
            |(sums, glances, sieve, best), task| {
                let slab = slabs[task];
                sums.clear();
                for segment in self.segments_with(slab, &asked.window) {
                    let index = self.index(segment)?;
                    index.pages(slab, &kinds, &mut |page| {
                        self.effort.go_on()?;
                        let glance = glances.of(page, &self.snapshot.lookup.terms.read());
                        let Some(glance) = glance else { return Ok(()) };
                        let one = |class: &Class| Sums::one(score.of(class.severity));
                        let adds: Vec<u64> = page.classes.iter().map(one).collect();
                        let sure = glance.exact();
                        let sure = sure.map(|holds| array::from_fn(|at| if holds[at] { adds[at] } else { 0 }));
                        let mut events = 0;
                        for block in blocks(page, index.calendar, asked.window, asked.looks) {
                            let (_, block, edges) = block?;
                            events += block.len();
                            match &sure {
                                // Whoever has an event in a tick that the window cuts is read.
                                Some(adds) if block.len() <= Sums::ADDED_MAX => {
                                    sums.expect(block.len());
                                    let narrow = &mut sums.narrow;
                                    sieve.sums(&block, &edges, adds, |home, one| narrow[usize::from(home)] += one)?;
                                }
                                _ => sums.add(sieve.events(&block, &glance, &edges)?, &adds),
                            }
                        }
                        self.looked.page(page, events);
                        Ok(())
                    })?;
                }
                let first = u32::from(slab) << 16;
                if let Some(more) = by_slab.get(&slab) {
                    sums.empty();
                    for &(customer, (score, events)) in more {
                        let sum = &mut sums.wide[customer as usize & 0xffff];
                        *sum = (sum.0 + score, sum.1 + events);
                    }
                }
                // Of as many as are asked for the last is the lowest.
                let lowest = best.get(limit.wrapping_sub(1)).map_or(0, |lowest| lowest.0.0);
                for ((score, events), customer) in sums.all().zip(first..) {
                    if score >= lowest && events > 0 && !without.contains(customer) && self.all.contains(customer) {
                        best.push((Reverse(score), customer, events));
                    }
                }
                if best.len() >= limit && limit > 0 {
                    best.select_nth_unstable(limit - 1);
                }
                best.truncate(limit);
                Ok(())
            },
            |(_, _, _, best)| best,
        )?;
        Ok(parts.concat())
    }
}
