//! Where in one slab of one segment the entities of a question are named.

use crate::codec::book::Place;
use crate::codec::page::{ENTITY_FIRST, ENTITY_HOME, HOME_WORDS};
use crate::error::Result;
use crate::index::{Index, slab_of};

/// Homes with events that name one of some entities, and by which code pages tell them there.
pub(crate) struct Named {
    /// The slab's first home.
    first: u32,
    bits: Box<[u64; HOME_WORDS]>,
    /// By home.
    places: Vec<Place>,
}

impl Named {
    /// Looks `entities` up in the book of a slab.
    pub(crate) fn find(index: &Index<'_>, slab: u16, entities: &[u32]) -> Result<Named> {
        let mut places = Vec::new();
        for &entity in entities {
            index.places_naming(slab, entity, &mut places)?;
        }
        places.sort_unstable_by_key(|place| place.home);
        let mut bits = Box::new([0; HOME_WORDS]);
        let own = entities.iter().filter(|&&entity| slab_of(entity) == slab).map(|&entity| entity as u16);
        for home in places.iter().map(|place| place.home).chain(own) {
            bits[usize::from(home) / 64] |= 1 << (home % 64);
        }
        Ok(Named { first: u32::from(slab) << 16, bits, places })
    }

    /// Whether events under the home may name one.
    #[inline]
    pub(crate) fn has(&self, home: u16) -> bool {
        self.bits[usize::from(home) / 64] >> (home % 64) & 1 != 0
    }

    /// Whether `code` of an event under `home` stands for one of `wanted` (ascending).
    pub(crate) fn is_one(&self, home: u16, code: u8, wanted: &[u32]) -> bool {
        if code == ENTITY_HOME {
            return wanted.binary_search(&(self.first | u32::from(home))).is_ok();
        }
        let from = self.places.partition_point(|place| place.home < home);
        let here = self.places[from..].iter().take_while(|place| place.home == home);
        let rank = code.wrapping_sub(ENTITY_FIRST);
        here.filter(|place| place.rank == rank).any(|place| wanted.binary_search(&place.entity).is_ok())
    }

    /// The homes as bits.
    pub(crate) fn bits(&self) -> &[u64; HOME_WORDS] {
        &self.bits
    }
}
