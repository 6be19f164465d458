//! Reading canonical text. White space is allowed, and sets may come in any order.

use super::{Function, Maker, Value};
use crate::error::Limits;
use crate::prim::Prim;

/// Where and why a text is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("character {at}: {what}")]
pub struct ParseError {
    /// Bytes in front of the place.
    pub at: usize,
    /// What was expected, and what is there.
    pub what: String,
}

impl std::str::FromStr for Value {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut reader = Reader { text, at: 0, depth: 0, most: Limits::default().nesting };
        let value = reader.value()?;
        reader.space();
        if reader.at < text.len() {
            return reader.fail("the end of the value expected");
        }
        Ok(value)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u16,
    most: u16,
}

type Parsed<T> = Result<T, ParseError>;

impl<'a> Reader<'a> {
    fn fail<T>(&self, what: impl Into<String>) -> Parsed<T> {
        Err(ParseError { at: self.at, what: what.into() })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) { Ok(()) } else { self.fail(format!("`{token}` expected")) }
    }

    fn value(&mut self) -> Parsed<Value> {
        self.space();
        for (word, value) in [("null", Value::None), ("true", Value::Bool(true)), ("false", Value::Bool(false))] {
            if self.eat(word) {
                return Ok(value);
            }
        }
        match self.rest().bytes().next() {
            Some(b'{') => {
                if self.depth >= self.most {
                    return self.fail(format!("nested deeper than {}", self.most));
                }
                self.depth += 1;
                let value = self.braces();
                self.depth -= 1;
                value
            }
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Int),
            _ => self.fail("a value expected: null, true, false, a number or `{`"),
        }
    }

    fn number(&mut self) -> Parsed<i32> {
        self.space();
        let rest = self.rest();
        let digits = rest.strip_prefix('-').unwrap_or(rest);
        let n = digits.bytes().take_while(u8::is_ascii_digit).count();
        let length = rest.len() - digits.len() + n;
        let word = &rest[..length];
        if n == 0 || (n > 1 && digits.starts_with('0')) || word == "-0" {
            return self.fail("a number expected, without leading zeros");
        }
        let Ok(number) = word.parse() else {
            return self.fail(format!("{word} has more than 32 bits"));
        };
        self.at += length;
        Ok(number)
    }

    /// A string without escapes: names and grids need none.
    fn string(&mut self) -> Parsed<&'a str> {
        self.expect("\"")?;
        let Some(end) = self.rest().find(['"', '\\']) else { return self.fail("a string without end") };
        let word = &self.rest()[..end];
        if self.rest().as_bytes()[end] == b'\\' {
            self.at += end;
            return self.fail("an escape where none can be");
        }
        self.at += end + 1;
        Ok(word)
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.expect("[")?;
        let mut items = Vec::new();
        if self.eat("]") {
            return Ok(items);
        }
        loop {
            items.push(one(self)?);
            if self.eat("]") {
                return Ok(items);
            }
            self.expect(",")?;
        }
    }

    fn braces(&mut self) -> Parsed<Value> {
        self.expect("{")?;
        let key = self.string()?;
        self.expect(":")?;
        let at = self.at;
        let value = match key {
            "g" => {
                let text = self.string()?;
                match Value::grid_from_digits(text) {
                    Some(grid) if text.split('/').all(|r| !r.is_empty()) && grid.is_grid() => grid,
                    _ => {
                        self.at = at;
                        return self.fail("rows of digits expected, joined by `/`, all equally long");
                    }
                }
            }
            "t" => Value::tuple(self.list(Self::value)?),
            "s" => Value::set(self.list(Self::value)?),
            "i" => {
                let numbers = self.list(Self::number)?;
                if !numbers.len().is_multiple_of(2) {
                    return self.fail("an even count of numbers expected: row, column, …");
                }
                Value::indices(numbers.chunks_exact(2).map(|p| (p[0], p[1])))
            }
            "o" => {
                let numbers = self.list(Self::number)?;
                if !numbers.len().is_multiple_of(3) {
                    return self.fail("a multiple of three numbers expected: colour, row, column, …");
                }
                Value::object(numbers.chunks_exact(3).map(|c| (c[0], c[1], c[2])))
            }
            "f" => {
                let name = self.string()?;
                Value::Fn(self.function(name)?)
            }
            other => {
                self.at = at;
                return self.fail(format!("unknown key `{other}`: g, t, s, i, o or f expected"));
            }
        };
        self.expect("}")?;
        Ok(value)
    }

    fn function(&mut self, name: &str) -> Parsed<Function> {
        if !self.eat(",") {
            return match Prim::by_name(name) {
                Some(prim) => Ok(Function::Prim(prim)),
                None => self.fail(format!("no function is named `{name}`")),
            };
        }
        let Some(maker) = Maker::ALL.into_iter().find(|m| m.name() == name) else {
            return self.fail(format!("`{name}` makes no functions"));
        };
        let key = self.string()?;
        if key != "a" {
            return self.fail(format!("key `a` expected, not `{key}`"));
        }
        self.expect(":")?;
        let args = self.list(Self::value)?;
        let functions = args.iter().take_while(|a| a.as_function().is_some()).count();
        let exponent = maker != Maker::Power
            || args.get(1).and_then(Value::as_int).is_some_and(|n| n >= 1 && n <= Limits::default().exponent);
        if args.len() != maker.arity() || functions < maker.functions() || !exponent {
            return self.fail(format!("arguments that `{name}` does not take"));
        }
        Ok(Function::closure(maker, args))
    }
}
