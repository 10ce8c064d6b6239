//! A look into a store that another process may be writing.

use std::path::Path;
use std::sync::Arc;

use crossbeam::channel::unbounded;

use crate::dictionary::{NameHasher, NameReader, TermLimits, TermWriter};
use crate::error::{Error, ErrorKind, Result};
use crate::index::PageCache;
use crate::ingest::engine::{self, Settings};
use crate::ingest::erased::Erased;
use crate::ingest::recovery;
use crate::model::Text;
use crate::segment::{Lookup, Seal, Segment, View, load_header, load_manifest};
use crate::store::{Store, StoreSnapshot};
use crate::topology::{DependentsCache, LinkCache};

/// What an open does short of writing: reads the store as it is after one of its commits, and what is not
/// sealed into memory. Rows that no manifest lists are left where they are.
pub(crate) fn look(path: &Path, settings: &Settings) -> Result<(Arc<Lookup>, Arc<View>)> {
    let _span = tracing::info_span!("look").entered();
    let store = Arc::new(Store::look(path, settings.setup())?);
    let header = load_header(&store)?.ok_or_else(|| Error::new(ErrorKind::NotFound, "no store there yet"))?;
    recovery::check_format(&header)?;
    let manifest = load_manifest(&store)?;
    let terms = TermWriter::open(&store, TermLimits::default())?.terms();
    let (graveyard, _) = unbounded();
    let open = |meta| Segment::open(&store, meta, graveyard.clone()).map(Arc::new);
    let segments = manifest.segments.iter().cloned().map(open).collect::<Result<Vec<_>>>()?;
    recovery::check_ends(&store, &segments)?;
    let replayed = recovery::replay(&store, &terms, manifest.trimmed)?;
    let seals = manifest.seals.iter().map(|meta| Arc::new(Seal::new(meta.clone(), graveyard.clone())));
    let view = View {
        commit: replayed.last_commit,
        links_commit: replayed.last_commit,
        snapshot: Arc::new(StoreSnapshot::new(store.clone())),
        segments: Arc::new(segments),
        seals: Arc::new(seals.collect()),
        totals: Arc::new(manifest.totals),
        erased: Arc::new(Erased::open(&store)?.shown(&store)?),
        actives: replayed.actives.into_iter().map(|active| (active.clone(), active.entry_count())).collect(),
    };
    let lookup = Lookup {
        names: NameReader::new(store.clone(), NameHasher::random(), settings.name_cache_bytes / 2),
        links: LinkCache::new(engine::LINK_CACHE_BYTES),
        dependents: DependentsCache::new(engine::DEPENDENTS_CACHE_BYTES),
        pages: PageCache::new(settings.index_cache_bytes),
        customer_type: Text::from(header.customer_type),
        terms,
        store,
    };
    Ok((Arc::new(lookup), Arc::new(view)))
}
