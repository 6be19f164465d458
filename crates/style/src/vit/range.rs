//! Whether activations of a transformer can leave the range of `f16`, from its weights alone.
//!
//! A layer norm of `D` values gives `x̂` with `‖x̂‖₂ ≤ √D`, so that a map behind it gives at most
//! `|b + W β| + √D ‖W ∘ γ‖₂` (Cauchy and Schwarz); attention gives means of its values; GELU makes nothing larger; a sum
//! is at most the sum of its parts. Bounds are those of exact arithmetic on pictures of 0..255; roundings are covered by
//! the distance that is kept from the end of the range.

use crate::weights::StyleModel;

/// What bounds may reach: half of the range of `f16`.
const MOST: f64 = 32_752.0;

/// Weights and bias of a map.
struct Map<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
}

impl<'a> Map<'a> {
    fn of(model: &'a StyleModel, name: &str) -> Option<Self> {
        let values = |part: &str| Some(model.tensor(&format!("{name}.{part}"))?.data.as_slice());
        Some(Self { weight: values("weight")?, bias: values("bias")? })
    }

    fn rows(&self) -> impl Iterator<Item = (&[f32], f64)> {
        let inputs = (self.weight.len() / self.bias.len().max(1)).max(1);
        self.weight.chunks_exact(inputs).zip(self.bias).map(|(row, &bias)| (row, f64::from(bias)))
    }

    /// The largest magnitudes that come out for inputs of these; each input meets `weight.len() / inputs` weights.
    fn of_magnitudes(&self, inputs: &[f64]) -> Vec<f64> {
        let sum = |(row, bias): (&[f32], f64)| {
            let taps = (row.len() / inputs.len().max(1)).max(1);
            let products = row.iter().enumerate().map(|(i, w)| f64::from(w.abs()) * inputs[i / taps]);
            products.sum::<f64>() + bias.abs()
        };
        self.rows().map(sum).collect()
    }

    /// The same behind a layer norm.
    fn of_norm(&self, norm: &Map<'_>) -> Vec<f64> {
        let magnitude = |(row, bias): (&[f32], f64)| {
            let (mut shift, mut square) = (bias, 0.0);
            for ((w, gamma), beta) in row.iter().zip(norm.weight).zip(norm.bias) {
                shift += f64::from(*w) * f64::from(*beta);
                square += (f64::from(*w) * f64::from(*gamma)).powi(2);
            }
            shift.abs() + (row.len() as f64 * square).sqrt()
        };
        self.rows().map(magnitude).collect()
    }

    /// What a layer norm with these scales gives at most.
    fn as_norm(&self) -> Vec<f64> {
        let root = (self.weight.len() as f64).sqrt();
        self.weight.iter().zip(self.bias).map(|(g, b)| root * f64::from(g.abs()) + f64::from(b.abs())).collect()
    }
}

/// The largest magnitude that any activation can have; none when a tensor is missing.
fn largest(model: &StyleModel) -> Option<f64> {
    let shape = model.transformer()?;
    let mut most = 0.0_f64;
    let mut seen = |values: &[f64]| most = values.iter().copied().fold(most, f64::max);
    let map = |name: &str| Map::of(model, name);
    // (x − 128) / 64 of 0..255 is 2 at most, and a position 1.
    let mut tokens: Vec<f64> = map("embed")?.of_magnitudes(&[2.0; 192]).iter().map(|v| v + 1.0).collect();
    seen(&tokens);
    let add = |tokens: &mut Vec<f64>, more: Vec<f64>| tokens.iter_mut().zip(more).for_each(|(t, v)| *t += v);
    for block in 1..=shape.blocks {
        let part = |name: &str| map(&format!("blocks.{block}.{name}"));
        let (norm1, norm2) = (part("norm1")?, part("norm2")?);
        let (qkv, hidden) = (part("attn.qkv")?.of_norm(&norm1), part("ffn.fc1")?.of_norm(&norm2));
        add(&mut tokens, part("attn.out")?.of_magnitudes(qkv.get(2 * shape.dim..)?));
        seen(&tokens);
        add(&mut tokens, part("ffn.fc2")?.of_magnitudes(&hidden));
        for values in [&norm1.as_norm(), &norm2.as_norm(), &qkv, &hidden, &tokens] {
            seen(values);
        }
    }
    let norm = map("decode.norm")?;
    let spread = map("decode.linear")?.of_norm(&norm);
    // Sixteen channels of 64 pixels, and the three colours.
    let channel = |c: usize| spread.iter().skip(c).step_by(16).copied().fold(0.0, f64::max);
    let features: Vec<f64> = (0..16).map(channel).chain([2.0; 3]).collect();
    let inner = map("decode.conv1")?.of_magnitudes(&features);
    let colours = map("decode.conv2")?.of_magnitudes(&inner);
    for values in [&norm.as_norm(), &spread, &inner, &colours] {
        seen(values);
    }
    Some(most)
}

/// Whether no activation can leave the range of `f16`.
pub(crate) fn fits_f16(model: &StyleModel) -> bool {
    largest(model).is_some_and(|most| most <= MOST)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gpu_core::Cpu;
    use ndarray::Array4;

    use super::*;
    use crate::vit::Vit;
    use crate::weights::{SaveDtype, VitShape};

    fn model(seed: u64) -> StyleModel {
        StyleModel::random_transformer(VitShape { dim: 32, heads: 2, blocks: 2, hidden: 48, window: 4 }, seed)
    }

    #[test]
    fn no_step_is_beyond_the_bound() {
        for seed in 0..3 {
            let model = model(seed);
            let bound = largest(&model).unwrap();
            let x = Array4::from_shape_fn((1, 3, 40, 33), |(_, c, y, x)| ((c * 91 + y * 83 + x * 57) % 256) as f32);
            let mut most = 0.0_f32;
            let mut observer = |_: String, _: Vec<usize>, values: Vec<f32>| {
                most = values.iter().fold(most, |most, v| most.max(v.abs()));
            };
            Vit::<Cpu, f32>::new(&Cpu::new(), &model).unwrap().observe(&Cpu::new(), x.view(), &mut observer).unwrap();
            assert!(f64::from(most) <= bound && most > 0.0, "{most} beyond {bound}");
            assert!(fits_f16(&model), "{bound}");
        }
    }

    #[test]
    fn large_weights_do_not_fit() {
        for name in ["embed.weight", "blocks.2.attn.out.bias", "blocks.1.ffn.fc1.weight", "decode.conv1.weight"] {
            let (bytes, _) = model(1).to_safetensors(SaveDtype::F32, &BTreeMap::new()).unwrap();
            let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
            let text: serde_json::Value = serde_json::from_slice(&bytes[8..header]).unwrap();
            let at = header + text[name]["data_offsets"][0].as_u64().unwrap() as usize;
            let mut bytes = bytes;
            bytes[at..at + 4].copy_from_slice(&5e4_f32.to_le_bytes());
            assert!(!fits_f16(&StyleModel::from_bytes(&bytes, "a.safetensors").unwrap()), "{name}");
        }
    }

    #[test]
    fn the_model_inside_the_program_fits() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/style/vit_candy.safetensors");
        assert!(fits_f16(&StyleModel::load(path).unwrap()));
    }
}
