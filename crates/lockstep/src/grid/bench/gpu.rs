//! Workloads on GPUs: resident in their memory, and from the host's memory to the host's.

use std::time::Instant;

use gpu_core::Tensor;
use grid_dsl::conform::Task;
use grid_dsl::device::DeviceExecutor;
use grid_dsl::exec::{Executor, Options};
use grid_dsl::kernels::{
    self, AugmentItems, ComponentsOf, FIGURES, GridBackend, GridBatch, Item, Labels, Mode, PaletteOf,
};
use grid_dsl::ops::{self, Grid};
use grid_dsl::search::Enumerator;
use grid_dsl::{Backend, Batch, Dag, Isometry, Limits, Prim, Program, Reference, Value};
use rayon::prelude::*;
use serde_json::{Value as Json, json};

use super::super::machine::Share;
use super::{Bench, Times, Workload, dense, tell};
use crate::exit::{Exit, Failure, Result};
use crate::session::Session;

/// The flags of W1: univalued, diagonal, without background.
const MODES: [[bool; 3]; 5] =
    [[true, false, true], [true, true, true], [true, false, false], [false, true, true], [false, false, true]];

/// Grids of one launch: with all their components 3.5 GB in five modes.
const TOGETHER: usize = 1 << 16;

/// Components of a grid, at most.
const MOST: usize = 1024;

fn mode([univalued, diagonal, without_bg]: [bool; 3]) -> Mode {
    Mode::new(univalued, diagonal, without_bg)
}

/// Whether components are those of `objects`.
fn differs(grid: &Value, flags: [bool; 3], found: &ComponentsOf) -> bool {
    let args: Vec<Value> = std::iter::once(grid.clone()).chain(flags.map(Value::Bool)).collect();
    Reference.call(Prim::Objects, &args, &Limits::default()) != found.to_objects(grid)
}

impl Bench {
    /// All workloads; bytes a second of a copy, and the rows.
    pub(super) fn measure_gpus<B: GridBackend>(
        &self,
        session: &Session,
        executor: DeviceExecutor<B>,
        tasks: &[Task],
        inputs: &[&Value],
        programs: &[Program],
    ) -> Result<(f64, Vec<Json>)> {
        let queues = executor.queues().to_vec();
        let first = &queues[0];
        let copy = copy_speed(first)?;
        session.say(format!("{} x {}, copies at {:.0} GB/s", queues.len(), first.device().name, copy / 1e9));
        let mut rows = Vec::new();
        let all = self.grids_of(inputs)?;
        if self.wants(Workload::W1) {
            let grids = self.many(&all);
            let mut best = 0.0;
            for modes in std::iter::once(&MODES[..]).chain(MODES.iter().map(std::slice::from_ref)) {
                let row = self.on_gpus(session, &queues[..1], ("W1", ""), &grids, modes)?;
                best = if modes.len() == MODES.len() { rate(&row) } else { best };
                rows.push(row);
            }
            rows.push(self.components_end_to_end(session, first, "W1", &grids)?);
            if self.wants(Workload::W7) {
                for n in counts(queues.len()) {
                    let mut row = self.on_gpus(session, &queues[..n], ("W7", " of W1"), &grids, &MODES)?;
                    row["efficiency"] = json!(rate(&row) / best / n as f64);
                    rows.push(row);
                }
            }
        }
        if self.wants(Workload::W1d) {
            let grids = self.many(&dense(512));
            rows.push(self.on_gpus(session, &queues[..1], ("W1d", ""), &grids, &MODES)?);
            rows.push(self.components_end_to_end(session, first, "W1d", &grids)?);
        }
        if self.wants(Workload::W4) {
            let host = self.search(session, tasks, &Enumerator::new(self.bounds()), ", its CPU");
            let mut row = self.search(session, tasks, &Enumerator::on(self.bounds(), first.clone()), ", host to host");
            row["speedup_over_cpu"] = json!(rate(&row) / rate(&host));
            row["cpu_median_s"] = host["median_s"].clone();
            rows.extend([host, row]);
        }
        if self.wants(Workload::W5) {
            rows.extend(self.augmented(session, first, &all)?);
        }
        if self.wants(Workload::W6) {
            rows.extend(self.colours(session, first, tasks)?);
        }
        if !programs.is_empty() && [Workload::W2, Workload::W3, Workload::W7].into_iter().any(|w| self.wants(w)) {
            rows.extend(self.graphs(session, &queues, executor, tasks, inputs, programs)?);
        }
        Ok((copy, rows))
    }

    /// Marks a row, and tells it.
    fn told(session: &Session, mut row: Json, variant: &str, gpus: usize, bytes: Option<f64>) -> Json {
        row["variant"] = json!(variant);
        row["gpus"] = json!(gpus);
        row["floor_bytes"] = json!(bytes);
        row["what"] = json!(format!("{}, {variant}", row["what"].as_str().unwrap_or_default()));
        tell(session, &row);
        row
    }

    /// Components with grids and results in the memory of each GPU, which has its part of the grids.
    fn on_gpus<B: GridBackend>(
        &self,
        session: &Session,
        queues: &[B],
        (name, of): (&str, &str),
        grids: &[Grid],
        modes: &[[bool; 3]],
    ) -> Result<Json> {
        let flags: Vec<Mode> = modes.iter().copied().map(mode).collect();
        let share = grids.len().div_ceil(queues.len()).max(1);
        let mut places = Vec::new();
        for (b, part) in queues.iter().zip(grids.chunks(share)) {
            let each = part.len().min(TOGETHER);
            let batches: Vec<GridBatch<B>> =
                part.chunks(each).map(|part| GridBatch::of_grids(b, part)).collect::<gpu_core::Result<_>>()?;
            let room = |n: usize| Labels::new(b, flags.len(), n, MOST);
            let last = batches.last().map_or(each, GridBatch::len);
            places.push((b, batches, room(each)?, room(last)?));
        }
        let run = |(b, batches, whole, last): &mut (&B, Vec<GridBatch<B>>, Labels<B>, Labels<B>)| {
            for batch in batches.iter() {
                let out = if batch.len() == whole.counts.shape()[1] { &mut *whole } else { &mut *last };
                kernels::components(*b, batch, &flags, out)?;
            }
            Ok::<_, gpu_core::Error>(())
        };
        let mut times = Vec::new();
        for n in 0..=self.runs {
            let seconds = if let [one] = &mut places[..] {
                let b = one.0;
                b.time(|_| run(one))?.1.as_secs_f64()
            } else {
                let started = Instant::now();
                std::thread::scope(|scope| {
                    let all = places.iter_mut().map(|place| {
                        let run = &run;
                        scope.spawn(move || run(place).and_then(|()| place.0.synchronize()))
                    });
                    let all: Vec<_> = all.collect();
                    all.into_iter().try_for_each(|t| t.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
                })?;
                started.elapsed().as_secs_f64()
            };
            // The first one warms up.
            if n > 0 {
                times.push(seconds);
            }
        }
        let (checked, wrong, found) = self.check_components(queues, grids, modes)?;
        let rows: f64 = grids.iter().map(|g| g.height() as f64).sum();
        let (count, many) = (grids.len() as f64, modes.len() as f64);
        let bytes = 32.0 * rows + 2.0 * count + many * (64.0 * rows + 4.0 * count) + 8.0 * found * count;
        let flag = |b: bool| if b { "T" } else { "F" };
        let what = match modes {
            [[u, d, w]] => format!("objects {},{},{}{of}", flag(*u), flag(*d), flag(*w)),
            _ => format!("objects, five modes{of}"),
        };
        let row = Times::of(times).row(name, &what, "grids", count, checked, wrong);
        let variant = if queues.len() > 1 { format!("resident, {} GPUs", queues.len()) } else { "resident".to_owned() };
        Ok(Self::told(session, row, &variant, queues.len(), Some(bytes)))
    }

    /// One of so many grids against the definition, on every GPU; how many were, how many differ, and how many components
    /// a grid has in all modes.
    fn check_components<B: GridBackend>(
        &self,
        queues: &[B],
        grids: &[Grid],
        modes: &[[bool; 3]],
    ) -> Result<(usize, usize, f64)> {
        let flags: Vec<Mode> = modes.iter().copied().map(mode).collect();
        let step = self.check.max(grids.len() / 10_000).max(1);
        let sampled: Vec<Value> = grids.iter().step_by(step).map(Grid::to_value).collect();
        let (mut checked, mut wrong, mut components) = (0, 0, 0);
        for (b, part) in queues.iter().zip(sampled.chunks(sampled.len().div_ceil(queues.len()).max(1))) {
            let found = kernels::objects_batch(b, part, &flags)?;
            components += found.iter().flatten().map(|of| of.count).sum::<usize>();
            if self.check == 0 {
                continue;
            }
            let of_mode = |(found, &flags): (&Vec<ComponentsOf>, &[bool; 3])| {
                part.par_iter().zip(found).filter(|(grid, found)| differs(grid, flags, found)).count()
            };
            wrong += found.iter().zip(modes).map(of_mode).sum::<usize>();
            checked += part.len() * modes.len();
        }
        Ok((checked, wrong, components as f64 / sampled.len().max(1) as f64))
    }

    /// Grids of the host to tables of components on the host.
    fn components_end_to_end<B: GridBackend>(
        &self,
        session: &Session,
        b: &B,
        name: &str,
        grids: &[Grid],
    ) -> Result<Json> {
        let flags: Vec<Mode> = MODES.iter().copied().map(mode).collect();
        let mut failed = None;
        let times = Times::measure(self.runs, || {
            let one =
                |part: &[Grid]| kernels::tables_batch(b, part, &flags).map(|found| drop(std::hint::black_box(found)));
            failed = failed.take().or(grids.chunks(TOGETHER).try_for_each(one).err());
        });
        if let Some(e) = failed {
            return Err(e.into());
        }
        let (checked, wrong, _) = self.check_components(std::slice::from_ref(b), grids, &MODES)?;
        let row = times.row(name, "objects, five modes", "grids", grids.len() as f64, checked, wrong);
        Ok(Self::told(session, row, "to tables on the host", 1, None))
    }

    /// W5: each grid turned eight ways with its colours exchanged, and the digests.
    fn augmented<B: GridBackend>(&self, session: &Session, b: &B, of: &[Grid]) -> Result<Vec<Json>> {
        let full: Vec<Grid> = of.iter().filter_map(tiled).collect();
        let sources = (self.grids as usize).div_ceil(8).min(TOGETHER * 4);
        let grids: Vec<Grid> = (0..sources).map(|k| full[k % full.len()].clone()).collect();
        let permutations: Vec<[u8; 16]> =
            (0..10u8).map(|k| std::array::from_fn(|c| if c < 10 { (c as u8 + k) % 10 } else { c as u8 })).collect();
        let items: Vec<Item> = (0..sources * 8)
            .map(|k| Item {
                source: (k / 8) as u32,
                isometry: Isometry::ALL[k % 8],
                permutation: (k / 8 % permutations.len()) as u32,
            })
            .collect();
        let batch = GridBatch::of_grids(b, &grids)?;
        let work = AugmentItems::new(b, &batch, &permutations, &items)?;
        let mut out = kernels::augment(b, &batch, &permutations, &items)?;
        let mut digests = Tensor::scratch(b, [items.len(), 2])?;
        let (mut turned, mut digested) = (Vec::new(), Vec::new());
        for n in 0..=self.runs {
            let one = b.time(|b| kernels::augment_into(b, &batch, &work, &mut out))?.1;
            let two = b.time(|b| kernels::digest(b, &out, &mut digests))?.1;
            if n > 0 {
                turned.push(one.as_secs_f64());
                digested.push(two.as_secs_f64());
            }
        }
        let words = digests.to_vec(b)?;
        let step = self.check.max(items.len() / 10_000).max(1);
        let chosen: Vec<usize> = if self.check == 0 { vec![] } else { (0..items.len()).step_by(step).collect() };
        let wrong = chosen.par_iter().filter(|&&k| {
            let colours = &permutations[items[k].permutation as usize];
            let source = grids[items[k].source as usize].turned(items[k].isometry);
            let cells = source.cells().iter().map(|&c| colours[c as usize] as i8).collect();
            let wanted = Grid::new(source.height(), source.width(), cells).map(|g| g.to_value().digest());
            wanted != Ok(u64::from(words[2 * k]) | u64::from(words[2 * k + 1]) << 32)
        });
        let wrong = wrong.count();
        let count = items.len() as f64;
        let both: Vec<f64> = turned.iter().zip(&digested).map(|(a, b)| a + b).collect();
        let row = |what: &str, times: Vec<f64>, bytes: f64| {
            let row = Times::of(times).row("W5", what, "grids", count, chosen.len(), wrong);
            Self::told(session, row, "resident", 1, Some(bytes * count))
        };
        Ok(vec![
            row("8 isometries x colours, 30 x 30", turned, 2000.0),
            row("digests, 30 x 30", digested, 970.0),
            row("8 isometries x colours + digests, 30 x 30", both, 2970.0),
        ])
    }

    /// W6: the colours of inputs and outputs of samples, on the GPU and on the CPU.
    fn colours<B: GridBackend>(&self, session: &Session, b: &B, tasks: &[Task]) -> Result<Vec<Json>> {
        let both = tasks.iter().flat_map(Task::examples).flat_map(|(input, output)| [input, output]);
        let all: Vec<Grid> = both.filter_map(|grid| Grid::try_from(grid).ok()).collect();
        let mut rows = Vec::new();
        for samples in [10, 100, 1000, 10_000, 100_000, 1_000_000] {
            if samples > self.grids as usize {
                break;
            }
            let grids: Vec<Grid> = (0..2 * samples).map(|k| all[k % all.len()].clone()).collect();
            let batch = GridBatch::of_grids(b, &grids)?;
            let mut out = Tensor::scratch(b, [grids.len(), FIGURES])?;
            let mut resident = Vec::new();
            for n in 0..=self.runs {
                let time = b.time(|b| kernels::palette(b, &batch, &mut out))?.1;
                if n > 0 {
                    resident.push(time.as_secs_f64());
                }
            }
            let wanted = ops::palette_batch(&grids);
            let words = out.to_vec(b)?;
            let wrong = words.chunks_exact(FIGURES).zip(&wanted);
            let wrong = wrong.filter(|(words, wanted)| PaletteOf::of_words(words).colours != **wanted).count();
            let mut failed = None;
            let whole = Times::measure(self.runs, || {
                let run = || {
                    let batch = GridBatch::of_grids(b, &grids)?;
                    let mut out = Tensor::scratch(b, [grids.len(), FIGURES])?;
                    kernels::palette(b, &batch, &mut out)?;
                    out.to_vec(b)
                };
                failed = failed.take().or(run().map(std::hint::black_box).err());
            });
            if let Some(e) = failed {
                return Err(e.into());
            }
            let cpu = Times::measure(self.runs, || {
                std::hint::black_box(ops::palette_batch(&grids));
            });
            let height: f64 = grids.iter().map(|g| g.height() as f64).sum();
            let bytes = 32.0 * height + 50.0 * grids.len() as f64;
            for (variant, times, bytes) in
                [("resident", Times::of(resident), Some(bytes)), ("host to host", whole, None)]
            {
                let mut row =
                    times.row("W6", "p_g of inputs and outputs", "samples", samples as f64, grids.len(), wrong);
                row["speedup_over_cpu"] = json!(cpu.median() / times.median());
                row["cpu_median_s"] = json!(cpu.median());
                rows.push(Self::told(session, row, variant, 1, bytes));
            }
        }
        Ok(rows)
    }

    /// W2, W3 and W7: programs as one graph.
    fn graphs<B: GridBackend>(
        &self,
        session: &Session,
        queues: &[B],
        executor: DeviceExecutor<B>,
        tasks: &[Task],
        inputs: &[&Value],
        programs: &[Program],
    ) -> Result<Vec<Json>> {
        let dag = Dag::build(programs);
        let mut rows = Vec::new();
        if self.wants(Workload::W2) {
            let (mut row, _) = self.on_some(session, &queues[..1], programs, &dag, inputs)?;
            // What GPUs can do is counted where they get everything.
            let some: Vec<&Value> = inputs.iter().step_by(inputs.len().div_ceil(200).max(1)).copied().collect();
            let alone = Options { overlap: false, ..self.options() };
            let executor = Executor::new(DeviceExecutor::new(queues[..1].to_vec())?, alone);
            executor.run(&dag, &Batch::from_grids(some.into_iter().cloned()));
            row["coverage_without_overlap"] = json!(executor.backend().coverage().fraction());
            rows.push(Self::told(session, row, "host to host", 1, None));
        }
        let (mut best, all) = (None, queues.len());
        let several = if self.wants(Workload::W7) { counts(all) } else { Vec::new() };
        for n in several.first().map(|_| 1).into_iter().chain(several.iter().copied()) {
            // A part of the machine: threads and GPUs in the proportion of all of them.
            let threads = (rayon::current_num_threads() * n / all).max(1);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.map_err(|e| Failure::new(Exit::Backend, format!("{threads} threads: {e}")))?;
            let (mut row, times) = pool.install(|| self.on_some(session, &queues[..n], programs, &dag, inputs))?;
            row["workload"] = json!("W7");
            row["kernel"] = json!("grid W7");
            let one = *best.get_or_insert(times.median());
            row["efficiency"] = json!(one / times.median() / n as f64);
            rows.push(Self::told(session, row, &format!("host to host, {n} GPUs, {threads} threads"), n, None));
        }
        if self.wants(Workload::W3) {
            let executor = Executor::new(executor, self.options());
            let row = self.latency(session, &executor, programs, &dag, tasks);
            rows.push(Self::told(session, row, "host to host", 1, None));
        }
        Ok(rows)
    }

    /// Programs as one graph on some GPUs, and what was done where.
    fn on_some<B: GridBackend>(
        &self,
        session: &Session,
        queues: &[B],
        programs: &[Program],
        dag: &Dag,
        inputs: &[&Value],
    ) -> Result<(Json, Times)> {
        let executor = Executor::new(DeviceExecutor::new(queues.to_vec())?, self.options());
        let (mut row, times) = self.graph(session, &executor, programs, dag, inputs);
        let share = Share::of(executor.backend());
        share.tell(session);
        row["share"] = share.json();
        Ok((row, times))
    }
}

fn rate(row: &Json) -> f64 {
    row["per_second"].as_f64().unwrap_or(f64::NAN)
}

/// Two, four, … and all of so many GPUs.
fn counts(all: usize) -> Vec<usize> {
    let mut counts: Vec<usize> = (1..16).map(|k| 1 << k).take_while(|&n| n <= all).collect();
    if all > 1 && counts.last() != Some(&all) {
        counts.push(all);
    }
    counts
}

/// 30 x 30 cells of a grid, over and over.
fn tiled(grid: &Grid) -> Option<Grid> {
    let (h, w) = (grid.height(), grid.width());
    let cell = |k: usize| grid.cells()[k / 30 % h * w + k % 30 % w];
    Grid::new(30, 30, (0..900).map(cell).collect()).ok()
}

/// Bytes a second of a copy, read and written.
fn copy_speed<B: GridBackend>(b: &B) -> Result<f64> {
    // A device has room for this; a simulated one takes seconds for less.
    let simulated = std::env::var_os("LOCKSTEP_DRIVER").is_some();
    let len = if B::NAME == "cpu" || simulated { 1 << 20 } else { 1 << 28 };
    let from = Tensor::<B, u32, 1>::zeros(b, [len])?;
    let mut to = Tensor::<B, u32, 1>::zeros(b, [len])?;
    let mut times = Vec::new();
    for _ in 0..11 {
        times.push(b.time(|b| b.copy(from.flat(), to.flat_mut()))?.1.as_secs_f64());
    }
    Ok(8.0 * len as f64 / Times::of(times).median().max(1e-9))
}
