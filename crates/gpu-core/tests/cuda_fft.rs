//! cuFFT against sums of exponentials. Needs a device and the library.
#![cfg(feature = "cuda")]

use std::f64::consts::TAU;

use gpu_core::cuda::fft::{Direction, FftKind, FftLayout, FftPlan, library};
use gpu_core::testing::{Fill, FillKind};
use gpu_core::{Backend, Capability, Cuda, Error, Tensor, testing};
use num_complex::Complex;

/// The discrete Fourier transform of one image, from its definition.
fn dft(x: &[Complex<f64>], [h, w]: [usize; 2], sign: f64) -> Vec<Complex<f64>> {
    let mut out = Vec::new();
    for u in 0..h {
        for v in 0..w {
            let mut sum = Complex::new(0.0, 0.0);
            for r in 0..h {
                for c in 0..w {
                    let turns = (u * r % h) as f64 / h as f64 + (v * c % w) as f64 / w as f64;
                    sum += x[r * w + c] * Complex::from_polar(1.0, sign * TAU * turns);
                }
            }
            out.push(sum);
        }
    }
    out
}

fn noise(seed: u32, n: usize) -> Vec<f64> {
    Fill::of(FillKind::Noise(seed)).values(n)
}

fn close(got: &[Complex<f64>], wanted: &[Complex<f64>], eps: f64) {
    let scale = wanted.iter().map(|z| z.norm()).fold(1.0, f64::max);
    for (i, (g, w)) in got.iter().zip(wanted).enumerate() {
        assert!((g - w).norm() <= eps * scale, "{i}: {g} {w}");
    }
    assert_eq!(got.len(), wanted.len());
}

/// The device, which must have cuFFT beside it.
fn device() -> Cuda {
    let b = testing::cuda();
    let found = library();
    assert!(found.is_ok(), "this test needs cuFFT (LOCKSTEP_CUFFT names its file): {found:?}");
    assert!(b.supports(Capability::Fft));
    b
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_fft_batches_match_the_definition() {
    let b = device();
    let ([h, w], batch) = ([6, 10], 3);
    let (area, half) = (h * w, h * (w / 2 + 1));
    let host = noise(1, batch * area);
    let x = Tensor::from_slice(&b, [batch * area], &host).unwrap();
    let mut y: Tensor<Cuda, Complex<f64>, 1> = Tensor::zeros(&b, [batch * half]).unwrap();
    let plan = FftPlan::new(&b, &[h, w], batch, FftKind::D2Z).unwrap();
    plan.real_to_complex(&b, x.flat(), y.flat_mut()).unwrap();
    let spectra = y.to_vec(&b).unwrap();
    for (image, spectrum) in host.chunks(area).zip(spectra.chunks(half)) {
        let image: Vec<_> = image.iter().map(|&v| Complex::new(v, 0.0)).collect();
        let full = dft(&image, [h, w], -1.0);
        let wanted: Vec<_> = full.chunks(w).flat_map(|row| row[..=w / 2].to_vec()).collect();
        close(spectrum, &wanted, 1e-13);
    }
    let back = FftPlan::new(&b, &[h, w], batch, FftKind::Z2D).unwrap();
    let mut z: Tensor<Cuda, f64, 1> = Tensor::zeros(&b, [batch * area]).unwrap();
    back.complex_to_real(&b, y.flat_mut(), z.flat_mut()).unwrap();
    for (got, wanted) in z.to_vec(&b).unwrap().iter().zip(&host) {
        assert!((got / area as f64 - wanted).abs() < 1e-13, "{got} {wanted}");
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_fft_of_one_axis_both_ways_in_place() {
    let b = device();
    let n = 17;
    let host: Vec<Complex<f32>> =
        noise(2, n).iter().zip(noise(3, n)).map(|(&re, im)| Complex::new(re as f32, im as f32)).collect();
    let wide: Vec<_> = host.iter().map(|z| Complex::new(f64::from(z.re), f64::from(z.im))).collect();
    let plan = FftPlan::new(&b, &[n], 1, FftKind::C2C).unwrap();
    let mut x = Tensor::from_slice(&b, [n], &host).unwrap();
    for (direction, sign) in [(Direction::Forward, -1.0), (Direction::Inverse, 1.0)] {
        b.upload(&host, x.flat_mut()).unwrap();
        plan.complex_in_place(&b, direction, x.flat_mut()).unwrap();
        let got: Vec<_> =
            x.to_vec(&b).unwrap().iter().map(|z| Complex::new(f64::from(z.re), f64::from(z.im))).collect();
        close(&got, &dft(&wide, [1, n], sign), 1e-6);
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_fft_layouts_step_over_elements() {
    let b = device();
    // Three interleaved channels of one row.
    let (n, channels) = (8, 3);
    let host = noise(4, n * channels);
    let x = Tensor::from_slice(&b, [n * channels], &host).unwrap();
    let mut y: Tensor<Cuda, Complex<f64>, 1> = Tensor::zeros(&b, [channels * (n / 2 + 1)]).unwrap();
    let from = FftLayout { embed: vec![n], stride: channels, distance: 1 };
    let to = FftLayout { embed: vec![n / 2 + 1], stride: 1, distance: n / 2 + 1 };
    let plan = FftPlan::with_layouts(&b, &[n], channels, FftKind::D2Z, &from, &to).unwrap();
    plan.real_to_complex(&b, x.flat(), y.flat_mut()).unwrap();
    for (channel, spectrum) in y.to_vec(&b).unwrap().chunks(n / 2 + 1).enumerate() {
        let line: Vec<_> = host.iter().skip(channel).step_by(channels).map(|&v| Complex::new(v, 0.0)).collect();
        close(spectrum, &dft(&line, [1, n], -1.0)[..=n / 2], 1e-13);
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_fft_is_captured_and_replayed() {
    let b = device();
    let [h, w] = [64, 48];
    let used = b.memory().used;
    let plan = FftPlan::new(&b, &[h, w], 1, FftKind::R2C).unwrap();
    let x = Tensor::from_slice(&b, [h * w], &vec![0.0f32; h * w]).unwrap();
    let y: Tensor<Cuda, Complex<f32>, 1> = Tensor::zeros(&b, [h * (w / 2 + 1)]).unwrap();
    // Moved into the body, which is dropped after capturing: the graph must keep the plan.
    let mut captured = b.capture((x, y), move |b, (x, y)| plan.real_to_complex(b, x.flat(), y.flat_mut())).unwrap();
    for value in [1.0f32, -2.0] {
        b.upload(&vec![value; h * w], captured.state_mut().0.flat_mut()).unwrap();
        captured.replay(&b).unwrap();
        let spectrum = captured.state().1.to_vec(&b).unwrap();
        assert!((spectrum[0].re - value * (h * w) as f32).abs() < 1e-2, "{}", spectrum[0]);
        assert!(spectrum[1..].iter().all(|z| z.norm() < 1e-2));
    }
    drop(captured);
    assert_eq!(b.memory().used, used);
}

#[test]
#[ignore = "needs a CUDA device"]
fn cuda_fft_refuses_what_does_not_fit() {
    let b = device();
    let plan = FftPlan::new(&b, &[4, 4], 2, FftKind::R2C).unwrap();
    let x: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [32]).unwrap();
    let mut short: Tensor<Cuda, Complex<f32>, 1> = Tensor::zeros(&b, [23]).unwrap();
    assert!(matches!(plan.real_to_complex(&b, x.flat(), short.flat_mut()), Err(Error::Shape { .. })));
    let mut back: Tensor<Cuda, f32, 1> = Tensor::zeros(&b, [32]).unwrap();
    assert!(matches!(plan.complex_to_real(&b, short.flat_mut(), back.flat_mut()), Err(Error::Value { .. })));
    let other = b.fork().unwrap();
    let mut y: Tensor<Cuda, Complex<f32>, 1> = Tensor::zeros(&b, [24]).unwrap();
    assert!(matches!(plan.real_to_complex(&other, x.flat(), y.flat_mut()), Err(Error::WrongQueue { .. })));
    for dims in [&[][..], &[0, 4], &[2, 2, 2, 2]] {
        assert!(FftPlan::new(&b, dims, 1, FftKind::R2C).is_err(), "{dims:?}");
    }
    let small = b.with_memory_limit(16).unwrap();
    assert!(matches!(FftPlan::new(&small, &[64, 64], 4, FftKind::C2C), Err(Error::OutOfMemory { .. })));
    // A prime length needs a work area.
    assert!(FftPlan::new(&b, &[4099], 1, FftKind::C2C).unwrap().work_bytes() > 0);
}
