//! All that a reader needs, as of one commit.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use roaring::RoaringBitmap;

use crate::codec::record::Totals;
use crate::dictionary::{NameReader, Terms};
use crate::index::PageCache;
use crate::model::Text;
use crate::segment::active::Active;
use crate::segment::dedupe::Seal;
use crate::segment::sealed::Segment;
use crate::store::{Store, StoreSnapshot};
use crate::topology::{DependentsCache, LinkCache};

/// What every reader of a store shares, whatever its view.
pub(crate) struct Lookup {
    pub(crate) store: Arc<Store>,
    pub(crate) terms: Terms,
    pub(crate) names: NameReader,
    pub(crate) links: LinkCache,
    pub(crate) dependents: DependentsCache,
    pub(crate) pages: PageCache,
    /// The type whose entities root streams.
    pub(crate) customer_type: Text,
}

/// The store as of one commit: names, links and meta by a storage snapshot; events by the list of
/// sealed segments and the visible part of those in memory.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) commit: u64,
    /// The last commit that said anything about links, or the one at which the store was opened.
    pub(crate) links_commit: u64,
    pub(crate) snapshot: Arc<StoreSnapshot>,
    /// In the order of sealing.
    pub(crate) segments: Arc<Vec<Arc<Segment>>>,
    pub(crate) seals: Arc<Vec<Arc<Seal>>>,
    /// Counts over the sealed segments.
    pub(crate) totals: Arc<Totals>,
    /// Numbers of entities that were erased.
    pub(crate) erased: Arc<RoaringBitmap>,
    /// In the order of filling, each with the number of entries visible; the last takes commits.
    pub(crate) actives: Vec<(Arc<Active>, u32)>,
}

/// The current view. Readers take it without waiting; writers replace it one after the other.
pub(crate) struct Views {
    current: ArcSwap<View>,
    replacing: Mutex<()>,
}

impl Views {
    pub(crate) fn new(view: View) -> Views {
        Views { current: ArcSwap::from_pointee(view), replacing: Mutex::new(()) }
    }

    pub(crate) fn load(&self) -> Arc<View> {
        self.current.load_full()
    }

    /// Replaces the view by what `change` makes of a copy.
    pub(crate) fn update(&self, change: impl FnOnce(&mut View)) {
        let _one_at_a_time = self.replacing.lock();
        let mut view = View::clone(&self.current.load());
        change(&mut view);
        self.current.store(Arc::new(view));
    }
}
