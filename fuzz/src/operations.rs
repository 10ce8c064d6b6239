//! A small store under any sequence of commits, link changes, seals and reopenings, against lists.

use std::collections::BTreeMap;
use std::path::Path;

use ofone::{Batch, Db, Durability, Entity, Event, Link, LinkChange, Options, Record, Text, Timestamp};

/// Nodes 0 and 1 are customers, the others components.
const NODES: u8 = 5;
/// No longer path is there: every node but one would be on it.
const HOPS: usize = NODES as usize;
/// Longer sequences find nothing more and take their time.
const OPERATIONS_MAX: usize = 64;

/// Four bytes are an operation. After each that changes how much is stored where, and at the end, the
/// streams have as many events as they should.
pub fn operations(data: &[u8]) {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let place = made.expect("a temporary directory");
    let mut db = open(place.path());
    let mut model = Model::default();
    let mut batch = Batch::new();
    for operation in data.chunks_exact(4).take(OPERATIONS_MAX) {
        match operation[0] % 8 {
            0 => {
                commit(&db, &mut batch);
                db.flush().expect("a flush");
                model.compare(&db);
            }
            1 => {
                commit(&db, &mut batch);
                drop(db);
                db = open(place.path());
                model.compare(&db);
            }
            2 => commit(&db, &mut batch),
            kind => {
                let record = record(kind, operation);
                model.take(&record);
                batch.push(record);
            }
        }
    }
    commit(&db, &mut batch);
    model.compare(&db);
    assert!(db.check().expect("a check").problems.is_empty());
}

fn open(path: &Path) -> Db {
    let options = Options::new().durability(Durability::Os).segment_events(8).cache_bytes(1 << 20);
    // In memory, room taken ahead is memory to be cleared, which took most of a run's time.
    let options = options.name_cache_bytes(64 << 10).reserve_bytes(0).preallocate(false);
    Db::open(path, options).expect("the store opens")
}

fn commit(db: &Db, batch: &mut Batch) {
    db.writer().commit(std::mem::take(batch)).expect("a commit");
}

fn node(number: u8) -> Entity {
    match number % NODES {
        customer @ 0..2 => Entity::customer(customer.to_string()),
        component => Entity::new("component", component.to_string()),
    }
}

fn at(byte: u8) -> Timestamp {
    Timestamp::from_nanos(i64::from(byte % 16))
}

fn record(kind: u8, operation: &[u8]) -> Record {
    let [_, who, when, more] = *operation else { unreachable!("chunks of four") };
    // Another node than the one it leaves.
    let (from, to) = (node(who), node(who % NODES + 1 + who / NODES % (NODES - 1)));
    let relation = Text::from("uses");
    let source = Text::default();
    match kind {
        3 => {
            let link = Link::new(from, relation, to);
            let link = if more & 1 == 0 { link } else { link.valid_from(at(when)) };
            let end = Timestamp::from_nanos(i64::from(when % 16) + 1 + i64::from(more >> 4));
            if more & 2 == 0 { link.into() } else { link.valid_to(end).into() }
        }
        4 => LinkChange::Close { from, relation, to, at: at(when), source }.into(),
        5 => {
            let valid_from = (more & 1 == 1).then(|| at(when));
            LinkChange::Retract { from, relation, to, valid_from, source }.into()
        }
        _ => Event::new(at(when), "feed", "happened").id((more % 4).to_string()).subject(from).into(),
    }
}

/// Everything that was stated.
#[derive(Default)]
struct Model {
    /// The subject of each event, by time and id: the first to arrive stays.
    events: BTreeMap<(i64, Text), Entity>,
    added: Vec<(Entity, Entity, i64, i64)>,
    closed: Vec<(Entity, Entity, i64)>,
    retracted: Vec<(Entity, Entity, i64)>,
}

impl Model {
    fn take(&mut self, record: &Record) {
        let nanos = |time: Option<Timestamp>, unbounded: Timestamp| time.unwrap_or(unbounded).as_nanos();
        match record {
            Record::Event(event) => {
                let id = event.id.clone().expect("each has one");
                self.events.entry((event.time.as_nanos(), id)).or_insert_with(|| event.subjects[0].clone());
            }
            Record::Link(LinkChange::Add(link)) => {
                let bounds = (nanos(link.valid_from, Timestamp::MIN), nanos(link.valid_to, Timestamp::MAX));
                self.added.push((link.from.clone(), link.to.clone(), bounds.0, bounds.1));
            }
            Record::Link(LinkChange::Close { from, to, at, .. }) => {
                self.closed.push((from.clone(), to.clone(), at.as_nanos()));
            }
            Record::Link(LinkChange::Retract { from, to, valid_from, .. }) => {
                self.retracted.push((from.clone(), to.clone(), nanos(*valid_from, Timestamp::MIN)));
            }
            _ => unreachable!("no other record is made"),
        }
    }

    fn links_at(&self, time: i64) -> Vec<(&Entity, &Entity)> {
        let holds = |(from, to, begin, end): &&(Entity, Entity, i64, i64)| {
            let said = |list: &[(Entity, Entity, i64)], when: &dyn Fn(i64) -> bool| {
                list.iter().any(|(other_from, other_to, at)| (other_from, other_to) == (from, to) && when(*at))
            };
            (*begin..*end).contains(&time)
                && !said(&self.retracted, &|at| at == *begin)
                && !said(&self.closed, &|at| *begin < at && at <= time)
        };
        self.added.iter().filter(holds).map(|(from, to, _, _)| (from, to)).collect()
    }

    fn events_of(&self, customer: &Entity) -> usize {
        let reached = |time: i64| {
            let links = self.links_at(time);
            let mut reached = vec![customer];
            for _ in 0..HOPS {
                let next: Vec<_> = links.iter().filter(|(from, _)| reached.contains(from)).map(|(_, to)| *to).collect();
                reached.extend(next);
                reached.sort_unstable();
                reached.dedup();
            }
            reached
        };
        self.events.iter().filter(|((time, _), subject)| reached(*time).contains(subject)).count()
    }

    fn compare(&self, db: &Db) {
        let snapshot = db.snapshot();
        for number in 0..2 {
            let customer = node(number);
            let stream = snapshot.stream(customer.id.clone()).run().expect("a stream");
            let events: Vec<_> = stream.collect::<Result<_, _>>().expect("its events");
            assert_eq!(events.len(), self.events_of(&customer), "events of {customer}");
        }
    }
}
