//! Folding of runs: the same thing over and over takes one line.

use ofone::{Entity, Error, Event, IntervalSet, Result, StreamItem, Timestamp};

/// What the lane view needs to know of one event of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The event.
    pub(crate) event: Event,
    /// The part of a lasting event that reached the customer.
    pub(crate) felt: IntervalSet,
    /// The subject by which it is in the stream, when that is not the customer.
    pub(crate) via: Option<Entity>,
    /// Whether that subject serves several customers.
    pub(crate) shared: bool,
}

impl TryFrom<StreamItem> for Entry {
    type Error = Error;

    fn try_from(item: StreamItem) -> Result<Entry> {
        let (via, shared) = (item.via().cloned(), item.is_shared()?);
        Ok(Entry { event: item.event, felt: item.felt, via, shared })
    }
}

/// One or more consecutive events that differ in little but their time.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The first of them, in the order of the stream.
    pub(crate) first: Entry,
    /// The time of the last of them.
    pub(crate) last: Timestamp,
    /// How many they are.
    pub(crate) count: usize,
}

/// Folds consecutive events of the same kind, source, subjects, layer, severity and day. Events that
/// last stay by themselves, because their end is worth a line.
pub(crate) fn fold(entries: impl IntoIterator<Item = Entry>, day: impl Fn(Timestamp) -> String) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for entry in entries {
        let time = entry.event.time;
        match runs.last_mut() {
            Some(run) if continues(&run.first.event, &entry.event) && day(run.last) == day(time) => {
                run.last = time;
                run.count += 1;
            }
            _ => runs.push(Run { first: entry, last: time, count: 1 }),
        }
    }
    runs
}

fn continues(first: &Event, next: &Event) -> bool {
    let like = |event: &Event| (event.end.is_none(), event.severity, event.kind.clone(), event.source.clone());
    first.end.is_none() && like(first) == like(next) && first.layer == next.layer && first.subjects == next.subjects
}

#[cfg(test)]
mod tests {
    use super::*;
    use ofone::Severity;

    fn entry(seconds: i64, kind: &str) -> Entry {
        let event = Event::new(Timestamp::from_secs(seconds), "radius", kind).subject(Entity::customer("C1"));
        Entry { event, felt: IntervalSet::new(), via: None, shared: false }
    }

    fn folded(entries: Vec<Entry>) -> Vec<(String, usize, i64)> {
        let day = |time: Timestamp| (time.as_nanos() / 86_400_000_000_000).to_string();
        let seconds = |run: &Run| (run.last.as_nanos() - run.first.event.time.as_nanos()) / 1_000_000_000;
        fold(entries, day).iter().map(|run| (run.first.event.kind.to_string(), run.count, seconds(run))).collect()
    }

    #[test]
    fn consecutive_events_of_a_kind_fold_into_one_run() {
        let entries = vec![entry(0, "a"), entry(10, "a"), entry(240, "a"), entry(250, "b"), entry(260, "a")];
        assert_eq!(folded(entries), [("a".into(), 3, 240), ("b".into(), 1, 0), ("a".into(), 1, 0)]);
    }

    #[test]
    fn a_run_ends_with_the_day() {
        assert_eq!(folded(vec![entry(86_399, "a"), entry(86_400, "a")]).len(), 2);
    }

    #[test]
    fn what_differs_in_subject_severity_or_end_stays_apart() {
        let mut other = entry(1, "a");
        other.event = other.event.subject(Entity::customer("C2"));
        assert_eq!(folded(vec![entry(0, "a"), other]).len(), 2);
        let mut worse = entry(1, "a");
        worse.event = worse.event.severity(Severity::ERROR);
        assert_eq!(folded(vec![entry(0, "a"), worse]).len(), 2);
        let mut lasting = entry(0, "a");
        lasting.event = lasting.event.end(Timestamp::from_secs(5));
        assert_eq!(folded(vec![lasting.clone(), lasting]).len(), 2);
    }
}
