//! RocksDB's write-ahead log as bytes: where its whole records end, and where it is damaged.
//!
//! RocksDB replays the log and says nothing of what it left out at the end, nor where it met damage. So
//! its files are looked at beside it, by their framing: blocks of 32 KiB with fragments of records in
//! them, each behind four bytes of checksum, two of length and one that says which part of a record it is.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const BLOCK: u64 = 32 << 10;
const HEADER: u64 = 7;

/// Parts of a record, by the numbers of RocksDB. Records about the log itself have others.
const NOTHING: u8 = 0;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;
/// Parts in files that are used again, as ours never are.
const OF_RECYCLED: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// What the files of a log hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogSizes {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Bytes behind the last whole record of each file: what a write left that did not come to its end.
    pub(crate) torn_bytes: u64,
}

/// Measures the log files in a directory, without reading the records.
///
/// # Errors
/// `Corrupt` for a part of a file that is used again: RocksDB looks at it for ever instead of refusing it.
pub(super) fn measure(directory: &Path) -> Result<LogSizes> {
    let mut sizes = LogSizes::default();
    for path in files(directory)? {
        let (bytes, whole) = measure_file(&path, Room::Ahead)?;
        sizes.files += 1;
        sizes.bytes += bytes;
        sizes.torn_bytes += bytes - whole;
    }
    Ok(sizes)
}

/// Makes the log durable as it is read. What a process wrote that ended before its sync, or whose sync failed, is in
/// memory of the system alone, which after a failed sync may not know any more that it is not on the disk: so it is
/// written again where it lies, which takes no room. RocksDB syncs a log that it goes on to keep no more.
pub(super) fn write_back(directory: &Path) -> Result<()> {
    for path in files(directory)? {
        let file = File::options().read(true).write(true).open(&path)?;
        let mut block = vec![0; BLOCK as usize];
        let length = file.metadata()?.len();
        for start in (0..length).step_by(BLOCK as usize) {
            let block = &mut block[..BLOCK.min(length - start) as usize];
            file.read_exact_at(block, start)?;
            file.write_all_at(block, start)?;
        }
        file.sync_all()?;
    }
    Ok(())
}

/// Looks at RocksDB's list of files, which is framed as its log. RocksDB takes a length that leads beyond the end
/// for a write that was cut off, shows the store as it was before, and deletes all files of later. Whether that is
/// what it will do.
///
/// # Errors
/// `Corrupt` when a whole edit lies behind one that is not whole; and as [`measure`].
pub(super) fn check_list(directory: &Path) -> Result<bool> {
    let path = match fs::read_to_string(directory.join("CURRENT")) {
        Ok(name) if directory.join(name.trim_end()).is_file() => directory.join(name.trim_end()),
        // RocksDB tells what is wrong with it.
        _ => return Ok(false),
    };
    let (bytes, whole) = measure_file(&path, Room::Never)?;
    let file = File::open(&path)?;
    // Of edits that no sync followed, a power cut may keep a later page and leave zeros for an earlier one: nobody was
    // promised any, and RocksDB passes over the rest of the block.
    if whole < bytes && !is_hole(&file, whole, bytes)? && is_record_behind(&file, whole)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Err(Error::corrupt("the list of files is damaged").at(format!("{name}, byte {whole}")));
    }
    Ok(whole < bytes)
}

/// Whether zeros amid a file are room that was taken ahead.
#[derive(Clone, Copy, PartialEq)]
enum Room {
    Ahead,
    Never,
}

/// The bytes of a file, and those up to the end of its last whole record.
fn measure_file(path: &Path, room: Room) -> Result<(u64, u64)> {
    let place = |at| format!("{}, byte {at}", path.file_name().unwrap_or_default().to_string_lossy());
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    match whole_bytes(&file, bytes, room)? {
        Ok(whole) => Ok((bytes, whole)),
        Err(at) => Err(Error::corrupt("stored bytes are damaged").at(place(at))),
    }
}

/// The bytes up to the end of a file's last whole record.
///
/// # Errors
/// As [`measure`].
pub(super) fn whole(path: &Path) -> Result<u64> {
    Ok(measure_file(path, Room::Ahead)?.1)
}

/// Appends a record to the bytes of a file, which end behind a whole one.
pub(super) fn append(bytes: &mut Vec<u8>, record: &[u8]) {
    let (mut rest, mut begun) = (record, false);
    loop {
        let left = (next_block(bytes.len() as u64) - bytes.len() as u64) as usize;
        let Some(room) = left.checked_sub(HEADER as usize) else {
            bytes.resize(bytes.len() + left, 0);
            continue;
        };
        let (now, later) = rest.split_at(rest.len().min(room));
        let part = match (begun, later.is_empty()) {
            (false, true) => FULL,
            (false, false) => FIRST,
            (true, false) => MIDDLE,
            (true, true) => LAST,
        };
        let covered = [&[part], now].concat();
        bytes.extend_from_slice(&masked_crc(&covered).to_le_bytes());
        bytes.extend_from_slice(&(now.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&covered);
        if later.is_empty() {
            return;
        }
        (rest, begun) = (later, true);
    }
}

/// The first place whose bytes do not agree with their checksum or length, in words.
pub(super) fn find_damage(directory: &Path) -> io::Result<Option<String>> {
    for path in files(directory)? {
        if let Some(at) = damage_in_file(&File::open(&path)?)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return Ok(Some(format!("{name}, byte {at}")));
        }
    }
    Ok(None)
}

/// How many bytes at the end of the log may be what is left of a write that was never synced, although
/// its length is there: no record begins behind the damage, and there is no other. `None` when damage is
/// elsewhere, or there is none.
pub(super) fn damaged_end(directory: &Path) -> io::Result<Option<u64>> {
    let mut files = files(directory)?;
    let Some(newest) = files.pop() else { return Ok(None) };
    for path in files {
        if damage_in_file(&File::open(&path)?)?.is_some() {
            return Ok(None);
        }
    }
    let file = File::open(&newest)?;
    let Some(damage) = damage_in_file(&file)? else { return Ok(None) };
    let length = file.metadata()?.len();
    if is_record_behind(&file, damage)? {
        return Ok(None);
    }
    Ok(whole_bytes(&file, damage, Room::Ahead)?.ok().map(|whole| length - whole))
}

/// Whether zeros stand where length and type of a record would.
fn is_hole(file: &File, at: u64, bytes: u64) -> io::Result<bool> {
    let mut header = [0; HEADER as usize];
    if at + HEADER > bytes {
        return Ok(false);
    }
    file.read_exact_at(&mut header, at)?;
    Ok(header[4..] == [0; 3])
}

/// Whether a record begins anywhere behind `place`.
fn is_record_behind(file: &File, place: u64) -> io::Result<bool> {
    let behind = |start, block: &[u8]| {
        let from = (place + 1).saturating_sub(start) as usize;
        (from..block.len()).any(|at| begins_record(block, at)).then_some(())
    };
    Ok(each_block(file, place - place % BLOCK, behind)?.is_some())
}

/// Whether a record begins at `at`, by its checksum.
fn begins_record(block: &[u8], at: usize) -> bool {
    let Some(header) = block.get(at..at + HEADER as usize) else { return false };
    let end = at + HEADER as usize + usize::from(u16::from_le_bytes([header[4], header[5]]));
    let stored = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    [FULL, FIRST].contains(&header[6]) && block.get(at + 6..end).is_some_and(|bytes| masked_crc(bytes) == stored)
}

/// The first fragment of a file that is not what was written, a torn end aside.
fn damage_in_file(file: &File) -> io::Result<Option<u64>> {
    let mut amid = false;
    each_block(file, 0, |start, block| damage_in(block, &mut amid).map(|at| start + at))
}

/// Shows each block from `start` on, until one gives something.
fn each_block<T>(file: &File, start: u64, mut show: impl FnMut(u64, &[u8]) -> Option<T>) -> io::Result<Option<T>> {
    let mut block = vec![0; BLOCK as usize];
    let length = file.metadata()?.len();
    for start in (start..length).step_by(BLOCK as usize) {
        let block = &mut block[..BLOCK.min(length - start) as usize];
        file.read_exact_at(block, start)?;
        if let Some(found) = show(start, block) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The log files in the order in which they were written.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut numbered = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == "log")) {
            numbered.push((number, path));
        }
    }
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

struct Fragment {
    part: u8,
    /// Where it ends, as its length says.
    end: u64,
}

/// The fragment at `at`, or `None` when no fragment can begin in what is left of the block.
fn fragment(header: [u8; HEADER as usize], at: u64) -> Option<Fragment> {
    let end = at + HEADER + u64::from(u16::from_le_bytes([header[4], header[5]]));
    (end <= next_block(at)).then_some(Fragment { part: header[6], end })
}

/// Where the block of the byte at `at` ends.
fn next_block(at: u64) -> u64 {
    at - at % BLOCK + BLOCK
}

/// Where the last whole record of a file of `length` bytes ends, or else the first part of a file that is
/// used again.
fn whole_bytes(file: &File, length: u64, room: Room) -> io::Result<Result<u64, u64>> {
    let (mut at, mut whole, mut amid) = (0, 0, false);
    loop {
        if next_block(at) - at < HEADER {
            at = next_block(at);
            whole = if amid { whole } else { at.min(length) };
        }
        if at + HEADER > length {
            return Ok(Ok(whole));
        }
        let mut header = [0; HEADER as usize];
        file.read_exact_at(&mut header, at)?;
        if OF_RECYCLED.contains(&header[6]) {
            return Ok(Err(at));
        }
        let Some(Fragment { part, end }) = fragment(header, at) else {
            // As RocksDB, which refuses this, but looks at what follows before it does.
            (at, amid) = (next_block(at), false);
            continue;
        };
        if end > length {
            return Ok(Ok(whole));
        }
        match part {
            NOTHING if room == Room::Never => return Ok(Ok(whole)),
            NOTHING => {
                (at, amid) = (next_block(at), false);
                continue;
            }
            FIRST => amid = true,
            MIDDLE => {}
            LAST if !amid => {}
            _ => {
                amid = false;
                whole = end;
            }
        }
        at = end;
    }
}

/// The first fragment of a block that is not what was written, or not where it was, a torn end aside.
/// `amid` says whether the block begins amid a record, then whether it ends so.
fn damage_in(block: &[u8], amid: &mut bool) -> Option<u64> {
    let length = block.len() as u64;
    let mut at = 0;
    while at + HEADER <= length {
        let header: [u8; HEADER as usize] = block[at as usize..(at + HEADER) as usize].try_into().ok()?;
        let Some(Fragment { part, end }) = fragment(header, at) else { return Some(at) };
        if part == NOTHING && end == at + HEADER {
            *amid = false;
            return None;
        }
        if end > length {
            return None;
        }
        let stored = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let misplaced = match part {
            FULL | FIRST => *amid,
            MIDDLE | LAST => !*amid,
            _ => false,
        };
        if misplaced || stored != masked_crc(&block[at as usize + 6..end as usize]) {
            return Some(at);
        }
        *amid = part == FIRST || part == MIDDLE;
        at = end;
    }
    None
}

/// The checksum of a fragment's part and content: CRC-32C, turned and shifted as RocksDB stores it.
fn masked_crc(bytes: &[u8]) -> u32 {
    let crc = !bytes.iter().fold(!0, |crc: u32, &byte| (crc >> 8) ^ CRC[usize::from(crc as u8 ^ byte)]);
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A log of records of these lengths, and where each ends.
    fn log(lengths: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (number, &length) in lengths.iter().enumerate() {
            let record = vec![number as u8; length];
            let mut rest = &record[..];
            let mut begun = false;
            loop {
                let left = BLOCK as usize - bytes.len() % BLOCK as usize;
                if left < HEADER as usize {
                    bytes.resize(bytes.len() + left, 0);
                    continue;
                }
                let (now, later) = rest.split_at(rest.len().min(left - HEADER as usize));
                let part = match (begun, later.is_empty()) {
                    (false, true) => FULL,
                    (false, false) => FIRST,
                    (true, false) => MIDDLE,
                    (true, true) => LAST,
                };
                let content = [&[part], now].concat();
                bytes.extend(masked_crc(&content).to_le_bytes());
                bytes.extend((now.len() as u16).to_le_bytes());
                bytes.extend(content);
                (rest, begun) = (later, true);
                if rest.is_empty() {
                    break;
                }
            }
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn written(bytes: &[u8]) -> TempDir {
        let place = TempDir::new().unwrap();
        fs::write(place.path().join("000007.log"), bytes).unwrap();
        place
    }

    const LENGTHS: [usize; 6] = [10, 40_000, 32 * 1024 - 25, 0, 100_000, 300];

    #[test]
    fn what_is_behind_the_last_whole_record_is_torn() {
        let (bytes, ends) = log(&LENGTHS);
        let cuts = (0..bytes.len()).step_by(97).chain(ends.iter().flat_map(|end| [end - 1, *end, end + 1]));
        for cut in cuts.filter(|cut| *cut <= bytes.len()) {
            let place = written(&bytes[..cut]);
            let whole = ends.iter().copied().filter(|end| *end <= cut).max().unwrap_or(0);
            let torn = measure(place.path()).unwrap().torn_bytes as usize;
            // Zeros that fill a block up belong to no record, torn or whole.
            assert!(torn == cut - whole || torn + HEADER as usize > cut - whole && torn < cut - whole, "cut at {cut}");
            assert_eq!(find_damage(place.path()).unwrap(), None, "cut at {cut}");
        }
        let sizes = measure(written(&bytes).path()).unwrap();
        assert_eq!(sizes, LogSizes { files: 1, bytes: bytes.len() as u64, torn_bytes: 0 });
    }

    #[test]
    fn a_part_that_rocksdb_would_look_at_for_ever_is_refused_wherever_it_is() {
        let (bytes, ends) = log(&LENGTHS);
        for begin in [0, ends[0], ends[2], ends[4]] {
            for part in OF_RECYCLED {
                let mut spoilt = bytes.clone();
                spoilt[begin + 6] = part;
                let error = measure(written(&spoilt).path()).unwrap_err();
                assert_eq!(error.place(), Some(format!("000007.log, byte {begin}").as_str()));
                let place = TempDir::new().unwrap();
                fs::write(place.path().join("CURRENT"), "MANIFEST-000003\n").unwrap();
                fs::write(place.path().join("MANIFEST-000003"), &spoilt).unwrap();
                let error = check_list(place.path()).unwrap_err();
                assert_eq!(error.place(), Some(format!("MANIFEST-000003, byte {begin}").as_str()));
            }
        }
    }

    #[test]
    fn zeros_amid_a_list_of_files_are_what_a_power_cut_leaves_and_a_wrong_length_is_not() {
        let (bytes, ends) = log(&[10, 5_000, 30, 9_000, 40]);
        let place = TempDir::new().unwrap();
        fs::write(place.path().join("CURRENT"), "MANIFEST-000003\n").unwrap();
        for (number, begin) in [0].into_iter().chain(ends.iter().copied()).enumerate().take(ends.len()) {
            let mut spoilt = bytes.clone();
            spoilt[begin..ends[number].min(begin + 4096)].fill(0);
            fs::write(place.path().join("MANIFEST-000003"), &spoilt).unwrap();
            assert!(check_list(place.path()).unwrap(), "byte {begin}");
            let mut spoilt = bytes.clone();
            spoilt[begin + 5] ^= 0x80;
            fs::write(place.path().join("MANIFEST-000003"), &spoilt).unwrap();
            match check_list(place.path()) {
                // The last cannot be told from a write that was cut off.
                Ok(torn) => assert!(torn && number + 1 == ends.len(), "byte {begin}"),
                Err(error) => assert_eq!(error.kind(), crate::ErrorKind::Corrupt),
            }
        }
    }

    #[test]
    fn damage_is_found_at_the_fragment_it_is_in() {
        let (mut bytes, ends) = log(&LENGTHS);
        for at in (0..ends[4]).step_by(61) {
            bytes[at] ^= 0x10;
            let mut blocks = (0..).step_by(BLOCK as usize).zip(bytes.chunks(BLOCK as usize));
            let mut amid = false;
            let found = blocks.find_map(|(start, block)| damage_in(block, &mut amid).map(|at| start + at));
            bytes[at] ^= 0x10;
            let filling = bytes[at..].iter().take_while(|byte| **byte == 0).count() >= 1 && found.is_none();
            let near = found.is_some_and(|found| (found as usize) <= at && at - (found as usize) < BLOCK as usize);
            assert!(near || filling, "byte {at}: {found:?}");
        }
        bytes[ends[0] + 9] ^= 1;
        let place = written(&bytes);
        assert_eq!(find_damage(place.path()).unwrap(), Some(format!("000007.log, byte {}", ends[0])));
    }

    #[test]
    fn only_damage_behind_which_no_record_begins_may_be_an_end_that_was_never_synced() {
        let (bytes, ends) = log(&LENGTHS);
        let end_of = |bytes: &[u8]| damaged_end(written(bytes).path()).unwrap();
        assert_eq!(end_of(&bytes), None, "nothing is damaged");
        // Any byte of a record before the last one: checksum, length, part, content.
        for at in (0..ends[4]).step_by(1999).chain((0..9).map(|at| ends[1] + at)) {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 0x10;
            assert_eq!(end_of(&spoilt), None, "byte {at}");
        }
        for (last, at) in [(5, ends[4]), (5, ends[4] + 6), (5, ends[4] + 200), (4, ends[3] + 3), (4, ends[3] + 70_000)]
        {
            let mut spoilt = bytes[..ends[last]].to_vec();
            spoilt[at] ^= 0x10;
            let torn = end_of(&spoilt).unwrap() as usize;
            let whole = ends[last] - ends[last - 1];
            assert!(torn == whole || torn + HEADER as usize > whole && torn < whole, "byte {at}: {torn} of {whole}");
        }
        // A page of the last record but one, and nothing else, is zeros.
        let mut spoilt = bytes[..ends[4]].to_vec();
        spoilt[ends[3] + 5000..ends[3] + 9096].fill(0);
        assert!(end_of(&spoilt).is_some());
        // And so is the page in which another of its fragments begins.
        let mut spoilt = bytes[..ends[4]].to_vec();
        let second = ends[3].next_multiple_of(BLOCK as usize);
        spoilt[second..second + 4096].fill(0);
        assert!(end_of(&spoilt).is_some());
        let place = written(&spoilt);
        fs::write(place.path().join("000008.log"), &bytes).unwrap();
        assert_eq!(damaged_end(place.path()).unwrap(), None, "another file follows");
    }

    #[test]
    fn the_checksum_is_the_one_rocksdb_has() {
        // CRC-32C of "123456789" is E3069283.
        assert_eq!(masked_crc(b"123456789"), 0xE306_9283_u32.rotate_right(15).wrapping_add(0xA282_EAD8));
    }
}
