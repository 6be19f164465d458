//! The dense operations of the toolbox: CPU against scalar loops, CUDA against the CPU.

mod oracle;

use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Fill, Output, Outputs, Tolerance, Twin};
use gpu_core::{Backend, Result, Tensor, twins};
use ndarray::Array2;
use nsct::kernels::{self, DenseFilter, Planes};
use nsct::{NsctBackend, Real};

/// A batch of planes with gaps between them, and a dense filter.
#[derive(Clone, Debug)]
struct Case {
    count: usize,
    height: usize,
    width: usize,
    rows: usize,
    columns: usize,
    gap: usize,
    matrix: [[i64; 2]; 2],
    step: usize,
    shift: (i64, i64),
    fill: Fill,
}

fn cases(fill: BoxedStrategy<Fill>) -> BoxedStrategy<Case> {
    // Some planes end where a block of threads ends.
    let whole = (1_usize..5, 1_usize..3).prop_map(|(h, w)| (8 * h, 32 * w));
    let size = (0_usize..4, prop_oneof![4 => (1_usize..40, 1_usize..70), 1 => whole]);
    let filter = (1_usize..8, 1_usize..8, 1_usize..4, (-9_i64..10, -9_i64..10));
    let entry = || -9_i64..10;
    (size, filter, 0_usize..3, (entry(), entry(), entry(), entry()), fill)
        .prop_map(|((count, (height, width)), (rows, columns, step, shift), gap, m, fill)| {
            let matrix = [[m.0, m.1], [m.2, m.3]];
            Case { count, height, width, rows, columns, gap, matrix, step, shift, fill }
        })
        .boxed()
}

/// Stretched filters fit.
fn inside(fill: BoxedStrategy<Fill>) -> BoxedStrategy<Case> {
    cases(fill)
        .prop_map(|c| Case { height: c.height + c.step * c.rows, width: c.width + c.step * c.columns, ..c })
        .boxed()
}

impl Case {
    fn planes(&self) -> Planes {
        Planes { count: self.count, height: self.height, width: self.width }
    }

    fn stride(&self) -> usize {
        self.height * self.width + self.gap
    }

    /// The largest values are replaced by infinity: where they cancel, the order of the sum decides about the result.
    fn image<T: Twin + Real>(&self) -> Vec<T> {
        let values: Vec<T> = self.fill.values(self.count * self.stride());
        let large = |v: T| Real::to_f64(v).abs() > 1e30;
        values.into_iter().map(|v| if large(v) { T::of(Real::to_f64(v) * f64::INFINITY) } else { v }).collect()
    }

    /// Eighths of small integers: with integers in the image every sum is exact.
    fn taps(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.rows, self.columns), |(a, b)| ((a * 31 + b * 17 + 5) % 23) as f64 / 8.0 - 1.0)
    }

    /// `n eps Σ |h| |x|` for n taps, with `|x| <= 15`.
    fn rounding(&self, epsilon: f64) -> Tolerance {
        let n = (self.rows * self.columns) as f64;
        Tolerance::abs(n * epsilon * 15.0 * self.taps().iter().map(|v| v.abs()).sum::<f64>())
    }

    /// An operation from planes with gaps to planes with gaps; of the result, the planes.
    fn run<B: Backend, T: Twin + Real>(
        &self,
        b: &B,
        out: Planes,
        f: impl FnOnce(&Tensor<B, T, 1>, usize, &mut Tensor<B, T, 1>, usize) -> Result<()>,
    ) -> Result<Outputs> {
        let image = self.image::<T>();
        let x = Tensor::from_slice(b, [image.len()], &image)?;
        let stride = out.height * out.width + self.gap;
        let mut y = Tensor::scratch(b, [out.count * stride])?;
        f(&x, self.stride(), &mut y, stride)?;
        let y = y.to_vec(b)?;
        let planes = y.chunks(stride).flat_map(|plane| &plane[..out.height * out.width]).copied().collect();
        Ok(vec![T::output(vec![out.count, out.height, out.width], planes)])
    }

    /// The same with a scalar program on each plane.
    fn wanted<T: Twin + Real>(&self, f: impl Fn(&[f64]) -> (Vec<f64>, usize, usize)) -> Outputs {
        let image: Vec<f64> = self.image::<T>().into_iter().map(Real::to_f64).collect();
        let mut all = Vec::new();
        let mut size = (0, 0);
        for plane in image.chunks(self.stride()).take(self.count) {
            let (y, rows, columns) = f(&plane[..self.height * self.width]);
            all.extend(y);
            size = (rows, columns);
        }
        vec![Output::F64(vec![self.count, size.0, size.1], all)]
    }

    fn filter<B: Backend, T: Real>(&self, b: &B) -> Result<DenseFilter<B, T>> {
        DenseFilter::new(b, self.taps().view())
    }
}

fn zconv2<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case) -> Result<Outputs> {
    let h = c.filter(b)?;
    c.run(b, c.planes(), |x, xs, y, ys| kernels::zconv2(b, c.planes(), &h, c.matrix, x.flat(), xs, y.flat_mut(), ys))
}

fn zconv2_oracle<T: Twin + Real>(c: &Case) -> Outputs {
    let taps: Vec<f64> = c.taps().iter().copied().collect();
    c.wanted::<T>(|x| {
        (oracle::zconv2::zconv2(x, c.height, c.width, &taps, c.rows, c.columns, c.matrix), c.height, c.width)
    })
}

fn efilter2<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case) -> Result<Outputs> {
    let h = c.filter(b)?;
    c.run(b, c.planes(), |x, xs, y, ys| kernels::efilter2(b, c.planes(), &h, x.flat(), xs, y.flat_mut(), ys))
}

fn efilter2_oracle<T: Twin + Real>(c: &Case) -> Outputs {
    let taps: Vec<f64> = c.taps().iter().copied().collect();
    c.wanted::<T>(|x| (oracle::efilter2::efilter2(x, c.height, c.width, &taps, c.rows, c.columns), c.height, c.width))
}

fn atrousc<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case) -> Result<Outputs> {
    let h = c.filter(b)?;
    let out = kernels::atrousc_size(c.planes(), (c.rows, c.columns), c.step)?;
    c.run(b, out, |x, xs, y, ys| kernels::atrousc(b, c.planes(), &h, c.step, x.flat(), xs, y.flat_mut(), ys))
}

fn atrousc_oracle<T: Twin + Real>(c: &Case) -> Outputs {
    let taps: Vec<f64> = c.taps().iter().copied().collect();
    c.wanted::<T>(|x| oracle::atrousc::atrousc(x, c.height, c.width, &taps, c.rows, c.columns, c.step))
}

fn symext<B: NsctBackend<T>, T: Twin + Real>(b: &B, c: &Case) -> Result<Outputs> {
    // Often longer than the image.
    let size = (c.rows * 5, c.columns * 5);
    let out = kernels::symext_size(c.planes(), size)?;
    c.run(b, out, |x, xs, y, ys| kernels::symext(b, c.planes(), size, c.shift, x.flat(), xs, y.flat_mut(), ys))
}

fn symext_oracle<T: Twin + Real>(c: &Case) -> Outputs {
    c.wanted::<T>(|x| oracle::symext::symext(x, c.height, c.width, (c.rows * 5, c.columns * 5), c.shift))
}

const EPSILON_F32: f64 = f32::EPSILON as f64;

twins! {
    kernels = ["zconv2_f32", "zconv2_f64"];
    /// integers against eighths: every sum is exact
    zconv2_exact: cases(Fill::exact()), Case => |b, c| zconv2::<_, f32>(b, c), oracle = zconv2_oracle::<f32>,
        tolerance = Tolerance::EXACT;
    /// n roundings of the sum
    zconv2_close: cases(Fill::any()), Case => |b, c| zconv2::<_, f32>(b, c), oracle = zconv2_oracle::<f32>,
        tolerance = |c: &Case| c.rounding(EPSILON_F32), twins = Tolerance::EXACT;
    /// the same in f64
    zconv2_close_f64: cases(Fill::any()), Case => |b, c| zconv2::<_, f64>(b, c), oracle = zconv2_oracle::<f64>,
        tolerance = |c: &Case| c.rounding(2.0 * f64::EPSILON), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["efilter2_f32", "efilter2_f64"];
    /// integers against eighths: every sum is exact
    efilter2_exact: cases(Fill::exact()), Case => |b, c| efilter2::<_, f32>(b, c), oracle = efilter2_oracle::<f32>,
        tolerance = Tolerance::EXACT;
    /// n roundings of the sum
    efilter2_close: cases(Fill::any()), Case => |b, c| efilter2::<_, f32>(b, c), oracle = efilter2_oracle::<f32>,
        tolerance = |c: &Case| c.rounding(EPSILON_F32), twins = Tolerance::EXACT;
    /// the same in f64
    efilter2_close_f64: cases(Fill::any()), Case => |b, c| efilter2::<_, f64>(b, c), oracle = efilter2_oracle::<f64>,
        tolerance = |c: &Case| c.rounding(2.0 * f64::EPSILON), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["atrousc_f32", "atrousc_f64"];
    /// integers against eighths: every sum is exact
    atrousc_exact: inside(Fill::exact()), Case => |b, c| atrousc::<_, f32>(b, c), oracle = atrousc_oracle::<f32>,
        tolerance = Tolerance::EXACT;
    /// n roundings of the sum
    atrousc_close: inside(Fill::any()), Case => |b, c| atrousc::<_, f32>(b, c), oracle = atrousc_oracle::<f32>,
        tolerance = |c: &Case| c.rounding(EPSILON_F32), twins = Tolerance::EXACT;
    /// the same in f64
    atrousc_close_f64: inside(Fill::any()), Case => |b, c| atrousc::<_, f64>(b, c), oracle = atrousc_oracle::<f64>,
        tolerance = |c: &Case| c.rounding(2.0 * f64::EPSILON), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["symext_f32", "symext_f64"];
    /// a copy, NaN and infinities included
    symext_nasty: cases(Fill::nasty()), Case => |b, c| symext::<_, f32>(b, c), oracle = symext_oracle::<f32>,
        tolerance = Tolerance::EXACT;
    /// the same in f64
    symext_nasty_f64: cases(Fill::nasty()), Case => |b, c| symext::<_, f64>(b, c), oracle = symext_oracle::<f64>,
        tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["zconv2_f32", "efilter2_f32", "atrousc_f32"];
    /// non-finite exactly where the formula is: a tap of 0 on an infinity is NaN
    zconv2_nasty: cases(Fill::nasty()), Case => |b, c| zconv2::<_, f32>(b, c), oracle = zconv2_oracle::<f32>,
        tolerance = |c: &Case| c.rounding(EPSILON_F32), twins = Tolerance::EXACT;
    /// the same
    efilter2_nasty: cases(Fill::nasty()), Case => |b, c| efilter2::<_, f32>(b, c), oracle = efilter2_oracle::<f32>,
        tolerance = |c: &Case| c.rounding(EPSILON_F32), twins = Tolerance::EXACT;
    /// the same
    atrousc_nasty: inside(Fill::nasty()), Case => |b, c| atrousc::<_, f32>(b, c), oracle = atrousc_oracle::<f32>,
        tolerance = |c: &Case| c.rounding(EPSILON_F32), twins = Tolerance::EXACT;
}

/// What the checked entries refuse.
mod refused {
    use gpu_core::{Cpu, Error};

    use super::*;

    fn planes(count: usize, height: usize, width: usize) -> Planes {
        Planes { count, height, width }
    }

    #[test]
    fn filters_and_sizes_that_do_not_fit() {
        let cpu = Cpu::new();
        assert!(matches!(DenseFilter::<_, f32>::new(&cpu, Array2::zeros((0, 3)).view()), Err(Error::Value { .. })));
        let h = DenseFilter::<_, f32>::new(&cpu, Array2::ones((3, 3)).view()).unwrap();
        let x = Tensor::<_, f32, 1>::zeros(&cpu, [2 * 64]).unwrap();
        let mut y = Tensor::<_, f32, 1>::zeros(&cpu, [2 * 64]).unwrap();
        let m = [[1, 0], [0, 1]];
        let mut zconv2 = |p: Planes, m, xs, ys| kernels::zconv2(&cpu, p, &h, m, x.flat(), xs, y.flat_mut(), ys);
        assert!(zconv2(planes(2, 8, 8), m, 64, 64).is_ok());
        assert!(zconv2(planes(0, 8, 8), m, 64, 64).is_ok());
        assert!(matches!(zconv2(planes(2, 0, 8), m, 64, 64), Err(Error::Value { .. })));
        assert!(matches!(zconv2(planes(3, 8, 8), m, 64, 64), Err(Error::Shape { .. })));
        assert!(matches!(zconv2(planes(2, 8, 8), m, 63, 64), Err(Error::Value { .. })));
        assert!(matches!(zconv2(planes(2, 8, 8), m, 64, 63), Err(Error::Value { .. })));
        assert!(matches!(zconv2(planes(2, 8, 8), [[1 << 40, 0], [0, 1]], 64, 64), Err(Error::Value { .. })));
        assert!(matches!(zconv2(planes(2, 8, 8), [[i64::MIN, 0], [0, 1]], 64, 64), Err(Error::Value { .. })));

        let size = |step| kernels::atrousc_size(planes(1, 8, 9), (3, 3), step);
        assert_eq!(size(2).unwrap(), planes(1, 3, 4));
        for step in [0, 3, usize::MAX] {
            assert!(matches!(size(step), Err(Error::Value { .. })), "{step}");
        }
        for size in [(0, 3), (3, 0), (usize::MAX, 3), (1 << 31, 3)] {
            assert!(matches!(kernels::symext_size(planes(1, 8, 9), size), Err(Error::Value { .. })), "{size:?}");
        }
        let mut far = Tensor::<_, f32, 1>::zeros(&cpu, [64]).unwrap();
        let extend = kernels::symext(&cpu, planes(1, 8, 8), (1, 1), (i64::MIN, 0), x.flat(), 64, far.flat_mut(), 64);
        assert!(matches!(extend, Err(Error::Value { .. })));
    }
}
