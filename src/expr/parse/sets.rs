//! Sets of customers: `did`, `seq`, `reach`, `customers`, `cohort`, `all`.

use crate::error::Result;
use crate::expr::excerpt::shown;
use crate::expr::parse::{Parser, predicates, times};
use crate::expr::token::Token;
use crate::expr::{Did, Expr, Period, Predicate, Seq, Step, Ties};
use crate::model::{Entity, did_you_mean};

/// What a set begins with.
const SETS: [&str; 6] = ["all", "did", "seq", "reach", "customers", "cohort"];

const SET: &str = "a set of customers: `did(..)`, `seq(..)`, `reach(..)`, `customers(..)`, `cohort(..)` or `all`";

pub(super) fn is_set(word: &str) -> bool {
    SETS.contains(&word)
}

impl Parser<'_> {
    /// A set, beginning with its name.
    pub(in crate::expr) fn set(&mut self) -> Result<Expr> {
        let Some(word) = self.word() else { return Err(self.expected(SET)) };
        self.height = 1;
        if !is_set(word) {
            return Err(self.wrong(&not_a_set(word)));
        }
        self.next += 1;
        if word == "all" {
            return Ok(Expr::All);
        }
        if !self.at_symbol("(") {
            return Err(self.expected(&format!("`(` after `{word}`")));
        }
        if word == "customers" {
            return Ok(Expr::Customers(self.values(|parser| parser.value("the id of a customer"))?));
        }
        self.next += 1;
        match word {
            "did" => self.did(),
            "seq" => self.seq(),
            "reach" => self.reach(),
            _ => {
                let name = self.value("the name of a cohort")?;
                self.close("`)`")?;
                Ok(Expr::Cohort(name))
            }
        }
    }

    fn did(&mut self) -> Result<Expr> {
        let what = self.any_of()?;
        let mut did = Did { what, at_least: 1, window: Period::default() };
        self.raise(self.height)?;
        let (mut counted, mut window) = (false, None);
        while self.eat_symbol(",") {
            if self.word() == Some("n") {
                self.once("a count", counted)?;
                did.at_least = self.count()?;
                counted = true;
            } else {
                self.one_window(&mut window, "`n >= ..` or a window such as `-7d`")?;
            }
        }
        self.close("`and`, `or`, `,` or `)`")?;
        did.window = window.unwrap_or_default();
        Ok(Expr::Did(did))
    }

    /// `n >= 3`.
    fn count(&mut self) -> Result<u32> {
        self.next += 1;
        self.symbol(">=", "`>=`; fewer than 3 is `not did(.., n >= 3)`")?;
        let word = self.word().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(word) = word else { return Err(self.expected("a whole number")) };
        let count = match word.parse() {
            Ok(0) => return Err(self.wrong("a count is 1 or more; for none at all write `not did(..)`")),
            Ok(count) => count,
            Err(_) => return Err(self.wrong(&format!("a count is at most {}", u32::MAX))),
        };
        self.next += 1;
        Ok(count)
    }

    fn seq(&mut self) -> Result<Expr> {
        let (steps, height) = self.steps()?;
        let mut seq = Seq { steps, within: None, window: Period::default(), ties: Ties::Any };
        self.raise(height)?;
        let (mut ties, mut window) = (None, None);
        while self.eat_symbol(",") {
            match self.word() {
                Some("within") => {
                    self.once("`within`", seq.within.is_some())?;
                    self.next += 1;
                    seq.within = Some(self.length()?);
                }
                Some("ties") => {
                    self.once("`ties`", ties.is_some())?;
                    self.next += 1;
                    ties = Some(self.ties()?);
                }
                _ => self.one_window(&mut window, "`within ..`, `ties ..` or a window such as `-7d`")?,
            }
        }
        self.close("`and`, `or`, `->`, `,` or `)`")?;
        (seq.ties, seq.window) = (ties.unwrap_or_default(), window.unwrap_or_default());
        Ok(Expr::Seq(seq))
    }

    /// What stands between the arrows, and the levels of the highest predicate.
    fn steps(&mut self) -> Result<(Vec<Step>, usize)> {
        let (mut steps, mut height): (Vec<Step>, usize) = (Vec::new(), 0);
        // Exclusions that wait for the step behind them, and where the last of them stands.
        let (mut without, mut last) = (Vec::new(), 0);
        loop {
            let at = self.at();
            if self.word() == Some("not") {
                if steps.is_empty() {
                    return Err(self.wrong_at(at, &excludes_nothing("before the first step")));
                }
                without.push(self.exclusion()?);
                last = at;
            } else {
                let what = self.any_of()?;
                let within = self.step_bound(steps.is_empty())?;
                steps.push(Step { what, within, without: std::mem::take(&mut without) });
            }
            height = height.max(self.height);
            if !self.eat_symbol("->") {
                break;
            }
        }
        if without.is_empty() {
            Ok((steps, height))
        } else {
            Err(self.wrong_at(last, &excludes_nothing("behind the last step")))
        }
    }

    /// `not kind = x`: one operand, lest `not a and b` be taken for either of two things.
    fn exclusion(&mut self) -> Result<Predicate> {
        self.next += 1;
        let what = self.operand()?;
        match self.word() {
            Some(word @ ("and" | "or")) => Err(self.wrong(&format!(
                "write `not (.. {word} ..)` to exclude events between two steps, `(not .. {word} ..)` for a step"
            ))),
            Some("within") => Err(self.wrong("a bound belongs to a step, not to what is excluded")),
            _ => Ok(what),
        }
    }

    fn step_bound(&mut self, is_first: bool) -> Result<Option<i64>> {
        if self.word() != Some("within") {
            return Ok(None);
        }
        if is_first {
            return Err(self.wrong("no step comes before the first one; `, within ..` at the end bounds them all"));
        }
        self.next += 1;
        self.length().map(Some)
    }

    /// `within` has been read; what follows is a length of time.
    fn length(&mut self) -> Result<i64> {
        match self.token() {
            Token::Word(word) => {
                let length = times::length(word).map_err(|message| self.wrong(&message))?;
                let nanos = i64::try_from(length).map_err(|_| self.wrong("longer than 292 years"))?;
                self.next += 1;
                Ok(nanos)
            }
            _ => Err(self.expected("a length of time such as `48h`")),
        }
    }

    fn ties(&mut self) -> Result<Ties> {
        let ties = match self.word() {
            Some("any") => Ties::Any,
            Some("seq") => Ties::Seq,
            Some("none") => Ties::None,
            _ => return Err(self.expected("`any`, `seq` or `none`")),
        };
        self.next += 1;
        Ok(ties)
    }

    fn reach(&mut self) -> Result<Expr> {
        let at = self.at();
        let text = self.value(predicates::ENTITY)?;
        let Ok(entity) = text.parse::<Entity>() else {
            return Err(self.wrong_at(at, &format!("an entity is written `type:id`, got `{}`", shown(&text))));
        };
        let mut window = None;
        while self.eat_symbol(",") {
            self.one_window(&mut window, "a window such as `-7d`")?;
        }
        self.close("`,` or `)`")?;
        Ok(Expr::Reach(entity, window.unwrap_or_default()))
    }

    fn one_window(&mut self, window: &mut Option<Period>, expected: &str) -> Result<()> {
        let at = self.at();
        let Some(period) = self.window()? else { return Err(self.expected(expected)) };
        match window.replace(period) {
            None => Ok(()),
            Some(_) => Err(self.wrong_at(at, "a window is given twice")),
        }
    }

    fn once(&self, what: &str, given: bool) -> Result<()> {
        if given { Err(self.wrong(&format!("{what} is given twice"))) } else { Ok(()) }
    }
}

fn excludes_nothing(place: &str) -> String {
    format!("`not ..` excludes events between two steps, and this one stands {place}; write `(not ..)` for a step")
}

fn not_a_set(word: &str) -> String {
    if predicates::begins_test(word) {
        return format!("`{}` is about one event; for customers with such an event write `did(..)`", shown(word));
    }
    match did_you_mean(word, SETS) {
        close if close.is_empty() => format!("expected {SET}, got `{}`", shown(word)),
        close => format!("unknown set `{}`{close}", shown(word)),
    }
}
