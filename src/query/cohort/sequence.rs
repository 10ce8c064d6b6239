//! Events one after the other: a pure function over marks, which knows nothing of stores.
//!
//! Marks that a rule cannot tell apart in time form a *group*: under [`Ties::Seq`] each mark is one,
//! otherwise those of one instant are. Between groups the order is strict; within one, under
//! [`Ties::Any`], a run of steps takes different marks in any order, which is a matching. So a chain
//! is a list of runs, each in a group of its own, and what later steps need to know of earlier ones
//! is the group of the last step and the time of the first.
//!
//! Forwards, for each number of steps done and each group, the latest possible first step is kept:
//! it serves a bound on the whole best. The groups that a step may come from are a window whose lower
//! end never goes back, so a queue of falling candidates gives each maximum at once. That makes
//! `occurs` linear in the marks but for the matchings, which are small.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};

use crate::expr::Ties;
use crate::model::limits::STEPS;
use crate::model::{Timestamp, Window};

/// One event as a sequence sees it. A slice of them is in the total order of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) time: i64,
    /// Bit i: it may be the event of step i.
    pub(crate) fits: u64,
    /// Bit i: it may not lie between the events of steps i − 1 and i.
    pub(crate) breaks: u64,
}

/// What a sequence asks of its marks besides their bits.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// For each step, the nanoseconds from the step before, at most; that of the first is ignored.
    pub(crate) step_within: Vec<Option<i64>>,
    /// Nanoseconds from the first step to the last, at most.
    pub(crate) within: Option<i64>,
    /// Where the first step lies.
    pub(crate) window: Window,
    pub(crate) ties: Ties,
}

impl Rules {
    fn steps(&self) -> usize {
        self.step_within.len()
    }

    /// The rules of the first `steps` steps.
    pub(crate) fn prefix(&self, steps: usize) -> Rules {
        Rules { step_within: self.step_within[..steps].to_vec(), ..self.clone() }
    }

    /// The first instant at which no event of the sequence can lie; one without bounds has none.
    pub(crate) fn last_end(&self) -> Timestamp {
        let steps = self.step_within.iter().skip(1).try_fold(0i64, |sum, most| Some(sum.saturating_add((*most)?)));
        let most = self.within.into_iter().chain(steps).min();
        let only = self.steps() == 1;
        match if only { Some(0) } else { most } {
            Some(most) => self.window.to.saturating_add(most.max(0)),
            None => Timestamp::MAX,
        }
    }

    /// Whether no marks could ever do.
    fn impossible(&self) -> bool {
        let negative = |bound: &Option<i64>| bound.is_some_and(|most| most < 0);
        let count = self.steps();
        count == 0 || count > STEPS || negative(&self.within) || self.step_within[1..].iter().any(negative)
    }

    /// Whether a chain from `start` to `end` keeps the bound on the whole.
    fn spans(&self, start: i64, end: i64) -> bool {
        start >= self.earliest(self.within, end)
    }

    /// The earliest instant from which `bound` reaches to `time`.
    fn earliest(&self, bound: Option<i64>, time: i64) -> i64 {
        bound.map_or(i64::MIN, |most| time.saturating_sub(most))
    }

    /// Steps that may share a group.
    fn run_max(&self) -> usize {
        if self.ties == Ties::Any { self.steps() } else { 1 }
    }
}

/// Whether some marks satisfy all steps.
pub(crate) fn occurs(marks: &[Mark], rules: &Rules) -> bool {
    completion(marks, &groups(marks, rules.ties), rules).is_some()
}

/// The marks that satisfy all steps: of those that are done earliest, the earliest ones, the first
/// step's counting most.
pub(crate) fn winners(marks: &[Mark], rules: &Rules) -> Option<Vec<usize>> {
    let groups = groups(marks, rules.ties);
    let end = completion(marks, &groups, rules)?;
    let known = groups.partition_point(|group| marks[group.start].time <= end);
    Ending::new(marks, &groups[..known], rules, end).first()
}

/// How many steps are satisfied at most, and the latest first step with which they are.
pub(crate) fn level(marks: &[Mark], rules: &Rules) -> Option<(usize, i64)> {
    let mut best: Option<(usize, i64)> = None;
    sweep(marks, &groups(marks, rules.ties), rules, |steps, time, start| {
        if rules.spans(start, time) {
            best = best.max(Some((steps, start)));
        }
        ControlFlow::Continue(())
    });
    best
}

/// The time at which all steps are done first.
fn completion(marks: &[Mark], groups: &[Range<usize>], rules: &Rules) -> Option<i64> {
    let mut done = None;
    sweep(marks, groups, rules, |steps, time, start| {
        if steps == rules.steps() && rules.spans(start, time) {
            done = Some(time);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    done
}

fn groups(marks: &[Mark], ties: Ties) -> Vec<Range<usize>> {
    let mut at = 0;
    let runs = marks.chunk_by(|a, b| ties != Ties::Seq && a.time == b.time);
    runs.map(|run| {
        at += run.len();
        at - run.len()..at
    })
    .collect()
}

/// Calls `reached` with each number of steps that can be done with the last one in a group, the
/// group's time, and the latest first step, in the order of the groups.
fn sweep(
    marks: &[Mark],
    groups: &[Range<usize>],
    rules: &Rules,
    mut reached: impl FnMut(usize, i64, i64) -> ControlFlow<()>,
) {
    if rules.impossible() {
        return;
    }
    let count = rules.steps();
    let time_of = |group: usize| marks[groups[group].start].time;
    // By steps done: where the last of them lies and the latest start, falling.
    let mut open: Vec<VecDeque<(usize, i64)>> = vec![VecDeque::new(); count];
    // By step: the last group that holds what must not lie before it.
    let mut barriers = vec![0; count];
    let mut fresh: Vec<Option<i64>> = vec![None; count + 1];
    let mut run = Run::default();
    for (group, range) in groups.iter().enumerate() {
        let members = &marks[range.clone()];
        let time = members[0].time;
        let fits = members.iter().fold(0, |all, mark| all | mark.fits);
        fresh.fill(None);
        for step in (0..count).filter(|step| fits >> step & 1 != 0) {
            let start = if step == 0 {
                rules.window.contains(Timestamp::from_nanos(time)).then_some(time)
            } else {
                let earliest = rules.earliest(rules.step_within[step], time);
                let queue = &mut open[step];
                while queue.front().is_some_and(|&(from, _)| from < barriers[step] || time_of(from) < earliest) {
                    queue.pop_front();
                }
                queue.front().map(|&(_, start)| start)
            };
            let Some(start) = start else { continue };
            run.begin(members.len());
            for next in (step..count).take(rules.run_max()) {
                if !run.add(next, members) {
                    break;
                }
                fresh[next + 1] = fresh[next + 1].max(Some(start));
            }
        }
        for (steps, start) in fresh.iter().enumerate().filter_map(|(steps, start)| Some((steps, (*start)?))) {
            if reached(steps, time, start).is_break() {
                return;
            }
            if let Some(queue) = open.get_mut(steps) {
                while queue.back().is_some_and(|&(_, known)| known <= start) {
                    queue.pop_back();
                }
                queue.push_back((group, start));
            }
        }
        let breaks = members.iter().fold(0, |all, mark| all | mark.breaks);
        (1..count).filter(|step| breaks >> step & 1 != 0).for_each(|step| barriers[step] = group);
    }
}

/// Steps that take different marks of one group: a matching that grows step by step.
#[derive(Default)]
struct Run {
    /// The step that each mark serves.
    owners: Vec<Option<usize>>,
    seen: Vec<bool>,
}

impl Run {
    fn begin(&mut self, members: usize) {
        self.owners.clear();
        self.owners.resize(members, None);
    }

    /// Finds a mark for one more step, moving others if need be. When it says no, more steps would
    /// not help.
    fn add(&mut self, step: usize, members: &[Mark]) -> bool {
        self.seen.clear();
        self.seen.resize(members.len(), false);
        self.place(step, members)
    }

    fn place(&mut self, step: usize, members: &[Mark]) -> bool {
        for (at, mark) in members.iter().enumerate() {
            if mark.fits >> step & 1 == 0 || self.seen[at] {
                continue;
            }
            self.seen[at] = true;
            if self.owners[at].is_none_or(|other| self.place(other, members)) {
                self.owners[at] = Some(step);
                return true;
            }
        }
        false
    }
}

/// What can still be done from each group on, so that all is done at `end`.
struct Ending<'a> {
    marks: &'a [Mark],
    /// Those up to `end`.
    groups: &'a [Range<usize>],
    rules: &'a Rules,
    end: i64,
    /// By step, by group: whether the step and all behind it can be done with it in the group, none of
    /// whose marks is taken, told as the number of such groups from this one on.
    fresh: Vec<Vec<u32>>,
    /// By step, by group: whether all behind the step can be done in later groups.
    leaves: Vec<Vec<bool>>,
    /// By step, by group: the last group in which the step can be when the one before is in this group.
    last: Vec<Vec<usize>>,
}

impl<'a> Ending<'a> {
    fn new(marks: &'a [Mark], groups: &'a [Range<usize>], rules: &'a Rules, end: i64) -> Ending<'a> {
        let (count, length) = (rules.steps(), groups.len());
        let fresh = vec![vec![0; length + 1]; count];
        let mut ending =
            Ending { marks, groups, rules, end, fresh, leaves: vec![vec![false; length]; count], last: Vec::new() };
        ending.last = (0..count).map(|step| ending.last_groups(step)).collect();
        let mut run = Run::default();
        for group in (0..length).rev() {
            for step in 0..count {
                ending.leaves[step][group] = if step + 1 == count {
                    ending.time(group) == end
                } else {
                    let later = &ending.fresh[step + 1];
                    later[group + 1] > later[ending.last[step + 1][group] + 1]
                };
            }
            for step in 0..count {
                let able = ending.able(step, group, &[], &mut run, 1);
                ending.fresh[step][group] = ending.fresh[step][group + 1] + u32::from(able);
            }
        }
        ending
    }

    fn time(&self, group: usize) -> i64 {
        self.marks[self.groups[group].start].time
    }

    fn last_groups(&self, step: usize) -> Vec<usize> {
        let length = self.groups.len();
        let mut last = vec![0; length];
        let mut barrier = length - 1;
        for group in (0..length).rev() {
            let latest = self.rules.step_within[step].map_or(i64::MAX, |most| self.time(group).saturating_add(most));
            let in_time = self.groups.partition_point(|other| self.marks[other.start].time <= latest) - 1;
            last[group] = in_time.min(barrier);
            if self.marks[self.groups[group].clone()].iter().any(|mark| mark.breaks >> step & 1 != 0) {
                barrier = group;
            }
        }
        last
    }

    /// Whether at least `least` steps from `step` on can be done with marks of `group` that are not
    /// `taken`, and the others in later groups.
    fn able(&self, step: usize, group: usize, taken: &[usize], run: &mut Run, least: usize) -> bool {
        if least == 0 && self.leaves[step - 1][group] {
            return true;
        }
        let mut members = self.marks[self.groups[group].clone()].to_vec();
        taken.iter().for_each(|&mark| members[mark - self.groups[group].start].fits = 0);
        run.begin(members.len());
        // What is taken counts to the run.
        let room = self.rules.run_max().saturating_sub(taken.len());
        for next in (step..self.rules.steps()).take(room) {
            if !run.add(next, &members) {
                return false;
            }
            if self.leaves[next][group] {
                return true;
            }
        }
        false
    }

    fn first(&self) -> Option<Vec<usize>> {
        let mut run = Run::default();
        let mut chosen: Vec<usize> = Vec::with_capacity(self.rules.steps());
        // Marks chosen in the group of the last one.
        let mut taken: Vec<usize> = Vec::new();
        let mut at = 0;
        for step in 0..self.rules.steps() {
            let (found, group) = self.choose(step, at, &taken, &mut run)?;
            if group != at {
                taken.clear();
            }
            at = group;
            taken.push(found);
            chosen.push(found);
        }
        Some(chosen)
    }

    /// The first mark that can be that of `step` when those of its run so far are `taken`, in group `at`.
    fn choose(&self, step: usize, at: usize, taken: &[usize], run: &mut Run) -> Option<(usize, usize)> {
        let last = if step == 0 { self.groups.len() - 1 } else { self.last[step][at] };
        for group in at..=last {
            let time = self.time(group);
            let begins = self.rules.window.contains(Timestamp::from_nanos(time)) && self.rules.spans(time, self.end);
            let inside = if group == at { taken } else { &[] };
            let full = inside.len() >= self.rules.run_max();
            if step == 0 && !begins || full {
                continue;
            }
            let mut with: Vec<usize> = inside.to_vec();
            for mark in self.groups[group].clone() {
                if self.marks[mark].fits >> step & 1 == 0 || inside.contains(&mark) {
                    continue;
                }
                with.push(mark);
                let able = self.able(step + 1, group, &with, run, 0);
                with.pop();
                if able {
                    return Some((mark, group));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
