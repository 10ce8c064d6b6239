//! Naive answers about sets of customers, from the streams of the naive database.
//!
//! A set is found by asking of each customer whether they belong; a sequence by going through every choice
//! of events. Nothing is shared with the engine but plain values.

use std::collections::{BTreeMap, BTreeSet};

use ofone::{
    Comparison, Did, Entity, Event, EventName, Expr, Interval, Moment, Period, Predicate, Seq, Severity, Step, Text,
    TextTest, Ties, Timestamp, Value,
};

use crate::model::{DEFAULT_HOPS, Item, Model, Query, glob_matches};

/// Customers, by id.
pub(crate) type Ids = BTreeSet<Text>;

/// The naive database as it answers questions that are asked at one instant.
pub(crate) struct Naive<'a> {
    model: &'a Model,
    now: Timestamp,
    max_hops: usize,
    /// Sets saved under a name.
    saved: BTreeMap<Text, Ids>,
    /// The whole stream of each customer.
    streams: BTreeMap<Text, Vec<Item>>,
}

impl<'a> Naive<'a> {
    /// Questions to `model` at `now`.
    pub(crate) fn new(model: &'a Model, now: Timestamp) -> Naive<'a> {
        Naive::with_hops(model, now, DEFAULT_HOPS)
    }

    /// Questions in which a path has at most `max_hops` links.
    pub(crate) fn with_hops(model: &'a Model, now: Timestamp, max_hops: usize) -> Naive<'a> {
        let stream = |customer: Text| {
            let items = model.stream(&Query { max_hops, ..Query::all(customer.clone()) });
            (customer, items)
        };
        let streams = model.customers().into_iter().map(stream).collect();
        Naive { model, now, max_hops, saved: BTreeMap::new(), streams }
    }

    /// Remembers a set under a name.
    pub(crate) fn save(&mut self, name: impl Into<Text>, customers: Ids) {
        self.saved.insert(name.into(), customers);
    }

    /// Every customer.
    pub(crate) fn customers(&self) -> Ids {
        self.streams.keys().cloned().collect()
    }

    /// Every stored event.
    pub(crate) fn events(&self) -> impl Iterator<Item = &'a Event> {
        self.model.events().iter().map(|stored| &stored.event)
    }

    /// The instant of the question.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// The whole stream of a customer, which must be known.
    pub(crate) fn stream(&self, customer: &Text) -> &[Item] {
        &self.streams[customer]
    }

    /// The customers in a set.
    pub(crate) fn who(&self, expr: &Expr) -> Ids {
        self.streams.keys().filter(|customer| self.is_member(customer, expr)).cloned().collect()
    }

    /// Whether a known customer is in a set.
    pub(crate) fn is_member(&self, customer: &Text, expr: &Expr) -> bool {
        match expr {
            Expr::All => true,
            Expr::Did(did) => self.did(customer, did),
            Expr::Seq(seq) => self.sequence(customer, seq).is_some(),
            Expr::Reach(entity, period) => self.reaches(customer, entity, period),
            Expr::Customers(ids) => ids.contains(customer),
            Expr::Cohort(name) => self.saved.get(name).is_some_and(|saved| saved.contains(customer)),
            Expr::And(all) => all.iter().all(|one| self.is_member(customer, one)),
            Expr::Or(any) => any.iter().any(|one| self.is_member(customer, one)),
            Expr::Not(inner) => !self.is_member(customer, inner),
            Expr::Minus(first, second) => self.is_member(customer, first) && !self.is_member(customer, second),
            _ => unreachable!("the strategy makes no other"),
        }
    }

    fn did(&self, customer: &Text, did: &Did) -> bool {
        self.counted(customer, did).count() >= did.at_least as usize
    }

    /// The events of a customer that count, in order.
    pub(crate) fn counted(&self, customer: &Text, did: &Did) -> impl Iterator<Item = &Item> {
        let window = self.interval(&did.window);
        let in_window = move |item: &&Item| match item.event.end {
            None => window.contains(item.event.time),
            Some(_) => item.felt.iter().any(|part| !part.intersect(&window).is_empty()),
        };
        self.stream(customer).iter().filter(in_window).filter(|item| satisfies(&item.event, &did.what))
    }

    fn reaches(&self, customer: &Text, entity: &Entity, period: &Period) -> bool {
        let window = self.interval(period);
        !window.is_empty() && self.model.reaches(customer, entity, window, self.max_hops)
    }

    /// Places in the customer's stream of the events that win, a step each.
    pub(crate) fn sequence(&self, customer: &Text, seq: &Seq) -> Option<Vec<usize>> {
        let items = self.stream(customer);
        let mut search = Choices { items, seq, window: self.interval(&seq.window), best: None };
        search.extend(&mut Vec::new());
        search.best.map(|(_, places)| places)
    }

    /// The instants of a period.
    pub(crate) fn interval(&self, period: &Period) -> Interval {
        let instant = |moment: Moment| match moment {
            Moment::At(time) => time,
            Moment::Ago(nanos) => Timestamp::from_nanos(self.now.as_nanos().saturating_sub(nanos)),
            _ => unreachable!("an instant is absolute or relative"),
        };
        Interval::new(period.from.map_or(Timestamp::MIN, instant), period.to.map_or(Timestamp::MAX, instant))
    }
}

/// Every choice of different events for the steps of a sequence.
struct Choices<'a> {
    items: &'a [Item],
    seq: &'a Seq,
    window: Interval,
    /// The choice that completes first, then has the earliest events, with the time of its last.
    best: Option<(Timestamp, Vec<usize>)>,
}

impl Choices<'_> {
    fn extend(&mut self, places: &mut Vec<usize>) {
        let Some(step) = self.seq.steps.get(places.len()) else {
            let choice = places.last().map(|&last| (self.items[last].event.time, places.clone()));
            if self.best.is_none() || choice < self.best {
                self.best = choice;
            }
            return;
        };
        for place in 0..self.items.len() {
            if self.fits(step, places, place) {
                places.push(place);
                self.extend(places);
                places.pop();
            }
        }
    }

    /// Whether the event at `place` can be the next after those at `places`.
    fn fits(&self, step: &Step, places: &[usize], place: usize) -> bool {
        let event = &self.items[place].event;
        if places.contains(&place) || !satisfies(event, &step.what) {
            return false;
        }
        let (Some(&first), Some(&last)) = (places.first(), places.last()) else {
            return self.window.contains(event.time);
        };
        let (begin, before) = (&self.items[first].event, &self.items[last].event);
        let in_order = match self.seq.ties {
            Ties::Any => before.time <= event.time,
            Ties::Seq => last < place,
            Ties::None => before.time < event.time,
            _ => unreachable!("three ways to order a tie"),
        };
        in_order
            && self.seq.within.is_none_or(|most| nanos_between(begin, event) <= i128::from(most))
            && step.within.is_none_or(|most| nanos_between(before, event) <= i128::from(most))
            && !(0..self.items.len()).any(|other| self.excludes(step, last, other, place))
    }

    /// Whether the event at `other` lies between two that were chosen, where there must be none like it.
    fn excludes(&self, step: &Step, last: usize, other: usize, place: usize) -> bool {
        let time = |place: usize| self.items[place].event.time;
        let between = match self.seq.ties {
            Ties::Seq => last < other && other < place,
            _ => time(last) < time(other) && time(other) < time(place),
        };
        between && step.without.iter().any(|what| satisfies(&self.items[other].event, what))
    }
}

fn nanos_between(earlier: &Event, later: &Event) -> i128 {
    i128::from(later.time.as_nanos()) - i128::from(earlier.time.as_nanos())
}

/// Whether an event is as `what` says.
pub(crate) fn satisfies(event: &Event, what: &Predicate) -> bool {
    match what {
        Predicate::Any => true,
        Predicate::Kind(test) => reads(&event.kind, test),
        Predicate::Layer(test) => event.layer.as_ref().is_some_and(|layer| reads(layer, test)),
        Predicate::Source(test) => reads(&event.source, test),
        Predicate::Severity(comparison, severity) => severity_compares(event.severity, *comparison, *severity),
        Predicate::Value(comparison, number) => event.value.is_some_and(|value| compares(value, *comparison, *number)),
        Predicate::Attribute(name, test) => attribute(event, name).is_some_and(|value| reads(&value.to_string(), test)),
        Predicate::AttributeNumber(name, comparison, number) => match attribute(event, name) {
            Some(Value::Int(value)) => {
                // The whole part first, then what is behind the point.
                let (whole, behind) = (number.floor() as i128, number.fract() != 0.0);
                let order = i128::from(*value).cmp(&whole);
                let beside = if order.is_eq() && behind { -1.0 } else { f64::from(order as i8) };
                compares(beside, *comparison, 0.0)
            }
            Some(Value::Float(value)) => compares(*value, *comparison, *number),
            _ => false,
        },
        Predicate::HasAttribute(name) => attribute(event, name).is_some(),
        Predicate::On(test) => any_reads(&event.subjects, test),
        Predicate::With(test) => any_reads(&event.context, test),
        Predicate::About(test) => any_reads(&event.subjects, test) || any_reads(&event.context, test),
        Predicate::And(all) => all.iter().all(|one| satisfies(event, one)),
        Predicate::Or(any) => any.iter().any(|one| satisfies(event, one)),
        Predicate::Not(inner) => !satisfies(event, inner),
        _ => unreachable!("the strategy makes no other"),
    }
}

fn attribute<'a>(event: &'a Event, name: &Text) -> Option<&'a Value> {
    event.attributes.iter().find(|(own, _)| own == name).map(|(_, value)| value)
}

fn any_reads(entities: &[Entity], test: &TextTest) -> bool {
    entities.iter().any(|entity| reads(&entity.to_string(), test))
}

fn reads(text: &str, test: &TextTest) -> bool {
    match test {
        TextTest::Is(wanted) => wanted == text,
        TextTest::Like(glob) => glob_matches(glob, text),
        TextTest::OneOf(several) => several.iter().any(|wanted| wanted == text),
        _ => unreachable!("the strategy makes no other"),
    }
}

/// An event without severity has none to compare: it is found by asking for just that.
fn severity_compares(own: Severity, comparison: Comparison, wanted: Severity) -> bool {
    match own == Severity::NONE {
        true => comparison == Comparison::Equal && wanted == Severity::NONE,
        false => compares(f64::from(own.number()), comparison, f64::from(wanted.number())),
    }
}

fn compares(own: f64, comparison: Comparison, wanted: f64) -> bool {
    match comparison {
        Comparison::Less => own < wanted,
        Comparison::AtMost => own <= wanted,
        Comparison::Equal => own == wanted,
        Comparison::AtLeast => own >= wanted,
        Comparison::Greater => own > wanted,
    }
}

/// What names the events of a choice.
pub(crate) fn names(items: &[Item], places: &[usize]) -> Vec<EventName> {
    places.iter().map(|&place| items[place].event.name()).collect()
}

/// Examples worked out by hand.
mod tests {
    use std::time::Duration;

    use ofone::{Outcome, Record};

    use super::*;
    use crate::cohort_counts::Steps;
    use crate::support::{at, event, link};

    fn model(records: impl IntoIterator<Item = Record>) -> Model {
        let mut model = Model::default();
        for record in records {
            assert_eq!(model.apply(&record, 1), Outcome::Inserted, "{record:?}");
        }
        model
    }

    fn of_kind(time: i64, id: &str, kind: &str) -> Event {
        let mut event = event(time, id, "customer:A");
        event.kind = kind.into();
        event
    }

    fn kinds<const N: usize>(kinds: [&str; N]) -> Seq {
        Expr::seq(kinds.map(Predicate::kind))
    }

    /// Ids of the events that win.
    fn winners(naive: &Naive<'_>, seq: &Seq) -> Option<Vec<String>> {
        let items = naive.stream(&"A".into());
        let id = |place: usize| items[place].event.id.as_deref().expect("these examples give ids").to_owned();
        naive.sequence(&"A".into(), seq).map(|places| places.into_iter().map(id).collect())
    }

    #[test]
    fn events_count_through_links_and_each_once() {
        let model = model([
            link("customer:A", "uses", "olt:K").valid_from(at(5)).into(),
            link("customer:B", "uses", "olt:K").valid_to(at(5)).into(),
            event(4, "early", "olt:K").into(),
            event(5, "late", "olt:K").into(),
            event(7, "lasting", "olt:K").end(at(9)).into(),
        ]);
        let naive = Naive::new(&model, at(10));
        let who = |did: Did| naive.who(&did.into()).into_iter().map(|id| id.to_string()).collect::<Vec<_>>();
        let any = || Expr::did(Predicate::Any);
        assert_eq!(who(any()), ["A", "B"]);
        assert_eq!(who(any().at_least(2)), ["A"]);
        assert_eq!(who(any().during(at(4)..at(5))), ["B"]);
        assert_eq!(who(any().during(at(8)..at(9))), ["A"], "a lasting event is there until its end");
        assert_eq!(who(any().during(at(9)..at(10))), Vec::<String>::new());
        assert_eq!(who(any().during(Period::between(Moment::Ago(3), Moment::Ago(2)))), ["A"]);
        let reached = |from, to| naive.who(&Expr::reach(crate::support::entity("olt:K"), at(from)..at(to))).len();
        assert_eq!([reached(0, 5), reached(4, 6), reached(5, 5)], [1, 2, 0]);
    }

    #[test]
    fn a_tie_counts_as_the_sequence_says() {
        let model = model([of_kind(1, "b", "first").into(), of_kind(1, "a", "then").into()]);
        let naive = Naive::new(&model, at(0));
        assert_eq!(winners(&naive, &kinds(["first", "then"])), Some(vec!["b".into(), "a".into()]));
        assert_eq!(winners(&naive, &kinds(["first", "then"]).ties(Ties::Seq)), None);
        assert_eq!(winners(&naive, &kinds(["then", "first"]).ties(Ties::Seq)), Some(vec!["a".into(), "b".into()]));
        assert_eq!(winners(&naive, &kinds(["then", "first"]).ties(Ties::None)), None);
        assert_eq!(winners(&naive, &kinds(["then", "then"])), None, "one event is one step");
    }

    #[test]
    fn of_several_choices_the_earliest_completion_wins_then_the_earliest_events() {
        let times = [(1, "a1", "a"), (2, "a2", "a"), (5, "b1", "b"), (6, "a3", "a"), (7, "b2", "b")];
        let model = model(times.map(|(time, id, kind)| of_kind(time, id, kind).into()));
        let naive = Naive::new(&model, at(0));
        let ab = || kinds(["a", "b"]);
        let nanos = Duration::from_nanos;
        let won = |seq: Seq| winners(&naive, &seq).map(|ids| ids.join(" ")).unwrap_or_default();
        assert_eq!(won(ab()), "a1 b1");
        assert_eq!(won(ab().within(nanos(3))), "a2 b1");
        assert_eq!(won(ab().within(nanos(2))), "a3 b2");
        assert_eq!(won(ab().within(nanos(0))), "");
        assert_eq!(won(ab().during(at(2)..at(6))), "a2 b1", "the first step is in the window");
        assert_eq!(won(ab().during(at(6)..at(7))), "a3 b2", "the others need not be");
        let bounded = Expr::seq([Step::new(Predicate::kind("a")), Step::new(Predicate::kind("a")).within(nanos(1))]);
        assert_eq!(won(bounded.then(Predicate::kind("b"))), "a1 a2 b1");
        let without = Step::new(Predicate::kind("b")).without(Predicate::kind("a"));
        assert_eq!(won(Expr::seq([Predicate::kind("a")]).then(without)), "a2 b1");
    }

    #[test]
    fn what_an_event_lacks_compares_with_nothing() {
        let plain = of_kind(1, "x", "k").attribute("count", 3).attribute("cause", "3");
        let no = |what: Predicate| assert!(!satisfies(&plain, &what), "{what}");
        let yes = |what: Predicate| assert!(satisfies(&plain, &what), "{what}");
        for comparison in [Comparison::Less, Comparison::AtMost, Comparison::AtLeast, Comparison::Greater] {
            no(Predicate::severity(comparison, Severity::NONE));
            no(Predicate::severity(comparison, Severity::INFO));
            no(Predicate::value(comparison, 0.0));
        }
        yes(Predicate::severity(Comparison::Equal, Severity::NONE));
        no(Predicate::layer(TextTest::like("*")));
        yes(Predicate::attribute("count", "3"));
        yes(Predicate::attribute("cause", "3"));
        yes(Predicate::attribute_number("count", Comparison::Equal, 3.0));
        no(Predicate::attribute_number("cause", Comparison::Equal, 3.0));
        no(Predicate::has_attribute("none"));
        yes(Predicate::about(TextTest::like("customer:*")));
        no(Predicate::with("customer:A"));
        yes(Predicate::And(vec![]));
        no(Predicate::Or(vec![]));
    }

    #[test]
    fn a_funnel_takes_ties_in_the_order_of_its_steps_and_no_event_twice() {
        let model = model([of_kind(3, "b", "a").into(), of_kind(3, "a", "b").into(), of_kind(9, "c", "c").into()]);
        let naive = Naive::new(&model, at(0));
        let level = |what: [&str; 3], within: Option<i64>, from: i64| {
            let window = ofone::Window::new(at(from), Timestamp::MAX);
            let steps = Steps { what: what.map(Predicate::kind).to_vec(), within, window };
            steps.reached(&naive, &"A".into()).level
        };
        assert_eq!(level(["a", "b", "c"], None, 0), 3);
        assert_eq!(level(["b", "a", "c"], Some(6), 0), 3);
        assert_eq!(level(["a", "b", "c"], Some(5), 0), 2);
        assert_eq!(level(["a", "a", "c"], None, 0), 1);
        assert_eq!(level(["c", "a", "b"], None, 0), 1);
        assert_eq!(level(["a", "b", "c"], None, 4), 0);
    }
}
