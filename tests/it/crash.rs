//! A process that writes is killed with SIGKILL, again and again, on the same store.
//!
//! The writing process is this test binary, started once more with [`child_writes_until_killed`]
//! alone; it reports each acknowledged commit through a pipe, which survives it. Every generation
//! of it writes batches numbered from zero, and what is in a batch follows from its number. So the
//! [`Oracle`] knows from the acknowledgements alone what the store must hold afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ofone::{Batch, Db, Durability, Entity, Event, Link, Options, Snapshot, Text};
use tempfile::TempDir;

use crate::support::{at, options, scratch, setting};

const WRITERS: u64 = 2;
/// A child whose parent is gone ends by itself after this.
const CHILD_LIFE: Duration = Duration::from_secs(20);
/// Stores are small so that looking at all of one stays cheap.
const GENERATIONS_PER_STORE: u64 = 25;

/// The batches of one writer in one life of the writing process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Feed {
    generation: u64,
    writer: u64,
}

impl Feed {
    /// Each feed has a customer to itself, so its events are one stream.
    fn customer(self) -> Text {
        format!("g{}-w{}", self.generation, self.writer).into()
    }

    /// Half of the events happen to a service; a link in the first batch leads to it.
    fn service(self) -> Entity {
        Entity::new("service", self.customer())
    }

    /// Events in a batch: mostly few, now and then many, sometimes none but a link.
    fn batch_events(self, batch: u64) -> u64 {
        let random = scramble(&[self.generation, self.writer, batch]);
        match random % 8 {
            0 => 0,
            7 => 1 + (random >> 8) % 200,
            _ => 1 + (random >> 8) % 20,
        }
    }

    /// A link that stands for the batch: its validity touches that of no other batch.
    fn batch_link(self, batch: u64) -> Link {
        let begin = i64::try_from(batch * 10).expect("few batches");
        let olt = Entity::new("olt", self.writer.to_string());
        Link::new(Entity::customer(self.customer()), "reached", olt).valid_from(at(begin)).valid_to(at(begin + 5))
    }

    fn batch(self, batch: u64) -> Batch {
        let customer = Entity::customer(self.customer());
        let mut records = Batch::new();
        for index in 0..self.batch_events(batch) {
            let random = scramble(&[self.generation, self.writer, batch, index]);
            let time = at(i64::try_from(random % 1_000_000).expect("small"));
            let subject = if random & (1 << 40) == 0 { customer.clone() } else { self.service() };
            let event = Event::new(time, format!("writer-{}", self.writer), "thing.written")
                .id(Mark { feed: self, batch, index }.to_string())
                .subject(subject)
                .attribute("payload", "x".repeat((random >> 48) as usize % 64));
            records.event(event);
        }
        if batch == 0 {
            records.link(Link::new(customer, "uses", self.service()));
        }
        records.link(self.batch_link(batch));
        records
    }
}

/// The place of one event: its id in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    feed: Feed,
    batch: u64,
    index: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mark { feed: Feed { generation, writer }, batch, index } = self;
        write!(f, "{generation}-{writer}-{batch}-{index}")
    }
}

impl Mark {
    fn parse(id: &str) -> Option<Mark> {
        let numbers: Vec<u64> = id.split('-').map(str::parse).collect::<Result<_, _>>().ok()?;
        match numbers[..] {
            [generation, writer, batch, index] => Some(Mark { feed: Feed { generation, writer }, batch, index }),
            _ => None,
        }
    }
}

/// What a store holds.
#[derive(Clone, Debug, Default)]
struct Holding {
    /// One mark each time an event is seen.
    events: Vec<Mark>,
    /// Batches whose link is there.
    links: BTreeSet<(Feed, u64)>,
}

/// Knows what a store must hold after a crash, from what was acknowledged before it.
#[derive(Debug, Default)]
struct Oracle {
    /// Acknowledged batches of each feed.
    acknowledged: BTreeMap<Feed, u64>,
    /// Batches found in earlier looks: what was there once stays, acknowledged or not.
    settled: BTreeMap<Feed, u64>,
}

impl Oracle {
    /// Takes the report of one commit.
    fn acknowledge(&mut self, feed: Feed, batch: u64) {
        let next = self.acknowledged.entry(feed).or_default();
        assert_eq!(batch, *next, "a writer reports its batches in order");
        *next += 1;
    }

    /// How `holding` breaks the promise: every acknowledged batch is there, whole and once; of each
    /// writer at most one more, whole too, the one whose acknowledgement the crash cut off; nothing
    /// else. Only the feeds in `looked_at` are judged.
    fn judge(&self, looked_at: &[Feed], holding: &Holding) -> Vec<String> {
        let mut problems = Vec::new();
        let mut found: BTreeMap<Feed, BTreeMap<u64, BTreeSet<u64>>> = BTreeMap::new();
        for &(feed, batch) in &holding.links {
            found.entry(feed).or_default().entry(batch).or_default();
        }
        for mark in &holding.events {
            let batch = found.entry(mark.feed).or_default().entry(mark.batch).or_default();
            if !batch.insert(mark.index) {
                problems.push(format!("{mark:?} is there twice"));
            }
        }
        for feed in found.keys().filter(|feed| !looked_at.contains(feed)) {
            problems.push(format!("{feed:?} was not expected at all"));
        }
        for &feed in looked_at {
            let batches = found.remove(&feed).unwrap_or_default();
            let present = batches.len() as u64;
            problems.extend(self.judge_count(feed, present));
            if let Some(beyond) = batches.keys().find(|&&batch| batch >= present) {
                problems.push(format!("{feed:?} has batch {beyond} but only {present} batches: one before is lost"));
            }
            for (batch, indices) in batches {
                let whole = (0..feed.batch_events(batch)).collect::<BTreeSet<u64>>();
                if indices != whole || !holding.links.contains(&(feed, batch)) {
                    let link = holding.links.contains(&(feed, batch));
                    let (has, of) = (indices.len(), whole.len());
                    problems.push(format!("{feed:?} batch {batch} is torn: {has} of {of} events, link {link}"));
                }
            }
        }
        problems
    }

    fn judge_count(&self, feed: Feed, present: u64) -> Option<String> {
        let acknowledged = self.acknowledged.get(&feed).copied().unwrap_or(0);
        match self.settled.get(&feed) {
            Some(&settled) if settled != present => {
                Some(format!("{feed:?} had {settled} batches after the crash and now has {present}"))
            }
            None if present < acknowledged => {
                Some(format!("{feed:?} lost batches: {acknowledged} acknowledged, {present} there"))
            }
            None if present > acknowledged + 1 => {
                Some(format!("{feed:?} has {present} batches, yet only {acknowledged} were acknowledged"))
            }
            _ => None,
        }
    }

    /// Fixes what was found: from now on it must stay as it is.
    fn settle(&mut self, looked_at: &[Feed], holding: &Holding) {
        for &feed in looked_at {
            let present = holding.links.iter().filter(|(of, _)| *of == feed).count() as u64;
            self.settled.insert(feed, present);
        }
    }

    /// Events of everything settled.
    fn settled_events(&self) -> u64 {
        self.settled
            .iter()
            .map(|(feed, &batches)| (0..batches).map(|batch| feed.batch_events(batch)).sum::<u64>())
            .sum()
    }
}

/// Looks up what the store holds of `feeds`.
fn look(snapshot: &Snapshot, feeds: &[Feed]) -> Holding {
    let mut holding = Holding::default();
    for &feed in feeds {
        let stream = snapshot.stream(feed.customer()).run().expect("a stream");
        for item in stream {
            let event = item.expect("an item").event;
            let id = event.id.expect("written events have ids");
            holding.events.push(Mark::parse(&id).unwrap_or_else(|| panic!("nobody wrote `{id}`")));
        }
        let customer = Entity::customer(feed.customer());
        if snapshot.entity(&customer).expect("a lookup").is_none() {
            continue;
        }
        for link in snapshot.links(&customer, None).expect("links").outgoing {
            if link.relation == "reached" {
                let begin = link.valid_from.expect("links of batches begin").as_nanos();
                let batch = u64::try_from(begin / 10).expect("nobody wrote a negative batch");
                assert_eq!(link.validity(), feed.batch_link(batch).validity(), "nobody wrote {link:?}");
                holding.links.insert((feed, batch));
            }
        }
    }
    holding
}

/// Random numbers by place, the same in parent and child.
fn scramble(place: &[u64]) -> u64 {
    place.iter().fold(0x9E37_79B9_7F4A_7C15, |state: u64, &number| {
        let mixed = (state ^ number).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 29)).wrapping_mul(0x94D0_49BB_1331_11EB) ^ (mixed >> 32)
    })
}

/// Every other generation leaves the sync to the operating system: a killed process loses nothing of it.
fn writing_options(generation: u64) -> Options {
    options(300).durability(if generation.is_multiple_of(2) { Durability::Sync } else { Durability::Os })
}

/// Not a test of its own: the writing process, when the environment says so.
#[test]
fn child_writes_until_killed() {
    let Ok(path) = std::env::var("OFONE_CRASH_CHILD") else { return };
    let generation = setting("OFONE_CRASH_GENERATION", 0);
    let db = Db::open(path, writing_options(generation)).unwrap_or_else(|error| fail(&error));
    let begin = Instant::now();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let db = &db;
            scope.spawn(move || write(db, Feed { generation, writer }, begin));
        }
    });
}

fn write(db: &Db, feed: Feed, begin: Instant) {
    let writer = db.writer();
    for batch in 0.. {
        let records = feed.batch(batch);
        let count = records.len();
        let receipt = writer.commit(records).unwrap_or_else(|error| fail(&error));
        if receipt.inserted() != count {
            fail(&format!("{:?} batch {batch} was not new: {:?}", feed, receipt.outcomes()));
        }
        // One write call, so that the kill cannot cut a line in two.
        let report = format!("\nack {} {batch} {}\n", feed.writer, feed.batch_events(batch));
        if std::io::stdout().write_all(report.as_bytes()).is_err() || begin.elapsed() > CHILD_LIFE {
            return;
        }
    }
}

/// Ends the writing process so that the parent sees that it was not the kill.
fn fail(problem: &dyn fmt::Debug) -> ! {
    eprintln!("the writing process failed: {problem:?}");
    std::process::exit(3)
}

/// One store that is written and killed, and its oracle.
struct Ordeal {
    place: TempDir,
    oracle: Oracle,
    feeds: Vec<Feed>,
    /// How often the report of an opening told of something half done.
    unclean: u64,
}

impl Ordeal {
    fn new() -> Ordeal {
        Ordeal { place: scratch(), oracle: Oracle::default(), feeds: Vec::new(), unclean: 0 }
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    /// Starts a writing process and kills it after `life`. Returns the number of its acknowledgements.
    fn live(&mut self, generation: u64, life: Duration) -> u64 {
        let mut child = Command::new(std::env::current_exe().expect("this binary has a path"))
            .args(["--exact", "crash::child_writes_until_killed", "--nocapture", "--test-threads", "1"])
            .env("OFONE_CRASH_CHILD", self.path())
            .env("OFONE_CRASH_GENERATION", generation.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the writing process starts");
        let mut pipe = child.stdout.take().expect("its output is piped");
        let reports = thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).map(|_| text)
        });
        thread::sleep(life);
        child.kill().expect("the kill is sent");
        let status = child.wait().expect("the killed process is waited for");
        assert_eq!(status.signal(), Some(9), "generation {generation} ended by itself: {status}");
        let reports = reports.join().expect("the reader ends").expect("reports are text");

        self.feeds.extend((0..WRITERS).map(|writer| Feed { generation, writer }));
        let mut acknowledged = 0;
        for report in reports.lines().filter_map(|line| line.strip_prefix("ack ")) {
            let numbers: Vec<u64> = report.split(' ').map(|text| text.parse().expect("a number")).collect();
            let [writer, batch, events] = numbers[..] else { panic!("a whole report, not `{report}`") };
            let feed = Feed { generation, writer };
            assert_eq!(events, feed.batch_events(batch), "parent and child agree on what is in a batch");
            self.oracle.acknowledge(feed, batch);
            acknowledged += 1;
        }
        acknowledged
    }

    /// Opens the store and has the oracle judge the feeds that are new, or all.
    fn inspect(&mut self, scope: Scope) {
        let db = Db::open(self.path(), options(300)).expect("the store opens after the crash");
        let is_new = |feed: &&Feed| scope == Scope::All || !self.oracle.settled.contains_key(feed);
        let looked_at: Vec<Feed> = self.feeds.iter().filter(is_new).copied().collect();
        let snapshot = db.snapshot();
        let holding = look(&snapshot, &looked_at);
        assert_eq!(self.oracle.judge(&looked_at, &holding), Vec::<String>::new());
        self.oracle.settle(&looked_at, &holding);
        let stats = snapshot.stats().expect("counters");
        let recovery = db.recovery();
        assert_eq!(recovery.last_commit, stats.commits);
        assert!(recovery.commits_replayed <= stats.commits && recovery.events_replayed <= stats.events);
        self.unclean += u64::from(!recovery.was_clean());
        assert_eq!(stats.events, self.oracle.settled_events(), "events of the store and of all batches there");
        let report = db.check().expect("a check");
        assert_eq!((report.problems, report.problems_unlisted), (Vec::<String>::new(), 0));
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Scope {
    New,
    All,
}

#[test]
fn acknowledged_batches_survive_kill_9_and_no_batch_is_torn() {
    let kills: u64 = setting("OFONE_CRASH_KILLS", 200);
    let seed: u64 = setting("OFONE_CRASH_SEED", 1);
    eprintln!("{kills} kills; lives as in: OFONE_CRASH_SEED={seed}");
    let mut ordeal = Ordeal::new();
    let (mut acknowledged, mut again, mut unclean) = (0, false, 0);
    for generation in 0..kills {
        let random = scramble(&[seed, generation]);
        // After one kill in four the store is killed once more before anybody looks, while it recovers.
        let life = if again { random % 30 } else { 5 + random % 196 };
        acknowledged += ordeal.live(generation, Duration::from_millis(life));
        again = !again && (random >> 32).is_multiple_of(4);
        if again {
            continue;
        }
        ordeal.inspect(if generation % 5 == 0 { Scope::All } else { Scope::New });
        if ordeal.feeds.len() as u64 >= GENERATIONS_PER_STORE * WRITERS {
            ordeal.inspect(Scope::All);
            unclean += ordeal.unclean;
            ordeal = Ordeal::new();
        }
    }
    ordeal.inspect(Scope::All);
    unclean += ordeal.unclean;
    eprintln!("{acknowledged} batches were acknowledged, {unclean} kills left something half done");
    assert!(acknowledged > kills, "most lives are long enough to write: {acknowledged} batches");
}

/// A feed of which `acknowledged` batches were reported, and what a store holds with `present` of them.
fn example(acknowledged: u64, present: u64) -> (Oracle, Feed, Holding) {
    let feed = Feed { generation: 0, writer: 0 };
    let mut oracle = Oracle::default();
    for batch in 0..acknowledged {
        oracle.acknowledge(feed, batch);
    }
    let batches = || 0..present;
    let marks = |batch| (0..feed.batch_events(batch)).map(move |index| Mark { feed, batch, index });
    let holding =
        Holding { events: batches().flat_map(marks).collect(), links: batches().map(|batch| (feed, batch)).collect() };
    (oracle, feed, holding)
}

#[test]
fn the_oracle_accepts_all_acknowledged_batches_and_one_more() {
    for present in [4, 5] {
        let (oracle, feed, holding) = example(4, present);
        assert_eq!(oracle.judge(&[feed], &holding), Vec::<String>::new());
    }
}

#[test]
fn the_oracle_reports_whatever_is_lost_torn_doubled_or_invented() {
    for present in [0, 3, 6, 7] {
        let (oracle, feed, holding) = example(4, present);
        assert_ne!(oracle.judge(&[feed], &holding), Vec::<String>::new(), "{present} of 4");
    }
    let spoilt = |spoil: &dyn Fn(&mut Holding)| {
        let (oracle, feed, mut holding) = example(4, 5);
        spoil(&mut holding);
        oracle.judge(&[feed], &holding).join("; ")
    };
    let lost_amid = spoilt(&|holding| {
        holding.events.retain(|mark| mark.batch != 2);
        holding.links.retain(|(_, batch)| *batch != 2);
    });
    assert!(lost_amid.contains("one before is lost"), "{lost_amid}");
    let torn = spoilt(&|holding| holding.events.truncate(holding.events.len() - 1));
    assert!(torn.contains("torn"), "{torn}");
    let without_link = spoilt(&|holding| holding.links.retain(|(_, batch)| *batch != 0));
    assert!(without_link.contains("torn"), "{without_link}");
    let doubled = spoilt(&|holding| holding.events.push(holding.events[0]));
    assert!(doubled.contains("twice"), "{doubled}");
    let beyond = spoilt(&|holding| holding.events.push(Mark { index: 1000, ..holding.events[0] }));
    assert!(beyond.contains("torn"), "{beyond}");
    let stranger = Feed { generation: 9, writer: 1 };
    let invented = spoilt(&|holding| holding.events.push(Mark { feed: stranger, ..holding.events[0] }));
    assert!(invented.contains("not expected"), "{invented}");
}

#[test]
fn the_oracle_reports_a_later_change_of_what_was_found_once() {
    let (mut oracle, feed, holding) = example(4, 5);
    oracle.settle(&[feed], &holding);
    assert_eq!(oracle.judge(&[feed], &holding), Vec::<String>::new());
    for present in [4, 6] {
        let (_, _, later) = example(4, present);
        assert_ne!(oracle.judge(&[feed], &later), Vec::<String>::new(), "5 batches became {present}");
    }
}
