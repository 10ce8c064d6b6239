//! The columns of a block, unpacked: of each event its home, its class, and whether it is what is asked for.

use std::ops::Range;

use crate::codec::homes::HOME_WORDS;
use crate::codec::page::Block;
use crate::error::Result;
use crate::query::cohort::plan::glance::{Edges, Glance, Known};
use crate::query::cohort::plan::slab::Slab;

/// The events of one block. Reused from block to block.
#[derive(Default)]
pub(super) struct Sieve {
    homes: Vec<u16>,
    classes: Vec<u16>,
    known: Vec<Known>,
    found: Vec<(u32, u16)>,
}

impl Sieve {
    /// The home of each event of the block.
    pub(super) fn homes(&mut self, block: &Block<'_>) -> Result<&[u16]> {
        self.homes.clear();
        block.unpack_homes(&mut self.homes)?;
        Ok(&self.homes)
    }

    /// Place and home of the block's events whose home is in `wanted`, `dense` if many are; those of classes
    /// that no `may` hold for may be left out.
    pub(super) fn among(
        &mut self,
        block: &Block<'_>,
        wanted: &[u64; HOME_WORDS],
        dense: bool,
        may: Option<&[bool; 256]>,
    ) -> Result<&[(u32, u16)]> {
        if !dense {
            self.found.clear();
            block.find_homes(wanted, &mut self.found)?;
            return Ok(&self.found);
        }
        self.homes.clear();
        block.unpack_homes(&mut self.homes)?;
        let has = |home: u16| wanted[usize::from(home) / 64] >> (home % 64) & 1 != 0;
        let events = (0u32..).zip(self.homes.iter().copied());
        // Every event is written and kept or written over by the next: nothing branches on what it is.
        self.found.resize(block.len(), (0, 0));
        let mut kept = 0;
        if let Some(may) = may {
            self.classes.clear();
            block.classes.unpack(block.len(), &mut self.classes);
            for (event, &class) in events.zip(&self.classes) {
                self.found[kept] = event;
                kept += usize::from(may[usize::from(class as u8)] & has(event.1));
            }
        } else {
            for event in events {
                self.found[kept] = event;
                kept += usize::from(has(event.1));
            }
        }
        Ok(&self.found[..kept])
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

    /// Adds the homes of the events that are asked for, and of those that may be because the window cuts their
    /// tick, where classes and ticks tell; returns whether they do. Nothing here branches on an event.
    pub(super) fn bounds(
        &mut self,
        block: &Block<'_>,
        glance: &Glance,
        edges: &Edges,
        counts: &mut Slab,
    ) -> Result<bool> {
        let (Some(ticks), Some(holds)) = (edges.ticks(block), glance.exact()) else { return Ok(false) };
        self.homes.clear();
        block.unpack_homes(&mut self.homes)?;
        if !glance.all {
            self.classes.clear();
            block.classes.unpack(block.len(), &mut self.classes);
        }
        let classes = self.classes.iter().map(|&class| holds[usize::from(class as u8)]);
        let add = |set: &mut [u64; HOME_WORDS], ticks: &Range<u32>, without: &Range<u32>| {
            let length = |range: &Range<u32>| range.end.saturating_sub(range.start);
            let (long, short) = (length(ticks), length(without));
            let inside = |tick: u16| {
                let tick = u32::from(tick);
                (tick.wrapping_sub(ticks.start) < long) & (tick.wrapping_sub(without.start) >= short)
            };
            let events = self.homes.iter().zip(block.ticks());
            if glance.all {
                events.for_each(|(&home, tick)| set[usize::from(home) / 64] |= u64::from(inside(tick)) << (home % 64));
            } else {
                for ((&home, tick), holds) in events.zip(classes.clone()) {
                    set[usize::from(home) / 64] |= u64::from(holds & inside(tick)) << (home % 64);
                }
            }
        };
        add(&mut counts.sure, &ticks.sure, &(0..0));
        if ticks.sure != ticks.may {
            add(&mut counts.maybe, &ticks.may, &ticks.sure);
        }
        Ok(true)
    }

    /// Calls `seen` with the home of each event of the block, and what `adds` says of its class, 0 unless all
    /// of its tick lies inside the window. Nothing here branches on an event.
    #[inline]
    pub(super) fn sums(
        &mut self,
        block: &Block<'_>,
        edges: &Edges,
        adds: &[u64; 256],
        mut seen: impl FnMut(u16, u64),
    ) -> Result<()> {
        self.homes.clear();
        block.unpack_homes(&mut self.homes)?;
        self.classes.clear();
        block.classes.unpack(block.len(), &mut self.classes);
        let events = self.homes.iter().zip(&self.classes).map(|(&home, &class)| (home, adds[usize::from(class as u8)]));
        if edges.whole() {
            events.for_each(|(home, adds)| seen(home, adds));
        } else {
            let ticks = edges.sure();
            let length = ticks.end.saturating_sub(ticks.start);
            for ((home, adds), tick) in events.zip(block.ticks()) {
                let inside = u32::from(tick).wrapping_sub(ticks.start) < length;
                seen(home, if inside { adds } else { 0 });
            }
        }
        Ok(())
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
