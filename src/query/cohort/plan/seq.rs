//! One thing after the other, out of pages: two steps are held against each other tick by tick, longer
//! sequences are narrowed down to those who had each step.

use roaring::RoaringBitmap;

use crate::error::Result;
use crate::model::Window;
use crate::query::cohort::needs::Looks;
use crate::query::cohort::plan::Planner;
use crate::query::cohort::plan::bounds::Bounds;
use crate::query::cohort::plan::did::Asked;
use crate::query::cohort::question::Sequence;

impl Planner<'_> {
    /// The customers of a sequence.
    pub(super) fn seq(&mut self, sequence: &Sequence) -> Result<Bounds> {
        let mut maybe: Option<RoaringBitmap> = None;
        for at in 0..sequence.steps.len() {
            let had = self.had_step(sequence, at)?;
            let both = match maybe {
                Some(maybe) => maybe & had.maybe,
                None => had.maybe,
            };
            if both.is_empty() {
                return Ok(Bounds::default());
            }
            maybe = Some(both);
        }
        let maybe = maybe.unwrap_or_default();
        Ok(Bounds { sure: RoaringBitmap::new(), maybe })
    }

    /// Those with an event of the step at some time that may do.
    fn had_step(&mut self, sequence: &Sequence, at: usize) -> Result<Bounds> {
        let window: Window = if at == 0 { sequence.rules.window } else { sequence.span };
        let judge = &self.question.judges[sequence.steps[at].judge];
        self.did(Asked { judge, window, looks: Looks::Time, at_least: 1 })
    }
}
