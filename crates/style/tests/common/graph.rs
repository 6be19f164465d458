//! A writer of small ONNX graphs of the network, with room for mistakes.

use style::weights::{LayerId, StyleModel};

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// A field of bytes.
pub(crate) fn bytes(field: u64, b: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(b.len() as u64), b.to_vec()].concat()
}

fn number(field: u64, n: u64) -> Vec<u8> {
    [varint(field << 3), varint(n)].concat()
}

/// A list of integers as an attribute.
pub(crate) fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let list: Vec<u8> = values.iter().flat_map(|&v| number(8, v as u64)).collect();
    bytes(5, &[bytes(1, name.as_bytes()), list].concat())
}

/// A string as an attribute.
pub(crate) fn string(name: &str, value: &str) -> Vec<u8> {
    bytes(5, &[bytes(1, name.as_bytes()), bytes(4, value.as_bytes())].concat())
}

/// A node.
pub(crate) fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|i| bytes(1, i.as_bytes())).collect();
    bytes(1, &[inputs, bytes(2, output.as_bytes()), bytes(4, op.as_bytes()), attributes.concat()].concat())
}

fn constant(name: &str, kind: u64, dims: &[usize], data: Vec<u8>) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&d| number(1, d as u64)).collect();
    bytes(5, &[dims, number(2, kind), bytes(8, name.as_bytes()), data].concat())
}

/// How an initialiser stores its values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Raw,
    FloatList,
    /// Half precision as bit patterns in variable-length integers.
    HalfInts,
    Bf16Raw,
    F64List,
}

/// What the graph is and where it departs from the network.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) opset: u64,
    pub(crate) store: Store,
    pub(crate) pad_mode: &'static str,
    pub(crate) epsilon: f32,
    /// Replaces the operator of the ReLU layers.
    pub(crate) relu: &'static str,
    /// Replaces the operator of the convolutions after upsampling.
    pub(crate) up_conv: &'static str,
    pub(crate) conv_pads: [i64; 4],
    pub(crate) resize_mode: &'static str,
    pub(crate) rounding: &'static str,
    pub(crate) scale: f32,
    /// An operator after the last convolution.
    pub(crate) tail: Option<&'static str>,
    /// Whether sums take the output of the first block in place of their own block's input.
    pub(crate) wrong_skip: bool,
    /// An Identity and a Cast on the path, and sizes in place of scales.
    pub(crate) detours: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            opset: 11,
            store: Store::Raw,
            pad_mode: "reflect",
            epsilon: 1e-5,
            relu: "Relu",
            up_conv: "Conv",
            conv_pads: [0; 4],
            resize_mode: "nearest",
            rounding: "floor",
            scale: 2.0,
            tail: None,
            wrong_skip: false,
            detours: false,
        }
    }
}

struct Writer<'s> {
    spec: &'s Spec,
    nodes: Vec<u8>,
    count: usize,
}

impl Writer<'_> {
    fn add(&mut self, op: &str, inputs: &[&str], attributes: &[Vec<u8>]) -> String {
        self.count += 1;
        let output = format!("t{}", self.count);
        self.nodes.extend(node(op, inputs, &output, attributes));
        output
    }

    fn conv(&mut self, x: &str, layer: LayerId) -> String {
        let k = layer.kernel() as i64;
        let (p, s) = (k / 2, layer.stride() as i64);
        let pads = ints("pads", &[0, 0, p, p, 0, 0, p, p]);
        let x = if self.spec.opset < 11 {
            self.add("Pad", &[x], &[string("mode", self.spec.pad_mode), pads])
        } else {
            self.add("Pad", &[x, &format!("pads{p}")], &[string("mode", self.spec.pad_mode)])
        };
        let name = layer.conv_name();
        let op = if layer.upsamples() { self.spec.up_conv } else { "Conv" };
        let attributes = [ints("kernel_shape", &[k, k]), ints("strides", &[s, s]), ints("pads", &self.spec.conv_pads)];
        self.add(op, &[&x, &format!("{name}.weight"), &format!("{name}.bias")], &attributes)
    }

    fn norm(&mut self, x: &str, layer: LayerId) -> String {
        let name = layer.norm_name().unwrap();
        let eps = [vec![varint(2 << 3 | 5)], vec![self.spec.epsilon.to_le_bytes().to_vec()]].concat().concat();
        let eps = bytes(5, &[bytes(1, b"epsilon"), eps].concat());
        self.add("InstanceNormalization", &[x, &format!("{name}.weight"), &format!("{name}.bias")], &[eps])
    }

    fn up(&mut self, x: &str, sizes: &str) -> String {
        if self.spec.opset < 10 {
            return self.add("Upsample", &[x, "scales"], &[string("mode", self.spec.resize_mode)]);
        }
        let rule = [
            string("mode", self.spec.resize_mode),
            string("coordinate_transformation_mode", "asymmetric"),
            string("nearest_mode", self.spec.rounding),
        ];
        if self.spec.detours {
            // Shape, then the sizes doubled by arithmetic.
            let shape = self.add("Shape", &[x], &[]);
            let doubled = self.add("Mul", &[&shape, "doubling"], &[]);
            let x = self.add("Identity", &[x], &[]);
            return self.add("Resize", &[&x, "", "", &doubled], &rule);
        }
        let _ = sizes;
        self.add("Resize", &[x, "", "scales"], &rule)
    }
}

/// Writes the graph of a model.
pub(crate) fn onnx(model: &StyleModel, spec: &Spec) -> Vec<u8> {
    let mut w = Writer { spec, nodes: Vec::new(), count: 0 };
    let mut x = "image".to_owned();
    let mut block_input = String::new();
    let mut first_input = None;
    for layer in model.layers() {
        if layer.upsamples() {
            x = w.up(&x, "");
        }
        if let LayerId::Res { conv: 1, .. } = layer {
            block_input.clone_from(&x);
            first_input.get_or_insert_with(|| x.clone());
        }
        x = w.conv(&x, layer);
        if layer.norm_name().is_some() {
            x = w.norm(&x, layer);
        }
        match layer {
            LayerId::Res { conv: 2, .. } => {
                let skip = if spec.wrong_skip { first_input.clone().unwrap() } else { block_input.clone() };
                x = w.add("Add", &[&x, &skip], &[]);
            }
            LayerId::Deconv3 => {}
            _ => x = w.add(spec.relu, &[&x], &[]),
        }
    }
    if let Some(op) = spec.tail {
        x = w.add(op, &[&x], &[]);
    }
    let mut graph = w.nodes;
    for t in model.tensors() {
        let raw = |width: usize, of: &dyn Fn(f32) -> Vec<u8>| -> Vec<u8> {
            let out: Vec<u8> = t.data.iter().flat_map(|&x| of(x)).collect();
            assert_eq!(out.len(), width * t.data.len());
            out
        };
        let (kind, data) = match spec.store {
            Store::Raw => (1, bytes(9, &raw(4, &|x| x.to_le_bytes().to_vec()))),
            Store::FloatList => (1, bytes(4, &raw(4, &|x| x.to_le_bytes().to_vec()))),
            Store::F64List => (11, bytes(10, &raw(8, &|x| f64::from(x).to_le_bytes().to_vec()))),
            Store::Bf16Raw => (16, bytes(9, &raw(2, &|x| half::bf16::from_f32(x).to_le_bytes().to_vec()))),
            Store::HalfInts => {
                let list: Vec<u8> =
                    t.data.iter().flat_map(|&x| varint(half::f16::from_f32(x).to_bits().into())).collect();
                (10, bytes(5, &list))
            }
        };
        graph.extend(constant(&t.name, kind, &t.shape, data));
    }
    for p in [1_i64, 4] {
        let list: Vec<u8> = [0, 0, p, p, 0, 0, p, p].iter().flat_map(|v| v.to_le_bytes()).collect();
        graph.extend(constant(&format!("pads{p}"), 7, &[8], bytes(9, &list)));
    }
    let scales: Vec<u8> = [1.0, 1.0, spec.scale, spec.scale].iter().flat_map(|v| v.to_le_bytes()).collect();
    graph.extend(constant("scales", 1, &[4], bytes(9, &scales)));
    let doubling: Vec<u8> = [1_i64, 1, 2, 2].iter().flat_map(|v| v.to_le_bytes()).collect();
    graph.extend(constant("doubling", 7, &[4], bytes(9, &doubling)));
    graph.extend(bytes(11, &bytes(1, b"image")));
    graph.extend(bytes(12, &bytes(1, x.as_bytes())));
    [number(1, 8), bytes(2, b"writer"), bytes(7, &graph), bytes(8, &number(2, spec.opset))].concat()
}
