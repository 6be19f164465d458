//! Pictures whose activations have no room on the device: a layer reads and writes some rows at a time, and what does not
//! fit lies in the host's memory, or in scratch files. Where the device has room for rows enough, activations are computed
//! again instead ([`super::recomputed`]).
//!
//! Tiles, weights and statistics are those of the whole picture (see [`crate::kernels::net_body_rows`]), so that the
//! result has the same bits as with more memory.

use std::ops::Range;

use gpu_core::{Backend, Buffer as _, Cpu, Error, Result, View, ViewMut};

use super::{Job, Net, Picture};
use crate::kernels::{
    BodyCall, Cut, FirstCall, LastCall, NetElem, NetRows, NetScratch, Norm, OutNorm, Scene, Strip, Window,
    net_body_rows, net_first_rows, net_last_rows,
};
use crate::spill::Spill;

/// An activation, and where it is.
struct Kept<B: Backend, T: NetElem> {
    /// Numbers of a row.
    row: usize,
    at: Place<B, T>,
}

enum Place<B: Backend, T: NetElem> {
    Device(B::Buf<T>),
    /// Page-locked, so that copies are as fast as they can be; of at least as many numbers.
    Host(B::Pinned<T>),
    File(Spill<T>),
}

/// Memory on both sides for the rows at hand of one activation.
#[derive(Debug)]
struct Hand<B: Backend, T: NetElem> {
    device: Option<B::Buf<T>>,
    host: Vec<T>,
}

impl<B: Backend, T: NetElem> Default for Hand<B, T> {
    fn default() -> Self {
        Self { device: None, host: Vec::new() }
    }
}

impl<B: Backend, T: NetElem> Hand<B, T> {
    /// Device memory for so many numbers.
    fn grown(&mut self, b: &B, len: usize) -> Result<&mut B::Buf<T>> {
        if self.device.as_ref().is_none_or(|buffer| buffer.len() < len) {
            // Given back before more is asked for.
            self.device = None;
            self.device = Some(b.scratch(len)?);
        }
        self.device.as_mut().ok_or_else(|| Error::value("rows", "no memory for them"))
    }
}

fn scratch_file(error: &std::io::Error) -> Error {
    let folder = std::env::temp_dir();
    Error::value("scratch file", format!("{}: {error}; TMPDIR names another folder", folder.display()))
}

/// Bytes that can be taken on the device now.
pub(super) fn room<B: Backend>(b: &B) -> usize {
    let memory = b.memory();
    memory.limit.saturating_sub(memory.used).min(memory.free)
}

impl<B: Backend, T: NetElem> Kept<B, T> {
    /// Room for an activation: on the device if that is at most half of what is left there, else with the host.
    fn new(b: &B, scene: Scene, spare: &mut Vec<B::Pinned<T>>) -> Result<Self> {
        let (row, bytes) = (scene.w * scene.c, scene.len() * size_of::<T>());
        if bytes <= room(b) / 2
            && let Ok(buffer) = b.scratch(scene.len())
        {
            return Ok(Self { row, at: Place::Device(buffer) });
        }
        // The smallest of those that are large enough: what a layer before has left.
        let fits = spare.iter().enumerate().filter(|(_, memory)| memory.len() >= scene.len());
        if let Some(at) = fits.min_by_key(|(_, memory)| memory.len()).map(|(at, _)| at) {
            return Ok(Self { row, at: Place::Host(spare.swap_remove(at)) });
        }
        // Locked pages are no others' any more.
        if bytes <= Cpu::new().memory().free / 2
            && let Ok(memory) = b.pinned(scene.len())
        {
            return Ok(Self { row, at: Place::Host(memory) });
        }
        let file = Spill::new(&std::env::temp_dir(), row).map_err(|e| scratch_file(&e))?;
        Ok(Self { row, at: Place::File(file) })
    }

    /// Leaves memory of the host to what comes after.
    fn end(self, spare: &mut Vec<B::Pinned<T>>) {
        if let Place::Host(memory) = self.at {
            spare.push(memory);
        }
    }

    /// Rows on the device.
    fn rows<'a>(&'a mut self, b: &B, rows: &Range<usize>, hand: &'a mut Hand<B, T>) -> Result<View<'a, B, T>> {
        let range = rows.start * self.row..rows.end * self.row;
        let len = range.len();
        match &mut self.at {
            Place::Device(buffer) => return View::of(buffer).slice(range),
            Place::Host(values) => b.upload(&values[range], ViewMut::of(hand.grown(b, len)?).slice(0..len)?)?,
            Place::File(file) => {
                file.read(rows.clone(), &mut hand.host).map_err(|e| scratch_file(&e))?;
                let (host, device) = (std::mem::take(&mut hand.host), hand.grown(b, len)?);
                b.upload(&host, ViewMut::of(device).slice(0..len)?)?;
                hand.host = host;
            }
        }
        let device = hand.device.as_ref().ok_or_else(|| Error::value("rows", "no memory for them"))?;
        View::of(device).slice(0..len)
    }

    /// Where rows go that a layer makes.
    fn rows_mut<'a>(&'a mut self, b: &B, rows: &Range<usize>, hand: &'a mut Hand<B, T>) -> Result<ViewMut<'a, B, T>> {
        let range = rows.start * self.row..rows.end * self.row;
        match &mut self.at {
            Place::Device(buffer) => ViewMut::of(buffer).slice(range),
            _ => ViewMut::of(hand.grown(b, range.len())?).slice(0..range.len()),
        }
    }

    /// Takes rows that a layer has made.
    fn take(&mut self, b: &B, rows: &Range<usize>, hand: &mut Hand<B, T>) -> Result<()> {
        let range = rows.start * self.row..rows.end * self.row;
        let Hand { device: Some(device), host } = hand else { return Ok(()) };
        match &mut self.at {
            Place::Device(_) => Ok(()),
            Place::Host(values) => b.download(View::of(device).slice(0..range.len())?, &mut values[range]),
            Place::File(file) => {
                host.resize(range.len(), T::zeroed());
                b.download(View::of(device).slice(0..range.len())?, host)?;
                file.write(rows.start, host).map_err(|e| scratch_file(&e))
            }
        }
    }
}

/// Rows of tiles at a time, so that what they read and write takes half of the room; one in any case.
fn strips<B: Backend>(b: &B, cut: &Cut, bytes_read: usize, bytes_written: usize) -> impl Iterator<Item = Strip> {
    let bytes = |tiles: usize| {
        let strip = cut.strip(0..tiles);
        (strip.reads.len() + 8) * bytes_read + strip.writes.len() * bytes_written
    };
    let (room, count) = (room(b) / 2, cut.count());
    // The most that fit, by halving.
    let (mut fits, mut beyond) = (1, count + 1);
    while beyond - fits > 1 {
        let middle = fits.midpoint(beyond);
        if bytes(middle) <= room { fits = middle } else { beyond = middle }
    }
    let cut = *cut;
    (0..count).step_by(fits).map(move |first| cut.strip(first..first + fits))
}

/// A layer's raw output with its statistics.
type Made<B, T> = (Kept<B, T>, <B as Backend>::Buf<<T as NetElem>::Stat>);

/// What the layers share while one picture is worked on.
struct Work<B: Backend, T: NetElem> {
    scratch: NetScratch<B>,
    flag: B::Buf<u32>,
    hands: [Hand<B, T>; 4],
    /// Memory of the host that no activation is in.
    spare: Vec<B::Pinned<T>>,
    /// Memory of the host for rows of pictures.
    staged: Option<B::Pinned<f32>>,
}

impl<B: NetRows<T>, T: NetElem> Net<B, T> {
    /// Runs one picture, some rows at a time; how many tiles left the range of the element type.
    pub(crate) fn run_in_strips<S: Picture>(&self, b: &B, job: &Job, x: &[S], y: &mut [S]) -> Result<u32> {
        let scenes = self.scenes(job);
        let (count, scratch) = (self.layers.len(), NetScratch::new(b, self.scratch_size(job)?)?);
        let (spare, staged) = (Vec::new(), None);
        let mut work = Work { scratch, flag: b.zeros(1)?, hands: Default::default(), spare, staged };
        let (mut raw, mut stats) = self.first_in_strips(b, job, x, scenes[1], &mut work)?;
        let mut kept: Option<Kept<B, T>> = None;
        for i in 1..count {
            let (opens, closes) = (self.opens(i), self.closes(i));
            let (from, to) = (scenes[i], scenes[i + 1]);
            let mut out = Kept::new(b, to, &mut work.spare)?;
            let mut keep = if opens { Some(Kept::new(b, from, &mut work.spare)?) } else { None };
            let mut add = if closes { kept.take() } else { None };
            let read = Read { raw: &mut raw, stats: &stats, add: add.as_mut() };
            let written = self.body_in_strips(b, i, [from, to], read, &mut out, keep.as_mut(), &mut work)?;
            std::mem::replace(&mut raw, out).end(&mut work.spare);
            stats = written;
            if let Some(add) = add {
                add.end(&mut work.spare);
            }
            kept = keep.or(kept);
        }
        self.last_in_strips(b, job, scenes[count], &mut raw, &stats, y, &mut work)
    }

    fn first_in_strips<S: Picture>(
        &self,
        b: &B,
        job: &Job,
        x: &[S],
        to: Scene,
        work: &mut Work<B, T>,
    ) -> Result<Made<B, T>> {
        let from = Scene { n: 1, h: job.h, w: job.w, c: 3 };
        let cut = Cut::new::<T>(Window::First, from, to)?;
        let mut out = Kept::new(b, to, &mut work.spare)?;
        let mut stats = b.zeros(T::stats_len(to.c))?;
        let Work { scratch, hands: [_, _, hand, _], staged, .. } = work;
        let mut device = None;
        for strip in strips(b, &cut, 12 * job.w, to.w * to.c * size_of::<T>()) {
            let pixels = pixels_of(b, staged, strip.reads.len() * 3 * job.w)?;
            S::rows_in(x, [job.h, job.w], strip.reads.clone(), pixels);
            let x = uploaded(b, &mut device, pixels)?;
            let call = FirstCall {
                x,
                weights: &self.layers[0].weights,
                y: out.rows_mut(b, &strip.writes, hand)?,
                out: OutNorm { stats: ViewMut::of(&mut stats), gamma_beta: View::of(&self.layers[0].gamma_beta) },
                old: None,
                scratch,
            };
            net_first_rows(b, &cut, &strip, call)?;
            out.take(b, &strip.writes, hand)?;
        }
        Ok((out, stats))
    }

    fn body_in_strips(
        &self,
        b: &B,
        i: usize,
        [from, to]: [Scene; 2],
        mut read: Read<'_, B, T>,
        out: &mut Kept<B, T>,
        mut keep: Option<&mut Kept<B, T>>,
        work: &mut Work<B, T>,
    ) -> Result<B::Buf<T::Stat>> {
        let (layer, previous) = (&self.layers[i], &self.layers[i - 1]);
        let cut = Cut::new::<T>(layer.window, from, to)?;
        let mut stats = b.zeros(T::stats_len(to.c))?;
        let Work { scratch, hands: [x_hand, add_hand, y_hand, keep_hand], .. } = work;
        let (in_bytes, out_bytes) = (from.w * from.c * size_of::<T>(), to.w * to.c * size_of::<T>());
        let in_bytes = in_bytes * (1 + usize::from(read.add.is_some()) + usize::from(keep.is_some()));
        for strip in strips(b, &cut, in_bytes, out_bytes) {
            let add = match read.add.as_deref_mut() {
                Some(add) => Some(add.rows(b, &strip.reads, add_hand)?),
                None => None,
            };
            let keep_view = match keep.as_deref_mut() {
                Some(keep) => Some(keep.rows_mut(b, &strip.writes, keep_hand)?),
                None => None,
            };
            let call = BodyCall {
                x: read.raw.rows(b, &strip.reads, x_hand)?,
                norm: Norm { stats: View::of(read.stats), gamma_beta: View::of(&previous.gamma_beta) },
                relu: add.is_none(),
                add,
                keep: keep_view,
                weights: &layer.weights,
                y: out.rows_mut(b, &strip.writes, y_hand)?,
                out: OutNorm { stats: ViewMut::of(&mut stats), gamma_beta: View::of(&layer.gamma_beta) },
                old: None,
                scratch,
            };
            net_body_rows(b, &cut, &strip, call)?;
            out.take(b, &strip.writes, y_hand)?;
            if let Some(keep) = keep.as_deref_mut() {
                keep.take(b, &strip.writes, keep_hand)?;
            }
        }
        Ok(stats)
    }

    fn last_in_strips<S: Picture>(
        &self,
        b: &B,
        job: &Job,
        from: Scene,
        raw: &mut Kept<B, T>,
        stats: &B::Buf<T::Stat>,
        y: &mut [S],
        work: &mut Work<B, T>,
    ) -> Result<u32> {
        let Some(before) = self.layers.last() else { return Ok(0) };
        let [h, w] = job.output();
        let cut = Cut::new::<T>(Window::Last, from, Scene { n: 1, h, w, c: 3 })?;
        let Work { scratch, flag, hands: [x_hand, ..], staged, .. } = work;
        let mut device = None;
        for strip in strips(b, &cut, from.w * from.c * size_of::<T>(), 12 * w) {
            let pixels = pixels_of(b, staged, strip.writes.len() * w * 3)?;
            let mut to = grown(b, &mut device, pixels.len())?;
            let call = LastCall {
                x: raw.rows(b, &strip.reads, x_hand)?,
                norm: Norm { stats: View::of(stats), gamma_beta: View::of(&before.gamma_beta) },
                weights: &self.last,
                bias: View::of(&self.bias),
                y: to.reborrow(),
                rounding: job.rounding,
                old: None,
                flag: ViewMut::of(flag),
                scratch,
            };
            net_last_rows(b, &cut, &strip, call)?;
            b.download(to.as_view(), pixels)?;
            S::rows_out(pixels, [h, w], strip.writes.clone(), job.rounding, y);
        }
        let mut escaped = [0];
        b.download(View::of(flag), &mut escaped)?;
        Ok(escaped[0])
    }
}

/// What a layer reads.
struct Read<'a, B: Backend, T: NetElem> {
    raw: &'a mut Kept<B, T>,
    stats: &'a B::Buf<T::Stat>,
    add: Option<&'a mut Kept<B, T>>,
}

/// Device memory of this length, kept between strips.
fn grown<'a, B: Backend>(b: &B, device: &'a mut Option<B::Buf<f32>>, len: usize) -> Result<ViewMut<'a, B, f32>> {
    if device.as_ref().is_none_or(|buffer| buffer.len() < len) {
        *device = None;
        *device = Some(b.scratch(len)?);
    }
    let buffer = device.as_mut().ok_or_else(|| Error::value("rows", "no memory for them"))?;
    ViewMut::of(buffer).slice(0..len)
}

fn uploaded<'a, B: Backend>(b: &B, device: &'a mut Option<B::Buf<f32>>, values: &[f32]) -> Result<View<'a, B, f32>> {
    b.upload(values, grown(b, device, values.len())?)?;
    let buffer = device.as_ref().ok_or_else(|| Error::value("rows", "no memory for them"))?;
    View::of(buffer).slice(0..values.len())
}

/// Page-locked memory of the host for so many numbers.
pub(super) fn pixels_of<'a, B: Backend>(
    b: &B,
    staged: &'a mut Option<B::Pinned<f32>>,
    len: usize,
) -> Result<&'a mut [f32]> {
    if staged.as_ref().is_none_or(|memory| memory.len() < len) {
        *staged = None;
        *staged = Some(b.pinned(len)?);
    }
    let memory = staged.as_mut().ok_or_else(|| Error::value("rows", "no memory for them"))?;
    Ok(&mut memory[..len])
}
