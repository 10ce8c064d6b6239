//! `ofone why`: by which links an event is in a stream, or what keeps it out.

use std::io::Write;

use ofone::export::{escape, write_why};
use ofone::{Event, EventName, Interval, Link, Path, Snapshot, Timestamp, Why, WhyNot, Window};

use crate::args::{Format, OutputArgs, StoreArgs, customer_id, require_customer};
use crate::exit::{Done, Failure};
use crate::output;
use crate::screen::Screen;
use crate::time::Clock;

/// Explain why an event is in a customer's stream, link by link, or why it is not.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone why C0000042 ALM-7
  ofone why C0000042 ALM-7 --source alarms --time 2026-01-08T09:12:04Z")]
pub(crate) struct Args {
    /// The customer: an id, or type:id.
    customer: String,
    /// The id of the event; for one without an id of its own, the hash that `ofone stream` shows as its id.
    event: String,
    /// The source of the event. Together with --time this names an event that is not in the stream.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The exact time of the event.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    time: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let clock = args.output.clock();
    let time = args.time.as_deref().map(|text| clock.parse(text)).transpose()?;
    let snapshot = args.store.read()?;
    let customer = customer_id(&snapshot, &args.customer);
    require_customer(&snapshot, customer)?;
    let name = match (&args.source, time) {
        (Some(source), Some(time)) => EventName { source: source.into(), id: args.event.as_str().into(), time },
        _ => find(&snapshot, customer, args, time)?,
    };
    let why = snapshot.why(customer, &name)?;
    let mut out = output::stdout();
    match args.output.format() {
        Format::Table => {
            let tree = Tree { screen: Screen::of_stdout(), clock: &clock, customer, kind: snapshot.customer_type() };
            tree.write(&mut out, &why)?;
        }
        Format::Ndjson | Format::Json => {
            write_why(&mut out, customer, &why)?;
            writeln!(out)?;
        }
        Format::Csv => return Err(Failure::usage("paths are trees, which CSV cannot hold; use --format json")),
    }
    out.flush()?;
    Ok(())
}

/// Finds the event with the id in the customer's stream.
fn find(snapshot: &Snapshot, customer: &str, args: &Args, time: Option<Timestamp>) -> Result<EventName, Failure> {
    let mut query = snapshot.stream(customer);
    if let Some(source) = &args.source {
        query = query.source(source);
    }
    if let Some(time) = time {
        // A lasting event may begin to reach the customer later than it begins.
        query = query.window(Window::new(time, Timestamp::MAX));
    }
    let mut found: Vec<EventName> = Vec::new();
    for item in query.run()? {
        let event = item?.event;
        if time.is_none_or(|time| event.time == time) && may_be_called(&event, &args.event) {
            let name = event.name();
            if name.id == args.event.as_str() {
                found.push(name);
            }
        }
    }
    match found.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err(Failure::not_found(format!(
            "no event `{}` in the stream of {customer}; name one outside of it with --source and --time",
            args.event
        ))),
        several => {
            let names: Vec<String> = several.iter().map(|name| format!("{} at {}", name.source, name.time)).collect();
            Err(Failure::usage(format!(
                "several events are called `{}`: {}; choose with --source and --time",
                args.event,
                names.join(", ")
            )))
        }
    }
}

/// Spares the content hash of events that cannot be meant.
fn may_be_called(event: &Event, id: &str) -> bool {
    event.id.as_ref().map_or(id.len() == 32, |own| own == id)
}

struct Tree<'a> {
    screen: Screen,
    clock: &'a Clock,
    customer: &'a str,
    kind: &'a str,
}

impl Tree<'_> {
    fn write(&self, out: &mut impl Write, why: &Why) -> std::io::Result<()> {
        let event = &why.event;
        let name = event.name();
        let kind = self.screen.paint(event.severity, escape(&event.kind));
        let mark = self.screen.paint(event.severity, self.screen.mark(event.severity));
        let span = event.end.map_or_else(
            || self.clock.date_time(event.time),
            |end| format!("{} to {}", self.clock.date_time(event.time), self.clock.date_time(end)),
        );
        writeln!(out, "{mark} {kind} {}  from {}  {span}", escape(&name.id), escape(&name.source))?;
        let subjects: Vec<String> =
            event.subjects.iter().map(|subject| escape(&subject.to_string()).to_string()).collect();
        writeln!(
            out,
            "  happened to {}\n",
            if subjects.is_empty() { "nobody".to_owned() } else { subjects.join(", ") }
        )?;
        let Some(why_not) = &why.why_not else { return self.reasons(out, event, &why.paths) };
        self.reasons_not(out, why_not)
    }

    fn reasons(&self, out: &mut impl Write, event: &Event, paths: &[Path]) -> std::io::Result<()> {
        let ways = match paths.len() {
            1 => String::new(),
            many => format!(", in {many} ways"),
        };
        writeln!(out, "It is in the stream of {}:{}{ways}:", escape(self.kind), escape(self.customer))?;
        for path in paths {
            self.path(out, path, None)?;
            let lasts = Interval::new(event.time, event.end.unwrap_or(event.time));
            let held = path.validity.intersect(&lasts);
            if event.end.is_some() && held != lasts {
                writeln!(out, "  but of that time only {}", self.clock.validity(held))?;
            }
        }
        Ok(())
    }

    fn reasons_not(&self, out: &mut impl Write, why_not: &WhyNot) -> std::io::Result<()> {
        write!(out, "It is not in the stream of {}:{}: ", escape(self.kind), escape(self.customer))?;
        match why_not {
            WhyNot::OtherTime { path, blocking } => {
                writeln!(out, "a link did not hold at that time.")?;
                self.path(out, path, Some(blocking))
            }
            WhyNot::Quarantined { path, blocking } => {
                writeln!(out, "a link is in quarantine, since there are too many; see: ofone promote.")?;
                self.path(out, path, Some(blocking))
            }
            WhyNot::Retracted { path, blocking } => {
                writeln!(out, "a link was retracted.")?;
                self.path(out, path, Some(blocking))
            }
            WhyNot::MoreHops { hops, path } => {
                writeln!(out, "it takes {hops} links.")?;
                self.path(out, path, None)
            }
            _ => writeln!(out, "no links lead to what it happened to, at any time."),
        }
    }

    fn path(&self, out: &mut impl Write, path: &Path, blocking: Option<&Link>) -> std::io::Result<()> {
        writeln!(out, "\n  {}:{}", escape(self.kind), escape(self.customer))?;
        let branch = self.screen.pick("└─", "`-");
        for (depth, link) in path.steps.iter().enumerate() {
            let indent = "   ".repeat(depth);
            let blocks = if blocking == Some(link) { self.screen.pick("✖ only ", "X only ") } else { "" };
            let source =
                if link.source.is_empty() { String::new() } else { format!(", says {}", escape(&link.source)) };
            writeln!(
                out,
                "  {indent}{branch} {} {} {}   [{blocks}{}{source}]",
                escape(&link.relation),
                self.screen.pick("→", "->"),
                escape(&link.to.to_string()),
                self.clock.validity(link.validity()),
            )?;
        }
        Ok(())
    }
}
