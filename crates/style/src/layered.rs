//! The network as layers of kernels: what CUDA runs, and what the CPU can run too, to prove the plan.

use gpu_core::{View, ViewMut};
use half::f16;
use ndarray::{Array4, ArrayView4};

use crate::Result;
use crate::cpu;
use crate::engine::{Activation, Precision, SizePolicy};
use crate::kernels::{NET_CENTRE, NetBackend, NetElem, NetFirst, NetLast, Scene, Tiles};
use crate::mix::Rounding;
use crate::net::{Fill, Job, Picture, Runner, Take};
#[cfg(feature = "cuda")]
use crate::processor::cpu_weights;
use crate::processor::planes;
use crate::weights::{LayerId, StyleModel};

/// A model on a device as layers of kernels, in one precision and, once it was needed, also in `f32`.
#[derive(Debug)]
pub struct Layered<B: NetBackend<f32> + NetBackend<f16>> {
    half: Option<Runner<B, f16>>,
    single: Option<Runner<B, f32>>,
    model: StyleModel,
    tiles: Option<Tiles>,
    /// The share of a frame's own statistics, where those of the frames before count too.
    own: Option<f64>,
    /// Made when the first picture of one colour comes.
    #[cfg(feature = "cuda")]
    host: Option<(cpu::Network, cpu::Arena)>,
}

impl<B: NetBackend<f32> + NetBackend<f16>> Layered<B> {
    /// Uploads a model. One that is too wide for layers in `f16` runs in `f32`. `tiles` fixes those of all layers, for
    /// tests.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn new(b: &B, model: &StyleModel, precision: Precision, tiles: Option<Tiles>) -> Result<Self> {
        let half = if precision == Precision::F16 { Runner::new(b, model, tiles)? } else { None };
        let mut all = Self {
            half,
            single: None,
            model: model.clone(),
            tiles,
            own: None,
            #[cfg(feature = "cuda")]
            host: None,
        };
        if all.half.is_none() {
            all.single(b)?;
        }
        Ok(all)
    }

    /// What it computes with.
    pub fn precision(&self) -> Precision {
        if self.half.is_some() { Precision::F16 } else { Precision::F32 }
    }

    /// The network on the CPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn host(&mut self) -> (&cpu::Network, &mut cpu::Arena) {
        let make = || (cpu::Network::new(&cpu_weights(&self.model)), cpu::Arena::new());
        let (network, arena) = self.host.get_or_insert_with(make);
        (network, arena)
    }

    fn single(&mut self, b: &B) -> Result<&mut Runner<B, f32>> {
        if self.single.is_none() {
            self.single = Runner::new(b, &self.model, self.tiles)?;
            self.single.iter_mut().for_each(|single| single.set_own(self.own));
        }
        let missing = || gpu_core::Error::value("model", "it has no last layer");
        Ok(self.single.as_mut().ok_or_else(missing)?)
    }

    /// Whose statistics norms use from now on, for pictures that come one by one; what was remembered is forgotten.
    pub fn set_statistics(&mut self, of: cpu::Statistics) {
        self.own = match of {
            cpu::Statistics::Frame => None,
            cpu::Statistics::Average(share) => Some(1.0 - share),
            cpu::Statistics::Frozen => Some(0.0),
        };
        self.half.iter_mut().for_each(|half| half.set_own(self.own));
        self.single.iter_mut().for_each(|single| single.set_own(self.own));
    }

    /// As [`StyleBackend::forward`](crate::StyleBackend).
    #[doc(hidden)]
    pub fn forward<S: Picture>(
        &mut self,
        b: &B,
        job: &Job,
        exact: bool,
        fill: &mut Fill<'_, B, S>,
        take: &mut Take<'_, B, S>,
    ) -> Result<()>
    where
        B: NetFirst<S, f16> + NetLast<S, f16> + NetFirst<S, f32> + NetLast<S, f32>,
    {
        // Statistics of frames that left the range would spoil those of the frames that follow.
        if exact && self.own.is_some() {
            self.half = None;
        }
        match &mut self.half {
            Some(half) if !exact => Ok(half.forward(b, job, fill, take)?),
            _ => Ok(self.single(b)?.forward(b, job, fill, take)?),
        }
    }

    /// Runs one picture from host memory with activations that have no room on the device elsewhere, some rows at a time;
    /// how many tiles left the range. The result has the bits of [`run`](Self::run) with [`Tiles::Wide`].
    ///
    /// # Errors
    /// When not even one row of tiles has room, a scratch file cannot be written, or the device is lost.
    pub fn run_in_strips<S: Picture>(&mut self, b: &B, job: &Job, exact: bool, x: &[S], y: &mut [S]) -> Result<u32> {
        if self.own.is_some() {
            let why =
                "frames that are larger than the memory have their own alone; give more memory, or smaller frames";
            return Err(gpu_core::Error::value("statistics", why).into());
        }
        match &mut self.half {
            Some(half) if !exact => Ok(half.in_strips(b, job, x, y)?),
            _ => {
                // What the other precision holds is given back too.
                if let Some(half) = &mut self.half {
                    half.forget();
                }
                Ok(self.single(b)?.in_strips(b, job, x, y)?)
            }
        }
    }

    /// Whether [`run_in_strips`](Self::run_in_strips) would compute activations of such a picture again for the statistics
    /// of each layer; else it keeps them with the host, having room for fewer rows.
    ///
    /// # Errors
    /// When a layer has no kernel for some rows.
    #[doc(hidden)]
    pub fn recomputes(&mut self, b: &B, job: &Job) -> Result<bool> {
        match &mut self.half {
            Some(half) => Ok(half.recomputes(b, job)?),
            None => Ok(self.single(b)?.recomputes(b, job)?),
        }
    }

    /// Runs values from host memory; how many tiles left the range.
    ///
    /// # Errors
    /// When memory runs out or the device is lost.
    pub fn run<S: Picture>(&mut self, b: &B, job: &Job, x: &[S], y: &mut [S]) -> Result<u32>
    where
        B: NetFirst<S, f16> + NetLast<S, f16> + NetFirst<S, f32> + NetLast<S, f32>,
    {
        let mut flag = [0];
        let fill = &mut |to: ViewMut<'_, B, S>| b.upload(x, to);
        let take = &mut |from: View<'_, B, S>, escaped: View<'_, B, u32>| {
            b.download(from, y)?;
            b.download(escaped, &mut flag)
        };
        self.forward(b, job, false, fill, take)?;
        Ok(flag[0])
    }

    /// What every layer with a norm gives, and the raw output.
    ///
    /// # Errors
    /// When memory runs out or the device is lost.
    pub fn activations(&mut self, b: &B, x: ArrayView4<'_, f32>) -> Result<(Vec<Activation>, Array4<f32>)> {
        let model = self.model.clone();
        match &self.half {
            Some(half) => shown(half, b, &model, x),
            None => shown(self.single(b)?, b, &model, x),
        }
    }
}

/// Runs pictures and finishes on the host what every layer gives.
fn shown<B: NetBackend<T>, T: NetElem>(
    runner: &Runner<B, T>,
    b: &B,
    model: &StyleModel,
    x: ArrayView4<'_, f32>,
) -> Result<(Vec<Activation>, Array4<f32>)> {
    let (n, _, h, w) = x.dim();
    let standard = x.as_standard_layout();
    let job = Job { n, h, w, policy: SizePolicy::Raw, rounding: Rounding::Truncate };
    let layers: Vec<LayerId> = model.layers().collect();
    let mut all: Vec<Activation> = Vec::new();
    let mut entry: Option<Array4<f32>> = None;
    let mut observer = |i: usize, scene: Scene, raw: View<'_, B, T>, stats: View<'_, B, T::Stat>| {
        let (mut values, mut sums) = (vec![T::from_f32(0.0); raw.len()], vec![T::Stat::default(); stats.len()]);
        b.download(raw, &mut values)?;
        b.download(stats, &mut sums)?;
        let (Some(&layer), Some(conv)) = (layers.get(i), layers.get(i).and_then(|&layer| model.conv(layer))) else {
            return Ok(());
        };
        let channels = conv.bias.len();
        let shape = (scene.n, channels, scene.h, scene.w);
        let at = |[n, c, y, x]: [usize; 4]| ((n * scene.h + y) * scene.w + x) * scene.c + c;
        // What centring the picture took from the first layer.
        let taps = conv.weight.len() / channels;
        let offset = |c: usize| -> f32 {
            let sum = |weights: &[f32]| weights.iter().map(|&w| f64::from(w)).sum::<f64>();
            let centre = if i == 0 { sum(&conv.weight[c * taps..(c + 1) * taps]) * f64::from(NET_CENTRE) } else { 0.0 };
            (centre + f64::from(conv.bias[c])) as f32
        };
        let offsets: Vec<f32> = (0..channels).map(offset).collect();
        let raw = Array4::from_shape_fn(shape, |(n, c, y, x)| values[at([n, c, y, x])].to_f32() + offsets[c]);
        let closes = matches!(layer, LayerId::Res { conv: 2, .. });
        let Some(norm) = model.norm(layer) else { return Ok(()) };
        let each = T::stats_len(scene.c);
        let coefficients: Vec<[f32; 3]> = (0..scene.n * channels)
            .map(|i| (&sums[i / channels * each..][..each], i % channels))
            .map(|(sums, c)| T::coefficients(sums, c, scene.c, scene.h * scene.w, [norm.gamma[c], norm.beta[c]]))
            .collect();
        let mut finished = Array4::from_shape_fn(shape, |(n, c, y, x)| {
            let z = values[at([n, c, y, x])].normalised(&coefficients[n * channels + c]);
            if closes { z } else { T::from_f32(z.max(0.0)).to_f32() }
        });
        if closes && let Some(entry) = &entry {
            finished.zip_mut_with(entry, |z, entry| *z = T::from_f32(*z + entry).to_f32());
        }
        if closes || layer == LayerId::Conv3 {
            entry = Some(finished.clone());
        }
        all.push(Activation { layer, raw, finished });
        Ok(())
    };
    let out = runner.observe(b, &job, standard.as_slice().unwrap_or_default(), &mut observer)?;
    let [oh, ow] = job.output();
    Ok((all, planes((n, 3, oh, ow), out)?))
}

#[cfg(feature = "cuda")]
pub use cuda::CudaNetwork;

#[cfg(feature = "cuda")]
mod cuda {
    //! The engine on NVIDIA GPUs.

    use gpu_core::{Backend as _, Capability, Cuda};
    use half::f16;
    use ndarray::{Array4, ArrayView4};

    use super::{Fill, Job, Layered, Picture, Take};
    use crate::engine::{Activation, EngineOptions, Precision, StyleBackend};
    use crate::processor::{no_layers, no_statistics};
    use crate::vit::{Vit, fits_f16};
    use crate::weights::StyleModel;
    use crate::{Result, cpu};

    /// A model's weights on a GPU.
    #[derive(Debug)]
    pub struct CudaNetwork(Kind);

    /// One of the two kinds of networks.
    #[derive(Debug)]
    enum Kind {
        Layers(Box<Layered<Cuda>>),
        Half(Box<Vit<Cuda, f16>>),
        Single(Box<Vit<Cuda, f32>>),
    }

    impl StyleBackend for Cuda {
        type Network = CudaNetwork;

        fn prepare(&self, model: &StyleModel, options: &EngineOptions) -> Result<CudaNetwork> {
            let half = self.supports(Capability::TensorF16) && self.supports(Capability::AsyncCopy);
            let precision = options.precision.unwrap_or(Precision::F16);
            let chosen = if half { precision } else { Precision::F32 };
            if model.transformer().is_some() {
                let fits = fits_f16(model);
                if chosen == Precision::F16 && !fits {
                    tracing::warn!("values of this model could leave the range of f16: using f32");
                }
                return Ok(CudaNetwork(match if fits { chosen } else { Precision::F32 } {
                    Precision::F16 => Kind::Half(Box::new(Vit::new(self, model)?)),
                    Precision::F32 => Kind::Single(Box::new(Vit::new(self, model)?)),
                }));
            }
            let network = Layered::new(self, model, chosen, None)?;
            if options.precision == Some(Precision::F16) && network.precision() == Precision::F32 {
                tracing::warn!(nc = model.nc(), device = %self.device().name, "no layers in f16 for this: using f32");
            }
            Ok(CudaNetwork(Kind::Layers(Box::new(network))))
        }

        fn precision(network: &CudaNetwork) -> Precision {
            match &network.0 {
                Kind::Layers(network) => network.precision(),
                Kind::Half(_) => Precision::F16,
                Kind::Single(_) => Precision::F32,
            }
        }

        fn set_statistics(network: &mut CudaNetwork, of: cpu::Statistics) -> Result<()> {
            match &mut network.0 {
                Kind::Layers(network) => network.set_statistics(of),
                Kind::Half(_) | Kind::Single(_) => no_statistics(of)?,
            }
            Ok(())
        }

        const EXACT_WHEN_FLAT: bool = false;

        fn host(network: &mut CudaNetwork) -> Option<(&cpu::Network, &mut cpu::Arena)> {
            // A transformer has no norm over a whole plane, which would make rounding errors of a flat one large.
            if let Kind::Layers(network) = &mut network.0 { Some(network.host()) } else { None }
        }

        fn forward<S: Picture>(
            &self,
            network: &mut CudaNetwork,
            job: &Job,
            exact: bool,
            fill: &mut Fill<'_, Self, S>,
            take: &mut Take<'_, Self, S>,
        ) -> Result<()> {
            match &mut network.0 {
                Kind::Layers(network) => network.forward(self, job, exact, fill, take),
                Kind::Half(network) => network.forward(self, job, fill, take),
                Kind::Single(network) => network.forward(self, job, fill, take),
            }
        }

        fn in_strips<S: Picture>(
            &self,
            network: &mut CudaNetwork,
            job: &Job,
            exact: bool,
            from: &[S],
            to: &mut [S],
        ) -> Result<Option<u32>> {
            match &mut network.0 {
                Kind::Layers(network) => Ok(Some(network.run_in_strips(self, job, exact, from, to)?)),
                Kind::Half(_) | Kind::Single(_) => Ok(None),
            }
        }

        fn activations(
            &self,
            network: &mut CudaNetwork,
            x: ArrayView4<'_, f32>,
        ) -> Result<(Vec<Activation>, Array4<f32>)> {
            let Kind::Layers(network) = &mut network.0 else { return Err(no_layers()) };
            network.activations(self, x)
        }
    }
}
