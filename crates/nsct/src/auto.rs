//! Which engine is fastest.

use crate::filters::directional;
use crate::{DirFilter, Engine, NsctSpec, Result};

/// Milliseconds for one image of 512 × 512 in `f32` on two cores of a 2.5 GHz Xeon. Only their ratios matter here.
mod cost {
    /// One step of the pyramid, in the image domain.
    pub(super) const STEP: f64 = 0.9;
    /// One node of the tree, by ladder filters.
    pub(super) const LADDER: f64 = 1.05;
    /// One multiply-add for each pixel of a mapping kernel's tap.
    pub(super) const TAP: f64 = 1.0 / 75.0;
    /// Transforms that the spectral engine needs once, for each scale, and for each plane.
    pub(super) const SPECTRAL: [f64; 3] = [0.9, 0.6, 0.42];
}

/// The engine for a backend on which a transform of this size takes `plane_cost` times as long, beside a multiply-add,
/// as 512 × 512 on the CPU that the costs are from.
pub(crate) fn engine(spec: &NsctSpec, plane_cost: f64) -> Result<Engine> {
    let direct = direct(spec);
    let nodes: f64 = spec.levels.iter().map(|&level| f64::from((1_u32 << level) - 1)).sum();
    let node = match direct {
        Engine::Ladder => cost::LADDER,
        // Three powers of the mapping in each node.
        _ => 3.0 * directional(spec.dir)?.mapping.len() as f64 * cost::TAP,
    };
    let scales = spec.levels.len() as f64;
    let [once, scale, plane] = cost::SPECTRAL;
    let spectral = plane_cost * (once + scale * scales + plane * spec.plane_count() as f64);
    Ok(if nodes * node + scales * cost::STEP <= spectral { direct } else { Engine::Spectral })
}

/// The engine in the image domain that suits the filters.
pub(crate) fn direct(spec: &NsctSpec) -> Engine {
    if matches!(spec.dir, DirFilter::Pkva(_)) { Engine::Ladder } else { Engine::Taps }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was fastest in measurements on the CPU, and what a device with fast transforms prefers.
    #[test]
    fn measured_cases_are_chosen_rightly() {
        let choose = |dir: &str, levels: &[u8], plane_cost| {
            engine(&NsctSpec::new(levels).with_dir(dir.parse().unwrap()), plane_cost).unwrap()
        };
        for (dir, levels, plane_cost, wanted) in [
            ("pkva", &[1][..], 1.0, Engine::Ladder),
            ("pkva6", &[0, 1], 1.0, Engine::Ladder),
            ("pkva", &[2], 1.0, Engine::Spectral),
            ("pkva", &[2, 3, 3, 4], 1.0, Engine::Spectral),
            ("pkva", &[2, 3], 5.0, Engine::Ladder),
            ("dmaxflat7", &[1], 1.0, Engine::Spectral),
            ("dmaxflat4", &[2], 1.0, Engine::Spectral),
            ("dmaxflat7", &[2, 3, 3, 4], 5.0, Engine::Spectral),
            ("pkva", &[2, 3], 0.17, Engine::Spectral),
        ] {
            assert_eq!(choose(dir, levels, plane_cost), wanted, "{dir} {levels:?} {plane_cost}");
        }
    }
}
