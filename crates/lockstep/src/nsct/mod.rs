//! `lockstep nsct …`: one file a subcommand.

mod args;
mod bench;
mod dec;
mod denoise;
mod features;
mod fuse;
mod info;
mod quality;
mod rec;
mod responses;
mod sheet;
mod show;
mod sidecar;
mod verify;
pub(crate) mod work;

use clap::Subcommand;

use crate::exit::{Exit, Result};
use crate::session::Session;

pub(crate) use args::describe;
pub(crate) use quality::SEED;
pub(crate) use sheet::Sheet;

/// Subcommands of `nsct`.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Decompose a picture, or a folder of them, into contourlet coefficients
    Dec(dec::Dec),
    /// Reconstruct pictures from coefficients
    Rec(rec::Rec),
    /// Remove noise
    Denoise(denoise::Denoise),
    /// Fuse pictures of one scene, such as several focus settings, into one
    Fuse(fuse::Fuse),
    /// Statistics of every direction of every scale, for texture and retrieval
    Features(features::Features),
    /// Draw all directions of all scales on one sheet
    Show(show::Show),
    /// Planes, directions, memory and gains of a transform
    Info(info::Info),
    /// Check the transform against a folder of reference data
    Verify(verify::Verify),
    /// Measure speed, or with --quality the denoising figures
    Bench(bench::Bench),
}

impl Command {
    /// Runs the subcommand.
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        match self {
            Self::Dec(c) => c.run(session),
            Self::Rec(c) => c.run(session),
            Self::Denoise(c) => c.run(session),
            Self::Fuse(c) => c.run(session),
            Self::Features(c) => c.run(session),
            Self::Show(c) => c.run(session),
            Self::Info(c) => c.run(session),
            Self::Verify(c) => c.run(session),
            Self::Bench(c) => c.run(session),
        }
    }
}

/// Transforms a small picture and back; the largest error. The smallest proof that a backend works.
pub(crate) fn round_trip<B: ::nsct::NsctBackend<f32>>(b: &B) -> Result<f64> {
    let (h, w) = (48, 64);
    let values: Vec<f32> = (0..h * w).map(|i| (i * i % 251) as f32).collect();
    let plan = ::nsct::NsctPlan::<B, f32>::new(b, &::nsct::NsctSpec::new([2, 3]), h, w)?;
    let x = gpu_core::Tensor::from_slice(b, [1, 1, h, w], &values)?;
    let back = plan.reconstruct(&plan.decompose(&x)?)?.to_vec(b)?;
    Ok(back.iter().zip(&values).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max))
}
