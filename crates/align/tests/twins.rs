//! Every operation against scalar `f64` loops, over sizes, patterns and numbers of threads.

mod figures;
mod mosaics;
mod oracle;
mod spectra;

use align::kernels::{self, *};
use align::testing::{Random, xtrans};
use align::{BlackLevel, Cfa, Rect};
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance, parts, starting_with};
use gpu_core::{Backend, Result, Tensor, twins};
use num_complex::Complex32;

/// Half a unit of the last place at 1 in `f32`.
const UNIT: f64 = 1.0 / (1 << 24) as f64;

fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..n).map(|_| random.uniform() as f32).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn complex(seed: u64, n: usize) -> Vec<Complex32> {
    let values = numbers(seed, 2 * n);
    values.chunks_exact(2).map(|v| Complex32::new(2.0 * v[0] - 1.0, 2.0 * v[1] - 1.0)).collect()
}

fn up<B: Backend, T: gpu_core::Elem>(b: &B, values: &[T]) -> Result<Tensor<B, T, 1>> {
    Tensor::from_slice(b, [values.len()], values)
}

mod planes {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    pub(super) struct Case {
        pub(super) count: usize,
        pub(super) h: usize,
        pub(super) w: usize,
        pub(super) rows: usize,
        pub(super) columns: usize,
        pub(super) alpha: f64,
        /// Start and length of a window over a part, in eighths of what is possible.
        pub(super) part: Option<[[u8; 2]; 2]>,
        pub(super) seed: u64,
    }

    pub(super) fn cases() -> impl Strategy<Value = Case> {
        let cut = || 0..4_usize;
        let part = || prop::option::of([[0..8_u8, 0..9_u8], [0..8_u8, 0..9_u8]]);
        (1..4_usize, 1..24_usize, 1..40_usize, cut(), cut(), 0..=4_u8, part(), any::<u64>()).prop_map(
            |(count, rows, half, top, left, alpha, part, seed)| Case {
                count,
                h: rows + top,
                w: 2 * half + left,
                rows,
                columns: 2 * half,
                alpha: f64::from(alpha) / 4.0,
                part,
                seed,
            },
        )
    }

    /// Also rows and columns that a lane of a warp meets many times, and more planes than blocks.
    pub(super) fn many() -> impl Strategy<Value = Case> {
        let rows = prop_oneof![2 => 1..24_usize, 1 => 90..300_usize];
        let half = prop_oneof![2 => 1..40_usize, 1 => 45..150_usize];
        let some = (1..4_usize, rows, half);
        let size = prop_oneof![12 => some, 1 => (1025..1040_usize, 1..4_usize, 1..4_usize)];
        (size, 0..4_usize, 0..4_usize, 0..=4_u8, any::<u64>()).prop_map(
            |((count, rows, half), top, left, alpha, seed)| Case {
                count,
                h: rows + top,
                w: 2 * half + left,
                rows,
                columns: 2 * half,
                alpha: f64::from(alpha) / 4.0,
                part: None,
                seed,
            },
        )
    }

    fn whole(count: usize, rows: usize, columns: usize) -> Case {
        Case { count, h: rows + 1, w: columns + 2, rows, columns, alpha: 0.5, part: None, seed: 5 }
    }

    /// More rows and columns than a block of threads has.
    pub(super) fn tall() -> Vec<Case> {
        vec![whole(2, 37, 66)]
    }

    /// Lines of more elements than a warp asks for at once, of which some lanes have one more.
    pub(super) fn long() -> Vec<Case> {
        vec![whole(2, 520, 2), whole(2, 3, 520)]
    }

    /// Sizes that the crate's own transforms take, with every radix and several together, and more planes than blocks.
    pub(super) fn smooth() -> impl Strategy<Value = Case> {
        let rows = prop::sample::select(vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 15, 16, 30, 32, 35, 42, 49]);
        let columns = prop::sample::select(vec![2, 4, 6, 10, 14, 16, 24, 32, 40, 42, 60, 70, 96]);
        // Eight times eight, and what follows it.
        let long = prop::sample::select(vec![64_usize, 128, 192, 320, 448, 512]);
        let size = prop_oneof![
            9 => (1..4_usize, rows, columns),
            2 => (1..4_usize, 1..3_usize, long.clone().prop_map(|n| 2 * n)),
            2 => (1..4_usize, long, prop::sample::select(vec![2_usize, 4])),
            1 => (1025..1040_usize, 1..4_usize, prop::sample::select(vec![2_usize, 4, 6])),
        ];
        (size, any::<u64>()).prop_map(|((count, rows, columns), seed)| Case {
            count,
            h: rows,
            w: columns,
            rows,
            columns,
            alpha: 0.0,
            part: None,
            seed,
        })
    }

    impl Case {
        fn values(&self) -> Vec<f32> {
            numbers(self.seed, self.count * self.h * self.w)
        }
        fn window<B: Backend>(&self, b: &B) -> Result<Window<B>> {
            let p = self.place();
            if self.part.is_none() {
                return Window::new(b, p.plane, p.piece, p.alpha);
            }
            Window::part(b, p.plane, p.piece, (p.part.map(|k| k[0]), p.part.map(|k| k[1])), p.alpha)
        }
        fn place(&self) -> oracle::Place {
            let piece = [self.rows, self.columns];
            // Two pixels at least, and in eighths of a pixel.
            let part = [0, 1].map(|k| {
                let (n, Some(eighths)) = (piece[k] as f64, self.part) else { return [0.0, piece[k] as f64] };
                let [a, b] = eighths[k].map(f64::from);
                let start = ((n - 2.0).max(0.0) * a).floor() / 8.0;
                let room = n - start;
                [start, room - ((room - 2.0).max(0.0) * b).floor() / 8.0]
            });
            oracle::Place { plane: [self.h, self.w], piece, part, alpha: self.alpha }
        }
    }

    pub(super) fn means<B: WindowSums>(b: &B, c: &Case) -> Result<Outputs> {
        let mut mean = Tensor::<B, f64, 1>::scratch(b, [c.count])?;
        let proxy = up(b, &c.values())?;
        window_sums(b, &c.window(b)?, c.count, proxy.flat(), mean.flat_mut())?;
        Ok(vec![Output::of(b, &mean)?])
    }

    pub(super) fn means_oracle(c: &Case) -> Outputs {
        let values = wide(&c.values());
        let mean = |v: &[f64]| oracle::window_mean(v, c.place());
        vec![Output::F64(vec![c.count], values.chunks(c.h * c.w).map(mean).collect())]
    }

    pub(super) fn windowed<B: WindowSums + WindowApply>(b: &B, c: &Case) -> Result<Outputs> {
        let window = c.window(b)?;
        let mut mean = Tensor::<B, f64, 1>::scratch(b, [c.count])?;
        let proxy = up(b, &c.values())?;
        window_sums(b, &window, c.count, proxy.flat(), mean.flat_mut())?;
        let mut out = Tensor::<B, f32, 3>::scratch(b, [c.count, c.rows, c.columns])?;
        window_apply(b, &window, c.count, proxy.flat(), mean.flat(), out.flat_mut())?;
        Ok(vec![Output::of(b, &out)?])
    }

    pub(super) fn windowed_oracle(c: &Case) -> Outputs {
        let values = wide(&c.values());
        let apply = |v: &[f64]| oracle::window_apply(v, c.place());
        let out = values.chunks(c.h * c.w).flat_map(apply).collect();
        vec![Output::F64(vec![c.count, c.rows, c.columns], out)]
    }

    /// How a plan is made.
    type Make<B> = fn(&B, usize, usize) -> Result<FourierPlan<B>>;

    pub(super) fn forward<B: FftR2c>(b: &B, c: &Case, make: Make<B>) -> Result<Outputs> {
        let plan = make(b, c.rows, c.columns)?;
        let x = up(b, &c.plane())?;
        let mut z = Tensor::<B, Complex32, 2>::scratch(b, [c.count, plan.area()])?;
        let mut work = Tensor::<B, Complex32, 1>::scratch(b, [plan.work_len()])?;
        fft_r2c(b, &plan, c.count, x.flat(), z.flat_mut(), work.flat_mut())?;
        Ok(vec![Output::F32(vec![c.count, plan.area(), 2], parts(&z.to_vec(b)?))])
    }

    pub(super) fn forward_oracle(c: &Case) -> Outputs {
        let values = wide(&c.plane());
        let of = |x: &[f64]| oracle::fft_r2c(x, c.rows, c.columns);
        let out = values.chunks(c.rows * c.columns).flat_map(of).collect();
        vec![Output::F64(vec![c.count, c.rows * (c.columns / 2 + 1), 2], out)]
    }

    pub(super) fn backward<B: FftC2r>(b: &B, c: &Case, make: Make<B>) -> Result<Outputs> {
        let plan = make(b, c.rows, c.columns)?;
        let z = up(b, &complex(c.seed, c.count * plan.area()))?;
        let mut x = Tensor::<B, f32, 3>::scratch(b, [c.count, c.rows, c.columns])?;
        let mut work = Tensor::<B, Complex32, 1>::scratch(b, [plan.work_len()])?;
        fft_c2r(b, &plan, c.count, z.flat(), x.flat_mut(), work.flat_mut())?;
        Ok(vec![Output::of(b, &x)?])
    }

    pub(super) fn backward_oracle(c: &Case) -> Outputs {
        let area = c.rows * (c.columns / 2 + 1);
        let z: Vec<[f64; 2]> = complex(c.seed, c.count * area).iter().map(|z| [z.re.into(), z.im.into()]).collect();
        let mut out = Vec::new();
        for z in z.chunks(area) {
            for i in 0..c.rows * c.columns {
                let (y, x) = ((i / c.columns) as f64, (i % c.columns) as f64);
                out.push(oracle::correlation_at(z, c.rows, c.columns, y, x));
            }
        }
        vec![Output::F64(vec![c.count, c.rows, c.columns], out)]
    }

    impl Case {
        fn plane(&self) -> Vec<f32> {
            numbers(self.seed, self.count * self.rows * self.columns)
        }
        /// Root mean square error of an element when the norm of all has the promised error, and four times that for the
        /// worst element: `4e-7 log2(n) sqrt(n)` for values of at most 1.
        pub(super) fn transform_bound(&self) -> f64 {
            let n = (self.rows * self.columns) as f64;
            4.0 * 4e-7 * (n.log2() + 1.0) * n.sqrt()
        }
    }
}

twins! {
    kernels = ["despike_block_u16"];
    /// at most nine terms of at most 1.1: the argument is rounded four times, of which the root halves the error, and itself
    /// once; one sum each and one product
    despike_block_close: mosaics::cases(), mosaics::Case => |b, c| mosaics::proxy(b, c),
        oracle = mosaics::proxy_oracle, tolerance = Tolerance::abs(24.0 * UNIT), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["despike_bayer_u16"];
    /// as above, with four terms at most
    despike_bayer_close: mosaics::bayer(), mosaics::Case => |b, c| mosaics::proxy(b, c),
        oracle = mosaics::proxy_oracle, tolerance = Tolerance::abs(24.0 * UNIT), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["demosaic_u16"];
    /// 25 products and sums relative to a value of at most 1.3, then a quotient
    demosaic_close: mosaics::cases(), mosaics::Case => |b, c| mosaics::colours(b, c),
        oracle = mosaics::colours_oracle, tolerance = Tolerance::abs(60.0 * UNIT), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["demosaic_edges_u16"];
    /// a level, a scale and their product, then four sums, each relative to a value of at most 1.3
    demosaic_edges_close: mosaics::cases(), mosaics::Case => |b, c| mosaics::edged(b, c),
        oracle = mosaics::edged_oracle, tolerance = Tolerance::abs(12.0 * UNIT), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["window_rows_f32", "window_fold_f32"];
    /// window factors are rounded to f32, one unit each relative to the mean; sums in f64, in one order
    window_sums_close: starting_with(planes::long(), planes::many()), planes::Case => |b, c| planes::means(b, c),
        oracle = planes::means_oracle, tolerance = Tolerance::abs(4.0 * UNIT), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["window_apply_f32"];
    /// roundings of the mean, the difference, two window factors, their product and the result
    window_apply_close: starting_with(planes::long(), planes::many()), planes::Case => |b, c| planes::windowed(b, c),
        oracle = planes::windowed_oracle, tolerance = Tolerance::abs(10.0 * UNIT), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["fft_spectrum_f32"];
    /// the promised error of the norm, spread over the elements
    fft_r2c_close: starting_with(planes::tall(), planes::cases()), planes::Case => |b, c| planes::forward(b, c, FourierPlan::new),
        oracle = planes::forward_oracle, tolerance = |c: &planes::Case| Tolerance::abs(c.transform_bound());
    /// the same for a spectrum with elements of at most sqrt(2) and two halves, divided by the number of pixels
    fft_c2r_close: starting_with(planes::tall(), planes::cases()), planes::Case => |b, c| planes::backward(b, c, FourierPlan::new),
        oracle = planes::backward_oracle,
        tolerance = |c: &planes::Case| Tolerance::abs(4.0 * c.transform_bound() / (c.rows * c.columns) as f64);
}

// The crate's own transforms, as on a device without a library.
twins! {
    kernels = ["fft_rows_f32", "fft_columns_f32", "fft_columns_back_f32", "fft_rows_back_f32"];
    /// as above
    own_fft_r2c_close: planes::smooth(), planes::Case => |b, c| planes::forward(b, c, FourierPlan::without_library),
        oracle = planes::forward_oracle, tolerance = |c: &planes::Case| Tolerance::abs(c.transform_bound());
    /// as above
    own_fft_c2r_close: planes::smooth(), planes::Case => |b, c| planes::backward(b, c, FourierPlan::without_library),
        oracle = planes::backward_oracle,
        tolerance = |c: &planes::Case| Tolerance::abs(4.0 * c.transform_bound() / (c.rows * c.columns) as f64);
}

twins! {
    kernels = ["whiten_f32"];
    /// two quotients, squares, sum and root: four units of the last place
    whiten_close: spectra::cases(), spectra::Case => |b, c| spectra::white(b, c),
        oracle = spectra::white_oracle, tolerance = Tolerance::abs(8.0 * UNIT), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["cross_weight_f32"];
    /// three products and sums a plane, two products of weights, of values up to 6
    cross_weight_close: starting_with(spectra::none(), spectra::many()), spectra::Case => |b, c| spectra::crossed(b, c),
        oracle = spectra::crossed_oracle, tolerance = Tolerance::abs(48.0 * UNIT), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["refine_phases_f32", "refine_rows_f32", "refine_columns_f32"];
    /// sums of at most 24 rows of elements up to sqrt(2), twice, divided by the number of pixels; over columns in f64
    refine_grid_close: starting_with(spectra::wide(), spectra::cases()), spectra::Case => |b, c| spectra::grids(b, c),
        oracle = spectra::grids_oracle, tolerance = Tolerance::abs(100.0 * UNIT);
    /// the same for up to 300 rows: their sums are split on a device
    refine_grid_tall_close: spectra::tall(), spectra::Case => |b, c| spectra::grids(b, c),
        oracle = spectra::grids_oracle, tolerance = Tolerance::abs(100.0 * UNIT);
}

twins! {
    kernels = ["peak_rows_f32", "peak_fold_f32"];
    /// places, ties and values are exact
    peak_window_exact: starting_with(figures::ranges(), figures::cases()), figures::Case => |b, c| figures::peaks(b, c),
        oracle = figures::peaks_oracle, tolerance = Tolerance::EXACT;
    /// sums in f64; the variance is a difference of numbers of at most 0.6
    peak_window_close: starting_with(figures::ranges(), figures::cases()), figures::Case => |b, c| figures::spreads(b, c),
        oracle = figures::spreads_oracle, tolerance = Tolerance::abs(1e-12), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["mad_rows_f32", "mad_fold_f32"];
    /// a product and a difference of at most 1, each rounded to f32; sums in f64, in one order
    mad_pair_close: starting_with(figures::lines(), figures::cases()), figures::Case => |b, c| figures::mads(b, c),
        oracle = figures::mads_oracle, tolerance = Tolerance::abs(4.0 * UNIT), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["open_cross_u8"];
    /// zeros and ones
    open_cross_exact: figures::cases(), figures::Case => |b, c| figures::opened(b, c),
        oracle = figures::opened_oracle, tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["rank_clear_u32", "rank_upper_f32", "rank_counts_f32"];
    /// a selection; interpolation in f64 is rounded once
    rank_counts_exact: figures::cases(), figures::Case => |b, c| figures::quantiles(b, c),
        oracle = figures::quantiles_oracle, tolerance = Tolerance::EXACT;
}

twins! {
    kernels = ["difference_f32"];
    /// six powers of four units each, and sums, of values up to 1.3; for the loss, differences up to 1.5 of 3 w
    difference_close: figures::cases(), figures::Case => |b, c| figures::differences(b, c),
        oracle = figures::differences_oracle, tolerance = |c: &figures::Case| Tolerance::abs((3 * c.w.max(70)) as f64 * 2.0 * UNIT);
}

twins! {
    kernels = ["rect_sums_f32"];
    /// exact values added in f64
    rect_sums_close: starting_with(figures::lines(), figures::cases()), figures::Case => |b, c| figures::summed(b, c),
        oracle = figures::summed_oracle, tolerance = Tolerance::abs(1e-11), twins = Tolerance::EXACT;
}

twins! {
    kernels = ["keep_below_u8"];
    /// zeros and ones
    keep_below_exact: figures::cases(), figures::Case => |b, c| figures::kept(b, c),
        oracle = figures::kept_oracle, tolerance = Tolerance::EXACT;
}
