use serde::{Deserialize, Serialize};

use crate::tiles::TileFit;
use crate::{Error, Result};

/// Which planes of a picture are correlated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Planes {
    /// One: the mean of each block of the pattern. Least noise.
    #[default]
    Luma,
    /// One for each position of a Bayer pattern, or each colour of an X-Trans block.
    Channels,
}

/// How the planes of [`Planes::Channels`] become one shift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// Their correlations are added before the peak is looked for.
    #[default]
    Sum,
    /// Each gives a shift; the median of each component counts.
    Median,
    /// Each gives a shift; the mean of each component counts.
    Mean,
}

/// How far apart pictures may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxShift {
    /// Full-resolution pixels in each direction.
    Pixels(usize),
    /// A quarter of the shorter side.
    Auto,
}

/// What happens after the peak is found to a fraction of a pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refine {
    /// Nothing.
    None,
    /// Where windows that stand still would pull a shift towards 0, in small pictures, they follow it in a second look
    /// ([`Planes::Luma`]).
    #[default]
    Follow,
    /// After that, a few steps of Gauss-Newton on the smoothed pictures, kept where they change little.
    Gn,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How far apart pictures may be. [128 pixels]
    pub max_shift: MaxShift,
    /// Width of the weight over frequencies, in cycles a pixel of the proxy. [0.15]
    pub sigma: f32,
    /// Part of each side over which the window falls off. [0.25]
    pub alpha: f32,
    /// Pixels of the same colour that a pixel is compared with when hot pixels are removed. `[8]`
    pub neighbours: usize,
    /// Which planes are correlated.
    pub planes: Planes,
    /// How planes become one shift.
    pub combine: Combine,
    /// What happens after the peak.
    pub refine: Refine,
    /// Whether shifts of tiles are looked at, for pictures that are turned or scaled. `[false]`
    pub tiles: bool,
    /// Bytes of device memory to stay inside; `None` takes what is free. Results do not depend on it.
    pub memory: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_shift: MaxShift::Pixels(128),
            sigma: 0.15,
            alpha: 0.25,
            neighbours: 8,
            planes: Planes::Luma,
            combine: Combine::Sum,
            refine: Refine::None,
            tiles: false,
            memory: None,
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<()> {
        if !(self.sigma > 0.01 && self.sigma <= 1.0) {
            return Err(Error::value("sigma", format!("{}; it may be 0.01 to 1", self.sigma)));
        }
        if !(0.0..=1.0).contains(&self.alpha) {
            return Err(Error::value("alpha", format!("{}; it may be 0 to 1", self.alpha)));
        }
        if !(1..=24).contains(&self.neighbours) {
            return Err(Error::value("neighbours", format!("{}; they may be 1 to 24", self.neighbours)));
        }
        Ok(())
    }
}

/// How sure a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The peak stands out.
    Confident,
    /// There is a peak, but look at the pair.
    Doubtful,
    /// Nothing to align was found.
    Failed,
    /// The best place lies at the end of the search range; search further.
    AtLimit,
    /// The pictures are also turned or scaled; the shift is the best translation.
    NotATranslation,
}

impl State {
    /// The word used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Confident => "confident",
            Self::Doubtful => "doubtful",
            Self::Failed => "failed",
            Self::AtLimit => "at-limit",
            Self::NotATranslation => "not-a-translation",
        }
    }
}

/// What came out for a pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairResult {
    /// `[dy, dx]` in full-resolution pixels.
    pub shift: [f64; 2],
    /// The nearest whole numbers.
    pub rounded: [i32; 2],
    /// How many standard deviations the peak stands above the mean of the search range.
    pub psr: f32,
    /// The peak relative to the largest value elsewhere.
    pub ratio: f32,
    /// How sure it is.
    pub state: State,
    /// Whether the peak is so clear that rounding to whole pixels is right.
    pub rounding_sure: bool,
    /// Shift and psr of each plane, where each was looked at alone.
    pub per_channel: Option<Vec<([f64; 2], f32)>>,
    /// Mean absolute difference of the gain-matched proxies before and after the shift.
    pub mad: [f32; 2],
    /// What the tiles say, where they were looked at.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tiles: Option<TileFit>,
}

impl PairResult {
    /// The answer for a picture with itself.
    pub fn identity() -> Self {
        Self {
            shift: [0.0; 2],
            rounded: [0; 2],
            psr: crate::estimate::LARGEST_FIGURE,
            ratio: crate::estimate::LARGEST_FIGURE,
            state: State::Confident,
            rounding_sure: true,
            per_channel: None,
            mad: [0.0; 2],
            tiles: None,
        }
    }
}
