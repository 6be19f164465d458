//! The weights of one network.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use half::f16;

use super::layers::{LayerId, tensor_specs};
use super::names::{Network, assemble};
use super::raw::{Dtype, numel};
use super::transformer::{self, VitShape};
use super::{MAX_RESIDUAL_BLOCKS, Result, WeightsError, detect, onnx, pth, safetensors};

/// The kind of file that weights came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Container {
    /// `.safetensors`.
    Safetensors,
    /// A PyTorch checkpoint in the zip form, of release 1.6 or later.
    TorchZip,
    /// A PyTorch checkpoint of the form before release 1.6.
    TorchLegacy,
    /// An ONNX graph.
    Onnx,
    /// No file: blended or generated.
    Memory,
}

/// How strictly a file is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Drop tensors that the network does not have, in place of refusing the file.
    pub allow_extra: bool,
}

/// A tensor of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The canonical name.
    pub name: String,
    /// The dimensions; `[out, in, kh, kw]` for a convolution.
    pub shape: Vec<usize>,
    /// The values in row-major order.
    pub data: Vec<f32>,
    /// The number format that the values were stored in.
    pub source: Dtype,
}

/// The parameters of a convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvWeights<'a> {
    /// The kernel in the order `[out, in, kh, kw]`.
    pub weight: &'a [f32],
    /// The dimensions of `weight`.
    pub shape: [usize; 4],
    /// One value for each output channel.
    pub bias: &'a [f32],
}

/// The parameters of an instance norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormWeights<'a> {
    /// The factor of each channel.
    pub gamma: &'a [f32],
    /// The offset of each channel.
    pub beta: &'a [f32],
}

/// The checked weights of one style network, in f32 whatever the file held.
#[derive(Clone, Debug)]
pub struct StyleModel {
    pub(super) nc: usize,
    pub(super) blocks: usize,
    /// A transformer has no residual blocks, and a width of zero.
    pub(super) vit: Option<VitShape>,
    pub(super) tensors: Vec<Tensor>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) container: Container,
}

impl StyleModel {
    /// Reads a weight file of any accepted kind.
    ///
    /// # Errors
    /// [`WeightsError::Io`] when it cannot be read; else what is wrong in it, by name. Never is a part of it loaded.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(path, LoadOptions::default())
    }

    /// Reads a weight file of any accepted kind.
    ///
    /// The file is held in memory while it is read, besides the bounded memory of
    /// [`StyleModel::from_bytes`].
    ///
    /// # Errors
    /// As [`StyleModel::load`].
    pub fn load_with(path: impl AsRef<Path>, options: LoadOptions) -> Result<Self> {
        let path = path.as_ref();
        let io = |source| WeightsError::Io { path: path.to_owned(), source };
        let mut file = std::fs::File::open(path).map_err(io)?;
        let length = usize::try_from(file.metadata().map_err(io)?.len()).unwrap_or(0);
        let mut bytes = Vec::new();
        // A device or pipe has no length; a file too large for memory must not abort the process.
        bytes.try_reserve_exact(length).map_err(|_| io(std::io::ErrorKind::OutOfMemory.into()))?;
        file.read_to_end(&mut bytes).map_err(io)?;
        let name = path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
        Self::from_bytes_with(&bytes, &name, options)
    }

    /// Reads the content of a weight file; `name` is the file's name, used only where the bytes
    /// leave a choice. Allocates at most twice the size of `bytes` plus 64 MB.
    ///
    /// # Errors
    /// What is wrong in it, by name.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self> {
        Self::from_bytes_with(bytes, name, LoadOptions::default())
    }

    /// Like [`StyleModel::from_bytes`], with options.
    ///
    /// # Errors
    /// As [`StyleModel::from_bytes`].
    pub fn from_bytes_with(bytes: &[u8], name: &str, options: LoadOptions) -> Result<Self> {
        let container = detect::container(bytes, name)?;
        let (raw, metadata) = match container {
            Container::Safetensors => safetensors::read(bytes)?,
            Container::TorchZip => (pth::read_zip(bytes)?, BTreeMap::new()),
            Container::TorchLegacy => (pth::read_legacy(bytes)?, BTreeMap::new()),
            Container::Onnx | Container::Memory => onnx::read(bytes)?,
        };
        if metadata.get("arch").is_some_and(|arch| arch == transformer::ARCH) {
            let (shape, tensors) = transformer::assemble(raw, &metadata, bytes.len(), options)?;
            return Ok(Self { nc: 0, blocks: 0, vit: Some(shape), tensors, metadata, container });
        }
        let Network { nc, blocks, tensors } = assemble(raw, bytes.len(), options)?;
        Ok(Self { nc, blocks, vit: None, tensors, metadata, container })
    }

    /// Weights without meaning but of sensible size, for tests: the same for the same arguments.
    ///
    /// The width is taken as 1 to 512 and the number of residual blocks as 1 to 32.
    pub fn random(nc: usize, blocks: usize, seed: u64) -> Self {
        let (nc, blocks) = (nc.clamp(1, 512), blocks.clamp(1, MAX_RESIDUAL_BLOCKS));
        let mut tensors = Vec::new();
        for (i, (name, shape)) in tensor_specs(nc, blocks).into_iter().enumerate() {
            let count = numel(&shape).unwrap_or(0);
            // Unit gain keeps the activations of a deep network in range.
            let fan_in: usize = shape.iter().skip(1).product();
            let gain = 1.0 / (fan_in as f32).sqrt();
            let gamma = !name.contains("conv") && name.ends_with(".weight");
            let stream = mix(seed ^ mix(i as u64 + 1));
            let value = |j: usize| {
                let bits = mix(stream.wrapping_add(j as u64));
                // 24 bits are exact in f32; the interval is [-1, 1).
                let unit = (bits >> 40) as f32 / 8_388_608.0 - 1.0;
                if gamma { 1.0 + 0.5 * unit } else { gain * unit }
            };
            tensors.push(Tensor { name, shape, data: (0..count).map(value).collect(), source: Dtype::F32 });
        }
        Self { nc, blocks, vit: None, tensors, metadata: BTreeMap::new(), container: Container::Memory }
    }

    /// A transformer's weights without meaning but of sensible size, for tests: the same for the same arguments.
    pub fn random_transformer(shape: VitShape, seed: u64) -> Self {
        let unit = |i: usize, j: usize| {
            let bits = mix(mix(seed ^ mix(i as u64 + 1)).wrapping_add(j as u64));
            (bits >> 40) as f32 / 8_388_608.0 - 1.0
        };
        let tensors = transformer::random(shape, unit);
        Self { nc: 0, blocks: 0, vit: Some(shape), tensors, metadata: BTreeMap::new(), container: Container::Memory }
    }

    /// The sizes of a transformer; none for Johnson's network, which [`nc`](Self::nc) and the layers belong to.
    pub fn transformer(&self) -> Option<VitShape> {
        self.vit
    }

    /// The base width: 32 in all public models; 0 for a transformer.
    pub fn nc(&self) -> usize {
        self.nc
    }

    /// The number of residual blocks: 5 in all public models.
    pub fn residual_blocks(&self) -> usize {
        self.blocks
    }

    /// The layers in order of execution; a transformer has none of these.
    pub fn layers(&self) -> impl Iterator<Item = LayerId> + use<> {
        LayerId::all(self.blocks).take(if self.vit.is_some() { 0 } else { usize::MAX })
    }

    /// The convolution of a layer; none if the network has no such layer.
    pub fn conv(&self, layer: LayerId) -> Option<ConvWeights<'_>> {
        let [weight, bias] = self.pair(layer, 0)?;
        Some(ConvWeights { weight: &weight.data, shape: layer.weight_shape(self.nc), bias: &bias.data })
    }

    /// The instance norm after a layer; none for the last layer.
    pub fn norm(&self, layer: LayerId) -> Option<NormWeights<'_>> {
        let [gamma, beta] = self.pair(layer, 2)?;
        Some(NormWeights { gamma: &gamma.data, beta: &beta.data })
    }

    /// All tensors, layer by layer: convolution weight and bias, norm weight and bias.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// A tensor by its canonical name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|t| t.name == name)
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// What the file says about itself, to be changed before saving.
    pub fn metadata_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.metadata
    }

    /// The kind of file that the weights came from.
    pub fn container(&self) -> Container {
        self.container
    }

    /// The number of values.
    pub fn parameter_count(&self) -> usize {
        self.tensors.iter().map(|t| t.data.len()).sum()
    }

    /// The number format that convolutions and matrices were stored in, if all share one.
    pub fn source_dtype(&self) -> Option<Dtype> {
        let mut kinds = self.tensors.iter().filter(|t| t.shape.len() > 1).map(|t| t.source);
        let first = kinds.next()?;
        kinds.all(|k| k == first).then_some(first)
    }

    /// Whether every weight of convolutions and matrices is exactly an f16 number, so that a half-precision path
    /// loses nothing by storing it as such.
    pub fn f16_exact(&self) -> bool {
        let exact = |x: &f32| f16::from_f32(*x).to_f32() == *x;
        let mut kernels = self.tensors.iter().filter(|t| t.shape.len() > 1);
        kernels.all(|t| t.source == Dtype::F16 || t.data.iter().all(exact))
    }

    /// Two tensors of a layer, from `first` on in the order of [`StyleModel::tensors`].
    fn pair(&self, layer: LayerId, first: usize) -> Option<&[Tensor; 2]> {
        if self.vit.is_some() {
            return None;
        }
        let at = 4 * layer.index(self.blocks)? + first;
        self.tensors.get(at..at + 2)?.first_chunk()
    }
}

/// The finaliser of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
