//! Cases of what is done with spectra: whitening, products, grids between pixels.

use super::*;

#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) pictures: usize,
    pub(super) planes: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) sum: bool,
    pub(super) pairs: Vec<[usize; 2]>,
    pub(super) centre: [f64; 2],
    pub(super) radius: f64,
    pub(super) seed: u64,
}

pub(super) fn cases() -> impl Strategy<Value = Case> {
    let pairs = prop::collection::vec([0..3_usize, 0..3_usize], 1..4);
    let centre = [-9.0..9.0_f64, -9.0..9.0_f64];
    (1..4_usize, 1..24_usize, 1..12_usize, any::<bool>(), pairs, centre, 0.1..1.5_f64, any::<u64>()).prop_map(
        |(planes, h, half, sum, pairs, centre, radius, seed)| Case {
            pictures: 3,
            planes,
            h,
            w: 2 * half,
            sum,
            pairs,
            centre,
            radius,
            seed,
        },
    )
}

/// More columns than a block sums at once, in each of the two sums.
pub(super) fn wide() -> Vec<Case> {
    let case = |h, w| Case {
        pictures: 2,
        planes: 1,
        h,
        w,
        sum: true,
        pairs: vec![],
        centre: [0.25, -1.5],
        radius: 1.0,
        seed: 3,
    };
    vec![case(5, 150), case(2, 1030)]
}

/// A sum over no planes, which is 0 for every pair.
pub(super) fn none() -> Vec<Case> {
    vec![Case { pictures: 3, planes: 0, h: 5, w: 6, pairs: vec![[0, 1]; 5], ..wide().remove(0) }]
}

/// Also more pairs than blocks.
pub(super) fn many() -> impl Strategy<Value = Case> {
    let pairs = prop::collection::vec([0..3_usize, 0..3_usize], 1025..1040);
    let crowd = (cases(), 1..4_usize, pairs).prop_map(|(case, h, pairs)| Case { h, w: 4, pairs, ..case });
    prop_oneof![12 => cases(), 1 => crowd]
}

/// More rows than a kernel sums by itself.
pub(super) fn tall() -> impl Strategy<Value = Case> {
    let centre = [-9.0..9.0_f64, -9.0..9.0_f64];
    (126..300_usize, 1..3_usize, centre, any::<u64>()).prop_map(|(h, half, centre, seed)| Case {
        pictures: 1,
        planes: 1,
        h,
        w: 2 * half,
        sum: true,
        pairs: vec![],
        centre,
        radius: 1.0,
        seed,
    })
}

impl Case {
    fn area(&self) -> usize {
        self.h * (self.w / 2 + 1)
    }
    fn values(&self) -> Vec<Complex32> {
        complex(self.seed, self.pictures * self.planes * self.area())
    }
    fn outputs(&self) -> usize {
        if self.sum { 1 } else { self.planes }
    }
}

fn couple(z: Complex32) -> [f64; 2] {
    [z.re.into(), z.im.into()]
}

pub(super) fn white<B: Whiten>(b: &B, c: &Case) -> Result<Outputs> {
    let mut values = c.values();
    // What must not become NaN.
    let odd = [0.0, -0.0, 1e-38, 1e-45, 3e38, f32::INFINITY, f32::NAN];
    for (i, &v) in odd.iter().enumerate().take(values.len()) {
        values[i] = Complex32::new(v, if i % 2 == 0 { 0.0 } else { v });
    }
    let mut z = up(b, &values)?;
    whiten(b, z.flat_mut())?;
    Ok(vec![Output::F32(vec![values.len(), 2], parts(&z.to_vec(b)?))])
}

pub(super) fn white_oracle(c: &Case) -> Outputs {
    let mut values = c.values();
    let odd = [0.0, -0.0, 1e-38, 1e-45, 3e38, f32::INFINITY, f32::NAN];
    for (i, &v) in odd.iter().enumerate().take(values.len()) {
        values[i] = Complex32::new(v, if i % 2 == 0 { 0.0 } else { v });
    }
    let out = values.iter().flat_map(|&z| oracle::whiten(couple(z))).collect();
    vec![Output::F64(vec![values.len(), 2], out)]
}

pub(super) fn crossed<B: CrossWeight>(b: &B, c: &Case) -> Result<Outputs> {
    let weight = FrequencyWeight::new(b, c.h, c.w, 0.15)?;
    let flat: Vec<u32> = c.pairs.iter().flatten().map(|&i| i as u32).collect();
    let (pairs, spectra) = (up(b, &flat)?, up(b, &c.values())?);
    let mut out = Tensor::<B, Complex32, 3>::scratch(b, [c.pairs.len(), c.outputs(), c.area()])?;
    cross_weight(b, &weight, [c.pictures, c.planes], c.sum, pairs.flat(), spectra.flat(), out.flat_mut())?;
    Ok(vec![Output::F32(vec![c.pairs.len(), c.outputs(), c.area(), 2], parts(&out.to_vec(b)?))])
}

pub(super) fn crossed_oracle(c: &Case) -> Outputs {
    let (values, area, half) = (c.values(), c.area(), c.w / 2 + 1);
    let at = |picture: usize, plane: usize, i: usize| couple(values[(picture * c.planes + plane) * area + i]);
    let mut out = Vec::new();
    for &[a, b] in &c.pairs {
        for output in 0..c.outputs() {
            for i in 0..area {
                let planes = if c.sum { 0..c.planes } else { output..output + 1 };
                let (mut re, mut im) = (0.0, 0.0);
                for plane in planes {
                    let ([ar, ai], [br, bi]) = (at(a, plane, i), at(b, plane, i));
                    re += ar * br + ai * bi;
                    im += ai * br - ar * bi;
                }
                let g = oracle::weight(i / half, i % half, c.h, c.w, 0.15);
                out.extend([re * g, im * g]);
            }
        }
    }
    vec![Output::F64(vec![c.pairs.len(), c.outputs(), area, 2], out)]
}

pub(super) fn grids<B: RefineGrid>(b: &B, c: &Case) -> Result<Outputs> {
    let tasks: Vec<RefineTask> =
        (0..c.pictures).map(|i| RefineTask { y: c.centre[0] + i as f64, x: c.centre[1] - 0.3 * i as f64 }).collect();
    let z = up(b, &complex(c.seed, c.pictures * c.area()))?;
    let mut out = Tensor::<B, f64, 2>::scratch(b, [c.pictures, REFINE_SIDE * REFINE_SIDE])?;
    refine_grid(b, [c.h, c.w], c.radius, up(b, &tasks)?.flat(), z.flat(), out.flat_mut())?;
    Ok(vec![Output::of(b, &out)?])
}

pub(super) fn grids_oracle(c: &Case) -> Outputs {
    let z: Vec<[f64; 2]> = complex(c.seed, c.pictures * c.area()).into_iter().map(couple).collect();
    let mut out = Vec::new();
    for (i, z) in z.chunks(c.area()).enumerate() {
        for j in 0..17 {
            for k in 0..17 {
                let y = c.centre[0] + i as f64 + c.radius * (f64::from(j) - 8.0) / 8.0;
                let x = c.centre[1] - 0.3 * i as f64 + c.radius * (f64::from(k) - 8.0) / 8.0;
                out.push(oracle::correlation_at(z, c.h, c.w, y, x));
            }
        }
    }
    vec![Output::F64(vec![c.pictures, 17 * 17], out)]
}
