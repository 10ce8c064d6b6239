//! How a question is answered, and what that took.

use std::fmt;
use std::time::{Duration, Instant};

use crate::query::cohort::reader::Actuals;

/// How a question was answered: the plan, and what was read and how long each step took.
///
/// Prints as text for people, which may change between releases.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Explain {
    /// What was to be done, a sentence a line.
    pub plan: Vec<String>,
    /// Customers whose stream was read.
    pub customers_read: u64,
    /// Rows read from sealed segments.
    pub rows_read: u64,
    /// Bytes of those rows.
    pub bytes_read: u64,
    /// Events decoded that some part of the question might want.
    pub events_read: u64,
    /// Pages of the index read.
    pub pages_read: u64,
    /// Bytes of those pages.
    pub index_bytes: u64,
    /// Events looked at in pages.
    pub events_counted: u64,
    /// Threads allowed.
    pub threads: usize,
    /// What was done, in order.
    pub steps: Vec<ExplainStep>,
}

/// A step of a question, and how long it took.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExplainStep {
    /// What was done.
    pub name: String,
    /// How long it took, in nanoseconds of wall time.
    pub nanos: u64,
}

impl Explain {
    pub(crate) fn count(&mut self, actuals: &Actuals) {
        self.customers_read += actuals.customers;
        self.rows_read += actuals.rows;
        self.bytes_read += actuals.bytes;
        self.events_read += actuals.events;
    }

    pub(crate) fn plan(&mut self, line: impl Into<String>) {
        self.plan.push(line.into());
    }
}

/// Measures the steps of a question.
pub(crate) struct Watch(Instant);

impl Watch {
    pub(crate) fn start() -> Watch {
        Watch(Instant::now())
    }

    /// Ends a step and begins the next.
    pub(crate) fn step(&mut self, name: impl Into<String>, explain: &mut Explain) {
        let nanos = u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX);
        explain.steps.push(ExplainStep { name: name.into(), nanos });
        self.0 = Instant::now();
    }
}

impl fmt::Display for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan")?;
        for line in &self.plan {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "read")?;
        writeln!(f, "  {} streams, {} events", self.customers_read, self.events_read)?;
        writeln!(f, "  {} rows, {} bytes", self.rows_read, self.bytes_read)?;
        writeln!(
            f,
            "  {} index pages, {} events in them, {} bytes",
            self.pages_read, self.events_counted, self.index_bytes
        )?;
        write!(f, "took, on up to {} threads", self.threads)?;
        for step in &self.steps {
            write!(f, "\n  {:>12?}  {}", Duration::from_nanos(step.nanos), step.name)?;
        }
        Ok(())
    }
}
