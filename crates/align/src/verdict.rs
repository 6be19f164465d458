//! From the figures of correlations to an answer and how sure it is.

use crate::estimate::{CONFIDENT, FAILED, Geometry, LARGEST_FIGURE, ROUNDING_SURE};
use crate::kernels::PeakFigures;
use crate::{Combine, PairResult, Planes, State};

/// One answer, and those of the planes where each was looked at alone.
pub(crate) type Joined = (Single, Option<Vec<([f64; 2], f32)>>);

/// What one correlation says.
#[derive(Clone, Debug)]
pub(crate) struct Single {
    pub(crate) shift: [f64; 2],
    pub(crate) psr: f32,
    ratio: f32,
    at_edge: bool,
}

impl Single {
    pub(crate) fn new(f: &PeakFigures, shift: [f64; 2], limit: usize) -> Self {
        let limit = limit as i32;
        let psr = if f.std > 0.0 { ((f64::from(f.peak) - f.mean) / f.std) as f32 } else { 0.0 };
        let ratio = match (f.peak > 0.0, f.second > 0.0) {
            (true, true) => (f.peak / f.second).min(LARGEST_FIGURE),
            (true, false) => LARGEST_FIGURE,
            _ => 0.0,
        };
        Self { shift, psr: psr.clamp(0.0, LARGEST_FIGURE), ratio, at_edge: f.dy.abs() == limit || f.dx.abs() == limit }
    }

    pub(crate) fn result(self, per_channel: Option<Vec<([f64; 2], f32)>>, mad: [f32; 2], g: &Geometry) -> PairResult {
        let [psr, ratio] = [self.psr, self.ratio];
        let edge = self.at_edge || self.shift.iter().any(|d| d.abs() > g.range as f64 - 1.0);
        let far = self.shift[0].hypot(self.shift[1]) > 1.0;
        let state = if psr < FAILED[0] || ratio < FAILED[1] {
            State::Failed
        } else if edge {
            State::AtLimit
        } else if psr < CONFIDENT[0] || ratio < CONFIDENT[1] || (far && mad[1] > mad[0]) {
            State::Doubtful
        } else {
            State::Confident
        };
        PairResult {
            shift: self.shift,
            rounded: self.shift.map(|d| d.round() as i32),
            psr,
            ratio,
            state,
            rounding_sure: psr >= ROUNDING_SURE,
            per_channel,
            mad,
            tiles: None,
        }
    }
}

/// One answer from those of the planes.
pub(crate) fn join(planes: &[Single], combine: Combine, kind: Planes) -> Joined {
    if planes.len() == 1 && (kind == Planes::Luma || combine == Combine::Sum) {
        return (planes[0].clone(), None);
    }
    let of = |f: &dyn Fn(&Single) -> f64| {
        let mut values: Vec<f64> = planes.iter().map(f).collect();
        if combine == Combine::Median {
            values.sort_by(f64::total_cmp);
            let n = values.len();
            f64::midpoint(values[(n - 1) / 2], values[n / 2])
        } else {
            values.iter().sum::<f64>() / values.len() as f64
        }
    };
    let one = Single {
        shift: [of(&|s| s.shift[0]), of(&|s| s.shift[1])],
        psr: of(&|s| s.psr.into()) as f32,
        ratio: of(&|s| s.ratio.into()) as f32,
        at_edge: planes.iter().filter(|s| s.at_edge).count() * 2 > planes.len(),
    };
    (one, Some(planes.iter().map(|s| (s.shift, s.psr)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cfa, Options};

    #[test]
    fn states_follow_the_limits() {
        let g = Geometry::new(&Cfa::RGGB, [512, 512], &Options::default()).unwrap();
        let of = |psr, ratio, shift| Single { shift, psr, ratio, at_edge: false }.result(None, [1.0, 0.5], &g).state;
        assert_eq!(of(20.0, 5.0, [3.0, 4.0]), State::Confident);
        assert_eq!(of(8.9, 5.0, [3.0, 4.0]), State::Doubtful);
        assert_eq!(of(20.0, 1.5, [3.0, 4.0]), State::Doubtful);
        assert_eq!(of(5.9, 5.0, [3.0, 4.0]), State::Failed);
        assert_eq!(of(20.0, 1.3, [3.0, 4.0]), State::Failed);
        assert_eq!(of(20.0, 5.0, [3.0, -127.5]), State::AtLimit);
        let worse = Single { shift: [3.0, 4.0], psr: 20.0, ratio: 5.0, at_edge: false }.result(None, [0.5, 1.0], &g);
        assert_eq!(worse.state, State::Doubtful);
    }

    #[test]
    fn medians_and_means() {
        let at = |d: f64| Single { shift: [d, -d], psr: d as f32, ratio: 2.0, at_edge: false };
        let four = [at(1.0), at(9.0), at(2.0), at(4.0)];
        assert_eq!(join(&four, Combine::Median, Planes::Channels).0.shift, [3.0, -3.0]);
        assert_eq!(join(&four, Combine::Mean, Planes::Channels).0.shift, [4.0, -4.0]);
        assert_eq!(join(&four, Combine::Median, Planes::Channels).1.unwrap().len(), 4);
    }
}
