//! The value of an operand that an exporter computes from constants and tensor shapes.
//!
//! Exporters often wrap the pads of a Pad or the scales of a Resize in arithmetic. The weights are
//! only right for this network if those come out as expected, so they are worked out, on lists of a
//! few numbers. Nothing else of a graph is evaluated.

use std::collections::HashMap;

use super::Result;
use super::onnx::{Constant, Graph, Node};
use super::protobuf::Reader;

/// The longest list that is worked on.
const MAX_LEN: usize = 64;
/// The longest chain of operators behind an operand.
const MAX_DEPTH: usize = 64;

/// A short list or small matrix of numbers, exact up to 2^53.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    dims: Vec<usize>,
    pub(crate) values: Vec<f64>,
    integer: bool,
}

/// Works out operands and remembers them.
pub(crate) struct Folder<'g, 'a> {
    graph: &'g Graph<'a>,
    /// The shapes of image tensors for the trial input.
    pub(crate) shapes: HashMap<&'a str, [usize; 4]>,
    known: HashMap<&'a str, Option<Numbers>>,
}

impl<'g, 'a> Folder<'g, 'a> {
    /// Starts with no shapes known.
    pub(crate) fn new(graph: &'g Graph<'a>) -> Self {
        Self { graph, shapes: HashMap::new(), known: HashMap::new() }
    }

    /// The value of `tensor`, or none if it does not follow from constants and known shapes.
    pub(crate) fn value(&mut self, tensor: &'a str) -> Result<Option<Numbers>> {
        self.at_depth(tensor, 0)
    }

    fn at_depth(&mut self, tensor: &'a str, depth: usize) -> Result<Option<Numbers>> {
        if let Some(known) = self.known.get(tensor) {
            return Ok(known.clone());
        }
        if depth > MAX_DEPTH {
            return Ok(None);
        }
        let value = match self.graph.constant(tensor)? {
            Some(constant) => numbers(&constant),
            None => match self.graph.producer(tensor) {
                Some(node) => self.apply(node, depth)?,
                None => None,
            },
        };
        let value = value.filter(|v| v.values.len() <= MAX_LEN && v.dims.iter().product::<usize>() == v.values.len());
        self.known.insert(tensor, value.clone());
        Ok(value)
    }

    fn apply(&mut self, node: &Node<'a>, depth: usize) -> Result<Option<Numbers>> {
        if node.op == "Shape" {
            let Some(input) = node.input(0) else { return Ok(None) };
            if let Some(shape) = self.shapes.get(self.graph.plain_source(input)) {
                return Ok(Some(Numbers::list(shape.iter().map(|&d| d as f64).collect())));
            }
            let dims = self.at_depth(input, depth + 1)?.map(|v| v.dims);
            return Ok(dims.map(|d| Numbers::list(d.iter().map(|&d| d as f64).collect())));
        }
        if node.op == "Constant" {
            return constant_list(node);
        }
        let mut args = Vec::new();
        for index in 0..node.inputs.len().min(8) {
            args.push(match node.input(index) {
                Some(input) => match self.at_depth(input, depth + 1)? {
                    Some(value) => Some(value),
                    None => return Ok(None),
                },
                None => None,
            });
        }
        // Where the value is a list, an input takes the place of the attribute of older versions.
        let list = |name: &str, index: usize| -> Result<Option<Vec<f64>>> {
            if let Some(attribute) = node.attribute(name)? {
                return Ok(Some(attribute.ints.iter().map(|&i| i as f64).collect()));
            }
            Ok(args.get(index).and_then(Option::as_ref).map(|v| v.values.clone()))
        };
        let int = |name: &str| -> Result<Option<i64>> { Ok(node.attribute(name)?.and_then(|a| a.int)) };
        if node.op == "Concat" {
            return Ok(if int("axis")?.unwrap_or(0) == 0 { concat(&args) } else { None });
        }
        let Some(Some(first)) = args.first().cloned() else { return Ok(None) };
        let second = args.get(1).and_then(Option::as_ref);
        Ok(match node.op {
            "Identity" => Some(first),
            "Cast" => Some(first.cast(int("to")?)),
            "Floor" => Some(first.map(f64::floor)),
            "Add" | "Sub" | "Mul" | "Div" => second.and_then(|second| arithmetic(node.op, &first, second)),
            "Gather" => match second {
                Some(indices) if int("axis")?.unwrap_or(0) == 0 => gather(&first, indices),
                _ => None,
            },
            "Unsqueeze" => list("axes", 1)?.and_then(|axes| unsqueeze(first, &axes)),
            "Squeeze" => Some(Numbers { dims: first.dims.iter().copied().filter(|&d| d != 1).collect(), ..first }),
            "Reshape" => list("shape", 1)?.and_then(|shape| reshape(first, &shape)),
            "Transpose" => {
                let perm = node.attribute("perm")?.map(|a| a.ints);
                transpose(first, perm.as_deref())
            }
            "Slice" => match (list("starts", 1)?, list("ends", 2)?) {
                (Some(starts), Some(ends)) => slice(&first, &starts, &ends, list("axes", 3)?, list("steps", 4)?),
                _ => None,
            },
            "ConstantOfShape" => {
                let count: f64 = first.values.iter().product();
                let fill = node.attribute("value")?.and_then(|a| a.tensor).map(Constant::of_message).transpose()?;
                let fill = fill.as_ref().map_or(Some(0.0), |c| numbers(c)?.values.first().copied());
                match (first.values.len(), fill) {
                    (1, Some(x)) if (0.0..=MAX_LEN as f64).contains(&count) => {
                        Some(Numbers::list(vec![x; count as usize]))
                    }
                    _ => None,
                }
            }
            _ => None,
        })
    }
}

impl Numbers {
    fn list(values: Vec<f64>) -> Self {
        Self { dims: vec![values.len()], values, integer: true }
    }

    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { values: self.values.into_iter().map(f).collect(), ..self }
    }

    fn cast(self, to: Option<i64>) -> Self {
        // The types 1, 10, 11 and 16 are floating point.
        let integer = !matches!(to, Some(1 | 10 | 11 | 16));
        let cast = if integer { self.map(f64::trunc) } else { self };
        Self { integer, ..cast }
    }
}

/// The values of a short constant.
fn numbers(constant: &Constant<'_>) -> Option<Numbers> {
    let len = constant.dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).filter(|n| *n <= MAX_LEN)?;
    let integer = matches!(constant.kind, 2..=7 | 12 | 13);
    let mut values: Vec<f64> = Vec::new();
    if let Some(bytes) = constant.varints {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() && values.len() <= MAX_LEN {
            values.push(reader.varint().ok()? as i64 as f64);
        }
    } else {
        let bytes = constant.bytes.unwrap_or_default();
        if bytes.len() > 8 * MAX_LEN {
            return None;
        }
        match constant.kind {
            1 => values.extend(bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b)))),
            6 => values.extend(bytes.as_chunks().0.iter().map(|&b| f64::from(i32::from_le_bytes(b)))),
            7 => values.extend(bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f64)),
            10 => values.extend(bytes.as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b).to_f64())),
            11 => values.extend(bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b))),
            _ => return None,
        }
    }
    // Half precision in variable-length integers is bit patterns, and no scale is written so.
    let known = constant.varints.is_none() || integer;
    (known && values.len() == len).then(|| Numbers { dims: constant.dims.clone(), values, integer })
}

/// A Constant node whose value is not a tensor.
fn constant_list(node: &Node<'_>) -> Result<Option<Numbers>> {
    for (name, integer) in [("value_int", true), ("value_float", false), ("value_ints", true), ("value_floats", false)]
    {
        let Some(a) = node.attribute(name)? else { continue };
        let single = !name.ends_with('s');
        let values: Vec<f64> = match (integer, single) {
            (true, true) => a.int.iter().map(|&i| i as f64).collect(),
            (false, true) => a.float.iter().map(|&f| f64::from(f)).collect(),
            (true, false) => a.ints.iter().map(|&i| i as f64).collect(),
            (false, false) => a.floats.iter().map(|&f| f64::from(f)).collect(),
        };
        let dims = if single { Vec::new() } else { vec![values.len()] };
        return Ok(Some(Numbers { dims, values, integer }));
    }
    Ok(None)
}

fn arithmetic(op: &str, a: &Numbers, b: &Numbers) -> Option<Numbers> {
    let wide = if a.values.len() >= b.values.len() { a } else { b };
    let fits = |n: &Numbers| n.values.len() == 1 || n.dims == wide.dims;
    if !fits(a) || !fits(b) {
        return None;
    }
    let integer = a.integer && b.integer;
    let at = |n: &Numbers, i: usize| n.values.get(if n.values.len() == 1 { 0 } else { i }).copied();
    let mut values = Vec::with_capacity(wide.values.len());
    for i in 0..wide.values.len() {
        let (x, y) = (at(a, i)?, at(b, i)?);
        values.push(match op {
            "Add" => x + y,
            "Sub" => x - y,
            "Mul" => x * y,
            _ if integer => (x / y).trunc(),
            _ => x / y,
        });
    }
    Some(Numbers { dims: wide.dims.clone(), values, integer })
}

fn concat(args: &[Option<Numbers>]) -> Option<Numbers> {
    let mut values = Vec::new();
    let mut integer = true;
    for arg in args {
        let arg = arg.as_ref().filter(|a| a.dims.len() == 1)?;
        integer &= arg.integer;
        values.extend_from_slice(&arg.values);
    }
    Some(Numbers { integer, ..Numbers::list(values) })
}

/// Counts a negative position from the end.
fn position(index: f64, len: usize) -> Option<usize> {
    let at = if index < 0.0 { index + len as f64 } else { index };
    (0.0..len as f64).contains(&at).then_some(at as usize)
}

fn gather(data: &Numbers, indices: &Numbers) -> Option<Numbers> {
    if data.dims.len() != 1 {
        return None;
    }
    let pick = |&i: &f64| data.values.get(position(i, data.values.len())?).copied();
    let values: Option<Vec<f64>> = indices.values.iter().map(pick).collect();
    Some(Numbers { dims: indices.dims.clone(), values: values?, integer: data.integer })
}

fn unsqueeze(data: Numbers, axes: &[f64]) -> Option<Numbers> {
    let rank = data.dims.len() + axes.len();
    let mut at: Vec<usize> = axes.iter().map(|&a| position(a, rank)).collect::<Option<_>>()?;
    at.sort_unstable();
    let mut dims = data.dims.clone();
    for axis in at {
        if axis > dims.len() || rank > 8 {
            return None;
        }
        dims.insert(axis, 1);
    }
    Some(Numbers { dims, ..data })
}

fn reshape(data: Numbers, shape: &[f64]) -> Option<Numbers> {
    let len = data.values.len() as f64;
    let known: f64 = shape.iter().filter(|d| **d > 0.0).product();
    let dims = shape.iter().map(|&d| if d == -1.0 { len / known } else { d });
    let dims: Vec<usize> = dims.map(|d| (1.0..=len).contains(&d).then_some(d as usize)).collect::<Option<_>>()?;
    Some(Numbers { dims, ..data })
}

fn transpose(data: Numbers, perm: Option<&[i64]>) -> Option<Numbers> {
    match (data.dims.as_slice(), perm) {
        (&[rows, columns], None | Some([1, 0])) => {
            let order = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c));
            let values: Option<Vec<f64>> = order.map(|i| data.values.get(i).copied()).collect();
            Some(Numbers { dims: vec![columns, rows], values: values?, ..data })
        }
        ([_], _) | (_, Some([0, 1])) => Some(data),
        _ => None,
    }
}

/// A slice along the first axis, which may run backwards.
fn slice(
    data: &Numbers,
    starts: &[f64],
    ends: &[f64],
    axes: Option<Vec<f64>>,
    steps: Option<Vec<f64>>,
) -> Option<Numbers> {
    let (&[start], &[end]) = (starts, ends) else { return None };
    let step = steps.map_or(Some(1.0), |s| s.first().copied())?;
    if axes.is_some_and(|a| a != [0.0]) || !matches!(step, 1.0 | -1.0) {
        return None;
    }
    let len = *data.dims.first()?;
    let row = data.values.len().checked_div(len)?;
    let wrap = |i: f64| if i < 0.0 { i + len as f64 } else { i };
    let n = len as f64;
    let rows: Vec<usize> = if step > 0.0 {
        (wrap(start).clamp(0.0, n) as usize..wrap(end).clamp(0.0, n) as usize).collect()
    } else {
        let (from, to) = (wrap(start).clamp(-1.0, n - 1.0) as i64, wrap(end).clamp(-1.0, n - 1.0) as i64);
        (to + 1..=from).rev().filter_map(|i| usize::try_from(i).ok()).collect()
    };
    let mut values = Vec::with_capacity(rows.len() * row);
    for r in &rows {
        values.extend_from_slice(data.values.get(r * row..(r + 1) * row)?);
    }
    let mut dims = data.dims.clone();
    *dims.first_mut()? = rows.len();
    Some(Numbers { dims, values, integer: data.integer })
}
