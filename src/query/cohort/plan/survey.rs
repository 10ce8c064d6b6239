//! Which homes a count over pages cannot tell of: found before counting, so that each event counts once.

use roaring::RoaringBitmap;

use crate::codec::calendar::Calendar;
use crate::codec::homes::HOME_WORDS;
use crate::codec::page::Block;
use crate::codec::raw::FIRST_OTHER;
use crate::dictionary::ShapeEntry;
use crate::error::Result;
use crate::index::CLASSES_MAX;
use crate::query::cohort::bucket::Buckets;
use crate::query::cohort::judge::SEVERITIES;
use crate::query::cohort::plan::Planner;
use crate::query::cohort::plan::did::Asked;
use crate::query::cohort::plan::glance::{Glance, Glances, Known, heads};
use crate::query::cohort::plan::sieve::Sieve;
use crate::query::cohort::plan::slab;
use crate::query::cohort::tally::Counted;

/// What counting by pages has to leave to reading.
#[derive(Default)]
pub(super) struct Survey {
    /// Customers of some of whose own events the pages do not tell enough; if only events are counted, all
    /// homes like that.
    pub(super) unclear: RoaringBitmap,
    /// Customers, or homes, with events of several subjects, which lie under several homes.
    pub(super) several: RoaringBitmap,
    /// Homes that are no customers and may have such events, [`crate::segment::NOWHERE`] included.
    pub(super) others: RoaringBitmap,
}

/// How the ticks of one block fall into buckets.
pub(super) struct Cut {
    /// The first tick of each bucket, ascending from 0, and the instant at which the bucket begins.
    pub(super) parts: Vec<(u32, i64)>,
    /// Ticks that a bucket's end cuts in two.
    pub(super) split: Vec<u16>,
    /// If all but the first and last have one length: ticks before the first end, and how to divide.
    even: Option<(u32, u64)>,
}

impl Cut {
    /// `None` cuts nothing: everything is one bucket that begins at 0.
    pub(super) fn new(block: i64, calendar: Calendar, buckets: Option<&mut Buckets>) -> Cut {
        let Some(buckets) = buckets else { return Cut { parts: vec![(0, 0)], split: Vec::new(), even: None } };
        let start = i128::from(block) * i128::from(calendar.block);
        let end = start + i128::from(calendar.block);
        let clamp = |time: i128| time.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
        let (mut parts, mut split) = (Vec::new(), Vec::new());
        let mut at = clamp(start);
        loop {
            let (from, to) = buckets.of(at);
            let inside = (i128::from(at) - start).max(0);
            let tick = i128::from(calendar.tick);
            if inside % tick != 0 {
                split.push((inside / tick) as u16);
            }
            parts.push((((inside + tick - 1) / tick) as u32, from));
            // The last bucket of all has no end.
            if i128::from(to) >= end || to <= at || to == i64::MAX {
                break;
            }
            at = to;
        }
        let even = even(&parts);
        Cut { parts, split, even }
    }

    /// The place in `parts` of a tick that is not split.
    #[inline]
    pub(super) fn part(&self, tick: u16) -> usize {
        if self.parts.len() == 1 {
            return 0;
        }
        if let Some((first, magic)) = self.even {
            let Some(beyond) = u32::from(tick).checked_sub(first) else { return 0 };
            return 1 + ((u64::from(beyond) * magic) >> 32) as usize;
        }
        // The first block of time begins before time does, and in its first tick the first part begins behind it.
        self.parts.partition_point(|part| part.0 <= u32::from(tick)).saturating_sub(1)
    }
}

/// Ticks of the first part, and the factor by which to divide by the length of the others.
fn even(parts: &[(u32, i64)]) -> Option<(u32, u64)> {
    let length = parts.get(2)?.0 - parts[1].0;
    let equal = length > 0 && parts[1..].windows(2).all(|pair| pair[1].0 - pair[0].0 == length);
    // Exact for ticks below 2^16: the error of the factor is below 2^-16 a tick.
    equal.then(|| (parts[1].0, (1u64 << 32) / u64::from(length) + 1))
}

/// Homes of one slab, as bits.
struct Bits {
    unclear: Box<[u64; HOME_WORDS]>,
    several: Box<[u64; HOME_WORDS]>,
}

impl Planner<'_> {
    /// Looks for what pages cannot tell about the events asked for, cut by `buckets`.
    pub(super) fn survey(&self, asked: Asked<'_>, buckets: Option<&Buckets>, counted: Counted) -> Result<Survey> {
        let (kinds, told) = (self.kinds_of(asked.judge), self.is_told_by_class(asked));
        let is_plain = told && self.is_aligned(asked, buckets)?;
        let words = || Box::new([0; HOME_WORDS]);
        // Where it does not matter whose an event is, all homes are as those of customers.
        let plain = |slab: u16| counted == Counted::Events || u32::from(slab) << 16 < FIRST_OTHER;
        // Where pages tell everything of events, there is nothing to look for in them.
        let looked = |slab: &u16| !(is_plain && plain(*slab));
        let slabs: Vec<u16> = self.slabs.iter().copied().filter(looked).collect();
        let parts = self.effort_for(asked).share(
            slabs.len(),
            || {
                let bits = Bits { unclear: words(), several: words() };
                let eyes = (Glances::new(asked.judge), Sieve::default(), Vec::new());
                (bits, eyes, buckets.cloned(), Survey::default())
            },
            |(bits, (glances, sieve, places), buckets, survey), task| {
                let slab = slabs[task];
                let (first, plain) = (u32::from(slab) << 16, plain(slab));
                bits.unclear.fill(0);
                bits.several.fill(0);
                for segment in self.segments_with(slab, &asked.window) {
                    let index = self.index(segment)?;
                    index.pages(slab, &kinds, &mut |page| {
                        self.effort.go_on()?;
                        let of = |glances: &mut Glances<'_>| glances.of(page, &self.snapshot.lookup.terms.read());
                        // Where ticks alone can leave anything open, classes are looked at when they do.
                        let by_ticks = plain && told;
                        let mut known = if by_ticks { None } else { of(glances) };
                        if !by_ticks && known.is_none() {
                            return Ok(());
                        }
                        let mut events = 0;
                        for (head, edges) in heads(page, index.calendar, asked.window, asked.looks) {
                            if by_ticks && edges.whole() && buckets.is_none() {
                                continue;
                            }
                            let cut = Cut::new(head.number, index.calendar, buckets.as_mut());
                            let block = page.block(head)?;
                            events += block.len();
                            let mut by_place = by_ticks && edges.open(&block, &cut.split, places);
                            if by_place && places.is_empty() {
                                continue;
                            }
                            known = known.or_else(|| of(glances));
                            let Some(glance) = &known else { return Ok(()) };
                            by_place |= plain && glance.clear && edges.open(&block, &cut.split, places);
                            if by_place {
                                let homes = if places.is_empty() { &[] } else { sieve.homes(&block)? };
                                for place in places.iter().map(|&place| place as usize) {
                                    let (home, (_, known)) = (usize::from(homes[place]), glance.at(&block, place));
                                    bits.unclear[home / 64] |= u64::from(known != Known::No) << (home % 64);
                                }
                                continue;
                            }
                            look((&block, &cut), sieve.events(&block, glance, &edges)?, glance, plain, bits);
                        }
                        self.looked.page(page, events);
                        Ok(())
                    })?;
                }
                let (unclear, several) = (slab::set(first, &bits.unclear), slab::set(first, &bits.several));
                if plain {
                    survey.unclear |= unclear;
                    survey.several |= several;
                } else {
                    survey.others |= unclear;
                }
                Ok(())
            },
            |(_, _, _, survey)| survey,
        )?;
        Ok(parts.into_iter().fold(Survey::default(), |mut all, part| {
            all.unclear |= part.unclear;
            all.several |= part.several;
            all.others |= part.others;
            all
        }))
    }
}

impl Planner<'_> {
    /// Whether no tick is cut, neither by the window nor by buckets.
    fn is_aligned(&self, asked: Asked<'_>, buckets: Option<&Buckets>) -> Result<bool> {
        for segment in self.snapshot.view.segments.iter() {
            let calendar = Calendar::of_level(segment.meta.span.level)?;
            let aligned = |time: i64, end: i64| time == end || time % calendar.tick == 0;
            let (from, to) = (asked.window.from.as_nanos(), asked.window.to.as_nanos());
            let cuts = buckets.is_none_or(|buckets| buckets.is_multiple_of(calendar.tick));
            if !(aligned(from, i64::MIN) && aligned(to, i64::MAX) && cuts) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether classes tell of each event whether it satisfies, and none that may has several subjects.
    fn is_told_by_class(&self, asked: Asked<'_>) -> bool {
        let kinds = self.kinds_of(asked.judge);
        let tables = self.snapshot.lookup.terms.read();
        let told = |(entry, shape): (&ShapeEntry, u32)| {
            asked.judge.severities(shape) == 0
                || entry.shape.layout.subjects <= 1 && asked.judge.is_told_by_class(shape)
        };
        // A page with more classes than it can tell leaves some open.
        let most = tables.shapes().iter().filter(|entry| kinds.binary_search(&entry.shape.kind).is_ok()).count();
        most * SEVERITIES as usize <= CLASSES_MAX && tables.shapes().iter().zip(0u32..).all(told)
    }
}

/// Marks the homes of one block of which something must be read: all of them unless they are `plain`.
fn look(
    (block, cut): (&Block<'_>, &Cut),
    events: impl Iterator<Item = (u16, usize, Known)>,
    glance: &Glance,
    plain: bool,
    bits: &mut Bits,
) {
    for (at, (home, class, known)) in events.enumerate().filter(|(_, (_, _, known))| *known != Known::No) {
        let (word, bit) = (usize::from(home) / 64, 1u64 << (home % 64));
        if !plain || known == Known::Maybe || cut.split.contains(&block.tick(at)) {
            bits.unclear[word] |= bit;
        }
        if glance.has_several(class) {
            bits.several[word] |= bit;
        }
    }
}
