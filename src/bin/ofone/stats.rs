//! `ofone stats`: how much is in a store, and of what.

use std::collections::BTreeMap;
use std::io::Write;

use ofone::export::write_stats;
use ofone::{AttributeStats, Db, Indexed, Severity, Stats, Text};

use crate::args::{Format, OutputArgs, StoreArgs};
use crate::exit::Done;
use crate::output::{self, Grid, Stdout, bytes, grouped};
use crate::screen::Screen;
use crate::time::Clock;

/// Rows of a part of the table; JSON and CSV have all.
const ROWS: usize = 20;

/// Show how much is in a store: totals, and events by layer, kind, source and severity.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone stats --db telco
  ofone stats --db telco --format json | jq .kinds")]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let (snapshot, db) = args.store.read_opened()?;
    let stats = snapshot.stats()?;
    let mut out = output::stdout();
    match args.output.format() {
        Format::Table => {
            table(&mut out, &stats, &args.output.clock())?;
            db.iter().try_for_each(|db| opening(&mut out, db))?;
        }
        Format::Ndjson | Format::Json => {
            write_stats(&mut out, &stats)?;
            writeln!(out)?;
        }
        Format::Csv => return csv(out, args.output.csv_raw, &stats),
    }
    out.flush()?;
    Ok(())
}

fn table(out: &mut Stdout, stats: &Stats, clock: &Clock) -> Done {
    let screen = Screen::of_stdout();
    let when = |time: Option<_>| time.map_or("-".to_owned(), |time| clock.date_time(time));
    let per_event = stats.disk_bytes as f64 / stats.events.max(1) as f64;
    let mut grid = Grid::new(&screen, &["total", ""]);
    grid.align_right(1);
    grid.row(["events".to_owned(), grouped(stats.events)]);
    grid.row(["  not about a customer directly".to_owned(), grouped(stats.events_without_customer_subject)]);
    grid.row(["  not sealed yet".to_owned(), grouped(stats.unsealed_events)]);
    grid.row(["first event".to_owned(), when(stats.first)]);
    grid.row(["last event".to_owned(), when(stats.last)]);
    grid.row(["customers".to_owned(), grouped(stats.customers)]);
    grid.row(["links".to_owned(), grouped(stats.links)]);
    grid.row(["  in quarantine".to_owned(), grouped(stats.links_quarantined)]);
    grid.row(["commits".to_owned(), grouped(stats.commits)]);
    grid.row(["segments".to_owned(), grouped(stats.segments)]);
    grid.row(["on disk".to_owned(), bytes(stats.disk_bytes)]);
    grid.row(["  bytes per event".to_owned(), format!("{per_event:.1}")]);
    grid.write(out)?;
    counts(out, &screen, "layer", &stats.layers)?;
    counts(out, &screen, "kind", &stats.kinds)?;
    attributes(out, &screen, stats)?;
    sources(out, &screen, stats, clock)?;
    counts(out, &screen, "severity", &severities(stats))?;
    counts(out, &screen, "entity type", &stats.entities)?;
    Ok(())
}

/// What opening cost and found, and whether the store is well.
fn opening(out: &mut Stdout, db: &Db) -> Done {
    let (recovery, health) = (db.recovery(), db.health()?);
    let screen = Screen::of_stdout();
    let mut grid = Grid::new(&screen, &["opening", ""]);
    grid.align_right(1);
    grid.row(["seconds".to_owned(), format!("{:.2}", recovery.took.as_secs_f64())]);
    grid.row(["commits replayed".to_owned(), grouped(recovery.commits_replayed)]);
    grid.row(["events replayed".to_owned(), grouped(recovery.events_replayed)]);
    grid.row(["bytes of a torn end dropped".to_owned(), grouped(recovery.torn_bytes)]);
    grid.row(["health".to_owned(), format!("{:?}", health.state()).to_lowercase()]);
    grid.row(["free on the disk".to_owned(), bytes(health.free_bytes)]);
    writeln!(out)?;
    Ok(grid.write(out)?)
}

/// The largest counts of a map, with their share.
fn counts(out: &mut Stdout, screen: &Screen, title: &str, counts: &BTreeMap<Text, u64>) -> Done {
    let total: u64 = counts.values().sum();
    let mut largest: Vec<(&Text, u64)> = counts.iter().map(|(name, count)| (name, *count)).collect();
    largest.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut grid = Grid::new(screen, &[title, "count", "%"]);
    grid.align_right(1);
    grid.align_right(2);
    for (name, count) in largest.iter().take(ROWS) {
        grid.row([name.to_string(), grouped(*count), format!("{:.1}", *count as f64 * 100.0 / total.max(1) as f64)]);
    }
    if largest.len() > ROWS {
        let rest: u64 = largest[ROWS..].iter().map(|(_, count)| count).sum();
        let share = rest as f64 * 100.0 / total as f64;
        grid.row([format!("and {} more", largest.len() - ROWS), grouped(rest), format!("{share:.1}")]);
    }
    writeln!(out)?;
    Ok(grid.write(out)?)
}

/// The attributes that most events have, and whether questions find them in the index.
fn attributes(out: &mut Stdout, screen: &Screen, stats: &Stats) -> Done {
    let mut largest: Vec<(String, AttributeStats)> = named_attributes(stats).collect();
    largest.sort_by_key(|(_, attribute)| std::cmp::Reverse(attribute.events));
    let mut grid = Grid::new(screen, &["attribute", "events", "texts", "indexed"]);
    grid.align_right(1);
    grid.align_right(2);
    for (name, attribute) in largest.iter().take(ROWS) {
        let (events, texts) = (grouped(attribute.events), grouped(attribute.texts));
        grid.row([name.clone(), events, texts, indexed(attribute).to_owned()]);
    }
    if largest.len() > ROWS {
        grid.row([format!("and {} more", largest.len() - ROWS), String::new(), String::new(), String::new()]);
    }
    writeln!(out)?;
    Ok(grid.write(out)?)
}

/// Each attribute with its kind before its name.
fn named_attributes(stats: &Stats) -> impl Iterator<Item = (String, AttributeStats)> + '_ {
    let of_kind = stats.attributes.iter().flat_map(|(kind, of_kind)| of_kind.iter().map(move |entry| (kind, entry)));
    of_kind.map(|(kind, (name, attribute))| (format!("{kind} attr.{name}"), *attribute))
}

fn indexed(attribute: &AttributeStats) -> &'static str {
    match attribute.indexed {
        Indexed::Yes => "yes",
        Indexed::Partly => "partly",
        _ => "no",
    }
}

fn sources(out: &mut Stdout, screen: &Screen, stats: &Stats, clock: &Clock) -> Done {
    let mut grid = Grid::new(screen, &["source", "events", "last event", "last commit"]);
    grid.align_right(1);
    grid.align_right(3);
    for (name, source) in &stats.sources {
        let last = clock.date_time(source.last_event);
        grid.row([name.to_string(), grouped(source.events), last, grouped(source.last_commit)]);
    }
    writeln!(out)?;
    Ok(grid.write(out)?)
}

/// Severities by name, the numbers of a band together.
fn severities(stats: &Stats) -> BTreeMap<Text, u64> {
    let mut named = BTreeMap::new();
    for (&number, &count) in &stats.severities {
        let name = Severity::new(number).map_or("", Severity::name);
        *named.entry(Text::from(if name.is_empty() { "not given" } else { name })).or_default() += count;
    }
    named
}

/// One line for each number: what it counts, of which name, how many.
fn csv(out: Stdout, raw: bool, stats: &Stats) -> Done {
    let mut csv = output::csv(out, raw);
    let mut line = |what: &str, name: &str, number: String| -> Done {
        csv.text(what)?;
        csv.text(name)?;
        csv.number(number)?;
        Ok(csv.end_row()?)
    };
    line("what", "name", "number".to_owned())?;
    for (name, number) in [
        ("events", stats.events),
        ("events_without_customer_subject", stats.events_without_customer_subject),
        ("unsealed_events", stats.unsealed_events),
        ("customers", stats.customers),
        ("links", stats.links),
        ("links_quarantined", stats.links_quarantined),
        ("commits", stats.commits),
        ("segments", stats.segments),
        ("disk_bytes", stats.disk_bytes),
    ] {
        line("total", name, number.to_string())?;
    }
    for (what, counts) in [("layer", &stats.layers), ("kind", &stats.kinds), ("entity", &stats.entities)] {
        for (name, count) in counts {
            line(what, name, count.to_string())?;
        }
    }
    for (name, attribute) in named_attributes(stats) {
        line("attribute", &name, attribute.events.to_string())?;
        line(&format!("attribute_indexed_{}", indexed(&attribute)), &name, attribute.texts.to_string())?;
    }
    for (name, source) in &stats.sources {
        line("source", name, source.events.to_string())?;
    }
    for (number, count) in &stats.severities {
        line("severity", &number.to_string(), count.to_string())?;
    }
    csv.finish()?.flush()?;
    Ok(())
}
