//! `ofone funnel`: how many customers came how far.

use ofone::Predicate;
use ofone::export::Cell;

use crate::args::{OutputArgs, StoreArgs};
use crate::ask::{self, AskArgs, CohortArgs, WindowArgs};
use crate::exit::{Done, Failure};
use crate::rows::Rows;
use crate::time;

const COLUMNS: [&str; 6] = ["step", "what", "customers", "p50_nanos", "p90_nanos", "pending"];

/// Count the customers that reached each of several steps, one after the other.
///
/// Steps match different events; at one instant they may come in any order. `pending` are those who may
/// still go on: their time since the first step is not over at `--now`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone funnel 'kind = order.placed' 'kind = technician.visit' 'kind = service.activated' --within 14d
  ofone funnel 'kind = bill.issued' 'kind = bill.paid' --within 30d --in 'reach(olt:LON-7)' --since -90d
  ofone funnel 'kind = order.placed' 'kind = order.cancelled' --within 48h --customers 2")]
pub(crate) struct Args {
    /// What the event of each step must be like.
    #[arg(required = true, value_name = "PREDICATE")]
    steps: Vec<Predicate>,
    /// From the first step to the last one at most, such as 48h or 7d.
    #[arg(long, value_name = "LENGTH", value_parser = time::length)]
    within: Option<i64>,
    /// List the customers that reached this step, the first being 1.
    #[arg(long, value_name = "STEP")]
    customers: Option<usize>,
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

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let listed = match args.customers {
        Some(step) if step == 0 || step > args.steps.len() => {
            return Err(Failure::usage(format!("there is no step {step}, they are 1 to {}", args.steps.len())));
        }
        step => step.map(|step| step - 1),
    };
    let clock = args.ask.clock(&args.output)?;
    let window = args.window.window(&clock)?;
    let snapshot = args.store.read()?;
    let cohort = args.cohort.cohort(&args.ask, &args.output, &snapshot, clock.now()?)?;
    let mut query = snapshot.funnel(args.steps.clone()).window(window).now(clock.now()?);
    if let Some(nanos) = args.within {
        query = query.within(nanos);
    }
    if let Some(cohort) = &cohort {
        query = query.cohort(cohort);
    }
    let funnel = query.run()?;
    if args.ask.explain {
        ask::tell(funnel.explain());
    }
    if let Some(step) = listed {
        let mut rows = Rows::open(&args.output, &clock, &["customer"])?;
        for customer in funnel.customers(step).ids() {
            rows.row(&[Cell::Text(&customer?)])?;
        }
        return rows.close();
    }
    let mut rows = Rows::open(&args.output, &clock, &COLUMNS)?;
    for (number, (step, what)) in funnel.steps.iter().zip(&args.steps).enumerate() {
        let what = what.to_string();
        let nanos = |nanos: Option<i64>| nanos.map_or(Cell::Absent, Cell::Nanos);
        rows.row(&[
            Cell::Count(number as u64 + 1),
            Cell::Text(&what),
            Cell::Count(step.customers),
            nanos(step.p50_nanos),
            nanos(step.p90_nanos),
            Cell::Count(step.pending),
        ])?;
    }
    rows.close()
}
