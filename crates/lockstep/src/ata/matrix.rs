//! `lockstep ata import`, `export`, `info` and `apply`.

use std::io::Write;
use std::path::{Path, PathBuf};

use ata_wmma::kernels::AtaBackend;
use ata_wmma::{
    AtaError, BLOCK, BlockDiag, CsrView, Engine, Plan, PlanOptions, Precision, SymmetryPolicy, folder, npy,
};
use clap::{Args, ValueEnum};
use gpu_core::{Tensor, with_backend};
use ndarray::{ArrayView3, ArrayView4};
use serde_json::json;

use super::files::read_vectors;
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files::{self, as_text};
use crate::pictures::{self, Writing, canvas::Canvas};
use crate::session::{Session, bytes};

/// What to do where the two triangles differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// An error beyond 1e-6 of the block's largest value
    #[default]
    Check,
    /// The upper triangle counts
    Upper,
    /// The mean of both
    Average,
}

impl Policy {
    fn of(self) -> SymmetryPolicy {
        match self {
            Self::Check => SymmetryPolicy::default(),
            Self::Upper => SymmetryPolicy::UpperWins,
            Self::Average => SymmetryPolicy::Average,
        }
    }
}

/// What is wrong with a file, or with the file of its offsets.
fn at(e: AtaError, data: &Path, offsets: &Path) -> Failure {
    let of_offsets = match &e {
        AtaError::Offsets { .. } => true,
        AtaError::Value { what, .. } => what == "offsets",
        _ => false,
    };
    e.at(if of_offsets { offsets } else { data }).into()
}

/// Options of `ata import`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep ata import --dense a.npy --out matrix/
  lockstep ata import --dia data.npy --dia-offsets offsets.npy --out matrix/
  lockstep ata import --csr indptr.npy,indices.npy,data.npy --out matrix/
  lockstep ata import --toeplitz blocks4.npy --offsets offsets.npy --block-rows 164 --out matrix/")]
#[command(group = clap::ArgGroup::new("source").required(true).args(["dense", "dia", "csr", "mtx", "toeplitz", "blocks"]))]
pub(crate) struct Import {
    /// Dense matrices [C, n, n] of float32 or float64
    #[arg(long, value_name = "FILE")]
    dense: Option<PathBuf>,
    /// Diagonals [C, K, n], column aligned: data[c, k, j] is element (j - offset, j)
    #[arg(long, value_name = "FILE", requires = "dia_offsets")]
    dia: Option<PathBuf>,
    /// Offsets of the diagonals
    #[arg(long, value_name = "FILE")]
    dia_offsets: Option<PathBuf>,
    /// indptr, indices and data of compressed rows; once for each channel
    #[arg(long, value_name = "P,I,D")]
    csr: Vec<String>,
    /// A Matrix Market file; once for each channel
    #[arg(long, value_name = "FILE")]
    mtx: Vec<PathBuf>,
    /// One block for each diagonal, [C, D, 16, 16], repeated along it
    #[arg(long, value_name = "FILE", requires_all = ["offsets", "block_rows"])]
    toeplitz: Option<PathBuf>,
    /// Blocks [C, D, rows, 16, 16]
    #[arg(long, value_name = "FILE", requires = "offsets")]
    blocks: Option<PathBuf>,
    /// Block offsets, for --toeplitz and --blocks
    #[arg(long, value_name = "FILE")]
    offsets: Option<PathBuf>,
    /// Block rows, for --toeplitz
    #[arg(long, value_name = "N")]
    block_rows: Option<usize>,
    /// Rows of the matrix, for --blocks [default: all of the blocks]
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    /// What to do where the two triangles differ
    #[arg(long, value_enum, default_value_t)]
    symmetry: Policy,
    /// Folder of the matrix
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

fn view_error(path: &Path) -> impl Fn(ndarray::ShapeError) -> Failure {
    move |e| Failure::input(path, format!("shape: {e}"))
}

impl Import {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        let a = self.read()?;
        folder::save_matrix(&a, &self.out)?;
        session.note(format!("{}: {} channels of {} x {}", self.out.display(), a.channels(), a.n(), a.n()));
        session.document(&a.stats())?;
        Ok(Exit::Ok)
    }

    fn read(&self) -> Result<BlockDiag> {
        let policy = self.symmetry.of();
        if let Some(path) = &self.dense {
            let array = npy::read(path)?;
            let shape = <[usize; 3]>::try_from(array.shape.as_slice())
                .map_err(|_| Failure::input(path, format!("shape: {:?}, expected [C, n, n]", array.shape)))?;
            let values = array.values.to_f64();
            let view = ArrayView3::from_shape(shape, &values).map_err(view_error(path))?;
            return BlockDiag::from_dense(view, policy).map_err(|e| e.at(path).into());
        }
        if let (Some(path), Some(offsets)) = (&self.dia, &self.dia_offsets) {
            let (shape, values) = npy::read(path)?.of_rank::<f32, 3>(path)?;
            let (_, list) = npy::read(offsets)?.integers(offsets)?;
            let view = ArrayView3::from_shape(shape, &values).map_err(view_error(path))?;
            return BlockDiag::from_dia(view, &list, shape[2], policy).map_err(|e| at(e, path, offsets));
        }
        if let (Some(path), Some(offsets), Some(rows)) = (&self.toeplitz, &self.offsets, self.block_rows) {
            let (shape, values) = npy::read(path)?.of_rank::<f32, 4>(path)?;
            let view = ArrayView4::from_shape(shape, &values).map_err(view_error(path))?;
            let list = folder::read_offsets(offsets)?;
            return BlockDiag::from_block_toeplitz(view, &list, rows, policy).map_err(|e| at(e, path, offsets));
        }
        if let (Some(path), Some(offsets)) = (&self.blocks, &self.offsets) {
            return Ok(folder::read_blocks(path, offsets, self.rows, policy)?);
        }
        if !self.mtx.is_empty() {
            return Ok(BlockDiag::from_mtx(&self.mtx, policy)?);
        }
        let mut channels = Vec::new();
        for text in &self.csr {
            let parts: Vec<&Path> = text.split(',').map(Path::new).collect();
            let &[indptr, indices, data] = parts.as_slice() else {
                return Err(Failure::usage(format!("--csr {text}: expected three files with commas between them")));
            };
            let places = |path: &Path| -> Result<Vec<usize>> {
                let (_, values) = npy::read(path)?.integers(path)?;
                let of =
                    |&v: &i32| usize::try_from(v).map_err(|_| Failure::input(path, format!("data: {v} is negative")));
                values.iter().map(of).collect()
            };
            let values = npy::read(data)?.values.to_f64();
            channels.push((places(indptr)?, places(indices)?, values, [indptr, indices, data].map(Path::to_owned)));
        }
        let views: Vec<_> = channels
            .iter()
            .map(|(indptr, indices, data, _)| {
                let rows = indptr.len().saturating_sub(1);
                CsrView { rows, columns: rows, indptr, indices, data }
            })
            .collect();
        BlockDiag::from_csr(&views, policy).map_err(|e| {
            // The channel that fails by itself, and the file of it that the reason names.
            let alone = |view: &CsrView<'_, f64>| BlockDiag::from_csr(std::slice::from_ref(view), policy).is_err();
            let [indptr, indices, data] = &channels[views.iter().position(alone).unwrap_or(0)].3;
            let said = e.to_string();
            let file = match ["indptr", "indices"].map(|word| said.contains(word)) {
                [true, _] => indptr,
                [_, true] => indices,
                _ => data,
            };
            e.at(file).into()
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One .npy file [C, n, n]
    Dense,
    /// A folder with data.npy [C, K, n] and offsets.npy
    Dia,
    /// A folder with indptr, indices and data of each channel
    Csr,
    /// A folder with a Matrix Market file for each channel
    Mtx,
}

/// Options of `ata export`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep ata export matrix/ --format dense --out a.npy
  lockstep ata export matrix/ --format mtx --out mtx/")]
pub(crate) struct Export {
    /// Folder of the matrix
    #[arg(value_name = "DIR")]
    matrix: PathBuf,
    /// Form to write
    #[arg(long, value_enum)]
    format: Format,
    /// File (dense) or folder
    #[arg(short, long, value_name = "PATH")]
    out: PathBuf,
}

impl Export {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        let a = folder::load_matrix(&self.matrix)?;
        if self.format != Format::Dense {
            files::make_folder(&self.out)?;
        }
        let at = |name: String| self.out.join(name);
        match self.format {
            Format::Dense => {
                npy::write(&self.out, &[a.channels(), a.n(), a.n()], &a.to_dense().into_raw_vec_and_offset().0)?;
            }
            Format::Dia => {
                let (data, offsets) = a.to_dia();
                npy::write(&at("offsets.npy".into()), &[offsets.len()], &offsets)?;
                let (channels, count, n) = data.dim();
                npy::write(&at("data.npy".into()), &[channels, count, n], &data.into_raw_vec_and_offset().0)?;
            }
            Format::Csr => {
                for (c, m) in a.to_csr(true).iter().enumerate() {
                    let wide = |v: &[usize]| -> Vec<i64> { v.iter().map(|&v| v as i64).collect() };
                    npy::write(&at(format!("indptr{c}.npy")), &[m.indptr.len()], &wide(&m.indptr))?;
                    npy::write(&at(format!("indices{c}.npy")), &[m.indices.len()], &wide(&m.indices))?;
                    npy::write(&at(format!("data{c}.npy")), &[m.data.len()], &m.data)?;
                }
            }
            Format::Mtx => {
                for (c, m) in a.to_csr(false).iter().enumerate() {
                    let mut text = b"%%MatrixMarket matrix coordinate real symmetric\n".to_vec();
                    let line = |text: &mut Vec<u8>, args: std::fmt::Arguments<'_>| {
                        text.write_fmt(args).map_err(|e| Failure::writing(&self.out, &e))
                    };
                    line(&mut text, format_args!("{} {} {}\n", m.n, m.n, m.data.len()))?;
                    for i in 0..m.n {
                        for k in m.indptr[i]..m.indptr[i + 1] {
                            // Symmetric files hold the lower triangle.
                            line(&mut text, format_args!("{} {} {}\n", m.indices[k] + 1, i + 1, m.data[k]))?;
                        }
                    }
                    files::write(&at(format!("channel{c}.mtx")), &text)?;
                }
            }
        }
        session.note(format!("wrote {}", self.out.display()));
        session.document(&json!({ "out": as_text(&self.out) }))?;
        Ok(Exit::Ok)
    }
}

/// Options of `ata info`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep ata info matrix/
  lockstep ata info matrix/ --plot blocks.png")]
pub(crate) struct Info {
    /// Folder of the matrix
    #[arg(value_name = "DIR")]
    matrix: PathBuf,
    /// Draws the stored blocks, and below them the tiles of each strip, to this picture
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

impl Info {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        let a = folder::load_matrix(&self.matrix)?;
        let stats = a.stats();
        session.say(format!("{}", self.matrix.display()));
        session.say(format!("  size               {} channels of {} x {}", stats.channels, stats.n, stats.n));
        session.say(format!("  block diagonals    {}: {:?}", stats.offsets.len(), stats.offsets));
        session.say(format!("  blocks             {} on and above the diagonal", stats.nonempty_upper_blocks));
        session.say(format!("  non-zeros          {}", stats.nnz));
        session.say(format!("  bandwidth          {}", stats.bandwidth));
        session.say(format!("  tile efficiency    {:.1} %", 100.0 * stats.tile_efficiency));
        session.say(format!("  smallest diagonal  {:e}", stats.min_diagonal));
        session.say(format!("  dead rows          {}", stats.dead_rows));
        session.say(format!("  semidefinite       {}", if a.is_psd_estimate() { "probably" } else { "no" }));
        for (precision, size) in &stats.bytes {
            session.say(format!("  bytes in {precision:<9} {}", bytes(*size)));
        }
        if let Some(path) = &self.plot {
            pictures::write(path, &plot(&a).picture(), Writing::default())?;
            session.note(format!("wrote {}", path.display()));
        }
        session.document(&stats)?;
        Ok(Exit::Ok)
    }
}

/// Stored blocks dark, mirrored ones light; below, the tiles of each strip: whole ones dark, half empty ones red.
pub(crate) fn plot(a: &BlockDiag) -> Canvas {
    const PAPER: [u8; 3] = [250; 3];
    let nb = a.block_rows();
    let cell = (900 / nb).clamp(1, 24);
    let schedule = ata_wmma::Schedule::of(a, ata_wmma::Layout::Upper);
    let side = nb * cell;
    let mut canvas = Canvas::new(side + 20, 2 * side + 30, PAPER);
    for (k, &d) in a.offsets().iter().enumerate() {
        for i in (0..nb.saturating_sub(d as usize)).filter(|&i| a.is_stored(k, i)) {
            let j = i + d as usize;
            canvas.fill(10 + i * cell, 10 + j * cell, cell, cell, [170, 190, 220]);
            canvas.fill(10 + j * cell, 10 + i * cell, cell, cell, [30, 70, 140]);
        }
    }
    for s in 0..schedule.strips() {
        for tile in schedule.strip(s) {
            let whole = tile.top != ata_wmma::ABSENT && tile.bottom != ata_wmma::ABSENT;
            let colour = if whole { [40, 40, 40] } else { [200, 60, 50] };
            let (x, y) = (10 + tile.j as usize * cell, 20 + side + 2 * s * cell);
            canvas.fill(x, y, cell.saturating_sub(1).max(1), (2 * cell - 1).max(1), colour);
        }
    }
    canvas
}

/// Options of `ata apply`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  lockstep ata apply --matrix matrix/ --x x.npy --out y.npy --precision tf32x3")]
pub(crate) struct Apply {
    /// Folder of the matrix
    #[arg(long, value_name = "DIR")]
    matrix: PathBuf,
    /// Vectors [F, C, n]
    #[arg(long, value_name = "FILE")]
    x: PathBuf,
    /// Where the products go
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Where x'Ax of each frame and channel goes
    #[arg(long, value_name = "FILE")]
    quad: Option<PathBuf>,
    /// One product for each frame, as a comparison
    #[arg(long)]
    sequential: bool,
    /// f32, tf32, tf32x3, f16, f16x2, bf16 or bf16x3
    #[arg(long, value_name = "NAME", default_value = "tf32x3")]
    precision: Precision,
    #[command(flatten)]
    backend: BackendArgs,
}

impl Apply {
    pub(super) fn run(&self, session: &Session) -> Result<Exit> {
        let a = folder::load_matrix(&self.matrix)?;
        let (shape, x) = read_vectors(&self.x, [a.channels(), a.n()])?;
        let any = self.backend.open(None)?;
        let (y, quad) = with_backend!(&any, |b| self.product(b, &a, shape, &x))?;
        npy::write(&self.out, &shape, &y)?;
        if let (Some(path), Some(quad)) = (&self.quad, quad) {
            npy::write(path, &shape[..2], &quad)?;
        }
        session.note(format!("wrote {}: {} frames in {}", self.out.display(), shape[0], self.precision));
        session.document(&json!({
            "out": as_text(&self.out), "shape": shape, "precision": self.precision.name(), "backend": any.name(), "block": BLOCK,
        }))?;
        Ok(Exit::Ok)
    }

    fn product<B: AtaBackend>(
        &self,
        b: &B,
        a: &BlockDiag,
        shape: [usize; 3],
        x: &[f32],
    ) -> Result<(Vec<f32>, Option<Vec<f64>>)> {
        let options = PlanOptions { precision: self.precision, engine: Engine::Auto, ..PlanOptions::default() };
        let plan = Plan::new(b, a, options)?;
        let x = Tensor::from_slice(b, shape, x)?;
        let y = if self.sequential {
            let mut y = Tensor::zeros(b, shape)?;
            plan.apply_sequential(b, &mut plan.work(b, 1)?, &x, &mut y)?;
            y
        } else {
            plan.product(b, &x)?
        };
        let quad = self.quad.as_ref().map(|_| plan.quad(b, &x)).transpose()?;
        Ok((y.to_vec(b)?, quad))
    }
}
