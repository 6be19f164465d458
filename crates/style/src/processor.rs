//! The networks on the processor.

use gpu_core::{Backend as _, Cpu, View, ViewMut};
use ndarray::{Array4, ArrayView4};

use crate::cpu;
use crate::engine::{Activation, EngineOptions, Precision, StyleBackend};
use crate::net::{Fill, Job, Picture, Take};
use crate::vit::Vit;
use crate::weights::{LayerId, StyleModel};
use crate::{Error, Result};

/// Weights packed for this processor, and working memory that is kept between pictures.
#[derive(Debug)]
pub struct CpuNetwork(Kind);

/// One of the two kinds of networks.
#[derive(Debug)]
enum Kind {
    Johnson(Box<Johnson>),
    Transformer(Box<Vit<Cpu, f32>>),
}

#[derive(Debug)]
struct Johnson {
    network: cpu::Network,
    arena: cpu::Arena,
    biases: Vec<Vec<f32>>,
    /// Whether activations of the last pictures had no room.
    spilled: bool,
}

impl StyleBackend for Cpu {
    type Network = CpuNetwork;

    fn prepare(&self, model: &StyleModel, _: &EngineOptions) -> Result<CpuNetwork> {
        if model.transformer().is_some() {
            return Ok(CpuNetwork(Kind::Transformer(Box::new(Vit::new(self, model)?))));
        }
        let weights = cpu_weights(model);
        let network = cpu::Network::new(&weights);
        let johnson = Johnson { network, arena: cpu::Arena::new(), biases: weights.biases, spilled: false };
        Ok(CpuNetwork(Kind::Johnson(Box::new(johnson))))
    }

    fn precision(_: &CpuNetwork) -> Precision {
        Precision::F32
    }

    fn set_statistics(network: &mut CpuNetwork, of: cpu::Statistics) -> Result<()> {
        match &mut network.0 {
            Kind::Johnson(johnson) => johnson.arena.set_statistics(of),
            Kind::Transformer(_) => no_statistics(of)?,
        }
        Ok(())
    }

    const EXACT_WHEN_FLAT: bool = true;

    fn host(_: &mut CpuNetwork) -> Option<(&cpu::Network, &mut cpu::Arena)> {
        None
    }

    fn forward<S: Picture>(
        &self,
        CpuNetwork(kind): &mut CpuNetwork,
        job: &Job,
        _: bool,
        fill: &mut Fill<'_, Self, S>,
        take: &mut Take<'_, Self, S>,
    ) -> Result<()> {
        let Johnson { network, arena, spilled, .. } = match kind {
            Kind::Johnson(johnson) => &mut **johnson,
            Kind::Transformer(vit) => return vit.forward(self, job, fill, take),
        };
        let (mut x, mut y) = (self.scratch::<S>(job.input_len())?, self.zeros::<S>(job.output_len())?);
        fill(ViewMut::of(&mut x))?;
        // Activations that have no room go to scratch files, some rows at a time.
        let [h, w] = job.scene();
        let (need, memory) = (network.memory(h, w), self.memory());
        let room = memory.limit.saturating_sub(memory.used).min(memory.free.saturating_add(arena.bytes()));
        let strips = (need > room).then(|| cpu::Strips { folder: std::env::temp_dir(), bytes: room / 4 });
        *spilled = strips.is_some();
        if *spilled {
            tracing::info!(need, room, "the picture is larger than the memory: working in strips");
        }
        arena.set_strips(strips);
        S::on_cpu(network, arena, job, self.read(View::of(&x))?, self.write(ViewMut::of(&mut y))?)?;
        drop(x);
        let flag = self.zeros(1)?;
        Ok(take(View::of(&y), View::of(&flag))?)
    }

    fn spilled(network: &CpuNetwork) -> bool {
        matches!(&network.0, Kind::Johnson(johnson) if johnson.spilled)
    }

    fn activations(&self, network: &mut CpuNetwork, x: ArrayView4<'_, f32>) -> Result<(Vec<Activation>, Array4<f32>)> {
        let Kind::Johnson(johnson) = &mut network.0 else { return Err(no_layers()) };
        let Johnson { network, arena, biases, .. } = &mut **johnson;
        let (n, channels, h, w) = x.dim();
        let standard = x.as_standard_layout();
        let blocks = (biases.len() - 6) / 2;
        let layers: Vec<LayerId> = LayerId::all(blocks).collect();
        let mut parts = vec![[Vec::new(), Vec::new()]; biases.len() - 1];
        let mut observe = |_: usize, layer: usize, stage: cpu::Stage, values: Vec<f32>| match stage {
            cpu::Stage::Raw => {
                let size = values.len() / biases[layer].len();
                let biased = values.iter().enumerate().map(|(i, v)| v + biases[layer][i / size]);
                parts[layer][0].extend(biased);
            }
            cpu::Stage::Finished => parts[layer][1].extend(values),
            _ => {}
        };
        let samples = standard.as_slice().unwrap_or_default();
        let refused = |e: cpu::ShapeError| gpu_core::Error::value("x", e.to_string());
        let out = network.activations(arena, samples, [n, channels, h, w], &mut observe).map_err(refused)?;
        let [oh, ow] = cpu::Network::output_size(h, w);
        let mut all = Vec::new();
        for (i, [raw, finished]) in parts.into_iter().enumerate() {
            let [lh, lw] = layer_size(layers[i], [h, w]);
            let shape = (n, biases[i].len(), lh, lw);
            all.push(Activation { layer: layers[i], raw: planes(shape, raw)?, finished: planes(shape, finished)? });
        }
        Ok((all, planes((n, 3, oh, ow), out)?))
    }
}

/// A transformer uses no statistics of planes.
pub(crate) fn no_statistics(of: cpu::Statistics) -> Result<()> {
    if of == cpu::Statistics::Frame {
        return Ok(());
    }
    let why = "a transformer's norms are those of tokens, and have nothing to remember; leave it out";
    Err(gpu_core::Error::value("statistics", why).into())
}

/// A transformer has other steps, which [`Vit::observe`] shows.
pub(crate) fn no_layers() -> Error {
    gpu_core::Error::value("model", "a transformer has none of these layers; `Vit::observe` shows its steps").into()
}

/// Rows and columns of a layer's output.
pub(crate) fn layer_size(layer: LayerId, size: [usize; 2]) -> [usize; 2] {
    size.map(|side| match layer {
        LayerId::Conv1 => side,
        LayerId::Conv2 => side.div_ceil(2),
        LayerId::Conv3 | LayerId::Res { .. } => side.div_ceil(4),
        LayerId::Deconv1 => 2 * side.div_ceil(4),
        LayerId::Deconv2 | LayerId::Deconv3 => 4 * side.div_ceil(4),
    })
}

/// Values as an array.
pub(crate) fn planes(shape: (usize, usize, usize, usize), values: Vec<f32>) -> Result<Array4<f32>> {
    let (n, c, h, w) = shape;
    let got = vec![values.len()];
    Array4::from_shape_vec(shape, values).map_err(|_| Error::Shape { what: "layer", expected: vec![n, c, h, w], got })
}

/// The model's parameters in the order of its layers.
pub(crate) fn cpu_weights(model: &StyleModel) -> cpu::Weights {
    let mut weights =
        cpu::Weights { base_channels: model.nc(), residual_blocks: model.residual_blocks(), ..cpu::Weights::default() };
    for layer in model.layers() {
        if let Some(conv) = model.conv(layer) {
            weights.kernels.push(conv.weight.to_vec());
            weights.biases.push(conv.bias.to_vec());
        }
        if let Some(norm) = model.norm(layer) {
            weights.gammas.push(norm.gamma.to_vec());
            weights.betas.push(norm.beta.to_vec());
        }
    }
    weights
}
