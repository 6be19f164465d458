//! What a run cost: time by function, level and pattern, hits of the cache, the device's share, spills, memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::dag::{Computed, Dag, ExecOpts, NodeId};
use crate::patterns::{Found, Pattern, Patterns};

/// What a run cost. As JSON it is what reports are made of; `profile.schema.json` describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The version of this form: 1.
    pub schema: u32,
    /// The back end: `cpu`, `cuda`, `reference`.
    pub backend: String,
    /// Programs in the graph.
    pub programs: u64,
    /// Calls in the graph.
    pub nodes: u64,
    /// Samples that it ran on.
    pub samples: u64,
    /// Threads of the processor.
    pub threads: u64,
    /// Seconds from the beginning to the end.
    pub seconds: f64,
    /// Seconds of all threads and devices together that calls took.
    pub busy_seconds: f64,
    /// Settings that the run had.
    pub knobs: BTreeMap<String, String>,
    /// Calls by function, without those that patterns computed.
    pub opcodes: BTreeMap<String, Cost>,
    /// Calls by level, counted from 0, patterns included.
    pub levels: Vec<LevelCost>,
    /// Patterns by name.
    pub patterns: BTreeMap<String, PatternCost>,
    /// Values that did not have to be computed again.
    pub cache: Cache,
    /// What devices did; empty on the processor alone.
    pub devices: Vec<Device>,
    /// The share of calls that devices computed, 0 to 1.
    pub device_share: f64,
    /// Calls that devices left to the processor, by reason.
    pub spills: BTreeMap<String, u64>,
    /// The most memory that the process held, in bytes, where the system tells.
    pub host_peak_bytes: Option<u64>,
    /// Samples that were done after some of the time: seconds, samples.
    pub progress: Vec<(f64, u64)>,
    /// Outputs to look at.
    pub pictures: Vec<Picture>,
}

/// Calls and what they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Calls.
    pub calls: u64,
    /// Those that gave an error.
    pub errors: u64,
    /// Seconds, of all threads together.
    pub seconds: f64,
}

/// What a level took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelCost {
    /// Its nodes.
    pub nodes: u64,
    /// Calls.
    pub calls: u64,
    /// Seconds, of all threads together.
    pub seconds: f64,
}

/// What a pattern took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatternCost {
    /// How often it is in the graph.
    pub found: u64,
    /// The nodes that it covers.
    pub nodes: u64,
    /// How often it was computed as a whole.
    pub ran: u64,
    /// How often its nodes were computed one by one: it declined, or the back end computes no patterns as a whole.
    pub declined: u64,
    /// Seconds of both, of all threads together.
    pub seconds: f64,
}

/// Hits and misses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Values that were there.
    pub hits: u64,
    /// Values that had to be computed to be there.
    pub misses: u64,
    /// The most that was held, in bytes.
    pub bytes: u64,
}

/// A device and what it did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Calls that it computed.
    pub calls: u64,
    /// Seconds in which it was busy.
    pub seconds: f64,
    /// The most memory that was in use there, in bytes.
    pub peak_bytes: u64,
    /// The memory that it has, in bytes.
    pub memory_bytes: u64,
}

/// A program's input and output, in canonical text, for drawing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// The program's name.
    pub program: String,
    /// Which sample it is.
    pub sample: String,
    /// The input.
    pub input: String,
    /// The output, or the class of the error.
    pub output: String,
    /// What it should be, where that is known.
    pub expected: Option<String>,
}

impl From<&crate::exec::Profile> for Profile {
    fn from(from: &crate::exec::Profile) -> Self {
        let knobs = &from.knobs;
        let automatic = |n: Option<usize>| n.map_or("automatic".to_owned(), |n| n.to_string());
        let knobs = [
            ("min_batch", knobs.min_batch.to_string()),
            ("spread_below", knobs.spread_below.to_string()),
            ("multi_gpu_min", knobs.multi_gpu_min.to_string()),
            ("mem_fraction", knobs.mem_fraction.to_string()),
            ("max_batch", automatic(knobs.max_batch)),
            ("cache_bytes", knobs.cache_bytes.to_string()),
            ("memory", automatic(knobs.memory)),
            ("fuel", knobs.fuel.to_string()),
        ];
        let cost =
            |from: &crate::exec::OpcodeProfile| Cost { calls: from.calls, errors: from.errors, seconds: from.seconds };
        let pattern = |from: &crate::exec::PatternProfile| PatternCost {
            found: from.found,
            nodes: from.nodes,
            ran: 0,
            declined: from.computed,
            seconds: from.seconds,
        };
        let count = from.levels.keys().next_back().map_or(0, |&most| most as usize + 1);
        let mut levels = vec![LevelCost::default(); count];
        for (&level, &seconds) in &from.levels {
            levels[level as usize].seconds = seconds;
        }
        Self {
            schema: 1,
            backend: from.backend.to_owned(),
            programs: from.programs as u64,
            nodes: from.nodes as u64,
            samples: from.samples as u64,
            threads: from.threads as u64,
            seconds: from.seconds,
            busy_seconds: from.opcodes.values().map(|cost| cost.seconds).sum(),
            knobs: knobs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            // Functions that only maps call have no calls of their own.
            opcodes: from
                .opcodes
                .iter()
                .filter(|(_, cost)| cost.calls > 0)
                .map(|(name, from)| ((*name).to_owned(), cost(from)))
                .collect(),
            levels,
            patterns: from.patterns.iter().map(|(name, from)| ((*name).to_owned(), pattern(from))).collect(),
            cache: Cache { hits: from.cache.hits, misses: from.cache.misses, bytes: from.cache.bytes },
            spills: from
                .opcodes
                .iter()
                .filter(|(_, cost)| cost.generic > 0)
                .map(|(name, cost)| (format!("no fixed layout for `{name}`"), cost.generic))
                .collect(),
            host_peak_bytes: peak(),
            progress: from.progress.clone(),
            ..Self::default()
        }
    }
}

impl Profile {
    /// Nodes of each level, and calls of as many samples, where a back end measured time alone.
    pub fn with_levels_of(mut self, dag: &Dag) -> Self {
        for level in &mut self.levels {
            (level.nodes, level.calls) = (0, 0);
        }
        for (id, _) in dag.nodes().iter().enumerate().filter(|(_, node)| node.is_call()) {
            let at = dag.level(id as NodeId) as usize;
            if at >= self.levels.len() {
                self.levels.resize(at + 1, LevelCost::default());
            }
            self.levels[at].nodes += 1;
            self.levels[at].calls += self.samples;
        }
        self
    }
}

/// Counts of one node.
#[derive(Default)]
struct Counter {
    nanos: AtomicU64,
    calls: AtomicU64,
    errors: AtomicU64,
}

impl Counter {
    fn add(&self, nanos: u64, calls: u64, errors: u64) {
        self.nanos.fetch_add(nanos, Relaxed);
        self.calls.fetch_add(calls, Relaxed);
        self.errors.fetch_add(errors, Relaxed);
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 * 1e-9
}

/// What is known from the beginning of a run.
struct Ground {
    nodes: Vec<(&'static str, u32, bool)>,
    patterns: Vec<(Pattern, u64, u32)>,
    counters: Vec<Counter>,
    /// Those of patterns; errors are the times that it declined.
    pattern_counters: Vec<Counter>,
    programs: u64,
    samples: u64,
    knobs: BTreeMap<String, String>,
}

/// Measures one run of a graph.
pub struct Recorder {
    started: Instant,
    ground: OnceLock<Ground>,
    hits: AtomicU64,
    misses: AtomicU64,
    done: Mutex<Vec<f64>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            ground: OnceLock::new(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            done: Mutex::new(Vec::new()),
        }
    }
}

impl Recorder {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn begin(&self, dag: &Dag, found: &[Found], samples: usize, opts: &ExecOpts, patterns: Patterns) {
        let node = |(id, node): (usize, &crate::Node)| (node.opcode(), dag.level(id as NodeId), node.is_call());
        let level = |found: &Found| found.nodes().last().map_or(0, |&node| dag.level(node));
        let pattern = |found: &Found| (found.pattern(), found.nodes().len() as u64, level(found));
        let used: Vec<&str> = patterns.iter().map(Pattern::name).collect();
        let knobs = [("min_batch", opts.min_batch.to_string()), ("patterns", used.join(" "))];
        let fuel = ("fuel", opts.limits.fuel.to_string());
        self.ground.get_or_init(|| Ground {
            nodes: dag.nodes().iter().enumerate().map(node).collect(),
            patterns: found.iter().map(pattern).collect(),
            counters: dag.nodes().iter().map(|_| Counter::default()).collect(),
            pattern_counters: found.iter().map(|_| Counter::default()).collect(),
            programs: dag.programs().len() as u64,
            samples: samples as u64,
            knobs: knobs.into_iter().chain([fuel]).map(|(name, value)| (name.to_owned(), value)).collect(),
        });
    }

    pub(crate) fn computed(&self, computed: &Computed, pattern: Option<(usize, bool)>, took: Duration) {
        let Some(ground) = self.ground.get() else { return };
        let nanos = took.as_nanos() as u64;
        match (computed, pattern) {
            (Computed::One(id, slot), _) => {
                ground.counters[*id as usize].add(nanos, 1, u64::from(slot.0.is_err()));
            }
            (_, Some((at, ran))) => ground.pattern_counters[at].add(nanos, u64::from(ran), u64::from(!ran)),
            _ => {}
        }
    }

    /// So many calls were done once for so many samples.
    pub(crate) fn shared(&self, calls: u64, users: u64) {
        self.misses.fetch_add(calls, Relaxed);
        self.hits.fetch_add(calls * users.saturating_sub(1), Relaxed);
    }

    pub(crate) fn sample_done(&self) {
        let at = self.started.elapsed().as_secs_f64();
        self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(at);
    }

    /// What has been measured until now.
    pub fn profile(&self) -> Profile {
        let elapsed = self.started.elapsed().as_secs_f64();
        let mut profile = Profile {
            schema: 1,
            backend: "reference".to_owned(),
            threads: rayon::current_num_threads() as u64,
            seconds: elapsed,
            host_peak_bytes: peak(),
            progress: self.progress(elapsed),
            cache: Cache { hits: self.hits.load(Relaxed), misses: self.misses.load(Relaxed), bytes: 0 },
            ..Profile::default()
        };
        let Some(ground) = self.ground.get() else { return profile };
        (profile.programs, profile.samples) = (ground.programs, ground.samples);
        profile.knobs.clone_from(&ground.knobs);
        let count = ground.nodes.iter().map(|(_, level, _)| *level as usize + 1).max().unwrap_or(0);
        profile.levels = vec![LevelCost::default(); count];
        for ((opcode, level, call), counter) in ground.nodes.iter().zip(&ground.counters) {
            let (nanos, calls) = (counter.nanos.load(Relaxed), counter.calls.load(Relaxed));
            let level = &mut profile.levels[*level as usize];
            level.nodes += u64::from(*call);
            profile.nodes += u64::from(*call);
            if !*call {
                continue;
            }
            level.calls += calls;
            level.seconds += seconds(nanos);
            let cost = profile.opcodes.entry((*opcode).to_owned()).or_default();
            cost.calls += calls;
            cost.errors += counter.errors.load(Relaxed);
            cost.seconds += seconds(nanos);
        }
        profile.opcodes.retain(|_, cost| cost.calls > 0);
        for ((pattern, nodes, level), counter) in ground.patterns.iter().zip(&ground.pattern_counters) {
            let cost = profile.patterns.entry(pattern.name().to_owned()).or_default();
            let (ran, declined) = (counter.calls.load(Relaxed), counter.errors.load(Relaxed));
            cost.found += 1;
            cost.nodes += nodes;
            cost.ran += ran;
            cost.declined += declined;
            cost.seconds += seconds(counter.nanos.load(Relaxed));
            let level = &mut profile.levels[*level as usize];
            level.calls += nodes * (ran + declined);
            level.seconds += seconds(counter.nanos.load(Relaxed));
        }
        profile.busy_seconds = profile.levels.iter().map(|level| level.seconds).sum();
        profile
    }

    /// Samples done at some moments, the last one included.
    fn progress(&self, elapsed: f64) -> Vec<(f64, u64)> {
        let done = self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        crate::exec::curve(done.iter().map(|&at| (at, 1)).collect(), elapsed)
    }
}

/// The most memory that this process has held, where the system tells.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
