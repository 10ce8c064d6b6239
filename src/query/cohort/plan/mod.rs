//! The plan by index: bounds of each clause out of pages, books and links; only what they leave open
//! is read.
//!
//! Why it is exact. A page tells of each event of a home its class, its tick and some texts. What that
//! decides is certain; whatever it does not decide (a tick that a window cuts, a value, a rare text) makes
//! its home *maybe*, and those are read at the end, customer by customer. An event under a customer's home
//! is that customer's and nobody else's, unless links said later make it otherwise: such customers are
//! *doubted* ([`trust`]) and always read. An event under any other home is read, and counted for those who
//! depended on it at its time ([`spread`]).

mod bounds;
mod did;
mod glance;
mod named;
mod over_time;
mod scores;
mod seq;
mod sieve;
mod slab;
mod spread;
mod survey;
mod trust;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use roaring::RoaringBitmap;

use crate::codec::page::Page;
use crate::codec::raw::{FIRST_OTHER, RawEvent};
use crate::error::Result;
use crate::index::Index;
use crate::model::Window;
use crate::query::cohort::bucket::Buckets;
use crate::query::cohort::effort::{Budget, Effort};
use crate::query::cohort::explain::Explain;
use crate::query::cohort::judge::{Eyes, Judge, Likes};
use crate::query::cohort::needs::Looks;
use crate::query::cohort::question::{Clause, Question, Sequence};
use crate::query::cohort::tally::{Count, Counted};
use crate::query::cohort::top::Score;
use crate::query::item::lasts;
use crate::query::lookup::Resolver;
use crate::query::snapshot::Snapshot;
use crate::segment::{NOWHERE, Segment};
use crate::topology::Dependents;
use bounds::Bounds;
use did::Asked;
use named::Named;
pub(crate) use scores::Scored;

/// Those who are certainly in the set of `question`, and those who must be read to know.
pub(crate) struct Plan {
    pub(crate) sure: RoaringBitmap,
    pub(crate) open: RoaringBitmap,
}

/// Works out what the index tells of a question.
pub(crate) fn plan(snapshot: &Snapshot, question: &Question, effort: &Effort, explain: &mut Explain) -> Result<Plan> {
    let mut planner = Planner::new(snapshot, question, effort, explain)?;
    if !planner.doubted.is_empty() {
        let doubted = planner.doubted.len();
        planner.explain.plan(format!("{doubted} customers are read whatever the index says: their links changed"));
    }
    let bounds = planner.clause(&question.root)?;
    planner.tell();
    // What lies with an erased customer is doubted, and the customer is nobody.
    let open = bounds.open() & &planner.all;
    Ok(Plan { sure: bounds.sure & &planner.all, open })
}

/// Counts by span of time; `None` when reading everything is the way.
pub(crate) fn over_time(
    snapshot: &Snapshot,
    (question, sequence): (&Question, &Sequence),
    (buckets, counted): (&Buckets, Counted),
    effort: &Effort,
    budget: &Budget,
    explain: &mut Explain,
) -> Result<Option<HashMap<i64, Count, FixedState>>> {
    let mut planner = Planner::new(snapshot, question, effort, explain)?;
    let asked = planner.counted(sequence);
    let counts = planner.over_time(asked, sequence, (buckets, counted), budget)?;
    planner.tell();
    Ok(counts)
}

/// Scores of customers; `None` when reading everything is the way.
pub(crate) fn scores(
    snapshot: &Snapshot,
    (question, sequence): (&Question, &Sequence),
    score: Score,
    limit: usize,
    effort: &Effort,
    budget: &Budget,
    explain: &mut Explain,
) -> Result<Option<Vec<Scored>>> {
    let mut planner = Planner::new(snapshot, question, effort, explain)?;
    let asked = planner.counted(sequence);
    let scores = planner.scores(asked, sequence, score, limit, budget)?;
    planner.tell();
    Ok(scores)
}

/// What was looked at, counted by all threads.
#[derive(Default)]
struct Looked {
    pages: AtomicU64,
    page_bytes: AtomicU64,
    page_events: AtomicU64,
    rows: AtomicU64,
    row_bytes: AtomicU64,
    row_events: AtomicU64,
}

impl Looked {
    /// Counts a page, and of its events those of the blocks that were looked at.
    fn page(&self, page: &Page, events: usize) {
        self.pages.fetch_add(1, Ordering::Relaxed);
        self.page_bytes.fetch_add(page.bytes() as u64, Ordering::Relaxed);
        self.page_events.fetch_add(events as u64, Ordering::Relaxed);
    }

    fn rows(&self, rows: usize, bytes: usize, events: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.row_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.row_events.fetch_add(events as u64, Ordering::Relaxed);
    }
}

struct Planner<'a> {
    snapshot: &'a Snapshot,
    question: &'a Question,
    effort: &'a Effort,
    explain: &'a mut Explain,
    looked: Looked,
    /// The customers of the snapshot.
    all: RoaringBitmap,
    /// Slabs that some segment has, ascending.
    slabs: Vec<u16>,
    /// Customers of whom the index may tell too much or too little.
    doubted: Arc<RoaringBitmap>,
}

impl<'a> Planner<'a> {
    fn new(
        snapshot: &'a Snapshot,
        question: &'a Question,
        effort: &'a Effort,
        explain: &'a mut Explain,
    ) -> Result<Planner<'a>> {
        let all = snapshot.all_customers()?;
        let mut slabs: Vec<u16> = snapshot.view.segments.iter().flat_map(|segment| segment.slabs()).collect();
        slabs.sort_unstable();
        slabs.dedup();
        let doubted = if question.reads { trust::doubted(snapshot, effort)? } else { Arc::default() };
        let looked = Looked::default();
        Ok(Planner { snapshot, question, effort, explain, looked, all, slabs, doubted })
    }

    /// Tells what was looked at.
    fn tell(&mut self) {
        let Looked { pages, page_bytes, page_events, rows, row_bytes, row_events } = std::mem::take(&mut self.looked);
        self.explain.pages_read += pages.into_inner();
        self.explain.index_bytes += page_bytes.into_inner();
        self.explain.events_counted += page_events.into_inner();
        self.explain.rows_read += rows.into_inner();
        self.explain.bytes_read += row_bytes.into_inner();
        self.explain.events_read += row_events.into_inner();
    }

    /// The only step of a counting question.
    fn counted(&self, sequence: &Sequence) -> Asked<'a> {
        let judge = &self.question.judges[sequence.steps[0].judge];
        Asked { judge, window: sequence.rules.window, looks: Looks::Time, at_least: 1 }
    }
}

impl Planner<'_> {
    fn clause(&mut self, clause: &Clause) -> Result<Bounds> {
        Ok(match clause {
            Clause::All => Bounds::exact(self.all.clone()),
            Clause::Among(numbers) => Bounds::exact(numbers & &self.all),
            Clause::Reach { entity, window } => match entity {
                Some(entity) => Bounds::exact(self.reaching(*entity, *window)?),
                None => Bounds::default(),
            },
            Clause::Did { judge, at_least, window } => {
                let judge = &self.question.judges[*judge];
                let asked = Asked { judge, window: *window, looks: Looks::Presence, at_least: *at_least };
                self.explain.plan(format!("did, at least {at_least}: by index"));
                let mut bounds = self.did(asked)?;
                bounds.doubt(&self.doubted);
                bounds
            }
            Clause::Seq(sequence) => {
                self.explain.plan("seq: by index");
                let mut bounds = self.seq(sequence)?;
                bounds.doubt(&self.doubted);
                bounds
            }
            Clause::And(parts) => {
                let mut all = Bounds::exact(self.all.clone());
                for part in parts.cheap_first() {
                    all.and(&self.clause(part)?);
                    if all.maybe.is_empty() {
                        break;
                    }
                }
                all
            }
            Clause::Or(parts) => {
                let mut any = Bounds::default();
                for part in parts.cheap_first() {
                    any.or(self.clause(part)?);
                }
                any
            }
            Clause::Not(inner) => self.clause(inner)?.not(&self.all),
            Clause::Minus(both) => {
                let mut rest = self.clause(&both[0])?;
                if !rest.maybe.is_empty() {
                    rest.minus(&self.clause(&both[1])?);
                }
                rest
            }
        })
    }

    /// The customers with a path to `entity` at some instant of the window.
    fn reaching(&self, entity: u32, window: Window) -> Result<RoaringBitmap> {
        let during = window.interval();
        let mut found = RoaringBitmap::new();
        if during.is_empty() {
            return Ok(found);
        }
        if entity < FIRST_OTHER {
            found.insert(entity);
        }
        found.extend(self.dependents(entity)?.iter().filter(|(_, when)| when.overlaps(&during)).map(|(c, _)| *c));
        Ok(found & &self.all)
    }

    /// The customers that depend on `entity`, and when.
    fn dependents(&self, entity: u32) -> Result<Arc<Dependents>> {
        self.snapshot.lookup.dependents.of(&self.snapshot.links_view(), entity, self.snapshot.view.links_commit)
    }

    /// The kinds that some event may have which satisfies, ascending.
    fn kinds_of(&self, judge: &Judge) -> Vec<u32> {
        let tables = self.snapshot.lookup.terms.read();
        let shapes = tables.shapes().iter().zip(0u32..).filter(|&(_, shape)| judge.severities(shape) != 0);
        let mut kinds: Vec<u32> = shapes.map(|(entry, _)| entry.shape.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// The threads that are worth while for looking at the sealed events asked for.
    fn effort_for(&self, asked: Asked<'_>) -> Effort {
        let window = asked.window.interval();
        let share = self.snapshot.view.segments.iter().map(|segment| {
            let span = segment.meta.until.saturating_sub(segment.meta.first).max(1);
            let from = window.from.as_nanos().max(segment.meta.first);
            let inside = window.to.as_nanos().min(segment.meta.until).saturating_sub(from).max(0);
            (inside as f64 / span as f64) * segment.meta.rows as f64
        });
        let rows: u64 = self.snapshot.view.segments.iter().map(|segment| segment.meta.rows).sum();
        let share = share.sum::<f64>() / rows.max(1) as f64;
        self.effort.for_events((self.sealed_count(asked.judge) as f64 * share) as u64)
    }

    /// Sealed events of the shapes that may satisfy, about.
    fn sealed_count(&self, judge: &Judge) -> u64 {
        let shapes = self.snapshot.view.totals.shapes.iter().zip(0u32..);
        shapes.filter(|&(_, shape)| judge.severities(shape) != 0).map(|(totals, _)| totals.events).sum()
    }

    fn segments_with(&self, slab: u16, window: &Window) -> impl Iterator<Item = &Segment> {
        let during = window.interval();
        let segments = self.snapshot.view.segments.iter().map(|segment| &**segment);
        segments.filter(move |segment| segment.overlaps(&during) && segment.has_slab(slab))
    }

    fn index(&self, segment: &Segment) -> Result<Index<'_>> {
        Index::open(&self.snapshot.lookup.store, &self.snapshot.lookup.pages, &segment.meta)
    }

    /// The homes of sealed events that name one of `entities`, unless they are more than `most`.
    fn few_homes(&self, entities: &[u32], most: u64) -> Result<Option<RoaringBitmap>> {
        /// Looked up before it is worth while to start threads.
        const FIRST: usize = 16;
        let segments = &self.snapshot.view.segments;
        let slabs = segments.iter().flat_map(|segment| segment.slabs().map(move |slab| (&**segment, slab)));
        let slabs: Vec<(&Segment, u16)> = slabs.collect();
        // A home may be in every segment.
        let too_many = most.saturating_add(1).saturating_mul(segments.len() as u64);
        let places = AtomicU64::new(0);
        let look = |(named, homes): &mut (Named, RoaringBitmap), (segment, slab): (&Segment, u16)| {
            if places.load(Ordering::Relaxed) < too_many && named.turn_to(&self.index(segment)?, slab)? {
                let before = places.fetch_add(named.len() as u64, Ordering::Relaxed);
                if before + (named.len() as u64) < too_many {
                    *homes |= slab::set(u32::from(slab) << 16, named.bits()) & &segment.homes;
                }
            }
            Ok(())
        };
        let begin = || (Named::new(entities), RoaringBitmap::new());
        let (first, rest) = slabs.split_at(slabs.len().min(FIRST));
        let mut state = begin();
        first.iter().try_for_each(|&slab| look(&mut state, slab))?;
        let mut homes = state.1;
        if places.load(Ordering::Relaxed) < too_many {
            let parts =
                self.effort.share(rest.len(), begin, |state, task| look(state, rest[task]), |(_, homes)| homes)?;
            parts.into_iter().for_each(|part| homes |= part);
        }
        if places.into_inner() >= too_many {
            return Ok(None);
        }
        homes.remove(NOWHERE);
        Ok((homes.len() <= most).then_some(homes))
    }

    /// Calls `seen` with home and event of each entry in memory that is what is asked for.
    fn visit_memory(&self, asked: Asked<'_>, seen: &mut dyn FnMut(u32, &RawEvent) -> Result<()>) -> Result<()> {
        let snapshot = self.snapshot;
        let (from, to) = (asked.window.from.as_nanos(), asked.window.to.as_nanos());
        let likes = Likes::default();
        for (active, bound) in &snapshot.view.actives {
            let resolver = Resolver::new(&snapshot.lookup);
            let eyes = Eyes { resolver: &resolver, likes: &likes };
            active.visit(*bound, resolver.tables(), &mut |home, head, event| {
                let severities = asked.judge.severities(head.shape);
                let lasts_on = || asked.looks == Looks::Presence && lasting(&resolver, head.shape);
                if severities >> head.severity & 1 == 0 || head.time >= to || head.time < from && !lasts_on() {
                    return Ok(());
                }
                let event = event()?;
                let inside = head.time >= from || from < lasts(&event).to.as_nanos();
                if inside && asked.judge.holds(&event, &eyes)? {
                    seen(home, &event)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

fn lasting(resolver: &Resolver<'_>, shape: u32) -> bool {
    resolver.tables().shape(shape).is_ok_and(|entry| entry.shape.layout.has_end)
}
