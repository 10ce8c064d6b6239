//! JSON of unknown shape, borrowed from its line where that is possible.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::model::Value;

/// One JSON value. An object keeps the order of its keys, which are unique.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// The digits of a whole number beyond the range of `Int`.
    Large(Cow<'a, str>),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// Parses one line, all of it.
    pub(super) fn parse(line: &'a str) -> Result<Node<'a>> {
        let mut node: Node<'_> = serde_json::from_str(line).map_err(|cause| invalid(&cause))?;
        if node.has_large_float() {
            node.restore(&mut numbers(line));
        }
        Ok(node)
    }

    /// Whether there is a float in it that a whole number of too many digits may have become.
    pub(super) fn has_large_float(&self) -> bool {
        match self {
            Node::Float(number) => number.abs() >= BEYOND_INT,
            Node::List(items) => items.iter().any(Node::has_large_float),
            Node::Object(members) => members.iter().any(|(_, node)| node.has_large_float()),
            _ => false,
        }
    }

    /// Gives floats that were whole numbers their digits back. `numbers` are those of the text, in its order.
    fn restore(&mut self, numbers: &mut dyn Iterator<Item = &'a str>) {
        match self {
            Node::Int(_) | Node::Large(_) | Node::Float(_) => {
                let digits = numbers.next().filter(|digits| is_whole(digits));
                if let (Node::Float(_), Some(digits)) = (&*self, digits) {
                    *self = Node::Large(Cow::Borrowed(digits));
                }
            }
            Node::List(items) => items.iter_mut().for_each(|node| node.restore(numbers)),
            Node::Object(members) => members.iter_mut().for_each(|(_, node)| node.restore(numbers)),
            Node::Null | Node::Bool(_) | Node::Text(_) => {}
        }
    }

    /// The member `key` of an object.
    pub(super) fn member(&self, key: &str) -> Option<&Node<'a>> {
        match self {
            Node::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The text of a scalar; `None` for null, lists and objects.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Node::Null | Node::List(_) | Node::Object(_) => return None,
            Node::Bool(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
            Node::Int(number) => Cow::Owned(number.to_string()),
            Node::Large(digits) => Cow::Borrowed(digits),
            Node::Float(number) => Cow::Owned(number.to_string()),
            Node::Text(text) => Cow::Borrowed(text),
        })
    }

    /// The value of an attribute: scalars as they are, lists and objects as JSON text, a whole
    /// number beyond 64 signed bits as the text of its digits; `None` for null.
    pub(super) fn value(&self) -> Option<Value> {
        Some(match self {
            Node::Null => return None,
            Node::Bool(flag) => Value::Bool(*flag),
            Node::Int(number) => Value::Int(*number),
            Node::Large(digits) => Value::from(digits.as_ref()),
            Node::Float(number) => Value::Float(*number),
            Node::Text(text) => Value::from(text.as_ref()),
            Node::List(_) | Node::Object(_) => Value::from(self.to_json()),
        })
    }

    /// Compact JSON text.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a node has text keys and finite numbers only")
    }
}

/// Whole numbers from here on are beyond `i64`, and the parser may make floats of them, which tell them no more apart.
const BEYOND_INT: f64 = 9_223_372_036_854_775_808.0;

/// Whether the text of a number is of digits alone.
fn is_whole(number: &str) -> bool {
    number.strip_prefix('-').unwrap_or(number).bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether an attribute of this value may have been a whole number of too many digits.
pub(super) fn is_large_float(value: &Value) -> bool {
    matches!(value, Value::Float(number) if number.abs() >= BEYOND_INT)
}

/// Whether a whole number is in a text of JSON that 64 bits do not hold, signed or not, and so was read as a float.
pub(super) fn has_large_integer(json: &str) -> bool {
    numbers(json).any(|number| is_whole(number) && number.parse::<i64>().is_err() && number.parse::<u64>().is_err())
}

/// The numbers in a text of JSON, in its order.
fn numbers(json: &str) -> impl Iterator<Item = &str> {
    let bytes = json.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(&byte) = bytes.get(at) {
            let from = at;
            at += 1;
            match byte {
                b'"' => {
                    while let Some(&byte) = bytes.get(at).filter(|&&byte| byte != b'"') {
                        at += if byte == b'\\' { 2 } else { 1 };
                    }
                    at += 1;
                }
                b'-' | b'0'..=b'9' => {
                    let part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                    at += bytes[at..].iter().take_while(|byte| part(byte)).count();
                    return json.get(from..at);
                }
                _ => {}
            }
        }
        None
    })
}

/// The error of a line, with the column: a record is one line, so the line number of the parser,
/// always 1, would mislead.
pub(super) fn invalid(cause: &serde_json::Error) -> Error {
    let text = cause.to_string();
    let what = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    match cause.column() {
        0 => Error::invalid(what),
        column => Error::invalid(format!("{what} at column {column}")),
    }
}

/// A text that occurs more than once, if there is one.
pub(super) fn repeated(mut names: Vec<&str>) -> Option<&str> {
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node<'de>, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node<'de>, E> {
        Ok(Node::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node<'de>, E> {
        Ok(i64::try_from(number).map_or_else(|_| Node::Large(Cow::Owned(number.to_string())), Node::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut members: Vec<(Cow<'de, str>, Node<'de>)> = Vec::new();
        while let Some(key) = map.next_key_seed(Key)? {
            members.push((key, map.next_value()?));
        }
        match repeated(members.iter().map(|(key, _)| key.as_ref()).collect()) {
            Some(key) => Err(serde::de::Error::custom(format_args!("`{key}` is given twice"))),
            None => Ok(Node::Object(members)),
        }
    }
}

/// A key, borrowed unless it has escapes.
pub(super) struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Null => serializer.serialize_unit(),
            Node::Bool(flag) => serializer.serialize_bool(*flag),
            Node::Int(number) => serializer.serialize_i64(*number),
            Node::Large(digits) => {
                let raw = RawValue::from_string(digits.clone().into_owned());
                raw.expect("digits are a number").serialize(serializer)
            }
            Node::Float(number) => serializer.serialize_f64(*number),
            Node::Text(text) => serializer.serialize_str(text),
            Node::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Node::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, node) in members {
                    map.serialize_entry(key, node)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_printed_as_it_was_written_but_compact() {
        let line = r#"{ "a": [1, -2, 3.5, null], "b": {"c": "\u00e9\n"}, "d": 18446744073709551615 }"#;
        assert_eq!(
            Node::parse(line).unwrap().to_json(),
            r#"{"a":[1,-2,3.5,null],"b":{"c":"é\n"},"d":18446744073709551615}"#
        );
    }

    #[test]
    fn whole_numbers_of_any_length_keep_their_digits() {
        let line = r#"{"a\"1":"2","b":[89440000000000000001,1e30,-0.5,{"c":-9223372036854775809}],"d":9223372036854775807,"e":8944000000000000000100000000000000000000000}"#;
        let node = Node::parse(line).unwrap();
        let told = line.replace("1e30", "1e+30");
        assert_eq!(node.to_json(), told);
        let text = |key: &str| node.member(key).and_then(Node::text).unwrap().into_owned();
        assert_eq!(text("d"), "9223372036854775807");
        assert_eq!(text("e"), "8944000000000000000100000000000000000000000");
    }

    #[test]
    fn errors_tell_the_column_and_no_line() {
        let message = |line: &str| Node::parse(line).unwrap_err().message().to_owned();
        assert_eq!(message(r#"{"a":1,"a":2}"#), "`a` is given twice at column 13");
        assert_eq!(message(r#"{"a":1"#), "EOF while parsing an object at column 6");
        assert_eq!(message(r#"{"a":1} x"#), "trailing characters at column 9");
        assert!(message(&"[".repeat(1000)).starts_with("recursion limit exceeded"));
    }
}
