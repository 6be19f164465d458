//! How strongly each plane answers to white noise: `e_b = || plane b of the transform of a unit impulse ||`, in f64 on the host, whatever the plan computes with.

use gpu_core::{Cpu, Tensor};
use num_complex::Complex;

use crate::filters::directional;
use crate::gains::tree_gains;
use crate::kernels::{FourierPlan, rfft2};
use crate::{Engine, NsctPlan, NsctSpec, Result, Side};

/// `e_b` of every plane, in order. The impulse stands at row `ceil(H/2) - 1`, column `ceil(W/2) - 1`.
pub(crate) fn plane_gains(spec: &NsctSpec, height: usize, width: usize) -> Result<Vec<f64>> {
    let cpu = Cpu::new();
    let area = height * width;
    let mut impulse = vec![0.0; area];
    impulse[(height.div_ceil(2) - 1) * width + width.div_ceil(2) - 1] = 1.0;
    let impulse = Tensor::from_slice(&cpu, [1, 1, height, width], &impulse)?;

    // The pyramid alone in the image domain; the energy of the tree's planes follows from their spectra (Parseval), so
    // that only one plane a scale is ever held.
    let pyramid = NsctSpec { levels: vec![0; spec.levels.len()], engine: Engine::Spectral, ..spec.clone() };
    let scales = NsctPlan::<_, f64>::new(&cpu, &pyramid, height, width)?.decompose(&impulse)?;
    let filters = directional(spec.dir)?;
    let fourier = FourierPlan::<_, f64>::new(&cpu, height, width)?;
    let half = fourier.half_width();
    let mut spectrum = Tensor::<_, Complex<f64>, 1>::scratch(&cpu, [height * half])?;
    let mut work = Tensor::<_, f64, 1>::scratch(&cpu, [fourier.work_len(1)])?;

    let norm = |s: usize| -> Result<f64> {
        let energy: f64 = cpu.read(scales.plane(0, 0, s)?.flat())?.iter().map(|v| v * v).sum();
        Ok(energy.sqrt())
    };
    let mut gains = vec![norm(0)?];
    for (j, &depth) in spec.levels.iter().enumerate() {
        if depth == 0 {
            gains.push(norm(j + 1)?);
            continue;
        }
        let high = scales.plane(0, 0, j + 1)?.flat();
        rfft2(&cpu, &fourier, 1, 1.0, high, area, spectrum.flat_mut(), height * half, work.flat_mut())?;
        // Columns of the half spectrum stand for two, but for column 0 and, with an even width, the last.
        let twice = |i: usize| {
            if i.is_multiple_of(half) || (width.is_multiple_of(2) && i % half == half - 1) { 1.0 } else { 2.0 }
        };
        let power: Vec<f64> =
            cpu.read(spectrum.flat())?.iter().enumerate().map(|(i, z)| twice(i) * z.norm_sqr() / area as f64).collect();
        for gain in tree_gains::<f64>(&filters, Side::Analysis, spec.geometry, depth, height, width)? {
            let energy: f64 = gain.iter().zip(&power).map(|(g, p)| g * g * p).sum();
            gains.push(energy.sqrt());
        }
    }
    Ok(gains)
}
