//! Reading the parts of an ONNX file that matter here: nodes, constants and the graph's input.
//!
//! Messages stay as borrowed bytes and are searched when asked; only short lists are collected.

use std::collections::{BTreeMap, HashMap};

use super::error::clip;
use super::protobuf::{Reader, Value};
use super::raw::{Data, Dtype, RawTensor};
use super::{Result, WeightsError, onnx_graph};

/// The most nodes and the most initialisers of a graph; the deepest accepted export has 1,600.
const MAX_PARTS: usize = 20_000;
/// The most input and output names of all nodes together.
const MAX_LINKS: usize = 100_000;
/// The most dimensions of a tensor.
const MAX_RANK: usize = 8;
/// The longest list of an attribute that is looked at.
const MAX_LIST: usize = 64;

const CONTAINER: &str = "ONNX";

/// Reads a model, recognises the network in it and returns its tensors under canonical names.
pub(crate) fn read(bytes: &[u8]) -> Result<(Vec<RawTensor<'_>>, BTreeMap<String, String>)> {
    let mut graph = None;
    let mut producer = Vec::new();
    let mut opset = None;
    let mut model = Reader::new(bytes);
    while let Some((field, value)) = model.field()? {
        match (field, value) {
            (2 | 3, Value::Bytes(b)) if producer.len() < 2 => producer.push(clip(&String::from_utf8_lossy(short(b)))),
            (7, Value::Bytes(b)) => graph = Some(b),
            (8, Value::Bytes(b)) => opset = default_opset(b)?.or(opset),
            _ => {}
        }
    }
    let Some(graph) = graph else {
        return Err(WeightsError::NotAWeightFile { found: "a protobuf file without an ONNX graph".into() });
    };
    let opset = opset.ok_or_else(|| bad("no version of the operators is stated"))?;
    let graph = Graph::read(graph, opset)?;
    let tensors = onnx_graph::recognise(&graph)?;
    let mut metadata = BTreeMap::new();
    if !producer.is_empty() {
        metadata.insert("producer".to_owned(), producer.join(" "));
    }
    Ok((tensors, metadata))
}

/// Text of unknown length, cut before it is copied.
fn short(bytes: &[u8]) -> &[u8] {
    bytes.get(..bytes.len().min(512)).unwrap_or_default()
}

/// The version of the standard operators, if the message states that one.
fn default_opset(message: &[u8]) -> Result<Option<u64>> {
    let (mut standard, mut version) = (true, None);
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field {
            (1, Value::Bytes(domain)) => standard = domain.is_empty() || domain == b"ai.onnx",
            (2, Value::Varint(v)) => version = Some(v),
            _ => {}
        }
    }
    Ok(version.filter(|_| standard))
}

/// A node of the graph.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) op: &'a str,
    name: &'a str,
    pub(crate) inputs: Vec<&'a str>,
    pub(crate) outputs: Vec<&'a str>,
    message: &'a [u8],
}

/// A graph, indexed by tensor name.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    /// The node that makes a tensor.
    producers: HashMap<&'a str, usize>,
    initialisers: HashMap<&'a str, Constant<'a>>,
    /// The name and the stated dimensions of the image input; zero where not stated.
    pub(crate) input: (&'a str, Vec<usize>),
    pub(crate) outputs: Vec<&'a str>,
    pub(crate) opset: u64,
}

impl<'a> Graph<'a> {
    fn read(message: &'a [u8], opset: u64) -> Result<Self> {
        let mut graph = Self {
            nodes: Vec::new(),
            producers: HashMap::new(),
            initialisers: HashMap::new(),
            input: ("", Vec::new()),
            outputs: Vec::new(),
            opset,
        };
        let mut inputs = Vec::new();
        let mut links = 0;
        let mut reader = Reader::new(message);
        while let Some((field, value)) = reader.field()? {
            let Value::Bytes(b) = value else { continue };
            match field {
                1 => {
                    let node = Node::read(b, &mut links)?;
                    for output in node.outputs.iter().filter(|o| !o.is_empty()) {
                        graph.producers.insert(output, graph.nodes.len());
                    }
                    graph.nodes.push(node);
                }
                5 => {
                    let (name, constant) = Constant::read(b)?;
                    graph.initialisers.insert(name, constant);
                }
                11 => inputs.push(b),
                12 => graph.outputs.push(text_field(b, 1)?),
                15 => return Err(bad("sparse initialisers")),
                _ => {}
            }
            let parts = [graph.nodes.len(), graph.initialisers.len(), inputs.len(), graph.outputs.len()];
            if parts.into_iter().any(|n| n > MAX_PARTS) {
                return Err(bad("too many parts"));
            }
        }
        // Early versions of the format list the initialisers among the inputs.
        let mut images = Vec::new();
        for input in inputs {
            let name = text_field(input, 1)?;
            if !graph.initialisers.contains_key(name) {
                images.push((name, input));
            }
        }
        match *images.as_slice() {
            [(name, message)] => graph.input = (name, input_dims(message)?),
            _ => return Err(bad(&format!("expected one input, found {}", images.len()))),
        }
        Ok(graph)
    }

    /// The node that makes `tensor`, if any.
    pub(crate) fn producer(&self, tensor: &str) -> Option<&Node<'a>> {
        self.producers.get(tensor).and_then(|&i| self.nodes.get(i))
    }

    /// The tensor that `tensor` is a copy of, perhaps in another precision.
    pub(crate) fn plain_source<'s>(&'s self, tensor: &'s str) -> &'s str
    where
        'a: 's,
    {
        let mut name = tensor;
        // A chain longer than this is a cycle.
        for _ in 0..64 {
            match self.producer(name) {
                Some(node) if matches!(node.op, "Identity" | "Cast") => name = node.input(0).unwrap_or(""),
                _ => break,
            }
        }
        name
    }

    /// The constant of that name: an initialiser or the value of a Constant node.
    pub(crate) fn constant(&self, tensor: &str) -> Result<Option<Constant<'a>>> {
        if let Some(constant) = self.initialisers.get(tensor) {
            return Ok(Some(constant.clone()));
        }
        let Some(node) = self.producer(tensor).filter(|n| n.op == "Constant") else { return Ok(None) };
        let Some(attribute) = node.attribute("value")? else { return Ok(None) };
        Ok(attribute.tensor.map(Constant::read).transpose()?.map(|(_, c)| c))
    }
}

impl<'a> Node<'a> {
    fn read(message: &'a [u8], links: &mut usize) -> Result<Self> {
        let mut node = Self { op: "", name: "", inputs: Vec::new(), outputs: Vec::new(), message };
        let mut reader = Reader::new(message);
        while let Some((field, value)) = reader.field()? {
            let Value::Bytes(b) = value else { continue };
            if matches!(field, 1 | 2) {
                *links += 1;
                if *links > MAX_LINKS {
                    return Err(bad("too many links"));
                }
            }
            match field {
                1 => node.inputs.push(text(b)?),
                2 => node.outputs.push(text(b)?),
                3 => node.name = text(b)?,
                4 => node.op = text(b)?,
                7 if !b.is_empty() && b != b"ai.onnx" => {
                    return Err(node.unsupported("an operator of another domain"));
                }
                _ => {}
            }
        }
        Ok(node)
    }

    /// An input that is given; optional inputs may be left out or empty.
    pub(crate) fn input(&self, index: usize) -> Option<&'a str> {
        self.inputs.get(index).copied().filter(|s| !s.is_empty())
    }

    /// The first output.
    pub(crate) fn output(&self) -> &'a str {
        self.outputs.first().copied().unwrap_or("")
    }

    /// An attribute by name.
    pub(crate) fn attribute(&self, name: &str) -> Result<Option<Attribute<'a>>> {
        let mut reader = Reader::new(self.message);
        while let Some(field) = reader.field()? {
            if let (5, Value::Bytes(b)) = field
                && text_field(b, 1)? == name
            {
                return Attribute::read(b).map(Some);
            }
        }
        Ok(None)
    }

    /// The refusal of a graph at this node.
    pub(crate) fn unsupported(&self, reason: impl Into<String>) -> WeightsError {
        let node = if self.name.is_empty() { self.output() } else { self.name };
        WeightsError::UnsupportedGraph { node: clip(node), op: clip(self.op), reason: reason.into() }
    }
}

/// An attribute of a node.
#[derive(Debug, Default)]
pub(crate) struct Attribute<'a> {
    pub(crate) float: Option<f32>,
    pub(crate) int: Option<i64>,
    pub(crate) string: Option<&'a [u8]>,
    pub(crate) tensor: Option<&'a [u8]>,
    pub(crate) floats: Vec<f32>,
    pub(crate) ints: Vec<i64>,
}

impl<'a> Attribute<'a> {
    fn read(message: &'a [u8]) -> Result<Self> {
        let mut out = Self::default();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field {
                (2, Value::Fixed32(b)) => out.float = Some(f32::from_le_bytes(b)),
                (3, Value::Varint(v)) => out.int = Some(v as i64),
                (4, Value::Bytes(b)) => out.string = Some(b),
                (5, Value::Bytes(b)) => out.tensor = Some(b),
                (7, Value::Fixed32(b)) => out.floats.push(f32::from_le_bytes(b)),
                (7, Value::Bytes(b)) => {
                    let packed = b.as_chunks::<4>().0.iter().map(|&c| f32::from_le_bytes(c));
                    out.floats.extend(packed.take(MAX_LIST + 1));
                }
                (8, v) => integers(v, MAX_LIST, &mut out.ints)?,
                _ => {}
            }
            if out.floats.len().max(out.ints.len()) > MAX_LIST {
                return Err(bad("an attribute with a long list"));
            }
        }
        Ok(out)
    }
}

/// Appends repeated integers, packed or not.
fn integers(value: Value<'_>, most: usize, out: &mut Vec<i64>) -> Result<()> {
    match value {
        Value::Varint(v) => out.push(v as i64),
        Value::Bytes(b) => {
            let mut reader = Reader::new(b);
            while !reader.is_empty() && out.len() <= most {
                out.push(reader.varint()? as i64);
            }
        }
        _ => return Err(bad("an integer of another type")),
    }
    Ok(())
}

/// A tensor whose values are in the file.
#[derive(Clone, Debug)]
pub(crate) struct Constant<'a> {
    pub(crate) dims: Vec<usize>,
    /// The element type, in the numbering of the format.
    pub(crate) kind: u64,
    /// Little-endian elements, or the packed 4 or 8 byte list of the type, which is the same.
    pub(crate) bytes: Option<&'a [u8]>,
    /// Packed variable-length integers.
    pub(crate) varints: Option<&'a [u8]>,
}

impl<'a> Constant<'a> {
    fn read(message: &'a [u8]) -> Result<(&'a str, Self)> {
        let mut name = "";
        let mut dims = Vec::new();
        let mut out = Self { dims: Vec::new(), kind: 0, bytes: None, varints: None };
        let mut reader = Reader::new(message);
        while let Some((field, value)) = reader.field()? {
            let (wide, narrow) = (out.bytes.is_some(), out.varints.is_some());
            match (field, value) {
                (1, v) => {
                    integers(v, MAX_RANK, &mut dims)?;
                    if dims.len() > MAX_RANK {
                        return Err(bad("a tensor with too many dimensions"));
                    }
                }
                (2, Value::Varint(v)) => out.kind = v,
                (4 | 9 | 10, Value::Bytes(b)) if !wide && !narrow => out.bytes = Some(b),
                (5 | 7, Value::Bytes(b)) if !wide && !narrow => out.varints = Some(b),
                (8, Value::Bytes(b)) => name = text(b)?,
                (13, _) | (14, Value::Varint(1)) => return Err(bad("weights in a file beside this one")),
                (4 | 5 | 7 | 9 | 10, _) => return Err(bad("a tensor in several pieces")),
                _ => {}
            }
        }
        let dims: std::result::Result<_, _> = dims.into_iter().map(usize::try_from).collect();
        out.dims = dims.map_err(|_| bad("a tensor with a negative size"))?;
        Ok((name, out))
    }

    /// The constant in the message of a tensor.
    pub(crate) fn of_message(message: &'a [u8]) -> Result<Self> {
        Self::read(message).map(|(_, constant)| constant)
    }

    /// The constant as a tensor of the network.
    pub(crate) fn raw(&self, name: String) -> RawTensor<'a> {
        let dtype = match self.kind {
            1 => Dtype::F32,
            10 => Dtype::F16,
            11 => Dtype::F64,
            16 => Dtype::Bf16,
            _ => Dtype::Other,
        };
        let halves = matches!(dtype, Dtype::F16 | Dtype::Bf16);
        let data = match self.varints {
            Some(v) if halves => Data::Varints(v),
            _ => Data::Le(self.bytes.unwrap_or_default()),
        };
        RawTensor { name, shape: self.dims.clone(), dtype, data, strided: None }
    }
}

/// The dimensions that a graph input states; zero for one that is free.
fn input_dims(input: &[u8]) -> Result<Vec<usize>> {
    let shape = [2, 1, 2].into_iter().try_fold(input, |message, field| bytes_field(message, field))?;
    let mut dims = Vec::new();
    let mut reader = Reader::new(shape);
    while let Some(field) = reader.field()? {
        if let (1, Value::Bytes(dim)) = field {
            let stated = match Reader::new(dim).field()? {
                Some((1, Value::Varint(v))) => usize::try_from(v).unwrap_or(0),
                _ => 0,
            };
            dims.push(stated);
        }
        if dims.len() > MAX_RANK {
            return Err(bad("an input with too many dimensions"));
        }
    }
    Ok(dims)
}

/// The last field of that number, or nothing.
fn bytes_field(message: &[u8], number: u64) -> Result<&[u8]> {
    let mut found: &[u8] = &[];
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        if let Value::Bytes(b) = value
            && field == number
        {
            found = b;
        }
    }
    Ok(found)
}

fn text_field(message: &[u8], number: u64) -> Result<&str> {
    text(bytes_field(message, number)?)
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| bad("a name is not text"))
}

/// A structural error.
pub(crate) fn bad(detail: &str) -> WeightsError {
    WeightsError::malformed(CONTAINER, detail)
}
