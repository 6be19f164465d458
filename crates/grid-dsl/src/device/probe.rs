//! What `tune` asks of a device: how long steps and graphs take there.

use std::time::Instant;

use gpu_core::Result as Done;

use super::DeviceExecutor;
use super::call::prepared;
use crate::dag::{Batch, Dag};
use crate::exec::Options;
use crate::kernels::{Arena, Form, GridBackend, HEAD, step, take};
use crate::prim::Prim;
use crate::tune::Probe;
use crate::value::Value;

/// How often a step is measured; the fastest counts.
const TIMES: usize = 4;

/// Seconds of a step that is not measured again.
const LONG: f64 = 0.1;

impl<B: GridBackend> DeviceExecutor<B> {
    /// Seconds of a step with these calls, and of reading what it says of their results. Nothing if it does less than half
    /// of them.
    fn step_seconds(&self, calls: &[(Prim, Vec<Value>)], opts: &Options) -> Done<Option<f64>> {
        let b = &self.queues[0];
        let (values, instructions) = prepared(calls, &opts.limits);
        if instructions.len() < calls.len() || calls.is_empty() {
            return Ok(None);
        }
        let places: Vec<u32> = instructions.iter().map(|i| i.target).collect();
        let mut arena = Arena::of(b, 1, &values)?;
        let mut best = f64::INFINITY;
        for _ in 0..TIMES {
            let started = Instant::now();
            step(b, &mut arena, &instructions)?;
            let (heads, _) = take(b, &arena, &places, false)?;
            best = best.min(started.elapsed().as_secs_f64());
            let spilled = heads.chunks_exact(HEAD).filter(|head| head[0] == Form::Spilled as i32).count();
            if 2 * spilled > calls.len() {
                return Ok(None);
            }
            if best > LONG {
                break;
            }
        }
        Ok(Some(best))
    }
}

impl<B: GridBackend> Probe for DeviceExecutor<B> {
    fn name(&self) -> String {
        self.queues[0].device().name.clone()
    }

    fn queues(&self) -> usize {
        self.queues.len()
    }

    fn seconds(&self, calls: &[(Prim, Vec<Value>)]) -> Option<f64> {
        // A device that fails at a function is not the one to do it.
        self.step_seconds(calls, &Options::default()).ok().flatten()
    }

    fn graph(&self, dag: &Dag, batch: &Batch, opts: &Options, queues: usize) -> Option<f64> {
        let multi_gpu_min = if queues > 1 { 0 } else { usize::MAX };
        let opts = Options { min_batch: 0, multi_gpu_min, ..opts.clone() };
        let started = Instant::now();
        let (done, coverage) = self.run(dag, batch, &opts).ok()?;
        let seconds = started.elapsed().as_secs_f64();
        drop(done);
        coverage.failures.is_empty().then_some(seconds)
    }
}
