//! Text to trees, by recursive descent.
//!
//! Hostile text neither overflows the stack nor takes long: its bytes and its nesting are limited, no
//! token is looked at more than a few times, and a tree is refused before it is deeper than
//! [`EXPR_LEVELS`].

mod predicates;
mod sets;
mod times;

use std::str::FromStr;

use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::expr::algebra::Algebra;
use crate::expr::excerpt::{misplaced, shown};
use crate::expr::token::{Placed, RESERVED, Token, tokens};
use crate::expr::{Expr, MAX_NESTING, Predicate};
use crate::model::Text;
use crate::model::limits::{EXPR_BYTES, EXPR_LEVELS};

pub(super) use times::UNITS;

impl Expr {
    /// Reads an expression. Its times have an offset, as in `2026-01-01T00:00:00Z`.
    ///
    /// ```
    /// use ofone::Expr;
    /// let error = Expr::parse("did(sevrity >= error)").unwrap_err();
    /// assert_eq!(
    ///     error.message(),
    ///     "column 5: unknown field `sevrity`, did you mean `severity`?\n  did(sevrity >= error)\n      ^"
    /// );
    /// ```
    ///
    /// # Errors
    /// `Invalid`, with the place, for text that is no expression, is longer than 64 KiB or is nested
    /// more than 100 deep.
    pub fn parse(text: &str) -> Result<Expr> {
        read(text, None)
    }

    /// Reads an expression in which times may also be dates, `2026-01-01`, or dates with a time of day,
    /// `2026-01-01T14:30`, as clocks in `zone` show them: an IANA name such as `Europe/Paris`.
    ///
    /// A time of day that the clocks skip is read as if they had not been put forward yet; of one that
    /// they show twice, it is the first.
    ///
    /// # Errors
    /// As [`Expr::parse`], and `Invalid` for an unknown zone.
    pub fn parse_in(text: &str, zone: &str) -> Result<Expr> {
        read(text, Some(zone_named(zone)?))
    }
}

impl Predicate {
    /// Reads the test of an event.
    ///
    /// # Errors
    /// As [`Expr::parse`].
    pub fn parse(text: &str) -> Result<Predicate> {
        read(text, None)
    }
}

impl FromStr for Expr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Expr> {
        Expr::parse(text)
    }
}

impl FromStr for Predicate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Predicate> {
        Predicate::parse(text)
    }
}

fn zone_named(name: &str) -> Result<TimeZone> {
    TimeZone::get(name).map_err(|cause| {
        let name = shown(name);
        Error::invalid(format!("unknown zone `{name}`; a zone is named as in `Europe/Paris` or `UTC`")).because(cause)
    })
}

fn read<T: Algebra>(text: &str, zone: Option<TimeZone>) -> Result<T> {
    if text.len() > EXPR_BYTES {
        return Err(Error::invalid(format!("an expression has at most {EXPR_BYTES} bytes, got {}", text.len())));
    }
    let mut parser = Parser { text, tokens: tokens(text)?, next: 0, zone, nesting: 0, height: 0 };
    let tree = parser.any_of()?;
    match parser.token() {
        Token::End => Ok(tree),
        _ => Err(parser.expected(if T::HAS_MINUS { "`and`, `or`, `minus` or the end" } else { AFTER_TEST })),
    }
}

const AFTER_TEST: &str = "`and`, `or` or the end";

/// A text, and how far it is read.
pub(super) struct Parser<'t> {
    text: &'t str,
    /// The last one is [`Token::End`].
    tokens: Vec<Placed<'t>>,
    next: usize,
    zone: Option<TimeZone>,
    /// Operands that are being read, one inside the other.
    nesting: usize,
    /// Levels of the tree read last.
    height: usize,
}

/// The operators, weakest first: `or`; `and` and `minus`, from left to right; `not`.
impl<'t> Parser<'t> {
    fn any_of<T: Algebra>(&mut self) -> Result<T> {
        let mut members = vec![self.all_of()?];
        let mut height = self.height;
        while self.eat_word("or") {
            members.push(self.all_of()?);
            height = height.max(self.height);
        }
        self.joined(members, height, T::any_of)
    }

    fn all_of<T: Algebra>(&mut self) -> Result<T> {
        let mut members: Vec<T> = vec![self.operand()?];
        let mut height = self.height;
        loop {
            if self.eat_word("and") {
                members.push(self.operand()?);
                height = height.max(self.height);
            } else if T::HAS_MINUS && self.eat_word("minus") {
                let left = self.joined(members, height, T::all_of)?;
                height = self.height;
                let right = self.operand()?;
                height = height.max(self.height);
                members = vec![left.difference(right)];
                self.raise(height)?;
                height = self.height;
            } else {
                return self.joined(members, height, T::all_of);
            }
        }
    }

    /// One tree out of several of at most `height` levels; a single one stays what it is.
    fn joined<T>(&mut self, mut members: Vec<T>, height: usize, join: fn(Vec<T>) -> T) -> Result<T> {
        self.height = height;
        match members.pop() {
            Some(only) if members.is_empty() => Ok(only),
            last => {
                members.extend(last);
                self.raise(height)?;
                Ok(join(members))
            }
        }
    }

    fn operand<T: Algebra>(&mut self) -> Result<T> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(self.too_deep());
        }
        let tree = match self.token() {
            Token::Word("not") => {
                self.next += 1;
                let inner: T = self.operand()?;
                self.raise(self.height)?;
                inner.inverse()
            }
            Token::Symbol("(") => {
                self.next += 1;
                let inner = self.any_of()?;
                self.close("`and`, `or` or `)`")?;
                inner
            }
            Token::Word("and") if self.opens_a_list() => self.list(T::all_of)?,
            Token::Word("or") if self.opens_a_list() => self.list(T::any_of)?,
            _ => T::read_leaf(self)?,
        };
        self.nesting -= 1;
        Ok(tree)
    }

    fn opens_a_list(&self) -> bool {
        self.tokens.get(self.next + 1).is_some_and(|after| after.token == Token::Symbol("("))
    }

    /// `and()`, `or(x)`: what has fewer than two members has no other text.
    fn list<T: Algebra>(&mut self, join: fn(Vec<T>) -> T) -> Result<T> {
        self.next += 2;
        let (mut members, mut height) = (Vec::new(), 0);
        while !self.at_symbol(")") {
            if !members.is_empty() {
                self.symbol(",", "`and`, `or`, `,` or `)`")?;
            }
            members.push(self.any_of()?);
            height = height.max(self.height);
        }
        self.next += 1;
        self.raise(height)?;
        Ok(join(members))
    }

    /// Notes that the tree just made stands one level above others of `height` levels.
    fn raise(&mut self, height: usize) -> Result<()> {
        self.height = height + 1;
        if self.height > EXPR_LEVELS { Err(self.too_deep()) } else { Ok(()) }
    }

    fn too_deep(&self) -> Error {
        self.wrong(&format!("nested more than {EXPR_LEVELS} deep"))
    }
}

/// Tokens one by one.
impl<'t> Parser<'t> {
    fn placed(&self) -> &Placed<'t> {
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn token(&self) -> &Token<'t> {
        &self.placed().token
    }

    /// The first byte of the next token.
    fn at(&self) -> usize {
        match self.placed() {
            Placed { token: Token::End, end, .. } => *end,
            placed => placed.at,
        }
    }

    fn word(&self) -> Option<&'t str> {
        match self.token() {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    fn at_symbol(&self, symbol: &str) -> bool {
        matches!(self.token(), Token::Symbol(next) if *next == symbol)
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let there = self.word() == Some(word);
        self.next += usize::from(there);
        there
    }

    fn eat_symbol(&mut self, symbol: &str) -> bool {
        let there = self.at_symbol(symbol);
        self.next += usize::from(there);
        there
    }

    /// Takes the symbol; `expected` names all that might have stood here.
    fn symbol(&mut self, symbol: &str, expected: &str) -> Result<()> {
        if self.eat_symbol(symbol) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn close(&mut self, expected: &str) -> Result<()> {
        self.symbol(")", expected)
    }

    /// A text that is taken as it is written.
    fn value(&mut self, what: &str) -> Result<Text> {
        if let Some(word) = self.word().filter(|word| word.contains('*')) {
            let word = shown(word);
            return Err(self.wrong(&format!("`*` stands for any characters after `~` only; quote it: `\"{word}\"`")));
        }
        self.pattern(what)
    }

    /// A text in which `*` may stand without quotes.
    fn pattern(&mut self, what: &str) -> Result<Text> {
        let text = match self.token() {
            Token::Quoted(text) => text.clone(),
            Token::Word(word) if RESERVED.contains(word) => {
                return Err(self.wrong(&format!("expected {what}, got the word `{word}`; as a text it is quoted")));
            }
            Token::Word(word) => Text::from(*word),
            _ => return Err(self.expected(what)),
        };
        self.next += 1;
        Ok(text)
    }

    /// `(x, y)`, or `()`.
    fn values(&mut self, mut value: impl FnMut(&mut Parser<'t>) -> Result<Text>) -> Result<Vec<Text>> {
        self.symbol("(", "`(`")?;
        let mut values = Vec::new();
        while !self.at_symbol(")") {
            if !values.is_empty() {
                self.symbol(",", "`,` or `)`")?;
            }
            values.push(value(self)?);
        }
        self.next += 1;
        Ok(values)
    }

    fn wrong(&self, message: &str) -> Error {
        misplaced(self.text, self.at(), message)
    }

    fn wrong_at(&self, at: usize, message: &str) -> Error {
        misplaced(self.text, at, message)
    }

    fn expected(&self, what: &str) -> Error {
        let got = match self.token() {
            Token::End => "the end".to_owned(),
            Token::Quoted(text) => format!("the text `{}`", shown(text)),
            Token::Word(word) => format!("`{}`", shown(word)),
            Token::Symbol(symbol) => format!("`{symbol}`"),
        };
        self.wrong(&format!("expected {what}, got {got}"))
    }
}
