use super::*;

#[test]
fn an_absent_severity_is_found_by_zero_alone() {
    use Comparison::{AtLeast, AtMost, Equal, Greater, Less};
    for comparison in [Less, AtMost, Equal, AtLeast, Greater] {
        for than in [0, 9, 24] {
            assert_eq!(severity_fits(comparison, 0, than), comparison == Equal && than == 0, "{comparison:?} {than}");
        }
    }
    assert!(severity_fits(AtLeast, 9, 0) && severity_fits(Less, 8, 9) && !severity_fits(Equal, 8, 0));
}

#[test]
fn whole_numbers_and_floats_compare_exactly() {
    let large = 1i64 << 53;
    for (whole, float, order) in [
        (3, 3.0, Some(Ordering::Equal)),
        (3, 3.5, Some(Ordering::Less)),
        (-1, -1.5, Some(Ordering::Greater)),
        (-2, -1.5, Some(Ordering::Less)),
        (0, -0.0, Some(Ordering::Equal)),
        (-3, -3.0, Some(Ordering::Equal)),
        (large + 1, large as f64, Some(Ordering::Greater)),
        (i64::MAX, 9_223_372_036_854_775_808.0, Some(Ordering::Less)),
        (i64::MIN, -9_223_372_036_854_775_808.0, Some(Ordering::Equal)),
        (i64::MIN, f64::NEG_INFINITY, Some(Ordering::Greater)),
        (0, f64::INFINITY, Some(Ordering::Less)),
        (0, f64::NAN, None),
    ] {
        assert_eq!(compare_whole(whole, float), order, "{whole} and {float}");
    }
}

#[test]
fn severities_that_cannot_do_are_told_before_an_event_is_read() {
    let at_least = |number| Test::Severity(Comparison::AtLeast, number);
    let value = Test::Value(Comparison::Less, 1.0);
    let bits = |range: std::ops::RangeInclusive<u32>| range.fold(0u32, |all, bit| all | 1 << bit);
    assert_eq!(at_least(17).severities(), bits(17..=24));
    assert_eq!(Test::All(vec![at_least(17), value.clone()]).severities(), bits(17..=24));
    assert_eq!(Test::Any(vec![at_least(17), value.clone()]).severities(), ALL_SEVERITIES);
    assert_eq!(Test::Not(Box::new(at_least(17))).severities(), bits(0..=16));
    assert_eq!(Test::Not(Box::new(Test::Any(vec![at_least(17), value]))).severities(), bits(0..=16));
}
