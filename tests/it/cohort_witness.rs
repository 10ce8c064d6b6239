//! Naive reasons why a customer is in a set or not.

use ofone::{Did, EventName, Expr, Text};

use crate::cohort_model::{Naive, names};

/// A clause as text, and the events that make it hold.
pub(crate) type Reason = (Text, Vec<EventName>);

/// Why a customer is in a set, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reasons {
    /// These clauses hold.
    Holds(Vec<Reason>),
    /// This clause fails; where it is a negation, because these hold.
    Fails(Text, Vec<Reason>),
}

/// The reasons for a known customer.
pub(crate) fn reasons(naive: &Naive<'_>, customer: &Text, expr: &Expr) -> Reasons {
    let whole = || Text::from(expr.to_string());
    match expr {
        Expr::Did(did) => leaf(whole(), first_events(naive, customer, did)),
        Expr::Seq(seq) => {
            let places = naive.sequence(customer, seq);
            leaf(whole(), places.map(|places| names(naive.stream(customer), &places)))
        }
        Expr::And(all) => {
            let mut held = Vec::new();
            for one in all {
                match reasons(naive, customer, one) {
                    Reasons::Holds(more) => held.extend(more),
                    fails => return fails,
                }
            }
            Reasons::Holds(held)
        }
        Expr::Or(any) => {
            let mut each = any.iter().map(|one| reasons(naive, customer, one));
            each.find(|one| matches!(one, Reasons::Holds(_))).unwrap_or(Reasons::Fails(whole(), Vec::new()))
        }
        Expr::Not(inner) => absent(naive, customer, inner),
        Expr::Minus(from, what) => match (reasons(naive, customer, from), absent(naive, customer, what)) {
            (Reasons::Holds(held), Reasons::Holds(more)) => Reasons::Holds([held, more].concat()),
            (Reasons::Holds(_), fails) => fails,
            (fails, _) => fails,
        },
        leaf_without_events => leaf(whole(), naive.is_member(customer, leaf_without_events).then(Vec::new)),
    }
}

fn leaf(clause: Text, events: Option<Vec<EventName>>) -> Reasons {
    match events {
        Some(events) => Reasons::Holds(vec![(clause, events)]),
        None => Reasons::Fails(clause, Vec::new()),
    }
}

/// The reasons of `not inner`.
fn absent(naive: &Naive<'_>, customer: &Text, inner: &Expr) -> Reasons {
    let whole = Text::from(Expr::Not(Box::new(inner.clone())).to_string());
    match reasons(naive, customer, inner) {
        Reasons::Holds(held) => Reasons::Fails(whole, held),
        Reasons::Fails(..) => Reasons::Holds(vec![(whole, Vec::new())]),
    }
}

fn first_events(naive: &Naive<'_>, customer: &Text, did: &Did) -> Option<Vec<EventName>> {
    let enough = did.at_least as usize;
    let events: Vec<EventName> = naive.counted(customer, did).take(enough).map(|item| item.event.name()).collect();
    (events.len() == enough).then_some(events)
}
