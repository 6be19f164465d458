//! The filters of the transform: polynomials in mapping kernels.
//!
//! Every two-dimensional filter here is `p(K) = p_0 + p_1 K + p_2 K² + …` with a one-dimensional polynomial `p` and a
//! real, even *mapping kernel* `K` (da Cunha, Zhou, Do, "The Nonsubsampled Contourlet Transform", IEEE Trans. Image
//! Processing 15(10), 2006, section III). Perfect reconstruction is then an identity between polynomials:
//! `h0 g0 + h1 g1 = 1`, whatever the mapping is.

mod dense;
mod directional;
mod maxflat;
mod poly;
mod pyramid;
#[cfg(test)]
mod tests;

pub use dense::{directional_array, expand, mapping_array, pyramid_array};
pub use directional::{Directional, directional};
pub(crate) use directional::{Response, odd_cosine_sum, slipped};
pub use maxflat::diamond_maxflat;
pub use poly::{Poly, energy_bounds};
pub(crate) use pyramid::dilation;
pub use pyramid::{Pyramid1d, pyramid_prototype};

/// One coefficient of a mapping kernel: `v` at `n1` rows and `n2` columns from the centre.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tap {
    /// Rows.
    pub n1: i64,
    /// Columns.
    pub n2: i64,
    /// Coefficient.
    pub v: f64,
}

/// Low-pass or high-pass, the two channels of a filter bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// `h0`, `g0`, `p0`, `q0`.
    First,
    /// `h1`, `g1`, `p1`, `q1`.
    Second,
}
