//! Events and customers by span of time, counted in pages.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use roaring::RoaringBitmap;

use crate::codec::calendar::Calendar;
use crate::codec::page::HOME_WORDS;
use crate::codec::raw::{FIRST_OTHER, RawEvent};
use crate::error::Result;
use crate::index::{Index, slab_of};
use crate::query::cohort::bucket::Buckets;
use crate::query::cohort::effort::Budget;
use crate::query::cohort::person::Person;
use crate::query::cohort::plan::Planner;
use crate::query::cohort::plan::did::Asked;
use crate::query::cohort::plan::glance::{Edges, Glance, Known};
use crate::query::cohort::plan::survey::{Cut, Survey};
use crate::query::cohort::question::Sequence;
use crate::query::cohort::tally::Count;
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

/// Sets of homes of one slab by bucket.
type Sets = HashMap<i64, Box<[u64; HOME_WORDS]>, FixedState>;

impl Planner<'_> {
    /// Counts by bucket; `None` when too much would have to be read.
    pub(super) fn over_time(
        &mut self,
        asked: Asked<'_>,
        sequence: &Sequence,
        buckets: &Buckets,
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
        let survey = self.survey(asked, Some(buckets))?;
        let Survey { unclear, several, others } = &survey;
        if unclear.len() + several.len() + others.len() + self.doubted.len() > READ_MAX {
            return Ok(None);
        }
        let singly = unclear | several;
        self.explain.plan(format!(
            "count in pages; read {} homes and {} streams of which they tell too little",
            singly.len() + others.len(),
            self.doubted.len()
        ));
        let mut read = Read::default();
        let mut buckets = buckets.clone();
        let mut others = others.clone();
        self.visit_memory(asked, &mut |home, event| {
            let bucket = buckets.of(event.time).0;
            if home < FIRST_OTHER {
                if !self.doubted.contains(home) {
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
            let in_unclear = unclear.contains(home);
            for event in self.sealed_events_of(home, asked)? {
                let bucket = buckets.of(event.time).0;
                if in_unclear || event.subjects.len() > 1 {
                    read.count(&event, bucket);
                }
                if in_unclear && !self.doubted.contains(home) {
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
        for customer in self.doubted.iter().filter(|customer| self.all.contains(*customer)) {
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
        let mut counts = self.count_pages(asked, &buckets, unclear, &read.extra)?;
        for (bucket, events) in read.events {
            counts.entry(bucket).or_default().events += events;
        }
        counts.retain(|_, count| count.events > 0 || count.customers > 0);
        Ok(Some(counts))
    }

    /// The events under a home in segments that are what is asked for.
    pub(super) fn sealed_events_of(&self, home: u32, asked: Asked<'_>) -> Result<Vec<RawEvent>> {
        self.events_under(home, asked, false)
    }

    /// Counts what pages tell, leaving out the events under `unclear` homes; `extra` are customers that
    /// count besides, each once a bucket.
    fn count_pages(
        &self,
        asked: Asked<'_>,
        buckets: &Buckets,
        unclear: &RoaringBitmap,
        extra: &Extra,
    ) -> Result<Counts> {
        let kinds = self.kinds_of(asked.judge);
        let mut slabs: Vec<u16> =
            self.slabs.iter().copied().filter(|&slab| u32::from(slab) << 16 < FIRST_OTHER).collect();
        slabs.extend(extra.values().flat_map(|customers| customers.iter().map(slab_of)));
        slabs.sort_unstable();
        slabs.dedup();
        let shared = self.shared_blocks(buckets)?;
        let told_alone =
            |block: i64| kinds.len() == 1 && shared.as_ref().is_some_and(|shared| !shared.contains(&block));
        let parts = self.effort.share(
            slabs.len(),
            || (buckets.clone(), Counts::default()),
            |(buckets, counts), task| {
                let slab = slabs[task];
                let first = u32::from(slab) << 16;
                let bits = |set: &RoaringBitmap| {
                    let mut bits = Box::new([0u64; HOME_WORDS]);
                    for home in set.range(first..=first | 0xffff) {
                        bits[(home as usize & 0xffff) / 64] |= 1 << (home % 64);
                    }
                    bits
                };
                let (unclear, doubted) = (bits(unclear), bits(&self.doubted));
                let has = |bits: &[u64; HOME_WORDS], home: u16| bits[usize::from(home) / 64] >> (home % 64) & 1 != 0;
                let some = |bits: &[u64; HOME_WORDS]| bits.iter().any(|&word| word != 0);
                let (some_unclear, some_doubted) = (some(&unclear), some(&doubted));
                // Buckets whose customers are not told by one block alone are kept as sets.
                let mut sets = Sets::default();
                for (&bucket, customers) in extra {
                    if customers.range(first..=first | 0xffff).next().is_some() {
                        sets.insert(bucket, bits(customers));
                    }
                }
                self.each_block(slab, &kinds, asked, buckets, &mut |block, glance, edges, cut| {
                    let whole = edges.whole(edges.calendar());
                    let mut events = vec![0u64; cut.parts.len()];
                    let mut customers = vec![0u64; cut.parts.len()];
                    let mut last = vec![u32::MAX; cut.parts.len()];
                    let alone = told_alone(block.number);
                    let empty = || if alone { None } else { Some(Box::new([0; HOME_WORDS])) };
                    let mut of_part: Vec<Option<Box<[u64; HOME_WORDS]>>> =
                        cut.parts.iter().map(|part| sets.remove(&part.1).or_else(empty)).collect();
                    let simple = whole && glance.all && glance.clear && !some_unclear && !some_doubted;
                    if simple && alone && cut.parts.len() == 1 && of_part[0].is_none() {
                        events[0] = block.len() as u64;
                        customers[0] = block.count_homes()?;
                    } else {
                        block.homes(|at, home| {
                            let tick = block.tick(at);
                            let mut whose = true;
                            let mut once = true;
                            if !simple {
                                let (class, mut known) = glance.at(block, at);
                                if known != Known::Yes || some_unclear && has(&unclear, home) {
                                    return;
                                }
                                if !whole {
                                    known = known.min(edges.at(tick, glance.is_lasting(class), block, at));
                                }
                                if known != Known::Yes {
                                    return;
                                }
                                once = !glance.has_several(class);
                                whose = !(some_doubted && has(&doubted, home));
                            }
                            let part = cut.part(tick).min(events.len() - 1);
                            events[part] += u64::from(once);
                            if !whose {
                                return;
                            }
                            match &mut of_part[part] {
                                Some(set) => set[usize::from(home) / 64] |= 1 << (home % 64),
                                None if last[part] != u32::from(home) => {
                                    last[part] = u32::from(home);
                                    customers[part] += 1;
                                }
                                None => {}
                            }
                        })?;
                    }
                    for (at, &(_, bucket)) in cut.parts.iter().enumerate() {
                        if let Some(set) = of_part[at].take() {
                            sets.insert(bucket, set);
                        }
                        let count = counts.entry(bucket).or_default();
                        count.events += events[at];
                        count.customers += customers[at];
                    }
                    Ok(())
                })?;
                for (bucket, set) in sets {
                    let customers: u64 = set.iter().map(|word| u64::from(word.count_ones())).sum();
                    counts.entry(bucket).or_default().customers += customers;
                }
                Ok(())
            },
            |(_, counts)| counts,
        )?;
        let mut all = Counts::default();
        for (bucket, count) in parts.into_iter().flatten() {
            let known = all.entry(bucket).or_default();
            known.events += count.events;
            known.customers += count.customers;
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

    /// Calls `seen` with each block of a slab that may have events asked for.
    fn each_block(
        &self,
        slab: u16,
        kinds: &[u32],
        asked: Asked<'_>,
        buckets: &mut Buckets,
        seen: &mut dyn FnMut(&crate::codec::page::Block<'_>, &Glance, &Edges, &Cut) -> Result<()>,
    ) -> Result<()> {
        for segment in self.segments_with(slab, &asked.window) {
            let index = Index::open(&self.snapshot.lookup.store, &segment.meta)?;
            index.pages(slab, kinds, &mut |_, page, _| {
                let glance = Glance::new(asked.judge, page, &self.snapshot.lookup.terms.read());
                if glance.none {
                    return Ok(());
                }
                for block in &page.blocks {
                    let Some(edges) = Edges::new(block, index.calendar, asked.window, asked.looks) else { continue };
                    let cut = Cut::new(block.number, index.calendar, Some(buckets));
                    seen(block, &glance, &edges, &cut)?;
                }
                Ok(())
            })?;
        }
        Ok(())
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
