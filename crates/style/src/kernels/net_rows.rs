//! The layers on some rows of an image that is nowhere whole on the device: rows of tiles of the whole image's grid, which
//! read the rows that they need and write those that they make. Coordinates, weights and statistics are those of the whole
//! image, so that launches over all rows, in order, leave the bits of one launch over the image (with [`Tiles::Wide`]):
//!
//! * `f16`: sums in fixed point add up over all launches;
//! * `f32`: partial moments wait in the scratch memory until the last tile has come, which merges them.
//!
//! Formulas are those of `net_first`, `net_body` and `net_last`. Pictures come and go as rows of `f32` pixels,
//! `[rows][w][3]`, RGB in 0..255, and are not clamped.
//!
//! Floor: that of the layer, and the rows that two launches share once more.

use std::ops::Range;

use gpu_core::{Cpu, Error, Result, View, ViewMut};
use rustacuda_derive::DeviceCopy;

use super::net_body::BodyCall;
use super::net_elem::NetElem;
use super::net_first::FirstCall;
use super::net_last::LastCall;
use super::net_layer::{
    ADD, KEEP, NET_CENTRE, NetPack, NetParams, RELU, Scene, ScratchSize, Tile, Tiles, Window, params, same,
};
use super::net_twin::{self, Finished, Part, reflected};
use super::{net_body, net_first, net_last};

/// Which tiles of the whole image's grid a launch makes, and where the rows at hand begin.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub(super) struct RowsParams {
    first_tile: i32,
    x_row: i32,
    y_row: i32,
    unused: i32,
}

/// How a layer on one image is cut into rows of tiles.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    window: Window,
    from: Scene,
    to: Scene,
    tile: Tile,
    /// Rows that tiles lie on: those of the output, or for upsampling layers of the input.
    tiled: usize,
}

/// Some rows of tiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strip {
    /// Which.
    pub tiles: Range<usize>,
    /// Rows of the input that they read.
    pub reads: Range<usize>,
    /// Rows of the output that they make.
    pub writes: Range<usize>,
}

/// From the least to the greatest of some rows.
fn span(rows: impl Iterator<Item = usize>) -> Range<usize> {
    let (mut low, mut high) = (usize::MAX, 0);
    for row in rows {
        (low, high) = (low.min(row), high.max(row + 1));
    }
    low.min(high)..high
}

impl Cut {
    /// The cut of a layer that reads one image `from` (for the first layer, a picture) and writes `to` (for the last, a
    /// picture, which may have fewer rows and columns).
    ///
    /// # Errors
    /// When there are several images, sizes that do not belong together, or no kernel for these channels.
    pub fn new<T: NetElem>(window: Window, from: Scene, to: Scene) -> Result<Self> {
        from.check()?;
        to.check()?;
        if [from.n, to.n] != [1, 1] {
            return Err(Error::value("batch", format!("{} images; rows are of one", from.n.max(to.n))));
        }
        let fits = match window {
            Window::First => {
                from.h.min(from.w) >= 5
                    && (from.h..2 * from.h).contains(&to.h)
                    && (from.w..2 * from.w).contains(&to.w)
                    && from.c == 3
            }
            Window::Last => from.h.min(from.w) >= 5 && to.h <= from.h && to.w <= from.w && to.c == 3,
            _ => from.h.min(from.w) >= 2 && to == net_body::output(window, from, to.c),
        };
        if !fits {
            return Err(Error::shape("output", &[from.h, from.w, from.c], &[to.h, to.w, to.c]));
        }
        let tile = match window {
            Window::First => net_first::tile::<T>(to.c, Tiles::Wide).0,
            Window::Last => net_last::tile::<T>(from.c, Tiles::Wide).0,
            _ => net_body::tile::<T>(window, from.c, to.c, Tiles::Wide)?.0,
        };
        let tiled = if window == Window::Up { from.h } else { to.h };
        Ok(Self { window, from, to, tile, tiled })
    }

    /// Rows of tiles.
    pub fn count(&self) -> usize {
        self.tiled.div_ceil(self.tile.rows)
    }

    /// Rows of the output that one row of tiles makes.
    fn made(&self) -> usize {
        self.tile.rows * if self.window == Window::Up { 2 } else { 1 }
    }

    /// Rows of the scene (not yet of the picture) that rows of tiles read; those beyond the border are mirrored.
    fn scene_rows(&self, tiles: &Range<usize>) -> Range<usize> {
        let (pad, stride) = match self.window {
            Window::First | Window::Last => (4, 1),
            Window::Down => (1, 2),
            _ => (1, 1),
        };
        let (h, rows) = (if self.window == Window::First { self.to.h } else { self.from.h }, self.tile.rows as isize);
        let from = tiles.start as isize * rows * stride - pad;
        let to = (tiles.end as isize * rows - 1) * stride + pad;
        let up = self.window == Window::Up;
        span((from..=to).map(|i| if up { i.clamp(0, h as isize - 1) as usize } else { reflected(i, h) }))
    }

    /// What some rows of tiles read and write.
    pub fn strip(&self, tiles: Range<usize>) -> Strip {
        let tiles = tiles.start.min(self.count())..tiles.end.min(self.count());
        if tiles.is_empty() {
            return Strip { tiles, reads: 0..0, writes: 0..0 };
        }
        let reads = self.scene_rows(&tiles);
        let reads = if self.window == Window::First { span(reads.map(|i| continued(i, self.from.h))) } else { reads };
        let writes = tiles.start * self.made()..self.to.h.min(tiles.end * self.made());
        Strip { tiles, reads, writes }
    }

    fn params(&self, flags: u32) -> NetParams {
        params(
            self.from,
            self.to,
            [self.tiled, if self.window == Window::Up { self.from.w } else { self.to.w }],
            self.tile,
            flags,
        )
    }

    /// Checks what all layers have, and gives the parameters.
    fn rows(&self, p: &NetParams, strip: &Strip, x: usize, y: usize) -> Result<RowsParams> {
        if strip.tiles.is_empty() || *strip != self.strip(strip.tiles.clone()) {
            return Err(Error::value("strip", format!("{strip:?} is not of this image")));
        }
        same("x", strip.reads.len() * self.from.w * self.from.c, x)?;
        same("y", strip.writes.len() * self.to.w * self.to.c, y)?;
        i32::try_from(p.tiles_x as usize * p.tiles_y as usize).map_err(|_| Error::value("image", "too many tiles"))?;
        Ok(RowsParams {
            first_tile: strip.tiles.start as i32 * p.tiles_x,
            x_row: strip.reads.start as i32,
            y_row: strip.writes.start as i32,
            unused: 0,
        })
    }
}

/// A picture of `n` rows that is continued by reflection at its end.
fn continued(i: usize, n: usize) -> usize {
    if i < n { i } else { 2 * (n - 1) - i }
}

/// One launch on some rows.
#[derive(Debug)]
#[doc(hidden)]
pub struct Rows<'a> {
    cut: &'a Cut,
    strip: &'a Strip,
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only launches take them"))]
    p: NetParams,
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only launches take them"))]
    r: RowsParams,
}

/// The layers on one backend.
pub trait NetRows<T: NetElem>: NetPack<T> {
    #[doc(hidden)]
    fn first_rows_unchecked(&self, rows: &Rows<'_>, call: FirstCall<'_, Self, f32, T>) -> Result<()>;
    #[doc(hidden)]
    fn body_rows_unchecked(&self, rows: &Rows<'_>, call: BodyCall<'_, Self, T>) -> Result<()>;
    #[doc(hidden)]
    fn last_rows_unchecked(&self, rows: &Rows<'_>, call: LastCall<'_, Self, f32, T>) -> Result<()>;
}

fn no_old(old: bool) -> Result<()> {
    if old { Err(Error::value("old", "a launch on some rows clears nothing; give none")) } else { Ok(()) }
}

fn fits(found: [usize; 2], window: Window, cut: &Cut, kind: Window) -> Result<()> {
    if found == [cut.to.c, cut.from.c] && window == cut.window && kind == cut.window {
        return Ok(());
    }
    Err(Error::shape("weights", &[cut.to.c, cut.from.c], &found))
}

/// The first layer on some rows: `x` holds those that the strip reads, as pixels of `f32`, `y` those that it writes.
///
/// # Errors
/// When a view has another length than the strip says, the scratch memory is too small, or the strip is of another image.
pub fn net_first_rows<B: NetRows<T>, T: NetElem>(
    b: &B,
    cut: &Cut,
    strip: &Strip,
    call: FirstCall<'_, B, f32, T>,
) -> Result<()> {
    fits([call.weights.cout, call.weights.cin], call.weights.window, cut, Window::First)?;
    let p = cut.params(0);
    let r = cut.rows(&p, strip, call.x.len(), call.y.len())?;
    call.out.check(1, cut.to.c)?;
    no_old(call.old.is_some())?;
    call.scratch.check(ScratchSize::of::<T>(1, &p, cut.tile))?;
    b.first_rows_unchecked(&Rows { cut, strip, p, r }, call)
}

/// A 3 × 3 layer on some rows: `x` and `add` hold those that the strip reads, `y` and `keep` those that it writes.
///
/// # Errors
/// As [`net_first_rows`].
pub fn net_body_rows<B: NetRows<T>, T: NetElem>(
    b: &B,
    cut: &Cut,
    strip: &Strip,
    call: BodyCall<'_, B, T>,
) -> Result<()> {
    let window = call.weights.window;
    let kind = if matches!(window, Window::First | Window::Last) { Window::Same } else { window };
    fits([call.weights.cout, call.weights.cin], window, cut, kind)?;
    if (call.keep.is_some() && window != Window::Same) || (call.add.is_some() && window == Window::Down) {
        return Err(Error::value("layer", "only one of the same size keeps its input, and none that reduces adds"));
    }
    let flags = [(call.relu, RELU), (call.add.is_some(), ADD), (call.keep.is_some(), KEEP)];
    let p = cut.params(flags.iter().filter(|(on, _)| *on).map(|(_, flag)| flag).sum());
    let r = cut.rows(&p, strip, call.x.len(), call.y.len())?;
    let kept = strip.writes.len() * cut.from.w * cut.from.c;
    same("add", call.x.len(), call.add.as_ref().map_or(call.x.len(), View::len))?;
    same("keep", kept, call.keep.as_ref().map_or(kept, ViewMut::len))?;
    call.norm.check(1, cut.from.c)?;
    call.out.check(1, cut.to.c)?;
    no_old(call.old.is_some())?;
    call.scratch.check(ScratchSize::of::<T>(1, &p, cut.tile))?;
    b.body_rows_unchecked(&Rows { cut, strip, p, r }, call)
}

/// The last layer on some rows: `x` holds those that the strip reads, `y` those that it writes, as pixels of `f32`. The
/// count of tiles that left the range goes out with the first rows of tiles.
///
/// # Errors
/// As [`net_first_rows`].
pub fn net_last_rows<B: NetRows<T>, T: NetElem>(
    b: &B,
    cut: &Cut,
    strip: &Strip,
    call: LastCall<'_, B, f32, T>,
) -> Result<()> {
    fits([call.weights.cout, call.weights.cin], call.weights.window, cut, Window::Last)?;
    let p = cut.params(RELU);
    let r = cut.rows(&p, strip, call.x.len(), call.y.len())?;
    call.norm.check(1, cut.from.c)?;
    no_old(call.old.is_some())?;
    same("bias", 3, call.bias.len())?;
    same("flag", 1, call.flag.len())?;
    b.last_rows_unchecked(&Rows { cut, strip, p, r }, call)
}

impl<T: NetElem> NetRows<T> for Cpu {
    fn first_rows_unchecked(&self, rows: &Rows<'_>, call: FirstCall<'_, Self, f32, T>) -> Result<()> {
        let Rows { cut, strip, .. } = rows;
        let FirstCall { x, weights, y, out, scratch, .. } = call;
        let (w, wo, cout) = (cut.from.w, cut.to.w, cut.to.c);
        let values: Vec<f32> = self.read(weights.view(Tiles::Wide)?)?.iter().map(|w| w.to_f32()).collect();
        let (x, scene) = (self.read(x)?, cut.scene_rows(&strip.tiles));
        let value = |i: usize| {
            let (row, col, c) = (scene.start + i / 3 / wo, i / 3 % wo, i % 3);
            let row = continued(row, cut.from.h) - strip.reads.start;
            T::from_f32(x[(row * w + continued(col, w)) * 3 + c] - NET_CENTRE).to_f32()
        };
        let values_in = (0..scene.len() * wo * 3).map(value).collect();
        let picture = Finished { first: scene.start, h: cut.to.h, w: wo, c: 3, values: values_in };
        let sums = net_twin::convolve(&picture, Window::First, &values, cout, strip.writes.clone(), wo);
        let partial = self.write(ViewMut::of(&mut scratch.partial))?;
        let (gamma_beta, stats) = (self.read(out.gamma_beta)?, self.write(out.stats)?);
        let escaped = net_twin::record_rows::<T>(&rows.part(&sums), gamma_beta, stats, partial);
        self.write(y)?.iter_mut().zip(&sums).for_each(|(y, &v)| *y = T::from_f32(v));
        self.write(ViewMut::of(&mut scratch.saturated))?[0] += escaped;
        Ok(())
    }

    fn body_rows_unchecked(&self, rows: &Rows<'_>, call: BodyCall<'_, Self, T>) -> Result<()> {
        let Rows { cut, strip, .. } = rows;
        let BodyCall { x, norm, relu, add, keep, weights, y, out, scratch, .. } = call;
        let Scene { h, w, c: cin, .. } = cut.from;
        let (wo, cout) = (cut.to.w, cut.to.c);
        let values: Vec<f32> = self.read(weights.view(Tiles::Wide)?)?.iter().map(|w| w.to_f32()).collect();
        let (x, add) = (self.read(x)?, add.map(|add| self.read(add)).transpose()?);
        let norm = net_twin::coefficients::<T>(self.read(norm.stats)?, self.read(norm.gamma_beta)?, h * w);
        let mut escaped = 0;
        let mut finished: Vec<T> = Vec::with_capacity(x.len());
        for (i, x) in x.iter().enumerate() {
            let mut z = x.normalised(&norm[i % cin * 3..]);
            if let Some(add) = add {
                z += add[i].to_f32();
            }
            escaped += u32::from(keep.is_some() && T::escapes(z));
            finished.push(T::from_f32(if relu { z.max(0.0) } else { z }));
        }
        if let Some(keep) = keep {
            let (first, row) = (strip.writes.start - strip.reads.start, w * cin);
            let keep = self.write(keep)?;
            keep.copy_from_slice(&finished[first * row..first * row + keep.len()]);
        }
        let widened = finished.iter().map(|z| z.to_f32()).collect();
        let finished = Finished { first: strip.reads.start, h, w, c: cin, values: widened };
        let sums = net_twin::convolve(&finished, weights.window, &values, cout, strip.writes.clone(), wo);
        let partial = self.write(ViewMut::of(&mut scratch.partial))?;
        let (gamma_beta, stats) = (self.read(out.gamma_beta)?, self.write(out.stats)?);
        escaped += net_twin::record_rows::<T>(&rows.part(&sums), gamma_beta, stats, partial);
        self.write(y)?.iter_mut().zip(&sums).for_each(|(y, &v)| *y = T::from_f32(v));
        self.write(ViewMut::of(&mut scratch.saturated))?[0] += escaped;
        Ok(())
    }

    fn last_rows_unchecked(&self, rows: &Rows<'_>, call: LastCall<'_, Self, f32, T>) -> Result<()> {
        let Rows { cut, strip, .. } = rows;
        let LastCall { x, norm, weights, bias, y, flag, scratch, .. } = call;
        let Scene { h, w, c: cin, .. } = cut.from;
        let values: Vec<f32> = self.read(weights.view(Tiles::Wide)?)?.iter().map(|w| w.to_f32()).collect();
        let (x, bias) = (self.read(x)?, self.read(bias)?);
        let norm = net_twin::coefficients::<T>(self.read(norm.stats)?, self.read(norm.gamma_beta)?, h * w);
        let finish = |(i, &x): (usize, &T)| T::from_f32(x.normalised(&norm[i % cin * 3..]).max(0.0)).to_f32();
        let widened = x.iter().enumerate().map(finish).collect();
        let finished = Finished { first: strip.reads.start, h, w, c: cin, values: widened };
        let sums = net_twin::convolve(&finished, Window::Last, &values, 3, strip.writes.clone(), cut.to.w);
        for (i, (y, sum)) in self.write(y)?.iter_mut().zip(&sums).enumerate() {
            *y = sum + bias[i % 3];
        }
        if strip.tiles.start == 0 {
            let saturated = &mut self.write(ViewMut::of(&mut scratch.saturated))?[0];
            self.write(flag)?[0] = std::mem::take(saturated);
        }
        Ok(())
    }
}

impl Rows<'_> {
    fn part<'a>(&self, sums: &'a [f32]) -> Part<'a> {
        let Self { cut, strip, .. } = self;
        let each = cut.made() * cut.to.w * cut.to.c;
        Part { sums, tiles: strip.tiles.clone(), count: cut.count(), each, pixels: cut.to.h * cut.to.w }
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    //! The launches.

    use gpu_core::Cuda;
    use gpu_core::cuda::Launch;

    use super::{BodyCall, FirstCall, LastCall, NetElem, NetPack, NetRows, Result, Rows, Tiles, ViewMut, Window};
    use crate::kernels::cuda::{KERNELS, optional};
    use crate::kernels::{NetScratch, OutNorm};

    fn is_half<T: NetElem>() -> bool {
        T::NAME == "f16"
    }

    /// Where statistics go.
    fn results<'a, T: NetElem>(
        launch: Launch<'a>,
        out: OutNorm<'a, Cuda, T>,
        scratch: &'a mut NetScratch<Cuda>,
    ) -> Result<Launch<'a>> {
        if is_half::<T>() {
            return launch.write(out.stats)?.write(ViewMut::of(&mut scratch.saturated));
        }
        launch
            .write(ViewMut::of(&mut scratch.partial))?
            .write(ViewMut::of(&mut scratch.grouped))?
            .write(ViewMut::of(&mut scratch.tickets))?
            .read(out.gamma_beta)?
            .write(out.stats)
    }

    /// The shape of a launch.
    fn shaped<'a>(launch: Launch<'a>, rows: &Rows<'_>, beside: usize) -> Launch<'a> {
        let Rows { cut, strip, p, r } = rows;
        let launch = launch.arg(*p).arg(*r).grid((strip.tiles.len() as u32 * p.tiles_x as u32, beside as u32, 1));
        launch.block((cut.tile.threads, 1, 1)).shared(cut.tile.shared)
    }

    impl<T: NetElem> NetRows<T> for Cuda
    where
        Self: NetPack<T>,
    {
        fn first_rows_unchecked(&self, rows: &Rows<'_>, call: FirstCall<'_, Self, f32, T>) -> Result<()> {
            let FirstCall { x, weights, y, out, scratch, .. } = call;
            let cut = rows.cut;
            let name =
                if is_half::<T>() { format!("net_rows_first_{}", cut.to.c) } else { "net_rows_first_f32".to_owned() };
            let launch = self.kernel(&KERNELS, &name)?.read(x)?.read(weights.view(Tiles::Wide)?)?.write(y)?;
            let launch = shaped(results::<T>(launch, out, scratch)?, rows, cut.to.c / cut.tile.channels);
            // SAFETY: the parameters of NET_FIRST_ROWS in kernels/net_rows.cu, and of net_rows_first_f32 in
            // kernels/net_rows_f32.cu; `net_first_rows` has checked that the views hold the rows that these tiles touch.
            unsafe { launch.launch() }
        }

        fn body_rows_unchecked(&self, rows: &Rows<'_>, call: BodyCall<'_, Self, T>) -> Result<()> {
            let BodyCall { x, norm, add, keep, weights, y, out, scratch, .. } = call;
            let cut = rows.cut;
            let kind = match cut.window {
                Window::Down => "down",
                Window::Up => "up",
                _ => "same",
            };
            let name = if is_half::<T>() {
                format!("net_rows_{kind}_{}_{}", cut.from.c, cut.to.c)
            } else {
                format!("net_rows_{kind}_f32_{}", cut.tile.channels)
            };
            // Absent views are null: the kernel's flags say that it must not touch them.
            let mut launch = self.kernel(&KERNELS, &name)?.read(x)?.read(norm.stats)?;
            if is_half::<T>() {
                launch = launch.read(norm.gamma_beta)?;
            }
            launch = match add {
                Some(add) => launch.read(add)?,
                None => launch.arg(0_u64),
            };
            launch = optional(launch, keep)?.read(weights.view(Tiles::Wide)?)?.write(y)?;
            let beside = cut.to.c / cut.tile.channels * cut.tile.parts;
            let launch = shaped(results::<T>(launch, out, scratch)?, rows, beside);
            // SAFETY: the parameters of NET_BODY_ROWS in kernels/net_rows.cu and kernels/net_rows_f32.cu; `net_body_rows`
            // has checked that the views hold the rows that these tiles touch.
            unsafe { launch.launch() }
        }

        fn last_rows_unchecked(&self, rows: &Rows<'_>, call: LastCall<'_, Self, f32, T>) -> Result<()> {
            let LastCall { x, norm, weights, bias, y, flag, scratch, .. } = call;
            let half = is_half::<T>();
            let name = if half { format!("net_rows_last_{}", rows.cut.from.c) } else { "net_rows_last_f32".to_owned() };
            let mut launch = self.kernel(&KERNELS, &name)?.read(x)?.read(norm.stats)?;
            if half {
                launch = launch.read(norm.gamma_beta)?;
            }
            let launch = launch.read(weights.view(Tiles::Wide)?)?.read(bias)?;
            let launch = launch.write(ViewMut::of(&mut scratch.saturated))?.write(flag)?.write(y)?;
            // SAFETY: the parameters of NET_LAST_ROWS in kernels/net_rows.cu, and of net_rows_last_f32 in
            // kernels/net_rows_f32.cu; `net_last_rows` has checked that the views hold the rows that these tiles touch.
            unsafe { shaped(launch, rows, 1).launch() }
        }
    }
}
