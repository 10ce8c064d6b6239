//! What the fuzz targets do: each takes any bytes, calls public functions of ofone, and panics when
//! something that must hold does not. `tests/it/corpus.rs` includes this folder and replays the corpora.

mod operations;

use std::io::Cursor as Bytes;
use std::str::FromStr;

use ofone::import::{Format, Import, ImportOptions, Input, Mapping, Reject, native};
use ofone::{Cursor, Entity, EventName, Expr, Predicate, Record, Timestamp};

pub use operations::operations;

/// A line of native NDJSON that is read is written as a line that reads the same.
pub fn native(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for line in text.lines() {
        if let Ok(record) = native::parse(line) {
            let written = native::write(&record);
            assert!(!written.contains('\n'), "{written}");
            assert_eq!(native::parse(&written).expect("what was written is read"), record, "{written}");
        }
    }
}

/// A mapping file, and behind a line `---` what is to be mapped.
pub fn mapping(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (mapping, feed) = text.split_once("\n---\n").unwrap_or((text, ""));
    if let Ok(mapping) = Mapping::parse(mapping) {
        in_blocks_of_any_size(mapping.into(), feed.as_bytes());
    }
}

/// The format in the first byte, then a feed, which may be compressed.
pub fn import(data: &[u8]) {
    const CSV: &str = r#"
        format = "csv"
        [event]
        time = "{time}"
        source = "{source}"
        kind = "{kind}"
        subjects = [{ each = "who", split = ";" }]
        attributes = "rest"
    "#;
    let Some((format, feed)) = data.split_first() else { return };
    let mapped = |mapping: &str| Format::from(Mapping::parse(mapping).expect("a mapping"));
    let format = match format % 4 {
        0 => Format::Native,
        1 => mapped(CSV),
        2 => mapped(&CSV.replace("\"csv\"", "\"tsv\"")),
        _ => mapped(&CSV.replace("\"csv\"", "\"ndjson\"")),
    };
    in_blocks_of_any_size(format, feed);
}

/// What can be parsed from text comes back from its own text.
pub fn texts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for line in text.lines() {
        comes_back::<Timestamp>(line);
        comes_back::<Entity>(line);
        comes_back::<Cursor>(line);
        if let Ok(time) = line.parse() {
            let name = EventName { source: line.into(), id: line.into(), time };
            assert!(name.to_string().starts_with(line));
        }
    }
}

/// An expression a file: one that is read is printed as one that reads the same, in any zone.
pub fn expr(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    comes_back::<Expr>(text);
    comes_back::<Predicate>(text);
    if let Ok(expr) = Expr::parse_in(text, "UTC") {
        expr.check().expect("what was read keeps the rules");
        comes_back::<Expr>(&expr.to_string());
    }
}

fn comes_back<T: FromStr + ToString + PartialEq + std::fmt::Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let shown = value.to_string();
        assert!(shown.parse::<T>().is_ok_and(|again| again == value), "{value:?} is shown as {shown}");
    }
}

/// Blocks are a matter of speed: their size changes neither records nor rejects.
fn in_blocks_of_any_size(format: Format, feed: &[u8]) {
    let large = read(format.clone(), feed, 1 << 20);
    let small = read(format, feed, 7);
    if let (Some(large), Some(small)) = (large, small) {
        assert_eq!(large, small);
    }
}

/// A record, the line it began on, and the text it was made of.
type Read = (u64, Vec<u8>, Record);

/// What was read and what was refused; `None` when the input as a whole was given up.
fn read(format: Format, feed: &[u8], block_bytes: usize) -> Option<(Vec<Read>, Vec<Reject>)> {
    let input = Input::reader("feed", Bytes::new(feed.to_vec()));
    let options =
        ImportOptions::new().threads(1).block_bytes(block_bytes).max_line_bytes(1 << 12).expansion(1 << 16, 50);
    let (mut records, mut rejects) = (Vec::new(), Vec::new());
    for parsed in Import::new(vec![input], format, options).expect("threads") {
        let mut parsed = parsed.ok()?;
        rejects.append(&mut parsed.rejects);
        for (index, record) in parsed.records.iter().enumerate() {
            records.push((parsed.line(index), parsed.original(index).to_vec(), record.clone()));
        }
    }
    assert!(records.is_sorted_by_key(|(line, _, _)| *line));
    assert!(rejects.is_sorted_by_key(|reject| reject.line));
    for reject in &rejects {
        assert!(!reject.reason.is_empty() && !reject.to_json().contains('\n'), "{reject:?}");
    }
    Some((records, rejects))
}
