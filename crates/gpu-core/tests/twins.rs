//! The demonstration kernels through the whole chain: oracle, CPU twin, CUDA twin.

// The pages read as in a domain crate, where they are public.
#![allow(unreachable_pub)]

mod oracle;
mod pages;

use gpu_core::testing::{Fill, Output, Outputs, Tolerance};
use gpu_core::{Result, Tensor, twins};
use pages::axpy::{Axpy, axpy};
use pages::row_blur::{RowBlur, row_blur};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Line {
    n: usize,
    a: i32,
    fill: Fill,
}

fn lines(fill: impl Strategy<Value = Fill>) -> impl Strategy<Value = Line> {
    // Some end where a block of threads ends.
    let n = prop_oneof![3 => 0usize..2000, 1 => (0usize..8).prop_map(|blocks| 256 * blocks)];
    (n, -4i32..5, fill).prop_map(|(n, a, fill)| Line { n, a, fill })
}

fn run_axpy<B: Axpy>(b: &B, c: &Line) -> Result<Outputs> {
    let x = Tensor::from_slice(b, [c.n], &c.fill.values(c.n))?;
    let mut y = Tensor::from_slice(b, [c.n], &c.fill.other().values(c.n))?;
    axpy(b, c.a as f32 / 2.0, x.flat(), y.flat_mut())?;
    Ok(vec![Output::of(b, &y)?])
}

/// The same numbers as the operation gets, widened.
fn widened(fill: Fill, n: usize) -> Vec<f64> {
    fill.values::<f32>(n).into_iter().map(f64::from).collect()
}

fn oracle_axpy(c: &Line) -> Outputs {
    let out = oracle::axpy(f64::from(c.a) / 2.0, &widened(c.fill, c.n), &widened(c.fill.other(), c.n));
    vec![Output::F64(vec![c.n], out)]
}

twins! {
    kernels = ["axpy_f32"];
    /// halves of small integers: every sum is exact
    axpy_exact: lines(Fill::exact()), Line => |b, c| run_axpy(b, c), oracle = oracle_axpy, tolerance = Tolerance::EXACT;
    /// the oracle rounds to f64 first, which can move a result by one place; both twins round once
    axpy_close: lines(Fill::nasty()), Line => |b, c| run_axpy(b, c), oracle = oracle_axpy,
        tolerance = Tolerance::ulps(1), twins = Tolerance::EXACT;
}

#[derive(Clone, Debug)]
struct Rows {
    height: usize,
    width: usize,
    radius: usize,
    fill: Fill,
}

fn rows(fill: impl Strategy<Value = Fill>) -> impl Strategy<Value = Rows> {
    (0usize..6, 0usize..300, 0usize..9, fill).prop_map(|(height, width, radius, fill)| Rows {
        height,
        width,
        radius,
        fill,
    })
}

/// Small integers, so that sums of products with integers are exact.
fn weights(c: &Rows) -> Vec<f64> {
    (0..=2 * c.radius).map(|k| ((k * k + 3) % 7) as f64 - 2.0).collect()
}

fn run_row_blur<B: RowBlur>(b: &B, c: &Rows) -> Result<Outputs> {
    let w: Vec<f32> = weights(c).iter().map(|&w| w as f32).collect();
    let x = Tensor::from_slice(b, [c.height, c.width], &c.fill.values(c.height * c.width))?;
    let w = Tensor::from_slice(b, [w.len()], &w)?;
    let mut y = Tensor::scratch(b, [c.height, c.width])?;
    row_blur(b, &x, &w, &mut y)?;
    Ok(vec![Output::of(b, &y)?])
}

fn oracle_row_blur(c: &Rows) -> Outputs {
    let out = oracle::row_blur(&widened(c.fill, c.height * c.width), c.width, &weights(c));
    vec![Output::F64(vec![c.height, c.width], out)]
}

/// `n` fused steps each round a partial sum of at most `sum |w| |x|`, with |x| <= 15.
fn bound_row_blur(c: &Rows) -> Tolerance {
    let largest: f64 = weights(c).iter().map(|w| w.abs()).sum::<f64>() * 15.0;
    Tolerance::abs((2 * c.radius + 1) as f64 * largest * f64::from(f32::EPSILON) / 2.0)
}

twins! {
    kernels = ["row_blur_f32"];
    /// small integers times small integers: every sum is exact
    row_blur_exact: rows(Fill::exact()), Rows => |b, c| run_row_blur(b, c), oracle = oracle_row_blur,
        tolerance = Tolerance::EXACT;
    /// both twins sum in the same order with fused steps
    row_blur_close: rows(Fill::any()), Rows => |b, c| run_row_blur(b, c), oracle = oracle_row_blur,
        tolerance = bound_row_blur, twins = Tolerance::EXACT;
}

/// Structures and kernels agree about sizes; needs no device.
#[cfg(feature = "cuda")]
#[test]
fn parameters_have_the_sizes_that_the_kernels_expect() {
    use pages::axpy::AxpyParams;
    use pages::row_blur::RowBlurParams;
    assert_eq!(pages::cuda::KERNELS.parameters("axpy_f32").unwrap(), [8, 8, size_of::<AxpyParams>()]);
    assert_eq!(pages::cuda::KERNELS.parameters("row_blur_f32").unwrap(), [8, 8, 8, size_of::<RowBlurParams>()]);
}
