//! Devices and the CPU at once: programs that a device evaluates altogether go there, and the CPU runs the others meanwhile.
//!
//! A value that has no form on the device costs its programs their place there: the CPU runs them again for that sample.

use std::time::Instant;

use gpu_core::Result as Done;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::plan::Plan;
use super::run::{self, Known, Values};
use super::{Coverage, DeviceExecutor};
use crate::dag::{Batch, Dag};
use crate::error::Result;
use crate::exec::{Backend, Cache, Counted, Cpu, Moments, Options, Output, Profile, Run, lesser};
use crate::kernels::GridBackend;
use crate::run::Sample;

/// Threads for each queue, beside those that run programs: they wait for the device, or read what it wrote.
const FEEDERS: usize = 3;

impl<B: GridBackend> DeviceExecutor<B> {
    /// Threads of their own, so that what a device waits for does not wait for programs of the CPU. `None` when the system
    /// has none to give.
    fn feeders(&self) -> Option<&ThreadPool> {
        let pool = || ThreadPoolBuilder::new().num_threads(FEEDERS * self.queues.len()).build().ok();
        self.feeders.get_or_init(pool).as_ref()
    }

    /// Runs all programs on all samples, and says where.
    pub(super) fn split(&self, dag: &Dag, batch: &Batch, opts: &Options) -> (Values, Coverage) {
        let samples = batch.samples();
        let inlined = dag.inlined(&opts.limits);
        let known = Plan::new(&inlined).whole(&inlined);
        let is_whole = |program: usize| inlined.needed_by(program).all(|id| known[id as usize]);
        let on_device: Vec<bool> = (0..dag.programs().len()).map(is_whole).collect();
        let (ours, others): (Vec<usize>, Vec<usize>) = (0..on_device.len()).partition(|&program| on_device[program]);
        let (graph, again, rest) = (inlined.part(&ours), dag.part(&ours), dag.part(&others));
        let plan = Plan::new(&graph);

        let wave = |b: &B, now: &[Sample]| -> Done<(Vec<Known>, Coverage)> {
            let (known, mut coverage) = run::whole(b, &graph, &plan, now, &opts.limits)?;
            let done = known.iter().filter(|known| known.redo.is_empty()).count();
            coverage.finished = vec![(Instant::now(), done as u64)];
            Ok((known, coverage))
        };
        let instead = |now: &[Sample], why: String| {
            let all = || Known { outputs: Vec::new(), redo: (0..ours.len() as u32).collect() };
            (now.iter().map(|_| all()).collect(), Coverage { failures: vec![why], ..Coverage::default() })
        };
        let device = || {
            if ours.is_empty() {
                return (samples.iter().map(|_| Known::default()).collect(), Coverage::default());
            }
            self.on_queues(samples, opts, &plan, (&wave, &instead))
        };
        let mut profile = Profile::default();
        let mut host = || Cpu.graph(&rest, batch, opts, &Cache::new(0), &mut profile).into_outputs();
        let both = !ours.is_empty() && !others.is_empty();
        let ((found, mut coverage), rest_of) = match self.feeders().filter(|_| both) {
            Some(feeders) => rayon::join(|| feeders.install(device), host),
            None => (device(), host()),
        };
        coverage.add_host(&profile);
        if both {
            coverage.finished = lesser(&coverage.finished, &profile.finished);
        } else if ours.is_empty() {
            coverage.finished = std::mem::take(&mut profile.finished);
        }
        coverage.programs_on_host += (others.len() * samples.len()) as u64;

        let (cache, last, count) = (Cache::new(0), Moments::default(), dag.all_outputs().count());
        let run = Run::new(&again, opts, &cache, false);
        let one = |((known, rest), sample): ((Known, Vec<Result<Output>>), &Sample)| {
            let mut counted = Counted::new();
            let redone = if known.redo.is_empty() { Vec::new() } else { run.some(sample, &known.redo, &mut counted) };
            if !known.redo.is_empty() {
                last.done(1);
            }
            let redone_of = known.redo.iter().map(|&program| ours[program as usize]).zip(redone);
            let mut redone_of = redone_of.peekable();
            let (mut found, mut rest) = (known.outputs.into_iter(), rest.into_iter());
            let mut outputs = Vec::with_capacity(count);
            for (program, &on_device) in on_device.iter().enumerate() {
                let own = dag.outputs(program).len();
                match redone_of.next_if(|(number, _)| *number == program) {
                    Some((_, values)) => outputs.extend(values),
                    None if on_device => outputs.extend(found.by_ref().take(own)),
                    None => outputs.extend(rest.by_ref().take(own)),
                }
            }
            (outputs, counted, known.redo.len())
        };
        let done: Vec<_> = found.into_par_iter().zip(rest_of).zip(samples).with_max_len(1).map(one).collect();
        let (mut values, mut counted) = (Vec::with_capacity(samples.len()), Counted::new());
        for (outputs, counts, redone) in done {
            values.push(outputs);
            counted.add(&counts);
            coverage.redone += redone as u64;
        }
        let mut profile = Profile::default();
        counted.report(&mut profile);
        coverage.add_host(&profile);
        coverage.finished.extend(last.all());
        (values, coverage)
    }
}
