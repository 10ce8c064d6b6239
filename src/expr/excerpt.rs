//! Where in a text something is wrong, for people.

use crate::error::Error;

/// Characters of the line shown before the place, and from there on.
const BEFORE: usize = 40;
const AFTER: usize = 32;

/// Most characters of a word that a message repeats.
const SHOWN: usize = 40;

/// An error at byte `at` of `text`: column, message, and below it the line with a caret under the place.
pub(super) fn misplaced(text: &str, at: usize, message: &str) -> Error {
    let start = text[..at].rfind('\n').map_or(0, |feed| feed + 1);
    let column = text[start..at].chars().count();
    let line = match text[..start].matches('\n').count() {
        0 if !text.contains('\n') => String::new(),
        feeds => format!("line {}, ", feeds + 1),
    };
    let (lead, skipped) = if column > BEFORE { ("…", column - BEFORE) } else { ("", 0) };
    let rest = text[start..].split('\n').next().unwrap_or_default();
    let mut shown: String = rest.chars().skip(skipped).take(BEFORE + AFTER).map(in_one_column).collect();
    if rest.chars().nth(skipped + BEFORE + AFTER).is_some() {
        shown.push('…');
    }
    let blank = " ".repeat(lead.chars().count() + column - skipped);
    Error::invalid(format!("{line}column {}: {message}\n  {lead}{}\n  {blank}^", column + 1, shown.trim_end()))
}

/// `text` cut short and escaped, as a message repeats it.
pub(super) fn shown(text: &str) -> String {
    let mut short = String::new();
    for character in text.chars().take(SHOWN) {
        if is_plain(character) {
            short.push(character);
        } else {
            short.extend(character.escape_unicode());
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}

/// The character, or a dot for one that would shift or deceive.
fn in_one_column(character: char) -> char {
    if is_plain(character) { character } else { '·' }
}

/// Whether a character is printed as it is: quotes and backslashes are, controls and the invisible are not.
fn is_plain(character: char) -> bool {
    matches!(character, ' '..='~') || character.is_alphanumeric() && character.escape_debug().len() == 1
}
