//! The native format: one JSON object a line, an event or a statement about a link.
//!
//! It is ofone's own, so it is strict: a field it does not have is an error that names the closest
//! one, not an attribute. [`write()`] and [`parse`] are inverse to each other.
//!
//! ```
//! use ofone::import::native;
//! let line = r#"{"time":"2026-01-05T09:13:00Z","source":"ran","kind":"call.dropped","subjects":["customer:C42"]}"#;
//! let record = native::parse(line).unwrap();
//! assert_eq!(native::write(&record), line);
//! ```

mod read;
mod write;

pub use read::parse;
pub use write::{write, write_to};

#[cfg(test)]
pub(super) mod tests;
