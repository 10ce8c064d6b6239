//! Rows that nobody lists any more go when the last view that holds them does.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::Sender;

/// Rows that may go, by the number they lie under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leftover {
    Segment(u32),
    /// Filter and index of identities of a seal.
    Seal(u32),
}

/// Where leftovers are told to whoever drops their rows.
pub(crate) type Graveyard = Sender<Leftover>;

/// Part of a handle that views share. Once it is retired and the last view lets go of it, its rows are a leftover.
pub(super) struct Hold {
    of: Leftover,
    retired: AtomicBool,
    graveyard: Graveyard,
}

impl Hold {
    pub(super) fn new(of: Leftover, graveyard: Graveyard) -> Hold {
        Hold { of, retired: AtomicBool::new(false), graveyard }
    }

    /// Says that the rows are listed no more.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire) {
            // Nobody listens any more when the store is closing; the next open finds what no manifest lists.
            let _ = self.graveyard.send(self.of);
        }
    }
}
