//! The library of `tests/faults/shim.c`: built here, loaded into a writing process, its records read.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// Says on the real stderr, which a test run does not hold back, that something was not tested.
pub(crate) fn skipped(what: &str, why: &str) {
    let _ = std::io::stderr().write_all(format!("\nskipped: {what}, {why}\n").as_bytes());
}

/// The library, compiled once a run; `None` where that cannot be.
pub(crate) fn library() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if !cfg!(target_os = "linux") || Command::new("cc").arg("--version").output().is_err() {
            return None;
        }
        let place = TempDir::new().expect("a temporary directory");
        let library = place.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&library).arg(source).arg("-ldl");
        let output = compiler.output().expect("the compiler runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some((place, library))
    });
    built.as_ref().map(|(_, library)| library.as_path())
}

/// One change of the files below the recorded directory.
#[derive(Debug)]
pub(crate) struct Step {
    /// What: a letter, as in `shim.c`.
    pub(crate) what: u8,
    pub(crate) descriptor: i32,
    pub(crate) numbers: [i64; 2],
    pub(crate) paths: [String; 2],
    pub(crate) data: Vec<u8>,
}

/// The records in `bytes`.
pub(crate) fn steps(mut bytes: &[u8]) -> Vec<Step> {
    fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (taken, rest) = bytes.split_at(count);
        *bytes = rest;
        taken
    }
    let mut steps = Vec::new();
    while !bytes.is_empty() {
        let what = take(&mut bytes, 1)[0];
        let descriptor = i32::from_le_bytes(take(&mut bytes, 4).try_into().expect("four"));
        let numbers = [(); 2].map(|()| i64::from_le_bytes(take(&mut bytes, 8).try_into().expect("eight")));
        let lengths = [(); 3].map(|()| u32::from_le_bytes(take(&mut bytes, 4).try_into().expect("four")) as usize);
        let mut text = |length| String::from_utf8(take(&mut bytes, length).to_vec()).expect("a path of ours");
        let paths = [text(lengths[0]), text(lengths[1])].map(|path| path.replace("//", "/"));
        let data = take(&mut bytes, lengths[2]).to_vec();
        steps.push(Step { what, descriptor, numbers, paths, data });
    }
    steps
}
