//! Devices and the CPU at once. Programs that a device evaluates altogether go there for some samples at a time; the CPU
//! runs the other programs of those samples, and all programs of samples that no device has taken yet.
//!
//! A value that has no form on the device costs its program that place: the CPU runs it again for that sample. Programs that
//! often do are not given to devices any more. Nobody waits for the other side as long as there are samples: devices take
//! them from the front, as many as their speed so far says, the CPU's threads from the back, one each.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gpu_core::Result as Done;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::plan::Plan;
use super::run::{self, Known, Values};
use super::{Coverage, DeviceExecutor, part};
use crate::dag::{Batch, Dag};
use crate::error::Result;
use crate::exec::{Backend, Brought, Cache, Counted, Cpu, Moments, Options, Output, Profile, Run};
use crate::kernels::{GridBackend, Packed};
use crate::run::Sample;

/// Threads for each queue, beside those that run programs: they wait for the device, or read what it wrote.
const FEEDERS: usize = 3;

/// Fewest samples of a wave: a level takes a launch and a copy, however few they are.
const WAVE: usize = 64;

/// Most samples of the first wave, which tells what programs are worth giving to a device.
const TRIAL: usize = 256;

/// A program that runs again on more than two of three samples is left to the CPU. Trying takes a device little: with one of three
/// the stored programs took longer on an H200, and with nine of ten.
const OFTEN: (usize, usize) = (2, 3);

/// Programs of a device, and the graph of them.
struct Chosen {
    programs: Vec<usize>,
    /// For each program of all whether it is one of them.
    is: Vec<bool>,
    graph: Dag,
    plan: Plan,
}

/// A sample of which a device has done its part.
struct Begun {
    sample: usize,
    known: Known,
    chosen: Arc<Chosen>,
}

/// What a thread of the CPU does next.
enum Work {
    Rest(Box<Begun>),
    All(usize),
}

struct State {
    /// Samples from here on, and up to here, nobody has taken.
    front: usize,
    back: usize,
    begun: Vec<Begun>,
    /// Devices that may begin more.
    devices: usize,
    chosen: Arc<Chosen>,
    /// For each program on how many samples a device tried it, and on how many it runs again.
    tried: Vec<[usize; 2]>,
    /// Threads at work, and the most bytes that a sample's values took.
    busy: usize,
    bytes: usize,
    /// Samples of which the CPU has run all programs, and samples a second of the last wave.
    alone: usize,
    speed: f64,
}

/// What all threads share.
struct Shared<'s> {
    state: Mutex<State>,
    changed: Condvar,
    samples: &'s [Sample],
    opts: &'s Options,
    started: Instant,
    /// Devices that take samples.
    devices: usize,
    /// What these return.
    brought: Brought,
}

impl Shared<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples for a device: as many as it does while the CPU does the others, by the speeds so far; then by better ones. A
    /// wave of more samples is faster, so that these are too few rather than too many.
    fn wave(&self) -> Option<(std::ops::Range<usize>, Arc<Chosen>)> {
        let mut state = self.lock();
        if state.chosen.programs.is_empty() {
            return None;
        }
        let (left, from) = (state.back - state.front, state.front);
        let alone = state.alone as f64 / self.started.elapsed().as_secs_f64();
        let share = state.speed / (state.speed * self.devices as f64 + alone);
        let most = (left as f64 * share) as usize;
        if most < WAVE.max(self.opts.min_batch) {
            return None;
        }
        state.front += most.min(left);
        Some((from..state.front, state.chosen.clone()))
    }

    /// Whether one more thread may take a sample: values of those in work fit the budget.
    fn lets_in(&self, state: &State) -> bool {
        let most = match self.opts.memory {
            None => usize::MAX,
            Some(_) if state.bytes == 0 => 1,
            Some(memory) => memory / state.bytes,
        };
        state.busy < most.min(self.opts.max_batch.unwrap_or(usize::MAX)).max(1)
    }

    /// The next sample for a thread of the CPU; waits for devices. `None` when there is none left.
    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if self.lets_in(&state) {
                let work = match state.begun.pop() {
                    Some(begun) => Some(Work::Rest(Box::new(begun))),
                    None if state.front < state.back => {
                        state.back -= 1;
                        Some(Work::All(state.back))
                    }
                    None => None,
                };
                if work.is_some() {
                    state.busy += 1;
                    return work;
                }
                if state.devices == 0 {
                    return None;
                }
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, bytes: usize, alone: bool) {
        let mut state = self.lock();
        state.busy -= 1;
        state.alone += usize::from(alone);
        state.bytes = state.bytes.max(bytes);
        drop(state);
        self.changed.notify_all();
    }

    /// Takes over what a device did, and chooses again what it is given.
    fn begun(
        &self,
        from: usize,
        known: Vec<Known>,
        chosen: &Arc<Chosen>,
        speed: f64,
        choose: impl FnOnce(Vec<usize>) -> Chosen,
    ) {
        let mut state = self.lock();
        state.speed = speed;
        for (k, known) in known.into_iter().enumerate() {
            chosen.programs.iter().for_each(|&program| state.tried[program][0] += 1);
            known.redo.iter().for_each(|&at| state.tried[chosen.programs[at as usize]][1] += 1);
            state.begun.push(Begun { sample: from + k, known, chosen: chosen.clone() });
        }
        let worth = |&program: &usize| state.tried[program][1] * OFTEN.1 <= state.tried[program][0] * OFTEN.0;
        let latest = Arc::ptr_eq(&state.chosen, chosen);
        let kept: Vec<usize> = chosen.programs.iter().copied().filter(worth).collect();
        drop(state);
        self.changed.notify_all();
        if latest && kept.len() < chosen.programs.len() {
            let fewer = Arc::new(choose(kept));
            self.lock().chosen = fewer;
        }
    }
}

/// A device at work. When it ends, however it does, nobody waits for it any more.
struct Device<'a>(&'a Shared<'a>);

impl Drop for Device<'_> {
    fn drop(&mut self) {
        self.0.lock().devices -= 1;
        self.0.changed.notify_all();
    }
}

/// What one thread of the CPU did.
struct Share {
    values: Vec<(usize, Vec<Result<Output>>)>,
    counted: Counted,
    on_host: u64,
    redone: u64,
}

impl<B: GridBackend> DeviceExecutor<B> {
    /// Threads of their own, so that what a device waits for does not wait for programs of the CPU. `None` when the system
    /// has none to give.
    fn feeders(&self) -> Option<&ThreadPool> {
        let pool = || ThreadPoolBuilder::new().num_threads(FEEDERS * self.queues.len()).build().ok();
        self.feeders.get_or_init(pool).as_ref()
    }

    /// Runs all programs on all samples, and says where. Some of the values are grids of lists that devices packed.
    pub(super) fn split(&self, dag: &Dag, batch: &Batch, opts: &Options) -> (Values, Vec<Arc<Packed>>, Coverage) {
        let samples = batch.samples();
        let inlined = dag.inlined(&opts.limits);
        let known = Plan::new(&inlined).whole(&inlined);
        let choose = |programs: Vec<usize>| {
            let graph = inlined.part(&programs);
            let mut plan = Plan::new(&graph);
            self.leave_room(&mut plan, opts);
            let mut is = vec![false; dag.programs().len()];
            for &program in &programs {
                is[program] = true;
            }
            Chosen { programs, is, graph, plan }
        };
        let is_whole = |&program: &usize| inlined.roots(program).all(|id| known[id as usize]);
        let whole: Vec<usize> = (0..dag.programs().len()).filter(is_whole).collect();
        let Some(feeders) = self.feeders().filter(|_| !whole.is_empty()) else {
            let mut coverage = Coverage::default();
            if !whole.is_empty() {
                coverage
                    .failures
                    .push("the system has no threads to give that feed devices: the host ran all".to_owned());
            }
            let mut profile = Profile::default();
            let values = Cpu.graph(dag, batch, opts, &Cache::new(0), &mut profile).into_outputs();
            coverage.add_host(&profile);
            coverage.finished = std::mem::take(&mut profile.finished);
            coverage.programs_on_host = (dag.programs().len() * samples.len()) as u64;
            return (values, Vec::new(), coverage);
        };
        let chosen = Arc::new(choose(whole));

        let devices = if samples.len() < opts.multi_gpu_min { 1 } else { self.queues.len() };
        // What devices begin with they have before any thread of the CPU looks for samples.
        let mut front = 0;
        let mut first = |_| {
            let from = front;
            front = samples.len().min(from + (samples.len() / (8 * devices)).clamp(WAVE, TRIAL));
            from..front
        };
        let firsts: Vec<_> = (0..devices).map(&mut first).filter(|first| !first.is_empty()).collect();
        let state = State {
            front,
            back: samples.len(),
            begun: Vec::new(),
            devices: firsts.len(),
            chosen: chosen.clone(),
            tried: vec![[0; 2]; dag.programs().len()],
            busy: 0,
            bytes: 0,
            alone: 0,
            speed: 0.0,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let shared =
            Shared { state, changed, samples, opts, started: Instant::now(), devices, brought: Brought::default() };

        let device = |queue: usize, first: std::ops::Range<usize>| {
            let _at_work = Device(&shared);
            let mut coverage = Coverage::default();
            let mut next = Some((first, chosen.clone()));
            while let Some((range, chosen)) = next {
                let begun = Instant::now();
                let (known, counted) =
                    wave_of(&self.queues[queue], &chosen, &samples[range.clone()], opts, &shared.brought);
                coverage.add(&counted);
                let speed = range.len() as f64 / begun.elapsed().as_secs_f64();
                shared.begun(range.start, known, &chosen, speed, choose);
                next = shared.wave();
            }
            coverage.of_queue(queue);
            coverage
        };
        // By rayon's threads, not by others: if the caller is one of rayon's, and waited for a thread that is not, then nobody
        // might be left to do what that one hands to rayon.
        let all_devices = || {
            let loops = firsts.into_par_iter().with_max_len(1).enumerate();
            loops.map(|(queue, first)| device(queue, first)).collect::<Vec<_>>()
        };
        let (cache, last) = (Cache::new(0), Moments::default());
        let run = Run::new(dag, opts, &cache, false);
        let host = || {
            let threads = (0..rayon::current_num_threads()).into_par_iter().with_max_len(1);
            threads.map(|_| shared.host(dag, &run, &last)).collect::<Vec<_>>()
        };
        let (of_devices, of_host) = rayon::join(|| feeders.install(all_devices), host);

        let mut coverage = Coverage::default();
        for of_device in &of_devices {
            coverage.add(of_device);
        }
        let (mut all, mut counted) = (Vec::with_capacity(samples.len()), Counted::new());
        for share in of_host {
            all.extend(share.values);
            counted.add(&share.counted);
            coverage.programs_on_host += share.on_host;
            coverage.redone += share.redone;
        }
        let mut profile = Profile::default();
        counted.report(&mut profile);
        coverage.add_host(&profile);
        coverage.finished = last.all();
        all.sort_unstable_by_key(|(sample, _)| *sample);
        (all.into_iter().map(|(_, values)| values).collect(), shared.brought.all(), coverage)
    }
}

impl Shared<'_> {
    /// A thread of the CPU: samples as long as there are some.
    fn host(&self, dag: &Dag, run: &Run<'_>, finished: &Moments) -> Share {
        let programs = dag.programs().len() as u32;
        let mut share = Share { values: Vec::new(), counted: Counted::new(), on_host: 0, redone: 0 };
        while let Some(work) = self.next() {
            let mut counted = Counted::new();
            let alone = matches!(work, Work::All(_));
            let (sample, values) = match work {
                Work::All(sample) => {
                    share.on_host += u64::from(programs);
                    let all: Vec<u32> = (0..programs).collect();
                    let values = run.some(&self.samples[sample], &all, &mut counted);
                    (sample, values.into_iter().flatten().collect())
                }
                Work::Rest(begun) => {
                    let Begun { sample, known, chosen } = *begun;
                    share.redone += known.redo.len() as u64;
                    share.on_host += u64::from(programs) - chosen.programs.len() as u64;
                    let mut left: Vec<u32> = (0..programs).filter(|&program| !chosen.is[program as usize]).collect();
                    left.extend(known.redo.iter().map(|&at| chosen.programs[at as usize] as u32));
                    left.sort_unstable();
                    let computed = run.some(&self.samples[sample], &left, &mut counted);
                    let mut computed = left.iter().zip(computed).peekable();
                    let (mut values, mut of_device) = (Vec::with_capacity(programs as usize), 0);
                    for program in 0..programs {
                        let begin = of_device;
                        if chosen.is[program as usize] {
                            of_device += dag.outputs(program as usize).len();
                        }
                        match computed.next_if(|(number, _)| **number == program) {
                            Some((_, own)) => values.extend(own),
                            None => values.extend(known.outputs(begin..of_device)),
                        }
                    }
                    (sample, values)
                }
            };
            share.values.push((sample, values));
            finished.done(1);
            self.done(counted.bytes, alone);
            share.counted.add(&counted);
        }
        share
    }
}

/// What a device finds for some samples.
fn wave_of<B: GridBackend>(
    b: &B,
    chosen: &Chosen,
    samples: &[Sample],
    opts: &Options,
    brought: &Brought,
) -> (Vec<Known>, Coverage) {
    let wave = |b: &B, now: &[Sample]| -> Done<(Vec<Known>, Coverage)> {
        run::whole(b, &chosen.graph, &chosen.plan, now, &opts.limits, brought)
    };
    let instead = |now: &[Sample], why: String| {
        let all = || Known::nothing(chosen.programs.len());
        (now.iter().map(|_| all()).collect(), Coverage { failures: vec![why], ..Coverage::default() })
    };
    part(b, &chosen.plan, samples, opts, (&wave, &instead))
}
