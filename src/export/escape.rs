//! Escaping of text from data for people's eyes.

use std::fmt::{self, Write};

/// `text` with every character that could steer a terminal or deceive a reader written as `\u{..}`.
///
/// Escaped are control characters (C0 with tab and line feed, DEL, C1), bidirectional controls, line
/// and paragraph separators, and characters that show nothing: zero-width ones, fillers, tags. Everything else,
/// letters of any script and emoji included, stays as it is.
///
/// ```
/// use ofone::export::escape;
/// assert_eq!(escape("naïve 漢字").to_string(), "naïve 漢字");
/// assert_eq!(escape("\x1b[2Jgone").to_string(), r"\u{1b}[2Jgone");
/// ```
pub fn escape(text: &str) -> Escaped<'_> {
    Escaped(text)
}

/// Text that displays escaped; made by [`escape`]. Honours width, fill and precision like `str`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.contains(is_unsafe) {
            return f.pad(self.0);
        }
        let mut safe = String::with_capacity(self.0.len() + 16);
        for character in self.0.chars() {
            if is_unsafe(character) {
                write!(safe, "{}", character.escape_unicode())?;
            } else {
                safe.push(character);
            }
        }
        f.pad(&safe)
    }
}

/// Whether a character is never written to an output as it is.
pub(super) fn is_unsafe(character: char) -> bool {
    match character {
        ' '..='~' => false,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' => true,
        // Bidirectional controls: marks, embeddings, overrides, isolates and their deprecated kin.
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => true,
        // Line and paragraph separator.
        '\u{2028}' | '\u{2029}' => true,
        // Zero width: soft hyphen, grapheme joiner, vowel separator, space, joiners, word joiner and invisible
        // operators, byte order mark, annotations, tags and the variation selectors used to smuggle text.
        '\u{ad}' | '\u{34f}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' => true,
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => true,
        // Letters and marks that show as nothing.
        '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_class_of_dangerous_character_is_escaped() {
        let classes = [
            ('\0', r"\u{0}"),
            ('\t', r"\u{9}"),
            ('\n', r"\u{a}"),
            ('\r', r"\u{d}"),
            ('\x1b', r"\u{1b}"),
            ('\x1f', r"\u{1f}"),
            ('\x7f', r"\u{7f}"),
            ('\u{80}', r"\u{80}"),
            ('\u{9b}', r"\u{9b}"),
            ('\u{9f}', r"\u{9f}"),
            ('\u{ad}', r"\u{ad}"),
            ('\u{61c}', r"\u{61c}"),
            ('\u{200b}', r"\u{200b}"),
            ('\u{200d}', r"\u{200d}"),
            ('\u{200e}', r"\u{200e}"),
            ('\u{2028}', r"\u{2028}"),
            ('\u{2029}', r"\u{2029}"),
            ('\u{202a}', r"\u{202a}"),
            ('\u{202e}', r"\u{202e}"),
            ('\u{2060}', r"\u{2060}"),
            ('\u{2066}', r"\u{2066}"),
            ('\u{2069}', r"\u{2069}"),
            ('\u{feff}', r"\u{feff}"),
            ('\u{e0041}', r"\u{e0041}"),
        ];
        for (character, expected) in classes {
            assert_eq!(escape(&format!("a{character}b")).to_string(), format!("a{expected}b"));
        }
    }

    #[test]
    fn ordinary_text_of_any_script_stays() {
        for text in ["", "call.dropped", "ünïcödé", "日本語", "עברית", "مرحبا", "🙂 £ \u{a0}~"] {
            assert_eq!(escape(text).to_string(), text);
        }
    }

    #[test]
    fn width_counts_the_escaped_text() {
        assert_eq!(format!("{:>8}", escape("\u{1b}x")), r" \u{1b}x");
        assert_eq!(format!("{:<5}|", escape("ab")), "ab   |");
    }

    proptest! {
        #[test]
        fn nothing_dangerous_gets_through(
            text in proptest::collection::vec(
                prop_oneof![
                    any::<char>(), proptest::char::range('\0', '\u{9f}'), proptest::char::range('\u{2000}', '\u{206f}')
                ],
                0..40,
            )
        ) {
            let text: String = text.into_iter().collect();
            let escaped = escape(&text).to_string();
            prop_assert!(!escaped.chars().any(char::is_control));
            prop_assert!(!escaped.contains(is_unsafe));
            prop_assert_eq!(escape(&escaped).to_string(), escaped, "escaping is idempotent");
        }
    }
}
