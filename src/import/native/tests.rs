use proptest::prelude::*;

use super::{parse, write};
use crate::model::{Entity, Event, Link, LinkChange, Record, Severity, Text, Timestamp, Value};

fn event(line: &str) -> Event {
    match parse(line).unwrap() {
        Record::Event(event) => event,
        other => panic!("not an event: {other:?}"),
    }
}

fn refusal(line: &str) -> String {
    parse(line).unwrap_err().message().to_owned()
}

#[test]
fn a_full_event_comes_out_field_by_field() {
    let read = event(
        r#"{"time":"2026-01-01T00:00:00.123456Z","end":"2026-01-01T01:00:00+00:30","source":"ran","id":"x-1","seq":7,
            "kind":"call_drop","layer":"network","severity":17,"value":12.5,"customer":"C1","subject":"service:C1/mobile",
            "subjects":["customer:C1","msisdn:+44:7"],"context":["cell:17115"],
            "attrs":{"detail":"a\"b","n":3,"f":1.0,"on":true,"none":null,"http":{"status":503,"h":{}},"list":[1, {"a":"b"}]}}"#,
    );
    let wanted = Event::new(Timestamp::from_micros(1_767_225_600_123_456), "ran", "call_drop")
        .end("2026-01-01T00:30:00Z".parse().unwrap())
        .id("x-1")
        .sequence(7)
        .layer("network")
        .severity(Severity::ERROR)
        .value(12.5)
        .subject(Entity::customer("C1"))
        .subject(Entity::new("service", "C1/mobile"))
        .subject(Entity::new("msisdn", "+44:7"))
        .context(Entity::new("cell", "17115"))
        .attribute("detail", "a\"b")
        .attribute("n", 3)
        .attribute("f", 1.0)
        .attribute("on", true)
        .attribute("http.status", 503)
        .attribute("list", r#"[1,{"a":"b"}]"#);
    assert_eq!(read, wanted);
}

#[test]
fn null_is_the_same_as_absent() {
    let bare = event(r#"{"time":"2026-01-01T00:00:00Z","source":"s","kind":"k"}"#);
    let nulls = event(
        r#"{"time":"2026-01-01T00:00:00Z","source":"s","kind":"k","end":null,"id":null,"layer":null,"severity":null,
            "value":null,"seq":null,"subject":null,"subjects":null,"customer":null,"context":null,"attrs":null}"#,
    );
    assert_eq!(bare, nulls);
}

#[test]
fn link_statements_come_out() {
    let line = r#"{"link":"add","from":"customer:C1","relation":"uses","to":"service:S","valid_from":"2026-01-01T00:00:00Z","source":"crm"}"#;
    let link = Link::new(Entity::customer("C1"), "uses", Entity::new("service", "S"))
        .valid_from(Timestamp::from_secs(1_767_225_600))
        .source("crm");
    assert_eq!(parse(line).unwrap(), link.into());
    assert!(matches!(
        parse(r#"{"at":"2026-01-01T00:00:00Z","from":"a:1","relation":"r","to":"b:1","link":"close"}"#),
        Ok(Record::Link(LinkChange::Close { .. }))
    ));
    assert!(matches!(
        parse(r#"{"link":"retract","from":"a:1","relation":"r","to":"b:1"}"#),
        Ok(Record::Link(LinkChange::Retract { valid_from: None, .. }))
    ));
}

#[test]
fn a_refusal_names_the_field_and_the_close_name() {
    let with =
        |fields: &str| refusal(&format!(r#"{{"time":"2026-01-01T00:00:00Z","source":"s","kind":"k",{fields}}}"#));
    assert_eq!(with(r#""subejct":"a:b""#), "unknown field `subejct`, did you mean `subject`? at column 64");
    assert_eq!(with(r#""colour":1"#), "unknown field `colour` at column 63");
    assert_eq!(with(r#""kind":"k""#), "`kind` is given twice at column 61");
    assert!(with(r#""severity":25"#).starts_with("`severity`: severity is 0 to 24, got 25"));
    assert!(with(r#""severity":-1"#).starts_with("`severity`: invalid value: integer `-1`"));
    assert!(with(r#""end":5"#).starts_with("`end`: invalid type: integer `5`, expected text"));
    assert!(with(r#""end":"2026-01-01T00:00:00""#).starts_with("`end`: not an RFC 3339 time with a zone"));
    assert!(with(r#""subjects":["nobody"]"#).starts_with("`subjects`: an entity is written type:id, got `nobody`"));
    assert!(with(r#""subjects":"a:b""#).contains("expected a list of `type:id`"));
    assert!(with(r#""attrs":{"a":1,"a":2}"#).starts_with("`attrs`: attribute `a` is given twice"));
    assert!(with(r#""attrs":{"a.b":1,"a":{"b":2}}"#).starts_with("`attrs`: attribute `a.b` is given twice"));
    assert!(with(r#""attrs":{"a":18446744073709551615}"#).contains("more than 64 bits"));
    let long = "`attrs`: attribute `a` is a whole number of more than 64 bits, write it as text";
    for number in ["89440000000000000001", "-9223372036854775809", "1e30,\"b\":89440000000000000001"] {
        let told = with(&format!("\"attrs\":{{\"a\":{number}}}"));
        assert!(long.ends_with(&told), "{told}");
    }
    assert!(with(r#""attrs":{"a":[89440000000000000001]}"#).contains("lists a number beyond 64 bits"));
    let far =
        r#"{"time":"2026-01-01T00:00:00Z","source":"s","kind":"k","attrs":{"a":1e30,"b":"89440000000000000001"}}"#;
    assert!(super::parse(far).is_ok(), "a float beyond it is one, and digits in a text are text");
    assert!(with(r#""value":1e999"#).starts_with("`value`: number out of range"));
    assert_eq!(with(r#""from":"a:b""#), "`from` is a field of link statements, and those have `link`");
    assert_eq!(refusal(r#"{"source":"s","kind":"k"}"#), "missing `time`");
    assert_eq!(refusal(r#"{"time":null,"source":"s","kind":"k"}"#), "missing `time`");
    assert_eq!(refusal("[]"), "invalid type: sequence, expected an object");
    let link = |fields: &str| refusal(&format!(r#"{{"from":"a:1","relation":"r","to":"b:1",{fields}}}"#));
    assert_eq!(link(r#""link":"add","kind":"k""#), "`kind` is not a field of an added link");
    assert_eq!(link(r#""link":"close""#), "missing `at`");
    assert!(link(r#""link":"drop""#).starts_with("`link`: `add`, `close` or `retract`, got `drop`"));
}

#[test]
fn nothing_grows_beyond_its_line() {
    let deep = format!(r#"{{"attrs":{}1{}}}"#, r#"{"a":"#.repeat(200), "}".repeat(200));
    assert!(refusal(&deep).contains("recursion limit exceeded"));
    let long = "n".repeat(100_000);
    let many: Vec<String> = (0..10_000).map(|i| format!(r#""{i}":1"#)).collect();
    let many = many.join(",");
    assert!(refusal(&format!(r#"{{"attrs":{{"{long}":{{{many}}}}}}}"#)).contains("longer than 256 bytes"));
    assert!(refusal(&format!(r#"{{"attrs":{{{many}}}}}"#)).contains("more than 256 attributes"));
    let entities: Vec<String> = (0..10_000).map(|i| format!(r#""a:{i}""#)).collect();
    assert!(refusal(&format!(r#"{{"subjects":[{}]}}"#, entities.join(","))).contains("more than 64 subjects"));
}

fn arb_text() -> impl Strategy<Value = Text> {
    prop_oneof!["[a-z_.]{1,12}", "\\PC{1,40}", any::<String>().prop_filter("not empty", |text| !text.is_empty())]
        .prop_map(Text::from)
}

fn arb_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![any::<i64>(), (0..2_000_000_000_i64).prop_map(|second| second * 1_000_000_000)]
        .prop_map(Timestamp::from_nanos)
}

fn arb_entity() -> impl Strategy<Value = Entity> {
    (arb_text(), arb_text()).prop_map(|(kind, id)| Entity::new(kind.replace(':', "_"), id))
}

fn arb_float() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("finite", |number| number.is_finite())
}

fn arb_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<String>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        arb_float().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ]
}

/// Any event: subjects and context without repetition, attributes with unique names.
pub(crate) fn arb_event() -> impl Strategy<Value = Event> {
    let entities = || proptest::collection::btree_set(arb_entity(), 0..4);
    (
        (arb_time(), proptest::option::of(arb_time()), arb_text(), proptest::option::of(arb_text())),
        (arb_text(), proptest::option::of(arb_text()), 0..=24_u8, proptest::option::of(arb_float())),
        (proptest::option::of(any::<u64>()), entities(), entities()),
        proptest::collection::btree_map(arb_text(), arb_value(), 0..5),
    )
        .prop_map(
            |((time, end, source, id), (kind, layer, severity, value), (sequence, subjects, context), attrs)| {
                let mut event = Event::new(time, source, kind).severity(Severity::new(severity).unwrap());
                (event.end, event.id, event.layer, event.value, event.sequence) = (end, id, layer, value, sequence);
                event.subjects.extend(subjects);
                event.context.extend(context);
                event.attributes.extend(attrs);
                event
            },
        )
}

fn arb_link() -> impl Strategy<Value = LinkChange> {
    let ends = (arb_entity(), arb_text(), arb_entity());
    let times = (arb_time(), proptest::option::of(arb_time()), proptest::option::of(arb_time()));
    (ends, times, prop_oneof![Just(Text::default()), arb_text()], 0..3).prop_map(
        |((from, relation, to), (at, valid_from, valid_to), source, statement)| match statement {
            0 => {
                let mut link = Link::new(from, relation, to).source(source);
                (link.valid_from, link.valid_to) = (valid_from, valid_to);
                LinkChange::Add(link)
            }
            1 => LinkChange::Close { from, relation, to, at, source },
            _ => LinkChange::Retract { from, relation, to, valid_from, source },
        },
    )
}

/// Any record that the native format can carry.
pub(crate) fn arb_record() -> impl Strategy<Value = Record> {
    prop_oneof![3 => arb_event().prop_map(Record::from), 1 => arb_link().prop_map(Record::from)]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(record in arb_record()) {
        let line = write(&record);
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(parse(&line).map_err(|e| e.to_string()), Ok(record), "{}", line);
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = parse(&text).is_ok();
    }

    #[test]
    fn no_damage_to_a_line_panics(record in arb_record(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut line = write(&record).into_bytes();
        let at = at.index(line.len());
        line[at] = byte;
        let _ = parse(&String::from_utf8_lossy(&line)).is_ok();
        let _ = parse(&String::from_utf8_lossy(&line[..at])).is_ok();
    }
}
