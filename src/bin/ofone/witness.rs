//! `ofone witness`: why a customer is in a set, or what keeps them out.

use std::io::Write;

use ofone::export::{escape, write_witness};
use ofone::{StreamItem, Witness};

use crate::args::{Format, OutputArgs, StoreArgs, customer_id, require_customer};
use crate::ask::AskArgs;
use crate::exit::{Done, Failure};
use crate::output::{self, Stdout};
use crate::screen::Screen;
use crate::time::Clock;

/// Show the events that make a customer a member of a set, clause by clause, or the clause that fails.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone witness C0000042 'did(kind = call.dropped, n >= 3, -7d) and not did(kind ~ \"ticket.*\", -7d)'
  ofone witness C0000042 'seq(kind = order.placed -> kind = service.activated, within 48h)' --format json")]
pub(crate) struct Args {
    /// The customer: an id, or type:id.
    customer: String,
    /// The set, as an expression.
    #[arg(value_name = "EXPR")]
    expr: String,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let clock = args.ask.clock(&args.output)?;
    let expr = args.ask.expr(&args.expr, &args.output)?;
    let snapshot = args.store.read()?;
    let customer = customer_id(&snapshot, &args.customer);
    require_customer(&snapshot, customer)?;
    let witness = snapshot.witness_at(customer, &expr, clock.now()?)?;
    let mut out = output::stdout();
    match args.output.format() {
        Format::Table => table(&mut out, &format!("{}:{customer}", snapshot.customer_type()), &witness, &clock)?,
        Format::Ndjson | Format::Json => {
            write_witness(&mut out, customer, &expr.to_string(), &witness)?;
            writeln!(out)?;
        }
        Format::Csv => return Err(Failure::usage("a witness is a tree, which CSV cannot hold; use --format json")),
    }
    out.flush()?;
    Ok(())
}

fn table(out: &mut Stdout, customer: &str, witness: &Witness, clock: &Clock) -> Done {
    let customer = escape(customer);
    match &witness.failed {
        None => writeln!(out, "{customer} is in the set")?,
        Some(failed) => writeln!(out, "{customer} is not in the set, because this fails:\n  {}", escape(failed))?,
    }
    if witness.failed.is_some() && !witness.clauses.is_empty() {
        writeln!(out, "since this holds:")?;
    }
    let screen = Screen::of_stdout();
    for clause in &witness.clauses {
        writeln!(out, "  {}", escape(&clause.clause))?;
        for item in &clause.events {
            writeln!(out, "    {}", line(item, &screen, clock))?;
        }
    }
    Ok(())
}

/// One event: when, what, which, and through what it came.
fn line(item: &StreamItem, screen: &Screen, clock: &Clock) -> String {
    let (event, name) = (&item.event, item.event.name());
    let mark = screen.paint(event.severity, screen.mark(event.severity));
    let kind = screen.paint(event.severity, escape(&event.kind));
    let via = item.via().map(|via| format!(" through {}", escape(&via.to_string()))).unwrap_or_default();
    format!("{} {mark} {kind}  {} {}{via}", clock.date_time(event.time), escape(&name.source), escape(&name.id))
}
