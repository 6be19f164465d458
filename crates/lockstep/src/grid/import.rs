use std::path::PathBuf;

use clap::Args;
use grid_dsl::{Program, python};
use serde_json::json;

use super::sources::{Reading, tell, text, told};
use crate::exit::{Exit, Failure, Result};
use crate::files::{self, as_text};
use crate::session::{Session, several};

/// Options of `grid import`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep grid import solvers.py -o solvers.grid
  lockstep grid import solvers.py | less

Functions `def solve_NAME(I):` of lines `var = fn(arg, ..)` with names only are read. Others are reported with line and \
column and left out; the exit code is 3 then.")]
pub(crate) struct Import {
    /// A Python file of solvers
    #[arg(value_name = "FILE.py")]
    input: PathBuf,
    /// The file of programs to write; standard output without it
    #[arg(short, long, value_name = "FILE.grid")]
    output: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

impl Import {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        if let Some(output) = &self.output {
            files::spare(output, [&self.input], "-o")?;
        }
        let source = text(&self.input)?;
        let found = python::import(&source, self.reading.dialect());
        if !session.json {
            tell(&self.input, &source, &found.diagnostics);
        }
        if found.programs.is_empty() {
            return Err(Failure::input(&self.input, "no function could be read")
                .help("solvers look like `def solve_NAME(I):`, lines `x1 = fn(I, x0)`, `return x1`"));
        }
        let programs: Vec<String> = found.programs.iter().map(Program::to_text).collect();
        let written = programs.join("\n");
        match &self.output {
            Some(path) => files::write(path, written.as_bytes())?,
            None => session.say(written.trim_end()),
        }
        if self.output.is_some() {
            let faults = several(found.diagnostics.len(), "fault");
            session.note(format!("{}, {faults}", several(programs.len(), "program")));
        }
        session.document(&json!({
            "input": as_text(&self.input), "output": self.output.as_ref().map(as_text), "programs": programs.len(),
            "lines": found.programs.iter().map(|p| p.lines().len()).sum::<usize>(),
            "diagnostics": told(&self.input, &found.diagnostics),
            "text": self.output.is_none().then_some(written),
        }))?;
        Ok(if found.diagnostics.is_empty() { Exit::Ok } else { Exit::Partial })
    }
}
