//! Naive counts over sets of customers: per bucket of time, per value of a field, per step of a funnel.

use std::collections::{BTreeMap, BTreeSet};

use ofone::{Event, EventName, Interval, Predicate, Severity, Text, Timestamp, Window};

use crate::cohort_model::{Ids, Naive, satisfies};

/// Nanoseconds of a day.
const DAY: i128 = 86_400_000_000_000;

/// How time is cut into buckets, all in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Length(i64),
    Hour,
    Day,
    Week,
    Month,
}

impl Cut {
    /// The bucket of an instant: its first instant and the first one after it.
    pub(crate) fn bucket(self, time: Timestamp) -> (i128, i128) {
        let time = i128::from(time.as_nanos());
        let aligned = |length: i128, origin: i128| {
            let from = (time - origin).div_euclid(length) * length + origin;
            (from, from + length)
        };
        match self {
            Cut::Length(nanos) => aligned(i128::from(nanos), 0),
            Cut::Hour => aligned(DAY / 24, 0),
            Cut::Day => aligned(DAY, 0),
            // 1970-01-05 was the first Monday.
            Cut::Week => aligned(7 * DAY, 4 * DAY),
            Cut::Month => month(time.div_euclid(DAY)),
        }
    }
}

/// The month of a day since 1970, found by counting.
fn month(day: i128) -> (i128, i128) {
    let leap = |year: i128| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of = |year: i128, month: usize| match month {
        1 if leap(year) => 29,
        month => [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month],
    };
    let (mut year, mut first) = (1970, 0_i128);
    while day < first {
        year -= 1;
        first -= if leap(year) { 366 } else { 365 };
    }
    loop {
        for month in 0..12 {
            let next = first + days_of(year, month);
            if day < next {
                return (first * DAY, next * DAY);
            }
            first = next;
        }
        year += 1;
    }
}

/// A count of different events and of different customers with one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) customers: u64,
}

/// The field whose values are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Kind,
    Layer,
    Source,
    Severity,
    Attribute(Text),
    Subject,
    Context,
}

impl Column {
    /// The different values that an event has in this field.
    fn values(&self, event: &Event) -> BTreeSet<Text> {
        let text = |text: &dyn std::fmt::Display| Text::from(text.to_string());
        match self {
            Column::Kind => BTreeSet::from([event.kind.clone()]),
            Column::Layer => event.layer.iter().cloned().collect(),
            Column::Source => BTreeSet::from([event.source.clone()]),
            Column::Severity if event.severity == Severity::NONE => BTreeSet::new(),
            Column::Severity => BTreeSet::from([text(&event.severity.number())]),
            Column::Attribute(name) => {
                event.attributes.iter().filter(|(own, _)| own == name).map(|(_, value)| text(value)).collect()
            }
            Column::Subject => event.subjects.iter().map(|entity| text(entity)).collect(),
            Column::Context => event.context.iter().map(|entity| text(entity)).collect(),
        }
    }
}

/// What an event weighs in the score of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    One,
    Severity,
    SeveritySquared,
}

impl Weight {
    fn of(self, event: &Event) -> u64 {
        let severity = u64::from(event.severity.number());
        match self {
            Weight::One => 1,
            Weight::Severity => severity,
            Weight::SeveritySquared => severity * severity,
        }
    }
}

/// Events like `what` with their time in the window, and whom of `within` each reached.
///
/// Without a cohort an event counts also when nobody has it in their stream.
struct Hits<'a>(Vec<(&'a Event, Ids)>);

impl<'a> Hits<'a> {
    fn find(naive: &Naive<'a>, what: &Predicate, window: Window, within: Option<&Ids>) -> Hits<'a> {
        let mut reached: BTreeMap<EventName, Ids> = BTreeMap::new();
        for customer in naive.customers().iter().filter(|customer| within.is_none_or(|ids| ids.contains(*customer))) {
            for item in naive.stream(customer) {
                reached.entry(item.event.name()).or_default().insert(customer.clone());
            }
        }
        let like = |event: &&Event| window.contains(event.time) && satisfies(event, what);
        let hits = naive.events().filter(like).map(|event| (event, reached.remove(&event.name()).unwrap_or_default()));
        Hits(hits.filter(|(_, customers)| within.is_none() || !customers.is_empty()).collect())
    }

    /// Counts under each of the keys of an event.
    fn tally<K: Ord>(&self, keys: impl Fn(&Event) -> BTreeSet<K>) -> BTreeMap<K, Tally> {
        let mut counts: BTreeMap<K, (u64, Ids)> = BTreeMap::new();
        for (event, customers) in &self.0 {
            for key in keys(event) {
                let count = counts.entry(key).or_default();
                count.0 += 1;
                count.1.extend(customers.iter().cloned());
            }
        }
        let tally = |(events, customers): (u64, Ids)| Tally { events, customers: customers.len() as u64 };
        counts.into_iter().map(|(key, count)| (key, tally(count))).collect()
    }
}

/// Counts of each bucket that has an event.
pub(crate) fn timeline(
    naive: &Naive<'_>,
    what: &Predicate,
    window: Window,
    within: Option<&Ids>,
    cut: Cut,
) -> BTreeMap<(i128, i128), Tally> {
    Hits::find(naive, what, window, within).tally(|event| BTreeSet::from([cut.bucket(event.time)]))
}

/// Counts of each value of a field.
pub(crate) fn values(
    naive: &Naive<'_>,
    column: &Column,
    what: &Predicate,
    window: Window,
    within: Option<&Ids>,
) -> BTreeMap<Text, Tally> {
    Hits::find(naive, what, window, within).tally(|event| column.values(event))
}

/// Score and number of events of each customer that has one.
pub(crate) fn scores(
    naive: &Naive<'_>,
    what: &Predicate,
    window: Window,
    within: Option<&Ids>,
    weight: Weight,
) -> BTreeMap<Text, (u64, u64)> {
    let mut scores: BTreeMap<Text, (u64, u64)> = BTreeMap::new();
    for (event, customers) in Hits::find(naive, what, window, within).0 {
        for customer in customers {
            let score = scores.entry(customer).or_default();
            *score = (score.0 + weight.of(event), score.1 + 1);
        }
    }
    scores
}

/// Steps of a funnel, and the times that bound it.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    pub(crate) what: Vec<Predicate>,
    pub(crate) within: Option<i64>,
    pub(crate) window: Window,
}

impl Steps {
    /// Every choice of different events for the first steps, as far as it goes, that cannot go on.
    fn choices(&self, events: &[&Event], chosen: &mut Vec<usize>, found: &mut impl FnMut(&[usize])) {
        found(chosen);
        let Some(what) = self.what.get(chosen.len()) else { return };
        for place in 0..events.len() {
            if !chosen.contains(&place) && satisfies(events[place], what) && self.in_time(events, chosen, place) {
                chosen.push(place);
                self.choices(events, chosen, found);
                chosen.pop();
            }
        }
    }

    fn in_time(&self, events: &[&Event], chosen: &[usize], place: usize) -> bool {
        let (Some(&first), Some(&last)) = (chosen.first(), chosen.last()) else { return true };
        let length = i128::from(events[place].time.as_nanos()) - i128::from(events[first].time.as_nanos());
        events[last].time <= events[place].time && self.within.is_none_or(|most| length <= i128::from(most))
    }

    /// How far a customer came.
    pub(crate) fn reached(&self, naive: &Naive<'_>, customer: &Text) -> Reached {
        let items = naive.stream(customer).iter().map(|item| &item.event);
        let events: Vec<&Event> = items.filter(|event| self.window.contains(event.time)).collect();
        let time = |place: usize| events[place].time;
        let mut best: BTreeMap<usize, Level> = BTreeMap::new();
        self.choices(&events, &mut Vec::new(), &mut |chosen| {
            let (first, last) = (chosen.first().map(|&place| time(place)), chosen.last().map(|&place| time(place)));
            let known = best.entry(chosen.len()).or_insert_with(|| Level { winner: (last, chosen.to_vec()), first });
            known.winner = known.winner.clone().min((last, chosen.to_vec()));
            known.first = known.first.max(first);
        });
        let (level, best) = best.pop_last().expect("no event at all is a choice too");
        Reached { level, times: best.winner.1.into_iter().map(time).collect(), latest_first: best.first }
    }
}

/// What is known of the choices for so many steps.
struct Level {
    /// The time of the last event and the places of the choice that completes first, then has the earliest events.
    winner: (Option<Timestamp>, Vec<usize>),
    /// The latest first event of any of them.
    first: Option<Timestamp>,
}

/// How far a customer came in a funnel.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) level: usize,
    /// Times of the events that reach it first.
    pub(crate) times: Vec<Timestamp>,
    /// The latest first event with which that level is reached.
    latest_first: Option<Timestamp>,
}

impl Reached {
    /// Whether the customer may still go on from there.
    pub(crate) fn is_pending(&self, steps: &Steps, now: Timestamp) -> bool {
        let is_open = |first: Timestamp| {
            steps.within.is_none_or(|most| i128::from(first.as_nanos()) + i128::from(most) > i128::from(now.as_nanos()))
        };
        self.level < steps.what.len() && self.latest_first.is_some_and(is_open)
    }
}

/// The least of some lengths that so many percent of them do not exceed.
pub(crate) fn percentile(lengths: &[i64], percent: usize) -> Option<i64> {
    let not_above = |length: i64| lengths.iter().filter(|&&other| other <= length).count();
    lengths.iter().copied().filter(|&length| not_above(length) * 100 >= percent * lengths.len()).min()
}

/// The instants of a bucket as far as 64 bits tell them.
pub(crate) fn clamped((from, to): (i128, i128)) -> Interval {
    let instant = |nanos: i128| {
        Timestamp::from_nanos(nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)).try_into().expect("clamped"))
    };
    Interval::new(instant(from), instant(to))
}
