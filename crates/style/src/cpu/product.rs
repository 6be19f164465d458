//! Products of rows with a packed matrix, on the micro-kernel of the convolutions.

use crate::cpu::buffer::{LANES, Lane};
use crate::cpu::kernel::{Input, Isa, Output, Run, accumulate};

/// Products that are summed before they are added to the sum: sums of sums keep rounding errors small.
const RUN: usize = 256;

/// A matrix `[outputs][inputs]` in blocks of output vectors, `[block][input][vector]`.
#[derive(Debug)]
pub(crate) struct Packed {
    isa: Isa,
    inputs: usize,
    lanes: usize,
    values: Vec<Lane>,
}

impl Packed {
    /// From the value of each output and input.
    pub(crate) fn new(inputs: usize, outputs: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut packed = Self::empty();
        packed.fill(inputs, outputs, at);
        packed
    }

    /// One without values, to be filled.
    pub(crate) fn empty() -> Self {
        Self { isa: Isa::detect(), inputs: 0, lanes: 0, values: Vec::new() }
    }

    /// Takes another matrix's values.
    pub(crate) fn fill(&mut self, inputs: usize, outputs: usize, at: impl Fn(usize, usize) -> f32) {
        let lanes = outputs.div_ceil(LANES);
        self.inputs = inputs;
        self.lanes = lanes;
        self.values.clear();
        self.values.reserve(inputs * lanes);
        let most = self.isa.max_vectors();
        for first in (0..lanes).step_by(most) {
            for k in 0..inputs {
                for lane in first..lanes.min(first + most) {
                    let value = |j: usize| if lane * LANES + j < outputs { at(lane * LANES + j, k) } else { 0.0 };
                    self.values.push(Lane(std::array::from_fn(value)));
                }
            }
        }
    }

    /// Floats of a row of results: the outputs, padded to whole vectors.
    pub(crate) fn pitch(&self) -> usize {
        self.lanes * LANES
    }

    /// `y[row][output] = Σ w[output][input] · x[row][input]`, with rows of `x` so many floats apart. Each sum has one order,
    /// whatever the number of rows.
    pub(crate) fn apply(&self, x: &[f32], x_pitch: usize, y: &mut [f32]) {
        let (pitch, most) = (self.pitch(), self.isa.max_vectors());
        if pitch == 0 {
            return;
        }
        let rows = y.len() / pitch;
        let mut values = self.values.as_slice();
        for first in (0..self.lanes).step_by(most) {
            let vectors = most.min(self.lanes - first);
            for k in (0..self.inputs).step_by(RUN) {
                let len = RUN.min(self.inputs - k);
                let (now, later) = values.split_at(len * vectors);
                values = later;
                let input = Input { tile: x, pitch: 0, row_step: 0, pixel_step: x_pitch };
                let data = &mut y[first * LANES..];
                let mut output = Output { data, row_step: 0, pixel_step: pitch, rows: 1, cols: rows };
                accumulate(self.isa, vectors, now, &[Run { row: 0, offset: k, len }], input, &mut output, k == 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_exact() {
        for (rows, inputs, outputs) in [(1, 1, 1), (7, 300, 70), (13, 17, 16), (30, 520, 3)] {
            let w = |o: usize, k: usize| ((o * 7 + k * 3) % 5) as f32 - 2.0;
            let x: Vec<f32> = (0..rows * (inputs + 3)).map(|i| (i % 9) as f32 - 4.0).collect();
            let packed = Packed::new(inputs, outputs, w);
            let mut y = vec![f32::NAN; rows * packed.pitch()];
            packed.apply(&x, inputs + 3, &mut y);
            for row in 0..rows {
                for o in 0..outputs {
                    let sum: f32 = (0..inputs).map(|k| w(o, k) * x[row * (inputs + 3) + k]).sum();
                    assert_eq!(y[row * packed.pitch() + o], sum);
                }
            }
        }
    }
}
