//! What a run took, for reports.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::{CacheCounts, Options};
use crate::dag::{Batch, Dag};

/// What a run took. Written as JSON, it is what reports are made of.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Profile {
    /// The back end.
    pub backend: &'static str,
    /// The knobs that the run had.
    pub knobs: Knobs,
    /// Threads of the pool.
    pub threads: usize,
    /// Samples.
    pub samples: usize,
    /// Programs.
    pub programs: usize,
    /// Calls in the graph.
    pub nodes: usize,
    /// Wall-clock time of the run.
    pub seconds: f64,
    /// Calls that were evaluated, all samples counted.
    pub node_evaluations: u64,
    /// Of those, calls that gave an error, their operands' errors included.
    pub errors: u64,
    /// By function: calls of the graph, not those inside of maps. On a device: calls of the graph as it runs there, where
    /// calls of known functions are those that they make.
    pub opcodes: BTreeMap<&'static str, OpcodeProfile>,
    /// Seconds of calls by level of the graph, threads added up. On a device: the time from where a level is handed over to
    /// where its results are known, devices added up.
    pub levels: BTreeMap<u32, f64>,
    /// The patterns of [`Options::patterns`] that the graph has, by name.
    pub patterns: BTreeMap<&'static str, PatternProfile>,
    /// Hits and misses of the cache in this run.
    pub cache: CacheCounts,
    /// Parts that the batch was split into.
    pub parts: usize,
    /// The largest estimate of bytes that values of one sample took at once.
    pub sample_bytes: usize,
    /// The largest estimate of bytes that values of samples in progress took at once.
    pub high_water_bytes: usize,
    /// Programs that ran again alone because their lines together used more fuel than there is.
    pub reruns: u64,
    /// Samples that were done after some of the time: seconds, samples. Where the CPU runs programs beside a device: those
    /// that both have done.
    pub progress: Vec<(f64, u64)>,
    /// When samples were done, and how many then.
    #[serde(skip)]
    pub(crate) finished: Vec<(Instant, u64)>,
}

/// Time and counts of one function.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OpcodeProfile {
    /// Calls.
    pub calls: u64,
    /// Calls that gave an error.
    pub errors: u64,
    /// Seconds, threads added up. On a device: a part of its level's time, by the number of calls.
    pub seconds: f64,
    /// Calls, those inside of maps included, that no fixed layout was for: the definition computed them.
    pub generic: u64,
    /// Calls with at least one operand that is a grid, a patch or another container but a pair.
    pub containers: u64,
}

/// Time and counts of a pattern, whose nodes were computed one by one.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PatternProfile {
    /// How often it is in the graph.
    pub found: u64,
    /// The nodes that it covers.
    pub nodes: u64,
    /// How often it was computed, all samples counted.
    pub computed: u64,
    /// Seconds, threads added up.
    pub seconds: f64,
}

/// The options of a run, as reports show them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Knobs {
    /// See [`Options::min_batch`].
    pub min_batch: usize,
    /// See [`Options::spread_below`].
    pub spread_below: usize,
    /// See [`Options::multi_gpu_min`].
    pub multi_gpu_min: usize,
    /// See [`Options::mem_fraction`].
    pub mem_fraction: f64,
    /// See [`Options::max_batch`].
    pub max_batch: Option<usize>,
    /// See [`Options::cache_bytes`].
    pub cache_bytes: usize,
    /// See [`Options::memory`].
    pub memory: Option<usize>,
    /// See [`Options::overlap`].
    pub overlap: bool,
    /// Fuel of a program on a sample.
    pub fuel: u64,
}

impl Profile {
    /// A profile with what is known before the run.
    pub fn new(backend: &'static str, opts: &Options, dag: &Dag, batch: &Batch) -> Self {
        let knobs = Knobs {
            min_batch: opts.min_batch,
            spread_below: opts.spread_below,
            multi_gpu_min: opts.multi_gpu_min,
            mem_fraction: opts.mem_fraction,
            max_batch: opts.max_batch,
            cache_bytes: opts.cache_bytes,
            memory: opts.memory,
            overlap: opts.overlap,
            fuel: opts.limits.fuel,
        };
        Self {
            backend,
            knobs,
            threads: rayon::current_num_threads(),
            samples: batch.samples().len(),
            programs: dag.programs().len(),
            nodes: dag.nodes().iter().filter(|node| node.is_call()).count(),
            parts: 1,
            ..Self::default()
        }
    }
}
