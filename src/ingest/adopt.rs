//! Takes over from another store what no record brings: the ledger of erasures, names, saved cohorts.

use crate::codec::key;
use crate::codec::record::{self, Counts, Erasure, SavedCohort};
use crate::error::Result;
use crate::ingest::erase::{Requests, on_commit_thread};
use crate::model::Entity;
use crate::segment::put_counts;
use crate::store::{Batch, Family};

/// Who was erased: what their names are hashed under, and the erasures in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) key: Option<(u64, u64)>,
    pub(crate) rows: Vec<Erasure>,
}

/// Takes over a ledger, into a store that has none: from here on, what names those in it is refused.
pub(crate) fn take_over_ledger(requests: Requests<'_>, ledger: Ledger) -> Result<()> {
    let Some(key) = ledger.key else { return Ok(()) };
    on_commit_thread(requests, move |committer| {
        let engine = committer.engine.clone();
        let mut batch = Batch::default();
        committer.numbers.erased.adopt(key, ledger.rows, &engine.lookup.store, &mut batch);
        engine.or_poison(engine.lookup.store.write(batch, true))
    })
}

/// Gives numbers to entities, in their order; tells of each whether it has one now. Those erased get none.
pub(crate) fn adopt_names(requests: Requests<'_>, entities: Vec<Entity>) -> Result<Vec<bool>> {
    on_commit_thread(requests, move |committer| {
        let engine = committer.engine.clone();
        let mut batch = Batch::default();
        let mut named = Vec::with_capacity(entities.len());
        for entity in &entities {
            let gone = committer.numbers.erased.is_gone(entity);
            named.push(!gone && engine.or_poison(committer.number_entity(entity, &mut batch))?.is_ok());
        }
        let counts = Counts { entities: committer.numbers.names.counts().to_vec(), links: committer.numbers.links };
        put_counts(&engine.lookup.store, &mut batch, &counts);
        engine.or_poison(engine.lookup.store.write(batch, false))?;
        committer.numbers.names.age();
        Ok(named)
    })
}

/// Puts a saved cohort, whose numbers are those of this store, under a name.
pub(crate) fn adopt_cohort(requests: Requests<'_>, name: &str, mut cohort: SavedCohort) -> Result<()> {
    let key = [&key::COHORT[..], name.as_bytes()].concat();
    on_commit_thread(requests, move |committer| {
        let engine = committer.engine.clone();
        let mut batch = Batch::default();
        cohort.commit = engine.views.load().commit;
        batch.put(&engine.lookup.store, Family::Meta, &key, &record::encode(&cohort));
        engine.or_poison(engine.lookup.store.write(batch, true))
    })
}
