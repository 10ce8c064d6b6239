//! `ofone who`: the customers in a set.

use ofone::export::Cell;
use ofone::{Cohort, Text};

use crate::args::{self, OutputArgs, StoreArgs};
use crate::ask::{self, AskArgs, customer_text};
use crate::exit::Done;
use crate::output::grouped;
use crate::rows::Rows;

/// Customers that a table shows at most, unless `--limit` says otherwise.
const TABLE_LIMIT: usize = 1_000;

/// List the customers who lived through something: exact sets, over everything that reached them.
///
/// docs/query.md has the language: `did`, `seq`, `reach`, `customers`, `cohort` and `all`, with `and`, `or`,
/// `not` and `minus`. Customers come in the order in which the store first heard of them.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone who 'did(kind = call.dropped and severity >= 17, n >= 3, -7d) and not did(kind ~ \"ticket.*\", -7d)'
  ofone who 'seq(kind = order.placed -> kind = service.activated, within 48h)' --count
  ofone who 'reach(olt:LON-7, -7d)' --sample 20 --seed 7
  ofone who 'did(kind = call.dropped, -7d)' --now 2026-01-31 --save dropped
  ofone who 'cohort(dropped) minus did(kind ~ \"ticket.*\")' --limit 100 --after C0000042")]
pub(crate) struct Args {
    /// The set, as an expression.
    #[arg(value_name = "EXPR")]
    expr: String,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    ask: AskArgs,
    /// Only count the customers.
    #[arg(long)]
    count: bool,
    /// At most this many customers [default for a table: 1000].
    #[arg(long, value_name = "N", value_parser = args::count)]
    limit: Option<u64>,
    /// Go on behind this customer: an id, or type:id.
    #[arg(long, value_name = "CUSTOMER", conflicts_with = "count")]
    after: Option<String>,
    /// So many customers drawn by lot.
    #[arg(long, value_name = "N", value_parser = args::count, conflicts_with_all = ["count", "limit", "after"])]
    sample: Option<u64>,
    /// What the lot depends on: the same seed draws the same customers.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "sample")]
    seed: u64,
    /// Save the set under a name that expressions can use, and tell its size.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["limit", "after", "sample"])]
    save: Option<String>,
    /// Follow at most this many links [default: 8].
    #[arg(long, value_name = "N")]
    max_hops: Option<u32>,
    /// Threads that read [default: one a core].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Memory that the answer may take, in bytes.
    #[arg(long, value_name = "BYTES", value_parser = args::count)]
    memory: Option<u64>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let clock = args.ask.clock(&args.output)?;
    let expr = args.ask.expr(&args.expr, &args.output)?;
    let db = args.save.is_some().then(|| args.store.open()).transpose()?;
    let snapshot = match &db {
        Some(db) => db.snapshot(),
        None => args.store.read()?,
    };
    let mut query = snapshot.who(expr).now(clock.now()?);
    if args.ask.scan_only {
        query = query.scan_only();
    }
    if let Some(hops) = args.max_hops {
        query = query.max_hops(hops);
    }
    if let Some(threads) = args.threads {
        query = query.threads(threads);
    }
    if let Some(bytes) = args.memory {
        query = query.memory(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    let cohort = query.run()?;
    if args.ask.explain {
        ask::tell(cohort.explain());
    }
    if let (Some(db), Some(name)) = (&db, &args.save) {
        db.save_cohort(name.as_str(), &cohort)?;
    }
    if args.count || args.save.is_some() {
        let mut rows = Rows::open(&args.output, &clock, &["customers"])?;
        rows.row(&[Cell::Count(cohort.len())])?;
        return rows.close();
    }
    let rows = Rows::open(&args.output, &clock, &["customer"])?;
    let after = args.after.as_deref().map(|given| customer_text(&snapshot, given));
    list(args, &cohort, after.as_deref(), rows)
}

fn list(args: &Args, cohort: &Cohort, after: Option<&str>, mut rows: Rows<'_>) -> Done {
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let limit = args.limit.map(size).or(rows.is_table().then_some(TABLE_LIMIT));
    let chosen: Vec<Text> = match (args.sample, limit) {
        (Some(count), _) => cohort.sample(size(count), args.seed)?,
        (None, None) if after.is_none() => {
            for customer in cohort.ids() {
                rows.row(&[Cell::Text(&customer?)])?;
            }
            return rows.close();
        }
        (None, limit) => cohort.ids_after(after, limit.unwrap_or(usize::MAX))?,
    };
    for customer in &chosen {
        rows.row(&[Cell::Text(customer)])?;
    }
    rows.close()?;
    if args.sample.is_none() && args.limit.is_none() && limit == Some(chosen.len()) {
        eprintln!("ofone: {} of {}; see --limit and --format", chosen.len(), grouped(cohort.len()));
    }
    Ok(())
}
