//! From the tensor names of a file to the canonical ones, and the check that all are there.

use std::collections::HashMap;

use super::layers::tensor_specs;
use super::raw::{Dtype, RawTensor, numel};
use super::{LoadOptions, MAX_RESIDUAL_BLOCKS, Result, Tensor, WeightsError};

/// The most tensors that a file may hold; the largest accepted network has 278.
pub(crate) const MAX_TENSORS: usize = 4096;
/// The longest accepted tensor name.
pub(crate) const MAX_NAME: usize = 512;

/// What a shared or expanded storage may add to the decoded size over twice the file.
const SLACK: usize = 16 << 20;

/// The checked content of a file.
pub(crate) struct Network {
    pub(crate) nc: usize,
    pub(crate) blocks: usize,
    pub(crate) tensors: Vec<Tensor>,
}

/// Maps names, checks that exactly the tensors of one network are present and decodes them.
///
/// `input_len` is the size of the file; it bounds what is decoded.
pub(crate) fn assemble(raw: Vec<RawTensor<'_>>, input_len: usize, options: LoadOptions) -> Result<Network> {
    let mut raw = raw;
    raw.retain(|t| !is_statistic(&t.name));
    if raw.is_empty() {
        return Err(WeightsError::MissingTensor { names: names_of(&tensor_specs(1, 5)) });
    }
    let prefixed = raw.iter().all(|t| t.name.starts_with("module."));
    let mut found: HashMap<String, &RawTensor<'_>> = HashMap::with_capacity(raw.len());
    let mut unexpected = Vec::new();
    for tensor in &raw {
        let name = if prefixed { tensor.name.strip_prefix("module.").unwrap_or(&tensor.name) } else { &tensor.name };
        // Two spellings of one tensor leave no way to tell which is meant.
        if found.insert(canonical(name), tensor).is_some() {
            return Err(WeightsError::UnexpectedTensor { names: vec![tensor.name.clone()] });
        }
    }

    let blocks = found.keys().filter_map(|n| block_number(n)).max().unwrap_or(5);
    let nc = match found.get("conv1.conv2d.weight") {
        Some(t) => conv1_width(t)?,
        None => 1,
    };
    let specs = tensor_specs(nc, blocks);
    let missing: Vec<String> = names_of(&specs).into_iter().filter(|n| !found.contains_key(n)).collect();
    if found.len() + missing.len() > specs.len() {
        let known: std::collections::HashSet<&str> = specs.iter().map(|(n, _)| n.as_str()).collect();
        unexpected = found.iter().filter(|(n, _)| !known.contains(n.as_str())).map(|(_, t)| t.name.clone()).collect();
        unexpected.sort_unstable();
    }
    // With no tensor of the network at all, what is there says more than what is not.
    if missing.len() == specs.len() && !options.allow_extra {
        return Err(WeightsError::UnexpectedTensor { names: unexpected });
    }
    if !missing.is_empty() {
        return Err(WeightsError::MissingTensor { names: missing });
    }
    if !unexpected.is_empty() && !options.allow_extra {
        return Err(WeightsError::UnexpectedTensor { names: unexpected });
    }
    let ordered = check_shapes(specs, &found, input_len)?;
    let mut tensors = Vec::with_capacity(ordered.len());
    for (name, shape, tensor) in ordered {
        let data = tensor.decode(&name)?;
        tensors.push(Tensor { name, shape, data, source: tensor.dtype });
    }
    Ok(Network { nc, blocks, tensors })
}

/// A tensor's name, its dimensions, and where it lies.
pub(crate) type Placed<'r, 'a> = (String, Vec<usize>, &'r RawTensor<'a>);

/// Compares every shape and number format before anything is decoded.
pub(crate) fn check_shapes<'r, 'a>(
    specs: Vec<(String, Vec<usize>)>,
    found: &HashMap<String, &'r RawTensor<'a>>,
    input_len: usize,
) -> Result<Vec<Placed<'r, 'a>>> {
    let mut ordered = Vec::with_capacity(specs.len());
    let mut total = 0_usize;
    for (name, shape) in specs {
        let Some(&tensor) = found.get(&name) else {
            return Err(WeightsError::MissingTensor { names: vec![name] });
        };
        if tensor.shape != shape {
            return Err(WeightsError::WrongShape { name, expected: shape, found: tensor.shape.clone() });
        }
        if tensor.dtype == Dtype::Other {
            return Err(WeightsError::WrongDtype { name, found: "integers or another type".into() });
        }
        total = numel(&shape).and_then(|n| n.checked_mul(4)).and_then(|n| n.checked_add(total)).unwrap_or(usize::MAX);
        // Views that share or repeat a storage could otherwise ask for far more than the file holds.
        let most = input_len.saturating_mul(2).saturating_add(SLACK);
        if total > most {
            return Err(WeightsError::truncated("the weights", total, most));
        }
        ordered.push((name, shape, tensor));
    }
    Ok(ordered)
}

fn names_of(specs: &[(String, Vec<usize>)]) -> Vec<String> {
    specs.iter().map(|(n, _)| n.clone()).collect()
}

fn conv1_width(tensor: &RawTensor<'_>) -> Result<usize> {
    match *tensor.shape.as_slice() {
        [nc, 3, 9, 9] if nc > 0 => Ok(nc),
        _ => {
            let nc = tensor.shape.first().copied().unwrap_or(0).max(1);
            Err(WeightsError::WrongShape {
                name: "conv1.conv2d.weight".into(),
                expected: vec![nc, 3, 9, 9],
                found: tensor.shape.clone(),
            })
        }
    }
}

/// Running statistics are never used: the network normalises with the statistics of the image.
fn is_statistic(name: &str) -> bool {
    [".running_mean", ".running_var", ".num_batches_tracked"].iter().any(|s| name.ends_with(s))
}

/// The block number of a canonical name such as `res3.in1.bias`, if it is an accepted one.
fn block_number(name: &str) -> Option<usize> {
    let (digits, _) = name.strip_prefix("res")?.split_once('.')?;
    let n = number(digits)?;
    (1..=MAX_RESIDUAL_BLOCKS).contains(&n).then_some(n)
}

/// A decimal number without sign or leading zeros.
fn number(digits: &str) -> Option<usize> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !plain || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    digits.parse().ok()
}

/// The canonical form of one name; a name of no known scheme is returned as it is.
fn canonical(name: &str) -> String {
    let renamed = name.strip_prefix("upsample_conv").map(|rest| format!("deconv{rest}"));
    let name = renamed.as_deref().unwrap_or(name);
    styleforge(name).unwrap_or_else(|| name.to_owned())
}

/// The scheme of StyleForge, where each convolution owns its norm.
fn styleforge(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    match *parts.as_slice() {
        ["residual_blocks", n, conv @ ("conv1" | "conv2"), kind, leaf] => {
            let block = number(n)?.checked_add(1)?;
            match kind {
                "conv" => Some(format!("res{block}.{conv}.conv2d.{leaf}")),
                "norm" => Some(format!("res{block}.in{}.{}", &conv[4..], norm_leaf(leaf)?)),
                _ => None,
            }
        }
        ["deconv3", "1", leaf] => Some(format!("deconv3.conv2d.{leaf}")),
        [conv @ ("conv1" | "conv2" | "conv3" | "deconv1" | "deconv2" | "deconv3"), "conv", leaf] => {
            Some(format!("{conv}.conv2d.{leaf}"))
        }
        [conv, "norm", leaf] => {
            let norm = match conv {
                "conv1" => "in1",
                "conv2" => "in2",
                "conv3" => "in3",
                "deconv1" => "in4",
                "deconv2" => "in5",
                _ => return None,
            };
            Some(format!("{norm}.{}", norm_leaf(leaf)?))
        }
        _ => None,
    }
}

fn norm_leaf(leaf: &str) -> Option<&'static str> {
    match leaf {
        "gamma" | "weight" => Some("weight"),
        "beta" | "bias" => Some("bias"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_maps_to_the_canonical_name() {
        for (from, to) in [
            ("conv1.conv2d.weight", "conv1.conv2d.weight"),
            ("upsample_conv2.conv2d.bias", "deconv2.conv2d.bias"),
            ("conv3.conv.weight", "conv3.conv2d.weight"),
            ("conv2.norm.gamma", "in2.weight"),
            ("conv2.norm.weight", "in2.weight"),
            ("deconv1.norm.beta", "in4.bias"),
            ("deconv2.norm.bias", "in5.bias"),
            ("residual_blocks.4.conv2.conv.bias", "res5.conv2.conv2d.bias"),
            ("residual_blocks.0.conv1.norm.gamma", "res1.in1.weight"),
            ("deconv3.1.bias", "deconv3.conv2d.bias"),
            ("fc.weight", "fc.weight"),
            ("residual_blocks.x.conv1.norm.gamma", "residual_blocks.x.conv1.norm.gamma"),
        ] {
            assert_eq!(canonical(from), to, "{from}");
        }
    }

    #[test]
    fn block_numbers_are_plain_and_bounded() {
        assert_eq!(block_number("res1.in1.bias"), Some(1));
        assert_eq!(block_number("res32.conv1.conv2d.bias"), Some(32));
        for name in ["res0.x", "res33.x", "res01.x", "res+1.x", "res1", "in1.bias", "res99999999999999999999.x"] {
            assert_eq!(block_number(name), None, "{name}");
        }
    }
}
