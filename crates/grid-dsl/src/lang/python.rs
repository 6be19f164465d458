//! Programs from Python files of the restricted shape that collections of solvers have.

use std::collections::HashSet;

use super::bindings::{self, Bound, By};
use super::lexer::{Cursor, Token, tokens};
use super::names::{constant, primitive};
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
/// same. Text inside of strings is no code. The last definition of a name counts, and where it cannot be read none does.
///
/// What gives a name of the language another meaning is an error, and functions that use the name are left out: a function or a
/// class, what is imported under another name or assigned, the variable of a loop and whatever else a statement of the module
/// binds. A constant of the language may be assigned what it is. Names bound in other ways are not seen, such as by
/// `from .. import *` or `globals()`. Only the first faults are listed, the last of those with the number of others.
pub fn import(text: &str, dialect: Dialect) -> Imported {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let module = bindings::read(text);
    let is_other = |bound: &&Bound<'_>| is_replaced(bound, dialect);
    let replaced = module.bound.iter().filter(is_other).map(|bound| bound.name).collect();
    let mut reader = Reader { replaced, ..Reader::default() };
    // Below a decorator, up to the function that it changes.
    let mut decorated = false;
    let mut bound = &module.bound[..];
    for (k, line) in text.lines().enumerate() {
        let at = k + 1;
        let line = line.trim_start_matches('\x0c');
        let (here, others) = bound.split_at(bound.iter().take_while(|bound| bound.statement <= at).count());
        bound = others;
        // The line where a string or statement begins tells what is wrong with it.
        if module.continued.get(k) == Some(&true) {
            continue;
        }
        let indented = line.starts_with([' ', '\t']);
        if let Some((before, _)) = line.split_once('\r') {
            // Even behind a comment.
            let column = before.chars().count() + 1;
            reader.fault(
                Diagnostic::error(at, column, "a carriage return ends a line of Python, but none here")
                    .help("save the file with line feeds"),
            );
            continue;
        }
        if line.trim_start().starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if !indented {
            reader.skipping = false;
            reader.finish();
        }
        // Solvers, too, may get another meaning.
        let anew = here.iter().filter(|bound| indented || bound.by != By::Function);
        reader.all.extend(anew.map(|bound| (bound.name.to_owned(), None)));
        let other = here.iter().find(is_other);
        if indented && reader.skipping && other.is_none() {
            continue;
        }
        if decorated {
            reader.skipping =
                !indented && matches!(line.split_ascii_whitespace().next(), Some("def" | "class" | "async"));
            decorated = !reader.skipping;
            reader.lost = defined(line).map(str::to_owned);
            reader.forget();
            continue;
        }
        decorated = line.starts_with('@');
        if let Some(other) = other {
            let name = other.name;
            let wrong = format!("`{name}` is a name of the language, which this replaces: what uses it is left out");
            reader.lost = defined(line).map(str::to_owned);
            let fault = Diagnostic::error(other.line, other.column(text), wrong);
            reader.fault(fault.help("give it another name, also where it is used"));
            continue;
        }
        if !indented && !here.is_empty() && here.iter().all(|bound| constant(bound.name, dialect).is_some()) {
            continue;
        }
        reader.look_for_replaced(line);
        let read =
            if indented { body(at, line, reader.open.as_mut()) } else { head(at, line, dialect, &mut reader.open) };
        if let Err(error) = read {
            reader.lost = defined(line).map(str::to_owned);
            reader.fault(error);
        }
    }
    reader.finish();
    reader.done()
}

/// The name that a line defines a function by.
fn defined(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("def").filter(|rest| rest.starts_with([' ', '\t']))?.trim_start_matches([' ', '\t']);
    let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    (length > 0).then_some(&rest[..length])
}

/// Whether a name of the language gets another meaning.
fn is_replaced(bound: &Bound<'_>, dialect: Dialect) -> bool {
    let constant = constant(bound.name, dialect);
    match &bound.by {
        _ if constant.is_none() && primitive(bound.name, dialect).is_none() => false,
        By::Import => false,
        // Equal values of two kinds print differently.
        By::Constant(value) => constant.is_none_or(|(_, own)| own.to_text() != value.to_text()),
        By::Function | By::Other => true,
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reader<'a> {
    /// Definitions in their order; of one that could not be read the name alone.
    all: Vec<(String, Option<Program>)>,
    faults: Vec<Diagnostic>,
    /// Faults that are not listed any more.
    more: usize,
    open: Option<(Draft, Body)>,
    /// Lines of a broken function, down to the next one.
    skipping: bool,
    /// The name of the function that a fault lies in.
    lost: Option<String>,
    /// Names of the language that the file gives another meaning.
    replaced: HashSet<&'a str>,
}

impl Reader<'_> {
    /// A function that could not be read counts as its name's definition all the same.
    fn forget(&mut self) {
        self.all.extend(self.lost.take().map(|name| (name, None)));
    }

    /// What stands here cannot be read, down to the next function.
    fn fault(&mut self, fault: Diagnostic) {
        if self.faults.len() < MOST {
            self.faults.push(fault);
        } else {
            self.more += 1;
        }
        let open = self.open.take().map(|(draft, _)| draft.done().name);
        self.lost = self.lost.take().or(open);
        self.forget();
        self.skipping = true;
    }

    /// A function is left out that uses what the file gives another meaning.
    fn look_for_replaced(&mut self, line: &str) {
        let Some((_, body)) = self.open.as_mut().filter(|_| !self.replaced.is_empty()) else { return };
        let code = line.split('#').next().unwrap_or_default();
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        body.other |= words.any(|word| self.replaced.contains(word));
    }

    /// The function that was open has ended.
    fn finish(&mut self) {
        match self.open.take() {
            Some((draft, Body { returned: true, other, .. })) => {
                let program = draft.done();
                self.all.push((program.name.clone(), (!other).then_some(program)));
            }
            Some((draft, body)) => {
                self.lost = Some(draft.done().name);
                self.fault(Diagnostic::error(body.line, 1, "this function returns nothing"));
                self.skipping = false;
            }
            None => {}
        }
    }

    /// The last definition of each name, as in Python.
    fn done(mut self) -> Imported {
        let mut seen = HashSet::new();
        let last = self.all.into_iter().rev().filter(|(name, _)| seen.insert(name.clone()));
        let mut programs: Vec<Program> = last.filter_map(|(_, program)| program).collect();
        programs.reverse();
        if self.more > 0
            && let Some(fault) = self.faults.last_mut()
        {
            fault.message = format!("{}; {} more faults below are not listed", fault.message, self.more);
        }
        Imported { programs, diagnostics: self.faults }
    }
}

/// Words that are no names in Python.
pub(super) const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Refuses a word that is no name in Python.
fn no_keyword(at: usize, column: usize, name: &str) -> Result<(), Diagnostic> {
    if KEYWORDS.contains(&name) {
        return Err(Diagnostic::error(at, column, format!("`{name}` is a word of Python and no name")));
    }
    Ok(())
}

/// What is known about the function that is being read.
struct Body {
    line: usize,
    returned: bool,
    /// What its lines begin with, once there is one.
    indent: Option<String>,
    /// The line before was `if x == n:`, and its `return` is still to come.
    condition: bool,
    /// It uses a name of the language to which the file gives another meaning.
    other: bool,
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
    let column = cursor.column();
    let name = cursor.name("the name of a function")?;
    no_keyword(at, column, name)?;
    let inputs = inputs(&mut cursor)?;
    cursor.expect(":")?;
    cursor.done()?;
    let body = Body { line: at, returned: false, indent: None, condition: false, other: false };
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
        Some(Token::Name(name)) if is_assignment => {
            no_keyword(at, cursor.column(), name)?;
            draft.line(at, &mut cursor)
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
