//! Denoising figures on the bundled photograph, beside those of the stationary wavelet transform.

use nsct::denoise::{Shrinkage, denoise};
use nsct::{Geometry, NsctBackend, NsctPlan, NsctSpec, noise};
use serde_json::{Value, json};

use super::args::spec_json;
use super::work::{Sample, download, upload};
use crate::exit::{Exit, Result};
use crate::photos::CAMERA;
use crate::pictures::psnr;
use crate::session::Session;

/// Standard deviation of the noise, and the figure of the stationary wavelet transform (sym4, 4 levels, hard threshold)
/// on the same noisy photograph. It was measured elsewhere; this program has no wavelets.
const WAVELET: [(u32, f64); 5] = [(10, 31.412), (20, 28.703), (30, 27.418), (40, 26.570), (50, 25.923)];

/// The seed of the tables' noise is this plus the standard deviation.
pub(crate) const SEED: u64 = 20_261_120;

/// Prints the table.
pub(super) fn run<B: NsctBackend<T>, T: Sample>(session: &Session, b: &B, spec: &NsctSpec) -> Result<Exit> {
    let clean = CAMERA.open()?;
    let [.., h, w] = clean.shape;
    let mut plans = Vec::new();
    for geometry in [Geometry::Toolbox, Geometry::Wedge] {
        plans.push((geometry, NsctPlan::<B, T>::new(b, &spec.clone().with_geometry(geometry), h, w)?));
    }
    let levels: Vec<_> = spec.levels.iter().map(ToString::to_string).collect();
    session.say(format!(
        "PSNR in dB, {} with white noise, levels {} · {} · {} · {} engine on {}",
        CAMERA.name,
        levels.join(","),
        spec.dir,
        spec.pyr,
        plans[0].1.engine(),
        B::NAME
    ));
    session.say(format!(
        "{:>5} {:>8} {:>13} {:>11} {:>18} {:>16} {:>14}",
        "noise", "noisy", "hard/toolbox", "hard/wedge", "bivariate/toolbox", "bivariate/wedge", "wavelet/hard"
    ));
    let mut rows = Vec::new();
    for (sigma, wavelet) in WAVELET {
        let strength = f64::from(sigma);
        let grains = noise::gaussian(SEED + u64::from(sigma), h * w);
        let noisy = clean.with_samples(clean.samples.iter().zip(&grains).map(|(x, g)| x + strength * g).collect());
        let before = psnr(&noisy.samples, &clean.samples, 255.0);
        let x = upload(b, &noisy, 0..1)?;
        let mut figures = Vec::new();
        for how in [Shrinkage::Hard, Shrinkage::Bivariate] {
            for (geometry, plan) in &plans {
                let done = denoise(plan, &x, Some(strength), how)?;
                let after = psnr(&download(b, &done.image)?, &clean.samples, 255.0);
                figures.push((how, *geometry, after));
            }
        }
        session.say(format!(
            "{sigma:>5} {before:>8.3} {:>13.3} {:>11.3} {:>18.3} {:>16.3} {wavelet:>14.3}",
            figures[0].2, figures[1].2, figures[2].2, figures[3].2
        ));
        let named: Vec<_> = figures
            .iter()
            .map(|(how, geometry, db)| json!({ "mode": how.to_string(), "geometry": geometry.to_string(), "psnr": db }))
            .collect();
        rows.push(json!({ "sigma": sigma, "noisy": before, "nsct": named, "wavelet_sym4_hard": wavelet }));
    }
    session.say(
        "wavelet: stationary wavelet transform, sym4, 4 levels, hard threshold, measured on the same noisy pictures",
    );
    session.document(&json!({ "transform": spec_json(spec), "backend": B::NAME, "rows": Value::from(rows) }))?;
    Ok(Exit::Ok)
}
