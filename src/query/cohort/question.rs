//! A question bound to a snapshot: names are numbers, moments are instants, predicates are judges.

use roaring::RoaringBitmap;

use crate::error::{Error, Result};
use crate::expr::{Did, Expr, Predicate, Seq, Ties};
use crate::model::limits::{HOPS, STEPS};
use crate::model::{Entity, Timestamp, Window};
use crate::query::cohort::judge::Judge;
use crate::query::cohort::needs::{Looks, Needs};
use crate::query::cohort::reader::Order;
use crate::query::cohort::saved;
use crate::query::cohort::sequence::Rules;
use crate::query::snapshot::Snapshot;

/// A set of customers, bound. Judges are told by their place in [`Question::judges`].
#[derive(Debug)]
pub(crate) enum Clause {
    All,
    Did {
        judge: usize,
        at_least: u32,
        window: Window,
    },
    Seq(Sequence),
    /// `None`: an entity that the snapshot does not know.
    Reach {
        entity: Option<u32>,
        window: Window,
    },
    /// These numbers.
    Among(RoaringBitmap),
    And(Parts),
    Or(Parts),
    Not(Box<Clause>),
    Minus(Box<[Clause; 2]>),
}

/// A sequence, bound.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) steps: Vec<Step>,
    pub(crate) rules: Rules,
    /// The span of time in which any of its events can lie.
    pub(crate) span: Window,
}

/// A step of a sequence, bound.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) judge: usize,
    pub(crate) without: Vec<usize>,
}

/// The parts of an `and` or `or`, as written, and the order in which to look at them: cheap ones first.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) parts: Vec<Clause>,
    pub(crate) by_cost: Vec<usize>,
}

/// What must be read to decide a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    Nothing,
    Links,
    Events,
}

/// A set of customers asked of a snapshot. Shared between threads.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) root: Clause,
    pub(crate) judges: Vec<Judge>,
    /// What the stream of a customer must be read for.
    pub(crate) needs: Needs,
    /// How the events of a stream must lie.
    pub(crate) order: Order,
    /// The customers of the snapshot are 0 up to this.
    pub(crate) customers: u32,
    /// Whether a stream must be read to decide some customer.
    pub(crate) reads: bool,
    /// Links on a path, at most.
    pub(crate) max_hops: u32,
}

impl Question {
    /// # Errors
    /// `NotFound` for a saved cohort that is not there; `Invalid` for an expression that breaks the rules of
    /// [`Expr::check`] or has a sequence of more than 64 steps; errors of the store.
    pub(crate) fn bind(snapshot: &Snapshot, expr: &Expr, now: Timestamp) -> Result<Question> {
        expr.check()?;
        let customers = snapshot.customer_count()?;
        let mut binding = Binding { snapshot, now, customers, predicates: Vec::new(), judges: Vec::new() };
        let root = binding.clause(expr)?;
        let judges = binding.judges;
        let tables = snapshot.lookup.terms.read();
        let mut needs = Needs::new(&tables);
        let mut order = Order::Time;
        root.visit(&mut |clause| match clause {
            Clause::Did { judge, window, .. } => needs.add(&judges[*judge], *window, Looks::Presence, &tables),
            Clause::Seq(sequence) => {
                if sequence.rules.ties == Ties::Seq {
                    order = Order::Total;
                }
                for judge in sequence.steps.iter().flat_map(|step| step.without.iter().chain([&step.judge])) {
                    needs.add(&judges[*judge], sequence.span, Looks::Time, &tables);
                }
            }
            _ => {}
        });
        drop(tables);
        let reads = root.cost() > Cost::Nothing;
        Ok(Question { root, judges, needs, order, customers, reads, max_hops: HOPS })
    }

    /// What streams must be read for to find events that satisfy `steps`, all within `span`.
    ///
    /// # Errors
    /// As [`Question::bind`].
    pub(crate) fn of_event(snapshot: &Snapshot, what: &Predicate, window: Window) -> Result<(Question, Sequence)> {
        let rules = Rules { step_within: vec![None], within: None, window, ties: Ties::Any };
        Question::of_steps(snapshot, std::slice::from_ref(what), rules, window)
    }

    /// Steps of one event each, as a question that is asked of streams alone.
    pub(crate) fn of_steps(
        snapshot: &Snapshot,
        steps: &[Predicate],
        rules: Rules,
        span: Window,
    ) -> Result<(Question, Sequence)> {
        if steps.is_empty() || steps.len() > STEPS {
            return Err(Error::invalid(format!("there are 1 to {STEPS} steps, not {}", steps.len())));
        }
        let customers = snapshot.customer_count()?;
        let mut binding =
            Binding { snapshot, now: Timestamp::MIN, customers, predicates: Vec::new(), judges: Vec::new() };
        let mut bound = Vec::with_capacity(steps.len());
        for what in steps {
            what.check()?;
            bound.push(Step { judge: binding.judge(what)?, without: Vec::new() });
        }
        let judges = binding.judges;
        let tables = snapshot.lookup.terms.read();
        let mut needs = Needs::new(&tables);
        judges.iter().for_each(|judge| needs.add(judge, span, Looks::Time, &tables));
        drop(tables);
        let question =
            Question { root: Clause::All, judges, needs, order: Order::Time, customers, reads: true, max_hops: HOPS };
        Ok((question, Sequence { steps: bound, rules, span }))
    }

    /// Customers of whom all others are certainly not in the set.
    pub(crate) fn candidates(&self, snapshot: &Snapshot) -> Result<RoaringBitmap> {
        let all = snapshot.all_customers()?;
        Ok(match self.root.superset() {
            Some(some) => some & all,
            None => all,
        })
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        let mut bytes = self.needs.bytes() + self.judges.iter().map(Judge::bytes).sum::<usize>();
        self.root.visit(&mut |clause| {
            if let Clause::Among(numbers) = clause {
                bytes += numbers.serialized_size();
            }
        });
        bytes
    }
}

impl Clause {
    /// Calls `seen` with this clause and all inside.
    pub(crate) fn visit(&self, seen: &mut dyn FnMut(&Clause)) {
        seen(self);
        match self {
            Clause::And(inner) | Clause::Or(inner) => inner.parts.iter().for_each(|part| part.visit(seen)),
            Clause::Not(inner) => inner.visit(seen),
            Clause::Minus(both) => both.iter().for_each(|part| part.visit(seen)),
            _ => {}
        }
    }

    fn cost(&self) -> Cost {
        match self {
            Clause::All | Clause::Among(_) => Cost::Nothing,
            Clause::Reach { entity: None, .. } => Cost::Nothing,
            Clause::Reach { .. } => Cost::Links,
            Clause::Did { .. } | Clause::Seq(_) => Cost::Events,
            Clause::And(inner) | Clause::Or(inner) => {
                inner.parts.iter().map(Clause::cost).max().unwrap_or(Cost::Nothing)
            }
            Clause::Not(inner) => inner.cost(),
            Clause::Minus(both) => both[0].cost().max(both[1].cost()),
        }
    }

    /// A set that holds every customer of the clause, where one is at hand; `None` is all.
    fn superset(&self) -> Option<RoaringBitmap> {
        match self {
            Clause::Among(numbers) => Some(numbers.clone()),
            Clause::Reach { entity: None, .. } => Some(RoaringBitmap::new()),
            Clause::And(inner) => inner.parts.iter().filter_map(Clause::superset).reduce(|a, b| a & b),
            Clause::Or(inner) => {
                inner.parts.iter().map(Clause::superset).try_fold(RoaringBitmap::new(), |all, part| Some(all | part?))
            }
            Clause::Minus(both) => both[0].superset(),
            Clause::All | Clause::Did { .. } | Clause::Seq(_) | Clause::Reach { .. } | Clause::Not(_) => None,
        }
    }
}

impl Parts {
    fn new(parts: Vec<Clause>) -> Parts {
        let mut by_cost: Vec<usize> = (0..parts.len()).collect();
        by_cost.sort_by_key(|&at| parts[at].cost());
        Parts { parts, by_cost }
    }

    /// The parts, cheap ones first.
    pub(crate) fn cheap_first(&self) -> impl Iterator<Item = &Clause> {
        self.by_cost.iter().map(|&at| &self.parts[at])
    }
}

struct Binding<'a> {
    snapshot: &'a Snapshot,
    now: Timestamp,
    customers: u32,
    /// Predicates met so far; the judge of each is at its place.
    predicates: Vec<&'a Predicate>,
    judges: Vec<Judge>,
}

impl<'a> Binding<'a> {
    fn clause(&mut self, expr: &'a Expr) -> Result<Clause> {
        Ok(match expr {
            Expr::All => Clause::All,
            Expr::Did(Did { what, at_least, window }) => {
                Clause::Did { judge: self.judge(what)?, at_least: *at_least, window: window.window(self.now) }
            }
            Expr::Seq(seq) => Clause::Seq(self.sequence(seq)?),
            Expr::Reach(entity, window) => {
                Clause::Reach { entity: self.snapshot.number(entity)?, window: window.window(self.now) }
            }
            Expr::Customers(ids) => {
                let customer_type = &self.snapshot.lookup.customer_type;
                let mut numbers = RoaringBitmap::new();
                for id in ids {
                    numbers.extend(self.snapshot.number(&Entity::new(customer_type, id))?);
                }
                Clause::Among(numbers)
            }
            Expr::Cohort(name) => {
                let found = saved::load(self.snapshot, name)?;
                let (_, mut numbers) = found.ok_or_else(|| saved::unknown(name))?;
                numbers.remove_range(self.customers..);
                Clause::Among(numbers)
            }
            Expr::And(parts) => Clause::And(self.parts(parts)?),
            Expr::Or(parts) => Clause::Or(self.parts(parts)?),
            Expr::Not(inner) => Clause::Not(Box::new(self.clause(inner)?)),
            Expr::Minus(from, what) => Clause::Minus(Box::new([self.clause(from)?, self.clause(what)?])),
        })
    }

    fn parts(&mut self, parts: &'a [Expr]) -> Result<Parts> {
        Ok(Parts::new(parts.iter().map(|part| self.clause(part)).collect::<Result<_>>()?))
    }

    fn sequence(&mut self, seq: &'a Seq) -> Result<Sequence> {
        let count = seq.steps.len();
        if count > STEPS {
            return Err(Error::invalid(format!("a sequence has at most {STEPS} steps, not {count}")));
        }
        let mut steps = Vec::with_capacity(count);
        for step in &seq.steps {
            let judge = self.judge(&step.what)?;
            let without = step.without.iter().map(|what| self.judge(what)).collect::<Result<_>>()?;
            steps.push(Step { judge, without });
        }
        let step_within = seq.steps.iter().map(|step| step.within).collect();
        let window = seq.window.window(self.now);
        let rules = Rules { step_within, within: seq.within, window, ties: seq.ties };
        let span = if window.from < window.to { Window::new(window.from, rules.last_end()) } else { window };
        Ok(Sequence { steps, rules, span })
    }

    fn judge(&mut self, predicate: &'a Predicate) -> Result<usize> {
        if let Some(known) = self.predicates.iter().position(|known| *known == predicate) {
            return Ok(known);
        }
        self.judges.push(Judge::bind(predicate, self.snapshot)?);
        self.predicates.push(predicate);
        Ok(self.judges.len() - 1)
    }
}
