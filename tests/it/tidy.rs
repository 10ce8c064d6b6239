//! Rules of the house that no compiler checks: which floor may see which, and what a line may hold.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest line, in characters.
const LINE_MAX: usize = 120;

/// The floors, bottom up. A file sees the floors below it and its own folder.
const FLOORS: [&[&str]; 10] = [
    &["error"],
    &["fail", "model"],
    &["codec", "expr", "import"],
    &["store"],
    &["dictionary", "topology"],
    &["index"],
    &["segment"],
    &["backup", "ingest", "query"],
    &["export", "db", "fuzzing"],
    &["salvage"],
];

/// Crates, and the folder that alone may name each.
const KEPT_IN: [(&str, &str); 2] = [("rocksdb", "src/store/"), ("bincode", "src/codec/")];

/// Functions of bincode; its derives may stand on any record of `codec`.
const BINCODE_CALLS: [&str; 5] =
    ["bincode::encode", "bincode::decode", "bincode::serde", "bincode::config", "bincode::borrow_decode"];

/// The one file that calls them.
const RECORDS: &str = "src/codec/record.rs";

struct Source {
    /// Path from the root of the package, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The folder or file under `src` that decides the floor: `codec` for `src/codec/key.rs`.
    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").expect("sources are under src");
        inside.split('/').next().expect("a path has a first part").trim_end_matches(".rs")
    }

    /// The text with comments blanked, line for line; strings stay.
    fn code(&self) -> String {
        let blanked = self.text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
        blanked.collect::<Vec<&str>>().join("\n")
    }

    fn at(&self, line: usize, problem: &str) -> String {
        format!("{}:{line}: {problem}", self.path)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under `folder`, in order.
fn sources(folder: &str) -> Vec<Source> {
    let mut folders = vec![root().join(folder)];
    let mut paths: BTreeSet<PathBuf> = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the package can be listed") {
            let path = entry.expect("its entries too").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                paths.insert(path);
            }
        }
    }
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source is text");
            let inside = path.strip_prefix(root()).expect("it lies under the root");
            let parts: Vec<_> = inside.iter().map(|part| part.to_str().expect("plain names")).collect();
            Source { path: parts.join("/"), text }
        })
        .collect()
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// What code names by `crate::`, with the number of the line: `crate::{a::B, c::D}` names two modules.
fn reached(code: &str) -> Vec<(usize, String)> {
    let ends = |character: char| !(character.is_alphanumeric() || character == '_');
    let first = |path: &str| path.trim_start().split(ends).next().unwrap_or("").to_owned();
    let mut found = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        let line = 1 + code[..at].matches('\n').count();
        let after = &code[at + path.len()..];
        let Some(list) = after.strip_prefix('{') else {
            found.push((line, first(after)));
            continue;
        };
        let mut depth = 1;
        let end = list.find(|character: char| {
            depth += i32::from(character == '{') - i32::from(character == '}');
            depth == 0
        });
        let mut depth = 0;
        let parts = list[..end.unwrap_or(list.len())].split(|character: char| {
            depth += i32::from(character == '{') - i32::from(character == '}');
            character == ',' && depth == 0
        });
        found.extend(parts.map(|part| (line, first(part))));
    }
    // What begins with a capital the root passes on, from some floor below; macros of ours there are none.
    found.retain(|(_, name)| name.chars().next().is_some_and(char::is_lowercase));
    found
}

fn imports_that_go_up(source: &Source) -> Vec<String> {
    let module = source.module();
    if module == "lib" || module == "bin" {
        return Vec::new();
    }
    let Some(floor) = floor_of(module) else {
        return vec![source.at(1, "stands on no floor; give its folder one in tests/it/tidy.rs")];
    };
    let mut problems = Vec::new();
    for (line, other) in reached(&source.code()).iter().filter(|(_, other)| other != module) {
        match floor_of(other) {
            Some(below) if below < floor => {}
            Some(_) => problems.push(source.at(*line, &format!("{module} must not see {other}"))),
            None => problems.push(source.at(*line, &format!("`{other}` stands on no floor"))),
        }
    }
    problems
}

fn names(line: &str, word: &str) -> bool {
    let inside = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

fn crates_out_of_place(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in source.code().lines().enumerate().map(|(index, line)| (index + 1, line)) {
        for (name, home) in KEPT_IN {
            if names(line, name) && !source.path.starts_with(home) {
                problems.push(source.at(number, &format!("only {home} names {name}")));
            }
        }
        let calls = BINCODE_CALLS.iter().any(|call| line.contains(call) && !line.contains("derive("));
        if calls && source.path != RECORDS {
            problems.push(source.at(number, &format!("only {RECORDS} calls bincode")));
        }
    }
    problems
}

fn unfinished(source: &Source) -> Vec<String> {
    let marks = ["todo!(", "unimplemented!(", concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let lines = source.text.lines().enumerate();
    let marked = lines.filter_map(|(index, line)| {
        let mark = marks.iter().find(|mark| line.contains(**mark))?;
        Some(source.at(index + 1, &format!("{mark} is left")))
    });
    marked.collect()
}

/// A line that holds a quoted text may be longer: the text must be read as it is.
fn long_lines(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    let long = lines.filter(|(_, line)| line.chars().count() > LINE_MAX && !line.contains('"'));
    long.map(|(index, _)| source.at(index + 1, &format!("more than {LINE_MAX} characters"))).collect()
}

fn problems(folder: &str, rule: fn(&Source) -> Vec<String>) -> Vec<String> {
    let sources = sources(folder);
    assert!(sources.len() > 3, "there are sources in {folder}");
    sources.iter().flat_map(rule).collect()
}

#[test]
fn the_library_lists_its_modules_from_the_lowest_floor_up() {
    let root = sources("src").into_iter().find(|source| source.path == "src/lib.rs").expect("src/lib.rs");
    let code = root.code();
    let listed: Vec<&str> = code
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert!(listed.is_sorted_by_key(|module| floor_of(module)), "{listed:?}");
    assert_eq!(listed.len(), FLOORS.iter().map(|floor| floor.len()).sum::<usize>(), "{listed:?}");
}

#[test]
fn the_architecture_page_lists_the_floors() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).expect("the page is there");
    for (number, floor) in FLOORS.iter().enumerate() {
        let line =
            page.lines().find_map(|line| line.strip_prefix(&format!("F{number} "))).expect("each floor has a line");
        // The names come first, then what is said about them.
        let listed = line.split_whitespace().map(|word| word.trim_end_matches('/').trim_end_matches(".rs"));
        let named: BTreeSet<&str> = listed.take(floor.len()).collect();
        assert_eq!(named, floor.iter().copied().collect(), "floor {number} of docs/architecture.md");
    }
}

#[test]
fn imports_go_downward_only() {
    assert_eq!(problems("src", imports_that_go_up), Vec::<String>::new());
}

#[test]
fn storage_engine_and_record_format_are_named_in_one_place_each() {
    assert_eq!(problems("src", crates_out_of_place), Vec::<String>::new());
}

#[test]
fn nothing_is_left_unfinished() {
    assert_eq!(problems("src", unfinished), Vec::<String>::new());
}

#[test]
fn lines_are_short() {
    assert_eq!(problems("src", long_lines), Vec::<String>::new());
    assert_eq!(problems("tests/it", long_lines), Vec::<String>::new());
}

#[test]
fn every_file_tells_what_it_is_for() {
    let silent = |source: &Source| {
        let told = source.text.starts_with("//!") || source.path.ends_with("/tests.rs");
        if told { Vec::new() } else { vec![source.at(1, "begins without a line that says what it is for")] }
    };
    assert_eq!(problems("src", silent), Vec::<String>::new());
}

#[test]
fn the_rules_notice_what_they_are_for() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let up = |path: &str, text: &str| imports_that_go_up(&source(path, text)).len();
    assert_eq!(up("src/codec/key.rs", "use crate::store::Family;"), 1);
    assert_eq!(up("src/codec/key.rs", "use crate::{error::Error, import::native, model::{Text, Value}};"), 1);
    assert_eq!(up("src/query/why.rs", "    crate::ingest::Batch::new()"), 1);
    assert_eq!(up("src/query/why.rs", "use crate::query::lookup;\nuse crate::Entity;\n// crate::ingest\n"), 0);
    assert_eq!(up("src/query/why.rs", "use crate::{\n    Entity,\n    db::{Db, Options},\n};"), 1);
    assert_eq!(up("src/attic/old.rs", ""), 1);
    let misplaced = |path: &str, text: &str| crates_out_of_place(&source(path, text)).len();
    assert_eq!(misplaced("src/query/why.rs", "use rocksdb::DB;"), 1);
    assert_eq!(misplaced("src/store/rocks.rs", "use rocksdb::DB;"), 0);
    assert_eq!(misplaced("src/codec/raw.rs", "#[derive(bincode::Encode, bincode::Decode)]"), 0);
    assert_eq!(misplaced("src/codec/raw.rs", "bincode::encode_to_vec(record, config)"), 1);
    assert_eq!(unfinished(&source("src/a.rs", concat!("// TO", "DO: later"))).len(), 1);
    assert_eq!(long_lines(&source("src/a.rs", &"é".repeat(LINE_MAX))).len(), 0);
    assert_eq!(long_lines(&source("src/a.rs", &"é".repeat(LINE_MAX + 1))).len(), 1);
    assert_eq!(long_lines(&source("src/a.rs", &format!("let text = \"{}\";", "x".repeat(LINE_MAX)))).len(), 0);
}
