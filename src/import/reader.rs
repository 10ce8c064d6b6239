//! The import: one thread reads and splits, several decode, the caller takes the results in order.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::error::{Error, ErrorKind, Result};
use crate::import::decompress::{self, Guard};
use crate::import::input::Input;
use crate::import::json::Node;
use crate::import::lines::{Piece, Rules, Splitter, too_long};
use crate::import::mapping::Mapping;
use crate::import::parsed::{Parsed, Row};
use crate::import::{csv, native};
use crate::model::limits::{LINE_BYTES, LINE_BYTES_ASKED, UNPACKED_BYTES, UNPACKED_RATIO};
use crate::model::{Record, Text};

/// What the text is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Format {
    /// Native NDJSON.
    Native,
    /// NDJSON, CSV or TSV of any shape, as a mapping file says.
    Mapped(Arc<Mapping>),
}

impl From<Mapping> for Format {
    fn from(mapping: Mapping) -> Format {
        Format::Mapped(Arc::new(mapping))
    }
}

/// How to import; the defaults suit files of any size.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    threads: usize,
    block_bytes: usize,
    max_line_bytes: usize,
    guard: Guard,
}

impl Default for ImportOptions {
    fn default() -> ImportOptions {
        ImportOptions {
            threads: thread::available_parallelism().map_or(1, usize::from),
            block_bytes: 1 << 20,
            max_line_bytes: LINE_BYTES,
            guard: Guard { free_bytes: UNPACKED_BYTES, max_ratio: UNPACKED_RATIO },
        }
    }
}

impl ImportOptions {
    /// The defaults.
    pub fn new() -> ImportOptions {
        ImportOptions::default()
    }

    /// Threads that decode, at least 1; by default as many as there are processors.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> ImportOptions {
        self.threads = threads.max(1);
        self
    }

    /// Bytes of text that one [`Parsed`] is made of, about; 1 MiB by default.
    #[must_use]
    pub fn block_bytes(mut self, bytes: usize) -> ImportOptions {
        self.block_bytes = bytes.clamp(1, 1 << 28);
        self
    }

    /// Bytes of the longest line or row that is not refused; 1 MiB by default, at most 1 GiB.
    #[must_use]
    pub fn max_line_bytes(mut self, bytes: usize) -> ImportOptions {
        self.max_line_bytes = bytes.clamp(1, LINE_BYTES_ASKED);
        self
    }

    /// The guard against decompression bombs: a compressed input is given up once more than
    /// `free_bytes` have come out of it and these are more than `ratio` times what went in. By
    /// default 4 GiB and 200. Before `free_bytes` no ratio is too high.
    #[must_use]
    pub fn expansion(mut self, free_bytes: u64, ratio: u64) -> ImportOptions {
        self.guard = Guard { free_bytes, max_ratio: ratio.max(1) };
        self
    }
}

/// An import under way: an iterator of [`Parsed`] in the order of the inputs and their lines.
///
/// Memory is bounded: no more than two blocks per thread are ahead of the caller. An error is the
/// last item: an input that cannot be opened, read or decompressed, or that lacks a column of the
/// mapping; it names the input and the line reached. All chunks before it stand.
///
/// ```
/// use ofone::import::{Format, Import, ImportOptions, Input};
/// let text = "{\"time\":\"2026-01-05T09:13:00Z\",\"source\":\"s\",\"kind\":\"k\",\"customer\":\"C42\"}\nnonsense\n";
/// let import = Import::new(vec![Input::reader("demo", text.as_bytes())], Format::Native, ImportOptions::new()).unwrap();
/// for parsed in import {
///     let parsed = parsed.unwrap();
///     assert_eq!(parsed.records.len(), 1);
///     assert_eq!((parsed.rejects[0].line, parsed.rejects[0].original.as_slice()), (2, b"nonsense".as_slice()));
/// }
/// ```
pub struct Import {
    /// Answers in the order of the pieces; `None` after the end or an error.
    answers: Option<Receiver<Receiver<Result<Parsed>>>>,
    taken: Arc<AtomicU64>,
    finished: Arc<AtomicBool>,
}

impl Import {
    /// Starts to read and decode.
    ///
    /// # Errors
    /// `Io` when a thread cannot be started. Everything about the inputs is told by the iterator.
    pub fn new(inputs: Vec<Input>, format: Format, options: ImportOptions) -> Result<Import> {
        let ahead = options.threads * 2;
        let taken = Arc::new(AtomicU64::new(0));
        let (answer_sender, answers) = bounded(ahead);
        let (job_sender, jobs) = bounded(ahead);
        let max_line_bytes = options.max_line_bytes;
        for _ in 0..options.threads {
            let (jobs, format) = (jobs.clone(), format.clone());
            let decode = move || {
                for Job { file, piece, columns, answer } in jobs {
                    // Nobody waits for the answer when the import was dropped.
                    let _ = answer.send(Ok(decode(file, piece, columns.as_deref(), &format, max_line_bytes)));
                }
            };
            thread::Builder::new().name("import-decode".to_owned()).spawn(decode)?;
        }
        let finished = Arc::new(AtomicBool::new(false));
        let feeder = Feeder {
            format,
            options,
            taken: Arc::clone(&taken),
            finished: Arc::clone(&finished),
            answers: answer_sender,
            jobs: job_sender,
        };
        thread::Builder::new().name("import-read".to_owned()).spawn(move || feeder.run(inputs))?;
        Ok(Import { answers: Some(answers), taken, finished })
    }

    /// Bytes read from the inputs so far, before decompression.
    pub fn bytes_read(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Iterator for Import {
    type Item = Result<Parsed>;

    fn next(&mut self) -> Option<Result<Parsed>> {
        // A thread that panics (a reader of the caller may) hangs up without an answer, or before
        // the end. That must not pass for the end of the input.
        let ended_early = || Err(Error::new(ErrorKind::Io, "a thread of the import ended early"));
        let parsed = match self.answers.as_ref()?.recv() {
            Ok(answer) => Some(answer.recv().unwrap_or_else(|_| ended_early())),
            Err(_) if self.finished.load(Ordering::Acquire) => None,
            Err(_) => Some(ended_early()),
        };
        if !matches!(parsed, Some(Ok(_))) {
            self.answers = None;
        }
        parsed
    }
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").field("bytes_read", &self.bytes_read()).finish_non_exhaustive()
    }
}

/// A piece to decode, and where to send what it is.
struct Job {
    file: Text,
    piece: Piece,
    columns: Option<Arc<Vec<String>>>,
    answer: Sender<Result<Parsed>>,
}

/// The thread that reads: it sends each piece to whoever decodes next, and to the caller, in
/// order, the channel on which the answer will come.
struct Feeder {
    format: Format,
    options: ImportOptions,
    taken: Arc<AtomicU64>,
    /// Set once all inputs are read to their end.
    finished: Arc<AtomicBool>,
    answers: Sender<Receiver<Result<Parsed>>>,
    jobs: Sender<Job>,
}

/// The caller went away.
struct Gone;

impl Feeder {
    fn run(self, inputs: Vec<Input>) {
        for input in inputs {
            let file = input.name().clone();
            match self.feed(input) {
                Ok(Ok(())) => {}
                Ok(Err(Gone)) => return,
                Err(error) => {
                    let (sender, answer) = bounded(1);
                    let _ = sender.send(Err(error.at(file)));
                    let _ = self.answers.send(answer);
                    return;
                }
            }
        }
        self.finished.store(true, Ordering::Release);
    }

    fn feed(&self, input: Input) -> Result<Result<(), Gone>> {
        let file = input.name().clone();
        let live = input.is_live();
        let dialect = match &self.format {
            Format::Native => None,
            Format::Mapped(mapping) => mapping.dialect(),
        };
        let rules = Rules {
            block_bytes: self.options.block_bytes,
            max_line_bytes: self.options.max_line_bytes,
            quotes: dialect.and_then(|dialect| Some((dialect.delimiter, dialect.quote?))),
            live,
        };
        let text = decompress::open(input.open()?, self.options.guard, Arc::clone(&self.taken))?;
        let mut splitter = Splitter::new(text, rules);
        let mut next = next_piece(&mut splitter)?;
        if next.is_none() {
            return Ok(Ok(()));
        }
        let columns = match (&self.format, dialect) {
            (Format::Mapped(mapping), Some(dialect)) => Some(Arc::new(dialect.columns(next.as_mut(), mapping)?)),
            _ => None,
        };
        while let Some(piece) = next {
            let (sender, answer) = bounded(1);
            let job = Job { file: file.clone(), piece, columns: columns.clone(), answer: sender };
            if self.answers.send(answer).is_err() || self.jobs.send(job).is_err() {
                return Ok(Err(Gone));
            }
            next = next_piece(&mut splitter)?;
        }
        Ok(Ok(()))
    }
}

fn next_piece<R: io::Read>(splitter: &mut Splitter<R>) -> Result<Option<Piece>> {
    splitter.next().map_err(|cause| Error::from(cause).at(format_args!("behind line {}", splitter.line() - 1)))
}

fn decode(file: Text, piece: Piece, columns: Option<&Vec<String>>, format: &Format, max_line_bytes: usize) -> Parsed {
    if let Some(reason) = piece.refusal {
        let mut parsed = Parsed::new(file, Vec::new());
        parsed.refuse(piece.first_line, reason, piece.bytes);
        return parsed;
    }
    let mut parsed = Parsed::new(file, piece.bytes);
    match (format, columns) {
        (Format::Mapped(mapping), Some(columns)) => {
            csv::decode(&mut parsed, piece.first_line, columns, mapping, max_line_bytes);
        }
        (Format::Mapped(mapping), None) => {
            let mapped = |line: &str, records: &mut Vec<Record>| mapping.records(&Node::parse(line)?, records);
            decode_lines(&mut parsed, piece.first_line, max_line_bytes, mapped);
        }
        (Format::Native, _) => {
            let native = |line: &str, records: &mut Vec<Record>| {
                records.push(native::parse(line)?);
                Ok(1)
            };
            decode_lines(&mut parsed, piece.first_line, max_line_bytes, native);
        }
    }
    parsed
}

/// Hands each line that is not empty to `records`, which adds what it makes of it and says how many.
fn decode_lines(
    parsed: &mut Parsed,
    first_line: u64,
    max_line_bytes: usize,
    records: impl Fn(&str, &mut Vec<Record>) -> Result<usize>,
) {
    let bytes = std::mem::take(&mut parsed.bytes);
    let whole = std::str::from_utf8(&bytes).ok();
    let mut start = 0;
    for (line, next) in (first_line..).zip(memchr::memchr_iter(b'\n', &bytes).chain([bytes.len()])) {
        let end = if next > start && bytes[next - 1] == b'\r' { next - 1 } else { next };
        let range = start..end;
        start = next + 1;
        let original = &bytes[range.clone()];
        if original.trim_ascii().is_empty() {
            continue;
        }
        if let Some((reason, kept)) = too_long(original, max_line_bytes) {
            parsed.refuse(line, reason, kept);
            continue;
        }
        // One check of the whole is faster than one for each line.
        let text = match whole {
            Some(whole) => Some(&whole[range.clone()]),
            None => std::str::from_utf8(original).ok(),
        };
        let Some(text) = text else {
            parsed.refuse(line, "not UTF-8", original);
            continue;
        };
        let before = parsed.records.len();
        match records(text, &mut parsed.records) {
            Ok(0) => parsed.skipped += 1,
            Ok(count) => parsed.rows.extend((0..count).map(|_| Row { line, range: range.clone() })),
            Err(error) => {
                parsed.records.truncate(before);
                parsed.refuse(line, error.message(), original);
            }
        }
    }
    parsed.bytes = bytes;
}

#[cfg(test)]
mod tests;
