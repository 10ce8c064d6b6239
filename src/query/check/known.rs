//! What makes an event that comes again a duplicate: filters and indexes of identities.

use crate::codec::raw::RawEvent;
use crate::dictionary::TermTables;
use crate::error::{Error, Result};
use crate::query::check::Check;
use crate::segment::{Known, identity, read_known};

/// Memory for filters of seals.
pub(super) const FILTER_CACHE_BYTES: usize = 64 << 20;

impl Check<'_> {
    /// Every part of every seal must be readable.
    pub(super) fn seals(&mut self) -> Result<()> {
        for seal in self.snapshot.view.seals.iter() {
            let number = seal.meta.number;
            self.part(&format!("what is known of seal {number}"), |check| {
                read_known(&check.snapshot.lookup.store, &seal.meta)
            })?;
        }
        Ok(())
    }

    /// Some seal must know the event; no longer asked once a filter could not be read.
    pub(super) fn known(&mut self, event: &RawEvent, tables: &TermTables) -> Result<()> {
        let Some(dedupe) = &mut self.dedupe else { return Ok(()) };
        let view = &self.snapshot.view;
        let store = &self.snapshot.lookup.store;
        let runs = Known { store, tables, actives: &[], segments: &view.segments, seals: &view.seals };
        match dedupe.may_be_sealed(&runs, identity_of(event, tables)?, event.time) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::corrupt("no seal knows it: sent again, it would be taken for new")),
            Err(error) => {
                self.dedupe = None;
                Err(error)
            }
        }
    }
}

fn identity_of(event: &RawEvent, tables: &TermTables) -> Result<u64> {
    let mut packed = Vec::new();
    if event.id.is_none() {
        event.pack(&mut packed);
    }
    let source = tables.shape(event.shape)?.shape.source;
    Ok(identity(event.id.as_ref(), event.time, source, &packed))
}
