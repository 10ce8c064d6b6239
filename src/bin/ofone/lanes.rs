//! The lane view of a stream: time downwards, a lane per layer, a line per run.
//!
//! ```text
//! 2026-01-08 Thu  product front process system network
//!   09:12:04         │      │      │      │       ■    alarm.raised  ⟂ olt:LON-7  ALM-7  for 47 min
//!   09:12:31         │      │      │      │       ▲    session.retried  ×17 in 4 min  service:…/broadband
//!   09:20:00         │      ●      │      │       ┃    call.received
//! ```
//!
//! While an event that lasts is going on, its lane is drawn heavy, so that what happened during an
//! outage can be seen to have happened during it. Where the terminal is too narrow for lanes, the
//! layer becomes a word.

use std::io::{self, Write};

use ofone::export::escape;
use ofone::{Event, Severity, Text, Timestamp, Value};

use crate::fold::{Entry, Run, fold};
use crate::screen::{Screen, columns, cut};
use crate::time::{Clock, human_length};

/// Layers of the pyramid from the top down; others follow as they occur.
const PYRAMID: [&str; 5] = ["product", "front", "process", "system", "network"];
/// Columns of the time, which hold a date too.
const TIME_COLUMNS: usize = 14;
/// Lanes are drawn only if that leaves this many columns for what happened.
const MIN_TEXT_COLUMNS: usize = 36;

/// Draws the stream of `customer`, in the order of `entries`.
pub(crate) fn draw(
    out: &mut impl Write,
    screen: &Screen,
    clock: &Clock,
    customer: &str,
    entries: Vec<Entry>,
) -> io::Result<()> {
    let runs = fold(entries, |time| clock.date(time));
    let lanes = lanes_of(&runs);
    let width: usize = lanes.iter().map(|lane| lane_columns(lane)).sum();
    let before_text = TIME_COLUMNS + 2 + width;
    let drawing = Drawing { screen, clock, customer, lanes };
    if before_text + MIN_TEXT_COLUMNS <= screen.width {
        drawing.as_lanes(out, &runs, before_text)
    } else {
        drawing.as_words(out, &runs)
    }
}

/// The layers that occur, the pyramid's in its order and first.
fn lanes_of(runs: &[Run]) -> Vec<Text> {
    let mut found: Vec<Text> = Vec::new();
    for run in runs {
        let layer = layer_of(&run.first.event);
        if !found.contains(&layer) {
            found.push(layer);
        }
    }
    found.sort_by_key(|layer| PYRAMID.iter().position(|known| layer == known).unwrap_or(PYRAMID.len()));
    found
}

fn layer_of(event: &Event) -> Text {
    event.layer.clone().unwrap_or_else(|| Text::from("other"))
}

fn lane_columns(lane: &str) -> usize {
    columns(&escape(lane).to_string()).max(3) + 1
}

struct Drawing<'a> {
    screen: &'a Screen,
    clock: &'a Clock,
    customer: &'a str,
    lanes: Vec<Text>,
}

impl Drawing<'_> {
    fn as_lanes(&self, out: &mut impl Write, runs: &[Run], before_text: usize) -> io::Result<()> {
        let lasting = Lasting::new(runs, self);
        let mut today = String::new();
        for run in runs {
            let time = run.first.event.time;
            let day = self.clock.date(time);
            if day != today {
                let titles: String =
                    self.lanes.iter().map(|lane| format!("{:<1$}", escape(lane), lane_columns(lane))).collect();
                let gap = if today.is_empty() { "" } else { "\n" };
                writeln!(out, "{gap}{day:<TIME_COLUMNS$}  {}", titles.trim_end())?;
                today = day;
            }
            write!(out, "  {:<1$}  ", self.clock.time_of_day(time), TIME_COLUMNS - 2)?;
            let own = self.lane_of(run);
            for (at, lane) in self.lanes.iter().enumerate() {
                let room = lane_columns(lane);
                let left = (room - 2) / 2;
                let severity = run.first.event.severity;
                let sign = match lasting.worst(at, time) {
                    _ if at == own => self.screen.paint(severity, self.screen.mark(severity)),
                    Some(worst) => self.screen.paint(worst, self.screen.pick("┃", "H")),
                    None => self.screen.pick("│", "|").to_owned(),
                };
                write!(out, "{:left$}{sign}{:2$}", "", "", room - left - 1)?;
            }
            writeln!(out, "{}", self.text(run, self.screen.width - before_text))?;
        }
        Ok(())
    }

    fn as_words(&self, out: &mut impl Write, runs: &[Run]) -> io::Result<()> {
        const LAYER_COLUMNS: usize = 9;
        let mut today = String::new();
        for run in runs {
            let time = run.first.event.time;
            let day = self.clock.date(time);
            if day != today {
                let gap = if today.is_empty() { "" } else { "\n" };
                writeln!(out, "{gap}{day}")?;
                today = day;
            }
            let severity = run.first.event.severity;
            let layer = cut(&escape(&layer_of(&run.first.event)).to_string(), LAYER_COLUMNS - 1, self.missing());
            let filler = " ".repeat(LAYER_COLUMNS - columns(&layer));
            let mark = self.screen.paint(severity, self.screen.mark(severity));
            write!(out, "  {}  {layer}{filler}{mark} ", self.clock.time_of_day(time))?;
            writeln!(out, "{}", self.text(run, self.screen.width - 14 - LAYER_COLUMNS))?;
        }
        Ok(())
    }

    fn lane_of(&self, run: &Run) -> usize {
        let layer = layer_of(&run.first.event);
        self.lanes.iter().position(|lane| *lane == layer).expect("lanes are made of these runs")
    }

    /// What happened, in at most `limit` columns. Only the kind is coloured, so cutting never cuts a colour.
    fn text(&self, run: &Run, limit: usize) -> String {
        let Entry { event, felt, via, shared } = &run.first;
        let mut parts = Vec::new();
        if run.count > 1 {
            let length = human_length(length(event.time, run.last));
            parts.push(format!("{}{} in {length}", self.screen.pick("×", "x"), run.count));
        }
        if let Some(via) = via {
            let mark = if *shared { self.screen.pick("⟂ ", "@ ") } else { "" };
            parts.push(format!("{mark}{}", escape(&self.without_customer(&via.to_string()))));
        }
        if run.count == 1 {
            parts.extend(event.id.as_ref().map(|id| escape(id).to_string()));
        }
        if let Some(end) = event.end {
            let whole = length(event.time, end);
            let part: i64 = felt.intervals().iter().map(|part| length(part.from, part.to)).sum();
            let felt = if part < whole { format!(", felt {}", human_length(part)) } else { String::new() };
            parts.push(format!("for {}{felt}", human_length(whole)));
        }
        if run.count == 1 {
            parts.extend(event.value.map(|value| value.to_string()));
            let shown = |(name, value): &(Text, Value)| format!("{}={}", escape(name), escape(&value.to_string()));
            parts.extend(event.attributes.iter().map(shown));
        }
        let kind = cut(&escape(&event.kind).to_string(), limit, self.missing());
        let rest: String = parts.iter().map(|part| format!("  {part}")).collect();
        let rest = cut(&rest, limit - columns(&kind), self.missing());
        format!("{}{}", self.screen.paint(event.severity, kind), rest.trim_end())
    }

    /// A customer's own things carry the customer's id, which is no news here.
    fn without_customer(&self, entity: &str) -> String {
        entity.replacen(&format!(":{}/", self.customer), if self.screen.unicode { ":…/" } else { ":../" }, 1)
    }

    fn missing(&self) -> &'static str {
        self.screen.pick("…", "~")
    }
}

fn length(from: Timestamp, to: Timestamp) -> i64 {
    to.as_nanos().saturating_sub(from.as_nanos())
}

/// What lasts in each lane: when, and how bad it is.
struct Lasting(Vec<Vec<(Timestamp, Timestamp, Severity)>>);

impl Lasting {
    fn new(runs: &[Run], drawing: &Drawing<'_>) -> Lasting {
        let mut spans = vec![Vec::new(); drawing.lanes.len()];
        for run in runs {
            let event = &run.first.event;
            if let Some(end) = event.end {
                spans[drawing.lane_of(run)].push((event.time, end, event.severity));
            }
        }
        Lasting(spans)
    }

    /// The worst that goes on in a lane at `time`.
    fn worst(&self, lane: usize, time: Timestamp) -> Option<Severity> {
        let going_on = self.0[lane].iter().filter(|(from, to, _)| *from <= time && time < *to);
        going_on.map(|(_, _, severity)| *severity).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use ofone::{Entity, Interval, IntervalSet};

    const SCREEN: Screen = Screen { width: 100, colour: false, unicode: true };

    fn entry(time: &str, kind: &str, layer: &str, severity: Severity) -> Entry {
        let time: Timestamp = time.parse().unwrap();
        let event = Event::new(time, "feed", kind).layer(layer).severity(severity);
        Entry { event, felt: IntervalSet::new(), via: None, shared: false }
    }

    fn outage() -> Vec<Entry> {
        let mut alarm = entry("2026-01-08T09:12:04Z", "alarm.raised", "network", Severity::FATAL);
        let end = "2026-01-08T09:59:04Z".parse().unwrap();
        let lost = "2026-01-08T09:49:04Z".parse().unwrap();
        alarm.event = alarm.event.id("ALM-7").end(end).attribute("cause", "fibre\u{1b}cut");
        alarm.felt = IntervalSet::from(Interval::new(alarm.event.time, lost));
        alarm.via = Some(Entity::new("olt", "LON-7"));
        alarm.shared = true;
        let retry = |time| {
            let mut retry = entry(time, "session.retried", "network", Severity::WARN);
            retry.via = Some(Entity::new("service", "C42/broadband"));
            retry
        };
        let call = entry("2026-01-08T09:20:00Z", "call.received", "front", Severity::INFO);
        let visit = entry("2026-01-09T10:00:00Z", "technician.came", "field", Severity::NONE);
        vec![alarm, retry("2026-01-08T09:12:31Z"), retry("2026-01-08T09:16:31Z"), call, visit]
    }

    fn drawn(screen: Screen, entries: Vec<Entry>) -> String {
        let clock = Clock::new(jiff::Timestamp::UNIX_EPOCH, TimeZone::UTC);
        let mut out = Vec::new();
        draw(&mut out, &screen, &clock, "C42", entries).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_layer_has_a_lane_and_an_outage_is_seen_to_last() {
        let expected = "\
2026-01-08 Thu  front network field
  09:12:04        │      ✖      │   alarm.raised  ⟂ olt:LON-7  ALM-7  for 47 min, felt 37 min  caus…
  09:12:31        │      ▲      │   session.retried  ×2 in 4 min  service:…/broadband
  09:20:00        ●      ┃      │   call.received

2026-01-09 Fri  front network field
  10:00:00        │      │      ●   technician.came
";
        assert_eq!(drawn(SCREEN, outage()), expected);
    }

    #[test]
    fn a_narrow_terminal_gets_words_for_lanes() {
        let expected = "\
2026-01-08 Thu
  09:12:04  network  X alarm.raised  @ olt:LON-7  ALM-7  fo~
";
        let narrow = Screen { width: 60, colour: false, unicode: false };
        let drawn = drawn(narrow, outage()).replace('#', "X");
        assert_eq!(drawn.lines().take(2).map(|line| format!("{line}\n")).collect::<String>(), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_none_carries_controls() {
        for width in 40..140 {
            for line in drawn(Screen { width, ..SCREEN }, outage()).lines() {
                assert!(columns(line) <= width, "{width}: {line}");
                assert!(!line.contains(char::is_control), "{line:?}");
            }
        }
    }
}
