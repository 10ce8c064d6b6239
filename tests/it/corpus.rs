//! The corpora of `fuzz/`, replayed without a fuzzer: seeds, and the finds that became seeds.

use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz targets, which are programs of their own")]
mod targets;

/// Every file of a corpus holds what the target asserts.
fn replay(corpus: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("a corpus") {
        let path = entry.expect("an entry").path();
        println!("{}", path.display());
        target(&std::fs::read(&path).expect("a file"));
        files += 1;
    }
    assert!(files > 0, "{} is empty", folder.display());
}

#[test]
fn native_lines() {
    replay("native", targets::native);
}

#[test]
fn mappings() {
    replay("mapping", targets::mapping);
}

#[test]
fn imports() {
    replay("import", targets::import);
}

#[test]
fn texts() {
    replay("texts", targets::texts);
}

#[test]
fn expressions() {
    replay("expr", targets::expr);
}

#[test]
fn operations() {
    replay("operations", targets::operations);
}
