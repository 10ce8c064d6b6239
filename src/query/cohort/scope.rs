//! Which events and customers a counting question looks at, and what it may cost.

use roaring::RoaringBitmap;

use crate::error::Result;
use crate::expr::Period;
use crate::model::{Timestamp, Window};
use crate::query::cohort::effort::Effort;
use crate::query::cohort::set::Cohort;
use crate::query::cohort::who::wall_clock;
use crate::query::snapshot::Snapshot;

/// What timelines, tops and funnels have in common.
#[derive(Clone, Default)]
pub(crate) struct Scope {
    pub(crate) period: Period,
    pub(crate) now: Option<Timestamp>,
    pub(crate) cohort: Option<Cohort>,
    /// Whether the index is left alone.
    pub(crate) scan_only: bool,
    pub(crate) effort: Effort,
}

impl Scope {
    pub(crate) fn now(&self) -> Timestamp {
        self.now.unwrap_or_else(wall_clock)
    }

    pub(crate) fn window(&self, now: Timestamp) -> Window {
        self.period.window(now)
    }

    /// The customers looked at: the cohort's as far as the snapshot knows them, or all.
    ///
    /// # Errors
    /// `Invalid` for a cohort of another store.
    pub(crate) fn customers(&self, snapshot: &Snapshot) -> Result<RoaringBitmap> {
        let all = snapshot.all_customers()?;
        match &self.cohort {
            Some(cohort) => {
                cohort.check_store(snapshot)?;
                Ok(all & cohort.numbers())
            }
            None => Ok(all),
        }
    }
}

/// The options of a query that has a field `scope`.
macro_rules! scoped {
    ($query:ident) => {
        impl $query {
            /// Only events whose time lies in the half-open window. Default: all of time.
            pub fn window(mut self, window: impl Into<$crate::model::Window>) -> $query {
                self.scope.period = window.into().into();
                self
            }

            /// As [`Self::window`], with ends that may be relative to now.
            pub fn during(mut self, period: impl Into<$crate::expr::Period>) -> $query {
                self.scope.period = period.into();
                self
            }

            /// The instant from which relative moments count. Default: the wall clock when it is run.
            pub fn now(mut self, now: $crate::model::Timestamp) -> $query {
                self.scope.now = Some(now);
                self
            }

            /// Only these customers and what they lived through. Default: all.
            pub fn cohort(mut self, cohort: &$crate::query::cohort::Cohort) -> $query {
                self.scope.cohort = Some(cohort.clone());
                self
            }

            /// Answers by reading streams, whatever else could serve: slower, never different.
            pub fn scan_only(mut self) -> $query {
                self.scope.scan_only = true;
                self
            }

            /// Threads to use, from 1 to 1,024. Default: as many as the machine offers.
            pub fn threads(mut self, threads: usize) -> $query {
                self.scope.effort.threads = Some(threads);
                self
            }

            /// Memory that the question may take, in bytes, about. Default: 1 GiB.
            pub fn memory(mut self, bytes: usize) -> $query {
                self.scope.effort.memory = bytes;
                self
            }

            /// Ends soon after `token` is cancelled.
            pub fn cancel(mut self, token: $crate::query::cohort::CancelToken) -> $query {
                self.scope.effort.cancel = token;
                self
            }
        }
    };
}

pub(crate) use scoped;
