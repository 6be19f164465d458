//! Pictures whose activations have no room on the device, computed again instead of kept: a layer's statistics take one pass
//! over the picture, in which its rows go through all layers before it, whose statistics are known by then. Of each
//! activation only rows that are still to be read stay on the device; from the host comes the picture alone, and to it the
//! result.
//!
//! With `L` layers that is the work of about `L / 2` pictures. Keeping activations with the host ([`super::strips`], where not
//! even these rows have room) moves some 800 bytes a pixel, which takes longer. Both give the same bits.

use std::ops::Range;

use gpu_core::{Backend, Buffer as _, Cpu, Error, Result, View, ViewMut};

use super::strips::{pixels_of, room};
use super::{Job, Net, Picture};
use crate::kernels::{
    BodyCall, Cut, FirstCall, LastCall, NetElem, NetRows, NetScratch, Norm, OutNorm, Scene, Strip, Window,
    net_body_rows, net_first_rows, net_last_rows,
};

/// All layers, the last of which makes colours, and what they read and write.
#[derive(Debug)]
struct Layers {
    cuts: Vec<Cut>,
    scenes: Vec<Scene>,
    /// Which are the first of a residual block, and keep its input.
    opens: Vec<bool>,
}

/// How a picture goes through the layers up to the one whose statistics are wanted.
#[derive(Debug, Default)]
struct Pass {
    /// Rows of tiles that the layers make one after the other, in every round.
    rounds: Vec<Vec<Range<usize>>>,
    /// Rows of each layer's output that are on the device at most.
    raw: Vec<usize>,
    /// The same of what it keeps.
    kept: Vec<usize>,
    /// Numbers that stay when rows are forgotten.
    tail: usize,
    /// Rows of the picture in a round.
    picture: usize,
    /// Rows of the result in a round.
    colours: usize,
}

/// How a picture is worked on; see the module.
#[derive(Debug)]
pub(super) struct Passes {
    layers: Layers,
    /// By layers.
    each: Vec<Pass>,
    /// Whether the picture itself is on the device as a whole.
    resident: bool,
}

impl Layers {
    /// The first row that a layer still reads, when it has made so many rows of tiles.
    fn reads_from(&self, layer: usize, last: usize, done: &[usize]) -> usize {
        if layer > last || done[layer] >= self.cuts[layer].count() {
            return usize::MAX;
        }
        self.cuts[layer].strip(done[layer]..done[layer] + 1).reads.start
    }

    /// The pass for a layer's statistics. In a round the first layer makes so many rows of tiles, and each other those
    /// whose input is there then, but no more than the first makes for it: so few rows wait.
    fn pass(&self, last: usize, at_once: usize) -> Pass {
        let mut pass = Pass { raw: vec![0; last + 1], kept: vec![0; last + 1], ..Pass::default() };
        let (mut done, mut rows) = (vec![0; last + 1], vec![0; last + 1]);
        while done[last] < self.cuts[last].count() {
            let mut ends = done.clone();
            ends[0] = self.cuts[0].count().min(done[0] + at_once);
            for i in 1..=last {
                let there = self.cuts[i - 1].strip(done[i - 1]..ends[i - 1]).writes.end.max(rows[i - 1]);
                let has_input = |tile: usize| self.cuts[i].strip(tile..tile + 1).reads.end <= there;
                let most =
                    self.cuts[i].count().min(done[i] + (at_once * self.cuts[i].count()).div_ceil(self.cuts[0].count()));
                while ends[i] < most && has_input(ends[i]) {
                    ends[i] += 1;
                }
            }
            for i in 0..=last {
                let strip = self.cuts[i].strip(done[i]..ends[i]);
                let (made, row) = (rows[i].max(strip.writes.end), self.scenes[i + 1].w * self.scenes[i + 1].c);
                let raw = self.reads_from(i + 1, last, &done).min(rows[i]);
                pass.raw[i] = pass.raw[i].max(made - raw);
                pass.tail = pass.tail.max((rows[i] - raw) * row);
                if self.opens[i] {
                    let kept = self.reads_from(i + 2, last, &done).min(rows[i]);
                    pass.kept[i] = pass.kept[i].max(made - kept);
                    pass.tail = pass.tail.max((rows[i] - kept) * row);
                }
                if i == 0 {
                    pass.picture = pass.picture.max(strip.reads.len());
                }
                if i + 1 == self.cuts.len() {
                    pass.colours = pass.colours.max(strip.writes.len());
                }
                rows[i] = made;
            }
            pass.rounds.push((0..=last).map(|i| done[i]..ends[i]).collect());
            done = ends;
        }
        pass
    }

    /// A pass for every layer, each with rounds as large as have room.
    fn passes_in<B: Backend, T: NetElem>(&self, room: usize, resident: bool) -> Option<Vec<Pass>> {
        let fits = |last: usize, at_once: usize| {
            let pass = self.pass(last, at_once);
            (self.bytes::<B, T>(&pass, resident) <= room).then_some(pass)
        };
        let most = |last: usize| {
            let mut best = fits(last, 1)?;
            // By halving.
            let (mut least, mut beyond) = (1, self.cuts[0].count() + 1);
            while beyond - least > 1 {
                let middle = least.midpoint(beyond);
                match fits(last, middle) {
                    Some(pass) => (least, best) = (middle, pass),
                    None => beyond = middle,
                }
            }
            Some(best)
        };
        // The last pass needs most: not in vain for the others.
        fits(self.cuts.len() - 1, 1)?;
        (0..self.cuts.len()).map(most).collect()
    }

    /// Bytes of the picture as a whole.
    fn picture_bytes(&self) -> usize {
        12 * self.scenes[0].h * self.scenes[0].w
    }

    /// Bytes on the device. A device that is the host has rows that come and go twice.
    fn bytes<B: Backend, T: NetElem>(&self, pass: &Pass, resident: bool) -> usize {
        let output = |i: usize| self.scenes[i + 1].w * self.scenes[i + 1].c;
        let norms = pass.raw.len().min(self.cuts.len() - 1);
        let held = (0..norms).map(|i| (pass.raw[i] + pass.kept[i]) * output(i)).sum::<usize>() + pass.tail;
        let picture = if resident { 0 } else { pass.picture * self.scenes[0].w };
        let colours = pass.colours * self.scenes[self.cuts.len()].w;
        let staged = if B::NAME == Cpu::NAME { picture.max(colours) } else { 0 };
        held * size_of::<T>() + 12 * (picture + colours + staged)
    }
}

/// The rows of an activation that are on the device.
struct Band<B: Backend, T: NetElem> {
    buffer: B::Buf<T>,
    /// Numbers of a row.
    row: usize,
    /// Rows that have room.
    most: usize,
    held: Range<usize>,
}

impl<B: Backend, T: NetElem> Band<B, T> {
    fn new(b: &B, rows: usize, scene: Scene) -> Result<Self> {
        let row = scene.w * scene.c;
        Ok(Self { buffer: b.scratch(rows * row)?, row, most: rows, held: 0..0 })
    }

    /// Makes room for rows that follow, by forgetting those before `needed` where there is none.
    fn advance(&mut self, b: &B, tail: &mut B::Buf<T>, needed: usize, end: usize) -> Result<()> {
        if end - self.held.start > self.most {
            let needed = needed.clamp(self.held.start, self.held.end);
            let stays = (self.held.end - needed) * self.row;
            // Through other memory: the places may overlap.
            let from = (needed - self.held.start) * self.row;
            b.copy(View::of(&self.buffer).slice(from..from + stays)?, ViewMut::of(tail).slice(0..stays)?)?;
            b.copy(View::of(tail).slice(0..stays)?, ViewMut::of(&mut self.buffer).slice(0..stays)?)?;
            self.held.start = needed;
        }
        self.held.end = end;
        Ok(())
    }

    fn range(&self, rows: &Range<usize>) -> Result<Range<usize>> {
        if rows.start < self.held.start || rows.end > self.held.end {
            return Err(Error::value("rows", format!("{rows:?} are not among {:?}", self.held)));
        }
        Ok((rows.start - self.held.start) * self.row..(rows.end - self.held.start) * self.row)
    }

    fn rows(&self, rows: &Range<usize>) -> Result<View<'_, B, T>> {
        View::of(&self.buffer).slice(self.range(rows)?)
    }

    fn rows_mut(&mut self, rows: &Range<usize>) -> Result<ViewMut<'_, B, T>> {
        let range = self.range(rows)?;
        ViewMut::of(&mut self.buffer).slice(range)
    }
}

/// Device memory of one pass.
struct Bands<B: Backend, T: NetElem> {
    picture: B::Buf<f32>,
    colours: B::Buf<f32>,
    raw: Vec<Band<B, T>>,
    /// By the layers that keep something.
    kept: Vec<Option<Band<B, T>>>,
    tail: B::Buf<T>,
}

impl<B: Backend, T: NetElem> Bands<B, T> {
    fn new(b: &B, layers: &Layers, pass: &Pass, resident: bool) -> Result<Self> {
        let norms = pass.raw.len().min(layers.cuts.len() - 1);
        let kept = |i: usize| {
            let band = layers.opens[i].then(|| Band::new(b, pass.kept[i], layers.scenes[i]));
            band.transpose()
        };
        Ok(Self {
            picture: b.scratch(if resident { 0 } else { pass.picture * 3 * layers.scenes[0].w })?,
            colours: b.scratch(pass.colours * 3 * layers.scenes[layers.cuts.len()].w)?,
            raw: (0..norms).map(|i| Band::new(b, pass.raw[i], layers.scenes[i + 1])).collect::<Result<_>>()?,
            kept: (0..norms).map(kept).collect::<Result<_>>()?,
            tail: b.scratch(pass.tail)?,
        })
    }
}

/// Statistics of all layers, and memory for those of rows that are computed once more, which nobody reads.
struct Sums<B: Backend, T: NetElem> {
    stats: Vec<B::Buf<T::Stat>>,
    aside: Vec<B::Buf<T::Stat>>,
    scratch: NetScratch<B>,
    scratch_aside: NetScratch<B>,
    /// Of each layer but that whose are in `scratch_aside`: layers take turns there, each with a part of its tiles.
    tickets: Vec<B::Buf<u32>>,
    turn: usize,
    flag: B::Buf<u32>,
}

impl<B: NetRows<T>, T: NetElem> Net<B, T> {
    /// Whether a layer is the first of a residual block.
    pub(super) fn opens(&self, layer: usize) -> bool {
        (3..self.layers.len() - 2).contains(&layer) && (layer - 3).is_multiple_of(2)
    }

    /// Whether a layer reads the sum of a residual block.
    pub(super) fn closes(&self, layer: usize) -> bool {
        let count = self.layers.len();
        count > 5 && layer > 3 && (self.opens(layer) || layer == count - 2)
    }

    /// How to compute again what has no room; none where not even one row of tiles a round fits.
    pub(super) fn passes(&self, b: &B, job: &Job) -> Result<Option<Passes>> {
        let (mut scenes, [h, w]) = (self.scenes(job), job.output());
        scenes[0] = Scene { n: 1, h: job.h, w: job.w, c: 3 };
        scenes.push(Scene { n: 1, h, w, c: 3 });
        let windows = self.layers.iter().map(|layer| layer.window).chain([Window::Last]);
        let cuts = windows.zip(scenes.windows(2)).map(|(window, scene)| Cut::new::<T>(window, scene[0], scene[1]));
        let (cuts, count) = (cuts.collect::<Result<_>>()?, self.layers.len());
        let layers = Layers { cuts, scenes, opens: (0..=count).map(|i| i < count && self.opens(i)).collect() };
        // Statistics, and what waits for their last tile, take some too.
        let room = room(b) / 8 * 7;
        let left = room.saturating_sub(layers.picture_bytes());
        let in_room = match layers.passes_in::<B, T>(left, true) {
            Some(passes) => Some((passes, true)),
            None => layers.passes_in::<B, T>(room, false).map(|passes| (passes, false)),
        };
        Ok(in_room.map(|(each, resident)| Passes { layers, each, resident }))
    }

    /// Runs one picture; how many tiles left the range of the element type.
    pub(super) fn run_recomputed<S: Picture>(
        &self,
        b: &B,
        job: &Job,
        passes: &Passes,
        x: &[S],
        y: &mut [S],
    ) -> Result<u32> {
        let Passes { layers, each, resident } = passes;
        let size = self.scratch_size(job)?;
        let norms = &layers.scenes[1..layers.cuts.len()];
        let zeros = || norms.iter().map(|scene| b.zeros::<T::Stat>(T::stats_len(scene.c))).collect::<Result<Vec<_>>>();
        let mut sums = Sums {
            stats: zeros()?,
            aside: zeros()?,
            scratch: NetScratch::new(b, size)?,
            scratch_aside: NetScratch::new(b, size)?,
            tickets: Vec::new(),
            turn: 0,
            flag: b.zeros(1)?,
        };
        let (row, mut staged) = (3 * job.w, None);
        let whole = if *resident {
            let mut whole = b.scratch(job.h * row)?;
            // Some rows at a time: memory that is page-locked is taken from all others.
            for first in (0..job.h).step_by(512) {
                let rows = first..job.h.min(first + 512);
                let values = pixels_of(b, &mut staged, rows.len() * row)?;
                S::rows_in(x, [job.h, job.w], rows.clone(), values);
                b.upload(values, ViewMut::of(&mut whole).slice(rows.start * row..rows.end * row)?)?;
            }
            Some(whole)
        } else {
            None
        };
        for (last, pass) in each.iter().enumerate() {
            sums.restart(b)?;
            let mut bands = Bands::new(b, layers, pass, *resident)?;
            let mut done = vec![0; last + 1];
            for round in &pass.rounds {
                for (i, tiles) in round.iter().enumerate().filter(|(_, tiles)| !tiles.is_empty()) {
                    let strip = layers.cuts[i].strip(tiles.clone());
                    if i == 0 {
                        let reads = &strip.reads;
                        if whole.is_none() {
                            let values = pixels_of(b, &mut staged, reads.len() * row)?;
                            S::rows_in(x, [job.h, job.w], reads.clone(), values);
                            b.upload(values, ViewMut::of(&mut bands.picture).slice(0..values.len())?)?;
                        }
                        let picture = match &whole {
                            Some(whole) => View::of(whole).slice(reads.start * row..reads.end * row)?,
                            None => View::of(&bands.picture).slice(0..reads.len() * row)?,
                        };
                        let to = &mut bands.raw[0];
                        to.advance(b, &mut bands.tail, layers.reads_from(1, last, &done), strip.writes.end)?;
                        self.first(b, layers, &strip, picture, to, &mut sums, last == 0)?;
                    } else if i < self.layers.len() {
                        self.middle(b, layers, i, last, &done, &strip, &mut bands, &mut sums)?;
                    } else {
                        self.colours(b, job, layers, &strip, &mut bands, &mut sums)?;
                        let values = pixels_of(b, &mut staged, strip.writes.len() * 3 * job.output()[1])?;
                        b.download(View::of(&bands.colours).slice(0..values.len())?, values)?;
                        S::rows_out(values, job.output(), strip.writes.clone(), job.rounding, y);
                    }
                }
                round.iter().zip(&mut done).for_each(|(tiles, done)| *done = tiles.end);
            }
        }
        let mut escaped = [0];
        b.download(View::of(&sums.flag), &mut escaped)?;
        Ok(escaped[0])
    }

    /// The first layer, on the rows of a strip.
    fn first(
        &self,
        b: &B,
        layers: &Layers,
        strip: &Strip,
        x: View<'_, B, f32>,
        to: &mut Band<B, T>,
        sums: &mut Sums<B, T>,
        counts: bool,
    ) -> Result<()> {
        let layer = &self.layers[0];
        let (_, out, scratch) = sums.of(0, counts);
        let out = OutNorm { stats: ViewMut::of(out), gamma_beta: View::of(&layer.gamma_beta) };
        let y = to.rows_mut(&strip.writes)?;
        net_first_rows(b, &layers.cuts[0], strip, FirstCall { x, weights: &layer.weights, y, out, old: None, scratch })
    }

    /// A layer between the first and the last, on the rows of a strip.
    fn middle(
        &self,
        b: &B,
        layers: &Layers,
        i: usize,
        last: usize,
        done: &[usize],
        strip: &Strip,
        Bands { raw, kept, tail, .. }: &mut Bands<B, T>,
        sums: &mut Sums<B, T>,
    ) -> Result<()> {
        let (layer, previous, closes) = (&self.layers[i], &self.layers[i - 1], self.closes(i));
        let ((before, after), (kept, later)) = (raw.split_at_mut(i), kept.split_at_mut(i));
        after[0].advance(b, tail, layers.reads_from(i + 1, last, done), strip.writes.end)?;
        let keep = match &mut later[0] {
            Some(keep) => {
                keep.advance(b, tail, layers.reads_from(i + 2, last, done), strip.writes.end)?;
                Some(keep.rows_mut(&strip.writes)?)
            }
            None => None,
        };
        let add = if closes { kept[i - 2].as_ref() } else { None };
        let add = add.map(|add| add.rows(&strip.reads)).transpose()?;
        let (read, out, scratch) = sums.of(i, i == last);
        let read = read.ok_or_else(|| Error::value("layer", "none is before it"))?;
        let call = BodyCall {
            x: before[i - 1].rows(&strip.reads)?,
            norm: Norm { stats: View::of(read), gamma_beta: View::of(&previous.gamma_beta) },
            relu: !closes,
            add,
            keep,
            weights: &layer.weights,
            y: after[0].rows_mut(&strip.writes)?,
            out: OutNorm { stats: ViewMut::of(out), gamma_beta: View::of(&layer.gamma_beta) },
            old: None,
            scratch,
        };
        net_body_rows(b, &layers.cuts[i], strip, call)
    }

    /// The layer that makes colours, on the rows of a strip.
    fn colours(
        &self,
        b: &B,
        job: &Job,
        layers: &Layers,
        strip: &Strip,
        bands: &mut Bands<B, T>,
        Sums { stats, scratch, flag, .. }: &mut Sums<B, T>,
    ) -> Result<()> {
        let i = self.layers.len();
        let call = LastCall {
            x: bands.raw[i - 1].rows(&strip.reads)?,
            norm: Norm { stats: View::of(&stats[i - 1]), gamma_beta: View::of(&self.layers[i - 1].gamma_beta) },
            weights: &self.last,
            bias: View::of(&self.bias),
            y: ViewMut::of(&mut bands.colours).slice(0..strip.writes.len() * 3 * job.output()[1])?,
            rounding: job.rounding,
            old: None,
            flag: ViewMut::of(flag),
            scratch,
        };
        net_last_rows(b, &layers.cuts[i], strip, call)
    }
}

/// Statistics that a layer reads, those that it makes, and what they go through.
type LayerSums<'a, B, S> = (Option<&'a <B as Backend>::Buf<S>>, &'a mut <B as Backend>::Buf<S>, &'a mut NetScratch<B>);

impl<B: Backend, T: NetElem> Sums<B, T> {
    /// A pass may end before the layers in front of its last one have made all their tiles.
    fn restart(&mut self, b: &B) -> Result<()> {
        let tickets = self.scratch_aside.tickets.len();
        self.tickets = self.stats.iter().map(|_| b.zeros(tickets)).collect::<Result<_>>()?;
        self.scratch_aside.tickets = b.zeros(tickets)?;
        Ok(())
    }

    fn of(&mut self, layer: usize, counts: bool) -> LayerSums<'_, B, T::Stat> {
        let (known, later) = self.stats.split_at_mut(layer);
        if counts {
            return (known.last(), &mut later[0], &mut self.scratch);
        }
        for of in [self.turn, layer] {
            std::mem::swap(&mut self.scratch_aside.tickets, &mut self.tickets[of]);
        }
        self.turn = layer;
        (known.last(), &mut self.aside[layer], &mut self.scratch_aside)
    }
}
