//! Foreign text into records: native NDJSON, and any NDJSON, CSV or TSV through a mapping file.
//!
//! [`Import`] reads files, standard input or any reader, plain, gzip or zstd (told by content), and
//! yields [`Parsed`] chunks in input order, decoded by several threads behind bounded channels.
//! Each bad record is refused alone, with file, line, reason and original text; no input panics and
//! none is dropped silently. The formats are described in `docs/feeds.md`.
//!
//! This folder knows the model and nothing of stores: what it lets through may still be rejected or
//! in conflict when it is committed, and [`Parsed::reject`] then makes the entry for the rejects file.

mod csv;
mod decompress;
mod input;
mod json;
mod lines;
mod mapping;
pub mod native;
mod parsed;
mod parts;
mod reader;
mod time;

pub use input::Input;
pub use mapping::Mapping;
pub use parsed::{Parsed, Reject};
pub use reader::{Format, Import, ImportOptions};
