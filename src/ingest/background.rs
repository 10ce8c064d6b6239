//! Sealing and merging, each on its own thread, sealing first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};

use crate::codec::key;
use crate::codec::record::Manifest;
use crate::error::Result;
use crate::fail;
use crate::ingest::engine::Engine;
use crate::segment::{Active, Leftover, Seal, Segment, add_totals, merge, pick_merge, seal};
use crate::store::{Batch, Family, Store};

/// How long a merge sleeps while a seal goes first.
const YIELD: Duration = Duration::from_millis(5);
/// Merges wait until no commit came for this long, so that a bulk load has the machine to itself ...
const COMMITS_QUIET: Duration = Duration::from_millis(200);
/// ... unless this many segments have piled up, which would slow every read down.
const SEGMENTS_BEHIND_MAX: usize = 24;
/// How often the merge thread looks for work that nobody told it of.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Seals frozen segments in order until the commit thread is gone or the store closes.
pub(super) fn run_seals(engine: &Arc<Engine>, frozen: &Receiver<Arc<Active>>) {
    for active in frozen {
        if engine.work.lock().stopping || engine.check_writable().is_err() {
            // What is not sealed now is replayed and sealed after the next open.
            return;
        }
        if let Err(error) = seal_one(engine, &active) {
            engine.poison(error);
            return;
        }
        let mut work = engine.work.lock();
        work.seals -= 1;
        work.sealed += 1;
        work.merged = false;
        engine.work_changed.notify_all();
    }
}

fn seal_one(engine: &Engine, active: &Arc<Active>) -> Result<()> {
    let began = Instant::now();
    let events = active.event_count() as u64;
    let _span = tracing::info_span!("seal", segment = active.number(), events).entered();
    // A seal trims the log in the end. What it writes is hardly ever larger than the packed rows.
    let _loan = engine.lookup.store.lend_reserve(active.packed_bytes() as u64)?;
    // Files that are taken in are durable at once: what they are made from must not be less so.
    engine.lookup.store.sync_log()?;
    fail::point("seal.before_files")?;
    let (from, to) = (key::log(active.number(), 0), key::log(active.number() + 1, 0));
    if fail::bug("trim-before-ingest") {
        let change = |manifest: &mut Manifest, batch: &mut Batch| {
            manifest.trimmed = active.last_commit().unwrap_or(manifest.trimmed).max(manifest.trimmed);
            batch.delete_range(&engine.lookup.store, Family::Log, &from, &to);
            Ok(())
        };
        engine.write_manifest(Batch::default(), change, |_, _| {})?;
    }
    let sealed = seal(&engine.lookup.store, &engine.lookup.terms, active)?;
    fail::point("seal.before_manifest")?;
    let totals = active.totals();
    let (segment_meta, seal_meta) = (sealed.segment.clone(), sealed.seal.clone());
    let listed = sealed.seal.map(|meta| Arc::new(Seal::new(meta, engine.graveyard.clone())));
    let segment = sealed.segment.map(|meta| Arc::new(Segment::new(meta, sealed.homes, engine.graveyard.clone())));
    let change = |manifest: &mut Manifest, batch: &mut Batch| {
        manifest.trimmed = active.last_commit().unwrap_or(manifest.trimmed).max(manifest.trimmed);
        manifest.segments.extend(segment_meta);
        manifest.seals.extend(seal_meta);
        add_totals(&mut manifest.totals, &totals);
        if !fail::bug("skip-trim") && !fail::bug("trim-apart") {
            batch.delete_range(&engine.lookup.store, Family::Log, &from, &to);
        }
        Ok(())
    };
    engine.write_manifest(sealed.batch, change, |view, manifest| {
        view.actives.retain(|(other, _)| !Arc::ptr_eq(other, active));
        view.segments = Arc::new(view.segments.iter().cloned().chain(segment).collect());
        view.seals = Arc::new(view.seals.iter().cloned().chain(listed).collect());
        view.totals = Arc::new(manifest.totals.clone());
    })?;
    fail::point("seal.after_manifest")?;
    if fail::bug("trim-apart") {
        let mut batch = Batch::default();
        batch.delete_range(&engine.lookup.store, Family::Log, &from, &to);
        engine.lookup.store.write(batch, true)?;
    }
    engine.counters.seals.add(events, began);
    Ok(())
}

/// Merges segments and drops the rows of those merged away, until the store closes.
pub(super) fn run_merges(engine: &Arc<Engine>, buried: &Receiver<Leftover>) {
    loop {
        let outcome = match buried.recv_timeout(LOOK_EVERY) {
            Ok(leftover) => bury(engine, leftover),
            Err(RecvTimeoutError::Timeout) => merge_if_due(engine, buried),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Err(error) = outcome {
            engine.poison(error);
            return;
        }
        if engine.work.lock().stopping || engine.check_writable().is_err() {
            return;
        }
    }
}

fn merge_if_due(engine: &Engine, buried: &Receiver<Leftover>) -> Result<()> {
    // Whoever rewrites segments has them for itself; this is asked again soon.
    let Some(_rewriting) = engine.rewriting.try_lock() else { return Ok(()) };
    let behind = engine.views.load().segments.len() >= SEGMENTS_BEHIND_MAX;
    let (due, sealed) = {
        let mut work = engine.work.lock();
        let quiet = work.awaited > 0 || work.last_commit.is_none_or(|at| at.elapsed() >= COMMITS_QUIET);
        let due = work.seals == 0 && !work.merged && !work.stopping && (quiet || behind);
        work.merging = due;
        (due, work.sealed)
    };
    if !due {
        return Ok(());
    }
    let view = engine.views.load();
    let mut inputs = pick_merge(&view.segments).map(|run| view.segments[run].to_vec()).unwrap_or_default();
    drop(view);
    let put_off = !inputs.is_empty() && !has_room(engine, &inputs)?;
    if put_off {
        tracing::warn!(segments = inputs.len(), "merge put off: the disk has no room for it");
        inputs.clear();
    } else if !inputs.is_empty() {
        merge_one(engine, &inputs)?;
    }
    let mut work = engine.work.lock();
    work.merging = false;
    work.put_off = put_off;
    // What came meanwhile was not looked at.
    work.merged = inputs.is_empty() && work.seals == 0 && work.sealed == sealed && buried.is_empty();
    engine.work_changed.notify_all();
    Ok(())
}

/// Whether the disk holds inputs and output side by side, with something to spare: merges only tidy up,
/// and must not be what fills it.
fn has_room(engine: &Engine, inputs: &[Arc<Segment>]) -> Result<bool> {
    let store = &engine.lookup.store;
    let bytes = |number: u32| {
        let (from, to) = (number.to_be_bytes(), key::chunk(number, u32::MAX, u32::MAX));
        store.range_bytes(Family::Rows, &from, &to) + store.range_bytes(Family::Index, &from, &to)
    };
    let needed: u64 = inputs.iter().map(|segment| bytes(segment.meta.number)).sum();
    Ok(store.free_bytes()? > engine.settings.reserve_bytes.saturating_add(needed + needed / 4))
}

fn merge_one(engine: &Engine, inputs: &[Arc<Segment>]) -> Result<()> {
    let began = Instant::now();
    let number = engine.next_segment.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let rows: u64 = inputs.iter().map(|segment| segment.meta.rows).sum();
    let _span = tracing::info_span!("merge", segment = number, segments = inputs.len(), rows).entered();
    let mut batch = Batch::default();
    let go_on = || {
        loop {
            let work = engine.work.lock();
            if work.stopping || engine.check_writable().is_err() {
                return false;
            }
            if work.seals == 0 {
                return true;
            }
            drop(work);
            std::thread::sleep(YIELD);
        }
    };
    let Some((meta, homes)) = merge(&engine.lookup.store, &engine.lookup.terms, inputs, number, &mut batch, go_on)?
    else {
        return Ok(());
    };
    fail::point("merge.before_manifest")?;
    let merged_away: Vec<u32> = inputs.iter().map(|segment| segment.meta.number).collect();
    let merged = Arc::new(Segment::new(meta.clone(), homes, engine.graveyard.clone()));
    let change = |manifest: &mut Manifest, batch: &mut Batch| {
        let at = manifest.segments.iter().position(|segment| segment.number == merged_away[0]);
        let at = at.expect("nobody else takes segments out of the manifest meanwhile");
        manifest.segments.splice(at..at + merged_away.len(), [meta]);
        manifest.garbage.extend(&merged_away);
        for &segment in &merged_away {
            batch.delete(&engine.lookup.store, Family::Meta, &crate::segment::homes_key(segment));
        }
        Ok(())
    };
    engine.write_manifest(batch, change, |view, _| {
        let at = view.segments.iter().position(|segment| segment.meta.number == merged_away[0]);
        let at = at.expect("nobody else takes segments out of the view meanwhile");
        let mut segments = view.segments.to_vec();
        segments.splice(at..at + merged_away.len(), [merged]);
        view.segments = Arc::new(segments);
    })?;
    fail::point("merge.after_manifest")?;
    inputs.iter().for_each(|segment| segment.retire());
    engine.counters.merges.add(rows, began);
    Ok(())
}

/// Drops rows that no view holds any more.
fn bury(engine: &Engine, leftover: Leftover) -> Result<()> {
    // The next open drops what no manifest lists.
    engine.check_writable()?;
    let _loan = engine.lookup.store.lend_reserve(engine.settings.reserve_bytes)?;
    match leftover {
        Leftover::Segment(segment) => bury_segment(engine, segment),
        Leftover::Seal(seal) => {
            let _span = tracing::debug_span!("drop", seal).entered();
            drop_number(&engine.lookup.store, Family::Dedupe, seal)
        }
    }
}

fn bury_segment(engine: &Engine, segment: u32) -> Result<()> {
    let _span = tracing::debug_span!("drop", segment).entered();
    fail::point("bury.before_rows")?;
    if !fail::bug("leave-rows") {
        engine.lookup.store.give_up(segment);
        drop_number(&engine.lookup.store, Family::Rows, segment)?;
    }
    fail::point("bury.after_rows")?;
    drop_number(&engine.lookup.store, Family::Index, segment)?;
    engine.lookup.pages.forget(segment);
    fail::point("bury.before_manifest")?;
    let change = |manifest: &mut Manifest, _: &mut Batch| {
        manifest.garbage.retain(|&other| other != segment);
        Ok(())
    };
    engine.write_manifest(Batch::default(), change, |_, _| {})
}

/// Drops all keys of a family that begin with a segment or seal number.
pub(super) fn drop_number(store: &Store, family: Family, number: u32) -> Result<()> {
    // Whole files that end at the bound go too, so the bound must not be the next number's first key.
    store.drop_range(family, &number.to_be_bytes(), &key::chunk(number, u32::MAX, u32::MAX))
}
