//! Running a network on pictures of any size.

use gpu_core::{Backend, Cpu};
use ndarray::{Array4, ArrayView4, s};

use crate::cpu::{self, SMALLEST_SIDE};
use crate::weights::StyleModel;
use crate::{Error, Result};

/// What becomes of the surplus when a side is no multiple of four: the network's own output is up to three rows and
/// columns larger than its input, at the bottom and right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SizePolicy {
    /// Cut to the size of the input.
    #[default]
    Crop,
    /// Leave it, as the original program does.
    Raw,
    /// Continue the input by reflection to a multiple of four, then cut. The added pixels count in the statistics.
    Pad,
}

/// A backend that can run the network.
pub trait StyleBackend: Backend {
    /// The weights as the backend wants them, with working memory.
    type Network: std::fmt::Debug;

    /// Packs a model's weights.
    ///
    /// # Errors
    /// When the device has no room for them.
    fn prepare(&self, model: &StyleModel) -> Result<Self::Network>;

    /// Runs pictures `[b, 3, h, w]`, RGB in 0..255, into the raw output `[b, 3, 4⌈h/4⌉, 4⌈w/4⌉]`, which is not clamped.
    /// Both sides are at least five.
    ///
    /// # Errors
    /// When memory runs out or the device is lost.
    fn run(&self, network: &mut Self::Network, x: ArrayView4<'_, f32>) -> Result<Array4<f32>>;
}

impl StyleBackend for Cpu {
    type Network = CpuNetwork;

    fn prepare(&self, model: &StyleModel) -> Result<CpuNetwork> {
        Ok(CpuNetwork { network: cpu::Network::new(&cpu_weights(model)), arena: cpu::Arena::new() })
    }

    fn run(&self, CpuNetwork { network, arena }: &mut CpuNetwork, x: ArrayView4<'_, f32>) -> Result<Array4<f32>> {
        let (batch, channels, height, width) = x.dim();
        let standard = x.as_standard_layout();
        let samples = standard.as_slice().unwrap_or_default();
        let shape = |got: Vec<usize>| Error::Shape { what: "x", expected: vec![batch, 3, height, width], got };
        let raw = network
            .run(arena, samples, [batch, channels, height, width])
            .map_err(|_| shape(vec![batch, channels, height, width]))?;
        let [oh, ow] = cpu::Network::output_size(height, width);
        Array4::from_shape_vec((batch, 3, oh, ow), raw).map_err(|_| shape(vec![batch, 3, oh, ow]))
    }
}

/// Weights packed for this processor, and working memory that is kept between pictures.
#[derive(Debug)]
pub struct CpuNetwork {
    network: cpu::Network,
    arena: cpu::Arena,
}

/// The model's parameters in the order of its layers.
fn cpu_weights(model: &StyleModel) -> cpu::Weights {
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

/// A network on one backend, ready for pictures.
///
/// ```
/// use gpu_core::Cpu;
/// use ndarray::Array4;
/// use style::{Engine, SizePolicy, weights::StyleModel};
///
/// // `StyleModel::load("candy.safetensors")` reads real weights.
/// let model = StyleModel::random(4, 1, 7);
/// let mut engine = Engine::new(&Cpu::new(), &model)?;
/// let picture = Array4::from_shape_fn((1, 3, 9, 13), |(_, c, y, x)| (c * 80 + y * 5 + x) as f32);
/// let styled = engine.run(picture.view(), SizePolicy::Crop)?;
/// assert_eq!(styled.dim(), (1, 3, 9, 13));
/// # Ok::<(), style::Error>(())
/// ```
#[derive(Debug)]
pub struct Engine<B: StyleBackend> {
    backend: B,
    network: B::Network,
}

impl<B: StyleBackend> Engine<B> {
    /// Packs a model's weights for a backend.
    ///
    /// # Errors
    /// When the device has no room for them.
    pub fn new(backend: &B, model: &StyleModel) -> Result<Self> {
        Ok(Self { backend: backend.clone(), network: backend.prepare(model)? })
    }

    /// Runs pictures `[b, 3, h, w]`, RGB in 0..255 as `f32`; the result has the size that the policy says and is not
    /// clamped. Pictures of a batch do not influence each other.
    ///
    /// # Errors
    /// [`Error::InputTooSmall`] when a side is shorter than five, [`Error::Shape`] when there are not three channels.
    pub fn run(&mut self, x: ArrayView4<'_, f32>, policy: SizePolicy) -> Result<Array4<f32>> {
        let (batch, channels, height, width) = x.dim();
        if channels != 3 {
            let (expected, got) = (vec![batch, 3, height, width], vec![batch, channels, height, width]);
            return Err(Error::Shape { what: "x", expected, got });
        }
        if height.min(width) < SMALLEST_SIDE {
            return Err(Error::InputTooSmall { height, width, smallest: SMALLEST_SIDE });
        }
        let raw = match policy {
            SizePolicy::Pad if height % 4 != 0 || width % 4 != 0 => {
                let padded = padded(x);
                self.backend.run(&mut self.network, padded.view())?
            }
            _ => self.backend.run(&mut self.network, x)?,
        };
        if policy == SizePolicy::Raw {
            return Ok(raw);
        }
        Ok(if raw.dim() == x.dim() { raw } else { raw.slice(s![.., .., ..height, ..width]).to_owned() })
    }
}

/// Continues pictures by reflection, at the bottom and right, to sides that are multiples of four.
fn padded(x: ArrayView4<'_, f32>) -> Array4<f32> {
    let (batch, channels, height, width) = x.dim();
    let inside = |i: usize, n: usize| if i < n { i } else { 2 * (n - 1) - i };
    Array4::from_shape_fn((batch, channels, height.next_multiple_of(4), width.next_multiple_of(4)), |(b, c, i, j)| {
        x[[b, c, inside(i, height), inside(j, width)]]
    })
}
