//! The commands about sets of customers, as a shell sees them.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::cli::{Place, lines, run, stderr, text, told};

/// A and B hang on one OLT, C on none; D is known by a link alone.
const RECORDS: [&str; 12] = [
    r#"{"link":"add","from":"customer:A","relation":"uses","to":"service:A/tv"}"#,
    r#"{"link":"add","from":"service:A/tv","relation":"fed_by","to":"olt:K"}"#,
    r#"{"link":"add","from":"customer:B","relation":"fed_by","to":"olt:K","valid_from":"2026-01-05T12:00:00Z"}"#,
    r#"{"link":"add","from":"customer:D","relation":"uses","to":"service:D/tv"}"#,
    r#"{"time":"2026-01-05T09:00:00Z","source":"nms","id":"a1","kind":"alarm.raised","layer":"network","severity":17,"subjects":["olt:K"]}"#,
    r#"{"time":"2026-01-06T09:00:00Z","source":"nms","id":"a2","kind":"alarm.raised","layer":"network","severity":13,"subjects":["olt:K"]}"#,
    r#"{"time":"2026-01-05T10:00:00Z","source":"crm","id":"t1","kind":"ticket.opened","customer":"A","attrs":{"cause":"=1+1"}}"#,
    r#"{"time":"2026-01-05T11:00:00Z","source":"crm","id":"t2","kind":"ticket.opened","customer":"C","attrs":{"cause":"line"}}"#,
    r#"{"time":"2026-01-06T10:00:00Z","source":"crm","id":"t3","kind":"ticket.closed","customer":"A"}"#,
    r#"{"time":"2026-01-08T10:00:00Z","source":"crm","id":"t4","kind":"ticket.closed","customer":"C"}"#,
    r#"{"time":"2026-01-06T11:00:00Z","source":"crm","id":"t5","kind":"ticket.opened","customer":"B"}"#,
    r#"{"time":"2026-01-06T12:00:00Z","source":"ci","id":"d1","kind":"deploy","subjects":["app:portal"]}"#,
];

fn store() -> (Place, PathBuf) {
    let place = Place::new();
    let store = place.store(&RECORDS);
    (place, store)
}

/// The rows of an answer as NDJSON.
fn rows(store: &std::path::Path, arguments: &[&str]) -> Vec<Json> {
    lines(&told(&[arguments, &["--db", text(store)]].concat(), 0))
}

fn customers(store: &std::path::Path, arguments: &[&str]) -> Vec<String> {
    let id = |row: &Json| row["customer"].as_str().expect("a customer a row").to_owned();
    rows(store, arguments).iter().map(id).collect()
}

#[test]
fn who_lists_counts_pages_and_draws() {
    let (_place, store) = store();
    for (expr, expected) in [
        ("all", &["A", "B", "D", "C"][..]),
        ("did(kind = alarm.raised)", &["A", "B"]),
        ("did(kind = alarm.raised, n >= 2)", &["A"]),
        ("did(kind = alarm.raised and severity >= 17)", &["A"]),
        ("not did(any)", &["D"]),
        ("reach(olt:K)", &["A", "B"]),
        ("reach(olt:K, during [2026-01-05, 2026-01-05T12:00:00Z))", &["A"]),
        ("seq(kind = ticket.opened -> kind = ticket.closed)", &["A", "C"]),
        ("seq(kind = ticket.opened -> kind = ticket.closed, within 24h)", &["A"]),
        ("did(kind = ticket.opened) minus reach(olt:K)", &["C"]),
        ("customers(C, A, Z)", &["A", "C"]),
    ] {
        assert_eq!(customers(&store, &["who", expr]), expected, "{expr}");
        assert_eq!(customers(&store, &["who", expr, "--scan-only"]), expected, "{expr}");
        assert_eq!(rows(&store, &["who", expr, "--count"]), [json!({"customers": expected.len()})], "{expr}");
    }
    let recent = ["who", "did(kind = ticket.opened, -1d)", "--now", "2026-01-07"];
    assert_eq!(customers(&store, &recent), ["B"]);
    assert_eq!(customers(&store, &["who", "all", "--limit", "2"]), ["A", "B"]);
    assert_eq!(customers(&store, &["who", "all", "--limit", "1", "--after", "B"]), ["D"]);
    assert_eq!(customers(&store, &["who", "all", "--after", "customer:D"]), ["C"]);
    let drawn = customers(&store, &["who", "all", "--sample", "3", "--seed", "7"]);
    assert_eq!((drawn.len(), &drawn), (3, &customers(&store, &["who", "all", "--sample", "3", "--seed", "7"])));
    assert_eq!(customers(&store, &["who", "reach(olt:K)", "--max-hops", "1"]), ["B"]);
    let explained = run(&["who", "did(kind = alarm.raised)", "--explain", "--db", text(&store)]);
    assert!(explained.status.success() && stderr(&explained).lines().count() > 1, "{}", stderr(&explained));
    assert!(stderr(&explained).lines().all(|line| line.starts_with("ofone: ")), "{}", stderr(&explained));
}

#[test]
fn a_saved_set_has_a_name_until_it_is_dropped() {
    let (_place, store) = store();
    let alarmed = "did(kind = alarm.raised)";
    assert_eq!(rows(&store, &["who", alarmed, "--save", "alarmed"]), [json!({"customers": 2})]);
    assert_eq!(customers(&store, &["who", "not cohort(alarmed)"]), ["D", "C"]);
    let saved = rows(&store, &["cohorts"]);
    assert_eq!(saved.len(), 1, "{saved:?}");
    assert_eq!(
        (&saved[0]["name"], &saved[0]["customers"], &saved[0]["expression"]),
        (&json!("alarmed"), &json!(2), &json!(alarmed))
    );
    assert_eq!(told(&["cohorts", "--drop", "alarmed", "--db", text(&store)], 0), "");
    assert_eq!(rows(&store, &["cohorts"]), Vec::<Json>::new());
    told(&["cohorts", "--drop", "alarmed", "--db", text(&store)], 3);
    told(&["who", "cohort(alarmed)", "--db", text(&store)], 3);
}

#[test]
fn timelines_count_events_and_customers_by_bucket() {
    let (_place, store) = store();
    let counts = |arguments: &[&str]| -> Vec<(String, u64, u64)> {
        let told = rows(&store, arguments);
        let number = |row: &Json, name: &str| row[name].as_u64().expect("a number");
        let row = |row: &Json| {
            (row["from"].as_str().expect("a time").to_owned(), number(row, "events"), number(row, "customers"))
        };
        told.iter().map(row).collect()
    };
    let day = |day: u32, events: u64, customers: u64| (format!("2026-01-{day:02}T00:00:00Z"), events, customers);
    assert_eq!(counts(&["timeline", "any"]), [day(5, 3, 2), day(6, 4, 2), day(7, 0, 0), day(8, 1, 1)]);
    assert_eq!(counts(&["timeline", "any", "--every", "24h"]), counts(&["timeline", "any"]));
    assert_eq!(counts(&["timeline", "kind = alarm.raised"]), [day(5, 1, 1), day(6, 1, 2)]);
    assert_eq!(counts(&["timeline", "any", "--in", "customers(B)"]), [day(6, 2, 1)]);
    assert_eq!(counts(&["timeline", "any", "--to", "2026-01-06"]), [day(5, 3, 2)]);
    assert_eq!(counts(&["timeline", "any", "--since", "-1d", "--to", "now", "--now", "2026-01-07"]), [day(6, 4, 2)]);
    let alone = told(&["timeline", "any", "--events-only", "--to", "2026-01-06", "--db", text(&store)], 0);
    assert!(alone.contains("\"events\":3") && !alone.contains("customers"), "{alone}");
    let week = counts(&["timeline", "any", "--every", "week", "--tz", "Europe/Berlin"]);
    assert_eq!(week, [("2026-01-04T23:00:00Z".to_owned(), 8, 3)], "weeks begin on Monday, there");
    let month = counts(&["timeline", "any", "--every", "month"]);
    assert_eq!(month, [("2026-01-01T00:00:00Z".to_owned(), 8, 3)]);
}

#[test]
fn top_and_group_count_values_and_customers() {
    let (_place, store) = store();
    let values = |arguments: &[&str]| -> Vec<(String, u64, u64)> {
        let row = |row: &Json| {
            let value = row["value"].as_str().expect("a value").to_owned();
            (value, row["events"].as_u64().expect("events"), row["customers"].as_u64().expect("customers"))
        };
        rows(&store, arguments).iter().map(row).collect()
    };
    let row = |value: &str, events: u64, customers: u64| (value.to_owned(), events, customers);
    let opened = row("ticket.opened", 3, 3);
    assert_eq!(values(&["top", "kind", "--limit", "1"]), std::slice::from_ref(&opened));
    let (alarms, deploys, closed) = (row("alarm.raised", 2, 2), row("deploy", 1, 0), row("ticket.closed", 2, 2));
    assert_eq!(values(&["top", "kind"]), [opened.clone(), alarms.clone(), closed.clone(), deploys.clone()]);
    assert_eq!(values(&["group", "kind"]), [alarms, deploys, closed, opened]);
    assert_eq!(values(&["group", "attr.cause"]), [row("=1+1", 1, 1), row("line", 1, 1)]);
    assert_eq!(values(&["group", "source", "--what", "layer = network"]), [row("nms", 2, 2)]);
    assert_eq!(values(&["group", "layer", "--in", "customers(C)"]), []);
    assert_eq!(values(&["top", "subject", "--in", "reach(olt:K)", "--limit", "1"]), [row("customer:A", 2, 1)]);

    let scores = |by: &str| rows(&store, &["top", "customers", "--by", by]);
    let score =
        |customer: &str, score: u64, events: u64| json!({"customer": customer, "score": score, "events": events});
    assert_eq!(scores("events"), [score("A", 4, 4), score("B", 2, 2), score("C", 2, 2)]);
    assert_eq!(scores("severity")[..2], [score("A", 30, 4), score("B", 13, 2)]);
    assert_eq!(scores("severity2")[..2], [score("A", 289 + 169, 4), score("B", 169, 2)]);
}

#[test]
fn funnels_count_and_list_the_customers_of_each_step() {
    let (_place, store) = store();
    let steps = ["kind = ticket.opened", "kind = ticket.closed"];
    let told = rows(&store, &[&["funnel"][..], &steps, &["--within", "48h", "--now", "2026-01-07"]].concat());
    let numbers: Vec<(&Json, &Json, &Json)> =
        told.iter().map(|row| (&row["step"], &row["customers"], &row["pending"])).collect();
    assert_eq!(numbers, [(&json!(1), &json!(3), &json!(2)), (&json!(2), &json!(1), &json!(0))]);
    assert_eq!((&told[1]["what"], &told[1]["p50_nanos"]), (&json!(steps[1]), &json!(86_400_000_000_000_u64)));
    assert_eq!(customers(&store, &[&["funnel"][..], &steps, &["--customers", "2"]].concat()), ["A", "C"]);
    let within = [&["funnel"][..], &steps, &["--customers", "2", "--in", "reach(olt:K)"]].concat();
    assert_eq!(customers(&store, &within), ["A"]);
}

#[test]
fn a_witness_tells_the_events_or_the_clause_that_fails() {
    let (_place, store) = store();
    let expr = "did(kind = alarm.raised) and seq(kind = ticket.opened -> kind = ticket.closed)";
    let member = rows(&store, &["witness", "A", expr]).pop().expect("an answer");
    assert_eq!(member["member"], true);
    let text = member.to_string();
    assert!(["a1", "t1", "t3"].iter().all(|id| text.contains(id)), "{text}");
    let other = rows(&store, &["witness", "customer:B", expr]).pop().expect("an answer");
    assert_eq!(other["member"], false);
    assert!(other["failed"].as_str().is_some_and(|clause| clause.starts_with("seq(")), "{other}");
}

#[test]
fn wrong_questions_are_exit_code_2_and_absent_things_3() {
    let (_place, store) = store();
    let store = text(&store);
    for (arguments, code, hint) in [
        (&["who", "did(sevrity >= 3)"][..], 2, "severity"),
        (&["who", "did("], 2, ""),
        (&["who"], 2, ""),
        (&["who", "all", "--count", "--after", "A"], 2, ""),
        (&["who", "all", "--seed", "3"], 2, ""),
        (&["timeline", "any", "--every", "0s"], 2, "hour"),
        (&["timeline", "any", "--every", "fortnight"], 2, "hour"),
        (&["timeline", "any", "--from", "2026-01-02", "--to", "2026-01-01"], 2, ""),
        (&["top", "knid"], 2, "kind"),
        (&["top", "kind", "--by", "severity"], 2, "--by"),
        (&["group", "customers"], 2, "kind"),
        (&["funnel"], 2, ""),
        (&["funnel", "any", "--customers", "2"], 2, "step"),
        (&["funnel", "any", "--within", "soon"], 2, "48h"),
        (&["witness", "A"], 2, ""),
        (&["witness", "Z", "all"], 3, "Z"),
        (&["who", "cohort(nobody)"], 3, "nobody"),
        (&["timeline", "any", "--in", "cohort(nobody)"], 3, "nobody"),
        (&["cohorts", "--drop", "nobody"], 3, "nobody"),
    ] {
        let output = run(&[arguments, &["--db", store]].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(hint) && output.stdout.is_empty(), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn each_format_says_the_same_and_csv_runs_no_formula() {
    let (_place, store) = store();
    let csv = |arguments: &[&str]| -> Vec<Vec<String>> {
        let text = told(&[arguments, &["--db", text(&store), "--format", "csv"]].concat(), 0);
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        reader.deserialize().collect::<Result<_, _>>().expect("rows of equal length")
    };
    assert_eq!(csv(&["group", "attr.cause"])[1], ["'=1+1", "1", "1"]);
    assert_eq!(csv(&["group", "attr.cause", "--csv-raw"])[1], ["=1+1", "1", "1"]);
    assert_eq!(csv(&["who", "reach(olt:K)"]), [["customer"], ["A"], ["B"]]);
    assert_eq!(csv(&["funnel", "kind = deploy"]).len(), 2);
    let json = |arguments: &[&str]| -> Json {
        let text = told(&[arguments, &["--db", text(&store), "--format", "json"]].concat(), 0);
        serde_json::from_str(&text).expect("one JSON value")
    };
    assert_eq!(json(&["who", "reach(olt:K)"]), json!([{"customer": "A"}, {"customer": "B"}]));
    assert_eq!(json(&["who", "customers(Z)"]), json!([]));
    let table = told(&["timeline", "any", "--db", text(&store), "--format", "table"], 0);
    assert!(table.contains("2026-01-05") && table.contains("customers"), "{table}");
}

/// Text from data that would clear a screen, retitle a window or reorder a line.
#[test]
fn what_came_from_data_cannot_drive_a_terminal() {
    let place = Place::new();
    let hostile = r"\u001b[2J\u001b]0;x\u0007\u202e";
    let event = RECORDS[6]
        .replace("ticket.opened", hostile)
        .replace("=1+1", hostile)
        .replace(r#":"A""#, &format!(r#":"{hostile}""#));
    let store = place.store(&[&event]);
    let customer = "\u{1b}[2J\u{1b}]0;x\u{7}\u{202e}";
    let commands: [&[&str]; 7] = [
        &["who", "did(any)"],
        &["top", "kind"],
        &["top", "customers"],
        &["group", "attr.cause"],
        &["group", "subject"],
        &["funnel", "any", "--customers", "1"],
        &["witness", customer, "did(any)"],
    ];
    for format in ["table", "ndjson", "json", "csv"] {
        for command in commands {
            if format == "csv" && command[0] == "witness" {
                continue;
            }
            let told = told(&[command, &["--db", text(&store), "--format", format]].concat(), 0);
            let unsafe_one = |character: char| character.is_control() && character != '\n' || character == '\u{202e}';
            assert!(!told.contains(unsafe_one), "{command:?} as {format}: {told:?}");
            assert!(told.contains("2J"), "{command:?} as {format} shows it: {told}");
        }
    }
}

#[test]
fn retain_tells_first_and_erase_looks_afterwards() {
    let (_place, store) = store();
    let asked = ["retain", "--before", "2026-01-06T09:30:00Z", "--layer", "network"];
    let row = |asked: &[&str]| rows(&store, asked).remove(0);
    assert_eq!(row(&[&asked[..], &["--dry-run"]].concat())["events"], 2);
    assert_eq!(row(&asked)["events"], 2);
    assert_eq!(row(&asked)["events"], 0);
    assert_eq!(row(&["retain", "--older-than", "36500d"])["events"], 0, "a century ago there was nothing");
    for wrong in [&["retain"][..], &["retain", "--older-than", "-3d"], &["retain", "--before", "0", "--max-share", "2"]]
    {
        assert_eq!(run(&[wrong, &["--db", text(&store)]].concat()).status.code(), Some(2), "{wrong:?}");
    }
    let all = ["retain", "--before", "2027-01-01", "--db", text(&store)];
    assert!(stderr(&run(&all)).contains("more than the share allowed"));

    let backups = text(&store).to_owned() + "-backups";
    assert!(run(&["backup", text(&store), &backups]).status.success());
    let output = run(&["erase", "customer:B", "--backups", &backups, "--format", "ndjson", "--db", text(&store)]);
    assert!(stderr(&output).contains("backup 1 in "), "{}", stderr(&output));
    let receipt = &lines(std::str::from_utf8(&output.stdout).unwrap())[0];
    let restored = text(&store).to_owned() + "-restored";
    let output = run(&["restore", &backups, &restored, "--erased-in", text(&store)]);
    assert!(stderr(&output).contains("1 erasures"), "{}", stderr(&output));
    assert_eq!(customers(std::path::Path::new(&restored), &["who", "all"]), ["A", "D", "C"]);
    assert_eq!((&receipt["ledger"], &receipt["events"], &receipt["links"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(customers(&store, &["who", "all"]), ["A", "D", "C"]);
    assert_eq!(receipt["backups"], 1);
    let again = run(&["erase", "B", "--backups", "/nowhere", "--db", text(&store)]);
    assert!(again.status.code() == Some(3) && stderr(&again).contains("/nowhere"), "{}", stderr(&again));
    let again = run(&["erase", "ticket-of-B", "--verify", "--db", text(&store)]);
    assert_eq!(again.status.code(), Some(3));
    assert!(stderr(&again).contains("nothing found") && stderr(&again).contains("no such customer"));
    // The service and, now that B is gone, the OLT were nobody else's. Other texts have an `A` in them.
    let output = run(&["erase", "A", "--verify", "--format", "ndjson", "--db", text(&store)]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("it may be part of another text"));
    assert_eq!(lines(std::str::from_utf8(&output.stdout).unwrap())[0]["entities"], 3);
}
