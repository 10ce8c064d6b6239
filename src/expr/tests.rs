use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::expr::grammar::{expr, predicate, soup};
use crate::model::limits::{EXPR_BYTES, EXPR_LEVELS};
use crate::model::{Entity, Severity, Timestamp, Window};

const HOUR: u64 = 3600;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// What parses comes back from its own text.
fn comes_back(text: &str) {
    if let Ok(expr) = Expr::parse(text) {
        expr.check().unwrap();
        assert_eq!(Expr::parse(&expr.to_string()).unwrap(), expr, "{text}");
    }
    if let Ok(what) = Predicate::parse(text) {
        what.check().unwrap();
        assert_eq!(Predicate::parse(&what.to_string()).unwrap(), what, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_expression_comes_back_from_its_text(expr in expr()) {
        expr.check().unwrap();
        let text = expr.to_string();
        let again = Expr::parse(&text);
        prop_assert!(again.as_ref().is_ok_and(|again| *again == expr), "{}\n{:?}\n{:?}", text, again, expr);
    }

    #[test]
    fn every_predicate_comes_back_from_its_text(what in predicate()) {
        what.check().unwrap();
        let text = what.to_string();
        let again = Predicate::parse(&text);
        prop_assert!(again.as_ref().is_ok_and(|again| *again == what), "{}\n{:?}\n{:?}", text, again, what);
    }

    #[test]
    fn no_text_panics(text in any::<String>(), soup in soup()) {
        comes_back(&text);
        comes_back(&soup);
        comes_back(&format!("did({soup})"));
        comes_back(&format!("seq({soup} -> {soup})"));
        let _ = Expr::parse_in(&soup, "Europe/Paris");
    }

    #[test]
    fn a_text_cut_anywhere_has_an_error_with_a_place(expr in expr(), cut in any::<prop::sample::Index>()) {
        let text = expr.to_string();
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let part = &text[..ends[cut.index(ends.len())]];
        if let Err(error) = Expr::parse(part) {
            prop_assert!(error.message().contains("column"), "{error}");
            prop_assert!(error.message().len() < 1000, "{error}");
        }
    }
}

#[test]
fn each_construct_is_read_and_printed() {
    for (text, canonical) in [
        ("all", "all"),
        ("did(any)", "did(any)"),
        ("did(kind=a,n>=3,-7d)", "did(kind = a, n >= 3, -7d)"),
        ("did(kind = a, -7d, n >= 1)", "did(kind = a, -7d)"),
        ("did(kind = \"a\")", "did(kind = a)"),
        ("did(kind = a, -1d12h)", "did(kind = a, -1d12h)"),
        ("did(kind = a, -90s)", "did(kind = a, -1m30s)"),
        ("did(kind = a, -2w)", "did(kind = a, -14d)"),
        ("did(kind = a, -14d..-7d)", "did(kind = a, -14d..-7d)"),
        ("did(kind = a, -14d .. -7d)", "did(kind = a, -14d..-7d)"),
        ("did(kind = a, -14d ..-7d)", "did(kind = a, -14d..-7d)"),
        ("did(kind = a, -14d.. now)", "did(kind = a, -14d)"),
        ("did(kind = a, now..+7d)", "did(kind = a, now..+7d)"),
        ("did(kind = a, during [-7d, now))", "did(kind = a, -7d)"),
        ("did(kind = a, since -7d)", "did(kind = a, since -7d)"),
        ("did(kind = a, until now)", "did(kind = a, until now)"),
        (
            "did(any, during [2026-01-01T00:00:00+02:00, \"2026-02-01 00:00Z\"))",
            "did(any, during [2025-12-31T22:00:00Z, 2026-02-01T00:00:00Z))",
        ),
        ("did(any, during [2026-01-01T00:00:00Z, now))", "did(any, during [2026-01-01T00:00:00Z, now))"),
        ("seq(kind = a)", "seq(kind = a)"),
        ("seq(kind = a->kind = b)", "seq(kind = a -> kind = b)"),
        (
            "seq(kind = a -> not kind = c -> kind = b, within 48h, -30d, ties none)",
            "seq(kind = a -> not kind = c -> kind = b, within 2d, -30d, ties none)",
        ),
        ("seq(kind = a -> kind = b within 2h, ties any)", "seq(kind = a -> kind = b within 2h)"),
        ("seq(kind = a -> kind = b, ties seq)", "seq(kind = a -> kind = b, ties seq)"),
        ("seq(any -> (not kind = a) -> any)", "seq(any -> kind != a -> any)"),
        ("seq((not (kind = a and value > 1)))", "seq((not (kind = a and value > 1)))"),
        ("seq(any -> (not has attr.x and any))", "seq(any -> (not has attr.x and any))"),
        ("seq(any -> not (any and any) -> not any -> any)", "seq(any -> not (any and any) -> not any -> any)"),
        ("reach(olt:LON-7)", "reach(olt:LON-7)"),
        ("reach(\"olt:LON 7\", -7d)", "reach(\"olt:LON 7\", -7d)"),
        ("customers()", "customers()"),
        ("customers(C1, \"C 2\", \"and\")", "customers(C1, \"C 2\", \"and\")"),
        ("cohort(angry)", "cohort(angry)"),
        ("all and all and all", "all and all and all"),
        ("(all and all) and all", "(all and all) and all"),
        ("all and (all and all)", "all and (all and all)"),
        ("all or all and all", "all or all and all"),
        ("(all or all) and all", "(all or all) and all"),
        ("not all and all", "not all and all"),
        ("not (all and all)", "not (all and all)"),
        ("not not all", "not not all"),
        ("all minus all minus all", "(all minus all) minus all"),
        ("all minus (all minus all)", "all minus (all minus all)"),
        ("all and all minus all and all", "((all and all) minus all) and all"),
        ("all minus all or all", "all minus all or all"),
        ("((all))", "all"),
        ("and()", "and()"),
        ("or(all and all)", "or(all and all)"),
        ("and(all, all)", "all and all"),
        (" all\n\tor all ", "all or all"),
    ] {
        let parsed = Expr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parsed.to_string(), canonical, "{text}");
        comes_back(text);
    }
}

#[test]
fn each_test_of_an_event_is_read_and_printed() {
    for (text, canonical) in [
        ("any", "any"),
        ("kind = call.dropped", "kind = call.dropped"),
        ("kind != call.dropped", "kind != call.dropped"),
        ("not kind = call.dropped", "kind != call.dropped"),
        ("not kind != call.dropped", "not kind != call.dropped"),
        ("kind ~ \"call.*\"", "kind ~ call.*"),
        ("kind !~ call.*", "kind !~ call.*"),
        ("kind = \"call.*\"", "kind = \"call.*\""),
        ("kind in (a, b)", "kind in (a, b)"),
        ("kind not in (a, \"b c\")", "kind not in (a, \"b c\")"),
        ("kind in ()", "kind in ()"),
        ("kind = any", "kind = any"),
        ("kind = \"not\"", "kind = \"not\""),
        ("kind = \"\"", "kind = \"\""),
        (r#"kind = "a\"\\\n\t\u{1f4de}\u{7}""#, "kind = \"a\\\"\\\\\\n\\t📞\\u{7}\""),
        ("kind = Zürich", "kind = \"Zürich\""),
        ("layer = network and source = nms", "layer = network and source = nms"),
        ("severity >= 17", "severity >= 17"),
        ("severity >= error", "severity >= 17"),
        ("severity > error", "severity > 20"),
        ("severity <= error", "severity <= 20"),
        ("severity < error", "severity < 17"),
        ("severity = error", "severity >= 17 and severity <= 20"),
        ("severity != error", "not (severity >= 17 and severity <= 20)"),
        ("severity == 0", "severity = 0"),
        ("severity != 3", "severity != 3"),
        ("value < 0.5", "value < 0.5"),
        ("value = -1e300", "value = -1e300"),
        ("value != 3.0", "value != 3"),
        ("attr.cause = timeout", "attr.cause = timeout"),
        ("attr.cause not in (timeout)", "attr.cause not in (timeout)"),
        ("attr.retries = 3", "attr.retries = 3"),
        ("attr.retries == 3", "attr.retries == 3"),
        ("attr.retries >= 3", "attr.retries >= 3"),
        ("not attr.retries == 3", "not attr.retries == 3"),
        ("attr.a.b:c = x", "attr.a.b:c = x"),
        ("attr.\"odd name\" ~ *x", "attr.\"odd name\" ~ *x"),
        ("attr.\"\" = x", "attr.\"\" = x"),
        ("has attr.cause", "has attr.cause"),
        ("not has attr.\"a b\"", "not has attr.\"a b\""),
        ("on = olt:LON-7", "on = olt:LON-7"),
        ("with ~ cell:*", "with ~ cell:*"),
        ("about in (olt:LON-7, \"olt:LON 8\")", "about in (olt:LON-7, \"olt:LON 8\")"),
        ("any and (any or any) and not any", "any and (any or any) and not any"),
        ("or()", "or()"),
        ("and(any)", "and(any)"),
    ] {
        let parsed = Predicate::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parsed.to_string(), canonical, "{text}");
        comes_back(text);
    }
}

#[test]
fn what_looks_alike_means_what_the_page_says() {
    let parsed = |text: &str| Predicate::parse(text).unwrap();
    assert_eq!(parsed("attr.x = 3"), Predicate::attribute("x", "3"));
    assert_eq!(parsed("attr.x == 3"), Predicate::attribute_number("x", Comparison::Equal, 3.0));
    let held = Predicate::attribute_number("x", Comparison::Equal, -9_007_199_254_740_994.0);
    assert_eq!(parsed("attr.x == -9007199254740994"), held);
    assert_eq!(parsed("any and any or any"), Predicate::Any.and(Predicate::Any).or(Predicate::Any));
    let all = || Expr::All;
    let parsed = |text: &str| Expr::parse(text).unwrap();
    assert_eq!(parsed("all and all minus all"), all().and(all()).minus(all()));
    assert_eq!(parsed("all minus all and all"), all().minus(all()).and(all()));
    assert_eq!(parsed("not all minus all"), all().not().minus(all()));
    assert_eq!(parsed("all or all and all"), all().or(all().and(all())));
    let (a, b) = (Predicate::kind("a"), Predicate::kind("b"));
    let excluded = Step::new(Predicate::Any).without(a.clone()).without(b.clone());
    assert_eq!(
        parsed("seq(any -> not kind = a -> not kind = b -> any)"),
        Expr::seq([Predicate::Any]).then(excluded).into()
    );
    let steps = [Predicate::Any, a.not(), b.not().and(Predicate::Any), Predicate::Any];
    assert_eq!(parsed("seq(any -> (not kind = a) -> (not kind = b and any) -> any)"), Expr::seq(steps).into());
}

#[test]
fn builders_make_what_the_text_says() {
    let dropped = || Predicate::kind_like("call.*").and(Predicate::severity_at_least(Severity::ERROR));
    let olt = Entity::new("olt", "LON-7");
    let placed = Expr::seq([Predicate::kind("order.placed")])
        .then(
            Step::new(Predicate::kind("active"))
                .without(Predicate::kind("cancelled"))
                .within(Duration::from_secs(HOUR)),
        )
        .within(Duration::from_secs(48 * HOUR))
        .during(Window::new(time("2026-01-01T00:00:00Z"), time("2026-02-01T00:00:00Z")))
        .ties(Ties::Seq);
    for (built, text) in [
        (Expr::did(dropped()).into(), "did(kind ~ call.* and severity >= 17)"),
        (Expr::did(dropped()).at_least(3).not(), "not did(kind ~ call.* and severity >= 17, n >= 3)"),
        (
            placed.minus(Expr::customers(["C1", "C 2"])),
            "seq(kind = order.placed -> not kind = cancelled -> kind = active within 1h, within 2d, \
             during [2026-01-01T00:00:00Z, 2026-02-01T00:00:00Z), ties seq) minus customers(C1, \"C 2\")",
        ),
        (Expr::reach(olt.clone(), Period::last_days(7)).or(Expr::cohort("x")), "reach(olt:LON-7, -7d) or cohort(x)"),
        (
            Expr::did(Predicate::on(&olt).or(Predicate::with("cell:1")).or(Predicate::about(TextTest::like("x:*"))))
                .during(Period::between(
                    Moment::ago(Duration::from_secs(HOUR)),
                    Moment::ahead(Duration::from_secs(HOUR)),
                ))
                .and(Expr::All),
            "did(on = olt:LON-7 or with = cell:1 or about ~ x:*, -1h..+1h) and all",
        ),
        (
            Expr::did(Predicate::layer(TextTest::one_of(["a", "b"])).not())
                .during(Period::since(time("2026-01-01T00:00:00Z")))
                .into(),
            "did(layer not in (a, b), since 2026-01-01T00:00:00Z)",
        ),
        (
            Expr::did(
                Predicate::source("x").and(Predicate::value(Comparison::Less, 0.5)).and(Predicate::has_attribute("y")),
            )
            .during(Period::until(Moment::NOW))
            .into(),
            "did(source = x and value < 0.5 and has attr.y, until now)",
        ),
        (Expr::did(Predicate::Any).during(Window::ALL).into(), "did(any)"),
    ] {
        assert_eq!(built.to_string(), text);
        assert_eq!(Expr::parse(text).unwrap(), built);
        built.check().unwrap();
    }
}

#[test]
fn an_error_says_where_what_and_how() {
    for (text, message) in [
        (
            "",
            "column 1: expected a set of customers: `did(..)`, `seq(..)`, `reach(..)`, `customers(..)`, `cohort(..)` or `all`, got the end",
        ),
        ("di(any)", "column 1: unknown set `di`, did you mean `did`?"),
        ("ALL", "column 1: unknown set `ALL`, did you mean `all`?"),
        ("kind = a", "column 1: `kind` is about one event; for customers with such an event write `did(..)`"),
        ("did any", "column 5: expected `(` after `did`, got `any`"),
        ("did(sevrity >= error)", "column 5: unknown field `sevrity`, did you mean `severity`?"),
        ("did(subject = a:b)", "column 5: unknown field `subject`, did you mean `on`?"),
        (
            "did(cause = x)",
            "column 5: unknown field `cause`; there are kind, layer, source, severity, value, attr.NAME, on, with, about; an attribute is written `attr.NAME`",
        ),
        ("did(did(any))", "column 5: `did` is about customers; here stands a test of one event such as `kind = ..`"),
        ("did(kind a)", "column 10: expected `=`, `!=`, `~`, `!~`, `in` or `not in` after `kind`, got `a`"),
        ("did(kind == a)", "column 10: expected `=`, `!=`, `~`, `!~`, `in` or `not in` after `kind`, got `==`"),
        ("did(kind = )", "column 12: expected a text, got `)`"),
        ("did(kind = and layer = x)", "column 12: expected a text, got the word `and`; as a text it is quoted"),
        ("did(kind = call.*)", "column 12: `*` stands for any characters after `~` only; quote it: `\"call.*\"`"),
        ("did(kind = a b)", "column 14: expected `and`, `or`, `,` or `)`, got `b`"),
        ("did(kind = \"a)", "column 12: this quote is never closed"),
        ("did(kind = \"\\x\")", "column 13: unknown escape; there are `\\\"`, `\\\\`, `\\n`, `\\t` and `\\u{1f4de}`"),
        ("did(kind = 'a')", "column 12: unexpected character `'`; texts are quoted with `\"`"),
        ("all && all", "column 5: unexpected character `&`; write `and`"),
        ("did(any", "column 8: expected `and`, `or`, `,` or `)`, got the end"),
        ("did(any))", "column 9: expected `and`, `or`, `minus` or the end, got `)`"),
        ("did(any, n > 3)", "column 12: expected `>=`; fewer than 3 is `not did(.., n >= 3)`, got `>`"),
        ("did(any, n >= 0)", "column 15: a count is 1 or more; for none at all write `not did(..)`"),
        ("did(any, n >= 5000000000)", "column 15: a count is at most 4294967295"),
        ("did(any, n >= 3, n >= 4)", "column 18: a count is given twice"),
        ("did(any, -7d, -8d)", "column 15: a window is given twice"),
        ("did(any, within 2d)", "column 10: expected `n >= ..` or a window such as `-7d`, got `within`"),
        ("did(severity >= eror)", "column 17: unknown severity `eror`, did you mean `error`?"),
        ("did(severity >= 25)", "column 17: severity is 0 to 24, got 25"),
        ("did(severity ~ x)", "column 14: expected `<`, `<=`, `=`, `!=`, `>=` or `>` after `severity`, got `~`"),
        ("did(value < fast)", "column 13: expected a number, got `fast`"),
        ("did(value < inf)", "column 13: expected a number, got `inf`"),
        ("did(attr.x > y)", "column 14: expected a number, got `y`"),
        (
            "did(attr.x == 9007199254740993)",
            "column 15: more digits than a number holds, which is about 16; an identifier is compared as a text, with `=`",
        ),
        ("did(n >= 3)", "column 5: expected a test of one event, got `n`; `any` holds for each"),
        ("did(-7d)", "column 5: expected a test of one event, got `-7d`; `any` holds for each"),
        ("did(attr. = y)", "column 10: expected the name of an attribute right after `attr.`"),
        ("did(has kind)", "column 9: expected `attr.NAME` after `has`, got `kind`"),
        ("did(on = LON-7)", "column 10: an entity is written `type:id`, got `LON-7`; any type is `~ \"*:..\"`"),
        ("did(kind not = a)", "column 14: expected `in`, got `=`"),
        ("reach(LON-7)", "column 7: an entity is written `type:id`, got `LON-7`"),
        (
            "seq(any -> not any and any -> any)",
            "column 20: write `not (.. and ..)` to exclude events between two steps, `(not .. and ..)` for a step",
        ),
        (
            "seq(not any -> any)",
            "column 5: `not ..` excludes events between two steps, and this one stands before the first step; write `(not ..)` for a step",
        ),
        (
            "seq(any -> not any)",
            "column 12: `not ..` excludes events between two steps, and this one stands behind the last step; write `(not ..)` for a step",
        ),
        ("seq(any -> not any within 2h -> any)", "column 20: a bound belongs to a step, not to what is excluded"),
        (
            "seq(any within 2h -> any)",
            "column 9: no step comes before the first one; `, within ..` at the end bounds them all",
        ),
        (
            "seq(any -> any, within 2)",
            "column 24: not a length of time: `2`; write whole numbers with w, d, h, m, s, ms, us or ns, as in `48h` or `1d12h`",
        ),
        (
            "seq(any, within 1mo)",
            "column 17: months and years differ in length: `1mo`; write whole numbers with w, d, h, m, s, ms, us or ns, as in `48h` or `1d12h`",
        ),
        ("seq(any, within 300000d)", "column 17: longer than 292 years: `300000d`"),
        ("seq(any, ties maybe)", "column 15: expected `any`, `seq` or `none`, got `maybe`"),
        ("seq(any, n >= 3)", "column 10: expected `within ..`, `ties ..` or a window such as `-7d`, got `n`"),
        ("did(any, +7d)", "column 10: a window from now on is written `now..+7d`"),
        ("did(any, -7d..-14d)", "column 10: the window ends before it begins"),
        (
            "did(any, -7x)",
            "column 10: not a length of time: `7x`; write whole numbers with w, d, h, m, s, ms, us or ns, as in `48h` or `1d12h`",
        ),
        (
            "did(any, 2026-01-01..2026-01-02)",
            "column 10: `..` joins lengths from now, as in `-14d..-7d`; times are written `during [A, B)`",
        ),
        ("did(any, during [now, now])", "column 26: windows do not include their last instant: end with `)`"),
        (
            "did(any, since 2026-01-01)",
            "column 16: this time has no offset: `2026-01-01`; write it as in `2026-01-01T00:00:00Z`",
        ),
        (
            "did(any, since \"2026-01-01T00:00:00[Asia/Tokyo]\")",
            "column 16: not a time: `2026-01-01T00:00:00[Asia/Tokyo]`; write RFC 3339 as in `2026-01-01T00:00:00Z`, `now`, or a length from now as in `-7d`",
        ),
        (
            "did(any, since yesterday)",
            "column 16: not a time: `yesterday`; write RFC 3339 as in `2026-01-01T00:00:00Z`, `now`, or a length from now as in `-7d`",
        ),
        (
            "did(any, since 1500-01-01T00:00:00Z)",
            "column 16: time outside the years 1677 to 2262: `1500-01-01T00:00:00Z`",
        ),
    ] {
        let error = Expr::parse(text).expect_err(text);
        assert_eq!(error.message().lines().next().unwrap(), message, "{text}");
        assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    }
    let error = Predicate::parse("any minus any").unwrap_err();
    assert_eq!(error.message(), "column 5: expected `and`, `or` or the end, got `minus`\n  any minus any\n      ^");
}

#[test]
fn the_place_is_shown_cut_and_without_what_deceives() {
    let shown = |text: &str| Expr::parse(text).unwrap_err().message().split_once('\n').unwrap().1.to_owned();
    assert_eq!(shown("all\nor\u{a0}did(é = 1)"), "  or·did(é = 1)\n         ^");
    assert_eq!(Expr::parse("all\nor x").unwrap_err().message().split_once(':').unwrap().0, "line 2, column 4");
    assert_eq!(shown("all or \u{202e}"), "  all or ·\n         ^");
    let long = format!("{}oops{}", "all or ".repeat(30), " or all".repeat(30));
    assert_eq!(
        shown(&long),
        format!(
            "  …{}\n{}^",
            "l or all or all or all or all or all or oops or all or all or all or all…",
            " ".repeat(43)
        )
    );
    assert_eq!(shown("all or  "), "  all or\n        ^");
}

#[test]
fn hostile_text_is_refused_in_time() {
    for (open, close) in
        [("(", ")"), ("not ", ""), ("and(", ")"), ("did(", ""), ("all minus (", ")"), ("all or (", ")")]
    {
        let deep = format!("{}all{}", open.repeat(5000), close.repeat(5000));
        let error = Expr::parse(&deep).unwrap_err().to_string();
        assert!(error.contains("nested more than 100 deep") || open == "did(", "{error}");
    }
    for chain in ["all minus ", "all minus all and "] {
        let error = Expr::parse(&format!("{}all", chain.repeat(3000))).unwrap_err().to_string();
        assert!(error.contains("nested more than 100 deep"), "{error}");
    }
    let wide = format!("did({}any)", "any or ".repeat(9000));
    assert_eq!(Expr::parse(&wide).unwrap().to_string(), wide);
    assert!(Expr::parse(&" ".repeat(EXPR_BYTES + 1)).unwrap_err().to_string().contains("at most 65536 bytes"));
    assert!(Expr::parse(&" ".repeat(EXPR_BYTES)).is_err());
    assert!(Expr::parse(&"\"\\u{41}".repeat(9000)).is_err());
}

#[test]
fn the_deepest_trees_come_back_and_deeper_ones_are_no_expressions() {
    let grow: [fn(Expr) -> Expr; 4] =
        [Expr::not, |expr| expr.minus(Expr::All), |expr| Expr::And(vec![Expr::All, expr]), |expr| Expr::Or(vec![expr])];
    let deepest = |grow: fn(Expr) -> Expr, levels: usize| (1..levels).fold(Expr::All, |expr, _| grow(expr));
    for grow in grow {
        let expr = deepest(grow, EXPR_LEVELS);
        expr.check().unwrap();
        assert_eq!(Expr::parse(&expr.to_string()).unwrap(), expr);
        let deeper = deepest(grow, EXPR_LEVELS + 1);
        assert!(deeper.check().is_err());
        assert!(Expr::parse(&deeper.to_string()).is_err());
    }
    let step = (3..EXPR_LEVELS).fold(Predicate::Any, |what, _| Predicate::Or(vec![what.not()]));
    assert!(Expr::from(Expr::seq([step])).check().is_err());
    let step = (3..EXPR_LEVELS).fold(Predicate::Any, |what, _| what.not()).not();
    let seq = Expr::from(Expr::seq([step]));
    seq.check().unwrap();
    assert_eq!(Expr::parse(&seq.to_string()).unwrap(), seq);
    // Not even a tree too deep for recursion takes `check` down.
    let abyss = (0..50_000).fold(Expr::All, |expr, _| expr.not());
    assert!(abyss.check().is_err());
    unwind(abyss);
}

/// Drops a tree of `not` level by level.
fn unwind(mut expr: Expr) {
    while let Expr::Not(inner) = expr {
        expr = *inner;
    }
}

#[test]
fn trees_that_break_a_rule_are_refused() {
    let did = |what: Predicate| Expr::from(Expr::did(what));
    let seconds = Duration::from_secs(1);
    let negative = Seq { within: Some(-1), ..Expr::seq([Predicate::Any]) };
    for broken in [
        Expr::did(Predicate::Any).at_least(0).into(),
        Expr::did(Predicate::Any).during(Period::between(Moment::NOW, Moment::ago(seconds))).into(),
        Expr::did(Predicate::Any).during(Window::new(Timestamp::from_secs(2), Timestamp::from_secs(1))).into(),
        Expr::seq(Vec::<Step>::new()).into(),
        Expr::seq([Step::new(Predicate::Any).within(seconds)]).into(),
        Expr::seq([Step::new(Predicate::Any).without(Predicate::Any)]).into(),
        Expr::Seq(negative),
        Expr::reach(Entity::new("a:b", "c"), Period::all()),
        Expr::reach(Entity::new("a", ""), Period::all()),
        did(Predicate::value(Comparison::Less, f64::NAN)),
        did(Predicate::attribute_number("x", Comparison::Less, f64::INFINITY).not()),
        did(Predicate::on("LON-7")),
        Expr::All.and(Expr::All.minus(did(Predicate::about(TextTest::one_of(["a:b", ":"]))))),
    ] {
        assert!(broken.check().is_err(), "{broken:?}");
    }
}

#[test]
fn plain_times_follow_the_zone() {
    let window = |text: &str, zone: &str| match Expr::parse_in(&format!("reach(a:b, {text})"), zone) {
        Ok(expr) => expr.to_string().trim_start_matches("reach(a:b, ").trim_end_matches(')').to_owned(),
        Err(error) => error.message().lines().next().unwrap_or_default().to_owned(),
    };
    for (text, expected) in [
        ("since 2026-01-05", "since 2026-01-04T23:00:00Z"),
        ("since 2026-07-05", "since 2026-07-04T22:00:00Z"),
        ("since 2026-01-05T14:30", "since 2026-01-05T13:30:00Z"),
        ("since 2026-01-05 14:30:05", "since 2026-01-05T13:30:05Z"),
        ("since \"2026-01-05 14:30\"", "since 2026-01-05T13:30:00Z"),
        ("since 2026-01-05T14:30:00Z", "since 2026-01-05T14:30:00Z"),
        ("since 2026-03-29T02:30", "since 2026-03-29T01:30:00Z"),
        ("until 2026-10-25T02:30", "until 2026-10-25T00:30:00Z"),
        ("during [2026-01-01, 2026-01-02 12:00)", "during [2025-12-31T23:00:00Z, 2026-01-02T11:00:00Z"),
        (
            "since 2026-13-05",
            "column 18: not a time: `2026-13-05`; write RFC 3339 as in `2026-01-01T00:00:00Z`, `now`, or a length from now as in `-7d`",
        ),
        ("since 1500-01-05", "column 18: time outside the years 1677 to 2262: `1500-01-05`"),
    ] {
        assert_eq!(window(text, "Europe/Paris"), expected, "{text}");
    }
    assert!(window("-7d", "Europe/Atlantis").starts_with("unknown zone `Europe/Atlantis`"));
}

#[test]
fn relative_windows_count_from_now() {
    let now = time("2026-01-08T00:00:00Z");
    let window = |period: Period| period.window(now);
    assert_eq!(window(Period::last_days(7)), Window::new(time("2026-01-01T00:00:00Z"), now));
    assert_eq!(window(Period::all()), Window::ALL);
    assert_eq!(window(Period::last(Duration::MAX)).from, Timestamp::from_nanos(now.as_nanos() - i64::MAX));
    let ahead = Period::between(now, Moment::ahead(Duration::from_secs(3600)));
    assert_eq!(window(ahead), Window::new(now, time("2026-01-08T01:00:00Z")));
}

/// Fenced blocks marked `expr` and `predicate`, an example a line.
#[test]
fn examples_of_the_page_are_read() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/query.md")).expect("the page is in the repository");
    let (mut block, mut examples) = ("", 0);
    for line in page.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(name), "") => block = if name.is_empty() { "text" } else { name },
            (Some(_), _) => block = "",
            (None, "expr") => assert!(Expr::parse_in(line, "UTC").map(|_| examples += 1).is_ok(), "{line}"),
            (None, "predicate") => assert!(Predicate::parse(line).map(|_| examples += 1).is_ok(), "{line}"),
            _ => {}
        }
    }
    assert!(examples > 30, "{examples} examples");
}
