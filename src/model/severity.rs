//! The one severity scale.

use std::fmt;

use crate::error::{Error, Result};

/// Severity number of OpenTelemetry, 1 to 24; 0 means not given.
///
/// 1-4 trace, 5-8 debug, 9-12 info, 13-16 warn, 17-20 error, 21-24 fatal. Other scales map onto it
/// on import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(u8);

impl Severity {
    /// Not given.
    pub const NONE: Severity = Severity(0);
    /// Routine information.
    pub const INFO: Severity = Severity(9);
    /// Something unusual.
    pub const WARN: Severity = Severity(13);
    /// Something failed.
    pub const ERROR: Severity = Severity(17);
    /// Something broke for good.
    pub const FATAL: Severity = Severity(21);

    /// From its number.
    ///
    /// # Errors
    /// `Invalid` above 24.
    pub fn new(number: u8) -> Result<Severity> {
        if number <= 24 {
            Ok(Severity(number))
        } else {
            Err(Error::invalid(format!("severity is 0 to 24, got {number}")))
        }
    }

    /// Its number, 0 to 24.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// `trace`, `debug`, `info`, `warn`, `error`, `fatal`, or `` when not given.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "",
            1..=4 => "trace",
            5..=8 => "debug",
            9..=12 => "info",
            13..=16 => "warn",
            17..=20 => "error",
            _ => "fatal",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
