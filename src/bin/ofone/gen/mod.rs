//! `ofone gen`: a small service provider that never was, to try ofone with.
//!
//! Streams of its customers tell stories: a line terminal fails, sessions behind it drop, some of
//! those customers look at the status page, some call, some of the calls become tickets. Everything
//! follows from the seed and the sizes.

mod feed;
mod life;
mod rng;
mod shared;
mod world;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::thread;

use ofone::import::native;
use ofone::{Db, Record};

use self::feed::{Feed, Unit};
use self::life::{Story, better};
use self::world::{Sizes, World};
use crate::args::{self, AccessArgs};
use crate::commit::{Committer, Totals};
use crate::exit::{Done, Failure};
use crate::output;
use crate::progress::Progress;
use crate::time::Clock;

/// Records of one batch.
const BATCH_RECORDS: usize = 16_384;

/// Make up a service provider: customers, what they depend on, and weeks of events.
///
/// The same seed and sizes give the same data, whatever the machine. The last line on stdout is a JSON
/// object with the totals and, under `try`, a customer and an event worth a look.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone gen --db telco
  ofone gen --db big --customers 1m --events-per-customer 100
  ofone gen --out - --customers 1k | gzip > telco.ndjson.gz")]
pub(crate) struct Args {
    /// The directory of the store to write into; made if it is not there.
    #[arg(long, value_name = "DIR", env = "OFONE_DB", required_unless_present = "out")]
    db: Option<PathBuf>,
    #[command(flatten)]
    access: AccessArgs,
    /// Write native NDJSON to this file instead, or to stdout for `-`; the totals then go to stderr.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many customers.
    #[arg(long, value_name = "N", default_value = "50k", value_parser = args::count)]
    customers: u64,
    /// About how many events of their own a customer has on average.
    #[arg(long, value_name = "N", default_value = "60", value_parser = args::count)]
    events_per_customer: u64,
    /// How many days.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3660))]
    days: u32,
    /// The first day.
    #[arg(long, value_name = "TIME", default_value = "2026-01-01T00:00:00Z")]
    start: String,
    /// Other seeds give other providers.
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let clock = Clock::new(jiff::Timestamp::now(), jiff::tz::TimeZone::UTC);
    let start = clock.parse(&args.start)?;
    if !(1..=1 << 31).contains(&args.customers) {
        return Err(Failure::usage("between one customer and 2^31, the most that a store holds"));
    }
    let sizes = Sizes {
        seed: args.seed,
        customers: args.customers,
        events_per_customer: args.events_per_customer,
        days: args.days,
        start,
    };
    let feed = Feed::new(World::new(sizes));
    match (&args.out, &args.db) {
        (Some(out), _) if out.as_os_str() == "-" => {
            let made = write(&feed, output::stdout(), args.customers)?;
            eprintln!("{}", made.summary());
        }
        (Some(out), _) => {
            let made = write(&feed, BufWriter::with_capacity(1 << 20, File::create(out)?), args.customers)?;
            println!("{}", made.summary());
        }
        (None, Some(db)) => {
            let made = fill(&feed, &Db::open(db, args.access.options())?, args.customers)?;
            println!("{}", made.summary());
        }
        (None, None) => unreachable!("one of them is required"),
    }
    Ok(())
}

/// What was made.
struct Made {
    customers: u64,
    units: u64,
    events: u64,
    links: u64,
    story: Option<Story>,
}

impl Made {
    fn count(&mut self, unit: &Unit) {
        let events = unit.records.iter().filter(|record| matches!(record, Record::Event(_))).count() as u64;
        self.units += 1;
        self.events += events;
        self.links += unit.records.len() as u64 - events;
        self.story = better(self.story.take(), unit.story.clone());
    }

    fn tell(&self, progress: &Progress) {
        let pace = progress.finish(self.events + self.links);
        eprintln!(
            "ofone: made {} events and {} links {pace}",
            output::grouped(self.events),
            output::grouped(self.links)
        );
    }

    fn summary(&self) -> serde_json::Value {
        let story = self.story.as_ref().map(|story| {
            let alarm = story.alarm.name();
            let event = serde_json::json!({
                "source": alarm.source.as_str(), "id": alarm.id.as_str(), "time": alarm.time.to_string(),
            });
            serde_json::json!({ "customer": story.customer, "event": event })
        });
        serde_json::json!({
            "customers": self.customers, "events": self.events, "links": self.links, "try": story,
        })
    }
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn write(feed: &Feed, mut out: impl Write, customers: u64) -> Result<Made, Failure> {
    let progress = Progress::of_total("making", feed.units());
    let mut made = Made { customers, units: 0, events: 0, links: 0, story: None };
    let mut line = String::new();
    feed.run(threads(), |unit| {
        made.count(&unit);
        for record in &unit.records {
            line.clear();
            native::write_to(record, &mut line);
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
        progress.at(made.units, made.events);
        Ok::<(), Failure>(())
    })?;
    out.flush()?;
    made.tell(&progress);
    Ok(made)
}

fn fill(feed: &Feed, db: &Db, customers: u64) -> Result<Made, Failure> {
    let progress = Progress::of_total("making", feed.units());
    let mut made = Made { customers, units: 0, events: 0, links: 0, story: None };
    let mut totals = Totals::default();
    let mut committer = Committer::new(db.writer());
    feed.run(threads(), |unit| {
        made.count(&unit);
        let mut records = unit.records.into_iter().peekable();
        while records.peek().is_some() {
            let done = committer.submit(records.by_ref().take(BATCH_RECORDS), ())?;
            done.iter().for_each(|(receipt, ())| totals.add(receipt));
        }
        progress.at(made.units, made.events);
        Ok::<(), Failure>(())
    })?;
    committer.finish()?.iter().for_each(|(receipt, ())| totals.add(receipt));
    db.flush()?;
    db.wait_until_quiet()?;
    made.tell(&progress);
    if totals.duplicates > 0 {
        eprintln!("ofone: {} were in the store already", output::grouped(totals.duplicates));
    }
    if totals.conflicts + totals.rejected > 0 {
        let refused = output::grouped(totals.conflicts + totals.rejected);
        return Err(Failure::rejected(format!("{refused} are in conflict with the store or were rejected")));
    }
    Ok(made)
}
