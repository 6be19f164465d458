//! Tokens of one line, with their columns.

use super::Diagnostic;

/// A word or a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Name(&'a str),
    Int(i32),
    Sign(&'static str),
}

/// A token and its column, from 1.
pub(super) type Placed<'a> = (Token<'a>, usize);

const SIGNS: [&str; 7] = ["==", "(", ")", ",", "=", ":", "*"];

/// Splits a line; what follows `#` is a comment.
pub(super) fn tokens(line: usize, text: &str) -> Result<Vec<Placed<'_>>, Diagnostic> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut column = 1;
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        if c == '#' {
            break;
        }
        if c.is_ascii_alphabetic() || c == '_' {
            length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
            out.push((Token::Name(&rest[..length]), column));
        } else if c.is_ascii_digit() || (c == '-' && rest[1..].starts_with(|d: char| d.is_ascii_digit())) {
            length = 1 + rest.bytes().skip(1).take_while(u8::is_ascii_digit).count();
            let word = &rest[..length];
            if rest[length..].starts_with(|d: char| d.is_ascii_alphabetic() || d == '_') {
                return Err(Diagnostic::error(line, column, "a name cannot begin with a digit"));
            }
            let number = word.parse().map_err(|_| {
                let shown: String = word.chars().take(20).collect();
                Diagnostic::error(line, column, format!("the number {shown} has more than 32 bits"))
            })?;
            out.push((Token::Int(number), column));
        } else if let Some(sign) = SIGNS.into_iter().find(|s| rest.starts_with(s)) {
            length = sign.len();
            out.push((Token::Sign(sign), column));
        } else if !c.is_whitespace() {
            return Err(Diagnostic::error(line, column, format!("the character {c:?} has no meaning here")));
        }
        column += rest[..length].chars().count();
        rest = &rest[length..];
    }
    Ok(out)
}

/// Reads tokens one after the other.
pub(super) struct Cursor<'t, 'a> {
    tokens: &'t [Placed<'a>],
    line: usize,
    end: usize,
}

impl<'t, 'a> Cursor<'t, 'a> {
    pub(super) fn new(tokens: &'t [Placed<'a>], line: usize, text: &str) -> Self {
        Self { tokens, line, end: text.trim_end().chars().count() + 1 }
    }

    /// The column of what comes next.
    pub(super) fn column(&self) -> usize {
        self.tokens.first().map_or(self.end, |(_, column)| *column)
    }

    pub(super) fn peek(&self) -> Option<Token<'a>> {
        self.tokens.first().map(|(token, _)| *token)
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        let (token, _) = self.tokens.first()?;
        self.tokens = &self.tokens[1..];
        Some(*token)
    }

    pub(super) fn fail(&self, expected: &str) -> Diagnostic {
        let found = match self.peek() {
            None => "the line ends".to_owned(),
            Some(Token::Name(name)) => format!("`{name}` found"),
            Some(Token::Int(n)) => format!("{n} found"),
            Some(Token::Sign(sign)) => format!("`{sign}` found"),
        };
        Diagnostic::error(self.line, self.column(), format!("{expected} expected, {found}"))
    }

    pub(super) fn eat(&mut self, sign: &str) -> bool {
        let found = self.peek().is_some_and(|t| matches!(t, Token::Sign(s) if s == sign));
        if found {
            self.next();
        }
        found
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<(), Diagnostic> {
        if self.eat(sign) { Ok(()) } else { Err(self.fail(&format!("`{sign}`"))) }
    }

    pub(super) fn name(&mut self, what: &str) -> Result<&'a str, Diagnostic> {
        match self.peek() {
            Some(Token::Name(name)) => {
                self.next();
                Ok(name)
            }
            _ => Err(self.fail(what)),
        }
    }

    pub(super) fn int(&mut self) -> Result<i32, Diagnostic> {
        match self.peek() {
            Some(Token::Int(n)) => {
                self.next();
                Ok(n)
            }
            _ => Err(self.fail("a number")),
        }
    }

    pub(super) fn done(&self) -> Result<(), Diagnostic> {
        if self.tokens.is_empty() { Ok(()) } else { Err(self.fail("the end of the line")) }
    }
}
