//! The one error type: a kind that tells the caller what to do, a message, a place, a cause.
//!
//! This file imports nothing from the crate.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// Result of every fallible call in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for a program: each kind asks for a different act of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input breaks a rule; correct it and call again.
    Invalid,
    /// The named thing is not in the store.
    NotFound,
    /// Another process or handle has the store open for writing, or a backup folder in use, or the files of a store
    /// that is looked at never kept still; try again later.
    Busy,
    /// Bytes on disk are not what was written; restore from a backup, or salvage a copy.
    Corrupt,
    /// The disk is full; make room and call again, or reopen when the store is `Poisoned` since. Reads go on.
    DiskFull,
    /// An earlier write failed, so this handle no longer writes; reopen the store. Reads go on.
    Poisoned,
    /// The operating system or the storage engine failed; the cause tells more.
    Io,
    /// The caller stopped it through a token; nothing was changed.
    Cancelled,
    /// The store was written by a version of ofone that this one cannot read.
    Unsupported,
}

impl ErrorKind {
    fn label(self) -> &'static str {
        match self {
            ErrorKind::Invalid => "invalid",
            ErrorKind::NotFound => "not found",
            ErrorKind::Busy => "store busy",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::DiskFull => "disk full",
            ErrorKind::Poisoned => "closed for writing",
            ErrorKind::Io => "input/output",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::Unsupported => "unsupported format",
        }
    }
}

/// An error with its kind, message, place (file, family, segment, line of input) and cause.
///
/// The message is for people and may change between releases; match on [`Error::kind`].
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    place: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message` (lower case, no full stop).
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner { kind, message: message.into(), place: None, source: None }))
    }

    /// The input breaks a rule.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, message)
    }

    /// Stored bytes are damaged.
    pub fn corrupt(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Corrupt, message)
    }

    /// Adds where it happened; an inner place stays in front of an outer one.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Error {
        self.0.place = Some(match self.0.place.take() {
            Some(inner) => format!("{inner}, {place}"),
            None => place.to_string(),
        });
        self
    }

    /// Keeps the cause; its text is printed through [`std::error::Error::source`], not repeated.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.source = Some(cause.into());
        self
    }

    /// The same failure for one more whom it concerns; the first is its cause.
    pub(crate) fn again(first: &Arc<Error>) -> Error {
        let mut error = Error::new(first.kind(), first.message()).because(first.clone());
        error.0.place = first.0.place.clone();
        error
    }

    /// What the caller can act on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message without kind, place and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it happened, if known.
    pub fn place(&self) -> Option<&str> {
        self.0.place.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.label(), self.0.message)?;
        match &self.0.place {
            Some(place) => write!(f, " ({place})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        match &self.0.source {
            Some(cause) => write!(f, ": {cause:?}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|cause| &**cause as &(dyn StdError + 'static))
    }
}

impl From<std::io::Error> for Error {
    fn from(cause: std::io::Error) -> Error {
        let kind = match cause.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Io,
        };
        Error::new(kind, cause.to_string()).because(cause)
    }
}
