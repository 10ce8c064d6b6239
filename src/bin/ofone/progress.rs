//! Progress on stderr: a bar on a terminal, a line at the end otherwise.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::grouped;

/// How far a long command is.
pub(crate) struct Progress {
    bar: ProgressBar,
    began: Instant,
}

impl Progress {
    /// Progress towards a known number of steps.
    pub(crate) fn of_total(verb: &'static str, steps: u64) -> Progress {
        let style = "{prefix} {wide_bar} {percent:>3} %  {msg}  {elapsed} of {duration}";
        Progress::new(ProgressBar::new(steps), style, verb)
    }

    /// Progress towards an end that is not known.
    pub(crate) fn endless(verb: &'static str) -> Progress {
        Progress::new(ProgressBar::no_length(), "{spinner} {prefix}  {msg}  {elapsed}", verb)
    }

    fn new(bar: ProgressBar, style: &str, verb: &'static str) -> Progress {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(8),
            false => ProgressDrawTarget::hidden(),
        };
        bar.set_draw_target(target);
        bar.set_style(ProgressStyle::with_template(style).expect("the templates above are well-formed"));
        bar.set_prefix(verb);
        bar.enable_steady_tick(Duration::from_millis(250));
        Progress { bar, began: Instant::now() }
    }

    /// So many steps and records are done by now.
    pub(crate) fn at(&self, steps: u64, records: u64) {
        self.bar.set_position(steps);
        self.bar.set_message(format!("{}, {}", grouped(records), self.rate(records)));
    }

    /// Removes the bar and tells how long `records` took: `in 2.5 s, 400 000 a second`.
    pub(crate) fn finish(&self, records: u64) -> String {
        self.bar.finish_and_clear();
        format!("in {:.1} s, {}", self.began.elapsed().as_secs_f64(), self.rate(records))
    }

    fn rate(&self, records: u64) -> String {
        let rate = records as f64 / self.began.elapsed().as_secs_f64().max(0.001);
        format!("{} a second", grouped(rate as u64))
    }
}
