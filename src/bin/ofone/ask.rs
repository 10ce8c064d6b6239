//! What the commands that ask about sets of customers share.

use ofone::{Cohort, Expr, Snapshot, Text, Timestamp, Window};

use crate::args::OutputArgs;
use crate::exit::Failure;
use crate::time::Clock;

/// As of when a question is asked, and by which means it is answered.
#[derive(clap::Args)]
pub(crate) struct AskArgs {
    /// The instant from which `-7d` counts [default: now].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    now: Option<String>,
    /// Read the streams of all customers and use no index: slower, and the same answer.
    #[arg(long)]
    pub(crate) scan_only: bool,
    /// Tell on stderr how the answer was found and what that took.
    #[arg(long)]
    pub(crate) explain: bool,
}

impl AskArgs {
    /// A clock that shows the instant of the question.
    pub(crate) fn clock(&self, output: &OutputArgs) -> Result<Clock, Failure> {
        let clock = output.clock();
        match &self.now {
            None => Ok(clock),
            Some(text) => {
                let now = clock.parse(text)?;
                Ok(clock.at(now))
            }
        }
    }

    /// The expression that a text is; plain dates in it are days of the zone asked for.
    pub(crate) fn expr(&self, text: &str, output: &OutputArgs) -> Result<Expr, Failure> {
        let read = match output.tz.iana_name() {
            Some(zone) => Expr::parse_in(text, zone),
            None => Expr::parse(text),
        };
        read.map_err(|error| Failure::misread(&error))
    }

    /// The customers in a set.
    pub(crate) fn who(&self, snapshot: &Snapshot, expr: &Expr, now: Timestamp) -> Result<Cohort, Failure> {
        let query = snapshot.who(expr.clone()).now(now);
        let query = if self.scan_only { query.scan_only() } else { query };
        Ok(query.run()?)
    }
}

/// Which part of time counts.
#[derive(clap::Args)]
pub(crate) struct WindowArgs {
    /// Events from this time on: RFC 3339, `2026-01-05`, `2026-01-05 14:30`, `-7d` or `now`.
    #[arg(long, visible_alias = "since", value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Events before this time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
}

impl WindowArgs {
    /// The window they tell.
    pub(crate) fn window(&self, clock: &Clock) -> Result<Window, Failure> {
        clock.window(self.from.as_deref(), self.to.as_deref())
    }
}

/// Within which customers.
#[derive(clap::Args)]
pub(crate) struct CohortArgs {
    /// Only what these customers lived through: an expression, as for `ofone who`.
    #[arg(long = "in", value_name = "EXPR")]
    members: Option<String>,
}

impl CohortArgs {
    /// The customers they tell, if they tell any.
    pub(crate) fn cohort(
        &self,
        ask: &AskArgs,
        output: &OutputArgs,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Option<Cohort>, Failure> {
        let Some(text) = &self.members else { return Ok(None) };
        ask.who(snapshot, &ask.expr(text, output)?, now).map(Some)
    }
}

/// A customer's id in the form that cohorts know, from an id or `type:id`.
pub(crate) fn customer_text(snapshot: &Snapshot, given: &str) -> Text {
    Text::from(crate::args::customer_id(snapshot, given))
}

/// Tells a plan, a line at a time, on stderr.
pub(crate) fn tell(explained: &impl std::fmt::Display) {
    for line in explained.to_string().lines() {
        eprintln!("ofone: {}", ofone::export::escape(line));
    }
}
