//! `.npy` files (version 1.0 to 3.0, little endian, row-major). The header is checked against the length of the file
//! before memory is taken; writing goes to a temporary file that is renamed when complete.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use crate::error::{AtaError, Result};

/// Values of an array in the type of the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// `|u1`
    U8(Vec<u8>),
    /// `<u2`
    U16(Vec<u16>),
    /// `<i4`
    I32(Vec<i32>),
    /// `<u4`
    U32(Vec<u32>),
    /// `<i8`
    I64(Vec<i64>),
    /// `<u8`
    U64(Vec<u64>),
    /// `<f4`
    F32(Vec<f32>),
    /// `<f8`
    F64(Vec<f64>),
}

/// An array of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct NpyArray {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Values,
}

macro_rules! each {
    ($values:expr, $v:pat => $body:expr) => {
        match $values {
            Values::U8($v) => $body,
            Values::U16($v) => $body,
            Values::I32($v) => $body,
            Values::U32($v) => $body,
            Values::I64($v) => $body,
            Values::U64($v) => $body,
            Values::F32($v) => $body,
            Values::F64($v) => $body,
        }
    };
}

/// Number types that `.npy` files of this crate hold.
pub trait Number: bytemuck::Pod {
    /// The type as files name it.
    const DESCR: &'static str;
    /// Wraps values.
    fn wrap(values: Vec<Self>) -> Values;
    /// The values when they have this type.
    fn unwrap(values: Values) -> Option<Vec<Self>>;
}

macro_rules! number {
    ($($t:ty, $v:ident, $descr:literal;)*) => {
        $(impl Number for $t {
            const DESCR: &'static str = $descr;
            fn wrap(values: Vec<Self>) -> Values {
                Values::$v(values)
            }
            fn unwrap(values: Values) -> Option<Vec<Self>> {
                match values {
                    Values::$v(values) => Some(values),
                    _ => None,
                }
            }
        })*
        fn decode(descr: &str, bytes: &[u8]) -> Option<Values> {
            $(if descr == $descr || descr.strip_prefix('=') == $descr.strip_prefix('<') && descr.starts_with('=') {
                let size = size_of::<$t>();
                let read = |b: &[u8]| <$t>::from_le_bytes(b.try_into().expect("chunks have this size"));
                return Some(Values::$v(bytes.chunks_exact(size).map(read).collect()));
            })*
            None
        }
        fn size_of_descr(descr: &str) -> Option<usize> {
            $(if descr == $descr || descr.strip_prefix('=') == $descr.strip_prefix('<') && descr.starts_with('=') {
                return Some(size_of::<$t>());
            })*
            None
        }
    };
}
number! {
    u8, U8, "|u1";
    u16, U16, "<u2";
    i32, I32, "<i4";
    u32, U32, "<u4";
    i64, I64, "<i8";
    u64, U64, "<u8";
    f32, F32, "<f4";
    f64, F64, "<f8";
}

impl Values {
    /// Name of the type, as files have it.
    pub fn descr(&self) -> &'static str {
        match self {
            Self::U8(_) => u8::DESCR,
            Self::U16(_) => u16::DESCR,
            Self::I32(_) => i32::DESCR,
            Self::U32(_) => u32::DESCR,
            Self::I64(_) => i64::DESCR,
            Self::U64(_) => u64::DESCR,
            Self::F32(_) => f32::DESCR,
            Self::F64(_) => f64::DESCR,
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        each!(self, v => v.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// CRC-32 of the bytes.
    pub fn crc32(&self) -> u32 {
        each!(self, v => crc32fast::hash(bytemuck::cast_slice(v)))
    }

    /// All values as `f64`; exact for all but large 64-bit integers.
    #[allow(clippy::unnecessary_cast, reason = "one of the types is f64 itself")]
    pub fn to_f64(&self) -> Vec<f64> {
        each!(self, v => v.iter().map(|&v| v as f64).collect())
    }
}

impl NpyArray {
    /// The values, which must have this type.
    pub fn into_vec<T: Number>(self, path: &Path) -> Result<(Vec<usize>, Vec<T>)> {
        let descr = self.values.descr();
        match T::unwrap(self.values) {
            Some(values) => Ok((self.shape, values)),
            None => Err(AtaError::file(path, "descr", format!("the numbers are {descr}, expected {}", T::DESCR))),
        }
    }

    /// The values, which must have this type and as many axes.
    pub fn of_rank<T: Number, const R: usize>(self, path: &Path) -> Result<([usize; R], Vec<T>)> {
        let (shape, values) = self.into_vec(path)?;
        let shape = <[usize; R]>::try_from(shape.as_slice())
            .map_err(|_| AtaError::file(path, "shape", format!("{shape:?} has not {R} axes")))?;
        Ok((shape, values))
    }

    /// The values as integers that fit in `i32`, whatever integer type the file has.
    pub fn integers(self, path: &Path) -> Result<(Vec<usize>, Vec<i32>)> {
        let fail = |i: usize, v: String| AtaError::file(path, "data", format!("element {i} is {v}, no 32-bit integer"));
        let values = match self.values {
            Values::I32(v) => v,
            Values::F32(_) | Values::F64(_) => {
                return Err(AtaError::file(path, "descr", "floating point numbers where integers are expected"));
            }
            other => {
                let mut out = Vec::with_capacity(other.len());
                let wide: Vec<i128> = match other {
                    Values::U8(v) => v.into_iter().map(i128::from).collect(),
                    Values::U16(v) => v.into_iter().map(i128::from).collect(),
                    Values::U32(v) => v.into_iter().map(i128::from).collect(),
                    Values::I64(v) => v.into_iter().map(i128::from).collect(),
                    Values::U64(v) => v.into_iter().map(i128::from).collect(),
                    _ => Vec::new(),
                };
                for (i, v) in wide.into_iter().enumerate() {
                    out.push(i32::try_from(v).map_err(|_| fail(i, v.to_string()))?);
                }
                out
            }
        };
        Ok((self.shape, values))
    }
}

/// Reads an array.
pub fn read(path: &Path) -> Result<NpyArray> {
    let fail = |field: &str, why: String| AtaError::file(path, field, why);
    let io = |e: std::io::Error| fail("file", format!("cannot be read: {e}"));
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut start = [0; 12];
    let short = |_| fail("header", format!("the file is truncated: {length} bytes do not hold the .npy header"));
    file.read_exact(&mut start[..10]).map_err(short)?;
    if &start[..6] != b"\x93NUMPY" {
        return Err(fail("header", "this is no .npy file; save it with numpy.save".to_owned()));
    }
    let (header, before) = if start[6] == 1 {
        (u64::from(u16::from_le_bytes([start[8], start[9]])), 10)
    } else {
        file.read_exact(&mut start[10..]).map_err(short)?;
        (u64::from(u32::from_le_bytes([start[8], start[9], start[10], start[11]])), 12)
    };
    if before + header > length {
        return Err(short(std::io::ErrorKind::UnexpectedEof.into()));
    }
    let mut text = vec![0; header as usize];
    file.read_exact(&mut text).map_err(short)?;
    let text = String::from_utf8_lossy(&text);
    let after = |key: &str| {
        let at = text.find(&format!("'{key}'")).map(|at| text[at + key.len() + 2..].trim_start());
        at.and_then(|rest| rest.strip_prefix(':'))
            .map(str::trim_start)
            .ok_or_else(|| fail(key, "the header does not say it; save the array again with numpy.save".to_owned()))
    };
    let descr = after("descr")?.strip_prefix('\'').and_then(|d| d.split('\'').next()).unwrap_or("several fields");
    let size = size_of_descr(descr)
        .ok_or_else(|| fail("descr", format!("`{descr}` is not supported; convert it with astype, little endian")))?;
    let columns_first = after("fortran_order")?.starts_with("True");
    let list = after("shape")?.strip_prefix('(').and_then(|s| s.split(')').next());
    let list = list.ok_or_else(|| fail("shape", "no list of numbers".to_owned()))?;
    let shape = list
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|s| s.parse().map_err(|_| fail("shape", format!("`{s}` is no length"))))
        .collect::<Result<Vec<usize>>>()?;
    if columns_first && shape.iter().filter(|&&d| d > 1).count() > 1 {
        return Err(fail("fortran_order", "columns first; save numpy.ascontiguousarray of it".to_owned()));
    }
    let wanted = shape.iter().try_fold(size as u64, |n, &d| n.checked_mul(d as u64));
    let wanted = wanted.ok_or_else(|| fail("shape", format!("{shape:?} is impossible")))?;
    let have = length - before - header;
    if have < wanted {
        let why = format!("the file is truncated: shape {shape:?} of {descr} needs {wanted} bytes, {have} are there");
        return Err(fail("data", why));
    }
    let mut bytes = vec![0; wanted as usize];
    file.read_exact(&mut bytes).map_err(io)?;
    let values = decode(descr, &bytes).ok_or_else(|| fail("descr", format!("`{descr}` is not supported")))?;
    Ok(NpyArray { shape, values })
}

/// Writes an array: to a temporary file beside `path` that is renamed when complete.
pub fn write<T: Number>(path: &Path, shape: &[usize], values: &[T]) -> Result<()> {
    if shape.iter().product::<usize>() != values.len() {
        return Err(AtaError::shape("values", shape, &[values.len()]));
    }
    let dims: Vec<_> = shape.iter().map(ToString::to_string).collect();
    let tuple = if dims.len() == 1 { format!("({},)", dims[0]) } else { format!("({})", dims.join(", ")) };
    let mut text = format!("{{'descr': '{}', 'fortran_order': False, 'shape': {tuple}, }}", T::DESCR);
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    let mut head = b"\x93NUMPY\x01\x00".to_vec();
    head.extend((text.len() as u16).to_le_bytes());
    head.extend(text.into_bytes());
    write_parts(path, &[&head, bytemuck::cast_slice(values)])
}

/// Writes some bytes in one step: nobody ever sees half of the file.
pub(crate) fn write_parts(path: &Path, parts: &[&[u8]]) -> Result<()> {
    let io = |e: std::io::Error| AtaError::file(path, "file", format!("cannot be written: {e}"));
    let name = path.file_name().ok_or_else(|| AtaError::file(path, "file", "this names no file"))?;
    let hidden = path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(&hidden)?);
        for part in parts {
            file.write_all(part)?;
        }
        file.flush()?;
        file.get_ref().sync_all()?;
        std::fs::rename(&hidden, path)
    };
    write().map_err(|e| {
        let _ = std::fs::remove_file(&hidden);
        io(e)
    })
}
