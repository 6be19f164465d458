//! What to compute: levels, filters, geometry and engine, and the planes that result.

use std::fmt::{self, Display};

use crate::{Error, Result};

/// The greatest depth of a directional tree: 2^8 planes a scale.
pub const MAX_LEVEL: u8 = 8;

/// The filters of the directional tree. Read with [`str::parse`], by the names given in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DirFilter {
    /// (`dmaxflatN`) maximally flat diamond mapping of order N, 1 to 255. The published toolbox has 4 to 7, the paper uses 7.
    Dmaxflat(u8),
    /// (`dmaxflat6-toolbox`) order 6 with the slip of the published table (44 for 444), which breaks its symmetry and,
    /// by about 1e-4, reconstruction. Only for comparison with results of that toolbox.
    Dmaxflat6Toolbox,
    /// (`pkva6`, `pkva8`, `pkva12` = `pkva`) ladder of Phoong, Kim, Vaidyanathan and Ansari: 6, 8 or 12 taps. The fastest.
    Pkva(u8),
    /// (`cd` = `7-9`) the 9/7 pair under the McClellan transform, from decimal taps: reconstructs to about 1e-10.
    Cd,
    /// (`vk`) the short pair of Vetterli and Kovačević. Not normalised: its energy bounds are 0.486 and 2.564.
    Vk,
}

/// The filters of the pyramid. Read with [`str::parse`], by the names given in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PyrFilter {
    /// (`maxflat`) 13 and 19 taps from a maximally flat half-band filter of 7; the paper's choice.
    Maxflat,
    /// (`pyr`) 5 and 7 taps, from the same polynomials in the half-band filter `[1 2 1]/4`.
    Pyr,
    /// (`pyrexc`) as `pyr` with the high-pass filters exchanged.
    Pyrexc,
    /// (`9-7`) the filters of Cohen, Daubechies and Feauveau in two dimensions.
    NineSeven,
}

/// How the directional tree divides the plane of frequencies.
///
/// Up to level 3 there is no difference. From level 4 on, the published toolbox confuses its two coordinate
/// conventions: reconstruction stays perfect, but a plane is no longer one wedge of directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Geometry {
    /// (`toolbox`) the planes of the published toolbox, to rounding.
    Toolbox,
    /// (`wedge`) every plane one angular wedge, at every level.
    #[default]
    Wedge,
}

/// How the transform is computed. All engines give the same coefficients up to rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Engine {
    /// (`auto`) the one expected to be fastest for the filters, levels and device.
    #[default]
    Auto,
    /// (`taps`) mapping kernels applied tap by tap, filters as polynomials of them.
    Taps,
    /// (`ladder`) as `taps`, with each mapping kernel as two one-dimensional filters; `pkva` only.
    Ladder,
    /// (`spectral`) multiplication in the cosine domain (pyramid) and the Fourier domain (tree).
    Spectral,
    /// (`dense-reference`) the dense filters of the toolbox, tap by tap. Slow; for comparison.
    DenseReference,
}

/// Which half of a filter bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Image to coefficients; in place of the synthesis side it gives the adjoint of the analysis.
    Analysis,
    /// Coefficients to image.
    Synthesis,
}

/// What to compute.
///
/// ```
/// use nsct::{DirFilter, NsctSpec, PyrFilter};
/// let spec = NsctSpec::new([3, 4]).with_dir("pkva".parse()?).with_pyr(PyrFilter::NineSeven);
/// spec.validate()?;
/// assert_eq!(spec.dir, DirFilter::Pkva(12));
/// assert_eq!(spec.plane_count(), 1 + 8 + 16);
/// # Ok::<(), nsct::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NsctSpec {
    /// Depth of the directional tree of each scale, coarsest first: 2^level planes, or one undivided plane for 0.
    pub levels: Vec<u8>,
    /// Filters of the tree.
    pub dir: DirFilter,
    /// Filters of the pyramid.
    pub pyr: PyrFilter,
    /// Which planes the tree makes.
    pub geometry: Geometry,
    /// How to compute.
    pub engine: Engine,
}

impl Default for NsctSpec {
    /// Four scales of 4, 8, 8 and 16 directions, `dmaxflat7`, `maxflat`, wedges.
    fn default() -> Self {
        Self::new([2, 3, 3, 4])
    }
}

impl NsctSpec {
    /// These levels, coarsest first, with `dmaxflat7`, `maxflat`, [`Geometry::Wedge`] and [`Engine::Auto`].
    pub fn new(levels: impl Into<Vec<u8>>) -> Self {
        Self {
            levels: levels.into(),
            dir: DirFilter::Dmaxflat(7),
            pyr: PyrFilter::Maxflat,
            geometry: Geometry::default(),
            engine: Engine::default(),
        }
    }

    /// With these filters of the tree.
    pub fn with_dir(self, dir: DirFilter) -> Self {
        Self { dir, ..self }
    }

    /// With these filters of the pyramid.
    pub fn with_pyr(self, pyr: PyrFilter) -> Self {
        Self { pyr, ..self }
    }

    /// With this division of the plane of frequencies.
    pub fn with_geometry(self, geometry: Geometry) -> Self {
        Self { geometry, ..self }
    }

    /// With this engine.
    pub fn with_engine(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    /// Checks everything that does not depend on an image.
    ///
    /// # Errors
    /// When a level is above [`MAX_LEVEL`], the filter's order does not exist, or the engine cannot compute it.
    pub fn validate(&self) -> Result<()> {
        if let Some((j, &level)) = self.levels.iter().enumerate().find(|&(_, &level)| level > MAX_LEVEL) {
            return Err(Error::LevelTooDeep { scale: j + 1, level, max: MAX_LEVEL });
        }
        self.dir.check()?;
        if self.engine == Engine::Ladder && !matches!(self.dir, DirFilter::Pkva(_)) {
            return Err(Error::Engine {
                engine: "ladder",
                with: self.dir.to_string(),
                why: "only the pkva filters split into two one-dimensional ones; use auto, taps or spectral",
            });
        }
        Ok(())
    }

    /// The planes of one image's transform, in the order of all files and tensors.
    pub fn planes(&self) -> Vec<PlaneId> {
        planes(&self.levels)
    }

    /// Number of planes, which is the redundancy of the transform.
    pub fn plane_count(&self) -> usize {
        plane_count(&self.levels)
    }
}

impl DirFilter {
    /// Checks that the order exists; names read with [`str::parse`] always do.
    ///
    /// # Errors
    /// For `Dmaxflat(0)`, and `Pkva(n)` with `n` other than 6, 8 and 12.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Dmaxflat(0) => Err(Error::FilterOrder { family: "dmaxflat", order: "0".into(), allowed: "1 to 255" }),
            Self::Pkva(n) if ![6, 8, 12].contains(&n) => {
                Err(Error::FilterOrder { family: "pkva", order: n.to_string(), allowed: "6, 8 and 12" })
            }
            _ => Ok(()),
        }
    }
}

/// One plane of the transform. Prints as `low`, `s2` (scale 2, undivided) or `s2d5` (its fifth direction).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlaneId {
    /// 0 for the low-pass plane, 1 for the coarsest scale, up to the number of levels.
    pub scale: usize,
    /// Direction inside the scale, from 1; see [`tree::wedge`](crate::tree::wedge).
    pub direction: usize,
    /// Directions of the scale; 1 for the low-pass plane and for a scale of level 0.
    pub directions: usize,
}

impl Display for PlaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.scale, self.directions) {
            (0, _) => "low".to_owned(),
            (scale, 1) => format!("s{scale}"),
            (scale, _) => format!("s{scale}d{}", self.direction),
        };
        f.pad(&name)
    }
}

/// Directions of a scale of this level. A level that no specification may have counts as the deepest possible one.
fn directions(level: u8) -> usize {
    1 << level.min(MAX_LEVEL)
}

/// The planes for `levels` (coarsest first): `low`, then the planes of scale 1, 2, and so on.
///
/// ```
/// let names: Vec<_> = nsct::planes(&[0, 1]).iter().map(ToString::to_string).collect();
/// assert_eq!(names, ["low", "s1", "s2d1", "s2d2"]);
/// ```
pub fn planes(levels: &[u8]) -> Vec<PlaneId> {
    let mut all = Vec::with_capacity(plane_count(levels));
    all.push(PlaneId { scale: 0, direction: 1, directions: 1 });
    for (j, &level) in levels.iter().enumerate() {
        let directions = directions(level);
        all.extend((1..=directions).map(|direction| PlaneId { scale: j + 1, direction, directions }));
    }
    all
}

/// Number of planes for `levels`: `1 + Σ 2^level`.
pub fn plane_count(levels: &[u8]) -> usize {
    1 + levels.iter().map(|&level| directions(level)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_come_low_first_and_coarse_to_fine() {
        let names: Vec<_> = planes(&[2, 0, 1]).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["low", "s1d1", "s1d2", "s1d3", "s1d4", "s2", "s3d1", "s3d2"]);
        assert_eq!(plane_count(&[2, 3, 3, 4]), 37);
        assert_eq!(plane_count(&[]), 1);
        assert_eq!(NsctSpec::default().planes().len(), 37);
        assert_eq!(planes(&[1])[2], PlaneId { scale: 1, direction: 2, directions: 2 });
    }

    #[test]
    fn bad_specifications_are_refused() {
        let e = NsctSpec::new([2, 9]).validate().unwrap_err();
        assert!(matches!(e, Error::LevelTooDeep { scale: 2, level: 9, max: 8 }));
        assert_eq!(e.to_string(), "level 9 of scale 2 is too deep; at most 8 (= 256 directions) are possible");
        assert!(NsctSpec::new([200]).plane_count() > 0, "sizes of bad specifications do not overflow");
        assert!(NsctSpec::new([8]).validate().is_ok());
        assert!(NsctSpec::new([]).validate().is_ok());
        assert!(NsctSpec::default().with_dir(DirFilter::Dmaxflat(0)).validate().is_err());
        assert!(NsctSpec::default().with_dir(DirFilter::Pkva(7)).validate().is_err());
        assert!(NsctSpec::default().with_engine(Engine::Ladder).validate().is_err());
        assert!(NsctSpec::default().with_engine(Engine::Ladder).with_dir(DirFilter::Pkva(8)).validate().is_ok());
    }

    #[test]
    fn the_default_is_the_corrected_geometry() {
        let spec = NsctSpec::default();
        assert_eq!(spec.geometry, Geometry::Wedge);
        assert_eq!((spec.dir, spec.pyr, spec.engine), (DirFilter::Dmaxflat(7), PyrFilter::Maxflat, Engine::Auto));
    }
}
