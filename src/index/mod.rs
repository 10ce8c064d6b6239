//! The index of a segment: who had which kind of event when, and with which entities.
//!
//! Homes are taken in *slabs* of 65,536 neighbours. A slab has a page for each kind that its events
//! have ([`crate::codec::page`]) and a book of the entities that they name ([`crate::codec::book`]). Both
//! are written with the rows of the segment, by the same walk over its homes, and never change.
//!
//! Invariant: the index of a segment follows from its rows, byte for byte. Whatever reads it may be told
//! less than the rows tell, never anything else.

mod build;
mod cache;
mod check;
mod read;
mod write;

pub(crate) use build::{CLASSES_MAX, ShapeFacts};
pub(crate) use cache::PageCache;
pub(crate) use check::IndexCheck;
pub(crate) use read::Index;
pub(crate) use write::IndexWriter;

/// The slab of a home.
pub(crate) fn slab_of(home: u32) -> u16 {
    (home >> 16) as u16
}
