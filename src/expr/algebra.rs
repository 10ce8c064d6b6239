//! What sets of customers and tests of events have in common: `and`, `or`, `not` and parentheses.

use std::fmt;

use crate::error::Result;
use crate::expr::parse::Parser;
use crate::expr::{Expr, Predicate, display};

/// How a node is put together.
pub(super) enum Shape<'a, T> {
    And(&'a [T]),
    Or(&'a [T]),
    Not(&'a T),
    Minus(&'a T, &'a T),
    /// By none of the operators; its text needs no parentheses anywhere.
    Leaf,
}

/// A kind of tree with those operators. Reading and printing them is written once, over this.
pub(super) trait Algebra: Sized {
    /// Whether there is `minus`.
    const HAS_MINUS: bool;

    fn shape(&self) -> Shape<'_, Self>;
    fn all_of(members: Vec<Self>) -> Self;
    fn any_of(members: Vec<Self>) -> Self;
    fn inverse(self) -> Self;
    fn difference(self, other: Self) -> Self;
    fn read_leaf(parser: &mut Parser<'_>) -> Result<Self>;
    fn write_leaf(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl Algebra for Expr {
    const HAS_MINUS: bool = true;

    fn shape(&self) -> Shape<'_, Expr> {
        match self {
            Expr::And(members) => Shape::And(members),
            Expr::Or(members) => Shape::Or(members),
            Expr::Not(inner) => Shape::Not(inner),
            Expr::Minus(left, right) => Shape::Minus(left, right),
            _ => Shape::Leaf,
        }
    }

    fn all_of(members: Vec<Expr>) -> Expr {
        Expr::And(members)
    }

    fn any_of(members: Vec<Expr>) -> Expr {
        Expr::Or(members)
    }

    fn inverse(self) -> Expr {
        Expr::Not(Box::new(self))
    }

    fn difference(self, other: Expr) -> Expr {
        Expr::Minus(Box::new(self), Box::new(other))
    }

    fn read_leaf(parser: &mut Parser<'_>) -> Result<Expr> {
        parser.set()
    }

    fn write_leaf(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display::set(self, f)
    }
}

impl Algebra for Predicate {
    const HAS_MINUS: bool = false;

    fn shape(&self) -> Shape<'_, Predicate> {
        match self {
            Predicate::And(members) => Shape::And(members),
            Predicate::Or(members) => Shape::Or(members),
            // `kind != x` is one test to the eye.
            Predicate::Not(inner) if !inner.has_own_negation() => Shape::Not(inner),
            _ => Shape::Leaf,
        }
    }

    fn all_of(members: Vec<Predicate>) -> Predicate {
        Predicate::And(members)
    }

    fn any_of(members: Vec<Predicate>) -> Predicate {
        Predicate::Or(members)
    }

    fn inverse(self) -> Predicate {
        Predicate::Not(Box::new(self))
    }

    fn difference(self, other: Predicate) -> Predicate {
        Predicate::And(vec![self, other.inverse()])
    }

    fn read_leaf(parser: &mut Parser<'_>) -> Result<Predicate> {
        parser.test()
    }

    fn write_leaf(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display::test(self, f)
    }
}
