//! What the columns of a page tell of its events: do they satisfy, and are they inside a window.

use smallvec::SmallVec;

use crate::codec::calendar::Calendar;
use crate::codec::page::{Block, ENTITY_COLUMNS, ENTITY_NONE, ENTITY_OTHER, Page};
use crate::dictionary::TermTables;
use crate::model::Window;
use crate::query::cohort::judge::{Among, Judge, Seen};
use crate::query::cohort::needs::Looks;
use crate::query::cohort::plan::named::Named;

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

/// A class whose events must be told apart by their attributes.
const BY_TEXTS: u8 = 3;
/// Verdicts by class and texts that are worked out beforehand; beyond, events are read.
const TABLE_MAX: usize = 1 << 16;

/// The verdicts of one predicate over one page.
pub(crate) struct Glance {
    by_class: Vec<u8>,
    /// Whether events of the class have an end, whether they have several subjects.
    pub(crate) lasting: Vec<bool>,
    pub(crate) several: Vec<bool>,
    /// Columns that decide about some class, with the number of their codes.
    columns: SmallVec<[(usize, usize); 2]>,
    /// By class, then by the codes of those columns.
    by_texts: Vec<u8>,
    codes: usize,
    /// Whether no event satisfies, whether every one does.
    pub(crate) none: bool,
    pub(crate) all: bool,
    /// Whether of each event it is known, and none that satisfies has several subjects.
    pub(crate) clear: bool,
}

impl Glance {
    pub(crate) fn new(judge: &Judge, page: &Page<'_>, tables: &TermTables) -> Glance {
        let scope_at = |shape: u32, at: usize| {
            tables.shape(shape).ok().and_then(|entry| entry.attributes.get(at).map(|&(_, scope)| scope))
        };
        let mut columns: SmallVec<[(usize, usize); 2]> = SmallVec::new();
        for class in &page.classes {
            judge.attributes(class.shape, &mut |at| {
                let scope = scope_at(class.shape, at);
                let column = page.attributes.iter().position(|attribute| Some(attribute.scope) == scope);
                if let Some(column) = column
                    && !columns.iter().any(|&(known, _)| known == column)
                {
                    columns.push((column, page.attributes[column].texts.len() + 1));
                }
            });
        }
        let mut codes: usize = columns.iter().map(|&(_, codes)| codes).product();
        if codes.saturating_mul(page.classes.len()) > TABLE_MAX {
            columns.clear();
            codes = 1;
        }
        let mut glance = Glance {
            by_class: Vec::with_capacity(page.classes.len()),
            lasting: Vec::with_capacity(page.classes.len()),
            several: Vec::with_capacity(page.classes.len()),
            by_texts: Vec::new(),
            columns,
            codes,
            none: true,
            all: true,
            clear: true,
        };
        for class in &page.classes {
            let layout = tables.shape(class.shape).map(|entry| entry.shape.layout).ok();
            // Of a class that is not known anything may be true.
            glance.lasting.push(layout.is_none_or(|layout| layout.has_end));
            glance.several.push(layout.is_none_or(|layout| layout.subjects > 1));
            let verdict = Known::of(judge.glance(class.shape, &Seen::severity(class.severity))) as u8;
            let by_texts = verdict == Known::Maybe as u8 && !glance.columns.is_empty();
            glance.by_class.push(if by_texts { BY_TEXTS } else { verdict });
            glance.none &= verdict == Known::No as u8;
            glance.all &= verdict == Known::Yes as u8;
            let several = glance.several.last() == Some(&true);
            glance.clear &= verdict == Known::No as u8 || verdict == Known::Yes as u8 && !several;
        }
        if glance.by_class.contains(&BY_TEXTS) {
            for class in &page.classes {
                for code in 0..glance.codes {
                    let text = |at: usize| {
                        let scope = scope_at(class.shape, at)?;
                        let mut rest = code;
                        for &(column, codes) in &glance.columns {
                            let own = rest % codes;
                            rest /= codes;
                            if page.attributes[column].scope == scope {
                                return page.attributes[column].texts.get(own.checked_sub(1)?).copied();
                            }
                        }
                        None
                    };
                    let seen = Seen { term: &text, ..Seen::severity(class.severity) };
                    glance.by_texts.push(Known::of(judge.glance(class.shape, &seen)) as u8);
                }
            }
        }
        glance
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
        let known = match verdict {
            0 => Known::No,
            2 => Known::Yes,
            _ => Known::Maybe,
        };
        (class, known)
    }

    /// As [`Glance::at`] for an event under a home where some of the entities of a question are named:
    /// its entities tell more.
    pub(crate) fn among(
        &self,
        judge: &Judge,
        (page, block, at, home): (&Page<'_>, &Block<'_>, usize, u16),
        named: &Named,
        tables: &TermTables,
    ) -> (usize, Known) {
        let (class, known) = self.at(block, at);
        let Some(of_class) = page.classes.get(class).filter(|_| known == Known::Maybe) else { return (class, known) };
        let Ok(entry) = tables.shape(of_class.shape) else { return (class, known) };
        let layout = entry.shape.layout;
        let subjects = usize::from(layout.subjects);
        let entities = subjects + usize::from(layout.context);
        let term = |place: usize| {
            let scope = entry.attributes.get(place)?.1;
            let column = page.attributes.iter().position(|attribute| attribute.scope == scope)?;
            let code = block.attributes[column].get(at) as usize;
            page.attributes[column].texts.get(code.checked_sub(1)?).copied()
        };
        let names = |among: Among, wanted: &[u32]| {
            let places = match among {
                Among::Subjects => 0..subjects,
                Among::Context => subjects..entities,
                Among::Both => 0..entities,
            };
            let mut told = true;
            for place in places {
                if place >= ENTITY_COLUMNS {
                    told = false;
                    break;
                }
                match block.entity(place, at) {
                    ENTITY_NONE => {}
                    ENTITY_OTHER => told = false,
                    code if named.is_one(home, code, wanted) => return Some(true),
                    _ => {}
                }
            }
            told.then_some(false)
        };
        let seen = Seen { severity: of_class.severity, term: &term, names: &names };
        (class, Known::of(judge.glance(of_class.shape, &seen)))
    }

    /// What the class alone tells, where it does.
    pub(crate) fn of_class(&self, class: usize) -> Option<bool> {
        match self.by_class.get(class) {
            Some(0) => Some(false),
            Some(2) => Some(true),
            _ => None,
        }
    }

    pub(crate) fn is_lasting(&self, class: usize) -> bool {
        self.lasting.get(class).copied().unwrap_or(true)
    }

    pub(crate) fn has_several(&self, class: usize) -> bool {
        self.several.get(class).copied().unwrap_or(true)
    }
}

/// A window held against the ticks of one block. Ticks from `sure_from` up to `sure_to` lie inside,
/// those below `from` or at and above `to` outside; in between, an event must be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edges {
    calendar: Calendar,
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

impl Edges {
    /// `None` when no event of the block can be inside.
    pub(crate) fn new(block: &Block<'_>, calendar: Calendar, window: Window, looks: Looks) -> Option<Edges> {
        let (length, tick) = (i128::from(calendar.block), i128::from(calendar.tick));
        let start = i128::from(block.number) * length;
        let (from, to) = (i128::from(window.from.as_nanos()), i128::from(window.to.as_nanos()));
        let presence = looks == Looks::Presence;
        let reaches = presence && block.until > 0 && start + i128::from(block.until) * tick > from;
        if from >= to || start >= to || start + length <= from && !reaches {
            return None;
        }
        let place = |at: i128, up: bool| {
            let inside = (at - start).clamp(0, length);
            let ticks = if up { (inside + tick - 1) / tick } else { inside / tick };
            ticks as u32
        };
        Some(Edges {
            calendar,
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

    pub(crate) fn calendar(&self) -> Calendar {
        self.calendar
    }

    /// Whether every event of the block that is no lasting one lies inside, and lasting ones too.
    pub(crate) fn whole(&self, calendar: Calendar) -> bool {
        self.sure_from == 0 && i128::from(self.sure_to) * self.tick == i128::from(calendar.block)
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
