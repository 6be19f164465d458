//! A tensor as it lies in a file: borrowed bytes, a number format and a layout.
//!
//! Loaders produce these without copying data; numbers are decoded only after the names and shapes
//! of the whole file are known to fit the network.

use half::slice::HalfFloatSliceExt;

use super::{Result, WeightsError, protobuf};

/// The number format of a stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dtype {
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// Anything else; never accepted for a tensor of the network.
    Other,
}

impl Dtype {
    /// The bytes of one element, if the format can be decoded.
    pub(crate) fn size(self) -> Option<usize> {
        match self {
            Self::F16 | Self::Bf16 => Some(2),
            Self::F32 => Some(4),
            Self::F64 => Some(8),
            Self::Other => None,
        }
    }

    /// The name used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Other => "another type",
        }
    }
}

/// Where the numbers of a tensor are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Data<'a> {
    /// Little-endian elements.
    Le(&'a [u8]),
    /// Packed protobuf varints that hold 16-bit patterns.
    Varints(&'a [u8]),
}

/// A tensor of a file, not yet decoded.
#[derive(Clone, Debug)]
pub(crate) struct RawTensor<'a> {
    /// The name in the file.
    pub(crate) name: String,
    /// Its dimensions.
    pub(crate) shape: Vec<usize>,
    /// The number format.
    pub(crate) dtype: Dtype,
    /// The bytes.
    pub(crate) data: Data<'a>,
    /// The first element and the step of each dimension, in elements; none when the elements are
    /// contiguous, in row-major order and exactly as many as the shape asks for.
    pub(crate) strided: Option<(usize, Vec<usize>)>,
}

impl RawTensor<'_> {
    /// The elements of the shape, if that number can be represented.
    pub(crate) fn numel(&self) -> Option<usize> {
        numel(&self.shape)
    }

    /// Decodes to f32 in row-major order; `name` is the canonical name for messages.
    ///
    /// The caller has checked that the number of elements is affordable.
    pub(crate) fn decode(&self, name: &str) -> Result<Vec<f32>> {
        let wrong_type = || WeightsError::WrongDtype { name: name.into(), found: self.dtype.name().into() };
        let size = self.dtype.size().ok_or_else(wrong_type)?;
        let count = self.numel().ok_or_else(|| WeightsError::malformed("weight", format!("{name}: size overflows")))?;
        let values = match (&self.strided, self.data) {
            (_, Data::Varints(bytes)) => decode_varints(bytes, self.dtype, count).ok_or_else(|| {
                WeightsError::malformed("ONNX", format!("{name}: expected {count} values of 16 bits"))
            })?,
            (None, Data::Le(bytes)) => {
                let need = count.saturating_mul(size);
                if bytes.len() != need {
                    return Err(WeightsError::truncated("a tensor", need, bytes.len()));
                }
                decode_contiguous(bytes, self.dtype)
            }
            (Some((offset, strides)), Data::Le(bytes)) => {
                decode_strided(bytes, self.dtype, size, &self.shape, *offset, strides, count)
                    .ok_or_else(|| WeightsError::malformed("PyTorch", format!("{name}: view outside of its storage")))?
            }
        };
        match first_non_finite(&values) {
            Some(index) => Err(WeightsError::NonFinite { name: name.into(), index }),
            None => Ok(values),
        }
    }
}

/// The product of the dimensions, if it fits.
pub(crate) fn numel(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))
}

fn decode_contiguous(bytes: &[u8], dtype: Dtype) -> Vec<f32> {
    let halves = |bits: fn(&mut [f32], &[[u8; 2]])| {
        let (pairs, _) = bytes.as_chunks::<2>();
        let mut out = vec![0.0; pairs.len()];
        for (to, from) in out.chunks_mut(BLOCK).zip(pairs.chunks(BLOCK)) {
            bits(to, from);
        }
        out
    };
    match dtype {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        Dtype::F16 => halves(f16_block),
        Dtype::Bf16 => halves(bf16_block),
        Dtype::Other => Vec::new(),
    }
}

/// Half precision is converted through a block on the stack, so that the processor's conversion of
/// whole vectors is used without a second copy of the tensor.
const BLOCK: usize = 512;

fn f16_block(to: &mut [f32], from: &[[u8; 2]]) {
    let mut block = [half::f16::ZERO; BLOCK];
    for (h, &b) in block.iter_mut().zip(from) {
        *h = half::f16::from_le_bytes(b);
    }
    if let Some(block) = block.get(..to.len()) {
        block.convert_to_f32_slice(to);
    }
}

fn bf16_block(to: &mut [f32], from: &[[u8; 2]]) {
    for (x, &b) in to.iter_mut().zip(from) {
        *x = f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16);
    }
}

fn decode_one(bytes: &[u8], dtype: Dtype) -> Option<f32> {
    Some(match dtype {
        Dtype::F16 => half::f16::from_le_bytes(bytes.try_into().ok()?).to_f32(),
        Dtype::Bf16 => half::bf16::from_le_bytes(bytes.try_into().ok()?).to_f32(),
        Dtype::F32 => f32::from_le_bytes(bytes.try_into().ok()?),
        Dtype::F64 => f64::from_le_bytes(bytes.try_into().ok()?) as f32,
        Dtype::Other => return None,
    })
}

fn decode_varints(bytes: &[u8], dtype: Dtype, count: usize) -> Option<Vec<f32>> {
    // Each value takes a byte or more, so this also bounds the allocation.
    if count > bytes.len() {
        return None;
    }
    let mut out = Vec::with_capacity(count);
    let mut reader = protobuf::Reader::new(bytes);
    while !reader.is_empty() {
        let bits = u16::try_from(reader.varint().ok()?).ok()?;
        if out.len() == count {
            return None;
        }
        out.push(decode_one(&bits.to_le_bytes(), dtype)?);
    }
    (out.len() == count).then_some(out)
}

fn decode_strided(
    bytes: &[u8],
    dtype: Dtype,
    size: usize,
    shape: &[usize],
    offset: usize,
    strides: &[usize],
    count: usize,
) -> Option<Vec<f32>> {
    if strides.len() != shape.len() {
        return None;
    }
    if count == 0 {
        return Some(Vec::new());
    }
    let mut last = offset;
    for (&d, &s) in shape.iter().zip(strides) {
        last = last.checked_add(d.checked_sub(1)?.checked_mul(s)?)?;
    }
    let end = last.checked_add(1)?.checked_mul(size)?;
    let used = bytes.get(offset.checked_mul(size)?..end)?;
    if is_row_major(shape, strides) {
        return Some(decode_contiguous(used, dtype));
    }
    let mut out = Vec::with_capacity(count);
    let mut index = vec![0_usize; shape.len()];
    let mut at = 0_usize;
    loop {
        out.push(decode_one(used.get(at * size..(at + 1) * size)?, dtype)?);
        let mut d = shape.len();
        loop {
            if d == 0 {
                return Some(out);
            }
            d -= 1;
            index[d] += 1;
            if index[d] < shape[d] {
                at += strides[d];
                break;
            }
            at -= (shape[d] - 1) * strides[d];
            index[d] = 0;
        }
    }
}

/// Whether the strides are those of a contiguous row-major tensor; a dimension of one element may
/// have any stride.
pub(crate) fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1_usize;
    for (&d, &s) in shape.iter().zip(strides).rev() {
        if d != 1 && s != expected {
            return false;
        }
        expected = expected.saturating_mul(d);
    }
    true
}

fn first_non_finite(values: &[f32]) -> Option<usize> {
    // The block test has no early exit and so runs on whole vectors.
    const STEP: usize = 1024;
    for (i, block) in values.chunks(STEP).enumerate() {
        if block.iter().fold(false, |bad, x| bad | !x.is_finite()) {
            return block.iter().position(|x| !x.is_finite()).map(|j| i * STEP + j);
        }
    }
    None
}
