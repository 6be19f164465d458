//! What programs returned on samples.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use super::Profile;
use crate::dag::Batch;
use crate::error::{ErrClass, Result};
use crate::fast::{Val, Wide};
use crate::kernels::Packed;
use crate::value::Value;

/// A returned value, in the form that the back end has it.
#[derive(Clone)]
pub(crate) enum Output {
    Value(Value),
    /// Converted when it is looked at.
    Fast(Val, OnceLock<Value>),
    /// A grid as a device packed it, among which others and where; read when it is looked at.
    Grid(u32, u32, OnceLock<Value>),
}

/// What devices have packed of a run so far.
#[derive(Default)]
pub(crate) struct Brought(Mutex<Vec<Arc<Packed>>>);

impl Brought {
    /// Keeps values, and numbers them.
    pub(crate) fn keep(&self, packed: Packed) -> (u32, Arc<Packed>) {
        let packed = Arc::new(packed);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(packed.clone());
        (all.len() as u32 - 1, packed)
    }

    pub(crate) fn all(self) -> Vec<Arc<Packed>> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    pub(crate) fn fast(value: Val) -> Self {
        Self::Fast(value, OnceLock::new())
    }

    /// A value that a device packed.
    pub(crate) fn packed(list: u32, packed: &Packed, at: usize) -> Result<Self> {
        if packed.is_grid(at) {
            return Ok(Self::Grid(list, at as u32, OnceLock::new()));
        }
        // What has no form was asked for before.
        packed.decode(at).unwrap_or(Err(ErrClass::Type)).map(Self::fast)
    }

    pub(crate) fn into_value(self, all: &[Arc<Packed>]) -> Value {
        match self {
            Self::Value(value) => value,
            Self::Fast(value, converted) => converted.into_inner().unwrap_or_else(|| value.to_value()),
            Self::Grid(list, at, converted) => converted.into_inner().unwrap_or_else(|| grid(all, list, at).to_value()),
        }
    }

    fn value(&self, all: &[Arc<Packed>]) -> &Value {
        match self {
            Self::Value(value) => value,
            Self::Fast(value, converted) => converted.get_or_init(|| value.to_value()),
            Self::Grid(list, at, converted) => converted.get_or_init(|| grid(all, *list, *at).to_value()),
        }
    }

    fn digest(&self, all: &[Arc<Packed>]) -> u64 {
        match self {
            Self::Value(value) => value.digest(),
            Self::Fast(value, _) => value.digest(),
            Self::Grid(list, at, _) => grid(all, *list, *at).digest(),
        }
    }

    fn wide_digest(&self, all: &[Arc<Packed>]) -> u128 {
        match self {
            Self::Value(value) => Val::from(value).wide_digest(),
            Self::Fast(value, _) => value.wide_digest(),
            Self::Grid(list, at, _) => grid(all, *list, *at).wide_digest(),
        }
    }
}

fn grid(all: &[Arc<Packed>], list: u32, at: u32) -> Val {
    all[list as usize].grid(at as usize)
}

/// What programs returned on samples.
#[derive(Clone)]
pub struct RunResult {
    /// For each sample the outputs of all programs, one after the other.
    outputs: Vec<Vec<Result<Output>>>,
    /// Grids among them that devices packed.
    packed: Vec<Arc<Packed>>,
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
        Self { outputs, packed: Vec::new(), starts, expected: Vec::new(), profile: Profile::default() }
    }

    /// With the values that devices packed.
    pub(crate) fn with_packed(mut self, packed: Vec<Arc<Packed>>) -> Self {
        self.packed = packed;
        self
    }

    pub(crate) fn finish(&mut self, profile: Profile, batch: &Batch) {
        self.profile = profile;
        self.expected = batch.expected().to_vec();
    }

    /// For each sample the outputs of all programs, one after the other, where no device has packed any.
    pub(crate) fn into_outputs(mut self) -> Vec<Vec<Result<Output>>> {
        std::mem::take(&mut self.outputs)
    }

    /// For each sample what all programs returned, one after the other.
    pub(crate) fn into_values(mut self) -> impl Iterator<Item = Vec<Result<Value>>> {
        let (outputs, packed) = (std::mem::take(&mut self.outputs), std::mem::take(&mut self.packed));
        let values = move |of_sample: Vec<Result<Output>>| {
            of_sample.into_iter().map(|value| value.map(|value| value.into_value(&packed))).collect()
        };
        outputs.into_iter().map(values)
    }

    fn output(&self, program: usize, output: usize, sample: usize) -> &Result<Output> {
        let at = self.starts[program] + output;
        assert!(at < self.starts[program + 1], "program {program} has no output {output}");
        &self.outputs[sample][at]
    }

    /// What a program returned on a sample.
    pub fn value(&self, program: usize, output: usize, sample: usize) -> Result<&Value> {
        self.output(program, output, sample).as_ref().map(|v| v.value(&self.packed)).map_err(|class| *class)
    }

    /// The digest of what a program returned on a sample.
    pub fn digest(&self, program: usize, output: usize, sample: usize) -> Result<u64> {
        self.output(program, output, sample).as_ref().map(|v| v.digest(&self.packed)).map_err(|class| *class)
    }

    /// Digests of all outputs of a sample, in the order of programs.
    pub fn digests(&self, sample: usize) -> impl Iterator<Item = Result<u64>> + '_ {
        self.outputs[sample].iter().map(|v| v.as_ref().map(|v| v.digest(&self.packed)).map_err(|class| *class))
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
                        Ok(output) => hash.bytes(&output.wide_digest(&self.packed).to_le_bytes()),
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
