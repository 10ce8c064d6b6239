//! The texts in an expression, whatever they stand for.

use crate::expr::{Expr, Predicate, TextTest};

impl Expr {
    /// Calls `visit` with every text that some field, entity or id is compared with; entities as `type:id`.
    pub(crate) fn texts(&self, visit: &mut dyn FnMut(&str)) {
        match self {
            Expr::All | Expr::Cohort(_) => {}
            Expr::Did(did) => did.what.texts(visit),
            Expr::Seq(seq) => {
                for step in &seq.steps {
                    step.what.texts(visit);
                    step.without.iter().for_each(|without| without.texts(visit));
                }
            }
            Expr::Reach(entity, _) => visit(&entity.to_string()),
            Expr::Customers(ids) => ids.iter().for_each(|id| visit(id)),
            Expr::And(sets) | Expr::Or(sets) => sets.iter().for_each(|set| set.texts(visit)),
            Expr::Not(set) => set.texts(visit),
            Expr::Minus(one, other) => {
                one.texts(visit);
                other.texts(visit);
            }
        }
    }
}

impl Predicate {
    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        match self {
            Predicate::Any
            | Predicate::Severity(..)
            | Predicate::Value(..)
            | Predicate::AttributeNumber(..)
            | Predicate::HasAttribute(_) => {}
            Predicate::Kind(test)
            | Predicate::Layer(test)
            | Predicate::Source(test)
            | Predicate::Attribute(_, test)
            | Predicate::On(test)
            | Predicate::With(test)
            | Predicate::About(test) => match test {
                TextTest::Is(text) => visit(text),
                TextTest::Like(pattern) => visit(pattern.trim_matches('*')),
                TextTest::OneOf(texts) => texts.iter().for_each(|text| visit(text)),
            },
            Predicate::And(all) | Predicate::Or(all) => all.iter().for_each(|one| one.texts(visit)),
            Predicate::Not(not) => not.texts(visit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_visited() {
        let text = "did(kind = a and (layer ~ \"b*\" or not attr.x in (c, d))) and not seq(about = t:e -> not on = t:f \
                    -> with = t:g, within 1h) or customers(h, i) minus reach(t:j)";
        let mut found = Vec::new();
        text.parse::<Expr>().unwrap().texts(&mut |text| found.push(text.to_owned()));
        assert_eq!(found, ["a", "b", "c", "d", "t:e", "t:g", "t:f", "h", "i", "t:j"]);
    }
}
