//! How many events each home of one slab has: at least so many, and at most.

use roaring::RoaringBitmap;

use crate::codec::homes::{HOME_WORDS, PAGE_HOMES};
use crate::query::cohort::plan::glance::Known;

/// Counts of a slab; reused from slab to slab.
pub(crate) struct Slab {
    enough: u16,
    /// Homes with enough events for certain, and perhaps, as sets: all there is when one is enough.
    pub(crate) sure: Box<[u64; HOME_WORDS]>,
    pub(crate) maybe: Box<[u64; HOME_WORDS]>,
    /// Counts when more than one is asked for: certain ones, and those with doubtful ones too.
    least: Vec<u16>,
    most: Vec<u16>,
}

impl Slab {
    /// Counts up to `enough`, at least 1.
    pub(crate) fn new(enough: u16) -> Slab {
        let counts = if enough > 1 { vec![0; PAGE_HOMES] } else { Vec::new() };
        let words = || Box::new([0; HOME_WORDS]);
        Slab { enough, sure: words(), maybe: words(), least: counts.clone(), most: counts }
    }

    pub(crate) fn clear(&mut self) {
        self.sure.fill(0);
        self.maybe.fill(0);
        self.least.fill(0);
        self.most.fill(0);
    }

    /// Adds an event of a home.
    #[inline]
    pub(crate) fn add(&mut self, home: u16, known: Known) {
        let (word, bit) = (usize::from(home) / 64, 1u64 << (home % 64));
        if self.enough <= 1 {
            if known == Known::Yes {
                self.sure[word] |= bit;
            } else {
                self.maybe[word] |= bit;
            }
            return;
        }
        if known == Known::Yes {
            let least = &mut self.least[usize::from(home)];
            *least = least.saturating_add(1);
            if *least >= self.enough {
                self.sure[word] |= bit;
            }
        }
        let most = &mut self.most[usize::from(home)];
        *most = most.saturating_add(1);
        if *most >= self.enough {
            self.maybe[word] |= bit;
        }
    }

    /// The homes as sets of their full numbers: certain ones, and all that may have enough.
    pub(crate) fn sets(&self, slab: u16) -> (RoaringBitmap, RoaringBitmap) {
        let first = u32::from(slab) << 16;
        let sure = set(first, &self.sure);
        let maybe = if is_empty(&self.maybe) { sure.clone() } else { set(first, &self.maybe) | &sure };
        (sure, maybe)
    }
}

/// The set of the numbers from `first` on whose bits are set.
pub(crate) fn set(first: u32, words: &[u64; HOME_WORDS]) -> RoaringBitmap {
    if is_empty(words) {
        return RoaringBitmap::new();
    }
    let mut bytes = [0; HOME_WORDS * 8];
    for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    RoaringBitmap::from_lsb0_bytes(first, &bytes)
}

fn is_empty(words: &[u64; HOME_WORDS]) -> bool {
    words.iter().fold(0, |any, word| any | word) == 0
}
