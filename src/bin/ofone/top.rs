//! `ofone top`: the most frequent values of a field, or the customers with most of something.

use clap::ValueEnum;
use ofone::export::Cell;
use ofone::{Field, Predicate, Score};

use crate::args::{self, OutputArgs, StoreArgs};
use crate::ask::{self, AskArgs, CohortArgs, WindowArgs};
use crate::exit::{Done, Failure};
use crate::rows::Rows;

/// Show the most frequent values of a field, or the customers who had most.
///
/// FIELD is kind, layer, source, severity, subject, context, attr.NAME, or `customers`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone top kind --since -7d
  ofone top subject --what 'kind = alarm.raised' --limit 20
  ofone top attr.cause --what 'kind = call.dropped' --in 'reach(olt:LON-7)'
  ofone top customers --by severity2 --since -30d --limit 50")]
pub(crate) struct Args {
    /// The field, or `customers`.
    #[arg(value_name = "FIELD", value_parser = ranked)]
    of: Ranked,
    /// By what customers are ranked.
    #[arg(long, value_enum, default_value_t = By::Events)]
    by: By,
    /// At most this many rows.
    #[arg(long, value_name = "N", default_value = "20", value_parser = args::count)]
    limit: u64,
    #[command(flatten)]
    count: CountArgs,
}

/// Which events are counted, of whom, and how that is told.
#[derive(clap::Args)]
pub(crate) struct CountArgs {
    /// Count only events that are like this.
    #[arg(long, value_name = "PREDICATE", default_value = "any")]
    what: Predicate,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    cohort: CohortArgs,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Debug, PartialEq)]
enum Ranked {
    Field(Field),
    Customers,
}

/// What an event weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// One each.
    Events,
    /// Its severity number.
    Severity,
    /// The square of its severity number.
    Severity2,
}

fn ranked(text: &str) -> Result<Ranked, String> {
    match text {
        "customer" | "customers" => Ok(Ranked::Customers),
        field => args::field(field).map(Ranked::Field).map_err(|error| format!("{error}, or customers")),
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    match &args.of {
        Ranked::Field(_) if args.by != By::Events => Err(Failure::usage("--by ranks customers; values go by events")),
        Ranked::Field(field) => values(&args.count, field, Some(limit)),
        Ranked::Customers => customers(&args.count, args.by, limit),
    }
}

/// Writes the values of a field: the most frequent ones, or all in their order.
pub(crate) fn values(args: &CountArgs, field: &Field, limit: Option<usize>) -> Done {
    let clock = args.ask.clock(&args.output)?;
    let window = args.window.window(&clock)?;
    let snapshot = args.store.read()?;
    let cohort = args.cohort.cohort(&args.ask, &args.output, &snapshot, clock.now()?)?;
    let mut query = match limit {
        Some(limit) => snapshot.top(field.clone(), args.what.clone()).limit(limit),
        None => snapshot.group_by(field.clone(), args.what.clone()),
    };
    query = query.window(window).now(clock.now()?);
    if let Some(cohort) = &cohort {
        query = query.cohort(cohort);
    }
    let (found, explain) = query.run_explained()?;
    if args.ask.explain {
        ask::tell(&explain);
    }
    let mut rows = Rows::open(&args.output, &clock, &["value", "events", "customers"])?;
    for row in &found {
        rows.row(&[Cell::Text(&row.value), Cell::Count(row.events), Cell::Count(row.customers)])?;
    }
    rows.close()
}

fn customers(args: &CountArgs, by: By, limit: usize) -> Done {
    let clock = args.ask.clock(&args.output)?;
    let window = args.window.window(&clock)?;
    let snapshot = args.store.read()?;
    let score = match by {
        By::Events => Score::Events,
        By::Severity => Score::Severity,
        By::Severity2 => Score::SeveritySquared,
    };
    let cohort = args.cohort.cohort(&args.ask, &args.output, &snapshot, clock.now()?)?;
    let mut query = snapshot.top_customers(args.what.clone(), score).window(window).now(clock.now()?).limit(limit);
    if let Some(cohort) = &cohort {
        query = query.cohort(cohort);
    }
    if args.ask.scan_only {
        query = query.scan_only();
    }
    let (found, explain) = query.run_explained()?;
    if args.ask.explain {
        ask::tell(&explain);
    }
    let mut rows = Rows::open(&args.output, &clock, &["customer", "score", "events"])?;
    for row in &found {
        rows.row(&[Cell::Text(&row.customer), Cell::Count(row.score), Cell::Count(row.events)])?;
    }
    rows.close()
}
