//! Questions about sets of customers, as plain values.

mod ast;

pub use ast::{Comparison, Did, Expr, Moment, Period, Predicate, Seq, Step, TextTest, Ties};

impl std::fmt::Display for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::fmt::Display for Predicate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
