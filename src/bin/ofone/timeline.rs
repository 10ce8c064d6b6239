//! `ofone timeline`: how often something happened, and to how many, over time.

use ofone::export::Cell;
use ofone::{Bucket, CalendarUnit, Predicate, Text};

use crate::args::{OutputArgs, StoreArgs};
use crate::ask::{self, AskArgs, CohortArgs, WindowArgs};
use crate::exit::{Done, Failure};
use crate::rows::Rows;
use crate::time;

/// Count events, and the customers that had one, in each bucket of time.
///
/// An event counts in the bucket of its time, once however many customers it reached. Calendar buckets
/// follow `--tz`; others are aligned to 1970 UTC.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone timeline 'kind = alarm.raised and severity >= 17' --since -7d --every 1h
  ofone timeline 'kind ~ \"call.*\"' --every week --tz Europe/London --format csv
  ofone timeline any --in 'reach(olt:LON-7)' --from 2026-01-05 --to 2026-01-06 --every 15min")]
pub(crate) struct Args {
    /// What an event must be like.
    #[arg(value_name = "PREDICATE")]
    what: Predicate,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    window: WindowArgs,
    /// Size of a bucket: hour, day, week, month, or a length of time such as 15min, 1h or 7d.
    #[arg(long, value_name = "SIZE", default_value = "day", value_parser = every)]
    every: Every,
    /// Leave the customers uncounted: quicker.
    #[arg(long)]
    events_only: bool,
    #[command(flatten)]
    cohort: CohortArgs,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Size of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Every {
    Nanos(i64),
    Calendar(CalendarUnit),
}

fn every(text: &str) -> Result<Every, String> {
    Ok(match text {
        "hour" => Every::Calendar(CalendarUnit::Hour),
        "day" => Every::Calendar(CalendarUnit::Day),
        "week" => Every::Calendar(CalendarUnit::Week),
        "month" => Every::Calendar(CalendarUnit::Month),
        length => match time::length(length) {
            Ok(nanos) if nanos > 0 => Every::Nanos(nanos),
            _ => return Err("hour, day, week, month, or a length of time such as 15min, 1h or 7d".to_owned()),
        },
    })
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let clock = args.ask.clock(&args.output)?;
    let window = args.window.window(&clock)?;
    let bucket = match args.every {
        Every::Nanos(nanos) => Bucket::Length(nanos),
        Every::Calendar(unit) => Bucket::Calendar { unit, zone: zone(args)? },
    };
    let snapshot = args.store.read()?;
    let cohort = args.cohort.cohort(&args.ask, &args.output, &snapshot, clock.now()?)?;
    let mut query = snapshot.timeline(args.what.clone()).window(window).now(clock.now()?).every(bucket);
    if let Some(cohort) = &cohort {
        query = query.cohort(cohort);
    }
    if args.events_only {
        query = query.events_only();
    }
    if args.ask.scan_only {
        query = query.scan_only();
    }
    let (buckets, explain) = query.run_explained()?;
    if args.ask.explain {
        ask::tell(&explain);
    }
    let columns: &[&str] = &["from", "to", "events", "customers"];
    let told = if args.events_only { &columns[..3] } else { columns };
    let mut rows = Rows::open(&args.output, &clock, told)?;
    for bucket in &buckets {
        let (from, to) = (Cell::Time(bucket.from), Cell::Time(bucket.to));
        let cells = [from, to, Cell::Count(bucket.events), Cell::Count(bucket.customers)];
        rows.row(&cells[..told.len()])?;
    }
    rows.close()
}

/// The name of the zone whose days are counted.
fn zone(args: &Args) -> Result<Text, Failure> {
    let name = args.output.tz.iana_name();
    name.map(Text::from).ok_or_else(|| Failure::usage("the local time zone has no name; give one with --tz"))
}
