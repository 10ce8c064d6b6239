//! `ofone stream`: the events of one customer, or of each.

use std::io::Write;

use clap::Args as ClapArgs;
use ofone::export::{CsvWriter, ItemFields, escape, write_count, write_item};
use ofone::{Cursor, Severity, Snapshot, Stream, StreamQuery, Text, Window};

use crate::args::{self, Format, OutputArgs, StoreArgs, attribute, customer_id, require_customer, severity};
use crate::exit::{Done, Failure};
use crate::fold::Entry;
use crate::lanes;
use crate::output::{self, Grid, Stdout, grouped};
use crate::screen::Screen;
use crate::time::Clock;

/// Events that a table shows at most, unless `--limit` says otherwise.
const TABLE_LIMIT: usize = 1_000;

/// Show what a customer lived through: one stream of everything that reached them, in order.
///
/// On a terminal each layer has a lane and runs are folded. The marks are ● none or info, · trace and
/// debug, ▲ warn, ■ error, ✖ fatal; a heavy lane means that something is still going on there, and ⟂
/// names the shared component through which an event reached the customer.
#[derive(ClapArgs)]
#[command(after_help = "\
Examples:
  ofone stream C0000042
  ofone stream C0000042 --since -7d --min-severity warn
  ofone stream C0000042 --kind 'call.*' --kind 'ticket.*' --newest --limit 20
  ofone stream C0000042 --from 2026-01-05 --to 2026-01-06 --tz Europe/London --format csv
  ofone stream --all --count --layer front")]
pub(crate) struct Args {
    /// The customer: an id, or type:id.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    customer: Option<String>,
    /// The stream of every customer, one after the other.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    filter: Filter,
    /// Newest events first.
    #[arg(long)]
    newest: bool,
    /// At most this many events for each customer [default for a table: 1000].
    #[arg(long, value_name = "N", value_parser = args::count)]
    limit: Option<u64>,
    /// Go on behind the event with this cursor; see --cursors.
    #[arg(long, value_name = "CURSOR", conflicts_with = "all")]
    after: Option<Cursor>,
    /// Only count the events.
    #[arg(long)]
    count: bool,
    /// Add to each JSON object the cursor to go on from.
    #[arg(long)]
    cursors: bool,
    /// Add to each JSON object the link paths by which the event is in the stream.
    #[arg(long)]
    paths: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(ClapArgs)]
struct Filter {
    /// From this time on: RFC 3339, `2026-01-05`, `2026-01-05 14:30`, `-7d` or `now`.
    #[arg(long, visible_alias = "since", value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// Only this layer; may be repeated.
    #[arg(long, value_name = "NAME")]
    layer: Vec<String>,
    /// Only this source; may be repeated.
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
    /// Only kinds like this, where `*` stands for anything; may be repeated.
    #[arg(long, value_name = "GLOB")]
    kind: Vec<String>,
    /// Only at least this severe: 0 to 24, or trace, debug, info, warn, error, fatal.
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    min_severity: Option<Severity>,
    /// Only with this attribute; when repeated, with all of them.
    #[arg(long, value_name = "NAME=VALUE", value_parser = attribute)]
    attr: Vec<(Text, Text)>,
    /// Follow at most this many links [default: 8].
    #[arg(long, value_name = "N")]
    max_hops: Option<u32>,
    /// Only events of the customer itself, following no link.
    #[arg(long)]
    direct: bool,
}

impl Filter {
    fn apply(&self, query: StreamQuery, window: Window) -> StreamQuery {
        let mut query = query.window(window);
        for layer in &self.layer {
            query = query.layer(layer);
        }
        for source in &self.source {
            query = query.source(source);
        }
        for kind in &self.kind {
            query = query.kind(kind);
        }
        for (name, value) in &self.attr {
            query = query.attribute(name, value);
        }
        if let Some(severity) = self.min_severity {
            query = query.min_severity(severity);
        }
        if let Some(hops) = self.max_hops {
            query = query.max_hops(hops);
        }
        if self.direct { query.direct_only() } else { query }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let clock = args.output.clock();
    let window = clock.window(args.filter.from.as_deref(), args.filter.to.as_deref())?;
    let snapshot = args.store.read()?;
    let mut query = Query { args, snapshot: &snapshot, window, cut_short: 0 };
    let mut sink = Sink::open(args, &snapshot, &clock)?;
    match &args.customer {
        Some(given) => {
            let customer = customer_id(&snapshot, given);
            require_customer(&snapshot, customer)?;
            query.show(customer, &mut sink)?;
        }
        None => {
            for customer in snapshot.customers() {
                query.show(&customer?, &mut sink)?;
            }
        }
    }
    sink.close()?;
    let filter = &args.filter;
    if query.cut_short > 0 && filter.max_hops.is_none() && !filter.direct {
        eprintln!("ofone: links of {} customers go on behind the last hop; see --max-hops", grouped(query.cut_short));
    }
    Ok(())
}

struct Query<'a> {
    args: &'a Args,
    snapshot: &'a Snapshot,
    window: Window,
    /// Customers whose links go on behind the last hop.
    cut_short: u64,
}

impl Query<'_> {
    fn show(&mut self, customer: &str, sink: &mut Sink<'_>) -> Done {
        let asked = self.args.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let limit = asked.or(sink.limit());
        let mut stream = self.stream(customer, limit)?;
        let written = if self.args.count {
            let mut events = 0;
            for item in &mut stream {
                item?;
                events += 1;
            }
            sink.count(customer, events)?;
            events
        } else {
            sink.items(customer, &mut stream)?
        };
        self.cut_short += u64::from(stream.hop_limit_reached());
        if asked.is_none() && limit == Some(written as usize) {
            eprintln!("ofone: stopped after {written} events; see --limit, --from and --format");
        }
        Ok(())
    }

    fn stream(&self, customer: &str, limit: Option<usize>) -> Result<Stream, Failure> {
        let mut query = self.args.filter.apply(self.snapshot.stream(customer), self.window);
        if self.args.newest {
            query = query.newest_first();
        }
        if let Some(cursor) = &self.args.after {
            query = query.after(cursor.clone());
        }
        if let Some(limit) = limit {
            query = query.limit(limit);
        }
        Ok(query.run()?)
    }
}

/// Where streams, or their counts, are written.
enum Sink<'a> {
    Ndjson { out: Stdout, fields: ItemFields },
    Json { out: Stdout, fields: ItemFields, began: bool },
    Csv(CsvWriter<Stdout>),
    Lanes { out: Stdout, screen: Screen, clock: &'a Clock, customer_type: Text },
    Counts { out: Stdout, grid: Grid },
}

impl<'a> Sink<'a> {
    fn open(args: &Args, snapshot: &Snapshot, clock: &'a Clock) -> Result<Sink<'a>, Failure> {
        let mut fields = ItemFields::default();
        fields.cursor = args.cursors;
        fields.paths = args.paths;
        let mut out = output::stdout();
        Ok(match args.output.format() {
            Format::Ndjson => Sink::Ndjson { out, fields },
            Format::Json => {
                write!(out, "[")?;
                Sink::Json { out, fields, began: false }
            }
            Format::Csv => {
                let mut csv = output::csv(out, args.output.csv_raw);
                if args.count {
                    csv.text("customer")?;
                    csv.text("events")?;
                    csv.end_row()?;
                } else {
                    csv.item_header()?;
                }
                Sink::Csv(csv)
            }
            Format::Table if args.count => {
                let mut grid = Grid::new(&Screen::of_stdout(), &[snapshot.customer_type().as_str(), "events"]);
                grid.align_right(1);
                Sink::Counts { out, grid }
            }
            Format::Table => {
                Sink::Lanes { out, screen: Screen::of_stdout(), clock, customer_type: snapshot.customer_type().clone() }
            }
        })
    }

    /// How many events of a stream it can take in, if not all.
    fn limit(&self) -> Option<usize> {
        matches!(self, Sink::Lanes { .. }).then_some(TABLE_LIMIT)
    }

    fn count(&mut self, customer: &str, events: u64) -> Done {
        match self {
            Sink::Ndjson { out, .. } => {
                write_count(&mut *out, customer, events)?;
                writeln!(out)?;
            }
            Sink::Json { out, began, .. } => {
                write!(out, "{}", separator(began))?;
                write_count(&mut *out, customer, events)?;
            }
            Sink::Csv(csv) => {
                csv.text(customer)?;
                csv.number(events)?;
                csv.end_row()?;
            }
            Sink::Counts { grid, .. } => grid.row([customer.to_owned(), grouped(events)]),
            Sink::Lanes { .. } => unreachable!("counts in a table go to Counts"),
        }
        Ok(())
    }

    /// Writes the rest of a stream and returns how many events that were.
    fn items(&mut self, customer: &str, stream: &mut Stream) -> Result<u64, Failure> {
        let mut events = 0;
        if let Sink::Lanes { out, screen, clock, customer_type } = self {
            let entries: Vec<Entry> = stream.map(|item| item.and_then(Entry::try_from)).collect::<Result<_, _>>()?;
            events = entries.len() as u64;
            writeln!(out, "{}:{}  {}", escape(customer_type), escape(customer), summary(&entries, clock))?;
            lanes::draw(out, screen, clock, customer, entries)?;
            return Ok(events);
        }
        for item in stream {
            let item = item?;
            match self {
                Sink::Ndjson { out, fields } => {
                    write_item(&mut *out, customer, &item, *fields)?;
                    writeln!(out)?;
                }
                Sink::Json { out, fields, began } => {
                    write!(out, "{}", separator(began))?;
                    write_item(&mut *out, customer, &item, *fields)?;
                }
                Sink::Csv(csv) => csv.item(customer, &item)?,
                Sink::Lanes { .. } | Sink::Counts { .. } => unreachable!("handled above, or counted"),
            }
            events += 1;
        }
        Ok(events)
    }

    fn close(self) -> Done {
        match self {
            Sink::Ndjson { mut out, .. } | Sink::Lanes { mut out, .. } => out.flush()?,
            Sink::Json { mut out, .. } => {
                writeln!(out, "\n]")?;
                out.flush()?;
            }
            Sink::Csv(csv) => csv.finish()?.flush()?,
            Sink::Counts { mut out, grid } => {
                grid.write(&mut out)?;
                out.flush()?;
            }
        }
        Ok(())
    }
}

/// What comes before an element of a JSON array.
fn separator(began: &mut bool) -> &'static str {
    if std::mem::replace(began, true) { ",\n" } else { "\n" }
}

/// How many events, and from when to when.
fn summary(entries: &[Entry], clock: &Clock) -> String {
    let count = match entries.len() {
        0 => return "no events".to_owned(),
        1 => "1 event".to_owned(),
        many => format!("{} events", grouped(many as u64)),
    };
    let times = || entries.iter().map(|entry| entry.event.time);
    let (first, last) = (times().min().expect("not empty"), times().max().expect("not empty"));
    format!("{count} from {} to {} ({})\n", clock.date_time(first), clock.date_time(last), clock.zone_name())
}
