//! Everything at once: writers, readers, seals, merges, retention, erasures, and the command line that looks from
//! another process, for as long as one likes.
//!
//! The load runs in a process of its own, so that its memory and open files are its own. Batches of a writer are
//! numbered, and 150 of them belong to one customer; every fourth customer is erased once the next but one is
//! written. Times follow the numbers, so that retention is a bound on them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ofone::{
    Batch, Bucket, Db, Event, EventName, Expr, Link, Predicate, Retention, Snapshot, TimelineBucket, Timestamp,
};
use parking_lot::{Mutex, RwLock};

use crate::cli::{lines, run, stderr, stdout, text};
use crate::ordeal::scramble;
use crate::support::{at, entity, event, link, open, scratch, setting};

const WRITERS: usize = 4;
const READERS: usize = 4;
/// Batches of one customer.
const TURN: i64 = 150;
/// Batches of each writer that retention leaves.
const KEPT: i64 = 450;
/// Events of a batch in the stream of its customer: its own, its line's, and that of what all lines of a writer share.
const EVENTS: usize = 3;
/// What resident memory may grow by from the end of the first third to the end of the last, in bytes.
const MEMORY_GROWTH_MAX: u64 = 64 << 20;
/// The same for open files.
const FILES_GROWTH_MAX: u64 = 64;

/// Customer number `turn` of a writer.
type Customer = (usize, i64);

fn name((writer, turn): Customer) -> String {
    format!("w{writer}t{turn}.")
}

/// Whether the customer is one of those who are erased.
fn is_doomed((_, turn): Customer) -> bool {
    turn % 4 == 3
}

/// The time of a batch: those of the writers lie between each other.
fn time_of(writer: usize, batch: i64) -> i64 {
    batch * 10 + writer as i64
}

fn records(writer: usize, batch: i64) -> (Batch, Batch) {
    let turn = batch / TURN;
    let customer = name((writer, turn));
    let (line, olt) = (format!("line:{customer}"), format!("olt:{writer}"));
    let time = time_of(writer, batch);
    let (mut links, mut events) = (Batch::new(), Batch::new());
    links.link(link(&format!("customer:{customer}"), "uses", &line));
    let fed = Link::new(entity(&line), "fed_by", entity(&olt));
    links.link(fed.valid_from(at(turn * TURN * 10)).valid_to(at((turn + 1) * TURN * 10)));
    let named = |what: &str, subject: &str| {
        let mut event = event(time, &format!("{what}/{writer}/{batch}"), subject).attribute("batch", batch);
        event.kind = what.into();
        event
    };
    events.event(named("own", &format!("customer:{customer}")));
    events.event(named("flap", &line).end(at(time + 5)));
    events.event(named("alarm", &olt));
    (links, events)
}

/// What all threads know.
struct World {
    seed: u64,
    /// Batches of each writer that are acknowledged: all below.
    acknowledged: [AtomicI64; WRITERS],
    /// No event before this time may go.
    horizon: AtomicI64,
    erasures_begun: Mutex<BTreeSet<Customer>>,
    erasures_done: Mutex<BTreeSet<Customer>>,
    done: AtomicBool,
    /// Held by whoever does something; when nobody does, the store comes to rest and is weighed.
    gate: RwLock<()>,
    /// What each reader holds for a while.
    held: [Mutex<Option<Held>>; READERS],
    looks: AtomicU64,
    looks_from_outside: AtomicU64,
    retained: AtomicU64,
    retentions: AtomicU64,
}

/// What was certain when somebody looked.
struct Known {
    acknowledged: [i64; WRITERS],
    horizon: i64,
    erased: BTreeSet<Customer>,
}

/// What was certain when a snapshot was taken, and the snapshot.
struct Moment {
    known: Known,
    snapshot: Snapshot,
}

impl World {
    fn acknowledged(&self) -> [i64; WRITERS] {
        std::array::from_fn(|writer| self.acknowledged[writer].load(Ordering::Acquire))
    }

    fn known(&self) -> Known {
        let (acknowledged, erased) = (self.acknowledged(), self.erasures_done.lock().clone());
        Known { acknowledged, erased, horizon: self.horizon.load(Ordering::Acquire) }
    }

    fn moment(&self, db: &Db) -> Moment {
        let known = self.known();
        let snapshot = db.snapshot();
        // Whatever was being removed then was announced before.
        Moment { snapshot, known: Known { horizon: self.horizon.load(Ordering::Acquire), ..known } }
    }
}

impl Known {
    /// Customers of whom something must be there.
    fn customers(&self) -> Vec<Customer> {
        let of = |writer: usize| {
            let last = (self.acknowledged[writer] - 1).div_euclid(TURN);
            let first = (self.horizon / 10 / TURN).min(last).max(0);
            (first..=last).map(move |turn| (writer, turn))
        };
        (0..WRITERS).flat_map(of).collect()
    }
}

/// How many events of each batch the stream of a customer has; none twice, none foreign.
fn stream(moment: &Moment, customer: Customer) -> BTreeMap<i64, usize> {
    let items = moment.snapshot.stream(name(customer)).run().expect("a stream");
    let id = |event: Event| event.id.expect("written events have ids").to_string();
    batches(customer, items.map(|item| id(item.expect("an item").event)))
}

fn batches(customer: Customer, ids: impl Iterator<Item = String>) -> BTreeMap<i64, usize> {
    let mut batches = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for id in ids {
        let parts: Vec<&str> = id.split('/').collect();
        assert_eq!(parts[1].parse(), Ok(customer.0), "`{id}` is not of {customer:?}");
        let batch: i64 = parts[2].parse().expect("a number");
        assert_eq!(batch / TURN, customer.1, "`{id}` is not of {customer:?}");
        *batches.entry(batch).or_insert(0) += 1;
        assert!(seen.insert(id.clone()), "`{id}` is there twice");
    }
    batches
}

fn look_at_stream(world: &World, moment: &Moment, customer: Customer) {
    judge_stream(world, &moment.known, customer, stream(moment, customer));
}

/// Everything of the customer that was acknowledged and not removed is in the stream, batches are whole.
fn judge_stream(world: &World, known: &Known, customer: Customer, batches: BTreeMap<i64, usize>) {
    if known.erased.contains(&customer) {
        assert!(batches.is_empty(), "{customer:?} is back: {batches:?}");
        return;
    }
    // The eraser announces before it begins.
    if world.erasures_begun.lock().contains(&customer) {
        return;
    }
    let (writer, turn) = customer;
    let end = ((turn + 1) * TURN).min(known.acknowledged[writer]);
    for batch in turn * TURN..end {
        let found = batches.get(&batch).copied().unwrap_or(0);
        let may_be_gone = time_of(writer, batch) < known.horizon;
        assert!(found == EVENTS || may_be_gone, "{customer:?} batch {batch}: {found} of {EVENTS} events");
    }
    for (batch, found) in batches {
        let may_be_gone = time_of(writer, batch) < known.horizon;
        assert!(found == EVENTS || may_be_gone, "{customer:?} batch {batch} is torn: {found} events");
    }
}

/// Customers with an event of their own since the horizon.
fn cohort(moment: &Moment) -> BTreeSet<String> {
    let expr: Expr = format!("did(kind = own, since {})", at(moment.known.horizon)).parse().expect("an expression");
    let cohort = moment.snapshot.who(expr).run().expect("a cohort");
    let ids: Vec<String> = cohort.ids().map(|id| id.expect("an id").to_string()).collect();
    let set: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!((set.len(), cohort.len()), (ids.len(), ids.len() as u64), "nobody is in a cohort twice");
    set
}

fn look_at_cohort(world: &World, moment: &Moment) {
    let cohort = cohort(moment);
    for customer in &moment.known.erased {
        assert!(!cohort.contains(&name(*customer)), "{customer:?} is back");
    }
    let begun = world.erasures_begun.lock().clone();
    for customer in moment.known.customers() {
        let (writer, turn) = customer;
        let last = ((turn + 1) * TURN).min(moment.known.acknowledged[writer]) - 1;
        let since = time_of(writer, last) >= moment.known.horizon;
        assert!(!since || begun.contains(&customer) || cohort.contains(&name(customer)), "{customer:?} is missing");
    }
}

fn timeline(moment: &Moment) -> Vec<TimelineBucket> {
    let asked = moment.snapshot.timeline(Predicate::kind("alarm")).window(at(moment.known.horizon)..Timestamp::MAX);
    asked.every(Bucket::Length(TURN * 10)).run().expect("a timeline")
}

/// Alarms belong to what all share, so that no erasure takes one.
fn look_at_timeline(moment: &Moment, after: [i64; WRITERS]) {
    let counted: u64 = timeline(moment).iter().map(|bucket| bucket.events).sum();
    let since = |acknowledged: [i64; WRITERS], ahead: i64| -> u64 {
        let of = |writer: usize| {
            let first = (moment.known.horizon - writer as i64 + 9).div_euclid(10).max(0);
            (acknowledged[writer] + ahead - first).max(0) as u64
        };
        (0..WRITERS).map(of).sum()
    };
    let (least, most) = (since(moment.known.acknowledged, 0), since(after, 1));
    assert!((least..=most).contains(&counted), "{counted} alarms, {least} to {most} were acknowledged");
}

fn look_at_why(moment: &Moment, customer: Customer) {
    let (writer, turn) = customer;
    let batch = ((turn + 1) * TURN).min(moment.known.acknowledged[writer]) - 1;
    if is_doomed(customer) || time_of(writer, batch) < moment.known.horizon {
        return;
    }
    for what in ["own", "flap", "alarm"] {
        let (id, time) = (format!("{what}/{writer}/{batch}"), at(time_of(writer, batch)));
        let why = moment.snapshot.why(name(customer), &EventName { source: "feed".into(), id: id.into(), time });
        let why = why.unwrap_or_else(|error| panic!("{customer:?} batch {batch}: {error}"));
        assert!(!why.paths.is_empty(), "{customer:?} {what} {batch}: {:?}", why.why_not);
    }
}

/// What is held for some looks: a customer's stream by batch, the timeline, and how many are in the cohort.
type Held = (Moment, Customer, BTreeMap<i64, usize>, Vec<TimelineBucket>, usize);

/// Reads until the writers are done; one snapshot is held for some looks, and must stay as it is.
fn read(world: &World, db: &Db, reader: u64) {
    for look in 0.. {
        if world.done.load(Ordering::Acquire) {
            return;
        }
        let _at_work = world.gate.read();
        let mut held = world.held[reader as usize].lock();
        let moment = world.moment(db);
        let known = moment.known.customers();
        if known.is_empty() {
            thread::yield_now();
            continue;
        }
        let customer = known[scramble(&[world.seed, reader, look]) as usize % known.len()];
        match (look + reader) % 4 {
            0 => look_at_stream(world, &moment, customer),
            1 => look_at_cohort(world, &moment),
            2 => look_at_timeline(&moment, world.acknowledged()),
            _ => look_at_why(&moment, customer),
        }
        for customer in moment.known.erased.iter().rev().take(1) {
            look_at_stream(world, &moment, *customer);
        }
        world.looks.fetch_add(1, Ordering::Relaxed);
        if let Some((moment, customer, events, buckets, members)) = &*held {
            assert_eq!(&stream(moment, *customer), events, "a snapshot changed for {customer:?}");
            assert_eq!(&timeline(moment), buckets, "a snapshot changed");
            // Of somebody erased since, it has no name any more, but still counts them.
            let expr: Expr =
                format!("did(kind = own, since {})", at(moment.known.horizon)).parse().expect("an expression");
            let count = moment.snapshot.who(expr).run().expect("a cohort").len() as usize;
            assert_eq!(count, *members, "a snapshot changed");
        }
        if look % 16 == 0 {
            *held = None;
        } else if look % 16 == 4 {
            let (events, buckets, members) = (stream(&moment, customer), timeline(&moment), cohort(&moment).len());
            *held = Some((moment, customer, events, buckets, members));
        }
    }
}

/// Has the command line look, one process after the other.
fn look_from_outside(world: &World, store: &Path) {
    for look in 0u64.. {
        if world.done.load(Ordering::Acquire) {
            return;
        }
        let at_work = world.gate.read();
        let known = world.known();
        let customers = known.customers();
        let erased = known.erased.iter().next_back().filter(|_| look.is_multiple_of(4)).copied();
        let any = || customers[scramble(&[world.seed, READERS as u64, look]) as usize % customers.len()];
        if !customers.is_empty() {
            let customer = erased.unwrap_or_else(any);
            let output = run(&["stream", &name(customer), "--live", "--format", "ndjson", "--db", text(store)]);
            let known = Known { horizon: world.horizon.load(Ordering::Acquire), ..known };
            let code = output.status.code();
            // Nobody of that name is there.
            let not_found = code == Some(3) && world.erasures_begun.lock().contains(&customer);
            assert!(code == Some(0) || not_found, "{code:?}: {}", stderr(&output));
            let ids = lines(stdout(&output)).into_iter().map(|line| line["id"].as_str().expect("an id").to_owned());
            judge_stream(world, &known, customer, batches(customer, ids));
            world.looks_from_outside.fetch_add(1, Ordering::Relaxed);
        }
        drop(at_work);
        thread::sleep(Duration::from_millis(20));
    }
}

fn write(world: &World, db: &Db, writer: usize) {
    let handle = db.writer();
    let mut batch = 0;
    while !world.done.load(Ordering::Acquire) {
        let at_work = world.gate.read();
        let (links, events) = records(writer, batch);
        if batch % TURN == 0 {
            assert_eq!(handle.commit(links).expect("a commit").inserted(), 2);
        }
        if batch % TURN > 0 && scramble(&[world.seed, writer as u64, batch as u64]).is_multiple_of(5) {
            // A feed that sends once more what it sent.
            let (_, earlier) = records(writer, batch - 1);
            let receipt = handle.commit(earlier).expect("a commit");
            assert_eq!(receipt.duplicates(), EVENTS, "{:?}", receipt.outcomes());
        }
        let receipt = handle.commit(events).expect("a commit");
        assert_eq!(receipt.inserted(), EVENTS, "batch {batch} of {writer}: {:?}", receipt.outcomes());
        batch += 1;
        world.acknowledged[writer].store(batch, Ordering::Release);
        drop(at_work);
        // Slow enough for readers to keep up with what retention leaves.
        thread::sleep(Duration::from_millis(2));
    }
}

/// Erases who is doomed, and removes what is old, as long as the writers go on.
fn remove(world: &World, db: &Db) {
    let mut next: [i64; WRITERS] = [3; WRITERS];
    for turn in 0u64.. {
        if world.done.load(Ordering::Acquire) {
            return;
        }
        let at_work = world.gate.read();
        for (writer, next) in next.iter_mut().enumerate() {
            let customer = (writer, *next);
            if world.acknowledged()[writer] / TURN <= customer.1 + 1 {
                continue;
            }
            world.erasures_begun.lock().insert(customer);
            let receipt = db.erase(name(customer)).expect("an erasure");
            assert_eq!(receipt.entities, 2, "{customer:?} and the line: {receipt:?}");
            world.erasures_done.lock().insert(customer);
            let (links, late) = records(writer, customer.1 * TURN);
            assert_eq!(db.writer().commit(links).expect("a commit").rejected(), 2);
            // The alarm happened to others.
            assert_eq!(db.writer().commit(late).expect("a commit").rejected(), 2);
            *next += 4;
        }
        let oldest = world.acknowledged().into_iter().min().expect("writers");
        let horizon = (oldest - KEPT) * 10;
        if turn.is_multiple_of(2) && horizon > world.horizon.load(Ordering::Acquire) + TURN * 5 {
            world.horizon.store(horizon, Ordering::Release);
            let asked = Retention::before(at(horizon)).max_share(1.0);
            let removed = db.retain(&asked).expect("a retention");
            assert_eq!(db.retain(&asked.dry_run(true)).expect("a retention").events, 0, "all of it is gone");
            world.retained.fetch_add(removed.events, Ordering::Relaxed);
            world.retentions.fetch_add(1, Ordering::Relaxed);
        }
        drop(at_work);
        thread::sleep(Duration::from_millis(20));
    }
}

/// Resident memory in bytes and open files of this process, where the system tells.
fn weight() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().ok()?;
    Some((kib << 10, std::fs::read_dir("/proc/self/fd").ok()?.count() as u64))
}

/// `weights`: at rest, at the end of each third.
fn look_at_weight(weights: &[(u64, u64)]) -> String {
    let (Some(&(memory, files)), Some(&(memory_then, files_then))) = (weights.first(), weights.last()) else {
        return "memory and files skipped: the system does not tell".to_owned();
    };
    let told = format!("at rest {} to {} MiB, {files} to {files_then} files", memory >> 20, memory_then >> 20);
    assert!(memory_then <= memory + MEMORY_GROWTH_MAX && files_then <= files + FILES_GROWTH_MAX, "{told}");
    told
}

/// Not a test of its own: the process under load, when the environment says so.
#[test]
fn child_does_everything_at_once() {
    if std::env::var_os("OFONE_MIXED_CHILD").is_none() {
        return;
    }
    let (seconds, seed) = (setting("OFONE_MIXED_SECONDS", 6u64), setting("OFONE_MIXED_SEED", 1u64));
    let place = scratch();
    let db = open(place.path(), 300);
    let world = World {
        seed,
        acknowledged: Default::default(),
        horizon: AtomicI64::new(0),
        erasures_begun: Mutex::default(),
        erasures_done: Mutex::default(),
        done: AtomicBool::new(false),
        gate: RwLock::new(()),
        held: Default::default(),
        looks: AtomicU64::new(0),
        looks_from_outside: AtomicU64::new(0),
        retained: AtomicU64::new(0),
        retentions: AtomicU64::new(0),
    };
    let begun = Instant::now();
    let (mut weights, mut files_at_work) = (Vec::new(), 0);
    thread::scope(|scope| {
        let (world, db) = (&world, &db);
        // One that panics must not leave the others at work.
        let done_if_panicked = |work: &dyn Fn()| {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            if let Err(panic) = outcome {
                world.done.store(true, Ordering::Release);
                std::panic::resume_unwind(panic);
            }
        };
        let mut threads = Vec::new();
        threads.extend((0..WRITERS).map(|writer| scope.spawn(move || done_if_panicked(&|| write(world, db, writer)))));
        threads.extend(
            (0..READERS as u64).map(|reader| scope.spawn(move || done_if_panicked(&|| read(world, db, reader)))),
        );
        threads.push(scope.spawn(move || done_if_panicked(&|| remove(world, db))));
        let store = place.path();
        threads.push(scope.spawn(move || done_if_panicked(&|| look_from_outside(world, store))));
        for third in 1..=3 {
            // A machine that has much else to do may not get as far as an erasure in a few seconds.
            let waits_for_one = || third == 3 && seconds >= 6 && world.erasures_done.lock().is_empty();
            let is_due = || begun.elapsed() >= Duration::from_secs(seconds) * third / 3 && !waits_for_one();
            while !is_due() && !world.done.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(50));
                files_at_work = files_at_work.max(weight().map_or(0, |(_, files)| files));
            }
            let _nobody_at_work = world.gate.write();
            world.held.iter().for_each(|held| *held.lock() = None);
            db.wait_until_quiet().expect("quiet");
            weights.extend(weight());
        }
        world.done.store(true, Ordering::Release);
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
    world.held.iter().for_each(|held| *held.lock() = None);
    let weight = look_at_weight(&weights);
    let look = |db: &Db| {
        let moment = world.moment(db);
        for customer in moment.known.customers().into_iter().chain(moment.known.erased.iter().copied()) {
            look_at_stream(&world, &moment, customer);
        }
        look_at_cohort(&world, &moment);
        look_at_timeline(&moment, moment.known.acknowledged);
        assert_eq!(db.check().expect("a check").problems, Vec::<String>::new());
    };
    db.wait_until_quiet().expect("quiet");
    look(&db);
    let metrics = db.metrics();
    drop(db);
    look(&open(place.path(), 300));
    let batches: i64 = world.acknowledged().iter().sum();
    let outside = world.looks_from_outside.load(Ordering::Relaxed);
    let (erased, looks) = (world.erasures_done.lock().len(), world.looks.load(Ordering::Relaxed));
    let (retentions, retained) = (world.retentions.load(Ordering::Relaxed), world.retained.load(Ordering::Relaxed));
    println!(
        "\n{batches} batches, seed {seed}: {} seals, {} merges, {retentions} retentions of {retained} events, \
         {erased} erasures, {looks} looks and {outside} from outside, none lost or back; {weight}, {files_at_work} at work",
        metrics.seals, metrics.merges
    );
    assert!(looks > 0 && outside > 0 && metrics.seals > 0 && metrics.merges > 0);
    assert!(seconds < 6 || (erased > 0 && retentions > 0), "{erased} erasures, {retentions} retentions");
}

#[test]
fn nothing_is_lost_nor_comes_back_while_everything_goes_on() {
    let mut child = Command::new(std::env::current_exe().expect("this binary has a path"));
    child.args(["--exact", "mixed::child_does_everything_at_once", "--nocapture", "--test-threads", "1"]);
    let output = child.env("OFONE_MIXED_CHILD", "1").output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {told}{}", output.status, String::from_utf8_lossy(&output.stderr));
    let figures = told.lines().find(|line| line.contains(" batches, seed ")).expect("it tells what it did");
    println!("{figures}");
}
