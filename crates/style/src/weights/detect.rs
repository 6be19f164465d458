//! What a file is, judged by its first bytes.

use super::error::clip;
use super::pth::LEGACY_MAGIC;
use super::safetensors::MAX_HEADER;
use super::{Container, Result, WeightsError};

/// Recognises the container of `bytes`; `hint` is the file's name and only breaks ties.
pub(crate) fn container(bytes: &[u8], hint: &str) -> Result<Container> {
    if bytes.is_empty() {
        return Err(WeightsError::Empty);
    }
    if bytes.starts_with(b"version https://git-lfs") {
        let found = "a Git LFS pointer in place of the file itself; run `git lfs pull`";
        return Err(WeightsError::NotAWeightFile { found: found.into() });
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Ok(Container::TorchZip);
    }
    if bytes.starts_with(LEGACY_MAGIC) {
        return Ok(Container::TorchLegacy);
    }
    // After eight bytes of length every header of safetensors opens with a brace. A likely length is
    // trusted before all other signs, as it can look like the first bytes of another format.
    let brace = bytes.get(8) == Some(&b'{');
    let likely = bytes.first_chunk().is_some_and(|n| u64::from_le_bytes(*n) <= MAX_HEADER);
    if brace && likely {
        return Ok(Container::Safetensors);
    }
    if let Some(error) = foreign(bytes) {
        return Err(error);
    }
    if brace {
        return Ok(Container::Safetensors);
    }
    // The first field of a model is its version, an integer.
    if bytes.first() == Some(&0x08) || extension(hint, "onnx") {
        return Ok(Container::Onnx);
    }
    if LEGACY_MAGIC.starts_with(bytes) {
        return Err(WeightsError::truncated("a PyTorch checkpoint", LEGACY_MAGIC.len(), bytes.len()));
    }
    if extension(hint, "safetensors") && bytes.len() <= 8 {
        return Err(WeightsError::truncated("the safetensors header", 9, bytes.len()));
    }
    Err(WeightsError::NotAWeightFile { found: describe(bytes) })
}

fn extension(name: &str, wanted: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, e)| e.eq_ignore_ascii_case(wanted))
}

/// Formats that are known and refused.
fn foreign(bytes: &[u8]) -> Option<WeightsError> {
    let refuse = |format, remedy| Some(WeightsError::ForeignFormat { format, remedy });
    let packed = |kind: &str| Some(WeightsError::Compressed { entry: format!("the whole file ({kind})") });
    let tensorflow = "export the model to ONNX, or write its weights as safetensors under the PyTorch names";
    if bytes.starts_with(b"\x1f\x8b") {
        return packed("gzip");
    }
    if bytes.starts_with(b"\x28\xb5\x2f\xfd") {
        return packed("zstd");
    }
    if bytes.starts_with(b"\xfd7zXZ\0") {
        return packed("xz");
    }
    if bytes.starts_with(b"BZh") {
        return packed("bzip2");
    }
    if bytes.starts_with(b"\x89HDF\r\n\x1a\n") {
        return refuse("an HDF5 file (Keras or TensorFlow)", tensorflow);
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return refuse("a TensorFlow Lite model", tensorflow);
    }
    // The index of a TensorFlow checkpoint is a table with its magic number at the end.
    if bytes.ends_with(b"\x57\xfb\x80\x8b\x24\x75\x47\xdb") {
        return refuse("a TensorFlow checkpoint", tensorflow);
    }
    // A frozen graph begins with its first node; a saved model with its version and a nested graph.
    let head = bytes.get(..bytes.len().min(65_536)).unwrap_or_default();
    let mentions = |word: &[u8]| head.windows(word.len()).any(|w| w == word);
    if (bytes.starts_with(b"\x0a") && (mentions(b"Placeholder") || mentions(b"Conv2D") || mentions(b"Const")))
        || (bytes.starts_with(b"\x08\x01\x12") && mentions(b"saved_model"))
    {
        return refuse("a TensorFlow graph", tensorflow);
    }
    if bytes.starts_with(b"\x93NUMPY") {
        return refuse("a single NumPy array", "write all arrays with safetensors.numpy.save_file");
    }
    if is_torch7(bytes) {
        return refuse(
            "a Torch7 .t7 file (Lua)",
            "load it with torchfile and save its weights under the PyTorch names",
        );
    }
    None
}

/// A Torch7 file opens with a table or an object that has the number 1, in binary or as text.
fn is_torch7(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1")
        || bytes.starts_with(b"\x03\0\0\0\x01\0\0\0")
        || bytes.starts_with(b"4\n1\n3\nV 1\n")
}

fn describe(bytes: &[u8]) -> String {
    let head = bytes.get(..bytes.len().min(32)).unwrap_or_default();
    if bytes.starts_with(b"\x80") && bytes.get(1).is_some_and(|v| (2..=5).contains(v)) {
        return "a pickle that is not a PyTorch checkpoint; save the weights with torch.save or as safetensors".into();
    }
    if [&b"\x89PNG"[..], b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*"].iter().any(|mark| bytes.starts_with(mark)) {
        return "a picture; give the file of the model".into();
    }
    let lower = head.to_ascii_lowercase();
    if lower.starts_with(b"<!doctype") || lower.starts_with(b"<html") {
        return "a web page; the download answered with a page in place of the file".into();
    }
    if head.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) {
        return format!("text that begins with \"{}\"", clip(&String::from_utf8_lossy(head)));
    }
    let hex: Vec<String> = head.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("unknown bytes {}", hex.join(" "))
}
