//! What a question may cost: threads, memory, and a way to stop it.

use std::mem;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::error::{Error, ErrorKind, Result};
use crate::model::limits::QUESTION_BYTES;

/// Stops the questions that hold a clone of it, from any thread: they end soon with
/// [`ErrorKind::Cancelled`].
///
/// ```
/// let token = ofone::CancelToken::new();
/// token.clone().cancel();
/// assert!(token.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that stops nothing yet.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Stops every question that holds this token, for good.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Threads of a question at most.
const THREADS_MAX: usize = 1024;

/// What a question may use.
#[derive(Clone, Debug)]
pub(crate) struct Effort {
    /// None: as many as the machine offers.
    pub(crate) threads: Option<usize>,
    pub(crate) memory: usize,
    pub(crate) cancel: CancelToken,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort { threads: None, memory: QUESTION_BYTES, cancel: CancelToken::new() }
    }
}

impl Effort {
    pub(crate) fn threads(&self) -> usize {
        // Asking the machine reads files.
        static MACHINE: OnceLock<usize> = OnceLock::new();
        let machine = || *MACHINE.get_or_init(|| thread::available_parallelism().map_or(1, usize::from));
        self.threads.unwrap_or_else(machine).clamp(1, THREADS_MAX)
    }

    pub(crate) fn budget(&self) -> Budget {
        Budget { most: self.memory, used: AtomicUsize::new(0) }
    }

    /// Fails once the question is to stop.
    pub(crate) fn go_on(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the question was cancelled"));
        }
        Ok(())
    }

    /// As this one, with no more threads than looking at `events` events in pages is worth.
    pub(crate) fn for_events(&self, events: u64) -> Effort {
        /// Looked at in the time in which a few threads could be started.
        const A_THREAD: u64 = 40_000;
        let threads = usize::try_from(1 + events / A_THREAD).unwrap_or(usize::MAX);
        Effort { threads: Some(self.threads().min(threads)), ..self.clone() }
    }

    /// Does tasks 0 to `count` on all threads, each with a state of its own from `begin`, and returns
    /// those states as `end` leaves them; without a task there is none. After a failure no task is begun.
    pub(crate) fn share<S, R: Send>(
        &self,
        count: usize,
        begin: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, usize) -> Result<()> + Sync,
        end: impl Fn(S) -> R + Sync,
    ) -> Result<Vec<R>> {
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let run = || -> Result<R> {
            let mut state = begin();
            while !failed.load(Ordering::Relaxed) {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= count {
                    break;
                }
                let outcome = self.go_on().and_then(|()| work(&mut state, task));
                if let Err(error) = outcome {
                    failed.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(end(state))
        };
        if count == 0 {
            return Ok(Vec::new());
        }
        let threads = self.threads().min(count);
        if threads <= 1 {
            return Ok(vec![run()?]);
        }
        thread::scope(|scope| {
            // With as many as the system gives: whoever is there does what there is to do.
            let spawn = |_| thread::Builder::new().spawn_scoped(scope, run).ok();
            let others: Vec<_> = (1..threads).map_while(spawn).collect();
            let mut outcomes = vec![run()];
            outcomes.extend(others.into_iter().map(|other| match other.join() {
                Ok(outcome) => outcome,
                Err(cause) => panic::resume_unwind(cause),
            }));
            outcomes.into_iter().collect()
        })
    }
}

/// The memory of one question, shared by its threads.
#[derive(Debug)]
pub(crate) struct Budget {
    most: usize,
    used: AtomicUsize,
}

impl Budget {
    /// Bytes not yet claimed.
    pub(crate) fn left(&self) -> usize {
        self.most.saturating_sub(self.used.load(Ordering::Relaxed))
    }

    /// A holder of bytes that has none yet.
    pub(crate) fn gauge(&self) -> Gauge<'_> {
        Gauge { budget: self, held: 0 }
    }

    pub(crate) fn exceeded(&self) -> Error {
        Error::invalid(format!(
            "the question needs more than {} bytes of memory; allow more, or ask for less",
            self.most
        ))
    }
}

/// Bytes that one part of a question holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Gauge<'a> {
    budget: &'a Budget,
    held: usize,
}

impl Gauge<'_> {
    pub(crate) fn budget(&self) -> &Budget {
        self.budget
    }

    /// Says that `bytes` are held now.
    ///
    /// # Errors
    /// `Invalid` when that is more than is left.
    pub(crate) fn set(&mut self, bytes: usize) -> Result<()> {
        let before = mem::replace(&mut self.held, bytes);
        if bytes == before {
            return Ok(());
        }
        if bytes < before {
            self.budget.used.fetch_sub(before - bytes, Ordering::Relaxed);
            return Ok(());
        }
        let more = bytes - before;
        let used = self.budget.used.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        if used > self.budget.most { Err(self.budget.exceeded()) } else { Ok(()) }
    }

    /// Says that `bytes` more are held.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<()> {
        self.set(self.held.saturating_add(bytes))
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_whatever_the_threads() {
        for threads in [1, 3, usize::MAX] {
            let effort = Effort { threads: Some(threads), ..Effort::default() };
            let parts = effort.share(
                100,
                Vec::new,
                |done, task| {
                    done.push(task);
                    Ok(())
                },
                |done| done,
            );
            let mut all: Vec<usize> = parts.unwrap().concat();
            all.sort_unstable();
            assert_eq!(all, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_failure_ends_the_work_and_a_token_stops_it() {
        let effort = Effort { threads: Some(2), ..Effort::default() };
        let failing = |_: &mut (), task: usize| if task == 5 { Err(Error::invalid("five")) } else { Ok(()) };
        assert_eq!(effort.share(100, || (), failing, |()| ()).unwrap_err().kind(), ErrorKind::Invalid);
        effort.cancel.cancel();
        let outcome = effort.share(100, || (), |(), _| Ok(()), |()| ());
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
    }

    #[test]
    fn memory_is_given_back_when_its_holder_goes() {
        let budget = Effort { memory: 100, ..Effort::default() }.budget();
        let mut gauge = budget.gauge();
        gauge.set(80).unwrap();
        assert_eq!(budget.gauge().set(21).unwrap_err().kind(), ErrorKind::Invalid);
        drop(gauge);
        assert_eq!(budget.left(), 100);
    }
}
