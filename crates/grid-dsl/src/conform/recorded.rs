//! Programs with what their lines gave.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Library, Verdict, short, shown};
use crate::error::{ErrClass, Limits};
use crate::exec::Backend;
use crate::lang::{Dialect, Program};
use crate::run::{Outcome, Sample};
use crate::value::{Value, hex};

/// A program, or the name of one, with its cases.
#[derive(Debug)]
pub struct Recorded {
    pub(super) id: String,
    pub(super) task: Option<String>,
    pub(super) examples: Vec<usize>,
    pub(super) source: Option<Vec<String>>,
    pub(super) cases: Vec<Case>,
}

#[derive(Debug)]
pub(super) struct Case {
    pub(super) input: Option<Value>,
    pub(super) digests: Option<Digests>,
    pub(super) output: Option<Value>,
    pub(super) fails_at: Option<String>,
}

/// A digest a line, in order or by variable.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "digests are neither a list of text nor text by variable")]
pub(super) enum Digests {
    Ordered(Vec<String>),
    Named(HashMap<String, String>),
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
