//! Programs from Python files of the restricted shape that collections of solvers have.

use super::lexer::{Cursor, Token, tokens};
use super::parser::MOST;
use super::resolve::{Draft, inputs};
use super::{Diagnostic, Dialect, Program};

/// What a Python file gave.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// Functions that could be read, in their order, with their names.
    pub programs: Vec<Program>,
    /// What could not be read.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads `def solve_NAME(I):` functions whose bodies are lines `var = fn(arg, ..)` with names only, and `return O`.
///
/// Inputs are `(I)`, `(S, I)` or `(S, I, C)`. Imports are passed over, and so is `if x == n: return xn`, on one line or two. A
/// function with anything else in it, or below a decorator, gives a diagnostic and no program; the others are read all the
/// same. Text inside of strings is no code.
pub fn import(text: &str, dialect: Dialect) -> Imported {
    let mut out = Imported::default();
    let mut open: Option<(Draft, Body)> = None;
    // Lines of a broken function, down to the next one.
    let mut skipping = false;
    // Below a decorator, up to the function that it changes.
    let mut decorated = false;
    let mut quotes = Quotes::default();
    for (k, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        if out.diagnostics.len() >= MOST {
            break;
        }
        let at = k + 1;
        // The line where the string begins tells what is wrong with it.
        if quotes.pass(line) {
            continue;
        }
        let indented = line.starts_with([' ', '\t']);
        if line.trim_start().starts_with('#') || line.trim().is_empty() || (indented && skipping) {
            continue;
        }
        if !indented {
            skipping = false;
            finish(&mut open, &mut out);
        }
        if decorated {
            skipping = !indented && matches!(line.split_ascii_whitespace().next(), Some("def" | "class" | "async"));
            decorated = !skipping;
            continue;
        }
        decorated = line.starts_with('@');
        let read = if indented { body(at, line, open.as_mut()) } else { head(at, line, dialect, &mut open) };
        if let Err(error) = read {
            out.diagnostics.push(error);
            open = None;
            skipping = true;
        }
    }
    finish(&mut open, &mut out);
    // The last definition of a name counts, as in Python.
    let mut seen = std::collections::HashSet::new();
    let mut last: Vec<Program> =
        out.programs.into_iter().rev().filter(|program| seen.insert(program.name.clone())).collect();
    last.reverse();
    out.programs = last;
    out
}

/// What is known about the function that is being read.
struct Body {
    line: usize,
    returned: bool,
    /// What its lines begin with, once there is one.
    indent: Option<String>,
    /// The line before was `if x == n:`, and its `return` is still to come.
    condition: bool,
}

/// Which string of Python a line ends in.
#[derive(Default)]
struct Quotes {
    open: Option<(u8, usize)>,
}

impl Quotes {
    /// Passes over a line; whether it begins inside of a string.
    fn pass(&mut self, line: &str) -> bool {
        let (bytes, inside, mut at) = (line.as_bytes(), self.open.is_some(), 0);
        while let Some(&byte) = bytes.get(at) {
            let many = bytes[at..].iter().take_while(|b| **b == byte).count();
            match (self.open, byte) {
                // The next character is no quote, and the end of the line not the end of the string.
                (Some(_), b'\\') if at + 1 == bytes.len() => return inside,
                (Some(_), b'\\') => at += 2,
                (Some((quote, length)), _) if byte == quote && many >= length => {
                    self.open = None;
                    at += length;
                }
                (None, b'#') => return inside,
                (None, b'"' | b'\'') => {
                    let length = if many >= 3 { 3 } else { 1 };
                    self.open = Some((byte, length));
                    at += length;
                }
                _ => at += 1,
            }
        }
        self.open = self.open.filter(|(_, length)| *length == 3);
        inside
    }
}

fn finish(open: &mut Option<(Draft, Body)>, out: &mut Imported) {
    match open.take() {
        Some((draft, Body { returned: true, .. })) => out.programs.push(draft.done()),
        Some((_, body)) => out.diagnostics.push(Diagnostic::error(body.line, 1, "this function returns nothing")),
        None => {}
    }
}

/// A line at the margin: an import or the beginning of a function.
fn head(at: usize, text: &str, dialect: Dialect, open: &mut Option<(Draft, Body)>) -> Result<(), Diagnostic> {
    let word = text.split_ascii_whitespace().next().unwrap_or("");
    if word == "from" || word == "import" {
        return Ok(());
    }
    if word.starts_with('@') {
        return Err(Diagnostic::error(at, 1, "a decorated function is not what its lines say")
            .help("remove the decorator if the function is a plain solver"));
    }
    let words = tokens(at, text)?;
    let mut cursor = Cursor::new(&words, at, text);
    if cursor.peek() != Some(Token::Name("def")) {
        return Err(cursor.fail("`def` or an import"));
    }
    cursor.next();
    let name = cursor.name("the name of a function")?;
    let inputs = inputs(&mut cursor)?;
    cursor.expect(":")?;
    cursor.done()?;
    let body = Body { line: at, returned: false, indent: None, condition: false };
    *open = Some((Draft::new(name, inputs, dialect, false), body));
    Ok(())
}

/// A line of a function.
fn body(at: usize, text: &str, open: Option<&mut (Draft, Body)>) -> Result<(), Diagnostic> {
    let words = tokens(at, text)?;
    let mut cursor = Cursor::new(&words, at, text);
    let Some((draft, body)) = open else { return Err(cursor.fail("a function (`def`) above")) };
    if body.returned {
        return Err(cursor.fail("nothing after `return`"));
    }
    let indent = &text[..text.len() - text.trim_start().len()];
    let usual = body.indent.get_or_insert_with(|| indent.to_owned());
    if std::mem::take(&mut body.condition) {
        if indent.len() <= usual.len() || !indent.starts_with(usual.as_str()) {
            return Err(cursor.fail("`return NAME` below the `if`, further to the right,"));
        }
        return conditional(&mut cursor);
    }
    if indent != usual {
        return Err(Diagnostic::error(at, cursor.column(), "this line does not begin below the function's first"));
    }
    let is_assignment = words.get(1).is_some_and(|(token, _)| *token == Token::Sign("="));
    match cursor.peek() {
        Some(Token::Name("return")) if !is_assignment => {
            cursor.next();
            body.returned = true;
            draft.returns(at, &mut cursor)
        }
        Some(Token::Name("if")) if !is_assignment => {
            cursor.next();
            cursor.name("a name")?;
            cursor.expect("==")?;
            cursor.int()?;
            cursor.expect(":")?;
            body.condition = cursor.peek().is_none();
            if body.condition { Ok(()) } else { conditional(&mut cursor) }
        }
        _ => draft.line(at, &mut cursor),
    }
}

/// `return NAME` behind an `if`.
fn conditional(cursor: &mut Cursor<'_, '_>) -> Result<(), Diagnostic> {
    if cursor.name("`return`")? != "return" {
        return Err(cursor.fail("`return NAME`"));
    }
    cursor.name("a name")?;
    cursor.done()
}
