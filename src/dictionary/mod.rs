//! Numbers for things: words, shapes, attribute texts and entities, and back.
//!
//! Terms (words, shapes, attribute texts) live in memory whole, bounded by [`TermLimits`]; entities
//! live in the store behind bounded caches. Numbers are given once and never reused, so a number
//! read from anywhere means the same for ever.
//!
//! Invariant: a number is written to the store in the same atomic batch as the first row that uses
//! it. Only the names and numbers families hold identifiers.

mod names;
mod terms;

pub(crate) use names::{NameHash, NameHasher, NameReader, NameWriter, parse as parse_name, random};
pub(crate) use terms::{SCOPES, SHAPES, ShapeEntry, TEXTS, TermLimits, TermTables, TermWriter, Terms, WORDS};
