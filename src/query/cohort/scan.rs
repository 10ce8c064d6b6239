//! Decides many customers by reading each, on several threads.

use roaring::RoaringBitmap;

use crate::error::Result;
use crate::query::cohort::effort::{Budget, Effort};
use crate::query::cohort::explain::Explain;
use crate::query::cohort::person::Person;
use crate::query::cohort::question::Question;
use crate::query::cohort::reader::Actuals;
use crate::query::snapshot::Snapshot;

/// Those of `candidates` (customers that the snapshot knows) that are in the set.
///
/// Cost: one [`Person::is_member`] for each, spread over the threads.
pub(crate) fn decide(
    snapshot: &Snapshot,
    question: &Question,
    candidates: &RoaringBitmap,
    effort: &Effort,
    budget: &Budget,
    explain: &mut Explain,
) -> Result<RoaringBitmap> {
    let parts = over_customers(
        candidates,
        effort,
        || (Person::new(snapshot, question, budget), RoaringBitmap::new()),
        |(person, members), customer| {
            if person.is_member(customer)? {
                members.insert(customer);
            }
            Ok(())
        },
        |(person, members)| (person.actuals(), members),
    )?;
    let mut all = RoaringBitmap::new();
    let mut actuals = Actuals::default();
    for (part, members) in parts {
        actuals.add(&part);
        all |= members;
    }
    explain.count(&actuals);
    let mut gauge = budget.gauge();
    gauge.set(all.serialized_size())?;
    Ok(all)
}

/// Calls `visit` with each of `customers`, spread over the threads by range, ascending within a
/// range; each thread has a state of its own.
pub(crate) fn over_customers<S, R: Send>(
    customers: &RoaringBitmap,
    effort: &Effort,
    begin: impl Fn() -> S + Sync,
    visit: impl Fn(&mut S, u32) -> Result<()> + Sync,
    end: impl Fn(S) -> R + Sync,
) -> Result<Vec<R>> {
    /// Customers of one task: many enough that taking a task costs nothing, few enough to share.
    const AT_ONCE: std::ops::RangeInclusive<u64> = 16..=1024;
    let count = customers.len();
    let at_once = (count / (effort.threads() as u64 * 16)).clamp(*AT_ONCE.start(), *AT_ONCE.end());
    let work = |state: &mut S, task: usize| {
        let first = task as u64 * at_once;
        let Some(from) = customers.select(first as u32) else { return Ok(()) };
        for customer in customers.range(from..).take(at_once as usize) {
            effort.go_on()?;
            visit(state, customer)?;
        }
        Ok(())
    };
    effort.share(count.div_ceil(at_once) as usize, begin, work, end)
}
