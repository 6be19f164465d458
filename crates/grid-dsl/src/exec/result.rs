//! What programs returned on samples.

use std::collections::HashMap;
use std::sync::OnceLock;

use rayon::prelude::*;

use super::Profile;
use crate::dag::Batch;
use crate::error::Result;
use crate::fast::{Val, Wide};
use crate::value::Value;

/// A returned value, in the form that the back end has it.
#[derive(Clone)]
pub(crate) enum Output {
    Value(Value),
    /// Converted when it is looked at.
    Fast(Val, OnceLock<Value>),
}

impl Output {
    pub(crate) fn fast(value: Val) -> Self {
        Self::Fast(value, OnceLock::new())
    }

    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Value(value) => value,
            Self::Fast(value, converted) => converted.into_inner().unwrap_or_else(|| value.to_value()),
        }
    }

    fn value(&self) -> &Value {
        match self {
            Self::Value(value) => value,
            Self::Fast(value, converted) => converted.get_or_init(|| value.to_value()),
        }
    }

    fn digest(&self) -> u64 {
        match self {
            Self::Value(value) => value.digest(),
            Self::Fast(value, _) => value.digest(),
        }
    }

    fn wide_digest(&self) -> u128 {
        match self {
            Self::Value(value) => Val::from(value).wide_digest(),
            Self::Fast(value, _) => value.wide_digest(),
        }
    }
}

/// What programs returned on samples.
#[derive(Clone)]
pub struct RunResult {
    /// For each sample the outputs of all programs, one after the other.
    outputs: Vec<Vec<Result<Output>>>,
    /// Where each program's outputs begin.
    starts: Vec<usize>,
    expected: Vec<Option<Value>>,
    profile: Profile,
}

impl std::fmt::Debug for RunResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunResult")
            .field("samples", &self.outputs.len())
            .field("programs", &self.programs())
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl Drop for RunResult {
    /// Millions of values take a thread alone as long as a tenth of the run that made them.
    fn drop(&mut self) {
        if self.outputs.len() > 1 {
            std::mem::take(&mut self.outputs).into_par_iter().for_each(drop);
        }
    }
}

impl RunResult {
    /// From the outputs of each sample, and how many each program has.
    pub(crate) fn new(outputs: Vec<Vec<Result<Output>>>, counts: impl Iterator<Item = usize>) -> Self {
        let ends = counts.scan(0, |end, n| {
            *end += n;
            Some(*end)
        });
        let starts = std::iter::once(0).chain(ends).collect();
        Self { outputs, starts, expected: Vec::new(), profile: Profile::default() }
    }

    pub(crate) fn finish(&mut self, profile: Profile, batch: &Batch) {
        self.profile = profile;
        self.expected = batch.expected().to_vec();
    }

    /// For each sample the outputs of all programs, one after the other.
    pub(crate) fn into_outputs(mut self) -> Vec<Vec<Result<Output>>> {
        std::mem::take(&mut self.outputs)
    }

    fn output(&self, program: usize, output: usize, sample: usize) -> &Result<Output> {
        let at = self.starts[program] + output;
        assert!(at < self.starts[program + 1], "program {program} has no output {output}");
        &self.outputs[sample][at]
    }

    /// What a program returned on a sample.
    pub fn value(&self, program: usize, output: usize, sample: usize) -> Result<&Value> {
        self.output(program, output, sample).as_ref().map(Output::value).map_err(|class| *class)
    }

    /// The digest of what a program returned on a sample.
    pub fn digest(&self, program: usize, output: usize, sample: usize) -> Result<u64> {
        self.output(program, output, sample).as_ref().map(Output::digest).map_err(|class| *class)
    }

    /// Digests of all outputs of a sample, in the order of programs.
    pub fn digests(&self, sample: usize) -> impl Iterator<Item = Result<u64>> + '_ {
        self.outputs[sample].iter().map(|v| v.as_ref().map(Output::digest).map_err(|class| *class))
    }

    /// Samples.
    pub fn samples(&self) -> usize {
        self.outputs.len()
    }

    /// Programs.
    pub fn programs(&self) -> usize {
        self.starts.len() - 1
    }

    /// What the run took.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Whether a program's first output is what the sample's task expects. `None` for samples without expectation.
    pub fn equals_expected(&self, program: usize, sample: usize) -> Option<bool> {
        let expected = self.expected.get(sample)?.as_ref()?;
        Some(self.value(program, 0, sample) == Ok(expected))
    }

    /// For each program the first program with the same outputs on all samples, errors by class: programs with equal
    /// numbers cannot be told apart here. Compares digests of 128 bits.
    pub fn dedupe_by_digest(&self) -> Vec<usize> {
        let mut known: HashMap<u128, usize> = HashMap::new();
        let of_program = |program: usize| {
            let mut hash = Wide::default();
            for outputs in &self.outputs {
                for output in &outputs[self.starts[program]..self.starts[program + 1]] {
                    match output {
                        Ok(output) => hash.bytes(&output.wide_digest().to_le_bytes()),
                        Err(class) => hash.bytes(class.name().as_bytes()),
                    }
                    hash.bytes(b"\0");
                }
            }
            hash.0
        };
        (0..self.programs()).map(|program| *known.entry(of_program(program)).or_insert(program)).collect()
    }
}
