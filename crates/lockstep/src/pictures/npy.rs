//! `.npy` files: the header is checked against the length of the file before any memory is taken, and arrays larger than
//! memory are written piece by piece.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::exit::{Failure, Result};
use crate::files::Draft;

/// Number formats of `.npy` files that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    U8,
    U16,
    F32,
    F64,
}

impl Kind {
    pub(crate) fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) shape: Vec<usize>,
    big_endian: bool,
    columns_first: bool,
}

impl Header {
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// An array with its values widened to `f64`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) kind: Kind,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

/// A file that is open behind its header.
pub(crate) struct Reader {
    pub(crate) header: Header,
    file: BufReader<File>,
}

impl Reader {
    /// Opens a file, reads its header and checks that all data is there.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let reading = |e: std::io::Error| Failure::reading(path, &e);
        let file = File::open(path).map_err(reading)?;
        let length = file.metadata().map_err(reading)?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut start = [0; 12];
        let short = |_| Failure::input(path, "the file is truncated: it ends inside the .npy header");
        file.read_exact(&mut start[..10]).map_err(short)?;
        if &start[..6] != b"\x93NUMPY" {
            return Err(Failure::input(path, "this is no .npy file (its first bytes are not \\x93NUMPY)")
                .help("save it with numpy.save, or rename it to what it is"));
        }
        let (header_length, before) = if start[6] == 1 {
            (usize::from(u16::from_le_bytes([start[8], start[9]])), 10)
        } else {
            file.read_exact(&mut start[10..]).map_err(short)?;
            (u32::from_le_bytes([start[8], start[9], start[10], start[11]]) as usize, 12)
        };
        if header_length as u64 > length {
            return Err(short(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let mut text = vec![0; header_length];
        file.read_exact(&mut text).map_err(short)?;
        let header = parse(&String::from_utf8_lossy(&text)).map_err(|e| e.at(path))?;
        let wanted = header
            .shape
            .iter()
            .try_fold(header.kind.size() as u64, |n, &d| n.checked_mul(d as u64))
            .ok_or_else(|| Failure::input(path, format!("the shape {:?} is impossible", header.shape)))?;
        let have = length - header_length as u64 - before;
        if have < wanted {
            return Err(Failure::input(
                path,
                format!(
                    "the file is truncated: shape {:?} needs {wanted} bytes of data, {have} are there",
                    header.shape
                ),
            )
            .help("copy or save the file again"));
        }
        Ok(Self { header, file })
    }

    /// The next `elements` values.
    pub(crate) fn take(&mut self, path: &Path, elements: usize) -> Result<Vec<f64>> {
        let kind = self.header.kind;
        let mut raw = vec![0; elements * kind.size()];
        self.file.read_exact(&mut raw).map_err(|e| Failure::reading(path, &e))?;
        if self.header.big_endian {
            raw.chunks_exact_mut(kind.size()).for_each(<[u8]>::reverse);
        }
        Ok(match kind {
            Kind::U8 => raw.iter().map(|&v| v.into()).collect(),
            Kind::U16 => raw.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]).into()).collect(),
            Kind::F32 => raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect(),
            Kind::F64 => raw
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
                .collect(),
        })
    }

    /// Whether values come row by row, so that [`take`](Self::take) may be called for parts.
    pub(crate) fn is_row_major(&self) -> bool {
        !self.header.columns_first || self.header.shape.iter().filter(|&&d| d > 1).count() < 2
    }

    /// All values, row-major.
    pub(crate) fn all(mut self, path: &Path) -> Result<Array> {
        let elements = self.header.elements();
        let mut values = self.take(path, elements)?;
        if !self.is_row_major() {
            values = to_row_major(&values, &self.header.shape);
        }
        Ok(Array { kind: self.header.kind, shape: self.header.shape, values })
    }
}

/// Reads a whole array.
pub(crate) fn read(path: &Path) -> Result<Array> {
    Reader::open(path)?.all(path)
}

fn to_row_major(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let mut out = vec![0.0; values.len()];
    let mut index = vec![0; shape.len()];
    for slot in &mut out {
        let mut at = 0;
        for (i, d) in index.iter().zip(shape).rev() {
            at = at * d + i;
        }
        *slot = values[at];
        for (i, d) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *d {
                break;
            }
            *i = 0;
        }
    }
    out
}

/// Reads `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`.
fn parse(text: &str) -> Result<Header> {
    let broken = || Failure::usage("the .npy header cannot be understood").help("save the array again with numpy.save");
    let after = |key: &str| {
        let at = text.find(&format!("'{key}'")).ok_or_else(broken)?;
        let rest = &text[at + key.len() + 2..];
        Ok::<_, Failure>(rest.trim_start().strip_prefix(':').ok_or_else(broken)?.trim_start())
    };
    let descr = after("descr")?;
    let descr = descr.strip_prefix('\'').and_then(|d| d.split('\'').next()).ok_or_else(|| {
        Failure::usage("a .npy file with several fields holds no picture").help("save one field of the array")
    })?;
    let kind = match descr.trim_start_matches(['<', '>', '|', '=']) {
        "u1" => Kind::U8,
        "u2" => Kind::U16,
        "f4" => Kind::F32,
        "f8" => Kind::F64,
        other => {
            return Err(Failure::usage(format!("the .npy number format `{other}` is not supported"))
                .help("convert the array with .astype of uint8, uint16, float32 or float64"));
        }
    };
    let columns_first = after("fortran_order")?.starts_with("True");
    let shape = after("shape")?.strip_prefix('(').and_then(|s| s.split(')').next()).ok_or_else(broken)?;
    let shape = shape
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|s| s.trim_end_matches('L').parse().map_err(|_| broken()))
        .collect::<Result<Vec<usize>>>()?;
    Ok(Header { kind, shape, big_endian: descr.starts_with('>'), columns_first })
}

/// A number that `.npy` files hold.
pub(crate) trait Number: LittleEndian {
    const DESCR: &'static str;
}
impl Number for u8 {
    const DESCR: &'static str = "|u1";
}
impl Number for u16 {
    const DESCR: &'static str = "<u2";
}
impl Number for f32 {
    const DESCR: &'static str = "<f4";
}
impl Number for f64 {
    const DESCR: &'static str = "<f8";
}

/// A number with a little-endian form.
pub(crate) trait LittleEndian: Copy {
    /// Appends the bytes of `values` to `out`.
    fn append(values: &[Self], out: &mut Vec<u8>);
}

macro_rules! little_endian {
    ($($t:ty),*) => { $(
        impl LittleEndian for $t {
            fn append(values: &[Self], out: &mut Vec<u8>) {
                out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            }
        }
    )* };
}
little_endian!(u8, u16, f32, f64);

/// A `.npy` file that is written from front to back.
pub(crate) struct Writer {
    draft: Draft,
    left: usize,
    raw: Vec<u8>,
}

impl Writer {
    /// Starts a row-major array.
    pub(crate) fn create<T: Number>(path: &Path, shape: &[usize]) -> Result<Self> {
        let mut draft = Draft::create(path)?;
        draft.write(&header::<T>(shape))?;
        Ok(Self { draft, left: shape.iter().product(), raw: Vec::new() })
    }

    /// Appends values in row-major order.
    pub(crate) fn append<T: Number>(&mut self, values: &[T]) -> Result<()> {
        assert!(values.len() <= self.left, "more values than the header says");
        self.left -= values.len();
        for part in values.chunks(1 << 18) {
            self.raw.clear();
            T::append(part, &mut self.raw);
            self.draft.write(&self.raw)?;
        }
        Ok(())
    }

    /// Gives the complete file its name.
    pub(crate) fn finish(self) -> Result<()> {
        assert!(self.left == 0, "fewer values than the header says");
        self.draft.finish()
    }

    /// The same together with the file that describes the array.
    pub(crate) fn finish_with(self, about: Draft) -> Result<()> {
        assert!(self.left == 0, "fewer values than the header says");
        Draft::finish_pair(about, self.draft)
    }
}

fn header<T: Number>(shape: &[usize]) -> Vec<u8> {
    let dims: Vec<_> = shape.iter().map(ToString::to_string).collect();
    let tuple = if dims.len() == 1 { format!("({},)", dims[0]) } else { format!("({})", dims.join(", ")) };
    let mut text = format!("{{'descr': '{}', 'fortran_order': False, 'shape': {tuple}, }}", T::DESCR);
    // The data begins at a multiple of 64 bytes; the header ends with a newline.
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.into_bytes());
    out
}

/// Writes a whole array.
pub(crate) fn write<T: Number>(path: &Path, shape: &[usize], values: &[T]) -> Result<()> {
    let mut writer = Writer::create::<T>(path, shape)?;
    writer.append(values)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        write(&path, &[2, 3], &[0u16, 1, 2, 3, 500, 65535]).unwrap();
        let array = read(&path).unwrap();
        assert_eq!((array.kind, array.shape.as_slice()), (Kind::U16, &[2, 3][..]));
        assert_eq!(array.values, [0.0, 1.0, 2.0, 3.0, 500.0, 65535.0]);
        write(&path, &[1], &[0.1f64]).unwrap();
        assert_eq!(read(&path).unwrap().values, [0.1]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 128 + 8);
    }

    #[test]
    fn columns_first_and_big_endian() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let text = "{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3), }\n";
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.bytes());
        for v in [1.0f32, 4.0, 2.0, 5.0, 3.0, 6.0] {
            bytes.extend(v.to_be_bytes());
        }
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap().values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn every_truncation_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        write(&path, &[4, 5], &[1.0f32; 20]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for keep in 0..whole.len() {
            std::fs::write(&path, &whole[..keep]).unwrap();
            let failure = read(&path).unwrap_err();
            assert!(failure.message.contains("x.npy"), "{keep}: {failure}");
        }
    }

    #[test]
    fn headers_that_lie_or_say_something_else_are_refused() {
        let of = |text: &str| parse(text).map(|h| h.shape);
        assert_eq!(of("{'descr': '<f8', 'fortran_order': False, 'shape': (), }").unwrap(), Vec::<usize>::new());
        assert!(of("{'descr': '<c16', 'fortran_order': False, 'shape': (2,), }").unwrap_err().message.contains("c16"));
        assert!(of("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }").is_err());
        assert!(of("{'descr': '<f8', 'fortran_order': False, 'shape': (-2,), }").is_err());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let mut bytes = header::<f64>(&[usize::MAX, 2]);
        bytes.extend([0; 64]);
        std::fs::write(&path, bytes).unwrap();
        assert!(read(&path).unwrap_err().message.contains("impossible"));
    }
}
