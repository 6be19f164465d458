//! Tasks: examples to learn from, and some to solve.

use super::{Verdict, short, shown};
use crate::error::Limits;
use crate::exec::Backend;
use crate::lang::Program;
use crate::run::{Outcome, Sample};
use crate::value::Value;

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
