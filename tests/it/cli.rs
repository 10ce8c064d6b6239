//! The binary, as a shell sees it: exit codes, what goes to stdout, what to stderr.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::{open, scratch};

/// The binary, with an environment that decides nothing.
pub(super) fn ofone(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ofone"));
    for variable in ["OFONE_DB", "NO_COLOR", "LC_ALL", "LC_CTYPE"] {
        command.env_remove(variable);
    }
    command.args(arguments).env("LANG", "C.UTF-8").env("TERM", "xterm").stdin(Stdio::null());
    command
}

pub(super) fn run(arguments: &[&str]) -> Output {
    ofone(arguments).output().expect("the binary starts")
}

pub(super) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("output is text")
}

pub(super) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("talk is text")
}

/// What a command writes to stdout when it ends with `code`.
pub(super) fn told(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
    stdout(&output).to_owned()
}

pub(super) fn lines(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("a line of JSON: {line}"))).collect()
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain characters")
}

/// A place for one test's store and files.
pub(super) struct Place(TempDir);

impl Place {
    pub(super) fn new() -> Place {
        Place(scratch())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of these lines.
    pub(super) fn file(&self, name: &str, lines: &[&str]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, lines.join("\n")).expect("the file is written");
        path
    }

    /// A store of these lines of native NDJSON.
    pub(super) fn store(&self, lines: &[&str]) -> PathBuf {
        let (store, file) = (self.path("store"), self.file("records.ndjson", lines));
        told(&["ingest", "--db", text(&store), text(&file)], 0);
        store
    }
}

const USES: &str = r#"{"link":"add","from":"customer:A","relation":"uses","to":"service:S","source":"crm"}"#;
const RUNS_ON: &str = r#"{"link":"add","from":"service:S","relation":"runs_on","to":"olt:K"}"#;
const ALARM: &str = r#"{"time":"2026-01-05T09:00:00Z","source":"nms","id":"a1","kind":"alarm.raised","severity":17,"subjects":["olt:K"]}"#;
const FORMULA: &str =
    r#"{"time":"2026-01-05T10:00:00Z","source":"crm","id":"=1+1","kind":"ticket.opened","customer":"A","value":-2.5}"#;

/// A store made by `gen`, shared by tests that only read: where it is, and the totals that were told.
fn provider() -> &'static (TempDir, String, Json) {
    static MADE: OnceLock<(TempDir, String, Json)> = OnceLock::new();
    MADE.get_or_init(|| {
        let place = scratch();
        let store = text(&place.path().join("store")).to_owned();
        let told = told(&["gen", "--db", &store, "--customers", "150", "--events-per-customer", "10"], 0);
        let made = lines(&told).pop().expect("totals");
        (place, store, made)
    })
}

#[test]
fn a_bad_line_is_refused_alone_and_the_exit_code_says_so() {
    let place = Place::new();
    let (store, rejects) = (place.path("store"), place.path("rejects.ndjson"));
    let bad = r#"{"time":"2026-01-05T09:00:00Z","source":"nms","knid":"alarm.raised"}"#;
    let conflict = ALARM.replace("olt:K", "olt:L");
    let torn = r#"{"time":"2026-01-05T09:00:00Z","#;
    let input = place.file("feed.ndjson", &[USES, ALARM, bad, RUNS_ON, &conflict, torn, ALARM, FORMULA]);
    let arguments = ["ingest", "--db", text(&store), text(&input), "--rejects", text(&rejects)];
    let totals = lines(&told(&arguments, 4));
    assert_eq!(
        totals,
        [serde_json::json!({"inserted": 4, "duplicates": 1, "conflicts": 1, "quarantined": 0, "rejected": 2})]
    );

    let refused = lines(&fs::read_to_string(&rejects).expect("the rejects file is written"));
    let originals: Vec<(&Json, &Json)> = refused.iter().map(|reject| (&reject["line"], &reject["original"])).collect();
    let expected =
        [(3, bad), (5, conflict.as_str()), (6, torn)].map(|(line, text)| (Json::from(line), Json::from(text)));
    assert_eq!(originals, expected.iter().map(|(line, text)| (line, text)).collect::<Vec<_>>());
    let reasons: Vec<&str> = refused.iter().filter_map(|reject| reject["reason"].as_str()).collect();
    assert!(reasons[0].contains("knid") && reasons[0].contains("kind"), "{}", reasons[0]);
    assert!(reasons[1].contains("conflict"), "{}", reasons[1]);
    assert!(refused.iter().all(|reject| reject["file"] == text(&input)), "{refused:?}");

    let stream = lines(&told(&["stream", "A", "--db", text(&store)], 0));
    let ids: Vec<&Json> = stream.iter().map(|event| &event["id"]).collect();
    assert_eq!(ids, ["a1", "=1+1"], "what surrounds the bad lines is stored");
    // The same again: all of it is known, and the bad lines are still bad.
    let again = lines(&told(&arguments, 4));
    assert_eq!(
        again,
        [serde_json::json!({"inserted": 0, "duplicates": 5, "conflicts": 1, "quarantined": 0, "rejected": 2})]
    );
}

#[test]
fn a_feed_without_fault_exits_with_0_and_without_rejects_the_first_bad_lines_are_shown() {
    let place = Place::new();
    let store = place.store(&[USES, RUNS_ON, ALARM]);
    let input = place.file("bad.ndjson", &["{", FORMULA]);
    let output = run(&["ingest", "--db", text(&store), text(&input)]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("bad.ndjson:1: "), "{}", stderr(&output));
}

#[test]
fn standard_input_is_read_and_the_store_can_come_from_the_environment() {
    let place = Place::new();
    let store = place.path("store");
    let mut child = ofone(&["ingest", "-"])
        .env("OFONE_DB", &store)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut input = child.stdin.take().expect("piped");
    writeln!(input, "{FORMULA}").expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    assert_eq!(lines(stdout(&output))[0]["inserted"], 1);
    assert_eq!(lines(&told(&["stream", "customer:A", "--db", text(&store)], 0)).len(), 1);
}

#[test]
fn what_gen_makes_can_be_asked_for_in_ndjson() {
    let (_place, store, made) = provider();
    let customer = made["try"]["customer"].as_str().expect("a customer worth a look");
    let event = &made["try"]["event"];
    let id = event["id"].as_str().expect("an event worth a look");

    let stream = lines(&told(&["stream", customer, "--db", store, "--paths", "--cursors"], 0));
    assert!(stream.iter().all(|row| row["customer"] == customer && row["paths"][0]["subject"].is_string()));
    let alarm = stream.iter().find(|row| row["id"] == *id).expect("the event is in the customer's stream");
    assert_eq!((&alarm["shared"], &alarm["source"]), (&Json::from(true), &event["source"]));
    let times: Vec<&str> = stream.iter().filter_map(|row| row["time"].as_str()).collect();
    assert!(times.len() == stream.len() && times.is_sorted_by_key(|time| time.parse::<ofone::Timestamp>().ok()));

    let counted = lines(&told(&["stream", customer, "--db", store, "--count"], 0));
    assert_eq!(counted, [serde_json::json!({"customer": customer, "events": stream.len()})]);
    let cursor = stream[2]["cursor"].as_str().expect("a cursor");
    let rest = lines(&told(&["stream", customer, "--db", store, "--after", cursor], 0));
    assert_eq!(rest.len(), stream.len() - 3, "what lies behind the third");
    let whole: Json = serde_json::from_str(&told(&["stream", customer, "--db", store, "--format", "json"], 0))
        .expect("one JSON value");
    assert_eq!(whole.as_array().map(Vec::len), Some(stream.len()));

    let why = lines(&told(&["why", customer, id, "--db", store], 0));
    assert_eq!((&why[0]["in_stream"], why.len()), (&Json::from(true), 1));
    assert_eq!(why[0]["paths"][0]["steps"][0]["from"], format!("customer:{customer}"));

    let links = lines(&told(&["links", &format!("customer:{customer}"), "--db", store], 0));
    assert!(!links.is_empty() && links.iter().all(|link| link["relation"].is_string()), "{links:?}");

    let stats = lines(&told(&["stats", "--db", store], 0)).pop().expect("counts");
    for field in ["customers", "events", "links"] {
        assert_eq!(stats[field], made[field], "{field}");
    }
    let mut attributes =
        stats["attributes"].as_object().expect("by kind").values().filter_map(Json::as_object).flatten();
    assert!(attributes.any(|(_, attribute)| attribute["indexed"] == "yes" && attribute["events"].as_u64() > Some(0)));
    let all = lines(&told(&["stream", "--all", "--count", "--db", store], 0));
    assert_eq!(Json::from(all.len()), made["customers"]);
    assert_eq!(lines(&told(&["check", "--db", store], 0)), Vec::<Json>::new(), "no problem, no line");
    let checked = lines(&told(&["check", "--db", store, "--format", "json"], 0));
    assert_eq!((&checked[0]["problems"], checked.len()), (&serde_json::json!([]), 1));
}

#[test]
fn the_same_seed_makes_the_same_feed_and_a_feed_and_a_store_hold_the_same() {
    let place = Place::new();
    let (_shared, filled, made) = provider();
    let arguments = ["gen", "--out", "-", "--customers", "150", "--events-per-customer", "10"];
    let feed = told(&arguments, 0);
    assert_eq!(feed, told(&arguments, 0));
    assert_ne!(feed, told(&[&arguments[..], &["--seed", "7"]].concat(), 0));
    let (file, store) = (place.file("feed.ndjson", &[&feed]), place.path("store"));
    let totals = lines(&told(&["ingest", "--db", text(&store), text(&file)], 0));
    assert_eq!(totals[0]["duplicates"], 0);
    let customer = made["try"]["customer"].as_str().expect("a customer worth a look");
    let without_commits = |store: &str| {
        let mut stream = lines(&told(&["stream", customer, "--db", store], 0));
        stream.iter_mut().for_each(|row| row["commit"] = Json::Null);
        stream
    };
    assert_eq!(without_commits(text(&store)), without_commits(filled));
}

#[test]
fn exit_code_2_is_a_wrong_command_line() {
    let place = Place::new();
    let store = place.store(&[ALARM]);
    let store = text(&store);
    let wrong: [&[&str]; 8] = [
        &[],
        &["stram"],
        &["stream", "--db", store],
        &["stream", "A", "--db", store, "--from", "yesterdayish"],
        &["stream", "A", "--db", store, "--from", "2026-01-02", "--to", "2026-01-01"],
        &["stream", "A", "--db", store, "--min-severity", "awful"],
        &["links", "no-type", "--db", store],
        &["gen", "--customers", "many", "--db", store],
    ];
    for arguments in wrong {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}: told on stderr");
    }
}

#[test]
fn exit_code_3_is_something_that_is_not_there() {
    let place = Place::new();
    let store = place.store(&[USES, ALARM]);
    let (store, absent) = (text(&store), place.path("absent"));
    let missing: [&[&str]; 7] = [
        &["stats", "--db", text(&absent)],
        &["stream", "B", "--db", store],
        &["stream", "olt:K", "--db", store],
        &["links", "olt:L", "--db", store],
        &["why", "A", "a2", "--db", store],
        &["why", "B", "a1", "--db", store],
        &["ingest", text(&absent), "--db", store],
    ];
    for arguments in missing {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("ofone: "), "{arguments:?}: {}", stderr(&output));
    }
    assert!(!absent.exists(), "looking makes no store");
    let outside = ["why", "A", "a1", "--source", "nms", "--time", "2026-01-05T09:00:00Z", "--db", store];
    let why = lines(&told(&outside, 0)).pop().expect("an answer");
    assert_eq!((&why["in_stream"], &why["why_not"]["reason"]), (&Json::from(false), &Json::from("no_path")));
}

#[test]
fn exit_code_5_is_a_store_that_another_process_has_open() {
    let place = Place::new();
    let store = place.store(&[ALARM]);
    let input = place.path("records.ndjson");
    let db = open(&store, 8);
    for arguments in [
        &["ingest", text(&input), "--db", text(&store)][..],
        &["cohorts", "--drop", "c", "--db", text(&store)],
        &["who", "all", "--save", "c", "--db", text(&store)],
        &["gen", "--db", text(&store), "--customers", "1"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(5), "{arguments:?}: {}", stderr(&output));
    }
    drop(db);
    told(&["cohorts", "--db", text(&store)], 0);
}

#[test]
fn links_too_many_are_listed_and_promoted() {
    let place = Place::new();
    let fed = |customer: &str| {
        format!(r#"{{"link":"add","from":"customer:{customer}","relation":"fed_by","to":"olt:K","source":"crm"}}"#)
    };
    let feed = ["A", "B", "C", "D"].map(fed);
    let feed: Vec<&str> = feed.iter().map(String::as_str).chain([ALARM]).collect();
    let (store, input) = (place.path("store"), place.file("feed.ndjson", &feed));
    let db = text(&store);
    let output = run(&["ingest", "--db", db, text(&input), "--links-to", "1"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("3 links are in quarantine"), "{}", stderr(&output));
    let totals = serde_json::json!({"inserted": 2, "duplicates": 0, "conflicts": 0, "quarantined": 3, "rejected": 0});
    assert_eq!(lines(stdout(&output)), [totals]);
    let listed = |more: &[&str]| told(&[&["links", "--quarantined", "--db", db], more].concat(), 0);
    let froms = |text: &str| -> Vec<String> {
        lines(text).iter().map(|row| row["from"].as_str().expect("an entity").to_owned()).collect()
    };
    assert_eq!(froms(&listed(&[])), ["customer:B", "customer:C", "customer:D"]);
    assert_eq!(froms(&listed(&["customer:C", "olt:K"])), ["customer:B", "customer:C", "customer:D"]);
    assert_eq!(froms(&listed(&["customer:C"])), ["customer:C"]);
    let csv = "from,relation,to,valid_from,valid_to,source\ncustomer:C,fed_by,olt:K,,,crm\n";
    assert_eq!(listed(&["customer:C", "--format", "csv"]), csv);
    let stats = lines(&told(&["stats", "--db", db], 0)).pop().expect("counts");
    assert_eq!((&stats["links"], &stats["links_quarantined"]), (&Json::from(1), &Json::from(3)));
    let why = ["why", "B", "a1", "--source", "nms", "--time", "2026-01-05T09:00:00Z", "--db", db];
    let reason = lines(&told(&[&why[..], &["--format", "json"]].concat(), 0)).pop().expect("an answer");
    assert_eq!(reason["why_not"]["reason"], "quarantined");
    assert!(told(&[&why[..], &["--format", "table"]].concat(), 0).contains("a link is in quarantine"));

    let promoted = |count: u64| serde_json::json!({ "promoted": count });
    let promote = |more: &[&str], code| lines(&told(&[&["promote", "--db", db], more].concat(), code));
    assert_eq!(promote(&["customer:B", "fed_by", "olt:K"], 0), [promoted(1)]);
    assert_eq!(lines(&told(&["stream", "B", "--db", db], 0)).len(), 1);
    assert_eq!(promote(&["customer:B", "fed_by", "olt:K"], 3), Vec::<Json>::new());
    assert_eq!(promote(&["--of", "olt:K", "--relation", "uses"], 3), Vec::<Json>::new());
    assert_eq!(promote(&["--of", "olt:K"], 0), [promoted(2)]);
    assert_eq!(listed(&[]), "");
    for wrong in [&["customer:B", "fed_by"][..], &["b", "fed_by", "olt:K"], &[], &["--relation", "uses"]] {
        promote(wrong, 2);
    }
}

#[test]
fn limits_are_listed_in_every_format() {
    let rows = lines(&told(&["limits"], 0));
    let line = rows.iter().find(|row| row["limit"] == "line_bytes").expect("a limit of lines");
    assert_eq!((&line["most"], &line["set_by"]), (&Json::from(1 << 20), &Json::from("ImportOptions")));
    let all = ofone::Limits::default().list();
    let told_of = |row: &Json| (row["limit"].as_str().unwrap_or("").to_owned(), row["most"].as_u64());
    let expected: Vec<_> = all.iter().map(|limit| (limit.name.to_owned(), Some(limit.most))).collect();
    assert_eq!(rows.iter().map(told_of).collect::<Vec<_>>(), expected);
    let json: Json = serde_json::from_str(&told(&["limits", "--format", "json"], 0)).expect("JSON");
    assert_eq!(json.as_array(), Some(&rows));
    assert_eq!(told(&["limits", "--format", "csv"], 0).lines().count(), all.len() + 1);
    let table = told(&["limits", "--format", "table"], 0);
    assert!(all.iter().all(|limit| table.contains(limit.name)), "{table}");
}

#[test]
fn reading_commands_look_beside_a_process_that_has_the_store_open() {
    let place = Place::new();
    let store = place.store(&[USES, RUNS_ON, ALARM]);
    let alone = run(&["stream", "A", "--db", text(&store)]);
    assert!(!stderr(&alone).contains("live look"), "{}", stderr(&alone));
    let asked = run(&["stream", "A", "--live", "--db", text(&store)]);
    let db = open(&store, 8);
    let beside = run(&["stream", "A", "--db", text(&store)]);
    for look in [&asked, &beside] {
        assert_eq!((stdout(look), look.status.code()), (stdout(&alone), Some(0)), "{}", stderr(look));
        assert!(stderr(look).starts_with("ofone: a live look, as of commit 1, written 20"), "{}", stderr(look));
    }
    told(&["check", "--db", text(&store)], 0);
    told(&["stats", "--db", text(&store)], 0);
    told(&["cohorts", "--live", "--drop", "c", "--db", text(&store)], 2);
    drop(db);
}

#[test]
fn a_store_is_backed_up_while_it_is_open_and_comes_back_elsewhere() {
    let place = Place::new();
    let store = place.store(&[USES, RUNS_ON, ALARM]);
    let (folder, copy) = (place.path("backups"), place.path("copy"));
    told(&["backups", text(&folder)], 3);
    let db = open(&store, 8);
    for _ in 0..3 {
        let output = run(&["backup", text(&store), text(&folder), "--keep", "2"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stderr(&output).contains("as of commit 1, written 20"), "{}", stderr(&output));
    }
    drop(db);
    let listed = lines(&told(&["backups", text(&folder), "--verify"], 0));
    let ids: Vec<&Json> = listed.iter().map(|backup| &backup["id"]).collect();
    assert_eq!(ids, [&Json::from(2), &Json::from(3)]);
    told(&["restore", text(&folder), text(&copy), "--id", "1"], 3);
    told(&["restore", text(&folder), text(&copy)], 0);
    told(&["restore", text(&folder), text(&copy)], 1);
    let stream = |store: &Path| told(&["stream", "A", "--db", text(store)], 0);
    assert_eq!(stream(&copy), stream(&store));
    let list = folder.join("000003.backup");
    fs::write(&list, "nonsense").expect("written");
    let output = run(&["backups", text(&folder)]);
    assert_eq!((output.status.code(), lines(stdout(&output)).len()), (Some(1), 1));
    assert!(stderr(&output).contains("000003.backup"), "{}", stderr(&output));
}

#[test]
fn csv_has_a_header_equal_rows_and_no_formulas() {
    let place = Place::new();
    let store = place.store(&[USES, RUNS_ON, ALARM, FORMULA]);
    let store = text(&store);
    let rows = |arguments: &[&str]| -> Vec<Vec<String>> {
        let text = told(&[arguments, &["--db", store, "--format", "csv"]].concat(), 0);
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        reader.deserialize().collect::<Result<_, _>>().expect("rows of equal length")
    };
    let stream = rows(&["stream", "A"]);
    let column = |name: &str| stream[0].iter().position(|title| title == name).expect("a column of that name");
    assert_eq!(stream.len(), 3, "a header and two events");
    assert_eq!((&*stream[1][column("id")], &*stream[1][column("via")]), ("a1", "olt:K"));
    assert_eq!(stream[2][column("id")], "'=1+1", "a spreadsheet shows it and does not run it");
    assert_eq!(stream[2][column("value")], "-2.5", "a number is left alone");
    assert_eq!(rows(&["stream", "A", "--csv-raw"])[2][column("id")], "=1+1");
    assert_eq!(rows(&["stream", "A", "--count"]), [["customer", "events"], ["A", "2"]]);
    assert_eq!(rows(&["links", "service:S"])[1][..3], ["service:S", "runs_on", "olt:K"]);
    assert!(rows(&["stats"]).contains(&["total", "events", "2"].map(String::from).to_vec()));
    assert_eq!(rows(&["check"]), [["problem"]]);
    told(&["why", "A", "a1", "--db", store, "--format", "csv"], 2);
}

/// Text from data that would clear a screen, retitle a window or reorder a line.
#[test]
fn what_came_from_data_cannot_drive_a_terminal() {
    let place = Place::new();
    let hostile = r"\u001b[2J\u001b]0;x\u0007\u202e";
    let event = FORMULA
        .replace("ticket.opened", hostile)
        .replace("=1+1", hostile)
        .replace(r#":"crm""#, &format!(r#":"{hostile}""#));
    let store = place.store(&[&event, &USES.replace("uses", hostile)]);
    for format in ["table", "ndjson", "json", "csv"] {
        for command in [&["stream", "A"][..], &["links", "customer:A"], &["stats"]] {
            let told = told(&[command, &["--db", text(&store), "--format", format]].concat(), 0);
            let unsafe_one = |character: char| character.is_control() && character != '\n' || character == '\u{202e}';
            assert!(!told.contains(unsafe_one), "{command:?} as {format}: {told:?}");
            assert!(told.contains("2J"), "{command:?} as {format} shows it: {told}");
        }
    }
}

/// `script` of util-linux gives the binary a terminal.
#[cfg(target_os = "linux")]
#[test]
fn colours_are_for_terminals_and_no_color_takes_them_away() {
    let place = Place::new();
    let store = place.store(&[USES, RUNS_ON, ALARM]);
    let arguments = ["stream", "A", "--db", text(&store), "--format", "table"];
    assert!(!told(&arguments, 0).contains('\x1b'), "no terminal, no colours");
    let on_terminal = |no_color: &str| {
        let command = ofone(&arguments);
        let line: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.to_str().expect("plain characters")))
            .collect();
        let mut script = Command::new("script");
        script.args(["-qec", &line.join(" "), "/dev/null"]).env("NO_COLOR", no_color).env("TERM", "xterm");
        script.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())
    };
    let (Some(plain), Some(coloured)) = (on_terminal("1"), on_terminal("")) else {
        eprintln!("skipped: there is no `script` here");
        return;
    };
    assert!(stdout(&coloured).contains("\x1b[31m"), "{}", stdout(&coloured));
    assert!(stdout(&plain).contains("alarm.raised") && !stdout(&plain).contains("\x1b["), "{}", stdout(&plain));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (_place, store, _made) = provider();
    let mut child = ofone(&["stream", "--all", "--db", store])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    // Beside another test at this store it tells how old its look is.
    let told = stderr(&output);
    let is_look = told.starts_with("ofone: a live look") && told.lines().count() == 1;
    assert!(output.status.code() == Some(0) && (told.is_empty() || is_look), "{:?}: {told}", output.status);
}

#[test]
fn refused_lines_never_go_where_something_is_read() {
    let place = scratch();
    let (store, feed) = (place.path().join("store"), place.path().join("feed.ndjson"));
    fs::write(&feed, "no event\n").expect("a feed");
    std::os::unix::fs::symlink(&feed, place.path().join("link")).expect("a link");
    fs::hard_link(&feed, place.path().join("other")).expect("a second name");
    for rejects in ["feed.ndjson", "link", "other", "./feed.ndjson"] {
        let rejects = place.path().join(rejects);
        let output = run(&["ingest", "--db", text(&store), text(&feed), "--rejects", text(&rejects)]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert_eq!(fs::read_to_string(&feed).expect("the feed"), "no event\n");
    }
}

/// Whoever reads the output may be gone; what the command found is still its outcome.
#[test]
fn a_closed_output_hides_no_damage() {
    let place = scratch();
    let (store, backups) = (place.path().join("store"), place.path().join("backups"));
    let feed = place.path().join("feed.ndjson");
    let line =
        r#"{"time":"2026-01-05T09:13:00Z","source":"ran","id":"1","kind":"call.dropped","subjects":["customer:A"]}"#;
    fs::write(&feed, format!("{line}\n")).expect("a feed");
    assert!(run(&["ingest", "--db", text(&store), text(&feed)]).status.success());
    assert!(run(&["backup", text(&store), text(&backups)]).status.success());
    for entry in fs::read_dir(backups.join("files")).expect("a listing") {
        fs::write(entry.expect("an entry").path(), "spoilt").expect("written");
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = ofone(&["backups", text(&backups), "--verify"]);
    let output = command.stdout(writer).stderr(Stdio::piped()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}
