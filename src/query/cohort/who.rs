//! Who: the customers of an expression.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use roaring::RoaringBitmap;

use crate::error::Result;
use crate::expr::Expr;
use crate::model::Timestamp;
use crate::model::limits::HOPS;
use crate::query::cohort::effort::{CancelToken, Effort};
use crate::query::cohort::explain::{Explain, Watch};
use crate::query::cohort::plan;
use crate::query::cohort::question::Question;
use crate::query::cohort::scan;
use crate::query::cohort::set::Cohort;
use crate::query::snapshot::Snapshot;

/// Asks for the customers that an expression means; see [`Snapshot::who`].
#[derive(Clone)]
#[must_use = "a query does nothing until it is run"]
pub struct WhoQuery {
    snapshot: Snapshot,
    expr: Expr,
    now: Option<Timestamp>,
    scan_only: bool,
    max_hops: u32,
    effort: Effort,
}

impl WhoQuery {
    pub(crate) fn new(snapshot: Snapshot, expr: Expr) -> WhoQuery {
        WhoQuery { snapshot, expr, now: None, scan_only: false, max_hops: HOPS, effort: Effort::default() }
    }

    /// The instant from which relative moments count. Default: the wall clock when it is run.
    pub fn now(mut self, now: Timestamp) -> WhoQuery {
        self.now = Some(now);
        self
    }

    /// Answers by reading streams, whatever else could serve: slower, never different.
    pub fn scan_only(mut self) -> WhoQuery {
        self.scan_only = true;
        self
    }

    /// Follows at most so many links from a customer; 0 asks about the customer itself alone. Default: 8.
    pub fn max_hops(mut self, links: u32) -> WhoQuery {
        self.max_hops = links;
        self
    }

    /// Threads to use, from 1 to 1,024. Default: as many as the machine offers.
    pub fn threads(mut self, threads: usize) -> WhoQuery {
        self.effort.threads = Some(threads);
        self
    }

    /// Memory that the question may take, in bytes, about. Default: 1 GiB.
    pub fn memory(mut self, bytes: usize) -> WhoQuery {
        self.effort.memory = bytes;
        self
    }

    /// Ends soon after `token` is cancelled.
    pub fn cancel(mut self, token: CancelToken) -> WhoQuery {
        self.effort.cancel = token;
        self
    }

    /// Finds the customers.
    ///
    /// Cost: for each customer that no list, saved cohort or link rules out, one read of its stream in
    /// the windows that the expression names.
    ///
    /// # Errors
    /// `NotFound` for a saved cohort that the snapshot lacks; `Invalid` for what no store could answer,
    /// or for more memory than allowed; `Cancelled`; errors of the store.
    pub fn run(self) -> Result<Cohort> {
        let WhoQuery { snapshot, expr, now, scan_only, max_hops, effort } = self;
        let now = now.unwrap_or_else(wall_clock);
        let mut explain = Explain { threads: effort.threads(), ..Explain::default() };
        let mut watch = Watch::start();
        let budget = effort.budget();
        let mut question = Question::bind(&snapshot, &expr, now)?;
        question.max_hops = max_hops;
        let mut gauge = budget.gauge();
        gauge.set(question.bytes())?;
        let mut sure = RoaringBitmap::new();
        let candidates = question.candidates(&snapshot)?;
        gauge.add(candidates.serialized_size())?;
        watch.step("names, shapes and windows looked up", &mut explain);
        let candidates = if question.reads && !scan_only && max_hops == HOPS {
            let plan = plan::plan(&snapshot, &question, &effort, &mut explain)?;
            watch.step("index asked", &mut explain);
            sure = plan.sure;
            plan.open
        } else {
            candidates
        };
        let how = if question.reads { "reading what each needs" } else { "without reading any" };
        let forced = if scan_only { ", as asked for" } else { "" };
        explain.plan(format!("decide {} of {} customers {how}{forced}", candidates.len(), question.customers));
        let members = sure | scan::decide(&snapshot, &question, &candidates, &effort, &budget, &mut explain)?;
        watch.step("customers decided", &mut explain);
        Ok(Cohort::new(snapshot, expr, now, members, explain))
    }
}

impl fmt::Debug for WhoQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhoQuery").field("expr", &self.expr).field("now", &self.now).finish_non_exhaustive()
    }
}

/// Now, by the clock of the machine.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    Timestamp::from_nanos(i64::try_from(since).unwrap_or(i64::MAX))
}
