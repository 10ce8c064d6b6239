//! `ofone links`: what an entity depends on, and who depends on it.

use std::io::Write;

use ofone::export::{Cell, escape, write_link, write_links};
use ofone::{Entity, Link, Links, Snapshot};

use crate::args::{Format, OutputArgs, StoreArgs};
use crate::exit::{Done, Failure};
use crate::output::{self, Grid, Stdout};
use crate::rows::Rows;
use crate::screen::Screen;
use crate::time::Clock;

/// List the links of one or more entities, in both directions.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone links customer:C0000042
  ofone links olt:LON-7 --at 2026-01-08T09:12:04Z --format csv
  ofone links --quarantined
  ofone links service:C0000042/tv service:C0000043/tv --format ndjson")]
pub(crate) struct Args {
    /// Entities, written type:id.
    #[arg(required_unless_present = "quarantined", value_name = "ENTITY")]
    entities: Vec<Entity>,
    /// Links in quarantine, of these entities or of all: stored, but not followed, since there are too many.
    /// `ofone promote` puts them in force.
    #[arg(long, conflicts_with = "at")]
    quarantined: bool,
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
    let snapshot = args.store.read()?;
    if args.quarantined {
        return quarantined(args, &snapshot, &clock);
    }
    let mut found = Vec::with_capacity(args.entities.len());
    for entity in &args.entities {
        if snapshot.entity(entity)?.is_none() {
            return Err(Failure::not_found(format!("no entity `{entity}` in this store")));
        }
        found.push((entity, snapshot.links(entity, at)?));
    }
    let mut out = output::stdout();
    match args.output.format() {
        Format::Table => table(&mut out, &found, &clock)?,
        Format::Ndjson => {
            for link in found.iter().flat_map(|(_, links)| both(links)) {
                write_link(&mut out, link)?;
                writeln!(out)?;
            }
        }
        Format::Json => json(&mut out, &found)?,
        Format::Csv => return csv(out, args.output.csv_raw, &found),
    }
    out.flush()?;
    Ok(())
}

/// Lists links in quarantine, each once.
fn quarantined(args: &Args, snapshot: &Snapshot, clock: &Clock) -> Done {
    let mut links = Vec::new();
    for entity in &args.entities {
        links.extend(snapshot.quarantined(Some(entity))?);
    }
    if args.entities.is_empty() {
        links = snapshot.quarantined(None)?;
    }
    links.sort_unstable();
    links.dedup();
    let columns = &["from", "relation", "to", "valid_from", "valid_to", "source"];
    let mut rows = Rows::open(&args.output, clock, columns)?;
    for link in &links {
        let (from, to) = (link.from.to_string(), link.to.to_string());
        rows.row(&[
            Cell::Text(&from),
            Cell::Text(&link.relation),
            Cell::Text(&to),
            link.valid_from.map_or(Cell::Absent, Cell::Time),
            link.valid_to.map_or(Cell::Absent, Cell::Time),
            Cell::Text(&link.source),
        ])?;
    }
    rows.close()
}

/// An entity that was asked for, and its links.
type Found<'a> = (&'a Entity, Links);

fn both(links: &Links) -> impl Iterator<Item = &Link> {
    links.outgoing.iter().chain(&links.incoming)
}

/// An object for one entity, a list of objects for several.
fn json(out: &mut Stdout, found: &[Found<'_>]) -> Done {
    if let [(entity, links)] = found {
        write_links(&mut *out, entity, links)?;
        writeln!(out)?;
        return Ok(());
    }
    for (index, (entity, links)) in found.iter().enumerate() {
        write!(out, "{}", if index == 0 { "[\n" } else { ",\n" })?;
        write_links(&mut *out, entity, links)?;
    }
    writeln!(out, "\n]")?;
    Ok(())
}

fn table(out: &mut Stdout, found: &[Found<'_>], clock: &Clock) -> Done {
    let screen = Screen::of_stdout();
    for (index, (entity, links)) in found.iter().enumerate() {
        if found.len() > 1 {
            writeln!(out, "{}{}", if index == 0 { "" } else { "\n" }, escape(&entity.to_string()))?;
        }
        let mut grid = Grid::new(&screen, &["", "relation", "entity", "valid", "source"]);
        let mut row = |direction: &str, other: &Entity, link: &Link| {
            grid.row([
                direction.to_owned(),
                link.relation.to_string(),
                other.to_string(),
                clock.validity(link.validity()),
                link.source.to_string(),
            ]);
        };
        links.outgoing.iter().for_each(|link| row("depends on", &link.to, link));
        links.incoming.iter().for_each(|link| row("is needed by", &link.from, link));
        grid.write(out)?;
    }
    Ok(())
}

fn csv(out: Stdout, raw: bool, found: &[Found<'_>]) -> Done {
    let mut csv = output::csv(out, raw);
    for title in ["from", "relation", "to", "valid_from", "valid_to", "source"] {
        csv.text(title)?;
    }
    csv.end_row()?;
    for link in found.iter().flat_map(|(_, links)| both(links)) {
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
