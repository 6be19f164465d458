//! What calls take on the CPU, counted node by node.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{OpcodeProfile, Profile};
use crate::dag::Node;
use crate::fast::Fast;
use crate::patterns::Pattern;
use crate::prim::Prim;

/// Counts of one sample, or of several together.
pub(crate) struct Counted {
    /// Calls, errors, nanoseconds, calls of the definition and calls with containers, by primitive; calls of closures last.
    opcodes: Vec<[u64; 5]>,
    levels: Vec<u64>,
    pub(super) patterns: [u64; Pattern::ALL.len()],
    pub(crate) bytes: usize,
    pub(super) reruns: u64,
    /// When the last node was done.
    clock: Instant,
}

impl Counted {
    pub(crate) fn new() -> Self {
        Self {
            opcodes: vec![[0; 5]; Prim::ALL.len() + 1],
            levels: Vec::new(),
            patterns: [0; Pattern::ALL.len()],
            bytes: 0,
            reruns: 0,
            clock: Instant::now(),
        }
    }

    /// What comes now begins now.
    pub(super) fn start(&mut self) {
        self.clock = Instant::now();
    }

    /// A node that began when the one before was done; its nanoseconds.
    pub(super) fn node(&mut self, node: &Node, level: u32, failed: bool, container: bool) -> u64 {
        let now = Instant::now();
        let nanos = (now - std::mem::replace(&mut self.clock, now)).as_nanos() as u64;
        let at = if let Node::Prim(prim, _) = node { *prim as usize } else { Prim::ALL.len() };
        let [calls, errors, time, _, containers] = &mut self.opcodes[at];
        *calls += 1;
        *errors += u64::from(failed);
        *time += nanos;
        *containers += u64::from(container);
        let level = level as usize;
        if self.levels.len() <= level {
            self.levels.resize(level + 1, 0);
        }
        self.levels[level] += nanos;
        nanos
    }

    /// Takes over how often the definition was called.
    pub(super) fn generic(&mut self, fast: &Fast) {
        for (count, &calls) in self.opcodes.iter_mut().zip(&fast.generic) {
            count[3] += u64::from(calls);
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.opcodes.iter_mut().zip(&other.opcodes) {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        }
        if self.levels.len() < other.levels.len() {
            self.levels.resize(other.levels.len(), 0);
        }
        self.levels.iter_mut().zip(&other.levels).for_each(|(mine, theirs)| *mine += theirs);
        self.patterns.iter_mut().zip(other.patterns).for_each(|(mine, theirs)| *mine += theirs);
        self.bytes = self.bytes.max(other.bytes);
        self.reruns += other.reruns;
    }

    pub(crate) fn report(&self, profile: &mut Profile) {
        let names = Prim::ALL.iter().map(|prim| prim.name()).chain(["call"]);
        let seconds = |nanos: u64| nanos as f64 * 1e-9;
        for (name, &[calls, errors, nanos, generic, containers]) in names.zip(&self.opcodes) {
            if calls + generic > 0 {
                let opcode = OpcodeProfile { calls, errors, seconds: seconds(nanos), generic, containers };
                profile.opcodes.insert(name, opcode);
            }
            profile.node_evaluations += calls;
            profile.errors += errors;
        }
        let levels = self.levels.iter().enumerate().filter(|(_, nanos)| **nanos > 0);
        profile.levels = levels.map(|(level, &nanos)| (level as u32, seconds(nanos))).collect::<BTreeMap<_, _>>();
        profile.sample_bytes = self.bytes;
        profile.reruns = self.reruns;
    }
}
