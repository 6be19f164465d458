//! Cases of what is computed from two pictures: levels, differences, losses.

use super::*;

#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) count: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) limit: usize,
    /// Distinct values: few make ties.
    pub(super) values: u32,
    pub(super) shift: [i32; 2],
    /// Where every plane has its peak, near (0, 0), whose rows and columns lie at both ends of the plane.
    pub(super) peak: Option<[i32; 2]>,
    pub(super) seed: u64,
}

pub(super) fn cases() -> impl Strategy<Value = Case> {
    let values = prop_oneof![Just(2_u32), Just(5), Just(1 << 20)];
    let size = prop_oneof![
        9 => (1..4_usize, 17..40_usize, 17..70_usize, 8..24_usize),
        // Rows and columns that a lane of a warp meets many times.
        3 => (1..4_usize, 130..200_usize, 130..200_usize, 48..99_usize),
        // More planes than blocks.
        1 => (1025..1040_usize, 17..20_usize, 17..20_usize, Just(8_usize)),
    ];
    let far = prop_oneof![Just(0_i32), -60..60_i32];
    let peak = prop::option::of([-5..6_i32, -5..6_i32]);
    (size, values, [far.clone(), far], peak, any::<u64>()).prop_map(
        |((count, h, w, limit), values, shift, peak, seed)| {
            let limit = limit.min((h.min(w) - 1) / 2);
            let peak = peak.filter(|p| p.iter().all(|d| d.unsigned_abs() as usize <= limit));
            Case { count, h, w, limit, values, shift, peak, seed }
        },
    )
}

const PLAIN: Case = Case { count: 2, h: 17, w: 17, limit: 8, values: 1 << 20, shift: [0, 0], peak: None, seed: 35 };

/// Ranges of more elements than half of what a warp asks for at once.
pub(super) fn ranges() -> Vec<Case> {
    vec![Case { h: 263, w: 265, limit: 130, ..PLAIN }]
}

/// Lines that end between a warp's loads, and such of several rounds of loads.
pub(super) fn lines() -> Vec<Case> {
    vec![Case { w: 217, ..PLAIN }, Case { w: 530, ..PLAIN }]
}

impl Case {
    fn plane(&self) -> Vec<f32> {
        let mut random = Random::new(self.seed);
        let n = self.values as usize;
        let mut values: Vec<f32> =
            (0..self.count * self.h * self.w).map(|_| random.below(n) as f32 / n as f32 - 0.4).collect();
        if let Some([dy, dx]) = self.peak {
            let wrapped = |d: i32, n: usize| d.rem_euclid(n as i32) as usize;
            let at = wrapped(dy, self.h) * self.w + wrapped(dx, self.w);
            values.chunks_mut(self.h * self.w).for_each(|plane| plane[at] = 0.75);
        }
        values
    }
}

fn found<B: PeakWindow>(b: &B, c: &Case) -> Result<Vec<PeakFigures>> {
    let x = up(b, &c.plane())?;
    let mut out = up(b, &vec![PeakFigures::default(); c.count])?;
    peak_window(b, [c.count, c.h, c.w], c.limit, x.flat(), out.flat_mut())?;
    out.to_vec(b)
}

pub(super) fn peaks<B: PeakWindow>(b: &B, c: &Case) -> Result<Outputs> {
    let all = found(b, c)?;
    let places = all.iter().flat_map(|f| [f.dy, f.dx]).collect();
    let values = all.iter().flat_map(|f| [f.peak, f.second]).collect();
    Ok(vec![Output::I32(vec![c.count, 2], places), Output::F32(vec![c.count, 2], values)])
}

pub(super) fn peaks_oracle(c: &Case) -> Outputs {
    let values = wide(&c.plane());
    let all: Vec<_> = values.chunks(c.h * c.w).map(|v| oracle::peak(v, c.h, c.w, c.limit as i64)).collect();
    let places = all.iter().flat_map(|(p, ..)| p.map(|d| d as i32)).collect();
    let values = all.iter().flat_map(|&(_, peak, second)| [peak, second]).collect();
    vec![Output::I32(vec![c.count, 2], places), Output::F64(vec![c.count, 2], values)]
}

pub(super) fn spreads<B: PeakWindow>(b: &B, c: &Case) -> Result<Outputs> {
    Ok(vec![Output::F64(vec![c.count, 2], found(b, c)?.iter().flat_map(|f| [f.mean, f.std]).collect())])
}

pub(super) fn spreads_oracle(c: &Case) -> Outputs {
    let values = wide(&c.plane());
    let spread = |v: &[f64]| oracle::spread(v, c.h, c.w, c.limit as i64);
    vec![Output::F64(vec![c.count, 2], values.chunks(c.h * c.w).flat_map(spread).collect())]
}

pub(super) fn mads<B: MadPair>(b: &B, c: &Case) -> Result<Outputs> {
    let tasks: Vec<MadTask> = (0..c.count)
        .map(|i| MadTask { a: i as u32, b: (c.count - 1 - i) as u32, dy: c.shift[0], dx: c.shift[1], gain: 1.25 })
        .collect();
    let mut out = Tensor::<B, f64, 1>::scratch(b, [c.count])?;
    let planes = up(b, &c.plane())?;
    mad_pair(b, [c.count, c.h, c.w], up(b, &tasks)?.flat(), planes.flat(), out.flat_mut())?;
    Ok(vec![Output::of(b, &out)?])
}

pub(super) fn mads_oracle(c: &Case) -> Outputs {
    let values = wide(&c.plane());
    let plane = |i: usize| &values[i * c.h * c.w..(i + 1) * c.h * c.w];
    let of = |i: usize| oracle::mad(plane(i), plane(c.count - 1 - i), c.h, c.w, c.shift.map(i64::from), 1.25);
    vec![Output::F64(vec![c.count], (0..c.count).map(of).collect())]
}

pub(super) fn opened<B: OpenCross>(b: &B, c: &Case) -> Result<Outputs> {
    let x: Vec<u8> = c.plane()[..c.h * c.w].iter().map(|&v| u8::from(v > -0.35)).collect();
    let mut out = up(b, &vec![9u8; x.len()])?;
    let mut work = up(b, &vec![9u8; x.len()])?;
    open_cross(b, [c.h, c.w], up(b, &x)?.flat(), out.flat_mut(), work.flat_mut())?;
    Ok(vec![Output::of(b, &out)?])
}

pub(super) fn opened_oracle(c: &Case) -> Outputs {
    let x: Vec<u8> = c.plane()[..c.h * c.w].iter().map(|&v| u8::from(v > -0.35)).collect();
    vec![Output::U8(vec![c.h * c.w], oracle::open_cross(&x, c.h, c.w))]
}

const QUANTILES: [f64; 5] = [0.0, 0.1, 0.5, 0.9999, 1.0];

/// Also with zeros whose bits are those of a large number.
fn ranked(c: &Case) -> Vec<f32> {
    let mut x = c.plane();
    x.iter_mut().step_by(97).for_each(|v| *v = -0.0);
    x
}

pub(super) fn quantiles<B: RankCounts>(b: &B, c: &Case) -> Result<Outputs> {
    let x = up(b, &ranked(c))?;
    let all: Result<Vec<f32>> = QUANTILES.iter().map(|&q| kernels::quantile(b, x.flat(), q)).collect();
    Ok(vec![Output::F32(vec![QUANTILES.len()], all?)])
}

pub(super) fn quantiles_oracle(c: &Case) -> Outputs {
    let x = ranked(c);
    vec![Output::F32(vec![QUANTILES.len()], QUANTILES.iter().map(|&q| oracle::quantile(&x, q)).collect())]
}

pub(super) fn differences<B: Difference>(b: &B, c: &Case) -> Result<Outputs> {
    let (a, z) = (numbers(c.seed, 3 * c.h * c.w), numbers(c.seed ^ 1, 3 * c.h * c.w));
    let [dy, dx] = c.shift.map(|d| d.unsigned_abs() as usize % 9);
    let (height, width) = (c.h - dy, c.w - dx);
    let (from_a, from_b) = (Rect { top: dy, left: dx, height, width }, Rect { top: 0, left: 0, height, width });
    let mut out = Tensor::<B, f32, 2>::scratch(b, [height, width])?;
    let mut loss = Tensor::<B, f64, 1>::scratch(b, [height])?;
    let (a, z) = (up(b, &a)?, up(b, &z)?);
    difference(b, [c.h, c.w], (a.flat(), from_a), (z.flat(), from_b), [1.5, 0.75], out.flat_mut(), loss.flat_mut())?;
    Ok(vec![Output::of(b, &out)?, Output::of(b, &loss)?])
}

pub(super) fn differences_oracle(c: &Case) -> Outputs {
    let (a, z) = (wide(&numbers(c.seed, 3 * c.h * c.w)), wide(&numbers(c.seed ^ 1, 3 * c.h * c.w)));
    let [dy, dx] = c.shift.map(|d| d.unsigned_abs() as usize % 9);
    let (height, width) = (c.h - dy, c.w - dx);
    let gamma = |v: f64| if v > 0.0 { v.powf(1.0 / 2.2) } else { v };
    let (mut out, mut loss) = (vec![0.0; height * width], vec![0.0; height]);
    for y in 0..height {
        for x in 0..width {
            for k in 0..3 {
                let p = a[k * c.h * c.w + (y + dy) * c.w + x + dx];
                let q = z[k * c.h * c.w + y * c.w + x];
                out[y * width + x] += (gamma(p) - gamma(1.5 * q)).abs();
                loss[y] += (p - 0.75 * q).abs();
            }
        }
    }
    vec![Output::F64(vec![height, width], out), Output::F64(vec![height], loss)]
}

/// A rectangle that leaves out rows and columns on all sides of some pictures.
fn inner(c: &Case) -> Rect {
    let [top, left] = c.shift.map(|d| d.unsigned_abs() as usize % 9);
    Rect { top, left, height: c.h - top - c.seed as usize % 7, width: c.w - left - c.seed as usize % 5 }
}

pub(super) fn summed<B: RectSums>(b: &B, c: &Case) -> Result<Outputs> {
    let from = inner(c);
    let x: Vec<f32> = numbers(c.seed, 3 * c.h * c.w).iter().map(|v| v - 0.25).collect();
    let mut out = Tensor::<B, f64, 1>::scratch(b, [from.height])?;
    rect_sums(b, [c.h, c.w], (up(b, &x)?.flat(), from), out.flat_mut())?;
    Ok(vec![Output::of(b, &out)?])
}

pub(super) fn summed_oracle(c: &Case) -> Outputs {
    let from = inner(c);
    let x: Vec<f64> = numbers(c.seed, 3 * c.h * c.w).iter().map(|v| f64::from(v - 0.25)).collect();
    let row = |y: usize| -> f64 {
        let values = (0..3).flat_map(|k| &x[(k * c.h + from.top + y) * c.w + from.left..][..from.width]);
        values.sum()
    };
    vec![Output::F64(vec![from.height], (0..from.height).map(row).collect())]
}

pub(super) fn kept<B: KeepBelow>(b: &B, c: &Case) -> Result<Outputs> {
    let x = limits(c);
    let mut out = up(b, &vec![9u8; x.len()])?;
    keep_below(b, up(b, &x)?.flat(), -0.2, out.flat_mut())?;
    Ok(vec![Output::of(b, &out)?])
}

/// Values around the threshold, that itself, and none.
fn limits(c: &Case) -> Vec<f32> {
    let mut x = c.plane();
    let n = x.len();
    (x[0], x[n / 2], x[n - 1]) = (f32::NAN, -0.2, f32::from_bits((-0.2_f32).to_bits() + 1));
    x
}

pub(super) fn kept_oracle(c: &Case) -> Outputs {
    let x = limits(c);
    vec![Output::U8(vec![x.len()], x.iter().map(|&v| u8::from(f64::from(v) < f64::from(-0.2_f32))).collect())]
}
