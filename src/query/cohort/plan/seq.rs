//! One thing after the other, out of pages: two steps are held against each other tick by tick, longer
//! sequences are narrowed down to those who had each step.

use roaring::RoaringBitmap;

use crate::codec::page::Page;
use crate::codec::raw::FIRST_OTHER;
use crate::error::Result;
use crate::index::{Index, slab_of};
use crate::model::Window;
use crate::query::cohort::needs::Looks;
use crate::query::cohort::plan::Planner;
use crate::query::cohort::plan::bounds::Bounds;
use crate::query::cohort::plan::did::{Asked, Own};
use crate::query::cohort::plan::glance::{Glance, Glances, Known, blocks};
use crate::query::cohort::plan::sieve::Sieve;
use crate::query::cohort::question::{Question, Sequence};

/// An event that may be one of two steps: it happened in `[from, to)`.
#[derive(Clone, Copy)]
struct Mark {
    home: u16,
    from: i64,
    to: i64,
    first: Known,
    second: Known,
}

impl<'a> Planner<'a> {
    /// The customers of a sequence.
    pub(super) fn seq(&mut self, sequence: &Sequence) -> Result<Bounds> {
        let mut possible: Option<RoaringBitmap> = None;
        // Those with a step that happened to something they depend on.
        let mut through = RoaringBitmap::new();
        for at in 0..sequence.steps.len() {
            let asked = self.step(sequence, at);
            let Own { bounds, others } = self.own(asked)?;
            let mut felt = Bounds::default();
            self.spread(asked, &others, &mut felt)?;
            let had = bounds.maybe | &felt.maybe;
            through |= felt.maybe;
            let both = possible.map_or_else(|| had.clone(), |possible| possible & &had);
            if both.is_empty() {
                return Ok(Bounds::default());
            }
            possible = Some(both);
        }
        let possible = possible.unwrap_or_default();
        let two = sequence.steps.len() == 2 && sequence.steps.iter().all(|step| step.without.is_empty());
        if !two {
            return Ok(Bounds { sure: RoaringBitmap::new(), maybe: possible });
        }
        through &= &possible;
        let mut bounds = self.two_steps(sequence, &(possible - &through))?;
        bounds.maybe |= through;
        Ok(bounds)
    }

    fn step(&self, sequence: &Sequence, at: usize) -> Asked<'a> {
        let window: Window = if at == 0 { sequence.rules.window } else { sequence.span };
        let question: &'a Question = self.question;
        let judge = &question.judges[sequence.steps[at].judge];
        Asked { judge, window, looks: Looks::Time, at_least: 1 }
    }

    /// Holds the events of `candidates` against each other, all of which lie under their own homes.
    fn two_steps(&self, sequence: &Sequence, candidates: &RoaringBitmap) -> Result<Bounds> {
        let steps = [self.step(sequence, 0), self.step(sequence, 1)];
        let bounds = [sequence.rules.within, sequence.rules.step_within[1]];
        let within = bounds.into_iter().flatten().min().unwrap_or(i64::MAX);
        let mut in_memory: Vec<(u32, Mark)> = Vec::new();
        for (at, &step) in steps.iter().enumerate() {
            self.visit_memory(step, &mut |home, event| {
                if candidates.contains(home) {
                    let known = |own: usize| if own == at { Known::Yes } else { Known::No };
                    let to = event.time.saturating_add(1);
                    let (first, second) = (known(0), known(1));
                    in_memory.push((home, Mark { home: home as u16, from: event.time, to, first, second }));
                }
                Ok(())
            })?;
        }
        in_memory.sort_by_key(|(home, _)| *home);
        let kinds = steps.map(|step| self.kinds_of(step.judge));
        let mut slabs: Vec<u16> =
            self.slabs.iter().copied().filter(|&slab| u32::from(slab) << 16 < FIRST_OTHER).collect();
        slabs.extend(in_memory.iter().map(|(home, _)| slab_of(*home)));
        slabs.sort_unstable();
        slabs.dedup();
        let budget = self.effort.budget();
        let parts = self.effort.share(
            slabs.len(),
            || {
                let glances: Vec<Glances<'_>> = steps.iter().map(|step| Glances::new(step.judge)).collect();
                ((glances, Vec::new(), budget.gauge()), Sieve::default(), Bounds::default())
            },
            |((glances, marks, gauge), sieve, found), task| {
                let slab = slabs[task];
                let first = u32::from(slab) << 16;
                if candidates.range(first..=first | 0xffff).next().is_none() {
                    return Ok(());
                }
                let mut wanted = vec![false; 1 << 16];
                candidates.range(first..=first | 0xffff).for_each(|home| wanted[home as usize & 0xffff] = true);
                marks.clear();
                for (at, step) in steps.iter().enumerate() {
                    for segment in self.segments_with(slab, &step.window) {
                        let index = self.index(segment)?;
                        index.pages(slab, &kinds[at], &mut |page| {
                            self.effort.go_on()?;
                            let glance = glances[at].of(page, &self.snapshot.lookup.terms.read());
                            let Some(glance) = glance else { return Ok(()) };
                            let events = mark(*step, at, page, &glance, &index, &wanted, (marks, sieve))?;
                            self.looked.page(page, events);
                            gauge.set(marks.capacity() * size_of::<Mark>())
                        })?;
                    }
                }
                let from = in_memory.partition_point(|(home, _)| *home < first);
                let own = in_memory[from..].iter().take_while(|(home, _)| slab_of(*home) == slab);
                marks.extend(own.map(|(_, mark)| *mark));
                decide(marks, within, first, found);
                Ok(())
            },
            |(_, _, found)| found,
        )?;
        let mut all = Bounds::default();
        parts.into_iter().for_each(|part| all.or(part));
        Ok(all)
    }
}

/// Notes the events of a page that may be step `at`; returns how many it looked at.
fn mark(
    step: Asked<'_>,
    at: usize,
    page: &Page,
    glance: &Glance,
    index: &Index<'_>,
    wanted: &[bool],
    (marks, sieve): (&mut Vec<Mark>, &mut Sieve),
) -> Result<usize> {
    let calendar = index.calendar;
    let mut events = 0;
    for block in blocks(page, calendar, step.window, step.looks) {
        let (head, block, edges) = block?;
        events += block.len();
        // The first block of all begins before what 64 bits tell.
        let start = i128::from(head.number) * i128::from(calendar.block);
        let nanos = |at: i128| at.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
        for (place, (home, _, known)) in sieve.events(&block, glance, &edges)?.enumerate() {
            if known == Known::No || !wanted[usize::from(home)] {
                continue;
            }
            let from = start + i128::from(block.tick(place)) * i128::from(calendar.tick);
            let (from, to) = (nanos(from), nanos(from + i128::from(calendar.tick)));
            let (first, second) = if at == 0 { (known, Known::No) } else { (Known::No, known) };
            marks.push(Mark { home, from, to, first, second });
        }
    }
    Ok(events)
}

/// Adds the homes of which two marks follow each other, for certain or perhaps.
fn decide(marks: &mut [Mark], within: i64, slab: u32, found: &mut Bounds) {
    marks.sort_unstable_by_key(|mark| (mark.home, mark.from));
    let mut ended: Vec<(i64, i64)> = Vec::new();
    for of_home in marks.chunk_by(|a, b| a.home == b.home) {
        let home = slab | u32::from(of_home[0].home);
        let seconds = || of_home.iter().filter(|mark| mark.second != Known::No);
        let firsts = || of_home.iter().filter(|mark| mark.first != Known::No);
        // The latest first step that may come before a second one is the one that may be near enough.
        let mut perhaps = false;
        let mut before = firsts().peekable();
        let mut latest: Option<i64> = None;
        for second in seconds() {
            while let Some(first) = before.next_if(|first| first.from < second.to) {
                latest = latest.max(Some(first.to.saturating_sub(1)));
            }
            perhaps |= latest.is_some_and(|first| second.from.saturating_sub(first) <= within);
        }
        if !perhaps {
            continue;
        }
        found.maybe.insert(home);
        ended.clear();
        ended.extend(firsts().filter(|mark| mark.first == Known::Yes).map(|mark| (mark.to, mark.from)));
        ended.sort_unstable();
        let mut before = ended.iter().peekable();
        let mut nearest: Option<i64> = None;
        for second in seconds().filter(|second| second.second == Known::Yes) {
            while let Some(&(_, from)) = before.next_if(|(to, _)| *to <= second.from) {
                nearest = nearest.max(Some(from));
            }
            let last = second.to.saturating_sub(1);
            if nearest.is_some_and(|first| last.saturating_sub(first) <= within) {
                found.sure.insert(home);
                break;
            }
        }
    }
}
