//! From mosaics to shifts: one picture is prepared once, pairs need spectra alone.

mod follow;

use gpu_core::{Device, Tensor, View};
use num_complex::Complex32;

use crate::frame::LEAST_SIDE;
use crate::gauss_newton;
use crate::kernels::{
    FourierPlan, FrequencyWeight, MadTask, MosaicTable, PeakFigures, PlaneKind, REFINE_SIDE, RefineTask, Window,
    cross_weight, despike_block, fft_c2r, fft_r2c, good_size, mad_pair, peak_window, refine_grid, whiten, window_apply,
    window_sums,
};
use crate::staging::Staging;
use crate::verdict::{Joined, Single, join};
use crate::{
    AlignBackend, BlackLevel, Cfa, Combine, Error, MaxShift, Options, PairResult, Planes, RawFrame, Refine, Result,
};

/// The largest psr and ratio that are reported; a correlation without any noise would have infinite ones.
pub const LARGEST_FIGURE: f32 = 1e6;

/// Limits of psr and ratio from which on a result is confident.
pub const CONFIDENT: [f32; 2] = [9.0, 1.6];
/// Limits below which it has failed.
pub const FAILED: [f32; 2] = [6.0, 1.4];
/// The psr from which on rounding to whole pixels is right.
pub const ROUNDING_SURE: f32 = 16.0;

/// Sizes of everything about the pictures of one scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Rows and columns of a mosaic.
    pub mosaic: [usize; 2],
    /// Period of its pattern.
    pub period: usize,
    /// Side of a block.
    pub block: usize,
    /// Planes of a picture.
    pub planes: usize,
    /// Rows and columns of a proxy.
    pub proxy: [usize; 2],
    /// Rows and columns of what is transformed.
    pub fft: [usize; 2],
    /// Correlations of a pair: 1, or one for each plane.
    pub outputs: usize,
    /// Largest shift that is searched, in pixels of the proxy.
    pub limit: usize,
    /// Largest shift that counts, in full-resolution pixels.
    pub range: usize,
    /// Whether some shifts are looked at again ([`Refine::Follow`]).
    pub follow: bool,
    /// Bytes that the backend's transforms hold ([`FourierPlan::held_bytes`]); 0 unless set.
    pub held: usize,
}

impl Geometry {
    /// Sizes for mosaics of a pattern.
    ///
    /// # Errors
    /// For pictures that are too small, sides that are no multiples of the block, and wrong options.
    pub fn new(cfa: &Cfa, [height, width]: [usize; 2], o: &Options) -> Result<Self> {
        o.check()?;
        if height < LEAST_SIDE || width < LEAST_SIDE {
            return Err(Error::TooSmall { height, width, least: LEAST_SIDE });
        }
        let (block, period) = (cfa.block(), cfa.period());
        let unit = period.max(block);
        if !height.is_multiple_of(unit) || !width.is_multiple_of(unit) {
            return Err(Error::value("mosaic", format!("{height} x {width}: sides must be multiples of {unit}")));
        }
        let kind = plane_kind(o.planes);
        let planes = kind.planes(cfa);
        let proxy = [height / block, width / block];
        let fft = [good_size(proxy[0], false), good_size(proxy[1], true)];
        let most = (fft[0].min(fft[1]) - 1) / 2;
        let asked = match o.max_shift {
            MaxShift::Pixels(n) => n,
            MaxShift::Auto => height.min(width) / 4,
        };
        // Below 8 there is nothing to compare the peak with.
        let limit = asked.div_ceil(block).clamp(8, most.max(8));
        let mut g = Self {
            mosaic: [height, width],
            period,
            block,
            planes,
            proxy,
            fft,
            outputs: if o.combine == Combine::Sum { 1 } else { planes },
            limit,
            range: asked.min(limit * block),
            follow: false,
            held: 0,
        };
        g.follow = g.may_follow(o);
        Ok(g)
    }

    /// Complex elements of a half spectrum.
    pub fn area(&self) -> usize {
        self.fft[0] * (self.fft[1] / 2 + 1)
    }
}

fn plane_kind(planes: Planes) -> PlaneKind {
    match planes {
        Planes::Luma => PlaneKind::Luma,
        Planes::Channels => PlaneKind::Channels,
    }
}

/// Everything that pictures of one size and pattern share, and the workspace for one picture and a batch of pairs.
#[derive(Debug)]
pub struct Estimator<B: AlignBackend> {
    b: B,
    g: Geometry,
    o: Options,
    cfa: Cfa,
    window: Window<B>,
    plan: FourierPlan<B>,
    weight: FrequencyWeight<B>,
    /// The table of the last picture's levels.
    table: Option<(Vec<u32>, MosaicTable<B>)>,
    mosaic: Tensor<B, u16, 2>,
    staging: Staging<B>,
    /// Planes of the picture in work, when it has several.
    planes: Option<Tensor<B, f32, 3>>,
    windowed: Tensor<B, f32, 1>,
    work: Tensor<B, Complex32, 1>,
    products: Tensor<B, Complex32, 3>,
    correlations: Tensor<B, f32, 3>,
    /// Spectra of a pair that is looked at again.
    looks: Option<Tensor<B, Complex32, 2>>,
    batch: usize,
}

/// Spectra and proxies of some pictures.
#[derive(Debug)]
pub struct Store<B: AlignBackend> {
    spectra: Tensor<B, Complex32, 3>,
    proxies: Tensor<B, f32, 3>,
    means: Tensor<B, f64, 2>,
}

impl<B: AlignBackend> Estimator<B> {
    /// Makes the tables and takes the workspace for `batch` pairs at a time.
    ///
    /// # Errors
    /// As [`Geometry::new`], and when memory runs out.
    pub fn new(b: &B, cfa: &Cfa, size: [usize; 2], o: &Options, batch: usize) -> Result<Self> {
        let g = Geometry::new(cfa, size, o)?;
        let batch = batch.max(1);
        let planes = if g.planes > 1 { Some(Tensor::scratch(b, [g.planes, g.proxy[0], g.proxy[1]])?) } else { None };
        let plan = FourierPlan::new(b, g.fft[0], g.fft[1])?;
        Ok(Self {
            b: b.clone(),
            g,
            o: *o,
            cfa: *cfa,
            window: Window::new(b, g.proxy, g.fft, f64::from(o.alpha))?,
            weight: FrequencyWeight::new(b, g.fft[0], g.fft[1], f64::from(o.sigma))?,
            table: None,
            mosaic: Tensor::scratch(b, g.mosaic)?,
            staging: Staging::default(),
            planes,
            windowed: Tensor::scratch(b, [g.fft[0] * g.fft[1]])?,
            work: Tensor::scratch(b, [plan.work_len()])?,
            products: Tensor::scratch(b, [batch, g.outputs, g.area()])?,
            correlations: Tensor::scratch(b, [batch * g.outputs, g.fft[0], g.fft[1]])?,
            looks: if g.follow { Some(Tensor::scratch(b, [2, g.area()])?) } else { None },
            plan,
            batch,
        })
    }

    /// The sizes.
    pub fn geometry(&self) -> &Geometry {
        &self.g
    }

    /// Whether it was made for such pictures.
    pub(crate) fn is_for(&self, cfa: &Cfa, size: [usize; 2]) -> bool {
        self.cfa == *cfa && self.g.mosaic == size
    }

    /// Where it works.
    pub(crate) fn device(&self) -> &Device {
        self.b.device()
    }

    /// Room for `slots` pictures.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn store(&self, slots: usize) -> Result<Store<B>> {
        Ok(Store {
            spectra: Tensor::scratch(&self.b, [slots, self.g.planes, self.g.area()])?,
            proxies: Tensor::scratch(&self.b, [slots, self.g.proxy[0], self.g.proxy[1]])?,
            means: Tensor::zeros(&self.b, [slots, self.g.planes])?,
        })
    }

    /// The plane that pictures are compared by: the only one, or green.
    fn compared(&self) -> usize {
        self.g.planes.min(2) - 1
    }

    /// Prepares a picture into `slot`.
    ///
    /// # Errors
    /// When the picture has another size or pattern, and what the device says.
    pub fn prepare(&mut self, store: &mut Store<B>, slot: usize, frame: &RawFrame) -> Result<()> {
        if frame.size() != self.g.mosaic || frame.cfa != self.cfa {
            return Err(Error::value("picture", "it has another size or pattern than the scene"));
        }
        match frame.mosaic.as_slice() {
            Some(values) => self.staging.upload(&self.b, values, self.mosaic.flat_mut())?,
            None => self.b.upload(&frame.mosaic.iter().copied().collect::<Vec<_>>(), self.mosaic.flat_mut())?,
        }
        self.transform(store, slot, (&frame.black, frame.white), None)
    }

    /// As [`prepare`](Self::prepare), for a mosaic that is on the device already.
    ///
    /// # Errors
    /// When it has not as many pixels as the pictures of the scene, and what the device says.
    pub fn prepare_mosaic(
        &mut self,
        store: &mut Store<B>,
        slot: usize,
        (black, white): (&BlackLevel, u16),
        mosaic: View<'_, B, u16>,
    ) -> Result<()> {
        if mosaic.len() != self.g.mosaic[0] * self.g.mosaic[1] {
            let [height, width] = self.g.mosaic;
            return Err(Error::value("mosaic", format!("{} pixels for {height} x {width}", mosaic.len())));
        }
        self.transform(store, slot, (black, white), Some(mosaic))
    }

    /// From a mosaic, or the one that was uploaded last, to proxy and spectrum.
    fn transform(
        &mut self,
        store: &mut Store<B>,
        slot: usize,
        (black, white): (&BlackLevel, u16),
        mosaic: Option<View<'_, B, u16>>,
    ) -> Result<()> {
        let b = &self.b;
        let mut key: Vec<u32> = black.levels().iter().map(|v| v.to_bits()).collect();
        key.push(white.into());
        if self.table.as_ref().is_none_or(|(known, _)| *known != key) {
            let kind = plane_kind(self.o.planes);
            self.table = None;
            let table = MosaicTable::new(b, &self.cfa, black, white, self.o.neighbours, kind)?;
            self.table = Some((key, table));
        }
        let Some((_, table)) = &self.table else { return Err(Error::value("picture", "no table")) };
        let [height, width] = self.g.mosaic;
        let planes = self.g.planes;
        let mut own = store.proxies.slab_mut(slot..slot + 1)?.flat();
        let mosaic = mosaic.unwrap_or(self.mosaic.flat());
        let mut means = store.means.slab_mut(slot..slot + 1)?.flat();
        let prepared = if let Some(several) = &mut self.planes {
            despike_block(b, table, height, width, mosaic, several.flat_mut())?;
            let compared = planes.min(2) - 1;
            b.copy(several.slab(compared..compared + 1)?.flat(), own)?;
            several.flat()
        } else {
            despike_block(b, table, height, width, mosaic, own.reborrow())?;
            own.as_view()
        };
        window_sums(b, &self.window, planes, prepared, means.reborrow())?;
        // Plane by plane, so that caches hand on what one step leaves to the next.
        let mut spectra = store.spectra.slab_mut(slot..slot + 1)?.flat();
        let (pixels, area) = (self.g.proxy[0] * self.g.proxy[1], self.g.area());
        for k in 0..planes {
            let (plane, mean) = (prepared.slice(k * pixels..(k + 1) * pixels)?, means.as_view().slice(k..k + 1)?);
            let mut spectrum = spectra.reborrow().slice(k * area..(k + 1) * area)?;
            window_apply(b, &self.window, 1, plane, mean, self.windowed.flat_mut())?;
            fft_r2c(b, &self.plan, 1, self.windowed.flat(), spectrum.reborrow(), self.work.flat_mut())?;
            whiten(b, spectrum)?;
        }
        Ok(())
    }

    /// Aligns pairs `(gt, noisy)` of slots.
    ///
    /// # Errors
    /// What the device says.
    pub fn align(&mut self, store: &Store<B>, pairs: &[(usize, usize)]) -> Result<Vec<PairResult>> {
        let mut results = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(self.batch) {
            results.extend(self.align_batch(store, pairs)?);
        }
        Ok(results)
    }

    fn align_batch(&mut self, store: &Store<B>, pairs: &[(usize, usize)]) -> Result<Vec<PairResult>> {
        let g = self.g;
        self.correlate(store, pairs)?;
        let count = pairs.len() * g.outputs;
        let mut figures = Tensor::<B, PeakFigures, 1>::zeros(&self.b, [count])?;
        let c = self.correlations.slab(0..count)?.flat();
        peak_window(&self.b, [count, g.fft[0], g.fft[1]], g.limit, c, figures.flat_mut())?;
        let figures = figures.to_vec(&self.b)?;
        let mut places: Vec<RefineTask> =
            figures.iter().map(|f| RefineTask { y: f.dy.into(), x: f.dx.into() }).collect();
        for radius in [1.0, 0.125] {
            places = self.refined(radius, &places)?;
        }
        let scale = g.block as f64;
        let singles: Vec<Single> = figures
            .iter()
            .zip(&places)
            .map(|(f, place)| Single::new(f, [scale * place.y, scale * place.x], g.limit))
            .collect();
        let joined: Vec<Joined> =
            singles.chunks(g.outputs).map(|planes| join(planes, self.o.combine, self.o.planes)).collect();
        let joined = self.follow(store, pairs, joined)?;
        let joined = self.finer(store, pairs, joined)?;
        let mads = self.differences(store, pairs, &joined)?;
        Ok(joined.into_iter().zip(mads).map(|((one, each), mad)| one.result(each, mad, &g)).collect())
    }

    /// Products of spectra and their transforms, into the workspace.
    fn correlate(&mut self, store: &Store<B>, pairs: &[(usize, usize)]) -> Result<()> {
        let (b, g) = (&self.b, self.g);
        let flat: Vec<u32> = pairs.iter().flat_map(|&(gt, noisy)| [gt as u32, noisy as u32]).collect();
        let [slots, ..] = store.spectra.shape();
        if flat.iter().any(|&slot| slot as usize >= slots) {
            return Err(Error::value("pairs", format!("there are {slots} pictures")));
        }
        let indices = Tensor::<B, u32, 2>::from_slice(b, [pairs.len(), 2], &flat)?;
        let sum = g.outputs == 1;
        let mut products = self.products.slab_mut(0..pairs.len())?.flat();
        cross_weight(
            b,
            &self.weight,
            [slots, g.planes],
            sum,
            indices.flat(),
            store.spectra.flat(),
            products.reborrow(),
        )?;
        let count = pairs.len() * g.outputs;
        let c = self.correlations.slab_mut(0..count)?.flat();
        fft_c2r(b, &self.plan, count, products.as_view(), c, self.work.flat_mut())?;
        Ok(())
    }

    /// The best place near each of `centres`, by the correlation on a grid and a parabola through its best point.
    fn refined(&self, radius: f64, centres: &[RefineTask]) -> Result<Vec<RefineTask>> {
        let (b, n) = (&self.b, centres.len());
        let tasks = Tensor::<B, RefineTask, 1>::from_slice(b, [n], centres)?;
        let mut grids = Tensor::<B, f64, 2>::scratch(b, [n, REFINE_SIDE * REFINE_SIDE])?;
        refine_grid(b, self.g.fft, radius, tasks.flat(), self.products.flat(), grids.flat_mut())?;
        let grids = grids.to_vec(b)?;
        let grids = grids.chunks_exact(REFINE_SIDE * REFINE_SIDE);
        Ok(centres.iter().zip(grids).map(|(centre, grid)| top(*centre, radius, grid)).collect())
    }

    /// [`Refine::Gn`]: the last step where it can be trusted.
    fn finer(&self, store: &Store<B>, pairs: &[(usize, usize)], mut joined: Vec<Joined>) -> Result<Vec<Joined>> {
        if self.o.refine != Refine::Gn {
            return Ok(joined);
        }
        let block = self.g.block as f64;
        for (&(gt, noisy), (one, _)) in pairs.iter().zip(&mut joined) {
            if one.psr < gauss_newton::LEAST_PSR {
                continue;
            }
            let (size, a) = self.proxy(store, gt)?;
            let (_, b) = self.proxy(store, noisy)?;
            if let Some(better) = gauss_newton::refine(&a, &b, size, one.shift.map(|d| d / block)) {
                one.shift = better.map(|d| d * block);
            }
        }
        Ok(joined)
    }

    /// Mean differences of the proxies of each pair before and after its shift.
    fn differences(&self, store: &Store<B>, pairs: &[(usize, usize)], joined: &[Joined]) -> Result<Vec<[f32; 2]>> {
        let (b, g) = (&self.b, self.g);
        // Asked for here, where the host has waited already.
        let means = store.means.to_vec(b)?;
        let mean = |slot: usize| means[slot * g.planes + self.compared()];
        let mut tasks = Vec::with_capacity(2 * pairs.len());
        for (&(gt, noisy), (one, _)) in pairs.iter().zip(joined) {
            let gain = (mean(gt) / mean(noisy)) as f32;
            let [dy, dx] = one.shift.map(|d| (d / g.block as f64).round() as i32);
            let before = MadTask { a: gt as u32, b: noisy as u32, dy: 0, dx: 0, gain };
            tasks.extend([before, MadTask { dy, dx, ..before }]);
        }
        let count = tasks.len();
        let tasks = Tensor::<B, MadTask, 1>::from_slice(b, [count], &tasks)?;
        let mut out = Tensor::<B, f64, 1>::scratch(b, [count])?;
        let [slots, ..] = store.proxies.shape();
        mad_pair(b, [slots, g.proxy[0], g.proxy[1]], tasks.flat(), store.proxies.flat(), out.flat_mut())?;
        Ok(out.to_vec(b)?.chunks_exact(2).map(|two| [two[0] as f32, two[1] as f32]).collect())
    }

    /// The correlation of one pair around its middle, `[2 reach + 1, 2 reach + 1]` row by row from the most negative
    /// shift on, in pixels of the proxy. For looking at.
    ///
    /// # Errors
    /// What the device says.
    pub fn surface(&mut self, store: &Store<B>, pair: (usize, usize), reach: usize) -> Result<(usize, Vec<f32>)> {
        self.correlate(store, &[pair])?;
        let [height, width] = self.g.fft;
        let reach = reach.min((height.min(width) - 1) / 2);
        let all = self.correlations.to_vec(&self.b)?;
        let wrap = |i: usize, n: usize| (i + n - reach) % n;
        let side = 2 * reach + 1;
        let at = |i: usize| all[wrap(i / side, height) * width + wrap(i % side, width)];
        Ok((side, (0..side * side).map(at).collect()))
    }

    /// The proxy of a slot: its size and pixels. For looking at.
    ///
    /// # Errors
    /// What the device says.
    pub fn proxy(&self, store: &Store<B>, slot: usize) -> Result<([usize; 2], Vec<f32>)> {
        let view = store.proxies.slab(slot..slot + 1)?.flat();
        let mut out = vec![0.0; view.len()];
        self.b.download(view, &mut out)?;
        Ok((self.g.proxy, out))
    }
}

/// The best point of a grid, moved by the parabolas through it and its neighbours.
fn top(centre: RefineTask, radius: f64, grid: &[f64]) -> RefineTask {
    let mut best = REFINE_SIDE * REFINE_SIDE / 2;
    for (i, v) in grid.iter().enumerate() {
        if *v > grid[best] {
            best = i;
        }
    }
    let step = radius / 8.0;
    let axis = |i: usize, stride: usize| {
        let place = i as f64 - 8.0;
        if i == 0 || i == REFINE_SIDE - 1 {
            return place * step;
        }
        let (before, middle, behind) = (grid[best - stride], grid[best], grid[best + stride]);
        let bend = before - 2.0 * middle + behind;
        let offset = if bend < 0.0 { 0.5 * (before - behind) / bend } else { 0.0 };
        (place + offset.clamp(-0.5, 0.5)) * step
    };
    RefineTask { y: centre.y + axis(best / REFINE_SIDE, REFINE_SIDE), x: centre.x + axis(best % REFINE_SIDE, 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_a_parabola_is_found() {
        let truth = [0.3, -0.45];
        let grid: Vec<f64> = (0..REFINE_SIDE * REFINE_SIDE)
            .map(|i| {
                let [y, x] = [i / REFINE_SIDE, i % REFINE_SIDE].map(|j| (j as f64 - 8.0) / 8.0);
                1.0 - (y - truth[0]).powi(2) - 2.0 * (x - truth[1]).powi(2)
            })
            .collect();
        let found = top(RefineTask { y: 5.0, x: -3.0 }, 1.0, &grid);
        assert!((found.y - 5.3).abs() < 1e-12 && (found.x + 3.45).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn a_mosaic_on_the_device_gives_the_same() {
        use crate::testing::{Scenery, Shot};
        let b = gpu_core::Cpu::new();
        let scenery = Scenery::new(3, 96, 128);
        let frames = [[0.0, 0.0], [4.0, -2.0]].map(|shift| scenery.shoot(&Shot { shift, ..Shot::default() }));
        let first = &frames[0];
        let mut estimator = Estimator::new(&b, &first.cfa, first.size(), &Options::default(), 1).unwrap();
        let mut store = estimator.store(2).unwrap();
        for (slot, frame) in frames.iter().enumerate() {
            estimator.prepare(&mut store, slot, frame).unwrap();
        }
        let wanted = estimator.align(&store, &[(0, 1)]).unwrap();
        let mut store = estimator.store(2).unwrap();
        for (slot, frame) in frames.iter().enumerate() {
            let mosaic = Tensor::from_array(&b, frame.mosaic.view()).unwrap();
            let levels = (&frame.black, frame.white);
            estimator.prepare_mosaic(&mut store, slot, levels, mosaic.flat()).unwrap();
            let part = mosaic.flat().slice(1..mosaic.len()).unwrap();
            assert!(estimator.prepare_mosaic(&mut store, slot, levels, part).is_err());
        }
        assert_eq!(estimator.align(&store, &[(0, 1)]).unwrap(), wanted);
    }
}
