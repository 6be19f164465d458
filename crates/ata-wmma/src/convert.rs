//! Other forms of a matrix: dense, diagonals, compressed rows, coordinates, Matrix Market, Gram matrices.

use std::io::{BufRead, BufReader};
use std::path::Path;

use ndarray::{Array3, ArrayView3};

use crate::blocks::{AREA, Accept, BLOCK, BlockDiag, SymmetryPolicy};
use crate::builder::Builder;
use crate::error::{AtaError, Result};

/// Compressed rows of a matrix.
#[derive(Clone, Copy, Debug)]
pub struct CsrView<'a, T> {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// `rows + 1` positions in the other two.
    pub indptr: &'a [usize],
    /// Column of each entry; entries of one place are summed.
    pub indices: &'a [usize],
    /// Value of each entry.
    pub data: &'a [T],
}

/// Compressed rows that own their arrays.
#[derive(Clone, Debug, PartialEq)]
pub struct Csr {
    /// Rows and columns.
    pub n: usize,
    /// `n + 1` positions in the other two.
    pub indptr: Vec<usize>,
    /// Column of each entry, ascending in each row.
    pub indices: Vec<usize>,
    /// Value of each entry.
    pub data: Vec<f32>,
}

/// Blocks above the diagonal in compressed block rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Bsr {
    /// `block rows + 1` positions in the other two.
    pub indptr: Vec<usize>,
    /// Block column of each block.
    pub indices: Vec<usize>,
    /// `[blocks, 16, 16]`.
    pub data: Vec<f32>,
}

impl<T> CsrView<'_, T> {
    /// Checks that positions ascend and fit, and columns lie inside.
    pub fn check(&self) -> Result<()> {
        let fail = |what: &str, why: String| Err(AtaError::value(format!("CSR {what}"), why));
        if self.indptr.len() != self.rows + 1 {
            return fail("indptr", format!("{} entries for {} rows, expected one more", self.indptr.len(), self.rows));
        }
        if self.indices.len() != self.data.len() {
            return fail("indices", format!("{} for {} values", self.indices.len(), self.data.len()));
        }
        if self.indptr[0] != 0 || self.indptr[self.rows] != self.data.len() {
            let (first, last) = (self.indptr[0], self.indptr[self.rows]);
            return fail("indptr", format!("runs from {first} to {last}, expected 0 to {}", self.data.len()));
        }
        if let Some(row) = self.indptr.windows(2).position(|w| w[0] > w[1]) {
            return fail("indptr", format!("descends behind row {row}"));
        }
        if let Some(at) = self.indices.iter().position(|&j| j >= self.columns) {
            return fail("indices", format!("entry {at} is column {} of {}", self.indices[at], self.columns));
        }
        Ok(())
    }

    fn row(&self, r: usize) -> impl Iterator<Item = (usize, &T)> {
        let range = self.indptr[r]..self.indptr[r + 1];
        self.indices[range.clone()].iter().copied().zip(&self.data[range])
    }
}

impl BlockDiag {
    /// From dense matrices `[C, n, n]` of `f32` or `f64`.
    pub fn from_dense<T: Copy + Into<f64>>(dense: ArrayView3<'_, T>, accept: impl Into<Accept>) -> Result<Self> {
        let accept = accept.into();
        let (channels, n, columns) = dense.dim();
        if n != columns {
            return Err(AtaError::shape("dense", [channels, n, n], dense.shape()));
        }
        let mut builder = Builder::new("dense", channels, n, accept.non_finite)?;
        for ((c, i, j), &v) in dense.indexed_iter() {
            builder.add(c, i, j, v.into())?;
        }
        builder.finish(accept.symmetry, false)
    }

    /// From diagonals `[C, K, n]`, column aligned: `data[c, k, j] = A[j - offsets[k], j]`, as `scipy.sparse.dia_array` has
    /// them. Diagonals below the main one must agree with their mirror, or be absent.
    pub fn from_dia(data: ArrayView3<'_, f32>, offsets: &[i32], n: usize, accept: impl Into<Accept>) -> Result<Self> {
        let accept = accept.into();
        let (channels, count, columns) = data.dim();
        if (count, columns) != (offsets.len(), n) {
            return Err(AtaError::shape("DIA data", [channels, offsets.len(), n], data.shape()));
        }
        let mut sorted = offsets.to_vec();
        sorted.sort_unstable();
        if let Some(at) = sorted.windows(2).position(|w| w[0] == w[1]) {
            return Err(AtaError::Offsets { why: format!("diagonal {} comes twice", sorted[at]) });
        }
        if let Some(&d) = offsets.iter().find(|d| d.unsigned_abs() as usize >= n) {
            return Err(AtaError::Offsets { why: format!("diagonal {d} lies outside of {n} x {n}") });
        }
        let upper_only = sorted.first().is_none_or(|&d| d >= 0);
        // Where some diagonals below the main one are there, the others stand for themselves and their mirror.
        let alone = |&d: &i32| !upper_only && d > 0 && sorted.binary_search(&-d).is_err();
        let alone: Vec<bool> = offsets.iter().map(alone).collect();
        let mut builder = Builder::new("DIA data", channels, n, accept.non_finite)?;
        for ((c, k, j), &v) in data.indexed_iter() {
            let i = j as i64 - i64::from(offsets[k]);
            if (0..n as i64).contains(&i) {
                builder.add(c, i as usize, j, v.into())?;
                if alone[k] {
                    builder.add(c, j, i as usize, v.into())?;
                }
            }
        }
        builder.finish(accept.symmetry, upper_only)
    }

    /// From compressed rows, one matrix a channel; both triangles, entries of one place summed.
    pub fn from_csr<T: Copy + Into<f64>>(channels: &[CsrView<'_, T>], accept: impl Into<Accept>) -> Result<Self> {
        let accept = accept.into();
        let n = channels.first().map_or(0, |m| m.rows);
        let mut builder = Builder::new("CSR data", channels.len(), n, accept.non_finite)?;
        for (c, m) in channels.iter().enumerate() {
            m.check()?;
            if (m.rows, m.columns) != (n, n) {
                return Err(AtaError::shape("CSR", [n, n], &[m.rows, m.columns]));
            }
            for r in 0..n {
                for (j, &v) in m.row(r) {
                    builder.add(c, r, j, v.into())?;
                }
            }
        }
        builder.finish(accept.symmetry, false)
    }

    /// From entries `(channel, row, column, value)` in any order; entries of one place are summed. With `upper_only` those
    /// on and above the diagonal stand for both triangles.
    pub fn from_coo(
        channels: usize,
        n: usize,
        entries: impl IntoIterator<Item = (usize, usize, usize, f64)>,
        upper_only: bool,
        accept: impl Into<Accept>,
    ) -> Result<Self> {
        let accept = accept.into();
        let mut builder = Builder::new("entries", channels, n, accept.non_finite)?;
        for (c, i, j, v) in entries {
            if c >= channels {
                return Err(AtaError::value("entries", format!("channel {c} of {channels}")));
            }
            let (i, j) = if upper_only { (i.min(j), i.max(j)) } else { (i, j) };
            builder.add(c, i, j, v)?;
        }
        builder.finish(accept.symmetry, upper_only)
    }

    /// From Matrix Market files (`coordinate`, `real` or `integer`, `general` or `symmetric`), one a channel.
    pub fn from_mtx(paths: &[impl AsRef<Path>], policy: SymmetryPolicy) -> Result<Self> {
        let mut entries = Vec::new();
        let mut n = None;
        for (c, path) in paths.iter().enumerate() {
            let path = path.as_ref();
            let rows = read_mtx(path, |i, j, v| entries.push((c, i, j, v)))?;
            if *n.get_or_insert(rows) != rows {
                return Err(AtaError::file(
                    path,
                    "size",
                    format!("{rows} rows, the first file has {}", n.unwrap_or(0)),
                ));
            }
        }
        let all = Self::from_coo(paths.len(), n.unwrap_or(0), entries, false, policy);
        let of = |e: &AtaError| if let AtaError::Asymmetric { channel, .. } = e { *channel } else { 0 };
        all.map_err(|e| match paths.get(of(&e)) {
            Some(path) => e.at(path.as_ref()),
            None => e,
        })
    }

    /// The Gram matrix `MᵀM` of one matrix a channel, each `m x n` in compressed rows. Sums are taken in `f64`, row by row;
    /// no dense `n x n` matrix is made.
    pub fn gram_csr<T: Copy + Into<f64>>(channels: &[CsrView<'_, T>]) -> Result<Self> {
        let n = channels.first().map_or(0, |m| m.columns);
        let mut builder = Builder::new("Gram matrix", channels.len(), n, false)?;
        for (c, m) in channels.iter().enumerate() {
            m.check()?;
            if m.columns != n {
                return Err(AtaError::shape("CSR", [m.rows, n], &[m.rows, m.columns]));
            }
            for r in 0..m.rows {
                for (i, &a) in m.row(r) {
                    for (j, &b) in m.row(r).filter(|&(j, _)| j >= i) {
                        // Two entries of one place count with each other once in each order.
                        let (a, b): (f64, f64) = (a.into(), b.into());
                        builder.add(c, i, j, a * b)?;
                    }
                }
            }
        }
        builder.finish(SymmetryPolicy::UpperWins, true)
    }

    /// Dense matrices `[C, n, n]`.
    pub fn to_dense(&self) -> Array3<f32> {
        let mut out = Array3::zeros((self.channels, self.n, self.n));
        self.for_each_upper(|c, i, j, v| {
            out[(c, i, j)] = v;
            out[(c, j, i)] = v;
        });
        out
    }

    /// Diagonals on and above the main one, column aligned `[C, K, n]`, and their offsets; see [`from_dia`](Self::from_dia).
    pub fn to_dia(&self) -> (Array3<f32>, Vec<i32>) {
        let mut found = vec![false; self.n];
        self.for_each_upper(|_, i, j, _| found[j - i] = true);
        let offsets: Vec<i32> = (0..self.n).filter(|&d| found[d]).map(|d| d as i32).collect();
        let mut place = vec![0; self.n];
        offsets.iter().enumerate().for_each(|(k, &d)| place[d as usize] = k);
        let mut out = Array3::zeros((self.channels, offsets.len(), self.n));
        self.for_each_upper(|c, i, j, v| out[(c, place[j - i], j)] = v);
        (out, offsets)
    }

    /// Compressed rows of each channel; both triangles when `full`, else the upper one with the diagonal. Zeros are left
    /// out.
    pub fn to_csr(&self, full: bool) -> Vec<Csr> {
        let mut rows = vec![vec![Vec::new(); self.n]; self.channels];
        self.for_each_upper(|c, i, j, v| {
            rows[c][i].push((j, v));
            if full && i != j {
                rows[c][j].push((i, v));
            }
        });
        let pack = |mut rows: Vec<Vec<(usize, f32)>>| {
            let mut out = Csr { n: self.n, indptr: vec![0], indices: Vec::new(), data: Vec::new() };
            for row in &mut rows {
                row.sort_unstable_by_key(|&(j, _)| j);
                out.indices.extend(row.iter().map(|&(j, _)| j));
                out.data.extend(row.iter().map(|&(_, v)| v));
                out.indptr.push(out.data.len());
            }
            out
        };
        rows.into_iter().map(pack).collect()
    }

    /// The stored blocks of one channel, on and above the diagonal, in compressed block rows.
    pub fn to_bsr_upper(&self, c: usize) -> Bsr {
        let mut out = Bsr { indptr: vec![0; self.block_rows() + 1], indices: Vec::new(), data: Vec::new() };
        for (k, i) in self.stored() {
            out.indices.push(i + self.offsets[k] as usize);
            out.data.extend_from_slice(self.block(c, k, i));
            out.indptr[i + 1] += 1;
        }
        for i in 0..self.block_rows() {
            out.indptr[i + 1] += out.indptr[i];
        }
        out
    }

    /// Every non-zero on and above the diagonal: channel, row, column, value.
    pub(crate) fn for_each_upper(&self, mut f: impl FnMut(usize, usize, usize, f32)) {
        let stored: Vec<_> = self.stored().collect();
        for c in 0..self.channels {
            for &(k, i) in &stored {
                let j = i + self.offsets[k] as usize;
                for (at, &v) in self.block(c, k, i).iter().enumerate() {
                    let (row, column) = (BLOCK * i + at / BLOCK, BLOCK * j + at % BLOCK);
                    if v != 0.0 && row <= column {
                        f(c, row, column, v);
                    }
                }
            }
        }
    }

    /// Bytes of the blocks as they are kept here.
    pub fn stored_bytes(&self) -> usize {
        self.stored().count() * self.channels * AREA * size_of::<f32>()
    }
}

/// Reads a square Matrix Market file; its number of rows. Symmetric files give both triangles.
fn read_mtx(path: &Path, mut entry: impl FnMut(usize, usize, f64)) -> Result<usize> {
    let fail = |line: usize, why: String| AtaError::file(path, format!("line {line}"), why);
    let file = std::fs::File::open(path).map_err(|e| AtaError::file(path, "file", format!("cannot be read: {e}")))?;
    let mut lines = BufReader::new(file).lines().enumerate();
    let mut next = || -> Result<Option<(usize, String)>> {
        for (at, line) in lines.by_ref() {
            let line = line.map_err(|e| fail(at + 1, e.to_string()))?;
            if at == 0 || !(line.starts_with('%') || line.trim().is_empty()) {
                return Ok(Some((at + 1, line)));
            }
        }
        Ok(None)
    };
    let (_, head) = next()?.ok_or_else(|| fail(1, "the file is empty".into()))?;
    let words: Vec<String> = head.split_whitespace().map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ["%%matrixmarket", "matrix", "coordinate", "real" | "integer", kind @ ("symmetric" | "general")] =
        words.as_slice()
    else {
        let why = format!("`{head}` is not `%%MatrixMarket matrix coordinate real|integer symmetric|general`");
        return Err(fail(1, why));
    };
    let symmetric = *kind == "symmetric";
    let (at, size) = next()?.ok_or_else(|| fail(2, "the line with the size is missing".into()))?;
    let numbers: Vec<usize> = size.split_whitespace().filter_map(|w| w.parse().ok()).collect();
    let &[rows, columns, count] = numbers.as_slice() else {
        return Err(fail(at, format!("`{size}` is not rows, columns, entries")));
    };
    if rows != columns || rows == 0 {
        return Err(fail(at, format!("{rows} x {columns} is not square")));
    }
    for k in 0..count {
        let (at, line) = next()?.ok_or_else(|| fail(0, format!("truncated: {k} of {count} entries are there")))?;
        let mut words = line.split_whitespace();
        let mut index = || words.next().and_then(|w| w.parse::<usize>().ok()).filter(|i| (1..=rows).contains(i));
        let (i, j) = (index(), index());
        let v = words.next().and_then(|w| w.parse::<f64>().ok());
        let (Some(i), Some(j), Some(v)) = (i, j, v) else {
            return Err(fail(at, format!("`{line}` is not row, column (1 to {rows}) and value")));
        };
        if !v.is_finite() {
            return Err(fail(at, format!("{v} is not finite")));
        }
        entry(i - 1, j - 1, v);
        if symmetric && i != j {
            entry(j - 1, i - 1, v);
        }
    }
    Ok(rows)
}
