//! The tensors of a transformer on pictures, `stylevit-s`: names, shapes, and the check that all are there.

use std::collections::{BTreeMap, HashMap};

use super::names::{Placed, check_shapes};
use super::raw::{Dtype, RawTensor};
use super::{LoadOptions, Result, Tensor, WeightsError};

/// What `arch` says in a file of this kind.
pub(crate) const ARCH: &str = "stylevit-s";
/// Pixels of a patch's side.
const PATCH: usize = 8;
/// Channels of a decoded pixel.
const DECODED: usize = 16;

/// The sizes of a transformer on pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VitShape {
    /// Channels of a token.
    pub dim: usize,
    /// Heads of an attention.
    pub heads: usize,
    /// Blocks.
    pub blocks: usize,
    /// Inner width of the feed-forward parts.
    pub hidden: usize,
    /// Tokens of a window's side.
    pub window: usize,
}

impl VitShape {
    /// Whether the operations have room for it.
    fn possible(&self) -> bool {
        let Self { dim, heads, blocks, hidden, window } = *self;
        let head = dim.checked_div(heads).unwrap_or(0);
        dim.is_multiple_of(8)
            && (16..=4096).contains(&dim)
            && head * heads == dim
            && head.is_multiple_of(8)
            && (8..=crate::ops::MAX_HEAD).contains(&head)
            && (1..=64).contains(&blocks)
            && hidden.is_multiple_of(8)
            && (8..=1 << 14).contains(&hidden)
            && window.is_multiple_of(2)
            && (2..=64).contains(&window)
    }

    /// Pixels that the sides of a picture are continued to a multiple of.
    pub fn multiple(&self) -> usize {
        PATCH * self.window
    }

    /// Operations (a product and a sum count two) a pixel of the continued picture.
    pub fn flops_a_pixel(&self) -> f64 {
        let Self { dim, blocks, hidden, window, .. } = *self;
        let decoded = PATCH * PATCH * DECODED;
        let block = 4 * dim * dim + 2 * dim * hidden + 2 * dim * (window * window + 1);
        let token = 3 * PATCH * PATCH * dim + blocks * block + dim * decoded;
        let pixel = 9 * (DECODED * (DECODED + 3) + 3 * DECODED);
        2.0 * (token as f64 / (PATCH * PATCH) as f64 + pixel as f64)
    }

    /// Names and dimensions of all tensors.
    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let Self { dim, blocks, hidden, .. } = *self;
        let mut all =
            vec![("embed.weight".to_owned(), vec![dim, 3, PATCH, PATCH]), ("embed.bias".to_owned(), vec![dim])];
        for i in 1..=blocks {
            let mut pair = |name: &str, weight: Vec<usize>| {
                let outputs = weight[0];
                all.push((format!("blocks.{i}.{name}.weight"), weight));
                all.push((format!("blocks.{i}.{name}.bias"), vec![outputs]));
            };
            pair("norm1", vec![dim]);
            pair("attn.qkv", vec![3 * dim, dim]);
            pair("attn.out", vec![dim, dim]);
            pair("norm2", vec![dim]);
            pair("ffn.fc1", vec![hidden, dim]);
            pair("ffn.fc2", vec![dim, hidden]);
        }
        for (name, weight) in [
            ("norm", vec![dim]),
            ("linear", vec![PATCH * PATCH * DECODED, dim]),
            ("conv1", vec![DECODED, DECODED + 3, 3, 3]),
            ("conv2", vec![3, DECODED, 3, 3]),
        ] {
            let outputs = weight[0];
            all.push((format!("decode.{name}.weight"), weight));
            all.push((format!("decode.{name}.bias"), vec![outputs]));
        }
        all
    }

    /// From what a file says about itself.
    fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self> {
        let number = |key: &str| {
            let text = metadata.get(key).map_or("", String::as_str);
            text.parse().map_err(|_| {
                let detail = format!("the metadata says `{text}` for {key}; a {ARCH} has a number there");
                WeightsError::malformed("safetensors", detail)
            })
        };
        let shape = Self {
            dim: number("dim")?,
            heads: number("heads")?,
            blocks: number("blocks")?,
            hidden: number("hidden")?,
            window: number("window")?,
        };
        if number("patch")? != PATCH || !shape.possible() {
            return Err(WeightsError::malformed(
                "safetensors",
                format!("{shape:?} is a {ARCH} that cannot be worked on"),
            ));
        }
        Ok(shape)
    }

    /// For the metadata of a file.
    pub(crate) fn metadata(&self) -> Vec<(String, String)> {
        let Self { dim, heads, blocks, hidden, window } = *self;
        let numbers = [
            ("patch", PATCH),
            ("dim", dim),
            ("heads", heads),
            ("blocks", blocks),
            ("hidden", hidden),
            ("window", window),
        ];
        let mut all: Vec<_> = numbers.iter().map(|(key, n)| ((*key).to_owned(), n.to_string())).collect();
        all.push(("arch".to_owned(), ARCH.to_owned()));
        all
    }
}

/// Checks that exactly the tensors of one network are present and decodes them. `input_len` is the size of the file.
pub(crate) fn assemble(
    raw: Vec<RawTensor<'_>>,
    metadata: &BTreeMap<String, String>,
    input_len: usize,
    options: LoadOptions,
) -> Result<(VitShape, Vec<Tensor>)> {
    let shape = VitShape::from_metadata(metadata)?;
    let specs = shape.tensors();
    let found: HashMap<String, &RawTensor<'_>> = raw.iter().map(|t| (t.name.clone(), t)).collect();
    let missing: Vec<String> =
        specs.iter().map(|(name, _)| name).filter(|name| !found.contains_key(*name)).cloned().collect();
    if !missing.is_empty() {
        return Err(WeightsError::MissingTensor { names: missing });
    }
    if found.len() > specs.len() && !options.allow_extra {
        let known: std::collections::HashSet<&str> = specs.iter().map(|(name, _)| name.as_str()).collect();
        let mut names: Vec<String> = found.keys().filter(|name| !known.contains(name.as_str())).cloned().collect();
        names.sort_unstable();
        return Err(WeightsError::UnexpectedTensor { names });
    }
    let ordered: Vec<Placed<'_, '_>> = check_shapes(specs, &found, input_len)?;
    let tensors = ordered
        .into_iter()
        .map(|(name, shape, tensor)| {
            let data = tensor.decode(&name)?;
            Ok(Tensor { name, shape, data, source: tensor.dtype })
        })
        .collect::<Result<_>>()?;
    Ok((shape, tensors))
}

/// Tensors without meaning but of sensible size, the same for the same arguments.
pub(crate) fn random(shape: VitShape, mut unit: impl FnMut(usize, usize) -> f32) -> Vec<Tensor> {
    let tensor = |(i, (name, shape)): (usize, (String, Vec<usize>))| {
        let count: usize = shape.iter().product();
        let inputs: usize = shape.iter().skip(1).product();
        let gamma = shape.len() == 1 && name.contains("norm") && name.ends_with("weight");
        let gain = if shape.len() == 1 { 0.1 } else { 1.0 / (inputs as f32).sqrt() };
        let data = (0..count).map(|j| f32::from(u8::from(gamma)) + gain * unit(i, j)).collect();
        Tensor { name, shape, data, source: Dtype::F32 }
    };
    shape.tensors().into_iter().enumerate().map(tensor).collect()
}
