//! Programs: text of single assignments, and what it means.

mod bindings;
mod lexer;
pub(crate) mod names;
mod parser;
pub mod python;
mod resolve;

use std::fmt;

use crate::prim::Prim;
use crate::value::Value;

pub use names::{Dialect, constants};

/// A program: lines that each assign one call's result, and the names that it returns.
///
/// Two programs are equal when their names, inputs, lines and returns are; places in the text do not count.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) name: String,
    pub(crate) inputs: Inputs,
    pub(crate) dialect: Dialect,
    pub(crate) lines: Vec<Line>,
    pub(crate) returns: Vec<Argument>,
}

/// What a program takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inputs {
    /// `(I)`: the input grid.
    I,
    /// `(S, I)`: the samples of the task, and the input grid.
    SI,
    /// `(S, I, C)`: the samples, the input grid, and a candidate grid or `None`.
    SIC,
}

impl Inputs {
    /// The names in order.
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::I => &["I"],
            Self::SI => &["S", "I"],
            Self::SIC => &["S", "I", "C"],
        }
    }
}

/// One line: `target = callee(arguments)`.
#[derive(Clone, Debug)]
pub struct Line {
    pub(crate) target: String,
    pub(crate) callee: Callee,
    pub(crate) args: Vec<Argument>,
    pub(crate) place: Place,
}

/// Where a line is in the text it came from: everything counted from 1, columns in characters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) callee: usize,
    pub(crate) args: Vec<usize>,
}

impl Line {
    /// The variable.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What is called.
    pub fn callee(&self) -> &Callee {
        &self.callee
    }

    /// The arguments.
    pub fn args(&self) -> &[Argument] {
        &self.args
    }
}

/// What a line calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callee {
    /// A primitive.
    Prim(Prim),
    /// The function that an earlier line, counted from 0, gave.
    Line(usize),
}

/// An argument, or a name that is returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// The value of an earlier line, counted from 0.
    Line(usize),
    /// An input: `I`, `S` or `C`.
    Input(&'static str),
    /// A constant.
    Constant(&'static str),
    /// A primitive as a value.
    Prim(Prim),
    /// A number.
    Int(i32),
    /// A pair of numbers.
    Pair(i32, i32),
}

impl Program {
    /// Reads the programs of a text in the language itself.
    ///
    /// ```
    /// use grid_dsl::Program;
    ///
    /// let programs = Program::parse("program twice(I)\n  x1 = hconcat(I, I)\nreturn x1\nend\n")?;
    /// assert_eq!(programs[0].name(), "twice");
    /// assert!(Program::parse("program a(I)\nx1 = hconcatt(I, I)\nreturn x1\nend").is_err());
    /// # Ok::<(), grid_dsl::Diagnostic>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first of what [`Program::parse_all`] finds.
    pub fn parse(text: &str) -> Result<Vec<Self>, Diagnostic> {
        Self::parse_all(text, Dialect::Core).map_err(|mut all| all.swap_remove(0))
    }

    /// Reads the programs of a text in a dialect, and tells everything that is wrong with it.
    ///
    /// # Errors
    ///
    /// A diagnostic for each fault, at least one.
    pub fn parse_all(text: &str, dialect: Dialect) -> Result<Vec<Self>, Vec<Diagnostic>> {
        parser::file(text, dialect)
    }

    /// A program with input `I` from its lines alone, as data files hold it: the last line's variable is returned.
    ///
    /// # Errors
    ///
    /// A diagnostic for each fault, at least one.
    pub fn from_lines<S: AsRef<str>>(name: &str, lines: &[S], dialect: Dialect) -> Result<Self, Vec<Diagnostic>> {
        parser::lines(name, lines, dialect)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it takes.
    pub fn inputs(&self) -> Inputs {
        self.inputs
    }

    /// The dialect that it was read in.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// What it returns.
    pub fn returns(&self) -> &[Argument] {
        &self.returns
    }

    /// The canonical text: parsed again it is the same program.
    pub fn to_text(&self) -> String {
        self.to_string()
    }

    /// An argument as the text writes it.
    pub fn spelled(&self, argument: &Argument) -> String {
        match argument {
            Argument::Line(at) => self.lines[*at].target.clone(),
            Argument::Input(name) | Argument::Constant(name) => (*name).to_owned(),
            Argument::Prim(prim) => prim.name().to_owned(),
            Argument::Int(n) => n.to_string(),
            Argument::Pair(i, j) => format!("({i}, {j})"),
        }
    }

    /// For each line whether something that is returned depends on it.
    pub fn needed(&self) -> Vec<bool> {
        let mut needed = vec![false; self.lines.len()];
        let mark = |needed: &mut Vec<bool>, argument: &Argument| {
            if let Argument::Line(at) = argument {
                needed[*at] = true;
            }
        };
        self.returns.iter().for_each(|argument| mark(&mut needed, argument));
        for (at, line) in self.lines.iter().enumerate().rev() {
            if needed[at] {
                line.args.iter().for_each(|argument| mark(&mut needed, argument));
                if let Callee::Line(callee) = line.callee {
                    needed[callee] = true;
                }
            }
        }
        needed
    }

    /// The program that returns the values of its lines, too, behind what it returns: of all, or of those that are needed.
    pub(crate) fn with_lines_returned(&self, all: bool) -> (Self, Vec<bool>) {
        let lines = if all { vec![true; self.lines.len()] } else { self.needed() };
        let mut whole = self.clone();
        whole.returns.extend((0..lines.len()).filter(|&at| lines[at]).map(Argument::Line));
        (whole, lines)
    }
}

impl Argument {
    /// The value, where it needs no program and no sample.
    pub fn literal(&self) -> Option<Value> {
        match self {
            Self::Line(_) | Self::Input(_) => None,
            Self::Constant(name) => names::constant(name, Dialect::Batt).map(|(_, value)| value),
            Self::Prim(prim) => Some(Value::Fn(crate::value::Function::Prim(*prim))),
            Self::Int(n) => Some(Value::Int(*n)),
            Self::Pair(i, j) => Some(Value::pair(*i, *j)),
        }
    }
}

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        (&self.target, &self.callee, &self.args) == (&other.target, &other.callee, &other.args)
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.inputs, &self.lines, &self.returns)
            == (&other.name, other.inputs, &other.lines, &other.returns)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spelled = |all: &[Argument]| all.iter().map(|a| self.spelled(a)).collect::<Vec<_>>().join(", ");
        writeln!(f, "program {}({})", self.name, self.inputs.names().join(", "))?;
        for line in &self.lines {
            let callee = match &line.callee {
                Callee::Prim(prim) => prim.name(),
                Callee::Line(at) => &self.lines[*at].target,
            };
            writeln!(f, "  {} = {callee}({})", line.target, spelled(&line.args))?;
        }
        writeln!(f, "return {}\nend", spelled(&self.returns))
    }
}

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The program can run all the same.
    Warning,
    /// It is no program, or fails on every input.
    Error,
}

/// Something to tell about a text: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn error(line: usize, column: usize, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, line, column, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The message with the line of the text and a mark below the place.
    pub fn render(&self, file: &str, text: &str) -> String {
        let word = if self.severity == Severity::Error { "error" } else { "warning" };
        let source = text.lines().nth(self.line.saturating_sub(1)).unwrap_or("");
        // A long line is shown around the place only.
        let from = self.column.saturating_sub(60);
        let shown: String = source.chars().skip(from).take(120).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let indent = " ".repeat(self.column.saturating_sub(from + 1));
        let mut out =
            format!("{word}: {file}:{}:{}: {}\n  | {shown}\n  | {indent}^", self.line, self.column, self.message);
        if let Some(help) = &self.help {
            out.push_str("\n  = ");
            out.push_str(help);
        }
        out
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}
