//! Questions about sets of customers and about single events: values, their text, and builders.
//!
//! [`Expr`] is a set of customers, [`Predicate`] a test of one event. Both are plain trees: written by
//! hand ([`build`]), read from text ([`parse`]), and printed as canonical text ([`display`]) that reads
//! back as the very same tree. [`check`] has the rules that the types alone do not keep.
//!
//! Nothing here evaluates: what an expression *means* is told in `docs/query.md` and done by `query`.

mod ast;

mod algebra;
mod build;
mod check;
mod display;
mod excerpt;
mod parse;
mod texts;
mod token;

#[cfg(test)]
mod grammar;
#[cfg(test)]
mod tests;

pub use ast::{Comparison, Did, Expr, Moment, Period, Predicate, Seq, Step, TextTest, Ties};

use crate::model::limits::EXPR_LEVELS;

/// Most levels of a text, in which parentheses may stand that the tree does not need. Canonical text of
/// a tree of [`EXPR_LEVELS`] levels has at most one more.
const MAX_NESTING: usize = EXPR_LEVELS + 28;
