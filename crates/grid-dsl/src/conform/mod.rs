//! Checks against stored answers: vectors of single calls, programs with a digest for every line, traces.
//!
//! A vector is a line `{"a":[arguments], "r":result}` or `{"a":[..], "e":1}` of a file that is named like the function. A
//! program is a line `{"id", "src":[lines], "cases":[{"in", "d":[digests], "out"}]}`, where a case that fails has `err_at` with the
//! variable of the failing line in place of `out`. A trace is a program without `src`: that comes from a file of solvers.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{ErrClass, Limits, Result as Evaluated};
use crate::exec::{Backend, Reference};
use crate::lang::names::primitive;
use crate::lang::{Dialect, Program};
use crate::prim::Prim;
use crate::run::{Outcome, Sample};
use crate::value::{Value, hex};

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Right,
    /// Something else than it should be.
    Wrong(String),
    /// Nothing that could be checked.
    Unsupported(String),
}

/// One line of a file, read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Record {
    /// A call of a function.
    Vector(Vector),
    /// A program with cases.
    Program(Recorded),
    /// A task of the ARC.
    Task(Task),
}

/// A call with its result.
#[derive(Debug)]
pub struct Vector {
    function: String,
    args: Vec<Value>,
    /// The text of the result; an error without it.
    result: Option<String>,
}

/// A program, or the name of one, with its cases.
#[derive(Debug)]
pub struct Recorded {
    id: String,
    task: Option<String>,
    examples: Vec<usize>,
    source: Option<Vec<String>>,
    cases: Vec<Case>,
}

#[derive(Debug)]
struct Case {
    input: Option<Value>,
    digests: Option<Digests>,
    output: Option<Value>,
    fails_at: Option<String>,
}

/// A task: examples of inputs and outputs, those to learn from first.
#[derive(Clone, Debug)]
pub struct Task {
    /// The name.
    pub id: String,
    /// Examples to learn from.
    pub train: Vec<(Value, Value)>,
    /// Examples to solve. An output that is not known is `None`.
    pub test: Vec<(Value, Value)>,
}

/// An input and its output, which a test may lack.
#[derive(Deserialize)]
#[serde(untagged)]
enum Test {
    Both(String, Option<String>),
    Input([String; 1]),
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    a: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default, deserialize_with = "present")]
    r: Option<&'a RawValue>,
    e: Option<i64>,
    #[serde(alias = "fn", alias = "function")]
    f: Option<String>,
    #[serde(alias = "name")]
    id: Option<String>,
    task: Option<String>,
    ex: Option<serde_json::Value>,
    #[serde(alias = "lines")]
    src: Option<serde_json::Value>,
    #[serde(borrow)]
    cases: Option<Vec<RawCase<'a>>>,
    train: Option<Vec<(String, String)>>,
    test: Option<Vec<Test>>,
    // A trace may have one case a line.
    #[serde(borrow, rename = "in")]
    input: Option<&'a RawValue>,
    d: Option<Digests>,
    #[serde(borrow, default, deserialize_with = "present")]
    out: Option<&'a RawValue>,
    err_at: Option<String>,
}

/// A digest a line, in order or by variable.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Digests {
    Ordered(Vec<String>),
    Named(HashMap<String, String>),
}

#[derive(Deserialize)]
struct RawCase<'a> {
    #[serde(borrow, rename = "in")]
    input: Option<&'a RawValue>,
    d: Option<Digests>,
    #[serde(borrow, default, deserialize_with = "present")]
    out: Option<&'a RawValue>,
    err_at: Option<String>,
}

/// A field that is there, `null` included: that is a value, too.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// A function by any of its names, those of the dialect with a suffix too: no other is named like that.
fn named(name: &str) -> Option<Prim> {
    primitive(name, Dialect::Batt)
}

/// The function that a file is named after: `objects`, also in `objects.more` or `more-objects`.
fn function_of(stem: &str) -> String {
    let mut parts = std::iter::once(stem).chain(stem.split(['.', '-']));
    parts.find(|part| named(part).is_some()).unwrap_or(stem).to_owned()
}

/// Reads one line. `stem` is the name of its file without ending: for vectors that of the function.
///
/// # Errors
///
/// What the line lacks, in words.
pub fn read(stem: &str, line: &str) -> Result<Record, String> {
    let raw: Raw = serde_json::from_str(line.trim_end()).map_err(unread)?;
    if let Some(args) = raw.a {
        let args = args.into_iter().map(value).collect::<Result<_, _>>()?;
        if raw.r.is_none() && raw.e.is_none() {
            return Err("a vector with neither result `r` nor error `e`".to_owned());
        }
        match (raw.r.is_some(), raw.e.is_some_and(|e| e != 0)) {
            (true, true) => return Err("a vector with both a result `r` and an error `e`".to_owned()),
            (false, false) => return Err("a vector without result `r` that is no error either: `e` is 0".to_owned()),
            _ => {}
        }
        let result = raw.r.map(value).transpose()?.map(|v| v.to_text());
        return Ok(Record::Vector(Vector { function: raw.f.unwrap_or_else(|| function_of(stem)), args, result }));
    }
    if let Some(train) = raw.train {
        let grid = |digits: &str| grid(digits).and_then(rectangular);
        let pairs = |all: Vec<(String, String)>| {
            let read = |(i, o): (String, String)| Ok((grid(&i)?, grid(&o)?));
            all.into_iter().map(read).collect::<Result<Vec<_>, String>>()
        };
        let id = raw.id.ok_or("a task without `id`")?;
        let test = |test: Test| match test {
            Test::Both(input, Some(output)) => Ok((grid(&input)?, grid(&output)?)),
            Test::Both(input, None) | Test::Input([input]) => Ok((grid(&input)?, Value::None)),
        };
        let tests = raw.test.unwrap_or_default().into_iter().map(test).collect::<Result<_, String>>()?;
        return Ok(Record::Task(Task { id, train: pairs(train)?, test: tests }));
    }
    let single = RawCase { input: raw.input, d: raw.d, out: raw.out, err_at: raw.err_at };
    let cases = match raw.cases {
        Some(cases) => cases,
        None if single.d.is_some() || single.out.is_some() || single.err_at.is_some() => vec![single],
        None => return Err("neither `a`, `train` nor `cases`".to_owned()),
    };
    let examples = match raw.ex {
        Some(serde_json::Value::Array(all)) => all.iter().filter_map(serde_json::Value::as_u64).collect(),
        Some(one) => one.as_u64().into_iter().collect(),
        None => Vec::new(),
    };
    let examples = examples.into_iter().map(|n| n as usize).collect();
    let source = match raw.src {
        Some(serde_json::Value::Array(lines)) => {
            let text = |line: serde_json::Value| line.as_str().map(str::to_owned).ok_or("`src` holds no text");
            Some(lines.into_iter().map(text).collect::<Result<_, _>>()?)
        }
        Some(serde_json::Value::String(text)) => Some(text.lines().map(str::to_owned).collect()),
        _ => None,
    };
    let case = |case: RawCase| -> Result<Case, String> {
        let input = case.input.map(|text| match serde_json::from_str::<String>(text.get()) {
            Ok(digits) => grid(&digits),
            Err(_) => value(text),
        });
        let says_nothing = match &case.d {
            Some(Digests::Ordered(_)) => false,
            Some(Digests::Named(all)) => all.is_empty(),
            None => true,
        };
        match (case.out.is_some(), case.err_at.is_some()) {
            (true, true) => return Err("a case with both an output `out` and a failing line `err_at`".to_owned()),
            (false, false) if says_nothing => {
                return Err("a case with neither `out`, `err_at` nor digests `d`".to_owned());
            }
            _ => {}
        }
        let output = case.out.map(value).transpose()?;
        Ok(Case { input: input.transpose()?, digests: case.d, output, fails_at: case.err_at })
    };
    let cases = cases.into_iter().map(case).collect::<Result<_, _>>()?;
    let id = raw.id.or_else(|| raw.task.clone()).ok_or("a program without `id`")?;
    Ok(Record::Program(Recorded { id, task: raw.task, examples, source, cases }))
}

/// Why JSON cannot be read, with the column: the line is that of the file.
fn unread(e: serde_json::Error) -> String {
    let (text, place) = (e.to_string(), format!(" at line {} column {}", e.line(), e.column()));
    format!("no record: {}, column {}", text.strip_suffix(&place).unwrap_or(&text), e.column())
}

/// A task's grid, unless its rows differ in length.
fn rectangular(grid: Value) -> Result<Value, String> {
    if grid.is_grid() { Ok(grid) } else { Err("a grid whose rows differ in length".to_owned()) }
}

fn value(text: &RawValue) -> Result<Value, String> {
    text.get().parse().map_err(|e| format!("no value: {e}"))
}

fn grid(digits: &str) -> Result<Value, String> {
    Value::grid_from_digits(digits).ok_or_else(|| "a grid that is not rows of digits".to_owned())
}

/// What traces need from elsewhere: solvers by name, tasks by name.
#[derive(Debug, Default)]
pub struct Library {
    solvers: HashMap<String, Program>,
    tasks: HashMap<String, Task>,
}

impl Library {
    /// Adds a program: `solve_NAME` is found as `NAME`, too.
    pub fn add_solver(&mut self, program: Program) {
        let name = program.name().strip_prefix("solve_").unwrap_or(program.name());
        self.solvers.insert(name.to_owned(), program);
    }

    /// Adds a task.
    pub fn add_task(&mut self, task: Task) {
        self.tasks.insert(task.id.clone(), task);
    }

    /// Tasks that a solver is there for, with it, in the order of names.
    pub fn solved(&self) -> Vec<(&Task, &Program)> {
        let mut all: Vec<_> =
            self.tasks.values().filter_map(|task| Some((task, self.solvers.get(&task.id)?))).collect();
        all.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        all
    }

    fn solver(&self, id: &str) -> Option<&Program> {
        self.solvers.get(id.strip_prefix("solve_").unwrap_or(id))
    }
}

/// A text for a report: long ones are cut.
fn short(text: &str) -> String {
    if text.chars().count() <= 120 {
        return text.to_owned();
    }
    text.chars().take(117).chain("...".chars()).collect()
}

fn shown(result: &Evaluated<Value>) -> String {
    match result {
        Ok(value) => short(&value.to_text()),
        Err(class) => format!("Err({})", class.name()),
    }
}

impl Vector {
    /// Calls the function by the definition and compares.
    pub fn verify(&self, limits: &Limits) -> Verdict {
        self.verify_on(&Reference, limits)
    }

    /// Calls the function on a back end and compares.
    pub fn verify_on(&self, backend: &dyn Backend, limits: &Limits) -> Verdict {
        Self::verify_all(std::slice::from_ref(self), backend, limits).remove(0)
    }

    /// Calls the functions of many on a back end and compares, one verdict each.
    pub fn verify_all(vectors: &[Self], backend: &dyn Backend, limits: &Limits) -> Vec<Verdict> {
        let call = |vector: &Self| Some((named(&vector.function)?, vector.args.clone()));
        let calls: Vec<_> = vectors.iter().filter_map(call).collect();
        let mut found = backend.calls(&calls, limits).into_iter();
        let verdict = |vector: &Self| match named(&vector.function) {
            Some(_) => vector.judge(&found.next().unwrap_or(Err(ErrClass::Type))),
            None => Verdict::Unsupported(format!("no function is named `{}`", vector.function)),
        };
        vectors.iter().map(verdict).collect()
    }

    fn judge(&self, found: &Evaluated<Value>) -> Verdict {
        let right = match (found, &self.result) {
            (Ok(value), Some(expected)) => value.to_text() == *expected,
            (Err(_), None) => true,
            _ => false,
        };
        if right {
            return Verdict::Right;
        }
        let args: Vec<String> = self.args.iter().map(|a| short(&a.to_text())).collect();
        let expected = self.result.as_deref().map_or_else(|| "an error".to_owned(), short);
        Verdict::Wrong(format!("{}({}) = {}, expected {expected}", self.function, args.join(", "), shown(found)))
    }
}

impl Recorded {
    /// The name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the program's text is elsewhere.
    pub fn is_trace(&self) -> bool {
        self.source.is_none()
    }

    /// Whether some case is known to give a value: such a program must be well-typed.
    pub fn succeeds(&self) -> bool {
        self.cases.iter().any(|case| case.fails_at.is_none())
    }

    /// How many cases there are.
    pub fn cases(&self) -> usize {
        self.cases.len()
    }

    /// The program.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn program(&self, library: &Library) -> Result<Program, String> {
        let Some(source) = &self.source else {
            let found = library.solver(&self.id).or_else(|| library.solver(self.task.as_deref()?));
            return found.cloned().ok_or_else(|| format!("no solver of `{}` is given", self.id));
        };
        Program::from_lines(&self.id, source, Dialect::Core)
            .map_err(|all| all.first().map_or_else(String::new, ToString::to_string))
    }

    /// Runs one case by the definition and compares every line's digest, the output, and the line that fails.
    pub fn verify(&self, program: &Program, case: usize, library: &Library, limits: &Limits) -> Verdict {
        match self.sample(case, library) {
            Some(sample) => self.judge(program, case, &program.run(&sample, limits, true)),
            None => Verdict::Unsupported(format!("{}: case {case} has no input", self.id)),
        }
    }

    /// Runs all cases on a back end, one verdict each.
    pub fn verify_on(
        &self,
        backend: &dyn Backend,
        program: &Program,
        library: &Library,
        limits: &Limits,
    ) -> Vec<Verdict> {
        let samples: Vec<Option<Sample>> = (0..self.cases()).map(|case| self.sample(case, library)).collect();
        let known: Vec<Sample> = samples.iter().flatten().cloned().collect();
        let mut outcomes = backend.programs(program, &known, limits, true).into_iter();
        let verdict = |(case, sample): (usize, &Option<Sample>)| match sample.as_ref().and_then(|_| outcomes.next()) {
            Some(outcome) => self.judge(program, case, &outcome),
            None => Verdict::Unsupported(format!("{}: case {case} has no input", self.id)),
        };
        samples.iter().enumerate().map(verdict).collect()
    }

    /// What a case runs on.
    fn sample(&self, case: usize, library: &Library) -> Option<Sample> {
        let task = self.task.as_ref().and_then(|id| library.tasks.get(id));
        let input = self.cases[case].input.clone().or_else(|| {
            let at = self.examples.get(case).copied().unwrap_or(case);
            task?.examples().nth(at).map(|(input, _)| input.clone())
        });
        let sample = Sample::new(input?);
        Some(match task {
            Some(task) => sample.with_samples(task.train.iter().cloned()),
            None => sample,
        })
    }

    fn judge(&self, program: &Program, case: usize, outcome: &Outcome) -> Verdict {
        let recorded = &self.cases[case];
        let wrong = |what: String| Verdict::Wrong(format!("{}, case {case}: {what}", self.id));
        let target = |at: usize| program.lines()[at].target();
        let failed = outcome.first_failure();
        let end = failed.map_or(outcome.lines.len(), |(at, _)| at);
        let digests: Vec<String> = outcome.lines[..end].iter().flatten().flatten().map(|v| hex(v.digest())).collect();
        for (at, found) in digests.iter().enumerate() {
            let expected = match &recorded.digests {
                Some(Digests::Ordered(all)) => all.get(at),
                Some(Digests::Named(all)) => all.get(target(at)),
                None => None,
            };
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                let value = outcome.lines[at].clone().unwrap_or(Err(ErrClass::Type));
                return wrong(format!("{} has digest {found}, expected {expected}: {}", target(at), shown(&value)));
            }
        }
        if failed.map(|(at, _)| target(at)) != recorded.fails_at.as_deref() {
            let found = failed.map_or("nowhere".to_owned(), |(at, class)| format!("at {} ({class})", target(at)));
            return wrong(format!("fails {found}, expected {}", recorded.fails_at.as_deref().unwrap_or("nowhere")));
        }
        let count = match &recorded.digests {
            Some(Digests::Ordered(all)) => all.len(),
            _ => digests.len(),
        };
        if count != digests.len() {
            return wrong(format!("{} lines have values, expected {count}", digests.len()));
        }
        match (&recorded.output, outcome.returns.first()) {
            (Some(expected), Some(Ok(found))) if expected.to_text() != found.to_text() => {
                wrong(format!("returns {}, expected {}", short(&found.to_text()), short(&expected.to_text())))
            }
            (Some(_), Some(Err(class))) => wrong(format!("returns Err({})", class.name())),
            _ => Verdict::Right,
        }
    }
}

impl Task {
    /// All examples, those to learn from first.
    pub fn examples(&self) -> impl Iterator<Item = &(Value, Value)> {
        self.train.iter().chain(&self.test)
    }

    /// What an example is called: `train 0`, `test 0`.
    pub fn example_name(&self, example: usize) -> String {
        match example.checked_sub(self.train.len()) {
            None => format!("train {example}"),
            Some(test) => format!("test {test}"),
        }
    }

    /// Runs a program on an example by the definition and compares its first output.
    pub fn verify(&self, program: &Program, example: usize, limits: &Limits) -> Verdict {
        match self.examples().nth(example) {
            Some((_, Value::None)) => Verdict::Unsupported(format!("{}: example {example} has no output", self.id)),
            Some((input, output)) => {
                let outcome = program.run(&self.sample(input), limits, false);
                self.judge(program, example, output, &outcome)
            }
            None => Verdict::Unsupported(format!("{} has no example {example}", self.id)),
        }
    }

    /// Runs a program on all examples with an output on a back end, one verdict each.
    pub fn verify_on(&self, backend: &dyn Backend, program: &Program, limits: &Limits) -> Vec<Verdict> {
        let known: Vec<_> = self.examples().enumerate().filter(|(_, (_, output))| *output != Value::None).collect();
        let samples: Vec<Sample> = known.iter().map(|(_, (input, _))| self.sample(input)).collect();
        let outcomes = backend.programs(program, &samples, limits, false);
        let judged = known.iter().zip(&outcomes);
        judged.map(|((k, (_, output)), outcome)| self.judge(program, *k, output, outcome)).collect()
    }

    fn sample(&self, input: &Value) -> Sample {
        Sample::new(input.clone()).with_samples(self.train.iter().cloned())
    }

    fn judge(&self, program: &Program, example: usize, output: &Value, outcome: &Outcome) -> Verdict {
        match outcome.returns.first() {
            Some(Ok(found)) if found == output => Verdict::Right,
            Some(found) => {
                let place = self.example_name(example);
                let (name, expected) = (program.name(), short(&output.to_text()));
                let what = format!("{}, {place}: {name} returns {}, expected {expected}", self.id, shown(found));
                Verdict::Wrong(what)
            }
            None => Verdict::Unsupported(format!("{} returns nothing", program.name())),
        }
    }
}

#[cfg(test)]
mod tests;
