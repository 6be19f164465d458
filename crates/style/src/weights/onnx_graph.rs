//! Recognising the style network in an ONNX graph.
//!
//! The layers are followed from the output to the input, which leaves no choice of path, and then
//! checked from the input to the output with the shapes of a trial image.

use super::layers::LayerId;
use super::onnx::{Graph, Node, bad};
use super::onnx_fold::Folder;
use super::raw::RawTensor;
use super::{MAX_RESIDUAL_BLOCKS, Result, WeightsError};

/// The operators that image tensors pass through.
const LAYERS: [&str; 9] =
    ["Pad", "Conv", "InstanceNormalization", "Relu", "Add", "Upsample", "Resize", "Identity", "Cast"];

/// The operators that exporters use to compute pads and scales.
const ARITHMETIC: [&str; 13] = [
    "Shape",
    "Gather",
    "Constant",
    "ConstantOfShape",
    "Concat",
    "Slice",
    "Reshape",
    "Transpose",
    "Unsqueeze",
    "Squeeze",
    "Mul",
    "Floor",
    "Div",
];

/// The sides of the trial image where the graph states none.
const TRIAL: [usize; 4] = [1, 3, 32, 48];

/// One operator on the path of the image.
#[derive(Clone, Copy)]
struct Step<'g, 'a> {
    node: &'g Node<'a>,
    /// The convolution that the operator belongs to.
    unit: usize,
}

/// The path that has been followed so far, from the output on.
struct Path<'g, 'a> {
    graph: &'g Graph<'a>,
    steps: Vec<Step<'g, 'a>>,
    /// The number of convolutions begun.
    units: usize,
}

/// Finds the network in `graph` and returns its tensors under their canonical names.
pub(crate) fn recognise<'a>(graph: &Graph<'a>) -> Result<Vec<RawTensor<'a>>> {
    if let Some(node) =
        graph.nodes.iter().find(|n| !LAYERS.contains(&n.op) && !ARITHMETIC.contains(&n.op) && n.op != "Sub")
    {
        return Err(node.unsupported("the network has no such operator"));
    }
    let &[output] = graph.outputs.as_slice() else {
        return Err(bad(&format!("expected one output, found {}", graph.outputs.len())));
    };
    let mut path = Path { graph, steps: Vec::new(), units: 0 };
    let blocks = path.follow(output)?;
    let layers: Vec<LayerId> = LayerId::all(blocks).collect();
    let mut folder = Folder::new(graph);
    folder.shapes.insert(graph.input.0, trial_shape(&graph.input.1));
    let mut tensors = Vec::new();
    for step in path.steps.iter().rev() {
        // Units were counted from the output.
        let layer = layers.len().checked_sub(step.unit).and_then(|i| layers.get(i).copied());
        let layer = layer.ok_or_else(|| step.node.unsupported("one layer too many"))?;
        let shape = check(graph, &mut folder, step.node, layer)?;
        folder.shapes.insert(step.node.output(), shape);
        let owner = match step.node.op {
            "Conv" => Some(layer.conv_name()),
            "InstanceNormalization" => layer.norm_name(),
            _ => None,
        };
        if let Some(owner) = owner {
            for (index, leaf) in [(1, "weight"), (2, "bias")] {
                let name = format!("{owner}.{leaf}");
                let source = step.node.input(index).map(|input| graph.plain_source(input));
                let constant = source.map(|s| graph.constant(s)).transpose()?.flatten();
                let Some(constant) = constant else {
                    return Err(WeightsError::MissingTensor { names: vec![name] });
                };
                tensors.push(constant.raw(name));
            }
        }
    }
    Ok(tensors)
}

/// The stated input shape with free dimensions filled in.
fn trial_shape(stated: &[usize]) -> [usize; 4] {
    let mut shape = TRIAL;
    if let &[n, _, h, w] = stated {
        for (to, from) in [(0, n), (2, h), (3, w)] {
            // A stated size that no image can have is of no use here.
            if (5..=65_536).contains(&from) || (to == 0 && (1..=4).contains(&from)) {
                shape[to] = from;
            }
        }
    }
    shape
}

impl<'g, 'a> Path<'g, 'a> {
    /// Follows the whole network; returns the number of residual blocks.
    fn follow(&mut self, output: &'a str) -> Result<usize> {
        let mut at = self.unit(output, false, false)?;
        for _ in 0..2 {
            at = self.unit(at, true, true)?;
            at = self.step(at, &["Upsample", "Resize"])?;
        }
        let mut blocks = 0;
        while let Some(add) = self.producer(at).filter(|n| n.op == "Add") {
            if blocks == MAX_RESIDUAL_BLOCKS {
                return Err(add.unsupported(format!("more than {MAX_RESIDUAL_BLOCKS} residual blocks")));
            }
            at = self.block(add)?;
            blocks += 1;
        }
        if blocks == 0 {
            return Err(self.mismatch(at, "Add"));
        }
        for _ in 0..3 {
            at = self.unit(at, true, true)?;
        }
        if self.graph.plain_source(at) == self.graph.input.0 { Ok(blocks) } else { Err(self.mismatch(at, "input")) }
    }

    /// Follows a residual block from its sum to its input.
    fn block(&mut self, add: &'g Node<'a>) -> Result<&'a str> {
        self.steps.push(Step { node: add, unit: self.units + 1 });
        let (Some(a), Some(b)) = (add.input(0), add.input(1)) else {
            return Err(add.unsupported("a sum of fewer than two tensors"));
        };
        let normed = |name| self.producer(name).is_some_and(|n| n.op == "InstanceNormalization");
        let (branch, skip) = if normed(a) { (a, b) } else { (b, a) };
        let middle = self.unit(branch, false, true)?;
        let start = self.unit(middle, true, true)?;
        if self.graph.plain_source(start) != self.graph.plain_source(skip) {
            return Err(add.unsupported("the sum does not take the input of its residual block"));
        }
        Ok(start)
    }

    /// Follows one padded convolution and what comes after it.
    fn unit(&mut self, at: &'a str, relu: bool, norm: bool) -> Result<&'a str> {
        self.units += 1;
        let mut at = at;
        if relu {
            at = self.step(at, &["Relu"])?;
        }
        if norm {
            at = self.step(at, &["InstanceNormalization"])?;
        }
        at = self.step(at, &["Conv"])?;
        self.step(at, &["Pad"])
    }

    /// Steps over the operator that makes `at`, which must be one of `ops`.
    fn step(&mut self, at: &'a str, ops: &[&str]) -> Result<&'a str> {
        match self.producer(at) {
            Some(node) if ops.contains(&node.op) => {
                self.steps.push(Step { node, unit: self.units });
                node.input(0).ok_or_else(|| node.unsupported("an operator without input"))
            }
            _ => Err(self.mismatch(at, ops.last().unwrap_or(&""))),
        }
    }

    fn producer(&self, at: &str) -> Option<&'g Node<'a>> {
        let graph = self.graph;
        graph.producer(graph.plain_source(at))
    }

    fn mismatch(&self, at: &str, wanted: &str) -> WeightsError {
        let reason = format!("expected {wanted} here");
        match self.producer(at) {
            Some(node) => node.unsupported(reason),
            None => WeightsError::UnsupportedGraph { node: super::error::clip(at), op: "input".into(), reason },
        }
    }
}

/// Checks the attributes of an operator against its layer; returns its output shape for the trial
/// image.
fn check<'a>(graph: &Graph<'a>, folder: &mut Folder<'_, 'a>, node: &Node<'a>, layer: LayerId) -> Result<[usize; 4]> {
    let input = node.input(0).map(|i| graph.plain_source(i));
    let shape = input.and_then(|i| folder.shapes.get(i).copied());
    let Some([n, c, h, w]) = shape else {
        return Err(node.unsupported("an operator outside of the path of the image"));
    };
    match node.op {
        "Pad" => {
            let p = layer.kernel() / 2;
            check_pad(folder, node, p as f64)?;
            Ok([n, c, h + 2 * p, w + 2 * p])
        }
        "Conv" => {
            check_conv(node, layer)?;
            let weight = node.input(1).map(|i| graph.constant(graph.plain_source(i))).transpose()?.flatten();
            let out = weight.and_then(|t| t.dims.first().copied()).unwrap_or(0);
            let (k, s) = (layer.kernel(), layer.stride());
            let size = |side: usize| side.saturating_sub(k) / s + 1;
            Ok([n, out, size(h), size(w)])
        }
        "InstanceNormalization" => {
            let eps = node.attribute("epsilon")?.and_then(|a| a.float).unwrap_or(1e-5);
            if (eps - 1e-5).abs() > 1e-9 {
                return Err(node.unsupported(format!("expected epsilon 1e-5, found {eps:e}")));
            }
            Ok([n, c, h, w])
        }
        "Upsample" | "Resize" => {
            check_upsample(graph, folder, node, [n, c, h, w])?;
            Ok([n, c, 2 * h, 2 * w])
        }
        _ => Ok([n, c, h, w]),
    }
}

fn check_pad<'a>(folder: &mut Folder<'_, 'a>, node: &Node<'a>, p: f64) -> Result<()> {
    let mode = node.attribute("mode")?.and_then(|a| a.string).unwrap_or(b"constant");
    if mode != b"reflect" {
        return Err(node.unsupported("expected padding by reflection"));
    }
    let pads: Option<Vec<f64>> = match node.attribute("pads")? {
        Some(attribute) => Some(attribute.ints.iter().map(|&i| i as f64).collect()),
        None => operand(folder, node, 1)?,
    };
    let both = [0.0, 0.0, p, p, 0.0, 0.0, p, p];
    let fits = match operand(folder, node, 3)? {
        // Later versions may name the padded axes.
        Some(axes) => (axes == [2.0, 3.0] || axes == [-2.0, -1.0]) && pads.as_deref() == Some(&[p; 4]),
        None => pads.as_deref() == Some(&both),
    };
    if fits {
        return Ok(());
    }
    let found = pads.map_or_else(|| "none that are known".to_owned(), |pads| format!("{pads:?}"));
    Err(node.unsupported(format!("expected pads of {p} on each side, found {found}")))
}

fn check_conv(node: &Node<'_>, layer: LayerId) -> Result<()> {
    let (k, s) = (layer.kernel() as i64, layer.stride() as i64);
    let lists: [(&str, &[i64]); 4] =
        [("kernel_shape", &[k, k]), ("strides", &[s, s]), ("pads", &[0; 4]), ("dilations", &[1, 1])];
    for (name, wanted) in lists {
        match node.attribute(name)? {
            Some(a) if a.ints != wanted => {
                return Err(node.unsupported(format!("expected {name} {wanted:?} for {layer}, found {:?}", a.ints)));
            }
            None if name == "strides" && s != 1 => {
                return Err(node.unsupported(format!("expected stride {s} for {layer}, found 1")));
            }
            _ => {}
        }
    }
    if node.attribute("group")?.and_then(|a| a.int).unwrap_or(1) != 1 {
        return Err(node.unsupported("expected one group"));
    }
    match node.attribute("auto_pad")?.and_then(|a| a.string) {
        None | Some(b"NOTSET" | b"VALID") => Ok(()),
        _ => Err(node.unsupported("expected no padding inside the convolution")),
    }
}

fn check_upsample<'a>(
    graph: &Graph<'a>,
    folder: &mut Folder<'_, 'a>,
    node: &Node<'a>,
    [n, c, h, w]: [usize; 4],
) -> Result<()> {
    let text = |name: &str| -> Result<Option<&'a [u8]>> { Ok(node.attribute(name)?.and_then(|a| a.string)) };
    if text("mode")?.unwrap_or(b"nearest") != b"nearest" {
        return Err(node.unsupported("expected nearest-neighbour upsampling"));
    }
    // From version 11 on the rule is stated; before, it was always this one.
    let modern = node.op == "Resize" && graph.opset >= 11;
    if modern {
        let rule = (text("coordinate_transformation_mode")?, text("nearest_mode")?);
        if rule != (Some(b"asymmetric"), Some(b"floor")) || node.attribute("axes")?.is_some() {
            return Err(node.unsupported("expected asymmetric coordinates with floor"));
        }
    }
    let scales = match (node.attribute("scales")?, node.attribute("height_scale")?, node.attribute("width_scale")?) {
        (Some(a), _, _) => Some(a.floats.iter().map(|&f| f64::from(f)).collect()),
        (None, Some(v), Some(h)) => Some(vec![1.0, 1.0, v.float.unwrap_or(0.0).into(), h.float.unwrap_or(0.0).into()]),
        _ => operand(folder, node, if modern { 2 } else { 1 })?.filter(|s| !s.is_empty()),
    };
    let fits = match scales {
        Some(scales) => scales == [1.0, 1.0, 2.0, 2.0],
        None => modern && operand(folder, node, 3)? == Some([n, c, 2 * h, 2 * w].map(|d| d as f64).to_vec()),
    };
    if fits { Ok(()) } else { Err(node.unsupported("expected a scale of 2 in both directions")) }
}

/// The numbers of an operand; none if it is absent or does not follow from constants and shapes.
fn operand<'a>(folder: &mut Folder<'_, 'a>, node: &Node<'a>, index: usize) -> Result<Option<Vec<f64>>> {
    let Some(input) = node.input(index) else { return Ok(None) };
    Ok(folder.value(input)?.map(|v| v.values))
}
