//! Exit codes, and how a failure is told.

use std::error::Error as _;
use std::io::{self, ErrorKind as IoKind};
use std::process::ExitCode;

use ofone::export::escape;
use ofone::{Error, ErrorKind};

/// The codes, as `--help` shows them.
pub(crate) const CODES: &str = "\
Exit codes:
  0  done
  1  failed, or `check` or `erase --verify` found something
  2  the command line is wrong
  3  the customer, entity, event, cohort, file, backup or store is not there
  4  done, but some of the input was rejected, in conflict or put into quarantine, or `salvage` could not read all
  5  another process has the store open, and the command has to write; or a backup folder is in use, or a store that
     is written never kept still

Environment:
  OFONE_DB  the store, when --db is not given
  NO_COLOR  no colours, when it is set and not empty";

/// What a command returns.
pub(crate) type Done = Result<(), Failure>;

/// Why a command ends with another code than 0.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    message: String,
    /// Lines below the message: the text that was not understood, and a mark under the place.
    excerpt: Vec<String>,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), excerpt: Vec::new() }
    }

    /// The command failed, or found a problem.
    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure::new(1, message)
    }

    /// The command line asks for something that makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(2, message)
    }

    /// A text on the command line is not understood; the error may show the place in lines of its own.
    pub(crate) fn misread(error: &Error) -> Failure {
        let mut lines = error.message().lines().map(str::to_owned);
        let message = lines.next().unwrap_or_default();
        Failure { code: 2, message, excerpt: lines.collect() }
    }

    /// The named thing is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Failure {
        Failure::new(3, message)
    }

    /// The command did its work, but not all of the input was taken.
    pub(crate) fn rejected(message: impl Into<String>) -> Failure {
        Failure::new(4, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        if cause.is_some_and(|cause| cause.kind() == IoKind::BrokenPipe) {
            return reader_gone();
        }
        let code = match error.kind() {
            ErrorKind::NotFound => 3,
            ErrorKind::Busy => 5,
            _ => 1,
        };
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            // An I/O error is its own message already.
            if !message.contains(&inner.to_string()) {
                message = format!("{message}: {inner}");
            }
            cause = inner.source();
        }
        Failure::new(code, message)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::from(Error::from(error))
    }
}

/// Whoever read our output has seen enough, as in `ofone stream C42 | head`: that is no failure.
fn reader_gone() -> Failure {
    Failure::new(0, "")
}

/// The outcome of writing, where that has more to tell than what is written: who reads it may be gone.
pub(crate) fn unless_gone(written: Done) -> Done {
    written.or_else(|failure| if failure.code == 0 { Ok(()) } else { Err(failure) })
}

/// Says what went wrong on stderr and turns it into the exit code.
pub(crate) fn report(done: Done) -> ExitCode {
    let Err(failure) = done else { return ExitCode::SUCCESS };
    if !failure.message.is_empty() {
        eprintln!("ofone: {}", escape(&failure.message));
    }
    for line in &failure.excerpt {
        eprintln!("{}", escape(line));
    }
    ExitCode::from(failure.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_its_code() {
        let code = |kind| Failure::from(Error::new(kind, "x")).code;
        assert_eq!(code(ErrorKind::NotFound), 3);
        assert_eq!(code(ErrorKind::Busy), 5);
        assert_eq!(code(ErrorKind::Corrupt), 1);
        assert_eq!(code(ErrorKind::Invalid), 1);
        assert_eq!(Failure::usage("x").code, 2);
        assert_eq!(Failure::rejected("x").code, 4);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::from(io::Error::from(IoKind::BrokenPipe));
        assert_eq!((failure.code, failure.message.as_str()), (0, ""));
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = Error::from(io::Error::other("disk on fire")).at("rows");
        assert_eq!(Failure::from(error).message, "input/output: disk on fire (rows)");
        let error = Error::corrupt("bad block").because(io::Error::other("checksum"));
        assert_eq!(Failure::from(error).message, "corrupt: bad block: checksum");
    }
}
