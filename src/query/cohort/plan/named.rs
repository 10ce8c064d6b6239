//! Where in one slab of one segment the entities of a question are named.

use smallvec::{SmallVec, smallvec};

use crate::codec::book::Place;
use crate::codec::homes::{HOME_WORDS, PAGE_HOMES};
use crate::codec::page::{ENTITY_FIRST, ENTITY_HOME, ENTITY_NONE, ENTITY_OTHER};
use crate::error::Result;
use crate::index::{Index, slab_of};

/// Homes of one slab of one segment with events that name some of the entities looked up, and by which code
/// pages tell those there. Reused from slab to slab.
pub(crate) struct Named {
    /// Ascending.
    entities: Vec<u32>,
    /// The slab's first home.
    first: u32,
    bits: Box<[u64; HOME_WORDS]>,
    /// How many homes name one, each counted for each; those of the entities themselves left out.
    count: usize,
    told: Told,
}

/// Which entities homes name.
enum Told {
    /// The only one, by its code: of homes whose bit is set; others keep what an earlier slab left.
    One(Box<[u8; PAGE_HOMES]>),
    /// By home.
    Several(Vec<Place>),
}

/// Which of the entities looked up are named under one home.
pub(crate) struct Under<'a> {
    home: u32,
    places: SmallVec<[(u32, u8); 4]>,
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
                    let same = self.places.iter().filter(|place| place.1 == code);
                    if same.map(|place| place.0).any(|entity| wanted.binary_search(&entity).is_ok()) {
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

/// The code by which pages tell an entity of this rank.
fn code_of(rank: u8) -> u8 {
    rank.saturating_add(ENTITY_FIRST)
}

impl Named {
    /// Looks for `entities` (ascending), of which there is one at least; nothing is found yet.
    pub(crate) fn new(entities: &[u32]) -> Named {
        let told = match entities {
            [_] => Told::One(Box::new([0; PAGE_HOMES])),
            _ => Told::Several(Vec::new()),
        };
        Named { entities: entities.to_vec(), first: 0, bits: Box::new([0; HOME_WORDS]), count: 0, told }
    }

    /// Turns to a slab, and looks the entities up in its book; returns whether some home may name one.
    pub(crate) fn turn_to(&mut self, index: &Index<'_>, slab: u16) -> Result<bool> {
        self.clear();
        self.first = u32::from(slab) << 16;
        let (bits, count) = (&mut *self.bits, &mut self.count);
        let mut add = |home: u16| {
            bits[usize::from(home) / 64] |= 1 << (home % 64);
            *count += 1;
        };
        match &mut self.told {
            Told::One(codes) => index.homes_naming(slab, self.entities[0], |home, rank| {
                add(home);
                codes[usize::from(home)] = code_of(rank);
            })?,
            Told::Several(places) => {
                for &entity in &self.entities {
                    index.homes_naming(slab, entity, |home, rank| {
                        add(home);
                        places.push(Place { entity, home, rank });
                    })?;
                }
                places.sort_unstable_by_key(|place| place.home);
            }
        }
        let mut any = self.count > 0;
        for &entity in self.entities.iter().filter(|&&entity| slab_of(entity) == slab) {
            let home = entity as u16;
            self.bits[usize::from(home) / 64] |= 1 << (home % 64);
            if let Told::One(codes) = &mut self.told {
                codes[usize::from(home)] = ENTITY_HOME;
            }
            any = true;
        }
        Ok(any)
    }

    fn clear(&mut self) {
        if let Told::Several(places) = &mut self.told {
            places.clear();
        }
        self.bits.fill(0);
        self.count = 0;
    }

    /// The only entity looked up.
    pub(crate) fn single(&self) -> Option<u32> {
        if let [entity] = self.entities[..] { Some(entity) } else { None }
    }

    /// The code by which pages tell the only entity looked up under a home that names it.
    #[inline]
    pub(crate) fn code(&self, home: u16) -> u8 {
        match &self.told {
            Told::One(codes) => codes[usize::from(home)],
            Told::Several(_) => ENTITY_NONE,
        }
    }

    /// How many homes name one, each counted for each; those of the entities themselves left out.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether so many homes name one that looking for them is no quicker than looking at all.
    pub(crate) fn is_dense(&self) -> bool {
        self.count > PAGE_HOMES / 64
    }

    /// Whether a large part of all homes does.
    pub(crate) fn is_crowded(&self) -> bool {
        self.count > PAGE_HOMES / 2
    }

    /// What is named under a home.
    pub(crate) fn under(&self, home: u16) -> Under<'_> {
        let places = match &self.told {
            Told::One(codes) if codes[usize::from(home)] < ENTITY_FIRST => SmallVec::new(),
            Told::One(codes) => smallvec![(self.entities[0], codes[usize::from(home)])],
            Told::Several(places) => {
                let from = places.partition_point(|place| place.home < home);
                let here = places[from..].iter().take_while(|place| place.home == home);
                here.map(|place| (place.entity, code_of(place.rank))).collect()
            }
        };
        Under { home: self.first | u32::from(home), places, entities: &self.entities }
    }

    /// The homes as bits.
    pub(crate) fn bits(&self) -> &[u64; HOME_WORDS] {
        &self.bits
    }
}
