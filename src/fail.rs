//! Named places at which a test has the store fail or die, and bugs that a test plants. Without the
//! features `failpoints` and `planted-bugs`, which no program should build with, all of it is nothing.

use crate::error::Result;

/// A place that has a name. `OFONE_FAIL=name:nth:abort` ends the process when it is passed for the nth
/// time, `name:nth:error` makes it return an `Io` error then.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn point(_name: &'static str) -> Result<()> {
    Ok(())
}

/// As above; see there.
#[cfg(feature = "failpoints")]
pub(crate) fn point(name: &'static str) -> Result<()> {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static ASKED: OnceLock<Option<(String, u32, bool)>> = OnceLock::new();
    static PASSES: AtomicU32 = AtomicU32::new(0);
    let asked = ASKED.get_or_init(|| {
        let text = std::env::var("OFONE_FAIL").ok()?;
        let mut parts = text.split(':');
        let (name, nth, act) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        Some((name.to_owned(), nth, act == "abort"))
    });
    match asked {
        Some((asked, nth, abort)) if asked == name && PASSES.fetch_add(1, Ordering::Relaxed) + 1 == *nth => {
            eprintln!("failpoint {name} is passed");
            if *abort {
                std::process::abort();
            }
            Err(crate::error::Error::new(crate::error::ErrorKind::Io, format!("failpoint {name}")))
        }
        _ => Ok(()),
    }
}

/// Whether the bug of this name is planted: it is when `OFONE_BUG` names it.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub(crate) fn bug(_name: &'static str) -> bool {
    false
}

/// As above; see there.
#[cfg(feature = "planted-bugs")]
pub(crate) fn bug(name: &'static str) -> bool {
    use std::sync::OnceLock;

    static PLANTED: OnceLock<Option<String>> = OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("OFONE_BUG").ok()).as_deref() == Some(name)
}
