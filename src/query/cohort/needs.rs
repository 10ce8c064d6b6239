//! Which events the parts of a question may want, told before they are decoded.

use crate::codec::chunk::Wanted;
use crate::dictionary::TermTables;
use crate::model::{Interval, Timestamp, Window};
use crate::query::cohort::judge::Judge;

/// How a part of a question looks at events in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looks {
    /// At those of the stream of the window: a lasting one may have begun before.
    Presence,
    /// At those whose time lies in the window.
    Time,
}

/// What is wanted of one shape.
#[derive(Clone, Copy, Debug)]
struct Need {
    from: i64,
    to: i64,
    /// Severities, as bits.
    severities: u32,
}

const NOTHING: Need = Need { from: i64::MAX, to: i64::MIN, severities: 0 };

/// What all parts of a question want together. Shared between threads.
#[derive(Clone, Debug)]
pub(crate) struct Needs {
    by_shape: Vec<Need>,
    /// The earliest and latest time wanted.
    from: i64,
    to: i64,
    /// Instants at which presences matter, window by window.
    windows: Vec<Interval>,
    /// Entities, ascending, one of which each wanted event names, unless some part wants others.
    named: Option<Vec<u32>>,
}

impl Needs {
    /// Nothing is wanted of the shapes known now; later ones have no events in the snapshot.
    pub(crate) fn new(tables: &TermTables) -> Needs {
        Needs {
            by_shape: vec![NOTHING; tables.shapes().len()],
            from: i64::MAX,
            to: i64::MIN,
            windows: Vec::new(),
            named: Some(Vec::new()),
        }
    }

    /// Adds the events that `judge` may accept.
    pub(crate) fn add(&mut self, judge: &Judge, window: Window, looks: Looks, tables: &TermTables) {
        let mut reading = window.interval();
        if reading.is_empty() {
            return;
        }
        let (from, to) = (window.from.as_nanos(), window.to.as_nanos());
        let mut some = false;
        for ((need, entry), shape) in self.by_shape.iter_mut().zip(tables.shapes()).zip(0u32..) {
            let severities = judge.severities(shape);
            if severities == 0 {
                continue;
            }
            some = true;
            let lasts = entry.shape.layout.has_end;
            if lasts && looks == Looks::Time {
                // It may be felt later only, by a path that held later only.
                reading.to = Timestamp::MAX;
            }
            need.severities |= severities;
            need.from = need.from.min(if lasts && looks == Looks::Presence { i64::MIN } else { from });
            need.to = need.to.max(to);
            self.from = self.from.min(need.from);
            self.to = self.to.max(to);
        }
        if some {
            self.windows.push(reading);
            self.named = self.named.take().zip(judge.named()).map(|(mut named, more)| {
                named.extend(more);
                named.sort_unstable();
                named.dedup();
                named
            });
        }
    }

    /// Whether nothing is wanted at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.from >= self.to
    }

    /// The span of all windows.
    pub(crate) fn hull(&self) -> Interval {
        let from = self.windows.iter().map(|window| window.from).min();
        let to = self.windows.iter().map(|window| window.to).max();
        from.zip(to).map_or(Interval::new(Interval::ALL.to, Interval::ALL.from), |(from, to)| Interval::new(from, to))
    }

    /// The windows.
    pub(crate) fn windows(&self) -> &[Interval] {
        &self.windows
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.by_shape.len() * size_of::<Need>()
    }
}

impl Wanted for Needs {
    fn named(&self) -> Option<&[u32]> {
        self.named.as_deref()
    }

    fn times(&self) -> (i64, i64) {
        (self.from, self.to)
    }

    fn wants(&self, time: i64, shape: u32, severity: u8) -> bool {
        self.by_shape
            .get(shape as usize)
            .is_some_and(|need| need.severities >> severity & 1 != 0 && need.from <= time && time < need.to)
    }
}
