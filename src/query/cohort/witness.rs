//! Why a customer is in a set, or which clause keeps them out.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::expr::Expr;
use crate::model::limits::HOPS;
use crate::model::{Entity, Text, Timestamp};
use crate::query::cohort::effort::Effort;
use crate::query::cohort::person::Person;
use crate::query::cohort::question::{Clause, Question};
use crate::query::cohort::reader::Order;
use crate::query::item::{StreamContext, StreamItem};
use crate::query::snapshot::Snapshot;
use crate::query::stream::Answer;

/// Why a customer is in a set, or why not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Witness {
    /// Whether the customer is in the set.
    pub member: bool,
    /// For a member, the clauses that hold and make it one, in the order of the expression; of several in
    /// an `or`, the first. Otherwise, where the clause that fails is a `not` or what a `minus` takes away,
    /// the clauses that hold and stand in the way; else none.
    pub clauses: Vec<WitnessClause>,
    /// The clause that fails, as text; `None` for a member. Of an `and` the first, of an `or` the whole.
    pub failed: Option<Text>,
}

/// A clause that holds, and the events that make it so.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WitnessClause {
    /// The clause, as text.
    pub clause: Text,
    /// For `did`, the first events that suffice; for `seq`, the winning ones, one a step; else none.
    pub events: Vec<StreamItem>,
}

/// Tells why the customer is in the set or not.
pub(crate) fn witness(snapshot: &Snapshot, customer: &Text, expr: &Expr, now: Timestamp) -> Result<Witness> {
    let customer_type = &snapshot.lookup.customer_type;
    let number = snapshot
        .number(&Entity::new(customer_type, customer))?
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no {customer_type} `{customer}`")))?;
    let effort = Effort::default();
    let budget = effort.budget();
    let question = Question::bind(snapshot, expr, now)?;
    let mut person = Person::with_order(snapshot, &question, &budget, Order::Total);
    person.meet(number);
    let mut search = Search { snapshot, customer: number, person, clauses: Vec::new() };
    let failed = search.fails(expr, &question.root)?;
    Ok(Witness { member: failed.is_none(), clauses: search.clauses, failed })
}

struct Search<'a> {
    snapshot: &'a Snapshot,
    customer: u32,
    person: Person<'a>,
    clauses: Vec<WitnessClause>,
}

impl Search<'_> {
    /// The clause of `expr` that fails; if none does, the clauses that make it hold are added.
    fn fails(&mut self, expr: &Expr, clause: &Clause) -> Result<Option<Text>> {
        let before = self.clauses.len();
        match (expr, clause) {
            (_, Clause::Did { judge, at_least, window }) => {
                let found = self.person.did(*judge, *window, *at_least as usize)?;
                if found.len() < *at_least as usize {
                    return Ok(Some(text(expr)));
                }
                self.add(expr, &found)?;
            }
            (_, Clause::Seq(sequence)) => match self.person.winners(sequence)? {
                Some(found) => self.add(expr, &found)?,
                None => return Ok(Some(text(expr))),
            },
            (Expr::And(exprs), Clause::And(parts)) => {
                for (expr, part) in exprs.iter().zip(&parts.parts) {
                    let held = self.clauses.len();
                    if let Some(failed) = self.fails(expr, part)? {
                        // What stands in the way stays, what held before goes.
                        self.clauses.drain(before..held);
                        return Ok(Some(failed));
                    }
                }
            }
            (Expr::Or(exprs), Clause::Or(parts)) => {
                for (expr, part) in exprs.iter().zip(&parts.parts) {
                    if self.fails(expr, part)?.is_none() {
                        return Ok(None);
                    }
                    self.clauses.truncate(before);
                }
                return Ok(Some(text(expr)));
            }
            (Expr::Not(inner), Clause::Not(bound)) => return self.absent(expr, inner, bound),
            (Expr::Minus(from, what), Clause::Minus(both)) => {
                if let Some(failed) = self.fails(from, &both[0])? {
                    return Ok(Some(failed));
                }
                let held = self.clauses.len();
                let failed = self.absent(&Expr::Not(what.clone()), what, &both[1])?;
                if failed.is_some() {
                    self.clauses.drain(before..held);
                }
                return Ok(failed);
            }
            _ => {
                if !self.person.holds(clause)? {
                    return Ok(Some(text(expr)));
                }
                self.add(expr, &[])?;
            }
        }
        Ok(None)
    }

    /// As [`Search::fails`] for `not inner`, written `whole`.
    fn absent(&mut self, whole: &Expr, inner: &Expr, bound: &Clause) -> Result<Option<Text>> {
        let before = self.clauses.len();
        if self.fails(inner, bound)?.is_none() {
            return Ok(Some(text(whole)));
        }
        self.clauses.truncate(before);
        self.add(whole, &[])?;
        Ok(None)
    }

    /// Adds a clause that holds by these events of the stream.
    fn add(&mut self, expr: &Expr, places: &[usize]) -> Result<()> {
        let context = Arc::new(StreamContext::new(self.snapshot.clone(), self.customer, HOPS));
        let mut events = Vec::with_capacity(places.len());
        if !places.is_empty() {
            let answer = Answer::new(context, self.person.reach().clone());
            for &at in places {
                events.push(answer.item(self.person.events()[at].clone())?);
            }
        }
        self.clauses.push(WitnessClause { clause: text(expr), events });
        Ok(())
    }
}

fn text(expr: &Expr) -> Text {
    Text::from(expr.to_string())
}
