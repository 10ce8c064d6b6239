//! Where in one slab of one segment the entities of a question are named.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::codec::book::Place;
use crate::codec::homes::{HOME_WORDS, PAGE_HOMES};
use crate::codec::page::{ENTITY_FIRST, ENTITY_HOME, ENTITY_NONE, ENTITY_OTHER};
use crate::error::Result;
use crate::index::{Index, slab_of};

/// Homes with events that name one of some entities, and by which code pages tell them there.
pub(crate) struct Named {
    /// The slab's first home.
    first: u32,
    bits: Box<[u64; HOME_WORDS]>,
    /// By home.
    places: Vec<Place>,
    /// For each word of bits where the places of its homes begin.
    starts: Box<[u32; HOME_WORDS]>,
    /// Those that were looked up, ascending.
    entities: Vec<u32>,
    /// Of a single one that many homes name, the code by which pages tell it under each; 0 where it is not named.
    codes: Option<Box<[u8; PAGE_HOMES]>>,
}

/// By segment and slab.
pub(crate) type NamedBySlab = HashMap<(u32, u16), Named, FixedState>;

/// Which of the entities looked up are named under one home.
pub(crate) struct Under<'a> {
    home: u32,
    places: &'a [Place],
    entities: &'a [u32],
}

impl Under<'_> {
    /// Whether one of `wanted` (ascending) stands behind some of the `codes` of an event of the home;
    /// `None` when that is not told.
    pub(crate) fn names(&self, wanted: &[u32], codes: impl Iterator<Item = u8>) -> Option<bool> {
        let known = |entity: &u32| *entity == self.home || self.entities.binary_search(entity).is_ok();
        let mut told = wanted.iter().all(known);
        for code in codes {
            match code {
                ENTITY_NONE => {}
                ENTITY_HOME if wanted.binary_search(&self.home).is_ok() => return Some(true),
                ENTITY_HOME => {}
                code => {
                    let same = self.places.iter().filter(|place| code_of(place.rank) == code);
                    if same.map(|place| place.entity).any(|entity| wanted.binary_search(&entity).is_ok()) {
                        if code != ENTITY_OTHER {
                            return Some(true);
                        }
                        told = false;
                    }
                }
            }
        }
        told.then_some(false)
    }
}

fn is_dense(places: &[Place]) -> bool {
    places.len() > PAGE_HOMES / 64
}

/// The code by which pages tell an entity of this rank.
fn code_of(rank: u8) -> u8 {
    rank.saturating_add(ENTITY_FIRST)
}

impl Named {
    /// Looks `entities` up in the book of a slab; `None` if no home names one.
    pub(crate) fn find(index: &Index<'_>, slab: u16, entities: &[u32]) -> Result<Option<Named>> {
        let mut places = Vec::new();
        for &entity in entities {
            index.places_naming(slab, entity, &mut places)?;
        }
        if places.is_empty() && entities.iter().all(|&entity| slab_of(entity) != slab) {
            return Ok(None);
        }
        if entities.len() > 1 {
            places.sort_unstable_by_key(|place| place.home);
        }
        let mut bits = Box::new([0; HOME_WORDS]);
        let mut starts = Box::new([0; HOME_WORDS]);
        for place in &places {
            let word = usize::from(place.home) / 64;
            bits[word] |= 1 << (place.home % 64);
            starts[word] += 1;
        }
        let mut begin = 0;
        for start in starts.iter_mut() {
            (begin, *start) = (begin + *start, begin);
        }
        let own = entities.iter().filter(|&&entity| slab_of(entity) == slab).map(|&entity| entity as u16);
        own.clone().for_each(|home| bits[usize::from(home) / 64] |= 1 << (home % 64));
        let mut entities = entities.to_vec();
        entities.sort_unstable();
        let codes = (entities.len() == 1 && is_dense(&places)).then(|| {
            let mut codes = Box::new([0; PAGE_HOMES]);
            own.for_each(|home| codes[usize::from(home)] = ENTITY_HOME);
            places.iter().for_each(|place| codes[usize::from(place.home)] = code_of(place.rank));
            codes
        });
        Ok(Some(Named { codes, first: u32::from(slab) << 16, bits, places, starts, entities }))
    }

    /// The only entity looked up.
    pub(crate) fn single(&self) -> Option<u32> {
        if let [entity] = self.entities[..] { Some(entity) } else { None }
    }

    /// The code by which pages tell the only entity looked up under a home that names it.
    #[inline]
    pub(crate) fn code(&self, home: u16) -> u8 {
        match &self.codes {
            Some(codes) => codes[usize::from(home)],
            None => {
                let near = &self.places[self.starts[usize::from(home) / 64] as usize..];
                near.iter().find(|place| place.home >= home).filter(|place| place.home == home).map_or_else(
                    || if self.entities[..] == [self.first | u32::from(home)] { ENTITY_HOME } else { 0 },
                    |place| code_of(place.rank),
                )
            }
        }
    }

    /// How many homes name one, each counted for each; those of the entities themselves left out.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether so many homes name one that looking for them is no quicker than looking at all.
    pub(crate) fn is_dense(&self) -> bool {
        is_dense(&self.places)
    }

    /// Whether a large part of all homes does.
    pub(crate) fn is_crowded(&self) -> bool {
        self.places.len() > PAGE_HOMES / 2
    }

    /// What is named under a home.
    pub(crate) fn under(&self, home: u16) -> Under<'_> {
        let near = &self.places[self.starts[usize::from(home) / 64] as usize..];
        let from = near.iter().take_while(|place| place.home < home).count();
        let count = near[from..].iter().take_while(|place| place.home == home).count();
        let places = &near[from..from + count];
        Under { home: self.first | u32::from(home), places, entities: &self.entities }
    }

    /// The homes as bits.
    pub(crate) fn bits(&self) -> &[u64; HOME_WORDS] {
        &self.bits
    }
}
