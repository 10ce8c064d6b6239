//! Stores that earlier builds wrote, one a format, kept in `tests/fixtures/format-N` with their answers beside them.
//!
//! They are opened as copies. They are never written again: what is there stands for the stores that people have. A
//! new format number needs a new folder, which `make fixture` writes; the older stay, and must go on opening.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ofone::export::{ItemFields, write_item, write_links, write_why, write_witness};
use ofone::{
    Batch, Bucket, Db, Durability, Event, EventName, Expr, Field, Link, LinkChange, Options, Outcome, Predicate, Score,
    Severity, Timestamp,
};

use crate::support::{entity, scratch};

/// The format's number, as the source has it.
fn format() -> u32 {
    let source = include_str!("../../src/ingest/recovery.rs");
    let number = source.lines().find_map(|line| line.strip_suffix(';')?.split_once("const FORMAT: u32 = "));
    number.expect("src/ingest/recovery.rs has the format's number").1.parse().expect("a number")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("format-{}", format()))
}

fn options() -> Options {
    Options::new().durability(Durability::Os).segment_events(400).reserve_bytes(0).create(false)
}

fn second(number: i64) -> Timestamp {
    Timestamp::from_secs(1_767_225_600 + number)
}

const CUSTOMERS: [&str; 6] = ["ada", "ben", "cleo", "dörte", "gone", "zoë's"];

fn link(from: &str, relation: &str, to: &str) -> Link {
    Link::new(entity(from), relation, entity(to)).source("inventory")
}

/// One event of every form about a customer.
fn round(number: i64, customer: &str) -> Batch {
    let (at, line) = (second(number * 3600), format!("line:{customer}"));
    let id = format!("{customer}-{number}");
    let mut batch = Batch::new();
    let lost = Event::new(at, "ran", "session.lost").id(id.clone()).subject(entity(&line)).layer("network");
    let lost = lost.end(second(number * 3600 + 90)).severity(Severity::new(13).expect("within 0 to 24"));
    batch.event(lost.attribute("cause", if number % 2 == 0 { "power" } else { "reset" }).value(number as f64 / 8.0));
    let call = Event::new(second(number * 3600 + 7), "crm", "ticket.opened").id(id);
    let call = call.subject(entity(&format!("customer:{customer}"))).context(entity("shop:1")).sequence(number as u64);
    batch.event(call.attribute("note", format!("“{number}”\n\u{1b}[2J")).attribute("urgent", number % 3 == 0));
    let unnamed = Event::new(second(number * 3600 + 8), "meter", "power.read").subject(entity(&line));
    batch.event(unnamed.attribute("volts", 229.5).attribute("count", -number).severity(Severity::INFO));
    batch
}

/// What the store is made of. Leaves several segments, and commits in the log alone.
fn write(db: &Db) -> ofone::Result<()> {
    let writer = db.writer();
    let commit = |batch: Batch| writer.commit(batch).map(|receipt| assert_eq!(receipt.rejected(), 0, "{receipt:?}"));
    let mut links = Batch::new();
    for (number, customer) in CUSTOMERS.iter().enumerate() {
        links.link(link(&format!("customer:{customer}"), "uses", &format!("line:{customer}")));
        links.link(link(&format!("line:{customer}"), "fed_by", &format!("olt:{}", number % 2)).valid_from(second(0)));
    }
    links.link(link("olt:0", "runs_on", "router:core"));
    links.link(link("olt:1", "runs_on", "router:core"));
    commit(links)?;
    // More than a chunk of one home.
    let mut alarms = Batch::new();
    for number in 0..300 {
        let alarm = Event::new(second(number * 60), "nms", "alarm.raised").id(format!("alarm-{number}"));
        alarms.event(alarm.subject(entity(&format!("olt:{}", i64::from(number % 50 == 0)))).layer("network"));
    }
    commit(alarms)?;
    for number in 0..8 {
        for customer in CUSTOMERS {
            commit(round(number, customer))?;
        }
        if number == 3 {
            let (from, relation) = (entity("line:ada"), "fed_by".into());
            let mut moved = Batch::new();
            let (to, source) = (entity("olt:0"), "inventory".into());
            moved.link(LinkChange::Close { from, relation, to, at: second(4 * 3600), source });
            moved.link(link("line:ada", "fed_by", "olt:1").valid_from(second(4 * 3600)));
            moved.link(link("line:ben", "fed_by", "olt:0").valid_from(second(4 * 3600)));
            commit(moved)?;
        }
        if number % 3 == 2 {
            db.flush()?;
        }
    }
    let mut withdrawn = Batch::new();
    let (from, relation, to) = (entity("line:ben"), "fed_by".into(), entity("olt:0"));
    let (valid_from, source) = (Some(second(4 * 3600)), "inventory".into());
    withdrawn.link(LinkChange::Retract { from, relation, to, valid_from, source });
    commit(withdrawn)?;
    let lost: Expr = "did(kind = session.lost and attr.cause = power, n >= 2)".parse()?;
    db.save_cohort("lost power", &db.snapshot().who(lost).now(second(0)).run()?)?;
    let receipt = db.erase("gone")?;
    assert!(receipt.events > 0 && receipt.cohorts == 1, "{receipt:?}");
    for customer in ["ada", "ben"] {
        commit(round(8, customer))?;
    }
    let mut late = Batch::new();
    late.event(Event::new(second(-5), "epc", "outage.ended").id("before all").subject(entity("router:core")));
    late.event(Event::new(second(5), "epc", "nobody.told").id("of nobody"));
    commit(late)
}

/// Everything that is asked, and what the store tells.
fn answers(db: &Db) -> ofone::Result<String> {
    let snapshot = db.snapshot();
    let mut text = String::new();
    let mut tell = |question: &str, answer: String| writeln!(text, "{question}\t{answer}").expect("text grows");
    let json = |write: &dyn Fn(&mut Vec<u8>) -> ofone::Result<()>| -> ofone::Result<String> {
        let mut row = Vec::new();
        write(&mut row)?;
        Ok(String::from_utf8(row).expect("JSON is text"))
    };
    let customers = snapshot.customers().collect::<ofone::Result<Vec<_>>>()?;
    tell("customers", customers.join(", "));
    for customer in &customers {
        for item in snapshot.stream(customer.clone()).run()? {
            let (item, mut fields) = (item?, ItemFields::default());
            // Alarms are many, and alike.
            fields.paths = !item.event.kind.starts_with("alarm") || item.event.time.as_nanos() % 7 == 0;
            tell("stream", json(&|row| write_item(row, customer, &item, fields))?);
        }
        for (source, id, at) in [("nms", "alarm-299", 299 * 60), ("ran", "ben-5", 5 * 3600), ("ran", "ada-1", 3600)] {
            let name = EventName { source: source.into(), id: id.into(), time: second(at) };
            let why = snapshot.why(customer.clone(), &name)?;
            tell("why", json(&|row| write_why(row, customer, &why))?);
        }
    }
    for name in ["customer:ada", "line:ben", "olt:1", "customer:gone", "line:gone"].map(entity) {
        tell("links", json(&|row| write_links(row, &name, &snapshot.links(&name, None)?))?);
    }
    for text in [
        "did(any)",
        "not did(kind = alarm.raised, n >= 20)",
        "did(kind = session.lost and attr.cause = power, n >= 5)",
        "did(about = router:core) and did(with = shop:1)",
        "seq(kind = session.lost -> kind = ticket.opened, within 10s)",
        "cohort(\"lost power\")",
    ] {
        let expr: Expr = text.parse()?;
        let cohort = snapshot.who(expr.clone()).now(second(0)).run()?;
        tell(text, cohort.ids().collect::<ofone::Result<Vec<_>>>()?.join(", "));
        let scanned = snapshot.who(expr.clone()).now(second(0)).scan_only().run()?;
        assert_eq!(scanned.len(), cohort.len(), "by the index and by reading: {text}");
        let witness = snapshot.witness_at("ada", &expr, second(0))?;
        tell("witness", json(&|row| write_witness(row, "ada", text, &witness))?);
    }
    for saved in snapshot.cohorts()? {
        tell("saved", format!("{saved:?}"));
    }
    for bucket in snapshot.timeline(Predicate::kind("session.lost")).every(Bucket::Length(3_600_000_000_000)).run()? {
        tell("timeline", format!("{} {} {} {}", bucket.from, bucket.to, bucket.events, bucket.customers));
    }
    for field in [Field::Kind, Field::Subject, Field::Attribute("cause".into())] {
        for row in snapshot.group_by(field.clone(), Predicate::Any).run()? {
            tell("group", format!("{field:?} {} {} {}", row.value, row.events, row.customers));
        }
    }
    for row in snapshot.top_customers(Predicate::Any, Score::SeveritySquared).run()? {
        tell("top", format!("{} {} {}", row.customer, row.score, row.events));
    }
    let stats = snapshot.stats()?;
    // Segments and bytes follow from merges, which go on when the store is opened.
    tell("stats", format!("{} {} {} {}", stats.events, stats.customers, stats.links, stats.commits));
    tell("stats", format!("{:?} {:?} {}", stats.first, stats.last, stats.events_without_customer_subject));
    tell("stats", format!("{:?} {:?} {:?}", stats.kinds, stats.layers, stats.severities));
    tell("stats", format!("{:?} {:?} {:?}", stats.attributes, stats.sources, stats.entities));
    Ok(text)
}

/// Neither modes nor empty folders are kept where the fixture is kept.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("its mode");
    for entry in fs::read_dir(from).expect("the fixture is there") {
        let path = entry.expect("an entry").path();
        let copied = to.join(path.file_name().expect("entries have names"));
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::write(&copied, fs::read(&path).expect("a file")).expect("a copy");
            fs::set_permissions(&copied, fs::Permissions::from_mode(0o600)).expect("its mode");
        }
    }
}

/// Not a test of its own: `make fixture`.
#[test]
fn child_writes_the_fixture() {
    if std::env::var_os("OFONE_WRITE_FIXTURE").is_none() {
        return;
    }
    let folder = folder();
    assert!(!folder.exists(), "{} stays as it is: only a new format number needs a new one", folder.display());
    let place = scratch();
    let store = place.path().join("store");
    let db = Db::open(&store, options().create(true)).expect("a new store");
    write(&db).expect("it is written");
    let answers = answers(&db).expect("answers");
    let segments = db.snapshot().stats().expect("counts").segments;
    drop(db);
    assert!(segments > 1, "{segments} segments");
    for needless in ["staging", "reserve", "db/LOG", "db/LOCK"] {
        let path = store.join(needless);
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
    }
    fs::create_dir_all(&folder).expect("its folder");
    copy(&store, &folder.join("store"));
    fs::write(folder.join("answers.txt"), answers).expect("its answers");
}

#[test]
fn the_fixture_is_of_this_format() {
    let folder = folder();
    assert!(folder.join("answers.txt").is_file(), "format {} has no fixture yet: `make fixture`", format());
}

/// The fixtures of all formats there were since the first that people may have stores of.
fn fixtures() -> Vec<PathBuf> {
    let beside = fs::read_dir(folder().parent().expect("a folder above")).expect("fixtures");
    beside.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn a_store_of_an_earlier_build_answers_as_it_did() {
    fixtures().iter().for_each(|folder| answers_as_it_did(folder));
}

fn answers_as_it_did(folder: &Path) {
    let place = scratch();
    let store = place.path().join("store");
    copy(&folder.join("store"), &store);
    let expected = fs::read_to_string(folder.join("answers.txt")).expect("its answers");
    let mut replayed = 0;
    // Once as it lay there, once after what opening and merging did, once with everything sealed, and merged as
    // far as that is due: which segments that takes depends on which were sealed when an earlier turn ended.
    for turn in 0..3 {
        let db = Db::open(&store, options()).expect("it opens");
        replayed = replayed.max(db.recovery().commits_replayed);
        if turn == 2 {
            db.flush().expect("a flush");
            db.wait_until_quiet().expect("quiet");
        }
        let told = answers(&db).expect("answers");
        let differs = told.lines().zip(expected.lines()).find(|(told, expected)| told != expected);
        assert!(differs.is_none(), "told and expected: {differs:#?}");
        assert_eq!(told.len(), expected.len());
        assert_eq!(db.check().expect("a check").problems, Vec::<String>::new());
    }
    assert!(replayed >= 3, "{replayed} commits were in the log alone");
    let db = Db::open(&store, options()).expect("it opens");
    let mut known = round(3, "ada");
    known.event(
        Event::new(second(299 * 60), "nms", "alarm.raised").id("alarm-299").subject(entity("olt:0")).layer("network"),
    );
    let receipt = db.writer().commit(known).expect("a commit");
    assert_eq!(receipt.duplicates(), receipt.outcomes().len(), "{:?}", receipt.outcomes());
    let refused = db.writer().commit(round(3, "gone")).expect("a commit");
    let refused = refused.outcomes().iter().all(|outcome| matches!(outcome, Outcome::Rejected(_)));
    assert!(refused, "who was erased does not come back");
    let mut new = round(20, "ada");
    new.link(link("customer:new", "uses", "line:new"));
    assert_eq!(db.writer().commit(new).expect("a commit").inserted(), 4);
    assert_eq!(db.check().expect("a check").problems, Vec::<String>::new());
}
