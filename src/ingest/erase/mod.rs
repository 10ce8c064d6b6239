//! Erasure of a customer: out of every answer in one step, then out of the files.
//!
//! The ledger is written first, so that a crash at any later point is made up for at the next open, before
//! anybody reads. Doing any part again is harmless.

mod publish;
mod scrub;
mod strip;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam::channel::{Sender, bounded};

use crate::codec::key::Side;
use crate::codec::raw::FIRST_OTHER;
use crate::codec::record::Erasure;
use crate::error::{Error, ErrorKind, Result};
use crate::fail;
use crate::ingest::commit::Committer;
use crate::ingest::engine::{Engine, Request};
use crate::ingest::erased::Begun;
use crate::ingest::trim::{self, wall_clock};
use crate::model::limits::HOPS;
use crate::model::{Entity, Text, Timestamp};
use crate::store::Batch;
use crate::topology::LinkView;

pub(crate) use publish::{EXPR_ERASED, tells};

use publish::publish;
use scrub::{Left, scrub};
use strip::write_without;

/// What [`crate::Db::erase`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErasureReceipt {
    /// The erasure's number in the store's ledger, from 1.
    pub ledger: u64,
    /// When it was asked for, by the machine's clock.
    pub at: Timestamp,
    /// Entities whose names are gone: the customer, and what belonged to nobody else.
    pub entities: u64,
    /// Statements about links that are gone.
    pub links: u64,
    /// Events that are gone.
    pub events: u64,
    /// Events that stay for others, without who was erased.
    pub events_stripped: u64,
    /// Sealed segments written again.
    pub segments: u64,
    /// Saved cohorts that were changed.
    pub cohorts: u64,
    /// Whether some reader still holds the store as it was, or a compaction failed, so that its files keep some of
    /// it. The rest is done at the next open.
    pub held_back: bool,
}

pub(crate) type Requests<'a> = Option<&'a Sender<Request>>;

/// Has the commit thread do something, and waits for the outcome.
pub(crate) fn on_commit_thread<T: Send + 'static>(
    requests: Requests<'_>,
    act: impl FnOnce(&mut Committer) -> Result<T> + Send + 'static,
) -> Result<T> {
    let gone = || Error::new(ErrorKind::Poisoned, "the commit thread is gone; reopen the store");
    let (reply, answer) = bounded(1);
    let act = Box::new(move |committer: &mut Committer| {
        let outcome = committer.engine.check_writable().and_then(|()| act(committer));
        // Whoever asked may have gone.
        let _ = reply.send(outcome);
    });
    requests.ok_or_else(gone)?.send(Request::Run(act)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// Erases the customer of this id.
///
/// # Errors
/// `NotFound` when there is no such customer.
pub(crate) fn erase(engine: &Arc<Engine>, requests: Requests<'_>, id: &Text) -> Result<ErasureReceipt> {
    let id = id.clone();
    // The ledger too is written on a full disk.
    let _loan = engine.lookup.store.lend_reserve(engine.settings.reserve_bytes)?;
    let (ledger, row) = on_commit_thread(requests, move |committer| begin(committer, &id))?;
    carry_out(engine, requests, ledger, &row)
}

/// Does again what a crash left half done.
pub(crate) fn erase_pending(engine: &Arc<Engine>, requests: Requests<'_>, pending: Vec<Begun>) -> Result<()> {
    pending.into_iter().try_for_each(|(ledger, row)| carry_out(engine, requests, ledger, &row).map(|_| ()))
}

/// Writes the ledger.
fn begin(committer: &mut Committer, id: &Text) -> Result<Begun> {
    let engine = committer.engine.clone();
    let store = &engine.lookup.store;
    let unknown = || Error::new(ErrorKind::NotFound, "no such customer");
    let kind = engine.lookup.terms.read().number_of(&engine.lookup.customer_type).ok_or_else(unknown)?;
    let customer = committer.numbers.names.known(kind, id, store)?.ok_or_else(unknown)?;
    let view = engine.views.load();
    let links = LinkView::new(&view.snapshot, &engine.lookup.links, view.commit);
    let (own, _) = belongings(&links, customer)?;
    let tables = engine.lookup.terms.read();
    let names = own.iter().map(|&number| Ok((number, engine.lookup.names.entity(number, &tables)?)));
    let names = names.collect::<Result<Vec<(u32, Entity)>>>()?;
    drop(tables);
    let mut batch = Batch::default();
    let begun = committer.numbers.erased.begin(wall_clock(), &names, store, &mut batch);
    engine.or_poison(store.write(batch, true))?;
    engine.erasures_unfinished.fetch_add(1, Ordering::Relaxed);
    Ok(begun)
}

/// The customer and what no statement ever linked to from elsewhere; and what else was reached.
fn belongings(links: &LinkView<'_>, customer: u32) -> Result<(Vec<u32>, Vec<u32>)> {
    let mut reached = BTreeSet::from([customer]);
    let mut frontier = vec![customer];
    for _ in 0..HOPS {
        let mut below = Vec::new();
        for entity in frontier {
            links.others(entity, Side::Outgoing, &mut |other| {
                // Another customer, and what is behind, is not this one's.
                if other >= FIRST_OTHER && reached.insert(other) {
                    below.push(other);
                }
                true
            })?;
        }
        frontier = below;
    }
    let mut own = reached.clone();
    loop {
        let mut shared = Vec::new();
        for &entity in own.iter().filter(|&&entity| entity != customer) {
            let mut foreign = false;
            links.others(entity, Side::Incoming, &mut |other| {
                foreign = !own.contains(&other);
                !foreign
            })?;
            if foreign {
                shared.push(entity);
            }
        }
        if shared.is_empty() {
            break;
        }
        shared.iter().for_each(|entity| {
            own.remove(entity);
        });
    }
    let rest = reached.difference(&own).copied().collect();
    own.remove(&customer);
    Ok((std::iter::once(customer).chain(own).collect(), rest))
}

/// The step behind which a test stops, as a crash would.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Stop {
    Ledger,
    Rewriting,
    Publication,
}

/// Erases as far as a crash would let it.
#[cfg(test)]
pub(crate) fn erase_in_part(engine: &Arc<Engine>, requests: Requests<'_>, id: &Text, stop: Stop) -> Result<()> {
    let id = id.clone();
    let (ledger, row) = on_commit_thread(requests, move |committer| begin(committer, &id))?;
    let _rewriting = engine.rewriting.lock();
    match stop {
        Stop::Ledger => Ok(()),
        Stop::Rewriting => {
            engine.seal_all(requests)?;
            let numbers = row.numbers.iter().copied().collect();
            write_without(engine, requests, &numbers).map(|_| ())
        }
        Stop::Publication => {
            let mut receipt = ErasureReceipt { ledger, ..ErasureReceipt::default() };
            take_out(engine, requests, &mut receipt, &row).map(|_| ())
        }
    }
}

fn carry_out(engine: &Arc<Engine>, requests: Requests<'_>, ledger: u64, row: &Erasure) -> Result<ErasureReceipt> {
    engine.or_poison(finish(engine, requests, ledger, row))
}

fn finish(engine: &Arc<Engine>, requests: Requests<'_>, ledger: u64, row: &Erasure) -> Result<ErasureReceipt> {
    let began = Instant::now();
    let _span = tracing::info_span!("erase", ledger).entered();
    // Held until the old rows are gone: the thread that drops them would be busy with a merge otherwise.
    fail::point("erase.after_ledger")?;
    let _rewriting = engine.rewriting.lock();
    // Segments are written again before the old ones go.
    let _loan = engine.lookup.store.lend_reserve(engine.settings.reserve_bytes.saturating_mul(2))?;
    let mut receipt = ErasureReceipt { ledger, at: Timestamp::from_nanos(row.at), ..ErasureReceipt::default() };
    // An erasure of another store of the same history may mean nobody here.
    if !row.numbers.is_empty() {
        let left = take_out(engine, requests, &mut receipt, row)?;
        fail::point("erase.after_publication")?;
        receipt.held_back = !scrub(engine, left)?;
    }
    fail::point("erase.before_end")?;
    if !receipt.held_back {
        on_commit_thread(requests, move |committer| {
            let mut batch = Batch::default();
            let store = &committer.engine.lookup.store;
            committer.numbers.erased.end(ledger, store, &mut batch);
            committer.engine.or_poison(store.write(batch, true))
        })?;
        engine.erasures_unfinished.fetch_sub(1, Ordering::Relaxed);
    }
    engine.counters.erasures.add(receipt.events, began);
    Ok(receipt)
}

/// Takes the erased out of every answer, with `Engine::rewriting` held; tells what files may still have of them.
fn take_out(engine: &Arc<Engine>, requests: Requests<'_>, receipt: &mut ErasureReceipt, row: &Erasure) -> Result<Left> {
    // What is in memory cannot be written again there, and nothing of the erased comes in any more.
    engine.seal_all(requests)?;
    let numbers: Arc<HashSet<u32>> = Arc::new(row.numbers.iter().copied().collect());
    let (swaps, batch) = write_without(engine, requests, &numbers)?;
    let segments = swaps.iter().map(|swap| Arc::downgrade(&swap.old)).collect();
    for swap in &swaps {
        let effect = &swap.new.effect;
        receipt.events += effect.removed.events - effect.added.events;
        receipt.events_stripped += effect.added.events;
    }
    receipt.segments = swaps.len() as u64;
    let (order, ledger) = (row.numbers.clone(), receipt.ledger);
    fail::point("erase.before_publication")?;
    let known = trim::count_ahead(engine, &swaps)?;
    let published = on_commit_thread(requests, move |committer| {
        let published = publish(committer, &order, &numbers, (swaps, known), batch);
        let published = committer.engine.or_poison(published)?;
        committer.numbers.erased.published(ledger);
        Ok(published)
    })?;
    receipt.entities = published.entities;
    receipt.links = published.links;
    receipt.cohorts = published.cohorts;
    Ok(Left { replaced: segments, ranges: published.traces, sequence: published.sequence })
}
