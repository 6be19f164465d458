//! What names mean while a program is read.

use std::collections::HashMap;

use super::lexer::{Cursor, Token};
use super::names::{Dialect, constant, nearest, primitive};
use super::{Argument, Callee, Diagnostic, Inputs, Line, Place, Program, constants};
use crate::error::Limits;
use crate::prim::Prim;

/// A program that is being read.
pub(super) struct Draft {
    program: Program,
    known: HashMap<String, usize>,
    /// Whether numbers and pairs may be arguments.
    literals: bool,
}

impl Draft {
    pub(super) fn new(name: &str, inputs: Inputs, dialect: Dialect, literals: bool) -> Self {
        let program = Program { name: name.to_owned(), inputs, dialect, lines: Vec::new(), returns: Vec::new() };
        Self { program, known: HashMap::new(), literals }
    }

    /// Reads `NAME = NAME(arguments)`.
    pub(super) fn line(&mut self, at: usize, cursor: &mut Cursor) -> Result<(), Diagnostic> {
        let column = cursor.column();
        let target = cursor.name("the name of a variable")?;
        if self.program.lines.len() >= Limits::default().lines {
            let most = Limits::default().lines;
            return Err(Diagnostic::error(at, column, format!("a program has at most {most} lines")));
        }
        self.may_assign(at, column, target)?;
        cursor.expect("=")?;
        let callee_at = cursor.column();
        let name = cursor.name("the name of a function")?;
        let callee = self.callee(at, callee_at, name)?;
        cursor.expect("(")?;
        let (mut args, mut columns) = (Vec::new(), Vec::new());
        if !cursor.eat(")") {
            loop {
                columns.push(cursor.column());
                args.push(self.argument(at, cursor)?);
                if cursor.eat(")") {
                    break;
                }
                if cursor.peek() == Some(Token::Sign("(")) {
                    return Err(cursor.fail("`,` or `)`").help("calls cannot be nested: give the inner one a line"));
                }
                if !cursor.eat(",") {
                    return Err(cursor.fail("`,` or `)`"));
                }
            }
        }
        cursor.done()?;
        let place = Place { line: at, callee: callee_at, args: columns };
        self.known.insert(target.to_owned(), self.program.lines.len());
        self.program.lines.push(Line { target: target.to_owned(), callee, args, place });
        Ok(())
    }

    /// Makes a name known whose line is broken: one fault is enough.
    pub(super) fn assume(&mut self, cursor: &mut Cursor) {
        let (name, at) = (cursor.next(), self.program.lines.len());
        let Some(Token::Name(name)) = name else { return };
        if cursor.peek() == Some(Token::Sign("=")) && at < Limits::default().lines {
            self.known.entry(name.to_owned()).or_insert(at);
            let (callee, place) = (Callee::Prim(Prim::Identity), Place::default());
            self.program.lines.push(Line { target: name.to_owned(), callee, args: Vec::new(), place });
        }
    }

    /// Reads `NAME, NAME …` behind `return`.
    pub(super) fn returns(&mut self, at: usize, cursor: &mut Cursor) -> Result<(), Diagnostic> {
        loop {
            let column = cursor.column();
            let name = cursor.name("the name of what is returned")?;
            let argument = self.named(at, column, name)?;
            self.program.returns.push(argument);
            if !cursor.eat(",") {
                return cursor.done();
            }
        }
    }

    /// Lets the program return its last line, and gives it.
    pub(super) fn returning_last(mut self) -> Result<Program, Diagnostic> {
        let last = self.program.lines.len().checked_sub(1);
        let last = last.ok_or_else(|| Diagnostic::error(1, 1, "a program without lines returns nothing"))?;
        self.program.returns.push(Argument::Line(last));
        Ok(self.program)
    }

    pub(super) fn done(self) -> Program {
        self.program
    }

    fn may_assign(&self, at: usize, column: usize, name: &str) -> Result<(), Diagnostic> {
        let dialect = self.program.dialect;
        let wrong = if self.known.contains_key(name) {
            format!("`{name}` is assigned twice")
        } else if primitive(name, dialect).is_some() {
            format!("`{name}` is a function and cannot be assigned")
        } else if constant(name, dialect).is_some() {
            format!("`{name}` is a constant and cannot be assigned")
        } else if self.program.inputs.names().contains(&name) {
            format!("`{name}` is an input and cannot be assigned")
        } else {
            return Ok(());
        };
        Err(Diagnostic::error(at, column, wrong).help("every line needs a name of its own"))
    }

    fn callee(&self, at: usize, column: usize, name: &str) -> Result<Callee, Diagnostic> {
        match self.named(at, column, name)? {
            Argument::Prim(prim) => Ok(Callee::Prim(prim)),
            Argument::Line(line) => Ok(Callee::Line(line)),
            _ => Err(Diagnostic::error(at, column, format!("`{name}` is no function"))
                .help("primitives and variables that hold a function can be called")),
        }
    }

    fn argument(&self, at: usize, cursor: &mut Cursor) -> Result<Argument, Diagnostic> {
        let column = cursor.column();
        if let Some(Token::Name(name)) = cursor.peek() {
            cursor.next();
            return self.named(at, column, name);
        }
        if !self.literals {
            return Err(cursor.fail("a name"));
        }
        if cursor.eat("(") {
            let i = cursor.int()?;
            cursor.expect(",")?;
            let j = cursor.int()?;
            cursor.expect(")")?;
            return Ok(Argument::Pair(i, j));
        }
        match cursor.peek() {
            Some(Token::Int(n)) => {
                cursor.next();
                Ok(Argument::Int(n))
            }
            _ => Err(cursor.fail("an argument: a name, a number or a pair of numbers")),
        }
    }

    fn named(&self, at: usize, column: usize, name: &str) -> Result<Argument, Diagnostic> {
        let dialect = self.program.dialect;
        if let Some(&line) = self.known.get(name) {
            return Ok(Argument::Line(line));
        }
        if let Some(input) = self.program.inputs.names().iter().find(|i| **i == name) {
            return Ok(Argument::Input(input));
        }
        if let Some((name, _)) = constant(name, dialect) {
            return Ok(Argument::Constant(name));
        }
        if let Some(prim) = primitive(name, dialect) {
            return Ok(Argument::Prim(prim));
        }
        let shown: String = name.chars().take(60).collect();
        let error = Diagnostic::error(at, column, format!("the name `{shown}` is not known here"));
        if dialect == Dialect::Core
            && (primitive(name, Dialect::Batt).is_some() || constant(name, Dialect::Batt).is_some())
        {
            return Err(error.help("it belongs to the dialect `batt`: choose that"));
        }
        let dialects = Prim::ALL.iter().filter(|p| dialect == Dialect::Batt || !p.is_dialect()).map(|p| p.name());
        let variables = self.known.keys().map(String::as_str);
        let all = dialects.chain(constants(dialect).map(|(name, _)| name)).chain(variables);
        Err(match nearest(name, all) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help("names must be assigned above the line that uses them"),
        })
    }
}

/// Reads the names between parentheses: `I`, `S, I` or `S, I, C`.
pub(super) fn inputs(cursor: &mut Cursor) -> Result<Inputs, Diagnostic> {
    cursor.expect("(")?;
    let error = cursor.fail("`(I)`, `(S, I)` or `(S, I, C)`");
    let mut names = Vec::new();
    loop {
        names.push(cursor.name("the name of an input")?);
        // Python has programs that can be cut short; the number that says where is not an input.
        if names.len() > 1 && names.last() == Some(&"x") {
            names.pop();
            if cursor.eat("=") {
                cursor.int()?;
            }
        }
        if !cursor.eat(",") {
            break;
        }
    }
    cursor.expect(")")?;
    let known = [Inputs::I, Inputs::SI, Inputs::SIC];
    known.into_iter().find(|inputs| inputs.names() == names).ok_or(error)
}
