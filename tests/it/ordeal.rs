//! What tests of crashes and faults share: a process that writes, and an oracle of what must be left.
//!
//! The writing process is this test binary, started once more with one of the two tests whose names
//! begin with `child`; it reports each acknowledged commit through a pipe, which survives it. Every
//! generation of it writes batches numbered from zero, and what is in a batch follows from its number.
//! So the [`Oracle`] knows from the acknowledgements alone what the store must hold afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use ofone::{Batch, Db, Durability, Entity, Event, Link, Options, Result, Retention, Snapshot, Text};
use tempfile::TempDir;

use crate::support::{at, entity, event, link, options, scratch, setting};

pub(crate) const WRITERS: u64 = 2;
/// Events in a large batch, at most.
static LARGE_BATCH: LazyLock<u64> = LazyLock::new(|| setting("OFONE_LARGE_BATCH", 200));
/// A child whose parent is gone ends by itself after this.
const CHILD_LIFE: Duration = Duration::from_secs(20);

/// The batches of one writer in one life of the writing process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Feed {
    pub(crate) generation: u64,
    pub(crate) writer: u64,
}

impl Feed {
    /// Each feed has a customer to itself, so its events are one stream.
    pub(crate) fn customer(self) -> Text {
        format!("g{}-w{}", self.generation, self.writer).into()
    }

    /// Half of the events happen to a service; a link in the first batch leads to it.
    pub(crate) fn service(self) -> Entity {
        Entity::new("service", self.customer())
    }

    /// Events in a batch: mostly few, now and then many, sometimes none but a link.
    pub(crate) fn batch_events(self, batch: u64) -> u64 {
        let random = scramble(&[self.generation, self.writer, batch]);
        match random % 8 {
            0 => 0,
            7 => 1 + (random >> 8) % *LARGE_BATCH,
            _ => 1 + (random >> 8) % 20,
        }
    }

    /// A link that stands for the batch: its validity touches that of no other batch.
    fn batch_link(self, batch: u64) -> Link {
        let begin = i64::try_from(batch * 10).expect("few batches");
        let olt = Entity::new("olt", self.writer.to_string());
        Link::new(Entity::customer(self.customer()), "reached", olt).valid_from(at(begin)).valid_to(at(begin + 5))
    }

    pub(crate) fn batch(self, batch: u64) -> Batch {
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
pub(crate) struct Mark {
    pub(crate) feed: Feed,
    pub(crate) batch: u64,
    pub(crate) index: u64,
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

/// Has the script write somebody to be trimmed and erased.
pub(crate) const DOOMED: (&str, &str) = ("OFONE_CHILD_DOOMED", "1");
/// Events of the one customer of each life who is written to be trimmed and erased again.
const DOOMED_EVENTS: u64 = 8;
/// Those of them that a retention takes.
const DOOMED_TRIMMED: u64 = 5;

fn doomed(generation: u64) -> String {
    format!("doomed-{generation}.")
}

/// How far the doomed customer of a life came, as was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Expected,
    Written,
    Trimmed,
    Erased,
}

impl Fate {
    /// How many events may be there: the step behind the one reported may have happened. What was written without a
    /// sync may be lost; a retention and an erasure sync.
    fn allows(self, events: u64, unsynced: bool) -> bool {
        let left = DOOMED_EVENTS - DOOMED_TRIMMED;
        match self {
            Fate::Expected => events == 0 || events == DOOMED_EVENTS,
            Fate::Written if unsynced && events == 0 => true,
            Fate::Written => events == DOOMED_EVENTS || events == left,
            Fate::Trimmed => events == left || events == 0,
            Fate::Erased => events == 0,
        }
    }
}

/// What a store holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holding {
    /// One mark each time an event is seen.
    pub(crate) events: Vec<Mark>,
    /// Batches whose link is there.
    pub(crate) links: BTreeSet<(Feed, u64)>,
}

/// Knows what a store must hold after a crash, from what was acknowledged before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    /// Whether an acknowledged batch at the end may be gone: the power was cut, and nothing synced.
    pub(crate) unsynced: bool,
    /// Acknowledged batches of each feed.
    acknowledged: BTreeMap<Feed, u64>,
    /// Batches found in earlier looks: what was there once stays, acknowledged or not.
    settled: BTreeMap<Feed, u64>,
    /// What became of the doomed customers of the lives that had one.
    doomed: BTreeMap<u64, Fate>,
    /// Their events found in earlier looks.
    doomed_settled: BTreeMap<u64, u64>,
}

impl Oracle {
    /// Takes the report of one commit.
    pub(crate) fn acknowledge(&mut self, feed: Feed, batch: u64) {
        let next = self.acknowledged.entry(feed).or_default();
        assert_eq!(batch, *next, "a writer reports its batches in order");
        *next += 1;
    }

    /// Expects somebody in this life who is written to be erased.
    pub(crate) fn expect_doomed(&mut self, generation: u64) {
        self.doomed.insert(generation, Fate::Expected);
    }

    /// Takes a report of what became of them, if it is one.
    pub(crate) fn hear_fate(&mut self, generation: u64, report: &str) {
        let fate = match report {
            "doomed written" => Fate::Written,
            "doomed trimmed" => Fate::Trimmed,
            "doomed erased" => Fate::Erased,
            _ => return,
        };
        self.doomed.insert(generation, fate);
    }

    pub(crate) fn acknowledged_of(&self, feed: Feed) -> u64 {
        self.acknowledged.get(&feed).copied().unwrap_or(0)
    }

    /// How `holding` breaks the promise: every acknowledged batch is there, whole and once; of each
    /// writer at most one more, whole too, the one whose acknowledgement the crash cut off; nothing
    /// else. Only the feeds in `looked_at` are judged.
    pub(crate) fn judge(&self, looked_at: &[Feed], holding: &Holding) -> Vec<String> {
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
            None if present < acknowledged && !self.unsynced => {
                Some(format!("{feed:?} lost batches: {acknowledged} acknowledged, {present} there"))
            }
            None if present > acknowledged + 1 => {
                Some(format!("{feed:?} has {present} batches, yet only {acknowledged} were acknowledged"))
            }
            _ => None,
        }
    }

    /// Fixes what was found: from now on it must stay as it is.
    pub(crate) fn settle(&mut self, looked_at: &[Feed], holding: &Holding) {
        for &feed in looked_at {
            let present = holding.links.iter().filter(|(of, _)| *of == feed).count() as u64;
            self.settled.insert(feed, present);
        }
    }

    /// Events of everything acknowledged, but those of the doomed.
    pub(crate) fn acknowledged_events(&self) -> u64 {
        events_of(&self.acknowledged)
    }

    /// Events of everything settled.
    pub(crate) fn settled_events(&self) -> u64 {
        events_of(&self.settled) + self.doomed_settled.values().sum::<u64>()
    }

    /// How the doomed customers break the promise: a retention and an erasure happen whole or not at all, what
    /// was reported stays so, and of an erased customer there is nothing.
    fn judge_doomed(&mut self, db: &Db) -> Vec<String> {
        let mut problems = Vec::new();
        let snapshot = db.snapshot();
        for (&generation, &fate) in &self.doomed {
            let name = doomed(generation);
            let events = snapshot.stream(&name).run().expect("a stream").count() as u64;
            let before = self.doomed_settled.insert(generation, events);
            if !fate.allows(events, self.unsynced) || before.is_some_and(|before| before != events) {
                problems.push(format!("{name} is {fate:?} and has {events} events, before {before:?}"));
            }
            let known = snapshot.entity(&Entity::customer(name.as_str())).expect("a lookup").is_some();
            if known != (events > 0) {
                problems.push(format!("{name} is {fate:?}, known: {known}, and has {events} events"));
            }
            // A search of everything: once is enough.
            if !known && before.is_none() {
                let rows = db.traces(&name).expect("traces").rows;
                problems.extend((!rows.is_empty()).then(|| format!("{name} is gone, and yet in {rows:?}")));
            }
        }
        problems
    }
}

fn events_of(batches: &BTreeMap<Feed, u64>) -> u64 {
    batches.iter().flat_map(|(feed, &count)| (0..count).map(|batch| feed.batch_events(batch))).sum()
}

/// Looks up what the store holds of `feeds`.
pub(crate) fn look(snapshot: &Snapshot, feeds: &[Feed]) -> Holding {
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
pub(crate) fn scramble(place: &[u64]) -> u64 {
    place.iter().fold(0x9E37_79B9_7F4A_7C15, |state: u64, &number| {
        let mixed = (state ^ number).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 29)).wrapping_mul(0x94D0_49BB_1331_11EB) ^ (mixed >> 32)
    })
}

/// Every other generation leaves the sync to the operating system: a killed process loses nothing of it.
pub(crate) fn writing_options(generation: u64) -> Options {
    options(300)
        .durability(if generation.is_multiple_of(2) { Durability::Sync } else { Durability::Os })
        .preallocate(generation % 4 < 2)
}

/// Not a test of its own: the writing process, when the environment says so.
#[test]
fn child_writes_until_killed() {
    let Some((path, generation)) = child() else { return };
    let db = Db::open(path, writing_options(generation)).unwrap_or_else(|error| fail(&error));
    let begin = Instant::now();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let db = &db;
            scope.spawn(move || {
                let feed = Feed { generation, writer };
                for batch in 0.. {
                    commit(db, feed, batch).unwrap_or_else(|error| fail(&error));
                    if begin.elapsed() > CHILD_LIFE {
                        return;
                    }
                }
            });
        }
    });
}

/// Not a test of its own: a process that commits, seals, merges and ends, or tells what stopped it.
#[test]
fn child_follows_a_script() {
    let Some((path, generation)) = child() else { return };
    match follow(&path, generation) {
        Ok(()) => report("finished"),
        Err(error) => report(&format!("failed {:?} {error:?}", error.kind())),
    }
}

/// The store and the life that this process is started for, if it is.
fn child() -> Option<(String, u64)> {
    Some((std::env::var("OFONE_CHILD").ok()?, setting("OFONE_CHILD_LIFE", 0)))
}

fn follow(path: &str, generation: u64) -> Result<()> {
    let (rounds, batches) = (setting("OFONE_CHILD_ROUNDS", 2), setting("OFONE_CHILD_BATCHES", 6u64));
    let writers = setting("OFONE_CHILD_WRITERS", WRITERS);
    let db = Db::open(path, writing_options(generation).segment_events(120))?;
    report("opened");
    for round in 0..rounds {
        thread::scope(|scope| {
            let write = |writer| {
                let (db, feed) = (&db, Feed { generation, writer });
                move || {
                    for batch in round * batches..(round + 1) * batches {
                        if let Err(error) = commit(db, feed, batch) {
                            // Whatever failed, nothing is acknowledged from then on.
                            if db.writer().commit(feed.batch(batch + 1)).is_ok() {
                                report("violation");
                            }
                            return Err(error);
                        }
                    }
                    Ok(())
                }
            };
            let writers: Vec<_> = (0..writers).map(|writer| scope.spawn(write(writer))).collect();
            writers.into_iter().try_for_each(|writer| writer.join().expect("no panic"))
        })?;
        db.flush()?;
        db.wait_until_quiet()?;
    }
    if std::env::var_os(DOOMED.0).is_some() {
        doom(&db, generation)?;
    }
    // Without rounds this is a life that does nothing but recover.
    db.flush()?;
    db.wait_until_quiet()
}

/// Writes a customer, trims them, erases them, and tells of each step.
fn doom(db: &Db, generation: u64) -> Result<()> {
    let (name, source) = (doomed(generation), format!("source-{generation}"));
    let (customer, line) = (format!("customer:{name}"), format!("line:{name}"));
    let mut batch = Batch::new();
    batch.link(link(&customer, "uses", &line));
    for time in 0..DOOMED_EVENTS {
        let subject = if time % 2 == 0 { &customer } else { &line };
        let mut event = event(time as i64, &format!("{name}{time}"), subject).context(entity("olt:0"));
        event.source = source.as_str().into();
        batch.event(event);
    }
    db.writer().commit(batch)?;
    report("doomed written");
    db.retain(&Retention::before(at(DOOMED_TRIMMED as i64)).source(source).max_share(1.0))?;
    report("doomed trimmed");
    if db.erase(name)?.held_back {
        fail(&"nobody reads, yet an erasure was held back");
    }
    report("doomed erased");
    Ok(())
}

/// Commits one batch and tells that it was acknowledged.
fn commit(db: &Db, feed: Feed, batch: u64) -> Result<()> {
    let records = feed.batch(batch);
    let count = records.len();
    let receipt = db.writer().commit(records)?;
    if receipt.inserted() != count {
        fail(&format!("{:?} batch {batch} was not new: {:?}", feed, receipt.outcomes()));
    }
    report(&format!("ack {} {batch} {}", feed.writer, feed.batch_events(batch)));
    Ok(())
}

/// One write call, so that a kill cannot cut a line in two. A parent that is gone reads nothing.
fn report(line: &str) {
    if std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).is_err() {
        std::process::exit(3);
    }
}

/// The batch that a line of a writing process acknowledges.
pub(crate) fn acknowledgement(generation: u64, line: &str) -> Option<(Feed, u64)> {
    let numbers: Vec<u64> = line.strip_prefix("ack ")?.split(' ').map(|text| text.parse().expect("a number")).collect();
    let [writer, batch, events] = numbers[..] else { panic!("a whole report, not `{line}`") };
    let feed = Feed { generation, writer };
    assert_eq!(events, feed.batch_events(batch), "parent and child agree on what is in a batch");
    Some((feed, batch))
}

/// Ends the writing process so that the parent sees that it was not the kill.
fn fail(problem: &dyn fmt::Debug) -> ! {
    eprintln!("the writing process failed: {problem:?}");
    std::process::exit(3)
}

/// One store that is written and killed, and its oracle.
pub(crate) struct Ordeal {
    /// The place of the store, if it is to go with this.
    _place: Option<TempDir>,
    store: PathBuf,
    pub(crate) oracle: Oracle,
    pub(crate) feeds: Vec<Feed>,
    /// How often the report of an opening told of something half done.
    pub(crate) unclean: u64,
    /// How many files were missing and put back.
    pub(crate) put_back: u64,
}

impl Ordeal {
    pub(crate) fn new() -> Ordeal {
        let place = scratch();
        let store = place.path().to_path_buf();
        Ordeal { _place: Some(place), ..Ordeal::at(store, Oracle::default()) }
    }

    /// A store that lies somewhere already. The oracle knows what was written to it.
    pub(crate) fn at(store: PathBuf, oracle: Oracle) -> Ordeal {
        let feeds: BTreeSet<Feed> = oracle.acknowledged.keys().chain(oracle.settled.keys()).copied().collect();
        Ordeal { _place: None, store, oracle, feeds: feeds.into_iter().collect(), unclean: 0, put_back: 0 }
    }

    /// A copy of the store as it lies there, with an oracle that knows as much.
    #[cfg(feature = "failpoints")]
    pub(crate) fn twin(&self) -> Ordeal {
        let place = scratch();
        let store = place.path().join("store");
        crate::damage::copy(&self.store, &store);
        let feeds = self.feeds.clone();
        Ordeal { _place: Some(place), feeds, ..Ordeal::at(store, self.oracle.clone()) }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.store
    }

    /// Expects batches of this life, should none be acknowledged.
    pub(crate) fn expect_life(&mut self, generation: u64) {
        let feeds = (0..WRITERS).map(|writer| Feed { generation, writer });
        let more: Vec<Feed> = feeds.filter(|feed| !self.feeds.contains(feed)).collect();
        self.feeds.extend(more);
    }

    /// A process that runs the test `of` of this binary alone on the store, in the life `generation`.
    pub(crate) fn process(&self, of: &str, generation: u64) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
        command
            .args(["--exact", of, "--nocapture", "--test-threads", "1"])
            .env("OFONE_CHILD", &self.store)
            .env("OFONE_CHILD_LIFE", generation.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    /// Starts a writing process and kills it after `life`. Returns the number of its acknowledgements.
    pub(crate) fn live(&mut self, generation: u64, life: Duration) -> u64 {
        let mut child =
            self.process("ordeal::child_writes_until_killed", generation).spawn().expect("the writing process starts");
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
        self.hear(generation, &reports)
    }

    /// Works through the script in a process of its own, with more in its environment. What it tells on
    /// stderr, and how it ended.
    pub(crate) fn follow_script(&mut self, generation: u64, more: &[(&str, &str)]) -> Told {
        let mut command = self.process("ordeal::child_follows_a_script", generation);
        if more.contains(&DOOMED) {
            self.oracle.expect_doomed(generation);
        }
        let output = command.envs(more.iter().copied()).stderr(Stdio::piped()).output().expect("it runs");
        let reports = String::from_utf8_lossy(&output.stdout).into_owned();
        let acknowledged = self.hear(generation, &reports);
        let noise = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = |mark: &str| reports.lines().any(|line| line.starts_with(mark));
        assert!(!told("violation"), "{more:?}: acknowledged after an error: {reports}{noise}");
        let panicked = noise.contains("panicked at") || output.status.code() == Some(101);
        let asked = more.iter().any(|(_, value)| value.ends_with(":panic"));
        assert!(!panicked || asked, "{more:?}: a panic: {noise}");
        let error = reports.lines().find_map(|line| line.strip_prefix("failed ")).map(str::to_owned);
        let aborted = output.status.signal() == Some(6);
        assert!(aborted || error.is_some() || told("finished"), "{more:?}: {}: {reports}{noise}", output.status);
        Told { acknowledged, aborted, error, noise }
    }

    /// Takes the acknowledgements of one life. Returns their number.
    pub(crate) fn hear(&mut self, generation: u64, reports: &str) -> u64 {
        self.expect_life(generation);
        let mut acknowledged = 0;
        for report in reports.lines() {
            if let Some((feed, batch)) = acknowledgement(generation, report) {
                self.oracle.acknowledge(feed, batch);
                acknowledged += 1;
            }
            self.oracle.hear_fate(generation, report);
        }
        acknowledged
    }

    /// Opens the store and has the oracle judge the feeds that are new, or all.
    pub(crate) fn inspect(&mut self, scope: Scope) {
        assert_eq!(self.problems(scope), Vec::<String>::new());
    }

    /// As [`Ordeal::inspect`]: what is wrong, if anything. What was found is settled.
    pub(crate) fn problems(&mut self, scope: Scope) -> Vec<String> {
        let db = match Db::open(&self.store, options(300)) {
            Ok(db) => db,
            Err(error) => return vec![format!("the store does not open: {error:?}")],
        };
        let is_new = |feed: &&Feed| scope == Scope::All || !self.oracle.settled.contains_key(feed);
        let looked_at: Vec<Feed> = self.feeds.iter().filter(is_new).copied().collect();
        let snapshot = db.snapshot();
        let holding = look(&snapshot, &looked_at);
        let mut problems = self.oracle.judge(&looked_at, &holding);
        self.oracle.settle(&looked_at, &holding);
        problems.extend(self.oracle.judge_doomed(&db));
        let (stats, recovery) = (snapshot.stats().expect("counters"), db.recovery());
        let (events, settled) = (stats.events, self.oracle.settled_events());
        if events != settled {
            problems.push(format!("{events} events are counted, all batches there have {settled}"));
        }
        let replayed = recovery.commits_replayed <= stats.commits && recovery.events_replayed <= stats.events;
        // An erasure that opening finished is a commit of its own.
        let finished = u64::from(!self.oracle.doomed.is_empty());
        if !(recovery.last_commit..=recovery.last_commit + finished).contains(&stats.commits) || !replayed {
            problems.push(format!("{} commits are there, opening told {recovery:?}", stats.commits));
        }
        self.unclean += u64::from(!recovery.was_clean());
        self.put_back += recovery.files_put_back;
        match db.check() {
            Ok(report) => problems.extend(report.problems),
            Err(error) => problems.push(format!("the check ends: {error:?}")),
        }
        problems
    }
}

/// What became of a process that followed the script.
pub(crate) struct Told {
    pub(crate) acknowledged: u64,
    #[cfg_attr(not(feature = "failpoints"), expect(dead_code, reason = "nothing aborts without failpoints"))]
    pub(crate) aborted: bool,
    pub(crate) error: Option<String>,
    pub(crate) noise: String,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Scope {
    New,
    All,
}
