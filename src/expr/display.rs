//! Trees to canonical text, which reads back as the very same tree.
//!
//! Members of a list that would otherwise be taken for something else stand in parentheses, and so do
//! `and` and `minus` beside each other, for the eye. A list of fewer than two members, which only a
//! program makes, is written `and()`, `or(x)`.

use std::fmt::{self, Display, Formatter, Write};

use crate::expr::algebra::{Algebra, Shape};
use crate::expr::parse::UNITS;
use crate::expr::token::{RESERVED, is_bare};
use crate::expr::{Comparison, Did, Expr, Moment, Period, Predicate, Seq, Step, TextTest, Ties};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        tree(self, f)
    }
}

impl Display for Predicate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        tree(self, f)
    }
}

/// How tightly a text holds together.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Bond {
    Or,
    AndMinus,
    Tight,
}

fn bond<T: Algebra>(node: &T) -> Bond {
    match node.shape() {
        Shape::Or([_, _, ..]) => Bond::Or,
        Shape::And([_, _, ..]) | Shape::Minus(..) => Bond::AndMinus,
        _ => Bond::Tight,
    }
}

fn tree<T: Algebra>(node: &T, f: &mut Formatter<'_>) -> fmt::Result {
    match node.shape() {
        Shape::And(members @ [_, _, ..]) => joined(members, " and ", Bond::Tight, f),
        Shape::Or(members @ [_, _, ..]) => joined(members, " or ", Bond::AndMinus, f),
        Shape::And(members) => listed("and", members, f),
        Shape::Or(members) => listed("or", members, f),
        Shape::Not(inner) => {
            f.write_str("not ")?;
            member(inner, Bond::Tight, f)
        }
        Shape::Minus(left, right) => {
            member(left, Bond::Tight, f)?;
            f.write_str(" minus ")?;
            member(right, Bond::Tight, f)
        }
        Shape::Leaf => node.write_leaf(f),
    }
}

/// A part of a larger tree, in parentheses if it holds together less than `least`.
fn member<T: Algebra>(node: &T, least: Bond, f: &mut Formatter<'_>) -> fmt::Result {
    if bond(node) >= least {
        return tree(node, f);
    }
    f.write_char('(')?;
    tree(node, f)?;
    f.write_char(')')
}

fn joined<T: Algebra>(members: &[T], operator: &str, least: Bond, f: &mut Formatter<'_>) -> fmt::Result {
    for (index, node) in members.iter().enumerate() {
        if index > 0 {
            f.write_str(operator)?;
        }
        member(node, least, f)?;
    }
    Ok(())
}

fn listed<T: Algebra>(name: &str, members: &[T], f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{name}(")?;
    members.iter().try_for_each(|node| tree(node, f))?;
    f.write_char(')')
}

/// An expression that none of the operators makes.
pub(super) fn set(expr: &Expr, f: &mut Formatter<'_>) -> fmt::Result {
    match expr {
        Expr::Did(did) => Display::fmt(did, f),
        Expr::Seq(seq) => Display::fmt(seq, f),
        Expr::Reach(entity, window) => {
            write!(f, "reach({}", Quoted(&entity.to_string()))?;
            window_option(*window, f)?;
            f.write_char(')')
        }
        Expr::Customers(ids) => {
            f.write_str("customers")?;
            texts(ids, f)
        }
        Expr::Cohort(name) => write!(f, "cohort({})", Quoted(name)),
        Expr::All | Expr::And(_) | Expr::Or(_) | Expr::Not(_) | Expr::Minus(..) => f.write_str("all"),
    }
}

impl Display for Did {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "did({}", self.what)?;
        if self.at_least != 1 {
            write!(f, ", n >= {}", self.at_least)?;
        }
        window_option(self.window, f)?;
        f.write_char(')')
    }
}

impl Display for Seq {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("seq(")?;
        for (index, step) in self.steps.iter().enumerate() {
            if index > 0 {
                f.write_str(" -> ")?;
            }
            write!(f, "{step}")?;
        }
        if let Some(nanos) = self.within {
            write!(f, ", within {}", Length(nanos))?;
        }
        window_option(self.window, f)?;
        match self.ties {
            Ties::Any => {}
            Ties::Seq => f.write_str(", ties seq")?,
            Ties::None => f.write_str(", ties none")?,
        }
        f.write_char(')')
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for excluded in &self.without {
            f.write_str("not ")?;
            member(excluded, Bond::Tight, f)?;
            f.write_str(" -> ")?;
        }
        if begins_with_not(&self.what) {
            write!(f, "({})", self.what)?;
        } else {
            write!(f, "{}", self.what)?;
        }
        match self.within {
            Some(nanos) => write!(f, " within {}", Length(nanos)),
            None => Ok(()),
        }
    }
}

/// Whether the text of a step would be taken for an exclusion.
fn begins_with_not(what: &Predicate) -> bool {
    match what.shape() {
        Shape::Not(_) => true,
        Shape::And([first, _, ..]) => bond(first) == Bond::Tight && begins_with_not(first),
        Shape::Or([first, _, ..]) => bond(first) >= Bond::AndMinus && begins_with_not(first),
        _ => false,
    }
}

impl Predicate {
    /// Whether `not` of this is written within it, as in `kind != x`.
    pub(super) fn has_own_negation(&self) -> bool {
        use Comparison::Equal;
        use Predicate::{About, Attribute, Kind, Layer, On, Severity, Source, Value, With};
        let is_text = matches!(self, Kind(_) | Layer(_) | Source(_) | Attribute(..) | On(_) | With(_) | About(_));
        is_text || matches!(self, Severity(Equal, _) | Value(Equal, _))
    }
}

/// A predicate that none of the operators makes, or `not` of one that has its own negation.
pub(super) fn test(what: &Predicate, f: &mut Formatter<'_>) -> fmt::Result {
    match what {
        Predicate::Not(inner) => field(inner, true, f),
        _ => field(what, false, f),
    }
}

fn field(what: &Predicate, negated: bool, f: &mut Formatter<'_>) -> fmt::Result {
    let equal = if negated { "!=" } else { "=" };
    match what {
        Predicate::Kind(test) => text_test("kind", test, negated, f),
        Predicate::Layer(test) => text_test("layer", test, negated, f),
        Predicate::Source(test) => text_test("source", test, negated, f),
        Predicate::On(test) => text_test("on", test, negated, f),
        Predicate::With(test) => text_test("with", test, negated, f),
        Predicate::About(test) => text_test("about", test, negated, f),
        Predicate::Attribute(name, test) => text_test(&Attribute(name).to_string(), test, negated, f),
        Predicate::Severity(comparison, severity) => {
            write!(f, "severity {} {severity}", comparison.sign().unwrap_or(equal))
        }
        Predicate::Value(comparison, number) => {
            write!(f, "value {} {}", comparison.sign().unwrap_or(equal), Number(*number))
        }
        Predicate::AttributeNumber(name, comparison, number) => {
            write!(f, "{} {} {}", Attribute(name), comparison.sign().unwrap_or("=="), Number(*number))
        }
        Predicate::HasAttribute(name) => write!(f, "has {}", Attribute(name)),
        Predicate::Any | Predicate::And(_) | Predicate::Or(_) | Predicate::Not(_) => f.write_str("any"),
    }
}

fn text_test(field: &str, test: &TextTest, negated: bool, f: &mut Formatter<'_>) -> fmt::Result {
    match (test, negated) {
        (TextTest::Is(text), false) => write!(f, "{field} = {}", Quoted(text)),
        (TextTest::Is(text), true) => write!(f, "{field} != {}", Quoted(text)),
        (TextTest::Like(pattern), false) => write!(f, "{field} ~ {}", Pattern(pattern)),
        (TextTest::Like(pattern), true) => write!(f, "{field} !~ {}", Pattern(pattern)),
        (TextTest::OneOf(values), _) => {
            write!(f, "{field} {}in ", if negated { "not " } else { "" })?;
            texts(values, f)
        }
    }
}

fn texts<T: AsRef<str>>(values: &[T], f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('(')?;
    for (index, text) in values.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        write!(f, "{comma}{}", Quoted(text.as_ref()))?;
    }
    f.write_char(')')
}

impl Comparison {
    /// The sign, but for equality, which each field writes its own way.
    fn sign(self) -> Option<&'static str> {
        match self {
            Comparison::Less => Some("<"),
            Comparison::AtMost => Some("<="),
            Comparison::Equal => None,
            Comparison::AtLeast => Some(">="),
            Comparison::Greater => Some(">"),
        }
    }
}

/// `, -7d`, or nothing for all of time.
fn window_option(window: Period, f: &mut Formatter<'_>) -> fmt::Result {
    match (window.from, window.to) {
        (None, None) => Ok(()),
        (Some(from), None) => write!(f, ", since {from}"),
        (None, Some(to)) => write!(f, ", until {to}"),
        (Some(from @ Moment::Ago(1..)), Some(Moment::Ago(0))) => write!(f, ", {from}"),
        (Some(from @ Moment::Ago(_)), Some(to @ Moment::Ago(_))) => write!(f, ", {from}..{to}"),
        (Some(from), Some(to)) => write!(f, ", during [{from}, {to})"),
    }
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Moment::At(time) => Display::fmt(time, f),
            Moment::Ago(0) => f.write_str("now"),
            Moment::Ago(nanos @ 1..) => write!(f, "-{}", Length(*nanos)),
            Moment::Ago(nanos) => write!(f, "+{}", Length(*nanos)),
        }
    }
}

/// The size of a length of time, in units of days and less.
struct Length(i64);

impl Display for Length {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.unsigned_abs();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, nanos) in UNITS.into_iter().skip(1) {
            if rest >= nanos {
                write!(f, "{}{unit}", rest / nanos)?;
                rest %= nanos;
            }
        }
        Ok(())
    }
}

/// A number, short also when it is very large or small.
struct Number(f64);

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if size == 0.0 || (1e-5..1e16).contains(&size) {
            Display::fmt(&self.0, f)
        } else {
            fmt::LowerExp::fmt(&self.0, f)
        }
    }
}

/// `attr.cause`, `attr."odd name"`.
struct Attribute<'a>(&'a str);

impl Display for Attribute<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("attr.")?;
        if is_bare(self.0) { f.write_str(self.0) } else { quote(self.0, f) }
    }
}

/// A text that is taken as it is.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.contains('*') { quote(self.0, f) } else { Pattern(self.0).fmt(f) }
    }
}

/// A text in which `*` stands for any characters.
struct Pattern<'a>(&'a str);

impl Display for Pattern<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if is_bare(self.0) && !RESERVED.contains(&self.0) { f.write_str(self.0) } else { quote(self.0, f) }
    }
}

fn quote(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            _ if character.is_control() => write!(f, "{}", character.escape_unicode())?,
            _ => f.write_char(character)?,
        }
    }
    f.write_char('"')
}
