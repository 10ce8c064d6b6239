//! Events and customers by span of time, counted in pages.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use roaring::RoaringBitmap;

use crate::codec::calendar::Calendar;
use crate::codec::homes::HOME_WORDS;
use crate::codec::page::Block;
use crate::codec::raw::{FIRST_OTHER, RawEvent};
use crate::error::Result;
use crate::index::slab_of;
use crate::query::cohort::bucket::Buckets;
use crate::query::cohort::effort::{Budget, Gauge};
use crate::query::cohort::person::Person;
use crate::query::cohort::plan::Planner;
use crate::query::cohort::plan::did::Asked;
use crate::query::cohort::plan::glance::{Edges, Glance, Glances, Known, blocks};
use crate::query::cohort::plan::sieve::Sieve;
use crate::query::cohort::plan::survey::{Cut, Survey};
use crate::query::cohort::question::Sequence;
use crate::query::cohort::tally::{Count, Counted};
use crate::query::cohort::walk::distinct;
use crate::query::item::lasts;
use crate::segment::{NOWHERE, Segment};

type Counts = HashMap<i64, Count, FixedState>;
type Extra = HashMap<i64, RoaringBitmap, FixedState>;

/// Homes that are read one by one, at most; beyond, every stream is.
const READ_MAX: u64 = 1 << 16;

/// Buckets of one block of time, about, at most.
const PARTS_MAX: i64 = 1 << 11;

/// What was found by reading: events, and customers beside those whom pages tell of.
#[derive(Default)]
struct Read {
    events: HashMap<i64, u64, FixedState>,
    several: Vec<RawEvent>,
    extra: Extra,
}

/// A set of homes of one slab.
type Homes = Box<[u64; HOME_WORDS]>;

/// Sets of homes of one slab by bucket.
type Sets = HashMap<i64, Homes, FixedState>;

impl Planner<'_> {
    /// Counts by bucket; `None` when too much would have to be read.
    pub(super) fn over_time(
        &mut self,
        asked: Asked<'_>,
        sequence: &Sequence,
        (buckets, counted): (&Buckets, Counted),
        budget: &Budget,
    ) -> Result<Option<Counts>> {
        if asked.window.interval().is_empty() {
            return Ok(Some(Counts::default()));
        }
        for segment in self.snapshot.view.segments.iter() {
            let block = Calendar::of_level(segment.meta.span.level)?.block;
            if block / buckets.length() > PARTS_MAX {
                return Ok(None);
            }
        }
        let both = counted == Counted::Both;
        let Survey { unclear, several, others } = &self.survey(asked, Some(buckets), counted)?;
        // Links only tell whose an event is.
        let doubted = if both { self.doubted.clone() } else { Arc::default() };
        if unclear.len() + several.len() + others.len() + doubted.len() > READ_MAX {
            return Ok(None);
        }
        let singly = unclear | several;
        self.explain.plan(format!(
            "count in pages; read {} homes and {} streams of which they tell too little",
            singly.len() + others.len(),
            doubted.len()
        ));
        let mut read = Read::default();
        let mut buckets = buckets.clone();
        let mut others = others.clone();
        self.visit_memory(asked, &mut |home, event| {
            let bucket = buckets.of(event.time).0;
            if home < FIRST_OTHER || !both {
                if both && !doubted.contains(home) {
                    read.extra.entry(bucket).or_default().insert(home);
                }
                read.count(event, bucket);
            } else {
                // Read with the sealed ones of its home.
                others.insert(home);
            }
            Ok(())
        })?;
        for home in &singly {
            self.effort.go_on()?;
            let in_unclear = unclear.contains(home);
            for event in self.sealed_events_of(home, asked)? {
                let bucket = buckets.of(event.time).0;
                if in_unclear || event.subjects.len() > 1 {
                    read.count(&event, bucket);
                }
                if in_unclear && both && !doubted.contains(home) {
                    read.extra.entry(bucket).or_default().insert(home);
                }
            }
        }
        for other in &others {
            self.effort.go_on()?;
            let events = self.events_of(other, asked)?;
            let dependents = if other == NOWHERE { None } else { Some(self.dependents(other)?) };
            for event in &events {
                let bucket = buckets.of(event.time).0;
                read.count(event, bucket);
                let felt =
                    dependents.iter().flat_map(|all| all.iter()).filter(|(_, when)| when.overlaps(&lasts(event)));
                read.extra.entry(bucket).or_default().extend(felt.map(|(customer, _)| *customer));
            }
        }
        let mut person = Person::new(self.snapshot, self.question, budget);
        for customer in doubted.iter().filter(|customer| self.all.contains(*customer)) {
            self.effort.go_on()?;
            person.meet(customer);
            person.mark(sequence)?;
            for &at in person.marked() {
                let bucket = buckets.of(person.events()[at].time).0;
                read.extra.entry(bucket).or_default().insert(customer);
            }
        }
        self.explain.count(&person.actuals());
        for event in distinct(&read.several) {
            *read.events.entry(buckets.of(event.time).0).or_default() += 1;
        }
        read.extra.values_mut().for_each(|customers| *customers &= &self.all);
        let left_out = (unclear, &*doubted);
        let mut counts = self.count_pages(asked, (&buckets, counted), left_out, &read.extra, budget)?;
        for (bucket, events) in read.events {
            counts.entry(bucket).or_default().events += events;
        }
        if !both {
            counts.values_mut().for_each(|count| count.customers = 0);
        }
        counts.retain(|_, count| count.events > 0 || count.customers > 0);
        Ok(Some(counts))
    }

    /// The events under a home in segments that are what is asked for.
    pub(super) fn sealed_events_of(&self, home: u32, asked: Asked<'_>) -> Result<Vec<RawEvent>> {
        self.events_under(home, asked, false)
    }

    /// Counts what pages tell, leaving out the events under `unclear` homes and the `doubted` as customers;
    /// `extra` are customers that count besides, each once a bucket.
    fn count_pages(
        &self,
        asked: Asked<'_>,
        (buckets, counted): (&Buckets, Counted),
        (unclear, doubted): (&RoaringBitmap, &RoaringBitmap),
        extra: &Extra,
        budget: &Budget,
    ) -> Result<Counts> {
        let kinds = self.kinds_of(asked.judge);
        // Customers are those of their own events; others were met when the events they felt were read.
        let told = |slab: u16| counted == Counted::Events || u32::from(slab) << 16 < FIRST_OTHER;
        let mut slabs: Vec<u16> = self.slabs.iter().copied().filter(|&slab| told(slab)).collect();
        slabs.extend(extra.values().flat_map(|customers| customers.iter().map(slab_of)));
        slabs.sort_unstable();
        slabs.dedup();
        let shared = self.shared_blocks(buckets)?;
        let told_alone =
            |block: i64| kinds.len() == 1 && shared.as_ref().is_some_and(|shared| !shared.contains(&block));
        let parts = self.effort_for(asked).share(
            slabs.len(),
            || (Glances::new(asked.judge), Counting::new(buckets, counted, budget.gauge())),
            |(glances, counting), task| {
                let slab = slabs[task];
                let first = u32::from(slab) << 16;
                let left_out = LeftOut { unclear: bits(unclear, first), doubted: bits(doubted, first) };
                for (&bucket, customers) in extra {
                    if let Some(customers) = bits(customers, first) {
                        counting.gauge.add(size_of_val(&*customers))?;
                        counting.sets.insert(bucket, customers);
                    }
                }
                for segment in self.segments_with(slab, &asked.window) {
                    let index = self.index(segment)?;
                    index.pages(slab, &kinds, &mut |page| {
                        self.effort.go_on()?;
                        let glance = glances.of(page, &self.snapshot.lookup.terms.read());
                        let Some(glance) = glance else { return Ok(()) };
                        let mut events = 0;
                        for found in blocks(page, index.calendar, asked.window, asked.looks) {
                            let (head, block, edges) = found?;
                            events += block.len();
                            let alone = told_alone(head.number);
                            let place = (index.calendar, head.number, alone);
                            counting.block(place, (&block, &glance, &edges), &left_out)?;
                        }
                        self.looked.page(page, events);
                        Ok(())
                    })?;
                }
                counting.close_sets()
            },
            |(_, counting)| counting.into_counts(),
        )?;
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap_or_default();
        for (bucket, count) in parts.flatten() {
            add(&mut all, bucket, count);
        }
        Ok(all)
    }

    /// The blocks that more than one segment may have events of; `None` when a bucket may take in several
    /// blocks, so that no block alone tells its customers.
    fn shared_blocks(&self, buckets: &Buckets) -> Result<Option<HashSet<i64, FixedState>>> {
        let segments = &self.snapshot.view.segments;
        let Some(first) = segments.first() else { return Ok(None) };
        let calendar = Calendar::of_level(first.meta.span.level)?;
        let one_level = segments.iter().all(|segment| segment.meta.span.level == first.meta.span.level);
        if !one_level || !buckets.divides(calendar.block) {
            return Ok(None);
        }
        let mut shared = HashSet::default();
        let blocks = |segment: &Segment| {
            let place = |time: i64| calendar.place(time).0;
            place(segment.meta.first)..=place(segment.meta.until.saturating_sub(1))
        };
        for (at, segment) in segments.iter().enumerate() {
            for other in &segments[at + 1..] {
                let (a, b) = (blocks(segment), blocks(other));
                let both = *a.start().max(b.start())..=*a.end().min(b.end());
                if both.end().saturating_sub(*both.start()) > PARTS_MAX {
                    return Ok(None);
                }
                shared.extend(both);
            }
        }
        Ok(Some(shared))
    }
}

fn add(counts: &mut Counts, bucket: i64, count: Count) {
    let known = counts.entry(bucket).or_default();
    known.events += count.events;
    known.customers += count.customers;
}

/// The numbers from `first` up to the end of its slab, as bits; `None` when there are none.
fn bits(set: &RoaringBitmap, first: u32) -> Option<Homes> {
    let mut range = set.range(first..=first | 0xffff).peekable();
    range.peek()?;
    let mut bits = Box::new([0u64; HOME_WORDS]);
    range.for_each(|home| bits[(home as usize & 0xffff) / 64] |= 1 << (home % 64));
    Some(bits)
}

fn has(bits: Option<&Homes>, home: u16) -> bool {
    bits.is_some_and(|bits| bits[usize::from(home) / 64] >> (home % 64) & 1 != 0)
}

/// Homes of one slab that are counted elsewhere: with their events, or as customers only.
struct LeftOut {
    unclear: Option<Homes>,
    doubted: Option<Homes>,
}

/// What one thread counts.
struct Counting<'a> {
    buckets: Buckets,
    counted: Counted,
    sieve: Sieve,
    /// How each block is cut, and the counts of its parts: by length of blocks and number.
    cuts: HashMap<(i64, i64), (Cut, Vec<Count>), FixedState>,
    /// Customers of the slab by bucket, where a bucket is not told by one block alone.
    sets: Sets,
    counts: Counts,
    /// Of the block at hand: the last home counted in each part, and the set of each part.
    last: Vec<u32>,
    of_part: Vec<Option<Homes>>,
    /// The memory of the sets.
    gauge: Gauge<'a>,
}

impl<'a> Counting<'a> {
    fn new(buckets: &Buckets, counted: Counted, gauge: Gauge<'a>) -> Counting<'a> {
        Counting {
            buckets: buckets.clone(),
            counted,
            sieve: Sieve::default(),
            cuts: HashMap::default(),
            sets: Sets::default(),
            counts: Counts::default(),
            last: Vec::new(),
            of_part: Vec::new(),
            gauge,
        }
    }

    /// Counts one block. It is `alone` when no other has events of its buckets in this slab.
    fn block(
        &mut self,
        (calendar, number, alone): (Calendar, i64, bool),
        (block, glance, edges): (&Block<'_>, &Glance, &Edges),
        left_out: &LeftOut,
    ) -> Result<()> {
        let (cut, counts) = self.cuts.entry((calendar.block, number)).or_insert_with(|| {
            let cut = Cut::new(number, calendar, Some(&mut self.buckets));
            let counts = vec![Count::default(); cut.parts.len()];
            (cut, counts)
        });
        let told = left_out.unclear.is_none() && left_out.doubted.is_none();
        let all = told && edges.whole() && glance.all && glance.clear;
        if self.counted == Counted::Events && told {
            if let ([count], true) = (&mut counts[..], all) {
                count.events += block.len() as u64;
                return Ok(());
            }
            let most = counts.len() - 1;
            let told = match &mut counts[..] {
                [count] => self.sieve.certain_events(block, glance, edges, |_, is| count.events += u64::from(is)),
                counts => self.sieve.certain_events(block, glance, edges, |tick, is| {
                    counts[cut.part(tick).min(most)].events += u64::from(is);
                }),
            };
            if told {
                return Ok(());
            }
        }
        let sets = &mut self.sets;
        self.of_part.clear();
        if self.counted == Counted::Both && (!alone || !sets.is_empty()) {
            let empty = || if alone { None } else { Some(Box::new([0; HOME_WORDS])) };
            if !alone {
                let new = cut.parts.iter().filter(|part| !sets.contains_key(&part.1)).count();
                self.gauge.add(new * HOME_WORDS * size_of::<u64>())?;
            }
            self.of_part.extend(cut.parts.iter().map(|part| sets.remove(&part.1).or_else(empty)));
        }
        let no_sets = self.of_part.iter().all(Option::is_none);
        if let ([count], true) = (&mut counts[..], all) {
            count.events += block.len() as u64;
            match self.of_part.first_mut() {
                Some(Some(set)) => block.add_homes(set)?,
                _ => count.customers += block.count_homes(),
            }
        } else {
            self.last.clear();
            self.last.resize(counts.len(), u32::MAX);
            let (most, last, of_part) = (counts.len() - 1, &mut self.last, &mut self.of_part);
            let exact = told
                && match (&mut counts[..], &mut of_part[..]) {
                    ([count], [Some(set)]) => self.sieve.certain(block, glance, edges, |home, _, is| {
                        count.events += u64::from(is);
                        set[usize::from(home) / 64] |= u64::from(is) << (home % 64);
                    })?,
                    (counts, _) if no_sets => self.sieve.certain(block, glance, edges, |home, tick, is| {
                        let part = cut.part(tick).min(most);
                        let home = u32::from(home);
                        counts[part].events += u64::from(is);
                        counts[part].customers += u64::from(is & (last[part] != home));
                        last[part] = if is { home } else { last[part] };
                    })?,
                    _ => false,
                };
            if !exact {
                for ((home, class, known), tick) in self.sieve.events(block, glance, edges)?.zip(block.ticks()) {
                    if known != Known::Yes || has(left_out.unclear.as_ref(), home) {
                        continue;
                    }
                    let part = cut.part(tick).min(most);
                    counts[part].events += u64::from(!glance.has_several(class));
                    if has(left_out.doubted.as_ref(), home) {
                        continue;
                    }
                    match of_part.get_mut(part) {
                        Some(Some(set)) => set[usize::from(home) / 64] |= 1 << (home % 64),
                        _ => {
                            counts[part].customers += u64::from(last[part] != u32::from(home));
                            last[part] = u32::from(home);
                        }
                    }
                }
            }
        }
        for (part, set) in cut.parts.iter().zip(&mut self.of_part) {
            if let Some(set) = set.take() {
                sets.insert(part.1, set);
            }
        }
        Ok(())
    }

    /// Counts the customers in the sets of a slab.
    fn close_sets(&mut self) -> Result<()> {
        for (bucket, set) in self.sets.drain() {
            // Most sets of a short bucket are nearly empty.
            let some = set.chunks_exact(8).filter(|eight| eight.iter().fold(0, |any, word| any | word) != 0);
            let customers = some.flatten().map(|word| u64::from(word.count_ones())).sum();
            add(&mut self.counts, bucket, Count { events: 0, customers });
        }
        self.gauge.set(0)
    }

    fn into_counts(mut self) -> Counts {
        self.counts.reserve(self.cuts.values().map(|(_, counts)| counts.len()).sum());
        for (cut, counts) in self.cuts.into_values() {
            for (part, count) in cut.parts.iter().zip(counts) {
                add(&mut self.counts, part.1, count);
            }
        }
        self.counts
    }
}

impl Read {
    /// Counts an event, or keeps it to be counted once among its copies.
    fn count(&mut self, event: &RawEvent, bucket: i64) {
        if event.subjects.len() > 1 {
            self.several.push(event.clone());
        } else {
            *self.events.entry(bucket).or_default() += 1;
        }
    }
}
