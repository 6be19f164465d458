//! Programs from Python files of the restricted shape that collections of solvers have.

use super::lexer::{Cursor, Token, tokens};
use super::names::{constant, primitive};
use super::parser::MOST;
use super::resolve::{Draft, inputs};
use super::{Diagnostic, Dialect, Program};
use crate::value::Value;

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
/// A function with a name of the language is an error, since it replaces that, and so is what is imported as such or assigned
/// to it at the margin: functions that use the name are left out. A constant of the language may be assigned what it is.
/// Only the first faults are listed, the last of those with the number of others.
pub fn import(text: &str, dialect: Dialect) -> Imported {
    let mut reader = Reader::default();
    // Below a decorator, up to the function that it changes.
    let mut decorated = false;
    let mut quotes = Quotes::default();
    for (k, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let at = k + 1;
        // The line where the string begins tells what is wrong with it.
        if quotes.pass(line) {
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
        if line.trim_start().starts_with('#') || line.trim().is_empty() || (indented && reader.skipping) {
            continue;
        }
        if !indented {
            reader.skipping = false;
            reader.finish();
        }
        if decorated {
            reader.skipping =
                !indented && matches!(line.split_ascii_whitespace().next(), Some("def" | "class" | "async"));
            decorated = !reader.skipping;
            reader.lost = defined(line).map(str::to_owned);
            reader.replaced.extend(replaced(line, dialect).into_iter().map(str::to_owned));
            reader.forget();
            continue;
        }
        decorated = line.starts_with('@');
        if !indented && is_constant(line, dialect) {
            continue;
        }
        let names = if indented { Vec::new() } else { replaced(line, dialect) };
        if let Some(name) = names.first() {
            let column = line[..name.as_ptr() as usize - line.as_ptr() as usize].chars().count() + 1;
            let wrong = format!("`{name}` is a name of the language, which this replaces: what uses it is left out");
            reader.lost = defined(line).map(str::to_owned);
            reader.replaced.extend(names.into_iter().map(str::to_owned));
            reader.fault(Diagnostic::error(at, column, wrong).help("give it another name, also where it is used"));
            continue;
        }
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

/// Names, numbers and keywords of a piece of Python.
fn words_in(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The name that a line defines a function by.
fn defined(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("def")?.trim_start_matches([' ', '\t']);
    let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    (length > 0).then_some(&rest[..length])
}

/// Whether a line at the margin assigns to a constant of the language the value that it has: `ORIGIN = (0, 0)`.
fn is_constant(line: &str, dialect: Dialect) -> bool {
    let Ok(words) = tokens(1, line) else { return false };
    let all: Vec<Token<'_>> = words.iter().map(|(token, _)| *token).collect();
    let [Token::Name(name), Token::Sign("="), value @ ..] = &all[..] else { return false };
    let value = match value {
        [Token::Name("True")] => Value::Bool(true),
        [Token::Name("False")] => Value::Bool(false),
        [Token::Int(n)] => Value::Int(*n),
        [Token::Sign("("), Token::Int(i), Token::Sign(","), Token::Int(j), Token::Sign(")")]
        | [Token::Int(i), Token::Sign(","), Token::Int(j)] => Value::pair(*i, *j),
        _ => return false,
    };
    constant(name, dialect).is_some_and(|(_, own)| own == value)
}

/// What an assignment stands in front of, with all that is assigned the same; nothing of a line without one.
fn targets(code: &str) -> &str {
    let (bytes, mut depth, mut end) = (code.as_bytes(), 0_i32, 0);
    for (k, &byte) in bytes.iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b'=' if depth == 0 => {
                let is_comparison = bytes.get(k + 1) == Some(&b'=') || (k > 0 && b"=<>!".contains(&bytes[k - 1]));
                end = if is_comparison { end } else { k };
            }
            _ => {}
        }
    }
    &code[..end]
}

/// The names of the language that a line at the margin gives another meaning.
fn replaced(line: &str, dialect: Dialect) -> Vec<&str> {
    let code = line.split('#').next().unwrap_or_default();
    let words = || words_in(code);
    let of_language = |name: &&str| primitive(name, dialect).is_some() || constant(name, dialect).is_some();
    match words().next() {
        Some("def") => defined(line).into_iter().filter(of_language).collect(),
        Some("class") => words().skip(1).take(1).filter(of_language).collect(),
        Some("async") => words().skip(2).take(1).filter(of_language).collect(),
        Some("for") => words().skip(1).take_while(|word| *word != "in").filter(of_language).collect(),
        Some("del") => words().skip(1).filter(of_language).collect(),
        Some("from" | "import") => {
            let all: Vec<&str> = words().collect();
            let other = |three: &&[&str]| three[1] == "as" && three[0] != three[2] && of_language(&three[2]);
            all.windows(3).filter(other).map(|three| three[2]).collect()
        }
        _ => words_in(targets(code)).filter(of_language).collect(),
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
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
    replaced: Vec<String>,
}

impl Reader {
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

    /// The function that was open has ended.
    fn finish(&mut self) {
        match self.open.take() {
            Some((draft, Body { returned: true, .. })) => {
                let program = draft.done();
                self.all.push((program.name.clone(), Some(program)));
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
        let mut seen = std::collections::HashSet::new();
        let last = self.all.into_iter().rev().filter(|(name, _)| seen.insert(name.clone()));
        let mut programs: Vec<Program> = last.filter_map(|(_, program)| program).collect();
        programs.reverse();
        let text_uses = |text: &str| words_in(text).any(|word| self.replaced.iter().any(|name| name == word));
        if !self.replaced.is_empty() {
            programs.retain(|program| !text_uses(&program.to_text()));
        }
        if self.more > 0
            && let Some(fault) = self.faults.last_mut()
        {
            fault.message = format!("{}; {} more faults below are not listed", fault.message, self.more);
        }
        Imported { programs, diagnostics: self.faults }
    }
}

/// Words that are no names in Python.
const KEYWORDS: [&str; 35] = [
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
            let many = bytes[at..].iter().take(3).take_while(|b| **b == byte).count();
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
