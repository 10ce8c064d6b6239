//! What the terminal can show: width, colours, characters.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal};

use ofone::Severity;

/// The place where tables are drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// Columns.
    pub(crate) width: usize,
    /// Whether severities may be coloured.
    pub(crate) colour: bool,
    /// Whether box-drawing characters can be shown.
    pub(crate) unicode: bool,
}

impl Screen {
    /// What stdout can show.
    pub(crate) fn of_stdout() -> Screen {
        let terminal = stdout_is_terminal();
        Screen {
            width: width(),
            colour: terminal && unset("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb"),
            unicode: locale_is_unicode(),
        }
    }

    /// `text` in the colour of `severity`. The text must be escaped already.
    pub(crate) fn paint(&self, severity: Severity, text: impl Display) -> String {
        let code = match severity.number() {
            _ if !self.colour => return text.to_string(),
            0 | 9..=12 => return text.to_string(),
            1..=8 => "2",
            13..=16 => "33",
            17..=20 => "31",
            _ => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The mark of an event of this severity.
    pub(crate) fn mark(&self, severity: Severity) -> char {
        let (unicode, ascii) = match severity.number() {
            0 | 9..=12 => ('●', 'o'),
            1..=8 => ('·', '.'),
            13..=16 => ('▲', '!'),
            17..=20 => ('■', 'X'),
            _ => ('✖', '#'),
        };
        if self.unicode { unicode } else { ascii }
    }

    /// One of two texts, by what the locale can show.
    pub(crate) fn pick(&self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { unicode } else { ascii }
    }
}

/// Whether stdout is read by a person.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Columns of the terminal; `COLUMNS` or 100 where there is none.
fn width() -> usize {
    let asked = || env::var("COLUMNS").ok()?.parse().ok();
    let measured = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    measured.or_else(asked).unwrap_or(100).max(40)
}

fn unset(name: &str) -> bool {
    env::var_os(name).is_none_or(|value| value.is_empty())
}

/// By POSIX the first of these that is set decides; where none is, today's terminals are Unicode.
fn locale_is_unicode() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| env::var(name).ok());
    let decides = locale.into_iter().find(|value| !value.is_empty());
    decides.is_none_or(|value| value.to_ascii_lowercase().contains("utf"))
}

/// Columns that a text takes: two for East Asian wide characters and emoji, none for combining marks.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(character: char) -> usize {
    match character as u32 {
        0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x610..=0x61a | 0x64b..=0x65f | 0x93c | 0x94d => 0,
        0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0x33ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff => 2,
        0xa000..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 => 2,
        0xffe0..=0xffe6 | 0x1f300..=0x1f64f | 0x1f680..=0x1f6ff | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// `text` cut to at most `limit` columns, the last one showing that something is missing.
pub(crate) fn cut(text: &str, limit: usize, missing: &str) -> String {
    if columns(text) <= limit {
        return text.to_owned();
    }
    let room = limit.saturating_sub(columns(missing));
    let mut used = 0;
    let fits = |character: &char| {
        used += columns_of(*character);
        used <= room
    };
    let kept: String = text.chars().take_while(fits).collect();
    kept + missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_columns_not_bytes() {
        assert_eq!(cut("short", 5, "…"), "short");
        assert_eq!(cut("longer", 5, "…"), "long…");
        assert_eq!(cut("日本語", 5, "…"), "日本…");
        assert_eq!(columns("e\u{301}"), 1);
    }

    #[test]
    fn only_unusual_severities_are_coloured() {
        let screen = Screen { width: 80, colour: true, unicode: true };
        assert_eq!(screen.paint(Severity::INFO, "x"), "x");
        assert_eq!(screen.paint(Severity::ERROR, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Screen { colour: false, ..screen }.paint(Severity::FATAL, "x"), "x");
    }
}
