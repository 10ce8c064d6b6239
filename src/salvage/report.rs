//! What came over and what did not.

use std::fmt::Display;

/// Places listed; further ones are counted.
const PLACES_MAX: usize = 1000;

/// How many things of one kind were copied and how many lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// Read of the damaged store, and in the new one if it belongs there.
    pub copied: u64,
    /// Known to be missing. Where what counted them is damaged itself, there may be more.
    pub lost: u64,
}

/// What [`crate::salvage`] did. It names no entity, no event and no text of either: numbers and places alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Events, each once.
    pub events: Salvaged,
    /// Rows of sealed segments: an event once for each home under which it lies.
    pub rows: Salvaged,
    /// Chunks of rows.
    pub chunks: Salvaged,
    /// Commits that were in no segment yet.
    pub log_rows: Salvaged,
    /// Statements about links.
    pub links: Salvaged,
    /// Words: sources, kinds, layers, relations, entity types, names of attributes.
    pub words: Salvaged,
    /// Shapes of events.
    pub shapes: Salvaged,
    /// Attributes of kinds, under which texts have numbers.
    pub scopes: Salvaged,
    /// Numbered attribute texts.
    pub texts: Salvaged,
    /// Names of entities.
    pub names: Salvaged,
    /// Saved cohorts. Of one that was copied members without a name may be missing: see the places.
    pub cohorts: Salvaged,
    /// Erasures in the ledger.
    pub erasures: Salvaged,
    /// Events and statements that were left behind since they name somebody erased.
    pub erased: u64,
    /// Whether the ledger of erasures may not be whole: somebody erased may be back, or may come back.
    pub erasures_doubted: bool,
    /// Where something could not be read, or could not be told without something else.
    pub places: Vec<String>,
    /// Places beyond the first 1,000.
    pub places_unlisted: u64,
}

impl SalvageReport {
    /// The kinds of things, with what became of them.
    pub fn kinds(&self) -> [(&'static str, Salvaged); 12] {
        [
            ("events", self.events),
            ("rows", self.rows),
            ("chunks", self.chunks),
            ("log_rows", self.log_rows),
            ("links", self.links),
            ("words", self.words),
            ("shapes", self.shapes),
            ("scopes", self.scopes),
            ("texts", self.texts),
            ("names", self.names),
            ("cohorts", self.cohorts),
            ("erasures", self.erasures),
        ]
    }

    /// Whether nothing is known to be lost and nothing in doubt.
    pub fn is_whole(&self) -> bool {
        let lost = self.kinds().iter().any(|(_, kind)| kind.lost > 0);
        !lost && !self.erasures_doubted && self.places.is_empty()
    }

    pub(super) fn place(&mut self, place: impl Display) {
        if self.places.len() < PLACES_MAX {
            self.places.push(place.to_string());
        } else {
            self.places_unlisted += 1;
        }
    }
}
