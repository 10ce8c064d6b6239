//! Retention: events before an instant go.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use crate::codec::key;
use crate::codec::raw::RawEvent;
use crate::codec::record::Manifest;
use crate::error::{Error, Result};
use crate::fail;
use crate::ingest::engine::Engine;
use crate::ingest::trim::{self, Swap, Swapped};
use crate::model::{Text, Timestamp};
use crate::segment::{Rewritten, Seal, Segment, Verdict, fingerprint, rewrite, walk};
use crate::store::{Batch, Family};

/// Which events are to go: those with a time before an instant, as far as layer, source and kind fit.
///
/// ```
/// use ofone::{Retention, Timestamp};
/// let dropped = Retention::before(Timestamp::from_secs(1_767_225_600)).kind("call.dropped").dry_run(true);
/// # let _ = dropped;
/// ```
#[derive(Clone, Debug)]
pub struct Retention {
    before: Timestamp,
    layer: Option<Text>,
    source: Option<Text>,
    kind: Option<Text>,
    dry_run: bool,
    max_share: f64,
}

impl Retention {
    /// Events with a time before `before`; it stays whatever their end is. No clock is asked.
    pub fn before(before: Timestamp) -> Retention {
        Retention { before, layer: None, source: None, kind: None, dry_run: false, max_share: 0.5 }
    }

    /// Only events of this layer. Default: of all layers, and of none.
    #[must_use]
    pub fn layer(mut self, layer: impl Into<Text>) -> Retention {
        self.layer = Some(layer.into());
        self
    }

    /// Only events of this source. Default: of all.
    #[must_use]
    pub fn source(mut self, source: impl Into<Text>) -> Retention {
        self.source = Some(source.into());
        self
    }

    /// Only events of this kind, in full. Default: of all.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<Text>) -> Retention {
        self.kind = Some(kind.into());
        self
    }

    /// Whether only to tell what would go. Default: false.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Retention {
        self.dry_run = dry_run;
        self
    }

    /// The share of all events that may go in one run, 0 to 1; beyond it, nothing is removed. A dry run tells
    /// the share whatever it is. Default: 0.5.
    #[must_use]
    pub fn max_share(mut self, share: f64) -> Retention {
        self.max_share = share;
        self
    }
}

/// What [`crate::Db::retain`] removed, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Retained {
    /// Events that go.
    pub events: u64,
    /// Events there were.
    pub of: u64,
    /// Segments of which nothing stays.
    pub segments_dropped: u64,
    /// Segments of which something stays.
    pub segments_rewritten: u64,
    /// Bytes of their files before, about.
    pub bytes: u64,
}

/// What one segment loses.
struct Loss {
    segment: Arc<Segment>,
    stays: bool,
    /// Lowest time of what stays.
    first: i64,
}

/// Carries a retention out. Everything is sealed that is to be looked at. A failure after the first change closes
/// the store for writing.
///
/// # Errors
/// `Invalid` when more than the share allowed would go, or for a share that is none.
pub(crate) fn retain(engine: &Engine, asked: &Retention) -> Result<Retained> {
    if !(0.0..=1.0).contains(&asked.max_share) {
        return Err(Error::invalid("a share lies between 0 and 1"));
    }
    let began = Instant::now();
    let _span = tracing::info_span!("retain", dry_run = asked.dry_run).entered();
    let _rewriting = engine.rewriting.lock();
    let (store, terms) = (&engine.lookup.store, &engine.lookup.terms);
    let before = asked.before.as_nanos();
    let shapes = shapes(engine, asked);
    let goes =
        |event: &RawEvent| event.time < before && shapes.as_ref().is_none_or(|shapes| shapes.contains(&event.shape));
    let view = engine.views.load();
    let mut told = Retained { of: view.totals.events, ..Retained::default() };
    let mut losses = Vec::new();
    for segment in view.segments.iter().filter(|segment| segment.meta.first < before) {
        let mut several = HashSet::new();
        let (mut events, mut first) = (0, i64::MAX);
        walk(store, terms, segment, &mut |_, of_home| {
            for event in of_home {
                if !goes(event) {
                    first = first.min(event.time);
                } else if event.subjects.len() < 2 || several.insert(fingerprint(event)) {
                    events += 1;
                }
            }
            Ok(())
        })?;
        if events == 0 {
            continue;
        }
        let stays = first < i64::MAX;
        told.events += events;
        told.segments_dropped += u64::from(!stays);
        told.segments_rewritten += u64::from(stays);
        let (from, to) = (key::row(segment.meta.number, 0), key::row(segment.meta.number + 1, 0));
        told.bytes += store.range_bytes(Family::Rows, &from, &to) + store.range_bytes(Family::Index, &from, &to);
        losses.push(Loss { segment: segment.clone(), stays, first });
    }
    if asked.dry_run {
        return Ok(told);
    }
    if told.events as f64 > asked.max_share * told.of as f64 {
        let message = format!("{} of {} events would go, more than the share allowed", told.events, told.of);
        return Err(Error::invalid(message));
    }
    // Whoever might ask for an event of such a seal finds none of them.
    let gone = |last: i64| asked.layer.is_none() && asked.source.is_none() && asked.kind.is_none() && last < before;
    let seals: Vec<Arc<Seal>> = view.seals.iter().filter(|seal| gone(seal.meta.last)).cloned().collect();
    drop(view);
    // What is written makes room in the end, and needs some before.
    let _loan = store.lend_reserve(engine.settings.reserve_bytes.saturating_mul(2))?;
    engine.or_poison(remove(engine, losses, &goes, seals))?;
    if told.events > 0 {
        engine.counters.retentions.add(told.events, began);
    }
    Ok(told)
}

/// Replaces the segments, and forgets `seals` with the last.
fn remove(
    engine: &Engine,
    losses: Vec<Loss>,
    goes: &dyn Fn(&RawEvent) -> bool,
    mut seals: Vec<Arc<Seal>>,
) -> Result<()> {
    let (store, terms) = (&engine.lookup.store, &engine.lookup.terms);
    let last = losses.len().saturating_sub(1);
    for (at, Loss { segment, stays, first }) in losses.into_iter().enumerate() {
        let seals = if at == last { std::mem::take(&mut seals) } else { Vec::new() };
        let mut batch = Batch::default();
        let new = if stays {
            let number = engine.next_segment.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut judge = |_: u32, event: &RawEvent| if goes(event) { Verdict::Drop } else { Verdict::Keep };
            rewrite(store, terms, &segment, (number, first), &mut batch, &mut judge)?
        } else {
            Rewritten::nothing(store, terms, &segment)?
        };
        fail::point("retain.before_manifest")?;
        publish(engine, batch, Swap { old: segment, new }, seals)?;
        fail::point("retain.after_manifest")?;
    }
    Ok(())
}

fn publish(engine: &Engine, batch: Batch, swap: Swap, seals: Vec<Arc<Seal>>) -> Result<()> {
    let swapped = OnceCell::new();
    let swaps = vec![swap];
    let known = trim::count_ahead(engine, &swaps)?;
    let change = |manifest: &mut Manifest, batch: &mut Batch| {
        let _ = swapped.set(trim::list(engine, manifest, batch, swaps, seals, known)?);
        Ok(())
    };
    engine.write_manifest(batch, change, |view, manifest| {
        swapped.get().into_iter().for_each(|swapped: &Swapped| swapped.show(view, manifest));
    })?;
    swapped.into_inner().into_iter().for_each(Swapped::retire);
    Ok(())
}

/// The shapes whose events are meant; `None` for all.
fn shapes(engine: &Engine, asked: &Retention) -> Option<HashSet<u32>> {
    let Retention { layer, source, kind, .. } = asked;
    if layer.is_none() && source.is_none() && kind.is_none() {
        return None;
    }
    let tables = engine.lookup.terms.read();
    let fits = |wanted: &Option<Text>, has: Option<&Text>| wanted.as_ref().is_none_or(|wanted| has == Some(wanted));
    let shapes = tables.shapes().iter().enumerate().filter(|(_, entry)| {
        fits(layer, entry.layer.as_ref()) && fits(source, Some(&entry.source)) && fits(kind, Some(&entry.kind))
    });
    Some(shapes.map(|(number, _)| number as u32).collect())
}
