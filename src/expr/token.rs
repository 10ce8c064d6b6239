//! Text to tokens: words, quoted texts, symbols.

use crate::error::Result;
use crate::expr::excerpt::{misplaced, shown};
use crate::model::Text;

/// Words that join what is around them, so as values they are quoted.
pub(super) const RESERVED: [&str; 6] = ["and", "in", "minus", "not", "or", "within"];

/// Longer ones before those they begin with.
const SYMBOLS: [&str; 15] = ["->", "==", "!=", "!~", "<=", ">=", "=", "~", "<", ">", "(", ")", "[", "]", ","];

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'t> {
    Word(&'t str),
    Quoted(Text),
    Symbol(&'static str),
    End,
}

/// A token and its first byte in the text.
#[derive(Clone, Debug)]
pub(super) struct Placed<'t> {
    pub(super) token: Token<'t>,
    pub(super) at: usize,
    /// First byte after it.
    pub(super) end: usize,
}

/// Whether a word of a text may hold the character.
fn is_in_words(character: char) -> bool {
    matches!(character, '_' | '.' | ':' | '/' | '-' | '+' | '@' | '*' | '%') || character.is_alphanumeric()
}

/// Whether canonical text writes `text` without quotes. Other letters than ASCII could be written so
/// too; some of them look like nothing.
pub(super) fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| character.is_ascii() && is_in_words(character))
}

/// All tokens of the text, and behind them [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Placed<'_>>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, length) = if first == '"' {
            quoted(text, at)?
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else {
            let length = word_length(rest);
            if length == 0 {
                return Err(misplaced(text, at, &unexpected(first)));
            }
            (Token::Word(&rest[..length]), length)
        };
        tokens.push(Placed { token, at, end: at + length });
        at += length;
    }
    let end = text.trim_end().len();
    tokens.push(Placed { token: Token::End, at: end, end });
    Ok(tokens)
}

/// Bytes of the word that `rest` begins with; an arrow ends it.
fn word_length(rest: &str) -> usize {
    let outside = |(at, character): (usize, char)| {
        let ends = !is_in_words(character) || rest[at..].starts_with("->");
        ends.then_some(at)
    };
    rest.char_indices().find_map(outside).unwrap_or(rest.len())
}

/// The quoted text at `at`, and its bytes with both quotes.
fn quoted(text: &str, at: usize) -> Result<(Token<'_>, usize)> {
    let mut content = String::new();
    let mut characters = text[at..].char_indices().skip(1);
    while let Some((offset, character)) = characters.next() {
        match character {
            '"' => return Ok((Token::Quoted(content.into()), offset + 1)),
            '\\' => {
                let Some((escape, length)) = escaped(&text[at + offset + 1..]) else {
                    let message = r#"unknown escape; there are `\"`, `\\`, `\n`, `\t` and `\u{1f4de}`"#;
                    return Err(misplaced(text, at + offset, message));
                };
                content.push(escape);
                characters.nth(length - 1);
            }
            _ => content.push(character),
        }
    }
    Err(misplaced(text, at, "this quote is never closed"))
}

/// The character that an escape stands for, given what follows the backslash, and the characters it takes.
fn escaped(rest: &str) -> Option<(char, usize)> {
    match rest.chars().next()? {
        'n' => Some(('\n', 1)),
        't' => Some(('\t', 1)),
        same @ ('"' | '\\') => Some((same, 1)),
        'u' => {
            let (digits, _) = rest.strip_prefix("u{")?.split_once('}')?;
            let valid = (1..=6).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let code = valid.then(|| u32::from_str_radix(digits, 16).ok())??;
            Some((char::from_u32(code)?, digits.len() + 3))
        }
        _ => None,
    }
}

fn unexpected(character: char) -> String {
    let hint = match character {
        '\'' | '`' | '‘' | '’' | '“' | '”' => "; texts are quoted with `\"`",
        '&' => "; write `and`",
        '|' => "; write `or`",
        '!' => "; write `not`",
        '→' => "; an arrow is written `->`",
        '–' | '−' => "; a minus sign is written `-`",
        _ => "; a text with such a character is quoted with `\"`",
    };
    format!("unexpected character `{}`{hint}", shown(character.encode_utf8(&mut [0; 4])))
}
