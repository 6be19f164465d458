//! The transform under the names of the batched MATLAB port, with the toolbox's geometry.

use gpu_core::{Tensor, TensorView};

use crate::{Coeffs, Error, Geometry, MAX_LEVEL, NsctBackend, NsctPlan, NsctSpec, PlaneId, Real, Result};

/// The transform of images `[B, C, H, W]`, with the planes of the published toolbox ([`Geometry::Toolbox`]).
///
/// `nlevs` are the levels, coarsest first. `dfilt` and `pfilt` are names of filters, or `None` for `dmaxflat7` and
/// `maxflat`. A plan is made for every call; to transform many batches, make one [`NsctPlan`].
///
/// ```
/// use gpu_core::{Cpu, Tensor};
/// let cpu = Cpu::new();
/// let x = Tensor::from_slice(&cpu, [1, 2, 4, 4], &[1.0f32; 32])?;
/// let coeffs = nsct::nsct_batch_dec(&cpu, &x, &[2, 3], "pkva", None)?;
/// let back = nsct::nsct_batch_rec(&cpu, &coeffs, "pkva", None)?;
/// assert!(back.to_vec(&cpu)?.iter().all(|v| (v - 1.0).abs() < 1e-5));
/// # Ok::<(), nsct::Error>(())
/// ```
///
/// # Errors
/// When a level is above 8, a name is unknown, an image has no pixels, or memory runs out.
pub fn nsct_batch_dec<'x, 'n, B: NsctBackend<T>, T: Real>(
    b: &B,
    x: impl Into<TensorView<'x, B, T, 4>>,
    nlevs: &[u8],
    dfilt: impl Into<Option<&'n str>>,
    pfilt: impl Into<Option<&'n str>>,
) -> Result<Coeffs<B, T>> {
    let x = x.into();
    let [.., h, w] = x.shape();
    NsctPlan::new(b, &spec(nlevs, dfilt.into(), pfilt.into())?, h, w)?.decompose(x)
}

/// The images of the coefficients of [`nsct_batch_dec`] with the same filters.
///
/// # Errors
/// When the coefficients' planes are not those of a transform, a name is unknown, or memory runs out.
pub fn nsct_batch_rec<'n, B: NsctBackend<T>, T: Real>(
    b: &B,
    coeffs: &Coeffs<B, T>,
    dfilt: impl Into<Option<&'n str>>,
    pfilt: impl Into<Option<&'n str>>,
) -> Result<Tensor<B, T, 4>> {
    let [.., h, w] = coeffs.shape();
    let levels = levels(coeffs.planes())?;
    NsctPlan::new(b, &spec(&levels, dfilt.into(), pfilt.into())?, h, w)?.reconstruct(coeffs)
}

fn spec(levels: &[u8], dfilt: Option<&str>, pfilt: Option<&str>) -> Result<NsctSpec> {
    Ok(NsctSpec::new(levels)
        .with_dir(dfilt.unwrap_or("dmaxflat7").parse()?)
        .with_pyr(pfilt.unwrap_or("maxflat").parse()?)
        .with_geometry(Geometry::Toolbox))
}

/// The levels whose planes these are.
fn levels(planes: &[PlaneId]) -> Result<Vec<u8>> {
    let scales = planes.last().map_or(0, |id| id.scale);
    let level = |scale: usize| {
        let directions = planes.iter().find(|id| id.scale == scale)?.directions;
        (directions.is_power_of_two() && directions <= 1 << MAX_LEVEL).then(|| directions.ilog2() as u8)
    };
    let levels: Option<Vec<u8>> = (1..=scales).map(level).collect();
    levels
        .filter(|levels| crate::planes(levels) == planes)
        .ok_or_else(|| Error::value("coefficients", "their planes are not those of a transform, in order"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_from_planes() {
        for list in [&[][..], &[0], &[2, 0, 3], &[8, 1]] {
            assert_eq!(levels(&crate::planes(list)).unwrap(), list);
        }
        let mut wrong = crate::planes(&[1, 2]);
        wrong.swap(1, 2);
        assert!(levels(&wrong).is_err());
        wrong.truncate(2);
        assert!(levels(&wrong).is_err());
    }
}
