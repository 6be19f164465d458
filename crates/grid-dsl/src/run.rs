//! Running programs line by line: the definition of what they mean.

use crate::error::{ErrClass, Limits, Result};
use crate::lang::{Argument, Callee, Program};
use crate::machine::Machine;
use crate::value::Value;

/// What a program runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// `I`, the input grid.
    pub input: Value,
    /// `S`, a tuple of tuples `(input, output)`.
    pub samples: Value,
    /// `C`, a candidate grid or `None`.
    pub candidate: Value,
}

impl Sample {
    /// A sample for programs that take `I` alone.
    pub fn new(input: Value) -> Self {
        Self { input, samples: Value::tuple(vec![]), candidate: Value::None }
    }

    /// The same with the samples of the task.
    pub fn with_samples(mut self, pairs: impl IntoIterator<Item = (Value, Value)>) -> Self {
        let pair = |(input, output)| Value::tuple(vec![input, output]);
        self.samples = Value::tuple(pairs.into_iter().map(pair).collect());
        self
    }

    /// Whether all inputs are within the limits.
    pub(crate) fn admit(&self, limits: &Limits) -> Result<()> {
        [&self.input, &self.samples, &self.candidate].into_iter().try_for_each(|v| limits.admit(v))
    }

    /// An input by its name.
    pub(crate) fn get(&self, name: &str) -> &Value {
        match name {
            "S" => &self.samples,
            "C" => &self.candidate,
            _ => &self.input,
        }
    }
}

/// What became of a program on a sample.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// For each line its value or error; none for lines that nothing needed.
    pub lines: Vec<Option<Result<Value>>>,
    /// What is returned.
    pub returns: Vec<Result<Value>>,
    /// Fuel that was used.
    pub used: u64,
}

impl Outcome {
    /// The first line that failed, counted from 0, and why.
    pub fn first_failure(&self) -> Option<(usize, ErrClass)> {
        let failed = |(at, line): (usize, &Option<Result<Value>>)| Some((at, line.as_ref()?.as_ref().err().copied()?));
        self.lines.iter().enumerate().find_map(failed)
    }
}

impl Program {
    /// Runs the program on a sample.
    ///
    /// Lines that no returned value depends on are passed over, unless `strict`: then every line is evaluated, and one that
    /// fails lets all that is returned fail with its class, as it would in Python.
    pub fn run(&self, sample: &Sample, limits: &Limits, strict: bool) -> Outcome {
        let mut machine = Machine::new(limits);
        let admitted = sample.admit(limits);
        let needed = if strict { vec![true; self.lines.len()] } else { self.needed() };
        let mut lines: Vec<Option<Result<Value>>> = Vec::with_capacity(self.lines.len());
        for (line, needed) in self.lines.iter().zip(needed) {
            let value = needed.then(|| {
                admitted?;
                let function = match line.callee {
                    Callee::Prim(_) => None,
                    Callee::Line(at) => Some(read(&lines, at)?),
                };
                let args: Result<Vec<Value>> = line.args.iter().map(|a| value_of(a, &lines, sample)).collect();
                let args = args?;
                match (&line.callee, function) {
                    (Callee::Prim(prim), _) => machine.prim(*prim, &args),
                    (_, Some(function)) => machine.call_value(&function, &args),
                    _ => Err(ErrClass::Type),
                }
            });
            lines.push(value);
        }
        let mut outcome = Outcome { returns: Vec::new(), lines, used: machine.used() };
        let failure = if strict { outcome.first_failure() } else { None };
        let returned = |a: &Argument| match failure {
            Some((_, class)) => Err(class),
            None => admitted.and_then(|()| value_of(a, &outcome.lines, sample)),
        };
        outcome.returns = self.returns.iter().map(returned).collect();
        outcome
    }
}

fn read(lines: &[Option<Result<Value>>], at: usize) -> Result<Value> {
    // A line that was passed over is not asked for.
    lines.get(at).cloned().flatten().unwrap_or(Err(ErrClass::Type))
}

fn value_of(argument: &Argument, lines: &[Option<Result<Value>>], sample: &Sample) -> Result<Value> {
    match argument {
        Argument::Line(at) => read(lines, *at),
        Argument::Input(name) => Ok(sample.get(name).clone()),
        literal => literal.literal().ok_or(ErrClass::Type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, grid: &str, strict: bool) -> Vec<Result<Value>> {
        let program = Program::parse(text).unwrap().remove(0);
        let sample = Sample::new(Value::grid_from_digits(grid).unwrap());
        program.run(&sample, &Limits::default(), strict).returns
    }

    #[test]
    fn dead_lines_fail_only_when_strict() {
        let text = "program a(I)\n x = divide(ONE, ZERO)\n y = rot90(I)\nreturn y\nend\n";
        assert_eq!(run(text, "01", false), [Ok(Value::grid([[0], [1]]))]);
        assert_eq!(run(text, "01", true), [Err(ErrClass::DivZero)]);
    }

    #[test]
    fn the_leftmost_error_counts() {
        let text = "program a(I)\n x = divide(ONE, ZERO)\n y = first(x)\n z = interval(0, 1, 0)\n \
                    w = branch(T, z, y)\nreturn w, y, I\nend\n";
        let returns = run(text, "01", false);
        assert_eq!(returns[..2], [Err(ErrClass::Range), Err(ErrClass::DivZero)]);
        assert!(returns[2].is_ok());
    }

    #[test]
    fn a_function_applied_to_itself_ends() {
        // w = x -> {x}(x); w(w) never returns by itself.
        let text = "program a(I)\n w = fork(rapply, initset, identity)\n x = w(w)\nreturn x\nend\n";
        assert_eq!(run(text, "0", false), [Err(ErrClass::Limit)]);
        let text = "program a(I)\n p = power(identity, 256)\n q = power(p, 256)\n r = power(q, 256)\n s = power(r, 256)\n \
                    x = s(0)\nreturn x\nend\n";
        let program = Program::parse(text).unwrap().remove(0);
        let limits = Limits { fuel: 1 << 20, ..Limits::default() };
        let outcome = program.run(&Sample::new(Value::Int(0)), &limits, false);
        assert_eq!(outcome.returns, [Err(ErrClass::Fuel)]);
    }

    #[test]
    fn values_that_double_end() {
        let doubled = (1..300).map(|k| format!(" x{k} = astuple(x{0}, x{0})\n", k - 1));
        let lines = doubled.collect::<Vec<_>>().concat();
        let text = format!("program a(I)\n x0 = astuple(I, I)\n{lines}return x299\nend\n");
        assert_eq!(run(&text, "0", false), [Err(ErrClass::Limit)]);
    }
}
