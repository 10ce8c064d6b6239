//! Results as text: JSON and CSV rows of what a query found, and the escaping that every exit shares.
//!
//! Text in events is hostile: anyone who can open a ticket writes into it. So nothing from data reaches
//! an output as it is. [`escape`] is for people's eyes, JSON keeps every character but writes the
//! dangerous ones as `\u` escapes, and [`CsvWriter`] also disarms formulas. Which format, which colours
//! and which columns is the caller's business; this folder knows no terminal.

mod csv;
mod escape;
mod json;
mod row;

pub use csv::CsvWriter;
pub use escape::{Escaped, escape};
pub use json::{ItemFields, write_count, write_item, write_link, write_links, write_stats, write_why, write_witness};
pub use row::{Cell, write_row};
