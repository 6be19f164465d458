use std::path::PathBuf;

use clap::Args;
use grid_dsl::{Severity, check};
use serde_json::json;

use super::sources::{CheckMode, Reading, tell, told};
use crate::exit::{Exit, Result};
use crate::files::as_text;
use crate::report_failure;
use crate::session::{Session, several};

/// Options of `grid check`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep grid check examples/*.grid
  lockstep grid check solvers.py --types
  lockstep grid check candidates.grid --dialect batt --json

Every call that must fail on every input because of the types of its arguments is an error, with line and column, and a \
warning in a line that nothing depends on; what cannot be known is not reported. Exit code 1 when there is an error; with --check warn or off that is only what is no program. Of several files \
those that cannot be read are named, and the others checked; the exit code is then 5, or 2 for what is no text.")]
pub(crate) struct Check {
    /// Files of programs, or of solvers in Python (.py)
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print the inferred type of every line
    #[arg(long)]
    types: bool,
    /// What becomes of calls that must fail
    #[arg(long = "check", value_enum, default_value = "strict", value_name = "MODE")]
    mode: CheckMode,
    #[command(flatten)]
    reading: Reading,
}

impl Check {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let (mut errors, mut warnings, mut count, mut documents) = (0, 0, 0, Vec::new());
        let (mut unreadable, mut worst) = (0, Exit::Ok);
        for path in &self.files {
            let (text, programs, mut faults) = match self.reading.programs(path) {
                Ok(read) => read,
                Err(failure) if self.files.len() == 1 => return Err(failure),
                // The others are checked all the same.
                Err(failure) => {
                    unreadable += 1;
                    if failure.exit as u8 > worst as u8 {
                        worst = failure.exit;
                    }
                    report_failure(session, &failure);
                    documents.push(json!({ "file": as_text(path), "unreadable": failure.to_json() }));
                    continue;
                }
            };
            count += programs.len();
            let mut types = Vec::new();
            for program in &programs {
                let checked = check(program, self.mode.into());
                if self.types {
                    session.say(format!("{}:", program.name()));
                    for (line, kind) in program.lines().iter().zip(&checked.types) {
                        session.say(format!("  {:<8} {kind}", line.target()));
                    }
                }
                let line = |(line, kind): (&grid_dsl::Line, &grid_dsl::Type)| json!([line.target(), kind.to_string()]);
                let lines: Vec<_> = program.lines().iter().zip(&checked.types).map(line).collect();
                types.push(json!({ "program": program.name(), "types": lines }));
                faults.extend(checked.diagnostics);
            }
            errors += faults.iter().filter(|d| d.severity == Severity::Error).count();
            warnings += faults.iter().filter(|d| d.severity == Severity::Warning).count();
            if !session.json {
                tell(path, &text, &faults);
            }
            documents.push(json!({ "file": as_text(path), "programs": types, "diagnostics": told(path, &faults) }));
        }
        let lost = if unreadable > 0 { format!(", {} not read", several(unreadable, "file")) } else { String::new() };
        let counts = [(count, "program"), (errors, "error"), (warnings, "warning")].map(|(n, what)| several(n, what));
        session.say(format!("{}{lost}", counts.join(", ")));
        session.document(&json!({
            "files": documents, "programs": count, "errors": errors, "warnings": warnings, "unreadable": unreadable,
        }))?;
        Ok(if worst == Exit::Ok && errors > 0 { Exit::Check } else { worst })
    }
}
