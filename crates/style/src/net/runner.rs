//! Launch sequences for the sizes that came lately.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use gpu_core::{Backend, Captured, Error as GpuError, View, ViewMut};
use rayon::prelude::*;

use super::{Arena, Job, Net, Observer};
use crate::Result;
use crate::cpu;
use crate::kernels::{NetBody, NetElem, NetFirst, NetHistory, NetLast, NetPack, NetRows, Sample, Tiles};
use crate::mix::Rounding;
use crate::weights::StyleModel;

/// How many sizes are kept ready.
const KEPT: usize = 8;

/// Everything that the launches for one size work on.
#[derive(Debug)]
pub struct State<B: Backend, T: NetElem, S: Sample> {
    arena: Arena<B, T>,
    x: B::Buf<S>,
    y: B::Buf<S>,
}

type Graph<B, T, S> = Captured<B, State<B, T, S>>;

/// A recorded sequence, by what pictures come in and go out as.
pub enum Recorded<B: Backend, T: NetElem> {
    /// Planes of `f32`.
    Planes(Graph<B, T, f32>),
    /// Bytes.
    Bytes(Graph<B, T, u8>),
}

impl<B: Backend, T: NetElem> fmt::Debug for Recorded<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planes(_) => "Recorded::Planes",
            Self::Bytes(_) => "Recorded::Bytes",
        })
    }
}

/// What a picture's values are: `f32` in planes, or bytes that lie pixel after pixel.
pub trait Picture: Sample {
    #[doc(hidden)]
    fn wrap<B: Backend, T: NetElem>(graph: Graph<B, T, Self>) -> Recorded<B, T>;
    #[doc(hidden)]
    fn unwrap<B: Backend, T: NetElem>(recorded: &mut Recorded<B, T>) -> Option<&mut Graph<B, T, Self>>;
    /// The colour of a picture that has one alone.
    #[doc(hidden)]
    fn only_colour(x: &[Self]) -> Option<[Self; 3]>;
    /// Fills a picture with a colour.
    #[doc(hidden)]
    fn fill_with(colour: [Self; 3], y: &mut [Self]);
    #[doc(hidden)]
    fn on_cpu(net: &cpu::Network, arena: &mut cpu::Arena, job: &Job, x: &[Self], y: &mut [Self]) -> Result<()>;
    /// Some rows of one picture as `[rows][w][3]`.
    #[doc(hidden)]
    fn rows_in(x: &[Self], size: [usize; 2], rows: Range<usize>, to: &mut [f32]);
    /// The reverse, for a result that is not clamped.
    #[doc(hidden)]
    fn rows_out(from: &[f32], size: [usize; 2], rows: Range<usize>, rounding: Rounding, y: &mut [Self]);
}

impl Picture for f32 {
    fn wrap<B: Backend, T: NetElem>(graph: Graph<B, T, Self>) -> Recorded<B, T> {
        Recorded::Planes(graph)
    }
    fn unwrap<B: Backend, T: NetElem>(recorded: &mut Recorded<B, T>) -> Option<&mut Graph<B, T, Self>> {
        match recorded {
            Recorded::Planes(graph) => Some(graph),
            Recorded::Bytes(_) => None,
        }
    }
    fn only_colour(x: &[Self]) -> Option<[Self; 3]> {
        let plane = x.len() / 3;
        let flat = x.chunks_exact(plane).all(|x| x.iter().all(|v| *v == x[0]));
        flat.then(|| [x[0], x[plane], x[2 * plane]])
    }
    fn fill_with(colour: [Self; 3], y: &mut [Self]) {
        let plane = y.len() / 3;
        y.chunks_exact_mut(plane).zip(colour).for_each(|(y, v)| y.fill(v));
    }
    fn on_cpu(net: &cpu::Network, arena: &mut cpu::Arena, job: &Job, x: &[Self], y: &mut [Self]) -> Result<()> {
        planes_on_cpu(net, arena, job, x, y)
    }
    fn rows_in(x: &[Self], [h, w]: [usize; 2], rows: Range<usize>, to: &mut [f32]) {
        to.par_chunks_mut(3 * w).zip(rows).for_each(|(to, row)| {
            for (i, to) in to.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                *to = [0, 1, 2].map(|c| x[(c * h + row) * w + i]);
            }
        });
    }
    fn rows_out(from: &[f32], [h, w]: [usize; 2], rows: Range<usize>, _: Rounding, y: &mut [Self]) {
        for (c, plane) in y.chunks_exact_mut(h * w).enumerate() {
            let plane = &mut plane[rows.start * w..rows.end * w];
            plane.par_chunks_mut(w).zip(from.par_chunks(3 * w)).for_each(|(to, from)| {
                for (to, from) in to.iter_mut().zip(from.as_chunks::<3>().0) {
                    *to = from[c];
                }
            });
        }
    }
}

impl Picture for u8 {
    fn wrap<B: Backend, T: NetElem>(graph: Graph<B, T, Self>) -> Recorded<B, T> {
        Recorded::Bytes(graph)
    }
    fn unwrap<B: Backend, T: NetElem>(recorded: &mut Recorded<B, T>) -> Option<&mut Graph<B, T, Self>> {
        match recorded {
            Recorded::Bytes(graph) => Some(graph),
            Recorded::Planes(_) => None,
        }
    }
    fn only_colour(x: &[Self]) -> Option<[Self; 3]> {
        x.chunks_exact(3).all(|pixel| *pixel == x[..3]).then(|| [x[0], x[1], x[2]])
    }
    fn fill_with(colour: [Self; 3], y: &mut [Self]) {
        y.chunks_exact_mut(3).for_each(|y| y.copy_from_slice(&colour));
    }
    fn on_cpu(net: &cpu::Network, arena: &mut cpu::Arena, job: &Job, x: &[Self], y: &mut [Self]) -> Result<()> {
        if job.policy == crate::SizePolicy::Crop && job.rounding == crate::mix::Rounding::Truncate {
            let size = 3 * job.h * job.w;
            for (x, y) in x.chunks_exact(size).zip(y.chunks_exact_mut(size)) {
                net.run_rgb(arena, x, [job.h, job.w], y).map_err(refused)?;
            }
            return Ok(());
        }
        let [h, w] = job.output();
        let place = |i: usize, h: usize, w: usize| [i / (3 * h * w), i / w % h, i % w, i / (h * w) % 3];
        let planes: Vec<f32> =
            (0..x.len()).map(|i| f32::from(x[Self::at(job.h, job.w, place(i, job.h, job.w))])).collect();
        let mut styled = vec![0.0; y.len()];
        planes_on_cpu(net, arena, job, &planes, &mut styled)?;
        for (i, v) in styled.into_iter().enumerate() {
            y[Self::at(h, w, place(i, h, w))] = Self::of(v, job.rounding);
        }
        Ok(())
    }
    fn rows_in(x: &[Self], [_, w]: [usize; 2], rows: Range<usize>, to: &mut [f32]) {
        let x = &x[3 * w * rows.start..3 * w * rows.end];
        to.par_chunks_mut(3 * w).zip(x.par_chunks(3 * w)).for_each(|(to, from)| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = f32::from(*from));
        });
    }
    fn rows_out(from: &[f32], [_, w]: [usize; 2], rows: Range<usize>, rounding: Rounding, y: &mut [Self]) {
        let y = &mut y[3 * w * rows.start..3 * w * rows.end];
        y.par_chunks_mut(3 * w).zip(from.par_chunks(3 * w)).for_each(|(to, from)| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = rounding.byte(*from));
        });
    }
}

/// What the network on the processor refuses.
fn refused(error: cpu::ShapeError) -> GpuError {
    match error {
        cpu::ShapeError::ScratchFile(_) => GpuError::Io { path: std::env::temp_dir(), message: error.to_string() },
        _ => GpuError::value("pictures", error.to_string()),
    }
}

/// Runs planes on the processor: continued to the scene, run, cut to the size wanted.
fn planes_on_cpu(net: &cpu::Network, arena: &mut cpu::Arena, job: &Job, x: &[f32], y: &mut [f32]) -> Result<()> {
    let [h, w] = job.scene();
    let [raw_h, raw_w] = cpu::Network::output_size(h, w);
    let [out_h, out_w] = job.output();
    // Large pictures are not copied more often than they must be.
    if [h, w, raw_h, raw_w] == [job.h, job.w, out_h, out_w] {
        return Ok(net.run_into(arena, x, [job.n, 3, h, w], y).map_err(refused)?);
    }
    let raw = if [h, w] == [job.h, job.w] {
        net.run(arena, x, [job.n, 3, h, w]).map_err(refused)?
    } else {
        let inside = |i: usize, n: usize| if i < n { i } else { 2 * (n - 1) - i };
        let value = |i: usize| {
            let (plane, row, col) = (i / (h * w), i / w % h, i % w);
            x[(plane * job.h + inside(row, job.h)) * job.w + inside(col, job.w)]
        };
        let padded: Vec<f32> = (0..job.n * 3 * h * w).map(value).collect();
        net.run(arena, &padded, [job.n, 3, h, w]).map_err(refused)?
    };
    let planes = y.chunks_exact_mut(out_h * out_w).zip(raw.chunks_exact(raw_h * raw_w));
    for (to, from) in planes {
        for (to, from) in to.chunks_exact_mut(out_w).zip(from.chunks_exact(raw_w)) {
            to.copy_from_slice(&from[..out_w]);
        }
    }
    Ok(())
}

/// A network with recorded launch sequences.
#[derive(Debug)]
pub(crate) struct Runner<B: Backend, T: NetElem> {
    net: Arc<Net<B, T>>,
    /// The one used last comes first.
    recorded: Vec<(Job, Recorded<B, T>)>,
    /// The share of a frame's own statistics, where those of the frames before count too.
    own: Option<f64>,
}

/// Fills a buffer with pictures.
pub(crate) type Fill<'a, B, S> = dyn FnMut(ViewMut<'_, B, S>) -> gpu_core::Result<()> + 'a;
/// Takes results, with the number of tiles that left the range of the element type.
pub(crate) type Take<'a, B, S> = dyn FnMut(View<'_, B, S>, View<'_, B, u32>) -> gpu_core::Result<()> + 'a;

impl<B: NetPack<T>, T: NetElem> Runner<B, T> {
    /// Uploads a model; none when the element type has no layers that wide.
    pub(crate) fn new(b: &B, model: &StyleModel, tiles: Option<Tiles>) -> Result<Option<Self>> {
        Ok(Net::new(b, model, tiles)?.map(|net| Self { net: Arc::new(net), recorded: Vec::new(), own: None }))
    }
}

impl<B: NetBody<T> + NetHistory<T>, T: NetElem> Runner<B, T> {
    /// Queues the network on what `fill` brings, and hands the result to `take`.
    pub(crate) fn forward<S: Picture>(
        &mut self,
        b: &B,
        job: &Job,
        fill: &mut Fill<'_, B, S>,
        take: &mut Take<'_, B, S>,
    ) -> gpu_core::Result<()>
    where
        B: NetFirst<S, T> + NetLast<S, T>,
    {
        let known = self.recorded.iter_mut().position(|(known, graph)| known == job && S::unwrap(graph).is_some());
        let mut entry = match known {
            Some(at) => self.recorded.remove(at),
            None => (*job, S::wrap(self.record_with_room(b, job)?)),
        };
        // Frames of another size were between.
        if known.is_some_and(|at| at > 0)
            && let Some(graph) = S::unwrap(&mut entry.1)
        {
            graph.state_mut().arena.forget(b)?;
        }
        self.recorded.truncate(KEPT - 1);
        self.recorded.insert(0, entry);
        let Some(graph) = self.recorded.first_mut().and_then(|(_, graph)| S::unwrap(graph)) else { return Ok(()) };
        fill(ViewMut::of(&mut graph.state_mut().x))?;
        graph.replay(b)?;
        let state = graph.state();
        take(View::of(&state.y), View::of(state.arena.flag()))
    }

    /// Runs one picture, some rows at a time, after giving back what other sizes have; how many tiles left the range.
    pub(crate) fn in_strips<S: Picture>(&mut self, b: &B, job: &Job, x: &[S], y: &mut [S]) -> gpu_core::Result<u32>
    where
        B: NetRows<T>,
    {
        self.recorded.clear();
        b.synchronize()?;
        if let Some(passes) = self.net.passes(b, job)? {
            tracing::debug!("strips: activations are computed again");
            // Memory of the device may be in pieces.
            match self.net.run_recomputed(b, job, &passes, x, y) {
                Err(GpuError::OutOfMemory { .. }) => b.synchronize()?,
                other => return other,
            }
        }
        self.net.run_in_strips(b, job, x, y)
    }

    /// Whether activations of a picture that has no room would be computed again now; else they are kept with the host.
    pub(crate) fn recomputes(&mut self, b: &B, job: &Job) -> gpu_core::Result<bool>
    where
        B: NetRows<T>,
    {
        self.recorded.clear();
        b.synchronize()?;
        Ok(self.net.passes(b, job)?.is_some())
    }

    /// Records; when memory runs out, once more without the sizes of before.
    fn record_with_room<S: Picture>(&mut self, b: &B, job: &Job) -> gpu_core::Result<Graph<B, T, S>>
    where
        B: NetFirst<S, T> + NetLast<S, T>,
    {
        match self.record(b, job) {
            Err(GpuError::OutOfMemory { .. }) if !self.recorded.is_empty() => {
                self.recorded.clear();
                b.synchronize()?;
                self.record(b, job)
            }
            other => other,
        }
    }

    fn record<S: Picture>(&self, b: &B, job: &Job) -> gpu_core::Result<Graph<B, T, S>>
    where
        B: NetFirst<S, T> + NetLast<S, T>,
    {
        let state = State {
            arena: Arena::new(b, &self.net, job, self.own)?,
            x: b.scratch(job.input_len())?,
            y: b.scratch(job.output_len())?,
        };
        let (net, job) = (Arc::clone(&self.net), *job);
        b.capture(state, move |b, State { arena, x, y }| net.run(b, &job, arena, View::of(x), ViewMut::of(y), None))
    }

    /// The share of a frame's own statistics from now on; what was remembered is forgotten.
    pub(crate) fn set_own(&mut self, own: Option<f64>) {
        self.recorded.clear();
        self.own = own;
    }

    /// Gives back what recorded sizes hold.
    pub(crate) fn forget(&mut self) {
        self.recorded.clear();
    }

    /// Runs planes and shows every layer.
    pub(crate) fn observe(
        &self,
        b: &B,
        job: &Job,
        x: &[f32],
        observer: &mut Observer<'_, B, T>,
    ) -> gpu_core::Result<Vec<f32>>
    where
        B: NetFirst<f32, T> + NetLast<f32, T>,
    {
        let mut arena = Arena::new(b, &self.net, job, None)?;
        let (mut from, mut to) = (b.scratch(job.input_len())?, b.scratch(job.output_len())?);
        b.upload(x, ViewMut::of(&mut from))?;
        self.net.run(b, job, &mut arena, View::of(&from), ViewMut::of(&mut to), Some(observer))?;
        let mut out = vec![0.0; job.output_len()];
        b.download(View::of(&to), &mut out)?;
        Ok(out)
    }
}
