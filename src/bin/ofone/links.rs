//! `ofone links`: what an entity depends on, and who depends on it.

use std::io::Write;

use ofone::export::{write_link, write_links};
use ofone::{Entity, Link, Links};

use crate::args::{Format, OutputArgs, StoreArgs};
use crate::exit::{Done, Failure};
use crate::output::{self, Grid, Stdout};
use crate::screen::Screen;
use crate::time::Clock;

/// List the links of an entity in both directions.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone links customer:C0000042
  ofone links olt:LON-7 --at 2026-01-08T09:12:04Z --format csv")]
pub(crate) struct Args {
    /// The entity, written type:id.
    entity: Entity,
    /// Only links that hold at this time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let clock = args.output.clock();
    let at = args.at.as_deref().map(|text| clock.parse(text)).transpose()?;
    let db = args.store.open()?;
    let snapshot = db.snapshot();
    if snapshot.entity(&args.entity)?.is_none() {
        return Err(Failure::not_found(format!("no entity `{}` in this store", args.entity)));
    }
    let links = snapshot.links(&args.entity, at)?;
    let mut out = output::stdout();
    match args.output.format() {
        Format::Table => table(&mut out, &links, &clock)?,
        Format::Ndjson => {
            for link in both(&links) {
                write_link(&mut out, link)?;
                writeln!(out)?;
            }
        }
        Format::Json => {
            write_links(&mut out, &args.entity, &links)?;
            writeln!(out)?;
        }
        Format::Csv => return csv(out, args.output.csv_raw, &links),
    }
    out.flush()?;
    Ok(())
}

fn both(links: &Links) -> impl Iterator<Item = &Link> {
    links.outgoing.iter().chain(&links.incoming)
}

fn table(out: &mut Stdout, links: &Links, clock: &Clock) -> Done {
    let screen = Screen::of_stdout();
    let parts = [("depends on", &links.outgoing), ("is needed by", &links.incoming)];
    let mut grid = Grid::new(&screen, &["", "relation", "entity", "valid", "source"]);
    for (direction, links) in parts {
        for link in links {
            let other = if direction == "depends on" { &link.to } else { &link.from };
            grid.row([
                direction.to_owned(),
                link.relation.to_string(),
                other.to_string(),
                clock.validity(link.validity()),
                link.source.to_string(),
            ]);
        }
    }
    Ok(grid.write(out)?)
}

fn csv(out: Stdout, raw: bool, links: &Links) -> Done {
    let mut csv = output::csv(out, raw);
    for title in ["from", "relation", "to", "valid_from", "valid_to", "source"] {
        csv.text(title)?;
    }
    csv.end_row()?;
    for link in both(links) {
        csv.text(&link.from.to_string())?;
        csv.text(&link.relation)?;
        csv.text(&link.to.to_string())?;
        csv.optional(link.valid_from)?;
        csv.optional(link.valid_to)?;
        csv.text(&link.source)?;
        csv.end_row()?;
    }
    csv.finish()?.flush()?;
    Ok(())
}
