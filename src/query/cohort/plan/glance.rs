//! What the columns of a page tell of its events: do they satisfy, and are they inside a window.

use std::cell::Cell;
use std::ops::Range;

use smallvec::SmallVec;

use crate::codec::calendar::Calendar;
use crate::codec::page::{Block, Class, ENTITY_COLUMNS, ENTITY_OTHER, Head, Page};
use crate::dictionary::TermTables;
use crate::error::Result;
use crate::model::{Timestamp, Window};
use crate::query::cohort::judge::{Among, Judge, Seen};
use crate::query::cohort::needs::Looks;
use crate::query::cohort::plan::named::Under;

/// What is known of an event without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Known {
    No,
    Maybe,
    Yes,
}

impl Known {
    fn of(known: Option<bool>) -> Known {
        match known {
            Some(true) => Known::Yes,
            Some(false) => Known::No,
            None => Known::Maybe,
        }
    }
}

fn told(verdict: u8) -> Known {
    match verdict {
        0 => Known::No,
        2 => Known::Yes,
        _ => Known::Maybe,
    }
}

/// A class whose events must be told apart by their attributes.
const BY_TEXTS: u8 = 3;
/// Verdicts by class and texts that are worked out beforehand; beyond, events are read.
const TABLE_MAX: usize = 1 << 16;

/// One entry a class of a page; most pages have few.
type ByClass<T> = SmallVec<[T; 16]>;

/// The verdicts of one predicate over one page.
pub(crate) struct Glance {
    by_class: ByClass<u8>,
    facts: ByClass<u8>,
    /// Columns that decide about some class, with the number of their codes.
    columns: SmallVec<[(usize, usize); 2]>,
    /// By class, then by the codes of those columns.
    by_texts: Vec<u8>,
    codes: usize,
    /// Whether every event satisfies.
    pub(crate) all: bool,
    /// Whether of each event it is known, and none that satisfies has several subjects.
    pub(crate) clear: bool,
}

/// Looks at page after page for one predicate; remembers what classes tell.
pub(crate) struct Glances<'a> {
    judge: &'a Judge,
    /// By shape and severity, [`UNSEEN`] until a page has it.
    facts: Vec<u8>,
}

/// What is known of a class before its page is: the verdict, and these.
const VERDICT: u8 = 3;
const LASTING: u8 = 4;
const SEVERAL: u8 = 8;
/// Attributes may decide what the class leaves open.
const OPEN: u8 = 16;
const UNSEEN: u8 = u8::MAX;

impl<'a> Glances<'a> {
    pub(crate) fn new(judge: &'a Judge) -> Glances<'a> {
        Glances { judge, facts: Vec::new() }
    }

    fn facts(&mut self, class: Class, tables: &TermTables) -> u8 {
        const SEVERITIES: usize = 32;
        let at = class.shape as usize * SEVERITIES + usize::from(class.severity);
        if let Some(&facts) = self.facts.get(at)
            && facts != UNSEEN
        {
            return facts;
        }
        let layout = tables.shape(class.shape).map(|entry| entry.shape.layout).ok();
        let verdict = Known::of(self.judge.glance(class.shape, &Seen::severity(class.severity)));
        let mut facts = verdict as u8;
        // Of a class that is not known anything may be true.
        facts |= if layout.is_none_or(|layout| layout.has_end) { LASTING } else { 0 };
        facts |= if layout.is_none_or(|layout| layout.subjects > 1) { SEVERAL } else { 0 };
        if verdict == Known::Maybe {
            self.judge.attributes(class.shape, &mut |_| facts |= OPEN);
        }
        if layout.is_some() && usize::from(class.severity) < SEVERITIES {
            if self.facts.len() <= at {
                self.facts.resize((at + 1).next_multiple_of(SEVERITIES), UNSEEN);
            }
            self.facts[at] = facts;
        }
        facts
    }

    /// The verdicts over a page; `None` when none of its events satisfies.
    pub(crate) fn of(&mut self, page: &Page, tables: &TermTables) -> Option<Glance> {
        let facts: ByClass<u8> = page.classes.iter().map(|class| self.facts(*class, tables)).collect();
        if facts.iter().all(|facts| facts & VERDICT == Known::No as u8) {
            return None;
        }
        let mut glance = Glance {
            by_class: facts.iter().map(|facts| facts & VERDICT).collect(),
            all: facts.iter().all(|facts| facts & VERDICT == Known::Yes as u8),
            clear: facts.iter().all(|facts| {
                let verdict = facts & VERDICT;
                verdict == Known::No as u8 || verdict == Known::Yes as u8 && facts & SEVERAL == 0
            }),
            facts,
            by_texts: Vec::new(),
            columns: SmallVec::new(),
            codes: 1,
        };
        if glance.facts.iter().any(|facts| facts & OPEN != 0) {
            glance.look_at_texts(self.judge, page, tables);
        }
        Some(glance)
    }
}

impl Glance {
    /// Works out what the texts of attributes tell of the classes that are open.
    fn look_at_texts(&mut self, judge: &Judge, page: &Page, tables: &TermTables) {
        let scope_at = |shape: u32, at: usize| {
            tables.shape(shape).ok().and_then(|entry| entry.attributes.get(at).map(|&(_, scope)| scope))
        };
        for class in &page.classes {
            judge.attributes(class.shape, &mut |at| {
                let scope = scope_at(class.shape, at);
                let column = page.attributes.iter().position(|attribute| Some(attribute.scope) == scope);
                if let Some(column) = column
                    && !self.columns.iter().any(|&(known, _)| known == column)
                {
                    self.columns.push((column, page.attributes[column].texts.len() + 1));
                }
            });
        }
        let product = |all: usize, &(_, codes): &(usize, usize)| all.checked_mul(codes);
        let codes = self.columns.iter().try_fold(1, product);
        let fits = |codes: &usize| codes.saturating_mul(page.classes.len()) <= TABLE_MAX;
        self.codes = match codes.filter(fits) {
            Some(codes) if !self.columns.is_empty() => codes,
            _ => {
                self.columns.clear();
                self.codes = 1;
                return;
            }
        };
        for (class, facts) in page.classes.iter().zip(&self.facts) {
            for code in 0..self.codes {
                let text = |at: usize| {
                    let scope = scope_at(class.shape, at)?;
                    let mut rest = code;
                    for &(column, codes) in &self.columns {
                        let own = rest % codes;
                        rest /= codes;
                        if page.attributes[column].scope == scope {
                            return page.attributes[column].texts.get(own.checked_sub(1)?).copied();
                        }
                    }
                    None
                };
                let seen = Seen { term: &text, ..Seen::severity(class.severity) };
                let open = facts & VERDICT == Known::Maybe as u8;
                let verdict = if open { Known::of(judge.glance(class.shape, &seen)) } else { told(facts & VERDICT) };
                self.by_texts.push(verdict as u8);
            }
        }
        for verdict in self.by_class.iter_mut().filter(|verdict| **verdict == Known::Maybe as u8) {
            *verdict = BY_TEXTS;
        }
    }

    /// The class of the event at `at`, and whether it satisfies.
    #[inline]
    pub(crate) fn at(&self, block: &Block<'_>, at: usize) -> (usize, Known) {
        let class = block.classes.get(at) as usize;
        let verdict = match self.by_class.get(class) {
            Some(&BY_TEXTS) => {
                let (mut code, mut step) = (0, 1);
                for &(column, codes) in &self.columns {
                    code += block.attributes[column].get(at) as usize * step;
                    step *= codes;
                }
                self.by_texts.get(class * self.codes + code).copied().unwrap_or(Known::Maybe as u8)
            }
            Some(&verdict) => verdict,
            // Damage that `check` tells of; here the event is read.
            None => Known::Maybe as u8,
        };
        (class, told(verdict))
    }

    /// Whether events satisfy by class, where that is known of every class and of none that satisfies
    /// events have several subjects.
    pub(crate) fn exact(&self) -> Option<[bool; 256]> {
        if !self.clear || self.by_class.len() > 256 {
            return None;
        }
        let mut holds = [false; 256];
        for (holds, &verdict) in holds.iter_mut().zip(&self.by_class) {
            *holds = told(verdict) == Known::Yes;
        }
        Some(holds)
    }

    /// Which classes have events that may satisfy; `None` when that leaves none out.
    pub(crate) fn may(&self) -> Option<[bool; 256]> {
        let no = |verdict: &u8| told(*verdict) == Known::No;
        if self.by_class.len() > 256 || !self.by_class.iter().any(no) {
            return None;
        }
        let mut may = [true; 256];
        for (may, verdict) in may.iter_mut().zip(&self.by_class) {
            *may = !no(verdict);
        }
        Some(may)
    }

    /// What is known of all events of a block, whose classes are given.
    pub(crate) fn judge(&self, block: &Block<'_>, classes: &[u16], known: &mut Vec<Known>) {
        known.clear();
        if self.all {
            known.resize(classes.len(), Known::Yes);
        } else if self.by_texts.is_empty() {
            // Of a class that is not there anything may be true: damage that `check` tells of.
            let of = |class: usize| self.by_class.get(class).map_or(Known::Maybe, |&verdict| told(verdict));
            if self.by_class.len() > 256 {
                known.extend(classes.iter().map(|&class| of(usize::from(class))));
            } else {
                let table: [Known; 256] = std::array::from_fn(of);
                known.extend(classes.iter().map(|&class| table[usize::from(class as u8)]));
            }
        } else {
            known.extend((0..classes.len()).map(|at| self.at(block, at).1));
        }
    }

    /// What is known of an event of this class under a home where some of the entities of a question are
    /// named, its entities looked at.
    pub(crate) fn among(
        judge: &Judge,
        (page, block, at): (&Page, &Block<'_>, usize),
        class: usize,
        under: &Under<'_>,
        tables: &TermTables,
    ) -> Known {
        let Some(of_class) = page.classes.get(class) else { return Known::Maybe };
        let Ok(entry) = tables.shape(of_class.shape) else { return Known::Maybe };
        let layout = entry.shape.layout;
        let term = |place: usize| {
            let scope = entry.attributes.get(place)?.1;
            let column = page.attributes.iter().position(|attribute| attribute.scope == scope)?;
            let code = block.attributes[column].get(at) as usize;
            page.attributes[column].texts.get(code.checked_sub(1)?).copied()
        };
        let names = |among: Among, wanted: &[u32]| {
            let places = among.places(&layout);
            // Of an event with more entities than columns, the rest is not told.
            let shown = places.start.min(ENTITY_COLUMNS)..places.end.min(ENTITY_COLUMNS);
            let names = under.names(wanted, shown.map(|place| block.entity(place, at)));
            names.filter(|names| *names || places.end <= ENTITY_COLUMNS)
        };
        let seen = Seen { severity: of_class.severity, term: &term, names: &names };
        Known::of(judge.glance(of_class.shape, &seen))
    }

    /// What is known of events that name `entity`, and of others. `None` when the predicate asks for more
    /// entities than that one, or for it in several places.
    pub(crate) fn by_name(&self, judge: &Judge, page: &Page, entity: u32, tables: &TermTables) -> Option<ByName> {
        let mut by_name = ByName::default();
        for (at, class) in page.classes.iter().enumerate() {
            let asked: Cell<Option<Among>> = Cell::new(None);
            let one_way = Cell::new(true);
            let verdict = |named: bool| {
                let names = |among: Among, wanted: &[u32]| {
                    let before = asked.replace(Some(among));
                    one_way.set(one_way.get() && wanted == [entity] && before.is_none_or(|before| before == among));
                    Some(named)
                };
                Known::of(judge.glance(class.shape, &Seen { names: &names, ..Seen::severity(class.severity) }))
            };
            by_name.verdicts.push((verdict(true), verdict(false)));
            if !one_way.get() {
                return None;
            }
            let places = match (asked.get(), tables.shape(class.shape)) {
                (None, _) => 0..0,
                (Some(among), Ok(entry)) => among.places(&entry.shape.layout),
                (Some(_), Err(_)) => return None,
            };
            let settled = matches!(self.by_class.get(at), Some(0 | 2));
            if places.end > ENTITY_COLUMNS && !settled {
                return None;
            }
            by_name.places.push(places);
        }
        Some(by_name)
    }

    pub(crate) fn is_lasting(&self, class: usize) -> bool {
        self.facts.get(class).is_none_or(|facts| facts & LASTING != 0)
    }

    pub(crate) fn has_several(&self, class: usize) -> bool {
        self.facts.get(class).is_none_or(|facts| facts & SEVERAL != 0)
    }
}

/// The blocks of a page that may have events inside a window, each with what the window cuts of it.
pub(crate) fn blocks(
    page: &Page,
    calendar: Calendar,
    window: Window,
    looks: Looks,
) -> impl Iterator<Item = Result<(&Head, Block<'_>, Edges)>> {
    heads(page, calendar, window, looks).map(|(head, edges)| Ok((head, page.block(head)?, edges)))
}

/// As [`blocks`], before their columns are looked at.
pub(crate) fn heads(
    page: &Page,
    calendar: Calendar,
    window: Window,
    looks: Looks,
) -> impl Iterator<Item = (&Head, Edges)> {
    let heads = page.heads();
    let (from, to) = (window.from.as_nanos(), window.to.as_nanos());
    // What began in an earlier block may still last.
    let begins = if page.is_lasting() && looks == Looks::Presence { i64::MIN } else { calendar.place(from).0 };
    let first = heads.partition_point(|head| head.number < begins);
    let last = calendar.place(to).0;
    let within = heads[first..].iter().take_while(move |head| head.number <= last);
    within.filter_map(move |head| Some((head, Edges::new(head, calendar, window, looks)?)))
}

/// What the events of each class of a page are if they name a certain entity, and if not.
#[derive(Default)]
pub(crate) struct ByName {
    verdicts: ByClass<(Known, Known)>,
    places: ByClass<Range<usize>>,
}

impl ByName {
    /// What is known of the event at `at` under a home where `code` stands for the entity; `None` when it
    /// may stand for others too.
    #[inline]
    pub(crate) fn of(&self, block: &Block<'_>, at: usize, class: usize, code: u8) -> Option<Known> {
        let (named, not) = *self.verdicts.get(class)?;
        if !self.places.get(class)?.clone().any(|place| block.entity(place, at) == code) {
            return Some(not);
        }
        (code != ENTITY_OTHER).then_some(named)
    }
}

/// A window held against the ticks of one block. Ticks from `sure_from` up to `sure_to` lie inside,
/// those below `from` or at and above `to` outside; in between, an event must be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edges {
    /// Ticks of a block.
    ticks: u32,
    start: i128,
    tick: i128,
    window_from: i128,
    from: u32,
    sure_from: u32,
    sure_to: u32,
    to: u32,
    /// Whether a lasting event that began before counts.
    presence: bool,
}

/// Ticks of one block, all of whose events lie inside a window, and some of whose may.
#[derive(Clone, Debug)]
pub(crate) struct Ticks {
    pub(crate) sure: Range<u32>,
    pub(crate) may: Range<u32>,
}

impl Edges {
    /// `None` when no event of the block can be inside.
    fn new(head: &Head, calendar: Calendar, window: Window, looks: Looks) -> Option<Edges> {
        let (length, tick) = (i128::from(calendar.block), i128::from(calendar.tick));
        let start = i128::from(head.number) * length;
        // The first and the last tick that there are reach beyond what 64 bits tell; an open window cuts neither.
        let from = if window.from == Timestamp::MIN { i128::MIN } else { i128::from(window.from.as_nanos()) };
        let to = if window.to == Timestamp::MAX { i128::MAX } else { i128::from(window.to.as_nanos()) };
        let presence = looks == Looks::Presence;
        let reaches = presence && head.until > 0 && start + i128::from(head.until) * tick > from;
        if from >= to || start >= to || start + length <= from && !reaches {
            return None;
        }
        let place = |at: i128, up: bool| {
            // Whole ticks need no division, and most blocks are not cut.
            if at <= start {
                return 0;
            } else if at >= start + length {
                return (calendar.block / calendar.tick) as u32;
            }
            let inside = (at - start) as i64;
            (inside / calendar.tick) as u32 + u32::from(up && inside % calendar.tick != 0)
        };
        Some(Edges {
            ticks: (calendar.block / calendar.tick) as u32,
            start,
            tick,
            window_from: from,
            from: place(from, false),
            sure_from: place(from, true),
            sure_to: place(to, false),
            to: place(to, true),
            presence,
        })
    }

    /// The ticks of the events inside, where ticks tell that of all events of the block.
    pub(crate) fn exact(&self, block: &Block<'_>) -> Option<Range<u32>> {
        let lasts = self.presence && block.has_lengths();
        (self.from == self.sure_from && self.to == self.sure_to && !lasts).then_some(self.from..self.to)
    }

    /// The ticks whose events lie inside, and those whose events may; `None` where lengths decide.
    pub(crate) fn ticks(&self, block: &Block<'_>) -> Option<Ticks> {
        let lasts = self.presence && block.has_lengths();
        (!lasts).then_some(Ticks { sure: self.sure_from..self.sure_to, may: self.from..self.to })
    }

    /// The ticks of which all events lie inside, if they do not last.
    pub(crate) fn sure(&self) -> Range<u32> {
        self.sure_from..self.sure_to
    }

    /// Whether every event of the block lies inside.
    pub(crate) fn whole(&self) -> bool {
        self.sure_from == 0 && self.sure_to == self.ticks
    }

    /// Finds the `places` of the events in ticks that the window cuts, or in one of `split`; returns false when
    /// that takes looking at each event.
    pub(crate) fn open(&self, block: &Block<'_>, split: &[u16], places: &mut Vec<u32>) -> bool {
        /// Ticks sought in one pass each.
        const FEW: usize = 4;
        places.clear();
        if self.presence && block.has_lengths() || split.len() > FEW {
            return self.whole() && split.is_empty();
        }
        let mut seek = |from: u32, to: u32| {
            let inside = |tick: u16| u32::from(tick).wrapping_sub(from) < to - from;
            // Most ticks have no event, which is soonest told of all events at once.
            if from < to && block.ticks().fold(false, |any, tick| any | inside(tick)) {
                places.extend((0..).zip(block.ticks()).filter(|&(_, tick)| inside(tick)).map(|(place, _)| place));
            }
        };
        seek(self.from, self.sure_from);
        seek(self.sure_to, self.to);
        split.iter().for_each(|&tick| seek(tick.into(), u32::from(tick) + 1));
        true
    }

    /// Lowers what is `known` of the events of the block to what the window lets through.
    pub(crate) fn cut(&self, block: &Block<'_>, glance: &Glance, classes: &[u16], known: &mut [Known]) {
        if self.presence && block.has_lengths() {
            for (at, (known, &class)) in known.iter_mut().zip(classes).enumerate() {
                *known = (*known).min(self.at(block.tick(at), glance.is_lasting(usize::from(class)), block, at));
            }
            return;
        }
        let (from, to) = (self.from, self.to);
        for (known, tick) in known.iter_mut().zip(block.ticks()) {
            let tick = u32::from(tick);
            *known = if tick >= from && tick < to { *known } else { Known::No };
        }
        if (from, to) != (self.sure_from, self.sure_to) {
            let (from, to) = (self.sure_from, self.sure_to);
            for (known, tick) in known.iter_mut().zip(block.ticks()) {
                let tick = u32::from(tick);
                *known = if tick >= from && tick < to { *known } else { (*known).min(Known::Maybe) };
            }
        }
    }

    #[inline]
    pub(crate) fn at(&self, tick: u16, lasting: bool, block: &Block<'_>, at: usize) -> Known {
        let tick = u32::from(tick);
        if tick >= self.to {
            return Known::No;
        }
        if tick >= self.sure_from {
            return if tick < self.sure_to { Known::Yes } else { Known::Maybe };
        }
        let began = if tick < self.from { Known::No } else { Known::Maybe };
        if !(lasting && self.presence) {
            return began;
        }
        // It began before the window or just about then: its end decides.
        let begin = self.start + i128::from(tick) * self.tick;
        let (least, most) = block.length(at);
        if begin + i128::from(least) * self.tick > self.window_from {
            if tick < self.sure_to { Known::Yes } else { Known::Maybe }
        } else if most < u64::MAX && begin + (i128::from(most) + 1) * self.tick <= self.window_from {
            began
        } else {
            Known::Maybe
        }
    }
}
