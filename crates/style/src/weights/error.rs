//! What can be wrong with a weight file.

use std::fmt::Write as _;
use std::path::PathBuf;

/// Why weights could not be read, combined or written.
///
/// Each message is one line: what was expected, what came, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The operating system refused to read or write a file.
    #[error("cannot access {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file has no bytes.
    #[error("expected a weight file, found an empty file; copy or download it again")]
    Empty,
    /// The bytes are of no known container.
    #[error("expected a safetensors, PyTorch or ONNX file, found {found}")]
    NotAWeightFile {
        /// What the bytes look like, with a remedy where one is known.
        found: String,
    },
    /// A known format that this loader does not read.
    #[error("expected a safetensors, PyTorch or ONNX file, found {format}; {remedy}")]
    ForeignFormat {
        /// The format that was recognised.
        format: &'static str,
        /// How to get a readable file from it.
        remedy: &'static str,
    },
    /// The file ends before its content does.
    #[error("file is cut short: {what} needs {expected} bytes, {found} are there; copy or download it again")]
    Truncated {
        /// The part that is incomplete.
        what: &'static str,
        /// The bytes that this part needs.
        expected: u64,
        /// The bytes that are left for it.
        found: u64,
    },
    /// The stated header length of a safetensors file cannot be true.
    #[error(
        "safetensors header states {length} bytes, at most {limit} are accepted; the file is damaged or not safetensors"
    )]
    HeaderTooLarge {
        /// The stated length.
        length: u64,
        /// The longest accepted header.
        limit: u64,
    },
    /// The container is recognised but its inner structure is broken or beyond the limits.
    #[error("damaged or unsupported {container} file: {detail}; save the weights again as safetensors or a state_dict")]
    Malformed {
        /// The container.
        container: &'static str,
        /// What is wrong in it.
        detail: String,
    },
    /// Tensors of the network that the file does not have.
    #[error("expected all tensors of the network, missing {}; use a complete checkpoint", list(.names))]
    MissingTensor {
        /// Their canonical names.
        names: Vec<String>,
    },
    /// Tensors that the network does not have.
    #[error(
        "expected only tensors of the style network, found also {}; use another file, or allow extra tensors if they may be dropped",
        list(.names)
    )]
    UnexpectedTensor {
        /// Their names in the file.
        names: Vec<String>,
    },
    /// A tensor whose shape does not fit the network.
    #[error(
        "tensor {name}: expected shape {expected:?}, found {found:?}; the file is of another architecture or width"
    )]
    WrongShape {
        /// The canonical name.
        name: String,
        /// The shape that the width of the network asks for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor whose numbers are not floating point, or of a width that is not supported.
    #[error("tensor {name}: expected f32, f16, bf16 or f64 values, found {found}; convert it to f32 first")]
    WrongDtype {
        /// The canonical name.
        name: String,
        /// The number format in the file.
        found: String,
    },
    /// An infinite value or a NaN.
    #[error(
        "tensor {name}: expected finite values, found NaN or infinity at element {index}; the training diverged or the file is damaged"
    )]
    NonFinite {
        /// The canonical name.
        name: String,
        /// The first such element, counted in the row-major order of the shape.
        index: usize,
    },
    /// A value that the asked number format cannot hold.
    #[error("tensor {name}: value {value} at element {index} does not fit f16; save as f32")]
    OutOfRange {
        /// The canonical name.
        name: String,
        /// The element.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A pickle that refers to code beyond the few names that plain weights need.
    #[error(
        "expected a checkpoint of plain tensors, found a pickle that refers to {global}; nothing was run; save model.state_dict() instead"
    )]
    UnsafePickle {
        /// The refused name, as `module.name`.
        global: String,
    },
    /// An ONNX graph that is not this network.
    #[error(
        "expected the graph of a style network, found operator {op} at node {node}: {reason}; export the original network again"
    )]
    UnsupportedGraph {
        /// The node's name, or its first output.
        node: String,
        /// Its operator.
        op: String,
        /// What does not fit.
        reason: String,
    },
    /// Compressed content.
    #[error("expected uncompressed content, found {entry} compressed; unpack it or save it again without compression")]
    Compressed {
        /// The entry of the archive, or the kind of compression of the whole file.
        entry: String,
    },
    /// Models that cannot be blended.
    #[error("cannot blend: {detail}")]
    Blend {
        /// Why not.
        detail: String,
    },
}

impl WeightsError {
    /// A structural error of `container`.
    pub(crate) fn malformed(container: &'static str, detail: impl Into<String>) -> Self {
        Self::Malformed { container, detail: detail.into() }
    }

    /// A file that ends early.
    pub(crate) fn truncated(what: &'static str, expected: usize, found: usize) -> Self {
        Self::Truncated { what, expected: expected as u64, found: found as u64 }
    }
}

/// Text of a file made fit for one line of a message: escaped and cut to a readable length.
pub(crate) fn clip(text: &str) -> String {
    const KEEP: usize = 120;
    let mut out: String = text.chars().take(KEEP).flat_map(char::escape_debug).collect();
    if text.chars().nth(KEEP).is_some() {
        out.push_str("...");
    }
    out
}

/// The first few names and how many more there are.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let mut out = format!("{} tensor{} (", names.len(), if names.len() == 1 { "" } else { "s" });
    for (i, name) in names.iter().take(SHOWN).enumerate() {
        let _ = write!(out, "{}{}", if i == 0 { "" } else { ", " }, clip(name));
    }
    if names.len() > SHOWN {
        out.push_str(", ...");
    }
    out.push(')');
    out
}
