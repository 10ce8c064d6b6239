//! Hostile texts through every exit of the command line: terminals, CSV, JSON, and what is told on stderr.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::cli::{Place, run, stderr, text, told};

/// Texts that clear a screen, retitle a window, break a row, run as a formula, reorder a line or end a string.
const NASTY: [&str; 17] = [
    "\x1b[2J\x1b]0;owned\x07",
    "\u{9b}31mC1",
    "two\r\nlines",
    "cell,\"quoted\",'single'",
    "\"",
    "=HYPERLINK(\"http://x\",\"y\")",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1",
    "\u{202e}gpj.exe\u{2066}",
    "nul\0nul",
    "<script>alert(1)</script>",
    "zero\u{200b}width\u{feff}\u{2028}",
    "a; b=c; \\ | \x7f\x08",
];

/// What makes a spreadsheet run a cell.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

/// A character that must reach no output as it is, but for line feeds that end rows.
fn steers(character: char) -> bool {
    let bidi =
        matches!(character, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || bidi || matches!(character, '\u{200b}' | '\u{feff}' | '\u{2028}')
}

/// Customer A lived through an event of each text, in each field that takes any, and hangs on a thing named so.
fn store() -> (Place, PathBuf) {
    let mut records: Vec<String> = Vec::new();
    for (number, nasty) in NASTY.iter().enumerate() {
        let (thing, customer) = (format!("thing:{nasty}"), format!("customer:{nasty}"));
        records.push(
            json!({
                "time": format!("2026-01-05T09:00:{number:02}Z"), "source": nasty, "id": nasty, "kind": nasty,
                "layer": nasty, "severity": 17, "value": -2.5, "subjects": ["customer:A"], "context": [thing],
                "attrs": { *nasty: nasty },
            })
            .to_string(),
        );
        let link = |from: &str| json!({"link": "add", "from": from, "relation": nasty, "to": thing, "source": nasty});
        records.push(link("customer:A").to_string());
        records.push(link(&customer).to_string());
    }
    let place = Place::new();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let store = place.store(&records);
    (place, store)
}

/// Every command that shows data, and how often each nasty text must be found in it.
const COMMANDS: [(&[&str], bool); 14] = [
    (&["stream", "A"], true),
    (&["links", "customer:A"], true),
    (&["stats"], true),
    (&["who", "all"], true),
    (&["top", "kind", "--limit", "99"], true),
    (&["group", "kind"], true),
    (&["group", "source"], true),
    (&["group", "layer"], true),
    (&["group", "context"], true),
    (&["timeline", "any"], false),
    (&["top", "customers"], false),
    (&["funnel", "kind = \"\u{1b}[2J\"", "any"], false),
    (&["cohorts"], false),
    (&["check"], false),
];

fn asked(store: &Path, arguments: &[&str], format: &[&str]) -> String {
    told(&[arguments, &["--db", text(store)], format].concat(), 0)
}

/// Rows of RFC 4180, read by the letter of it and by no crate that writes it.
fn read_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if cell.is_empty() => loop {
                match characters.next().expect("a quoted cell ends") {
                    '"' if characters.peek() == Some(&'"') => cell.push(characters.next().expect("it was seen")),
                    '"' => {
                        assert!(matches!(characters.peek(), None | Some(',' | '\n' | '\r')), "text behind quotes");
                        break;
                    }
                    other => cell.push(other),
                }
            },
            ',' => row.push(std::mem::take(&mut cell)),
            '\n' => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            '\r' => assert_eq!(characters.peek(), Some(&'\n'), "a bare carriage return"),
            '"' => panic!("a quote in the middle of a bare cell"),
            other => cell.push(other),
        }
    }
    assert!(cell.is_empty() && row.is_empty(), "the last row ends");
    let width = rows[0].len();
    assert!(rows.iter().all(|row| row.len() == width), "{rows:?}");
    rows
}

/// The text that a guarded cell stands for.
fn armed(cell: &str) -> String {
    let bare = cell.strip_prefix('\'').filter(|bare| {
        let first = unescaped(bare).chars().next();
        first.is_some_and(|first| FORMULA.contains(&first))
    });
    unescaped(bare.unwrap_or(cell))
}

/// Turns `\u{..}` back. None of the nasty texts has one of its own.
fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\u{");
    let mut back = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('}').expect("an escape ends");
        let code = u32::from_str_radix(code, 16).expect("an escape is a number");
        back.push(char::from_u32(code).expect("an escape is a character"));
        back.push_str(rest);
    }
    back
}

/// Every text in a JSON value, keys included.
fn texts(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::String(text) => found.push(text.clone()),
        Json::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Json::Object(fields) => fields.iter().for_each(|(key, value)| {
            found.push(key.clone());
            texts(value, found);
        }),
        _ => {}
    }
}

/// Whether each nasty text is one of `found`, alone or as the id of an entity.
fn assert_all_found(found: &[String], what: &str) {
    for nasty in NASTY {
        let is_it = |text: &String| text == nasty || *text == format!("thing:{nasty}");
        assert!(found.iter().any(is_it), "{what} lacks {nasty:?}: {found:?}");
    }
}

#[test]
fn no_character_that_steers_a_terminal_leaves_in_any_format() {
    let (_place, store) = store();
    asked(&store, &["who", "did(kind = \"=HYPERLINK(\\\"http://x\\\",\\\"y\\\")\")", "--save", "\x1b[2J=1"], &[]);
    for (command, _) in COMMANDS {
        for format in ["table", "ndjson", "json", "csv"] {
            let told = asked(&store, command, &["--format", format]);
            let steering: Vec<char> = told.chars().filter(|&one| steers(one) && one != '\n').collect();
            assert!(steering.is_empty(), "{command:?} as {format}: {steering:?} in {told:?}");
        }
    }
    // Trees have no CSV.
    let id = "=HYPERLINK(\"http://x\",\"y\")";
    for command in [&["why", "A", id][..], &["witness", "A", "did(kind = any)"], &["why", "A", NASTY[0]]] {
        for format in ["table", "ndjson", "json"] {
            let told = asked(&store, command, &["--format", format]);
            assert!(!told.contains(|one| steers(one) && one != '\n'), "{command:?} as {format}: {told:?}");
        }
    }
}

#[test]
fn json_parses_and_has_every_text_as_it_was() {
    let (_place, store) = store();
    for (command, whole) in COMMANDS {
        let mut of_lines = Vec::new();
        for line in asked(&store, command, &["--format", "ndjson"]).lines() {
            texts(&serde_json::from_str(line).unwrap_or_else(|_| panic!("JSON: {line}")), &mut of_lines);
        }
        let mut of_value = Vec::new();
        let value = asked(&store, command, &["--format", "json"]);
        texts(&serde_json::from_str(&value).unwrap_or_else(|_| panic!("JSON: {value}")), &mut of_value);
        if whole {
            assert_all_found(&of_lines, &format!("{command:?} as lines"));
            assert_all_found(&of_value, &format!("{command:?} as one value"));
        }
    }
}

#[test]
fn csv_reads_back_exactly_and_has_no_cell_that_runs() {
    let (_place, store) = store();
    for (command, whole) in COMMANDS {
        let guarded = read_csv(&asked(&store, command, &["--format", "csv"]));
        for cell in guarded.iter().flatten() {
            let is_number = cell.parse::<f64>().is_ok();
            assert!(is_number || !cell.starts_with(FORMULA), "{command:?}: a spreadsheet runs {cell:?}");
        }
        let raw = read_csv(&asked(&store, command, &["--format", "csv", "--csv-raw"]));
        assert_eq!((raw.len(), raw[0].len()), (guarded.len(), guarded[0].len()), "{command:?}");
        if whole {
            assert_all_found(&raw.concat(), &format!("{command:?} raw"));
            let armed: Vec<String> = guarded.iter().flatten().map(|cell| armed(cell)).collect();
            assert_all_found(&armed, &format!("{command:?} guarded"));
        }
    }
    let stream = read_csv(&asked(&store, &["stream", "A"], &["--format", "csv", "--csv-raw"]));
    let column = |name: &str| stream[0].iter().position(|title| title == name).expect("a column of that name");
    for (row, nasty) in stream[1..].iter().zip(NASTY) {
        for name in ["source", "id", "kind", "layer"] {
            assert_eq!(row[column(name)], nasty, "{name}");
        }
        assert_eq!(row[column("context")], format!("thing:{nasty}"));
        assert_eq!(row[column("attrs")], format!("{nasty}={nasty}"));
        assert_eq!(row[column("value")], "-2.5");
    }
}

#[test]
fn what_is_told_on_stderr_steers_no_terminal() {
    let (place, store) = store();
    let nasty = "\x1b[2J\u{202e}\u{9b}x";
    let feed =
        place.file("bad.ndjson", &[&format!("{{\"{nasty}\": 1}}"), &json!({ nasty: 1, "kind": nasty }).to_string()]);
    let in_set = format!("did(kind = \"{nasty}\" and)");
    for arguments in [
        &["stream", nasty][..],
        &["why", "A", nasty],
        &["links", &format!("thing:{nasty}x")],
        &["links", nasty],
        &["who", &in_set],
        &["who", &format!("cohort(\"{nasty}\")")],
        &["timeline", "any", "--every", nasty],
        &["stream", "A", "--from", nasty],
        &["top", nasty],
        &["erase", nasty],
        &["cohorts", "--drop", nasty],
        &["ingest", text(&feed)],
        &["ingest", nasty],
        &["stats", "--format", nasty],
        &["retain", "--before", nasty],
        &["stream", "A", "--tz", nasty],
        &[nasty],
    ] {
        let output = run(&[arguments, &["--db", text(&store)]].concat());
        assert!(!output.status.success(), "{arguments:?}");
        let told = stderr(&output);
        assert!(!told.is_empty(), "{arguments:?}");
        assert!(!told.contains(|one| steers(one) && one != '\n'), "{arguments:?}: {told:?}");
    }
}
