use proptest::prelude::*;

use super::Mapping;
use crate::import::json::Node;
use crate::model::{Entity, Event, LinkChange, Record, Severity, Timestamp, Value};

fn mapping(text: &str) -> Mapping {
    Mapping::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn records(mapping: &Mapping, line: &str) -> Vec<Record> {
    let mut records = Vec::new();
    let count = mapping.records(&Node::parse(line).unwrap(), &mut records).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(count, records.len());
    records
}

fn event(text: &str, line: &str) -> Event {
    match records(&mapping(text), line).remove(0) {
        Record::Event(event) => event,
        other => panic!("not an event: {other:?}"),
    }
}

fn refusal(text: &str, line: &str) -> String {
    mapping(text).records(&Node::parse(line).unwrap(), &mut Vec::new()).unwrap_err().message().to_owned()
}

/// What a mapping with this `[event]` section makes of a line.
fn with(event_section: &str) -> String {
    format!("format = \"ndjson\"\n[event]\ntime = \"{{time}}\"\nsource = \"s\"\nkind = \"k\"\n{event_section}")
}

const LINE: &str = r#"{"time":"2026-01-01T00:00:00Z","a":"x","n":7,"f":1.5,"nested":{"b":"y","c":{"d":true}},"d.e":"dotted","gone":null,"empty":"","list":["cell:1",{"id":2},null]}"#;

#[test]
fn every_part_of_an_event_can_be_mapped() {
    let text = r#"
        format = "ndjson"
        [event]
        time = "{time}"
        end = { from = "{stop}", format = "epoch_ms" }
        source = "ran"
        id = "{a}-{n}"
        sequence = "{n}"
        kind = { from = "{a}", map = { x = "ex", y = "why" }, default = "other.{a}" }
        layer = "{nested.b}"
        severity = { from = "{sev}", scale = "syslog" }
        value = "{f}"
        subjects = ["customer:{a}", "service:{a}/{nested.b}", "nobody:{missing}", "customer:{a}"]
        context = [{ each = "cells" }, { each = "numbers", entity = "number:{}" }, { each = "things", entity = "thing:{id}" }, { each = "tags", split = ";", entity = "tag:{}" }]
        attributes = { rest = true, flatten = ["deep"], set = { both = "{a}{n}", whole = "{n}", pointed = "/nested/c/d" }, except = ["gone"], types = { n2 = "float" } }
    "#;
    let text = text.replace("\"/nested/c/d\"", "\"{/nested/c/d}\"");
    let line = r#"{"time":"2026-01-01T00:00:00+01:00","stop":1767225600123,"a":"x","n":7,"f":1.5,"sev":3,"n2":"2","big":18446744073709551615,
        "nested":{"b":"y","c":{"d":true,"e":1}},"deep":{"p":{"q":"r"},"o":""},"gone":"1",
        "cells":["cell:1","cell:2"],"numbers":[1,2,null],"things":[{"id":"z"},{"no":1}],"tags":"t1; t2;"}"#;
    let wanted = Event::new("2025-12-31T23:00:00Z".parse().unwrap(), "ran", "ex")
        .end(Timestamp::from_micros(1_767_225_600_123_000))
        .id("x-7")
        .sequence(7)
        .layer("y")
        .severity(Severity::ERROR)
        .value(1.5)
        .subject(Entity::customer("x"))
        .subject(Entity::new("service", "x/y"))
        .context(Entity::new("cell", "1"))
        .context(Entity::new("cell", "2"))
        .context(Entity::new("number", "1"))
        .context(Entity::new("number", "2"))
        .context(Entity::new("thing", "z"))
        .context(Entity::new("tag", "t1"))
        .context(Entity::new("tag", "t2"))
        .attribute("_sev", "3")
        .attribute("both", "x7")
        .attribute("pointed", true)
        .attribute("whole", 7)
        .attribute("p.q", "r")
        .attribute("n2", 2.0)
        .attribute("big", "18446744073709551615")
        .attribute("nested.c.e", 1);
    assert_eq!(event(&text, line), wanted);
}

#[test]
fn a_field_is_a_name_or_dotted_or_a_pointer() {
    let names = "[\"a\", \"nested.b\", \"d.e\", \"/list/1/id\", \"nothing\"]";
    let attributes = event(&with(&format!("attributes = {names}")), LINE).attributes;
    let texts: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(texts, ["a=x", "nested.b=y", "d.e=dotted", "/list/1/id=2"]);
}

#[test]
fn rest_is_all_that_no_other_part_took() {
    let all = event(&with("id = \"{a}\"\nattributes = \"rest\""), LINE).attributes;
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["n", "f", "nested.b", "nested.c.d", "d.e", "list"]);
    assert_eq!(all[5].1, Value::from(r#"["cell:1",{"id":2},null]"#));
    let twice = with("attributes = { set = { n = \"{a}\" }, rest = true }");
    assert_eq!(refusal(&twice, LINE), "attribute `n` is given twice");
}

#[test]
fn times_come_in_many_formats_but_never_without_a_zone() {
    let time = |rule: &str, text: &str| {
        let mapping = format!("earliest = \"1900-01-01T00:00:00Z\"\n{}", with("").replace("\"{time}\"", rule));
        let line = Node::Object(vec![("time".into(), Node::Text(text.into()))]).to_json();
        let mut records = Vec::new();
        super::Mapping::parse(&mapping).map_err(|error| error.to_string())?;
        super::Mapping::parse(&mapping)
            .unwrap()
            .records(&Node::parse(&line).unwrap(), &mut records)
            .map_err(|error| error.message().to_owned())?;
        match records.remove(0) {
            Record::Event(event) => Ok(event.time.to_string()),
            Record::Link(_) => Err("a link".to_owned()),
        }
    };
    let ok = |text: &str| Ok(text.to_owned());
    assert_eq!(time("\"{time}\"", "2026-07-01T12:00:00+02:00"), ok("2026-07-01T10:00:00Z"));
    assert_eq!(
        time("\"{time}\"", "2026-07-01 12:00:00"),
        Err("`time`: not an RFC 3339 time with a zone: `2026-07-01 12:00:00`".to_owned())
    );
    let local = r#"{ from = "{time}", zone = "Europe/Paris" }"#;
    assert_eq!(time(local, "2026-07-01 12:00:00"), ok("2026-07-01T10:00:00Z"));
    assert_eq!(time(local, "2026-07-01T12:00:00Z"), ok("2026-07-01T12:00:00Z"));
    let pattern = r#"{ from = "{time}", format = "%d/%m/%Y %H:%M", zone = "Europe/Paris" }"#;
    assert_eq!(time(pattern, "31/12/2025 10:00"), ok("2025-12-31T09:00:00Z"));
    assert!(time(pattern, "12/31/2025 10:00").is_err());
    assert_eq!(
        time(r#"{ from = "{time}", format = "%Y-%m-%d", zone = "UTC" }"#, "2025-12-31"),
        ok("2025-12-31T00:00:00Z")
    );
    assert_eq!(
        time(r#"{ from = "{time}", format = "%d-%b-%y %I:%M:%S %p", zone = "UTC" }"#, "22-Apr-15 03:53:50 PM"),
        ok("2015-04-22T15:53:50Z")
    );
    assert_eq!(
        time(r#"{ from = "{time}", format = "%Y%m%d%H%M%S%z" }"#, "20260701120000+0200"),
        ok("2026-07-01T10:00:00Z")
    );
    assert_eq!(time(r#"{ from = "{time}", format = "epoch_s" }"#, "1767225600.5"), ok("2026-01-01T00:00:00.5Z"));
    for (rule, message) in [
        (r#"{ from = "{time}", format = "%d/%m/%Y" }"#, "has no zone"),
        (r#"{ from = "{time}", format = "epoch_s", zone = "UTC" }"#, "a zone of its own"),
        (r#"{ from = "{time}", format = "%H:%M", zone = "UTC" }"#, "unusable format"),
        (r#"{ from = "{time}", format = "%!", zone = "UTC" }"#, "unusable format"),
        (r#"{ from = "{time}", format = "epoch_sm" }"#, "did you mean `epoch_"),
        (r#"{ from = "{time}", zone = "Mars/Base" }"#, "unknown zone `Mars/Base`"),
        (r#""time""#, "the field is \"{time}\""),
        (r#""2026-01-01T00:00:00Z""#, "is the same time for each record"),
    ] {
        let error = time(rule, "x").unwrap_err();
        assert!(error.contains(message) && error.contains("line 4"), "{rule}: {error}");
    }
}

#[test]
fn a_wrong_unit_is_noticed() {
    let text = with("").replace("\"{time}\"", r#"{ from = "{time}", format = "epoch_ms" }"#);
    assert!(refusal(&text, r#"{"time":1767225600}"#).contains("is before `earliest` 2000-01-01T00:00:00Z"));
}

#[test]
fn severities_are_numbers_words_of_a_scale_or_of_a_table() {
    let severity = |rule: &str, value: &str| {
        let line = format!(r#"{{"time":"2026-01-01T00:00:00Z","s":{value}}}"#);
        let mut records = Vec::new();
        mapping(&with(&format!("severity = {rule}")))
            .records(&Node::parse(&line).unwrap(), &mut records)
            .map_err(|error| error.message().to_owned())?;
        match records.remove(0) {
            Record::Event(event) => {
                Ok((event.severity.number(), event.attributes.first().map(|(_, value)| value.to_string())))
            }
            Record::Link(_) => Err("a link".to_owned()),
        }
    };
    assert_eq!(severity("\"{s}\"", "17"), Ok((17, None)));
    assert_eq!(severity("\"9\"", "null"), Ok((9, None)));
    assert_eq!(severity("\"{s}\"", "\"bad\""), Err("severity is a number from 0 to 24, got `bad`".to_owned()));
    let scale = r#"{ from = "{s}", scale = "x733" }"#;
    assert_eq!(severity(scale, "\"MAJOR\""), Ok((18, Some("MAJOR".to_owned()))));
    assert_eq!(severity(scale, "\"huge\""), Err("`huge` is not in the scale of `severity`".to_owned()));
    let map = r#"{ from = "{s}", map = { "1" = 21, "2 - High" = 17 }, default = 9 }"#;
    assert_eq!(severity(map, "1"), Ok((21, Some("1".to_owned()))));
    assert_eq!(severity(map, "\"2 - High\""), Ok((17, Some("2 - High".to_owned()))));
    assert_eq!(severity(map, "3"), Ok((9, Some("3".to_owned()))));
    assert_eq!(severity(map, "null"), Ok((9, None)));
}

#[test]
fn sections_choose_their_records() {
    let text = r#"
        format = "ndjson"
        [[event]]
        when = { type = ["alarm", "ticket"], state = { not = "cleared" } }
        time = "{time}"
        source = "noc"
        kind = "{type}.raised"
        [[event]]
        when = { type = "alarm", state = "cleared" }
        time = "{time}"
        source = "noc"
        kind = "alarm.cleared"
        [[link]]
        when = { parent = { present = true } }
        change = { from = "{op}", map = { c = "add", d = "close" }, default = "add" }
        from = "port:{port}"
        relation = "fed_by"
        to = "olt:{parent}"
        valid_from = "{time}"
        at = "{time}"
        source = "inventory"
    "#;
    let mapping = mapping(text);
    let kinds = |line: &str| -> Vec<String> {
        let kind = |record: Record| match record {
            Record::Event(event) => event.kind.to_string(),
            Record::Link(LinkChange::Add(link)) => format!("add {} {}", link.from, link.to),
            Record::Link(LinkChange::Close { from, at, .. }) => format!("close {from} {at}"),
            Record::Link(LinkChange::Retract { .. }) => "retract".to_owned(),
        };
        records(&mapping, line).into_iter().map(kind).collect()
    };
    assert_eq!(kinds(r#"{"time":"2026-01-01T00:00:00Z","type":"alarm","state":"new"}"#), ["alarm.raised"]);
    assert_eq!(kinds(r#"{"time":"2026-01-01T00:00:00Z","type":"ticket"}"#), ["ticket.raised"]);
    assert_eq!(kinds(r#"{"time":"2026-01-01T00:00:00Z","type":"alarm","state":"cleared"}"#), ["alarm.cleared"]);
    assert_eq!(
        kinds(r#"{"time":"2026-01-01T00:00:00Z","type":"alarm","state":"new","port":"1","parent":"O"}"#),
        ["alarm.raised", "add port:1 olt:O"]
    );
    assert_eq!(
        kinds(r#"{"time":"2026-01-01T00:00:00Z","port":"1","parent":"O","op":"d"}"#),
        ["close port:1 2026-01-01T00:00:00Z"]
    );
    assert_eq!(refusal(text, r#"{"type":"other"}"#), "no section of the mapping is for this record");
    assert_eq!(refusal(text, r#"{"parent":"O"}"#), "missing `from`, which is read from `port:{port}`");
    let skipping = Mapping::parse(&format!("unmatched = \"skip\"\n{text}")).unwrap();
    assert_eq!(skipping.records(&Node::parse(r#"{"type":"other"}"#).unwrap(), &mut Vec::new()).ok(), Some(0));
}

#[test]
fn a_refusal_tells_what_was_read_from_where() {
    assert_eq!(refusal(&with(""), r#"{"time":null}"#), "missing `time`, which is read from `{time}`");
    assert_eq!(
        refusal(&with("").replace("\"k\"", "\"{list}\""), LINE),
        "field `list` is a list or an object, not a text"
    );
    assert_eq!(refusal(&with("value = \"{a}\""), LINE), "`value`: expected a number, got `x`");
    assert_eq!(refusal(&with("sequence = \"{f}\""), LINE), "`sequence`: expected a whole number, got `1.5`");
    assert_eq!(refusal(&with("value = \"inf\""), LINE), "`value` is not finite");
    assert_eq!(refusal(&with("subjects = \"{a}\""), LINE), "an entity is written type:id, got `x`");
    assert_eq!(
        refusal(&with("layer = { from = \"{a}\", map = { y = \"z\" } }"), LINE),
        "`x` is not in the map of `layer`"
    );
    assert_eq!(
        refusal(&with("attributes = { rest = true, types = { a = \"int\" } }"), LINE),
        "attribute `a`: expected a whole number, got `x`"
    );
    assert!(refusal(&with("subjects = \"msisdn:8.46E+10\""), LINE).contains("spreadsheet"));
    let composite = with("subjects = \"service:{a}/mobile\"");
    assert!(refusal(&composite, &LINE.replace("\"x\"", "\"4.47912E+11\"")).contains("`4.47912E+11`"));
    let typed = with("attributes = { set = { a = \"{n}.{a}\" }, types = { a = \"float\" } }");
    assert_eq!(refusal(&typed, LINE), "attribute `a`: expected a number, got `7.x`");
    assert_eq!(event(&typed, &LINE.replace("\"x\"", "\"25\"")).attributes[0].1, Value::Float(7.25));
    assert_eq!(refusal(&with(""), "[1]"), "not a JSON object");
}

#[test]
fn a_mistake_in_the_mapping_names_line_and_key() {
    for (section, wanted) in [
        ("kidn = \"k\"", "invalid: unknown key `kidn`, did you mean `kind`? (line 6, key `event.kidn`)"),
        (
            "layer = \"layer\"",
            "invalid: a text without braces stands for itself; the field is \"{layer}\" (line 6, key `event.layer`)",
        ),
        (
            "layer = \"{a\"",
            "invalid: a `{` is not closed; a brace that stands for itself is doubled (line 6, key `event.layer`)",
        ),
        (
            "layer = \"a}\"",
            "invalid: a `}` without `{`; a brace that stands for itself is doubled (line 6, key `event.layer`)",
        ),
        (
            "layer = { from = \"a\" }",
            "invalid: `a` has no field; a field is written \"{name}\" (line 6, key `event.layer.from`)",
        ),
        (
            "layer = { fron = \"{a}\" }",
            "invalid: unknown key `fron`, did you mean `from`? (line 6, key `event.layer.fron`)",
        ),
        ("layer = 5", "invalid: expected text (line 6, key `event.layer`)"),
        (
            "layer = { from = \"{a}\", map = { x = \"{n}\" } }",
            "invalid: what a `map` gives has no fields (line 6, key `event.layer.map.x`)",
        ),
        (
            "end = { from = \"{a}\", format = \"%s.%f\" }",
            "invalid: `%s` reads no fraction; `epoch_s` does (line 6, key `event.end.format`)",
        ),
        (
            "severity = { from = \"{a}\", scale = \"x734\" }",
            "invalid: unknown scale `x734`, did you mean `x733`?: otel, syslog, x733, tmf621, deployment, http (line 6, key `event.severity.scale`)",
        ),
        (
            "severity = { from = \"{a}\", map = { x = 25 } }",
            "invalid: severity is 0 to 24, got 25 (line 6, key `event.severity.map.x`)",
        ),
        (
            "subjects = [\"nobody\"]",
            "invalid: an entity is written type:id, got `nobody` (line 6, key `event.subjects`)",
        ),
        ("attributes = \"all\"", "invalid: `rest`, a list of fields, or a table (line 6, key `event.attributes`)"),
        (
            "when = { a = { presnt = true } }",
            "invalid: a value, a list of values, { not = .. } or { present = .. }; a name with dots is quoted (line 6, key `event.when.a`)",
        ),
        ("\n[lnik]", "invalid: unknown key `lnik`, did you mean `link`? (line 7, key `lnik`)"),
        ("[link]\nfrom = \"a:{b}\"\nrelation = \"r\"", "invalid: missing key `to` (line 6, key `link`)"),
        ("x = ", "line 6"),
    ] {
        let error = Mapping::parse(&with(section)).unwrap_err().to_string();
        assert!(
            error == wanted || (wanted == "line 6" && error.contains(wanted)),
            "{section}\n got {error}\nwant {wanted}"
        );
    }
    let error = |text: &str| Mapping::parse(text).unwrap_err().to_string();
    assert_eq!(error("format = \"ndjson\""), "invalid: a mapping has an [event] or a [link] section");
    assert_eq!(
        error("fromat = \"ndjson\""),
        "invalid: unknown key `fromat`, did you mean `format`? (line 1, key `fromat`)"
    );
    assert_eq!(
        error("format = \"csv\"\nheader = false"),
        "invalid: without a header, `columns` names the columns (line 1, key `format`)"
    );
}

#[test]
fn braces_can_stand_for_themselves() {
    assert_eq!(event(&with("id = \"{{{a}}}\""), LINE).id.unwrap(), "{x}");
}

#[test]
fn the_examples_of_the_documentation_compile() {
    let text = include_str!("../../../docs/feeds.md");
    let examples = text.split("```toml\n").skip(1).filter_map(|block| block.split("```").next());
    let whole: Vec<&str> =
        examples.filter(|text| text.contains("\n[event]\n") || text.contains("\n[link]\n")).collect();
    assert_eq!(whole.len(), 3);
    for text in whole {
        mapping(text);
    }
}

#[test]
fn the_mappings_of_the_real_logs_make_what_they_say() {
    let line = r#"{"seq": 1, "id": "sn-1", "time": "2016-02-29T01:23:00Z", "customer": "Caller 2403", "case": "INC45",
        "kind": "New", "service": "Category 55", "layer": "desk", "source": "Phone", "severity": 3,
        "objects": ["incident:INC45", "group:G 56"], "attrs": {"priority": "3 - Moderate"}}"#;
    let base = || {
        Event::new("2016-02-29T01:23:00Z".parse().unwrap(), "Phone", "New")
            .id("sn-1")
            .sequence(1)
            .layer("desk")
            .severity(Severity::WARN)
            .attribute("_sev", "3")
            .attribute("priority", "3 - Moderate")
            .attribute("service", "Category 55")
    };
    let (customer, case) = (Entity::customer("Caller 2403"), Entity::new("case", "INC45"));
    let (incident, group) = (Entity::new("incident", "INC45"), Entity::new("group", "G 56"));
    assert_eq!(
        event(include_str!("../../../tests/real_data/events-by-customer.toml"), line),
        base().subject(customer.clone()).context(incident.clone()).context(group.clone()).context(case.clone())
    );
    assert_eq!(
        event(include_str!("../../../tests/real_data/events-by-objects.toml"), line),
        base().subject(incident).subject(group).context(customer).context(case)
    );
    let link = r#"{"from":"customer:C","to":"incident:I","type":"raised","valid_from":"2016-02-29T01:23:00Z"}"#;
    let links = records(&mapping(include_str!("../../../tests/real_data/links.toml")), link);
    assert!(
        matches!(&links[0], Record::Link(LinkChange::Add(link)) if link.relation == "raised" && link.valid_to.is_none())
    );
}

proptest! {
    #[test]
    fn no_mapping_text_panics(text in any::<String>(), section in "[a-z =\"{}\\[\\]\n.,%]{0,60}") {
        let _ = Mapping::parse(&text).is_ok();
        let _ = Mapping::parse(&with(&section)).is_ok();
    }
}
