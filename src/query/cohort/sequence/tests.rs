use super::*;
use proptest::prelude::*;

/// Tries every choice of marks.
fn brute(marks: &[Mark], rules: &Rules) -> Option<Vec<usize>> {
    fn go(marks: &[Mark], rules: &Rules, chosen: &mut Vec<usize>, best: &mut Option<(i64, Vec<usize>)>) {
        let step = chosen.len();
        if step == rules.step_within.len() {
            let (start, end) = (marks[chosen[0]].time, marks[*chosen.last().unwrap()].time);
            if rules.within.is_none_or(|most| end - start <= most) {
                let found = (end, chosen.clone());
                if best.as_ref().is_none_or(|known| found < *known) {
                    *best = Some(found);
                }
            }
            return;
        }
        for (at, mark) in marks.iter().enumerate() {
            if mark.fits >> step & 1 == 0 || chosen.contains(&at) {
                continue;
            }
            let allowed = match chosen.last() {
                None => rules.window.contains(Timestamp::from_nanos(mark.time)),
                Some(&before) => {
                    let (from, to) = ((marks[before].time, before), (mark.time, at));
                    let ordered = match rules.ties {
                        Ties::Any => from.0 <= to.0,
                        Ties::Seq => from.1 < to.1,
                        _ => from.0 < to.0,
                    };
                    let broken = marks.iter().enumerate().any(|(x, mark)| {
                        let between = match rules.ties {
                            Ties::Seq => from.1 < x && x < to.1,
                            _ => from.0 < mark.time && mark.time < to.0,
                        };
                        x != before && x != at && between && mark.breaks >> step & 1 != 0
                    });
                    ordered && !broken && rules.step_within[step].is_none_or(|most| to.0 - from.0 <= most)
                }
            };
            if allowed {
                chosen.push(at);
                go(marks, rules, chosen, best);
                chosen.pop();
            }
        }
    }
    let mut best = None;
    go(marks, rules, &mut Vec::new(), &mut best);
    best.map(|(_, chosen)| chosen)
}

fn any_marks() -> impl Strategy<Value = Vec<Mark>> {
    let breaks = prop_oneof![3 => Just(0u64), 1 => 0u64..16];
    let mark = (0i64..8, 0u64..16, breaks).prop_map(|(time, fits, breaks)| Mark { time, fits, breaks });
    proptest::collection::vec(mark, 0..9).prop_map(|mut marks| {
        marks.sort_by_key(|mark| mark.time);
        marks
    })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let bound = || proptest::option::weighted(0.3, 0i64..5);
    let ties = prop_oneof![2 => Just(Ties::Any), 1 => Just(Ties::Seq), 1 => Just(Ties::None)];
    (proptest::collection::vec(bound(), 1..5), bound(), (0i64..4, 2i64..9), ties).prop_map(
        |(step_within, within, (from, to), ties)| Rules {
            step_within,
            within,
            window: Window::new(Timestamp::from_nanos(from), Timestamp::from_nanos(to)),
            ties,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_winners_are_those_of_trying_everything(marks in any_marks(), rules in any_rules()) {
        let expected = brute(&marks, &rules);
        prop_assert_eq!(occurs(&marks, &rules), expected.is_some());
        prop_assert_eq!(winners(&marks, &rules), expected);
    }

    #[test]
    fn the_level_is_the_longest_prefix_that_occurs(marks in any_marks(), rules in any_rules()) {
        let longest = (1..=rules.step_within.len()).rev().find(|&steps| brute(&marks, &rules.prefix(steps)).is_some());
        let found = level(&marks, &rules);
        prop_assert_eq!(found.map(|(steps, _)| steps), longest);
        if let Some((steps, start)) = found {
            // With only later first steps allowed, that level is not reached.
            let mut later = rules.prefix(steps);
            later.window.from = Timestamp::from_nanos(start);
            prop_assert!(brute(&marks, &later).is_some());
            later.window.from = Timestamp::from_nanos(start + 1);
            prop_assert!(brute(&marks, &later).is_none());
        }
    }
}

fn mark(time: i64, fits: u64, breaks: u64) -> Mark {
    Mark { time, fits, breaks }
}

fn rules(steps: usize, ties: Ties) -> Rules {
    Rules { step_within: vec![None; steps], within: None, window: Window::ALL, ties }
}

#[test]
fn the_tie_rule_decides_between_events_of_one_instant() {
    // The event of the second step comes first in the total order.
    let marks = [mark(5, 0b10, 0), mark(5, 0b01, 0)];
    assert_eq!(winners(&marks, &rules(2, Ties::Any)), Some(vec![1, 0]));
    assert_eq!(winners(&marks, &rules(2, Ties::Seq)), None);
    assert_eq!(winners(&marks, &rules(2, Ties::None)), None);
}

#[test]
fn one_event_serves_one_step_only() {
    assert_eq!(winners(&[mark(5, 0b11, 0)], &rules(2, Ties::Any)), None);
    assert_eq!(winners(&[mark(5, 0b11, 0), mark(5, 0b11, 0)], &rules(2, Ties::Any)), Some(vec![0, 1]));
}

#[test]
fn an_exclusion_looks_strictly_between() {
    let marks = [mark(1, 0b01, 0b10), mark(2, 0, 0b10), mark(3, 0b10, 0b10)];
    assert!(!occurs(&marks, &rules(2, Ties::Any)));
    assert!(occurs(&[marks[0], marks[2]], &rules(2, Ties::Any)));
}

#[test]
fn a_later_start_that_keeps_the_bound_is_found_behind_an_earlier_one() {
    let marks = [mark(0, 0b01, 0), mark(8, 0b01, 0), mark(9, 0b10, 0)];
    let bounded = Rules { within: Some(2), ..rules(2, Ties::Any) };
    assert_eq!(winners(&marks, &bounded), Some(vec![1, 2]));
    assert_eq!(winners(&marks, &rules(2, Ties::Any)), Some(vec![0, 2]));
}

#[test]
fn negative_bounds_and_no_steps_are_never_met() {
    let marks = [mark(0, 0b11, 0), mark(0, 0b11, 0)];
    assert!(!occurs(&marks, &Rules { within: Some(-1), ..rules(1, Ties::Any) }));
    assert!(!occurs(&marks, &Rules { step_within: vec![None, Some(-1)], ..rules(2, Ties::Any) }));
    assert!(!occurs(&marks, &rules(0, Ties::Any)));
}
