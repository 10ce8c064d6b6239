//! Text in pieces of whole lines, or of whole rows where a quoted cell may hold line ends.

use std::io::{self, Read};

const READ_BYTES: usize = 128 * 1024;

/// How text is split.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Size that a piece should have, larger when a single line is.
    pub(super) block_bytes: usize,
    /// Bytes of a line or row, without its line end.
    pub(super) max_line_bytes: usize,
    /// For CSV: delimiter and quote. A line end inside quotes does not end a row.
    pub(super) quotes: Option<(u8, u8)>,
    /// Hand on whole lines as soon as they are there.
    pub(super) live: bool,
}

/// Some whole lines.
#[derive(Debug, PartialEq)]
pub(super) struct Piece {
    /// Number of the first line, counted from 1.
    pub(super) first_line: u64,
    /// The lines with their ends; of a refused line, its beginning.
    pub(super) bytes: Vec<u8>,
    /// Why the line is refused, if it is one that could not be read to its end.
    pub(super) refusal: Option<String>,
}

/// Cuts what a reader gives into pieces. Memory is bounded by one piece and one line.
pub(super) struct Splitter<R> {
    reader: R,
    rules: Rules,
    buffer: Vec<u8>,
    /// Number of the line that begins the buffer.
    line: u64,
    ended: bool,
    /// The reader failed; the whole lines read before that come first.
    failed: Option<io::Error>,
    begun: bool,
    /// In the rest of a refused line.
    skipping: bool,
    scan: Scan,
}

impl<R: Read> Splitter<R> {
    pub(super) fn new(reader: R, rules: Rules) -> Splitter<R> {
        let scan = Scan::default();
        let buffer = Vec::new();
        Splitter { reader, rules, buffer, line: 1, ended: false, failed: None, begun: false, skipping: false, scan }
    }

    /// Number of the next line.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The next piece; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        if !self.begun {
            self.begun = true;
            self.skip_byte_order_mark();
        }
        loop {
            if self.skipping && !self.skip_line() && self.ended {
                return Ok(None);
            }
            if !self.skipping {
                self.scan.advance(&self.buffer, &self.rules);
                let whole = self.scan.whole;
                if self.scan.too_long && whole == 0 {
                    return Ok(Some(self.refuse_long()));
                }
                let enough = self.scan.too_long || self.rules.live || self.buffer.len() >= self.rules.block_bytes;
                let no_more = self.failed.is_some() || (self.ended && self.scan.in_quotes());
                if whole > 0 && (enough || no_more) {
                    return Ok(Some(self.cut(whole)));
                }
                if self.ended {
                    return Ok(match (self.buffer.len(), self.scan.in_quotes()) {
                        (0, _) => None,
                        (_, true) => Some(self.refuse("a quote is not closed".to_owned(), usize::MAX)),
                        (all, false) => Some(self.cut(all)),
                    });
                }
            }
            if let Some(cause) = self.failed.take() {
                return Err(cause);
            }
            self.fill();
        }
    }

    /// Reads until there is enough for a piece; once, when lines are wanted as they arrive.
    fn fill(&mut self) {
        let target = self.buffer.len().max(self.rules.block_bytes.saturating_sub(1)) + 1;
        self.buffer.reserve(target - self.buffer.len() + READ_BYTES);
        while self.buffer.len() < target && !self.ended && self.failed.is_none() {
            let held = self.buffer.len();
            self.buffer.resize(held + READ_BYTES, 0);
            let read = self.reader.read(&mut self.buffer[held..]);
            self.buffer.truncate(held + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(count) => self.ended = count == 0,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => self.failed = Some(cause),
            }
            if self.rules.live {
                break;
            }
        }
    }

    fn skip_byte_order_mark(&mut self) {
        while self.buffer.len() < 3 && !self.ended && self.failed.is_none() {
            self.fill();
        }
        if self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.buffer.drain(..3);
        }
    }

    /// Drops the buffer to the end of the line; whether that end was there.
    fn skip_line(&mut self) -> bool {
        match memchr::memchr(b'\n', &self.buffer) {
            Some(end) => {
                self.buffer.drain(..=end);
                self.line += 1;
                self.skipping = false;
                true
            }
            None => {
                self.buffer.clear();
                false
            }
        }
    }

    /// Takes the first `end` bytes as a piece.
    fn cut(&mut self, end: usize) -> Piece {
        let mut rest = Vec::with_capacity(self.rules.block_bytes + READ_BYTES);
        rest.extend_from_slice(&self.buffer[end..]);
        self.buffer.truncate(end);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        let first_line = self.line;
        self.line += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        self.scan.forget(end);
        Piece { first_line, bytes, refusal: None }
    }

    fn refuse_long(&mut self) -> Piece {
        let max = self.rules.max_line_bytes;
        let reason =
            if self.scan.in_quotes() { format!("a quote is not closed within {max} bytes") } else { long_reason(max) };
        self.refuse(reason, kept_bytes(max))
    }

    /// Refuses the line that begins the buffer. Of a row whose quote is not closed only this line
    /// is refused: what follows was most likely not meant to be inside the quote.
    fn refuse(&mut self, reason: String, kept_bytes: usize) -> Piece {
        let end = memchr::memchr(b'\n', &self.buffer).unwrap_or(self.buffer.len());
        let bytes = self.buffer[..end.min(kept_bytes)].to_vec();
        self.skipping = true;
        self.scan = Scan::default();
        Piece { first_line: self.line, bytes, refusal: Some(reason) }
    }
}

/// Why `line` is refused and what is kept of it, if it is too long.
pub(super) fn too_long(line: &[u8], max_line_bytes: usize) -> Option<(String, &[u8])> {
    (line.len() > max_line_bytes).then(|| (long_reason(max_line_bytes), &line[..kept_bytes(max_line_bytes)]))
}

fn long_reason(max_line_bytes: usize) -> String {
    format!("longer than {max_line_bytes} bytes; its first {} are kept", kept_bytes(max_line_bytes))
}

/// How much of a line that is too long is kept for its reject.
fn kept_bytes(max_line_bytes: usize) -> usize {
    max_line_bytes.min(1024)
}

/// What is known of the buffer: how far it was looked at, and where the last whole line ends.
#[derive(Default)]
struct Scan {
    /// Bytes looked at.
    seen: usize,
    /// Bytes of whole lines.
    whole: usize,
    /// The line behind `whole` is longer than allowed.
    too_long: bool,
    state: State,
}

/// Where in a row the scan is; the same states as in the `csv` crate, which decodes the rows later.
#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    CellStart,
    Plain,
    Quoted,
    QuoteInQuoted,
}

impl Scan {
    fn in_quotes(&self) -> bool {
        self.state == State::Quoted
    }

    /// Forgets the first `end` bytes, which were cut off.
    fn forget(&mut self, end: usize) {
        *self = if end == self.whole && !self.too_long {
            Scan { seen: self.seen - end, whole: 0, too_long: false, state: self.state }
        } else {
            Scan::default()
        };
    }

    fn advance(&mut self, buffer: &[u8], rules: &Rules) {
        match rules.quotes {
            None => self.advance_lines(buffer),
            Some((delimiter, quote)) => self.advance_rows(buffer, delimiter, quote, rules.max_line_bytes),
        }
        // One byte more may be the first of the two that end the line.
        self.too_long |= self.seen - self.whole > rules.max_line_bytes + 1;
    }

    fn advance_lines(&mut self, buffer: &[u8]) {
        if let Some(last) = memchr::memrchr(b'\n', &buffer[self.seen..]) {
            self.whole = self.seen + last + 1;
        }
        self.seen = buffer.len();
    }

    fn advance_rows(&mut self, buffer: &[u8], delimiter: u8, quote: u8, max_line_bytes: usize) {
        while self.seen < buffer.len() && self.seen - self.whole <= max_line_bytes + 1 {
            let byte = buffer[self.seen];
            self.seen += 1;
            self.state = match self.state {
                State::Quoted if byte == quote => State::QuoteInQuoted,
                State::Quoted => State::Quoted,
                State::QuoteInQuoted if byte == quote => State::Quoted,
                State::CellStart if byte == quote => State::Quoted,
                _ if byte == b'\n' => {
                    self.whole = self.seen;
                    State::CellStart
                }
                _ if byte == delimiter => State::CellStart,
                _ => State::Plain,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: Rules = Rules { block_bytes: 1 << 20, max_line_bytes: 1 << 20, quotes: None, live: false };
    const QUOTES: Option<(u8, u8)> = Some((b',', b'"'));

    /// First line, text and whether it is refused, of each piece.
    fn pieces(text: &[u8], rules: Rules) -> Vec<(u64, String, bool)> {
        let mut splitter = Splitter::new(text, rules);
        let mut pieces = Vec::new();
        while let Some(piece) = splitter.next().unwrap() {
            let text = String::from_utf8_lossy(&piece.bytes).into_owned();
            pieces.push((piece.first_line, text, piece.refusal.is_some()));
        }
        pieces
    }

    fn piece(first_line: u64, text: &str, refused: bool) -> (u64, String, bool) {
        (first_line, text.to_owned(), refused)
    }

    #[test]
    fn a_line_that_does_not_end_is_refused_alone() {
        let rules = Rules { max_line_bytes: 5, block_bytes: 1, ..RULES };
        let long = "x".repeat(READ_BYTES * 3);
        assert_eq!(
            pieces(format!("12345\r\n{long}\n\n1").as_bytes(), rules),
            [piece(1, "12345\r\n", false), piece(2, "xxxxx", true), piece(3, "\n", false), piece(4, "1", false)]
        );
        assert_eq!(pieces(long.as_bytes(), rules), [piece(1, "xxxxx", true)]);
    }

    #[test]
    fn the_mark_at_the_start_is_no_text() {
        assert_eq!(pieces(b"\xef\xbb\xbfa\nb", RULES), [piece(1, "a\nb", false)]);
        assert_eq!(pieces(b"", RULES), []);
        assert_eq!(pieces(b"\xef\xbb\xbf", RULES), []);
    }

    #[test]
    fn a_quoted_line_end_ends_no_row() {
        let rules = Rules { quotes: QUOTES, live: true, ..RULES };
        assert_eq!(pieces(b"a,\"b\n\"\"c\"\nd", rules), [piece(1, "a,\"b\n\"\"c\"\n", false), piece(3, "d", false)]);
        // A quote inside a plain cell is an ordinary character.
        assert_eq!(pieces(b"5\" pipe\nx", rules), [piece(1, "5\" pipe\n", false), piece(2, "x", false)]);
    }

    #[test]
    fn a_quote_that_is_not_closed_costs_one_line() {
        let rules = Rules { quotes: QUOTES, ..RULES };
        assert_eq!(
            pieces(b"a\nb,\"c\nd\ne", rules),
            [piece(1, "a\n", false), piece(2, "b,\"c", true), piece(3, "d\ne", false)]
        );
        let short = Rules { max_line_bytes: 6, ..rules };
        assert_eq!(
            pieces(b"a\n\"c\nd\nefghi\n", short),
            [piece(1, "a\n", false), piece(2, "\"c", true), piece(3, "d\nefghi\n", false)]
        );
    }

    proptest! {
        #[test]
        fn the_size_of_pieces_loses_no_byte_and_no_line(text in "[a,\"\r\n]{0,80}", block_bytes in 1..20_usize) {
            for (quotes, live) in [(None, false), (None, true), (QUOTES, false), (QUOTES, true)] {
                let mut line = 1;
                let mut whole = String::new();
                let rules = Rules { quotes, live, block_bytes, ..RULES };
                for (first_line, text, refused) in pieces(text.as_bytes(), rules) {
                    prop_assert_eq!(first_line, line);
                    whole.push_str(&text);
                    line += text.matches('\n').count() as u64;
                    if refused {
                        whole.push('\n');
                        line += 1;
                    }
                }
                prop_assert_eq!(whole.trim_end_matches('\n'), text.trim_end_matches('\n'));
            }
        }
    }
}
