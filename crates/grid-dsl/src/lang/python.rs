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
/// Inputs are `(I)`, `(S, I)` or `(S, I, C)`. Imports are passed over, and so are lines `if x == n: return xn`. A function with
/// anything else in it gives a diagnostic and no program; the others are read all the same.
pub fn import(text: &str, dialect: Dialect) -> Imported {
    let mut out = Imported::default();
    let mut open: Option<(Draft, Body)> = None;
    // Lines of a broken function, down to the next one.
    let mut skipping = false;
    for (k, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        if out.diagnostics.len() >= MOST {
            break;
        }
        let at = k + 1;
        let indented = line.starts_with([' ', '\t']);
        if line.trim_start().starts_with('#') || line.trim().is_empty() || (indented && skipping) {
            continue;
        }
        if !indented {
            skipping = false;
            finish(&mut open, &mut out);
        }
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
    *open = Some((Draft::new(name, inputs, dialect, false), Body { line: at, returned: false }));
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
            if cursor.name("`return`")? != "return" {
                return Err(cursor.fail("`return NAME`"));
            }
            cursor.name("a name")?;
            cursor.done()
        }
        _ => draft.line(at, &mut cursor),
    }
}
