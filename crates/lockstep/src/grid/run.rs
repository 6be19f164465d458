use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use grid_dsl::conform::Task;
use grid_dsl::{Backend, ErrClass, Inputs, Limits, Program, Sample, Value, check, draw, hex};
use serde_json::{Value as Json, json};

use super::machine::Machine;
use super::merged::{Merged, is_for};
use super::sources::{CheckMode, Reading, tasks};
use crate::exit::{Exit, Failure, Result};
use crate::session::{Session, several};

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Colours {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    /// Digits instead
    Never,
}

/// Options of `grid run`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep grid run frame.grid --grid 0000/0110/0000 --show
  lockstep grid run flip.grid --tasks arc/training.jsonl --task 67a3c6ac --show
  lockstep grid run solvers.py --program solve_67a3c6ac --tasks 67a3c6ac.json --json
  lockstep grid run solvers.py --tasks arc/training.jsonl --merged --profile profile.json

A grid is written with one digit a cell, rows joined by `/`; other inputs in canonical text, as in {\"t\":[1,2]}. Tasks \
come from files of lines as in arc/training.jsonl, or as the ARC publishes them, or a folder of such; outputs that they \
have are compared. A program is chosen by --program, by the name of the task (NAME or solve_NAME), or is the only one \
where there is one task. `-` is standard input. Exit code 1 when an output \
differs from the task's, or a program fails. With --merged all programs, or that of --program, run as one graph on all \
examples of all tasks, for counts, digests and a profile; most fail on tasks of others, so that the exit code is 1 only when \
an output differs from the task's.")]
pub(crate) struct Run {
    /// A file of programs, or of solvers in Python (.py)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The program's name
    #[arg(short, long, value_name = "NAME")]
    program: Option<String>,
    /// An input; several are run one after the other. Needed unless there are tasks
    #[arg(short, long, value_name = "GRID", value_parser = parse_input)]
    grid: Vec<Value>,
    /// A file of tasks, or a folder of files as the ARC publishes them
    #[arg(long, value_name = "FILE")]
    tasks: Option<PathBuf>,
    /// A task of that file; all without it
    #[arg(long, value_name = "ID", requires = "tasks")]
    task: Vec<String>,
    /// Draw inputs and outputs; a number that is no colour is written out
    #[arg(long, conflicts_with = "merged")]
    show: bool,
    /// Colours of what is drawn
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Colours,
    /// Print every line's value, too
    #[arg(long, conflicts_with = "merged")]
    lines: bool,
    /// Evaluate lines that nothing depends on, too: one that fails lets the program fail
    #[arg(long, conflicts_with = "merged")]
    strict: bool,
    /// What becomes of calls that the type checker knows to fail: warn tells and runs, strict refuses [default: warn; off
    /// with --merged]
    #[arg(long, value_enum, value_name = "MODE", hide_default_value = true)]
    check: Option<CheckMode>,
    /// Element visits that a program may use on one input
    #[arg(long, value_name = "N", default_value_t = Limits::default().fuel)]
    fuel: u64,
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    merged: Merged,
    #[command(flatten)]
    reading: Reading,
}

fn parse_input(text: &str) -> std::result::Result<Value, String> {
    match Value::grid_from_digits(text) {
        _ if text.trim().is_empty() => Err("a grid has at least one cell".to_owned()),
        Some(grid) if grid.is_grid() => Ok(grid),
        Some(_) => Err("rows differ in length".to_owned()),
        None => text.parse().map_err(|e| format!("neither a grid like 012/345 nor canonical text: {e}")),
    }
}

/// How a case ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Right,
    Wrong,
    /// With values, and nothing to compare them with.
    Ran,
    Failed,
}

/// One input, where it is from, and what should come out.
struct Case {
    name: String,
    sample: Sample,
    expected: Option<Value>,
}

impl Run {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        if self.grid.is_empty() && self.tasks.is_none() {
            return Err(Failure::usage("there is nothing to run programs on")
                .help("name a file of tasks with --tasks, or write grids with --grid 012/345"));
        }
        self.merged.spare(std::iter::once(&self.file).chain(&self.tasks))?;
        let mut programs = self.reading.sound_programs(&self.file)?;
        let tasks = self.chosen_tasks()?;
        if self.merged.wanted {
            if let Some(name) = &self.program {
                self.named(&programs, name)?;
                programs.retain(|program| program.name() == name);
            }
            self.check_types(session, &programs, self.check.unwrap_or(CheckMode::Off))?;
            let limits = Limits { fuel: self.fuel, ..Limits::default() };
            return self.merged.run(session, &programs, &self.grid, &tasks, limits, &self.machine);
        }
        let mode = self.check.unwrap_or(CheckMode::Warn);
        let opened = self.machine.open(false)?;
        let (mut counts, mut documents) = ([0; 4], Vec::new());
        let mut run = |program: &Program, cases: Vec<Case>| -> Result<()> {
            self.check_types(session, std::slice::from_ref(program), mode)?;
            for case in cases {
                let (end, document) = self.case(session, opened.backend(), program, &case);
                counts[end as usize] += 1;
                documents.push(document);
            }
            Ok(())
        };
        if !self.grid.is_empty() {
            let case = |(k, grid): (usize, &Value)| Case {
                name: format!("grid {k}"),
                sample: Sample::new(grid.clone()),
                expected: None,
            };
            let program = self.choose(&programs, None, 1)?;
            if program.inputs() != Inputs::I {
                session.note("`S` is empty, and `C` is None: samples come with --tasks");
            }
            run(program, self.grid.iter().enumerate().map(case).collect())?;
        }
        for task in &tasks {
            match self.choose(&programs, Some(&task.id), tasks.len()) {
                Ok(program) => run(program, cases(task))?,
                // A file of tasks may hold many that no program is for.
                Err(failure) if !self.task.is_empty() => return Err(failure),
                Err(_) => {}
            }
        }
        let [right, wrong, ran, failed] = counts;
        match right + wrong + ran + failed {
            0 => {
                return Err(Failure::input(&self.file, "no program has the name of a task")
                    .help("choose one with --program, and the task with --task"));
            }
            1 => {}
            _ => {
                let told = [(right, "right"), (wrong, "wrong"), (ran, "with nothing to compare"), (failed, "failed")];
                let told = told.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
                session.say(told.collect::<Vec<_>>().join(", "));
            }
        }
        let share = opened.share();
        if let Some(share) = &share {
            share.tell(session);
        }
        session.document(&json!({
            "runs": documents, "right": right, "wrong": wrong, "not_compared": ran, "failed": failed,
            "backend": opened.backend().name(),
            "gpus": share.map(|share| share.json()),
        }))?;
        Ok(if wrong + failed > 0 { Exit::Check } else { Exit::Ok })
    }

    /// Tells what the type checker finds, or refuses it.
    fn check_types(&self, session: &Session, programs: &[Program], mode: CheckMode) -> Result<()> {
        for program in programs {
            let checked = check(program, mode.into());
            if let Some(first) = checked.diagnostics.iter().find(|_| !checked.accepts()) {
                let what = format!("{} is rejected: {first}", program.name());
                let failure = Failure::new(Exit::Check, format!("{}: {what}", self.file.display()));
                return Err(failure.help("correct the program, or run it all the same with --check warn"));
            }
            for warning in &checked.diagnostics {
                session.note(format!("{}: warning: {warning}", program.name()));
            }
        }
        Ok(())
    }

    fn chosen_tasks(&self) -> Result<Vec<Task>> {
        let Some(path) = &self.tasks else { return Ok(Vec::new()) };
        let mut all = tasks(path)?;
        if let Some(lost) = self.task.iter().find(|id| all.iter().all(|t| t.id != **id)) {
            return Err(Failure::input(path, format!("there is no task `{lost}`")).help("check the name of the task"));
        }
        all.retain(|task| self.task.is_empty() || self.task.contains(&task.id));
        Ok(all)
    }

    fn named<'p>(&self, programs: &'p [Program], name: &str) -> Result<&'p Program> {
        programs.iter().find(|p| p.name() == name).ok_or_else(|| {
            let names: Vec<&str> = programs.iter().map(Program::name).take(8).collect();
            let more = if programs.len() > names.len() { ", …" } else { "" };
            Failure::input(&self.file, format!("there is no program `{name}`"))
                .help(format!("its programs: {}{more}", names.join(", ")))
        })
    }

    /// The program for one task of so many, or for grids.
    fn choose<'p>(&self, programs: &'p [Program], task: Option<&str>, tasks: usize) -> Result<&'p Program> {
        match (&self.program, task, programs) {
            (Some(name), _, _) => self.named(programs, name),
            (None, _, [only]) if tasks == 1 || !self.task.is_empty() => Ok(only),
            (None, Some(id), _) => {
                programs.iter().find(|program| is_for(program.name(), id)).map_or_else(|| self.named(programs, id), Ok)
            }
            _ => Err(Failure::input(&self.file, format!("it holds {}", several(programs.len(), "program")))
                .help("choose one with --program")),
        }
    }

    /// Runs one case and prints it.
    fn case(&self, session: &Session, backend: &dyn Backend, program: &Program, case: &Case) -> (End, Json) {
        let limits = Limits { fuel: self.fuel, ..Limits::default() };
        let outcome = backend.program(program, &case.sample, &limits, self.strict);
        let first = outcome.returns.first();
        let end = match (&case.expected, first) {
            (Some(expected), Some(found)) if found.as_ref() == Ok(expected) => End::Right,
            (Some(_), Some(_)) => End::Wrong,
            _ if outcome.returns.iter().all(std::result::Result::is_ok) => End::Ran,
            _ => End::Failed,
        };
        let mark = match end {
            End::Right => ", right",
            End::Wrong => ", not the task's output",
            End::Ran | End::Failed => "",
        };
        session.say(format!("{}, {}{mark}", program.name(), case.name));
        if self.lines {
            for (line, value) in program.lines().iter().zip(&outcome.lines) {
                session.say(match value {
                    Some(value) => format!("  {:<8} {}", line.target(), shown(value)),
                    None => format!("  {:<8} (nothing depends on it)", line.target()),
                });
            }
        }
        let names: Vec<String> = program.returns().iter().map(|a| program.spelled(a)).collect();
        if self.show {
            self.draw(session, case, &names, &outcome.returns);
        }
        for (name, value) in names.iter().zip(&outcome.returns) {
            let drawn = self.show && value.as_ref().is_ok_and(Value::is_grid);
            if !drawn {
                session.say(format!("  {name} = {}", shown(value)));
            }
        }
        if let Some((at, class)) = outcome.first_failure() {
            session.say(format!("  {} fails: {class}", program.lines()[at].target()));
        }
        let returned = |(name, value): (&String, &grid_dsl::Result<Value>)| match value {
            Ok(v) => json!({ "name": name, "value": v.to_text(), "digest": hex(v.digest()) }),
            Err(class) => json!({ "name": name, "error": class.name() }),
        };
        let document = json!({
            "program": program.name(), "case": case.name, "fuel": outcome.used,
            "right": matches!(end, End::Right | End::Wrong).then_some(end == End::Right),
            "returns": names.iter().zip(&outcome.returns).map(returned).collect::<Vec<_>>(),
            "expected": case.expected.as_ref().map(Value::to_text),
            "fails_at": outcome.first_failure().map(|(at, _)| program.lines()[at].target()),
        });
        (end, document)
    }

    fn draw(&self, session: &Session, case: &Case, names: &[String], returns: &[grid_dsl::Result<Value>]) {
        let colour = match self.color {
            Colours::Always => true,
            Colours::Never => false,
            Colours::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        let mut blocks = Vec::new();
        let mut block = |title: &str, value: &Value| {
            if let Some((lines, columns)) = draw::grid(value, colour) {
                blocks.push((title.to_owned(), lines, columns));
            }
        };
        block("I", &case.sample.input);
        names.iter().zip(returns).filter_map(|(n, v)| Some((n, v.as_ref().ok()?))).for_each(|(n, v)| block(n, v));
        case.expected.iter().for_each(|v| block("expected", v));
        for line in draw::beside(&blocks) {
            session.say(format!("  {line}"));
        }
    }
}

/// All examples of a task, each with those to learn from.
fn cases(task: &Task) -> Vec<Case> {
    let case = |(k, (input, output)): (usize, &(Value, Value))| Case {
        name: format!("task {}, {}", task.id, task.example_name(k)),
        sample: Sample::new(input.clone()).with_samples(task.train.iter().cloned()),
        expected: Some(output.clone()).filter(|output| *output != Value::None),
    };
    task.examples().enumerate().map(case).collect()
}

/// A value or its error, cut where a line of text ends.
fn shown(value: &Result<Value, ErrClass>) -> String {
    match value {
        Ok(value) => {
            let text = value.to_text();
            match text.char_indices().nth(200) {
                Some((at, _)) => {
                    format!("{}… ({} characters, digest {})", &text[..at], text.len(), hex(value.digest()))
                }
                None => text,
            }
        }
        Err(class) => format!("error {class}"),
    }
}
