//! Model to bytes and back: keys, rows, chunks, records.
//!
//! The only place that knows layouts; `docs/format.md` is their one description. Keys are
//! big-endian so that byte order is number order; values are little-endian or varints. Everything
//! decoded is checked before it is used, and a decoder that succeeds has read every byte.

pub(crate) mod book;
pub(crate) mod calendar;
pub(crate) mod chunk;
pub(crate) mod filter;
pub(crate) mod homes;
pub(crate) mod key;
pub(crate) mod page;
pub(crate) mod raw;
pub(crate) mod record;
pub(crate) mod varint;
