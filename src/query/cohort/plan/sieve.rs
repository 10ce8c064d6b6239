//! The columns of a block, unpacked: of each event its home, its class, and whether it is what is asked for.

use crate::codec::page::{Block, HOME_WORDS};
use crate::error::Result;
use crate::query::cohort::plan::glance::{Edges, Glance, Known};

/// The events of one block. Reused from block to block.
#[derive(Default)]
pub(super) struct Sieve {
    homes: Vec<u16>,
    classes: Vec<u16>,
    known: Vec<Known>,
    found: Vec<(u32, u16)>,
}

impl Sieve {
    /// Place and home of the block's events whose home is in `wanted`, `dense` if many are; those of classes
    /// that no `may` hold for may be left out.
    pub(super) fn among(
        &mut self,
        block: &Block<'_>,
        wanted: &[u64; HOME_WORDS],
        dense: bool,
        may: Option<&[bool; 256]>,
    ) -> Result<&[(u32, u16)]> {
        self.found.clear();
        if dense {
            self.homes.clear();
            block.unpack_homes(&mut self.homes)?;
            let has = |home: &u16| wanted[usize::from(*home) / 64] >> (home % 64) & 1 != 0;
            let events = (0u32..).zip(self.homes.iter().copied());
            if let Some(may) = may {
                self.classes.clear();
                block.classes.unpack(block.len(), &mut self.classes);
                let events = events.zip(&self.classes).filter(|(_, class)| may[usize::from(**class as u8)]);
                self.found.extend(events.map(|(event, _)| event).filter(|(_, home)| has(home)));
            } else {
                self.found.extend(events.filter(|(_, home)| has(home)));
            }
        } else {
            block.find_homes(wanted, &mut self.found)?;
        }
        Ok(&self.found)
    }

    /// Calls `seen` with home and tick of each event of the block, and whether it is what is asked for, where
    /// classes and ticks tell that of all; returns whether they do. Nothing here branches on an event.
    #[inline]
    pub(super) fn certain(
        &mut self,
        block: &Block<'_>,
        glance: &Glance,
        edges: &Edges,
        mut seen: impl FnMut(u16, u16, bool),
    ) -> Result<bool> {
        let (Some(ticks), Some(holds)) = (edges.exact(block), glance.exact()) else { return Ok(false) };
        self.homes.clear();
        block.unpack_homes(&mut self.homes)?;
        let events = self.homes.iter().zip(block.ticks());
        let length = ticks.end - ticks.start;
        let inside = |tick: u16| u32::from(tick).wrapping_sub(ticks.start) < length;
        if glance.all {
            events.for_each(|(&home, tick)| seen(home, tick, inside(tick)));
        } else {
            self.classes.clear();
            block.classes.unpack(block.len(), &mut self.classes);
            for ((&home, tick), &class) in events.zip(&self.classes) {
                seen(home, tick, holds[usize::from(class as u8)] & inside(tick));
            }
        }
        Ok(true)
    }

    /// As [`Sieve::certain`], with homes left alone.
    #[inline]
    pub(super) fn certain_events(
        &mut self,
        block: &Block<'_>,
        glance: &Glance,
        edges: &Edges,
        mut seen: impl FnMut(u16, bool),
    ) -> bool {
        let (Some(ticks), Some(holds)) = (edges.exact(block), glance.exact()) else { return false };
        let length = ticks.end - ticks.start;
        let inside = |tick: u16| u32::from(tick).wrapping_sub(ticks.start) < length;
        if glance.all {
            block.ticks().for_each(|tick| seen(tick, inside(tick)));
        } else {
            self.classes.clear();
            block.classes.unpack(block.len(), &mut self.classes);
            for (tick, &class) in block.ticks().zip(&self.classes) {
                seen(tick, holds[usize::from(class as u8)] & inside(tick));
            }
        }
        true
    }

    /// Home and class of each event of the block, and whether it satisfies and lies inside the window.
    pub(super) fn events(
        &mut self,
        block: &Block<'_>,
        glance: &Glance,
        edges: &Edges,
    ) -> Result<impl ExactSizeIterator<Item = (u16, usize, Known)>> {
        self.homes.clear();
        self.classes.clear();
        block.unpack_homes(&mut self.homes)?;
        block.classes.unpack(block.len(), &mut self.classes);
        glance.judge(block, &self.classes, &mut self.known);
        if !edges.whole() {
            edges.cut(block, glance, &self.classes, &mut self.known);
        }
        let events = self.homes.iter().zip(&self.classes).zip(&self.known);
        Ok(events.map(|((&home, &class), &known)| (home, usize::from(class), known)))
    }
}
