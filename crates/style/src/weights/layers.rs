//! The convolution layers of the network, in order, with their names and shapes.

use std::fmt;

/// The largest accepted number of residual blocks.
pub const MAX_RESIDUAL_BLOCKS: usize = 32;

/// One convolution of the network together with the instance norm that follows it.
///
/// The order of the variants, with the residual blocks expanded, is the order of execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerId {
    /// 9×9 from RGB to the base width.
    Conv1,
    /// 3×3, stride 2.
    Conv2,
    /// 3×3, stride 2.
    Conv3,
    /// A 3×3 convolution of a residual block.
    Res {
        /// The block, counted from 1 as in the tensor names.
        block: u8,
        /// Which of its two convolutions: 1 or 2.
        conv: u8,
    },
    /// Nearest ×2, then 3×3.
    Deconv1,
    /// Nearest ×2, then 3×3.
    Deconv2,
    /// 9×9 to RGB; the only layer without a norm.
    Deconv3,
}

impl LayerId {
    /// All layers of a network with `blocks` residual blocks, in order of execution.
    pub fn all(blocks: usize) -> impl Iterator<Item = Self> {
        let blocks = blocks.min(MAX_RESIDUAL_BLOCKS) as u8;
        [Self::Conv1, Self::Conv2, Self::Conv3]
            .into_iter()
            .chain((1..=blocks).flat_map(|block| [1, 2].map(|conv| Self::Res { block, conv })))
            .chain([Self::Deconv1, Self::Deconv2, Self::Deconv3])
    }

    /// The position in [`LayerId::all`], if a network with `blocks` residual blocks has this layer.
    pub fn index(self, blocks: usize) -> Option<usize> {
        match self {
            Self::Conv1 => Some(0),
            Self::Conv2 => Some(1),
            Self::Conv3 => Some(2),
            Self::Res { block, conv } => {
                let (block, conv) = (usize::from(block), usize::from(conv));
                ((1..=blocks).contains(&block) && (1..=2).contains(&conv)).then(|| 2 * block + conv)
            }
            Self::Deconv1 => Some(3 + 2 * blocks),
            Self::Deconv2 => Some(4 + 2 * blocks),
            Self::Deconv3 => Some(5 + 2 * blocks),
        }
    }

    /// The canonical name of the convolution, without `.weight` or `.bias`.
    pub fn conv_name(self) -> String {
        match self {
            Self::Conv1 => "conv1.conv2d".into(),
            Self::Conv2 => "conv2.conv2d".into(),
            Self::Conv3 => "conv3.conv2d".into(),
            Self::Res { block, conv } => format!("res{block}.conv{conv}.conv2d"),
            Self::Deconv1 => "deconv1.conv2d".into(),
            Self::Deconv2 => "deconv2.conv2d".into(),
            Self::Deconv3 => "deconv3.conv2d".into(),
        }
    }

    /// The canonical name of the norm, without `.weight` or `.bias`.
    pub fn norm_name(self) -> Option<String> {
        match self {
            Self::Conv1 => Some("in1".into()),
            Self::Conv2 => Some("in2".into()),
            Self::Conv3 => Some("in3".into()),
            Self::Res { block, conv } => Some(format!("res{block}.in{conv}")),
            Self::Deconv1 => Some("in4".into()),
            Self::Deconv2 => Some("in5".into()),
            Self::Deconv3 => None,
        }
    }

    /// The shape `[out, in, kh, kw]` of the convolution at base width `nc`.
    pub fn weight_shape(self, nc: usize) -> [usize; 4] {
        let (a, b, c) = (nc, nc.saturating_mul(2), nc.saturating_mul(4));
        let k = self.kernel();
        match self {
            Self::Conv1 => [a, 3, k, k],
            Self::Conv2 => [b, a, k, k],
            Self::Conv3 => [c, b, k, k],
            Self::Res { .. } => [c, c, k, k],
            Self::Deconv1 => [b, c, k, k],
            Self::Deconv2 => [a, b, k, k],
            Self::Deconv3 => [3, a, k, k],
        }
    }

    /// The side of the square kernel: 9 for the first and last layer, else 3.
    pub fn kernel(self) -> usize {
        if matches!(self, Self::Conv1 | Self::Deconv3) { 9 } else { 3 }
    }

    /// The stride in both directions.
    pub fn stride(self) -> usize {
        if matches!(self, Self::Conv2 | Self::Conv3) { 2 } else { 1 }
    }

    /// Whether nearest ×2 upsampling comes before the padding.
    pub fn upsamples(self) -> bool {
        matches!(self, Self::Deconv1 | Self::Deconv2)
    }
}

/// Writes the canonical name of the convolution.
impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.conv_name())
    }
}

/// The canonical name and shape of every tensor of a network, layer by layer: convolution weight
/// and bias, then norm weight and bias.
pub(crate) fn tensor_specs(nc: usize, blocks: usize) -> Vec<(String, Vec<usize>)> {
    let mut specs = Vec::with_capacity(4 * (6 + 2 * blocks.min(MAX_RESIDUAL_BLOCKS)));
    for layer in LayerId::all(blocks) {
        let shape = layer.weight_shape(nc);
        let conv = layer.conv_name();
        specs.push((format!("{conv}.weight"), shape.to_vec()));
        specs.push((format!("{conv}.bias"), vec![shape[0]]));
        if let Some(norm) = layer.norm_name() {
            specs.push((format!("{norm}.weight"), vec![shape[0]]));
            specs.push((format!("{norm}.bias"), vec![shape[0]]));
        }
    }
    specs
}
