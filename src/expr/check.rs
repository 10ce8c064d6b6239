//! Rules for trees that a program made; what was read from text keeps them.

use crate::error::{Error, Result};
use crate::expr::{Did, Expr, Moment, Period, Predicate, Seq, Step, TextTest};
use crate::model::Entity;
use crate::model::limits::EXPR_LEVELS;

impl Expr {
    /// Whether the expression keeps the rules, as every one that was read from text does; one that does
    /// not has no text that reads back.
    ///
    /// # Errors
    /// `Invalid` if it is nested more than 100 deep, a count is 0, a sequence has no step, a bound is
    /// negative or on a first step, a window ends before it begins, a number is not finite, or an
    /// entity is not `type:id`.
    pub fn check(&self) -> Result<()> {
        check(Node::Set(self))
    }
}

impl Predicate {
    /// Whether the predicate keeps the rules.
    ///
    /// # Errors
    /// As [`Expr::check`].
    pub fn check(&self) -> Result<()> {
        check(Node::Test(self))
    }
}

impl Period {
    /// Whether it is known without a clock that it ends before it begins.
    pub(super) fn is_reversed(&self) -> bool {
        match (self.from, self.to) {
            (Some(Moment::At(from)), Some(Moment::At(to))) => from > to,
            (Some(Moment::Ago(from)), Some(Moment::Ago(to))) => from < to,
            _ => false,
        }
    }
}

#[derive(Clone, Copy)]
enum Node<'e> {
    Set(&'e Expr),
    Test(&'e Predicate),
}

/// Without recursion: a tree may be too deep for the stack before it is known to be too deep.
fn check(root: Node<'_>) -> Result<()> {
    let mut left = vec![(root, 1)];
    let mut inside = Vec::new();
    while let Some((node, depth)) = left.pop() {
        if depth > EXPR_LEVELS {
            return Err(Error::invalid(format!("an expression is nested at most {EXPR_LEVELS} deep")));
        }
        match node {
            Node::Set(expr) => check_set(expr, &mut inside)?,
            Node::Test(what) => check_test(what, &mut inside)?,
        }
        left.extend(inside.drain(..).map(|node| (node, depth + 1)));
    }
    Ok(())
}

/// Checks the node alone, and notes those right below it.
fn check_set<'e>(expr: &'e Expr, inside: &mut Vec<Node<'e>>) -> Result<()> {
    match expr {
        Expr::All | Expr::Customers(_) | Expr::Cohort(_) => {}
        Expr::Did(Did { what, at_least, window }) => {
            if *at_least == 0 {
                return Err(Error::invalid("a count is 1 or more"));
            }
            check_window(window)?;
            inside.push(Node::Test(what));
        }
        Expr::Seq(seq) => check_seq(seq, inside)?,
        Expr::Reach(entity, window) => {
            check_window(window)?;
            if entity.kind.contains(':') {
                return Err(not_an_entity(&entity.to_string()));
            }
            check_entity(&entity.to_string())?;
        }
        Expr::And(members) | Expr::Or(members) => inside.extend(members.iter().map(Node::Set)),
        Expr::Not(inner) => inside.push(Node::Set(inner)),
        Expr::Minus(left, right) => inside.extend([Node::Set(left), Node::Set(right)]),
    }
    Ok(())
}

fn check_seq<'e>(seq: &'e Seq, inside: &mut Vec<Node<'e>>) -> Result<()> {
    let Some(first) = seq.steps.first() else { return Err(Error::invalid("a sequence has at least one step")) };
    if first.within.is_some() || !first.without.is_empty() {
        return Err(Error::invalid(
            "nothing comes before the first step of a sequence that could be bound or excluded",
        ));
    }
    let bounds = seq.steps.iter().map(|step| step.within).chain([seq.within]);
    if let Some(nanos) = bounds.flatten().find(|nanos| *nanos < 0) {
        return Err(Error::invalid(format!("a bound of a sequence is 0 or more nanoseconds, got {nanos}")));
    }
    for Step { what, without, .. } in &seq.steps {
        inside.push(Node::Test(what));
        inside.extend(without.iter().map(Node::Test));
    }
    check_window(&seq.window)
}

fn check_test<'e>(what: &'e Predicate, inside: &mut Vec<Node<'e>>) -> Result<()> {
    match what {
        Predicate::Value(_, number) | Predicate::AttributeNumber(_, _, number) if !number.is_finite() => {
            return Err(Error::invalid(format!("a field is compared with a finite number, got {number}")));
        }
        Predicate::On(test) | Predicate::With(test) | Predicate::About(test) => match test {
            TextTest::Is(text) => check_entity(text)?,
            TextTest::OneOf(texts) => texts.iter().try_for_each(|text| check_entity(text))?,
            TextTest::Like(_) => {}
        },
        Predicate::And(members) | Predicate::Or(members) => inside.extend(members.iter().map(Node::Test)),
        Predicate::Not(inner) => inside.push(Node::Test(inner)),
        _ => {}
    }
    Ok(())
}

fn check_window(window: &Period) -> Result<()> {
    if window.is_reversed() { Err(Error::invalid("a window ends before it begins")) } else { Ok(()) }
}

fn check_entity(text: &str) -> Result<()> {
    text.parse::<Entity>().map(|_| ()).map_err(|_| not_an_entity(text))
}

fn not_an_entity(text: &str) -> Error {
    Error::invalid(format!("an entity is written `type:id`, got `{}`", crate::expr::excerpt::shown(text)))
}
