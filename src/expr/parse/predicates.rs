//! Tests of one event.

use crate::error::Result;
use crate::expr::excerpt::shown;
use crate::expr::parse::{Parser, sets};
use crate::expr::token::Token;
use crate::expr::{Comparison, Predicate, TextTest};
use crate::model::{Entity, Severity, Text, did_you_mean};

/// What a test begins with.
const FIELDS: [&str; 11] =
    ["kind", "layer", "source", "severity", "value", "attr.NAME", "on", "with", "about", "has", "any"];

pub(super) const ENTITY: &str = "an entity, `type:id`";

const ATTRIBUTE: &str = "attr.";

/// Severity names with the first number of each; each has four.
const SEVERITIES: [(&str, u8); 6] =
    [("trace", 1), ("debug", 5), ("info", 9), ("warn", 13), ("error", 17), ("fatal", 21)];

/// Whether a test may begin with the word.
pub(super) fn begins_test(word: &str) -> bool {
    FIELDS.contains(&word) || word.starts_with(ATTRIBUTE)
}

/// What a text is compared with.
#[derive(Clone, Copy, PartialEq)]
enum Right {
    Text,
    /// `type:id`.
    Entity,
}

impl Parser<'_> {
    /// A test, beginning with the name of a field.
    pub(in crate::expr) fn test(&mut self) -> Result<Predicate> {
        let Some(word) = self.word() else { return Err(self.expected("a test of an event such as `kind = ..`")) };
        self.height = 1;
        match word {
            "any" => {
                self.next += 1;
                Ok(Predicate::Any)
            }
            "has" => {
                self.next += 1;
                if !self.word().is_some_and(|word| word.starts_with(ATTRIBUTE)) {
                    return Err(self.expected("`attr.NAME` after `has`"));
                }
                self.attribute_name().map(Predicate::HasAttribute)
            }
            "kind" => self.texts(word, Right::Text, Predicate::Kind),
            "layer" => self.texts(word, Right::Text, Predicate::Layer),
            "source" => self.texts(word, Right::Text, Predicate::Source),
            "on" => self.texts(word, Right::Entity, Predicate::On),
            "with" => self.texts(word, Right::Entity, Predicate::With),
            "about" => self.texts(word, Right::Entity, Predicate::About),
            "severity" => self.severity(),
            "value" => self.number_value(),
            _ if word.starts_with(ATTRIBUTE) => self.attribute(),
            _ => Err(self.wrong(&not_a_field(word))),
        }
    }

    /// A field of text and its test.
    fn texts(&mut self, field: &str, right: Right, make: fn(TextTest) -> Predicate) -> Result<Predicate> {
        self.next += 1;
        match self.text_test(right)? {
            Some((test, false)) => Ok(make(test)),
            Some((test, true)) => self.negated(make(test)),
            None => Err(self.expected(&format!("`=`, `!=`, `~`, `!~`, `in` or `not in` after `{field}`"))),
        }
    }

    /// The test that comes next, and whether it must fail; nothing if the next token begins none.
    fn text_test(&mut self, right: Right) -> Result<Option<(TextTest, bool)>> {
        let negated = matches!(self.token(), Token::Symbol("!=" | "!~") | Token::Word("not"));
        let test = match self.token() {
            Token::Symbol("=" | "!=") => {
                self.next += 1;
                TextTest::Is(self.right_side(right)?)
            }
            Token::Symbol("~" | "!~") => {
                self.next += 1;
                TextTest::Like(self.pattern("a pattern")?)
            }
            Token::Word("in" | "not") => {
                self.next += usize::from(negated);
                if !self.eat_word("in") {
                    return Err(self.expected("`in`"));
                }
                TextTest::OneOf(self.values(|parser| parser.right_side(right))?)
            }
            _ => return Ok(None),
        };
        Ok(Some((test, negated)))
    }

    fn right_side(&mut self, right: Right) -> Result<Text> {
        let at = self.at();
        let text = self.value(if right == Right::Entity { ENTITY } else { "a text" })?;
        if right == Right::Entity && text.parse::<Entity>().is_err() {
            let message = format!("an entity is written `type:id`, got `{}`; any type is `~ \"*:..\"`", shown(&text));
            return Err(self.wrong_at(at, &message));
        }
        Ok(text)
    }

    fn negated(&mut self, test: Predicate) -> Result<Predicate> {
        self.raise(self.height)?;
        Ok(Predicate::Not(Box::new(test)))
    }

    fn attribute(&mut self) -> Result<Predicate> {
        let name = self.attribute_name()?;
        match self.text_test(Right::Text)? {
            Some((test, false)) => return Ok(Predicate::Attribute(name, test)),
            Some((test, true)) => return self.negated(Predicate::Attribute(name, test)),
            None => {}
        }
        let comparison = match self.token() {
            Token::Symbol("==") => Comparison::Equal,
            _ => match self.comparison() {
                Some(comparison) => comparison,
                None => {
                    return Err(self.expected(
                        "`=`, `!=`, `~`, `!~`, `in` or `not in` and texts, or `<`, `<=`, `==`, `>=`, `>` and a number",
                    ));
                }
            },
        };
        self.next += 1;
        Ok(Predicate::AttributeNumber(name, comparison, self.number()?))
    }

    /// The name behind `attr.`, which may be quoted.
    fn attribute_name(&mut self) -> Result<Text> {
        let (end, word) = (self.placed().end, self.word().unwrap_or_default());
        self.next += 1;
        let bare = word.strip_prefix(ATTRIBUTE).unwrap_or_default();
        match self.token() {
            _ if !bare.is_empty() => Ok(bare.into()),
            Token::Quoted(name) if self.at() == end => {
                let name = name.clone();
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.wrong_at(end, "expected the name of an attribute right after `attr.`")),
        }
    }

    fn severity(&mut self) -> Result<Predicate> {
        self.next += 1;
        let (comparison, negated) = self.number_comparison("severity")?;
        let (first, last) = self.severity_numbers()?;
        let test = |comparison, number| Predicate::Severity(comparison, number);
        let test = match comparison {
            Comparison::Less | Comparison::AtLeast => test(comparison, first),
            Comparison::AtMost | Comparison::Greater => test(comparison, last),
            Comparison::Equal if first == last => test(comparison, first),
            Comparison::Equal => {
                self.raise(self.height)?;
                Predicate::And(vec![test(Comparison::AtLeast, first), test(Comparison::AtMost, last)])
            }
        };
        if negated { self.negated(test) } else { Ok(test) }
    }

    /// The number, or the first and the last that a name stands for.
    fn severity_numbers(&mut self) -> Result<(Severity, Severity)> {
        const EXPECTED: &str = "a severity: 0 to 24, trace, debug, info, warn, error or fatal";
        let Some(word) = self.word() else { return Err(self.expected(EXPECTED)) };
        let named = SEVERITIES.into_iter().find(|(name, _)| *name == word);
        let (first, last) = match (named, word.parse::<u8>()) {
            (Some((_, first)), _) => (first, first + 3),
            (None, Ok(number)) => (number, number),
            (None, Err(_)) => {
                let close = did_you_mean(word, SEVERITIES.map(|(name, _)| name));
                return Err(match close.is_empty() {
                    true => self.expected(EXPECTED),
                    false => self.wrong(&format!("unknown severity `{}`{close}", shown(word))),
                });
            }
        };
        let number = |number| Severity::new(number).map_err(|error| self.wrong(error.message()));
        let numbers = (number(first)?, number(last)?);
        self.next += 1;
        Ok(numbers)
    }

    fn number_value(&mut self) -> Result<Predicate> {
        self.next += 1;
        let (comparison, negated) = self.number_comparison("value")?;
        let test = Predicate::Value(comparison, self.number()?);
        if negated { self.negated(test) } else { Ok(test) }
    }

    /// Takes a comparison, and tells whether it is `!=`.
    fn number_comparison(&mut self, field: &str) -> Result<(Comparison, bool)> {
        let found = match self.token() {
            Token::Symbol("=" | "==") => (Comparison::Equal, false),
            Token::Symbol("!=") => (Comparison::Equal, true),
            _ => match self.comparison() {
                Some(comparison) => (comparison, false),
                None => return Err(self.expected(&format!("`<`, `<=`, `=`, `!=`, `>=` or `>` after `{field}`"))),
            },
        };
        self.next += 1;
        Ok(found)
    }

    fn comparison(&self) -> Option<Comparison> {
        match self.token() {
            Token::Symbol("<") => Some(Comparison::Less),
            Token::Symbol("<=") => Some(Comparison::AtMost),
            Token::Symbol(">=") => Some(Comparison::AtLeast),
            Token::Symbol(">") => Some(Comparison::Greater),
            _ => None,
        }
    }

    fn number(&mut self) -> Result<f64> {
        let word = self.word();
        let number = word.and_then(|word| word.parse::<f64>().ok()).filter(|number| number.is_finite());
        let Some(number) = number else { return Err(self.expected("a number")) };
        // `1e300` is as near as a float comes, and means that. Digits mean themselves.
        if word.and_then(|word| word.parse::<i128>().ok()).is_some_and(|whole| number as i128 != whole) {
            return Err(self.wrong(
                "more digits than a number holds, which is about 16; an identifier is compared as a text, with `=`",
            ));
        }
        self.next += 1;
        Ok(number)
    }
}

fn not_a_field(word: &str) -> String {
    if matches!(word, "n" | "during" | "since" | "until") || word.starts_with('-') {
        return format!("expected a test of one event, got `{}`; `any` holds for each", shown(word));
    }
    if sets::is_set(word) {
        return format!("`{word}` is about customers; here stands a test of one event such as `kind = ..`");
    }
    let close = match word {
        "subject" | "subjects" => ", did you mean `on`?".to_owned(),
        "context" => ", did you mean `with`?".to_owned(),
        "entity" => ", did you mean `about`?".to_owned(),
        _ => did_you_mean(word, FIELDS),
    };
    let word = shown(word);
    if !close.is_empty() {
        return format!("unknown field `{word}`{close}");
    }
    format!("unknown field `{word}`; there are {}; an attribute is written `attr.NAME`", FIELDS[..9].join(", "))
}
