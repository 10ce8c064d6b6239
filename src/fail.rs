//! Named places at which a test has the store fail or die, and bugs that a test plants. Without the
//! features `failpoints` and `planted-bugs`, which no program should build with, all of it is nothing.

use crate::error::Result;

/// A place that has a name. `OFONE_FAIL=name:nth:abort` ends the process when it is passed for the nth
/// time, `name:nth:error` makes it return an `Io` error then, `name:nth:panic` panics, `name:nth:late` waits for
/// longer than the store does for readers, then and each time after it; `OFONE_FAIL=tell` tells of each that is
/// passed.
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

    static ASKED: OnceLock<Option<(String, u32, String)>> = OnceLock::new();
    static PASSES: AtomicU32 = AtomicU32::new(0);
    let asked = ASKED.get_or_init(|| {
        let text = std::env::var("OFONE_FAIL").ok()?;
        if text == "tell" {
            return Some((String::new(), 0, text));
        }
        let mut parts = text.split(':');
        Some((parts.next()?.to_owned(), parts.next()?.parse().ok()?, parts.next()?.to_owned()))
    });
    let Some((asked, nth, act)) = asked else { return Ok(()) };
    if act == "tell" {
        eprintln!("failpoint {name} is met");
    }
    if asked != name {
        return Ok(());
    }
    let pass = PASSES.fetch_add(1, Ordering::Relaxed) + 1;
    if pass != *nth && (pass < *nth || act != "late") {
        return Ok(());
    }
    eprintln!("failpoint {name} is passed");
    match act.as_str() {
        "abort" => std::process::abort(),
        "panic" => panic!("failpoint {name}"),
        "late" => {
            std::thread::sleep(std::time::Duration::from_secs(3));
            Ok(())
        }
        _ => Err(crate::error::Error::new(crate::error::ErrorKind::Io, format!("failpoint {name}"))),
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
