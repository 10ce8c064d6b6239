//! What a backup consists of, as text that hashes itself. Bytes: docs/format.md.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Timestamp;

/// First line; the number is the version of this format.
const FIRST: &str = "ofone backup 1";
/// Longest name of a file.
const NAME_MAX: usize = 128;

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) id: u64,
    /// The last commit in it, and when that was written.
    pub(super) commit: u64,
    pub(super) committed: Option<Timestamp>,
    pub(super) taken: Timestamp,
    /// Bytes that no earlier backup had.
    pub(super) added: u64,
    pub(super) files: Vec<Entry>,
}

/// A file of RocksDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) length: u64,
    /// XXH3-128 of its bytes.
    pub(super) hash: u128,
    /// Device, inode and time of change of what was copied.
    pub(super) origin: [i128; 3],
}

impl Entry {
    /// The name of the bytes in the folder: the same for the same bytes.
    pub(super) fn stored(&self) -> String {
        format!("{:032x}-{}", self.hash, self.length)
    }
}

impl Manifest {
    pub(super) fn to_text(&self) -> String {
        let committed = self.committed.map_or("-".to_owned(), |time| time.as_nanos().to_string());
        let mut text = format!(
            "{FIRST}\nid {}\ncommit {}\ncommitted {committed}\ntaken {}\nadded {}\n",
            self.id,
            self.commit,
            self.taken.as_nanos(),
            self.added
        );
        for Entry { name, length, hash, origin: [device, inode, changed] } in &self.files {
            let _ = writeln!(text, "file {name} {length} {hash:032x} {device} {inode} {changed}");
        }
        let hash = xxh3_128(text.as_bytes());
        let _ = writeln!(text, "end {hash:032x}");
        text
    }

    /// Reads what [`Manifest::to_text`] wrote, and nothing else.
    ///
    /// # Errors
    /// `Corrupt` with the line, `Unsupported` for another version.
    pub(super) fn parse(text: &str, place: &Path) -> Result<Manifest> {
        let damaged = |what: &str| Error::corrupt(format!("the list of a backup is damaged: {what}"));
        let at_end = |what: &str| damaged(what).at(place.display());
        if text.starts_with("ofone backup ") && text.lines().next() != Some(FIRST) {
            return Err(Error::new(ErrorKind::Unsupported, "a backup of another version").at(place.display()));
        }
        let body = text.trim_end_matches('\n').rfind('\n').map(|last| &text[..=last]);
        let body = body.ok_or_else(|| at_end("it has no end"))?;
        if text[body.len()..] != format!("end {:032x}\n", xxh3_128(body.as_bytes())) {
            return Err(at_end("its bytes do not have their hash"));
        }
        let mut lines = body.lines().zip(1usize..);
        let mut value = |word: &str| -> Result<&str> {
            let (line, number) = lines.next().ok_or_else(|| at_end("it is short"))?;
            let value = line
                .strip_prefix(word)
                .and_then(|rest| if word == FIRST { Some(rest) } else { rest.strip_prefix(' ') });
            value.ok_or_else(|| damaged("an unknown line").at(format!("{}:{number}", place.display())))
        };
        value(FIRST)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| at_end("a number"));
        let time = |text: &str| text.parse::<i64>().map(Timestamp::from_nanos).map_err(|_| at_end("a time"));
        let (id, commit) = (number(value("id")?)?, number(value("commit")?)?);
        let committed = match value("committed")? {
            "-" => None,
            text => Some(time(text)?),
        };
        let (taken, added) = (time(value("taken")?)?, number(value("added")?)?);
        let mut files = Vec::new();
        let mut names = HashSet::new();
        for (line, number) in lines {
            let place = || format!("{}:{number}", place.display());
            let entry = entry(line).ok_or_else(|| damaged("a line of a file").at(place()))?;
            if !is_name(&entry.name) || !names.insert(entry.name.clone()) {
                return Err(damaged("a name that no file of a store has").at(place()));
            }
            files.push(entry);
        }
        Ok(Manifest { id, commit, committed, taken, added, files })
    }
}

fn entry(line: &str) -> Option<Entry> {
    let parts: Vec<&str> = line.strip_prefix("file ")?.split(' ').collect();
    let [name, length, hash, device, inode, changed] = parts[..] else { return None };
    let hash = (hash.len() == 32).then(|| u128::from_str_radix(hash, 16).ok())??;
    let origin = [device.parse().ok()?, inode.parse().ok()?, changed.parse().ok()?];
    Some(Entry { name: name.to_owned(), length: length.parse().ok()?, hash, origin })
}

/// Whether a name stays in its directory and means the same everywhere.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(names: &[&str]) -> Manifest {
        let entry = |name: &&str| Entry { name: (*name).into(), length: 7, hash: 1 << 100, origin: [5, -6, 7] };
        let files = names.iter().map(entry).collect();
        let time = Timestamp::from_nanos(-5);
        Manifest { id: 3, commit: 9, committed: Some(time), taken: time, added: 7, files }
    }

    fn read(text: &str) -> Result<Manifest> {
        Manifest::parse(text, Path::new("x.backup"))
    }

    #[test]
    fn what_is_written_is_read_and_any_change_of_it_is_noticed() {
        for names in [&[][..], &["CURRENT", "000012.sst"]] {
            let manifest = example(names);
            let text = manifest.to_text();
            assert_eq!(read(&text).unwrap(), manifest);
            let unnamed = Manifest { committed: None, ..manifest };
            assert_eq!(read(&unnamed.to_text()).unwrap(), unnamed);
            for at in 0..text.len() {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1;
                assert!(read(std::str::from_utf8(&bytes).unwrap()).is_err(), "byte {at}");
                assert!(read(&text[..at]).is_err(), "cut at {at}");
            }
            assert!(read(&format!("{text}\n")).is_err() && read(&format!("{text}{text}")).is_err());
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused_with_their_line() {
        for name in ["..", ".", ".hidden", "../x", "a/b", "/etc/passwd", "a\\b", "", "a\0b", "\u{e9}", &"x".repeat(129)]
        {
            let error = read(&example(&["CURRENT", name]).to_text()).expect_err(name);
            assert_eq!((error.kind(), error.place()), (ErrorKind::Corrupt, Some("x.backup:8")), "{name}");
        }
        assert!(read(&example(&["a", "a"]).to_text()).is_err(), "one name, one file");
        assert_eq!(read("ofone backup 2\n").unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
